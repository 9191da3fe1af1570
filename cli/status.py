"""``python run.py status``: how things stand by what was written, without the process that works on it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from cli.errors import UserError, alive
from cli.options import LATEST, RESULTS, ROOT, configured_parameters, settings_of
from cli.runs import Run, all_runs, find_run
from core.clock import MarketClock, is_trading_day
from core.events import Level
from core.factory import ManagerFactory
from core.journal import Journal, MemorySink
from core.running.lease import DEAD, KEY, owner_of
from core.settings.fields import Settings
from core.settings.strategies import AVAILABLE
from execution.states import rebuild_position
from reporting.markup import money
from risk.commands import held_words, part_lines
from risk.memory import MEMORY, limits_in_words
from risk.records import RECORD
from state.facts import SHARES
from state.ledger import Ledger, Subject, holds_state, ledger_of
from state.tables import StateError, StrategyState, SystemState
from strategies.base import Strategy, next_entries
from strategies.tools import Tools
from trading_system import MANAGERS

NEW_YORK: Final = ZoneInfo("America/New_York")
STORES: Final = ("storage", f"{RESULTS}/rehearsal")  # of `lean live deploy` in the clone, and of `rehearse`
LASTING: Final = timedelta(days=10)  # a store that was written longer ago is of another time: a rehearsal's day


def status(
    run: Annotated[str, typer.Argument(help="A run, instead of a state: its name, latest, or its folder")] = "",
    state: Annotated[
        Path | None,
        typer.Option(help="Folder of a state, or of LEAN's object store. Example: --state storage"),
    ] = None,
) -> int:
    """Tell how things stand by what was written: positions, orders, locks, windows. It reads, and changes nothing.

    Without a name it looks for a state in storage/ (where lean keeps it) and backtests/rehearsal, then for the latest
    run. What only the living process knows (health, limits used, ages of data) is shown as it last told it.

    Examples:

    python run.py status

    python run.py status --state storage

    python run.py status latest
    """
    if run and state is not None:
        raise UserError(f"{run!r} and --state: expected one of them")
    places = (
        []
        if run
        else [place for root in ([state] if state else map(ROOT.joinpath, STORES)) for place in states_in(root)]
    )
    if state is not None and not places:
        raise UserError(f"--state: {state} holds no state; expected a folder with state/segment-1.jsonl in it or below")
    if not places and not run and not all_runs():
        typer.echo(f"nothing is there: no state in {' or '.join(STORES)}, no run in {RESULTS}")
        return 0
    lines = [line for place in places for line in store_lines(place, datetime.now(UTC).replace(tzinfo=None))]
    for line in lines or run_lines(find_run(run or LATEST)):
        typer.echo(printable(line))
    return 0


def states_in(folder: Path) -> list[Path]:
    """The folders at or right below one (a deployment's each) that hold a state beside their journal."""
    if folder.name == "state" and holds_state(folder):
        return [folder.parent]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [place for place in (folder, *below) if holds_state(place / "state")]


def store_lines(place: Path, now: datetime) -> list[str]:
    """How a store stands; ``now`` is UTC. What is read is not trusted, and what cannot be read is said."""
    try:
        ledger = ledger_of(place / "state")
        held = [line for subject in ledger.all_of(Level.POSITION) if not subject.ended for line in held_of(subject)]
    except StateError as error:
        raise UserError(f"--state: {place} cannot be read ({error})") from error
    rows = journal_rows(place)
    last = max([subject.changed for subject in ledger] + [when for row in rows if (when := moment_of(row)) is not None],
               default=datetime.min)  # fmt: skip
    market = now.replace(tzinfo=UTC).astimezone(NEW_YORK).replace(tzinfo=None)
    at = market if timedelta(0) <= market - last < LASTING else last
    (system,) = ledger.all_of(Level.SYSTEM) or (None,)
    reason = "" if system is None or system.state == SystemState.NORMAL else system.detail.get("reason", "")
    lines = [
        f"{place}: last written on {last:%Y-%m-%d %H:%M}, New York",
        owner_line(place, now),
        "system unknown" if system is None else
        f"system {system.state}{f': {reason}' if reason else ''}, since {system.changed:%Y-%m-%d %H:%M}",
        *limits_in_words(ledger.memory(MEMORY), at),
        *(f"{row.id} is suspended: {row.detail.get('reason', 'no reason was given')}"
          for row in ledger.all_of(Level.STRATEGY) if row.state == StrategyState.SUSPENDED),
        *(held or ["holds nothing"]),
        *(f"holds shares of {ticker}: {row}" for ticker, row in (ledger.memory(SHARES) or {}).items()),
        *([order_line(group) for group in ledger.all_of(Level.ORDER_GROUP) if not group.ended] or ["no order works"]),
    ]  # fmt: skip
    return lines + windows_of(ledger, rows, at) + told_lines(rows, last) + [""]


def held_of(subject: Subject) -> list[str]:
    """A position of the state in words: its state, each part with its legs and its cash."""
    position = rebuild_position(subject)
    if position is None:
        return [f"{subject.id}: {subject.state}, nothing of it is open"]
    return [f"{held_words(position)}: {subject.state}", *part_lines(position)]


def order_line(group: Subject) -> str:
    """An order group of the state in words."""
    detail, waits = group.detail, "" if group.pending is None else f", {group.pending.trigger} begun and not done"
    return (
        f"{group.id} {detail.get('purpose')} {detail.get('contracts')} x {group.parent}: {group.state}, limit "
        f"{detail.get('limit')}, since {group.changed:%H:%M}{waits}"
    )


def owner_line(place: Path, now: datetime) -> str:
    """Who trades on a store, by its lease and by whether that process lives."""
    try:
        found = owner_of((place / KEY).read_text(encoding="utf-8"))
        process = (place / "state" / "lock").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        found, process = None, ""
    if found is None:
        return "no process trades on it"
    name, renewed = found
    here = process.isdecimal() and f"process {process} " in name and alive(int(process))
    if here or timedelta(0) <= now - renewed <= DEAD:
        return f"{name} trades on it now: ask it (`lean live command`, `status`); this is what it wrote"
    return f"no process trades on it: {name} renewed its lease last at {renewed:%Y-%m-%d %H:%M} UTC"


def journal_rows(place: Path) -> list[dict[str, Any]]:
    """Rows of a store's last two months, as far as they can be read: the last line may be half."""
    found = []
    for path in sorted((place / "journal").glob("*.jsonl"))[-2:]:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                found += [row] if isinstance(row, dict) else []
    return found


def moment_of(row: dict[str, Any]) -> datetime | None:
    """A row's time, naive New York; ``None`` where it has none."""
    try:
        found = datetime.fromisoformat(str(row.get("time")))
    except ValueError:
        return None
    return found if found.tzinfo is None else None


def windows_of(ledger: Ledger, rows: Sequence[dict[str, Any]], at: datetime) -> list[str]:
    """The next entry windows after a time, of the rows that the last process ran, by the exchange's calendar."""
    ran = next((row["strategies"] for row in reversed(rows) if isinstance(row.get("strategies"), list)), None)
    names = [name for name in AVAILABLE if ran is not None and name in ran]
    if not names:
        return ["next windows unknown: the journal does not say which rows ran"]
    record = ledger.memory(RECORD)
    phase = record.get("phase") if isinstance(record, dict) else None
    known = phase if isinstance(phase, int) and 1 <= phase <= 4 else 1
    return coming_windows(names, known, settings_of(configured_parameters()), at)


def coming_windows(names: Sequence[str], phase: int, settings: Settings, at: datetime) -> list[str]:
    """A line a strategy: when its next window opens. Only what its row says of days is asked, nothing of a market."""
    factory, days = ManagerFactory(), SimpleNamespace(phases=SimpleNamespace(phase=phase), is_open=is_trading_day)
    factory.provide(days, as_type=Tools)
    factory.provide(Journal(MemorySink(), MarketClock(at)))
    for name in type(settings).model_fields:
        factory.provide(getattr(settings, name))
    kinds = [kind for kind in MANAGERS if issubclass(kind, Strategy) and kind.name in names]
    for kind in kinds:
        factory.register(kind)
    built = factory.build()
    return next_entries([built[kind] for kind in kinds], at, is_trading_day)


def told_lines(rows: Sequence[dict[str, Any]], last: datetime) -> list[str]:
    """What the living process said of itself last, and how long before the last word that was."""
    for row in reversed(rows):
        when, said = moment_of(row), row.get("lines") if row.get("kind") == "status" else row.get("answer")
        if when is None or (
            (row.get("kind"), row.get("reason")) != ("command", "status") and row.get("kind") != "status"
        ):
            continue
        shown = said if isinstance(said, list) else str(said).splitlines()
        kept = [f"  {line}" for line in map(str, shown) if " looks next on " not in line]
        before = f"{(last - when).total_seconds() / 60:.0f} min before the last word"
        return [f"told on {when:%Y-%m-%d %H:%M}, {before}:", *kept]
    return ["told nothing of health, limits and data yet: it does each half hour while anything is held, and at closes"]


def run_lines(run: Run) -> list[str]:
    """How a backtest ended, by its journal."""
    journal = run.journal()
    point = journal.equity[-1] if journal.equity else None
    ended = "no session" if point is None else f"equity {money(point.equity)} on {point.day}, {point.positions} held"
    told = [f"  {line}" for standing in journal.standings[-1:] for line in standing.lines]
    return [
        f"{run.name}: a backtest, over; {ended}, {len(journal.trades)} trades",
        *([f"told at the close of {journal.standings[-1].day}:"] if told else []), *told,
    ]  # fmt: skip


def printable(text: str) -> str:
    """A line of a file that nobody vouches for, without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in text)

"""``python run.py rehearse``: a day as live, in the terminal, with commands typed as they would be sent, and drills."""

from __future__ import annotations

import json
import queue
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import RunFailedError, UserError
from cli.markets import open_market
from cli.options import BacktestOptions, a_date, plan_of

if TYPE_CHECKING:
    from simulation.lean.symbols import Symbol
    from simulation.live_mode.session import LiveSession

DRILLS = {
    "quotes stop": "outage",
    "quotes cross": "crossed",
    "quotes nobid": "nobid",
    "quotes noask": "noask",
    "index stop": "noindex",
    "fill none": "nofill",
    "cancel refuse": "nocancel",
    "update refuse": "noupdate",
    "disconnect": "brokerdown",
}
ENDS = {
    "quotes go": {"outage", "crossed", "nobid", "noask"},
    "index go": {"noindex"},
    "fill go": {"nofill"},
    "cancel go": {"nocancel"},
    "update go": {"noupdate"},
    "connect": {"brokerdown"},
}
COMMANDS = ("status", "halt", "resume", "reduce", "reconcile", "close_all")
SHOWN = ("order", "fill", "notice", "trade_closed", "decision", "risk", "reconciliation", "command", "system")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a script: when, and what."""

    number: int
    at: datetime
    words: str


def read_script(text: str, day: date) -> list[Line]:
    """Lines ``HH:MM[:SS] words``; ``#`` begins a comment. Raises UserError with the number of a wrong line."""
    lines: list[Line] = []
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.partition("#")[0].strip()
        if not words:
            continue
        clock, _, rest = words.partition(" ")
        try:
            at = datetime.combine(day, datetime.strptime(clock, "%H:%M:%S" if clock.count(":") > 1 else "%H:%M").time())
        except ValueError as error:
            raise UserError(f"line {number}: '{clock}' is no time; expected 10:30 or 10:30:15, then a drill") from error
        if lines and at < lines[-1].at:
            raise UserError(f"line {number}: {clock} is before the line above it")
        lines.append(Line(number, at, " ".join(rest.split())))
    if not lines:
        raise UserError("the script is empty; expected lines like '09:28 start'")
    return lines


class Rehearsal:
    """One day: the session, what is shown of it, and the drills."""

    def __init__(self, session: LiveSession, store: Path, show: Callable[[str], object]) -> None:
        self.session = session
        self._store = store
        self._show = show
        self._words: set[str] = set()
        self._seen_rows = self._seen_lines = 0
        self._state = ""

    def act(self, words: str) -> None:
        """Do what a line says. Raises UserError for what is none of the drills, RunFailedError for what is not so."""
        session = self.session
        self._show(f"> {words}")
        if words in DRILLS or words in ENDS:
            self._words = self._words | {DRILLS[words]} if words in DRILLS else self._words - ENDS[words]
            session.control(" ".join(sorted(self._words)))
        elif words == "kill":
            session.kill()
        elif words == "stop":
            session.stop()
        elif words == "fill half":
            self._fill_half()
        elif words.startswith("trade by hand "):
            self._trade(words.removeprefix("trade by hand "))
        elif words.startswith("expect "):
            self._expect(words.removeprefix("expect "))
        elif words.split(" ")[0] in COMMANDS:
            command, _, subject = words.partition(" ")
            session.command(json.dumps({"command": command, **({"subject": subject} if subject else {})}))
        else:
            known = ("start", "kill", "stop", "fill half", "trade by hand QUANTITY SYMBOL PRICE", "expect ...")
            raise UserError(f"'{words}' is no drill; known are: {', '.join((*known, *DRILLS, *ENDS, *COMMANDS))}")

    def _fill_half(self) -> None:
        """While no process runs: the first leg of what works at the broker fills at what the group asks for it."""
        if self.session.engine is not None or not self.session.account.working:
            raise UserError("fill half: kill first, while an order works")
        for group in list(self.session.account.working):
            self.session.account.fill(group, [abs(group.limit)] * len(group.legs), legs=1)

    def _trade(self, text: str) -> None:
        parts = shlex.split(text)
        names = {str(symbol.value): symbol for symbol in self._held()}
        if len(parts) != 3 or parts[1] not in names:
            raise UserError(f"trade by hand: expected QUANTITY 'SYMBOL' PRICE, a symbol of {sorted(names)}")
        trade = names[parts[1]], float(parts[0]), float(parts[2])
        if self.session.engine is None:
            self.session.account.trade(*trade)
        else:  # LEAN hears of it at the next start: its portfolio is built from events
            self.session.account.unseen.append(trade)

    def _held(self) -> dict[Symbol, float]:
        """Signed quantities in the account."""
        engine = self.session.engine
        if engine is None:
            return {row.symbol: row.quantity for row in self.session.account.held}
        return {row.symbol: row.holdings.quantity for row in engine.portfolio.invested_securities.values()}

    def _expect(self, what: str) -> None:
        held = {str(symbol.value): quantity for symbol, quantity in self._held().items()}
        told = " | ".join(str(row.get("reason")) for row in self._rows())
        if what == "flat" and held:
            raise RunFailedError(f"expected flat, held: {held}")
        if what == "position" and not held:
            raise RunFailedError("expected a position, nothing is held")
        if what == "nothing short" and any(quantity < 0 for quantity in held.values()):
            raise RunFailedError(f"expected nothing short, held: {held}")
        if what.startswith("told ") and what.removeprefix("told ") not in told:
            raise RunFailedError(f"nobody was told '{what.removeprefix('told ')}'")
        if what not in ("flat", "position", "nothing short") and not what.startswith("told "):
            raise UserError(f"expect {what}: expected flat, position, nothing short or told WORDS")

    def _rows(self) -> list[dict[str, object]]:
        return [
            json.loads(line)
            for file in sorted(self._store.rglob("journal/*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]

    def start(self, at: datetime) -> None:
        """A process starts."""
        self._show(f"> start {at:%H:%M:%S}")
        self.session.start(at)

    def tell(self) -> None:
        """Show what is new since the last time: rows of the journal, and the account when it changed."""
        rows = self._rows()
        for row in rows[self._seen_rows :]:
            if row.get("kind") in SHOWN and row.get("component") != "factory":
                self._show(f"{str(row['time'])[11:16]} {row['kind']}: {row.get('reason')}")
        self._seen_rows = len(rows)
        engine = self.session.engine
        if engine is not None:
            held = ", ".join(f"{quantity:g} {symbol.value}" for symbol, quantity in self._held().items())
            orders = len(engine.transactions.get_open_orders())
            equity = engine.portfolio.total_portfolio_value
            state = f"holds {held or 'nothing'}; {orders} orders work; equity {equity:,.2f}"
            if state.rpartition(";")[0] != self._state.rpartition(";")[0]:
                self._show(f"{self.session.now:%H:%M} {state}")
            self._state = state


def typed_lines() -> Iterator[list[str]]:
    """What was typed since the last time, without waiting for more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.strip())

    threading.Thread(target=read, name="typed", daemon=True).start()
    while True:
        found = []
        while not lines.empty():
            found.append(lines.get())
        yield [line for line in found if line]


def rehearse(
    date_: Annotated[str, typer.Option("--date", help="Day to rehearse. Example: --date 2016-02-12")] = "2016-02-12",
    speed: Annotated[float, typer.Option(help="Minutes that a real minute brings. Example: --speed 120")] = 120.0,
    script: Annotated[Path | None, typer.Option(help="Drills from a file, without waiting. Example: drill.txt")] = None,
    market: Annotated[str, typer.Option(help="Market, as for backtest. Example: --market lean:data")] = "history",
    seed: Annotated[int, typer.Option(help="Seed of market and threads. Example: --seed 7")] = 1,
    store: Annotated[Path, typer.Option(help="Folder of the state; made anew.")] = Path("backtests/rehearsal"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting. Example: --set friday_0dte.min_vix=0")
    ] = None,
) -> int:
    """Play a day as live: state, positions and orders as they change; type commands and drills.

    Typed: status, halt, resume, reduce, reconcile, close_all, kill, start, stop, disconnect, connect,
    quotes stop|cross|nobid|noask|go, index stop|go, fill none|go|half, cancel refuse|go, update refuse|go,
    trade by hand QUANTITY 'SYMBOL' PRICE.

    Examples:

    python run.py rehearse --date 2016-02-12 --speed 120

    python run.py rehearse --script drill.txt
    """
    from simulation.live_mode.account import LiveAccount
    from simulation.live_mode.session import LiveRequest, LiveSession

    day = a_date("--date", date_)
    if speed <= 0:
        raise UserError(f"--speed {speed}: must be above 0")
    options = BacktestOptions(start=date_, end=date_, market=market, seed=str(seed), set_=list(set_ or ()))
    plan = plan_of(options)
    opened = open_market(plan.market, seed)
    shutil.rmtree(store, ignore_errors=True)
    session = LiveSession(LiveRequest(plan.algorithm, opened.source, plan.parameters, store, LiveAccount(), seed))
    rehearsal = Rehearsal(session, store, lambda text: print(text, flush=True))
    if script is not None:
        if not script.is_file():
            raise UserError(f"--script {script}: no such file")
        play_script(rehearsal, read_script(script.read_text(encoding="utf-8"), day))
    else:
        play_typed(rehearsal, day, speed)
    return 0


def play_script(rehearsal: Rehearsal, lines: list[Line]) -> None:
    """Every line at its time; a process that still runs at the end is stopped."""
    session = rehearsal.session
    for line in lines:
        try:
            if line.words == "start":
                rehearsal.start(line.at)
            else:
                if session.engine is not None:
                    session.until(line.at)
                rehearsal.act(line.words)
        except (UserError, RunFailedError) as error:
            if session.engine is not None:
                session.kill()
            raise type(error)(f"line {line.number}: {error}") from error
        rehearsal.tell()
    if session.engine is not None:
        session.stop()
        rehearsal.tell()


def play_typed(rehearsal: Rehearsal, day: date, speed: float) -> None:
    """From 9:28 to 16:10 at a speed; what is typed happens at the next minute."""
    session, at = rehearsal.session, datetime.combine(day, datetime.min.time()).replace(hour=9, minute=28)
    end, typed = at.replace(hour=16, minute=10), typed_lines()
    rehearsal.start(at)
    while at < end:
        for words in next(typed):
            try:
                if words == "start":
                    rehearsal.start(at)
                else:
                    rehearsal.act(words)
            except (UserError, RunFailedError, RuntimeError) as error:
                print(f"error: {error}", flush=True)
        at += timedelta(minutes=1)
        if session.engine is not None:
            session.until(at)
        rehearsal.tell()
        time.sleep(60 / speed)
    if session.engine is not None:
        session.stop()

"""Commands that read what runs left behind: ``runs``, ``trades``, ``explain``, ``compare`` and ``notebook``."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import PATIENCE, StoppedError, UserError
from cli.options import JOURNAL, LATEST, RESULTS, ROOT
from reporting.fields import JournalError
from reporting.intervals import Unit
from reporting.lives import Life, life_lines, lives_of
from reporting.markup import money, number, percent, span
from reporting.rows import Decision, Journal, Trade, read_journal, strategy_title

MOST_DIFFERENCES = 20
LIKE_A_DAY = re.compile(r"[\d./-]+")
NOTEBOOK = "research.ipynb"
RunArgument = Annotated[str, typer.Argument(help="A run: its name in backtests/, latest, or its folder")]


@dataclass(frozen=True, slots=True)
class Run:
    """A results folder with a journal."""

    name: str
    folder: Path

    def journal(self) -> Journal:
        """What was journalled; raises ``UserError`` for a journal that cannot be read."""
        try:
            return read_journal(self.folder / JOURNAL)
        except (JournalError, OSError) as error:
            raise UserError(f"{self.folder / JOURNAL}: cannot be read ({error})") from error


def all_runs(results: Path | None = None) -> list[Run]:
    """Every run of a results folder that has a journal, oldest first; folders being worked in are left out."""
    folder = results or ROOT / RESULTS
    inside = folder.iterdir() if folder.is_dir() else ()
    found = [path for path in inside if not path.name.startswith(".") and (path / JOURNAL).is_file()]
    return [
        Run(path.name, path) for path in sorted(found, key=lambda path: ((path / JOURNAL).stat().st_mtime_ns, path))
    ]


def find_run(text: str, results: Path | None = None) -> Run:
    """The run that ``text`` means: a folder, ``latest``, a name, or the one name that begins so."""
    folder = Path(text)
    if (folder / JOURNAL).is_file():
        return Run(folder.resolve().name, folder)
    runs = all_runs(results)
    if not runs:
        raise UserError(f"{text!r}: there is no run in {results or ROOT / RESULTS}; python run.py backtest makes one")
    if text == LATEST:
        return runs[-1]
    exact = [run for run in runs if run.name == text]
    begins = exact or [run for run in runs if text and run.name.startswith(text)]
    if len(begins) != 1:
        names = ", ".join(run.name for run in (begins or runs)[-8:])
        what = "means several runs" if begins else "is no run"
        raise UserError(f"{text!r} {what}; expected {LATEST}, a folder with {JOURNAL}, or one of: {names}")
    return begins[0]


def show(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> None:
    """Print a table as wide as the terminal."""
    from rich.console import Console

    from cli.summary import Sheet, colours, width

    sheet = Sheet(title, columns, right)
    for row in rows:
        sheet.add(*row)
    console = Console(highlight=False, soft_wrap=False, color_system=colours())
    console.width = width(terminal=console.is_terminal)
    console.print(sheet)


def runs() -> int:
    """List the runs in backtests/, newest first; the first is what ``latest`` means.

    Example:

    python run.py runs
    """
    found = all_runs()
    if not found:
        typer.echo(f"no run in {ROOT / RESULTS}; python run.py backtest makes one")
        return 0
    rows = []
    for run in reversed(found):
        name = f"{run.name} ({LATEST})" if run is found[-1] else run.name
        try:
            journal = run.journal()
        except UserError as error:  # one journal that is damaged hides no other run
            sys.stderr.write(f"warning: {error}\n")
            rows.append((name, "cannot be read", "", "", ""))
            continue
        days = f"{journal.equity[0].day} to {journal.equity[-1].day}" if journal.equity else "no session"
        profit = money(sum(trade.profit for trade in journal.trades), signed=True)
        last = money(journal.equity[-1].equity) if journal.equity else ""
        rows.append((name, days, str(len(journal.trades)), profit, last))
    show("Runs", ("Name", "Days", "Trades", "Profit", "Equity at the end"), rows, (2, 3, 4))
    return 0


TRADE_COLUMNS: tuple[tuple[str, Callable[[Trade], Any]], ...] = (
    ("strategy", lambda trade: trade.strategy),
    ("position", lambda trade: trade.position),
    ("part", lambda trade: trade.part),
    ("underlying", lambda trade: trade.underlying),
    ("structure", lambda trade: trade.structure),
    ("opened", lambda trade: trade.opened.isoformat()),
    ("closed", lambda trade: trade.closed.isoformat()),
    ("contracts", lambda trade: trade.contracts),
    ("legs", lambda trade: " ".join(f"{leg.ratio:+d}:{leg.name.replace(' ', '_')}" for leg in trade.legs)),
    ("credit", lambda trade: trade.credit),
    ("cash_in", lambda trade: trade.cash_in),
    ("cash_out", lambda trade: trade.cash_out),
    ("fees", lambda trade: trade.fees),
    ("profit", lambda trade: trade.profit),
    ("max_loss", lambda trade: trade.max_loss),
    ("largest_loss", lambda trade: trade.largest_loss),
    ("exit_rule", lambda trade: trade.exit_rule),
    ("exit_reason", lambda trade: trade.exit_reason),
    ("underlying_entry", lambda trade: trade.underlying_entry),
    ("underlying_exit", lambda trade: trade.underlying_exit),
    ("vix_entry", lambda trade: trade.vix_entry),
    ("vix_exit", lambda trade: trade.vix_exit),
)
"""What a trade is written as in CSV. Dollars, money in positive; an unknown figure is an empty cell."""


def trades(
    run: RunArgument = LATEST,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, every column. Example: --csv")] = False,
    strategy: Annotated[str | None, typer.Option(help="Only this strategy. Example: --strategy friday_0dte")] = None,
) -> int:
    """List the closed trades of a run; with --csv for a spreadsheet.

    Examples:

    python run.py trades latest

    python run.py trades baseline --csv > trades.csv
    """
    found = find_run(run)
    rows = [trade for trade in found.journal().trades if strategy in (None, trade.strategy)]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([name for name, _ in TRADE_COLUMNS])
        writer.writerows(
            ["" if (value := read(trade)) is None else to_the_cent(value) for _, read in TRADE_COLUMNS]
            for trade in rows
        )
        return 0
    if not rows:
        typer.echo(f"{found.name}: no trade was closed{f' by {strategy}' if strategy else ''}")
        return 0
    shown = [
        (trade.position, f"{trade.opened:%Y-%m-%d %H:%M}", what_words(trade),
         money(trade.credit), money(trade.profit, signed=True), trade.exit_rule.replace("_", " "))
        for trade in rows
    ]  # fmt: skip
    show(f"Trades of {found.name}", ("Position", "Opened", "What", "Credit", "Profit", "Exit"), shown, (3, 4))
    return 0


def what_words(trade: Trade) -> str:
    """What was traded, with its part where the structure does not name it."""
    structure = trade.structure.replace("_", " ")
    part = "" if trade.part == "whole" or trade.part in structure.split() else f" ({trade.part})"
    return f"{trade.contracts} x {trade.underlying} {structure}{part}"


def to_the_cent(value: Any) -> Any:
    """A cell: sums and prices without what adding them up left behind the cents."""
    return round(value, 4) if isinstance(value, float) else value


def explain(
    what: Annotated[str, typer.Argument(help="A position, an order group, an entry, or a day such as 2018-02-02")],
    run: Annotated[str, typer.Option(help="Which run. Example: --run baseline")] = LATEST,
) -> int:
    """Tell the life of a trade, an order or a day from a run's journal.

    Examples:

    python run.py explain friday_0dte-20180202-1

    python run.py explain group-20180202-2 --run baseline

    python run.py explain 2018-02-02
    """
    found = find_run(run)
    for line in explained(what, found.journal(), found.name):
        typer.echo(line)
    return 0


def explained(what: str, journal: Journal, name: str) -> list[str]:
    """The lines of ``explain``; raises ``UserError`` for what the journal does not know."""
    lives = lives_of(journal)
    try:
        day = date.fromisoformat(what)
    except ValueError:
        day = None
    if day is not None:
        return day_lines(day, journal, lives)
    chosen = [life for life in lives.values() if what in names_of(life)]
    if chosen:
        return blocks(chosen)
    decisions = [decision for decision in journal.decisions if what and decision.correlation == what]
    if decisions:
        return [decision_line(decision) for decision in decisions]
    near = [known for known in lives if what and what in known][:6]
    advice = f"did you mean {', '.join(near)}?" if near else "python run.py trades lists the positions"
    if LIKE_A_DAY.fullmatch(what):
        advice = f"expected a day such as 2018-02-02{range_words(journal)}"
    raise UserError(f"{what!r}: not in the journal of {name}; {advice}")


def names_of(life: Life) -> set[str]:
    """By what a life is found: its position, its order groups, the entry that it came from."""
    entry = {life.decision.correlation} if life.decision is not None else set()
    return {life.position, *(walk.group for walk in life.walks), *entry}


def blocks(lives: Sequence[Life]) -> list[str]:
    """Several lives with a blank line between them."""
    lines: list[str] = []
    for life in lives:
        lines += ["", *life_lines(life)] if lines else life_lines(life)
    return lines


def day_lines(day: date, journal: Journal, lives: dict[str, Life]) -> list[str]:
    """What happened on a day: account, decisions, warnings, errors, and the positions that were opened or closed."""
    points = [point for point in journal.equity if point.day == day]
    before = [point for point in journal.equity if point.day < day]
    if points:
        change = f", {money(points[0].equity - before[-1].equity, signed=True)} on the day" if before else ""
        held = points[0].positions
        lines = [f"{day:%A %Y-%m-%d}: equity {money(points[0].equity)}{change}; {held or 'no'} positions at the close"]
    else:
        lines = [f"{day:%A %Y-%m-%d}: no session of this run{range_words(journal)}"]
    decided = [decision for decision in journal.decisions if decision.day == day]
    lines += [decision_line(decision) for decision in decided] or ["no entry was due"]
    lines += [f"risk     {note.time:%H:%M} {note.rule} {note.severity}: {note.reason}" for note in journal.risk
              if note.time.date() == day][:5]  # fmt: skip
    lines += [f"error    {note.time:%H:%M} {note.component}: {note.reason} {note.detail}" for note in journal.errors
              if note.time.date() == day][:5]  # fmt: skip
    touched = [life for life in lives.values() if touches(life, day)]
    return [*lines, "", *blocks(touched)] if touched else lines


def range_words(journal: Journal) -> str:
    """The days of a run in brackets; nothing where it had none."""
    return f" ({journal.equity[0].day} to {journal.equity[-1].day})" if journal.equity else ""


def touches(life: Life, day: date) -> bool:
    """Whether a position was ordered, opened or closed on a day."""
    moments = [walk.begun for walk in life.walks] + [trade.closed for trade in life.trades]
    return any(moment is not None and moment.date() == day for moment in moments)


def decision_line(decision: Decision) -> str:
    """One decision with the numbers that bound it."""
    numbers = [
        f"{name} {number(value)}"
        for name, value in (("observed", decision.observed), ("limit", decision.limit), ("VIX", decision.vix))
        if value is not None
    ]
    told = f" ({', '.join(numbers)})" if numbers else ""
    what = f"{strategy_title(decision.strategy)} {decision.outcome}, {decision.rule.replace('_', ' ')}"
    return f"decided  {decision.time:%Y-%m-%d %H:%M} {what}: {decision.reason}{told}"


def compare(
    first: RunArgument,
    second: RunArgument,
    every: Annotated[bool, typer.Option("--all", help="Show all decisions that differ. Example: --all")] = False,
) -> int:
    """Set two runs beside each other: figures, intervals of the difference, and the decisions that differ.

    Example:

    python run.py compare baseline latest
    """
    one, two = find_run(first), find_run(second)
    before, after = one.journal(), two.journal()
    figures = comparison(before, after)
    again = two.name if two.name != one.name else f"{two.name} (2)"
    columns = ("Figure", one.name, again, "Difference", "95 % interval")
    show(f"{one.name} and {two.name}", columns, figures, (1, 2, 3, 4))
    rows = differing(before, after)
    if not rows:
        typer.echo("every decision is the same")
        return 0
    shown = rows if every else rows[:MOST_DIFFERENCES]
    title = f"Decisions that differ, {len(shown)} of {len(rows)}"
    show(title, ("Day", "Strategy", one.name, again), shown)
    return 0


def notebook(
    browser: Annotated[bool, typer.Option(help="Show it in the browser. Example: --no-browser")] = True,
    port: Annotated[int | None, typer.Option(help="Where it listens. Example: --port 8890")] = None,
) -> int:
    """Open research.ipynb in JupyterLab, with the environment of this project.

    Examples:

    python run.py notebook

    python run.py notebook --no-browser --port 8890
    """
    command = [sys.executable, "-m", "jupyterlab", str(ROOT / NOTEBOOK)]
    command += [] if browser else ["--no-browser"]
    command += [] if port is None else [f"--port={port}"]
    # A session of its own: Ctrl-C comes to us alone, and SIGTERM lets the server end its kernels without asking.
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as server:
        try:
            return server.wait()
        except StoppedError:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
            raise


def comparison(before: Journal, after: Journal) -> list[tuple[str, ...]]:
    """Rows of figure, first, second, difference (second less first) and its interval; a dash where there is none."""
    from cli.backtest import own_risk_free
    from reporting.performance import compared

    days = sorted({point.day for point in before.equity} & {point.day for point in after.equity})
    rows: list[tuple[str, ...]] = []
    for figure in compared(before, after, own_risk_free(days[0], days[-1]) if days else 0.0):
        write: Callable[[float | None], str] = percent if figure.unit is Unit.PERCENT else number
        if isinstance(figure.first, int):
            write = whole
        rows.append(
            (
                figure.name,
                write(figure.first),
                write(figure.second),
                write(figure.difference),
                span(figure.interval, figure.unit),
            )
        )
    return rows


def whole(value: float | None) -> str:
    """A count."""
    return number(value, 0)


def differing(before: Journal, after: Journal) -> list[tuple[str, ...]]:
    """Day, strategy, and each run's answer, where the two answers are not the same."""
    one, two = answers(before), answers(after)
    found: list[tuple[str, ...]] = []
    for key in sorted(one.keys() | two.keys()):
        left, right = one.get(key), two.get(key)
        if left != right:
            found.append((key[0].isoformat(), strategy_title(key[1]), left or "not asked", right or "not asked"))
    return found


def answers(journal: Journal) -> dict[tuple[date, str, int], str]:
    """What each entry came to, by day, strategy and its place among the day's entries of that strategy."""
    found: dict[tuple[date, str, int], str] = {}
    for decision in journal.decisions:
        place = sum(1 for day, name, _ in found if (day, name) == (decision.day, decision.strategy))
        size = f" {decision.contracts}" if decision.contracts is not None else ""
        found[decision.day, decision.strategy, place] = f"{decision.outcome}{size}: {decision.rule.replace('_', ' ')}"
    return found

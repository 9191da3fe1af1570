"""What a run prints: how far it is, and when it is done its figures, targets beside them, why there was no trade.

Progress is a bar on a terminal and a line now and then elsewhere, on standard error.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from reporting.intervals import Unit
from reporting.markup import money, percent, sharpe_texts, span, target_texts
from reporting.performance import EquityStatistics, TradeStatistics, Verdict, skip_reasons
from reporting.report import RunRecord, Summary
from reporting.rows import AccountCheck, strategy_title
from reporting.trades import FillSummary, table_rows

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_REDRAWS = 0.2
WIDE = 110  # columns where nobody says how many there are
NARROWEST = 20
LEAST_LAST = 12  # columns under which the last column of a table is no longer readable: then rows become blocks
ENGINE_FIGURES = {"Net Profit": "net profit, LEAN", "Total Fees": "total fees, LEAN", "Sharpe Ratio": "Sharpe, LEAN"}
ENGINE_WORDS = {
    "Net Profit": "of the account, as LEAN computes it",
    "Total Fees": "also of what is still open",
    "Sharpe Ratio": "daily samples over LEAN's own rate, however few days moved",
}


class Reading(Protocol):
    """What the engine reports: simulated time, share done (0 to 1), equity in dollars (None where there is none)."""

    @property
    def time(self) -> datetime: ...
    @property
    def fraction(self) -> float: ...
    @property
    def equity(self) -> float | None: ...


Report = Callable[[Reading], None]


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Something to call with each reading, in the way that suits where standard error goes."""
    if sys.stderr.isatty() and colours() is not None:
        with bar(title) as report:
            yield report
    else:
        yield lines(title)


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A bar with the simulated date, equity and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[day]}"),
        TextColumn("{task.fields[equity]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=1.0, day="", equity="")
        drawn = 0.0

        def report(reading: Reading) -> None:
            nonlocal drawn
            now = time.monotonic()
            if now - drawn >= SECONDS_BETWEEN_REDRAWS:
                drawn = now
                shown.update(
                    task, completed=reading.fraction, day=f"{reading.time:%Y-%m-%d}", equity=dollars(reading).strip()
                )

        yield report


def lines(title: str) -> Report:
    """One line every few seconds, for logs."""
    begun = told = time.monotonic()

    def report(reading: Reading) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < SECONDS_BETWEEN_LINES:
            return
        told = now
        # The first days pay for reading and warming up: what they took says little about the rest.
        left = f"  {(now - begun) * (1 / reading.fraction - 1):.0f} s left" if reading.fraction >= 0.05 else ""
        sys.stderr.write(f"{title}: {reading.fraction:4.0%}  {reading.time:%Y-%m-%d}{dollars(reading)}{left}\n")
        sys.stderr.flush()

    return report


def dollars(reading: Reading) -> str:
    """The equity after two spaces; nothing where there is none."""
    return "" if reading.equity is None else f"  ${reading.equity:,.0f}"


def colours() -> Literal["auto"] | None:
    """What rich may write beside text: no escape code where NO_COLOR is set or the terminal is a dumb one."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return None if plain else "auto"


def width(*, terminal: bool) -> int:
    """Columns to write to: the terminal's own, else what COLUMNS says, else ``WIDE``."""
    if terminal:
        return max(shutil.get_terminal_size((WIDE, 24)).columns, NARROWEST)
    said = os.environ.get("COLUMNS", "")
    return max(int(said), NARROWEST) if said.isdecimal() and int(said) > 0 else WIDE


@dataclass(slots=True)
class Sheet:
    """A table without boxes, which reads the same on a terminal and in a log.

    Where it is too wide, each row becomes a block: its first cell, and under it the others with their column's name.
    """

    title: str
    columns: tuple[str, ...]
    right: tuple[int, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    styles: dict[str, str] = field(default_factory=dict)

    def add(self, *cells: str) -> None:
        """One row, a cell for each column."""
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        if self.least_width() <= options.max_width:
            yield self.table()
        else:
            yield from self.blocks()

    def least_width(self) -> int:
        """Columns that the table needs when only its last column wraps."""
        from rich.cells import cell_len

        widest = [max(cell_len(row[index]) for row in (self.columns, *self.rows)) for index in range(len(self.columns))]
        last = 0 if len(self.columns) - 1 in self.right else min(widest.pop(), LEAST_LAST)
        return sum(widest) + last + 2 * len(self.columns) + 2

    def table(self) -> Table:
        """All columns beside each other."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
        last = len(self.columns) - 1
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index in self.right else "left", no_wrap=index != last)
        for row in self.rows:
            table.add_row(*(Text(cell, style=self.styles.get(cell, "")) for cell in row))
        return table

    def blocks(self) -> RenderResult:
        """Rows under each other, nothing wider than the words in it."""
        from rich.padding import Padding
        from rich.text import Text

        yield Text(self.title, style="bold")
        for row in self.rows:
            yield Text(row[0], style=self.styles.get(row[0], ""))
            for name, cell in zip(self.columns[1:], row[1:], strict=True):
                if cell:
                    line = Text.assemble(f"{name}: ", (cell, self.styles.get(cell, "")))
                    yield Padding(line, (0, 0, 0, 2), expand=False)
        yield Text("")


def print_summary(record: RunRecord, summary: Summary, results: Path, seconds: float) -> None:
    """Write the tables to standard output; plain text where that is not a terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False, color_system=colours())
    console.width = width(terminal=console.is_terminal)
    console.print(figures_table(record, summary))
    if record.journal.counts and summary.targets:
        console.print(targets_table(summary))
    if summary.fills is not None and summary.fills.sent:
        console.print(fills_table(summary.fills))
    reasons = reasons_table(record)
    if reasons is not None:
        console.print(reasons)
    console.print(f"\nDone in {seconds:.1f} s. Results: {results}", soft_wrap=True, markup=False)
    console.print(f"Open {results / 'report.html'} in a browser.", soft_wrap=True, markup=False)


def figures_table(record: RunRecord, summary: Summary) -> Sheet:
    """The run's main figures: trades from the journal or, of somebody else's algorithm, from the engine."""
    table = Sheet(f"{record.title}: {record.start} to {record.end}", ("Figure", "Value", "Rests on"), (1,))
    if record.journal.counts or not record.own:
        add_trades(table, summary.total, own=record.own)
    if record.journal.account is not None:
        add_account(table, record.journal.account, [row.position for row in record.journal.unknown])
    if record.journal.errors:
        table.add("errors", str(len(record.journal.errors)), "each is in the journal and in the report")
    if summary.equity is not None:
        add_equity(table, summary.equity)
    for name in () if record.journal.counts else ENGINE_FIGURES:
        if name in record.engine_statistics:
            table.add(ENGINE_FIGURES[name], record.engine_statistics[name], ENGINE_WORDS[name])
    table.add("orders", record.facts.get("Orders", ""), f"hash {record.facts.get('Order list hash', '')[:16]}")
    return table


def add_trades(table: Sheet, total: TradeStatistics, *, own: bool) -> None:
    """What the closed trades came to: whole packages of ours, single legs as LEAN counts anybody else's."""
    each = "closed parts" if own else "legs, as LEAN counts them"
    table.add("trades", str(total.count), f"{total.wins} won, profit {money(total.profit, signed=True)} after fees")
    interval = span(total.win_interval, Unit.PERCENT)
    table.add("wins", percent(total.win_rate), f"of {each}; 95 % interval {interval} (Wilson)")
    if own:
        table.add("credit kept", percent(total.credit_kept), "of the credit taken in, before fees")
    table.add("fees", money(total.fees), "of the closed trades")


def add_account(table: Sheet, account: AccountCheck, unknown: list[str]) -> None:
    """Whether trades and account agree, and the trades of which nobody knows the result."""
    agrees = abs(account.difference) < 0.01
    words = ", ".join(
        f"{name.replace('_', ' ')} {money(value, signed=name != 'starting')}"
        for name, value in account.terms.items()
        if name in ("starting", "trades") or abs(value) >= 0.005
    )
    if not agrees:
        words = f"{money(account.cash)} in the account, {money(account.expected)} by trades"
    else:
        words += f": {money(account.cash)} of cash"
    table.add("account", "agrees" if agrees else f"differs by {money(account.difference, signed=True)}", words)
    if unknown:
        table.add("unknown trades", str(len(unknown)), f"closed by hand, counted nowhere: {', '.join(unknown)}")


def add_equity(table: Sheet, equity: EquityStatistics) -> None:
    """What the account came to."""
    table.add("return", percent(equity.total_return), f"{money(equity.first)} to {money(equity.last)}")
    table.add("a year", percent(equity.annual_return), f"{equity.sessions} sessions")
    fall = f"{equity.drawdown_peak} to {equity.drawdown_trough}" if equity.drawdown > 0 else "never under its peak"
    table.add("largest drawdown", percent(equity.drawdown), fall)
    table.add("Sharpe", *sharpe_texts(equity))


def targets_table(summary: Summary) -> Sheet:
    """Targets that the method's descriptions state, beside what was measured."""
    columns = ("Promise", "Verdict", "Target", "Measured", "95 % interval", "Rests on")
    styles = {
        Verdict.MET.value: "green",
        Verdict.NOT_MET.value: "yellow",
        Verdict.UNKNOWN.value: "dim",
        Verdict.TOO_FEW.value: "dim",
    }
    table = Sheet("Targets of the method's descriptions", columns, (2, 3, 4), styles=styles)
    for row in summary.targets:
        table.add(row.name, row.verdict.value, *target_texts(row), row.sample)
    return table


def fills_table(fills: FillSummary) -> Sheet:
    """The fill assumption, and what the same trades come to at others."""
    table = Sheet(fills.title, ("If filled at", "Profit", "Positions won", "Means"), (1, 2))
    for row in table_rows(fills):
        table.add(*row)
    return table


def reasons_table(record: RunRecord) -> Sheet | None:
    """The ten most frequent reasons not to trade; None when nothing was skipped."""
    reasons = skip_reasons(record.journal.decisions)
    if not reasons:
        return None
    table = Sheet("Why there was no trade", ("Times", "Strategy", "Rule", "For example"), (0,))
    for reason in reasons:
        rule = reason.rule.replace("_", " ")
        table.add(str(reason.count), strategy_title(reason.strategy), rule, reason.example)
    return table

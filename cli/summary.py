"""What a run prints when it is done: figures, targets beside them, why there was no trade, where the results are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reporting.markup import figure, money, number, percent, span
from reporting.performance import EquityStatistics, TradeStatistics, skip_reasons
from reporting.report import RunRecord, Summary
from reporting.rows import strategy_title
from reporting.targets import Unit, Verdict

if TYPE_CHECKING:
    from rich.table import Table

NARROW = 100
ENGINE_FIGURES = ("End Equity", "Net Profit", "Total Fees", "Win Rate")


def print_summary(record: RunRecord, summary: Summary, results: Path, seconds: float) -> None:
    """Write the tables to standard output; plain text where that is not a terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=NARROW)
    console.print(figures_table(record, summary))
    if record.journal.counts:
        console.print(targets_table(summary))
        reasons = reasons_table(record)
        if reasons is not None:
            console.print(reasons)
    console.print(f"\nDone in {seconds:.1f} s. Results: {results}", soft_wrap=True)
    console.print(f"Open {results / 'report.html'} in a browser.", soft_wrap=True)


def plain_table(title: str, *columns: str, right: tuple[int, ...] = ()) -> Table:
    """A table without boxes: it reads the same on a terminal and in a log."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", no_wrap=index in right)
    return table


def figures_table(record: RunRecord, summary: Summary) -> Table:
    """The run's main figures: trades from the journal where there is one, the account from its equity."""
    table = plain_table(f"{record.title}: {record.start} to {record.end}", "Figure", "Value", "Rests on", right=(1,))
    if record.journal.counts:
        add_trades(table, summary.total)
    if record.journal.errors:
        table.add_row("errors", str(len(record.journal.errors)), "each is in the journal and in the report")
    if summary.equity is not None:
        add_equity(table, summary.equity)
    for name in () if record.journal.counts else ENGINE_FIGURES:
        if name in record.engine_statistics:
            table.add_row(name.lower(), record.engine_statistics[name], "as LEAN computes it")
    table.add_row("orders", record.facts.get("Orders", ""), f"hash {record.facts.get('Order list hash', '')[:16]}")
    return table


def add_trades(table: Table, total: TradeStatistics) -> None:
    """What the closed trades came to."""
    table.add_row("trades", str(total.count), f"{total.wins} won, profit {money(total.profit, signed=True)} after fees")
    table.add_row("wins", percent(total.win_rate), f"95 % interval {span(total.win_interval, Unit.PERCENT)} (Wilson)")
    table.add_row("credit kept", percent(total.credit_kept), "of the credit taken in, before fees")
    table.add_row("fees", money(total.fees), "of the closed trades")


def add_equity(table: Table, equity: EquityStatistics) -> None:
    """What the account came to."""
    table.add_row("return", percent(equity.total_return), f"{money(equity.first)} to {money(equity.last)}")
    table.add_row("a year", percent(equity.annual_return), f"{equity.sessions} sessions")
    fall = f"{equity.drawdown_peak} to {equity.drawdown_trough}" if equity.drawdown > 0 else "never under its peak"
    table.add_row("largest drawdown", percent(equity.drawdown), fall)
    table.add_row("Sharpe", number(equity.sharpe), f"over {percent(equity.risk_free)} a year")


def targets_table(summary: Summary) -> Table:
    """Targets that the method's descriptions state, beside what was measured."""
    columns = ("Promise", "Verdict", "Target", "Measured", "95 % interval", "Rests on")
    table = plain_table("Targets of the method's descriptions", *columns, right=(2, 3, 4))
    styles = {Verdict.MET: "green", Verdict.NOT_MET: "yellow", Verdict.UNKNOWN: "dim"}
    for row in summary.targets:
        target = ("< " if row.at_most else "") + figure(row.target, row.unit)
        measured, interval = figure(row.measured, row.unit), span(row.interval, row.unit)
        verdict = f"[{styles[row.verdict]}]{row.verdict.value}[/]"
        table.add_row(row.name, verdict, target, measured, interval, row.sample)
    return table


def reasons_table(record: RunRecord) -> Table | None:
    """The ten most frequent reasons not to trade; None when nothing was skipped."""
    from rich.markup import escape

    reasons = skip_reasons(record.journal.decisions)
    if not reasons:
        return None
    table = plain_table("Why there was no trade", "Times", "Strategy", "Rule", "For example", right=(0,))
    for reason in reasons:
        words = escape(reason.example)
        table.add_row(str(reason.count), strategy_title(reason.strategy), reason.rule.replace("_", " "), words)
    return table

"""The method over all history that is there: ``python run.py tool benchmarks.results [--write PAGE]``.

Every strategy under the settings as they are shipped, over `history` (``--start`` and ``--end`` narrow it) and over
daily files of SPY and VIX where they are (``--files FOLDER``, ``../shared/data`` unless given; from 2006), with
accounts of four sizes, and once more with promotion to be earned. Prints Markdown; with ``--write`` it takes the place
between the two marks of a page (docs/results.md). Nothing is chosen by its result: one seed, the shipped settings.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

from cli.backtest import run_and_report
from cli.options import JOURNAL, ROOT, BacktestOptions
from core.storage import replace_file
from reporting.intervals import Interval, Unit
from reporting.markup import figure, span
from reporting.performance import TargetRow, TradeStatistics
from reporting.rows import EquityPoint, strategy_title

FILES = ROOT.parent / "shared" / "data"
SIZES = (40_000, 60_000, 90_000, 150_000)
GATED = 150_000  # the size of the run that has to earn its phases
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
CORES = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its market by a name and as ``--market`` takes it, its days, its cash and whether phases are earned."""

    name: str
    market: str
    start: str | None
    end: str | None
    cash: int
    earned: bool = False

    @property
    def account(self) -> str:
        """The account as a row says it."""
        return f"{self.cash:,}" + (", phases earned" if self.earned else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is shown of a run. ``peak`` and ``mean_peak``: buying power used at most, of a day's equity."""

    plan: Plan
    start: date
    end: date
    targets: tuple[TargetRow, ...]
    strategies: tuple[TradeStatistics, ...]
    total: TradeStatistics
    worst: tuple[date, float] | None
    peak: float | None
    mean_peak: float | None
    orders: str
    seconds: float
    error: str | None


def plans(files: Path, days: tuple[str | None, str | None]) -> Iterator[Plan]:
    """Every run, the longest last; ``days`` are the first and last of ``history``, its own range where ``None``."""
    markets: list[tuple[str, str, str | None, str | None]] = [("history", "history", *days)]
    spy, vix = files / "spy-daily.csv", files / "vix-daily.csv"
    if spy.is_file() and vix.is_file():
        markets.append(("files", f"csv:spy={spy},vix={vix}", "2006-01-03", "2020-12-31"))
    for name, market, start, end in markets:
        yield from (Plan(name, market, start, end, cash) for cash in SIZES)
        if name == "history":
            yield Plan(name, market, start, end, GATED, earned=True)


def played(plan: Plan) -> Outcome:
    """Run one plan in a folder of its own and keep what is shown."""
    with tempfile.TemporaryDirectory() as folder:
        options = BacktestOptions(
            market=plan.market,
            start=plan.start,
            end=plan.end,
            cash=str(plan.cash),
            strategies="all",
            set_=[f"phases.earned_progression={str(plan.earned).lower()}"],
            out=Path(folder) / "run",
        )
        done = run_and_report(options)
        shares = list(used(done.folder / JOURNAL))
    record, summary = done.record, done.summary
    return Outcome(
        plan=plan,
        start=record.start,
        end=record.end,
        targets=summary.targets,
        strategies=summary.strategies,
        total=summary.total,
        worst=worst_day(record.equity),
        peak=max(shares, default=None),
        mean_peak=sum(shares) / len(record.equity) if shares and record.equity else None,
        orders=record.facts.get("Order list hash", "")[:16],
        seconds=done.seconds,
        error=done.error,
    )


def used(journal: Path) -> Iterator[float]:
    """The most buying power that each day used, as a share of its equity."""
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("kind") == "exposure" and row["equity"] > 0.0:
                yield float(row["margin_peak"]) / float(row["equity"])


def worst_day(equity: Sequence[EquityPoint]) -> tuple[date, float] | None:
    """The session with the largest loss, and its return."""
    moves = [(after.equity / before.equity - 1.0, after.day) for before, after in pairwise(equity)]
    return None if not moves else (min(moves)[1], min(moves)[0])


def percent(value: float | None, interval: Interval | None = None) -> str:
    """A share in percent, with its interval where there is one."""
    shown = figure(value, Unit.PERCENT)
    return shown if interval is None else f"{shown} ({span(interval, Unit.PERCENT)})"


def run_row(found: Outcome) -> str:
    """One run in one row."""
    by_name = {row.name: row for row in found.targets}
    trades, yearly, fall, sharpe = (
        by_name[name] for name in ("trades a year", "annual return", "largest drawdown", "Sharpe ratio")
    )
    day = "none" if found.worst is None else f"{percent(found.worst[1])} on {found.worst[0]}"
    cells = (
        found.plan.account,
        f"{found.total.count} ({figure(trades.measured, Unit.NUMBER)})",
        percent(found.total.win_rate, found.total.win_interval),
        percent(yearly.measured, yearly.interval),
        percent(fall.measured, fall.interval),
        figure(sharpe.measured, Unit.NUMBER) + f" ({span(sharpe.interval, Unit.NUMBER)})",
        day,
        f"{percent(found.mean_peak)}, {percent(found.peak)}",
        f"`{found.orders}`",
    )
    return "| " + " | ".join(cells) + " |"


def strategy_row(found: Outcome, row: TradeStatistics, judged: TargetRow | None) -> str:
    """One strategy of one run."""
    cells = (
        found.plan.account,
        row.name,
        str(row.count),
        percent(row.win_rate, row.win_interval),
        "none stated" if judged is None else f"{percent(judged.target)}: {judged.verdict.value}",
        f"{row.profit:,.0f}",
        "unknown" if row.profit_factor is None else f"{row.profit_factor:.2f}",
        "unknown" if row.largest_loss is None else f"{row.largest_loss:,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def verdicts(found: Outcome) -> str:
    """What of the method's promise a run kept."""
    kept: dict[str, list[str]] = {}
    for row in found.targets:
        kept.setdefault(row.verdict.value, []).append(row.name)
    words = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in sorted(kept.items()))
    return f"- {found.plan.name}, {found.plan.account}: {words}." + (f" Stopped: {found.error}" if found.error else "")


def pages(outcomes: Sequence[Outcome]) -> list[str]:
    """All tables, a market at a time."""
    lines: list[str] = []
    for name in dict.fromkeys(one.plan.name for one in outcomes):
        group = [one for one in outcomes if one.plan.name == name]
        lines += ["", f"### {name}: {group[0].start} to {group[0].end}", ""]
        lines += ["| account | trades (a year) | won | return a year | largest drawdown | Sharpe | worst day "
                  "| buying power, mean of the days' peaks and highest | orders |"]  # fmt: skip
        lines += ["|---|---|---|---|---|---|---|---|---|", *(run_row(one) for one in group), ""]
        lines += ["| account | strategy | trades | won | target | profit | profit factor | largest loss |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for one in group:
            judged = {row.name.removeprefix("win rate, "): row for row in one.targets}
            lines += [strategy_row(one, row, judged.get(strategy_title(row.name))) for row in one.strategies]
        lines += ["", *(verdicts(one) for one in group)]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every plan on two processes and print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    parser.add_argument("--files", type=Path, default=FILES)
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--only", default=None, help="history or files")
    parser.add_argument("--start", default=None, help="first day on history")
    parser.add_argument("--end", default=None, help="last day on history")
    chosen = parser.parse_args(arguments)
    wanted = [plan for plan in plans(chosen.files, (chosen.start, chosen.end)) if chosen.only in (None, plan.name)]
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        outcomes = pool.map(played, wanted, chunksize=1)
    text = "\n".join(pages(outcomes))
    sys.stdout.write(text + "\n")
    sys.stdout.write(f"\nseconds: {', '.join(f'{one.seconds:.0f}' for one in outcomes)}\n")
    if chosen.write is not None:
        page = chosen.write.read_text(encoding="utf-8")
        head, tail = page.split(BEGIN)[0], page.split(END)[1]
        replace_file(chosen.write, f"{head}{BEGIN}\n{text}\n{END}{tail}", durable=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

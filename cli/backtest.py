"""``python run.py backtest``: one run of main.py, or of any LEAN algorithm, on the embedded engine."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import RunFailedError, UserError, clear_leftovers, clear_scratch, last_words
from cli.markets import OpenedMarket, carded, chosen_range, open_market
from cli.options import (
    JOURNAL,
    RESULTS,
    ROOT,
    BacktestOptions,
    MarketKind,
    RunPlan,
    cannot_trade,
    command_of,
    plan_of,
    settings_of,
)
from cli.summary import Reading, Report, progress
from greeks.exposure import treasury_bill
from reporting.fields import JournalError
from reporting.history import Benchmark
from reporting.performance import Priors
from reporting.report import RunRecord, Summary, summarise, write_report
from reporting.rows import EngineTrade, EquityPoint, Journal, read_journal

if TYPE_CHECKING:
    from core.settings.fields import Settings
    from simulation.runner import RunResult

NOTHING_HELD = "nothing was held: this scenario tested nothing"
TRACE = "error.txt"  # the traceback of an algorithm that stopped
DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
MIDNIGHT_SAMPLE = timedelta(hours=12)
LONGEST_BREAK = timedelta(days=10)  # no market of the calendar was closed for longer
DAYS_OF_A_YEAR = 365.25
UNKNOWN_RATE = 0.0  # a market without rates: the Sharpe ratio is then over nothing, and the report says so


@dataclass(frozen=True, slots=True)
class Finished:
    """A run whose results are written: what it was, what it came to, where they are, how long it took in seconds."""

    record: RunRecord
    summary: Summary
    folder: Path
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class StandIn:
    """An algorithm built on main.py that runs in its place, and parameters of its own."""

    file: Path
    parameters: Mapping[str, str]


def run_and_report(options: BacktestOptions, watch: Report | None = None, stand_in: StandIn | None = None) -> Finished:
    """Check, run and write the results folder; raises ``UserError`` for what cannot be run.

    ``watch`` hears of each reading beside whoever waits at the terminal.
    """
    plan = plan_of(options)
    market = open_market(plan.market, plan.seed)
    plan = with_range(plan, market)
    if plan.benchmark is not None and plan.settings is not None:
        benchmark_file(plan.benchmark, plan.settings.run.start, plan.settings.run.end)  # said now, not after the run
    if stand_in is not None:
        parameters = {**plan.parameters, **stand_in.parameters}
        plan = replace(plan, algorithm=stand_in.file, parameters=parameters)
    elif plan.settings is not None:
        for words in cannot_trade(plan.settings) or too_calm(plan.settings, market):
            market.warn(words)
    begun = time.monotonic()
    with results_folder(plan.out) as folder:
        result = run(plan, market, folder.work, watch)
        market.warn_of_gaps()
        record = record_of(plan, market, result, folder.work)
        if plan.market.kind is MarketKind.SCENARIO and record.own and not was_held(record.journal):
            record = replace(record, warnings=(*record.warnings, NOTHING_HELD))
        summary = summarise(record)
        write_report(folder.work / "report.html", record, summary)
        if result.error is not None:
            (folder.work / TRACE).write_text(result.error, encoding="utf-8")
        (folder.work / "settings.txt").write_text(record.settings + "\n", encoding="utf-8")
    return Finished(record, summary, folder.final, time.monotonic() - begun, result.error)


def too_calm(settings: Settings, market: OpenedMarket) -> tuple[str, ...]:
    """That the VIX of a modelled market never gets above what any strategy of the run needs; empty where it does."""
    from simulation.market.source import ModelledMarket

    if not isinstance(market.source, ModelledMarket):
        return ()
    book, run = market.source.book, settings.run
    needed = {name: float(getattr(settings, name).min_vix) for name in run.strategies}
    closes = book.closes_of("VIX", run.start, run.end)
    if closes is None or any((closes > least).any() for least in needed.values()):
        return ()  # highs are read from minutes: only where no close says it
    known = book.daily("VIX")
    if known is None:
        return ()
    first, last = run.start.toordinal(), run.end.toordinal()
    rows = [row for row, day in enumerate(known[0].tolist()) if first <= day <= last]
    highs = [float(known[1][1].item(row)) for row in rows]
    highest = max((high for high in highs if math.isfinite(high)), default=None)
    if highest is None or any(highest > least for least in needed.values()):
        return ()
    words = ", ".join(f"{name}.min_vix {least:g}" for name, least in needed.items())
    return (f"nothing can trade: the VIX is at most {highest:.2f} in these days, not above {words}",)


def was_held(journal: Journal) -> bool:
    """Whether anything was ever in the account: a closed trade, or a position at some close."""
    return bool(journal.trades) or any(point.positions for point in journal.equity)


def run_backtest_command(options: BacktestOptions) -> int:
    """Run, then print the tables. Returns 0, or raises what the command line turns into one line."""
    done = run_and_report(options)
    if options.open_:
        open_report(done.folder / "report.html")
    from cli.summary import print_summary

    print_summary(done.record, done.summary, done.folder, done.seconds)
    if NOTHING_HELD in done.record.warnings:
        sys.stdout.write(f"{NOTHING_HELD}\n")
    if done.error is not None:
        trace = done.folder / TRACE
        raise RunFailedError(f"{done.record.facts['Algorithm']} stopped: {last_words(done.error)} (trace: {trace})")
    return 0


def open_report(page: Path) -> None:
    """Show a report in the browser of whoever is there; where there is none, say so and go on."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        sys.stderr.write(f"warning: --open found no browser; the report is {page}\n")


backtest = command_of(
    run_backtest_command,
    """Run main.py over a market and leave a report in backtests/.

    Examples:

    python run.py backtest

    python run.py backtest --start 2018-01-02 --end 2018-12-31 --cash 45000 --set friday_0dte.min_vix=0

    python run.py backtest --market scenario:august-2024

    python run.py backtest --listings then --faults 0.02

    python run.py backtest --benchmark PUT_History.csv

    python run.py backtest --name calm --end 2017-12-29 --open

    python run.py backtest --algorithm probe.py --market lean:data --param seed=yes
    """,
    BacktestOptions,
)


def with_range(plan: RunPlan, market: OpenedMarket) -> RunPlan:
    """The plan with its days settled and its settings checked again with them; other algorithms set their own days."""
    if plan.settings is None:
        return plan
    asked = plan.settings.run
    start = asked.start if "start" in plan.given else None
    end = asked.end if "end" in plan.given else None
    first, last = chosen_range(market, start, end)
    parameters = {**plan.parameters, "run.start": first.isoformat(), "run.end": last.isoformat()}
    return replace(plan, parameters=parameters, settings=settings_of(parameters))


@dataclass(slots=True)
class ResultsFolder:
    """The folder that is worked in, and the name that it has once everything is written."""

    work: Path
    final: Path


@contextmanager
def results_folder(out: Path | None) -> Iterator[ResultsFolder]:
    """A folder to work in that gets its name when all is written; on an error nothing is left of it."""
    final = out if out is not None else ROOT / RESULTS / f"{datetime.now():%Y%m%d-%H%M%S}"
    final = final.absolute()
    folder = ResultsFolder(final.with_name(f".{final.name}-{os.getpid()}.tmp"), final)
    clear_leftovers(final.parent)
    clear_scratch()
    try:
        folder.work.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"--out: {final.parent} cannot be written to ({error.strerror})") from error
    try:
        yield folder
        folder.final = publish(folder.work, final)
    except OSError as error:
        raise UserError(f"--out: {final} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder.work, ignore_errors=True)


def publish(work: Path, final: Path) -> Path:
    """Give the finished folder its name in one step; a run that finished in the same second gets a number."""
    target, number = final, 2
    while target.exists():
        target, number = final.with_name(f"{final.name}-{number}"), number + 1
    work.rename(target)
    return target


def run(plan: RunPlan, market: OpenedMarket, work: Path, watch: Report | None = None) -> RunResult:
    """Run the algorithm with its results and its object store inside ``work``."""
    from simulation.lean.errors import MalformedDataError
    from simulation.runner import RunRequest, run_backtest

    storage = work / "storage"
    storage.mkdir()
    with progress(plan.algorithm.stem) as shown:

        def report(reading: Reading) -> None:
            shown(reading)
            if watch is not None:
                watch(reading)

        request = RunRequest(
            algorithm=plan.algorithm,
            source=market.source,
            parameters=plan.parameters,
            results=work,
            object_store=storage,
            progress=report,
            warn=market.warn,
        )
        try:
            return run_backtest(request)
        except (MalformedDataError, FileNotFoundError) as error:
            raise UserError(f"--market: {error}") from error
        except Exception as error:  # the file of the algorithm could not even be loaded: its own words say why
            if isinstance(error, OSError) and error.errno in DISK_REFUSES:
                raise  # not its fault: ``results_folder`` says so
            words = last_words(traceback.format_exc())
            raise RunFailedError(
                f"{plan.algorithm.name} could not be started: {words} (--traceback shows all)"
            ) from error


def record_of(plan: RunPlan, market: OpenedMarket, result: RunResult, work: Path) -> RunRecord:
    """What the report shows: the journal of main.py, or for other algorithms the engine's own equity."""
    own = plan.settings is not None
    journal = collect_journal(work) if own else Journal()
    for words in journal.capacity:
        market.warn(words)
    equity = (opening_of(plan.settings), *journal.equity) if plan.settings and journal.equity else engine_equity(result)
    start, end = run_days(plan, result)
    return RunRecord(
        title="Tom King backtest" if own else f"{result.algorithm_name} backtest",
        start=start,
        end=end,
        journal=journal,
        equity=equity,
        provenance=carded(market, result),
        settings=plan.settings.describe() if plan.settings is not None else parameters_text(plan.parameters),
        risk_free=own_risk_free(start, end) if own else risk_free(market, start, end),
        priors=priors_of(plan.settings) if plan.settings is not None else None,
        facts={
            "Algorithm": plan.algorithm.name,
            "Market": market.provenance.market,
            "Seed": str(plan.seed),
            "Orders": str(len(result.orders)),
            "Order list hash": result.order_list_hash,
            "Seconds in the engine": f"{result.runtime_seconds:.1f}",
            "Python": sys.version.split()[0],
        },
        engine_statistics=result.statistics,
        error=result.error.strip().splitlines()[-1] if result.error else None,
        own=own,
        warnings=(*market.warnings, *(plan.settings.accepted() if plan.settings is not None else ())),
        fill_rule=plan.settings.fills.rule if plan.settings is not None else None,
        benchmarks=benchmarks_of(market, plan, start, end),
        engine_trades=() if own else tuple(engine_trade(trade) for trade in result.closed_trades),
    )


def benchmarks_of(market: OpenedMarket, plan: RunPlan, start: date, end: date) -> tuple[Benchmark, ...]:
    """What the account is set beside: the S&P 500 with dividends where it is modelled, and the file that was given."""
    own = index_with_dividends(market, start, end)
    given = None if plan.benchmark is None else benchmark_file(plan.benchmark, start, end)
    return tuple(one for one in (own, given) if one is not None)


def benchmark_file(path: Path, start: date, end: date) -> Benchmark:
    """Daily closes of a file, by its name, from the last before the run.

    Raises:
        UserError: it cannot be read, or knows under two days of the run.
    """
    from simulation.market.history import HistoryError, Role, read_csv

    try:
        bars = read_csv(path, Role.UNDERLYING)
    except (HistoryError, OSError) as error:
        raise UserError(f"--benchmark: {error}") from error
    points = [
        EquityPoint(date.fromordinal(int(day)), float(close)) for day, close in zip(bars.days, bars.close, strict=True)
    ]
    before = [point for point in points if point.day < start][-1:]
    inside = [point for point in points if start <= point.day <= end]
    if len(inside) < 2:
        raise UserError(
            f"--benchmark: {path} has {len(inside)} days from {start} to {end}; expected daily closes of them"
        )
    return Benchmark(path.stem, (*before, *inside))


def index_with_dividends(market: OpenedMarket, start: date, end: date) -> Benchmark | None:
    """The S&P 500 with dividends over the run's days, where the market is modelled; of a data folder nothing is known.

    Total return is the index's closes with the dividend yield of each year (docs/market.md) earned by calendar days.
    """
    from simulation.market.corporate import index_dividend_yield
    from simulation.market.source import ModelledMarket

    known = market.source.book.daily("SPX") if isinstance(market.source, ModelledMarket) else None
    if known is None:
        return None
    points: list[EquityPoint] = []
    grown, before = 1.0, start
    for ordinal, close in zip(known[0], known[1][3], strict=True):
        day = date.fromordinal(int(ordinal))
        if start - LONGEST_BREAK <= day <= end:
            grown *= math.exp(index_dividend_yield(day) * (day - before).days / DAYS_OF_A_YEAR) if points else 1.0
            points.append(EquityPoint(day, float(close) * grown))
            before = day
    first = max((place for place, point in enumerate(points) if point.day < start), default=0)
    return Benchmark("S&P 500 with dividends", tuple(points[first:])) if len(points) > 1 else None


def collect_journal(work: Path) -> Journal:
    """Read the journal that main.py left in the object store, and move it beside the report."""
    storage = work / "storage"
    found = sorted(storage.rglob("*journal*.jsonl"))
    if not found:
        return Journal()
    moved = work / JOURNAL
    shutil.move(found[0], moved)
    if not any(path.is_file() for path in storage.rglob("*")):
        shutil.rmtree(storage)
    try:
        return read_journal(moved)
    except JournalError as error:
        raise RunFailedError(f"the journal of this run cannot be reported: {error}") from error


def engine_equity(result: RunResult) -> tuple[EquityPoint, ...]:
    """The engine's last equity sample of each session; a sample of midnight closes the day before it.

    The engine samples every calendar day: what happens on a day without a session (a settlement in the night after a
    Friday) counts to the session before it. The first point is what the account began with.
    """
    from simulation.market.calendar import calendar

    last: dict[date, float] = {}
    for moment, value in zip(*result.equity, strict=True):
        day = (moment - MIDNIGHT_SAMPLE).date()
        sessions = calendar().between(day - LONGEST_BREAK, day)
        last[sessions[-1] if sessions else day] = value
    begun = as_day(result.start)
    return tuple(EquityPoint(day, value, opening=day < begun) for day, value in last.items())


def opening_of(settings: Settings) -> EquityPoint:
    """What the account of main.py begins with, before its first session."""
    return EquityPoint(settings.run.start, settings.run.cash, opening=True)


def engine_trade(trade: Any) -> EngineTrade:
    """A trade of LEAN's trade builder as the report shows it; times in UTC."""
    sign = -1.0 if int(trade.direction) else 1.0
    fees = float(trade.total_fees)
    return EngineTrade(
        name=str(trade.symbol.value),
        quantity=sign * abs(float(trade.quantity)),
        opened=trade.entry_time,
        closed=trade.exit_time,
        entry=float(trade.entry_price),
        exit=float(trade.exit_price),
        profit=float(trade.profit_loss) - fees,
        fees=fees,
        won=bool(trade.is_win),
    )


def run_days(plan: RunPlan, result: RunResult) -> tuple[date, date]:
    """First and last day that the run was about."""
    if plan.settings is not None:
        return plan.settings.run.start, plan.settings.run.end
    return as_day(result.start), as_day(result.end)


def as_day(moment: date) -> date:
    """The day of a date or a time."""
    return moment.date() if isinstance(moment, datetime) else moment


def parameters_text(parameters: Mapping[str, str]) -> str:
    """The parameters of an algorithm that has no settings of ours."""
    return "\n".join(f"{key} = {value}" for key, value in parameters.items()) or "no parameters"


def risk_free(market: OpenedMarket, start: date, end: date) -> float:
    """Average yearly risk-free rate of the range, as the market states it; 0 where it states none."""
    rates = market.source.interest_rates()
    if rates is None:
        return UNKNOWN_RATE
    days = [date.fromordinal(number) for number in range(start.toordinal(), end.toordinal() + 1, 7)]
    return sum(rates.at(day) for day in days) / len(days)


def own_risk_free(start: date, end: date) -> float:
    """Average bill rate of the range from the table by which free cash earns its interest, so that both agree."""
    days = [date.fromordinal(number) for number in range(start.toordinal(), end.toordinal() + 1)]
    return sum(treasury_bill(day.year) for day in days) / len(days)


def priors_of(settings: Settings) -> Priors:
    """The win rates that the settings believe before any trade."""
    rates = {
        name: float(section.win_rate)
        for name, section in settings
        if isinstance(getattr(section, "win_rate", None), float)
    }
    return Priors(rates, settings.sizing.prior_weight)

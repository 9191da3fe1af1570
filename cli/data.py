"""``python run.py data``: write a market as a LEAN data folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.backtest import with_range
from cli.errors import RunFailedError, UserError, clear_leftovers, last_words
from cli.markets import WRITTEN, OpenedMarket, open_market
from cli.options import MAIN, BacktestOptions, MarketOptions, RunPlan, command_of, plan_of
from cli.summary import Report, progress

if TYPE_CHECKING:
    from simulation.data.source import DataSource
    from simulation.export.export import ExportProgress, ExportSummary, Selection
    from simulation.lean.symbols import Symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions(MarketOptions):
    """Every option of ``data``, as text, unchecked."""

    out: Annotated[Path, typer.Option(help="Folder to make. Example: --out data")]
    symbols: Annotated[
        str | None,
        typer.Option(
            help="What to write: TICKER for an underlying, ROOT:DAYS:MONEYNESS for a chain, parted by commas, or "
            "methodology: every contract that the ten strategies can look at and hold. Without it: what main.py asks "
            "for under these settings and those of config.json, found by running it once. "
            "Example: --symbols SPX,VIX,SPXW:0-7:0.95-1.05"
        ),
    ] = None


def run_data_command(options: DataOptions) -> int:
    """Write the folder, and say how to read it."""
    out = options.out
    if out.exists():
        raise UserError(f"--out: {out} exists; expected a folder that does not exist yet")
    for name in ("start", "end"):
        _check_day(f"--{name}", getattr(options, name))
    if options.symbols is not None and (options.set_ or options.cash or options.strategies):
        raise UserError("--symbols: says what to write by itself; --set, --cash and --strategies are for main.py's run")
    plan = plan_of(BacktestOptions(**{item.name: getattr(options, item.name) for item in fields(MarketOptions)}))
    market = open_market(plan.market, plan.seed)
    plan = with_configured_range(plan, market)
    begun = time.monotonic()
    work = out.absolute().with_name(f".{out.name}-{os.getpid()}.tmp")
    clear_leftovers(work.parent)
    try:
        work.mkdir(parents=True)  # said now, not after the run that finds what is needed
        work.rmdir()
        summary = _write(market, plan, work, options.symbols)
        (work / WRITTEN).write_text(note_of(plan, options.market), encoding="utf-8")
        work.rename(out)
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    first, last = days_of(plan)
    typer.echo(
        f"{out}: {first} to {last} and a week before, {summary.days} days, {summary.contracts} option contracts, "
        f"{summary.files} files, {summary.bytes / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s"
    )
    typer.echo(f"read it with: python run.py backtest --market {shlex.quote(f'lean:{out}')}{same_settings(options)}")
    return 0


data = command_of(
    run_data_command,
    """Write the modelled market as a folder that LEAN reads.

    Without --start and --end it holds the days of config.json, which are those that `lean backtest` runs.

    Examples:

    python run.py data --out data

    python run.py data --start 2018-02-01 --end 2018-03-29 --set friday_0dte.min_vix=0 --out data

    python run.py data --start 2020-02-03 --end 2020-02-28 --market csv:spx.csv,vix.csv --out data --symbols SPX,VIX

    python run.py data --start 2018-01-02 --end 2018-12-31 --out data --symbols methodology
    """,
    DataOptions,
)


def _check_day(option: str, text: str | None) -> None:
    try:
        date.fromisoformat(text or date.min.isoformat())
    except ValueError as error:
        raise UserError(f"{option}: {text!r} is no date; expected YYYY-MM-DD") from error


def with_configured_range(plan: RunPlan, market: OpenedMarket) -> RunPlan:
    """The plan with its days: those asked for, else config.json's where the market has them, else its usual ones."""
    first, last = days_of(plan)
    begins, ends = market.first or date.max, market.last or date.min
    if not plan.given and begins <= first and last <= ends:
        plan = replace(plan, given=frozenset({"start", "end"}))
    return with_range(plan, market)


def days_of(plan: RunPlan) -> tuple[date, date]:
    """First and last day of a plan of main.py."""
    if plan.settings is None:
        raise ValueError("plan: of another algorithm than main.py")
    return plan.settings.run.start, plan.settings.run.end


def note_of(plan: RunPlan, market: str) -> str:
    """What the folder was written from, as JSON, for people and for a run without dates."""
    first, last = days_of(plan)
    note = {
        "start": first.isoformat(),
        "end": last.isoformat(),
        "market": market,
        "seed": plan.seed,
        "parameters": dict(plan.parameters),
    }
    return json.dumps(note, indent=2) + "\n"


def same_settings(options: DataOptions) -> str:
    """The options that make a run over the folder the run that it was written for; dates come from the folder."""
    words: list[str] = []
    for name in ("cash", "strategies"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", value]
    for pair in options.set_:
        words += ["--set", pair]
    return f" {shlex.join(words)}" if words else ""


def _write(market: OpenedMarket, plan: RunPlan, work: Path, symbols: str | None) -> ExportSummary:
    from simulation.export.export import ExportRequestError, parse_selection, write_folder
    from strategies.roster import NEEDS

    days = days_of(plan)
    try:
        if symbols is None:
            chosen = _recorded(market, plan)
        else:
            chosen = parse_selection(market.source, symbols.split(","), *days, needs=NEEDS)
    except ExportRequestError as error:
        raise UserError(f"--symbols: {error}") from error
    if symbols is not None and chosen.plan is None:
        _check_known(market.source, chosen.underlyings, days)
    with progress("writing") as report:
        return write_folder(market.source, *days, work, chosen, _reading(report))


def _check_known(source: DataSource, underlyings: Sequence[Symbol], days: tuple[date, date]) -> None:
    """Raises UserError for a named underlying without a minute or a contract on any of the days."""
    from simulation.lean.enums import Resolution, SecurityType

    within = [days[0] + timedelta(days=ahead) for ahead in range((days[1] - days[0]).days + 1)]
    for symbol in underlyings:
        is_future = symbol.security_type is SecurityType.FUTURE
        found = (
            source.universe(symbol, day) if is_future else source.trades(symbol, Resolution.MINUTE, day)
            for day in within
        )
        if all(block is None for block in found):
            raise UserError(
                f"--symbols: {symbol.id.symbol} has no data from {days[0]} to {days[1]}; expected tickers of the "
                "market, as SPX, SPY or ES, chains, as SPXW:0-7, or methodology"
            )


class _Reading:
    """What the progress bar wants to hear; an export has no equity."""

    def __init__(self, day: date, fraction: float) -> None:
        self.time = datetime(day.year, day.month, day.day)
        self.fraction = fraction
        self.equity = None


def _reading(report: Report) -> ExportProgress:
    def say(day: date, fraction: float) -> None:
        report(_Reading(day, fraction))

    return say


def _recorded(market: OpenedMarket, plan: RunPlan) -> Selection:
    """Runs main.py once over the market, as ``backtest`` would, and takes what it asked for."""
    from simulation.export.export import RecordingSource, selection_of
    from simulation.runner import RunRequest, run_backtest

    source = RecordingSource(market.source)
    with tempfile.TemporaryDirectory() as storage, progress("finding what is needed") as report:
        result = run_backtest(
            RunRequest(
                algorithm=MAIN,
                source=source,
                parameters=plan.parameters,
                results=None,
                object_store=Path(storage),
                progress=report,
                name=None,
                warn=market.warn,
            )
        )
    if result.error is not None:
        raise RunFailedError(
            f"main.py stopped with an error, so what it needs is not known: {last_words(result.error)}"
        )
    return selection_of(source.demand)

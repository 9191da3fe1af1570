"""``python run.py data``: write a market as a LEAN data folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import RunFailedError, UserError, last_words
from cli.markets import OpenedMarket, chosen_range, open_market
from cli.options import MAIN, MarketChoice
from cli.progress import Report, progress

if TYPE_CHECKING:
    from simulation.data.source import DataSource
    from simulation.export.export import ExportProgress, ExportSummary, Selection
    from simulation.lean.symbols import Symbol


def data(
    out: Annotated[Path, typer.Option(help="Folder to make. Example: --out data")],
    start: Annotated[str | None, typer.Option(help="First day. Example: --start 2020-02-03")] = None,
    end: Annotated[str | None, typer.Option(help="Last day. Example: --end 2020-03-31")] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            help="What to write: TICKER for an underlying, ROOT:DAYS:MONEYNESS for a chain, parted by commas, or "
            "methodology: every contract that the ten strategies can look at and hold. Without it: what main.py asks "
            "for, found by running it once. Example: --symbols SPX,VIX,SPXW:0-7:0.95-1.05"
        ),
    ] = None,
    market: Annotated[
        str, typer.Option(help="Market to write, as for backtest. Example: --market scenario:august-2024")
    ] = "history",
    seed: Annotated[int, typer.Option(help="Seed of the modelled minutes and quotes. Example: --seed 7")] = 1,
) -> int:
    """Write the modelled market as a folder that LEAN reads.

    Examples:

    python run.py data --start 2020-02-03 --end 2020-03-31 --out data

    python run.py data --start 2020-02-03 --end 2020-02-28 --out data --symbols SPX,VIX,SPXW:0-7:0.95-1.05

    python run.py data --start 2018-01-02 --end 2018-12-31 --out data --symbols methodology
    """
    if out.exists():
        raise UserError(f"--out: {out} exists; expected a folder that does not exist yet")
    opened = open_market(MarketChoice.parse(market), seed)
    first, last = chosen_range(opened, _day("--start", start), _day("--end", end))
    begun = time.monotonic()
    work = out.absolute().with_name(f".{out.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    try:
        summary = _write(opened, (first, last), work, symbols)
        work.rename(out)
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    typer.echo(
        f"{out}: {summary.days} days, {summary.contracts} option contracts, {summary.files} files, "
        f"{summary.bytes / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s"
    )
    typer.echo("read it with: python run.py backtest --market lean:" + str(out))
    return 0


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{option}: {text!r} is no date; expected YYYY-MM-DD") from error


def _write(market: OpenedMarket, days: tuple[date, date], work: Path, symbols: str | None) -> ExportSummary:
    from simulation.export.export import ExportRequestError, parse_selection, write_folder

    try:
        chosen = (
            _recorded(market, days) if symbols is None else parse_selection(market.source, symbols.split(","), *days)
        )
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
        self.equity = 0.0


def _reading(report: Report) -> ExportProgress:
    def say(day: date, fraction: float) -> None:
        report(_Reading(day, fraction))

    return say


def _recorded(market: OpenedMarket, days: tuple[date, date]) -> Selection:
    """Runs main.py once over the market and takes what it asked for."""
    import tempfile

    from simulation.export.export import RecordingSource, selection_of
    from simulation.runner import RunRequest, run_backtest

    source = RecordingSource(market.source)
    with tempfile.TemporaryDirectory() as storage, progress("finding what is needed") as report:
        result = run_backtest(
            RunRequest(
                algorithm=MAIN,
                source=source,
                parameters={"run.start": days[0].isoformat(), "run.end": days[1].isoformat()},
                results=None,
                object_store=Path(storage),
                progress=report,
                name=None,
            )
        )
    if result.error is not None:
        raise RunFailedError(
            f"main.py stopped with an error, so what it needs is not known: {last_words(result.error)}"
        )
    return selection_of(source.demand)

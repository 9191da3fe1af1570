"""Opens the market that a run asks for, and says what of it is real and what is modelled."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import UserError
from cli.options import MarketChoice, MarketKind
from reporting.report import Provenance

if TYPE_CHECKING:
    from simulation.data.source import DataSource
    from simulation.runner import RunResult

WRITTEN = "written.json"
"""What ``data`` notes in a folder that it wrote: its days, market, seed and parameters."""
UNDERLYINGS = ("index/usa/minute/spx", "index/usa/minute/vix", "equity/usa/minute/spy")
OPTIONS_MODELLED = (
    "Option prices: an arbitrage-free volatility surface whose 30-day variance is the VIX of the minute; skew, term "
    "structure, spreads, open interest and volume follow stated rules (docs/market.md)",
    "Minutes within each day: random, seeded, honouring the day's open, high, low and close",
)
LISTINGS_CAUTION = (
    "Listings follow today's rules in the past as well: before 2010 nobody could trade a PM-settled SPX option that "
    "expires each Friday",
)
LISTINGS_THEN = "Listings follow the rules of each year: what was not listed then cannot be traded"
REAL_DAYS = "Daily open, high, low and close of the S&P 500, and daily closes of the VIX, 2014 to 2018"
PROVENANCE: Mapping[MarketKind, Provenance] = {
    MarketKind.HISTORY: Provenance(
        "real daily S&P 500 and VIX history with modelled minutes and options",
        (f"{REAL_DAYS} (the data sets of the arch package)",),
        ("Open, high and low of the VIX, and every underlying but the S&P 500, NASDAQ and WTI", *OPTIONS_MODELLED),
        LISTINGS_CAUTION,
    ),
    MarketKind.CSV: Provenance(
        "daily bars from your file with modelled minutes and options",
        ("The daily bars of your file, as far as they are real",),
        OPTIONS_MODELLED,
        LISTINGS_CAUTION,
    ),
    MarketKind.LEAN: Provenance("a LEAN data folder, read as it is", ("Whatever the folder holds",), ()),
    MarketKind.GARCH: Provenance(
        "simulated years drawn from a joint volatility model fitted to history",
        ("The history that the model was fitted to",),
        ("Every day and every price",),
        ("These years never happened: one seed says nothing, many seeds describe the model",),
    ),
    MarketKind.SCENARIO: Provenance(
        "a named scenario: daily path from its facts, the rest modelled",
        ("The facts that the scenario states",),
        OPTIONS_MODELLED,
        ("One path says how the system behaves on such a day, nothing about how often such days come",),
    ),
}


@dataclass(frozen=True, slots=True)
class OpenedMarket:
    """A market ready to run on. ``usual`` is the range run when none is asked for; None where the market knows none.

    ``warnings`` gathers what it turned out not to have.
    """

    source: DataSource
    provenance: Provenance
    first: date | None
    last: date | None
    usual: tuple[date, date] | None
    warnings: list[str] = field(default_factory=list)

    def warn_of_gaps(self) -> None:
        """Say which contracts a folder lacked although its listing has them: the run was then another one."""
        from simulation.data.source import KnowsGaps

        gaps = self.source.gaps() if isinstance(self.source, KnowsGaps) else ()
        if gaps:
            name, day = min(gaps, key=lambda gap: (gap[1], gap[0]))
            self.warn(
                f"the folder lacks {len(gaps)} contracts or chains that this run asked for and that were listed, first "
                f"{name} on {day}: the run did without; write the folder with this run's settings (run.py data --set)"
            )

    def warn(self, words: str) -> None:
        """Say at once on standard error, and keep for the report."""
        self.warnings.append(words)
        sys.stderr.write(f"warning: {words}\n")
        sys.stderr.flush()


def open_market(choice: MarketChoice, seed: int) -> OpenedMarket:
    """Open a market; raises ``UserError`` with what is wrong with its file, folder, seed or name."""
    try:
        return open_folder(choice) if choice.kind is MarketKind.LEAN else open_model(choice, seed)
    except (ValueError, OSError) as error:
        raise UserError(f"--market: {str(error).removeprefix('market: ')}") from error


def open_folder(choice: MarketChoice) -> OpenedMarket:
    """A LEAN data folder as it is."""
    from simulation.data.lean_folder import LeanFolder

    root = Path(choice.detail).resolve()
    source = LeanFolder(root)
    usual = folder_range(root)
    source.check()
    return OpenedMarket(source, described(choice, ()), None, None, usual)


def folder_range(root: Path) -> tuple[date, date] | None:
    """The days of a data folder: those it was written for, else those on which all of main.py's underlyings traded.

    None where it holds no minutes of any of them. Raises ValueError for a note that cannot be read.
    """
    note = root / WRITTEN
    if note.is_file():
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            return date.fromisoformat(said["start"]), date.fromisoformat(said["end"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{note} is damaged ({error}); without it the days of the files are taken") from error
    ranges = [days for name in UNDERLYINGS if (days := days_of_files(root / name)) is not None]
    if not ranges:
        return None
    return max(first for first, _ in ranges), min(last for _, last in ranges)


def days_of_files(folder: Path) -> tuple[date, date] | None:
    """First and last day of a folder of daily files, ``20180205_trade.zip``; None without one."""
    stamps = sorted(path.name[:8] for path in folder.glob("[0-9]*_trade.zip") if path.name[:8].isdecimal())
    if not stamps:
        return None
    return datetime.strptime(stamps[0], "%Y%m%d").date(), datetime.strptime(stamps[-1], "%Y%m%d").date()


def open_model(choice: MarketChoice, seed: int) -> OpenedMarket:
    """The modelled market over the history that ``choice`` names."""
    from simulation.market.source import ModelledMarket

    spec = choice.kind.value if choice.kind is MarketKind.HISTORY else f"{choice.kind}:{choice.detail}"
    listings = choice.listings or "today"
    source = ModelledMarket.from_history(spec, seed=seed, listings=listings, quote_faults=choice.faults)
    origin = described(choice, source.notes)
    return OpenedMarket(source, origin, source.first_day, source.last_day, source.default_range())


def carded(market: OpenedMarket, result: RunResult) -> Provenance:
    """The market's description with its report card: how kind it was measured to be to what the run did.

    A folder of LEAN's data has none: nothing of it is modelled, as far as anyone here knows.
    """
    from simulation.market.calendar import NEW_YORK
    from simulation.market.report_card import Fill, report_card
    from simulation.market.source import ModelledMarket

    if not isinstance(market.source, ModelledMarket):
        return market.provenance
    fills = [
        Fill(
            datetime.fromtimestamp(event.utc_ms / 1000.0, NEW_YORK).date(),
            event.symbol,
            float(event.fill_quantity),
            float(event.fill_price),
        )
        for event in result.order_events
        if event.fill_quantity
    ]
    return replace(market.provenance, measured=report_card(fills))


def described(choice: MarketChoice, notes: tuple[str, ...]) -> Provenance:
    """The market's description with what was found while its data were read."""
    usual = PROVENANCE[choice.kind]
    name = f"{usual.market} ({choice.detail})" if choice.detail else usual.market
    cautions = usual.cautions
    if choice.listings == "then":
        cautions = (*(one for one in cautions if one not in LISTINGS_CAUTION), LISTINGS_THEN)
    modelled = usual.modelled
    if choice.faults is not None:
        modelled = (*modelled, f"Quotes missing, one-sided or stale in {choice.faults:.2%} of a contract's minutes")
    return Provenance(name, usual.real, modelled, (*cautions, *notes))


def chosen_range(market: OpenedMarket, start: date | None, end: date | None) -> tuple[date, date]:
    """The days to run: those asked for, checked against the market, or the market's usual ones.

    Raises:
        UserError: a day outside the market, or a range without one trading day.
    """
    begin, finish = bounds(market, start, end)
    if begin > finish:
        raise UserError(f"--start {begin} is after --end {finish}; expected a range of at least one trading day")
    from simulation.market.calendar import calendar

    if not calendar().between(begin, finish):
        raise UserError(f"--start {begin} --end {finish}: no trading day in between; expected at least one")
    return begin, finish


def bounds(market: OpenedMarket, start: date | None, end: date | None) -> tuple[date, date]:
    """First and last day to run; raises ``UserError`` for a day that the market does not have."""
    if market.usual is None:
        if start is None or end is None:
            raise UserError("--start and --end: both are needed; the folder has no minutes of SPX, VIX or SPY")
        return start, end
    usual_start, usual_end = market.usual
    first, last = market.first or usual_start, market.last or usual_end
    for option, day in (("--start", start), ("--end", end)):
        if day is not None and not first <= day <= last:
            raise UserError(f"{option}: {day} is outside this market's history; expected {first} to {last}")
    begin = start or (usual_start if end is None or usual_start <= end else first)
    return begin, end or (usual_end if start is None else last)

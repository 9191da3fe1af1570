"""Puts a market together from what a user named: history, files, simulated years or a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from simulation.market.assets import Asset, AssetSeries, AssetSpec, Carry, DrivenAsset, Kind
from simulation.market.book import Book
from simulation.market.calendar import TRADED_SHARE, FloatArray
from simulation.market.days import DayShape
from simulation.market.factors import LAWS, FactorLaw, follow, simulate
from simulation.market.futures import FUTURES, FutureLaw, FutureStrip
from simulation.market.garch import simulated_history
from simulation.market.history import DailyBars, MarketHistory, from_arch, from_csv
from simulation.market.listings import Listings
from simulation.market.quotes import ETF_QUOTES, INDEX_QUOTES
from simulation.market.rates import index_dividend_yield, risk_free
from simulation.market.scenarios import Scenario, history_of, run_range, scenario
from simulation.market.shares import SHARES, FundShare, ShareLaw
from simulation.market.valuation import Style

DEFAULT_START, DEFAULT_END = date(2015, 7, 1), date(2018, 12, 31)
VOLATILITIES = {"VIX": "SPX", "VXN": "NDX", "RVX": "RUT", "GVZ": "GOLD", "OVX": "OIL", "EVZ": "EURO", "VXTLT": "BOND"}
REAL_SERIES = {"NDX": ("NASDAQ", "NDX", "IXIC", "QQQ"), "OIL": ("WTI", "USO", "CL")}
COMPOSITE_TO_100 = 0.90  # the NASDAQ-100 over the composite: 0.86 in January 2014, 0.95 in December 2018


Shapes = tuple[Mapping[int, DayShape], Mapping[int, DayShape]]


class MarketSpecError(ValueError):
    """A market that was named wrongly; the message says what is accepted."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build: the market's name as given, the seed and the listing rules."""

    spec: str
    seed: int
    listings: Listings


def index_series(index: DailyBars, volatility: DailyBars) -> AssetSeries:
    """An index and its volatility index, same days, as one series."""
    shown = (volatility.open, volatility.high, volatility.low, volatility.close)
    return AssetSeries(index.days, index.open, index.high, index.low, index.close, shown)


def _index_carry(day: date, _: float) -> Carry:
    return Carry(risk_free(day), index_dividend_yield(day))


def _driver_carry(day: date, _: float) -> Carry:
    return Carry(risk_free(day))


def _real_bars(law: FactorLaw, history: MarketHistory) -> DailyBars | None:
    """The driver's own history where the market has it, cut to the index's days and brought to the driver's level."""
    for name in REAL_SERIES.get(law.name, (law.name,)):
        found = history.others.get(name)
        if found is None or found.days[0] > history.index.days[0] or found.days[-1] < history.index.days[-1]:
            continue
        rows = np.searchsorted(found.days, history.index.days, side="right") - 1
        present = found.days[rows] == history.index.days
        scale = COMPOSITE_TO_100 if name in ("NASDAQ", "IXIC") else 1.0
        shown = [np.where(present, column[rows], np.nan) for column in (found.open, found.high, found.low)]
        first, high, low, close = (np.round(column * scale, 2) for column in (*shown, found.close[rows]))
        return DailyBars(found.name, found.role, history.index.days, first, high, low, close, found.profile)
    return None


def driver(law: FactorLaw, index: Asset, history: MarketHistory, seed: int) -> Asset:
    """An underlying other than the index: real where its history came with the market, else by its factor law."""
    volatility = index.filled_volatility
    real = _real_bars(law, history)
    unknown = np.full(len(index.series.days), np.nan)
    if real is None:
        made = simulate(law, index.series.days, index.series.close, volatility, seed)
        columns: tuple[FloatArray, FloatArray, FloatArray] = (unknown, unknown, unknown)
    else:
        made = follow(law, real.close, index.series.close, volatility)
        columns = (real.open, real.high, real.low)
    implied = (unknown, unknown, unknown, made.implied)
    series = AssetSeries(index.series.days, *columns, made.close, implied)
    profile = index.spec.profile if real is not None and not np.isnan(real.open[-1]) else TRADED_SHARE
    spec = AssetSpec(law.name, Kind.INDEX, profile, law.smile, law.volatility, law.tick)
    return DrivenAsset(spec, series, index, (made.beta, made.own), _driver_carry)


def book_of(
    name: str,
    history: MarketHistory,
    request: BuildRequest,
    default: tuple[date, date] | None = None,
    shapes: Shapes | None = None,
) -> Book:
    """The whole market over one history; underlyings are built when first used."""
    first, last = history.first_day, history.last_day
    book = Book(name, first, last, default or usual_range(first, last), request.listings, notes=history.notes)
    spec = AssetSpec("SPX", Kind.INDEX, history.index.profile)
    book.makers["SPX"] = lambda: Asset(
        spec, index_series(history.index, history.volatility), request.seed, _index_carry, shapes
    )
    for law in LAWS.values():
        book.makers[law.name] = _driver_maker(law, book, history, request.seed)
    book.volatilities.update(VOLATILITIES)
    of_a_share = any("ten times this share" in note for note in history.notes)
    for share in SHARES.values():
        book.share_makers[share.ticker] = _share_maker(share, book, accrues=not (share.ticker == "SPY" and of_a_share))
        book.add_root(share.ticker, share.ticker, Style.AMERICAN, ETF_QUOTES, share.driver)
    for root, ticker in (("SPXW", "SPX"), ("SPX", "SPX"), ("NDXP", "NDX")):
        book.add_root(root, ticker, Style.EUROPEAN, INDEX_QUOTES, ticker)
    for future in FUTURES.values():
        book.strips[future.ticker] = _strip(future, book, request.listings)
    return book


def book_of_scenario(plan: Scenario, request: BuildRequest) -> Book:
    """The market of a scenario: its days behind a prelude, or a stretch of another market, with its faults."""
    name = f"scenario:{plan.name}"
    if plan.source is not None:
        book = build(replace(request, spec=plan.source))
        book.name, book.default_range, book.last_day = name, run_range(plan), plan.end
        book.notes = (*book.notes, f"{name}: {plan.facts}")
    else:
        book = book_of(name, history_of(plan), request, run_range(plan), (plan.shapes, plan.vix_shapes))
    book.quote_faults = dict(plan.faults)
    book.silent.update(plan.silent)
    return book


def _driver_maker(law: FactorLaw, book: Book, history: MarketHistory, seed: int) -> Callable[[], Asset]:
    return lambda: driver(law, book.asset("SPX"), history, seed)


def _share_maker(law: ShareLaw, book: Book, *, accrues: bool) -> Callable[[], FundShare]:
    return lambda: FundShare(law, book.asset(law.driver), accrues=accrues)


def _strip(law: FutureLaw, book: Book, listings: Listings) -> FutureStrip:
    return FutureStrip(
        law, lambda: book.asset(law.driver), lambda day: book.volatility_points(law.driver, day), listings
    )


def usual_range(first: date, last: date) -> tuple[date, date]:
    """The years that are run when none are asked for.

    July 2015 to December 2018 where they are there, else the first three.
    """
    if first <= DEFAULT_START and last >= DEFAULT_END:
        return DEFAULT_START, DEFAULT_END
    start = first + timedelta(days=365) if (last - first).days > 800 else first
    return start, min(last, start + timedelta(days=3 * 365))


def build(request: BuildRequest) -> Book:
    """The market that ``request.spec`` names; raises MarketSpecError or a HistoryError."""
    kind, _, rest = request.spec.partition(":")
    if request.spec == "history":
        return book_of("history", from_arch(), request)
    if kind == "csv" and rest:
        return book_of(request.spec, from_csv([Path(part.strip()) for part in rest.split(",")]), request)
    if kind == "garch":
        if not rest.isdecimal():
            raise MarketSpecError(f"market: {request.spec!r}; expected garch:SEED with a whole number, such as garch:7")
        return book_of(request.spec, simulated_history(int(rest)), request)
    if kind == "scenario" and rest:
        return book_of_scenario(scenario(rest), request)
    raise MarketSpecError(
        f"market: {request.spec!r}; expected history, csv:FILE[,FILE...], garch:SEED or scenario:NAME"
    )

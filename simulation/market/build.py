"""Puts a market together from what a user named: history, files, simulated years or a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulation.blocks import FactorRow, MarginRow
from simulation.enums import SecurityType
from simulation.market.assets import Asset, AssetDay, AssetSeries, AssetSpec, Carry, Kind
from simulation.market.calendar import CASH_INDEX, FloatArray, IntArray, Profile, calendar
from simulation.market.days import MinutePath
from simulation.market.faults import QuoteFaults
from simulation.market.history import DailyBars, MarketHistory, from_arch, from_csv
from simulation.market.listings import RULES, ListingBook, Listings
from simulation.market.quotes import ETF_QUOTES, INDEX_QUOTES, QuoteLaw
from simulation.market.rates import index_dividend_yield, risk_free
from simulation.market.shares import IndexShare
from simulation.market.valuation import OptionRoot, Style
from simulation.symbols import Symbol

DEFAULT_START, DEFAULT_END = date(2015, 7, 1), date(2018, 12, 31)


class MarketSpecError(ValueError):
    """A market that was named wrongly; the message says what is accepted."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build: the market's name as given, the seed and the listing rules."""

    spec: str
    seed: int
    listings: Listings


@dataclass
class Book:
    """Everything in one market, by ticker and by option root."""

    name: str
    first_day: date
    last_day: date
    default_range: tuple[date, date]
    listings: Listings
    assets: dict[str, Asset] = field(default_factory=dict)
    shares: dict[str, IndexShare] = field(default_factory=dict)
    volatilities: dict[str, str] = field(default_factory=dict)  # volatility ticker -> asset ticker
    roots: dict[str, OptionRoot] = field(default_factory=dict)
    volumes: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    quote_faults: QuoteFaults | None = None
    silent_minutes: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def ticker(self, symbol: Symbol) -> str | None:
        """The model's name for a security with a price of its own; ``None`` for what it has not."""
        name = symbol.id.symbol
        kinds = (SecurityType.INDEX, SecurityType.EQUITY)
        known = name in self.assets or name in self.shares or name in self.volatilities
        return name if symbol.security_type in kinds and known else None

    def root(self, symbol: Symbol) -> OptionRoot | None:
        """The option root of a contract or of a chain's symbol."""
        return self.roots.get(symbol.id.symbol)

    def asset_day(self, ticker: str, day: date) -> AssetDay | None:
        """Everything about one underlying on one day; ``None`` outside the range."""
        if not self.first_day <= day <= self.last_day:
            return None
        holder = self.assets.get(ticker) or self.shares.get(ticker)
        return None if holder is None else holder.day(day)

    def path(self, ticker: str, day: date) -> MinutePath | None:
        """Minutes of a price or of a volatility index."""
        if ticker in self.volatilities:
            inside = self.first_day <= day <= self.last_day
            return self.assets[self.volatilities[ticker]].volatility(day) if inside else None
        state = self.asset_day(ticker, day)
        return None if state is None else state.spot

    def days(self) -> list[date]:
        """Trading days of the range."""
        return calendar().between(self.first_day, self.last_day)

    def minutes(self, day: date) -> int:
        """Session length."""
        return calendar().session_minutes(day)

    def kept_minutes(self, ticker: str, day: date, count: int) -> NDArray[np.bool_] | None:
        """Which minutes are published; ``None`` for all of them."""
        silent = self.silent_minutes.get((ticker, day.toordinal()))
        if silent is None:
            return None
        now = np.arange(count)
        return np.asarray((now < silent[0]) | (now > silent[1]))

    def daily(self, ticker: str) -> tuple[IntArray, list[FloatArray]] | None:
        """Days of the range and their open, high, low and close.

        Gathered from the minutes where a source has closes only.
        """
        if ticker in self.shares:
            return self.shares[ticker].daily(self.first_day, self.last_day)
        volatile = ticker in self.volatilities
        asset = self.assets.get(self.volatilities[ticker] if volatile else ticker)
        if asset is None:
            return None
        series = asset.series
        columns = list(series.volatility) if volatile else [series.open, series.high, series.low, series.close]
        inside = (
            (series.days >= self.first_day.toordinal())
            & (series.days <= self.last_day.toordinal())
            & ~np.isnan(columns[3])
        )
        days, prices = series.days[inside], [column[inside].copy() for column in columns]
        for row in np.flatnonzero(np.isnan(prices[0])):
            path = self.path(ticker, date.fromordinal(int(days[row])))
            if path is not None:
                prices[0][row], prices[1][row], prices[2][row] = path.points[0], path.high.max(), path.low.min()
        return days, prices

    def usual_volume(self, ticker: str) -> float:
        """Units traded on a usual day; 0 for an index."""
        return self.volumes.get(ticker, 0.0)

    def profile(self, ticker: str) -> Profile:
        """How the ticker's variance is spread over a day."""
        holder = self.assets.get(ticker) or self.shares.get(ticker)
        return CASH_INDEX if holder is None else holder.spec.profile

    def tick(self, ticker: str) -> float:
        """Smallest price step of the ticker."""
        holder = self.assets.get(ticker) or self.shares.get(ticker)
        return 0.01 if holder is None else holder.spec.tick

    def factor_rows(self, symbol: Symbol) -> list[FactorRow] | None:
        """Dividends of an ETF as LEAN factors."""
        share = self.shares.get(symbol.id.symbol)
        return (
            None
            if share is None or symbol.security_type is not SecurityType.EQUITY
            else share.factor_rows(self.first_day, self.last_day)
        )

    def margin_rows(self, symbol: Symbol) -> list[MarginRow] | None:
        """Margins of a future; the cash products have none."""
        return None

    def price_range(self, ticker: str) -> Callable[[date, int], tuple[float, float] | None]:
        """Lowest and highest close of the ``span`` days before a day: what strikes are listed around."""

        def lookup(day: date, span: int) -> tuple[float, float] | None:
            table = self.shares[ticker].closes() if ticker in self.shares else self._closes(ticker)
            end = int(np.searchsorted(table[0], day.toordinal()))
            closes = table[1][max(0, end - span) : end]
            return (float(closes.min()), float(closes.max())) if len(closes) else None

        return lookup

    def _closes(self, ticker: str) -> tuple[IntArray, FloatArray]:
        series = self.assets[ticker].series
        return series.days, series.close

    def add_root(self, root: str, ticker: str, style: Style, law: QuoteLaw, volatility_ticker: str) -> None:
        """Lists an option root on a ticker."""
        self.roots[root] = OptionRoot(
            root,
            style,
            law,
            ListingBook(root, self.listings, self.price_range(ticker)),
            lambda day: self.asset_day(ticker, day),
            lambda day: self._volatility_points(volatility_ticker, day),
        )

    def _volatility_points(self, ticker: str, day: date) -> FloatArray | None:
        path = self.path(ticker, day)
        return None if path is None else path.points


def _series(index: DailyBars, volatility: DailyBars) -> AssetSeries:
    return AssetSeries(
        index.days,
        index.open,
        index.high,
        index.low,
        index.close,
        (volatility.open, volatility.high, volatility.low, volatility.close),
    )


def _index_carry(day: date, _: float) -> Carry:
    return Carry(risk_free(day), index_dividend_yield(day))


def book_of(name: str, history: MarketHistory, request: BuildRequest, default: tuple[date, date] | None = None) -> Book:
    """The whole market over one history."""
    first, last = history.first_day, history.last_day
    chosen = default or (
        max(first, min(DEFAULT_START, last - timedelta(days=365))),
        min(last, DEFAULT_END) if last >= DEFAULT_START else last,
    )
    book = Book(name, first, last, chosen, request.listings, notes=history.notes)
    spec = AssetSpec("SPX", Kind.INDEX, history.index.profile)
    book.assets["SPX"] = Asset(spec, _series(history.index, history.volatility), request.seed, _index_carry)
    book.volatilities["VIX"] = "SPX"
    from_share = any("ten times this share" in note for note in history.notes)
    book.shares["SPY"] = IndexShare("SPY", book.assets["SPX"], 0.1, accrues=not from_share)
    book.volumes["SPY"] = 8.0e7
    book.add_root("SPXW", "SPX", Style.EUROPEAN, INDEX_QUOTES, "VIX")
    book.add_root("SPX", "SPX", Style.EUROPEAN, INDEX_QUOTES, "VIX")
    book.add_root("SPY", "SPY", Style.AMERICAN, ETF_QUOTES, "VIX")
    return book


def build(request: BuildRequest) -> Book:
    """The market that ``request.spec`` names; raises MarketSpecError or a HistoryError."""
    kind, _, rest = request.spec.partition(":")
    if request.spec == "history":
        return book_of("history", from_arch(), request)
    if kind == "csv" and rest:
        return book_of(request.spec, from_csv([Path(part.strip()) for part in rest.split(",")]), request)
    raise MarketSpecError(f"market: {request.spec!r}; expected history or csv:FILE[,FILE...]")


__all__ = ["RULES", "Book", "BuildRequest", "MarketSpecError", "book_of", "build"]

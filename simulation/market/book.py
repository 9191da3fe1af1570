"""Everything in one market by ticker and by option root, each part made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from simulation.blocks import FactorRow, MarginRow
from simulation.enums import SecurityType
from simulation.market.assets import Asset, AssetDay
from simulation.market.calendar import TRADED_SHARE, FloatArray, IntArray, Profile, calendar
from simulation.market.corporate import halted_minutes
from simulation.market.days import MinutePath
from simulation.market.faults import QuoteFaults
from simulation.market.futures import FutureDay, FutureStrip
from simulation.market.listings import RULES, ListingBook, Listings
from simulation.market.quotes import QuoteLaw
from simulation.market.shares import FundShare
from simulation.market.valuation import OptionRoot, Style
from simulation.symbols import Symbol

Silence = tuple[int, int]


@dataclass
class Book:
    """One market: its range, its underlyings and the options on them.

    ``makers`` builds a driver when its ticker is first used; ``silent`` holds minutes (first and last) in which a
    ticker publishes nothing on a day.
    """

    name: str
    first_day: date
    last_day: date
    default_range: tuple[date, date]
    listings: Listings
    makers: dict[str, Callable[[], Asset]] = field(default_factory=dict)
    share_makers: dict[str, Callable[[], FundShare]] = field(default_factory=dict)
    strips: dict[str, FutureStrip] = field(default_factory=dict)
    volatilities: dict[str, str] = field(default_factory=dict)  # ticker of a volatility index -> its underlying
    roots: dict[str, OptionRoot] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    quote_faults: dict[int, QuoteFaults] | QuoteFaults | None = None
    silent: dict[tuple[str, int], Silence] = field(default_factory=dict)
    _assets: dict[str, Asset] = field(default_factory=dict)
    _shares: dict[str, FundShare] = field(default_factory=dict)
    _halts: dict[int, NDArray[np.bool_] | None] = field(default_factory=dict)

    def asset(self, ticker: str) -> Asset:
        """The driver of that name; raises KeyError for one that the market has not."""
        if ticker not in self._assets:
            self._assets[ticker] = self.makers[ticker]()
        return self._assets[ticker]

    def share(self, ticker: str) -> FundShare:
        """The fund of that name; raises KeyError for one that the market has not."""
        if ticker not in self._shares:
            self._shares[ticker] = self.share_makers[ticker]()
        return self._shares[ticker]

    def ticker(self, symbol: Symbol) -> str | None:
        """The model's name for a security with a price of its own; ``None`` for what it has not."""
        name = symbol.id.symbol
        if symbol.security_type is SecurityType.INDEX:
            return name if name in self.makers or name in self.volatilities else None
        if symbol.security_type is SecurityType.EQUITY:
            return name if name in self.share_makers else None
        return None

    def root(self, symbol: Symbol) -> OptionRoot | None:
        """The option root of an index's or a fund's contract or chain."""
        if symbol.security_type is SecurityType.FUTURE_OPTION:
            strip = self.strips.get(symbol.underlying.id.symbol)
            return None if strip is None else strip.root(symbol.underlying)
        return self.roots.get(symbol.id.symbol)

    def inside(self, day: date) -> bool:
        """True for days of the market's range."""
        return self.first_day <= day <= self.last_day

    def asset_day(self, ticker: str, day: date) -> AssetDay | None:
        """Everything about one underlying on one day; ``None`` outside the range."""
        if not self.inside(day):
            return None
        if ticker in self.share_makers:
            return self.share(ticker).day(day)
        return self.asset(ticker).day(day) if ticker in self.makers else None

    def future_day(self, symbol: Symbol, day: date) -> FutureDay | None:
        """One futures contract on one day; ``None`` when it is not listed then."""
        strip = self.strips.get(symbol.id.symbol)
        return strip.day(symbol, day) if strip is not None and self.inside(day) else None

    def path(self, ticker: str, day: date) -> MinutePath | None:
        """Minutes of a price or of a volatility index."""
        if ticker in self.volatilities:
            return self.asset(self.volatilities[ticker]).volatility(day) if self.inside(day) else None
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
        halted = self.halted(day)
        silent = self.silent.get((ticker, day.toordinal()))
        if silent is None:
            return None if halted is None else ~halted
        now = np.arange(count)
        kept = (now < silent[0]) | (now > silent[1])
        return np.asarray(kept if halted is None else kept & ~halted)

    def halted(self, day: date) -> NDArray[np.bool_] | None:
        """Minutes in which a circuit breaker has stopped all trading; ``None`` on a day without."""
        key = day.toordinal()
        if key not in self._halts:
            index = self.asset("SPX")
            row, state = index.row(day), self.asset_day("SPX", day)
            before = 0.0 if row is None else float(index.series.close[row - 1])
            self._halts[key] = None if state is None else halted_minutes(state.spot, before, day)
        return self._halts[key]

    def faults(self, day: date) -> QuoteFaults | None:
        """What goes wrong with quotes on ``day``."""
        if isinstance(self.quote_faults, dict):
            return self.quote_faults.get(day.toordinal())
        return self.quote_faults

    def daily(self, ticker: str) -> tuple[IntArray, list[FloatArray]] | None:
        """Days of the range and their open, high, low and close; from the minutes where a source has closes only."""
        if ticker in self.share_makers:
            days, prices = self.share(ticker).daily(self.first_day, self.last_day)
        else:
            found = self._daily_columns(ticker)
            if found is None:
                return None
            days, prices = found
        for row in np.flatnonzero(np.isnan(prices[0])):
            path = self.path(ticker, date.fromordinal(int(days[row])))
            if path is not None:
                prices[0][row], prices[1][row], prices[2][row] = path.points[0], path.high.max(), path.low.min()
        return days, prices

    def _daily_columns(self, ticker: str) -> tuple[IntArray, list[FloatArray]] | None:
        volatile = ticker in self.volatilities
        name = self.volatilities[ticker] if volatile else ticker
        if name not in self.makers:
            return None
        series = self.asset(name).series
        columns = series.volatility if volatile else self.asset(name).columns()
        inside = (series.days >= self.first_day.toordinal()) & (series.days <= self.last_day.toordinal())
        inside &= ~np.isnan(columns[3])
        return series.days[inside], [column[inside].copy() for column in columns]

    def usual_volume(self, ticker: str) -> float:
        """Units traded on a usual day; 0 for an index."""
        return self.share(ticker).law.volume if ticker in self.share_makers else 0.0

    def profile(self, ticker: str) -> Profile:
        """How the ticker's variance is spread over a day."""
        return self.share(ticker).spec.profile if ticker in self.share_makers else TRADED_SHARE

    def factor_rows(self, symbol: Symbol) -> list[FactorRow] | None:
        """Dividends of a fund as LEAN factors."""
        if symbol.security_type is not SecurityType.EQUITY or symbol.id.symbol not in self.share_makers:
            return None
        return self.share(symbol.id.symbol).factor_rows(self.first_day, self.last_day)

    def margin_rows(self, symbol: Symbol) -> list[MarginRow] | None:
        """Margins of a future; the cash products have none."""
        strip = self.strips.get(symbol.id.symbol)
        return None if strip is None else strip.margin_rows(self.first_day)

    def price_range(self, ticker: str) -> Callable[[date, int], tuple[float, float] | None]:
        """Lowest and highest close of the ``span`` days before a day: what strikes are listed around."""

        def lookup(day: date, span: int) -> tuple[float, float] | None:
            days, prices = self._closes(ticker)
            end = int(np.searchsorted(days, day.toordinal()))
            closes = prices[max(0, end - span) : end]
            return (float(closes.min()), float(closes.max())) if len(closes) else None

        return lookup

    def _closes(self, ticker: str) -> tuple[IntArray, FloatArray]:
        if ticker in self.share_makers:
            return self.share(ticker).closes()
        series = self.asset(ticker).series
        return series.days, series.close

    def add_root(self, root: str, ticker: str, style: Style, law: QuoteLaw, volatility: str) -> None:
        """Lists an option root on a ticker, its spreads following the volatility index of that underlying."""
        self.roots[root] = OptionRoot(
            root,
            style,
            law,
            ListingBook(RULES[root], self.listings, self.price_range(ticker)),
            lambda day: self.asset_day(ticker, day),
            lambda day: self.volatility_points(volatility, day),
        )

    def volatility_points(self, underlying: str, day: date) -> FloatArray | None:
        """Minutes of an underlying's volatility index, published or not."""
        made = self.asset(underlying).volatility_path(day)
        return None if made is None else made.points

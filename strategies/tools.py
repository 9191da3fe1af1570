"""What every strategy works with, as one argument: prices, chains, Greeks, the book and the settings all rows share.

And the same of a market that is only thought of, in which a row's own look says what one lot would be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from types import SimpleNamespace
from typing import cast

import numpy as np

from core.book import Book
from core.contracts import Contract, Quote, Right
from core.factory import Manager
from core.gateway import Gateway, Session
from core.instruments import INSTRUMENTS, underlying_named
from core.settings.fields import MarginSettings, MarketSettings, OrderSettings
from greeks.black_scholes import FloatArray
from greeks.exposure import Priced
from greeks.marks import ChainPlanner, Marks
from greeks.service import CentralGreeksService
from greeks.smile import ChainGreeks, Columns, chain_greeks
from greeks.stress import StressEngine
from market.calendar import EventCalendar
from market.chains import OptionChainManager
from market.trend import DayRange, Trend, TrendDirection, TrendWatcher
from market.vix import UnifiedVIXManager
from risk.equity import PhaseManager


class MarketAccess(Manager):
    """The parts of market knowledge that the coordinator hands to strategies."""

    def __init__(
        self,
        calendar: EventCalendar,
        chains: OptionChainManager,
        vix: UnifiedVIXManager,
        marks: Marks,
        greeks: CentralGreeksService,
        settings: MarketSettings,
    ) -> None:
        self.calendar = calendar
        self.chains = chains
        self.vix = vix
        self.marks = marks
        self.greeks = greeks
        self.settings = settings


class Analysis(Manager):
    """What is computed about options: Greeks, stress, and what can be said before quotes."""

    def __init__(self, greeks: CentralGreeksService, stress: StressEngine, planner: ChainPlanner) -> None:
        self.greeks = greeks
        self.stress = stress
        self.planner = planner


class Tools(Manager):
    """Handed to every row; a row keeps no other manager."""

    def __init__(
        self,
        gateway: Gateway,
        book: Book,
        market: MarketAccess,
        trend: TrendWatcher,
        analysis: Analysis,
        phases: PhaseManager,
        margin: MarginSettings,
        orders: OrderSettings,
    ) -> None:
        self.gateway = gateway
        self.book = book
        self.calendar, self.chains, self.vix = market.calendar, market.chains, market.vix
        self.trend = trend
        self.greeks, self.stress, self.planner = analysis.greeks, analysis.stress, analysis.planner
        self.phases = phases
        self.margin = margin
        self.orders = orders

    def spot(self, price_key: str) -> float | None:
        """Newest price of an underlying in points; ``None`` before its first."""
        tick = self.gateway.tick(price_key)
        return None if tick is None else tick.price

    def is_open(self, day: date) -> bool:
        """Whether the exchange opens on a day."""
        return self.calendar.session(day) is not None


@dataclass(frozen=True, slots=True)
class Conditions:
    """A market to think of: prices of underlyings in points, the VIX, a year's volatility of what it is not about."""

    day: date
    vix: float
    prices: Mapping[str, float]
    volatilities: Mapping[str, float] = field(default_factory=dict)


class StillPrices:
    """Gateway and trend of such a market: every market is open, the day moved as it was asked to."""

    def __init__(self, conditions: Conditions, move: float) -> None:
        self.conditions = conditions
        self._move = move
        self.now = datetime.combine(conditions.day, time(10, 30))

    def watch(self, *_: object) -> None:
        """There is nothing to wait for."""

    def session(self, day: date, _root: str) -> Session:
        """Round the clock."""
        return Session(day, datetime.combine(day, time(0)), datetime.combine(day, time(23, 59)), False)

    def price(self, key: str) -> float | None:
        """Of an underlying, or of the family that a future's month belongs to."""
        named = underlying_named(key)
        return self.conditions.prices.get(key if named is None else named.ticker)

    def volatility(self, ticker: str) -> float:
        """A year's fraction; the VIX where nothing else is said."""
        return self.conditions.volatilities.get(ticker, self.conditions.vix / 100.0)

    def previous_close(self, _ticker: str) -> float:
        """The VIX did not move."""
        return self.conditions.vix

    def day(self, ticker: str) -> DayRange | None:
        """The day so far."""
        price = self.price(ticker)
        if price is None:
            return None
        begin = price / (1 + self._move)
        return DayRange(begin, max(begin, price), min(begin, price), price, self.now)

    def trend(self, ticker: str) -> Trend | None:
        """No trend; a true range is about 1.25 times the day's deviation."""
        price = self.price(ticker)
        if price is None:
            return None
        daily = price * self.volatility(ticker) / math.sqrt(252.0)
        return Trend(1.25 * daily, price, price, price, price, TrendDirection.FLAT)


_LEAST = 1e-6  # points: what is worth nothing has a price


class StillOptions:
    """Chains, planner and Greeks of such a market: every day and strike is listed and quoted at its model price."""

    def __init__(self, prices: StillPrices, service: CentralGreeksService) -> None:
        self._prices = prices
        self._service = service
        self.now = prices.now
        self.carry_of = service.carry_of
        self._chains: dict[tuple[str, date], tuple[Contract, ...]] = {}
        self._quotes: dict[str, Quote] = {}

    def watch(self, *_: object) -> None:
        """Everything is quoted."""

    def is_watched(self, *_: object) -> bool:
        """What was asked for is there."""
        return True

    def nearest_expiry(self, _root: str, today: date, days: int, _tolerance: int) -> date:
        """That day, or the weekday before it."""
        found = today + timedelta(days=days)
        return found - timedelta(days=max(found.weekday() - 4, 0))

    def listed(self, root: str, _first: date, last: date) -> tuple[Contract, ...]:
        """Of the last day alone."""
        return self.expiring(root, last)

    def expiring(self, root: str, day: date) -> tuple[Contract, ...]:
        """Strikes around the price as far as a few deviations, a nine-hundredth of it apart at most, round."""
        if (root, day) not in self._chains:
            self._chains[root, day] = self._list(root, day)
        return self._chains[root, day]

    def _list(self, root: str, day: date) -> tuple[Contract, ...]:
        instrument = INSTRUMENTS[root]
        price = self._prices.price(instrument.underlying)
        if price is None:
            return ()
        power = 10.0 ** math.floor(math.log10(price / 900.0))
        step = next(whole * power for whole in (5.0, 2.0, 1.0) if whole * power <= price / 900.0)
        away = min(0.08 + 0.6 * math.sqrt((day - self.now.date()).days / 365.0), 0.5)
        counts = range(math.ceil((1 - away) * price / step), math.floor((1 + away) * price / step) + 1)
        return tuple(instrument.contract(day, round(n * step, 6), right) for n in counts for right in Right)

    def columns(self, contracts: Sequence[Contract]) -> Columns:
        """What pricing needs of them."""
        rate, dividends = self._service.carry_of(contracts[0].underlying.ticker)
        return Columns.of(contracts, self.now, rate, dividends)

    def volatilities(self, contracts: Sequence[Contract]) -> FloatArray:
        """Flat."""
        return np.array([self._prices.volatility(row.underlying.ticker) for row in contracts])

    def deltas(self, contracts: Sequence[Contract], volatilities: FloatArray, spot: float) -> FloatArray:
        """Absolute x 100, as if exercised at the end alone: it only chooses among hundreds of strikes."""
        columns = self.columns(contracts)
        columns = replace(columns, american=np.zeros_like(columns.american))
        found = columns.greeks(np.full(len(contracts), spot), volatilities).delta
        deltas: FloatArray = 100.0 * np.abs(found)
        return deltas

    def quote(self, contract: Contract) -> Quote | None:
        """Its model price, both sides."""
        spot, known = self._prices.price(contract.underlying.price_key), self._quotes.get(contract.name)
        if spot is None or known is not None:
            return known
        price = float(self.columns((contract,)).prices(np.array([spot]), self.volatilities((contract,)))[0])
        found = self._quotes[contract.name] = Quote(max(price, _LEAST), max(price, _LEAST), self.now)
        return found

    def quotes(self, contracts: Iterable[Contract]) -> dict[Contract, Quote]:
        """Of all that has a price."""
        found = {contract: self.quote(contract) for contract in contracts}
        return {contract: quote for contract, quote in found.items() if quote is not None}

    def chain(
        self, contracts: Sequence[Contract], quotes: Mapping[Contract, Quote], spot: float, now: datetime
    ) -> ChainGreeks:
        """Their Greeks, kept nowhere."""
        rate, dividends = self._service.carry_of(contracts[0].underlying.ticker)
        return chain_greeks(tuple(contracts), quotes, spot, now, rate, dividends)

    def placed(self, contracts: tuple[Contract, ...]) -> Priced:
        """For the stress: spot and volatility of each."""
        spots = [self._prices.price(row.underlying.price_key) for row in contracts]
        spot = np.array([math.nan if one is None else one for one in spots])
        return Priced(self.columns(contracts), spot, self.volatilities(contracts), np.full(spot.size, math.nan))

    def beta(self, ticker: str) -> float:
        """The account's own, 1 where nothing was measured."""
        found = self._service.beta(ticker)
        return 1.0 if found is None else found


def thought_of(tools: Tools, conditions: Conditions, move: float) -> Tools:
    """Tools of a market that is only thought of: flat volatility, quotes without a spread, an empty book."""
    prices = StillPrices(conditions, move)
    options = StillOptions(prices, tools.greeks)
    stress = tools.stress.beside(cast(CentralGreeksService, options), cast(Gateway, prices))
    made = SimpleNamespace(
        gateway=prices, trend=prices, spot=prices.price, chains=options, planner=options, greeks=options,
        stress=stress, book=Book(), margin=tools.margin, orders=tools.orders, phases=tools.phases,
    )  # fmt: skip
    return cast(Tools, made)

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
from core.contracts import MARKET_CLOSE, AssetKind, Contract, Quote, Right
from core.factory import Manager
from core.gateway import MONTH_DAYS, Gateway, HistoryError, ImpliedClose, OptionClose, Session
from core.instruments import INSTRUMENTS, underlying_named
from core.journal import Journal, RecordKind
from core.settings.fields import MarginSettings, MarketSettings, OrderSettings
from core.settings.strategies import FuturesStrangleSettings
from greeks.black_scholes import FloatArray, Layout, expiry_seconds, years_until
from greeks.exposure import Priced
from greeks.implied import judge_quotes
from greeks.marks import ChainPlanner, Marks
from greeks.service import CentralGreeksService
from greeks.smile import ChainGreeks, Columns, chain_greeks
from greeks.stress import StressEngine
from market.calendar import EventCalendar
from market.chains import OptionChainManager
from market.trend import DayRange, Trend, TrendDirection, TrendWatcher
from market.vix import UnifiedVIXManager
from risk.equity import PhaseManager
from risk.manager import UnifiedRiskManager
from state.manager import HierarchicalStateManager

_MEMORY = "volatility"
_FRESH = timedelta(days=7)
"""So old may the newest close be: what is older says nothing of today."""
_YEAR = timedelta(days=372)


@dataclass(frozen=True, slots=True)
class VolatilityRank:
    """Share of the closes known, from 0 to 1, that lie below the newest; ``None`` where too few of a year are known."""

    known: int
    rank: float | None


def month_volatility(points: Sequence[ImpliedClose]) -> float | None:
    """A year's volatility of 30 days at the money, from the expiries around; ``None`` where nothing is known.

    Between two expiries the variance until then grows evenly (Cboe's VIX methodology); one expiry alone stands for it.
    """
    known = sorted((row for row in points if row.volatility > 0 and row.expiry > row.day), key=lambda row: row.expiry)
    if not known:
        return None
    first, last = known[0], known[-1]
    near, far = (first.expiry - first.day).days, (last.expiry - last.day).days
    if near == far or not near <= MONTH_DAYS <= far:
        nearest = min(known, key=lambda row: abs((row.expiry - row.day).days - MONTH_DAYS))
        return nearest.volatility
    share = (MONTH_DAYS - near) / (far - near)
    variance = (1 - share) * first.volatility**2 * near + share * last.volatility**2 * far
    return math.sqrt(variance / MONTH_DAYS)


def solved(closes: Sequence[OptionClose], rate: float, dividend_yield: float) -> list[ImpliedClose]:
    """The volatility that each expiry's call and put nearest to the money closed at, in the mean. One at least."""
    contracts = tuple(row.contract for row in closes)
    days, ends, left = np.array([row.day for row in closes]), expiry_seconds(contracts), np.empty(len(closes))
    for day in {row.day for row in closes}:
        left[days == day] = years_until(ends[days == day], datetime.combine(day, MARKET_CLOSE))
    columns = Columns.of(contracts, datetime.combine(closes[0].day, MARKET_CLOSE), rate, dividend_yield)
    prices = np.array([row.close for row in closes])
    price, reasons = judge_quotes(prices, prices)
    spots = np.array([row.spot for row in closes])
    found = replace(columns, years=left).implied(price, spots, reasons).volatility
    known: dict[tuple[date, date], list[float]] = {}
    for row, volatility in zip(closes, found.tolist(), strict=True):
        if is_volatility(volatility):
            known.setdefault((row.day, row.contract.expiry), []).append(volatility)
    return [ImpliedClose(day, expiry, sum(values) / len(values)) for (day, expiry), values in known.items()]


class VolatilityRanks(Manager):
    """Keeps the 30-day volatility at each close of the option roots that a row's gate asks for, and ranks the newest.

    A year of it is in the state (a record a month, overwritten two years on); what is missing is asked of the chain
    files on the days on which a row may look; those of options on futures tell closes, of which it is solved.
    Methodology, row 3; decision 059.
    """

    def __init__(
        self,
        gateway: Gateway,
        state: HierarchicalStateManager,
        journal: Journal,
        greeks: CentralGreeksService,
        own: FuturesStrangleSettings,
    ) -> None:
        self._gateway = gateway
        self._state = state
        self._journal = journal
        self._greeks = greeks
        self._own = own
        self._closes: dict[str, dict[date, float]] = {}
        self._asked: dict[str, date] = {}

    def refresh(self, roots: Sequence[str], today: date) -> None:
        """Take what the state has, the first time, ask for the sessions before a day that it has not; once a day."""
        with self._state.together():
            for root in roots:
                if self._asked.get(root) != today:
                    self._asked[root] = today
                    self._refresh(root, today)

    def _refresh(self, root: str, today: date) -> None:
        fresh = root not in self._closes
        if fresh:
            self._closes[root] = self._restored(root, today)
        closes = self._closes[root]
        sessions = self._own.rank_days
        if not fresh or len(closes) >= sessions:
            since = (today - max(closes, default=date.min)).days
            days = (today - timedelta(days=back) for back in range(1, min(since, _YEAR.days)))
            sessions = min(sum(1 for day in days if self._gateway.session(day) is not None), sessions)
        if sessions:
            try:
                self._take(root, self._implied(root, sessions), today)
            except HistoryError as error:
                reason = f"the volatilities of {root} cannot be read, its rank stays unknown: {error}"
                self._journal.record(RecordKind.SYSTEM, component=_MEMORY, reason=reason)

    def _implied(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        if INSTRUMENTS[root].kind is not AssetKind.FUTURE:
            return self._gateway.implied_closes(root, sessions)
        rate, dividend_yield = self._greeks.carry_of(INSTRUMENTS[root].underlying)
        closes = self._gateway.option_closes(root, sessions)
        return solved(closes, rate, dividend_yield) if closes else ()

    def _take(self, root: str, found: Sequence[ImpliedClose], today: date) -> None:
        by_day: dict[date, list[ImpliedClose]] = {}
        for row in found:
            if row.day < today:
                by_day.setdefault(row.day, []).append(row)
        closes, added = self._closes[root], []
        for day, points in by_day.items():
            volatility = month_volatility(points)
            if volatility is not None and is_volatility(volatility) and day not in closes:
                closes[day] = volatility
                added.append(day)
        for old in sorted(closes)[: -self._own.rank_days]:
            del closes[old]
        for month in sorted({day.replace(day=1) for day in added}):
            rows = {day.isoformat(): closes[day] for day in sorted(closes) if day.replace(day=1) == month}
            self._state.remember(_record_of(root, month), rows)

    def _restored(self, root: str, today: date) -> dict[date, float]:
        """What the state has of days before today; a record that cannot be true is told and asked for again."""
        found: dict[date, float] = {}
        for month in _MONTHS:
            name = _record_of(root, month)
            kept = self._state.recall(name)
            try:
                rows = {date.fromisoformat(day): float(value) for day, value in (kept or {}).items()}
            except (AttributeError, TypeError, ValueError) as error:
                self._journal.record(RecordKind.SYSTEM, component=_MEMORY, reason=f"{name} cannot be read: {error}")
                continue
            found |= {day: value for day, value in rows.items() if is_volatility(value)}
        return {day: found[day] for day in sorted(found) if today - _YEAR <= day < today}

    def rank(self, root: str, today: date) -> VolatilityRank:
        """Of the newest close before today among those of the last year; unknown where the newest is old."""
        self.refresh((root,), today)
        closes = self._closes.get(root, {})
        days = [day for day in sorted(closes) if today - _YEAR <= day < today][-self._own.rank_days :]
        if len(days) < self._own.rank_least_days or today - days[-1] > _FRESH:
            return VolatilityRank(len(days), None)
        newest = closes[days[-1]]
        return VolatilityRank(len(days), sum(1 for day in days if closes[day] < newest) / len(days))


_MONTHS = tuple(date(year, month, 1) for year in (2000, 2001) for month in range(1, 13))
_HIGHEST_VOLATILITY = 10.0  # a year, as a fraction: beyond it is a damaged file


def is_volatility(value: float) -> bool:
    """Whether a year's volatility, as a fraction, can be true."""
    return 0 < value < _HIGHEST_VOLATILITY


def _record_of(root: str, month: date) -> str:
    """Under which name the state keeps a month's closes of a root."""
    return f"{_MEMORY} {root} {month.year % 2}-{month.month:02d}"


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
        ranks: VolatilityRanks,
        trend: TrendWatcher,
    ) -> None:
        self.ranks = ranks
        self.trend = trend
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
        analysis: Analysis,
        risk: UnifiedRiskManager,
        phases: PhaseManager,
        margin: MarginSettings,
        orders: OrderSettings,
    ) -> None:
        self.gateway = gateway
        self.book = book
        self.calendar, self.chains, self.vix = market.calendar, market.chains, market.vix
        self.ranks = market.ranks
        self.trend = market.trend
        self.risk = risk
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

    def expiries(self, root: str, _first: date, last: date) -> tuple[date, ...]:
        """The last day alone."""
        return (last,) if self.expiring(root, last) else ()

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

    told = volatilities

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

    def placed(self, layout: Layout) -> Priced:
        """For the stress: spot and volatility of each."""
        contracts = layout.contracts
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

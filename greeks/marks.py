"""What held options are worth by quotes that may be believed, else by the model: the values that exits and equity see.

A quote that is missing, crossed, too wide or stale says nothing; nor does one without a bid of what is worth more than
half its offer by the model: a bid that vanished for a minute is no loss (decision 085). One far from the model's value
is believed at the second look running. The model is asked only where a bid is missing or a quote leapt. Points.

Listed contracts that nobody quotes yet have volatilities and deltas: yesterday's volatilities at today's price.

They choose which few contracts are worth a subscription, and decide nothing. Options on futures have no volatility in
their files: it is solved from their closes, at the close of their future.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np

from core.cache import SessionEnd, UnifiedIntelligentCache
from core.contracts import MARKET_CLOSE, Contract, Leg, Quote
from core.factory import Manager
from core.gateway import DailyBar, Gateway
from core.instruments import instrument_of
from core.parts import Part
from core.settings.fields import EquitySettings, OrderSettings
from greeks.black_scholes import FloatArray
from greeks.implied import judge_quotes
from greeks.service import CentralGreeksService
from greeks.smile import Columns
from market.chains import middle
from market.freshness import DataFault, QuoteJudge, TwoLooks


class Marks(Manager):
    """One mark a contract and minute."""

    def __init__(
        self,
        gateway: Gateway,
        judge: QuoteJudge,
        service: CentralGreeksService,
        orders: OrderSettings,
        settings: EquitySettings,
    ) -> None:
        self._gateway = gateway
        self._judge = judge
        self._service = service
        self._worthless = orders.worthless_offer
        self._ticks = orders.worthless_ticks
        self._settings = settings
        self._looks = TwoLooks()
        self._good: dict[str, float] = {}

    def mark(self, contract: Contract, now: datetime, partners: Sequence[Contract] = ()) -> float | None:
        """What one unit is worth; ``None`` where neither quote nor model nor memory tells."""
        name = contract.name
        quote = self._gateway.quote(contract)
        quoted, before = self._believed(contract, quote, now, partners), self._good.get(name)
        if quoted is None:
            model = self.model(contract)
            return before if model is None else model
        if before is None or self._is_far(contract, quoted, before, quote):
            model = self.model(contract)
            far = model is not None and self._is_far(contract, quoted, model, quote)
            seen = self._looks.again(name, now, far)
            if far and not seen:
                return model
        self._good[name] = quoted
        return quoted

    def quoted(self, contract: Contract, now: datetime, partners: Sequence[Contract] = ()) -> float | None:
        """The middle of a quote that may be believed; a missing bid counts as zero under a small offer."""
        return self._believed(contract, self._gateway.quote(contract), now, partners)

    def _believed(
        self, contract: Contract, quote: Quote | None, now: datetime, partners: Sequence[Contract]
    ) -> float | None:
        fault = self._judge.fault_of(contract, quote, now, partners)
        if quote is None or fault not in (None, DataFault.ONE_SIDED):
            return None
        instrument = instrument_of(contract)
        found = middle(quote, instrument.points(self._worthless))
        if fault is DataFault.ONE_SIDED and found is not None and (model := self.model(contract)) is not None:
            return None if model > found + self._ticks * instrument.ticks.least else found
        return found

    def model(self, contract: Contract) -> float | None:
        """The model's value at the underlying's price now and the last volatility that was known."""
        figures = self._service.figures_of(contract)
        return None if figures is None else figures.price

    def dividend_yield(self, ticker: str) -> float:
        """What an underlying pays a year, continuous, as a fraction."""
        return self._service.carry_of(ticker)[1]

    def value(self, legs: Sequence[Leg], now: datetime) -> float | None:
        """Worth of legs at their marks: positive when closing brings money; ``None`` where one has none."""
        partners = [leg.contract for leg in legs]
        return _sum(legs, [self.mark(leg.contract, now, partners) for leg in legs])

    def value_of(self, part: Part, now: datetime) -> float | None:
        """Worth of what a part holds, in points a package; ``None`` where a leg has no mark."""
        if part.is_whole:
            return self.value(part.package.legs, now)
        worth = self.value(part.legs, now)
        return None if worth is None else worth / part.contracts

    def model_value_of(self, part: Part) -> float | None:
        """The same at the model's values alone."""
        if part.is_whole:
            return self.model_value(part.package.legs)
        worth = self.model_value(part.legs)
        return None if worth is None else worth / part.contracts

    def model_value(self, legs: Sequence[Leg]) -> float | None:
        """The same at the model's values alone."""
        return _sum(legs, [self.model(leg.contract) for leg in legs])

    def believed(self, legs: Sequence[Leg], now: datetime) -> bool:
        """Whether every quote may be believed."""
        partners = [leg.contract for leg in legs]
        return all(self.quoted(leg.contract, now, partners) is not None for leg in legs)

    def _is_far(self, contract: Contract, quoted: float, other: float, quote: Quote | None) -> bool:
        spread = None if quote is None else quote.spread
        points = instrument_of(contract).points(self._settings.far_points)
        return abs(quoted - other) > max(self._settings.far_fraction * other, points, (spread or 0.0) / 2)


def _sum(legs: Sequence[Leg], marks: Sequence[float | None]) -> float | None:
    total = 0.0
    for leg, mark in zip(legs, marks, strict=True):
        if mark is None:
            return None
        total += leg.ratio * mark
    return total


class ChainPlanner(Manager):
    """Answers for contracts of one root, expiry and right out of a chain that was asked for today."""

    def __init__(self, gateway: Gateway, service: CentralGreeksService, cache: UnifiedIntelligentCache) -> None:
        self._gateway = gateway
        self._service = service
        self._cache = cache
        self._told: tuple[date, dict[str, float]] = (date.min, {})
        self._closed: tuple[object, Sequence[DailyBar]] = (None, ())

    def told(self, contracts: Sequence[Contract]) -> FloatArray:
        """Volatility a year of some contracts at the last close, by each one's own row of the chain; NaN without."""
        today = self._gateway.now().date()
        if self._told[0] != today:
            self._told = (today, {})
        known = self._told[1]
        unknown = [contract for contract in contracts if contract.name not in known]
        if unknown:
            found = self._by_rows(unknown).tolist()
            known.update({contract.name: value for contract, value in zip(unknown, found, strict=True)})
        return np.array([known[contract.name] for contract in contracts])

    def volatilities(self, contracts: Sequence[Contract]) -> FloatArray:
        """Volatility a year of each contract at the last close, NaN where nothing tells it; kept for the session."""
        if not contracts:
            return np.zeros(0)
        one = contracts[0]
        key = ("planned", self._gateway.now().date(), one.root, one.expiry, one.right, len(contracts))
        found: FloatArray = self._cache.get_or_compute(
            key, lambda: self._yesterday(tuple(contracts)), depends_on=(SessionEnd(),)
        )
        return found

    def _yesterday(self, contracts: tuple[Contract, ...]) -> FloatArray:
        return self._between(contracts, self.told(contracts))

    def _by_rows(self, contracts: Sequence[Contract]) -> FloatArray:
        rows = [self._gateway.listing(contract, close=False) for contract in contracts]
        known = np.array([np.nan if row is None or row.volatility is None else row.volatility for row in rows])
        unknown = np.flatnonzero(np.isnan(known))
        closes = np.full(len(contracts), np.nan)
        for at in unknown.tolist():
            row = self._gateway.listing(contracts[at])
            closes[at] = np.nan if row is None or row.close is None else row.close
        unknown = unknown[np.isfinite(closes[unknown])]
        bars = self._last_bar(contracts[0].underlying.price_key) if unknown.size else ()
        if unknown.size and bars:
            then = datetime.combine(bars[-1].day, MARKET_CLOSE)
            columns = self._columns([contracts[at] for at in unknown.tolist()], then)
            price, reasons = judge_quotes(closes[unknown], closes[unknown])
            known[unknown] = columns.implied(price, np.full(unknown.size, bars[-1].close), reasons).volatility
        return known

    def _last_bar(self, price_key: str) -> Sequence[DailyBar]:
        """The last close of what a chain stands on: one request a minute, and a pick asks strike after strike."""
        asked = (self._gateway.now(), price_key)
        if self._closed[0] != asked:
            self._closed = asked, self._gateway.daily_bars(price_key, 1)
        return self._closed[1]

    @staticmethod
    def _between(contracts: Sequence[Contract], known: FloatArray) -> FloatArray:
        """Strikes that nothing is known of take their neighbours' volatility, the outer ones the last known one's."""
        good = np.flatnonzero(np.isfinite(known))
        if not good.size:
            return known
        strikes = np.array([contract.strike for contract in contracts])
        order = good[np.argsort(strikes[good])]
        return np.where(np.isfinite(known), known, np.interp(strikes, strikes[order], known[order]))

    def deltas(self, contracts: Sequence[Contract], volatilities: FloatArray, spot: float) -> FloatArray:
        """Delta of each contract now, absolute x 100, at a price in points; NaN where the volatility is."""
        columns = self._columns(contracts, self._gateway.now())
        found: FloatArray = 100.0 * np.abs(columns.deltas(np.full(len(contracts), spot), volatilities))
        return found

    def _columns(self, contracts: Sequence[Contract], moment: datetime) -> Columns:
        rate, dividend_yield = self._service.carry_of(contracts[0].underlying.ticker)
        return Columns.of(contracts, moment, rate, dividend_yield)

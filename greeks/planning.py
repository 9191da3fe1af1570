"""Volatilities and deltas of listed contracts that nobody quotes yet: yesterday's volatilities at today's price.

They choose which few contracts are worth a subscription, and decide nothing. Options on futures have no volatility in
their files: it is solved from their closes, at the close of their future.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from core.cache import SessionEnd, UnifiedIntelligentCache
from core.contracts import MARKET_CLOSE, Contract
from core.gateway import Gateway
from greeks.black_scholes import FloatArray
from greeks.implied import judge_quotes
from greeks.service import CentralGreeksService
from greeks.smile import Columns


class ChainPlanner:
    """Answers for contracts of one root, expiry and right out of a chain that was asked for today."""

    def __init__(self, gateway: Gateway, service: CentralGreeksService, cache: UnifiedIntelligentCache) -> None:
        self._gateway = gateway
        self._service = service
        self._cache = cache

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
        rows = [self._gateway.listing(contract) for contract in contracts]
        known = np.array([np.nan if row is None or row.volatility is None else row.volatility for row in rows])
        unknown = np.flatnonzero(np.isnan(known))
        closes = np.array([np.nan if row is None or row.close is None else row.close for row in rows])
        unknown = unknown[np.isfinite(closes[unknown])]
        bars = self._gateway.daily_bars(contracts[0].underlying.price_key, 1) if unknown.size else ()
        if unknown.size and bars:
            then = datetime.combine(bars[-1].day, MARKET_CLOSE)
            columns = self._columns([contracts[at] for at in unknown.tolist()], then)
            price, reasons = judge_quotes(closes[unknown], closes[unknown])
            known[unknown] = columns.implied(price, np.full(unknown.size, bars[-1].close), reasons).volatility
        return self._between(contracts, known)

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
        found: FloatArray = 100.0 * np.abs(columns.greeks(np.full(len(contracts), spot), volatilities).delta)
        return found

    def _columns(self, contracts: Sequence[Contract], moment: datetime) -> Columns:
        rate, dividend_yield = self._service.carry_of(contracts[0].underlying.ticker)
        return Columns.of(contracts, moment, rate, dividend_yield)

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it before the market opens."""
        return ()

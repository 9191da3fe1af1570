"""Rows of chain files and bars, written down in the test."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from simulation.data.columns import UnderlyingRow, UniverseBlock
from simulation.lean.bars import TradeBar
from simulation.lean.enums import (
    SecurityType,
)
from simulation.lean.symbols import Symbol
from simulation.market.definitions import market_hours
from simulation.securities.contract_filters import OptionFilterUniverse, apply_filter
from tests.simulation.playing import SPX, at


def minute_bars(closes: list[float]) -> list[TradeBar]:
    """Consecutive minutes from 10:00."""
    return [TradeBar(at("10:00") + timedelta(minutes=n), SPX, c, c + 1, c - 1, c, 2.0) for n, c in enumerate(closes)]


class Canonical:
    """As much of an option security as its filter needs."""

    def __init__(self) -> None:
        self.symbol = Symbol.create_canonical_option(SPX, "SPXW", "usa", "?SPXW")
        self.exchange = self
        self.hours = market_hours().get_exchange_hours("usa", "SPXW", SecurityType.INDEX_OPTION)


def chain(spot: float, strikes: list[float], expiries: list[date]) -> UniverseBlock:
    """A file with a call and a put at each strike and expiry; the call's delta is 0.9, 0.8, ... by strike."""
    rows = [(e, k, r, n) for e in expiries for n, k in enumerate(strikes) for r in (0, 1)]
    zeros = np.zeros(len(rows))
    delta = np.array([0.9 - 0.1 * n if r == 0 else -0.1 - 0.1 * n for _, _, r, n in rows])
    return UniverseBlock(
        canonical=Canonical().symbol,
        day=date(2024, 7, 5),
        underlying=UnderlyingRow(spot, spot, spot, spot, 0.0),
        expiry=np.array([e.toordinal() for e, *_ in rows], dtype=np.int64),
        strike=np.array([k for _, k, *_ in rows]),
        right=np.array([r for _, _, r, _ in rows], dtype=np.int64),
        delta=delta,
        open=zeros,
        high=zeros,
        low=zeros,
        close=zeros,
        volume=zeros,
        open_interest=zeros,
        implied_volatility=zeros,
        gamma=zeros,
        vega=zeros,
        theta=zeros,
        rho=zeros,
    )


FIFTIES = [5300.0, 5350.0, 5400.0, 5450.0, 5500.0, 5550.0]


FRIDAYS = [date(2024, 7, 12), date(2024, 7, 19), date(2024, 8, 16)]


def chosen(narrow: Any, spot: float = 5420.0, now: datetime = datetime(2024, 7, 6)) -> list[tuple[float, str, date]]:
    """(strike, right, expiry) of what a filter leaves of the file."""
    security = Canonical()
    universe = OptionFilterUniverse(security)
    universe.load(chain(spot, FIFTIES, FRIDAYS), now)
    symbols = apply_filter(security, universe, narrow)
    return sorted((s.id.strike_price, str(s.id.option_right), s.id.date.date()) for s in symbols)

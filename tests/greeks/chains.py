"""Contracts and a quoted chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime

import numpy as np

from core.contracts import AssetKind, Contract, ExerciseStyle, Quote, Right, Settlement, Underlying
from greeks.black_scholes import FloatArray, european_price, years_to_expiry

FRIDAY = date(2024, 7, 5)


MORNING = datetime(2024, 7, 5, 10, 30)


SPX = Underlying("SPX", AssetKind.INDEX)


SPY = Underlying("SPY", AssetKind.EQUITY)


RATE, YIELD = 0.02, 0.015


def spxw(strike: float, right: Right, expiry: date = FRIDAY) -> Contract:
    style, settlement = ExerciseStyle.EUROPEAN, Settlement.CASH_AFTERNOON
    return Contract(SPX, "SPXW", expiry, strike, right, style, settlement, 100.0)


def spy(strike: float, right: Right, expiry: date = FRIDAY) -> Contract:
    style, settlement = ExerciseStyle.AMERICAN, Settlement.PHYSICAL_SHARES
    return Contract(SPY, "SPY", expiry, strike, right, style, settlement, 100.0)


def skew(strike: FloatArray, spot: float = 5500.0) -> FloatArray:
    k = np.log(strike / spot)
    result: FloatArray = 0.12 - 0.9 * k + 12.0 * k * k
    return result


def market(strikes: Sequence[float], tick: float = 0.05, rate: float = 0.05) -> dict[Contract, Quote]:
    """A 0DTE chain with a known smile, quoted in ticks with spreads of at least one."""
    quotes = {}
    for strike in strikes:
        for right in Right:
            contract = spxw(strike, right)
            years = years_to_expiry([contract], MORNING)
            vol = skew(np.array([strike]))
            price = european_price(5500.0, strike, years, vol, rate, 0.012, right is Right.CALL)[0]
            half = max(tick, 0.02 * price)
            bid = max(math.floor((price - half) / tick), 0) * tick
            quotes[contract] = Quote(round(bid, 2), round(math.ceil((price + half) / tick) * tick, 2), MORNING)
    return quotes

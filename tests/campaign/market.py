"""A small market for a week: a path by seed, a thin listing that never moves, and one call a minute for all prices."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache

import numpy as np

from core.contracts import Contract, Right
from core.instruments import INSTRUMENTS
from greeks.black_scholes import european_price, years_to_expiry
from tests.fake_gateway import STEPS, scale_of

MONDAY = date(2024, 3, 4)
WEEK = tuple(MONDAY + timedelta(days=count) for count in range(5))
AFTER = MONDAY + timedelta(days=7)
LEVEL = 5000.0
RATE, YIELD = 0.02, 0.015
_NEAR = timedelta(days=12)
_CLOSE = time(16, 0)


class Weather:
    """The index by minute, and what it did in a crash; deterministic by seed. ``fall`` is a share lost on Wednesday."""

    def __init__(self, seed: int, fall: float = 0.0) -> None:
        chance = random.Random(f"weather {seed}")
        self._fall = fall
        self._waves = [(chance.uniform(0.0005, 0.003), chance.uniform(40, 900), chance.uniform(0, 6)) for _ in range(4)]

    def spot(self, moment: datetime) -> float:
        """The index in points; a Wednesday that falls does so within two hours and the index stays down."""
        opens, closes = datetime.combine(moment.date(), time(9, 30)), close_of(moment.date())
        moment = closes - timedelta(days=1) if moment < opens else min(moment, closes)  # still while nobody trades
        minute = (moment - datetime.combine(MONDAY, time(9, 30))).total_seconds() / 60
        move = sum(size * math.sin(minute / period + start) for size, period, start in self._waves)
        fallen = min(max((minute - 2 * 1440 - 60) / 120, 0.0), 1.0) * self._fall
        return round(LEVEL * (1 + move - fallen), 2)


@cache
def _listed(root: str, expiry: date, near: bool) -> tuple[Contract, ...]:
    """The contracts of one expiry: dense and narrow when near, wide and thin when far."""
    row = INSTRUMENTS[root]
    centre, step = LEVEL / scale_of(row.underlying), STEPS.get(row.underlying, 5.0)
    reach, step = (0.055, step) if near else (0.13, 5 * step)
    count = math.ceil(reach * centre / step)
    middle = round(centre / step) * step
    strikes = [round(middle + number * step, 6) for number in range(-count, count + 1)]
    return tuple(row.contract(expiry, strike, right, "handle") for strike in strikes for right in Right)


@cache
def listed(root: str, first: date, last: date) -> tuple[Contract, ...]:
    """Contracts of all expiries from ``first`` to ``last``: every weekday of two weeks, then Fridays."""
    found: list[Contract] = []
    day = first
    while day <= last:
        near = day - MONDAY <= _NEAR
        if day.weekday() == 4 or (near and day.weekday() < 5):
            found.extend(_listed(root, day, near))
        day += timedelta(days=1)
    return tuple(sorted(found, key=lambda row: (row.expiry, row.strike, row.right)))


class Prices:
    """Model values of contracts: all that are watched worked out in one call a minute, any other by itself."""

    def __init__(self, volatility: float) -> None:
        self._volatility = volatility
        self._watched: dict[str, tuple[Contract, float]] = {}
        self._values: dict[str, float] = {}
        self._at: datetime | None = None

    def watch(self, contracts: Iterable[Contract]) -> None:
        """Contracts that will be asked for each minute."""
        for row in contracts:
            if row.name not in self._watched:
                self._watched[row.name] = (row, scale_of(row.underlying.price_key))
                self._at = None

    def value(self, contract: Contract, now: datetime, spot: float) -> float:
        """Points; ``spot`` is the index."""
        if contract.name not in self._watched:
            return self._worth([(contract, scale_of(contract.underlying.price_key))], now, spot)[0]
        if self._at != now:
            self._at = now
            self._watched = {name: row for name, row in self._watched.items() if row[0].expiry >= now.date()}
            self._watched.setdefault(contract.name, (contract, scale_of(contract.underlying.price_key)))
            rows = list(self._watched.values())
            self._values = dict(zip(self._watched, self._worth(rows, now, spot), strict=True))
        return self._values[contract.name]

    def _worth(self, rows: Sequence[tuple[Contract, float]], now: datetime, spot: float) -> list[float]:
        levels = np.array([spot / scale for _, scale in rows])
        strikes = np.array([row.strike for row, _ in rows])
        calls = np.array([row.right is Right.CALL for row, _ in rows])
        years = years_to_expiry([row for row, _ in rows], now)
        found: list[float] = european_price(levels, strikes, years, self._volatility, RATE, YIELD, calls).tolist()
        return found


def close_of(day: date) -> datetime:
    """When a session of the week closes."""
    return datetime.combine(day, _CLOSE)

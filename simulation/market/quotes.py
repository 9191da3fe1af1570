"""From a model price to what is shown: bid, ask and sizes at ticks, with the spread a market maker would ask for.

And what goes wrong with quotes: they go missing, show one side only, or freeze, at a stated rate, seeded by
contract and day.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulation.market.calendar import FloatArray


@dataclass(frozen=True)
class ContractDay:
    """One contract at the open and at each minute's end: model value, bid and ask (NaN: no bid), in points."""

    value: FloatArray
    bid: FloatArray
    ask: FloatArray


@dataclass(frozen=True)
class QuoteLaw:
    """Spread and tick of one option root.

    Full spread in points for a price ``p`` out of the money, in calm: ``base + slope * p ** 0.8``, both scaled by
    the underlying's level over ``reference_level``; ``wide`` adds a share of the intrinsic value; see
    docs/market.md for the figures they are set to.
    """

    base: float
    slope: float
    wide: float
    reference_level: float
    tick_below: float
    tick_above: float
    tick_change: float
    busy: float


INDEX_QUOTES = QuoteLaw(0.045, 0.022, 0.0035, 2700.0, 0.05, 0.10, 3.0, 30.0)
ETF_QUOTES = QuoteLaw(0.008, 0.011, 0.0030, 270.0, 0.01, 0.01, 1e9, 120.0)


WIDEST = 8.0  # times the spread of a calm noon, by stress; 10 with the hour


def stress_of(volatility: FloatArray, opened: float) -> FloatArray:
    """How many times wider than in calm: 1 up to an index of 16, growing with it and with its jump since the open.

    VIX 40 gives 2.4, VIX 37 after a jump of 70 % within the day 4, VIX 65 from 40 at the open 6; see docs/market.md.
    """
    level = np.maximum(volatility / 16.0, 1.0) ** 0.95
    jump = np.maximum(volatility / opened - 1.05, 0.0)
    return np.asarray(np.minimum(level * (1.0 + 1.2 * jump), WIDEST))


@lru_cache(maxsize=4)
def hour_of_day(minutes: int) -> FloatArray:
    """Multiple of the day's usual spread at the open and at each minute's end.

    Wide in the first minutes, a little at the close.
    """
    now = np.arange(minutes + 1)
    return np.asarray(1.0 + 1.6 * np.exp(-now / 7.0) + 0.35 * np.exp(-(minutes - now) / 4.0))


def full_spread(
    law: QuoteLaw, outer: FloatArray, intrinsic: FloatArray, spot: FloatArray, years: FloatArray, multiple: FloatArray
) -> FloatArray:
    """Width between bid and ask before rounding, in points; ``outer`` is the value without the ``intrinsic`` part."""
    level = spot / law.reference_level
    scaled = np.maximum(outer / level, 0.0)
    width = (law.base + law.slope * scaled**0.8 * (1.0 + 0.35 * np.sqrt(years))) * level
    return np.asarray(width * multiple + law.wide * intrinsic * np.sqrt(multiple))


def _tick_of(law: QuoteLaw, price: FloatArray) -> FloatArray:
    return np.where(price < law.tick_change - 1e-9, law.tick_below, law.tick_above)


def floor_to_tick(law: QuoteLaw, price: FloatArray) -> FloatArray:
    """The nearest listed price at or below."""
    tick = _tick_of(law, price)
    return np.asarray(np.round(np.floor(price / tick + 1e-7) * tick, 6))


def ceil_to_tick(law: QuoteLaw, price: FloatArray) -> FloatArray:
    """The nearest listed price at or above."""
    tick = _tick_of(law, price)
    return np.asarray(np.round(np.ceil(price / tick - 1e-7) * tick, 6))


def bid_and_ask(law: QuoteLaw, price: FloatArray, width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bid and ask around the model price at ticks; a bid under one tick is no bid (NaN)."""
    bid = floor_to_tick(law, np.maximum(price - 0.5 * width, 0.0))
    ask = np.maximum(ceil_to_tick(law, price + 0.5 * width), law.tick_below)
    return np.where(bid < law.tick_below - 1e-9, np.nan, bid), ask


def sizes(prices: FloatArray, law: QuoteLaw, salt: int) -> FloatArray:
    """Contracts shown at each price.

    A fixed hash of price and contract, so that a size changes only when its price does.
    """
    absent = np.isnan(prices)
    known = np.where(absent, 0.0, prices)
    ticks = np.round(known / law.tick_below).astype(np.uint64)
    mixed = (ticks + np.uint64(salt & 0xFFFFFFFF)) * np.uint64(0x9E3779B97F4A7C15)
    share = ((mixed >> np.uint64(40)) & np.uint64(0xFFFF)).astype(np.float64) / 65536.0
    depth = law.busy / (1.0 + known / (0.02 * law.reference_level))
    return np.asarray(np.where(absent, 0.0, np.floor(1.0 + depth * (0.3 + 1.4 * share))))


USUAL_FAULTS = (
    0.004  # of a contract's minutes; stated, not measured: recorded chains show a few such minutes a day among many
)


@dataclass(frozen=True)
class QuoteFaults:
    """Shares of a contract's minutes in which its quote is missing, lacks its bid, or repeats an earlier minute.

    ``first`` and ``last`` bound the faults to minutes of the session (a scenario's empty hour); ``None`` is the
    whole day.
    """

    missing: float = 0.0
    one_sided: float = 0.0
    stale: float = 0.0
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        for name, rate in (("missing", self.missing), ("one_sided", self.one_sided), ("stale", self.stale)):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"quote_faults.{name}: {rate}; expected a share from 0 to 1")

    @classmethod
    def at_rate(cls, rate: float) -> QuoteFaults | None:
        """All three kinds at ``rate`` together, split 2 : 2 : 6; ``None`` at 0."""
        return cls(0.2 * rate, 0.2 * rate, 0.6 * rate) if rate > 0.0 else None


def _episodes(generator: np.random.Generator, length: int, rate: float, mean_minutes: float) -> NDArray[np.bool_]:
    """Minutes covered by episodes of geometric length that together fill about ``rate`` of the time."""
    covered = np.zeros(length, dtype=bool)
    if rate >= 1.0:
        return ~covered
    for start in np.flatnonzero(generator.random(length) < rate / mean_minutes):
        covered[start : start + int(generator.geometric(1.0 / mean_minutes))] = True
    return covered


def faulted(day: ContractDay, faults: QuoteFaults, generator: np.random.Generator) -> ContractDay:
    """The same contract-day with faults put in; the model value stays."""
    length = len(day.bid)
    window = np.zeros(length, dtype=bool)
    window[(faults.first or 0) : (length if faults.last is None else faults.last + 1)] = True
    bid, ask = day.bid.copy(), day.ask.copy()
    stale = _episodes(generator, length, faults.stale, 6.0) & window
    one_sided = _episodes(generator, length, faults.one_sided, 3.0) & window
    missing = _episodes(generator, length, faults.missing, 3.0) & window
    source = np.maximum.accumulate(np.where(stale, 0, np.arange(length)))
    bid, ask = bid[source], ask[source]
    bid[one_sided | missing] = np.nan
    ask[missing] = np.nan
    return ContractDay(day.value, bid, ask)

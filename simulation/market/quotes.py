"""From a model price to what is shown: bid, ask and sizes at ticks, with the spread a market maker would ask for.

And what goes wrong with quotes: they go missing, show one side only, or freeze, at a stated rate, seeded by
contract and day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulation.market.calendar import FloatArray, IntArray


@dataclass(frozen=True)
class ContractDay:
    """One contract at the open and at each minute's end: model value, bid and ask (NaN: no bid), in points."""

    value: FloatArray
    bid: FloatArray
    ask: FloatArray


@dataclass(frozen=True)
class QuoteLaw:
    """Spread, tick and size of one option root.

    Full spread in points in calm, all scaled by the underlying's level over ``reference_level``: ``base + slope *
    p ** 0.75`` for a price ``p`` out of the money, growing by ``lasting`` for each year over four months, and up to
    ``deep`` more (plus ``wide`` of the intrinsic value) for an option deep in the money. ``depth`` contracts are shown
    at a price of nearly nothing, ``busy`` scales activity, ``aged`` says that spreads were wider in earlier years.
    docs/market.md holds the recorded chains that these numbers were set to.
    """

    base: float
    slope: float
    lasting: float
    deep: float
    wide: float
    reference_level: float
    tick_below: float
    tick_above: float
    tick_change: float
    busy: float
    depth: float
    aged: bool = False

    def times(self, factor: float, depth: float = 1.0) -> QuoteLaw:
        """The law of another root: spread out of the money times ``factor``, size and activity times ``depth``."""
        wider, shown = (self.base * factor, self.slope * factor), (self.busy * depth, self.depth * depth)
        return replace(self, base=wider[0], slope=wider[1], busy=shown[0], depth=shown[1])


# Set to whole recorded chains of 2018 to 2025 (Cboe's delayed quotes and DataShop samples kept in public repositories)
# and to LEAN's sample minutes; see docs/market.md for the comparison. Morning-settled SPX options were 1.0 to 1.6 times
# as wide as SPXW ones of the same price. Spreads of SPY stand for all funds, the other funds' multiples are stated.
INDEX_QUOTES = QuoteLaw(0.06, 0.025, 2.6, 3.4, 0.0015, 2700.0, 0.05, 0.10, 3.0, 30.0, 200.0, aged=True)
MORNING_QUOTES = INDEX_QUOTES.times(1.2)
ETF_QUOTES = QuoteLaw(0.004, 0.006, 6.0, 0.42, 0.0015, 270.0, 0.01, 0.01, 1e9, 120.0, 1500.0)


WIDEST = 12.0  # times the spread of a calm noon, by stress; 15 with the hour
LONG_TERM = 0.3  # years from which spreads grow with the term
AGES = ((2003.0, 10.0), (2009.0, 2.0), (2018.0, 1.0))  # year and multiple of today's index spreads; between: geometric
BURIED = 0.0315  # share of the level at which an intrinsic value counts as deep
RECENT = 60  # minutes that a jump of the volatility index is measured over


def stress_of(volatility: FloatArray) -> FloatArray:
    """How many times wider than in calm: 1 up to a volatility index of 16, more with it and with its last hour's rise.

    VIX 31 gives 2.2, 40 gives 3.3, 66 gives 7.9 (recorded on March 20, 2020); a rise by a fifth within the hour doubles
    it (recorded on January 6, 2021); see docs/market.md.
    """
    ratio = np.maximum(volatility / 16.0, 1.0)
    level = ratio**0.95 * (1.0 + 0.4 * np.maximum(ratio - 1.5, 0.0))
    padded = np.concatenate((np.full(RECENT, volatility[0]), volatility))
    lowest = np.lib.stride_tricks.sliding_window_view(padded, RECENT + 1).min(axis=1)
    jump = np.maximum(volatility / lowest - 1.05, 0.0)
    return np.asarray(np.minimum(level * np.minimum(1.0 + 6.0 * jump, 4.0), WIDEST))


@lru_cache(maxsize=4)
def hour_of_day(minutes: int) -> FloatArray:
    """Multiple of the day's usual spread at the open and at each minute's end.

    Wide in the first minutes, a little for half an hour, and wide again in the last two minutes, as LEAN's sample
    minutes of SPXW show (1.8 in the first two, 1.3 after five, 1.2 after twenty, 1.8 to 2.7 in the last two).
    """
    now = np.arange(minutes + 1)
    opening = 1.3 * np.exp(-now / 6.0) + 0.3 * np.exp(-now / 40.0)
    return np.asarray(1.0 + opening + np.exp((now - minutes) / 1.5) + 0.25 * np.exp((now - minutes) / 10.0))


def age_of(law: QuoteLaw, day: date) -> float:
    """How many times wider spreads of that year were than since 2018; 1 for roots that traded in pennies already.

    Sources: the quotes in Cboe's VIX white paper (winter of 2008), twice on top of its stress; a trader's account of
    SPX in 2003 (a dollar for options of 5 to 10 dollars), 10 times; recorded chains of October 2018 on, once.
    """
    if not law.aged:
        return 1.0
    years, multiples = zip(*AGES, strict=True)
    return float(np.exp(np.interp(day.year + day.timetuple().tm_yday / 366.0, years, np.log(multiples))))


def full_spread(
    law: QuoteLaw, outer: FloatArray, intrinsic: FloatArray, spot: FloatArray, years: FloatArray, multiple: FloatArray
) -> FloatArray:
    """Width between bid and ask before rounding, in points; ``outer`` is the value without the ``intrinsic`` part."""
    level = spot / law.reference_level
    scaled = np.maximum(outer / level, 0.0)
    term = 1.0 + law.lasting * np.minimum(np.maximum(years - LONG_TERM, 0.0), 2.0)
    width = (law.base * term + law.slope * np.sqrt(term) * scaled**0.75) * level * multiple
    if not intrinsic.any():
        return np.asarray(width)
    buried = np.maximum(intrinsic - outer, 0.0) / (BURIED * spot)
    deep = law.deep * level * (1.0 - np.exp(-buried * np.sqrt(buried)))
    return np.asarray(width + (deep + law.wide * intrinsic) * multiple**0.35)


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


def sizes(prices: FloatArray, law: QuoteLaw, salt: IntArray | int) -> FloatArray:
    """Contracts shown at each price.

    A fixed hash of price and contract, so that a size changes only when its price does.
    """
    absent = np.isnan(prices)
    known = np.where(absent, 0.0, prices)
    ticks = np.round(known / law.tick_below).astype(np.uint64)
    mixed = (ticks + np.asarray(salt & 0xFFFFFFFF, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    share = ((mixed >> np.uint64(40)) & np.uint64(0xFFFF)).astype(np.float64) / 65536.0
    depth = law.depth / (1.0 + known / (0.0011 * law.reference_level))
    return np.asarray(np.where(absent, 0.0, np.floor(1.0 + depth * (0.3 + 1.4 * share))))


def usual_activity(
    law: QuoteLaw, morning: bool, strike: FloatArray, outward: FloatArray, term: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Open interest of a call without noise, and the share of it that trades in a day.

    ``outward`` is the log distance out of the money, ``term`` in days. Shapes of recorded chains of SPX, SPXW and SPY,
    2018 to 2025 (docs/market.md): open interest hardly falls with distance, is a quarter in the money and three times
    on round strikes; volume turns most of it over on the last day and little a month before. Puts hold twice as much,
    third Fridays and month ends 2.5 times.
    """
    deviations = outward / (0.16 * np.sqrt((term + 1.0) / 365.0))
    distance, inside = np.abs(deviations), np.clip(-deviations, 0.0, 1.0)
    steps = np.array([100, 50, 25, 10]) * (1.0 if law.reference_level > 1000.0 else 0.1)
    rounds = [np.abs(strike / step - np.round(strike / step)) < 1e-6 for step in steps]
    roundness = np.select(rounds, [3.0, 2.0, 1.5, 1.1], 0.8)
    level = law.busy * (50.0 if morning else 14.0)
    interest = level * roundness * np.exp(-0.05 * distance - 1.4 * inside) / (1.0 + term / 90.0)
    turnover = np.where(term == 0, 0.9, 0.6 / (1.0 + term / 6.0) + 0.03) * np.exp(-0.25 * distance)
    return np.asarray(interest), np.asarray(turnover)


# Of a contract's minutes: harsher than the record. LEAN's sample minutes of SPXW, SPX and SPY (27,690 of contracts
# worth more than 0.30) lack a bid in 0.004 %, never an ask, and 1.4 % have no row because nothing changed.
USUAL_FAULTS = 0.004


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

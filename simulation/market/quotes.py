"""From a model price to what is shown: bid, ask and sizes at ticks, with the spread a market maker would ask for.

And what goes wrong with quotes: they go missing, show one side only, or freeze, at a stated rate, seeded by
contract and day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulation.market.american import _compiled as compiled
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
# Year and multiple of the index spreads of 2018; between: geometric.
AGES = ((2003.0, 10.0), (2009.0, 2.8), (2012.0, 2.2), (2018.0, 1.0), (2020.2, 0.75), (2022.5, 0.62))
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

    Wide in the first minutes, a little for half an hour, as LEAN's sample minutes of SPXW show (1.8 in the first two,
    1.3 after five, 1.2 after twenty; 1.8 to 2.7 in the last two of what expires then). In whole chains of the close,
    which index options trade past by a quarter of an hour, spreads are hardly wider than at noon.
    """
    now = np.arange(minutes + 1)
    opening = 1.3 * np.exp(-now / 6.0) + 0.3 * np.exp(-now / 40.0)
    closing = 0.25 * np.exp((now - minutes) / 1.5) + 0.10 * np.exp((now - minutes) / 10.0)
    return np.asarray(1.0 + opening + closing)


def age_of(law: QuoteLaw, day: date) -> float:
    """How many times wider spreads of that year were than in 2018; 1 for roots that traded in pennies already.

    Sources: the quotes in Cboe's VIX white paper (winter of 2008), twice on top of its stress; a trader's account of
    SPX in 2003 (a dollar for options of 5 to 10 dollars), 10 times; recorded chains of September 2011, twice, and of
    October 2018, once. Chains of March 2020 and of 2022 and 2023: spreads hardly grew while the index, which scales
    them here, did.
    """
    if not law.aged:
        return 1.0
    years, multiples = zip(*AGES, strict=True)
    return float(np.exp(np.interp(day.year + day.timetuple().tm_yday / 366.0, years, np.log(multiples))))


def full_spread(
    law: QuoteLaw, outer: FloatArray, intrinsic: FloatArray, spot: FloatArray, years: FloatArray, multiple: FloatArray
) -> FloatArray:
    """Width between bid and ask before rounding, in points; ``outer`` is the value without the ``intrinsic`` part.

    All arrays have one length. Powers and exponentials stay with numpy, so that no compiler changes a bit of them.
    """
    terms = (law.base, law.slope, law.lasting, law.deep, law.wide, law.reference_level)
    scaled, buried, width = np.empty((3, len(outer)))
    prepare, finish = _kernels()[:2]
    if prepare(law.reference_level, outer, intrinsic, spot, scaled, buried):
        wider = (np.exp(buried), multiple**0.35)
    else:
        wider = (buried, buried)
    finish(terms, (scaled**0.75, *wider), (intrinsic, spot, years, multiple), width)
    return np.asarray(width)


def scale(
    reference_level: float,
    outer: FloatArray,
    intrinsic: FloatArray,
    spot: FloatArray,
    scaled: FloatArray,
    buried: FloatArray,
) -> bool:
    """Writes what the powers and exponentials of a spread are taken of; true when anything is in the money."""
    inside = False
    for i in range(len(outer)):
        scaled[i] = max(outer[i] / (spot[i] / reference_level), 0.0)
        depth = max(intrinsic[i] - outer[i], 0.0) / (BURIED * spot[i])
        buried[i] = -depth * sqrt(depth)
        inside |= intrinsic[i] > 0.0
    return inside


def widen(
    terms: tuple[float, ...], powers: tuple[FloatArray, ...], parts: tuple[FloatArray, ...], width: FloatArray
) -> None:
    """Writes full spreads from a law's terms, the powers of `scale`, and intrinsic, spot, years and multiple."""
    base, slope, lasting, deep, wide, reference_level = terms
    price, shallow, softened = powers
    intrinsic, spot, years, multiple = parts
    for i in range(len(width)):
        level = spot[i] / reference_level
        term = 1.0 + lasting * min(max(years[i] - LONG_TERM, 0.0), 2.0)
        width[i] = (base * term + slope * sqrt(term) * price[i]) * level * multiple[i]
        if intrinsic[i] > 0.0:
            width[i] += (deep * level * (1.0 - shallow[i]) + wide * intrinsic[i]) * softened[i]


def bid_and_ask(law: QuoteLaw, price: FloatArray, width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bid and ask around the model price: the nearest ticks outwards; a bid under one tick is no bid (NaN)."""
    bid, ask = np.empty(len(price)), np.empty(len(price))
    _kernels()[2]((law.tick_below, law.tick_above, law.tick_change), price, width, bid, ask)
    return bid, ask


def tick(
    ticks: tuple[float, float, float], price: FloatArray, width: FloatArray, bid: FloatArray, ask: FloatArray
) -> None:
    """Writes `bid_and_ask` for a law's tick below and above, and the price at which the tick changes."""
    below, above, change = ticks
    for i in range(len(price)):
        low, high = max(price[i] - 0.5 * width[i], 0.0), price[i] + 0.5 * width[i]
        step = below if low < change - 1e-9 else above
        low = np.rint(np.floor(low / step + 1e-7) * step * 1e6) / 1e6
        step = below if high < change - 1e-9 else above
        high = np.rint(np.ceil(high / step - 1e-7) * step * 1e6) / 1e6
        bid[i] = np.nan if low < below - 1e-9 else low
        ask[i] = max(high, below)


def sizes(prices: FloatArray, law: QuoteLaw, salt: int) -> FloatArray:
    """Contracts shown at each price.

    A fixed hash of price and contract, so that a size changes only when its price does.
    """
    shown = np.empty(len(prices))
    _kernels()[3]((law.tick_below, law.depth, law.reference_level), prices, np.uint64(salt & 0xFFFFFFFF), shown)
    return shown


def show(terms: tuple[float, float, float], prices: FloatArray, salt: np.uint64, shown: FloatArray) -> None:
    """Writes `sizes` for a law's tick, depth and reference level."""
    below, depth, reference_level = terms
    for i in range(len(prices)):
        if np.isnan(prices[i]):
            shown[i] = 0.0
            continue
        mixed = (np.uint64(np.rint(prices[i] / below)) + salt) * np.uint64(0x9E3779B97F4A7C15)
        share = np.float64((mixed >> np.uint64(40)) & np.uint64(0xFFFF)) / 65536.0
        contracts = depth / (1.0 + prices[i] / (0.0011 * reference_level))
        shown[i] = np.floor(1.0 + contracts * (0.3 + 1.4 * share))


def quote_rows(
    day: ContractDay, beat: int, halted: NDArray[np.bool_] | None
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Minutes (1 is the first) with a row, and open, high, low and close of bids and of asks in them.

    A minute has a row when its bid or ask changed, when it is the session's first, and each ``beat`` minutes while
    there is an ask; none while ``halted``.
    """
    kept = np.zeros(len(day.bid), dtype=np.bool_)
    count = _kernels()[4](day.bid, day.ask, beat, kept)
    if halted is not None:
        kept[1:] &= ~halted
        count = int(np.count_nonzero(kept))
    rows, prices = np.empty(count, dtype=np.int64), np.empty((2, 4, count))
    _kernels()[5](day.bid, day.ask, kept, rows, prices)
    return rows, prices[0], prices[1]


def mark(bid: FloatArray, ask: FloatArray, beat: int, kept: NDArray[np.bool_]) -> int:
    """Marks the minutes that have a row; how many."""
    count = 0
    for i in range(1, len(bid)):
        kept[i] = i == 1 or ((i - 1) % beat == 0 and not np.isnan(ask[i]))
        for side in (bid, ask):
            absent = np.isnan(side[i]) and np.isnan(side[i - 1])
            kept[i] |= not (absent or abs(side[i] - side[i - 1]) < 1e-9)
        count += kept[i]
    return count


def gather(bid: FloatArray, ask: FloatArray, kept: NDArray[np.bool_], rows: IntArray, prices: FloatArray) -> None:
    """Writes the marked minutes and their prices; a side that has just come or gone has its own price throughout."""
    row = 0
    for i in range(1, len(bid)):
        if not kept[i]:
            continue
        rows[row] = i
        for number, side in enumerate((bid, ask)):
            here = side[i]
            before = here if np.isnan(here) or np.isnan(side[i - 1]) else side[i - 1]
            prices[number, 0, row] = before
            prices[number, 1, row] = max(before, here)
            prices[number, 2, row] = min(before, here)
            prices[number, 3, row] = here
        row += 1


@lru_cache(maxsize=1)
def _kernels() -> tuple[Callable[..., Any], ...]:
    """The loops as machine code, made (or loaded) when the first quote is looked at."""
    return tuple(compiled(loop) for loop in (scale, widen, tick, show, mark, gather))


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


def _episodes(
    generator: np.random.Generator, length: int, rate: float, mean_minutes: float
) -> NDArray[np.bool_] | None:
    """Minutes covered by episodes of geometric length that together fill about ``rate`` of the time; or ``None``."""
    if rate >= 1.0:
        return np.ones(length, dtype=bool)
    starts = np.flatnonzero(generator.random(length) < rate / mean_minutes)
    if len(starts) == 0:
        return None
    covered = np.zeros(length, dtype=bool)
    for start in starts:
        covered[start : start + int(generator.geometric(1.0 / mean_minutes))] = True
    return covered


def faulted(day: ContractDay, faults: QuoteFaults, generator: np.random.Generator) -> ContractDay:
    """The same contract-day with faults put in; the model value stays."""
    length = len(day.bid)
    stale = _episodes(generator, length, faults.stale, 6.0)
    one_sided = _episodes(generator, length, faults.one_sided, 3.0)
    missing = _episodes(generator, length, faults.missing, 3.0)
    if stale is None and one_sided is None and missing is None:
        return day
    window = np.zeros(length, dtype=bool)
    window[(faults.first or 0) : (length if faults.last is None else faults.last + 1)] = True
    source = np.arange(length)
    if stale is not None:
        source = np.maximum.accumulate(np.where(stale & window, 0, source))
    bid, ask = day.bid[source], day.ask[source]
    if one_sided is not None:
        bid[one_sided & window] = np.nan
    if missing is not None:
        bid[missing & window] = ask[missing & window] = np.nan
    return ContractDay(day.value, bid, ask)

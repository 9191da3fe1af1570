"""The modelled market at the moment of a recorded chain: same day, minute, volatility index, forward and discount."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulation.market.asset_days import AssetDay, AssetSpec, Carry, Kind
from simulation.market.assets import anchor_years, memory_of
from simulation.market.calendar import CASH_INDEX, OPEN_MINUTE, FloatArray, VarianceClock, calendar
from simulation.market.corporate import index_carry
from simulation.market.days import MinutePath
from simulation.market.history import DailyBars, read_csv
from simulation.market.quotes import (
    ETF_QUOTES,
    INDEX_QUOTES,
    MORNING_QUOTES,
    QuoteLaw,
    age_of,
    bid_and_ask,
    full_spread,
    hour_of_day,
    stress_of,
)
from simulation.market.recordings.files import MORNING_ROOTS, Recorded
from simulation.market.recordings.slices import Slice, implied_deviation, size_of_delta, slices
from simulation.market.surface import (
    EQUITY_INDEX,
    MEAN_SURPRISE,
    SurfaceDay,
    TermState,
    black,
    skew_strength,
    surface_day,
)

LAWS: dict[str, QuoteLaw] = {"SPX": MORNING_QUOTES, "SPY": ETF_QUOTES, "XSP": ETF_QUOTES.times(2.0)}
UNDERLYINGS = frozenset({"SPX", "SPY", "XSP"})
USUAL_SURPRISE = MEAN_SURPRISE ** (1.0 / 0.7)  # with which the day is as wild as on average
DEAREST = 0.2  # points of the index from which price ratios count; of a tenth of it, a tenth


@dataclass(frozen=True)
class Fears:
    """The volatility index's closes and what the model remembers of them, by day."""

    bars: DailyBars
    recent: FloatArray
    lasting: FloatArray

    @classmethod
    def read(cls, path: Path) -> Fears:
        """From a CSV of daily values; raises a HistoryError."""
        bars = read_csv(path)
        return cls(bars, memory_of(bars.close, 20), memory_of(bars.close, 126))

    def row(self, day: date) -> int:
        """The row of a day; raises KeyError for one without a value."""
        row = int(np.searchsorted(self.bars.days, day.toordinal()))
        if row >= len(self.bars.days) or int(self.bars.days[row]) != day.toordinal():
            raise KeyError(f"{self.bars.name}: no value on {day}")
        return row


def minute_of(chain: Recorded) -> int:
    """Minutes after the open, at most the session's."""
    now = chain.moment.hour * 60 + chain.moment.minute - OPEN_MINUTE
    return min(now, calendar().session_minutes(chain.moment.date()))


def strip_volatility(parts: Sequence[Slice]) -> float | None:
    """A chain's own 30-day volatility in percent, by Cboe's interpolation of strips; ``None`` without two terms."""
    month, best = 30.0 / 365.0, sorted(parts, key=lambda part: abs(part.years - 30.0 / 365.0))
    near = [part for part in best if part.years <= month and part.days > 7][:1]
    far = [part for part in best if part.years > month][:1]
    if not near or not far:
        return None
    totals = [_strip(part) for part in (near[0], far[0])]
    share = (far[0].years - month) / (far[0].years - near[0].years)
    return 100.0 * float(np.sqrt((share * totals[0] + (1.0 - share) * totals[1]) / month))


def _strip(part: Slice) -> float:
    """Total variance by Cboe's formula: mids from the money out, to the second strike in a row without a bid."""
    side = part.strike < part.forward
    bid = np.where(side, part.put[0], part.call[0])
    mid = 0.5 * (bid + np.where(side, part.put[1], part.call[1]))
    centre = int(np.searchsorted(part.strike, part.forward, side="right")) - 1
    used = []
    for step, start in ((-1, centre), (1, centre + 1)):
        empty, row = 0, start
        while 0 <= row < len(mid) and empty < 2:
            empty = 0 if bid[row] > 0.0 else empty + 1
            used += [row] if bid[row] > 0.0 else []
            row += step
    rows = np.array(sorted(used))
    strikes = part.strike[rows]
    gaps = np.gradient(strikes)
    gaps[1:-1] = 0.5 * (strikes[2:] - strikes[:-2])
    return float(2.0 * np.sum(gaps / strikes**2 * mid[rows]) / part.discount)


@dataclass(frozen=True)
class Shown:
    """A recorded chain and the model on it."""

    chain: Recorded
    parts: tuple[Slice, ...]
    level: float
    state: AssetDay
    minute: int

    @property
    def day(self) -> date:
        """The day of the quotes."""
        return self.chain.moment.date()


def shown(chain: Recorded, fears: Fears) -> Shown:
    """The model at the chain's moment.

    The volatility index is its close for quotes of the close, else what the chain's own strips give. How the session
    had gone until then is not in the files: as expected.
    """
    day, minute = chain.moment.date(), minute_of(chain)
    row, session = fears.row(day), calendar().session_minutes(day)
    carry: Carry = index_carry(day)
    parts = tuple(slices(chain, carry.rate))
    level = float(fears.bars.close[row])
    if minute < session or chain.evening:
        level = strip_volatility(parts) or level
    spot = np.full(session + 1, chain.spot or parts[0].forward)
    flat = np.full(session + 1, level)
    clock = VarianceClock(CASH_INDEX)
    lasting = float(fears.lasting[row])
    memory = TermState(
        EQUITY_INDEX.lasting_variance(lasting), float(fears.recent[row]), lasting, skew_strength(day.year)
    )

    def surface() -> SurfaceDay:
        return surface_day(EQUITY_INDEX, flat, anchor_years(clock, day), memory, np.full(session + 1, USUAL_SURPRISE))

    spec = AssetSpec("SPX", Kind.INDEX, CASH_INDEX)
    path = MinutePath(spot, spot[1:], spot[1:])
    return Shown(chain, parts, level, AssetDay(spec, day, lambda: path, surface, lambda: carry), minute)


@dataclass(frozen=True)
class Compared:
    """Out-of-the-money contracts of chains, one a row; volatilities in points, prices in points of the index."""

    day: FloatArray
    term: FloatArray
    delta: FloatArray
    sign: FloatArray
    volatility: FloatArray
    error: FloatArray
    price: FloatArray
    ratio: FloatArray
    spread: FloatArray
    spread_ratio: FloatArray

    def rows(self, mask: NDArray[np.bool_]) -> Compared:
        """The rows of a mask."""
        return Compared(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Iterable[Compared]) -> Compared:
        """All rows of several."""
        found = list(parts)
        return cls(*(np.concatenate([getattr(part, name) for part in found]) for name in cls.__dataclass_fields__))


def compared(one: Shown) -> Compared:
    """The chain's contracts from 4 to 50 delta whose price counts, beside the model's prices on the same forward."""
    scale = 0.1 if one.chain.underlying in ("SPY", "XSP") else 1.0
    multiple = stress_of(np.full(one.state.minutes + 1, one.level)) * hour_of_day(one.state.minutes)
    parts = []
    for part in one.parts:
        strike, sign, mid, width = part.outer()
        deviation = implied_deviation(mid / part.discount, part.forward, strike, sign)
        delta = size_of_delta(part.forward, strike, deviation, sign)
        kept = ~np.isnan(deviation) & (mid >= DEAREST * scale) & (delta >= 0.04) & (delta <= 0.5)
        if not kept.any():
            continue
        strike, sign, mid, width, deviation, delta = (
            values[kept] for values in (strike, sign, mid, width, deviation, delta)
        )
        variance = _variance(one, part, strike)
        count, forward = len(strike), np.full(len(strike), part.forward)
        price = black(forward, strike, variance, part.discount, sign)
        law = LAWS.get(part.root, INDEX_QUOTES if one.chain.underlying == "SPX" else LAWS[one.chain.underlying])
        asked = full_spread(
            law, price, np.zeros(count), forward, np.full(count, part.years),
            np.full(count, multiple[one.minute] * age_of(law, one.day)),
        )  # fmt: skip
        bid, ask = bid_and_ask(law, price, asked)
        years = part.years**0.5
        error = 100.0 * (np.sqrt(variance) - deviation) / years
        parts.append(
            Compared(
                np.full(count, float(one.day.toordinal())), np.full(count, float(part.days)), delta, sign,
                100.0 * deviation / years, error, mid, price / mid, width, (ask - np.nan_to_num(bid)) / width,
            )
        )  # fmt: skip
    return Compared.joined(parts)


def _variance(one: Shown, part: Slice, strike: FloatArray) -> FloatArray:
    """The model's total variance at strikes of one expiration, on the recorded forward."""
    whole = one.state.shape(part.expiry, morning=part.root in MORNING_ROOTS).at(one.minute)
    return whole.variance(np.log(strike / part.forward))


def forwards(one: Shown) -> list[tuple[int, float, float]]:
    """Days, forward by parity and the model's from the same spot, points, of the terms that have one.

    Both relative to the shortest term, so that a close an instant apart does not count.
    """
    morning = {part.root: part.root in MORNING_ROOTS for part in one.parts}
    found = [
        (part.days, part.forward, float(one.state.forward(part.expiry, morning=morning[part.root])[one.minute]))
        for part in one.parts
    ]
    if not found:
        return found
    base = found[0][1] / found[0][2]
    return [(days, forward, model * base) for days, forward, model in found]

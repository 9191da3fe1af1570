"""Years that never happened: the S&P 500 and the VIX drawn together from a model fitted to the real ones.

Returns: filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper, 1999). A GJR-GARCH(1,1) gives the
volatility; its standardised residuals, 1999 to 2018, are drawn again in short blocks together with the shape of
their day (how far the high and the low lay beyond open and close), so that tails, asymmetry and ranges are those
of real days. A rare jump is added: no sample of twenty years holds its October 1987. The VIX follows by
regression on the return, on its negative part, on the change of the model's own 30-day forecast and on the
distance to it, with Student's residuals.

All numbers are maximum-likelihood (arch 8.0) and least-squares fits to the data sets of ``arch``; a test repeats them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

import numpy as np

from simulation.market.calendar import CASH_INDEX, FloatArray, IntArray, calendar
from simulation.market.days import stream
from simulation.market.history import DailyBars, MarketHistory, Role, arch_series

FIRST, LAST = date(2021, 1, 4), date(2030, 12, 31)
BURN_IN = 250
START_LEVEL = 3750.0
YEAR = 252.0


@dataclass(frozen=True)
class ReturnLaw:
    """GJR-GARCH(1,1) of daily log returns (not percent), and the rare jump on top of it."""

    mean: float = 0.000367
    omega: float = 1.316e-6
    gamma: float = 0.18148
    beta: float = 0.8987
    jumps_a_year: float = 0.04  # one day in 25 years, as October 1987 in 1950 to 2024 and a half
    smallest_jump: float = 0.07
    largest_jump: float = 0.20
    block: float = 5.0
    ceiling: float = 0.045**2  # without it drawn crises feed on themselves into years that no record has

    @property
    def persistence(self) -> float:
        """How much of a variance shock is left the next day."""
        return self.gamma / 2.0 + self.beta

    @property
    def lasting(self) -> float:
        """Variance of a day in the long run."""
        return self.omega / (1.0 - self.persistence)

    def next_variance(self, variance: float, error: float) -> float:
        """Tomorrow's variance; an error beyond five deviations counts as five (Carnero, Pena and Ruiz, 2007)."""
        bounded = max(error, -5.0 * variance**0.5)
        following = self.omega + (self.gamma * bounded * bounded if bounded < 0.0 else 0.0) + self.beta * variance
        return min(following, self.ceiling)

    def forecast(self, variance: float) -> float:
        """Volatility expected over the next 21 days, in percent a year."""
        share = (1.0 - self.persistence**21) / (21.0 * (1.0 - self.persistence))
        return 100.0 * math.sqrt((self.lasting + (variance - self.lasting) * share) * YEAR)


@dataclass(frozen=True)
class VixLaw:
    """Daily log change of the VIX.

    Least squares over SPY and Cboe's VIX 1998 to 2021 (R squared 0.65) and the arch data (0.74).

    The pull of the return falls with the root of the VIX's level over 16; ``lasting`` is where the level returns to,
    such that squared returns are the 0.77 of the squared VIX before them that they were in 1999 to 2018.
    """

    constant: float = 0.0027
    on_return: float = -5.0
    on_gap: float = -0.012
    on_forecast: float = 0.22
    on_level: float = -0.017
    lasting: float = 18.0
    residual: float = 0.0414
    tails: float = 4.5
    lowest: float = 8.8
    highest: float = 95.0

    def change(self, level: float, moved: float, before: float, after: float) -> float:
        """Expected log change at a log ``level``, when the index has ``moved`` and its forecast has changed."""
        pull = self.on_return * moved * math.sqrt(16.0 / math.exp(level))
        gap = level - math.log(before)
        back = self.on_level * (level - math.log(self.lasting))
        return self.constant + pull + self.on_gap * gap + self.on_forecast * math.log(after / before) + back


FITTED = ReturnLaw()
# Real residuals fall harder than they rise (0.585 of their variance is below zero), so the fitted asymmetry, drawn
# from them, has almost no long-run variance (persistence 1.00) and gives years that no record has. Drawn years use
# a little less of it and the intercept that brings their volatility to that of 1998 to 2021 (19 to 20 %).
RETURNS = replace(FITTED, gamma=0.16, omega=1.811e-6)
VIX = VixLaw()


@dataclass(frozen=True)
class Residuals:
    """Real days without their volatility.

    Standardised return, and room above and below open and close in deviations.
    """

    shock: FloatArray
    above: FloatArray
    below: FloatArray


@lru_cache(maxsize=1)
def residuals(law: ReturnLaw = FITTED) -> Residuals:
    """The S&P 500's days of 1999 to 2018, filtered."""
    bars = arch_series("sp500")
    returns = np.diff(np.log(bars.close))
    deviations = np.empty(len(returns))
    variance = law.lasting
    for row, value in enumerate(returns.tolist()):
        deviations[row] = variance**0.5
        variance = law.next_variance(variance, value - law.mean)
    top, bottom = np.maximum(bars.open, bars.close)[1:], np.minimum(bars.open, bars.close)[1:]
    above, below = np.log(bars.high[1:] / top), np.log(bottom / bars.low[1:])
    return Residuals((returns - law.mean) / deviations, above / deviations, below / deviations)


def _rows(seed: int, count: int, available: int, block: float) -> IntArray:
    """Rows of real days, in blocks of geometric length (Politis and Romano, 1994)."""
    fresh = stream(seed, "garch/blocks").random(count) < 1.0 / block
    starts = stream(seed, "garch/rows").integers(available, size=count)
    rows = np.empty(count, dtype=np.int64)
    row = int(starts[0])
    for at in range(count):
        row = int(starts[at]) if fresh[at] else (row + 1) % available
        rows[at] = row
    return rows


@dataclass(frozen=True)
class Draw:
    """A drawn stretch: log returns, their deviations, the real rows behind them and the VIX."""

    returns: FloatArray
    deviations: FloatArray
    rows: IntArray
    volatility: FloatArray


def draw_days(seed: int, count: int) -> Draw:
    """``count`` days of returns and VIX after a burn-in.

    The same for the same seed, and a prefix whatever the count.
    """
    source = residuals()
    total = count + BURN_IN
    law = RETURNS
    rows = _rows(seed, total, len(source.shock), law.block)
    jumped = stream(seed, "garch/jumps").random((total, 2))
    noise = stream(seed, "garch/vix").standard_t(VIX.tails, size=total) * VIX.residual
    noise *= ((VIX.tails - 2.0) / VIX.tails) ** 0.5
    returns, deviations, volatility = np.empty(total), np.empty(total), np.empty(total)
    variance = law.lasting
    before = law.forecast(variance)
    level = float(np.log(before)) + 0.11
    for at in range(total):
        deviation = variance**0.5
        error = float(source.shock[rows[at]]) * deviation
        if jumped[at, 0] < law.jumps_a_year / YEAR:
            error -= law.smallest_jump + (law.largest_jump - law.smallest_jump) * float(jumped[at, 1])
        moved = law.mean + error
        variance = law.next_variance(variance, error)
        after = law.forecast(variance)
        level += VIX.change(level, moved, before, after) + float(noise[at])
        level = float(np.clip(level, np.log(VIX.lowest), np.log(VIX.highest)))
        before = after
        returns[at], deviations[at], volatility[at] = moved, deviation, np.exp(level)
    return Draw(returns[BURN_IN:], deviations[BURN_IN:], rows[BURN_IN:], volatility[BURN_IN:])


def simulated_history(seed: int, first: date = FIRST, last: date = LAST) -> MarketHistory:
    """Ten drawn years as a history: index bars and VIX closes, on the calendar of 2021 to 2030."""
    days = np.array([day.toordinal() for day in calendar().between(first, last)], dtype=np.int64)
    drawn = draw_days(seed, len(days))
    source = residuals()
    close = np.round(START_LEVEL * np.exp(np.cumsum(drawn.returns)), 2)
    before = np.concatenate(([START_LEVEL], close[:-1]))
    share = CASH_INDEX.overnight
    gaps = share * drawn.returns
    gaps += (share * (1.0 - share)) ** 0.5 * drawn.deviations * stream(seed, "garch/gaps").standard_normal(len(days))
    opened = np.round(before * np.exp(gaps), 2)
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    high = np.round(top * np.exp(source.above[drawn.rows] * drawn.deviations), 2)
    low = np.round(bottom * np.exp(-source.below[drawn.rows] * drawn.deviations), 2)
    index = DailyBars(f"garch {seed}", Role.INDEX, days, opened, high, low, close, CASH_INDEX)
    unknown = np.full(len(days), np.nan)
    vix = DailyBars(
        f"garch {seed} VIX", Role.VOLATILITY, days, unknown, unknown, unknown, np.round(drawn.volatility, 2), CASH_INDEX
    )
    note = f"garch {seed}: every price is drawn from a fitted model; no day of it ever happened"
    return MarketHistory(replace(index, notes=(note,)), vix, {})

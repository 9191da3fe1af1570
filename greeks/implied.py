"""Implied volatility of many quotes at once, with a reason wherever there is none.

The method is that of Jaeckel, "Let's Be Rational" (Wilmott, 2015): the price is normalised to an out-of-the-money
call, a first guess is read from curves that are right at both ends of each of three regions, and third-order
Householder steps are taken in an objective that is nearly linear in that region; two steps reach the rounding of the
price everywhere. Differences from the paper: docs/greeks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from greeks.black_scholes import Backend, FloatArray, aligned, check_positive, choose, normal, signs

ReasonArray: TypeAlias = NDArray[np.int8]
_ROOT_TWO_PI_INVERSE = 0.3989422804014327
_SMALLEST = 1e-290
IN_THE_MONEY_NOISE = 1e-15  # of the larger part: time value that is only the rounding of a subtraction
_STEPS = 60


class NoVolatility(IntEnum):
    """Why a quote has no implied volatility; ``FOUND`` where it has one."""

    FOUND = 0
    EXPIRED = 1  # no time is left
    BELOW_INTRINSIC = 2  # at or under the discounted intrinsic value
    ABOVE_BOUND = 3  # at or over what the option can be worth at any volatility
    ZERO_BID = 4  # nobody bids: the middle says nothing
    CROSSED = 5  # bid above ask
    MISSING = 6  # a side of the quote is missing or not a number
    NOT_CONVERGED = 7  # an American price between its bounds that no volatility of 0.01 % to 1000 % gives


@dataclass(frozen=True, slots=True)
class ImpliedVolatilities:
    """Volatility per year (NaN where there is none) and the reason, one element a contract."""

    volatility: FloatArray
    reason: ReasonArray

    def at(self, index: int) -> float | NoVolatility:
        """The volatility of one contract, or why it has none."""
        reason = NoVolatility(int(self.reason[index]))
        return float(self.volatility[index]) if reason is NoVolatility.FOUND else reason


def implied_volatility(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    is_call: ArrayLike,
    backend: Backend = Backend.AUTOMATIC,
) -> ImpliedVolatilities:
    """Implied volatility of European prices in points (NaN price: ``MISSING``).

    For an option on a future give the future's price as ``spot`` and the rate as ``dividend_yield``. Raises
    ``ValueError`` for a spot or strike that is not positive.
    """
    inputs = aligned(price, spot, strike, years, rate, dividend_yield, signs(is_call))
    reasons = np.where(np.isfinite(inputs[0]), NoVolatility.FOUND, NoVolatility.MISSING).astype(np.int8)
    return solve(inputs, reasons, backend)


def solve(inputs: tuple[FloatArray, ...], reasons: ReasonArray, backend: Backend) -> ImpliedVolatilities:
    """Volatilities of (price, spot, strike, years, rate, yield, sign) where ``reasons`` is still ``FOUND``."""
    check_positive("spot", inputs[1])
    check_positive("strike", inputs[2])
    kernels = choose(inputs[0].size, backend)
    if kernels is None:
        return _solve(inputs, reasons)
    found = np.empty(inputs[0].size)
    kernels.fill_volatility(np.vstack(inputs), found, reasons)
    return ImpliedVolatilities(found, reasons)


_FOUND, _MISSING = np.int8(NoVolatility.FOUND), np.int8(NoVolatility.MISSING)
_CROSSED, _ZERO_BID = np.int8(NoVolatility.CROSSED), np.int8(NoVolatility.ZERO_BID)


def judge_quotes(bid: FloatArray, ask: FloatArray) -> tuple[FloatArray, ReasonArray]:
    """The middle of each quote (NaN for a missing side) and why it may not be used."""
    missing = ~(np.isfinite(bid) & np.isfinite(ask))
    with np.errstate(invalid="ignore"):
        reasons = np.where(bid <= 0.0, _ZERO_BID, _FOUND)
        reasons[bid > ask] = _CROSSED
    reasons[missing] = _MISSING
    return 0.5 * (bid + ask), reasons


def _solve(inputs: tuple[FloatArray, ...], reasons: ReasonArray) -> ImpliedVolatilities:
    """The numpy form of ``kernels.fill_volatility``."""
    price, spot, strike, years, rate, dividend_yield, sign = inputs
    left = np.maximum(years, 0.0)
    strike_now = strike * np.exp(-rate * left)
    spot_now = spot * np.exp(-dividend_yield * left)
    x = -np.abs(np.log(spot / strike) + (rate - dividend_yield) * left)
    with np.errstate(invalid="ignore"):
        worth = sign * (spot_now - strike_now)
        time_value = price - np.maximum(worth, 0.0)
        beta = time_value / (np.sqrt(spot_now) * np.sqrt(strike_now))
        noise = np.where(worth > 0.0, IN_THE_MONEY_NOISE * np.maximum(spot_now, strike_now), 0.0)
        worse = np.select(
            [~(years > 0.0), ~((time_value > noise) & (beta >= _SMALLEST)), beta >= np.exp(0.5 * x)],
            [NoVolatility.EXPIRED, NoVolatility.BELOW_INTRINSIC, NoVolatility.ABOVE_BOUND],
            NoVolatility.FOUND,
        ).astype(np.int8)
    reasons = np.where(reasons == NoVolatility.FOUND, worse, reasons)
    good = np.flatnonzero(reasons == NoVolatility.FOUND)
    volatility = np.full(price.size, np.nan)
    if good.size:
        volatility[good] = total_volatility(beta[good], x[good]) / np.sqrt(left[good])
    return ImpliedVolatilities(volatility, reasons)


def total_volatility(beta: FloatArray, x: FloatArray) -> FloatArray:
    """Total volatility of normalised out-of-the-money prices ``0 < beta < exp(x / 2)`` at log moneyness ``x`` <= 0."""
    x = np.minimum(x, -1e-300)
    with np.errstate(all="ignore"):
        guess, low, high, region = _start(beta, x)
        s = np.where((low < guess) & (guess < high), guess, 0.5 * (low + np.minimum(high, 100.0)))
        active = np.ones(s.size, dtype=bool)
        for _ in range(_STEPS):
            step, excess = _step(beta, x, s, region)
            high = np.where(excess > 0.0, s, high)
            low = np.where(excess < 0.0, s, low)
            moved = s + step
            last = np.abs(step) <= 3e-5 * s  # a fourth-order step: what is left is under the rounding
            inside = (low <= moved) & (moved <= high)  # false also for a step that is not a number
            moved = np.where(inside | last, moved, 0.5 * (low + np.minimum(high, 4.0 * s)))
            s = np.where(active, moved, s)
            active &= ~last
            if not active.any():
                break
    return s


def _black(x: FloatArray, s: FloatArray) -> FloatArray:
    """Normalised Black price of an out-of-the-money call."""
    h, t = x / s, 0.5 * s
    result: FloatArray = normal(h + t) * np.exp(0.5 * x) - normal(h - t) * np.exp(-0.5 * x)
    return result


def _slope(x: FloatArray, s: FloatArray) -> FloatArray:
    """First derivative of ``_black`` by total volatility."""
    h = x / s
    result: FloatArray = _ROOT_TWO_PI_INVERSE * np.exp(-0.5 * (h * h + 0.25 * s * s))
    return result


def _hermite(
    at: FloatArray,
    ends: tuple[FloatArray, FloatArray],
    values: tuple[FloatArray, FloatArray],
    slopes: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Cubic through two points with two slopes."""
    width = ends[1] - ends[0]
    u = (at - ends[0]) / width
    v = 1.0 - u
    ours = values[0] * v * v * (1.0 + 2.0 * u) + values[1] * u * u * (1.0 + 2.0 * v)
    result: FloatArray = ours + width * u * v * (slopes[0] * v - slopes[1] * u)
    return result


def _start(beta: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.int8]]:
    """First guess, bracket and region (0 low, 1 middle, 2 high), as in ``kernels._start``."""
    ceiling = np.exp(0.5 * x)
    centre = np.sqrt(-2.0 * x)
    at_centre = np.maximum(0.5 * ceiling - normal(-centre) / ceiling, 0.0)
    steep = ceiling * _ROOT_TWO_PI_INVERSE
    under = beta < at_centre
    edge = centre + np.where(under, -at_centre, ceiling - at_centre) / steep
    at_edge = _black(x, np.maximum(edge, 1e-300))
    at_edge = np.where(edge > 0.0, at_edge, 0.0)
    slope_edge = np.where(at_edge > 0.0, _slope(x, np.maximum(edge, 1e-300)), steep)
    low_region = under & (at_edge > 0.0) & (beta < at_edge)
    high_region = ~under & (beta > at_edge)
    region = np.where(low_region, 0, np.where(high_region, 2, 1)).astype(np.int8)
    ends = (np.where(under, at_edge, at_centre), np.where(under, at_centre, at_edge))
    values = (np.where(under, edge, centre), np.where(under, centre, edge))
    slopes = (np.where(under, 1.0 / slope_edge, 1.0 / steep), np.where(under, 1.0 / steep, 1.0 / slope_edge))
    guess = _hermite(beta, ends, values, slopes)
    low, high = np.maximum(values[0], 0.0), values[1]
    if low_region.any():
        ease = -1.0 / np.log(-at_edge / x)
        part = -1.0 / np.log(-beta / x) / ease
        chord = edge * edge / ease
        slope = 2.0 * edge * at_edge / (ease * ease * slope_edge)
        bow = (0.5 * x * x + slope - 2.0 * chord) * part * (1.0 - part)
        square = (chord * part * part + 0.5 * x * x * part * (1.0 - part)) / (chord + bow)
        guess = np.where(low_region, edge * np.sqrt(square), guess)
        low, high = np.where(low_region, 0.0, low), np.where(low_region, edge, high)
    if high_region.any():
        rise = np.log((ceiling - at_edge) / (ceiling - beta))
        far = np.sqrt(edge * edge + 2.0 * edge * (ceiling - at_edge) / slope_edge * rise)
        guess = np.where(high_region, far, guess)
        low, high = np.where(high_region, edge, low), np.where(high_region, 1e9, high)
    return guess, low, high, region


def _step(beta: FloatArray, x: FloatArray, s: FloatArray, region: NDArray[np.int8]) -> tuple[FloatArray, FloatArray]:
    """Householder's third-order step in the objective of each region, and price minus target."""
    h, t = x / s, 0.5 * s
    ceiling = np.exp(0.5 * x)
    far = normal(h - t) / ceiling
    price = normal(h + t) * ceiling - far
    slope = _slope(x, s)
    second = h * h / s - 0.25 * s
    third = second * second - 3.0 * h * h / (s * s) - 0.25
    newton, bend, twist = (beta - price) / slope, second, third
    low, high = region == 0, region == 2
    if low.any():
        relative = slope / price
        inverse = 1.0 / np.log(price)
        once = 1.0 + 2.0 * inverse
        newton = np.where(low, (np.log(beta) - np.log(price)) / (np.log(beta) * inverse) / relative, newton)
        bend = np.where(low, second - relative * once, bend)
        cube = 2.0 * relative * relative * (1.0 + 3.0 * inverse * (1.0 + inverse))
        twist = np.where(low, third + cube - 3.0 * second * relative * once, twist)
    if high.any():
        left = ceiling * normal(-h - t) + far
        relative = slope / left
        newton = np.where(high, np.log(left / (ceiling - beta)) / relative, newton)
        bend = np.where(high, second + relative, bend)
        twist = np.where(high, third + relative * (2.0 * relative + 3.0 * second), twist)
    return newton * (1.0 + 0.5 * bend * newton) / (1.0 + newton * (bend + twist * newton / 6.0)), price - beta

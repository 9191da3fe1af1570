"""The compiled loops: one contract at a time in scalars, turned into machine code by numba on first import.

Nothing imports this module at start-up: ``greeks.black_scholes`` and ``greeks.implied`` load it when a batch is large
enough to repay it, and use their numpy forms of the same formulas where numba is not installed. The machine code is
kept on disk (beside the source; in the user's cache folder when that is read-only; in the temporary folder when both
are), so that it is compiled once per machine. Formulas and their sources: docs/greeks.md.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from math import erfc, exp, log, sqrt
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Grid = tuple[FloatArray, ...]
"""``american._Grid`` in the order of its fields."""
Function = TypeVar("Function", bound=Callable[..., Any])

ROOT_HALF = 0.7071067811865476
ROOT_TWO_PI_INVERSE = 0.3989422804014327
ROOT_TWO_PI = 2.5066282746310002
NO_SPREAD = 1e-10  # total volatility under which the outcome is certain for every purpose
IN_THE_MONEY_NOISE = 1e-15  # of the larger part: time value that is only the rounding of a subtraction
SMALLEST_PRICE = 1e-290  # normalised: what is under it has no digits left
ROWS = 9  # price, delta, gamma, vega, theta, rho, vanna, charm, vomma

_numba = importlib.import_module("numba")


def _own_temporary_folder() -> str:
    """A folder for machine code that nobody else may write: the same one every time unless it is another user's."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = os.path.join(tempfile.gettempdir(), f"greeks-numba-{user}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    seen = os.stat(folder)
    safe = seen.st_uid == user and not seen.st_mode & 0o022
    return folder if safe else tempfile.mkdtemp(prefix="greeks-numba-")


def _compiled(function: Function) -> Function:
    """The function as machine code, cached on disk wherever a folder can be written."""
    try:
        return cast(Function, _numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # neither the source folder nor the user's cache folder can be written
        _numba.config.CACHE_DIR = _own_temporary_folder()
        return cast(Function, _numba.njit(cache=True, error_model="numpy")(function))


@_compiled
def _normal(x: float) -> float:
    """Cumulative normal distribution, with full relative accuracy in the left tail."""
    return 0.5 * erfc(-x * ROOT_HALF)


@_compiled
def _certain(
    spot: float, strike: float, years: float, rate: float, dividend_yield: float, sign: float
) -> tuple[float, float, float, float]:
    """Price, delta, yearly theta and rho (per 1.00) of an option whose outcome is certain."""
    spot_now = spot * exp(-dividend_yield * years)
    strike_now = strike * exp(-rate * years)
    worth = sign * (spot_now - strike_now)
    held = 0.5 if worth == 0.0 else (1.0 if worth > 0.0 else 0.0)
    theta = sign * held * (dividend_yield * spot_now - rate * strike_now) if years > 0.0 else 0.0
    return max(worth, 0.0), sign * held * exp(-dividend_yield * years), theta, sign * held * strike_now * years


@_compiled
def _one(
    spot: float, strike: float, years: float, volatility: float, rate: float, dividend_yield: float, sign: float
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """All nine figures of one European contract; units as in ``greeks.black_scholes.Greeks``."""
    root = sqrt(years) if years > 0.0 else 0.0
    spread = volatility * root
    if spread <= NO_SPREAD:
        price, delta, theta, rho = _certain(spot, strike, max(years, 0.0), rate, dividend_yield, sign)
        return price, delta, 0.0, 0.0, theta / 365.0, rho / 100.0, 0.0, 0.0, 0.0
    carry = exp(-dividend_yield * years)
    d1 = (log(spot / strike) + (rate - dividend_yield) * years) / spread + 0.5 * spread
    d2 = d1 - spread
    in_the_money_1 = _normal(sign * d1)
    strike_part = strike * exp(-rate * years) * _normal(sign * d2)
    spot_part = spot * carry * in_the_money_1
    density = carry * ROOT_TWO_PI_INVERSE * exp(-0.5 * d1 * d1)
    vega = spot * density * root
    theta = -0.5 * spot * density * volatility / root + sign * (dividend_yield * spot_part - rate * strike_part)
    drift = (rate - dividend_yield) / spread - 0.5 * d2 / years
    return (
        sign * (spot_part - strike_part),
        sign * carry * in_the_money_1,
        density / (spot * spread),
        vega / 100.0,
        theta / 365.0,
        sign * strike_part * years / 100.0,
        -density * d2 / volatility / 100.0,
        (sign * dividend_yield * carry * in_the_money_1 - density * drift) / 365.0,
        vega * d1 * d2 / volatility / 10000.0,
    )


@_compiled
def fill_greeks(columns: FloatArray, out: FloatArray) -> None:
    """Write the nine figures of every contract into ``out`` (nine rows); NaN volatility gives a NaN column.

    ``columns`` has seven rows: spot, strike, years, volatility, rate, yield, and +1 for calls, -1 for puts.
    """
    for i in range(columns.shape[1]):
        if columns[3, i] != columns[3, i]:
            for row in range(ROWS):
                out[row, i] = np.nan
            continue
        found = _one(
            columns[0, i], columns[1, i], columns[2, i], columns[3, i], columns[4, i], columns[5, i], columns[6, i]
        )
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = found[0], found[1], found[2], found[3], found[4]
        out[5, i], out[6, i], out[7, i], out[8, i] = found[5], found[6], found[7], found[8]


@_compiled
def _black(x: float, s: float, ceiling: float) -> float:
    """Normalised Black price of an out-of-the-money call: log moneyness ``x`` <= 0, total volatility ``s`` > 0.

    ``ceiling`` is exp(x / 2), what the price cannot reach.
    """
    h = x / s
    t = 0.5 * s
    return _normal(h + t) * ceiling - _normal(h - t) / ceiling


@_compiled
def _slope(x: float, s: float) -> float:
    """First derivative of ``_black`` by total volatility."""
    h = x / s
    return ROOT_TWO_PI_INVERSE * exp(-0.5 * (h * h + 0.25 * s * s))


@_compiled
def _hermite(at: float, left: float, right: float, values: tuple[float, float], slopes: tuple[float, float]) -> float:
    """Cubic through two points with two slopes."""
    width = right - left
    if width <= 0.0:
        return values[0]
    u = (at - left) / width
    v = 1.0 - u
    return (
        values[0] * v * v * (1.0 + 2.0 * u) + values[1] * u * u * (1.0 + 2.0 * v)
        + width * u * v * (slopes[0] * v - slopes[1] * u)
    )  # fmt: skip


@_compiled
def _start(beta: float, x: float, centre: float, at_centre: float, ceiling: float) -> tuple[float, float, float, int]:
    """First guess, bracket and region (0 low, 1 middle, 2 high) for the total volatility."""
    steep = ceiling * ROOT_TWO_PI_INVERSE
    if beta < at_centre:
        low = centre - at_centre / steep
        at_low = _black(x, low, ceiling) if low > 0.0 else 0.0
        if at_low <= 0.0 or beta >= at_low:
            slope_low = _slope(x, low) if at_low > 0.0 else steep
            guess = _hermite(beta, at_low, at_centre, (low, centre), (1.0 / slope_low, 1.0 / steep))
            return guess, max(low, 0.0), centre, 1
        ease = -1.0 / log(-at_low / x)  # s^2 is nearly smooth in -1 / ln(price / |x|): slope x^2 / 2 at the origin
        part = -1.0 / log(-beta / x) / ease
        chord = low * low / ease
        slope = 2.0 * low * at_low / (ease * ease * _slope(x, low))
        bow = (0.5 * x * x + slope - 2.0 * chord) * part * (1.0 - part)
        return low * sqrt((chord * part * part + 0.5 * x * x * part * (1.0 - part)) / (chord + bow)), 0.0, low, 0
    high = centre + (ceiling - at_centre) / steep
    at_high = _black(x, high, ceiling)
    slope_high = _slope(x, high)
    if beta <= at_high:
        return _hermite(beta, at_centre, at_high, (centre, high), (1.0 / steep, 1.0 / slope_high)), centre, high, 1
    rise = log((ceiling - at_high) / (ceiling - beta))
    return sqrt(high * high + 2.0 * high * (ceiling - at_high) / slope_high * rise), high, 1e9, 2


@_compiled
def _step(beta: float, x: float, s: float, ceiling: float, region: int) -> tuple[float, float]:
    """Householder's third-order step towards the root in the objective of the region, and price minus target."""
    h = x / s
    t = 0.5 * s
    near = _normal(h + t) * ceiling
    far = _normal(h - t) / ceiling
    price = near - far
    slope = _slope(x, s)
    if slope <= 0.0 or (region == 0 and price <= 0.0):
        return np.nan, price - beta
    second = h * h / s - 0.25 * s
    third = second * second - 3.0 * h * h / (s * s) - 0.25
    if region == 0:
        relative = slope / price
        inverse = 1.0 / log(price)
        newton = (log(beta) - log(price)) / (log(beta) * inverse) / relative
        bend = second - relative * (1.0 + 2.0 * inverse)
        twist = (
            third
            + 2.0 * relative * relative * (1.0 + 3.0 * inverse * (1.0 + inverse))
            - 3.0 * second * relative * (1.0 + 2.0 * inverse)
        )
    elif region == 2:
        left = ceiling * _normal(-h - t) + far
        relative = slope / left
        newton = log(left / (ceiling - beta)) / relative
        bend = second + relative
        twist = third + relative * (2.0 * relative + 3.0 * second)
    else:
        newton = (beta - price) / slope
        bend = second
        twist = third
    return newton * (1.0 + 0.5 * bend * newton) / (1.0 + newton * (bend + twist * newton / 6.0)), price - beta


@_compiled
def total_volatility(beta: float, x: float) -> float:
    """Total volatility of a normalised out-of-the-money price ``0 < beta < exp(x / 2)``, ``x`` <= 0."""
    x = min(x, -1e-300)
    ceiling = exp(0.5 * x)
    centre = sqrt(-2.0 * x)
    at_centre = max(0.5 * ceiling - _normal(-centre) / ceiling, 0.0)
    s, low, high, region = _start(beta, x, centre, at_centre, ceiling)
    if not low < s < high:
        s = 0.5 * (low + min(high, 100.0))
    for _ in range(60):
        step, excess = _step(beta, x, s, ceiling, region)
        if excess > 0.0:
            high = s
        elif excess < 0.0:
            low = s
        if abs(step) <= 3e-5 * s:  # a fourth-order step: what is left is under the rounding
            return s + step
        moved = s + step
        inside = low <= moved <= high  # false also for a step that is not a number
        s = moved if inside else 0.5 * (low + min(high, 4.0 * s))
    return s


@_compiled
def _implied(
    price: float, spot: float, strike: float, years: float, rate: float, dividend_yield: float, sign: float
) -> tuple[float, int]:
    """Volatility and 0, or NaN and the reason (``NoVolatility``) why there is none."""
    if not years > 0.0:
        return np.nan, 1
    strike_now = strike * exp(-rate * years)
    spot_now = spot * exp(-dividend_yield * years)
    worth = sign * (spot_now - strike_now)
    time_value = price - max(worth, 0.0)
    noise = IN_THE_MONEY_NOISE * max(spot_now, strike_now) if worth > 0.0 else 0.0
    beta = time_value / (sqrt(spot_now) * sqrt(strike_now))
    if not time_value > noise or beta < SMALLEST_PRICE:
        return np.nan, 2
    x = -abs(log(spot / strike) + (rate - dividend_yield) * years)
    if beta >= exp(0.5 * x):
        return np.nan, 3
    return total_volatility(beta, x) / sqrt(years), 0


@_compiled
def fill_volatility(columns: FloatArray, out: FloatArray, reasons: NDArray[np.int8]) -> None:
    """Write each price's implied volatility into ``out``, or NaN there and the reason into ``reasons``.

    ``columns`` has seven rows: price, spot, strike, years, rate, yield, and +1 for calls, -1 for puts. A reason that is
    already set is kept, and its contract skipped.
    """
    for i in range(columns.shape[1]):
        out[i] = np.nan
        if reasons[i] == 0:
            out[i], reasons[i] = _implied(
                columns[0, i], columns[1, i], columns[2, i], columns[3, i], columns[4, i], columns[5, i], columns[6, i]
            )

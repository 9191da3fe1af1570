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
from math import erfc, exp, expm1, log, sqrt
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


# American options: the scalar form of ``greeks.american``, whose grids it is given

KEPT = 2048  # places for boundaries that are kept: a contract at other prices of its underlying has the same one
_SPREADER = 0x9E3779B97F4A7C15 - (
    1 << 64
)  # 2^64 over the golden ratio, as a signed number: it spreads bits (Knuth 6.4)
_SETTLED = 1e-11  # of the log boundary: a step that moves no node by more changes no digit of a price


@_compiled
def _density(x: float) -> float:
    """Standard normal density."""
    return ROOT_TWO_PI_INVERSE * exp(-0.5 * x * x)


@_compiled
def _first_depth(time: float, volatility: float, rate: float, dividend_yield: float, ceiling: float) -> float:
    """Log of the first boundary over its ceiling; see ``american._first_boundary``."""
    variance = volatility * volatility
    carry = (dividend_yield - rate) / variance
    power = (0.5 - carry) + sqrt((carry - 0.5) ** 2 + 2.0 * max(dividend_yield, 0.0) / variance)
    power = max(power, 1.0 + 1e-9)
    at_once = 1.0 / ceiling
    drift = (dividend_yield - rate) * time + 2.0 * volatility * sqrt(time)
    room = max(power / (power - 1.0) - at_once, 1e-12)
    trigger = at_once + room * -expm1(-max(drift, 0.0) / (room * at_once))
    return log(min(1.0 / trigger, ceiling) / ceiling)


@_compiled
def _fill_terms(put: tuple[float, float, float, float, float], grid: Grid, terms: FloatArray) -> None:
    """What no step of a node changes, at each point of its integrals; see ``american._terms``.

    In the rows of ``terms``: total volatility between, its share of d1, and the weights of the strike, of the price of
    the underlying and of its surface.
    """
    years, volatility, rate, dividend_yield, _ = put
    share, points, weights = grid[0], grid[1], grid[2]
    drift = rate - dividend_yield
    tendency = drift / (volatility * volatility) + 0.5
    for node in range(share.size):
        time = years * share[node] * share[node]
        spread = volatility * sqrt(time)
        for k in range(points.size):
            between = spread * (0.5 * points[k])
            passed = time * (1.0 - 0.25 * points[k] * points[k])
            terms[0, node, k] = between
            terms[1, node, k] = tendency * between
            terms[2, node, k] = weights[k] * exp(rate * passed)
            if dividend_yield != 0.0:
                carried = exp(dividend_yield * passed)
                terms[3, node, k] = weights[k] * carried
                terms[4, node, k] = weights[k] * points[k] * carried


@_compiled
def _moved(
    put: tuple[float, float, float, float, float],
    node: int,
    depth: float,
    squares: FloatArray,
    grid: Grid,
    terms: FloatArray,
) -> float:
    """Newton's step of one node; see ``american._step``. ``put``: years, volatility, rate, yield, ceiling."""
    years, volatility, rate, dividend_yield, ceiling = put
    share, points, inside = grid[0], grid[1], grid[3]
    time = years * share[node] * share[node]
    drift = rate - dividend_yield
    spread = volatility * sqrt(time)
    root = time / spread
    up = depth / spread + (log(ceiling) + drift * time) / spread + 0.5 * spread
    down = up - spread
    put_sum = call_sum = surface = put_tilt = call_tilt = 0.0
    for k in range(points.size):
        square = 0.0
        for j in range(squares.size):
            square += squares[j] * inside[node, k, j]
        between = terms[0, node, k]
        inner_up = (depth + sqrt(max(square, 0.0))) / between + terms[1, node, k]
        inner_down = inner_up - between
        from_put = terms[2, node, k] * _density(inner_down)
        tilt = inner_down / between
        put_sum += from_put
        put_tilt += from_put * tilt
        if dividend_yield != 0.0:
            from_call = terms[3, node, k] * _density(inner_up)
            call_sum += from_call
            call_tilt += from_call * tilt
            surface += terms[4, node, k] * _normal(inner_up)
    up_density, down_density = _density(up), _density(down)
    upper = down_density / spread + rate * root * put_sum
    lower = up_density / spread + _normal(up) + dividend_yield * (0.5 * time * surface + root * call_sum)
    upper_slope = -down_density * down / (spread * spread) - rate * root * put_tilt
    lower_slope = -up_density * down / (spread * spread) - dividend_yield * root * call_tilt
    value = log(upper / lower) - drift * time - log(ceiling)
    slope = min(upper_slope / upper - lower_slope / lower, 0.5)
    moved = depth + (value - depth) / (1.0 - slope)
    return moved if abs(moved) < np.inf else depth


@_compiled
def _fill_boundary(
    put: tuple[float, float, float, float, float], iterations: int, squares: FloatArray, grid: Grid
) -> None:
    """Squared log of the boundary over its ceiling at every node; see ``american._boundary``."""
    nodes = squares.size - 1
    depth, improved = np.empty(nodes), np.empty(nodes)
    residual, last_residual, last_improved = np.empty(nodes), np.empty(nodes), np.empty(nodes)
    terms = np.empty((5, nodes, grid[1].size))
    _fill_terms(put, grid, terms)
    for i in range(nodes):
        depth[i] = _first_depth(put[0] * grid[0][i] * grid[0][i], put[1], put[2], put[3], put[4])
    squares[nodes] = 0.0
    for turn in range(iterations):
        for i in range(nodes):
            squares[i] = depth[i] * depth[i]
        largest, across, length = 0.0, 0.0, 0.0
        for i in range(nodes):
            improved[i] = min(max(_moved(put, i, depth[i], squares, grid, terms), -30.0), 0.0)
            residual[i] = improved[i] - depth[i]
            largest = max(largest, abs(residual[i]))
            if turn > 0:
                change = residual[i] - last_residual[i]
                across += change * residual[i]
                length += change * change
        share = min(max(across / max(length, 1e-30), -5.0), 0.9)
        for i in range(nodes):
            if turn == 0:
                depth[i] = improved[i]
            else:
                mixed = improved[i] - share * (improved[i] - last_improved[i])
                depth[i] = min(min(max(mixed, improved[i] - 0.5), improved[i] + 0.5), 0.0)
            last_residual[i], last_improved[i] = residual[i], improved[i]
        if largest < _SETTLED:
            break
    for i in range(nodes):
        squares[i] = depth[i] * depth[i]


@_compiled
def _unit_put(
    moneyness: float, put: tuple[float, float, float, float, float], squares: FloatArray, grid: Grid
) -> tuple[float, float, float]:
    """Price, delta and gamma of a unit-strike put; see ``american._unit_put``."""
    years, volatility, rate, dividend_yield, ceiling = put
    if moneyness <= ceiling * exp(-sqrt(max(squares[0], 0.0))):
        return 1.0 - moneyness, -1.0, 0.0
    points, weights, whole = grid[4], grid[5], grid[6]
    price = delta = gamma = 0.0
    for k in range(points.size):
        square = 0.0
        for j in range(squares.size):
            square += squares[j] * whole[k, j]
        later = ceiling * exp(-sqrt(max(square, 0.0)))
        gap = years * (0.25 * points[k] * points[k])
        spread = volatility * sqrt(gap)
        up = (log(moneyness / later) + (rate - dividend_yield) * gap) / spread + 0.5 * spread
        earned, carried = rate * exp(-rate * gap), exp(-dividend_yield * gap)
        outside = _normal(-up)
        weight = 0.5 * years * points[k] * weights[k]
        density = carried * _density(up) / spread
        pull = dividend_yield - rate / later
        price += weight * (earned * _normal(spread - up) - dividend_yield * moneyness * carried * outside)
        delta += weight * (density * pull - dividend_yield * carried * outside)
        gamma += weight * (density / moneyness * (dividend_yield - pull * up / spread))
    plain = _one(moneyness, 1.0, years, volatility, rate, dividend_yield, -1.0)
    price = max(plain[0] + max(price, 0.0), 1.0 - moneyness)
    return price, min(max(plain[1] + delta, -1.0), 0.0), max(plain[2] + gamma, 0.0)


@_compiled
def _place(bits: NDArray[np.int64], at: int) -> int:
    """Which place of the kept boundaries four figures have."""
    mixed = int(bits[1, at])
    for row in range(2, 5):
        mixed = (mixed ^ (mixed >> 29)) * _SPREADER + int(bits[row, at])
    return ((mixed ^ (mixed >> 32)) * _SPREADER >> 40) & (KEPT - 1)


@_compiled
def fill_unit_puts(
    columns: FloatArray, iterations: int, grid: Grid, out: FloatArray, keys: FloatArray, kept: FloatArray
) -> None:
    """Write price, delta and gamma of American unit-strike puts into three rows of ``out``.

    ``columns`` has five rows: moneyness, years, volatility, rate, yield. ``keys`` (NaN at first) and ``kept`` hold the
    boundaries of calls before, at a place that the four figures name: one is used where all four are the same.
    """
    bits = columns.view(np.int64)
    for i in range(columns.shape[1]):
        years, volatility, rate, dividend_yield = columns[1, i], columns[2, i], columns[3, i], columns[4, i]
        ceiling = rate / dividend_yield if dividend_yield > rate else 1.0
        put = (years, volatility, rate, dividend_yield, ceiling)
        at = _place(bits, i)
        same = keys[at, 0] == years and keys[at, 1] == volatility
        if not (same and keys[at, 2] == rate and keys[at, 3] == dividend_yield):
            keys[at, 0], keys[at, 1], keys[at, 2], keys[at, 3] = years, volatility, rate, dividend_yield
            _fill_boundary(put, iterations, kept[at], grid)
        out[0, i], out[1, i], out[2, i] = _unit_put(columns[0, i], put, kept[at], grid)

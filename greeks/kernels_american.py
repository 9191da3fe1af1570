"""The compiled loops of American options: the scalar form of ``greeks.american``, whose grids they are given.

A boundary is a function of time, volatility, rate and yield alone: the last ones are kept from call to call, for a
contract's volatility, its Greeks and its values under stress are asked for in the same minute.
"""

from __future__ import annotations

from math import exp, expm1, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from greeks.american import CERTAIN, HIGHEST_VOLATILITY, LOWEST_VOLATILITY, SEARCH_STEPS
from greeks.kernels import ROOT_TWO_PI_INVERSE, FloatArray, Grid, _compiled, _implied, _normal, _one

Memo = tuple[FloatArray, FloatArray]
"""The figures that boundaries were found for, at places that these name, and the boundaries."""
Contract = tuple[float, float, float, float, float, float, float]
"""Spot, strike, years, volatility, rate, yield, +1 for a call and -1 for a put."""

KEPT = 2048  # places for boundaries: a contract at other prices of its underlying has the same one
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
    the underlying and of its surface. The last row is room for the d1 of a step.
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
    at = terms[5, node]  # all points beside each other up to d1: the processor takes several at once
    between, shift = terms[0, node], terms[1, node]
    at[:] = 0.0
    for j in range(squares.size):
        square, row = squares[j], inside[node, j]
        for k in range(at.size):
            at[k] += square * row[k]
    for k in range(at.size):
        at[k] = (depth + sqrt(max(at[k], 0.0))) / between[k] + shift[k]
    for k in range(points.size):
        inner_up = at[k]
        inner_down = inner_up - between[k]
        from_put = terms[2, node, k] * _density(inner_down)
        tilt = inner_down / between[k]
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
    terms = np.empty((6, nodes, grid[1].size))
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
    moneyness: float, put: tuple[float, float, float, float, float], squares: FloatArray, grid: Grid, slopes: bool
) -> tuple[float, float, float]:
    """Price of a unit-strike put and, where ``slopes`` are wanted, delta and gamma; see ``american._unit_put``."""
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
        price += weight * (earned * _normal(spread - up) - dividend_yield * moneyness * carried * outside)
        if not slopes:
            continue
        density = carried * _density(up) / spread
        pull = dividend_yield - rate / later
        delta += weight * (density * pull - dividend_yield * carried * outside)
        gamma += weight * (density / moneyness * (dividend_yield - pull * up / spread))
    plain = _one(moneyness, 1.0, years, volatility, rate, dividend_yield, -1.0)
    price = max(plain[0] + max(price, 0.0), 1.0 - moneyness)
    return price, min(max(plain[1] + delta, -1.0), 0.0), max(plain[2] + gamma, 0.0)


def new_memo() -> Memo:
    """A memory of boundaries with nothing in it."""
    return np.full((KEPT, 4), np.nan), np.zeros((KEPT, 7))


@_compiled
def _place_of(put: tuple[float, float, float, float, float], iterations: int, grid: Grid, memo: Memo) -> int:
    """Where the boundary of a unit put is kept, at a place that its figures name; found anew where it is not."""
    keys, kept = memo
    years, volatility, rate, dividend_yield, _ = put
    mixed = (hash(years) * 31 + hash(volatility)) * 31 + hash(rate) * 7 + hash(dividend_yield)
    at = (mixed ^ (mixed >> 17) ^ (mixed >> 34)) & (KEPT - 1)
    same = keys[at, 0] == years and keys[at, 1] == volatility
    if not (same and keys[at, 2] == rate and keys[at, 3] == dividend_yield):
        keys[at, 0], keys[at, 1], keys[at, 2], keys[at, 3] = years, volatility, rate, dividend_yield
        _fill_boundary(put, iterations, kept[at], grid)
    return at


@_compiled
def _value(contract: Contract, iterations: int, grid: Grid, memo: Memo, slopes: bool) -> tuple[float, float, float]:
    """Price, and delta and gamma where these ``slopes`` are wanted; else they are no figures.

    European where early exercise never pays or nothing is left to chance.
    A call is a unit put with spot and strike and rate and yield in each other's place (put-call symmetry).
    """
    spot, strike, years, volatility, rate, dividend_yield, sign = contract
    if volatility != volatility:
        return np.nan, np.nan, np.nan
    call = sign > 0.0
    cost, income = (dividend_yield, rate) if call else (rate, dividend_yield)
    if cost > 0.0 and volatility * sqrt(max(years, 0.0)) > CERTAIN:
        put = (years, volatility, cost, income, cost / income if income > cost else 1.0)
        moneyness = strike / spot if call else spot / strike
        price, slope, curve = _unit_put(moneyness, put, memo[1][_place_of(put, iterations, grid, memo)], grid, slopes)
        if call:
            value, delta, gamma = spot * price, price - moneyness * slope, moneyness * moneyness * curve / spot
        else:
            value, delta, gamma = strike * price, slope, curve / strike
    else:
        plain = _one(spot, strike, years, volatility, rate, dividend_yield, sign)
        value, delta, gamma = plain[0], plain[1], plain[2]
    inner = sign * (spot - strike)
    if value < inner:
        return inner, sign, 0.0
    return value, delta, gamma


@_compiled
def _contract(columns: FloatArray, i: int) -> Contract:
    return (
        columns[0, i], columns[1, i], columns[2, i], columns[3, i], columns[4, i], columns[5, i], columns[6, i],
    )  # fmt: skip


@_compiled
def is_faulty(columns: FloatArray) -> bool:
    """Whether a spot or strike is not a finite price above zero, or a contract has two exercise boundaries."""
    for i in range(columns.shape[1]):
        if not 0.0 < columns[0, i] < inf or not 0.0 < columns[1, i] < inf:
            return True
        call = columns[6, i] > 0.0
        cost, income = (columns[5, i], columns[4, i]) if call else (columns[4, i], columns[5, i])
        if cost < 0.0 and income < cost:
            return True
    return False


@_compiled
def fill_values(columns: FloatArray, iterations: int, grid: Grid, memo: Memo, slopes: bool, out: FloatArray) -> None:
    """Write price and delta into two rows of ``out``; ``columns`` has the seven figures of ``Contract``.

    Without ``slopes`` the price alone is a figure.
    """
    for i in range(columns.shape[1]):
        out[0, i], out[1, i], _ = _value(_contract(columns, i), iterations, grid, memo, slopes)


@_compiled
def _is_alive(contract: Contract, price: float) -> bool:
    """Whether anything but the price and a delta of one is left to say."""
    spot, strike, years, volatility, _, _, sign = contract
    certain = volatility * sqrt(max(years, 0.0)) <= CERTAIN
    return years > 0.0 and not certain and price > sign * (spot - strike) + 1e-12 * strike


@_compiled
def fill_american_greeks(columns: FloatArray, iterations: int, grid: Grid, memo: Memo, out: FloatArray) -> None:
    """Write nine rows of figures, those for rho and charm left alone: see ``american.american_greeks``."""
    for i in range(columns.shape[1]):
        one = _contract(columns, i)
        spot, strike, years, volatility, rate, dividend_yield, sign = one
        price, delta, gamma = _value(one, iterations, grid, memo, True)
        out[0, i], out[1, i] = price, delta
        if price != price:
            for row in range(2, out.shape[0]):
                out[row, i] = np.nan
            continue
        if not _is_alive(one, price):
            for row in range(2, out.shape[0]):
                out[row, i] = 0.0
            continue
        step = 0.02 * volatility
        points = 100.0 * (step if step > 0.0 else 1.0)
        up = _value((spot, strike, years, volatility + step, rate, dividend_yield, sign), iterations, grid, memo, True)
        down = _value(
            (spot, strike, years, volatility - step, rate, dividend_yield, sign), iterations, grid, memo, True
        )
        growth = (rate - dividend_yield) * spot * delta
        moves = volatility * spot
        decay = rate * price - growth - 0.5 * (moves * moves) * gamma
        out[2, i] = gamma
        out[3, i] = (up[0] - down[0]) / (2.0 * points)
        out[4, i] = decay / 365.0
        out[6, i] = (up[1] - down[1]) / (2.0 * points)
        out[8, i] = (up[0] - 2.0 * price + down[0]) / (points * points)


@_compiled
def fill_rho_and_charm(
    columns: FloatArray, on_future: NDArray[np.bool_], iterations: int, grid: Grid, memo: Memo, out: FloatArray
) -> None:
    """Write both into two rows of ``out``: four boundaries of their own, for what is seldom looked at."""
    step = 1e-3
    for i in range(columns.shape[1]):
        one = _contract(columns, i)
        spot, strike, years, volatility, rate, dividend_yield, sign = one
        price = _value(one, iterations, grid, memo, False)[0]
        if price != price or not _is_alive(one, price):
            out[0, i] = out[1, i] = np.nan if price != price else 0.0
            continue
        along = step if on_future[i] else 0.0
        time = max(min(1.0 / 365.0, 0.5 * years), 1e-12)
        richer = (spot, strike, years, volatility, rate + step, dividend_yield + along, sign)
        poorer = (spot, strike, years, volatility, rate - step, dividend_yield - along, sign)
        later = (spot, strike, years + time, volatility, rate, dividend_yield, sign)
        sooner = (spot, strike, years - time, volatility, rate, dividend_yield, sign)
        rise = _value(richer, iterations, grid, memo, False)[0] - _value(poorer, iterations, grid, memo, False)[0]
        turn = _value(sooner, iterations, grid, memo, True)[1] - _value(later, iterations, grid, memo, True)[1]
        out[0, i] = rise / (200.0 * step)
        out[1, i] = turn / (2.0 * time * 365.0)


@_compiled
def fill_american_volatility(
    columns: FloatArray, iterations: int, grid: Grid, memo: Memo, out: FloatArray, reasons: NDArray[np.int8]
) -> None:
    """Write each price's volatility into ``out``, or NaN and the reason: see ``american.american_implied_volatility``.

    ``columns`` has eight rows: the seven of ``Contract``, whose volatility is not read, and the price.
    """
    for i in range(columns.shape[1]):
        spot, strike, years, _, rate, dividend_yield, sign = _contract(columns, i)
        target = columns[7, i]
        out[i], reasons[i] = np.nan, 0
        if not abs(target) < inf:
            reasons[i] = 6
        elif not years > 0.0:
            reasons[i] = 1
        elif target <= max(sign * (spot - strike), 0.0) + 1e-10 * strike:
            reasons[i] = 2
        elif target >= (spot if sign > 0.0 else strike):
            reasons[i] = 3
        else:
            terms = (spot, strike, years, rate, dividend_yield, sign)
            out[i], reasons[i] = _searched(target, terms, iterations, grid, memo)


@_compiled
def _searched(
    target: float,
    terms: tuple[float, float, float, float, float, float],
    iterations: int,
    grid: Grid,
    memo: Memo,
) -> tuple[float, int]:
    """Secant steps inside a bracket; the European volatility is the upper end, for it leaves no value to exercise."""
    spot, strike, years, rate, dividend_yield, sign = terms
    european = _implied(target, spot, strike, years, rate, dividend_yield, sign)[0]
    low, high, now = LOWEST_VOLATILITY, HIGHEST_VOLATILITY, 0.3
    if LOWEST_VOLATILITY < european < HIGHEST_VOLATILITY:
        now = high = european * (1.0 + 1e-9)
    slope = max(100.0 * _one(spot, strike, years, now, rate, dividend_yield, sign)[3], 1e-8 * strike)
    excess = _value((spot, strike, years, now, rate, dividend_yield, sign), iterations, grid, memo, False)[0] - target
    for _ in range(SEARCH_STEPS):
        if abs(excess) <= 1e-6 * strike:
            return now, 0
        current = now
        if excess > 0.0:
            high = current
        elif excess < 0.0:
            low = current
        moved = current - excess / slope
        now = moved if low < moved < high else 0.5 * (low + high)
        after = (
            _value((spot, strike, years, now, rate, dividend_yield, sign), iterations, grid, memo, False)[0] - target
        )
        secant = (after - excess) / (now - current)
        if 0.0 < secant < inf:
            slope = secant
        excess = after
    return np.nan, 7

"""American options on shares and futures, a whole chain at a time.

The early exercise boundary is found by spectral collocation (Andersen, Lake and Offengenden, "High Performance American
Option Pricing", 2016): a Chebyshev interpolant of the squared log boundary over the root of time, and a fixed-point
iteration whose integrals are Gauss-Legendre sums. Nodes are the same for every contract, so each step is a product of
fixed matrices with one row a contract. Price, delta and gamma follow from the boundary by one more sum (Kim 1990),
theta from the pricing equation, the others from differences. Units: ``greeks.black_scholes.Greeks``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from greeks.black_scholes import (
    FIGURES,
    Backend,
    FloatArray,
    Greeks,
    check_positive,
    european_greeks,
    load_kernels,
    normal,
)
from greeks.implied import ImpliedVolatilities, NoVolatility, implied_volatility

NODES = 6  # Chebyshev intervals of the boundary
BOUNDARY_POINTS = 10  # Gauss-Legendre points of the fixed point's integrals
PRICE_POINTS = 25  # Gauss-Legendre points of the exercise premium
ITERATIONS, BATCH = 7, 2048  # of the boundary; contracts at a time, which bounds the memory
LOWEST_VOLATILITY, HIGHEST_VOLATILITY = 1e-4, 10.0  # between which a volatility is sought
CERTAIN = 1e-6  # total volatility under which no exercise premium is computed
SEARCH_STEPS = 40
_DAYS = 365.0
_ROOT_TWO_PI_INVERSE = 0.3989422804014327


@dataclass(frozen=True, slots=True)
class _Grid:
    """What is the same for every contract: nodes, weights, and interpolation from the nodes' values."""

    share: FloatArray  # node's root of time as a share of the whole, without the node at zero
    points: FloatArray  # 1 + y of the boundary integrals
    weights: FloatArray
    inside: FloatArray  # (node, all nodes, point): boundary of each integral's points
    price_points: FloatArray
    price_weights: FloatArray
    whole: FloatArray  # (point, all nodes): boundary of the premium's points


def _gauss(points: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre points and weights on [-1, 1]: eigenvalues of the Legendre recurrence (Golub and Welsch 1969)."""
    order = np.arange(1, points)
    beside = order / np.sqrt(4.0 * order**2 - 1.0)
    values, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    return values, 2.0 * vectors[0] ** 2


@lru_cache(maxsize=1)
def _grid() -> _Grid:
    angle = np.arange(NODES + 1) * np.pi / NODES
    chebyshev = np.cos(angle)
    halves = np.ones(NODES + 1)
    halves[[0, -1]] = 0.5
    to_coefficients = (2.0 / NODES) * np.cos(np.outer(np.arange(NODES + 1), angle)) * halves * halves[:, None]

    def interpolate(at: FloatArray) -> FloatArray:
        """Rows that turn the nodes' values into the values at ``at``, in [-1, 1]."""
        terms = np.cos(np.arange(NODES + 1) * np.arccos(np.clip(at, -1.0, 1.0))[..., None])
        result: FloatArray = terms @ to_coefficients
        return result

    y, weights = _gauss(BOUNDARY_POINTS)
    price_y, price_weights = _gauss(PRICE_POINTS)
    share = 0.5 * (1.0 + chebyshev[:-1])
    earlier = np.sqrt(1.0 - 0.25 * (1.0 + y) ** 2)
    inside = interpolate(2.0 * share[:, None] * earlier[None, :] - 1.0).swapaxes(1, 2)
    whole = interpolate(2.0 * np.sqrt(1.0 - 0.25 * (1.0 + price_y) ** 2) - 1.0)
    return _Grid(share, 1.0 + y, weights, inside, 1.0 + price_y, price_weights, whole)


class _Loops(NamedTuple):
    """The compiled loops, the grid as they take it, and what they remember."""

    kernels: ModuleType
    grid: tuple[FloatArray, ...]
    memo: tuple[NDArray[np.generic], ...]


@lru_cache(maxsize=1)
def _all_loops() -> _Loops:
    kernels, grid = importlib.import_module("greeks.kernels_american"), _grid()
    columns = tuple(np.ascontiguousarray(getattr(grid, field.name)) for field in fields(_Grid))
    return _Loops(kernels, columns, kernels.new_memo())


def _loops() -> _Loops | None:
    """What American options are priced with at any size; ``None`` where numba is not installed."""
    return None if load_kernels() is None else _all_loops()


@dataclass(frozen=True, slots=True)
class _Puts:
    """Unit-strike puts: time, volatility, rate and yield, one row each; every rate is above zero."""

    years: FloatArray
    volatility: FloatArray
    rate: FloatArray
    dividend_yield: FloatArray

    @property
    def ceiling(self) -> FloatArray:
        """The boundary at the moment before expiry."""
        with np.errstate(divide="ignore"):
            return np.where(self.dividend_yield > self.rate, self.rate / self.dividend_yield, 1.0)


def _density(x: FloatArray) -> FloatArray:
    result: FloatArray = _ROOT_TWO_PI_INVERSE * np.exp(-0.5 * x * x)
    return result


def _first_boundary(puts: _Puts, time: FloatArray) -> FloatArray:
    """Boundary by the flat trigger of Bjerksund and Stensland (2002), turned from calls to puts by symmetry."""
    variance = puts.volatility**2
    carry = (puts.dividend_yield - puts.rate) / variance
    power = (0.5 - carry) + np.sqrt((carry - 0.5) ** 2 + 2.0 * np.maximum(puts.dividend_yield, 0.0) / variance)
    power = np.maximum(power, 1.0 + 1e-9)
    forever = (power / (power - 1.0))[:, None]
    at_once = 1.0 / puts.ceiling[:, None]
    drift = (puts.dividend_yield - puts.rate)[:, None] * time + 2.0 * puts.volatility[:, None] * np.sqrt(time)
    room = np.maximum(forever - at_once, 1e-12)
    trigger = at_once + room * -np.expm1(-np.maximum(drift, 0.0) / (room * at_once))
    result: FloatArray = 1.0 / trigger
    return result


def _boundary(puts: _Puts) -> FloatArray:
    """Squared log of the boundary over its ceiling at every node (the last, at expiry, is 0), one row a contract."""
    grid = _grid()
    time = puts.years[:, None] * grid.share**2
    ceiling = puts.ceiling[:, None]
    terms = _terms(puts, time, ceiling)
    depth = np.log(np.minimum(_first_boundary(puts, time), ceiling) / ceiling)
    squares = np.zeros((puts.years.size, NODES + 1))
    before: tuple[FloatArray, FloatArray] | None = None
    for _ in range(ITERATIONS):
        squares[:, :-1] = depth * depth
        improved = np.clip(_step(puts, terms, depth, squares), -30.0, 0.0)
        depth, before = _accelerated(depth, improved, before)
    squares[:, :-1] = depth * depth
    return squares


def _accelerated(
    depth: FloatArray, improved: FloatArray, before: tuple[FloatArray, FloatArray] | None
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Anderson's mixing of depth one, contract by contract: the step expected to leave the least residual."""
    residual = improved - depth
    if before is None:
        return improved, (residual, improved)
    turn = residual - before[0]
    share = (turn * residual).sum(axis=1) / np.maximum((turn * turn).sum(axis=1), 1e-30)
    mixed = improved - np.clip(share, -5.0, 0.9)[:, None] * (improved - before[1])
    return np.minimum(np.clip(mixed, improved - 0.5, improved + 0.5), 0.0), (residual, improved)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What no iteration changes: (contract, node) first, then (contract, node, point) of the integrals."""

    time: FloatArray
    spread: FloatArray
    level: FloatArray  # d1 of a boundary at its ceiling
    between: FloatArray  # total volatility between the node and the point
    steepness: FloatArray  # one over it
    shift: FloatArray  # d1 of the point for equal boundaries
    grown: FloatArray  # exp(rate x u)
    carried: FloatArray  # exp(yield x u)


def _terms(puts: _Puts, time: FloatArray, ceiling: FloatArray) -> _Terms:
    grid = _grid()
    volatility, rate, dividend_yield = (a[:, None] for a in (puts.volatility, puts.rate, puts.dividend_yield))
    drift = rate - dividend_yield
    spread = volatility * np.sqrt(time)
    level = (np.log(ceiling) + drift * time) / spread + 0.5 * spread
    inner_spread = spread[:, :, None] * (0.5 * grid.points)
    shift = (drift / volatility**2 + 0.5)[:, :, None] * inner_spread
    passed = time[:, :, None] * (1.0 - 0.25 * grid.points**2)
    grown = np.exp(rate[:, :, None] * passed)
    carried = np.exp(dividend_yield[:, :, None] * passed)
    return _Terms(time, spread, level, inner_spread, 1.0 / inner_spread, shift, grown, carried)


def _sum(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted sum over the last axis; not by BLAS, whose order of adding depends on the number of its threads."""
    result: FloatArray = np.einsum("cik,k->ci", values, weights)
    return result


def _step(puts: _Puts, terms: _Terms, depth: FloatArray, squares: FloatArray) -> FloatArray:
    """Newton's step on the smooth-pasting fixed point, by each node's own derivative; logs throughout."""
    grid = _grid()
    rate, dividend_yield, spread = puts.rate[:, None], puts.dividend_yield[:, None], terms.spread
    root = terms.time / spread  # du / (sigma root) is root of time over sigma, times dy
    up = depth / spread + terms.level
    down = up - spread
    later = np.sqrt(np.maximum(np.einsum("cj,ijk->cik", squares, grid.inside), 0.0))
    inner_up = (depth[:, :, None] + later) * terms.steepness + terms.shift
    inner_down = inner_up - terms.between
    up_density, down_density = _density(up), _density(down)
    inner_up_density, inner_down_density = terms.carried * _density(inner_up), terms.grown * _density(inner_down)
    upper = down_density / spread + rate * root * _sum(inner_down_density, grid.weights)
    surface = 0.5 * terms.time * _sum(terms.carried * normal(inner_up), grid.weights * grid.points)
    lower = up_density / spread + normal(up) + dividend_yield * (surface + root * _sum(inner_up_density, grid.weights))
    tilt = inner_down * terms.steepness
    upper_slope = -down_density * down / spread**2 - rate * root * _sum(inner_down_density * tilt, grid.weights)
    lower_slope = -up_density * down / spread**2 - dividend_yield * root * _sum(inner_up_density * tilt, grid.weights)
    with np.errstate(all="ignore"):
        value = np.log(upper / lower) - (rate - dividend_yield) * terms.time - np.log(puts.ceiling)[:, None]
        slope = np.minimum(upper_slope / upper - lower_slope / lower, 0.5)
        moved = depth + (value - depth) / (1.0 - slope)
    return np.where(np.isfinite(moved), moved, depth)


def _unit_put(moneyness: FloatArray, puts: _Puts, squares: FloatArray) -> FloatArray:
    """Price, delta and gamma (three rows) of unit-strike puts at spot over strike, given the boundary's squares."""
    grid = _grid()
    ones = np.ones_like(moneyness)
    terms = (puts.years, puts.volatility, puts.rate, puts.dividend_yield)
    plain = european_greeks(moneyness, ones, *terms, np.zeros(moneyness.size, dtype=bool))
    ceiling = puts.ceiling[:, None]
    later = ceiling * np.exp(-np.sqrt(np.maximum(np.einsum("cj,kj->ck", squares, grid.whole), 0.0)))
    years, volatility, rate, dividend_yield = (
        a[:, None] for a in (puts.years, puts.volatility, puts.rate, puts.dividend_yield)
    )
    gap = years * (0.25 * grid.price_points**2)
    spread = volatility * np.sqrt(gap)
    up = (np.log(moneyness[:, None] / later) + (rate - dividend_yield) * gap) / spread + 0.5 * spread
    earned, carried = rate * np.exp(-rate * gap), np.exp(-dividend_yield * gap)
    outside = normal(-up)
    weights = 0.5 * puts.years[:, None] * grid.price_points * grid.price_weights
    density = carried * _density(up) / spread
    pull = dividend_yield - rate / later
    price = earned * normal(spread - up) - dividend_yield * moneyness[:, None] * carried * outside
    delta = density * pull - dividend_yield * carried * outside
    gamma = density / moneyness[:, None] * (dividend_yield - pull * up / spread)
    rows = np.vstack(
        (
            plain.price + np.maximum((price * weights).sum(axis=1), 0.0),
            plain.delta + (delta * weights).sum(axis=1),
            plain.gamma + (gamma * weights).sum(axis=1),
        )
    )
    exercised = moneyness <= puts.ceiling * np.exp(-np.sqrt(np.maximum(squares[:, 0], 0.0)))
    rows[:, exercised] = np.vstack((1.0 - moneyness, -ones, 0.0 * ones))[:, exercised]
    rows[0] = np.maximum(rows[0], 1.0 - moneyness)
    rows[1] = np.clip(rows[1], -1.0, 0.0)
    rows[2] = np.maximum(rows[2], 0.0)
    return rows


def american_price(*figures: ArrayLike) -> FloatArray:
    """Price in points of every American option; for one on a future give its price and the rate as the yield.

    Takes spot, strike, years, volatility, rate, yield, and whether it is a call. Never under the intrinsic value or the
    European price. Raises ``ValueError`` for a spot or strike that is not positive, and for a negative rate with a
    yield below it (two exercise boundaries; calls: the other way round).
    """
    return _values(_checked(figures), slopes=False)[0]


def american_delta(*figures: ArrayLike) -> FloatArray:
    """Delta of every American option; takes and raises what ``american_price`` does."""
    return _values(_checked(figures), slopes=True)[1]


def _values(columns: FloatArray, slopes: bool) -> tuple[FloatArray, FloatArray]:
    """Prices, and deltas where ``slopes`` are wanted; else those are no figures."""
    loops = _loops()
    if loops is None:
        price, delta, _ = _core(_Batch(*columns))
        return price, delta
    out = np.empty((2, columns.shape[1]))
    loops.kernels.fill_values(columns, ITERATIONS, loops.grid, loops.memo, slopes, out)
    return out[0], out[1]


def american_greeks(*figures: ArrayLike, on_future: ArrayLike = False) -> Greeks:
    """Price and Greeks of every American option; takes and raises what ``american_price`` does.

    ``on_future``: the spot is a future's price, which does not move with the rate, so both rates move for ``rho``.
    Where exercise at once is best: the intrinsic value, a delta of one, and nothing else. Rho and charm rest on four
    boundaries more, and are worked out when they are looked at.
    """
    columns = _checked(figures)
    future = np.full(columns.shape[1], on_future, dtype=bool)
    loops = _loops()
    if loops is None:
        return Greeks.from_matrix(_all_greeks(_Batch(*columns), future))
    out = np.empty((len(FIGURES), columns.shape[1]))
    loops.kernels.fill_american_greeks(columns, ITERATIONS, loops.grid, loops.memo, out)

    def seldom() -> FloatArray:
        rows = np.empty((2, columns.shape[1]))
        loops.kernels.fill_rho_and_charm(columns, future, ITERATIONS, loops.grid, loops.memo, rows)
        return rows

    return Greeks(out, seldom)


def _all_greeks(batch: _Batch, future: NDArray[np.bool_]) -> FloatArray:
    """The numpy form of ``kernels_american.fill_american_greeks`` and ``fill_rho_and_charm``."""
    vol_step, rate_step = 0.02 * batch.volatility, np.full_like(batch.rate, 1e-3)
    time_step = np.maximum(np.minimum(1.0 / _DAYS, 0.5 * batch.years), 1e-12)
    yield_step = np.where(future, rate_step, 0.0)

    def changed(**column: FloatArray) -> FloatArray:
        return _core(replace(batch, **column))

    up, down = (changed(volatility=batch.volatility + step) for step in (vol_step, -vol_step))
    richer = changed(rate=batch.rate + rate_step, dividend_yield=batch.dividend_yield + yield_step)
    poorer = changed(rate=batch.rate - rate_step, dividend_yield=batch.dividend_yield - yield_step)
    later, sooner = (changed(years=batch.years + step) for step in (time_step, -time_step))
    price, delta, gamma = _core(batch)
    inner = batch.sign * (batch.spot - batch.strike)
    alive = (batch.years > 0.0) & (batch.volatility * np.sqrt(np.maximum(batch.years, 0.0)) > CERTAIN)
    alive &= price > inner + 1e-12 * batch.strike
    growth = (batch.rate - batch.dividend_yield) * batch.spot * delta
    decay = batch.rate * price - growth - 0.5 * (batch.volatility * batch.spot) ** 2 * gamma
    points = 100.0 * np.where(vol_step > 0.0, vol_step, 1.0)
    rows = np.vstack((
        price,
        delta,
        gamma,
        (up[0] - down[0]) / (2.0 * points),
        decay / _DAYS,
        (richer[0] - poorer[0]) / (200.0 * rate_step),
        (up[1] - down[1]) / (2.0 * points),
        (sooner[1] - later[1]) / (2.0 * time_step * _DAYS),
        (up[0] - 2.0 * price + down[0]) / points**2,
    ))  # fmt: skip
    rows[2:] = np.where(np.isnan(price), np.nan, np.where(alive, rows[2:], 0.0))
    return rows


def american_implied_volatility(price: ArrayLike, *terms: ArrayLike) -> ImpliedVolatilities:
    """Volatility at which ``american_price`` gives each price to 1e-6 of the strike, or why there is none.

    ``terms``: spot, strike, years, rate, yield, and whether it is a call.
    """
    given = _checked((*terms[:3], 0.2, *terms[3:]))
    target = np.asarray(price, dtype=np.float64)
    length = max(target.size, given.shape[1])
    columns = np.empty((len(given) + 1, length))
    columns[:-1], columns[-1] = given, target
    volatility, reasons = np.full(length, np.nan), np.zeros(length, dtype=np.int8)
    loops = _loops()
    if loops is not None:
        loops.kernels.fill_american_volatility(columns, ITERATIONS, loops.grid, loops.memo, volatility, reasons)
        return ImpliedVolatilities(volatility, reasons)
    target, batch = columns[-1], _Batch(*columns[:-1])
    plain = implied_volatility(
        target, batch.spot, batch.strike, batch.years, batch.rate, batch.dividend_yield, batch.sign > 0, Backend.NUMPY
    )
    inner = np.maximum(batch.sign * (batch.spot - batch.strike), 0.0)
    bound = np.where(batch.sign > 0.0, batch.spot, batch.strike)
    with np.errstate(invalid="ignore"):
        reasons = np.select(
            [~np.isfinite(target), ~(batch.years > 0.0), target <= inner + 1e-10 * batch.strike, target >= bound],
            [NoVolatility.MISSING, NoVolatility.EXPIRED, NoVolatility.BELOW_INTRINSIC, NoVolatility.ABOVE_BOUND],
            NoVolatility.FOUND,
        ).astype(np.int8)
    open_at = np.flatnonzero(reasons == NoVolatility.FOUND)
    if open_at.size:
        found, misses = _search(batch.rows(open_at), target[open_at], plain.volatility[open_at])
        volatility[open_at] = found
        reasons[open_at] = misses
    return ImpliedVolatilities(volatility, reasons)


def _search(batch: _Batch, target: FloatArray, european: FloatArray) -> tuple[FloatArray, NDArray[np.int8]]:
    """Secant steps inside a bracket; the European volatility is the upper end, for it leaves no value to exercise."""
    tolerance = 1e-6 * batch.strike
    low = np.full(target.size, LOWEST_VOLATILITY)
    known = np.isfinite(european) & (european > LOWEST_VOLATILITY) & (european < HIGHEST_VOLATILITY)
    high = np.where(known, european * (1.0 + 1e-9), HIGHEST_VOLATILITY)
    now = np.where(known, high, 0.3)
    vega = 100.0 * replace(batch, volatility=now).european().vega
    slope = np.maximum(vega, 1e-8 * batch.strike)
    reasons = np.full(target.size, NoVolatility.NOT_CONVERGED, dtype=np.int8)
    active = np.arange(target.size)
    excess = _core(replace(batch, volatility=now))[0] - target
    for _ in range(SEARCH_STEPS):
        done = np.abs(excess) <= tolerance[active]
        reasons[active[done]] = NoVolatility.FOUND
        active, excess = active[~done], excess[~done]
        if not active.size:
            break
        current = now[active]
        high[active] = np.where(excess > 0.0, current, high[active])
        low[active] = np.where(excess < 0.0, current, low[active])
        moved = current - excess / slope[active]
        inside = (moved > low[active]) & (moved < high[active])
        now[active] = np.where(inside, moved, 0.5 * (low[active] + high[active]))
        after = _core(replace(batch.rows(active), volatility=now[active]))[0] - target[active]
        with np.errstate(divide="ignore", invalid="ignore"):
            secant = (after - excess) / (now[active] - current)
        slope[active] = np.where(np.isfinite(secant) & (secant > 0.0), secant, slope[active])
        excess = after
    return np.where(reasons == NoVolatility.FOUND, now, np.nan), reasons


@dataclass(frozen=True, slots=True)
class _Batch:
    """Contracts by column."""

    spot: FloatArray
    strike: FloatArray
    years: FloatArray
    volatility: FloatArray
    rate: FloatArray
    dividend_yield: FloatArray
    sign: FloatArray

    def rows(self, at: NDArray[np.intp]) -> _Batch:
        """Some of the contracts."""
        return _Batch(*(getattr(self, field.name)[at] for field in fields(self)))

    def european(self) -> Greeks:
        """Figures without early exercise."""
        terms = (self.spot, self.strike, self.years, self.volatility, self.rate, self.dividend_yield)
        return european_greeks(*terms, self.sign > 0.0)


def _checked(figures: tuple[ArrayLike, ...]) -> FloatArray:
    """Seven rows of one length: spot, strike, years, volatility, rate, yield, and +1 for calls, -1 for puts."""
    parts = [np.asarray(figure, dtype=np.float64) for figure in figures]
    columns = np.empty((len(parts), max(part.size for part in parts)))
    for row, part in enumerate(parts):
        columns[row] = part
    columns[-1] = 2.0 * columns[-1] - 1.0
    loops = _loops()
    if loops is None or loops.kernels.is_faulty(columns):
        _refuse_faults(_Batch(*columns))
    return columns


def _refuse_faults(batch: _Batch) -> None:
    check_positive("spot", batch.spot)
    check_positive("strike", batch.strike)
    financing = np.where(batch.sign > 0.0, batch.dividend_yield, batch.rate)
    income = np.where(batch.sign > 0.0, batch.rate, batch.dividend_yield)
    double = (financing < 0.0) & (income < financing)
    if double.any():
        at = int(np.flatnonzero(double)[0])
        raise ValueError(
            f"rate: {batch.rate[at]} with dividend_yield {batch.dividend_yield[at]} gives two exercise boundaries; "
            "expected a rate (for calls a yield) of at least zero, or the other one above it"
        )


def _core(batch: _Batch) -> FloatArray:
    """Price, delta and gamma rows; European where early exercise never pays or nothing is left to chance."""
    call = batch.sign > 0.0
    rate = np.where(call, batch.dividend_yield, batch.rate)
    dividend_yield = np.where(call, batch.rate, batch.dividend_yield)
    certain = batch.volatility * np.sqrt(np.maximum(batch.years, 0.0)) <= CERTAIN
    early = (rate > 0.0) & ~certain & ~np.isnan(batch.volatility)
    rows = np.empty((3, batch.spot.size))
    plain_at = np.flatnonzero(~early)
    if plain_at.size:
        plain = batch.rows(plain_at).european()
        rows[:, plain_at] = np.vstack((plain.price, plain.delta, plain.gamma))
    early_at = np.flatnonzero(early)
    for start in range(0, early_at.size, BATCH):
        at = early_at[start : start + BATCH]
        rows[:, at] = _early(batch.rows(at), rate[at], dividend_yield[at])
    inner = batch.sign * (batch.spot - batch.strike)
    forced = rows[0] < inner
    rows[:, forced] = np.vstack((inner, batch.sign, 0.0 * inner))[:, forced]
    return rows


def _early(batch: _Batch, rate: FloatArray, dividend_yield: FloatArray) -> FloatArray:
    """As unit puts: for a call, spot and strike and rate and yield change places (put-call symmetry)."""
    spot, strike, call = batch.spot, batch.strike, batch.sign > 0.0
    puts = _Puts(batch.years, batch.volatility, rate, dividend_yield)
    moneyness = np.where(call, strike / spot, spot / strike)
    price, slope, curve = _unit_put(moneyness, puts, _boundary(puts))
    delta = np.where(call, price - moneyness * slope, slope)
    gamma = np.where(call, moneyness**2 * curve / spot, curve / strike)
    return np.vstack((np.where(call, spot, strike) * price, delta, gamma))

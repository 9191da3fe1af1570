"""Option prices, vectorised: Black's formula on a forward, and an American premium over it.

Black (1976); Barone-Adesi and Whaley (1987) for the early-exercise premium, with the dividend yield that the
forward implies, so that discrete dividends, futures (yield equal to the rate) and indices share one code. Checked
against QuantLib in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from simulation.market.calendar import FloatArray

SMALLEST_VARIANCE = 1e-12
SMALLEST_PREMIUM = 0.002  # early exercise that cannot be worth this many points is not computed
ROOT_TWO_PI = float(np.sqrt(2.0 * np.pi))


def black(
    forward: FloatArray,
    strike: FloatArray | float,
    variance: FloatArray,
    discount: FloatArray | float,
    sign: FloatArray | float,
) -> FloatArray:
    """European price in points; ``variance`` is total implied variance, ``sign`` +1 for calls and -1 for puts."""
    deviation = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    value = sign * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - deviation)))
    return np.asarray(discount * np.maximum(value, 0.0))


def forward_delta(
    forward: FloatArray, strike: FloatArray | float, variance: FloatArray, sign: FloatArray | float
) -> FloatArray:
    """Delta with respect to the forward, undiscounted, signed: calls 0 to 1, puts -1 to 0."""
    deviation = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    return np.asarray(sign * ndtr(sign * (np.log(forward / strike) / deviation + 0.5 * deviation)))


@dataclass(frozen=True)
class Greeks:
    """Per one point of the underlying (delta, gamma), per point of volatility (vega.

    Rho per percentage point), per day (theta).
    """

    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    rho: FloatArray


def black_greeks(
    spot: FloatArray,
    forward: FloatArray,
    strike: FloatArray,
    variance: FloatArray,
    years: FloatArray,
    rate: float,
    sign: FloatArray,
) -> Greeks:
    """European Greeks in LEAN's units (vega and rho per percentage point, theta per calendar day)."""
    time = np.maximum(years, 1e-6)
    deviation = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    d2 = d1 - deviation
    discount = np.exp(-rate * time)
    carry = forward / spot * discount
    density = np.exp(-0.5 * d1 * d1) / ROOT_TWO_PI
    gamma = carry * density / (spot * deviation)
    vega = discount * forward * density * np.sqrt(time)
    held = np.log(forward / spot) / time
    decay = -discount * forward * density * deviation / (2.0 * time)
    decay += sign * ((rate - held) * spot * carry * ndtr(sign * d1) - rate * strike * discount * ndtr(sign * d2))
    rho = sign * strike * time * discount * ndtr(sign * d2)
    return Greeks(sign * carry * ndtr(sign * d1), gamma, vega / 100.0, decay / 365.0, rho / 100.0)


def american(
    spot: FloatArray,
    forward: FloatArray,
    strike: FloatArray | float,
    variance: FloatArray,
    years: FloatArray,
    rate: float,
    sign: float,
) -> FloatArray:
    """American price in points, one right for the whole call (``sign`` +1 or -1).

    Never under intrinsic value or the European price.
    """
    time = np.maximum(years, 1e-7)
    discount = np.exp(-rate * time)
    european = black(forward, strike, variance, discount, sign)
    intrinsic = np.maximum(sign * (spot - strike), 0.0)
    held = np.log(forward / spot) / time
    yielded = rate - held
    deviation = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    reached = ndtr(sign * np.log(forward / strike) / deviation)
    earned = strike * -np.expm1(-rate * time) if sign < 0 else spot * -np.expm1(-yielded * time)
    wanted = (earned * reached > SMALLEST_PREMIUM) & (variance > 1e-10)
    value = np.maximum(european, intrinsic)
    if not bool(np.any(wanted)):
        return np.asarray(value)
    full = [
        np.broadcast_to(np.asarray(item, dtype=np.float64), european.shape)[wanted]
        for item in (spot, strike, variance, time, held, european)
    ]
    value = np.array(value)
    value[wanted] = np.maximum(value[wanted], _whaley(full, rate, sign))
    return value


def _whaley(inputs: list[FloatArray], rate: float, sign: float) -> FloatArray:
    """Barone-Adesi and Whaley's quadratic approximation: European value plus the premium over the critical price."""
    spot, strike, variance, time, held, european = inputs
    deviation = np.sqrt(variance)
    kernel = np.maximum(-np.expm1(-rate * time), 1e-12)
    m_over_k = 2.0 * max(rate, 1e-9) * time / variance / np.maximum(kernel, max(rate, 1e-9) * time * 0.5)
    n = 2.0 * held * time / variance
    q = 0.5 * (-(n - 1.0) + sign * np.sqrt((n - 1.0) ** 2 + 4.0 * m_over_k))
    growth = np.exp((held - rate) * time)
    boundary = _Boundary(deviation, held * time, np.exp(-rate * time), growth, q, sign)
    critical = _critical_price(strike, boundary)
    d1 = np.log(critical / strike) / deviation + held * time / deviation + 0.5 * deviation
    scale = sign * critical / q * (1.0 - growth * ndtr(sign * d1))
    premium = scale * np.exp(np.clip(q * np.log(spot / critical), -700.0, 0.0))
    beyond = sign * (spot - critical) >= 0.0
    return np.asarray(np.where(beyond, sign * (spot - strike), european + np.maximum(premium, 0.0)))


NODES = 12
NEWTON_STEPS = 7
HALVINGS = 26


@dataclass(frozen=True)
class _Boundary:
    """The terms of the early-exercise condition, per strike of one: all that the critical price depends on."""

    spread: FloatArray
    drift: FloatArray
    discount: FloatArray
    grown: FloatArray
    power: FloatArray
    sign: float

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> _Boundary:
        """Some of the rows."""
        columns = (self.spread, self.drift, self.discount, self.grown, self.power)
        spread, drift, discount, grown, power = (column[rows] for column in columns)
        return _Boundary(spread, drift, discount, grown, power, self.sign)

    def gap(self, logs: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gain of exercise at log price over strike (zero at the boundary), and its slope in the relative price."""
        relative, sign = np.exp(logs), self.sign
        d1 = (logs + self.drift) / self.spread + 0.5 * self.spread
        inside = self.grown * ndtr(sign * d1)
        european = sign * (relative * inside - self.discount * ndtr(sign * (d1 - self.spread)))
        value = sign * (relative - 1.0) - european - sign * (1.0 - inside) * relative / self.power
        density = self.grown * np.exp(-0.5 * d1 * d1) / (ROOT_TWO_PI * self.spread)
        slope = sign * (1.0 - inside) - (sign * (1.0 - inside) - density) / self.power
        return value, slope


def _critical_price(strike: FloatArray, boundary: _Boundary) -> FloatArray:
    """The price beyond which exercise is best: Newton steps on the smooth-pasting condition, halving where they fail.

    A long run of one strike (one contract's minutes) is solved at a dozen of them and interpolated: it moves slowly.
    """
    rows = np.arange(len(strike))
    if len(strike) > 2 * NODES and float(np.ptp(strike)) <= 0.0:
        rows = np.unique(np.linspace(0, len(strike) - 1, NODES).astype(np.int64))
    solved = _solve(boundary.at(rows))
    if len(rows) < len(strike):
        solved = np.interp(np.arange(len(strike)), rows, solved)
    return np.asarray(strike * np.exp(solved))


def _solve(terms: _Boundary) -> FloatArray:
    sign = terms.sign
    far = 1.0 / np.maximum(1.0 - 1.0 / terms.power, 1e-6)
    pull = -(sign * terms.drift + 2.0 * terms.spread) / np.maximum(np.abs(far - 1.0), 1e-9)
    seed = 1.0 + (far - 1.0) * -np.expm1(np.minimum(pull, 0.0))
    logs = np.where(sign * (seed - 1.0) > 1e-9, np.log(np.maximum(seed, 1e-9)), sign * terms.spread)
    for _ in range(NEWTON_STEPS):
        value, slope = terms.gap(logs)
        logs = sign * np.maximum(sign * (logs - np.clip(value / (slope * np.exp(logs)), -0.5, 0.5)), 1e-9)
    failed = ~(np.abs(terms.gap(logs)[0]) < 1e-6)
    if bool(failed.any()):
        logs[failed] = _halve(terms.at(failed))
    return np.asarray(logs)


def _halve(terms: _Boundary) -> FloatArray:
    near = np.zeros_like(terms.spread)
    far = terms.sign * (12.0 * terms.spread + np.abs(terms.drift) + 0.05)
    for _ in range(HALVINGS):
        middle = 0.5 * (near + far)
        exercise = terms.gap(middle)[0] >= 0.0
        far = np.where(exercise, middle, far)
        near = np.where(exercise, near, middle)
    return np.asarray(far)

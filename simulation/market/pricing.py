"""Option prices, vectorised: Black's formula on a forward, and an American premium over it.

Black (1976); Barone-Adesi and Whaley (1987) for the early-exercise premium, with the dividend yield that the
forward implies, so that discrete dividends, futures (yield equal to the rate) and indices share one code. Checked
against QuantLib in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
    critical = _critical_price(strike, deviation, held, time, rate, growth, q, sign)
    d1 = np.log(critical / strike) / deviation + held * time / deviation + 0.5 * deviation
    scale = sign * critical / q * (1.0 - growth * ndtr(sign * d1))
    premium = scale * np.exp(np.clip(q * np.log(spot / critical), -700.0, 0.0))
    beyond = sign * (spot - critical) >= 0.0
    return np.asarray(np.where(beyond, sign * (spot - strike), european + np.maximum(premium, 0.0)))


NODES = 16


def _critical_price(
    strike: FloatArray,
    deviation: FloatArray,
    held: FloatArray,
    time: FloatArray,
    rate: float,
    growth: FloatArray,
    q: FloatArray,
    sign: float,
) -> FloatArray:
    """The price beyond which exercise is best: bisection on the smooth-pasting condition.

    24 halvings of a wide bracket in logs.

    A long run of one strike (the minutes of one contract) is solved at 16 of them and interpolated: it moves slowly.
    """
    nodes = np.arange(len(strike))
    if len(strike) > 2 * NODES and float(np.ptp(strike)) <= 0.0:
        nodes = np.unique(np.linspace(0, len(strike) - 1, NODES).astype(np.int64))
    spread, drift, lasts, grown, power = (item[nodes] for item in (deviation, held * time, time, growth, q))
    near, far = np.zeros(len(nodes)), sign * (12.0 * spread + np.abs(drift) + 0.05)
    discount, accrued = np.exp(-rate * lasts), np.exp(drift)
    for _ in range(24):
        middle = 0.5 * (near + far)
        relative = np.exp(middle)
        d1 = (middle + drift) / spread + 0.5 * spread
        inside = ndtr(sign * d1)
        european = discount * sign * (relative * accrued * inside - ndtr(sign * (d1 - spread)))
        exercise = sign * (relative - 1.0) - european - sign * (1.0 - grown * inside) * relative / power >= 0.0
        far = np.where(exercise, middle, far)
        near = np.where(exercise, near, middle)
    logs = far if len(nodes) == len(strike) else np.interp(np.arange(len(strike)), nodes, far)
    return np.asarray(strike * np.exp(logs))

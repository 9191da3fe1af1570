"""The implied volatility surface of one underlying at each minute of a day.

Smile: SSVI (Gatheral and Jacquier, 2014, "Arbitrage-free SVI volatility surfaces") with their power law phi = eta
theta^-0.4 (1 + theta)^-0.6, free of butterfly arbitrage while theta phi^2 (1 + |rho|) <= 4 and of calendar arbitrage
while the at-the-money variance theta grows with term. The skew at the money then falls with term as its power -0.4
(Fukasawa, 2021; Gatheral, Jaisson and Rosenbaum, 2018), and in units of at-the-money volatility the 30-day skew hardly
moves with the level (Mixon, 2011, "What does implied volatility skew measure?"). rho and eta are set so that the VIX is
about 1.2 times the at-the-money volatility and the 25-delta risk reversal 0.4 times it, as in S&P 500 options of the
2010s.

Term structure: forward variance is a long-run level and three decaying factors (quarters, weeks, days). The
slowest is solved for at each minute, so that the 30-day variance of the whole strip, as Cboe's VIX formula
computes it, is the volatility index squared.

Prices: Black (1976) on a forward; Barone-Adesi and Whaley (1987) for the early-exercise premium, with the
dividend yield that the forward implies, so that discrete dividends, futures (yield equal to the rate) and indices
share one code. Checked against QuantLib in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial
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


ANCHOR_YEARS = 30.0 / 365.0
SMALLEST_THETA = 1e-12
POWER = 0.4
SAME_DAY_PREMIUM = 0.12  # of variance, gone after days: brings one-day options near Cboe's VIX1D over VIX of 0.8 to 0.9
STRIP_FLOOR = 8e-6  # a strip stops at two strikes without a bid: quotes under about 0.02 points on an index of 2,500


@dataclass(frozen=True)
class SmileLaw:
    """Shape of one underlying's surface.

    ``rho`` tilts the smile (negative: puts dear); ``eta`` at a volatility index of ``reference`` percent sets how
    strong it is, and grows with the power ``stress`` of the index. Speeds are per year of variance time.
    """

    rho: float = -0.70
    eta: float = 1.85
    reference: float = 16.0
    stress: float = -0.15
    slow: float = 3.0
    middle: float = 25.0
    fast: float = 150.0
    long_run: float = 0.195


EQUITY_INDEX = SmileLaw()


def steepness(theta: FloatArray, eta: FloatArray) -> FloatArray:
    """SSVI's phi: what log-moneyness is multiplied by, for at-the-money total variance ``theta``."""
    return np.asarray(eta * np.exp(-POWER * np.log(theta) - (1.0 - POWER) * np.log1p(theta)))


def strongest(rho: float) -> float:
    """The largest eta without butterfly arbitrage at any theta: theta phi^2 is largest at theta = 1 - 2 power."""
    free = 1.0 - 2.0 * POWER
    worst = free**free / (1.0 + free) ** (2.0 - 2.0 * POWER)
    return float(min(np.sqrt(4.0 / worst / (1.0 + abs(rho))), 4.0 / (1.0 + abs(rho))))


def smile(k: FloatArray, theta: FloatArray, rho: float, phi: FloatArray) -> FloatArray:
    """Total implied variance at log-moneyness ``k`` (strike over forward) for at-the-money total variance ``theta``."""
    tilted = phi * k
    moved = tilted + rho
    return np.asarray(0.5 * theta * (1.0 + rho * tilted + np.sqrt(moved * moved + 1.0 - rho * rho)))


def strip_variance(theta: float, rho: float, eta: float) -> float:
    """Total variance that the VIX formula reads from a continuous strip of one expiry.

    Twice the integral of price over strike squared.
    """
    reach = np.sqrt(theta)
    k = np.linspace(-14.0 * reach - 0.02, 9.0 * reach + 0.02, 1201)
    flat = np.full_like(k, theta)
    variance = smile(k, flat, rho, steepness(flat, np.full_like(k, eta)))
    sign = np.where(k < 0.0, -1.0, 1.0)
    price = black(np.ones_like(k), np.exp(k), variance, 1.0, sign)
    fear = 100.0 * float(np.sqrt(1.4 * theta / ANCHOR_YEARS))
    wide = max(1.0, fear / 16.0) ** 1.8  # in stress spreads, and with them strikes without a bid
    integrand = np.where(price > STRIP_FLOOR * wide, price * np.exp(-k), 0.0)
    return float(2.0 * np.trapz(integrand, k))


def _fitted(x: FloatArray, y: FloatArray) -> Polynomial:
    fitted: Polynomial = Polynomial.fit(x, y, 4)  # type: ignore[no-untyped-call]  # numpy ships no annotations for it
    return fitted


@lru_cache(maxsize=64)
def _strip_ratio(rho: float, eta: float) -> tuple[Polynomial, Polynomial]:
    """Polynomials in log total variance: log of strip variance over at-the-money variance, by either."""
    thetas = np.geomspace(2e-4, 0.25, 9)
    strips = np.array([strip_variance(float(theta), rho, eta) for theta in thetas])
    ratio = np.log(strips / thetas)
    return _fitted(np.log(thetas), ratio), _fitted(np.log(strips), ratio)


def at_the_money(strip: FloatArray, rho: float, eta: FloatArray) -> FloatArray:
    """At-the-money total variance whose strip is worth ``strip``, interpolated over a grid of ``eta``."""
    grid = np.arange(int(np.floor(eta.min() * 20)), int(np.ceil(eta.max() * 20)) + 2) / 20.0
    logs = np.log(strip)
    ratios = np.stack([_strip_ratio(rho, float(node))[1](logs) for node in grid])
    position = np.clip((eta - grid[0]) * 20.0, 0.0, len(grid) - 1.000001)
    below = position.astype(np.int64)
    share = position - below
    columns = np.arange(len(strip))
    ratio = ratios[below, columns] * (1.0 - share) + ratios[below + 1, columns] * share
    return np.asarray(strip * np.exp(-ratio))


def _average(speed: float, years: FloatArray | float) -> FloatArray:
    """Integral of exp(-speed t) from now to ``years``."""
    return np.asarray(-np.expm1(-speed * np.asarray(years)) / speed)


@dataclass(frozen=True)
class TermState:
    """What the term structure remembers from before today.

    Long-run variance and the volatility index's recent level (percent).
    """

    long_run: float
    recent: float


@dataclass(frozen=True)
class SurfaceDay:
    """The surface at the open and at each minute's end of one day.

    Forward-variance factors and the smile's strength.
    """

    law: SmileLaw
    long_run: FloatArray
    slow: FloatArray
    middle: FloatArray
    fast: FloatArray
    eta: FloatArray

    def theta(self, years: FloatArray) -> FloatArray:
        """At-the-money total variance to ``years`` of variance time from each minute; grows with ``years``."""
        law = self.law
        total = self.long_run * years + self.slow * _average(law.slow, years)
        total = total + self.middle * _average(law.middle, years) + self.fast * _average(law.fast, years)
        return np.asarray(np.maximum(total, SMALLEST_THETA * (1.0 + years)))

    def variance(self, k: FloatArray, years: FloatArray) -> FloatArray:
        """Total implied variance at log-moneyness ``k``."""
        theta = self.theta(years)
        return smile(k, theta, self.law.rho, steepness(theta, self.eta))


def surface_day(
    law: SmileLaw, volatility: FloatArray, anchor_years: FloatArray, state: TermState, surprise: FloatArray
) -> SurfaceDay:
    """Solves the surface of one day.

    ``volatility`` is the volatility index in percent at each minute, ``anchor_years`` the variance time of the
    next 30 calendar days, ``surprise`` the realised over the expected variance of the session so far (1 when as
    expected).
    """
    eta = np.clip(law.eta * (volatility / law.reference) ** law.stress, 0.05, 0.99 * strongest(law.rho))
    strip = (volatility / 100.0) ** 2 * ANCHOR_YEARS
    anchor = at_the_money(strip, law.rho, eta)
    level = anchor / anchor_years
    slow_part = _average(law.slow, anchor_years)
    stretch = anchor_years / slow_part
    long_run = np.minimum(state.long_run, level * (stretch - 0.55) / (stretch - 1.0))
    slow = (level - long_run) * stretch
    now = long_run + slow
    tension = np.log(volatility / state.recent)
    middle = np.clip(0.75 * tension, -0.35, 0.8) * now
    fast = (SAME_DAY_PREMIUM + np.clip(0.6 * (surprise**0.7 - 1.0), -0.35, 2.5)) * (now + 0.5 * middle)
    slow = (
        anchor
        - long_run * anchor_years
        - middle * _average(law.middle, anchor_years)
        - fast * _average(law.fast, anchor_years)
    ) / slow_part
    return SurfaceDay(law, long_run, slow, middle, fast, eta)


def surprise_of(returns: FloatArray, weights: FloatArray, yearly_variance: float, year_weight: float) -> FloatArray:
    """Realised over expected variance of the session so far, at the open and at each minute's end.

    Drawn to 1 while little is known.

    A weighted mean with a half-life of an hour and a half of expected variance behind it; only minutes already
    passed count.
    """
    expected = yearly_variance * weights / year_weight
    memory = np.exp(-np.arange(len(returns)) / 90.0)
    prior = float(expected.mean()) * 60.0
    realised = np.convolve(returns**2, memory)[: len(returns)]
    wanted = np.convolve(expected, memory)[: len(returns)]
    ratio = (realised + prior) / (wanted + prior)
    return np.concatenate(([1.0], np.clip(ratio, 0.3, 8.0)))

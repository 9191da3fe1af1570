"""The implied volatility surface of one underlying at each minute of a day.

Smile: SSVI (Gatheral and Jacquier, 2014, "Arbitrage-free SVI volatility surfaces") with the power law phi = eta /
sqrt(theta (1 + theta)): free of butterfly arbitrage while eta (1 + |rho|) <= 2 and of calendar arbitrage while
the at-the-money variance theta grows with term. The skew at the money then falls as one over the root of term,
and in units of at-the-money volatility it hardly moves with the level, which is what Mixon (2011, "What does
implied volatility skew measure?") measures; a mild steepening in stress is added.

Term structure: forward variance is a long-run level and three decaying factors (quarters, weeks, days). The
slowest is solved for at each minute, so that the 30-day variance of the whole strip, as Cboe's VIX formula
computes it, is the volatility index squared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial

from simulation.market.calendar import FloatArray
from simulation.market.pricing import black

ANCHOR_YEARS = 30.0 / 365.0
SMALLEST_THETA = 1e-12
STRIP_FLOOR = 8e-6  # a strip stops at two strikes without a bid: quotes under about 0.02 points on an index of 2,500


@dataclass(frozen=True)
class SmileLaw:
    """Shape of one underlying's surface.

    ``rho`` tilts the smile (negative: puts dear); ``eta`` at a volatility index of ``reference`` percent sets how
    strong it is, and grows with the power ``stress`` of the index. Speeds are per year of variance time.
    """

    rho: float = -0.70
    eta: float = 0.75
    reference: float = 16.0
    stress: float = 0.12
    slow: float = 3.0
    middle: float = 25.0
    fast: float = 150.0
    long_run: float = 0.195


EQUITY_INDEX = SmileLaw()


def smile(k: FloatArray, theta: FloatArray, rho: float, eta: FloatArray) -> FloatArray:
    """Total implied variance at log-moneyness ``k`` (strike over forward) for at-the-money total variance ``theta``."""
    phi = eta / np.sqrt(theta * (1.0 + theta))
    moved = phi * k + rho
    return np.asarray(0.5 * theta * (1.0 + rho * phi * k + np.sqrt(moved * moved + 1.0 - rho * rho)))


def strip_variance(theta: float, rho: float, eta: float) -> float:
    """Total variance that the VIX formula reads from a continuous strip of one expiry.

    Twice the integral of price over strike squared.
    """
    reach = np.sqrt(theta)
    k = np.linspace(-14.0 * reach - 0.02, 9.0 * reach + 0.02, 1201)
    variance = smile(k, np.full_like(k, theta), rho, np.full_like(k, eta))
    sign = np.where(k < 0.0, -1.0, 1.0)
    price = black(np.ones_like(k), np.exp(k), variance, 1.0, sign)
    integrand = np.where(price > STRIP_FLOOR, price * np.exp(-k), 0.0)
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
        return smile(k, self.theta(years), self.law.rho, self.eta)


def surface_day(
    law: SmileLaw, volatility: FloatArray, anchor_years: FloatArray, state: TermState, surprise: FloatArray
) -> SurfaceDay:
    """Solves the surface of one day.

    ``volatility`` is the volatility index in percent at each minute, ``anchor_years`` the variance time of the
    next 30 calendar days, ``surprise`` the realised over the expected variance of the session so far (1 when as
    expected).
    """
    eta = np.clip(law.eta * (volatility / law.reference) ** law.stress, 0.05, 1.98 / (1.0 + abs(law.rho)))
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
    fast = np.clip(0.6 * (surprise**0.7 - 1.0), -0.35, 2.5) * (now + 0.5 * middle)
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

"""The implied volatility surface of one underlying at each minute of a day.

Smile: an extended SSVI (Gatheral and Jacquier, 2014, "Arbitrage-free SVI volatility surfaces"; Hendriks and Martini,
2019, "The extended SSVI volatility surface"): for at-the-money total variance theta a steepness phi and a tilt rho that
both change with theta, so that the wings of a day, a month and a year differ: calls of a few days are dear, those of a
year cheap. Free of butterfly arbitrage while theta phi (1 + |rho|) < 4 and theta phi^2 (1 + |rho|) <= 4, and of
calendar arbitrage while theta grows with term, theta phi grows with theta, |d(rho theta phi)| <= d(theta phi) and phi
falls. Far under the forward the put wing bends up, for which no such condition is known: tests look for arbitrage at
every theta and strength that can occur. Shape and numbers follow recorded chains (``benchmarks/recorded.py``). How
strong a smile is follows the year's average of Cboe's SKEW index: what a smile of that skewness leaves at the money
under a given VIX is what one-month options cost (docs/market.md).

Term structure: forward variance is a long-run level and three decaying factors (months, a week, a day). The slowest is
solved for at each minute, so that the 30-day variance of the whole strip, as Cboe's VIX formula computes it, is the
volatility index squared. The others are least squares over Cboe's closes of VIX9D and VIX3M (2011 to 2026) and VIX1D
(2022 to 2026) beside its VIX.

Prices: Black (1976) on a forward. What early exercise adds is in american.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from simulation.market.calendar import FloatArray

SMALLEST_VARIANCE = 1e-12
ROOT_TWO_PI = float(np.sqrt(2.0 * np.pi))


def black(
    forward: FloatArray,
    strike: FloatArray | float,
    variance: FloatArray,
    discount: FloatArray | float,
    sign: FloatArray | float,
    moneyness: FloatArray | None = None,
) -> FloatArray:
    """European price in points; ``variance`` is total implied variance, ``sign`` +1 for calls and -1 for puts.

    ``moneyness``: log of forward over strike, where it is known already.
    """
    deviation = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    d1 = (np.log(forward / strike) if moneyness is None else moneyness) / deviation + 0.5 * deviation
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


ANCHOR_YEARS = 30.0 / 365.0
SMALLEST_THETA = 1e-12
POWER = 0.31
LEAST, TINY, TINY_RISE = 5e-7, 1.3e-5, 0.68  # variances (minutes, hours) between which smiles gain strength again
BEND = 0.004  # at-the-money variance (some fifty days) from which smiles by delta keep one shape with term
MEAN_SURPRISE = 0.92  # of surprise to the power 0.7, over all minutes of 2014 to 2018
# Of the day factor by surprise to the power 0.7: with it the log of the next day's variance rises by 0.24 a unit, as
# that of VIX1D over VIX does by the day's range (2022 to 2026).
AFTERMATH = 0.3
STRIP_FLOOR = 8e-6  # a strip stops at two strikes without a bid: quotes under about 0.02 points on an index of 2,500

# Averages by year of Cboe's SKEW index (daily closes, published by Cboe); 2026 to August.
SKEW: dict[int, float] = {
    1990: 121.1, 1991: 114.1, 1992: 112.0, 1993: 114.5, 1994: 117.2, 1995: 114.6, 1996: 113.3, 1997: 112.0, 1998: 121.9,
    1999: 118.0, 2000: 112.7, 2001: 114.6, 2002: 114.5, 2003: 113.2, 2004: 117.8, 2005: 121.2, 2006: 121.1, 2007: 119.6,
    2008: 113.7, 2009: 118.1, 2010: 121.1, 2011: 122.4, 2012: 120.8, 2013: 122.4, 2014: 129.8, 2015: 127.6, 2016: 127.6,
    2017: 134.7, 2018: 132.6, 2019: 122.8, 2020: 131.6, 2021: 146.0, 2022: 124.8, 2023: 134.7, 2024: 149.1, 2025: 147.5,
    2026: 143.6,
}  # fmt: skip


# What SKEW shows beyond this lies in strikes far out: between 122.5 and 133 the recorded chains that were looked at
# (benchmarks/recorded.py names them) fit best with 127.
MOST_SKEW = 127.0


@lru_cache(maxsize=64)
def skew_strength(year: int) -> float:
    """The ``eta`` at a volatility index of 16 whose 30-day smile has the year's SKEW (nearest year outside the table).

    The smile's own skewness, by Cboe's formula, is 113.2 at root theta times phi of 0.614, and that product rises by
    0.0274 a point; a test repeats this.
    """
    published = min(SKEW[min(max(year, min(SKEW)), max(SKEW))], MOST_SKEW)
    theta = (0.16 / 1.17) ** 2 * ANCHOR_YEARS
    tilt = 0.614 + 0.0274 * (published - 113.2)
    return float(tilt / (theta**0.5 * float(steepness(np.array([theta]), np.ones(1))[0])))


@dataclass(frozen=True)
class Wings:
    """How a smile's wings change with its at-the-money total variance ``theta``: an extended SSVI's second curve.

    ``rho`` runs from ``-(middle - swing)`` for nearly nothing to ``-(middle + swing)`` for years: calls of a few days
    are dear, those of a year cheap. Beyond ``reach`` at-the-money deviations under the forward the put wing bends up,
    over ``ease`` deviations, by ``far`` of its own steepness; half of that at a ``theta`` of ``fade``, because crashes
    that are feared from a storm are no larger than those feared from calm.
    """

    middle: float = 0.48
    swing: float = 0.36
    centre: float = 9e-4
    width: float = 3.6
    far: float = 0.6
    fade: float = 0.02
    reach: float = 2.0
    ease: float = 2.0

    def rho(self, theta: FloatArray) -> FloatArray:
        """Tilt of the smile at each ``theta``."""
        return np.asarray(-self.middle - self.swing * np.tanh(np.log(theta / self.centre) / self.width))


@dataclass(frozen=True)
class SmileShape:
    """One expiration's smile at any number of minutes: all that does not depend on the strike, worked out once."""

    theta: FloatArray
    rho: FloatArray | float
    phi: FloatArray
    bent: tuple[FloatArray, FloatArray, float, float] | None = None

    def at(self, minute: int) -> SmileShape:
        """The smile of one minute."""
        one = slice(minute, minute + 1)
        rho = self.rho if isinstance(self.rho, float) else self.rho[one]
        bent = None if self.bent is None else (self.bent[0][one], self.bent[1][one], *self.bent[2:])
        return SmileShape(self.theta[one], rho, self.phi[one], bent)

    def variance(self, k: FloatArray) -> FloatArray:
        """Total implied variance at log-moneyness ``k`` (strike over forward)."""
        tilted = self.phi * k
        moved = tilted + self.rho
        whole = 0.5 * self.theta * (1.0 + self.rho * tilted + np.sqrt(moved * moved + 1.0 - self.rho * self.rho))
        if self.bent is not None:
            scale, deviation, reach, ease = self.bent
            if bool((k < -reach * deviation).any()):
                beyond = np.maximum(-k / deviation - reach, 0.0)
                whole = whole + scale * beyond * beyond / (beyond + ease)
        return np.asarray(whole)


def shape_of(theta: FloatArray, rho: float | Wings, phi: FloatArray) -> SmileShape:
    """The smile for at-the-money total variance ``theta``."""
    if not isinstance(rho, Wings):
        return SmileShape(theta, rho, phi)
    deviation = np.sqrt(theta)
    scale = rho.far / (1.0 + theta / rho.fade) * theta * phi * deviation
    return SmileShape(theta, rho.rho(theta), phi, (scale, deviation, rho.reach, rho.ease))


@dataclass(frozen=True)
class SmileLaw:
    """Shape of one underlying's surface.

    ``rho`` tilts the smile (negative: puts dear), by term where it is `Wings`; ``eta`` at a volatility index of
    ``reference`` percent sets how strong it is (``None``: by the year's SKEW), and grows with the power
    ``stress`` of the index: Cboe's SKEW of 2014 to 2026 falls from 134 at a VIX under 20 to 123 over 40, that of
    1990 to 2013 does not. Speeds are per year of variance time. ``week`` is the week factor over the forward
    variance of today: at rest, by the log of the index over its recent level, and by that of the recent over the
    lasting level. ``day`` is the day factor over the sum of the slower ones: at ``reference``, and by the log of
    the index over it.
    """

    rho: float | Wings = Wings()
    eta: float | None = None
    reference: float = 16.0
    stress: float = -0.30
    slow: float = 3.0
    middle: float = 42.0
    fast: float = 150.0
    long_run: float = 0.33
    long_run_share: float = 0.13
    week: tuple[float, float, float] = (0.40, 1.6, -0.1)
    day: tuple[float, float] = (-0.42, 0.22)

    def lasting_variance(self, level: float) -> float:
        """Variance a year in the long run, when the volatility index has been at ``level`` percent for months."""
        share = self.long_run_share
        return (share * self.long_run + (1.0 - share) * 0.9 * level / 100.0) ** 2


EQUITY_INDEX = SmileLaw()


def steepness(theta: FloatArray, eta: FloatArray) -> FloatArray:
    """SSVI's phi: what log-moneyness is multiplied by, for at-the-money total variance ``theta``."""
    logs = POWER * np.log(theta) + TINY_RISE * np.log((theta + LEAST) / (theta + TINY))
    logs += (0.5 - POWER) * np.log1p(theta / BEND) + 0.5 * np.log1p(theta)
    return np.asarray(eta * np.exp(-logs))


@lru_cache(maxsize=32)
def strongest(rho: float | Wings) -> float:
    """The largest eta without butterfly arbitrage at any theta (a test tries it with the bent wing too)."""
    theta = np.geomspace(1e-7, 10.0, 4001)
    phi = steepness(theta, np.ones_like(theta))
    tilt = np.abs(rho.rho(theta)) if isinstance(rho, Wings) else abs(rho)
    bound = 4.0 / (1.0 + tilt)
    return float(min(np.sqrt((bound / (theta * phi * phi)).min()), (bound / (theta * phi)).min()))


def smile(k: FloatArray, theta: FloatArray, rho: float | Wings, phi: FloatArray) -> FloatArray:
    """Total implied variance at log-moneyness ``k`` (strike over forward) for at-the-money total variance ``theta``."""
    return shape_of(theta, rho, phi).variance(k)


def strip_variance(theta: float, rho: float | Wings, eta: float) -> float:
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
    stress = max(1.0, fear / 16.0)  # spreads, and with them strikes without a bid; they have a widest
    wide = min(stress, 4.0) ** 2.2 * max(1.0, stress / 4.0) ** 0.4
    integrand = np.where(price > STRIP_FLOOR * wide, price * np.exp(-k), 0.0)
    return float(2.0 * np.trapz(integrand, k))


STRIP_NODES = np.linspace(np.log(2e-5), np.log(0.6), 28)  # log at-the-money total variance


@lru_cache(maxsize=512)
def _strip_ratio(rho: float | Wings, eta: float) -> tuple[FloatArray, FloatArray]:
    """Log of strip variance, and log of it over at-the-money variance, at each of ``STRIP_NODES``."""
    strips = np.log([strip_variance(float(theta), rho, eta) for theta in np.exp(STRIP_NODES)])
    return strips, np.asarray(strips - STRIP_NODES)


def at_the_money(strip: FloatArray, rho: float | Wings, eta: FloatArray) -> FloatArray:
    """At-the-money total variance whose strip is worth ``strip``, interpolated over a grid of ``eta``."""
    grid = np.arange(int(np.floor(eta.min() * 20)), int(np.ceil(eta.max() * 20)) + 2) / 20.0
    logs = np.log(strip)
    ratios = np.stack([np.interp(logs, *_strip_ratio(rho, float(node))) for node in grid])
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
    """What the surface remembers from before today.

    Long-run variance, the volatility index's level over a month and over half a year (percent), and the smile's
    strength where the law leaves it to the year.
    """

    long_run: FloatArray | float
    recent: FloatArray | float
    lasting: FloatArray | float
    strength: FloatArray | float

    @staticmethod
    def joined(states: Sequence[TermState]) -> TermState:
        """What the surfaces of several days remember, a column each."""
        names = ("long_run", "recent", "lasting", "strength")
        return TermState(*(np.array([getattr(state, name) for state in states]) for name in names))


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

    def at(self, minute: int) -> SurfaceDay:
        """The surface of one minute, or of one of several days."""
        one = slice(minute, minute + 1)
        columns = (self.long_run, self.slow, self.middle, self.fast, self.eta)
        return SurfaceDay(self.law, *(column[one] for column in columns))

    @staticmethod
    def joined(surfaces: Sequence[SurfaceDay]) -> SurfaceDay:
        """Moments of several days, one after the other; all of one law."""
        names = ("long_run", "slow", "middle", "fast", "eta")
        columns = (np.concatenate([getattr(surface, name) for surface in surfaces]) for name in names)
        return SurfaceDay(surfaces[0].law, *columns)

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
    base = state.strength if law.eta is None else law.eta
    eta = np.clip(base * (volatility / law.reference) ** law.stress, 0.05, 0.99 * strongest(law.rho))
    strip = (volatility / 100.0) ** 2 * ANCHOR_YEARS
    anchor = at_the_money(strip, law.rho, eta)
    level = anchor / anchor_years
    slow_part = _average(law.slow, anchor_years)
    stretch = anchor_years / slow_part
    long_run = np.minimum(state.long_run, level * (stretch - 0.55) / (stretch - 1.0))
    slow = (level - long_run) * stretch
    now = long_run + slow
    rest, tension, swell = law.week
    week = rest + tension * np.log(volatility / state.recent) + swell * np.log(state.recent / state.lasting)
    middle = np.clip(week, -0.6, 1.2) * now
    premium = np.clip(law.day[0] + law.day[1] * np.log(volatility / law.reference), -0.4, 0.6)
    wild = np.clip(AFTERMATH * (surprise**0.7 / MEAN_SURPRISE - 1.0), -0.3, 2.5)
    fast = ((1.0 + premium) * (1.0 + wild) - 1.0) * (now + middle)
    slow = (
        anchor
        - long_run * anchor_years
        - middle * _average(law.middle, anchor_years)
        - fast * _average(law.fast, anchor_years)
    ) / slow_part
    return SurfaceDay(law, long_run, slow, middle, fast, eta)


@lru_cache(maxsize=8)
def _fading(minutes: int) -> FloatArray:
    """What a minute still counts, by how long it is over; shared by all sessions of a length."""
    memory = np.exp(-np.arange(minutes) / 90.0)
    memory.flags.writeable = False
    return np.asarray(memory)


def surprise_of(
    returns: FloatArray, weights: FloatArray, yearly_variance: float, year_weight: float, *, last: bool = False
) -> FloatArray:
    """Realised over expected variance of the session so far, at the open and at each minute's end, or at the last one.

    Drawn to 1 while little is known.

    A weighted mean with a half-life of an hour and a half of expected variance behind it; only minutes already
    passed count.
    """
    expected = yearly_variance * weights / year_weight
    memory = _fading(len(returns))
    prior = float(expected.mean()) * 60.0

    def gathered(values: FloatArray) -> FloatArray:
        return np.array([values @ memory[::-1]]) if last else np.convolve(values, memory)[: len(values)]

    ratio = (gathered(returns**2) + prior) / (gathered(expected) + prior)
    passed = np.clip(ratio, 0.3, 8.0)
    return np.asarray(passed) if last else np.concatenate(([1.0], passed))

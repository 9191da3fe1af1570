"""Every other underlying of the method, moved jointly with the S&P 500 and the VIX: the laws.

Their numbers and their sources.

A driver's daily log return is ``beta * r + e``: ``r`` the index's return, ``beta`` between its calm and its
stressed value as the VIX of the evening before goes from 16 to 40, and ``e`` its own GARCH(1,1) noise with Student's
tails, up to ``1 + STRESSED`` times as large in that stress. Where daily history ships with ``arch`` (NASDAQ, WTI) the
returns are the real ones and only what is not public is modelled. The implied volatility of a driver follows its own
variance forecast and the VIX; premium and exponent are set so that averages and daily moves are near the published
ones of VXN, GVZ, OVX and EVZ.

The numbers below are the only ones; nothing is fitted at run time. ``alpha``, ``gamma``, ``beta`` of NASDAQ and WTI are
maximum-likelihood fits with arch 8.0 (GJR-GARCH(1,1), Student t) of the part of the 1999 to 2018 returns that the
index does not explain; the test of this module repeats the fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulation.market.calendar import FloatArray, IntArray
from simulation.market.days import VolatilityLaw, stream
from simulation.market.surface import SmileLaw, Wings

YEAR = 252.0
STRESSED = 0.8
LASTING = 0.6


@dataclass(frozen=True)
class FactorLaw:
    """One driver: level on the first day, exposure to the index in calm and stress.

    Its own volatility and its options' laws.

    ``own`` is the yearly volatility of what the index does not explain, in the long run; ``alpha`` and
    ``persist`` its GARCH terms (``persist`` is their sum); ``tails`` Student's degrees of freedom. ``premium`` is
    implied over forecast volatility on average, ``fear`` the power with which implied volatility follows the
    VIX's distance from its own half-year mean.
    """

    name: str
    level: float
    calm_beta: float
    stress_beta: float
    own: float
    alpha: float
    persist: float
    tails: float
    premium: float
    fear: float
    smile: SmileLaw
    volatility: VolatilityLaw = field(default_factory=VolatilityLaw)
    tick: float = 0.01


FLATTER = Wings(middle=0.45)  # of growth and small shares: calls a little dearer than the index's; stated
_DULL = VolatilityLaw(leverage=-1.0, noise=0.03, reference=0.0)

# Betas, own volatilities and their growth: daily closes of QQQ, IWM, TLT, GLD, USO and FXE against SPY, December 2005
# to 2021, by the VIX of the evening before (Yahoo's adjusted closes as kept in a public repository). At or under 16, 16
# to 25, 25 to 40 and over 40: QQQ 1.17, 1.09, 1.00, 0.91; IWM 1.26, 1.16, 1.20, 1.07; TLT -0.26, -0.39, -0.38, -0.22;
# GLD 0.15, 0.03, -0.03, 0.06; USO 0.63, 0.75, 0.87, 0.78; FXE 0.07, 0.11, 0.10, 0.11. What the index left over was
# 1.4 to 1.9 times as large at 25 to 40 as under 16, and 2.2 to 3.2 times over 40. GARCH terms and tails of RUT, BOND,
# GOLD and EURO are stated, not fitted. Implied volatilities, 2014 to April 2018 (FRED): VXN 16.9, GVZ 15.7, OVX 34.7,
# EVZ 9.2; no series of RVX and VXTLT was at hand.
LAWS: dict[str, FactorLaw] = {
    "NDX": FactorLaw(
        "NDX", 3600.0, 1.18, 0.98, 0.070, 0.062, 0.994, 10.0, 1.07, -0.10, SmileLaw(rho=FLATTER, eta=3.20),
    ),
    "RUT": FactorLaw(
        "RUT", 1160.0, 1.23, 1.13, 0.080, 0.050, 0.985, 9.0, 1.06, -0.05, SmileLaw(rho=FLATTER, eta=3.10),
    ),
    "BOND": FactorLaw(
        "BOND", 102.0, -0.27, -0.36, 0.108, 0.035, 0.985, 8.0, 1.08, 0.15,
        SmileLaw(rho=-0.05, eta=2.00, reference=13.0, stress=-0.10, long_run=0.135), _DULL, 0.01,
    ),
    "GOLD": FactorLaw(
        "GOLD", 1225.0, 0.10, 0.00, 0.145, 0.040, 0.985, 5.5, 1.06, 0.15,
        SmileLaw(rho=0.08, eta=2.25, reference=17.0, stress=-0.10, long_run=0.165), _DULL, 0.1,
    ),
    "OIL": FactorLaw(
        "OIL", 93.0, 0.63, 0.85, 0.310, 0.046, 0.992, 6.8, 1.02, 0.14,
        SmileLaw(rho=-0.30, eta=1.73, reference=33.0, stress=-0.10, long_run=0.34), _DULL, 0.01,
    ),
    "EURO": FactorLaw(
        "EURO", 1.36, 0.07, 0.11, 0.083, 0.030, 0.988, 7.0, 1.11, 0.12,
        SmileLaw(rho=-0.08, eta=2.02, reference=9.0, stress=-0.10, long_run=0.092), _DULL, 0.0001,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class DriverSeries:
    """Closes of a driver and of its implied volatility index (percent).

    With the beta and the own volatility of each day.
    """

    close: FloatArray
    implied: FloatArray
    beta: FloatArray
    own: FloatArray


def stress_before(volatility: FloatArray) -> FloatArray:
    """Stress of each day by the VIX of the evening before: 0 up to 16, 1 from 40."""
    before = np.concatenate((volatility[:1], volatility[:-1]))
    return np.asarray(np.clip((before - 16.0) / 24.0, 0.0, 1.0))


def betas(law: FactorLaw, volatility: FloatArray) -> FloatArray:
    """Exposure of each day's return, from the VIX of the evening before."""
    stress = stress_before(volatility)
    return np.asarray(law.calm_beta + (law.stress_beta - law.calm_beta) * stress)


def own_variance(law: FactorLaw, noise: FloatArray, *, standard: bool) -> tuple[FloatArray, FloatArray]:
    """GARCH variances (a day) and the noise itself.

    ``noise`` is standardised draws or, without ``standard``, real residuals.
    """
    lasting = law.own**2 / YEAR
    keep = law.persist - law.alpha
    variance = lasting
    variances, values = np.empty(len(noise) + 1), np.empty(len(noise))
    for row, shock in enumerate(noise.tolist()):
        variances[row] = variance
        value = shock * variance**0.5 if standard else shock
        values[row] = value
        variance = lasting * (1.0 - law.persist) + law.alpha * value * value + keep * variance
    variances[-1] = variance
    return variances, values


def implied_index(law: FactorLaw, beta: FloatArray, variances: FloatArray, volatility: FloatArray) -> FloatArray:
    """The driver's 30-day implied volatility at each close, percent, from what is known at that close."""
    decay = law.persist**21
    lasting = law.own**2 / YEAR
    ahead = lasting + (variances[1:] - lasting) * (1.0 - decay) / (21.0 * (1.0 - law.persist))
    usual = np.empty(len(volatility))
    mean = float(volatility[0])
    for row, value in enumerate(volatility.tolist()):
        mean += (value - mean) / 63.0
        usual[row] = mean
    market = (0.87 * volatility / 100.0) ** 2
    own = np.sqrt(beta**2 * market + ahead * YEAR)
    return np.asarray(np.round(100.0 * law.premium * own * (volatility / usual) ** law.fear, 2))


def simulate(law: FactorLaw, days: IntArray, index: FloatArray, volatility: FloatArray, seed: int) -> DriverSeries:
    """A driver over the days of an index; each value depends on the index up to its day and on draws of its own."""
    generator = stream(seed, f"{law.name}/factor", int(days[0]))
    draws = generator.standard_t(law.tails, size=len(days)) / np.sqrt(law.tails / (law.tails - 2.0))
    beta = betas(law, volatility)
    larger = 1.0 + STRESSED * stress_before(volatility)
    expected, noise = own_variance(law, draws, standard=True)
    noise, variances = noise * larger, expected[:-1] * larger**2
    expected[:-1] *= larger**LASTING  # options price only a part of it: stress passes
    moves = np.diff(np.log(index), prepend=np.log(index[0]))
    noise[0] = 0.0
    close = law.level * np.exp(np.cumsum(beta * moves + noise - 0.5 * variances))
    close = np.round(np.round(close / law.tick) * law.tick, 6)
    return DriverSeries(close, implied_index(law, beta, expected, volatility), beta, np.sqrt(variances))


def follow(law: FactorLaw, real: FloatArray, index: FloatArray, volatility: FloatArray) -> DriverSeries:
    """A driver whose closes are real: only beta, own variance and implied volatility are worked out."""
    beta = betas(law, volatility)
    moves = np.diff(np.log(index), prepend=np.log(index[0]))
    residual = np.diff(np.log(real), prepend=np.log(real[0])) - beta * moves
    variances, _ = own_variance(law, residual, standard=False)
    return DriverSeries(real, implied_index(law, beta, variances, volatility), beta, np.sqrt(variances[:-1]))

"""Every other underlying of the method, moved jointly with the S&P 500 and the VIX: the laws.

Their numbers and their sources.

A driver's daily log return is ``beta * r + e``: ``r`` the index's return, ``beta`` between its calm and its
stressed value as the VIX of the evening before goes from 16 to 40 (correlations rise in stress: Longin and
Solnik, 2001; Ang and Chen, 2002), and ``e`` its own GARCH(1,1) noise with Student's tails. Where daily history
ships with ``arch`` (NASDAQ, WTI) the returns are the real ones and only what is not public is modelled. The
implied volatility of a driver follows its own variance forecast and the VIX; premium and exponent are set so that
averages are near the published means of VXN, RVX, GVZ, OVX, EVZ and VXTLT (Cboe, 2010 to 2018).

The numbers below are the only ones; nothing is fitted at run time. ``alpha``, ``gamma``, ``beta`` of NASDAQ and WTI are
maximum-likelihood fits with arch 8.0 (GJR-GARCH(1,1), Student t) of the part of the 1999 to 2018 returns that the
index does not explain; the test of this module repeats the fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulation.market.calendar import FloatArray, IntArray
from simulation.market.days import VolatilityLaw, stream
from simulation.market.surface import SmileLaw

YEAR = 252.0


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


_DULL = VolatilityLaw(leverage=-1.0, noise=0.03, reference=0.0)

# Betas: NASDAQ from the arch data by regression (1.21 to 1.26 in calm, 0.99 over 35 % volatility, correlation 0.85
# to 0.97); WTI 0.3 in calm, 0.61 with correlation 0.40 over 35 %. Russell 2000: Frank Russell Co. fact sheets, beta
# 1.1 to 1.2. Long Treasuries: stock-bond correlation about -0.3 to -0.5 over 2000 to 2018 (Campbell, Sunderam and
# Viceira, 2017). Gold: about 0 on average, negative in stress (Baur and Lucey, 2010). Euro: small and positive
# (Ranaldo and Soderlind, 2010). Own volatilities: NASDAQ and WTI fits; others from the average published implied
# volatility less the index's part.
LAWS: dict[str, FactorLaw] = {
    "NDX": FactorLaw("NDX", 3600.0, 1.18, 1.10, 0.070, 0.062, 0.994, 10.0, 1.07, 0.10, SmileLaw(rho=-0.66, eta=1.85)),
    "RUT": FactorLaw("RUT", 1160.0, 1.12, 1.18, 0.085, 0.050, 0.985, 9.0, 1.06, 0.10, SmileLaw(rho=-0.66, eta=1.80)),
    "BOND": FactorLaw(
        "BOND", 102.0, -0.18, -0.33, 0.115, 0.035, 0.985, 8.0, 1.08, 0.15,
        SmileLaw(rho=-0.05, eta=1.07, reference=13.0, stress=-0.10, long_run=0.135), _DULL, 0.01,
    ),
    "GOLD": FactorLaw(
        "GOLD", 1225.0, 0.02, -0.12, 0.150, 0.040, 0.985, 5.5, 1.08, 0.15,
        SmileLaw(rho=0.08, eta=1.24, reference=17.0, stress=-0.10, long_run=0.165), _DULL, 0.1,
    ),
    "OIL": FactorLaw(
        "OIL", 93.0, 0.33, 0.62, 0.330, 0.046, 0.992, 6.8, 1.04, 0.12,
        SmileLaw(rho=-0.30, eta=1.00, reference=33.0, stress=-0.10, long_run=0.34), _DULL, 0.01,
    ),
    "EURO": FactorLaw(
        "EURO", 1.36, 0.04, 0.12, 0.085, 0.030, 0.988, 7.0, 1.05, 0.15,
        SmileLaw(rho=-0.08, eta=1.04, reference=9.0, stress=-0.10, long_run=0.092), _DULL, 0.0001,
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


def betas(law: FactorLaw, volatility: FloatArray) -> FloatArray:
    """Exposure of each day's return, from the VIX of the evening before."""
    before = np.concatenate((volatility[:1], volatility[:-1]))
    stress = np.clip((before - 16.0) / 24.0, 0.0, 1.0)
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
    variances, noise = own_variance(law, draws, standard=True)
    moves = np.diff(np.log(index), prepend=np.log(index[0]))
    noise[0] = 0.0
    close = law.level * np.exp(np.cumsum(beta * moves + noise - 0.5 * variances[:-1]))
    close = np.round(np.round(close / law.tick) * law.tick, 6)
    return DriverSeries(close, implied_index(law, beta, variances, volatility), beta, np.sqrt(variances[:-1]))


def follow(law: FactorLaw, real: FloatArray, index: FloatArray, volatility: FloatArray) -> DriverSeries:
    """A driver whose closes are real: only beta, own variance and implied volatility are worked out."""
    beta = betas(law, volatility)
    moves = np.diff(np.log(index), prepend=np.log(index[0]))
    residual = np.diff(np.log(real), prepend=np.log(real[0])) - beta * moves
    variances, _ = own_variance(law, residual, standard=False)
    return DriverSeries(real, implied_index(law, beta, variances, volatility), beta, np.sqrt(variances[:-1]))

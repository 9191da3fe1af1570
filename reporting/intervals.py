"""How sure a measured figure is: Wilson and Beta intervals of a win rate, and bootstrap intervals of an equity path.

Sources: E. B. Wilson, JASA 22 (1927) 209; Brown, Cai, DasGupta, Statistical Science 16 (2001) 101 (Wilson and Jeffreys
for small samples); Politis and Romano, JASA 89 (1994) 1303 (stationary bootstrap: blocks keep volatility clusters).

Wilson is ``core.performance``'s; the quantile of Beta is scipy.special's, for scipy.stats takes longer to import than
a report to write. The bootstrap is not arch's: that draws another series of days, so reports would change, and its loop
takes the figures of one path at a time, not of a matrix of paths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from core.performance import CONFIDENCE
from core.performance import wilson as wilson_bounds

BOOTSTRAP_SEED = 20240805
RESAMPLES = 1000
FEWEST_MOVES = 30  # resampling a handful of trades gives paths without one, and figures that mean nothing
STANDSTILL = 1e-12
MEAN_BLOCK_DAYS = 21.0  # one trading month: as long as a volatility cluster usually lasts


class Unit(StrEnum):
    """How a figure is written."""

    PERCENT = "percent"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval at ``confidence``, in the figure's own unit."""

    low: float
    high: float
    confidence: float = CONFIDENCE


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Wilson score interval of a proportion; None without trials."""
    bounds = wilson_bounds(successes, trials, confidence)
    if bounds is None:
        return None
    return Interval(*bounds, confidence)


def beta_posterior(
    successes: int, trials: int, prior_mean: float, prior_weight: float, confidence: float = CONFIDENCE
) -> Interval:
    """Credible interval of a win rate from a Beta prior worth ``prior_weight`` trades (methodology, section 4)."""
    from scipy.special import betaincinv

    wins = prior_mean * prior_weight + successes
    losses = (1 - prior_mean) * prior_weight + trials - successes
    tail = (1 - confidence) / 2
    low, high = (float(betaincinv(wins, losses, share)) for share in (tail, 1 - tail))
    return Interval(low, high, confidence)


def bootstrap(
    returns: NDArray[np.float64],
    figure: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Stationary-bootstrap interval of a figure of daily returns; None where under ``FEWEST_MOVES`` days moved it.

    ``figure`` maps a matrix (one resampled path a row) to one number a row. The seed is fixed: one run, one report.
    """
    if np.count_nonzero(np.abs(returns) > STANDSTILL) < FEWEST_MOVES:
        return None
    return spread_of(figure(returns[resampled_days(len(returns))]), confidence)


def bootstrap_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    figure: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Interval of ``figure(second) - figure(first)`` of two runs over the same days.

    Both are resampled by the same days, so that what moved both of them is in neither's favour. ``None`` where either
    has under ``FEWEST_MOVES`` days that moved. Raises ``ValueError`` for paths of different length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} days; expected the same days of both")
    if any(np.count_nonzero(np.abs(path) > STANDSTILL) < FEWEST_MOVES for path in (first, second)):
        return None
    days = resampled_days(len(first))
    return spread_of(figure(second[days]) - figure(first[days]), confidence)


def share_difference(first: tuple[int, int], second: tuple[int, int]) -> Interval | None:
    """Interval of the second share less the first, each of (successes, trials); ``None`` without trials.

    Newcombe's hybrid of two Wilson intervals: Statistics in Medicine 17 (1998) 873, method 10.
    """
    one, two = wilson(*first), wilson(*second)
    if one is None or two is None:
        return None
    before, after = first[0] / first[1], second[0] / second[1]
    low = math.sqrt((after - two.low) ** 2 + (one.high - before) ** 2)
    high = math.sqrt((two.high - after) ** 2 + (before - one.low) ** 2)
    return Interval(after - before - low, after - before + high)


def spread_of(values: NDArray[np.float64], confidence: float) -> Interval | None:
    """The middle ``confidence`` of some values; those that are not numbers are left out, ``None`` without any."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), confidence)


def resampled_days(count: int) -> NDArray[np.int64]:
    """Indices of ``RESAMPLES`` paths of ``count`` days, made of blocks of geometric length that wrap around."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    breaks = generator.random((RESAMPLES, count)) < 1 / MEAN_BLOCK_DAYS
    breaks[:, 0] = True
    starts = generator.integers(0, count, (RESAMPLES, count))
    position = np.arange(count)
    last_break = np.maximum.accumulate(np.where(breaks, position, 0), axis=1)
    begun_at = np.take_along_axis(starts, last_break, axis=1)
    days: NDArray[np.int64] = (begun_at + position - last_break) % count
    return days


def deflated_sharpe(ratios: NDArray[np.float64], days: int, skewness: float, kurtosis: float) -> float | None:
    """Probability that the best of several Sharpe ratios is above what the best of as many worthless trials would show.

    ``ratios`` are of one day each, not of a year; ``days``, ``skewness`` and ``kurtosis`` (3 for a normal law) are of
    the best one's returns. None of a single trial, or where the formula has no answer. Source: Bailey and Lopez de
    Prado, Journal of Portfolio Management 40 (2014) 94, equations 1 and 2.
    """
    known = ratios[np.isfinite(ratios)]
    count = len(known)
    if count < 2 or days < 2:
        return None
    best, normal = float(known.max()), NormalDist()
    euler = float(np.euler_gamma)
    expected = math.sqrt(float(known.var(ddof=1))) * (
        (1 - euler) * normal.inv_cdf(1 - 1 / count) + euler * normal.inv_cdf(1 - 1 / (count * math.e))
    )
    spread = 1 - skewness * best + (kurtosis - 1) / 4 * best * best
    return normal.cdf((best - expected) * math.sqrt(days - 1) / math.sqrt(spread)) if spread > 0 else None

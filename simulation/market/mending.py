"""Highs and lows that no market had: years of a file whose bars reach too far beyond their opens and closes."""

from __future__ import annotations

from datetime import date

import numpy as np

from simulation.market.calendar import FloatArray, IntArray

LONG_SHADOW = 1.5  # deviations of a day, high and low together
MOST_LONG_SHADOWS = 0.03  # share of a year's days
USUAL_SHADOW = 0.45
ENOUGH_DAYS = 60


def usual_shadows(
    days: IntArray, bars: tuple[FloatArray, FloatArray, FloatArray, FloatArray], level: FloatArray
) -> tuple[FloatArray, FloatArray, list[tuple[int, float]]]:
    """Highs and lows with those of bad years drawn in, and each such year with its share of days that reach too far.

    ``bars``: open, high, low and close in points; ``level``: the volatility index in percent, NaN where unknown.
    A shadow is how far a day's high lies over its open and close, or its low under them, in deviations of a day
    by the volatility index. Both together are 0.39 to 0.56 on average in SPY's years 1998 and 2007 to 2020, over
    1.5 on at most 2 % of their days; in public files of 1999 to 2006 over 1.5 on 4 to 20 %, which no index shows.
    In such a year a shadow counts for at most one deviation, and all are scaled to what is usual.
    """
    opened, high, low, close = bars
    unit = np.where(np.isnan(level), np.nanmedian(level), level) / 100.0 / np.sqrt(252.0)
    top, bottom = np.fmax(opened, close), np.fmin(opened, close)
    shadows = np.stack([np.log(high / top), np.log(bottom / low)]) / unit
    years = np.array([date.fromordinal(int(day)).year for day in days])
    high, low, found = high.copy(), low.copy(), list[tuple[int, float]]()
    for year in np.unique(years):
        rows = np.flatnonzero((years == year) & ~np.isnan(shadows[0]) & ~np.isnan(shadows[1]))
        if len(rows) < ENOUGH_DAYS:
            continue
        share = float((shadows[:, rows].sum(axis=0) > LONG_SHADOW).mean())
        if share <= MOST_LONG_SHADOWS:
            continue
        kept = np.minimum(shadows[:, rows], 1.0)
        kept *= min(1.0, USUAL_SHADOW / float(kept.sum(axis=0).mean())) * unit[rows]
        high[rows] = np.round(top[rows] * np.exp(kept[0]), 2)
        low[rows] = np.round(bottom[rows] * np.exp(-kept[1]), 2)
        found.append((int(year), share))
    return high, low, found

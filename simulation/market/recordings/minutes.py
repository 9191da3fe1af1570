"""Minutes of a market's days beside what is known of real ones: afternoons, morning and close, the open of the VIX.

Published of SPY and the VIX, 2014 to 2018: what is left of a day's variance at 10:00 and at 11:00 (`AFTERNOONS`: the
squared move to the close over the squared move from the close before), the correlation of the move to 11:00 with what
follows (+0.03), that of the VIX's move to its open with the rest of its day (-0.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.market.calendar import FloatArray, IntArray
from simulation.market.source import ModelledMarket

# The modelled market of before gave 0.499 and 0.382 on `history`, 0.86 and 0.76 of SPY's.
AFTERNOONS = {30: 0.499 / 0.86, 90: 0.382 / 0.76}
MORNING_AND_CLOSE = 0.03
OPEN_AND_REST = -0.11
MINUTES = (0, 30, 90, 390)
DRAWS = 500


@dataclass(frozen=True)
class Figure:
    """A figure with 95 % of it when days are drawn again, and what it should be."""

    name: str
    value: float
    low: float
    high: float
    wanted: float


@dataclass(frozen=True)
class Days:
    """Of whole days: log prices at 9:30, 10:00, 11:00 and the close, the close before, and the VIX's likewise."""

    price: FloatArray
    before: FloatArray
    fear: FloatArray
    fear_before: FloatArray


def days_of(spec: str, seeds: Sequence[int]) -> Days:
    """Every whole day of a market over some seeds."""
    rows: list[tuple[FloatArray, float, FloatArray, float]] = []
    for seed in seeds:
        market = ModelledMarket.from_history(spec, seed=seed, quote_faults=0.0)
        index = market.book.asset("SPX")
        for day in market.book.days():
            row, state = index.row(day), market.book.asset_day("SPX", day)
            points = market.book.volatility_points("SPX", day)
            if row is None or state is None or points is None or state.minutes < MINUTES[-1]:
                continue
            at = list(MINUTES)
            known = float(np.log(index.series.close[row - 1])), float(np.log(index.filled_volatility[row - 1]))
            rows.append((np.log(state.spot.points[at]), known[0], np.log(points[at]), known[1]))
    price, before, fear, fear_before = (np.array(column) for column in zip(*rows, strict=True))
    return Days(price, before, fear, fear_before)


def _correlation(first: FloatArray, second: FloatArray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def figures(days: Days) -> list[Figure]:
    """The four figures, each with its interval."""

    def measured(rows: IntArray | slice) -> list[float]:
        price, fear = days.price[rows], days.fear[rows]
        whole = float(np.mean((price[:, 3] - days.before[rows]) ** 2))
        left = [float(np.mean((price[:, 3] - price[:, at]) ** 2)) / whole for at in (1, 2)]
        morning = _correlation(price[:, 2] - price[:, 0], price[:, 3] - price[:, 2])
        return [*left, morning, _correlation(fear[:, 0] - days.fear_before[rows], fear[:, 3] - fear[:, 0])]

    generator, count = np.random.default_rng(18), len(days.price)
    drawn = np.array([measured(generator.integers(count, size=count)) for _ in range(DRAWS)])
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    names = ("left at 10:00", "left at 11:00", "morning and close", "VIX, open and rest")
    wanted = (*AFTERNOONS.values(), MORNING_AND_CLOSE, OPEN_AND_REST)
    return [
        Figure(*parts) for parts in zip(names, measured(slice(None)), low.tolist(), high.tolist(), wanted, strict=True)
    ]


def minute_table(spec: str, seeds: Sequence[int]) -> list[str]:
    """The figures as rows of a page."""
    head = f"| minutes of `{spec.split(':')[0]}`, {len(seeds)} seeds | model (95 % over days) | real |"
    lines = [head, "|---|---|---|"]
    for one in figures(days_of(spec, seeds)):
        lines.append(f"| {one.name} | {one.value:.3f} ({one.low:.3f} to {one.high:.3f}) | {one.wanted:.3f} |")
    return lines

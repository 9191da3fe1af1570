"""What exchanges do to a day: circuit-breaker halts, and the opening settlement of morning-settled index options."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from simulation.market.assets import AssetDay
from simulation.market.days import MinutePath

HALT_MINUTES = 15
LAST_HALT_MINUTE = 355  # after 15:25 the first two levels halt nothing (NYSE rule 7.12)
RULE_SINCE = date(2013, 4, 8)


@dataclass(frozen=True)
class HaltLevel:
    """A fall from yesterday's close, as a fraction, and whether it ends the day."""

    fall: float
    final: bool


LEVELS = (HaltLevel(0.07, False), HaltLevel(0.13, False), HaltLevel(0.20, True))
LEVELS_BEFORE = (HaltLevel(0.10, False), HaltLevel(0.20, False), HaltLevel(0.30, True))  # of the Dow, 1998 to 2013


def halted_minutes(path: MinutePath, previous_close: float, day: date) -> NDArray[np.bool_] | None:
    """Minutes in which nothing trades because the index fell through a level; ``None`` on a day without a halt.

    Each of the first two levels halts once, for 15 minutes, before 15:25; the third ends the day.
    """
    count = len(path.low)
    halted = np.zeros(count, dtype=bool)
    last = min(LAST_HALT_MINUTE, count - 35)
    earliest = 0
    for level in LEVELS if day >= RULE_SINCE else LEVELS_BEFORE:
        through = np.flatnonzero(path.low <= previous_close * (1.0 - level.fall))
        through = through[through >= earliest]
        if len(through) == 0:
            break
        first = int(through[0])
        if level.final:
            halted[first + 1 :] = True
        elif first < last:
            halted[first + 1 : first + 1 + HALT_MINUTES] = True
            earliest = first + 1 + HALT_MINUTES
    return halted if bool(halted.any()) else None


def opening_settlement(state: AssetDay) -> float:
    """What morning-settled options of the day are worth their intrinsic value on: not the first print, in points.

    The special opening quotation takes each member's own first trade; those come over the first minutes, so the
    value is the mean of the index over them, falling in weight as members open.
    """
    minutes = np.arange(1, 11)
    weights = np.exp(-minutes / 3.0)
    return round(float(np.sum(weights * state.spot.points[1:11]) / weights.sum()), 2)

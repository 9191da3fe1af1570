"""What a strategy declares of the market that it can look at and hold, so that a folder of data can be written for it.

Only declarations: the strategies fill them in (`strategies.reach`), an export reads them (`simulation.export`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from core.contracts import Right


@dataclass(frozen=True, slots=True)
class Deltas:
    """Contracts of one right by absolute delta x 100 at the close; both ends included."""

    right: Right
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Around:
    """Both rights within `ranges` average daily ranges and `share` of the price beyond the day's low and high.

    grid: only strikes that are a multiple of it, in points; None for all.
    """

    ranges: float
    share: float
    grid: float | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """The `nearest` listed expirations to so many calendar days ahead, no farther than `tolerance` from it."""

    days: int
    tolerance: int
    nearest: int = 1


@dataclass(frozen=True, slots=True)
class Reach:
    """What one strategy may choose, and how long it may hold it.

    weekdays: of entry, 0 Monday. weeks: which of its month, 1 the first; None for all. leave: days to expiry of its
    last exit. vix_over: chosen only on days whose VIX was over it. rolls: once a contract that was chosen has this
    delta, the bands of the other right are looked for again in its expiration, each day until the exit.
    """

    strategy: str
    roots: tuple[str, ...]
    term: Term
    bands: tuple[Deltas | Around, ...]
    leave: int
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    weeks: tuple[int, ...] | None = None
    vix_over: float | None = None
    rolls: float | None = None

    def opens(self, day: date) -> bool:
        """Whether its calendar lets it enter on a day."""
        return day.weekday() in self.weekdays and (self.weeks is None or (day.day + 6) // 7 in self.weeks)


@dataclass(frozen=True, slots=True)
class MarketNeeds:
    """All that some strategies need: their reaches, and tickers whose hours and days are looked at besides minutes."""

    reaches: tuple[Reach, ...]
    hourly: tuple[str, ...]

"""Daily prices of an index of which only closes are known: a day's others are read from its minutes when looked at.

A run looks at the days behind it, not at the whole history of its market, and minutes take a while to make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulation.market.calendar import FloatArray, IntArray
from simulation.market.days import MinutePath

OPEN, HIGH, LOW = 0, 1, 2


class DaysOfMinutes:
    """Open, high and low of days by row, from ``path`` of a day when it is first asked for; NaN without minutes."""

    def __init__(self, days: IntArray, path: Callable[[date], MinutePath | None]) -> None:
        self._days, self._path = days, path
        self._known: dict[int, tuple[float, float, float]] = {}

    def value(self, row: int, which: int) -> float:
        """One price of one day, in the index's own unit."""
        known = self._known.get(row)
        if known is None:
            path = self._path(date.fromordinal(int(self._days[row])))
            if path is None:
                known = (np.nan, np.nan, np.nan)
            else:
                known = (float(path.points[0]), float(path.high.max()), float(path.low.min()))
            self._known[row] = known
        return known[which]


class DaysOfBars:
    """Figures of days by row, from ``bar`` of a day when it is first asked for."""

    def __init__(self, days: Sequence[date], bar: Callable[[date], tuple[float, ...]]) -> None:
        self._days, self._bar = days, bar
        self._known: dict[int, tuple[float, ...]] = {}

    def value(self, row: int, which: int) -> float:
        """One figure of one day, in the order that ``bar`` gives them."""
        known = self._known.get(row)
        if known is None:
            known = self._known[row] = self._bar(self._days[row])
        return known[which]


class Days(Protocol):
    """Figures by day and kind."""

    def value(self, row: int, which: int) -> float:
        """One figure of one day."""
        ...


class MinutesColumn:
    """One figure of some of the days, with as much of an array's face as a block's reader needs."""

    def __init__(self, table: Days, which: int, rows: IntArray) -> None:
        self._table, self._which, self._rows = table, which, rows

    def item(self, row: int) -> float:
        """The price of a row."""
        return self._table.value(int(self._rows[row]), self._which)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> float: ...
    @overload
    def __getitem__(self, rows: NDArray[np.bool_] | IntArray | slice) -> MinutesColumn: ...
    def __getitem__(self, rows: int | np.integer[Any] | NDArray[np.bool_] | IntArray | slice) -> float | MinutesColumn:
        if isinstance(rows, int | np.integer):
            return self.item(int(rows))
        return MinutesColumn(self._table, self._which, self._rows[rows])

    def __iter__(self) -> Iterator[float]:
        return (self.item(row) for row in range(len(self)))

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> FloatArray:
        del copy  # each is a new one
        return np.array(list(self), dtype=dtype or np.float64)

"""On which days an entry is due: weekdays, nth weekdays of a month, by phase; a closed day moves within its week.

Methodology, 6a: a window on a closed day moves to the next open day of the same week, else it is lost and journalled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = range(5)
_ALL_WEEK = (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)

IsOpen = Callable[[date], bool]


@dataclass(frozen=True, slots=True)
class DayRule:
    """Weekdays (Monday is 0), of these the nth of a month (``which``, from 1; empty: every one).

    ``later`` takes its place from the account's phase ``phase`` on.
    """

    weekdays: tuple[int, ...]
    which: tuple[int, ...] = ()
    phase: int = 0
    later: DayRule | None = None

    def from_phase(self, phase: int, rule: DayRule) -> DayRule:
        """This rule, and another one from a phase on."""
        return replace(self, phase=phase, later=rule)

    def names(self, day: date, phase: int) -> bool:
        """Whether it names a day, whatever the exchange does."""
        if self.later is not None and phase >= self.phase:
            return self.later.names(day, phase)
        return day.weekday() in self.weekdays and (not self.which or (day.day - 1) // 7 + 1 in self.which)

    def is_due(self, day: date, phase: int, is_open: IsOpen) -> bool:
        """Whether an entry is due: on a day it names, or on the first open day after closed ones that it names.

        A day that it names and whose week has no open day left is due too: it is lost, and somebody must say so.
        """
        if not is_open(day):
            rest = (day + timedelta(days=ahead) for ahead in range(1, FRIDAY - day.weekday() + 1))
            return self.names(day, phase) and not any(is_open(later) for later in rest)
        if self.names(day, phase):
            return True
        before = day - timedelta(days=1)
        while before.weekday() < day.weekday() and not is_open(before):
            if self.names(before, phase):
                return True
            before -= timedelta(days=1)
        return False


def every(*weekdays: int) -> DayRule:
    """Every one of these weekdays."""
    return DayRule(weekdays)


def nth(which: int, weekday: int) -> DayRule:
    """The nth such weekday of each month, from 1."""
    return DayRule((weekday,), (which,))


def first(weekday: int) -> DayRule:
    """The first such weekday of each month."""
    return nth(1, weekday)


def second(weekday: int) -> DayRule:
    """The second such weekday of each month."""
    return nth(2, weekday)


def weeks(which: tuple[int, ...], weekday: int) -> DayRule:
    """Such a weekday in these weeks of the month, by its number in the month."""
    return DayRule((weekday,), which)


def any_day() -> DayRule:
    """Every trading day."""
    return DayRule(_ALL_WEEK)

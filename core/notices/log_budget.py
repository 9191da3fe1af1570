"""LEAN's log within what a live project may write: the cloud keeps 100,000 lines a project."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime


class LogBudget:
    """Passes lines on to a log, so many a day; what is over is counted and told at the next day's first line."""

    def __init__(self, log: Callable[[str], object], lines_a_day: int) -> None:
        self._log = log
        self._most = lines_a_day
        self._day: date | None = None
        self._written = 0
        self._dropped = 0

    def write(self, now: datetime, text: str) -> None:
        """Log a text of one or more lines, whole or not at all."""
        self._turn_to(now.date())
        lines = text.count("\n") + 1
        if self._written + lines > self._most:
            if not self._dropped:
                self._log(f"{self._most} lines of today's log are used up; the rest is in the journal")
            self._dropped += lines
            return
        self._written += lines
        self._log(text)

    def _turn_to(self, day: date) -> None:
        if day == self._day:
            return
        if self._dropped:
            self._log(f"{self._dropped} lines of {self._day} are in the journal only")
        self._day, self._written, self._dropped = day, 0, 0

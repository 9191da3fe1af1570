"""A broker's reports on their way: late, lost, duplicated, out of order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from simulation.faults.chance import Faults
from simulation.faults.kinds import Fault

Report = TypeVar("Report")


class ReportFaults(Generic[Report]):
    """Stands between who reports and who is told. Nothing is told before its time; what is lost is never told."""

    def __init__(self, faults: Faults, deliver: Callable[[Report], None]) -> None:
        self._faults = faults
        self._deliver = deliver
        self._held: list[Report] = []
        self._later: list[tuple[datetime, int, Report]] = []
        self._number = 0

    def tell(self, report: Report, about: str) -> None:
        """Report something, in whatever way it gets there."""
        faults = self._faults
        if faults.strikes(Fault.LOST, about):
            return
        if faults.strikes(Fault.DUPLICATED, about):
            self._enter(report)
        if faults.strikes(Fault.REORDERED, about):
            self._held.append(report)
            return
        if faults.strikes(Fault.LATE, about):
            self._enter(report)
            return
        self._deliver(report)
        self._release()

    def _enter(self, report: Report) -> None:
        self._number += 1
        self._later.append((self._faults.now() + self._faults.delay(), self._number, report))

    def _release(self) -> None:
        """What was overtaken comes right after what overtook it."""
        held, self._held = self._held, []
        for report in held:
            self._deliver(report)

    def pass_time(self) -> None:
        """Deliver what is due by now; what nothing overtook in a minute comes by itself."""
        self._release()
        now = self._faults.now()
        due = sorted(row for row in self._later if row[0] <= now)
        self._later = [row for row in self._later if row[0] > now]
        for _, _, report in due:
            self._deliver(report)

    def forget(self) -> None:
        """Who was to be told is gone: what was on its way is lost."""
        self._held.clear()
        self._later.clear()

    @property
    def waiting(self) -> int:
        """How many reports are on their way."""
        return len(self._held) + len(self._later)

"""`main.py` with ten LEAPs sold on the first days and held to the end: what holding costs, with nothing else to do.

The LEAP ladder stands in for itself with another timetable: a put a day until ten stand, each at a delta of its own,
none rolled. Their exits, risk's watch and every mark are those of the row. `last_entry` before the first day: the same
run with nothing held.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from core.identifiers import part_name
from core.settings.strategies import LeapLadderSettings
from main import TomKing
from risk.proposal import Proposal
from strategies.base import NET_CREDIT
from strategies.leap_ladder import RUNG, LeapLadder
from strategies.look import Look
from strategies.row import Entry
from strategies.tools import Tools

LEAST_DELTA, STEP = 6.0, 2.0


class TenLeaps(LeapLadder):
    """A put a year out on each day up to a last one, while fewer stand than the phase allows."""

    def __init__(self, tools: Tools, settings: LeapLadderSettings, last_entry: date) -> None:
        super().__init__(tools, settings)
        self._last_entry = last_entry
        self.rolls = {}

    def rung(self, look: Look) -> Proposal:
        """The next delta's put."""
        stand = sum(len(row.parts) for row in self.tools.book.exposed() if row.strategy == self.name)
        put = look.chain(days=self.settings.days_to_expiry).put(delta=LEAST_DELTA + STEP * stand)
        name = part_name(RUNG, f"{look.today:%Y%m%d}")
        return look.structure("leap_put", {name: {put: -1}}, must=NET_CREDIT, wanted=1, reason=f"number {stand + 1}")

    def _falls_on(self, entry: Entry) -> Callable[[date], bool]:
        return lambda day: day <= self._last_entry and self.tools.is_open(day)


class HeldLeaps(TomKing):
    """Sells ten LEAPs and holds them."""

    last_entry: date

    def read_parameters(self) -> dict[str, str]:
        """Those of the settings, and the last day on which anything opens."""
        given = super().read_parameters()
        self.last_entry = date.fromisoformat(given.pop("last_entry"))
        return given

    def plan_day(self) -> None:
        """The made-up row in the place of the ladder."""
        system = self.system
        settings = system.settings.leap_ladder
        system.coordinator.stand_in(TenLeaps(system.managers[Tools], settings, self.last_entry))
        super().plan_day()

"""Row 4, LEAP put ladder: a rung of far puts a week, each its own part of one position that never ends by itself.

A rung is closed at its own profit and rolled with 150 days left; it has no stop by price: the group's stress governs.
"""

from __future__ import annotations

from datetime import date, timedelta

from core.book import Position
from core.identifiers import part_name
from core.parts import Trait
from core.settings.strategies import LeapLadderSettings
from risk.proposal import Proposal
from strategies.base import NET_CREDIT, Skip
from strategies.exits import profit_of_credit
from strategies.gates import MONDAY, free_place, vix_window, weeks
from strategies.look import Look
from strategies.row import Entry, Row, by_part, roll_at
from strategies.tools import Tools

RUNG = "rung"
_WEEKS = (1, 2, 3, 4)


class LeapLadder(Row):
    """Sells a put a year out each week."""

    name = "leap_ladder"
    opens = weeks(_WEEKS, MONDAY)
    roots = ("SPY",)
    traits = by_part(
        rung=frozenset(
            {Trait.SHORT_VOLATILITY, Trait.NAKED_PUTS, Trait.PUT_SELLING, Trait.LASTING, Trait.SPARED_BY_21_DTE}
        )
    )

    def __init__(self, tools: Tools, settings: LeapLadderSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self.vix_gate = vix_window(settings, above=True)
        self.gates = (self._free_rung,)
        mondays, at = self.opens, settings.entry_time
        self.entries = (
            Entry("open", mondays, at, self.rung, gates=(free_place(1),), parts=(RUNG,)),
            Entry("rung", mondays, at, self.rung, onto=_stood, parts=(RUNG,)),
        )
        self.exits = {RUNG: (profit_of_credit(settings.profit_target),)}
        self.rolls = {RUNG: roll_at(settings.roll_days, self.rung, at, or_close=True)}

    def rung(self, look: Look) -> Proposal:
        """A put at the week's delta, two over the VIX that doubles; in a rung's place it takes that rung's name."""
        own, week = self.settings, min(_week(look.today), len(_WEEKS))
        put = look.chain(days=own.days_to_expiry).put(delta=own.weekly_deltas[week - 1])
        name = part_name(RUNG, f"{look.today:%Y%m%d}") if look.part is None else look.part.name
        wanted = own.double_contracts if look.vix > own.double_over_vix else 1
        reason = f"week {week} at {own.weekly_deltas[week - 1]:g} delta"
        return look.structure("leap_put", {name: {put: -1}}, must=NET_CREDIT, wanted=wanted, reason=reason)

    def _free_rung(self, look: Look) -> Skip | None:
        """Fewer rungs stand or are on their way than the phase allows."""
        most = self.settings.contracts_by_phase[look.phase - 1]
        held = [row for row in self.tools.book.exposed() if row.strategy == self.name]
        count = sum(len(row.parts) for row in held)
        if count < most:
            return None
        return Skip(
            "places", f"{count} of {most} rungs that phase {look.phase} allows stand", float(most), float(count)
        )


def _stood(position: Position, day: date) -> bool:
    """Of a ladder that was there before: live a window is caught up on, and one rung a week is opened."""
    return position.opened.date() < day


def _week(day: date) -> int:
    """The number in its month of the Monday of a day's week."""
    monday = day - timedelta(days=day.weekday())
    return (monday.day - 1) // 7 + 1

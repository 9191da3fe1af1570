"""Row 2, LT112: a put debit spread that two far puts pay for; weekly options are sold against the spread later on.

One order of three legs, for a net credit at natural. The far puts are closed on their own profit, loss, or when the
index comes near their strike; the spread stays as a hedge until 21 days before expiry, and then all goes.
"""

from __future__ import annotations

from datetime import date

from core.book import Position
from core.contracts import Contract, Right
from core.parts import BOUGHT, Part, Trait
from core.settings.fields import ExitSettings
from core.settings.strategies import Lt112Settings
from risk.proposal import Proposal
from strategies.base import MINIMUM_CREDIT, NET_CREDIT, HoldContext
from strategies.exits import also, days_to_expiry, last_day, loss_of_credit, near_strike, profit_of_credit
from strategies.gates import MONDAY, WEDNESDAY, every, first
from strategies.look import Look
from strategies.row import Entry, PlannedRoll, Row, by_part, held_for
from strategies.tools import Tools

SPREAD, NAKED, WEEKLY = "spread", "naked", "weekly"


class Lt112(Row):
    """Buys a put spread, sells two puts far below it, and later weeklies against the spread."""

    name = "lt112"
    opens = first(WEDNESDAY).from_phase(4, every(WEDNESDAY))
    roots = ("ES", "SPY")
    traits = by_part(
        spread=BOUGHT,
        naked=frozenset({Trait.SHORT_VOLATILITY, Trait.NAKED_PUTS}),
        weekly=frozenset({Trait.SHORT_VOLATILITY, Trait.SPARED_BY_21_DTE}),
    )

    def __init__(self, tools: Tools, settings: Lt112Settings, exits: ExitSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        weekly_days, at = every(MONDAY), settings.entry_time
        stands = held_for(settings.weekly_calls_from_day, SPREAD)

        def due(position: Position, day: date) -> bool:
            return stands(position, day) and position.part(WEEKLY) is None

        def ends_today(part: Part, context: HoldContext) -> str | None:
            today = context.now.date()
            on_time = context.now.time() >= at and weekly_days.is_due(today, tools.phases.phase, tools.is_open)
            return "its last day" if on_time and part.expiry <= today else None

        self.entries = (
            Entry("open", self.opens, at, self.open, parts=(SPREAD, NAKED)),
            Entry("weekly", weekly_days, at, self.weekly, onto=due, parts=(WEEKLY,)),
        )
        self.rolls = {WEEKLY: PlannedRoll(ends_today, self.weekly)}
        own_credit = (profit_of_credit(settings.profit_target), loss_of_credit(settings.stop_multiple))
        self.exits = {
            NAKED: (*own_credit, near_strike(self.points(settings.stop_points)), days_to_expiry(exits.exit_days)),
            WEEKLY: (*own_credit, last_day(settings.weekly_exit_time)),
            SPREAD: (also(days_to_expiry(exits.exit_days), WEEKLY),),
        }

    def open(self, look: Look) -> Proposal:
        """The spread and the puts that pay for it."""
        own, far = self.settings, look.chain(days=self.settings.days_to_expiry)
        long = far.put(delta=own.debit_long_delta, else_below=own.debit_long_distance)
        short = far.put(wing=(long, look.index_points(own.debit_width)))
        naked = far.put(delta=own.naked_delta, else_below=own.naked_distance)
        if naked.strike >= short.strike:
            raise look.skip(
                "strikes", f"{naked.name} is not under the spread's {short.name}", short.strike, naked.strike
            )
        spread, puts = {long: +1, short: -1}, {naked: -own.naked_per_spread}
        return look.structure("lt112", spread=spread, naked=puts, must=NET_CREDIT)

    def weekly(self, look: Look) -> Proposal:
        """A call spread beside the put spread or, by the settings, a put that its long put covers."""
        own, near = (
            self.settings,
            look.chain(days=self.settings.weekly_calls_days, tolerance=self.settings.weekly_tolerance),
        )
        spread = look.held(SPREAD)
        legs: dict[Contract, int]
        if own.weekly_side is Right.PUT:
            long = next(leg.contract for leg in spread.package.legs if leg.ratio > 0)
            legs = {near.put(strike=long.strike + look.index_points(own.weekly_put_above)): -1}
            return look.structure("weekly_put", weekly=legs, must=NET_CREDIT, wanted=spread.contracts)
        short = near.call(delta=own.weekly_call_delta)
        legs = {short: -1, near.call(wing=(short, look.index_points(own.weekly_call_width))): +1}
        return look.structure("weekly_call_spread", weekly=legs, must=MINIMUM_CREDIT, wanted=spread.contracts)

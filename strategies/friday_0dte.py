"""Row 1, Friday 0DTE: sell what today's move made expensive, at 10:30 and never earlier, and be out by 15:30.

A move since the open over 0.5 % sells the call spread, under -0.5 % the put spread, between them the iron condor. Short
strikes stand at a multiple of ATR14 from the price and are checked to be 10 to 25 delta; wings are 30 index points, 50
on the side that the trend tests, at an index of 4500.
"""

from __future__ import annotations

from core.contracts import Contract, Right
from core.parts import WHOLE, Trait
from core.settings.strategies import FridayZeroDaySettings
from market.trend import TrendDirection
from risk.proposal import Proposal
from strategies.base import MINIMUM_CREDIT
from strategies.exits import closing_time, hard_deadline, loss_of_credit, profit_of_credit
from strategies.gates import FRIDAY, every, vix_window
from strategies.look import Look
from strategies.picks import Wanted
from strategies.row import Entry, Row, by_part
from strategies.tools import Tools

INDEX = "SPX"
_TESTED = {TrendDirection.UP: Right.CALL, TrendDirection.DOWN: Right.PUT}


class FridayZeroDay(Row):
    """Sells a spread or a condor that expires today."""

    name = "friday_0dte"
    opens = every(FRIDAY)
    roots = ("SPXW", "XSP", "SPY")
    traits = by_part(
        whole=frozenset({Trait.SHORT_VOLATILITY, Trait.SHORT_DATED, Trait.ENDS_TODAY, Trait.SPARED_BY_21_DTE})
    )

    def __init__(self, tools: Tools, settings: FridayZeroDaySettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self.vix_gate = vix_window(settings, above=True)
        at, until = settings.entry_time, settings.entry_until
        self.entries = (Entry("open", self.opens, at, self.open, until=until, parts=(WHOLE,)),)
        self.exits = {
            WHOLE: (
                hard_deadline(settings.deadline, settings.half_day_deadline_minutes),
                loss_of_credit(settings.stop_multiple),
                profit_of_credit(settings.profit_target),
                closing_time(settings.exit_time, settings.half_day_exit_minutes),
            )
        }

    def open(self, look: Look) -> Proposal:
        """Today's package by the index's move and trend."""
        move, away = look.day(INDEX).move, self.settings.trend_move
        right = Right.CALL if move > 0 else Right.PUT
        if look.is_ahead and abs(abs(move) - away) < self.settings.near_move:  # it may go either way until the window
            self._sell(look, (right,), self.settings.spread_distance)
        if abs(move) > away:
            structure, legs = f"{right.value}_spread", self._sell(look, (right,), self.settings.spread_distance)
        else:
            structure, legs = "iron_condor", self._sell(look, (Right.PUT, Right.CALL), self.settings.condor_distance)
        return look.structure(
            structure,
            whole=legs,
            must=MINIMUM_CREDIT,
            wanted=self._contracts(look),
            reason=f"{structure} moved {move:+.2%} since the open",
        )

    def _sell(self, look: Look, sides: tuple[Right, ...], distance: float) -> dict[Contract, int]:
        """Shorts at a multiple of ATR14 from the price, checked by delta, and their wings."""
        own, today, legs = self.settings, look.chain(days=0), {}
        tested = _TESTED.get(look.trend(INDEX).direction)
        away = distance * look.trend(look.instrument.underlying).average_true_range
        for right in sides:
            wanted = today.spot + (away if right is Right.CALL else -away)
            short = today.pick(right, Wanted(strike=wanted, between=(own.min_delta, own.max_delta)))
            width = look.index_points(own.broken_wing_points if right is tested else own.wing_points)
            legs.update({short: -1, today.pick(right, Wanted(wing=(short, width))): +1})
        return legs

    def _contracts(self, look: Look) -> int:
        """The phase's maximum, one under 40k, in contracts of full size."""
        most = self.settings.contracts_by_phase[look.phase - 1]
        return min(most, 1) if look.equity < self.settings.one_contract_under else most

"""Row 7, butterfly: after a move within the day a small debit on the index coming back, at 10:35 behind the 0DTE.

Rising over 1 % since the open buys puts centred 10 index points below the index, falling calls centred 10 above. From
0.5 to 1 % the centre is against the move, as far from the open as the at-the-money straddle costs. Held for three
times the debit, else to 15:30; the debit is all that can be lost: what brings nothing by then is left to settle.
"""

from __future__ import annotations

import math
from dataclasses import replace

from core.contracts import Contract, Right
from core.parts import BOUGHT, WHOLE, Part, Trait
from core.settings.strategies import ButterflySettings
from risk.proposal import Proposal
from strategies.base import Close, HoldContext, maximum_debit
from strategies.exits import last_day, profit_of_debit
from strategies.friday_0dte import FridayZeroDay
from strategies.gates import FRIDAY, every
from strategies.look import Look
from strategies.picks import Chain, Wanted
from strategies.row import Entry, Row, by_part
from strategies.tools import Tools

INDEX = "SPX"


class Butterfly(Row):
    """Buys a butterfly that expires today, against today's move."""

    name = "butterfly"
    after = FridayZeroDay.name
    opens = every(FRIDAY)
    roots = ("SPXW", "XSP")
    traits = by_part(whole=BOUGHT | {Trait.NO_VOLATILITY_SOLD, Trait.ENDS_TODAY, Trait.SPARED_BY_21_DTE})

    def __init__(self, tools: Tools, settings: ButterflySettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self.entries = (Entry("open", self.opens, settings.entry_time, self.open, parts=(WHOLE,)),)
        self.exits = {
            WHOLE: (
                self._done,
                profit_of_debit(settings.profit_target),
            )
        }
        self._last_day = last_day(settings.time_exit, settings.half_day_minutes)

    def open(self, look: Look) -> Proposal:
        """One up, two down, one up around the centre; as many as the debit's limit pays."""
        own, today, day = self.settings, look.chain(days=0), look.day(INDEX)
        move = day.move
        if abs(move) < own.weak_move:
            reason = f"moved {move:+.2%} since the open, under {own.weak_move:.2%}"
            raise look.skip("move", reason, own.weak_move, abs(move))
        right, against = (Right.PUT, -1) if move > 0 else (Right.CALL, +1)
        if abs(move) > own.strong_move:
            centre = today.spot + against * look.index_points(own.center_distance)
        else:
            centre = day.open / look.instrument.index_scale + against * today.straddle()
        legs = self._around(look, today, right, centre)
        most = self._most_debit(look)
        proposal = look.structure(
            f"{right.value}_butterfly",
            whole=legs,
            must=maximum_debit(most / today.multiplier),
            reason=f"{right.value} butterfly moved {move:+.2%} since the open",
        )
        return _within(proposal, most)

    def _around(self, look: Look, today: Chain, right: Right, centre: float) -> dict[Contract, int]:
        """Strikes rounded to the index's step, both wings as far from the body."""
        step = self.settings.strike_step / look.instrument.index_scale
        body = today.pick(right, Wanted(strike=_rounded(centre, step)))
        width = max(_rounded(look.index_points(self.settings.width), step), step)
        lower = today.pick(right, Wanted(strike=body.strike - width))
        upper = today.pick(right, Wanted(strike=2 * body.strike - lower.strike))
        if not math.isclose(body.strike - lower.strike, upper.strike - body.strike) or lower == body:
            strikes = f"{lower.strike:g}, {body.strike:g}, {upper.strike:g}"
            raise look.skip("strikes", f"{strikes} are listed: wings of unequal width")
        return {lower: +1, body: -2, upper: +1}

    def _done(self, part: Part, context: HoldContext) -> Close | None:
        """Its last day, while selling brings money: to cross four spreads for nothing would cost more than the debit.

        It settles in cash, for nothing at worst. An unknown price of a leg brings nothing.
        """
        due = self._last_day(part, context)
        return due if due is not None and self._brings(part) > 0 else None

    def _brings(self, part: Part) -> float:
        """Points that selling what is held of all contracts brings at once: longs at their bids, shorts at offers."""
        total = 0.0
        for leg in part.legs:
            quote = self.tools.chains.quote(leg.contract)
            if leg.ratio > 0:
                total += leg.ratio * ((quote.bid or 0.0) if quote is not None else 0.0)
            else:
                total += leg.ratio * (math.inf if quote is None or quote.ask is None else quote.ask)
        return total

    def _most_debit(self, look: Look) -> float:
        """Dollars: a share of equity that grows with the VIX, and a limit in dollars."""
        own = self.settings
        return min(own.max_debit_fraction * look.equity * look.vix / own.reference_vix, own.max_debit)


def _within(proposal: Proposal, most: float) -> Proposal:
    """So many contracts that their debits together stay within dollars, at each step of the walk too."""
    multiplier = proposal.package.legs[0].contract.multiplier
    one = -proposal.natural_cash * multiplier
    count = proposal.wanted if one <= 0 else min(proposal.wanted, int(most / one + 1e-9))
    return replace(proposal, wanted=count, least_cash=-most / multiplier / max(count, 1))


def _rounded(points: float, step: float) -> float:
    return round(points / step) * step

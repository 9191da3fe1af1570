"""Row 10, enhanced positions: a strangle whose put side is a ratio, and puts that are sold while fear is high.

(a) On the second Tuesday one put at 25 delta is bought, two at 16 and one call at 8 delta are sold, for a credit. (b)
On any day over VIX 30 each of three puts is sold once in an episode, as many as its share of a budget carries at
the -10 % line; the last fifth waits for VIX 40. An episode ends with a close under 25.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from core.parts import WHOLE, Trait
from core.settings.fields import ExitSettings
from core.settings.strategies import EnhancedSettings
from greeks.stress import Node
from risk.proposal import Proposal
from strategies.base import NET_CREDIT, EntryContext, Skip, Wait
from strategies.exits import days_to_expiry, loss_of_credit, profit_of_credit
from strategies.futures_strangle import FuturesStrangle
from strategies.gates import TUESDAY, any_day, not_beside, phase_places, second, vix_window
from strategies.look import Look
from strategies.row import EVERY_PART, Entry, Row, by_part
from strategies.tools import Tools

NEAR, FAR, SMALL, RESERVE = "near", "far", "small", "reserve"
_ROOTS: Mapping[str, tuple[str, ...]] = {
    "": ("SPY",),
    NEAR: ("SPY",),
    FAR: ("ES", "SPY"),
    SMALL: ("IWM",),
    RESERVE: ("SPY",),
}
"""Option roots by slot: the strangle's, then those of the opportunity's puts; the reserve sells the first one again."""
_STRANGLE = frozenset(
    {Trait.SHORT_VOLATILITY, Trait.NAKED_PUTS, Trait.STRANGLE, Trait.SCALED_LIKE_STRANGLES, Trait.SHORT_DATED}
)
_PUTS = frozenset({Trait.SHORT_VOLATILITY, Trait.NAKED_PUTS, Trait.PUT_SELLING, Trait.OWN_BUDGET})


class Enhanced(Row):
    """Sells a strangle with a ratio side; in high volatility, puts."""

    name = "enhanced"
    opens = any_day()
    traits = by_part(whole=_STRANGLE, near=_PUTS, far=_PUTS, small=_PUTS, reserve=_PUTS)

    def __init__(self, tools: Tools, settings: EnhancedSettings, exits: ExitSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self._calm = vix_window(settings)
        self.vix_gate = self._vix_allows
        self.gates = (phase_places(settings),)
        first, far, small, reserve = settings.opportunity_shares
        self._puts: Mapping[str, tuple[int, float, float]] = {
            NEAR: (settings.days_to_expiry, settings.near_delta, first),
            FAR: (settings.far_days, settings.far_delta, far),
            SMALL: (settings.days_to_expiry, settings.small_delta, small),
            RESERVE: (settings.days_to_expiry, settings.near_delta, reserve),
        }
        at, beside = settings.entry_time, not_beside(FuturesStrangle.name)
        self.entries = (
            Entry("strangle", second(TUESDAY), at, self.strangle, gates=(beside,), parts=(WHOLE,)),
            Entry(
                "opportunity",
                self.opens,
                at,
                self.opportunity,
                slots=tuple(self._puts),
                gates=(self._once,),
                parts=(NEAR,),  # each slot's puts are the same kind of thing
            ),
        )
        self.exits = {
            EVERY_PART: (
                loss_of_credit(settings.stop_multiple),
                days_to_expiry(exits.exit_days),
                profit_of_credit(settings.profit_target),
            )
        }

    def roots_of(self, slot: str) -> tuple[str, ...]:
        """By slot."""
        return _ROOTS[slot]

    def _vix_allows(self, context: EntryContext) -> Skip | Wait | None:
        """The strangle's window; the opportunity over its VIX, its reserve over a higher one."""
        if context.slot not in self._puts or context.vix is None:
            return self._calm(context)
        own, vix = self.settings, context.vix.value
        least = own.reserve_vix if context.slot == RESERVE else own.opportunity_vix
        return None if vix > least else Skip("vix_window", f"VIX {vix:.2f} is not above {least:g}", least, vix)

    # (a)

    def strangle(self, look: Look) -> Proposal:
        """A 1 x 2 put ratio and a call, one package."""
        own, near = self.settings, look.chain(days=self.settings.days_to_expiry)
        long, short = near.put(delta=own.long_delta), near.put(delta=own.short_delta)
        if short.strike >= long.strike:
            raise look.skip("strikes", f"{short.name} is not under {long.name}", long.strike, short.strike)
        legs = {long: +1, short: -2, near.call(delta=own.call_delta): -1}
        return look.structure("ratio_strangle", whole=legs, must=NET_CREDIT, wanted=1)

    # (b)

    def opportunity(self, look: Look) -> Proposal:
        """Puts of a slot, as many as its share of the budget carries."""
        own, slot = self.settings, look.slot
        days, delta, share = self._puts[slot]
        put = look.chain(days=days).put(delta=delta)
        reason = f"{slot} puts at VIX {look.vix:.2f}"
        proposal = look.structure("opportunity_put", {slot: {put: -1}}, must=NET_CREDIT, wanted=1, reason=reason)
        budget = share * own.opportunity_budget * look.equity
        loss = -float(self.tools.stress.one_lot(proposal.package).profits[Node.DOWN])
        if not loss > 0:
            raise look.wait("stress", f"what {put.name} loses at the line is unknown")
        count = int(budget / loss + 1e-9)
        if count < 1:
            reason = f"one {put.name} loses {loss:.0f} at the line, the share of the budget is {budget:.0f}"
            raise look.skip("opportunity_budget", reason, budget, loss)
        return replace(proposal, wanted=count)

    def _once(self, look: Look) -> Skip | None:
        """The slot's puts were not sold since the VIX last closed under the settings' level."""
        since = self._episode_began(look.today)
        held = [row for row in self.tools.book.exposed() if row.strategy == self.name and row.slot == look.slot]
        opened = [row.opened for row in held]
        opened += [row.opened for row in self.tools.book.trades if (row.strategy, row.part) == (self.name, look.slot)]
        sold = [moment for moment in opened if since is None or moment.date() > since]
        if not sold:
            return None
        return Skip("episode", f"{look.slot} was sold on {max(sold):%Y-%m-%d}, in this episode", 1.0, 1.0)

    def _episode_began(self, today: date) -> date | None:
        """The last day before today on which the VIX closed under the level that ends an episode."""
        bars = self.tools.trend.bars("VIX")
        calm = [bar.day for bar in bars if bar.close < self.settings.episode_ends_under and bar.day < today]
        return max(calm, default=None)

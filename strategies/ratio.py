"""Row 8, ratio spread: one put at 25 delta bought, two at 16 delta sold for more than it costs, in three tickers.

The long put and the short ones are parts of one position. A tested short side is closed at 30 delta and the long put
stays, until it doubled or has 21 days left; at 40 delta, or when the long strike is touched, all goes.
"""

from __future__ import annotations

from core.book import Position
from core.parts import BOUGHT, Trait, Urgency
from core.settings.fields import ExitSettings
from core.settings.strategies import RatioSettings
from risk.proposal import Proposal
from strategies.base import NET_CREDIT, Close, HoldContext
from strategies.exits import any_part, days_to_expiry, profit_of_debit, short_delta, total_profit
from strategies.gates import TUESDAY, every, not_held
from strategies.look import Look
from strategies.row import Entry, Row, by_part
from strategies.tools import Tools

LONG, SHORT = "long", "short"


class Ratio(Row):
    """Sells two puts against one that it buys, for a credit."""

    name = "ratio"
    opens = every(TUESDAY)
    traits = by_part(long=BOUGHT, short=frozenset({Trait.SHORT_VOLATILITY, Trait.NAKED_PUTS}))

    def __init__(self, tools: Tools, settings: RatioSettings, exits: ExitSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self.gates = (not_held,)
        at, slots = settings.entry_time, settings.tickers
        self.entries = (Entry("open", self.opens, at, self.open, slots=slots, parts=(LONG, SHORT)),)
        self._half_the_credit = total_profit(settings.profit_target)
        self._doubled = profit_of_debit(settings.long_profit)
        self.exits_of_all = (
            self._long_strike_touched,
            any_part(short_delta(settings.full_exit_delta)),
            any_part(days_to_expiry(exits.exit_days)),
            self._earned,
        )
        self.exits = {SHORT: (short_delta(settings.tested_exit_delta),)}

    def roots_of(self, slot: str) -> tuple[str, ...]:
        """Each ticker's own options."""
        return (slot or self.settings.tickers[0],)

    def open(self, look: Look) -> Proposal:
        """One package of a ticker; no price stops it, so that it is sized by what stress takes."""
        look.contracts_left()
        own = self.settings
        near = look.chain(days=own.days_to_expiry, tolerance=own.expiry_tolerance)
        long, short = near.put(delta=own.long_delta), near.put(delta=own.short_delta)
        if short.strike >= long.strike:
            raise look.skip("strikes", f"{short.name} is not under {long.name}", long.strike, short.strike)
        return look.structure("put_ratio", long={long: +1}, short={short: -2}, must=NET_CREDIT, wanted=1)

    def _long_strike_touched(self, position: Position, context: HoldContext) -> Close | None:
        """The price came down to the long put's strike while the short ones stand."""
        long, spot = position.part(LONG), context.spot
        if long is None or spot is None or position.part(SHORT) is None:
            return None
        strike = long.package.legs[0].contract.strike
        if spot > strike:
            return None
        return Close("long_strike", f"{spot:.2f} touches the long strike {strike:g}", Urgency.URGENT)

    def _earned(self, position: Position, context: HoldContext) -> Close | None:
        """Both together gained their share of the credit; a long put that is alone doubled its price.

        The long put never goes before what it covers, however much it gained.
        """
        long = position.part(LONG)
        if long is None or position.part(SHORT) is not None:
            return self._half_the_credit(position, context)
        return self._doubled(long, context)

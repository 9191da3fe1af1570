"""Row 3, futures strangle: far puts and calls on what does not move with shares, futures for who can carry one.

The sides are parts of one position: both together have the profit target and the stop, each has its deltas. A tested
side at 20 delta lets the untested one be rolled once, at 25 it is closed, at 30 all is.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.book import Position
from core.contracts import AssetKind
from core.identifiers import part_name
from core.instruments import group_of
from core.parts import Part, Trait
from core.settings.fields import ExitSettings
from core.settings.strategies import FuturesStrangleSettings
from risk.proposal import Proposal
from strategies.base import NET_CREDIT, ROLLED_PART, Action, Hold, HoldContext, Roll, Skip, at_least
from strategies.exits import any_part, days_to_expiry, short_delta, total_loss, total_profit
from strategies.gates import TUESDAY, iv_rank, second
from strategies.look import Look
from strategies.picks import Chain
from strategies.row import Entry, Row, by_part
from strategies.tools import Tools

PUT, CALL = "put", "call"
_PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "CL": ("LO", "USO"),
    "GC": ("OG", "GLD"),
    "ZB": ("OZB", "TLT"),
    "6E": ("EUU", "FXE"),
    "ES": ("ES",),
}
"""Option roots by product, in the order of service: the future's, then those of its ETF where it has one."""
_SOLD = frozenset(
    {Trait.SHORT_VOLATILITY, Trait.NAKED_PUTS, Trait.STRANGLE, Trait.SCALED_LIKE_STRANGLES, Trait.SHORT_DATED}
)


class FuturesStrangle(Row):
    """Sells a strangle in each of several markets."""

    name = "futures_strangle"
    opens = second(TUESDAY)
    ranked = tuple(root for roots in _PRODUCTS.values() for root in roots)
    traits = by_part(put=_SOLD, call=_SOLD)

    def __init__(self, tools: Tools, settings: FuturesStrangleSettings, exits: ExitSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        self.phase_gates = (self._phase_allows,)
        self.gates = (self._group_is_free, iv_rank(settings))
        at, slots = settings.entry_time, tuple(_PRODUCTS)
        self.entries = (Entry("open", self.opens, at, self.open, slots=slots, parts=(PUT, CALL)),)
        self.exits_of_all = (
            total_loss(settings.stop_multiple),
            any_part(short_delta(settings.full_exit_delta)),
            any_part(days_to_expiry(exits.exit_days)),
            total_profit(settings.profit_target),
        )
        self.exits = {side: (short_delta(settings.tested_exit_delta),) for side in (PUT, CALL)}

    def roots_of(self, slot: str) -> tuple[str, ...]:
        """The future's options from the settings' phase on, then the ETF's."""
        roots = _PRODUCTS[slot]
        return roots if self.tools.phases.phase >= self.settings.futures_from_phase else roots[-1:]

    def open(self, look: Look) -> Proposal:
        """A put and a call, each at the middle of its band of deltas."""
        look.contracts_left()
        far = look.chain(days=self.settings.days_to_expiry)
        put, call = far.put(delta=self._delta(PUT)), far.call(delta=self._delta(CALL))
        return look.structure("strangle", put={put: -1}, call={call: -1}, must=NET_CREDIT, wanted=1)

    def _delta(self, side: str) -> float:
        own = self.settings
        low, high = (own.put_delta_min, own.put_delta_max) if side == PUT else (own.call_delta_min, own.call_delta_max)
        return (low + high) / 2

    def adjust(self, position: Position, hold: HoldContext) -> Action | tuple[Action, ...]:
        """Roll the untested side once, when the other one is tested."""
        sides = self._tested(position, hold)
        if sides is None:
            return Hold()
        tested, untested = sides
        cost = hold.value(untested)
        if cost is None:
            return Hold()

        def nearer(look: Look) -> Proposal:
            """The untested side again at its entry delta, same expiry, for more than the old one costs."""
            chain: Chain = look.chain(expiry=untested.expiry)
            delta = self._delta(untested.name)
            found = chain.put(delta=delta) if untested.name == PUT else chain.call(delta=delta)
            if any(found.name == leg.contract.name for leg in untested.legs):
                raise look.skip("strikes", f"{found.name} is held already")
            legs = {part_name(untested.name, ROLLED_PART): {found: -1}}
            return look.structure("strangle", legs, must=at_least(-cost), wanted=untested.contracts)

        answer = self.look_at(position, hold, nearer, part=untested)
        if not isinstance(answer, Proposal):
            return Hold()
        why = f"{tested.name} is at {_delta_of(tested, hold):.1f} delta"
        return Roll(answer, why, parts=(untested.name,), calendar=True)

    def adjusts(self, position: Position, context: HoldContext) -> bool:
        """Whether a side is tested and the other one may be rolled."""
        return self._tested(position, context) is not None

    def _tested(self, position: Position, hold: HoldContext) -> tuple[Part, Part] | None:
        """The side that is tested, and the other one while it was not rolled yet."""
        names = [part.name for part in position.parts]
        if len(names) < 2 or any(name.endswith(ROLLED_PART) for name in (*names, *position.realised)):
            return None
        one, other = position.parts
        tested, untested = (one, other) if _delta_of(one, hold) >= _delta_of(other, hold) else (other, one)
        return None if _delta_of(tested, hold) < self.settings.roll_delta else (tested, untested)

    def _phase_allows(self, look: Look) -> Skip | None:
        """A product without an ETF waits for the phase of futures."""
        least = self.settings.futures_from_phase
        if look.instrument.kind is not AssetKind.FUTURE or look.phase >= least:
            return None
        return Skip("phase", f"futures are for phase {least} and up", float(least), float(look.phase))

    def _group_is_free(self, look: Look) -> Skip | None:
        """One underlying per group."""
        group = group_of(look.instrument.underlying)
        for row in self.tools.book.exposed():
            if row.strategy == self.name and group_of(row.underlying.ticker) is group:
                return Skip("held", f"{row.id} stands in the same group", 1.0, 1.0)
        return None


def _delta_of(part: Part, hold: HoldContext) -> float:
    """Absolute delta x 100 of what a side is short; below every threshold where it is unknown."""
    return hold.short_delta(part) or 0.0

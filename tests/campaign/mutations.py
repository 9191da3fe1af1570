"""Safety rules taken out one at a time: a campaign that does not miss any of them would be worth nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import execution.gates
import execution.walking
import state.manager
from core.book import Book, Position
from core.contracts import Leg
from core.events import Command, Level, OrderUpdated
from core.identifiers import Identifiers
from execution.executor import AtomicExecutor
from execution.gates import AccountWatch, Unwinds
from execution.groups import Change, OrderGroup
from execution.recovery import OrderRecovery
from execution.reports import OrderMemory
from execution.sending import WorkingGroups
from execution.tracker import PositionTracker
from execution.walking import OrderPace
from risk.emergency import EmergencyProtocol
from simulation.faults.kinds import Fault
from state.store import StateStore
from state.tables import OrderGroupState, OrderTrigger, destination_of
from tests.campaign.week import Plan, plan_of, run_seed

Instead = Callable[..., Any] | property


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule taken out: what stands where instead, and what a week needs to notice: one of some faults, or a word."""

    instead: Mapping[tuple[Any, str], Instead]
    noticed_by: frozenset[Fault] = frozenset(Fault)
    said: Command | None = None

    def may_show(self, plan: Plan) -> bool:
        """Whether a week could show that the rule is gone."""
        return bool(plan.on & self.noticed_by) and (self.said is None or self.said in [row[1] for row in plan.said])

    @contextmanager
    def active(self) -> Iterator[None]:
        """While active, the rule is gone."""
        with ExitStack() as stack:
            for (owner, name), instead in self.instead.items():
                stack.enter_context(patch.object(owner, name, instead))
            yield

    def found_within(self, most: int) -> int | None:
        """How many seeds it takes until a rule is broken; ``None`` where so many do not show it.

        A seed that cannot show it counts, and is not run.
        """
        with self.active():
            for seed in range(most):
                if self.may_show(plan_of(seed)) and run_seed(seed).violations:
                    return seed + 1
        return None


def _nothing(*_: object) -> None:
    """What is done instead."""


def _never(*_: object) -> bool:
    return False


def _always(*_: object, **__: object) -> bool:
    return True


def _no_gap(*_: object) -> dict[str, float]:
    return {}


def _has_more(group: OrderGroup) -> bool:
    return bool(group.to_come)


def _sends_whatever(level: Level, before: str, trigger: str) -> str | None:
    """The state's own table refuses to send for a group that is being taken back: it is out of the way too."""
    if level is Level.ORDER_GROUP and (before, trigger) == (OrderGroupState.CANCELLING, OrderTrigger.SEND):
        return OrderGroupState.SENT.value
    return destination_of(level, before, trigger)


def _known_alone(*_: object) -> tuple[float, float]:
    return math.inf, 0.0


def _at_the_price_of_now(self: PositionTracker, position: Position, leg: Leg) -> Change:
    return self.of_end(position, leg, self._spot(leg.contract))


def _as_told(_: PositionTracker, event: OrderUpdated, __: bool) -> float:
    return event.fill_quantity


MUTATIONS: Final[Mapping[str, Mutation]] = {
    "a hedge waits for the short that it covers": Mutation(
        {(execution.gates, "bares"): _never, (execution.walking, "bares"): _never}
    ),
    "a halt takes back what works": Mutation(
        {(AtomicExecutor, "cancel_entries"): _nothing, (WorkingGroups, "_halted"): _nothing}, said=Command.HALT
    ),
    "an order of which nothing is heard is looked for": Mutation(
        {(WorkingGroups, "_is_lost"): _never}, frozenset({Fault.LOST})
    ),
    "no more leaves than a rate allows": Mutation({(OrderPace, "take"): _always}),
    "an emergency is pursued": Mutation({(EmergencyProtocol, "_on_minute"): _nothing}, said=Command.CLOSE_ALL),
    "half a line is cut off": Mutation({(StateStore, "_take_back"): _nothing}, frozenset({Fault.DISK})),
    "a late settlement is priced at its own day's close": Mutation(
        {(PositionTracker, "_of_settled"): _at_the_price_of_now}, frozenset({Fault.LATE, Fault.REORDERED})
    ),
    "what nobody saw is priced apart from what was held": Mutation(
        {(Book, "paid_for"): _known_alone}, frozenset({Fault.LATE, Fault.LOST})
    ),
    "what filled while nobody looked is its position's": Mutation(
        {(OrderRecovery, "_fold"): _nothing}, frozenset({Fault.LOST, Fault.KILLED})
    ),
    "what an exit on its way has filled is its own to tell": Mutation(
        {(AtomicExecutor, "group_of"): _nothing}, frozenset({Fault.LEGS_PARTLY, Fault.QUANTITY_PARTLY})
    ),
    "no name is given twice": Mutation({(Identifiers, "observe"): _nothing}, frozenset({Fault.KILLED})),
    "what is left of a broken package is unwound": Mutation(
        {(Unwinds, "plan"): _nothing}, frozenset({Fault.LEGS_PARTLY, Fault.LOST, Fault.MANUAL})
    ),
    "the account is asked before an order": Mutation({(AccountWatch, "_gap"): _no_gap}, frozenset({Fault.MANUAL})),
    "a refused cancel is asked again": Mutation(
        {(WorkingGroups, "_insist"): _nothing}, frozenset({Fault.CANCEL_REFUSED})
    ),
    "a report counts once": Mutation({(OrderMemory, "is_again"): _never}, frozenset({Fault.DUPLICATED})),
    "the account is looked at each quarter of an hour": Mutation(
        {(OrderRecovery, "is_due"): _never}, frozenset({Fault.MANUAL})
    ),
    "what worked before a restart is followed after it": Mutation(
        {(OrderRecovery, "_adopt"): _nothing}, frozenset({Fault.KILLED})
    ),
    "shares of an assignment, and their sale, count once": Mutation(
        {(PositionTracker, "_new_shares"): _as_told}, frozenset({Fault.ASSIGNED})
    ),
    "a larger package goes on only where all before it filled": Mutation(
        {(OrderGroup, "may_go_on"): property(_has_more), (state.manager, "destination_of"): _sends_whatever},
        frozenset({Fault.QUANTITY_PARTLY, Fault.LEGS_PARTLY}),
    ),
}
"""By the rule that is taken out."""

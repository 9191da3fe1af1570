"""The atomic executor: opens and closes packages as one order, and leaves all legs or none.

An order group is written down before its first order is sent. A package of more legs than an order takes is several
orders of one group, hedges first. A group whose legs fill only in part is completed within the timeout or unwound,
short legs first. An exit is never given up: after its walk it crosses the spread, a tick further each minute. Exits are
for parts; several go as one order where that has few legs, and a hedge never goes before the short that it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from core.book import ApprovedEntry, Book, EntryIntent, EntryJudge, OrderDesk, Position, Refusal
from core.bus import EventBus, do_all
from core.contracts import Leg
from core.events import (
    EntriesHalted,
    GroupOutcome,
    Level,
    OrderGroupFinished,
    OrderUpdated,
    StateTransition,
)
from core.gateway import Gateway
from core.identifiers import Identifiers, intent_fingerprint
from core.journal import Journal
from core.parts import WHOLE, LegExit, Part, PartPlan, Urgency, merged
from core.settings.fields import OrderSettings
from execution.gates import AccountWatch, OrderGates, Unwinds
from execution.groups import Change, OrderGroup, closed_by, is_broken, opening_orders, reduced
from execution.reports import LateFills, LostFills, SplitWatch
from execution.sending import OrderGuards, WorkingGroups, record_step
from execution.states import GroupStates
from execution.tracker import PositionTracker
from execution.walking import anomaly, as_orders, bundles, exit_limit, holds_worthless, sort_out, too_late, walk_limit
from market.chains import current_price
from state.manager import HierarchicalStateManager
from state.tables import OrderPurpose, StateError, SystemState


class AtomicExecutor(OrderDesk):
    """Owns every order group from plan to end."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        book: Book,
        tracker: PositionTracker,
        identifiers: Identifiers,
        state: HierarchicalStateManager,
        settings: OrderSettings,
    ) -> None:
        self._bus = bus
        self._gateway = gateway
        self._book = book
        self._tracker = tracker
        self._identifiers = identifiers
        self._settings = settings
        self._journal = journal
        self.states = GroupStates(state, book)
        self._late = LateFills(gateway, book, tracker)
        self.splits = SplitWatch(bus, book, state)
        self._lost: dict[str, OrderGroup] = {}
        self._guards = OrderGuards(bus, book, settings)
        self._unwinds = Unwinds(gateway, book, journal, settings)
        self._working = WorkingGroups(bus, journal, gateway, self.states, self._guards, settings)
        self.pace, self.listed_fee = self._working.pace, self._working.listed_fee
        signs, gates = LostFills(bus, gateway, settings), OrderGates(gateway, book, state)
        self.account = AccountWatch(bus, gates, self._working, book, signs, tracker.outside)
        self._working.finished = self._finished
        self._working.foreign = self._settle
        self._working.late = self.came_late
        self._working.priced = self._price_came
        self._working.lost = self._lose
        self._working.odd = self.account.doubts
        self._working.doubted = self.account.refusal
        bus.subscribe(EntriesHalted, self._on_halted, component="executor", critical=True)
        bus.subscribe(StateTransition, self._on_transition, component="executor", critical=True)

    # What others ask

    @property
    def working(self) -> bool:
        """Whether any group is on its way, anything is being unwound, or a fill is still held against the account."""
        return bool(len(self._working) or self._unwinds.positions or self.account.asks)

    @property
    def working_cash(self) -> float:
        """Dollars that fills of groups on their way brought, fees taken off: no position has them yet."""
        return sum(group.cash - group.fees for group in self._working)

    @property
    def followed(self) -> tuple[str, ...]:
        """Names of the groups on their way."""
        return tuple(group.id for group in self._working)

    def group_of(self, position: str) -> OrderGroup | None:
        """The first group on its way for a position."""
        return next(iter(self._working.of(position)), None)

    def why(self) -> list[str]:
        """Why each order is where it is, in words."""
        return [group.why for group in self._working]

    def judged_by(self, judge: EntryJudge) -> None:
        """Ask a judge at each step of each entry from now on, after those that came before."""
        self._working.judged_by(judge)

    def cancel_entries(self, reason: str) -> None:
        """Take back every entry on its way."""
        due = (row for row in self._working if row.opens and not row.cancelling)
        do_all(partial(self._working.cancel, row, reason) for row in due)

    def _on_halted(self, event: EntriesHalted) -> None:
        """A halt stops what is on its way in at once; what fills before the cancel counts."""
        self.cancel_entries(event.reason)

    def _on_transition(self, event: StateTransition) -> None:
        if event.level is Level.SYSTEM and event.after != SystemState.NORMAL:
            self.cancel_entries(f"the system is {event.after}")

    def advance(self, now: datetime) -> None:
        """Once a minute: walk, cross, cancel or unwind what is due."""
        self._unwinds.pass_minute(now)
        unwinds = [partial(self._next_unwind, position) for position in self._unwinds.positions]
        do_all((*unwinds, self._drop_worthless, partial(self._working.advance, now)))

    def _drop_worthless(self) -> None:
        for group in [row for row in self._working if holds_worthless(row, self._gateway, self._settings)]:
            group.drops = True
            self._working.cancel(group, "a long that it sells is worth nothing: it goes on without")

    # Entries

    def open(self, approved: ApprovedEntry, correlation: str) -> str | Refusal:
        """Send an approved entry at the mid; what forbids it is returned, not raised. Only what risk minted is sent."""
        if not self._book.mint.redeem(approved):
            return Refusal("not_approved", "risk did not approve this entry, or it was sent before")
        entry, contracts = approved.entry, approved.contracts
        plans = entry.plans or (PartPlan(WHOLE, entry.package, entry.terms),)
        refusal = (
            too_late(entry, self._gateway, self._settings)
            or self._no_place(entry, contracts, plans)
            or self._guards.overlap(entry.package)
            or anomaly(entry, self._settings)
            or self.splits.refusal(entry.package)
            or self.account.refusal(entry.package)
        )
        price = current_price(self._gateway, entry.package)
        if refusal is not None or price is None:
            return refusal or Refusal("quotes", "a leg has no quote to trade at")
        group = OrderGroup(
            id=self._identifiers.next("group"),
            position=entry.onto or self._identifiers.next(entry.strategy),
            strategy=entry.strategy,
            purpose=OrderPurpose.ADJUST if entry.onto else OrderPurpose.ENTRY,
            package=entry.package,
            contracts=contracts,
            created=self._gateway.now(),
            terms=entry.terms,
            plans=plans,
            slot=entry.slot,
            entry=entry,
            correlation=correlation,
            rule="entry",
            reason=entry.reason,
            natural=price.natural,
            orders=opening_orders(entry.package, self._settings.max_legs),
        )
        first = current_price(self._gateway, group.order) or price
        fingerprint = intent_fingerprint(entry.strategy, entry.day, entry.package, group.purpose.value)
        try:
            self.states.plan_entry(group, fingerprint)
        except StateError as error:
            return Refusal("state", str(error))
        self._tracker.plan(group)
        refusal = self._working.send(group, walk_limit(first, 0, self._settings))
        if refusal is not None:
            self._tracker.abandon(group)
            return refusal
        return group.position

    def _no_place(self, entry: EntryIntent, contracts: int, plans: Sequence[PartPlan]) -> Refusal | None:
        """Why parts may not be added to the position that they are for; a part never opens beside its predecessor."""
        if not entry.onto:
            return None
        position = self._book.positions.get(entry.onto)
        if position is None:
            return Refusal("no_position", f"{entry.onto} is not open")
        if entry.onto in self._unwinds or entry.onto in self._book.doubted or entry.onto in self._book.pending:
            return Refusal("position_busy", f"{entry.onto} is being unwound, in doubt, or added to")
        known = ((plan.name, position.part(plan.name)) for plan in plans)
        open_too = [name for name, part in known if part is not None and not part.is_left_to_expire]
        if open_too:
            return Refusal("part_open", f"{entry.onto} has {', '.join(open_too)} open already")
        return self.account.leans_on_what_goes(position, entry.package, contracts)

    # Exits

    def close(
        self, position: Position, rule: str, reason: str, urgency: Urgency = Urgency.NORMAL, parts: tuple[str, ...] = ()
    ) -> None:
        """Close parts of a position (all where none is named), each in one exit at a time.

        More urgency makes a working exit more urgent. Asking again is harmless.
        """
        position = self._book.positions.get(position.id, position)
        working = {name: group for group in self._working.of(position.id) for name in closed_by(group, position)}
        free: list[Part] = []
        for part in position.chosen(parts):
            group = working.get(part.name)
            if group is not None:
                self._hurry(group, rule, reason, urgency)
            elif part.name not in self._unwinds.parts_of(position.id):
                free.append(part)
        if not parts:
            self._take_back_additions(position, reason)
        doubted = position.id in self._book.doubted and not (urgency.crosses and self.account.in_doubt)
        if not free or doubted:
            return
        for bundle in bundles(position, free, self._settings.max_legs):
            self._exit(position, bundle, rule, reason, urgency)

    def _hurry(self, group: OrderGroup, rule: str, reason: str, urgency: Urgency) -> None:
        if urgency.crosses and not group.opens and not group.urgency.crosses:
            group.urgency, group.step = urgency, 0
            group.rule, group.reason = rule, reason
            group.next_step_at = self._gateway.now()

    def _take_back_additions(self, position: Position, reason: str) -> None:
        for group in self._working.of(position.id):
            if group.opens and not group.cancelling:
                self._working.cancel(group, reason)

    def _exit(
        self, position: Position, parts: tuple[Part, ...], rule: str, reason: str, urgency: Urgency, step: int = 0
    ) -> None:
        found = sort_out(merged(leg for part in parts for leg in part.legs), self._gateway, self._settings)
        names = tuple(part.name for part in parts)
        if found.waiting:
            if self._unwinds.waited_enough(position.id, rule, urgency, found):
                self._unwinds.plan(position.id, names, rule, reason)
                self._next_unwind(position.id)
            return
        self._book.blocked.pop(position.id, None)
        orders = as_orders(found.ready, self._settings.max_legs)
        singly = urgency.crosses and self.account.goes_singly(position.id, found.ready)
        if len(orders) > 1 or singly:  # one after the other, the hedges when no short needs them
            self._unwinds.plan(position.id, names, rule, reason)
            self._next_unwind(position.id)
        elif found.ready:
            self._start_exit(position, found.ready, names, OrderPurpose.EXIT, (rule, reason, urgency), step)

    def _start_exit(
        self,
        position: Position,
        legs: tuple[Leg, ...],
        parts: tuple[str, ...],
        purpose: OrderPurpose,
        why: tuple[str, str, Urgency],
        step: int = 0,
    ) -> None:
        legs, asked = self.states.free(position.id, legs), legs
        torn = legs != asked and purpose is not OrderPurpose.UNWIND  # an order of unknown end may have closed the rest
        if not legs or torn or not self.account.may_go(position, legs, why[2]):
            return
        package, contracts = reduced(legs, 1)
        group = OrderGroup(
            id=self._identifiers.next("group"),
            position=position.id,
            strategy=position.strategy,
            purpose=purpose,
            package=package.reversed(),
            contracts=contracts,
            created=self._gateway.now(),
            parts=parts,
            correlation=position.correlation,
            rule=why[0],
            reason=why[1],
            urgency=why[2],
            step=step,
        )
        price = current_price(self._gateway, group.package, closing=True)
        if price is None:
            return
        group.natural = price.natural
        leaving = {name for other in self._working.of(position.id) for name in closed_by(other, position)} | set(parts)
        self.states.plan_exit(group, whole=leaving >= {part.name for part in position.parts})
        limit = exit_limit(price, group.package, crosses=why[2].crosses, settings=self._settings, step=step)
        if self._working.send(group, limit) is not None:
            self.account.refused(group)

    # What became of a group

    def _finished(self, group: OrderGroup) -> None:
        """The broker works nothing of it any more: its position follows in one record, and the rest is unwound."""
        self.account.believed(group)
        change = self._late.at_end(group)
        self._tracker.note_work(group)
        outcome = GroupOutcome.REJECTED if group.rejected else GroupOutcome.CANCELLED
        if group.is_filled:
            outcome = GroupOutcome.FILLED
        broken = self._broken(group, change)
        busy = self._is_busy(group.position)
        rows = [] if change is None else self._tracker.rows_of(change)
        self.states.over(group, outcome, change, broken, busy, rows)
        group.take()
        if group.opens:
            self._tracker.abandon(group)
        self._follow(group.position, change, rows)
        if broken:
            self._unwinds.plan(group.position, broken, *(() if group.opens else (group.rule, group.reason)))
        if group.position in self._unwinds:
            self._next_unwind(group.position)
        self._announce(group, outcome)
        self.account.ended(group)
        left = self._book.positions.get(group.position)
        if group.drops and left is not None and group.is_untouched:
            self._exit(left, left.chosen(group.parts), group.rule, group.reason, group.urgency, group.step)

    def came_late(self, group: OrderGroup) -> None:
        """Something of a finished group filled after its end: state, cash and position follow, the next minute acts."""
        record_step(self._journal, group, "filled_late")
        self._working.renew(group)
        self.account.believed(group)
        if group.id in self._lost:  # the account decides what became of it, once, with what is told meanwhile
            self.states.filled_some(group)
            return
        for leg, exit_ in tuple(self._late.seen_before(group)):
            self._price_came(group, leg, exit_)
        if not group.fresh_count:
            return
        change = self._late.change(group)
        broken = self._late.broken(group, change)
        rows = [] if change is None else self._tracker.rows_of(change)
        self.states.fold(group, change, broken, self._is_busy(group.position), rows)
        group.take()
        self._follow(group.position, change, rows)
        if broken:
            self._unwinds.plan(group.position, broken, "unwind", "its fill came after its order had ended")

    def _price_came(self, group: OrderGroup, leg: Leg, exit_: LegExit) -> None:
        """What filled unseen has a price now: the cash goes to the trade that it belongs to."""
        if group.id in self.followed or group.opens:
            return
        change = self._late.price(group, leg, exit_, self.states.amended)
        if change is not None:
            self.states.changed(change, group.position, (), self._is_busy(group.position))
            self._follow(group.position, change, [])
        group.take(leg.contract.name)

    def _lose(self, group: OrderGroup) -> None:
        """The broker has no order of it and says nothing: what the account holds decides what became of it."""
        self._lost[group.id] = group
        if group.opens:
            self._tracker.abandon(group)
        self.account.look()

    def _broken(self, group: OrderGroup, change: Change | None) -> tuple[str, ...]:
        """Parts of which something is left that has to go: legs without the rest, and exits that cannot trade whole."""
        if group.opens:
            return () if change is None else tuple(part.name for part in change.after.parts if is_broken(part, group))
        loose = self._late.broken(group, change)
        if group.is_filled or (change is None and not group.split) or group.purpose is OrderPurpose.UNWIND:
            return loose
        position = change.after if change is not None else self._book.positions.get(group.position)
        parts = () if position is None else position.chosen(closed_by(group, position))
        return (*loose, *(part.name for part in parts))

    def _is_busy(self, position: str) -> bool:
        return bool(self._working.of(position)) or position in self._unwinds

    def _follow(self, position: str, change: Change | None, rows: list[dict[str, object]]) -> None:
        """Once it is written: the book, the journal, and what is still to be unwound."""
        if change is None:
            return
        self._tracker.commit(change, rows)
        self.account.keep_hedges(position)
        if rows and not self._journal.owes:
            self.states.told(position)
        if change.ended:
            self._unwinds.forget(position)

    def _settle(self, event: OrderUpdated) -> None:
        """A report on no order of ours: an expiry, an assignment, or somebody else's trade."""
        if event.is_assignment:
            self._working.take_back(event.contract, f"{event.contract} was assigned")
        before = self._tracker.outside.get(event.contract)
        changes = self._tracker.of_settlement(event)
        if self._tracker.outside.get(event.contract) != before:
            self.account.foreign(event.contract)
        for change in changes:
            hit = {part.name for part in change.after.parts if event.contract in part.exits}
            left = tuple(sorted(hit)) if event.is_assignment else ()
            self.left_account(change, left)  # from the next minute of a session on
        self.states.shares()

    def left_account(self, change: Change, unwinding: Sequence[str] = (), *, counted: bool = False) -> None:
        """Something left the account without an order of ours: write it down, follow, and unwind what is named.

        ``counted``: the state's holdings know it already.
        """
        name, rows = change.after.id, self._tracker.rows_of(change)
        self.states.settled(change, unwinding, self._is_busy(name), rows, counted=counted)
        self._follow(name, change, rows)
        if unwinding and not change.ended:
            self._unwinds.plan(name, unwinding)

    def _announce(self, group: OrderGroup, outcome: GroupOutcome) -> None:
        price = current_price(self._gateway, group.package)
        self._bus.publish(
            OrderGroupFinished(
                time=self._gateway.now(),
                correlation=group.correlation,
                group=group.id,
                position=group.position,
                strategy=group.strategy,
                purpose=group.purpose.value,
                outcome=outcome,
                contracts=group.contracts,
                reason=group.rejected or group.why_ended or group.reason,
                limit=group.limit,
                natural=None if price is None else price.natural,
                refusal=group.refusal,
            )
        )

    # Taking over after a restart, and unwinding

    def adopt(self, group: OrderGroup) -> None:
        """Go on with a group that still works at the broker: an exit walks on, an entry is taken back."""
        record_step(self._journal, group, "taken_over")
        self._working.adopt(group)

    def ended_before(self, group: OrderGroup) -> None:
        """A group that ended while nobody looked: its position follows, and what it left broken is unwound."""
        change = self._late.at_end(group)
        broken = self._broken(group, change)
        rows = [] if change is None else self._tracker.rows_of(change)
        record_step(self._journal, group, "found_ended")
        self.states.fold(group, change, broken, self._is_busy(group.position), rows)
        group.take()
        lost = self._lost.pop(group.id, None)
        if lost is not None or not self._gateway.is_live():  # live, numbers of the process before mean other orders now
            self.remember(group)
        self._follow(group.position, change, rows)
        if broken:
            self._unwinds.plan(group.position, broken)
        if lost is not None:
            self._announce(lost, GroupOutcome.FILLED if group.is_filled else GroupOutcome.CANCELLED)

    def remember(self, group: OrderGroup) -> None:
        """A group that is over: what the broker still says of its orders is late, and reopens it."""
        self._working.remember(group)

    def go_on_unwinding(self, position: str, parts: Sequence[str]) -> None:
        """Parts that the process before was unwinding: the next minute goes on with them."""
        if parts and position in self._book.positions:
            self._unwinds.plan(position, parts)

    def unwind(self, position: str, parts: Sequence[str]) -> None:
        """Get rid of what is left of broken parts: shorts first, longs last."""
        self._unwinds.plan(position, parts)
        self._next_unwind(position)

    def _next_unwind(self, position: str) -> None:
        """Send what may go now; what waits for a quote is told once and looked at again each minute."""
        known, unwind = self._book.positions.get(position), self._unwinds.of(position)
        if unwind is None:
            return
        if known is None or not any(part.name in unwind.parts for part in known.parts):
            self._rest_unwound(position)
            return
        flying = {leg.contract.name for group in self._working.of(position) for leg in group.package.legs}
        found = self._unwinds.next_legs(position, flying)
        if found.ready:
            names = tuple(part.name for part in known.parts if part.name in unwind.parts)
            why = (unwind.rule, unwind.reason, Urgency.URGENT)
            for legs in self.account.as_urgent(position, found.ready):
                self._start_exit(known, legs, names, OrderPurpose.UNWIND, why)
        elif not found.waiting and not flying:
            self._rest_unwound(position)  # long options that nobody bids for stay its own until they are gone

    def _rest_unwound(self, position: str) -> None:
        self._unwinds.forget(position)
        if position in self._book.positions:
            self.states.changed(None, position, (), self._is_busy(position))

    def verify(self) -> tuple[str, ...]:
        """No group hangs without orders."""
        return tuple(f"group {group.id} has no orders" for group in self._working if not group.order_ids)

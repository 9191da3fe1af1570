"""The atomic executor: sends packages as one order, walks their price, and leaves all legs or none.

An order group is written down before its first order is sent. A group whose legs fill only in part is completed within
the timeout or unwound, short legs first. An exit is never given up: after its walk it crosses the spread, a tick
further each minute, still as a limit order.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from core.book import Book, EntryIntent, EntryJudge, OrderDesk, Position, Refusal
from core.bus import EventBus
from core.contracts import Leg, Package
from core.events import FillStatus, GroupOutcome, OrderGroupFinished, OrderUpdated
from core.gateway import Gateway, OrderRefusedError
from core.identifiers import Identifiers, intent_fingerprint
from core.journal import Journal, RecordKind
from core.parts import WHOLE, PartPlan, Urgency
from core.settings.fields import OrderSettings
from execution.groups import GroupStates, OrderGroup, record_step, reduced
from execution.guards import OrderGuards
from execution.pricing import anomaly, crossing_limit, walk_limit
from execution.tracker import PositionTracker
from execution.unwinds import Unwinds, sort_out
from execution.walking import PriceWalk
from market.chains import current_price
from state.errors import StateError
from state.manager import HierarchicalStateManager
from state.tables import OrderPurpose, OrderTrigger

_SPLIT_AFTER = 5  # minutes of crossing the spread after which a package is closed in parts
_ENDED = {FillStatus.FILLED, FillStatus.CANCELLED, FillStatus.REJECTED}


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
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._tracker = tracker
        self._identifiers = identifiers
        self.states = self._states = GroupStates(state, book)
        self._settings = settings
        self._groups: dict[str, OrderGroup] = {}
        self._by_order: dict[int, OrderGroup] = {}
        self._unwinds = Unwinds(gateway, book, journal, settings)
        self._early: list[OrderUpdated] = []
        self._guards = OrderGuards(bus, book, settings)
        self._walk = PriceWalk(gateway, settings)
        bus.subscribe(OrderUpdated, self._on_order, component="executor", critical=True)

    # What others ask

    @property
    def working(self) -> bool:
        """Whether any group is on its way."""
        return bool(self._groups)

    def group_of(self, position: str) -> OrderGroup | None:
        """The group on its way for a position."""
        return next((group for group in self._groups.values() if group.position == position), None)

    def why(self) -> list[str]:
        """Why each order is where it is, in words."""
        return [
            f"{group.id} {group.purpose.value} {group.contracts} x {group.position}: step {group.step}, limit "
            f"{group.limit}, next {group.next_step_at}{', cancelling' if group.cancelling else ''}"
            for group in self._groups.values()
        ]

    def judged_by(self, judge: EntryJudge) -> None:
        """Ask a judge at each step of each entry from now on, after those that came before."""
        self._walk.judges.append(judge)

    def open(self, entry: EntryIntent, contracts: int, correlation: str) -> str | Refusal:
        """Send an approved entry at the mid; what forbids it is returned, not raised."""
        refusal = self._guards.overlap(entry.package) or anomaly(entry, self._settings)
        price = current_price(self._gateway, entry.package)
        if refusal is not None or price is None:
            return refusal or Refusal("quotes", "a leg has no quote to trade at")
        group = OrderGroup(
            id=self._identifiers.next("group"),
            position=self._identifiers.next(entry.strategy),
            strategy=entry.strategy,
            purpose=OrderPurpose.ENTRY,
            package=entry.package,
            contracts=contracts,
            created=self._gateway.now(),
            terms=entry.terms,
            plans=entry.plans or (PartPlan(WHOLE, entry.package, entry.terms),),
            slot=entry.slot,
            entry=entry,
            correlation=correlation,
            rule="entry",
            reason=entry.reason,
        )
        fingerprint = intent_fingerprint(entry.strategy, entry.day, entry.package)
        try:
            self._states.plan_entry(group, fingerprint)
        except StateError as error:
            return Refusal("state", str(error))
        self._tracker.plan(group)
        failed = self._send(group, walk_limit(price, 0, self._settings))
        return group.position if failed is None else Refusal("order_refused", failed)

    def close(
        self, position: Position, rule: str, reason: str, urgency: Urgency = Urgency.NORMAL, parts: tuple[str, ...] = ()
    ) -> None:
        """Close a position; one exit at a time, and more urgency makes the working exit more urgent."""
        working = self.group_of(position.id)
        if working is not None:
            if urgency.crosses and working.purpose is not OrderPurpose.ENTRY and not working.urgency.crosses:
                working.urgency, working.step = urgency, 0
                working.rule, working.reason = rule, reason
                working.next_step_at = self._gateway.now()
            return
        if position.id in self._unwinds or position.id in self._book.doubted:
            return
        part = sort_out(position.legs, self._gateway, self._settings.worthless_offer)
        if part.waiting:
            if self._unwinds.waited_enough(position.id, rule, urgency, part):
                self._split(position)
            return
        self._book.blocked.pop(position.id, None)
        if not part.ready:
            return
        package, contracts = reduced(part.ready, 1)
        group = OrderGroup(
            id=self._identifiers.next("group"),
            position=position.id,
            strategy=position.strategy,
            purpose=OrderPurpose.EXIT,
            package=package.reversed(),
            contracts=contracts,
            created=self._gateway.now(),
            correlation=position.correlation,
            rule=rule,
            reason=reason,
            urgency=urgency,
        )
        self._start_exit(group)

    def _start_exit(self, group: OrderGroup) -> None:
        price = current_price(self._gateway, group.package, closing=True)
        if price is None:
            return
        self._states.plan_exit(group)
        limit = crossing_limit(price, 1) if group.urgency.crosses else walk_limit(price, 0, self._settings)
        self._send(group, limit)

    def cancel_entries(self, reason: str) -> None:
        """Take back every entry on its way."""
        for group in list(self._groups.values()):
            if group.purpose is OrderPurpose.ENTRY and not group.cancelling:
                self._cancel(group, reason)

    def advance(self, now: datetime) -> None:
        """Once a minute: walk, cross, cancel or unwind what is due."""
        self._unwinds.pass_minute(now)
        for position in self._unwinds.positions:
            if self.group_of(position) is None:
                self._next_unwind(position)
        for group in list(self._groups.values()):
            if group.id in self._groups and not group.cancelling:
                self._advance(group, now)

    # Sending

    def _send(self, group: OrderGroup, limit: float) -> str | None:
        """Send a planned group; why it was refused, or ``None``."""
        group.limit = limit
        now = self._gateway.now()
        self._groups[group.id] = group
        refused: str | None = None
        ids: tuple[int, ...] = ()
        try:
            with self._states.sending(group) as intent:
                try:
                    ids = self._gateway.send(group.package, group.contracts, limit, group.id)
                except OrderRefusedError as error:
                    refused = str(error)
                    intent.withdraw(refused)
                else:
                    intent.note(orders=ids)
        except StateError as error:
            refused = str(error)
        if refused is not None:
            return self._refused(group, refused)
        group.order_ids = ids
        group.next_step_at = now + timedelta(seconds=self._settings.walk_interval_seconds)
        for order_id in ids:
            self._by_order[order_id] = group
        self._guards.sent(now)
        record_step(self._journal, group, "sent")
        early, self._early = self._early, []
        for event in early:
            self._on_order(event)
        return None

    def _refused(self, group: OrderGroup, message: str) -> str:
        self._groups.pop(group.id, None)
        if group.purpose is OrderPurpose.ENTRY:
            self._tracker.abandon(group)
        group.rejected = message
        self._guards.rejected(self._gateway.now(), message)
        record_step(self._journal, group, "rejected")
        self._states.refused(group)
        self._early = []
        return message

    # Walking

    def _advance(self, group: OrderGroup, now: datetime) -> None:
        timeout = timedelta(seconds=self._settings.unwind_after_seconds)
        if group.first_fill_at is not None and now - group.first_fill_at > timeout:
            self._cancel(group, "filled in part for too long")
            return
        if group.next_step_at is None or now < group.next_step_at or self._guards.too_fast(now):
            return
        group.next_step_at = now + timedelta(seconds=self._settings.walk_interval_seconds)
        group.step += 1
        if group.purpose is OrderPurpose.ENTRY and group.step > self._settings.walk_steps:
            self._cancel(group, "not filled by the end of its walk")
            return
        group.refusal = self._walk.refusal(group)
        if group.refusal is not None:
            self._cancel(group, group.refusal.reason)
            return
        if group.purpose is OrderPurpose.EXIT and group.step > self._settings.walk_steps + _SPLIT_AFTER:
            group.split = len(group.package.legs) > 1
            group.step = self._settings.walk_steps
            if group.split:
                self._cancel(group, "no price fills all legs at once")
                return
        price = self._walk.price(group)
        if price is None:
            return
        limit = self._walk.limit(group, price)
        if group.limit is not None and abs(limit - group.limit) < 1e-9:
            return
        group.limit = limit
        if self._gateway.reprice(group.order_ids, limit, group.id):
            self._states.step(group, OrderTrigger.REPRICE, limit=limit)
            self._guards.sent(now)
            record_step(self._journal, group, "repriced")

    def _cancel(self, group: OrderGroup, reason: str) -> None:
        group.cancelling = True
        group.reason = reason
        self._states.step(group, OrderTrigger.CANCEL, reason=reason)
        self._gateway.cancel(group.order_ids, group.id)
        record_step(self._journal, group, "cancelled")

    # Broker's reports

    def _on_order(self, event: OrderUpdated) -> None:
        group = self._by_order.get(event.order_id)
        if group is None:
            if any(not waiting.order_ids for waiting in self._groups.values()):
                self._early.append(event)
            else:
                self._settle(event)
            return
        fill = group.fills.get(event.contract)
        if fill is None:
            raise ValueError(f"{group.id}: a report on {event.contract}, which is none of its legs")
        if event.status is FillStatus.SUBMITTED:
            self._states.step(group, OrderTrigger.ACKNOWLEDGE)
        if event.status in (FillStatus.FILLED, FillStatus.PARTLY_FILLED) and event.fill_price is not None:
            self._take_fill(group, event)
        fill.done = fill.done or event.status in _ENDED
        if event.status is FillStatus.REJECTED:
            group.rejected = event.message or "rejected"
        if group.is_done:
            self._finish(group)

    def _take_fill(self, group: OrderGroup, event: OrderUpdated) -> None:
        leg = next(leg for leg in group.package.legs if leg.contract.name == event.contract)
        fill, price = group.fills[event.contract], event.fill_price or 0.0
        fill.quantity += event.fill_quantity
        fill.cash -= event.fill_quantity * price * leg.contract.multiplier
        fill.fees += event.fee
        if group.first_fill_at is None:
            group.first_fill_at = event.time
            self._guards.filled()
        if not group.is_filled:
            self._states.step(group, OrderTrigger.FILL_PART, filled=group.filled)
        quote = self._gateway.quote(leg.contract)
        self._journal.record(
            RecordKind.FILL,
            component="executor",
            reason=group.rule,
            correlation=group.correlation,
            group=group.id,
            position=group.position,
            strategy=group.strategy,
            contract=event.contract,
            quantity=event.fill_quantity,
            price=price,
            fee=event.fee,
            bid=None if quote is None else quote.bid,
            ask=None if quote is None else quote.ask,
        )

    def _settle(self, event: OrderUpdated) -> None:
        """A report on no order of ours: an expiry, an assignment, or somebody else's trade."""
        endings = self._tracker.settled(event)
        self._states.shares()
        for ending in endings:
            name = ending.position.id
            if ending.ended:
                self._unwinds.forget(name)
                self._states.expired(name, ending.position.strategy, event.is_assignment)
            elif event.is_assignment:
                self._states.assigned(name, event.contract)
                self._unwinds.plan(name, ending.position.legs)  # from the next minute of a session on

    def _finish(self, group: OrderGroup) -> None:
        self._groups.pop(group.id, None)
        for order_id in group.order_ids:
            self._by_order.pop(order_id, None)
        self._gateway.forget(group.order_ids)
        if group.is_filled:
            self._filled(group)
        else:
            self._unfilled(group)

    def _filled(self, group: OrderGroup) -> None:
        if group.purpose is OrderPurpose.ENTRY:
            position = self._tracker.opened(group)
            self._states.opened(group, position)
        elif group.purpose is OrderPurpose.EXIT:
            self._tracker.exited(group)
            self._states.ended(group, GroupOutcome.FILLED)
        else:
            self._states.step(group, OrderTrigger.FILL, filled=group.filled)
            self._unwound(group)
        self._announce(group, GroupOutcome.FILLED)

    def _unfilled(self, group: OrderGroup) -> None:
        outcome = GroupOutcome.REJECTED if group.rejected else GroupOutcome.CANCELLED
        if outcome is GroupOutcome.REJECTED:
            self._guards.rejected(self._gateway.now(), group.rejected)
            record_step(self._journal, group, "rejected")
        left = group.leftover()
        position = self._book.positions.get(group.position)
        if group.purpose is OrderPurpose.UNWIND:
            self._tracker.exited(group)
            self._states.ended(group, outcome)
            self._unwinds.put_back(group.position, group.unfilled())
        elif left is not None:
            self._unwind(group, left)
        else:
            if group.purpose is OrderPurpose.ENTRY:
                self._tracker.abandon(group)
            self._states.ended(group, outcome)
            if group.split and outcome is GroupOutcome.CANCELLED and position is not None:
                self._split(position)
        self._announce(group, outcome)

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
                reason=group.rejected or group.reason,
                limit=group.limit,
                natural=None if price is None else price.natural,
                refusal=group.refusal,
            )
        )

    # Taking over after a restart

    def adopt(self, group: OrderGroup) -> None:
        """Go on with a group that still works at the broker: an exit walks on, an entry is taken back."""
        self._groups[group.id] = group
        for order_id in group.order_ids:
            self._by_order[order_id] = group
        if group.purpose is OrderPurpose.ENTRY:
            self._cancel(group, "the process was restarted")
        else:
            group.next_step_at = self._gateway.now()

    def unwind(self, position: str, left: Package) -> None:
        """Get rid of what is left of a broken package: shorts first, longs last."""
        if position not in self._unwinds and self.group_of(position) is None:
            self._plan_unwind(position, left.legs)

    # Unwinding

    def _unwind(self, group: OrderGroup, left: Package) -> None:
        """Get rid of what filled alone: shorts are bought back first, longs are sold last."""
        self._states.step(group, OrderTrigger.UNWIND)
        if group.purpose is OrderPurpose.ENTRY:
            self._tracker.broken(group, left)
        else:
            self._tracker.exited(group)
        position = self._book.positions.get(group.position)
        self._plan_unwind(group.position, left.legs if position is None else position.legs)

    def _split(self, position: Position) -> None:
        """An exit that cannot trade whole is closed in parts, shorts first."""
        self._plan_unwind(position.id, position.legs)

    def _unwound(self, group: OrderGroup) -> None:
        self._tracker.exited(group)
        position = self._book.positions.get(group.position)
        if group.position not in self._unwinds if position is None else not position.parts:
            self._closed(group)
        else:
            self._next_unwind(group.position)

    def _closed(self, group: OrderGroup) -> None:
        self._unwinds.forget(group.position)
        self._states.closed(group.position, group.strategy)

    def _plan_unwind(self, position: str, held: tuple[Leg, ...]) -> None:
        self._unwinds.plan(position, held)
        self._next_unwind(position)

    def _next_unwind(self, position: str) -> None:
        """Send what may go now; what waits for a quote is told once and looked at again each minute."""
        part = self._unwinds.next_part(position) if position in self._unwinds else None
        if part is None:
            return
        if part.ready:
            self._send_part(position, part.ready)
        elif not part.waiting:
            self._unwinds.forget(position)  # long options that nobody bids for are left: they stay its own until gone

    def _send_part(self, position: str, legs: tuple[Leg, ...]) -> None:
        package, count = reduced(Package(legs).reversed().legs, 1)
        group = OrderGroup(
            id=self._identifiers.next("group"),
            position=position,
            strategy=self._states.strategy_of(position),
            purpose=OrderPurpose.UNWIND,
            package=package,
            contracts=count,
            created=self._gateway.now(),
            rule="unwind",
            reason="a package was left incomplete",
            urgency=Urgency.URGENT,
        )
        self._start_exit(group)

    def verify(self) -> tuple[str, ...]:
        """No group hangs without orders."""
        return tuple(f"group {group.id} has no orders" for group in self._groups.values() if not group.order_ids)

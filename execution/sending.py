"""Order groups at work: sent as one, walked from the mid through natural, cancelled, and followed to their end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from weakref import ref

from core.book import Book, EntryJudge, Refusal
from core.bus import EventBus, do_all
from core.contracts import AssetKind, Leg, Package
from core.events import FillStatus, NoticeKind, NoticeRaised, OrderUpdated
from core.gateway import Gateway, OrderRefusedError
from core.journal import Journal, RecordKind
from core.parts import LegExit
from core.settings.fields import OrderSettings
from execution.groups import OrderGroup
from execution.reports import OrderMemory, fill_gap, take_fill
from execution.states import GroupStates, describe_package
from execution.walking import OrderPace, PriceWalk, Traffic, walk_limit
from state.tables import OrderPurpose, OrderTrigger, StateError

_UPDATE_REFUSED: Final = ("failed to update", "unable to update")
"""LEAN's words in the event of a refused update (BrokerageTransactionHandler.cs:1051); its status is the old one."""
_CANCELS_BEFORE_TOLD: Final = 2
_ENDED: Final = frozenset({FillStatus.FILLED, FillStatus.CANCELLED, FillStatus.REJECTED})


class OrderGuards:
    """Counts rejections; halts entries by the bus when there are too many."""

    def __init__(self, bus: EventBus, book: Book, settings: OrderSettings) -> None:
        self._bus = bus
        self.book = book
        self._settings = settings
        self._errors: deque[datetime] = deque()
        self._in_a_row = 0

    def overlap(self, package: Package) -> Refusal | None:
        """A contract held the other way round by another package would be netted."""
        ratios = {leg.contract.name: leg.ratio for leg in package.legs}
        for position in self.book.exposed():
            for leg in position.legs:
                if ratios.get(leg.contract.name, 0) * leg.ratio < 0:
                    return Refusal("overlap", f"{leg.contract.name} is held the other way round by {position.id}")
        return None

    def rejected(self, now: datetime, message: str) -> None:
        """The broker refused: halt entries at so many in a row, or so many within an hour."""
        self._in_a_row += 1
        self._errors.append(now)
        while now - self._errors[0] > timedelta(hours=1):
            self._errors.popleft()
        if self._in_a_row >= self._settings.rejections_in_a_row:
            self._bus.halt_entries(f"{self._in_a_row} rejected orders in a row, the last: {message}")
        if len(self._errors) >= self._settings.errors_per_hour:
            self._bus.halt_entries(f"{len(self._errors)} errors of orders within an hour")

    def filled(self) -> None:
        """Something traded: the row of rejections ends."""
        self._in_a_row = 0


class WorkingGroups:
    """Every group that the broker works on; ``finished`` is called when it works nothing of one any more.

    ``foreign`` is called with what the broker says of orders that are none of ours, ``late`` with a group of which
    something filled after its end, ``priced`` when what filled unseen got its price, ``lost`` with a group of which the
    broker has no order and says nothing, ``odd`` with one of which it reported more than was ordered, and ``strange``
    with each new report on an order, before it is taken. ``doubted`` is asked before the next order of a larger package
    whether the account holds what is counted.
    """

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        states: GroupStates,
        guards: OrderGuards,
        settings: OrderSettings,
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._states = states
        self._guards = guards
        self.pace = OrderPace(gateway, settings)
        self._settings = settings
        self._walk = PriceWalk(gateway, settings)
        self._groups: dict[str, OrderGroup] = {}
        self._memory = OrderMemory()
        self.renew = self._memory.renew
        self._early: list[OrderUpdated] = []
        self.finished: Callable[[OrderGroup], None] = _nobody
        self.foreign: Callable[[OrderUpdated], None] = _nobody
        self.late: Callable[[OrderGroup], None] = _nobody
        self.priced: Callable[[OrderGroup, Leg, LegExit], None] = _no_price
        self.lost: Callable[[OrderGroup], None] = _nobody
        self.odd: Callable[[OrderGroup], None] = _nobody
        self.doubted: Callable[[Package], Refusal | None] = _no_doubt
        self.strange: Callable[[OrderUpdated], None] = _nobody
        bus.subscribe(OrderUpdated, self._on_order, component="executor", critical=True)

    def __iter__(self) -> Iterator[OrderGroup]:
        return iter(tuple(self._groups.values()))

    def __len__(self) -> int:
        return len(self._groups)

    def judged_by(self, judge: EntryJudge) -> None:
        """Ask a judge at each step of each entry from now on, after those that came before."""
        self._walk.judges.append(ref(judge))

    def is_ours(self, order_id: int) -> bool:
        """Whether an order is or was one of these groups'."""
        return self._memory.group_of(order_id) is not None

    def of(self, position: str) -> tuple[OrderGroup, ...]:
        """The groups on their way for a position."""
        return tuple(group for group in self._groups.values() if group.position == position)

    # Sending

    def send(self, group: OrderGroup, limit: float) -> Refusal | None:
        """Send a planned group; what forbids it is returned, not raised."""
        held = self._halted(group)
        if held is None and not self.pace.take(Traffic.ORDER, emergency=is_emergency(group)):
            held = Refusal("order_rate", "too many orders within a minute")
        if held is not None:
            group.rejected = held.reason
            record_step(self._journal, group, "held_back")
            self._states.refused(group, handed_over=False)
            return held
        self._groups[group.id] = group
        refused = self._hand_over(group, limit)
        return None if refused is None else self._refused(group, refused)

    def _halted(self, group: OrderGroup) -> Refusal | None:
        """What opens does not move from the moment of a halt on, though its event waits behind the one that is told."""
        why = self._bus.entries_halted if group.opens else None
        return None if why is None else Refusal("halted", why)

    def _hand_over(self, group: OrderGroup, limit: float) -> str | None:
        """Write that its order is about to leave, and send it; why it was refused, else it is followed from here on."""
        group.limit = group.acknowledged = limit
        now = group.heard_at = self._gateway.now()
        refused: str | None = None
        ids: tuple[int, ...] = ()
        try:
            with self._states.sending(group) as intent:
                try:
                    ids = self._gateway.send(group.order, group.order_contracts, limit, group.id)
                except OrderRefusedError as error:
                    refused = str(error)
                    intent.withdraw(refused)
                else:
                    intent.note(orders=ids)
        except StateError as error:
            refused = str(error)
        if refused is not None:
            return refused
        group.next_step_at = now + timedelta(seconds=self._settings.walk_interval_seconds)
        group.order_ids = ids
        self._memory.follow(group)
        record_step(self._journal, group, "sent")
        early, self._early = self._early, []
        for event in early:
            self._on_order(event)
        return None

    def _go_on_with(self, group: OrderGroup) -> None:
        """An order of a larger package filled whole: the next one leaves, or the group ends and what came is unwound.

        Judges, prices, the account and the rate are asked as before the first; what was sent so far counts as held.
        """
        group.past_ids, group.order_ids = (*group.past_ids, *group.order_ids), ()
        group.stage, group.step, group.first_fill_at = group.stage + 1, 0, None
        later = {leg.contract.name for leg in group.to_come}
        price = self._walk.price(group)
        group.refusal = (
            self._halted(group)
            or self._walk.refusal(group)
            or self.doubted(Package(tuple(leg for leg in group.package.legs if leg.contract.name not in later)))
        )
        if group.refusal is None and not self.pace.take(Traffic.ORDER):
            group.refusal = Refusal("order_rate", "too many orders within a minute")
        if group.refusal is None and price is not None:
            refused = self._hand_over(group, walk_limit(price, 0, self._settings))
            if refused is None:
                return
            group.rejected, self._early = refused, []
        group.why_ended = "" if group.refusal is None else f"only some of its orders: {group.refusal.reason}"
        self._finish(group)

    def remember(self, group: OrderGroup) -> None:
        """A group that ended while nobody looked: what the broker still says of its orders is late."""
        self._memory.follow(group)
        self._memory.ended(group, self._gateway.now().date())

    def _refused(self, group: OrderGroup, message: str) -> Refusal:
        self._groups.pop(group.id, None)
        group.rejected = message
        self._guards.rejected(self._gateway.now(), message)
        record_step(self._journal, group, "rejected")
        self._states.refused(group, handed_over=True)
        self._early = []
        return Refusal("order_refused", message)

    def adopt(self, group: OrderGroup) -> None:
        """Go on with a group that still works at the broker: an exit walks on, an entry is taken back."""
        group.acknowledged, group.heard_at = group.limit, self._gateway.now()
        self._groups[group.id] = group
        self._memory.follow(group)
        if group.opens:
            self.cancel(group, "the process was restarted")
        else:
            group.next_step_at = self._gateway.now()

    # Walking

    def advance(self, now: datetime) -> None:
        """Once a minute: walk, cross or cancel what is due, and cancel again what the broker did not take back."""
        self._memory.pass_day(now.date())
        do_all(partial(self._look_after, group, now) for group in self)

    def _look_after(self, group: OrderGroup, now: datetime) -> None:
        if group.id not in self._groups:
            return
        if self._is_lost(group, now):
            self._groups.pop(group.id)
            self._memory.ended(group, now.date())
            record_step(self._journal, group, "lost")
            self.lost(group)
        elif not group.cancelling:
            self._advance(group, now)
        else:
            self._insist(group, now)

    def _is_lost(self, group: OrderGroup, now: datetime) -> bool:
        """Whether the broker was silent for too long and showed no order of it at two looks, a minute apart."""
        limit = timedelta(seconds=self._settings.silent_seconds)
        if group.heard_at is None or now - group.heard_at < limit:
            return False
        if any(row.order_id in group.order_ids for row in self._gateway.open_orders()):
            group.absent_since = None
            return False
        group.absent_since = group.absent_since or now
        return now > group.absent_since

    def _insist(self, group: OrderGroup, now: datetime) -> None:
        """A refused cancel sends no event (lean-facts 13.11): ask again each minute, and tell of the second refusal."""
        if group.cancelled_at is None or now <= group.cancelled_at:
            return
        group.cancels += 1
        if group.cancels == _CANCELS_BEFORE_TOLD:
            text = f"{group.id} of {group.position} cannot be cancelled and works at {group.limit}: {group.why_ended}"
            self._bus.publish(NoticeRaised(time=now, kind=NoticeKind.DOUBT, text=text))
        self._take_back(group, now)

    def _take_back(self, group: OrderGroup, now: datetime) -> None:
        group.cancelled_at = now
        if not self.pace.take(Traffic.CANCEL, emergency=group.opens or is_emergency(group)):
            return
        try:
            self._gateway.cancel(group.order_ids, group.id)
        except OrderRefusedError as error:  # the next minute asks again
            record_step(self._journal, group, "cancel_refused", str(error))
        else:
            record_step(self._journal, group, "cancelled")

    def _advance(self, group: OrderGroup, now: datetime) -> None:
        timeout = timedelta(seconds=self._settings.unwind_after_seconds)
        halted = self._halted(group)
        if halted is not None:
            self.cancel(group, halted.reason)
            return
        if group.first_fill_at is not None and now - group.first_fill_at >= timeout:
            self.cancel(group, "filled in part for too long")
            return
        if group.next_step_at is None or now < group.next_step_at:
            return
        group.next_step_at = now + timedelta(seconds=self._settings.walk_interval_seconds)
        group.step += 1
        if group.opens and group.step > self._settings.walk_steps:
            self.cancel(group, "not filled by the end of its walk")
            return
        group.refusal = self._walk.refusal(group)
        if group.refusal is not None:
            self.cancel(group, group.refusal.reason)
            return
        last = self._settings.walk_steps + self._settings.split_after_steps
        if group.purpose is OrderPurpose.EXIT and group.step > last:
            group.split = len(group.package.legs) > 1
            group.step = self._settings.walk_steps
            if group.split:
                self.cancel(group, "no price fills all legs at once")
                return
        self._reprice(group)

    def _reprice(self, group: OrderGroup) -> None:
        price = self._walk.price(group)
        if price is None:
            return
        limit = self._walk.limit(group, price)
        if group.limit is not None and abs(limit - group.limit) < 1e-9:
            return
        if not self.pace.take(Traffic.UPDATE, emergency=is_emergency(group)):
            return
        before, group.limit = group.limit, limit
        taken, why = False, ""
        try:
            taken = self._gateway.reprice(group.order_ids, limit, group.id)
        except OrderRefusedError as error:
            why = str(error)
        if taken:
            self._states.step(group, OrderTrigger.REPRICE, limit=limit)
            record_step(self._journal, group, "repriced")
            return
        group.limit = before  # the next step asks again
        if why:
            record_step(self._journal, group, "price_refused", why)

    def cancel(self, group: OrderGroup, reason: str) -> None:
        """Ask the broker to take a group back; what fills on the way counts."""
        group.cancelling = True
        group.why_ended = reason
        self._states.step(group, OrderTrigger.CANCEL, reason=reason)
        self._take_back(group, self._gateway.now())

    def take_back(self, contract: str, reason: str) -> None:
        """What works on a contract is taken back: it is gone, and an order that closes it would open it."""
        hit = [row for row in self if any(leg.contract.name == contract for leg in row.package.legs)]
        do_all(partial(self.cancel, row, reason) for row in hit if not row.cancelling)

    # Broker's reports

    def _on_order(self, event: OrderUpdated) -> None:
        group = self._memory.group_of(event.order_id)
        if group is None:
            if any(not waiting.order_ids for waiting in self._groups.values()):
                self._early.append(event)
            else:
                self.strange(event)
                self.foreign(event)
            return
        leg = next((leg for leg in group.package.legs if leg.contract.name == event.contract), None)
        if leg is None:
            raise ValueError(f"{group.id}: a report on {event.contract}, which is none of its legs")
        if self._memory.is_again(event):
            return
        group.heard_at = event.time
        self.strange(event)
        if event.fill_price is not None:  # whatever the report calls itself
            self._take_fill(group, leg, event)
        elif event.fill_quantity and self._fill_gap(group, leg, event.fill_quantity):
            group.first_fill_at = group.first_fill_at or event.time
        if event.status is FillStatus.FILLED:
            self._fill_gap(group, leg)
            group.fills[event.contract].unnamed = False  # all of it: no report too many can be among them
        if group.id in self._groups:
            self._go_on(group, event)
        elif group.fresh_count:
            self.late(group)

    def _go_on(self, group: OrderGroup, event: OrderUpdated) -> None:
        """A report on a group that works: what it says beside its fill."""
        if event.status in (FillStatus.SUBMITTED, FillStatus.UPDATED):
            self._hear(group, event)
        fill = group.fills[event.contract]
        fill.done = fill.done or event.status in _ENDED
        if event.status is FillStatus.REJECTED:
            group.rejected = event.message or "rejected"
        if group.is_done and group.may_go_on:
            self._go_on_with(group)
        elif group.is_done:
            self._finish(group)

    def _hear(self, group: OrderGroup, event: OrderUpdated) -> None:
        """The broker took an order or a new price, or refused the price: then the old one stands (lean-facts 13.12)."""
        if any(words in event.message.lower() for words in _UPDATE_REFUSED):
            if group.limit != group.acknowledged:
                group.limit = group.acknowledged
                self._states.moved_back(group)
                record_step(self._journal, group, "price_refused")
            return
        if event.status is FillStatus.UPDATED:
            group.acknowledged = group.limit
        else:
            self._states.step(group, OrderTrigger.ACKNOWLEDGE)
        if not self._gateway.answers_at_once():
            rows = (row for row in self._gateway.open_orders() if row.order_id in group.order_ids)
            numbers = tuple(sorted({*group.broker_ids, *(number for row in rows for number in row.broker_ids)}))
            if numbers != group.broker_ids:
                group.broker_ids = numbers
                self._states.numbered(group)

    def _take_fill(self, group: OrderGroup, leg: Leg, event: OrderUpdated) -> None:
        listed = self.listed_fee(leg, group.opens)
        before, event = group.cash, event if event.fee else replace(event, fee=abs(event.fill_quantity) * listed)
        new, late, odd = take_fill(group, leg, event, listed, self._memory.unnamed(event.order_id))
        if late.quantity:
            self.priced(group, leg, late)
        if odd:
            if not new and group.cash != before:  # another price is true
                self._states.filled_some(group)
            record_step(self._journal, group, "reported_again")
            self.odd(group)
        if not new:
            return
        if group.first_fill_at is None:
            group.first_fill_at = event.time
            self._guards.filled()
        if not group.is_filled:
            self._states.filled_some(group)
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
            quantity=new,
            price=event.fill_price or 0.0,
            fee=event.fee,
            bid=None if quote is None else quote.bid,
            ask=None if quote is None else quote.ask,
        )

    def listed_fee(self, leg: Leg, opens: bool) -> float:
        """Dollars a contract that a fill costs of which no report tells a fee: live, tastytrade's tell none (13.17)."""
        on_future = leg.contract.underlying.kind is AssetKind.FUTURE
        return self._settings.fee(on_future, opens) if self._gateway.is_live() else 0.0

    def _fill_gap(self, group: OrderGroup, leg: Leg, told: float | None = None) -> bool:
        """All of a leg filled (or what a report without a price told), and a report of some is on its way or lost."""
        held = {row.name: row for row in self._gateway.holdings()}.get(leg.contract.name) if group.opens else None
        listed, others = self.listed_fee(leg, group.opens), self._guards.book.paid_for(leg.contract.name)
        found = fill_gap(group, leg, held, listed, told, others, self._gateway.quote(leg.contract))
        if found:
            record_step(self._journal, group, "filled_unseen")
            if not group.is_filled:  # else it is over, and written then
                self._states.filled_some(group)
        return found

    def _finish(self, group: OrderGroup) -> None:
        self._groups.pop(group.id, None)
        self._memory.ended(group, self._gateway.now().date())
        self._gateway.forget((*group.past_ids, *group.order_ids))
        if group.rejected and not group.is_filled:
            self._guards.rejected(self._gateway.now(), group.rejected)
            record_step(self._journal, group, "rejected")
        self.finished(group)


def is_emergency(group: OrderGroup) -> bool:
    """Whether ordinary traffic may not hold it back."""
    return group.urgency.crosses or group.purpose is OrderPurpose.UNWIND


def _nobody(_subject: object) -> None:
    """Until somebody wants to know."""


def _no_price(_group: OrderGroup, _leg: Leg, _exit: LegExit) -> None:
    """Until somebody wants to know."""


def _no_doubt(_package: Package) -> Refusal | None:
    """Until somebody knows the account."""
    return None


def record_step(journal: Journal, group: OrderGroup, action: str, words: str = "") -> None:
    """Journal one step in the life of a group, with the rule that ended its walk, or the engine's words."""
    refusal = group.refusal or Refusal("", "")
    journal.record(
        RecordKind.ORDER,
        component="executor",
        reason=words or group.rejected or group.why_ended or group.reason,
        correlation=group.correlation,
        group=group.id,
        position=group.position,
        strategy=group.strategy,
        action=action,
        purpose=group.purpose,
        contracts=group.order_contracts,
        limit_cash=group.limit,
        legs=describe_package(group.order),
        rule=refusal.rule or None,
        limit=refusal.limit,
        observed=refusal.observed,
    )

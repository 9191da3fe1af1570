"""After a start, at every session's open and on a person's word: the book, the state and the broker must agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from math import nan
from typing import Any

from core.book import Book, Position, ShareHolding
from core.bus import EventBus
from core.contracts import Leg, Package, uncovered
from core.events import (
    BrokerReconnected,
    ChangeKind,
    Command,
    CommandReceived,
    FillStatus,
    NoticeKind,
    NoticeRaised,
    Request,
)
from core.factory import Manager
from core.gateway import MOST_HELD, Gateway, Holding
from core.identifiers import Identifiers
from core.instruments import contract_named, underlying_named
from core.parts import LegExit, Part, Urgency
from core.settings.fields import OrderSettings
from execution.executor import AtomicExecutor
from execution.groups import BROKEN, Change, LegFill, OrderGroup, allotted
from execution.states import rebuild_numbers, rebuild_package, rebuild_plans, rebuild_position, rebuild_trade
from execution.tracker import PositionTracker
from execution.walking import guess_price
from state.facts import SHARES, BrokerFacts, BrokerHolding, BrokerOrder, Reconciliation
from state.ledger import Subject
from state.manager import HierarchicalStateManager
from state.recovery import Recovery
from state.store import UNREADABLE
from state.tables import CorruptStoreError, OrderPurpose, PositionState, SystemState, SystemTrigger

UNOWNED = "unowned"
"""Under which state remembers what the account held of nobody at the last certain look."""
OUTSIDE = "outside"
"""Under which state remembers what others traded in contracts of ours."""


class BrokerLooks:
    """Looks at the broker, and knows when what it does not show counts as not there.

    A live broker's orders and holdings arrive in a stream, so an order accepted seconds before a kill may be missing at
    first: absence is believed only at a second look, ``orders.settle_seconds`` after it. Where the broker answers
    at once (a backtest) one look is enough.
    """

    def __init__(self, gateway: Gateway, recovery: Recovery, settings: OrderSettings) -> None:
        self._gateway = gateway
        self._recovery = recovery
        self._settle = timedelta(seconds=settings.settle_seconds)
        self._first: datetime | None = None
        self._old = False
        self._every = timedelta(minutes=settings.reconcile_minutes)
        self._looked: datetime | None = None
        self._options: dict[str, float] | None = None
        self.believed = True
        """Whether the engine's picture of the account has every fill, as far as is known."""
        self._orders: set[tuple[str, ...]] = set()

    def known(self, unowned: Mapping[str, float] | None) -> None:
        """What the account held of nobody when it was last looked at; ``None``: it never was."""
        self._options = None if unowned is None else {name: float(count) for name, count in unowned.items()}

    def is_due(self, now: datetime) -> bool:
        """Whether the last look is as long ago as looks are apart."""
        return self._looked is None or now - self._looked >= self._every

    def strangers(self, outcome: Reconciliation) -> list[str]:
        """Orders and holdings in options that came since the last certain look and are none of ours; each once."""
        found: list[str] = []
        if self._gateway.answers_at_once() or not self.certain or not self.believed:
            return found
        for order in outcome.foreign_orders:
            key = order.broker_ids or (str(order.order_id),)
            if key not in self._orders and contract_named(order.contract) is not None:
                found.append(f"an order of {order.quantity:g} {order.contract} works")
            self._orders.add(key)
        before, self._options = self._options, {row.contract: row.quantity for row in outcome.unowned}
        if before is not None:
            more = [row for row in outcome.unowned if abs(row.quantity) > abs(before.get(row.contract, 0.0))]
            found += [f"{row.quantity:g} {row.contract} came" for row in more if contract_named(row.contract)]
        return found

    def stood_by(self) -> None:
        """Another process traded since this one's engine read the account: what it shows may be old.

        Only a start reads an account anew (lean-facts 13), so absence is believed once state and account agree.
        """
        self._old = True

    def start_over(self) -> None:
        """The stream began anew: what comes first may be incomplete again."""
        self._first = None

    def reconcile(self, in_flight: Collection[str]) -> Reconciliation | None:
        """Compare with what the broker shows now; ``None`` before its holdings and orders were loaded at all."""
        if not self._gateway.broker_seen():
            return None
        self._looked = self._gateway.now()
        if self._first is None:
            self._first = self._gateway.now()
        outcome = self._recovery.reconcile(self._facts(), in_flight)
        self._old = self._old and bool(outcome.in_doubt)
        return outcome

    @property
    def old(self) -> bool:
        """Whether the engine's picture of the account is older than the state, so that a new start is needed."""
        return self._old and self._settled

    @property
    def certain(self) -> bool:
        """Whether what the broker does not show now is not there."""
        return self._gateway.answers_at_once() or (self._settled and not self._old)

    @property
    def _settled(self) -> bool:
        return self._first is not None and self._gateway.now() - self._first >= self._settle

    def _facts(self) -> BrokerFacts:
        today = self._gateway.now().date()
        rows = [row for row in self._gateway.holdings() if not _is_over(row.name, today)]
        holdings = tuple(BrokerHolding(row.name, row.quantity) for row in rows)
        orders = tuple(
            BrokerOrder(row.order_id, row.name, row.quantity, None, FillStatus.SUBMITTED, row.tag, row.broker_ids)
            for row in self._gateway.open_orders()
        )
        possible = all(row.is_possible for row in rows)
        return BrokerFacts(today, holdings, orders, certain=self.certain and self.believed and possible)

    def verify(self) -> tuple[str, ...]:
        """The state's own recovery says what is wrong."""
        return self._recovery.verify()


class OrderRecovery(Manager):
    """Rebuilds the book from state and reconciles both with what the broker says."""

    def __init__(
        self,
        bus: EventBus,
        gateway: Gateway,
        book: Book,
        tracker: PositionTracker,
        executor: AtomicExecutor,
        identifiers: Identifiers,
        state: HierarchicalStateManager,
        looks: BrokerLooks,
    ) -> None:
        self._bus = bus
        self._gateway = gateway
        self._book = book
        self._tracker = tracker
        self._executor = executor
        self._identifiers = identifiers
        self._state = state
        self._looks = looks
        self._certain = self._looking = False
        bus.serve(Request.ACCOUNT_LOOK, self.reconcile)
        bus.subscribe(BrokerReconnected, self._on_reconnected, component="recovery", critical=True)
        bus.subscribe(CommandReceived, self._on_command, component="recovery", critical=True)

    def start(self, *, stood_by: bool = False) -> None:
        """Take over from the last process: rebuild, reconcile, then allow trading.

        ``stood_by``: another process traded after this one's engine read the account.
        """
        if stood_by:
            self._looks.stood_by()
        self._looks.known(self._state.recall(UNOWNED))
        self._state.start()
        for name in self._state.names():
            self._identifiers.observe(name)
        torn = [row for row in self._state.positions(ended=True) if row.ended and row.detail.get("parts")]
        known = [*self._state.positions(), *torn]  # torn: ended by a look, and killed before its parts were told
        legs = [_package_of(row).underlying.price_key for row in known]
        shares = rebuild_numbers(SHARES, self._state.recall(SHARES), 3)
        self._gateway.watch([*legs, *shares])
        for ticker, row in shares.items():
            self._book.shares[ticker] = ShareHolding(ticker, *(figure or 0.0 for figure in row))
        for name, (quantity, cash, fees) in rebuild_numbers(OUTSIDE, self._state.recall(OUTSIDE), 3).items():
            self._tracker.outside[name] = LegExit(quantity or 0.0, cash, fees or 0.0)
        for subject in known:
            position = rebuild_position(subject)
            if position is not None:
                self._book.positions[position.id] = position
                self._gateway.subscribe(leg.contract for leg in position.legs)
        self._recall_trades()
        self.reconcile()

    def _recall_trades(self) -> None:
        """Trades that closed since the record was last kept, and rows of them that the journal may lack."""
        known = {(trade.position, trade.part, trade.closed) for trade in self._book.trades}
        for subject in self._state.positions(ended=True):
            for trade in map(rebuild_trade, subject.detail.get("trades", ())):
                if (trade.position, trade.part, trade.closed) not in known:
                    self._book.trades.append(trade)
            rows = subject.detail.get("untold", ())
            if rows:
                self._tracker.tell(rows)
                self._executor.states.told(subject.id)
        self._book.trades.sort(key=lambda trade: trade.closed)

    @property
    def settled(self) -> bool:
        """Whether the last look left nothing open; until then look again each minute."""
        return self._certain and not self._book.doubted and not self._executor.account.look_soon

    def is_due(self, now: datetime) -> bool:
        """Whether the last look, for whatever reason, is so long ago; only a live account has other hands in it."""
        return self._looks.is_due(now)

    def reconcile(self) -> Reconciliation:
        """Compare with the broker's facts; what the state learned, the book follows.

        Never while an act is between its two records: its order may be at the broker already and look like nobody's
        (recording R), nor while a look is being taken; the next minute looks instead. A system that recovers goes on
        only after a look that was certain: nothing opens before.
        """
        if self._looking or self._state.acting:
            self._executor.account.look_soon = True
            return Reconciliation()
        self._looking, self._executor.account.look_soon = True, False
        try:
            return self._reconcile()
        finally:
            self._looking = False

    def _reconcile(self) -> Reconciliation:
        self._looks.believed = not self._executor.account.in_doubt
        outcome = self._looks.reconcile(self._executor.followed)
        if outcome is None:
            return Reconciliation()
        self._book.doubted = outcome.in_doubt
        self._tracker.unsure |= outcome.unsure
        self._certain = self._looks.certain
        self._tell_of_others(outcome)
        self._adopt()
        self._count_unowned(outcome)
        if outcome.orders_to_cancel:
            self._gateway.cancel(outcome.orders_to_cancel, "orphan")
        for subject in self._in_state(PositionState.UNWINDING):  # it goes on, whatever ended meanwhile
            self._executor.go_on_unwinding(subject.id, subject.detail.get("unwinding", ()))
        self._executor.account.assigned(outcome.assigned)
        self._fold()
        self._reopen(outcome)
        for subject in self._in_state(PositionState.ASSIGNED):
            self._take_shares(subject)
        for position in list(self._book.positions.values()):
            # What a group on its way has filled is its own to tell: taken here too, it would count twice.
            if position.id not in self._book.doubted and self._executor.group_of(position.id) is None:
                self._follow(position)
        for subject in self._in_state(PositionState.UNWINDING):
            if subject.id not in self._book.doubted:
                self._unwind(subject)
        self._state.remember(OUTSIDE, {name: [row.quantity, row.cash, row.fees] for name, row in self._outside()})
        if self.settled and self._state.system in (SystemState.STARTING, SystemState.RECOVERING):
            self._state.fire_system(SystemTrigger.READY)
        return outcome

    def _in_state(self, state: PositionState) -> list[Subject]:
        return [subject for subject in self._state.positions() if subject.state == state]

    def _tell_of_others(self, outcome: Reconciliation) -> None:
        """Somebody else trades this account: nothing new opens beside what this process cannot know of.

        Where the store is a copy made at deployment (the cloud), a forgotten deployment shows in no other way.
        """
        if self._looks.old:
            text = "another process traded while this one stood by, LEAN shows an older account: start this one anew"
            self._bus.publish(NoticeRaised(time=self._gateway.now(), kind=NoticeKind.EMERGENCY, text=text))
        strangers = self._looks.strangers(outcome)
        if strangers:
            self._bus.halt_entries(f"somebody else trades in this account: {', '.join(strangers)}")

    def _outside(self) -> list[tuple[str, LegExit]]:
        return sorted(self._tracker.outside.items())

    def _count_unowned(self, outcome: Reconciliation) -> None:
        """What belongs to nobody counts for Greeks: its prices are asked for, and a change of it is told."""
        unowned = {row.contract: row.quantity if abs(row.quantity) < MOST_HELD else nan for row in outcome.unowned}
        if unowned == self._book.unowned or self._book.doubted or not self._looks.believed:
            return
        self._executor.splits.look(self._gateway.now(), unowned)  # while the book still has what went
        self._book.unowned = unowned
        contracts = [found for found in map(contract_named, unowned) if found is not None]
        shares = [name for name in unowned if underlying_named(name) is not None]
        self._gateway.watch([*shares, *(contract.underlying.price_key for contract in contracts)])
        self._gateway.subscribe(contracts)
        self._tracker.announce("unowned", "", "", ChangeKind.CORRECTED, 0.0, 0.0)

    def _adopt(self) -> None:
        """Go on with groups that work at the broker and that nobody follows: those of the process before."""
        followed = set(self._executor.followed)
        for subject in self._state.order_groups():
            if subject.parent in self._book.doubted or subject.id in followed:
                continue
            group = self._rebuild_group(subject)
            self._gateway.subscribe(leg.contract for leg in group.package.legs)
            self._executor.adopt(group)

    def _fold(self) -> None:
        """Groups that ended while nobody followed them: what they filled becomes their positions'."""
        for subject in self._state.order_groups(ended=True):
            counted = subject.detail.get("folded") or subject.detail.get("never_sent")
            if not subject.ended or counted or subject.parent in self._book.doubted:
                continue
            group = self._rebuild_group(subject)
            self._gateway.subscribe(leg.contract for leg in group.package.legs if not group.is_untouched)
            self._executor.ended_before(group)

    def _reopen(self, outcome: Reconciliation) -> None:
        """Groups that ended, and of which something fills or filled all the same: they are known again."""
        for name in dict.fromkeys(outcome.orphans.values()):
            group = self._rebuild_group(self._state.order_group(name))
            group.order_ids = tuple(number for number, owner in outcome.orphans.items() if owner == name)
            group.take()
            self._executor.remember(group)
        for name, late in outcome.late.items():
            subject = self._state.order_group(name)
            group = self._rebuild_group(subject)
            group.take()
            self._gateway.subscribe(leg.contract for leg in group.package.legs)
            filled = {leg: subject.detail.get("filled", {}).get(leg, 0.0) + quantity for leg, quantity in late.items()}
            now = {**subject.detail, "filled": {**subject.detail.get("filled", {}), **filled}}
            holdings = {row.name: row for row in self._gateway.holdings()}
            for leg in group.package.legs:
                if leg.contract.name in late:
                    fill = self._rebuild_fill(group, leg, now, holdings.get(leg.contract.name))
                    group.fills[leg.contract.name] = fill
            self._executor.came_late(group)

    def _follow(self, position: Position) -> None:
        """The account does not hold all of a position any more: its parts follow, and what broke is unwound.

        What goes is worked out first, so that each record names all that is unwound by it: none is lost with a process.
        """
        held, today, bare = self._state.held(position.id), self._gateway.now().date(), uncovered(position.legs)
        changes: list[Change] = []
        expired, differing = set[str](), set[str]()
        for part, has in allotted(position, held):
            for leg in part.legs:
                if leg.contract.expiry < today and not has[leg.contract.name]:  # unknown without a close of that day
                    change = self._tracker.of_end(position, leg, self._tracker.close_of(leg.contract), part.name)
                    position, changes = change.after, [*changes, change]
                    expired.add(part.name)
            left = position.part(part.name)
            difference = None
            if left is not None:
                difference = self._tracker.of_difference(position, left, has, "the account no longer holds it")
            if difference is not None:
                position, changes = difference.after, [*changes, difference]
                differing.add(part.name)
        torn = [part for part in position.parts if not part.is_whole]  # longs alone are left to their expiry
        broken = {part.name for part in torn if part.name in differing or _is_bare(part, expired)}
        if uncovered(position.legs) > bare:  # each part may be whole, and a short of one have lost its hedge in another
            broken |= {part.name for part in position.parts if uncovered(part.legs)}
        for change in changes:
            self._executor.left_account(change, sorted(broken), counted=True)
        if broken:
            self._executor.unwind(position.id, sorted(broken))

    def _take_shares(self, subject: Subject) -> None:
        """Assigned while away: the option legs that went are counted, the shares are to be sold, the rest unwound."""
        held = self._state.held(subject.id)
        options = {name: quantity for name, quantity in held.items() if underlying_named(name) is None}
        tickers = [name for name in held if underlying_named(name) is not None]
        prices = {ticker: tick.price for ticker in tickers if (tick := self._gateway.tick(ticker)) is not None}
        if len(prices) < len(tickers):
            return  # no price yet: the next look tells
        for ticker in tickers:
            self._tracker.take_shares(ticker, held[ticker], prices[ticker])
        self._executor.states.shares()
        self._state.correct_held(subject.id, options)
        position = self._book.positions.get(subject.id)
        names = set[str]()
        for leg in () if position is None else position.legs:
            if position is not None and leg.contract.name not in options:
                names |= {part.name for part in position.parts if leg in part.legs}
                change = self._tracker.of_assignment(position, leg)
                self._executor.left_account(change, counted=True)
                position = change.after
        if options:
            self._executor.unwind(subject.id, sorted(names))
        else:
            self._executor.states.changed(None, subject.id, (), busy=False)

    def _unwind(self, subject: Subject) -> None:
        """Go on with what is being unwound; parts that are whole are left alone."""
        position = self._book.positions.get(subject.id)
        if position is None:
            return
        named = [part.name for part in position.parts if part.name in subject.detail.get("unwinding", ())]
        loose = [part.name for part in position.parts if not part.is_whole or part.name.endswith(BROKEN)]
        self._executor.unwind(subject.id, named or loose)

    def _rebuild_group(self, subject: Subject) -> OrderGroup:
        """A group out of what its state remembers; what filled unseen is priced by the account, or by nobody.

        Raises CorruptStoreError for values that no group has.
        """
        try:
            group = self._group_of(subject)
        except UNREADABLE as error:
            raise CorruptStoreError(f"order group {subject.id}: {type(error).__name__}: {error}") from error
        at_work = {row.name for row in self._gateway.open_orders() if row.order_id in group.order_ids}
        for name, fill in group.fills.items():
            fill.done = name not in at_work
        return group

    def _group_of(self, subject: Subject) -> OrderGroup:
        detail: dict[str, Any] = dict(subject.detail)
        position = self._state.position(subject.parent)
        package = _package_of(subject)
        plans = rebuild_plans(detail.get("plans", ()))
        group = OrderGroup(
            id=subject.id,
            position=position.id,
            strategy=position.parent,
            purpose=OrderPurpose(str(detail["purpose"])),
            package=package,
            contracts=int(detail["contracts"]),
            created=self._gateway.now(),
            terms=plans[0].terms if plans else None,
            plans=plans,
            parts=tuple(str(name) for name in detail.get("parts", ())) if not plans else (),
            slot=str(position.detail.get("slot", "")),
            correlation=str(position.detail.get("correlation", "")),
            rule=str(detail.get("rule", "")),
            reason=str(detail.get("reason") or "taken over after a restart"),
            urgency=Urgency(str(detail.get("urgency", Urgency.NORMAL.value))),
            limit=_number(detail.get("limit")),
            order_ids=tuple(int(number) for number in detail.get("orders", ())),
            broker_ids=tuple(str(number) for number in detail.get("broker_ids", ())),
        )
        holdings = {row.name: row for row in self._gateway.holdings()}
        for leg in package.legs:
            name = leg.contract.name
            fill = group.fills[name] = self._rebuild_fill(group, leg, detail, holdings.get(name))
            fill.unnamed = bool(fill.quantity)  # which reports of it were taken, the process before knew
            if not fill.priced:
                guess_price(group, leg, fill.unpriced, self._gateway.quote(leg.contract))
        return group

    def _rebuild_fill(self, group: OrderGroup, leg: Leg, detail: Mapping[str, Any], held: Holding | None) -> LegFill:
        """What a leg filled; of an entry, what nobody saw is priced by the account's average."""
        name, multiplier = leg.contract.name, leg.contract.multiplier
        quantity = float(detail.get("filled", {}).get(name, 0.0))
        total, fees = (float(detail.get(kind, {}).get(name, 0.0)) for kind in ("cash", "fees"))
        priced, charged = (float(detail.get(kind, {}).get(name, 0.0)) for kind in ("priced", "charged"))
        unseen = quantity - priced
        fees += max(abs(quantity) - abs(charged or priced), 0.0) * self._executor.listed_fee(leg, group.opens)
        if abs(unseen) < 0.5:
            return LegFill(quantity, total, fees)
        if group.opens and held is not None and held.average_price:
            paid = self._book.paid_for(name)
            if abs(held.quantity - quantity - paid[0]) < 0.5:  # the average is of all that is held: the rest is known
                return LegFill(quantity, paid[1] * multiplier - held.quantity * held.average_price * multiplier, fees)
            return LegFill(quantity, total - unseen * held.average_price * multiplier, fees)
        return LegFill(quantity, total, fees, unpriced=unseen)

    def _on_reconnected(self, _event: BrokerReconnected) -> None:
        self._looks.start_over()
        self.reconcile()

    def _on_command(self, event: CommandReceived) -> None:
        if event.command is Command.RECONCILE:
            self.reconcile()


def _package_of(subject: Subject) -> Package:
    """What a position or an order group trades. Raises CorruptStoreError where that was not written."""
    rows = subject.detail.get("package")
    if not isinstance(rows, list):
        raise CorruptStoreError(f"{subject.level.value} {subject.id}: package {str(rows)[:40]!r}; expected its legs")
    return rebuild_package(rows)


def _is_over(name: str, today: date) -> bool:
    """An expired contract may stand in LEAN's portfolio the next morning (Lean issues 5016, 5545): no position."""
    contract = contract_named(name)
    return contract is not None and contract.expiry < today


def _is_bare(part: Part, expired: Collection[str]) -> bool:
    """Whether legs of a part expired and a short of it is left."""
    return part.name in expired and not part.is_left_to_expire


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

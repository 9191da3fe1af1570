"""After a start, at every session's open and on a person's word: the book, the state and the broker must agree."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from core.book import Book, Position, ShareHolding, position_of
from core.bus import EventBus
from core.contracts import Leg, Package
from core.events import (
    BrokerReconnected,
    ChangeKind,
    Command,
    CommandReceived,
    FillStatus,
    Level,
    PositionChanged,
)
from core.gateway import Gateway
from core.identifiers import Identifiers
from core.instruments import contract_named, underlying_named
from core.parts import WHOLE, Part, PartPlan
from core.settings.fields import OrderSettings
from execution.executor import AtomicExecutor
from execution.groups import LegFill, OrderGroup, rebuild_package, rebuild_terms
from execution.settling import fewer
from execution.tracker import PositionTracker
from state.facts import SHARES, BrokerFacts, BrokerHolding, BrokerOrder, Reconciliation
from state.ledger import Subject
from state.manager import HierarchicalStateManager
from state.recovery import Recovery
from state.tables import OrderPurpose, PositionState, PositionTrigger, SystemState, SystemTrigger


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

    def start_over(self) -> None:
        """The stream began anew: what comes first may be incomplete again."""
        self._first = None

    def reconcile(self, in_flight: Collection[str]) -> Reconciliation | None:
        """Compare with what the broker shows now; ``None`` before its holdings and orders were loaded at all."""
        if not self._gateway.broker_seen():
            return None
        if self._first is None:
            self._first = self._gateway.now()
        return self._recovery.reconcile(self._facts(), in_flight)

    @property
    def certain(self) -> bool:
        """Whether what the broker does not show now is not there."""
        if self._gateway.answers_at_once():
            return True
        return self._first is not None and self._gateway.now() - self._first >= self._settle

    def _facts(self) -> BrokerFacts:
        holdings = tuple(BrokerHolding(row.name, row.quantity) for row in self._gateway.holdings())
        orders = tuple(
            BrokerOrder(row.order_id, row.name, row.quantity, None, FillStatus.SUBMITTED, row.tag)
            for row in self._gateway.open_orders()
        )
        return BrokerFacts(self._gateway.now().date(), holdings, orders, certain=self.certain)

    def verify(self) -> tuple[str, ...]:
        """The state's own recovery says what is wrong."""
        return self._recovery.verify()


class OrderRecovery:
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
        self._certain = False
        bus.subscribe(BrokerReconnected, self._on_reconnected, component="recovery", critical=True)
        bus.subscribe(CommandReceived, self._on_command, component="recovery", critical=True)

    def start(self) -> None:
        """Take over from the last process: rebuild, reconcile, then allow trading."""
        self._state.start()
        for name in self._state.names():
            self._identifiers.observe(name)
        legs = [rebuild_package(list(row.detail["package"])).underlying.price_key for row in self._state.positions()]
        self._gateway.watch([*legs, *(self._state.recall(SHARES) or {})])
        for ticker, row in (self._state.recall(SHARES) or {}).items():
            self._book.shares[ticker] = ShareHolding(ticker, *(float(figure) for figure in row))
        for subject in self._state.positions():
            position = rebuild_position(subject)
            if position is not None:
                self._book.positions[position.id] = position
                self._gateway.subscribe(leg.contract for leg in position.legs)
                self._tracker.agree(position, self._state.held(position.id), "closed before the restart")
        self.reconcile()

    @property
    def settled(self) -> bool:
        """Whether the last look left nothing open; until then look again each minute."""
        return self._certain and not self._book.doubted

    def reconcile(self) -> Reconciliation:
        """Compare with the broker's facts; what the state learned, the book follows.

        A system that recovers goes on only after a look that was certain: nothing opens before.
        """
        followed = (self._executor.group_of(position.id) for position in self._state.positions())
        outcome = self._looks.reconcile([group.id for group in followed if group is not None])
        if outcome is None:
            return Reconciliation()
        self._book.doubted = outcome.in_doubt
        self._certain = self._looks.certain
        self._adopt()
        self._count_unowned(outcome)
        if outcome.orders_to_cancel:
            self._gateway.cancel(outcome.orders_to_cancel, "orphan")
        for name in outcome.positions_to_unwind:
            self._unwind(name)
        for subject in self._state.positions():
            if subject.state == PositionState.ASSIGNED:
                self._take_assigned(subject)
        alive = {subject.id for subject in self._state.positions()}
        for position in list(self._book.positions.values()):
            if position.id not in alive:
                self._tracker.agree(position, {}, "the account no longer holds it")
        self._follow()
        if self.settled and self._state.system in (SystemState.STARTING, SystemState.RECOVERING):
            self._state.fire_system(SystemTrigger.READY)
        return outcome

    def _count_unowned(self, outcome: Reconciliation) -> None:
        """What belongs to nobody counts for Greeks: its prices are asked for, and a change of it is told."""
        unowned = {row.contract: row.quantity for row in outcome.unowned}
        if unowned == self._book.unowned or self._book.doubted:
            return
        self._book.unowned = unowned
        contracts = [found for found in map(contract_named, unowned) if found is not None]
        shares = [name for name in unowned if underlying_named(name) is not None]
        self._gateway.watch([*shares, *(contract.underlying.price_key for contract in contracts)])
        self._gateway.subscribe(contracts)
        self._tracker.announce("unowned", "", "", ChangeKind.CORRECTED, 0.0, 0.0)

    def _adopt(self) -> None:
        """Go on with groups that work at the broker and that nobody follows: those of the process before."""
        for subject in self._state.order_groups():
            if subject.parent in self._book.doubted or self._executor.group_of(subject.parent) is not None:
                continue
            group = self._rebuild_group(subject)
            self._gateway.subscribe(leg.contract for leg in group.package.legs)
            self._executor.adopt(group)

    def _follow(self) -> None:
        """Let the book hold what the state learned: entries that filled unseen, and fewer packages than there were."""
        for subject in self._state.positions():
            if subject.state != PositionState.OPEN:
                continue
            held = self._state.held(subject.id)
            package = rebuild_package(list(subject.detail["package"]))
            counts = {round(held.get(leg.contract.name, 0.0) / leg.ratio) for leg in package.legs}
            contracts = counts.pop()
            if counts or contracts < 1:
                continue
            known = self._book.positions.get(subject.id)
            if known is None:
                self._take_in(subject, package, contracts)
            elif known.parts[0].is_whole and known.parts[0].contracts != contracts:
                self._keep(fewer(known, contracts), ChangeKind.CORRECTED, 0.0)

    def _take_in(self, subject: Subject, package: Package, contracts: int) -> None:
        """An entry that filled unseen: the broker's average prices tell its cash; its fees are in nobody's report."""
        averages = {row.name: row.average_price for row in self._gateway.holdings()}
        prices = tuple(averages[leg.contract.name] for leg in package.legs)
        cash = -sum(
            leg.ratio * contracts * price * leg.contract.multiplier
            for leg, price in zip(package.legs, prices, strict=True)
        )
        part = Part(
            name=WHOLE,
            package=package,
            contracts=contracts,
            opened=subject.created,
            entry_prices=prices,
            entry_cash=cash,
            entry_fees=0.0,
            terms=rebuild_terms(subject.detail["terms"]),
        )
        position = position_of(subject.id, part, str(subject.detail.get("correlation", "")))
        self._book.pending.pop(position.id, None)
        self._gateway.subscribe(leg.contract for leg in package.legs)
        self._keep(position, ChangeKind.OPENED, cash)

    def _keep(self, position: Position, kind: ChangeKind, cash: float) -> None:
        self._book.positions[position.id] = position
        part = position.parts[0]
        self._state.note(
            Level.POSITION,
            position.id,
            contracts=part.contracts,
            entry_prices=part.entry_prices,
            entry_cash=part.entry_cash,
            entry_fees=part.entry_fees,
            opened=position.opened,
            correlation=position.correlation,
        )
        self._bus.publish(
            PositionChanged(
                time=self._gateway.now(),
                correlation=position.correlation,
                position=position.id,
                strategy=position.strategy,
                kind=kind,
                cash=cash,
                fees=0.0,
            )
        )

    def _take_assigned(self, subject: Subject) -> None:
        """Assigned while away: the option legs that went are counted, the shares are to be sold, the rest unwound."""
        held = self._state.held(subject.id)
        options = {name: quantity for name, quantity in held.items() if underlying_named(name) is None}
        position = self._book.positions.get(subject.id)
        for ticker in [name for name in held if underlying_named(name) is not None]:
            tick = self._gateway.tick(ticker)
            if tick is None:
                return  # no price yet: the next look tells
            self._tracker.take_shares(ticker, held[ticker], tick.price)
        self._executor.states.shares()
        self._state.correct_held(subject.id, options)
        for leg in () if position is None else position.legs:
            if position is not None and leg.contract.name not in options:
                position = self._tracker.settle(position, leg, assigned=True).position
        self._state.fire(Level.POSITION, subject.id, PositionTrigger.UNWIND if options else PositionTrigger.CLOSED)
        if options:
            package = rebuild_package(list(subject.detail["package"]))
            legs = tuple(
                Leg(leg.contract, round(options[leg.contract.name]))
                for leg in package.legs
                if leg.contract.name in options
            )
            self._executor.unwind(subject.id, Package(legs))

    def _unwind(self, name: str) -> None:
        """Send off what is left of a broken package; a position with its package whole in the book is left alone."""
        held = self._state.held(name)
        package = rebuild_package(list(self._state.position(name).detail["package"]))
        legs = [
            Leg(leg.contract, round(held[leg.contract.name])) for leg in package.legs if held.get(leg.contract.name)
        ]
        known = self._book.positions.get(name)
        if known is not None:
            self._tracker.agree(known, held, "the account no longer holds it")
        if legs:
            self._gateway.subscribe(leg.contract for leg in legs)
            self._executor.unwind(name, Package(tuple(legs)))

    def _rebuild_group(self, subject: Subject) -> OrderGroup:
        """A working group out of what its state remembers."""
        detail: dict[str, Any] = dict(subject.detail)
        position = self._state.position(subject.parent)
        package = rebuild_package(list(detail["package"]))
        terms = position.detail.get("terms")
        group = OrderGroup(
            id=subject.id,
            position=position.id,
            strategy=position.parent,
            purpose=OrderPurpose(str(detail["purpose"])),
            package=package,
            contracts=int(detail["contracts"]),
            created=self._gateway.now(),
            terms=None if terms is None else rebuild_terms(terms),
            plans=() if terms is None else (PartPlan(WHOLE, package, rebuild_terms(terms)),),
            rule=str(detail.get("rule", "")),
            reason="taken over after a restart",
            limit=_number(detail.get("limit")),
            order_ids=tuple(int(number) for number in detail.get("orders", ())),
        )
        filled = dict(detail.get("filled", {}))
        at_work = {row.name for row in self._gateway.open_orders() if row.tag == subject.id}
        for leg in package.legs:
            name = leg.contract.name
            group.fills[name] = LegFill(quantity=float(filled.get(name, 0.0)), done=name not in at_work)
        return group

    def _on_reconnected(self, _event: BrokerReconnected) -> None:
        self._looks.start_over()
        self.reconcile()

    def _on_command(self, event: CommandReceived) -> None:
        if event.command is Command.RECONCILE:
            self.reconcile()

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it once it was made."""
        return ()


def rebuild_position(subject: Subject) -> Position | None:
    """An open position out of what its state remembers; ``None`` for one that never opened."""
    if subject.state in (PositionState.PLANNED, PositionState.OPENING) or "entry_cash" not in subject.detail:
        return None
    detail: dict[str, Any] = dict(subject.detail)
    part = Part(
        name=WHOLE,
        package=rebuild_package(list(detail["package"])),
        contracts=int(detail["contracts"]),
        opened=datetime.fromisoformat(str(detail["opened"])),
        entry_prices=tuple(float(price) for price in detail["entry_prices"]),
        entry_cash=float(detail["entry_cash"]),
        entry_fees=float(detail["entry_fees"]),
        terms=rebuild_terms(detail["terms"]),
    )
    return position_of(
        subject.id,
        part,
        str(detail.get("correlation", "")),
        spot_entry=_number(detail.get("spot_entry")),
        vix_entry=_number(detail.get("vix_entry")),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

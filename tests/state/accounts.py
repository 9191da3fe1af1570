"""State on one side, the broker's facts on the other."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from core.bus import EventBus
from core.clock import MarketClock
from core.contracts import AssetKind, Contract, ExerciseStyle, Leg, Package, Right, Settlement, Underlying
from core.events import FillStatus, Level
from core.journal import Journal, MemorySink, RecordKind
from core.storage import FolderStorage
from state.facts import (
    BrokerFacts,
    BrokerHolding,
    BrokerOrder,
    DifferenceKind,
    Reconciliation,
    changes_of,
    instruments_of,
)
from state.manager import HierarchicalStateManager
from state.recovery import Recovery
from state.store import StateStore, StoreOptions
from state.tables import OrderPurpose, OrderTrigger, PositionTrigger, StrategyTrigger, SystemTrigger

TODAY = date(2024, 7, 5)


SPX = Underlying("SPX", AssetKind.INDEX)


SPY = Underlying("SPY", AssetKind.EQUITY)


def option(underlying: Underlying, strike: float, right: Right, expiry: date = TODAY) -> Contract:
    index = underlying.kind is AssetKind.INDEX
    return Contract(
        underlying,
        "SPXW" if index else underlying.ticker,
        expiry,
        strike,
        right,
        ExerciseStyle.EUROPEAN if index else ExerciseStyle.AMERICAN,
        Settlement.CASH_AFTERNOON if index else Settlement.PHYSICAL_SHARES,
        100.0,
    )


CONDOR = Package(
    (
        Leg(option(SPX, 5400, Right.PUT), 1),
        Leg(option(SPX, 5430, Right.PUT), -1),
        Leg(option(SPX, 5600, Right.CALL), -1),
        Leg(option(SPX, 5630, Right.CALL), 1),
    )
)


P5400, P5430, C5600, C5630 = (leg.contract.name for leg in CONDOR.legs)


LATER = date(2024, 8, 16)


RATIO = Package((Leg(option(SPY, 540, Right.PUT, LATER), 1), Leg(option(SPY, 530, Right.PUT, LATER), -2)))


SPY540, SPY530 = (leg.contract.name for leg in RATIO.legs)


class Account:
    """State on one side, the broker's facts on the other."""

    def __init__(self, folder: Path) -> None:
        self.sink = MemorySink()
        clock = MarketClock(datetime(2024, 7, 5, 10, 30))
        self.journal = Journal(self.sink, clock)
        store = StateStore(FolderStorage(folder), StoreOptions(durable=False))
        self.state = HierarchicalStateManager(store, EventBus(self.journal), clock, self.journal)
        self.state.start()
        self.state.fire_system(SystemTrigger.READY)

    def planned(self, name: str, package: Package, contracts: int, strategy: str = "friday_0dte") -> None:
        """A position on its way in, its order group planned."""
        state = self.state
        if state.strategy(strategy).state == "idle":
            state.fire(Level.STRATEGY, strategy, StrategyTrigger.ENTER)
        state.create(Level.POSITION, name, strategy, instruments=instruments_of(package))
        state.fire(Level.POSITION, name, PositionTrigger.OPEN)
        self.group(f"{name}-in", name, OrderPurpose.ENTRY, changes_of(package, contracts))

    def group(self, name: str, position: str, purpose: OrderPurpose, changes: dict[str, float]) -> None:
        self.state.create(Level.ORDER_GROUP, name, position, purpose=purpose, changes=changes)

    def sent(self, name: str, package: Package = CONDOR, contracts: int = 1) -> None:
        self.planned(name, package, contracts)
        with self.state.intent(Level.ORDER_GROUP, f"{name}-in", OrderTrigger.SEND) as intent:
            intent.note(orders=[1, 2, 3, 4][: len(package.legs)])

    def opened(self, name: str, package: Package = CONDOR, contracts: int = 1) -> None:
        self.sent(name, package, contracts)
        filled = changes_of(package, contracts)
        self.state.fire(Level.ORDER_GROUP, f"{name}-in", OrderTrigger.FILL, filled=filled)
        self.state.fire(Level.POSITION, name, PositionTrigger.OPENED)
        if self.state.strategy("friday_0dte").state == "entering":
            self.state.fire(Level.STRATEGY, "friday_0dte", StrategyTrigger.ENTERED)

    def closing(self, name: str, package: Package = CONDOR, contracts: int = 1) -> None:
        self.opened(name, package, contracts)
        self.state.fire(Level.POSITION, name, PositionTrigger.CLOSE)
        changes = changes_of(package.reversed(), contracts)
        self.group(f"{name}-out", name, OrderPurpose.EXIT, changes)
        self.state.fire(Level.ORDER_GROUP, f"{name}-out", OrderTrigger.SEND)

    def reconcile(
        self,
        holdings: dict[str, float],
        *orders: BrokerOrder,
        assigned: tuple[str, ...] = (),
        today: date = TODAY,
    ) -> Reconciliation:
        facts = BrokerFacts(today, rows_of(holdings), orders, frozenset(assigned))
        outcome = Recovery(self.state, self.journal).reconcile(facts)
        told = [(row["difference"], row["subject"], row["contract"], row["reason"]) for row in self.rows()]
        assert told == [(item.kind, item.subject, item.contract, item.rule) for item in outcome.differences]
        self.sink.lines.clear()
        held: dict[str, float] = {}
        for position in self.state.positions():
            for name, quantity in self.state.held(position.id).items():
                held[name] = held.get(name, 0.0) + quantity
        for holding in outcome.unowned:
            held[holding.contract] = held.get(holding.contract, 0.0) + holding.quantity
        assert {name: quantity for name, quantity in held.items() if quantity} == holdings, "state and account agree"
        self.reconcile_changes_nothing(facts, outcome)
        return outcome

    def reconcile_changes_nothing(self, facts: BrokerFacts, outcome: Reconciliation) -> None:
        """A second look at the same facts finds only what is listed and left alone, and positions that may now end."""
        again = Recovery(self.state, self.journal).reconcile(facts)
        lasting = {
            DifferenceKind.EXTRA,
            DifferenceKind.UNKNOWN_ORDER,
            DifferenceKind.ORPHAN_ORDER,
            DifferenceKind.LEFT_IN_BETWEEN,
        }
        assert {item.kind for item in again.differences} <= lasting
        self.sink.lines.clear()

    def rows(self) -> list[dict[str, str]]:
        return self.sink.rows(RecordKind.RECONCILIATION)

    def at(self, position: str) -> str:
        return self.state.position(position).state

    def group_at(self, group: str) -> str:
        return self.state.order_group(group).state


def rows_of(holdings: dict[str, float]) -> tuple[BrokerHolding, ...]:
    return tuple(BrokerHolding(name, quantity) for name, quantity in holdings.items())


def kinds(outcome: Reconciliation) -> list[DifferenceKind]:
    return list(dict.fromkeys(item.kind for item in outcome.differences))


def order(
    number: int, contract: str, quantity: float, filled: float | None, status: FillStatus, tag: str = ""
) -> BrokerOrder:
    return BrokerOrder(number, contract, quantity, filled, status, tag)

"""The executor on a fake gateway, with one spread to trade."""

# Private: _approve: only risk mints an approval; the desk is tried without a manager.

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

from core.book import ApprovedEntry, EntryIntent, Position, Refusal
from core.contracts import Contract, Leg, Package, Quote, Right, uncovered
from core.events import (
    FillStatus,
    OrderUpdated,
)
from core.instruments import INSTRUMENTS
from core.journal import MemorySink
from core.parts import Terms
from execution.executor import AtomicExecutor
from risk.manager import UnifiedRiskManager
from state.manager import HierarchicalStateManager
from state.store import StateStore
from tests.fake_gateway import FRIDAY, FakeGateway, Working, build
from trading_system import TradingSystem

SPXW = INSTRUMENTS["SPXW"]


NOON = datetime.combine(FRIDAY, time(12, 0))


def put(strike: float, expiry: date = FRIDAY) -> Contract:
    return SPXW.contract(expiry, strike, Right.PUT, "handle")


def spread() -> Package:
    return Package((Leg(put(4950.0), -1), Leg(put(4920.0), 1)))


def quote(bid: float | None, ask: float | None) -> Quote:
    return Quote(bid, ask, NOON)


def intent(mid: float = 3.1, model: float | None = None) -> EntryIntent:
    return EntryIntent(
        "friday_0dte", FRIDAY, spread(), Terms("friday_0dte", "put_spread", 2700.0, 3000.0), mid, model, ""
    )


def approved(system: TradingSystem, entry: EntryIntent, contracts: int) -> ApprovedEntry:
    """What risk would mint: only its manager may, so a test borrows its right."""
    return system.managers[UnifiedRiskManager]._approve(entry, contracts)


class Room:
    """A system at noon with the legs quoted, and its executor."""

    def __init__(self, folder: Path, vix: float = 24.0) -> None:
        self.gateway = FakeGateway(NOON, lambda _: 5000.0, lambda _: vix, folder)
        self.system: TradingSystem
        self.sink: MemorySink
        self.system, self.sink = build(self.gateway)
        self.executor = self.system.managers[AtomicExecutor]
        self.state = self.system.managers[HierarchicalStateManager]
        self.gateway.subscribe([leg.contract for leg in spread().legs])

    def open(self, contracts: int = 1) -> str | Refusal:
        return self.send(intent(), contracts)

    def send(self, entry: EntryIntent, contracts: int) -> str | Refusal:
        """As if risk had approved it."""
        return self.executor.open(approved(self.system, entry, contracts), "test")

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.gateway.time += timedelta(minutes=1)
            self.system.clock.advance(self.gateway.time)
            self.gateway.work_orders()
            self.executor.advance(self.gateway.time)

    def tell(self, order_id: int, contract: str, status: FillStatus, quantity: float = 0.0, price: float = 1.0) -> None:
        self.system.happened(
            OrderUpdated(
                time=self.gateway.time,
                order_id=order_id,
                contract=contract,
                status=status,
                fill_quantity=quantity,
                fill_price=price if quantity else None,
                fee=0.0,
            )
        )


SHORT, WING = put(4950.0), put(4920.0)


def opened(room: Room, contracts: int = 1) -> Position:
    name = room.open(contracts)
    assert isinstance(name, str)
    room.minutes(6)
    return room.system.book.positions[name]


def naked(room: Room) -> int:
    """Short options of the account without cover."""
    return uncovered([Leg(contract, count) for contract, count in room.gateway.held.values()])


def report(
    room: Room,
    order_id: int,
    contract: Contract,
    status: FillStatus,
    fill: float = 0.0,
    price: float = 1.0,
    number: int = 0,
    filled: float | None = None,
) -> None:
    """One report with an identity."""
    room.system.happened(
        OrderUpdated(
            time=room.gateway.time,
            order_id=order_id,
            contract=contract.name,
            status=status,
            fill_quantity=fill,
            fill_price=price if fill else None,
            fee=0.0,
            number=number,
            filled=filled,
        )
    )


def hold(room: Room, **counts: int) -> None:
    """The account holds so many of the short and the wing."""
    rows = {"short": SHORT, "wing": WING}
    room.gateway.held = {rows[name].name: (rows[name], count) for name, count in counts.items() if count}


def working(room: Room, contracts: int = 1) -> Working:
    """An entry at the broker that the test reports on by hand."""
    room.gateway.fills_allowed = False
    assert isinstance(room.open(contracts), str)
    (order,) = room.gateway.orders
    return order


def restarted(room: Room) -> None:
    """The process ends without a word and another takes over."""
    room.system.managers[StateStore].close()
    room.gateway.subscribed.clear()
    room.system, room.sink = build(room.gateway)
    room.executor = room.system.managers[AtomicExecutor]
    room.state = room.system.managers[HierarchicalStateManager]


def assign(room: Room, position: Position) -> None:
    """The broker's two reports on a put that was exercised against us: the option is gone, its shares are here."""
    short = position.legs[0].contract
    del room.gateway.held[short.name]
    room.gateway.cash -= 50_500.0
    room.gateway.shares["SPY"] = 100.0
    for contract, quantity, price in ((short.name, 1.0, 0.0), ("SPY", 100.0, 505.0)):
        room.system.happened(
            OrderUpdated(
                time=room.gateway.time, order_id=77, contract=contract, status=FillStatus.FILLED,
                fill_quantity=quantity, fill_price=price, fee=0.0, is_assignment=True,
            )
        )  # fmt: skip

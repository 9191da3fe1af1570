"""The order events that the real engine gave in p04, p09 and p11, handed to our executor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.book import EntryIntent, Position
from core.contracts import Contract, Leg, Package, Right
from core.events import FillStatus, OrderUpdated
from core.journal import RecordKind
from core.parts import Terms, Urgency
from state.tables import OrderGroupState
from tests.conftest import CONFORMANCE
from tests.execution.desk import SPXW, Room
from tests.fake_gateway import Working

pytestmark = pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="the recordings are not beside this clone")
STATUS = {
    "SUBMITTED": FillStatus.SUBMITTED,
    "UPDATE_SUBMITTED": FillStatus.UPDATED,
    "PARTIALLY_FILLED": FillStatus.PARTLY_FILLED,
    "FILLED": FillStatus.FILLED,
    "CANCELED": FillStatus.CANCELLED,
    "INVALID": FillStatus.REJECTED,
}
_SYMBOL = re.compile(r"SPXW +(?P<expiry>\d{6})(?P<right>[PC])(?P<strike>\d{8})")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    made.gateway.fills_allowed = False  # the recording fills
    return made


def recorded(name: str) -> list[dict[str, Any]]:
    """The order events of a recording, in their order."""
    lines = (CONFORMANCE / "expected" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["event"] == "order_event"]


def tagged(name: str, tag: str) -> list[dict[str, Any]]:
    """Those of one order of p04."""
    return [row for row in recorded(name) if row["tag"] == tag]


def contract(symbol: str) -> Contract:
    """A recorded symbol as our contract."""
    found = _SYMBOL.fullmatch(symbol)
    assert found is not None, symbol
    expiry = datetime.strptime(found["expiry"], "%y%m%d").date()
    right = Right.PUT if found["right"] == "P" else Right.CALL
    return SPXW.contract(expiry, int(found["strike"]) / 1000, right, "handle")


def at(room: Room, rows: Sequence[dict[str, Any]]) -> None:
    """It is the time of the first event, and the index is where the recording had it: 5450 on the 8th, 5227 later."""
    room.gateway.spot = lambda moment: 5450.0 if moment < datetime(2024, 7, 10) else 5227.0
    room.gateway.time = datetime.fromisoformat(rows[0]["t"])
    room.system.clock.advance(room.gateway.time)


def entry(room: Room, package: Package, contracts: int = 1) -> Working:
    """What the recording sent, as an entry of ours; the order as it left."""
    room.gateway.subscribe([leg.contract for leg in package.legs])
    terms = Terms("friday_0dte", "recorded", 1000.0, 1000.0)
    name = room.send(EntryIntent("friday_0dte", package.expiry, package, terms, 1.0, None, ""), contracts)
    assert isinstance(name, str), name
    return room.gateway.orders[-1]


def legs_of(rows: Sequence[dict[str, Any]]) -> Package:
    """The legs of a recorded group of one contract."""
    signed = {row["symbol"]: int(row["quantity"]) for row in rows}
    return Package(tuple(Leg(contract(symbol), quantity) for symbol, quantity in signed.items()))


def replay(room: Room, order: Working, rows: Sequence[dict[str, Any]]) -> None:
    """Every event of an order at its time, with LEAN's number of it within its order; what fills is held."""
    numbers: dict[str, int] = {}
    ids = {leg.contract.name: order_id for order_id, leg in zip(order.ids, order.package.legs, strict=True)}
    for row in rows:
        moment, owned = datetime.fromisoformat(row["t"]), contract(row["symbol"])
        room.gateway.time = max(room.gateway.time, moment)
        numbers[owned.name] = numbers.get(owned.name, 0) + 1
        filled = float(row["fill_quantity"])
        if filled:
            before = room.gateway.held.pop(owned.name, (owned, 0))[1]
            if before + round(filled):
                room.gateway.held[owned.name] = (owned, before + round(filled))
        room.system.happened(
            OrderUpdated(
                time=moment,
                order_id=ids[owned.name],
                contract=owned.name,
                status=STATUS[row["status"]],
                fill_quantity=filled,
                fill_price=float(row["fill_price"]) if filled else None,
                fee=float(row.get("fee", 0.0)),
                message=row.get("message", ""),
                number=numbers[owned.name],
            )
        )


def only(room: Room) -> Position:
    """The one open position."""
    (position,) = room.system.book.positions.values()
    return position


@pytest.mark.parametrize(
    ("tag", "cash"),
    [
        ("mid", 400.0),  # -0.45 + 1.55 + 3.40 - 0.50 = 4.00 points
        ("natural", 405.0),  # -0.40 + 1.45 + 3.50 - 0.50 = 4.05
        ("too good", 405.0),  # repriced twice; LEAN tells the new limit on the first leg alone
        ("after the close", 465.0),  # sent at 16:30, filled the next morning: -1.70 + 6.30 + 0.10 - 0.05 = 4.65
    ],
)
def test_p04_a_condor_is_one_position_of_one_part(room: Room, tag: str, cash: float) -> None:
    rows = tagged("p04_combo_orders.tastytrade", tag)
    at(room, rows)
    order = entry(room, legs_of(rows))
    room.gateway.orders.clear()
    replay(room, order, rows)
    position = only(room)
    assert position.cash == pytest.approx(cash)
    assert position.fees == 4.0  # a dollar a leg
    assert [part.is_whole for part in position.parts] == [True]
    assert room.state.held(position.id) == {leg.contract.name: float(leg.ratio) for leg in order.package.legs}
    (group,) = room.state.order_groups(ended=True)
    assert group.state == OrderGroupState.FILLED
    assert room.sink.rows(RecordKind.ERROR) == []


def test_p04_its_closing_order_ends_it_with_its_cash(room: Room) -> None:
    rows = tagged("p04_combo_orders.tastytrade", "mid")
    at(room, rows)
    order = entry(room, legs_of(rows))
    room.gateway.orders.clear()
    replay(room, order, rows)
    closing = tagged("p04_combo_orders.tastytrade", "close")
    at(room, closing)
    room.executor.close(only(room), "test", "because", Urgency.NORMAL)
    (out,) = room.gateway.orders
    room.gateway.orders.clear()
    assert {leg.contract: leg.ratio for leg in out.package.legs} == {
        leg.contract: leg.ratio for leg in legs_of(closing).legs
    }
    replay(room, out, closing)
    (trade,) = room.system.book.trades
    # In 4.00, out 0.55 - 2.45 - 2.25 + 0.20 = -3.95: 0.05 points are 5 dollars, less 4 of fees.
    assert trade.profit == pytest.approx(1.0)
    assert room.system.book.positions == {}


def test_p04_an_order_that_the_broker_s_model_refuses_is_nothing(room: Room) -> None:
    rows = tagged("p04_combo_orders.tastytrade", "vertical at market")
    at(room, rows)
    order = entry(room, Package(tuple(Leg(leg.contract, leg.ratio // 2) for leg in legs_of(rows).legs)), 2)
    room.gateway.orders.clear()
    replay(room, order, rows)
    assert room.system.book.positions == {}
    (group,) = room.state.order_groups(ended=True)
    assert group.state == OrderGroupState.REJECTED
    assert "unable to submit" in room.sink.rows(RecordKind.ORDER)[-1]["reason"]


def p09() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The spread that was opened in p09, and what closed it: LEAN's liquidation when its contracts were removed."""
    rows = recorded("p09_dynamic_contracts")
    opened = [row for row in rows if row["t"] < "2024-07-12 10:45"]
    return opened, [row for row in rows if row not in opened]


def test_p09_a_spread_on_contracts_of_the_minute_before(room: Room) -> None:
    opened, _ = p09()
    at(room, opened)
    package = Package((Leg(contract("SPXW  240712P05170000"), 1), Leg(contract("SPXW  240712P05200000"), -1)))
    order = entry(room, package)
    room.gateway.orders.clear()
    replay(room, order, opened)
    assert only(room).cash == pytest.approx(175.0)  # 1.90 - 0.15


def test_p09_what_lean_sells_when_a_contract_is_removed_is_somebody_else_s_trade(room: Room) -> None:
    """The gateway never removes what is held; if it came, its fills close the position with their cash."""
    opened, removed = p09()
    at(room, opened)
    package = Package((Leg(contract("SPXW  240712P05170000"), 1), Leg(contract("SPXW  240712P05200000"), -1)))
    order = entry(room, package)
    room.gateway.orders.clear()
    replay(room, order, opened)
    foreign = Working((91, 92), package, 1, 0.0, room.gateway.time, "")
    replay(room, foreign, removed)
    room.minutes(2)
    assert room.system.book.positions == {}
    # 1.75 in, then the long sold at 0.15 and the short bought at 3.20: -1.30 points, no fees were told.
    assert sum(trade.profit or 0.0 for trade in room.system.book.trades) == pytest.approx(-130.0)
    assert room.gateway.held == {}


def p11(group: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The events of some orders of p11, whose fill model fills in parts and then fails."""
    return (row for row in recorded("p11_fill_model") if row["id"] in group)


def test_p11_parts_of_a_single_leg_and_then_invalid_keep_what_filled(room: Room) -> None:
    rows = list(p11([1]))
    at(room, rows)
    order = entry(room, Package((Leg(contract(rows[0]["symbol"]), -1),)), 4)
    room.gateway.orders.clear()
    replay(room, order, rows)
    position = only(room)
    assert [(part.contracts, part.is_whole) for part in position.parts] == [(3, True)]  # of four; 2 and 1 filled
    assert position.cash == pytest.approx(225.0)  # 3 x 0.75
    assert room.state.held(position.id) == {position.legs[0].contract.name: -3.0}
    (group,) = room.state.order_groups(ended=True)
    assert group.state == OrderGroupState.REJECTED


def test_p11_a_combo_of_a_model_of_our_own_is_whole(room: Room) -> None:
    rows = list(p11([2, 3]))
    at(room, rows)
    order = entry(room, Package((Leg(contract(rows[0]["symbol"]), 1), Leg(contract(rows[1]["symbol"]), -1))))
    room.gateway.orders.clear()
    replay(room, order, rows)
    assert only(room).cash == pytest.approx(245.0)  # 2.65 - 0.20
    assert only(room).parts[0].is_whole

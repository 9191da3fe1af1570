"""Shares of an assignment come with their option and count once; what expired after an unknown exit has no price."""

# Private: _working, _walk: an entry whose judges are left out.

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from core.book import EntryIntent, ShareHolding
from core.contracts import Leg, Package, Right
from core.events import FillStatus, MinutePassed, OrderUpdated
from core.instruments import INSTRUMENTS
from core.journal import RecordKind
from core.parts import Terms
from execution.recovery import OrderRecovery
from tests.execution.desk import Room, opened, restarted
from tests.fake_gateway import FRIDAY

PUT_505 = INSTRUMENTS["SPY"].contract(FRIDAY, 505.0, Right.PUT, "handle")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path, vix=60.0)
    made.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here
    return made


def minutes(room: Room, count: int) -> None:
    """Minutes as the bus tells them: the seller of shares hears these."""
    for _ in range(count):
        room.gateway.time += timedelta(minutes=1)
        room.system.clock.advance(room.gateway.time)
        room.system.bus.publish(MinutePassed(time=room.gateway.time))


def share_fills(room: Room) -> list[float]:
    return [row["quantity"] for row in room.sink.rows(RecordKind.FILL) if row["contract"] == "SPY"]


def short_put(room: Room) -> None:
    """One put on SPY at 505 is sold, with SPY at 500."""
    room.gateway.subscribe([PUT_505])
    package = Package((Leg(PUT_505, -1),))
    assert isinstance(
        room.send(EntryIntent("ladder", FRIDAY, package, Terms("ladder", "put", 1500.0, 1500.0), 8.0, None, ""), 1), str
    )
    room.minutes(6)
    assert room.gateway.held[PUT_505.name][1] == -1


def assigned(room: Room, contract: str, quantity: float, price: float) -> None:
    """One of the two reports of an assignment."""
    room.system.happened(
        OrderUpdated(
            time=room.gateway.time, order_id=77, contract=contract, status=FillStatus.FILLED,
            fill_quantity=quantity, fill_price=price, fee=0.0, is_assignment=True,
        )
    )  # fmt: skip


def test_shares_of_an_assigned_option_are_written_with_it(room: Room) -> None:
    """The process ends between the reports of the put and of its shares: 100 of them were nobody's, and never sold."""
    short_put(room)
    del room.gateway.held[PUT_505.name]
    room.gateway.shares["SPY"] = 100.0
    assigned(room, PUT_505.name, 1.0, 0.0)
    assert share_fills(room) == [100.0]
    restarted(room)
    # They came at 500, the price by which the put was valued: 5 points inside.
    assert room.system.book.shares == {"SPY": ShareHolding("SPY", 100.0, 500.0, -50_000.0)}
    assert room.system.managers[OrderRecovery].reconcile().unowned == []
    minutes(room, 1)
    assert room.gateway.shares_sent == [("SPY", -100, 500.0)]


def test_shares_that_are_told_after_their_option_count_once(room: Room) -> None:
    short_put(room)
    del room.gateway.held[PUT_505.name]
    room.gateway.shares["SPY"] = 100.0
    assigned(room, PUT_505.name, 1.0, 0.0)
    assigned(room, "SPY", 100.0, 505.0)
    assert share_fills(room) == [100.0]
    assert room.system.book.shares["SPY"].quantity == 100.0
    assigned(room, "SPY", 50.0, 505.0)  # what no option of ours delivered comes on top
    assert room.system.book.shares["SPY"].quantity == 150.0


def test_a_sale_of_shares_that_is_told_twice_counts_once(room: Room) -> None:
    """100 shares were short after the second report, and each later start set them right again."""
    room.gateway.shares["SPY"] = 100.0
    room.system.book.shares["SPY"] = ShareHolding("SPY", 100.0, 500.0, -50_000.0)
    minutes(room, 1)
    number = room.gateway.last_id
    room.tell(number, "SPY", FillStatus.FILLED, -100.0, 501.0)
    room.tell(number, "SPY", FillStatus.FILLED, -100.0, 501.0)
    assert (room.system.book.shares, share_fills(room)) == ({}, [-100.0])
    assert room.system.book.shares_brought == 100.0  # came at 500, went at 501: 100 x 1


def test_shares_that_are_gone_are_corrected_once_and_not_at_each_start(room: Room) -> None:
    """The report of their sale was lost: each process after it counted another sale of 50,000 dollars."""
    room.system.book.shares["SPY"] = ShareHolding("SPY", 100.0, 500.0, -50_000.0)
    room.executor.states.shares()
    minutes(room, 1)
    assert share_fills(room) == [-100.0]
    restarted(room)
    minutes(room, 1)
    assert (room.system.book.shares, share_fills(room)) == ({}, [])


@pytest.mark.parametrize("exit_at_work", [True, False])
def test_a_contract_that_expired_after_an_exit_of_unknown_end_has_no_price(room: Room, exit_at_work: bool) -> None:
    """Bought back before the close or settled at it: with the index at 5,000 both puts settle at nothing."""
    position = opened(room)
    if exit_at_work:
        room.gateway.fills_allowed = False
        room.executor.close(position, "test", "because")
    room.gateway.held.clear()
    room.gateway.orders.clear()
    room.gateway.time = datetime.combine(FRIDAY, time(9, 31)) + timedelta(days=3)
    restarted(room)
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    exits = [leg["exit"] for leg in row["legs"]]
    assert (row["profit"] is None, exits) == ((True, [None, None]) if exit_at_work else (False, [0.0, 0.0]))

"""Starting cash, trades, open parts, shares and interest are the account's cash, to the cent, or the run says so."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from core.events import BrokerReconnected, FillStatus
from core.journal import RecordKind
from core.parts import Urgency
from core.performance import PerformanceTracker
from tests.execution.desk import Room, put
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day


def test_a_day_with_a_trade_agrees_to_the_cent(tmp_path: Path) -> None:
    moving = lambda at: 5000.0 + 0.5 * (at.minute % 3)  # noqa: E731 - a price that stands still is not trusted
    gateway = FakeGateway(datetime.combine(FRIDAY, time()), moving, lambda _: 24.0, tmp_path)
    system, sink = build(gateway)
    run_day(system, gateway, FRIDAY)
    system.end(gateway.time)
    (row,) = sink.rows(RecordKind.ACCOUNT)
    assert row["starting"] == 100_000.0
    assert len(sink.rows(RecordKind.TRADE_CLOSED)) == 1
    assert row["trades"] == pytest.approx(gateway.cash - 100_000.0, abs=0.005)
    assert (row["difference"], row["unknown"], row["reason"]) == (0.0, 0, "trades and account agree")


def test_open_parts_and_half_filled_orders_are_terms_of_their_own(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open(2)
    assert isinstance(name, str)
    room.minutes(6)
    position = room.system.book.positions[name]
    assert position.cash is not None
    found = room.system.reckoning.now()
    assert found.open_parts == pytest.approx(position.cash - position.fees)
    assert (found.trades, found.difference) == (0.0, 0.0)
    room.gateway.fills_allowed = False
    room.executor.close(position, "test", "because", Urgency.URGENT)
    (order,) = room.gateway.orders
    leg = order.package.legs[0]
    room.gateway.cash -= leg.ratio * 5.0 * 100
    room.tell(order.ids[0], leg.contract.name, FillStatus.PARTLY_FILLED, float(leg.ratio), 5.0)
    found = room.system.reckoning.now()
    assert found.working == pytest.approx(-500.0 * leg.ratio)  # the short bought back at 5.00
    assert found.difference == 0.0


def test_money_that_no_trade_explains_is_told_with_its_size_and_stops_entries(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.system.open_session(room.gateway.time)
    room.gateway.cash += 12.34
    room.system.close_session(room.gateway.time + timedelta(hours=4))
    (error,) = room.sink.rows(RecordKind.ERROR)
    assert error["reason"] == "trades and account differ"
    assert error["detail"].startswith("+12.34 dollars: 100,012.34 in the account, 100,000.00 by trades")
    assert "differ by +12.34" in str(room.system.bus.entries_halted)
    room.system.end(room.gateway.time + timedelta(hours=5))
    assert [row["difference"] for row in room.sink.rows(RecordKind.ACCOUNT)] == [12.34, 12.34]


def test_what_a_person_closed_is_unknown_unless_the_engine_told_its_price(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    entry = room.system.book.positions[name].cash
    assert entry is not None
    for strike, quantity, price in ((4950.0, 1, 9.0), (4920.0, -1, 2.5)):
        contract = put(strike)
        del room.gateway.held[contract.name]
        room.gateway.cash -= quantity * price * 100
        room.tell(9_000 + quantity, contract.name, FillStatus.FILLED, float(quantity), price)
    room.system.happened(BrokerReconnected(time=room.gateway.time))
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    # Bought back at 9.00 and sold at 2.50: 650 dollars paid, by executions that the engine told.
    assert row["cash_out"] == pytest.approx(-650.0)
    assert row["profit"] == pytest.approx(entry - 650.0 - row["fees"])
    assert row["exit_rule"] == "closed_outside"
    assert room.system.reckoning.now().difference == 0.0


def test_what_nobody_told_the_price_of_is_an_unknown_trade_and_no_win(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.held.clear()
    room.gateway.cash -= 650.0
    room.system.happened(BrokerReconnected(time=room.gateway.time))
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert (row["profit"], row["cash_out"], [leg["exit"] for leg in row["legs"]]) == (None, None, [None, None])
    record = room.system.managers[PerformanceTracker].total()
    assert (record.trades, record.wins, record.unknown, record.losing_streak) == (0, 0, 1, 0)
    room.system.end(room.gateway.time)
    (account,) = room.sink.rows(RecordKind.ACCOUNT)
    assert account["unknown"] == 1

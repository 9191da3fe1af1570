"""Parts of a position: what they hold, what they brought, and that trades and account agree to the cent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.contracts import Package
from core.journal import RecordKind
from execution.groups import largest_loss
from tests.execution.desk import Room
from tests.fake_gateway import FRIDAY


@pytest.fixture(name="room")
def a_room(tmp_path: Path) -> Room:
    """A session at noon."""
    return Room(tmp_path)


def test_a_wing_that_was_left_and_ends_in_the_money_is_part_of_its_trade(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.vix = lambda _: 5.0
    room.executor.close(room.system.book.positions[name], "profit_target", "because")
    room.minutes(8)
    before = room.gateway.cash
    room.gateway.spot = lambda _: 4890.0
    room.gateway.expire(FRIDAY)
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    # The 4920 put ends 30 points in the money: 3,000 dollars, in the account and in the trade.
    assert room.gateway.cash - before == pytest.approx(3_000.0)
    assert [leg["exit"] for leg in row["legs"]][1] == 30.0
    assert row["profit"] == pytest.approx(room.gateway.cash - 100_000.0)


def test_what_was_planned_to_be_lost_and_what_the_fills_could_lose(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open(2)
    assert isinstance(name, str)
    room.minutes(6)
    (part,) = room.system.book.positions[name].parts
    # 30 points wide, two lots: 6,000 dollars less the credit that was taken, and the four dollars of fees.
    assert largest_loss(part) == pytest.approx(6_000.0 - part.entry_cash + 4.0)
    assert part.max_loss == 5_400.0  # the plan: 2,700 a lot
    naked = replace(part, package=Package(part.package.legs[:1]), entry_prices=part.entry_prices[:1])
    assert largest_loss(naked) == pytest.approx(2 * 100 * 4_950.0 - part.entry_cash + 4.0)  # a put ends at zero

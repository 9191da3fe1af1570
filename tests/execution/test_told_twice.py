"""What a broker tells twice, too late or never: how often it counts, and at which price."""

# Private: _working: the group itself is looked at while its fills come in.

from __future__ import annotations

from pathlib import Path

import pytest

from core.events import FillStatus
from core.gateway import Holding
from execution.groups import LegFill
from execution.recovery import OrderRecovery
from execution.tracker import PositionTracker
from tests.execution.desk import SHORT, WING, Room, hold, opened, report, working


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, vix=60.0)  # so that the wing is worth something and has a bid


def test_a_fill_that_the_account_showed_after_its_end_counts_once_when_it_is_told(room: Room) -> None:
    order = working(room)
    room.executor.cancel_entries("a person said halt")
    hold(room, short=-1, wing=1)
    room.system.managers[OrderRecovery].reconcile()  # the account shows what nobody told
    (position,) = room.system.book.positions.values()
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=9)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=9)
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {SHORT: -1, WING: 1}
    assert room.state.held(position.id) == {SHORT.name: -1.0, WING.name: 1.0}


PART, ALL = FillStatus.PARTLY_FILLED, FillStatus.FILLED


@pytest.mark.parametrize(
    ("contracts", "told", "points"),
    [
        (2, [(PART, 1, 3.0), (PART, 1, 3.0), (ALL, 1, 2.9)], 5.9),  # the second is the first again: 3.00 + 2.90
        (2, [(PART, 1, 3.0), (PART, 1, 3.0), (ALL, 1, 2.9), (ALL, 1, 2.9)], 5.9),  # and the last comes twice too
        (2, [(PART, 1, 3.0), (PART, 1, 3.0), (ALL, 1, 3.0)], 6.0),  # both at one price
        (3, [(PART, 1, 3.0), (PART, 1, 3.0), (PART, 1, 2.8), (ALL, 1, 2.9)], 8.7),  # 3.00 + 2.80 + 2.90
        (3, [(PART, 1, 3.0), (PART, 1, 3.0), (ALL, 2, 2.9)], 8.8),  # 3.00 + 2 x 2.90
        (3, [(PART, 2, 3.0), (PART, 2, 3.0), (ALL, 1, 2.9)], 8.9),  # 2 x 3.00 + 2.90
        (
            3,
            [(PART, 1, 3.0), (PART, 1, 3.0), (ALL, 1, 2.9), (PART, 1, 3.0)],
            8.9,
        ),  # both at 3.00 filled; one came again
    ],
)
def test_a_part_that_came_twice_takes_the_price_of_one_too_many(
    room: Room, contracts: int, told: list[tuple[FillStatus, int, float]], points: float
) -> None:
    order = working(room, contracts)
    hold(room, short=-contracts)
    for status, count, price in told:
        report(room, order.ids[0], SHORT, status, float(-count), price)
    (group,) = room.executor._working
    assert group.fills[SHORT.name].quantity == -contracts
    assert group.fills[SHORT.name].cash == pytest.approx(points * 100)
    (written,) = room.state.order_groups()
    assert written.detail["cash"][SHORT.name] == pytest.approx(points * 100)


def test_a_whole_fill_that_comes_again_tells_no_other_price(room: Room) -> None:
    order = working(room, 2)
    hold(room, short=-2)
    for _ in range(2):  # one of two filled before it, and its report is on its way
        report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 12.0)
    (group,) = room.executor._working
    assert group.fills[SHORT.name].unpriced == -1.0
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, -1.0, 11.0)
    assert group.fills[SHORT.name].priced
    assert group.fills[SHORT.name].cash == pytest.approx(2_300.0)  # (12.00 + 11.00) x 100


@pytest.mark.parametrize(
    ("average", "fill", "dollars"),
    [
        (12.5, LegFill(1.0, 0.0, unpriced=1.0), -1_250.0),
        (12.5, LegFill(2.0, -1_200.0, unpriced=1.0), -2_450.0),  # one was told at 12.00
        (0.0, LegFill(1.0, 0.0, unpriced=1.0), -767.5),  # the middle of 7.60 and 7.75
        (12.5, LegFill(1.0, -1_200.0), -1_200.0),
    ],
)
def test_what_an_exit_bought_unseen_beyond_what_was_held_was_not_for_nothing(
    room: Room, average: float, fill: LegFill, dollars: float
) -> None:
    position = opened(room)
    room.gateway.fills_allowed = False
    room.executor.close(position, "profit_target", "because")
    (group,) = room.executor._working
    rows = [Holding(SHORT.name, fill.quantity, average, 0.0)]
    room.gateway.holdings = lambda: rows  # type: ignore[method-assign]
    part = room.system.managers[PositionTracker].loose_part(group, {SHORT.name: fill}, room.gateway.time)
    assert part.entry_cash == pytest.approx(dollars)
    assert part.entry_prices == pytest.approx((-dollars / fill.quantity / 100,))

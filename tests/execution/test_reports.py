"""Each report of the broker counts once, late ones too; what the broker forgot is decided by the account."""

# Private: _working: the group itself is looked at while its fills come in.

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from core.book import Position
from core.contracts import Leg, Package
from core.events import Command, FillStatus, Level, OrderUpdated
from core.gateway import Holding
from core.journal import RecordKind
from core.parts import LegExit
from core.settings.fields import OrderSettings
from execution.reports import Unnamed, fill_gap, take_fill
from execution.walking import WAITS
from state.tables import TABLES, OrderGroupState, PositionState
from tests.conftest import ROOT
from tests.execution.desk import NOON, SHORT, WING, Room, hold, intent, opened, put, report, restarted, working
from tests.fake_gateway import FRIDAY, Working


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, vix=60.0)  # so that the wing is worth something and has a bid


def exit_gone(room: Room, position: Position) -> Working:
    """An exit that left the broker's list, and of which nothing was reported yet."""
    room.gateway.fills_allowed = False
    room.executor.close(position, "profit_target", "because")
    (order,) = room.gateway.orders
    room.gateway.orders.clear()
    return order


# Reports have an identity


def test_a_fill_told_twice_counts_once(room: Room) -> None:
    order = working(room)
    hold(room, short=-1, wing=1)
    for _ in range(2):
        report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=2)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=2)
    for _ in range(3):  # and after the end, under a new number as well
        report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=2)
        report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=7)
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {SHORT: -1, WING: 1}
    assert position.cash == 500.0  # (9.00 - 4.00) x 100
    assert room.state.held(position.id) == {SHORT.name: -1.0, WING.name: 1.0}
    assert len(room.sink.rows(RecordKind.FILL)) == 2


@pytest.mark.parametrize("named", ["number", "filled", "nothing"])
def test_a_replayed_partial_counts_once(room: Room, named: str) -> None:
    order = working(room, 2)
    hold(room, short=-1, wing=1)
    for leg, order_id, one in ((SHORT, order.ids[0], -1.0), (WING, order.ids[1], 1.0)):
        told = {"number": {"number": 3}, "filled": {"filled": one}, "nothing": {}}[named]
        for _ in range(2):
            report(room, order_id, leg, FillStatus.PARTLY_FILLED, one, 2.0, **told)  # type: ignore[arg-type]
    for leg, order_id in ((SHORT, order.ids[0]), (WING, order.ids[1])):
        report(room, order_id, leg, FillStatus.CANCELLED, number=4)
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {SHORT: -1, WING: 1}
    assert room.state.held(position.id) == {SHORT.name: -1.0, WING.name: 1.0}


def test_reports_out_of_order_count_each(room: Room) -> None:
    order = working(room, 2)
    hold(room, short=-2, wing=2)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 8.0, filled=-2.0)  # the second fill comes first
    report(room, order.ids[1], WING, FillStatus.FILLED, 2.0, 3.0, filled=2.0)
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, -1.0, 10.0, filled=-1.0)
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {SHORT: -2, WING: 2}


@pytest.mark.parametrize("legs", ["one", "both"])
def test_an_entry_that_fills_after_its_cancel_is_a_position_and_never_a_short_of_nobody(room: Room, legs: str) -> None:
    order = working(room)
    room.executor.cancel_entries("a person said halt")
    assert room.state.positions() == ()
    hold(room, short=-1, wing=1 if legs == "both" else 0)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=9)
    if legs == "both":
        report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=9)
    (position,) = room.system.book.positions.values()
    assert room.state.held(position.id) == {name: float(count) for name, (_, count) in room.gateway.held.items()}
    room.gateway.cash += 900.0 - (400.0 if legs == "both" else 0.0)
    room.gateway.fills_allowed = True
    room.minutes(4)
    if legs == "both":  # whole: kept, and no unwind left
        assert position.cash == 500.0
        assert room.state.position(position.id).state == "open"
        assert not room.executor.working
        assert [part.name for part in position.parts] == ["whole"]
    else:
        assert room.gateway.held == {}
        assert room.state.positions() == ()
        (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
        assert room.gateway.cash - 100_000.0 == pytest.approx(row["profit"])


def test_a_late_package_joins_what_filled_before(room: Room) -> None:
    order = working(room, 2)
    hold(room, short=-1, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, -1.0, 9.0, number=2)
    report(room, order.ids[1], WING, FillStatus.PARTLY_FILLED, 1.0, 4.0, number=2)
    for order_id, leg in ((order.ids[0], SHORT), (order.ids[1], WING)):
        report(room, order_id, leg, FillStatus.CANCELLED, number=3)
    hold(room, short=-2, wing=2)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.5, number=4)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.5, number=4)
    (position,) = room.system.book.positions.values()
    assert [(part.name, part.contracts) for part in position.parts] == [("whole", 2)]
    assert position.cash == 1000.0  # 9.00 + 9.50 - 4.00 - 4.50, times 100
    room.minutes(3)
    assert len(room.gateway.sent) == 1  # nothing is unwound


def test_the_cash_of_an_exit_s_late_fill_goes_to_its_trade(room: Room) -> None:
    position = opened(room)
    cash = room.gateway.cash
    order = exit_gone(room, position)
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.CANCELLED, number=2)
    room.gateway.held.clear()
    prices = {SHORT: 6.0, WING: 2.0}
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.FILLED, float(leg.ratio), prices[leg.contract], number=3)
    assert room.system.book.positions == {}
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert row["exit_rule"] == "profit_target"
    # Bought back at 6.00, the wing sold at 2.00: 400 dollars went out, after what the entry left.
    assert row["profit"] == pytest.approx(cash - 100_000.0 - 400.0)
    assert room.state.position(position.id).state == "closed"


def test_a_late_price_amends_a_trade_of_which_nobody_knew_the_result(room: Room) -> None:
    position = opened(room)
    cash = room.gateway.cash
    order = exit_gone(room, position)  # filled, and every report of it is late
    room.gateway.held.clear()
    room.minutes(5)
    assert room.system.book.positions == {}
    assert room.system.book.trades[-1].profit is None
    prices = {SHORT: 6.0, WING: 2.0}
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.FILLED, float(leg.ratio), prices[leg.contract], number=3)
    assert room.system.book.trades[-1].profit == pytest.approx(cash - 100_000.0 - 400.0)
    assert room.state.held(position.id) == {}


def test_a_late_fill_that_a_look_has_found_already_only_tells_its_price(room: Room) -> None:
    position = opened(room)
    cash = room.gateway.cash
    order = exit_gone(room, position)
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.CANCELLED, number=2)
    room.gateway.held.clear()  # it filled all the same, and the account is looked at before its reports are taken
    room.system.command(room.gateway.time, Command.RECONCILE)
    assert room.system.book.trades[-1].profit is None
    prices = {SHORT: 6.0, WING: 2.0}
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.FILLED, float(leg.ratio), prices[leg.contract], number=3)
    assert room.system.book.positions == {}
    assert room.system.book.trades[-1].profit == pytest.approx(cash - 100_000.0 - 400.0)
    assert room.state.held(position.id) == {}


def test_an_exit_filled_twice_is_undone(room: Room) -> None:
    position = opened(room)
    order = exit_gone(room, position)
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.CANCELLED, number=2)
    room.gateway.fills_allowed = True
    room.executor.close(position, "profit_target", "because")
    room.minutes(4)
    assert room.gateway.held == {}  # the second exit closed it
    hold(room, short=1, wing=-1)  # and the first one filled all the same
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.FILLED, float(leg.ratio), 3.0, number=3)
    assert set(room.system.book.positions) == {position.id}
    room.minutes(6)
    assert room.gateway.held == {}
    assert room.system.book.positions == {}


# A followed group that the broker forgot


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("cancelling", [True, False])
def test_a_group_without_orders_and_without_news_is_decided_by_the_account(
    room: Room, held: bool, cancelling: bool
) -> None:
    order = working(room)
    if cancelling:
        room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]
        room.executor.cancel_entries("a person said halt")
    room.gateway.orders.remove(order)
    if held:
        hold(room, short=-1, wing=1)
    room.minutes(6)
    assert not room.executor.working
    assert room.system.book.pending == {}
    assert [row.state for row in room.state.positions()] == (["open"] if held else [])
    assert len(room.system.book.positions) == (1 if held else 0)
    told = [row["action"] for row in room.sink.rows(RecordKind.ORDER)]
    assert "lost" in told
    assert told[-1] == "found_ended"


# Every state and every report


def leave(room: Room, state: OrderGroupState) -> Working:
    """An entry of three packages in a state of its group."""
    order = working(room, 3)
    if state is OrderGroupState.SENT:
        (group,) = room.state.order_groups()
        assert group.state == OrderGroupState.WORKING  # the fake acknowledges at once: both count as at work
    if state is OrderGroupState.PARTLY_FILLED:
        hold(room, short=-1, wing=1)
        told(room, order, FillStatus.PARTLY_FILLED, 1, 90)
    if state in (OrderGroupState.CANCELLING, OrderGroupState.CANCELLED):
        usual = room.gateway.cancel
        room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]
        room.executor.cancel_entries("a person said halt")
        room.gateway.cancel = usual  # type: ignore[method-assign]
    if state is OrderGroupState.CANCELLED:
        told(room, order, FillStatus.CANCELLED, 0, 90)
    if state is OrderGroupState.REJECTED:
        told(room, order, FillStatus.REJECTED, 0, 90)
    if state is OrderGroupState.FILLED:
        hold(room, short=-3, wing=3)
        told(room, order, FillStatus.FILLED, 3, 90)
    return order


def told(room: Room, order: Working, status: FillStatus, count: int, number: int) -> None:
    """The same report on both legs."""
    for order_id, leg, one in ((order.ids[0], SHORT, -1.0), (order.ids[1], WING, 1.0)):
        report(room, order_id, leg, status, one * count, 5.0, number=number)


LIVE = (OrderGroupState.SENT, OrderGroupState.WORKING, OrderGroupState.PARTLY_FILLED, OrderGroupState.CANCELLING)
ENDED = (OrderGroupState.FILLED, OrderGroupState.CANCELLED, OrderGroupState.REJECTED)
SAME = (FillStatus.SUBMITTED, FillStatus.UPDATED)


@pytest.mark.parametrize("state", [*LIVE, *ENDED])
@pytest.mark.parametrize("status", [*FillStatus, None])
def test_each_state_has_a_rule_for_each_report_and_for_silence(
    room: Room, state: OrderGroupState, status: FillStatus | None
) -> None:
    order = leave(room, state)
    before = str(room.state.order_group(order.tag).state)
    had = round(abs(room.gateway.held.get(SHORT.name, (SHORT, 0))[1]))
    fits = 0 if state is OrderGroupState.FILLED else 1 if status is FillStatus.PARTLY_FILLED else 3 - had
    fills = fits if status in (FillStatus.FILLED, FillStatus.PARTLY_FILLED) else 0
    hold(room, short=-(had + fills), wing=had + fills)
    if status is None:
        room.gateway.orders.clear()
        room.minutes(6)
    else:
        told(room, order, status, max(fills, 1) if status.value.endswith("filled") else 0, 91)
    after = str(room.state.order_group(order.tag).state)
    expected: str = before
    if state in LIVE and status not in SAME:
        expected = "cancelled" if status is None else status.value
        if status is FillStatus.PARTLY_FILLED and state is OrderGroupState.CANCELLING:
            expected = before
    assert after == expected
    whole = had + fills
    working_on = state in LIVE and status in (*SAME, FillStatus.PARTLY_FILLED)
    counted = {name: float(count) for name, (_, count) in room.gateway.held.items()}
    position = room.state.order_group(order.tag).parent
    assert room.state.held(position) == counted  # nothing lost, nothing twice
    if not working_on:
        room.minutes(1)
        packages = [part.contracts for row in room.system.book.positions.values() for part in row.parts]
        assert packages == ([whole] if whole else [])
        assert room.system.book.pending == {}
        assert room.state.position(position).state == ("open" if whole else "closed")
    assert room.system.bus.entries_halted is None
    assert not room.sink.rows(RecordKind.ERROR)


def test_every_state_of_transit_has_a_limit_an_owner_and_an_end_and_the_document_says_so() -> None:
    resting = {PositionState.OPEN, PositionState.CLOSED, PositionState.EXPIRED}
    ended = {state for state in OrderGroupState if state.value in TABLES[Level.ORDER_GROUP].terminal}
    assert set(WAITS) == {*OrderGroupState, *PositionState} - resting - ended
    text = (ROOT / "docs" / "state.md").read_text(encoding="utf-8")
    for state, row in WAITS.items():
        assert row.limit in OrderSettings.model_fields
        name = state.value.replace("_", " ")
        kind = "order group" if isinstance(state, OrderGroupState) else "position"
        assert f"| {kind} {name} | `orders.{row.limit}` | {row.owner} | {row.then} |" in text


# Over a restart


@pytest.mark.parametrize("wings", [0, 1])
def test_what_filled_after_its_end_is_its_group_s_to_the_next_process(room: Room, wings: int) -> None:
    order = working(room)
    room.gateway.cancel(order.ids, "")
    assert room.system.book.positions == {}
    hold(room, short=-1, wing=wings)  # LEAN dropped the fill: only the account has it
    restarted(room)
    (position,) = room.system.book.positions.values()
    assert {leg.contract for leg in position.legs} == ({SHORT, WING} if wings else {SHORT})
    assert room.system.book.unowned == {}
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert len(room.gateway.held) == 2 * wings  # a whole package stays, a short alone is bought back
    assert [row["reason"] for row in room.sink.rows(RecordKind.ERROR)] == []


def test_what_a_person_held_before_stays_theirs(room: Room) -> None:
    hold(room, short=-1)
    restarted(room)
    assert room.system.book.unowned == {SHORT.name: -1.0}
    room.gateway.subscribe([SHORT, WING])
    order = working(room)
    room.gateway.cancel(order.ids, "")
    restarted(room)
    assert room.system.book.positions == {}
    assert room.system.book.unowned == {SHORT.name: -1.0}


def test_what_came_days_after_its_end_is_nobody_s(room: Room) -> None:
    later = [put(strike, FRIDAY + timedelta(days=21)) for strike in (4950.0, 4920.0)]
    room.gateway.subscribe(later)
    room.gateway.fills_allowed = False
    package = Package((Leg(later[0], -1), Leg(later[1], 1)))
    assert isinstance(room.send(replace(intent(), package=package), 1), str)
    (order,) = room.gateway.orders
    room.gateway.cancel(order.ids, "")
    for days in (5, 3):
        room.gateway.time = NOON + timedelta(days=days)
        room.gateway.held = {later[0].name: (later[0], -1)}
        restarted(room)
        found = {leg.contract for row in room.system.book.positions.values() for leg in row.legs}
        assert found == (set() if days > 4 else {later[0]})
        room.state.remember("unowned", {})


def test_an_order_of_an_ended_group_that_fills_in_the_next_process_is_its_group_s(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = working(room)
    for order_id, leg in zip(order.ids, (SHORT, WING), strict=True):
        report(room, order_id, leg, FillStatus.CANCELLED)  # it is told so, and works on
    monkeypatch.setattr(room.gateway, "cancel", lambda *_: None)  # faster than its second cancellation
    restarted(room)
    assert room.system.book.positions == {}
    hold(room, short=-1, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=1)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=1)
    (position,) = room.system.book.positions.values()
    assert position.cash == 500.0  # (9.00 - 4.00) x 100
    assert room.system.book.unowned == {}


def test_what_filled_unseen_beside_what_was_told_is_priced_apart_from_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sold, at 4.50 by a report that was lost and at 3.50 by one that came: the account's average is 4.00."""
    order = working(room, 2)
    rows = [Holding(SHORT.name, -2.0, 4.0, 0.0), Holding(WING.name, 2.0, 1.0, 0.0)]
    monkeypatch.setattr(room.gateway, "holdings", lambda: rows)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 3.5, number=2)
    report(room, order.ids[1], WING, FillStatus.FILLED, 2.0, 1.0, number=1)
    (position,) = room.system.book.positions.values()
    assert position.cash == 600.0  # (2 x 4.00 - 2 x 1.00) x 100


def test_a_part_that_is_told_again_after_the_end_without_an_identity_is_what_the_account_holds(room: Room) -> None:
    """One of two packages came and the rest was cancelled; then the short's part comes once more, and nothing of it."""
    order = working(room, 2)
    hold(room, short=-1, wing=1)
    parts = ((order.ids[0], SHORT, -1.0, 9.0), (order.ids[1], WING, 1.0, 4.0))
    for order_id, contract, one, price in parts:
        room.tell(order_id, contract.name, FillStatus.PARTLY_FILLED, one, price)
    room.gateway.orders.clear()
    for order_id, contract, _, _ in parts:
        room.tell(order_id, contract.name, FillStatus.CANCELLED)
    (before,) = room.system.book.positions.values()
    assert (before.cash, room.state.held(before.id)) == (500.0, {SHORT.name: -1.0, WING.name: 1.0})
    room.tell(order.ids[0], SHORT.name, FillStatus.PARTLY_FILLED, -1.0, 9.0)
    (after,) = room.system.book.positions.values()
    assert (after.parts, room.state.held(after.id)) == (before.parts, {SHORT.name: -1.0, WING.name: 1.0})
    room.minutes(2)
    assert len(room.gateway.sent) == 1  # nothing of it is bought back


@pytest.mark.parametrize(("live", "told"), [(True, [1.0, 1.0, 0.0, 0.0]), (False, [0.0, 0.0, 0.0, 0.0])])
def test_a_live_report_without_a_fee_takes_the_brokers_price_list(room: Room, live: bool, told: list[float]) -> None:
    """tastytrade's reports tell no fee (lean-facts 13.17): a dollar a contract to open, nothing to close."""
    order = working(room)
    room.gateway.is_live = lambda: live  # type: ignore[method-assign]
    hold(room, short=-1, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 3.3, number=2)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 0.2, number=2)
    room.gateway.orders.clear()
    (position,) = room.system.book.positions.values()
    assert position.fees == sum(told)
    room.minutes(1)  # what was bought is not sold within ten seconds
    room.executor.close(position, "test", "test")
    (closing,) = room.gateway.orders
    report(room, closing.ids[0], SHORT, FillStatus.FILLED, 1.0, 1.0, number=2)
    report(room, closing.ids[1], WING, FillStatus.FILLED, -1.0, 0.1, number=2)
    assert [row["fee"] for row in room.sink.rows(RecordKind.FILL)] == told


@pytest.mark.parametrize("live", [True, False])
def test_a_fill_that_only_the_account_shows_takes_the_brokers_price_list(
    room: Room, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two packages at a dollar a contract to open: one was told of the short, the rest filled while nobody looked."""
    room.gateway.is_live = lambda: live  # type: ignore[method-assign]
    room.gateway.answers_at_once = lambda: True  # type: ignore[method-assign]  # one look is enough
    order = working(room, 2)
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, -1.0, 3.5, number=1)
    room.gateway.orders.clear()
    hold(room, short=-2, wing=2)
    rows = [Holding(SHORT.name, -2.0, 4.0, 0.0), Holding(WING.name, 2.0, 1.0, 0.0)]
    monkeypatch.setattr(room.gateway, "holdings", lambda: rows)
    for _ in range(2):  # and no second time when it is taken over again
        restarted(room)
        (position,) = room.system.book.positions.values()
        assert position.cash == 600.0  # (2 x 4.00 - 2 x 1.00) x 100
        assert position.fees == (4.0 if live else 0.0)


def test_a_group_at_work_that_is_taken_over_pays_the_price_list_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two packages one filled unseen, a look found it, another process takes over, and the other one is told."""
    room.gateway.is_live = lambda: True  # type: ignore[method-assign]
    room.gateway.answers_at_once = lambda: True  # type: ignore[method-assign]
    order = working(room, 2)
    monkeypatch.setattr(room.gateway, "cancel", lambda *_: None)
    hold(room, short=-1, wing=1)
    for _ in range(2):
        restarted(room)
    (group,) = room.executor._working
    assert group.fees == 2.0
    for order_id, contract, sign in ((order.ids[0], SHORT, -1.0), (order.ids[1], WING, 1.0)):
        report(room, order_id, contract, FillStatus.FILLED, sign, 2.0, number=5)
    assert [position.fees for position in room.system.book.positions.values()] == [4.0]


def test_what_was_charged_by_the_list_is_not_charged_again_by_the_next_process(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that filled at a price that nobody told, and that its group counts already: a dollar, however often."""
    room.gateway.is_live = lambda: True  # type: ignore[method-assign]
    room.gateway.answers_at_once = lambda: True  # type: ignore[method-assign]
    order = working(room)
    monkeypatch.setattr(room.gateway, "cancel", lambda *_: None)
    hold(room, short=-1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, math.nan, number=1)
    for _ in range(3):
        (group,) = room.executor._working
        assert (group.fills[SHORT.name].unpriced, group.fees) == (-1.0, 1.0)
        restarted(room)


def test_a_late_report_puts_its_own_fee_in_place_of_the_list_s(room: Room) -> None:
    """Three of which one filled unseen: a dollar each by the list, and the report of all three tells 4.50 in all."""
    working(room, 3)
    (group,) = room.executor._working
    leg = group.package.legs[0]
    assert fill_gap(group, leg, None, 1.0, -1.0)
    fill = group.fills[leg.contract.name]
    assert (fill.quantity, fill.unpriced, fill.fees) == (-1.0, -1.0, 1.0)
    told = OrderUpdated(
        time=NOON, order_id=1, contract=leg.contract.name, status=FillStatus.FILLED, fill_quantity=-3.0, fill_price=2.0,
        fee=4.5,
    )  # fmt: skip
    new, late, odd = take_fill(group, leg, told, 1.0, Unnamed())
    assert (new, late, odd) == (-2.0, LegExit(-1.0, 200.0, 0.5), 0.0)
    assert (fill.quantity, fill.unpriced, fill.cash, fill.fees) == (-3.0, 0.0, 600.0, 4.5)

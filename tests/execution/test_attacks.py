"""What an attack on the executor found: each case as a script that fails where the rule is missing."""

# Private: _working, _walk: the group itself is looked at while the broker is silent; its judges are left out.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.book import EntryIntent, Position, Refusal
from core.contracts import Contract, Leg, Package, uncovered
from core.events import Command, FillStatus, OrderUpdated
from core.gateway import OrderRefusedError
from core.journal import RecordKind
from core.parts import PartPlan, Terms, Urgency
from execution.executor import AtomicExecutor
from execution.recovery import OrderRecovery
from state.manager import HierarchicalStateManager
from state.store import StateStore
from tests.execution.desk import Room, put
from tests.fake_gateway import FRIDAY, Working, build

SHORT, WING = put(4950.0), put(4920.0)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, vix=60.0)  # so that the wing is worth something and has a bid


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


# A hedge is never sold while its short is open


@pytest.mark.parametrize("urgency", list(Urgency))
@pytest.mark.parametrize("path", ["parts", "emergency", "restart"])
def test_a_refused_buy_back_keeps_the_hedge_on_every_path(
    room: Room, path: str, urgency: Urgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = opened(room, 2)
    usual = room.gateway.send
    refusals: list[int] = []

    def send(package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        if any(leg.ratio > 0 and leg.contract == SHORT for leg in package.legs):
            refusals.append(room.gateway.time.minute)
            raise OrderRefusedError("not now")
        return usual(package, quantity, limit_cash, tag)

    monkeypatch.setattr(room.gateway, "send", send)
    if path == "parts":
        room.executor.unwind(position.id, ["whole"])
    elif path == "restart":
        room.executor.unwind(position.id, ["whole"])
        restarted(room)
    else:
        room.system.command(room.gateway.time, Command.CLOSE_ALL)
    for _ in range(6):
        if path != "restart":
            room.executor.close(position, "test", "because", urgency=urgency)
        room.minutes(1)
        assert naked(room) == 0
        assert room.gateway.held[WING.name][1] == 2
    assert len(refusals) >= 3  # asked again each minute
    monkeypatch.undo()
    for _ in range(6):
        if path == "emergency":
            room.system.command(room.gateway.time, Command.CLOSE_ALL)  # it asks again
        room.minutes(1)
    assert room.gateway.held == {}


def test_a_part_that_covers_another_part_waits_for_it(room: Room) -> None:
    # A long put as one part, a put sold against it as another: closing or unwinding the long alone would leave it bare.
    package = Package((Leg(WING, 1),))
    one = room.send(
        entry_of(package, "long", mid=-8.0),
        1,
    )
    assert isinstance(one, str)
    room.minutes(6)
    two = room.send(entry_of(Package((Leg(SHORT, -1),)), "short", mid=12.0, onto=one), 1)
    assert two == one
    room.minutes(6)
    position = room.system.book.positions[one]
    assert [part.name for part in position.parts] == ["long", "short"]
    room.executor.close(position, "test", "because", Urgency.FINAL, ("long",))
    room.executor.unwind(one, ["long"])
    room.minutes(4)
    assert room.gateway.held[WING.name][1] == 1
    room.executor.close(position, "test", "because", Urgency.FINAL, ("short",))
    room.minutes(6)
    assert room.gateway.held == {}  # the short went first, then its hedge


def entry_of(package: Package, part: str, mid: float, onto: str = "") -> EntryIntent:
    terms = Terms("friday_0dte", part, 100.0, 100.0)
    return EntryIntent("friday_0dte", FRIDAY, package, terms, mid, None, "", (PartPlan(part, package, terms),), onto)


# An unwind is looked at until it is done


def test_an_unwind_without_offers_is_looked_at_until_it_is_done(room: Room) -> None:
    opened(room)
    hold(room, short=-1)  # somebody sold the wing
    room.gateway.no_offer.add(SHORT.name)
    restarted(room)
    assert room.system.coordinator.is_active
    assert room.executor.working
    room.minutes(3)
    assert room.gateway.held  # nothing to buy it back at
    room.gateway.no_offer.clear()
    room.minutes(3)
    assert room.gateway.held == {}
    assert not room.executor.working


# What others trade is found before an order, and taken at once


def test_a_hedge_sold_by_hand_is_not_sold_again(room: Room) -> None:
    position = opened(room, 3)
    hold(room, short=-3)  # 3 long puts sold by hand: no report came
    room.executor.close(position, "test", "because", Urgency.FINAL)
    room.minutes(6)
    assert room.gateway.held == {}  # the shorts were bought back, and no put was sold short
    assert all(leg.contract != WING for _, package, _, _ in room.gateway.sent[1:] for leg in package.legs)


def test_a_foreign_fill_is_taken_at_once_and_takes_back_what_works_on_it(room: Room) -> None:
    position = opened(room, 3)
    room.gateway.fills_allowed = False
    room.executor.close(position, "test", "because")
    hold(room, short=-3, wing=1)
    room.tell(77, WING.name, FillStatus.FILLED, -2.0, 5.0)  # a person sold two of the three wings
    (row,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in row.legs} == {SHORT: -3, WING: 1}
    assert row.parts[0].exits[WING.name].cash == 1000.0  # 2 x 5.00 x 100
    assert [order.package.legs for order in room.gateway.orders] == [(Leg(SHORT, 1),)]  # the unwind: shorts first
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert room.gateway.held == {}


def test_nothing_opens_on_contracts_of_which_the_account_holds_something_else(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(room, wing=2)
    monkeypatch.setattr(room.executor.account, "look", tuple)  # a look that changes nothing
    answer = room.open()
    assert isinstance(answer, Refusal)
    assert answer.rule == "account_differs"
    monkeypatch.undo()
    assert isinstance(room.open(), str)  # looked at, it is known as a person's own


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
    room.gateway.fills_allowed = False
    room.executor.close(position, "profit_target", "because")
    (order,) = room.gateway.orders
    room.gateway.orders.clear()
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
    room.gateway.fills_allowed = False
    room.executor.close(position, "profit_target", "because")
    (order,) = room.gateway.orders
    room.gateway.orders.clear()  # filled, and every report of it is late
    room.gateway.held.clear()
    room.minutes(5)
    assert room.system.book.positions == {}
    assert room.system.book.trades[-1].profit is None
    prices = {SHORT: 6.0, WING: 2.0}
    for number, leg in zip(order.ids, order.package.legs, strict=True):
        report(room, number, leg.contract, FillStatus.FILLED, float(leg.ratio), prices[leg.contract], number=3)
    assert room.system.book.trades[-1].profit == pytest.approx(cash - 100_000.0 - 400.0)
    assert room.state.held(position.id) == {}


def test_an_exit_filled_twice_is_undone(room: Room) -> None:
    position = opened(room)
    room.gateway.fills_allowed = False
    room.executor.close(position, "profit_target", "because")
    (order,) = room.gateway.orders
    room.gateway.orders.clear()
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


# Whole packages stay, in process as after a restart


@pytest.mark.parametrize("restart", [False, True])
def test_one_whole_package_of_three_stays(room: Room, restart: bool) -> None:
    order = working(room, 3)
    hold(room, short=-1, wing=1)
    for order_id, leg, one in ((order.ids[0], SHORT, -1.0), (order.ids[1], WING, 1.0)):
        report(room, order_id, leg, FillStatus.PARTLY_FILLED, one, 2.0, number=2)
    room.gateway.orders.clear()
    if restart:
        restarted(room)
    else:
        for order_id, leg in ((order.ids[0], SHORT), (order.ids[1], WING)):
            report(room, order_id, leg, FillStatus.CANCELLED, number=3)
    room.minutes(4)
    (position,) = room.system.book.positions.values()
    assert [(part.name, part.contracts) for part in position.parts] == [("whole", 1)]
    assert room.state.position(position.id).state == "open"
    assert len(room.gateway.sent) == 1


# A halt stops what is on its way in


@pytest.mark.parametrize("why", ["bus", "command"])
def test_a_halt_takes_a_working_entry_back_at_once_and_never_moves_it(room: Room, why: str) -> None:
    order = working(room)
    moved: list[float] = []

    def move(order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        del order_ids, tag
        moved.append(limit_cash)
        return True

    room.gateway.reprice = move  # type: ignore[method-assign]
    room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]
    if why == "bus":
        room.system.bus.halt_entries("somebody said so")
    else:
        room.system.command(room.gateway.time, Command.HALT)
    (group,) = room.executor._working
    assert group.cancelling
    room.minutes(5)
    assert moved == []
    assert group.order_ids == order.ids


def test_what_fills_before_a_close_all_reaches_it_is_closed_too(room: Room) -> None:
    order = working(room)
    room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]
    room.system.command(room.gateway.time, Command.CLOSE_ALL)
    room.gateway.orders.remove(order)
    hold(room, short=-1, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=2)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=2)
    assert len(room.system.book.positions) == 1
    room.gateway.fills_allowed = True
    for _ in range(6):
        room.minutes(1)
        room.system.minute(room.gateway.time)
        room.system.command(room.gateway.time, Command.CLOSE_ALL)
    assert room.gateway.held == {}


# What a kill leaves


def test_an_order_sent_before_a_kill_is_in_the_journal_after_the_restart(room: Room) -> None:
    order = working(room)
    restarted(room)
    rows = room.sink.rows(RecordKind.ORDER)
    assert (rows[0]["action"], rows[0]["group"]) == ("taken_over", order.tag)


def test_a_broken_package_taken_over_leaves_a_closed_trade(room: Room) -> None:
    working(room)
    room.gateway.orders.clear()
    hold(room, short=-1)
    room.gateway.fills_allowed = True
    restarted(room)
    cash = room.gateway.cash
    room.minutes(4)
    assert room.gateway.held == {}
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert row["part"] == "whole-broken"
    assert row["cash_out"] == pytest.approx(room.gateway.cash - cash)
    assert room.system.book.positions == {}


def test_no_look_is_taken_while_an_order_is_being_sent(room: Room) -> None:
    recovery = room.system.managers[OrderRecovery]
    usual, found = room.gateway.send, []

    def send(package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        found.append(recovery.reconcile().agreed and room.state.pending() != ())
        return usual(package, quantity, limit_cash, tag)

    room.gateway.send = send  # type: ignore[method-assign]
    room.open()
    assert found == [True]  # the intent still stands: it was not judged
    assert not recovery.settled  # and the next minute looks
    recovery.reconcile()
    assert recovery.settled


def test_a_package_of_more_legs_than_an_order_takes_goes_shorts_first(room: Room) -> None:
    strikes = (4960.0, 4950.0, 4940.0)
    legs = [Leg(put(strike), -1) for strike in strikes] + [Leg(put(strike - 40.0), 1) for strike in strikes]
    room.gateway.subscribe([leg.contract for leg in legs])
    rows = {leg.contract.name: (leg.contract, leg.ratio) for leg in legs}
    name = room.send(entry_of(Package(tuple(legs)), "six", mid=20.0), 1)
    assert isinstance(name, str)
    room.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here
    room.minutes(6)
    assert room.gateway.held == rows
    before = len(room.gateway.sent)
    room.executor.close(room.system.book.positions[name], "test", "because", Urgency.FINAL)
    for _ in range(8):
        room.minutes(1)
        assert naked(room) == 0
    orders = [[leg.ratio for leg in package.legs] for _, package, _, _ in room.gateway.sent[before:]]
    assert orders == [[1, 1, 1], [-1, -1, -1]]
    assert room.gateway.held == {}

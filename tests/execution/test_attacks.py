"""What an attack on the executor found: each case as a script that fails where the rule is missing."""

# Private: _working, _walk, _groups: the group itself is looked at while the broker is silent; its judges are left out.

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from core.book import EntryIntent, Refusal
from core.contracts import Leg, Package, Right
from core.events import Command, FillStatus, MinutePassed, NoticeRaised, OrderUpdated, ShareSplit
from core.gateway import Holding, OrderRefusedError
from core.instruments import INSTRUMENTS, adjusted_of
from core.journal import RecordKind
from core.parts import PartPlan, Terms, Urgency
from execution.recovery import OrderRecovery
from tests.execution.desk import SHORT, WING, Room, hold, naked, opened, put, report, restarted, working
from tests.fake_gateway import FRIDAY


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, vix=60.0)  # so that the wing is worth something and has a bid


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


def test_one_of_two_that_are_sold_together_is_no_package(room: Room) -> None:
    # Two packages of two puts each are short four; a person buys one back: of three, one package and half of another.
    room.executor._working._walk.judges.clear()
    name = room.send(entry_of(Package((Leg(SHORT, -2),)), "naked", mid=24.0), 2)
    assert isinstance(name, str)
    room.minutes(6)
    hold(room, short=-3)
    restarted(room)
    assert room.state.held(name) == {SHORT.name: -3.0}
    assert [leg.ratio for leg in room.system.book.positions[name].legs] == [-3]
    room.minutes(4)
    assert room.gateway.held == {}  # what is left of a broken part is bought back, all three


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


def test_an_unwind_whose_first_order_filled_while_nobody_looked_goes_on(room: Room) -> None:
    position = opened(room, 2)
    room.gateway.fills_allowed = False
    room.executor.unwind(position.id, ["whole"])
    assert [leg.ratio for leg in room.gateway.orders[0].package.legs] == [1]  # the shorts are being bought back
    room.gateway.orders.clear()
    hold(room, wing=2)
    restarted(room)
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert room.gateway.held == {}
    assert room.state.positions() == ()


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
    room.minutes(12)
    assert room.gateway.held == rows
    before = len(room.gateway.sent)
    room.executor.close(room.system.book.positions[name], "test", "because", Urgency.FINAL)
    for _ in range(8):
        room.minutes(1)
        assert naked(room) == 0
    orders = [[leg.ratio for leg in package.legs] for _, package, _, _ in room.gateway.sent[before:]]
    assert orders == [[1, 1, 1], [-1, -1, -1]]
    assert room.gateway.held == {}


# Shares that split


def test_nothing_opens_on_shares_that_split_while_contracts_on_them_are_held(room: Room) -> None:
    told: list[str] = []
    room.system.bus.subscribe(NoticeRaised, lambda event: told.append(event.text), component="test")
    for ticker in ("SPX", "QQQ"):  # nothing is held yet
        room.system.happened(ShareSplit(time=room.gateway.time, ticker=ticker, factor=0.5, coming=True))
    assert told == []
    opened(room)
    for coming in (True, False):
        room.system.happened(ShareSplit(time=room.gateway.time, ticker="SPX", factor=0.5, coming=coming))
    assert [text.split(":")[0] for text in told] == ["SPX splits at the next open (0.5)", "SPX has split (0.5)"]
    restarted(room)  # it outlives the process
    other = entry_of(Package((Leg(put(4900.0), -1), Leg(put(4870.0), 1))), "second", mid=1.0)
    room.gateway.subscribe([leg.contract for leg in other.package.legs])
    refused = room.send(other, 1)
    assert isinstance(refused, Refusal)
    assert refused.rule == "split"
    (position,) = room.system.book.positions.values()
    room.executor.close(position, "test", "because", Urgency.FINAL)
    room.minutes(4)
    assert room.system.book.positions == {}
    assert isinstance(room.send(other, 1), str)  # nothing of before the split is held any more


def test_an_adjusted_contract_is_told_and_nothing_opens_beside_it(room: Room) -> None:
    told: list[str] = []
    room.system.bus.subscribe(NoticeRaised, lambda event: told.append(event.text), component="test")
    spy = INSTRUMENTS["SPY"]
    legs = [spy.contract(FRIDAY, strike, Right.PUT, "handle") for strike in (495.0, 490.0)]
    room.gateway.subscribe(legs)
    package = Package((Leg(legs[0], -1), Leg(legs[1], 1)))
    room.gateway.held["SPY1  240308P00495000"] = (legs[0], -1)
    for _ in range(2):
        room.system.command(room.gateway.time, Command.RECONCILE)
    assert [text.split(":")[0] for text in told] == ["SPY1  240308P00495000 is an adjusted contract of SPY"]
    refused = room.send(entry_of(package, "beside", mid=1.0), 1)
    assert isinstance(refused, Refusal)
    assert refused.rule == "adjusted"
    del room.gateway.held["SPY1  240308P00495000"]
    room.system.command(room.gateway.time, Command.RECONCILE)
    assert isinstance(room.send(entry_of(package, "beside", mid=1.0), 1), str)


# Two puts a side at 495 and 490: split two for one they are four at 247.5 and 245; a special dividend takes 3.50 off.
@pytest.mark.parametrize(
    ("factor", "off", "words"),
    [
        (2, 0.0, "adjusted by a split of 2 for 1"),
        (10, 0.0, "split of 10 for 1"),
        (1, 3.5, "adjusted to another strike"),
    ],
)
def test_what_was_adjusted_under_its_own_root_is_recognised(room: Room, factor: int, off: float, words: str) -> None:
    spy = INSTRUMENTS["SPY"]
    legs = [spy.contract(FRIDAY, strike, Right.PUT, "handle") for strike in (495.0, 490.0)]
    room.gateway.subscribe(legs)
    room.executor._working._walk.judges.clear()
    package = Package((Leg(legs[0], -1), Leg(legs[1], 1)))
    assert isinstance(room.send(entry_of(package, "spy", mid=1.0), 2), str)
    room.minutes(6)
    assert len(room.system.book.positions) == 1
    now = [spy.contract(FRIDAY, round(row.strike / factor - off, 2), Right.PUT, "handle") for row in legs]
    room.gateway.held = {row.name: (row, count * factor) for row, count in zip(now, (-2, 2), strict=True)}
    told: list[str] = []
    room.system.bus.subscribe(NoticeRaised, lambda event: told.append(event.text), component="test")
    before = len(room.gateway.sent)
    for _ in range(2):
        room.system.command(room.gateway.time, Command.RECONCILE)
    assert [words in text for text in told] == [True]
    assert {name: count for name, count in room.system.book.unowned.items() if count} == {
        now[0].name: -2.0 * factor,
        now[1].name: 2.0 * factor,
    }
    restarted(room)  # it outlives the process
    other = [spy.contract(FRIDAY, strike, Right.PUT, "handle") for strike in (497.0, 492.0)]
    room.gateway.subscribe(other)
    entry = entry_of(Package((Leg(other[0], -1), Leg(other[1], 1))), "second", mid=1.0)
    refused = room.send(entry, 1)
    assert isinstance(refused, Refusal)
    assert refused.rule == "split"
    assert len(room.gateway.sent) == before  # what it became is a person's
    room.gateway.held.clear()
    room.system.command(room.gateway.time, Command.RECONCILE)
    room.gateway.subscribe(other)
    assert isinstance(room.send(entry, 1), str)


def test_only_a_numbered_root_of_shares_is_adjusted() -> None:
    names = ("TLT1 240308P95", "SPY 240308P495", "SPXW 240308P4950", "SPX1 240308P4950", "XYZ1 240308P1", "TLT1", "SPY")
    assert [adjusted_of(name) for name in names] == ["TLT", None, None, None, None, None, None]


# An exit of which only some was told, and that the broker has no order of


def test_what_an_order_in_doubt_has_bought_back_is_not_bought_again(room: Room) -> None:
    position = opened(room, 2)
    room.gateway.fills_allowed = False
    room.executor.close(position, "profit_target", "because")
    (order,) = room.gateway.orders
    room.gateway.orders.clear()
    hold(room, wing=2)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, 2.0, 9.0, number=1)
    room.executor._working._groups.clear()  # nobody hears of it any more, and what became of it is not decided yet
    assert position.legs == room.system.book.positions[position.id].legs  # the book counts an exit when it is over
    before = len(room.gateway.sent)
    for urgency in Urgency:
        room.executor.close(position, "command", "close all", urgency)
        room.executor.unwind(position.id, ["whole"])
    traded = [leg.contract for _, package, _, _ in room.gateway.sent[before:] for leg in package.legs]
    assert SHORT not in traded


# Reports that say what cannot be, and halts that are told in the middle of a minute


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("status", [FillStatus.PARTLY_FILLED, FillStatus.FILLED])
def test_a_fill_at_no_price_is_counted_and_the_state_can_be_read(
    room: Room, price: float | None, status: FillStatus
) -> None:
    """Two were ordered. The account holds what filled at 1.00; its average is the price until somebody tells one."""
    order = working(room, 2)
    first = -1.0 if status is FillStatus.PARTLY_FILLED else -2.0
    room.gateway.held = {SHORT.name: (SHORT, int(first))}
    average = [Holding(SHORT.name, first, 1.0, 1.0)]
    room.gateway.holdings = lambda: average  # type: ignore[method-assign]
    event = OrderUpdated(
        time=room.gateway.time, order_id=order.ids[0], contract=SHORT.name, status=status, fill_quantity=first,
        fill_price=price, fee=math.nan, number=1,
    )  # fmt: skip
    room.system.happened(event)
    (group,) = room.executor._working
    fill = group.fills[SHORT.name]
    assert (fill.quantity, fill.cash, fill.fees) == (first, -first * 100.0, 0.0)
    restarted(room)
    assert room.state.order_group(group.id).detail["filled"] == {SHORT.name: first}


def test_no_entry_moves_between_a_halt_and_its_event(room: Room) -> None:
    """A halt within a minute's handlers is told after them: what opens stands still all the same, and is taken back."""
    room.gateway.fills_allowed = False
    assert isinstance(room.open(), str)
    limit = room.gateway.orders[0].limit

    seen: list[object] = []

    def halt(_event: MinutePassed) -> None:
        room.system.bus.halt_entries("a sign")
        room.gateway.time += timedelta(minutes=2)
        room.executor.advance(room.gateway.time)
        seen.extend(order.limit for order in room.gateway.orders)
        entry = entry_of(Package((Leg(put(4900.0), -1), Leg(put(4870.0), 1))), "second", mid=1.0)
        room.gateway.subscribe([leg.contract for leg in entry.package.legs])
        refused = room.send(entry, 1)
        seen.append(refused.rule if isinstance(refused, Refusal) else refused)

    room.system.bus.subscribe(MinutePassed, halt, component="test")
    room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert seen in (["halted"], [limit, "halted"])
    assert room.gateway.orders == []
    assert len(room.gateway.sent) == 1

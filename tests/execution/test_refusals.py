"""What a live broker refuses without a word: a cancel, a new price; and what an exit must not wait for."""

# Private: _working, _walk: the group between two minutes, and a walk without its judges.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.book import Refusal
from core.contracts import Leg, Package
from core.events import Command, FillStatus, MinutePassed, NoticeKind, NoticeRaised, OrderUpdated
from core.gateway import OpenOrder
from core.parts import Urgency
from core.settings.fields import OrderSettings
from execution.walking import sort_out
from tests.execution.desk import NOON, Room, intent, opened, put, quote


def refuse_cancels(room: Room) -> list[int]:
    """A broker that takes no cancel and says nothing; the minutes at which it was asked."""
    asked: list[int] = []

    def ask(order_ids: Sequence[int], tag: str) -> None:
        del order_ids, tag
        asked.append(room.gateway.time.minute)

    room.gateway.cancel = ask  # type: ignore[method-assign]
    return asked


def test_a_cancel_is_repeated_each_minute_until_the_broker_says_so(tmp_path: Path) -> None:
    room = Room(tmp_path)
    told: list[NoticeRaised] = []
    room.system.bus.subscribe(NoticeRaised, told.append, component="test")
    room.gateway.fills_allowed = False
    room.open()
    ids = room.gateway.orders[0].ids
    taken = room.gateway.cancel
    asked = refuse_cancels(room)
    room.executor.cancel_entries("a person said halt")
    room.minutes(4)
    assert asked == [0, 1, 2, 3, 4]
    doubts = [row.text for row in told if row.kind is NoticeKind.DOUBT]
    assert len(doubts) == 1  # told once
    assert "cannot be cancelled and works at" in doubts[0]
    room.gateway.cancel = taken  # type: ignore[method-assign]
    room.minutes(1)
    assert not room.executor.working
    assert ids not in [order.ids for order in room.gateway.orders]


def test_a_refused_price_leaves_the_limit_at_the_broker_s(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.gateway.fills_allowed = False
    shown = {put(4950.0).name: quote(3.0, 3.6), put(4920.0).name: quote(0.2, 0.5)}
    room.gateway.quote = lambda contract: shown[contract.name]  # type: ignore[method-assign]
    room.open()
    group = next(iter(room.executor._working))
    room.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here
    first, ids = group.limit, group.order_ids
    room.gateway.reprice = lambda *_: True  # type: ignore[method-assign]  # what LEAN's queue answers
    room.minutes(1)
    assert group.limit != first
    for order_id, contract in zip(ids, (put(4950.0), put(4920.0)), strict=True):
        room.system.happened(
            OrderUpdated(
                time=room.gateway.time,
                order_id=order_id,
                contract=contract.name,
                status=FillStatus.SUBMITTED,
                fill_quantity=0.0,
                fill_price=None,
                fee=0.0,
                message="Brokerage failed to update order",
            )
        )
    assert group.limit == first
    assert room.state.order_group(group.id).detail["limit"] == first


def test_the_broker_s_own_numbers_are_remembered_where_orders_outlive_the_process(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.gateway.fills_allowed = False
    room.open()
    group = next(iter(room.executor._working))
    row = OpenOrder(group.order_ids[0], put(4950.0).name, -1.0, None, "", ("B7",))
    room.gateway.open_orders = lambda: [row]  # type: ignore[method-assign]
    room.gateway.answers_at_once = lambda: False  # type: ignore[method-assign]
    room.tell(group.order_ids[0], put(4950.0).name, FillStatus.UPDATED)
    assert room.state.order_group(group.id).detail["broker_ids"] == ["B7"]


def test_a_long_leg_of_two_ticks_or_less_is_left_out_of_an_exit(tmp_path: Path) -> None:
    room = Room(tmp_path)
    short, wing = Leg(put(4950.0), -1), Leg(put(4920.0), 1)
    shown = {short.contract.name: quote(1.0, 1.1)}
    room.gateway.quote = lambda contract: shown[contract.name]  # type: ignore[method-assign]
    rows = (  # bid, offer of the wing; two ticks of SPXW are 0.10
        (0.05, 0.10, True),  # the vanished bid that live still shows
        (0.10, 0.20, True),
        (0.15, 0.20, False),
        (0.10, 3.00, False),  # an offer far away says nothing of its worth
        (None, 0.20, True),
    )
    for bid, ask, left_out in rows:
        shown[wing.contract.name] = quote(bid, ask)
        found = sort_out((short, wing), room.gateway, OrderSettings())
        assert (wing in found.worthless) is left_out, (bid, ask)
        assert short in found.ready
    shown[wing.contract.name] = quote(0.05, 0.10)
    assert wing in sort_out((short, wing), room.gateway, OrderSettings(worthless_ticks=0)).ready


def test_nothing_opens_in_the_last_half_hour_of_its_expiry(tmp_path: Path) -> None:
    shown = {put(4950.0).name: quote(3.0, 3.6), put(4920.0).name: quote(0.2, 0.5)}
    for minute, refused in ((29, False), (30, True), (45, True)):  # the close is at 16:00
        room = Room(tmp_path / str(minute))
        room.gateway.quote = lambda contract: shown[contract.name]  # type: ignore[method-assign]
        room.gateway.time = NOON.replace(hour=15, minute=minute)
        answer = room.open()
        assert isinstance(answer, Refusal) is refused, answer
        if isinstance(answer, Refusal):
            assert (answer.rule, answer.limit, answer.observed) == ("expires_soon", 30.0, 60.0 - minute)


def test_after_three_refusals_an_ordinary_exit_waits_for_a_person_and_an_urgent_one_goes_on(tmp_path: Path) -> None:
    """A fill that LEAN lost makes every closing order be refused: it is not asked again and again, and it is told."""
    room = Room(tmp_path)
    position = opened(room)
    told: list[NoticeRaised] = []
    room.system.bus.subscribe(NoticeRaised, told.append, component="test")
    room.gateway.refuse = "cannot be closed now"
    asked: list[int] = []
    plain = room.gateway.send

    def send(package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        asked.append(room.gateway.time.minute)
        return plain(package, quantity, limit_cash, tag)

    room.gateway.send = send  # type: ignore[method-assign]
    for _ in range(6):
        room.executor.close(position, "profit_target", "half of the credit")
        room.minutes(1)
    assert len(asked) == 3
    doubts = [row.text for row in told if row.kind is NoticeKind.DOUBT]
    assert len(doubts) == 1
    assert "3 orders to close" in doubts[0]
    assert "cannot be closed now" in doubts[0]
    asked.clear()
    for _ in range(4):
        room.executor.close(position, "deadline", "15:30", Urgency.FINAL)
        room.executor.close(position, "deadline", "15:30", Urgency.FINAL)  # within the minute it is not asked twice
        room.minutes(1)
    assert len(asked) == len(set(asked)) == 5  # the last by the minute that passed after the fourth word
    room.gateway.refuse = ""
    room.executor.close(position, "deadline", "15:30", Urgency.FINAL)
    room.minutes(2)
    left = room.system.book.positions.get(position.id)
    assert left is None or not [leg for leg in left.legs if leg.ratio < 0]


def test_an_exit_goes_on_without_a_wing_that_came_to_be_worth_nothing(tmp_path: Path) -> None:
    """Two steps of the walk with it, then the short alone, where the walk was: 1.50 + 2 x 0.1 x 1.00 = 1.70."""
    room = Room(tmp_path)
    position = opened(room)
    room.gateway.fills_allowed = False
    wing = {"bid": 0.30, "ask": 0.40}
    shown = {put(4950.0).name: quote(1.0, 2.0)}
    room.gateway.quote = lambda contract: shown.get(contract.name) or quote(**wing)  # type: ignore[method-assign]
    first = len(room.gateway.sent)
    room.executor.close(position, "profit_target", "half of the credit")
    room.minutes(2)
    wing.update(bid=0.10, ask=0.30)
    assert [[leg.ratio for leg in sent[1].legs] for sent in room.gateway.sent[first:]] == [[1, -1]]
    room.minutes(1)
    assert [[leg.ratio for leg in sent[1].legs] for sent in room.gateway.sent[first:]] == [[1, -1], [1]]
    assert room.gateway.sent[-1][3] == -1.70
    room.gateway.fills_allowed = True
    room.minutes(6)
    assert [leg.ratio for leg in room.system.book.positions[position.id].legs] == [1]  # part of its trade to the end
    assert len(room.gateway.sent) == first + 2


def test_a_package_filled_in_part_is_taken_back_after_two_minutes_not_three(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.gateway.fills_allowed = False
    shown = {put(4950.0).name: quote(3.0, 3.6), put(4920.0).name: quote(0.2, 0.5)}
    room.gateway.quote = lambda contract: shown[contract.name]  # type: ignore[method-assign]
    room.open()
    room.executor._working._walk.judges.clear()
    asked = refuse_cancels(room)
    first = room.gateway.orders[0].ids[0]
    room.minutes(1)
    room.tell(first, put(4950.0).name, FillStatus.FILLED, -1.0)
    room.minutes(1)
    assert asked == []
    room.minutes(1)
    assert asked == [3]


def fails(*_: object) -> None:
    raise RuntimeError("said by the engine")


def test_what_is_held_is_looked_at_in_a_minute_in_which_the_orders_fail(tmp_path: Path) -> None:
    """At five past three its time is over: its exit goes out, though nothing that works can be moved."""
    room = Room(tmp_path, vix=60.0)
    opened(room)
    room.executor.advance = fails  # type: ignore[method-assign, assignment]
    room.gateway.time = NOON.replace(hour=15, minute=5)
    room.system.clock.advance(room.gateway.time)
    room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert [[leg.ratio for leg in sent[1].legs] for sent in room.gateway.sent] == [[-1, 1], [1]]  # the wing has no bid
    assert "said by the engine" in str(room.system.bus.entries_halted)


def test_an_emergency_closes_what_is_held_though_an_entry_cannot_be_taken_back(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    opened(room)
    room.gateway.fills_allowed = False
    other = (put(4900.0), put(4870.0))
    room.gateway.subscribe(other)
    room.executor._working._walk.judges.clear()
    assert isinstance(room.send(replace(intent(), package=Package((Leg(other[0], -1), Leg(other[1], 1)))), 1), str)
    room.executor.cancel_entries = fails  # type: ignore[method-assign, assignment]
    room.system.command(room.gateway.time, Command.CLOSE_ALL)
    room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert [[leg.ratio for leg in sent[1].legs] for sent in room.gateway.sent] == [[-1, 1], [-1, 1], [1, -1]]

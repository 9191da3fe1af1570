"""Packages of more legs than an order takes: several orders of one group, hedges first, all of them or none."""

# Private: _working, _walk (the group itself is looked at; its judges are left out), _fill (the fake broker's own).

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core.book import EntryIntent, Refusal
from core.contracts import Contract, Leg, Package, Right, uncovered
from core.events import Command, FillStatus, MinutePassed
from core.gateway import OrderRefusedError
from core.journal import RecordKind
from core.parts import WHOLE, PartPlan, Terms, Urgency
from execution.groups import opening_orders
from state.tables import OrderGroupState
from tests.execution.desk import SPXW, Room, naked, put, report, restarted
from tests.fake_gateway import FRIDAY, Working


def call(strike: float) -> Contract:
    return SPXW.contract(FRIDAY, strike, Right.CALL, "handle")


SIX = Package(
    (
        Leg(put(4950.0), -1),
        Leg(put(4920.0), 1),
        Leg(put(4900.0), -1),
        Leg(put(4870.0), 1),
        Leg(call(5050.0), -1),
        Leg(call(5080.0), 1),
    )
)
"""Two put spreads and a call spread."""


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path, vix=60.0)
    made.gateway.subscribe([leg.contract for leg in SIX.legs])
    made.executor._working._walk.judges.clear()
    return made


def six(package: Package = SIX, onto: str = "") -> EntryIntent:
    terms = Terms("friday_0dte", "six", 100.0, 100.0)
    return EntryIntent("friday_0dte", FRIDAY, package, terms, 5.0, None, "", (PartPlan(WHOLE, package, terms),), onto)


def opened_six(room: Room, contracts: int = 2) -> str:
    name = room.send(six(), contracts)
    assert isinstance(name, str)
    return name


def filled(room: Room, order: Working) -> None:
    """The broker fills an order at its mids and tells it."""
    room.gateway.orders.remove(order)
    room.gateway._fill(order, [1.0 for _ in order.package.legs])


# Which orders


def test_pairs_first_then_hedges_then_what_no_long_covers() -> None:
    # Each short goes with its nearest cover; a short put sold twice has no single cover and goes last.
    first, second = opening_orders(SIX, 4)
    assert [(leg.contract.strike, leg.ratio) for leg in first] == [(4920, 1), (4950, -1), (4870, 1), (4900, -1)]
    assert [(leg.contract.strike, leg.ratio) for leg in second] == [(5080, 1), (5050, -1)]
    ratio = Package((Leg(put(4800.0), -2), *SIX.legs))
    assert [leg.contract.strike for leg in opening_orders(ratio, 4)[-1]] == [5080, 5050, 4800]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_each_order_is_safe_once_those_before_it_have_filled(most: int) -> None:
    legs = (*SIX.legs, Leg(put(4800.0), -2), Leg(put(4780.0), 1))
    orders = opening_orders(Package(legs), most)
    assert sorted(leg.contract.name for order in orders for leg in order) == sorted(leg.contract.name for leg in legs)
    held: list[Leg] = []
    whole = uncovered(legs)  # of the two at 4800 one is bare
    for order in orders:
        assert len(order) <= most
        held += order
        assert uncovered(held) <= whole
        if order is not orders[-1]:
            assert uncovered(held) == 0


def test_four_legs_are_one_order() -> None:
    assert opening_orders(Package(SIX.legs[:4]), 4) == ()


# All of it


def test_six_legs_open_as_two_orders_and_are_one_position(room: Room) -> None:
    name = opened_six(room)
    assert [len(package.legs) for _, package, _, _ in room.gateway.sent] == [4]  # the second waits for the first
    room.minutes(12)
    assert [len(package.legs) for _, package, _, _ in room.gateway.sent] == [4, 2]
    position = room.system.book.positions[name]
    (part,) = position.parts
    assert (part.name, part.contracts, part.package, part.is_whole) == (WHOLE, 2, SIX, True)
    assert not room.executor.working
    (group,) = room.state.order_groups(ended=True)
    assert group.state == OrderGroupState.FILLED
    # 6 legs of 2 contracts at a dollar each of fees; the position's cash is all that the account has gained.
    assert part.entry_fees == 12.0
    assert part.entry_cash - part.entry_fees == pytest.approx(room.gateway.cash - 100_000.0)
    assert [row["action"] for row in room.sink.rows(RecordKind.ORDER)].count("sent") == 2


def test_six_legs_close_hedges_last_in_orders_of_four_at_most(room: Room) -> None:
    name = opened_six(room)
    room.minutes(12)
    position = room.system.book.positions[name]
    for _ in range(8):
        if name in room.system.book.positions:
            room.executor.close(position, "test", "because", Urgency.NORMAL)
        room.minutes(1)
        assert naked(room) == 0
    assert room.gateway.held == {}
    assert max(len(package.legs) for _, package, _, _ in room.gateway.sent) <= 4


def test_ten_hedges_left_over_go_in_orders_of_four_at_most(room: Room) -> None:
    legs = tuple(Leg(put(5020.0 - 10 * count), 1) for count in range(10))
    room.gateway.subscribe([leg.contract for leg in legs])
    name = room.send(six(Package(legs)), 1)
    assert isinstance(name, str)
    room.minutes(24)
    assert len(room.system.book.positions[name].parts[0].legs) == 10
    room.executor.unwind(name, [WHOLE])
    room.minutes(6)
    assert room.gateway.held == {}
    assert {len(package.legs) for _, package, _, _ in room.gateway.sent} == {2, 4}


def test_parts_of_a_large_entry_are_parts_of_its_position(room: Room) -> None:
    terms = Terms("friday_0dte", "six", 100.0, 100.0)
    plans = (PartPlan("puts", Package(SIX.legs[:4]), terms), PartPlan("calls", Package(SIX.legs[4:]), terms))
    name = room.send(EntryIntent("friday_0dte", FRIDAY, SIX, terms, 5.0, None, "", plans), 1)
    assert isinstance(name, str)
    room.minutes(12)
    assert [(part.name, part.is_whole) for part in room.system.book.positions[name].parts] == [
        ("puts", True),
        ("calls", True),
    ]


# Every state of a large entry and what is reported in it


def _first(room: Room) -> Working:
    room.gateway.fills_allowed = False
    opened_six(room)
    (order,) = room.gateway.orders
    return order


def _second(room: Room) -> Working:
    filled(room, _first(room))
    (order,) = room.gateway.orders
    return order


def _gone(room: Room) -> None:
    """Whatever was held of it has been unwound, hedges last, and nothing is left."""
    room.gateway.fills_allowed = True
    for _ in range(6):
        room.minutes(1)
        assert naked(room) == 0
    assert room.gateway.held == {}
    assert room.system.book.positions == {}
    assert not room.executor.working
    assert [row["profit"] is not None for row in room.sink.rows(RecordKind.TRADE_CLOSED)] in ([], [True])


def test_the_first_in_part_then_cancelled_is_unwound_and_no_second_leaves(room: Room) -> None:
    order = _first(room)
    (wing, short) = order.package.legs[:2]
    # One of two hedges and nothing else: no whole package.
    room.gateway.held[wing.contract.name] = (wing.contract, 1)
    report(room, order.ids[0], wing.contract, FillStatus.PARTLY_FILLED, 1.0, 2.0, number=1, filled=1.0)
    room.gateway.cancel(order.ids, "")
    assert len(room.gateway.sent) == 1 or all(len(package.legs) == 1 for _, package, _, _ in room.gateway.sent[1:])
    _gone(room)
    assert short.contract.name not in room.gateway.held


def test_the_first_rejected_is_nothing(room: Room) -> None:
    order = _first(room)
    room.gateway.orders.clear()
    for order_id, leg in zip(order.ids, order.package.legs, strict=True):
        room.tell(order_id, leg.contract.name, FillStatus.REJECTED)
    assert len(room.gateway.sent) == 1
    _gone(room)


@pytest.mark.parametrize("word", [Command.HALT, Command.CLOSE_ALL])
def test_a_halt_while_the_first_works_lets_no_second_leave(room: Room, word: Command) -> None:
    order = _first(room)
    usual = room.gateway.cancel
    room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]
    room.system.command(room.gateway.time, word)
    room.gateway.cancel = usual  # type: ignore[method-assign]
    filled(room, order)  # faster than its cancellation
    assert all(
        leg.contract not in (call(5050.0), call(5080.0)) for _, sent, _, _ in room.gateway.sent for leg in sent.legs
    )
    _gone(room)


@pytest.mark.parametrize("status", [FillStatus.CANCELLED, FillStatus.REJECTED])
def test_the_second_cancelled_or_rejected_unwinds_the_first(room: Room, status: FillStatus) -> None:
    order = _second(room)
    room.gateway.orders.clear()
    for order_id, leg in zip(order.ids, order.package.legs, strict=True):
        room.tell(order_id, leg.contract.name, status)
    _gone(room)


def test_the_second_refused_unwinds_the_first(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    order, usual = _first(room), room.gateway.send

    def send(package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        if any(leg.contract == call(5050.0) for leg in package.legs):
            raise OrderRefusedError("not this one")
        return usual(package, quantity, limit_cash, tag)

    monkeypatch.setattr(room.gateway, "send", send)
    filled(room, order)
    assert room.state.order_groups(ended=True)[0].state == OrderGroupState.REJECTED
    _gone(room)


def test_the_second_filled_in_part_unwinds_all_hedges_last(room: Room) -> None:
    order = _second(room)
    hedge, short = order.package.legs
    room.gateway.held[hedge.contract.name] = (hedge.contract, 2)
    report(room, order.ids[0], hedge.contract, FillStatus.FILLED, 2.0, 1.0, number=1, filled=2.0)
    room.gateway.time += timedelta(seconds=room.system.settings.orders.unwind_after_seconds + 60)
    room.minutes(1)
    assert room.gateway.orders == [] or short.contract.name not in room.gateway.held
    _gone(room)


def test_an_unfilled_second_is_taken_back_at_the_end_of_its_walk(room: Room) -> None:
    _second(room)
    room.minutes(room.system.settings.orders.walk_steps + 2)
    assert len(room.gateway.held) in (2, 4)  # the shorts of the first are being bought back, then its hedges go
    _gone(room)


def test_no_second_leaves_beside_what_the_account_does_not_hold(room: Room) -> None:
    order = _first(room)
    room.gateway.orders.remove(order)
    # The wing at 4920 is sold by a person in the same moment: the fills are told, the account holds one of two.
    for leg in order.package.legs:
        room.gateway.held[leg.contract.name] = (leg.contract, 2 * leg.ratio)
    room.gateway.held[put(4920.0).name] = (put(4920.0), 1)
    for order_id, leg in zip(order.ids, order.package.legs, strict=True):
        room.tell(order_id, leg.contract.name, FillStatus.FILLED, 2.0 * leg.ratio)
    assert len(room.gateway.sent) == 1 or all(
        leg.contract != call(5050.0) for _, sent, _, _ in room.gateway.sent for leg in sent.legs
    )
    room.gateway.fills_allowed = True
    room.minutes(8)
    assert room.gateway.held == {}


def test_a_judge_is_told_what_the_whole_would_bring(room: Room) -> None:
    heard: list[float] = []

    class Judge:
        def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
            heard.append(brings)
            return None

    judge = Judge()
    room.executor.judged_by(judge)
    filled(room, _first(room))  # each leg at 1.00: longs and shorts cancel out, nothing was brought yet
    # Asked before the second: 0 so far, and what the calls bring at their mid, rounded down to the tick, or natural.
    bid, ask = room.gateway.quote(call(5050.0)), room.gateway.quote(call(5080.0))
    assert bid is not None
    assert bid.mid is not None
    assert ask is not None
    assert ask.mid is not None
    assert heard == [pytest.approx(bid.mid - ask.mid, abs=0.051)]


def test_a_judge_that_refuses_the_second_ends_it(room: Room) -> None:
    class Judge:
        def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
            return Refusal("test", "no more")

    judge = Judge()
    order = _first(room)
    room.executor.judged_by(judge)
    filled(room, order)
    assert len([sent for _, sent, _, _ in room.gateway.sent if len(sent.legs) == 4]) == 1
    ended = [row for row in room.sink.rows(RecordKind.ORDER) if "only some of its orders" in row["reason"]]
    assert room.state.order_groups(ended=True)[0].state == OrderGroupState.CANCELLED
    assert ended == [] or ended[0]["rule"] == "test"
    _gone(room)


def test_the_second_is_held_against_its_own_price_and_not_the_whole_package_s(room: Room) -> None:
    room.gateway.answers_at_once = lambda: False  # type: ignore[method-assign]
    _second(room)  # at 1 or 2 points, where the whole package brings over 5
    room.gateway.reprice = lambda *_: True  # type: ignore[method-assign]
    for _ in range(4):
        room.gateway.time += timedelta(minutes=1)
        room.system.clock.advance(room.gateway.time)
        room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert not room.executor.account.in_doubt


# A restart


def test_a_restart_while_the_first_works_takes_it_back(room: Room) -> None:
    _first(room)
    restarted(room)
    assert room.gateway.orders == []
    _gone(room)


def test_a_restart_between_the_two_unwinds(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    order = _first(room)

    def killed(*_: object) -> tuple[int, ...]:
        raise KeyboardInterrupt

    monkeypatch.setattr(room.gateway, "send", killed)
    with pytest.raises(KeyboardInterrupt):
        filled(room, order)
    monkeypatch.undo()
    (group,) = room.state.order_groups()
    assert group.pending is not None  # the second was about to leave
    restarted(room)
    _gone(room)


@pytest.mark.parametrize("sent", [False, True])
def test_a_restart_while_the_second_works_unwinds_all(room: Room, sent: bool) -> None:
    order = _second(room)
    if sent:  # some of it filled while nobody looked
        hedge = order.package.legs[0]
        room.gateway.held[hedge.contract.name] = (hedge.contract, 2)
    restarted(room)
    assert room.gateway.orders == [] or all(len(order.package.legs) <= 4 for order in room.gateway.orders)
    _gone(room)


def test_a_second_that_filled_while_nobody_looked_is_the_whole_package(room: Room) -> None:
    order = _second(room)
    usual, room.gateway.events = room.gateway.events, lambda _: None  # nobody is told
    filled(room, order)
    room.gateway.events = usual
    restarted(room)
    (position,) = room.system.book.positions.values()
    assert [(part.name, part.contracts, part.is_whole) for part in position.parts] == [(WHOLE, 2, True)]
    room.minutes(5)
    assert len(room.gateway.held) == 6


def test_reports_that_come_again_send_no_third(room: Room) -> None:
    order = _first(room)
    filled(room, order)
    before = len(room.gateway.sent)
    for order_id, leg in zip(order.ids, order.package.legs, strict=True):
        room.tell(order_id, leg.contract.name, FillStatus.FILLED, 2.0 * leg.ratio)
        room.tell(order_id, leg.contract.name, FillStatus.CANCELLED)
    assert len(room.gateway.sent) == before == 2
    room.gateway.fills_allowed = True
    room.minutes(10)
    assert sorted(count for _, count in room.gateway.held.values()) == [-2, -2, -2, 2, 2, 2]


def test_an_old_word_on_the_first_counts_nothing_again_once_the_account_decided(room: Room) -> None:
    # Both orders fill, the last short's report is late: the account says that all six filled. Then the broker tells
    # something old of the first order, which the group as it was before still stood for: all of it counted twice.
    first = _first(room)
    filled(room, first)
    (second,) = room.gateway.orders
    room.gateway.orders.remove(second)
    for leg in second.package.legs:
        room.gateway.held[leg.contract.name] = (leg.contract, 2 * leg.ratio)
    hedge = second.package.legs[0]
    room.tell(second.ids[0], hedge.contract.name, FillStatus.FILLED, 2.0 * hedge.ratio)
    room.minutes(6)
    (group,) = room.state.order_groups(ended=True)
    assert group.state == OrderGroupState.FILLED
    sent, whole = len(room.gateway.sent), {leg.contract.name: 2.0 * leg.ratio for leg in SIX.legs}
    room.tell(first.ids[0], first.package.legs[0].contract.name, FillStatus.UPDATED)
    room.minutes(3)
    (position,) = room.system.book.positions.values()
    assert [(part.name, part.contracts, part.is_whole) for part in position.parts] == [(WHOLE, 2, True)]
    assert room.state.held(position.id) == whole
    assert len(room.gateway.sent) == sent  # nothing is unwound

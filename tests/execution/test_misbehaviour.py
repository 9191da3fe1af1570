"""A broker, an engine, a disk and a person that misbehave: one script each, and what holds after it."""

# Private: _working, _walk: an entry whose judges are left out, and a group that the engine would not take.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.book import Refusal
from core.contracts import Leg, Package
from core.events import Command, FillStatus, MinutePassed
from core.gateway import Holding, OpenOrder, OrderRefusedError
from core.journal import RecordKind
from core.parts import Urgency
from execution.recovery import OrderRecovery
from tests.execution.desk import SHORT, WING, Room, hold, intent, naked, opened, put, report, restarted, working

OTHER = (put(4900.0), put(4870.0))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path, vix=60.0)  # so that the wing is worth something and has a bid
    made.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here
    return made


def pass_minutes(room: Room, count: int) -> None:
    """Minutes of the executor; what it raises is told on the bus, as a minute's errors are."""
    for _ in range(count):
        room.gateway.time += timedelta(minutes=1)
        room.system.clock.advance(room.gateway.time)
        room.gateway.work_orders()
        room.system.bus.publish(MinutePassed(time=room.gateway.time))


def held_by_state(room: Room) -> dict[str, float]:
    """Contracts by the state, those of positions that ended too."""
    total: dict[str, float] = {}
    for position in room.state.positions(ended=True):
        for name, count in room.state.held(position.id).items():
            total[name] = total.get(name, 0.0) + count
    return total


def in_account(room: Room) -> dict[str, float]:
    return {name: float(count) for name, (_, count) in room.gateway.held.items()}


def second_entry(room: Room) -> None:
    """An entry on other contracts, at work."""
    room.gateway.subscribe(OTHER)
    package = Package((Leg(OTHER[0], -1), Leg(OTHER[1], 1)))
    assert isinstance(room.send(replace(intent(), package=package), 1), str)


def breaks(act: Callable[..., Any], only: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
    """The same act, which raises something of the engine's own where ``only`` says so."""

    def broken(*values: Any) -> Any:
        if only(*values):
            raise RuntimeError("said by the engine")
        return act(*values)

    return broken


# The engine raises what nobody knows


@pytest.mark.parametrize("taken", [True, False])
def test_a_sending_that_breaks_off_is_decided_by_the_account(room: Room, taken: bool) -> None:
    usual = room.gateway.send

    def send(*values: Any) -> tuple[int, ...]:
        if taken:
            usual(*values)
        raise RuntimeError("no answer")

    room.gateway.send = send  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        room.open()
    room.gateway.send = usual  # type: ignore[method-assign]
    room.minutes(6)  # silent for two minutes, absent at two looks
    assert in_account(room) == held_by_state(room)
    assert len(room.system.book.positions) == int(taken)
    assert not room.executor.working


@pytest.mark.parametrize("act", ["reprice", "cancel"])
def test_an_order_that_the_engine_will_not_touch_keeps_no_other_from_its_exit(room: Room, act: str) -> None:
    """The entry cannot be moved, or cannot be taken back; the exit beside it goes on each minute."""
    position = opened(room)
    room.gateway.fills_allowed = False
    second_entry(room)
    (entry,) = room.gateway.orders
    usual = getattr(room.gateway, act)
    setattr(room.gateway, act, breaks(usual, lambda ids, *_: tuple(ids) == entry.ids))
    if act == "cancel":
        room.system.command(room.gateway.time, Command.HALT)
    room.executor.close(position, "stop_loss", "because", Urgency.URGENT)
    exit_ = room.gateway.orders[-1]
    limits = [exit_.limit]
    for _ in range(3):
        pass_minutes(room, 1)
        limits.append(exit_.limit)
    assert limits == sorted(limits, reverse=True)
    assert len(set(limits)) == 4
    room.gateway.fills_allowed = True
    pass_minutes(room, 2)
    assert position.id not in room.system.book.positions


def test_a_refused_cancellation_is_told_in_the_engine_s_words_and_asked_again(room: Room) -> None:
    order = working(room)
    usual, asked = room.gateway.cancel, list[int]()

    def cancel(ids: Sequence[int], tag: str) -> None:
        asked.append(room.gateway.time.minute)
        if len(asked) < 3:
            raise OrderRefusedError("too late to cancel")
        usual(ids, tag)

    room.gateway.cancel = cancel  # type: ignore[method-assign, assignment]
    room.executor.cancel_entries("a test")
    pass_minutes(room, 3)
    assert asked == [0, 1, 2]
    told = [row["reason"] for row in room.sink.rows(RecordKind.ORDER) if row["action"] == "cancel_refused"]
    assert told == ["too late to cancel"] * 2
    assert order not in room.gateway.orders
    assert not room.executor.working


def test_a_refused_price_is_asked_for_again_though_it_is_the_same(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    usual, asked = room.gateway.reprice, list[float]()

    def reprice(ids: Sequence[int], limit: float, tag: str) -> bool:
        asked.append(limit)
        if len(asked) == 1:
            raise OrderRefusedError("not now")
        return usual(ids, limit, tag)

    room.gateway.reprice = reprice  # type: ignore[method-assign, assignment]
    first = room.gateway.orders[0].limit
    pass_minutes(room, 1)
    (group,) = room.executor._working
    assert group.limit == first  # what the broker has
    pass_minutes(room, 1)
    assert group.limit == room.gateway.orders[0].limit == asked[1]
    assert [row["reason"] for row in room.sink.rows(RecordKind.ORDER) if row["action"] == "price_refused"] == [
        "not now"
    ]


def test_an_account_that_cannot_be_read_lets_nothing_leave(room: Room) -> None:
    position = opened(room)
    usual, before = room.gateway.holdings, len(room.gateway.sent)
    room.gateway.holdings = breaks(usual)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        room.executor.close(position, "test", "because", Urgency.FINAL)
    assert len(room.gateway.sent) == before
    room.gateway.holdings = usual  # type: ignore[method-assign]
    room.executor.close(position, "test", "because", Urgency.FINAL)
    room.minutes(2)
    assert room.gateway.held == {}


# Refusals that are none, and reports of other times


def test_an_entry_that_was_refused_and_works_all_the_same_is_its_own_position(room: Room) -> None:
    """The engine says no, the broker has the order, and it fills: it was nobody's, over restarts too."""
    usual = room.gateway.send

    def send(*values: Any) -> tuple[int, ...]:
        usual(*values)
        raise OrderRefusedError("no answer within ten seconds")

    room.gateway.send = send  # type: ignore[method-assign, assignment]
    refused = room.open()
    assert isinstance(refused, Refusal)
    room.gateway.send = usual  # type: ignore[method-assign]
    room.minutes(2)
    room.system.managers[OrderRecovery].reconcile()
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {SHORT: -1, WING: 1}
    restarted(room)
    assert room.system.book.unowned == {}
    assert in_account(room) == held_by_state(room)
    room.executor.close(room.system.book.positions[position.id], "test", "because", Urgency.FINAL)
    room.minutes(3)
    assert room.gateway.held == {}


def test_an_entry_that_never_left_owns_nothing(room: Room) -> None:
    """Held back by the rate: what a person then buys and sells of the same contracts is theirs."""
    room.executor.pace.take = lambda *_, **__: False  # type: ignore[method-assign]
    refused = room.open()
    assert isinstance(refused, Refusal)
    assert refused.rule == "order_rate"
    hold(room, short=-1, wing=1)
    room.system.managers[OrderRecovery].reconcile()
    assert room.system.book.positions == {}
    assert room.system.book.unowned == {SHORT.name: -1.0, WING.name: 1.0}


def test_a_part_that_is_told_again_to_the_next_process_counts_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of three came; the process ends, and the next one, which knows no reports, hears of the part once more."""
    order = working(room, 3)
    monkeypatch.setattr(room.gateway, "cancel", lambda *_: None)
    hold(room, short=-1, wing=1)
    parts = ((order.ids[0], SHORT, -1.0, 9.0), (order.ids[1], WING, 1.0, 4.0))
    for order_id, contract, one, price in parts:
        report(room, order_id, contract, FillStatus.PARTLY_FILLED, one, price, number=2)
    restarted(room)
    for order_id, contract, one, price in parts:
        report(room, order_id, contract, FillStatus.PARTLY_FILLED, one, price, number=2)
    for order_id, contract, _, _ in parts:
        report(room, order_id, contract, FillStatus.CANCELLED, number=3)
    (position,) = room.system.book.positions.values()
    assert held_by_state(room) == in_account(room) == {SHORT.name: -1.0, WING.name: 1.0}
    assert (position.parts[0].contracts, position.cash) == (1, 500.0)  # (9.00 - 4.00) x 100, once


def test_all_of_it_told_twice_under_other_numbers_and_prices_counts_once(room: Room) -> None:
    order = working(room, 2)
    hold(room, short=-2, wing=2)
    for number, short, wing in ((2, 9.0, 4.0), (3, 8.0, 3.0)):
        report(room, order.ids[0], SHORT, FillStatus.FILLED, -2.0, short, number=number)
        report(room, order.ids[1], WING, FillStatus.FILLED, 2.0, wing, number=number)
    (position,) = room.system.book.positions.values()
    assert position.cash == 1000.0  # 2 x (9.00 - 4.00) x 100
    assert held_by_state(room) == in_account(room)


def test_an_end_that_came_before_its_fill_and_its_beginning_is_a_whole_package(room: Room) -> None:
    order = working(room)
    hold(room, short=-1, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 9.0, number=2)
    report(room, order.ids[1], WING, FillStatus.CANCELLED, number=2)
    room.gateway.orders.clear()
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 4.0, number=3)
    report(room, order.ids[1], WING, FillStatus.SUBMITTED, number=1)
    room.gateway.fills_allowed = True
    room.minutes(6)
    assert held_by_state(room) == in_account(room)
    assert naked(room) == 0


@pytest.mark.parametrize("short", [-0.4, -1.6, -1e12])
def test_a_quantity_that_no_order_has_is_as_much_as_one_can_have(room: Room, short: float) -> None:
    order = working(room, 2)
    hold(room, short=-2, wing=2)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, short, 9.0, number=2)
    report(room, order.ids[1], WING, FillStatus.FILLED, 2.0, 4.0, number=2)
    assert held_by_state(room) == in_account(room)
    (position,) = room.system.book.positions.values()
    # Less than half a contract is none, so no price came: two at the middle, 7.875, less two wings at 4.00.
    assert position.cash == (775.0 if short == -0.4 else 1000.0)


def test_a_report_on_another_contract_stops_entries_and_no_exit(room: Room) -> None:
    position = opened(room)
    room.gateway.fills_allowed = False
    room.executor.close(position, "test", "because", Urgency.URGENT)
    report(room, room.gateway.orders[0].ids[0], put(4000.0), FillStatus.FILLED, 1.0, 9.0, number=2)
    assert "none of its legs" in str(room.system.bus.entries_halted)
    room.gateway.fills_allowed = True
    room.minutes(3)
    assert room.gateway.held == {}
    assert held_by_state(room) == {}


# Exits and unwinds that go wrong half-way


def test_a_buy_back_rejected_after_a_part_of_it_keeps_every_hedge(room: Room) -> None:
    position = opened(room, 3)
    room.gateway.fills_allowed = False
    room.executor.unwind(position.id, ["whole"])
    (order,) = room.gateway.orders
    hold(room, short=-2, wing=3)
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, 1.0, 9.0, number=2)
    room.gateway.orders.clear()
    report(room, order.ids[0], SHORT, FillStatus.REJECTED, number=3)
    assert held_by_state(room) == in_account(room)
    room.gateway.fills_allowed = True
    for _ in range(5):
        room.minutes(1)
        assert naked(room) == 0
    assert room.gateway.held == {}


def test_a_broker_that_ends_each_exit_by_itself_does_not_end_the_trying(room: Room) -> None:
    position = opened(room, 2)
    room.gateway.fills_allowed = False
    for _ in range(6):
        room.executor.close(position, "deadline", "15:30", Urgency.FINAL)
        for order in list(room.gateway.orders):
            room.gateway.cancel(order.ids, "the broker")
        room.minutes(1)
    room.gateway.fills_allowed = True
    room.executor.close(position, "deadline", "15:30", Urgency.FINAL)
    room.minutes(3)
    assert room.gateway.held == {}


class KilledHereError(BaseException):
    """The process ends."""


def ends_at(act: Callable[..., Any], at: int, after: bool) -> Callable[..., Any]:
    """The same act, at which the process ends once, before or after it."""
    acts = 0

    def ending(*values: Any) -> Any:
        nonlocal acts
        acts += 1
        if acts == at and not after:
            raise KilledHereError
        done = act(*values)
        if acts == at:
            raise KilledHereError
        return done

    return ending


@pytest.mark.parametrize("after", [True, False])
def test_a_process_that_ends_at_any_act_of_an_unwind_bares_no_short_and_trades_nothing_twice(
    tmp_path: Path, after: bool
) -> None:
    for at in range(1, 5):  # a buy-back and a sale are all: two acts
        room = Room(tmp_path / f"{at}", vix=60.0)
        position = opened(room, 2)
        room.gateway.send = ends_at(room.gateway.send, at, after)  # type: ignore[method-assign]
        try:
            room.executor.unwind(position.id, ["whole"])
            room.minutes(6)
        except KilledHereError:
            restarted(room)
        for _ in range(8):
            room.minutes(1)
            assert naked(room) == 0
        assert room.gateway.held == {}, at
        assert held_by_state(room) == {}, at


def test_a_close_all_waits_an_hour_for_an_offer_and_keeps_the_hedge(room: Room) -> None:
    opened(room, 2)
    room.gateway.no_offer.add(SHORT.name)
    room.system.command(room.gateway.time, Command.CLOSE_ALL)
    pass_minutes(room, 60)
    assert in_account(room) == {SHORT.name: -2.0, WING.name: 2.0}
    room.gateway.no_offer.clear()
    pass_minutes(room, 4)
    assert room.gateway.held == {}


def test_an_order_of_which_the_broker_shows_the_rest_alone_is_followed_to_its_end(room: Room) -> None:
    """Renumbered and without a tag after a restart, with what is left of it: two of three."""
    working(room, 3)
    room.gateway.is_live = lambda: True  # type: ignore[method-assign]
    room.gateway.answers_at_once = lambda: True  # type: ignore[method-assign]
    hold(room, short=-1, wing=1)
    rows = [OpenOrder(51, SHORT.name, -2.0, 51, "", ("B9",)), OpenOrder(52, WING.name, 2.0, 51, "", ("B9",))]
    room.gateway.orders.clear()
    room.gateway.open_orders = lambda: rows  # type: ignore[method-assign]
    taken_back: list[tuple[int, ...]] = []
    room.gateway.cancel = lambda order_ids, tag: taken_back.append(tuple(order_ids))  # type: ignore[method-assign]
    restarted(room)
    assert taken_back == [(51, 52)]
    assert held_by_state(room) == in_account(room)
    hold(room, short=-3, wing=3)
    rows.clear()
    for order_id, contract, some in ((51, SHORT, -2.0), (52, WING, 2.0)):
        report(room, order_id, contract, FillStatus.FILLED, some, 5.0, number=1)
    assert [part.contracts for row in room.system.book.positions.values() for part in row.parts] == [3]
    assert held_by_state(room) == in_account(room)


# What is shown of the account cannot be


@pytest.mark.parametrize("average", [math.nan, math.inf, -1.0, 1e300])
def test_an_average_price_that_cannot_be_is_none_and_the_state_can_be_read(room: Room, average: float) -> None:
    """It went into the cash of an entry that filled while nobody looked, and no later start could read the state."""
    working(room)
    room.gateway.orders.clear()
    hold(room, short=-1, wing=1)
    rows = [Holding(SHORT.name, -1.0, average, 0.0), Holding(WING.name, 1.0, average, 0.0)]
    room.gateway.holdings = lambda: rows  # type: ignore[method-assign]
    assert [row.average_price for row in rows] == [0.0, 0.0]
    for _ in range(2):
        restarted(room)
        (position,) = room.system.book.positions.values()
        assert held_by_state(room) == in_account(room)
        assert position.cash is not None
        assert math.isfinite(position.cash)


def shown(quantity: float) -> list[Holding]:
    return [Holding(SHORT.name, quantity, 1.0, 1.0), Holding(WING.name, 2.0, 1.0, 1.0)]


@pytest.mark.parametrize("quantity", [math.nan, math.inf, -1e12])
@pytest.mark.parametrize("live", [True, False])
def test_a_quantity_that_cannot_be_held_is_no_sign_that_a_short_is_gone(
    room: Room, quantity: float, live: bool
) -> None:
    """The hedge was sold and the short was nobody's. What is urgent buys shorts back while nothing can be believed."""
    position = opened(room, 2)
    room.gateway.answers_at_once = lambda: not live  # type: ignore[method-assign]
    usual = room.gateway.holdings
    room.gateway.holdings = lambda: shown(quantity)  # type: ignore[method-assign]
    room.system.managers[OrderRecovery].reconcile()
    room.executor.close(position, "test", "because", Urgency.FINAL)
    sold = [leg for _, package, _, _ in room.gateway.sent[1:] for leg in package.legs if leg.ratio < 0]
    assert (sold, naked(room)) == ([], 0)
    room.gateway.holdings = usual  # type: ignore[method-assign]
    for _ in range(6):
        room.minutes(1)
        room.system.managers[OrderRecovery].reconcile()
        for row in list(room.system.book.positions.values()):
            room.executor.close(row, "test", "because", Urgency.FINAL)
        assert naked(room) == 0
    assert room.gateway.held == {}
    assert held_by_state(room) == {}


def test_a_short_that_is_shown_as_a_long_leaves_no_hedge_too_many(room: Room) -> None:
    position = opened(room, 2)
    hold(room, short=2, wing=2)  # a person bought four
    room.system.managers[OrderRecovery].reconcile()
    room.executor.close(position, "test", "because", Urgency.FINAL)
    room.minutes(4)
    assert in_account(room) == {SHORT.name: 2.0}  # the person's own
    assert room.system.book.unowned == {SHORT.name: 2.0}


def test_an_order_that_the_broker_has_twice_is_held_once_and_the_other_is_nobody_s(room: Room) -> None:
    order = working(room)
    room.gateway.orders.append(replace(order, ids=(91, 92)))
    room.gateway.fills_allowed = True
    room.minutes(2)
    room.system.managers[OrderRecovery].reconcile()
    assert room.system.book.unowned == {SHORT.name: -1.0, WING.name: 1.0}
    (position,) = room.system.book.positions.values()
    room.executor.close(position, "test", "because", Urgency.FINAL)
    room.minutes(3)
    assert in_account(room) == {SHORT.name: -1.0, WING.name: 1.0}


# The journal's disk


def test_a_row_that_the_journal_s_disk_does_not_take_ends_nothing_half_way(tmp_path: Path) -> None:
    """Each row of a life refused once: what it tells happens all the same, and the row is written after it.

    A row about a fill left the fill's position in the state alone: nobody managed it until the next start.
    """
    plain = life(Room(tmp_path / "plain", vix=60.0), 0)
    for at in range(1, len(plain)):
        room = Room(tmp_path / str(at), vix=60.0)
        assert life(room, at) == plain, at


def life(room: Room, refused: int) -> list[str]:
    """The lines of an entry of two and of its exit, one of which was refused at first."""
    usual, count = room.sink.append, 0

    def append(line: str) -> None:
        nonlocal count
        count += 1
        if count == refused:
            raise OSError(28, "no space left")
        usual(line)

    room.sink.lines.clear()
    room.sink.append = append  # type: ignore[method-assign]
    position = opened(room, 2)
    assert in_account(room) == held_by_state(room)
    room.executor.close(position, "test", "because", Urgency.FINAL)
    room.minutes(2)
    assert room.gateway.held == {}
    assert held_by_state(room) == {}
    assert room.system.bus.entries_halted is None
    room.system.journal.record(RecordKind.SYSTEM, component="test", reason="what is owed goes before it")
    return room.sink.lines

"""Prices of packages, the walk, and what the executor leaves behind after every kind of interruption."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.book import EntryIntent, Refusal
from core.contracts import Leg, Package, Quote
from core.events import (
    BrokerReconnected,
    Command,
    FillStatus,
    MinutePassed,
)
from core.gateway import Holding
from core.journal import RecordKind
from core.parts import Terms, Urgency
from core.settings.fields import OrderSettings
from execution.executor import AtomicExecutor
from execution.states import describe_package, rebuild_package, rebuild_position
from execution.walking import anomaly, crossing_limit, round_down, walk_limit
from market.chains import package_price
from state.manager import HierarchicalStateManager
from state.store import StateStore
from tests.execution.desk import Room, intent, put, quote, spread
from tests.fake_gateway import FRIDAY, build

SETTINGS = OrderSettings()


def test_mid_and_natural_of_a_put_spread() -> None:
    # Sold 4.00 x 4.40, bought 1.00 x 1.20: mid 4.20 - 1.10 = 3.10, natural 4.00 - 1.20 = 2.80, spread 0.60.
    price = package_price(spread().legs, [quote(4.0, 4.4), quote(1.0, 1.2)])
    assert price is not None
    assert (price.mid, price.natural, price.spread) == pytest.approx((3.1, 2.8, 0.6))


def test_a_debit_walks_up_in_what_it_pays() -> None:
    price = package_price(spread().reversed().legs, [quote(4.0, 4.4), quote(1.0, 1.2)])
    assert price is not None
    assert price.natural == pytest.approx(-3.4)
    assert walk_limit(price, 0, SETTINGS) == pytest.approx(-3.1)
    assert crossing_limit(price, 1, SETTINGS) == pytest.approx(-4.0)  # the allowance is the spread of 0.60


@pytest.mark.parametrize(
    "quotes", [[None, quote(1.0, 1.2)], [quote(4.4, 4.0), quote(1.0, 1.2)], [quote(4.0, None)] * 2]
)
def test_no_price_without_usable_quotes(quotes: list[Quote | None]) -> None:
    assert package_price(spread().legs, quotes) is None


@given(st.floats(-500, 500), st.sampled_from([0.01, 0.05, 0.25]))
def test_rounding_never_favours_us_and_is_never_zero(cash: float, tick: float) -> None:
    rounded = round_down(cash, tick)
    assert rounded <= cash + 1e-4 * max(tick, abs(cash))
    assert abs(rounded / tick - round(rounded / tick)) < 1e-6
    assert abs(rounded) >= tick / 2


def test_packages_survive_being_written_down() -> None:
    assert rebuild_package(describe_package(spread())) == spread()


@pytest.mark.parametrize(("mid", "model", "refused"), [(3.1, 2.0, True), (3.1, 2.7, False), (0.5, 0.2, False)])
def test_a_price_far_from_the_models_is_an_anomaly(mid: float, model: float, refused: bool) -> None:
    # Over 25 % of the model's and over 0.50: 1.10 of 2.00 is both; 0.40 is under 0.50; 0.30 too.
    assert (anomaly(intent(mid, model), SETTINGS) is not None) is refused


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_filled_entry_is_a_position_in_book_and_state(room: Room) -> None:
    name = room.open(2)
    assert isinstance(name, str)
    room.minutes(6)
    position = room.system.book.positions[name]
    (part,) = position.parts
    assert part.contracts == 2
    assert part.entry_cash == pytest.approx(part.credit * 200)
    assert room.state.position(name).state == "open"
    assert rebuild_position(room.state.position(name)) == position


def test_an_unfilled_entry_leaves_nothing(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    room.minutes(7)
    assert (room.gateway.orders, room.system.book.positions, room.system.book.pending) == ([], {}, {})
    assert room.state.order_groups() == ()
    assert room.state.positions() == ()


def test_the_same_intent_is_sent_once(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    room.minutes(7)
    second = room.open()
    assert isinstance(second, Refusal)
    assert second.rule == "state"
    assert len(room.gateway.sent) == 1


def test_a_contract_held_the_other_way_is_not_netted(room: Room) -> None:
    room.open()
    room.minutes(6)
    package = Package((Leg(put(4950.0), 1), Leg(put(4920.0), -2)))
    other = EntryIntent("other", FRIDAY, package, Terms("other", "ratio", 1.0, 1.0), 1.0, None, "")
    refused = room.send(other, 1)
    assert isinstance(refused, Refusal)
    assert refused.rule == "overlap"


def test_a_refused_order_leaves_state_and_book_clean(room: Room) -> None:
    room.gateway.refuse = "no such thing"
    assert isinstance(room.open(), Refusal)
    assert room.system.book.pending == {}
    assert room.state.positions() == ()


def test_three_rejections_in_a_row_halt_entries(room: Room) -> None:
    room.gateway.refuse = "no"
    for day in range(3):
        room.send(EntryIntent("s", FRIDAY + timedelta(days=day), spread(), Terms("s", "x", 1.0, 1.0), 3.0, None, ""), 1)
    assert room.system.bus.entries_halted is not None
    assert "3 rejected orders" in room.system.bus.entries_halted


@pytest.mark.parametrize("filled", [0, 1])
def test_one_leg_alone_is_unwound(tmp_path: Path, filled: int) -> None:
    room = Room(tmp_path, vix=60.0)  # so that the wing has a bid
    room.gateway.fills_allowed = False
    room.open()
    order = room.gateway.orders.pop()
    leg = order.package.legs[filled]
    for index, order_id in enumerate(order.ids):
        if index == filled:
            room.gateway.held[leg.contract.name] = (leg.contract, leg.ratio)
            room.tell(order_id, leg.contract.name, FillStatus.FILLED, float(leg.ratio))
        else:
            room.tell(order_id, order.package.legs[index].contract.name, FillStatus.CANCELLED)
    room.gateway.fills_allowed = True
    room.minutes(3)
    assert room.gateway.held == {}
    assert room.system.book.positions == {}
    assert room.system.book.pending == {}


def test_shorts_are_bought_back_before_longs_are_sold(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    room.gateway.fills_allowed = False
    room.open(2)
    order = room.gateway.orders.pop()
    # Both shorts and one of two longs filled: one package is whole and stays, the other short must go.
    for order_id, leg, count in zip(order.ids, order.package.legs, (-2, 1), strict=True):
        room.tell(order_id, leg.contract.name, FillStatus.PARTLY_FILLED, float(count))
        room.gateway.held[leg.contract.name] = (leg.contract, count)
    for order_id, leg in zip(order.ids, order.package.legs, strict=True):
        room.tell(order_id, leg.contract.name, FillStatus.CANCELLED)
    room.gateway.fills_allowed = True
    room.minutes(4)
    unwinding = [
        [(leg.contract.strike, leg.ratio * count) for leg in package.legs]
        for _, package, count, _ in room.gateway.sent[1:]
    ]
    assert unwinding == [[(4950.0, 1)]]
    assert {contract.strike: count for contract, count in room.gateway.held.values()} == {4950.0: -1, 4920.0: 1}
    (position,) = room.system.book.positions.values()
    assert [(part.name, part.contracts) for part in position.parts] == [("whole", 1)]
    assert room.state.position(position.id).state == "open"
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert (row["part"], row["ended"]) == ("whole-broken", False)


def test_an_exit_is_never_given_up(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)  # so that the wing is worth something and has a bid
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.fills_allowed = False
    room.executor.close(room.system.book.positions[name], "test", "because")
    room.minutes(9)
    (order,) = room.gateway.orders
    natural = package_price(order.package.legs, [room.gateway.quote(leg.contract) for leg in order.package.legs])
    assert natural is not None
    assert order.limit < natural.natural  # it crosses by now
    room.minutes(4)  # after five minutes of crossing it is closed in parts, the shorts first
    (order,) = room.gateway.orders
    assert [leg.ratio for leg in order.package.legs] == [1]
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert room.gateway.held == {}
    assert room.system.book.positions == {}
    assert room.state.positions() == ()
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert row["exit_rule"] == "test"
    assert room.gateway.cash - 100_000.0 == pytest.approx(row["profit"])


def test_a_wing_without_a_bid_is_left_to_expire(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.vix = lambda _: 5.0
    room.executor.close(room.system.book.positions[name], "profit_target", "because")
    assert [leg.ratio for leg in room.gateway.sent[-1][1].legs] == [1]
    room.minutes(8)
    # The wing stays a part of its position, and the trade is not over, until the clearing house takes it away.
    (part,) = room.system.book.positions[name].parts
    assert {leg.contract.name: leg.ratio for leg in part.legs} == {put(4920.0).name: 1}
    assert room.sink.rows(RecordKind.TRADE_CLOSED) == []
    assert room.state.position(name).state == "open"
    room.gateway.expire(FRIDAY)
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert [leg["exit"] for leg in row["legs"]][1] == 0.0
    assert row["exit_rule"] == "profit_target"
    assert room.system.book.positions == {}
    assert room.state.position(name).state == "expired"
    assert row["profit"] == pytest.approx(room.gateway.cash - 100_000.0)


def test_a_trade_says_how_long_its_orders_took_and_what_they_gained(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    shown = {put(4950.0).name: quote(9.0, 9.4), put(4920.0).name: quote(4.0, 4.2)}
    room.gateway.quote = lambda contract: shown[contract.name]  # type: ignore[method-assign]
    name = room.open(2)
    assert isinstance(name, str)
    room.minutes(1)
    # Sold at mids 9.20 - 4.10 = 5.10 a minute after it was sent; at natural 9.00 - 4.20 = 4.80: 0.30 x 200 = 60.
    room.executor.close(room.system.book.positions[name], "test", "because")
    room.gateway.fills_allowed = False
    room.minutes(2)
    room.gateway.fills_allowed = True
    room.minutes(1)
    # Bought back at the mid too, 5.10 against natural 9.40 - 4.00 = 5.40, after three minutes.
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert (row["open_seconds"], row["open_improvement"]) == (60.0, pytest.approx(60.0))
    assert (row["close_seconds"], row["close_improvement"]) == (180.0, pytest.approx(60.0))


def test_closing_twice_sends_once(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.fills_allowed = False
    sent = len(room.gateway.sent)
    for _ in range(3):
        room.executor.close(room.system.book.positions[name], "test", "because", urgency=Urgency.URGENT)
    assert len(room.gateway.sent) == sent + 1


def test_a_rejected_exit_keeps_the_position_and_is_tried_again(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    position = room.system.book.positions[name]
    room.executor.close(position, "test", "because")
    order = room.gateway.orders.pop()
    for order_id, leg in zip(order.ids, order.package.legs, strict=True):
        room.tell(order_id, leg.contract.name, FillStatus.REJECTED)
    assert room.state.position(name).state == "open"
    room.executor.close(position, "test", "again")
    room.minutes(6)
    assert not [leg for row in room.system.book.positions.values() for leg in row.legs if leg.ratio < 0]


def test_errors_never_reach_the_engine(room: Room) -> None:
    room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert room.sink.rows(RecordKind.ERROR) == []


# A new process, and a person's hand at the broker


def restarted(room: Room) -> Room:
    """The process ends without a word and another takes over."""
    room.system.managers[StateStore].close()
    room.gateway.subscribed.clear()
    room.system, room.sink = build(room.gateway)
    room.executor = room.system.managers[AtomicExecutor]
    room.state = room.system.managers[HierarchicalStateManager]
    return room


def hold_at(room: Room, monkeypatch: pytest.MonkeyPatch, counts: dict[float, int]) -> None:
    """The account holds so many puts by strike, bought or sold at 4.00 (4950) and 1.00 (4920)."""
    averages = {4950.0: 4.0, 4920.0: 1.0}
    rows = [Holding(put(strike).name, float(count), averages[strike], 0.0) for strike, count in counts.items()]
    room.gateway.held = {put(strike).name: (put(strike), count) for strike, count in counts.items()}
    monkeypatch.setattr(room.gateway, "holdings", lambda: rows)


def test_an_entry_that_filled_while_nobody_looked_is_taken_into_the_book(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.gateway.fills_allowed = False
    name = room.open(2)
    assert isinstance(name, str)
    room.gateway.orders.clear()
    hold_at(room, monkeypatch, {4950.0: -2, 4920.0: 2})
    restarted(room)
    position = room.system.book.positions[name]
    # Two packages sold at 4.00 - 1.00 = 3.00: 600 dollars.
    (part,) = position.parts
    assert (part.contracts, part.entry_prices) == (2, (4.0, 1.0))
    assert part.entry_cash == pytest.approx(600.0)
    assert room.state.position(name).state == "open"
    assert rebuild_position(room.state.position(name)) == position
    assert set(room.gateway.subscribed) == {leg.contract.name for leg in spread().legs}


def test_half_of_what_a_person_closed_is_gone_from_the_book(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    name = room.open(2)
    assert isinstance(name, str)
    room.minutes(6)
    before = room.system.book.positions[name]
    hold_at(room, monkeypatch, {4950.0: -1, 4920.0: 1})
    room.system.command(room.gateway.time, Command.RECONCILE)
    after = room.system.book.positions[name]
    assert after.parts[0].contracts == 1
    assert after.parts[0].entry_cash == pytest.approx(before.parts[0].entry_cash / 2)
    assert room.state.position(name).detail["parts"]["whole"]["contracts"] == 1
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)  # the other half: a trade of which nobody knows the result
    assert (row["contracts"], row["profit"], row["exit_rule"], row["ended"]) == (1, None, "closed_outside", False)


def test_a_package_of_which_a_leg_is_gone_is_unwound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    hold_at(room, monkeypatch, {4950.0: -1})
    room.system.happened(BrokerReconnected(time=room.gateway.time))
    monkeypatch.undo()
    room.minutes(3)
    assert room.gateway.held == {}
    assert room.state.positions() == ()
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert row["profit"] is None  # what the wing was sold for by somebody else, nobody told


@pytest.mark.parametrize("purpose", ["entry", "exit"])
def test_what_works_at_the_broker_is_taken_over(tmp_path: Path, purpose: str) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open()
    assert isinstance(name, str)
    if purpose == "exit":
        room.minutes(6)
        room.gateway.fills_allowed = False
        room.executor.close(room.system.book.positions[name], "profit_target", "because")
    room.gateway.fills_allowed = False
    sent = len(room.gateway.sent)
    restarted(room)
    room.minutes(1)
    assert len(room.gateway.sent) == sent, "never sent again"
    room.gateway.fills_allowed = True
    room.minutes(6)
    assert room.gateway.orders == []  # the entry was taken back, the exit walked on and filled
    assert room.gateway.held == {}
    assert room.state.order_groups() == room.state.positions() == ()


def test_an_order_of_a_group_that_has_ended_is_cancelled(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    (order,) = room.gateway.orders
    room.minutes(7)  # its walk ends, it is cancelled
    room.gateway.orders.append(order)  # but the broker still works it
    room.system.command(room.gateway.time, Command.RECONCILE)
    (row,) = room.sink.rows(RecordKind.RECONCILIATION)[:1]
    assert row["difference"] == "orphan_order"


# What the coordinator does on a person's word, and what it leaves alone


def test_a_persons_word_halts_closes_resumes_and_asks(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.system.command(room.gateway.time, Command.HALT)
    assert "halt" in str(room.system.bus.entries_halted)
    room.system.command(room.gateway.time, Command.CLOSE_ALL)
    assert room.state.system == "emergency"
    room.minutes(6)
    assert room.system.book.positions == {}
    room.system.command(room.gateway.time, Command.STATUS)
    room.system.command(room.gateway.time, Command.RESUME)
    assert (room.system.bus.entries_halted, str(room.state.system)) == (None, "normal")
    assert [row["reason"] for row in room.sink.rows(RecordKind.COMMAND)] == ["halt", "close_all", "status", "resume"]


def test_windows_of_nobody_and_days_that_were_never_seen(room: Room) -> None:
    coordinator = room.system.coordinator
    room.system.entry_window(room.gateway.time, "nobody", "open")
    room.system.entry_window(room.gateway.time, "friday_0dte", "unheard of")
    assert room.sink.rows(RecordKind.DECISION) == []
    coordinator.finish(room.gateway.time, [FRIDAY, FRIDAY + timedelta(days=1), FRIDAY + timedelta(days=7)])
    rows = [(row["day"], row["rule"]) for row in room.sink.rows(RecordKind.DECISION)]
    assert rows == [("2024-03-08", "no_data"), ("2024-03-15", "no_data")]
    room.system.entry_window(room.gateway.time, "friday_0dte", "open")  # decided already
    assert len(room.sink.rows(RecordKind.DECISION)) == 2
    assert coordinator.position_of("nobody") is None


def test_a_contract_of_no_leg_is_an_error_and_halts(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    (order,) = room.gateway.orders
    room.tell(order.ids[0], "SPXW 240308P1", FillStatus.FILLED, 1.0)
    assert room.system.bus.entries_halted is not None
    (row,) = room.sink.rows(RecordKind.ERROR)
    assert "none of its legs" in row["detail"]


def test_what_belongs_to_nobody_is_watched_and_counted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    hold_at(room, monkeypatch, {4950.0: -1})
    room.system.command(room.gateway.time, Command.RECONCILE)
    assert room.system.book.unowned == {put(4950.0).name: -1.0}
    assert room.gateway.watched[-1:] == ("SPX",)
    assert put(4950.0).name in room.gateway.subscribed
    assert room.gateway.sent == []

"""Prices of packages, the walk, and what the executor leaves behind after every kind of interruption."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.book import EntryIntent, Refusal, Terms
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import FillStatus, MinutePassed, OrderUpdated
from core.gateway import FAMILIES
from core.journal import MemorySink, RecordKind
from core.settings_fields import OrderSettings
from execution.executor import AtomicExecutor
from execution.groups import describe_package, rebuild_package
from execution.pricing import anomaly, crossing_limit, round_down, walk_limit
from execution.recovery import rebuild_position
from market.chains import PackagePrice, package_price
from state.manager import HierarchicalStateManager
from tests.fake_gateway import FRIDAY, FakeGateway, build
from trading_system import TradingSystem

SPXW = FAMILIES["SPXW"]
SETTINGS = OrderSettings()
NOON = datetime.combine(FRIDAY, time(12, 0))


def put(strike: float, expiry: date = FRIDAY) -> Contract:
    return Contract(SPXW.base, "SPXW", expiry, strike, Right.PUT, SPXW.style, SPXW.settlement, 100.0, "handle")


def spread() -> Package:
    return Package((Leg(put(4950.0), -1), Leg(put(4920.0), 1)))


def quote(bid: float | None, ask: float | None) -> Quote:
    return Quote(bid, ask, NOON)


def test_mid_and_natural_of_a_put_spread() -> None:
    # Sold 4.00 x 4.40, bought 1.00 x 1.20: mid 4.20 - 1.10 = 3.10, natural 4.00 - 1.20 = 2.80, spread 0.60.
    price = package_price(spread().legs, [quote(4.0, 4.4), quote(1.0, 1.2)])
    assert price is not None
    assert (price.mid, price.natural, price.spread) == pytest.approx((3.1, 2.8, 0.6))


def test_the_walk_goes_from_mid_to_natural_in_tenths_of_the_spread() -> None:
    price = PackagePrice(3.1, 2.8, 0.05)
    # 3.10, 3.04, 2.98, 2.92, 2.86, 2.80 and never beyond, each at the tick below.
    limits = [walk_limit(price, step, SETTINGS) for step in range(8)]
    assert limits == pytest.approx([3.1, 3.0, 2.95, 2.9, 2.85, 2.8, 2.8, 2.8])


def test_a_debit_walks_up_in_what_it_pays() -> None:
    price = package_price(spread().reversed().legs, [quote(4.0, 4.4), quote(1.0, 1.2)])
    assert price is not None
    assert price.natural == pytest.approx(-3.4)
    assert walk_limit(price, 0, SETTINGS) == pytest.approx(-3.1)
    assert crossing_limit(price, 1) == pytest.approx(-4.0)  # the allowance is the spread of 0.60


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


@given(st.floats(-50, 50), st.floats(0, 10), st.integers(0, 20))
def test_the_walk_stays_between_mid_and_natural(mid: float, half: float, step: int) -> None:
    price = PackagePrice(mid, mid - half, 0.05)
    limit = walk_limit(price, step, SETTINGS)
    assert price.natural - 0.05 - 1e-6 <= limit <= max(price.mid, -0.05) + 1e-4


def test_packages_survive_being_written_down() -> None:
    assert rebuild_package(describe_package(spread())) == spread()


def intent(mid: float = 3.1, model: float | None = None) -> EntryIntent:
    return EntryIntent(
        "friday_0dte", FRIDAY, spread(), Terms("friday_0dte", "put_spread", 2700.0, 3000.0), mid, model, ""
    )


@pytest.mark.parametrize(("mid", "model", "refused"), [(3.1, 2.0, True), (3.1, 2.7, False), (0.5, 0.2, False)])
def test_a_price_far_from_the_models_is_an_anomaly(mid: float, model: float, refused: bool) -> None:
    # Over 25 % of the model's and over 0.50: 1.10 of 2.00 is both; 0.40 is under 0.50; 0.30 too.
    assert (anomaly(intent(mid, model), SETTINGS) is not None) is refused


class Room:
    """A system at noon with the legs quoted, and its executor."""

    def __init__(self, folder: Path, vix: float = 24.0) -> None:
        self.gateway = FakeGateway(NOON, lambda _: 5000.0, lambda _: vix, folder)
        self.system: TradingSystem
        self.sink: MemorySink
        self.system, self.sink = build(self.gateway)
        self.executor = self.system.managers[AtomicExecutor]
        self.state = self.system.managers[HierarchicalStateManager]
        self.gateway.subscribe([leg.contract for leg in spread().legs])

    def open(self, contracts: int = 1) -> str | Refusal:
        return self.executor.open(intent(), contracts, "test")

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.gateway.time += timedelta(minutes=1)
            self.system.clock.advance(self.gateway.time)
            self.gateway.work_orders()
            self.executor.advance(self.gateway.time)

    def tell(self, order_id: int, contract: str, status: FillStatus, quantity: float = 0.0, price: float = 1.0) -> None:
        self.system.happened(
            OrderUpdated(
                time=self.gateway.time,
                order_id=order_id,
                contract=contract,
                status=status,
                fill_quantity=quantity,
                fill_price=price if quantity else None,
                fee=0.0,
            )
        )


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_filled_entry_is_a_position_in_book_and_state(room: Room) -> None:
    name = room.open(2)
    assert isinstance(name, str)
    room.minutes(6)
    position = room.system.book.positions[name]
    assert position.contracts == 2
    assert position.entry_cash == pytest.approx(position.credit * 200)
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
    refused = room.executor.open(other, 1, "test")
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
        room.executor.open(
            EntryIntent("s", FRIDAY + timedelta(days=day), spread(), Terms("s", "x", 1.0, 1.0), 3.0, None, ""),
            1,
            "test",
        )
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
            room.tell(order_id, leg.contract.name, FillStatus.FILLED, float(leg.ratio))
            room.gateway.held[leg.contract.name] = (leg.contract, leg.ratio)
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
    # Both shorts and one of two longs filled: what is left must go, the shorts first.
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
    assert unwinding == [[(4950.0, 2)], [(4920.0, -1)]]
    assert room.gateway.held == {}


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
    assert row["exit_rule"] == "unwind"
    assert room.gateway.cash - 100_000.0 == pytest.approx(row["profit"])


def test_a_wing_without_a_bid_is_left_to_expire(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.vix = lambda _: 5.0
    room.executor.close(room.system.book.positions[name], "profit_target", "because")
    assert [leg.ratio for leg in room.gateway.sent[-1][1].legs] == [1]
    room.minutes(8)
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert [leg["exit"] for leg in row["legs"]][1] == 0.0
    assert row["exit_rule"] == "profit_target"
    assert room.system.book.positions == {}


def test_closing_twice_sends_once(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.fills_allowed = False
    sent = len(room.gateway.sent)
    for _ in range(3):
        room.executor.close(room.system.book.positions[name], "test", "because", urgent=True)
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
    assert room.system.book.positions == {}


def test_errors_never_reach_the_engine(room: Room) -> None:
    room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert room.sink.rows(RecordKind.ERROR) == []

"""Orders at their edges: exits through crossed and one-sided quotes, the limits on sending, adoption and unwinding."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core.book import Refusal
from core.contracts import Contract, Quote
from core.events import FillStatus
from execution.guards import OrderGuards
from market.chains import package_price
from tests.test_execution import NOON, Room, put, quote, spread


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, vix=60.0)


def test_a_crossed_quote_stops_an_entry_and_never_an_exit() -> None:
    # To close: buy the short, whose dead bid of 0.10 stands over an offer of 0.05, and sell the wing at 1.00 x 1.20.
    legs, quotes = spread().reversed().legs, [quote(0.10, 0.05), quote(1.0, 1.2)]
    assert package_price(legs, quotes) is None
    price = package_price(legs, quotes, closing=True)
    assert price is not None
    assert price.natural == pytest.approx(0.95)  # pays 0.05, takes 1.00
    assert price.mid == pytest.approx(1.05)  # the bid counts as the offer: -0.05 + 1.10


def test_a_dead_bid_over_the_offer_does_not_keep_a_position_to_expiry(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    asked = room.gateway.quote

    def crossed(contract: Contract) -> Quote | None:
        usual = asked(contract)
        if usual is None or usual.ask is None or contract.strike != 4950.0:
            return usual
        return Quote(usual.ask + 0.05, usual.ask, usual.time)

    monkeypatch.setattr(room.gateway, "quote", crossed)
    room.executor.close(room.system.book.positions[name], "deadline", "it is 15:30", urgent=True)
    room.minutes(3)
    assert room.gateway.held == {}
    assert room.system.book.positions == {}


def test_no_entry_without_a_quote_and_no_exit_order_without_a_price(room: Room) -> None:
    room.gateway.missing.add(put(4950.0).name)
    refused = room.open()
    assert isinstance(refused, Refusal)
    assert refused.rule == "quotes"
    room.gateway.missing.clear()
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    position = room.system.book.positions[name]
    room.gateway.missing.add(put(4950.0).name)
    room.executor.close(position, "test", "no price of the short")
    assert not room.executor.working
    room.gateway.missing.clear()
    room.executor.close(position, "test", "the price is back")
    assert room.executor.working
    assert "exit" in room.executor.why()[0]


def test_an_urgent_reason_makes_the_working_exit_cross_the_spread(room: Room) -> None:
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    room.gateway.fills_allowed = False
    position = room.system.book.positions[name]
    room.executor.close(position, "time_exit", "it is 15:00")
    patient = room.gateway.orders[0].limit
    room.executor.close(position, "deadline", "it is 15:30", urgent=True)
    room.executor.close(position, "deadline", "it is 15:31", urgent=True)
    assert len(room.gateway.orders) == 1
    room.minutes(1)
    natural = package_price(
        spread().reversed().legs, [room.gateway.quote(leg.contract) for leg in spread().reversed().legs]
    )
    assert natural is not None
    assert room.gateway.orders[0].limit < natural.natural < patient


def test_a_report_on_a_leg_of_no_group_is_an_error_of_a_critical_part(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    room.tell(room.gateway.orders[0].ids[0], "SPXW 240308P1000", FillStatus.FILLED, 1.0)
    assert room.system.bus.entries_halted is not None


def test_a_package_filled_in_part_for_too_long_is_cancelled_and_unwound(room: Room) -> None:
    room.gateway.fills_allowed = False
    room.open()
    order = room.gateway.orders[0]
    short = order.package.legs[0]
    room.tell(order.ids[0], short.contract.name, FillStatus.FILLED, -1.0, 20.0)
    room.gateway.held[short.contract.name] = (short.contract, -1)
    room.minutes(1)
    room.gateway.fills_allowed = True
    room.minutes(5)
    assert room.gateway.held == {}
    assert room.system.book.positions == {}
    assert not room.executor.working


def test_no_more_orders_a_minute_than_allowed(room: Room) -> None:
    system = room.system
    guards = OrderGuards(system.bus, system.book, system.settings.orders)
    for _ in range(30):
        assert not guards.too_fast(NOON)
        guards.sent(NOON)
    assert guards.too_fast(NOON + timedelta(seconds=59))
    assert not guards.too_fast(NOON + timedelta(seconds=60))


def test_errors_within_an_hour_halt_even_with_fills_between(room: Room) -> None:
    system = room.system
    settings = system.settings.orders.model_copy(update={"errors_per_hour": 3})
    guards = OrderGuards(system.bus, system.book, settings)
    for minutes in (0, 30, 61):  # the first is older than an hour when the third comes
        guards.rejected(NOON + timedelta(minutes=minutes), "no")
        guards.filled()
    assert system.bus.entries_halted is None
    guards.rejected(NOON + timedelta(minutes=62), "no")
    assert system.bus.entries_halted == "3 errors of orders within an hour"

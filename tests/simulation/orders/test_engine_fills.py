"""Orders of the embedded engine on a market written down minute by minute: when they fill, at what, and what is said.

Every price is in the test, every expected figure is worked out above its assert.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import (
    AccountType,
    BrokerageName,
    OrderStatus,
)
from simulation.lean.numbers import decimal_text
from simulation.orders.fills import FillModel
from simulation.orders.order_checks import round_to_tick
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import Leg, OrderProperties, TimeInForce
from simulation.orders.requests import UpdateOrderFields
from tests.simulation.playing import (
    HIGH,
    LOW,
    SPX,
    Recorder,
    add_vertical,
    at,
    credit_legs,
    play,
    vertical_market,
)


def run_combo(quantity: int, limit: float, legs: Callable[[], list[Leg]] = credit_legs) -> Recorder:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(legs(), quantity, limit))

    return play(vertical_market(), script)


def test_a_bought_group_is_tried_at_the_lows_and_must_beat_its_limit() -> None:
    # at the lows: long leg ask 0.50, short leg bid 2.00 -> -1.50; that is not below -1.50, but below -1.45
    assert run_combo(1, -1.50).fills() == []
    assert run_combo(1, -1.45).fills() == [(1, 1.0, 0.50), (2, -1.0, 2.00)]


def test_a_sold_group_is_tried_at_the_highs() -> None:
    def debit_legs() -> list[Leg]:
        return [Leg.create(LOW, -1), Leg.create(HIGH, 1)]

    # the same trade written the other way round: sold at bid high 2.40, bought at ask high 0.80 -> 1.60
    assert run_combo(-1, 1.60, debit_legs).fills() == []
    assert run_combo(-1, 1.55, debit_legs).fills() == [(1, 1.0, 0.80), (2, -1.0, 2.40)]


def test_a_combo_never_fills_in_the_step_that_sent_it() -> None:
    played = run_combo(1, -1.00)
    sent = [event.utc_ms for event in played.seen if event.status == OrderStatus.SUBMITTED]
    filled = [event.utc_ms for event in played.seen if event.status == OrderStatus.FILLED]
    assert set(sent) == {NEW_YORK.utc_ms(at("10:00"))}
    assert set(filled) == {NEW_YORK.utc_ms(at("10:01"))}


def test_a_leg_without_a_quote_since_the_order_blocks_the_group() -> None:
    market = vertical_market()
    market.quote_rows[LOW] = market.quote_rows[LOW][:1]  # its only quote ended at 09:31, before the order of 10:00

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(credit_legs(), 1, -0.10))

    assert play(market, script).fills() == []


def test_an_update_waits_for_the_pass_and_may_fill_in_the_same_minute() -> None:
    found: dict[str, Any] = {}

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def send() -> None:
            found["tickets"] = algorithm.combo_limit_order(credit_legs(), 1, -3.00)

        def walk() -> None:
            fields = UpdateOrderFields()
            fields.limit_price = -1.0
            found["response"] = found["tickets"][0].update(fields)
            found["before"] = str(found["tickets"][0].status)

        algorithm.do_at("10:00", send)
        algorithm.do_at("10:02", walk)

    played = play(vertical_market(), script)
    assert found["response"].is_success
    assert found["before"] == "SUBMITTED"
    assert played.statuses(1) == ["SUBMITTED", "UPDATE_SUBMITTED", "FILLED"]
    assert played.statuses(2) == ["SUBMITTED", "FILLED"]
    # the bar of 10:01 is still the last one: its lows fill the walked order
    assert played.fills() == [(1, 1.0, 0.50), (2, -1.0, 2.00)]


def test_cancelling_one_leg_cancels_the_group() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        sent: list[Any] = []
        algorithm.do_at("10:00", lambda: sent.extend(algorithm.combo_limit_order(credit_legs(), 1, -3.00)))
        algorithm.do_at("10:02", lambda: sent[1].cancel("enough"))

    played = play(vertical_market(), script)
    assert played.statuses(1) == ["SUBMITTED", "CANCELED"]
    assert played.statuses(2) == ["SUBMITTED", "CANCEL_PENDING", "CANCELED"]
    assert not played.transactions.get_open_orders()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda a: a.combo_limit_order([Leg.create(LOW, 2), Leg.create(HIGH, -2)], 1, -1.0), "should be reduced"),
        (lambda a: a.combo_limit_order(credit_legs(), 1, 0), "requires a limit price"),
    ],
)
def test_what_a_combo_refuses_outright(build: Callable[[Any], Any], message: str) -> None:
    problems: list[str] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def attempt() -> None:
            try:
                build(algorithm)
            except ValueError as error:
                problems.append(str(error))

        algorithm.do_at("10:00", attempt)

    play(vertical_market(), script)
    assert len(problems) == 1
    assert message in problems[0]


def test_zero_quantity_and_missing_price_give_a_ticket_without_an_order() -> None:
    codes: list[str] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def attempt() -> None:
            codes.append(str(algorithm.market_order(LOW, 0).submit_request.response.error_code))
            with pytest.raises(ValueError, match="The symbol SPX is not found"):
                algorithm.market_order(SPX, 1)  # LEAN adds what is not tradable anew, but no index

        algorithm.do_at("09:31", attempt)

    played = play(vertical_market(), script)
    assert codes == ["ORDER_QUANTITY_ZERO"]
    assert played.transactions.orders_count == 0
    assert played.seen == []


def test_market_orders_fill_in_the_call_at_the_far_side() -> None:
    tickets: list[Any] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("09:31", lambda: tickets.extend([algorithm.buy(LOW, 2), algorithm.sell(HIGH, 1)]))

    played = play(vertical_market(), script)
    assert [str(ticket.status) for ticket in tickets] == ["FILLED", "FILLED"]
    assert played.fills() == [(1, 2.0, 0.60), (2, -1.0, 2.20)]
    # cash: 100,000 - 2 x 0.60 x 100 + 2.20 x 100; index options are free under the default model
    assert played.portfolio.cash == pytest.approx(100_000 - 120 + 220)


def test_a_market_order_waits_while_the_quote_is_older_than_an_hour() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("12:00", lambda: algorithm.market_order(LOW, 1))

    market = vertical_market()
    market.quote(LOW, at("12:30"), 0.70, 0.80)
    market.trade(SPX, at("12:00"), 5450.0)
    market.trade(SPX, at("12:30"), 5450.0)
    # the quote of 10:01 ended 1 h 59 min before: the order rests until the bar of 12:30
    assert play(market, script).fills() == [(1, 1.0, 0.80)]


def test_limit_orders_need_a_younger_bar_and_fill_no_worse_than_their_limit() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, 1, 2.25))
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, -1, 2.35))
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, -1, 1.50))

    # ask low 2.20 < 2.25: bought at the limit 2.25 (the high, 2.60, is worse); bid high 2.40 > 2.35: sold at the limit;
    # the whole bid bar is above 1.50: sold at its low, 2.00
    assert play(vertical_market(), script).fills() == [(1, 1.0, 2.25), (2, -1.0, 2.35), (3, -1.0, 2.00)]


def test_stop_and_trailing_orders_follow_the_market() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: algorithm.stop_market_order(HIGH, -1, 2.15))
        algorithm.do_at("10:00", lambda: algorithm.trailing_stop_order(HIGH, 1, 0.25, False))

    played = play(vertical_market(), script)
    # bid low 2.00 < 2.15: sold at min(2.15, close 2.10); the trailing stop starts at 2.25 + 0.25 = 2.50, ask high 2.60
    assert played.fills() == [(1, -1.0, 2.10), (2, 1.0, 2.50)]


def test_a_day_order_dies_at_the_close() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        properties = OrderProperties(TimeInForce.DAY)
        algorithm.do_at("10:00", lambda: algorithm.limit_order(LOW, 1, 0.05, order_properties=properties))

    market = vertical_market()
    market.trade(SPX, at("16:15"), 5450.0)
    played = play(market, script)
    assert played.statuses(1) == ["SUBMITTED", "CANCELED"]
    assert played.seen[-1].message == "The order has expired."


def test_tastytrade_takes_combo_limits_only_and_charges_to_open() -> None:
    fees: list[float] = []

    def script(algorithm: Recorder) -> None:
        algorithm.set_brokerage_model(BrokerageName.TASTYTRADE, AccountType.MARGIN)
        add_vertical(algorithm)
        algorithm.do_at("09:31", lambda: algorithm.combo_market_order(credit_legs(), 1))
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(credit_legs(), 2, -1.00))
        algorithm.do_at("10:02", lambda: algorithm.market_order(HIGH, 2))

    played = play(vertical_market(), script)
    assert played.statuses(1) == ["INVALID"]
    assert "does not support ComboMarket order type" in str(played.seen[0].message)
    fees = [event.order_fee.value.amount for event in played.seen if event.status == OrderStatus.FILLED]
    # two legs of two contracts at 1.00 to open, closing the short leg is free
    assert fees == [2.0, 2.0, 0.0]


class HalfNow(FillModel):
    """Gives half of a limit order at a time."""

    def limit_fill(self, asset: Any, order: Any) -> OrderEvent:
        event = super().limit_fill(asset, order)
        if event.status == OrderStatus.FILLED and abs(event.fill_quantity) > 1:
            event.fill_quantity = int(order.quantity / 2)
            event.status = OrderStatus.PARTIALLY_FILLED
        return event


def test_a_fill_model_of_the_algorithm_may_fill_in_parts() -> None:
    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.securities[LOW].set_fill_model(HalfNow())
        algorithm.do_at("10:00", lambda: algorithm.limit_order(LOW, 4, 0.70))

    played = play(vertical_market(), script)
    assert played.statuses(1)[:3] == ["SUBMITTED", "PARTIALLY_FILLED", "PARTIALLY_FILLED"]
    assert played.fills()[:2] == [(1, 2.0, 0.70), (1, 2.0, 0.70)]


@given(st.integers(-4000, 4000), st.sampled_from([0.01, 0.05, 0.1, 0.25]))
def test_rounding_to_a_tick_is_nearest_with_ties_to_the_even_multiple(hundredths: int, tick: float) -> None:
    price = hundredths / 100
    rounded = float(round_to_tick(price, tick))
    steps = rounded / tick
    assert abs(rounded - price) <= tick / 2 + 1e-9
    assert abs(steps - round(steps)) < 1e-9
    if abs(abs(rounded - price) - tick / 2) < 1e-12:
        assert round(steps) % 2 == 0


def test_numbers_are_printed_as_decimals() -> None:
    assert [decimal_text(value) for value in (1.0, -0.0, 0.1 + 0.2, 1e-9, 12345.6789)] == [
        "1",
        "0",
        "0.3",
        "0",
        "12345.6789",
    ]


def test_the_clock_of_events_is_aware_utc() -> None:
    played = run_combo(1, -1.45)
    assert played.seen[0].utc_time.utcoffset() == timedelta(0)

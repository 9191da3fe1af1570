"""Single orders of every kind on shares and on an option: where one bar fills them, and where it does not.

Shares, bar ending 10:01: trades 540.00 to 541.00, down to 539.00, close 540.50; quotes a cent to each side.
The option's bar is that of `vertical_market`: bid 2.20, high 2.40, low 2.00, close 2.10; ask 2.30, 2.60, 2.20, 2.30.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from simulation.account.brokerages import BrokerageMessageEvent, DefaultBrokerageModel
from simulation.algorithm.extensions import Extensions
from simulation.lean.dictionaries import CircularQueue
from simulation.lean.enums import (
    BrokerageMessageType,
    OptionRight,
    OptionStyle,
    OrderField,
    OrderType,
    Resolution,
    SecurityType,
)
from simulation.lean.numbers import price_of
from simulation.lean.symbols import Symbol
from simulation.orders.order_checks import pre_order_check
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee, TimeInForce
from simulation.orders.orders import TrailingStopOrder
from simulation.orders.requests import SubmitOrderRequest
from tests.simulation.playing import (
    FRIDAY,
    HIGH,
    MONDAY,
    Market,
    Recorder,
    add_vertical,
    at,
    index_market,
    play,
    spxw,
    vertical_market,
)

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
PUT_4900 = spxw(4900)
TUESDAY = date(2024, 7, 9)
Send = Callable[[Any], Any]
Fills = list[tuple[str, float]]


def share_market() -> Market:
    """SPY at 540 from the open, one bar with a range at 10:01, the close at 542, Tuesday's open at 545."""
    market = Market()
    market.trade(SPY, at("09:31"), 540.0)
    market.quote(SPY, at("09:31"), 539.99, 540.01)
    market.trade(SPY, at("10:00"), 540.0)
    market.quote(SPY, at("10:00"), 539.99, 540.01)
    market.trade(SPY, at("10:01"), (540.0, 541.0, 539.0, 540.5))
    market.quote(SPY, at("10:01"), (539.99, 540.99, 538.99, 540.49), (540.01, 541.01, 539.01, 540.51))
    market.trade(SPY, at("16:00"), 542.0)
    market.trade(SPY, at("09:31", TUESDAY), (545.0, 546.0, 544.0, 545.5))
    return market


def on_shares(send: Send, *, last_day: date = MONDAY, clock: str = "10:00") -> list[tuple[str, float]]:
    """What one order filled: day and clock in UTC, and price. A run of one day ends with the bar of 10:01."""

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.do_at(clock, lambda: send(algorithm))

    market = share_market()
    if last_day == MONDAY:
        market.trade_rows[SPY] = market.trade_rows[SPY][:3]
    played = play(market, script, cash=1_000_000.0, last_day=last_day)
    return [(f"{e.utc_time:%d %H:%M}", e.fill_price) for e in played.seen if e.fill_quantity]


def on_option(send: Send) -> list[float]:
    """Fill prices of one order on the 5350 put, sent at 10:00."""

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        algorithm.do_at("10:00", lambda: send(algorithm))

    return [price for _, _, price in play(vertical_market(), script, cash=1_000_000.0).fills()]


@pytest.mark.parametrize(
    ("quantity", "limit", "filled"),
    [
        (10, 539.5, 539.5),  # the low of 539.00 goes through it
        (10, 540.2, 540.0),  # the open of 540.00 is better already
        (10, 539.0, None),  # touched, not passed
        (-10, 540.8, 540.8),
        (-10, 539.8, 540.0),
        (-10, 541.0, None),
    ],
)
def test_a_limit_on_shares(quantity: int, limit: float, filled: float | None) -> None:
    fills = on_shares(lambda algorithm: algorithm.limit_order(SPY, quantity, limit))
    assert [price for _, price in fills] == ([] if filled is None else [pytest.approx(filled)])


@pytest.mark.parametrize(
    ("quantity", "stop", "filled"),
    [
        (-10, 539.2, 539.2),
        (-10, 540.5, 540.0),  # the open is through it already: worse than the stop
        (-10, 538.0, None),
        (10, 540.7, 540.7),
        (10, 539.9, 540.0),
        (10, 542.0, None),
    ],
)
def test_a_stop_on_shares(quantity: int, stop: float, filled: float | None) -> None:
    fills = on_shares(lambda algorithm: algorithm.stop_market_order(SPY, quantity, stop))
    assert [price for _, price in fills] == ([] if filled is None else [pytest.approx(filled)])


@pytest.mark.parametrize(
    ("quantity", "trigger", "limit", "filled"),
    [
        (10, 539.5, 540.6, 540.51),  # touched at 539.00; the ask of 540.51 is within the limit
        (10, 539.5, 540.2, None),  # the ask is beyond it
        (10, 538.5, 541.0, None),  # never touched
        (-10, 540.8, 540.4, 540.49),
        (-10, 541.5, 539.0, None),
    ],
)
def test_a_limit_if_touched_on_shares(quantity: int, trigger: float, limit: float, filled: float | None) -> None:
    fills = on_shares(lambda algorithm: algorithm.limit_if_touched_order(SPY, quantity, trigger, limit))
    assert [price for _, price in fills] == ([] if filled is None else [pytest.approx(filled)])


def test_orders_for_the_auctions() -> None:
    # the close: the last trade of Monday, 542; the open: the first trade of Tuesday, 545
    closed = on_shares(lambda algorithm: algorithm.market_on_close_order(SPY, 10), last_day=TUESDAY)
    assert [price for _, price in closed] == [pytest.approx(542.0)]
    opened = on_shares(lambda algorithm: algorithm.market_on_open_order(SPY, 10), last_day=TUESDAY, clock="16:30")
    assert [clock for clock, _ in opened] == ["09 13:31"]
    assert [price for _, price in opened] == [pytest.approx(545.0)]


def test_an_order_for_the_open_is_refused_while_the_market_is_open() -> None:
    codes: list[str] = []

    def send(algorithm: Any) -> None:
        ticket = algorithm.market_on_open_order(SPY, 10)
        codes.append(str(ticket.submit_request.response.error_code))

    assert on_shares(send) == []
    assert codes == ["MARKET_ON_OPEN_NOT_ALLOWED_DURING_REGULAR_HOURS"]


@pytest.mark.parametrize(
    ("quantity", "limit", "filled"),
    [
        (1, 2.25, 2.25),  # ask low 2.20 goes through it
        (1, 2.70, 2.60),  # the whole bar is better: its high
        (1, 2.20, None),
        (-1, 2.30, 2.30),
        (-1, 1.90, 2.00),
        (-1, 2.40, None),
    ],
)
def test_a_limit_on_an_option(quantity: int, limit: float, filled: float | None) -> None:
    fills = on_option(lambda algorithm: algorithm.limit_order(HIGH, quantity, limit))
    assert fills == ([] if filled is None else [pytest.approx(filled)])


@pytest.mark.parametrize(
    ("quantity", "stop", "filled"),
    [
        (-1, 2.05, 2.05),  # bid low 2.00 passed it; the close of 2.10 is better than the stop: the stop
        (-1, 2.30, 2.10),  # the close is worse than the stop: the close
        (-1, 2.00, None),
        (1, 2.55, 2.55),
        (1, 2.60, None),
    ],
)
def test_a_stop_on_an_option(quantity: int, stop: float, filled: float | None) -> None:
    fills = on_option(lambda algorithm: algorithm.stop_market_order(HIGH, quantity, stop))
    assert fills == ([] if filled is None else [pytest.approx(filled)])


@pytest.mark.parametrize(
    ("quantity", "stop", "limit", "filled"),
    [
        (1, 2.50, 2.40, 2.40),  # triggered by the ask's high of 2.60; its close of 2.30 is under the limit
        (1, 2.65, 2.70, None),
        (-1, 2.05, 2.05, 2.05),
        (-1, 2.05, 2.10, None),  # triggered, but the bid closes at the limit, not over it
        (-1, 1.95, 1.90, None),
    ],
)
def test_a_stop_limit_on_an_option(quantity: int, stop: float, limit: float, filled: float | None) -> None:
    fills = on_option(lambda algorithm: algorithm.stop_limit_order(HIGH, quantity, stop, limit))
    assert fills == ([] if filled is None else [pytest.approx(filled)])


# -- tickers, digits, a broker of one's own --------------------------------------------------------------------------


def test_a_ticker_stands_for_the_symbol_that_was_added() -> None:
    bought = on_shares(lambda algorithm: algorithm.market_order("SPY", 10))
    assert bought == [("08 14:00", 540.01)]
    assert on_shares(lambda algorithm: algorithm.set_holdings("spy", 0.5)) == bought
    closed = on_shares(lambda algorithm: [algorithm.market_order("SPY", 10), algorithm.liquidate("SPY")])
    assert closed == [("08 14:00", 540.01), ("08 14:00", 539.99)]

    def request(algorithm: Any) -> None:
        now = algorithm.utc_time
        kind = OrderType.LIMIT_IF_TOUCHED
        sent = SubmitOrderRequest(kind, SecurityType.EQUITY, "SPY", 10, 0, 541.0, 540.0, now, "touch")
        algorithm.transactions.add_order(sent)

    # The bar's low of 539 touches 540; the limit of 541 then fills at the close of the ask.
    assert on_shares(request) == [("08 14:01", 540.51)]


def test_a_price_keeps_fifteen_digits_of_a_float() -> None:
    # Half of the stop and limit prices on adjusted bars have ten places; 0.1 + 0.2 has one.
    assert price_of(161.8088348604) == 161.8088348604
    assert price_of(0.1 + 0.2) == 0.3
    stop = TrailingStopOrder(SPY, 10, 0)
    stop.trailing_amount = 2.0
    assert stop.stop_for(144.617445116) == 146.617445116


def test_an_event_says_its_prices_in_seven_digits() -> None:
    stop = TrailingStopOrder(SPY, -10, 0)
    stop.price_currency = "USD"
    event = OrderEvent(stop, at("10:00"), OrderFee.ZERO)
    event.fill_quantity, event.fill_price, event.stop_price = -10, 161.8088348604, 5432.123456
    assert "FillQuantity: -10 FillPrice: $161.8088 StopPrice: $5432.1235" in str(event)
    event.trigger_price, event.trailing_amount, event.trailing_as_percentage = 143.61, 0.05, True
    assert str(event).endswith("TrailingAmount: 5% TriggerPrice: $143.61")
    event.trailing_as_percentage = False
    assert "TrailingAmount: $0.05 " in str(event)


def test_a_broker_of_ones_own_may_say_why_it_refuses() -> None:
    said: list[Any] = []

    class Choosy(DefaultBrokerageModel):
        def can_submit_order(self, security: Any, order: Any, message: Any = None) -> Any:
            refused = BrokerageMessageEvent(BrokerageMessageType.INFORMATION, "", "no odd lots")
            return (True, None) if order.quantity == 10 else (False, refused)

        def can_update_order(self, security: Any, order: Any, request: Any, message: Any = None) -> Any:
            return False, None

    def script(algorithm: Any) -> None:
        algorithm.set_brokerage_model(Choosy())
        said.append(algorithm.limit_order(SPY, 7, 500.0).submit_request.response.error_message)
        resting = algorithm.limit_order(SPY, 10, 500.0)
        said.extend([resting.update_limit_price(501.0), resting])

    assert on_shares(script) == []
    assert said[0] == "BrokerageModel declared unable to submit order: [1] Information - Code:  - no odd lots"
    assert said[2].get(OrderField.LIMIT_PRICE) == 500.0
    refused = said[2].update_requests[0].response
    assert str(refused.error_code) == "BROKERAGE_MODEL_REFUSED_TO_UPDATE_ORDER"
    assert refused.error_message.endswith("InvalidRequest - BrokerageModel declared unable to update order: 2")


def test_the_default_lifetime_can_be_set_without_making_properties_first() -> None:
    def script(algorithm: Any) -> None:
        algorithm.default_order_properties.time_in_force = TimeInForce.DAY
        algorithm.limit_order(SPY, 10, 500.0)
        tickets.append(algorithm.transactions.get_order_by_id(1))

    tickets: list[Any] = []
    assert on_shares(script) == []
    assert tickets[0].time_in_force is TimeInForce.DAY


def test_significant_digits() -> None:
    assert Extensions.round_to_significant_digits(143.605, 5) == 143.6  # 143.60 and 143.61 are as near: the even one
    assert Extensions.round_to_significant_digits(0, 5) == 0.0
    assert Extensions.smart_rounding(161.8088348604) == 161.8088
    assert Extensions.smart_rounding(5432.123456) == 5432.1235


# -- requests about orders ------------------------------------------------------------------------------------------


def with_orders(action: Callable[[Any], None], *, clock: str = "10:00") -> Recorder:
    """Two limit orders on the 4900 put rest from 09:31; the action comes at a time."""
    market = index_market("10:00", "10:01", price=5000.0)
    market.quote(PUT_4900, at("09:31"), 14.0, 14.2)

    def script(algorithm: Any) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(PUT_4900, Resolution.MINUTE)

        def send() -> None:
            algorithm.tickets = [algorithm.limit_order(PUT_4900, 1, price, tag="mine") for price in (9.0, 10.0)]

        algorithm.do_at("09:31", send)
        algorithm.do_at(clock, lambda: action(algorithm))

    return play(market, script)


def test_all_open_orders_cancelled_carry_the_reason() -> None:
    played = with_orders(lambda algorithm: algorithm.transactions.cancel_open_orders())
    tags = {order.tag for order in played.transactions.get_orders()}
    assert tags == {"Canceled by CancelOpenOrders() at 2024-07-08T14:00:00.0000000Z"}
    assert played.statuses(1) == played.statuses(2) == ["SUBMITTED", "CANCEL_PENDING", "CANCELED"]


def test_cancelling_by_id_without_a_tag_takes_the_orders_own() -> None:
    def act(algorithm: Any) -> None:
        algorithm.transactions.cancel_order(1)
        algorithm.tickets[1].cancel()

    played = with_orders(act)
    assert [order.tag for order in played.transactions.get_orders()] == ["", "mine"]


def test_a_second_cancellation_and_one_of_a_closed_order_are_refused() -> None:
    said: list[Any] = []

    def act(algorithm: Any) -> None:
        first = algorithm.tickets[0]
        said.append(str(first.cancel("enough")))
        said.append(str(first.cancel("enough")))
        algorithm.do_later = first

    played = with_orders(act)
    ticket = played.transactions.get_order_ticket(1)
    assert said == ["Success", "Error: RequestCanceled - Order 1 has already received a cancellation request."]
    assert str(ticket.update_limit_price(1.0)) == (
        "Error: InvalidOrderStatus - Unable to update order with id 1 because it already has Canceled status."
    )
    assert str(ticket.update_tag("kept")) == "Success"  # a closed order may still get a tag
    assert str(ticket).startswith("1: OrderId: 1 (BrokerId: 1) Canceled Limit order for 1 unit of ")
    assert str(ticket).endswith(": enough at limit $9 Request Count: 4 Response Count: 4")


def test_updates_that_say_nothing_or_know_no_order() -> None:
    said: list[str] = []

    def act(algorithm: Any) -> None:
        said.append(str(algorithm.tickets[0].update_quantity(0)))
        unknown = algorithm.transactions.cancel_order(99)
        said.append(str(unknown.cancel_request.response))
        said.append(str(unknown.status))

    with_orders(act)
    assert said == [
        "Error: OrderQuantityZero - Unable to update order with id 1 that has zero quantity.",
        "Error: UnableToFindOrder - Unable to locate order with id 99.",
        "INVALID",
    ]


def test_an_update_beyond_the_margin_leaves_the_order_as_it_is() -> None:
    played = with_orders(lambda algorithm: algorithm.tickets[1].update_quantity(100))
    # 100 contracts at the lower of limit (10.00) and middle (14.10): 100,000, and the account has 100,000 less nothing
    assert played.transactions.get_order_by_id(2).quantity == 100.0
    played = with_orders(lambda algorithm: algorithm.tickets[1].update_quantity(101))
    order = played.transactions.get_order_by_id(2)
    assert (order.quantity, str(order.status)) == (1.0, "SUBMITTED")
    assert str(played.seen[-1].message).startswith(
        f"Brokerage failed to update order with id: 2, Symbol: {PUT_4900.value}, Insufficient buying power to complete "
        "order, Reason: Id: 2, Initial Margin: 101000, Free Margin: 100000."
    )


def test_what_a_trailing_stop_says_of_itself() -> None:
    def act(algorithm: Any) -> None:
        algorithm.trailing_stop_order(PUT_4900, 1, 0.01, True)
        algorithm.trailing_stop_order(PUT_4900, 1, 1.5, False, tag="own")
        algorithm.stop_limit_order(PUT_4900, 1, 20.0, 21.0)
        algorithm.limit_if_touched_order(PUT_4900, 1, 12.0, 12.5)
        algorithm.stop_market_order(PUT_4900, 1, 20.0)

    played = with_orders(act)
    texts = [str(order).partition(str(PUT_4900))[2] for order in played.transactions.get_orders()][2:]
    # a hundredth above the middle of 14.10 is 14.241, in ticks of a dime 14.20
    assert texts == [
        ": Trailing Amount: 1.00% at stop $14.2. Trailing amount: 1.00%",
        ": own at stop $15.6. Trailing amount: $1.5",
        " at stop $20 limit $21",
        " at trigger $12 limit $12.5",
        " at stop $20",
    ]


def test_the_buffer_before_the_close_reads_as_a_span() -> None:
    said: list[Any] = []
    with_orders(lambda a: said.append(a.market_on_close_order(PUT_4900, 1).submit_request.response), clock="16:00")
    assert str(said[0].error_message).startswith("MarketOnClose orders must be placed within 00:15:30 before")


def test_a_circular_queue_tells_whenever_its_first_item_is_taken() -> None:
    queue: Any = CircularQueue[int]([1, 2, 3])
    turns: list[Any] = []
    queue.circle_completed += lambda sender, event: turns.append(sender)
    assert [queue.dequeue() for _ in range(4)] == [1, 2, 3, 1]
    assert turns == [queue, queue]
    assert CircularQueue(7, 8).dequeue() == 7


def test_a_request_can_hold_a_trailing_stop() -> None:
    said: list[str] = []

    def send(algorithm: Any) -> None:
        kind, now = OrderType.TRAILING_STOP, algorithm.utc_time
        request = SubmitOrderRequest(kind, SecurityType.EQUITY, "SPY", -10, 539.5, 0, 0, 0.01, True, now, "trail")
        ticket = algorithm.transactions.add_order(request)
        said.append(ticket.order_events[0].to_string())

    # The bid falls to 538.99 and closes at 540.49: the stop fills at its price.
    assert on_shares(send) == [("08 14:01", 539.5)]
    assert "StopPrice: $539.5 TrailingAmount: 1%" in said[0]


# -- refused before they become orders ------------------------------------------------------------------------------


def code_of(ticket: Any) -> str:
    return str(ticket.submit_request.response.error_code)


def test_what_is_refused_before_it_becomes_an_order() -> None:
    codes: list[str] = []

    def act(algorithm: Any) -> None:
        codes.append(code_of(algorithm.market_order(PUT_4900, 0.5)))
        codes.append(code_of(algorithm.market_order(PUT_4900, 0)))
        codes.append(code_of(algorithm.exercise_option(PUT_4900, 1)))  # European, four days before it expires
        algorithm.set_maximum_orders(1)
        codes.append(code_of(algorithm.market_order(PUT_4900, 1)))  # two orders rest already

    played = with_orders(act)
    assert " ".join(codes) == (
        "ORDER_QUANTITY_LESS_THAN_LOT_SIZE ORDER_QUANTITY_ZERO EUROPEAN_OPTION_NOT_EXPIRED_ON_EXERCISE "
        "EXCEEDED_MAXIMUM_ORDERS"
    )
    assert len(played.transactions.get_orders()) == 2


def test_only_a_long_american_option_is_exercised_and_only_what_is_held() -> None:
    call = Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, OptionRight.CALL, 530.0, FRIDAY)
    codes: list[str] = []
    market = share_market()
    market.quote(call, at("09:31"), 11.0, 11.0)

    def act(algorithm: Any) -> None:
        algorithm.market_order(call, 2)
        codes.append(code_of(algorithm.exercise_option(call, 3)))
        algorithm.market_order(call, -3)
        codes.append(code_of(algorithm.exercise_option(call, 1)))
        request = SubmitOrderRequest(OrderType.OPTION_EXERCISE, SPY.security_type, SPY, 1, 0, 0, algorithm.utc_time)
        codes.append(str(pre_order_check(algorithm, request).error_code))

    def script(algorithm: Any) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.add_option_contract(call, Resolution.MINUTE)
        codes.append(code_of(algorithm.exercise_option(call, 1)))
        algorithm.do_at("10:00", lambda: act(algorithm))
        algorithm.do_at("16:30", lambda: codes.append(code_of(algorithm.exercise_option(call, 1))))

    play(market, script, cash=1_000_000.0, last_day=TUESDAY)
    assert codes[0] == codes[4] == "EXCHANGE_NOT_OPEN"
    assert codes[1:4] == ["UNSUPPORTED_REQUEST_TYPE", "UNSUPPORTED_REQUEST_TYPE", "NON_EXERCISABLE_SECURITY"]


def test_a_part_of_a_share_is_cut_off_and_said_once() -> None:
    said: list[str] = []

    def send(algorithm: Any) -> None:
        algorithm.error = said.append
        algorithm.market_order(SPY, 10.5)
        algorithm.market_order(SPY, -1.9)

    assert [price for _, price in on_shares(send)] == [540.01, 539.99]
    assert said == ["Warning: Due to brokerage limitations, orders will be rounded to the nearest lot size of 1"]


@pytest.mark.parametrize(
    ("send", "filled"),
    [
        (lambda algorithm: algorithm.limit_if_touched_order(HIGH, 1, 2.3, 2.5), None),  # no trade touches anything
        # The stop 0.25 over the ask of 2.30 is passed by the high of 2.60: the close of 2.30 is better, so the stop
        (lambda algorithm: algorithm.trailing_stop_order(HIGH, 1, 0.25, False), 2.5),
        (lambda algorithm: algorithm.trailing_stop_order(HIGH, -1, 0.15, False), 2.1),
        (lambda algorithm: algorithm.trailing_stop_order(HIGH, -1, 1.5, False), None),
    ],
)
def test_more_orders_on_an_option(send: Send, filled: float | None) -> None:
    assert on_option(send) == ([] if filled is None else [pytest.approx(filled)])

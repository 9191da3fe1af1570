"""What orders are made of: exact numbers, lifetimes, properties, legs, groups, and the events that tell of them."""

from __future__ import annotations

import copy
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from simulation.lean.clock import naive_milliseconds, utc_datetime, zone_of
from simulation.lean.enums import OPTION_TYPES, OrderDirection, OrderStatus, OrderType
from simulation.lean.names import Named, signed

if TYPE_CHECKING:
    from simulation.orders.fees import OrderFee
    from simulation.orders.orders import Order
    from simulation.orders.requests import OrderTicket

EPOCH = datetime(1970, 1, 1)
MONEY_DIGITS = 8
"""Digits kept after the point wherever LEAN's decimals are exact and doubles are not."""


def clean(value: float) -> float:
    """The double nearest to the decimal number that LEAN would hold; drops the noise of binary arithmetic."""
    return round(float(value), MONEY_DIGITS)


def price_of(value: float) -> float:
    """A price as LEAN holds it: pythonnet keeps 15 significant digits of a float that becomes a decimal."""
    return float(f"{value:.15g}")


def is_zero(value: float) -> bool:
    """Whether a quantity or price is nothing, binary noise aside."""
    return abs(value) < 1e-12


def from_utc_ms(utc_ms: int) -> datetime:
    """UTC datetime, aware as LEAN's are in Python, of integer milliseconds since 1970."""
    return utc_datetime(utc_ms)


def decimal_text(value: float) -> str:
    """A number as LEAN prints a normalised decimal: no exponent, no trailing zeros, no sign on zero."""
    text = f"{clean(value):.{MONEY_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def exact(value: float) -> Decimal:
    """The decimal number that a double stands for."""
    return Decimal(decimal_text(value))


def currency_sign(currency: str) -> str:
    """What LEAN prints before an amount: the sign of a currency it knows, nothing for none."""
    return "$" if currency == "USD" else currency


def smart_text(value: float) -> str:
    """A price as LEAN's messages round it: 4 places above 1000, else 7 digits (Extensions.SmartRounding)."""
    return decimal_text(round(value, 4) if value > 1000 else float(f"{value:.7g}"))


def direction_of(quantity: float) -> OrderDirection:
    """BUY, SELL or HOLD by the sign of a quantity."""
    if quantity > 0:
        return OrderDirection.BUY
    return OrderDirection.SELL if quantity < 0 else OrderDirection.HOLD


def is_closed(status: OrderStatus) -> bool:
    """Filled, cancelled or invalid: nothing more will happen to the order."""
    return status in (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID)


class OrderExtensions(Named):
    """LEAN's helpers on statuses and types, as Python algorithms call them."""

    @staticmethod
    def is_closed(status: OrderStatus) -> bool:
        """Whether the order is filled, cancelled or invalid."""
        return is_closed(status)

    @staticmethod
    def is_open(status: OrderStatus) -> bool:
        """Whether the order may still change."""
        return not is_closed(status)

    @staticmethod
    def is_fill(status: OrderStatus) -> bool:
        """Whether the status reports a (partial) fill."""
        return status in (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED)

    @staticmethod
    def is_limit_order(order_type: OrderType) -> bool:
        """Whether the type carries a limit price of its own."""
        return order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED)

    @staticmethod
    def is_stop_order(order_type: OrderType) -> bool:
        """Whether the type carries a stop price."""
        return order_type in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)


class TimeInForce(Named):
    """How long an order lives; the base class is good until cancelled."""

    GOOD_TIL_CANCELED: ClassVar[TimeInForce]
    DAY: ClassVar[TimeInForce]

    @staticmethod
    def good_til_date(expiry: datetime) -> GoodTilDateTimeInForce:
        """An order that dies at the given exchange-local time."""
        return GoodTilDateTimeInForce(expiry)

    def is_order_expired(self, security: Any, order: Order) -> bool:
        """Whether the order is past its life at the security's local time."""
        return False

    def is_fill_valid(self, security: Any, order: Order, fill: OrderEvent) -> bool:
        """Whether a fill at the given time may still be given."""
        return True


class GoodTilCanceledTimeInForce(TimeInForce):
    """Lives until it is filled or cancelled."""


class DayTimeInForce(TimeInForce):
    """Dies at the last regular close of the exchange day in which it was sent (DayTimeInForce.cs:69)."""

    def is_order_expired(self, security: Any, order: Order) -> bool:
        """Whether the local clock has reached the close of the order's day."""
        hours = security.exchange.hours
        sent = zone_of(hours.time_zone).local(order.time_ms)
        return bool(security.local_time >= hours.get_last_daily_market_close(sent, False))


class GoodTilDateTimeInForce(TimeInForce):
    """Dies at the last regular close of a given exchange day."""

    def __init__(self, expiry: datetime) -> None:
        self.expiry = expiry

    def is_order_expired(self, security: Any, order: Order) -> bool:
        """Whether the local clock has reached the close of the expiry's day."""
        day = datetime(self.expiry.year, self.expiry.month, self.expiry.day)
        return bool(security.local_time >= security.exchange.hours.get_last_daily_market_close(day, False))


TimeInForce.GOOD_TIL_CANCELED = GoodTilCanceledTimeInForce()
TimeInForce.DAY = DayTimeInForce()


class OrderProperties(Named):
    """What an order carries besides its numbers; only the lifetime matters to the simulated broker."""

    def __init__(self, time_in_force: TimeInForce | None = None) -> None:
        self.time_in_force = time_in_force if time_in_force is not None else TimeInForce.GOOD_TIL_CANCELED

    def clone(self) -> OrderProperties:
        """A copy that may be changed alone."""
        return copy.copy(self)


class TastytradeOrderProperties(OrderProperties):
    """The tastytrade plug-in's properties: LEAN's base fields, nothing added."""


class InteractiveBrokersOrderProperties(OrderProperties):
    """Interactive Brokers' properties; the extra field is kept and has no effect in a backtest."""

    def __init__(self) -> None:
        super().__init__()
        self.outside_regular_trading_hours = False


class OrderSubmissionData(Named):
    """Bid, ask and last price of the security at the moment an order was sent."""

    def __init__(self, bid_price: float, ask_price: float, last_price: float) -> None:
        self.bid_price = bid_price
        self.ask_price = ask_price
        self.last_price = last_price


class Leg(Named):
    """One side of a combination: a symbol and its ratio; a limit price only for combo leg limit orders."""

    def __init__(self, symbol: Any = None, quantity: int = 0, order_price: float | None = None) -> None:
        self.symbol = symbol
        self.quantity = quantity
        self.order_price = order_price

    @staticmethod
    def create(symbol: Any, quantity: int, limit_price: float | None = None) -> Leg:
        """A leg of `quantity` units of `symbol` for each unit of the group."""
        return Leg(getattr(symbol, "symbol", symbol), int(quantity), limit_price)


class GroupOrderManager(Named):
    """What the legs of one combination share: quantity, limit price and the ids of their orders."""

    def __init__(self, group_id: int, leg_count: int, quantity: float, limit_price: float = 0.0) -> None:
        self.id = group_id
        self.count = leg_count
        self.quantity = float(quantity)
        self.limit_price = float(limit_price)
        self.order_ids: list[int] = []

    @property
    def direction(self) -> OrderDirection:
        """Direction of the group as a whole."""
        return direction_of(self.quantity)

    @property
    def absolute_quantity(self) -> float:
        """Units of the group without sign."""
        return abs(self.quantity)


class OrderEvent(Named):
    """Something that happened to an order; fill quantity is signed, prices are dollars per unit, fee is a cost."""

    @signed(
        "order_id, symbol, utc_time, status, direction, fill_price, fill_quantity, order_fee, message=''",
        "order, utc_time, order_fee, message=''",
    )
    def __init__(self, order: Any, *terms: Any) -> None:
        """LEAN's two forms: (order, time, fee, [message]), or (order id, symbol, time, status, direction, fill price,
        fill quantity, fee, [message]). Times are UTC; the engine itself gives milliseconds.
        """
        self.id = 0
        self.quantity = self.fill_quantity = self.fill_price = 0.0
        self.fill_price_currency = ""
        self.direction: OrderDirection
        if isinstance(order, int):
            self.order_id = order
            self.symbol, when, self.status, self.direction, self.fill_price, self.fill_quantity, *rest = terms
        else:
            self.order_id, self.symbol, self.status = order.id, order.symbol, order.status
            self.quantity, self.direction = order.quantity, order.direction
            self.fill_price_currency = order.price_currency
            when, *rest = terms
        self.utc_ms: int = naive_milliseconds(when) if isinstance(when, datetime) else when
        self.order_fee: OrderFee = rest[0]
        self.message: str | None = rest[1] if len(rest) > 1 else ""
        self.is_assignment = False
        self.is_in_the_money = False
        self.limit_price: float | None = None
        self.stop_price: float | None = None
        self.trigger_price: float | None = None
        self.trailing_amount: float | None = None
        self.trailing_as_percentage: bool | None = None
        self.ticket: OrderTicket | None = None

    @property
    def fill_quantity(self) -> float:
        """Signed units filled by this event."""
        return self._fill_quantity

    @fill_quantity.setter
    def fill_quantity(self, value: float) -> None:
        self._fill_quantity = float(value)

    @property
    def fill_price(self) -> float:
        """Dollars per unit."""
        return self._fill_price

    @fill_price.setter
    def fill_price(self, value: float) -> None:
        self._fill_price = float(value)

    @property
    def utc_time(self) -> datetime:
        """When it happened, UTC."""
        return from_utc_ms(self.utc_ms)

    @property
    def absolute_fill_quantity(self) -> float:
        """Filled units without sign."""
        return abs(self.fill_quantity)

    def clone(self) -> OrderEvent:
        """A copy."""
        return copy.copy(self)

    def __str__(self) -> str:
        sign = currency_sign(self.fill_price_currency)
        text = f"Time: {self.utc_time:%m/%d/%Y %H:%M:%S} OrderID: {self.order_id} EventID: {self.id} "
        text += f"Symbol: {self.symbol.value} Status: {self.status.to_string()} Quantity: {decimal_text(self.quantity)}"
        if self.fill_quantity:
            text += f" FillQuantity: {decimal_text(self.fill_quantity)} FillPrice: {sign}{smart_text(self.fill_price)}"
        for label, price in (
            ("LimitPrice", self.limit_price),
            ("StopPrice", self.stop_price),
        ):
            if price is not None:
                text += f" {label}: {sign}{smart_text(price)}"
        if self.trailing_amount is not None:
            amount = decimal_text(self.trailing_amount * (100 if self.trailing_as_percentage else 1))
            text += f" TrailingAmount: {amount}%" if self.trailing_as_percentage else f" TrailingAmount: {sign}{amount}"
        if self.trigger_price is not None:
            text += f" TriggerPrice: {sign}{smart_text(self.trigger_price)}"
        if self.order_fee.value.amount:
            text += f" OrderFee: {self.order_fee}"
        if self.message:
            text += f" Message: {self.message}"
        return text + (f" IsAssignment: {self.is_assignment}" if self.symbol.security_type in OPTION_TYPES else "")

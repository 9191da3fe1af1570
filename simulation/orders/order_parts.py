"""What orders are made of: fees, lifetimes, properties, legs and groups."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import ClassVar, Protocol

from simulation.lean.clock import zone_of
from simulation.lean.enums import OrderDirection, OrderStatus, OrderType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, decimal_text
from simulation.lean.symbols import Symbol
from simulation.orders.faces import PricedSecurity


class CashAmount(Named):
    """An amount of one currency; positive amounts are money (fees are costs and positive)."""

    def __init__(self, amount: float, currency: str) -> None:
        self.amount = clean(amount)
        self.currency = currency

    def __str__(self) -> str:
        return f"{decimal_text(self.amount)} {self.currency}"


class OrderFee(Named):
    """The fee of one fill, a positive cost."""

    ZERO: ClassVar[OrderFee]

    def __init__(self, value: CashAmount) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value.amount

    def __str__(self) -> str:
        return str(self.value)


OrderFee.ZERO = OrderFee(CashAmount(0.0, "QCC"))


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


class Sent(Protocol):
    """What a lifetime needs to know of an order: when it was sent, UTC milliseconds."""

    time_ms: int


class TimeInForce(Named):
    """How long an order lives; the base class is good until cancelled."""

    GOOD_TIL_CANCELED: ClassVar[TimeInForce]
    DAY: ClassVar[TimeInForce]

    @staticmethod
    def good_til_date(expiry: datetime) -> GoodTilDateTimeInForce:
        """An order that dies at the given exchange-local time."""
        return GoodTilDateTimeInForce(expiry)

    def is_order_expired(self, security: PricedSecurity, order: Sent) -> bool:
        """Whether the order is past its life at the security's local time."""
        return False

    def is_fill_valid(self, security: PricedSecurity, order: Sent, fill: object) -> bool:
        """Whether a fill at the given time may still be given."""
        return True


class GoodTilCanceledTimeInForce(TimeInForce):
    """Lives until it is filled or cancelled."""


class DayTimeInForce(TimeInForce):
    """Dies at the last regular close of the exchange day in which it was sent (DayTimeInForce.cs:69)."""

    def is_order_expired(self, security: PricedSecurity, order: Sent) -> bool:
        """Whether the local clock has reached the close of the order's day."""
        hours = security.exchange.hours
        sent = zone_of(hours.time_zone).local(order.time_ms)
        return bool(security.local_time >= hours.get_last_daily_market_close(sent, False))


class GoodTilDateTimeInForce(TimeInForce):
    """Dies at the last regular close of a given exchange day."""

    def __init__(self, expiry: datetime) -> None:
        self.expiry = expiry

    def is_order_expired(self, security: PricedSecurity, order: Sent) -> bool:
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


class Symbolic(Protocol):
    """What has a symbol: a security, a contract of a chain."""

    @property
    def symbol(self) -> Symbol:
        """Its symbol."""


class Leg(Named):
    """One side of a combination: a symbol and its ratio; a limit price only for combo leg limit orders."""

    def __init__(self, symbol: Symbol | None = None, quantity: int = 0, order_price: float | None = None) -> None:
        self.symbol = symbol
        self.quantity = quantity
        self.order_price = order_price

    @staticmethod
    def create(symbol: Symbol | Symbolic, quantity: int, limit_price: float | None = None) -> Leg:
        """A leg of `quantity` units of `symbol` for each unit of the group."""
        return Leg(symbol if isinstance(symbol, Symbol) else symbol.symbol, int(quantity), limit_price)


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

"""The event that tells of an order: accepted, filled, cancelled, refused."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any, Protocol

from simulation.lean.clock import naive_milliseconds, utc_datetime
from simulation.lean.enums import OPTION_TYPES, OrderDirection, OrderType
from simulation.lean.names import Named, signed
from simulation.lean.numbers import currency_sign, decimal_text, smart_text
from simulation.orders.order_parts import OrderFee


class EventTicket(Protocol):
    """What an event knows of its order's ticket (`OrderTicket`)."""

    @property
    def order_id(self) -> int:
        """Id of the order."""

    @property
    def order_type(self) -> OrderType:
        """Type of the order."""

    @property
    def quantity(self) -> float:
        """Signed quantity of the order now."""

    def add_order_event(self, event: OrderEvent) -> None:
        """Books the event and its fill (engine only)."""


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
        self.ticket: EventTicket | None = None

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
        return utc_datetime(self.utc_ms)

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

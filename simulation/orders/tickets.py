"""The algorithm's handle on one order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from simulation.lean.enums import (
    OPTION_TYPES,
    OrderField,
    OrderRequestStatus,
    OrderResponseErrorCode,
    OrderStatus,
    OrderType,
    SecurityType,
)
from simulation.lean.names import Named
from simulation.lean.numbers import clean, price_of
from simulation.lean.symbols import Symbol
from simulation.orders.order_event import OrderEvent
from simulation.orders.orders import Order
from simulation.orders.requests import (
    CancelOrderRequest,
    OrderRequest,
    OrderResponse,
    SubmitOrderRequest,
    UpdateOrderFields,
    UpdateOrderRequest,
)


class RequestDesk(Protocol):
    """Where a ticket hands in its requests: `algorithm.transactions`."""

    @property
    def utc_ms(self) -> int:
        """The engine's clock, UTC milliseconds."""

    def process_request(self, request: OrderRequest) -> OrderTicket:
        """Hands a request to the engine; the ticket of its order."""


class OrderTicket(Named):
    """The algorithm's handle on one order."""

    def __init__(self, transactions: RequestDesk, submit_request: SubmitOrderRequest) -> None:
        self.submit_request = submit_request
        self._transactions = transactions
        self._order: Order | None = None
        self._status_override: OrderStatus | None = None
        self._update_requests: list[UpdateOrderRequest] = []
        self.cancel_request: CancelOrderRequest | None = None
        self._events: list[OrderEvent] = []
        self.quantity_filled = 0.0
        self.average_fill_price = 0.0

    @classmethod
    def invalid(cls, transactions: RequestDesk, request: SubmitOrderRequest, response: OrderResponse) -> OrderTicket:
        """A ticket of an order that never came to be; it is not kept anywhere."""
        request.set_response(response)
        ticket = cls(transactions, request)
        ticket._status_override = OrderStatus.INVALID
        return ticket

    @property
    def order_id(self) -> int:
        """Id of the order; negative (an error code) when there is none."""
        return self.submit_request.order_id

    @property
    def status(self) -> OrderStatus:
        """Status of the order now."""
        if self._status_override is not None:
            return self._status_override
        return OrderStatus.NEW if self._order is None else self._order.status

    @property
    def symbol(self) -> Symbol:
        """Symbol of the order."""
        return self.submit_request.symbol

    @property
    def security_type(self) -> SecurityType:
        """Security type of the symbol."""
        return self.submit_request.security_type

    @property
    def order_type(self) -> OrderType:
        """Type of the order."""
        return self.submit_request.order_type

    @property
    def quantity(self) -> float:
        """Signed quantity of the order now."""
        return self.submit_request.quantity if self._order is None else self._order.quantity

    @property
    def quantity_remaining(self) -> float:
        """Signed quantity not yet filled."""
        return clean(self.quantity - self.quantity_filled)

    @property
    def tag(self) -> str | None:
        """Tag of the order now."""
        return self.submit_request.tag if self._order is None else self._order.tag

    @property
    def time(self) -> datetime:
        """UTC time of the latest request."""
        return self.get_most_recent_order_request().time

    @property
    def has_order(self) -> bool:
        """Whether the engine has taken the order."""
        return self._order is not None

    @property
    def update_requests(self) -> list[UpdateOrderRequest]:
        """All updates asked for so far."""
        return list(self._update_requests)

    @property
    def order_events(self) -> list[OrderEvent]:
        """All events of this order so far."""
        return list(self._events)

    def get(self, order_field: OrderField) -> float | bool:
        """A price field of the order: limit (the group's for a combo), stop, trigger, trailing amount or kind.

        Raises ValueError when the order type has no such field.
        """
        name = order_field.name.lower()
        source: object = self._order if self._order is not None else self.submit_request
        if name == "limit_price" and self.order_type == OrderType.COMBO_LIMIT and self._order is not None:
            source = self._order.group_order_manager
        if name not in FIELDS_OF.get(self.order_type, ()) or not hasattr(source, name):
            kind = self.order_type.to_string()
            raise ValueError(f"Unable to get field {order_field.to_string()} on order of type {kind}")
        value: float | bool = getattr(source, name)
        return value

    def update(self, fields: UpdateOrderFields) -> OrderResponse:
        """Asks for new values; success means queued, the change happens in the next order pass."""
        request = UpdateOrderRequest(self._transactions.utc_ms, self.order_id, fields)
        return self._transactions.process_request(request).update_requests[-1].response

    def update_tag(self, tag: str) -> OrderResponse:
        """Asks for a new tag."""
        return self._update_one("tag", tag, None)

    def update_quantity(self, quantity: float, tag: str | None = None) -> OrderResponse:
        """Asks for a new signed quantity (of the whole group for a combo)."""
        return self._update_one("quantity", quantity, tag)

    def update_limit_price(self, limit_price: float, tag: str | None = None) -> OrderResponse:
        """Asks for a new limit price (of the whole group for a combo limit order)."""
        return self._update_one("limit_price", limit_price, tag)

    def update_stop_price(self, stop_price: float, tag: str | None = None) -> OrderResponse:
        """Asks for a new stop price."""
        return self._update_one("stop_price", stop_price, tag)

    def update_trigger_price(self, trigger_price: float, tag: str | None = None) -> OrderResponse:
        """Asks for a new trigger price."""
        return self._update_one("trigger_price", trigger_price, tag)

    def update_stop_trailing_amount(self, trailing_amount: float, tag: str | None = None) -> OrderResponse:
        """Asks for a new trailing distance."""
        return self._update_one("trailing_amount", trailing_amount, tag)

    def _update_one(self, name: str, value: float | str, tag: str | None) -> OrderResponse:
        fields = UpdateOrderFields()
        fields.tag = tag
        setattr(fields, name, value)
        return self.update(fields)

    def cancel(self, tag: str | None = None) -> OrderResponse:
        """Asks to cancel the order (the whole group for a combo); it happens in the next order pass."""
        request = CancelOrderRequest(self._transactions.utc_ms, self.order_id, tag)
        earlier = self.cancel_request
        if earlier is not None and earlier.status != OrderRequestStatus.ERROR:
            text = f"Order {self.order_id} has already received a cancellation request."
            return OrderResponse.error(request, OrderResponseErrorCode.REQUEST_CANCELED, text)
        ticket = self._transactions.process_request(request)
        return request.response if ticket.cancel_request is None else ticket.cancel_request.response

    def get_most_recent_order_request(self) -> OrderRequest:
        """The cancel request, else the last update, else the submit request."""
        if self.cancel_request is not None:
            return self.cancel_request
        return self._update_requests[-1] if self._update_requests else self.submit_request

    def get_most_recent_order_response(self) -> OrderResponse:
        """Answer to the latest request."""
        return self.get_most_recent_order_request().response

    def set_order(self, order: Order) -> None:
        """Ties the ticket to the engine's order (engine only)."""
        self._order = order

    def add_update_request(self, request: UpdateOrderRequest) -> None:
        """Remembers an update (engine only)."""
        self._update_requests.append(request)

    def try_set_cancel_request(self, request: CancelOrderRequest) -> bool:
        """Remembers a cancellation unless one is under way (engine only)."""
        earlier = self.cancel_request
        if earlier is not None and earlier.status != OrderRequestStatus.ERROR:
            return False
        self.cancel_request = request
        return True

    def add_order_event(self, event: OrderEvent) -> None:
        """Books an event and its fill (engine only)."""
        self._events.append(event)
        order = self._order
        if not event.fill_quantity or order is None:
            return
        if order.type != OrderType.OPTION_EXERCISE:
            self.quantity_filled = clean(self.quantity_filled + event.fill_quantity)
            fills = [e for e in self._events if e.status in (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED)]
            paid = sum(e.absolute_fill_quantity * e.fill_price for e in fills)
            self.average_fill_price = paid / abs(self.quantity_filled)
            order.price = price_of(self.average_fill_price)
        elif event.is_in_the_money:
            order.price = event.symbol.id.strike_price if event.symbol.security_type in OPTION_TYPES else order.price
            order.price = self.symbol.id.strike_price
            if event.fill_price:
                self.quantity_filled = clean(self.quantity_filled + event.fill_quantity)
                self.average_fill_price = order.price

    def __int__(self) -> int:
        response = self.get_most_recent_order_response()
        return int(response.error_code.value) if response.is_error else self.order_id

    def to_string(self) -> str:
        """The ticket in LEAN's words, as str() gives it."""
        return str(self)

    def __str__(self) -> str:
        requests: list[OrderRequest] = [self.submit_request, *self._update_requests]
        if self.cancel_request is not None:
            requests.append(self.cancel_request)
        answered = sum(1 for request in requests if request.response.is_processed)
        order = "" if self._order is None else f" {self._order}"
        return f"{self.order_id}:{order} Request Count: {len(requests)} Response Count: {answered}"


FIELDS_OF: dict[OrderType, tuple[str, ...]] = {
    OrderType.LIMIT: ("limit_price",),
    OrderType.COMBO_LIMIT: ("limit_price",),
    OrderType.COMBO_LEG_LIMIT: ("limit_price",),
    OrderType.STOP_MARKET: ("stop_price",),
    OrderType.STOP_LIMIT: ("limit_price", "stop_price"),
    OrderType.TRAILING_STOP: ("stop_price", "trailing_amount", "trailing_as_percentage"),
    OrderType.LIMIT_IF_TOUCHED: ("limit_price", "trigger_price"),
}


TicketFilter = Callable[[OrderTicket], bool]

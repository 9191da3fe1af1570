"""What algorithm and engine say to each other about orders: requests, responses, tickets and order events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from simulation.lean.clock import naive_milliseconds
from simulation.lean.enums import (
    OPTION_TYPES,
    OrderField,
    OrderRequestStatus,
    OrderRequestType,
    OrderResponseErrorCode,
    OrderStatus,
    OrderType,
)
from simulation.lean.names import Named, snake_case
from simulation.lean.symbols import Symbol, symbol_of
from simulation.orders.order_parts import GroupOrderManager, OrderEvent, OrderProperties, clean, from_utc_ms, price_of
from simulation.orders.orders import Order

if TYPE_CHECKING:
    from simulation.orders.transaction_manager import SecurityTransactionManager

UNPROCESSED_MESSAGE = "The request has not yet been processed."


class OrderResponse(Named):
    """The engine's answer to one request: success, or an error code with a message."""

    UNPROCESSED: ClassVar[OrderResponse]

    def __init__(self, order_id: int, error_code: OrderResponseErrorCode, error_message: str | None) -> None:
        self.order_id = order_id
        self.error_code = error_code
        self.error_message = error_message

    def __str__(self) -> str:
        if self is OrderResponse.UNPROCESSED:
            return "Unprocessed"
        if self.is_error:
            return f"Error: {self.error_code.to_string()} - {self.error_message}"
        return "Success"

    @property
    def is_processed(self) -> bool:
        """Whether the engine has looked at the request."""
        return self is not OrderResponse.UNPROCESSED

    @property
    def is_error(self) -> bool:
        """Whether the request was refused."""
        return self.is_processed and self.error_code != OrderResponseErrorCode.NONE

    @property
    def is_success(self) -> bool:
        """Whether the request was accepted (LEAN's sense: accepted for processing)."""
        return self.is_processed and not self.is_error

    @staticmethod
    def success(request: OrderRequest) -> OrderResponse:
        """Accepted."""
        return OrderResponse(request.order_id, OrderResponseErrorCode.NONE, None)

    @staticmethod
    def error(request: OrderRequest, error_code: OrderResponseErrorCode, error_message: str) -> OrderResponse:
        """Refused for a reason."""
        return OrderResponse(request.order_id, error_code, error_message)

    @staticmethod
    def invalid_status(request: OrderRequest, order: Order) -> OrderResponse:
        """Refused: the order is already closed."""
        text = f"Unable to update order with id {request.order_id} because it already has "
        text += f"{order.status.to_string()} status."
        return OrderResponse.error(request, OrderResponseErrorCode.INVALID_ORDER_STATUS, text)

    @staticmethod
    def invalid_new_status(request: OrderRequest, order: Order) -> OrderResponse:
        """Refused: the order has not been confirmed yet."""
        text = f"Unable to update or cancel order with id {request.order_id} and status {order.status.to_string()} "
        text += "because the submit confirmation has not been received yet."
        return OrderResponse.error(request, OrderResponseErrorCode.INVALID_NEW_ORDER_STATUS, text)

    @staticmethod
    def unable_to_find_order(request: OrderRequest) -> OrderResponse:
        """Refused: no order has this id."""
        text = f"Unable to locate order with id {request.order_id}."
        return OrderResponse.error(request, OrderResponseErrorCode.UNABLE_TO_FIND_ORDER, text)

    @staticmethod
    def zero_quantity(request: OrderRequest) -> OrderResponse:
        """Refused: nothing to trade."""
        what = request.order_request_type.to_string().lower()
        text = f"Unable to {what} order with id {request.order_id} that has zero quantity."
        return OrderResponse.error(request, OrderResponseErrorCode.ORDER_QUANTITY_ZERO, text)

    @staticmethod
    def missing_security(request: SubmitOrderRequest) -> OrderResponse:
        """Refused: the algorithm never added the symbol."""
        text = f"You haven't requested {request.symbol} data. Add this with add_security() in the initialize() method."
        return OrderResponse.error(request, OrderResponseErrorCode.MISSING_SECURITY, text)

    @staticmethod
    def warming_up(request: OrderRequest) -> OrderResponse:
        """Refused: the algorithm is warming up."""
        what = str(request.order_request_type).lower()
        text = f"This operation is not allowed in initialize or during warm up: OrderRequest.{what}. "
        text += "Please move this code to the on_warmup_finished() method."
        return OrderResponse.error(request, OrderResponseErrorCode.ALGORITHM_WARMING_UP, text)


OrderResponse.UNPROCESSED = OrderResponse(-(2**31), OrderResponseErrorCode.NONE, None)


@dataclass(eq=False)
class OrderRequest(Named):
    """A request about one order; its response is set by the engine."""

    order_request_type: ClassVar[OrderRequestType] = OrderRequestType.SUBMIT
    order_id: int
    tag: str | None
    time_ms: int
    response: OrderResponse = field(default=OrderResponse.UNPROCESSED, init=False)
    status: OrderRequestStatus = field(default=OrderRequestStatus.UNPROCESSED, init=False)

    @property
    def time(self) -> datetime:
        """When the request was made, UTC."""
        return from_utc_ms(self.time_ms)

    def set_response(self, response: OrderResponse, status: OrderRequestStatus = OrderRequestStatus.ERROR) -> None:
        """Records the engine's answer; an error answer always gives the status ERROR."""
        self.response = response
        self.status = OrderRequestStatus.ERROR if response.is_error else status


class SubmitOrderRequest(OrderRequest):
    """A request to send a new order."""

    order_request_type = OrderRequestType.SUBMIT

    def __init__(
        self,
        order_type: OrderType,
        security_type: Any,
        symbol: Any,
        quantity: float,
        *rest: Any,
        asynchronous: bool = False,
    ) -> None:
        """LEAN's argument order: type, security type, symbol, quantity, stop, limit, [trigger, [trailing amount,
        whether it is a fraction,]] time, tag.

        Algorithms make these in `on_margin_call`; the engine itself uses `SubmitOrderRequest.build`.
        """
        prices = [float(value) for value in rest if isinstance(value, (int, float)) and not isinstance(value, bool)]
        fractions = [value for value in rest if isinstance(value, bool)]
        texts = [value for value in rest if isinstance(value, str)]
        times = [value for value in rest if isinstance(value, datetime)]
        when = naive_milliseconds(times[0]) if times else 0
        super().__init__(OrderResponseErrorCode.UNABLE_TO_FIND_ORDER.value, texts[0] if texts else "", when)
        self.order_type = order_type
        self.security_type = security_type
        self.symbol: Symbol = symbol_of(symbol)
        self.quantity = float(quantity)
        stop, limit, trigger, trailing = (*prices, 0.0, 0.0, 0.0, 0.0)[:4]
        self.stop_price = stop
        self.limit_price = limit
        self.trigger_price = trigger
        self.trailing_amount = trailing
        self.trailing_as_percentage = bool(fractions and fractions[0])
        self.order_properties: OrderProperties | None = next(
            (value for value in rest if isinstance(value, OrderProperties)), None
        )
        self.group_order_manager: GroupOrderManager | None = next(
            (value for value in rest if isinstance(value, GroupOrderManager)), None
        )
        self.asynchronous = asynchronous

    @staticmethod
    def build(order_type: OrderType, security: Any, quantity: float, time_ms: int, **fields: Any) -> SubmitOrderRequest:
        """A request of the engine's own: every further field by name (tag, limit_price, order_properties, ...)."""
        request = SubmitOrderRequest(order_type, security.type, security.symbol, quantity)
        request.time_ms = time_ms
        for name, value in fields.items():
            setattr(request, name, value)
        return request


class UpdateOrderFields(Named):
    """The new values of an update; None leaves a field as it is."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(snake_case(name), value)

    def __init__(self) -> None:
        self.quantity: float | None = None
        self.limit_price: float | None = None
        self.stop_price: float | None = None
        self.trigger_price: float | None = None
        self.trailing_amount: float | None = None
        self.tag: str | None = None


class UpdateOrderRequest(OrderRequest):
    """A request to change a resting order."""

    order_request_type = OrderRequestType.UPDATE

    def __init__(self, time_ms: int, order_id: int, fields: UpdateOrderFields) -> None:
        super().__init__(order_id, fields.tag, time_ms)
        self.quantity = fields.quantity
        self.limit_price = fields.limit_price
        self.stop_price = fields.stop_price
        self.trigger_price = fields.trigger_price
        self.trailing_amount = fields.trailing_amount

    def is_allowed_for_closed_order(self) -> bool:
        """A closed order may only get a new tag."""
        values = (self.quantity, self.limit_price, self.stop_price, self.trigger_price, self.trailing_amount)
        return all(value is None for value in values)


class CancelOrderRequest(OrderRequest):
    """A request to cancel a resting order."""

    order_request_type = OrderRequestType.CANCEL

    def __init__(self, time_ms: int, order_id: int, tag: str | None = None) -> None:
        super().__init__(order_id, tag, time_ms)


class OrderTicket(Named):
    """The algorithm's handle on one order."""

    def __init__(self, transactions: SecurityTransactionManager, submit_request: SubmitOrderRequest) -> None:
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
    def invalid(
        cls, transactions: SecurityTransactionManager, request: SubmitOrderRequest, response: OrderResponse
    ) -> OrderTicket:
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
    def symbol(self) -> Any:
        """Symbol of the order."""
        return self.submit_request.symbol

    @property
    def security_type(self) -> Any:
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

    def get(self, order_field: OrderField) -> Any:
        """A price field of the order: limit (the group's for a combo), stop, trigger, trailing amount or kind.

        Raises ValueError when the order type has no such field.
        """
        name = order_field.name.lower()
        source: Any = self._order if self._order is not None else self.submit_request
        if name == "limit_price" and self.order_type == OrderType.COMBO_LIMIT and self._order is not None:
            source = self._order.group_order_manager
        if name not in FIELDS_OF.get(self.order_type, ()) or not hasattr(source, name):
            kind = self.order_type.to_string()
            raise ValueError(f"Unable to get field {order_field.to_string()} on order of type {kind}")
        return getattr(source, name)

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

    def _update_one(self, name: str, value: Any, tag: str | None) -> OrderResponse:
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

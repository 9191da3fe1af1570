"""What algorithm and engine say to each other about orders: requests and responses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from simulation.lean.clock import naive_milliseconds, utc_datetime
from simulation.lean.enums import (
    OrderRequestStatus,
    OrderRequestType,
    OrderResponseErrorCode,
    OrderStatus,
    OrderType,
    SecurityType,
)
from simulation.lean.names import Named, snake_case
from simulation.lean.symbols import Symbol, symbol_of
from simulation.orders.faces import PricedSecurity
from simulation.orders.order_parts import GroupOrderManager, OrderProperties

UNPROCESSED_MESSAGE = "The request has not yet been processed."


class Standing(Protocol):
    """What an answer needs to know of an order."""

    status: OrderStatus


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
    def invalid_status(request: OrderRequest, order: Standing) -> OrderResponse:
        """Refused: the order is already closed."""
        text = f"Unable to update order with id {request.order_id} because it already has "
        text += f"{order.status.to_string()} status."
        return OrderResponse.error(request, OrderResponseErrorCode.INVALID_ORDER_STATUS, text)

    @staticmethod
    def invalid_new_status(request: OrderRequest, order: Standing) -> OrderResponse:
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
        return utc_datetime(self.time_ms)

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
        security_type: SecurityType,
        symbol: object,
        quantity: float,
        *rest: object,
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
    def build(
        order_type: OrderType, security: PricedSecurity, quantity: float, time_ms: int, **fields: object
    ) -> SubmitOrderRequest:
        """A request of the engine's own: every further field by name (tag, limit_price, order_properties, ...)."""
        request = SubmitOrderRequest(order_type, security.type, security.symbol, quantity)
        request.time_ms = time_ms
        for name, value in fields.items():
            setattr(request, name, value)
        return request


class UpdateOrderFields(Named):
    """The new values of an update; None leaves a field as it is."""

    def __setattr__(self, name: str, value: object) -> None:
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

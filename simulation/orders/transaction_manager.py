"""LEAN's `algorithm.transactions`: orders and tickets by id and by symbol, and the records of closing fills."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from simulation.lean.clock import utc_datetime
from simulation.lean.names import Named, signed
from simulation.orders.orders import Order
from simulation.orders.parties import OrderHandler
from simulation.orders.requests import CancelOrderRequest, OrderRequest, SubmitOrderRequest, UpdateOrderRequest
from simulation.orders.tickets import OrderTicket


class SecurityTransactionManager(Named):
    """LEAN's `algorithm.transactions`: orders and tickets by id and by symbol."""

    def __init__(self, handler: OrderHandler) -> None:
        self._handler = handler
        self._group_ids = 0
        self._order_ids = 0
        self.transaction_record: dict[int, float] = {}
        self.wins: dict[int, bool] = {}

    @property
    def utc_ms(self) -> int:
        """The engine's clock, UTC milliseconds."""
        return int(self._handler.engine.utc_ms)

    @property
    def utc_time(self) -> datetime:
        """The engine's clock as a naive UTC datetime."""
        return utc_datetime(self.utc_ms)

    @property
    def orders_count(self) -> int:
        """Orders sent so far."""
        return self._handler.total_orders

    @property
    def last_order_id(self) -> int:
        """Id of the newest order, 0 before the first."""
        return self._order_ids

    @property
    def win_count(self) -> int:
        """Closing fills that made money."""
        return sum(1 for won in self.wins.values() if won)

    @property
    def loss_count(self) -> int:
        """Closing fills that lost money or nothing."""
        return len(self.wins) - self.win_count

    @property
    def transaction_records(self) -> dict[datetime, float]:
        """Realised profit of each closing fill by its UTC time."""
        return {utc_datetime(when): profit for when, profit in self.transaction_record.items()}

    def next_order_id(self) -> int:
        """Ids count from 1 in the order of submission."""
        self._order_ids += 1
        return self._order_ids

    def next_group_id(self) -> int:
        """Group ids count from 1, also for groups that are refused."""
        self._group_ids += 1
        return self._group_ids

    def add_order(self, request: SubmitOrderRequest) -> OrderTicket:
        """Sends a new order (what `on_margin_call` requests go through too)."""
        return self.process_request(request)

    def process_request(self, request: OrderRequest) -> OrderTicket:
        """Hands a request to the engine."""
        if isinstance(request, SubmitOrderRequest):
            request.order_id = self.next_order_id()
        return self._handler.submit(request)

    def update_order(self, request: UpdateOrderRequest) -> OrderTicket:
        """Hands an update to the engine."""
        return self.process_request(request)

    def cancel_order(self, order_id: int, order_tag: str | None = None) -> OrderTicket:
        """Asks to cancel an order; without a tag the order loses its own, as in LEAN."""
        return self.process_request(CancelOrderRequest(self.utc_ms, order_id, order_tag or ""))

    def cancel_open_orders(self, symbol: object = None, tag: str | None = None) -> list[OrderTicket]:
        """Asks to cancel every open order, of one symbol or of all. Raises ValueError during warm-up."""
        handler = self._handler
        if handler.engine.algorithm.is_warming_up:
            text = "This operation is not allowed in initialize or during warm up: cancel_open_orders. "
            raise ValueError(text + "Please move this code to the on_warmup_finished() method.")
        if symbol is None and tag is None:
            tag = f"Canceled by CancelOpenOrders() at {self.utc_time:%Y-%m-%dT%H:%M:%S}.0000000Z"
        tickets = [ticket for ticket in handler.open_tickets() if symbol is None or ticket.symbol == symbol]
        for ticket in tickets:
            ticket.cancel(tag)
        return tickets

    def get_order_by_id(self, order_id: int) -> Order | None:
        """A copy of the order, None when the id is unknown."""
        order = self._handler.complete.get(order_id)
        return None if order is None else order.clone()

    def get_order_ticket(self, order_id: int) -> OrderTicket | None:
        """The ticket of the order, None when the id is unknown."""
        return self._handler.tickets.get(order_id)

    @signed("filter=None")
    def get_orders(self, order_filter: Callable[[Order], bool] | None = None) -> list[Order]:
        """Copies of all orders that pass the filter."""
        orders = self._handler.complete.values()
        return [order.clone() for order in orders if order_filter is None or order_filter(order)]

    @signed("filter=None", "symbol")
    def get_open_orders(self, what: object = None) -> list[Order]:
        """Copies of the open orders, of one symbol, of those passing a filter, or all."""
        orders = [order for order, _ in self._handler.open.values()]
        return [order.clone() for order in orders if _matches(order, what)]

    @signed("filter=None", "symbol")
    def get_open_order_tickets(self, what: object = None) -> list[OrderTicket]:
        """Tickets of the open orders, of one symbol, of those passing a filter, or all."""
        return [ticket for ticket in self._handler.open_tickets() if _matches(ticket, what)]

    @signed("filter=None")
    def get_order_tickets(self, what: object = None) -> list[OrderTicket]:
        """All tickets, of one symbol, of those passing a filter, or all."""
        return [ticket for ticket in self._handler.tickets.values() if _matches(ticket, what)]

    @signed("filter=None", "symbol")
    def get_open_orders_remaining_quantity(self, what: object = None) -> float:
        """Signed quantity that open orders may still fill."""
        return sum(ticket.quantity_remaining for ticket in self.get_open_order_tickets(what))

    def record_profit(self, utc_ms: int, profit: float, won: bool) -> None:
        """Books a closing fill; records of the same millisecond are shifted by one (engine only)."""
        while utc_ms in self.transaction_record:
            utc_ms += 1
        self.transaction_record[utc_ms] = profit
        self.wins[utc_ms] = won


def _matches(item: Order | OrderTicket, what: object) -> bool:
    if what is None:
        return True
    if callable(what):
        return bool(what(item))
    return bool(item.symbol == getattr(what, "symbol", what))

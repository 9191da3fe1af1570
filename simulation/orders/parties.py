"""Whom the order side meets, as far as it needs to know them."""

from __future__ import annotations

from typing import Any, Protocol

from simulation.lean.dictionaries import OrderTable
from simulation.orders.order_event import OrderEvent
from simulation.orders.orders import Order
from simulation.orders.requests import OrderRequest
from simulation.orders.tickets import OrderTicket


class OrderHandler(Protocol):
    """The handler of all orders (`TransactionHandler`), as its broker, the exercises and `transactions` see it."""

    engine: Any
    open: OrderTable[tuple[Order, OrderTicket]]
    complete: OrderTable[Order]
    tickets: OrderTable[OrderTicket]
    total_orders: int

    def submit(self, request: OrderRequest) -> OrderTicket:
        """Takes a request."""

    def open_tickets(self) -> list[OrderTicket]:
        """Tickets of open orders by id."""

    def add_open_order(self, order: Order) -> None:
        """Enters an order that no request asked for."""

    def handle_event(self, event: OrderEvent) -> None:
        """Books one event and tells the algorithm."""

    def handle_events(self, events: list[OrderEvent]) -> None:
        """Books a batch of events, then tells the algorithm of each."""

    def buying_power_message(self, orders: list[Order], result: Any) -> str:
        """LEAN's sentence about orders that the account cannot carry."""

"""The account at the broker: what it holds and works on, whether or not a process looks at it.

While a process lives, its portfolio is the account, but for trades by hand and what the broker did not report. A paper
broker forgets everything at a restart (lean-facts 13.15).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from simulation.lean.enums import OrderStatus, OrderType, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.orders.order_parts import GroupOrderManager
from simulation.orders.orders import Order, create_order
from simulation.orders.requests import OrderResponse, SubmitOrderRequest
from simulation.orders.tickets import OrderTicket

START_CASH = 100_000.0


class Broker(Enum):
    """Whose account it is, which says how orders fill."""

    SIMULATED = auto()
    """By the security's fill model, on a quote of the market's that is newer than the order."""
    RECORDED = auto()
    """The one of LEAN's recordings: at natural, on the market's quote that stands (lean-facts 13)."""
    PAPER = auto()
    """LEAN's: by the fill model on the quotes that the algorithm sees, on its thread; a restart forgets it all."""


@dataclass(slots=True)
class Held:
    """A position: signed quantity, dollars a unit."""

    symbol: Symbol
    quantity: float
    average: float


@dataclass(slots=True)
class WorkingLeg:
    """One leg of a working group: signed quantity, and how much of it is filled."""

    symbol: Symbol
    quantity: float
    filled: float = 0.0


@dataclass(slots=True)
class WorkingGroup:
    """An order at the broker. limit: LEAN's sign, of the group; quantity: of the group."""

    number: str
    quantity: float
    limit: float
    legs: list[WorkingLeg]


@dataclass(slots=True)
class LiveAccount:
    """Cash in dollars, positions, working orders."""

    cash: float = START_CASH
    broker: Broker = Broker.SIMULATED
    held: list[Held] = field(default_factory=list)
    working: list[WorkingGroup] = field(default_factory=list)
    unseen: list[tuple[Symbol, float, float]] = field(default_factory=list)
    numbers: int = 0

    def number(self) -> str:
        """The next order number of the broker's."""
        self.numbers += 1
        return f"B{self.numbers}"

    def trade(self, symbol: Symbol, quantity: float, price: float, multiplier: float = 100.0) -> None:
        """Books a trade that no process hears of, signed quantity at dollars a unit."""
        self.cash -= quantity * price * multiplier
        known = next((row for row in self.held if row.symbol == symbol), None)
        if known is None:
            self.held.append(Held(symbol, quantity, price))
            return
        known.quantity += quantity
        if not known.quantity:
            self.held.remove(known)

    def fill(self, group: WorkingGroup, prices: list[float], legs: int | None = None) -> None:
        """Fills legs of a working group (all by default) while nobody looks: LEAN's order of legs, dollars a unit."""
        for leg, price in list(zip(group.legs, prices, strict=True))[:legs]:
            self.trade(leg.symbol, leg.quantity - leg.filled, price)
            leg.filled = leg.quantity
        if all(leg.filled == leg.quantity for leg in group.legs) or legs is not None:
            self.working.remove(group)

    def take_over(self, engine: Any) -> None:
        """Becomes what a process's portfolio and broker show, with what it was never told of."""
        if self.broker is Broker.PAPER:
            self.held, self.working, self.unseen = [], [], []
            return
        portfolio = engine.portfolio
        self.cash = float(portfolio.cash)
        self.held = [
            Held(security.symbol, float(security.holdings.quantity), float(security.holdings.average_price))
            for security in portfolio.invested_securities.values()
        ]
        self.working = engine.handler.broker.working_groups()
        for trade in self.unseen:
            self.trade(*trade)
        self.unseen = []


def restore(engine: Any, account: LiveAccount) -> None:
    """Loads holdings and open orders into a new process, after `initialize` (BrokerageSetupHandler.cs:280-315).

    Orders get numbers from 1 and no tag; what was filled of them is not ordered any more.
    """
    engine.portfolio.set_cash(account.cash)
    for row in account.held:
        security = subscribe(engine, row.symbol)
        security.holdings.set_holdings(row.average, row.quantity)
    for group in account.working:
        load_group(engine, group)


def subscribe(engine: Any, symbol: Symbol) -> Any:
    """The security of a symbol that the algorithm may not have asked for (`AddUnrequestedSecurity`)."""
    algorithm = engine.algorithm
    if symbol.security_type == SecurityType.EQUITY:
        return engine.securities.everything.get(symbol) or algorithm.add_equity(symbol.value, Resolution.MINUTE)
    if symbol.security_type == SecurityType.FUTURE:
        return algorithm.add_future_contract(symbol, Resolution.MINUTE)
    if symbol.security_type == SecurityType.INDEX_OPTION:
        return algorithm.add_index_option_contract(symbol, Resolution.MINUTE)
    if symbol.security_type == SecurityType.FUTURE_OPTION:
        return algorithm.add_future_option_contract(symbol, Resolution.MINUTE)
    return algorithm.add_option_contract(symbol, Resolution.MINUTE)


def load_group(engine: Any, group: WorkingGroup) -> list[Order]:
    """Enters a group of the broker's as LEAN restores it: new numbers, no tag, the broker's own number kept."""
    handler = engine.handler
    orders = []
    manager = None
    if len(group.legs) > 1:
        number = handler.transactions.next_group_id()
        manager = GroupOrderManager(number, len(group.legs), group.quantity, group.limit)
    for leg in group.legs:
        security = subscribe(engine, leg.symbol)
        kind = OrderType.COMBO_LIMIT if manager is not None else OrderType.LIMIT
        request = SubmitOrderRequest.build(
            kind,
            security,
            leg.quantity - leg.filled,
            engine.utc_ms,
            limit_price=group.limit,
            group_order_manager=manager,
            tag="",
        )
        request.order_id = handler.transactions.next_order_id()
        order = create_order(request)
        order.price_currency = security.quote_currency.symbol
        order.status = OrderStatus.SUBMITTED
        order.broker_id = [group.number]
        ticket = OrderTicket(handler.transactions, request)
        ticket.set_order(order)
        request.set_response(OrderResponse.success(request))
        handler.take_in(order, ticket)
        orders.append(order)
    return orders

"""Whom the order side meets, as far as it needs to know them: handler, engine, algorithm, account, securities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from simulation.data.source import DataSource
from simulation.lean.dictionaries import OrderTable
from simulation.lean.symbols import Symbol
from simulation.orders.faces import PricedOption, Speaker
from simulation.orders.fees import ChargedSecurity
from simulation.orders.fills import FillModelParameters, FillSettings
from simulation.orders.order_event import OrderEvent
from simulation.orders.orders import Order
from simulation.orders.requests import OrderRequest, SubmitOrderRequest, UpdateOrderRequest
from simulation.orders.tickets import OrderTicket


class FillsOrders(Protocol):
    """A fill model."""

    def fill(self, parameters: FillModelParameters) -> list[OrderEvent]:
        """Events for the order or its whole group."""


class Exercises(Protocol):
    """An exercise model."""

    def option_exercise(self, option: TradedSecurity, order: Order) -> list[OrderEvent]:
        """The fill of the option and, with delivery, that of the underlying."""


class Assignment(Protocol):
    """How many contracts are assigned, and the tag of the order that records it."""

    quantity: float
    tag: str


class AssignmentQuestion(Protocol):
    """What an assignment model gets to see."""

    option: TradedSecurity


class Assigns(Protocol):
    """An assignment model."""

    def get_assignment(self, parameters: AssignmentQuestion) -> Assignment | None:
        """Who is assigned now; None for nobody."""


class TradedSecurity(ChargedSecurity, PricedOption, Protocol):
    """A security with the models that trade it; an option's own members mean something for options alone."""

    @property
    def fill_model(self) -> FillsOrders:
        """When and at what price orders fill."""

    @property
    def option_exercise_model(self) -> Exercises:
        """What an exercise does."""

    @property
    def option_assignment_model(self) -> Assigns:
        """Who is assigned early."""

    @property
    def underlying(self) -> ChargedSecurity:
        """What an option is on."""


class SecuritiesOfTheRun(Protocol):
    """The securities of a run by symbol."""

    def __getitem__(self, key: object) -> TradedSecurity:
        """The security of a symbol; raises KeyError without one."""

    def get(self, key: object) -> TradedSecurity | None:
        """The security of a symbol, None without one."""

    def values(self) -> Sequence[TradedSecurity]:
        """All of them."""


class BuyingPowerAnswer(Protocol):
    """Whether the account can carry some orders."""

    is_sufficient: bool
    reason: str


class TradeBook(Protocol):
    """Builds closed trades of fills."""

    def book_fill(self, fill: OrderEvent, security: TradedSecurity) -> None:
        """Takes one fill."""


class CashOfCurrency(Protocol):
    """Cash of one currency."""

    def add_amount(self, amount: float) -> float:
        """Adds money."""


class CashByCurrency(Protocol):
    """The cash book."""

    account_currency: str

    def __getitem__(self, key: str) -> CashOfCurrency:
        """Cash of a currency."""


class Account(Protocol):
    """The portfolio that pays for orders."""

    @property
    def trade_builder(self) -> TradeBook:
        """Builder of closed trades."""

    @property
    def cash_book(self) -> CashByCurrency:
        """Settled cash."""

    @property
    def invested_securities(self) -> Mapping[Symbol, TradedSecurity]:
        """Securities that are held."""

    def has_sufficient_buying_power_for_order(self, orders: list[Order]) -> BuyingPowerAnswer:
        """Whether the account can carry the orders."""

    def process_fills(self, fills: list[OrderEvent]) -> None:
        """Books fills."""

    def has_short_options(self) -> bool:
        """Whether any option is held short."""

    def short_options(self) -> Sequence[TradedSecurity]:
        """Options that are held short."""


class BrokerageRules(Protocol):
    """What a brokerage takes."""

    def refusal(self, security: TradedSecurity, order: Order) -> object | None:
        """Why a new order is refused; None when it is taken."""

    def update_refusal(self, security: TradedSecurity, order: Order, request: UpdateOrderRequest) -> object | None:
        """Why a change is refused; None when it is taken."""

    def can_execute_order(self, security: TradedSecurity, order: Order) -> bool:
        """Whether an order may fill now."""


class OrderingAlgorithm(Speaker, Protocol):
    """The algorithm that sends the orders."""

    _maximum_orders: int

    @property
    def _engine(self) -> OrderEngine:
        """The engine that runs it."""

    @property
    def is_warming_up(self) -> bool:
        """Whether it may not trade yet."""

    @property
    def brokerage_model(self) -> BrokerageRules:
        """Its brokerage."""

    @property
    def settings(self) -> FillSettings:
        """Its settings."""


class Transactions(Protocol):
    """`algorithm.transactions`."""

    @property
    def utc_time(self) -> datetime:
        """The engine's clock."""

    @property
    def orders_count(self) -> int:
        """Orders sent so far."""

    def add_order(self, request: SubmitOrderRequest) -> OrderTicket:
        """Sends a new order."""

    def cancel_open_orders(self, symbol: object = None, tag: str | None = None) -> list[OrderTicket]:
        """Asks to cancel every open order, of one symbol or of all."""

    def get_open_order_tickets(self, what: object = None) -> list[OrderTicket]:
        """Tickets of the open orders."""


class SplitsOfSlice(Protocol):
    """The splits of a slice."""

    def __len__(self) -> int:
        """How many."""

    def __contains__(self, key: object) -> bool:
        """Whether a symbol splits."""


class MomentOfRun(Protocol):
    """The current slice."""

    @property
    def splits(self) -> SplitsOfSlice:
        """Splits of this instant by symbol."""


class OrderEngine(Protocol):
    """The engine, as the order side uses it; times in UTC milliseconds."""

    utc_ms: int
    source: DataSource

    @property
    def algorithm(self) -> OrderingAlgorithm:
        """The algorithm that runs."""

    @property
    def securities(self) -> SecuritiesOfTheRun:
        """Securities by symbol."""

    @property
    def portfolio(self) -> Account:
        """The account."""

    @property
    def transactions(self) -> Transactions:
        """`algorithm.transactions`."""

    @property
    def current_slice(self) -> MomentOfRun | None:
        """The slice of the last step."""

    def fire_order_event(self, event: OrderEvent) -> None:
        """Tells the algorithm of an order event."""

    def fire_assignment_event(self, event: OrderEvent) -> None:
        """Tells the algorithm of an assignment."""

    def stop(self, reason: str) -> None:
        """Ends the run before the next event."""


class OrderHandler(Protocol):
    """The handler of all orders (`TransactionHandler`), as its broker, the exercises and `transactions` see it."""

    engine: OrderEngine

    @property
    def open(self) -> OrderTable[tuple[Order, OrderTicket]]:
        """Orders that may still change, with their tickets, by id."""

    @property
    def complete(self) -> OrderTable[Order]:
        """All orders that have been processed, by id."""

    @property
    def tickets(self) -> OrderTable[OrderTicket]:
        """All tickets by id."""

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

    def buying_power_message(self, orders: list[Order], result: BuyingPowerAnswer) -> str:
        """LEAN's sentence about orders that the account cannot carry."""

"""The portfolio and its run as the models of this room see them; the classes themselves lie above their models."""

from __future__ import annotations

from typing import Protocol

from simulation.account.holdings import HoldingsOwner, SecurityHolding
from simulation.lean.enums import OrderDirection
from simulation.orders.fills import FillSettings
from simulation.orders.parties import OrderEngine, OrderingAlgorithm
from simulation.orders.transaction_manager import SecurityTransactionManager
from simulation.securities.derivatives import SecurityManager


class PortfolioFace(HoldingsOwner, Protocol):
    """The account: what it is worth, what is free of it, and who trades for it; dollars."""

    @property
    def securities(self) -> SecurityManager:
        """The run's securities."""

    @property
    def transactions(self) -> SecurityTransactionManager:
        """`algorithm.transactions`."""

    @property
    def total_portfolio_value(self) -> float:
        """Value of cash and holdings."""

    @property
    def total_margin_used(self) -> float:
        """What the position groups reserve."""

    @property
    def margin_remaining(self) -> float:
        """Value less what is reserved."""

    def get_margin_remaining(self, what: object = None, direction: OrderDirection = OrderDirection.BUY) -> float:
        """The same at a given value, or for a direction of trade in a symbol."""

    def __getitem__(self, key: object) -> SecurityHolding:
        """The holding of a symbol."""


class AccountSettings(FillSettings, Protocol):
    """The algorithm's settings, as the account looks at them."""

    free_portfolio_value: float | None
    free_portfolio_value_percentage: float


class AccountAlgorithm(OrderingAlgorithm, Protocol):
    """The algorithm whose account it is."""

    @property
    def settings(self) -> AccountSettings:
        """Its settings."""


class AccountEngine(OrderEngine, Protocol):
    """The engine, as the account uses it; times in UTC milliseconds."""

    data_ms: int

    @property
    def algorithm(self) -> AccountAlgorithm:
        """The algorithm that runs."""

    @property
    def securities(self) -> SecurityManager:
        """Securities by symbol."""

    @property
    def transactions(self) -> SecurityTransactionManager:
        """`algorithm.transactions`."""

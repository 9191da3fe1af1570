"""An account between two changes of it: what it is worth at many instants at once."""

from __future__ import annotations

import numpy as np

from simulation.account.portfolio import MARGIN_PRODUCTS, SecurityPortfolioManager
from simulation.lean.clock import FOREVER
from simulation.securities.paths import Factors, PricePath, Prices, Times


class StandingAccount:
    """What an account consists of while nothing changes it: its cash, and the paths of what it holds."""

    def __init__(self, portfolio: SecurityPortfolioManager, held: list[tuple[PricePath, Factors]], ms: int) -> None:
        self._held = held
        self._since = ms
        self._path: tuple[Times, Prices] | None = None
        self._cash = portfolio.cash + portfolio.unsettled_cash
        self._purse = portfolio.purse()
        self._changes, self._broken = portfolio.holding_changes, portfolio.securities.broken_paths
        self._until = min((path.high for path, _ in held), default=FOREVER)

    @staticmethod
    def of(portfolio: SecurityPortfolioManager, ms: int) -> StandingAccount | None:
        """The account as it is at an instant; None where it must be valued step by step."""
        if portfolio.purse() is None:
            return None
        held: list[tuple[PricePath, Factors]] = []
        for security in portfolio.invested_securities.values():
            path = None if security.type in MARGIN_PRODUCTS else security.price_path(ms)
            if path is None:
                return None
            quantity, multiplier = security.holdings.quantity, security.symbol_properties.contract_multiplier
            held.append((path, (quantity, multiplier, security.quote_currency.conversion_rate)))
        return StandingAccount(portfolio, held, ms)

    def stands(self, portfolio: SecurityPortfolioManager, ms: int) -> bool:
        """Whether at a later instant the account still consists of this."""
        return (
            ms <= self._until
            and portfolio.holding_changes == self._changes
            and portfolio.securities.broken_paths == self._broken
            and portfolio.purse() == self._purse
        )

    def values(self, times: Times) -> Prices:
        """What it was worth at some instants, added up as `total_portfolio_value` does before it drops the noise: once
        for each instant at which a price may change."""
        if self._path is None:
            changes = (path.changes(self._since, self._until) for path, _ in self._held)
            steps = np.unique(np.concatenate([np.array([self._since], dtype=np.int64), *changes]))
            total = np.full(len(steps), self._cash)
            for path, factors in self._held:
                total += path.worth(steps, factors)
            self._path = steps, total
        steps, total = self._path
        found: Prices = total[steps.searchsorted(times, "right") - 1]
        return found

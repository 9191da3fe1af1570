"""What a position's rest asks of its surroundings, with prices that move only where a test says so."""

from __future__ import annotations

from collections.abc import Mapping

from core.book import Position
from core.gateway import Account
from strategies.base import Close, HoldContext


class StillRoom:
    """Gateway and contract ends: prices by name, a backtest's account of 100,000 dollars, nothing that ends."""

    def __init__(self, prices: Mapping[str, float]) -> None:
        self.prices = {"SPX": 5000.0, "VIX": 16.0, **prices}

    def price(self, name: str) -> float | None:
        return self.prices.get(name)

    def is_live(self) -> bool:
        return False

    def account(self) -> Account:
        return Account(100_000.0, 100_000.0)

    def due(self, position: Position, context: HoldContext) -> tuple[Close, ...]:
        return ()

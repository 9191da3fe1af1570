"""What a new security is given: its models and its first price."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from simulation.account import brokerages
from simulation.lean.bars import BaseData
from simulation.lean.names import Named


class NullSecuritySeeder(Named):
    """Gives no first price."""

    def seed_security(self, security: Any) -> bool:
        """Nothing is done."""
        return security is None


class SecuritySeeder(Named):
    """LEAN's constants."""

    NULL: ClassVar[NullSecuritySeeder] = NullSecuritySeeder()


class FuncSecuritySeeder(Named):
    """Gives the prices that a function finds (`FuncSecuritySeeder(self.get_last_known_prices)`)."""

    def __init__(self, seed_function: Callable[[Any], Any]) -> None:
        self._find = seed_function

    def seed_security(self, security: Any) -> bool:
        """Sets the security's prices; whether there were any."""
        if security.symbol.is_canonical():
            return False
        found = self._find(security)
        points = [found] if isinstance(found, BaseData) else list(found or [])
        for point in points:
            security.set_market_price(point)
        return bool(points)


class BrokerageModelSecurityInitializer(Named):
    """Sets the models of a brokerage, then the first price."""

    def __init__(self, brokerage_model: Any = None, security_seeder: Any = None) -> None:
        self._model = brokerage_model or brokerages.DefaultBrokerageModel()
        self._seeder = security_seeder or SecuritySeeder.NULL

    def initialize(self, security: Any) -> None:
        """Initializes a new security."""
        brokerages.initialize(security, self._model)
        self._seeder.seed_security(security)


class CompositeSecurityInitializer(Named):
    """Several initializers, one after the other."""

    def __init__(self, *initializers: Any) -> None:
        self.initializers = list(initializers)

    def initialize(self, security: Any) -> None:
        """Initializes a new security."""
        for initializer in self.initializers:
            (getattr(initializer, "initialize", None) or initializer)(security)


class FuncSecurityInitializer(Named):
    """A function as an initializer."""

    def __init__(self, initializer: Callable[[Any], Any]) -> None:
        self._initializer = initializer

    def initialize(self, security: Any) -> None:
        """Initializes a new security."""
        self._initializer(security)

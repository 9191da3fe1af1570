"""LEAN's `Extensions` and volatility models, as far as algorithms name them."""

from __future__ import annotations

from typing import Any

from simulation.enums import OPTION_TYPES, OptionRight, Resolution, SecurityType
from simulation.feeds import RESOLUTION_MS
from simulation.names import Named


class Extensions(Named):
    """Static helpers."""

    @staticmethod
    def is_option(security_type: SecurityType) -> bool:
        """Whether a type is an option's."""
        return security_type in OPTION_TYPES

    @staticmethod
    def is_market_open(security: Any, extended_market_hours: bool) -> bool:
        """Whether a security's exchange is open now."""
        return bool(security.exchange.hours.is_open(security.local_time, extended_market_hours))

    @staticmethod
    def invert(right: OptionRight) -> OptionRight:
        """The other right."""
        return OptionRight.PUT if right == OptionRight.CALL else OptionRight.CALL

    @staticmethod
    def to_time_span(resolution: Resolution) -> Any:
        """A resolution as a timedelta."""
        from datetime import timedelta

        return timedelta(milliseconds=RESOLUTION_MS[resolution])


class VolatilityModel(Named):
    """Base of volatility models: kept on the security, not used by the engine's own price models."""

    volatility = 0.0


class StandardDeviationOfReturnsVolatilityModel(VolatilityModel):
    """Kept for algorithms that set it; LEAN's default price models of equity and index options do not look at it
    either."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class RelativeStandardDeviationVolatilityModel(StandardDeviationOfReturnsVolatilityModel):
    """Kept for algorithms that set it."""

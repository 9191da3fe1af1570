"""Volatility models, as algorithms set them."""

from __future__ import annotations

from typing import Any

from simulation.lean.names import Named


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

"""The stress engine on quotes that the test sets."""

from __future__ import annotations

from datetime import timedelta

from core.cache import UnifiedIntelligentCache
from core.contracts import Contract, Leg, Package
from core.settings.fields import CorrelationSettings, MarginSettings, SizingSettings
from greeks.stress import Stressed, StressEngine
from tests.greeks.chains import MORNING
from tests.greeks.service import System

FOUR_MONTHS = MORNING.date() + timedelta(days=119)


class Stress:
    """The engine around the Greeks tests' system."""

    def __init__(self, **sizing: float) -> None:
        self.system = System()
        system = self.system
        self.cache: UnifiedIntelligentCache = system.cache
        self.engine = StressEngine(
            system.service, system.bus, system.cache, system.gateway, system.book,  # type: ignore[arg-type]  # a part of one
            CorrelationSettings(), SizingSettings.model_validate(sizing), MarginSettings(),
        )  # fmt: skip
        for ticker, price in system.gateway.prices.items():
            system.move(ticker, price)

    def one(self, legs: dict[Contract, int], volatility: float = 0.15) -> Stressed:
        self.system.quote_all(legs, volatility)
        return self.engine.one_lot(Package(tuple(Leg(contract, ratio) for contract, ratio in legs.items())))

"""What every strategy works with, as one argument: prices, chains, Greeks, the book and the settings all rows share."""

from __future__ import annotations

from datetime import date

from core.book import Book
from core.factory import Manager
from core.gateway import Gateway
from core.settings.fields import MarginSettings, MarketSettings, OrderSettings
from greeks.marks import ChainPlanner, Marks
from greeks.service import CentralGreeksService
from greeks.stress import StressEngine
from market.calendar import EventCalendar
from market.chains import OptionChainManager
from market.trend import TrendWatcher
from market.vix import UnifiedVIXManager
from risk.equity import PhaseManager


class MarketAccess(Manager):
    """The parts of market knowledge that the coordinator hands to strategies."""

    def __init__(
        self,
        calendar: EventCalendar,
        chains: OptionChainManager,
        vix: UnifiedVIXManager,
        marks: Marks,
        greeks: CentralGreeksService,
        settings: MarketSettings,
    ) -> None:
        self.calendar = calendar
        self.chains = chains
        self.vix = vix
        self.marks = marks
        self.greeks = greeks
        self.settings = settings


class Analysis(Manager):
    """What is computed about options: Greeks, stress, and what can be said before quotes."""

    def __init__(self, greeks: CentralGreeksService, stress: StressEngine, planner: ChainPlanner) -> None:
        self.greeks = greeks
        self.stress = stress
        self.planner = planner


class Tools(Manager):
    """Handed to every row; a row keeps no other manager."""

    def __init__(
        self,
        gateway: Gateway,
        book: Book,
        market: MarketAccess,
        trend: TrendWatcher,
        analysis: Analysis,
        phases: PhaseManager,
        margin: MarginSettings,
        orders: OrderSettings,
    ) -> None:
        self.gateway = gateway
        self.book = book
        self.calendar, self.chains, self.vix = market.calendar, market.chains, market.vix
        self.trend = trend
        self.greeks, self.stress, self.planner = analysis.greeks, analysis.stress, analysis.planner
        self.phases = phases
        self.margin = margin
        self.orders = orders

    def spot(self, price_key: str) -> float | None:
        """Newest price of an underlying in points; ``None`` before its first."""
        tick = self.gateway.tick(price_key)
        return None if tick is None else tick.price

    def is_open(self, day: date) -> bool:
        """Whether the exchange opens on a day."""
        return self.calendar.session(day) is not None

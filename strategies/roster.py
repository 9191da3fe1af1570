"""Which strategies a run enables, and the parts of market knowledge that they are given."""

from __future__ import annotations

from core.settings.fields import RunSettings
from greeks.marks import Marks
from market.calendar import EventCalendar
from market.chains import OptionChainManager
from market.vix import UnifiedVIXManager
from strategies.base import Strategy


class StrategyRoster:
    """The strategies that a run enables, of all that exist."""

    def __init__(self, strategies: tuple[Strategy, ...], settings: RunSettings) -> None:
        known = {strategy.name: strategy for strategy in strategies}
        unknown = sorted(set(settings.strategies) - set(known))
        if unknown:
            raise ValueError(f"run.strategies: {unknown} unknown; expected some of {sorted(known)}")
        self.enabled = tuple(known[name] for name in settings.strategies)

    def verify(self) -> tuple[str, ...]:
        """Unknown names were refused when it was made."""
        return ()


class MarketAccess:
    """The parts of market knowledge that the coordinator hands to strategies."""

    def __init__(
        self, calendar: EventCalendar, chains: OptionChainManager, vix: UnifiedVIXManager, marks: Marks
    ) -> None:
        self.calendar = calendar
        self.chains = chains
        self.vix = vix
        self.marks = marks

    def verify(self) -> tuple[str, ...]:
        """Its parts answer for themselves."""
        return ()

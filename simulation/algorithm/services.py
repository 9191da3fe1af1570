"""What an algorithm asks the engine for: its subscriptions, trading days, lists of contracts."""

from __future__ import annotations

from datetime import date
from typing import Any

from simulation.data.chain_files import contracts_known_at
from simulation.lean.enums import OPTION_TYPES
from simulation.lean.names import Named
from simulation.lean.symbols import Symbol, symbol_of


class SubscriptionDataConfigService(Named):
    """Look-ups of subscriptions by symbol."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def get_subscription_data_configs(self, symbol: Any, include_internal_configs: bool = False) -> list[Any]:
        """Specifications of a symbol's subscriptions."""
        return [spec for spec in self._engine.configs.get(symbol, []) if include_internal_configs or not spec.internal]


class SubscriptionManager(Named):
    """`self.subscription_manager`."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.subscription_data_config_service = SubscriptionDataConfigService(engine)

    @property
    def subscriptions(self) -> list[Any]:
        """All subscriptions that are not internal."""
        return [spec for specs in self._engine.configs.values() for spec in specs if not spec.internal]

    @property
    def count(self) -> int:
        """Number of subscriptions."""
        return len(self.subscriptions)

    def add_consolidator(self, symbol: Any, consolidator: Any, tick_type: Any = None) -> None:
        """Feeds a consolidator with a symbol's data."""
        self._engine.consolidators.add(symbol, consolidator, tick_type)

    def remove_consolidator(self, symbol: Any, consolidator: Any) -> None:
        """Stops feeding a consolidator."""
        self._engine.consolidators.remove(symbol, consolidator)


class TradingCalendar(Named):
    """`self.trading_calendar`: open and closed days of the US equity market."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def is_trading_day(self, day: date) -> bool:
        """Whether the US equity market opens on a date."""
        return bool(self._engine.hours_of("SPY").is_date_open(day))


class OptionChainProvider(Named):
    """LEAN's older way to a chain file."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm

    def get_option_contract_list(self, symbol: Any, date: Any = None) -> list[Any]:
        """Contracts of the last chain file before a date, or before now, in the file's order."""
        wanted = symbol_of(symbol)
        if wanted.security_type not in OPTION_TYPES:
            wanted = Symbol.create_canonical_option(wanted)
        canonical = wanted if wanted.is_canonical() else wanted.canonical
        return contracts_known_at(self._algorithm._engine, canonical, date)

    def get_future_contract_list(self, symbol: Any, date: Any = None) -> list[Any]:
        """Contracts of the last futures chain file before a date, or before now, in the file's order."""
        wanted = symbol_of(symbol)
        return contracts_known_at(self._algorithm._engine, wanted if wanted.is_canonical() else wanted.canonical, date)

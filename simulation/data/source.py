"""What every source of market data shows: a folder on disk, the modelled market, a recording of either."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol, runtime_checkable

from simulation.data.columns import (
    FactorRow,
    InterestBlock,
    InterestRates,
    MapRow,
    MarginRow,
    QuoteBlock,
    TradeBlock,
    UniverseBlock,
)
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.lean.enums import Resolution
from simulation.lean.symbols import Symbol


class DataSource(Protocol):
    """Where the engine gets its market from. What is missing is None; a malformed file raises MalformedDataError."""

    @property
    def hours(self) -> MarketHoursDatabase:
        """Trading hours."""

    @property
    def properties(self) -> SymbolPropertiesDatabase:
        """Multipliers, ticks and lots."""

    def trades(self, symbol: Symbol, resolution: Resolution, day: date) -> TradeBlock | None:
        """Trade bars of the file that `day` (in the data's time zone) falls into."""

    def quotes(self, symbol: Symbol, resolution: Resolution, day: date) -> QuoteBlock | None:
        """Quote bars of the file that `day` falls into."""

    def open_interest(self, symbol: Symbol, resolution: Resolution, day: date) -> InterestBlock | None:
        """Open interest of the file that `day` falls into."""

    def universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        """The chain of `day`, which the engine sees from the next midnight on."""

    def map_file(self, symbol: Symbol) -> Sequence[MapRow] | None:
        """Ticker changes of an equity, or the contracts of a continuous future; ascending."""

    def factor_file(self, symbol: Symbol) -> Sequence[FactorRow] | None:
        """Dividends and splits of an equity; ascending."""

    def margins(self, symbol: Symbol) -> Sequence[MarginRow] | None:
        """Margin a futures contract; ascending."""

    def interest_rates(self) -> InterestRates | None:
        """The risk-free rate; None when there is none (LEAN then takes 1 %)."""

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        """First ticker and first date of an equity by its map file; None without one."""


@runtime_checkable
class KnowsAssets(Protocol):
    """A source that can say at once what it will never have."""

    def missing_asset(self, symbol: Symbol) -> str | None:
        """None for an asset or chain that the source has on some day; else in words what it has instead."""


@runtime_checkable
class KnowsGaps(Protocol):
    """A source that notes which contracts its own listing has and it has not."""

    def gaps(self) -> tuple[tuple[str, date], ...]:
        """Contracts asked for that are listed and lack quotes, and chains that lack: name and first such day."""

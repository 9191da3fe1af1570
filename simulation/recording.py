"""A data source that remembers what was asked of it, so that exactly that can be written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from simulation.blocks import (
    DataSource,
    FactorRow,
    InterestBlock,
    InterestRates,
    MapRow,
    MarginRow,
    QuoteBlock,
    TradeBlock,
    UniverseBlock,
)
from simulation.enums import Resolution
from simulation.hours import MarketHoursDatabase
from simulation.properties import SymbolPropertiesDatabase
from simulation.symbols import Symbol


@dataclass(slots=True)
class Demand:
    """What was asked for and existed: first and last day of each symbol's minutes, universes by day."""

    minutes: dict[Symbol, tuple[date, date]] = field(default_factory=dict)
    long: dict[tuple[Symbol, Resolution], None] = field(default_factory=dict)
    universes: dict[Symbol, tuple[date, date]] = field(default_factory=dict)

    def note(self, symbol: Symbol, resolution: Resolution, day: date) -> None:
        """Remembers one request."""
        if resolution is Resolution.MINUTE:
            _widen(self.minutes, symbol, day)
        else:
            self.long[(symbol, resolution)] = None


def _widen(ranges: dict[Symbol, tuple[date, date]], symbol: Symbol, day: date) -> None:
    first, last = ranges.get(symbol, (day, day))
    ranges[symbol] = (min(first, day), max(last, day))


class RecordingSource:
    """Passes every question on to another source and notes those that had an answer."""

    def __init__(self, source: DataSource) -> None:
        self._source = source
        self.demand = Demand()

    @property
    def hours(self) -> MarketHoursDatabase:
        """Trading hours of the source."""
        return self._source.hours

    @property
    def properties(self) -> SymbolPropertiesDatabase:
        """Multipliers and ticks of the source."""
        return self._source.properties

    def trades(self, symbol: Symbol, resolution: Resolution, day: date) -> TradeBlock | None:
        """Trade bars, noted."""
        found = self._source.trades(symbol, resolution, day)
        if found is not None:
            self.demand.note(symbol, resolution, day)
        return found

    def quotes(self, symbol: Symbol, resolution: Resolution, day: date) -> QuoteBlock | None:
        """Quote bars, noted."""
        found = self._source.quotes(symbol, resolution, day)
        if found is not None:
            self.demand.note(symbol, resolution, day)
        return found

    def open_interest(self, symbol: Symbol, resolution: Resolution, day: date) -> InterestBlock | None:
        """Open interest, noted."""
        found = self._source.open_interest(symbol, resolution, day)
        if found is not None:
            self.demand.note(symbol, resolution, day)
        return found

    def universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        """A chain, noted."""
        found = self._source.universe(canonical, day)
        if found is not None:
            _widen(self.demand.universes, canonical, day)
        return found

    def map_file(self, symbol: Symbol) -> Sequence[MapRow] | None:
        """Map file of the source."""
        return self._source.map_file(symbol)

    def factor_file(self, symbol: Symbol) -> Sequence[FactorRow] | None:
        """Factor file of the source."""
        return self._source.factor_file(symbol)

    def margins(self, symbol: Symbol) -> Sequence[MarginRow] | None:
        """Margins of the source."""
        return self._source.margins(symbol)

    def interest_rates(self) -> InterestRates | None:
        """Interest rates of the source."""
        return self._source.interest_rates()

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        """Map resolver of the source."""
        return self._source.map_resolver(ticker, market)

"""What an algorithm sees of one instant: the slice, its bars by symbol, its chains and events. Everything is
computed when looked at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from simulation.data.feeds import Feed
from simulation.lean.bars import BaseData, Delisting, QuoteBar, TradeBar
from simulation.lean.clock import UTC
from simulation.lean.dictionaries import KeyValuePair, LeanDictionary
from simulation.lean.enums import OPTION_TYPES, TickType
from simulation.lean.names import Named
from simulation.lean.symbols import Symbol, symbol_of

Snapshot = dict[Any, tuple[Feed, ...]]


class _Lazy(LeanDictionary[Any]):
    """A dictionary whose entries are made when they are asked for."""

    def __init__(self, moment: Slice) -> None:
        super().__init__()
        self._slice = moment
        self._complete = False

    def _make(self, key: Any) -> Any:
        raise KeyError(key)

    def _candidates(self) -> list[Any]:
        return list(self._entries)

    def _key(self, key: Any) -> Any:
        if isinstance(key, Symbol):
            return key
        return self._slice.symbol_named(key) if isinstance(key, str) else symbol_of(key)

    def _fill(self) -> dict[Any, Any]:
        if not self._complete:
            made = {key: self._lookup(key) for key in self._candidates()}
            self._entries = {key: value for key, value in made.items() if value is not None}
            self._complete = True
        return self._entries

    def _lookup(self, key: Any) -> Any:
        if key in self._entries:
            return self._entries[key]
        if self._complete:
            return None
        value = self._make(key)
        if value is not None:
            self._entries[key] = value
        return value

    def __getitem__(self, key: Any) -> Any:
        value = self._lookup(self._key(key))
        if value is None:
            raise self._missing(key)
        return value

    def __contains__(self, key: object) -> bool:
        return self._lookup(self._key(key)) is not None

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([KeyValuePair(key, value) for key, value in self._fill().items()])

    def __len__(self) -> int:
        return len(self._fill())

    def get(self, key: Any, default_value: Any = None) -> Any:
        """The value of a key, or the default."""
        value = self._lookup(self._key(key))
        return default_value if value is None else value

    def keys(self) -> list[Any]:
        """All keys."""
        return list(self._fill())

    def values(self) -> list[Any]:
        """All values."""
        return list(self._fill().values())

    def try_get_value(self, key: Any, value: Any = None) -> tuple[bool, Any]:
        """C#'s TryGetValue as pythonnet shows it."""
        found = self.get(key)
        return found is not None, value if found is None else found


class _Bars(_Lazy):
    """Bars of one tick type by symbol."""

    def __init__(self, moment: Slice, kind: TickType) -> None:
        super().__init__(moment)
        self._kind = kind

    def _candidates(self) -> list[Any]:
        return [
            symbol for symbol, feeds in self._slice.snapshot.items() if any(f.spec.kind == self._kind for f in feeds)
        ]

    def _make(self, key: Any) -> Any:
        return self._slice.point(key, self._kind)


class TradeBars(_Bars):
    """`slice.bars`."""


class QuoteBars(_Bars):
    """`slice.quote_bars`."""


class OptionChains(_Lazy):
    """`slice.option_chains`: by canonical symbol; a contract or an underlying finds its (standard) canonical."""

    def _key(self, key: Any) -> Any:
        symbol = super()._key(key)
        if symbol is None or not hasattr(symbol, "security_type"):
            return symbol
        if symbol.security_type in OPTION_TYPES:
            return symbol if symbol.is_canonical() else symbol.canonical
        return Symbol.create_canonical_option(symbol)

    def _candidates(self) -> list[Any]:
        return self._slice.engine.canonicals(self._slice.snapshot, True)  # type: ignore[no-any-return]

    def _make(self, key: Any) -> Any:
        return self._slice.engine.option_chain_at(key, self._slice)


class FuturesChains(_Lazy):
    """`slice.futures_chains` by canonical symbol."""

    def _key(self, key: Any) -> Any:
        symbol = super()._key(key)
        return symbol if symbol is None or symbol.is_canonical() else symbol.canonical

    def _candidates(self) -> list[Any]:
        return self._slice.engine.canonicals(self._slice.snapshot, False)  # type: ignore[no-any-return]

    def _make(self, key: Any) -> Any:
        return self._slice.engine.futures_chain_at(key, self._slice)


class Delistings(LeanDictionary[Delisting]):
    """`slice.delistings` and the argument of on_delistings."""


class Splits(LeanDictionary[Any]):
    """`slice.splits`."""


class Dividends(LeanDictionary[Any]):
    """`slice.dividends`."""


class SymbolChangedEvents(LeanDictionary[Any]):
    """`slice.symbol_changed_events`."""


class Ticks(LeanDictionary[Any]):
    """`slice.ticks`: empty, tick data is not served."""


class Slice(Named):
    """All data that became known at one instant."""

    _delistings: LeanDictionary[Any] | None = None
    _splits: LeanDictionary[Any] | None = None
    _dividends: LeanDictionary[Any] | None = None
    _symbol_changed_events: LeanDictionary[Any] | None = None
    _ticks: Ticks | None = None
    _bars: TradeBars | None = None
    _quote_bars: QuoteBars | None = None
    _option_chains: OptionChains | None = None
    _futures_chains: FuturesChains | None = None

    def __init__(self, engine: Any, ms: int, snapshot: Snapshot, filled: bool = False) -> None:
        self.engine, self.ms, self.snapshot = engine, ms, snapshot
        self.has_data = self.has_bars = filled

    @property
    def time(self) -> datetime:
        """The instant, naive, in the algorithm's zone."""
        return self.engine.zone.local(self.ms)  # type: ignore[no-any-return]

    @property
    def utc_time(self) -> datetime:
        """The instant, naive UTC."""
        return UTC.local(self.ms)

    @property
    def delistings(self) -> LeanDictionary[Any]:
        """Contracts on their last day, and those that are removed."""
        if self._delistings is None:
            self._delistings = Delistings()
        return self._delistings

    @property
    def splits(self) -> LeanDictionary[Any]:
        """Splits of the subscribed shares, and their warnings."""
        if self._splits is None:
            self._splits = Splits()
        return self._splits

    @property
    def dividends(self) -> LeanDictionary[Any]:
        """Dividends of the subscribed shares."""
        if self._dividends is None:
            self._dividends = Dividends()
        return self._dividends

    @property
    def symbol_changed_events(self) -> LeanDictionary[Any]:
        """Tickers that changed."""
        if self._symbol_changed_events is None:
            self._symbol_changed_events = SymbolChangedEvents()
        return self._symbol_changed_events

    @property
    def ticks(self) -> Ticks:
        """Always empty."""
        if self._ticks is None:
            self._ticks = Ticks()
        return self._ticks

    @property
    def bars(self) -> TradeBars:
        """Trade bars by symbol, fill-forward ones included."""
        if self._bars is None:
            self._bars = TradeBars(self, TickType.TRADE)
        return self._bars

    @property
    def quote_bars(self) -> QuoteBars:
        """Quote bars by symbol, fill-forward ones included."""
        if self._quote_bars is None:
            self._quote_bars = QuoteBars(self, TickType.QUOTE)
        return self._quote_bars

    @property
    def option_chains(self) -> OptionChains:
        """Chains of subscribed option contracts."""
        if self._option_chains is None:
            self._option_chains = OptionChains(self)
        return self._option_chains

    @property
    def futures_chains(self) -> FuturesChains:
        """Chains of subscribed futures contracts."""
        if self._futures_chains is None:
            self._futures_chains = FuturesChains(self)
        return self._futures_chains

    future_chains = futures_chains

    def point(self, symbol: Any, kind: TickType) -> BaseData | None:
        """What this instant holds of a symbol's trades or quotes; the finest resolution wins."""
        if not self.has_bars:
            return None
        for feed in sorted(self.snapshot.get(symbol, ()), key=lambda feed: feed.period):
            if feed.spec.kind == kind and not feed.spec.internal:
                found = feed.column(self.ms).emitted(self.ms)
                if found is not None:
                    return found
        return None

    def symbol_named(self, ticker: str) -> Any:
        """The subscribed symbol of a ticker."""
        return next((symbol for symbol in self.snapshot if symbol.value == ticker.upper()), None)

    def _symbol(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.symbol_named(key)
        return symbol_of(key)

    def _data(self, key: Any) -> BaseData | None:
        symbol = self._symbol(key)
        return self.point(symbol, TickType.TRADE) or self.point(symbol, TickType.QUOTE)

    def _pairs(self) -> list[KeyValuePair]:
        """Pairs of symbol and data; a symbol with nothing but an event has none (Slice.cs)."""
        found = ((symbol, self._data(symbol)) for symbol in self.keys())
        return [KeyValuePair(symbol, data) for symbol, data in found if data is not None]

    def __getitem__(self, key: Any) -> BaseData:
        found = self._data(key)
        if found is None:
            raise KeyError(
                f"'{key}' wasn't found in the Slice object, likely because there was no data at this time: {self.time}"
            )
        return found

    def get(self, key: Any, default: Any = None) -> Any:
        """The trade bar, else the quote bar, of a symbol; or all bars of a type."""
        if key is TradeBar:
            return self.bars
        if key is QuoteBar:
            return self.quote_bars
        found = self._data(key)
        return default if found is None else found

    def __contains__(self, key: object) -> bool:
        return self._data(key) is not None

    def contains_key(self, key: Any) -> bool:
        """Whether there is data of a symbol."""
        return key in self

    def keys(self) -> list[Any]:
        """Symbols that have data, delistings and changes of contract included."""
        events = {*self.delistings.keys(), *self.symbol_changed_events.keys()}
        return [s for s in self.snapshot if self._data(s) is not None or s in events]

    def values(self) -> list[BaseData]:
        """Data points of all symbols that have any."""
        return [pair.value for pair in self._pairs()]

    def items(self) -> list[KeyValuePair]:
        """Pairs of symbol and data."""
        return self._pairs()

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter(self.items())

    def __len__(self) -> int:
        return len(self.keys())

    @property
    def count(self) -> int:
        """Number of symbols with data."""
        return len(self)

    @property
    def all_data(self) -> list[BaseData]:
        """Every data point: trades, then quotes."""
        return [*self.bars.values(), *self.quote_bars.values()]

"""Option and futures chains: of a slice (quotes of that minute, model Greeks) and of a day's file
(`option_chain()`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from simulation.data.chain_files import OptionContracts, chain_frame
from simulation.data.feeds import Column, Feed
from simulation.lean.bars import QuoteBar, TradeBar
from simulation.lean.clock import FOREVER
from simulation.lean.dictionaries import LeanDictionary
from simulation.lean.enums import OPTION_TYPES, OptionRight, TickType
from simulation.lean.names import Named


class ChainEntry:
    """One contract of a chain for a day: its columns and the instant from which it has data."""

    __slots__ = ("first", "interest", "quote", "security", "symbol", "trade")

    def __init__(self, symbol: Any, security: Any, feeds: tuple[Feed, ...], ms: int) -> None:
        self.symbol, self.security = symbol, security
        self.trade: Column | None = None
        self.quote: Column | None = None
        self.interest: Column | None = None
        self.first = FOREVER
        for feed in feeds:
            column = feed.column(ms)
            kind = feed.spec.kind
            if kind == TickType.TRADE:
                self.trade = column
            elif kind == TickType.QUOTE:
                self.quote = column
            else:
                self.interest = column
                continue
            self.first = min(self.first, column.first_emission())


class ChainIndex:
    """The contracts of a canonical for one day, by the instant at which each appears.

    They come in the order of their symbols, as LEAN's chains do.
    """

    __slots__ = ("_count", "_present", "entries", "epoch", "filled", "firsts", "high", "low")

    def __init__(self, canonical: Any, snapshot: dict[Any, tuple[Feed, ...]], engine: Any, ms: int, epoch: int) -> None:
        members = [
            s
            for s in snapshot
            if s.security_type == canonical.security_type and not s.is_canonical() and s.canonical == canonical
        ]
        entries = [ChainEntry(symbol, engine.securities[symbol], snapshot[symbol], ms) for symbol in members]
        self.epoch = epoch
        self.low, self.high = -1, FOREVER
        self.filled = True
        for entry in entries:
            column = entry.quote or entry.trade
            if column is not None:
                self.low, self.high = max(self.low, column.low), min(self.high, column.high)
                self.filled = self.filled and column.feed.spec.fill_forward
        if canonical.security_type in OPTION_TYPES:
            start = _underlying_start(members, engine, ms)
            for entry in entries:
                entry.first = max(entry.first, start)
        first = min((entry.first for entry in entries), default=FOREVER)
        for entry in entries:
            if entry.interest is not None and entry.first > first and entry.interest.last_end(first) >= 0:
                entry.first = first
        self.entries = sorted((e for e in entries if e.first < FOREVER), key=lambda e: str(e.symbol.value))
        self.firsts = np.sort(np.array([e.first for e in self.entries], dtype=np.int64))
        self._count = -1
        self._present: list[ChainEntry] = []

    def valid(self, ms: int, epoch: int) -> bool:
        """Whether the index still describes an instant."""
        return self.epoch == epoch and self.low < ms <= self.high

    def present(self, ms: int) -> list[ChainEntry]:
        """Contracts with data at an instant."""
        count = int(self.firsts.searchsorted(ms, "right"))
        if count == 0:
            return list(())
        if count != self._count:
            self._count, self._present = count, [entry for entry in self.entries if entry.first <= ms]
        entries = self._present
        column = entries[0].quote or entries[0].trade
        if self.filled:
            return entries if column is not None and column.in_session(ms) else list(())
        return [entry for entry in entries if _has_row(entry, ms)]


def _has_row(entry: ChainEntry, ms: int) -> bool:
    return any(column is not None and column.last_end(ms) == ms for column in (entry.trade, entry.quote))


def _underlying_start(members: list[Any], engine: Any, ms: int) -> int:
    """Option data counts once the underlying has data (TimeSliceFactory.cs HandleOptionData)."""
    if not members:
        return 0
    starts = [feed.column(ms).first_emission() for feed in engine.subscriptions.feeds.get(members[0].underlying, ())]
    known = engine.securities[members[0].underlying].get_last_data()
    return 0 if known is not None else min(starts, default=FOREVER)


class OptionContract(Named):
    """One contract of a slice's chain. Prices are the minute's; implied volatility and Greeks come from the price
    model when read."""

    __slots__ = ("_chain", "_entry", "_model")

    _model: Any

    def __init__(self, chain: Any, entry: ChainEntry) -> None:
        self._chain, self._entry = chain, entry

    @property
    def symbol(self) -> Any:
        """The contract's symbol."""
        return self._entry.symbol

    @property
    def id(self) -> Any:
        """The contract's identifier."""
        return self._entry.symbol.id

    @property
    def strike(self) -> float:
        """Strike."""
        return self._entry.symbol.id.strike_price  # type: ignore[no-any-return]

    @property
    def scaled_strike(self) -> float:
        """Strike times the strike multiplier."""
        return self._entry.security.scaled_strike_price  # type: ignore[no-any-return]

    @property
    def expiry(self) -> datetime:
        """Expiry date at midnight."""
        return self._entry.symbol.id.date  # type: ignore[no-any-return]

    @property
    def right(self) -> OptionRight:
        """CALL or PUT."""
        return self._entry.symbol.id.option_right  # type: ignore[no-any-return]

    @property
    def style(self) -> Any:
        """AMERICAN or EUROPEAN."""
        return self._entry.symbol.id.option_style

    @property
    def time(self) -> datetime:
        """The minute, in the exchange's zone."""
        return self._entry.security.zone.local(self._chain.ms)  # type: ignore[no-any-return]

    @property
    def underlying_symbol(self) -> Any:
        """Symbol of the underlying."""
        return self._entry.symbol.underlying

    @property
    def underlying_last_price(self) -> float:
        """Price of the underlying in this chain."""
        return self._chain.underlying_price  # type: ignore[no-any-return]

    def _side(self, side: str) -> float:
        column = self._entry.quote
        if column is None:
            return 0.0 * self._chain.ms  # type: ignore[no-any-return]
        row = column.row(self._chain.ms) if column.whole is column.block else -1
        if row >= 0:
            value = getattr(column.block, f"{side}_close").item(row)
            if value == value:
                return float(value)
        bar = column.last_filler(self._chain.ms)
        found = getattr(bar, side) if isinstance(bar, QuoteBar) else None
        return 0.0 * self._chain.ms if found is None else float(found.close)

    @property
    def bid_price(self) -> float:
        """Bid at the end of the minute; 0 when there is none."""
        return self._side("bid")

    @property
    def ask_price(self) -> float:
        """Ask at the end of the minute; 0 when there is none."""
        return self._side("ask")

    def _size(self, name: str) -> int:
        column = self._entry.quote
        bar = None if column is None else column.last_filler(self._chain.ms)
        return int(getattr(bar, name)) if isinstance(bar, QuoteBar) else 0

    @property
    def bid_size(self) -> int:
        """Contracts bid for."""
        return self._size("last_bid_size")

    @property
    def ask_size(self) -> int:
        """Contracts offered."""
        return self._size("last_ask_size")

    def _trade(self) -> TradeBar | None:
        column = self._entry.trade
        bar = None if column is None else column.last_filler(self._chain.ms)
        return bar if isinstance(bar, TradeBar) else None

    @property
    def last_price(self) -> float:
        """Close of the last trade bar; 0 before the first."""
        bar = self._trade()
        return 0.0 if bar is None else bar.close

    @property
    def volume(self) -> int:
        """Volume of this minute's trades."""
        bar = self._trade()
        return 0 if bar is None or bar.end_ms != self._chain.ms else int(bar.volume)

    @property
    def open_interest(self) -> float:
        """Open contracts by the day's file; 0 without one."""
        column = self._entry.interest
        point = None if column is None else column.last_filler(self._chain.ms)
        return 0.0 if point is None else float(point.close)

    def _evaluated(self) -> Any:
        try:
            found: Any = self._model
        except AttributeError:
            found = self._model = self._chain.engine.evaluate_option(self._entry.security, self)
        return found

    @property
    def implied_volatility(self) -> float:
        """Annualised, as a fraction; 0 when it cannot be found."""
        return self._evaluated().implied_volatility  # type: ignore[no-any-return]

    @property
    def theoretical_price(self) -> float:
        """The model's price."""
        return self._evaluated().theoretical_price  # type: ignore[no-any-return]

    @property
    def greeks(self) -> Any:
        """The model's Greeks."""
        return self._evaluated().greeks

    def __str__(self) -> str:
        return str(self.symbol.value)


class OptionChain(Named):
    """The contracts of one canonical with data at one instant; iterating gives contracts."""

    def __init__(self, engine: Any, canonical: Any, moment: Any, entries: list[ChainEntry]) -> None:
        self.engine, self.symbol, self.ms = engine, canonical, moment.ms
        self.time = moment.time
        self._slice, self._entries = moment, entries
        self._contracts: list[OptionContract] | None = None
        self._underlying: Any = None

    @property
    def end_time(self) -> datetime:
        """The instant of the chain."""
        return self.time  # type: ignore[no-any-return]

    def _all(self) -> list[OptionContract]:
        if self._contracts is None:
            self._contracts = [OptionContract(self, entry) for entry in self._entries]
        return self._contracts

    def __iter__(self) -> Iterator[OptionContract]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, symbol: object) -> bool:
        return any(entry.symbol == symbol for entry in self._entries)

    def __getitem__(self, symbol: Any) -> OptionContract:
        return self.contracts[symbol]  # type: ignore[no-any-return]

    @property
    def count(self) -> int:
        """Number of contracts."""
        return len(self._entries)

    @property
    def contracts(self) -> OptionContracts:
        """Contracts by symbol."""
        return OptionContracts({contract.symbol: contract for contract in self._all()})

    @property
    def underlying(self) -> Any:
        """The underlying's quote bar of this instant, else its trade bar, else its last data (TimeSliceFactory.cs:
        quotes come later)."""
        if self._underlying is None:
            symbol = self._entries[0].symbol.underlying
            found = self._slice.point(symbol, TickType.QUOTE) or self._slice.point(symbol, TickType.TRADE)
            self._underlying = found or self.engine.securities[symbol].get_last_data()
        return self._underlying

    @property
    def underlying_price(self) -> float:
        """Price of the underlying."""
        bar = self.underlying
        return 0.0 if bar is None else bar.value

    @property
    def trade_bars(self) -> LeanDictionary[Any]:
        """Trade bars of the contracts."""
        return _bars_of(self._slice, self._entries, TickType.TRADE)

    @property
    def quote_bars(self) -> LeanDictionary[Any]:
        """Quote bars of the contracts."""
        return _bars_of(self._slice, self._entries, TickType.QUOTE)

    @property
    def filtered_contracts(self) -> set[Any]:
        """Symbols that the filter selected last."""
        return self.engine.selected_of(self.symbol)  # type: ignore[no-any-return]

    @property
    def data_frame(self) -> Any:
        """All contracts as a pandas frame, indexed by symbol."""
        return chain_frame(self.symbol, list(self))


def _bars_of(moment: Any, entries: list[Any], kind: TickType) -> LeanDictionary[Any]:
    found = {entry.symbol: moment.point(entry.symbol, kind) for entry in entries}
    return LeanDictionary({symbol: bar for symbol, bar in found.items() if bar is not None})


class FuturesContract(OptionContract):
    """One contract of a futures chain."""

    __slots__ = ()

    @property
    def underlying_last_price(self) -> float:
        """Same as the last price."""
        return self.last_price


class FuturesChain(OptionChain):
    """The futures contracts with data at one instant."""

    def _all(self) -> list[Any]:
        if self._contracts is None:
            self._contracts = [FuturesContract(self, entry) for entry in self._entries]
        return self._contracts

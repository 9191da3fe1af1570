"""History as algorithms ask for it: pandas frames, typed bars, slices.

Times are bar ends, in the exchange's zone, as LEAN's frames have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

from simulation.data.chain_files import UniverseRow, UniverseRows, universe_files, universe_frame
from simulation.engine.history import Joined, Request, bars_back, default_kinds, points, whole_bars_back
from simulation.engine.kernel import Engine
from simulation.engine.timeline import corporate_actions
from simulation.lean.bars import BaseData, Dividend, OpenInterest, QuoteBar, Split, TradeBar
from simulation.lean.clock import zone_of
from simulation.lean.dictionaries import KeyValuePair, LeanDictionary
from simulation.lean.enums import OPTION_TYPES, Resolution, SecurityType, SplitType, TickType
from simulation.lean.names import Named
from simulation.lean.symbols import Symbol, symbol_of
from simulation.securities.continuous import is_continuous

_TRADE_COLUMNS = ("open", "high", "low", "close", "volume")


_QUOTE_SIDES = ("open", "high", "low", "close")


_KINDS = {TradeBar: TickType.TRADE, QuoteBar: TickType.QUOTE, OpenInterest: TickType.OPEN_INTEREST}


class PlainSlice(Named):
    """One instant of a history of several symbols."""

    def __init__(self, time: datetime) -> None:
        self.time = time
        self.bars: LeanDictionary[Any] = LeanDictionary()
        self.quote_bars: LeanDictionary[Any] = LeanDictionary()

    def __getitem__(self, key: Any) -> Any:
        return self.bars.get(key) or self.quote_bars[key]

    def __contains__(self, key: object) -> bool:
        return key in self.bars or key in self.quote_bars

    def get(self, key: Any, default: Any = None) -> Any:
        """The trade bar, else the quote bar, of a symbol."""
        return self.bars.get(key) or self.quote_bars.get(key, default)

    def contains_key(self, key: Any) -> bool:
        """Whether a symbol has data."""
        return key in self

    def keys(self) -> list[Any]:
        """Symbols with data."""
        return list(dict.fromkeys([*self.bars.keys(), *self.quote_bars.keys()]))

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([KeyValuePair(key, self[key]) for key in self.keys()])

    def __len__(self) -> int:
        return len(self.keys())


class _Typed:
    """`history[TradeBar]`: bars instead of a frame."""

    def __init__(self, call: HistoryCall, kind: type) -> None:
        self._call, self._kind = call, kind

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._kind is Dividend or self._kind is Split:
            return self._call.actions(self._kind, arguments, named)
        symbols, requests = self._call.requests((self._kind, *arguments), named)
        if self._kind not in _KINDS:
            return self._call.universe_rows(symbols, arguments)
        if len(symbols) == 1 and not isinstance(arguments[0], list | tuple):
            return [point for request in requests for point in points(self._call.engine, request)]
        by_time: dict[int, LeanDictionary[Any]] = {}
        for request in requests:
            for point in points(self._call.engine, request):
                by_time.setdefault(point.end_ms, LeanDictionary())[request.symbol] = point
        return [by_time[end] for end in sorted(by_time)]


class HistoryCall:
    """`self.history`: callable for frames and slices, subscriptable for typed bars."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __getitem__(self, kind: type) -> _Typed:
        return _Typed(self, kind)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if _is_span(arguments[0]):
            return self._slices(arguments, named)
        chains = self.universes(arguments, named)
        if chains is not None:
            return chains
        _, requests = self.requests(arguments, named)
        return frame(self.engine, requests, bool(named.get("flatten", False)))

    def requests(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Any], list[Request]]:
        """The requests that a call means: ([type], symbols, span[, resolution]) or ([type], symbols, start, end[,
        resolution])."""
        values = list(arguments)
        kind = values.pop(0) if isinstance(values[0], type) else None
        given = values.pop(0) if values else named.get("symbols", named.get("symbol", named.get("tickers")))
        symbols = [self._symbol(item) for item in _listed(given)]
        resolution = next((Resolution(v) for v in values if isinstance(v, Resolution)), named.get("resolution"))
        spans = [v for v in values if not isinstance(v, Resolution) and _is_span(v)]
        spans += [named[key] for key in ("periods", "span", "start", "end") if key in named]
        requests = []
        for symbol in symbols:
            requests += self._requests_of(symbol, kind, spans, resolution, named)
        return symbols, requests

    def actions(self, kind: type, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[Dividend | Split]:
        """Dividends or splits of one share that came within a span: (symbol, span) or (symbol, start, end).

        Of splits those that came: a warning is told on its day alone.
        """
        symbol = self._symbol(arguments[0])
        spans = [value for value in arguments[1:] if not isinstance(value, Resolution)]
        spans += [named[key] for key in ("start", "end") if key in named]
        low, high = self._bounds(symbol, spans, Resolution.DAILY, False)
        rows = corporate_actions(self.engine.source, symbol, self.engine.hours_of(symbol))
        return [
            row
            for row in rows
            if type(row) is kind
            and low <= row.end_ms <= high
            and getattr(row, "type", SplitType.SPLIT_OCCURRED) is SplitType.SPLIT_OCCURRED
        ]

    def _symbol(self, item: Any) -> Any:
        if isinstance(item, str):
            known = [s.symbol for s in self.engine.securities.everything.values() if s.symbol.value == item.upper()]
            return known[0] if known else Symbol.create(item, SecurityType.EQUITY, "usa")
        return symbol_of(item)

    def _requests_of(
        self, symbol: Any, kind: type | None, spans: list[Any], resolution: Resolution | None, named: dict[str, Any]
    ) -> list[Request]:
        engine = self.engine
        known = engine.configs.get(symbol, [])
        configs = [spec for spec in known if not spec.internal] or known
        own = min((s.resolution for s in configs), default=engine.algorithm.universe_settings.resolution)
        chosen = own if resolution is None else resolution
        extended = named.get("extended_market_hours")
        wide = any(s.extended for s in configs) if extended is None else bool(extended)
        fill = named.get("fill_forward")
        fill_forward = (all(s.fill_forward for s in configs) if configs else True) if fill is None else bool(fill)
        low, high = self._bounds(symbol, spans, chosen, wide)
        kinds = [_KINDS[kind]] if kind in _KINDS else default_kinds(symbol, chosen)
        if kind is None or kind in _KINDS:
            joined = Joined.of(named)
            return [Request(symbol, tick, chosen, low, high, fill_forward, wide, joined) for tick in kinds]
        return list(())

    def _bounds(self, symbol: Any, spans: list[Any], resolution: Resolution, extended: bool) -> tuple[int, int]:
        engine = self.engine
        now = engine.utc_ms
        if not spans:
            raise TypeError("history needs a number of bars, a timedelta, or a start and an end")
        first = spans[0]
        if isinstance(first, timedelta):
            return now - int(first.total_seconds() * 1000), now
        if isinstance(first, datetime | date):
            zone = engine.zone
            end = min(zone.utc_ms(_moment(spans[1])), now) if len(spans) > 1 else now
            return zone.utc_ms(_moment(first)), end
        return bars_back(engine, symbol, resolution, int(first), extended), now

    def universe_rows(self, symbols: list[Any], arguments: tuple[Any, ...]) -> list[Any]:
        """The chain files of the last days."""
        blocks = universe_files(self.engine, symbols[0], [value for value in arguments if _is_span(value)])
        return [UniverseRows(block) for block in blocks]

    def universes(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any | None:
        """The frame of a history of chains; None when something else is asked for."""
        values = list(arguments)
        kind = values.pop(0) if values and isinstance(values[0], type) else None
        given = _listed(values[0] if values else named.get("symbols", named.get("symbol")))
        symbols = [self._symbol(item) for item in given]
        if kind is None and not all(symbol.is_canonical() and symbol.has_underlying for symbol in symbols):
            return None
        if kind is not None and not issubclass(kind, UniverseRow):
            return None
        spans = [value for value in values if _is_span(value)]
        spans += [named[key] for key in ("periods", "span", "start", "end") if key in named]
        blocks = [(symbol, block) for symbol in symbols for block in universe_files(self.engine, symbol, spans)]
        return universe_frame(blocks, bool(named.get("flatten", False)))

    def _slices(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> list[PlainSlice]:
        active = [s.symbol for s in self.engine.securities.values()]
        securities = [symbol for symbol in active if not symbol.is_canonical() or is_continuous(symbol)]
        _, requests = self.requests((securities, *arguments), named)
        by_time: dict[int, PlainSlice] = {}
        for request in requests:
            for point in points(self.engine, request):
                moment = by_time.setdefault(point.end_ms, PlainSlice(self.engine.zone.local(point.end_ms)))
                target = moment.bars if isinstance(point, TradeBar) else moment.quote_bars
                target[request.symbol] = point
        return [by_time[end] for end in sorted(by_time)]


def _is_span(value: Any) -> bool:
    return isinstance(value, timedelta | date | int | float) and not isinstance(value, bool | Resolution)


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str | Symbol) or hasattr(given, "symbol") or not isinstance(given, Iterable):
        return [given]
    return list(given)


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)


def frame(engine: Engine, requests: list[Request], flatten: bool = False) -> Any:
    """A pandas frame of all requests, indexed by symbol and time; options by expiry, strike and right as well.

    A column that is zero or missing in all rows of a symbol is left out of them (PandasData.cs ShouldFilter): daily
    bars of an index have no volume.
    """
    import pandas as pd

    del flatten
    by_symbol: dict[Any, dict[int, dict[str, float]]] = {}
    for request in requests:
        rows = by_symbol.setdefault(request.symbol, {})
        for point in points(engine, request):
            rows.setdefault(point.end_ms, {}).update(_cells(point))
    index: list[tuple[Any, ...]] = []
    cells: list[dict[str, float]] = []
    names: tuple[str, ...] = ("symbol", "time")
    for symbol, rows in by_symbol.items():
        zone = zone_of(engine.hours_of(symbol).time_zone)
        lead, names = _lead(symbol)
        told = {name for row in rows.values() for name, value in row.items() if value and value == value}
        for end in sorted(rows):
            index.append((*lead, symbol, zone.local(end)))
            cells.append({name: value for name, value in rows[end].items() if name in told})
    if not cells:
        return pd.DataFrame()
    made = pd.DataFrame(cells, index=pd.MultiIndex.from_tuples(index, names=names))
    return made[sorted(made.columns)]


def _lead(symbol: Any) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    if symbol.security_type in OPTION_TYPES and not symbol.is_canonical():
        identifier = symbol.id
        lead = (identifier.date, identifier.strike_price, int(identifier.option_right))
        return lead, ("expiry", "strike", "type", "symbol", "time")
    if symbol.security_type == SecurityType.FUTURE:
        return (symbol.id.date,), ("expiry", "symbol", "time")
    return (), ("symbol", "time")


def _cells(point: BaseData) -> dict[str, float]:
    if isinstance(point, TradeBar):
        return {name: getattr(point, name) for name in _TRADE_COLUMNS}
    if isinstance(point, OpenInterest):
        return {"openinterest": point.close}
    assert isinstance(point, QuoteBar)
    row = {name: getattr(point, name) for name in _QUOTE_SIDES}
    for side, size in (("bid", point.last_bid_size), ("ask", point.last_ask_size)):
        bar = getattr(point, side)
        if bar is not None:
            row |= {f"{side}{name}": getattr(bar, name) for name in _QUOTE_SIDES}
            row[f"{side}size"] = size
    return row


class HistoryApi(Named):
    """`self.history` and what needs it."""

    _engine: Engine

    @property
    def history(self) -> HistoryCall:
        """Past data: call it for frames, subscript it (`history[TradeBar]`) for bars."""
        self._engine.called()
        return HistoryCall(self._engine)

    def warmup_start(self, span: timedelta | int, resolution: Resolution | None) -> int:
        """The first instant of a warm-up by timedelta or by number of bars."""
        engine = self._engine
        start = engine.warmup_end_ms
        if isinstance(span, timedelta):
            return engine.zone.utc_ms(engine.zone.local(start) - span)
        engine.utc_ms = start
        starts = [start]
        for symbol, specs in engine.configs.items():
            if not symbol.is_canonical() or is_continuous(symbol):
                chosen = resolution if resolution is not None else min(spec.resolution for spec in specs)
                back = bars_back if chosen < Resolution.HOUR else whole_bars_back
                starts.append(back(engine, symbol, chosen, span, specs[0].extended))
        return min(starts)

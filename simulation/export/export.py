"""Writes a market as a folder in LEAN's layout.

What to write is either named (``SPX``, ``SPXW:0-7:0.97-1.03``) or recorded from a run (`RecordingSource`), so that
the folder holds what that run needs and little else. Same market, same request: the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from core.contracts import MarketNeeds
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
from simulation.data.lean_folder import (
    INTEREST_RATES,
    MARKET_HOURS,
    SYMBOL_PROPERTIES,
    auxiliary_path,
    data_path,
    universe_path,
)
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.source import DataSource
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.export.export_reach import Plan, is_near, month_rows, root_symbol
from simulation.export.export_text import (
    Block,
    block_text,
    factor_text,
    hours_text,
    map_text,
    margin_text,
    rates_text,
    sliced,
    universe_text,
    write_archive,
    write_text,
)
from simulation.lean.clock import DAY_MS, HOUR_MS, Zone, zone_of
from simulation.lean.enums import OPTION_TYPES, Resolution, SecurityType, TickType
from simulation.lean.symbols import Symbol

DAYS_BEFORE = 7
"""Calendar days of minutes and universes before the start: the first selection reads the trading day before."""
YEAR_BEFORE = 378
"""Calendar days in which 252 sessions lie, and a week more."""
METHODOLOGY_NAME = "METHODOLOGY"
"""What `parse_selection` takes for the ten strategies."""
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LATEST_MIDNIGHT_MS = 6 * HOUR_MS  # Chicago's midnight in winter, UTC
_TICKS = (TickType.TRADE, TickType.QUOTE, TickType.OPEN_INTEREST)

ExportProgress = Callable[[date, float], None]


class ExportRequestError(ValueError):
    """A request that names nothing that can be written; says what is accepted."""


@dataclass(frozen=True, slots=True)
class ChainWindow:
    """Contracts of a chain to write: calendar days to expiry, and strike over the underlying's close; inclusive."""

    canonical: Symbol
    days: tuple[int, int]
    moneyness: tuple[float, float]

    def rows(self, block: UniverseBlock, day: date) -> list[int]:
        """Rows of the chain of `day` that lie inside."""
        left = block.expiry - day.toordinal()
        keep = (left >= self.days[0]) & (left <= self.days[1])
        if block.underlying is not None and block.underlying.close > 0:
            ratio = block.strike / block.underlying.close
            keep &= (ratio >= self.moneyness[0]) & (ratio <= self.moneyness[1])
        return [int(row) for row in np.flatnonzero(keep)]


@dataclass(slots=True)
class Selection:
    """What to write. contracts, universes: from a first to a last day, both included.

    long: which hourly and daily files; None for all of the underlyings. plan: contracts chosen day by day.
    ranked: chains of whose 30 days at the money a year before the start is written; with ``plan``, of a future those of
    its contracts. ranked_days: the only days of one that were looked at.
    """

    underlyings: list[Symbol] = field(default_factory=list)
    windows: list[ChainWindow] = field(default_factory=list)
    contracts: dict[Symbol, tuple[date, date]] = field(default_factory=dict)
    universes: dict[Symbol, tuple[date, date]] = field(default_factory=dict)
    long: set[tuple[Symbol, Resolution]] | None = None
    plan: Plan | None = None
    ranked: list[Symbol] = field(default_factory=list)
    ranked_days: dict[Symbol, set[date]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written."""

    files: int
    bytes: int
    contracts: int
    days: int


def write_folder(
    source: DataSource,
    start: date,
    end: date,
    out: Path,
    symbols: Sequence[str] | Selection,
    progress: ExportProgress | None = None,
) -> ExportSummary:
    """Writes the market from `start` to `end`, with what an algorithm that starts then looks back on.

    symbols: texts that `parse_selection` accepts, or a ready selection. Raises ExportRequestError.
    """
    selection = symbols if isinstance(symbols, Selection) else parse_selection(source, symbols, start, end)
    return _Writer(source, selection, start, end, out).write(progress)


def parse_selection(
    source: DataSource, texts: Iterable[str], day: date, end: date | None = None, needs: MarketNeeds | None = None
) -> Selection:
    """Reads texts like ``SPY``, ``ES``, ``SPXW:0-7``, ``SPY:20-60:0.8-1.1``, ``methodology``.

    A bare ticker is an underlying. ``ROOT:DAYS:MONEYNESS`` is a chain with its underlying. ``methodology`` is what
    `needs` declares, for strategies that trade from `day` to `end` (`day` alone without it). Raises ExportRequestError.
    """
    selection = Selection()
    for text in texts:
        parts = text.strip().upper().split(":")
        if not parts[0] or len(parts) > 3:
            raise ExportRequestError(
                f"'{text}' names no market; accepted are TICKER and ROOT:DAYS[:MONEYNESS], as SPXW:0-7"
            )
        if parts == [METHODOLOGY_NAME]:
            if needs is None:
                raise ExportRequestError(f"'{text}' is what strategies declare, and none was handed in")
            _plan(selection, Plan(source, day, end or day, needs))
            continue
        if len(parts) == 1:
            selection.underlyings.append(underlying_named(source, parts[0]))
            continue
        days = _range(text, parts[1], (0, 30))
        money = _range(text, parts[2], (0.9, 1.1)) if len(parts) == 3 else (0.9, 1.1)
        underlying = root_symbol(source, parts[0])
        if underlying not in selection.underlyings:
            selection.underlyings.append(underlying)
        for canonical in _chains(source, underlying, parts[0], day):
            window = ChainWindow(canonical, (int(days[0]), int(days[1])), money)
            selection.windows.append(window)
    if not selection.underlyings:
        raise ExportRequestError(
            "no symbol was named; accepted are TICKER and ROOT:DAYS[:MONEYNESS], as SPXW:0-7:0.95-1.05"
        )
    return selection


def _plan(selection: Selection, plan: Plan) -> None:
    """Adds what strategies declare: daily bars of every underlying, hours of those only that need them."""
    selection.plan = plan
    selection.long = {(plan.underlying(ticker), Resolution.HOUR) for ticker in plan.needs.hourly}
    selection.long |= {(symbol, Resolution.DAILY) for symbol in plan.underlyings()}
    selection.underlyings.extend(plan.underlyings())
    selection.ranked = [plan.chain_of(root) for root in plan.needs.ranked]


def selection_of(demand: Demand) -> Selection:
    """What a recorded run asked for: each contract from a week before it was first asked for until it expires."""
    selection = Selection()
    week = timedelta(days=DAYS_BEFORE)
    for symbol, (first, last) in demand.minutes.items():
        if symbol.security_type in OPTION_TYPES:
            selection.contracts[symbol] = (first - week, max(last, symbol.id.date.date()))
        elif symbol not in selection.underlyings:
            selection.underlyings.append(symbol)
    for symbol, _ in demand.long:
        if symbol.security_type not in OPTION_TYPES and symbol not in selection.underlyings:
            selection.underlyings.append(symbol)
    selection.universes = dict(demand.universes)
    selection.ranked = sorted(demand.histories, key=str)
    selection.ranked_days = {canonical: set(days) for canonical, days in demand.histories.items()}
    selection.long = set(demand.long)
    return selection


def underlying_named(source: DataSource, ticker: str) -> Symbol:
    """The index, future (its chain's symbol) or equity of a ticker."""
    return root_symbol(source, ticker)


def _chains(source: DataSource, underlying: Symbol, root: str, day: date) -> list[Symbol]:
    if underlying.security_type is not SecurityType.FUTURE:
        return [Symbol.create_canonical_option(underlying, root, underlying.id.market, None)]
    for back in range(DAYS_BEFORE + 1):
        futures = source.universe(underlying, day - timedelta(days=back))
        if futures is not None:
            return [Symbol.create_canonical_option(future) for future in futures.symbols()]
    raise ExportRequestError(f"'{root}': the market lists no contract of {underlying.id.symbol} in the week to {day}")


def _range(text: str, part: str, default: tuple[float, float]) -> tuple[float, float]:
    if not part:
        return default
    low, dash, high = part.partition("-")
    try:
        numbers = (float(low), float(high) if dash else float(low))
    except ValueError as error:
        raise ExportRequestError(
            f"'{text}': '{part}' is no range; accepted is LOW-HIGH, as 0-7 or 0.95-1.05"
        ) from error
    if numbers[0] > numbers[1] or numbers[0] < 0:
        raise ExportRequestError(f"'{text}': '{part}' runs backwards or is negative; accepted is LOW-HIGH, as 0-7")
    return numbers


class _Writer:
    """One export. Archives are gathered day by day, so that memory holds one day."""

    def __init__(self, source: DataSource, selection: Selection, start: date, end: date, out: Path) -> None:
        self._source = source
        self._selection = selection
        self._start, self._end = start, end
        self._out = out
        self._files = self._bytes = self._days = 0
        self._contracts: set[Symbol] = set()
        self._futures: dict[Symbol, None] = {}

    def write(self, progress: ExportProgress | None) -> ExportSummary:
        first = self._start - timedelta(days=DAYS_BEFORE)
        total = (self._end - first).days + 1
        for back in range(YEAR_BEFORE if self._selection.ranked else 0, DAYS_BEFORE, -1):
            self._write_ranked(self._start - timedelta(days=back))
        for number in range(total):
            day = first + timedelta(days=number)
            self._write_day(day)
            if progress is not None:
                progress(day, (number + 1) / total)
        self._write_histories()
        self._write_beside()
        return ExportSummary(self._files, self._bytes, len(self._contracts), self._days)

    def _write_day(self, day: date) -> None:
        archives: dict[str, dict[str, str]] = {}
        for symbol in self._symbols_of(day):
            for tick in _TICKS:
                block = self._block(symbol, Resolution.MINUTE, tick, day)
                if block is None:
                    continue
                where = data_path(symbol, Resolution.MINUTE, tick, day)
                text = block_text(block, symbol, Resolution.MINUTE, self._zone(symbol))
                archives.setdefault(where.archive, {})[where.entry] = text
        for relative, entries in archives.items():
            self._count(write_archive(self._out / relative, entries))
        self._days += bool(archives)

    def _block(self, symbol: Symbol, resolution: Resolution, tick: TickType, day: date) -> Block | None:
        if tick is TickType.TRADE:
            return self._source.trades(symbol, resolution, day)
        if tick is TickType.QUOTE:
            return self._source.quotes(symbol, resolution, day)
        return self._source.open_interest(symbol, resolution, day)

    def _zone(self, symbol: Symbol) -> Zone:
        return zone_of(self._source.hours.get_data_time_zone(symbol.id.market, symbol, symbol.security_type))

    def _symbols_of(self, day: date) -> list[Symbol]:
        """Everything whose minutes of a day are written; universes of the day are written on the way."""
        wanted: dict[Symbol, None] = {}
        for underlying in self._selection.underlyings:
            if underlying.security_type is SecurityType.FUTURE and underlying.is_canonical():
                block = self._universe(underlying, day)
                futures = [] if block is None or self._selection.plan is not None else block.symbols()
                wanted.update(dict.fromkeys(futures))
                self._futures.update(dict.fromkeys(futures))
            else:
                wanted[underlying] = None
        for window in self._selection.windows:
            chain = self._universe(window.canonical, day)
            if chain is not None:
                wanted.update(dict.fromkeys(chain.symbols(window.rows(chain, day))))
        for canonical, (first, last) in self._selection.universes.items():
            if first <= day <= last:
                self._universe(canonical, day)
        wanted.update(dict.fromkeys(self._planned(day)))
        for contract, (first, last) in self._selection.contracts.items():
            if first <= day <= last:
                wanted[contract] = None
        self._contracts.update(symbol for symbol in wanted if symbol.security_type in OPTION_TYPES)
        return list(wanted)

    def _planned(self, day: date) -> list[Symbol]:
        """Contracts of the plan with the futures they are on; their chains are written on the way."""
        wanted: list[Symbol] = []
        for reach in () if self._selection.plan is None else self._selection.plan.chains(day):
            future = reach.block.canonical.underlying
            if future.security_type is SecurityType.FUTURE:
                wanted.append(future)
            ranked = reach.block.canonical in self._selection.ranked
            rows = {*reach.rows, *(month_rows(reach.block).tolist() if ranked else ())}
            self._write_universe(reach.block, day, sorted(rows))
            wanted += reach.contracts
        if self._selection.plan is not None:
            self._write_ranked(day)
        return wanted

    def _write_ranked(self, day: date) -> None:
        """Of the chains whose 30 days at the money are looked back on the rows that say it, where none are written."""
        for canonical in self._selection.ranked:
            days = self._selection.ranked_days.get(canonical)
            block = None if days is not None and day not in days else self._source.universe(canonical, day)
            if block is None:
                continue
            if canonical.security_type is not SecurityType.FUTURE:
                self._write_month(block, day)
                continue
            self._write_universe(block, day, None)
            nearest = (
                symbol for symbol in block.symbols() if self._selection.plan is not None and is_near(symbol, day)
            )
            for chain in (self._source.universe(Symbol.create_canonical_option(symbol), day) for symbol in nearest):
                if chain is not None:
                    self._write_month(chain, day)

    def _write_month(self, block: UniverseBlock, day: date) -> None:
        if len(rows := month_rows(block)) and not (self._out / universe_path(block.canonical, day)).exists():
            self._write_universe(block.narrowed(rows), day, None)

    def _universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        block = self._source.universe(canonical, day)
        if block is not None:
            self._write_universe(block, day, None)
        return block

    def _write_universe(self, block: UniverseBlock, day: date, rows: list[int] | None) -> None:
        path = self._out / universe_path(block.canonical, day)
        if not path.exists():
            self._count(write_text(path, universe_text(block, rows)))

    def _write_histories(self) -> None:
        """Hourly and daily bars: all that lies before the end, so that indicators can warm up."""
        last_ms = (self._end.toordinal() - _EPOCH_ORDINAL + 1) * DAY_MS + _LATEST_MIDNIGHT_MS
        archives: dict[str, dict[str, str]] = {}
        for symbol, resolution, tick, day in self._histories():
            block = self._block(symbol, resolution, tick, day)
            kept = None if block is None else sliced(block, 0, last_ms)
            if kept is not None:
                where = data_path(symbol, resolution, tick, day)
                text = block_text(kept, symbol, resolution, self._zone(symbol))
                archives.setdefault(where.archive, {})[where.entry] = text
        for relative, entries in archives.items():
            self._count(write_archive(self._out / relative, entries))

    def _histories(self) -> Iterator[tuple[Symbol, Resolution, TickType, date]]:
        """Each hourly and daily file: trades of underlyings; quotes too of futures; all kinds and years of options."""
        long = self._selection.long
        for symbol in (*self._selection.underlyings, *self._futures):
            kinds = _TICKS[:2] if symbol.security_type is SecurityType.FUTURE else (TickType.TRADE,)
            for resolution in (Resolution.HOUR, Resolution.DAILY):
                if not symbol.is_canonical() and (long is None or (symbol, resolution) in long):
                    yield from ((symbol, resolution, tick, self._end) for tick in kinds)
        for symbol, resolution in sorted(long or (), key=lambda one: (one[0].value, one[1])):
            if symbol.security_type in OPTION_TYPES:
                ends = [min(self._end, date(year, 12, 31)) for year in range(self._start.year, self._end.year + 1)]
                yield from ((symbol, resolution, tick, day) for tick in _TICKS for day in ends)

    def _write_beside(self) -> None:
        """Databases, map and factor files, margins, interest rates."""
        self._text(MARKET_HOURS, hours_text(self._source.hours))
        self._text(SYMBOL_PROPERTIES, "\n".join(self._source.properties.lines()) + "\n")
        rates = self._source.interest_rates()
        if rates is not None:
            self._text(INTEREST_RATES, rates_text(rates))
        for symbol in self._selection.underlyings:
            if symbol.security_type in (SecurityType.EQUITY, SecurityType.FUTURE):
                self._write_auxiliary(symbol)

    def _write_auxiliary(self, symbol: Symbol) -> None:
        mapped, factors = self._source.map_file(symbol), self._source.factor_file(symbol)
        if mapped:
            self._text(auxiliary_path(symbol, "map_files"), map_text(mapped))
        if factors:
            self._text(auxiliary_path(symbol, "factor_files"), factor_text(factors))
        margins = self._source.margins(symbol) if symbol.security_type is SecurityType.FUTURE else None
        if margins:
            self._text(auxiliary_path(symbol, "margins"), margin_text(margins))

    def _text(self, relative: str, text: str) -> None:
        self._count(write_text(self._out / relative, text))

    def _count(self, size: int) -> None:
        self._files += 1
        self._bytes += size


@dataclass(slots=True)
class Demand:
    """What was asked for and existed: first and last day of each symbol's minutes, universes by day."""

    minutes: dict[Symbol, tuple[date, date]] = field(default_factory=dict)
    long: dict[tuple[Symbol, Resolution], None] = field(default_factory=dict)
    universes: dict[Symbol, tuple[date, date]] = field(default_factory=dict)
    histories: dict[Symbol, set[date]] = field(default_factory=dict)
    """Chains of which more than the newest files were asked for, and of which days."""

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
            if self.demand.universes[canonical][1] - day > timedelta(days=DAYS_BEFORE):
                self.demand.histories.setdefault(canonical, set()).add(day)
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

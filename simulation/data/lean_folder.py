"""A LEAN data folder as a market: minute, hour and daily bars, universes, and the files beside them.

Paths and names: Common/Util/LeanData.cs:549-860.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from simulation.data import side_files as auxiliary
from simulation.data.archives import ArchiveCache, Layout, Table
from simulation.data.columns import (
    ContractFactorRow,
    FactorRow,
    Integers,
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
from simulation.lean.clock import DAY_MS, HOUR_MS, MINUTE_MS, Zone, zone_of
from simulation.lean.enums import OPTION_TYPES, OptionRight, OptionStyle, Resolution, SecurityType, TickType
from simulation.lean.symbols import Symbol, contract_month

PRICE_SCALE = 10_000.0
SCALED_TYPES = frozenset({SecurityType.EQUITY, SecurityType.OPTION, SecurityType.INDEX_OPTION})
_TICKS = {TickType.TRADE: "trade", TickType.QUOTE: "quote", TickType.OPEN_INTEREST: "openinterest"}


@dataclass(frozen=True, slots=True)
class DataPath:
    """An archive, relative to the data folder, and the entry in it."""

    archive: str
    entry: str


def type_name(kind: SecurityType) -> str:
    """A security type as a folder: 'indexoption'."""
    return kind.name.replace("_", "").lower()


def _is_long(resolution: Resolution) -> bool:
    return resolution in (Resolution.HOUR, Resolution.DAILY)


def ticker_of(symbol: Symbol) -> str:
    """The ticker that files of a symbol carry, lower case."""
    kind = symbol.security_type
    if kind is SecurityType.OPTION:
        return symbol.underlying.value.lower()
    if kind in (SecurityType.INDEX_OPTION, SecurityType.FUTURE_OPTION, SecurityType.FUTURE):
        return symbol.id.symbol.lower()
    return symbol.value.lower()


def _month(symbol: Symbol) -> str:
    return f"{contract_month(symbol):%Y%m}"


def _option_part(symbol: Symbol) -> str:
    style = "american" if symbol.id.option_style is OptionStyle.AMERICAN else "european"
    right = "call" if symbol.id.option_right is OptionRight.CALL else "put"
    return f"{style}_{right}_{round(symbol.id.strike_price * 10_000)}_{symbol.id.date:%Y%m%d}"


def _directory(symbol: Symbol, resolution: Resolution) -> str:
    base = f"{type_name(symbol.security_type)}/{symbol.id.market}/{resolution.name.lower()}"
    if symbol.security_type is SecurityType.FUTURE_OPTION:
        return f"{base}/{ticker_of(symbol)}/{_month(symbol)}"
    return base if _is_long(resolution) else f"{base}/{ticker_of(symbol)}"


@lru_cache(maxsize=8192)
def _pattern(symbol: Symbol, resolution: Resolution, tick: TickType) -> tuple[str, str, str]:
    """Text before and after the date: of the archive, then of the entry. Long resolutions: the year, and none."""
    ticker, kind = ticker_of(symbol), _TICKS[tick]
    directory = _directory(symbol, resolution)
    is_long, period = _is_long(resolution), resolution.name.lower()
    if symbol.security_type in OPTION_TYPES:
        part = _option_part(symbol)
        style = part[: part.index("_")]
        if is_long:
            return f"{directory}/{ticker}_", f"_{kind}_{style}.zip", f"{ticker}_{kind}_{part}.csv"
        return f"{directory}/", f"_{kind}_{style}.zip", f"_{ticker}_{period}_{kind}_{part}.csv"
    if symbol.security_type is SecurityType.FUTURE:
        if is_long:
            return f"{directory}/{ticker}_{kind}.zip", "", f"{ticker}_{kind}_{_month(symbol)}.csv"
        return f"{directory}/", f"_{kind}.zip", f"_{ticker}_{period}_{kind}_{_month(symbol)}.csv"
    if is_long:
        return f"{directory}/{ticker}.zip", "", f"{ticker}.csv"
    return f"{directory}/", f"_{kind}.zip", f"_{ticker}_{period}_{kind}.csv"


def data_path(symbol: Symbol, resolution: Resolution, tick: TickType, day: date) -> DataPath:
    """Archive and entry of one symbol's data: the day's for minutes, the year's or the whole history's otherwise."""
    before, after, entry = _pattern(symbol, resolution, tick)
    if not _is_long(resolution):
        stamp = day_stamp(day)
        return DataPath(before + stamp + after, stamp + entry)
    return DataPath(f"{before}{day.year}{after}" if after else before, entry)


@lru_cache(maxsize=64)
def day_stamp(day: date) -> str:
    """A date as files carry it: yyyymmdd."""
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"


def universe_path(canonical: Symbol, day: date) -> str:
    """The universe file of a chain, relative to the data folder."""
    base = f"{type_name(canonical.security_type)}/{canonical.id.market}/universes/{ticker_of(canonical)}"
    if canonical.security_type is SecurityType.FUTURE_OPTION:
        base = f"{base}/{_month(canonical)}"
    return f"{base}/{day:%Y%m%d}.csv"


def auxiliary_path(symbol: Symbol, what: str) -> str:
    """Map or factor file ('map_files', 'factor_files') of an equity or future, or a future's 'margins'."""
    base = f"{type_name(symbol.security_type)}/{symbol.id.market}/{what}"
    ticker = symbol.id.symbol if symbol.security_type is SecurityType.FUTURE else symbol.value
    return f"{base}/{ticker.upper() if what == 'margins' else ticker.lower()}.csv"


MARKET_HOURS = "market-hours/market-hours-database.json"
SYMBOL_PROPERTIES = "symbol-properties/symbol-properties-database.csv"
INTEREST_RATES = "alternative/interest-rate/usa/interest-rate.csv"

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_WIDTH = {TickType.TRADE: 6, TickType.QUOTE: 11, TickType.OPEN_INTEREST: 2}
_PERIOD_MS = {Resolution.MINUTE: MINUTE_MS, Resolution.HOUR: HOUR_MS}
_TRADES_ONLY = frozenset({SecurityType.EQUITY, SecurityType.INDEX})
_KEPT_UNIVERSES = 12
_LISTING_DAYS = 7
_KEPT_HISTORIES = 256
_Block = TypeVar("_Block", TradeBlock, QuoteBlock, InterestBlock)


class LeanFolder:
    """Reads a folder in LEAN's layout. What is missing is None; a malformed file raises MalformedDataError."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"data folder '{root}' does not exist; a folder in LEAN's layout is needed")
        self.root = root
        self._archives = ArchiveCache(root)
        self._zones: dict[Symbol, Zone] = {}
        self._universes: OrderedDict[tuple[Symbol, date], UniverseBlock | None] = OrderedDict()
        self._gaps: dict[Symbol, date] = {}
        self._histories: OrderedDict[tuple[Symbol, Resolution, TickType, int], object] = OrderedDict()

    @cached_property
    def hours(self) -> MarketHoursDatabase:
        """The folder's market hours. Raises FileNotFoundError when it has none."""
        return MarketHoursDatabase.from_file(self._needed(MARKET_HOURS))

    @cached_property
    def properties(self) -> SymbolPropertiesDatabase:
        """The folder's symbol properties. Raises FileNotFoundError when it has none."""
        return SymbolPropertiesDatabase.from_file(self._needed(SYMBOL_PROPERTIES))

    def check(self) -> None:
        """Raises FileNotFoundError for a folder without what every LEAN data folder has."""
        for relative in (MARKET_HOURS, SYMBOL_PROPERTIES):
            self._needed(relative)

    def _needed(self, relative: str) -> Path:
        path = self.root / relative
        if not path.is_file():
            raise FileNotFoundError(f"'{path}' is missing: '{self.root}' is no LEAN data folder")
        return path

    def trades(self, symbol: Symbol, resolution: Resolution, day: date) -> TradeBlock | None:
        """Trade bars of the file that `day` (in the data's zone) falls into."""
        return self._block(symbol, resolution, day, TickType.TRADE, TradeBlock)

    def quotes(self, symbol: Symbol, resolution: Resolution, day: date) -> QuoteBlock | None:
        """Quote bars of the file that `day` falls into."""
        return self._block(symbol, resolution, day, TickType.QUOTE, QuoteBlock)

    def open_interest(self, symbol: Symbol, resolution: Resolution, day: date) -> InterestBlock | None:
        """Open interest of the file that `day` falls into."""
        return self._block(symbol, resolution, day, TickType.OPEN_INTEREST, InterestBlock)

    def _block(
        self, symbol: Symbol, resolution: Resolution, day: date, tick: TickType, kind: type[_Block]
    ) -> _Block | None:
        if resolution is Resolution.MINUTE:
            return self._load(symbol, resolution, day, tick, kind)
        if resolution not in _PERIOD_MS and resolution is not Resolution.DAILY:
            raise ValueError(
                f"resolution {resolution} of {symbol.value} is not read; accepted are MINUTE, HOUR and DAILY"
            )
        if tick is not TickType.TRADE and symbol.security_type in _TRADES_ONLY:
            return None  # an hourly or daily file of a share or an index holds trades only
        key = (symbol, resolution, tick, day.year if symbol.has_underlying else 0)
        if key in self._histories:
            self._histories.move_to_end(key)
            return self._histories[key]  # type: ignore[return-value]  # stored under the tick's own type
        found = self._load(symbol, resolution, day, tick, kind)
        self._histories[key] = found
        if len(self._histories) > _KEPT_HISTORIES:
            self._histories.popitem(last=False)
        return found

    def _load(
        self, symbol: Symbol, resolution: Resolution, day: date, tick: TickType, kind: type[_Block]
    ) -> _Block | None:
        where = data_path(symbol, resolution, tick, day)
        archive = self._archives.get(where.archive, _layout(symbol.security_type, resolution, tick))
        table = None if archive is None else archive.table(where.entry)
        if table is None or table.rows == 0:
            if tick is TickType.QUOTE and resolution is Resolution.MINUTE and symbol.security_type in OPTION_TYPES:
                self._note_gap(symbol, day)
            return None
        start, end = self._times(symbol, resolution, day, table)
        if tick is TickType.OPEN_INTEREST:
            return kind(start, table.columns[1])  # type: ignore[call-arg,arg-type]  # each tick has its own shape
        return kind(end, start, *table.columns[1:])  # type: ignore[arg-type]  # each tick has its own shape

    def _note_gap(self, symbol: Symbol, day: date) -> None:
        """Remembers a contract without quotes on a day on which the listing has it and its underlying traded."""
        if symbol in self._gaps or symbol.is_canonical():
            return
        if day <= symbol.id.date.date() and self._is_listed(symbol, day):
            underlying = symbol.underlying
            if self.trades(underlying, Resolution.MINUTE, day) is not None:
                self._gaps[symbol] = day

    def _note_chain(self, canonical: Symbol, day: date) -> None:
        """Remembers a day without the chain of a root although its underlying traded."""
        underlying = canonical.underlying
        if canonical not in self._gaps and self.trades(underlying, Resolution.MINUTE, day) is not None:
            self._gaps[canonical] = day

    def _is_listed(self, symbol: Symbol, day: date) -> bool:
        """Whether the newest chain up to `day`, of the last week, holds a contract."""
        for back in range(_LISTING_DAYS):
            chain = self.universe(symbol.canonical, day - timedelta(days=back))
            if chain is not None:
                call = 0 if symbol.id.option_right is OptionRight.CALL else 1
                same = (chain.expiry == symbol.id.date.toordinal()) & (chain.right == call)
                return bool((same & (np.abs(chain.strike - symbol.id.strike_price) < 1e-6)).any())
        return False

    def gaps(self) -> tuple[tuple[str, date], ...]:
        """Contracts asked for that the folder's own listing has and the folder has not, with the first such day."""
        named = (
            (f"the chain of {one.id.symbol}" if one.is_canonical() else one.value, day)
            for one, day in self._gaps.items()
        )
        return tuple(sorted(named))

    def missing_asset(self, symbol: Symbol) -> str | None:
        """None for what has a file at some resolution; else where one was looked for."""
        kind, ticker = type_name(symbol.security_type), ticker_of(symbol)
        base = self.root / kind / symbol.id.market
        places = [base / "minute" / ticker, base / "universes" / ticker]
        if any(place.is_dir() for place in places) or any(base.glob(f"*/{ticker}*.zip")):
            return None
        return f"'{base}' holds no file of {ticker}"

    def _times(self, symbol: Symbol, resolution: Resolution, day: date, table: Table) -> tuple[Integers, Integers]:
        zone = self._zone(symbol.canonical if symbol.has_canonical() else symbol)
        first = table.columns[0].astype(np.int64)
        if resolution is Resolution.MINUTE:
            midnight, shifts = _day_start(zone, day)
            if not shifts:
                start = first + midnight
                return start, start + MINUTE_MS
            local = first + (day.toordinal() - _EPOCH_ORDINAL) * DAY_MS
        else:
            local = first * MINUTE_MS
        start = utc_of_local(zone, local)
        if resolution is Resolution.DAILY:
            return start, utc_of_local(zone, local + DAY_MS)
        return start, start + _PERIOD_MS[resolution]

    def _zone(self, family: Symbol) -> Zone:
        found = self._zones.get(family)
        if found is None:
            name = self.hours.get_data_time_zone(family.id.market, family, family.security_type)
            found = self._zones[family] = zone_of(name)
        return found

    def universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        """The chain of `day`: option, index option, futures option or future."""
        key = (canonical, day)
        if key in self._universes:
            self._universes.move_to_end(key)
            return self._universes[key]
        path = self.root / universe_path(canonical, day)
        found = auxiliary.read_universe(path, canonical, day, self.expiry_holidays) if path.is_file() else None
        if found is None and canonical.security_type in OPTION_TYPES:
            self._note_chain(canonical, day)
        self._universes[key] = found
        if len(self._universes) > _KEPT_UNIVERSES:
            self._universes.popitem(last=False)
        return found

    def expiry_holidays(self, future: Symbol) -> frozenset[date]:
        """Exchange and bank holidays that move a future's expiry."""
        return auxiliary.expiry_holidays(self.hours, future)

    def map_file(self, symbol: Symbol) -> Sequence[MapRow] | None:
        """Ticker changes of an equity or contracts of a continuous future."""
        path = self.root / auxiliary_path(symbol, "map_files")
        return auxiliary.read_map_file(path) if path.is_file() else None

    def factor_file(self, symbol: Symbol) -> Sequence[FactorRow] | None:
        """Dividends and splits of an equity."""
        path = self.root / auxiliary_path(symbol, "factor_files")
        return auxiliary.read_factor_file(path) if path.is_file() else None

    def contract_factors(self, symbol: Symbol) -> Sequence[ContractFactorRow]:
        """Price factors of a continuous future; none without a file."""
        path = self.root / auxiliary_path(symbol, "factor_files")
        return auxiliary.read_contract_factors(path) if path.is_file() else ()

    def margins(self, symbol: Symbol) -> Sequence[MarginRow] | None:
        """Margin of a futures contract; an option on a future takes its future's."""
        future = symbol.underlying if symbol.security_type is SecurityType.FUTURE_OPTION else symbol
        path = self.root / auxiliary_path(future, "margins")
        return auxiliary.read_margins(path) if path.is_file() else None

    def interest_rates(self) -> InterestRates | None:
        """The risk-free rate."""
        path = self.root / INTEREST_RATES
        return auxiliary.read_interest_rates(path) if path.is_file() else None

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        """First ticker and date of an equity, by its map file."""
        path = self.root / f"equity/{market}/map_files/{ticker.lower()}.csv"
        rows = auxiliary.read_map_file(path) if path.is_file() else None
        if not rows:
            return None
        first = rows[0]
        return first.ticker.upper(), datetime(first.day.year, first.day.month, first.day.day)


def utc_of_local(zone: Zone, local_ms: Integers) -> Integers:
    """UTC milliseconds of naive local milliseconds, whole columns at once."""
    if not len(local_ms):
        return local_ms
    first = _offset(zone, int(local_ms[0]))
    if first == _offset(zone, int(local_ms[-1])) and int(local_ms[-1] - local_ms[0]) < 32 * DAY_MS:
        return local_ms - first
    # Across a clock change: offsets change on the hour, so one look-up an hour is enough.
    hours, places = np.unique(local_ms // HOUR_MS, return_inverse=True)
    offsets = np.array([_offset(zone, int(hour) * HOUR_MS) for hour in hours], dtype=np.int64)
    return np.asarray(local_ms - offsets[places], dtype=np.int64)


def _offset(zone: Zone, local_ms: int) -> int:
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=local_ms)
    return local_ms - zone.utc_ms(moment)


@lru_cache(maxsize=512)
def _day_start(zone: Zone, day: date) -> tuple[int, bool]:
    """UTC milliseconds of a local midnight, and whether the clock changes before the next one."""
    midnight = zone.midnight_ms(day)
    return midnight, zone.midnight_ms(day + timedelta(days=1)) - midnight != DAY_MS


@lru_cache(maxsize=128)
def _layout(kind: SecurityType, resolution: Resolution, tick: TickType) -> Layout:
    dated = resolution is not Resolution.MINUTE
    if kind not in SCALED_TYPES or tick is TickType.OPEN_INTEREST:
        return Layout(_WIDTH[tick], dated)
    prices = (1, 2, 3, 4) if tick is TickType.TRADE else (1, 2, 3, 4, 6, 7, 8, 9)
    return Layout(_WIDTH[tick], dated, prices, PRICE_SCALE)

"""Where a LEAN data folder keeps what: folders, archives and entries (Common/Util/LeanData.cs:549-860)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from simulation.enums import OPTION_TYPES, OptionRight, OptionStyle, Resolution, SecurityType, TickType
from simulation.symbols import Symbol, contract_month

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


@lru_cache(maxsize=16384)
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

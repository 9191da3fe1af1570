"""The market-hours database: LEAN's JSON, its inheritance rules, and the look-up of a security's hours.

Sources: Common/Util/MarketHoursDatabaseJsonConverter.cs:118-130, 279-336; Common/Securities/MarketHoursDatabase.cs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, overload
from zoneinfo import ZoneInfo

from simulation.data.symbol_properties import (
    WILDCARD,
    Key,
    SymbolProperties,
    SymbolPropertiesDatabase,
    database_key,
    security_type_named,
)
from simulation.lean.enums import OPTION_TYPES, DayOfWeek, MarketHoursState, SecurityType
from simulation.lean.errors import MalformedDataError
from simulation.lean.exchange_hours import LocalMarketHours, MarketHoursSegment, SecurityExchangeHours
from simulation.lean.identifiers import future_of_option_root, index_of_option_root
from simulation.lean.names import Named
from simulation.lean.symbols import Symbol

__all__ = [
    "HoursEntry",
    "LocalMarketHours",
    "MarketHoursDatabase",
    "MarketHoursSegment",
    "SecurityExchangeHours",
    "SymbolProperties",
    "SymbolPropertiesDatabase",
]

_STATES = {state.name.replace("_", "").lower(): state for state in MarketHoursState}
_UNDERLYING_TYPE = {
    SecurityType.OPTION: SecurityType.EQUITY,
    SecurityType.INDEX_OPTION: SecurityType.INDEX,
    SecurityType.FUTURE_OPTION: SecurityType.FUTURE,
}


class HoursEntry(Named):
    """Hours of one security and the zone that its data files are stamped in."""

    def __init__(self, data_time_zone: ZoneInfo, exchange_hours: SecurityExchangeHours) -> None:
        self.data_time_zone = data_time_zone
        self.exchange_hours = exchange_hours


class MarketHoursDatabase(Named):
    """Trading hours by market, ticker and security type. Entries are built when first asked for."""

    Entry = HoursEntry
    _current: list[MarketHoursDatabase] = []  # noqa: RUF012  # LEAN's static instance

    def __init__(self, raw: Mapping[str, Mapping[str, Any]], where: str = "market-hours database") -> None:
        self._where = where
        self._raw: dict[Key, Mapping[str, Any]] = {}
        self._order: dict[Key, int] = {}
        for text, entry in raw.items():
            parts = text.split("-", 2)
            kind = security_type_named(parts[0]) if len(parts) == 3 else None
            if kind is not None:
                self._raw[(parts[1].lower(), parts[2].upper(), kind)] = entry
        for position, key in enumerate(self._raw):
            self._order[key] = position
        self._entries: dict[Key, HoursEntry] = {}

    @staticmethod
    def from_file(path: str | Path) -> MarketHoursDatabase:
        """Reads market-hours-database.json. Raises MalformedDataError when it is no such file."""
        text = Path(path).read_text(encoding="utf-8")
        try:
            return MarketHoursDatabase(json.loads(text)["entries"], str(path))
        except json.JSONDecodeError as error:
            raise MalformedDataError(str(path), error.lineno, error.msg) from error
        except KeyError as error:
            raise MalformedDataError(str(path), 1, f"the key {error} is missing") from error

    @staticmethod
    def from_data_folder() -> MarketHoursDatabase:
        """The database of the run. Raises ValueError outside a run."""
        if not MarketHoursDatabase._current:
            raise ValueError("no run is going on: there is no market-hours database")
        return MarketHoursDatabase._current[0]

    @staticmethod
    def use(database: MarketHoursDatabase) -> None:
        """Makes a database the one of the run."""
        MarketHoursDatabase._current[:] = [database]

    def raw(self) -> dict[str, Mapping[str, Any]]:
        """The entries as LEAN's JSON has them."""
        return {
            f"{key[2].to_string()}-{key[0]}-{key[1]}": entry
            for key, entry in sorted(self._raw.items(), key=lambda pair: self._order[pair[0]])
        }

    def get_entry(self, market: str, symbol: Symbol | str, security_type: SecurityType) -> HoursEntry:
        """The entry of a symbol or ticker. Raises ValueError when neither it nor its market is known."""
        found, entry = self.try_get_entry(market, symbol, security_type, None)
        if not found or entry is None:
            raise ValueError(
                f"no trading hours for {security_type.to_string()}-{market}-{database_key(symbol)}, nor for {WILDCARD}"
            )
        return entry

    def try_get_entry(
        self, market: str, symbol: Symbol | str, security_type: SecurityType, entry: HoursEntry | None
    ) -> tuple[bool, HoursEntry | None]:
        """(found, entry). An option on a future without an entry of its own takes the future's."""
        ticker = database_key(symbol).upper()
        found = self._find((market, ticker, security_type)) or self._find((market, WILDCARD, security_type))
        if found is None and security_type is SecurityType.FUTURE_OPTION:
            return self.try_get_entry(market, future_of_option_root(ticker), SecurityType.FUTURE, None)
        return found is not None, found

    @overload
    def get_exchange_hours(
        self, market: str, symbol: Symbol | str, security_type: SecurityType
    ) -> SecurityExchangeHours: ...
    @overload
    def get_exchange_hours(self, configuration: Any) -> SecurityExchangeHours: ...
    def get_exchange_hours(self, *arguments: Any, **named: Any) -> SecurityExchangeHours:
        """Hours of a symbol, or of a subscription's configuration."""
        values = [
            *arguments,
            *(named[name] for name in ("configuration", "market", "symbol", "security_type") if name in named),
        ]
        if len(values) == 1:
            values = [values[0].market, values[0].symbol, values[0].security_type]
        return self.get_entry(*values).exchange_hours

    def get_data_time_zone(self, market: str, symbol: Symbol | str, security_type: SecurityType) -> ZoneInfo:
        """The zone that the data files of a symbol are stamped in."""
        return self.get_entry(market, symbol, security_type).data_time_zone

    def set_entry(
        self,
        market: str,
        symbol: str,
        security_type: SecurityType,
        exchange_hours: SecurityExchangeHours,
        data_time_zone: ZoneInfo | None = None,
    ) -> HoursEntry:
        """Adds or replaces an entry."""
        made = HoursEntry(data_time_zone or exchange_hours.time_zone, exchange_hours)
        self._entries[(market.lower(), (symbol or WILDCARD).upper(), security_type)] = made
        return made

    def set_entry_always_open(
        self, market: str, symbol: str, security_type: SecurityType, time_zone: ZoneInfo
    ) -> HoursEntry:
        """Adds an entry that never closes."""
        return self.set_entry(market, symbol, security_type, SecurityExchangeHours.always_open(time_zone))

    def forget_before(self, day: datetime) -> None:
        """Drops remembered days of every entry."""
        for entry in self._entries.values():
            entry.exchange_hours.forget_before(day.date())

    def _find(self, key: Key) -> HoursEntry | None:
        found = self._entries.get(key)
        if found is None and key in self._raw:
            found = self._entries[key] = self._build(key)
        return found

    def _build(self, key: Key) -> HoursEntry:
        raw = self._raw[key]
        holidays = _dates(raw.get("holidays", ()))
        bank_holidays = _dates(raw.get("bankHolidays", ()))
        early, late = _times(raw.get("earlyCloses", {})), _times(raw.get("lateOpens", {}))
        underlying = self._underlying_entry(key)
        if underlying is not None:
            hours = underlying.exchange_hours
            holidays = holidays or set(hours.holidays)
            bank_holidays = bank_holidays or set(hours.bank_holidays)
            early, late = early or dict(hours.early_closes), late or dict(hours.late_opens)
        market = self._market_entry(key)
        if market is not None:
            hours = market.exchange_hours
            holidays |= hours.holidays
            bank_holidays |= hours.bank_holidays
            early, late = {**hours.early_closes, **early}, {**hours.late_opens, **late}
        week = {day: LocalMarketHours(day, _segments(raw.get(day.name.lower()) or ())) for day in DayOfWeek}
        zone = ZoneInfo(raw["exchangeTimeZone"])
        exchange = SecurityExchangeHours(zone, holidays, week, early, late, bank_holidays)
        return HoursEntry(ZoneInfo(raw["dataTimeZone"]), exchange)

    def _market_entry(self, key: Key) -> HoursEntry | None:
        # LEAN reads entries in the order of the file (options last): a wildcard further down does not reach up.
        common = (key[0], WILDCARD, key[2])
        if common == key or common not in self._raw or self._order[common] > self._order[key]:
            return None
        return self._find(common)

    def _underlying_entry(self, key: Key) -> HoursEntry | None:
        market, ticker, kind = key
        if kind not in OPTION_TYPES:
            return None
        if kind is SecurityType.INDEX_OPTION:
            ticker = index_of_option_root(ticker)
        elif kind is SecurityType.FUTURE_OPTION:
            ticker = future_of_option_root(ticker)
        underlying = _UNDERLYING_TYPE[kind]
        return self._find((market, ticker, underlying)) or self._find((market, WILDCARD, underlying))


def _dates(texts: Any) -> set[datetime]:
    return {_date(text) for text in texts}


def _date(text: str) -> datetime:
    month, day, year = text.split("/")
    return datetime(int(year), int(month), int(day))


def _times(texts: Mapping[str, str]) -> dict[datetime, timedelta]:
    return {_date(text): time_of_day(value) for text, value in texts.items()}


def time_of_day(text: str) -> timedelta:
    """.NET's TimeSpan text: '09:30:00', '1.00:00:00', '1:00:00:00'."""
    parts = [int(part) for part in text.replace(".", ":").split(":")]
    days = parts.pop(0) if len(parts) == 4 else 0
    return timedelta(days=days, hours=parts[0], minutes=parts[1], seconds=parts[2])


def _segments(raw: Any) -> list[MarketHoursSegment]:
    return [
        MarketHoursSegment(
            _STATES[segment["state"].lower()], time_of_day(segment["start"]), time_of_day(segment["end"])
        )
        for segment in raw
    ]

"""Trading hours and symbol properties of the securities that the project trades, for a market without a data folder.

The hours are those of LEAN's own database (the table in ``docs/engine.md``); the days are computed from the
exchange's holiday rules in `core.clock`, so that they hold for any year of the model.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from core.clock import early_closes, holidays
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import (
    WILDCARD,
    Key,
    SymbolProperties,
    SymbolPropertiesDatabase,
    security_type_named,
)
from simulation.market.calendar import FIRST_YEAR, LAST_YEAR

NEW_YORK, CHICAGO, UTC = "America/New_York", "America/Chicago", "UTC"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
_END = "1.00:00:00"
Segments = list[dict[str, str]]

_EQUITY = [("04:00", "09:30", "premarket"), ("09:30", "16:00", "market"), ("16:00", "20:00", "postmarket")]
_OPTION = [("09:30", "16:00", "market")]
_INDEX = [("08:30", "15:15", "market")]
_SHORT_INDEX = [("08:30", "15:00", "market")]
_ANY_INDEX = [("08:30", "15:20", "market")]
_VIX = [("02:15", "08:15", "premarket"), ("08:30", "15:15", "market"), ("15:15", "16:00", "postmarket")]

_SHORT_INDICES = ("XSP", "RUT", "VIX1D", "VIX9D", "VIX6M", "VVIX")
"""Indices whose files are stamped in New York and which LEAN's database ends at 15:00 Chicago."""
_FUTURE_MARKETS = (("cme", CHICAGO), ("cbot", CHICAGO), ("comex", CHICAGO), ("nymex", NEW_YORK))
_FUTURES = (
    ("cme", "ES", NEW_YORK, "E-mini S&P 500", 50.0, 0.25),
    ("cme", "NQ", NEW_YORK, "E-mini Nasdaq-100", 20.0, 0.25),
    ("cme", "RTY", NEW_YORK, "E-mini Russell 2000", 50.0, 0.1),
    ("cme", "MES", NEW_YORK, "Micro E-mini S&P 500", 5.0, 0.25),
    ("cme", "6E", CHICAGO, "Euro FX", 125000.0, 0.00005),
    ("cbot", "YM", NEW_YORK, "E-mini Dow", 5.0, 1.0),
    ("cbot", "ZB", CHICAGO, "U.S. Treasury Bond", 1000.0, 0.03125),
    ("cbot", "ZN", CHICAGO, "10-Year T-Note", 1000.0, 0.015625),
    ("nymex", "CL", NEW_YORK, "Crude Oil", 1000.0, 0.01),
    ("nymex", "MCL", NEW_YORK, "Micro WTI Crude Oil", 100.0, 0.01),
    ("nymex", "NG", NEW_YORK, "Henry Hub Natural Gas", 10000.0, 0.001),
    ("comex", "GC", NEW_YORK, "Gold", 100.0, 0.1),
    ("comex", "SI", NEW_YORK, "Silver", 5000.0, 0.005),
)
_FUTURE_OPTIONS = (
    ("cbot", "OZB", "U.S. Treasury Bond options", 1000.0, 0.015625),
    ("cbot", "OZN", "10-Year T-Note options", 1000.0, 0.015625),
)
_MARKET_WIDE = (
    ("equity", 1.0, 0.01),
    ("option", 100.0, 0.01),
    ("index", 1.0, 0.01),
    ("indexoption", 100.0, 0.05),
)


def _segments(spans: list[tuple[str, str, str]]) -> Segments:
    return [{"start": _clock(start), "end": _clock(end), "state": state} for start, end, state in spans]


def _clock(text: str) -> str:
    return _END if text == "24:00" else f"{text}:00"


def _entry(data_zone: str, exchange_zone: str, spans: list[tuple[str, str, str]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"dataTimeZone": data_zone, "exchangeTimeZone": exchange_zone, "sunday": []}
    entry.update({day: _segments(spans) for day in _WEEKDAYS})
    entry["saturday"] = []
    return entry


def _index_option_entry() -> dict[str, Any]:
    """Regular 8:30 to 15:15 Chicago, with the night session around it."""
    day = [("00:00", "08:15", "premarket"), ("08:30", "15:15", "market"), ("15:15", "16:00", "postmarket")]
    night = ("19:15", "24:00", "postmarket")
    entry = _entry(NEW_YORK, CHICAGO, [*day, night])
    entry["sunday"] = _segments([("19:15", "24:00", "premarket")])
    entry["friday"] = _segments(day)
    return entry


def _future_week(zone: str, sunday: str) -> dict[str, Any]:
    """Around the clock but for one hour; regular from 9:30 New York to the close."""
    hour = 0 if zone == NEW_YORK else 1
    opening, close, evening = f"{9 - hour:02d}:30", f"{17 - hour}:00", f"{18 - hour}:00"
    day = [("00:00", opening, "premarket"), (opening, close, "market")]
    entry = _entry(UTC, zone, [*day, (evening, "24:00", "postmarket")])
    entry["sunday"] = _segments([(sunday, "24:00", "premarket")])
    entry["friday"] = _segments(day)
    entry["holidays"] = [_date(day) for day in _days()[0] if _closes_futures(day)]
    return entry


def _closes_futures(day: date) -> bool:
    """Good Friday, Christmas, New Year and the storm of October 2012. The share market's other holidays are half
    sessions of the futures at CME."""
    return day.month in (3, 4, 10, 12) or (day.month, day.day) in ((1, 1), (1, 2))


def _any_future_entry(market: str, zone: str) -> dict[str, Any]:
    """A market's futures without a row of their own: LEAN looks up an option universe on a future by its own name,
    finds none, and stops where the market has no such row. It has no half days; its Sunday begins at 18:00 local.

    Outside CME all of the share market's holidays close it, and with it every row of the market (LEAN merges them).
    """
    entry = _future_week(zone, "18:00") | {"earlyCloses": {}, "lateOpens": {}}
    if market != "cme":
        entry["holidays"] = [_date(day) for day in _days()[0]]
    return entry


def _future_entry(zone: str) -> dict[str, Any]:
    hour = 0 if zone == NEW_YORK else 1
    evening = f"{18 - hour}:00"
    entry = _future_week(zone, evening)
    closed, short = _days()
    partial = [day for day in closed if not _closes_futures(day)]
    entry["bankHolidays"] = [_date(day) for day in partial]
    entry["earlyCloses"] = {_date(day): f"{13 - hour}:00:00" for day in partial}
    entry["earlyCloses"] |= {_date(day): f"{close.hour - hour}:15:00" for day, close in short.items()}
    entry["lateOpens"] = {_date(day): f"{evening}:00" for day in partial if day.weekday() < 4}
    return entry


@lru_cache(maxsize=1)
def _days() -> tuple[tuple[date, ...], dict[date, time]]:
    years = range(FIRST_YEAR, LAST_YEAR + 1)
    closed = sorted(day for year in years for day in holidays(year))
    return tuple(closed), {day: close for year in years for day, close in early_closes(year).items()}


def _date(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


def _with_days(entry: dict[str, Any], behind: timedelta = timedelta(0)) -> dict[str, Any]:
    """An entry with the exchange's holidays and half days, in a zone that is so far behind New York."""
    closed, short = _days()
    entry["holidays"] = [_date(day) for day in closed]
    entry["earlyCloses"] = {
        _date(day): f"{datetime.combine(day, close) - behind:%H:%M:%S}" for day, close in short.items()
    }
    return entry


def market_hours() -> MarketHoursDatabase:
    """Hours of the equities, indices, futures and their options that the project trades."""
    hour = timedelta(hours=1)
    raw: dict[str, dict[str, Any]] = {
        f"Equity-usa-{WILDCARD}": _with_days(_entry(NEW_YORK, NEW_YORK, _EQUITY)),
        f"Option-usa-{WILDCARD}": _entry(NEW_YORK, NEW_YORK, _OPTION),
        f"Index-usa-{WILDCARD}": _with_days(_entry(CHICAGO, CHICAGO, _ANY_INDEX), hour),
        "Index-usa-SPX": _entry(CHICAGO, CHICAGO, _INDEX),
        "Index-usa-VIX": _entry(CHICAGO, CHICAGO, _VIX),
        "Index-usa-VIX3M": _entry(NEW_YORK, CHICAGO, _INDEX),
        "Index-usa-NDX": _with_days(_entry(CHICAGO, NEW_YORK, _OPTION)),
        f"IndexOption-usa-{WILDCARD}": _entry(NEW_YORK, CHICAGO, _ANY_INDEX),
    }
    for ticker in _SHORT_INDICES:
        raw[f"Index-usa-{ticker}"] = _entry(NEW_YORK, CHICAGO, _SHORT_INDEX)
    for root in ("SPX", "SPXW", "VIX", "VIXW"):
        raw[f"IndexOption-usa-{root}"] = _index_option_entry()
    for root in ("RUT", "RUTW"):
        raw[f"IndexOption-usa-{root}"] = _entry(NEW_YORK, CHICAGO, _INDEX)
    for root in ("NDX", "NDXP"):
        raw[f"IndexOption-usa-{root}"] = _with_days(_entry(NEW_YORK, NEW_YORK, [("09:30", "16:15", "market")]))
    for market, zone in _FUTURE_MARKETS:
        raw[f"Future-{market}-{WILDCARD}"] = _any_future_entry(market, zone)
    for market, ticker, zone, *_ in _FUTURES:
        raw[f"Future-{market}-{ticker}"] = _future_entry(zone)
    return MarketHoursDatabase(raw, "the standard trading hours")


def symbol_properties() -> SymbolPropertiesDatabase:
    """Multipliers and ticks of the same securities. Dollars a point, dollars or points a tick."""
    rows: list[tuple[Key, SymbolProperties]] = []
    for name, multiplier, tick in _MARKET_WIDE:
        kind = security_type_named(name)
        if kind is not None:
            rows.append((("usa", WILDCARD, kind), SymbolProperties("", "USD", multiplier, tick, 1.0, "")))
    for kind_name, table in (("future", _FUTURES), ("futureoption", _FUTURE_OPTIONS)):
        kind = security_type_named(kind_name)
        for market, ticker, *_, description, multiplier, tick in table:
            if kind is not None:
                rows.append(((market, ticker, kind), SymbolProperties(description, "USD", multiplier, tick, 1.0, "")))
    return SymbolPropertiesDatabase(rows)

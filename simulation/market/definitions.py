"""Trading hours and symbol properties of the securities that the project trades, for a market without a data folder.

The hours are those of LEAN's own database (the table in ``docs/engine.md``); the days are computed from the
exchange's holiday rules in `simulation.market.calendar`, so that they hold for any year of the model.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any

from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import (
    WILDCARD,
    Key,
    SymbolProperties,
    SymbolPropertiesDatabase,
    security_type_named,
)
from simulation.market.calendar import FIRST_YEAR, LAST_YEAR, half_days, holidays

NEW_YORK, CHICAGO, UTC = "America/New_York", "America/Chicago", "UTC"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
_END = "1.00:00:00"
Segments = list[dict[str, str]]

_EQUITY = [("04:00", "09:30", "premarket"), ("09:30", "16:00", "market"), ("16:00", "20:00", "postmarket")]
_OPTION = [("09:30", "16:00", "market")]
_INDEX = [("08:30", "15:15", "market")]
_VIX = [("02:15", "08:15", "premarket"), ("08:30", "15:15", "market"), ("15:15", "16:00", "postmarket")]

_FUTURES = (
    ("cme", "ES", NEW_YORK, "E-mini S&P 500", 50.0, 0.25),
    ("cme", "NQ", NEW_YORK, "E-mini Nasdaq-100", 20.0, 0.25),
    ("cme", "RTY", NEW_YORK, "E-mini Russell 2000", 50.0, 0.1),
    ("cme", "MES", NEW_YORK, "Micro E-mini S&P 500", 5.0, 0.25),
    ("cme", "6E", CHICAGO, "Euro FX", 125000.0, 0.00005),
    ("cbot", "YM", CHICAGO, "E-mini Dow", 5.0, 1.0),
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


def _future_entry(zone: str) -> dict[str, Any]:
    """Around the clock but for one hour; regular from 9:30 New York to the close."""
    hour = 0 if zone == NEW_YORK else 1
    opening, close, evening = f"{9 - hour:02d}:30", f"{17 - hour}:00", f"{18 - hour}:00"
    day = [("00:00", opening, "premarket"), (opening, close, "market")]
    entry = _entry(UTC, zone, [*day, (evening, "24:00", "postmarket")])
    entry["sunday"] = _segments([(evening, "24:00", "premarket")])
    entry["friday"] = _segments(day)
    closed, short = _days()
    # The pit's holidays are half sessions of the electronic market; Good Friday, Christmas and New Year close it.
    full = [day for day in closed if day.month in (3, 4, 12) or (day.month, day.day) in ((1, 1), (1, 2))]
    partial = sorted(set(closed) - set(full))
    entry["holidays"] = [_date(day) for day in full]
    entry["bankHolidays"] = [_date(day) for day in partial]
    noon, half = f"{13 - hour}:00:00", f"{13 - hour}:15:00"
    entry["earlyCloses"] = {_date(day): noon for day in partial} | {_date(day): half for day in short}
    entry["lateOpens"] = {_date(day): f"{evening}:00" for day in partial if day.weekday() < 4}
    return entry


@lru_cache(maxsize=1)
def _days() -> tuple[tuple[date, ...], tuple[date, ...]]:
    years = range(FIRST_YEAR, LAST_YEAR + 1)
    closed = sorted(day for year in years for day in holidays(year))
    short = sorted(day for year in years for day in half_days(year))
    return tuple(closed), tuple(short)


def _date(day: date) -> str:
    return f"{day.month}/{day.day}/{day.year}"


def _with_days(entry: dict[str, Any], close: str) -> dict[str, Any]:
    closed, short = _days()
    entry["holidays"] = [_date(day) for day in closed]
    entry["earlyCloses"] = {_date(day): close for day in short}
    return entry


def market_hours() -> MarketHoursDatabase:
    """Hours of the equities, indices, futures and their options that the project trades."""
    raw: dict[str, dict[str, Any]] = {
        f"Equity-usa-{WILDCARD}": _with_days(_entry(NEW_YORK, NEW_YORK, _EQUITY), "13:00:00"),
        f"Option-usa-{WILDCARD}": _entry(NEW_YORK, NEW_YORK, _OPTION),
        f"Index-usa-{WILDCARD}": _with_days(_entry(CHICAGO, CHICAGO, _INDEX), "12:00:00"),
        "Index-usa-SPX": _entry(CHICAGO, CHICAGO, _INDEX),
        "Index-usa-VIX": _entry(CHICAGO, CHICAGO, _VIX),
        "Index-usa-NDX": _with_days(_entry(CHICAGO, NEW_YORK, _OPTION), "13:00:00"),
        f"IndexOption-usa-{WILDCARD}": _entry(NEW_YORK, CHICAGO, _INDEX),
    }
    for root in ("SPX", "SPXW", "VIX", "VIXW"):
        raw[f"IndexOption-usa-{root}"] = _index_option_entry()
    for root in ("NDX", "NDXP"):
        raw[f"IndexOption-usa-{root}"] = _with_days(
            _entry(NEW_YORK, NEW_YORK, [("09:30", "16:15", "market")]), "13:00:00"
        )
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

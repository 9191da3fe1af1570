"""The market-hours rows that a written folder holds, against LEAN's own database where it lies beside this clone."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.contracts import AssetKind
from core.instruments import INSTRUMENTS
from simulation.data.market_hours import MarketHoursDatabase
from simulation.lean.enums import SecurityType
from simulation.market.definitions import market_hours
from tests.conftest import CONFORMANCE

DATABASE = CONFORMANCE / "february" / "data" / "market-hours" / "market-hours-database.json"
WEEK = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
needs_lean = pytest.mark.skipif(not DATABASE.is_file(), reason="LEAN's market-hours database is not beside this clone")


def lean_entries() -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(DATABASE.read_text(encoding="utf-8"))["entries"]
    return entries


def week_of(entry: Any) -> dict[str, Any]:
    """Zones and weekly segments; a day's end is written in two ways in LEAN's file."""
    found = {name: entry[name] for name in ("dataTimeZone", "exchangeTimeZone")}
    for day in WEEK:
        segments = [(row["start"], row["end"].replace("1:00:00:00", "1.00:00:00"), row["state"]) for row in entry[day]]
        found[day] = [(start.zfill(8), end.zfill(8), state) for start, end, state in segments]
    return found


def test_every_market_of_futures_has_a_row_for_universes_without_one_of_their_own() -> None:
    written = market_hours().raw()
    for market in ("cme", "cbot", "nymex", "comex"):
        assert f"Future-{market}-[*]" in written
        name = f"?{market}-universe"
        hours = market_hours().get_exchange_hours(market, name, SecurityType.FUTURE)
        assert hours.is_date_open(datetime(2016, 2, 9))


def test_the_share_markets_holidays_close_futures_outside_cme() -> None:
    king = datetime(2016, 1, 18)
    hours = {
        ticker: market_hours().get_exchange_hours(market, ticker, SecurityType.FUTURE)
        for market, ticker in (("cme", "ES"), ("nymex", "CL"), ("comex", "GC"), ("cbot", "ZB"))
    }
    # As LEAN has it: its rows of those markets close on all of them, and it merges them into every row of the market.
    assert [ticker for ticker, exchange in hours.items() if exchange.is_date_open(king)] == ["ES"]
    assert hours["ES"].get_last_daily_market_close(king, False) == datetime(2016, 1, 18, 13)
    assert not any(exchange.is_date_open(datetime(2016, 3, 25)) for exchange in hours.values())  # Good Friday


@needs_lean
def test_the_rows_are_those_of_leans_database() -> None:
    theirs = lean_entries()
    for key, entry in market_hours().raw().items():
        assert week_of(entry) == week_of(theirs[key] | {day: theirs[key].get(day, []) for day in WEEK}), key


@needs_lean
def test_what_the_families_trade_has_leans_hours_every_day() -> None:
    ours, theirs = market_hours(), MarketHoursDatabase.from_file(DATABASE)
    types = {
        AssetKind.INDEX: (SecurityType.INDEX, SecurityType.INDEX_OPTION),
        AssetKind.EQUITY: (SecurityType.EQUITY, SecurityType.OPTION),
    }
    first = datetime(2014, 1, 1)
    for row in (row for row in INSTRUMENTS.values() if row.kind in types):
        for name, kind in zip((row.underlying, row.root), types[row.kind], strict=True):
            mine, lean = (base.get_exchange_hours(row.market, name, kind) for base in (ours, theirs))
            for ahead in range(13 * 365):
                day = first + timedelta(days=ahead)
                assert mine.is_date_open(day) == lean.is_date_open(day), (name, day)
                if mine.is_date_open(day):
                    assert mine.get_last_daily_market_close(day, False) == lean.get_last_daily_market_close(day, False)

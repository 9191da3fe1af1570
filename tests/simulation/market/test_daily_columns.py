"""Days of an index of which only closes are known: each is read from its minutes, and only when looked at."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from simulation.lean.clock import utc_datetime
from simulation.lean.enums import Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.daily_columns import HIGH, LOW, OPEN, DaysOfMinutes, MinutesColumn
from simulation.market.days import MinutePath
from simulation.market.sessions import future_day
from simulation.market.source import ModelledMarket

DAYS = np.array([date(2018, 1, day).toordinal() for day in (2, 3, 4, 5)])


def test_a_day_is_made_once_and_only_when_it_is_looked_at() -> None:
    """Day n opens at 10 + n, reaches 12 + n and falls to 9 + n; the fourth has no minutes."""
    made: list[int] = []

    def path(day: date) -> MinutePath | None:
        made.append(day.day)
        if day.day == 5:
            return None
        opened = 10.0 + day.day
        points = np.array([opened, opened + 1.0, opened], dtype=np.float64)
        return MinutePath(points, points[1:] + 1.0, points[1:] - 1.0)

    table, rows = DaysOfMinutes(DAYS, path), np.arange(4)
    opens, highs, lows = (MinutesColumn(table, which, rows) for which in (OPEN, HIGH, LOW))
    assert (opens.item(1), highs.item(1), lows.item(1)) == (13.0, 15.0, 12.0)
    assert made == [3]
    later = highs[np.array([False, True, True, False])]
    assert (len(later), later.item(1)) == (2, 16.0)
    assert made == [3, 4]
    np.testing.assert_array_equal(np.asarray(opens), [12.0, 13.0, 14.0, np.nan])
    np.testing.assert_array_equal(np.asarray(lows) * 2, [22.0, 24.0, 26.0, np.nan])
    assert made == [3, 4, 2, 5]


def test_the_volatility_index_of_the_shipped_history_is_read_so() -> None:
    book = ModelledMarket.from_history("history", seed=1).book
    found = book.daily("VIX")
    assert found is not None
    days, (_, highs, _, closes) = found
    row = int(np.searchsorted(days, date(2018, 2, 5).toordinal()))
    path = book.path("VIX", date(2018, 2, 5))
    assert path is not None
    assert (highs.item(row), closes[row]) == (path.high.max(), 37.32)  # the VIX closed at 37.32 that day
    between = book.closes_of("VIX", date(2018, 2, 5), date(2018, 2, 6))
    assert between is not None
    assert between.tolist() == [37.32, 29.98]
    assert book.closes_of("QQQ", date(2018, 2, 5), date(2018, 2, 6)) is None


def test_a_futures_days_are_its_minutes_gathered_one_by_one_and_only_the_days_that_have_any() -> None:
    """The second crude future of 2017-12-20, over Christmas and New Year: both eves' nights belong to the day after."""
    market = ModelledMarket.from_history("history", seed=1)
    chain = market.universe(Symbol.create("CL", SecurityType.FUTURE, "nymex"), date(2017, 12, 20))
    assert chain is not None
    future = chain.symbol(1)
    block = market.trades(future, Resolution.DAILY, date(2017, 12, 20))
    assert block is not None
    days = [utc_datetime(start).date() for start in block.start.tolist()]
    minutes = {
        one: market.trades(future, Resolution.MINUTE, one)
        for one in (date(2017, 12, 20) + timedelta(n) for n in range(16))
    }
    inside = [one for one in days if one in minutes]
    assert inside == [one for one, found in minutes.items() if found is not None]
    assert date(2017, 12, 23) not in inside  # a Saturday
    for one in inside:
        row, found = days.index(one), minutes[one]
        assert found is not None
        assert (block.open.item(row), block.close.item(row)) == (found.open[0], found.close[-1])
        assert (block.high.item(row), block.low.item(row)) == (found.high.max(), found.low.min())
        assert block.volume.item(row) == found.volume.sum()
    assert days[-1] == future.id.date.date()


@pytest.mark.parametrize(("ticker", "exchange"), [("ES", "cme"), ("GC", "comex"), ("ZB", "cbot"), ("6E", "cme")])
def test_a_futures_day_is_that_of_its_minutes_without_them(ticker: str, exchange: str) -> None:
    """November and December 2018: Thanksgiving and Christmas with half days before or after, the end of a contract."""
    market, first = ModelledMarket.from_history("history", seed=1), date(2018, 11, 15)
    chain = market.universe(Symbol.create(ticker, SecurityType.FUTURE, exchange), first)
    assert chain is not None
    future, seen = chain.symbol(0), 0
    for day in (first + timedelta(n) for n in range(40)):
        minutes = market.trades(future, Resolution.MINUTE, day)
        found = future_day(market.book, future, day)
        assert (found is None) is (minutes is None)
        if found is not None and minutes is not None:
            prices = (minutes.open[0], minutes.high.max(), minutes.low.min(), minutes.close[-1])
            assert found == (*prices, minutes.volume.sum())
            seen += 1
    assert seen > 20


def test_a_day_with_a_halt_is_gathered_from_the_minutes_that_are_left() -> None:
    """Two halts of fifteen minutes on 2019-10-21 (scenario crash-20): 360 of the session's minutes are left."""
    market, day = ModelledMarket.from_history("scenario:crash-20", seed=1), date(2019, 10, 21)
    chain = market.universe(Symbol.create("ES", SecurityType.FUTURE, "cme"), day)
    assert chain is not None
    future = chain.symbol(0)
    assert future_day(market.book, future, day) is None
    block, minutes = (market.trades(future, one, day) for one in (Resolution.DAILY, Resolution.MINUTE))
    assert block is not None
    assert minutes is not None
    row = [utc_datetime(start).date() for start in block.start.tolist()].index(day)
    assert block.low.item(row) == minutes.low.min()
    assert block.volume.item(row) == minutes.volume.sum()


def test_a_days_prices_are_the_same_before_and_after_all_of_them_were_made() -> None:
    asset = ModelledMarket.from_history("history", seed=1).book.asset("RUT")
    row = asset.row(date(2018, 2, 5))
    assert row is not None
    assert np.isnan(asset.series.open[row])  # of the index behind the fund only closes are known
    before = asset.bar(row)
    opens, highs, lows, closes = asset.columns()
    assert (before.open, before.high, before.low, before.close) == (opens[row], highs[row], lows[row], closes[row])
    assert asset.bar(row) == before

"""The data source: determinism, no look-ahead, blocks that survive LEAN's files, listings, faults, errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulation.data.columns import QuoteBlock
from simulation.data.lean_folder import LeanFolder
from simulation.export.export import RecordingSource, selection_of, write_folder
from simulation.lean.enums import OptionRight, OptionStyle, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.book import BuildRequest, MarketSpecError, book_of
from simulation.market.history import DailyBars, MarketHistory, from_arch
from simulation.market.listings import Listings
from simulation.market.quotes import QuoteFaults
from simulation.market.source import HEARTBEAT_NEAR, MINUTE, ModelledMarket
from simulation.market.valuation import OptionRoot

SPX = Symbol.create("SPX", SecurityType.INDEX, "usa")
VIX = Symbol.create("VIX", SecurityType.INDEX, "usa")
SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
SPXW = Symbol.create_canonical_option(SPX, "SPXW", "usa")
DAY = date(2018, 2, 5)


def index_option(expiry: date, strike: float, right: OptionRight = OptionRight.PUT, root: str = "SPXW") -> Symbol:
    return Symbol.create_option(SPX, root, "usa", OptionStyle.EUROPEAN, right, strike, expiry)


@pytest.fixture(scope="module")
def market() -> ModelledMarket:
    return ModelledMarket.from_history("history", seed=5, quote_faults=0.0)


def columns(block: object) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    names = [name for name in type(block).__dataclass_fields__ if not name.startswith("_")]  # type: ignore[attr-defined]
    found = {name: getattr(block, name) for name in names}
    return {name: np.asarray(value) for name, value in found.items() if hasattr(value, "__array__")}


def same(first: object, second: object) -> bool:
    if first is None or second is None:
        return first is second
    left, right = columns(first), columns(second)
    return all(np.array_equal(left[name], right[name], equal_nan=True) for name in left)


def blocks_of(source: ModelledMarket, day: date) -> list[object]:
    put = index_option(date(2018, 3, 16), 2600.0)
    etf = Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, OptionRight.PUT, 260.0, date(2018, 3, 16))
    minutes = Resolution.MINUTE
    found: list[object] = [source.trades(symbol, minutes, day) for symbol in (SPX, VIX, SPY, put)]
    found += [source.quotes(symbol, minutes, day) for symbol in (SPY, put, etf)]
    return [*found, source.universe(SPXW, day)]


def test_same_seed_same_market_another_seed_another() -> None:
    first, again, other = (ModelledMarket.from_history("history", seed=seed) for seed in (5, 5, 6))
    # Days asked for in another order must not matter.
    again.trades(SPX, Resolution.MINUTE, date(2018, 3, 1))
    assert all(same(a, b) for a, b in zip(blocks_of(first, DAY), blocks_of(again, DAY), strict=True))
    assert not same(first.trades(SPX, Resolution.MINUTE, DAY), other.trades(SPX, Resolution.MINUTE, DAY))


def replaced_after(history: MarketHistory, day: date) -> MarketHistory:
    """The same history with everything after ``day`` made up."""

    def bend(bars: DailyBars) -> DailyBars:
        later = bars.days > day.toordinal()
        scale = np.where(later, 0.7 + 0.2 * np.sin(np.arange(len(bars))), 1.0)
        prices = [np.round(column * scale, 2) for column in (bars.open, bars.high, bars.low, bars.close)]
        return replace(bars, open=prices[0], high=prices[1], low=prices[2], close=prices[3])

    others = {name: bend(bars) for name, bars in history.others.items()}
    return replace(history, index=bend(history.index), volatility=bend(history.volatility), others=others)


@pytest.mark.parametrize("day", [date(2018, 1, 26), date(2018, 2, 2), DAY, date(2018, 2, 16)])
def test_nothing_up_to_a_day_depends_on_what_follows(market: ModelledMarket, day: date) -> None:
    request = BuildRequest("history", 5, Listings.TODAY)
    bent = ModelledMarket(book_of("history", replaced_after(from_arch(), day), request), seed=5)
    before = day.fromordinal(day.toordinal() - 10)
    for checked in [before, day] if market.book.asset_day("SPX", before) else [day]:
        pairs = zip(blocks_of(market, checked), blocks_of(bent, checked), strict=True)
        assert all(same(a, b) for a, b in pairs)
    for symbol in (SPX, SPY):
        ours, theirs = (source.trades(symbol, Resolution.DAILY, day) for source in (market, bent))
        assert ours is not None
        assert theirs is not None
        upto = ours.end <= market.trades(SPX, Resolution.MINUTE, day).end[-1]  # type: ignore[union-attr]
        assert np.array_equal(ours.close[upto], theirs.close[upto])


def test_the_index_shows_its_daily_bar(market: ModelledMarket) -> None:
    block = market.trades(SPX, Resolution.MINUTE, DAY)
    assert block is not None
    # Public record of February 5, 2018: open 2741.06, high 2763.39, low 2638.17, close 2648.94.
    seen = (block.open[0], block.high.max(), block.low.min(), block.close[-1])
    assert seen == (2741.06, 2763.39, 2638.17, 2648.94)
    assert len(block.end) == 390
    assert block.start[0] == 1517841000000  # 14:30 UTC


def test_a_half_day_ends_at_one(market: ModelledMarket) -> None:
    block = market.trades(SPX, Resolution.MINUTE, date(2017, 11, 24))
    assert block is not None
    assert len(block.end) == 210


def test_closed_days_and_days_outside_have_nothing(market: ModelledMarket) -> None:
    for day in (date(2018, 2, 4), date(2018, 12, 5), date(2019, 6, 3), date(2013, 6, 3)):
        assert market.trades(SPX, Resolution.MINUTE, day) is None
        assert market.universe(SPXW, day) is None


def test_quotes_are_sparse_and_survive_text(market: ModelledMarket) -> None:
    block = market.quotes(index_option(date(2018, 2, 9), 2300.0), Resolution.MINUTE, date(2018, 1, 31))
    assert block is not None
    assert len(block.end) < 390
    pair = np.column_stack([np.nan_to_num(block.bid_close), block.ask_close])
    still = np.abs(np.diff(pair, axis=0)).sum(axis=1) < 1e-9
    assert bool(((block.start[1:][still] - block.start[0]) % (HEARTBEAT_NEAR * MINUTE) == 0).all())
    for column in columns(block).values():
        known = column[~np.isnan(column.astype(np.float64))]
        assert np.array_equal(np.round(known, 4), known)


def quoted(block: QuoteBlock | None) -> QuoteBlock:
    assert block is not None
    return block


def test_an_option_ends_at_its_intrinsic_value(market: ModelledMarket) -> None:
    # February 9, 2018: the index closed at 2619.55; a 2600 call is worth 19.55 at the close.
    day = date(2018, 2, 9)
    made = market.contract_day(index_option(day, 2600.0, OptionRight.CALL), day)
    assert made is not None
    assert made.value[-1] == pytest.approx(19.55, abs=1e-6)
    assert made.bid[-1] <= 19.55 <= made.ask[-1]


def test_morning_settled_options_stop_the_day_before(market: ModelledMarket) -> None:
    monthly = index_option(date(2018, 2, 16), 2700.0, root="SPX")
    assert market.quotes(monthly, Resolution.MINUTE, date(2018, 2, 15)) is not None
    assert market.quotes(monthly, Resolution.MINUTE, date(2018, 2, 16)) is None


@pytest.mark.parametrize(
    "symbol",
    [
        index_option(date(2018, 2, 9), 2601.0),
        index_option(date(2018, 2, 10), 2600.0),
        index_option(date(2018, 2, 2), 2600.0),
    ],
)
def test_what_is_not_listed_has_no_quotes(market: ModelledMarket, symbol: Symbol) -> None:
    assert market.quotes(symbol, Resolution.MINUTE, DAY) is None
    assert market.trades(symbol, Resolution.MINUTE, DAY) is None
    assert market.open_interest(symbol, Resolution.MINUTE, DAY) is None


def test_volatilities_of_a_chain_cost_no_greeks_and_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("chain_greeks", "chain_volatility"):
        made = getattr(OptionRoot, name)

        def counted(*terms: Any, name: str = name, made: Any = made) -> Any:
            asked.append(name)
            return made(*terms)

        monkeypatch.setattr(OptionRoot, name, counted)
    market = ModelledMarket.from_history("history", seed=5, quote_faults=0.0)
    for canonical in (SPXW, Symbol.create_canonical_option(SPY)):
        asked.clear()
        block = market.universe(canonical, DAY)
        assert block is not None
        assert block.implied_volatility[0] > 0.0
        assert block.implied_volatility[1] > 0.0
        assert asked == ["chain_volatility"]
        assert np.isfinite(block.delta).all()
        assert asked == ["chain_volatility", "chain_greeks"]


def test_universe_lists_what_can_be_quoted_and_agrees_with_the_quotes(market: ModelledMarket) -> None:
    block = market.universe(SPXW, DAY)
    assert block is not None
    assert len(block) == len(block.close) == len(block.delta)
    near = np.flatnonzero((block.expiry == date(2018, 2, 9).toordinal()) & (np.abs(block.strike - 2650.0) < 11.0))
    for row, symbol in zip(near, block.symbols(near), strict=True):
        last = quoted(market.quotes(symbol, Resolution.MINUTE, DAY))
        assert last.bid_close[-1] - 0.011 <= block.close[row] <= last.ask_close[-1] + 0.011
        interest = market.open_interest(symbol, Resolution.MINUTE, DAY)
        assert interest is not None
        assert interest.value[0] == block.open_interest[row]
    puts = block.right[near] == 1
    assert bool((block.delta[near][puts] < 0).all())
    assert bool((block.delta[near][~puts] > 0).all())


def test_faults_come_at_about_their_rate_and_only_where_asked() -> None:
    faulty = ModelledMarket.from_history("history", seed=5, quote_faults=QuoteFaults(missing=0.1, one_sided=0.1))
    days = faulty.book.days()[300:330]
    made = [faulty.contract_day(index_option(date(2015, 6, 19), 2000.0), day) for day in days]
    ask = np.concatenate([one.ask for one in made if one is not None])
    bid = np.concatenate([one.bid for one in made if one is not None])
    assert 0.06 < np.isnan(ask).mean() < 0.14
    assert 0.12 < np.isnan(bid).mean() < 0.26
    usual, sound = (ModelledMarket.from_history("history", seed=5, quote_faults=rate) for rate in (None, 0.0))
    put, day = index_option(date(2018, 3, 16), 2600.0), date(2018, 2, 7)
    shown, right = usual.contract_day(put, day), sound.contract_day(put, day)
    assert shown is not None
    assert right is not None
    assert not np.isnan(right.ask).any()
    assert np.array_equal(shown.value, right.value)
    with pytest.raises(ValueError, match=r"missing: 1\.5"):
        QuoteFaults(missing=1.5)


def test_spy_follows_the_index_and_gathers_dividends(market: ModelledMarket) -> None:
    index, share = (market.trades(symbol, Resolution.DAILY, DAY) for symbol in (SPX, SPY))
    assert index is not None
    assert share is not None
    ratio = share.close / index.close
    assert bool(((ratio > 0.0999) & (ratio < 0.1006)).all())
    rows = market.factor_file(SPY)
    assert rows is not None
    assert 0.88 < rows[0].price_factor < 0.92  # five years at 2 % a year


@pytest.mark.parametrize(
    ("spec", "start", "end", "words"),
    [
        ("yahoo", None, None, "expected history"),
        ("history", date(2005, 1, 3), None, "expected 2014-01-06 to 2018-12-31"),
        ("history", date(2018, 1, 3), date(2017, 1, 3), "is after end"),
    ],
)
def test_a_wrong_market_is_refused_with_what_would_be_right(
    spec: str, start: date | None, end: date | None, words: str
) -> None:
    with pytest.raises(MarketSpecError, match=words):
        ModelledMarket.from_history(spec, seed=1, start=start, end=end)


ES = Symbol.create_future("ES", "cme", date(2018, 3, 16))


def utc(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, tz=UTC)


def test_a_future_trades_around_the_clock_and_its_night_ends_on_the_open(market: ModelledMarket) -> None:
    sunday, monday, friday = (
        market.trades(ES, Resolution.MINUTE, day) for day in (date(2018, 1, 7), date(2018, 1, 8), date(2018, 1, 12))
    )
    assert sunday is not None
    assert monday is not None
    assert friday is not None
    assert (utc(int(sunday.start[0])).hour, len(sunday.end)) == (23, 60)  # 18:00 New York to midnight UTC
    assert len(monday.end) == 1380  # all but the hour from 17:00 New York
    assert utc(int(friday.end[-1])) == datetime(2018, 1, 12, 22, tzinfo=UTC)  # 17:00 New York, then the weekend
    opening = np.searchsorted(monday.start, int(datetime(2018, 1, 8, 14, 30, tzinfo=UTC).timestamp()) * 1000)
    assert monday.close[opening - 1] == monday.open[opening]  # the night ends on the first price of the session
    assert monday.open[0] == sunday.close[-1]
    assert market.trades(ES, Resolution.MINUTE, date(2018, 1, 13)) is None
    assert market.quotes(ES, Resolution.MINUTE, date(2018, 1, 13)) is None
    assert market.trades(Symbol.create_future("NG", "nymex", date(2018, 3, 27)), Resolution.MINUTE, DAY) is None
    christmas_eve = market.trades(Symbol.create_future("ES", "cme", date(2018, 12, 21)), Resolution.MINUTE, DAY)
    assert christmas_eve is not None
    half = market.trades(Symbol.create_future("ES", "cme", date(2018, 12, 21)), Resolution.MINUTE, date(2018, 7, 3))
    assert half is not None
    evening = int(datetime(2018, 7, 3, 17, 15, tzinfo=UTC).timestamp()) * 1000  # 13:15 New York
    assert evening in half.end
    assert evening + MINUTE not in half.end


def test_the_last_day_of_a_future_ends_with_the_cash_market(market: ModelledMarket) -> None:
    last = market.trades(ES, Resolution.MINUTE, date(2018, 3, 16))
    assert last is not None
    assert utc(int(last.end[-1])) == datetime(2018, 3, 16, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("symbol", "day"),
    [
        (Symbol.create_future("ES", "cme", date(2014, 3, 21)), date(2014, 2, 4)),
        (index_option(date(2018, 3, 16), 2600.0), date(2018, 2, 6)),
    ],
)
def test_hours_and_days_are_gathered_from_minutes(market: ModelledMarket, symbol: Symbol, day: date) -> None:
    kinds = (Resolution.MINUTE, Resolution.HOUR, Resolution.DAILY)
    for minutes, hours, days in (
        [market.trades(symbol, kind, day) for kind in kinds],
        [market.quotes(symbol, kind, day) for kind in kinds],
    ):
        assert minutes is not None
        assert hours is not None
        assert days is not None
        row = int(np.searchsorted(days.start, minutes.start[0], "right")) - 1
        inside = (hours.start >= days.start[row]) & (hours.start < days.end[row])
        assert bool((np.diff(hours.start) > 0).all())
        assert set((minutes.start // 3_600_000).tolist()) == set((hours.start[inside] // 3_600_000).tolist())
        side = "" if hasattr(minutes, "volume") else "ask_"
        high, low = (getattr(minutes, f"{side}{name}") for name in ("high", "low"))
        assert getattr(days, f"{side}high")[row] == high.max() == getattr(hours, f"{side}high")[inside].max()
        assert getattr(days, f"{side}low")[row] == low.min() == getattr(hours, f"{side}low")[inside].min()
        assert getattr(days, f"{side}open")[row] == getattr(minutes, f"{side}open")[0]
        assert getattr(days, f"{side}close")[row] == getattr(minutes, f"{side}close")[-1]
    assert market.trades(symbol, Resolution.DAILY, day) is market.trades(
        symbol, Resolution.DAILY, day + timedelta(days=1)
    )
    assert market.trades(symbol, Resolution.TICK, day) is None


def test_long_bars_of_what_is_not_listed_do_not_exist(market: ModelledMarket) -> None:
    for symbol in (
        index_option(date(2018, 3, 16), 2601.0),
        Symbol.create_future("NG", "nymex", date(2018, 3, 27)),
        index_option(date(2018, 3, 16), 2600.0, root="RUTW"),
    ):
        assert market.trades(symbol, Resolution.DAILY, DAY) is None
        assert market.open_interest(symbol, Resolution.DAILY, DAY) is None


def test_open_interest_of_a_year_has_a_row_for_each_listed_day(market: ModelledMarket) -> None:
    put = index_option(date(2018, 3, 16), 2600.0)
    year, today = (market.open_interest(put, resolution, DAY) for resolution in (Resolution.DAILY, Resolution.MINUTE))
    assert year is not None
    assert today is not None
    assert today.end[0] in year.end
    assert year.value[np.searchsorted(year.end, today.end[0])] == today.value[0]
    assert len(year.end) == 52  # January 2 to March 16


def test_margins_follow_price_and_fear_with_a_day_of_delay(market: ModelledMarket) -> None:
    rows = market.margins(ES)
    assert rows is not None
    by_day = {row.day: row for row in rows}
    # CME asked 4,750 in 2017, 5,050 from January 26, 2018, and 5,800 from February 9 (LEAN's ES.csv).
    in_force = [max(row for row in by_day if row <= day) for day in (date(2017, 6, 1), DAY, date(2018, 2, 14))]
    before, crash, after = (by_day[day].maintenance for day in in_force)
    assert 4200.0 < before < 5300.0
    assert crash <= 5300.0  # nothing of the crash's own day
    assert 5300.0 < after < 6400.0
    assert all(row.initial == pytest.approx(1.1 * row.maintenance) for row in rows)
    assert market.margins(ES) is market.margins(ES)
    assert market.margins(SPX) is None


def test_hours_and_days_of_contracts_survive_a_written_folder(market: ModelledMarket, tmp_path: Path) -> None:
    put, future = index_option(date(2014, 3, 21), 1800.0), Symbol.create_future("ES", "cme", date(2014, 3, 21))
    source, day = RecordingSource(market), date(2014, 2, 5)
    for symbol in (put, future):
        assert source.quotes(symbol, Resolution.DAILY, day) is not None
        assert source.trades(symbol, Resolution.HOUR, day) is not None
    write_folder(source, day, date(2014, 2, 7), tmp_path, selection_of(source.demand))
    folder = LeanFolder(tmp_path)
    for symbol, resolution in ((put, Resolution.DAILY), (put, Resolution.HOUR), (future, Resolution.DAILY)):
        for read, asked in (
            (folder.quotes(symbol, resolution, day), market.quotes(symbol, resolution, day)),
            (folder.trades(symbol, resolution, day), market.trades(symbol, resolution, day)),
        ):
            assert read is not None
            assert asked is not None
            count = len(read.end)
            assert count > 3
            left, right = columns(read), columns(asked)
            assert all(np.array_equal(left[name], right[name][:count], equal_nan=True) for name in left)
    assert folder.open_interest(put, Resolution.DAILY, day) is not None


def test_a_futures_option_is_quoted_for_as_long_as_its_future(market: ModelledMarket) -> None:
    chain = market.universe(Symbol.create_canonical_option(ES), DAY)
    assert chain is not None
    spot, expiry = market.book.strips["ES"].day(ES, DAY), date(2018, 3, 16).toordinal()
    assert spot is not None
    near = np.flatnonzero((chain.expiry == expiry) & (np.abs(chain.strike / spot.spot.points[-1] - 1.0) < 0.02))
    put = next(one for one in chain.symbols(near) if one.id.option_right == OptionRight.PUT)
    block, made = market.quotes(put, Resolution.MINUTE, DAY), market.contract_day(put, DAY)
    assert block is not None
    assert made is not None
    assert utc(int(block.end[-1])) == datetime(2018, 2, 5, 22, tzinfo=UTC)  # 17:00 New York
    evening = block.end > int(datetime(2018, 2, 5, 21, tzinfo=UTC).timestamp()) * 1000
    assert evening.sum() == 6
    assert bool((block.bid_close[evening] < block.ask_close[evening]).all())
    future = market.trades(ES, Resolution.MINUTE, DAY)
    assert future is not None
    moved = future.close[np.searchsorted(future.end, block.end[evening])] - spot.spot.points[-1]
    middle = 0.5 * (block.bid_close[evening] + block.ask_close[evening]) - made.value[-1]
    assert bool(
        (np.abs(middle + 0.45 * moved) < 0.3 * np.abs(moved) + 0.3).all()
    )  # a delta of about -0.45, ticks of 0.25
    last = market.quotes(put, Resolution.MINUTE, date(2018, 3, 16))
    assert last is not None
    assert utc(int(last.end[-1])) <= datetime(2018, 3, 16, 20, tzinfo=UTC)

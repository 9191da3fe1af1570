"""What is written as a LEAN data folder reads back as it was, and two exports have the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import Around, Deltas, MarketNeeds, Reach, Right, Term
from simulation.data.columns import (
    FactorRow,
    Floats,
    Integers,
    InterestBlock,
    InterestRates,
    MapRow,
    MarginRow,
    QuoteBlock,
    TradeBlock,
    UnderlyingRow,
    UniverseBlock,
)
from simulation.data.lean_folder import LeanFolder
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.source import DataSource
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.export.export import (
    YEAR_BEFORE,
    ExportRequestError,
    RecordingSource,
    Selection,
    parse_selection,
    selection_of,
    write_folder,
)
from simulation.export.export_reach import Plan, month_rows
from simulation.export.export_text import plain
from simulation.lean.enums import OptionRight, Resolution, SecurityType
from simulation.lean.symbols import Symbol, option_contract
from simulation.market.calendar import calendar
from simulation.market.definitions import market_hours, symbol_properties
from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, RunResult, run_backtest
from strategies.futures_strangle import FuturesStrangle
from strategies.roster import METHODOLOGY, NEEDS
from tests.conftest import ROOT

SPX = Symbol.create("SPX", SecurityType.INDEX, "usa")
SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
SPXW = Symbol.create_canonical_option(SPX, "SPXW", "usa", None)
ES_CHAIN = Symbol.create("ES", SecurityType.FUTURE, "cme")
ES = Symbol.create_future("ES", "cme", date(2024, 9, 20))
DAY = date(2024, 7, 2)
MINUTE = 60_000


def open_ms(day: date) -> int:
    """09:30 New York summer time as UTC milliseconds."""
    return int((datetime(day.year, day.month, day.day, 13, 30) - datetime(1970, 1, 1)).total_seconds()) * 1000


def chain(
    canonical: Symbol,
    day: date,
    underlying: UnderlyingRow | None,
    terms: tuple[Integers, Floats, Integers],
    one: Floats,
) -> UniverseBlock:
    """A chain with the same numbers in all of its columns."""
    prices = (one, one, one, one, one, one)
    return UniverseBlock(canonical, day, underlying, *terms, *prices, one, one, one, one, one, one)


class SmallMarket:
    """SPX, SPY and ES, and SPXW puts 5400, 5500 and 5600 that expire in three days; trading on weekdays."""

    hours: MarketHoursDatabase = market_hours()
    properties: SymbolPropertiesDatabase = symbol_properties()

    def trades(self, symbol: Symbol, resolution: Resolution, day: date) -> TradeBlock | None:
        if symbol.security_type is SecurityType.INDEX_OPTION or symbol.is_canonical():
            return None
        if resolution is Resolution.DAILY:
            starts = [open_ms(day - timedelta(days=back)) - (570 - 60 * (symbol is SPX)) * MINUTE for back in (1, 0)]
            prices = np.array([5475.25, 5509.01])
            start = np.array(starts, dtype=np.int64)
            return TradeBlock(
                start + 1440 * MINUTE, start, prices, prices + 1.0, prices - 1.0, prices, np.array([7.0, 8.0])
            )
        if resolution is not Resolution.MINUTE or day.weekday() > 4:
            return None
        start = open_ms(day) + np.array([0, 1, 5], dtype=np.int64) * MINUTE
        prices = np.array([5500.0, 5500.25, 5499.5]) / (10 if symbol is SPY else 1)
        return TradeBlock(start + MINUTE, start, prices, prices + 0.5, prices - 0.5, prices, np.array([1.0, 2.0, 3.0]))

    def quotes(self, symbol: Symbol, resolution: Resolution, day: date) -> QuoteBlock | None:
        if symbol.security_type is not SecurityType.INDEX_OPTION or resolution is not Resolution.MINUTE:
            return None
        if day.weekday() > 4:
            return None
        start = open_ms(day) + np.array([0, 7], dtype=np.int64) * MINUTE
        bid, ask, size = np.array([1.05, np.nan]), np.array([1.15, 0.05]), np.array([10.0, 11.0])
        bid_size = np.array([10.0, np.nan])
        return QuoteBlock(start + MINUTE, start, bid, bid, bid, bid, bid_size, ask, ask, ask, ask, size)

    def open_interest(self, symbol: Symbol, resolution: Resolution, day: date) -> InterestBlock | None:
        if symbol.security_type is not SecurityType.INDEX_OPTION or day.weekday() > 4:
            return None
        return InterestBlock(np.array([open_ms(day) - 180 * MINUTE]), np.array([250.0]))

    def universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        if day.weekday() > 4 or canonical not in (SPXW, ES_CHAIN):
            return None
        if canonical is ES_CHAIN:
            one, row = np.array([5500.25]), np.array([ES.id.date.toordinal()])
            return chain(canonical, day, None, (row, np.zeros(1), row * 0), one)
        strikes = np.array([5400.0, 5500.0, 5600.0])
        expiry = np.full(3, (day + timedelta(days=3)).toordinal())
        underlying = UnderlyingRow(5490.0, 5510.5, 5480.25, 5500.0, 0.0)
        greeks = strikes / 1e5
        return chain(canonical, day, underlying, (expiry, strikes, np.array([1, 1, 1])), greeks)

    def map_file(self, symbol: Symbol) -> Sequence[MapRow] | None:
        return (MapRow(date(1998, 1, 2), "spy", "P"),) if symbol is SPY else None

    def factor_file(self, symbol: Symbol) -> Sequence[FactorRow] | None:
        return (FactorRow(date(2024, 6, 20), 0.9967251, 1.0, 545.5),) if symbol is SPY else None

    def margins(self, symbol: Symbol) -> Sequence[MarginRow] | None:
        future = symbol.security_type is SecurityType.FUTURE
        return (MarginRow(date(2020, 1, 1), 13200.0, 12000.0, 6600.0, 6000.0),) if future else None

    def interest_rates(self) -> InterestRates | None:
        return InterestRates(np.array([date(2024, 1, 1).toordinal()]), np.array([0.0533]))

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        return None


def same(first: object, second: object) -> bool:
    """Whether two blocks hold the same numbers, bit for bit."""
    names = [name for name in getattr(first, "__slots__", ()) if not name.startswith("_")]
    pairs = [(getattr(first, name), getattr(second, name)) for name in names]
    return bool(pairs) and all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)


@pytest.fixture
def written(tmp_path: Path) -> LeanFolder:
    out = tmp_path / "data"
    summary = write_folder(SmallMarket(), DAY, DAY + timedelta(days=1), out, ["SPX", "SPY", "ES", "SPXW:0-7:0.9-1.01"])
    # From seven days before: 25 to 28 June and 1 to 3 July are seven weekdays.
    assert summary.days == 7
    # Two strikes of the three lie within 1.01 of 5500, on each of seven expiries.
    assert summary.contracts == 14
    return LeanFolder(out)


def test_minutes_read_back_bit_for_bit(written: LeanFolder) -> None:
    market = SmallMarket()
    put = option_contract(SPXW, DAY + timedelta(days=3), 5400.0, OptionRight.PUT)
    for symbol in (SPX, SPY, ES):
        one, other = market.trades(symbol, Resolution.MINUTE, DAY), written.trades(symbol, Resolution.MINUTE, DAY)
        assert same(one, other)
    assert same(market.quotes(put, Resolution.MINUTE, DAY), written.quotes(put, Resolution.MINUTE, DAY))
    assert same(market.open_interest(put, Resolution.MINUTE, DAY), written.open_interest(put, Resolution.MINUTE, DAY))
    assert (
        written.quotes(option_contract(SPXW, DAY + timedelta(days=3), 5600.0, OptionRight.PUT), Resolution.MINUTE, DAY)
        is None
    )


def test_daily_bars_read_back(written: LeanFolder) -> None:
    last = DAY + timedelta(days=1)
    for symbol in (SPX, SPY):
        assert same(
            SmallMarket().trades(symbol, Resolution.DAILY, last), written.trades(symbol, Resolution.DAILY, last)
        )


def test_universes_read_back(written: LeanFolder) -> None:
    for canonical in (SPXW, ES_CHAIN):
        one, other = SmallMarket().universe(canonical, DAY), written.universe(canonical, DAY)
        assert one is not None
        assert other is not None
        assert other.symbols() == one.symbols()
        assert one.underlying == other.underlying
        names = ("expiry", "strike", "close", "open_interest") + (("delta", "theta") if canonical is SPXW else ())
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_the_files_beside_read_back(written: LeanFolder) -> None:
    market = SmallMarket()
    assert written.margins(ES) == market.margins(ES)
    assert written.factor_file(SPY) == market.factor_file(SPY)
    assert written.map_file(SPY) == market.map_file(SPY)
    rates = written.interest_rates()
    assert rates is not None
    assert rates.at(DAY) == 0.0533
    for symbol in (SPX, SPY, SPXW):
        one, other = (
            source.hours.get_exchange_hours(symbol.id.market, symbol, symbol.security_type)
            for source in (market, written)
        )
        assert one.sessions_utc_ms(date(2024, 7, 3), True) == other.sessions_utc_ms(date(2024, 7, 3), True)
    tick = written.properties.get_symbol_properties("cme", ES, SecurityType.FUTURE, "USD").minimum_price_variation
    assert tick == 0.25


def digest(folder: Path) -> str:
    """One hash over all files and their names."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            total.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return total.hexdigest()


def test_two_exports_have_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_folder(SmallMarket(), DAY, DAY, tmp_path / name, ["SPX", "SPXW:0-7"])
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_a_recorded_run_names_what_it_needs(tmp_path: Path) -> None:
    source = RecordingSource(SmallMarket())
    put = option_contract(SPXW, date(2024, 7, 5), 5500.0, OptionRight.PUT)
    source.trades(SPX, Resolution.MINUTE, DAY)
    source.trades(SPY, Resolution.DAILY, DAY)
    source.quotes(put, Resolution.MINUTE, DAY)
    source.quotes(put, Resolution.MINUTE, date(2024, 7, 6))  # a Saturday: no answer, so not needed
    source.universe(SPXW, DAY)
    selection = selection_of(source.demand)
    assert selection.underlyings == [SPX, SPY]
    assert selection.contracts == {put: (DAY - timedelta(days=7), date(2024, 7, 5))}
    assert selection.universes == {SPXW: (DAY, DAY)}
    assert selection.long == {(SPY, Resolution.DAILY)}
    summary = write_folder(SmallMarket(), DAY, DAY, tmp_path / "data", selection)
    assert summary.contracts == 1
    assert LeanFolder(tmp_path / "data").quotes(put, Resolution.MINUTE, DAY) is not None


ALGORITHM = """
from AlgorithmImports import *


class Seller(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2015, 8, 20)
        self.set_end_date(2015, 8, 21)
        self.set_cash(500_000)
        index = self.add_index("SPX", Resolution.MINUTE).symbol
        self.chain = self.add_index_option(index, "SPXW", Resolution.MINUTE)
        self.chain.set_filter(lambda universe: universe.strikes(-3, 3).expiration(0, 7))
        self.schedule.on(self.date_rules.every_day(index), self.time_rules.at(10, 0), self.trade)

    def trade(self):
        chain = self.current_slice.option_chains.get(self.chain.symbol)
        puts = sorted((c for c in chain if c.right == OptionRight.PUT), key=lambda c: c.greeks.delta)
        self.combo_market_order([Leg.create(puts[-1].symbol, -1), Leg.create(puts[0].symbol, 1)], 1)
        self.market_order(puts[0].symbol, 1)
"""


def test_a_run_on_the_model_and_on_its_folder_send_the_same_orders(tmp_path: Path) -> None:
    algorithm = tmp_path / "seller.py"
    algorithm.write_text(ALGORITHM, encoding="utf-8")
    days = date(2015, 8, 20), date(2015, 8, 21)
    source = RecordingSource(ModelledMarket.from_history("history", seed=3))

    def run(market: DataSource, name: str) -> RunResult:
        return run_backtest(RunRequest(algorithm, market, {}, None, tmp_path / name))

    on_model = run(source, "one")
    write_folder(source, *days, tmp_path / "data", selection_of(source.demand))
    on_folder = run(LeanFolder(tmp_path / "data"), "two")
    assert on_model.error is None
    assert len(on_model.orders) == 7  # two days: two legs and a market order each; the first day's put expires
    assert on_folder.order_list_hash == on_model.order_list_hash


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no market"),
        ("SPXW:7-0", "'7-0' runs backwards"),
        ("SPXW:soon", "'SOON' is no range; accepted is LOW-HIGH"),
        ("SPXW:0-7:1:2", "accepted are TICKER and ROOT:DAYS"),
    ],
)
def test_a_wrong_request_says_what_is_right(text: str, problem: str) -> None:
    with pytest.raises(ExportRequestError, match=problem):
        parse_selection(SmallMarket(), [text], DAY)


@given(st.floats(-1e6, 1e6, allow_subnormal=False))
def test_a_number_as_text_has_no_exponent(value: float) -> None:
    text = plain(value)
    assert "e" not in text
    assert abs(float(text) - value) <= 0.5e-10 * max(1.0, abs(value))


# ------------------------------------------------------------------ what the ten strategies can reach


def reach(**changes: Any) -> Reach:
    """Three-day SPXW puts around 5.5 delta (those of strike 5500 in the small market), held to expiry."""
    usual: dict[str, Any] = {"strategy": "test", "roots": ("SPXW",), "term": Term(3, 0), "leave": 0}
    return Reach(**{**usual, "bands": (Deltas(Right.PUT, 5.45, 5.55),), **changes})


def planned(reaches: Sequence[Reach], first: date, end: date, market: DataSource | None = None) -> dict[date, set[str]]:
    """Expiry, right and strike of the contracts whose minutes are written, by day, from a week before the first."""
    plan = Plan(market or SmallMarket(), first, end, MarketNeeds(tuple(reaches), NEEDS.hourly))
    found = {}
    for back in range(-7, (end - first).days + 1):
        day = first + timedelta(days=back)
        contracts = [contract for chain in plan.chains(day) for contract in chain.contracts]
        found[day] = {
            f"{item.id.date:%d}{'P' if item.id.option_right else 'C'}{item.id.strike_price:g}" for item in contracts
        }
    return {day: names for day, names in found.items() if names}


def test_a_contract_is_written_from_the_day_before_its_choice_until_its_last_exit() -> None:
    # Chosen on Tuesday the 2nd from Monday's chain, which lists the 4th only; held to expiry, never before Monday.
    # The delta names 5500. Tuesday's low over Monday's close is 5480.25 / 5500, its high 5510.5 / 5500: 5500 alone.
    names = planned((reach(term=Term(2, 0), weekdays=(1,)),), DAY, date(2024, 7, 5))
    assert names == {date(2024, 7, 1): {"04P5500"}}  # the small market lists an expiry on one day only


def test_a_band_follows_the_price_of_the_day() -> None:
    class Falling(SmallMarket):
        def universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
            found = super().universe(canonical, day)
            if found is None or canonical is ES_CHAIN or day != DAY:
                return found
            return replace(found, underlying=UnderlyingRow(5490.0, 5510.5, 5390.0, 5500.0, 0.0))

    names = planned((reach(term=Term(2, 0)),), DAY, DAY, Falling())
    # 5500 * 5390 / 5500 = 5390: the strike 5400 came into reach
    assert names == {date(2024, 7, 1): {"04P5400", "04P5500"}}


def test_strikes_around_the_price_may_keep_to_a_grid() -> None:
    # 0.01 of 5500 is 55 points beyond 5480.25 and 5510.5: 5425.25 to 5565.5; on a grid of 200 only 5400 and 5600 exist
    names = planned((reach(term=Term(2, 0), bands=(Around(0.0, 0.01),)),), DAY, DAY)
    assert names == {date(2024, 7, 1): {"04P5500"}}
    names = planned((reach(term=Term(2, 0), bands=(Around(0.0, 0.03, 200.0),)),), DAY, DAY)
    assert names == {date(2024, 7, 1): {"04P5400", "04P5600"}}
    # daily closes 5475.25 and 5509.01, range 2: one true range, 5510.01 - 5475.25 = 34.76; three of them reach 5600
    names = planned((reach(term=Term(2, 0), bands=(Around(3.0, 0.0),)),), DAY, DAY)
    assert names == {date(2024, 7, 1): {"04P5400", "04P5500", "04P5600"}}


def test_strategies_open_on_their_days_only() -> None:
    second_tuesday = reach(weekdays=(1,), weeks=(2,))
    days = [date(2018, 5, number) for number in range(1, 32)]
    assert [day.day for day in days if second_tuesday.opens(day)] == [8]
    assert planned((reach(term=Term(2, 0), weekdays=(4,)),), DAY, DAY) == {}
    # the small market's VIX closes at 5509: over 30; nothing is over 9000
    assert planned((reach(term=Term(2, 0), vix_over=30.0),), DAY, DAY) != {}
    assert planned((reach(term=Term(2, 0), vix_over=9000.0),), DAY, DAY) == {}


def test_an_untested_side_is_looked_for_again() -> None:
    model = ModelledMarket.from_history("history", seed=3)
    strangle = reach(
        roots=("TLT",),
        term=Term(45, 30),
        bands=(Deltas(Right.PUT, 15, 20), Deltas(Right.CALL, 15, 20)),
        leave=33,
        weekdays=(1,),
        weeks=(2,),
        rolls=0.1,
    )
    first, end = date(2018, 5, 8), date(2018, 5, 18)
    rolled = planned((strangle,), first, end, model)
    held = planned((replace(strangle, rolls=None),), first, end, model)
    assert rolled[date(2018, 5, 7)] == held[date(2018, 5, 7)]
    # 33 days before the 15th of June is May 13; three more days are kept for late exits, and nothing after them
    assert {int(name[:2]) for name in held[date(2018, 5, 7)]} == {15}
    last = date(2018, 5, 16)
    assert max(held) == max(rolled) == last
    assert held[last] == held[date(2018, 5, 7)]
    assert rolled[last] > held[last]
    # a roll needs a side that is tested
    assert planned((replace(strangle, rolls=99.0),), first, end, model) == held


def test_every_rule_of_the_table_finds_contracts() -> None:
    model = ModelledMarket.from_history("history", seed=3)
    february = [date(2018, 2, number) for number in (6, 7, 9, 12, 13)]  # the VIX was over 30 on the 6th
    for one in METHODOLOGY:
        day = next(day for day in february if one.opens(day))
        small = replace(one, roots=one.roots[:1])
        assert planned((small,), day, day, model), one.strategy


def test_the_engine_knows_no_method() -> None:
    with pytest.raises(ExportRequestError, match="what strategies declare, and none was handed in"):
        parse_selection(SmallMarket(), ["methodology"], DAY)


def test_a_market_without_trading_days_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(SmallMarket(), date(2024, 7, 2), date(2024, 7, 2), NEEDS)
    monkeypatch.setattr(Plan, "_is_open", lambda plan, day: False)
    chains = plan.chains(DAY)
    with pytest.raises(ValueError, match="no trading day within 10 days"):
        next(chains)


def test_main_sends_the_same_orders_on_a_written_methodology(tmp_path: Path) -> None:
    day = date(2018, 5, 4)  # a Friday
    market = ModelledMarket.from_history("history", seed=1)
    selection = parse_selection(market, ["methodology"], day, needs=NEEDS)
    assert selection.plan is not None
    assert (SPY, Resolution.HOUR) in (selection.long or ())
    selection.underlyings = selection.underlyings[:3]  # SPX, VIX, SPY: the table's first rule
    selection.long = {(symbol, Resolution.DAILY) for symbol in selection.underlyings}
    selection.plan.needs = MarketNeeds(METHODOLOGY[:1], NEEDS.hourly)
    assert len(selection.ranked) > 5
    selection.ranked = []  # no rank is asked for; a year of chains behind each has a test of its own below
    write_folder(market, day, day, tmp_path / "data", selection)
    days = {"run.start": day.isoformat(), "run.end": day.isoformat()}
    settings = {**days, "run.strategies": "friday_0dte", "friday_0dte.min_vix": "0"}

    def run(source: DataSource, name: str) -> RunResult:
        return run_backtest(RunRequest(ROOT / "main.py", source, settings, None, tmp_path / name))

    on_model, on_folder = run(market, "one"), run(LeanFolder(tmp_path / "data"), "two")
    assert on_model.error is None
    assert len(on_model.orders) > 0
    assert on_folder.order_list_hash == on_model.order_list_hash
    chain_before = LeanFolder(tmp_path / "data").universe(SPXW, date(2018, 5, 3))
    assert chain_before is not None
    # rows of no other term than the strategy looks at
    assert {date.fromordinal(int(expiry)) for expiry in chain_before.expiry} == {day}


def test_the_days_before_the_start_hold_what_thirty_days_at_the_money_imply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each session two expiries near the close, the numbers those of the whole chain; of a year, here of 20 days."""
    year = calendar().between(date(2016, 1, 12) - timedelta(days=YEAR_BEFORE), date(2016, 1, 11))
    assert len(year) >= 252
    monkeypatch.setattr("simulation.export.export.YEAR_BEFORE", 20)
    market = ModelledMarket.from_history("history", seed=1)
    uso = Symbol.create_canonical_option(Symbol.create("USO", SecurityType.EQUITY, "usa"), "USO", "usa", None)
    start = date(2016, 1, 12)
    selection = Selection(underlyings=[SPX], ranked=[uso], long=set())
    write_folder(market, start, start, tmp_path, selection)
    folder, days = LeanFolder(tmp_path), [start - timedelta(days=back) for back in range(8, 25)]
    found = {day: block for day in days if (block := folder.universe(uso, day)) is not None}
    assert sorted(found) == calendar().between(start - timedelta(days=20), start - timedelta(days=8))
    for day in (min(found), max(found)):
        read, whole = found[day], market.universe(uso, day)
        assert whole is not None
        rows = month_rows(whole)
        assert rows.tolist() == [
            row
            for row in range(len(whole))
            if whole.underlying is not None
            and abs(whole.strike[row] / whole.underlying.close - 1) <= 0.05
            and whole.expiry[row] in set(read.expiry.tolist())
        ]
        left = sorted(set((read.expiry - day.toordinal()).tolist()))
        assert len(left) == 2
        assert 7 <= left[0] < 30 <= left[1] <= 65
        for name in ("strike", "close", "implied_volatility", "open_interest"):
            assert getattr(read, name) == pytest.approx(getattr(whole, name)[rows], abs=1e-6)
        assert [whole.volatility_of(int(row)) for row in rows] == whole.implied_volatility[rows].tolist()


def test_a_run_that_looked_back_over_a_year_of_chains_names_them() -> None:
    source = RecordingSource(SmallMarket())
    for back in range(0, 300):
        source.universe(SPXW, DAY - timedelta(days=back))
    assert selection_of(source.demand).ranked == [SPXW]
    assert set(NEEDS.ranked) == set(FuturesStrangle.ranked)

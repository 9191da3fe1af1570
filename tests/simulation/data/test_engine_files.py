"""Rarer shapes of a data folder's files, what an export leaves out, and what the modelled market does not have."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from simulation.data import side_files as auxiliary
from simulation.data.columns import FactorRow, UniverseBlock
from simulation.data.lean_folder import MARKET_HOURS, SYMBOL_PROPERTIES, LeanFolder, data_path, universe_path
from simulation.export.export import (
    Demand,
    ExportRequestError,
    RecordingSource,
    Selection,
    parse_selection,
    selection_of,
    write_folder,
)
from simulation.export.export_text import hours_text
from simulation.lean.enums import OptionRight, OptionStyle, Resolution, SecurityType
from simulation.lean.enums import TickType as Tick
from simulation.lean.errors import MalformedDataError
from simulation.lean.identifiers import SecurityIdentifier, use_map_files
from simulation.lean.symbols import Symbol, option_contract
from simulation.market import history
from simulation.market.definitions import market_hours, symbol_properties
from simulation.market.source import ModelledMarket

SPX = Symbol.create("SPX", SecurityType.INDEX, "usa")
VIX = Symbol.create("VIX", SecurityType.INDEX, "usa")
SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
SPXW = Symbol.create_canonical_option(SPX, "SPXW", "usa", None)
ES_CHAIN = Symbol.create("ES", SecurityType.FUTURE, "cme")
ES = Symbol.create_future("ES", "cme", date(2024, 9, 20))
DAY = date(2024, 7, 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that holds hours and properties only."""
    for name, text in (
        (MARKET_HOURS, hours_text(market_hours())),
        (SYMBOL_PROPERTIES, "\n".join(symbol_properties().lines()) + "\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def universe_of(root: Path, text: str, canonical: Symbol = SPXW) -> UniverseBlock:
    path = root / universe_path(canonical, DAY)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    found = LeanFolder(root).universe(canonical, DAY)
    assert found is not None
    return found


# --- files -----------------------------------------------------------------------------------------------------------

HEAD = "#expiry,strike,right,open,high,low,close\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ",,,5490,5510.5,5480,5500,0\n20240712,5350,P,5,6,4,5.5\n",
        # What the quick reader leaves to the careful one: the underlying further down, a remark, dashes, empty cells.
        HEAD + "20240712,5350,P,5,6,4,5.5\n,,,5490,5510.5,5480,5500,0\n",
        HEAD + "# a remark is a header\n" + HEAD + ",,,5490,5510.5,5480,5500,0\n\n2024-07-12,5350,P,5,6,4,5.5\n",
    ],
)
def test_an_option_universe_reads_the_same_however_it_is_written(root: Path, text: str) -> None:
    block = universe_of(root, text)
    assert block.symbols() == [option_contract(SPXW, date(2024, 7, 12), 5350.0, OptionRight.PUT)]
    assert (block.close[0], block.delta[0]) == (5.5, 0.0)
    assert block.underlying is not None
    assert (block.underlying.high, block.underlying.close) == (5510.5, 5500.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + ",,,many,5510.5,5480,5500,0\n", "line 2: the underlying's row cannot be read"),
        (HEAD + "20240712,5350,P\n# again\n", "line 2: 3 cells, 7 are needed"),
        ("#day,strike\n20240712,5350\n", "line 1: the header lacks the column 'expiry'"),
        (HEAD + "20240712,5350,P,5,6,4,five\n", "line 2: .*'five'"),
    ],
)
def test_a_universes_faulty_line_is_named(root: Path, text: str, words: str) -> None:
    with pytest.raises(MalformedDataError, match=words):
        universe_of(root, text)


def test_a_universe_without_contracts_is_empty(root: Path) -> None:
    assert universe_of(root, HEAD + HEAD).symbols() == []


def test_small_files_name_their_faulty_line(tmp_path: Path) -> None:
    file = tmp_path / "small.csv"
    file.write_text("date,initial,maintenance\n\n20200101,6000,5500,3000,2500\n")
    row = auxiliary.read_margins(file)[0]
    assert (row.initial_intraday, row.maintenance_intraday) == (3000.0, 2500.0)
    file.write_text("20200101,6000\n")
    with pytest.raises(MalformedDataError, match="line 1: 2 cells, at least 3 are needed"):
        auxiliary.read_margins(file)
    file.write_text("20200101,6000,5500\n20200102,much,5500\n")
    with pytest.raises(MalformedDataError, match="line 2: could not convert string to float: 'much'"):
        auxiliary.read_margins(file)
    file.write_text("date,rate\n")
    assert auxiliary.read_interest_rates(file) is None
    # A future's factor file holds JSON lines, which only continuous contracts would need.
    file.write_text('{"Date":"2024-06-21T00:00:00","BackwardsRatioScale":[1.01]}\n')
    assert auxiliary.read_factor_file(file) is None
    file.write_text("20240320,0.995,1\n")
    assert auxiliary.read_factor_file(file) == (FactorRow(date(2024, 3, 20), 0.995, 1.0, 0.0),)


def test_a_folder_says_what_it_lacks(tmp_path: Path, root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data folder '.*nowhere' does not exist"):
        LeanFolder(tmp_path / "nowhere")
    folder = LeanFolder(root)
    (root / MARKET_HOURS).unlink()
    with pytest.raises(FileNotFoundError, match="is no LEAN data folder"):
        _ = folder.hours
    with pytest.raises(ValueError, match="resolution SECOND of SPX is not read; accepted are MINUTE, HOUR and DAILY"):
        folder.trades(SPX, Resolution.SECOND, DAY)
    assert folder.quotes(SPX, Resolution.DAILY, DAY) is None
    assert folder.map_resolver("SPY", "usa") is None
    assert (folder.map_file(SPY), folder.factor_file(SPY), folder.margins(ES), folder.interest_rates()) == (None,) * 4


def test_long_files_lie_where_lean_puts_them() -> None:
    # lean-facts: a year of an option's hours in one archive, a future's whole history in another.
    put = Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, OptionRight.PUT, 550.0, date(2024, 7, 12))
    where = data_path(put, Resolution.DAILY, Tick.TRADE, DAY)
    assert where.archive == "option/usa/daily/spy_2024_trade_american.zip"
    assert where.entry == "spy_trade_american_put_5500000_20240712.csv"
    where = data_path(ES, Resolution.HOUR, Tick.QUOTE, DAY)
    assert (where.archive, where.entry) == ("future/cme/hour/es_quote.zip", "es_quote_202409.csv")
    on_future = Symbol.create_canonical_option(ES)
    assert universe_path(on_future, DAY) == "futureoption/cme/universes/es/202409/20240702.csv"


def test_minutes_of_a_day_on_which_the_clock_changes(root: Path) -> None:
    # 10 March 2024: New York's clocks skip from 2 to 3 at night, so 01:00 is 06:00 UTC and 10:00 is 14:00 UTC.
    day = date(2024, 3, 10)
    where = data_path(SPY, Resolution.MINUTE, Tick.TRADE, day)
    path = root / where.archive
    path.parent.mkdir(parents=True)
    hour = 3_600_000
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(where.entry, f"{hour},10000,10000,10000,10000,5\n{10 * hour},20000,20000,20000,20000,6\n")
    block = LeanFolder(root).trades(SPY, Resolution.MINUTE, day)
    assert block is not None
    midnight = int((datetime(2024, 3, 10) - datetime(1970, 1, 1)).total_seconds()) * 1000
    assert block.start.tolist() == [midnight + 6 * hour, midnight + 14 * hour]
    assert block.close.tolist() == [1.0, 2.0]


def test_archives_of_windows_and_of_odd_rows_are_read(root: Path) -> None:
    where = data_path(SPY, Resolution.DAILY, Tick.TRADE, DAY)
    path = root / where.archive
    path.parent.mkdir(parents=True)

    def closes(text: str) -> list[float] | None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(where.entry, text)
        block = LeanFolder(root).trades(SPY, Resolution.DAILY, DAY)
        return None if block is None else list(block.close)

    row = "20240701 00:00,5400000,5450000,5390000,5440000,10"
    assert closes(f"\r\n{row}\r\n\r\n") == [544.0]
    assert closes(f"{row},surplus") == [544.0]
    assert closes("") is None
    with pytest.raises(MalformedDataError, match=r"line 1: .*,5400000,5450000"):
        closes(row.removeprefix("20240701 00:00"))


# --- what an export chooses ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def market() -> ModelledMarket:
    return ModelledMarket.from_history("scenario:august-2024", seed=3)


def test_requests_choose_underlyings_and_chains(market: ModelledMarket) -> None:
    chosen = parse_selection(market, ["SPY", " spxw:5 ", "SPX::0.9-1"], date(2024, 8, 5))
    assert chosen.underlyings == [SPY, SPX]
    assert [(window.canonical.id.symbol, window.days, window.moneyness) for window in chosen.windows] == [
        ("SPXW", (5, 5), (0.9, 1.1)),
        ("SPX", (0, 30), (0.9, 1.0)),
    ]
    with pytest.raises(ExportRequestError, match="no symbol was named; accepted are TICKER"):
        parse_selection(market, [], date(2024, 8, 5))
    with pytest.raises(ExportRequestError, match="the market lists no contract of ES in the week to 1990-01-05"):
        parse_selection(market, ["ES:0-7"], date(1990, 1, 5))


def test_a_chain_without_an_underlying_price_is_chosen_by_days_alone() -> None:
    days = np.array([DAY.toordinal() + left for left in (0, 3, 9)])
    none = np.zeros(3)
    block = UniverseBlock(
        SPXW, DAY, None, days, np.array([10.0, 5500.0, 5500.0]), days * 0, *(none,) * 6, *(none,) * 6
    )  # fmt: skip
    window = parse_selection(ModelledMarket.from_history("scenario:half-day", seed=1), ["SPXW:0-5"], DAY).windows[0]
    assert window.rows(block, DAY) == [0, 1]


def test_demand_widens_and_becomes_a_selection() -> None:
    put = option_contract(SPXW, date(2024, 7, 5), 5500.0, OptionRight.PUT)
    demand = Demand()
    for symbol, resolution, day in (
        (SPX, Resolution.MINUTE, DAY),
        (put, Resolution.MINUTE, DAY),
        (put, Resolution.MINUTE, date(2024, 7, 9)),
        (put, Resolution.DAILY, DAY),
        (SPX, Resolution.HOUR, DAY),
        (SPY, Resolution.HOUR, DAY),
    ):
        demand.note(symbol, resolution, day)
    chosen = selection_of(demand)
    assert chosen.underlyings == [SPX, SPY]
    # From a week before the first question to the later of the last one and the expiry.
    assert chosen.contracts == {put: (date(2024, 6, 25), date(2024, 7, 9))}
    assert chosen.long == {(put, Resolution.DAILY), (SPX, Resolution.HOUR), (SPY, Resolution.HOUR)}


def test_only_what_had_an_answer_is_recorded(market: ModelledMarket) -> None:
    source, monday = RecordingSource(market), date(2024, 8, 5)
    put = option_contract(SPXW, date(2024, 8, 9), 5300.0, OptionRight.PUT)
    for day in (monday, date(2024, 8, 4)):  # nothing is there on the Sunday
        source.open_interest(put, Resolution.MINUTE, day)
        source.quotes(SPY, Resolution.MINUTE, day)
        source.universe(SPXW, day)
    assert source.demand.minutes == {put: (monday, monday), SPY: (monday, monday)}
    assert source.demand.universes == {SPXW: (monday, monday)}
    assert (source.margins(ES), source.map_file(SPY), source.map_resolver("SPY", "usa")) == (
        market.margins(ES), market.map_file(SPY), ("SPY", datetime(1998, 1, 2)))  # fmt: skip


def test_an_export_writes_only_the_days_and_histories_chosen(market: ModelledMarket, tmp_path: Path) -> None:
    day = date(2024, 8, 5)
    chain = market.universe(SPXW, day)
    assert chain is not None
    put = chain.symbols()[0]
    chosen = Selection(
        underlyings=[SPX], contracts={put: (day, day)}, universes={SPXW: (day, day)}, long={(SPX, Resolution.DAILY)}
    )
    told: list[tuple[date, float]] = []
    done = write_folder(market, day, day, tmp_path / "out", chosen, lambda *step: told.append(step))
    # Seven days of looking back and the day itself; six of the eight are trading days.
    assert (len(told), told[-1], done.days, done.contracts) == (8, (day, 1.0), 6, 1)
    folder = LeanFolder(tmp_path / "out")
    assert folder.universe(SPXW, day) is not None
    assert folder.universe(SPXW, day - timedelta(days=3)) is None
    assert folder.trades(SPX, Resolution.DAILY, day) is not None
    assert folder.trades(SPX, Resolution.HOUR, day) is None
    assert folder.trades(SPX, Resolution.MINUTE, day - timedelta(days=3)) is not None


def test_map_files_lie_beside_the_factor_files(market: ModelledMarket, tmp_path: Path) -> None:
    day = date(2024, 8, 5)
    write_folder(market, day, day, tmp_path / "out", Selection(underlyings=[SPY]))
    files = tmp_path / "out" / "equity" / "usa"
    names = {kind: {path.name for path in (files / kind).iterdir()} for kind in ("map_files", "factor_files")}
    assert names == {"map_files": {"spy.csv"}, "factor_files": {"spy.csv"}}  # LEAN logs an error without the first
    assert (files / "map_files" / "spy.csv").read_text() == "19980102,spy,P\n20501231,spy,P\n"
    # The model and its folder make the same identifier, which is LEAN's own.
    folder = LeanFolder(tmp_path / "out")
    for source in (market, folder):
        before = use_map_files(source.map_resolver)
        try:
            assert str(SecurityIdentifier.generate_equity("SPY", "usa")) == "SPY R735QTJ8XC9X"
        finally:
            use_map_files(before)


# --- what the modelled market has not --------------------------------------------------------------------------------


def test_the_model_answers_none_to_what_it_does_not_have(market: ModelledMarket) -> None:
    day = date(2024, 8, 5)
    gold = Symbol.create("XYZ", SecurityType.EQUITY, "usa")
    for symbol in (SPXW, gold):
        assert market.trades(symbol, Resolution.MINUTE, day) is None
        assert market.quotes(symbol, Resolution.MINUTE, day) is None
        assert market.open_interest(symbol, Resolution.MINUTE, day) is None
    assert market.trades(SPX, Resolution.SECOND, day) is None
    assert market.trades(gold, Resolution.DAILY, day) is None
    assert market.quotes(SPX, Resolution.MINUTE, day) is None
    assert market.quotes(SPY, Resolution.DAILY, day) is None
    assert market.quotes(SPY, Resolution.MINUTE, date(2024, 8, 4)) is None  # a Sunday
    assert market.universe(Symbol.create_canonical_option(gold), day) is None
    assert market.universe(Symbol.create("XY", SecurityType.FUTURE, "cme"), day) is None
    assert market.universe(SPXW, date(2024, 8, 4)) is None
    assert (market.map_file(SPX), market.map_file(gold)) == (None, None)
    assert (market.map_resolver("XYZ", "usa"), market.map_resolver("SPY", "cme")) == (None, None)
    put = option_contract(SPXW, date(2024, 8, 9), 5300.0, OptionRight.PUT)
    assert market.trades(put, Resolution.SECOND, day) is None
    assert market.open_interest(put, Resolution.SECOND, day) is None
    assert market.open_interest(put, Resolution.MINUTE, date(2024, 8, 12)) is None  # it expired on the 9th


def test_hours_are_gathered_from_the_minutes(market: ModelledMarket) -> None:
    day = date(2024, 8, 5)
    minutes, hours = market.trades(SPX, Resolution.MINUTE, day), market.trades(SPX, Resolution.HOUR, day)
    assert minutes is not None
    assert hours is not None
    # 10:00 to 11:00 New York is 14:00 to 15:00 UTC.
    start = int((datetime(2024, 8, 5, 14) - datetime(1970, 1, 1)).total_seconds()) * 1000
    inside = (minutes.start >= start) & (minutes.start < start + 3_600_000)
    row = int(np.flatnonzero(hours.start == start)[0])
    assert inside.sum() == 60
    assert (hours.open[row], hours.close[row]) == (minutes.open[inside][0], minutes.close[inside][-1])
    assert (hours.high[row], hours.low[row]) == (minutes.high[inside].max(), minutes.low[inside].min())


def test_a_halted_market_publishes_nothing() -> None:
    market = ModelledMarket.from_history("scenario:march-2020", seed=3)
    day = date(2020, 3, 16)  # a level-1 halt of 15 minutes right after the open
    halted = market.book.halted(day)
    assert halted is not None
    assert halted.sum() == 15
    future = next(iter(universe.symbols())) if (universe := market.universe(ES_CHAIN, day)) is not None else None
    assert future is not None
    chain = market.universe(SPXW, day)
    assert chain is not None
    near = int(np.argmin(np.abs(chain.strike - chain.underlying.close))) if chain.underlying is not None else 0
    for symbol in (SPX, SPY, future, chain.symbols([near])[0]):
        block = market.trades(symbol, Resolution.MINUTE, day)
        assert block is not None
        first = market.trades(SPX, Resolution.MINUTE, date(2020, 3, 13))
        assert first is not None
        opening = int(first.start[0]) + 3 * 86_400_000  # Friday to Monday, in one clock
        minute = (block.start - opening) // 60_000
        assert not halted[minute[(minute >= 0) & (minute < 390)]].any()  # a future trades at night too


def test_a_volatility_index_may_fall_silent() -> None:
    market = ModelledMarket.from_history("scenario:missing-vix", seed=3)
    (ticker, ordinal), (first, last) = next(iter(market.book.silent.items()))
    assert ticker == "VIX"
    day = date.fromordinal(ordinal)
    block, whole = market.trades(VIX, Resolution.MINUTE, day), market.trades(SPX, Resolution.MINUTE, day)
    assert whole is not None
    shown = 0 if block is None else len(block.start)
    assert shown == len(whole.start) - (min(last, len(whole.start) - 1) - first + 1)
    assert market.trades(VIX, Resolution.HOUR, day) is not None


def test_files_of_history_are_read_by_name_and_unit(tmp_path: Path) -> None:
    with pytest.raises(history.LayoutError, match="no such file; expected a CSV of daily prices"):
        history.read_csv(tmp_path / "spx.csv")
    rates = tmp_path / "dtb3.csv"
    rates.write_text("Date,Close\n2018-02-01,1.46\n\n2018-02-02,\n2018-02-05,1.4567891\n")
    bars = history.read_csv(rates)
    assert bars.role is history.Role.RATE
    assert bars.close.tolist() == [1.46, 1.456789]
    rates.write_text("Date,Close\n2018-02-03,1.46\n")
    with pytest.raises(history.LayoutError, match="no row with a price on a trading day"):
        history.read_csv(rates)


def test_series_that_share_no_days_are_refused() -> None:
    whole = history.from_arch()
    early = whole.index.between(date(2014, 1, 6).toordinal(), date(2014, 3, 3).toordinal())
    late = whole.volatility.between(date(2015, 1, 6).toordinal(), date(2015, 3, 3).toordinal())
    with pytest.raises(history.MissingDaysError, match="share no days; expected overlapping ranges"):
        history.join(early, late, {})


def test_a_misprint_is_moved_to_the_edge_of_the_possible() -> None:
    whole = history.from_arch()
    first, last = date(2014, 1, 6).toordinal(), date(2014, 3, 3).toordinal()
    index, fear = whole.index.between(first, last), whole.volatility.between(first, last)
    low = index.low.copy()
    low[5] = index.close[5] * 0.5
    mended = history.without_misprints(replace(index, low=low), fear)
    assert mended.low[5] > index.close[5] * 0.9
    assert any("1 days are misprints" in note for note in mended.notes)
    assert history.without_misprints(index, fear) is index


def test_a_hole_in_the_volatility_index_is_refused_and_a_stray_day_noted() -> None:
    whole = history.from_arch()
    fear, days = whole.volatility, whole.index.days
    lacking = replace(
        fear, days=fear.days[9:], open=fear.open[9:], high=fear.high[9:], low=fear.low[9:], close=fear.close[9:]
    )
    with pytest.raises(history.MissingDaysError, match="9 trading days missing, first 2014-01-"):
        lacking.on(fear.days)
    rows = np.delete(np.arange(len(fear.days)), 20)
    stray = replace(
        fear, days=fear.days[rows], open=fear.open[rows], high=fear.high[rows], low=fear.low[rows],
        close=fear.close[rows],
    ).on(fear.days)  # fmt: skip
    assert np.isnan(stray.close[20])
    assert stray.notes[-1].endswith(
        f"no value on {date.fromordinal(int(fear.days[20]))}, nothing is published that day"
    )
    assert len(days) == len(whole.volatility.on(days).close)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(history.LayoutError, match="arch: package not installed, so no data set 'bonds'"):
        history.arch_series("bonds")

"""Names, symbols, trading hours and the reader of LEAN data folders."""

from __future__ import annotations

import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.data import side_files as auxiliary
from simulation.data.lean_folder import LeanFolder, utc_of_local
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import SymbolPropertiesDatabase, index_option_tick
from simulation.export.export_text import hours_text
from simulation.lean.clock import zone_named
from simulation.lean.contract_months import Futures, expiry_of_contract_month
from simulation.lean.enums import Market, OptionRight, OptionStyle, OrderType, Resolution, SecurityType
from simulation.lean.errors import MalformedDataError
from simulation.lean.identifiers import SecurityIdentifier
from simulation.lean.names import Named
from simulation.lean.symbols import Symbol, SymbolCache, contract_month, option_contract
from simulation.market.definitions import market_hours, symbol_properties

SPX = Symbol.create("SPX", SecurityType.INDEX, Market.USA)
SPXW = Symbol.create_canonical_option(SPX, "SPXW", Market.USA)
ES = Symbol.create_future("ES", Market.CME, datetime(2024, 9, 20))
MINUTE = 60_000
# 09:30 New York in summer.
OPEN_UTC = int((datetime(2024, 7, 2, 13, 30) - datetime(1970, 1, 1)).total_seconds() * 1000)


def put(strike: float, expiry: date = date(2024, 7, 12)) -> Symbol:
    return option_contract(SPXW, expiry, strike, OptionRight.PUT)


def write_zip(path: Path, entries: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name, text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with nothing but LEAN's two databases, small."""
    hours = tmp_path / "market-hours/market-hours-database.json"
    hours.parent.mkdir()
    hours.write_text(hours_text(market_hours()))
    properties = tmp_path / "symbol-properties/symbol-properties-database.csv"
    properties.parent.mkdir()
    properties.write_text("\n".join(symbol_properties().lines()) + "\n")
    return tmp_path


class Animal(Named):
    """A stand-in for an engine class."""

    def __init__(self) -> None:
        self._sound = "none"

    @property
    def loud_sound(self) -> str:
        return self._sound

    @loud_sound.setter
    def loud_sound(self, value: str) -> None:
        self._sound = value

    def on_data(self) -> str:
        return "base"


def test_both_spellings_read_and_write_one_member() -> None:
    animal = Animal()
    animal.LoudSound = "moo"  # type: ignore[attr-defined]  # made by Named, which mypy cannot see
    assert animal.loud_sound == "moo"
    assert animal.LoudSound == "moo"


def test_an_override_in_pascal_case_overrides() -> None:
    class Cow(Animal):
        def OnData(self) -> str:
            return "cow"

    assert Cow().on_data() == "cow"


def test_an_unknown_member_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"the nearest known name is 'loud_sound'.*real LEAN engine may have it"):
        _ = Animal().loud_sund
    assert not hasattr(Animal(), "nothing_like_it")


def test_an_error_inside_a_property_is_not_taken_for_an_unknown_member() -> None:
    class Broken(Named):
        @property
        def value(self) -> int:
            return {}.missing  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(AttributeError, match="'dict' object has no attribute 'missing'"):
        _ = Broken().value


def test_enums_have_lean_values_names_and_spellings() -> None:
    assert (str(SecurityType.INDEX_OPTION), int(SecurityType.INDEX_OPTION)) == ("INDEX_OPTION", 10)
    assert OrderType.ComboLegLimit is OrderType.COMBO_LEG_LIMIT
    assert f"{OptionRight.CALL}" == "CALL"
    assert Futures.Indices.SP500EMini == Futures.Indices.SP_500_E_MINI == "ES"


# Identifiers of real LEAN runs: base 36 of right, days since 1899-12-30, style, strike, scale, market, security type.
@pytest.mark.parametrize(
    ("symbol", "identifier", "value"),
    [
        (put(5350), "SPXW 32J6GDPRWXHSE|SPX 31", "SPXW  240712P05350000"),
        (put(5110), "SPXW 32J6GDPNY1GLQ|SPX 31", "SPXW  240712P05110000"),
        (SPX, "SPX 31", "SPX"),
    ],
)
def test_identifiers_are_leans(symbol: Symbol, identifier: str, value: str) -> None:
    assert str(symbol.id) == identifier
    assert symbol.value == value
    assert Symbol(SecurityIdentifier.parse(identifier), "SPX") is symbol


def test_every_way_to_name_a_contract_gives_the_same_object() -> None:
    by_parts = Symbol.create_option(
        SPX, "SPXW", Market.USA, OptionStyle.EUROPEAN, OptionRight.PUT, 5350, datetime(2024, 7, 12)
    )
    assert by_parts is put(5350)
    assert by_parts.canonical is SPXW
    assert (SPXW.value, SPXW.is_canonical(), by_parts.is_canonical()) == ("?SPXW", True, False)
    assert {by_parts: 1}[put(5350)] == 1


def test_a_ticker_is_a_symbol_once_it_is_registered() -> None:
    SymbolCache.clear()
    assert str(SPX) == "SPX 31"
    SymbolCache.set("SPX", SPX)
    assert str(SPX) == "SPX"
    assert SPX == "SPX"
    assert put(5350) != "SPX"
    SymbolCache.clear()


def test_futures_and_their_options_carry_the_contract_month() -> None:
    crude = Symbol.create_future("CL", Market.NYMEX, datetime(2024, 7, 22))  # the August contract expires in July
    gold = Symbol.create_canonical_option(Symbol.create_future("GC", Market.COMEX, datetime(2024, 8, 28)))
    option = Symbol.create_option(ES, Market.CME, OptionStyle.AMERICAN, OptionRight.PUT, 5000, datetime(2024, 8, 16))
    assert (ES.value, crude.value, gold.value) == ("ES20U24", "CL22Q24", "?OG")
    assert contract_month(crude) == date(2024, 8, 1)
    assert (option.value, option.underlying) == ("ES20U24  240816P05000000", ES)


# September 2024: third Friday the 20th; third Wednesday the 18th, two business days before it the 16th; the last eight
# business days are 30 27 26 25 24 23 20 19. Crude for August: 25 July is a Thursday,
# three business days before it is the 22nd.
@pytest.mark.parametrize(
    ("ticker", "month", "expiry"),
    [
        ("ES", date(2024, 9, 1), date(2024, 9, 20)),
        ("6E", date(2024, 9, 1), date(2024, 9, 16)),
        ("ZB", date(2024, 9, 1), date(2024, 9, 19)),
        ("CL", date(2024, 8, 1), date(2024, 7, 22)),
        ("GC", date(2024, 8, 1), date(2024, 8, 28)),
        ("ES", date(2024, 7, 1), date(2024, 9, 20)),
    ],
)
def test_expiry_of_a_contract_month(ticker: str, month: date, expiry: date) -> None:
    assert expiry_of_contract_month(ticker, month, frozenset()) == expiry


def test_a_holiday_moves_an_expiry_and_an_unknown_future_is_refused() -> None:
    assert expiry_of_contract_month("ES", date(2025, 6, 1), frozenset({date(2025, 6, 20)})) == date(2025, 6, 19)
    with pytest.raises(ValueError, match="no expiry rule for the future 'XX'"):
        expiry_of_contract_month("XX", date(2025, 6, 1), frozenset())


@given(strike=st.integers(1, 475_711), scale=st.integers(-2, 2), right=st.sampled_from(OptionRight))
def test_a_strike_survives_its_identifier(strike: int, scale: int, right: OptionRight) -> None:
    value = strike * 10**scale if scale >= 0 else strike / 10**-scale
    contract = option_contract(SPXW, date(2024, 7, 12), value, right)
    again = SecurityIdentifier.parse(str(contract.id))
    assert again.strike_price == value
    assert again.option_right is right
    assert again.date == datetime(2024, 7, 12)


def test_hours_of_an_index_on_a_half_day() -> None:
    hours = market_hours().get_exchange_hours(Market.USA, SPX, SecurityType.INDEX)
    # 2024-07-03 closes at noon Chicago (13:00 New York), the 4th is a holiday.
    assert hours.get_next_market_close(datetime(2024, 7, 3, 9, 0), False) == datetime(2024, 7, 3, 12, 0)
    assert hours.get_next_market_open(datetime(2024, 7, 3, 16, 30), False) == datetime(2024, 7, 5, 8, 30)
    assert not hours.is_date_open(datetime(2024, 7, 4))
    assert hours.sessions_utc_ms(date(2024, 7, 3)) == [(1_720_013_400_000, 1_720_026_000_000)]  # 13:30 to 17:00 UTC
    assert hours.get_previous_trading_day(datetime(2024, 7, 5)) == datetime(2024, 7, 3)


def test_hours_of_a_future_run_through_the_night() -> None:
    hours = market_hours().get_exchange_hours(Market.CME, ES, SecurityType.FUTURE)
    sunday = datetime(2024, 7, 7, 12, 0)
    assert hours.get_next_market_open(sunday, True) == datetime(2024, 7, 7, 18, 0)
    # The night goes on past midnight: with extended hours the next close is Monday 17:00, without it opens Monday 9:30.
    assert hours.get_next_market_close(sunday, True) == datetime(2024, 7, 8, 17, 0)
    assert hours.get_next_market_open(sunday, False) == datetime(2024, 7, 8, 9, 30)
    assert hours.is_open(datetime(2024, 7, 8, 3, 0), True)
    assert not hours.is_open(datetime(2024, 7, 8, 3, 0), False)
    assert hours.is_date_open(datetime(2024, 7, 7), True)
    assert not hours.is_date_open(datetime(2024, 7, 7))


def test_options_inherit_the_days_of_their_underlying() -> None:
    raw: dict[str, dict[str, object]] = {
        "Index-usa-[*]": {
            "dataTimeZone": "America/Chicago",
            "exchangeTimeZone": "America/Chicago",
            "monday": [{"start": "08:30:00", "end": "15:15:00", "state": "market"}],
            "holidays": ["7/1/2024"],
            "earlyCloses": {"7/8/2024": "12:00:00"},
        },
        "IndexOption-usa-SPX": {
            "dataTimeZone": "America/New_York",
            "exchangeTimeZone": "America/Chicago",
            "monday": [{"start": "08:30:00", "end": "15:15:00", "state": "market"}],
        },
    }
    hours = MarketHoursDatabase(raw).get_exchange_hours(Market.USA, "SPX", SecurityType.INDEX_OPTION)
    assert not hours.is_date_open(datetime(2024, 7, 1))
    assert hours.get_next_market_close(datetime(2024, 7, 8, 9, 0), False) == datetime(2024, 7, 8, 12, 0)


def test_the_calendar_agrees_with_pandas_market_calendars() -> None:
    import pandas_market_calendars

    hours = market_hours().get_exchange_hours(Market.USA, "SPY", SecurityType.EQUITY)
    calendar = pandas_market_calendars.get_calendar("NYSE")
    theirs = {moment.date() for moment in calendar.valid_days("2005-01-01", "2030-12-31")}
    days = [date(2005, 1, 1) + timedelta(days=number) for number in range((date(2031, 1, 1) - date(2005, 1, 1)).days)]
    assert [day for day in days if hours.is_date_open(day) != (day in theirs)] == []


def test_ticks_of_index_options_follow_the_price() -> None:
    assert [index_option_tick("SPXW", price) for price in (None, 2.99, 3.0)] == [0.05, 0.05, 0.1]
    assert [index_option_tick("VIX", price) for price in (2.99, 3.0)] == [0.01, 0.05]


def test_an_option_on_a_future_takes_the_futures_properties() -> None:
    option = Symbol.create_canonical_option(ES)
    found = symbol_properties().get_symbol_properties(Market.CME, option, SecurityType.FUTURE_OPTION, "USD")
    assert (found.contract_multiplier, found.minimum_price_variation) == (50.0, 0.25)


def test_a_malformed_database_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "properties.csv"
    file.write_text("header\n\nusa,[*],equity,,USD,1,0.01,1\nusa,X,equity,,USD,one,0.01,1\n")
    database = SymbolPropertiesDatabase.from_file(file)
    assert database.get_symbol_properties("usa", SPX, SecurityType.EQUITY, "USD").minimum_price_variation == 0.01
    with pytest.raises(MalformedDataError, match=r"properties\.csv, line 4: .*'one'"):
        database.get_symbol_properties(
            "usa", Symbol.create("X", SecurityType.EQUITY, "usa"), SecurityType.EQUITY, "USD"
        )
    file.write_text("header\nusa,X,equity\n")
    with pytest.raises(MalformedDataError, match=r"properties\.csv, line 2: 3 cells, at least 8 are needed"):
        SymbolPropertiesDatabase.from_file(file)


def test_minute_quotes_of_an_option(root: Path) -> None:
    # 34200000 ms is 09:30 New York; prices are times 10,000; the second row has no bid.
    text = "34200000,984000,984000,946000,955000,19,1011000,1042000,973000,981000,19\n34260000,,,,,,500,500,500,500,7\n"
    entry = "20240702_spxw_minute_quote_european_put_53500000_20240712.csv"
    write_zip(root / "indexoption/usa/minute/spxw/20240702_quote_european.zip", {entry: text})
    block = LeanFolder(root).quotes(put(5350), Resolution.MINUTE, date(2024, 7, 2))
    assert block is not None
    assert block.start.tolist() == [OPEN_UTC, OPEN_UTC + MINUTE]
    assert block.end.tolist() == [OPEN_UTC + MINUTE, OPEN_UTC + 2 * MINUTE]
    assert [block.bid_low[0], block.bid_close[0], block.ask_high[0], block.ask_size[0]] == [94.6, 95.5, 104.2, 19.0]
    assert np.isnan(block.bid_close[1])
    assert block.ask_close[1] == 0.05


def test_index_minutes_are_stamped_in_chicago_and_unscaled(root: Path) -> None:
    write_zip(
        root / "index/usa/minute/spx/20240702_trade.zip",
        {"20240702_spx_minute_trade.csv": "30600000,5489.33,5489.81,5489.28,5489.76,60\n"},
    )
    block = LeanFolder(root).trades(SPX, Resolution.MINUTE, date(2024, 7, 2))
    assert block is not None
    assert block.start.tolist() == [OPEN_UTC]  # 08:30 Chicago
    assert (block.high[0], block.volume[0]) == (5489.81, 60.0)


def test_daily_bars_span_a_local_day_across_the_clock_change(root: Path) -> None:
    spy = Symbol.create("SPY", SecurityType.EQUITY, Market.USA)
    rows = "20240308 00:00,5140000,5140000,5110000,5115000,1000\n20240311 00:00,5110000,5120000,5100000,5115000,1000\n"
    write_zip(root / "equity/usa/daily/spy.zip", {"spy.csv": rows})
    block = LeanFolder(root).trades(spy, Resolution.DAILY, date(2024, 3, 11))
    assert block is not None
    # Friday's midnight is 05:00 UTC (winter), Monday's 04:00 UTC (summer); each ends at the next local midnight.
    starts = [datetime(2024, 3, 8, 5), datetime(2024, 3, 11, 4)]
    assert block.start.tolist() == [int((start - datetime(1970, 1, 1)).total_seconds()) * 1000 for start in starts]
    assert (block.end - block.start).tolist() == [24 * 60 * MINUTE] * 2
    assert block.close.tolist() == [511.5, 511.5]
    assert LeanFolder(root).quotes(spy, Resolution.DAILY, date(2024, 3, 11)) is None


def test_what_is_missing_is_none(root: Path) -> None:
    folder = LeanFolder(root)
    assert folder.quotes(put(5350), Resolution.MINUTE, date(2024, 7, 2)) is None
    assert folder.universe(SPXW, date(2024, 7, 2)) is None
    assert folder.margins(ES) is None
    assert folder.interest_rates() is None
    assert folder.map_resolver("SPY", Market.USA) is None
    with pytest.raises(FileNotFoundError, match=r"data folder '.*nowhere' does not exist"):
        LeanFolder(root / "nowhere")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("34200000,1,2,3,4,5\n34260000,1,2,x,4,5\n", 2, "could not convert string to float: 'x'"),
        ("34200000,1,2,3,4,5\n34260000,1,2,3\n", 2, "4 cells, 6 are needed"),
    ],
)
def test_a_malformed_line_is_named(root: Path, text: str, line: int, problem: str) -> None:
    name = "20240702_spx_minute_trade.csv"
    write_zip(root / "index/usa/minute/spx/20240702_trade.zip", {name: text})
    with pytest.raises(MalformedDataError, match=rf"20240702_trade\.zip#{name}, line {line}: {problem}"):
        LeanFolder(root).trades(SPX, Resolution.MINUTE, date(2024, 7, 2))


def test_a_broken_archive_is_named(root: Path) -> None:
    path = root / "index/usa/minute/spx/20240702_trade.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a zip")
    with pytest.raises(MalformedDataError, match=r"20240702_trade\.zip.*no readable zip archive"):
        LeanFolder(root).trades(SPX, Resolution.MINUTE, date(2024, 7, 2))


def test_a_busy_archive_read_whole_gives_the_same_as_one_by_one(root: Path) -> None:
    day = date(2024, 7, 2)
    strikes = range(5000, 5400, 10)
    entries = {
        f"20240702_spxw_minute_trade_european_put_{strike}0000_20240712.csv": "".join(
            f"{34_200_000 + minute * MINUTE},{strike},{strike},{strike},{strike},{minute}\n"
            for minute in range(strike % 7)
        )
        for strike in strikes
    }
    write_zip(root / "indexoption/usa/minute/spxw/20240702_trade_european.zip", entries)
    together = LeanFolder(root)
    for strike in strikes:  # after the first few the archive is decoded whole
        block = together.trades(put(strike), Resolution.MINUTE, day)
        alone = LeanFolder(root).trades(put(strike), Resolution.MINUTE, day)
        assert (block is None) == (alone is None) == (strike % 7 == 0)
        if block is not None and alone is not None:
            assert block.volume.tolist() == alone.volume.tolist() == list(range(strike % 7))
            assert block.close.tolist() == alone.close.tolist() == [strike / 10_000] * (strike % 7)


def test_an_option_universe(root: Path) -> None:
    path = root / "indexoption/usa/universes/spxw/20240702.csv"
    path.parent.mkdir(parents=True)
    path.write_text(
        "#expiry,strike,right,open,high,low,close,volume,open_interest,implied_volatility,delta,gamma,vega,theta,rho\n"
        ",,,5460.1,5510.2,5455.3,5509.0,0,,,,,,,\n"
        "20240712,5350,P,5,6,4,5.5,10,20,0.15,-0.1,0.001,1.5,-0.5,-0.02\n"
        "20240719,5600,C,,,,2.5,,,,,,,,\n"
    )
    block = LeanFolder(root).universe(SPXW, date(2024, 7, 2))
    assert block is not None
    assert block.underlying is not None
    assert block.underlying.close == 5509.0
    assert block.symbol(0) is put(5350)
    assert block.symbols()[1].value == "SPXW  240719C05600000"
    assert (block.delta[0], block.theta[0], block.open[1], block.close[1]) == (-0.1, -0.5, 0.0, 2.5)


def test_a_future_universe_dates_its_contracts(root: Path) -> None:
    path = root / "future/cme/universes/es/20240702.csv"
    path.parent.mkdir(parents=True)
    path.write_text("#expiry,open,high,low,close,volume,open_interest\n202409,5500,5510,5490,5505,100,200\n")
    block = LeanFolder(root).universe(Symbol.create("ES", SecurityType.FUTURE, Market.CME), date(2024, 7, 2))
    assert block is not None
    assert block.symbol(0) == ES
    # LEAN's function for ES adds 13:30 to the date; a contract made by hand keeps the midnight it was made with.
    assert (block.symbol(0).id.date, ES.id.date) == (datetime(2024, 9, 20, 13, 30), datetime(2024, 9, 20))
    assert {ES: 1}[block.symbol(0)] == 1
    assert block.open_interest[0] == 200.0


def test_a_malformed_universe_line_is_named(root: Path) -> None:
    path = root / "indexoption/usa/universes/spxw/20240702.csv"
    path.parent.mkdir(parents=True)
    path.write_text("#expiry,strike,right,open,high,low,close\n20240712,5350,P,5,6,4,five\n")
    with pytest.raises(MalformedDataError, match=r"20240702\.csv, line 2: .*'five'"):
        LeanFolder(root).universe(SPXW, date(2024, 7, 2))


def test_the_files_beside_the_prices(root: Path) -> None:
    for name, text in {
        "equity/usa/map_files/spy.csv": "19980102,spy,P\n20501231,spy,P\n",
        "equity/usa/factor_files/spy.csv": "20240320,0.995,1,511\n20501231,1,1,0\n",
        "future/cme/margins/ES.csv": "date,initial,maintenance\n20200101,6000,5500\n",
        "alternative/interest-rate/usa/interest-rate.csv": "DATE,PCREDIT8\n2023-07-27,5.5\n2024-09-19,5\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    folder = LeanFolder(root)
    spy = Symbol.create("SPY", SecurityType.EQUITY, Market.USA)
    rates, margins, factors = folder.interest_rates(), folder.margins(ES), folder.factor_file(spy)
    assert folder.map_resolver("SPY", Market.USA) == ("SPY", datetime(1998, 1, 2))
    assert rates is not None
    assert [rates.at(date(2020, 1, 1)), rates.at(date(2024, 9, 18)), rates.at(date(2024, 9, 19))] == [
        0.055,
        0.055,
        0.05,
    ]
    assert margins is not None
    assert (margins[0].initial, margins[0].maintenance_intraday) == (6000.0, 2200.0)
    assert factors is not None
    assert factors[0].price_factor == 0.995


@given(st.lists(st.integers(0, 525_599), min_size=1, max_size=40, unique=True))
def test_columns_of_local_times_convert_as_single_ones_do(minutes: list[int]) -> None:
    zone = zone_named("America/New_York")
    midnight = datetime(2024, 1, 1)
    local = np.array(sorted(minutes), dtype=np.int64) * MINUTE
    base = int((midnight - datetime(1970, 1, 1)).total_seconds() * 1000)
    expected = [zone.utc_ms(midnight + timedelta(milliseconds=moment)) for moment in local.tolist()]
    assert utc_of_local(zone, local + base).tolist() == expected


def test_intraday_margins_are_a_share_of_the_nights_where_the_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "ES.csv"
    path.write_text("date,initial,maintenance\n20200101,6000,5500\n20210101,6000,5500,3000,\n20220101,8,7,6,5\n")
    rows = auxiliary.read_margins(path)
    assert [(row.initial_intraday, row.maintenance_intraday) for row in rows] == [
        (2400.0, 2200.0),  # four tenths
        (3000.0, 2200.0),
        (6.0, 5.0),
    ]


def test_the_files_of_a_future(tmp_path: Path) -> None:
    root = tmp_path / "future" / "cme"
    for name in ("map_files", "factor_files"):
        (root / name).mkdir(parents=True)
    (root / "map_files" / "es.csv").write_text("18991230,es,CME\n20240708,es abc,CME,0\n")
    line = '{"Date":"2024-07-08T13:30:00","BackwardsRatioScale":[0.99],"DataMappingMode":%s}\n'
    (root / "factor_files" / "es.csv").write_text(line % 0 + "\n" + line % 9 + line % "null")
    folder = LeanFolder(tmp_path)
    root_symbol = Symbol.create("ES", SecurityType.FUTURE, Market.CME)
    assert [row.mode for row in folder.map_file(root_symbol) or ()] == [None, 0]
    factors = folder.contract_factors(root_symbol)
    # Mode 9 is none of LEAN's; what a line does not name is empty.
    assert [(row.day, row.mode, row.backwards_ratio, row.forward_panama) for row in factors] == [
        (date(2024, 7, 8), 0, (0.99,), ()),
        (date(2024, 7, 8), None, (0.99,), ()),
    ]
    assert folder.contract_factors(Symbol.create("CL", SecurityType.FUTURE, "nymex")) == ()


@pytest.mark.parametrize("line", ["{", '{"DataMappingMode":0}', '{"Date":"2024-07-08","BackwardsRatioScale":[null]}'])
def test_a_factor_file_that_cannot_be_read_says_where(line: str, tmp_path: Path) -> None:
    path = tmp_path / "es.csv"
    path.write_text("\n" + line)
    with pytest.raises(MalformedDataError, match="2"):
        auxiliary.read_contract_factors(path)


@pytest.mark.parametrize(
    ("ticker", "market", "month", "expiry"),
    [
        ("ES", "cme", date(2024, 9, 1), date(2024, 9, 20)),  # third Friday
        ("ES", "cme", date(2024, 7, 1), date(2024, 9, 20)),  # a quarter's contract
        ("CL", "nymex", date(2024, 8, 1), date(2024, 7, 22)),  # three business days before July 25th
        ("CL", "nymex", date(2024, 6, 1), date(2024, 5, 21)),  # four before Saturday, May 25th
        ("GC", "comex", date(2024, 8, 1), date(2024, 8, 28)),  # the third last business day
        ("ZB", "cbot", date(2024, 9, 1), date(2024, 9, 19)),  # seven business days before September 30th
        ("6E", "cme", date(2024, 9, 1), date(2024, 9, 16)),  # two business days before Wednesday the 18th
    ],
)
def test_the_last_trading_day_of_a_contract_month(ticker: str, market: str, month: date, expiry: date) -> None:
    holidays = auxiliary.expiry_holidays(market_hours(), Symbol.create(ticker, SecurityType.FUTURE, market))
    assert expiry_of_contract_month(ticker, month, holidays) == expiry

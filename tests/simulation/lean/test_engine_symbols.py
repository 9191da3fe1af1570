"""Symbols, identifiers, both spellings, hours and properties: every way to ask, and what is said to a wrong one."""

# Private: _hidden: that a private name has no other spelling is what is tried.

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from simulation.data.market_hours import MarketHoursDatabase, time_of_day
from simulation.data.symbol_properties import SymbolProperties, SymbolPropertiesDatabase, index_option_tick
from simulation.lean.enums import (
    DayOfWeek,
    Market,
    MarketHoursState,
    OptionRight,
    OptionStyle,
    OrderType,
    Resolution,
    SecurityType,
)
from simulation.lean.errors import MalformedDataError
from simulation.lean.exchange_hours import LocalMarketHours, MarketHoursSegment, SecurityExchangeHours
from simulation.lean.identifiers import SecurityIdentifier, pack_strike, unpack_strike, use_map_files
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol, SymbolCache, option_contract, symbol_of

SPX = Symbol.create("SPX", SecurityType.INDEX, Market.USA)
SPY = Symbol.create("SPY", SecurityType.EQUITY, Market.USA)
SPXW = Symbol.create_canonical_option(SPX, "SPXW")
ES = Symbol.create_future("ES", Market.CME, datetime(2024, 9, 20))
EXPIRY = datetime(2024, 7, 12)
PUT = option_contract(SPXW, EXPIRY.date(), 5350.0, OptionRight.PUT)


@pytest.fixture(autouse=True)
def own_tickers() -> Iterator[None]:
    """No ticker and no map file outlives a test."""
    SymbolCache.clear()
    yield
    SymbolCache.clear()
    use_map_files(None)


# --- symbols ---------------------------------------------------------------------------------------------------------


def test_create_makes_each_kind() -> None:
    assert Symbol.create("SPY", SecurityType.OPTION, "usa") is Symbol.create_canonical_option(SPY)
    assert Symbol.create("SPX", SecurityType.INDEX_OPTION, "usa") is Symbol.create_canonical_option(SPX)
    assert Symbol.create("rate", SecurityType.BASE, "usa", None, SimpleNamespace).id.symbol == "RATE.SimpleNamespace"
    assert Symbol.create("rate", SecurityType.BASE, "usa").value == "RATE"
    with pytest.raises(ValueError, match="cannot make FUTURE_OPTION; use create_option on the future's symbol"):
        Symbol.create("ES", SecurityType.FUTURE_OPTION, "cme")


def test_every_overload_of_create_option_names_the_same_contract() -> None:
    terms = ("usa", OptionStyle.EUROPEAN, OptionRight.PUT, 5350.0, EXPIRY)
    assert Symbol.create_option(SPX, "SPXW", *terms) is PUT
    assert Symbol.create_option(SPX, target_option="SPXW", market="usa", style=OptionStyle.EUROPEAN,
                                right=OptionRight.PUT, strike=5350, expiry=EXPIRY) is PUT  # fmt: skip
    assert Symbol.create_option(PUT.id, "spxw  240712P05350000", SPX) is PUT
    assert Symbol.create_option(PUT.id, PUT.value) is PUT
    assert Symbol.create_option(sid=PUT.id, value=PUT.value) is PUT
    by_ticker: Any = Symbol.create_option
    spy_call = by_ticker(underlying="spy", market="usa", style=OptionStyle.AMERICAN, right=OptionRight.CALL,
                         strike=550.5, expiry=EXPIRY)  # fmt: skip
    assert spy_call.underlying is SPY
    assert (spy_call.value, spy_call.id.strike_price) == ("SPY   240712C00550500", 550.5)
    with pytest.raises(TypeError, match="argument 'strikes' is not accepted here; accepted are underlying_symbol"):
        by_ticker(SPX, "usa", strikes=1)
    with pytest.raises(TypeError, match=r"create_option takes at most 8 arguments .*, 10 were given"):
        by_ticker(SPX, *terms, None, True, 1, 2)


def test_a_word_after_the_underlying_is_a_market_or_a_root() -> None:
    assert Symbol.create_canonical_option(SPX, "usa").id.symbol == "SPX"
    assert Symbol.create_canonical_option(SPX, "SPXW").id.symbol == "SPXW"
    assert Symbol.create_canonical_option(SPX, "SPXW", "usa", "weekly") == SPXW


def test_a_chain_and_its_contracts_know_each_other() -> None:
    assert ES.canonical.value == "/ES"
    assert ES.canonical is ES.canonical.canonical
    assert (ES.has_canonical(), SPXW.has_canonical(), PUT.has_canonical(), SPX.has_canonical()) == (
        True, False, True, False)  # fmt: skip
    with pytest.raises(ValueError, match="symbol 'SPX' is no option and no future"):
        _ = SPX.canonical
    on_future = Symbol.create_option(ES, "cme", OptionStyle.AMERICAN, OptionRight.CALL, 5500.0, datetime(2024, 9, 20))
    assert on_future.has_underlying_symbol(ES)
    assert not on_future.has_underlying_symbol(SPX)
    assert Symbol.get_option_type_from_underlying(ES) is SecurityType.FUTURE_OPTION
    assert Symbol.get_option_type_from_underlying(SecurityType.INDEX) is SecurityType.INDEX_OPTION
    assert Symbol.get_underlying_from_option_type(SecurityType.INDEX_OPTION) is SecurityType.INDEX
    with pytest.raises(ValueError, match="EQUITY is no option type; accepted are"):
        Symbol.get_underlying_from_option_type(SecurityType.EQUITY)
    with pytest.raises(ValueError, match="no options on BASE; accepted are EQUITY, FUTURE and INDEX"):
        Symbol.create_canonical_option(Symbol.create("rate", SecurityType.BASE, "usa"))


def test_a_root_of_six_letters_gets_leans_two_blanks() -> None:
    # SymbolRepresentation.GenerateOptionTickerOSI pads to six and adds two blanks to a longer root.
    long = Symbol.create("GOOGLE", SecurityType.EQUITY, "usa")
    contract = Symbol.create_option(long, "usa", OptionStyle.AMERICAN, OptionRight.CALL, 100.0, EXPIRY)
    assert contract.value == "GOOGLE  240712C00100000"
    assert Symbol.get_alias(contract.id, long) == contract.value
    assert Symbol.get_alias(SPX.id) is None


def test_symbols_compare_by_value_and_equal_what_names_them() -> None:
    assert SPX.compare_to(SPY) == -1
    assert SPY.compare_to("spx") == 1
    assert SPX.compare_to("spx") == 0
    assert SPX < SPY <= SPY
    assert SPY > SPX >= SPX
    assert SPX.id == SPX
    assert SPX.equals(SimpleNamespace(symbol=SPX))
    assert SimpleNamespace(symbol=SPY) != SPX
    assert SPX != 5
    assert SPX.get_hash_code() == hash(SPX)
    assert SPX.to_string() == repr(SPX) == "SPX 31"
    assert copy.copy(SPX) is copy.deepcopy(SPX) is SPX
    renamed = Symbol.create("SPX", SecurityType.INDEX, "usa", "fivehundred")
    assert renamed.value == "FIVEHUNDRED"
    assert renamed == SPX
    assert {SPX: 1}[renamed] == 1
    assert Symbol(SPX, "any") is SPX  # type: ignore[arg-type]  # what LEAN's implicit conversions allow


def test_a_text_is_a_ticker_an_identifier_or_an_error() -> None:
    SymbolCache.set("spx", SPX)
    assert symbol_of("SPX") is symbol_of(SimpleNamespace(symbol=SPX)) is SPX
    assert symbol_of(str(PUT.id)) is PUT
    assert SymbolCache.find("not an identifier") is None
    with pytest.raises(ValueError, match="ticker 'TLT' names no added security; added are SPX"):
        symbol_of("TLT")
    with pytest.raises(TypeError, match="5 names no security; accepted are a Symbol, a ticker"):
        symbol_of(5)


# --- identifiers -----------------------------------------------------------------------------------------------------


def test_strikes_pack_into_six_digits_and_a_scale() -> None:
    assert (pack_strike(0.0), pack_strike(5350.0), pack_strike(0.5)) == ((0, 0), (535, 7), (5, 5))
    # A negative strike (a future under zero) carries its sign in bit 19: 25 | 524288.
    assert pack_strike(-2.5) == (524_288 + 25, 5)
    assert unpack_strike(524_288 + 25, 5) == -2.5
    with pytest.raises(ValueError, match=r"strike 5350\.125: LEAN's identifier holds at most 475711"):
        pack_strike(5350.125)


def test_identifiers_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="market 'mars' is not known; known are"):
        SecurityIdentifier.generate_index("SPX", "mars")
    with pytest.raises(ValueError, match="has no underlying; check has_underlying first"):
        _ = SPX.id.underlying
    with pytest.raises(ValueError, match="'SPX' is no security identifier; accepted is 'TICKER BASE36'"):
        SecurityIdentifier.parse("SPX")
    with pytest.raises(ValueError, match="map_file_provider and mapping_resolve_date are not implemented"):
        SecurityIdentifier.generate_equity("SPY", "usa", True, object())
    assert SPX.id != "SPX 31"
    assert SPX.id < SPY.id
    assert SecurityIdentifier.parse(str(PUT.id)) == PUT.id


def test_an_equity_carries_its_first_ticker_and_date() -> None:
    # GOOG began as GOOCV on 27 March 2014, by LEAN's map file; an unknown ticker is its own first one.
    use_map_files(lambda ticker, market: ("goocv", datetime(2014, 3, 27)) if ticker == "GOOG" else None)
    mapped = SecurityIdentifier.generate_equity("goog", "usa")
    assert (mapped.symbol, mapped.date) == ("GOOCV", datetime(2014, 3, 27))
    assert SecurityIdentifier.generate_equity("goog", "usa", False).symbol == "GOOG"
    assert SecurityIdentifier.generate_equity("tlt", "usa").symbol == "TLT"


# --- both spellings --------------------------------------------------------------------------------------------------


class Parts(Named):
    """Has slots and an override in PascalCase only."""

    __slots__ = ("count",)

    @staticmethod
    def first_part() -> str:
        return "first"


def test_static_members_and_enums_answer_to_both_spellings() -> None:
    assert Parts.FirstPart() == "first"
    assert Resolution.Minute is Resolution.MINUTE
    assert OrderType.StopLimit is OrderType.STOP_LIMIT
    assert SecurityType.INDEX_OPTION.to_string() == "IndexOption"
    assert (f"{Resolution.DAILY:>6}", f"{Resolution.DAILY:d}", repr(Resolution.DAILY)) == (
        " DAILY", str(int(Resolution.DAILY)), "Resolution.DAILY")  # fmt: skip
    with pytest.raises(
        AttributeError, match=r"'Resolution' has no member 'Minut' .*the nearest known name is 'MINUTE'"
    ):
        _ = Resolution.Minut
    with pytest.raises(AttributeError, match="'Parts' has no member 'Firstpartt' in the embedded engine"):
        _ = Parts.Firstpartt
    with pytest.raises(AttributeError, match="_hidden"):
        _ = Parts()._hidden
    with pytest.raises(AttributeError, match="count"):
        _ = Parts().Count  # a slot without a value


@signed("symbol, quantity, tag=''", "symbol, quantity, asynchronous, tag=''")
def order(*arguments: Any) -> tuple[Any, ...]:
    """Stands for LEAN's overloaded methods."""
    return arguments


def test_named_arguments_find_their_overload() -> None:
    loose: Any = order
    assert loose("SPY", 1) == ("SPY", 1)
    assert loose("SPY", quantity=2) == ("SPY", 2)
    assert loose("SPY", tag="t", quantity=2) == ("SPY", 2, "t")
    assert loose("SPY", 2, tag="t", asynchronous=True) == ("SPY", 2, True, "t")
    with pytest.raises(TypeError, match=r"order: no overload takes these arguments \(price by name\); known are order"):
        loose("SPY", 1, price=3)


# --- hours -----------------------------------------------------------------------------------------------------------


def clock(hours: float) -> timedelta:
    return timedelta(hours=hours)


def segment(state: MarketHoursState, start: float, end: float) -> MarketHoursSegment:
    return MarketHoursSegment(state, clock(start), clock(end))


def share_hours(
    early: dict[datetime, timedelta] | None = None, late: dict[datetime, timedelta] | None = None
) -> SecurityExchangeHours:
    """A share: pre-market from 4:00, open 9:30 to 16:00, after hours to 20:00; 4 July 2024 is a holiday."""
    parts = [
        segment(MarketHoursState.PRE_MARKET, 4, 9.5),
        segment(MarketHoursState.MARKET, 9.5, 16),
        segment(MarketHoursState.POST_MARKET, 16, 20),
    ]
    week = {day: LocalMarketHours(day, parts if 0 < int(day) < 6 else ()) for day in DayOfWeek}
    return SecurityExchangeHours(ZoneInfo("America/New_York"), [datetime(2024, 7, 4)], week, early or {}, late or {})


def spans(hours: SecurityExchangeHours, day: date) -> list[tuple[float, float]]:
    """A day's segments in hours."""
    return [(part.start / clock(1), part.end / clock(1)) for part in hours.get_market_hours(day).segments]


MIDWEEK = datetime(2024, 7, 3)


@pytest.mark.parametrize(
    ("close", "opening", "expected"),
    [
        (13.0, None, [(4, 9.5), (9.5, 13)]),
        # Before the first segment nothing stays; LEAN's Take(i - 1) of a later gap drops one segment too many.
        (3.0, None, []),
        (21.0, None, [(4, 9.5), (9.5, 16), (16, 20)]),
        (None, 11.0, [(11, 16), (16, 20)]),
        (None, 3.0, [(4, 9.5), (9.5, 16), (16, 20)]),
        (None, 21.0, [(4, 9.5), (9.5, 16), (16, 20)]),
        (13.0, 11.0, [(11, 13)]),
        # Late open after the early close: the market pauses, both parts are open.
        (11.0, 13.0, [(4, 9.5), (9.5, 11), (13, 16), (16, 20)]),
    ],
)
def test_early_closes_and_late_opens(
    close: float | None, opening: float | None, expected: list[tuple[float, float]]
) -> None:
    early = {} if close is None else {MIDWEEK: clock(close)}
    late = {} if opening is None else {MIDWEEK: clock(opening)}
    assert spans(share_hours(early, late), MIDWEEK.date()) == expected


def test_openings_and_closes_before_and_after_a_moment() -> None:
    hours = share_hours()
    noon = datetime(2024, 7, 3, 12)
    # Thursday the 4th is a holiday.
    assert hours.get_next_market_open(noon, False) == datetime(2024, 7, 5, 9, 30)
    assert hours.get_next_market_close(noon, False) == datetime(2024, 7, 3, 16)
    assert hours.get_next_market_close(noon, True) == datetime(2024, 7, 3, 20)
    assert hours.get_last_daily_market_close(noon, True) == datetime(2024, 7, 3, 20)
    assert hours.get_next_market_close(datetime(2024, 7, 3, 16), False) == datetime(2024, 7, 5, 16)
    assert hours.get_previous_market_open(noon, False) == datetime(2024, 7, 3, 9, 30)
    assert hours.get_previous_market_open(noon, True) == datetime(2024, 7, 3, 4)
    assert hours.get_first_daily_market_open(noon, True) == datetime(2024, 7, 3, 4)
    assert hours.get_previous_market_open(datetime(2024, 7, 4, 12), False) == datetime(2024, 7, 3, 9, 30)
    assert hours.get_previous_trading_day(date(2024, 7, 5)) == datetime(2024, 7, 3)
    assert hours.get_next_trading_day(date(2024, 7, 3)) == datetime(2024, 7, 5)


def test_a_stretch_is_open_when_any_part_of_it_is() -> None:
    hours = share_hours()
    assert hours.is_open(datetime(2024, 7, 3, 12), False)
    assert not hours.is_open(datetime(2024, 7, 3, 17), False)
    assert hours.is_open(datetime(2024, 7, 3, 17), extended_market_hours=True)
    assert not hours.is_open(datetime(2024, 7, 4), datetime(2024, 7, 5, 9), False)
    assert hours.is_open(datetime(2024, 7, 4), datetime(2024, 7, 5, 10), False)
    day = hours.get_market_hours(MIDWEEK)
    assert day.is_open(clock(15), clock(17), False)
    assert not day.is_open(clock(16), clock(17), False)
    assert not hours.is_date_open(date(2024, 7, 4))
    evening = SecurityExchangeHours(
        ZoneInfo("America/New_York"), (),
        {DayOfWeek.SUNDAY: LocalMarketHours(DayOfWeek.SUNDAY, segment(MarketHoursState.PRE_MARKET, 18, 24))}, {}, {},
    )  # fmt: skip
    assert [evening.is_date_open(date(2024, 7, 7), extended) for extended in (False, True)] == [False, True]


def test_an_exchange_that_never_trades_or_never_closes_has_no_next_open_or_close() -> None:
    zone = ZoneInfo("America/New_York")
    never, always = SecurityExchangeHours(zone, (), {}, {}, {}), SecurityExchangeHours.always_open(zone)
    assert always.is_market_always_open
    assert spans(always, MIDWEEK.date()) == [(0, 24)]
    assert MarketHoursSegment.closed_all_day().state is MarketHoursState.CLOSED
    assert LocalMarketHours(DayOfWeek.MONDAY, MarketHoursSegment.closed_all_day()).is_closed_all_day
    with pytest.raises(ValueError, match="no market open within 15 days after 2024-07-03 00:00:00; always open: False"):
        never.get_next_market_open(MIDWEEK, False)
    with pytest.raises(ValueError, match=r"no market close within 15 days .* always open: True"):
        always.get_next_market_close(MIDWEEK, False)
    with pytest.raises(ValueError, match="no market open within 9 days before"):
        never.get_previous_market_open(MIDWEEK, False)


def test_sessions_that_touch_are_one_and_old_days_are_forgotten() -> None:
    hours = share_hours()
    # New York is four hours behind UTC in July: 4:00 to 20:00 is 8:00 to midnight.
    midnight = int((MIDWEEK - datetime(1970, 1, 1)).total_seconds()) * 1000
    hour = 3_600_000
    assert hours.sessions_utc_ms(MIDWEEK.date(), True) == [(midnight + 8 * hour, midnight + 24 * hour)]
    assert hours.sessions_utc_ms(MIDWEEK.date()) == [(midnight + 27 * hour // 2, midnight + 20 * hour)]
    kept = hours.get_market_hours(date(2024, 7, 5))
    first = hours.get_market_hours(MIDWEEK.date())
    hours.early_closes[MIDWEEK] = clock(13)
    assert hours.get_market_hours(MIDWEEK.date()) is first
    hours.forget_before(date(2024, 7, 4))
    assert spans(hours, MIDWEEK.date()) == [(4, 9.5), (9.5, 13)]
    assert hours.get_market_hours(date(2024, 7, 5)) is kept


WEEK = {"monday": [{"start": "09:30:00", "end": "16:00:00", "state": "market"}]}
ZONES = {"dataTimeZone": "America/New_York", "exchangeTimeZone": "America/New_York"}
DATABASE: dict[str, dict[str, Any]] = {
    "Index-usa-[*]": {**ZONES, **WEEK, "holidays": ["7/4/2024"], "earlyCloses": {"7/3/2024": "13:00:00"}},
    "Index-usa-SPX": {**ZONES, **WEEK, "holidays": ["12/25/2024"], "bankHolidays": ["10/14/2024"]},
    "IndexOption-usa-SPXW": {**ZONES, **WEEK},
    "Future-comex-GC": {**ZONES, **WEEK, "lateOpens": {"7/5/2024": "11:00:00"}},
    "FutureOption-comex-OG": {**ZONES, **WEEK},
    "Crystal-usa-BALL": {**ZONES},
    "nonsense": {**ZONES},
}


def test_entries_inherit_from_their_market_and_underlying() -> None:
    database = MarketHoursDatabase(DATABASE)
    futures = ["Future-comex-GC", "FutureOption-comex-OG"]
    assert list(database.raw()) == ["Index-usa-[*]", "Index-usa-SPX", "IndexOption-usa-SPXW", *futures]
    gold = database.get_exchange_hours("comex", "OG", SecurityType.FUTURE_OPTION)
    assert gold.late_opens == {datetime(2024, 7, 5): clock(11)}
    own = database.get_exchange_hours("usa", "SPX", SecurityType.INDEX)
    assert own.holidays == {datetime(2024, 7, 4), datetime(2024, 12, 25)}
    weekly = database.get_exchange_hours(SimpleNamespace(market="usa", symbol=SPXW, security_type=SPXW.security_type))
    assert weekly.holidays == own.holidays
    assert weekly.bank_holidays == {datetime(2024, 10, 14)}
    assert weekly.early_closes == {datetime(2024, 7, 3): clock(13)}
    with pytest.raises(ValueError, match=r"no trading hours for Equity-usa-SPY, nor for \[\*\]"):
        database.get_entry("usa", "SPY", SecurityType.EQUITY)
    assert database.try_get_entry("usa", "SPY", SecurityType.EQUITY, None) == (False, None)
    made = database.set_entry_always_open("usa", "SPY", SecurityType.EQUITY, ZoneInfo("UTC"))
    assert database.get_entry("usa", SPY, SecurityType.EQUITY) is made
    database.forget_before(MIDWEEK)
    assert made.data_time_zone == ZoneInfo("UTC")


def test_times_of_day_are_dot_nets() -> None:
    assert time_of_day("09:30:00") == clock(9.5)
    assert time_of_day("1.00:00:00") == time_of_day("1:00:00:00") == clock(24)


def test_the_database_of_a_run_is_only_there_in_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(MarketHoursDatabase, "_current", [])
    monkeypatch.setattr(SymbolPropertiesDatabase, "_current", [])
    with pytest.raises(ValueError, match="there is no market-hours database"):
        MarketHoursDatabase.from_data_folder()
    with pytest.raises(ValueError, match="there is no symbol-properties database"):
        SymbolPropertiesDatabase.from_data_folder()
    database = MarketHoursDatabase(DATABASE)
    MarketHoursDatabase.use(database)
    assert MarketHoursDatabase.from_data_folder() is database
    for text, problem in (("{", "line 1"), ("{}", "the key 'entries' is missing")):
        (tmp_path / "hours.json").write_text(text)
        with pytest.raises(MalformedDataError, match=problem if "key" in problem else "hours.json"):
            MarketHoursDatabase.from_file(tmp_path / "hours.json")


# --- properties ------------------------------------------------------------------------------------------------------

HEADER = "market,symbol,type,description,quote_currency,multiplier,variation,lot,ticker,minimum,magnifier,strike\n"


def test_properties_fall_back_to_the_wildcard_and_then_to_nothing(tmp_path: Path) -> None:
    file = tmp_path / "properties.csv"
    file.write_text(
        HEADER + "# a remark\n\nusa,[*],equity,,USD,1,0.01,1\nusa,SPX,index,S&P,USD,1,0.01,1,SPX,2,3,4\n"
        "usa,ORB,crystal,,USD,1,1,1\ncme,ES,future,E-mini,USD,50,0.25,1,ES\nusa,BAD,equity,,USD,1,0.01,0\n"
    )
    database = SymbolPropertiesDatabase.from_file(file)
    spx = database.get_symbol_properties("usa", SPX, SecurityType.INDEX, "USD")
    assert (spx.minimum_order_size, spx.price_magnifier, spx.strike_multiplier) == (2.0, 3.0, 4.0)
    spy = database.get_symbol_properties("usa", SPY, SecurityType.EQUITY, "USD")
    assert (spy.minimum_order_size, spy.price_magnifier, spy.strike_multiplier) == (None, 1.0, 1.0)
    option = Symbol.create_option(ES, "cme", OptionStyle.AMERICAN, OptionRight.CALL, 5500.0, datetime(2024, 9, 20))
    assert database.get_symbol_properties("cme", option, SecurityType.FUTURE_OPTION, "USD").contract_multiplier == 50.0
    unknown = database.get_symbol_properties("oanda", SPY, SecurityType.FOREX, "usd")
    assert (unknown.quote_currency, unknown.minimum_price_variation) == ("USD", 0.01)
    assert database.try_get_market("ES", SecurityType.FUTURE, None) == (True, "cme")
    assert database.try_get_market("ORB", SecurityType.FUTURE, None) == (False, "")
    bad = Symbol.create("BAD", SecurityType.EQUITY, "usa")
    with pytest.raises(MalformedDataError, match="lot_size 0"):
        database.get_symbol_properties("usa", bad, SecurityType.EQUITY, "USD")
    own = SymbolProperties("own", "USD", 100.0, 0.05, 1.0, "", None, price_magnifier=2.0)
    assert database.set_entry("usa", "BAD", SecurityType.EQUITY, own)
    assert database.get_symbol_properties("usa", bad, SecurityType.EQUITY, "USD") is own
    assert "usa,BAD,equity,own,USD,100,0.05,1,,,2,1" in list(database.lines())


# IndexOptionSymbolProperties.cs: 0.05 under 3 dollars and 0.10 above; VIX 0.01 and 0.05, VIXW always 0.01.
@pytest.mark.parametrize(
    ("root", "price", "tick"),
    [("SPX", None, 0.05), ("SPX", 2.99, 0.05), ("SPX", 3.0, 0.1), ("VIX", 2.9, 0.01), ("VIX", 3.0, 0.05),
     ("VIXW", 9.0, 0.01)],
)  # fmt: skip
def test_an_index_options_tick_follows_its_price(root: str, price: float | None, tick: float) -> None:
    assert index_option_tick(root, price) == tick

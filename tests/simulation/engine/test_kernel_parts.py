"""Parts of the kernel on their own: price models, indicators, consolidators, chain filters, history, object store."""

from __future__ import annotations

import math
import shutil
import subprocess
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation import regress
from simulation.algorithm.consolidators import Calendar, TradeBarConsolidator
from simulation.algorithm.indicators import (
    AverageTrueRange,
    BollingerBands,
    ExponentialMovingAverage,
    IndicatorDataPoint,
    MovingAverageConvergenceDivergence,
    RelativeStrengthIndex,
    SimpleMovingAverage,
)
from simulation.algorithm.object_store import ObjectStore
from simulation.algorithm.option_indicators import (
    ConstantDividendYieldModel,
    ConstantRiskFreeRateInterestRateModel,
    Delta,
    DividendYieldProvider,
    FuncRiskFreeRateInterestRateModel,
    Gamma,
    ImpliedVolatility,
    InterestRateProvider,
    OptionGreekIndicatorsHelper,
    Rho,
    Theta,
    Vega,
)
from simulation.data.columns import FactorRow, InterestRates
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.lean.bars import Bar, QuoteBar, TradeBar
from simulation.lean.clock import CHICAGO, NEW_YORK
from simulation.lean.enums import (
    MovingAverageType,
    OptionPricingModelType,
    OptionRight,
    OptionStyle,
    Resolution,
)
from simulation.lean.symbols import Symbol
from simulation.securities.pricing import (
    Terms,
    black_scholes_greeks,
    black_scholes_price,
    cox_ross_rubinstein_price,
    find_root,
    forward_tree_price,
    implied_volatility,
)
from tests.simulation.chain_rows import chosen, minute_bars
from tests.simulation.playing import SPX, Market, Recorder, at, index_market, play

MONDAY = datetime(2024, 7, 8)


@pytest.fixture(autouse=True, scope="module")
def databases() -> None:
    """What a run would have in place."""
    market = index_market()
    MarketHoursDatabase.use(market.hours)
    SymbolPropertiesDatabase.use(market.properties)


# -- price models ---------------------------------------------------------------------------------------------------


def test_black_scholes_gives_the_textbook_price() -> None:
    # Hull: S = K = 100, r = 5 %, one year, 20 %: d1 = 0.35, d2 = 0.15, call 10.4506, put 5.5735.
    call, put = Terms(True, 100.0, 1.0, 0.05, 0.0), Terms(False, 100.0, 1.0, 0.05, 0.0)
    assert black_scholes_price(call, 100.0, 0.2, 1.0) == pytest.approx(10.4506, abs=5e-5)
    assert black_scholes_price(put, 100.0, 0.2, 1.0) == pytest.approx(5.5735, abs=5e-5)


@pytest.mark.parametrize("tree", [forward_tree_price, cox_ross_rubinstein_price])
def test_trees_agree_with_the_closed_form_where_early_exercise_is_worth_nothing(tree: Any) -> None:
    # Without a rate the two trees are one. (With one, LEAN's forward tree goes down by the inverse of its way up.)
    terms = Terms(True, 100.0, 0.5, 0.0, 0.0)
    assert tree(terms, 102.0, 0.25, 0.5) == pytest.approx(black_scholes_price(terms, 102.0, 0.25, 0.5), abs=0.02)


@given(st.floats(0.05, 1.5), st.floats(0.8, 1.25), st.floats(0.02, 2.0), st.booleans())
def test_the_implied_volatility_gives_the_price_back(volatility: float, money: float, years: float, call: bool) -> None:
    terms = Terms(call, 100.0, years, 0.02, 0.0)
    price = black_scholes_price(terms, 100.0 * money, volatility, years)
    if price < 0.05:
        return
    found = implied_volatility(black_scholes_price, terms, 100.0 * money, price)
    assert found is not None
    # LEAN stops within max(0.0001, 0.0001 x price) of the price, or half of that in volatility.
    slack = max(1e-4, 1e-4 * price)
    again = black_scholes_price(terms, 100.0 * money, found, years)
    assert abs(again - price) <= slack or abs(found - volatility) <= slack


def test_a_price_without_a_volatility_has_no_root() -> None:
    assert implied_volatility(black_scholes_price, Terms(True, 100.0, 1.0, 0.0, 0.0), 100.0, 150.0) is None
    assert find_root(lambda x: x * x - 2, 0.0, 2.0, 1e-9) == pytest.approx(math.sqrt(2), abs=1e-8)


# -- indicators -----------------------------------------------------------------------------------------------------


def bars(*rows: tuple[float, float, float]) -> list[TradeBar]:
    """Daily bars of (high, low, close)."""
    return [
        TradeBar(MONDAY + timedelta(days=n), SPX, low, high, low, close, 1.0, timedelta(days=1))
        for n, (high, low, close) in enumerate(rows)
    ]


def fed(indicator: Any, *values: float) -> Any:
    """An indicator after some values."""
    for n, value in enumerate(values):
        indicator.update(MONDAY + timedelta(days=n), value)
    return indicator


def test_averages() -> None:
    assert fed(SimpleMovingAverage(3), 1.0, 2.0, 3.0, 7.0).current.value == pytest.approx(4.0)  # (2 + 3 + 7) / 3
    # Seeded with the mean of the first three (2), then 7 x 0.5 + 2 x 0.5.
    average = fed(ExponentialMovingAverage(3), 1.0, 2.0, 3.0)
    assert average.is_ready
    assert average.current.value == pytest.approx(2.0)
    assert fed(average, 7.0).current.value == pytest.approx(4.5)


def test_average_true_range_counts_the_gap() -> None:
    indicator = AverageTrueRange(2, MovingAverageType.SIMPLE)
    for bar in bars((11.0, 9.0, 10.0), (13.0, 12.0, 12.5)):
        indicator.update(bar)
    # First bar 11 - 9 = 2; second max(1, 13 - 10, 12 - 10) = 3; mean 2.5.
    assert indicator.current.value == pytest.approx(2.5)


def test_relative_strength() -> None:
    # Changes +1, -1, +2 of period 3: mean gain 1, mean loss 1/3: 100 - 100 / (1 + 3) = 75.
    assert fed(RelativeStrengthIndex(3), 10.0, 11.0, 10.0, 12.0).current.value == pytest.approx(75.0)
    assert fed(RelativeStrengthIndex(2), 1.0, 2.0, 3.0).current.value == pytest.approx(100.0)


def test_bands_and_macd() -> None:
    bands = fed(BollingerBands(2, 2.0), 10.0, 14.0)
    # Mean 12, population deviation 2.
    assert (bands.lower_band.current.value, bands.upper_band.current.value) == (8.0, 16.0)
    macd = fed(MovingAverageConvergenceDivergence(1, 2, 1), 10.0, 14.0)
    assert macd.current.value == pytest.approx(2.0)  # 14 less the mean of 10 and 14


# -- consolidators --------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=60), st.integers(2, 20))
def test_consolidated_bars_lose_nothing(closes: list[float], minutes: int) -> None:
    made: list[Any] = []
    consolidator = TradeBarConsolidator(timedelta(minutes=minutes))
    consolidator.data_consolidated += lambda sender, bar: made.append(bar)
    source = minute_bars(closes)
    for bar in source:
        consolidator.update(bar)
        consolidator.scan(bar.end_time)
    consolidator.scan(source[-1].end_time + timedelta(days=1))
    assert sum(bar.volume for bar in made) == pytest.approx(2.0 * len(closes))
    assert max(bar.high for bar in made) == max(closes) + 1
    assert made[-1].close == closes[-1]
    assert all(bar.end_time - bar.time == timedelta(minutes=minutes) for bar in made)


def test_calendar_periods() -> None:
    assert Calendar.WEEKLY(datetime(2024, 7, 10, 11)).start == MONDAY
    assert Calendar.MONTHLY(datetime(2024, 2, 10)).period == timedelta(days=29)
    assert Calendar.QUARTERLY(datetime(2024, 12, 31)).start == datetime(2024, 10, 1)


def test_a_quote_has_the_middle_or_the_side_that_is_there() -> None:
    bid, ask = Bar(1.0, 1.2, 0.9, 1.1), Bar(1.2, 1.4, 1.1, 1.3)
    assert QuoteBar(MONDAY, SPX, bid, 1, ask, 1).close == pytest.approx(1.2)
    assert QuoteBar(MONDAY, SPX, None, 0, ask, 1).close == pytest.approx(1.3)
    assert QuoteBar(MONDAY, SPX, None, 0, None, 0).close == pytest.approx(0.0)


# -- chain filters --------------------------------------------------------------------------------------------------


def test_strikes_are_ranks_around_the_close() -> None:
    # 5420 is no strike: rank 0 begins at 5450, and with both signs the upper bound is one less: 5400 and 5450.
    found = {strike for strike, *_ in chosen(lambda u: u.strikes(-1, 1))}
    assert found == {5400.0, 5450.0}
    # 5400 is a strike: -1 to +1 is 5350 to 5450.
    assert {s for s, *_ in chosen(lambda u: u.strikes(-1, 1), 5400.0)} == {5350.0, 5400.0, 5450.0}


def test_days_count_from_the_next_trading_day() -> None:
    # Saturday July 6 becomes Monday July 8: the 12th is 4 days away.
    assert {expiry for *_, expiry in chosen(lambda u: u.expiration(4, 4))} == {date(2024, 7, 12)}
    assert chosen(lambda u: u.expiration(0, 3)) == []


def test_figures_rights_and_lists_narrow() -> None:
    calls = chosen(lambda u: u.calls_only().delta(0.65, 0.85).expiration(0, 5))
    assert calls == [(5350.0, "CALL", date(2024, 7, 12)), (5400.0, "CALL", date(2024, 7, 12))]
    puts = chosen(lambda u: [row.symbol for row in u if row.strike < 5350 and row.right == 1])
    assert [strike for strike, *_ in puts] == [5300.0, 5300.0, 5300.0]


def test_standard_contracts_of_a_weekly_root_are_those_of_the_third_friday() -> None:
    assert {expiry for *_, expiry in chosen(lambda u: u.standards_only())} == {date(2024, 7, 19), date(2024, 8, 16)}
    assert {expiry for *_, expiry in chosen(lambda u: u.weeklys_only())} == {date(2024, 7, 12)}


def test_an_iron_condor_has_symmetric_wings() -> None:
    legs = chosen(lambda u: u.iron_condor(4, 25, 75))
    # Calls above 5420 nearest 5445: 5450, wing nearest 5495: 5500; puts below nearest 5395: 5400, wing 50 lower.
    assert [(strike, right) for strike, right, _ in legs] == [
        (5350.0, "PUT"), (5400.0, "PUT"), (5450.0, "CALL"), (5500.0, "CALL"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="ascending"):
        chosen(lambda u: u.iron_condor(4, 75, 25))


# -- history --------------------------------------------------------------------------------------------------------


def test_history_reaches_bars_of_market_time_back_and_fills_forward() -> None:
    market = index_market("10:00")
    market.trade(SPX, at("16:14", date(2024, 7, 5)), 5400.0)
    found: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)

        def look() -> None:
            found.extend(algorithm.history[TradeBar](SPX, 3, Resolution.MINUTE))
            frame = algorithm.history(SPX, 3, Resolution.MINUTE)
            found.append((list(frame.columns), list(frame.index.names), len(frame)))

        algorithm.do_at("09:32", look)

    play(market, script)
    # Three market minutes before 09:32: Friday's last (16:14 to 16:15, filled from 16:14), and Monday's first two.
    # The bar that ends at 16:14 itself lies before.
    rows = [(f"{bar.end_time:%d %H:%M}", bar.close, bar.is_fill_forward) for bar in found[:-1]]
    assert rows == [("05 15:15", 5400.0, True), ("08 08:31", 5450.0, False), ("08 08:32", 5450.0, True)]
    assert found[-1] == (["close", "high", "low", "open", "volume"], ["symbol", "time"], 3)


def test_zones_convert_both_ways_across_the_change_of_clocks() -> None:
    for zone in (NEW_YORK, CHICAGO):
        for moment in (datetime(2024, 3, 10, 1, 59), datetime(2024, 3, 10, 3, 0), datetime(2024, 11, 3, 2, 1)):
            assert zone.local(zone.utc_ms(moment)) == moment


# -- object store ---------------------------------------------------------------------------------------------------


def test_the_object_store_keeps_files_and_refuses_keys_that_lead_out(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "store")
    assert store.save("state/one.json", "{}")
    assert (store.read("state/one.json"), store.keys, store.contains_key("other")) == ("{}", ["state/one.json"], False)
    with open(store.get_file_path("journal"), "a", encoding="utf-8") as journal:
        journal.write("line")
    assert store.read("journal") == "line"
    assert store.delete("journal")
    for key in ("two.dots.json", "../outside", "a|b"):
        with pytest.raises(ValueError, match="is refused"):
            store.save(key, "x")
    with pytest.raises(KeyError):
        store.read("nothing")


def test_a_market_without_files_is_a_data_source() -> None:
    assert Market().trades(SPX, Resolution.MINUTE, date(2024, 7, 8)) is None


def test_a_bare_repository_is_unpacked_without_its_ticks_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    work, bare = tmp_path / "work", tmp_path / "bare"
    for name in (
        "Data/equity/usa/tick/spy/a.zip",
        "Data/equity/usa/minute/spy/b.zip",
        *("Algorithm.Python/A.py", "Algorithm.CSharp/A.cs"),
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name, encoding="utf-8")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(work))
    for arguments in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-qm", "All"),
        ("clone", "-q", "--bare", ".", str(bare)),
    ):
        subprocess.run([*git, *arguments], check=True)
    with regress.opened(bare) as folder:
        assert (folder / "Data/equity/usa/minute/spy/b.zip").read_text(encoding="utf-8").endswith("b.zip")
        assert (folder / "Algorithm.CSharp/A.cs").is_file()
        assert not (folder / "Data/equity/usa/tick").exists()
    shutil.rmtree(bare / "objects")
    (bare / "objects").mkdir()
    with pytest.raises(regress.CheckoutError, match="git cannot read"), regress.opened(bare):
        pass


# -- indicators of an option ----------------------------------------------------------------------------------------

PUT = Symbol.create_option(SPX, "SPXW", "usa", OptionStyle.EUROPEAN, OptionRight.PUT, 5500.0, datetime(2024, 7, 12))
CALL = Symbol.create_option(SPX, "SPXW", "usa", OptionStyle.EUROPEAN, OptionRight.CALL, 5500.0, datetime(2024, 7, 12))
CHICAGO_TEN = datetime(2024, 7, 8, 10)
YEARS = (datetime(2024, 7, 12, 15) - CHICAGO_TEN) / timedelta(days=365)
"""Index options settle at 15:00 of Chicago."""


def price_at(volatility: float, right: OptionRight = OptionRight.PUT, rate: float = 0.04) -> float:
    """What the 5500 contract is worth with the index at 5420, without a yield."""
    return black_scholes_price(Terms(right == OptionRight.CALL, 5500.0, YEARS, rate, 0.0), 5420.0, volatility, YEARS)


def feed(indicator: Any, prices: dict[Any, float], moment: datetime = CHICAGO_TEN) -> None:
    """One point of each symbol."""
    for symbol, price in prices.items():
        indicator.update(IndicatorDataPoint(symbol, moment, price))


def test_the_volatility_waits_for_points_of_one_time() -> None:
    volatility = ImpliedVolatility(PUT, 0.04, 0.0)
    feed(volatility, {PUT: price_at(0.2)})
    assert (volatility.is_ready, volatility.current.value) == (False, 0.0)
    feed(volatility, {SPX: 5420.0})
    assert volatility.is_ready
    assert volatility.current.value == pytest.approx(0.2, abs=2e-3)
    assert volatility.theoretical_price.current.value == pytest.approx(price_at(0.2), rel=5e-3)
    assert (volatility.strike, volatility.right, volatility.style) == (5500.0, OptionRight.PUT, OptionStyle.EUROPEAN)
    assert (volatility.risk_free_rate.current.value, volatility.expiry) == (0.04, datetime(2024, 7, 12, 15))
    later = CHICAGO_TEN + timedelta(minutes=1)
    feed(volatility, {PUT: 1.0}, later)  # the index has no point of that minute yet: the last value stays
    assert volatility.current.value == pytest.approx(0.2, abs=2e-3)
    volatility.reset()
    with pytest.raises(ValueError, match="none of the symbols of"):
        volatility.update(IndicatorDataPoint(CALL, later, 1.0))


def test_both_rights_give_the_one_out_of_the_money_or_what_a_function_makes_of_them() -> None:
    prices = {PUT: price_at(0.2), CALL: price_at(0.3, OptionRight.CALL), SPX: 5420.0}
    volatility = ImpliedVolatility("both", PUT, ConstantRiskFreeRateInterestRateModel(0.04), 0.0, CALL)
    feed(volatility, prices)
    assert volatility.use_mirror_contract
    assert volatility.current.value == pytest.approx(0.3, abs=5e-3)  # the put is in the money
    volatility.reset()
    volatility.set_smoothing_function(lambda own, other: (own + other) / 2)
    feed(volatility, prices)
    assert volatility.current.value == pytest.approx(0.25, abs=5e-3)

    class Mine(ImpliedVolatility):
        def calculate_iv(self, time_till_expiry: float) -> float:
            return time_till_expiry

    mine = Mine(PUT, 0.04, 0.0, CALL)
    feed(mine, prices)
    assert mine.current.value == pytest.approx(YEARS, abs=1e-7)


@pytest.mark.parametrize("kind", [Delta, Gamma, Vega, Theta, Rho])
def test_a_sensitivity_is_that_of_the_model(kind: Any) -> None:
    rates = FuncRiskFreeRateInterestRateModel(lambda moment: 0.04)
    indicator = kind(PUT, rates, ConstantDividendYieldModel(0.0), None, None, OptionPricingModelType.BLACK_SCHOLES)
    feed(indicator, {PUT: price_at(0.2), SPX: 5420.0})
    assert indicator.is_ready
    expected = black_scholes_greeks(Terms(False, 5500.0, YEARS, 0.04, 0.0), 5420.0, 0.2)
    names = {Delta: "delta", Gamma: "gamma", Vega: "vega", Theta: "theta_per_day", Rho: "rho"}
    assert indicator.current.value == pytest.approx(getattr(expected, names[kind]), rel=1e-2)
    own = ImpliedVolatility(PUT, 0.04)
    feed(own, {PUT: price_at(0.4), SPX: 5420.0})
    indicator.implied_volatility = own
    before = indicator.current.value
    feed(indicator, {PUT: price_at(0.2), SPX: 5420.0}, CHICAGO_TEN + timedelta(minutes=1))
    assert indicator.current.value != before
    indicator.reset()
    assert not indicator.is_ready
    gone = kind(PUT, rates)
    feed(gone, {PUT: 80.0, SPX: 5420.0}, datetime(2024, 7, 13, 10))
    assert gone.current.value == 0.0


def test_rates_and_yields_of_the_data() -> None:
    class Source:
        def interest_rates(self) -> Any:
            return InterestRates(np.array([date(2024, 7, 1).toordinal()]), np.array([0.055]))

        def factor_file(self, symbol: Any) -> list[FactorRow]:
            return [FactorRow(date(2024, 3, 14), 0.99, 1.0, 500.0), FactorRow(date(2050, 12, 31), 1.0, 1.0, 0.0)]

    InterestRateProvider.use(Source())
    assert InterestRateProvider().get_interest_rate(CHICAGO_TEN) == 0.055
    # 500 x 1 % = 5 dollars in the last year, over the price of the index as LEAN's default provider has it.
    assert DividendYieldProvider.create_for_option(PUT).get_dividend_yield(CHICAGO_TEN, 5000.0) == 0.001
    assert DividendYieldProvider().get_dividend_yield(CHICAGO_TEN.date()) == 0.0
    es = Symbol.create_future("ES", "cme", datetime(2024, 9, 20))
    future_option = Symbol.create_option(
        es, "cme", OptionStyle.AMERICAN, OptionRight.PUT, 5400.0, datetime(2024, 9, 20)
    )
    assert DividendYieldProvider.create_for_option(future_option).get_dividend_yield(CHICAGO_TEN, 5000.0) == 0.0
    InterestRateProvider.use(None)
    assert InterestRateProvider().get_interest_rate(CHICAGO_TEN) == 0.01
    assert DividendYieldProvider(SPX).get_dividend_yield(CHICAGO_TEN, 1.0) == 0.0


def test_prices_by_the_helper() -> None:
    terms = (0.2, 5420.0, 5500.0, YEARS, 0.04, 0.0, OptionRight.PUT)
    black = OptionGreekIndicatorsHelper.black_theoretical_price(*terms)
    assert black == pytest.approx(price_at(0.2))
    assert OptionGreekIndicatorsHelper.crr_theoretical_price(*terms) == pytest.approx(black, rel=0.03)
    assert OptionGreekIndicatorsHelper.forward_tree_theoretical_price(*terms, 200) == pytest.approx(black, rel=0.03)
    with pytest.raises(ValueError, match="takes the symbol of an option"):
        ImpliedVolatility(SPX, 0.04)


def test_an_algorithm_keeps_option_indicators_fed() -> None:
    made: dict[str, Any] = {}

    def script(algorithm: Any) -> None:
        algorithm.set_risk_free_interest_rate_model(ConstantRiskFreeRateInterestRateModel(0.04))
        made["iv"] = algorithm.iv(PUT, dividend_yield=0.0)
        made["both"] = [make(PUT, CALL, 0.04, 0.0) for make in (algorithm.d, algorithm.g, algorithm.v)]
        made["models"] = algorithm.t(PUT, iv_model=OptionPricingModelType.BLACK_SCHOLES, dividend_yield=0.0)
        made["rho"] = algorithm.r(PUT, None, 0.04, 0.0, None, None, Resolution.MINUTE)
        made["variance"] = algorithm.v(SPX, 5)

    market = index_market("11:00", price=5420.0)
    for clock in ("09:31", "11:00"):
        market.quote(PUT, at(clock), price_at(0.2) - 0.5, price_at(0.2) + 0.5)
        market.quote(CALL, at(clock), price_at(0.3, OptionRight.CALL) - 0.5, price_at(0.3, OptionRight.CALL) + 0.5)
    algorithm: Any = play(market, script)
    # The contracts and the index were added by asking for their indicators.
    assert PUT in algorithm.securities
    assert made["iv"].is_ready
    # The last bars are filled forward to the close: less time, so more volatility than at eleven.
    assert made["iv"].current.value > 0.2
    assert made["iv"].risk_free_rate.current.value == algorithm.risk_free_interest_rate_model.get_interest_rate(None)
    assert made["both"][0].current.value < -0.5
    assert made["both"][0].implied_volatility.use_mirror_contract
    assert made["models"].current.value != 0.0
    assert made["rho"].current.value < 0.0

"""Universe filters: LEAN's rules on kinds, ranks, days, figures and structures, on a file written down in the test.

The file holds calls and puts at 5300 to 5550 by fifties for July 12, July 19 and August 16 of 2024; the underlying
closed at 5420; the selection is on Saturday, July 6.
"""

# Private: _security: a filter without its engine.

from __future__ import annotations

import dataclasses
from datetime import date, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from simulation.data.chain_files import FileChain, UniverseRow
from simulation.data.columns import UniverseBlock
from simulation.lean.enums import OptionPricingModelType, OptionRight, OptionStyle, SecurityType
from simulation.securities.contract_filters import (
    FutureFilterUniverse,
    OptionFilterUniverse,
    apply_filter,
    default_option_filter,
    filter_of,
)
from simulation.securities.option_models import (
    ArgumentException,
    OptionPriceModel,
    OptionPriceModelParameters,
    OptionPriceModels,
    QLOptionPriceModel,
    QLOptionPriceModelProvider,
    smoothed_volatility,
    with_rates,
)
from simulation.securities.pricing import (
    Greeks,
    OptionPriceModelResult,
    Terms,
    american_tree_price,
    black_scholes_price,
)
from tests.simulation.chain_rows import FIFTIES, FRIDAYS, Canonical, chain, chosen
from tests.simulation.playing import spxw

SATURDAY = datetime(2024, 7, 6)
JULY_12, JULY_19, AUGUST_16 = FRIDAYS
SPOT = 5420.0


def loaded(block: UniverseBlock | None = None) -> OptionFilterUniverse:
    """A universe at the start of its selection."""
    universe = OptionFilterUniverse(Canonical())
    universe.load(chain(SPOT, FIFTIES, FRIDAYS) if block is None else block, SATURDAY)
    return universe


def legs(universe: Any) -> list[tuple[float, str, date]]:
    """(strike, right, expiry) of what is left, sorted."""
    rows = [(s.id.strike_price, str(s.id.option_right), s.id.date.date()) for s in universe.selected()]
    return sorted(rows)


def at_strikes(universe: Any) -> list[str]:
    """What is left, as "5400C"."""
    return [f"{strike:g}{right[0]}" for strike, right, _ in legs(universe)]


# -- structures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("naked_call", (4, 25), ["5450C"]),  # nearest 5445
        ("naked_put", (4, -70), ["5350P"]),  # nearest 5350
        ("call_spread", (4, 30, -30), ["5400C", "5450C"]),  # nearest 5390, then above it nearest 5450
        ("put_spread", (4, 80), ["5350P", "5500P"]),  # without a lower offset both are alike: 5340 and 5500
        ("strangle", (4, 60, -60), ["5350P", "5500C"]),  # nearest 5360 and 5480, both out of the money
        ("straddle", (4,), ["5400C", "5400P"]),  # nearest 5420 is 20 below, not 30 above
        ("protective_collar", (4, 50, -50), ["5350P", "5450C"]),  # nearest 5470 and 5370
        ("conversion", (4, 30), ["5450C", "5450P"]),  # one strike for both
        ("call_butterfly", (4, 50), ["5350C", "5400C", "5450C"]),  # 5400, nearest 5370, and its reflection
        ("put_butterfly", (4, 50), ["5350P", "5400P", "5450P"]),
        ("iron_butterfly", (4, 50), ["5350P", "5400C", "5400P", "5450C"]),  # the call's wing nearest 5470
        ("box_spread", (4, 40), ["5400C", "5400P", "5450C", "5450P"]),  # nearest 5460 above and 5380 below
        ("call_ladder", (4, 80, 30, -20), ["5400C", "5450C", "5500C"]),  # nearest 5400, 5450, 5500, rising
        ("put_ladder", (4, 80, 30, -20), ["5400P", "5450P", "5500P"]),
    ],
)
def test_structures_of_one_expiry(name: str, arguments: tuple[float, ...], expected: list[str]) -> None:
    universe = getattr(loaded(), name)(*arguments)
    assert at_strikes(universe) == expected
    # Four days from Saturday is July 10; the first expiry at or after it is the 12th.
    assert {expiry for *_, expiry in legs(universe)} == {JULY_12}


def test_the_expiry_of_a_structure_is_the_first_at_or_after_its_days() -> None:
    assert legs(loaded().naked_call(6, 0)) == [(5400.0, "CALL", JULY_12)]  # July 12 itself counts
    assert legs(loaded().naked_call(7, 0)) == [(5400.0, "CALL", JULY_19)]
    assert legs(loaded().naked_put(60, 0)) == []  # September 4: nothing that late


def test_structures_of_two_expiries() -> None:
    # The first expiry from July 10 on, then the first later one from July 26 on, both at 5400.
    assert legs(loaded().call_calendar_spread(0, 4, 20)) == [(5400.0, "CALL", JULY_12), (5400.0, "CALL", AUGUST_16)]
    assert legs(loaded().put_calendar_spread(50, 4, 8)) == [(5450.0, "PUT", JULY_12), (5450.0, "PUT", JULY_19)]
    assert legs(loaded().jelly_roll(0, 4, 20)) == [
        (5400.0, "CALL", JULY_12), (5400.0, "CALL", AUGUST_16), (5400.0, "PUT", JULY_12), (5400.0, "PUT", AUGUST_16),
    ]  # fmt: skip
    assert legs(loaded().call_calendar_spread(0, 4, 60)) == []  # no far one
    assert legs(loaded().jelly_roll(0, 50, 60)) == []  # no near one


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("call_spread", (4, 5, 5), "descending"),
        ("strangle", (4, -5, -10), "positive"),
        ("strangle", (4, 5, 5), "negative"),
        ("protective_collar", (4, -5, 5), "descending"),
        ("call_calendar_spread", (0, 20, 20), "ascending"),
        ("put_calendar_spread", (0, -1, 20), "positive"),
        ("put_butterfly", (4, 0), "positive"),
        ("iron_butterfly", (4, -5), "positive"),
        ("box_spread", (4, 0), "positive"),
        ("call_ladder", (4, 5, 10, 0), "descending"),
    ],
)
def test_structures_refuse_offsets_out_of_order(name: str, arguments: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        getattr(loaded(), name)(*arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("straddle", (4,)),
        ("strangle", (4,)),
        ("iron_condor", (4, 25, 75)),
        ("iron_butterfly", (4, 50)),
        ("put_butterfly", (4, 50)),
        ("put_spread", (4, 50)),
        ("box_spread", (4, 40)),
    ],
)
def test_a_structure_that_is_not_whole_leaves_nothing(name: str, arguments: tuple[float, ...]) -> None:
    assert legs(getattr(loaded().calls_only(), name)(*arguments)) == []


def test_structures_that_fail_without_contracts_in_lean_fail_here() -> None:
    with pytest.raises(ValueError, match="LEAN's own filter fails"):
        loaded().calls_only().put_ladder(4, 80, 30, -20)
    with pytest.raises(ValueError, match="LEAN's own filter fails"):
        loaded().protective_collar(90, 5, -5)


def test_of_two_strikes_as_near_the_first_by_identifier_is_taken() -> None:
    between = chain(5475.0, FIFTIES, FRIDAYS)
    # The identifiers of July 12: 5450 calls "SPXW YK2G89UD70WE", 5500 calls "SPXW YK2G87LBX5V2": 5500 comes first.
    assert at_strikes(loaded(between).naked_call(4, 0)) == ["5500C"]
    # Over several expiries the file's order counts: 5450 is before 5500.
    assert {strike for strike, *_ in legs(loaded(between).call_calendar_spread(0, 4, 20))} == {5450.0}


def test_a_structure_beyond_the_last_strike_leaves_nothing() -> None:
    assert legs(loaded().call_spread(4, 300, 200)) == []  # the lower leg takes 5550, nothing is above
    assert legs(loaded().call_ladder(4, 200, 190, 180)) == []
    assert legs(loaded().protective_collar(4, 2, -2)) == []  # both at 5400: no collar
    low = chain(5310.0, FIFTIES, FRIDAYS)
    assert legs(loaded(low).call_butterfly(4, 50)) == []  # the body is 5300, there is no lower wing
    high = chain(5540.0, FIFTIES, FRIDAYS)
    assert legs(loaded(high).iron_butterfly(4, 50)) == []  # the body is 5550, there is no upper wing


def test_a_structure_needs_the_underlying_and_a_known_name() -> None:
    bare = dataclasses.replace(chain(SPOT, FIFTIES, FRIDAYS), underlying=None)
    with pytest.raises(ValueError, match="no underlying row"):
        loaded(bare).straddle(4)
    with pytest.raises(AttributeError, match="no member 'stradle'"):
        _ = loaded().stradle
    assert loaded(bare).strikes(-1, 1).count == 36  # ranks need it too: everything stays
    assert at_strikes(loaded().NakedCall(4, 25)) == ["5450C"]


# -- figures --------------------------------------------------------------------------------------------------------


def figured() -> UniverseBlock:
    """The file with figures that grow by row: row n has n / 100 of volatility, 10 n of open interest."""
    block = chain(SPOT, FIFTIES, [JULY_12])
    rows = np.arange(len(block), dtype=np.float64)
    return dataclasses.replace(
        block,
        implied_volatility=rows / 100,
        open_interest=rows * 10,
        gamma=rows / 1000,
        vega=rows,
        theta=-rows / 10,
        rho=rows - 5,
    )


@pytest.mark.parametrize(
    ("name", "low", "high", "rows"),
    [
        ("implied_volatility", 0.02, 0.04, [2, 3, 4]),
        ("iv", 0.11, 9.0, [11]),
        ("open_interest", 95, 110, [10, 11]),
        ("oi", 0, 0, [0]),
        ("gamma", 0.0005, 0.0015, [1]),
        ("vega", 6.5, 8, [7, 8]),
        ("rho", -5, -4, [0, 1]),
        ("delta", 0.35, 0.45, [10]),
        # The file's theta is a day's; the filter's limits are a year's of 365 days: row 5 is -0.5 x 365 = -182.5.
        ("theta", -183, -182, [5]),
        ("t", -127, -125, []),  # 252 days would give -126
    ],
)
def test_figures_between_two_values(name: str, low: float, high: float, rows: list[int]) -> None:
    universe = getattr(loaded(figured()), name)(low, high)
    assert [row.row for row in universe] == rows


def test_figures_of_future_options_are_refused() -> None:
    universe = loaded(figured())
    universe._security.symbol = type("Symbol", (), {"security_type": SecurityType.FUTURE_OPTION})
    with pytest.raises(ValueError, match="delta filter is not supported for future options"):
        universe.delta(0, 1)


# -- days, ranks, kinds ---------------------------------------------------------------------------------------------


def expiries(universe: Any) -> set[date]:
    """Expiries that are left."""
    return {expiry for *_, expiry in legs(universe)}


def test_months_by_nearness() -> None:
    assert expiries(loaded().front_month()) == {JULY_12}
    assert expiries(loaded().back_months()) == {JULY_19, AUGUST_16}
    assert expiries(loaded().back_month()) == {JULY_19}
    # Of the standard ones the nearest is the third Friday of July.
    assert expiries(loaded().standards_only().front_month()) == {JULY_19}
    assert expiries(loaded().weeklys_only().front_month()) == {JULY_12}
    assert expiries(loaded().standards_only().include_weeklys().front_month()) == {JULY_12}
    assert loaded().expiration(0, 0).front_month().count == 0


def test_days_may_be_spans() -> None:
    # From Monday July 8: 4 days are July 12, 11 days are July 19.
    assert expiries(loaded().expiration(timedelta(days=4), timedelta(days=11))) == {JULY_12, JULY_19}
    assert expiries(loaded().expiration(timedelta(days=4, hours=1), timedelta(days=40))) == {JULY_19, AUGUST_16}


@pytest.mark.parametrize(
    ("low", "high", "strikes"),
    [
        (1, 2, {5450.0, 5500.0}),  # above the money a rank counts from the strike above 5420
        (-2, -1, {5350.0, 5400.0}),
        (-9, -3, {5300.0}),
        (-9, -4, set()),
        (4, 9, set()),
        (2, 99, {5500.0, 5550.0}),
    ],
)
def test_ranks_of_strikes(low: int, high: int, strikes: set[float]) -> None:
    assert {strike for strike, *_ in legs(loaded().strikes(low, high))} == strikes


def test_ranks_above_every_strike_leave_nothing() -> None:
    assert loaded(chain(5600.0, FIFTIES, FRIDAYS)).strikes(-1, 1).count == 0


def test_ranks_are_counted_over_the_strikes_of_the_day_not_over_what_is_left() -> None:
    universe = loaded()
    universe.strikes(-1, 1)
    # The list of strikes stands until the date changes: a rank of -3 reaches nothing that was dropped.
    assert universe.strikes(-3, 3).count == 2 * 2 * 3
    universe.load(chain(5320.0, FIFTIES[:2], FRIDAYS), SATURDAY)
    assert universe.strikes(-1, 0).count == 2 * 2 * 3


# -- lists ----------------------------------------------------------------------------------------------------------


def test_lists_of_contracts_rows_and_functions() -> None:
    universe = loaded()
    known = spxw(5400.0, OptionRight.CALL, datetime(2024, 7, 12))
    unknown = spxw(9000.0, OptionRight.CALL, datetime(2024, 7, 12))
    assert at_strikes(universe.contracts([known, unknown])) == ["5400C", "9000C"]
    assert (len(universe), universe.count) == (2, 2)
    assert universe.all_symbols == [known, unknown]
    puts = loaded().contracts(lambda rows: [row for row in rows if row.strike > 5500 and row.right == OptionRight.PUT])
    assert at_strikes(puts) == ["5550P"] * 3
    assert at_strikes(loaded().where_contains([known, unknown])) == ["5400C"]
    assert at_strikes(loaded().expiration(0, 5).strikes(1, 1).select(lambda row: row.symbol)) == ["5450C", "5450P"]
    pairs = loaded().expiration(0, 5).strikes(1, 1).calls_only().select_many(lambda row: [row.symbol, unknown])
    assert at_strikes(pairs) == ["5450C", "9000C"]
    # A structure drops what was added by hand.
    assert at_strikes(loaded().contracts([known, unknown]).naked_call(0, 0)) == ["5400C"]


def test_what_a_filter_may_give() -> None:
    def left(narrow: Any) -> int:
        universe = loaded()
        return len(apply_filter(Canonical(), universe, narrow))

    assert left(lambda u: None) == 36
    assert left(lambda u: u.weeklys_only()) == 12
    assert left(lambda u: [row.symbol for row in u][:5]) == 5
    other = loaded().calls_only()
    assert left(lambda u: other) == 18
    with pytest.raises(TypeError, match="gave int"):
        left(lambda u: 3)


def test_arguments_of_set_filter() -> None:
    weeks = timedelta(days=7)
    assert at_strikes(filter_of((1, 1))(loaded()).expiration(0, 5)) == ["5450C", "5450P"]
    assert expiries(filter_of((timedelta(0), weeks))(loaded())) == {JULY_12}
    both = filter_of((1, 1, timedelta(0), weeks))(loaded())
    assert legs(both) == [(5450.0, "CALL", JULY_12), (5450.0, "PUT", JULY_12)]
    assert filter_of((default_option_filter,)) is default_option_filter
    with pytest.raises(TypeError, match="not 3 arguments"):
        filter_of((1, 2, 3))
    # Up to 35 days from Monday July 8 is August 12: the third expiry is out; ranks -1 to +1 are 5400 and 5450.
    assert expiries(default_option_filter(loaded())) == {JULY_12, JULY_19}
    assert {strike for strike, *_ in chosen(default_option_filter)} == {5400.0, 5450.0}


def test_a_universe_has_no_rows_before_its_first_selection() -> None:
    with pytest.raises(ValueError, match="before its first selection"):
        OptionFilterUniverse(Canonical()).calls_only()


def test_the_expiration_cycle_keeps_months_of_the_year() -> None:
    universe = FutureFilterUniverse(Canonical())
    universe.load(chain(SPOT, FIFTIES[:1], FRIDAYS), SATURDAY)
    assert expiries(universe.expiration_cycle([8, 9])) == {AUGUST_16}
    universe.load(chain(SPOT, FIFTIES[:1], FRIDAYS), SATURDAY)
    # A future's days count from the selection's own date: from the 6th, the 12th is six days away.
    assert expiries(filter_of((6, 6))(universe)) == {JULY_12}


def test_a_row_of_the_file_reads_as_its_columns() -> None:
    row = next(iter(loaded(figured()).puts_only()))
    assert isinstance(row, UniverseRow)
    # The second row is the 5300 put.
    assert (row.strike, str(row.right), row.expiry) == (5300.0, "PUT", datetime(2024, 7, 12))
    assert (row.implied_volatility, row.open_interest) == (0.01, 10)
    assert row.symbol == spxw(5300.0)


def test_a_rows_identifier_is_its_contracts_whatever_is_asked_of_it() -> None:
    row = next(iter(loaded(figured()).puts_only()))
    named, whole = row.id, spxw(5300.0).id
    assert (named.date, named.strike_price, str(named.option_right)) == (datetime(2024, 7, 12), 5300.0, "PUT")
    assert (named.symbol, named.market, named.option_style) == ("SPXW", "usa", whole.option_style)
    assert named == whole
    assert hash(named) == hash(whole)
    assert str(named) == str(whole)
    assert (named.StrikePrice, named.underlying) == (5300.0, whole.underlying)


# -- price models ---------------------------------------------------------------------------------------------------


class EveryDay:
    """An exchange without holidays."""

    def is_date_open(self, day: datetime) -> bool:
        return day.weekday() < 5

    def get_next_trading_day(self, day: datetime) -> datetime:
        return day + timedelta(days=7 - day.weekday())


def priced(price: float, strike: float, *, american: bool = False, call: bool = False, volatility: float = 0.0) -> Any:
    """A security of a contract that expires on Friday, July 12, on Wednesday the 3rd, the underlying at 5420."""
    source = SimpleNamespace(interest_rates=lambda: None)
    return SimpleNamespace(
        price=price,
        strike_price=strike,
        right=OptionRight.CALL if call else OptionRight.PUT,
        style=OptionStyle.AMERICAN if american else OptionStyle.EUROPEAN,
        expiry=datetime(2024, 7, 12),
        local_time=datetime(2024, 7, 3, 10),
        underlying=SimpleNamespace(price=5420.0, volatility_model=SimpleNamespace(volatility=volatility)),
        exchange=SimpleNamespace(hours=EveryDay()),
        type=SecurityType.INDEX_OPTION,
        _engine=SimpleNamespace(source=source),
    )


def test_a_model_named_after_quantlib_explains_the_price() -> None:
    found = OptionPriceModels.QuantLib.integral().evaluate(OptionPriceModelParameters(priced(30.0, 5400.0)))
    # Settlement a day after Friday is Saturday, so Monday the 15th: 12 days. At the implied volatility the price is 30.
    terms = Terms(False, 5400.0, 12 / 365, 0.01, 0.0)
    assert black_scholes_price(terms, 5420.0, found.implied_volatility, 12 / 365) == pytest.approx(30.0, rel=1e-3)
    assert -0.5 < found.greeks.delta < -0.2
    assert found.greeks is found.greeks  # asked once
    # Brenner and Subrahmanyam: sqrt(2 pi / years) x price / spot is the volatility of the theoretical price.
    guess = (2 * 3.141592653589793 / (12 / 365)) ** 0.5 * 30.0 / 5420.0
    assert found.theoretical_price == pytest.approx(black_scholes_price(terms, 5420.0, guess, 12 / 365))
    model = QLOptionPriceModel()
    warm = model.evaluate(priced(30.0, 5400.0, volatility=0.2), None, None)
    assert warm.theoretical_price == pytest.approx(black_scholes_price(terms, 5420.0, 0.2, 12 / 365))
    assert model.volatility_estimator_warmed_up


def test_a_tree_named_after_quantlib_exercises_puts_early() -> None:
    terms = Terms(False, 6000.0, 1.0, 0.05, 0.0)
    assert american_tree_price(terms, 5000.0, 0.05, 1.0) == pytest.approx(1000.0)  # worth more exercised now
    assert black_scholes_price(terms, 5000.0, 0.05, 1.0) < 720.0  # 6000 x exp(-0.05) - 5000 = 707, and little more
    assert american_tree_price(terms, 5000.0, 0.05, 0.0) == 0.0
    found = OptionPriceModels.QuantLib.binomial_tian().evaluate(priced(600.0, 6000.0, american=True), None, None)
    assert found.greeks.delta == pytest.approx(-0.9, abs=0.03)


def test_a_model_refuses_a_style_that_it_cannot_price() -> None:
    whaley = OptionPriceModels.QuantLib.BaroneAdesiWhaley()
    with pytest.raises(ArgumentException, match="European style options are not supported by option price model"):
        whaley.evaluate(priced(30.0, 5400.0), None, None)
    provider = QLOptionPriceModelProvider.INSTANCE
    assert provider.get_option_price_model(spxw(5400.0)).allowed_option_styles == [OptionStyle.EUROPEAN]
    kinds = OptionPricingModelType
    american = provider.get_option_price_model(spxw(5400.0), kinds.BINOMIAL_COX_ROSS_RUBINSTEIN)
    assert OptionStyle.AMERICAN in american.allowed_option_styles
    with pytest.raises(ArgumentException, match="ForwardTree"):
        provider.get_option_price_model(spxw(5400.0), kinds.FORWARD_TREE)


def test_models_without_prices_or_without_a_formula() -> None:
    assert (
        OptionPriceModels.QuantLib.integral().evaluate(priced(0.0, 5400.0), None, None) is OptionPriceModelResult.NONE
    )
    nothing = OptionPriceModels.null().evaluate(OptionPriceModelParameters(priced(30.0, 5400.0)))
    assert (nothing.theoretical_price, nothing.implied_volatility, nothing.greeks.delta) == (30.0, 0.0, 0.0)
    with pytest.raises(TypeError, match=r"has no evaluate\(parameters\)"):
        OptionPriceModel().evaluate(OptionPriceModelParameters())


def test_a_result_can_be_changed_and_greeks_come_a_year_and_a_day() -> None:
    result = OptionPriceModelResult(1.0, lambda: 0.2, lambda: Greeks(0.5, 0.1, 0.2, -36.5, 0.3, 2.0))
    assert (result.implied_volatility, result.greeks.theta_per_day, result.greeks.lambda_) == (0.2, -0.1, 2.0)
    result.theoretical_price, result.implied_volatility, result.greeks = 2.0, 0.3, Greeks()
    result.greeks.theta = -3.65
    assert (result.theoretical_price, result.implied_volatility) == (2.0, 0.3)
    assert result.greeks.theta_per_day == pytest.approx(-0.01)


def test_the_volatility_of_both_rights() -> None:
    terms = Terms(False, 5500.0, 0.1, 0.01, 0.0)
    call = Terms(True, 5500.0, 0.1, 0.01, 0.0)
    prices = black_scholes_price(terms, 5420.0, 0.2, 0.1), black_scholes_price(call, 5420.0, 0.3, 0.1)
    find = partial(smoothed_volatility, black_scholes_price, terms, 5420.0)
    assert find((prices[0], None)) == pytest.approx(0.2, abs=5e-3)
    assert find(prices) == pytest.approx(0.3, abs=5e-3)  # the put is in the money: the call counts
    assert find(prices, lambda own, other: (own + other) / 2) == pytest.approx(0.25, abs=5e-3)
    fixed = with_rates(terms, (SimpleNamespace(get_interest_rate=lambda day: 0.04), 0.02), SATURDAY)
    assert (fixed.rate, fixed.dividend) == (0.04, 0.02)


def test_a_file_chain_goes_by_expiry_right_and_strike_and_begins_so_before_it_is_in_order() -> None:
    """Two expiries of two strikes, written down the later one first; what has expired is left out."""
    days = [date(2024, 7, 12), date(2024, 7, 8), date(2024, 7, 5)]
    block = chain(5500.0, [5600.0, 5400.0], days)
    listed = FileChain(block, block.canonical, date(2024, 7, 8))
    first = next(iter(listed))
    expected = [
        (datetime(2024, 7, day), right, strike)
        for day in (8, 12)
        for right in (OptionRight.CALL, OptionRight.PUT)
        for strike in (5400.0, 5600.0)
    ]
    assert [(first.expiry, first.right, first.strike)] == expected[:1]
    for _ in range(2):  # put in order at the first walk, and kept
        assert [(row.expiry, row.right, row.strike) for row in listed] == expected
    assert len(listed) == 8
    assert list(FileChain(block, block.canonical, date(2024, 7, 13))) == []

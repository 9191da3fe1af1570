"""What becomes of positions at and before expiry: settlement, delivery, early assignment, exercise, futures."""

# Private: _engine: the engine's clock in milliseconds, which LEAN's algorithm does not show.

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from simulation.data.columns import FactorRow
from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import (
    DataNormalizationMode,
    OptionRight,
    OptionStyle,
    OrderStatus,
    Resolution,
    SecurityType,
    SettlementType,
)
from simulation.lean.symbols import Symbol
from simulation.orders.exercise import (
    DefaultOptionAssignmentModel,
    NullOptionAssignmentModel,
    OptionAssignmentResult,
    estimate_gain,
    is_contract_expired,
)
from simulation.orders.fees import ConstantFeeModel
from simulation.orders.fills import ImmediateFillModel, LatestPriceFillModel
from tests.simulation.playing import FRIDAY, MONDAY, Market, Recorder, Side, at, index_market, play, spxw

EXPIRY = date(2024, 7, 12)
NEXT = date(2024, 7, 15)
SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
CALL, PUT = OptionRight.CALL, OptionRight.PUT


def share_option(strike: float, right: OptionRight) -> Any:
    return Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, right, strike, FRIDAY)


def expiring(option: Any, price: float, *, underlying: float, last: float) -> Market:
    """An option and its underlying on the expiry day and the next one; `last` is the underlying at the close."""
    market = Market()
    stock = option.underlying
    closing = "16:00" if option.security_type == SecurityType.OPTION else "16:15"
    for day, clock, level in (
        (EXPIRY, "09:31", underlying),
        (EXPIRY, "10:00", underlying),
        (EXPIRY, closing, last),
        (NEXT, "09:31", last),
        (NEXT, "10:00", last),
    ):
        market.trade(stock, at(clock, day), level)
        if stock == SPY:
            market.quote(stock, at(clock, day), level, level)
    market.quote(option, at("09:31", EXPIRY), price, price)
    return market


def run(
    option: Any,
    quantity: int,
    market: Market,
    *,
    setup: Callable[[Recorder], None] | None = None,
    later: tuple[str, Callable[[Recorder], Any]] | None = None,
    cash: float = 500_000.0,
) -> Recorder:
    """Opens a position at 09:31 of the expiry day and waits for what comes."""

    def script(algorithm: Recorder) -> None:
        algorithm.set_start_date(EXPIRY)
        if option.security_type == SecurityType.OPTION:
            algorithm.add_equity("SPY", Resolution.MINUTE)
            algorithm.add_option_contract(option, Resolution.MINUTE)
        else:
            algorithm.add_index("SPX", Resolution.MINUTE)
            algorithm.add_index_option_contract(option, Resolution.MINUTE)
        if setup is not None:
            setup(algorithm)
        algorithm.do_at("09:31", lambda: algorithm.market_order(option, quantity), EXPIRY)
        if later is not None:
            clock, action = later
            algorithm.do_at(clock, lambda: action(algorithm), EXPIRY)

    return play(market, script, cash=cash, last_day=NEXT)


def events(played: Recorder, order_id: int = 2) -> list[tuple[str, str, float, float, bool, str]]:
    """(symbol's type, status, quantity, price, assignment, message) of an order's events."""
    return [
        (
            event.symbol.security_type.name,
            str(event.status),
            event.fill_quantity,
            event.fill_price,
            event.is_assignment,
            str(event.message),
        )
        for event in played.seen
        if event.order_id == order_id
    ]


def total_cash(played: Recorder) -> float:
    return float(played.portfolio.cash)


# ------------------------------------------------------------------ cash settlement


def test_an_index_option_out_of_the_money_goes_for_nothing() -> None:
    put = spxw(5300)
    played = run(put, -2, expiring(put, 1.5, underlying=5400.0, last=5400.0))
    assert events(played) == [("INDEX_OPTION", "FILLED", 2.0, 0.0, False, "OTM. Underlying: 5400. Profit: +300.0")]
    assert total_cash(played) == pytest.approx(500_000 + 300)
    assert not played.portfolio.invested


def test_a_short_index_option_in_the_money_is_assigned_and_pays_the_difference() -> None:
    put = spxw(5300)
    played = run(put, -1, expiring(put, 1.5, underlying=5400.0, last=5290.0))
    assert events(played) == [("INDEX_OPTION", "FILLED", 1.0, 0.0, True, "Assigned. Underlying: 5290. Loss: -850.0")]
    # premium 150 in, (5300 - 5290) x 100 out
    assert total_cash(played) == pytest.approx(500_000 + 150 - 1_000)


def test_a_long_index_option_in_the_money_is_exercised_for_cash() -> None:
    call = spxw(5400, CALL)
    played = run(call, 3, expiring(call, 12.0, underlying=5400.0, last=5431.5))
    assert events(played) == [
        ("INDEX_OPTION", "FILLED", -3.0, 0.0, False, "Automatic Exercise. Underlying: 5431.5. Profit: +5850.0")
    ]
    assert total_cash(played) == pytest.approx(500_000 - 3_600 + 9_450)


@pytest.mark.parametrize(("last", "word"), [(5400.0, "OTM"), (5400.01, "Automatic Exercise")])
def test_at_the_strike_an_option_is_out_of_the_money(last: float, word: str) -> None:
    call = spxw(5400, CALL)
    played = run(call, 1, expiring(call, 12.0, underlying=5395.0, last=last))
    assert events(played)[0][5].startswith(word)


# ------------------------------------------------------------------ delivery


def test_an_assigned_put_delivers_shares_at_the_strike() -> None:
    put = share_option(550, PUT)
    played = run(put, -1, expiring(put, 2.0, underlying=552.0, last=548.0))
    assert events(played) == [
        ("OPTION", "FILLED", 1.0, 0.0, True, "Assigned. Underlying: 548.0000. Profit: +200"),
        ("EQUITY", "FILLED", 100.0, 550.0, False, "Option Assignment"),
    ]
    held = played.portfolio[SPY]
    assert (held.quantity, held.average_price) == (100, 550.0)
    # 200 of premium, one dollar of fee, 100 shares for 55,000
    assert total_cash(played) == pytest.approx(500_000 + 200 - 1 - 55_000)


def test_an_exercised_call_buys_shares_at_the_strike() -> None:
    call = share_option(550, CALL)
    played = run(call, 2, expiring(call, 2.0, underlying=548.0, last=553.0))
    assert [event[:4] for event in events(played)] == [
        ("OPTION", "FILLED", -2.0, 0.0),
        ("EQUITY", "FILLED", 200.0, 550.0),
    ]
    assert played.portfolio[SPY].quantity == 200


# ------------------------------------------------------------------ before expiry


def deep_put_market(depth: float) -> tuple[Any, Market]:
    put = spxw(5400)
    return put, expiring(put, depth * 5400, underlying=5400 * (1 - depth), last=5400 * (1 - depth))


@pytest.mark.parametrize(("depth", "early"), [(0.04, False), (0.06, True)])
def test_deep_short_options_are_assigned_on_the_hour_of_their_last_day(depth: float, early: bool) -> None:
    put, market = deep_put_market(depth)
    played = run(put, -1, market)
    tag = "Simulated option assignment before expiration"
    assert (played.transactions.get_order_by_id(2).tag == tag) is early
    filled = [event.utc_ms for event in played.seen if event.order_id == 2]
    assert len(filled) == 1
    assert (filled[0] == NEW_YORK.utc_ms(at("10:00", EXPIRY))) is early


def test_a_model_that_assigns_nobody() -> None:
    put, market = deep_put_market(0.06)
    played = run(put, -1, market, setup=lambda a: a.securities[put].set_option_assignment_model(NullModel()))
    assert not played.transactions.get_order_by_id(2).tag


class NullModel(NullOptionAssignmentModel):
    """LEAN's own null model, by the way of a subclass."""


class OwnModel(DefaultOptionAssignmentModel):
    """Assigns whatever it is asked about."""

    def get_assignment(self, parameters: Any) -> OptionAssignmentResult:
        return OptionAssignmentResult(1.0, "chosen by lot")


def test_a_model_of_the_algorithm_decides_when_not_how_much() -> None:
    put = spxw(5300)
    market = expiring(put, 1.5, underlying=5400.0, last=5400.0)
    played = run(put, -3, market, setup=lambda a: a.securities[put].set_option_assignment_model(OwnModel()))
    # LEAN takes the quantity as a yes and assigns the whole position
    assert [event[2] for event in events(played)] == [3.0]
    assert played.transactions.get_order_by_id(2).tag == "chosen by lot"


def test_exercise_of_an_american_call_on_request() -> None:
    call = share_option(540, CALL)
    market = expiring(call, 9.0, underlying=549.0, last=549.0)
    played = run(call, 2, market, later=("10:00", lambda a: a.exercise_option(call, 1)))
    found = events(played)
    assert [event[:4] for event in found if event[1] == "FILLED"] == [
        ("OPTION", "FILLED", -1.0, 0.0),
        ("EQUITY", "FILLED", 100.0, 540.0),
    ]
    # the other contract is exercised at expiry
    assert played.portfolio[SPY].quantity == 200


@pytest.mark.parametrize(("right", "units"), [(CALL, 200.0), (PUT, -200.0)])
def test_units_that_an_exercise_moves(right: OptionRight, units: float) -> None:
    option = share_option(550, right)
    seen: list[float] = []

    def look(algorithm: Recorder) -> None:
        held = algorithm.securities[option]
        seen.extend([held.get_exercise_quantity(), held.get_exercise_quantity(-2), held.get_exercise_quantity(1)])

    run(option, 2, expiring(option, 2.0, underlying=550.0, last=550.0), later=("10:00", look))
    assert seen == [units, units, -units / 2]


def test_european_options_are_not_exercised_before_their_last_day() -> None:
    call = spxw(5300, CALL, datetime(2024, 7, 19))
    market = expiring(call, 110.0, underlying=5400.0, last=5400.0)
    tickets: list[Any] = []
    run(call, 1, market, later=("10:00", lambda a: tickets.append(a.exercise_option(call, 1))))
    response = tickets[0].submit_request.response
    assert response.is_error
    assert str(response.error_code) == "EUROPEAN_OPTION_NOT_EXPIRED_ON_EXERCISE"


def test_more_cannot_be_exercised_than_is_held() -> None:
    call = share_option(540, CALL)
    market = expiring(call, 9.0, underlying=549.0, last=549.0)
    tickets: list[Any] = []
    run(call, 1, market, later=("10:00", lambda a: tickets.append(a.exercise_option(call, 2))))
    assert str(tickets[0].submit_request.response.error_code) == "UNSUPPORTED_REQUEST_TYPE"


def test_open_orders_die_with_their_contract() -> None:
    put = spxw(5300)
    market = expiring(put, 1.5, underlying=5400.0, last=5400.0)
    played = run(put, -1, market, later=("10:00", lambda a: a.limit_order(put, 1, 0.05)))
    assert played.statuses(2) == ["SUBMITTED", "CANCEL_PENDING", "CANCELED"]
    assert events(played, 3)[0][:3] == ("INDEX_OPTION", "FILLED", 1.0)


def test_when_a_contract_has_expired() -> None:
    put = spxw(5300)
    seen: list[tuple[str, bool]] = []

    def script(algorithm: Recorder) -> None:
        algorithm.set_start_date(EXPIRY)
        algorithm.add_index("SPX", Resolution.MINUTE)
        option = algorithm.add_index_option_contract(put, Resolution.MINUTE)

        def look() -> None:
            seen.append((f"{algorithm.time:%H:%M}", is_contract_expired(option, algorithm._engine.utc_ms)))

        for clock in ("15:59", "16:00", "16:15"):
            algorithm.do_at(clock, look, EXPIRY)

    market = expiring(put, 1.5, underlying=5400.0, last=5400.0)
    for clock in ("15:59", "16:00"):
        market.trade(put.underlying, at(clock, EXPIRY), 5400.0)
    play(market, script, last_day=NEXT)
    assert seen == [("15:59", False), ("16:00", False), ("16:15", True)]


# ------------------------------------------------------------------ splits and dividends


def nothing(algorithm: Any) -> None:
    """Sends no order."""


def shares_over_a_night(
    split: float, price_factor: float, *, with_option: bool = False, order: Callable[[Any], Any] = nothing
) -> Any:
    """Holds 15 raw shares (and a call) from Friday into Monday; the factors are Friday's. `splits` are those told."""
    seen: list[Any] = []
    call = share_option(600, CALL)
    option = Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, CALL, 600.0, datetime(2024, 7, 19))
    market = expiring(call, 9.0, underlying=600.0, last=600.0)
    market.quote_rows = {symbol: rows for symbol, rows in market.quote_rows.items() if symbol == SPY}
    for clock in ("09:31", "15:44", "16:00"):
        market.quote(option, at(clock, EXPIRY), 9.0, 9.0)
        market.trade(SPY, at(clock, EXPIRY), 600.0)
    market.factor_rows = [
        FactorRow(EXPIRY, price_factor, split, 600.0),
        FactorRow(date(2050, 12, 31), 1.0, 1.0, 0.0),
    ]

    def script(algorithm: Any) -> None:
        algorithm.set_start_date(EXPIRY)
        share = algorithm.add_equity("SPY", Resolution.MINUTE, data_normalization_mode=DataNormalizationMode.RAW)
        share.set_fee_model(ConstantFeeModel(0))
        algorithm.do_at("09:31", lambda: algorithm.market_order(SPY, 15), EXPIRY)
        algorithm.do_at("15:44", lambda: order(algorithm), EXPIRY)
        algorithm.on_splits = lambda splits: seen.extend(pair.value for pair in splits)
        if with_option:
            algorithm.add_option_contract(option, Resolution.MINUTE)
            algorithm.do_at("09:31", lambda: algorithm.market_order(option, -1), EXPIRY)

    played: Any = play(market, script, last_day=NEXT)
    played.splits = seen
    return played


def test_a_split_multiplies_raw_shares_and_pays_the_rest() -> None:
    # two for three: 15 / 2 x 3 would be 22.5 shares at 400
    played = shares_over_a_night(2 / 3, 1.0)
    held = played.portfolio[SPY]
    assert held.quantity == 22
    assert held.average_price == pytest.approx(400.0)
    assert total_cash(played) == pytest.approx(100_000 - 9_000 + 0.5 * 400)


def test_a_split_is_told_a_day_before_and_on_its_day() -> None:
    played = shares_over_a_night(0.5, 1.0)
    told = [(str(split.type), split.time.date(), split.split_factor, split.reference_price) for split in played.splits]
    assert told == [("WARNING", EXPIRY, 0.5, 600.0), ("SPLIT_OCCURRED", NEXT, 0.5, 600.0)]
    assert shares_over_a_night(1.0, 0.99).splits == []


@pytest.mark.parametrize(
    ("send", "after"),
    [
        (lambda a: a.limit_order(SPY, 10, 500.0), {"quantity": 20, "limit_price": 250.0}),
        (lambda a: a.stop_limit_order(SPY, -10, 500.0, 490.0), {"quantity": -20, "stop_price": 250.0}),
        (lambda a: a.trailing_stop_order(SPY, -10, 0.1, True), {"quantity": -20, "trailing_amount": 0.1}),
        (lambda a: a.trailing_stop_order(SPY, -10, 80.0, False), {"quantity": -20, "trailing_amount": 40.0}),
    ],
)
def test_a_split_changes_the_orders_that_rest(send: Callable[[Any], Any], after: dict[str, float]) -> None:
    played = shares_over_a_night(0.5, 1.0, order=send)
    order = played.transactions.get_order_by_id(2)
    assert {name: getattr(order, name) for name in after} == {k: pytest.approx(v) for k, v in after.items()}


def test_options_are_bought_back_before_a_split() -> None:
    played = shares_over_a_night(0.5, 1.0, with_option=True)
    order = played.transactions.get_order_by_id(3)
    assert (str(order.type), order.quantity, order.tag[:29]) == ("MARKET_ON_CLOSE", 1, "Liquidated due to impending s")
    assert played.statuses(3) == ["SUBMITTED", "FILLED"]


def test_a_dividend_is_paid_in_whole_cents() -> None:
    # 600 x (1 - 0.99) = 6 dollars a share
    played = shares_over_a_night(1.0, 0.99)
    assert total_cash(played) == pytest.approx(100_000 - 9_000 + 15 * 6)


# ------------------------------------------------------------------ futures


def test_a_future_is_sold_when_it_stops_trading() -> None:
    last_day = datetime(2024, 6, 21)
    future = Symbol.create_future("ES", "cme", last_day)
    market = Market()
    bars: list[tuple[datetime, Side | float]] = [
        (at("09:31", date(2024, 6, 20)), 5500.0),
        (at("09:31", last_day.date()), 5480.0),
        (at("16:00", last_day.date()), 5470.0),
        (at("09:31", date(2024, 6, 24)), 5460.0),
    ]
    for clock, bar in bars:
        market.trade(future, clock, bar)
        market.quote(future, clock, bar, bar)

    def script(algorithm: Recorder) -> None:
        algorithm.set_start_date(date(2024, 6, 20))
        algorithm.add_future_contract(future, Resolution.MINUTE)
        algorithm.do_at("09:31", lambda: algorithm.market_order(future, 2), date(2024, 6, 20))

    played = play(market, script, last_day=date(2024, 6, 24))
    fills = [(event.fill_quantity, event.fill_price) for event in played.seen if event.status == OrderStatus.FILLED]
    assert fills[0] == (2.0, 5500.0)
    assert len(fills) == 2
    assert fills[1][0] == -2.0
    # gains and losses of a future go to cash when it is closed: 50 dollars a point, fees aside
    closed = played.portfolio.total_profit
    assert closed == pytest.approx(2 * 50 * (fills[1][1] - 5500.0))
    assert not played.portfolio.invested


def test_what_the_holder_gains_by_exercising_counts_the_unit_twice() -> None:
    # LEAN's estimate for two short calls 5070 on a future at 5100: exercising 30 x 2 less the 10 x 2 x 50 paid, selling
    # (30 - 10) x 2 x 50; 60 - 1,000 - 2,000
    free = SimpleNamespace(get_order_fee=lambda _: SimpleNamespace(value=SimpleNamespace(amount=0.0)))
    future = SimpleNamespace(symbol=SPY, bid_price=5100.0, ask_price=5100.25, fee_model=free)
    option: Any = SimpleNamespace(
        holdings=SimpleNamespace(quantity=-2.0, absolute_quantity=2.0, average_price=10.0),
        symbol_properties=SimpleNamespace(contract_multiplier=50.0),
        underlying=future,
        symbol=share_option(510.0, CALL),
        fee_model=free,
        right=OptionRight.CALL,
        bid_price=30.0,
        contract_unit_of_trade=1.0,
        scaled_strike_price=5070.0,
        exercise_settlement=SettlementType.PHYSICAL_DELIVERY,
        _engine=SimpleNamespace(utc_ms=0),
    )
    assert estimate_gain(option) == -2_940.0


# ------------------------------------------------------------------ the base model at the open and the close

TUESDAY = date(2024, 7, 9)


def filled_at(send: Callable[[Any], Any], *, clock: str = "10:00") -> list[tuple[str, float]]:
    """Buys the 5350 put, quoted 2.20 to 2.30 on Monday, 2.00 to 2.10 at its close; opens at 2.40 on Tuesday."""
    option = spxw(5350)
    market = index_market("10:00", "16:15")
    market.trade(option.underlying, at("09:31", TUESDAY), 5450.0)
    market.quote(option, at("09:31"), 2.20, 2.30)
    market.quote(option, at("16:15"), 2.00, 2.10)
    market.quote(option, at("09:31", TUESDAY), 2.30, (2.40, 2.60, 2.20, 2.50))

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(option, Resolution.MINUTE)
        algorithm.do_at(clock, lambda: send(algorithm))

    played = play(market, script, last_day=TUESDAY)
    return [(f"{event.utc_time:%d %H:%M}", event.fill_price) for event in played.seen if event.fill_quantity]


def test_an_option_at_the_close_and_at_the_open() -> None:
    option = spxw(5350)
    assert filled_at(lambda algorithm: algorithm.market_on_close_order(option, 1)) == [("08 20:15", 2.10)]
    at_open = [("09 13:31", 2.40)]
    assert filled_at(lambda algorithm: algorithm.market_on_open_order(option, 1), clock="16:30") == at_open
    # a market order in a closed market becomes one for the open
    assert filled_at(lambda algorithm: algorithm.market_order(option, 1), clock="16:30") == at_open


@pytest.mark.parametrize(
    ("model", "closed", "touched"),
    [
        # the base fills at the last ask of 500.02, whatever was traded since; touched, it fills at the limit
        (ImmediateFillModel, 500.02, 500.5),
        # the newest of quote and trade: the trade of 502 at the close
        (LatestPriceFillModel, 502.0, 500.5),
    ],
)
def test_shares_with_the_base_model(model: type[ImmediateFillModel], closed: float, touched: float) -> None:
    market = Market()
    for clock, price in (("09:31", 500.0), ("10:00", 500.0), ("10:01", 499.0), ("16:00", 502.0)):
        market.trade(SPY, at(clock), price)
    market.quote(SPY, at("09:31"), 499.98, 500.02)

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE).set_fill_model(model())
        algorithm.do_at("10:00", lambda: algorithm.limit_if_touched_order(SPY, 10, 499.5, 500.5))
        algorithm.do_at("10:00", lambda: algorithm.limit_if_touched_order(SPY, 10, 499.5, 499.97))
        algorithm.do_at("10:00", lambda: algorithm.market_on_close_order(SPY, 10))

    played = play(market, script, last_day=MONDAY)
    # the second is touched too, but LEAN asks for the near side: the bid of 499.98 is over its limit
    assert played.fills() == [(1, 10.0, touched), (3, 10.0, closed)]

"""What the account does by itself: margin calls, cash that settles later, margin of shares with options, refusals.

SPX stands at 5,000 and SPY at 500; options have one price (bid = ask), so every figure can be worked out by hand.
The naked margin of the 4900 put at 14 is 1,400 + 65,000 (`tests/simulation/account/test_engine_margin.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from simulation.account.brokerages import (
    DefaultBrokerageModel,
    InteractiveBrokersBrokerageModel,
    TastytradeBrokerageModel,
)
from simulation.account.buying_power import OptionInitialMargin
from simulation.account.holdings import (
    AccountCurrencyImmediateSettlementModel,
    ApplyFundsSettlementModelParameters,
    CashBook,
    DelayedSettlementModel,
    ImmediateSettlementModel,
    MarginInterestRateModel,
    MarginInterestRateParameters,
    ScanSettlementModelParameters,
)
from simulation.account.margin_calls import MarginCallModel, maximum_lots
from simulation.account.strategies_margin import Legs, strategy_maintenance
from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import (
    AccountType,
    BrokerageName,
    OptionRight,
    OptionStyle,
    OrderStatus,
    OrderType,
    Resolution,
    SecurityType,
    SettlementType,
)
from simulation.lean.symbols import Symbol
from simulation.market.definitions import market_hours
from simulation.orders.fees import Currencies
from simulation.orders.order_parts import CashAmount, GroupOrderManager, Leg
from simulation.orders.orders import (
    ComboLegLimitOrder,
    MarketOnCloseOrder,
    MarketOnOpenOrder,
    OptionExerciseOrder,
    Order,
)
from tests.simulation.playing import FRIDAY, MONDAY, NOTHING, SPX, Market, Recorder, at, index_market, play, spxw

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
TUESDAY = date(2024, 7, 9)
LOW, SHORT = spxw(4850), spxw(4900)
Requests = list[tuple[str, float, str | None]]


def spy_option(name: str) -> Any:
    """ "C510": the call on SPY with this strike that expires on Friday."""
    right = OptionRight.CALL if name[0] == "C" else OptionRight.PUT
    return Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, right, float(name[1:]), FRIDAY)


# -- margin calls ---------------------------------------------------------------------------------------------------


class Called:
    """What margin calls asked for and said in one run, and the algorithm."""

    def __init__(self) -> None:
        self.requests: list[Requests] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def watch(self, algorithm: Any, answer: Callable[[list[Any]], Any] | None = None) -> None:
        def on_margin_call(requests: list[Any]) -> Any:
            self.requests.append([(str(r.order_type), r.quantity, r.tag) for r in requests])
            return requests if answer is None else answer(requests)

        algorithm.on_margin_call = on_margin_call
        algorithm.on_margin_call_warning = lambda: self.warnings.append(f"{algorithm.time:%H:%M}")
        algorithm.error = self.errors.append


def run_short(
    legs: dict[Any, int], value: float, *, answer: Any = None, clock: str = "10:00", ends: str = "10:06"
) -> tuple[Called, Recorder]:
    """Sells a book at 09:31 and sets the cash so that the portfolio is worth `value` a minute before `clock`."""
    called = Called()
    market = index_market("09:59", "10:00", "10:01", "10:05", ends, price=5000.0)
    prices = {LOW: 8.0, SHORT: 14.0}
    for symbol in legs:
        market.quote(symbol, at("09:31"), prices[symbol], prices[symbol])

    def script(algorithm: Recorder) -> None:
        called.watch(algorithm, answer)
        algorithm.add_index("SPX", Resolution.MINUTE)
        for symbol in legs:
            algorithm.add_index_option_contract(symbol, Resolution.MINUTE)

        def enter() -> None:
            for symbol, quantity in legs.items():
                algorithm.market_order(symbol, quantity)

        def lose() -> None:
            book = algorithm.portfolio
            book.set_cash(book.cash - (book.total_portfolio_value - value))

        algorithm.do_at("09:31", enter)
        algorithm.do_at(clock, lose)

    return called, play(market, script, cash=10_000_000.0)


def test_a_naked_put_is_bought_back_when_the_margin_is_passed_by_a_tenth() -> None:
    # used 66,400; 66,400 / 1.1 = 60,363.64: above that only nothing is left, below it the one contract must go
    called, played = run_short({SHORT: -1}, 60_400.0)
    assert (called.requests, called.warnings) == ([], [])
    called, played = run_short({SHORT: -1}, 60_300.0)
    assert called.requests == [[("MARKET", 1.0, "Margin Call")]]
    assert played.fills() == [(1, -1.0, 14.0), (2, 1.0, 14.0)]
    assert called.errors == [f"07/08/2024 10:01:00 - Executed MarginCallOrder: {SHORT} - Quantity: 1 @ 14"]
    assert called.warnings == []


def test_a_warning_comes_when_a_twentieth_is_left() -> None:
    # 66,400 used of 69,800: 3,400 left, 5 % would be 3,490; of 70,000 3,600 are left and 3,500 would be 5 %
    assert run_short({SHORT: -1}, 69_800.0)[0].warnings[:2] == ["10:01", "10:06"]
    assert run_short({SHORT: -1}, 70_000.0)[0].warnings == []


def test_a_spread_closes_by_units_and_LEANs_own_square() -> None:
    # three 50-point verticals reserve 15,000; at 13,000 one of them too many (10,000 left), at 8,000 two (5,000 left)
    called, played = run_short({LOW: 3, SHORT: -3}, 13_000.0)
    assert called.requests == [[("COMBO_MARKET", 1.0, "Margin Call"), ("COMBO_MARKET", -1.0, "Margin Call")]]
    assert {symbol: played.portfolio[symbol].quantity for symbol in (LOW, SHORT)} == {LOW: 2.0, SHORT: -2.0}
    # LEAN multiplies the legs by the units once more: two units of a group of two are four contracts a leg
    called, _ = run_short({LOW: 3, SHORT: -3}, 8_000.0)
    assert sorted(quantity for _, quantity, _ in called.requests[0]) == [-4.0, 4.0]


def test_the_algorithm_chooses_what_is_sent_and_must_choose_something() -> None:
    def smaller(requests: list[Any]) -> list[Any]:
        requests[0].quantity = 2.0
        return requests

    called, played = run_short({SHORT: -3}, 150_000.0, answer=smaller)
    # 199,200 used, 49,200 too much: one contract (66,400) would do
    assert called.requests[0] == [("MARKET", 1.0, "Margin Call")]
    assert played.portfolio[SHORT].quantity == -1.0
    for answer in (None, [], ["not a request"]):
        with pytest.raises(ValueError, match="OnMarginCall must return a non-empty list of SubmitOrderRequest"):
            run_short({SHORT: -1}, 60_000.0, answer=lambda _, given=answer: given)


def shares_at(value: float, clock: str) -> tuple[Called, Recorder]:
    """300 shares at 500, the portfolio set to a value at a time; SPX trades until 16:10."""
    called = Called()
    market = index_market("16:05", "16:10", price=5000.0)
    for when in ("09:31", "15:59", "16:00"):
        market.trade(SPY, at(when), 500.0)
        market.quote(SPY, at(when), 500.0, 500.0)

    def script(algorithm: Recorder) -> None:
        called.watch(algorithm)
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.do_at("09:31", lambda: algorithm.market_order(SPY, 300))
        algorithm.do_at(clock, lambda: algorithm.portfolio.set_cash(value - 150_000.0))

    return called, play(market, script, cash=100_000.0)


def test_shares_are_sold_until_margin_and_fee_fit() -> None:
    # 75,000 used of 60,000: the target is 60,000 / 250 = 240 shares, and a dollar of fee takes one more: 61 are sold
    called, played = shares_at(60_000.0, "10:00")
    assert called.requests == [[("MARKET", -61.0, "Margin Call")]]
    assert played.portfolio[SPY].quantity == 239.0


def test_nobody_sells_in_a_closed_market_but_the_warning_comes() -> None:
    called, played = shares_at(60_000.0, "16:03")
    assert called.requests == []
    assert called.warnings != []
    assert played.portfolio[SPY].quantity == 300.0


def test_no_model_no_calls() -> None:
    orders, warn = MarginCallModel.NULL.get_margin_call_orders()
    assert (orders, warn) == ([], False)
    assert MarginCallModel.NULL.execute_margin_call(orders) == []


class Stub:
    """A group whose initial margin is a table of its units; no fees."""

    def __init__(self, margins: dict[float, float], held: float, quantity: float | None = None) -> None:
        self.margins, self.quantity = margins, held if quantity is None else quantity
        self.held = held
        self.positions: list[Any] = []
        self.buying_power_model = SimpleNamespace(initial=lambda group: margins[abs(group.quantity)])

    def with_quantity(self, quantity: float) -> Stub:
        return Stub(self.margins, self.held, quantity)


ACCOUNT: Any = SimpleNamespace(total_portfolio_value=1_000.0)
RUINED: Any = SimpleNamespace(total_portfolio_value=0.0)
stub: Any = Stub


def test_units_are_closed_one_by_one() -> None:
    table = {0.0: 0.0, 1.0: 10.0, 2.0: 20.0, 3.0: 30.0, 4.0: 40.0}
    assert maximum_lots(ACCOUNT, stub(table, 3.0), 0.0) == -3.0
    assert maximum_lots(ACCOUNT, stub(table, 3.0), 15.0) == -2.0
    # a target above what is used grows the group; 35 is passed by 4, so 3 stay and nothing is ordered
    assert maximum_lots(ACCOUNT, stub(table, 3.0), 35.0) == 0.0
    assert maximum_lots(ACCOUNT, stub({3.0: 30.0, 1.0: 0.0}, 3.0), 15.0) == 0.0
    assert maximum_lots(RUINED, stub(table, 3.0), 15.0) == -3.0


def test_a_margin_that_grows_while_units_are_closed_is_an_error() -> None:
    growing = {3.0: 30.0, 2.0: 31.0, 1.0: 32.0}
    with pytest.raises(ArithmeticError, match="does not come nearer"):
        maximum_lots(ACCOUNT, stub(growing, 3.0), 15.0)


# -- settlement -----------------------------------------------------------------------------------------------------


def fund(model: Any, portfolio: Any, amount: float, when: datetime) -> None:
    hours = market_hours().get_exchange_hours("usa", "SPY", SecurityType.EQUITY)
    security: Any = SimpleNamespace(
        exchange=SimpleNamespace(hours=hours), symbol_properties=SimpleNamespace(quote_currency="USD")
    )
    money = CashAmount(amount, Currencies.USD)
    parameters = ApplyFundsSettlementModelParameters(portfolio, security, NEW_YORK.utc_ms(when), money, None)
    assert parameters.utc_time.replace(tzinfo=None) == when + timedelta(hours=4)
    model.apply_funds(parameters)


def look(model: Any, portfolio: Any, when: datetime) -> tuple[float, float]:
    parameters = ScanSettlementModelParameters(portfolio, NOTHING, NEW_YORK.utc_ms(when))
    assert parameters.utc_time.replace(tzinfo=None) == when + timedelta(hours=4)
    model.scan(parameters)
    return portfolio.cash_book["USD"].amount, portfolio.unsettled_cash_book["USD"].amount


def test_a_sale_settles_at_six_on_the_next_day_the_market_opens() -> None:
    model = DelayedSettlementModel(1, timedelta(hours=6))
    portfolio = SimpleNamespace(cash_book=CashBook(), unsettled_cash_book=CashBook())
    assert model.get_unsettled_cash() is None
    fund(model, portfolio, 100.0, datetime(2024, 7, 3, 10))  # the 4th is a holiday
    fund(model, portfolio, -30.0, datetime(2024, 7, 3, 10))  # a purchase is paid at once
    unsettled = model.get_unsettled_cash()
    assert str(unsettled) == "100 USD"
    assert look(model, portfolio, datetime(2024, 7, 5, 5, 59)) == (-30.0, 100.0)
    assert look(model, portfolio, datetime(2024, 7, 5, 6)) == (70.0, 0.0)


@pytest.mark.parametrize("model", [ImmediateSettlementModel(), AccountCurrencyImmediateSettlementModel()])
def test_cash_that_settles_at_once(model: ImmediateSettlementModel) -> None:
    portfolio = SimpleNamespace(cash_book=CashBook(), unsettled_cash_book=CashBook())
    fund(model, portfolio, 100.0, datetime(2024, 7, 3, 10))
    assert look(model, portfolio, datetime(2024, 7, 3, 11)) == (100.0, 0.0)
    assert model.get_unsettled_cash() is None


@pytest.mark.parametrize(
    ("account", "expected"), [(AccountType.CASH, (0.0, 50_000.0)), (AccountType.MARGIN, (50_000.0, 0.0))]
)
def test_a_cash_account_waits_for_its_sales(account: AccountType, expected: tuple[float, float]) -> None:
    market = Market()
    for day in (MONDAY, TUESDAY):
        market.trade(SPY, at("09:31", day), 500.0)
        market.quote(SPY, at("09:31", day), 500.0, 500.0)
    seen: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.set_brokerage_model(BrokerageName.TASTYTRADE, account)  # no fee on shares
        algorithm.add_equity("SPY", Resolution.MINUTE)

        def trade() -> None:
            algorithm.market_order(SPY, 100)
            algorithm.market_order(SPY, -100)
            note()

        def note() -> None:
            book = algorithm.portfolio
            seen.append((book.cash, book.unsettled_cash, book.total_portfolio_value, book.margin_remaining))

        algorithm.do_at("09:31", trade)
        algorithm.do_at("09:31", note, TUESDAY)

    play(market, script, cash=50_000.0, last_day=TUESDAY)
    cash, unsettled = expected
    # unsettled money is worth what it is, and not free
    assert seen == [(cash, unsettled, 50_000.0, cash), (50_000.0, 0.0, 50_000.0, 50_000.0)]


def test_a_model_of_ones_own_is_asked_every_hour_for_interest() -> None:
    class TenPercent:
        asked: list[str]

        def apply_margin_interest_rate(self, parameters: MarginInterestRateParameters) -> None:
            value = parameters.security.holdings.get_quantity_value(10.0)
            assert value.in_account_currency == value.amount == 10 * parameters.security.price
            self.asked.append(f"{parameters.time:%H:%M}")
            value.cash.add_amount(0.1 * value.cash.amount)

    market, model = Market(), TenPercent()
    model.asked = []
    for clock in ("09:31", "10:59"):
        market.trade(SPY, at(clock), 500.0)

    def script(algorithm: Any) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE).set_margin_interest_rate_model(model)

    played = play(market, script, cash=1_000.0)
    # at the first step of the day and then at each full hour (UTC) while the market is open
    assert model.asked[-7:] == ["14:00", "15:00", "16:00", "17:00", "18:00", "19:00", "20:00"]
    assert played.portfolio.cash == pytest.approx(1_000.0 * 1.1 ** len(model.asked))
    MarginInterestRateModel.NULL.apply_margin_interest_rate(MarginInterestRateParameters(NOTHING, datetime(2024, 7, 8)))


# -- shares with options --------------------------------------------------------------------------------------------

PRICES = {"P490": 3.0, "P500": 4.8, "P510": 12.0, "C490": 12.0, "C500": 5.0, "C510": 2.0}


def shares_and(quantity: int, options: dict[str, int]) -> list[tuple[str, float, float]]:
    """(name, maintenance, initial without premium) of each group; SPY at 500."""
    market = Market()
    for clock in ("09:31", "09:32"):
        market.trade(SPY, at(clock), 500.0)
    market.quote(SPY, at("09:31"), 500.0, 500.0)
    for name in options:
        market.quote(spy_option(name), at("09:31"), PRICES[name], PRICES[name])
    seen: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        for name in options:
            algorithm.add_option_contract(spy_option(name), Resolution.MINUTE)

        def enter() -> None:
            algorithm.market_order(SPY, quantity)
            for name, contracts in options.items():
                algorithm.market_order(spy_option(name), contracts)
            for group in algorithm.portfolio.positions.groups:
                initial = group.buying_power_model.initial(group)
                assert isinstance(initial, OptionInitialMargin)
                seen.append((str(group.buying_power_model), group.reserved_buying_power(), initial))

        algorithm.do_at("09:31", enter)

    play(market, script, cash=10_000_000.0)
    return [(name, held, initial.value_without_premium) for name, held, initial in seen]


@pytest.mark.parametrize(
    ("shares", "options", "expected"),
    [
        # 10 % of the strike and 10 points out of the money, a share; opening takes the shares' own half
        (100, {"P490": 1}, ("Protective Put", 5_900.0, 25_000.0)),
        (-100, {"C510": 1}, ("Protective Call", 6_100.0, 25_000.0)),
        # half the shares and what the put is in the money
        (-100, {"P510": -1}, ("Covered Put", 26_000.0, 26_000.0)),
        # 1,000 in the money and half of the shares at the strike: 24,500; to open, 80 % of the call and half the shares
        (100, {"C490": -1}, ("Covered Call", 25_500.0, 25_960.0)),
        # the lesser of put (49 + 10) and a quarter of the call's strike (127.50)
        (100, {"C510": -1, "P490": 1}, ("Protective Collar", 5_900.0, 25_000.0)),
        (-100, {"C510": 1, "P490": -1}, ("Protective Collar", 5_900.0, 25_000.0)),
        # 10 % of the strike
        (100, {"C500": -1, "P500": 1}, ("Conversion", 5_000.0, 25_000.0)),
        (-100, {"C500": 1, "P500": -1}, ("Reverse Conversion", 5_000.0, 25_000.0)),
    ],
)
def test_shares_with_options(shares: int, options: dict[str, int], expected: tuple[str, float, float]) -> None:
    found = shares_and(shares, options)
    assert [name for name, _, _ in found] == [expected[0]]
    assert found[0][1:] == pytest.approx(expected[1:])


def test_LEAN_has_no_margin_for_backspreads() -> None:
    with pytest.raises(ValueError, match="Call Backspread margin modeling has yet to be implemented"):
        strategy_maintenance("Call Backspread", Legs([], 1.0))


# -- what brokers refuse --------------------------------------------------------------------------------------------


def security(kind: SecurityType, clock: str, settlement: SettlementType = SettlementType.CASH) -> Any:
    hours = market_hours().get_exchange_hours("usa", "SPY", SecurityType.EQUITY)
    return SimpleNamespace(
        type=kind,
        local_time=at(clock),
        exchange=SimpleNamespace(hours=hours),
        exercise_settlement=settlement,
        holdings=SimpleNamespace(quantity=0.0),
    )


def four_legs() -> Order:
    order = ComboLegLimitOrder(SPX, 1, 0)
    order.group_order_manager = GroupOrderManager(1, 4, 1)
    return order


@pytest.mark.parametrize(
    ("kind", "clock", "order", "expected"),
    [
        (
            SecurityType.OPTION,
            "10:00",
            MarketOnCloseOrder(SPX, 1, 0),
            "Warning - Code: Unsupported order type for Option security type - InteractiveBrokers does not support "
            "Market-on-Close orders for other security types different than Future and Equity.",
        ),
        (
            SecurityType.FUTURE,
            "18:00",
            MarketOnOpenOrder(SPX, 1, 0),
            "Warning - Code: UnsupportedSecurityType - The broker does not support Market-on-Open orders for security "
            "type Future",
        ),
        # from the close to two minutes before the open, with LEAN's twelve hours and blanks
        (
            SecurityType.EQUITY,
            "09:28",
            MarketOnOpenOrder(SPX, 1, 0),
            "Warning - Code: NotSupported - MarketOnOpen submission time is invalid. Valid local times are  "
            "04:00\u2013 09:28. Consider setting daily_precise_end_time = false or using self.schedule.on.",
        ),
        (SecurityType.EQUITY, "09:27", MarketOnOpenOrder(SPX, 1, 0), None),
        (SecurityType.EQUITY, "16:00", MarketOnOpenOrder(SPX, 1, 0), None),
        (
            SecurityType.OPTION,
            "10:00",
            four_legs(),
            "Warning - Code: NotSupported - The InteractiveBrokersBrokerageModel does not support four-leg "
            "ComboLegLimit orders. Use ComboLimit orders for four-leg combinations or more.",
        ),
        (
            SecurityType.INDEX_OPTION,
            "10:00",
            OptionExerciseOrder(SPX, -1, 0),
            "Warning - Code: NotSupported - The InteractiveBrokersBrokerageModel does not support OptionExercise "
            "exercises for index and cash-settled options.",
        ),
    ],
)
def test_what_interactive_brokers_refuses(kind: SecurityType, clock: str, order: Order, expected: str | None) -> None:
    found = InteractiveBrokersBrokerageModel().refusal(security(kind, clock), order)
    assert (None if found is None else str(found)) == expected


def test_tastytrade_takes_five_kinds_of_security() -> None:
    found = TastytradeBrokerageModel().refusal(security(SecurityType.CFD, "10:00"), Order(SPX, 1, 0))
    assert str(found) == (
        "Warning - Code: NotSupported - The TastytradeBrokerageModel does not support Cfd security type."
    )


def test_the_default_broker_opens_no_future_at_the_open() -> None:
    found = DefaultBrokerageModel().refusal(security(SecurityType.FUTURE, "10:00"), MarketOnOpenOrder(SPX, 1, 0))
    assert "MarketOnOpen orders are not supported for futures" in str(found)


def test_a_fill_model_that_raises_leaves_the_order_resting() -> None:
    class Broken:
        def fill(self, parameters: Any) -> list[Any]:
            raise RuntimeError("no idea")

    errors: list[str] = []
    market = index_market("10:00", "10:01", price=5000.0)
    market.quote(SHORT, at("09:31"), 14.0, 14.0)

    def script(algorithm: Any) -> None:
        algorithm.error = errors.append
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(SHORT, Resolution.MINUTE).set_fill_model(Broken())
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order([Leg.create(SHORT, 1)], 1, 20.0))

    played = play(market, script)
    assert played.statuses(1) == ["SUBMITTED"]
    text = "Order Error: id: 1, Transaction model failed to fill for order type: ComboLimit with error: no idea"
    assert set(errors) == {text}
    assert played.transactions.get_order_by_id(1).type == OrderType.COMBO_LIMIT
    assert [order.status for order in played.transactions.get_open_orders()] == [OrderStatus.SUBMITTED]

"""Margin of the embedded engine: what groups it sees in a book and what each must reserve.

SPX stands at 5,000 and every option has one price (bid = ask), so every figure can be worked out by hand. The naked
margin of an index option is price x 100 + max(15% of the index less the distance out of the money, 10% of the index
(call) or strike (put)) x 100.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from simulation.account.buying_power import (
    BuyingPowerModel,
    ConstantBuyingPowerModel,
    GetMaximumOrderQuantityForDeltaBuyingPowerParameters,
    GetMaximumOrderQuantityForTargetBuyingPowerParameters,
    InitialMarginParameters,
    MaintenanceMarginParameters,
    OptionMarginModel,
    SecurityMarginModel,
)
from simulation.account.positions import SecurityPositionGroupModel
from simulation.algorithm.trading_api import PortfolioTarget
from simulation.lean.enums import (
    AccountType,
    BrokerageName,
    OptionRight,
    OptionStyle,
    OrderStatus,
    Resolution,
    SecurityType,
)
from simulation.lean.symbols import Symbol
from simulation.orders.fees import InteractiveBrokersFeeModel, OrderFeeParameters, SlippageModel
from simulation.orders.order_parts import Leg
from simulation.orders.orders import LimitOrder, MarketOrder
from tests.simulation.playing import FRIDAY, NOTHING, Market, Recorder, at, flat, index_market, play, spxw

LATER = datetime(2024, 7, 19)
Held = dict[str, int]
"""Contracts by name: "P4900" a put that expires on Friday, "C5100*" a call that expires a week later."""
PRICES = {
    "P4800": 5.0, "P4850": 8.0, "P4900": 14.0, "P4950": 25.0, "P5000": 40.0, "P5050": 70.0,
    "C4950": 70.0, "C5000": 42.0, "C5050": 22.0, "C5100": 10.0, "C5150": 4.0, "C5200": 2.0,
    "P4900*": 25.0, "P5000*": 60.0, "C5000*": 62.0, "C5100*": 24.0,
}  # fmt: skip


def contract(name: str) -> Any:
    right = OptionRight.PUT if name[0] == "P" else OptionRight.CALL
    return spxw(float(name[1:].rstrip("*")), right, LATER if name.endswith("*") else FRIDAY)


def quoted(names: list[str]) -> Market:
    market = index_market("10:00", price=5000.0)
    for name in names:
        market.quote(contract(name), at("09:31"), PRICES[name], PRICES[name])
    return market


def hold(held: Held, look: Callable[[Recorder], Any], *, cash: float = 10_000_000.0) -> Any:
    """Buys a book leg by leg and tells what `look` saw a minute later."""
    seen: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        for name in held:
            algorithm.add_index_option_contract(contract(name), Resolution.MINUTE)

        def enter() -> None:
            for name, quantity in held.items():
                algorithm.market_order(contract(name), quantity)

        algorithm.do_at("09:31", enter)
        algorithm.do_at("10:00", lambda: seen.append(look(algorithm)))

    play(quoted(list(held)), script, cash=cash)
    return seen[0]


def groups(algorithm: Recorder) -> list[tuple[str, float]]:
    """(name, reserved dollars) of every group, in a fixed order."""
    return sorted(
        (str(group.buying_power_model), float(group.reserved_buying_power()))
        for group in algorithm.portfolio.positions.groups
    )


NAKED_P4900 = 1_400 + 65_000.0
"""Put 4900: distance 100, max(750 - 100, 490) = 650 a share."""
NAKED_P4950 = 2_500 + 70_000.0
NAKED_C5100 = 1_000 + 65_000.0
NAKED_P5000 = 4_000 + 75_000.0
NAKED_C5000 = 4_200 + 75_000.0


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        # LEAN calls a lone long option by the same name; it reserves nothing
        ({"P4900": 1}, [("Naked Put", 0.0)]),
        ({"P4900": -1}, [("Naked Put", NAKED_P4900)]),
        ({"C5100": -2}, [("Naked Call", 2 * NAKED_C5100)]),
        # verticals: a credit is worth its width, a debit nothing but what was paid
        ({"P4850": 1, "P4900": -1}, [("Bull Put Spread", 5_000.0)]),
        ({"P4850": -1, "P4900": 1}, [("Bear Put Spread", 0.0)]),
        ({"C5100": -1, "C5150": 1}, [("Bear Call Spread", 5_000.0)]),
        ({"C5100": 1, "C5150": -1}, [("Bull Call Spread", 0.0)]),
        ({"P4850": 3, "P4900": -3}, [("Bull Put Spread", 15_000.0)]),
        ({"P4850": 2, "P4900": -3}, [("Bull Put Spread", 10_000.0), ("Naked Put", NAKED_P4900)]),
        # an iron condor counts the put side only, however wide the calls are
        ({"P4850": 1, "P4900": -1, "C5100": -1, "C5200": 1}, [("Iron Condor", 5_000.0)]),
        ({"P4850": -1, "P4900": 1, "C5100": 1, "C5200": -1}, [("Short Iron Condor", 0.0)]),
        ({"P4950": 1, "P5000": -1, "C5000": -1, "C5050": 1}, [("Iron Butterfly", 5_000.0)]),
        # pairs: the larger naked margin plus the price of the other leg
        ({"P4900": -1, "C5100": -1}, [("Short Strangle", NAKED_P4900 + 1_000)]),
        ({"P5000": -1, "C5000": -1}, [("Short Straddle", NAKED_C5000 + 4_000)]),
        ({"P4900": 1, "C5100": 1}, [("Strangle", 0.0)]),
        ({"C5000": 1, "C5050": -2, "C5100": 1}, [("Butterfly Call", 0.0)]),
        ({"C5000": -1, "C5050": 2, "C5100": -1}, [("Short Butterfly Call", 5_000.0)]),
        ({"P4800": 1, "P4850": -2, "P4900": 1}, [("Butterfly Put", 0.0)]),
        # calendars: long far months cover, short far months are naked
        ({"P4900": -1, "P4900*": 1}, [("Put Calendar Spread", 0.0)]),
        ({"P4900": 1, "P4900*": -1}, [("Short Put Calendar Spread", 2_500 + 65_000.0)]),
        ({"C5100": -1, "C5100*": 1}, [("Call Calendar Spread", 0.0)]),
        ({"C5000": 1, "C5000*": -1, "P5000": -1, "P5000*": 1}, [("Short Jelly Roll", 6_200 + 75_000.0)]),
        # a ladder with a naked wing needs the wing's margin
        ({"P4900": 1, "P4850": -1, "P4800": -1}, [("Bear Put Ladder", 500 + 55_000.0)]),
        ({"P4950": 1, "P5000": -1, "C4950": -1, "C5000": 1}, [("Short Box Spread", 5_000.0)]),
        ({"P4950": -1, "P5000": 1, "C4950": 1, "C5000": -1}, [("Box Spread", 0.0)]),
    ],
)
def test_what_a_book_reserves(held: Held, expected: list[tuple[str, float]]) -> None:
    seen = hold(held, groups)
    assert [name for name, _ in seen] == [name for name, _ in expected]
    assert [margin for _, margin in seen] == pytest.approx([margin for _, margin in expected])


def test_two_condors_that_share_a_side_are_seen_as_condors_and_verticals() -> None:
    # two put verticals, one call vertical: one condor; what is left is a put vertical
    held = {"P4800": 1, "P4850": -1, "P4900": 1, "P4950": -1, "C5100": -1, "C5150": 1}
    names = [name for name, _ in hold(held, groups)]
    assert names == ["Bull Put Spread", "Iron Condor"]


def test_the_second_ordering_covers_a_short_that_the_first_leaves_bare() -> None:
    # biggest structures first would take the straddle's two shorts away from the longs that cover them;
    # a long put and a long call exist for each short, so no naked margin may remain
    held = {"P4950": 1, "P5000": -1, "C5000": -1, "C5100": 1}
    reserved = sum(margin for _, margin in hold(held, groups))
    assert reserved < NAKED_P5000
    assert not any("Short St" in name or "Naked" in name for name, _ in hold(held, groups))


def test_margin_remaining_is_the_portfolio_less_what_is_reserved() -> None:
    def look(algorithm: Recorder) -> tuple[float, float, float]:
        book = algorithm.portfolio
        return book.total_portfolio_value, book.total_margin_used, book.margin_remaining

    value, used, free = hold({"P4850": 1, "P4900": -1}, look, cash=50_000.0)
    assert value == pytest.approx(50_000.0)
    assert used == 5_000.0
    assert free == pytest.approx(45_000.0)


def run_order(cash: float, send: Callable[[Recorder], Any], names: list[str], setup: Any = None) -> Recorder:
    def script(algorithm: Recorder) -> None:
        if setup is not None:
            setup(algorithm)
        algorithm.add_index("SPX", Resolution.MINUTE)
        for name in names:
            algorithm.add_index_option_contract(contract(name), Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: send(algorithm))

    market = quoted(names)
    for name in names:
        market.quote(contract(name), at("10:01"), PRICES[name], PRICES[name])
    return play(market, script, cash=cash)


def test_an_order_beyond_the_margin_is_invalid_and_says_by_how_much() -> None:
    played = run_order(60_000.0, lambda a: a.market_order(contract("P4900"), -1), ["P4900"])
    assert played.statuses(1) == ["INVALID"]
    # alone in an empty book the contract is checked by its own model: 65,000 and its price
    assert str(played.seen[0].message) == (
        "Order Error: ids: [1], Insufficient buying power to complete orders (Value:[-1400]), "
        "Reason: Id: 1, Initial Margin: -66400, Free Margin: 60000."
    )


def test_a_vertical_is_checked_as_a_group_by_its_width() -> None:
    legs = [Leg.create(contract("P4850"), 1), Leg.create(contract("P4900"), -1)]
    names = ["P4850", "P4900"]
    assert run_order(5_100.0, lambda a: a.combo_limit_order(legs, 1, -5.0), names).fills() != []
    refused = run_order(4_000.0, lambda a: a.combo_limit_order(legs, 1, -5.0), names)
    assert {str(event.status) for event in refused.seen} == {"INVALID"}
    assert "Id: 1,2, Maintenance Margin Delta: 5000, Free Margin: 4000" in str(refused.seen[0].message)


def test_a_group_that_only_frees_margin_is_never_refused() -> None:
    def send(algorithm: Recorder) -> None:
        algorithm.market_order(contract("P4900"), -1)
        algorithm.portfolio.set_cash(1_000.0)
        algorithm.market_order(contract("P4900"), 1)

    played = run_order(100_000.0, send, ["P4900"])
    assert [str(event.status) for event in played.seen if event.order_id == 2] == ["SUBMITTED", "FILLED"]


def test_no_model_no_margin() -> None:
    def free(security: Any) -> None:
        security.set_buying_power_model(BuyingPowerModel.NULL)

    def setup(algorithm: Recorder) -> None:
        algorithm.set_security_initializer(free)
        algorithm.portfolio.set_positions(SecurityPositionGroupModel.NULL)

    seen: list[float] = []

    def send(algorithm: Recorder) -> None:
        algorithm.market_order(contract("P4900"), -50)
        seen.append(algorithm.portfolio.total_margin_used)

    played = run_order(1_000.0, send, ["P4900"], setup)
    assert played.statuses(1) == ["SUBMITTED", "FILLED"]
    assert seen == [0.0]


def test_shares_need_half_their_value_and_a_covered_call_frees_the_call() -> None:
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    call = Symbol.create_option(spy, "usa", OptionStyle.AMERICAN, OptionRight.CALL, 510.0, FRIDAY)
    market = Market()
    for clock in ("09:31", "10:00"):
        market.trade(spy, at(clock), 500.0)
    market.quote(spy, at("09:31"), 500.0, 500.0)
    market.quote(call, at("09:31"), 2.0, 2.0)
    seen: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.add_option_contract(call, Resolution.MINUTE)

        def enter() -> None:
            algorithm.market_order(spy, 100)
            seen.append(algorithm.portfolio.total_margin_used)
            algorithm.market_order(call, -1)
            seen.append(groups(algorithm))

        algorithm.do_at("09:31", enter)

    play(market, script, cash=100_000.0)
    # 100 x 500 at a maintenance leverage of 4 or 2: Regulation T asks half
    assert seen[0] == pytest.approx(25_000.0)
    assert [name for name, _ in seen[1]] == ["Covered Call"]
    # the call is out of the money, so the stock's own margin stands
    assert seen[1][0][1] == pytest.approx(25_000.0)


def test_a_cash_account_has_no_leverage() -> None:
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    market = Market()
    for clock in ("09:31", "10:00"):
        market.trade(spy, at(clock), 500.0)
    results: dict[AccountType, list[str]] = {}
    for account in (AccountType.MARGIN, AccountType.CASH):

        def script(algorithm: Recorder, account: Any = account) -> None:
            algorithm.set_brokerage_model(BrokerageName.DEFAULT, account)
            algorithm.add_equity("SPY", Resolution.MINUTE)
            algorithm.do_at("10:00", lambda: algorithm.market_order(spy, 30))

        results[account] = play(market, script, cash=10_000.0).statuses(1)
    # 30 x 500 = 15,000: half is enough on margin, not in cash
    assert results == {AccountType.MARGIN: ["SUBMITTED", "FILLED"], AccountType.CASH: ["INVALID"]}


def test_the_security_model_sizes_a_target() -> None:
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    market = Market()
    for clock in ("09:31", "10:00"):
        market.trade(spy, at(clock), flat(500.0))

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.securities[spy].set_buying_power_model(SecurityMarginModel(2.0))
        algorithm.do_at("10:00", lambda: algorithm.set_holdings(spy, 0.5))

    played = play(market, script, cash=100_000.0)
    filled = [event for event in played.seen if event.status == OrderStatus.FILLED]
    # half of 100,000 less the 0.25% that LEAN keeps free: 49,875 / 500 = 99.75 shares
    assert [event.fill_quantity for event in filled] == [99.0]


def test_targets_together_are_ordered_by_what_they_free_and_cost() -> None:
    spy, qqq, iwm = (Symbol.create(ticker, SecurityType.EQUITY, "usa") for ticker in ("SPY", "QQQ", "IWM"))
    market = Market()
    for clock in ("09:31", "10:00", "10:01"):
        market.trade(spy, at(clock), flat(500.0))
        market.trade(qqq, at(clock), flat(100.0))
    targets = [("QQQ", 0.5), ("SPY", 0.1), ("IWM", 0.2)]

    def script(algorithm: Recorder) -> None:
        for ticker in ("SPY", "QQQ", "IWM"):
            algorithm.add_equity(ticker, Resolution.MINUTE, leverage=1)
        algorithm.do_at("09:31", lambda: algorithm.set_holdings([PortfolioTarget(qqq, 0.1), PortfolioTarget(spy, 0.8)]))
        algorithm.do_at("10:00", lambda: algorithm.set_holdings([PortfolioTarget(*target) for target in targets]))

    filled = [e for e in play(market, script, cash=100_000.0).seen if e.status == OrderStatus.FILLED]
    # First the dearer of two purchases: 159 x 500 against 99 x 100. Then the sale that makes room for the purchase;
    # IWM has no price yet and is left out.
    assert [(e.symbol.value, e.fill_quantity > 0) for e in filled] == [
        ("SPY", True), ("QQQ", True), ("SPY", False), ("QQQ", True),
    ]  # fmt: skip
    assert iwm not in [e.symbol for e in filled]


# -- one security's own model ---------------------------------------------------------------------------------------

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")


def on_spy(action: Callable[[Any], Any], *, cash: float = 100_000.0, call: float | None = None) -> Recorder:
    """SPY at 500 on a leverage of 2; the action comes at 10:00. A call 490 is there when it has a price."""
    market = Market()
    option = Symbol.create_option(SPY, "usa", OptionStyle.AMERICAN, OptionRight.CALL, 490.0, FRIDAY)
    for clock in ("09:31", "10:00", "10:01"):
        market.trade(SPY, at(clock), flat(500.0))
        if call is not None:
            market.quote(option, at(clock), call, call)

    def script(algorithm: Any) -> None:
        algorithm.said = []
        algorithm.error = algorithm.debug = algorithm.said.append
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.add_equity("IWM", Resolution.MINUTE)  # never gets a price
        if call is not None:
            algorithm.portfolio.set_positions(SecurityPositionGroupModel.NULL)
            algorithm.call = algorithm.add_option_contract(option, Resolution.MINUTE).symbol
        algorithm.do_at("10:00", lambda: action(algorithm))

    return play(market, script, cash=cash)


def test_an_exercise_needs_the_margin_of_the_shares_it_delivers() -> None:
    def exercise(algorithm: Any) -> None:
        algorithm.market_order(algorithm.call, 1)
        algorithm.exercise_option(algorithm.call, 1)

    # 10,000 less the fee of 1 is left, the call counted; 100 x 500 / 2 and the shares' fee of 1 are needed
    refused = on_spy(exercise, cash=10_000.0, call=12.0)
    assert refused.statuses(2) == ["INVALID"]
    assert "Id: 2, Initial Margin: 25001, Free Margin: 9999." in str(refused.seen[-1].message)
    # one dollar short, and enough
    assert on_spy(exercise, cash=25_001.0, call=12.0).statuses(2) == ["INVALID"]
    assert on_spy(exercise, cash=25_002.0, call=12.0).statuses(2)[-1] == "FILLED"

    def covered(algorithm: Any) -> None:
        algorithm.market_order(SPY, -100)
        exercise(algorithm)

    # the shares buy back a short position: nothing is needed
    played = on_spy(covered, cash=30_000.0, call=12.0)
    assert played.statuses(3)[-1] == "FILLED"
    assert played.portfolio[SPY].quantity == 0


def test_a_change_of_margin_becomes_shares() -> None:
    sizes: list[float] = []

    def act(algorithm: Any) -> None:
        algorithm.market_order(SPY, 10)
        security = algorithm.securities[SPY]
        model, book = security.buying_power_model, algorithm.portfolio
        for delta in (10_000.0, -1_000.0):
            change = GetMaximumOrderQuantityForDeltaBuyingPowerParameters(book, security, delta)
            sizes.append(model.get_maximum_order_quantity_for_delta_buying_power(change).quantity)
        for share in (-0.1, 0.0):
            target = GetMaximumOrderQuantityForTargetBuyingPowerParameters(book, security, share)
            sizes.append(model.get_maximum_order_quantity_for_target_buying_power(target).quantity)

    on_spy(act)
    # a share takes 250. From 2,500 to 12,500 are 40 shares, but the fee of 1 must fit too: 39.
    # From 2,500 to 1,500, less a fee: 5 shares (1,250) stay. A tenth of 99,999 short is 39 shares.
    assert sizes == [39.0, -5.0, -49.0, -10.0]


def test_what_a_target_can_not_be() -> None:
    sizes: list[float] = []

    def act(algorithm: Any) -> None:
        for symbol, share in ((SPY, 2e9), (SPY, 0.0015), (SPY, 0.0015), (SPY, 0.004), ("IWM", 0.1)):
            sizes.append(algorithm.calculate_order_quantity(symbol, share))
        unknown = Symbol.create("QQQ", SecurityType.EQUITY, "usa")
        sizes.append(algorithm.calculate_order_quantity(unknown, 0.1))
        algorithm.securities[SPY].set_buying_power_model(ConstantBuyingPowerModel(0.0))
        sizes.append(algorithm.calculate_order_quantity(SPY, 0.1))

    said = on_spy(act).said
    assert sizes == [0.0] * 7
    assert [text.partition(",")[0] for text in said] == [
        "The portfolio target percent: 2000000000",
        # 0.15% of 99,750 at half margin is 74.81, less than 0.1% of 100,000; said once
        "Warning: Portfolio rebalance result ignored as it resulted in a single share trade recommendation which can "
        "generate high fees. To disable minimum order size checks please set "
        "self.settings.minimum_order_margin_portfolio_percentage = 0.",
        # 0.4% is 199.50: enough for an order, not for a share of 250, and nothing is said
        "IWM: The security does not have an accurate price as it has not yet received a bar of data. Before placing a "
        "trade (or using set_holdings) warm up your algorithm with set_warmup",
        "QQQ 2T not found in portfolio. Request this data when initializing the algorithm.",
        "Unable to compute order quantity of SPY. Reason: SPY: The security does not have an accurate price as it has "
        "not yet received a bar of data. Before placing a trade (or using set_holdings) warm up your algorithm with "
        "set_warmup",
    ]


def test_targets_that_close_others_and_count_waiting_orders() -> None:
    def act(algorithm: Any) -> None:
        algorithm.market_order(SPY, 10)
        algorithm.set_holdings("IWM", 0.1, True)
        algorithm.set_holdings([PortfolioTarget(SPY, 0.1)], True)
        algorithm.limit_order(SPY, 5, 400.0)
        algorithm.liquidate(["SPY"], tag="out")
        algorithm.liquidate("SPY")
        algorithm.settings.liquidate_enabled = False
        algorithm.liquidate()

    played = on_spy(act)
    orders = played.transactions.get_orders()
    # SPY is closed although its replacement has no price; a tenth of 99,748 at 500 a share is 19
    assert [(order.quantity, order.tag) for order in orders] == [
        (10.0, ""), (-10.0, "Liquidated"), (19.0, ""), (5.0, "out"), (-19.0, "out"),
    ]  # fmt: skip
    assert played.said[-1].startswith("Liquidate() is currently disabled by settings.")


def test_leverage_is_one_or_more() -> None:
    for wrong in (lambda: BuyingPowerModel(0.5), lambda: SecurityMarginModel().set_leverage(NOTHING, 0.5)):
        with pytest.raises(ValueError, match=r"leverage 0\.5: accepted is 1 or more"):
            wrong()
    with pytest.raises(ValueError, match="different leverage cannot be set"):
        OptionMarginModel().set_leverage(NOTHING, 2.0)
    model = SecurityMarginModel(4.0)
    model.set_leverage(NOTHING, 2.0)
    assert model.get_leverage(NOTHING) == 2.0


def test_the_same_margin_for_every_unit() -> None:
    model = ConstantBuyingPowerModel(100.0)
    assert float(model.get_initial_margin_requirement(InitialMarginParameters(NOTHING, -3.0))) == -300.0
    assert float(model.get_maintenance_margin(MaintenanceMarginParameters(NOTHING, -3.0, 0.0, 0.0))) == 300.0


@pytest.mark.parametrize(
    ("symbol", "quantity", "price", "monthly", "fee"),
    [
        # options by the price of the limit, then by the contracts of the month; never under a dollar
        (contract("P4900"), 10, 0.10, 0, 6.50),
        (contract("P4900"), -10, 0.05, 0, 5.00),
        (contract("P4900"), 10, 0.04, 0, 2.50),
        (contract("P4900"), 1, 14.0, 0, 1.00),
        (contract("P4900"), 10, 0.05, 10_001, 5.00),
        (contract("P4900"), 10, 0.04, 10_001, 2.50),
        (contract("P4900"), 10, 14.0, 50_001, 2.50),
        (contract("P4900"), 10, 14.0, 100_001, 1.50),
        # shares half a cent each, at least a dollar and at most half a percent
        (SPY, 100, 500.0, 0, 1.00),
        (SPY, -1_000, 500.0, 0, 5.00),
        (SPY, 1_000, 0.5, 0, 2.50),
        # futures: commission, exchange and two cents of the regulator
        (Symbol.create("ES", SecurityType.FUTURE, "cme"), 2, 5000.0, 0, 2 * (0.85 + 1.28 + 0.02)),
        (Symbol.create("MES", SecurityType.FUTURE, "cme"), 2, 5000.0, 0, 2 * (0.25 + 0.30 + 0.02)),
        (Symbol.create("CL", SecurityType.FUTURE, "nymex"), -1, 80.0, 0, 0.85 + 1.60 + 0.02),
    ],
)
def test_what_interactive_brokers_takes(symbol: Any, quantity: int, price: float, monthly: int, fee: float) -> None:
    order = LimitOrder(symbol, quantity, 0)
    order.limit_price = price
    multiplier = SimpleNamespace(contract_multiplier=1.0)
    rate = SimpleNamespace(conversion_rate=1.0)
    security = SimpleNamespace(
        type=symbol.security_type, symbol=symbol, price=price, symbol_properties=multiplier, quote_currency=rate
    )
    taken = InteractiveBrokersFeeModel(0.0, monthly).get_order_fee(OrderFeeParameters(security, order))
    assert taken.value.amount == pytest.approx(fee)
    assert str(taken) == f"{round(fee, 2):g} USD"


def test_no_fee_schedule_and_no_slippage() -> None:
    index = SimpleNamespace(type=SecurityType.INDEX, symbol="SPX", ask_price=1.0, bid_price=1.0)
    order = MarketOrder(SPY, 1, 0)
    with pytest.raises(ValueError, match="no Interactive Brokers fee for security type"):
        InteractiveBrokersFeeModel().get_order_fee(OrderFeeParameters(index, order))
    assert SlippageModel().get_slippage_approximation(index, order) == 0.0

"""What the real engine's result files showed: findings, brokers' numbers, excursions, the margin chart."""

# Private: _flat_equity, _many_parameters, _stale_fills, _worse_in_a_crisis, _sample_margin: each finding alone; a run
# that shows it takes years.

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from simulation.account.brokerages import (
    DefaultBrokerageModel,
    InteractiveBrokersBrokerageModel,
    TastytradeBrokerageModel,
    brokerage_name,
)
from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import Resolution
from simulation.results import analysis, analysis_texts, sampling
from tests.simulation.playing import at, index_market, play, spxw

DAY = 86_400


def test_days_on_which_the_equity_stood_still_are_found() -> None:
    equity = {day * DAY: value for day, value in enumerate((100.0, 100.0, 101.0, 101.0, 101.0, 102.0))}
    found = analysis._flat_equity(equity)
    assert found is not None
    assert found["name"] == "FlatEquityCurveAnalysis"
    assert found["sample"] == [
        {"start": "1970-01-03T00:00:00Z", "end": "1970-01-05T00:00:00Z", "trading_days": 3},
        {"start": "1970-01-01T00:00:00Z", "end": "1970-01-02T00:00:00Z", "trading_days": 2},
    ]
    assert "count" not in found
    assert analysis._flat_equity({0: 1.0, DAY: 2.0}) is None
    assert analysis._flat_equity({}) is None
    # Six pairs: five are shown, all are counted.
    many = analysis._flat_equity({day * DAY: float(day // 2) for day in range(12)})
    assert many is not None
    assert (len(many["sample"]), many["count"]) == (5, 6)


def test_more_than_ten_parameters_are_found() -> None:
    algorithm = SimpleNamespace(parameters={str(number): "1" for number in range(11)})
    found = analysis._many_parameters(algorithm)
    assert found is not None
    assert found["sample"] == "11 Parameters Detected"
    assert "`set_start_date`, `set_end_date`" in found["solutions"][0]
    algorithm.parameters.pop("0")
    assert analysis._many_parameters(algorithm) is None


def test_fills_at_stale_prices_are_found() -> None:
    texts = ("", "Warning: fill at stale price (07/05/2024 16:00)", None)
    engine = SimpleNamespace(order_events=[SimpleNamespace(message=text) for text in texts])
    found = analysis._stale_fills(engine, [{"id": 0}, {"id": 1}, {"id": 2}])
    assert found is not None
    assert (found["sample"], found["issue"]) == ({"id": 1}, "Some orders filled at stale prices.")
    engine.order_events.pop(1)
    assert analysis._stale_fills(engine, [{"id": 0}, {"id": 2}]) is None


def test_a_crisis_counts_when_it_lies_in_the_run_whole() -> None:
    engine = SimpleNamespace(source=SimpleNamespace(interest_rates=lambda: None))
    name, start, end = next(row for row in analysis_texts.CRISES if row[0] == "European Debt Crisis 2014")
    first = int((start - at("00:00", date(1970, 1, 1))).total_seconds()) - DAY
    days = [first + number * DAY for number in range((end - start).days + 3)]
    falling = {moment: 100.0 - number + number % 2 for number, moment in enumerate(days)}
    rising = {moment: 100.0 + number + number % 2 for number, moment in enumerate(days)}
    found = analysis._worse_in_a_crisis(engine, falling, rising)
    assert found is not None
    assert found["sample"]["crisisEvent"] == name
    assert found["sample"]["backtestSharpe"] < 0 < found["sample"]["benchmarkSharpe"]
    assert analysis._worse_in_a_crisis(engine, rising, falling) is None
    cut = {moment: value for moment, value in falling.items() if moment < days[-3]}
    assert analysis._worse_in_a_crisis(engine, cut, rising) is None
    assert analysis._worse_in_a_crisis(engine, {}, {}) is None


@pytest.mark.parametrize(
    ("model", "number"),
    [(DefaultBrokerageModel(), 0), (InteractiveBrokersBrokerageModel(), 1), (TastytradeBrokerageModel(), 36)],
)
def test_the_configuration_names_the_broker_by_leans_number(model: Any, number: int) -> None:
    assert int(brokerage_name(model)) == number
    own = type("Own", (type(model),), {})()
    assert int(brokerage_name(own)) == number  # by what it inherits
    assert int(brokerage_name(object())) == 0


def test_excursions_see_the_trade_before_the_quote_of_a_minute() -> None:
    put = spxw(5350)
    market = index_market("10:00", "10:01", "10:02", "10:03")
    for clock in ("10:00", "10:01", "10:02", "10:03"):
        market.quote(put, at(clock), 2.00, 2.01)
    # 10:02: a trade at the bid. The quote's middle is 2.005 all along.
    market.trade(put, at("10:02"), 2.00)

    def script(algorithm: Any) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(put, Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: algorithm.market_order(put, 1))
        algorithm.do_at("10:03", lambda: algorithm.market_order(put, -1))

    played = play(market, script)
    trade = played.trade_builder.closed_trades[0]
    # Bought at 2.01, lowest 2.00 by the trade (2.005 by quotes): a hundred of 0.01 lost at worst, not of 0.005.
    assert (trade.entry_price, trade.mae) == (2.01, -1.0)


def test_the_margin_chart_shows_forty_groups_and_the_rest_as_one() -> None:
    def group(name: str, reserved: float) -> Any:
        leg = SimpleNamespace(symbol=SimpleNamespace(value=name))
        return SimpleNamespace(positions=[leg], reserved_buying_power=lambda: reserved)

    groups = [group(f"G{number:02d}", 10.0 * number) for number in range(1, 43)]
    engine = SimpleNamespace(portfolio=SimpleNamespace(positions=SimpleNamespace(groups=groups)))
    samples = sampling.Samples(engine)
    moment = NEW_YORK.utc_ms(at("10:00"))
    samples._sample_margin(moment, 1000.0)
    # G01 and G02 are the two smallest of 42: 1 % and 2 % of a thousand.
    assert len(samples.margin) == 41
    assert samples.margin["OTHERS"] == [(moment, 3.0)]
    assert samples.margin["G03"] == [(moment, 3.0)]

"""What LEAN has and the embedded engine has not is refused by name where it is used, never silently left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulation.account import positions, strategies_match
from simulation.engine.kernel import Engine, NotInEngineError
from simulation.lean.enums import DataNormalizationMode, OrderType, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.orders.order_parts import Leg
from simulation.orders.requests import SubmitOrderRequest
from simulation.results.results import summarize
from simulation.runner import RunRequest, run_backtest
from simulation.securities.continuous import is_continuous
from simulation.securities.universes import OptionChainedUniverseSelectionModel, ScheduledUniverse
from tests.simulation.chain_rows import FIFTIES, FRIDAYS, chain
from tests.simulation.playing import HIGH, LOW, MONDAY, SPX, Market, Recorder, add_vertical, at, index_market, play

ES = Symbol.create("ES", SecurityType.FUTURE, "cme")


@pytest.mark.parametrize("mode", [DataNormalizationMode.TOTAL_RETURN, DataNormalizationMode.SCALED_RAW])
def test_an_adjustment_that_is_not_served_is_refused(mode: DataNormalizationMode) -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE, data_normalization_mode=mode)

    with pytest.raises(NotInEngineError, match=rf"data normalization mode {mode} of SPY"):
        play(Market(), script)


def test_a_mode_of_prices_does_not_matter_to_an_index() -> None:
    market = index_market(price=5450.0)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE).set_data_normalization_mode(DataNormalizationMode.TOTAL_RETURN)

    assert play(market, script).securities[SPX].price == 5450.0


def test_a_continuous_future_without_a_map_file_has_neither_contract_nor_data() -> None:
    """LEAN's ContinuousContractUniverse selects the canonical alone, whose own rows no file holds."""
    seen: list[Any] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        future = algorithm.add_future("ES", Resolution.MINUTE)

        def look() -> None:
            moment = algorithm.current_slice
            seen.extend([future.mapped, future.price, future.has_data, moment.bars.get(ES), len(moment.keys())])
            seen.append(len(moment.symbol_changed_events))
            seen.append(len(algorithm.history(ES, 5, Resolution.MINUTE, contract_depth_offset=1)))

        algorithm.do_at("10:00", look)

    play(index_market("09:59", "10:00"), script)
    assert seen == [None, 0.0, False, None, 1, 0, 0]


def test_only_the_canonical_future_is_continuous() -> None:
    assert is_continuous(ES)
    assert not is_continuous(SPX)
    assert not is_continuous(None)


@pytest.mark.parametrize("mode", [DataNormalizationMode.ADJUSTED, DataNormalizationMode.TOTAL_RETURN])
def test_a_continuous_future_is_joined_in_one_of_four_ways(mode: DataNormalizationMode) -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_future("ES", Resolution.MINUTE, None, None, 0.0, None, None, mode)

    with pytest.raises(NotInEngineError, match=rf"data normalization mode {mode} of /ES"):
        play(Market(), script)


def test_an_engine_that_fails_before_its_portfolio_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "early.py"
    path.write_text("from AlgorithmImports import *\nclass Early(QCAlgorithm):\n    def initialize(self): ...\n")

    def fail(self: Any, engine: Any) -> None:
        raise ZeroDivisionError("the portfolio could not be made")

    monkeypatch.setattr("simulation.algorithm.algorithm.QCAlgorithm.attach_trading", fail)
    with pytest.raises(ZeroDivisionError, match="the portfolio could not be made"):
        run_backtest(RunRequest(path, Market(), {}, None, tmp_path))
    with pytest.raises(ValueError, match="failed before its portfolio was made"):
        summarize(Engine(Market()))


def test_a_waiting_combo_has_its_book_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of waiting, with prices that move, ask for the same book of two legs again and again."""
    matched: list[int] = []
    genuine = strategies_match.match_strategies

    def counted(book: strategies_match.Book) -> Any:
        matched.append(len(book))
        return genuine(book)

    monkeypatch.setattr(positions, "match_strategies", counted)
    market = index_market(*(f"10:{minute:02d}" for minute in range(11)))
    market.quote(LOW, at("10:00"), 0.5, 0.6)
    market.quote(HIGH, at("10:00"), 2.0, 2.2)
    for minute in range(1, 11):
        market.quote(LOW, at(f"10:{minute:02d}"), 0.5, 0.6 + minute / 100)
        market.quote(HIGH, at(f"10:{minute:02d}"), 2.0, 2.2 + minute / 100)
    sizes: list[int] = []

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)

        def send() -> None:
            legs = [Leg.create(HIGH, -1), Leg.create(LOW, 1)]
            algorithm.combo_limit_order(legs, 1, -5.0)

        algorithm.do_at("10:00", send)
        algorithm.do_at("10:10", lambda: sizes.append(len(matched)))

    play(market, script)
    # Two legs of one book, asked for at the order's check and at every pass after it.
    assert sizes == [1]
    assert matched == [2]


class ShareChains(Market):
    """A market with a chain file of SPY, the share at 5420."""

    def universe(self, canonical: Any, day: Any) -> Any:
        if canonical.id.symbol != "SPY" or not canonical.is_canonical():
            return None
        return replace(chain(5420.0, FIFTIES, FRIDAYS), canonical=canonical)


@pytest.mark.parametrize("by_model", [False, True])
def test_members_of_a_universe_get_option_chains(by_model: bool) -> None:
    added: list[str] = []
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    market = ShareChains()
    for clock in ("09:31", "10:00"):
        market.trade(spy, at(clock), 5420.0)

    def script(algorithm: Any) -> None:
        algorithm.universe_settings.resolution = Resolution.MINUTE
        universe = algorithm.add_universe("mine", lambda moment: ["SPY"])

        def narrow(rows: Any) -> Any:
            return rows.strikes(0, 0).expiration(0, 5).puts_only()

        if by_model:
            algorithm.add_universe_selection(OptionChainedUniverseSelectionModel(universe, narrow))
        else:
            algorithm.add_universe_options(universe, narrow)
        algorithm.on_securities_changed = lambda changes: added.extend(
            str(s.symbol.value) for s in changes.added_securities
        )
        with pytest.raises(NotInEngineError, match="add_universe_selection of int"):
            algorithm.add_universe_selection(1)

    play(market, script)
    # The strike at or above 5420 is 5450; July 12 is the expiry within five days.
    assert added == ["SPY", "SPY   240712P05450000"]


def test_a_scheduled_universe_is_asked_at_its_times_only() -> None:
    asked: list[str] = []
    spy = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    market = index_market("10:00")
    market.trade(spy, at("10:01"), 540.0)

    def script(algorithm: Any) -> None:
        def choose(moment: Any) -> list[Any]:
            asked.append(f"{moment:%d %H:%M} {algorithm.time:%H:%M}")
            return [spy]

        algorithm.add_index("SPX", Resolution.MINUTE)
        rules = algorithm.date_rules.every_day(), algorithm.time_rules.at(9, 45)
        algorithm.add_universe(ScheduledUniverse("America/New_York", *rules, choose))
        algorithm.do_at("09:40", lambda: asked.append(str(spy in algorithm.securities)))

    algorithm = play(market, script)
    # 9:45 in New York is 13:45 UTC; before it the universe is empty.
    assert asked == ["False", "08 13:45 09:45"]
    assert algorithm.securities[spy].price == 540.0


SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")


def test_a_touched_order_with_an_old_quote_fills_at_the_trade_and_says_so() -> None:
    market = Market()
    for clock, price in (("09:31", 500.0), ("10:45", 500.0), ("11:00", 499.0), ("11:01", 501.0)):
        market.trade(SPY, at(clock), price)
    market.quote(SPY, at("09:31"), 499.98, 500.02)

    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.do_at("10:45", lambda: algorithm.limit_if_touched_order(SPY, 10, 499.5, 500.5))
        algorithm.do_at("10:45", lambda: algorithm.limit_if_touched_order(SPY, -10, 500.5, 500.5))

    played = play(market, script, last_day=MONDAY)
    # the quote of 09:31 is over an hour older than the orders
    assert played.fills() == [(1, 10.0, 499.0), (2, -10.0, 501.0)]
    assert [event.message for event in played.seen if event.fill_quantity] == [
        f"Warning: No quote information available at 07/08/2024 {clock} America/New_York, "
        "order filled using TradeBar data"
        for clock in ("11:00:00", "11:01:00")
    ]


def test_a_request_during_the_warm_up_is_an_invalid_order() -> None:
    market = Market()
    for day in (date(2024, 7, 5), MONDAY):
        market.trade(SPY, at("10:00", day), 500.0)
    statuses: list[str] = []

    def script(algorithm: Any) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.set_warm_up(timedelta(days=3))

        def send() -> None:
            request = SubmitOrderRequest(
                OrderType.MARKET, SPY.security_type, SPY, 10, 0, 0, algorithm.utc_time, "early"
            )
            ticket = algorithm.transactions.add_order(request)
            statuses.append(f"{ticket.status} {ticket.submit_request.response.error_code} {ticket.cancel()}")

        algorithm.do_at("10:00", send, date(2024, 7, 5))

    played = play(market, script, last_day=MONDAY)
    closed = "Error: InvalidOrderStatus - Unable to update order with id 1 because it already has Invalid status."
    assert statuses == [f"INVALID ALGORITHM_WARMING_UP {closed}"]
    assert [order.tag for order in played.transactions.get_orders()] == ["Algorithm warming up."]

"""The central Greeks service and its monitor: one computation per change, totals, what-if, scenarios, limits."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any, cast

import numpy as np
import pytest

from core.book import ShareHolding
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import ChangeKind, SessionClosed, Severity
from core.gateway import DailyBar, Gateway, Listing
from core.instruments import contract_named
from core.settings.fields import GreeksSettings, PhaseSettings
from greeks.black_scholes import european_greeks, years_to_expiry
from greeks.exposure import measured_beta
from greeks.marks import ChainPlanner
from greeks.monitor import UNKNOWN_RULE
from greeks.smile import Columns, VolatilitySource
from tests.greeks.chains import FRIDAY, MORNING, RATE, YIELD, market, spxw, spy
from tests.greeks.service import CONDOR, System

# The service and its monitor


@pytest.fixture
def system() -> System:
    return System()


def test_whoever_asks_there_is_one_computation_per_change(system: System) -> None:
    system.quote_all(CONDOR)
    system.move("SPX", 5500.0)
    system.move("SPY", 550.0)
    system.quote_all(CONDOR)
    start = system.service.computations["portfolio"]
    system.hold("condor", CONDOR)
    for _ in range(10):
        system.service.portfolio()
        system.monitor.check()
    assert system.service.computations["portfolio"] == start + 1
    system.move("SPX", 5502.0)  # 0.04 %, inside the tolerance of 0.1 %
    assert system.service.computations["portfolio"] == start + 1
    system.move("SPX", 5510.0)  # 0.18 %
    system.service.portfolio()
    assert system.service.computations["portfolio"] == start + 2
    system.clock.advance(MORNING + timedelta(seconds=299))
    system.service.portfolio()
    assert system.service.computations["portfolio"] == start + 2
    system.clock.advance(MORNING + timedelta(seconds=300))
    system.service.portfolio()
    assert system.service.computations["portfolio"] == start + 3
    del system.book.positions["condor"]
    system.changed("condor", ChangeKind.CLOSED)
    assert system.service.portfolio().legs == ()
    assert system.service.computations["portfolio"] == start + 4


def test_totals_are_in_dollars_and_reference_shares(system: System) -> None:
    # one short SPXW put, beta 1: delta_put x -100 x 5500 / 550 SPY shares; gamma by the square of that ratio
    put = spxw(5440.0, Right.PUT)
    system.quote_all({put: -1})
    system.hold("short", {put: -1}, contracts=2)
    whole = system.service.portfolio().whole
    years = years_to_expiry([put], MORNING)
    unit = european_greeks(5500.0, 5440.0, years, 0.15, RATE, YIELD, False)
    assert whole is not None
    assert whole.delta == pytest.approx(-200.0 * unit.delta[0] * 10.0, rel=1e-4)
    assert whole.gamma == pytest.approx(-200.0 * unit.gamma[0] * 100.0, rel=1e-4)
    assert whole.theta == pytest.approx(-200.0 * unit.theta[0], rel=1e-4)
    assert whole.vega == pytest.approx(-200.0 * unit.vega[0], rel=1e-4)
    assert whole.value == pytest.approx(-200.0 * unit.price[0], rel=1e-4)
    assert whole.delta > 0.0 > whole.gamma


def test_totals_by_position_strategy_underlying_and_group_add_up(system: System) -> None:
    american = {spy(540.0, Right.PUT, date(2024, 8, 16)): -2}
    system.quote_all(CONDOR | american)
    system.hold("condor", CONDOR)
    system.hold("puts", american, strategy="ratio")
    found = system.service.portfolio()
    assert found.whole is not None
    for split in (found.by_position(), found.by_strategy(), found.by_underlying(), found.by_group()):
        assert sum(part.delta for part in split.values() if part) == pytest.approx(found.whole.delta)
        assert sum(part.vega for part in split.values() if part) == pytest.approx(found.whole.vega)
    assert set(found.by_position()) == {"condor", "puts"}
    assert set(found.by_strategy()) == {"friday_0dte", "ratio"}
    assert set(found.by_underlying()) == {"SPX", "SPY"}
    assert set(found.by_group()) == {"A2"}


def test_an_unknown_contract_is_named_and_leaves_no_total(system: System) -> None:
    system.hold("condor", CONDOR)
    found = system.service.portfolio()
    assert found.whole is None
    assert set(found.unknown) == {contract.name for contract in CONDOR}
    assert UNKNOWN_RULE in system.monitor.blocked
    system.quote_all(CONDOR)  # the quotes come: the next one who asks gets the figures
    assert system.service.portfolio().whole is not None
    system.move("SPY", 550.0)
    assert UNKNOWN_RULE not in system.monitor.blocked


def test_volatility_comes_from_its_quote_its_neighbours_its_smile_or_memory(system: System) -> None:
    quotes = market(np.arange(5400.0, 5600.0, 5.0).tolist())
    put, other = spxw(5480.0, Right.PUT), spxw(5485.0, Right.PUT)

    def later(quoted: dict[Contract, Quote]) -> VolatilitySource:
        """What the put's volatility comes from when it is due to be measured again."""
        system.gateway.quoted = quoted
        system.clock.advance(system.clock.now() + timedelta(seconds=300))
        return _source(system)

    system.gateway.quoted = {put: quotes[put]}
    system.hold("short", {put: -1})
    assert _source(system) is VolatilitySource.QUOTE
    system.gateway.quoted = {}
    system.move("SPX", 5490.0)
    assert _source(system) is VolatilitySource.QUOTE  # it is not due: the price moved, not the volatility
    assert later({}) is VolatilitySource.LAST_KNOWN
    assert later({put: quotes[put]}) is VolatilitySource.QUOTE
    system.hold("long", {other: 1})
    assert later({other: quotes[other]}) is VolatilitySource.NEIGHBOURS
    del system.book.positions["long"]
    system.changed("long", ChangeKind.CLOSED)
    assert later({}) is VolatilitySource.LAST_KNOWN
    system.service.chain(list(quotes), quotes, 5490.0, system.clock.now())
    system.changed("short")
    assert later({}) is VolatilitySource.NEIGHBOURS


def _source(system: System) -> VolatilitySource:
    figures = system.service.portfolio().legs[0].figures
    assert figures is not None
    return figures.source


def test_a_chain_with_the_same_quotes_is_computed_once(system: System) -> None:
    quotes = market([5450.0, 5500.0, 5550.0])
    contracts = list(quotes)
    first = system.service.chain(contracts, quotes, 5500.0, MORNING)
    assert system.service.chain(contracts, dict(quotes), 5500.0, MORNING) is first
    quotes[contracts[0]] = replace(quotes[contracts[0]], bid=0.0)
    assert system.service.chain(contracts, quotes, 5500.0, MORNING) is not first
    assert system.service.computations["chain"] == 2
    with pytest.raises(ValueError, match="exactly one"):
        system.service.chain([], {}, 5500.0, MORNING)


def test_one_contracts_delta_is_signed_and_unknown_without_a_quote(system: System) -> None:
    put = spxw(5440.0, Right.PUT)
    assert system.service.delta_of(put) is None
    system.quote_all({put: 1})
    delta = system.service.delta_of(put)
    assert delta is not None
    assert -0.5 < delta < 0.0


def test_a_held_contracts_delta_costs_no_computation_of_all_that_is_held(system: System) -> None:
    short, long = spxw(5440.0, Right.PUT), spxw(5410.0, Right.PUT)
    system.quote_all({short: -1, long: 1})
    system.move("SPX", 5500.0)
    system.hold("spread", {short: -1, long: 1})
    legs = {leg.contract: leg.figures for leg in system.service.portfolio().legs}
    count = system.service.computations["portfolio"]
    system.move("SPX", 5470.0)  # 0.5 %: what was computed stands no more
    nearer = system.service.delta_of(short)
    figures = legs[short]
    assert figures is not None
    assert nearer is not None
    assert nearer < figures.delta < 0.0
    assert system.service.computations["portfolio"] == count
    now = {leg.contract: leg.figures for leg in system.service.portfolio().legs}[short]
    assert now is not None
    assert nearer == pytest.approx(now.delta, abs=1e-12)


def test_what_if_adds_a_proposal_to_what_is_held(system: System) -> None:
    system.quote_all(CONDOR)
    system.hold("condor", CONDOR)
    package = Package(tuple(Leg(contract, ratio) for contract, ratio in CONDOR.items()))
    found = system.service.what_if(package, 2)
    before, after = found.before.whole, found.after.whole
    assert before is not None
    assert after is not None
    assert found.change is not None
    assert after.vega == pytest.approx(3.0 * before.vega)
    assert (after - before).delta == pytest.approx(found.change.delta)
    assert system.service.portfolio().whole == before


def test_scenarios_price_anew_and_expiry_leaves_intrinsic_value(system: System) -> None:
    # a day later the condor has expired: at +20 % the call spread costs its whole width, 30 points x 100
    system.quote_all(CONDOR)
    system.hold("condor", CONDOR)
    grid = system.service.scenarios((-0.20, 0.0, 0.20), (-10.0, 0.0, 30.0), (0.0, 1.0))
    value = system.service.portfolio().whole
    assert value is not None
    assert grid.whole.shape == (3, 3, 2)
    assert grid.whole[1, 1, 0] == pytest.approx(0.0, abs=1e-9)
    assert grid.whole[1, 1, 1] == pytest.approx(-value.value)
    assert grid.whole[2, 1, 1] == pytest.approx(-3000.0 - value.value)
    assert grid.whole[1, 2, 0] < 0.0  # short volatility loses when it rises
    assert grid.worst == grid.whole.min()
    assert grid.by_group["A2"] == pytest.approx(grid.whole)


def test_betas_are_of_the_table_measured_of_the_settings_or_unknown(system: System) -> None:
    # QQQ's log returns are exactly 1.5 times SPY's
    assert system.service.beta("SPX") == 1.0
    assert system.service.beta("QQQ") == GreeksSettings().betas["QQQ"] == 1.18  # no history of it yet
    assert system.service.beta("ZB") == -0.33
    assert system.service.beta("XYZ") is None
    system.bus.publish(SessionClosed(time=MORNING, day=FRIDAY, equity=100_000.0))
    system.history.refresh(("SPY", "QQQ"))
    assert system.service.beta("QQQ") == pytest.approx(1.5)
    assert measured_beta({}, {}) is None


def test_the_monitor_warns_at_80_percent_blocks_at_100_and_says_when_it_is_over(system: System) -> None:
    # phase 1 allows 300 shares of delta: a short put with a delta of -0.3 is +0.3 x 100 x 10 = 300 shares
    put = spxw(5488.0, Right.PUT)
    system.quote_all({put: 1})
    unit = system.service.delta_of(put)
    assert unit is not None
    limit = PhaseSettings().foundation.greeks_delta
    per_contract = -unit * 1000.0
    assert 0.8 * limit < per_contract < limit
    system.hold("short", {put: -1})
    events = {event.rule: event for event in system.thresholds}
    assert events["greeks_delta"].severity is Severity.WARNING
    assert events["greeks_delta"].observed == pytest.approx(per_contract)
    system.hold("short", {put: -1}, contracts=2)
    assert "greeks_delta" in system.monitor.blocked
    count = len(system.thresholds)
    system.move("SPX", 5500.0)
    assert len(system.thresholds) == count  # nothing changed: nothing is said
    system.monitor.use_limits(PhaseSettings().professional)
    assert "greeks_delta" not in system.monitor.blocked
    assert "greeks_gamma" not in system.monitor.blocked  # 160 shares, but all of it expires today


def test_long_gamma_and_vega_use_none_of_their_limits(system: System) -> None:
    call = spxw(5500.0, Right.CALL)
    system.quote_all({call: 1})
    system.hold("long", {call: 1}, contracts=3)
    uses: Any = {use.rule: use for use in system.monitor.check()}
    assert uses["greeks_gamma"].share == 0.0
    assert uses["greeks_vega"].share == 0.0


def test_the_monitor_rests_while_all_is_calm_and_looks_when_it_matters(system: System) -> None:
    quiet = {spxw(5440.0, Right.PUT): -1, spxw(5410.0, Right.PUT): 1}
    system.quote_all(quiet)
    system.move("SPX", 5500.0)
    system.move("SPY", 550.0)
    system.hold("spread", quiet)
    start = system.service.computations["portfolio"]
    for minute in range(1, 30):
        system.clock.advance(MORNING + timedelta(minutes=minute))
        system.move("SPX", 5500.0 + 11.0 * (minute % 2))  # 0.2 % to and fro
    assert system.service.computations["portfolio"] == start
    system.move("SPX", 5560.0)  # 1.1 % from where it was looked at
    assert system.service.computations["portfolio"] == start + 1
    system.clock.advance(MORNING + timedelta(minutes=60))
    system.move("SPX", 5561.0)
    assert system.service.computations["portfolio"] == start + 2


def test_a_price_that_moves_nothing_of_the_figures_brings_the_same_ones(system: System) -> None:
    system.quote_all(CONDOR)
    system.hold("condor", CONDOR)
    system.move("SPX", 5500.0)
    system.move("SPY", 550.0)
    system.gateway.prices["SPX"] = 5511.0  # 0.2 %: the market has it, and the bus tells of it later in the minute
    system.clock.advance(MORNING + timedelta(minutes=1))
    system.move("SPY", 551.0)
    first = system.service.portfolio()
    start = system.service.computations["portfolio"]
    system.move("SPX", 5511.0)  # past the tolerance of what was told before
    assert system.service.portfolio() is first
    assert system.service.computations["portfolio"] == start
    system.move("SPX", 5522.0)
    assert system.service.portfolio() is not first
    assert system.service.computations["portfolio"] == start + 1


def test_volatilities_measured_in_a_minute_stand_for_the_rest_of_it(system: System) -> None:
    system.quote_all(CONDOR)
    system.hold("condor", CONDOR)
    system.move("SPX", 5500.0)
    system.move("SPY", 550.0)
    system.gateway.prices["SPX"] = 5511.0
    system.clock.advance(MORNING + timedelta(seconds=300))  # as old as they may be: measured again
    system.quote_all(CONDOR)
    system.move("SPY", 551.0)
    first = system.service.portfolio()
    start = system.service.computations["portfolio"]
    system.move("SPX", 5511.0)
    assert system.service.portfolio() is first
    assert system.service.computations["portfolio"] == start


def test_what_a_measurement_told_nothing_of_is_asked_again_in_the_same_minute(system: System) -> None:
    system.quote_all(CONDOR)
    system.hold("condor", CONDOR)
    contracts = tuple(CONDOR)
    assert system.service.priced(contracts).volatility == pytest.approx(0.15, abs=1e-3)
    system.clock.advance(MORNING + timedelta(seconds=300))
    system.gateway.quoted = {}
    assert system.service.priced(contracts).volatility == pytest.approx(0.15, abs=1e-3)  # the last known ones
    system.quote_all(CONDOR, volatility=0.16)
    assert system.service.priced(contracts).volatility == pytest.approx(0.16, abs=1e-3)


def test_what_belongs_to_no_package_counts(system: System) -> None:
    # Ten SPY shares of a person's own and one short put of theirs; NVDA is nothing that is traded here.
    put = spy(540.0, Right.PUT, date(2024, 8, 16))
    assert contract_named(put.name) == put
    assert (contract_named("SPY"), contract_named("XYZ 240816P540")) == (None, None)
    assert contract_named("SPXW 240816C5500.5") == spxw(5500.5, Right.CALL, date(2024, 8, 16))
    system.quote_all({put: -1})
    system.book.unowned = {"SPY": 10.0, "NVDA": 30.0, put.name: -1.0}
    system.book.shares["SPY"] = ShareHolding("SPY", 100.0, 550.0, -55_000.0)
    system.changed("unowned", ChangeKind.CORRECTED)
    found = system.service.portfolio()
    assert [(row.underlying, row.quantity) for row in found.shares] == [("SPY", 110.0)]
    delta = system.service.delta_of(put)
    assert delta is not None
    assert found.whole is not None
    assert found.whole.delta == pytest.approx(110.0 - 100.0 * delta)
    assert set(found.by_position()) == {"unowned", "shares SPY"}
    assert set(found.by_strategy()) == {"unowned", "assigned_shares"}
    # 5 % up: the shares bring 110 x 550 x 0.05 = 3,025, the short put what it loses in price on top.
    grid = system.service.scenarios((0.05,), (0.0,), (0.0,))
    assert grid.by_position["shares SPY"][0, 0, 0] == pytest.approx(3_025.0)
    assert grid.whole[0, 0, 0] == pytest.approx(3_025.0 + grid.by_position["unowned"][0, 0, 0])
    assert grid.by_group["A2"][0, 0, 0] == pytest.approx(grid.whole[0, 0, 0])
    del system.gateway.prices["SPY"]
    assert math.isnan(system.service.scenarios((0.05,), (0.0,), (0.0,)).whole[0, 0, 0])


class Closes:
    """A gateway whose chain files tell closes alone: what 20 % a year gave at the last close of the underlying."""

    def __init__(self) -> None:
        self.time, self.asked = MORNING, list[datetime]()

    def now(self) -> datetime:
        return self.time

    def daily_bars(self, _ticker: str, _count: int) -> list[DailyBar]:
        self.asked.append(self.time)
        return [DailyBar(MORNING.date() - timedelta(days=1), 5400.0, 5400.0, 5400.0, 5400.0)]

    def listing(self, contract: Contract, close: bool = True) -> Listing:
        then = datetime.combine(MORNING.date() - timedelta(days=1), time(16))
        columns = Columns.of((contract,), then, RATE, YIELD)
        return Listing(float(columns.prices(np.array([5400.0]), np.array([0.2]))[0]) if close else None, None)


def test_yesterdays_close_is_asked_once_a_minute_for_volatilities_of_closes(system: System) -> None:
    gateway = Closes()
    planner = ChainPlanner(cast(Gateway, gateway), system.service, system.cache)
    told = [planner.told((spxw(strike, Right.PUT),))[0] for strike in (5300.0, 5350.0, 5400.0, 5300.0)]
    assert told == pytest.approx([0.2] * 4, rel=1e-5)
    assert gateway.asked == [MORNING]
    gateway.time = MORNING + timedelta(minutes=1)
    planner.told((spxw(5300.0, Right.PUT),))  # known since the minute before
    assert planner.told((spxw(5250.0, Right.PUT),))[0] == pytest.approx(0.2, rel=1e-5)
    assert gateway.asked == [MORNING, gateway.time]

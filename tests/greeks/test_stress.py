"""The stress engine: time value and volatility at the moved price, betas, later legs, foreign contracts, unknowns."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.book import ShareHolding, position_of
from core.contracts import Contract, Leg, Package, Right
from core.gateway import Holding
from core.parts import Part, Terms
from greeks.american import american_price
from greeks.black_scholes import european_price, years_to_expiry
from greeks.stress import Node
from tests.greeks.chains import MORNING, RATE, YIELD, spxw, spy
from tests.greeks.stress import FOUR_MONTHS, Stress

YEAR = MORNING.date() + timedelta(days=365)
WEEK = MORNING.date() + timedelta(days=7)


@pytest.fixture
def stress() -> Stress:
    return Stress()


def test_a_naked_put_loses_time_value_and_volatility_long_before_its_strike(stress: Stress) -> None:
    # 2 x 4400 puts, 119 days, index 5500, volatility 0.15: at 4950 (-10 %) they are still 11 % out of the money, so
    # their payoff loses nothing; volatility rises by 20 x sqrt(30 / 119.2) = 10.03 points, and they lose 90 points each
    put = spxw(4400.0, Right.PUT, FOUR_MONTHS)
    found = stress.one({put: -2})
    years = years_to_expiry([put], MORNING)[0]
    volatility = 0.15 + 0.20 * math.sqrt(30.0 / (years * 365.0))
    before = european_price(5500.0, 4400.0, years, 0.15, RATE, YIELD, False)[0]
    after = european_price(4950.0, 4400.0, years, volatility, RATE, YIELD, False)[0]
    assert found.loss == pytest.approx(200.0 * (after - before), rel=1e-3)
    assert found.loss > 10_000.0
    crash = european_price(4400.0, 4400.0, years, volatility, RATE, YIELD, False)[0]
    assert found.profits[Node.CRASH] == pytest.approx(-200.0 * (crash - before), rel=1e-3)
    assert found.naked == 2
    assert found.largest_loss == pytest.approx(200.0 * (4400.0 - before), rel=0.02)  # to an index near zero
    assert found.profits[Node.NOW] == 0.0


def test_a_proposal_is_sized_by_the_move_that_sizing_names() -> None:
    # the put of before at sizing.stress_move 20 %: 4400, the crash's move; the group's own line stays at 10 %
    put, covered = spxw(4400.0, Right.PUT, FOUR_MONTHS), spxw(4300.0, Right.PUT, FOUR_MONTHS)
    usual, wide = Stress().one({put: -2}), Stress(stress_move=0.20).one({put: -2})
    assert usual.sizing_loss == pytest.approx(usual.loss)
    assert wide.loss == pytest.approx(usual.loss)
    assert wide.sizing_loss == pytest.approx(-usual.profits[Node.CRASH])
    assert Stress().one({put: -2, covered: 2}).sizing_loss is None  # its largest loss sizes it


def test_american_options_move_by_beta_with_their_early_exercise(stress: Stress) -> None:
    # QQQ has beta 1.18: at -10 % of the index it stands 11.8 % lower
    stress.system.gateway.prices["QQQ"] = 480.0
    stress.system.move("QQQ", 480.0)
    family = spy(480.0, Right.PUT, FOUR_MONTHS)
    qqq = Contract(
        type(family.underlying)("QQQ", family.underlying.kind), "QQQ", FOUR_MONTHS, 480.0, Right.PUT, family.style,
        family.settlement, 100.0,
    )  # fmt: skip
    found = stress.one({qqq: -1}, 0.20)
    years = years_to_expiry([qqq], MORNING)[0]
    now = stress.system.service.priced((qqq,))
    rise = 0.20 * math.sqrt(30.0 / (years * 365.0))
    after = american_price(480.0 * (1 - 0.118), 480.0, years, now.volatility[0] + rise, RATE, YIELD, False)[0]
    assert found.profits[Node.DOWN] == pytest.approx(-100.0 * (after - now.price[0]), rel=1e-9)


def test_a_covered_call_on_a_leap_loses_what_the_model_says_and_not_its_debit(stress: Stress) -> None:
    # LEAP 440 call bought, weekly 555 call sold, SPY 550: valued at intrinsic the long would be thought to lose all of
    # its time value; with it the two lose about delta x 55 points at -10 %, well under the debit
    leap, weekly = spy(440.0, Right.CALL, YEAR), spy(555.0, Right.CALL, WEEK)
    found = stress.one({leap: 1, weekly: -1})
    debit = found.value
    assert 0.3 * debit < found.loss < 0.55 * debit
    assert found.naked == 0
    assert found.largest_loss == pytest.approx(debit, rel=0.02)
    assert found.profits[Node.UP] > 0.0


def test_a_condor_cannot_lose_more_than_its_width(stress: Stress) -> None:
    legs = {
        spxw(5440.0, Right.PUT): -1, spxw(5410.0, Right.PUT): 1, spxw(5560.0, Right.CALL): -1,
        spxw(5590.0, Right.CALL): 1,
    }  # fmt: skip
    found = stress.one(legs)
    assert found.largest_loss == pytest.approx(3_000.0 + found.value, abs=0.01)  # its value is negative: sold
    assert found.loss <= found.largest_loss + 1e-6
    assert found.naked == 0


def test_a_naked_call_has_no_floor_and_a_box_nothing_to_lose(stress: Stress) -> None:
    assert stress.one({spxw(5600.0, Right.CALL, FOUR_MONTHS): -1}).largest_loss == math.inf
    low, high = 5250.0, 5750.0
    box = {
        spxw(low, Right.CALL, YEAR): -1, spxw(high, Right.CALL, YEAR): 1, spxw(low, Right.PUT, YEAR): 1,
        spxw(high, Right.PUT, YEAR): -1,
    }  # fmt: skip
    found = stress.one(box)
    assert found.loss == pytest.approx(0.0, abs=50.0)  # a certain cash flow, whatever the index does
    assert found.largest_loss == pytest.approx(50_000.0 + found.value, abs=1.0)


def test_what_is_held_is_stressed_once_until_a_price_a_position_or_a_foreign_contract_changes(stress: Stress) -> None:
    system, engine = stress.system, stress.engine
    put = spxw(5300.0, Right.PUT, FOUR_MONTHS)
    system.quote_all({put: -1})
    assert engine.held().rows == ()
    system.hold("short", {put: -1}, contracts=2)
    first = engine.held()
    (row,) = first.rows
    assert engine.held() is first
    system.move("SPX", 5505.0)  # 0.09 %, inside 0.2 %
    assert engine.held() is first
    system.move("SPX", 5400.0)
    moved = engine.held().of("short")
    assert moved is not None
    assert moved.value < row.value  # nearer to its strike it costs more to buy back
    system.book.unowned[spxw(5200.0, Right.PUT, FOUR_MONTHS).name] = -3.0
    system.quote_all({spxw(5200.0, Right.PUT, FOUR_MONTHS): 1})
    foreign = engine.held().of("unowned SPX")
    assert foreign is not None
    assert foreign.naked == 3
    assert foreign.loss > 0.0


def test_pending_entries_and_shares_count(stress: Stress) -> None:
    system = stress.system
    put = spxw(5300.0, Right.PUT, FOUR_MONTHS)
    system.quote_all({put: -1})
    terms = Terms("lt112", "test", 1_000.0, 1_000.0)
    package = Package((Leg(put, -1),))
    system.book.pending["coming"] = position_of("coming", Part("whole", package, 1, MORNING, (0.0,), 0.0, 0.0, terms))
    system.book.shares["SPY"] = ShareHolding("SPY", 100.0, 550.0, -55_000.0)
    held = stress.engine.held()
    coming, shares = held.of("coming"), held.of("shares SPY")
    assert coming is not None
    assert shares is not None
    assert shares.loss == pytest.approx(5_500.0)
    assert shares.profits[Node.CRASH] == pytest.approx(-11_000.0)


def test_what_a_person_holds_that_no_table_knows_counts_or_is_unknown(
    stress: Stress, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 30 shares at the broker's 900: 10 % are 2,700. A put of a root that no row has, and shares sold without a price,
    # may lose anything; shares that are held without one lose at most what a person paid for them.
    mine = [Holding("NVDA", 30.0, 0.0, 900.0), Holding("GME", -100.0, 0.0, 0.0), Holding("AMC", 50.0, 0.0, 0.0)]
    monkeypatch.setattr(stress.system.gateway, "holdings", lambda: mine, raising=False)
    stress.system.book.unowned = {"NVDA": 30.0, "TSLA 240621P150": -5.0, "GME": -100.0, "AMC": 50.0}
    held = stress.engine.held()
    shares = held.of("shares NVDA")
    assert shares is not None
    assert shares.loss == pytest.approx(2_700.0)
    assert held.unknown == ("shares GME", "shares TSLA 240621P150")
    assert held.of("shares AMC") is None


def test_a_persons_shares_are_stressed_anew_when_their_price_moves(stress: Stress) -> None:
    stress.system.book.unowned = {"SPY": 100.0}
    stress.system.move("SPY", 550.0)
    before = stress.engine.held()
    stress.system.move("SPY", 500.0)
    after = stress.engine.held().of("shares SPY")
    assert before.rows[0].value == pytest.approx(55_000.0)
    assert after is not None
    assert after.value == pytest.approx(50_000.0)


def test_unknown_is_nan_and_named_and_asked_for_again(stress: Stress) -> None:
    system = stress.system
    put = spxw(5300.0, Right.PUT, FOUR_MONTHS)
    system.hold("short", {put: -1})
    held = stress.engine.held()
    assert held.unknown == ("short",)
    assert math.isnan(held.rows[0].loss)
    system.quote_all({put: -1})
    assert stress.engine.held().unknown == ()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3).filter(bool), st.integers(80, 120), st.sampled_from(list(Right))), min_size=1,
             max_size=4, unique_by=lambda leg: leg[1:]),
    st.booleans(),
)  # fmt: skip
def test_no_node_of_one_expiry_loses_more_than_the_largest_loss(
    rows: list[tuple[int, int, Right]], later: bool
) -> None:
    # with rates at zero a European package is worth at least its worst payoff at every price, so this must hold
    stress = Stress()
    expiry = FOUR_MONTHS if later else date(2024, 7, 12)
    legs = {spxw(55.0 * percent, right, expiry): ratio for ratio, percent, right in rows}
    found = stress.one(legs)
    if found.known:
        carry = 0.01 * 100.0 * sum(abs(ratio) * contract.strike for contract, ratio in legs.items())
        assert float(-np.min(found.profits)) <= found.largest_loss + carry

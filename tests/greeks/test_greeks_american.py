"""American options: QuantLib's finite differences and its high-precision engine, published limits, and properties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813 - the name that its own documentation uses
from hypothesis import given, settings
from hypothesis import strategies as st

from greeks.american import american_greeks, american_implied_volatility, american_price
from greeks.black_scholes import FloatArray, european_greeks, european_price
from greeks.implied import NoVolatility
from tests.greeks.american import Sample, draw, finite_differences, quantlib


def test_prices_and_deltas_equal_finite_differences_on_a_fine_grid() -> None:
    # benchmarks/greeks.py does the same for 500 contracts
    sample = draw(30, seed=21)
    price, delta = quantlib(sample, finite_differences)
    found = american_greeks(*sample.inputs)
    assert found.price == pytest.approx(price, abs=0.01)
    assert found.delta == pytest.approx(delta, abs=0.002)


def test_prices_equal_quantlibs_high_precision_engine() -> None:
    sample = draw(300, seed=22)
    scheme = ql.QdFpAmericanEngine.highPrecisionScheme()
    price, _ = quantlib(sample, lambda process: ql.QdFpAmericanEngine(process, scheme))
    assert american_price(*sample.inputs) == pytest.approx(price, abs=0.005)


def test_a_published_put_is_priced_as_printed() -> None:
    # Longstaff and Schwartz (2001), table 1: S 36, K 40, r 6 %, sigma 20 %, one year: European 3.844, and 4.478 when it
    # may be exercised on 50 days of the year; any day is worth about a cent more
    assert 4.478 < american_price(36.0, 40.0, 1.0, 0.2, 0.06, 0.0, False)[0] < 4.478 + 0.012
    assert european_price(36.0, 40.0, 1.0, 0.2, 0.06, 0.0, False)[0] == pytest.approx(3.844, abs=0.001)


def test_a_call_that_pays_no_dividend_and_a_put_without_interest_are_european() -> None:
    strikes = np.array([80.0, 100.0, 120.0])
    call = american_greeks(100.0, strikes, 0.5, 0.3, 0.05, 0.0, True)
    put = american_greeks(100.0, strikes, 0.5, 0.3, 0.0, 0.02, False)
    assert call.price == pytest.approx(european_price(100.0, strikes, 0.5, 0.3, 0.05, 0.0, True), abs=1e-12)
    assert put.price == pytest.approx(european_price(100.0, strikes, 0.5, 0.3, 0.0, 0.02, False), abs=1e-12)


def test_where_exercise_is_best_nothing_but_delta_is_left() -> None:
    # a put struck at 150 on a share at 100 with 10 % interest: waiting costs 15 a year and can hardly win
    found = american_greeks(100.0, 150.0, 0.5, 0.15, 0.10, 0.0, False)
    assert found.price[0] == pytest.approx(50.0, abs=1e-12)
    assert found.delta[0] == pytest.approx(-1.0, abs=1e-12)
    others = ("gamma", "vega", "theta", "rho", "vanna", "charm", "vomma")
    assert [getattr(found, name)[0] for name in others] == [0.0] * 7


def test_at_zero_time_the_answer_is_the_intrinsic_value() -> None:
    found = american_greeks([105.0, 95.0], 100.0, 0.0, 0.2, 0.05, 0.01, True)
    assert found.price.tolist() == [5.0, 0.0]
    assert found.delta.tolist() == [1.0, 0.0]
    assert np.isfinite(found.matrix()).all()


def test_greeks_are_the_derivatives_of_the_price() -> None:
    sample = draw(60, seed=23)
    spot, strike, years, volatility, rate, dividend, call = sample.inputs
    found = american_greeks(*sample.inputs)
    alive = found.gamma > 0.0
    assert alive.sum() > 40

    def at(move: float = 0.0, vol: float = 0.0, day: float = 0.0) -> FloatArray:
        years_left = years - day / 365.0
        return american_price(spot * (1.0 + move), strike, years_left, volatility + vol, rate, dividend, call)

    step = 1e-3
    delta = (at(move=step) - at(move=-step)) / (2.0 * step * spot)
    assert found.delta[alive] == pytest.approx(delta[alive], abs=3e-3)
    vega = (at(vol=step) - at(vol=-step)) / (200.0 * step)
    assert found.vega[alive] == pytest.approx(vega[alive], abs=2e-3)
    theta = (at(day=0.05) - at(day=-0.05)) / 0.1
    assert found.theta[alive] == pytest.approx(theta[alive], abs=6e-3)


def test_rho_of_an_option_on_a_future_leaves_the_future_where_it_is() -> None:
    # European: -T x price / 100 = -0.25 x 5.5 / 100; the right to exercise early takes part of that loss back
    found = american_greeks(80.0, 80.0, 0.25, 0.35, 0.05, 0.05, True, on_future=True)
    pair = [np.full(2, value) for value in (80.0, 91.0, 0.35, 0.05)]
    sample = Sample(pair[0], pair[0], pair[1], pair[2], pair[3], pair[3], np.full(2, True))
    moved = replace(sample, rate=np.array([0.051, 0.049]), dividend_yield=np.array([0.051, 0.049]))
    scheme = ql.QdFpAmericanEngine.highPrecisionScheme()
    (richer, poorer), _ = quantlib(moved, lambda process: ql.QdFpAmericanEngine(process, scheme))
    assert found.rho[0] == pytest.approx((richer - poorer) / 0.2, abs=2e-4)
    assert -0.25 * found.price[0] / 100.0 < found.rho[0] < 0.0
    assert american_greeks(80.0, 80.0, 0.25, 0.35, 0.05, 0.05, True).rho[0] > 0.0


def test_a_rate_with_two_exercise_boundaries_is_refused() -> None:
    with pytest.raises(ValueError, match="two exercise boundaries"):
        american_price(100.0, 100.0, 0.5, 0.2, -0.01, -0.02, False)
    with pytest.raises(ValueError, match="two exercise boundaries"):
        american_price(100.0, 100.0, 0.5, 0.2, -0.02, -0.01, True)


def test_volatility_is_recovered() -> None:
    sample = draw(300, seed=24)
    spot, strike, years, volatility, rate, dividend, call = sample.inputs
    prices = american_greeks(*sample.inputs)
    found = american_implied_volatility(prices.price, spot, strike, years, rate, dividend, call)
    told = prices.vega > 1e-3
    assert told.sum() > 200
    assert (found.reason[told] == NoVolatility.FOUND).all()
    assert np.abs(found.volatility - volatility)[told].max() < 2e-3  # 1e-6 of the strike over a vega of 0.1
    back = american_price(spot, strike, years, np.nan_to_num(found.volatility, nan=0.2), rate, dividend, call)
    ok = found.reason == NoVolatility.FOUND
    assert (np.abs(back - prices.price) / strike)[ok].max() < 1.1e-6


def test_each_price_without_a_volatility_says_why() -> None:
    # a put struck at 110 on 100: worth 10 at once, at most 110
    price = [12.0, 10.0, 9.0, 110.0, np.nan, 12.0]
    years = [0.5, 0.5, 0.5, 0.5, 0.5, 0.0]
    found = american_implied_volatility(price, 100.0, 110.0, years, 0.05, 0.01, False)
    assert found.reason.tolist() == [
        NoVolatility.FOUND,
        NoVolatility.BELOW_INTRINSIC,
        NoVolatility.BELOW_INTRINSIC,
        NoVolatility.ABOVE_BOUND,
        NoVolatility.MISSING,
        NoVolatility.EXPIRED,
    ]


@settings(max_examples=40)
@given(
    st.floats(-0.8, 0.8),
    st.floats(1.0 / 365.0, 2.0),
    st.floats(0.06, 1.5),
    st.floats(0.0, 0.10),
    st.floats(0.0, 0.08),
    st.booleans(),
)
def test_price_bounds_monotony_and_convexity_hold(
    x: float, years: float, vol: float, rate: float, dividend: float, call: bool
) -> None:
    spot = np.array([98.0, 100.0, 102.0])
    strike = 100.0 * math.exp(x)
    found = american_greeks(spot, strike, years, vol, rate, dividend, call)
    european = european_greeks(spot, strike, years, vol, rate, dividend, call)
    inner = np.maximum((spot - strike) if call else (strike - spot), 0.0)
    noise = 2e-4  # of the boundary's interpolation, far under a tick
    assert (found.price >= np.maximum(european.price, inner) - 1e-9).all()
    assert (found.price <= (spot if call else strike) + 1e-9).all()
    low, middle, high = found.price.tolist()
    assert (high - low) * (1.0 if call else -1.0) >= -noise
    assert low + high - 2.0 * middle >= -noise
    assert (np.abs(found.delta) <= 1.0 + 1e-12).all()
    assert np.isfinite(found.matrix()).all()
    longer = american_price(spot, strike, years * 1.5, vol, rate, dividend, call)
    assert (longer >= found.price - noise).all()


def test_compiled_loops_and_numpy_agree_whatever_contract_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """170 boundaries in turn, twice: more than the loops keep; and each at three prices, so that kept ones serve.

    Each contract asks for seven boundaries, four of them when rho and charm are looked at: long after the others.
    """
    count = 1020
    volatility = np.tile(np.repeat(np.linspace(0.1, 1.1, 170), 3), 2)
    spot = np.tile([70.0, 100.0, 130.0], 340)
    is_call = np.arange(count) % 2 == 0
    for rate, dividend_yield in ((0.03, 0.0), (0.02, 0.05), (0.05, 0.01)):
        terms = (spot, 100.0, 0.7, volatility, rate, dividend_yield, is_call)
        figures = american_greeks(*terms, on_future=is_call)
        assert np.array_equal(american_price(*terms), figures.price)
        compiled = figures.matrix()
        with monkeypatch.context() as patch:
            patch.setattr("greeks.american.load_kernels", lambda: None)
            plain = american_greeks(*terms, on_future=is_call).matrix()
        assert np.allclose(compiled, plain, rtol=1e-9, atol=1e-9)
        assert (figures.rho == compiled[5]).all()
        assert np.abs(compiled[[5, 7]]).max(axis=1).min() > 1e-4


def test_a_volatility_is_sought_alike_with_and_without_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices of a put at 100 struck at 110: unknown, too late, under 10, over 110, and two that have a volatility."""
    price = np.array([np.nan, 12.0, 9.0, 111.0, 12.0, 30.0])
    years = np.array([0.5, 0.0, 0.5, 0.5, 0.5, 0.5])
    terms = (price, 100.0, 110.0, years, 0.03, 0.01, False)
    compiled = american_implied_volatility(*terms)
    monkeypatch.setattr("greeks.american.load_kernels", lambda: None)
    plain = american_implied_volatility(*terms)
    assert compiled.reason.tolist() == plain.reason.tolist() == [6, 1, 2, 3, 0, 0]
    assert np.allclose(compiled.volatility, plain.volatility, rtol=1e-5, equal_nan=True)

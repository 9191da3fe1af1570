"""European closed forms and implied volatility: hand-worked values, QuantLib on 100,000 contracts, and properties."""

# Private: _black, _compiled, _step: one step of a solver against its formula.

from __future__ import annotations

import math
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from greeks import black_scholes, implied
from greeks.black_scholes import Backend, Greeks, european_greeks
from greeks.implied import NoVolatility, implied_volatility
from tests.conftest import ROOT
from tests.greeks.european import MINUTE, draw, priced, quantlib

BACKENDS = [Backend.NUMPY, Backend.COMPILED]


def test_hulls_example_is_priced_as_printed() -> None:
    # Hull, Options, Futures and Other Derivatives: S 42, K 40, r 10 %, sigma 20 %, half a year.
    # d1 = (ln(42/40) + (0.1 + 0.02) 0.5) / (0.2 sqrt 0.5) = 0.7693, d2 = 0.6278
    # call = 42 N(0.7693) - 40 e^-0.05 N(0.6278) = 42 x 0.7791 - 38.049 x 0.7349 = 4.76; put = 38.049 - 42 + 4.76 = 0.81
    found = european_greeks([42.0, 42.0], 40.0, 0.5, 0.2, 0.1, 0.0, [True, False])
    assert found.price == pytest.approx([4.759422, 0.808599], abs=1e-6)
    assert found.delta == pytest.approx([0.779131, -0.220869], abs=5e-7)


def test_haugs_black_76_example_is_priced_as_printed() -> None:
    # Haug, The Complete Guide to Option Pricing Formulas: F 19, K 19, T 0.75, r 10 %, sigma 28 %: call = put = 1.7011
    found = european_greeks(19.0, 19.0, 0.75, 0.28, 0.10, 0.10, [True, False])  # a future yields the rate
    assert found.price == pytest.approx([1.7011, 1.7011], abs=5e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_prices_and_greeks_equal_quantlib_on_100_000_contracts(backend: Backend) -> None:
    sample = draw(100_000, seed=11)
    expected = quantlib(sample)
    found = priced(sample, backend).matrix()[:6]
    assert np.abs((found - expected) / sample.spot).max(axis=1) == pytest.approx(np.zeros(6), abs=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_volatility_is_recovered_on_100_000_contracts(backend: Backend) -> None:
    # a price is a double: it holds its own rounding of 1e-16 of the spot, which a vega of 1e-6 of the spot turns into
    # 1e-10 of volatility; below that vega the price does not hold the volatility any more
    sample = draw(100_000, seed=12)
    prices = priced(sample)
    spot, strike, years, volatility, rate, dividend, call = sample.inputs
    found = implied_volatility(prices.price, spot, strike, years, rate, dividend, call, backend)
    told = 100.0 * prices.vega / spot > 1e-6
    assert told.sum() > 60_000
    assert (found.reason[told] == NoVolatility.FOUND).all()
    assert np.abs(found.volatility - volatility)[told].max() < 1e-8


def test_out_of_the_money_volatility_is_recovered_wherever_a_dollar_vega_is_above_a_millionth() -> None:
    sample = draw(50_000, seed=13)
    spot, strike, years, volatility, rate, dividend, _ = sample.inputs
    call = strike >= spot * np.exp((rate - dividend) * years)
    prices = european_greeks(spot, strike, years, volatility, rate, dividend, call)
    found = implied_volatility(prices.price, spot, strike, years, rate, dividend, call)
    told = (100.0 * prices.vega > 1e-6) & (prices.price > 1e-12 * spot)
    assert np.abs(found.volatility - volatility)[told].max() < 1e-8


def test_both_backends_agree_to_rounding() -> None:
    sample = draw(5_000, seed=14)
    one, other = (priced(sample, backend).matrix() for backend in BACKENDS)
    assert np.abs((one - other) / sample.spot).max() < 1e-12


@pytest.mark.parametrize("name", ["vanna", "charm", "vomma"])
def test_cross_greeks_are_the_derivatives_that_they_are_called(name: str) -> None:
    rng = np.random.default_rng(15)
    spot, strike = np.full(200, 100.0), rng.uniform(70.0, 140.0, 200)
    years, volatility = rng.uniform(0.05, 2.0, 200), rng.uniform(0.1, 0.8, 200)
    rate, dividend, call = rng.uniform(0.0, 0.06, 200), rng.uniform(0.0, 0.04, 200), rng.random(200) < 0.5

    def at(vol_move: float = 0.0, day: float = 0.0) -> Greeks:
        return european_greeks(spot, strike, years - day / 365.0, volatility + vol_move, rate, dividend, call)

    step = 1e-4
    expected = {
        "vanna": (at(vol_move=step).delta - at(vol_move=-step).delta) / (200.0 * step),
        "charm": (at(day=step).delta - at(day=-step).delta) / (2.0 * step),
        "vomma": (at(vol_move=step).vega - at(vol_move=-step).vega) / (200.0 * step),
    }[name]
    assert getattr(at(), name) == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_zero_time_the_answer_is_the_intrinsic_value(backend: Backend) -> None:
    found = european_greeks([105.0, 95.0, 100.0, 105.0], 100.0, [0.0, 0.0, 0.0, -1.0], 0.2, 0.05, 0.01, True, backend)
    assert found.price.tolist() == [5.0, 0.0, 0.0, 5.0]
    assert found.delta.tolist() == [1.0, 0.0, 0.5, 1.0]
    for name in ("gamma", "vega", "theta", "rho", "vanna", "charm", "vomma"):
        assert getattr(found, name).tolist() == [0.0] * 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_one_minute_every_greek_is_finite_and_right(backend: Backend) -> None:
    # at the money with sigma 20 %: price = S x 0.399 x 0.2 x sqrt(T) = 5500 x 0.0798 x 0.00138 = 0.605
    spot = np.array([5500.0, 5500.0, 5500.0])
    found = european_greeks(spot, [5500.0, 5400.0, 5600.0], MINUTE, 0.2, 0.05, 0.0, False, backend)
    assert np.isfinite(found.matrix()).all()
    spread = 0.2 * math.sqrt(MINUTE)
    assert found.price[0] == pytest.approx(5500.0 * 0.3989422804 * spread, rel=1e-3)
    assert found.gamma[0] == pytest.approx(0.3989422804 / (5500.0 * spread), rel=1e-6)
    assert found.price[1:] == pytest.approx([0.0, 100.0], abs=1e-3)
    assert found.delta[1:] == pytest.approx([0.0, -1.0], abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unknown_volatility_gives_unknown_figures_and_no_others(backend: Backend) -> None:
    found = european_greeks(100.0, 100.0, 0.5, [np.nan, 0.2], 0.05, 0.01, True, backend).matrix()
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


@pytest.mark.parametrize(("spot", "strike"), [(0.0, 100.0), (100.0, -5.0), (np.nan, 100.0), (100.0, np.inf)])
def test_prices_that_are_no_prices_are_refused(spot: float, strike: float) -> None:
    with pytest.raises(ValueError, match="expected finite prices above zero"):
        european_greeks(spot, strike, 0.5, 0.2, 0.05, 0.0, True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_price_without_a_volatility_says_why(backend: Backend) -> None:
    # S 100, r = q = 0, half a year: a call struck at 90 is worth between 10 and 100
    price = [12.0, 10.0, 9.0, 100.0, np.nan, 12.0]
    years = [0.5, 0.5, 0.5, 0.5, 0.5, 0.0]
    found = implied_volatility(price, 100.0, 90.0, years, 0.0, 0.0, True, backend)
    assert found.reason.tolist() == [
        NoVolatility.FOUND,
        NoVolatility.BELOW_INTRINSIC,
        NoVolatility.BELOW_INTRINSIC,
        NoVolatility.ABOVE_BOUND,
        NoVolatility.MISSING,
        NoVolatility.EXPIRED,
    ]
    assert np.isnan(found.volatility[1:]).all()
    assert found.at(0) == pytest.approx(0.2111, abs=1e-4)
    assert found.at(3) is NoVolatility.ABOVE_BOUND


def test_quotes_without_a_middle_say_why() -> None:
    bid, ask = np.array([1.0, 0.0, 2.0, np.nan, 1.0]), np.array([1.2, 0.05, 1.9, 1.0, np.nan])
    middle, reasons = implied.judge_quotes(bid, ask)
    expected = (NoVolatility.FOUND, NoVolatility.ZERO_BID, NoVolatility.CROSSED, *[NoVolatility.MISSING] * 2)
    assert reasons.tolist() == list(expected)
    assert middle[0] == pytest.approx(1.1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("strike", "years", "call"),
    [(4000.0, 7.0 / 365.0, True), (7000.0, 7.0 / 365.0, False), (5450.0, MINUTE * 30, True), (9000.0, 0.5, True)],
)
def test_one_cent_over_intrinsic_has_a_volatility(backend: Backend, strike: float, years: float, call: bool) -> None:
    spot, rate, dividend = 5500.0, 0.05, 0.015
    sign = 1.0 if call else -1.0
    inner = max(sign * (spot * math.exp(-dividend * years) - strike * math.exp(-rate * years)), 0.0)
    found = implied_volatility(inner + 0.01, spot, strike, years, rate, dividend, call, backend)
    back = european_greeks(spot, strike, years, found.volatility, rate, dividend, call)
    assert back.price[0] == pytest.approx(inner + 0.01, abs=1e-9)


def test_without_numba_the_same_comes_out_and_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = draw(black_scholes.COMPILED_FROM, seed=16)
    with_numba = priced(sample).matrix()
    monkeypatch.setattr(black_scholes, "load_kernels", lambda: None)
    assert np.abs((priced(sample).matrix() - with_numba) / sample.spot).max() < 1e-12
    with pytest.raises(RuntimeError, match="numba is not installed"):
        priced(sample, Backend.COMPILED)


def test_numba_is_not_loaded_for_a_small_chain() -> None:
    code = (
        "import sys; from greeks.black_scholes import european_greeks; from greeks.implied import implied_volatility;"
        "g = european_greeks([100.0] * 3000, 100.0, 0.5, 0.2, 0.05, 0.0, True);"
        "implied_volatility(g.price, 100.0, 100.0, 0.5, 0.05, 0.0, True);"
        "assert 'numba' not in sys.modules, 'numba was loaded'"
    )
    root = ROOT
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})


def test_machine_code_is_kept_in_the_temporary_folder_where_no_other_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = black_scholes.load_kernels()
    assert kernels is not None
    config = SimpleNamespace(CACHE_DIR="")

    def njit(**_options: object) -> Any:
        if not config.CACHE_DIR:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernels, "_numba", SimpleNamespace(config=config, njit=njit))
    assert kernels._compiled(draw) is draw
    assert "greeks-numba" in config.CACHE_DIR


def test_two_steps_reach_the_rounding_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(17)
    x, s = -np.exp(rng.uniform(-18.0, 2.3, 20_000)), np.exp(rng.uniform(-9.0, 2.3, 20_000))
    beta = implied._black(x, s)
    kept = (beta > 1e-290) & (np.exp(0.5 * x) - beta > 1e-12)
    steps = 0
    step = implied._step

    def counted(*inputs: Any) -> Any:
        nonlocal steps
        steps += 1
        return step(*inputs)

    monkeypatch.setattr(implied, "_step", counted)
    found = implied.total_volatility(beta[kept], x[kept])
    assert steps == 2
    assert np.abs(found / s[kept] - 1.0).max() < 1e-6  # of prices that hold few digits of it


# Properties

moneyness = st.floats(-1.5, 1.5)
some_years = st.floats(MINUTE, 3.0)
some_volatility = st.floats(0.03, 3.0)
some_rate = st.floats(-0.02, 0.10)
some_yield = st.floats(0.0, 0.06)


@given(moneyness, some_years, some_volatility, some_rate, some_yield)
def test_put_call_parity_and_bounds_hold(x: float, years: float, vol: float, rate: float, dividend: float) -> None:
    spot, strike = 100.0, 100.0 * math.exp(x)
    found = european_greeks(spot, strike, years, vol, rate, dividend, [True, False])
    call, put = found.price.tolist()
    spot_now, strike_now = spot * math.exp(-dividend * years), strike * math.exp(-rate * years)
    assert call - put == pytest.approx(spot_now - strike_now, abs=1e-10)
    assert max(spot_now - strike_now, 0.0) - 1e-10 <= call <= spot_now + 1e-10
    assert max(strike_now - spot_now, 0.0) - 1e-10 <= put <= strike_now + 1e-10
    assert -1e-12 <= found.delta[0] <= math.exp(-dividend * years) + 1e-12
    assert found.gamma.tolist() == pytest.approx([found.gamma[0]] * 2)
    assert found.gamma[0] >= 0.0
    assert found.vega[0] >= 0.0


@given(moneyness, some_years, some_volatility, some_rate, some_yield, st.booleans())
def test_prices_are_monotone_and_convex_in_the_strike(
    x: float, years: float, vol: float, rate: float, dividend: float, call: bool
) -> None:
    strikes = 100.0 * math.exp(x) * np.array([0.99, 1.0, 1.01])
    low, middle, high = european_greeks(100.0, strikes, years, vol, rate, dividend, call).price.tolist()
    assert (low - high) * (1.0 if call else -1.0) >= -1e-10
    assert low + high - 2.0 * middle >= -1e-10


@given(moneyness, some_years, some_volatility, some_rate, some_yield, st.booleans())
def test_implied_volatility_is_the_inverse_of_the_price(
    x: float, years: float, vol: float, rate: float, dividend: float, call: bool
) -> None:
    strike = 100.0 * math.exp(x)
    found = european_greeks(100.0, strike, years, vol, rate, dividend, call)
    assume(found.vega[0] > 1e-6)
    back = implied_volatility(found.price, 100.0, strike, years, rate, dividend, call)
    assert back.at(0) == pytest.approx(vol, abs=1e-8)


@given(st.floats(1e-12, 0.999999), st.floats(-8.0, 0.0))
def test_normalised_prices_of_any_size_are_inverted(share: float, x: float) -> None:
    beta = share * math.exp(0.5 * x)
    volatility = implied.total_volatility(np.array([beta]), np.array([x]))
    assert implied._black(np.array([x]), volatility)[0] == pytest.approx(beta, rel=1e-9)

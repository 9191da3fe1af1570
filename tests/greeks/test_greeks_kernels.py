"""The compiled loops as plain Python: same figures as the machine code, and what they answer at their edges."""

# Private: _black, _step, _hermite, _normal, _own_temporary_folder: the parts of a compiled kernel, each against its
# formula.

from __future__ import annotations

import importlib.util
import math
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest

from greeks import black_scholes, implied
from greeks.black_scholes import FIGURES, Backend, FloatArray

COMPILED: Any = black_scholes.load_kernels()


def loaded(njit: Callable[..., Any]) -> Any:
    """The module's source again, compiled by ``njit``; the module in use stays as it is."""
    specification = importlib.util.spec_from_file_location("kernels_again", Path(COMPILED.__file__))
    assert specification is not None
    assert specification.loader is not None
    module: ModuleType = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:  # for the import only: numba itself uses njit later on
        patch.setattr(numba, "njit", njit)
        specification.loader.exec_module(module)
    return module


@pytest.fixture
def plain() -> Any:
    """The kernels as the interpreter runs them."""
    return loaded(lambda **_: lambda function: function)


def contracts() -> FloatArray:
    """Spot, strike, years, volatility, rate, yield, sign: calls and puts, deep, near, certain, and without volatility.

    The last three are: no time left, no volatility, and an unknown volatility.
    """
    rng = np.random.default_rng(7)
    count = 40
    columns = np.vstack(
        [
            np.full(count, 100.0),
            100.0 * np.exp(rng.normal(0.0, 0.25, count)),
            rng.uniform(0.01, 2.0, count),
            rng.uniform(0.05, 1.5, count),
            rng.uniform(0.0, 0.06, count),
            rng.uniform(0.0, 0.03, count),
            np.where(rng.random(count) < 0.5, 1.0, -1.0),
        ]
    )
    edges = np.array(
        [
            [100.0, 90.0, 0.0, 0.2, 0.05, 0.0, 1.0],
            [100.0, 110.0, 1.0, 0.0, 0.05, 0.02, -1.0],
            [100.0, 100.0, 1.0, np.nan, 0.05, 0.0, 1.0],
        ]
    )
    return np.hstack([columns, edges.T])


def test_greeks_are_those_of_the_machine_code_and_of_numpy(plain: Any) -> None:
    columns = contracts()
    interpreted, compiled = (np.zeros((plain.ROWS, columns.shape[1])) for _ in range(2))
    plain.fill_greeks(columns, interpreted)
    COMPILED.fill_greeks(columns, compiled)
    np.testing.assert_allclose(interpreted, compiled, rtol=1e-12, atol=1e-14)
    spot, strike, years, volatility, rate, dividend, sign = columns
    by_numpy = black_scholes.european_greeks(spot, strike, years, volatility, rate, dividend, sign > 0.0, Backend.NUMPY)
    for row, field in enumerate(FIGURES):
        np.testing.assert_allclose(interpreted[row], getattr(by_numpy, field), rtol=1e-10, atol=1e-12, err_msg=field)
    # No time left: 100 - 90 and a delta of one. No volatility: 110 e^-0.05 - 100 e^-0.02, delta -e^-0.02.
    assert interpreted[:2, -3].tolist() == [10.0, 1.0]
    assert interpreted[0, -2] == pytest.approx(110.0 * math.exp(-0.05) - 100.0 * math.exp(-0.02))
    assert interpreted[1, -2] == pytest.approx(-math.exp(-0.02))
    assert np.isnan(interpreted[:, -1]).all()


def test_implied_volatility_finds_the_volatility_that_priced_it(plain: Any) -> None:
    columns = contracts()[:, :-3]
    # Out of the money, so that no digit is lost: small (region 0), middle and near the ceiling (region 2).
    columns[3, :6] = [0.08, 0.15, 0.6, 2.0, 4.0, 6.0]
    columns[1, :6] = 130.0
    columns[6] = np.where(columns[1] * np.exp((columns[5] - columns[4]) * columns[2]) > 100.0, 1.0, -1.0)
    prices = np.zeros((plain.ROWS, columns.shape[1]))
    plain.fill_greeks(columns, prices)
    asked = np.vstack([prices[0], columns[[0, 1, 2, 4, 5, 6]]])
    found, compiled = np.zeros((2, columns.shape[1]))
    reasons, others = np.zeros((2, columns.shape[1]), dtype=np.int8)
    plain.fill_volatility(asked, found, reasons)
    COMPILED.fill_volatility(asked, compiled, others)
    priced = prices[0] > 1e-200
    assert priced.sum() > 40 - 3
    np.testing.assert_allclose(found[priced], columns[3][priced], rtol=1e-9)
    np.testing.assert_allclose(found, compiled, rtol=1e-12)
    assert reasons.tolist() == others.tolist()


def test_why_there_is_no_volatility(plain: Any) -> None:
    # Price, spot, strike, years, rate, yield, sign: a day too late, worth less than intrinsic, dearer than the share,
    # and one that was refused before (nobody bid).
    asked = np.array(
        [
            [5.0, 100.0, 100.0, 0.0, 0.0, 0.0, 1.0],
            [9.0, 100.0, 90.0, 1.0, 0.0, 0.0, 1.0],
            [101.0, 100.0, 90.0, 1.0, 0.0, 0.0, 1.0],
            [5.0, 100.0, 100.0, 1.0, 0.0, 0.0, 1.0],
        ]
    ).T
    found, reasons = np.zeros(4), np.array([0, 0, 0, 4], dtype=np.int8)
    plain.fill_volatility(asked, found, reasons)
    assert np.isnan(found).all()
    assert [implied.NoVolatility(int(reason)).name for reason in reasons] == [
        "EXPIRED",
        "BELOW_INTRINSIC",
        "ABOVE_BOUND",
        "ZERO_BID",
    ]


# The price falls like exp(-(x / s)^2 / 2): pairs that keep one above a double's range have |x| / s under 34.
PAIRS = [
    (x, total)
    for x in (-1e-12, -1e-4, -0.02, -0.5, -3.0, -20.0)
    for total in (0.01, 0.1, 0.5, 1.5, 4.0, 9.0)
    if -x / total < 34.0
]


@pytest.mark.parametrize(("x", "total"), PAIRS)
def test_total_volatility_inverts_the_price(plain: Any, x: float, total: float) -> None:
    ceiling = math.exp(0.5 * x)
    beta = plain._black(x, total, ceiling)
    found = plain.total_volatility(beta, x)
    assert plain._black(x, found, ceiling) == pytest.approx(beta, rel=1e-12)
    assert found == pytest.approx(total, rel=1e-7)
    assert found == pytest.approx(COMPILED.total_volatility(beta, x), rel=1e-12)


@pytest.mark.parametrize("short", [3e-16, 1e-14, 1e-10])
def test_a_price_just_under_its_ceiling_has_a_large_volatility(plain: Any, short: float) -> None:
    # At the money the price is 1 - 2 N(-s / 2), so s = -2 N^-1(short / 2).
    beta = 1.0 - short
    found = plain.total_volatility(beta, 0.0)
    assert math.erfc(found / math.sqrt(8.0)) == pytest.approx(1.0 - beta, rel=1e-2)
    assert found == pytest.approx(COMPILED.total_volatility(beta, 0.0), rel=1e-9)


def test_the_cubic_meets_its_points_and_slopes(plain: Any) -> None:
    # y = x^3 between 1 and 2: values 1 and 8, slopes 3 and 12, so 3.375 at 1.5. A width of nothing gives the value.
    assert plain._hermite(1.5, 1.0, 2.0, (1.0, 8.0), (3.0, 12.0)) == pytest.approx(3.375)
    assert plain._hermite(1.0, 1.0, 1.0, (5.0, 8.0), (3.0, 12.0)) == 5.0


def test_a_step_without_a_slope_is_no_number(plain: Any) -> None:
    # At a total volatility of 0.001 and a log moneyness of -10 the price and its slope are under every float.
    step, excess = plain._step(0.5, -10.0, 0.001, math.exp(-5.0), 1)
    assert math.isnan(step)
    assert excess == -0.5


def test_machine_code_is_kept_in_a_folder_of_ones_own_when_no_other_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused: list[int] = []

    def njit(**_: Any) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            if not refused:
                refused.append(1)
                raise RuntimeError("cannot cache function: no locator available")
            return function

        return decorate

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    module = loaded(njit)
    assert Path(numba.config.CACHE_DIR).parent == tmp_path
    assert stat.S_IMODE(os.stat(numba.config.CACHE_DIR).st_mode) == 0o700
    assert module._normal(0.0) == 0.5
    # A folder of that name that others may write is not trusted: another one is made.
    os.chmod(numba.config.CACHE_DIR, 0o777)
    assert module._own_temporary_folder() != numba.config.CACHE_DIR

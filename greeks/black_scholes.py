"""European options in closed form, a whole chain at a time: Black-Scholes-Merton and Black-76.

Units of every Greek in this project are those of ``Greeks``. Rates, yields and volatilities are continuous, a year, as
decimals (0.05 is 5 %); time is in years of 365 days. Formulas and their sources: docs/greeks.md.

How much time an option has left is told to the second, by the moment at which its contract settles. Nights,
weekends and holidays count in full: time is calendar time, in years of 365 days. Both ends are turned into UTC first,
so that a daylight-saving change between them costs or adds its hour.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from functools import lru_cache
from types import ModuleType
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.clock import closing_time, monthly_expiry
from core.contracts import AssetKind, Contract, ExerciseStyle, Right, Settlement
from core.instruments import INSTRUMENTS

FloatArray: TypeAlias = NDArray[np.float64]

NO_SPREAD = 1e-10  # total volatility under which the outcome is certain for every purpose
COMPILED_FROM = 20_000  # contracts in one call from which loading numba (0.7 s and 59 MB, once a process) is repaid
_ROOT_HALF = 0.7071067811865476
_ROOT_TWO_PI_INVERSE = 0.3989422804014327
_DAYS = 365.0


class Backend(StrEnum):
    """How a batch is computed; the answers agree to rounding."""

    AUTOMATIC = "automatic"  # compiled from COMPILED_FROM contracts on where numba is installed, else numpy
    NUMPY = "numpy"
    COMPILED = "compiled"


FIGURES: Final = ("price", "delta", "gamma", "vega", "theta", "rho", "vanna", "charm", "vomma")
_SELDOM: Final = [FIGURES.index("rho"), FIGURES.index("charm")]


class Greeks:
    """Figures of many contracts, one array element each, for one unit of the underlying (no multiplier).

    ``price`` in points; ``delta`` per point; ``gamma`` delta per point; ``vega`` points per vol point (0.01); ``theta``
    points per calendar day; ``rho`` points per percentage point of the rate; ``vanna`` delta per vol point; ``charm``
    delta per calendar day that passes; ``vomma`` vega per vol point. NaN where the volatility was NaN: unknown.
    """

    __slots__ = ("_rows", "_seldom", "delta", "gamma", "price", "theta", "vanna", "vega", "vomma")

    def __init__(self, rows: FloatArray, seldom: Callable[[], FloatArray] | None = None) -> None:
        """Nine rows in the order of FIGURES; those of rho and charm are ``seldom``'s once somebody looks at them."""
        self._rows, self._seldom = rows, seldom
        self.price, self.delta, self.gamma, self.vega, self.theta, _, self.vanna, _, self.vomma = rows

    @property
    def rho(self) -> FloatArray:
        """Worked out when it is looked at."""
        return np.asarray(self.matrix()[5])

    @property
    def charm(self) -> FloatArray:
        """Worked out when it is looked at."""
        return np.asarray(self.matrix()[7])

    def matrix(self) -> FloatArray:
        """The nine arrays as rows, in the order of FIGURES."""
        if self._seldom is not None:
            self._rows[_SELDOM], self._seldom = self._seldom(), None
        return self._rows

    def now(self) -> FloatArray:
        """The same rows without a look at rho and charm, which may not be there yet."""
        return self._rows

    @staticmethod
    def from_matrix(rows: FloatArray) -> Greeks:
        """The inverse of ``matrix``."""
        return Greeks(rows)


@lru_cache(maxsize=1)
def load_kernels() -> ModuleType | None:
    """The compiled loops, or ``None`` where numba is not installed."""
    try:
        return importlib.import_module("greeks.kernels")
    except ImportError:
        return None


def choose(count: int, backend: Backend) -> ModuleType | None:
    """The compiled loops if this batch is to use them, ``None`` for numpy.

    Raises ``RuntimeError`` where compiled code is demanded and numba is missing.
    """
    if backend is Backend.NUMPY or (backend is Backend.AUTOMATIC and count < COMPILED_FROM):
        return None
    kernels = load_kernels()
    if kernels is None and backend is Backend.COMPILED:
        raise RuntimeError(f"backend: {backend.value}, but numba is not installed; use 'numpy' or 'automatic'")
    return kernels


def normal(x: FloatArray) -> FloatArray:
    """Cumulative normal distribution with full relative accuracy in the left tail."""
    from scipy.special import erfc

    result: FloatArray = 0.5 * erfc(-x * _ROOT_HALF)
    return result


def aligned(*values: ArrayLike) -> tuple[FloatArray, ...]:
    """The values as contiguous float arrays of one common length."""
    arrays = [np.asarray(value, dtype=np.float64) for value in values]
    if len({array.shape for array in arrays}) == 1 and arrays[0].ndim == 1:
        return tuple(map(np.ascontiguousarray, arrays))
    length = max(array.size for array in arrays)
    return tuple(
        np.ascontiguousarray(array if array.ndim == 1 and array.size == length else np.broadcast_to(array, (length,)))
        for array in arrays
    )


def signs(is_call: ArrayLike) -> FloatArray:
    """+1 for calls, -1 for puts."""
    return np.where(np.asarray(is_call, dtype=bool), 1.0, -1.0)


def check_positive(name: str, values: FloatArray) -> None:
    """Raise ``ValueError`` unless every value is finite and above zero."""
    if values.size and not (values.min() > 0.0 and values.max() < np.inf):
        wrong = values[~((values > 0.0) & (values < np.inf))]
        raise ValueError(f"{name}: {wrong[0]}; expected finite prices above zero")


def european_greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    is_call: ArrayLike,
    backend: Backend = Backend.AUTOMATIC,
) -> Greeks:
    """Black-Scholes-Merton price and Greeks of every contract; scalars are spread over the longest array.

    At zero (or less) time or volatility the answer is the discounted intrinsic value with the delta of a certain
    outcome (half of it exactly at the money), and zero curvature. Raises ``ValueError`` for a spot or strike that is
    not positive. Source: Merton 1973; Haug 2007, chapter 2.
    """
    inputs = aligned(spot, strike, years, volatility, rate, dividend_yield, signs(is_call))
    check_positive("spot", inputs[0])
    check_positive("strike", inputs[1])
    kernels = choose(inputs[0].size, backend)
    if kernels is None:
        return Greeks.from_matrix(_greeks(*inputs))
    out = np.empty((kernels.ROWS, inputs[0].size))
    kernels.fill_greeks(np.vstack(inputs), out)
    return Greeks.from_matrix(out)


def european_price(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    volatility: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    is_call: ArrayLike,
) -> FloatArray:
    """Black-Scholes-Merton price in points; see ``european_greeks`` for limits and errors."""
    inputs = aligned(spot, strike, years, volatility, rate, dividend_yield, signs(is_call))
    check_positive("spot", inputs[0])
    check_positive("strike", inputs[1])
    return _price(*inputs)


def _moneyness(
    spot: FloatArray,
    strike: FloatArray,
    years: FloatArray,
    volatility: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Years (never negative), their root, the total volatility, d1, and where the outcome is certain."""
    left = np.maximum(years, 0.0)
    root = np.sqrt(left)
    spread = volatility * root
    certain = spread <= NO_SPREAD
    if certain.any():
        spread = np.where(certain, 1.0, spread)
        root = np.where(certain, 1.0, root)
    d1 = (np.log(spot / strike) + (rate - dividend_yield) * left) / spread + 0.5 * spread
    return left, root, spread, d1, certain


def _price(
    spot: FloatArray,
    strike: FloatArray,
    years: FloatArray,
    volatility: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    sign: FloatArray,
) -> FloatArray:
    left, _, spread, d1, certain = _moneyness(spot, strike, years, volatility, rate, dividend_yield)
    spot_now = spot * np.exp(-dividend_yield * left)
    strike_now = strike * np.exp(-rate * left)
    price = sign * (spot_now * normal(sign * d1) - strike_now * normal(sign * (d1 - spread)))
    if certain.any():
        price = np.where(certain, np.maximum(sign * (spot_now - strike_now), 0.0), price)
    result: FloatArray = np.where(np.isnan(volatility), np.nan, price)
    return result


def _greeks(
    spot: FloatArray,
    strike: FloatArray,
    years: FloatArray,
    volatility: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    sign: FloatArray,
) -> FloatArray:
    """The nine rows; the same expressions as ``kernels._one``."""
    left, root, spread, d1, certain = _moneyness(spot, strike, years, volatility, rate, dividend_yield)
    time = np.where(certain, 1.0, left)
    vol = np.where(certain, 1.0, volatility)
    carry = np.exp(-dividend_yield * left)
    d2 = d1 - spread
    inside = normal(sign * d1)
    strike_part = strike * np.exp(-rate * left) * normal(sign * d2)
    spot_part = spot * carry * inside
    density = carry * _ROOT_TWO_PI_INVERSE * np.exp(-0.5 * d1 * d1)
    vega = spot * density * root
    theta = -0.5 * spot * density * vol / root + sign * (dividend_yield * spot_part - rate * strike_part)
    drift = (rate - dividend_yield) / spread - 0.5 * d2 / time
    rows = np.vstack(
        (
            sign * (spot_part - strike_part),
            sign * carry * inside,
            density / (spot * spread),
            vega / 100.0,
            theta / _DAYS,
            sign * strike_part * left / 100.0,
            -density * d2 / vol / 100.0,
            (sign * dividend_yield * carry * inside - density * drift) / _DAYS,
            vega * d1 * d2 / vol / 10000.0,
        )
    )
    if certain.any():
        rows[:, certain] = _certain(*(part[certain] for part in (spot, strike, left, rate, dividend_yield, sign)))
    rows[:, np.isnan(volatility)] = np.nan
    return rows


def _certain(
    spot: FloatArray,
    strike: FloatArray,
    years: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    sign: FloatArray,
) -> FloatArray:
    """The nine rows where nothing is left to chance."""
    carry = np.exp(-dividend_yield * years)
    strike_now = strike * np.exp(-rate * years)
    worth = sign * (spot * carry - strike_now)
    held = sign * np.heaviside(worth, 0.5)
    nothing = np.zeros_like(spot)
    theta = np.where(years > 0.0, held * (dividend_yield * spot * carry - rate * strike_now), 0.0)
    rho = held * strike_now * years / 100.0
    return np.vstack(
        (np.maximum(worth, 0.0), held * carry, nothing, nothing, theta / _DAYS, rho, nothing, nothing, nothing)
    )


NEW_YORK: Final = ZoneInfo("America/New_York")
SECONDS_A_YEAR: Final = 365.0 * 86_400.0
OPEN: Final = time(9, 30)

OTHER_FUTURE_OPTIONS: Final = time(17, 0)  # the end of the day's session at CME


@lru_cache(maxsize=4096)
def settlement_time(root: str, expiry: date, settlement: Settlement) -> time:
    """New York time of day at which contracts of a root that expire on ``expiry`` stop being options."""
    if settlement is Settlement.CASH_MORNING:
        return OPEN
    if settlement is Settlement.PHYSICAL_FUTURE:
        if root == "ES":
            quarterly = expiry.month % 3 == 0 and expiry == monthly_expiry(expiry.year, expiry.month)
            return OPEN if quarterly else closing_time(expiry)
        row = INSTRUMENTS.get(root)
        return OTHER_FUTURE_OPTIONS if row is None else row.last_trading
    return closing_time(expiry)


def expires_at(contract: Contract) -> datetime:
    """Naive New York moment at which the contract stops being an option."""
    return datetime.combine(contract.expiry, settlement_time(contract.root, contract.expiry, contract.settlement))


def years_between(now: datetime, end: datetime) -> float:
    """Years of 365 days from ``now`` to ``end``, both naive New York; zero when ``end`` has passed."""
    return max(_utc_seconds(end) - _utc_seconds(now), 0.0) / SECONDS_A_YEAR


def years_to_expiry(contracts: Sequence[Contract], now: datetime) -> FloatArray:
    """Years left of every contract at ``now`` (naive New York); zero once settled, never negative."""
    return years_until(expiry_seconds(contracts), now)


def expiry_seconds(contracts: Sequence[Contract]) -> FloatArray:
    """Seconds since 1970 UTC of the moment at which each contract stops being an option."""
    ends = (_end_seconds(contract.root, contract.expiry, contract.settlement) for contract in contracts)
    return np.fromiter(ends, dtype=np.float64, count=len(contracts))


def years_until(ends: FloatArray, now: datetime) -> FloatArray:
    """Years left at ``now`` (naive New York) until seconds since 1970 UTC; zero once they are over."""
    if now.tzinfo is not None:
        raise ValueError(f"now: {now} carries a zone; expected naive New York time")
    result: FloatArray = np.maximum(ends - _utc_seconds(now), 0.0) / SECONDS_A_YEAR
    return result


@lru_cache(maxsize=4096)
def _end_seconds(root: str, expiry: date, settlement: Settlement) -> float:
    return _utc_seconds(datetime.combine(expiry, settlement_time(root, expiry, settlement)))


@lru_cache(maxsize=256)
def _utc_seconds(moment: datetime) -> float:
    """Seconds since 1970 UTC of a naive New York moment; the first of the two in the hour that autumn repeats."""
    return moment.replace(tzinfo=NEW_YORK, fold=0).astimezone(UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Layout:
    """What no minute changes of contracts that are priced together, by column: made once for what is held.

    ``keys`` are the prices that they stand on, each once, ``key_at`` which of them each contract has; ``terms`` each
    price key with a moment of expiry once, and ``term_at``; ``ends`` UTC seconds.
    """

    contracts: tuple[Contract, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...]
    key_at: NDArray[np.intp]
    terms: tuple[tuple[str, str, datetime], ...]
    term_at: NDArray[np.intp]
    strike: FloatArray
    ends: FloatArray
    is_call: NDArray[np.bool_]
    american: NDArray[np.bool_]
    on_future: NDArray[np.bool_]

    @staticmethod
    def of(contracts: Iterable[Contract]) -> Layout:
        """Of contracts on any underlyings; a package's is asked for by several rooms."""
        return _layout(tuple(contracts))


@lru_cache(maxsize=64)
def _layout(contracts: tuple[Contract, ...]) -> Layout:
    keys: dict[str, int] = {}
    terms: dict[tuple[str, str, datetime], int] = {}
    key_at, term_at = [], []
    for contract in contracts:
        underlying = contract.underlying
        key = underlying.price_key
        key_at.append(keys.setdefault(key, len(keys)))
        term_at.append(terms.setdefault((key, underlying.ticker, expires_at(contract)), len(terms)))
    return Layout(
        contracts=tuple(contracts),
        names=tuple(contract.name for contract in contracts),
        keys=tuple(keys),
        key_at=np.array(key_at, dtype=np.intp),
        terms=tuple(terms),
        term_at=np.array(term_at, dtype=np.intp),
        strike=np.array([contract.strike for contract in contracts], dtype=np.float64),
        ends=expiry_seconds(contracts),
        is_call=np.array([contract.right is Right.CALL for contract in contracts], dtype=bool),
        american=np.array([contract.style is ExerciseStyle.AMERICAN for contract in contracts], dtype=bool),
        on_future=np.array([contract.underlying.kind is AssetKind.FUTURE for contract in contracts], dtype=bool),
    )

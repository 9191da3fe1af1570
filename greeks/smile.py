"""The volatility smile of one expiry, and a whole chain's Greeks read from it.

A chain's out-of-the-money quotes give implied volatilities that are known only to within their spreads. The smile is
the smoothest curve that stays within them: a natural cubic spline in log moneyness whose residuals, in units of each
quote's own half spread, are as large as spreads make likely (Reinsch, "Smoothing by Spline Functions", 1967). A strike
whose quote is missing, one-sided or wide takes its volatility, and so its delta, from its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.contracts import Contract, Quote
from greeks.american import american_delta, american_greeks, american_implied_volatility, american_price
from greeks.black_scholes import (
    FIGURES,
    Backend,
    FloatArray,
    Greeks,
    Layout,
    european_greeks,
    european_price,
    expires_at,
    load_kernels,
    years_until,
)
from greeks.implied import ImpliedVolatilities, NoVolatility, implied_volatility, judge_quotes

ONE_STRIKE: Final = 1e-6  # in log moneyness: nearer points are one strike, no listing has such
WIDEST_HALF_SPREAD: Final = 0.25  # volatility; a quote that says less says nothing
LIKELY_RESIDUAL: Final = 1.0 / 3.0  # mean square of a uniform error, in half spreads
CARRY_ROOM: Final = 0.10  # how far a yield read from put-call parity may be from the configured one
WIDEST_EXTRAPOLATION: Final = 2.0  # outside the quotes the volatility stays within this factor of the edge's
_FITTING_STEPS = 16


@dataclass(frozen=True, slots=True)
class Smile:
    """Implied volatility by log of strike over forward, between and beyond the strikes it was fitted at.

    ``spread`` is the median half spread of its quotes in volatility: how well it is known.
    """

    moneyness: FloatArray
    volatility: FloatArray
    curvature: FloatArray
    forward: float
    spread: float

    def at(self, strike: FloatArray) -> FloatArray:
        """Volatility at strikes in points: the spline inside, its last slope (bounded) outside."""
        k = np.log(strike / self.forward)
        x, y, bend = self.moneyness, self.volatility, self.curvature
        if x.size == 1:
            return np.full(k.shape, y[0])
        at = np.clip(np.searchsorted(x, k) - 1, 0, x.size - 2)
        width = x[at + 1] - x[at]
        inside = np.clip(k, x[0], x[-1])
        left, right = (x[at + 1] - inside) / width, (inside - x[at]) / width
        arch = ((left**3 - left) * bend[at] + (right**3 - right) * bend[at + 1]) * width**2 / 6.0
        value = left * y[at] + right * y[at + 1] + arch
        first = (y[1] - y[0]) / (x[1] - x[0]) - (x[1] - x[0]) * bend[1] / 6.0
        last = (y[-1] - y[-2]) / (x[-1] - x[-2]) + (x[-1] - x[-2]) * bend[-2] / 6.0
        value = value + first * np.minimum(k - x[0], 0.0) + last * np.maximum(k - x[-1], 0.0)
        edge = np.where(k < x[0], y[0], np.where(k > x[-1], y[-1], value))
        result: FloatArray = np.clip(value, edge / WIDEST_EXTRAPOLATION, edge * WIDEST_EXTRAPOLATION)
        return result

    def moved_to(self, forward: float) -> Smile:
        """The same smile around another forward: volatility stays with moneyness."""
        return replace(self, forward=forward)


def fit_smile(strike: FloatArray, volatility: FloatArray, half_spread: FloatArray, forward: float) -> Smile | None:
    """The smoothest curve within the spreads; ``None`` without a single usable point.

    ``half_spread`` is in volatility. Points that are not finite or wider than WIDEST_HALF_SPREAD are left out; of
    points at one strike the narrower counts.
    """
    usable = (
        np.isfinite(volatility) & np.isfinite(half_spread) & (half_spread <= WIDEST_HALF_SPREAD) & (volatility > 0.0)
    )
    order = np.lexsort((half_spread[usable], strike[usable]))
    x = np.log(strike[usable][order] / forward)
    if not x.size:
        return None
    keep = np.concatenate(([True], np.diff(x) > ONE_STRIKE))
    x, y = x[keep], volatility[usable][order][keep]
    spread = np.maximum(half_spread[usable][order][keep], 1e-5)
    curvature = np.zeros_like(x)
    if x.size >= 4:
        y, curvature = _smooth(x, y, spread)
    return Smile(x, y, curvature, forward, float(np.median(spread)))


def _smooth(x: FloatArray, y: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Values and second derivatives at the knots of the natural spline with the likely residual."""
    from scipy.linalg.lapack import dpbsv  # what solveh_banded calls for three bands: seventeen times a chain

    scale = x[-1] - x[0]
    step = np.diff(x) / scale
    weight = spread**2
    a, c = 1.0 / step[:-1], 1.0 / step[1:]
    b = -(a + c)
    stiff = np.zeros((3, x.size - 2))
    stiff[2] = (step[:-1] + step[1:]) / 3.0
    stiff[1, 1:] = step[1:-1] / 6.0
    loose = np.zeros((3, x.size - 2))
    loose[2] = a * a * weight[:-2] + b * b * weight[1:-1] + c * c * weight[2:]
    loose[1, 1:] = b[:-1] * a[1:] * weight[1:-2] + c[:-1] * b[1:] * weight[2:-1]
    loose[0, 2:] = c[:-2] * a[2:] * weight[2:-2]
    turn = c * (y[2:] - y[1:-1]) - a * (y[1:-1] - y[:-2])

    def solve(smoothing: float) -> tuple[FloatArray, FloatArray]:
        _, inner, fault = dpbsv(stiff + smoothing * loose, turn)
        if fault:
            raise np.linalg.LinAlgError(f"row {fault} of the spline's bands is not positive definite")
        bend, pull = np.zeros(x.size), np.zeros(x.size)
        bend[1:-1] = inner
        pull[:-2] += a * bend[1:-1]
        pull[1:-1] += b * bend[1:-1]
        pull[2:] += c * bend[1:-1]
        return y - smoothing * weight * pull, bend

    middle = float(np.median(weight))
    low, high = -8.0, 8.0
    best = solve(10.0**low / middle)
    for _ in range(_FITTING_STEPS):
        power = 0.5 * (low + high)
        tried = solve(10.0**power / middle)
        if float((((y - tried[0]) / spread) ** 2).sum()) / x.size <= LIKELY_RESIDUAL:
            low, best = power, tried
        else:
            high = power
    return best[0], best[1] / scale**2


class VolatilitySource(StrEnum):
    """Where the volatility behind a contract's Greeks came from."""

    SMILE = "smile"  # the curve of its expiry, its own quote being one of the points
    NEIGHBOURS = "neighbours"  # the curve, its own quote being unusable
    QUOTE = "quote"  # its own quote alone
    LAST_KNOWN = "last_known"  # what it was before the quotes went away
    NONE = "none"  # unknown: the Greeks are NaN


@dataclass(frozen=True, slots=True)
class ContractGreeks:
    """One contract's figures for one unit of the underlying, in the units of ``Greeks``; every one of them known."""

    contract: Contract
    years: float
    volatility: float
    source: VolatilitySource
    price: float
    delta: float
    gamma: float
    vega: float
    theta: float
    vanna: float
    vomma: float
    seldom: Callable[[], tuple[float, float]] = field(repr=False, compare=False)

    @property
    def rho(self) -> float:
        """Worked out when it is looked at, with all that was computed together."""
        return self.seldom()[0]

    @property
    def charm(self) -> float:
        """The same."""
        return self.seldom()[1]


@dataclass(frozen=True, slots=True)
class Columns:
    """What pricing needs of contracts, by column; rates and yields per contract."""

    contracts: tuple[Contract, ...]
    strike: FloatArray
    years: FloatArray
    is_call: NDArray[np.bool_]
    american: NDArray[np.bool_]
    on_future: NDArray[np.bool_]
    rate: FloatArray
    dividend_yield: FloatArray

    @staticmethod
    def of(contracts: Sequence[Contract], now: datetime, rate: float, dividend_yield: FloatArray | float) -> Columns:
        """Columns at ``now`` (naive New York); an option on a future carries its rate as its yield (Black-76)."""
        return Columns.at(Layout.of(contracts), now, rate, dividend_yield)

    @staticmethod
    def at(layout: Layout, now: datetime, rate: float, dividend_yield: FloatArray | float) -> Columns:
        """The same of contracts whose layout is known."""
        return Columns(
            contracts=layout.contracts,
            strike=layout.strike,
            years=years_until(layout.ends, now),
            is_call=layout.is_call,
            american=layout.american,
            on_future=layout.on_future,
            rate=np.full(layout.strike.size, rate),
            dividend_yield=np.where(layout.on_future, rate, dividend_yield),
        )

    def rows(self, at: NDArray[np.intp]) -> Columns:
        """Some of the contracts, in the order of ``at``; a contract may come more than once."""
        names = self.contracts
        return Columns(tuple(names[i] for i in at.tolist()), *(getattr(self, column)[at] for column in _COLUMNS))

    def repeated(self, times: int) -> Columns:
        """Each contract so many times running, for prices alone: nobody asks which they are."""
        return Columns((), *(np.repeat(getattr(self, column), times) for column in _COLUMNS))

    def later(self, years: FloatArray) -> Columns:
        """The same contracts with so much less time to expiry, never under none."""
        return replace(self, years=np.maximum(self.years - years, 0.0))

    @property
    def backend(self) -> Backend:
        """How European contracts are computed: beside American ones by the compiled loops, which are loaded then."""
        compiled = bool(self.american.any()) and load_kernels() is not None
        return Backend.COMPILED if compiled else Backend.AUTOMATIC

    def _parts(self, spot: FloatArray, volatility: FloatArray) -> Iterator[_Part]:
        """American contracts (true) and European ones: their places, what prices them, and whether on a future."""
        for early in (True, False):
            at = np.flatnonzero(self.american == early)
            if at.size == spot.size:
                terms = (spot, self.strike, self.years, volatility, self.rate, self.dividend_yield, self.is_call)
                yield early, at, terms, self.on_future
            elif at.size:
                rate, dividend_yield, is_call = self.rate[at], self.dividend_yield[at], self.is_call[at]
                terms = (spot[at], self.strike[at], self.years[at], volatility[at], rate, dividend_yield, is_call)
                yield early, at, terms, self.on_future[at]

    def greeks(self, spot: FloatArray, volatility: FloatArray) -> Greeks:
        """Greeks of every contract by its style; NaN where the volatility is."""
        rows = np.empty((len(FIGURES), spot.size))
        found: list[tuple[NDArray[np.intp], Greeks]] = []
        for early, at, terms, on_future in self._parts(spot, volatility):
            if early:
                some = american_greeks(*terms, on_future=on_future)
            else:
                some = european_greeks(*terms, self.backend)
                some.rho[:] = np.where(on_future, -some.price * terms[2] / 100.0, some.rho)  # Black-76
            if at.size == spot.size:
                return some
            rows[:, at] = some.now()
            found.append((at, some))

        def seldom() -> FloatArray:
            both = np.empty((2, spot.size))
            for at, some in found:
                both[:, at] = some.rho, some.charm
            return both

        return Greeks(rows, seldom)

    def prices(self, spot: FloatArray, volatility: FloatArray) -> FloatArray:
        """Prices in points of every contract by its style; NaN where the volatility is."""
        prices = np.empty(spot.size)
        for early, at, terms, _ in self._parts(spot, volatility):
            prices[at] = american_price(*terms) if early else european_price(*terms)
        return prices

    def deltas(self, spot: FloatArray, volatility: FloatArray) -> FloatArray:
        """Deltas alone, a third of the work of ``greeks`` for American contracts; NaN where the volatility is."""
        deltas = np.empty(spot.size)
        for early, at, terms, _ in self._parts(spot, volatility):
            deltas[at] = american_delta(*terms) if early else european_greeks(*terms, self.backend).delta
        return deltas

    def implied(self, price: FloatArray, spot: FloatArray, reasons: NDArray[np.int8]) -> ImpliedVolatilities:
        """Volatilities of prices where ``reasons`` is still ``FOUND``."""
        volatility, result = np.full(price.size, np.nan), reasons.copy()
        open_ones = reasons == NoVolatility.FOUND
        for early in (True, False):
            at = np.flatnonzero((self.american == early) & open_ones)
            if at.size:
                c = self if at.size == price.size else self.rows(at)
                figures = (price[at], spot[at], c.strike, c.years, c.rate, c.dividend_yield, c.is_call)
                found = american_implied_volatility(*figures) if early else implied_volatility(*figures, self.backend)
                volatility[at], result[at] = found.volatility, found.reason
        return ImpliedVolatilities(volatility, result)


_Terms = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]
_Part = tuple[bool, NDArray[np.intp], _Terms, NDArray[np.bool_]]
_COLUMNS: Final = ("strike", "years", "is_call", "american", "on_future", "rate", "dividend_yield")


@dataclass(frozen=True, slots=True)
class ChainGreeks:
    """A chain at one moment: what each quote implies, the volatility used, and the Greeks of one unit.

    ``implied`` is each contract's own quote's; ``greeks`` use ``volatility``, which is the smile's. NaN is unknown.
    """

    columns: Columns
    spot: float
    time: datetime
    implied: ImpliedVolatilities
    volatility: FloatArray
    source: tuple[VolatilitySource, ...]
    greeks: Greeks
    smiles: Mapping[datetime, Smile]
    _index: dict[str, int] = field(repr=False)

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """The contracts, in the order of every array."""
        return self.columns.contracts

    def of(self, contract: Contract) -> ContractGreeks | None:
        """One contract's figures; ``None`` when it is not in the chain or nothing is known of its volatility."""
        at = self._index.get(contract.name)
        if at is None or np.isnan(self.greeks.price[at]):
            return None
        return contract_greeks(self.columns, self.volatility, self.source, self.greeks, at)

    def delta(self, contract: Contract) -> float | None:
        """Signed delta of one unit; ``None`` as in ``of``."""
        at = self._index.get(contract.name)
        if at is None or np.isnan(self.greeks.delta[at]):
            return None
        return float(self.greeks.delta[at])

    def smile(self, contract: Contract) -> Smile | None:
        """The smile of the contract's expiry; ``None`` when no quote of it was usable."""
        return self.smiles.get(expires_at(contract))


def contract_greeks(
    columns: Columns, volatility: FloatArray, source: Sequence[VolatilitySource], greeks: Greeks, at: int
) -> ContractGreeks:
    """One row of arrays as a value."""
    known = (columns.contracts[at], float(columns.years[at]), float(volatility[at]), source[at])
    return _as_value(known, greeks, greeks.now()[:, at].tolist(), at)


def _as_value(
    known: tuple[Contract, float, float, VolatilitySource], greeks: Greeks, row: Sequence[float], at: int
) -> ContractGreeks:
    price, delta, gamma, vega, theta, _, vanna, _, vomma = row
    now = (price, delta, gamma, vega, theta, vanna, vomma)
    return ContractGreeks(*known, *now, lambda: (float(greeks.rho[at]), float(greeks.charm[at])))


def figures_of_rows(
    columns: Columns, volatility: FloatArray, source: Sequence[VolatilitySource], greeks: Greeks
) -> list[ContractGreeks | None]:
    """Every row of arrays as a value; ``None`` where nothing is known."""
    rows = greeks.now().T.tolist()
    known = zip(columns.contracts, columns.years.tolist(), volatility.tolist(), source, strict=True)
    return [
        None if row[0] != row[0] else _as_value(one, greeks, row, at)  # NaN is not equal to itself
        for at, (one, row) in enumerate(zip(known, rows, strict=True))
    ]


def chain_greeks(
    contracts: Sequence[Contract],
    quotes: Mapping[Contract, Quote],
    spot: float,
    now: datetime,
    rate: float,
    dividend_yield: float,
) -> ChainGreeks:
    """Implied volatilities, smiles by expiry and Greeks of a chain on one underlying, all vectorised.

    ``spot`` in points, ``now`` naive New York. A contract without a quote takes its volatility from its
    neighbours. Where European calls and puts are quoted at the same strikes, the yield is read from put-call parity.
    """
    columns = Columns.of(contracts, now, rate, dividend_yield)
    bid, ask = sides([quotes.get(contract) for contract in contracts])
    middle, reasons = judge_quotes(bid, ask)
    moments = np.array([expires_at(contract) for contract in contracts], dtype="datetime64[s]")
    for moment in np.unique(moments):
        _read_carry(columns, moments == moment, middle, reasons, spot)
    everywhere = np.full(bid.size, spot)
    implied = columns.implied(middle, everywhere, reasons)
    half = half_spreads(columns, everywhere, implied.volatility, 0.5 * (ask - bid))
    volatility = np.full(bid.size, np.nan)
    smiles: dict[datetime, Smile] = {}
    forward = spot * np.exp((columns.rate - columns.dividend_yield) * columns.years)
    outside = np.where(columns.is_call, columns.strike >= forward, columns.strike <= forward)
    for moment in np.unique(moments):
        group = moments == moment
        chosen = group & outside
        smile = fit_smile(columns.strike[chosen], implied.volatility[chosen], half[chosen], float(forward[group][0]))
        if smile is not None:
            volatility[group] = smile.at(columns.strike[group])
            smiles[moment.item()] = smile
    volatility[columns.years <= 0.0] = 0.0
    source = _sources(volatility, implied)
    greeks = columns.greeks(everywhere, volatility)
    index = {contract.name: at for at, contract in enumerate(contracts)}
    return ChainGreeks(columns, spot, now, implied, volatility, source, greeks, smiles, index)


def sides(quotes: Sequence[Quote | None]) -> tuple[FloatArray, FloatArray]:
    """Bids and asks in points, NaN where there is none."""
    bid = [np.nan if quote is None or quote.bid is None else quote.bid for quote in quotes]
    ask = [np.nan if quote is None or quote.ask is None else quote.ask for quote in quotes]
    return np.array(bid, dtype=np.float64), np.array(ask, dtype=np.float64)


def _sources(volatility: FloatArray, implied: ImpliedVolatilities) -> tuple[VolatilitySource, ...]:
    kinds = (VolatilitySource.NONE, VolatilitySource.NEIGHBOURS, VolatilitySource.SMILE)
    known = ~np.isnan(volatility)
    codes = known.astype(int) + (known & (implied.reason == NoVolatility.FOUND))
    return tuple(kinds[code] for code in codes.tolist())


def half_spreads(columns: Columns, spot: FloatArray, volatility: FloatArray, half: FloatArray) -> FloatArray:
    """Half of each spread in volatility: points over vega (the European one, which is near enough for a weight)."""
    terms = (columns.strike, columns.years, volatility, columns.rate, columns.dividend_yield, columns.is_call)
    vega = 100.0 * european_greeks(spot, *terms, columns.backend).vega
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(vega > 0.0, half / vega, np.inf)


def _read_carry(
    columns: Columns, group: NDArray[np.bool_], middle: FloatArray, reasons: NDArray[np.int8], spot: float
) -> None:
    """Set the yield of one expiry to the one that put-call parity shows at the three strikes nearest the money.

    European contracts on shares or indices only: early exercise turns the parity into bounds, a future has no yield.
    """
    at = np.flatnonzero(group & ~columns.american & ~columns.on_future & (reasons == NoVolatility.FOUND))
    if not at.size or columns.years[at[0]] <= 0.0:
        return
    calls = {columns.strike[i]: i for i in at[columns.is_call[at]]}
    pairs = [(calls[columns.strike[i]], i) for i in at[~columns.is_call[at]] if columns.strike[i] in calls]
    if not pairs:
        return
    call, put = (np.array(side) for side in zip(*pairs, strict=True))
    gap = middle[call] - middle[put]
    nearest = np.argsort(np.abs(gap), kind="stable")[:3]
    years, rate = columns.years[at[0]], columns.rate[at[0]]
    forward = float(np.median(columns.strike[call][nearest] + gap[nearest] * np.exp(rate * years)))
    if forward <= 0.0:
        return
    configured = columns.dividend_yield[at[0]]
    shown = rate - np.log(forward / spot) / years
    columns.dividend_yield[group] = np.clip(shown, configured - CARRY_ROOM, configured + CARRY_ROOM)


@dataclass(frozen=True, slots=True)
class KeptSmile:
    """A chain's smile, the yield that its parity showed, and when it was seen."""

    smile: Smile
    dividend_yield: float
    time: datetime


@dataclass(frozen=True, slots=True)
class KnownVolatility:
    """A contract's last measured volatility: its half spread in volatility, where it came from, and when."""

    volatility: float
    half_spread: float
    source: VolatilitySource
    time: datetime


UNKNOWN: Final = KnownVolatility(math.nan, math.inf, VolatilitySource.NONE, datetime.min)

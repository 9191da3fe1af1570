"""What positions add up to, and what is known of their underlyings: the values that the Greeks service hands out.

Money is dollars; delta and gamma are beta-weighted to shares of the reference (SPY). A total in which a contract is
unknown is ``None``, never the sum of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from math import log
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.book import Book
from core.contracts import Contract, Leg
from core.instruments import contract_named, group_name, underlying_named, unit_of
from greeks.black_scholes import FloatArray, Layout
from greeks.smile import Columns, ContractGreeks

BETA_DAYS: Final = 60
LOWEST_VOLATILITY: Final = 0.01  # to which a scenario may push a volatility
LOWEST_SPOT: Final = 1e-3  # share of the price that is left after any fall
_DAYS: Final = 365.0
_BETWEEN: Final = 8  # prices looked at between two strikes where a leg has time left
_FAR: Final = 4.0  # of the highest strike: so far up no put is worth anything

# Three-month Treasury bill, secondary market, average of the year in percent.
# Source: Federal Reserve H.15 (FRED series TB3MS, annual averages).
TREASURY_BILL: Final[Mapping[int, float]] = MappingProxyType({
    1990: 7.49, 1991: 5.38, 1992: 3.43, 1993: 3.00, 1994: 4.25, 1995: 5.49, 1996: 5.01, 1997: 5.06, 1998: 4.78,
    1999: 4.64, 2000: 5.82, 2001: 3.39, 2002: 1.60, 2003: 1.01, 2004: 1.37, 2005: 3.15, 2006: 4.73, 2007: 4.35,
    2008: 1.37, 2009: 0.15, 2010: 0.14, 2011: 0.05, 2012: 0.09, 2013: 0.06, 2014: 0.03, 2015: 0.05, 2016: 0.32,
    2017: 0.93, 2018: 1.94, 2019: 2.06, 2020: 0.36, 2021: 0.04, 2022: 2.02, 2023: 5.07, 2024: 4.97, 2025: 4.07,
})  # fmt: skip
_FIRST_BILL: Final = min(TREASURY_BILL)
_LAST_BILL: Final = max(TREASURY_BILL)


def treasury_bill(year: int) -> float:
    """Risk-free rate of a year, continuous, as a fraction; the nearest known year's outside the table."""
    return TREASURY_BILL[min(max(year, _FIRST_BILL), _LAST_BILL)] / 100.0


@dataclass(frozen=True, slots=True)
class Exposure:
    """Figures of positions together: ``value`` dollars (a short option is negative), ``delta`` reference shares.

    ``gamma`` reference shares per reference dollar; ``theta`` dollars a day; ``vega`` dollars per vol point; ``rho``
    dollars per percentage point; ``vanna`` reference shares per vol point; ``charm`` reference shares a day; ``vomma``
    dollars of vega per vol point.
    """

    value: float = 0.0
    delta: float = 0.0
    gamma: float = 0.0
    vega: float = 0.0
    theta: float = 0.0
    vanna: float = 0.0
    vomma: float = 0.0
    seldom: Callable[[], tuple[float, float]] = field(default=lambda: (0.0, 0.0), repr=False, compare=False)

    @property
    def rho(self) -> float:
        """Worked out when it is looked at."""
        return self.seldom()[0]

    @property
    def charm(self) -> float:
        """Worked out when it is looked at."""
        return self.seldom()[1]

    def __add__(self, other: Exposure) -> Exposure:
        return together((self, other))

    def __sub__(self, other: Exposure) -> Exposure:
        return Exposure(
            self.value - other.value,
            self.delta - other.delta,
            self.gamma - other.gamma,
            self.vega - other.vega,
            self.theta - other.theta,
            self.vanna - other.vanna,
            self.vomma - other.vomma,
            lambda: (self.rho - other.rho, self.charm - other.charm),
        )


def together(parts: Sequence[Exposure]) -> Exposure:
    """Exposures added up, the first to the last."""
    value = delta = gamma = vega = theta = vanna = vomma = 0.0
    for part in parts:
        value += part.value
        delta += part.delta
        gamma += part.gamma
        vega += part.vega
        theta += part.theta
        vanna += part.vanna
        vomma += part.vomma

    def seldom() -> tuple[float, float]:
        return sum(part.rho for part in parts), sum(part.charm for part in parts)

    return Exposure(value, delta, gamma, vega, theta, vanna, vomma, seldom)


class RoughGreeks(NamedTuple):
    """What bounds how far an option's value can go: its Greeks at a price of its underlying."""

    delta: float
    gamma: float
    vega: float
    spot: float
    theta: float = 0.0
    """Points a calendar day."""


def rough_greeks(figures: ContractGreeks | None, spot: float | None) -> RoughGreeks | None:
    """The few of a contract's figures; ``None`` where they or the price are unknown."""
    if figures is None or spot is None:
        return None
    return RoughGreeks(figures.delta, figures.gamma, figures.vega, spot, figures.theta)


@dataclass(frozen=True, slots=True)
class LegGreeks:
    """One leg of one position. ``units`` is signed ratio x contracts x multiplier: dollars per point of premium.

    ``figures`` and ``exposure`` are ``None`` where the contract is unknown.
    """

    position: str
    strategy: str
    group: str
    contract: Contract
    units: float
    figures: ContractGreeks | None
    exposure: Exposure | None

    @property
    def underlying(self) -> str:
        """Ticker of the contract's underlying; a family's for futures."""
        return self.contract.underlying.ticker


@dataclass(frozen=True, slots=True)
class ShareGreeks:
    """Shares that an assignment left: ``quantity`` is signed, and the delta of a share is one.

    ``exposure`` is ``None`` without a price or a beta.
    """

    underlying: str
    group: str
    quantity: float
    exposure: Exposure | None
    strategy: str = "assigned_shares"

    @property
    def position(self) -> str:
        """A name of its own among the positions."""
        return f"shares {self.underlying}"


@dataclass(frozen=True, slots=True)
class PortfolioGreeks:
    """Everything held at one moment. A total is ``None`` when a part of it is unknown; ``unknown`` names those."""

    time: datetime
    legs: tuple[LegGreeks, ...]
    unknown: tuple[str, ...]
    shares: tuple[ShareGreeks, ...] = ()

    @property
    def whole(self) -> Exposure | None:
        """All positions together."""
        return total((*self.legs, *self.shares))

    def by_position(self) -> dict[str, Exposure | None]:
        """Totals by position id."""
        return self._by("position")

    def by_strategy(self) -> dict[str, Exposure | None]:
        """Totals by strategy."""
        return self._by("strategy")

    def by_group(self) -> dict[str, Exposure | None]:
        """Totals by correlation group."""
        return self._by("group")

    def by_underlying(self) -> dict[str, Exposure | None]:
        """Totals by ticker of the underlying."""
        return self._by("underlying")

    def _by(self, name: str) -> dict[str, Exposure | None]:
        parts: tuple[LegGreeks | ShareGreeks, ...] = (*self.legs, *self.shares)
        keys = dict.fromkeys(getattr(part, name) for part in parts)
        return {key: total(part for part in parts if getattr(part, name) == key) for key in keys}


def total(legs: Iterable[LegGreeks | ShareGreeks]) -> Exposure | None:
    """Exposures added up; ``None`` when one of them is unknown."""
    known: list[Exposure] = []
    for leg in legs:
        if leg.exposure is None:
            return None
        known.append(leg.exposure)
    return together(known)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The portfolio before and after a proposal, and the proposal alone; ``None`` totals as in ``PortfolioGreeks``."""

    before: PortfolioGreeks
    after: PortfolioGreeks
    change: Exposure | None


@dataclass(frozen=True, slots=True)
class ScenarioGrid:
    """Profit in dollars when every underlying moves by a fraction, volatility by points, and days pass.

    Arrays are (spot move, volatility move, days). ``whole`` is NaN everywhere when a contract is unknown.
    """

    spot_moves: tuple[float, ...]
    volatility_moves: tuple[float, ...]
    days: tuple[float, ...]
    whole: FloatArray
    by_position: Mapping[str, FloatArray]
    by_group: Mapping[str, FloatArray]

    @property
    def worst(self) -> float:
        """The lowest profit of the grid in dollars; NaN when unknown."""
        return float(self.whole.min())


def unknown_names(legs: Iterable[LegGreeks]) -> tuple[str, ...]:
    """Names of the contracts without an exposure, each once."""
    return tuple(dict.fromkeys(leg.contract.name for leg in legs if leg.exposure is None))


def exposure_of(figures: ContractGreeks, units: float, weight: float) -> Exposure:
    """Dollars and reference shares of so many units; ``weight`` is beta x spot over the reference's price."""
    return Exposure(
        value=units * figures.price,
        delta=units * figures.delta * weight,
        gamma=units * figures.gamma * weight * weight,
        vega=units * figures.vega,
        theta=units * figures.theta,
        vanna=units * figures.vanna * weight,
        vomma=units * figures.vomma,
        seldom=lambda: (units * figures.rho, units * figures.charm * weight),
    )


def measured_beta(closes: Mapping[date, float], reference: Mapping[date, float]) -> float | None:
    """Slope of daily log returns on the reference's over the last BETA_DAYS sessions that both have.

    ``None`` with fewer sessions, or when the reference did not move.
    """
    days = [day for day in closes if day in reference][-(BETA_DAYS + 1) :]
    if len(days) < BETA_DAYS + 1:
        return None
    own = np.array([log(closes[after] / closes[before]) for before, after in pairwise(days)])
    other = np.array([log(reference[after] / reference[before]) for before, after in pairwise(days)])
    spread = float(((other - other.mean()) ** 2).sum())
    return float(((own - own.mean()) * (other - other.mean())).sum() / spread) if spread > 0.0 else None


@dataclass(frozen=True, slots=True)
class Line:
    """A leg of a position on its way to be computed."""

    position: str
    strategy: str
    contract: Contract
    units: float


def lines_of(position: str, strategy: str, legs: Sequence[Leg], contracts: int = 1) -> tuple[Line, ...]:
    def line(leg: Leg) -> Line:
        return Line(position, strategy, leg.contract, float(leg.ratio * contracts) * leg.contract.multiplier)

    return tuple(line(leg) for leg in legs)


UNOWNED: Final = "unowned"


def held_lines(book: Book) -> tuple[Line, ...]:
    """Legs of every position, and contracts of the account that belong to none."""
    lines = [
        line for position in book.positions.values() for line in lines_of(position.id, position.strategy, position.legs)
    ]
    for name, quantity in book.unowned.items():
        contract = contract_named(name)
        if contract is not None and quantity == quantity:  # of an unknown one the stress says so
            lines.append(Line(UNOWNED, UNOWNED, contract, quantity * contract.multiplier))
    return tuple(lines)


def share_counts(book: Book) -> dict[str, float]:
    """Shares by ticker: what assignments left, and a person's own in what may be traded here."""
    counts = {ticker: held.quantity for ticker, held in book.shares.items()}
    for ticker, quantity in book.unowned.items():
        if underlying_named(ticker) is not None and quantity == quantity:
            counts[ticker] = counts.get(ticker, 0.0) + quantity
    return counts


def held_shares(
    book: Book,
    reference: float | None,
    price_of: Callable[[str], float | None],
    beta_of: Callable[[str], float | None],
) -> tuple[ShareGreeks, ...]:
    """Shares that assignments left, each of delta one, beta-weighted like everything else."""
    rows = []
    for ticker, quantity in share_counts(book).items():
        price, beta, exposure = price_of(ticker), beta_of(ticker), None
        if price is not None and beta is not None and reference is not None:
            value = quantity * unit_of(ticker) * price
            exposure = Exposure(value=value, delta=value * beta / reference)
        rows.append(ShareGreeks(ticker, group_name(ticker), quantity, exposure))
    return tuple(rows)


def beside(lines: Iterable[Line], contract: Contract) -> tuple[Contract, ...]:
    """What is held of a contract's underlying and expiry, each once: one's quote tells of another that has none.

    Empty where the contract itself is not held.
    """
    held = (line.contract for line in lines)
    same = (row for row in held if (row.expiry, row.underlying) == (contract.expiry, contract.underlying))
    found = tuple(dict.fromkeys(same))
    return found if contract in found else ()


class Neighbours:
    """Each contract with what is held of its expiry, and its place among them; made when what is held changes."""

    def __init__(self) -> None:
        self._lines: object = None
        self._known: dict[Contract, tuple[Layout, int]] = {}

    def of(self, lines: tuple[Line, ...], contract: Contract) -> tuple[Layout, int]:
        """Among ``lines``, the very ones while they are the same; alone where it is not held."""
        if self._lines is not lines:
            self._lines, self._known = lines, {}
        found = self._known.get(contract)
        if found is None:
            some = beside(lines, contract) or (contract,)
            found = self._known[contract] = (Layout.of(some), some.index(contract))
        return found


# What contracts are worth at other prices, volatilities and days


@dataclass(frozen=True, slots=True)
class Priced:
    """Contracts with the spot, the volatility and the price (points) that each has now."""

    columns: Columns
    spot: FloatArray
    volatility: FloatArray
    price: FloatArray

    def rows(self, at: NDArray[np.intp]) -> Priced:
        """Some of the contracts, in the order of ``at``."""
        return Priced(self.columns.rows(at), self.spot[at], self.volatility[at], self.price[at])


def revalued(now: Priced, moves: FloatArray, points: FloatArray, days: FloatArray | float) -> FloatArray:
    """Prices when spots move by fractions, volatilities by points (0.01) and days pass; each priced anew.

    An option that expires on the way is worth its intrinsic value.
    """
    spot = _placed(now)[:, None] * np.maximum(1.0 + moves, LOWEST_SPOT)
    known = now.volatility[:, None]
    volatility = np.maximum(known + points / 100.0, np.minimum(known, LOWEST_VOLATILITY))
    if spot.shape != volatility.shape:
        shape = np.broadcast_shapes(spot.shape, volatility.shape)
        spot, volatility = np.broadcast_to(spot, shape), np.broadcast_to(volatility, shape)
    return _prices(now, spot, volatility, days)


def volatility_rise(now: Priced, points: float, reference_days: float) -> FloatArray:
    """Points by which each volatility rises when the VIX rises by ``points``: less for options that last longer.

    ``points`` x sqrt(reference days / days left), at most ``points`` (methodology, section 4).
    """
    with np.errstate(divide="ignore"):
        share = np.sqrt(reference_days / (now.columns.years * _DAYS))
    rise: FloatArray = points * np.minimum(share, 1.0)
    return rise


def worst_value(now: Priced, units: FloatArray) -> float:
    """Lowest value in dollars at the nearest expiry, over every price of the underlying; -inf where it has no floor.

    Legs that expire then are worth their intrinsic value, later ones what the model gives at today's volatilities.
    All legs are on one underlying. NaN where a leg with time left is unknown.
    """
    columns = now.columns
    if float(units[columns.is_call].sum()) < 0.0:
        return -np.inf
    days = float(columns.years.min()) * _DAYS
    strikes = np.unique(columns.strike)
    prices = np.concatenate(([strikes[0] * LOWEST_SPOT], strikes, [strikes[-1] * _FAR]))
    if float(columns.years.max()) * _DAYS <= days:  # nothing has time left then: payoffs
        return float((units @ _payoffs(columns, prices)).min())
    prices = np.unique(np.concatenate([np.linspace(*between, _BETWEEN) for between in pairwise(prices)]))
    spot = np.broadcast_to(prices, (columns.strike.size, prices.size))
    volatility = np.broadcast_to(now.volatility[:, None], spot.shape)
    values = units @ _prices(now, spot, volatility, days)
    return float(values.min())


def _payoffs(columns: Columns, prices: FloatArray) -> FloatArray:
    """Intrinsic values by (contract, price)."""
    inside = np.where(columns.is_call, 1.0, -1.0)[:, None] * (prices - columns.strike[:, None])
    result: FloatArray = np.maximum(inside, 0.0)
    return result


def _placed(now: Priced) -> FloatArray:
    """Spots, the strike where one is unknown: its volatility is unknown then too, and so is every price."""
    placed: FloatArray = np.where(np.isnan(now.spot), now.columns.strike, now.spot)
    return placed


def _prices(now: Priced, spot: FloatArray, volatility: FloatArray, days: FloatArray | float) -> FloatArray:
    count, nodes = spot.shape
    many = now.columns.repeated(nodes)
    if np.any(days):
        many = many.later(np.broadcast_to(days, spot.shape).ravel() / _DAYS)
    return many.prices(spot.ravel(), volatility.ravel()).reshape(count, nodes)

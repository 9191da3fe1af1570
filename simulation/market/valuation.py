"""One option root valued on its underlying's day: a contract for all minutes at once, or a chain at one minute.

The columns of a day's chain, computed when they are looked at, are in ``chain_columns.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from enum import Enum, auto
from functools import lru_cache
from math import exp
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from simulation.market.american import (
    DEEPEST,
    SHALLOWEST,
    SMALLEST_SHARE,
    SMALLEST_VARIANCE,
    Lattice,
    Profiles,
    lattice,
    timetable,
)
from simulation.market.asset_days import AssetDay, Kind
from simulation.market.calendar import FloatArray, IntArray, calendar
from simulation.market.days import stream
from simulation.market.listings import ListingBook, is_standard
from simulation.market.quotes import (
    WIDEST,
    ContractDay,
    QuoteLaw,
    age_of,
    bid_and_ask,
    full_spread,
    hour_of_day,
    stress_of,
    usual_activity,
)
from simulation.market.surface import Greeks, black, black_greeks, smile, steepness


class Style(Enum):
    """When the option may be exercised."""

    EUROPEAN = auto()
    AMERICAN = auto()


PROFILES_KEPT = 96


@dataclass(frozen=True, slots=True)
class Claims:
    """Contracts of one expiration and right at minutes of one day, as arrays of one length (or one strike for all)."""

    state: AssetDay
    expiry: date
    sign: float
    minute: NDArray[np.int64]
    forward: FloatArray
    strike: FloatArray | float
    variance: FloatArray

    @property
    def years(self) -> FloatArray:
        """Calendar years to expiry."""
        return self.state.years(self.expiry)[self.minute]

    @property
    def spot(self) -> FloatArray:
        """Price of the underlying."""
        return self.state.spot.points[self.minute]


@dataclass(frozen=True, slots=True)
class Shift:
    """A change of what contracts are valued from: log price, log variance, rate a year."""

    price: float = 0.0
    variance: float = 0.0
    rate: float = 0.0


UNMOVED = Shift()


class EarlyExercise:
    """American values of one option root; keeps the profiles of the expirations that were looked at last."""

    def __init__(self) -> None:
        self._profiles: OrderedDict[tuple[int, int, float, float], Profiles] = OrderedDict()

    def value(self, claims: Claims) -> FloatArray:
        """American value in points; never under intrinsic value or the European price."""
        return self.premium_and_value(claims)[1]

    def premium_and_value(self, claims: Claims, shift: Shift = UNMOVED) -> tuple[FloatArray, FloatArray]:
        """What the right to exercise early adds to the European price after a change, and `value`, in points."""
        european, premium, intrinsic = self._parts(claims, shift)
        return np.maximum(premium, intrinsic - european), np.maximum(european + premium, intrinsic)

    def _parts(self, claims: Claims, shift: Shift) -> tuple[FloatArray, FloatArray, FloatArray]:
        """European price, premium of the tables (never negative), and what exercise pays."""
        state, years = claims.state, claims.years
        rate = state.carry.rate + shift.rate
        forward, variance, spot = claims.forward, claims.variance, claims.spot
        if shift is not UNMOVED:
            held = 0.0 if state.spec.kind is Kind.FUTURE else shift.rate
            forward = forward * np.exp(shift.price + held * years)
            variance, spot = variance * exp(shift.variance), spot * exp(shift.price)
        moneyness, discount = np.log(forward / claims.strike), np.exp(-rate * years)
        european = black(forward, claims.strike, variance, discount, claims.sign, moneyness)
        share = self._premium(claims, (moneyness, variance, years, discount), rate)
        intrinsic = np.maximum(claims.sign * (spot - claims.strike), 0.0)
        return european, np.maximum(share, 0.0) * claims.strike, intrinsic

    def _premium(
        self, claims: Claims, terms: tuple[FloatArray, FloatArray, FloatArray, FloatArray], rate: float
    ) -> FloatArray:
        """Premium over strike from moneyness, variance, years and discount; zero where exercise earns too little."""
        state, sign = claims.state, claims.sign
        carry = state.carry
        today, last = state.day.toordinal(), claims.expiry.toordinal()
        paying = any(today < ordinal <= last for ordinal, _ in carry.dividends)
        earned = rate if state.spec.kind is Kind.FUTURE else carry.dividend_yield
        if not paying and (rate if sign < 0 else earned) <= 0.0:
            return np.zeros(len(claims.forward))
        moneyness, variance, years, discount = terms
        if paying:
            depth = sign * moneyness / np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
            inside = (depth > SHALLOWEST) & (variance > SMALLEST_VARIANCE)
            profiles = self._profile(claims, rate)
            return _placed(
                inside, depth,
                lambda rows: profiles.at(depth[rows], variance[rows], claims.minute[rows]),
                lambda rows: profiles.beyond(moneyness[rows], discount[rows]),
            )  # fmt: skip
        cost = max(rate, earned)
        return _on_lattice(lattice(sign, rate / cost, earned / cost), terms[:2], cost * years)

    def _profile(self, claims: Claims, rate: float) -> Profiles:
        key = (claims.state.day.toordinal(), claims.expiry.toordinal(), claims.sign, rate)
        known = self._profiles.get(key)
        if known is None:
            known = self._profiles[key] = Profiles(
                timetable(claims.state, claims.expiry, claims.sign, rate), claims.sign
            )
            if len(self._profiles) > PROFILES_KEPT:
                self._profiles.popitem(last=False)
        return known


Read = Callable[[IntArray | slice], FloatArray]


def _placed(inside: NDArray[np.bool_], depth: FloatArray, near: Read, deep: Read) -> FloatArray:
    """What ``near`` gives for rows that the tables reach and ``deep`` for rows deeper in the money; zero elsewhere."""
    beyond = depth > DEEPEST
    if bool(inside.all()) and not bool(beyond.any()):
        return near(slice(None))
    result = np.zeros(len(depth))
    for rows, made in ((np.flatnonzero(inside & ~beyond), near), (np.flatnonzero(inside & beyond), deep)):
        if len(rows):
            result[rows] = made(rows)
    return result


def _on_lattice(kept: Lattice, terms: tuple[FloatArray, FloatArray], whole: FloatArray) -> FloatArray:
    """Premium over strike from moneyness and variance, and what the larger of rate and yield comes to until expiry."""
    moneyness, variance = terms
    depth = kept.sign * moneyness / np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    return _placed(
        (depth > SHALLOWEST) & (variance > SMALLEST_VARIANCE) & (whole > SMALLEST_SHARE), depth,
        lambda rows: kept.at(depth[rows], variance[rows], whole[rows]),
        lambda rows: kept.beyond(moneyness[rows], variance[rows], whole[rows]),
    )  # fmt: skip


def value_on_future(sign: float, terms: tuple[FloatArray, ...], rate: FloatArray) -> FloatArray:
    """American values on futures from forward, strike, variance and years, each at its own rate, as in `value`."""
    forward, strike, variance, years = terms
    moneyness = np.log(forward / strike)
    european = black(forward, strike, variance, np.exp(-rate * years), sign, moneyness)
    share = _on_lattice(lattice(sign, 1.0, 1.0), (moneyness, variance), rate * years)
    return np.maximum(european + np.maximum(share, 0.0) * strike, np.maximum(sign * (forward - strike), 0.0))


Activity = tuple[FloatArray, FloatArray]
"""Open interest and volume, by days."""
Terms = tuple[date, float, float]
"""Expiration, strike and sign of a contract."""
LOOKED_BACK = 30  # days: who asks for a day so much earlier has begun a new run, who asks for a nearer one looks back


Made = TypeVar("Made")
Makes = Callable[[date, Sequence[Terms]], dict[Terms, Made]]


class Followed(Generic[Made]):
    """What contracts of one root have day after day, as long as they are held: a day's is made for all at once.

    Those asked for on the last two days are made with the first one of a day. Values do not depend on it, and what
    nobody asks for again on the day is not made on the next.
    """

    def __init__(self) -> None:
        self._today = 0
        self._before: set[Terms] = set()
        self._asked: dict[Terms, None] = {}
        self._expected: list[Terms] = []
        self._made: dict[Terms, Made] = {}

    def of(self, day: date, terms: Terms, make: Makes[Made]) -> Made | None:
        """A contract's, out of those made ahead or made now."""
        ordinal = day.toordinal()
        if 0 < self._today - ordinal <= LOOKED_BACK:
            return make(day, [terms]).get(terms)
        if ordinal != self._today:
            self._today = ordinal
            self._expected = [one for one in self._asked if one in self._before]
            self._before, self._asked, self._made = set(self._asked), {}, {}
        self._asked[terms] = None
        if terms in self._made:
            return self._made.pop(terms)  # who asks keeps it
        made = make(day, [terms, *(one for one in self._expected if one != terms)])
        self._expected = []
        found = made.pop(terms, None)
        self._made.update(made)
        return found


@dataclass(frozen=True)
class OptionRoot:
    """An option root: its listing, quotes and style, and where its underlying's day comes from."""

    root: str
    style: Style
    law: QuoteLaw
    listing: ListingBook
    asset_day: Callable[[date], AssetDay | None]
    volatility_points: Callable[[date], FloatArray | None]
    early: EarlyExercise = field(default_factory=EarlyExercise, repr=False, compare=False)
    followed: Followed[ContractDay] = field(default_factory=Followed, repr=False, compare=False)
    busy: dict[int, Followed[Activity]] = field(default_factory=dict, repr=False, compare=False)  # by seed

    @property
    def morning(self) -> bool:
        """True when the root settles at the open of its expiry date."""
        return self.listing.rule.morning

    def _alive(self, day: date, expiry: date) -> bool:
        return day < expiry if self.morning else day <= expiry

    def values(self, state: AssetDay, expiry: date, strike: float, sign: float) -> FloatArray:
        """Model value of a contract at the open and at each minute's end, in points."""
        return np.asarray(self._values(state, expiry, np.array([strike]), sign)[0])

    def _values(self, state: AssetDay, expiry: date, strikes: FloatArray, sign: float) -> FloatArray:
        """The same of many strikes, a row for each."""
        forward = state.forward(expiry, morning=self.morning)
        strike = strikes[:, None]
        variance = state.shape(expiry, morning=self.morning).variance(np.log(strike / forward))
        years = state.years(expiry, morning=self.morning)
        if self.style is Style.EUROPEAN:
            return black(forward, strike, variance, np.exp(-state.carry.rate * years), sign)
        count, minutes = variance.shape
        claims = Claims(
            state, expiry, sign, np.tile(np.arange(minutes), count), np.tile(forward, count),
            np.repeat(strikes, minutes), variance.ravel(),
        )  # fmt: skip
        values: FloatArray = self.early.value(claims).reshape(count, minutes)
        return values

    def contract_day(self, day: date, expiry: date, strike: float, sign: float) -> ContractDay | None:
        """Quotes of one listed contract over one day; ``None`` when it is not listed or no longer alive."""
        if not self._alive(day, expiry) or not self.listing.is_listed(day, expiry, strike):
            return None
        return self.followed.of(day, (expiry, strike, sign), self._contract_days)

    def _contract_days(self, day: date, wanted: Sequence[Terms]) -> dict[Terms, ContractDay]:
        """Quotes of those contracts that are listed and alive; strikes of one expiration and right at once."""
        state = self.asset_day(day)
        if state is None:
            return {}
        groups: dict[tuple[date, float], list[float]] = {}
        for expiry, strike, sign in wanted:
            if self._alive(day, expiry) and self.listing.is_listed(day, expiry, strike):
                groups.setdefault((expiry, sign), []).append(strike)
        found: dict[Terms, ContractDay] = {}
        for (expiry, sign), strikes in groups.items():
            made = self._days_of(state, expiry, np.array(strikes), sign)
            found.update(((expiry, strike, sign), one) for strike, one in zip(strikes, made, strict=True))
        return found

    def _days_of(self, state: AssetDay, expiry: date, strikes: FloatArray, sign: float) -> Iterator[ContractDay]:
        values = self._values(state, expiry, strikes, sign)
        value, count = values.ravel(), len(strikes)
        years, multiple = state.years(expiry, morning=self.morning), self.spreads(state.day, state)
        intrinsic = np.maximum(sign * (state.spot.points - strikes[:, None]), 0.0).ravel()
        spot, years, multiple = (np.tile(part, count) for part in (state.spot.points, years, multiple))
        width = full_spread(self.law, value - intrinsic, intrinsic, spot, years, multiple)
        sides = (part.reshape(values.shape) for part in bid_and_ask(self.law, value, width))
        return (ContractDay(*rows) for rows in zip(values, *sides, strict=True))

    def spreads(self, day: date, state: AssetDay) -> FloatArray:
        """How many times wider than at a calm noon quotes are at the open and at each minute's end."""
        known = state.notes.get("spread")
        if known is None:
            volatility = self.volatility_points(day)
            stress = 1.0 if volatility is None else stress_of(volatility)
            usual = np.minimum(stress * hour_of_day(state.minutes), 1.25 * WIDEST)
            known = state.notes["spread"] = np.asarray(usual * age_of(self.law, day))
        return known

    def chain_values(self, state: AssetDay, chain: ChainRows, minute: int) -> FloatArray:
        """Model values of many contracts at one minute (0 is the open), in points."""
        forward, variance, years = self._chain_inputs(state, chain, minute)
        if self.style is Style.EUROPEAN:
            return black(forward, chain.strike, variance, np.exp(-state.carry.rate * years), chain.sign)
        result = np.empty(len(forward))
        for rows, claims in self._claims(state, chain, minute, (forward, variance)):
            result[rows] = self.early.value(claims)
        return result

    @staticmethod
    def _claims(
        state: AssetDay, chain: ChainRows, minute: int, terms: tuple[FloatArray, FloatArray]
    ) -> Iterator[tuple[IntArray, Claims]]:
        """The chain's rows by expiration and right."""
        forward, variance = terms
        days, position = chain.expiries
        for number, day in enumerate(days):
            for sign in (1.0, -1.0):
                rows = np.flatnonzero((position == number) & (chain.sign == sign))
                if len(rows):
                    yield rows, Claims(
                        state, date.fromordinal(int(day)), sign, np.full(len(rows), minute),
                        forward[rows], chain.strike[rows], variance[rows],
                    )  # fmt: skip

    def chain_quotes(self, state: AssetDay, chain: ChainRows, minute: int) -> tuple[FloatArray, FloatArray]:
        """Bids (NaN: none) and asks of many contracts at one minute: what `contract_day` gives for each of them."""
        value = self.chain_values(state, chain, minute)
        _, _, years = self._chain_inputs(state, chain, minute)
        spot = np.full(len(value), float(state.spot.points[minute]))
        intrinsic = np.maximum(chain.sign * (spot - chain.strike), 0.0)
        multiple = np.full(len(value), float(self.spreads(state.day, state)[minute]))
        return bid_and_ask(self.law, value, full_spread(self.law, value - intrinsic, intrinsic, spot, years, multiple))

    def chain_volatility(self, state: AssetDay, chain: ChainRows, minute: int) -> FloatArray:
        """Implied volatility (a year, fraction) of many contracts at one minute; it is the surface's own."""
        _, variance, years = self._chain_inputs(state, chain, minute)
        return np.asarray(np.sqrt(variance / np.maximum(years, 1e-6)))

    def chain_greeks(self, state: AssetDay, chain: ChainRows, minute: int) -> Greeks:
        """Greeks of many contracts at one minute, in the root's style."""
        forward, variance, years = self._chain_inputs(state, chain, minute)
        spot = np.full(len(forward), float(state.spot.points[minute]))
        greeks = black_greeks(spot, forward, chain.strike, variance, years, state.carry.rate, chain.sign)
        if self.style is Style.AMERICAN:
            for rows, claims in self._claims(state, chain, minute, (forward, variance)):
                part = Greeks(*(getattr(greeks, one.name)[rows] for one in fields(Greeks)))
                changed = american_greeks(self.early, claims, part)
                for one in fields(Greeks):
                    getattr(greeks, one.name)[rows] = getattr(changed, one.name)
        return greeks

    def delta_and_gamma(self, state: AssetDay, expiry: date, terms: tuple[float, float]) -> tuple[float, float]:
        """Of one contract at the close what `chain_greeks` gives; ``terms`` are strike and sign."""
        row = ChainRows(np.array([expiry.toordinal()]), np.array(terms[:1]), np.array(terms[1:]))
        forward, variance, years = self._chain_inputs(state, row, state.minutes)
        spot = state.spot.points[-1:]
        greeks = black_greeks(spot, forward, row.strike, variance, years, state.carry.rate, row.sign)
        delta, gamma = greeks.delta, greeks.gamma
        if self.style is Style.AMERICAN:
            claims = Claims(state, expiry, terms[1], np.array([state.minutes]), forward, row.strike, variance)
            _, delta, gamma = _slopes(self.early, claims, greeks)
        return float(delta[0]), float(gamma[0])

    def _chain_inputs(
        self, state: AssetDay, chain: ChainRows, minute: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        days, position = chain.expiries
        dates = [date.fromordinal(int(day)) for day in days]
        if minute == state.minutes:  # a chain file: nobody may ever ask for the minutes of that day
            surface, place = state.closing, 0
            terms = [state.at_close(day, morning=self.morning) for day in dates]
        else:
            surface, place = state.surface, minute
            terms = [self._terms_at(state, day, minute) for day in dates]
        forward, theta, years = (np.array([term[which] for term in terms])[position] for which in range(3))
        phi = steepness(theta, np.full(len(theta), float(surface.eta[place])))
        return forward, smile(np.log(chain.strike / forward), theta, surface.law.rho, phi), years

    def _terms_at(self, state: AssetDay, day: date, minute: int) -> tuple[float, float, float]:
        forward = state.forward(day, morning=self.morning).item(minute)
        theta = state.theta(day, morning=self.morning).item(minute)
        return forward, theta, state.years(day, morning=self.morning).item(minute)


RATE_STEP, VARIANCE_STEP, PRICE_STEP = 1e-3, 0.02, 0.1


def american_greeks(early: EarlyExercise, claims: Claims, european: Greeks) -> Greeks:
    """Greeks of American contracts in the units of ``european``: the European ones and the premium's.

    The premium's are differences over a tenth of a deviation, two hundredths of log variance and a tenth of a percent
    of rate. Theta follows from the pricing equation and is zero where the value is what exercise pays. Rho holds the
    price of a share, or of a future, as it is.
    """
    spot, years = claims.spot, np.maximum(claims.years, 1e-6)
    (here, value), delta, gamma = _slopes(early, claims, european)
    wide, _ = early.premium_and_value(claims, Shift(variance=VARIANCE_STEP))
    dear, _ = early.premium_and_value(claims, Shift(rate=RATE_STEP))
    volatility = np.sqrt(np.maximum(claims.variance, SMALLEST_VARIANCE) / years)
    vega = european.vega + (wide - here) / VARIANCE_STEP * 2.0 / volatility / 100.0
    rate, held = claims.state.carry.rate, np.log(claims.forward / spot) / years
    theta = rate * value - held * spot * delta - 0.5 * volatility**2 * spot**2 * gamma
    waiting = value > claims.sign * (spot - claims.strike) + 1e-9 * claims.strike
    plain = european.rho
    if claims.state.spec.kind is Kind.FUTURE:
        plain = -years * (value - here) / 100.0
    rho = plain + (dear - here) / RATE_STEP / 100.0
    return Greeks(delta, gamma, vega, np.where(waiting, theta / 365.0, 0.0), rho)


def _slopes(
    early: EarlyExercise, claims: Claims, european: Greeks
) -> tuple[tuple[FloatArray, FloatArray], FloatArray, FloatArray]:
    """Premium and value of American contracts as they are, and delta and gamma."""
    step = PRICE_STEP * max(float(np.sqrt(np.median(claims.variance))), 1e-4)
    here, value = early.premium_and_value(claims)
    up, down = (early.premium_and_value(claims, Shift(price=move))[0] for move in (step, -step))
    slope = (up - down) / (2.0 * step)
    delta = european.delta + slope / claims.spot
    gamma = european.gamma + ((up - 2.0 * here + down) / (step * step) - slope) / claims.spot**2
    return (here, value), delta, gamma


@dataclass(frozen=True)
class ChainRows:
    """Contracts as arrays: expiry ordinals, strikes, and +1 for calls or -1 for puts."""

    expiry: IntArray
    strike: FloatArray
    sign: FloatArray

    @property
    def expiries(self) -> tuple[IntArray, IntArray]:
        """The distinct expiries and, for each row, which of them it has."""
        if len(self.expiry) == 1:
            return self.expiry, np.zeros(1, dtype=np.int64)
        days, position = np.unique(self.expiry, return_inverse=True)
        return days, position


def settlement_day(expiry: date) -> date:
    """The trading day on which an option of ``expiry`` stops: the day itself or the one before a holiday."""
    return calendar().on_or_before(expiry)


@lru_cache(maxsize=256)
def _salt(seed: int, root: str) -> int:
    return int(stream(seed, f"{root}/interest").integers(1 << 31))


def day_activity(root: OptionRoot, day: date, opening: float, terms: Terms, seed: int) -> Activity:
    """Open interest and volume of one contract on one day, by its underlying's first price."""

    def make(day: date, wanted: Sequence[Terms]) -> dict[Terms, Activity]:
        expiries, strikes, signs = zip(*wanted, strict=True)
        days = np.array([expiry.toordinal() for expiry in expiries], dtype=np.int64)
        rows = ChainRows(days, np.array(strikes), np.array(signs))
        interest, volume = activity(root, rows, np.array([opening]), np.array([day.toordinal()]), seed)
        return {one: (interest[row : row + 1], volume[row : row + 1]) for row, one in enumerate(wanted)}

    followed = root.busy.setdefault(seed, Followed())
    return cast(Activity, followed.of(day, terms, make))  # each that is wanted has some


def activity(root: OptionRoot, rows: ChainRows, opening: FloatArray, today: IntArray, seed: int) -> Activity:
    """Open interest and volume of many contracts on one day or of one on many, by first price and ordinal of a day."""
    term = np.maximum(rows.expiry - today, 0)
    days, position = rows.expiries
    standard = np.array([is_standard(date.fromordinal(int(day))) for day in days])[position]
    salt = _salt(seed, root.root)
    terms = rows.expiry * 4_000_003 + np.round(rows.strike * 10).astype(np.int64) * 2 + (rows.sign > 0)
    mixed = (terms.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    noise = np.exp(1.2 * ((mixed >> np.uint64(40)).astype(np.float64) / 2.0**24 - 0.5) * 2.0)
    outward = rows.sign * np.log(rows.strike / opening)
    usual, turnover = usual_activity(root.law, root.morning, rows.strike, outward, term)
    interest = usual * noise * np.where(rows.sign < 0, 1.9, 1.0) * np.where(standard, 2.5, 1.0)
    return np.floor(interest), np.floor(turnover * interest)

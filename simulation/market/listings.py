"""Which contracts are listed: expirations and strikes by the exchanges' rules, as arrays.

Horizons and strike steps follow whole recorded chains: SPX and SPXW of October 2018, May and June 2019, March and
September 2020, June 2022, September 2023 and January 2024, SPY of June 2020 and September 2023 (docs/market.md).
First listing dates come from the exchanges' notices and the Federal Register, each named beside it. ``today`` applies
the rules of 2024 to the whole past; ``then`` lists what each year had.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import accumulate

import numpy as np

from core.clock import monthly_expiry
from simulation.market.calendar import FloatArray, IntArray, calendar


class Listings(StrEnum):
    """Whose listing rules apply."""

    TODAY = "today"
    THEN = "then"


@dataclass(frozen=True)
class WeekdayRule:
    """Expirations on one weekday (0 Monday), listed ``horizon`` days ahead, from ``since`` to before ``until``."""

    weekday: int
    horizon: int
    since: date
    until: date = date.max

    def applies(self, expiry: date, listings: Listings) -> bool:
        """True when the rule lists on ``expiry``: those still in force today, or those of its time."""
        return self.until == date.max if listings is Listings.TODAY else self.since <= expiry < self.until


@dataclass(frozen=True)
class StrikeBand:
    """Strikes ``step`` apart within ``reach`` (share of the price, below and above).

    For terms up to ``longest`` days.
    """

    step: float
    below: float
    above: float
    longest: int


@dataclass(frozen=True)
class ListingRule:
    """One option root: its weekly days, how far its monthlies, month ends and LEAPS go, and its strikes.

    ``bands`` are the strikes of third Fridays and month ends, ``weekly_bands`` those of all other expirations
    (the same when empty). ``leaps`` holds months and how many days ahead their third Friday is listed.
    """

    root: str
    weekdays: tuple[WeekdayRule, ...]
    bands: tuple[StrikeBand, ...]
    weekly_bands: tuple[StrikeBand, ...] = ()
    quarter_ends: int = 0  # days ahead that the last trading day of a quarter is listed
    month_ends: int = 0  # the same for other months
    month_ends_since: date = date(1985, 1, 1)
    monthlies: int = 0  # days ahead that a third Friday is listed
    monthlies_since: date = date(1985, 1, 1)
    leaps: tuple[tuple[int, int], ...] = ()
    morning: bool = False

    @property
    def horizon(self) -> int:
        """The furthest expiration, in days."""
        weekly = max((weekday.horizon for weekday in self.weekdays), default=0)
        leaps = max((days for _, days in self.leaps), default=0)
        return max(weekly, leaps, self.quarter_ends, self.month_ends, self.monthlies)


_DAWN = date(1985, 1, 1)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = range(5)
_INDEX_BANDS = (
    StrikeBand(5.0, 0.16, 0.12, 100),
    StrikeBand(10.0, 0.30, 0.15, 170),
    StrikeBand(25.0, 0.60, 0.25, 500),
    StrikeBand(50.0, 0.75, 0.35, 900),
    StrikeBand(100.0, 0.90, 0.65, 2200),
)
_INDEX_WEEKLY_BANDS = (
    StrikeBand(5.0, 0.12, 0.07, 28),
    StrikeBand(5.0, 0.05, 0.04, 70),
    StrikeBand(10.0, 0.18, 0.10, 70),
    StrikeBand(25.0, 0.30, 0.14, 70),
    StrikeBand(50.0, 0.55, 0.30, 70),
    StrikeBand(100.0, 0.92, 0.60, 70),
)
_WIDE_INDEX_BANDS = (
    StrikeBand(10.0, 0.12, 0.10, 70),
    StrikeBand(25.0, 0.30, 0.20, 190),
    StrikeBand(100.0, 0.60, 0.40, 1100),
)
_ETF_BANDS = (
    StrikeBand(1.0, 0.16, 0.13, 200),
    StrikeBand(5.0, 0.65, 0.50, 1100),
)
_ETF_WEEKLY_BANDS = (
    StrikeBand(1.0, 0.15, 0.12, 50),
    StrikeBand(5.0, 0.30, 0.20, 50),
)
_SMALL_ETF_BANDS = (
    StrikeBand(0.5, 0.16, 0.16, 50),
    StrikeBand(1.0, 0.40, 0.35, 400),
    StrikeBand(5.0, 0.60, 0.60, 1100),
)

SPXW = ListingRule(
    root="SPXW",
    weekdays=(
        WeekdayRule(FRIDAY, 52, date(2010, 12, 2)),  # settled at the close since then; listed since October 2005
        WeekdayRule(FRIDAY, 63, date(2014, 1, 10), date(2021, 1, 1)),  # nine weeks in the chains of 2018 and 2019
        WeekdayRule(WEDNESDAY, 35, date(2016, 2, 23)),  # Cboe, Options Hub, 2016-02-22
        WeekdayRule(MONDAY, 39, date(2016, 8, 15)),  # Cboe, Options Hub, 2016-08-17
        WeekdayRule(TUESDAY, 35, date(2022, 4, 18)),  # Cboe, announced March 2022
        WeekdayRule(THURSDAY, 35, date(2022, 5, 11)),  # the same
    ),
    bands=_INDEX_BANDS,
    weekly_bands=_INDEX_WEEKLY_BANDS,
    quarter_ends=370,
    month_ends=190,
    month_ends_since=date(2014, 7, 1),
    monthlies=156,
    monthlies_since=date(2011, 10, 4),  # as SPXPM until May 2017 (Cboe circular RG17-002)
)
NDXP = ListingRule(
    root="NDXP",
    weekdays=(
        WeekdayRule(FRIDAY, 56, date(2011, 1, 7)),
        WeekdayRule(WEDNESDAY, 28, date(2018, 1, 3)),
        WeekdayRule(MONDAY, 28, date(2018, 1, 2)),
        WeekdayRule(TUESDAY, 28, date(2022, 10, 4)),  # by then at the latest: the filing for the micro index
        WeekdayRule(THURSDAY, 28, date(2022, 10, 4)),
    ),
    bands=_WIDE_INDEX_BANDS,
    monthlies=156,
    monthlies_since=date(2023, 11, 14),  # SR-ISE-2023 order, Federal Register 2023-25547
)
SPX = ListingRule(
    root="SPX",
    weekdays=(),
    bands=_INDEX_BANDS,
    monthlies=400,
    leaps=((1, 500), (3, 440), (6, 700), (9, 400), (12, 1650)),
    morning=True,
)


def _fund(root: str, days: tuple[WeekdayRule, ...], *, small: bool = False) -> ListingRule:
    """A fund: weeklies, monthlies, quarter ends, and LEAPS in January and the last months of quarters."""
    return ListingRule(
        root=root,
        weekdays=days,
        bands=_SMALL_ETF_BANDS if small else _ETF_BANDS,
        weekly_bands=() if small else _ETF_WEEKLY_BANDS,
        quarter_ends=0 if small else 290,
        month_ends_since=date(2006, 7, 1),
        monthlies=150,
        leaps=((1, 860), (3, 560), (6, 860), (9, 450), (12, 830)),
    )


def _daily(monday: date, wednesday: date, others: date) -> tuple[WeekdayRule, ...]:
    starts = ((MONDAY, monday), (WEDNESDAY, wednesday), (TUESDAY, others), (THURSDAY, others))
    longer = [WeekdayRule(day, 35, since, others) for day, since in starts[:2]]  # five weeks in the chain of June 2020
    weekly = WeekdayRule(FRIDAY, 45, date(2010, 6, 4))
    return (weekly, *longer, *(WeekdayRule(day, 14, since) for day, since in starts))


def _twice(friday: date) -> tuple[WeekdayRule, ...]:
    """Wednesdays since SR-ISE-2023-11 (order of November 13, 2023), Mondays since the filings of November 2024."""
    return (
        WeekdayRule(FRIDAY, 45, friday),
        WeekdayRule(WEDNESDAY, 14, date(2023, 11, 14)),
        WeekdayRule(MONDAY, 14, date(2024, 11, 4)),
    )


# SPY: Wednesdays, MIAX listing alert of September 6, 2016; Mondays, Cboe, February 2018. QQQ: Phlx order of April 20,
# 2021. IWM: filings of September 30, 2021. Tuesdays and Thursdays: SPY and QQQ, ISE order published November 16, 2022;
# IWM, filings of April 2024. First Friday weeklies of each fund and the days of NDXP before 2022: no source at hand.
_BOTH = date(2022, 11, 14)
RULES: dict[str, ListingRule] = {
    rule.root: rule
    for rule in (
        SPXW,
        SPX,
        NDXP,
        _fund("SPY", _daily(date(2018, 2, 16), date(2016, 8, 31), _BOTH)),
        _fund("QQQ", _daily(date(2021, 4, 20), date(2021, 4, 20), _BOTH)),
        _fund("IWM", _daily(date(2021, 10, 4), date(2021, 10, 4), date(2024, 4, 18))),
        _fund("TLT", _twice(date(2010, 9, 3)), small=True),
        _fund("GLD", _twice(date(2010, 6, 25)), small=True),
        _fund("USO", _twice(date(2010, 6, 25)), small=True),
        _fund("FXE", (WeekdayRule(FRIDAY, 45, date(2011, 6, 3)),), small=True),
    )
}


@lru_cache(maxsize=64)
def _third_fridays() -> frozenset[date]:
    return frozenset(monthly_expiry(year, month) for year in range(1986, 2045) for month in range(1, 13))


@lru_cache(maxsize=1)
def _month_ends() -> frozenset[date]:
    return frozenset(
        calendar().on_or_before(date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1))
        for year in range(1986, 2045)
        for month in range(1, 13)
    )


def _falls_on(weekday: WeekdayRule, expiry: date) -> bool:
    """True when a weekly of that weekday expires on ``expiry``.

    A holiday moves it to the trading day before, but a Monday's to the day after (Cboe, February 2018: "the next
    business day"; the Tuesdays after Labor Day 2016 and Memorial Day 2019 were listed).
    """
    days = calendar()
    if weekday.weekday == MONDAY:
        nominal = expiry - timedelta(days=expiry.weekday())
        return days.on_or_after(nominal) == expiry
    nominal = expiry + timedelta(days=(weekday.weekday - expiry.weekday()) % 7)
    return days.on_or_before(nominal) == expiry


def is_standard(expiry: date) -> bool:
    """True for third Fridays and month ends, which list more strikes than other expirations."""
    return expiry in _third_fridays() or expiry in _month_ends()


def first_listed(rule: ListingRule, expiry: date, listings: Listings) -> date | None:
    """The day from which ``expiry`` is listed under ``rule``; ``None`` when the rule has no such expiration."""
    then = listings is Listings.THEN
    starts = [
        (weekday.horizon, weekday.since if then else _DAWN)
        for weekday in rule.weekdays
        if weekday.applies(expiry, listings) and _falls_on(weekday, expiry)
    ]
    if expiry in _month_ends() and (not then or expiry >= rule.month_ends_since):
        starts.append((rule.quarter_ends if expiry.month % 3 == 0 else rule.month_ends, _DAWN))
    if expiry in _third_fridays() and (not then or expiry >= rule.monthlies_since):
        starts.append((rule.monthlies, _DAWN))
        starts += [(days, _DAWN) for month, days in rule.leaps if expiry.month == month]
    listed = [max(expiry - timedelta(days=days), since) for days, since in starts if days]
    return min(listed) if listed else None


@lru_cache(maxsize=256)
def expirations(root: str, day: date, listings: Listings) -> tuple[date, ...]:
    """Expirations of ``root`` listed on ``day``, ascending.

    ``day`` itself included when it is one (except morning-settled).
    """
    first, last = _listed_from(root, day), _listed_until(root, day)
    found: list[date] = []
    for year in range(day.year, last.year + 1):
        listed = _listed_in(root, year, listings)
        inside = listed[bisect_left(listed, (first, date.min)) : bisect_right(listed, (last, date.max))]
        found += [expiry for expiry, since in inside if since <= day]
    return tuple(found)


def is_expiration(root: str, day: date, expiry: date, listings: Listings) -> bool:
    """Whether ``expiry`` is one of the day's `expirations`, without the others."""
    if not _listed_from(root, day) <= expiry <= _listed_until(root, day):
        return False
    listed = _listed_in(root, expiry.year, listings)
    at = bisect_left(listed, (expiry, date.min))
    return at < len(listed) and listed[at][0] == expiry and listed[at][1] <= day


def _listed_from(root: str, day: date) -> date:
    return day + timedelta(days=1) if RULES[root].morning else day


def _listed_until(root: str, day: date) -> date:
    return min(day + timedelta(days=RULES[root].horizon), date(2044, 12, 31))


@lru_cache(maxsize=1024)
def _listed_in(root: str, year: int, listings: Listings) -> tuple[tuple[date, date], ...]:
    """Expirations of a year, ascending, and the day from which each is listed."""
    days = calendar().between(date(year, 1, 1), date(year, 12, 31))
    found = [(expiry, first_listed(RULES[root], expiry, listings)) for expiry in days]
    return tuple((expiry, since) for expiry, since in found if since is not None)


def strikes(rule: ListingRule, term: int, low: float, high: float, *, weekly: bool = False) -> FloatArray:
    """Strikes listed for ``term`` calendar days when closes since the listing lie between ``low`` and ``high``."""
    bands = rule.weekly_bands if weekly and rule.weekly_bands else rule.bands
    return _ladder(tuple(band for band in bands if term <= band.longest), low, high)


@lru_cache(maxsize=256)
def _ladder(bands: tuple[StrikeBand, ...], low: float, high: float) -> FloatArray:
    """The strikes of some bands; expirations of one day share them, and none of them may be written to."""
    pieces = []
    for band in bands:
        bottom = np.ceil(low * (1.0 - band.below) / band.step)
        top = np.floor(high * (1.0 + band.above) / band.step)
        pieces.append(np.arange(max(bottom, 1.0), top + 1.0) * band.step)
    ladder = np.unique(np.round(np.concatenate(pieces), 4))
    ladder.flags.writeable = False
    return np.asarray(ladder)


@dataclass(frozen=True)
class Chain:
    """A day's listing as arrays, sorted by expiry, strike and right (0 call, 1 put)."""

    expiry: IntArray
    strike: FloatArray
    right: IntArray

    def terms(self, row: int) -> tuple[int, float, int]:
        """Ordinal of the expiry, strike and right of one contract."""
        return self.expiry.item(row), self.strike.item(row), self.right.item(row)

    def beside(self, row: int) -> tuple[IntArray, Chain]:
        """The rows that expire with one, and these alone."""
        places = np.flatnonzero(self.expiry == self.expiry[row])
        return places, Chain(self.expiry[places], self.strike[places], self.right[places])

    def __len__(self) -> int:
        return len(self.expiry)


class ListedChain(Chain):
    """Every contract of a day by expiration, whose arrays are made when one is looked at as a whole.

    Who ranks volatilities reads a few rows of each of a year of chains, which have thousands.
    """

    _found: list[tuple[int, FloatArray]]
    _ends: list[int]

    def __init__(self, found: list[tuple[date, FloatArray]]) -> None:
        kept = [(expiry.toordinal(), strikes) for expiry, strikes in found]
        self.__dict__.update(_found=kept, _ends=list(accumulate(2 * len(strikes) for _, strikes in found)))

    def terms(self, row: int) -> tuple[int, float, int]:
        """Of a row by the expiration that it falls into: a call and a put of each strike."""
        place = bisect_right(self._ends, row)
        ordinal, strikes = self._found[place]
        at = row - self._ends[place] + 2 * len(strikes)
        return ordinal, strikes.item(at // 2), at % 2

    def beside(self, row: int) -> tuple[IntArray, Chain]:
        """The same without the others' arrays."""
        place = bisect_right(self._ends, row)
        ordinal, strikes = self._found[place]
        alone = ListedChain([(date.fromordinal(ordinal), strikes)])
        return np.arange(self._ends[place] - len(alone), self._ends[place]), alone

    def __len__(self) -> int:
        return self._ends[-1]

    @cached_property
    def expiry(self) -> IntArray:
        """Ordinals of the expirations."""
        return np.concatenate([np.full(2 * len(strikes), ordinal, dtype=np.int64) for ordinal, strikes in self._found])

    @cached_property
    def strike(self) -> FloatArray:
        """Strikes, each twice."""
        return np.concatenate([np.repeat(strikes, 2) for _, strikes in self._found])

    @cached_property
    def right(self) -> IntArray:
        """A call and a put, and so on."""
        return np.tile(np.asarray([0, 1], dtype=np.int64), len(self) // 2)


class ListingBook:
    """Listings of one root over the price history of its underlying; strikes once added stay until expiry."""

    def __init__(
        self,
        rule: ListingRule,
        listings: Listings,
        price_range: Callable[[date, int], tuple[float, float] | None],
        days: Callable[[date], tuple[date, ...]] | None = None,
    ) -> None:
        self.rule = rule
        self.listings = listings
        self._days = days
        self._range = price_range
        self._strikes: dict[tuple[int, int], FloatArray] = {}
        self._seen: dict[int, tuple[float, float] | None] = {}

    def expirations(self, day: date) -> tuple[date, ...]:
        """Expirations listed on ``day``."""
        return expirations(self.rule.root, day, self.listings) if self._days is None else self._days(day)

    def strikes(self, day: date, expiry: date) -> FloatArray | None:
        """Strikes of ``expiry`` listed on ``day``, ascending; ``None`` when the expiration is not listed."""
        key = (day.toordinal(), expiry.toordinal())
        known = self._strikes.get(key)
        if known is not None:
            return known
        return self._listed(day, expiry) if self._expires(day, expiry) else None

    def _expires(self, day: date, expiry: date) -> bool:
        if self._days is None:
            return is_expiration(self.rule.root, day, expiry, self.listings)
        return expiry in self._days(day)

    def _listed(self, day: date, expiry: date) -> FloatArray | None:
        """The strikes of one of the day's expirations."""
        key = (day.toordinal(), expiry.toordinal())
        if key in self._strikes:
            return self._strikes[key]
        seen = self._range_of(day)
        if seen is None:
            return None
        if len(self._strikes) > 2000:
            self._strikes.clear()
        made = strikes(self.rule, (expiry - day).days, *seen, weekly=not is_standard(expiry))
        self._strikes[key] = made
        return made

    def _range_of(self, day: date) -> tuple[float, float] | None:
        """What the strikes of ``day`` are listed around; all its expirations share it."""
        key = day.toordinal()
        if key not in self._seen:
            if len(self._seen) > 64:
                self._seen.clear()
            self._seen[key] = self._range(day, 90)
        return self._seen[key]

    def is_listed(self, day: date, expiry: date, strike: float) -> bool:
        """True when the contract can be traded on ``day``."""
        known = self.strikes(day, expiry)
        if known is None:
            return False
        at = int(known.searchsorted(strike - 1e-6))
        return at < len(known) and abs(known.item(at) - strike) < 1e-6

    def chain(self, day: date) -> Chain | None:
        """Every contract listed on ``day``."""
        found = [
            (expiry, strikes) for expiry in self.expirations(day) if (strikes := self._listed(day, expiry)) is not None
        ]
        return ListedChain(found) if found else None

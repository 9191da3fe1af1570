"""Which contracts are listed: expirations and strikes by the exchanges' rules, as arrays.

Cboe rule 4.13 (index and ETF expirations, weeklys, quarterlys, LEAPS), its strike-interval rules 4.5 and 4.13,
and the first listing dates of each product from Cboe's and CME's notices. ``today`` applies the rules of 2024 to
the whole past; ``then`` those of each year.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

import numpy as np

from simulation.market.calendar import FloatArray, IntArray, calendar


class Listings(StrEnum):
    """Whose listing rules apply."""

    TODAY = "today"
    THEN = "then"


@dataclass(frozen=True)
class WeekdayRule:
    """Expirations on one weekday (0 Monday), listed ``horizon`` days ahead, since ``since``."""

    weekday: int
    horizon: int
    since: date


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
    """One option root: its weekly days, how far its monthlies, quarterlies and LEAPS go, and its strikes."""

    root: str
    weekdays: tuple[WeekdayRule, ...]
    month_ends: int
    month_ends_since: date
    monthlies: int  # days ahead that a third Friday is listed
    leaps: int
    bands: tuple[StrikeBand, ...]
    morning: bool = False
    since: date = date(1985, 1, 1)


_DAWN = date(1985, 1, 1)
_INDEX_BANDS = (
    StrikeBand(5.0, 0.14, 0.10, 70),
    StrikeBand(10.0, 0.30, 0.14, 190),
    StrikeBand(25.0, 0.60, 0.40, 1100),
    StrikeBand(100.0, 0.90, 1.50, 2000),
)
_WIDE_INDEX_BANDS = (
    StrikeBand(10.0, 0.12, 0.10, 70),
    StrikeBand(25.0, 0.30, 0.20, 190),
    StrikeBand(100.0, 0.60, 0.40, 1100),
)
_ETF_BANDS = (
    StrikeBand(0.5, 0.03, 0.03, 12),
    StrikeBand(1.0, 0.22, 0.12, 200),
    StrikeBand(5.0, 0.75, 0.60, 1100),
)
_SMALL_ETF_BANDS = (
    StrikeBand(0.5, 0.16, 0.16, 120),
    StrikeBand(1.0, 0.40, 0.35, 400),
    StrikeBand(5.0, 0.60, 0.60, 1100),
)

SPXW = ListingRule(
    root="SPXW",
    weekdays=(
        WeekdayRule(4, 63, date(2010, 12, 2)),
        WeekdayRule(2, 35, date(2016, 2, 23)),
        WeekdayRule(0, 35, date(2016, 8, 15)),
        WeekdayRule(1, 35, date(2022, 4, 18)),
        WeekdayRule(3, 35, date(2022, 5, 11)),
    ),
    month_ends=370,
    month_ends_since=date(2014, 7, 1),
    monthlies=370,
    leaps=0,
    bands=_INDEX_BANDS,
)
NDXP = ListingRule(
    root="NDXP",
    weekdays=(
        WeekdayRule(4, 56, date(2011, 1, 7)),
        WeekdayRule(2, 28, date(2018, 1, 3)),
        WeekdayRule(0, 28, date(2018, 1, 2)),
    ),
    month_ends=0,
    month_ends_since=_DAWN,
    monthlies=190,
    leaps=0,
    bands=_WIDE_INDEX_BANDS,
)
SPX = ListingRule("SPX", (), 0, _DAWN, 370, 1100, _INDEX_BANDS, morning=True)


def share_rule(
    root: str, *, daily_since: date | None, weekly_since: date, bands: tuple[StrikeBand, ...] = _ETF_BANDS
) -> ListingRule:
    """An ETF.

    Friday weeklies, other weekdays where they exist, monthlies for a year and LEAPS each January, June and
    December.
    """
    weekdays = [WeekdayRule(4, 56, weekly_since)]
    if daily_since is not None:
        weekdays += [WeekdayRule(weekday, 14, max(daily_since, since)) for weekday, since in _ETF_DAYS]
    return ListingRule(root, tuple(weekdays), 280, date(2006, 7, 1), 280, 1000, bands)


_ETF_DAYS = ((2, date(2016, 8, 31)), (0, date(2018, 2, 20)), (1, date(2022, 11, 14)), (3, date(2022, 11, 16)))

RULES: dict[str, ListingRule] = {
    "SPXW": SPXW,
    "SPX": SPX,
    "NDXP": NDXP,
    "SPY": share_rule("SPY", daily_since=_DAWN, weekly_since=date(2010, 6, 4)),
    "QQQ": share_rule("QQQ", daily_since=_DAWN, weekly_since=date(2010, 6, 4)),
    "IWM": share_rule("IWM", daily_since=_DAWN, weekly_since=date(2010, 6, 4)),
    "TLT": share_rule("TLT", daily_since=None, weekly_since=date(2010, 9, 3), bands=_SMALL_ETF_BANDS),
    "GLD": share_rule("GLD", daily_since=None, weekly_since=date(2010, 6, 25), bands=_SMALL_ETF_BANDS),
    "USO": share_rule("USO", daily_since=None, weekly_since=date(2010, 6, 25), bands=_SMALL_ETF_BANDS),
    "FXE": share_rule("FXE", daily_since=None, weekly_since=date(2011, 6, 3), bands=_SMALL_ETF_BANDS),
}


def third_friday(year: int, month: int) -> date:
    """The third Friday, or the trading day before it when the exchange is closed."""
    first = date(year, month, 1)
    return calendar().on_or_before(first + timedelta(days=(4 - first.weekday()) % 7 + 14))


@lru_cache(maxsize=64)
def _third_fridays() -> frozenset[date]:
    return frozenset(third_friday(year, month) for year in range(1986, 2045) for month in range(1, 13))


@lru_cache(maxsize=1)
def _month_ends() -> frozenset[date]:
    return frozenset(
        calendar().on_or_before(date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1))
        for year in range(1986, 2045)
        for month in range(1, 13)
    )


def first_listed(rule: ListingRule, expiry: date, listings: Listings) -> date | None:
    """The day from which ``expiry`` is listed under ``rule``; ``None`` when the rule has no such expiration."""
    candidates: list[date] = []
    then = listings is Listings.THEN
    for weekday in rule.weekdays:
        nominal = expiry + timedelta(days=(weekday.weekday - expiry.weekday()) % 7)
        if calendar().on_or_before(nominal) == expiry and (not then or expiry >= weekday.since):
            candidates.append(max(expiry - timedelta(days=weekday.horizon), weekday.since if then else _DAWN))
    if rule.month_ends and expiry in _month_ends() and (not then or expiry >= rule.month_ends_since):
        candidates.append(
            expiry - timedelta(days=rule.month_ends if expiry.month % 3 == 0 else min(rule.month_ends, 190))
        )
    if expiry in _third_fridays():
        if rule.monthlies:
            candidates.append(expiry - timedelta(days=rule.monthlies))
        if rule.leaps and expiry.month in (1, 6, 12):
            candidates.append(expiry - timedelta(days=rule.leaps))
    return min(candidates) if candidates else None


@lru_cache(maxsize=256)
def expirations(root: str, day: date, listings: Listings) -> tuple[date, ...]:
    """Expirations of ``root`` listed on ``day``, ascending.

    ``day`` itself included when it is one (except morning-settled).
    """
    rule = RULES[root]
    if listings is Listings.THEN and day < rule.since:
        return ()
    horizon = max(rule.leaps, rule.monthlies, 63)
    found = []
    for expiry in calendar().between(day, min(day + timedelta(days=horizon), date(2044, 12, 31))):
        since = _first_listed(root, expiry, listings)
        if since is not None and since <= day and not (rule.morning and expiry == day):
            found.append(expiry)
    return tuple(found)


@lru_cache(maxsize=8192)
def _first_listed(root: str, expiry: date, listings: Listings) -> date | None:
    return first_listed(RULES[root], expiry, listings)


def strikes(rule: ListingRule, term: int, low: float, high: float) -> FloatArray:
    """Strikes listed for ``term`` calendar days when closes since the listing lie between ``low`` and ``high``."""
    pieces = []
    for band in rule.bands:
        if term > band.longest:
            continue
        bottom = np.ceil(low * (1.0 - band.below) / band.step)
        top = np.floor(high * (1.0 + band.above) / band.step)
        pieces.append(np.arange(max(bottom, 1.0), top + 1.0) * band.step)
    return np.asarray(np.unique(np.round(np.concatenate(pieces), 4)))


@dataclass(frozen=True)
class Chain:
    """A day's listing as arrays, sorted by expiry, strike and right (0 call, 1 put)."""

    expiry: IntArray
    strike: FloatArray
    right: IntArray


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

    def expirations(self, day: date) -> tuple[date, ...]:
        """Expirations listed on ``day``."""
        return expirations(self.rule.root, day, self.listings) if self._days is None else self._days(day)

    def strikes(self, day: date, expiry: date) -> FloatArray | None:
        """Strikes of ``expiry`` listed on ``day``, ascending; ``None`` when the expiration is not listed."""
        key = (day.toordinal(), expiry.toordinal())
        known = self._strikes.get(key)
        if known is not None:
            return known
        if expiry not in self.expirations(day):
            return None
        seen = self._range(day, 90)
        if seen is None:
            return None
        if len(self._strikes) > 2000:
            self._strikes.clear()
        made = self._strikes[key] = strikes(self.rule, (expiry - day).days, *seen)
        return made

    def is_listed(self, day: date, expiry: date, strike: float) -> bool:
        """True when the contract can be traded on ``day``."""
        known = self.strikes(day, expiry)
        if known is None:
            return False
        at = int(np.searchsorted(known, strike - 1e-6))
        return at < len(known) and abs(float(known[at]) - strike) < 1e-6

    def chain(self, day: date) -> Chain | None:
        """Every contract listed on ``day``."""
        found = [
            (expiry, strikes) for expiry in self.expirations(day) if (strikes := self.strikes(day, expiry)) is not None
        ]
        if not found:
            return None
        expiry = np.concatenate(
            [np.full(2 * len(strikes), expiry.toordinal(), dtype=np.int64) for expiry, strikes in found]
        )
        strike = np.concatenate([np.repeat(strikes, 2) for _, strikes in found])
        right = np.tile(np.asarray([0, 1], dtype=np.int64), len(strike) // 2)
        return Chain(expiry, strike, right)

"""Trading days, session lengths and the market's own clock, in which variance passes evenly.

The days come from the exchange's published holiday rules (`core.clock`) instead of a table, so that expirations
years ahead fall on real trading days. Variance does not pass evenly in calendar time: a session holds most of it, in a
U over the day (Wood, McInish and Ord, 1985), and a weekend adds little to a night (French and Roll, 1986: the variance
from Friday's close to Monday's is 1.107 times that of a weekday).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from core.clock import closing_time, is_trading_day

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEW_YORK = ZoneInfo("America/New_York")
FIRST_YEAR, LAST_YEAR = 1985, 2045
FULL_SESSION = 390
HALF_SESSION = 210
OPEN_MINUTE = 9 * 60 + 30
WEIGHT_OF_YEAR = 261.7  # weights of an average year: 252 days, and what weekends, holidays and announcements add
CLOSED_DAY_WEIGHT = 0.0535  # a weekend's two closed days add 10.7 % of a day's variance (French and Roll)
HALF_DAY_WEIGHT = 0.6
STATEMENT_MINUTE = 270  # 14:00, when the Federal Reserve publishes its statement
DEARER_SINCE = 2022  # the year in which inflation, and with it each release, began to move prices


@dataclass(frozen=True)
class EventWeights:
    """What announcements add to a day, in days of variance.

    The employment report and consumer prices at 8:30, before the open; the Federal Reserve's statement in the hour
    and a half after 14:00.
    """

    payroll: float
    prices: float
    statement: float


# Employment: Savor and Wilson (2013, table 1); statement: stated. Consumer prices moved the S&P 500 of 2016 to 2021 no
# more than other days did (0.7 to 0.8 of their squared move over the VIX squared).
USUAL_EVENTS = EventWeights(0.25, 0.0, 0.30)
# Cboe's VIX1D squared on the evening before, 2022 to 2026, over that of other evenings, both over the VIX squared:
# 1.51, 1.75 and 1.63. The squared moves that followed, likewise: 1.73, 1.86 and 1.92.
DEAR_EVENTS = EventWeights(0.50, 0.75, 0.60)


def event_weights(year: int) -> EventWeights:
    """What announcements of ``year`` add to their days."""
    return DEAR_EVENTS if year >= DEARER_SINCE else USUAL_EVENTS


_STATEMENTS = """
2014 0129 0319 0430 0618 0730 0917 1029 1217  2015 0128 0318 0429 0617 0729 0917 1028 1216
2016 0127 0316 0427 0615 0727 0921 1102 1214  2017 0201 0315 0503 0614 0726 0920 1101 1213
2018 0131 0321 0502 0613 0801 0926 1108 1219  2019 0130 0320 0501 0619 0731 0918 1030 1211
2020 0129 0429 0610 0729 0916 1105 1216       2021 0127 0317 0428 0616 0728 0922 1103 1215
2022 0126 0316 0504 0615 0727 0921 1102 1214  2023 0201 0322 0503 0614 0726 0920 1101 1213
2024 0131 0320 0501 0612 0731 0918 1107 1218  2025 0129 0319 0507 0618 0730 0917 1029 1210
2026 0128 0318 0429 0617 0729 0916 1028 1209  2027 0127 0317 0428 0609 0728 0915 1027 1208
"""  # scheduled meetings that ended with a statement (federalreserve.gov, FOMC calendars)
_CONSUMER_PRICES = """
2022 0112 0210 0310 0412 0511 0610 0713 0810 0913 1013 1110 1213
2023 0112 0214 0314 0412 0510 0613 0712 0810 0913 1012 1114 1212
2024 0111 0213 0312 0410 0515 0612 0711 0814 0911 1010 1113 1211
2025 0115 0212 0312 0410 0513 0611 0715 0812 0911 1024 1218
2026 0113 0213 0311 0410 0512 0610 0714 0812 0911 1014 1110 1210
"""  # releases of the consumer price index (bls.gov, schedule of releases); October 2025 was never published


def _ordinals(table: str) -> frozenset[int]:
    """Ordinals of a table of years, each followed by its days as month and day."""
    found = set()
    year = 0
    for word in table.split():
        number = int(word)
        if number > 2000:
            year = number
        else:
            found.add(date(year, number // 100, number % 100).toordinal())
    return frozenset(found)


@lru_cache(maxsize=1)
def statement_days() -> frozenset[int]:
    """Ordinals of the days on which a scheduled statement of the Federal Reserve came out, 2014 to 2027."""
    return _ordinals(_STATEMENTS)


@lru_cache(maxsize=1)
def consumer_price_days() -> frozenset[int]:
    """Ordinals of the days on which the consumer price index came out, 2022 to 2026: earlier ones moved nothing."""
    return _ordinals(_CONSUMER_PRICES)


@dataclass(frozen=True)
class Calendar:
    """Every trading day from 1985 to 2045 as ordinals, with session lengths and cumulative variance weights.

    ``gap[i]`` is what passes between the close of day i - 1 and the open of day i, ``session[i]`` what passes in
    the session, both relative to one weekday from close to close; ``cumulative[i]`` is their running sum at the
    close of day i. ``morning_news`` is what releases at 8:30 add to a day's gap, ``statements`` what the Federal
    Reserve's adds to its session.
    """

    ordinals: IntArray
    minutes: IntArray
    closed_days: IntArray
    morning_news: FloatArray
    statements: FloatArray

    @cached_property
    def _listed(self) -> list[int]:
        """The ordinals as a list: looking up one day is ten times as quick as in an array."""
        return [int(ordinal) for ordinal in self.ordinals]

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {ordinal: position for position, ordinal in enumerate(self._listed)}

    def index(self, day: date) -> int:
        """Position of ``day``; raises ValueError with the nearest trading days when the exchange is closed."""
        position = self._positions.get(day.toordinal())
        if position is None:
            raise ValueError(f"day: {day} is not a trading day; the next one is {self.on_or_after(day)}")
        return position

    def is_open(self, day: date) -> bool:
        """True when the exchange has a session on ``day``."""
        return day.toordinal() in self._positions

    def on_or_after(self, day: date) -> date:
        """The first trading day at or after ``day``."""
        return date.fromordinal(self._listed[bisect_left(self._listed, day.toordinal())])

    def on_or_before(self, day: date) -> date:
        """The last trading day at or before ``day``."""
        return date.fromordinal(self._listed[bisect_right(self._listed, day.toordinal()) - 1])

    def between(self, start: date, end: date) -> list[date]:
        """Trading days from ``start`` to ``end``, both included."""
        low, high = np.searchsorted(self.ordinals, [start.toordinal(), end.toordinal() + 1])
        return [date.fromordinal(int(ordinal)) for ordinal in self.ordinals[low:high]]

    def session_minutes(self, day: date) -> int:
        """Minutes of the regular session: 390, or 210 on a half day (until 1992: 270)."""
        return int(self.minutes[self.index(day)])


@lru_cache(maxsize=1)
def calendar() -> Calendar:
    """The one calendar, computed at first use."""
    ordinals: list[int] = []
    minutes: list[int] = []
    for ordinal in range(date(FIRST_YEAR, 1, 1).toordinal(), date(LAST_YEAR, 12, 31).toordinal() + 1):
        day = date.fromordinal(ordinal)
        if is_trading_day(day):
            close = closing_time(day)
            ordinals.append(ordinal)
            minutes.append(close.hour * 60 + close.minute - OPEN_MINUTE)
    numbers = np.asarray(ordinals, dtype=np.int64)
    gaps = np.diff(numbers, prepend=numbers[0] - 1) - 1
    weekday = (numbers - 1) % 7
    dates = [date.fromordinal(n) for n in ordinals]
    weights = [event_weights(day.year) for day in dates]
    jobs = (weekday == 4) & (np.asarray([day.day for day in dates]) <= 7)
    news = np.where(jobs, [weight.payroll for weight in weights], 0.0)
    news += np.where(np.isin(numbers, list(consumer_price_days())), [weight.prices for weight in weights], 0.0)
    spoken = np.where(np.isin(numbers, list(statement_days())), [weight.statement for weight in weights], 0.0)
    return Calendar(numbers, np.asarray(minutes, dtype=np.int64), gaps, news, spoken)


@dataclass(frozen=True)
class Profile:
    """How the variance of a day is spread: overnight, in the catch-up of the first minutes.

    And in the U of the session.

    ``overnight`` is the share of close-to-close variance that a data source shows before its first print;
    ``opening`` the share that its first ``opening_minutes`` carry on top of the U. A cash index prints its first
    value from yesterday's prices, so that most of the night's move appears in the first minutes after the open; a
    share's first print already holds it. ``shared`` is twice the covariance of gap and session, which go the same way
    where the first print is late: the session moves by that much less than a day without its gap, and options that are
    bought after the open do not pay for it.
    """

    overnight: float
    opening: float
    opening_minutes: int = 10
    shared: float = 0.0

    @property
    def unseen(self) -> float:
        """Share of the night that the first print does not show: all of it where a share's shows a third of a day."""
        return min(max((0.33 - self.overnight) / 0.25, 0.0), 1.0)


# arch S&P 500, 2014 to 2018: 0.083 of close-to-close variance before the first print. What its first half hour holds
# was set by what is left to the close at 10:00 and at 11:00, and by SPY's first half hour, 0.149 of a day's variance.
CASH_INDEX = Profile(overnight=0.08, opening=0.09, shared=0.09)
TRADED_SHARE = Profile(overnight=0.33, opening=0.05)  # SPY, 1998 to 2021: 0.37; the rest is the first minutes


@lru_cache(maxsize=16)
@lru_cache(maxsize=32)
def session_weights(minutes: int, profile: Profile) -> FloatArray:
    """Variance weight of each minute of a session, summing to what the session holds of one weekday.

    Shared by all who ask: it cannot be written to.

    The U: the first half hour has about two and a half times the variance of noon, the last half hour nearly twice
    (Wood, McInish and Ord, 1985; Andersen and Bollerslev, 1997, figure 2); by 11:00 the morning's share is over.
    """
    position = (np.arange(minutes) + 0.5) / minutes
    u_shape = 1.0 + 3.0 * np.exp(-position * 18.0) + 1.1 * np.exp(-(1.0 - position) * 9.0)
    part = HALF_DAY_WEIGHT if minutes < FULL_SESSION else 1.0
    weights = u_shape / u_shape.sum() * (1.0 - profile.overnight - profile.shared - profile.opening) * part
    decay = np.exp(-np.arange(minutes) / (profile.opening_minutes / 3.0))
    weights += decay / decay.sum() * profile.opening
    weights.flags.writeable = False
    return np.asarray(weights, dtype=np.float64)


def weights_of(day: date, profile: Profile) -> FloatArray:
    """Variance weight of each minute of ``day``: the session's U, and the statement's on days that have one."""
    minutes = calendar().session_minutes(day)
    weights = session_weights(minutes, profile)
    if day.toordinal() not in statement_days() or minutes <= STATEMENT_MINUTE:
        return weights
    after = np.maximum(np.arange(minutes) - STATEMENT_MINUTE, 0.0)
    stir = np.where(np.arange(minutes) >= STATEMENT_MINUTE, np.exp(-after / 25.0), 0.0)
    return np.asarray(weights + event_weights(day.year).statement * stir / stir.sum())


def settlement_weights() -> FloatArray:
    """What each of the first ten minutes counts in an opening settlement: members open one after the other."""
    weights = np.exp(-np.arange(1, 11) / 3.0)
    return np.asarray(weights / weights.sum())


def settled_share(weights: FloatArray) -> float:
    """Of a session's minutes what the opening settlement, a mean over the first ten, still moves with."""
    later = np.cumsum(settlement_weights()[::-1])[::-1]
    return float(np.sum(weights[: len(later)] * later**2))


@dataclass(frozen=True)
class VarianceClock:
    """Time as variance sees it, in years, for one profile of the day."""

    profile: Profile

    def cumulative(self) -> FloatArray:
        """Weight passed at each trading day's close since the calendar's first day."""
        return _cumulative(self.profile)

    def remaining_today(self, day: date) -> FloatArray:
        """Years of variance time from each minute's end (0 is the open) to this day's close; minutes + 1 values."""
        return _remaining(day, self.profile)

    def after_today(self, day: date, expiry: date, *, morning: bool) -> float:
        """Years of variance time from this day's close to the expiry's close.

        Or to its open when settled in the ``morning``.
        """
        days = calendar()
        start, end = days.index(day), days.index(days.on_or_before(expiry))
        passed = self.cumulative()
        total = float(passed[end] - passed[start])
        if morning:
            weights = weights_of(days.on_or_before(expiry), self.profile)
            total -= float(weights.sum()) - settled_share(weights)
        return total / WEIGHT_OF_YEAR


@lru_cache(maxsize=64)
def _remaining(day: date, profile: Profile) -> FloatArray:
    """A day's, shared by all underlyings of a profile: it cannot be written to."""
    weights = weights_of(day, profile)
    remaining = np.concatenate((np.cumsum(weights[::-1])[::-1], [0.0])) / WEIGHT_OF_YEAR
    remaining.flags.writeable = False
    return np.asarray(remaining)


@lru_cache(maxsize=8)
def _cumulative(profile: Profile) -> FloatArray:
    days = calendar()
    full = float(session_weights(FULL_SESSION, profile).sum())
    half = float(session_weights(HALF_SESSION, profile).sum())
    session = np.where(days.minutes == FULL_SESSION, full, half)
    session = session + days.statements
    gap = profile.overnight + profile.shared + CLOSED_DAY_WEIGHT * days.closed_days + days.morning_news
    return np.asarray(np.cumsum(session + gap), dtype=np.float64)


@lru_cache(maxsize=4096)
def session_open_utc(day: date) -> int:
    """The session's open, 9:30 New York, in UTC milliseconds."""
    opened = datetime(day.year, day.month, day.day, OPEN_MINUTE // 60, OPEN_MINUTE % 60, tzinfo=NEW_YORK)
    return int(opened.timestamp()) * 1000

"""The calendar of events: sessions, half days, option expirations and the announcements that settings name.

And the days on which shares are likely to go ex, by those on which they did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Final

from core.clock import FRIDAY, nth_weekday
from core.factory import Manager
from core.gateway import Dividend, Gateway, HistoryError, Session
from core.settings.fields import MarketSettings

WEDNESDAY = 2
TUESDAY = 1


class MarketEvent(StrEnum):
    """Announcements and dates that strategies may look at."""

    FOMC = "fomc"
    INFLATION = "inflation"
    JOBS = "jobs"
    MONTHLY_EXPIRY = "monthly_expiry"
    HALF_DAY = "half_day"


class EventCalendar(Manager):
    """Answers from the exchange's hours and from the settings' dates."""

    def __init__(self, gateway: Gateway, settings: MarketSettings) -> None:
        self._gateway = gateway
        self._settings = settings

    def session(self, day: date) -> Session | None:
        """Regular hours of a day; ``None`` when closed."""
        return self._gateway.session(day)

    def previous_session(self, day: date) -> Session:
        """The last session before a day. Raises ValueError when none was within two weeks."""
        for back in range(1, 15):
            session = self.session(day - timedelta(days=back))
            if session is not None:
                return session
        raise ValueError(f"calendar: no session within two weeks before {day}; expected exchange hours that go back")

    def next_session(self, day: date) -> Session:
        """The first session after a day. Raises ValueError when none comes within two weeks."""
        for ahead in range(1, 15):
            session = self.session(day + timedelta(days=ahead))
            if session is not None:
                return session
        raise ValueError(f"calendar: no session within two weeks after {day}; expected exchange hours that go on")

    def events(self, day: date) -> frozenset[MarketEvent]:
        """What happens on a day."""
        found = set()
        if day in self._settings.fomc_dates:
            found.add(MarketEvent.FOMC)
        if day in self._settings.inflation_dates:
            found.add(MarketEvent.INFLATION)
        if day in self._settings.jobs_dates:
            found.add(MarketEvent.JOBS)
        if day == self.monthly_expiry(day):
            found.add(MarketEvent.MONTHLY_EXPIRY)
        session = self.session(day)
        if session is not None and session.is_half_day:
            found.add(MarketEvent.HALF_DAY)
        return frozenset(found)

    def monthly_expiry(self, month: date) -> date:
        """The monthly expiry of a day's month: the third Friday, or the last session before when that is a holiday.

        By the exchange's own hours, which know a closing that no rule foresees. Raises ValueError when that whole week
        is closed.
        """
        third = nth_weekday(month.year, month.month, FRIDAY, 3)
        for back in range(5):
            day = third - timedelta(days=back)
            if self.session(day) is not None:
                return day
        raise ValueError(f"calendar: no session in the week up to {third}; expected exchange hours that go on")


_QUARTERS: Final = (3, 6, 9, 12)


def ends_a_quarter(day: date) -> bool:
    """Whether a day is the third Friday of a quarter's last month, or the Monday after it: where SPY goes ex."""
    friday = day - timedelta(days=3) if day.weekday() == 0 else day
    return friday.weekday() == FRIDAY and friday.month in _QUARTERS and 15 <= friday.day <= 21


_LOOKED_BACK: Final = 400
"""Days: the same dividend of the year before, and a month more."""
_LATE: Final = 1.5
"""Times the usual gap after which one that has not come is not to be expected, or its file has ended."""
_MOST_APART: Final = 10
_DAYS_OF_A_YEAR: Final = 365


class DividendDays:
    """What shares are likely to pay, and when they go ex, by what they paid.

    A factor file tells of what was paid, and an engine tells no more of it than was known on the day, so what comes is
    estimated. Its month is one in which the shares went ex the year before, or the last one and the usual gap later.
    Its day stands there as the last one stood in its own: the same weekday of the month (the third Friday), the same
    session from its beginning, or from its end, whichever told the ones before best; and as far as that missed them,
    in sessions, each day around it may be it. Its amount: the last one or that of the year before, the larger.
    """

    def __init__(self, gateway: Gateway, calendar: EventCalendar) -> None:
        self._gateway = gateway
        self._calendar = calendar
        self._known: dict[str, tuple[date, tuple[Dividend, ...]]] = {}
        self._worked_out: dict[str, tuple[date, tuple[Dividend, ...], float | None]] = {}

    def due(self, ticker: str, day: date) -> float | None:
        """Dollars a share that may go ex on a day to come; 0 for none, ``None`` where too little is known of any.

        Asked each minute of a session's last hour: worked out once for a day and what is known of payments.
        """
        paid, known = self._paid(ticker), self._worked_out.get(ticker)
        if known is None or known[0] != day or known[1] is not paid:
            known = self._worked_out[ticker] = day, paid, self._estimate(paid, day)
        return known[2]

    def _estimate(self, paid: tuple[Dividend, ...], day: date) -> float | None:
        gap = median((after.day - before.day).days for before, after in pairwise(paid)) if len(paid) > 1 else None
        if gap is None or (day - paid[-1].day).days > _LATE * gap:
            return None
        apart, predict = self._rule(paid)
        months = {row.day.month for row in paid} | {(paid[-1].day + timedelta(days=gap)).month}
        around = (day - timedelta(days=_MOST_APART), day, day + timedelta(days=_MOST_APART))
        likely = {predict(near) for near in around if near.month in months}
        again = (day - paid[-1].day).days >= gap / 2
        comes = again and any(self._sessions_apart(day, one) <= apart for one in likely)
        before = min(paid, key=lambda row: abs((day - row.day).days - _DAYS_OF_A_YEAR))
        return max(paid[-1].amount, before.amount) if comes else 0.0

    def _paid(self, ticker: str) -> tuple[Dividend, ...]:
        """What was paid up to today, oldest first; asked for once a day, and nothing where the engine fails to tell."""
        today = self._gateway.now().date()
        if ticker not in self._known or self._known[ticker][0] != today:
            try:
                rows = self._gateway.dividends(ticker, _LOOKED_BACK)
            except HistoryError:
                rows = ()
            self._known[ticker] = today, tuple(sorted(rows, key=lambda row: row.day))
        return self._known[ticker][1]

    def _rule(self, paid: Sequence[Dividend]) -> tuple[int, Callable[[date], date]]:
        """By which place in its month the last day tells the others best, and by how many sessions it misses them."""
        last = paid[-1].day
        sessions = self._sessions_of(last)
        from_start, from_end = sum(row < last for row in sessions), sum(row > last for row in sessions)

        def weekday(month: date) -> date:
            return nth_weekday(month.year, month.month, last.weekday(), (last.day - 1) // 7 + 1)

        def start(month: date) -> date:
            return (rows := self._sessions_of(month))[min(from_start, len(rows) - 1)]

        def end(month: date) -> date:
            return (rows := self._sessions_of(month))[-1 - min(from_end, len(rows) - 1)]

        misses = [
            (max(self._sessions_apart(row.day, rule(row.day)) for row in paid), number, rule)
            for number, rule in enumerate((weekday, start, end))
        ]
        apart, _, best = min(misses, key=lambda row: row[:2])
        return min(apart, _MOST_APART // 2), best

    def _sessions_of(self, month: date) -> list[date]:
        days = (month.replace(day=1) + timedelta(days=count) for count in range(31))
        return [day for day in days if day.month == month.month and self._calendar.session(day) is not None]

    def _sessions_apart(self, one: date, other: date) -> int:
        first, last = min(one, other), max(one, other)
        days = (first + timedelta(days=count + 1) for count in range((last - first).days))
        return sum(self._calendar.session(day) is not None for day in days)

"""The calendar of events: sessions, half days, option expirations and the announcements that settings name."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from core.clock import FRIDAY, nth_weekday
from core.factory import Manager
from core.gateway import Gateway, Session
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

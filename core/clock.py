"""The one clock of the system, and the days of the New York exchanges.

The clock is market time, moved by main.py and read by everybody.

Days: holidays, early closes and monthly expirations, by rule for any year. One calendar for the whole project: the
Greeks' time to expiry, the modelled market and the hours that it is written with all ask here. Held in the tests
against `exchange_calendars` from 1990 to 2030. A running engine's own exchange hours decide when there is trade
(`core.gateway.Gateway.session`); this module knows days that lie outside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

_NEW_YORK = ZoneInfo("America/New_York")
AUTUMN_CHANGE = timedelta(hours=1)


class ClockWentBackError(ValueError):
    """Market time was moved to before what it was."""


class MarketClock:
    """Holds the market time, naive New York; never the wall clock, so that a backtest and its repetition agree."""

    __slots__ = ("_now",)

    def __init__(self, start: datetime) -> None:
        _check_naive(start)
        self._now = start

    def now(self) -> datetime:
        """Market time, naive New York."""
        return self._now

    def advance(self, time: datetime) -> None:
        """Move to ``time``.

        New York's clock goes back one hour once a year, so that much is accepted. Raises ``ClockWentBackError``.
        """
        now = self._now
        if time < now:
            _check_naive(time)
            if now - time > AUTUMN_CHANGE:
                raise ClockWentBackError(f"time: {time} is before {now}; expected the same moment or a later one")
        self._now = time


def _check_naive(time: datetime) -> None:
    if time.tzinfo is not None:
        raise ValueError(f"time: {time} carries a zone; expected naive New York time")


CLOSE = time(16, 0)
EARLY_CLOSE = time(13, 0)
EARLY_CLOSE_UNTIL_1992 = time(14, 0)
MONDAY, THURSDAY, FRIDAY = 0, 3, 4
SATURDAY, SUNDAY = 5, 6

# Storms, funerals of presidents and September 2001 (NYSE, holidays and special closings).
_SPECIAL_CLOSURES = frozenset(
    {
        date(1985, 9, 27),
        date(1994, 4, 27),
        *(date(2001, 9, day) for day in (11, 12, 13, 14)),
        date(2004, 6, 11),
        date(2007, 1, 2),
        date(2012, 10, 29),
        date(2012, 10, 30),
        date(2018, 12, 5),
        date(2025, 1, 9),
    }
)
# The Fridays after a Thursday's Christmas, and the last day of 1999.
_SPECIAL_EARLY_CLOSES = frozenset({date(1997, 12, 26), date(1999, 12, 31), date(2003, 12, 26)})


def nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """The nth weekday (Monday is 0) of a month; ``nth`` counts from 1."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=last.weekday())


def _easter(year: int) -> date:
    """Gregorian Easter Sunday (the anonymous algorithm of 1876, in Meeus, Astronomical Algorithms, chapter 8)."""
    golden, (century, rest) = year % 19, divmod(year, 100)
    leaps, cycle = divmod(century, 4)
    moon = (8 * century + 13) // 25
    epact = (19 * golden + century - leaps - moon + 15) % 30
    quarters, odd = divmod(rest, 4)
    weekday = (32 + 2 * cycle + 2 * quarters - epact - odd) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


def _observed(day: date) -> date | None:
    """The weekday on which a fixed holiday closes the exchange; a Saturday's New Year's Day closes nothing."""
    if day.weekday() == SATURDAY:
        return None if (day.month, day.day) == (1, 1) else day - timedelta(days=1)
    return day + timedelta(days=1) if day.weekday() == SUNDAY else day


@lru_cache(maxsize=256)
def holidays(year: int) -> frozenset[date]:
    """Weekdays of ``year`` on which the exchanges do not open (NYSE rule 7.2), special closures included."""
    days = [
        _observed(date(year, 1, 1)),
        nth_weekday(year, 2, MONDAY, 3),
        _easter(year) - timedelta(days=2),
        _last_monday_of_may(year),
        _observed(date(year, 7, 4)),
        nth_weekday(year, 9, MONDAY, 1),
        nth_weekday(year, 11, THURSDAY, 4),
        _observed(date(year, 12, 25)),
    ]
    if year >= 1998:
        days.append(nth_weekday(year, 1, MONDAY, 3))
    if year >= 2022:
        days.append(_observed(date(year, 6, 19)))
    return frozenset(day for day in days if day is not None) | {day for day in _SPECIAL_CLOSURES if day.year == year}


@lru_cache(maxsize=256)
def early_closes(year: int) -> Mapping[date, time]:
    """Half days of ``year`` and the New York time at which each closes, ascending.

    The Friday after Thanksgiving since 1992, Christmas Eve, and the day beside a weekday's Independence Day since 1995:
    the one before it, but after a Thursday's the Friday, until 2013 made that the Wednesday.
    """
    days = [day for day in _SPECIAL_EARLY_CLOSES if day.year == year]
    if year >= 1992:
        days.append(nth_weekday(year, 11, THURSDAY, 4) + timedelta(days=1))
    if date(year, 12, 24).weekday() < FRIDAY:
        days.append(date(year, 12, 24))
    weekday = date(year, 7, 4).weekday()
    if year >= 1995 and MONDAY < weekday <= FRIDAY:
        days.append(date(year, 7, 5 if weekday == THURSDAY and year < 2013 else 3))
    close = EARLY_CLOSE if year >= 1993 else EARLY_CLOSE_UNTIL_1992
    return MappingProxyType(dict.fromkeys(sorted(days), close))


def is_trading_day(day: date) -> bool:
    """Whether the exchanges open on ``day``."""
    return day.weekday() < SATURDAY and day not in holidays(day.year)


def closing_time(day: date) -> time:
    """New York time at which the regular session of a trading day ends."""
    return early_closes(day.year).get(day, CLOSE)


def on_or_before(day: date) -> date:
    """The last trading day at or before ``day``."""
    while not is_trading_day(day):
        day -= timedelta(days=1)
    return day


def monthly_expiry(year: int, month: int) -> date:
    """The third Friday of a month, or the last trading day before it when that Friday is a holiday of any name.

    Good Friday (April 17, 2014) is not the only one: Juneteenth makes it Thursday, June 18, 2026 and June 17, 2027.
    """
    return on_or_before(nth_weekday(year, month, FRIDAY, 3))


def in_new_york(zone: ZoneInfo, moment: datetime) -> datetime:
    """Naive New York time of a naive moment in an exchange's zone."""
    return plain(plain(moment).replace(tzinfo=zone).astimezone(_NEW_YORK))


def whole_minutes(span: timedelta) -> timedelta:
    """The nearest span of whole minutes."""
    return timedelta(minutes=round(span.total_seconds() / 60))


def plain(moment: datetime) -> datetime:
    """A plain naive datetime from LEAN's tolerant subclass or one with a zone, without microseconds of rounding."""
    if type(moment) is datetime and not moment.microsecond and moment.tzinfo is None:
        return moment
    whole = datetime(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return whole + timedelta(0)

"""Time inside the engine: integer UTC milliseconds, and their conversion to and from a zone's naive local time."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
EPOCH = datetime(1970, 1, 1)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
FOREVER = 1 << 62


def _naive(naive_ms: int) -> datetime:
    """The naive time so many milliseconds after 1970: by the C library where it can, in a third of the time."""
    if naive_ms < 0:
        return EPOCH + timedelta(milliseconds=naive_ms)
    return datetime.utcfromtimestamp(naive_ms / 1000)


class Zone:
    """A time zone that converts UTC milliseconds to local naive datetimes and back, with the offset of each day
    remembered."""

    __slots__ = ("_midnights", "_newest", "_offsets", "info", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.info = ZoneInfo(name)
        self._offsets: dict[int, int | None] = {}
        self._midnights: dict[date, int] = {}
        self._newest: tuple[int, datetime] = (0, EPOCH + timedelta(milliseconds=self.offset_ms(0)))

    def offset_ms(self, utc_ms: int) -> int:
        """Milliseconds to add to UTC at this instant."""
        day = utc_ms // DAY_MS
        try:
            offset = self._offsets[day]
        except KeyError:
            first = self._ask(day * DAY_MS)
            offset = first if first == self._ask((day + 1) * DAY_MS - 1) else None
            self._offsets[day] = offset
        return self._ask(utc_ms) if offset is None else offset

    def _ask(self, utc_ms: int) -> int:
        moment = (EPOCH + timedelta(milliseconds=utc_ms)).replace(tzinfo=timezone.utc)  # noqa: UP017 - stubs know it
        offset = moment.astimezone(self.info).utcoffset()
        assert offset is not None
        return int(offset.total_seconds()) * 1000

    def local(self, utc_ms: int) -> datetime:
        """The naive local time of an instant."""
        newest = self._newest
        if newest[0] != utc_ms:  # all who ask within a step ask for the one instant
            newest = self._newest = (utc_ms, _naive(utc_ms + self.offset_ms(utc_ms)))
        return newest[1]

    def utc_ms(self, local: datetime) -> int:
        """The instant of a naive local time; in the hour that occurs twice the first is meant."""
        naive_ms = naive_milliseconds(local)
        guess = naive_ms - self.offset_ms(naive_ms)
        corrected = naive_ms - self.offset_ms(guess)
        return corrected

    def date_of(self, utc_ms: int) -> date:
        """The local calendar date of an instant."""
        return date.fromordinal(_EPOCH_ORDINAL + (utc_ms + self.offset_ms(utc_ms)) // DAY_MS)

    def midnight_ms(self, day: date) -> int:
        """The instant at which a local calendar date begins."""
        known = self._midnights.get(day)
        if known is None:
            known = self._midnights[day] = self.utc_ms(datetime(day.year, day.month, day.day))
        return known


@lru_cache(maxsize=64)
def zone_named(name: str) -> Zone:
    """The one Zone object of a name (`America/New_York`)."""
    return Zone(name)


def zone_of(value: object) -> Zone:
    """A Zone from a Zone, a ZoneInfo, a name, or anything whose str() is a zone name."""
    if isinstance(value, Zone):
        return value
    if isinstance(value, ZoneInfo):
        return zone_named(value.key)
    return zone_named(str(value))


def naive_milliseconds(moment: datetime) -> int:
    """Milliseconds of a naive datetime as if it were UTC."""
    delta = moment.replace(tzinfo=None) - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def utc_datetime(utc_ms: int) -> datetime:
    """An instant as LEAN's Python shows it: an aware datetime in UTC."""
    return (EPOCH + timedelta(milliseconds=utc_ms)).replace(tzinfo=timezone.utc)  # noqa: UP017


NEW_YORK = zone_named("America/New_York")
CHICAGO = zone_named("America/Chicago")
UTC = zone_named("UTC")

"""Trading hours of a security, with LEAN's questions and answers, and the day's sessions in UTC milliseconds.

Sources: Common/Securities/SecurityExchangeHours.cs, LocalMarketHours.cs, MarketHoursSegment.cs.
Local times are naive datetimes in the exchange's zone; times of day are timedeltas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, overload
from zoneinfo import ZoneInfo

from simulation.lean.clock import zone_of
from simulation.lean.enums import DayOfWeek, MarketHoursState
from simulation.lean.names import Named

DAY = timedelta(days=1)
MIDNIGHT = timedelta(0)
_INSTANT = timedelta(microseconds=1)
_SEARCH_DAYS = 15
_LOOK_BACK_DAYS = 9


class MarketHoursSegment(Named):
    """A stretch of a day in one state: [start, end)."""

    __slots__ = ("end", "start", "state")

    def __init__(self, state: MarketHoursState, start: timedelta, end: timedelta) -> None:
        self.state = state
        self.start = start
        self.end = end

    @staticmethod
    def open_all_day() -> MarketHoursSegment:
        """Open from midnight to midnight."""
        return MarketHoursSegment(MarketHoursState.MARKET, MIDNIGHT, DAY)

    @staticmethod
    def closed_all_day() -> MarketHoursSegment:
        """Closed from midnight to midnight."""
        return MarketHoursSegment(MarketHoursState.CLOSED, MIDNIGHT, DAY)

    def contains(self, time: timedelta) -> bool:
        """Whether a time of day lies inside."""
        return self.start <= time < self.end

    def overlaps(self, start: timedelta, end: timedelta) -> bool:
        """Whether any part of a stretch lies inside."""
        return self.start < end and self.end > start

    def counts(self, extended_market_hours: bool) -> bool:
        """Whether this is open time when extended hours do or do not count."""
        return extended_market_hours or self.state is MarketHoursState.MARKET


class LocalMarketHours(Named):
    """The segments of one day of the week."""

    __slots__ = ("day_of_week", "is_closed_all_day", "is_open_all_day", "market_duration", "segments")

    def __init__(self, day: DayOfWeek, *segments: MarketHoursSegment | Iterable[MarketHoursSegment]) -> None:
        flat: list[MarketHoursSegment] = []
        for segment in segments:
            flat.extend([segment] if isinstance(segment, MarketHoursSegment) else segment)
        self.day_of_week = day
        self.segments = tuple(segment for segment in flat if segment.state is not MarketHoursState.CLOSED)
        self.is_closed_all_day = not self.segments
        self.is_open_all_day = (
            len(self.segments) == 1
            and self.segments[0].state is MarketHoursState.MARKET
            and (self.segments[0].start, self.segments[0].end) == (MIDNIGHT, DAY)
        )
        self.market_duration = sum(
            (segment.end - segment.start for segment in self.segments if segment.state is MarketHoursState.MARKET),
            MIDNIGHT,
        )

    @staticmethod
    def closed_all_day(day_of_week: DayOfWeek) -> LocalMarketHours:
        """A day without trading."""
        return LocalMarketHours(day_of_week)

    @staticmethod
    def open_all_day(day_of_week: DayOfWeek) -> LocalMarketHours:
        """A day of 24 hours."""
        return LocalMarketHours(day_of_week, MarketHoursSegment.open_all_day())

    @staticmethod
    def is_continuous_market_open(
        previous_segment_end: timedelta | None,
        next_segment_start: timedelta | None,
        prev_segment_is_from_prev_day: bool = True,
    ) -> bool:
        """Whether one segment goes on in the next without a break."""
        if previous_segment_end is None or next_segment_start is None:
            return False
        if prev_segment_is_from_prev_day:
            return previous_segment_end == DAY and next_segment_start == MIDNIGHT
        return previous_segment_end == next_segment_start

    def get_market_open(
        self, time: timedelta, extended_market_hours: bool, previous_day_last_segment: timedelta | None = None
    ) -> timedelta | None:
        """Start of the first open segment that ends after a time of day and continues no earlier one."""
        previous, from_previous_day = previous_day_last_segment, True
        for segment in self.segments:
            if not segment.counts(extended_market_hours):
                continue
            if segment.end > time and not self.is_continuous_market_open(previous, segment.start, from_previous_day):
                return segment.start
            previous, from_previous_day = segment.end, False
        return None

    @overload
    def get_market_close(
        self, time: timedelta, extended_market_hours: bool, next_day_segment_start: timedelta | None = None
    ) -> timedelta | None: ...
    @overload
    def get_market_close(
        self,
        time: timedelta,
        extended_market_hours: bool,
        last_close: bool,
        next_day_segment_start: timedelta | None = None,
    ) -> timedelta | None: ...
    def get_market_close(
        self, time: timedelta, extended_market_hours: bool, *rest: Any, **named: Any
    ) -> timedelta | None:
        """End of the first (or the day's last) open segment after a time of day that no other one continues."""
        last_close = bool(named.get("last_close", rest[0] if rest and isinstance(rest[0], bool) else False))
        following_days = [value for value in rest if not isinstance(value, bool)]
        next_day_segment_start = named.get("next_day_segment_start", following_days[0] if following_days else None)
        result: timedelta | None = None
        for position, segment in enumerate(self.segments):
            if segment.end <= time or not segment.counts(extended_market_hours):
                continue
            if last_close:
                result = segment.end
                continue
            is_last = position == len(self.segments) - 1
            following: timedelta | None = next_day_segment_start
            if not is_last:
                after = self.segments[position + 1]
                following = after.start if after.counts(extended_market_hours) else None
            if not self.is_continuous_market_open(segment.end, following, is_last):
                return segment.end
        return result

    @overload
    def is_open(self, time: timedelta, extended_market_hours: bool) -> bool: ...
    @overload
    def is_open(self, start: timedelta, end: timedelta, extended_market_hours: bool) -> bool: ...
    def is_open(self, *times: Any, **named: Any) -> bool:
        """Whether a time of day, or any part of a stretch of it, lies in open time."""
        order = ("time", "start", "end", "extended_market_hours")
        values = [*times, *(named[name] for name in order if name in named)]
        extended = bool(values[-1])
        if len(values) == 2 or values[0] == values[1]:
            inside = next((segment for segment in self.segments if segment.contains(values[0])), None)
            return inside is not None and inside.counts(extended)
        return any(segment.counts(extended) and segment.overlaps(values[0], values[1]) for segment in self.segments)


def _cut_at_early_close(segments: tuple[MarketHoursSegment, ...], close: timedelta) -> list[MarketHoursSegment]:
    for position, segment in enumerate(segments):
        if segment.start <= close <= segment.end:
            return [*segments[:position], MarketHoursSegment(segment.state, segment.start, close)]
        if close < segment.start:
            # LEAN drops one segment more than it must here; kept, so that half days agree.
            return list(segments[: max(position - 1, 0)])
    return list(segments)


def _cut_at_late_open(segments: Iterable[MarketHoursSegment], opening: timedelta) -> list[MarketHoursSegment]:
    kept = list(segments)
    for position, segment in enumerate(kept):
        if segment.start <= opening <= segment.end:
            return [MarketHoursSegment(segment.state, opening, segment.end), *kept[position + 1 :]]
        if opening < segment.start:
            return kept[position:]
    return kept


def _weekday(moment: date) -> DayOfWeek:
    return DayOfWeek(moment.isoweekday() % 7)


class SecurityExchangeHours(Named):
    """When an exchange is open. All local times are naive, in `time_zone`."""

    def __init__(
        self,
        time_zone: ZoneInfo,
        holiday_dates: Iterable[datetime],
        market_hours_for_each_day_of_week: Mapping[DayOfWeek, LocalMarketHours],
        early_closes: Mapping[datetime, timedelta],
        late_opens: Mapping[datetime, timedelta],
        bank_holiday_dates: Iterable[datetime] | None = None,
    ) -> None:
        self.time_zone = time_zone
        self.zone = zone_of(time_zone)
        self.holidays = set(holiday_dates)
        self.bank_holidays = set(bank_holiday_dates or ())
        self.early_closes = dict(early_closes)
        self.late_opens = dict(late_opens)
        self.market_hours = {
            day: market_hours_for_each_day_of_week.get(day) or LocalMarketHours(day) for day in DayOfWeek
        }
        durations = Counter(hours.market_duration for hours in self.market_hours.values())
        self.regular_market_duration = max(durations, key=lambda duration: (durations[duration], duration))
        self.is_market_always_open = all(hours.is_open_all_day for hours in self.market_hours.values())
        self._by_date: dict[date, LocalMarketHours] = {}
        self._sessions: dict[tuple[date, bool], list[tuple[int, int]]] = {}

    @staticmethod
    def always_open(time_zone: ZoneInfo) -> SecurityExchangeHours:
        """An exchange that never closes."""
        days = {day: LocalMarketHours.open_all_day(day) for day in DayOfWeek}
        return SecurityExchangeHours(time_zone, (), days, {}, {})

    def get_market_hours(self, local_date_time: date | datetime) -> LocalMarketHours:
        """The segments of a date, with holidays, early closes and late opens."""
        day = local_date_time.date() if isinstance(local_date_time, datetime) else local_date_time
        found = self._by_date.get(day)
        if found is None:
            found = self._by_date[day] = self._hours_of(day)
        return found

    def _hours_of(self, day: date) -> LocalMarketHours:
        midnight = datetime(day.year, day.month, day.day)
        weekday = _weekday(day)
        if midnight in self.holidays:
            return LocalMarketHours(weekday)
        regular = self.market_hours[weekday]
        close, opening = self.early_closes.get(midnight), self.late_opens.get(midnight)
        if close is None and opening is None:
            return regular
        segments: Iterable[MarketHoursSegment] = regular.segments
        morning = None if close is None else _cut_at_early_close(regular.segments, close)
        if morning is not None and (opening is None or close is None or close >= opening):
            segments = morning
        if opening is not None:
            segments = _cut_at_late_open(segments, opening)
            if morning is not None and close is not None and close <= opening:
                # The market resumes after the early close: both parts are open.
                segments = [*morning, *segments]
        return LocalMarketHours(weekday, segments)

    def sessions_utc_ms(self, day: date, extended: bool = False) -> list[tuple[int, int]]:
        """Open stretches of a local date as [start, end) in UTC milliseconds, joined where they touch."""
        key = (day, extended)
        found = self._sessions.get(key)
        if found is None:
            midnight = datetime(day.year, day.month, day.day)
            found = []
            for segment in self.get_market_hours(day).segments:
                if not segment.counts(extended):
                    continue
                start, end = self.zone.utc_ms(midnight + segment.start), self.zone.utc_ms(midnight + segment.end)
                if found and found[-1][1] == start:
                    found[-1] = (found[-1][0], end)
                else:
                    found.append((start, end))
            self._sessions[key] = found
        return found

    def forget_before(self, day: date) -> None:
        """Drops remembered days: a long run keeps its memory flat."""
        self._by_date = {known: hours for known, hours in self._by_date.items() if known >= day}
        self._sessions = {key: sessions for key, sessions in self._sessions.items() if key[0] >= day}

    @overload
    def is_open(self, local_date_time: datetime, extended_market_hours: bool) -> bool: ...
    @overload
    def is_open(
        self, start_local_date_time: datetime, end_local_date_time: datetime, extended_market_hours: bool
    ) -> bool: ...
    def is_open(self, *arguments: Any, **named: Any) -> bool:
        """Whether an instant, or any part of a stretch, lies in open time."""
        order = ("local_date_time", "start_local_date_time", "end_local_date_time", "extended_market_hours")
        values = [*arguments, *(named[name] for name in order if name in named)]
        extended = bool(values[-1])
        start = _moment(values[0])
        if len(values) == 2 or values[1] == values[0]:
            return self.get_market_hours(start).is_open(_time_of_day(start), extended)
        end = _moment(values[1])
        while start < end:
            tomorrow = _midnight(start) + DAY
            until = min(end, tomorrow - _INSTANT)
            if self.get_market_hours(start).is_open(_time_of_day(start), _time_of_day(until), extended):
                return True
            start = tomorrow
        return False

    def is_date_open(self, local_date_time: date | datetime, extended_market_hours: bool = False) -> bool:
        """Whether a date has trading; a date with extended hours only counts when they do."""
        hours = self.get_market_hours(local_date_time)
        if hours.is_closed_all_day:
            return False
        return bool(hours.market_duration) or extended_market_hours

    def get_next_market_open(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        """The next opening strictly after a moment. Raises ValueError when there is none in 15 days."""
        asked = _moment(local_date_time)
        time = asked
        limit = _midnight(asked) + _SEARCH_DAYS * DAY
        last_end = self._last_end(time - DAY)
        while time < limit:
            hours = self.get_market_hours(time)
            if hours.is_closed_all_day:
                last_end = None
            else:
                opening = hours.get_market_open(_time_of_day(time), extended_market_hours, last_end)
                if opening is not None and asked < _midnight(time) + opening:
                    return _midnight(time) + opening
                last_end = None if _midnight(time) in self.early_closes else hours.segments[-1].end
            time = _midnight(time) + DAY
        raise ValueError(
            f"no market open within {_SEARCH_DAYS} days after {asked}; always open: {self.is_market_always_open}"
        )

    def _last_end(self, day: datetime) -> timedelta | None:
        segments = self.get_market_hours(day).segments
        return segments[-1].end if segments else None

    @overload
    def get_next_market_close(self, local_date_time: datetime, extended_market_hours: bool) -> datetime: ...
    @overload
    def get_next_market_close(
        self, local_date_time: datetime, extended_market_hours: bool, last_close: bool
    ) -> datetime: ...
    def get_next_market_close(
        self, local_date_time: datetime, extended_market_hours: bool, last_close: bool = False
    ) -> datetime:
        """The next close strictly after a moment, or that day's last one. Raises ValueError when none in 15 days."""
        asked = _moment(local_date_time)
        time = asked
        limit = _midnight(asked) + _SEARCH_DAYS * DAY
        while time < limit:
            hours = self.get_market_hours(time)
            if not hours.is_closed_all_day:
                following = self._first_start(_midnight(time) + DAY)
                close = hours.get_market_close(_time_of_day(time), extended_market_hours, last_close, following)
                if close is not None and asked < _midnight(time) + close:
                    return _midnight(time) + close
            time = _midnight(time) + DAY
        raise ValueError(
            f"no market close within {_SEARCH_DAYS} days after {asked}; always open: {self.is_market_always_open}"
        )

    def _first_start(self, day: datetime) -> timedelta | None:
        if day in self.early_closes:
            return None
        segments = self.get_market_hours(day).segments
        return segments[0].start if segments else None

    def get_last_daily_market_close(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        """The last close of the day of trading at or after a moment."""
        return self.get_next_market_close(local_date_time, extended_market_hours, True)

    def get_first_daily_market_open(self, local_date_time: datetime, extended_market_hours: bool) -> datetime:
        """The first opening of the day of trading at or before a moment."""
        return self.get_previous_market_open(local_date_time, extended_market_hours, True)

    @overload
    def get_previous_market_open(self, local_date_time: datetime, extended_market_hours: bool) -> datetime: ...
    @overload
    def get_previous_market_open(
        self, local_date_time: datetime, extended_market_hours: bool, first_open: bool
    ) -> datetime: ...
    def get_previous_market_open(
        self, local_date_time: datetime, extended_market_hours: bool, first_open: bool = False
    ) -> datetime:
        """The last opening at or before a moment. Raises ValueError when there is none in nine days."""
        asked = _moment(local_date_time)
        time = asked
        for _ in range(_LOOK_BACK_DAYS):
            result: datetime | None = None
            for segment in reversed(self.get_market_hours(time).segments):
                opening = _midnight(time) + segment.start
                if opening > asked or not segment.counts(extended_market_hours):
                    continue
                if first_open:
                    result = opening
                elif self.get_next_market_open(opening - _INSTANT, extended_market_hours) == opening:
                    return opening
            if result is not None:
                return result
            time -= DAY
        raise ValueError(f"no market open within {_LOOK_BACK_DAYS} days before {asked}")

    def get_previous_trading_day(self, local_date: date | datetime) -> datetime:
        """The last date before a given one that has regular trading."""
        return self._step(local_date, -DAY)

    def get_next_trading_day(self, date: date | datetime) -> datetime:
        """The first date after a given one that has regular trading."""
        return self._step(date, DAY)

    def _step(self, start: date | datetime, step: timedelta) -> datetime:
        moment = _moment(start) + step
        while not self.is_date_open(moment):
            moment += step
        return moment


def _moment(value: date | datetime) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None) if value.tzinfo is not None else value  # C# compares what the clock shows
    return datetime(value.year, value.month, value.day)


def _midnight(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day)


def _time_of_day(moment: datetime) -> timedelta:
    return moment - _midnight(moment)

"""Scheduled events with LEAN's date and time rules, and LEAN's order of events that fall on the same instant
(lean-facts, section 8).

Events are kept in one sorted list; an event that has fired is put back by binary search, after whichever equal time
the search meets
(BacktestingRealTimeHandler.cs:170). That makes the order of simultaneous events a property of the whole list, and it
is reproduced here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Protocol

from simulation.engine.schedule_rules import DateRule, DateRules, TimeRule, TimeRules
from simulation.lean.clock import FOREVER, UTC
from simulation.lean.names import Named, signed

ONE_DAY = timedelta(days=1)
END_OF_TIME = datetime(2050, 12, 31)


class ScheduledEvent(Named):
    """A callback with an ascending sequence of instants, produced when asked for."""

    def __init__(self, name: str, times: Iterable[int], callback: Callable[[], object]) -> None:
        self.name = name
        self.callback = callback
        self.enabled = True
        self.sequence = 0
        self._times = iter(times)
        self._next: int | None = None

    @property
    def next_ms(self) -> int:
        """The next instant in UTC milliseconds; FOREVER when there is none."""
        if self._next is None:
            self._next = next(self._times, FOREVER)
        return self._next

    @property
    def next_event_utc_time(self) -> datetime:
        """The next instant, naive UTC."""
        return UTC.local(min(self.next_ms, 4_000_000_000_000))

    def skip_until(self, utc_ms: int) -> None:
        """Drops instants before the given one."""
        while self.next_ms < utc_ms:
            self._next = None

    def fire(self, utc_ms: int) -> None:
        """Calls back once for every instant that has come."""
        while self.next_ms <= utc_ms:
            if self.enabled:
                self.callback()
            self._next = None


class Scheduler:
    """All scheduled events of a run, system events included."""

    def __init__(self) -> None:
        self._events: list[ScheduledEvent] = []
        self._sorted: list[ScheduledEvent] = []
        self._dirty = True
        self._sequence = 0
        self.running = False
        self.next_ms = 0

    def add(self, event: ScheduledEvent, utc_ms: int) -> None:
        """Adds an event; while running, instants before now are skipped."""
        self._sequence += 1
        event.sequence = self._sequence
        if self.running:
            event.skip_until(utc_ms)
        self._events.append(event)
        self._dirty, self.next_ms = True, 0

    def remove(self, event: ScheduledEvent) -> None:
        """Removes an event."""
        if event in self._events:
            self._events.remove(event)
        self._dirty, self.next_ms = True, 0

    def start(self, utc_ms: int) -> None:
        """The algorithm begins: everything before its first instant is skipped."""
        self.running = True
        for event in self._events:
            event.skip_until(utc_ms)
        self._dirty, self.next_ms = True, 0

    def _ordered(self) -> list[ScheduledEvent]:
        if self._dirty:
            self._dirty = False
            self._sorted = sorted(self._events, key=lambda event: (event.next_ms, event.sequence))
        return self._sorted

    def fire_before(self, utc_ms: int, set_clock: Callable[[int], None]) -> None:
        """Fires what lies strictly before an instant, each event with the clock at its own time."""
        events = self._ordered()
        while events and events[0].next_ms < utc_ms:
            event = events[0]
            moment = event.next_ms
            set_clock(moment)
            event.fire(moment)
            _put_back(events)
        self._note_next()

    def fire_at(self, utc_ms: int) -> None:
        """Fires what has come at an instant, the clock being there already."""
        events = self._ordered()
        while events and events[0].next_ms <= utc_ms:
            events[0].fire(utc_ms)
            _put_back(events)
        self._note_next()

    def _note_next(self) -> None:
        events = self._ordered()
        self.next_ms = events[0].next_ms if events else FOREVER


def _put_back(events: list[ScheduledEvent]) -> None:
    """Moves the first event to its place among the others, as SortFirstElement does."""
    moment = events[0].next_ms
    if len(events) < 2 or moment <= events[1].next_ms:
        return
    event = events.pop(0)
    lower, upper = 0, len(events) - 1
    position = None
    while lower <= upper:
        middle = lower + (upper - lower) // 2
        other = events[middle].next_ms
        if moment < other:
            upper = middle - 1
        elif moment > other:
            lower = middle + 1
        else:
            position = middle
            break
    events.insert(lower if position is None else position + 1, event)


class RulesOwner(Protocol):
    """An algorithm with its rules."""

    date_rules: DateRules
    time_rules: TimeRules


class ScheduleEngine(Protocol):
    """The engine, as the schedule uses it."""

    utc_ms: int
    scheduler: Scheduler

    @property
    def algorithm(self) -> RulesOwner:
        """The algorithm that runs."""


class ScheduleManager(Named):
    """`self.schedule`."""

    def __init__(self, engine: ScheduleEngine) -> None:
        self._engine = engine

    @signed("date_rule, time_rule, callback", "name, date_rule, time_rule, callback")
    def on(self, *arguments: Any) -> ScheduledEvent:
        """Schedules a callback: ([name], date_rule, time_rule, callback)."""
        values = list(arguments)
        name = values.pop(0) if isinstance(values[0], str) else None
        date_rule, time_rule, callback = values
        title = name or f"{date_rule.name}: {time_rule.name}"
        event = ScheduledEvent(
            title, time_rule.create_utc_event_times(self.deferred(date_rule)), _plain(callback, title, self._engine)
        )
        self._engine.scheduler.add(event, self._engine.utc_ms)
        return event

    def deferred(self, rule: DateRule) -> Iterator[datetime]:
        """Dates from yesterday (UTC) of the first asking on (ScheduleManager.cs:284)."""
        today = UTC.local(self._engine.utc_ms)
        yield from rule.get_dates(datetime(today.year, today.month, today.day) - ONE_DAY, END_OF_TIME)

    def training(self, date_rule: DateRule, time_rule: TimeRule, training_code: Callable[[], object]) -> ScheduledEvent:
        """Same as `on`."""
        return self.on(date_rule, time_rule, training_code)

    def training_now(self, training_code: Callable[[], object]) -> ScheduledEvent:
        """Runs once at the next step."""
        return self.on(self._engine.algorithm.date_rules.today, self._engine.algorithm.time_rules.now, training_code)

    def remove(self, scheduled_event: ScheduledEvent) -> None:
        """Cancels an event."""
        self._engine.scheduler.remove(scheduled_event)


def _plain(callback: Callable[..., object], name: str, engine: ScheduleEngine) -> Callable[[], object]:
    """A callback that takes (name, time) gets them; LEAN accepts both forms."""
    try:
        parameters = [
            parameter
            for parameter in inspect.signature(callback).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        return callback
    if len(parameters) == 2:
        return lambda: callback(name, UTC.local(engine.utc_ms))
    return callback

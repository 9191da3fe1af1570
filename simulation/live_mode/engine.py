"""LEAN's live loop over replayed data: slices by the clock, schedules, orders and commands on threads of their own.

A minute's data come 0 to 690 ms after it on the algorithm's thread; scheduled events about a second late on theirs, and
they see the time of the last slice; slices are made each second, `on_data` is called for one with data and after
contracts were added (lean-facts 13.1-13.5).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from simulation.algorithm.object_store import ObjectStore
from simulation.algorithm.words import Logs
from simulation.data.source import DataSource
from simulation.engine.kernel import Engine
from simulation.engine.schedule import ScheduledEvent, Scheduler
from simulation.faults.kinds import FaultSettings
from simulation.faults.quotes import QuoteFaults
from simulation.lean.clock import FOREVER, MINUTE_MS
from simulation.lean.enums import DelistingType
from simulation.live_mode.account import LiveAccount
from simulation.live_mode.controls import Controls
from simulation.live_mode.orders import ALGORITHM, LiveHandler
from simulation.live_mode.quotes import LiveQuotes
from simulation.live_mode.threads import Threads
from simulation.orders.order_event import OrderEvent
from simulation.securities.securities import Security
from simulation.securities.universes import SecurityChanges

SCHEDULE, SETUP = "schedule", "setup"
SECOND_MS = 1_000
LATEST_MS = 690


@dataclass(frozen=True, slots=True)
class Call:
    """A callback as the recordings have it: when (wall clock, UTC ms), which, on which thread, what `time` said."""

    utc_ms: int
    name: str
    thread: str
    algorithm_ms: int
    detail: str = ""


class LiveLogs(Logs):
    """A log at which another thread may come in."""

    def __init__(self, engine: LiveEngine) -> None:
        super().__init__(lambda: engine.algorithm.time)
        self._engine = engine

    def write(self, kind: str, message: Any) -> None:
        """Adds a line."""
        self._engine.called()
        super().write(kind, message)


class LiveStore(ObjectStore):
    """An object store at which another thread may come in."""

    def __init__(self, root: Path, engine: LiveEngine) -> None:
        super().__init__(root)
        self._engine = engine

    def save_bytes(self, path: str, contents: bytes) -> bool:
        """Stores bytes."""
        self._engine.called()
        return super().save_bytes(path, contents)

    def read_bytes(self, path: str) -> bytes:
        """Stored bytes."""
        self._engine.called()
        return super().read_bytes(path)


class LiveScheduler(Scheduler):
    """Scheduled events that are written down when they come."""

    def __init__(self, engine: LiveEngine) -> None:
        super().__init__()
        self._engine = engine

    def add(self, event: ScheduledEvent, utc_ms: int) -> None:
        """Adds an event."""
        callback, name = event.callback, getattr(event.callback, "__name__", event.name)

        def noted() -> object:
            self._engine.note(name, event.name)
            return callback()

        event.callback = noted
        super().add(event, utc_ms)


class LiveEngine(Engine):
    """The kernel, driven by a clock instead of by its data."""

    live = True
    handler_type = LiveHandler
    handler: LiveHandler

    def __init__(self, source: DataSource, threads: Threads, controls: Controls, account: LiveAccount) -> None:
        super().__init__(source)
        self.threads = threads
        self.controls = controls
        self.account = account
        self.quotes = LiveQuotes(threads, controls)
        self.calls: list[Call] = []
        self.market_ms = 0
        self.scheduler = LiveScheduler(self)
        self._bringing = self._sliced = False
        self._cursor = 0
        self._moments: list[int] = []
        self._moments_of: tuple[int, int] = (-1, -1)
        self._seed = threads.chance.getrandbits(32)

    def suffer(self, settings: FaultSettings) -> None:
        """From now on the broker and its quotes misbehave by seed."""
        self.quotes.faults = QuoteFaults(self.handler.suffer(settings))

    def prepare(self, security: Security, initialize: bool) -> None:
        """A new security is shown by the live feed."""
        self.called()
        super().prepare(security, initialize)
        self.quotes.watch(security, self)

    def called(self) -> None:
        """A call into the engine while it runs: the seed decides whether the calling thread is held up."""
        if self.running:
            self.threads.switch()

    def call_later(self, delay: timedelta, act: Callable[[], object]) -> None:
        """An act of the engine's own, some time from now."""
        self.threads.at(self.threads.now_ms + int(delay.total_seconds() * 1000), act)

    def note(self, name: str, detail: str = "") -> None:
        """Writes a callback down."""
        thread = self.threads.current
        self.calls.append(Call(self.threads.now_ms, name, thread, self.utc_ms, detail))

    # -- the clock ---------------------------------------------------------------------------------------------------

    def _late(self, moment: int) -> int:
        """How many milliseconds after its moment a slice comes, another each time."""
        draw = random.Random(self._seed ^ moment)
        return draw.randint(1, 9) if draw.random() < 0.9 else draw.randint(10, LATEST_MS)

    def tick_over(self) -> None:
        """Each second a slice moves the algorithm's clock, unless its thread is within a callback."""
        if self.threads.is_busy(ALGORITHM):
            return
        second = self.threads.now_ms // SECOND_MS * SECOND_MS
        shown = second + min(self._late(second), 9)
        if shown > self.threads.now_ms:
            shown = self.threads.now_ms
        self.utc_ms = max(self.utc_ms, shown)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """After `initialize`: the schedule runs, and the algorithm's thread makes the first slice within a second."""
        algorithm = self.algorithm
        now = self.threads.now_ms
        self.data_ms = self._cursor = self.market_ms = now // MINUTE_MS * MINUTE_MS
        self.utc_ms = now
        self._on_data = algorithm.on_data if algorithm.overrides("on_data") else None
        self.running = True
        self.scheduler.start(now)
        algorithm.on_warmup_finished()
        self.threads.put(ALGORITHM, self._first_slice, SECOND_MS // 2)

    def _first_slice(self) -> None:
        """The first selection, with prices as of the last whole minute."""
        self._sliced = True
        self._select(self.data_ms, self.subscriptions.end_of_step(), False, [])
        self._end_of_step(self.data_ms)
        self.quotes.take(self.data_ms)

    def run_until(self, utc_ms: int) -> None:
        """Everything up to an instant of the wall clock."""
        threads = self.threads
        while self.stop_reason is None and not threads.failures:
            self._look_for_added()
            data, moment = self._next_data()
            schedule = self._next_schedule()
            at = min(data, schedule, threads.next_ms)
            if at > utc_ms:
                break
            if at == threads.next_ms:
                threads.now_ms = max(threads.now_ms, at)
                self.tick_over()
                threads.run_next()
                continue
            threads.now_ms = max(threads.now_ms, at)
            if at == data:
                self._cursor = moment
                self.market_ms = max(self.market_ms, moment)
                threads.hand(ALGORITHM, lambda due=moment: self._slice_at(due))  # type: ignore[misc]
                continue
            self.tick_over()
            due = self.scheduler.next_ms
            threads.hand(SCHEDULE, lambda due=due: self.scheduler.fire_at(due))  # type: ignore[misc]
        if self.stop_reason is None and not threads.failures:
            threads.now_ms = max(threads.now_ms, utc_ms)
            self.tick_over()

    def _next_schedule(self) -> int:
        """The next scheduled event comes within the second after its time, and never while another is at work."""
        if self.threads.is_busy(SCHEDULE):
            return FOREVER
        due = self.scheduler.next_ms
        if due >= FOREVER:
            return FOREVER
        return due // SECOND_MS * SECOND_MS + SECOND_MS + random.Random(self._seed ^ due).randint(1, 9)

    def _next_data(self) -> tuple[int, int]:
        """(when it comes, the minute of the data); FOREVER while the algorithm's thread is within a callback."""
        if self.threads.is_busy(ALGORITHM) or not self._sliced:
            return FOREVER, FOREVER
        moment = min(self._next_minute(), max(self._next_special(), self._cursor + 1))
        return (moment + self._late(moment) if moment < FOREVER else FOREVER), moment

    def _next_minute(self) -> int:
        day = self.zone.date_of(self._cursor)
        high = self.zone.midnight_ms(day + timedelta(days=1))
        if self._cursor >= high:
            high = self.zone.midnight_ms(day + timedelta(days=2))
        key = (self.subscriptions.epoch, high)
        if key != self._moments_of:
            self._moments_of = key
            self.timeline.regroup()
            self._moments = [int(ms) for ms in self.timeline.times(self._cursor, high)][::-1]
        while self._moments and self._moments[-1] <= self._cursor:
            self._moments.pop()
        return self._moments[-1] if self._moments else high

    # -- a slice -----------------------------------------------------------------------------------------------------

    def _slice_at(self, moment: int) -> None:
        """One slice on the algorithm's thread; what was added meanwhile makes another a second later."""
        has_data = bool(self._moments) and self._moments[-1] == moment
        if self._next_special() <= moment:
            self._special(moment, has_data)
        elif has_data:
            self._step(moment, True, None, ())

    def _look_for_added(self) -> None:
        """Contracts were asked for: the next second's slice brings them, and calls `on_data` without data."""
        if self.subscriptions.changed and self._sliced and not self._bringing:
            self._bringing = True
            self.threads.put(ALGORITHM, self._bring, SECOND_MS)

    def _bring(self) -> None:
        self._bringing = False
        if not self.subscriptions.changed:
            return
        self.tick_over_within()
        self._end_of_step(self.data_ms)
        self.quotes.take(self.data_ms)
        self.handler.broker.at_slice()
        if self._on_data is not None and self.current_slice is not None:
            self.note("on_data", "bars=[]")
            self._on_data(self.current_slice)
        self.handler.broker.at_slice()

    def tick_over_within(self) -> None:
        """A slice of its own moves the clock, its thread being busy with it."""
        self.utc_ms = max(self.utc_ms, self.threads.now_ms)

    def _pulse(self, now: int) -> None:
        """Nothing: the wall clock moves by itself."""
        del now

    def _step(
        self,
        ms: int,
        has_data: bool,
        changes: SecurityChanges | None,
        delistings: tuple[tuple[DelistingType, Security], ...],
    ) -> None:
        """A slice: prices and callbacks; schedules and orders are on other threads."""
        self.tick_over_within()
        self.data_ms = ms
        self._slice, self._slice_of = None, (ms, has_data)
        self.quotes.take(ms)
        if changes or delistings or ms >= min(self._next_hour_ms, self.dividends.next_ms, self.mappings.next_ms):
            self._before_orders(ms, changes, delistings)
        self.handler.broker.at_slice()
        if delistings:
            self._settle(delistings)
        self._tell(self.utc_ms, has_data, changes, delistings)
        self.handler.broker.at_slice()
        if delistings or self._leaving:
            self._close_delisted(delistings)

    def _tell(
        self,
        now: int,
        has_data: bool,
        changes: SecurityChanges | None,
        delistings: tuple[tuple[DelistingType, Security], ...],
    ) -> None:
        if has_data and self._on_data is not None:
            self.note("on_data")
        super()._tell(now, has_data, changes, delistings)

    def fire_order_event(self, event: OrderEvent) -> None:
        """Tells the algorithm on whichever thread the event comes."""
        text = f"id={event.order_id} {event.symbol.value} {event.status} fill={event.fill_quantity}@{event.fill_price}"
        self.note("on_order_event", f"{text} msg={event.message}")
        self.threads.switch()
        super().fire_order_event(event)

    def finish(self) -> None:
        """The last callback, on the algorithm's thread."""
        self.note("on_end_of_algorithm")
        self.algorithm.on_end_of_algorithm()

"""One publish to ten handlers: our bus against blinker's signals, in one run: ``python -m tests.benchmarks.bus``.

Ours keeps order for nested events, isolates handlers, carries correlation ids and guards against storms; blinker does
none of that.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import datetime

from blinker import Signal

from core.bus import EventBus
from core.clock import MarketClock
from core.events import EntryWindow, MarketData, RiskThreshold, Severity
from core.journal import Journal, MemorySink

NOW = datetime(2024, 7, 5, 9, 30)
HANDLERS = 10
PUBLISHES = 20_000


def best_of(publish: Callable[[], object], rounds: int = 7) -> float:
    """Microseconds a publish, the best of some rounds."""
    best = float("inf")
    gc.disable()
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(PUBLISHES):
            publish()
        best = min(best, time.perf_counter() - started)
    gc.enable()
    return best / PUBLISHES * 1e6


class Listener:
    """Something with a handler that does nothing."""

    def __init__(self) -> None:
        self.seen: object = None

    def on_event(self, event: object) -> None:
        self.seen = event


def bus_with(count: int) -> tuple[EventBus, MarketData]:
    """A bus with some handlers of minutes, and a minute."""
    bus = EventBus(Journal(MemorySink(), MarketClock(NOW)))
    for index in range(count):
        bus.subscribe(MarketData, Listener().on_event, component=f"listener {index}")
    event = MarketData(time=NOW, ticker="SPX", open=1.0, high=1.0, low=1.0, price=1.0, fresh_at=NOW)
    return bus, event


def nested() -> float:
    """Microseconds of an event whose handler publishes another, correlation carried over."""
    bus = EventBus(Journal(MemorySink(), MarketClock(NOW)))
    effect = RiskThreshold(time=NOW, rule="margin", severity=Severity.WARNING, limit=0.8, observed=0.7)
    bus.subscribe(EntryWindow, lambda event: bus.publish(effect), component="risk")
    bus.subscribe(RiskThreshold, Listener().on_event, component="coordinator")
    cause = EntryWindow(time=NOW, strategy="friday_0dte", window="entry")
    return best_of(lambda: bus.publish(cause))


def main() -> None:
    """Print the table."""
    bus, event = bus_with(HANDLERS)
    ours = best_of(lambda: bus.publish(event))
    signal = Signal()
    listeners = [Listener() for _ in range(HANDLERS)]
    for listener in listeners:
        signal.connect(listener.on_event)
    theirs = best_of(lambda: signal.send(event))
    few, _ = bus_with(3)
    print(f"one publish to {HANDLERS} handlers: {ours:.2f} us; blinker {theirs:.2f} us; ratio {ours / theirs:.2f}")
    print(f"one publish to 3 handlers: {best_of(lambda: few.publish(event)):.2f} us")
    print(f"an event that causes another, one handler each: {nested():.2f} us")


if __name__ == "__main__":
    main()

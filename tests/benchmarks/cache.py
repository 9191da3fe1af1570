"""The cache against cachetools' TTLCache, and the cost of price events over 100,000 entries.

Run it with ``python -m tests.benchmarks.cache``.

Expected: a hit under twice TTLCache's, and events that touch only the entries that they move.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import datetime

from cachetools import TTLCache

from core.bus import EventBus
from core.cache import PriceOf, TimeToLive, UnifiedIntelligentCache
from core.clock import MarketClock
from core.events import MarketData
from core.journal import Journal, MemorySink

NOW = datetime(2024, 7, 5, 9, 30)
SYMBOLS = 1_000
ENTRIES_EACH = 100
EVENTS = 1_000


def best_of(work: Callable[[], None], operations: int, rounds: int = 5) -> float:
    """Nanoseconds an operation, the best of some rounds, the collector off."""
    best = float("inf")
    gc.disable()
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    gc.enable()
    return best / operations * 1e9


def market() -> tuple[EventBus, UnifiedIntelligentCache]:
    """A bus with a cache on it."""
    clock = MarketClock(NOW)
    bus = EventBus(Journal(MemorySink(), clock))
    return bus, UnifiedIntelligentCache(bus, clock)


def price(symbol: int, value: float) -> MarketData:
    """One minute of one symbol."""
    return MarketData(time=NOW, ticker=f"T{symbol}", open=value, high=value, low=value, price=value, fresh_at=NOW)


def hits() -> tuple[float, float]:
    """Nanoseconds of a hit: ours with a price, a time to live and the chance to compute; TTLCache's lookup."""
    _, ours = market()
    theirs: TTLCache[int, float] = TTLCache(maxsize=100_000, ttl=300)
    needs = (PriceOf("T1", 0.01), TimeToLive(300))
    keys = list(range(1_000))
    for key in keys:
        ours.put(key, 1.0, depends_on=needs)
        theirs[key] = 1.0

    def read_ours() -> None:
        for key in keys:
            ours.get_or_compute(key, float, depends_on=needs)

    def read_theirs() -> None:
        for key in keys:
            theirs[key]

    return best_of(read_ours, len(keys), 50), best_of(read_theirs, len(keys), 50)


def events() -> tuple[float, float, int, int]:
    """Microseconds of an event that moves nothing and of one that drops 10 entries; entries before and after."""
    bus, cache = market()
    for symbol in range(SYMBOLS):
        bus.publish(price(symbol, 100.0))
        for index in range(ENTRIES_EACH):
            cache.put((symbol, index), 1.0, depends_on=(PriceOf(f"T{symbol}", (1 + index // 10) / 100),))
    before = len(cache)
    still = [price(symbol, 100.5) for symbol in range(EVENTS)]
    moving = [price(symbol, 101.5) for symbol in range(EVENTS)]

    def publish(batch: list[MarketData]) -> float:
        started = time.perf_counter()
        for event in batch:
            bus.publish(event)
        return (time.perf_counter() - started) / len(batch) * 1e6

    quiet = publish(still)
    if len(cache) != before:
        raise AssertionError("events within every tolerance dropped entries")
    loud = publish(moving)
    return quiet, loud, before, len(cache)


def main() -> None:
    """Print the table."""
    ours, theirs = hits()
    print(f"hit: {ours:.0f} ns; cachetools.TTLCache {theirs:.0f} ns; ratio {ours / theirs:.2f} (expected under 2)")
    quiet, loud, before, after = events()
    dropped = (before - after) // EVENTS
    print(f"{EVENTS:,} price events over {before:,} entries on {SYMBOLS:,} symbols:")
    print(f"  within every tolerance: {quiet:.2f} us an event, nothing dropped")
    print(f"  past the tolerance of {dropped} entries each: {loud:.2f} us an event, {before - after:,} dropped")


if __name__ == "__main__":
    main()

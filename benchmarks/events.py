"""What events cost and what they save: ``python -m benchmarks.events [bus | cache | week]``; all three without a word.

``bus``: one publish to ten handlers, ours against blinker's signals. Ours keeps order for nested events, isolates
handlers, carries correlation ids and guards against storms; blinker does none of that.

``cache``: a hit against cachetools' TTLCache, and price events over 100,000 entries. Expected: a hit under twice
TTLCache's, and events that touch only the entries that they move.

``week``: one market, one set of managers, the same decisions; only the way they are driven differs. By schedules, as
the systems did that this one follows, each job fetches what it needs every one or five minutes and computes anew,
because without events nothing tells it that nothing changed. By events, main.py's way: a price goes through the bus,
the cache drops what it moves, and managers compute when something that they rest on did. Expected: at least 20 % less
processor time by events; aimed at: a fifth.
"""

from __future__ import annotations

import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import combinations
from pathlib import Path

from blinker import Signal
from cachetools import TTLCache

from core.bus import EventBus
from core.cache import PriceOf, TimeToLive, UnifiedIntelligentCache
from core.clock import MarketClock
from core.contracts import Contract, Package, Quote
from core.events import EntryWindow, MarketData, MinutePassed, RiskThreshold, Severity
from core.journal import Journal, MemorySink
from core.settings.fields import Settings
from core.storage import FolderStorage
from greeks.monitor import GreeksMonitor
from greeks.service import CentralGreeksService
from market.calendar import EventCalendar
from market.chains import OptionChainManager
from market.freshness import DataFreshnessValidator
from market.history import Correlations
from market.trend import TrendWatcher
from market.vix import UnifiedVIXManager
from risk.equity import PhaseManager
from risk.manager import UnifiedRiskManager
from tests.fake_gateway import FakeGateway, run_day
from trading_system import ALWAYS, Surroundings, TradingSystem

NOW = datetime(2024, 7, 5, 9, 30)
HANDLERS = 10
PUBLISHES = 20_000
SYMBOLS = 1_000
ENTRIES_EACH = 100
EVENTS = 1_000
WEEK = tuple(date(2024, 3, 4) + timedelta(days=count) for count in range(5))


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


def repeated(publish: Callable[[], object]) -> Callable[[], None]:
    """``PUBLISHES`` times the same."""

    def run() -> None:
        for _ in range(PUBLISHES):
            publish()

    return run


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
    return best_of(repeated(lambda: bus.publish(cause)), PUBLISHES, 7) / 1e3


def bus_table() -> None:
    """Print what a publish costs."""
    bus, event = bus_with(HANDLERS)
    ours = best_of(repeated(lambda: bus.publish(event)), PUBLISHES, 7) / 1e3
    signal = Signal()
    listeners = [Listener() for _ in range(HANDLERS)]
    for listener in listeners:
        signal.connect(listener.on_event)
    theirs = best_of(repeated(lambda: signal.send(event)), PUBLISHES, 7) / 1e3
    few, _ = bus_with(3)
    print(f"one publish to {HANDLERS} handlers: {ours:.2f} us; blinker {theirs:.2f} us; ratio {ours / theirs:.2f}")
    three = best_of(repeated(lambda: few.publish(event)), PUBLISHES, 7) / 1e3
    print(f"one publish to 3 handlers: {three:.2f} us")
    print(f"an event that causes another, one handler each: {nested():.2f} us")


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


def cache_table() -> None:
    """Print what a hit and a price event cost."""
    ours, theirs = hits()
    print(f"hit: {ours:.0f} ns; cachetools.TTLCache {theirs:.0f} ns; ratio {ours / theirs:.2f} (expected under 2)")
    quiet, loud, before, after = events()
    dropped = (before - after) // EVENTS
    print(f"{EVENTS:,} price events over {before:,} entries on {SYMBOLS:,} symbols:")
    print(f"  within every tolerance: {quiet:.2f} us an event, nothing dropped")
    print(f"  past the tolerance of {dropped} entries each: {loud:.2f} us an event, {before - after:,} dropped")


@dataclass
class KnownQuotes(FakeGateway):
    """A gateway whose option prices are worked out before the clock runs, as an engine's are read from its data."""

    known: dict[tuple[str, datetime], Quote | None] = field(default_factory=dict)

    def quote(self, contract: Contract) -> Quote | None:
        if contract.name not in self.subscribed:
            return None
        key = (contract.name, self.time)
        if key not in self.known:
            self.known[key] = super().quote(contract)
        return self.known[key]


class ScheduledSystem(TradingSystem):
    """The managers of the system, polled: nothing goes through the bus but windows, orders and what they cause."""

    _jobs: list[tuple[int, Callable[[datetime], object]]] | None = None

    def jobs(self) -> list[tuple[int, Callable[[datetime], object]]]:
        """Fifteen jobs and how often each runs, in minutes."""
        managers = self.managers
        greeks, chains = managers[CentralGreeksService], managers[OptionChainManager]
        vix, trend = managers[UnifiedVIXManager], managers[TrendWatcher]
        cache, monitor = managers[UnifiedIntelligentCache], managers[GreeksMonitor]
        correlations = managers[Correlations]

        def portfolio(now: datetime) -> None:
            cache.clear()  # no event says that nothing moved
            greeks.portfolio()

        def chain(now: datetime) -> None:
            listed = chains.expiring("SPXW", now.date())
            quotes = chains.quotes(listed)
            if quotes:
                greeks.chain(tuple(quotes), quotes, self.gateway.tick("SPX").price, now)  # type: ignore[union-attr]

        return [
            (1, self.feeds("vix")),
            (1, vix.reading),
            (1, self.feeds("freshness")),
            (1, managers[DataFreshnessValidator].all_fresh),
            (1, self.feeds("trend")),
            (1, self.feeds("risk")),
            (1, lambda now: managers[UnifiedRiskManager].context()),
            (1, self.positions),
            (1, portfolio),
            (1, lambda now: monitor.check()),
            (5, lambda now: [correlations.between(one, other) for one, other in combinations(ALWAYS, 2)]),
            (5, chain),
            (5, lambda now: [trend.trend(ticker) for ticker in ALWAYS]),
            (5, lambda now: managers[PhaseManager].limits),
            (5, lambda now: managers[EventCalendar].events(now.date())),
        ]

    def feeds(self, component: str) -> Callable[[datetime], None]:
        """A job that fetches the prices and hands them to one manager."""
        handlers = [
            item.handler
            for item in self.bus.subscriptions
            if item.component == component and item.event_type is MarketData
        ]

        def feed(now: datetime) -> None:
            for ticker in ALWAYS:
                tick = self.gateway.tick(ticker)
                if tick is None or tick.fresh_at is None:
                    continue
                event = MarketData(
                    time=now,
                    ticker=ticker,
                    open=tick.open,
                    high=tick.high,
                    low=tick.low,
                    price=tick.price,
                    fresh_at=tick.fresh_at,
                )
                for handler in handlers:
                    handler(event)

        return feed

    def positions(self, now: datetime) -> None:
        """Look at what is held, ordered or waited for."""
        self.bus.publish(MinutePassed(time=now))

    def minute(self, now: datetime) -> None:
        """Run every schedule that is due."""
        self.clock.advance(now)
        if self._jobs is None:
            self._jobs = self.jobs()
        for every, job in self._jobs:
            if now.minute % every == 0:
                job(now)

    def _publish_prices(self, now: datetime) -> None:
        """Prices reach managers by their schedules only; before a window each is fed once more."""
        for component in ("vix", "freshness", "trend"):
            self.feeds(component)(now)


def spot(moment: datetime) -> float:
    """An index that swings 0.1 % around a level that drifts through the week, without any chance in it."""
    minute = moment.hour * 60 + moment.minute
    return (5100.0 + 5 * moment.weekday()) * (1 + 0.001 * math.cos((minute - 633) / 60))


def volatility(moment: datetime) -> float:
    """A volatility index high enough for the Friday trade, rising through the morning, so that its entry fills."""
    return 24.0 + min(moment.hour * 60 + moment.minute - 570, 90) / 30


def run(kind: type[TradingSystem], known: dict[tuple[str, datetime], Quote | None]) -> tuple[float, list[Package]]:
    """Seconds of processor time of a week, and the packages that were sent."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = KnownQuotes(datetime(2024, 3, 4, 9, 30), spot, volatility, Path(folder), known=known)
        settings = Settings.from_parameters({"orders.walk_step": "0.2", "friday_0dte.profit_target": "0.8"})
        storage = FolderStorage(Path(folder) / "state", durable=False)
        system = kind(Surroundings(gateway, storage, MemorySink(), durable=False), settings, gateway.time)
        gateway.events = system.happened
        system.start()
        gc.collect()
        started = time.process_time()
        for day in WEEK:
            run_day(system, gateway, day)
        elapsed = time.process_time() - started
        errors = dict(system.bus.errors)
        if errors:
            raise AssertionError(f"components failed: {errors}")
        return elapsed, [package for _, package, _, _ in gateway.sent]


def week_table() -> None:
    """Print what a week costs by schedules and by events."""
    known: dict[tuple[str, datetime], Quote | None] = {}
    for kind in (TradingSystem, ScheduledSystem):
        run(kind, known)  # works the option prices out
    events, by_events = min((run(TradingSystem, known) for _ in range(3)), key=lambda row: row[0])
    polled, by_schedules = min((run(ScheduledSystem, known) for _ in range(3)), key=lambda row: row[0])
    same = by_events == by_schedules and len(by_events) > 0
    print(f"a week of minutes, {len(by_events)} packages sent; the same decisions: {'yes' if same else 'NO'}")
    print(f"by fifteen schedules: {polled:.3f} s of processor time")
    print(f"by events:            {events:.3f} s, {1 - events / polled:.0%} less, {polled / events:.1f} times faster")


TABLES = {"bus": bus_table, "cache": cache_table, "week": week_table}

if __name__ == "__main__":
    for name in sys.argv[1:] or TABLES:
        TABLES[name]()

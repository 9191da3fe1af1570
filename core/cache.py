"""The one cache: everything computed, dropped the moment what it rests on moves past its tolerance.

Entries are found through indexes from what they depend on, so an event costs what it drops and nothing else: prices
through two heaps of bounds per symbol, positions, sessions and other entries through sets, times to live through a heap
by expiry. One thread uses it, the one that the bus delivers on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from math import isnan
from typing import Any, Final, TypeVar, cast

from core.bus import EventBus
from core.cache_entries import (
    AnyPosition,
    Bounds,
    CacheStatistics,
    Cause,
    Dependency,
    Entry,
    Frame,
    Item,
    PinnedTooLargeError,
    PositionOf,
    PriceOf,
    ReentrantComputationError,
    SessionEnd,
    Sizes,
    TimeToLive,
)
from core.clock import MarketClock
from core.events import MarketData, PositionChanged, SessionClosed
from core.settings.fields import CacheSettings

__all__ = [
    "AnyPosition",
    "CacheStatistics",
    "Dependency",
    "Entry",
    "PinnedTooLargeError",
    "PositionOf",
    "PriceOf",
    "ReentrantComputationError",
    "SessionEnd",
    "TimeToLive",
    "UnifiedIntelligentCache",
]

T = TypeVar("T")

DEFAULTS: Final = CacheSettings()
ENTRY_OVERHEAD: Final = 350  # bytes, measured; the test compares with what the process grows by
NEED_OVERHEAD: Final = 270
AUDIT_EVERY: Final = 1_000
_UNKNOWN: Final = float("nan")


class UnifiedIntelligentCache:
    """Computed values by key, each with what it depends on; never serves one whose dependencies moved."""

    def __init__(self, bus: EventBus, clock: MarketClock, settings: CacheSettings = DEFAULTS) -> None:
        self._clock = clock
        self._max_bytes = settings.max_bytes
        self._items: OrderedDict[Hashable, Item] = OrderedDict()
        self._prices: dict[str, float] = {}
        self._by_price: dict[str, Bounds] = {}
        self._by_position: dict[str, dict[Item, None]] = {}
        self._by_any_position: dict[Item, None] = {}
        self._by_session: dict[Item, None] = {}
        self._by_entry: dict[Hashable, dict[Item, None]] = {}
        self._by_expiry: list[tuple[datetime, int, Item]] = []
        self._serial = 0
        self._frames: dict[Hashable, Frame] = {}
        self._sizes = Sizes()
        self._bytes = 0
        self._pinned_bytes = 0
        self._counts = CacheStatistics()
        self._causes: dict[Cause, int] = dict.fromkeys(Cause, 0)
        bus.subscribe(MarketData, self._on_market_data, component="cache", critical=True)
        bus.subscribe(PositionChanged, self._on_position, component="cache", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="cache", critical=True)

    # Reading and writing

    def get_or_compute(
        self, key: Hashable, compute: Callable[[], T], *, depends_on: Sequence[Dependency] = (), pinned: bool = False
    ) -> T:
        """The value of ``key``, computed when there is none that still holds.

        What moves while ``compute`` runs counts: the result is then returned and not kept. An exception of ``compute``
        passes through and nothing is kept. Raises ``ReentrantComputationError`` when ``compute`` asks for ``key``.
        """
        item = self._items.get(key)
        if item is not None and (item.expires is None or self._clock.now() < item.expires):
            counts = self._counts
            counts.hits += 1
            if counts.hits % AUDIT_EVERY or not self._audit_finds_stale(item):
                self._items.move_to_end(key)
                return cast(T, item.value)
        return self._compute(key, compute, depends_on, pinned)

    def get(self, key: Hashable, default: T | None = None) -> T | None:
        """The value of ``key`` when it still holds, else ``default``. Counts as a lookup."""
        self._expire()
        item = self._items.get(key)
        if item is None:
            self._counts.misses += 1
            return default
        self._counts.hits += 1
        self._items.move_to_end(key)
        return cast(T, item.value)

    def put(self, key: Hashable, value: object, *, depends_on: Sequence[Dependency] = (), pinned: bool = False) -> bool:
        """Keep ``value`` in the place of what was there, resting on the prices of this moment; whether it was kept.

        Not kept: larger than what may be evicted for it, or an ``Entry`` that it depends on is not there. Raises
        ``PinnedTooLargeError`` when it is to be pinned and does not fit.
        """
        self._expire()
        return self._store(Item(key, value, tuple(depends_on), pinned), None)

    def invalidate(self, key: Hashable) -> bool:
        """Drop ``key`` and what depends on it; whether it was there."""
        item = self._items.get(key)
        if item is not None:
            self._drop([item], Cause.EXPLICIT)
        return item is not None

    def clear(self) -> None:
        """Drop everything, pinned entries as well."""
        self._drop(list(self._items.values()), Cause.EXPLICIT)

    def __contains__(self, key: Hashable) -> bool:
        self._expire()
        return key in self._items

    def __len__(self) -> int:
        self._expire()
        return len(self._items)

    @property
    def statistics(self) -> CacheStatistics:
        """Counters of this moment, a copy."""
        copy = CacheStatistics(**{**asdict(self._counts), "invalidations": {}})
        copy.invalidations = {cause.value: count for cause, count in self._causes.items() if count}
        copy.entries = len(self._items)
        copy.pinned = sum(item.pinned for item in self._items.values())
        copy.bytes = self._bytes
        return copy

    def verify(self) -> tuple[str, ...]:
        """Says whether a stale value was ever served or the bytes went over the bound."""
        problems = []
        if self._counts.stale_served:
            problems.append(f"{self._counts.stale_served} stale values served; expected none")
        if self._bytes > self._max_bytes:
            problems.append(f"{self._bytes} bytes kept; expected at most {self._max_bytes}")
        return tuple(problems)

    # Computing and storing

    def _compute(self, key: Hashable, compute: Callable[[], T], depends_on: Sequence[Dependency], pinned: bool) -> T:
        if key in self._frames:
            chain = " -> ".join(repr(frame) for frame in (*self._frames, key))
            raise ReentrantComputationError(f"{key!r} is asked for while it is being computed: {chain}")
        self._expire()
        self._counts.misses += 1
        item = Item(key, None, tuple(depends_on), pinned)
        self._set_limits(item)  # from the prices that the computation starts with, not those it ends with
        frame = self._frames[key] = Frame(key)
        try:
            value = compute()
        finally:
            del self._frames[key]
        item.value = value
        self._expire()
        self._store(item, frame)
        return value

    def _store(self, item: Item, frame: Frame | None) -> bool:
        old = self._items.get(item.key)
        if old is not None:
            self._drop([old], Cause.REPLACED)
        if frame is None:
            self._set_limits(item)
        self._live_no_longer_than_parents(item)
        if self._moved_meanwhile(item, frame):
            self._counts.not_stored += 1
            return False
        needs = len(item.depends_on) * NEED_OVERHEAD
        item.size = self._sizes.of(item.key, item.value) + ENTRY_OVERHEAD + needs
        if not self._make_room(item):
            self._counts.not_stored += 1
            return False
        if any(type(need) is Entry and need.key not in self._items for need in item.depends_on):
            self._counts.not_stored += 1  # room was made by evicting what it rests on
            return False
        self._items[item.key] = item
        self._bytes += item.size
        self._pinned_bytes += item.size if item.pinned else 0
        self._counts.stored += 1
        self._index(item)
        return True

    def _live_no_longer_than_parents(self, item: Item) -> None:
        for need in item.depends_on:
            parent = self._items.get(need.key) if isinstance(need, Entry) else None
            if parent is not None and parent.expires is not None:
                item.expires = parent.expires if item.expires is None else min(item.expires, parent.expires)

    def _moved_meanwhile(self, item: Item, frame: Frame | None) -> bool:
        if any(type(need) is Entry and need.key not in self._items for need in item.depends_on):
            return True
        if item.expires is not None and item.expires <= self._clock.now():
            return True
        return frame is not None and any(self._moved(need, item, frame) for need in item.depends_on)

    def _moved(self, need: Dependency, item: Item, frame: Frame) -> bool:
        if isinstance(need, PriceOf):
            low, high = item.bases[need.symbol]
            return any(not low <= price <= high for price in frame.prices.get(need.symbol, ()))
        if isinstance(need, PositionOf):
            return need.position in frame.positions
        if isinstance(need, AnyPosition):
            return bool(frame.positions)
        if isinstance(need, Entry):
            return need.key in frame.dropped
        return frame.session_ended and isinstance(need, SessionEnd)

    def _set_limits(self, item: Item) -> None:
        for need in item.depends_on:
            if isinstance(need, PriceOf):
                self._base(item, need)
            elif isinstance(need, TimeToLive):
                self._limit_life(item, need)

    def _base(self, item: Item, need: PriceOf) -> None:
        """Bounds outside which the entry goes; the narrower when a symbol is named twice."""
        price = self._prices.get(need.symbol, _UNKNOWN)
        if isnan(price):
            low, high = float("inf"), float("-inf")
        else:
            margin = need.tolerance * abs(price)
            low, high = price - margin, price + margin
        known = item.bases.get(need.symbol)
        item.bases[need.symbol] = (low, high) if known is None else (max(low, known[0]), min(high, known[1]))

    def _limit_life(self, item: Item, need: TimeToLive) -> None:
        expires = self._clock.now() + timedelta(seconds=need.seconds)
        item.expires = expires if item.expires is None else min(expires, item.expires)

    def _make_room(self, item: Item) -> bool:
        if item.pinned and self._pinned_bytes + item.size > self._max_bytes:
            raise PinnedTooLargeError(
                f"{item.key!r}: {item.size} bytes to pin beside {self._pinned_bytes}; capacity {self._max_bytes}"
            )
        if self._pinned_bytes + item.size > self._max_bytes:
            return False
        while self._bytes + item.size > self._max_bytes:
            oldest = next(kept for kept in self._items.values() if not kept.pinned)
            self._counts.evictions += 1
            self._drop([oldest], Cause.EVICTED)
        return True

    def _index(self, item: Item) -> None:
        for symbol, (low, high) in item.bases.items():
            bounds = self._by_price.get(symbol)
            if bounds is None:
                bounds = self._by_price[symbol] = Bounds()
            bounds.add(item, low, high)
        if item.expires is not None:
            self._serial += 1
            heappush(self._by_expiry, (item.expires, self._serial, item))
        for need in item.depends_on:
            if isinstance(need, PositionOf):
                self._by_position.setdefault(need.position, {})[item] = None
            elif isinstance(need, AnyPosition):
                self._by_any_position[item] = None
            elif isinstance(need, SessionEnd):
                self._by_session[item] = None
            elif isinstance(need, Entry):
                self._by_entry.setdefault(need.key, {})[item] = None

    # Dropping

    def _drop(self, items: list[Item], cause: Cause) -> None:
        """Take entries out, and those that rest on them, without recursion."""
        waiting = [(item, cause) for item in items]
        while waiting:
            item, why = waiting.pop()
            if not item.live:
                continue
            item.live = False
            self._causes[why] += 1
            del self._items[item.key]
            self._bytes -= item.size
            self._pinned_bytes -= item.size if item.pinned else 0
            for frame in self._frames.values():
                frame.dropped.add(item.key)
            self._unindex(item)
            dependents = self._by_entry.pop(item.key, None)
            if dependents:
                waiting.extend((dependent, Cause.ENTRY) for dependent in dependents)

    def _unindex(self, item: Item) -> None:
        for symbol in item.bases:
            self._by_price[symbol].forget_one()
        for need in item.depends_on:
            if isinstance(need, PositionOf):
                _discard(self._by_position, need.position, item)
            elif isinstance(need, AnyPosition):
                self._by_any_position.pop(item, None)
            elif isinstance(need, SessionEnd):
                self._by_session.pop(item, None)
            elif isinstance(need, Entry):
                _discard(self._by_entry, need.key, item)
        if len(self._by_expiry) > 64 and len(self._by_expiry) > 2 * len(self._items):
            self._by_expiry = [entry for entry in self._by_expiry if entry[2].live]
            heapify(self._by_expiry)

    def _expire(self) -> None:
        heap = self._by_expiry
        if not heap:
            return
        now = self._clock.now()
        due = []
        while heap and (heap[0][0] <= now or not heap[0][2].live):
            item = heappop(heap)[2]
            if item.live:
                due.append(item)
        if due:
            self._drop(due, Cause.TIME)

    def _audit_finds_stale(self, item: Item) -> bool:
        """Check a hit against the last prices and entries, independently of the indexes; drops what should be gone."""
        stale = any(type(need) is Entry and need.key not in self._items for need in item.depends_on)
        for symbol, (low, high) in item.bases.items():
            price = self._prices.get(symbol, _UNKNOWN)
            known_then = low <= high
            stale = stale or (not low <= price <= high if known_then else not isnan(price))
        if stale:
            self._counts.stale_served += 1
            self._drop([item], Cause.EXPLICIT)
        return stale

    # What the bus brings

    def _on_market_data(self, event: MarketData) -> None:
        self._price_moved(event.ticker, event.price)

    def _price_moved(self, symbol: str, price: float) -> None:
        self._prices[symbol] = price
        for frame in self._frames.values():
            frame.prices.setdefault(symbol, []).append(price)
        bounds = self._by_price.get(symbol)
        if bounds is not None:
            gone = bounds.outside(price)
            if gone:
                self._drop(gone, Cause.PRICE)

    def _on_position(self, event: PositionChanged) -> None:
        for frame in self._frames.values():
            frame.positions.add(event.position)
        gone = [*self._by_position.get(event.position, ()), *self._by_any_position]
        if gone:
            self._drop(gone, Cause.POSITION)

    def _on_session_closed(self, event: SessionClosed) -> None:
        for frame in self._frames.values():
            frame.session_ended = True
        if self._by_session:
            self._drop(list(self._by_session), Cause.SESSION)


def _discard(index: dict[Any, dict[Item, None]], key: Hashable, item: Item) -> None:
    items = index.get(key)
    if items is not None:
        items.pop(item, None)
        if not items:
            del index[key]

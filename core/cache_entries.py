"""What a cached value may depend on, and the records that the cache keeps of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from heapq import heapify, heappop, heappush
from math import isnan
from typing import Any


@dataclass(frozen=True, slots=True)
class PriceOf:
    """The price of a ticker or a ``Contract.name``; ``tolerance`` is relative to it at computation (0.01: 1 %).

    When no price was known at computation, the first one to come drops the entry.
    """

    symbol: str
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.tolerance < 1.0:
            raise ValueError(f"tolerance: {self.tolerance} for {self.symbol}; expected 0 to under 1")


@dataclass(frozen=True, slots=True)
class PositionOf:
    """One position: any change of it drops the entry."""

    position: str


@dataclass(frozen=True, slots=True)
class AnyPosition:
    """All positions: a change of any drops the entry."""


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """Seconds of market time, over 0; at exactly that age the entry is gone."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds: {self.seconds}; expected over 0")


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """The trading day: its close drops the entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Another entry: when it is dropped or replaced, so is this one."""

    key: Hashable


Dependency = PriceOf | PositionOf | AnyPosition | TimeToLive | SessionEnd | Entry


class Cause(StrEnum):
    """Why an entry went."""

    PRICE = "price"
    POSITION = "position"
    TIME = "time"
    SESSION = "session"
    ENTRY = "entry"
    REPLACED = "replaced"
    EXPLICIT = "explicit"
    EVICTED = "evicted"


class ReentrantComputationError(RuntimeError):
    """A value was asked for while it was being computed; the message names the chain of keys."""


class PinnedTooLargeError(RuntimeError):
    """A pinned entry does not fit beside the other pinned entries."""


@dataclass(slots=True)
class CacheStatistics:
    """Counters since the start. ``stale_served`` must be 0: audited hits whose dependencies had moved."""

    hits: int = 0
    misses: int = 0
    stored: int = 0
    not_stored: int = 0
    evictions: int = 0
    stale_served: int = 0
    entries: int = 0
    pinned: int = 0
    bytes: int = 0
    invalidations: dict[str, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float | None:
        """Hits over lookups, 0 to 1; ``None`` before the first lookup."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else None


class Item:
    """One stored value and everything that it rests on."""

    __slots__ = ("bases", "depends_on", "expires", "key", "live", "pinned", "size", "value")

    def __init__(self, key: Hashable, value: Any, depends_on: Sequence[Dependency], pinned: bool) -> None:
        self.key = key
        self.value = value
        self.depends_on = depends_on
        self.pinned = pinned
        self.size = 0
        self.expires: datetime | None = None
        self.bases: dict[str, tuple[float, float]] = {}
        self.live = True


class Bounds:
    """Entries resting on one symbol's price, in two heaps: by the price over and under which they go."""

    __slots__ = ("count", "high", "low", "serial")

    def __init__(self) -> None:
        self.high: list[tuple[float, int, Item]] = []
        self.low: list[tuple[float, int, Item]] = []
        self.count = 0
        self.serial = 0

    def add(self, item: Item, low: float, high: float) -> None:
        self.serial += 1
        self.count += 1
        heappush(self.high, (high, self.serial, item))
        heappush(self.low, (-low, self.serial, item))

    def forget_one(self) -> None:
        """One entry went for another cause; the heaps are cleaned when over half of them is dead."""
        self.count -= 1
        if len(self.high) > 64 and len(self.high) > 2 * self.count:
            self.high = [entry for entry in self.high if entry[2].live]
            self.low = [entry for entry in self.low if entry[2].live]
            heapify(self.high)
            heapify(self.low)

    def outside(self, price: float) -> list[Item]:
        """Take out the live entries whose bounds ``price`` leaves; a price that is no number leaves all."""
        gone: list[Item] = []
        unknown = isnan(price)
        high, low = self.high, self.low
        while high and (unknown or price > high[0][0] or not high[0][2].live):
            item = heappop(high)[2]
            if item.live:
                gone.append(item)
        while low and (unknown or -price > low[0][0] or not low[0][2].live):
            item = heappop(low)[2]
            if item.live:
                gone.append(item)
        return gone


class Frame:
    """A computation under way, and what moved during it."""

    __slots__ = ("dropped", "key", "positions", "prices", "session_ended")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.dropped: set[Hashable] = set()
        self.positions: set[str] = set()
        self.prices: dict[str, list[float]] = {}
        self.session_ended = False

"""What a cached value may depend on, the records that the cache keeps of it, and how many bytes it keeps alive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum, StrEnum
from heapq import heapify, heappop, heappush
from math import isnan
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

SAMPLED_FROM = 8
SAMPLE = 4
MEASURED_EVERY = 20  # times that a value of one outline is kept under one key
OUTLINES_KEPT = 1_000

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Enum, bool, type(None))
_FLAT = (int, float, complex, str, bytes, bytearray, date, time, timedelta)
_Measured = tuple[int, Iterable[tuple[object, float]]]
_NOTHING: tuple[tuple[object, float], ...] = ()
_FLOAT = sys.getsizeof(0.0)


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


def size_of(value: object) -> int:
    """Bytes that dropping ``value`` would free, as far as Python tells.

    A view counts its whole base, for it keeps it alive. Parts met twice count once; classes, functions, modules and
    enum members are shared by all and count nothing. Of a container of over 8 parts, 4 are measured: those of a chain
    are alike.
    """
    seen: set[int] = set()
    total = 0.0
    waiting: list[tuple[Any, float]] = [(value, 1.0)]
    while waiting:
        item, weight = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        kind = type(item)
        measure = _MEASURES.get(kind)
        if measure is None:
            measure = _MEASURES[kind] = _measure_for(kind)
        size, parts = measure(item)
        total += size * weight
        for part, factor in parts:
            if type(part) is float:  # most of what is kept: no need to ask how a float is measured
                if id(part) not in seen:
                    seen.add(id(part))
                    total += _FLOAT * weight * factor
            elif part is not None:
                waiting.append((part, weight * factor))
    return int(total)


class Sizes:
    """Bytes of values by their keys; a value of the same outline as the last under its key is not measured anew.

    What is computed each minute from what is held has the same size each minute, and measuring it costs more than most
    of what is kept. Every so often it is measured all the same.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[object, ...], int, int]] = {}

    def of(self, key: Hashable, value: object) -> int:
        """Bytes of a value and its key."""
        outline = _outline(value)
        known = self._known.get(key)
        if outline is not None and known is not None and known[0] == outline and known[2] < MEASURED_EVERY:
            self._known[key] = (outline, known[1], known[2] + 1)
            return known[1]
        size = size_of(value) + size_of(key)
        outline = _outline(value)  # known of a class once one of it was measured
        if outline is not None:
            if len(self._known) >= OUTLINES_KEPT:
                self._known.clear()
            self._known[key] = (outline, size, 1)
        return size


def _outline(value: object) -> tuple[object, ...] | None:
    """An object's class, and class and length of each of its parts; ``None`` for what is no object of slots."""
    kind = type(value)
    read = _READERS.get(kind)
    if read is None:
        return None
    return (kind, *(len(part) if type(part) in _SIZED else type(part) for part in read(value)))


def _measure_for(kind: type) -> Callable[[Any], _Measured]:
    """How to measure a class of things; found once for each class."""
    package = kind.__module__.partition(".")[0]
    if issubclass(kind, _SHARED):
        return _shared
    if issubclass(kind, _FLAT):
        return _flat
    if package == "pandas" and hasattr(kind, "memory_usage"):
        return _frame
    if package == "numpy":
        return _array
    if issubclass(kind, Mapping):
        return _mapping
    if issubclass(kind, list | tuple | set | frozenset) and not hasattr(kind, "__dict__"):
        return _container
    return _object_measure(kind)


def _shared(_item: Any) -> _Measured:
    return 0, _NOTHING


def _flat(item: Any) -> _Measured:
    return sys.getsizeof(item), _NOTHING


def _frame(item: Any) -> _Measured:
    usage = item.memory_usage(deep=True)
    return int(usage.sum() if hasattr(usage, "sum") else usage) + 500, _NOTHING


def _array(item: Any) -> _Measured:
    size = sys.getsizeof(item)
    if getattr(item, "base", None) is not None:
        return size, ((item.base, 1.0),)
    if getattr(item, "ndim", 0) and item.dtype.hasobject:
        return size, _sampled(list(item.flat))
    return size, _NOTHING


def _mapping(item: Any) -> _Measured:
    return sys.getsizeof(item), [*_sampled(list(item.keys())), *_sampled(list(item.values())), *_attributes(item)]


def _container(item: Any) -> _Measured:
    return sys.getsizeof(item), _sampled(item if isinstance(item, list | tuple) else list(item))


def _object_measure(kind: type) -> Callable[[Any], _Measured]:
    names: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names.extend((slots,) if isinstance(slots, str) else slots)
    kept = tuple(name for name in names if name not in ("__dict__", "__weakref__"))
    holds_items = issubclass(kind, list | tuple | set | frozenset)
    read = attrgetter(*kept, kept[0]) if kept else None  # a name twice, so that one alone comes in a tuple as well
    if read is not None and not holds_items and is_dataclass(kind):
        _READERS[kind] = read

    def measure(item: Any) -> _Measured:
        try:
            parts = [] if read is None else [(part, 1.0) for part in read(item)]
        except AttributeError:  # a slot that was never filled
            parts = [(getattr(item, name), 1.0) for name in kept if hasattr(item, name)]
        parts += _attributes(item)
        if holds_items:
            parts += _sampled(list(item))
        try:
            return sys.getsizeof(item), parts
        except TypeError:  # an extension type without a size of its own
            return object.__sizeof__(item), parts

    return measure


def _attributes(item: Any) -> list[tuple[object, float]]:
    return [(vars(item), 1.0)] if hasattr(item, "__dict__") else []


def _sampled(parts: list[Any] | tuple[Any, ...]) -> list[tuple[object, float]]:
    if len(parts) <= SAMPLED_FROM:
        return [(part, 1.0) for part in parts]
    step = len(parts) / SAMPLE
    return [(parts[int(index * step)], step) for index in range(SAMPLE)]


_MEASURES: dict[type, Callable[[Any], _Measured]] = {}
_READERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {}
_SIZED = (tuple, list, dict, set, frozenset, str)

"""LEAN's dictionaries as Python sees them: iterating gives pairs with `.key` and `.value`, beside the ways of a
Python dict."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from simulation.lean.names import Named

V = TypeVar("V")
D = TypeVar("D")


class KeyValuePair(NamedTuple):
    """One entry of a LEAN dictionary."""

    key: Any
    value: Any

    def __getattr__(self, name: str) -> Any:
        if name in ("Key", "Value"):
            return getattr(self, name.lower())
        raise AttributeError(f"a key-value pair has 'key' and 'value', not '{name}'")


class LeanDictionary(Named, Generic[V]):
    """A dictionary of LEAN. Iteration yields `KeyValuePair`; `in`, `[]`, `get`, `keys`, `values`, `items` work as in
    Python."""

    def __init__(self, entries: dict[Any, V] | None = None) -> None:
        self._entries: dict[Any, V] = {} if entries is None else entries

    def _key(self, key: Any) -> Any:
        """Turns what the caller uses as a key into the stored one."""
        return key

    def _missing(self, key: Any) -> Exception:
        return KeyError(f"'{key}' wasn't found in the {type(self).__name__} object; it holds {len(self._entries)} keys")

    def __getitem__(self, key: Any) -> V:
        value = self._entries.get(self._key(key))
        if value is None:
            raise self._missing(key)
        return value

    def __setitem__(self, key: Any, value: V) -> None:
        self._entries[self._key(key)] = value

    def __contains__(self, key: object) -> bool:
        return self._key(key) in self._entries

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([KeyValuePair(key, value) for key, value in self._entries.items()])

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def count(self) -> int:
        """Number of entries."""
        return len(self)

    def get(self, key: Any, default_value: D | None = None) -> V | D | None:
        """The value of a key, or the default."""
        return self._entries.get(self._key(key), default_value)

    def keys(self) -> list[Any]:
        """All keys."""
        return list(self._entries)

    def values(self) -> list[V]:
        """All values."""
        return list(self._entries.values())

    def items(self) -> list[KeyValuePair]:
        """All pairs."""
        return list(self)

    def contains_key(self, key: Any) -> bool:
        """Whether the key is there."""
        return key in self

    def try_get_value(self, key: Any, value: Any = None) -> tuple[bool, V | None]:
        """C#'s TryGetValue as pythonnet shows it: (found, value)."""
        found = self._entries.get(self._key(key))
        return (found is not None, found if found is not None else value)

    def pop(self, key: Any, *default: Any) -> Any:
        """Removes a key and gives its value."""
        return self._entries.pop(self._key(key), *default)

    def remove(self, key: Any) -> bool:
        """Removes a key; True when it was there."""
        return self._entries.pop(self._key(key), None) is not None

    def clear(self) -> None:
        """Removes everything."""
        self._entries.clear()


def first(things: Iterable[V], condition: Callable[[V], bool]) -> V | None:
    """The first thing for which the condition holds."""
    return next((thing for thing in things if condition(thing)), None)


class CircularQueue(Named, Generic[V]):
    """A queue without end; `circle_completed += handler` hears each time that the first item is taken, also at first,
    as in LEAN (CircularQueue.cs)."""

    def __init__(self, *items: Any) -> None:
        from simulation.lean.dictionaries import EventHandlers

        self._items: list[V] = list(items[0]) if len(items) == 1 and isinstance(items[0], list | tuple) else list(items)
        self._next = 0
        self.circle_completed = EventHandlers()

    def dequeue(self) -> V:
        """The next item."""
        item = self._items[self._next]
        self._next = (self._next + 1) % len(self._items)
        if item == self._items[0]:
            self.on_circle_completed()
        return item

    def on_circle_completed(self) -> None:
        """Tells the handlers that the queue begins anew."""
        self.circle_completed.fire(self, None)


class EventHandlers:
    """A C# event: `+=` and `-=` a handler of (sender, bar)."""

    def __init__(self) -> None:
        self._handlers: list[Callable[[Any, Any], Any]] = []

    def __iadd__(self, handler: Callable[[Any, Any], Any]) -> EventHandlers:
        self._handlers.append(handler)
        return self

    def __isub__(self, handler: Callable[[Any, Any], Any]) -> EventHandlers:
        self._handlers.remove(handler)
        return self

    def fire(self, sender: Any, value: Any) -> None:
        """Calls all handlers."""
        for handler in list(self._handlers):
            handler(sender, value)


class RollingWindow(Named):
    """The last values, newest first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.samples = 0
        self._values: deque[Any] = deque(maxlen=size)

    def __class_getitem__(cls, _: Any) -> type[RollingWindow]:
        return cls

    def add(self, item: Any) -> None:
        """Puts a value in front."""
        self._values.appendleft(item)
        self.samples += 1

    @property
    def is_ready(self) -> bool:
        """Whether the window is full."""
        return len(self._values) == self.size

    @property
    def count(self) -> int:
        """Values held."""
        return len(self._values)

    def reset(self) -> None:
        """Empties the window."""
        self._values.clear()
        self.samples = 0

    def __getitem__(self, index: int) -> Any:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Any:
        return iter(self._values)


_TABLE_SIZES = (
    *(37, 89, 197, 431, 919, 1931, 4049, 8419, 17519, 36353, 75431, 156437, 324449, 672827, 1395263, 2893249),
)
"""Buckets of a table that begins with .NET's default of 31, made prime, and doubles (HashHelpers.GetPrime)."""


class OrderTable(Generic[V]):
    """.NET's ConcurrentDictionary from order numbers to something, for the order in which it lists them.

    A number lies in the bucket of its remainder, the newest first, and buckets are listed in turn: with 37 of them
    order 112 comes before order 77 (recording fuzz july-505). The table grows when as many entries as buckets are in
    it: so does .NET's on a machine of several processors, with numbers that come one after the other.
    """

    __slots__ = ("_buckets", "_entries")

    def __init__(self) -> None:
        self._entries: dict[int, V] = {}
        self._buckets: list[list[int]] = [[] for _ in range(_TABLE_SIZES[0])]

    def __getitem__(self, number: int) -> V:
        return self._entries[number]

    def __setitem__(self, number: int, value: V) -> None:
        if number not in self._entries:
            self._buckets[number % len(self._buckets)].insert(0, number)
        self._entries[number] = value
        if len(self._entries) >= len(self._buckets):
            self._grow()

    def _grow(self) -> None:
        size = next((size for size in _TABLE_SIZES if size > len(self._buckets)), 2 * len(self._buckets) + 1)
        grown: list[list[int]] = [[] for _ in range(size)]
        for bucket in self._buckets:
            for number in bucket:
                grown[number % size].insert(0, number)
        self._buckets = grown

    def __contains__(self, number: object) -> bool:
        return number in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, number: int) -> V | None:
        """The entry of a number, None without one."""
        return self._entries.get(number)

    def pop(self, number: int) -> V | None:
        """Takes an entry out and gives it back, None without one."""
        value = self._entries.pop(number, None)
        if value is not None:
            self._buckets[number % len(self._buckets)].remove(number)
        return value

    def values(self) -> list[V]:
        """The entries in the table's own order."""
        return [self._entries[number] for bucket in self._buckets for number in bucket]

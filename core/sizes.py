"""How many bytes a value keeps alive: arrays with their base, frames with their text, objects with their parts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

SAMPLED_FROM = 1_000
SAMPLE = 100

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Enum, bool, type(None))
_FLAT = (int, float, complex, str, bytes, bytearray)


def size_of(value: object) -> int:
    """Bytes that dropping ``value`` would free, as far as Python tells.

    A view counts its whole base, for it keeps it alive. Parts met twice count once; classes, functions, modules and
    enum members are shared by all and count nothing. Of a container of over 1,000 parts, 100 are measured.
    """
    if type(value) in _FLAT:
        return sys.getsizeof(value)
    seen: set[int] = set()
    total = 0.0
    waiting: list[tuple[Any, float]] = [(value, 1.0)]
    while waiting:
        item, weight = waiting.pop()
        if isinstance(item, _SHARED) or id(item) in seen:
            continue
        seen.add(id(item))
        own = _own_size(item)
        total += own * weight
        if not isinstance(item, _FLAT):
            waiting.extend((part, weight * factor) for part, factor in _parts(item))
    return int(total)


def _own_size(item: Any) -> int:
    kind = type(item)
    package = kind.__module__.partition(".")[0]
    if package == "pandas" and hasattr(item, "memory_usage"):
        usage = item.memory_usage(deep=True)
        return int(usage.sum() if hasattr(usage, "sum") else usage) + 500
    try:
        return sys.getsizeof(item)
    except TypeError:  # an extension type without a size of its own
        return object.__sizeof__(item)


def _parts(item: Any) -> Iterator[tuple[object, float]]:
    package = type(item).__module__.partition(".")[0]
    if package == "pandas":
        return
    if package == "numpy":
        yield from _array_parts(item)
        return
    if isinstance(item, Mapping):
        yield from _sampled(list(item.keys()))
        yield from _sampled(list(item.values()))
    elif isinstance(item, list | tuple | set | frozenset):
        yield from _sampled(list(item))
    if hasattr(item, "__dict__"):
        yield vars(item), 1.0
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(item, name):
                yield getattr(item, name), 1.0


def _array_parts(array: Any) -> Iterator[tuple[object, float]]:
    if getattr(array, "base", None) is not None:
        yield array.base, 1.0
    elif getattr(array, "ndim", 0) and array.dtype.hasobject:
        yield from _sampled(list(array.flat))


def _sampled(parts: list[Any]) -> Iterator[tuple[object, float]]:
    if len(parts) <= SAMPLED_FROM:
        for part in parts:
            yield part, 1.0
        return
    step = len(parts) / SAMPLE
    for index in range(SAMPLE):
        yield parts[int(index * step)], step

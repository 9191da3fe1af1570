"""How many bytes a value keeps alive: arrays with their base, frames with their text, objects with their parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

SAMPLED_FROM = 1_000
SAMPLE = 100

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Enum, bool, type(None))
_FLAT = (int, float, complex, str, bytes, bytearray, date, time, timedelta)
_Measured = tuple[int, Iterable[tuple[object, float]]]
_NOTHING: tuple[tuple[object, float], ...] = ()


def size_of(value: object) -> int:
    """Bytes that dropping ``value`` would free, as far as Python tells.

    A view counts its whole base, for it keeps it alive. Parts met twice count once; classes, functions, modules and
    enum members are shared by all and count nothing. Of a container of over 1,000 parts, 100 are measured.
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
            waiting.append((part, weight * factor))
    return int(total)


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

    def measure(item: Any) -> _Measured:
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

"""Builds every manager once, from what its constructor says that it needs.

The annotations of a constructor are the needs. They are sorted with ``graphlib``; the managers of one layer, which
need nothing of each other, are built in parallel threads. Neither the order of declaration nor the timing of threads
changes the system that comes out: subscriptions and journal lines of a layer are ordered by name.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cache, partial
from graphlib import CycleError, TopologicalSorter
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from core.journal import BUILD_RANK, Journal, RecordKind

T = TypeVar("T")


class Manager:
    """What every manager has; one that can be wrong before the market opens has a ``verify`` of its own."""

    __slots__ = ()

    def verify(self) -> tuple[str, ...]:
        """What is wrong with it, a sentence each; empty when it is ready to work."""
        return ()


class FactoryError(RuntimeError):
    """The managers cannot be built; the message names the path."""


class MissingProviderError(FactoryError):
    """A manager needs something that nobody provides."""


class ManagerCycleError(FactoryError):
    """Managers need each other in a circle."""


class ManagerFailedError(FactoryError):
    """The constructor of a manager raised."""


@dataclass(frozen=True, slots=True)
class ManagerRow:
    """One line of the table: who, of what layer, needing whom, built in how long, with what verdict."""

    name: str
    layer: int
    needs: tuple[str, ...]
    milliseconds: float
    problems: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """``ready`` or what is wrong."""
        return "; ".join(self.problems) or "ready"


@dataclass(frozen=True, slots=True)
class _Need:
    parameter: str
    types: tuple[type, ...]
    all_of: bool


class Managers:
    """The built system: ``managers[Type]`` gives the one of that type."""

    def __init__(self, instances: dict[type, Any], rows: tuple[ManagerRow, ...]) -> None:
        self._instances = instances
        self.rows = rows

    def __getitem__(self, kind: type[T]) -> T:
        found = _providers(kind, self._instances)
        if len(found) != 1:
            names = sorted(item.__name__ for item in found) or "nobody"
            raise KeyError(f"{kind.__name__}: provided by {names}; expected exactly one manager")
        return cast(T, self._instances[found[0]])

    def all_of(self, kind: type[T]) -> tuple[T, ...]:
        """Every manager that is a ``kind``, by name."""
        return tuple(cast(T, self._instances[item]) for item in _providers(kind, self._instances))

    def layers(self) -> dict[type, int]:
        """Layer of each manager's type, 0 for what was given ready-made."""
        layer = {row.name: row.layer for row in self.rows}
        return {kind: layer[kind.__name__] for kind in self._instances}

    def verify(self) -> tuple[ManagerRow, ...]:
        """Ask every manager what is wrong with it; a manager whose ``verify`` raises is wrong too."""
        by_name = {kind.__name__: instance for kind, instance in self._instances.items()}
        self.rows = tuple(replace(row, problems=_ask(by_name[row.name])) for row in self.rows)
        return self.rows

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last ``verify`` found, each with the manager's name."""
        return tuple(f"{row.name}: {problem}" for row in self.rows for problem in row.problems)

    def table(self) -> str:
        """Name, layer, needs, time and verdict of each, for the log."""
        lines = [f"{'manager':<28} {'layer':>5} {'ms':>8}  verdict; needs"]
        for row in self.rows:
            needs = ", ".join(row.needs) or "nothing"
            lines.append(f"{row.name:<28} {row.layer:>5} {row.milliseconds:>8.2f}  {row.verdict}; {needs}")
        return "\n".join(lines)


class ManagerFactory:
    """Declare with ``provide`` and ``register`` in any order, then ``build`` once."""

    def __init__(self, *, threads: int = 4) -> None:
        self._provided: dict[type, Any] = {}
        self._registered: dict[type, Callable[..., Any]] = {}
        self._lean: set[type] = set()
        self._threads = threads

    def provide(self, instance: object, as_type: type | None = None, *, on_lean_thread: bool = False) -> None:
        """Give something ready-made; it is found by its own type and every type above, or by ``as_type``.

        ``on_lean_thread``: it is LEAN's API, so whoever needs it is built on the thread that calls ``build``.
        """
        kind = as_type or type(instance)
        self._refuse_second(kind)
        self._provided[kind] = instance
        if on_lean_thread:
            self._lean.add(kind)

    def register(self, kind: type) -> None:
        """Let the factory build ``kind``. Its class attribute ``on_lean_thread = True`` keeps it off other threads.

        Raises ``TypeError`` for a class without ``verify``.
        """
        self._refuse_second(kind)
        if not callable(getattr(kind, "verify", None)):
            raise TypeError(f"{kind.__name__}: has no verify(); every manager says what is wrong with it")
        self._registered[kind] = kind

    def build(self) -> Managers:
        """Build all, layer by layer.

        Raises ``MissingProviderError``, ``ManagerCycleError`` or ``ManagerFailedError``.
        """
        needs = {kind: self._needs_of(kind) for kind in self._registered}
        graph = {kind: {item for need in wanted for item in need.types} for kind, wanted in needs.items()}
        layers = self._layers(graph)
        instances = dict(sorted(self._provided.items(), key=lambda item: item[0].__name__))
        rows = [ManagerRow(kind.__name__, 0, (), 0.0, ()) for kind in instances]
        journal = next((item for item in instances.values() if isinstance(item, Journal)), None)
        if journal is not None:
            journal.hold()
        rank = 0
        try:
            for depth, layer in enumerate(layers, start=1):
                built = self._build_layer(layer, needs, instances, rank)
                rank += len(layer)
                for kind, (instance, milliseconds) in zip(layer, built, strict=True):
                    instances[kind] = instance
                    names = tuple(sorted({item.__name__ for need in needs[kind] for item in need.types}))
                    rows.append(ManagerRow(kind.__name__, depth, names, milliseconds, ()))
        finally:
            if journal is not None:
                journal.release()
        managers = Managers(instances, tuple(rows))
        managers.verify()
        if journal is not None:
            _journal_table(journal, managers)
        return managers

    def _refuse_second(self, kind: type) -> None:
        names = {item.__name__ for item in (*self._provided, *self._registered)}
        if kind.__name__ in names:
            raise FactoryError(f"{kind.__name__}: declared twice; expected one manager of a name")

    def _needs_of(self, kind: type) -> tuple[_Need, ...]:
        hints = _hints(kind)
        needs = []
        known = (*self._provided, *self._registered)
        for name, parameter in _parameters(kind).items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            wanted, all_of = _wanted(hints.get(name))
            found = () if wanted is None else tuple(item for item in _providers(wanted, known) if item is not kind)
            optional = parameter.default is not parameter.empty
            if all_of or len(found) == 1:
                needs.append(_Need(name, found, all_of))
            elif len(found) > 1:
                names = ", ".join(item.__name__ for item in found)
                raise FactoryError(f"{kind.__name__}({name}): provided by {names}; expected exactly one")
            elif not optional:
                raise MissingProviderError(self._missing(kind, name, hints.get(name)))
        return tuple(needs)

    def _missing(self, kind: type, parameter: str, hint: Any) -> str:
        needed_by = sorted(other.__name__ for other in self._registered if kind in _hints(other).values())
        path = f"{needed_by[0]} -> {kind.__name__}" if needed_by else kind.__name__
        return f"{path} -> {getattr(hint, '__name__', hint)}: nobody provides what {kind.__name__}({parameter}) needs"

    def _layers(self, graph: dict[type, set[type]]) -> list[list[type]]:
        sorter: TopologicalSorter[type] = TopologicalSorter(graph)
        try:
            sorter.prepare()
        except CycleError as error:
            path = " -> ".join(kind.__name__ for kind in reversed(error.args[1]))
            raise ManagerCycleError(f"managers need each other in a circle: {path}") from error
        layers = []
        while sorter.is_active():
            ready = sorter.get_ready()
            sorter.done(*ready)
            layer = sorted((kind for kind in ready if kind in self._registered), key=lambda kind: kind.__name__)
            if layer:
                layers.append(layer)
        return layers

    def _needs_lean(self, kind: type, needs: tuple[_Need, ...]) -> bool:
        return getattr(kind, "on_lean_thread", False) or any(self._lean.intersection(need.types) for need in needs)

    def _build_layer(
        self, layer: list[type], needs: dict[type, tuple[_Need, ...]], instances: dict[type, Any], rank: int
    ) -> list[tuple[Any, float]]:
        def build(kind: type, place: int) -> tuple[Any, float]:
            BUILD_RANK.set(place)
            arguments = {need.parameter: _argument(need, instances) for need in needs[kind]}
            started = time.perf_counter()
            instance = kind(**arguments)
            return instance, (time.perf_counter() - started) * 1000

        elsewhere: dict[type, Future[tuple[Any, float]]] = {}
        outcome: dict[type, tuple[Any, float] | Exception] = {}
        places = {kind: rank + index for index, kind in enumerate(layer)}
        with ThreadPoolExecutor(max_workers=self._threads) as pool:
            if len(layer) > 1:
                for kind in layer:
                    if not self._needs_lean(kind, needs[kind]):
                        elsewhere[kind] = pool.submit(copy_context().run, build, kind, places[kind])
            for kind in layer:
                if kind not in elsewhere:
                    outcome[kind] = _attempt(partial(copy_context().run, build, kind, places[kind]))
            for kind, future in elsewhere.items():
                outcome[kind] = _attempt(future.result)
        built = []
        for kind in layer:
            result = outcome[kind]
            if isinstance(result, Exception):
                message = f"{kind.__name__}: its constructor raised {type(result).__name__}: {result}"
                raise ManagerFailedError(message) from result
            built.append(result)
        return built


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """What the constructor's parameters are annotated with."""
    constructor = inspect.getattr_static(kind, "__init__")
    return get_type_hints(constructor) if inspect.isfunction(constructor) else {}


@cache
def _parameters(kind: type) -> Mapping[str, inspect.Parameter]:
    """The constructor's parameters; a process that builds many systems asks once."""
    return inspect.signature(kind).parameters


def _attempt(work: Callable[[], tuple[Any, float]]) -> tuple[Any, float] | Exception:
    """The work's result or its error, kept so that the whole layer ends before the first by name is raised."""
    try:
        return work()
    except Exception as error:
        return error


def _wanted(hint: Any) -> tuple[type | None, bool]:
    """The class behind an annotation, and whether all of that class are wanted (``tuple[Plugin, ...]``)."""
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not type(None)]
        hint = parts[0] if len(parts) == 1 else None
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis and isinstance(inner[0], type):
            return inner[0], True
        return None, False
    return (hint, False) if isinstance(hint, type) else (None, False)


def _providers(kind: type, known: Any) -> list[type]:
    """Types among ``known`` that are a ``kind``: itself when it is there, else those derived from it, by name."""
    if kind in known:
        return [kind]
    return sorted((item for item in known if _derives(item, kind)), key=lambda item: item.__name__)


def _derives(item: type, kind: type) -> bool:
    return kind is not object and kind in item.__mro__


def _argument(need: _Need, instances: dict[type, Any]) -> Any:
    found = tuple(instances[kind] for kind in need.types)
    return found if need.all_of else found[0]


def _ask(instance: Any) -> tuple[str, ...]:
    verify = getattr(instance, "verify", None)
    if not callable(verify):
        return ()
    try:
        return tuple(verify())
    except Exception as error:  # a manager that cannot say how it is, is not well; the table carries it
        return (f"verify() raised {type(error).__name__}: {error}",)


def _journal_table(journal: Journal, managers: Managers) -> None:
    for row in managers.rows:
        journal.record(
            RecordKind.SYSTEM,
            component="factory",
            reason=f"{row.name}: {row.verdict}",
            layer=row.layer,
            needs=row.needs,
        )

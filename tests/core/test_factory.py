"""The factory: needs by annotation, order, cycles, parallel layers, verdicts; any timing gives the same system."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from datetime import datetime
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Protocol

import pytest

from core.bus import EventBus
from core.cache import UnifiedIntelligentCache
from core.clock import MarketClock
from core.events import Event, SessionOpened
from core.factory import (
    FactoryError,
    ManagerCycleError,
    ManagerFactory,
    ManagerFailedError,
    Managers,
    MissingProviderError,
)
from core.journal import Journal, MemorySink, RecordKind
from tests.fake_gateway import FakeGateway
from tests.fake_gateway import build as build_system

NOW = datetime(2024, 7, 5, 9, 30)
DELAYS: dict[str, float] = {}
MEETING: list[threading.Barrier] = []  # where those of a layer wait for each other, in a test that asks for it
MEET = ("Vix", "Chains", "Margin", "Correlation")
BUILT_ON: dict[str, int] = {}


class Manager:
    """What the test's managers have in common: a delay, a subscription, a journal line."""

    def __init__(self, bus: EventBus, journal: Journal) -> None:
        time.sleep(DELAYS.get(type(self).__name__, 0.0))
        if MEETING and type(self).__name__ in MEET:
            MEETING[0].wait(60)
        BUILT_ON[type(self).__name__] = threading.get_ident()
        self.heard: list[str] = []
        name = type(self).__name__
        bus.subscribe(Event, self.hear, component=name)
        journal.record(RecordKind.SYSTEM, component=name, reason="built")

    def hear(self, event: Event) -> None:
        ORDER.append(type(self).__name__)

    def verify(self) -> tuple[str, ...]:
        return ()


ORDER: list[str] = []


class Vix(Manager):
    """Needs the bus and the journal only."""


class Freshness(Manager):
    """Needs the bus and the journal only; built where LEAN's API may be used."""

    on_lean_thread = True


class Chains(Manager):
    """Needs the bus and the journal only."""


class Greeks(Manager):
    """Needs two of the layer before."""

    def __init__(self, bus: EventBus, journal: Journal, chains: Chains, vix: Vix) -> None:
        super().__init__(bus, journal)
        self.chains, self.vix = chains, vix


class Plugin(Protocol):
    """A face that several have."""

    def review(self) -> str: ...


class Margin(Manager, Plugin):
    """A plugin."""

    def review(self) -> str:
        return "margin"


class Correlation(Manager, Plugin):
    """A plugin."""

    def review(self) -> str:
        return "correlation"


class Risk(Manager):
    """Needs all plugins, Greeks, and nothing that has a default and no provider."""

    def __init__(
        self, bus: EventBus, journal: Journal, plugins: tuple[Plugin, ...], greeks: Greeks, limit: float = 0.8
    ) -> None:
        super().__init__(bus, journal)
        self.plugins, self.greeks, self.limit = plugins, greeks, limit


ALL: tuple[type, ...] = (Vix, Freshness, Chains, Greeks, Margin, Correlation, Risk)


def build(kinds: tuple[type, ...] = ALL, threads: int = 4) -> tuple[Managers, MemorySink]:
    sink = MemorySink()
    clock = MarketClock(NOW)
    journal = Journal(sink, clock)
    factory = ManagerFactory(threads=threads)
    for kind in kinds:
        factory.register(kind)
    for instance in (journal, clock, EventBus(journal)):
        factory.provide(instance)
    return factory.build(), sink


@pytest.fixture(autouse=True)
def _fresh() -> None:
    DELAYS.clear()
    MEETING.clear()
    BUILT_ON.clear()
    ORDER.clear()


def shape(managers: Managers, sink: MemorySink) -> tuple[object, ...]:
    """Everything about a system that timing could have changed."""
    ORDER.clear()
    managers[EventBus].publish(SessionOpened(time=NOW, day=NOW.date(), closes_at=NOW))
    rows = [(row.name, row.layer, row.needs, row.problems) for row in managers.rows]
    plugins = [type(plugin).__name__ for plugin in managers[Risk].plugins]
    return rows, plugins, tuple(ORDER), tuple(sink.lines)


def test_managers_are_built_in_layers_from_their_annotations() -> None:
    managers, _ = build()
    layers = {row.name: row.layer for row in managers.rows}
    assert layers == {
        "EventBus": 0, "Journal": 0, "MarketClock": 0,
        "Chains": 1, "Correlation": 1, "Freshness": 1, "Margin": 1, "Vix": 1,
        "Greeks": 2,
        "Risk": 3,
    }  # fmt: skip
    assert managers[Risk].greeks is managers[Greeks]
    assert managers[Greeks].vix is managers[Vix]
    assert managers[Risk].limit == 0.8
    assert [plugin.review() for plugin in managers[Risk].plugins] == ["correlation", "margin"]
    assert managers.problems == ()


def test_any_order_of_declaration_and_any_timing_give_the_same_system() -> None:
    expected = shape(*build())
    assert expected[2] == ("Chains", "Correlation", "Freshness", "Margin", "Vix", "Greeks", "Risk")
    slow = (Chains.__name__, Correlation.__name__, Vix.__name__)
    for index, kinds in enumerate(itertools.islice(itertools.permutations(ALL), 0, 5_000, 500)):
        DELAYS.clear()
        DELAYS.update({slow[index % 3]: 0.01, slow[(index + 1) % 3]: 0.005})
        assert shape(*build(kinds, threads=1 + index % 5)) == expected


def test_a_layer_is_built_in_parallel_except_what_needs_the_lean_thread() -> None:
    MEETING.append(threading.Barrier(len(MEET)))  # breaks unless all four are being made at once
    build()
    assert BUILT_ON["Freshness"] == threading.get_ident()
    assert BUILT_ON["Vix"] != threading.get_ident()


class Lean:
    """Stands for LEAN's API."""


class Reader(Manager):
    """Needs LEAN."""

    def __init__(self, bus: EventBus, journal: Journal, lean: Lean) -> None:
        super().__init__(bus, journal)
        self.lean = lean


def test_whoever_needs_leans_api_is_built_on_leans_thread() -> None:
    journal = Journal(MemorySink(), MarketClock(NOW))
    factory = ManagerFactory()
    for kind in (Reader, Vix, Chains):
        factory.register(kind)
    factory.provide(journal)
    factory.provide(EventBus(journal))
    factory.provide(Lean(), on_lean_thread=True)
    factory.build()
    here = threading.get_ident()
    assert [BUILT_ON[kind.__name__] == here for kind in (Reader, Vix, Chains)] == [True, False, False]


def test_a_missing_provider_is_named_with_the_path() -> None:
    with pytest.raises(MissingProviderError, match=r"Risk -> Greeks -> Chains: nobody provides what Greeks\(chains\)"):
        build((Vix, Greeks, Margin, Risk))


class Hen:
    """Needs the egg."""

    def __init__(self, egg: Egg) -> None:
        self.egg = egg

    def verify(self) -> tuple[str, ...]:
        return ()


class Egg:
    """Needs the nest."""

    def __init__(self, nest: Nest) -> None:
        self.nest = nest

    def verify(self) -> tuple[str, ...]:
        return ()


class Nest:
    """Needs the hen."""

    def __init__(self, hen: Hen) -> None:
        self.hen = hen

    def verify(self) -> tuple[str, ...]:
        return ("draughty",)


def test_a_cycle_is_named_with_its_path() -> None:
    with pytest.raises(ManagerCycleError) as refused:
        build((Hen, Egg, Nest))
    steps = str(refused.value).removeprefix("managers need each other in a circle: ").split(" -> ")
    assert steps[0] == steps[-1]
    needs = {"Hen": "Egg", "Egg": "Nest", "Nest": "Hen"}
    assert all(needs[one] == other for one, other in itertools.pairwise(steps))


class Broken:
    """Cannot be built."""

    def __init__(self, bus: EventBus) -> None:
        raise ValueError("no history")

    def verify(self) -> tuple[str, ...]:
        return ()


class Sick:
    """Can be built, and says what is wrong; or fails to say it."""

    def __init__(self) -> None:
        self.speechless = False

    def verify(self) -> tuple[str, ...]:
        if self.speechless:
            raise RuntimeError("no voice")
        return "no VIX seen", "calendar empty"


def test_a_constructor_that_raises_is_named() -> None:
    with pytest.raises(ManagerFailedError, match="Broken: its constructor raised ValueError: no history"):
        build((Broken, Vix))


def test_verdicts_are_in_the_table_and_in_the_journal() -> None:
    managers, sink = build((Sick, Vix))
    assert managers.problems == ("Sick: no VIX seen", "Sick: calendar empty")
    assert "no VIX seen; calendar empty; nothing" in managers.table()
    assert [row["reason"] for row in sink.rows() if row["component"] == "factory" and row["layer"]] == [
        "Sick: no VIX seen; calendar empty",
        "Vix: ready",
    ]
    managers[Sick].speechless = True
    managers.verify()
    assert list(managers.problems) == ["Sick: verify() raised RuntimeError: no voice"]


def test_two_of_a_name_and_a_class_without_verify_are_refused() -> None:
    factory = ManagerFactory()
    factory.register(Vix)
    with pytest.raises(FactoryError, match="Vix: declared twice"):
        factory.register(Vix)
    with pytest.raises(TypeError, match=r"MemorySink: has no verify\(\)"):
        factory.register(MemorySink)
    managers, _ = build()
    with pytest.raises(KeyError, match=r"Manager: provided by .*'Chains'.*; expected exactly one"):
        managers[Manager]
    assert len(managers.all_of(Manager)) == 7


def references_upward(managers: Managers) -> list[str]:
    """Every reference from a manager to one of its own or a higher layer, other than through the bus."""
    layers = managers.layers()
    by_identity = {id(managers[kind]): kind for kind in layers}
    bus = managers[EventBus]
    found = []
    for kind, layer in layers.items():
        seen = {id(managers[kind]), id(bus)}
        waiting: list[object] = [managers[kind]]
        while waiting:
            item = waiting.pop()
            for part in gc.get_referents(item):
                if id(part) in seen or isinstance(part, type | ModuleType):
                    continue
                seen.add(id(part))
                if isinstance(part, FunctionType):  # what it closes over; its globals are the module's
                    waiting.extend(part.__closure__ or ())
                    continue
                other = by_identity.get(id(part))
                if other is None:
                    waiting.append(part)
                elif layers[other] >= layer > 0:
                    found.append(f"{kind.__name__} -> {other.__name__}")
    return found


def test_no_manager_holds_a_reference_to_one_above_it() -> None:
    managers, _ = build((*ALL, UnifiedIntelligentCache))
    assert references_upward(managers) == []
    managers[Vix].heard.append(managers[Risk])  # type: ignore[arg-type]
    managers[Chains].__dict__["callback"] = MethodType(Risk.hear, managers[Risk])
    managers[Margin].__dict__["later"] = lambda: managers[Risk]
    found = references_upward(managers)
    assert found[0] == "Chains -> Risk"
    assert found[-1] == "Vix -> Risk"
    assert "Margin -> Risk" in found


def test_the_whole_system_is_built_ready_and_no_manager_knows_one_above_it(tmp_path: Path) -> None:
    gateway = FakeGateway(datetime(2024, 3, 8, 9, 30), lambda moment: 5100.0, lambda moment: 24.0, tmp_path)
    system, _ = build_system(gateway)
    gateway.events = None  # the fake broker's way back to the system, as LEAN's callbacks are main.py's
    assert references_upward(system.managers) == []
    assert system.managers.problems == ()
    layers = {row.name: row.layer for row in system.managers.rows}
    assert layers["UnifiedIntelligentCache"] < layers["CentralGreeksService"] < layers["GreeksMonitor"]
    assert layers["HierarchicalStateManager"] < layers["AtomicExecutor"] < layers["StrategyCoordinator"]

"""Order, isolation, correlation and storms of the event bus."""

from __future__ import annotations

import threading
from datetime import date, datetime

import pytest

from core.bus import EventBus
from core.clock import MarketClock
from core.events import (
    Command,
    CommandReceived,
    ComponentFailed,
    EntriesAllowed,
    EntriesHalted,
    EntryWindow,
    Event,
    RiskThreshold,
    SessionClosed,
    SessionOpened,
    Severity,
)
from core.journal import Journal, MemorySink, RecordKind

NOW = datetime(2024, 7, 5, 10, 30)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def journal(sink: MemorySink) -> Journal:
    return Journal(sink, MarketClock(NOW))


@pytest.fixture
def bus(journal: Journal) -> EventBus:
    return EventBus(journal)


def window(name: str = "friday_0dte", correlation: str = "") -> EntryWindow:
    return EntryWindow(time=NOW, strategy=name, window="entry", correlation=correlation)


def closed() -> SessionClosed:
    return SessionClosed(time=NOW, day=date(2024, 7, 5), equity=50_000.0)


def threshold(correlation: str = "") -> RiskThreshold:
    return RiskThreshold(
        time=NOW, rule="margin", severity=Severity.WARNING, limit=0.8, observed=0.7, correlation=correlation
    )


def test_handlers_run_in_the_order_of_subscription_and_base_classes_see_everything(bus: EventBus) -> None:
    seen: list[str] = []
    bus.subscribe(EntryWindow, lambda event: seen.append("first"), component="a")
    bus.subscribe(Event, lambda event: seen.append("all"), component="b")
    bus.subscribe(EntryWindow, lambda event: seen.append("second"), component="c")
    bus.publish(window())
    bus.publish(closed())
    assert seen == ["first", "all", "second", "all"]
    assert bus.published == {"EntryWindow": 1, "SessionClosed": 1}


def test_nested_events_wait_and_come_first_in_first_out(bus: EventBus) -> None:
    seen: list[str] = []

    def opens(event: EntryWindow) -> None:
        bus.publish(threshold())
        bus.publish(closed())
        seen.append("window handled")

    bus.subscribe(EntryWindow, opens, component="a")
    bus.subscribe(EntryWindow, lambda event: seen.append("window seen by the second"), component="b")
    bus.subscribe(RiskThreshold, lambda event: seen.append("threshold"), component="a")
    bus.subscribe(SessionClosed, lambda event: seen.append("closed"), component="a")
    bus.publish(window())
    assert seen == ["window handled", "window seen by the second", "threshold", "closed"]


def test_the_stack_does_not_grow_with_the_length_of_a_chain(journal: Journal) -> None:
    bus = EventBus(journal, deepest_chain=5_000, most_effects=5_000)
    depths: list[int] = []

    def next_one(event: EntryWindow) -> None:
        import sys

        frame, depth = sys._getframe(), 0
        while frame.f_back is not None:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        if len(depths) < 2_000:
            bus.publish(window(str(len(depths))))

    bus.subscribe(EntryWindow, next_one, component="a")
    bus.publish(window())
    assert len(depths) == 2_000
    assert max(depths) == min(depths)


def test_a_correlation_id_leads_from_cause_to_effect(bus: EventBus, journal: Journal, sink: MemorySink) -> None:
    seen: list[str] = []

    def warns(event: EntryWindow) -> None:
        bus.publish(threshold())
        journal.record(RecordKind.SKIP, component="a", reason="VIX too low", vix=15.0, limit=22.0)

    bus.subscribe(EntryWindow, warns, component="a")
    bus.subscribe(RiskThreshold, lambda event: bus.publish(closed()), component="b")
    bus.subscribe(RiskThreshold, lambda event: seen.append(event.correlation), component="b")
    bus.subscribe(SessionClosed, lambda event: seen.append(event.correlation), component="c")
    bus.publish(window(correlation="proposal-7"))
    assert seen == ["proposal-7", "proposal-7"]
    bus.publish(window())
    assert seen[2] == seen[3] == "EntryWindow-20240705-103000-1"
    assert [row["correlation"] for row in sink.rows(RecordKind.SKIP)] == ["proposal-7", seen[2]]
    assert bus.correlation() == ""


def test_an_own_correlation_id_is_kept(bus: EventBus) -> None:
    seen: list[str] = []
    bus.subscribe(EntryWindow, lambda event: bus.publish(threshold("mine")), component="a")
    bus.subscribe(RiskThreshold, lambda event: seen.append(event.correlation), component="b")
    bus.publish(window(correlation="theirs"))
    assert seen == ["mine"]


def test_a_handler_that_raises_is_isolated_journalled_counted_and_told(bus: EventBus, sink: MemorySink) -> None:
    seen: list[object] = []

    def breaks(event: EntryWindow) -> None:
        raise ValueError("no ATR")

    bus.subscribe(EntryWindow, breaks, component="trend")
    bus.subscribe(EntryWindow, lambda event: seen.append("the next one"), component="b")
    bus.subscribe(ComponentFailed, lambda event: seen.append((event.component, event.critical)), component="c")
    bus.publish(window())
    bus.publish(window())
    assert seen == ["the next one", ("trend", False)] * 2
    assert bus.errors == {"trend": 2}
    assert bus.entries_halted is None
    rows = sink.rows(RecordKind.ERROR)
    assert [(row["component"], row["reason"], row["errors"]) for row in rows] == [
        ("trend", "ValueError: no ATR", 1),
        ("trend", "ValueError: no ATR", 2),
    ]
    assert rows[0]["where"].startswith("test_bus.py:")


def test_a_critical_component_that_raises_halts_new_entries_until_a_person_resumes(bus: EventBus) -> None:
    def breaks(event: EntryWindow) -> None:
        raise ValueError("ledger gone")

    bus.subscribe(EntryWindow, breaks, component="risk", critical=True)
    told: list[object] = []
    bus.subscribe(EntriesHalted, lambda event: told.append(event.reason), component="state")
    bus.subscribe(EntriesAllowed, lambda event: told.append("allowed"), component="state")
    bus.publish(window())
    bus.publish(window())
    assert bus.entries_halted == "risk failed on EntryWindow: ValueError: ledger gone"
    assert bus.verify() == (f"new entries are halted: {bus.entries_halted}",)
    bus.resume_entries()
    bus.resume_entries()
    assert bus.entries_halted is None
    assert told == ["risk failed on EntryWindow: ValueError: ledger gone", "allowed"]


def test_an_error_while_an_error_is_told_is_no_storm(bus: EventBus) -> None:
    def breaks(event: Event) -> None:
        raise ValueError("always")

    bus.subscribe(Event, breaks, component="broken")
    bus.publish(window())
    assert bus.errors == {"broken": 2}  # the window, and the ComponentFailed that told of it
    assert bus.entries_halted is None


def test_a_storm_is_cut_off_and_names_its_cycle(journal: Journal, sink: MemorySink) -> None:
    bus = EventBus(journal, deepest_chain=20)
    bus.subscribe(EntryWindow, lambda event: bus.publish(threshold()), component="coordinator")
    bus.subscribe(RiskThreshold, lambda event: bus.publish(window()), component="greeks")
    bus.publish(CommandReceived(time=NOW, command=Command.STATUS))
    bus.publish(window())  # at depth 0; its twentieth effect is a window again, whose effect is refused
    storm = "event storm after 21 effects, 20 deep: RiskThreshold -> EntryWindow -> RiskThreshold"
    assert bus.entries_halted == storm
    rows = [(row["component"], row["reason"]) for row in sink.rows(RecordKind.ERROR)]
    assert rows == [("coordinator", f"EventStormError: {storm}")]
    assert bus.published["EntryWindow"] == 11
    bus.publish(SessionOpened(time=NOW, day=date(2024, 7, 5), closes_at=NOW))  # the bus still works
    assert bus.published["SessionOpened"] == 1


def test_a_storm_that_spreads_instead_of_going_deep_is_cut_off_too(journal: Journal) -> None:
    bus = EventBus(journal, deepest_chain=1_000, most_effects=500)

    def two_more(event: EntryWindow) -> None:
        bus.publish(window())
        bus.publish(window())

    bus.subscribe(EntryWindow, two_more, component="a")
    bus.publish(window())
    assert bus.published["EntryWindow"] <= 501
    assert "EntryWindow -> EntryWindow" in str(bus.entries_halted)


def test_what_another_thread_publishes_waits_for_the_delivery_under_way(bus: EventBus) -> None:
    """An order event of a broker's thread comes in while a minute is handled."""
    seen: list[str] = []

    def minute(event: EntryWindow) -> None:
        other = threading.Thread(target=lambda: bus.publish(closed()))
        other.start()
        other.join()
        seen.append("minute handled")

    bus.subscribe(EntryWindow, minute, component="a")
    bus.subscribe(SessionClosed, lambda event: seen.append(f"order event {event.correlation!r}"), component="b")
    bus.publish(window())
    assert seen == ["minute handled", "order event ''"]
    bus.halt_entries("first")
    bus.halt_entries("second")
    assert bus.entries_halted == "first"


def test_events_of_other_threads_are_delivered_one_at_a_time(bus: EventBus) -> None:
    inside: list[int] = []
    most: list[int] = []

    def handle(event: EntryWindow) -> None:
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.001)
        inside.pop()

    bus.subscribe(EntryWindow, handle, component="a")

    def publishes() -> None:
        for _ in range(20):
            bus.publish(window())

    threads = [threading.Thread(target=publishes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1

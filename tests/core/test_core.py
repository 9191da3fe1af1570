"""Clock, journal, identifiers, storage, and the bus: order, isolation, correlation and storms."""

# Private: _file, _hand_over: a disk that takes a part of a line, and lines of a known length.

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import pytest

from core.bus import EventBus
from core.clock import ClockWentBackError, MarketClock
from core.contracts import (
    AssetKind,
    Contract,
    ExerciseStyle,
    Leg,
    Package,
    Quote,
    Right,
    Settlement,
    Underlying,
)
from core.events import (
    Command,
    CommandReceived,
    ComponentFailed,
    EntriesAllowed,
    EntriesHalted,
    EntryWindow,
    Event,
    Level,
    MarketData,
    Request,
    RiskThreshold,
    SessionClosed,
    SessionOpened,
    Severity,
)
from core.factory import Manager
from core.identifiers import Identifiers, event_correlation, intent_fingerprint, part_kind, part_name
from core.journal import FileSink, Journal, MemorySink, RecordKind, as_json
from core.storage import FolderStorage

NOW = datetime(2024, 7, 5, 10, 30)
SPX = Underlying("SPX", AssetKind.INDEX)


def put(strike: float, ratio: int) -> Leg:
    contract = Contract(
        SPX, "SPXW", date(2024, 7, 5), strike, Right.PUT, ExerciseStyle.EUROPEAN, Settlement.CASH_AFTERNOON, 100.0
    )
    return Leg(contract, ratio)


def test_the_clock_goes_forward_and_back_one_hour_in_autumn_only() -> None:
    clock = MarketClock(datetime(2024, 11, 3, 1, 59))
    clock.advance(datetime(2024, 11, 3, 1, 0))
    assert clock.now() == datetime(2024, 11, 3, 1, 0)
    with pytest.raises(ClockWentBackError, match="2024-11-02 23:00:00 is before"):
        clock.advance(datetime(2024, 11, 2, 23, 0))
    with pytest.raises(ValueError, match="carries a zone"):
        MarketClock(datetime(2024, 7, 5, tzinfo=UTC))


def test_a_journal_line_holds_time_kind_component_reason_and_plain_values() -> None:
    sink = MemorySink()
    journal = Journal(sink, MarketClock(NOW))
    quote = Quote(1.0, None, NOW)
    journal.record(
        RecordKind.SKIP,
        component="friday_0dte",
        reason="VIX under its minimum",
        vix=np.float64(15.5),
        limit=22,
        quote=quote,
        level=Level.SYSTEM,
        legs=("a", "b"),
        unknown=float("nan"),
        at=time(10, 30),
        tickers={"SPX", "SPY"},
    )
    assert json.loads(sink.lines[0]) == {
        "time": "2024-07-05T10:30:00",
        "kind": "skip",
        "component": "friday_0dte",
        "reason": "VIX under its minimum",
        "correlation": "",
        "vix": 15.5,
        "limit": 22,
        "quote": {"bid": 1.0, "ask": None, "time": "2024-07-05T10:30:00", "bid_size": None, "ask_size": None},
        "level": "system",
        "legs": ["a", "b"],
        "unknown": "nan",
        "at": "10:30:00",
        "tickers": ["SPX", "SPY"],
    }
    assert journal.counts[RecordKind.SKIP] == 1


def test_a_journal_refuses_its_own_names_and_values_without_a_json_form() -> None:
    journal = Journal(MemorySink(), MarketClock(NOW))
    with pytest.raises(ValueError, match=r"\['correlation', 'time'\]|\['time'\]"):
        journal.record(RecordKind.SKIP, component="a", reason="b", time=NOW)
    with pytest.raises(TypeError, match="has no JSON form"):
        as_json(object())


def test_a_file_sink_appends_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    for run in range(2):
        journal = Journal(FileSink(path, every_line=True), MarketClock(NOW))
        journal.record(RecordKind.SYSTEM, component="main", reason=f"run {run}")
        assert len(path.read_text().splitlines()) == run + 1
        assert journal.verify() == ()
        journal.close()
        assert journal.verify() != ()


def test_identifiers_count_by_kind_and_day_and_go_on_after_a_restart() -> None:
    clock = MarketClock(NOW)
    names = Identifiers(clock)
    assert [names.next("friday_0dte"), names.next("friday_0dte"), names.next("group")] == [
        "friday_0dte-20240705-1",
        "friday_0dte-20240705-2",
        "group-20240705-1",
    ]
    after = Identifiers(clock)
    after.observe("friday_0dte-20240705-2")
    after.observe("something else")
    assert after.next("friday_0dte") == "friday_0dte-20240705-3"
    clock.advance(datetime(2024, 7, 8, 10, 0))
    assert after.next("friday_0dte") == "friday_0dte-20240708-1"
    with pytest.raises(ValueError, match="expected letters"):
        after.next("a b")


def test_one_intent_has_one_fingerprint() -> None:
    day = date(2024, 7, 5)
    spread = Package((put(5500, -1), put(5470, 1)))
    same = Package((put(5470, 1), put(5500, -1)))
    assert intent_fingerprint("friday_0dte", day, spread) == intent_fingerprint("friday_0dte", day, same)
    others = {
        intent_fingerprint("friday_0dte", day, spread.reversed()),
        intent_fingerprint("butterfly", day, spread),
        intent_fingerprint("friday_0dte", date(2024, 7, 12), spread),
        intent_fingerprint("friday_0dte", day, Package((put(5500, -1), put(5460, 1)))),
        intent_fingerprint("friday_0dte", day, spread),
    }
    assert len(others) == 5


@pytest.mark.parametrize("durable", [True, False])
def test_a_folder_keeps_replaces_and_forgets(tmp_path: Path, durable: bool) -> None:
    storage = FolderStorage(tmp_path / "store", durable=durable)
    assert not storage.exists("state/x.json")
    with pytest.raises(KeyError, match=r"state/x\.json"):
        storage.read("state/x.json")
    storage.replace("state/x.json", "one")
    storage.replace("state/x.json", "zwei \N{EURO SIGN}")
    assert (storage.exists("state/x.json"), storage.read("state/x.json")) == (True, "zwei \N{EURO SIGN}")
    assert [path.name for path in (tmp_path / "store" / "state").iterdir()] == ["x.json"]
    storage.delete("state/x.json")
    storage.delete("state/x.json")
    assert not storage.exists("state/x.json")


@pytest.mark.parametrize("key", ["", "../outside", "/root", "a.b.c", "snowman-\N{SNOWMAN}", "a\\b"])
def test_a_key_that_lean_would_refuse_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="key:"):
        FolderStorage(tmp_path).path(key)


def test_core_and_state_start_without_the_heavy_packages() -> None:
    """Start-up stays under a second because numpy and pandas load with the first manager that computes."""
    program = (
        "import sys, core.bus, core.cache, core.factory, core.settings, core.identifiers, state.recovery\n"
        "print(sorted({'numpy', 'pandas', 'scipy', 'transitions'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The bus


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


def price_of(ticker: str) -> MarketData:
    return MarketData(time=NOW, ticker=ticker, open=1.0, high=1.0, low=1.0, price=1.0, fresh_at=NOW)


def test_prices_go_to_who_wants_their_ticker_in_the_order_of_subscription(bus: EventBus) -> None:
    seen: list[str] = []
    bus.subscribe(MarketData, lambda event: seen.append(f"all {event.ticker}"), component="all")
    bus.subscribe(MarketData, lambda event: seen.append(f"vix {event.ticker}"), component="vix", tickers=("VIX",))
    bus.subscribe(Event, lambda event: seen.append(type(event).__name__), component="everything")
    for ticker in ("SPX", "VIX"):
        bus.publish(price_of(ticker))
    assert seen == ["all SPX", "MarketData", "all VIX", "vix VIX", "MarketData"]
    bus.subscribe(MarketData, lambda event: seen.append(f"late {event.ticker}"), component="late", tickers=("SPX",))
    bus.publish(price_of("SPX"))
    assert seen[5:] == ["all SPX", "MarketData", "late SPX"]
    assert bus.published == {"MarketData": 3}


def test_a_request_is_served_at_once_by_one_component_and_by_nobody_else(bus: EventBus) -> None:
    done: list[str] = []
    bus.request(Request.ACCOUNT_LOOK)  # nobody serves it yet
    bus.serve(Request.ACCOUNT_LOOK, lambda: done.append("looked"))
    bus.request(Request.ACCOUNT_LOOK)
    assert done == ["looked"]
    with pytest.raises(ValueError, match="served already"):
        bus.serve(Request.ACCOUNT_LOOK, lambda: done.append("twice"))


def test_only_prices_are_by_ticker(bus: EventBus) -> None:
    with pytest.raises(ValueError, match="EntryWindow"):
        bus.subscribe(EntryWindow, lambda event: None, component="wrong", tickers=("VIX",))


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
    assert rows[0]["where"].startswith("test_core.py:")


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


def test_the_names_of_parts_and_events_are_made_and_read_in_one_place() -> None:
    assert part_name("rung", "20240708") == "rung-20240708"
    assert [part_kind(name) for name in ("rung-20240708", "whole")] == ["rung", "whole"]
    assert event_correlation("MarketData", datetime(2024, 7, 5, 9, 31), 2) == "MarketData-20240705-093100-2"


def test_a_manager_is_ready_unless_it_says_otherwise() -> None:
    assert Manager().verify() == ()


class PartlyFull:
    """A file of a disk that takes so many bytes of each try and then nothing, until it is emptied."""

    def __init__(self, room: int) -> None:
        self.data, self.room, self.closed = b"", room, False

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "no space left")
        taken = data[: self.room]
        self.data, self.room = self.data + taken, self.room - len(taken)
        return len(taken)


@pytest.mark.parametrize("room", range(0, 25))
def test_a_journal_on_a_full_disk_loses_and_repeats_nothing(tmp_path: Path, room: int) -> None:
    """Three lines of eight bytes; the disk takes so many bytes, then it is emptied."""
    sink, clock = FileSink(tmp_path / "journal.jsonl", every_line=True), MarketClock(NOW)
    file = PartlyFull(room)
    sink._file = file  # type: ignore[assignment]
    journal = Journal(sink, clock)
    for number in range(3):
        journal._hand_over(f"line {number:2d}")
    assert journal.owes is (room <= 16)
    file.room = 1000
    journal._hand_over("the last")
    assert file.data == b"line  0\nline  1\nline  2\nthe last\n"
    assert not journal.owes

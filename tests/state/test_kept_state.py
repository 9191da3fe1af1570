"""State and journal that outlive the machine: what a start finds when the file, the copy, or both are gone."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bus import EventBus
from core.clock import MarketClock
from core.events import Level
from core.journal import Journal, MemorySink, RecordKind
from core.running.keeper import LeanKeeper, MemoryKeeper, MonthlySink
from core.storage import FolderStorage, adopt
from simulation.algorithm.object_store import ObjectStore
from state.guard import Copy, StateCopies
from state.manager import HierarchicalStateManager
from state.store import StateStore, StoreOptions
from state.tables import (
    CorruptStoreError,
    OrderPurpose,
    OrderTrigger,
    PositionTrigger,
    SystemState,
    SystemTrigger,
    UnkeptStateError,
)

START = datetime(2016, 2, 12, 10, 30)
KEY = "7-main/saved/state.txt"


class House:
    """One process's state over a folder and a keeper, either of which may be taken away."""

    def __init__(self, folder: Path, keeper: MemoryKeeper, key: str = KEY) -> None:
        self.sink = MemorySink()
        clock = MarketClock(START)
        journal = Journal(self.sink, clock)
        copies = StateCopies(keeper, key)
        self.store = StateStore(FolderStorage(folder, durable=False), StoreOptions(durable=False), copies=copies)
        self.state = HierarchicalStateManager(self.store, EventBus(journal), clock, journal)

    def ready(self) -> None:
        """Take over as a new process does."""
        self.state.start()
        self.state.fire_system(SystemTrigger.READY)

    def plan(self, name: str, purpose: OrderPurpose = OrderPurpose.ENTRY) -> None:
        """A position and its order group, planned and not sent."""
        if purpose is OrderPurpose.ENTRY:
            self.state.create(Level.POSITION, name, "friday_0dte")
            self.state.fire(Level.POSITION, name, PositionTrigger.OPEN)
        self.state.create(Level.ORDER_GROUP, f"group-{name}-{purpose.value}", name, purpose=purpose)

    def told(self) -> list[str]:
        """Reasons of the journal's system rows."""
        return [row["reason"] for row in self.sink.rows(RecordKind.SYSTEM)]


def sent(house: House, keeper: MemoryKeeper, name: str = "a") -> int:
    """Send a planned entry; how many copies had been saved when the order went out."""
    if house.state.system is not SystemState.NORMAL:
        house.ready()
    house.plan(name)
    with house.state.intent(Level.ORDER_GROUP, f"group-{name}-entry", OrderTrigger.SEND) as intent:
        saves = keeper.saves
        intent.note(orders=(1,))
    return saves


def test_the_copy_is_saved_before_the_order_goes_out(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path, keeper)
    assert sent(house, keeper) == 1
    copy, wrong = StateCopies(keeper, KEY).read()
    assert wrong is None
    assert copy is not None
    # the intent is the copy's last record: its completion, one record later, is not in it yet
    assert copy.sequence == house.store.sequence - 1
    house.state.keep()
    house.state.keep()
    assert keeper.saves == 2  # nothing new, nothing saved


def test_a_machine_that_forgot_the_file_goes_on_from_the_copy(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path / "old", keeper)
    sent(house, keeper)
    house.state.keep()
    fresh = House(tmp_path / "new", keeper)
    assert fresh.state.order_group("group-a-entry").detail["orders"] == [1]
    last = house.store.sequence
    assert fresh.state.start_report.reports == (
        f"the saved copy has record {last}, the file ends at 0: the copy counts",
    )
    sent(fresh, keeper, "b")
    assert fresh.store.sequence > last  # numbers go on


def test_a_kill_before_the_save_leaves_the_newer_file(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path, keeper)
    sent(house, keeper)  # the copy lacks the completion
    house.store.close()
    again = House(tmp_path, keeper)
    assert again.state.start_report.reports == ()
    assert again.store.sequence == house.store.sequence
    assert again.state.order_group("group-a-entry").pending is None


def test_a_damaged_file_is_replaced_by_the_copy(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path, keeper)
    sent(house, keeper)
    house.state.keep()
    house.store.close()
    segment = tmp_path / "state" / "segment-0.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"friday", b"monday", 1))
    again = House(tmp_path, keeper)
    last = house.store.sequence
    assert again.store.sequence == last
    assert any(f"the saved copy, record {last}, is used instead" in line for line in again.state.start_report.reports)
    again.store.close()
    keeper.texts.clear()
    segment.write_bytes(segment.read_bytes().replace(b"friday", b"monday", 1))
    with pytest.raises(CorruptStoreError):
        House(tmp_path, keeper)


def test_a_damaged_copy_counts_for_nothing(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path, keeper)
    sent(house, keeper)
    house.store.close()
    text = keeper.texts[KEY]
    assert isinstance(text, str)
    keeper.texts[KEY] = text.replace("friday", "monday", 1)
    again = House(tmp_path, keeper)
    assert again.store.sequence == house.store.sequence
    assert again.state.start_report.reports == (f"{KEY}: the saved copy is damaged and counts for nothing",)


def test_a_kill_while_the_copy_takes_the_files_place_is_mended_by_the_next_start(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path / "old", keeper)
    sent(house, keeper)
    house.state.snapshot()
    house.state.keep()
    copy, _ = StateCopies(keeper, KEY).read()
    assert copy is not None
    assert sorted(copy.files) == ["segment-1.jsonl", "snapshot-1.json"]
    for name, text in copy.files.items():  # only one of the two files was put in place when the kill came
        folder = tmp_path / f"killed-{name}"
        (folder / "state").mkdir(parents=True)
        (folder / "state" / name).write_text(text, encoding="utf-8")
        again = House(folder, keeper)
        assert again.store.sequence == house.store.sequence, name


def test_entries_stop_while_the_state_cannot_be_kept_and_exits_go_on(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path, keeper)
    sent(house, keeper)
    house.state.fire(Level.ORDER_GROUP, "group-a-entry", OrderTrigger.FILL)
    house.state.fire(Level.POSITION, "a", PositionTrigger.OPENED)
    keeper.refuses = "the object store refused 900 bytes"
    house.plan("b")
    with pytest.raises(UnkeptStateError, match="refused 900 bytes"):
        house.state.intent(Level.ORDER_GROUP, "group-b-entry", OrderTrigger.SEND)
    assert house.state.order_group("group-b-entry").pending is None
    house.plan("a", OrderPurpose.EXIT)
    with house.state.intent(Level.ORDER_GROUP, "group-a-exit", OrderTrigger.SEND):
        assert house.state.unkept == keeper.refuses
    house.state.keep()
    assert house.told().count(f"state cannot be kept, entries stop: {keeper.refuses}") == 1
    keeper.refuses = None
    house.state.keep()
    assert house.told()[-1] == "state is kept again"
    with house.state.intent(Level.ORDER_GROUP, "group-b-entry", OrderTrigger.SEND):
        assert house.state.unkept is None


def test_another_account_finds_nothing_of_this_one(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    house = House(tmp_path / "main", keeper)
    sent(house, keeper)
    house.state.keep()
    other = House(tmp_path / "paper", keeper, "7-paper/saved/state.txt")
    assert other.state.start_report.fresh
    assert other.state.positions() == ()


def test_a_backtest_keeps_nothing(tmp_path: Path) -> None:
    store = StateStore(FolderStorage(tmp_path, durable=False), StoreOptions(durable=False))
    store.load()
    store.append({"op": "memory", "name": "peak", "value": 1.0})
    assert store.keep() is None


@given(st.one_of(st.text(), st.dictionaries(st.text(), st.integers()).map(json.dumps)))
def test_whatever_stands_under_the_key_is_read_or_refused(text: str) -> None:
    keeper = MemoryKeeper()
    copies = StateCopies(keeper, KEY)
    keeper.texts[KEY] = text
    assert copies.read()[0] is None
    assert copies.write(Copy(3, {"segment-0.jsonl": text})) is None
    assert copies.read() == (Copy(3, {"segment-0.jsonl": text}), None)


@pytest.mark.parametrize("name", ["../lock", "segment-0.json", "snapshot-.json", "notes.txt"])
def test_a_copy_never_writes_files_of_other_names(name: str) -> None:
    keeper = MemoryKeeper()
    copies = StateCopies(keeper, KEY)
    copies.write(Copy(3, {name: "x"}))
    assert copies.read()[0] is None


def test_leans_store_saves_at_once_and_tells_a_refusal(tmp_path: Path) -> None:
    class Algorithm:
        object_store = ObjectStore(tmp_path)

    keeper = LeanKeeper(Algorithm())
    assert keeper.save("7-main/saved/state.txt", "text") is None
    assert keeper.saved("7-main/saved/state.txt") == "text"
    assert keeper.saved("7-main/saved/none.txt") is None
    assert keeper.save_packed("7-main/journal-saved/2016-01.zip", b"zip") is None
    assert list(keeper.keys("7-main/journal")) == ["7-main/journal-saved/2016-01.zip"]
    keeper.delete("7-main/journal-saved/2016-01.zip")
    keeper.delete("7-main/journal-saved/2016-01.zip")
    assert list(keeper.keys("7-main/journal")) == []
    Algorithm.object_store.max_size = 10
    assert "the object store refused 20 bytes" in str(keeper.save("7-main/saved/state.txt", "x" * 20))
    assert "two.dots.txt" in str(keeper.save("two.dots.txt", "x"))  # LEAN raises for such a key


def test_the_state_of_an_earlier_version_moves_to_its_new_place(tmp_path: Path) -> None:
    old, new = tmp_path / "tomking" / "state", tmp_path / "0-default"
    (old / "state").mkdir(parents=True)
    (old / "state" / "segment-0.jsonl").write_text("x", encoding="utf-8")
    new.mkdir()
    assert adopt(old, new)
    assert (new / "state" / "segment-0.jsonl").read_text(encoding="utf-8") == "x"
    old.mkdir(parents=True)
    assert not adopt(old, new)  # something is there already


# The journal


def line(moment: datetime, number: int = 0) -> str:
    return f'{{"time":"{moment.isoformat()}","kind":"system","number":{number}}}'


def test_each_month_has_a_file_and_months_that_are_over_are_packed(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    storage = FolderStorage(tmp_path, durable=False)
    sink = MonthlySink(storage, keeper, "7-main", months=3)
    for month in range(1, 7):
        for day in (3, 4):
            sink.append(line(datetime(2016, month, day, 10), month))
            assert sink.keep() is None
    names = sorted(path.name for path in (tmp_path / "journal").iterdir())
    # three months stay: the running June as text, May and April packed
    assert names == ["2016-04.zip", "2016-05.zip", "2016-06.jsonl"]
    with zipfile.ZipFile(tmp_path / "journal" / "2016-05.zip") as archive:
        text = archive.read("2016-05.jsonl").decode("utf-8")
    assert text == line(datetime(2016, 5, 3, 10), 5) + "\n" + line(datetime(2016, 5, 4, 10), 5) + "\n"
    assert list(keeper.keys("7-main/")) == [
        "7-main/journal-days/2016-06-03.jsonl",
        "7-main/journal-days/2016-06-04.jsonl",
        "7-main/journal-saved/2016-04.zip",
        "7-main/journal-saved/2016-05.zip",
    ]


def test_lines_are_on_the_disk_before_the_save_and_saved_once_a_minute(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    sink = MonthlySink(FolderStorage(tmp_path, durable=False), keeper, "7-main", months=3)
    for minute in range(3):
        sink.append(line(START + timedelta(minutes=minute)))
    assert (tmp_path / "journal" / "2016-02.jsonl").read_text(encoding="utf-8").count("\n") == 3
    assert keeper.saves == 0
    sink.keep()
    sink.keep()
    assert keeper.saves == 1


def test_a_new_machine_gets_the_running_month_back(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    sink = MonthlySink(FolderStorage(tmp_path / "old", durable=False), keeper, "7-main", months=3)
    rows = [line(START - timedelta(days=1)), line(START), line(START + timedelta(minutes=1))]
    for row in rows:
        sink.append(row)
    sink.close()
    again = MonthlySink(FolderStorage(tmp_path / "new", durable=False), keeper, "7-main", months=3)
    again.append(line(START + timedelta(minutes=2)))
    again.close()
    held = (tmp_path / "new" / "journal" / "2016-02.jsonl").read_text(encoding="utf-8").splitlines()
    assert held == [*rows, line(START + timedelta(minutes=2))]
    assert str(keeper.saved("7-main/journal-days/2016-02-12.jsonl")).count("\n") == 3


def test_a_file_that_holds_more_than_its_copy_stays(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    storage = FolderStorage(tmp_path, durable=False)
    sink = MonthlySink(storage, keeper, "7-main", months=3)
    sink.append(line(START, 1))
    sink.keep()
    sink.append(line(START, 2))  # killed before it was saved
    again = MonthlySink(storage, keeper, "7-main", months=3)
    again.append(line(START, 3))
    text = (tmp_path / "journal" / "2016-02.jsonl").read_text(encoding="utf-8")
    assert text.splitlines() == [line(START, 1), line(START, 2), line(START, 3)]


def test_a_refused_save_is_told_once_and_made_up_for(tmp_path: Path) -> None:
    keeper = MemoryKeeper()
    sink = MonthlySink(FolderStorage(tmp_path, durable=False), keeper, "7-main", months=3)
    journal = Journal(sink, MarketClock(START))
    keeper.refuses = "quota"
    journal.record(RecordKind.SYSTEM, component="main", reason="one")
    journal.keep()
    journal.keep()
    keeper.refuses = None
    journal.keep()
    journal.keep()
    kept = [json.loads(row)["reason"] for row in str(keeper.saved("7-main/journal-days/2016-02-12.jsonl")).splitlines()]
    assert kept == ["one", "the journal cannot be kept: quota", "the journal is kept again"]


def test_a_line_without_a_time_is_refused(tmp_path: Path) -> None:
    sink = MonthlySink(FolderStorage(tmp_path, durable=False), None, "7-main", months=3)
    with pytest.raises(ValueError, match="expected one that begins with its time"):
        sink.append("{}")
    assert sink.keep() is None

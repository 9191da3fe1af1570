"""The store: torn tails, corruption, schemas, bounds, and one writer at a time."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from core.bus import EventBus
from core.clock import MarketClock
from core.events import Level
from core.journal import Journal, MemorySink
from core.storage import FolderStorage
from state.manager import HierarchicalStateManager
from state.store import Disk, Loaded, StateStore, StoreOptions
from state.tables import (
    CorruptStoreError,
    NewerSchemaError,
    OrderPurpose,
    OrderTrigger,
    PositionTrigger,
    StoreError,
    StoreLockedError,
    StrategyTrigger,
    SystemTrigger,
)
from tests.conftest import ROOT


def store_at(folder: Path, **options: Any) -> StateStore:
    return StateStore(FolderStorage(folder), StoreOptions(**options))


def written(folder: Path, count: int = 5, **options: Any) -> StateStore:
    """A store with ``count`` records, closed again."""
    store = store_at(folder, **options)
    store.load()
    for number in range(count):
        store.append({"op": "memory", "name": f"x{number}", "value": number})
    store.close()
    return store


def loaded(folder: Path, **options: Any) -> Loaded:
    store = store_at(folder, **options)
    try:
        return store.load()
    finally:
        store.close()


def names(found: Loaded) -> list[str]:
    return [record["name"] for record in found.records]


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_appended_is_read_back_in_order(tmp_path: Path, durable: bool) -> None:
    written(tmp_path, durable=durable)
    found = loaded(tmp_path)
    assert names(found) == ["x0", "x1", "x2", "x3", "x4"]
    assert [record["n"] for record in found.records] == [1, 2, 3, 4, 5]
    assert (found.snapshot, found.reports, found.upgraded) == (None, (), False)


class RecordingDisk(Disk):
    """Notes what is done to the disk, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def append(self, descriptor: int, line: bytes) -> None:
        super().append(descriptor, line)
        self.done.append("append")

    def replace(self, path: Path, text: str, durable: bool) -> None:
        super().replace(path, text, durable)
        self.done.append("replace")


@pytest.mark.parametrize("durable", [True, False])
def test_a_durable_store_waits_for_the_disk_after_each_line_and_another_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    disk = RecordingDisk()
    monkeypatch.setattr(os, "fsync", lambda descriptor: disk.done.append("sync"))
    store = StateStore(FolderStorage(tmp_path), StoreOptions(durable=durable), disk)
    store.load()
    store.append({"op": "memory", "name": "x", "value": 1})
    store.snapshot({})
    store.close()
    # A segment's header (and its folder), a record, the next segment's header, the snapshot that names it (and its
    # folder).
    expected = ["append", "sync", "sync", "append", "sync", "append", "sync", "sync", "sync", "sync", "replace"]
    assert disk.done == (expected if durable else ["append", "append", "append", "replace"])


def test_a_tail_torn_at_any_byte_is_cut_reported_and_written_on(tmp_path: Path) -> None:
    written(tmp_path)
    segment = tmp_path / "state" / "segment-0.jsonl"
    whole = segment.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last + 1, len(whole)):
        segment.write_bytes(whole[:length])
        store = store_at(tmp_path)
        found = store.load()
        assert names(found) == ["x0", "x1", "x2", "x3"]
        report = f"state/segment-0.jsonl: {length - last} bytes after record 5 were torn and are cut off"
        assert found.reports == (report,)  # the header is record 1
        store.append({"op": "memory", "name": "after", "value": 0})
        store.close()
        assert names(loaded(tmp_path)) == ["x0", "x1", "x2", "x3", "after"]


def test_a_segment_torn_in_its_header_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "segment-0.jsonl").write_bytes(b"1234")
    found = loaded(tmp_path)
    assert (found.records, len(found.reports)) == ((), 1)
    written(tmp_path)
    assert len(loaded(tmp_path).records) == 5


@pytest.mark.parametrize("line", [0, 1, 3])
def test_a_corrupt_middle_stops_the_start_with_the_key_and_the_way_out(tmp_path: Path, line: int) -> None:
    written(tmp_path)
    segment = tmp_path / "state" / "segment-0.jsonl"
    lines = segment.read_bytes().split(b"\n")
    lines[line] = lines[line][:-3] + b"9" + lines[line][-2:]
    segment.write_bytes(b"\n".join(lines))
    untouched = segment.read_bytes()
    message = rf"state/segment-0\.jsonl: record {line + 1} is damaged.*restore state/ from a backup"
    for _ in range(2):
        with pytest.raises(CorruptStoreError, match=message):
            loaded(tmp_path)
    assert segment.read_bytes() == untouched


def test_a_missing_record_and_a_missing_segment_stop_the_start(tmp_path: Path) -> None:
    written(tmp_path)
    segment = tmp_path / "state" / "segment-0.jsonl"
    lines = segment.read_bytes().split(b"\n")
    segment.write_bytes(b"\n".join(lines[:2] + lines[3:]))
    with pytest.raises(CorruptStoreError, match=r"segment-0\.jsonl: record 3 where 2 belongs"):
        loaded(tmp_path)
    segment.write_bytes(b"\n".join(lines))
    store = store_at(tmp_path)
    store.load()
    store.snapshot({"t": "x"})
    store.close()
    (tmp_path / "state" / "segment-1.jsonl").unlink()
    with pytest.raises(CorruptStoreError, match=r"state/segment-1\.jsonl: missing"):
        loaded(tmp_path)


def test_a_damaged_snapshot_names_the_file_to_remove_and_that_works(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.load()
    for generation in range(3):
        store.append({"op": "memory", "name": f"x{generation}", "value": 0})
        store.snapshot({"generation": generation})
    store.append({"op": "memory", "name": "last", "value": 0})
    store.close()
    kept = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert kept == ["lock", "segment-2.jsonl", "segment-3.jsonl", "snapshot-2.json", "snapshot-3.json"]
    good = loaded(tmp_path)
    assert good.snapshot is not None
    assert (good.snapshot["generation"], names(good)) == (2, ["last"])
    snapshot = tmp_path / "state" / "snapshot-3.json"
    snapshot.write_bytes(snapshot.read_bytes().replace(b"2", b"7"))
    with pytest.raises(CorruptStoreError, match=r"snapshot-3\.json: its checksum.*remove it .* state/snapshot-2\.json"):
        loaded(tmp_path)
    snapshot.unlink()
    again = loaded(tmp_path)
    assert again.snapshot is not None
    assert (again.snapshot["generation"], names(again)) == (1, ["x2", "last"])


def test_an_older_schema_is_upgraded_step_by_step_and_a_newer_one_refused(tmp_path: Path) -> None:
    written(tmp_path, schema=1)
    upgrades = {
        1: lambda record: {**record, "name": record["name"].upper()} if "name" in record else record,
        2: lambda record: {**record, "name": record["name"] + "!"} if "name" in record else record,
    }
    found = loaded(tmp_path, schema=3, upgrades=upgrades)
    assert (names(found), found.upgraded) == (["X0!", "X1!", "X2!", "X3!", "X4!"], True)
    with pytest.raises(StoreError, match="schema 1: no upgrade to 2 is known"):
        loaded(tmp_path, schema=3, upgrades={2: upgrades[2]})
    newer = tmp_path / "newer"
    written(newer, schema=3)
    with pytest.raises(NewerSchemaError, match=r"segment-0\.jsonl: schema 3, this program knows up to 2"):
        loaded(newer)
    store = store_at(newer, schema=3)
    store.load()
    store.snapshot({})
    store.close()
    with pytest.raises(NewerSchemaError, match=r"snapshot-1\.json: schema 3"):
        loaded(newer)


def test_an_upgraded_store_goes_on_in_the_new_schema(tmp_path: Path) -> None:
    manager_at(tmp_path, schema=1).close()
    upgrades = {1: lambda record: {**record, "upgraded": True}}
    first = manager_at(tmp_path, schema=2, upgrades=upgrades)
    first.remember("x", 1)
    first.close()
    second = manager_at(tmp_path, schema=2, upgrades={})
    assert second.recall("x") == 1
    second.close()


def manager_at(folder: Path, **options: Any) -> HierarchicalStateManager:
    clock = MarketClock(datetime(2024, 1, 2, 9, 30))
    journal = Journal(MemorySink(), clock)
    return HierarchicalStateManager(store_at(folder, **options), EventBus(journal), clock, journal)


PROCESS = """
import sys
from pathlib import Path
from core.storage import FolderStorage
from state.store import StateStore
store = StateStore(FolderStorage(Path(sys.argv[1])))
store.load()
store.append({"op": "memory", "name": "from the child", "value": 1})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    root = ROOT
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreLockedError, match=f"process {child.pid} works on this store; stop it first"):
            loaded(tmp_path)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
    assert names(loaded(tmp_path)) == ["from the child"]


def test_a_store_that_was_not_loaded_takes_nothing(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    assert store.verify() == ("the store is not loaded",)
    with pytest.raises(StoreError, match="expected load"):
        store.append({})
    store.load()
    assert store.verify() == ()
    with pytest.raises(StoreError, match="already loaded"):
        store.load()
    store.close()


def test_a_year_of_trading_stays_small(tmp_path: Path) -> None:
    """250 days, two packages a day of four legs, each with two order groups and six reprices, memory every day."""
    clock = MarketClock(datetime(2024, 1, 2, 9, 30))
    journal = Journal(MemorySink(), clock)
    store = store_at(tmp_path, durable=False)
    state = HierarchicalStateManager(store, EventBus(journal), clock, journal)
    state.start()
    state.fire_system(SystemTrigger.READY)
    legs = {f"SPXW 240705P{strike}": 1.0 for strike in (5400, 5430, 5600, 5630)}
    largest = 0
    for day in range(250):
        clock.advance(datetime(2024, 1, 2, 9, 30) + timedelta(days=day))
        for number in range(2):
            position = f"friday_0dte-{day}-{number}"
            state.create(Level.POSITION, position, "friday_0dte", package=legs, terms={"max_loss": 3000.0})
            state.fire(Level.POSITION, position, PositionTrigger.OPEN)
            _trade(state, f"{position}-in", position, OrderPurpose.ENTRY, legs)
            state.fire(Level.POSITION, position, PositionTrigger.OPENED, entry_cash=250.0)
            state.fire(Level.POSITION, position, PositionTrigger.CLOSE)
            _trade(state, f"{position}-out", position, OrderPurpose.EXIT, legs)
            state.fire(Level.POSITION, position, PositionTrigger.CLOSED, exit_cash=-120.0)
        state.fire(Level.STRATEGY, "friday_0dte", StrategyTrigger.WAIT)
        state.fire(Level.STRATEGY, "friday_0dte", StrategyTrigger.SKIP)
        state.remember("equity", 50_000.0 + day)
        largest = max(largest, store.bytes_on_disk)
    assert largest < 5_000_000  # bytes, which is what a start reads at most: 0.1 s of it
    store.close()
    again = HierarchicalStateManager(store_at(tmp_path), EventBus(journal), clock, journal)
    assert again.recall("equity") == 50_249.0
    assert len(again.positions(ended=True)) < 200  # what ended long ago is left to the journal
    again.close()


def _trade(
    state: HierarchicalStateManager, group: str, position: str, purpose: OrderPurpose, legs: dict[str, float]
) -> None:
    state.create(Level.ORDER_GROUP, group, position, purpose=purpose, changes=legs, fingerprint=group)
    with state.intent(Level.ORDER_GROUP, group, OrderTrigger.SEND, limit=2.5) as intent:
        intent.note(orders=[1, 2, 3, 4])
    for step in range(6):
        state.fire(Level.ORDER_GROUP, group, OrderTrigger.REPRICE, limit=2.5 - step / 10)
    state.fire(Level.ORDER_GROUP, group, OrderTrigger.FILL, filled=legs)


class FakeMsvcrt(ModuleType):
    """Windows' own locks: one process may lock a byte, another gets an OSError."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.locked: list[tuple[int, int]] = []

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        assert (mode, count) == (self.LK_NBLCK, 1)
        if self.locked:
            raise OSError("[Errno 13] Permission denied")
        self.locked.append((place, count))


def test_on_windows_a_byte_beyond_the_text_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMsvcrt()
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    spec = importlib.util.spec_from_file_location("store_on_windows", ROOT / "state" / "guard.py")
    assert spec is not None
    assert spec.loader is not None
    windows = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "store_on_windows", windows)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "win32")
        spec.loader.exec_module(windows)
    lock = windows.StoreLock(tmp_path / "lock")
    assert lock.held
    assert fake.locked == [(1 << 20, 1)]  # a mandatory lock: the owner's number, at the start, stays readable
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    with pytest.raises(windows.StoreLockedError, match=f"process {os.getpid()} works on this store"):
        windows.StoreLock(tmp_path / "lock")
    lock.release()
    lock.release()
    assert not lock.held

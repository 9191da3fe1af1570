"""A disk that is full for a moment, and a store that holds what no version wrote: the next start is always possible."""

from __future__ import annotations

import errno
import json
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.bus import EventBus
from core.clock import MarketClock
from core.events import Level
from core.journal import Journal, MemorySink, RecordKind
from core.storage import FolderStorage
from state.manager import HierarchicalStateManager
from state.store import Disk, StateStore, StoreOptions
from state.tables import (
    CorruptStoreError,
    OrderPurpose,
    OrderTrigger,
    PositionTrigger,
    StateError,
    StrategyTrigger,
    SystemTrigger,
    UnwrittenError,
)

MOST = 40
"""More writes than the life below has."""


class FullDisk(Disk):
    """Takes half of the n-th line or file and then nothing of it; ``lasting``: nor of any that follows it."""

    def __init__(self, at: int, *, lasting: bool = False, cuts: bool = True) -> None:
        self.at, self.lasting, self.cuts = at, lasting, cuts
        self.count = 0

    def full(self) -> bool:
        self.count += 1
        return self.count == self.at or (self.lasting and self.count > self.at)

    def append(self, descriptor: int, line: bytes) -> None:
        if self.full():
            super().append(descriptor, line[: len(line) // 2])
            raise OSError(errno.ENOSPC, "no space left on device")
        super().append(descriptor, line)

    def replace(self, path: Path, text: str, durable: bool) -> None:
        if self.full():
            raise OSError(errno.ENOSPC, "no space left on device")
        super().replace(path, text, durable)

    def cut(self, descriptor: int, size: int) -> None:
        if not self.cuts:
            self.cuts = True
            raise OSError(errno.EIO, "not now")
        super().cut(descriptor, size)


def manager(folder: Path, disk: Disk | None = None) -> tuple[HierarchicalStateManager, StateStore, MemorySink]:
    clock, sink = MarketClock(datetime(2024, 3, 8, 10, 30)), MemorySink()
    journal = Journal(sink, clock)
    store = StateStore(FolderStorage(folder, durable=False), StoreOptions(durable=False, segment_bytes=900), disk)
    return HierarchicalStateManager(store, EventBus(journal), clock, journal), store, sink


def live(state: HierarchicalStateManager) -> None:
    """A trade from its plan to its end; an act whose intent cannot be written is asked for again."""
    state.start()
    state.fire_system(SystemTrigger.READY)
    with state.together():
        state.create(Level.POSITION, "a", "friday_0dte")
        state.fire(Level.POSITION, "a", PositionTrigger.OPEN)
        state.create(Level.ORDER_GROUP, "a-in", "a", purpose=OrderPurpose.ENTRY, changes={"P": -1.0})
        state.fire(Level.STRATEGY, "friday_0dte", StrategyTrigger.ENTER)
    for _ in range(3):
        try:
            with state.intent(Level.ORDER_GROUP, "a-in", OrderTrigger.SEND) as intent:
                intent.note(orders=[1])
        except UnwrittenError:
            assert state.order_group("a-in").pending is None  # nothing may be sent: nothing says that it was
        else:
            break
    with state.together():
        state.fire(Level.ORDER_GROUP, "a-in", OrderTrigger.FILL, filled={"P": -1.0})
        state.fire(Level.POSITION, "a", PositionTrigger.OPENED)
    state.note(Level.POSITION, "a", corrections={"P": -1.0})
    state.remember("peak", 100_000.0)
    state.fire(Level.POSITION, "a", PositionTrigger.CLOSE)
    state.fire(Level.POSITION, "a", PositionTrigger.CLOSED)


def told(state: HierarchicalStateManager) -> list[tuple[str, str, str, dict[str, Any]]]:
    rows = [*state.strategies(), *state.positions(ended=True), *state.order_groups(ended=True)]
    return [(row.level.value, row.id, row.state, dict(row.detail)) for row in rows]


@pytest.mark.parametrize("cuts", [True, False])
def test_after_any_one_failed_write_the_next_start_finds_everything(tmp_path: Path, cuts: bool) -> None:
    writes = 0
    for at in range(1, MOST):
        disk = FullDisk(at, cuts=cuts)
        folder = tmp_path / str(at)
        try:
            state, store, _ = manager(folder, disk)
        except StateError:  # the very first line: it says so, and the next start is a fresh one
            manager(folder)[1].close()
            continue
        live(state)
        writes = max(writes, disk.count)
        state.keep()  # the next minute
        assert store.owes == 0
        store.close()
        again, other, _ = manager(folder)
        assert told(again) == told(state), at
        assert again.recall("peak") == 100_000.0
        other.close()
        if at > disk.count:
            break
    assert 10 < writes < MOST  # every write of the life was refused once


def test_while_the_disk_takes_nothing_no_act_begins_and_all_of_it_is_written_later(tmp_path: Path) -> None:
    disk = FullDisk(10**9)
    state, store, sink = manager(tmp_path, disk)
    state.start()
    state.fire_system(SystemTrigger.READY)
    disk.at, disk.lasting = disk.count + 1, True
    state.create(Level.POSITION, "a", "friday_0dte")
    state.fire(Level.POSITION, "a", PositionTrigger.OPEN)
    state.create(Level.ORDER_GROUP, "a-in", "a", purpose=OrderPurpose.EXIT)
    with pytest.raises(UnwrittenError, match="was not written"):
        state.intent(Level.ORDER_GROUP, "a-in", OrderTrigger.SEND)
    assert state.order_group("a-in").pending is None
    assert store.owes == 4  # the strategy, the position, its opening, the group
    words = [row["reason"] for row in sink.rows(RecordKind.SYSTEM)]
    assert sum("state is not written" in row for row in words) == 1
    disk.lasting, disk.at = False, 0
    state.intent(Level.ORDER_GROUP, "a-in", OrderTrigger.SEND)
    assert store.owes == 0
    store.close()
    again, _, _ = manager(tmp_path)
    assert again.order_group("a-in").pending is not None


def line(text: str) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(text.encode()), text.encode())


STAMP = '"t":"2024-03-08T10:30:00"'
CREATE = '"op":"create","level":"position","id":"b","parent":"friday_0dte"'


@pytest.mark.parametrize(
    "text",
    [
        '{"n":%d,"op":"memory","name":"x","value":NaN}',
        '{"n":%d,"op":"memory","name":"x","value":1e999}',
        '{"n":%d,"op":"memory","name":"x","value":' + "[" * 100_000 + "]" * 100_000 + "}",
        "[%d]",
        '{"n":%d}',
        '{"n":%d,"op":"memory","value":1}',
        '{"n":%d,"op":"batch","records":7}',
        '{"n":%d,"op":"batch","records":["x"]}',
        '{"n":%d,' + CREATE + ',"detail":{}}',
        '{"n":%d,' + STAMP + "," + CREATE + ',"detail":7}',
        '{"n":%d,' + STAMP + "," + CREATE + ',"detail":{"corrections":{"P":"many"}}}',
        '{"n":%d,' + STAMP + "," + CREATE + ',"detail":{"instruments":{"P":{"expiry":"soon"}}}}',
        '{"n":%d,"t":7,' + CREATE + ',"detail":{}}',
        '{"n":%d,' + STAMP + ',"op":"create","level":"planet","id":"b","parent":"","detail":{}}',
        '{"n":%d,' + STAMP + ',"op":"done","level":"position","id":"a","trigger":"close","to":"gone","detail":{}}',
        '{"n":%d,' + STAMP + ',"op":"done","level":"position","id":"a","trigger":"close","to":[],"detail":{}}',
        '{"n":"%d","op":"memory","name":"x","value":1}',
    ],
)
def test_a_good_checksum_over_nonsense_is_a_corrupt_store(tmp_path: Path, text: str) -> None:
    state, store, _ = manager(tmp_path)
    live(state)
    store.close()
    segment = max(tmp_path.glob("state/segment-*.jsonl"), key=lambda path: int(path.stem.split("-")[1]))
    with segment.open("ab") as file:
        file.write(line(text.replace("%d", str(store.sequence + 1))))
    with pytest.raises(CorruptStoreError):
        manager(tmp_path)


@pytest.mark.parametrize("name", ["n", "schema", "subjects", "memory"])
@pytest.mark.parametrize("value", [None, "x", [7]])
def test_a_snapshot_with_a_good_checksum_over_nonsense_is_a_corrupt_store(
    tmp_path: Path, name: str, value: object
) -> None:
    state, store, _ = manager(tmp_path)
    live(state)
    state.close()
    snapshot = max(tmp_path.glob("state/snapshot-*.json"), key=lambda path: int(path.stem.split("-")[1]))
    row = json.loads(snapshot.read_bytes().partition(b" ")[2])
    del row[name]
    if value is not None:
        row[name] = value
    snapshot.write_bytes(line(json.dumps(row)))
    with pytest.raises(CorruptStoreError):
        manager(tmp_path)
    assert store.sequence > 0

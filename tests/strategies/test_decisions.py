"""One decision row a day for each entry, whatever instant a live process is killed at."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from core.bus import EventBus
from core.clock import MarketClock
from core.journal import Journal, MemorySink
from core.storage import FolderStorage
from state.manager import HierarchicalStateManager
from state.store import StateStore, StoreOptions
from strategies.roster import DecisionRecord, Key, Sent

NOW = datetime(2016, 2, 12, 10, 31)
KEY = Key("friday_0dte", "open")
ROW = {"reason": "the VIX is missing", "correlation": "friday_0dte-20160212", "rule": "vix", "day": NOW.date()}


class LiveClock:
    """All of the gateway that the record asks."""

    def is_live(self) -> bool:
        return True

    def now(self) -> datetime:
        return NOW


class Process:
    """A process on a folder; ``kill`` lets go of the store's lock and nothing else."""

    def __init__(self, folder: Path, sink: MemorySink) -> None:
        clock = MarketClock(NOW)
        journal = Journal(sink, clock)
        self.store = StateStore(FolderStorage(folder, durable=False), StoreOptions(durable=False))
        self.state = HierarchicalStateManager(self.store, EventBus(journal), clock, journal)
        gateway: Any = LiveClock()
        self.record = DecisionRecord(self.state, journal, gateway)

    def kill(self) -> None:
        self.store.close()


class FailingSink(MemorySink):
    """A journal whose disk is gone."""

    def append(self, line: str) -> None:
        if '"decision"' in line:
            raise OSError(28, "no space left")
        super().append(line)


def decisions(sink: MemorySink) -> int:
    return sum('"kind":"decision"' in line for line in sink.lines)


def test_a_kill_between_memory_and_journal_leaves_the_row_to_the_next_process(tmp_path: Path) -> None:
    first = Process(tmp_path, FailingSink())
    first.record.decide(KEY, NOW.date(), ROW)  # the row is owed when the process ends
    first.kill()
    sink = MemorySink()
    for _ in range(2):  # the second start finds it told
        again = Process(tmp_path, sink)
        assert again.record.restore() == []
        assert again.record.is_decided(KEY, NOW.date())
        assert not again.record.is_decided(KEY, date(2016, 2, 19))
        again.kill()
    assert decisions(sink) == 1


def test_an_entry_on_its_way_is_known_to_the_next_process_and_one_that_never_left_is_not(tmp_path: Path) -> None:
    first = Process(tmp_path, MemorySink())
    sent = Sent("friday_0dte-20160212-1", KEY, NOW.date(), 2, "friday_0dte-20160212", "why", 1860.0)
    first.record.sending(sent)
    other = Key("friday_0dte", "later")
    first.record.sending(Sent("", other, NOW.date(), 2, "friday_0dte-20160212", "why", None))
    first.kill()
    again = Process(tmp_path, MemorySink())
    assert again.record.restore() == [sent]
    assert again.record.is_decided(KEY, NOW.date())
    assert not again.record.is_decided(other, NOW.date())  # no position was planned for it: it may be looked for

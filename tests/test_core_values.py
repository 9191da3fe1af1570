"""Clock, journal, identifiers and storage: the small parts that everything rests on."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import pytest

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
from core.events import Level
from core.identifiers import Identifiers, intent_fingerprint
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

"""Version 0.1.0, which LEAN's live mode was recorded with, over the recordings' own data in the embedded live mode.

Held: every callback but `on_data` with its process, minute, name and thread, in order; order events also with number,
contract, status, quantity and price; of `on_data` the minutes with data. Not held: seconds; calls of `on_data` without
data (as many as the recorded machine took to list contracts), and the one that follows a start; which of LEAN's order
threads it was; whether a scheduled lambda of 0.1.0's was an entry window or a deadline (the recorder knew from within).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from tests.conftest import CONFORMANCE, ROOT

COMMIT = "9a75353"
FRIDAY = "2016-02-12"
RECORDED = CONFORMANCE / "live"

Event = tuple[int, str, str, str, str]
"""Process, day and minute in New York, callback, thread without its number, an order event's words."""


class Fills(Enum):
    """How fills come here. Of LATER the minute is not held, nor the new price that is asked for meanwhile."""

    AS_RECORDED = "as recorded"
    ORDER_THREAD = "on the order thread: LEAN's paper broker tells of them on the algorithm's"
    LATER = "at the next minute's quotes: the recorded broker filled on the quote that stood"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A recorded run of 2016-02-12 as steps of `recorded_play`; `start` and `until` take a time of the day."""

    name: str
    steps: str
    fills: Fills = Fills.AS_RECORDED

    def script(self) -> list[list[str]]:
        """The steps, one a line: a word, and what it needs after spaces."""
        rows = []
        for line in self.steps.strip().splitlines():
            word, _, rest = line.strip().partition(" ")
            timed = word in ("start", "until")
            rows.append([word, f"{FRIDAY}T{rest}"] if timed else [word, *rest.split()])
        return rows


ENTRY_WORKS = """
    control nofill
    start {0}
    until 10:32:30
    kill
"""
END = """
    until 10:50:01
    stop
"""
A = Scenario("A", "start 09:30:42\nuntil 11:20:00\nstop", Fills.ORDER_THREAD)
SCENARIOS = (
    Scenario("C1", ENTRY_WORKS.format("09:28:32") + "start 10:34:45\nuntil 10:36:30\ncontrol" + END),
    Scenario(
        "C2",
        ENTRY_WORKS.format("09:28:45") + "hide\nstart 10:35:28\nuntil 10:36:10\nappear\nuntil 10:36:30\ncontrol" + END,
    ),
    Scenario("C3", ENTRY_WORKS.format("09:28:35") + "hide\ncontrol\nstart 10:34:45" + END),
    Scenario("C4", ENTRY_WORKS.format("09:28:34") + "fill 1.25 0.05\ncontrol\nstart 10:34:51" + END),
    Scenario(
        "C5",
        ENTRY_WORKS.format("09:28:38") + "fill 1.25 0.05 1\ncontrol\nstart 10:35:30" + END,
        Fills.LATER,
    ),
)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of 0.1.0; skipped with its reason where the history or the recordings are not there."""
    if not RECORDED.is_dir():
        pytest.skip("the recordings of LEAN's live mode are not beside this clone")
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this clone's history has no {COMMIT}: {packed.stderr.decode()[:80]}")
    folder = tmp_path_factory.mktemp("version")
    subprocess.run(["tar", "x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


@dataclass(frozen=True, slots=True)
class Heard:
    """Callbacks of a run but `on_data`, in order, and the minutes at which `on_data` brought data."""

    events: list[Event]
    data: set[tuple[int, str]]


def heard(rows: list[tuple[int, str, str, str, str]]) -> Heard:
    """What is compared of rows (process, New York time, callback, thread, detail)."""
    events: list[Event] = []
    data = set()
    for process, at, name, thread, detail in sorted(rows, key=lambda row: row[1]):
        minute = at[:16]
        if name == "on_data":
            if "bars=[]" not in detail:
                data.add((process, minute))
            continue
        words = re.sub(r" msg=.*", "", detail[detail.find("id=") :]) if name == "on_order_event" else ""
        name = "<lambda>" if name in ("entry_window", "deadline") else name
        events.append((process, minute, name, thread.partition("-")[0], words))
    return Heard(events, data)


def recorded(name: str, until: str = "99") -> Heard:
    """A recording up to a UTC time of day; New York is five hours earlier in February."""
    rows = []
    for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row.get("call") or row["utc"][11:] >= until:
            continue
        at = f"{row['utc'][:11]}{int(row['utc'][11:13]) - 5:02d}{row['utc'][13:]}"
        rows.append((row["process"], at, row["call"], row["thread"], row["detail"]))
    return heard(rows)


def played(scenario: Scenario, version: Path) -> Heard:
    """What is heard of the same steps in the embedded live mode."""
    arguments = [str(version), str(RECORDED / "data"), json.dumps(scenario.script())]
    command = [sys.executable, "-m", "tests.system.recorded_play", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    rows = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]
    return heard(rows)


def comparable(events: list[Event], fills: Fills) -> list[Event]:
    """Events without what is not held of fills."""
    rows = []
    for process, minute, name, thread, words in events:
        if fills is Fills.LATER and "UPDATE_SUBMITTED" in words:
            continue
        filled = " FILLED " in words
        at = "" if filled and fills is Fills.LATER else minute
        where = "" if filled and fills is Fills.ORDER_THREAD else thread
        rows.append((process, at, name, where, words))
    return rows


def assert_same(ours: Heard, theirs: Heard, fills: Fills) -> None:
    """The same callbacks; `on_data` with data at the same minutes, but for the minute of a start."""
    assert comparable(ours.events, fills) == comparable(theirs.events, fills)
    starts = {(process, minute) for process, minute, name, *_ in theirs.events if name == "initialize"}
    assert theirs.data - starts == ours.data - starts


@pytest.mark.slow
def test_the_callbacks_of_the_recorded_session_come_out(version: Path) -> None:
    """Run A to 11:20: open, entry at 10:30, its fills at 10:33, the exit at 11:12 repriced and filled at 11:13."""
    ours = played(A, version)
    assert ours.events.pop()[2] == "on_end_of_algorithm"  # the recording goes on
    assert_same(ours, recorded("A", "16:20:00"), A.fills)


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_callbacks_of_a_recorded_scenario_come_out(scenario: Scenario, version: Path) -> None:
    assert_same(played(scenario, version), recorded(scenario.name), scenario.fills)

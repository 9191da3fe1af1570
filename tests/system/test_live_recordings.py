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
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from simulation.live_mode.account import Broker
from tests.conftest import CONFORMANCE, ROOT

COMMIT = "9a75353"
FRIDAY, FRIDAY_BEFORE = "2016-02-12", "2016-02-05"
RECORDED = CONFORMANCE / "live"

Event = tuple[int, str, str, str, str]
"""Process, day and minute in New York, callback, thread without its number, an order event's words."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A recorded run as steps of `recorded_play`; `start` and `until` take a time of `day`, or a day's with it.

    `until`: the UTC time at which the comparison ends, where the recording went on; `skipped`: minutes over which the
    recorder's clock jumped.
    """

    name: str
    steps: str
    broker: Broker = Broker.RECORDED
    day: str = FRIDAY
    until: str = "99"
    skipped: tuple[str, str] = ("", "")

    def script(self) -> list[list[str]]:
        """The steps, one a line: a word, and what it needs after spaces."""
        rows = []
        for line in self.steps.strip().splitlines():
            word, _, rest = line.strip().partition(" ")
            timed = word in ("start", "until")
            rows.append([word, rest if "T" in rest else f"{self.day}T{rest}"] if timed else [word, *rest.split()])
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
A = Scenario("A", "start 09:30:42\nuntil 16:10:01\nstop", Broker.PAPER)
N = """
    control nofill
    start 09:28:23
    until 10:33:30
    control nofill noupdate
    until 10:35:30
    control nofill nocancel
    until 10:46:00
    control nofill
    until 10:48:00
    command {"command": "status"}
    until 10:50:30
    command {"command": "halt"}
    until 10:53:00
    control
    until 10:56:00
    control nofill nocancel
    command {"command": "close_all"}
    until 11:12:00
    control nofill
    until 11:20:00
    command {"command": "status"}
    until 11:21:01
    stop
"""
X = """
    start 09:28:23
    until 10:55:01
    control nofill
    until 11:10:05
    kill
    start 11:10:36
    until 11:18:26
    control
    until 11:33:27
    stop
"""
DE_COMMANDS = """
    10:38:00 {"command": "status"}
    10:38:20 {"command": "STATUS", "subject": 5}
    10:38:40 {"command": "dance"}
    10:39:00 {"id": "s4"}
    10:39:10 {"command": 7}
    10:39:20 {"command": ["halt"]}
    10:39:30 [1, 2]
    10:39:40 "halt"
    10:39:50 {"command": {"a": 1}}
    10:40:00 {"command": null}
    10:40:10 {"$type": "Foo", "command": "halt"}
    10:40:20 {"command": " halt "}
    10:40:30 not json at all
    10:40:40 {"command": "reconcile"}
    10:41:00 {"command": "halt"}
    10:41:20 {"command": "halt"}
    10:41:40 {"command": "reduce"}
    10:42:00 {"command": "resume"}
    10:42:20 {"command": "resume"}
    10:42:40 {"command": "reduce"}
    10:43:00 {"command": "resume"}
"""
DE = "\n".join(
    (
        "start 09:30:43",
        *(f"until {row.strip()[:8]}\ncommand {row.strip()[9:]}" for row in DE_COMMANDS.strip().splitlines()),
        "until 10:45:00.3\ncontrol outage\nuntil 10:55:00.7\ncontrol crossed\nuntil 10:57:00.8\ncontrol nobid",
        "until 10:59:01\ncontrol noask\nuntil 11:01:01.1\ncontrol\nuntil 11:03:00.8\ncontrol noindex",
        "until 11:11:30\nkill",
    )
)
SCENARIOS = (
    Scenario("C1", ENTRY_WORKS.format("09:28:32") + "start 10:34:45\nuntil 10:36:30\ncontrol" + END),
    Scenario(
        "C2",
        ENTRY_WORKS.format("09:28:45") + "hide\nstart 10:35:28\nuntil 10:36:10\nappear\nuntil 10:36:30\ncontrol" + END,
    ),
    Scenario("C3", ENTRY_WORKS.format("09:28:35") + "hide\ncontrol\nstart 10:34:45" + END),
    Scenario("C4", ENTRY_WORKS.format("09:28:34") + "fill 1.25 0.05\ncontrol\nstart 10:34:51" + END),
    Scenario("C5", ENTRY_WORKS.format("09:28:38") + "fill 1.25 0.05 1\ncontrol\nstart 10:35:30" + END),
    Scenario("X", X, day=FRIDAY_BEFORE),
    Scenario("N", N),
    Scenario(
        "W",
        "start 09:30:42\nuntil 2016-02-08T10:05:01\nstop",
        Broker.PAPER,
        FRIDAY_BEFORE,
        skipped=("2016-02-05 16:04", "2016-02-08 09:20"),
    ),
    Scenario("F1", "start 09:20:34\nuntil 10:40:01\nstop", Broker.PAPER, "2016-02-13"),
    Scenario("F2", "start 15:40:28\nuntil 16:05:01\nstop", Broker.PAPER),
    Scenario("F3", "start 11:30:29\nuntil 11:48:01\nstop", Broker.PAPER),
    Scenario(
        "Bs",
        "start 09:30:43\nuntil 10:42:31\nkill\nstart 10:44:07\nuntil 11:07:59\nkill",
        day=FRIDAY_BEFORE,
        until="16:08",
    ),
    Scenario(
        "Bp",
        "start 09:28:34\nuntil 10:42:31\nkill\nstart 10:44:06\nuntil 14:38:01\nkill",
        Broker.PAPER,
        FRIDAY_BEFORE,
    ),
    Scenario("DE", DE, until="16:11:30"),
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
    """What is compared of rows (process, New York time, callback, thread, detail).

    The recorder named a thread when it first met it: without any data (F1) the one of the end has another's name.
    """
    named = any(name == "on_data" for _, _, name, _, _ in rows)
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
        thread = thread.partition("-")[0] if named or name != "on_end_of_algorithm" else ""
        events.append((process, minute, name, thread, words))
    return Heard(events, data)


def recorded(scenario: Scenario) -> Heard:
    """A recording in New York time, five hours behind UTC in February."""
    rows = []
    for line in (RECORDED / f"{scenario.name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row.get("call") and row["utc"][11:] < scenario.until:
            at = str(datetime.fromisoformat(row["utc"]) - timedelta(hours=5))
            rows.append((row["process"], at, row["call"], row["thread"], row["detail"]))
    return heard(rows)


def played(scenario: Scenario, version: Path) -> Heard:
    """What is heard of the same steps in the embedded live mode."""
    arguments = [str(version), str(RECORDED / "data"), scenario.broker.name, json.dumps(scenario.script())]
    command = [sys.executable, "-m", "tests.system.recorded_play", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    rows = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]
    return heard(rows)


def assert_same(scenario: Scenario, version: Path) -> None:
    """The same callbacks; `on_data` with data at the same minutes, but for the minute of a start and a jump."""
    ours, theirs = played(scenario, version), recorded(scenario)
    assert ours.events == theirs.events
    starts = {(process, minute) for process, minute, name, *_ in theirs.events if name == "initialize"}
    first, last = scenario.skipped
    left_out = starts | {row for row in ours.data | theirs.data if first <= row[1] < last}
    assert ours.data - left_out == theirs.data - left_out


@pytest.mark.slow
def test_the_callbacks_of_the_recorded_session_come_out(version: Path) -> None:
    """Run A: open, entry at 10:30, its fills at 10:33 on the algorithm's thread, the exit at 11:12, filled at 11:13,
    the deadlines and the close."""
    assert_same(A, version)


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_callbacks_of_a_recorded_scenario_come_out(scenario: Scenario, version: Path) -> None:
    assert_same(scenario, version)

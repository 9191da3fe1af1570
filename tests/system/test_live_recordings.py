"""Version 0.1.0, which LEAN's live mode was recorded with, over the recordings' own data in the embedded live mode."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CONFORMANCE, ROOT

pytestmark = pytest.mark.slow
COMMIT = "9a75353"
RECORDED = CONFORMANCE / "live"
PLAY = """
import json, sys, tempfile
from datetime import datetime
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from simulation.data.lean_folder import LeanFolder
from simulation.live_mode.session import LiveRequest, LiveSession
version, data, start, until = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5]
settings = {"strategies": "friday_0dte", "friday_0dte.min_vix": "0"}
run = LiveSession(LiveRequest(version / "main.py", LeanFolder(data), settings, Path(tempfile.mkdtemp())))
for name in [name for name in sys.modules if name.partition(".")[0] == "core"]:
    del sys.modules[name]  # today's, which the engine itself uses
sys.path.insert(0, str(version))
run.start(datetime.fromisoformat(start))
run.until(datetime.fromisoformat(until))
run.stop()
for call in run.calls:
    print(json.dumps([str(run.zone.local(call.utc_ms)), call.name, call.thread, call.detail]))
"""


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


def reports(rows: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Minute and words of each order event, without what the broker said."""
    return [(at[11:16], re.sub(r" msg=.*", "", detail)) for at, name, detail in rows if name == "on_order_event"]


def recorded(name: str, until: str) -> list[tuple[str, str, str]]:
    """Callbacks of a recording up to a UTC time, in New York time (five hours earlier in February)."""
    rows = [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    calls = [row for row in rows if row.get("call") and row["utc"][11:] < until]
    return [(f"{row['utc'][:11]}{int(row['utc'][11:13]) - 5:02d}{row['utc'][13:]}", row["call"], row["detail"])
            for row in calls]  # fmt: skip


def test_the_callbacks_of_the_recorded_session_come_out(version: Path) -> None:
    """Run A to 11:20: open, entry at 10:30, its fills at 10:33, the exit at 11:12 repriced and filled at 11:13."""
    arguments = [str(ROOT), str(version), str(RECORDED / "data"), "2016-02-12T09:30:42", "2016-02-12T11:20:00"]
    played = subprocess.run([sys.executable, "-c", PLAY, *arguments], capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stderr[-2000:]
    rows = [json.loads(line) for line in played.stdout.splitlines() if line.startswith("[")]
    calls = [(at, name, detail) for at, name, _, detail in rows]
    assert reports(calls) == reports(recorded("A", "16:20:00"))
    assert {thread for _, name, thread, _ in rows if name == "session_opens"} == {"schedule"}
    assert {thread for _, name, thread, _ in rows if name == "on_data"} == {"algorithm"}
    assert {thread for _, name, thread, _ in rows if name == "on_order_event"} == {"orders-1"}
    minutes = {at[11:16] for at, name, detail in calls if name == "on_data" and not detail}
    assert {
        at[11:16] for at, name, detail in recorded("A", "16:20:00") if name == "on_data" and "bars=[]" not in detail
    } <= minutes | {"09:30"}

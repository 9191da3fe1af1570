"""`python run.py test`: which checks and tests each way of asking runs, and what is said of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import app, checks
from tests.conftest import ROOT


def test_checks_run_every_step_and_name_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def judge(steps: Sequence[checks.Step]) -> list[tuple[str, bool]]:
        ran.extend(step.name for step in steps)
        return [(step.name, step.name != "types") for step in steps]

    monkeypatch.setattr(checks, "judge", judge)
    assert app.run(["test", "--fast"]) == 1
    static = ["format", "lint", "types", "import contract", "placeholders and sizes"]
    assert ran == [*static, "tests"]
    assert "5 of 6 checks passed; failed: types" in capsys.readouterr().out
    ran.clear()
    assert app.run(["test", "--no-tests", "--first-use"]) == 1
    assert ran == [*static, "first use, pip alone"]
    monkeypatch.setattr(checks, "judge", lambda steps: [(step.name, True) for step in steps])
    assert app.run(["test", "--no-tests"]) == 0


def commands_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, tuple[str, ...]]:
    """The commands of a run of the checks by their step's name, without the interpreter."""
    ran: dict[str, tuple[str, ...]] = {}

    def judge(steps: Sequence[checks.Step]) -> list[tuple[str, bool]]:
        ran.update({step.name: step.command[1:] for step in steps})
        return [(step.name, True) for step in steps]

    monkeypatch.setattr(checks, "judge", judge)
    monkeypatch.setattr(checks, "coverage", lambda: True)
    assert app.run(["test", *arguments]) == 0
    return ran


def test_one_room_is_its_own_tests_types_and_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = commands_of(monkeypatch, "risk")
    assert list(ran) == ["format", "lint", "types", "import contract", "tests"]
    assert ran["lint"] == ("-m", "ruff", "check", "risk", "tests/risk")
    assert ran["types"] == ("-m", "mypy", "risk", "tests/risk")
    assert ran["tests"][-1] == "tests/risk"
    assert "--cov" not in ran["tests"]  # one room cannot reach the floor of the whole
    assert commands_of(monkeypatch, "simulation/orders/")["types"][-2:] == (
        "simulation/orders",
        "tests/simulation/orders",
    )
    assert commands_of(monkeypatch, "system")["types"][2:] == ("main.py", "trading_system.py", "tests/system")


def test_every_room_has_tests_of_its_own() -> None:
    rooms = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
    rooms += [path.parent for path in ROOT.glob("simulation/*/__init__.py") if path.parent.name != "embedded"]
    assert len(rooms) >= 20
    for room in rooms:
        places = checks.places_of(room.relative_to(ROOT).as_posix())
        assert all((ROOT / place).exists() for place in places)
        assert list((ROOT / places[-1]).glob("**/test_*.py")), places[-1]


@pytest.mark.parametrize("name", ["orders", "tests", "", "../core", "no_such"])
def test_an_unknown_room_is_refused_with_those_that_there_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["test", name]) == 2
    said = capsys.readouterr().err
    assert f"test {name}: no such room; there are" in said
    assert "core, execution" in said
    assert "simulation/orders" in said


def test_each_way_of_testing_chooses_its_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    def marks(*arguments: str) -> tuple[str, bool, bool]:
        command = commands_of(monkeypatch, *arguments)["tests"]
        chosen = command[command.index("-m", 2) + 1] if "-m" in command[2:] else ""
        return chosen, "--cov" in command, "--measure" in command

    assert marks() == ("not long", False, False)  # counting branches doubles the time, and CI has twelve minutes
    assert marks("--fast") == ("not slow and not long", False, False)
    assert marks("--all") == ("", True, False)
    assert marks("--durations") == ("not long", False, True)
    assert marks("cli", "--fast") == ("not slow and not long", False, False)


def test_fast_and_all_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["test", "--fast", "--all"]) == 2
    assert "--fast and --all: one of them at most" in capsys.readouterr().err


TIMED = """
import pytest

@pytest.mark.parametrize("case", [1, 2])
def test_busy(case: int) -> None:
    assert sum(range(12_000_000)) > case

def test_idle() -> None:
    assert True
"""


def test_measured_time_marks_a_test_as_slow(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests" / "conftest.py")
    (tmp_path / "tests" / "test_timed.py").write_text(TIMED, encoding="utf-8")
    rows = {"tests/test_timed.py::test_gone": 9.0, "tests/test_deleted.py::test_it": 9.0}
    (tmp_path / "tests" / "durations.json").write_text(json.dumps(rows), encoding="utf-8")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    assert "3 passed" in run("--measure")
    rows = json.loads((tmp_path / "tests" / "durations.json").read_text(encoding="utf-8"))
    # The two cases are one row; what takes nothing has none; a file that is gone takes its rows with it.
    assert set(rows) == {"tests/test_timed.py::test_busy", "tests/test_timed.py::test_gone"}
    rows["tests/test_timed.py::test_busy"] = 5.0
    (tmp_path / "tests" / "durations.json").write_text(json.dumps(rows), encoding="utf-8")
    assert "1 passed, 2 deselected" in run("-m", "not slow")


MEETS = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.touch()
while not other.exists():
    time.sleep(0.01)
print(own.name, "met", other.name)
raise SystemExit(3 * (own.name == "two"))
"""


def test_steps_run_beside_each_other_and_are_shown_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each waits for the other: one after the other they would never end.
    names = {"one": "two", "two": "one"}
    steps = [
        checks.Step(own, (sys.executable, "-c", MEETS, str(tmp_path / own), str(tmp_path / other)))
        for own, other in names.items()
    ]
    assert checks.judge(steps) == [("one", True), ("two", False)]
    said = [line.partition(" in ")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["== one", "one met two", "== one: passed", "== two", "two met one", "== two: FAILED"]


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes otherwise")
def test_no_step_goes_on_when_the_checks_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "process"
    code = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(600)"

    def interrupted(_seconds: float) -> None:
        if mark.exists() and mark.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(checks, "time", SimpleNamespace(monotonic=time.monotonic, sleep=interrupted))
    with pytest.raises(KeyboardInterrupt):
        checks.judge([checks.Step("endless", (sys.executable, "-c", code))])
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


@pytest.mark.parametrize(
    ("taken", "recordings", "floor"), [(849, True, 85), (850, True, 85), (799, False, 80), (800, False, 80)]
)
def test_coverage_of_branches_has_a_floor(
    taken: int,
    recordings: bool,
    floor: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    monkeypatch.setattr(checks, "RECORDINGS", tmp_path if recordings else tmp_path / "none")
    assert not checks.coverage()
    # Every line taken does not make up for branches: 849 of 1000 is under the floor of 85 %, 799 under that of 80 %.
    totals = {"covered_branches": taken, "num_branches": 1000, "covered_lines": 9, "num_statements": 9}
    (tmp_path / ".coverage.json").write_text(json.dumps({"totals": totals}), encoding="utf-8")
    assert checks.coverage() is (taken >= 10 * floor)
    assert f"{taken / 10:.1f} % of branches, floor {floor} % (lines 100.0 %)" in capsys.readouterr().out


def test_a_thousand_interleavings_and_every_kill_are_asked_for_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIVE_SEEDS", raising=False)
    monkeypatch.delenv("KILLS", raising=False)
    assert checks.seeds(checks.Selection(everything=True)) == {"LIVE_SEEDS": "1000", "KILLS": "100000"}
    assert checks.seeds(checks.Selection()) == {}
    monkeypatch.setenv("LIVE_SEEDS", "7")
    assert checks.seeds(checks.Selection(everything=True))["LIVE_SEEDS"] == "7"

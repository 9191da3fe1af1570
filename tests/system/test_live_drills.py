"""The drills of docs/live.md are scripts that run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulation.live_mode.rehearsal import ExpectationError, Rehearsal, ScriptError, play_script, read_script
from tests.conftest import ROOT
from tests.system.live_runs import FRIDAY, LiveRun

DRILLS = re.findall(r"```drill ([^\n]+)\n(.*?)```", (ROOT / "docs" / "live.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), DRILLS, ids=[name for name, _ in DRILLS])
def test_a_drill_ends_as_it_says(tmp_path: Path, name: str, text: str) -> None:
    run = LiveRun(tmp_path)
    shown: list[str] = []
    play_script(Rehearsal(run.session, run.store, shown.append), read_script(text, FRIDAY.date()))
    assert any(line.startswith("> start") for line in shown), name
    assert any("next windows: friday_0dte open from 10:30" in line for line in shown)


def test_there_are_drills_in_the_page() -> None:
    assert len(DRILLS) >= 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the script is empty"),
        ("noon start", "line 1: 'noon' is no time"),
        ("10:30 start\n09:00 kill", "line 2: 09:00 is before the line above it"),
    ],
)
def test_a_wrong_script_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ScriptError, match=words):
        read_script(text, FRIDAY.date())


@pytest.mark.slow
def test_an_expectation_that_is_not_so_fails_with_its_line(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    rehearsal = Rehearsal(run.session, run.store, lambda _: None)
    with pytest.raises(ExpectationError, match="line 2: expected a position, nothing is held"):
        play_script(rehearsal, read_script("09:28 start\n09:35 expect position", FRIDAY.date()))
    with pytest.raises(ScriptError, match="'dance' is no drill; known are: start, kill"):
        rehearsal.act("dance")

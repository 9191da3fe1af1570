"""``run.py faults``: one seed as a story, many as a table, and an exit code by whether a rule was broken."""

from __future__ import annotations

import os
import signal
import tempfile
import time as clock
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children
from pathlib import Path
from typing import cast

import pytest

from cli import checks
from cli.app import run
from tests.campaign import runs
from tests.campaign.week import Verdict, plan_of

VERDICT = Verdict(plan_of(0), (), Counter(), 0, 0, 0, 0.0)


def test_one_seed_is_told_as_a_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults", "--seed", "60"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "seed 60: friday_0dte, live; legs filled partly, quote frozen"
    assert any("legs filled partly: group-" in line or "quote frozen: SPXW" in line for line in said[1:])
    assert any("order: group-20240308-1 sent entry 2 4.75" in line for line in said)
    assert said[-1] == "every rule held"


def test_many_seeds_are_counted_by_fault(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert run(["faults", "--seeds", "3", "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert "3 of 3 weeks done" in said.err
    assert "order refused" in said.out
    assert "3 weeks in" in said.out
    assert "rules did not hold in 0" in said.out


def test_a_broken_rule_ends_in_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "tell_many", lambda *_: [39, 59])
    assert run(["faults", "--seeds", "100"]) == 1
    told = "error: rules did not hold in seeds 39, 59; python run.py faults --seed 39 tells one\n"
    assert capsys.readouterr().err == told


def test_one_seed_takes_no_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults", "--seed", "1", "--workers", "2"]) == 2
    assert "--seed runs one week by itself" in capsys.readouterr().err


def test_one_seed_and_many_are_not_asked_for_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["faults", "--seed", "1", "--seeds", "2"]) == 2
    assert "expected it alone" in capsys.readouterr().err


def one_waits_for_ever(seeds: Sequence[int]) -> list[Verdict]:
    """The first seed is done at once, any other never."""
    tempfile.mkdtemp()  # as a week does, which removes it at its end
    clock.sleep(600.0 if seeds[0] else 0.0)
    return [VERDICT]


def one_is_killed(seeds: Sequence[int]) -> list[Verdict]:
    """The first seed's process is killed, as by a machine short of memory."""
    if not seeds[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return one_waits_for_ever(seeds)


def stop(_done: int) -> None:
    """Told how many are done, and told to stop."""
    raise KeyboardInterrupt


def test_who_stops_a_campaign_waits_for_no_worker_and_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_BATCH", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in range(10):  # where two waited for one child, it was still listed in some of them
        with pytest.raises(KeyboardInterrupt):
            list(runs.campaign(range(6), 3, stop, one_waits_for_ever))
        assert not active_children()
        assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_ends_its_campaign_and_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_BATCH", 1)
    with pytest.raises(BrokenProcessPool):
        list(runs.campaign(range(6), 3, stop, one_is_killed))
    assert not active_children()


def test_who_reads_no_further_leaves_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_BATCH", 1)
    weeks = cast(Generator[Verdict], runs.campaign(range(6), 3, stop, one_waits_for_ever))
    assert next(weeks) == VERDICT
    weeks.close()
    assert not active_children()

"""``run.py faults``: one seed as a story, many as a table, and an exit code by whether a rule was broken."""

from __future__ import annotations

from multiprocessing import active_children

import pytest

from cli import checks
from cli.app import run
from tests.campaign import runs


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


@pytest.mark.slow
def test_who_stops_a_campaign_waits_for_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_BATCH", 1)

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(runs.campaign(range(200), 2, stop, runs.run_batch))  # a minute of work
    assert not active_children()

"""The drills of docs/live.md are scripts that run, and the page shows what they print."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import app
from cli.errors import StoppedError, UserError
from cli.scenario import make_anew, play_typed
from simulation.live_mode.rehearsal import (
    ExpectationError,
    Rehearsal,
    ScriptError,
    play_script,
    read_script,
    short_name,
)
from tests.system.drills import PAGE, drills, printed
from tests.system.live_runs import FRIDAY, LiveRun

DRILLS = drills(PAGE.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(("script", "output"), [row[1:] for row in DRILLS], ids=[row[0] for row in DRILLS])
def test_a_drill_ends_as_it_says_and_prints_what_the_page_shows(script: str, output: str) -> None:
    assert printed(script) == output, "python run.py tool tests.system.drills writes the page anew"


def test_there_are_drills_in_the_page() -> None:
    names = " ".join(name for name, _, _ in DRILLS)
    assert len(DRILLS) >= 5
    assert all(word in names for word in ("refuses", "kill", "close everything", "person", "quotes stop", "half"))


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
    with pytest.raises(ScriptError, match="'dance' is nothing that can be done here; help lists"):
        rehearsal.act("dance")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speed", "nan"], "--speed: nan; expected minutes above 0"),
        (["--speed", "inf"], "--speed: inf"),
        (["--date", "2030-01-02"], "--date: 2030-01-02 is outside of the market's days, 2014-01-0"),
        (["--script", "/nowhere"], "--script /nowhere: no such file"),
        (["--bogus"], "No such option: --bogus"),
    ],
)
def test_a_wrong_rehearsal_is_refused_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["rehearse", "--store", str(tmp_path / "store"), *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def a_rehearsal(run: LiveRun) -> tuple[Rehearsal, list[str]]:
    """One whose lines are kept."""
    shown = list[str]()
    return Rehearsal(run.session, run.store, shown.append), shown


def test_what_cannot_be_done_is_answered_with_what_can(tmp_path: Path) -> None:
    rehearsal, shown = a_rehearsal(LiveRun(tmp_path))
    rehearsal.act("help")
    assert all(word in shown[-1] for word in ("close_all", "fill lost", "quotes stop|cross", "trade by hand QUANTITY"))
    for words, answer in (
        ("close al", r"'close al' is nothing that can be done here \(meant: close_all\?\); help lists what can"),
        ("trade by hand", r"expected QUANTITY 'CONTRACT' PRICE, a contract that is held \(nothing is held\)"),
        ("trade by hand x 'SPX' 1", "expected QUANTITY"),
        ("fill half", "no order works at the broker"),
    ):
        with pytest.raises(ScriptError, match=answer):
            rehearsal.act(words)


@pytest.mark.parametrize(
    ("value", "name"),
    [("SPXW  160212C01860000", "SPXW 160212C1860"), ("SPY   240712P00402500", "SPY 240712P402.5"), ("SPY", "SPY")],
)
def test_a_contract_is_named_as_the_journal_names_it(value: str, name: str) -> None:
    assert short_name(SimpleNamespace(value=value)) == name


def test_ctrl_c_leaves_a_typed_day_with_its_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = LiveRun(tmp_path)
    rehearsal, shown = a_rehearsal(run)
    typed = iter([["status"], ["nonsense"], [], []])
    left = iter([0.0, 0.0, 0.0])

    def sleep(_: float) -> None:
        if next(left, None) is None:
            raise StoppedError(signal.SIGINT)

    monkeypatch.setattr("cli.scenario.typed_lines", lambda: typed)
    monkeypatch.setattr("cli.scenario.time.sleep", sleep)
    play_typed(rehearsal, FRIDAY.date(), 402.0)
    said = capsys.readouterr().out
    assert said.startswith("Friday 2016-02-12 as live, from 9:28 to 16:10 New York time, in 1.0 minutes.\nType help")
    assert "error: 'nonsense' is nothing that can be done here; help lists what can\n" in said
    assert shown[-2] == (
        "the rehearsal is over; trades: none was closed; the broker's account holds nothing; no order works"
    )
    assert shown[-1].startswith(f"how it was left: python run.py status --state {run.store}")
    assert run.session.engine is None


def test_a_rehearsal_removes_nothing_but_a_rehearsal(tmp_path: Path) -> None:
    """`--store ~` once removed what was there."""
    kept = tmp_path / "mine" / "letter.txt"
    kept.parent.mkdir()
    kept.write_text("dear")
    for store in (kept.parent, kept):
        with pytest.raises(UserError, match="is there and holds no rehearsal"):
            make_anew(store)
    assert kept.read_text() == "dear"
    state = tmp_path / "store" / "0-default" / "state"
    state.mkdir(parents=True)
    (state / "segment-0.jsonl").write_text("")
    (tmp_path / "empty").mkdir()
    for store in (tmp_path / "store", tmp_path / "empty", tmp_path / "none"):
        make_anew(store)
        assert not store.exists()

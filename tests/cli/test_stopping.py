"""A run that is told to stop: one line, the right exit code, and nothing half-written; leftovers of killed runs go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cli import errors
from cli.app import run
from cli.backtest import results_folder
from tests.conftest import ROOT
from tests.reporting.pages import a_journal

SLOW = """
import time as clock  # LEAN's own names hold another time
from pathlib import Path
from AlgorithmImports import *


class Slow(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2018, 2, 5)
        self.set_end_date(2018, 2, 9)
        self.add_equity("SPY", Resolution.MINUTE)

    def on_data(self, data):
        Path(self.get_parameter("mark")).touch()
        clock.sleep(0.2)
"""
EXITING = """
import sys
from AlgorithmImports import *


class Exiting(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2018, 2, 5)
        self.set_end_date(2018, 2, 6)
        self.add_equity("SPY", Resolution.MINUTE)
        {early}

    def on_data(self, data):
        sys.exit(3)
"""
PATIENCE = 300.0
"""Seconds until a child that says nothing is given up, also where many share the processor."""
UNIX = pytest.mark.skipif(os.name == "nt", reason="Windows ends processes otherwise")


def hear_signals() -> None:
    """Tests that run in the background or under nohup ignore signals, and hand that on: the child hears them all."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def started(folder: Path) -> subprocess.Popen[str]:
    """A backtest that is in the middle of its first day."""
    algorithm, mark = folder / "slow.py", folder / "mark"
    algorithm.write_text(SLOW, encoding="utf-8")
    command = [sys.executable, str(ROOT / "run.py"), "backtest", "--algorithm", str(algorithm)]
    command += ["--param", f"mark={mark}", "--out", str(folder / "results" / "one")]
    pipe = subprocess.PIPE
    done = subprocess.Popen(
        command, stderr=pipe, stdout=pipe, text=True, start_new_session=True, preexec_fn=hear_signals
    )
    deadline = time.monotonic() + PATIENCE
    while not mark.exists():
        assert done.poll() is None, done.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return done


@UNIX
@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("SIGINT", 130, "error: interrupted; nothing half-written was left\n"),
        ("SIGTERM", 143, "error: stopped by SIGTERM; nothing half-written was left\n"),
        ("SIGHUP", 129, "error: stopped by SIGHUP; nothing half-written was left\n"),
    ],
)
def test_a_signal_ends_a_run_in_one_line(name: str, code: int, words: str, tmp_path: Path) -> None:
    process = started(tmp_path)
    working = [path.name for path in (tmp_path / "results").iterdir()]
    assert working == [f".one-{process.pid}.tmp"], process.communicate(timeout=PATIENCE)
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))  # an impatient second one must not interrupt the clearing up
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "")
    assert err == words
    assert list((tmp_path / "results").iterdir()) == []


@UNIX
def test_the_next_run_clears_what_a_killed_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(tmp_path)
    process.kill()
    process.communicate(timeout=PATIENCE)
    results = tmp_path / "results"
    dead = results / f".one-{process.pid}.tmp"
    assert dead.is_dir()
    living, foreign = results / f".two-{os.getpid()}.tmp", results / f".mine-{process.pid}.tmp"
    for made, inside in ((living, "storage"), (foreign, "thesis.txt")):
        (made / inside).mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = [tmp_path / f"{errors.SCRATCH}{number}-abc" for number in (process.pid, os.getpid())]
    for kept in scratch:
        kept.mkdir()
    with results_folder(results / "three") as folder:
        assert folder.work.is_dir()
    # What lives stays, and what is not ours: only the killed run's folder is gone.
    assert sorted(path.name for path in results.iterdir()) == sorted([living.name, foreign.name, "three"])
    assert [kept.exists() for kept in scratch] == [False, True]


@UNIX
def test_what_is_ignored_from_outside_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with errors.stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def told_to_end() -> None:
    with errors.stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


@UNIX
def test_handlers_are_put_back() -> None:
    found = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever started the tests may have it ignored
    try:
        with pytest.raises(errors.StoppedError) as stop:
            told_to_end()
        assert stop.value.words == "stopped by SIGTERM"
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, found)


@pytest.mark.parametrize(
    ("early", "words"),
    [
        ("", "stopped: simulation.runner.AlgorithmExitError: the algorithm called sys.exit(3), File "),
        ("sys.exit('no')", "stopped: simulation.runner.AlgorithmExitError: the algorithm called sys.exit('no'), File "),
    ],
)
def test_an_algorithm_that_exits_says_so(
    early: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    algorithm = tmp_path / "exiting.py"
    algorithm.write_text(EXITING.format(early=early), encoding="utf-8")
    assert run(["backtest", "--algorithm", str(algorithm), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f'error: exiting.py {words}"{algorithm}", line ')
    assert len(said.splitlines()) == 1


SERVER = """
import pathlib, signal, sys, time
place = pathlib.Path({place!r})
def end(*_):
    (place / "ended").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
(place / "mark").touch()
time.sleep(600)
"""


@UNIX
def test_ctrl_c_ends_the_notebook_and_its_server(tmp_path: Path) -> None:
    # A server in JupyterLab's place: told by SIGTERM, so that it can end its kernels; never killed in the middle.
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__main__.py").write_text(SERVER.format(place=str(tmp_path)), encoding="utf-8")
    command = [sys.executable, "-c", "import sys; from cli.app import run; sys.exit(run(['notebook', '--no-browser']))"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=hear_signals,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "mark").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=PATIENCE)[1] == "error: interrupted; nothing half-written was left\n"
    assert process.returncode == 130
    assert (tmp_path / "ended").exists()


@UNIX
@pytest.mark.parametrize("arguments", [["trades", "RUN", "--csv"], ["settings"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_a_command_without_a_word(arguments: list[str], tmp_path: Path) -> None:
    # Few lines stay in a buffer until the interpreter ends: `| head -1` may be gone by then.
    (tmp_path / "journal.jsonl").write_text("\n".join(a_journal()) + "\n", encoding="utf-8")
    reading, writing = os.pipe()
    os.close(reading)
    called = [str(tmp_path) if argument == "RUN" else argument for argument in arguments]
    command = [sys.executable, "-c", f"import sys; from cli.app import run; sys.exit(run({called!r}))"]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


HEARS = """
import multiprocessing, signal, threading
from cli.grid import unheard
def heard():
    # What a worker's process does first, in the thread that begins it.
    multiprocessing.get_context("spawn").Semaphore()
    print(sorted(int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])))
if __name__ == "__main__":
    with unheard():
        thread = threading.Thread(target=heard)
        thread.start()
        thread.join()
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


@UNIX
def test_a_grid_s_workers_do_not_hear_ctrl_c() -> None:
    """The standard library's tracker of resources lets Ctrl-C through in the thread that first needs it: a worker's."""
    done = subprocess.run(
        [sys.executable, "-c", HEARS], cwd=ROOT, capture_output=True, text=True, check=True, preexec_fn=hear_signals
    )
    assert done.stdout.splitlines() == [str([int(signal.SIGHUP), int(signal.SIGINT)]), "[]"]


class Going:
    """Told to stop while it is destroyed, where Python drops whatever is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def goes() -> None:
    going = Going()
    del going
    time.sleep(2.0)


@UNIX
def test_a_signal_within_a_destructor_is_not_lost() -> None:
    found = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever started the tests may have it ignored
    hook = sys.unraisablehook
    try:
        with pytest.raises(errors.StoppedError), errors.stoppable():
            goes()
        assert sys.unraisablehook is hook
    finally:
        signal.signal(signal.SIGTERM, found)


@UNIX
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_before_anything_has_begun_is_one_line(name: str, code: int, tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.py", tmp_path)
    (tmp_path / "cli").mkdir()
    early = f"import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(60)\n"
    (tmp_path / "cli" / "bootstrap.py").write_text(early, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "run.py", "backtest"], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=hear_signals,
    )  # fmt: skip
    words = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    assert (done.returncode, done.stderr) == (code, f"error: {words}\n")

"""The commands `scenario` and `data`, the summary table and the first steps: what each prints, writes and refuses."""

# Private: _Reading: the reader's end of a pipe that breaks, made by hand.

from __future__ import annotations

import errno
import io
import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import app, backtest, bootstrap, data, errors, options, runs, scenario, summary
from cli.bootstrap import Environment, PackageSet
from cli.errors import UserError
from cli.options import BacktestOptions
from reporting.report import Provenance, RunRecord, summarise
from reporting.rows import Decision, EquityPoint, ErrorNote, Journal, Outcome
from simulation.data.lean_folder import LeanFolder
from simulation.lean.enums import Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market import scenarios

SPX = Symbol.create("SPX", SecurityType.INDEX, "usa")


@pytest.fixture(autouse=True)
def no_configured_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not depend on what config.json holds."""
    monkeypatch.setattr(options, "configured_parameters", dict)


def record_of(*equity: float, **changes: Any) -> RunRecord:
    """A run of as many days as there are figures, without a journal unless one is given."""
    points = tuple(EquityPoint(date(2008, 1, 2 + number), dollars) for number, dollars in enumerate(equity))
    usual: dict[str, Any] = {"facts": {"Orders": "4", "Order list hash": "0123456789abcdef99"}}
    provenance = Provenance("a market", ("all",), ())
    return RunRecord(
        "Probe", date(2008, 1, 2), date(2008, 1, 4), changes.pop("journal", Journal()), points, provenance, "", **usual,
        **changes,
    )  # fmt: skip


# --- scenario --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--list"], [], ["august-2024", "--list"]])
def test_scenarios_are_listed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["scenario", *arguments]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == scenarios.names()
    assert "august-2024            2024-07-17 to 2024-08-16  August 5, 2024: VIX 23 to 65 before the bell" in said


def test_wrong_scenarios_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["scenario", "half-day", "--all"]) == 2
    assert "half-day and --all: expected one of them" in capsys.readouterr().err
    assert app.run(["scenario", "august-2042"]) == 2
    assert "august-2042" in capsys.readouterr().err


def leave_sessions(folder: Path, before: date, shock: date) -> None:
    """What a run leaves: one put held at 100,000, then a session that cost a tenth."""
    usual = {"positions": ["1 puts"], "margin": 30_000.0, "lines": {}, "move": 0.03, "paid": 0.0}
    sessions = [
        {**usual, "day": before.isoformat(), "opening": 100_000.0, "lowest": 100_000.0, "close": 100_000.0},
        {**usual, "day": shock.isoformat(), "opening": 100_000.0, "lowest": 90_000.0, "close": 95_000.0},
    ]
    (folder / "sessions.json").write_text(json.dumps({"sessions": sessions, "liquidated": []}), encoding="utf-8")
    (folder / "journal.jsonl").write_text("", encoding="utf-8")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[BacktestOptions]:
    """What was asked of the backtest, which is done at once; missing-vix stops with an error."""
    asked: list[BacktestOptions] = []

    def finish(wanted: BacktestOptions, stand_in: backtest.StandIn) -> backtest.Finished:
        asked.append(wanted)
        assert stand_in.file.name == "filled.py"
        before, shock = date.fromisoformat(wanted.start or ""), date.fromisoformat(stand_in.parameters["shock"])
        leave_sessions(tmp_path, before, shock)
        stopped = "Traceback ...\nValueError: no VIX\n" if wanted.market == "scenario:missing-vix" else None
        # Up a tenth, then down to 99 of 110: a drawdown of a tenth, and one per cent under the start.
        record = record_of(*((100.0, 110.0, 99.0) if stopped is None else ()))
        return backtest.Finished(record, summarise(record), tmp_path, 0.1, stopped)

    monkeypatch.setattr(scenario, "run_and_report", finish)
    return asked


def test_a_scenario_shows_its_path_and_what_came_of_it(
    ran: list[BacktestOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["scenario", "august-2024", "--seed", "7", "--set", "friday_0dte.min_vix=0"]) == 0
    said = capsys.readouterr().out
    # Real closes: the index from 5657.70 on 3 July to 5554.25, low 5186.33; the VIX's highest close 38.57.
    assert "5,657.70 to 5,554.25, between 5,186.33 and 5,695.52" in said
    assert "14.57 to 14.80, between 13.19 and 38.57" in said
    assert "0 trades, 0 won, +0 dollars after fees, return -1.00%, largest drawdown 10.00%" in said
    # 100,000 to 90,000 is a tenth, of the 15 % that a session may cost
    assert "worst session 2024-08-01: 10.0% of 100,000 (index 3.0%, bound 15%)" in said
    assert said.endswith("  passed\n")
    assert (tmp_path / "path.svg").read_text(encoding="utf-8").startswith("<svg")
    assert (ran[0].market, ran[0].seed, ran[0].cash) == ("scenario:august-2024", "7", "150000")
    assert ran[0].set_ == ["phases.earned_progression=false", "friday_0dte.min_vix=0"]
    assert (ran[0].start, ran[0].end) == ("2024-07-30", "2024-08-09")  # filled on the two days before August 1


def test_every_scenario_states_what_it_will_try(ran: list[BacktestOptions], capsys: pytest.CaptureFixture[str]) -> None:
    for name in scenarios.names():
        assert len(scenarios.scenario(name).tries) > 20, name
    assert app.run(["scenario", "half-day"]) == 0
    assert "  will try: to enter and be out by 12:00 on a day that closes at 13:00." in capsys.readouterr().out


def test_a_scenario_that_held_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "nothing was held: this scenario tested nothing"
    never = ["--strategies", "friday_0dte", "--set", "friday_0dte.min_vix=49"]
    assert app.run(["backtest", "--market", "scenario:half-day", *never, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.endswith(f"{words}\n")
    assert words in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    done = backtest.run_and_report(
        BacktestOptions(
            market="scenario:half-day", strategies="friday_0dte", set_=["friday_0dte.min_vix=0"], out=tmp_path / "held"
        )
    )
    assert done.record.journal.trades
    assert not done.record.warnings  # the market has no XSP, and at this account nothing needs it
    open_at_the_end = Journal(equity=(EquityPoint(date(2008, 1, 2), 100.0, 1, 1),))
    assert backtest.was_held(open_at_the_end)


def test_all_scenarios_run_and_those_that_stop_are_named(
    ran: list[BacktestOptions], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenarios, "names", lambda: ["equity-40k", "missing-vix"])
    assert app.run(["scenario", "--all"]) == 1
    said = capsys.readouterr()
    assert "  stopped: ValueError: no VIX\n" in said.out
    assert "1 of 2 scenarios did not pass: missing-vix" in said.err
    assert [one.cash for one in ran] == ["39400", "150000"]  # the scenario begins just under its threshold
    assert "| equity-40k | 39,400 | 1 puts | 30% |" in said.out
    # Without equity there is neither return nor drawdown to tell.
    assert "0 trades, 0 won, +0 dollars after fees in " in said.out


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_day() -> list[str]:
    """The first day of a scenario."""
    plan = scenarios.scenario("half-day")
    return ["--market", "scenario:half-day", "--start", str(plan.start), "--end", str(plan.start)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--start", "2018-13-01"], "--start: '2018-13-01' is no date; expected YYYY-MM-DD"),
        (["--symbols", "SPX:a:b:c"], "--symbols: 'SPX:a:b:c' names no market"),
        (["--symbols", "SPXW:7-0"], "'7-0' runs backwards"),
        (["--symbols", "SPX,METHODLOGY"], "METHODLOGY has no data from "),
    ],
)
def test_data_refuses_what_it_cannot_write(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    assert app.run(["data", "--out", str(out), "--market", "scenario:half-day", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    assert app.run(["data", "--out", str(out), *arguments]) == 2
    assert "exists; expected a folder that does not exist yet" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing(
    one_day: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(market: object, days: object, work: Path, symbols: object) -> None:
        work.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data, "_write", write)
    assert app.run(["data", "--out", str(tmp_path / "data"), *one_day]) == 2
    assert "data cannot be written (No space left on device)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_runs(
    one_day: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(market: object, days: object, work: Path, symbols: object) -> None:
        raise AssertionError("ran")

    monkeypatch.setattr(data, "_write", write)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert app.run(["data", "--out", str(tmp_path / "file" / "data"), *one_day]) == 2
    assert "data cannot be written (Not a directory)" in capsys.readouterr().err


ALGORITHM = """
from AlgorithmImports import *

class Needs(QCAlgorithm):
    def initialize(self):
        self.set_start_date({start})
        self.set_end_date({start})
        self.add_index("SPX", Resolution.MINUTE)
    def on_end_of_algorithm(self):
        {last}
"""


def test_data_writes_what_the_algorithm_asks_for(
    one_day: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = scenarios.scenario("half-day").start
    words = f"{start.year}, {start.month}, {start.day}"
    needs = tmp_path / "needs.py"
    needs.write_text(ALGORITHM.format(start=words, last="self.log('done')"), encoding="utf-8")
    monkeypatch.setattr(data, "MAIN", needs)
    out = tmp_path / "data"
    assert app.run(["data", "--out", str(out), *one_day]) == 0
    said = capsys.readouterr().out
    assert f"read it with: python run.py backtest --market lean:{out}" in said
    assert "0 option contracts" in said
    folder = LeanFolder(out)
    block = folder.trades(SPX, Resolution.MINUTE, start)
    assert block is not None
    assert len(block.end) == 390
    assert folder.trades(Symbol.create("VIX", SecurityType.INDEX, "usa"), Resolution.MINUTE, start) is None

    needs.write_text(ALGORITHM.format(start=words, last="raise ValueError('no such need')"), encoding="utf-8")
    assert app.run(["data", "--out", str(tmp_path / "other"), *one_day]) == 1
    said = capsys.readouterr().err
    assert "main.py stopped with an error, so what it needs is not known" in said
    assert "no such need" in said
    assert not (tmp_path / "other").exists()


# --- what a run prints -----------------------------------------------------------------------------------------------


def text_of(table: summary.Sheet) -> str:
    """A table as a log would hold it."""
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_without_a_journal_shows_the_engines_figures() -> None:
    run = record_of(100.0, 110.0, 99.0, engine_statistics={"Net Profit": "-1%", "Win Rate": "50%", "Alpha": "0"})
    text = text_of(summary.figures_table(run, summarise(run)))
    assert "as LEAN computes it" in text
    assert "net profit" in text
    assert "alpha" not in text
    assert "2008-01-03 to 2008-01-04" in text
    assert "hash 0123456789abcdef" in text
    rising = record_of(100.0, 101.0, 102.0)
    assert "never under its peak" in text_of(summary.figures_table(rising, summarise(rising)))


def printed(sheet: summary.Sheet, columns: int) -> str:
    """A table as a terminal of so many columns shows it."""
    console = Console(file=io.StringIO(), width=columns)
    console.print(sheet)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_tables_keep_their_first_column(columns: int) -> None:
    skip = Decision(
        datetime(2008, 1, 4, 10), "friday_0dte", date(2008, 1, 4), Outcome.SKIP, "vix_range",
        "VIX 12 is far under what the rule asks for, which is 22", 15, 12, 12, None, None,
    )  # fmt: skip
    run = record_of(100.0, 110.0, 99.0, journal=Journal(decisions=(skip,), counts={"decision": 1}))
    reasons = summary.reasons_table(run)
    assert reasons is not None
    whole = summarise(run)
    for sheet in (summary.figures_table(run, whole), summary.targets_table(whole), reasons):
        lines = printed(sheet, columns).splitlines()
        assert max(len(line) for line in lines) <= columns
        for row in sheet.rows:
            assert any(line.strip().startswith(row[0]) for line in lines), row[0]  # whole, not cut and not folded
            assert set(" ".join(row).split()) <= set(" ".join(lines).replace("\u2500", "").split())  # nothing is lost


def test_a_pipe_takes_its_width_from_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert summary.width(terminal=False) == 110
    for said, columns in (("40", 40), ("120", 120), ("wide", 110), ("0", 110), ("3", 20)):
        monkeypatch.setenv("COLUMNS", said)
        assert summary.width(terminal=False) == columns


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_encoding_ends_a_finished_run(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    errors.make_lenient()
    run = record_of(100.0, 110.0, 99.0, journal=Journal(counts={"decision": 1}))
    summary.print_summary(run, summarise(run), tmp_path, 1.0)
    sys.stdout.write("\u2581\u2588 \u4e2d\n")
    said = raw.getvalue().decode(encoding)
    assert ("\N{MINUS SIGN}1.0 %" if encoding == "utf-8" else "-1.0 %") in said
    assert ("\u2581\u2588 \u4e2d" if encoding == "utf-8" else "18 ?") in said


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_no_escape_code_where_none_is_wanted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    run = record_of(100.0, 110.0, 99.0, journal=Journal(counts={"decision": 1}))
    said = []
    for value in (None, {"NO_COLOR": "1", "TERM": "dumb"}[name]):
        if value is not None:
            monkeypatch.setenv(name, value)
        summary.print_summary(run, summarise(run), tmp_path, 1.0)
        runs.show("Runs", ("Name",), [("calm",)])
        said.append("\x1b" in capsys.readouterr().out)
    assert said == [True, False]  # bold and dim are escape codes too


def test_a_run_with_a_journal_shows_trades_and_errors() -> None:
    broken = ErrorNote(datetime(2008, 1, 2, 12), "friday_0dte", "no chain", "ValueError: empty")
    journal = Journal(counts={"error": 1}, errors=(broken,))
    run = record_of(journal=journal, engine_statistics={"Net Profit": "-1%"})
    text = text_of(summary.figures_table(run, summarise(run)))
    assert "each is in the journal and in the report" in text
    assert "of the closed trades" in text
    assert "net profit" not in text
    assert "largest drawdown" not in text


@pytest.mark.parametrize("terminal", [False, True])
def test_reasons_are_printed_when_there_are_any(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    skip = Decision(
        datetime(2008, 1, 4, 10),
        "friday_0dte",
        date(2008, 1, 4),
        Outcome.SKIP,
        "vix_range",
        "VIX 12 [low]",
        15,
        12,
        12,
        None,
        None,
    )
    for decisions, told in (((skip,), True), ((), False)):
        run = record_of(100.0, 101.0, journal=Journal(decisions=decisions, counts={"decision": 1}))
        summary.print_summary(run, summarise(run), tmp_path, 1.25)
        said = capsys.readouterr().out
        assert ("Why there was no trade" in said) is told
        assert ("vix range" in said) is told
        assert ("\x1b[" in said) is terminal
        assert "Done in 1.2 s" in said


# --- progress, settings, journal -------------------------------------------------------------------------------------


def test_progress_is_a_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    drawn: list[str] = []
    real = summary.bar

    def bar(title: str) -> Any:
        drawn.append(title)
        return real(title)

    monkeypatch.setattr(summary, "bar", bar)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with summary.progress("writing") as report:
        for fraction in (0.1, 0.2):  # the second follows at once and is not drawn
            report(data._Reading(date(2018, 2, 5), fraction))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with summary.progress("main"):
        assert drawn == ["writing"]


def test_numbers_of_the_command_line_are_checked() -> None:
    assert options.whole_number("--seed", "12") == 12
    with pytest.raises(UserError, match="--seed: '-1'; expected a whole number, 0 or more"):
        options.whole_number("--seed", "-1")


def test_a_journal_is_moved_and_what_else_was_stored_stays(tmp_path: Path) -> None:
    assert backtest.collect_journal(tmp_path) == Journal()
    for keep in (False, True):
        work = tmp_path / str(keep)
        (work / "storage").mkdir(parents=True)
        (work / "storage" / "journal.jsonl").write_text("", encoding="utf-8")
        if keep:
            (work / "storage" / "state.json").write_text("{}", encoding="utf-8")
        backtest.collect_journal(work)
        assert (work / "journal.jsonl").is_file()
        assert (work / "storage").exists() is keep


# --- the first steps -------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """A clone whose environment stands."""
    for name in bootstrap.LOCKS.values():
        (tmp_path / name).write_text("", encoding="utf-8")
    environment = Environment(tmp_path)
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text("", encoding="utf-8")
    bootstrap.write_record(environment, {str(each): environment.stamp(each) for each in PackageSet})
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    return environment


def test_inside_its_environment_a_command_runs_in_this_process(
    clone: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "prefix", str(clone.folder))
    assert bootstrap.main(["backtset"]) == 2
    assert "did you mean backtest?" in capsys.readouterr().err
    # An environment cannot take itself away under the process that runs in it.
    with pytest.raises(bootstrap.BootstrapError, match="out of date and cannot rebuild itself"):
        bootstrap.build(clone, PackageSet.DEVELOP)


def test_an_interrupted_build_is_exit_code_two(
    clone: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(environment: Environment, wanted: PackageSet) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "ensure", interrupted)
    assert bootstrap.main(["backtest"]) == 2
    assert "interrupted while building .venv" in capsys.readouterr().err


def test_windows_waits_for_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path("python")  # made before: no path can be while the system's name is another's
    with monkeypatch.context() as patch:
        patch.setattr("os.name", "nt")
        patch.setattr("subprocess.call", len)
        answer = bootstrap.hand_over(python, ["a", "b"])
    assert answer == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "not enough disk space"),
        (FileNotFoundError(errno.ENOENT, "none", "run.lock"), "run.lock is missing; the clone is not whole"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; the folder of the clone"),
    ],
)
def test_failures_of_the_file_system_are_one_line(clone: Environment, error: OSError, words: str) -> None:
    assert words in bootstrap.describe_os_error(error, clone, PackageSet.RUN)


def test_a_line_of_blocks_shows_the_path() -> None:
    assert scenario.sparkline([1.0, 2.0, 3.0, 2.0, 1.0]) == "▁▄█▄▁"

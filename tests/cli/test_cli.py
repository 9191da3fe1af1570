"""The command line: what is wrong is said in one line with exit code 2, and nothing half-written is left."""

# Private: _faults: what the option set is not seen in a run short enough for a test.

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import app, backtest, markets, options, summary
from cli.errors import RunFailedError, UserError
from cli.options import BacktestOptions, MarketChoice, MarketKind, plan_of
from reporting.report import Provenance
from reporting.rows import read_journal
from simulation.market.listings import Listings
from simulation.market.quotes import QuoteFaults
from simulation.market.source import ModelledMarket


@pytest.fixture(autouse=True)
def no_configured_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not depend on what config.json holds."""
    monkeypatch.setattr(options, "configured_parameters", dict)


def errors_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that must be refused; returns what it said."""
    assert app.run(arguments) == 2
    said = capsys.readouterr().err
    assert all(line.startswith("error: ") for line in said.splitlines())
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["backtset"], "unknown command 'backtset'; did you mean backtest?"),
        (["backtest", "--colour", "red"], "No such option: --colour"),
        (["backtest", "--start", "2008-13-01"], "--start: '2008-13-01'; expected a date such as 2008-01-31"),
        (["backtest", "--cash", "much"], "run.cash: 'much'"),
        (["backtest", "--cash", "-5"], "run.cash: '-5'"),
        (["backtest", "--seed", "-1"], "run.seed: '-1'"),
        (["backtest", "--start", "2009-01-02", "--end", "2008-01-02"], "run.end"),
        (["backtest", "--set", "friday_0dte.min_vixx=0"], "did you mean friday_0dte.min_vix"),
        (["backtest", "--set", "friday_0dte.min_vix"], "expected key=value"),
        (["backtest", "--set", "friday_0dte.min_vix=900"], "friday_0dte.min_vix: '900'"),
        (["backtest", "--set", "run.seed=3", "--seed", "4"], "--seed: '4' contradicts --set run.seed=3"),
        (["backtest", "--set", "run.seed=3", "--set", "run.seed=4"], "run.seed is given twice"),
        (["backtest", "--set", "friday_0dte.min_vix=30", "--set", "friday_0dte.max_vix=20"], "is below min_vix"),
        (["backtest", "--market", "moon"], "--market: 'moon'; expected history, csv:FILE"),
        (["backtest", "--market", "csv:"], "--market: 'csv:'; expected history, csv:FILE"),
        (["backtest", "--market", "history:x"], "--market: 'history:x'; expected history"),
        (["backtest", "--market", "lean:no-such-folder"], "no-such-folder"),
        (["backtest", "--market", "csv:no-such-file.csv"], "no-such-file.csv"),
        (["backtest", "--algorithm", "no-such.py"], "--algorithm: no-such.py is not a file"),
        (["backtest", "--listings", "tomorrow"], "--listings: 'tomorrow'; expected today or then"),
        (["backtest", "--listings", "then", "--market", "lean:data"], "--listings: 'then' shapes a modelled market"),
        (["backtest", "--faults", "0.1", "--market", "lean:data"], "--faults: '0.1' shapes a modelled market"),
        (["backtest", "--faults", "1.5"], "--faults: '1.5'; expected a share from 0 to 1"),
        (["backtest", "--faults", "nan"], "--faults: 'nan'; expected a share from 0 to 1"),
        (["backtest", "--faults", "some"], "--faults: 'some'; expected a share from 0 to 1"),
        (["backtest", "--param", "a=b"], "--param: 'a=b' is for another algorithm"),
    ],
)
def test_wrong_command_lines_say_what_is_wrong(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in errors_of(arguments, capsys)


def test_every_command_explains_itself_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in app.COMMANDS:
        assert app.run([name, "--help"]) == 0
        said = capsys.readouterr().out
        assert "xample" in said, name


def test_options_of_backtest_have_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["backtest", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for option in (
        "start",
        "end",
        "cash",
        "strategies",
        "seed",
        "set",
        "market",
        "algorithm",
        "param",
        "out",
        "listings",
        "faults",
    ):
        assert f"Example: --{option}" in said, option


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("history", MarketChoice(MarketKind.HISTORY, "")),
        ("csv:my file.csv", MarketChoice(MarketKind.CSV, "my file.csv")),
        (r"lean:C:\data", MarketChoice(MarketKind.LEAN, r"C:\data")),
        ("garch:7", MarketChoice(MarketKind.GARCH, "7")),
    ],
)
def test_markets_are_named(text: str, expected: MarketChoice) -> None:
    assert MarketChoice.parse(text) == expected


def test_options_become_settings() -> None:
    plan = plan_of(BacktestOptions(start="2008-01-02", cash="45000", set_=["friday_0dte.min_vix=0"]))
    assert plan.settings is not None
    assert plan.settings.run.start == date(2008, 1, 2)
    assert plan.settings.run.cash == pytest.approx(45_000.0)
    assert plan.settings.friday_0dte.min_vix == pytest.approx(0.0)
    assert plan.given == {"start"}


def test_listings_and_faults_shape_the_modelled_market() -> None:
    plan = plan_of(BacktestOptions(listings="then", faults="0.02"))
    opened = markets.open_market(plan.market, 1)
    source = opened.source
    assert isinstance(source, ModelledMarket)
    assert source.book.listings is Listings.THEN
    # At 0.02: 2 parts of 10 missing, 2 one-sided, 6 stale.
    assert source._faults == QuoteFaults(missing=0.02 * 0.2, one_sided=0.02 * 0.2, stale=0.02 * 0.6)
    assert markets.LISTINGS_THEN in opened.provenance.cautions
    assert not set(markets.LISTINGS_CAUTION) & set(opened.provenance.cautions)
    assert opened.provenance.modelled[-1] == "Quotes missing, one-sided or stale in 2.00% of a contract's minutes"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device"), 2, "error: OSError: [Errno 28] No space left on device\n"),
        (KeyError("SPX"), 1, "error: KeyError: 'SPX' (unexpected; --traceback shows where it came from)\n"),
        (RuntimeError(), 1, "error: RuntimeError (unexpected; --traceback shows where it came from)\n"),
    ],
)
def test_whatever_is_raised_ends_in_one_line(
    error: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(arguments: list[str]) -> int:
        assert arguments == ["backtest"]
        raise error

    monkeypatch.delenv(app.DEBUG, raising=False)
    monkeypatch.setattr(app, "dispatch", raising)
    assert app.run(["backtest"]) == code
    assert capsys.readouterr().err == words
    assert app.run(["backtest", "--traceback"]) == code
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith(words)
    monkeypatch.setenv(app.DEBUG, "1")
    assert app.run(["backtest"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_another_algorithm_takes_parameters_not_settings(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("", encoding="utf-8")
    plan = plan_of(BacktestOptions(algorithm=probe, param=["seed=yes", "a=1"], market="lean:data"))
    assert plan.settings is None
    assert plan.parameters == {"seed": "yes", "a": "1"}
    for wrong in ({"start": "2008-01-02"}, {"cash": "1"}, {"set_": ["run.seed=1"]}):
        with pytest.raises(UserError, match=r"is a setting of main\.py"):
            plan_of(replace(BacktestOptions(algorithm=probe), **wrong))


def test_existing_results_are_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists; expected a folder that does not exist yet"):
        plan_of(BacktestOptions(out=tmp_path))


# --- ranges -----------------------------------------------------------------------------------------------------------

MARKET = markets.OpenedMarket(
    source=SimpleNamespace(interest_rates=lambda: None),
    provenance=Provenance("hand-made", (), ()),
    first=date(2000, 1, 3),
    last=date(2018, 12, 31),
    usual=(date(2007, 6, 1), date(2009, 12, 31)),
)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, (date(2007, 6, 1), date(2009, 12, 31))),
        (date(2015, 1, 2), None, (date(2015, 1, 2), date(2018, 12, 31))),
        (None, date(2008, 1, 31), (date(2007, 6, 1), date(2008, 1, 31))),
        (None, date(2003, 1, 31), (date(2000, 1, 3), date(2003, 1, 31))),
    ],
)
def test_ranges_fall_back_to_the_markets_own(start: date | None, end: date | None, expected: tuple[date, date]) -> None:
    assert markets.chosen_range(MARKET, start, end) == expected


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (
            date(1990, 1, 2),
            None,
            "--start: 1990-01-02 is outside this market's history; expected 2000-01-03 to 2018-12-31",
        ),
        (None, date(2025, 1, 2), "--end: 2025-01-02 is outside"),
        (date(2008, 1, 3), date(2008, 1, 2), "is after --end"),
        (date(2018, 2, 3), date(2018, 2, 4), "no trading day in between"),
        (date(2018, 3, 30), date(2018, 4, 1), "no trading day in between"),
    ],
)
def test_ranges_outside_the_market_are_refused(start: date | None, end: date | None, words: str) -> None:
    with pytest.raises(UserError) as caught:
        markets.chosen_range(MARKET, start, end)
    assert words in str(caught.value)


def test_a_data_folder_needs_both_days() -> None:
    with pytest.raises(UserError, match="both are needed"):
        markets.chosen_range(replace(MARKET, usual=None), date(2008, 1, 2), None)


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "results" / "one"

    def half() -> None:
        with backtest.results_folder(final) as folder:
            (folder.work / "report.html").write_text("half", encoding="utf-8")
            assert not final.exists()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half()
    assert list((tmp_path / "results").iterdir()) == []

    with backtest.results_folder(final) as folder:
        (folder.work / "report.html").write_text("whole", encoding="utf-8")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["one"]


def test_two_runs_of_one_second_both_keep_their_results(tmp_path: Path) -> None:
    folders = []
    for _ in range(2):
        with backtest.results_folder(tmp_path / "one") as folder:
            folders.append(folder)
    assert [folder.final.name for folder in folders] == ["one", "one-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one-2"]


@dataclass(frozen=True)
class FakeResult:
    """What the engine hands back, of two days."""

    algorithm_name: str = "Probe"
    start: datetime = datetime(2008, 1, 2)
    end: datetime = datetime(2008, 1, 3)
    equity: tuple[tuple[datetime, ...], tuple[float, ...]] = (
        (datetime(2008, 1, 2, 12), datetime(2008, 1, 2, 16), datetime(2008, 1, 3, 16)),
        (100.0, 101.0, 102.0),
    )
    orders: tuple[object, ...] = ()
    order_list_hash: str = "abc"
    statistics: Mapping[str, str] = field(default_factory=dict)
    closed_trades: tuple[object, ...] = ()
    runtime_seconds: float = 0.1
    error: str | None = None


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An algorithm file and an engine that runs it in no time."""
    path = tmp_path / "probe.py"
    path.write_text("", encoding="utf-8")
    monkeypatch.setattr(backtest, "open_market", lambda choice, seed: MARKET)
    monkeypatch.setattr(backtest, "run", lambda plan, market, work, watch: FakeResult())
    return path


def test_a_run_leaves_its_report(probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert app.run(["backtest", "--algorithm", str(probe), "--out", str(out), "--param", "a=1"]) == 0
    said = capsys.readouterr().out
    assert "$101 to $102" in said
    assert str(out) in said.replace("\n", "")
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "settings.txt"]
    assert (out / "settings.txt").read_text(encoding="utf-8") == "a = 1\n"


def test_a_failing_algorithm_is_exit_code_one(
    probe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = 'Traceback ...\n  File "probe.py", line 7, in on_data\n    raise\nValueError: no'
    broken = FakeResult(error=trace)
    monkeypatch.setattr(backtest, "run", lambda plan, market, work, watch: broken)
    assert app.run(["backtest", "--algorithm", str(probe), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith('error: probe.py stopped: ValueError: no, File "probe.py", line 7, in on_data (trace: ')
    assert len(said.splitlines()) == 1
    assert (tmp_path / "out" / "error.txt").read_text(encoding="utf-8") == trace
    assert "ended in an error" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, 2, "cannot be written (No space left"),
        (errno.EACCES, 1, "probe.py could not be started: PermissionError: [Errno 13]"),
    ],
)
def test_a_full_disk_is_not_the_algorithms_fault(
    number: int,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(request: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("simulation.runner.run_backtest", refused)
    probe = tmp_path / "probe.py"
    probe.write_text("", encoding="utf-8")
    assert app.run(["backtest", "--algorithm", str(probe), "--out", str(tmp_path / "out")]) == code
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_failures_have_their_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    def failed(arguments: object) -> int:
        raise RunFailedError("two\nlines")

    monkeypatch.setattr(app, "dispatch", interrupted)
    assert app.run(["backtest"]) == 130
    monkeypatch.setattr(app, "dispatch", failed)
    assert app.run(["backtest"]) == 1
    assert capsys.readouterr().err.endswith("error: two\nerror: lines\n")


def test_progress_off_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr(summary, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    report = summary.lines("main")
    for fraction in (0.1, 0.5, 0.6):
        report(SimpleNamespace(time=datetime(2008, 1, 2), fraction=fraction, equity=100_000.0))
    # Told once, at 6 s: half is done, so 6 s are left.
    assert capsys.readouterr().err == "main:  50%  2008-01-02  $100,000  6 s left\n"


def test_progress_on_a_terminal_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with summary.bar("main") as report:
        report(SimpleNamespace(time=datetime(2008, 1, 2), fraction=0.5, equity=100_000.0))
    assert "Traceback" not in capsys.readouterr().err


def test_a_torn_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "journal.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(RunFailedError, match=r"journal\.jsonl line 1: not JSON"):
        backtest.collect_journal(tmp_path)


def test_a_real_run_leaves_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a run"
    arguments = ["backtest", "--start", "2018-02-05", "--end", "2018-02-16", "--out", str(out)]
    assert app.run([*arguments, "--strategies", "friday_0dte", "--set", "friday_0dte.min_vix=0"]) == 0
    said = capsys.readouterr().out
    for words in ("trades", "Wilson", "Targets of the method", "orders"):
        assert words in said

    names = {path.name for path in out.iterdir()}
    assert {"report.html", "settings.txt", "journal.jsonl"} <= names
    assert {"TomKing.json", "TomKing-summary.json", "TomKing-order-events.json", "TomKing-log.txt"} <= names
    journal = read_journal(out / "journal.jsonl")
    assert [decision.day for decision in journal.decisions] == [date(2018, 2, 9), date(2018, 2, 16)]
    assert journal.errors == ()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "friday_0dte.min_vix = 0" in page
    assert "What is real and what is modelled" in page

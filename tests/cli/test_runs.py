"""Commands that read what runs left behind, and the list of settings."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cli import app, bootstrap, options, runs
from cli.backtest import benchmark_file, too_calm
from cli.errors import UserError
from cli.markets import open_market
from cli.options import MarketChoice, MarketKind
from cli.runs import explained
from cli.settings import setting_rows
from core.settings.fields import Settings
from core.settings.strategies import AVAILABLE, StrategySettings
from reporting.performance import compared
from reporting.rows import parse_journal
from tests.reporting.pages import ORIGIN, POSITION, a_journal, exposure, row


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs in a project of their own: ``base`` and the newer ``base-2``."""
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(options, "ROOT", tmp_path)
    for age, (name, lines) in enumerate({"base": a_journal(), "base-2": a_journal(100.0, 1)}.items()):
        folder = tmp_path / "backtests" / name
        folder.mkdir(parents=True)
        (folder / "journal.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        os.utime(folder / "journal.jsonl", (1_000_000 + age, 1_000_000 + age))
    (tmp_path / "backtests" / ".base-3.tmp").mkdir()
    return tmp_path / "backtests"


def said(arguments: Sequence[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What a command writes when it ends with ``code``."""
    assert app.run(list(arguments)) == code
    caught = capsys.readouterr()
    return caught.out if code == 0 else caught.err


def test_runs_are_listed_newest_first(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(["runs"], capsys).splitlines()
    named = [line.split()[0] for line in lines if line.strip().startswith("base")]
    assert named == ["base-2", "base"]
    assert "base-2 (latest)" in "\n".join(lines)
    assert "2008-01-10 to 2008-01-18" in "\n".join(lines)


def test_a_damaged_run_hides_no_other(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "base" / "journal.jsonl").write_text('{"kind": "equi', encoding="utf-8")
    assert app.run(["runs"]) == 0
    told = capsys.readouterr()
    assert "cannot be read" in next(line for line in told.out.splitlines() if line.strip().startswith("base "))
    assert "2008-01-10 to 2008-01-18" in told.out
    assert "warning:" in told.err


def test_no_run_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    assert "python run.py backtest" in said(["runs"], capsys)
    assert "python run.py backtest" in said(["trades"], capsys, 2)


def test_a_run_is_found_by_latest_name_beginning_or_folder(results: Path) -> None:
    assert runs.find_run("latest").name == "base-2"
    assert runs.find_run("base").name == "base"  # a whole name beats a beginning
    assert runs.find_run("base-").name == "base-2"
    assert runs.find_run(str(results / "base")).name == "base"


@pytest.mark.parametrize(("text", "words"), [("b", "means several runs"), ("other", "is no run"), ("", "is no run")])
def test_a_run_that_is_not_there_is_refused(
    text: str, words: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in said(["trades", text], capsys, 2)


def test_trades_as_csv_hold_every_column(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trade,) = csv.DictReader(io.StringIO(said(["trades", "base", "--csv"], capsys)))
    assert (trade["position"], trade["profit"], trade["exit_reason"]) == (POSITION, "300.0", "it is 15:00")
    assert trade["legs"] == "-1:P1400 +1:P1380"
    assert said(["trades", "base", "--csv", "--strategy", "box"], capsys).count("\n") == 1
    assert (runs.to_the_cent(-138.00000000000006), runs.to_the_cent(2), runs.to_the_cent("x")) == (-138.0, 2, "x")


def test_a_trade_is_explained_with_its_walk_and_what_bound_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(["explain", POSITION, "--run", "base"], capsys)
    # Sold 2 at 4.00, bought 2 at 1.40: 2.60 points a package.
    assert "2.55, 2.40, filled 2.60" in told
    assert "4 wanted, 2 allowed, 2 rules asked" in told
    assert "sizing shrink: budget 3750 allows 2" in told
    assert "vix_regime" not in told
    assert "held 4 h 29 min" in told  # 10:32 to 15:01
    assert "it is 15:00" in told
    assert len(told.splitlines()) <= 12
    assert said(["explain", "group-1", "--run", "base"], capsys) == told
    assert said(["explain", ORIGIN, "--run", "base"], capsys) == told


def test_a_day_is_explained(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traded = said(["explain", "2008-01-11", "--run", "base"], capsys)
    assert "Friday 2008-01-11: equity $100,300, +$300 on the day" in traded
    assert "2.55, 2.40, filled 2.60" in traded
    skipped = said(["explain", "2008-01-18", "--run", "base"], capsys)
    assert "vix window: VIX is too low (observed 17.25, limit 22.00, VIX 17.25)" in skipped
    assert "no session of this run (2008-01-10 to 2008-01-18)" in said(["explain", "2008-01-12"], capsys)
    assert "expected a day such as" in said(["explain", "2008-13-45"], capsys, 2)


def test_what_no_journal_knows_is_refused_with_advice(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"did you mean {POSITION}" in said(["explain", "friday_0dte-2008"], capsys, 2)
    assert "python run.py trades" in said(["explain", "nothing"], capsys, 2)


def test_two_runs_are_compared(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(["compare", "base", "base-2"], capsys)
    figures = {line.split("  ")[1].strip(): line for line in told.splitlines() if line.startswith("  ")}
    assert "-200.00" in figures["profit of trades"].replace("\N{MINUS SIGN}", "-")
    # Of one trade each, both won: Wilson of 1 in 1 reaches down to 20.7 %, so the difference to 79.3 % either way.
    assert "79.3 %" in figures["wins"]
    assert "Decisions that differ, 1 of 1" in told
    assert "trade 2: filled" in told
    assert "trade 1: filled" in told
    assert "every decision is the same" in said(["compare", "base", "base"], capsys)
    assert figures["trades"].split()[1:4] == ["1", "1", "0"]


def test_compared_runs_begin_with_what_the_account_began_with() -> None:
    # 99,000 at the beginning, 100,000 at the first close, 100,300 at the last: 1.3 %, where the closes alone say 0.3 %.
    terms = dict.fromkeys(("trades", "open_parts", "working", "shares", "interest"), 0.0)
    check = row("account", "16:00", starting=99_000.0, unknown=0, cash=0.0, expected=0.0, difference=0.0, **terms)
    journal = parse_journal([*a_journal(), check])
    first = compared(journal, journal)[0]
    assert first.name == "return"
    assert first.first == pytest.approx(1_300 / 99_000)


def test_runs_that_begin_on_different_days_are_compared_by_the_closes_that_both_have() -> None:
    # Both closed at 100,000 and 100,300: what one of them began with before is nothing that both have.
    terms = dict.fromkeys(("trades", "open_parts", "working", "shares", "interest"), 0.0)
    check = row("account", "16:00", starting=99_000.0, unknown=0, cash=0.0, expected=0.0, difference=0.0, **terms)
    later = parse_journal([*a_journal(), check])
    first = later.equity[0]
    longer = replace(later, equity=(replace(first, day=first.day - timedelta(days=1), equity=90_000.0), *later.equity))
    for one, other in ((later, longer), (longer, later)):
        found = {figure.name: figure for figure in compared(one, other)}
        assert found["return"].first == found["return"].second == pytest.approx(0.003)
        assert found["trades"].first == found["trades"].second


def test_every_setting_is_listed_with_its_range_and_readers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row.key: row for row in setting_rows()}
    assert set(rows) == set(Settings().parameters())
    assert all(row.meaning for row in rows.values())
    readers = rows["friday_0dte.min_vix"].readers
    assert readers
    assert all(reader.startswith("strategies/") for reader in readers)
    absent = [key for key in rows if key.endswith(".win_rate") and key.split(".")[0] not in AVAILABLE]
    assert all(rows[key].readers == () for key in absent)
    assert "cli/options.py" in rows["run.seed"].readers
    told = said(["settings", "friday_0dte.min_vix"], capsys)
    assert "takes    number, at least 0, at most 200" in told
    assert "default  22" in told
    assert "stress_tolerance" in said(["settings", "move of an underlying"], capsys)
    assert "in no setting" in said(["settings", "no-such-word"], capsys, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run.cash": "20000"}, "run.cash 20,000 is under phases.minimum_equity 30,000"),
        (
            {"run.strategies": "friday_0dte", "friday_0dte.contracts_by_phase": "0,0,0,0"},
            "friday_0dte cannot trade: friday_0dte.contracts",
        ),
        (
            {"run.strategies": "friday_0dte", "run.start": "2018-01-08", "run.end": "2018-01-11"},
            "none of its entry days is a session from 2018-01-08 to 2018-01-11",
        ),
        ({"run.strategies": "box"}, "box cannot trade: box.cash_wanted is 0"),
        (
            {"run.strategies": "futures_strangle", "run.start": "2018-01-10", "run.end": "2018-02-12"},
            "none of its entry days",  # the second Tuesdays were January 9 and February 13
        ),
        ({"run.strategies": "ratio", "run.start": "2018-01-06", "run.end": "2018-01-07"}, "no session from 2018-01-06"),
    ],
)
def test_a_run_in_which_nothing_can_trade_is_told(given: dict[str, str], words: str) -> None:
    (told,) = options.cannot_trade(Settings.from_parameters(given))
    assert words in told


def test_a_run_that_can_trade_is_not_warned_of() -> None:
    assert options.cannot_trade(Settings()) == ()


def test_a_strategy_that_is_no_row_has_no_entry_days_that_could_be_missing() -> None:
    # As docs/howto/add-a-strategy.md shows one: it has a group of settings, and is in no table of entry days.
    run = SimpleNamespace(start=date(2018, 1, 2), end=date(2018, 1, 12))
    settings = SimpleNamespace(run=run, quiet_tuesday=StrategySettings())
    assert options.strategy_obstacle("quiet_tuesday", cast(Settings, settings)) is None
    run.end = date(2018, 1, 1)
    assert "no session" in str(options.strategy_obstacle("quiet_tuesday", cast(Settings, settings)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "a/b"], "--name: 'a/b'; expected letters"),
        (["--name", "latest"], "latest always means the newest run"),
        (["--name", "base"], "is taken"),
        (["--name", "new", "--out", "x"], "two places"),
    ],
)
def test_names_of_runs_are_checked(
    arguments: list[str], words: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in said(["backtest", *arguments], capsys, 2)


def test_a_name_is_a_folder_of_the_results(results: Path) -> None:
    plan = options.plan_of(options.BacktestOptions(name="new"))
    assert plan.out == results / "new"


def test_the_version_is_told_without_an_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("Tom King Trading System 0.")


def test_a_shell_completes_commands_and_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(said(["completion", "bash"], capsys), encoding="utf-8")
    asked = (
        f"source {script}; COMP_WORDS=(python run.py exp); COMP_CWORD=2; _tomking; echo ${{COMPREPLY[@]}}; "
        "COMP_WORDS=(./run.py backtest --na); COMP_CWORD=2; _tomking; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["explain", "--name"]
    assert said(["completion", "zsh"], capsys).startswith("autoload")
    assert "-l csv" in said(["completion", "fish"], capsys)
    assert "expected bash, zsh or fish" in said(["completion", "csh"], capsys, 2)


def test_days_too_calm_for_every_strategy_are_told_before_the_run() -> None:
    market = open_market(MarketChoice(MarketKind.HISTORY, ""), 1)
    calm = {
        "run.strategies": "friday_0dte",
        "run.start": "2017-09-01",
        "run.end": "2017-10-31",
        "friday_0dte.min_vix": "22",
    }
    (words,) = too_calm(Settings.from_parameters(calm), market)
    # The VIX closed at 12.64 at most in those two months.
    assert "nothing can trade: the VIX is at most 1" in words
    assert "not above friday_0dte.min_vix 22" in words
    assert too_calm(Settings.from_parameters({**calm, "friday_0dte.min_vix": "0"}), market) == ()
    stormy = {**calm, "run.start": "2018-02-05", "run.end": "2018-02-09", "friday_0dte.min_vix": "22"}
    assert too_calm(Settings.from_parameters(stormy), market) == ()


def test_a_benchmark_of_a_file_begins_with_the_close_before_the_run(tmp_path: Path) -> None:
    path = tmp_path / "PUT.csv"
    days = ["2018-01-02,1800", "2018-01-03,1801", "2018-01-04,1802", "2018-01-05,1803", "2018-01-08,1804"]
    path.write_text("DATE,CLOSE\n" + "\n".join(days) + "\n", encoding="utf-8")
    found = benchmark_file(path, date(2018, 1, 4), date(2018, 1, 5))
    assert found.name == "PUT"
    assert [point.equity for point in found.points] == [1801.0, 1802.0, 1803.0]
    with pytest.raises(UserError, match="has 0 days from 2019-01-02"):
        benchmark_file(path, date(2019, 1, 2), date(2019, 1, 31))
    with pytest.raises(UserError, match=r"--benchmark: .*no such file"):
        benchmark_file(tmp_path / "none.csv", date(2018, 1, 4), date(2018, 1, 5))


def test_explain_tells_how_low_a_position_stood() -> None:
    journal = parse_journal([*a_journal(), exposure("2008-01-11", 9_000.0, -450.0)])
    assert any("$450 at 2008-01-11 11:07" in line for line in explained(POSITION, journal, "base"))

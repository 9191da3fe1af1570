"""``data``: the run's own settings, a command that works at its end, and a run that says what its folder lacks."""

from __future__ import annotations

import json
import shlex
from datetime import date
from pathlib import Path

import pytest

from cli import markets, options
from cli.app import run
from cli.backtest import Finished, run_and_report
from cli.errors import UserError
from cli.options import BacktestOptions, MarketChoice
from simulation.data.lean_folder import LeanFolder
from simulation.market.source import ModelledMarket

START, END = "2016-01-07", "2016-01-11"
LINES = ["--start", START, "--end", END]
OPEN, SHUT = "friday_0dte.min_vix=0", "friday_0dte.min_vix=49"  # Friday the 8th is looked at, or not


@pytest.fixture(autouse=True)
def no_configured_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not depend on what config.json holds: Friday 0DTE alone."""
    monkeypatch.setattr(options, "configured_parameters", lambda: {"run.strategies": "friday_0dte"})


def written(folder: Path, *more: str) -> Path:
    """A folder written by the command."""
    assert run(["data", "--out", str(folder / "data"), *LINES, *more]) == 0
    return folder / "data"


def hash_of(done: Finished) -> str:
    """What two runs that sent and filled the same orders share."""
    return done.record.facts["Order list hash"]


def lacking(done: Finished) -> list[str]:
    """What a run's folder lacks, but for XSP, which the modelled market does not have."""
    return [words for words in done.record.warnings if not words.startswith("XSP (index)")]


@pytest.mark.slow
def test_a_folder_gives_the_orders_of_the_market_it_was_written_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path, "--set", OPEN)
    said = capsys.readouterr().out.splitlines()
    command = said[-1].removeprefix("read it with: python run.py ")
    assert command == f"backtest --market lean:{folder} --set {OPEN}"
    # The command as printed: no dates, they are the folder's.
    assert run([*shlex.split(command), "--out", str(tmp_path / "read")]) == 0
    assert "2016-01-07 to 2016-01-11" in capsys.readouterr().out
    model = run_and_report(BacktestOptions(start=START, end=END, set_=[OPEN], out=tmp_path / "model"))
    again = run_and_report(BacktestOptions(market=f"lean:{folder}", set_=[OPEN], out=tmp_path / "again"))
    assert len(model.record.journal.trades) >= 1
    assert hash_of(again) == hash_of(model)
    assert lacking(again) == []
    journals = [(tmp_path / name / "journal.jsonl").read_text(encoding="utf-8") for name in ("read", "model")]
    assert journals[0] == journals[1]


def test_a_run_says_what_its_folder_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written for a VIX that was not there, run without that gate: what nobody asked for then is missing now."""
    folder = written(tmp_path, "--set", SHUT)
    capsys.readouterr()
    done = run_and_report(BacktestOptions(market=f"lean:{folder}", set_=[OPEN], out=tmp_path / "run"))
    (words,) = lacking(done)
    assert "SPXW" in words
    assert "on 2016-01-0" in words
    assert f"warning: {words}\n" in capsys.readouterr().err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "lacks" in page


@pytest.mark.slow
def test_a_contract_of_the_listing_without_quotes_is_a_gap(tmp_path: Path) -> None:
    folder = written(tmp_path, "--set", OPEN)
    whole = run_and_report(BacktestOptions(market=f"lean:{folder}", set_=[OPEN], out=tmp_path / "whole"))
    name = next(leg.name for trade in whole.record.journal.trades for leg in trade.legs)
    day = whole.record.journal.trades[0].opened.date()
    archive = folder / f"indexoption/usa/minute/spxw/{day:%Y%m%d}_quote_european.zip"
    assert archive.is_file()
    archive.unlink()
    less = run_and_report(BacktestOptions(market=f"lean:{folder}", set_=[OPEN], out=tmp_path / "less"))
    (words,) = lacking(less)
    assert name.split()[0] in words
    assert f"on {day}" in words
    assert hash_of(less) != hash_of(whole)


def test_the_days_of_config_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = {"run.start": "2018-02-12", "run.end": "2018-02-13", "friday_0dte.min_vix": "30"}
    configured["run.strategies"] = "friday_0dte"
    monkeypatch.setattr(options, "configured_parameters", lambda: configured)
    assert run(["data", "--out", str(tmp_path / "data")]) == 0
    note = json.loads((tmp_path / "data" / markets.WRITTEN).read_text(encoding="utf-8"))
    assert (note["start"], note["end"]) == ("2018-02-12", "2018-02-13")
    assert note["parameters"]["friday_0dte.min_vix"] == "30"
    opened = markets.open_market(MarketChoice.parse(f"lean:{tmp_path / 'data'}"), 1)
    assert markets.chosen_range(opened, None, None) == (date(2018, 2, 12), date(2018, 2, 13))


def test_a_folder_without_a_note_has_the_days_of_its_files(tmp_path: Path) -> None:
    for place, days in (("index/usa/minute/spx", (5, 9)), ("equity/usa/minute/spy", (6, 12))):
        (tmp_path / place).mkdir(parents=True)
        for day in days:
            (tmp_path / place / f"201802{day:02}_trade.zip").touch()
    assert markets.folder_range(tmp_path) == (date(2018, 2, 6), date(2018, 2, 9))
    assert markets.folder_range(tmp_path / "index") is None
    (tmp_path / markets.WRITTEN).write_text('{"start": "2018-02"}', encoding="utf-8")
    with pytest.raises(UserError, match=r"written\.json is damaged"):
        markets.open_market(MarketChoice.parse(f"lean:{tmp_path}"), 1)


def test_a_folder_that_is_none_of_leans_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backtest", "--market", f"lean:{tmp_path}"]) == 2
    assert f"'{tmp_path}' is no LEAN data folder" in capsys.readouterr().err


def test_a_scenario_is_refused_before_it_says_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scenario", "half-day", "--set", "friday_0dte.min_vicks=0"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "min_vicks" in said.err


def test_what_does_not_go_together_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "--out", str(tmp_path / "data"), "--symbols", "SPX", "--set", OPEN]) == 2
    assert "--symbols: says what to write by itself" in capsys.readouterr().err
    assert run(["data", "--out", str(tmp_path / "data"), "--set", "friday_0dte.min_vicks=0"]) == 2
    assert "min_vicks" in capsys.readouterr().err


MISSING = """
from AlgorithmImports import *


class Missing(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2018, 2, 5)
        self.set_end_date(2018, 2, 6)
        self.add_equity("AAPL", Resolution.MINUTE)
        self.add_index("SPX", Resolution.MINUTE)
        self.add_index_option("SPX", "SPXW")
        self.add_future("KC")

    def on_data(self, data):
        if not self.securities.contains_key("TSLA"):
            self.add_equity("TSLA", Resolution.MINUTE)
"""


def test_an_asset_that_a_market_does_not_have_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = tmp_path / "missing.py"
    probe.write_text(MISSING, encoding="utf-8")
    done = run_and_report(BacktestOptions(algorithm=probe, out=tmp_path / "out"))
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert [line.split(" (")[0] for line in said] == ["warning: AAPL", "warning: /KC", "warning: TSLA"]
    assert "it has indices " in said[0]
    assert "SPX" in said[0]
    assert len(done.record.warnings) == 3
    assert "AAPL (equity)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_folder_and_the_model_know_what_they_have(tmp_path: Path) -> None:
    from simulation.lean.enums import SecurityType
    from simulation.lean.symbols import Symbol

    folder = LeanFolder(written(tmp_path))
    model = ModelledMarket.from_history("history", seed=1)
    spy, apple = (Symbol.create(name, SecurityType.EQUITY, "usa") for name in ("SPY", "AAPL"))
    for source in (folder, model):
        assert source.missing_asset(spy) is None
        assert source.missing_asset(apple) is not None

"""A run as data frames."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import research
from cli.errors import UserError
from tests.reporting.pages import POSITION, a_journal, decision


def write(folder: Path, lines: list[str]) -> Path:
    """A results folder with a journal."""
    folder.mkdir()
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_run_is_loaded_as_frames(tmp_path: Path) -> None:
    run = research.load(write(tmp_path / "base", a_journal()))
    assert run.name == "base"
    assert list(run.equity["equity"]) == [100_000.0, 100_300.0, 100_300.0]
    assert run.equity.index[0] == pd.Timestamp("2008-01-10")
    assert run.equity["drawdown"].max() <= 0.0
    (trade,) = run.trades.to_dict("records")
    assert (trade["position"], trade["profit"], trade["parts"], trade["won"]) == (POSITION, 300.0, 1, True)
    assert run.parts["closed"].iloc[0] - run.parts["opened"].iloc[0] == pd.Timedelta(hours=4, minutes=29)
    assert list(run.decisions["outcome"]) == ["trade", "skip"]
    assert run.decisions["contracts"].isna().tolist() == [False, True]  # unknown is missing, not zero
    assert run.fills["quantity"].sum() == pytest.approx(0.0)
    assert run.fills["bid"].isna().all()
    assert len(run.rows("verdict")) == 1


def test_parts_of_one_position_are_one_trade(tmp_path: Path) -> None:
    lines = a_journal()
    (closed,) = [line for line in lines if '"trade_closed"' in line]
    second = closed.replace('"part": "whole"', '"part": "call"').replace('"profit": 300.0', '"profit": -400.0')
    run = research.load(write(tmp_path / "parts", [*lines, second]))
    (trade,) = run.trades.to_dict("records")
    # 300 and -400 are one losing trade of two parts, not a win and a loss.
    assert (trade["profit"], trade["parts"], trade["won"]) == (-100.0, 2, False)
    assert list(run.parts["won"]) == [True, False]


def test_a_run_without_trades_has_its_columns(tmp_path: Path) -> None:
    run = research.load(write(tmp_path / "empty", [decision("2008-01-11")]))
    assert run.trades.empty
    assert {"position", "profit", "won", "parts"} <= set(run.trades.columns)
    assert {"equity", "drawdown"} <= set(run.equity.columns)


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-run"):
        research.load("no-such-run")

"""A run as data frames."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

import research
from cli.errors import UserError
from tests.reporting.pages import POSITION, a_journal, decision, exposure


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


def legs_of_a_spread() -> pd.DataFrame:
    """Two puts sold at 1400 for 4.00, two bought at 1380 for 1.40, at a volatility of 20 % each."""
    return pd.DataFrame({
        "strike": [1400.0, 1380.0], "is_call": [False, False], "quantity": [-2, 2], "multiplier": [100.0, 100.0],
        "entry": [4.0, 1.4], "volatility": [0.2, None], "expiry": pd.to_datetime(["2008-01-11"] * 2),
    })  # fmt: skip


def test_a_payoff_by_hand() -> None:
    # 2.60 taken in, 100 dollars a point, 2 of them: 520 above 1400; 20 points of width less 2.60 lost below 1380.
    table = research.payoff(legs_of_a_spread(), [1300.0, 1380.0, 1397.4, 1400.0, 1500.0])
    assert list(table["profit"]) == pytest.approx([-3480.0, -3480.0, 0.0, 520.0, 520.0], abs=1e-9)


def test_scenarios_end_in_the_payoff_and_volatility_hurts_what_was_sold() -> None:
    legs, end = legs_of_a_spread(), datetime(2008, 1, 11, 16)
    over = research.surface(legs, end, 1400.0, moves=(-0.1, 0.0, 0.1), points=(0.0,))
    assert list(over[0.0]) == pytest.approx([-3480.0, 520.0, 520.0])
    before = research.surface(legs, datetime(2008, 1, 8, 16), 1420.0, moves=(0.0,), points=(-5.0, 0.0, 20.0))
    profits = before.iloc[0].tolist()
    assert profits == sorted(profits, reverse=True)
    with pytest.raises(UserError, match="no leg has a volatility"):
        research.surface(legs.assign(volatility=None), end, 1400.0)


def test_what_was_opened_and_used_comes_as_frames(tmp_path: Path) -> None:
    run = research.load(write(tmp_path / "used", [*a_journal(), exposure("2008-01-11", 9_000.0, -450.0)]))
    assert run.exposure["margin_peak"].tolist() == [9_000.0]
    assert run.limits.set_index("rule")["share"]["buying_power"] == pytest.approx(0.2)
    assert run.legs["quantity"].tolist() == [-2, 2]
    assert run.legs["volatility"].isna().tolist() == [False, True]
    assert run.greeks["delta"].tolist()[0] == -0.2134


@pytest.mark.parametrize(
    ("vix", "regime"),
    [(12.99, "low"), (13.0, "normal"), (18.0, "elevated"), (25.0, "high"), (30.0, "high"), (30.01, "extreme"),
     (40.0, "extreme"), (40.01, "panic")],
)  # fmt: skip
def test_a_regime_is_the_one_that_the_system_trades_by(vix: float, regime: str) -> None:
    assert research.regime_of(vix) == regime


def test_results_by_regime_count_each_strategy_apart() -> None:
    trades = pd.DataFrame({
        "strategy": ["a", "a", "b"], "vix_entry": [12.0, 12.5, None], "profit": [100.0, -300.0, 5.0],
        "won": [True, False, True],
    })  # fmt: skip
    (row,) = research.by_regime(trades).to_dict("records")
    assert (row["strategy"], row["regime"], row["trades"], row["won"]) == ("a", "low", 2, 0.5)
    assert (row["profit"], row["mean"], row["worst"]) == (-200.0, -100.0, -300.0)


def test_a_chain_of_a_minute_has_the_smile_that_it_is_quoted_by() -> None:
    chain = research.chain(datetime(2018, 2, 2, 10, 30), "SPXW", days=9)
    spot = float(chain["spot"].iloc[0])
    smile = research.smile(chain, date(2018, 2, 9))
    assert smile["strike"].is_monotonic_increasing
    assert (smile["is_call"] == (smile["strike"] >= spot)).all()
    at = smile.set_index("strike")["volatility"]
    assert at.loc[2600.0] > at.loc[2700.0] > at.loc[2800.0]  # the skew of an index
    calls = chain[(chain["expiry"] == pd.Timestamp("2018-02-09")) & chain["is_call"]].dropna(subset=["delta"])
    near = calls[calls["strike"].between(spot * 0.98, spot * 1.02)]
    assert near["delta"].is_monotonic_decreasing
    with pytest.raises(UserError, match="roots: "):
        research.chain(datetime(2018, 2, 3, 10, 30))  # a Saturday

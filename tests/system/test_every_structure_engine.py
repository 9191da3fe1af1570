"""Every structure through the gateway on the embedded engine: a week that agrees with its account to the cent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, run_backtest
from tests.every_structure import OPENED

pytestmark = pytest.mark.slow

ALGORITHM = Path(__file__).with_name("every_algorithm.py")


def test_a_week_on_the_engine_agrees_with_its_account(tmp_path: Path) -> None:
    source = ModelledMarket.from_history("history", seed=1)
    parameters = {"run.start": "2017-03-06", "run.end": "2017-03-13", "run.cash": "5000000"}
    result = run_backtest(RunRequest(ALGORITHM, source, parameters, None, tmp_path))
    assert result.error is None
    files = sorted(tmp_path.rglob("*journal*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    kinds: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)
    assert "error" not in kinds
    opened = {row["slot"] for row in kinds["decision"] if row["outcome"] == "trade"}
    assert opened >= set(OPENED)
    closed = {(row["structure"], row["part"]) for row in kinds["trade_closed"]}
    assert {("lt112", "naked"), ("ladder", "rung-2"), ("ipmcc", "weekly"), ("strangle-cl", "puts")} <= closed
    assert [row["outcome"] for row in kinds["roll"]].count("rolled") == 3
    account = kinds["account"][-1]
    assert (account["starting"], account["difference"], account["unknown"]) == (5_000_000.0, 0.0, 0)
    assert account["cash"] == pytest.approx(account["expected"])

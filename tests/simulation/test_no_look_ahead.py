"""What is decided up to a day depends on nothing after it; one seed gives one run, another seed another."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulation.data.columns import TradeBlock
from simulation.data.source import DataSource
from simulation.lean.enums import Resolution
from simulation.lean.symbols import Symbol
from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, RunResult, run_backtest
from tests.conftest import ROOT

START, END = date(2018, 10, 8), date(2018, 11, 2)
TEN = {"start": START.isoformat(), "end": END.isoformat(), "cash": "100000", "friday_0dte.min_vix": "0"}
PARAMETERS = {**TEN, "strategies": "friday_0dte"}
DAY_MS = 86_400_000

Row = dict[str, Any]


class Spliced:
    """One market up to and including a day, another one after it."""

    def __init__(self, before: DataSource, after: DataSource, last: date) -> None:
        self._before, self._after, self._last = before, after, last
        self._cut = int((datetime.combine(last, datetime.min.time()) - datetime(1970, 1, 1)).total_seconds()) * 1000
        self._cut += DAY_MS + 6 * 3_600_000  # the New York day ends before 6:00 UTC of the next

    def __getattr__(self, name: str) -> Any:
        return getattr(self._before, name)

    def _of(self, day: date) -> DataSource:
        return self._before if day <= self._last else self._after

    def trades(self, symbol: Symbol, resolution: Resolution, day: date) -> TradeBlock | None:
        if resolution is Resolution.MINUTE:
            return self._of(day).trades(symbol, resolution, day)
        parts = [source.trades(symbol, resolution, day) for source in (self._before, self._after)]
        first, second = parts
        if first is None or second is None:
            return first
        keep, take = first.end <= self._cut, second.end > self._cut
        names = [field.name for field in dataclasses.fields(TradeBlock)]
        columns = {name: np.concatenate([getattr(first, name)[keep], getattr(second, name)[take]]) for name in names}
        return TradeBlock(**columns)

    def quotes(self, symbol: Symbol, resolution: Resolution, day: date) -> Any:
        return self._of(day).quotes(symbol, resolution, day)

    def open_interest(self, symbol: Symbol, resolution: Resolution, day: date) -> Any:
        return self._of(day).open_interest(symbol, resolution, day)

    def universe(self, canonical: Symbol, day: date) -> Any:
        return self._of(day).universe(canonical, day)


def run(source: Any, folder: Path, parameters: Mapping[str, str] = PARAMETERS) -> tuple[RunResult, list[Row]]:
    """One run of main.py and the rows of its journal."""
    request = RunRequest(ROOT / "main.py", source, parameters, None, folder / "store")
    result = run_backtest(request)
    assert result.error is None
    lines = (folder / "store" / "tomking" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return result, [json.loads(line) for line in lines]


def upto(rows: list[Row], day: date) -> list[Row]:
    """Journal rows of a day and before, as far as they are decisions, orders, fills, trades and equity."""
    kinds = {"decision", "order", "fill", "trade_closed", "equity", "risk"}
    return [row for row in rows if row["kind"] in kinds and date.fromisoformat(row["time"][:10]) <= day]


@pytest.fixture(scope="module")
def markets() -> tuple[ModelledMarket, ModelledMarket]:
    return ModelledMarket.from_history("history", seed=1), ModelledMarket.from_history("history", seed=2)


@pytest.fixture(scope="module")
def base(markets: tuple[ModelledMarket, ModelledMarket], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(markets[0], tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    "day", [date(2018, 10, 12), pytest.param(date(2018, 10, 18), marks=pytest.mark.long), date(2018, 10, 26)]
)
def test_other_data_after_a_day_changes_nothing_before(
    day: date, base: Any, markets: tuple[ModelledMarket, ModelledMarket], tmp_path: Path
) -> None:
    _, rows = run(Spliced(*markets, day), tmp_path)
    expected = upto(base[1], day)
    assert [row for row in expected if row["kind"] == "decision"]
    assert upto(rows, day) == expected
    assert upto(rows, END) != upto(base[1], END)


@pytest.mark.long
def test_other_data_after_a_day_changes_nothing_that_ten_strategies_did_before(
    markets: tuple[ModelledMarket, ModelledMarket], tmp_path: Path
) -> None:
    day = date(2018, 10, 18)
    (tmp_path / "one").mkdir()
    (tmp_path / "spliced").mkdir()
    _, rows = run(markets[0], tmp_path / "one", TEN)
    _, spliced = run(Spliced(*markets, day), tmp_path / "spliced", TEN)
    assert upto(spliced, day) == upto(rows, day)
    assert upto(spliced, END) != upto(rows, END)


def test_every_friday_has_one_row(base: Any) -> None:
    days = [row["day"] for row in base[1] if row["kind"] == "decision"]
    fridays = [START + timedelta(days=count) for count in range((END - START).days + 1)]
    assert days == [day.isoformat() for day in fridays if day.weekday() == 4]


def test_no_handler_failed(base: Any) -> None:
    assert [row for row in base[1] if row["kind"] == "error"] == []


def test_one_seed_one_run(base: Any, tmp_path: Path) -> None:
    again, rows = run(ModelledMarket.from_history("history", seed=1), tmp_path)
    assert again.order_list_hash == base[0].order_list_hash
    assert rows == base[1]


def test_another_seed_another_run(base: Any, markets: tuple[ModelledMarket, ModelledMarket], tmp_path: Path) -> None:
    other, _ = run(markets[1], tmp_path)
    assert other.order_list_hash != base[0].order_list_hash

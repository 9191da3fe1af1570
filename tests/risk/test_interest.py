"""Interest on free cash: what is paid, when, on what, and where it is written down."""

# Private: _on_session_closed, _on_session_opened: its handlers, without the bus.

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.events import SessionClosed, SessionOpened
from core.journal import MemorySink
from core.settings.base import SettingsError
from core.settings.fields import Settings
from risk.equity import InterestBooking, interest_of
from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, run_backtest
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.strategies.fridays import start


def rows(sink: MemorySink, kind: str = "interest") -> list[dict[str, Any]]:
    """The journal's rows of one kind."""
    return [row for row in map(json.loads, sink.lines) if row["kind"] == kind]


@pytest.mark.parametrize(
    ("cash", "day", "days", "spread", "expected"),
    [
        (100_000.0, date(2024, 3, 11), 3, 0.005, 36.74),  # 100,000 x (4.97 % - 0.5 %) x 3 / 365 = 36.7397
        (100_000.0, date(2018, 6, 1), 1, 0.0, 5.32),  # 100,000 x 1.94 % / 365 = 5.3151
        (100_000.0, date(2015, 7, 2), 1, 0.005, 0.0),  # a bill of 0.05 % less 0.5 % is no charge
        (-5_000.0, date(2024, 3, 11), 3, 0.005, 0.0),
    ],
)
def test_interest_is_simple_and_never_negative(
    cash: float, day: date, days: int, spread: float, expected: float
) -> None:
    assert interest_of(cash, day, days, spread) == pytest.approx(expected, abs=1e-9)


def test_a_weekend_is_paid_for_at_the_next_open(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    system, sink = build(gateway, friday_0dte__min_vix="29")
    run_day(system, gateway, FRIDAY)
    assert rows(sink) == []  # nothing was free before the first close
    run_day(system, gateway, FRIDAY + timedelta(days=3))
    (paid,) = rows(sink)
    # No trade: 100,000 from Friday's close to Monday's open, 3 nights at 4.97 % - 0.5 %.
    assert (paid["days"], paid["free_cash"], paid["amount"]) == (3, 100_000.0, 36.74)
    assert gateway.cash == pytest.approx(100_036.74, abs=1e-6)
    assert system.book.interest == pytest.approx(36.74, abs=1e-9)
    assert rows(sink, "equity")[-1]["equity"] == pytest.approx(100_036.74, abs=1e-6)


def test_cash_that_backs_a_position_earns_nothing(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    system, sink = build(gateway, friday_0dte__min_vix="29")
    run_day(system, gateway, FRIDAY)

    @dataclass
    class Held:
        margin: float = 60_000.0

    system.book.positions["held"] = Held()  # type: ignore[assignment]  # only its margin is looked at here
    booking = system.managers[InterestBooking]
    booking._on_session_closed(SessionClosed(time=gateway.time, day=FRIDAY, equity=100_000.0))
    monday = FRIDAY + timedelta(days=3)
    opened = SessionOpened(time=gateway.time, day=monday, closes_at=gateway.time)
    booking._on_session_opened(opened)
    booking._on_session_opened(opened)
    (paid,) = rows(sink)  # once, however often a session opens
    assert (paid["free_cash"], paid["amount"]) == (40_000.0, 14.70)  # 40,000 x 4.47 % x 3 / 365 = 14.6959


def test_a_live_account_is_paid_by_its_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGateway, "is_live", lambda self: True)
    gateway = start(tmp_path)
    system, sink = build(gateway, friday_0dte__min_vix="29")
    run_day(system, gateway, FRIDAY)
    run_day(system, gateway, FRIDAY + timedelta(days=3))
    assert rows(sink) == []
    assert gateway.cash == pytest.approx(100_000.0)


def test_the_engine_moves_cash_and_no_profit(tmp_path: Path) -> None:
    """Four sessions without a trade: the engine's last equity is the cash and every amount of the journal."""
    source = ModelledMarket.from_history("history", seed=1)
    parameters = {"run.strategies": "friday_0dte", "run.start": "2018-02-07", "run.end": "2018-02-12"}
    parameters["friday_0dte.min_vix"] = "49"
    request = RunRequest(Path("main.py").resolve(), source, parameters, None, tmp_path)
    result = run_backtest(request)
    assert result.error is None
    lines = next(tmp_path.rglob("*journal*.jsonl")).read_text(encoding="utf-8").splitlines()
    paid = [row["amount"] for row in map(json.loads, lines) if row["kind"] == "interest"]
    # 2018's bill 1.94 % less 0.5 %: 100,000 x 1.44 % / 365 = 3.9452 a night; Friday to Monday 3 x 3.9455 = 11.8366.
    assert paid == [3.95, 3.95, 11.84]
    assert result.equity[1][-1] == pytest.approx(100_000.0 + 3.95 + 3.95 + 11.84, abs=1e-6)
    assert result.statistics["Total Fees"] == "$0.00"


def test_the_spread_is_a_setting() -> None:
    assert Settings.from_parameters({"interest.spread": "0.01"}).interest.spread == pytest.approx(0.01)
    with pytest.raises(SettingsError, match=r"interest\.spread"):
        Settings.from_parameters({"interest.spread": "-0.01"})

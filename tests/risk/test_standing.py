"""How the account stands: the cap in force, health, phases at their boundaries, a VIX of 15, 40 and 20 by minutes."""

# Private: _contracts: what a row counts, without a chain.

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.book import Book
from core.events import Command, MarketData, SessionClosed
from core.gateway import DailyBar, Holding
from core.journal import RecordKind
from core.settings.fields import ExitSettings, HealthSettings
from greeks.stress import Stressed
from market.vix import UnifiedVIXManager, VixRegime
from reporting.fields import parse_line, read_standing
from risk.commands import HealthCheck
from risk.equity import PhaseManager
from risk.group_risk import LineLoss
from risk.limits import VixRegimePlugin
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures
from risk.proposal import Scope
from strategies.friday_0dte import FridayZeroDay
from tests.fake_gateway import FRIDAY, FakeGateway, build
from tests.risk.floor import Floor
from tests.risk.proposals import NOW, held, proposal, rule
from trading_system import TradingSystem

# Health, worked by hand


def health(*, days: int, value: float | None, line: float, used: float, cap: float | None = 0.60) -> float:
    """A spread sold for 300 with fees of 2, on an account of 100,000."""
    position = held("p", "s", "SPY", FRIDAY + timedelta(days=days))
    none = np.zeros((0, 5))
    row = None if value is None else Stressed("p", "SPY", (), np.zeros(5), none, value, np.zeros(5), 0.0, 0)
    stubs: list[Any] = [
        SimpleNamespace(held=lambda: SimpleNamespace(of=lambda _: row)),
        SimpleNamespace(lines=lambda: {"A": LineLoss(line, 0.0)}, share=lambda loss, equity: loss.adverse / 15_000.0),
        SimpleNamespace(cap=lambda _: cap, used=lambda: SimpleNamespace(dollars=used)),
        SimpleNamespace(context=lambda: SimpleNamespace(account=SimpleNamespace(equity=100_000.0))),
    ]
    engine, groups, figures, risk = stubs
    book = Book(positions={"p": position})
    check = HealthCheck(book, engine, groups, figures, risk, ExitSettings(), HealthSettings())
    return check.of(position, NOW).score


@pytest.mark.parametrize(
    ("given", "score"),
    [
        (dict(days=45, value=-300.0, line=0.0, used=0.0), 100.0),
        (dict(days=21, value=-300.0, line=0.0, used=0.0), 100.0),
        (dict(days=20, value=-300.0, line=0.0, used=0.0), 80.0),  # under 21 days
        (dict(days=45, value=-898.0, line=0.0, used=0.0), 70.0),  # 300 - 898 - 2: it lost 600, twice the credit
        (dict(days=45, value=-897.0, line=0.0, used=0.0), 100.0),
        (dict(days=45, value=None, line=0.0, used=0.0), 70.0),  # unknown counts as at its stop
        (dict(days=45, value=-300.0, line=6_000.0, used=0.0), 90.0),  # 40 % of its line: 10 of 25
        (dict(days=45, value=-300.0, line=0.0, used=30_000.0), 87.5),  # half of the cap of 60 %: 12.5 of 25
        (dict(days=45, value=-300.0, line=90_000.0, used=500_000.0), 50.0),  # 25 each at most
        (dict(days=5, value=-900.0, line=math.nan, used=60_000.0), 0.0),  # 20, 30, 25 for unknown, 25
        (dict(days=45, value=-300.0, line=0.0, used=0.0, cap=None), 75.0),  # no VIX, no cap: counts as full
    ],
)
def test_the_health_of_a_position(given: dict[str, Any], score: float) -> None:
    assert health(**given) == score


def test_status_and_the_close_name_the_cap_that_binds_and_the_health_of_each_position(tmp_path: Path) -> None:
    floor = Floor(tmp_path, vix=39.0)
    name = floor.opened()
    # VIX 39: the regime says 80 %, phase 1 says 50 %, the breaker's 60 % leaves 45
    assert "of 45.0% (by 0.75 of the margin breaker's 60%)" in floor.say(Command.STATUS).answer
    floor.system.bus.publish(SessionClosed(time=floor.gateway.time, day=FRIDAY, equity=100_000.0))
    (row,) = floor.sink.rows(RecordKind.STANDING)
    assert "by 0.75 of the margin breaker's 60%" in row["lines"][0]
    assert row["lines"][1].startswith(f"{name} put_spread SPX 2024-03-08: health ")
    (line,) = [line for line in floor.sink.lines if '"standing"' in line]
    assert read_standing(parse_line(line, "here")).lines == tuple(row["lines"])


@pytest.mark.parametrize(
    ("vix", "phase", "cap", "by"),
    [
        (12.0, 4, 0.45, "VIX regime low"), (15.0, 4, 0.60, "0.75 of the margin breaker's 80%"),
        (15.0, 2, 0.60, "0.75 of the margin breaker's 80%"), (15.0, 1, 0.45, "0.75 of the margin breaker's 60%"),
        (22.0, 4, 0.525, "0.75 of the margin breaker's 70%"), (27.0, 4, 0.50, "VIX regime high"),
        (35.0, 4, 0.45, "0.75 of the margin breaker's 60%"), (45.0, 4, 0.375, "0.75 of the margin breaker's 50%"),
    ],
)  # fmt: skip
def test_which_cap_binds(tmp_path: Path, vix: float, phase: int, cap: float, by: str) -> None:
    # methodology, section 2: 45 % under 13, 60 to 20, 52.5 to 25, 50 to 30, 45 to 40, 37.5 above
    floor = Floor(tmp_path, vix=vix)
    floor.pass_minutes()
    risk, figures = floor.system.managers[UnifiedRiskManager], floor.system.managers[MarginFigures]
    limits = floor.system.settings.phases.rows[phase - 1]
    bound = figures.binding_cap(replace(risk.context(), phase=phase, limits=limits))
    assert bound is not None
    assert bound[0] == by
    assert bound[1] == pytest.approx(cap)
    assert figures.binding_cap(replace(risk.context(), vix=None)) is None


# Phases


class Account(FakeGateway):
    """An account that holds what somebody else opened."""

    kept: tuple[Holding, ...] = ()
    closes: float = 0.0
    equity: float | None = None

    def holdings(self) -> tuple[Holding, ...]:
        return self.kept

    def account(self) -> Any:
        known = super().account()
        return known if self.equity is None else replace(known, equity=self.equity)

    def daily_bars(self, ticker: str, count: int) -> list[DailyBar]:
        bars = list(super().daily_bars(ticker, count))
        return [replace(bar, close=self.closes) for bar in bars] if ticker == "XYZ" else bars


def system(gateway: FakeGateway) -> TradingSystem:
    return build(gateway, phases__earned_progression="false")[0]


def test_the_first_phase_is_by_the_last_daily_close(tmp_path: Path) -> None:
    # 100 shares at 520 that closed at 480: the account shows 101,000, at the close it was worth 97,000: phase 3
    gateway = Account(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path / "a")
    gateway.kept, gateway.closes, gateway.equity = (Holding("XYZ", 100.0, 500.0, 520.0),), 480.0, 101_000.0
    assert system(gateway).managers[PhaseManager].phase == 3
    nothing = Account(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path / "b")
    nothing.equity = 101_000.0
    assert system(nothing).managers[PhaseManager].phase == 4


def close_at(running: TradingSystem, equity: float) -> int:
    running.bus.publish(SessionClosed(time=running.gateway.now(), day=FRIDAY, equity=equity))
    return running.managers[PhaseManager].phase


@pytest.mark.parametrize(("boundary", "below"), [(50_000.0, 1), (80_000.0, 2), (100_000.0, 3)])
def test_a_boundary_both_ways_and_exactly_at_it(tmp_path: Path, boundary: float, below: int) -> None:
    running = system(FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path, cash=boundary - 0.01))
    phases, keep = running.managers[PhaseManager], 0.95 * boundary
    assert phases.phase == below
    seen = [close_at(running, equity) for equity in (boundary - 0.01, boundary, boundary - 0.01, keep, keep - 0.01)]
    assert seen == [below, below + 1, below + 1, below + 1, below]  # up at the boundary, down only under 95 % of it
    places = [3, 5, 7, 10]
    assert phases.limits.max_positions == places[below - 1]
    assert close_at(running, boundary) == below + 1
    assert phases.limits.max_positions == places[below]
    for untrue in (math.nan, math.inf, 1e12):
        assert close_at(running, untrue) == below + 1


def test_two_contracts_of_0dte_from_40000_on_and_exactly_at_it(tmp_path: Path) -> None:
    row = system(FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path)).managers[FridayZeroDay]
    looks: list[Any] = [SimpleNamespace(equity=equity, phase=1) for equity in (39_999.99, 40_000.0, 39_999.99)]
    counted = [row._contracts(look) for look in looks]
    assert counted == [1, 2, 1]


# A VIX of 15, 40 and 20


def expected_regime(vix: float) -> VixRegime:
    """The table of methodology 2, read by hand."""
    steps = [(13.0, "low"), (18.0, "normal"), (25.0, "elevated"), (30.00001, "high"), (40.00001, "extreme")]
    return VixRegime(next((name for bound, name in steps if vix < bound), "panic"))


def expected_cap(vix: float) -> float:
    steps = [(13.0, 0.45), (20.0, 0.60), (25.0, 0.525), (30.0, 0.50), (30.00001, 0.45), (40.0, 0.45)]
    return next((cap for bound, cap in steps if vix < bound), 0.375)


def test_vix_15_to_40_and_back_to_20_minute_by_minute(tmp_path: Path) -> None:
    # up a quarter of a point a minute from 15 to 41 in 104 minutes, then down to 20 in 84
    path = [15.0 + 0.25 * count for count in range(105)] + [41.0 - 0.25 * count for count in range(1, 85)]
    at = {"vix": 15.0}
    gateway = FakeGateway(
        datetime.combine(FRIDAY, time(9, 30)), lambda _: 5000.0, lambda _: at["vix"], tmp_path, cash=150_000.0
    )
    running = build(gateway, phases__earned_progression="false")[0]
    gateway.time += timedelta(minutes=1)
    running.open_session(gateway.time)
    risk, figures = running.managers[UnifiedRiskManager], running.managers[MarginFigures]
    regime = VixRegimePlugin(running.settings.vix)
    seen: set[VixRegime] = set()
    for vix in path:
        at["vix"] = vix
        gateway.time += timedelta(minutes=1)
        running.minute(gateway.time)
        now = gateway.time
        running.bus.publish(MarketData(time=now, ticker="VIX", open=15.0, high=vix, low=vix, price=vix, fresh_at=now))
        context = risk.context()
        assert context.vix is not None
        assert context.vix.regime is expected_regime(vix), vix
        assert figures.cap(context) == pytest.approx(expected_cap(vix)), vix
        jumped = max(path[: path.index(vix) + 1]) >= 22.5 or len(seen) > 3  # half as much again as 15, for the day
        assert (rule(regime.review(proposal(vix=vix), context)) == "vix_jump") == jumped, vix
        wants = [want.scope for want in risk.wanted(now) if want.rule == "vix_panic"]
        assert wants == ([Scope.SHORT_VOLATILITY] if vix > 40.0 else []), vix
        seen.add(context.vix.regime)
    assert seen == {VixRegime.NORMAL, VixRegime.ELEVATED, VixRegime.HIGH, VixRegime.EXTREME, VixRegime.PANIC}


def test_a_vix_that_cannot_be_true_is_none(tmp_path: Path) -> None:
    floor = Floor(tmp_path, vix=20.0)
    floor.pass_minutes()
    vix, now = floor.system.managers[UnifiedVIXManager], floor.gateway.time
    for value in (math.nan, math.inf, 0.0, -5.0):
        event = MarketData(time=now, ticker="VIX", open=20.0, high=20.0, low=20.0, price=value, fresh_at=now)
        floor.system.bus.publish(event)
        reading = vix.reading(now)
        assert reading is not None
        assert reading.value == 20.0
    assert vix.reading(now + timedelta(minutes=6)) is None

"""Minutes that nobody looks at: only in a backtest, only while nothing is held, ordered or awaited (decision 018)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.events import EntryWindow, Event, MarketData
from risk.manager import UnifiedRiskManager
from tests.fake_gateway import FRIDAY, FakeGateway, build
from trading_system import TradingSystem


def at(hour: int, minute: int) -> datetime:
    return datetime(FRIDAY.year, FRIDAY.month, FRIDAY.day, hour, minute)


def opened(gateway: FakeGateway) -> TradingSystem:
    system, _ = build(gateway)
    system.open_session(gateway.time)
    return system


def gateway_of(folder: Path, vix: float = 24.0, kind: type[FakeGateway] = FakeGateway) -> FakeGateway:
    return kind(at(9, 31), lambda _: 5000.0, lambda _: vix, folder)


def test_four_of_five_idle_minutes_rest_and_only_within_a_session(tmp_path: Path) -> None:
    system, _ = build(gateway_of(tmp_path))
    assert not system.rests(at(9, 32))  # no session is open yet
    system.open_session(at(9, 31))
    assert [minute for minute in range(40, 51) if not system.rests(at(9, minute))] == [40, 45, 50]


def test_a_minute_that_rests_is_one_that_publishes_nothing(tmp_path: Path) -> None:
    gateway = gateway_of(tmp_path)
    system, seen = opened(gateway), list[MarketData]()
    system.bus.subscribe(MarketData, seen.append, component="test")
    for minute in range(41, 46):
        gateway.time = at(9, minute)
        before, rests = len(seen), system.rests(gateway.time)
        system.minute(gateway.time)
        assert (len(seen) == before) == rests
    assert seen


@pytest.mark.parametrize(("day", "seen"), [(FRIDAY, True), (FRIDAY - timedelta(days=1), False)])
def test_a_window_of_another_day_is_no_look(tmp_path: Path, day: date, seen: bool) -> None:
    """Of Friday 0DTE's window alone nothing is told on a Thursday, nor of its prices."""
    gateway = FakeGateway(datetime.combine(day, time(9, 31)), lambda _: 5000.0, lambda _: 24.0, tmp_path)
    system, told = opened(gateway), list[Event]()
    system.bus.subscribe(MarketData, told.append, component="test")
    system.bus.subscribe(EntryWindow, told.append, component="test")
    gateway.time = datetime.combine(day, time(10, 30))
    system.entry_window(gateway.time, "friday_0dte", "open")
    assert {type(event) for event in told} == ({MarketData, EntryWindow} if seen else set())


@pytest.mark.parametrize(
    ("spot", "vix", "minute", "rests"),
    [
        (
            5012.0,
            24.5,
            45,
            True,
        ),  # 0.24 % and two points of a hundred: within a quarter of a percent and ten times that
        (5013.0, 24.0, 45, False),
        (5000.0, 24.7, 45, False),
        (5000.0, 24.0, 95, True),
        (5000.0, 24.0, 100, False),  # an hour after the look of 9:40
    ],
)
def test_a_look_at_nothing_held_stands_for_an_hour_while_prices_do(
    tmp_path: Path, spot: float, vix: float, minute: int, rests: bool
) -> None:
    gateway = gateway_of(tmp_path)
    system = opened(gateway)
    gateway.time = at(9, 40)
    system.minute(gateway.time)
    gateway.spot, gateway.vix = (lambda _: spot), (lambda _: vix)
    gateway.time = at(9 + minute // 60, minute % 60)
    assert system.rests(gateway.time) == rests


def test_near_a_rule_that_closes_the_account_is_looked_at_each_five_minutes(tmp_path: Path) -> None:
    """VIX 36.5 is over nine tenths of 40: what would be seen there may not wait."""
    gateway = gateway_of(tmp_path, vix=36.5)
    system = opened(gateway)
    gateway.time = at(9, 40)
    system.minute(gateway.time)
    assert not system.rests(at(9, 45))


def test_nothing_rests_live_or_while_the_coordinator_is_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Live(FakeGateway):
        def is_live(self) -> bool:
            return True

    (tmp_path / "live").mkdir()
    assert not opened(gateway_of(tmp_path / "live", kind=Live)).rests(at(9, 42))
    system = opened(gateway_of(tmp_path))
    assert system.rests(at(9, 42))
    monkeypatch.setattr(type(system.coordinator), "is_active", property(lambda _: True))
    assert not system.rests(at(9, 42))


def test_a_panic_is_seen_at_the_next_look_with_nothing_held(tmp_path: Path) -> None:
    """VIX 24 at the open, 41 and 42 at the looks of 9:35 and 9:40: the rule of 40 wants short volatility gone."""
    gateway = gateway_of(tmp_path)
    system = opened(gateway)
    gateway.vix = lambda now: 41.0 if now < at(9, 40) else 42.0
    for minute in (35, 40):
        gateway.time = at(9, minute)
        assert not system.rests(gateway.time)
        system.minute(gateway.time)
    assert [want.rule for want in system.managers[UnifiedRiskManager].wanted(gateway.time)] == ["vix_panic"]

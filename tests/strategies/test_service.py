"""Several strategies in one minute: who is served first, one budget for all, and one that fails or is suspended."""

# Private: _desk: what is asked of it, nothing sent.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.events import Command, EntryWindow
from core.gateway import DailyBar
from core.journal import MemorySink, RecordKind
from core.settings.strategies import AVAILABLE
from greeks.stress import StressEngine
from risk.margin import MarginFigures
from state.manager import HierarchicalStateManager
from strategies.leap_ladder import LeapLadder
from strategies.lt112 import Lt112
from tests.fake_gateway import FakeGateway, build, run_day
from tests.strategies.rows import ARRIVED, RowGateway, at, contract, gateway, part, position
from trading_system import TradingSystem

MONDAY = date(2024, 3, 4)
TUESDAY = date(2024, 3, 5)
PHASE_4 = 1_000_000.0


class Sagging(RowGateway):
    """The close before is a little under the others: no high; the range still touches the averages."""

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        bars = list(super().daily_bars(ticker, count))
        return [*bars[:-1], replace(bars[-1], close=bars[-1].close * 0.999)]


def stop(system: TradingSystem) -> None:
    """The process ends; the next one may take the state over."""
    system.managers[HierarchicalStateManager].close()


def market(folder: Path, day: date, *roots: str, cash: float = PHASE_4) -> RowGateway:
    calm = gateway(folder, day, cash=cash)
    found = Sagging(calm.time, calm.spot, calm.vix, folder, cash=cash, half_spread=0.0)
    found.roots = frozenset(roots)
    return found


def rules(sink: MemorySink) -> list[tuple[str, str]]:
    return [(f"{row['strategy']} {row['slot']}".strip(), row["rule"]) for row in sink.rows(RecordKind.DECISION)]


def enabled(fake: FakeGateway, *names: str, **parameters: str) -> tuple[TradingSystem, MemorySink]:
    return build(fake, run__strategies=",".join(names), **{**ARRIVED, **parameters})


def test_all_ten_are_served_in_the_order_of_the_method(tmp_path: Path) -> None:
    system, _ = enabled(gateway(tmp_path, MONDAY), *sorted(AVAILABLE))
    assert [row.name for row in system.coordinator.strategies] == [
        "friday_0dte",
        "lt112",
        "futures_strangle",
        "leap_ladder",
        "ipmcc",
        "ratio",
        "enhanced",
        "butterfly",
        "diagonal",
        "box",
    ]


@pytest.mark.parametrize("first", ["leap_ladder", "ipmcc"])
def test_of_one_place_the_ladder_takes_it_before_the_ipmcc_whoever_is_called_first(tmp_path: Path, first: str) -> None:
    """What never ends has one place of the group (``correlation.lasting_places``), and nothing is filled yet."""
    fake = market(tmp_path, MONDAY, "SPY", "QQQ", "IWM")
    fake.fills_allowed = False
    system, sink = enabled(fake, "ipmcc", "leap_ladder", ipmcc__tickers="SPY")
    run_day(system, fake, MONDAY, until=time(9, 59))
    fake.time = at(MONDAY, 10)
    windows = {"leap_ladder": "open", "ipmcc": "leap"}
    for name in (first, *(name for name in windows if name != first)):
        system.bus.publish(EntryWindow(time=fake.time, correlation="", strategy=name, window=windows[name]))
    system.minute(fake.time)
    assert {leg.contract.right.value for _, package, _, _ in fake.sent for leg in package.legs} == {"put"}
    assert {row[1] for row in rules(sink) if row[0].startswith("ipmcc")} == {"lasting_places"}
    assert len(system.book.pending) == 1


def test_what_is_on_its_way_uses_the_buying_power_that_the_next_one_asks_for(tmp_path: Path) -> None:
    fake = market(tmp_path, TUESDAY, "SPY", "TLT")
    fake.fills_allowed = False
    system, sink = enabled(fake, "ratio")
    run_day(system, fake, TUESDAY, until=time(10, 1))
    assert [package.underlying.ticker for _, package, _, _ in fake.sent] == ["SPY", "TLT"]
    spy, tlt = (
        verdict["limit"]
        for row in sink.rows(RecordKind.VERDICT)
        for verdict in row["verdicts"]
        if verdict["rule"] == "margin"
    )
    # A VIX of 20 lets 0.75 x 70 % be used: 525,000 for the first, and for the second what the first leaves.
    assert spy == pytest.approx(525_000.0)
    first = next(row for row in system.managers[StressEngine].held().rows if row.ticker == "SPY")
    asked = system.managers[MarginFigures].of(first)
    assert asked is not None
    assert asked > 5_000.0  # one put at 468 is naked: a tenth of its strike and its price
    assert tlt == pytest.approx(525_000.0 - asked, rel=0.001)


def test_an_entry_that_the_rate_of_orders_holds_back_is_sent_in_the_next_minute(tmp_path: Path) -> None:
    fake = market(tmp_path, TUESDAY, "SPY", "TLT")
    system, sink = enabled(fake, "ratio", orders__orders_per_minute="2")  # half of it for what is no emergency: one
    run_day(system, fake, TUESDAY, until=time(10, 9))
    sent = [(at.time(), package.underlying.ticker) for at, package, _, _ in fake.sent]
    assert [ticker for _, ticker in sent] == ["SPY", "TLT"]
    assert [row[0] for row in sent] == [time(10, 0), time(10, 1)]
    assert "held_back" in [row["action"] for row in sink.rows(RecordKind.ORDER)]
    assert [row for row in rules(sink) if row[1] == "filled"] == [("ratio SPY", "filled"), ("ratio TLT", "filled")]


def broken(monkeypatch: pytest.MonkeyPatch, kind: type[Any], name: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no days")

    monkeypatch.setattr(kind, name, fail)


def test_one_that_fails_while_looking_is_suspended_and_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, LeapLadder, "propose")
    fake = market(tmp_path, MONDAY, "SPY", "QQQ", "IWM")
    system, sink = enabled(fake, "ipmcc", "leap_ladder", ipmcc__tickers="SPY")
    run_day(system, fake, MONDAY, until=time(10, 5))
    found = dict(rules(sink))
    assert found["leap_ladder"] == "strategy_error"
    assert "filled" in found.values()
    assert [row["reason"] for row in sink.rows(RecordKind.ERROR)] == ["failed while looking"]
    assert any("leap_ladder failed while looking" in row["reason"] for row in sink.rows(RecordKind.NOTICE))
    assert "leap_ladder is suspended" in system.command(fake.time, Command.STATUS)

    monkeypatch.undo()
    stop(system)
    later, after = enabled(fake, "ipmcc", "leap_ladder", ipmcc__tickers="SPY")
    run_day(later, fake, MONDAY + timedelta(days=7), until=time(10, 1))
    assert ("leap_ladder", "suspended") in rules(after)
    assert "leap_ladder opens again" in later.command(fake.time, Command.RESUME, "leap_ladder")
    run_day(later, fake, MONDAY + timedelta(days=14), until=time(10, 1))
    assert ("leap_ladder", "lasting_places") in rules(after)  # it looks again; the IPMCC has the place


def test_a_person_suspends_one_strategy_on_its_walk_and_it_survives_a_restart(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, "SPY")
    fake.fills_allowed = False
    system, sink = enabled(fake, "leap_ladder")
    run_day(system, fake, MONDAY, until=time(10, 1))
    assert system.book.pending
    assert "expected one of" in system.command(fake.time, Command.SUSPEND, "ladder")
    assert "leap_ladder opens nothing" in system.command(fake.time, Command.SUSPEND, "leap_ladder")
    for minute in range(2, 5):
        fake.time = at(MONDAY, 10, minute)
        fake.work_orders()
        system.minute(fake.time)
    assert ("leap_ladder", "suspended") in rules(sink)
    assert not system.book.pending
    stop(system)
    later, _ = enabled(fake, "leap_ladder")
    assert "leap_ladder is suspended: a person said suspend" in later.command(fake.time, Command.STATUS)


def test_what_is_not_enabled_any_more_is_managed_and_opens_nothing(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, "SPY")
    before, _ = enabled(fake, "leap_ladder")
    run_day(before, fake, MONDAY, until=time(10, 5))
    assert before.book.positions
    stop(before)
    system, sink = enabled(fake, "friday_0dte")
    fake.vix = lambda _: 8.0  # the rung is worth next to nothing: its target is reached
    run_day(system, fake, MONDAY + timedelta(days=7), until=time(9, 40))
    (trade,) = sink.rows(RecordKind.TRADE_CLOSED)
    assert (trade["strategy"], trade["exit_rule"]) == ("leap_ladder", "profit_target")
    assert not system.book.positions
    assert not [row for row in rules(sink) if row[0] == "leap_ladder"]


def test_entries_that_add_to_a_position_are_decided_on_their_own_days_alone(tmp_path: Path) -> None:
    """LT112's weekly falls on Mondays from day 30; a young position has no decision about it."""
    fake = market(tmp_path, MONDAY, "SPY")
    system, sink = enabled(fake, "lt112")
    row = system.managers[Lt112]
    long, short = contract("SPY", date(2024, 6, 28), 480.0), contract("SPY", date(2024, 6, 28), 475.0)
    spread = part(row, "spread", {long: (1, 8.0), short: (-1, 7.0)}, at(MONDAY - timedelta(days=20), 10))
    held = position(row, spread)
    system.book.positions[held.id] = held
    windows = [one for one in row.entry_windows() if one.onto]
    assert [one.name for one in windows] == ["weekly"]
    system.bus.publish(EntryWindow(time=at(MONDAY, 10), correlation="", strategy="lt112", window="weekly"))
    assert not rules(sink)


def test_a_failing_strategy_is_not_carried_into_the_close_of_its_last_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, Lt112, "manage")
    fake = market(tmp_path, MONDAY, "SPY")
    system, _ = enabled(fake, "lt112")
    row = system.managers[Lt112]
    put = contract("SPY", MONDAY, 480.0)
    held = position(row, part(row, "spread", {put: (1, 8.0)}, at(MONDAY - timedelta(days=20), 10)))
    asked: list[tuple[datetime, str, str]] = []
    monkeypatch.setattr(
        type(system.coordinator._desk), "close", lambda _s, one, rule, *_: asked.append((fake.time, one.id, rule))
    )
    run_day(system, fake, MONDAY, until=time(9, 31))
    system.book.positions[held.id] = held
    for minute in (19, 20):
        fake.time = at(MONDAY, 15, minute)
        system.minute(fake.time)
    assert asked == [(at(MONDAY, 15, 20), "lt112-1", "deadline")]

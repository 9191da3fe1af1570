"""Every structure of the ten rows on the fake gateway: opened, added to, rolled, closed in parts, taken over."""

# Private: _strategies: the roster knows the rows of the method only.

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.book import Book
from core.journal import MemorySink, RecordKind
from risk.manager import UnifiedRiskManager
from risk.proposal import Decision, Proposal
from state.manager import HierarchicalStateManager
from state.store import StateStore
from tests.every_structure import NAME, OPENED, install
from tests.fake_gateway import FakeGateway, build
from trading_system import TradingSystem

MONDAY = date(2024, 3, 4)
MINUTES = (*range(2, 3), *range(30, 40), *range(89, 105), 240, 380, 389)
"""Of a session, counted from 9:30: the open, the windows at ten, the acts at eleven, and some looks later on."""


def moments(days: int = 5) -> Iterator[datetime]:
    """The minutes of a week that are run."""
    for day in range(days):
        for minute in MINUTES:
            yield datetime.combine(MONDAY + timedelta(days=day), time(9, 30)) + timedelta(minutes=minute)


def spot(moment: datetime) -> float:
    """An index that never stands still and goes nowhere."""
    return 5000.0 + 0.5 * (moment.minute % 3)


def gateway_at(folder: Path) -> FakeGateway:
    return FakeGateway(datetime.combine(MONDAY, time(9, 30)), spot, lambda _: 20.0, folder, cash=5_000_000.0)


def approves_everything(self: UnifiedRiskManager, proposal: Proposal) -> Decision:
    """Risk has tests of its own; here everything is wanted, so that every act on parts comes to pass."""
    return Decision(1, "allowed", "", None, None, (), self._approve(proposal.intent, 1))


@pytest.fixture(autouse=True)
def _risk_is_out_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnifiedRiskManager, "review", approves_everything)
    monkeypatch.setattr(UnifiedRiskManager, "still_allowed", lambda *_: None)


def started(gateway: FakeGateway) -> tuple[TradingSystem, MemorySink]:
    system, sink = build(gateway, cache__max_bytes="1000000")
    system.coordinator._strategies.clear()
    install(system)
    return system, sink


def run_minute(system: TradingSystem, gateway: FakeGateway, moment: datetime) -> None:
    gateway.time = moment
    gateway.work_orders()
    if moment.time() <= time(9, 32):
        system.open_session(moment)
    if moment.time() == time(10, 0):
        system.entry_window(moment, NAME, "open")
    system.minute(moment)
    if moment.time() == time(15, 59):
        gateway.time = moment + timedelta(minutes=1)
        system.close_session(gateway.time)
        gateway.expire(moment.date())
    agree(system, gateway)


def held_by(book: Book) -> dict[str, int]:
    """What all positions hold together."""
    total: dict[str, int] = {}
    for position in book.positions.values():
        for leg in position.legs:
            total[leg.contract.name] = total.get(leg.contract.name, 0) + leg.ratio
    return total


def agree(system: TradingSystem, gateway: FakeGateway) -> None:
    """Book, state and broker hold the same, and every dollar is explained."""
    account = {name: count for name, (_, count) in gateway.held.items()}
    assert held_by(system.book) == account, gateway.time
    state = system.managers[HierarchicalStateManager]
    for position in system.book.positions.values():
        mine = {leg.contract.name: float(leg.ratio) for leg in position.legs}
        assert state.held(position.id) == mine, (gateway.time, position.id)
    assert system.reckoning.now().difference == 0.0, (gateway.time, system.reckoning.now())


def test_a_week_of_every_structure(tmp_path: Path) -> None:
    gateway = gateway_at(tmp_path)
    system, sink = started(gateway)
    for moment in moments():
        run_minute(system, gateway, moment)
    assert sink.rows(RecordKind.ERROR) == []
    decisions = {row["slot"]: row["outcome"] for row in sink.rows(RecordKind.DECISION) if row["day"] == "2024-03-04"}
    assert decisions == dict.fromkeys(OPENED, "trade")
    trades = sink.rows(RecordKind.TRADE_CLOSED)
    parts = {(next(p for p in OPENED if p in _slot(system, row["position"])), row["part"]) for row in trades}
    assert parts == {
        ("lt112", "naked"), ("lt112", "weekly"), ("lt112", "weekly-2"), ("lt112", "spread"), ("ladder", "rung-1"),
        ("ladder", "rung-2"), ("ladder", "rung-3"), ("ipmcc", "weekly"), ("ipmcc", "weekly-2"), ("ipmcc", "leap"),
        ("butterfly", "whole"), ("ratio", "shorts"), ("ratio", "long"), ("diagonal", "whole"),
        ("strangle-cl", "puts"), ("strangle-cl", "calls"), ("strangle-6e", "puts"), ("strangle-6e", "calls"),
    }  # fmt: skip
    # The trades and the box that is still open are the account's money, to the cent.
    (box,) = system.book.positions.values()
    assert box.slot == "box"
    assert box.cash is not None
    profits = sum(row["profit"] for row in trades)
    brought = profits + box.cash - box.fees + system.book.interest
    assert brought == pytest.approx(gateway.cash - 5_000_000.0, abs=0.005)
    rolls = [(row["parts"], row["outcome"]) for row in sink.rows(RecordKind.ROLL)]
    assert sorted(rolls) == [(["rung-2"], "rolled"), (["weekly"], "rolled"), (["weekly"], "rolled")]


def _slot(system: TradingSystem, position: str) -> str:
    return str(system.managers[HierarchicalStateManager].position(position).detail["slot"])


def test_a_leap_waits_for_the_weekly_that_it_covers(tmp_path: Path) -> None:
    gateway = gateway_at(tmp_path)
    system, _ = started(gateway)
    for moment in moments(3):
        run_minute(system, gateway, moment)
        held = [row for row in system.book.positions.values() if row.slot == "ipmcc"]
        if held and held[0].part("weekly") is not None:
            assert held[0].part("leap") is not None


def test_a_process_that_takes_over_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    """Restarted without a word each quarter of the minutes, in the middle of whatever works."""
    gateway = gateway_at(tmp_path)
    system, sink = started(gateway)
    trades: list[dict[str, object]] = []
    for count, moment in enumerate(moments()):
        run_minute(system, gateway, moment)
        if count % 4 == 3:
            system.managers[StateStore].close()
            trades += sink.rows(RecordKind.TRADE_CLOSED)
            system, sink = started(gateway)
            agree(system, gateway)
    trades += sink.rows(RecordKind.TRADE_CLOSED)
    assert len({(row["position"], row["part"]) for row in trades}) == len(trades), "no trade is told twice"
    profits = [row["profit"] for row in trades]
    assert None not in profits
    left = sum((position.cash or 0.0) - position.fees for position in system.book.positions.values())
    realised = sum(
        (row.cash or 0.0) - row.fees
        for position in system.book.positions.values()
        for row in position.realised.values()
    )
    total = sum(float(str(profit)) for profit in profits) + left - realised
    assert total == pytest.approx(gateway.cash - 5_000_000.0, abs=0.005)

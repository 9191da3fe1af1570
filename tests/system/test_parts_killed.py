"""A week of acts on parts, added, closed alone, rolled, killed at writes and at acts of the broker, and taken over.

The broker fills leg by leg, so that a kill may fall between two legs. Whatever the moment, the processes that follow
find out what happened: book, state and account hold the same, no order is sent twice, nothing hangs, and the money is
explained to the cent wherever every fill was seen.
"""

# Private: _strategies: the roster knows the rows of the method only.

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

import state.store
from core.contracts import uncovered
from core.journal import MemorySink
from core.settings.fields import Settings
from core.storage import FolderStorage
from risk.manager import UnifiedRiskManager
from risk.proposal import Decision, Proposal
from state.manager import HierarchicalStateManager
from tests.every_structure import NAME, install
from tests.state.killing import Countdown, KillingDisk, kill_points
from tests.system.lasting import LastingGateway
from trading_system import Surroundings, TradingSystem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

MONDAY = date(2024, 3, 4)
SLOTS = ("lt112", "ladder", "ipmcc")
NO_INTEREST = {"run.strategies": "friday_0dte", "phases.earned_progression": "true", "interest.spread": "1.0"}
MINUTES = (2, *range(30, 36), *range(90, 100), 240, 389)


def moments() -> Iterator[datetime]:
    for day in range(5):
        for minute in MINUTES:
            yield datetime.combine(MONDAY + timedelta(days=day), time(9, 30)) + timedelta(minutes=minute)


def spot(moment: datetime) -> float:
    return 5000.0 + 0.5 * (moment.minute % 3)


def approves_everything(self: UnifiedRiskManager, proposal: Proposal) -> Decision:
    return Decision(1, "allowed", "", None, None, (), self._approve(proposal.intent, 1))


def started(gateway: LastingGateway, killing: KillingDisk) -> TradingSystem:
    original = state.store.Disk
    state.store.Disk = lambda: killing  # type: ignore[misc, assignment]
    try:
        settings = Settings.from_parameters(NO_INTEREST)
        storage = FolderStorage(gateway.folder / "state", durable=False)
        system = TradingSystem(Surroundings(gateway, storage, MemorySink(), durable=False), settings, gateway.time)
    finally:
        state.store.Disk = original  # type: ignore[misc]
    system.coordinator._strategies.clear()
    install(system, SLOTS)
    gateway.events = system.happened
    system.start()
    return system


def live(folder: Path, kill_at: int) -> LastingGateway:
    """One process: take over, then run what is left of the week, until its end or until it is killed."""
    countdown = Countdown(0)
    begin = datetime.combine(MONDAY, time(9, 30))
    gateway = LastingGateway(begin, spot, lambda _: 20.0, folder, cash=5_000_000.0, countdown=countdown)
    gateway.load()
    fresh, seen = not gateway.tags, gateway.time
    UnifiedRiskManager.review = approves_everything  # type: ignore[method-assign]
    UnifiedRiskManager.still_allowed = lambda *_: None  # type: ignore[method-assign]
    countdown.kill_at = kill_at
    system = started(gateway, KillingDisk(countdown))
    if not fresh:
        system.open_session(gateway.time)
    for moment in moments():
        if fresh or moment > seen:
            run_minute(system, gateway, moment)
    check(system, gateway)
    (folder / "points").write_text(str(countdown.count))
    return gateway


def run_minute(system: TradingSystem, gateway: LastingGateway, moment: datetime) -> None:
    gateway.time = moment
    gateway.work_orders()
    if moment.time() <= time(9, 32):
        system.open_session(moment)
    if moment.time() == time(10, 0):
        system.entry_window(moment, NAME, "open")
    system.minute(moment)
    if moment.time() == time(15, 59):
        system.close_session(moment + timedelta(minutes=1))


def check(system: TradingSystem, gateway: LastingGateway) -> None:
    """Book, state and account agree; nothing hangs, nothing was sent twice, no short is without its hedge."""
    manager = system.managers[HierarchicalStateManager]
    held: dict[str, int] = {}
    for position in system.book.positions.values():
        for leg in position.legs:
            held[leg.contract.name] = held.get(leg.contract.name, 0) + leg.ratio
        if position.slot == "ipmcc":
            assert uncovered(position.legs) == 0, position
        mine = {leg.contract.name: float(leg.ratio) for leg in position.legs}
        assert manager.held(position.id) == mine
    assert held == {name: count for name, (_, count) in gateway.held.items()}
    assert [position.id for position in manager.positions()] == list(system.book.positions)
    assert [group.id for group in manager.order_groups()] == []
    assert gateway.orders == []
    assert len(set(gateway.tags)) == len(gateway.tags)
    assert system.book.pending == {}
    assert manager.pending() == ()
    assert system.bus.errors == {}
    told = [trade.profit for trade in system.book.trades]
    parts = [part for position in system.book.positions.values() for part in position.parts]
    cash = [part.cash for part in parts]
    if None not in told and None not in cash:
        fees = sum(part.fees for part in parts)
        total = sum(profit or 0.0 for profit in told) + sum(dollars or 0.0 for dollars in cash) - fees
        assert abs(total - (gateway.cash - 5_000_000.0)) < 0.005, (total, gateway.cash - 5_000_000.0)


def process(folder: Path, kill_at: int) -> int:
    """Exit status of a forked process that lives through the week; -9 when it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            live(folder, kill_at)
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_at_acts_on_parts_everything_agrees(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert process(whole, 0) == 0
    points = int((whole / "points").read_text())
    assert points > 300
    failed = []
    for point in kill_points(points):
        folder = tmp_path / f"killed-{point}"
        folder.mkdir()
        assert process(folder, point) == -signal.SIGKILL, f"point {point}"
        process(folder, point % 13 + 1)  # the one that takes over is killed as well, where it writes as much
        if process(folder, 0) != 0:
            failed.append(point)
    assert failed == []

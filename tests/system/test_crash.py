"""The whole system on a Friday, killed at every write of its state and at every act of the broker, and started again.

The broker of these runs fills leg by leg, so a kill may fall between two legs of an entry or of an exit. Whatever the
moment, the next process must find out what happened: the day ends with nothing sold in the account, an empty
book, no order at work, and no group sent twice.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import state.store
from core.book import Book
from core.events import BrokerReconnected
from core.gateway import Holding, OpenOrder
from core.journal import MemorySink, RecordKind
from core.parts import Urgency
from core.settings.fields import Settings
from core.storage import FolderStorage
from execution.executor import AtomicExecutor
from execution.recovery import OrderRecovery
from state.manager import HierarchicalStateManager
from state.store import StateStore
from tests.fake_gateway import FRIDAY
from tests.state.killing import Countdown, KillingDisk, kill_points
from tests.system.lasting import LastingGateway
from trading_system import Surroundings, TradingSystem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

OPEN = datetime(2024, 3, 8, 9, 31)
MINUTES = tuple(
    OPEN + timedelta(minutes=count)
    for count in range(370)
    if count == 0 or 57 <= count < 72 or count % 60 == 0 or count > 325
)

FRIDAY_ALONE = {
    "run.strategies": "friday_0dte",
    "phases.earned_progression": "true",
    "friday_0dte.profit_target": "0.9",
}


def spot(moment: datetime) -> float:
    """An index that stands nearly still."""
    return 5100.0 + (moment.minute % 7) / 10


def volatility(moment: datetime) -> float:
    """Rising until eleven, so that the credit asked for is paid; then falling a little."""
    minute = moment.hour * 60 + moment.minute - 570
    return 24.0 + min(minute, 90) / 30 - max(minute - 90, 0) / 300


def live(folder: Path, kill_at: int) -> LastingGateway:
    """One process: take over, then run what is left of the day, until the end or until it is killed."""
    countdown = Countdown(0)
    gateway = LastingGateway(OPEN, spot, volatility, folder, countdown=countdown)
    gateway.load()
    fresh = not gateway.tags
    killing = KillingDisk(countdown)
    original = state.store.Disk
    state.store.Disk = lambda: killing  # type: ignore[misc, assignment]
    try:
        settings = Settings.from_parameters(FRIDAY_ALONE)
        storage = FolderStorage(folder / "state", durable=False)
        countdown.kill_at = kill_at
        system = TradingSystem(Surroundings(gateway, storage, MemorySink(), durable=False), settings, gateway.time)
    finally:
        state.store.Disk = original  # type: ignore[misc]
    gateway.events = system.happened
    system.start()
    if not fresh:
        system.open_session(gateway.time)
    for moment in MINUTES:
        if fresh or moment > gateway.time:
            run_minute(system, gateway, moment)
    check(system, gateway)
    (folder / "points").write_text(str(countdown.count))
    return gateway


def run_minute(system: TradingSystem, gateway: LastingGateway, moment: datetime) -> None:
    gateway.time = moment
    gateway.work_orders()
    if moment == OPEN:
        system.open_session(moment)
    for strategy in system.coordinator.strategies:
        for window in strategy.entry_windows():
            if window.opens == moment.time():
                system.entry_window(moment, strategy.name, window.name)
    system.minute(moment)


def held_by(book: Book) -> dict[str, int]:
    """What all positions hold together, by contract."""
    total: dict[str, int] = {}
    for position in book.positions.values():
        for leg in position.legs:
            total[leg.contract.name] = total.get(leg.contract.name, 0) + leg.ratio
    return total


def check(system: TradingSystem, gateway: LastingGateway) -> None:
    """The end of the day: nothing sold is held, nothing is at work or in the air, nothing sent twice."""
    manager = system.managers[HierarchicalStateManager]
    wings = [(contract.expiry, count > 0) for contract, count in gateway.held.values()]
    assert set(wings) <= {(FRIDAY, True)}, "only worthless wings are left to expire"
    assert gateway.orders == []
    assert len(set(gateway.tags)) == len(gateway.tags)
    assert held_by(system.book) == {name: count for name, (_, count) in gateway.held.items()}
    assert system.book.pending == {}
    assert manager.pending() == ()
    assert [position.id for position in manager.positions()] == list(system.book.positions)
    assert [group.id for group in manager.order_groups()] == []
    assert system.bus.errors == {}
    outcome = system.managers[OrderRecovery].reconcile()
    assert outcome.agreed, outcome.differences


def process(folder: Path, kill_at: int) -> int:
    """Exit status of a forked process that lives through the day; -9 when it was killed."""
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


def test_killed_at_every_write_the_friday_ends_with_nothing_sold(tmp_path: Path) -> None:
    whole_day = tmp_path / "whole"
    whole_day.mkdir()
    gateway = live(whole_day, 0)
    assert len(gateway.tags) == 2, "an entry and an exit"
    assert gateway.time.date() == FRIDAY
    points = int((whole_day / "points").read_text())
    assert points > 70
    failed = []
    for point in kill_points(points):
        folder = tmp_path / f"killed-{point}"
        folder.mkdir()
        assert process(folder, point) == -signal.SIGKILL, f"point {point}"
        process(folder, point % 13 + 1)  # the one that takes over is killed as well, where it writes as much
        if process(folder, 0) != 0:
            failed.append(point)
    assert failed == []


@dataclass
class LiveGateway(LastingGateway):
    """The same broker with real money, whose stream may show nothing yet."""

    loaded: bool = True
    blind: bool = False

    def is_live(self) -> bool:
        return True

    def broker_seen(self) -> bool:
        return self.loaded

    def holdings(self) -> Sequence[Holding]:
        return [] if self.blind else super().holdings()

    def open_orders(self) -> Sequence[OpenOrder]:
        return [] if self.blind else super().open_orders()


def take_over(gateway: LiveGateway) -> tuple[TradingSystem, MemorySink]:
    settings = Settings.from_parameters(FRIDAY_ALONE)
    sink, storage = MemorySink(), FolderStorage(gateway.folder / "state", durable=False)
    system = TradingSystem(Surroundings(gateway, storage, sink, durable=False), settings, gateway.time)
    gateway.events = system.happened
    system.start()
    return system, sink


def after(gateway: LiveGateway, system: TradingSystem, minutes: int) -> None:
    for _ in range(minutes):
        run_minute(system, gateway, gateway.time + timedelta(minutes=1))


@pytest.mark.parametrize("visible", [True, False])
def test_a_live_account_is_not_judged_before_it_was_seen_twice(tmp_path: Path, visible: bool) -> None:
    gateway = LiveGateway(OPEN, spot, volatility, tmp_path)
    first, _ = take_over(gateway)
    run_minute(first, gateway, OPEN)
    after(gateway, first, 65)  # until 10:36: the entry filled
    (name,) = first.book.positions
    first.managers[StateStore].close()  # the process is gone
    gateway.loaded, gateway.blind = False, True
    system, sink = take_over(gateway)
    manager = system.managers[HierarchicalStateManager]
    states = [str(manager.system)]
    assert (list(system.book.positions), sink.rows(RecordKind.RECONCILIATION)) == ([name], [])
    gateway.loaded = True
    after(gateway, system, 1)  # a process that started within a session takes part in it
    assert system.in_session
    states.append(str(manager.system))
    assert set(system.book.doubted) == {name}
    system.managers[AtomicExecutor].close(system.book.positions[name], "stop_loss", "because", urgency=Urgency.URGENT)
    after(gateway, system, 1)
    states.append(str(manager.system))
    assert len(gateway.tags) == 1, "nothing is sent for what is in doubt"
    gateway.blind = not visible
    after(gateway, system, 1)
    states.append(str(manager.system))
    assert states == ["recovering", "recovering", "recovering", "normal"]
    assert list(system.book.positions) == ([name] if visible else [])
    assert system.book.doubted == {}
    told = [row["difference"] for row in sink.rows(RecordKind.RECONCILIATION)]
    assert set(told) == ({"in_doubt"} if visible else {"in_doubt", "closed_by_hand"})
    gateway.time += timedelta(minutes=1)
    system.happened(BrokerReconnected(time=gateway.time))
    assert system.book.doubted == {}  # all is there


def test_what_a_person_closes_at_the_broker_is_noticed_within_fifteen_minutes(tmp_path: Path) -> None:
    gateway = LiveGateway(OPEN, spot, volatility, tmp_path)
    system, sink = take_over(gateway)
    for moment in (OPEN + timedelta(minutes=count) for count in range(75)):
        run_minute(system, gateway, moment)
    assert len(system.book.positions) == 1
    by_hand = gateway.time
    gateway.held.clear()
    for moment in (by_hand + timedelta(minutes=count) for count in range(1, 16)):
        run_minute(system, gateway, moment)
    assert system.book.positions == {}
    rows = sink.rows(RecordKind.RECONCILIATION)
    assert {row["difference"] for row in rows} == {"closed_by_hand"}
    assert datetime.fromisoformat(rows[0]["time"]) <= by_hand + timedelta(minutes=15)
    assert gateway.tags == ["group-20240308-1"], "nothing is sent for what is gone"

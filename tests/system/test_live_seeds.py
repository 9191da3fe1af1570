"""Interleavings of one live session, by seed: entry, exit, command, reconciliation, late fill and a kill.

No illegal transition, no torn record, no doubled order, nothing naked, one decision, never two threads in the system at
once. 20 seeds as a rule, 1,000 with `test --all`; `LIVE_SEEDS` says how many. Another thread may come in wherever the
algorithm calls the engine (quotes, orders, history, new contracts, the log, the object store, order events) and at each
write of the state.
"""

# Private: _busy, _deliver: the bus's lock is taken out, and two threads within a delivery are noted.

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from core.events import Event
from core.running import inbox
from core.running.inbox import Act, Inbox
from simulation.live_mode.threads import DeadlockError
from state.store import Disk
from tests.system.live_runs import LiveRun

pytestmark = pytest.mark.slow
SEEDS = int(os.environ.get("LIVE_SEEDS", "20"))
BATCH = 10
LOCKED = 8  # seeds without the inbox and with the lock of the bus
BUSY = 0.10
"""Share of calls into the engine at which another thread may come in: five times what a quiet machine shows."""


class Watched(LiveRun):
    """A run that notes two threads within the system at once, and lets others come in at each write of state."""

    overlaps: list[str]
    deliveries: list[str]
    bus_lock: bool = True

    def begin(self, moment: datetime) -> None:
        """Start a process under watch."""
        self.session.start(moment)
        algorithm: Any = self.session.alive.algorithm
        bus = algorithm.system.bus
        if not self.bus_lock:
            bus._busy = Unlocked()
        bus.publish = self.watched(bus.publish, self.overlaps)
        bus._deliver = self.watched(bus._deliver, self.deliveries)

    def watched(self, act: Callable[..., None], found: list[str]) -> Callable[..., None]:
        """The same, with a note of each time that a second thread comes in."""
        threads, inside = self.session.alive.threads, list[str]()

        def noted(event: Event, *rest: object) -> None:
            if inside and inside[-1] != threads.current:
                found.append(f"{threads.current} came into the system while {inside[-1]} was in it: {event}")
            inside.append(threads.current)
            try:
                act(event, *rest)
            finally:
                inside.remove(threads.current)

        return noted

    def write(self, disk: Disk, descriptor: int) -> None:
        """The state waits for the disk, and another thread may come in meanwhile."""
        plain_sync(disk, descriptor)
        if self.session.engine is not None:
            self.session.engine.called()


plain_sync = Disk.sync


class Unlocked:
    """Stands for a lock that keeps nobody out."""

    def acquire(self, blocking: bool = True) -> bool:
        """Had by whoever asks."""
        del blocking
        return True

    def release(self) -> None:
        """Nothing to give back."""


def play(folder: Path, seed: int, bus_lock: bool = True) -> Watched:
    """One session around the entry, its state's writes being points at which another thread may come in."""
    run = Watched(folder, seed=seed, rate=BUSY)
    run.overlaps, run.deliveries, run.bus_lock = [], [], bus_lock
    with mock.patch.object(Disk, "sync", lambda disk, descriptor: run.write(disk, descriptor)):
        played(run)
    return run


def played(run: Watched) -> None:
    """The session around the entry: half of the seeds kill it at some instant of the first four minutes."""
    chance = random.Random(run.seed)
    run.begin(run.at("10:27:30"))
    run.until("10:29:50")
    if chance.random() < 0.3:
        run.session.control("nofill")  # a late fill
    run.session.until(run.session.now + timedelta(milliseconds=chance.randint(12_000, 240_000)))
    if chance.random() < 0.5:
        run.session.kill()
        run.session.control("")
        gone = run.session.zone.local(run.session.calls[-1].utc_ms)
        run.begin(max(gone, run.at("10:29:50")).replace(microsecond=0) + timedelta(seconds=270))
    run.session.control("")
    word = chance.choice(("status", "reconcile", "halt", "close_all"))
    run.session.command(json.dumps({"command": word}))
    run.session.until(run.session.now + timedelta(minutes=6))
    run.session.command('{"command": "close_all"}')
    run.session.until(run.session.now + timedelta(minutes=12))
    run.session.stop()


def faults(run: Watched) -> list[str]:
    """What is wrong with a session; empty for a good one."""
    found = run.overlaps[:1]
    found += [f"{row['reason']}: {row.get('detail')}" for row in run.journal("error")]
    sent = [row["group"] for row in run.journal("order") if row["action"] == "sent"]
    entries = [row for row in run.journal("order") if row["action"] == "sent" and row["purpose"] == "entry"]
    if len(sent) != len(set(sent)) or len(entries) > 1:
        found.append(f"sent twice: {sent}")
    rights = [(str(row.symbol.id.option_right), row.quantity) for row in run.account.held]
    found += [
        f"naked: {rights}" for right in {right for right, _ in rights} if sum(q for r, q in rights if r == right) < 0
    ]
    found += [f"too much: {rights}" for _, quantity in rights if abs(quantity) > 2]
    if run.account.working:
        found.append(f"still works: {run.account.working}")
    if len(run.journal("decision")) != 1:
        found.append(f"{len(run.journal('decision'))} decisions for one day")
    return found


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_interleaving_doubles_loses_or_tears_anything(tmp_path: Path, first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        run = play(tmp_path, seed)
        assert faults(run) == [], f"seed {seed}"


class NoInbox(Inbox):
    """Every thread acts for itself, as it comes."""

    def take(self, act: Act) -> None:
        """Act at once."""
        self._acts.append(act)
        self._take_all()

    leave = finish = take


class UnlockedInbox(Inbox):
    """Order and broker threads only leave their acts, but two may take out at once."""

    def drain(self) -> None:
        """Take out whatever is there."""
        self._take_all()


@pytest.mark.parametrize("mutant", [NoInbox, UnlockedInbox])
def test_an_inbox_taken_out_or_its_lock_is_found_within_a_hundred_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: type[Inbox]
) -> None:
    monkeypatch.setattr(inbox, "Inbox", mutant)
    assert any(faults(play(tmp_path, seed)) for seed in range(100))


def test_the_bus_still_keeps_a_second_thread_out_of_a_delivery_and_its_lock_taken_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox is the first line and the bus's lock the second: it shows where the inbox is gone."""
    monkeypatch.setattr(inbox, "Inbox", NoInbox)
    (tmp_path / "locked").mkdir()
    entered = 0
    for seed in range(LOCKED):
        try:
            run = play(tmp_path / "locked", seed)
        except DeadlockError:  # the scheduler's own limit: a lock is waited for that it cannot hand over
            continue
        entered += len(run.overlaps)
        assert run.deliveries == [], f"seed {seed}"
    assert entered > 0  # they came in, and waited
    assert any(play(tmp_path, seed, bus_lock=False).deliveries for seed in range(100))

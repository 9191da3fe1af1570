"""Two systems on one store: one trades, the other sends nothing, says which it is, and takes over when told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from simulation.live_mode.account import WorkingGroup, WorkingLeg
from tests.system.live_runs import LiveRun

pytestmark = pytest.mark.slow


def both_until(one: LiveRun, two: LiveRun, clock: str) -> None:
    """Minute by minute: both see the same time, and so the same lease."""
    while one.session.now < one.at(clock):
        now = min(one.session.now, two.session.now).replace(second=0, microsecond=0) + timedelta(minutes=1)
        one.session.until(now)
        two.session.until(now)


def log_of(run: LiveRun) -> str:
    """What its processes logged."""
    return "\n".join(str(line) for line in run.session.log)


def order_events(run: LiveRun) -> int:
    """How many order events the running process heard."""
    return sum(call.name == "on_order_event" for call in run.session.alive.calls)


def test_a_second_one_sends_nothing_and_takes_over_by_command(tmp_path: Path) -> None:
    one, two = LiveRun(tmp_path), LiveRun(tmp_path)
    one.start("10:20:00")
    two.start("10:21:00")
    two.session.command('{"command": "halt"}')
    two.session.command('{"command": "Take over"}')
    both_until(one, two, "10:26:00")
    assert two.session.answers == [('{"command": "halt"}', False), ('{"command": "Take over"}', True)]
    assert "trades on this store: this one sends nothing" in log_of(one)
    handed = [row for row in two.journal("system") if "handed over to" in str(row["reason"])]
    assert len(handed) == 1
    assert handed[0]["time"] <= "2016-02-12T10:24"
    both_until(one, two, "10:50:00")
    assert order_events(one) == 0
    assert two.session.alive.portfolio.invested
    two.session.stop()
    one.session.stop()
    assert len(two.journal("decision")) == 1
    assert len([row for row in two.journal("order") if row["action"] == "sent"]) == 1


def test_one_that_stood_by_while_the_other_traded_judges_nothing_by_what_it_does_not_see(tmp_path: Path) -> None:
    """Its engine read the account before the entry: the position is missing there, and was not closed by anybody."""
    one, two = LiveRun(tmp_path), LiveRun(tmp_path)
    one.start("10:20:00")
    two.start("10:21:00")
    both_until(one, two, "10:45:00")
    assert one.session.alive.portfolio.invested
    assert order_events(two) == 0
    assert "trades on this store: this one sends nothing" in log_of(two)
    two.session.command('{"command": "take_over"}')
    both_until(one, two, "11:10:00")
    assert order_events(two) == 0
    assert not two.journal("trade_closed")
    assert any("start this one anew" in text for text in two.notices())
    two.session.stop()
    one.session.stop()


def test_one_that_ends_is_followed_within_a_minute(tmp_path: Path) -> None:
    one, two = LiveRun(tmp_path), LiveRun(tmp_path)
    one.start("9:40:00")
    two.start("9:41:00")
    both_until(one, two, "9:45:00")
    one.session.stop()
    two.until("10:40:00")
    assert two.session.alive.portfolio.invested
    two.session.stop()
    assert len(two.journal("decision")) == 1


def test_a_forgotten_deployment_on_a_copy_of_the_store_shows_by_its_orders_and_stops_entries(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    run.start("9:40:00")
    run.until("10:45:00")
    short = next(row.symbol for row in run.session.alive.portfolio.values() if row.quantity < 0)
    run.session.control("nofill")
    run.session.appear(WorkingGroup("B99", -1.0, 1.0, [WorkingLeg(short, -1.0)]))
    run.until("11:05:00")
    halted = [text for text in run.notices() if "somebody else trades in this account" in text]
    assert len(halted) == 1
    assert "an order of -1" in halted[0]
    run.session.command('{"command": "resume"}')  # a person saw it: the same order does not stop entries again
    run.until("11:25:00")
    assert run.session.alive.algorithm.system.bus.entries_halted is None  # type: ignore[attr-defined]
    assert len([text for text in run.notices() if "somebody else trades in this account" in text]) == 1
    run.session.stop()


def test_what_a_forgotten_deployment_filled_stops_entries_too(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    run.start("9:40:00")
    run.until("10:45:00")
    short = next(row.symbol for row in run.session.alive.portfolio.values() if row.quantity < 0)
    run.session.kill()
    run.account.trade(short, -1.0, 1.0)
    run.start("10:46:00")
    run.until("10:52:00")
    assert any("somebody else trades in this account: -1 " in text for text in run.notices())
    run.session.stop()

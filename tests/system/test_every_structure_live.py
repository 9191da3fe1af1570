"""Every structure on the embedded engine live, through its gateway: a week whose process is killed at an act of it.

The minutes around each act are lived, the broker's account outlives the process, and the next one takes over once the
dead one's lease is over. At the end of each day the book is the account; at the end of the week the money is explained
to the cent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulation.live_mode.account import LiveAccount
from simulation.live_mode.session import LiveRequest, LiveSession
from simulation.live_mode.threads import Pace
from simulation.market.source import ModelledMarket
from tests.system.live_runs import explains_its_money, held_and_booked

pytestmark = [pytest.mark.slow, pytest.mark.long]

ALGORITHM = Path(__file__).with_name("every_live_algorithm.py")
MONDAY = datetime(2017, 3, 6)
CASH = 5_000_000.0
RATES = {"orders.orders_per_second": "50", "orders.orders_per_minute": "500", "interest.spread": "1.0"}
DEAD = timedelta(seconds=270)
"""After a kill: its lease is over."""


@dataclass(frozen=True, slots=True)
class Kill:
    """On which day of the week the process is killed, and when: ``count`` orders of a purpose are sent, or filled."""

    name: str
    day: int
    purpose: str
    filled: bool
    count: int = 1


KILLS = (
    Kill("an entry is sent", 0, "entry", False),
    Kill("some entries are filled and others work", 0, "entry", True, 3),
    Kill("additions are sent", 1, "adjust", False, 2),
    Kill("an addition is filled", 1, "adjust", True),
    Kill("a part's exit is sent", 2, "exit", False),
    Kill("some parts are closed and others work", 2, "exit", True, 3),
    Kill("the first leg of a roll is sent", 3, "exit", False),
    Kill("the first leg of a roll is filled", 3, "exit", True),
    Kill("the second leg of a roll is sent", 3, "adjust", False),
    Kill("the last exits are sent", 4, "exit", False, 2),
    Kill("the last exits are filled in part", 4, "exit", True, 2),
)


@pytest.fixture(scope="module", name="source")
def a_source() -> ModelledMarket:
    """Days are made once for all the weeks."""
    return ModelledMarket.from_history("history", seed=1)


class Week:
    """A store and an account, and the processes of a week."""

    def __init__(self, folder: Path, source: ModelledMarket) -> None:
        self.store = folder / "store"
        account = LiveAccount(cash=CASH)
        self.session = LiveSession(LiveRequest(ALGORITHM, source, RATES, self.store, account, 1, Pace(0.0)))
        self.day = MONDAY
        self.kills = 0

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Of a kind, from all processes."""
        lines = [
            line
            for file in sorted(self.store.rglob("journal/*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        return [row for row in map(json.loads, lines) if row["kind"] == kind]

    def orders(self, purpose: str, filled: bool) -> int:
        """How many orders of a purpose were sent on the day, or of these are filled."""
        of_day = f"{self.day:%Y-%m-%d}"
        sent = {
            row["group"]
            for row in self.rows("order")
            if row["purpose"] == purpose and row["action"] == "sent" and row["time"].startswith(of_day)
        }
        return len(sent & {row["group"] for row in self.rows("fill")}) if filled else len(sent)

    def lives(self, day: int, begin: tuple[int, int], end: tuple[int, int], kill: Kill) -> None:
        """The minutes of a day; killed in them once where it is the kill's."""
        self.day = MONDAY + timedelta(days=day)
        until = self.day.replace(hour=end[0], minute=end[1])
        self.session.start(self.day.replace(hour=begin[0], minute=begin[1]))
        if kill.day == day:
            self.runs_until(lambda: self.orders(kill.purpose, kill.filled) >= kill.count, until)
            gone = self.session.now
            self.session.kill()
            self.kills += 1
            self.session.start(gone.replace(microsecond=0) + DEAD)
            until += DEAD
        self.session.until(until)
        self.agrees()
        self.session.stop()

    def runs_until(self, reached: Callable[[], bool], latest: datetime) -> None:
        """The clock goes on, a few seconds at a time."""
        while not reached():
            assert self.session.now < latest, "it never came"
            self.session.until(self.session.now + timedelta(seconds=5))

    @property
    def system(self) -> Any:
        """Of the process that lives."""
        algorithm: Any = self.session.alive.algorithm
        return algorithm.system

    def agrees(self) -> None:
        """Book and account hold the same, nothing hangs, no trade is told twice."""
        account, book = held_and_booked(self.session)
        assert book == account
        assert not self.system.book.pending
        trades = [(row["position"], row["part"]) for row in self.rows("trade_closed")]
        assert len(set(trades)) == len(trades)
        sent = [row["group"] for row in self.rows("order") if row["action"] == "sent"]
        assert len(set(sent)) == len(sent)
        assert self.rows("error") == []

    def explained(self) -> None:
        """Trades and what is open are the account's money, to the cent."""
        explains_its_money(self.session, self.rows("trade_closed"), CASH)


@pytest.mark.parametrize("kill", KILLS, ids=lambda row: row.name)
def test_killed_at_an_act_the_week_agrees_with_its_account(kill: Kill, source: ModelledMarket, tmp_path: Path) -> None:
    week = Week(tmp_path, source)
    week.lives(0, (9, 58), (10, 20), kill)
    for day in (1, 2, 3, 4):
        week.lives(day, (10, 57), (11, 20), kill)
    assert week.kills == 1
    week.session.start(week.day + timedelta(hours=12))
    week.session.until(week.day + timedelta(hours=12, minutes=2))
    week.agrees()
    week.explained()
    week.session.stop()

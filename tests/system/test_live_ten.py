"""All ten rows live in one process over a week of crisis, each day killed in its morning and started again.

February 2 to 9, 2018: two Fridays, a first Wednesday, the day on which the VIX doubled. No illegal transition, no
error, no order sent twice; each entry of each window decided once, whatever was killed; the book is the account at each
close, and the money is explained to the cent.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.clock import is_trading_day
from core.settings.strategies import AVAILABLE
from simulation.live_mode.account import LiveAccount
from simulation.live_mode.session import LiveRequest, LiveSession
from simulation.live_mode.threads import Pace
from simulation.market.source import ModelledMarket
from tests.conftest import ROOT
from tests.system.live_runs import explains_its_money, held_and_booked

pytestmark = [pytest.mark.slow, pytest.mark.long]

FIRST, LAST = date(2018, 2, 2), date(2018, 2, 9)
CASH = 500_000.0
SETTINGS = {"run.strategies": "all", "phases.earned_progression": "false", "interest.spread": "1.0"}


@pytest.fixture(scope="module", name="source")
def a_source() -> ModelledMarket:
    """Days are made once for all seeds."""
    return ModelledMarket.from_history("history", seed=1)


class Week:
    """A store and an account, and the processes of a week."""

    def __init__(self, folder: Path, source: ModelledMarket, seed: int) -> None:
        self.store = folder / "store"
        account, pace = LiveAccount(cash=CASH), Pace(0.02)
        self.session = LiveSession(LiveRequest(ROOT / "main.py", source, SETTINGS, self.store, account, seed, pace))
        self.chance = random.Random(seed)
        self.windows = Counter[tuple[str, str, str, str]]()

    @property
    def system(self) -> Any:
        """Of the process that lives."""
        algorithm: Any = self.session.alive.algorithm
        return algorithm.system

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Of a kind, from all processes."""
        lines = [
            line
            for file in sorted(self.store.rglob("journal/*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        return [row for row in map(json.loads, lines) if row["kind"] == kind]

    def live(self, day: date) -> None:
        """A day: killed at some instant of its morning, started again a minute later."""
        opens = datetime(day.year, day.month, day.day, 9, 28)
        if self.session.engine is None:
            self.session.start(opens)
        self.session.until(opens + timedelta(milliseconds=self.chance.randint(900_000, 8_000_000)))
        gone = self.session.now
        self.session.kill()
        self.session.start(gone.replace(microsecond=0) + timedelta(seconds=self.chance.choice((20, 60, 270))))
        self.session.until(opens.replace(hour=16, minute=10))
        self.notes_windows(day)
        self.agrees()

    def notes_windows(self, day: date) -> None:
        """Which entries this day should have decided; those that add to what is held are as many as that."""
        for strategy in self.system.coordinator.strategies:
            for window in strategy.entry_windows():
                if window.falls_on(day) and not window.onto:
                    self.windows.update(
                        (strategy.name, window.name, slot, str(day)) for slot in strategy.slots(window.name)
                    )

    def agrees(self) -> None:
        """Book and account hold the same, nothing hangs, nothing is told or sent twice, nothing went wrong."""
        account, book = held_and_booked(self.session)
        assert {name: count for name, count in book.items() if count} == account
        assert not self.system.book.pending
        assert self.rows("error") == []
        sent = Counter(row["group"] for row in self.rows("order") if row["action"] == "sent")
        assert {group for group, count in sent.items() if count > 1} == set()
        closed = Counter((row["position"], row["part"]) for row in self.rows("trade_closed"))
        assert {part for part, count in closed.items() if count > 1} == set()

    def decided(self) -> Counter[tuple[str, str, str, str]]:
        """How often each entry was decided, of those that are not onto what is held."""
        every = Counter((row["strategy"], row["window"], row["slot"], row["day"]) for row in self.rows("decision"))
        return Counter({key: count for key, count in every.items() if key in self.windows})

    def explained(self) -> None:
        """Trades and what is open are the account's money, to the cent."""
        explains_its_money(self.session, self.rows("trade_closed"), CASH)


@pytest.mark.parametrize("seed", range(1, 5))
def test_ten_rows_live_through_a_crisis_and_a_kill_each_day(seed: int, source: ModelledMarket, tmp_path: Path) -> None:
    week = Week(tmp_path, source, seed)
    for days in range((LAST - FIRST).days + 1):
        if is_trading_day(FIRST + timedelta(days=days)):
            week.live(FIRST + timedelta(days=days))
    entered = {row["strategy"] for row in week.rows("decision") if row["outcome"] == "trade"}
    assert {name for name, *_ in week.windows} <= set(AVAILABLE)
    assert len(entered) >= 3, entered
    assert week.decided() == week.windows
    week.explained()
    week.session.stop()

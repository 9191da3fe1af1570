"""main.py live, over the folder that was replayed when LEAN's live mode was recorded: the scenarios as scripts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulation.data.lean_folder import LeanFolder
from simulation.live_mode.account import Broker, LiveAccount
from simulation.live_mode.engine import Call
from simulation.live_mode.session import LiveRequest, LiveSession
from simulation.live_mode.threads import Pace
from tests.conftest import CONFORMANCE, ROOT

RECORDED = CONFORMANCE / "live"
FRIDAY = datetime(2016, 2, 12)
FRIDAY_BEFORE = datetime(2016, 2, 5)


@dataclass
class LiveRun:
    """A session with its store, and what came of it."""

    folder: Path
    day: datetime = FRIDAY
    seed: int = 1
    rate: float = 0.02
    broker: Broker = Broker.SIMULATED
    parameters: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not RECORDED.is_dir():
            pytest.skip("the recordings of LEAN's live mode are not beside this clone")
        self.store = self.folder / f"store-{self.seed}"
        self.session = LiveSession(
            LiveRequest(
                ROOT / "main.py",
                LeanFolder(RECORDED / "data"),
                {"strategies": "friday_0dte", "friday_0dte.min_vix": "0", **self.parameters},
                self.store,
                LiveAccount(broker=self.broker),
                self.seed,
                Pace(self.rate),
            )
        )

    @property
    def account(self) -> LiveAccount:
        """The broker's account."""
        return self.session.account

    def at(self, clock: str) -> datetime:
        """A time of the day: "10:32:30"."""
        hour, minute, second = (int(part) for part in clock.split(":"))
        return self.day.replace(hour=hour, minute=minute, second=second)

    def start(self, clock: str) -> None:
        """Start a process."""
        self.session.start(self.at(clock))

    def until(self, clock: str) -> None:
        """Let the clock go on."""
        self.session.until(self.at(clock))

    def until_event(self, words: str) -> None:
        """Let the clock go on until an order event says these words; fails after the close."""
        while not any(words in call.detail for call in self.session.alive.calls):
            assert self.session.now < self.at("16:00:00"), f"no order event said '{words}'"
            self.session.until(self.session.now + timedelta(seconds=30))

    def journal(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind, from all processes."""
        rows = [
            json.loads(line)
            for file in sorted(self.store.rglob("journal/*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        return [row for row in rows if row["kind"] == kind]

    def notices(self) -> list[str]:
        """What a person was told."""
        return [str(row["reason"]) for row in self.journal("notice")]

    @property
    def held(self) -> dict[str, float]:
        """What the account holds at the end, by LEAN's ticker."""
        return {str(row.symbol.value): row.quantity for row in self.account.held}

    def events(self, words: str = "") -> list[Call]:
        """Order events that say these words."""
        return [call for call in self.session.calls if call.name == "on_order_event" and words in call.detail]

    def assert_nothing_naked(self) -> None:
        """No short contract without a long one of the same right in the account."""
        rights: Counter[str] = Counter()
        for row in self.account.held:
            rights[str(row.symbol.id.option_right)] += round(row.quantity)
        assert all(count >= 0 for count in rights.values()), self.held

    def assert_one_decision(self, outcome: str, rule: str) -> None:
        """The day has one decision row, whatever was restarted, and what it came to."""
        rows = self.journal("decision")
        assert [(row["outcome"], row["rule"]) for row in rows] == [(outcome, rule)], rows

    def assert_nothing_doubled(self, entries: int = 1) -> None:
        """So many entries were sent over all processes, and no exit closed more than was held."""
        sent = [row for row in self.journal("order") if row["action"] == "sent" and row["purpose"] == "entry"]
        assert len(sent) <= entries, [row["group"] for row in sent]
        assert all(abs(row.quantity) <= 2 for row in self.account.held), self.held


def held_and_booked(session: LiveSession) -> tuple[dict[str, float], dict[str, float]]:
    """Signed contracts by name, of the process that lives: in its account, and in its book."""
    algorithm: Any = session.alive.algorithm
    system = algorithm.system
    portfolio = session.alive.portfolio.invested_securities.values()
    account = {system.gateway.name_of(row.symbol): float(row.holdings.quantity) for row in portfolio}
    book: dict[str, float] = {}
    for position in system.book.positions.values():
        for leg in position.legs:
            book[leg.contract.name] = book.get(leg.contract.name, 0.0) + leg.ratio
    return account, book


def explains_its_money(session: LiveSession, closed: Iterable[Mapping[str, Any]], began_with: float) -> None:
    """Trades and what is open are the account's money, to the cent."""
    algorithm: Any = session.alive.algorithm
    trades = [row["profit"] for row in closed]
    parts = [part for row in algorithm.system.book.positions.values() for part in row.parts]
    assert None not in trades
    total = sum(trades) + sum(part.cash - part.fees for part in parts)
    assert total == pytest.approx(float(session.alive.portfolio.cash) - began_with, abs=0.005)

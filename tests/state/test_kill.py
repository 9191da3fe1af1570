"""A run that opens, adjusts and closes a four-leg package, killed at every single write, its own and the broker's.

Each run is a process of its own that is ended by SIGKILL: before a write, in the middle of a line, between a write and
its ``fsync``, around the renaming of a snapshot, and before and after each act at the broker. The next process is
killed once more, somewhere in its recovery, and the third runs to the end. The account and the state must agree after
each reconciliation, no order may be sent twice, and in the end exactly the planned trades were made.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from core.bus import EventBus
from core.clock import MarketClock
from core.events import FillStatus, Level
from core.journal import Journal, MemorySink
from core.storage import FolderStorage
from state.facts import BrokerFacts, BrokerHolding, BrokerOrder
from state.ledger import Subject
from state.manager import HierarchicalStateManager
from state.recovery import Recovery
from state.store import StateStore, StoreOptions
from state.tables import OrderPurpose, OrderTrigger, PositionTrigger, StrategyTrigger, SystemState, SystemTrigger
from tests.state.killing import Countdown, KillingDisk, kill_points

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

DAY = date(2024, 7, 5)
CONDOR = {"P5400": 1.0, "P5430": -1.0, "C5600": -1.0, "C5630": 1.0}
ROLL = {"P5400": -1.0, "P5430": 1.0, "P5440": 1.0, "P5470": -1.0}
ROLLED = {"C5600": -1.0, "C5630": 1.0, "P5440": 1.0, "P5470": -1.0}
CLOSE = {name: -quantity for name, quantity in ROLLED.items()}
PLANNED_ORDERS = ["entry", "entry", "adjust", "exit"]  # the first entry is cancelled


class FakeBroker:
    """Another machine: what it was told stays told. A line for each thing that happened; tells of open orders only."""

    def __init__(self, path: Path, countdown: Countdown) -> None:
        self._path = path
        self._countdown = countdown
        self.acts: list[int] = []

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def happens(self, **event: object) -> None:
        self._countdown.point()
        with self._path.open("a") as file:
            file.write(json.dumps(event) + "\n")
        self.acts.append(self._countdown.count + 1)
        self._countdown.point()

    def send(self, tag: str, purpose: str, legs: dict[str, float]) -> list[int]:
        first = 1 + sum(len(event["legs"]) for event in self.events() if event["what"] == "sent")
        self.happens(what="sent", tag=tag, purpose=purpose, legs=legs, first=first)
        return list(range(first, first + len(legs)))

    def fill(self, tag: str, count: int) -> None:
        """The first ``count`` legs of the order fill, those that have not yet."""
        order = next(event for event in self.events() if event["what"] == "sent" and event["tag"] == tag)
        done = {event["leg"] for event in self.events() if event["what"] == "filled" and event["tag"] == tag}
        for leg in list(order["legs"])[:count]:
            if leg not in done:
                self.happens(what="filled", tag=tag, leg=leg, quantity=order["legs"][leg])

    def holdings(self, hidden: int = 0) -> dict[str, float]:
        total: dict[str, float] = {}
        for event in self.seen(hidden):
            if event["what"] == "filled":
                total[event["leg"]] = total.get(event["leg"], 0.0) + event["quantity"]
        return {leg: quantity for leg, quantity in total.items() if quantity}

    def seen(self, hidden: int) -> list[dict[str, Any]]:
        """What happened, but the newest acts that have not reached the stream yet."""
        events = self.events()
        return events[: len(events) - hidden]

    def facts(self, hidden: int = 0) -> BrokerFacts:
        """What is visible; with anything hidden, as a first look that is not certain."""
        events = self.seen(hidden)
        ended = {(event["tag"], event.get("leg")) for event in events if event["what"] != "sent"}
        orders = [
            BrokerOrder(event["first"] + index, leg, quantity, None, FillStatus.SUBMITTED, event["tag"])
            for event in events
            if event["what"] == "sent"
            for index, (leg, quantity) in enumerate(event["legs"].items())
            if not {(event["tag"], leg), (event["tag"], None)} & ended
        ]
        holdings = tuple(BrokerHolding(leg, quantity) for leg, quantity in self.holdings(hidden).items())
        return BrokerFacts(DAY, holdings, tuple(orders), certain=not hidden)


class Trader:
    """A small executor: what it does next follows from the state alone."""

    def __init__(self, folder: Path, countdown: Countdown) -> None:
        clock = MarketClock(datetime(2024, 7, 5, 10, 30))
        self.journal = Journal(MemorySink(), clock)
        store = StateStore(
            FolderStorage(folder), StoreOptions(durable=True, segment_bytes=2_500), KillingDisk(countdown)
        )
        self.state = HierarchicalStateManager(store, EventBus(self.journal), clock, self.journal)
        self.broker = FakeBroker(folder / "broker.jsonl", countdown)

    def recover(self, hidden: int = 0) -> None:
        self.state.start()
        if hidden:
            self.look_too_early(hidden)
        Recovery(self.state, self.journal).reconcile(self.broker.facts())
        held: dict[str, float] = {}
        for position in self.state.positions():
            for name, quantity in self.state.held(position.id).items():
                held[name] = held.get(name, 0.0) + quantity
        assert held == self.broker.holdings(), (held, self.broker.holdings())
        open_tags = {order.tag for order in self.broker.facts().orders}
        assert open_tags <= {group.id for group in self.state.order_groups()}
        assert self.state.pending() == ()
        self.state.fire_system(SystemTrigger.READY)

    def look_too_early(self, hidden: int) -> None:
        """A look that misses the broker's newest acts: the system recovers, and what is in doubt stays as it was."""
        before = {group.id: (group.state, group.pending) for group in self.state.order_groups()}
        found = Recovery(self.state, self.journal).reconcile(self.broker.facts(hidden))
        assert self.state.system == SystemState.RECOVERING
        for group in self.state.order_groups():
            if group.parent in found.in_doubt:
                assert (group.state, group.pending) == before[group.id]
        for position in found.in_doubt:
            assert not self.state.position(position).ended

    def run(self) -> None:
        for _ in range(100):
            groups, positions = self.state.order_groups(), self.state.positions()
            if groups:
                self.advance(groups[0])
            elif positions:
                self.manage(positions[0])
            elif any(group.detail["purpose"] == OrderPurpose.EXIT for group in self.state.order_groups(ended=True)):
                return
            else:
                self.enter()
        raise AssertionError("the run does not end")

    def enter(self) -> None:
        state = self.state
        number = len(state.positions(ended=True)) + 1
        attempt = sum(not group.detail.get("never_sent") for group in state.order_groups(ended=True))
        if state.strategy("condor").state == "idle":
            state.fire(Level.STRATEGY, "condor", StrategyTrigger.ENTER)
        state.create(Level.POSITION, f"p{number}", "condor")
        state.fire(Level.POSITION, f"p{number}", PositionTrigger.OPEN)
        self.plan(f"p{number}", OrderPurpose.ENTRY, CONDOR, cancel=attempt == 0)

    def plan(self, position: str, purpose: OrderPurpose, legs: dict[str, float], cancel: bool = False) -> None:
        number = len(self.state.order_groups(ended=True)) + 1
        fingerprint = f"{purpose}-cancelled" if cancel else f"{purpose}"
        self.state.create(
            Level.ORDER_GROUP,
            f"g{number}",
            position,
            purpose=purpose,
            changes=legs,
            cancel=cancel,
            fingerprint=fingerprint,
        )
        self.advance(self.state.order_group(f"g{number}"))

    def advance(self, group: Subject) -> None:
        fire, name, level = self.state.fire, group.id, Level.ORDER_GROUP
        legs: dict[str, float] = dict(group.detail["changes"])
        if group.state == "planned":
            with self.state.intent(level, name, OrderTrigger.SEND) as intent:
                intent.note(orders=self.broker.send(name, group.detail["purpose"], legs))
        elif group.state in ("sent", "working") and group.detail["cancel"]:
            with self.state.intent(level, name, OrderTrigger.CANCEL):
                self.broker.happens(what="cancelled", tag=name)
        elif group.state == "cancelling":
            fire(level, name, OrderTrigger.CANCELLED)
            fire(Level.POSITION, group.parent, PositionTrigger.ABANDON)
            fire(Level.STRATEGY, "condor", StrategyTrigger.ABANDON)
        elif group.state == "sent":
            fire(level, name, OrderTrigger.ACKNOWLEDGE)
        elif group.state == "working":
            self.broker.fill(name, 2)
            fire(level, name, OrderTrigger.FILL_PART, filled=dict(list(legs.items())[:2]))
        else:
            self.broker.fill(name, 4)
            fire(level, name, OrderTrigger.FILL, filled=legs)

    def manage(self, position: Subject) -> None:
        fire, name, held = self.state.fire, position.id, self.state.held(position.id)
        if position.state == "opening":
            fire(Level.POSITION, name, PositionTrigger.OPENED)
            fire(Level.STRATEGY, "condor", StrategyTrigger.ENTERED)
        elif position.state == "adjusting":
            fire(Level.POSITION, name, PositionTrigger.ADJUSTED)
        elif position.state == "closing":
            fire(Level.POSITION, name, PositionTrigger.CLOSED)
            fire(Level.STRATEGY, "condor", StrategyTrigger.EXITED)
        elif held == CONDOR:
            fire(Level.POSITION, name, PositionTrigger.ADJUST)
            self.plan(name, OrderPurpose.ADJUST, ROLL)
        elif held == ROLLED:
            fire(Level.POSITION, name, PositionTrigger.CLOSE)
            fire(Level.STRATEGY, "condor", StrategyTrigger.EXIT)
            self.plan(name, OrderPurpose.EXIT, CLOSE)
        else:
            raise AssertionError(f"{name} is {position.state} and holds {held}")


def in_a_process(work: Callable[[], None]) -> int:
    """Exit status of a forked process that does ``work``; -9 when it was killed."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def trade(folder: Path, kill_at: int, hidden: int = 0) -> int:
    """One process: recover, then trade to the end, or until it is killed; the first look may miss newest acts."""

    def work() -> None:
        countdown = Countdown(kill_at)
        trader = Trader(folder, countdown)
        trader.recover(min(hidden, len(trader.broker.events())))
        trader.run()
        trader.state.close()
        (folder / "points").write_text(str(countdown.count))
        (folder / "acts").write_text(json.dumps(trader.broker.acts))

    return in_a_process(work)


def check_the_end(folder: Path) -> None:
    broker = FakeBroker(folder / "broker.jsonl", Countdown(0))
    sent = [event for event in broker.events() if event["what"] == "sent"]
    assert [event["purpose"] for event in sent] == PLANNED_ORDERS
    assert len({event["tag"] for event in sent}) == len(sent), "an order was sent twice"
    fills = [(event["tag"], event["leg"]) for event in broker.events() if event["what"] == "filled"]
    assert len(fills) == len(set(fills)) == 12
    assert broker.holdings() == {}
    assert broker.facts().orders == ()
    state = Trader(folder, Countdown(0)).state
    assert (state.positions(), state.order_groups(), state.pending()) == ((), (), ())
    assert state.strategy("condor").state == "idle"
    filled = [dict(group.detail["filled"]) for group in state.order_groups(ended=True) if group.detail.get("filled")]
    assert filled == [CONDOR, ROLL, CLOSE]
    state.close()


def test_killed_at_every_write_the_account_and_the_state_agree_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert trade(whole, 0) == 0
    check_the_end(whole)
    points = int((whole / "points").read_text())
    assert points > 150
    for point in kill_points(points):
        folder = tmp_path / f"killed-{point}"
        folder.mkdir()
        assert trade(folder, point) == -signal.SIGKILL, f"point {point}"
        again = trade(folder, point % 17 + 1)  # the recovery is killed as well, where it writes as much
        assert again in (0, -signal.SIGKILL), f"point {point}"
        assert trade(folder, 0) == 0, f"point {point}"
        check_the_end(folder)


@pytest.mark.parametrize("hidden", [1, 2])
def test_an_order_or_a_fill_that_becomes_visible_late_is_judged_at_the_second_look(tmp_path: Path, hidden: int) -> None:
    """Killed right after an act of the broker that its stream shows only later: a sending, a fill, a cancellation."""
    whole = tmp_path / "whole"
    whole.mkdir()
    assert trade(whole, 0) == 0
    acts: list[int] = json.loads((whole / "acts").read_text())
    assert len(acts) == 17  # four orders, twelve fills, one cancellation
    for point in acts:
        folder = tmp_path / f"late-{point}"
        folder.mkdir()
        assert trade(folder, point) == -signal.SIGKILL, f"point {point}"
        assert trade(folder, 0, hidden) == 0, f"point {point}"
        check_the_end(folder)

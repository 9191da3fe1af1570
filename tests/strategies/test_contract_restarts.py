"""What every row owes over a restart: with an exit, a part or a roll on its way nothing is lost or doubled.

The process ends without a word; the next one finds the book, the store and the broker as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from core.book import Position
from core.identifiers import part_kind
from core.journal import MemorySink, RecordKind
from strategies.base import Close, HoldContext
from tests.strategies.cases import (
    BY_NAME,
    CASES,
    Case,
    Market,
    at_broker,
    ends,
    legs_of,
    looks_again,
    nothing_left,
    opened,
    play,
    stop,
)
from trading_system import TradingSystem

pytestmark = pytest.mark.slow

NOON = time(12, 0)
NO_INTEREST = ("interest__spread", "1.0")
CASH = 1_000_000.0


class Fate(StrEnum):
    """What became of an order while no process looked."""

    WORKS = "works"
    FILLED = "filled"
    CANCELLED = "cancelled"


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(
    params=[Fate.FILLED, *(pytest.param(row, marks=pytest.mark.long) for row in Fate if row != Fate.FILLED)]
)
def fate(request: pytest.FixtureRequest) -> Fate:
    found: Fate = request.param
    return found


def alone(market: Market, moment: datetime, fate: Fate) -> None:
    """What the broker does while no process is there."""
    market.time, market.events, market.fills_allowed = moment, lambda _: None, True
    if fate is Fate.FILLED:
        market.fill_all()
    if fate is Fate.CANCELLED:
        market.orders.clear()


def taken_over(
    case: Case, system: TradingSystem, market: Market, moment: datetime, fate: Fate
) -> tuple[TradingSystem, MemorySink]:
    """The process stops, the broker goes on alone until a moment, and another process begins."""
    stop(system)
    alone(market, moment, fate)
    return case.system(market)


def agrees(system: TradingSystem, market: Market, *sinks: MemorySink) -> None:
    """Book and broker hold the same, nothing hangs, and where each fill was seen the money is explained to the cent."""
    assert legs_of(system) == at_broker(market)
    assert not market.orders
    assert not system.book.pending
    trades = [row for sink in sinks for row in sink.rows(RecordKind.TRADE_CLOSED)]
    assert not [row for sink in sinks for row in sink.rows(RecordKind.ERROR)]
    assert len({(row["position"], row["part"], row["time"]) for row in trades}) == len(trades)
    cash = [part.cash for row in system.book.positions.values() for part in row.parts]
    profits = [row["profit"] for row in trades]
    if None not in cash and None not in profits:
        fees = sum(part.fees for row in system.book.positions.values() for part in row.parts)
        total = sum(profits) + sum(one or 0.0 for one in cash) - fees + system.book.interest
        assert total == pytest.approx(market.cash - CASH, abs=0.005)


def closes(monkeypatch: pytest.MonkeyPatch, system: TradingSystem, name: str, part: str, when: datetime) -> None:
    """Let a row close one part from a moment on, and nothing else."""
    kind = next(type(row) for row in system.coordinator.strategies if row.name == name)

    def manage(_self: object, position: Position, context: HoldContext) -> Any:
        due = context.now >= when and position.part(part) is not None
        return Close("test", "it is time", parts=(part,)) if due else ()

    monkeypatch.setattr(kind, "manage", manage)
    looks_again(system)


def test_a_restart_while_an_exit_is_on_its_way(
    case: Case, fate: Fate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = case.market(tmp_path)
    system, sink = opened(case, market)
    ends(monkeypatch, system, case.name, datetime.combine(case.day, NOON))
    market.fills_allowed = False
    play(system, market, case.day, NOON, time(12, 1))
    assert market.orders
    later, told = taken_over(case, system, market, datetime.combine(case.day, time(12, 2)), fate)
    play(later, market, case.day, time(12, 3), time(12, 15))
    assert nothing_left(later, market)
    agrees(later, market, sink, told)


PARTS = (("lt112", "naked"), ("futures_strangle", "put"), ("ratio", "short"))


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_restart_while_a_part_is_on_its_way_out(
    name: str, part: str, fate: Fate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = BY_NAME[name]
    market = case.market(tmp_path)
    system, sink = opened(case, market)
    (before,) = system.book.positions.values()
    closes(monkeypatch, system, name, part, datetime.combine(case.day, NOON))
    market.fills_allowed = False
    play(system, market, case.day, NOON, time(12, 1))
    assert market.orders
    later, told = taken_over(case, system, market, datetime.combine(case.day, time(12, 2)), fate)
    play(later, market, case.day, time(12, 3), time(12, 15))
    (after,) = later.book.positions.values()
    assert {row.name for row in after.parts} == {row.name for row in before.parts} - {part}
    agrees(later, market, sink, told)


# What is added to a position, and what takes the place of a part


@dataclass(frozen=True, slots=True)
class Later:
    """A row's act on what it holds: after its entry and the stretches before, it is due at a minute of a day.

    ``kind`` of part it opens, also in the place of one; ``move``: what the index does in that minute, or ``since``.
    """

    name: str
    kind: str
    day: date
    at: time
    before: tuple[tuple[date, time, time], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    move: float = 0.0
    since: time | None = None

    @property
    def case(self) -> Case:
        found = BY_NAME[self.name]
        return replace(found, settings=(*found.settings, *self.settings, NO_INTEREST))

    def ready(self, market: Market) -> tuple[TradingSystem, MemorySink]:
        """A system on the act's day, minutes before it."""
        system, sink = opened(self.case, market)
        for day, begin, end in self.before:
            play(system, market, day, begin, end)
        usual, moves = market.spot, datetime.combine(self.day, self.since or self.at)
        market.spot = lambda now: usual(now) * (1 + self.move if now >= moves else 1.0)
        play(system, market, self.day, minute(self.at, -6), minute(self.at, -1))
        return system, sink


def minute(at: time, count: int) -> time:
    whole = at.hour * 60 + at.minute + count
    return time(whole // 60, whole % 60)


FIRST_FRIDAY, NEXT_MONDAY = date(2024, 3, 8), date(2024, 3, 11)
WEEKLY = (FIRST_FRIDAY, time(9, 39), time(9, 55))
ADDED = (
    Later("leap_ladder", "rung", NEXT_MONDAY, time(10)),
    Later("ipmcc", "weekly", FIRST_FRIDAY, time(9, 45)),
    Later("lt112", "weekly", NEXT_MONDAY, time(10), settings=(("lt112__weekly_calls_from_day", "5"),)),
)
ROLLED = (
    Later("leap_ladder", "rung", date(2024, 3, 13), time(10), settings=(("leap_ladder__roll_days", "359"),)),
    Later("ipmcc", "weekly", date(2024, 3, 15), time(9, 45), (WEEKLY,)),
    Later("ipmcc", "leap", date(2024, 3, 13), time(10), (WEEKLY,), (("ipmcc__leap_roll_days", "359"),)),
    Later("lt112", "weekly", date(2024, 3, 18), time(10), ((NEXT_MONDAY, time(9, 54), time(10, 15)),),
          (("lt112__weekly_calls_from_day", "5"),), move=0.034, since=time(9, 31)),
    Later("futures_strangle", "put", date(2024, 3, 13), time(10), settings=(("futures_strangle__roll_delta", "8"),),
          move=0.03),
)  # fmt: skip


def named(row: Later) -> str:
    return f"{row.name}-{row.kind}"


def kinds(system: TradingSystem) -> list[str]:
    (held,) = system.book.positions.values()
    return sorted(part_kind(part.name) for part in held.parts)


@pytest.mark.parametrize("row", ADDED, ids=named)
def test_a_restart_while_a_part_is_on_its_way_in(row: Later, fate: Fate, tmp_path: Path) -> None:
    market = row.case.market(tmp_path)
    system, sink = row.ready(market)
    before = kinds(system)
    market.fills_allowed = False
    play(system, market, row.day, row.at, minute(row.at, 1))
    assert market.orders
    later, told = taken_over(row.case, system, market, datetime.combine(row.day, minute(row.at, 2)), fate)
    play(later, market, row.day, minute(row.at, 3), minute(row.at, 16))
    agrees(later, market, sink, told)
    assert kinds(later) in (before, sorted([*before, row.kind]))
    if fate is Fate.FILLED:
        assert kinds(later) == sorted([*before, row.kind])


@pytest.mark.parametrize("row", ROLLED, ids=named)
def test_a_roll_comes_to_its_end(row: Later, tmp_path: Path) -> None:
    """Without a restart: what the tests after it interrupt."""
    market = row.case.market(tmp_path)
    system, sink = row.ready(market)
    before = legs_of(system)
    play(system, market, row.day, row.at, minute(row.at, 12))
    told = [(one["outcome"], one["rule"]) for one in sink.rows(RecordKind.ROLL)]
    assert told == [("rolled", "filled")], sink.rows(RecordKind.ROLL)
    assert legs_of(system) != before
    agrees(system, market, sink)


LEGS = ("out", "between", "in")
INTERRUPTED = [
    pytest.param(row, leg, id=f"{leg}-{named(row)}", marks=() if number % 3 == LEGS.index(leg) else pytest.mark.long)
    for number, row in enumerate(ROLLED)
    for leg in LEGS
]
"""Every roll at one of its moments, each moment with two of them or one; every roll at every moment with --all."""


@pytest.mark.parametrize(("row", "leg"), INTERRUPTED)
def test_a_restart_while_a_roll_is_on_its_way(row: Later, leg: str, fate: Fate, tmp_path: Path) -> None:
    """Its exit works; its exit is done and its entry is not sent; its entry works."""
    market = row.case.market(tmp_path)
    system, sink = row.ready(market)
    sent, most = len(market.sent), max(part.contracts for one in system.book.positions.values() for part in one.parts)
    moment = row.at
    market.fills_allowed = leg != "out"
    while len(market.sent) < sent + (2 if leg == "in" else 1):
        play(system, market, row.day, moment, moment)
        moment = minute(moment, 1)
        if len(market.sent) == sent + 1 and leg == "in":
            market.fills_allowed = True
        assert moment < minute(row.at, 10)
    came = Fate.FILLED if leg == "between" else fate
    later, told = taken_over(row.case, system, market, datetime.combine(row.day, moment), came)
    play(later, market, row.day, minute(moment, 1), minute(row.at, 30))
    agrees(later, market, sink, told)
    held = [part for one in later.book.positions.values() for part in one.parts if not part.is_left_to_expire]
    assert len([part for part in held if part_kind(part.name) == row.kind]) <= 1, held
    assert all(part.contracts <= most for part in held)

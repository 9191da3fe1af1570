"""Rates: tokens by second and minute, a reserve for emergencies, and what waits where there is none."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from core.book import Refusal
from core.journal import RecordKind
from core.parts import Urgency
from core.settings.fields import OrderSettings
from execution.walking import OrderPace, Tokens, Traffic
from tests.execution.desk import NOON, Room


def test_no_window_of_a_minute_sees_more_than_allowed() -> None:
    # Four a minute, none kept back. Taken at 0, 20, 40 and 50 s: the next is free at 60 s, one only, then at 80 s.
    tokens = Tokens(4, timedelta(minutes=1), 0.0)
    taken = []
    for second in range(0, 120, 10):
        now = NOON + timedelta(seconds=second)
        if (second in (0, 20, 40, 50) or second >= 55) and tokens.has(now, emergency=False):
            tokens.take(now)
            taken.append(second)
    assert taken == [0, 20, 40, 50, 60, 80, 100, 110]


def test_ordinary_traffic_leaves_the_reserve_to_emergencies() -> None:
    # Ten a minute, half of them kept: ordinary traffic gets five, an emergency the other five, nobody an eleventh.
    tokens = Tokens(10, timedelta(minutes=1), 0.5)
    for emergency in (False, True):
        for _ in range(5):
            assert tokens.has(NOON, emergency=emergency)
            tokens.take(NOON)
        assert not tokens.has(NOON, emergency=False)
    assert not tokens.has(NOON, emergency=True)
    assert tokens.has(NOON + timedelta(minutes=1), emergency=False)


@pytest.mark.parametrize(("live", "free"), [(True, 3), (False, 10)])
def test_seconds_count_live_alone(tmp_path: Path, live: bool, free: int) -> None:
    room = Room(tmp_path)
    room.gateway.is_live = lambda: live  # type: ignore[method-assign]
    settings = OrderSettings(orders_per_second=3, orders_per_minute=10, emergency_reserve=0.0)
    pace = OrderPace(room.gateway, settings)
    taken = sum(pace.take(Traffic.ORDER) for _ in range(20))
    assert taken == free
    assert pace.take(Traffic.CANCEL)  # each kind has its own
    moments: list[datetime] = [NOON + timedelta(milliseconds=999), NOON + timedelta(seconds=1)]
    if live:
        for moment, expected in zip(moments, (False, True), strict=True):
            room.gateway.moment = lambda at=moment: at  # type: ignore[method-assign,misc]
            assert pace.take(Traffic.ORDER) is expected


def spent(room: Room, kind: Traffic) -> None:
    """Ordinary traffic of a kind has used up what it may."""
    while room.executor.pace.take(kind):
        continue


def test_an_entry_without_a_token_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path)
    spent(room, Traffic.ORDER)
    answer = room.open()
    assert isinstance(answer, Refusal)
    assert answer.rule == "order_rate"
    assert room.gateway.sent == []
    assert room.state.positions() == room.state.order_groups() == ()
    assert [row["action"] for row in room.sink.rows(RecordKind.ORDER)] == ["held_back"]


def test_ordinary_traffic_never_holds_an_emergency_back(tmp_path: Path) -> None:
    room = Room(tmp_path, vix=60.0)
    name = room.open()
    assert isinstance(name, str)
    room.minutes(6)
    spent(room, Traffic.ORDER)
    position = room.system.book.positions[name]
    room.executor.close(position, "profit_target", "because")
    assert len(room.gateway.sent) == 1  # a patient exit waits for its minute
    room.executor.close(position, "deadline", "it is 15:30", Urgency.FINAL)
    assert len(room.gateway.sent) == 2
    room.minutes(6)
    assert room.gateway.held == {}


def test_a_halt_takes_entries_back_whatever_walked_before(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.gateway.fills_allowed = False
    room.open()
    spent(room, Traffic.CANCEL)
    room.system.bus.halt_entries("a person said so")
    assert room.gateway.orders == []

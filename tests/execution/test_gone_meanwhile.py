"""What an exit works on is gone before it fills: assigned, and an order that closes it would open it again."""

# Private: _working, _walk: a group whose fills are told by hand, and an entry whose judges are left out.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.book import EntryIntent, Position
from core.contracts import Contract, Leg, Package, Right
from core.events import FillStatus
from core.gateway import Holding
from core.instruments import INSTRUMENTS
from core.journal import RecordKind
from core.parts import Terms, Urgency
from execution.recovery import OrderRecovery
from execution.reports import fill_gap
from tests.execution.desk import SHORT, Room, assign, report, restarted, working
from tests.fake_gateway import FRIDAY

PUT_505, PUT_490 = (INSTRUMENTS["SPY"].contract(FRIDAY, strike, Right.PUT, "handle") for strike in (505.0, 490.0))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path, vix=60.0)
    made.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here
    return made


def opened(room: Room, *legs: tuple[Contract, int]) -> Position:
    """A position of puts on SPY, with the index at 5,000."""
    room.gateway.subscribe([contract for contract, _ in legs])
    package = Package(tuple(Leg(*leg) for leg in legs))
    name = room.send(EntryIntent("ratio", FRIDAY, package, Terms("ratio", "puts", 1500.0, 1500.0), 3.1, None, ""), 1)
    assert isinstance(name, str)
    room.minutes(6)
    return room.system.book.positions[name]


def options(room: Room) -> dict[str, int]:
    return {name: count for name, (_, count) in room.gateway.held.items()}


def by_state(room: Room) -> dict[str, float]:
    rows = [room.state.held(position.id) for position in room.state.positions(ended=True)]
    return {name: count for row in rows for name, count in row.items() if name.startswith("SPY ")}


def test_an_exit_of_what_is_assigned_is_taken_back_at_once(room: Room) -> None:
    position = opened(room, (PUT_505, -1), (PUT_490, 1))
    room.gateway.fills_allowed = False
    room.executor.close(position, "test", "because")
    (exit_,) = room.gateway.orders
    assign(room, position)
    assert exit_ not in room.gateway.orders
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert options(room) == by_state(room) == {}  # the wing that was left is sold
    assert room.gateway.shares["SPY"] == 100.0  # closed from the next minute of a session on


@pytest.mark.parametrize("legs", [((PUT_505, -1), (PUT_490, 1)), ((PUT_505, -1),)])
def test_what_an_exit_buys_back_after_its_assignment_is_sold_again(
    room: Room, legs: Sequence[tuple[Contract, int]]
) -> None:
    """The cancellation comes too late. Two puts were bought and nobody had them: by the state held, in no part."""
    position = opened(room, *legs)
    usual = room.gateway.cancel
    room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]
    room.executor.close(position, "test", "because", Urgency.URGENT)
    (order,) = room.gateway.orders
    assign(room, position)
    room.minutes(1)  # the exit fills whole
    assert order not in room.gateway.orders
    room.gateway.cancel = usual  # type: ignore[method-assign]
    room.minutes(5)
    assert options(room) == by_state(room) == {}
    assert room.system.book.positions == {}
    shares = sum(row["price"] * -row["quantity"] for row in room.sink.rows(RecordKind.FILL) if row["contract"] == "SPY")
    profits = sum(row["profit"] for row in room.sink.rows(RecordKind.TRADE_CLOSED))
    # 100,000 to begin with; the account paid 505 for each share, the book took them at the price of now.
    assert room.gateway.cash - 100_000.0 == pytest.approx(profits + shares)


def test_what_fills_unseen_is_priced_apart_from_what_others_hold_of_it(room: Room) -> None:
    """Two of another position at 5.00; of these two one at 3.00 by its report, and 4.00 is the average of all four."""
    order = working(room, 2)
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, -1.0, 3.0, number=1)
    (group,) = room.executor._working
    leg = group.package.legs[0]
    held = Holding(SHORT.name, -4.0, 4.0, 0.0)
    assert fill_gap(group, leg, held, 0.0, others=(-2.0, -10.0))
    assert group.fills[SHORT.name].cash == 600.0  # all four brought 16 points, the others 10: 6 x 100


@pytest.mark.parametrize("restart", [False, True])
def test_an_exit_of_what_was_assigned_without_a_word_is_taken_back_at_the_next_look(room: Room, restart: bool) -> None:
    """Over night the put turns into 100 shares, and no report says so. The exit bought a put back that nobody had."""
    position = opened(room, (PUT_505, -1), (PUT_490, 1))
    room.gateway.fills_allowed = False
    room.executor.close(position, "test", "because")
    (exit_,) = room.gateway.orders
    del room.gateway.held[PUT_505.name]
    room.gateway.cash -= 50_500.0
    room.gateway.shares["SPY"] = 100.0
    if restart:
        restarted(room)
    else:
        room.system.managers[OrderRecovery].reconcile()
    assert exit_ not in room.gateway.orders
    room.minutes(1)
    room.system.managers[OrderRecovery].reconcile()
    room.gateway.fills_allowed = True
    room.minutes(5)
    assert options(room) == by_state(room) == {}  # the wing is sold, and nothing was bought
    assert room.system.book.shares["SPY"].quantity == 100.0  # sold from the next minute of a session on
    assert room.system.book.unowned == {}


def test_rows_that_a_kill_took_with_it_are_told_of_by_the_next_process(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_line: str) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(room.sink, "append", full)
    opened(room, (PUT_505, -1), (PUT_490, 1))
    owed = room.system.journal.owed
    assert owed > 0
    room.state.keep()  # once a minute
    for _ in range(2):
        restarted(room)
        told = [row["reason"] for row in room.sink.rows(RecordKind.SYSTEM) if "owing" in row["reason"]]
        expected = f"the last process ended owing the journal {owed} rows: what they told is in the state alone"
        assert told == ([expected] if owed else [])
        room.state.keep()
        owed = 0  # told once

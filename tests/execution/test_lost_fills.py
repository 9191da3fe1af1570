"""Signs that LEAN lost a fill: what is one, what is none, what each does, and how it ends."""

# Private: _working, _walk: the group between two minutes, and a walk without its judges.

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core.book import EntryIntent, Position
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import Command, FillStatus, MinutePassed, NoticeKind, NoticeRaised
from core.parts import LegExit, Terms, Urgency
from execution.recovery import OrderRecovery
from execution.tracker import PositionTracker
from state.tables import SystemState
from tests.execution.desk import SHORT, SPXW, WING, Room, hold, opened, put, report, restarted
from tests.fake_gateway import FRIDAY


class LiveRoom(Room):
    """A room whose engine is not the broker; what a person was told of doubts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.shown: dict[str, tuple[float | None, float]] = {}
        self.live()
        self.minutes(3)  # the start's second look

    def live(self) -> None:
        """After a start: what is told from now on."""
        self.doubts: list[str] = []
        self.gateway.answers_at_once = lambda: False  # type: ignore[method-assign]
        self.system.bus.subscribe(NoticeRaised, self._hear, component="test")
        self.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here

    def _hear(self, event: NoticeRaised) -> None:
        if event.kind is NoticeKind.DOUBT:
            self.doubts.append(event.text)

    def show(self, short: tuple[float | None, float], wing: tuple[float | None, float], age: int = 0) -> None:
        """Quotes of both legs, so many minutes old at every look."""
        self.shown = {SHORT.name: short, WING.name: wing}
        self.gateway.quote = lambda contract: self._quote(contract, age)  # type: ignore[method-assign]

    def _quote(self, contract: Contract, age: int) -> Quote:
        return Quote(*self.shown[contract.name], self.gateway.time - timedelta(minutes=age))

    def pass_minutes(self, count: int) -> None:
        """Minutes as the bus tells them."""
        for _ in range(count):
            self.gateway.time += timedelta(minutes=1)
            self.system.clock.advance(self.gateway.time)
            self.system.bus.publish(MinutePassed(time=self.gateway.time))


@pytest.mark.parametrize(
    ("short", "wing", "age", "seen"),
    [
        # sold at 2.95: (3.00 + 3.60) / 2 - (0.20 + 0.50) / 2
        ((3.50, 3.70), (0.35, 0.45), 0, True),  # natural 3.50 - 0.45 = 3.05: two ticks of 0.05 past it
        ((3.50, 3.70), (0.35, 0.50), 0, False),  # natural 3.00: one tick
        ((3.00, 3.60), (0.20, 0.50), 0, False),  # natural 2.50: the walk stands short of it
        ((3.50, 3.70), (0.35, 0.45), 3, False),  # nobody knows what is quoted now
        ((None, 3.70), (0.35, 0.45), 0, False),  # nobody bids
    ],
)
def test_a_limit_that_the_market_has_passed_for_two_minutes_is_a_sign(
    tmp_path: Path, short: tuple[float | None, float], wing: tuple[float | None, float], age: int, seen: bool
) -> None:
    room = LiveRoom(tmp_path)
    room.gateway.fills_allowed = False
    room.show((3.0, 3.6), (0.2, 0.5))
    room.open()
    assert next(iter(room.executor._working)).acknowledged == pytest.approx(2.95)
    room.gateway.reprice = lambda *_: True  # type: ignore[method-assign]  # no answer: what the broker has stands
    room.show(short, wing, age)
    room.pass_minutes(2)
    assert not room.doubts  # past it for a minute
    room.pass_minutes(1)
    assert [("ticks past it since 12:04" in text) for text in room.doubts] == [True] * seen
    assert (room.system.bus.entries_halted is not None) is seen
    assert room.executor.account.in_doubt is seen


def test_where_the_portfolio_is_the_account_no_limit_is_a_sign(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    room.gateway.answers_at_once = lambda: True  # type: ignore[method-assign]
    room.gateway.fills_allowed = False
    room.show((3.0, 3.6), (0.2, 0.5))
    room.open()
    room.show((3.5, 3.7), (0.35, 0.45))
    room.pass_minutes(5)
    assert (room.doubts, room.system.bus.entries_halted) == ([], None)


def test_the_bid_of_a_wing_that_is_worth_nothing_passes_no_limit(tmp_path: Path) -> None:
    """The exit's limit is -1.00. Natural is -0.90 with the bid of two ticks that stays visible, -1.00 without it."""
    for bid, seen in ((0.10, False), (0.15, True)):
        room = LiveRoom(tmp_path / str(bid))
        position = opened(room)
        room.gateway.fills_allowed = False
        room.show((0.95, 1.05), (0.20, 0.30))
        room.executor.close(position, "profit_target", "half of the credit")
        group = next(iter(room.executor._working))
        group.limit = group.acknowledged = -1.0
        room.gateway.reprice = lambda *_: True  # type: ignore[method-assign]
        room.show((0.90, 1.00), (bid, 0.90))
        room.pass_minutes(3)
        assert bool(room.doubts) is seen, bid


def test_a_quantity_on_a_report_that_is_no_fill_is_a_sign_and_is_counted_once(tmp_path: Path) -> None:
    """LEAN books none of it, and the FILLED report after it carries nothing."""
    room = LiveRoom(tmp_path)
    room.gateway.fills_allowed = False
    name = room.open()
    assert isinstance(name, str)
    first, second = room.gateway.orders[0].ids
    room.gateway.cancel = lambda *_: None  # type: ignore[method-assign]  # the halt's cancel comes too late
    report(room, first, SHORT, FillStatus.UPDATED, -1.0, 3.3, number=2)
    assert f"order {first} filled -1 {SHORT.name} by a report that says updated" in room.doubts[0]
    assert "may have lost a fill" in str(room.system.bus.entries_halted)
    report(room, first, SHORT, FillStatus.FILLED, number=3)
    report(room, second, WING, FillStatus.FILLED, 1.0, 0.4, number=2)
    position = room.system.book.positions[name]
    assert [leg.ratio for leg in position.legs] == [-1, 1]
    assert position.cash == pytest.approx(330.0 - 40.0)
    hold(room, wing=1)  # what LEAN booked
    room.system.managers[OrderRecovery].reconcile()
    room.pass_minutes(20)
    room.system.managers[OrderRecovery].reconcile()
    assert [leg.ratio for leg in room.system.book.positions[name].legs] == [-1, 1]  # not taken as closed by hand


def test_a_quantity_that_did_not_move_as_meant_is_a_sign_at_the_second_look(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    position = opened(room)
    room.minutes(1)
    room.show((3.0, 3.2), (0.5, 0.6))
    room.executor.close(position, "profit_target", "half of the credit", Urgency.URGENT)
    room.minutes(1)
    assert position.id not in room.system.book.positions
    hold(room, short=-2)  # the buy went out as a sale
    recovery = room.system.managers[OrderRecovery]
    recovery.reconcile()
    assert not room.system.book.unowned  # not somebody else's: the next minute tells
    room.pass_minutes(1)
    assert not room.doubts
    room.pass_minutes(1)
    assert len(room.doubts) == 1
    assert f"the account shows -2 {SHORT.name} beyond what its fills come to" in room.doubts[0]
    recovery.reconcile()
    assert "somebody else" not in str(room.system.bus.entries_halted)


def test_what_no_order_of_ours_traded_is_not_asked_for(tmp_path: Path) -> None:
    """Shares of an assignment are in the account and in no position."""
    room = LiveRoom(tmp_path)
    room.gateway.shares["SPY"] = 100.0
    room.tell(99, "SPY", FillStatus.FILLED, 100.0, 500.0)
    assert not room.executor.account.asks


def test_what_another_traded_explains_a_quantity(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    position = opened(room)
    room.minutes(1)
    room.show((3.0, 3.2), (0.5, 0.6))
    room.executor.close(position, "profit_target", "half of the credit", Urgency.URGENT)
    room.minutes(1)
    hold(room, short=-1)  # a person sold one in the same minute
    room.system.managers[PositionTracker].outside[SHORT.name] = LegExit(-1.0, 310.0)
    room.pass_minutes(3)
    assert not room.doubts


def condor(room: LiveRoom) -> Position:
    """Two shorts with their wings, filled."""
    legs = [(4950.0, Right.PUT, -1), (4920.0, Right.PUT, 1), (5050.0, Right.CALL, -1), (5080.0, Right.CALL, 1)]
    package = Package(
        tuple(Leg(SPXW.contract(FRIDAY, strike, right, "handle"), ratio) for strike, right, ratio in legs)
    )
    room.gateway.subscribe(leg.contract for leg in package.legs)
    terms = Terms("friday_0dte", "condor", 2700.0, 3000.0)
    name = room.send(EntryIntent("friday_0dte", FRIDAY, package, terms, 6.2, None, ""), 1)
    assert isinstance(name, str)
    room.minutes(7)
    return room.system.book.positions[name]


def test_after_three_refusals_an_emergency_buys_each_short_back_by_itself_once_a_minute(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    position = condor(room)
    room.gateway.refuse = "margin"
    for _ in range(3):
        room.executor.close(position, "command", "a person said close_all", Urgency.FINAL)
        room.minutes(1)
    asked: list[tuple[int, list[int]]] = []

    def refuse(package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        asked.append((room.gateway.time.minute, [leg.ratio for leg in package.legs]))
        return plain(package, quantity, limit_cash, tag)

    plain, room.gateway.send = room.gateway.send, refuse  # type: ignore[method-assign]
    first = room.gateway.time.minute
    for _ in range(2):
        room.executor.close(position, "command", "a person said close_all", Urgency.FINAL)
        room.minutes(1)
    minutes = sorted({minute for minute, _ in asked})
    assert minutes == [first, first + 1, first + 2]
    assert [legs for _, legs in asked] == [[1], [1]] * 3  # each short bought by itself, no wing sold
    room.gateway.refuse = ""
    room.minutes(6)
    assert [count for _, count in room.gateway.held.values()] == [1, 1]  # worth nothing, left to expire


def test_what_the_account_seems_not_to_hold_is_bought_back_in_an_emergency_and_waits_else(tmp_path: Path) -> None:
    """LEAN shows nothing of a spread that its lost reports left at the broker; the wing is not sold: it may be gone."""
    room = LiveRoom(tmp_path)
    position = opened(room)
    room.pass_minutes(2)
    first = len(room.gateway.sent)
    report(room, 77, WING, FillStatus.SUBMITTED, 1.0, 0.4)
    assert room.executor.account.in_doubt
    hold(room)
    room.executor.close(position, "profit_target", "half of the credit")
    room.minutes(1)
    assert len(room.gateway.sent) == first
    room.executor.close(position, "command", "a person said close_all", Urgency.FINAL)
    assert [[leg.ratio for leg in sent[1].legs] for sent in room.gateway.sent[first:]] == [[1]]
    assert room.gateway.sent[-1][1].legs[0].contract == put(4950.0)
    room.show((3.0, 3.2), (0.5, 0.6))
    room.minutes(4)
    assert not [sent for sent in room.gateway.sent[first:] if any(leg.ratio < 0 for leg in sent[1].legs)]


def test_a_close_refused_as_uncovered_is_a_sign_at_once(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    position = opened(room)
    room.minutes(1)
    room.gateway.refuse = "Order would leave an UNCOVERED option"
    room.executor.close(position, "profit_target", "half of the credit")
    assert [f"an order to close {position.id} was refused" in text for text in room.doubts] == [True]
    assert room.executor.account.in_doubt


def test_a_long_leg_is_not_sold_within_seconds_of_its_own_fill(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    name = room.open()
    assert isinstance(name, str)
    room.gateway.time += timedelta(minutes=1)
    room.gateway.work_orders()
    room.show((3.0, 3.2), (0.5, 0.6))
    position, first = room.system.book.positions[name], len(room.gateway.sent)
    for seconds, sent in ((0, 0), (9, 0), (1, 1)):
        room.gateway.time += timedelta(seconds=seconds)
        room.executor.close(position, "profit_target", "half of the credit")
        assert len(room.gateway.sent) == first + sent


def test_a_sign_outlives_the_process_and_ends_by_a_person_s_word(tmp_path: Path) -> None:
    room = LiveRoom(tmp_path)
    opened(room)
    report(room, 77, WING, FillStatus.SUBMITTED, 1.0, 0.4)
    assert room.state.system is SystemState.HALTED
    restarted(room)
    room.live()
    assert "may have lost a fill" in str(room.system.bus.entries_halted)
    assert not room.executor.account.in_doubt  # a start reads the account anew
    report(room, 78, WING, FillStatus.SUBMITTED, 1.0, 0.4)
    assert room.executor.account.in_doubt
    room.system.command(room.gateway.time, Command.RESUME)
    assert not room.executor.account.in_doubt
    assert room.system.bus.entries_halted is None


@pytest.mark.parametrize("bought", [True, False])
def test_in_doubt_a_short_is_not_bought_back_twice_while_an_order_s_end_is_unknown(
    tmp_path: Path, bought: bool
) -> None:
    """The order left the broker's list without a report and may have filled: a new start reads the account."""
    room = LiveRoom(tmp_path)
    position = opened(room, 2)
    room.pass_minutes(2)
    room.gateway.fills_allowed = False
    room.executor.unwind(position.id, ["whole"])
    assert [(leg.contract, leg.ratio * room.gateway.sent[-1][2]) for leg in room.gateway.sent[-1][1].legs] == [
        (SHORT, 2)
    ]
    room.gateway.orders.clear()
    report(room, 77, WING, FillStatus.SUBMITTED, 1.0, 0.4)
    room.minutes(6)
    assert (room.executor.account.in_doubt, room.executor.followed) == (True, ())
    before = len(room.gateway.sent)
    for _ in range(3):
        room.executor.close(position, "command", "a person said close_all", Urgency.FINAL)
        room.executor.unwind(position.id, ["whole"])
        room.minutes(1)
    assert len(room.gateway.sent) == before
    hold(room, short=0 if bought else -2, wing=2)
    restarted(room)
    room.live()
    for _ in range(3):
        room.minutes(1)
        room.system.command(room.gateway.time, Command.RECONCILE)
    assert room.state.held(position.id) == {WING.name: 2.0} | ({} if bought else {SHORT.name: -2.0})
    assert [
        (leg.contract, leg.ratio * count)
        for _, package, count, _ in room.gateway.sent[before:][:1]
        for leg in package.legs
    ] == ([] if bought else [(SHORT, 2)])

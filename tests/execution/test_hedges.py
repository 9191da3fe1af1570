"""No long is sold that a short may need: one that is counted, one whose fill was lost, one that nobody owns.

And what is sure of fills: one that a report told, a leg that is filled whole, an exit of what moved to another part.
"""

# Private: _working, _walk: the walk's judges are left out.

from __future__ import annotations

from pathlib import Path

import pytest

from core.book import EntryIntent, Refusal
from core.contracts import Leg, Package
from core.events import FillStatus, MinutePassed, NoticeRaised
from core.gateway import OrderRefusedError
from core.journal import RecordKind
from core.parts import PartPlan, Terms, Urgency
from execution.recovery import OrderRecovery
from state.tables import PositionState
from tests.execution.desk import SHORT, WING, Room, hold, naked, put, report, restarted, working
from tests.fake_gateway import FRIDAY, Working


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path, vix=60.0)  # so that the wing has a bid
    made.executor._working._walk.judges.clear()  # what risk thinks of these prices is not tried here
    return made


def part(package: Package, name: str, mid: float, onto: str = "") -> EntryIntent:
    """An entry of one part, alone or onto a position."""
    terms = Terms("friday_0dte", name, 100.0, 100.0)
    return EntryIntent("friday_0dte", FRIDAY, package, terms, mid, None, "", (PartPlan(name, package, terms),), onto)


def long_alone(room: Room, **held: int) -> Working:
    """The order of a spread of which only the long filled, as far as anybody told; ``held``: what the account holds."""
    order = working(room)
    hold(room, **held)
    report(room, order.ids[1], WING, FillStatus.FILLED, 1.0, 8.0, number=2)
    room.gateway.orders.clear()
    report(room, order.ids[0], SHORT, FillStatus.CANCELLED, number=3)
    return order


def wing_alone(room: Room) -> str:
    """An entry of a spread of which only the long filled, as far as anybody told; what it leaves is not sold yet."""
    long_alone(room, wing=1)
    (position,) = room.system.book.positions.values()
    assert [leg.ratio for leg in position.legs] == [1]
    return position.id


def test_a_short_whose_fill_was_lost_keeps_the_long_of_its_package(room: Room) -> None:
    long_alone(room, short=-1, wing=1)  # the short filled too: nobody told
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert len(room.gateway.sent) == 1  # the long is no rest: with its short it is the package that was wanted
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {SHORT: -1, WING: 1}
    assert naked(room) == 0


def test_a_short_that_is_told_while_its_hedge_is_sold_takes_that_back(room: Room) -> None:
    order = long_alone(room, wing=1)
    (sale,) = room.gateway.orders  # what is left of a broken package goes
    assert [(leg.contract, leg.ratio) for leg in sale.package.legs] == [(WING, -1)]
    hold(room, short=-1, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 12.0, number=4)
    assert room.gateway.orders == []
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert naked(room) == 0
    assert room.gateway.held[WING.name][1] == 1


def test_a_short_that_turns_up_while_its_hedge_is_sold_takes_that_back(room: Room) -> None:
    wing_alone(room)
    assert len(room.gateway.orders) == 1
    room.gateway.answers_at_once = lambda: False  # type: ignore[method-assign]
    hold(room, short=-1, wing=1)
    room.system.bus.publish(MinutePassed(time=room.gateway.time))
    assert room.gateway.orders == []


def test_a_short_that_is_nobodys_keeps_the_long_of_its_package_and_is_told(room: Room) -> None:
    told: list[str] = []
    room.system.bus.subscribe(NoticeRaised, lambda event: told.append(event.text), component="test")
    hold(room, short=-1)
    room.system.managers[OrderRecovery].reconcile()  # there before: a person's, as far as anybody knows
    long_alone(room, short=-1, wing=1)
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert room.gateway.held[WING.name][1] == 1
    assert [text for text in told if f"-1 {SHORT.name}, which belongs to nobody" in text] == told[-1:]
    hold(room, wing=1)  # the person bought it back
    room.system.managers[OrderRecovery].reconcile()
    room.minutes(4)
    assert room.gateway.held == {}


def test_what_an_entry_at_work_may_sell_short_keeps_its_hedge(room: Room) -> None:
    one = room.send(part(Package((Leg(WING, 1),)), "long", mid=-8.0), 1)
    assert isinstance(one, str)
    room.minutes(6)
    room.gateway.fills_allowed = False
    assert room.send(part(Package((Leg(SHORT, -1),)), "short", 12.0, one), 1) == one
    position = room.system.book.positions[one]
    room.executor.close(position, "test", "because", Urgency.FINAL, ("long",))
    assert len(room.gateway.orders) == 1  # the entry alone: it may fill any moment


def test_nothing_opens_onto_a_hedge_that_is_being_sold(room: Room) -> None:
    one = room.send(part(Package((Leg(WING, 1),)), "long", mid=-8.0), 1)
    assert isinstance(one, str)
    room.minutes(6)
    room.gateway.fills_allowed = False
    room.executor.close(room.system.book.positions[one], "test", "because", parts=("long",))
    assert len(room.gateway.orders) == 1
    answer = room.send(part(Package((Leg(SHORT, -1),)), "short", 12.0, one), 1)
    assert isinstance(answer, Refusal)
    assert answer.rule == "hedge_goes"


def test_an_exit_of_what_moved_to_another_part_closes_it_there(room: Room) -> None:
    # Two spreads: both shorts fill, no wing. While both are bought back a wing is told late: one short is a package's.
    order = working(room, 2)
    hold(room, short=-2)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -2.0, 12.0, number=2)
    room.gateway.orders.clear()
    report(room, order.ids[1], WING, FillStatus.CANCELLED, number=3)
    (back,) = room.gateway.orders
    assert back.quantity * back.package.legs[0].ratio == 2
    hold(room, short=-2, wing=1)
    report(room, order.ids[1], WING, FillStatus.PARTLY_FILLED, 1.0, 8.0, number=4)
    hold(room, wing=1)
    room.gateway.orders.clear()
    report(room, back.ids[0], SHORT, FillStatus.FILLED, 2.0, 12.5, number=2)
    (position,) = room.system.book.positions.values()
    assert {leg.contract: leg.ratio for leg in position.legs} == {WING: 1}  # and no two shorts bought back of nobody
    room.gateway.fills_allowed = True
    room.minutes(4)
    assert room.gateway.held == {}
    rows = {row["part"]: row for row in room.sink.rows(RecordKind.TRADE_CLOSED)}
    assert sorted(rows) == ["whole", "whole-broken"]
    exits = {name: {leg["name"]: leg["exit"] for leg in row["legs"]} for name, row in rows.items()}
    assert exits["whole-broken"] == {SHORT.name: 12.5}
    assert exits["whole"][SHORT.name] == 12.5
    assert rows["whole-broken"]["cash_in"] + rows["whole-broken"]["cash_out"] == -50.0  # (12.0 - 12.5) x 100


def test_a_refused_exit_of_one_part_keeps_the_unwinding_of_another_over_a_restart(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two spreads and two puts sold beside them; of the spreads' shorts one fills. One spread and one put are whole. The
    # other put is bought back, the other long covers the put that stays. It goes with that, by whatever process.
    beside = put(4900.0)
    room.gateway.subscribe([beside])
    spread, terms = Package((Leg(SHORT, -1), Leg(WING, 1))), Terms("friday_0dte", "test", 100.0, 100.0)
    plans = (PartPlan("spread", spread, terms), PartPlan("naked", Package((Leg(beside, -1),)), terms))
    package = Package((*spread.legs, Leg(beside, -1)))
    room.gateway.fills_allowed = False
    name = room.send(EntryIntent("friday_0dte", FRIDAY, package, terms, 6.0, None, "", plans), 2)
    assert isinstance(name, str)
    (order,) = room.gateway.orders
    for order_id, contract, count in zip(order.ids, (SHORT, WING, beside), (-1, 2, -2), strict=True):
        room.gateway.held[contract.name] = (contract, count)
        report(room, order_id, contract, FillStatus.PARTLY_FILLED, float(count), 5.0, number=2)
    room.gateway.orders.clear()
    room.gateway.fills_allowed = True
    for order_id, contract in zip(order.ids, (SHORT, WING, beside), strict=True):
        report(room, order_id, contract, FillStatus.CANCELLED, number=3)
    room.minutes(4)
    assert {row.name: row.quantity for row in room.gateway.holdings()} == {
        SHORT.name: -1,
        WING.name: 2,
        beside.name: -1,
    }
    assert room.state.position(name).state == PositionState.UNWINDING

    def refuses(*_: object) -> tuple[int, ...]:
        raise OrderRefusedError("refused")

    monkeypatch.setattr(room.gateway, "send", refuses)
    room.executor.close(room.system.book.positions[name], "test", "because", Urgency.NORMAL, ("naked",))
    monkeypatch.undo()
    assert room.state.position(name).state == PositionState.UNWINDING
    restarted(room)
    room.gateway.subscribe([SHORT, WING, beside])
    room.minutes(2)
    room.executor.close(room.system.book.positions[name], "test", "because", Urgency.FINAL, ("naked",))
    room.minutes(6)
    assert {row.name: row.quantity for row in room.gateway.holdings()} == {SHORT.name: -1, WING.name: 1}


def test_what_one_report_told_filled_though_the_account_lacks_it(room: Room) -> None:
    # Reports without an identity may come twice, but the first is true: a person bought the short back meanwhile.
    order = working(room, 2)
    hold(room, wing=1)
    report(room, order.ids[0], SHORT, FillStatus.PARTLY_FILLED, -1.0, 12.0)
    report(room, order.ids[1], WING, FillStatus.PARTLY_FILLED, 1.0, 8.0)
    room.gateway.orders.clear()
    for order_id, leg in zip(order.ids, (SHORT, WING), strict=True):
        report(room, order_id, leg, FillStatus.CANCELLED)
    room.gateway.fills_allowed = True
    room.system.managers[OrderRecovery].reconcile()
    room.minutes(4)
    assert room.gateway.held == {}
    (row,) = room.sink.rows(RecordKind.TRADE_CLOSED)
    assert row["cash_in"] == 400.0  # (12.0 - 8.0) x 100: the short counts
    assert {leg["name"]: leg["exit"] is None for leg in row["legs"]} == {SHORT.name: True, WING.name: False}


def test_a_leg_that_is_filled_whole_is_written_so(room: Room) -> None:
    order = working(room, 2)
    hold(room, short=-2)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 12.0, number=3)  # the report of the other is on its way
    (group,) = room.state.order_groups()
    assert group.detail["filled"] == {SHORT.name: -2.0}
    assert group.detail["priced"] == {SHORT.name: -1.0}


def test_an_entry_filled_unseen_that_the_account_has_no_price_of_counts_at_the_middle_of_its_quotes(room: Room) -> None:
    # At nothing its credit was none, and any loss of it reached a multiple of that: it was stopped at once.
    order = working(room)
    hold(room, short=-1, wing=1)  # the fake's account knows no average price
    room.gateway.orders.clear()
    for order_id, leg in zip(order.ids, (SHORT, WING), strict=True):
        report(room, order_id, leg, FillStatus.FILLED)  # whole, by a report without quantity and price
    (position,) = room.system.book.positions.values()
    (entered,) = position.parts
    assert entered.entry_prices == pytest.approx((7.875, 3.175))  # (7.80 + 7.95) / 2 and (3.10 + 3.25) / 2
    assert entered.entry_cash == pytest.approx(470.0)


def test_the_price_that_is_told_after_all_takes_the_place_of_the_middle(room: Room) -> None:
    order = working(room)
    hold(room, short=-1)
    report(room, order.ids[0], SHORT, FillStatus.FILLED)
    (group,) = room.executor._working
    assert group.fills[SHORT.name].cash == pytest.approx(787.5)
    report(room, order.ids[0], SHORT, FillStatus.FILLED, -1.0, 7.9)
    assert group.fills[SHORT.name].cash == pytest.approx(790.0)
    assert group.fills[SHORT.name].priced


def test_a_short_that_lost_its_hedge_in_another_part_is_bought_back_though_the_process_ends_before_its_order(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A long put as one part, a put sold against it as another. A person sells the long: the short's own part is whole.
    one = room.send(part(Package((Leg(WING, 1),)), "long", mid=-8.0), 1)
    assert isinstance(one, str)
    room.minutes(6)
    assert room.send(part(Package((Leg(SHORT, -1),)), "short", 12.0, one), 1) == one
    room.minutes(6)
    hold(room, short=-1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(room.executor, "unwind", killed)
    with pytest.raises(KeyboardInterrupt):
        room.system.managers[OrderRecovery].reconcile()
    monkeypatch.undo()
    restarted(room)
    room.gateway.subscribe([SHORT, WING])
    room.minutes(3)
    assert room.gateway.held == {}

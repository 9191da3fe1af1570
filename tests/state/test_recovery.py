"""Every kind of difference between state and broker: its rule, its journal row, and what is true afterwards."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from core.contracts import AssetKind, Contract, ExerciseStyle, Leg, Package, Right, Settlement, Underlying
from core.events import FillStatus, Level
from state.facts import (
    RULES,
    BrokerFacts,
    BrokerHolding,
    BrokerOrder,
    DifferenceKind,
    changes_of,
    instruments_of,
)
from state.recovery import Recovery
from state.tables import OrderPurpose, OrderTrigger, PositionTrigger
from tests.state.accounts import (
    C5600,
    C5630,
    CONDOR,
    LATER,
    P5400,
    P5430,
    RATIO,
    SPX,
    SPY,
    SPY530,
    SPY540,
    TODAY,
    Account,
    kinds,
    option,
    order,
)

ES = Underlying("ES", AssetKind.FUTURE, 50.0)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def at_work(package: Package, tag: str, filled: float | None) -> list[BrokerOrder]:
    return [
        order(11 + index, leg.contract.name, leg.ratio, filled, FillStatus.SUBMITTED, tag)
        for index, leg in enumerate(package.legs)
    ]


def test_every_kind_has_a_rule() -> None:
    assert set(RULES) == set(DifferenceKind)


def test_nothing_to_do_when_state_and_account_agree(account: Account) -> None:
    account.opened("p1")
    outcome = account.reconcile(changes_of(CONDOR, 1))
    assert outcome.agreed
    assert account.at("p1") == "open"


def test_an_intent_without_an_order_was_never_sent(account: Account) -> None:
    account.planned("p1", CONDOR, 1)
    account.state.intent(Level.ORDER_GROUP, "p1-in", OrderTrigger.SEND)  # killed here
    outcome = account.reconcile({})
    assert kinds(outcome) == [DifferenceKind.NEVER_SENT, DifferenceKind.LEFT_IN_BETWEEN]
    assert (account.group_at("p1-in"), account.at("p1")) == ("cancelled", "closed")
    assert account.state.strategy("friday_0dte").state == "idle"


@pytest.mark.parametrize("arrived", ["order", "fill", "nothing"])
def test_what_is_not_visible_at_the_first_look_is_not_judged_until_the_second(account: Account, arrived: str) -> None:
    account.planned("p1", CONDOR, 1)
    account.state.intent(Level.ORDER_GROUP, "p1-in", OrderTrigger.SEND)
    first = Recovery(account.state, account.journal).reconcile(BrokerFacts(TODAY, (), (), certain=False))
    assert kinds(first) == [DifferenceKind.IN_DOUBT]
    assert first.in_doubt == {"p1": frozenset(changes_of(CONDOR, 1))}
    assert (account.group_at("p1-in"), account.at("p1"), len(account.state.pending())) == ("planned", "opening", 1)
    account.sink.lines.clear()
    orders = at_work(CONDOR, "", None) if arrived == "order" else []  # the broker gives no tag back
    second = account.reconcile(changes_of(CONDOR, 1) if arrived == "fill" else {}, *orders)
    assert second.in_doubt == {}
    states = {"order": ("sent", "opening"), "fill": ("filled", "open"), "nothing": ("cancelled", "closed")}
    assert (account.group_at("p1-in"), account.at("p1")) == states[arrived]


def test_an_order_that_was_sent_and_not_recorded_is_adopted_never_sent_again(account: Account) -> None:
    account.planned("p1", CONDOR, 1)
    account.state.intent(Level.ORDER_GROUP, "p1-in", OrderTrigger.SEND)
    outcome = account.reconcile({}, *at_work(CONDOR, "p1-in", 0.0))
    assert kinds(outcome) == [DifferenceKind.SENT_UNRECORDED]
    assert account.group_at("p1-in") == "sent"
    assert account.state.order_group("p1-in").detail["orders"] == [11, 12, 13, 14]
    assert account.at("p1") == "opening"


def test_an_order_that_was_sent_filled_and_not_recorded_opens_the_position(account: Account) -> None:
    account.planned("p1", CONDOR, 2)
    account.state.intent(Level.ORDER_GROUP, "p1-in", OrderTrigger.SEND)
    outcome = account.reconcile(changes_of(CONDOR, 2))
    assert DifferenceKind.SENT_UNRECORDED in kinds(outcome)
    assert DifferenceKind.FILLED_WHILE_AWAY in kinds(outcome)
    assert (account.group_at("p1-in"), account.at("p1")) == ("filled", "open")


def test_an_entry_filled_while_away_by_the_holdings_alone(account: Account) -> None:
    account.sent("p1")
    outcome = account.reconcile(changes_of(CONDOR, 1))
    assert kinds(outcome) == [DifferenceKind.FILLED_WHILE_AWAY, DifferenceKind.LEFT_IN_BETWEEN]
    assert (account.group_at("p1-in"), account.at("p1")) == ("filled", "open")
    assert account.state.strategy("friday_0dte").state == "holding"


def test_an_exit_filled_while_away_closes_the_position(account: Account) -> None:
    account.closing("p1")
    outcome = account.reconcile({})
    assert kinds(outcome) == [DifferenceKind.FILLED_WHILE_AWAY, DifferenceKind.LEFT_IN_BETWEEN]
    assert (account.group_at("p1-out"), account.at("p1")) == ("filled", "closed")
    assert account.state.strategy("friday_0dte").state == "idle"


def test_an_entry_cancelled_while_away_leaves_nothing_behind(account: Account) -> None:
    account.sent("p1")
    gone = [order(1 + i, leg.contract.name, leg.ratio, 0.0, FillStatus.CANCELLED) for i, leg in enumerate(CONDOR.legs)]
    outcome = account.reconcile({}, *gone)
    assert kinds(outcome) == [DifferenceKind.CANCELLED_WHILE_AWAY, DifferenceKind.LEFT_IN_BETWEEN]
    assert (account.group_at("p1-in"), account.at("p1")) == ("cancelled", "closed")


def test_an_exit_cancelled_while_away_keeps_the_position(account: Account) -> None:
    account.closing("p1")
    outcome = account.reconcile(changes_of(CONDOR, 1))
    assert kinds(outcome) == [DifferenceKind.CANCELLED_WHILE_AWAY, DifferenceKind.LEFT_IN_BETWEEN]
    assert (account.group_at("p1-out"), account.at("p1")) == ("cancelled", "open")


def test_a_cancel_that_did_not_arrive_is_withdrawn_and_may_be_asked_again(account: Account) -> None:
    account.sent("p1")
    account.state.intent(Level.ORDER_GROUP, "p1-in", OrderTrigger.CANCEL)
    working = [
        order(1 + i, leg.contract.name, leg.ratio, 0.0, FillStatus.SUBMITTED) for i, leg in enumerate(CONDOR.legs)
    ]
    outcome = account.reconcile({}, *working)
    assert outcome.agreed
    assert account.group_at("p1-in") == "sent"
    assert account.state.pending() == ()
    assert account.state.may(Level.ORDER_GROUP, "p1-in", OrderTrigger.CANCEL) is None


def test_whole_packages_of_a_partial_fill_stay(account: Account) -> None:
    account.sent("p1", contracts=3)
    outcome = account.reconcile(changes_of(CONDOR, 2))
    assert kinds(outcome) == [DifferenceKind.PARTLY_FILLED_WHILE_AWAY, DifferenceKind.LEFT_IN_BETWEEN]
    assert (account.group_at("p1-in"), account.at("p1")) == ("cancelled", "open")
    assert account.state.held("p1") == changes_of(CONDOR, 2)
    assert outcome.positions_to_unwind == []


def test_a_package_with_legs_missing_after_a_partial_fill_is_unwound(account: Account) -> None:
    account.sent("p1")
    outcome = account.reconcile({P5430: -1.0, P5400: 1.0})
    assert DifferenceKind.PARTLY_FILLED_WHILE_AWAY in kinds(outcome)
    assert account.at("p1") == "unwinding"
    assert outcome.positions_to_unwind == ["p1"]


@pytest.mark.parametrize("told", [True, False], ids=["told by the order", "told by the holdings"])
def test_a_partial_fill_of_a_working_order_is_noted(account: Account, told: bool) -> None:
    account.sent("p1", contracts=2)
    orders = [
        order(1 + i, leg.contract.name, leg.ratio * 2, leg.ratio if told else None, FillStatus.PARTLY_FILLED)
        for i, leg in enumerate(CONDOR.legs)
    ]
    outcome = account.reconcile(changes_of(CONDOR, 1), *orders)
    assert kinds(outcome) == [DifferenceKind.PARTLY_FILLED_WHILE_AWAY]
    assert account.group_at("p1-in") == "partly_filled"
    assert account.state.order_group("p1-in").detail["filled"] == changes_of(CONDOR, 1)


def test_what_is_in_flight_is_left_to_the_executor_that_follows_it(account: Account) -> None:
    account.opened("held", RATIO)
    account.sent("p1")
    account.closing("p2", CONDOR)
    recovery = Recovery(account.state, account.journal)
    half = {P5430: -1.0, **changes_of(RATIO, 1), "NVDA": 5.0}  # one leg of each is on its way through
    rows = tuple(BrokerHolding(name, quantity) for name, quantity in half.items())
    outcome = recovery.reconcile(BrokerFacts(TODAY, rows, ()), in_flight=("p1-in", "p2-out"))
    assert [(item.kind, item.contract) for item in outcome.differences] == [(DifferenceKind.EXTRA, "NVDA")]
    assert (account.group_at("p1-in"), account.group_at("p2-out")) == ("sent", "sent")
    assert (account.at("p1"), account.at("p2"), account.at("held")) == ("opening", "closing", "open")
    outcome = recovery.reconcile(BrokerFacts(TODAY, rows[:1], ()), in_flight=("p1-in", "p2-out"))
    assert kinds(outcome) == [DifferenceKind.CLOSED_BY_HAND]  # what is not in flight is judged as ever
    assert account.at("held") == "closed"


def test_a_package_closed_by_hand_is_closed(account: Account) -> None:
    account.opened("p1")
    account.opened("p2", RATIO)
    outcome = account.reconcile(changes_of(RATIO, 1))
    assert kinds(outcome) == [DifferenceKind.CLOSED_BY_HAND]
    assert (account.at("p1"), account.at("p2")) == ("closed", "open")
    expected = [(P5400, 1.0), (P5430, -1.0), (C5600, -1.0), (C5630, 1.0)]
    assert [(item.contract, item.expected) for item in outcome.differences] == expected
    assert all(item.observed == 0.0 for item in outcome.differences)


def test_a_different_quantity_of_whole_packages_goes_on_with_the_rest(account: Account) -> None:
    account.opened("p1", contracts=3)
    outcome = account.reconcile(changes_of(CONDOR, 2))
    assert kinds(outcome) == [DifferenceKind.DIFFERENT_QUANTITY]
    assert (account.at("p1"), account.state.held("p1")) == ("open", changes_of(CONDOR, 2))


def test_missing_legs_unwind_what_is_left(account: Account) -> None:
    account.opened("p1")
    outcome = account.reconcile({P5430: -1.0, C5600: -1.0, C5630: 1.0})
    assert kinds(outcome) == [DifferenceKind.MISSING]
    assert [(item.contract, item.expected, item.observed) for item in outcome.differences] == [(P5400, 1.0, 0.0)]
    assert (account.at("p1"), outcome.positions_to_unwind) == ("unwinding", ["p1"])


def test_extra_contracts_are_listed_never_touched_and_remembered_for_risk(account: Account) -> None:
    account.opened("p1")
    outcome = account.reconcile({**changes_of(CONDOR, 1), "NVDA": 30.0, C5630: 2.0})
    assert kinds(outcome) == [DifferenceKind.EXTRA]
    assert outcome.unowned == [BrokerHolding("NVDA", 30.0), BrokerHolding(C5630, 1.0)]
    assert account.state.recall("unowned") == {"NVDA": 30.0, C5630: 1.0}
    assert account.at("p1") == "open"
    account.reconcile(changes_of(CONDOR, 1))
    assert account.state.recall("unowned") == {}


def test_a_contract_turned_around_by_hand_is_missing_and_extra(account: Account) -> None:
    account.opened("p1")
    outcome = account.reconcile({P5400: 1.0, P5430: 1.0, C5600: -1.0, C5630: 1.0})
    assert kinds(outcome) == [DifferenceKind.MISSING, DifferenceKind.EXTRA]
    assert outcome.unowned == [BrokerHolding(P5430, 1.0)]


def test_an_unknown_order_is_listed_and_one_of_an_ended_group_is_to_be_cancelled(account: Account) -> None:
    account.closing("p1")
    account.state.fire(Level.ORDER_GROUP, "p1-out", OrderTrigger.CANCELLED)
    stranger = order(90, "NVDA", 10.0, 0.0, FillStatus.SUBMITTED, "by hand")
    orphan = order(91, P5400, -1.0, 0.0, FillStatus.SUBMITTED, "p1-out")
    outcome = account.reconcile(changes_of(CONDOR, 1), stranger, orphan)
    assert kinds(outcome) == [
        DifferenceKind.LEFT_IN_BETWEEN,
        DifferenceKind.UNKNOWN_ORDER,
        DifferenceKind.ORPHAN_ORDER,
    ]
    assert (outcome.foreign_orders, outcome.orders_to_cancel) == ([stranger], [91])


def test_an_assignment_while_away_makes_the_shares_the_positions_own(account: Account) -> None:
    """Short 2 SPY 530 puts, one assigned: 100 shares bought, one short put and the long 540 put are left."""
    account.opened("p1", RATIO)
    outcome = account.reconcile({SPY540: 1.0, SPY530: -1.0, "SPY": 100.0})
    assert kinds(outcome) == [DifferenceKind.ASSIGNED_WHILE_AWAY]
    assert account.at("p1") == "assigned"
    assert account.state.held("p1") == {SPY540: 1.0, SPY530: -1.0, "SPY": 100.0}
    assert outcome.unowned == []


def test_shares_that_a_person_held_before_are_no_assignment(account: Account) -> None:
    account.opened("p1", RATIO)
    account.reconcile({**changes_of(RATIO, 1), "SPY": 200.0})
    outcome = account.reconcile({"SPY": 200.0}, today=date(2024, 8, 19))
    assert kinds(outcome) == [DifferenceKind.EXPIRED_WHILE_AWAY, DifferenceKind.EXTRA]
    assert account.at("p1") == "expired"


def test_worthless_wings_left_to_expire_are_nobodys_surprise(account: Account) -> None:
    account.opened("p1")
    account.state.fire(Level.POSITION, "p1", PositionTrigger.CLOSE)
    account.group("p1-out", "p1", OrderPurpose.EXIT, {P5430: 1.0, C5600: 1.0})
    account.state.fire(Level.ORDER_GROUP, "p1-out", OrderTrigger.SEND)
    account.state.fire(Level.ORDER_GROUP, "p1-out", OrderTrigger.FILL, filled={P5430: 1.0, C5600: 1.0})
    account.state.fire(Level.POSITION, "p1", PositionTrigger.CLOSED)
    facts = BrokerFacts(TODAY, (BrokerHolding(P5400, 1.0), BrokerHolding(C5630, 1.0)), ())
    assert Recovery(account.state, account.journal).reconcile(facts).agreed
    assert account.reconcile({}, today=date(2024, 7, 8)).agreed


def test_an_assignment_told_by_the_broker_needs_no_shares_in_sight(account: Account) -> None:
    account.opened("p1", RATIO)
    outcome = account.reconcile({SPY540: 1.0}, assigned=(SPY530,))
    assert kinds(outcome) == [DifferenceKind.ASSIGNED_WHILE_AWAY]
    assert (account.at("p1"), account.state.held("p1")) == ("assigned", {SPY540: 1.0})


def test_at_expiry_the_leg_in_the_money_delivers_and_the_other_is_gone(account: Account) -> None:
    """SPY at 535 on the expiry: the long 540 put sells 100 shares, the 530 puts are worthless."""
    account.opened("p1", RATIO)
    outcome = account.reconcile({"SPY": -100.0}, today=date(2024, 8, 19))
    assert kinds(outcome) == [DifferenceKind.ASSIGNED_WHILE_AWAY]
    assert (account.at("p1"), account.state.held("p1")) == ("assigned", {"SPY": -100.0})


def test_a_vertical_of_which_both_legs_deliver_leaves_no_shares_and_has_expired(account: Account) -> None:
    """SPY at 520: the long 540 put sells 100 shares, the short 530 put buys them."""
    vertical = Package((Leg(option(SPY, 540, Right.PUT, LATER), 1), Leg(option(SPY, 530, Right.PUT, LATER), -1)))
    account.opened("p1", vertical)
    outcome = account.reconcile({}, today=date(2024, 8, 19))
    assert kinds(outcome) == [DifferenceKind.EXPIRED_WHILE_AWAY]
    assert account.at("p1") == "expired"


def test_expiry_while_away_ends_the_position_even_with_an_exit_at_work(account: Account) -> None:
    account.closing("p1")
    outcome = account.reconcile({}, today=date(2024, 7, 8))
    assert kinds(outcome) == [
        DifferenceKind.CANCELLED_WHILE_AWAY,
        DifferenceKind.LEFT_IN_BETWEEN,
        DifferenceKind.EXPIRED_WHILE_AWAY,
    ]
    assert (account.group_at("p1-out"), account.at("p1")) == ("cancelled", "expired")


def test_a_short_leg_that_expired_leaves_the_long_one_to_go_on_and_never_the_reverse(account: Account) -> None:
    near, far = option(SPX, 5500, Right.PUT, TODAY), option(SPX, 5500, Right.PUT, LATER)
    account.opened("calendar", Package((Leg(near, -1), Leg(far, 1))))
    account.opened(
        "reverse", Package((Leg(option(SPX, 5300, Right.PUT), 1), Leg(option(SPX, 5300, Right.PUT, LATER), -1)))
    )
    naked = option(SPX, 5300, Right.PUT, LATER).name
    outcome = account.reconcile({far.name: 1.0, naked: -1.0}, today=date(2024, 7, 8))
    assert kinds(outcome) == [DifferenceKind.EXPIRED_WHILE_AWAY]
    assert (account.at("calendar"), account.at("reverse")) == ("open", "unwinding")
    assert outcome.positions_to_unwind == ["reverse"]


def test_of_two_packages_with_a_contract_in_common_the_one_whose_own_legs_are_gone_was_closed(account: Account) -> None:
    shared = option(SPX, 5430, Right.PUT)
    other = Package((Leg(shared, -1), Leg(option(SPX, 5380, Right.PUT), 1)))
    account.opened("first")
    account.opened("second", other)
    outcome = account.reconcile(changes_of(other, 1))
    assert kinds(outcome) == [DifferenceKind.CLOSED_BY_HAND]
    assert (account.at("first"), account.at("second")) == ("closed", "open")


def test_what_an_option_delivers() -> None:
    assert instruments_of(RATIO)[SPY530] == {"expiry": "2024-08-16", "underlying": "SPY", "shares": -100.0}
    assert instruments_of(CONDOR)[P5400]["shares"] == 0.0
    future_option = Contract(
        ES, "E3A", TODAY, 5500, Right.CALL, ExerciseStyle.AMERICAN, Settlement.PHYSICAL_FUTURE, 50.0
    )
    assert instruments_of(Package((Leg(future_option, -1),)))[future_option.name]["shares"] == 1.0
    assert changes_of(RATIO, 3) == {SPY540: 3.0, SPY530: -6.0}


def test_an_order_without_a_tag_is_never_known_by_the_engine_s_number(account: Account) -> None:
    """The engine counts from 1 again: a working exit has the number of the entry that filled (recording X)."""
    account.closing("p1")
    exits = [
        order(1 + index, leg.contract.name, leg.ratio, None, FillStatus.SUBMITTED)
        for index, leg in enumerate(CONDOR.reversed().legs)
    ]
    assert account.state.order_group("p1-in").detail["orders"] == [1, 2, 3, 4]
    outcome = account.reconcile(changes_of(CONDOR, 1), *exits)
    assert outcome.orders_to_cancel == []
    assert account.group_at("p1-out") in ("sent", "working")
    assert account.state.order_group("p1-out").detail["orders"] == [1, 2, 3, 4]


def test_an_orphan_without_a_tag_is_known_by_the_broker_s_own_number(account: Account) -> None:
    account.opened("p1")
    account.state.note(Level.ORDER_GROUP, "p1-in", broker_ids=["B7"])
    leg = CONDOR.legs[0]
    left = BrokerOrder(9, leg.contract.name, leg.ratio, None, FillStatus.SUBMITTED, "", ("B7",))
    strange = BrokerOrder(1, leg.contract.name, leg.ratio, None, FillStatus.SUBMITTED, "", ("B8",))
    outcome = account.reconcile(changes_of(CONDOR, 1), left, strange)
    assert outcome.orders_to_cancel == [9]
    assert [row.order_id for row in outcome.foreign_orders] == [1]  # its number says nothing

"""What is asked before an order leaves, in numbers: cover, what is on its way out, and orders that are safe alone."""

from __future__ import annotations

from core.contracts import Contract, Leg, Package, Right
from execution.groups import OrderGroup, clipped
from execution.walking import as_orders, bares, sellable, without_flying
from state.tables import OrderPurpose
from tests.execution.desk import NOON, SPXW, put
from tests.fake_gateway import FRIDAY


def call(strike: float) -> Contract:
    return SPXW.contract(FRIDAY, strike, Right.CALL, "handle")


SHORT, WING, CALL, FAR = put(4950.0), put(4920.0), call(5050.0), call(5080.0)
CONDOR = (Leg(SHORT, -2), Leg(WING, 2), Leg(CALL, -2), Leg(FAR, 2))


def test_a_long_that_covers_is_not_sold_and_one_too_many_is() -> None:
    assert bares(CONDOR, (Leg(WING, 2),))  # two short puts would stand alone
    assert bares(CONDOR, (Leg(WING, 1),))
    assert not bares(CONDOR, (Leg(SHORT, -2), Leg(WING, 2)))  # both sides of it, in one order
    assert not bares(CONDOR, (Leg(SHORT, -2),))
    assert not bares((Leg(SHORT, -1), Leg(WING, 2)), (Leg(WING, 1),))  # the second wing covers nothing
    assert not bares((Leg(SHORT, -2),), (Leg(SHORT, -1),))  # naked as it is: less of it is no worse


def test_of_several_longs_only_so_many_go_together_that_the_shorts_stay_covered() -> None:
    other = put(4900.0)
    held = (Leg(SHORT, -1), Leg(WING, 1), Leg(other, 1), Leg(FAR, 1))
    # Either of the two puts covers the short one, so one of them may go, not both; the call covers nothing.
    assert sellable(held, (Leg(WING, 1), Leg(other, 1), Leg(FAR, 1))) == (Leg(WING, 1), Leg(FAR, 1))
    assert sellable(held, (Leg(WING, 1),)) == (Leg(WING, 1),)
    assert sellable((Leg(SHORT, -2), Leg(WING, 5)), (Leg(WING, 5),)) == (Leg(WING, 3),)  # two of five cover the shorts
    assert sellable(CONDOR, (Leg(WING, 2), Leg(FAR, 2))) == ()


def test_a_long_that_an_order_is_selling_covers_nothing_any_more() -> None:
    held = (Leg(SHORT, -1), Leg(WING, 2))
    out = OrderGroup("g", "p", "s", OrderPurpose.UNWIND, Package((Leg(WING, -1),)), 1, NOON)
    left = without_flying(held, (out,))
    assert left == (Leg(SHORT, -1), Leg(WING, 1))
    assert not bares(held, (Leg(WING, 1),))
    assert bares(left, (Leg(WING, 1),))  # the first one is on its way out: the second stays
    back = OrderGroup("h", "p", "s", OrderPurpose.UNWIND, Package((Leg(SHORT, 1),)), 1, NOON)
    assert without_flying(held, (back,)) == held  # a short that is being bought back is still there


def test_more_legs_than_an_order_takes_go_shorts_first() -> None:
    assert as_orders(CONDOR, 4) == [CONDOR]
    wide = (*CONDOR, Leg(put(4800.0), -1), Leg(put(4700.0), 1))
    shorts, longs = [leg for leg in wide if leg.ratio < 0], [leg for leg in wide if leg.ratio > 0]
    assert as_orders(wide, 4) == [tuple(shorts), tuple(longs)]
    assert [len(order) for order in as_orders(wide, 2)] == [2, 1, 2, 1]


def test_as_much_of_each_leg_goes_as_is_held_of_it() -> None:
    legs = (Leg(put(4950.0), -3), Leg(put(4920.0), 2), Leg(put(4900.0), -1), Leg(put(4880.0), 1))
    held = {put(4950.0).name: -1.0, put(4920.0).name: 5.0, put(4900.0).name: 2.0}
    assert clipped(legs, held) == (Leg(put(4950.0), -1), Leg(put(4920.0), 2))

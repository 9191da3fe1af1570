"""The embedded engine's broker with faults: refusals, parts, and an algorithm that is told late, twice or never."""

from __future__ import annotations

from typing import Any

from simulation.faults.kinds import Fault, FaultSettings
from tests.simulation.playing import SPX, Recorder, add_vertical, at, credit_legs, play, vertical_market


def vertical(*on: Fault, seed: int = 1, usual: float = 1.0, cancel: bool = False) -> Recorder:
    """Two spreads sold at a price that is there, under faults that strike at a rate."""

    def script(algorithm: Recorder) -> None:
        add_vertical(algorithm)
        sent: list[Any] = []

        def send() -> None:
            sent.extend(algorithm.combo_limit_order(credit_legs(), 2, -5.0 if cancel else -1.0))

        algorithm.do_at("09:35", send)
        if cancel:
            algorithm.do_at("09:40", lambda: sent[0].cancel())

    market = vertical_market()
    for minute in range(3, 30):
        market.trade(SPX, at(f"10:{minute:02d}"), 5450.0)
    return play(market, script, cash=1_000_000.0, faults=FaultSettings(seed, frozenset(on), usual, rates={}))


def test_a_refused_order_is_invalid_on_every_leg() -> None:
    algorithm = vertical(Fault.REJECTED)
    assert [algorithm.statuses(1)[-1], algorithm.statuses(2)[-1]] == ["INVALID", "INVALID"]
    assert algorithm.fills() == []


def test_without_a_fault_both_legs_fill_at_once() -> None:
    algorithm = vertical()
    assert sorted(row[:2] for row in algorithm.fills()) == [(1, 2.0), (2, -2.0)]


def test_legs_fill_one_after_the_other_and_all_of_them_in_the_end() -> None:
    algorithm = vertical(Fault.LEGS_PARTLY)
    assert [row[:2] for row in algorithm.fills()] == [(2, -2.0), (1, 2.0)]  # at once it is the first leg first


def test_quantities_fill_in_parts_that_add_up() -> None:
    algorithm = vertical(Fault.QUANTITY_PARTLY, seed=2)
    total: dict[int, float] = {}
    for order_id, quantity, _ in algorithm.fills():
        total[order_id] = total.get(order_id, 0.0) + quantity
    assert total == {1: 2.0, 2: -2.0}
    assert "PARTIALLY_FILLED" in algorithm.statuses(1) + algorithm.statuses(2)


def test_a_refused_cancel_leaves_the_order_and_says_nothing_of_it() -> None:
    algorithm = vertical(Fault.CANCEL_REFUSED, cancel=True)
    assert algorithm.statuses(1) == ["SUBMITTED", "CANCEL_PENDING"]
    assert len(list(algorithm.transactions.get_open_orders())) == 2


def test_what_is_lost_is_not_told_though_the_account_has_it() -> None:
    algorithm = vertical(Fault.LOST)
    assert algorithm.seen == []
    held = {str(row.symbol): row.holdings.quantity for row in algorithm.portfolio.invested_securities.values()}
    assert sorted(held.values()) == [-2.0, 2.0]


def test_what_is_duplicated_is_told_twice_and_booked_once() -> None:
    algorithm = vertical(Fault.DUPLICATED)
    assert [row[1] for row in algorithm.fills() if row[0] == 1] == [2.0, 2.0]
    assert sorted(row.holdings.quantity for row in algorithm.portfolio.invested_securities.values()) == [-2.0, 2.0]

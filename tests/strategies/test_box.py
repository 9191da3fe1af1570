"""Box spread: when a person wants cash, at which rate, how wide, and that nothing but its expiry ends it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.contracts import Right
from core.journal import RecordKind
from core.parts import Trait
from strategies.box import Box
from tests.fake_gateway import build, run_day
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, decided, gateway, hold, part, position, run

WEDNESDAY = date(2024, 3, 6)
EXPIRY = date(2026, 3, 6)  # 730 days on, a Friday
RATE = {"greeks__risk_free_rate": "0.02"}  # what the fake market lends at, continuous
SIMPLE = (math.exp(0.04) - 1) / 2  # 2.04 % a year over two years


def market(folder: Path, day: date = WEDNESDAY, **options: Any) -> RowGateway:
    found = gateway(folder, day, **options)
    found.roots = frozenset({"SPX", "SPXW"})
    return found


def borrow(folder: Path, wanted: str = "100000", **parameters: str) -> tuple[RowGateway, Any, Any]:
    fake = market(folder)
    system, sink = run(fake, WEDNESDAY, "box", time(11, 10), **{**RATE, "box__cash_wanted": wanted, **parameters})
    return fake, sink, system


def test_it_is_off_until_a_person_wants_cash_and_says_so_once(tmp_path: Path) -> None:
    fake, sink, system = borrow(tmp_path, "0")
    run_day(system, fake, WEDNESDAY + timedelta(days=7), until=time(11, 10))
    assert (decided(sink), fake.sent) == ([], [])
    said = [row for row in sink.rows(RecordKind.SYSTEM) if "box.cash_wanted is 0" in str(row["reason"])]
    assert len(said) == 1
    _, sink = run(market(tmp_path / "other"), WEDNESDAY, "ratio", time(11, 10))
    assert not any("box.cash_wanted" in str(row["reason"]) for row in sink.rows(RecordKind.SYSTEM))


def test_a_box_of_500_about_the_index_on_the_longest_expiry(tmp_path: Path) -> None:
    fake, sink, system = borrow(tmp_path)
    assert decided(sink) == [("trade", "filled")], sink.rows(RecordKind.DECISION)
    when, package, contracts, limit = fake.sent[0]
    assert when.time() == time(11)
    assert {leg.contract.expiry for leg in package.legs} == {EXPIRY}
    assert {leg.contract.root for leg in package.legs} == {"SPX"}
    ratios = {(leg.contract.right, leg.contract.strike): leg.ratio for leg in package.legs}
    # 4750 and 5250 stand about 5000: the sold call spread owes up to 500 above, the sold put spread up to 500 below.
    assert ratios == {
        (Right.CALL, 4750.0): -1,
        (Right.CALL, 5250.0): 1,
        (Right.PUT, 5250.0): -1,
        (Right.PUT, 4750.0): 1,
    }
    # 500 x e^-0.04 = 480.39: 48,039 dollars, of which 100,000 hold two.
    assert limit == pytest.approx(500 * math.exp(-0.04), abs=0.5)
    assert contracts == 2
    (held,) = system.book.positions.values()
    assert held.traits == {Trait.NO_VOLATILITY_SOLD, Trait.HELD_BY_PERSON, Trait.SPARED_BY_21_DTE}


@pytest.mark.parametrize(
    ("wanted", "width", "contracts"),
    [
        ("48200", 500.0, 1),
        ("47900", 400.0, 1),  # 500 would bring 48,039
        ("20000", 200.0, 1),  # 19,216
        ("9700", 100.0, 1),  # 9,608
    ],
)
def test_the_widest_that_brings_no_more_than_is_wanted(
    tmp_path: Path, wanted: str, width: float, contracts: int
) -> None:
    fake, sink, _ = borrow(tmp_path, wanted)
    assert fake.sent, sink.rows(RecordKind.DECISION)
    strikes = [leg.contract.strike for leg in fake.sent[0][1].legs]
    assert (max(strikes) - min(strikes), fake.sent[0][2]) == (width, contracts)


def test_less_than_the_smallest_box_is_not_borrowed_and_what_stands_counts(tmp_path: Path) -> None:
    _, sink, _ = borrow(tmp_path / "small", "9000")
    assert decided(sink) == [("skip", "cash_wanted")]
    fake, sink, system = borrow(tmp_path / "again", "50000")
    run_day(system, fake, WEDNESDAY + timedelta(days=7), until=time(11, 10))
    assert decided(sink) == [("trade", "filled"), ("skip", "cash_wanted")]  # 1,961 of 50,000 are left


@pytest.mark.parametrize(
    ("free", "width", "rule"),
    [
        # The market lends at 2.04 % simple. Against so much less: full size within 0.25 %, half of 100,000 within
        # 0.50 %, a quarter within 1.00 %, nothing beyond.
        (0.0180, 500.0, "filled"),
        (0.0160, 500.0, "filled"),
        (0.0120, 200.0, "filled"),
        (0.0095, 0.0, "rate"),
    ],
)
def test_the_farther_its_rate_is_from_the_risk_free_one_the_smaller(
    tmp_path: Path, free: float, width: float, rule: str
) -> None:
    fake, sink, _ = borrow(tmp_path, greeks__risk_free_rate=str(free))
    assert [row[1] for row in decided(sink)] == [rule], sink.rows(RecordKind.DECISION)
    if width:
        strikes = [leg.contract.strike for leg in fake.sent[0][1].legs]
        assert max(strikes) - min(strikes) == width
        assert fake.sent[0][2] == (2 if free > 0.017 else 1)


def test_never_at_the_brokers_rate(tmp_path: Path) -> None:
    _, sink, _ = borrow(tmp_path, box__broker_margin_rate="0.02")
    assert decided(sink) == [("skip", "rate")]
    row = sink.rows(RecordKind.DECISION)[0]
    assert row["observed"] == pytest.approx(SIMPLE, abs=0.0005)


def test_it_walks_from_mid_to_the_rate_and_not_to_natural(tmp_path: Path) -> None:
    fake = market(tmp_path)
    fake.half_spread = 0.9  # natural is 3.6 points and more under mid: (500 / 476.7 - 1) / 2 = 2.44 % a year
    fake.fills_allowed = False
    stood: list[float] = []
    reprice = fake.reprice

    def watched(order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        stood.append(limit_cash)
        return reprice(order_ids, limit_cash, tag)

    fake.reprice = watched  # type: ignore[method-assign]
    _, sink = run(fake, WEDNESDAY, "box", time(11, 25), **RATE, box__cash_wanted="50000")
    least = 500 / (1 + (SIMPLE + 0.0025) * 2)  # 478.1
    assert fake.sent[0][3] == pytest.approx(480.4, abs=0.6)
    assert min(stood) == pytest.approx(math.ceil(least / 0.05) * 0.05)  # it rests at the rate to the end of its walk
    assert decided(sink) == [("skip", "not_filled")]


def test_days_and_expiries(tmp_path: Path) -> None:
    thursday = WEDNESDAY + timedelta(days=1)
    wanted = {**RATE, "box__cash_wanted": "50000"}
    _, sink = run(market(tmp_path / "a", thursday), thursday, "box", time(11, 5), **wanted)
    assert decided(sink) == []
    fake = market(tmp_path / "b")
    fake.expires = lambda day: day < WEDNESDAY + timedelta(days=365)
    _, sink = run(fake, WEDNESDAY, "box", time(11, 5), **wanted)
    assert decided(sink) == [("skip", "no_expiry")]


def test_nothing_closes_it(tmp_path: Path) -> None:
    system, _ = build(market(tmp_path), **ARRIVED)
    row = system.managers[Box]
    legs = {
        contract("SPX", EXPIRY, 4750.0, Right.CALL): (-1, 900.0),
        contract("SPX", EXPIRY, 5250.0, Right.CALL): (1, 650.0),
        contract("SPX", EXPIRY, 5250.0): (-1, 700.0),
        contract("SPX", EXPIRY, 4750.0): (1, 470.0),
    }
    held = position(row, part(row, "whole", legs, at(WEDNESDAY, 11, 1)))  # 480 brought
    for value in (-100.0, -480.0, -499.0, -900.0, None):
        for now in (at(WEDNESDAY, 12), at(EXPIRY - timedelta(days=21), 12), at(EXPIRY, 9, 31)):
            assert acts(row, held, hold(now, {"whole": value}, 5000.0)) == [("Hold", ())]
    assert row.deadlines() == ()

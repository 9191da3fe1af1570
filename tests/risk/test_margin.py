"""Margin of thirty structures, worked by hand from the published formulas, and the best pairing against every other.

tastytrade's help pages are tastyworks.freshdesk.com/support/solutions/articles/: 43000435177 naked put, 43000435282
straddle and strangle, 43000435229 iron condor, 43000435217 long butterfly, 43000435207 short butterfly, 43000435296
long calendar, 43000435298 short calendar, 43000435385 indices. IBM and SPX rows: Cboe, "Margin Requirement Examples for
Sample Options-based Positions" (IBM 97.73, SPX 1451.19; without the premium, as printed). The others: Cboe's margin
manual.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import (
    AssetKind,
    Contract,
    ExerciseStyle,
    Leg,
    Package,
    Right,
    Settlement,
    Underlying,
    uncovered,
)
from core.settings.fields import CircuitBreakerSettings, MarginSettings
from risk.margin import breaker_level, buying_power, is_loan, naked, package_margin, requirement

RULES = MarginSettings()
MARCH, JUNE = date(2024, 3, 15), date(2024, 6, 21)
Row = tuple[int, str, float, float]  # contracts, right with its expiry (P, C, later p, c), strike, price


def legs_of(kind: AssetKind, rows: list[Row]) -> tuple[list[Leg], list[float]]:
    ticker = {AssetKind.INDEX: "SPX", AssetKind.EQUITY: "XYZ", AssetKind.FUTURE: "ES"}[kind]
    settlement = {
        AssetKind.INDEX: Settlement.CASH_AFTERNOON, AssetKind.EQUITY: Settlement.PHYSICAL_SHARES,
        AssetKind.FUTURE: Settlement.PHYSICAL_FUTURE,
    }[kind]  # fmt: skip
    style = ExerciseStyle.EUROPEAN if kind is AssetKind.INDEX else ExerciseStyle.AMERICAN
    multiplier = 50.0 if kind is AssetKind.FUTURE else 100.0

    def contract(letter: str, strike: float) -> Contract:
        right = Right.PUT if letter in "Pp" else Right.CALL
        expiry = MARCH if letter.isupper() else JUNE
        return Contract(Underlying(ticker, kind), ticker, expiry, strike, right, style, settlement, multiplier)

    return [Leg(contract(letter, strike), count) for count, letter, strike, _ in rows], [price for *_, price in rows]


def asked(spot: float, rows: list[Row], kind: AssetKind = AssetKind.EQUITY, rules: MarginSettings = RULES) -> float:
    legs, prices = legs_of(kind, rows)
    return requirement(legs, spot, prices, rules)


def used(spot: float, rows: list[Row], kind: AssetKind = AssetKind.EQUITY) -> float:
    legs, prices = legs_of(kind, rows)
    return buying_power(legs, spot, prices, RULES)


EQUITY: dict[str, tuple[float, list[Row], float]] = {
    # tastytrade's examples
    "naked put": (47.5, [(-1, "P", 45, 0.50)], 750.0),  # (0.2 x 47.5 - 2.5 + 0.5) x 100
    "strangle": (45.0, [(-1, "C", 47, 2.10), (-1, "P", 43, 1.20)], 1_030.0),  # call side 910 and 120 of the put
    "iron condor": (60.0, [(2, "P", 50, 0.8), (-2, "P", 53, 1.25), (-2, "C", 67, 2.0), (2, "C", 70, 0.75)], 600.0),
    "long butterfly": (50.0, [(4, "C", 40, 12.5), (-8, "C", 50, 6.0), (4, "C", 60, 1.5)], 0.0),
    "short butterfly": (80.0, [(-3, "P", 75, 1.5), (6, "P", 80, 4.0), (-3, "P", 85, 6.0)], 1_500.0),
    "long calendar": (43.0, [(4, "c", 43, 3.0), (-4, "C", 43, 1.0)], 0.0),
    "short calendar": (40.0, [(2, "C", 43, 3.5), (-2, "c", 43, 4.0)], 1_800.0),  # (0.2 x 40 - 3 + 4) x 200, long unused
    # the exchange's manual
    "naked put far out": (100.0, [(-1, "P", 60, 0.30)], 630.0),  # the floor: 0.1 x 60 + 0.3
    "naked put of a cheap share": (5.0, [(-1, "P", 5, 0.20)], 250.0),  # the minimum, 2.50 a share; 1.20 by formula
    "naked call far out": (100.0, [(-1, "C", 140, 0.30)], 1_030.0),  # floor of the underlying: 10 + 0.3
    "naked call in the money": (100.0, [(-1, "C", 90, 11.0)], 3_100.0),  # 0.2 x 100 + 11
    "straddle": (100.0, [(-1, "C", 100, 4.0), (-1, "P", 100, 4.0)], 2_800.0),  # 20 + 4, and 4
    "put credit spread": (100.0, [(-1, "P", 95, 2.0), (1, "P", 90, 1.0)], 500.0),
    "call credit spread": (100.0, [(-1, "C", 105, 2.0), (1, "C", 110, 1.0)], 500.0),
    "put debit spread": (100.0, [(1, "P", 95, 2.0), (-1, "P", 90, 1.0)], 0.0),
    "call debit spread": (100.0, [(1, "C", 100, 4.0), (-1, "C", 110, 1.0)], 0.0),
    "uneven condor": (100.0, [(1, "P", 85, 0.4), (-1, "P", 95, 2.0), (-1, "C", 105, 2.0), (1, "C", 110, 1.0)], 1_000.0),
    "iron butterfly": (100.0, [(1, "P", 90, 1.0), (-1, "P", 100, 4.0), (-1, "C", 100, 4.0), (1, "C", 110, 1.0)], 1e3),
    "broken wing": (100.0, [(1, "P", 100, 4.0), (-2, "P", 95, 2.0), (1, "P", 85, 0.5)], 500.0),  # 10 less 5
    "long straddle": (100.0, [(1, "C", 100, 4.0), (1, "P", 100, 4.0)], 0.0),
    "leap": (550.0, [(1, "c", 440, 125.0)], 0.0),
    "covered leap": (550.0, [(1, "c", 440, 125.0), (-1, "C", 555, 5.0)], 0.0),  # row 5
    "diagonal under its long": (550.0, [(1, "p", 520, 9.0), (-1, "P", 525, 7.0)], 500.0),  # row 9: 525 - 520
    "diagonal over its long": (550.0, [(1, "p", 530, 11.0), (-1, "P", 525, 7.0)], 0.0),
    "ratio": (500.0, [(1, "P", 480, 4.0), (-2, "P", 460, 2.0)], 6_200.0),  # row 8: one naked, 0.2 x 500 - 40 + 2
    "strangle with ratio": (  # row 10 (a): puts 6,200 as above; calls 0.2 x 500 - 40 + 1 = 6,100; larger and premium
        500.0, [(1, "P", 480, 4.0), (-2, "P", 460, 2.0), (-1, "C", 540, 1.0)], 6_300.0,
    ),
    "put and call credit spread": (500.0, [(-1, "P", 450, 3.0), (-1, "C", 540, 1.0), (1, "C", 545, 0.5)], 5_300.0),
    "spread wider than it is worth": (100.0, [(-1, "P", 95, 2.0), (1, "P", 20, 0.01)], 1_700.0),  # naked: 15 + 2
    "guts": (100.0, [(-1, "C", 90, 11.0), (1, "C", 95, 7.0), (-1, "P", 110, 11.0), (1, "P", 105, 7.0)], 1_000.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUITY)
def test_structures_on_shares(name: str) -> None:
    spot, rows, expected = EQUITY[name]
    assert asked(spot, rows) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "spot", "kind", "printed"),
    [
        # as printed, for 100 contracts and without their premium: 0.2 x 97.73 less 2.27 out of the money; in the money
        ([(-100, "C", 100, 1.68)], 97.73, AssetKind.EQUITY, 172_760.0),
        ([(-100, "P", 100, 3.18)], 97.73, AssetKind.EQUITY, 195_460.0),
        # 0.15 x 1451.19 less 8.81; in the money
        ([(-100, "C", 1460, 21.66)], 1451.19, AssetKind.INDEX, 2_088_685.0),
        ([(-100, "P", 1460, 22.55)], 1451.19, AssetKind.INDEX, 2_176_785.0),
    ],
)
def test_the_exchanges_printed_examples(rows: list[Row], spot: float, kind: AssetKind, printed: float) -> None:
    premium = 100.0 * 100.0 * rows[0][3]
    assert asked(spot, rows, kind) - premium == pytest.approx(printed)


def test_structures_on_the_index() -> None:
    index = AssetKind.INDEX
    # 0DTE condor, wider side 50; put spread 30
    condor: list[Row] = [(-1, "P", 4950, 4.0), (1, "P", 4920, 1.0), (-1, "C", 5050, 3.0), (1, "C", 5100, 0.5)]
    assert asked(5000.0, condor, index) == 5_000.0
    assert asked(5000.0, condor[:2], index) == 3_000.0
    # floor: 10 % of the strike
    assert asked(5000.0, [(-1, "P", 4500, 10.0)], index) == pytest.approx(46_000.0)
    # row 7: nothing beyond its price
    assert asked(5000.0, [(1, "P", 5000, 9.0), (-2, "P", 4990, 5.0), (1, "P", 4980, 3.0)], index) == 0.0
    # no calendar in a cash-settled index: the short is naked, 0.15 x 5000 + 60; in shares the long covers it
    calendar: list[Row] = [(1, "p", 5000, 120.0), (-1, "P", 5000, 60.0)]
    assert asked(5000.0, calendar, index) == pytest.approx(81_000.0)
    assert asked(5000.0, calendar) == 0.0
    # what tastytrade itself holds: 25 % and a floor of 15 %
    house = MarginSettings(naked_index=0.25, naked_floor=0.15)
    assert asked(5000.0, [(-1, "P", 4500, 10.0)], index, house) == pytest.approx(76_000.0)  # 1250 - 500 + 10


def test_lt112_leaves_the_cheapest_puts_naked() -> None:
    # row 2 at 5000: +1 4850, -1 4800, -2 4400. The long covers the 4800 (0); two 4400 at 10 % and 10 points:
    # 2 x (440 + 10) x 100 = 90,000. Covering a 4400 instead leaves the 4800 naked: 45,000 + (750 - 200 + 90) x 100
    lt112: list[Row] = [(1, "P", 4850, 100.0), (-1, "P", 4800, 90.0), (-2, "P", 4400, 10.0)]
    assert asked(5000.0, lt112, AssetKind.INDEX) == pytest.approx(90_000.0)


def test_a_box_asks_its_width_and_takes_only_the_interest_of_buying_power() -> None:
    # row 6: sold for 475 of 500: asks 50,000, takes 2,500; a long box asks nothing and takes its price
    box: list[Row] = [(-1, "C", 4750, 300.0), (1, "C", 5250, 60.0), (1, "P", 4750, 60.0), (-1, "P", 5250, 295.0)]
    assert asked(5000.0, box, AssetKind.INDEX) == 50_000.0
    assert used(5000.0, box, AssetKind.INDEX) == pytest.approx(2_500.0)
    long_box = [(-count, letter, strike, price) for count, letter, strike, price in box]
    assert asked(5000.0, long_box, AssetKind.INDEX) == 0.0
    assert used(5000.0, long_box, AssetKind.INDEX) == pytest.approx(47_500.0)
    assert is_loan(legs_of(AssetKind.INDEX, box)[0])
    assert not is_loan(legs_of(AssetKind.INDEX, long_box)[0])
    assert not is_loan(legs_of(AssetKind.EQUITY, box)[0])  # American: it may be exercised against us
    assert not is_loan(legs_of(AssetKind.INDEX, [(-1, "P", 4500, 10.0)])[0])
    assert used(5000.0, [(-1, "P", 4950, 4.0), (1, "P", 4920, 1.0)], AssetKind.INDEX) == 3_000.0  # a credit counts not


def test_buying_power_is_the_requirement_and_the_debit_paid() -> None:
    assert used(50.0, EQUITY["long butterfly"][1]) == pytest.approx(800.0)  # tastytrade's example
    assert used(43.0, EQUITY["long calendar"][1]) == pytest.approx(800.0)  # the same
    assert used(40.0, EQUITY["short calendar"][1]) == pytest.approx(1_800.0)  # a net credit of 100: it asks the short
    assert used(550.0, EQUITY["leap"][1]) == pytest.approx(12_500.0)
    assert used(550.0, EQUITY["diagonal under its long"][1]) == pytest.approx(700.0)  # 500 and a debit of 200


def test_options_on_futures_ask_the_futures_range_and_their_premium() -> None:
    # ES: 0.07 x 5000 + 8 points x 50; of two sides the larger and the other's premium; covered ones their width
    es = AssetKind.FUTURE
    assert asked(5000.0, [(-1, "P", 4500, 8.0)], es) == pytest.approx(50 * 358.0)
    assert asked(5000.0, [(-1, "P", 4500, 8.0), (-1, "C", 5600, 6.0)], es) == pytest.approx(50 * (358.0 + 6.0))
    assert asked(5000.0, [(-1, "P", 4500, 8.0), (1, "P", 4450, 7.0)], es) == 2_500.0


def test_a_put_sold_long_ago_asks_more_as_its_underlying_falls() -> None:
    # 440 put: at 600 the floor of 44 and its 8 points, 5,200; at 480: 0.2 x 480 - 40 + 35 = 91, 9,100
    assert asked(600.0, [(-1, "P", 440, 8.0)]) == pytest.approx(5_200.0)
    assert asked(480.0, [(-1, "P", 440, 35.0)]) == pytest.approx(9_100.0)


def test_a_broker_that_raises_house_margin_by_half() -> None:
    assert asked(480.0, [(-1, "P", 440, 35.0)], rules=MarginSettings(house_multiple=1.5)) == pytest.approx(13_650.0)


@pytest.mark.parametrize(
    ("vix", "phase", "level"),
    [(12.0, 4, 0.80), (19.99, 4, 0.80), (20.0, 4, 0.70), (30.0, 4, 0.60), (40.0, 4, 0.50), (None, 4, 0.50),
     (12.0, 1, 0.60), (25.0, 1, 0.60), (35.0, 1, 0.60), (45.0, 1, 0.50)],
)  # fmt: skip
def test_the_margin_breakers_level(vix: float | None, phase: int, level: float) -> None:
    assert breaker_level(vix, phase, CircuitBreakerSettings()) == level


def test_the_margin_breakers_bounds_are_settings() -> None:
    early = CircuitBreakerSettings(vix_raised=15.0, vix_high=22.0, vix_extreme=28.0)
    assert [breaker_level(vix, 4, early) for vix in (14.9, 15.0, 22.0, 28.0)] == [0.80, 0.70, 0.60, 0.50]


ROWS = st.lists(
    st.tuples(st.integers(-3, 3).filter(bool), st.sampled_from("PCpc"), st.integers(16, 24).map(lambda n: n * 5.0)),
    min_size=1, max_size=5, unique_by=lambda row: row[1:],
)  # fmt: skip


def priced(rows: list[tuple[int, str, float]], spot: float) -> list[Row]:
    """Intrinsic value and three points."""
    return [
        (count, letter, strike, 3.0 + max(spot - strike if letter in "Cc" else strike - spot, 0.0))
        for count, letter, strike in rows
    ]


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from([85.0, 100.0, 117.0]))
def test_no_pairing_asks_less_than_what_is_asked(rows: list[tuple[int, str, float]], spot: float) -> None:
    # every way to leave shorts naked, margined one by one, is at least the answer; twice the contracts ask twice
    legs, prices = legs_of(AssetKind.EQUITY, priced(rows, spot))
    best = requirement(legs, spot, prices, RULES)
    price_of = {leg.contract.name: price for leg, price in zip(legs, prices, strict=True)}
    shorts = [leg for leg in legs if leg.ratio < 0]
    for counts in product(*(range(1 - leg.ratio) for leg in shorts)):
        rest = [Leg(leg.contract, leg.ratio + n) for leg, n in zip(shorts, counts, strict=True) if leg.ratio + n]
        longs = [leg for leg in legs if leg.ratio > 0]
        if uncovered([*longs, *rest]):
            continue
        alone = sum(
            n * naked(leg.contract, spot, price_of[leg.contract.name], RULES)
            for leg, n in zip(shorts, counts, strict=True)
        )
        covered = [*longs, *rest]
        apart = sum(
            requirement([leg for leg in covered if leg.contract.right is right], spot, [
                price_of[leg.contract.name] for leg in covered if leg.contract.right is right
            ], RULES)
            for right in Right
            if any(leg.contract.right is right for leg in covered)
        )  # fmt: skip
        assert best <= alone + apart + 0.01
    twice = [Leg(leg.contract, 2 * leg.ratio) for leg in legs]
    assert requirement(twice, spot, prices, RULES) == pytest.approx(2 * best)
    assert best >= 0.0
    if not uncovered(legs) and all(leg.ratio > 0 for leg in legs):
        assert best == 0.0


def test_very_many_shorts_are_paired_with_the_dearest_covered_first() -> None:
    # 100 of each of three: 101^3 ways are too many. 150 longs at 95 cover the dear 90s, then half of the 80s
    rows: list[Row] = [(150, "P", 95, 5.0), (-100, "P", 90, 4.0), (-99, "P", 80, 2.0), (-97, "P", 70, 1.0)]
    # the floors count: 0.2 x 100 is all out of the money at 80
    naked_80 = 49 * (8.0 + 2.0) * 100
    naked_70 = 97 * (7.0 + 1.0) * 100
    assert asked(100.0, rows) == pytest.approx(naked_80 + naked_70)


def test_package_margin_is_the_requirement_of_one() -> None:
    legs, prices = legs_of(AssetKind.EQUITY, EQUITY["ratio"][1])
    package = Package(tuple(legs))
    assert package_margin(package, 500.0, prices, RULES) == pytest.approx(6_200.0)
    later = replace(legs[0], contract=replace(legs[0].contract, expiry=MARCH - timedelta(days=7)))
    early = Package((later, legs[1]))  # the long ends first: it covers nothing
    assert package_margin(early, 500.0, prices, RULES) == pytest.approx(12_400.0)


def test_very_many_shorts_are_paired_without_trying_every_way() -> None:
    # Twelve puts at 89 to 100 and twelve calls at 101 to 112 sold, the stock at 100, every option at 1.00; one put at
    # 88 and one call at 113 bought. The dearest shorts are covered: 100/88 asks 1,200, 101/113 the same. Eleven other
    # puts: 1 + max(20 - out, 10 % of the strike); of a put at 99 that is 1 + 19 = 20.00, at 98 19.00, ..., at 90 and 91
    # 11.00 and 12.00, at 89 1 + 9 = 10.00: 99 to 90 are 20 + 19 + ... + 11 = 155, with 10.00 for 89: 165.00, 16,500.
    # Calls at 102 to 112: 1 + max(20 - out, 10): 19 + 18 + ... + 11 = 135, then 11, 11: 157.00, 15,700.
    rows: list[Row] = [(-1, "P", 89.0 + n, 1.0) for n in range(12)] + [(-1, "C", 101.0 + n, 1.0) for n in range(12)]
    legs, prices = legs_of(AssetKind.EQUITY, [*rows, (1, "P", 88.0, 1.0), (1, "C", 113.0, 1.0)])
    asked = requirement(legs, 100.0, prices, RULES)
    # the puts are the larger side, 16,500 + 1,200, and the calls' premium besides: 11 x 100
    assert asked == pytest.approx(16_500.0 + 1_200.0 + 1_100.0)

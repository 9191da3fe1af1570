"""The table of option roots: steps at every boundary by the exchanges' rules, names, futures under options, groups."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import AssetKind, Contract, Listed, Right
from core.instruments import (
    INSTRUMENTS,
    UNDERLYINGS,
    Group,
    Instrument,
    contract_named,
    facts_of,
    group_of,
    is_sp500,
    roots_of,
    underlying_named,
)

EXPIRY = date(2016, 5, 20)
ROOTS = tuple(INSTRUMENTS)


# Steps of a single option: (root, price, the exchange's step, LEAN's step, what a limit must be a multiple of).
# Cboe 5.4, Penny Interval Program, CME 358A and 261A, NYMEX 310, COMEX 115, CBOT 18A; LEAN: IndexOptionSymbolProperties
# (C#), symbol-properties-database.csv and recordings p13, p18.
OUTRIGHT = [
    ("SPXW", 2.95, 0.05, 0.05, 0.05),
    ("SPXW", 3.00, 0.10, 0.10, 0.10),
    ("SPX", 2.9999, 0.05, 0.05, 0.05),
    ("SPX", 3.10, 0.10, 0.10, 0.10),
    ("XSP", 0.50, 0.01, 0.05, 0.05),
    ("XSP", 3.00, 0.01, 0.10, 0.10),
    ("SPY", 8.37, 0.01, 0.01, 0.01),
    ("QQQ", 2.99, 0.01, 0.01, 0.01),
    ("IWM", 3.00, 0.01, 0.01, 0.01),
    ("TLT", 2.99, 0.01, 0.01, 0.01),
    ("TLT", 3.00, 0.05, 0.01, 0.05),
    ("GLD", 3.00, 0.05, 0.01, 0.05),
    ("USO", 2.99, 0.01, 0.01, 0.01),
    ("FXE", 2.99, 0.05, 0.01, 0.05),
    ("FXE", 3.00, 0.10, 0.01, 0.10),
    ("DIA", 3.00, 0.05, 0.01, 0.05),
    ("ES", 5.00, 0.05, 0.25, 0.25),
    ("ES", 5.25, 0.25, 0.25, 0.25),
    ("LO", 0.40, 0.01, 0.01, 0.01),
    ("OG", 1.70, 0.10, 0.10, 0.10),
    ("OZB", 0.50, 0.015625, 0.015625, 0.015625),
    ("EUU", 0.00045, 0.00005, 0.00005, 0.00005),
    ("EUU", 0.0005, 0.0001, 0.00005, 0.0001),
    ("EUU", 0.0052, 0.0001, 0.00005, 0.0001),
]
PACKAGE = [
    ("SPXW", 12.35, 0.05),
    ("XSP", 0.42, 0.05),
    ("SPY", 8.37, 0.01),
    ("TLT", 4.44, 0.01),
    ("FXE", 0.31, 0.01),
    ("ES", 3.05, 0.25),
    ("LO", 0.46, 0.01),
    ("OG", 2.80, 0.10),
    ("OZB", 0.59375, 0.015625),
    ("EUU", 0.0026, 0.0001),
    ("EUU", 0.0004, 0.00005),
]


@pytest.mark.parametrize(("root", "price", "exchange", "engine", "limit"), OUTRIGHT)
def test_steps_of_single_options(root: str, price: float, exchange: float, engine: float, limit: float) -> None:
    rule = INSTRUMENTS[root].ticks
    assert rule.outright.at(price) == pytest.approx(exchange)
    assert rule.engine_outright.at(price) == pytest.approx(engine)
    assert rule.step(price) == pytest.approx(limit)
    assert rule.source


@pytest.mark.parametrize(("root", "price", "limit"), PACKAGE)
def test_steps_of_packages(root: str, price: float, limit: float) -> None:
    assert INSTRUMENTS[root].ticks.step(price, legs=2) == pytest.approx(limit)
    assert INSTRUMENTS[root].ticks.step(-price, legs=4) == pytest.approx(limit)


# What LEAN made of prices that the recordings sent, and what we send for them: a price it leaves alone.
@pytest.mark.parametrize(
    ("root", "asked", "buying", "sent"),
    [
        ("SPXW", 2.97, True, 3.00),
        ("SPXW", 2.97, False, 2.95),
        ("SPXW", 3.04, True, 3.10),
        ("SPXW", 3.04, False, 3.00),
        ("XSP", 0.01, True, 0.05),  # LEAN would make it 0.00 and accept that
        ("XSP", 0.01, False, 0.05),  # nobody sells for nothing
        ("XSP", 0.11, False, 0.10),
        ("SPXW", -3.00, False, 0.05),  # sold whatever it brings
        ("SPY", 8.37, True, 8.37),
        ("TLT", 3.02, True, 3.05),
        ("ES", 0.37, True, 0.50),
        ("ES", 1.1251, False, 1.00),
        ("LO", 0.2151, True, 0.22),
        ("OG", 0.0123, True, 0.10),
        ("OZB", 0.226662, False, 0.21875),
        ("EUU", 0.00048, True, 0.0005),
        ("EUU", 0.0052, True, 0.0052),
        ("EUU", 0.00523, True, 0.0053),
        ("EUU", 0.00042, False, 0.0004),
    ],
)
def test_single_prices_trade_and_stand_on_the_step(root: str, asked: float, buying: bool, sent: float) -> None:
    assert INSTRUMENTS[root].ticks.price(asked, buying) == pytest.approx(sent, abs=1e-12)


@pytest.mark.parametrize(
    ("root", "asked", "sent"),
    [
        ("SPXW", 2.97, 2.95),
        ("SPXW", -2.97, -3.00),
        ("SPXW", 0.01, -0.05),  # zero cannot be expressed: a step against us
        ("ES", 3.05, 3.00),
        ("LO", 0.459, 0.45),
        ("EUU", 0.00261, 0.0026),
        ("EUU", -0.00048, -0.0005),
        ("OZB", 0.590625, 0.578125),
        ("SPY", 8.37, 8.37),
    ],
)
def test_limits_of_packages_are_never_better_for_us_than_asked(root: str, asked: float, sent: float) -> None:
    assert INSTRUMENTS[root].ticks.limit(asked) == pytest.approx(sent, abs=1e-12)


def _is_multiple(price: float, step: float) -> bool:
    return (Fraction(str(round(abs(price), 10))) / Fraction(str(step))).denominator == 1


@given(st.sampled_from(ROOTS), st.floats(-400.0, 400.0), st.booleans())
def test_whatever_is_asked_what_is_sent_is_a_multiple_of_both_steps(root: str, asked: float, buying: bool) -> None:
    rule = INSTRUMENTS[root].ticks
    price, limit = rule.price(asked, buying), rule.limit(asked)
    assert price > 0
    assert limit != 0
    assert limit <= asked + 1e-6
    for sent, exchange, engine in (
        (price, rule.outright, rule.engine_outright),
        (limit, rule.package, rule.engine_package),
    ):
        assert _is_multiple(sent, exchange.at(abs(sent)))
        assert _is_multiple(sent, engine.at(abs(sent)))


@pytest.mark.parametrize("root", ROOTS)
def test_every_name_is_read_back(root: str) -> None:
    row = INSTRUMENTS[root]
    for strike in (0.0055, 1.285, 126.5, 1895.0, 123456.5):
        for right in Right:
            made = row.contract(EXPIRY, strike, right)
            assert contract_named(made.name) == made


@pytest.mark.parametrize(
    "name",
    [
        "SPY", "6E", "ESM16", "SPXW 240332P5000", "ZZZ 240315P5", "SPXW 240315X5", "", "ES",
        "SPY 240315P0", "SPY 240315P0.000", "SPY 240315P1e400", "SPY 240315P1e-400", "SPY 240315P" + "9" * 400,
        "SPY 240315P\N{ARABIC-INDIC DIGIT FIVE}", "SPY 240315P5\n", "SPY 240315P-5", "SPY 240315P5.", "spy 240315P5",
    ],
)  # fmt: skip
def test_what_names_no_contract_is_none(name: str) -> None:
    assert contract_named(name) is None


# Recordings p08 and p13: the futures that LEAN itself put under these options.
@pytest.mark.parametrize(
    ("root", "expiry", "key"),
    [
        ("ES", date(2016, 2, 12), "ESH16"),
        ("ES", date(2016, 3, 18), "ESH16"),  # the quarterly itself
        ("ES", date(2016, 3, 31), "ESM16"),  # after its third Friday
        ("ES", date(2016, 5, 6), "ESM16"),
        ("ES", date(2016, 12, 30), "ESH17"),
        ("LO", date(2016, 5, 17), "CLM16"),
        ("LO", date(2016, 12, 15), "CLF17"),
        ("OG", date(2016, 4, 26), "GCM16"),  # a May option stands on June
        ("OG", date(2016, 5, 25), "GCM16"),
        ("OG", date(2016, 11, 22), "GCZ16"),
        ("OG", date(2016, 12, 27), "GCG17"),
        ("OZB", date(2016, 5, 20), "ZBM16"),
        ("OZB", date(2016, 4, 22), "ZBM16"),
        ("EUU", date(2016, 5, 6), "6EM16"),
        ("EUU", date(2016, 6, 3), "6EM16"),
    ],
)
def test_the_future_under_an_option(root: str, expiry: date, key: str) -> None:
    underlying = INSTRUMENTS[root].contract(expiry, 100.0, Right.PUT).underlying
    assert underlying.price_key == key
    assert underlying_named(key) == underlying
    assert underlying.ticker == INSTRUMENTS[root].underlying


def test_a_price_key_names_shares_indices_and_single_futures_only() -> None:
    assert underlying_named("ESM1\N{ARABIC-INDIC DIGIT SIX}") is None
    assert underlying_named("SPY") == UNDERLYINGS["SPY"].month(None)
    assert underlying_named("ES") is None  # a family has no price of its own
    assert underlying_named("ABCM16") is None
    assert underlying_named("SPYM16") is None
    micro = underlying_named("M6EZ24")
    assert micro is not None
    assert (micro.ticker, micro.month, micro.multiplier) == ("M6E", date(2024, 12, 1), 12500.0)


def test_groups_and_equivalents_by_ticker_family_and_price_key() -> None:
    assert (group_of("ESM16"), group_of("ES"), group_of("CLF17")) == (
        Group.EQUITY_FUTURES, Group.EQUITY_FUTURES, Group.CRUDE,
    )  # fmt: skip
    assert (group_of("VIX"), group_of("AAPL")) == (None, None)
    assert {key for key in UNDERLYINGS if is_sp500(key)} == {"SPY", "SPX", "XSP", "ES", "MES"}
    assert is_sp500("ESM16")
    assert not is_sp500("AAPL")
    facts = facts_of("6EM16")
    assert facts is not None
    assert (facts.market, facts.kind, facts.multiplier) == ("cme", AssetKind.FUTURE, 125000.0)


def test_roots_by_what_they_are_written_on() -> None:
    assert roots_of("SPX") == ("SPXW", "SPX")
    assert (roots_of("6E"), roots_of("ZB"), roots_of("AAPL")) == (("EUU",), ("OZB",), ())


# 0.50 points of an option on SPX are 50 dollars and ten of its ticks.
@pytest.mark.parametrize(
    ("root", "points"),
    [
        ("SPXW", 0.50),
        ("SPY", 0.50),  # 50 dollars; ten ticks would be 0.10
        ("LO", 0.10),  # ten ticks, 100 dollars
        ("OG", 1.00),
        ("OZB", 0.15625),
        ("EUU", 0.0005),  # ten ticks of 0.00005; 50 dollars would be 0.0004
        ("ES", 2.50),
    ],
)
def test_thresholds_are_dollars_or_ticks_never_bare_points(root: str, points: float) -> None:
    assert INSTRUMENTS[root].points(0.50) == pytest.approx(points)


@pytest.mark.parametrize("row", INSTRUMENTS.values(), ids=ROOTS)
def test_a_row_is_complete(row: Instrument) -> None:
    assert row.facts is UNDERLYINGS[row.underlying]
    assert row.facts.group is not None
    assert (row.kind is AssetKind.FUTURE) == bool(row.facts.months)
    if row.kind is AssetKind.FUTURE:
        assert row.multiplier == pytest.approx(row.facts.multiplier)
    else:
        assert row.multiplier == pytest.approx(100.0)


def test_a_listed_contract_is_made_when_it_is_looked_at() -> None:
    """Strikes 105, 100, 110 with calls first: the puts by strike are at places 3, 1, 5."""
    strikes, made = (105.0, 100.0, 110.0), list[int]()
    keys = [(strike, right) for strike in strikes for right in (Right.CALL, Right.PUT)]

    def make(at: int) -> Contract | None:
        made.append(at)
        return None if at == 5 else INSTRUMENTS["SPY"].contract(date(2024, 7, 19), *keys[at])

    listed = Listed(keys, make)
    puts = listed.of_right(Right.PUT)
    assert [len(listed), puts.strikes, made] == [6, [100.0, 105.0, 110.0], []]
    assert (puts[0].strike, puts[0].right, listed[3] is puts[0], made) == (100.0, Right.PUT, True, [3])
    assert [row.strike for row in puts[:2]] == [100.0, 105.0]
    assert [row.strike for row in puts.some((1, 2, 0))[::2]] == [105.0, 100.0]
    assert (listed[-2].strike, made) == (110.0, [3, 1, 4])
    assert listed.of_right(Right.PUT) is puts
    with pytest.raises(ValueError, match="no contract of the chain"):
        puts[-1]


def test_contracts_that_are_made_already_are_listed_as_they_are() -> None:
    rows = [INSTRUMENTS["SPY"].contract(date(2024, 7, 19), strike, Right.CALL) for strike in (101.0, 100.0)]
    listed = Listed.of(rows)
    assert (list(listed), Listed.of(listed) is listed) == (rows, True)
    assert list(listed.of_right(Right.CALL)) == rows[::-1]
    assert list(listed.of_right(Right.PUT)) == []

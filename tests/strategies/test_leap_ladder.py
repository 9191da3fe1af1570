"""LEAP put ladder: a rung a week by the Monday's number, what closes and what rolls one."""

from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path

import pytest

from core.journal import RecordKind
from core.parts import Part
from strategies.base import Close, Roll
from strategies.leap_ladder import LeapLadder
from tests.fake_gateway import build, run_day
from tests.strategies.rows import ARRIVED, acts, at, contract, decided, gateway, hold, part, position, run

MONDAY = date(2024, 3, 4)  # the first of its month
EXPIRY = date(2025, 3, 7)  # the Friday nearest to 365 days on: 368


def test_the_first_monday_sells_a_put_at_12_delta_a_year_out(tmp_path: Path) -> None:
    market = gateway(tmp_path, MONDAY)
    _, sink = run(market, MONDAY, "leap_ladder", until=time(10, 10))
    assert decided(sink)[0] == ("trade", "filled")
    when, package, contracts, _ = market.sent[0]
    (leg,) = package.legs
    assert (when.time(), leg.ratio, leg.contract.root, leg.contract.expiry) == (time(10), -1, "SPY", EXPIRY)
    # 20 %, 368 days (1.008 years), r 2 %, q 1.5 %: 12 delta puts have d1 = 1.163 (e^-qT N(-d1) = 0.12), so
    # ln(500 / K) = 1.163 x 0.2008 - 0.025 x 1.008 = 0.2083: K = 406; the system
    # has the year's own rate, about 3 points more in carry: up to 410.
    assert leg.contract.strike == pytest.approx(408, abs=3)
    assert contracts == 1  # a VIX of 20 is not over 20


def test_two_contracts_over_vix_20_and_a_part_of_its_own_each_week(tmp_path: Path) -> None:
    market = gateway(tmp_path, MONDAY, vix=20.1)
    system, sink = run(market, MONDAY, "leap_ladder", until=time(10, 10))
    assert market.sent[0][2] == 2
    second = MONDAY + timedelta(days=7)
    run_day(system, market, second, until=time(10, 10))
    (ladder,) = system.book.positions.values()
    assert [row.name for row in ladder.parts] == ["rung-20240304", "rung-20240311"]
    # 13 delta in the second week: d1 = 1.114, ln(500 / K) = 0.1987: K = 410, over the first week's.
    strikes = [row.package.legs[0].contract.strike for row in ladder.parts]
    assert strikes[1] > strikes[0]
    rows = [(row["window"], row["outcome"], row["rule"]) for row in sink.rows(RecordKind.DECISION)]
    assert rows == [("open", "trade", "filled"), ("open", "skip", "places"), ("rung", "trade", "filled")]


@pytest.mark.parametrize(("vix", "rule"), [(15.0, "vix_window"), (15.01, "filled"), (35.0, "filled")])
def test_only_over_vix_15_and_above_30_too(tmp_path: Path, vix: float, rule: str) -> None:
    _, sink = run(gateway(tmp_path, MONDAY, vix=vix), MONDAY, "leap_ladder", until=time(10, 10))
    assert decided(sink)[0][1] == rule


@pytest.mark.parametrize(
    ("day", "closed", "rules"),
    [
        (date(2024, 4, 29), frozenset(), []),  # the fifth Monday of its month
        (date(2024, 5, 28), frozenset({date(2024, 5, 27)}), ["filled"]),  # Memorial Day was the fourth
        (date(2024, 3, 5), frozenset(), []),
    ],
)
def test_on_which_days_it_looks(tmp_path: Path, day: date, closed: frozenset[date], rules: list[str]) -> None:
    _, sink = run(gateway(tmp_path, day, closed_days=closed), day, "leap_ladder", until=time(10, 10))
    assert [rule for _, rule in decided(sink)] == rules


def test_nothing_without_a_vix_a_chain_or_a_place(tmp_path: Path) -> None:
    market = gateway(tmp_path / "vix", MONDAY)
    market.missing.add("VIX")
    _, sink = run(market, MONDAY, "leap_ladder")
    assert decided(sink)[0] == ("skip", "vix_missing")
    market = gateway(tmp_path / "chain", MONDAY)
    market.expires = lambda day: day < MONDAY + timedelta(days=250)
    _, sink = run(market, MONDAY, "leap_ladder", until=time(10, 10))
    assert decided(sink)[0] == ("skip", "no_expiry")
    _, sink = run(gateway(tmp_path / "small", MONDAY, cash=45_000.0), MONDAY, "leap_ladder", until=time(10, 10))
    assert decided(sink)[0] == ("skip", "places")  # phase 1 has none


NOON = at(date(2024, 6, 11), 12)


@pytest.fixture
def row(tmp_path: Path) -> LeapLadder:
    market = gateway(tmp_path, NOON.date())
    market.time = NOON
    system, _ = build(market, **ARRIVED)
    system.open_session(NOON)
    return system.managers[LeapLadder]


def rung(row: LeapLadder, name: str = "rung-20240304", expiry: date = EXPIRY) -> Part:
    return part(row, name, {contract("SPY", expiry, 406.0): (-1, 5.0)}, at(MONDAY, 10, 1))


def test_each_rung_is_closed_at_30_percent_of_its_own_credit(row: LeapLadder) -> None:
    one, other = rung(row), rung(row, "rung-20240311")
    held = position(row, one, other)
    values = {one.name: -3.5, other.name: -3.51}  # 1.50 of 5.00 gained, and a cent less
    assert acts(row, held, hold(NOON, values, 500.0)) == [("profit_target", (one.name,))]


def test_no_price_stops_a_rung(row: LeapLadder) -> None:
    held = position(row, rung(row))
    assert acts(row, held, hold(NOON, {"rung-20240304": -60.0}, 400.0)) == [("Hold", ())]


def test_at_150_days_a_rung_is_rolled_for_365(row: LeapLadder) -> None:
    due = NOON.date() + timedelta(days=150)
    held, values = position(row, rung(row, expiry=due)), {"rung-20240304": -8.0}
    assert acts(row, held, hold(at(NOON.date(), 9, 59), values, 500.0)) == [("Hold", ())]
    answers = [row.manage(held, hold(NOON, values, 500.0)) for _ in range(6)]
    roll = answers[-1]
    assert isinstance(roll, Roll)
    assert (roll.parts, roll.calendar) == (("rung-20240304",), True)
    assert [plan.name for plan in roll.proposal.plans] == ["rung-20240304"]
    assert roll.proposal.package.expiry == date(2025, 6, 13)  # 367 days; the Friday before has 360
    later = position(row, rung(row, expiry=due + timedelta(days=1)))
    assert acts(row, later, hold(NOON, values, 500.0)) == [("Hold", ())]


def test_where_nothing_may_open_a_rung_is_closed_at_150_days(tmp_path: Path) -> None:
    market = gateway(tmp_path, NOON.date(), vix=14.0)
    market.time = NOON
    system, _ = build(market, **ARRIVED)
    system.open_session(NOON)
    row = system.managers[LeapLadder]
    held = position(row, rung(row, expiry=NOON.date() + timedelta(days=150)))
    answer = row.manage(held, hold(NOON, {"rung-20240304": -8.0}, 500.0))
    assert isinstance(answer, Close)
    assert (answer.rule, answer.parts) == ("roll", ("rung-20240304",))


def test_where_the_chain_has_nothing_to_roll_into_a_rung_is_closed(tmp_path: Path) -> None:
    market = gateway(tmp_path, NOON.date())
    market.expires = lambda day: day < NOON.date() + timedelta(days=250)
    market.time = NOON
    system, _ = build(market, **ARRIVED)
    system.open_session(NOON)
    row = system.managers[LeapLadder]
    held = position(row, rung(row, expiry=NOON.date() + timedelta(days=150)))
    assert acts(row, held, hold(NOON, {"rung-20240304": -8.0}, 500.0)) == [("roll", ("rung-20240304",))]


def test_a_ladder_gets_no_second_rung_on_its_first_day(tmp_path: Path) -> None:
    """Live, a window that is still open is caught up on each minute: the ladder that it opened stands by then."""
    market = gateway(tmp_path, MONDAY)
    system, sink = run(market, MONDAY, "leap_ladder", until=time(10, 2))
    for minute in range(3, 9):
        market.time = at(MONDAY, 10, minute)
        system.coordinator.catch_up(market.time)
        system.minute(market.time)
    assert decided(sink) == [("trade", "filled")]
    assert len(market.sent) == 1

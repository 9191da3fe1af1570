"""LT112: what it opens on which day, what closes each of its parts, and its weeklies."""

# Private: _look: a proposal that no pick makes.

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.contracts import Right
from core.journal import RecordKind
from core.parts import Urgency
from risk.proposal import Proposal
from strategies.base import Close, EntryContext, Roll
from strategies.look import EndedLookError
from strategies.lt112 import Lt112
from tests.fake_gateway import build
from tests.strategies.rows import RowGateway, acts, at, contract, decided, gateway, hold, part, position, run

WEDNESDAY = date(2024, 3, 6)  # the first of its month
SECOND = date(2024, 3, 13)
EXPIRY = date(2024, 7, 5)  # the Friday nearest to 120 days on: 121
MONDAY = date(2024, 4, 8)  # 33 days after the entry


def test_the_first_wednesday_sells_two_far_puts_and_buys_a_spread(tmp_path: Path) -> None:
    market = gateway(tmp_path, WEDNESDAY)
    _, sink = run(market, WEDNESDAY, "lt112")
    assert decided(sink)[0] == ("trade", "filled")
    when, package, _, limit = market.sent[0]
    assert when.time() == time(10, 0)
    long, short, naked = package.legs
    assert [leg.ratio for leg in package.legs] == [1, -1, -2]
    assert {leg.contract.expiry for leg in package.legs} == {EXPIRY}
    # Black-Scholes at 20 % for 121 days from 5000, r 2 %, q 1.5 %: N(-d1) is 0.25 at d1 = 0.674, which is
    # ln(5000 / K) = 0.674 x 0.1152 - (0.005 + 0.02) x 0.3315 = 0.0693: K = 4665; 5 delta: d1 = 1.645, 0.1812: K = 4171.
    assert long.contract.strike == pytest.approx(4665, abs=10)
    assert naked.contract.strike == pytest.approx(4171, abs=10)
    assert long.contract.strike - short.contract.strike == pytest.approx(50 * 5000 / 4500, abs=2.5)
    assert limit > 0  # money comes in


def test_another_wednesday_is_for_phase_4_alone(tmp_path: Path) -> None:
    _, sink = run(gateway(tmp_path / "large", SECOND), SECOND, "lt112")
    assert decided(sink) == [("trade", "filled")]
    _, sink = run(gateway(tmp_path / "small", SECOND, cash=70_000.0), SECOND, "lt112")
    assert decided(sink) == []


def test_a_small_account_takes_spy(tmp_path: Path) -> None:
    market = gateway(tmp_path, WEDNESDAY, cash=90_000.0)
    _, sink = run(market, WEDNESDAY, "lt112")
    assert decided(sink)[0] == ("trade", "filled"), sink.rows(RecordKind.DECISION)
    assert {leg.contract.root for leg in market.sent[0][1].legs} == {"SPY"}
    # Phase 3 has two. An E-mini is 50 dollars a point of the index, a SPY option 10: ten of these are two of those.
    asked = [row for row in sink.rows(RecordKind.VERDICT) if row["contracts"]]
    assert [row["wanted"] for row in asked] == [10]


def test_phase_1_has_no_place_for_it(tmp_path: Path) -> None:
    _, sink = run(gateway(tmp_path, WEDNESDAY, cash=45_000.0), WEDNESDAY, "lt112")
    assert decided(sink)[0] == ("skip", "places")


@pytest.mark.parametrize(
    ("vix", "rule"), [(11.99, "vix_window"), (12.0, "filled"), (30.0, "filled"), (35.01, "vix_window")]
)
def test_its_vix_window(tmp_path: Path, vix: float, rule: str) -> None:
    _, sink = run(gateway(tmp_path, WEDNESDAY, vix=vix), WEDNESDAY, "lt112")
    assert decided(sink)[0][1] == rule


def test_without_a_vix_or_a_chain_nothing_opens(tmp_path: Path) -> None:
    market = gateway(tmp_path / "vix", WEDNESDAY)
    market.missing.add("VIX")
    _, sink = run(market, WEDNESDAY, "lt112")
    assert decided(sink)[0] == ("skip", "vix_missing")
    market = gateway(tmp_path / "chain", WEDNESDAY)
    market.expires = lambda day: day < WEDNESDAY + timedelta(days=89)  # a quarter of 120 days is 30
    _, sink = run(market, WEDNESDAY, "lt112")
    assert decided(sink)[0] == ("skip", "no_expiry")


def test_a_closed_wednesday_moves_to_the_thursday(tmp_path: Path) -> None:
    thursday = WEDNESDAY + timedelta(days=1)
    _, sink = run(gateway(tmp_path, thursday, closed_days=frozenset({WEDNESDAY})), thursday, "lt112")
    assert decided(sink)[0] == ("trade", "filled")


def listed(market: RowGateway, wanted: Callable[[float], bool]) -> None:
    """Lists the strikes alone that are wanted."""
    chain = market.chain
    some = lambda root, expiries: [row for row in chain(root, expiries) if wanted(row.strike)]  # noqa: E731
    market.chain = some  # type: ignore[method-assign]


def test_strikes_that_no_delta_meets_fall_back_on_a_distance(tmp_path: Path) -> None:
    market = gateway(tmp_path, WEDNESDAY)
    listed(market, lambda strike: strike <= 4600 or strike > 4710)
    run(market, WEDNESDAY, "lt112")
    # 4715 has about 28.6 delta and 4600 about 21.3: over the three points. 7 % under 5000 is 4650: 4600 is nearer than
    # 4715; 50 points at 4500 are 55.6 at 5000: 4545 is the nearest to 4544.4.
    assert [leg.contract.strike for leg in market.sent[0][1].legs[:2]] == [4600.0, 4545.0]


@pytest.mark.parametrize(
    ("strikes", "away"),
    [
        # 4755 has over 31 delta, 4100 under 7: neither is within three points of 25. 4755 is 4.9 % under the money,
        # 2.1 off the row's 7: 30 %, over a quarter.
        ((4100.0, 4755.0), 0.049),
        ((4100.0,), 0.18),  # and 18 % is 11 off 7
        ((5100.0,), -0.02),  # over the money: not under it at all
    ],
)
def test_a_strike_far_from_the_rows_distance_is_none(tmp_path: Path, strikes: tuple[float, ...], away: float) -> None:
    market = gateway(tmp_path, WEDNESDAY)
    market.roots = frozenset({"ES"})
    listed(market, lambda strike: strike in strikes)
    _, sink = run(market, WEDNESDAY, "lt112", until=time(10, 16))
    assert decided(sink)[0] == ("skip", "distance")
    (row,) = [row for row in sink.rows(RecordKind.DECISION) if row["rule"] == "distance"]
    assert (row["limit"], row["observed"]) == (0.07, pytest.approx(away))
    assert market.sent == []


def test_without_a_strike_for_its_lower_leg_there_is_no_spread(tmp_path: Path) -> None:
    """Of 4400 and under, and of 4715 and over, 4715 is nearest to 4650 and to 55.6 points under itself."""
    market = gateway(tmp_path / "es", WEDNESDAY)
    market.roots = frozenset({"ES"})
    listed(market, lambda strike: strike <= 4400 or strike > 4710)
    _, sink = run(market, WEDNESDAY, "lt112", until=time(10, 16))
    assert decided(sink)[0] == ("skip", "wing")
    assert market.sent == []  # a short put of 4715 and nothing bought
    market = gateway(tmp_path / "both", WEDNESDAY)
    listed(market, lambda strike: strike <= 600 or strike > 4710)  # SPY lists every dollar
    run(market, WEDNESDAY, "lt112", until=time(10, 16))
    assert [leg.contract.root for leg in market.sent[0][1].legs] == ["SPY"] * 3


def test_a_long_and_a_short_of_one_contract_are_no_spread(row: Lt112) -> None:
    session = row.tools.gateway.session(NOON.date())
    assert session is not None
    at_noon = EntryContext(NOON, session, None, 1_000_000.0, 4)
    look, put = row._look("open", at_noon, "ES"), contract("ES", EXPIRY, 4715.0)
    same = {leg: ratio for leg, ratio in ((put, +1), (put, -1))}  # one contract has one ratio: the last
    with pytest.raises(EndedLookError, match="fall on one strike"):
        look.structure("lt112", spread=same, naked={contract("ES", EXPIRY, 4170.0): -2})


OPENED = at(WEDNESDAY, 10, 1)
NOON = at(date(2024, 4, 9), 12)


@pytest.fixture
def row(tmp_path: Path) -> Lt112:
    market = gateway(tmp_path, NOON.date())
    market.time = NOON
    system, _ = build(market)
    return system.managers[Lt112]


def naked(row: Lt112, expiry: date = EXPIRY):  # type: ignore[no-untyped-def]
    return part(row, "naked", {contract("ES", expiry, 4175.0): (-2, 10.0)}, OPENED)  # 20 points of credit


def spread(row: Lt112, expiry: date = EXPIRY):  # type: ignore[no-untyped-def]
    legs = {contract("ES", expiry, 4665.0): (1, 80.0), contract("ES", expiry, 4610.0): (-1, 66.0)}
    return part(row, "spread", legs, OPENED)


@pytest.mark.parametrize(
    ("value", "spot", "expected"),
    [
        (-2.0, 5000.0, [("profit_target", ("naked",))]),  # 18 of 20 points are 90 %
        (-2.1, 5000.0, [("Hold", ())]),
        (-59.9, 5000.0, [("Hold", ())]),
        (-60.0, 5000.0, [("stop_loss", ("naked",))]),  # 40 lost on 20
        # 25 points at 4500 are 23.3 at 4198: 4175 + 23.3.
        (-40.0, 4199.0, [("Hold", ())]),
        (-40.0, 4198.0, [("near_strike", ("naked",))]),
        (None, 5000.0, [("Hold", ())]),
    ],
)
def test_what_closes_the_naked_puts_and_leaves_the_spread(
    row: Lt112, value: float | None, spot: float, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    row.tools.gateway.spot = lambda _: spot  # type: ignore[attr-defined]
    held = position(row, spread(row), naked(row))
    assert acts(row, held, hold(NOON, {"spread": 5.0, "naked": value}, spot)) == expected


def test_a_stop_crosses_and_a_profit_does_not(row: Lt112) -> None:
    held = position(row, naked(row))
    (stop,) = row.manage(held, hold(NOON, {"naked": -70.0}, 5000.0))  # type: ignore[misc]
    (profit,) = row.manage(held, hold(NOON, {"naked": -1.0}, 5000.0))  # type: ignore[misc]
    assert isinstance(stop, Close)
    assert isinstance(profit, Close)
    assert (stop.urgency, profit.urgency) == (Urgency.URGENT, Urgency.NORMAL)


def test_at_21_days_all_of_it_goes(row: Lt112) -> None:
    held = position(row, spread(row), naked(row))
    values = {"spread": 5.0, "naked": -10.0}
    before, on_it = EXPIRY - timedelta(days=22), EXPIRY - timedelta(days=21)
    assert acts(row, held, hold(at(before, 12), values, 5000.0)) == [("Hold", ())]
    closes = [rule for rule, _ in acts(row, held, hold(at(on_it, 9, 31), values, 5000.0))]
    assert closes == ["days_to_expiry", "days_to_expiry"]


def weekly(row: Lt112, expiry: date):  # type: ignore[no-untyped-def]
    legs = {
        contract("ES", expiry, 5150.0, Right.CALL): (-1, 5.0),
        contract("ES", expiry, 5205.0, Right.CALL): (1, 1.0),
    }
    return part(row, "weekly", legs, OPENED)


@pytest.mark.parametrize(
    ("value", "hour", "minute", "rule"),
    [(-0.4, 12, 0, "profit_target"), (-12.0, 12, 0, "stop_loss"), (-3.0, 14, 49, "Hold"), (-3.0, 14, 50, "last_day")],
)
def test_what_closes_a_weekly(row: Lt112, value: float, hour: int, minute: int, rule: str) -> None:
    friday = date(2024, 4, 12)  # a weekly that ends on another day than the row's Monday is not rolled
    held = position(row, spread(row), weekly(row, friday))
    moment = hold(at(friday, hour, minute), {"spread": 5.0, "weekly": value}, 5000.0)
    assert acts(row, held, moment)[0][0] == rule


def test_the_weekly_goes_with_the_spread_at_21_days(row: Lt112) -> None:
    on_it = EXPIRY - timedelta(days=21)
    held = position(row, spread(row), weekly(row, on_it + timedelta(days=4)))
    assert acts(row, held, hold(at(on_it, 9, 31), {"spread": 5.0, "weekly": -3.0}, 5000.0)) == [
        ("days_to_expiry", ("spread", "weekly"))
    ]


@pytest.mark.parametrize(("side", "structure"), [("call", "weekly_call_spread"), ("put", "weekly_put")])
def test_from_day_30_a_weekly_is_proposed_on_mondays(tmp_path: Path, side: str, structure: str) -> None:
    market = gateway(tmp_path, MONDAY)
    market.time = at(MONDAY, 10)
    system, _ = build(market, lt112__weekly_side=side)
    system.open_session(market.time)
    row = system.managers[Lt112]
    held = position(row, spread(row), naked(row))
    system.book.positions[held.id] = held
    proposal = propose(system, row, held, at(MONDAY, 10))
    assert proposal.terms.structure == structure
    assert (proposal.onto, proposal.wanted) == (held.id, 1)
    assert [plan.name for plan in proposal.plans] == ["weekly"]
    legs = [(leg.ratio, leg.contract.right, leg.contract.strike) for leg in proposal.package.legs]
    assert proposal.package.expiry == MONDAY + timedelta(days=7)
    if side == "put":
        assert legs == [(-1, Right.PUT, 4670.0)]  # the long put's 4665 and 5 points, 5.6 at this index
    else:
        # 10 delta at 20 % for a week: d1 = -1.2816, K = 5000 x exp(1.2816 x 0.0277) = 5181.
        assert legs[0] == (-1, Right.CALL, pytest.approx(5181, abs=10))
        assert legs[1][2] - legs[0][2] == pytest.approx(55.6, abs=2.5)


def propose(system, row, held, now: datetime):  # type: ignore[no-untyped-def]
    """The weekly's look, minute by minute, until its quotes are there."""

    session = system.gateway.session(now.date())
    for _ in range(6):
        context = EntryContext(now, session, row.tools.vix.reading(now), 1e6, 4, "weekly", held.id, held)
        answer = row.propose(context, 0)
        if isinstance(answer, Proposal):
            return answer
    raise AssertionError(answer)


def test_no_weekly_before_day_30_nor_beside_another(row: Lt112) -> None:
    early, later = position(row, spread(row)), position(row, spread(row), weekly(row, MONDAY))
    assert not row.takes("weekly", early, WEDNESDAY + timedelta(days=29))
    assert row.takes("weekly", early, WEDNESDAY + timedelta(days=30))
    assert not row.takes("weekly", later, WEDNESDAY + timedelta(days=30))
    assert not row.takes("weekly", position(row, naked(row)), MONDAY)  # without a spread there is nothing to sell


def test_a_weekly_on_its_last_monday_is_rolled(tmp_path: Path) -> None:
    market = gateway(tmp_path, MONDAY)
    market.time = at(MONDAY, 10)
    system, _ = build(market)
    system.open_session(market.time)
    row = system.managers[Lt112]
    held = position(row, spread(row), weekly(row, MONDAY))
    system.book.positions[held.id] = held
    values = {"spread": 5.0, "weekly": -3.0}
    assert acts(row, held, hold(at(MONDAY, 9, 59), values, 5000.0)) == [("Hold", ())]
    answers = [row.manage(held, hold(market.time, values, 5000.0)) for _ in range(6)]
    roll = answers[-1]
    assert isinstance(roll, Roll)
    assert (roll.parts, roll.calendar) == (("weekly",), True)
    assert roll.proposal.package.expiry == MONDAY + timedelta(days=7)

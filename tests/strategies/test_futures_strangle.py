"""Futures strangle: which product in which phase, what closes it, and the one roll of an untested side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.contracts import Contract, Right
from core.gateway import ImpliedClose
from core.journal import RecordKind
from core.parts import Part, Realised
from strategies.base import Roll
from strategies.futures_strangle import FuturesStrangle
from tests.fake_gateway import SCALES, STEPS, build
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, decided, gateway, hold, part, position, run

TUESDAY = date(2024, 3, 12)  # the second of its month
EXPIRY = date(2024, 6, 7)  # the Friday nearest to 90 days on: 87
ETFS = frozenset({"USO", "GLD", "TLT", "FXE", "SPXW"})


class Restless(RowGateway):
    """Volatility that rises each session, so that the newest is the year's highest; or falls."""

    calming: bool = False

    def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        rows = super().implied_closes(root, sessions)
        sign = -1 if self.calming else 1
        return [replace(row, volatility=0.3 + sign * 1e-5 * (row.day.toordinal() - 738_000)) for row in rows]


def market(folder: Path, day: date = TUESDAY, cash: float = 1_000_000.0, **options: Any) -> Restless:
    calm = gateway(folder, day, cash=cash, **options)
    found = Restless(calm.time, calm.spot, calm.vix, folder, cash=cash, half_spread=0.0, closed_days=calm.closed_days)
    found.roots = ETFS
    return found


def by_slot(sink: Any) -> dict[str, str]:
    return {row["slot"]: row["rule"] for row in sink.rows(RecordKind.DECISION)}


def test_phase_2_sells_the_etfs_one_each_and_the_es_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ticker in ("USO", "GLD", "TLT", "FXE"):
        monkeypatch.setitem(SCALES, ticker, 50.0)
        monkeypatch.setitem(STEPS, ticker, 0.5)
    fake = market(tmp_path, cash=70_000.0)
    _, sink = run(fake, TUESDAY, "futures_strangle", until=time(10, 8))
    rules = by_slot(sink)
    assert rules["ES"] == "phase"
    assert rules["CL"] == "filled"
    when, package, contracts, limit = fake.sent[0]
    put, call = package.legs
    assert (when.time(), contracts, limit > 0) == (time(10), 1, True)
    assert [(leg.ratio, leg.contract.root, leg.contract.right) for leg in package.legs] == [
        (-1, "USO", Right.PUT),
        (-1, "USO", Right.CALL),
    ]
    assert put.contract.expiry == call.contract.expiry == EXPIRY
    # USO at 100, 20 %, 87 days: sigma x root t = 0.0976; 6 delta: d1 = 1.555, so K = 100 x exp(-0.1518 + 0.006) = 86.4;
    # calls at 5.5 delta: d1 = -1.598: K = 100 x exp(0.156 + 0.006) = 117.6.
    assert put.contract.strike == pytest.approx(86.4, abs=0.75)
    assert call.contract.strike == pytest.approx(117.6, abs=0.75)
    roots = {leg.contract.root for _, one, _, _ in fake.sent for leg in one.legs}
    assert roots <= {"USO", "GLD", "FXE"}  # TLT stands in gold's group
    assert rules["ZB"] == "held"


def test_a_low_rank_of_volatility_skips_with_its_number(tmp_path: Path) -> None:
    fake = market(tmp_path)
    fake.calming = True
    _, sink = run(fake, TUESDAY, "futures_strangle", until=time(10, 2))
    row = next(row for row in sink.rows(RecordKind.DECISION) if row["slot"] == "CL")
    assert (row["rule"], row["limit"]) == ("iv_rank", 0.30)
    assert row["observed"] < 0.05


def test_under_120_closes_the_rank_is_unknown_and_nothing_opens(tmp_path: Path) -> None:
    fake = market(tmp_path)
    fake.history = 119
    _, sink = run(fake, TUESDAY, "futures_strangle", until=time(10, 2))
    row = next(row for row in sink.rows(RecordKind.DECISION) if row["slot"] == "CL")
    assert (row["rule"], row["limit"], row["observed"]) == ("history", 120.0, 119.0)


@pytest.mark.parametrize(("vix", "rule"), [(12.99, "vix_window"), (40.01, "vix_window")])
def test_outside_its_vix_window_nothing_opens(tmp_path: Path, vix: float, rule: str) -> None:
    fake = market(tmp_path)
    fake.vix = lambda _: vix
    _, sink = run(fake, TUESDAY, "futures_strangle", until=time(10, 2))
    assert set(by_slot(sink).values()) == {rule}


def test_another_tuesday_is_no_day_and_a_closed_one_moves(tmp_path: Path) -> None:
    _, sink = run(market(tmp_path / "a", date(2024, 3, 5)), date(2024, 3, 5), "futures_strangle", until=time(10, 2))
    assert decided(sink) == []
    wednesday = TUESDAY + timedelta(days=1)
    fake = market(tmp_path / "b", wednesday, closed_days=frozenset({TUESDAY}))
    _, sink = run(fake, wednesday, "futures_strangle", until=time(10, 2))
    assert len(decided(sink)) == 5


NOON = at(date(2024, 4, 2), 12)


@pytest.fixture
def row(tmp_path: Path) -> FuturesStrangle:
    fake = market(tmp_path, NOON.date(), cash=200_000.0)
    fake.roots = frozenset({"TLT", "SPXW"})
    fake.time = NOON
    system, _ = build(fake, **ARRIVED)
    system.open_session(NOON)
    return system.managers[FuturesStrangle]


PUT, CALL = contract("TLT", EXPIRY, 86.0), contract("TLT", EXPIRY, 125.0, Right.CALL)


def side(row: FuturesStrangle, one: Contract, price: float, name: str = "") -> Part:
    return part(row, name or one.right.value, {one: (-1, price)}, at(TUESDAY, 10, 1))


def strangle(row: FuturesStrangle, *parts: Part):  # type: ignore[no-untyped-def]
    return position(row, *(parts or (side(row, PUT, 1.20), side(row, CALL, 0.80))), slot="ZB")


@pytest.mark.parametrize(
    ("put", "call", "expected"),
    [
        (-0.60, -0.40, [("profit_target", ())]),  # 1.00 of 2.00 gained
        (-0.60, -0.41, [("Hold", ())]),
        (-5.50, -0.49, [("Hold", ())]),
        (-5.50, -0.50, [("stop_loss", ())]),  # 4.00 lost on 2.00
        (None, -0.40, [("Hold", ())]),
    ],
)
def test_both_sides_together_have_the_target_and_the_stop(
    row: FuturesStrangle, put: float | None, call: float, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert acts(row, strangle(row), hold(NOON, {"put": put, "call": call}, 100.0)) == expected


@pytest.mark.parametrize(
    ("values", "rolled_from", "expected"),
    [
        # The call went at 0.20: 60 of its 80 dollars are kept. The put alone: 370 lost on 120; both: 310 on 200.
        ({"put": -4.90}, 200.0, [("Hold", ())]),
        ({"put": -5.80}, 200.0, [("stop_loss", ())]),  # 460 - 60 = 400 lost on 200
        # The roll opened no other call: 200 - 20 = 180 dollars were taken in, and 2 x 180 = 360 may be lost.
        ({"put": -4.79}, None, [("Hold", ())]),  # 359 - 60 = 299 on the put's own 120 would have been 2.5 times
        ({"put": -5.39}, None, [("Hold", ())]),  # 419 - 60 = 359
        ({"put": -5.40}, None, [("stop_loss", ())]),  # 420 - 60 = 360
        ({"put": -0.91}, None, [("Hold", ())]),  # 29 + 60 = 89 gained of 180
        ({"put": -0.90}, None, [("profit_target", ())]),  # 30 + 60 = 90
        # Another call was sold at 0.50: 200 - 20 + 50 = 230 dollars were taken in.
        ({"put": -5.50, "call-rolled": -0.50}, None, [("Hold", ())]),  # 430 - 60 = 370 lost
        ({"put": -6.40, "call-rolled": -0.50}, None, [("stop_loss", ())]),  # 520 - 60 = 460
        ({"put": -0.66, "call-rolled": -0.50}, None, [("Hold", ())]),  # 54 + 60 = 114 gained
        ({"put": -0.65, "call-rolled": -0.50}, None, [("profit_target", ())]),  # 115
    ],
)
def test_a_roll_of_one_side_neither_stops_nor_pays_the_other(
    row: FuturesStrangle, values: dict[str, float | None], rolled_from: float | None, expected: list[Any]
) -> None:
    sides = [side(row, PUT, 1.20)]
    if "call-rolled" in values:
        sides.append(side(row, CALL, 0.50, "call-rolled"))
    held = replace(strangle(row, *sides), realised={"call": Realised(60.0, 2.0, 1)})
    assert acts(row, held, replace(hold(NOON, values, 100.0), rolled_from=rolled_from)) == expected


def test_a_side_that_stays_is_judged_alone_where_nobody_knows_what_the_other_brought(row: FuturesStrangle) -> None:
    held = replace(strangle(row, side(row, PUT, 1.20)), realised={"call": Realised(None, 2.0, 1)})
    # 240 lost on the put's own 120: twice that. A dollar less is held.
    assert acts(row, held, hold(NOON, {"put": -3.60}, 100.0)) == [("stop_loss", ())]
    assert acts(row, held, hold(NOON, {"put": -3.59}, 100.0)) == [("Hold", ())]


def deltas(row: FuturesStrangle, monkeypatch: pytest.MonkeyPatch, put: float, call: float) -> None:
    known = {Right.PUT: -put / 100, Right.CALL: call / 100}
    monkeypatch.setattr(type(row.tools.greeks), "delta_of", lambda _self, one: known[one.right])


FLAT = {"put": -1.20, "call": -0.80}


@pytest.mark.parametrize(
    ("put", "call", "expected"),
    [
        (30.0, 3.0, [("short_delta", ("put",)), ("short_delta", ())]),
        (29.9, 3.0, [("short_delta", ("put",))]),
        (3.0, 25.0, [("short_delta", ("call",))]),
        (19.9, 3.0, [("Hold", ())]),
    ],
)
def test_its_deltas(
    row: FuturesStrangle, monkeypatch: pytest.MonkeyPatch, put: float, call: float, expected: list[Any]
) -> None:
    deltas(row, monkeypatch, put, call)
    found = acts(row, strangle(row), hold(NOON, FLAT, 100.0))
    assert found[-1:] == expected[-1:]


def test_at_21_days_all_goes(row: FuturesStrangle) -> None:
    due = EXPIRY - timedelta(days=21)
    assert acts(row, strangle(row), hold(at(due, 9, 31), FLAT, 100.0)) == [("days_to_expiry", ())]
    assert acts(row, strangle(row), hold(at(due - timedelta(days=1), 12), FLAT, 100.0)) == [("Hold", ())]


def test_at_20_delta_the_untested_side_is_rolled_once_for_a_credit(
    row: FuturesStrangle, monkeypatch: pytest.MonkeyPatch
) -> None:
    deltas(row, monkeypatch, 20.0, 1.0)
    values = {"put": -2.50, "call": -0.05}
    answers = [row.manage(strangle(row), hold(NOON, values, 100.0)) for _ in range(6)]
    roll = answers[-1]
    assert isinstance(roll, Roll)
    assert (roll.parts, [plan.name for plan in roll.proposal.plans]) == (("call",), ["call-rolled"])
    (leg,) = roll.proposal.package.legs
    assert (leg.contract.expiry, leg.contract.right) == (EXPIRY, Right.CALL)
    assert leg.contract.strike < CALL.strike
    assert roll.proposal.least_cash == pytest.approx(0.05 + 0.01)  # more than the old side costs
    rolled = strangle(row, side(row, PUT, 1.20), side(row, CALL, 0.30, "call-rolled"))
    values = {"put": -1.50, "call-rolled": -0.20}
    assert acts(row, rolled, hold(NOON, values, 100.0)) == [("Hold", ())]


@pytest.mark.parametrize(("vix", "rolls"), [(30.0, True), (30.01, False)])
def test_a_roll_that_the_regime_denies_closes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vix: float, rolls: bool
) -> None:
    """Above VIX 30 no strangle opens: to buy the call back would leave the tested put alone, and bring nothing."""
    fake = market(tmp_path, NOON.date(), cash=200_000.0)
    fake.roots, fake.time, fake.vix = frozenset({"TLT", "SPXW"}), NOON, lambda _: vix
    system, _ = build(fake, **ARRIVED)
    system.open_session(NOON)
    row = system.managers[FuturesStrangle]
    deltas(row, monkeypatch, 20.0, 1.0)
    values = {"put": -2.50, "call": -0.05}
    answers = [row.manage(strangle(row), hold(NOON, values, 100.0)) for _ in range(6)]
    assert isinstance(answers[-1], Roll) == rolls

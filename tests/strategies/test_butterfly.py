"""Butterfly: where it stands after which move, what it may cost, and when it goes."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from core.book import Position
from core.contracts import Package, Right
from core.journal import RecordKind
from strategies.base import Answer, EntryContext, Wait
from strategies.butterfly import Butterfly
from strategies.friday_0dte import FridayZeroDay
from tests.fake_gateway import FRIDAY, build
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, decided, hold, part, position, run


def moved(share: float, level: float = 5000.0) -> Callable[[datetime], float]:
    """The index at its open, and from 10:00 on a share away from it."""

    def spot(now: datetime) -> float:
        return level * (1 + (share if now.time() >= time(10) else 0.0)) + 0.2 * math.sin(now.minute)

    return spot


def market(folder: Path, share: float, vix: float = 20.0, cash: float = 1_000_000.0, day: date = FRIDAY) -> RowGateway:
    return RowGateway(datetime.combine(day, time()), moved(share), lambda _: vix, folder, cash=cash, half_spread=0.0)


def bought(folder: Path, share: float, **options: Any) -> tuple[Package, Any]:
    fake = market(folder, share, **options)
    _, sink = run(fake, FRIDAY, "butterfly", until=time(10, 45))
    assert decided(sink)[0] == ("trade", "filled"), sink.rows(RecordKind.DECISION)
    return fake.sent[0][1], fake.sent[0]


@pytest.mark.parametrize(
    ("share", "right", "strikes"),
    [
        # 10 points at 4500 are 11.2 at 5055: the centre 5043.8 rounds to 5045, wings of 11.2 to 10.
        (0.011, Right.PUT, [5035.0, 5045.0, 5055.0]),
        # 10.99 at 4945: 4955.99 rounds to 4955.
        (-0.011, Right.CALL, [4945.0, 4955.0, 4965.0]),
        # 5.4 hours before the close the straddle at 5035 costs 0.7979 x 5035 x 0.2 x root(5.4 / 8760) = 19.9: the
        # centre is 5000 - 20 = 4980, against the rise; and 5000 + 20 after a fall.
        (0.007, Right.PUT, [4970.0, 4980.0, 4990.0]),
        (-0.007, Right.CALL, [5010.0, 5020.0, 5030.0]),
    ],
)
def test_where_it_stands(tmp_path: Path, share: float, right: Right, strikes: list[float]) -> None:
    package, (when, _, _, limit) = bought(tmp_path, share)
    assert when.time() == time(10, 35)
    assert [(leg.ratio, leg.contract.strike) for leg in package.legs] == list(
        zip((1, -2, 1), (strikes[0], strikes[1], strikes[2]), strict=True)
    )
    assert {(leg.contract.root, leg.contract.right, leg.contract.expiry) for leg in package.legs} == {
        ("SPXW", right, FRIDAY)
    }
    assert limit < 0  # it is paid for


@pytest.mark.parametrize("share", [0.0, 0.0045, -0.0045])
def test_a_small_move_is_left_alone(tmp_path: Path, share: float) -> None:
    _, sink = run(market(tmp_path, share), FRIDAY, "butterfly", until=time(10, 40))
    assert decided(sink) == [("skip", "move")]


@pytest.mark.parametrize("vix", [11.0, 33.0])
def test_at_any_vix(tmp_path: Path, vix: float) -> None:
    bought(tmp_path, 0.011, vix=vix)


def test_its_debits_together_stay_within_500_dollars(tmp_path: Path) -> None:
    _, (_, package, contracts, limit) = bought(tmp_path, 0.011)
    # 0.3 % of 1,000,000 x 20 / 15 is 4,000: 500 dollars bind. Phase 4 has four places.
    assert 1 <= contracts <= 4
    assert -limit * contracts * package.legs[0].contract.multiplier <= 500.0
    assert (contracts + 1) * -limit * 100 > 500.0 or contracts == 4


def test_a_small_account_pays_a_share_of_its_equity(tmp_path: Path) -> None:
    _, (_, package, contracts, limit) = bought(tmp_path / "a", 0.011, cash=80_000.0)
    assert -limit * contracts * package.legs[0].contract.multiplier <= 0.003 * 80_000.0 * 20.0 / 15.0  # 320 dollars
    _, sink = run(market(tmp_path / "b", 0.011, cash=60_000.0), FRIDAY, "butterfly", until=time(10, 40))
    assert decided(sink) == [("skip", "places")]  # phase 2 has none


def test_over_its_debit_nothing_is_bought(tmp_path: Path) -> None:
    fake = market(tmp_path, 0.011)
    _, sink = run(fake, FRIDAY, "butterfly", until=time(10, 52), butterfly__max_debit="20")
    assert decided(sink) == [("skip", "debit")]
    assert fake.sent == []


def test_over_its_debit_a_tenth_of_it_is_bought_where_one_is_listed(tmp_path: Path) -> None:
    """The largest contract of the family that fits: 60 dollars buy no SPXW (155), but an XSP (16)."""
    fake = market(tmp_path, 0.011)
    fake.roots = fake.roots | {"XSP"}
    _, sink = run(fake, FRIDAY, "butterfly", until=time(10, 52), butterfly__max_debit="60")
    assert decided(sink) == [("trade", "filled")], sink.rows(RecordKind.DECISION)
    _, package, contracts, limit = fake.sent[0]
    # At 505.5 the wings of 11.2 index points are 1 of its points, and one of it is worth 100 dollars at most.
    assert {leg.contract.root for leg in package.legs} == {"XSP"}
    assert 0 < -limit * contracts * 100 <= 60.0


def test_without_a_chain_of_today_or_a_vix_nothing_opens(tmp_path: Path) -> None:
    fake = market(tmp_path / "chain", 0.011)
    fake.expires = lambda day: day > FRIDAY
    _, sink = run(fake, FRIDAY, "butterfly", until=time(10, 52))
    assert decided(sink) == [("skip", "no_expiry")]
    fake = market(tmp_path / "vix", 0.011)
    fake.missing.add("VIX")
    _, sink = run(fake, FRIDAY, "butterfly", until=time(10, 52))
    assert decided(sink) == [("skip", "vix_missing")]


@pytest.fixture
def row(tmp_path: Path) -> Butterfly:
    system, _ = build(market(tmp_path, 0.011), **ARRIVED)
    return system.managers[Butterfly]


@pytest.mark.parametrize(
    ("now", "close", "value", "expected"),
    [
        (time(12), time(16), 4.00, [("profit_target", ("whole",))]),  # 3.00 gained on 1.00
        (time(12), time(16), 3.99, [("Hold", ())]),
        (time(12), time(16), 0.0, [("Hold", ())]),  # the debit is its stop: there is no other
        (time(12), time(16), None, [("Hold", ())]),
        (time(15, 19), time(16), 1.0, [("Hold", ())]),
        (time(15, 20), time(16), 1.0, [("last_day", ("whole",))]),  # done by 15:30: urgent from ten minutes before
        (time(15, 30), time(16), 1.0, [("last_day", ("whole",))]),
        (time(12, 19), time(13), 1.0, [("Hold", ())]),
        (time(12, 20), time(13), 1.0, [("last_day", ("whole",))]),  # a half day: before 12:30
    ],
)
def test_what_closes_it(
    row: Butterfly, now: time, close: time, value: float | None, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    held = butterfly(row)
    row.tools.gateway.subscribe([leg.contract for leg in held.legs])
    assert acts(row, held, hold(datetime.combine(FRIDAY, now), {"whole": value}, 5050.0, close)) == expected


def butterfly(row: Butterfly) -> Position:
    legs = {
        contract("SPXW", FRIDAY, 5035.0): (1, 4.0),
        contract("SPXW", FRIDAY, 5045.0): (-2, 5.0),
        contract("SPXW", FRIDAY, 5055.0): (1, 7.0),
    }
    return position(row, part(row, "whole", legs, at(FRIDAY, 10, 36)))  # 4 - 10 + 7: 1.00 paid


def test_what_brings_nothing_is_left_to_settle(row: Butterfly) -> None:
    held, fake = butterfly(row), row.tools.gateway
    assert isinstance(fake, RowGateway)
    late = hold(at(FRIDAY, 15, 20), {"whole": 0.05}, 5050.0)
    assert acts(row, held, late) == [("Hold", ())]  # no leg has a quote
    fake.subscribe([leg.contract for leg in held.legs])
    fake.half_spread = 2.0  # 4 x 2 points to cross for what is worth half a point
    assert acts(row, held, late) == [("Hold", ())]


def test_it_looks_behind_the_0dte_s_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 0DTE has until 10:45 to find its quotes: at 10:35 it may not be decided yet."""
    looked = FridayZeroDay.propose

    def late(self: FridayZeroDay, context: EntryContext, rank: int) -> Answer:
        waits = context.now.time() < time(10, 39)
        return Wait("quotes", "no quote yet") if waits else looked(self, context, rank)

    monkeypatch.setattr(FridayZeroDay, "propose", late)
    fake = market(tmp_path, 0.011, vix=24.0)
    _, sink = run(fake, FRIDAY, "butterfly,friday_0dte", until=time(10, 46))
    assert {row["strategy"]: row["rule"] for row in sink.rows(RecordKind.DECISION)} == {
        "friday_0dte": "filled",
        "butterfly": "filled",
    }
    assert [(when.time(), len(package.legs)) for when, package, _, _ in fake.sent] == [
        (time(10, 39), 2),  # a call spread after the rise
        (time(10, 39), 3),
    ]

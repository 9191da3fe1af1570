"""Diagonal: which two puts in which ticker, at which VIX, and what closes them."""

from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.contracts import Contract
from core.journal import RecordKind
from greeks.service import CentralGreeksService
from strategies.diagonal import Diagonal
from tests.fake_gateway import build
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, gateway, hold, part, position, run

TUESDAY = date(2024, 3, 5)
FAR, NEAR = date(2024, 5, 3), date(2024, 4, 5)  # Fridays: 59 days on (60 is a Saturday) and 31


def market(folder: Path, day: date = TUESDAY, vix: float = 14.0, **options: Any) -> RowGateway:
    found = gateway(folder, day, vix=vix, **options)
    found.roots = frozenset({"SPY", "QQQ", "IWM"})
    return found


def by_slot(sink: Any) -> dict[str, str]:
    return {row["slot"]: row["rule"] for row in sink.rows(RecordKind.DECISION)}


def test_tuesday_buys_60_days_and_sells_30_one_strike_under(tmp_path: Path) -> None:
    fake = market(tmp_path)
    _, sink = run(fake, TUESDAY, "diagonal", until=time(10, 24), greeks__risk_free_rate="0.02")
    assert by_slot(sink)["SPY"] == "filled", sink.rows(RecordKind.DECISION)
    when, package, contracts, limit = fake.sent[0]
    long, short = package.legs
    assert (when.time(), contracts) == (time(10, 15), 1)
    assert (long.ratio, long.contract.root, long.contract.expiry) == (1, "SPY", FAR)
    assert (short.ratio, short.contract.root, short.contract.expiry) == (-1, "SPY", NEAR)
    # SPY at 500, 14 %, 59 days: sigma x root t = 0.0563. 30 delta: d1 = 0.524, ln(500 / K) = 0.0295 - 0.0024 = 0.0271:
    # K = 486.6. At 31 days a put there has d1 = (0.0271 + 0.0013) / 0.0408 = 0.70, 24 delta: every strike further down
    # has less, so that the next one under it leaves the least of the package's delta.
    assert long.contract.strike == pytest.approx(486.6, abs=1)
    assert short.contract.strike == long.contract.strike - 1
    assert -20.0 <= limit < 0  # at most 4 % of 500


@pytest.mark.parametrize(
    ("vix", "count", "rule"),
    [
        (14.9, 3, "filled"),  # phase 4 has four places: each ticker
        (15.0, 2, "filled"),  # half of them
        (18.0, 2, "filled"),
        (18.01, 0, "vix_window"),
    ],
)
def test_half_of_the_places_from_vix_15_and_none_above_18(tmp_path: Path, vix: float, count: int, rule: str) -> None:
    system, sink = run(market(tmp_path, vix=vix), TUESDAY, "diagonal", until=time(10, 32))
    rules = by_slot(sink)
    assert rules["SPY"] == rule
    assert len(system.book.positions) <= count
    if count == 2:
        assert "places" in rules.values() or len(system.book.positions) < 2


def test_phase_2_has_no_place(tmp_path: Path) -> None:
    _, sink = run(market(tmp_path, cash=60_000.0), TUESDAY, "diagonal", until=time(10, 20))
    assert set(by_slot(sink).values()) == {"places"}


def test_a_debit_over_4_percent_of_the_price_is_not_paid(tmp_path: Path) -> None:
    fake = market(tmp_path)
    _, sink = run(fake, TUESDAY, "diagonal", until=time(10, 32), diagonal__max_debit="0.001")  # 0.50 of SPY's 500
    assert by_slot(sink)["SPY"] == "debit"
    assert all(leg.contract.root != "SPY" for _, package, _, _ in fake.sent for leg in package.legs)


def test_days_and_expiries(tmp_path: Path) -> None:
    monday = TUESDAY - timedelta(days=1)
    _, sink = run(market(tmp_path / "a", monday), monday, "diagonal", until=time(10, 20))
    assert by_slot(sink) == {}
    fake = market(tmp_path / "b")
    fake.expires = lambda day: day < TUESDAY + timedelta(days=45)
    _, sink = run(fake, TUESDAY, "diagonal", until=time(10, 20))
    assert set(by_slot(sink).values()) == {"no_expiry"}


NOON = at(date(2024, 3, 12), 12)
LONG, SHORT = contract("SPY", FAR, 487.0), contract("SPY", NEAR, 486.0)


@pytest.fixture
def row(tmp_path: Path) -> Diagonal:
    fake = market(tmp_path, NOON.date())
    fake.time = NOON
    system, _ = build(fake, **ARRIVED)
    system.open_session(NOON)
    return system.managers[Diagonal]


def diagonal(row: Diagonal) -> Any:
    legs = {LONG: (1, 6.0), SHORT: (-1, 3.0)}  # 3.00 paid
    return position(row, part(row, "whole", legs, at(TUESDAY, 10, 16)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.50, [("stop_loss", ("whole",))]),  # half of 3.00 lost
        (1.51, [("Hold", ())]),
        (3.20, [("Hold", ())]),
        (None, [("Hold", ())]),
    ],
)
def test_half_of_the_debit_is_its_stop(row: Diagonal, value: float | None, expected: list[Any]) -> None:
    assert acts(row, diagonal(row), hold(NOON, {"whole": value}, 500.0)) == expected


def test_half_of_the_most_at_the_short_expiry_is_its_target(row: Diagonal, monkeypatch: pytest.MonkeyPatch) -> None:
    def known(_self: CentralGreeksService, one: Contract) -> float:
        assert one == LONG
        return 0.14

    monkeypatch.setattr(CentralGreeksService, "volatility_of", known)
    monkeypatch.setattr(CentralGreeksService, "carry_of", lambda _self, _ticker: (0.02, 0.015))
    # 28 days at 14 %: sigma x root t = 0.0388. Price and strike 486 and 487: about 0.3989 x 486.5 x 0.0388 = 7.53, half
    # a point for the strike above, less 0.005 x 0.0767 x 486.5 / 2 = 0.09 of carry: 7.9. Less 3.00 paid: 4.9 at most.
    before = [("Hold", ())]
    assert acts(row, diagonal(row), hold(NOON, {"whole": 3.0 + 0.24 * 3.0}, 500.0)) == before
    day = at(date(2024, 3, 12), 12)  # 24 days before the short expiry: the early profit is not due yet
    assert acts(row, diagonal(row), hold(day, {"whole": 3.0 + 2.40}, 500.0)) == before
    assert acts(row, diagonal(row), hold(day, {"whole": 3.0 + 2.50}, 500.0)) == [("profit_target", ("whole",))]


def test_days_left(row: Diagonal) -> None:
    def on(days: int, value: float) -> list[Any]:
        return acts(row, diagonal(row), hold(at(NEAR - timedelta(days=days), 12), {"whole": value}, 500.0))

    assert on(21, 3.80) == [("Hold", ())]
    assert on(20, 3.75) == [("Hold", ())]  # 25 % of 3.00, not over it
    assert on(20, 3.76) == [("early_profit", ("whole",))]
    assert on(8, 3.20) == [("Hold", ())]
    assert on(7, 3.20) == [("days_to_expiry", ("whole",))]


@pytest.mark.parametrize(
    ("vix", "expected"), [(18.0, [("Hold", ())]), (18.01, [("vix_window", ())]), (None, [("Hold", ())])]
)
def test_above_vix_18_it_is_closed(row: Diagonal, vix: float | None, expected: list[Any]) -> None:
    assert acts(row, diagonal(row), hold(NOON, {"whole": 3.2}, 500.0, vix=vix)) == expected


@pytest.mark.parametrize(("near", "found"), [(31, True), (38, False), (24, True)])
def test_an_expiry_is_within_a_quarter_of_its_days(tmp_path: Path, near: int, found: bool) -> None:
    """Of 30 days a quarter is 7.5: 37 days are within it and 38 are not."""
    fake = market(tmp_path)
    fake.expires = lambda day: (day - TUESDAY).days in (near, 59)
    _, sink = run(fake, TUESDAY, "diagonal", until=time(10, 24))
    assert (by_slot(sink)["SPY"] != "no_expiry") == found

"""Ratio spread: what it opens in which ticker, and what closes both of its parts or one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.contracts import Contract
from core.journal import RecordKind
from strategies.ratio import Ratio
from tests.fake_gateway import build, run_day
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, gateway, hold, part, position, run

TUESDAY = date(2024, 3, 5)
EXPIRY = date(2024, 4, 19)  # a Friday, 45 days on
TICKERS = frozenset({"SPY", "IWM", "TLT"})


def market(folder: Path, day: date = TUESDAY, **options: Any) -> RowGateway:
    found = gateway(folder, day, **options)
    found.roots = TICKERS
    return found


def by_slot(sink: Any) -> dict[str, str]:
    return {row["slot"]: row["rule"] for row in sink.rows(RecordKind.DECISION)}


def test_tuesday_buys_one_put_and_sells_two_below_it_for_a_credit(tmp_path: Path) -> None:
    fake = market(tmp_path)
    _, sink = run(fake, TUESDAY, "ratio", until=time(10, 8))
    assert by_slot(sink)["SPY"] == "filled", sink.rows(RecordKind.DECISION)
    when, package, contracts, limit = fake.sent[0]
    long, short = package.legs
    assert (when.time(), contracts, limit > 0) == (time(10), 1, True)
    assert [(leg.ratio, leg.contract.root, leg.contract.expiry) for leg in package.legs] == [
        (1, "SPY", EXPIRY),
        (-2, "SPY", EXPIRY),
    ]
    # SPY at 500, 20 %, 45 days: sigma x root t = 0.0702. 25 delta: d1 = 0.674, ln(500 / K) = 0.0473 - 0.0031 = 0.0442:
    # K = 478; 16 delta: d1 = 0.994, ln(500 / K) = 0.0698 - 0.0031 = 0.0667: K = 468.
    assert long.contract.strike == pytest.approx(478, abs=1)
    assert short.contract.strike == pytest.approx(468, abs=1)


def test_one_a_ticker_and_as_many_as_the_phase_allows(tmp_path: Path) -> None:
    system, sink = run(market(tmp_path), TUESDAY, "ratio", until=time(10, 14))
    assert list(by_slot(sink)) == ["SPY", "IWM", "TLT"]
    held = [row.underlying.ticker for row in system.book.positions.values()]
    assert held[0] == "SPY"
    assert len(held) == len(set(held))
    (first, *_) = system.book.positions.values()
    assert [row.name for row in first.parts] == ["long", "short"]


@pytest.mark.parametrize(("vix", "rule"), [(12.99, "vix_window"), (13.0, "filled"), (35.01, "vix_window")])
def test_its_vix_window(tmp_path: Path, vix: float, rule: str) -> None:
    _, sink = run(market(tmp_path, vix=vix), TUESDAY, "ratio", until=time(10, 8))
    assert by_slot(sink)["SPY"] == rule


def test_an_entry_without_a_place_in_its_group_asks_quotes_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Group A2 (SPY, IWM) holds one, and that place is kept for what ends the same day. TLT is of another group."""
    fake, asked = market(tmp_path), set[str]()
    subscribe = fake.subscribe

    def noted(contracts: list[Contract]) -> None:
        asked.update(row.root for row in contracts)
        subscribe(contracts)

    monkeypatch.setattr(fake, "subscribe", noted)
    _, sink = run(fake, TUESDAY, "ratio", until=time(10, 8), correlation__equity_options_limit="1")
    assert by_slot(sink) == {"SPY": "correlation", "IWM": "correlation", "TLT": "filled"}
    assert asked == {"TLT"}
    denied = [row["reason"] for row in sink.rows(RecordKind.RISK) if row["severity"] == "denied"]
    assert denied == ["0 of 0 positions are open in group A2"] * 2  # told by the window, not by the minutes before it


def test_an_entry_that_opens_other_parts_than_it_names_is_an_error(tmp_path: Path) -> None:
    """By the parts that it names it is let in: one that opened others would have passed a rule that it did not."""
    system, sink = build(market(tmp_path), run__strategies="ratio", **ARRIVED)
    (row,) = system.coordinator.strategies
    assert isinstance(row, Ratio)
    row.entries = tuple(replace(entry, parts=("long",)) for entry in row.entries)
    fake = system.gateway
    assert isinstance(fake, RowGateway)
    run_day(system, fake, TUESDAY, until=time(10, 5))
    assert by_slot(sink)["SPY"] == "strategy_error"
    assert fake.sent == []


def test_days_places_and_chains(tmp_path: Path) -> None:
    monday = TUESDAY - timedelta(days=1)
    _, sink = run(market(tmp_path / "monday", monday), monday, "ratio", until=time(10, 5))
    assert by_slot(sink) == {}
    wednesday = TUESDAY + timedelta(days=1)
    fake = market(tmp_path / "moved", wednesday, closed_days=frozenset({TUESDAY}))
    _, sink = run(fake, wednesday, "ratio", until=time(10, 8))
    assert by_slot(sink)["SPY"] == "filled"
    _, sink = run(market(tmp_path / "small", cash=45_000.0), TUESDAY, "ratio", until=time(10, 5))
    assert set(by_slot(sink).values()) == {"places"}  # phase 1 has none
    fake = market(tmp_path / "chain")
    fake.expires = lambda day: not TUESDAY + timedelta(days=29) < day < TUESDAY + timedelta(days=61)
    _, sink = run(fake, TUESDAY, "ratio", until=time(10, 5))
    assert set(by_slot(sink).values()) == {"no_expiry"}  # 30 to 60 days and no other


def test_a_debit_is_not_taken(tmp_path: Path) -> None:
    fake = market(tmp_path)
    fake.half_spread = 1.0  # natural: -2 x 2.0 and +1: three points worse than mid
    _, sink = run(fake, TUESDAY, "ratio", until=time(10, 16))
    assert fake.sent == []
    assert by_slot(sink)["SPY"] != "filled"


NOON = at(date(2024, 3, 20), 12)
LONG, SHORT = contract("SPY", EXPIRY, 478.0), contract("SPY", EXPIRY, 468.0)


@pytest.fixture
def row(tmp_path: Path) -> Ratio:
    fake = market(tmp_path, NOON.date())
    fake.time = NOON
    system, _ = build(fake, **ARRIVED)
    system.open_session(NOON)
    return system.managers[Ratio]


def ratio(row: Ratio, *names: str) -> Any:
    """5.00 paid and 2 x 3.00 taken in: a credit of 1.00."""
    opened = at(TUESDAY, 10, 1)
    parts = {
        "long": part(row, "long", {LONG: (1, 5.00)}, opened),
        "short": part(row, "short", {SHORT: (-2, 3.00)}, opened),
    }
    return position(row, *(parts[name] for name in names or parts), slot="SPY")


@pytest.mark.parametrize(
    ("long", "short", "spot", "expected"),
    [
        (2.00, -2.50, 500.0, [("profit_target", ())]),  # -3.00 + 3.50: 0.50 of 1.00
        (2.00, -2.51, 500.0, [("Hold", ())]),
        (20.0, -25.0, 478.01, [("Hold", ())]),  # 15.00 gained and 19.00 lost: no price stops it
        (20.0, -25.0, 478.0, [("long_strike", ())]),
        (None, -2.50, 500.0, [("Hold", ())]),
        (12.0, -16.0, 490.0, [("Hold", ())]),  # the long put more than doubled, but it covers one of the short ones
    ],
)
def test_what_closes_both(
    row: Ratio, long: float | None, short: float, spot: float, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert acts(row, ratio(row), hold(NOON, {"long": long, "short": short}, spot)) == expected


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (29.9, [("Hold", ())]),
        (30.0, [("short_delta", ("short",))]),
        (39.9, [("short_delta", ("short",))]),
        (40.0, [("short_delta", ())]),
    ],
)
def test_its_deltas(row: Ratio, monkeypatch: pytest.MonkeyPatch, delta: float, expected: list[Any]) -> None:
    known: dict[Contract, float] = {LONG: -0.6, SHORT: -delta / 100}
    monkeypatch.setattr(type(row.tools.greeks), "delta_of", lambda _self, one: known[one])
    found = acts(row, ratio(row), hold(NOON, {"long": 8.0, "short": -11.0}, 485.0))
    assert found == expected


def test_two_rules_of_one_look_ask_for_a_delta_once(row: Ratio, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Contract] = []

    def delta_of(_service: object, contract: Contract) -> float:
        asked.append(contract)
        return -0.29

    monkeypatch.setattr(type(row.tools.greeks), "delta_of", delta_of)
    assert acts(row, ratio(row), hold(NOON, {"long": 8.0, "short": -11.0}, 485.0)) == [("Hold", ())]
    assert asked == [SHORT]  # by the exit at 40 delta, and by the one at 30


def test_a_long_put_that_is_left_stays_until_it_doubled_or_has_21_days(row: Ratio) -> None:
    alone = ratio(row, "long")
    assert acts(row, alone, hold(NOON, {"long": 9.99}, 470.0)) == [("Hold", ())]  # under its own strike: no stop now
    assert acts(row, alone, hold(NOON, {"long": 10.0}, 470.0)) == [("profit_target", ())]
    due = at(EXPIRY - timedelta(days=21), 9, 31)
    assert acts(row, alone, hold(due, {"long": 6.0}, 490.0)) == [("days_to_expiry", ())]


def test_at_21_days_all_goes(row: Ratio) -> None:
    values = {"long": 3.0, "short": -4.0}
    due = EXPIRY - timedelta(days=21)
    assert acts(row, ratio(row), hold(at(due, 9, 31), values, 500.0)) == [("days_to_expiry", ())]
    assert acts(row, ratio(row), hold(at(due - timedelta(days=1), 12), values, 500.0)) == [("Hold", ())]

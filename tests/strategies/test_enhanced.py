"""Enhanced positions: the strangle with a ratio side, and the puts that are sold once an episode of fear."""

# Private: _episode_began: the day that it reads from history, alone.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.contracts import Right
from core.gateway import DailyBar
from core.journal import RecordKind
from core.parts import Trait
from strategies.enhanced import Enhanced
from tests.fake_gateway import build, run_day
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, gateway, hold, part, position, run

TUESDAY = date(2024, 3, 12)  # the second of its month
EXPIRY = date(2024, 4, 26)  # the Friday 45 days on
MONDAY = date(2024, 3, 4)
NEAR, FAR = date(2024, 4, 19), date(2024, 5, 3)  # from the Monday: 46 and 60 days


class Fear(RowGateway):
    """The VIX closed at 20 until a day, and high since."""

    calm_until = MONDAY - timedelta(days=3)

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        bars = list(super().daily_bars(ticker, count))
        if ticker != "VIX":
            return bars
        return [replace(bar, close=20.0, low=19.0) if bar.day <= self.calm_until else bar for bar in bars]


def market(folder: Path, day: date, vix: float, cash: float = 1_000_000.0) -> Fear:
    calm = gateway(folder, day, vix=vix, cash=cash)
    found = Fear(calm.time, calm.spot, calm.vix, folder, cash=cash, half_spread=0.0)
    found.roots = frozenset({"SPY", "ES", "IWM"})
    return found


def by_slot(sink: Any, window: str) -> dict[str, str]:
    return {row["slot"]: row["rule"] for row in sink.rows(RecordKind.DECISION) if row["window"] == window}


# (a)


def test_the_second_tuesday_sells_a_call_and_a_put_ratio(tmp_path: Path) -> None:
    fake = market(tmp_path, TUESDAY, 20.0)
    _, sink = run(fake, TUESDAY, "enhanced", until=time(10, 38))
    assert by_slot(sink, "strangle") == {"": "filled"}, sink.rows(RecordKind.DECISION)
    assert set(by_slot(sink, "opportunity").values()) == {"vix_window"}
    when, package, contracts, limit = fake.sent[0]
    assert (when.time(), contracts, limit > 0) == (time(10, 30), 1, True)
    assert {(leg.contract.root, leg.contract.expiry) for leg in package.legs} == {("SPY", EXPIRY)}
    found = {(leg.ratio, leg.contract.right): leg.contract.strike for leg in package.legs}
    # SPY at 500, 20 %, 45 days: sigma x root t = 0.0702. 25 delta: K = 478; 16 delta: K = 468 (as in the ratio's row);
    # an 8 delta call: d1 = -1.405: ln(500 / K) = -0.0986 - 0.0031: K = 554.
    assert found[1, Right.PUT] == pytest.approx(478, abs=1)
    assert found[-2, Right.PUT] == pytest.approx(468, abs=1)
    assert found[-1, Right.CALL] == pytest.approx(554, abs=1.5)


@pytest.mark.parametrize(("vix", "rule"), [(12.99, "vix_window"), (30.0, "filled"), (30.01, "vix_window")])
def test_the_strangles_vix_window(tmp_path: Path, vix: float, rule: str) -> None:
    _, sink = run(market(tmp_path, TUESDAY, vix), TUESDAY, "enhanced", until=time(10, 38))
    assert by_slot(sink, "strangle") == {"": rule}


def test_not_on_another_tuesday_nor_without_a_place(tmp_path: Path) -> None:
    first = TUESDAY - timedelta(days=7)
    _, sink = run(market(tmp_path / "a", first, 20.0), first, "enhanced", until=time(10, 35))
    assert by_slot(sink, "strangle") == {}
    _, sink = run(market(tmp_path / "b", TUESDAY, 20.0, cash=45_000.0), TUESDAY, "enhanced", until=time(10, 35))
    assert by_slot(sink, "strangle") == {"": "places"}


@pytest.mark.parametrize(("root", "waits"), [("ES", True), ("TLT", False)])
def test_not_beside_a_strangle_of_its_group(
    root: str, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangles stand in equity futures (group A1); futures and options of equity (A2) are one group here."""
    fake = market(tmp_path, TUESDAY, 20.0)
    system, sink = build(fake, **ARRIVED, run__strategies="enhanced")
    row = system.managers[Enhanced]
    legs = {contract(root, date(2024, 6, 7), 430.0): (-1, 1.0)}
    held = position(row, part(row, "whole", legs, at(MONDAY, 10)))
    strangle = replace(held, id="strangle-1", strategy="futures_strangle")
    monkeypatch.setattr(type(system.book), "exposed", lambda _self: iter([strangle]))
    run_day(system, fake, TUESDAY, until=time(10, 35))
    assert (by_slot(sink, "strangle")[""] == "beside") == waits


# (b)


def test_over_vix_30_each_of_three_puts_is_sold(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, 34.0)
    system, sink = run(fake, MONDAY, "enhanced", until=time(10, 46))
    rules = by_slot(sink, "opportunity")
    assert rules["near"] == "filled", sink.rows(RecordKind.DECISION)
    assert rules["reserve"] == "vix_window"
    sold = {package.legs[0].contract.root: package.legs[0].contract for _, package, _, _ in fake.sent}
    assert all(len(package.legs) == 1 and package.legs[0].ratio == -1 for _, package, _, _ in fake.sent)
    # SPY at 500, 34 %, 46 days: sigma x root t = 0.1207; 20 delta: d1 = 0.842: ln(500 / K) = 0.1016 - 0.0079: K = 455.
    first = fake.sent[0][1].legs[0].contract
    assert (first.root, first.expiry, first.right) == ("SPY", NEAR, Right.PUT)
    assert first.strike == pytest.approx(455, abs=1.5)
    assert {"SPY", "ES"} <= set(sold) or "IWM" in sold  # the group of equities has two places
    if "IWM" in sold:  # at 250: 25 delta: d1 = 0.674: ln(250 / K) = 0.0814 - 0.0079: K = 232
        assert sold["IWM"].strike == pytest.approx(232, abs=1.5)
    if "ES" in sold:
        assert sold["ES"].expiry == FAR
    for row in system.book.positions.values():
        assert row.slot == row.parts[0].name
        assert Trait.PUT_SELLING in row.traits


def test_as_many_as_its_share_of_the_budget_carries_at_the_line(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, 34.0)
    _, sink = run(fake, MONDAY, "enhanced", until=time(10, 46), enhanced__opportunity_budget="0.002")
    # 30 % of 0.2 % of 1,000,000 are 600 dollars; a put at 455 with the price at 450 loses more than ten points.
    assert by_slot(sink, "opportunity")["near"] == "opportunity_budget"
    assert fake.sent == []


@pytest.mark.parametrize(("cash", "root"), [(150_000.0, "SPY"), (1_000_000.0, "ES")])
def test_the_far_put_is_on_the_future_where_its_share_carries_one_else_on_spy(
    tmp_path: Path, cash: float, root: str
) -> None:
    """ES at 5000, 34 %, 60 days: 15 delta stands at 4390. Ten per cent down, 200 points or more lost are 10,000 dollars

    of 50 each: 30 % of 15 % of 150,000 are 6,750, of 1,000,000 they are 45,000. A SPY put loses a fifth of that.
    """
    fake = market(tmp_path, MONDAY, 34.0, cash=cash)
    fake.roots = frozenset({"SPY", "ES"})
    _, sink = run(fake, MONDAY, "enhanced", until=time(10, 50), enhanced__opportunity_shares="0,0.30,0,0")
    assert by_slot(sink, "opportunity")["far"] == "filled", sink.rows(RecordKind.DECISION)
    assert [package.legs[0].contract.root for _, package, _, _ in fake.sent] == [root]
    assert by_slot(sink, "opportunity")["near"] == "opportunity_budget"


def test_once_an_episode_and_again_in_the_next(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, 34.0)
    system, sink = run(fake, MONDAY, "enhanced", until=time(10, 46))
    assert by_slot(sink, "opportunity")["near"] == "filled"
    tuesday = MONDAY + timedelta(days=1)
    run_day(system, fake, tuesday, until=time(10, 46))
    assert by_slot(sink, "opportunity")["near"] in ("episode", "places")
    row = system.managers[Enhanced]
    assert row._episode_began(tuesday) == fake.calm_until
    assert row._episode_began(fake.calm_until) == fake.calm_until - timedelta(days=1)


def test_the_last_fifth_waits_for_vix_40(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, 41.0)
    _, sink = run(fake, MONDAY, "enhanced", until=time(10, 46))
    assert by_slot(sink, "opportunity")["reserve"] != "vix_window"


NOON = at(date(2024, 3, 20), 12)


@pytest.fixture
def row(tmp_path: Path) -> Enhanced:
    system, _ = build(market(tmp_path, NOON.date(), 20.0), **ARRIVED)
    return system.managers[Enhanced]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1.00, [("profit_target", ("near",))]),  # half of 2.00
        (-1.01, [("Hold", ())]),
        (-5.99, [("Hold", ())]),
        (-6.00, [("stop_loss", ("near",))]),  # 4.00 lost on 2.00
        (None, [("Hold", ())]),
    ],
)
def test_its_target_and_its_stop(row: Enhanced, value: float | None, expected: list[Any]) -> None:
    put = part(row, "near", {contract("SPY", EXPIRY, 455.0): (-1, 2.0)}, at(MONDAY, 10, 31))
    assert acts(row, position(row, put, slot="near"), hold(NOON, {"near": value}, 500.0)) == expected


def test_at_21_days_all_goes(row: Enhanced) -> None:
    legs = {
        contract("SPY", EXPIRY, 478.0): (1, 5.0),
        contract("SPY", EXPIRY, 468.0): (-2, 3.0),
        contract("SPY", EXPIRY, 554.0, Right.CALL): (-1, 1.0),
    }
    held = position(row, part(row, "whole", legs, at(TUESDAY, 10, 31)))  # 2.00 brought
    due = EXPIRY - timedelta(days=21)
    assert acts(row, held, hold(at(due, 9, 31), {"whole": -1.5}, 500.0)) == [("days_to_expiry", ("whole",))]
    assert acts(row, held, hold(at(due - timedelta(days=1), 12), {"whole": -1.5}, 500.0)) == [("Hold", ())]

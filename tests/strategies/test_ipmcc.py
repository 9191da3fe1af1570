"""IPMCC: when a long call is bought, which weekly is sold against it, and what ends or rolls the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.book import ClosedTrade
from core.contracts import Right
from core.gateway import DailyBar
from core.journal import RecordKind
from core.parts import Part, Realised, Urgency
from market.trend import Trend, TrendDirection
from risk.proposal import Proposal, is_covered
from strategies.base import Close, EntryContext, Roll
from strategies.ipmcc import Ipmcc
from tests.fake_gateway import build, run_day
from tests.strategies.rows import ARRIVED, RowGateway, acts, at, contract, gateway, hold, part, position, run

MONDAY = date(2024, 3, 4)
FRIDAY = date(2024, 3, 8)
EXPIRY = date(2025, 3, 7)
ONE: dict[str, Any] = {"ipmcc__tickers": "SPY"}
Bend = Callable[[int, DailyBar], DailyBar]


class Bent(RowGateway):
    """Daily bars that a test bends: ``days`` back is 1 for the newest."""

    bend: Bend = staticmethod(lambda days, bar: bar)

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        bars = super().daily_bars(ticker, count)
        return [self.bend(len(bars) - place, bar) for place, bar in enumerate(bars)]


def sagging(days: int, bar: DailyBar) -> DailyBar:
    """The close before is a little under the others: no high; the range still touches the averages."""
    return replace(bar, close=bar.close * 0.999) if days == 1 else bar


def market(folder: Path, day: date, bend: Bend = sagging, **options: Any) -> Bent:
    calm = gateway(folder, day, **options)
    found = Bent(calm.time, calm.spot, calm.vix, folder, cash=calm.cash, half_spread=0.0)
    found.bend = bend
    return found


def test_a_long_call_at_80_delta_a_year_out(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, vix=18.0)
    _, sink = run(fake, MONDAY, "ipmcc", until=time(10, 10), **ONE)
    (row,) = sink.rows(RecordKind.DECISION)
    assert (row["slot"], row["outcome"], row["rule"]) == ("SPY", "trade", "filled")
    when, package, contracts, limit = fake.sent[0]
    (leg,) = package.legs
    assert (when.time(), contracts, leg.ratio, limit < 0) == (time(10), 1, 1, True)
    assert (leg.contract.right, leg.contract.expiry) == (Right.CALL, EXPIRY)
    # 18 %, 368 days: sigma x root t = 0.1807; 80 delta: d1 = 0.842, carry between 0.5 and 3.5 %:
    # K = 500 x exp(-0.842 x 0.1807 + 0.0163 + 0.005..0.035) = 438 to 452.
    assert 436 <= leg.contract.strike <= 454


def high(days: int, bar: DailyBar) -> DailyBar:
    return replace(bar, close=bar.close * 1.004) if days == 1 else bar


def above(tested: int) -> Bend:
    """A rise of a quarter three weeks ago: the averages lie 5 and 10 % under the prices since. One day tested them."""

    def bend(days: int, bar: DailyBar) -> DailyBar:
        level = 0.8 if days > 15 else 1.0
        low = 0.9 if days == tested else 1.0
        close = 0.999 if days == 1 else 1.0
        return replace(bar, low=bar.low * level * low, high=bar.high * level, close=bar.close * level * close)

    return bend


@pytest.mark.parametrize(
    ("bend", "rule"),
    [(high, "trend"), (above(3), "filled"), (above(4), "trend"), (above(10), "trend"), (above(11), "filled")],
)
def test_what_the_trend_allows(tmp_path: Path, bend: Bend, rule: str) -> None:
    _, sink = run(market(tmp_path, MONDAY, bend, vix=18.0), MONDAY, "ipmcc", until=time(10, 10), **ONE)
    assert [row["rule"] for row in sink.rows(RecordKind.DECISION)] == [rule]


def test_over_vix_30_a_new_one_waits_and_nothing_without_vix_or_chain(tmp_path: Path) -> None:
    _, sink = run(market(tmp_path / "a", MONDAY, vix=30.1), MONDAY, "ipmcc", until=time(10, 10), **ONE)
    assert [row["rule"] for row in sink.rows(RecordKind.DECISION)] == ["vix_regime"]
    fake = market(tmp_path / "b", MONDAY)
    fake.missing.add("VIX")
    _, sink = run(fake, MONDAY, "ipmcc", **ONE)
    assert [row["rule"] for row in sink.rows(RecordKind.DECISION)] == ["vix_missing"]
    fake = market(tmp_path / "c", MONDAY)
    fake.expires = lambda day: day < MONDAY + timedelta(days=200)
    _, sink = run(fake, MONDAY, "ipmcc", until=time(10, 10), **ONE)
    assert [row["rule"] for row in sink.rows(RecordKind.DECISION)] == ["no_expiry"]


def test_the_first_weekly_on_the_first_friday_and_no_second_long_call(tmp_path: Path) -> None:
    fake = market(tmp_path, MONDAY, vix=18.0)
    system, sink = run(fake, MONDAY, "ipmcc", until=time(10, 10), **ONE)
    run_day(system, fake, FRIDAY, until=time(10, 10))
    rows = {(row["window"], row["day"]): row["rule"] for row in sink.rows(RecordKind.DECISION)}
    assert rows["weekly", "2024-03-08"] == "filled"
    assert rows["leap", "2024-03-08"] == "held"
    (held,) = system.book.positions.values()
    assert [row.name for row in held.parts] == ["leap", "weekly"]
    (leg,) = held.parts[1].package.legs
    assert (leg.ratio, leg.contract.right, leg.contract.expiry) == (-1, Right.CALL, date(2024, 3, 15))


NOON = at(date(2024, 4, 10), 12)


def rowed(folder: Path, moment: datetime = NOON) -> tuple[Any, Ipmcc]:
    fake = market(folder, moment.date())
    fake.time = moment
    system, _ = build(fake, **ARRIVED, **ONE)
    system.open_session(moment)
    return system, system.managers[Ipmcc]


def leap(row: Ipmcc, expiry: date = EXPIRY) -> Part:
    return part(row, "leap", {contract("SPY", expiry, 445.0, Right.CALL): (1, 80.0)}, at(MONDAY, 10, 1))


def weekly(row: Ipmcc, expiry: date, strike: float = 498.0) -> Part:
    """Sold at 6.00 with the price at 500: 2.00 of it inside, 4.00 of time value."""
    sold = part(row, "weekly", {contract("SPY", expiry, strike, Right.CALL): (-1, 6.0)}, at(FRIDAY, 9, 46))
    return replace(sold, terms=replace(sold.terms, max_loss=400.0))


@pytest.mark.parametrize(
    ("value", "spot", "rule"),
    [
        (-12.40, 510.0, "profit_target"),
        (-12.41, 510.0, "Hold"),
        (-0.40, 490.0, "profit_target"),
        (-0.41, 490.0, "Hold"),
    ],
)
def test_a_weekly_is_bought_back_at_90_percent_of_its_time_value(
    tmp_path: Path, value: float, spot: float, rule: str
) -> None:
    _, row = rowed(tmp_path)
    held = position(row, leap(row), weekly(row, date(2024, 4, 12)), slot="SPY")
    assert acts(row, held, hold(NOON, {"leap": 80.0, "weekly": value}, spot))[0][0] == rule


@pytest.mark.parametrize(
    ("value", "earned", "rule"),
    [
        (56.1, 0.0, "Hold"),
        (56.0, 0.0, "stop_loss"),  # 24 of 80 are 30 %
        (56.0, 100.0, "Hold"),  # 2,300 of 2,400 with what the weeklies earned
        (55.0, 100.0, "stop_loss"),
        (None, 0.0, "Hold"),
    ],
)
def test_down_30_percent_with_what_its_weeklies_earned_both_go(
    tmp_path: Path, value: float | None, earned: float, rule: str
) -> None:
    _, row = rowed(tmp_path)
    held = replace(position(row, leap(row), slot="SPY"), realised={"weekly": Realised(earned, 0.0, 1)})
    values: Mapping[str, float | None] = {"leap": value}
    assert acts(row, held, hold(NOON, values, 480.0)) == [(rule, ())]


def test_the_stop_takes_the_weekly_with_it(tmp_path: Path) -> None:
    _, row = rowed(tmp_path)
    held = position(row, leap(row), weekly(row, date(2024, 4, 12)), slot="SPY")
    answer = row.manage(held, hold(NOON, {"leap": 45.0, "weekly": -3.0}, 470.0))
    assert isinstance(answer, tuple)
    assert isinstance(answer[-1], Close)
    assert (answer[-1].rule, answer[-1].parts, answer[-1].urgency) == ("stop_loss", (), Urgency.URGENT)


def trend_is(monkeypatch: pytest.MonkeyPatch, fast: float, middle: float) -> None:
    found = Trend(5.0, fast, middle, 480.0, 520.0, TrendDirection.FLAT)
    monkeypatch.setattr("market.trend.trend_of", lambda *_: found)


def ask(system: Any, row: Ipmcc, held: Any, window: str) -> Proposal:
    now = system.gateway.time
    for _ in range(6):
        session = system.gateway.session(now.date())
        context = EntryContext(now, session, row.tools.vix.reading(now), 1e6, 4, window, held.id, held)
        answer = row.propose(context, 0)
        if isinstance(answer, Proposal):
            return answer
    raise AssertionError(answer)


@pytest.mark.parametrize(
    ("fast", "middle", "strike"),
    [
        (499.0, 495.0, 500.0),  # the fast average over the middle one: at the money
        (495.0, 499.0, 499.0),  # under it: one strike in the money
        (489.0, 480.0, 498.0),  # 500 is over 489 x 1.02 = 498.8: two
    ],
)
def test_the_weeklys_strike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: float, middle: float, strike: float
) -> None:
    friday = date(2024, 4, 12)
    system, row = rowed(tmp_path, at(friday, 9, 45))
    trend_is(monkeypatch, fast, middle)
    held = position(row, leap(row), slot="SPY")
    system.book.positions[held.id] = held
    found = ask(system, row, held, "weekly")
    (leg,) = found.package.legs
    assert (leg.ratio, leg.contract.strike, leg.contract.expiry) == (-1, strike, date(2024, 4, 19))
    assert (found.onto, found.wanted) == (held.id, 1)


def test_a_weekly_is_never_under_the_long_calls_strike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    friday = date(2024, 4, 12)
    system, row = rowed(tmp_path, at(friday, 9, 45))
    trend_is(monkeypatch, 489.0, 480.0)
    long = part(row, "leap", {contract("SPY", EXPIRY, 505.0, Right.CALL): (1, 40.0)}, at(MONDAY, 10, 1))
    held = position(row, long, slot="SPY")
    system.book.positions[held.id] = held
    assert ask(system, row, held, "weekly").package.legs[0].contract.strike == 505.0


def test_on_its_last_day_a_weekly_is_rolled_else_bought_back_by_half_past_three(tmp_path: Path) -> None:
    friday = date(2024, 4, 12)
    system, row = rowed(tmp_path, at(friday, 9, 45))
    held = position(row, leap(row), weekly(row, friday), slot="SPY")
    system.book.positions[held.id] = held
    values = {"leap": 80.0, "weekly": -5.0}
    assert acts(row, held, hold(at(friday, 9, 44), values, 500.0)) == [("Hold", ())]
    answers = [row.manage(held, hold(at(friday, 9, 45), values, 500.0)) for _ in range(6)]
    assert isinstance(answers[-1], Roll)
    assert (answers[-1].parts, answers[-1].proposal.package.expiry) == (("weekly",), date(2024, 4, 19))
    assert acts(row, held, hold(at(friday, 15, 20), values, 500.0)) == [("last_day", ("weekly",))]


def test_at_90_days_the_long_call_is_rolled_and_its_weekly_closed(tmp_path: Path) -> None:
    system, row = rowed(tmp_path)
    due = NOON.date() + timedelta(days=90)
    held = position(row, leap(row, due), weekly(row, date(2024, 4, 12)), slot="SPY")
    system.book.positions[held.id] = held
    values = {"leap": 80.0, "weekly": -5.0}
    answers = [row.manage(held, hold(NOON, values, 500.0)) for _ in range(6)]
    assert isinstance(answers[-1], Roll)
    assert answers[-1].parts == ("leap", "weekly")
    assert [leg.ratio for leg in answers[-1].proposal.package.legs] == [1]
    later = position(row, leap(row, due + timedelta(days=1)), slot="SPY")
    assert acts(row, later, hold(NOON, {"leap": 80.0}, 500.0)) == [("Hold", ())]


@pytest.mark.parametrize(
    ("ended", "expected"),
    [(datetime(2024, 4, 13, 1), True), (datetime(2024, 4, 12, 15, 21), False), (datetime(2024, 4, 6, 1), False)],
)
def test_after_an_assignment_the_next_weekly_comes_on_monday(tmp_path: Path, ended: datetime, expected: bool) -> None:
    system, row = rowed(tmp_path)
    held = position(row, leap(row), slot="SPY")
    trade = ClosedTrade("ipmcc", held.id, at(FRIDAY, 9, 46), ended, 100.0, 400.0, 1.0, "weekly", False)
    system.book.trades.append(trade)
    assert row.takes("after_assignment", held, date(2024, 4, 15)) is expected


def test_what_its_long_call_covers_needs_no_size_of_its_own(tmp_path: Path) -> None:
    system, row = rowed(tmp_path, at(date(2024, 4, 12), 9, 45))
    held = position(row, leap(row), slot="SPY")
    system.book.positions[held.id] = held
    found = ask(system, row, held, "weekly")
    assert is_covered(found, system.book)
    assert not is_covered(replace(found, wanted=2), system.book)  # one long call covers one
    assert not is_covered(replace(found, onto=""), system.book)
    with_weekly = position(row, leap(row), weekly(row, date(2024, 4, 12)), slot="SPY")
    system.book.positions[held.id] = with_weekly
    assert not is_covered(found, system.book)  # it covers that already

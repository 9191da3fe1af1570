"""What every row owes: one decision a day, no error, nothing doubled, what it holds brought to its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.book import Book
from core.gateway import Account
from core.journal import RecordKind
from core.parts import Terms
from core.settings.fields import PhaseSettings, SizingSettings, VixSettings
from core.settings.strategies import AVAILABLE
from market.vix import VixReading, VixRegime
from risk.emergency import goes
from risk.limits import VixRegimePlugin
from risk.proposal import Opening, RiskContext, Scope, Wanted
from risk.sizing import vix_scale
from strategies.row import Row
from tests.fake_gateway import build
from tests.strategies.cases import (
    BY_NAME,
    CASES,
    MONDAY,
    Case,
    Trouble,
    accounted,
    around,
    at_broker,
    decisions,
    ends,
    legs_of,
    nothing_left,
    opened,
    play,
    stop,
)
from tests.strategies.rows import at, contract, gateway, part


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_there_is_a_case_for_every_row() -> None:
    assert set(BY_NAME) == set(AVAILABLE)


def test_a_usual_day_opens_one(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    system, sink = opened(case, market)
    assert "filled" in accounted(case, sink), sink.rows(RecordKind.DECISION)
    (held,) = system.book.positions.values()
    assert held.strategy == case.name


_PANIC, _SWAN = Scope.SHORT_VOLATILITY, Scope.SHORT_DATED
GOES: dict[str, dict[str, set[Scope]]] = {
    "friday_0dte": {"whole": {_PANIC, _SWAN}},
    "lt112": {"spread": set(), "naked": {_PANIC}, "weekly": {_PANIC}},
    "futures_strangle": {"put": {_PANIC, _SWAN}, "call": {_PANIC, _SWAN}},
    "leap_ladder": {"rung": set()},
    "ipmcc": {"leap": set(), "weekly": set()},
    "ratio": {"long": set(), "short": {_PANIC}},
    "enhanced": {"whole": {_PANIC, _SWAN}, "near": set(), "far": set(), "small": set(), "reserve": set()},
    "butterfly": {"whole": {_SWAN}},
    "diagonal": {"whole": {_PANIC}},
    "box": {"whole": set()},
}
"""What closes above VIX 40 (methodology, section 2) and in a black swan (section 4: 0DTE, butterflies, strangles)."""
NOT_SCALED = {("enhanced", name) for name in ("near", "far", "small", "reserve")}
STRANGLES = {("futures_strangle", "put"), ("futures_strangle", "call"), ("enhanced", "whole")}
OVER_30 = NOT_SCALED | {("leap_ladder", "rung"), ("ipmcc", "weekly"), ("butterfly", "whole"), ("box", "whole")}


def test_what_each_part_is_by_the_method(tmp_path: Path) -> None:
    """Section 2, part by part: what opens above VIX 30, what closes above 40; section 4: whose size follows the VIX."""
    system, _ = build(gateway(tmp_path, MONDAY))
    rows = {row.name: row for row in system.managers.all_of(Row)}
    assert set(rows) == set(GOES)
    for name, parts in GOES.items():
        assert set(rows[name].traits) == set(parts)
        for kind, gone in parts.items():
            traits = rows[name].traits[kind]
            terms = Terms(name, "x", 1.0, 1.0, traits)
            held = part(rows[name], kind, {contract("SPY", date(2024, 6, 21), 450.0): (-1, 2.0)}, at(MONDAY, 10))
            found = {scope for scope in (_PANIC, _SWAN) if goes(replace(held, terms=terms), Wanted("", scope, 0, 0))}
            assert found == gone, (name, kind)
            scale = 1.0 if (name, kind) in NOT_SCALED else 1.5 if (name, kind) in STRANGLES else 0.75
            assert vix_scale(traits, 30.0, SizingSettings()) == scale, (name, kind)
            reading = VixReading(31.0, VixRegime.EXTREME, None, None, at(MONDAY, 10))
            context = RiskContext(at(MONDAY, 10), Account(1e6, 1e6), reading, 4, PhaseSettings().rows[3], Book())
            denied = VixRegimePlugin(VixSettings()).bars(Opening("SPY", traits), context)
            assert (denied is None) == ((name, kind) in OVER_30), (name, kind)


@pytest.mark.parametrize("trouble", [Trouble.EMPTY, pytest.param(Trouble.ONE_SIDED, marks=pytest.mark.long)])
def test_a_chain_without_anything_to_trade_is_a_skip(case: Case, trouble: Trouble, tmp_path: Path) -> None:
    skips(case, trouble, tmp_path)


def test_a_chain_that_nobody_bids_for_is_a_skip(tmp_path: Path) -> None:
    skips(BY_NAME["lt112"], Trouble.ONE_SIDED, tmp_path)  # the other rows with --all


def skips(case: Case, trouble: Trouble, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    market.trouble = trouble
    system, sink = opened(case, market, after=17)
    assert "filled" not in accounted(case, sink)
    assert not market.sent
    assert not system.book.pending


@pytest.mark.long
def test_a_thin_chain_is_a_skip_or_a_trade_of_what_is_listed(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    market.trouble = Trouble.THIN
    _, sink = opened(case, market, after=17)
    accounted(case, sink)


def test_without_a_vix_nothing_opens(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    market.missing.add("VIX")
    _, sink = opened(case, market, after=17)
    assert "vix_missing" in accounted(case, sink)
    assert set(accounted(case, sink)) <= {"vix_missing", "no_expiry"}  # of what has no chain nobody asks for a VIX
    assert not market.sent


@pytest.mark.long
def test_without_buying_power_nothing_opens(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    _, sink = opened(case, market, margin__reserve="1.0")
    assert "filled" not in accounted(case, sink)
    assert not market.sent


@pytest.mark.long
def test_a_half_day_is_a_day(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path, half_days=frozenset({case.day}))
    system, sink = opened(case, market)
    assert "filled" in accounted(case, sink)
    market.fills_allowed = True
    play(system, market, case.day, time(12, 15), time(13, 0))
    assert not sink.rows(RecordKind.ERROR)
    if case.name == "friday_0dte":
        assert nothing_left(system, market)  # out before the early close


@pytest.mark.long
def test_a_holiday_moves_the_entry_within_its_week_or_loses_it(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path, closed_days=frozenset({case.day}))
    system, sink = case.system(market)
    later = case.day + timedelta(days=1 if case.day.weekday() < 4 else 3)
    for day in (case.day, later):
        play(system, market, day, around(case, -6), around(case, 8))
    assert not sink.rows(RecordKind.ERROR)
    days = {
        date.fromisoformat(row["day"]): row["rule"] for row in sink.rows(RecordKind.DECISION) if row["window"] == "open"
    }
    if case.day.weekday() == 4:
        assert set(days) == {case.day}  # lost, and somebody says so
        assert days[case.day] == "market_closed"
    elif days:  # an IPMCC and the opportunity look any day
        assert set(days) == {later}


@pytest.mark.long
def test_what_is_open_already_is_not_opened_twice(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    system, sink = opened(case, market)
    before = len(market.sent)
    stop(system)
    market.time = datetime.combine(case.day, time())
    again, told = opened(case, market)  # a process that knows nothing of the day's decision
    assert len(market.sent) == before, told.rows(RecordKind.DECISION)
    assert len(again.book.positions) == 1
    assert not told.rows(RecordKind.ERROR)
    assert "filled" not in [rule for _, rule in decisions(told, case.name)]
    assert "filled" in accounted(case, sink)


@pytest.mark.long
@pytest.mark.parametrize("minute", [-1, 0, 1, 3])
def test_a_restart_at_each_step_of_an_entry_leaves_a_package_or_nothing(
    case: Case, minute: int, tmp_path: Path
) -> None:
    market = case.market(tmp_path)
    market.fills_allowed = minute >= 3
    system, _ = case.system(market)
    play(system, market, case.day, around(case, -6), around(case, minute))
    stop(system)
    market.fills_allowed = True
    later, sink = case.system(market)
    play(later, market, case.day, around(case, minute + 1), around(case, 12))
    assert legs_of(later) == at_broker(market)
    assert not later.book.pending
    assert len(later.book.positions) <= 1
    assert not sink.rows(RecordKind.ERROR)


@pytest.mark.long
def test_a_gap_in_the_data_at_the_exit_delays_it_and_no_more(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = case.market(tmp_path)
    system, sink = opened(case, market)
    begin, end = time(12, 0), time(12, 12)
    ends(monkeypatch, system, case.name, datetime.combine(case.day, begin))

    def gap(now: datetime) -> None:
        market.trouble = Trouble.GAP if now.time() < time(12, 5) else Trouble.NONE

    sent = len(market.sent)
    play(system, market, case.day, begin, time(12, 4), gap)
    assert len(system.book.positions) == 1
    assert len(market.sent) == sent  # nothing is sent blind
    play(system, market, case.day, time(12, 5), end, gap)
    assert nothing_left(system, market)
    assert not sink.rows(RecordKind.ERROR)


@pytest.mark.long
def test_a_row_that_is_not_enabled_any_more_still_closes_what_it_holds(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = case.market(tmp_path)
    system, _ = opened(case, market)
    stop(system)
    other = "leap_ladder" if case.name != "leap_ladder" else "lt112"
    later, sink = case.system(market, run__strategies=other)
    ends(monkeypatch, later, case.name, datetime.combine(case.day, time(12)))
    play(later, market, case.day, time(12, 0), time(12, 8))
    assert nothing_left(later, market)
    assert not sink.rows(RecordKind.ERROR)


@pytest.mark.long
def test_contracts_that_expired_while_nobody_looked_are_gone_and_told(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    system, _ = opened(case, market)
    (held,) = system.book.positions.values()
    last = max(leg.contract.expiry for leg in held.legs)
    stop(system)
    for day in sorted({leg.contract.expiry for leg in held.legs}):
        market.time = datetime.combine(day, time(16))
        for name in [name for name, (one, _) in market.held.items() if one.expiry == day]:
            del market.held[name]
    market.time = datetime.combine(last + timedelta(days=1), time())
    later, sink = case.system(market)
    monday = last + timedelta(days=(7 - last.weekday()) % 7 or 7)
    play(later, market, monday, time(9, 31), time(9, 40))
    assert not later.book.positions
    assert not later.book.pending
    assert not sink.rows(RecordKind.ERROR)

"""What every row owes: one decision a day, no error, nothing doubled, what it holds brought to its end."""

# Private: _roster: rows that are not enabled.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from core.book import Position
from core.contracts import Contract, Quote
from core.gateway import DailyBar, ImpliedClose
from core.journal import MemorySink, RecordKind
from core.settings.strategies import AVAILABLE
from state.manager import HierarchicalStateManager
from strategies.base import Close, HoldContext
from tests.fake_gateway import build
from tests.strategies.rows import ARRIVED, RowGateway
from trading_system import TradingSystem


class Trouble(StrEnum):
    """What is wrong with the chain."""

    NONE = "none"
    EMPTY = "empty"
    THIN = "thin"
    ONE_SIDED = "one_sided"
    GAP = "gap"


class Market(RowGateway):
    """The fake market with trouble, and a history that lets every row open."""

    trouble = Trouble.NONE
    restless = False

    def chain(self, root: str, expiries: tuple[date, date]) -> list[Contract]:
        found = super().chain(root, expiries)
        if self.trouble is Trouble.EMPTY:
            return []
        return found[::31] if self.trouble is Trouble.THIN else found

    def quote(self, contract: Contract) -> Quote | None:
        found = super().quote(contract)
        if found is None or self.trouble is Trouble.GAP:
            return None
        return replace(found, bid=None) if self.trouble is Trouble.ONE_SIDED else found

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """The last close a little under the others."""
        bars = list(super().daily_bars(ticker, count))
        return [*bars[:-1], replace(bars[-1], close=bars[-1].close * 0.999)]

    def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        """Volatility that is the year's highest where it must be high."""
        rows = list(super().implied_closes(root, sessions))
        return [*rows[:-1], replace(rows[-1], volatility=0.3)] if self.restless and rows else rows


@dataclass(frozen=True, slots=True)
class Case:
    """When and in which market a row opens. ``at`` is its entry's minute, ``move`` the index's from 10:00 on."""

    name: str
    day: date
    at: time
    roots: tuple[str, ...]
    vix: float = 20.0
    move: float = 0.0
    restless: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    def market(self, folder: Path, **options: Any) -> Market:
        def spot(now: datetime) -> float:
            moved = self.move if now.time() >= time(10) else 0.0
            return 5000.0 * (1 + moved) + 0.5 * math.sin(now.minute)

        made = Market(datetime.combine(self.day, time()), spot, lambda _: self.vix, folder, cash=1_000_000.0,
                      half_spread=0.0, **options)  # fmt: skip
        made.roots, made.restless = frozenset(self.roots), self.restless
        return made

    def system(self, market: Market, **parameters: str) -> tuple[TradingSystem, MemorySink]:
        return build(market, **{**ARRIVED, "run__strategies": self.name, **dict(self.settings), **parameters})


TUESDAY, SECOND_TUESDAY, FRIDAY = date(2024, 3, 5), date(2024, 3, 12), date(2024, 3, 8)
MONDAY, WEDNESDAY = date(2024, 3, 4), date(2024, 3, 6)
SPY = (("ipmcc__tickers", "SPY"), ("ratio__tickers", "SPY"), ("diagonal__tickers", "SPY"))
CASES = (
    Case("friday_0dte", FRIDAY, time(10, 30), ("SPXW",), vix=24.0),
    Case("lt112", WEDNESDAY, time(10), ("SPY",)),
    Case("futures_strangle", SECOND_TUESDAY, time(10), ("TLT",), restless=True),
    Case("leap_ladder", MONDAY, time(10), ("SPY",)),
    Case("ipmcc", MONDAY, time(10), ("SPY",), settings=SPY),
    Case("ratio", TUESDAY, time(10), ("SPY",), settings=SPY),
    Case("enhanced", SECOND_TUESDAY, time(10, 30), ("SPY",)),
    Case("butterfly", FRIDAY, time(10, 35), ("SPXW",), move=0.011),
    Case("diagonal", TUESDAY, time(10, 15), ("SPY",), vix=14.0, settings=(*SPY, ("greeks__risk_free_rate", "0.02"))),
    Case("box", WEDNESDAY, time(11), ("SPX",),
         settings=(("box__cash_wanted", "50000"), ("greeks__risk_free_rate", "0.02"))),
)  # fmt: skip
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def play(
    system: TradingSystem, market: Market, day: date, begin: time, end: time,
    before: Callable[[datetime], None] = lambda _: None,
) -> None:  # fmt: skip
    """Minutes of a day as main.py would run them; a session that is not open yet opens at its first minute."""
    session = market.session(day)
    windows = [(row.name, window) for row in system.coordinator.strategies for window in row.entry_windows()]
    moment, first = datetime.combine(day, begin), datetime.combine(day, time(9, 31))
    if session is not None and not system.in_session:
        market.time = max(market.time, first)
        system.open_session(market.time)
    while moment <= datetime.combine(day, end):
        market.time = moment
        before(moment)
        inside = session is not None and moment <= session.closes_at
        if inside:
            market.work_orders()
        for name, window in windows:
            early = datetime.combine(day, window.opens) - moment
            if timedelta(0) < early <= timedelta(minutes=5) and window.falls_on(day):
                system.entry_ahead(moment, name, window.name)
            if not early:
                system.entry_window(moment, name, window.name)
        if inside:
            system.minute(moment)
        moment += timedelta(minutes=1)


def around(case: Case, minutes: int) -> time:
    return (datetime.combine(case.day, case.at) + timedelta(minutes=minutes)).time()


def opened(case: Case, market: Market, after: int = 8, **parameters: str) -> tuple[TradingSystem, MemorySink]:
    """A system after its entry window."""
    system, sink = case.system(market, **parameters)
    play(system, market, case.day, around(case, -6), around(case, after))
    return system, sink


def stop(system: TradingSystem) -> None:
    system.managers[HierarchicalStateManager].close()


def decisions(sink: MemorySink, name: str) -> list[tuple[str, str]]:
    """Slot and rule of the entries that open positions."""
    return [(f"{row['window']} {row['slot']}", row["rule"]) for row in sink.rows(RecordKind.DECISION)
            if row["strategy"] == name]  # fmt: skip


def accounted(case: Case, sink: MemorySink) -> list[str]:
    """The rules of a day's decisions: one for each entry, and no error."""
    assert not sink.rows(RecordKind.ERROR), sink.rows(RecordKind.ERROR)
    found = decisions(sink, case.name)
    assert found
    assert len(found) == len(set(slot for slot, _ in found))
    return [rule for _, rule in found]


def test_there_is_a_case_for_every_row() -> None:
    assert set(BY_NAME) == set(AVAILABLE)


def test_a_usual_day_opens_one(case: Case, tmp_path: Path) -> None:
    market = case.market(tmp_path)
    system, sink = opened(case, market)
    assert "filled" in accounted(case, sink), sink.rows(RecordKind.DECISION)
    (held,) = system.book.positions.values()
    assert held.strategy == case.name


@pytest.mark.parametrize("trouble", [Trouble.EMPTY, Trouble.ONE_SIDED])
def test_a_chain_without_anything_to_trade_is_a_skip(case: Case, trouble: Trouble, tmp_path: Path) -> None:
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


def nothing_left(system: TradingSystem, market: Market) -> bool:
    """All is closed; or what is left is long and worth nothing, to expire (orders.worthless_ticks)."""
    parts = [part for row in system.book.positions.values() for part in row.parts]
    return min(at_broker(market).values(), default=0) >= 0 and all(part.is_left_to_expire for part in parts)


def legs_of(system: TradingSystem) -> dict[str, int]:
    return {leg.contract.name: leg.ratio for row in system.book.positions.values() for leg in row.legs}


def at_broker(market: Market) -> dict[str, int]:
    return {name: count for name, (_, count) in market.held.items() if count}


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


def ends(monkeypatch: pytest.MonkeyPatch, system: TradingSystem, name: str, when: datetime) -> None:
    """Let a row close everything from a moment on."""
    kind = next(type(row) for row in (*system.coordinator.strategies, *system.coordinator._roster.disabled.values())
                if row.name == name)  # fmt: skip

    def manage(_self: object, _position: Position, context: HoldContext) -> Any:
        return Close("test", "it is time") if context.now >= when else ()

    monkeypatch.setattr(kind, "manage", manage)


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

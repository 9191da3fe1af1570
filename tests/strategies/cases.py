"""A case for every row: the day and the market in which it opens, and what the contract tests do with one."""

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
from core.gateway import DailyBar, Holding, ImpliedClose
from core.journal import MemorySink, RecordKind
from state.manager import HierarchicalStateManager
from strategies.base import Close, HoldContext
from strategies.coordinator import QuietMinutes
from tests.fake_gateway import Working, build
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
    paid: dict[str, float]
    """By contract: at what it was filled last, in points."""

    def holdings(self) -> Sequence[Holding]:
        """With the average price, which a broker tells: what nobody saw filled is booked at it."""
        return [replace(row, average_price=self.paid.get(row.name, 0.0)) for row in super().holdings()]

    def fill_all(self) -> None:
        """Fill what works at mids, whatever its limits, and free of fees: nobody tells those of what nobody saw."""
        for order in list(self.orders):
            quotes = [self.quote(leg.contract) for leg in order.package.legs]
            counts = {leg.contract.name: leg.ratio * order.quantity for leg in order.package.legs}
            opening = (
                count for name, count in counts.items() if name not in self.held or self.held[name][1] * count > 0
            )
            self.cash += sum(abs(count) for count in opening)
            self.orders.remove(order)
            self._fill(order, [0.0 if quote is None else quote.mid or 0.0 for quote in quotes])

    def _fill(self, order: Working, prices: list[float]) -> None:
        names = (leg.contract.name for leg in order.package.legs)
        self.paid.update(zip(names, prices, strict=True))
        super()._fill(order, prices)

    def chain(self, root: str, expiries: tuple[date, date]) -> list[Contract]:
        if self.trouble is Trouble.EMPTY:
            return []
        found = super().chain(root, expiries)
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
        made.roots, made.restless, made.paid = frozenset(self.roots), self.restless, {}
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


def play(
    system: TradingSystem, market: Market, day: date, begin: time, end: time,
    before: Callable[[datetime], None] = lambda _: None,
) -> None:  # fmt: skip
    """Minutes of a day as main.py would run them; a session that is not open yet opens at its first minute."""
    session = market.session(day)
    windows = [(row.name, window) for row in system.coordinator.strategies for window in row.entry_windows()]
    moment, first = datetime.combine(day, begin), datetime.combine(day, time(9, 31))
    if system.in_session and market.time.date() != day:
        market.time = datetime.combine(market.time.date(), time(16))
        system.close_session(market.time)
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


def nothing_left(system: TradingSystem, market: Market) -> bool:
    """All is closed; or what is left is long and worth nothing, to expire (orders.worthless_ticks)."""
    parts = [part for row in system.book.positions.values() for part in row.parts]
    return min(at_broker(market).values(), default=0) >= 0 and all(part.is_left_to_expire for part in parts)


def legs_of(system: TradingSystem) -> dict[str, int]:
    return {leg.contract.name: leg.ratio for row in system.book.positions.values() for leg in row.legs}


def at_broker(market: Market) -> dict[str, int]:
    return {name: count for name, (_, count) in market.held.items() if count}


def looks_again(system: TradingSystem) -> None:
    """Let no rest stand that a row's rules as they were have given."""
    for position in system.book.positions:
        system.coordinator.looks.forget(position)
    system.managers[QuietMinutes].ends()


def ends(monkeypatch: pytest.MonkeyPatch, system: TradingSystem, name: str, when: datetime) -> None:
    """Let a row close everything from a moment on."""
    kind = next(type(row) for row in (*system.coordinator.strategies, *system.coordinator._roster.disabled.values())
                if row.name == name)  # fmt: skip

    def manage(_self: object, _position: Position, context: HoldContext) -> Any:
        return Close("test", "it is time") if context.now >= when else ()

    monkeypatch.setattr(kind, "manage", manage)
    looks_again(system)

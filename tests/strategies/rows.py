"""Rows on a fake engine: days to run, positions by hand, and what a row says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.book import Position
from core.contracts import Contract, Leg, Package, Right
from core.gateway import Session
from core.instruments import INSTRUMENTS
from core.journal import MemorySink, RecordKind
from core.parts import Part, Terms
from strategies.base import Action, HoldContext
from strategies.row import Row
from tests.fake_gateway import STEPS, FakeGateway, build, run_day, scale_of
from trading_system import TradingSystem

ARRIVED = {"phases__earned_progression": "false"}


class RowGateway(FakeGateway):
    """A fake engine that lists the roots it is told, by default those of shares and the E-mini."""

    roots: frozenset[str] = frozenset({"SPXW", "SPX", "SPY", "ES"})
    expires: Callable[[date], bool] = staticmethod(lambda _: True)

    def is_listed(self, root: str) -> bool:
        return root in self.roots

    def chain(self, root: str, expiries: tuple[date, date]) -> list[Contract]:
        """Every day of the next fortnight and the Fridays after it, strikes from 60 to 130 % of the price."""
        day, found = expiries[0], list[Contract]()
        price, step = self.spot(self.time) / scale_of(INSTRUMENTS[root].underlying), step_of(root)
        counts = int(0.6 * price / step), int(1.3 * price / step)
        while root in self.roots and day <= expiries[1]:
            soon = (day - self.time.date()).days <= 14
            if self.session(day) is not None and (soon or day.weekday() == 4) and self.expires(day):
                found += listed(root, day, *counts)
            day += timedelta(days=1)
        return found


def step_of(root: str) -> float:
    """The distance of two strikes."""
    return STEPS.get(INSTRUMENTS[root].underlying, 5.0)


@lru_cache(maxsize=256)
def listed(root: str, expiry: date, low: int, high: int) -> tuple[Contract, ...]:
    """The contracts of an expiry, between two counts of steps. Kept, because rows look each minute."""
    strikes = [round(count * step_of(root), 6) for count in range(low, high)]
    return tuple(INSTRUMENTS[root].contract(expiry, strike, right, "handle") for strike in strikes for right in Right)


def quiet(level: float) -> Callable[[datetime], float]:
    return lambda at: level + 0.5 * math.sin(at.minute)


def gateway(
    folder: Path, day: date, vix: float = 20.0, level: float = 5000.0, cash: float = 1_000_000.0, **options: Any
) -> RowGateway:
    return RowGateway(
        datetime.combine(day, time()), quiet(level), lambda _: vix, folder, cash=cash, half_spread=0.0, **options
    )


def run(
    market: FakeGateway, day: date, strategy: str, until: time = time(10, 30), **parameters: str
) -> tuple[TradingSystem, MemorySink]:
    system, sink = build(market, run__strategies=strategy, **{**ARRIVED, **parameters})
    run_day(system, market, day, until=until)
    return system, sink


def decided(sink: MemorySink) -> list[tuple[str, str]]:
    return [(row["outcome"], row["rule"]) for row in sink.rows(RecordKind.DECISION)]


def contract(root: str, expiry: date, strike: float, right: Right = Right.PUT) -> Contract:
    return INSTRUMENTS[root].contract(expiry, strike, right, "handle")


def part(row: Row, name: str, legs: Mapping[Contract, tuple[int, float]], opened: datetime, contracts: int = 1) -> Part:
    """An open part: contracts with their ratios and entry prices."""
    package = Package(tuple(Leg(one, ratio) for one, (ratio, _) in legs.items()))
    cash = -sum(ratio * price * one.multiplier for one, (ratio, price) in legs.items()) * contracts
    terms = Terms(row.name, "by hand", 1000.0, 1000.0, row.traits[name.split("-")[0]])
    prices = tuple(price for _, price in legs.values())
    return Part(name, package, contracts, opened, prices, cash, 0.0, terms)


def position(row: Row, *parts: Part, slot: str = "") -> Position:
    return Position(f"{row.name}-1", row.name, parts[0].opened, parts, "", slot=slot)


def hold(
    now: datetime, values: Mapping[str, float | None], spot: float, close: time = time(16), vix: float | None = None
) -> HoldContext:
    session = Session(now.date(), datetime.combine(now.date(), time(9, 30)), datetime.combine(now.date(), close), False)
    return HoldContext(now, session, dict(values), spot, vix=vix)


def acts(row: Row, held: Position, context: HoldContext) -> list[tuple[str, tuple[str, ...]]]:
    """What the row does about a position: rules and parts, or the act's name."""
    found = row.manage(held, context)
    actions: tuple[Action, ...] = found if isinstance(found, tuple) else (found,)
    return [(getattr(one, "rule", type(one).__name__), getattr(one, "parts", ())) for one in actions]


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute))


def days(count: int) -> timedelta:
    return timedelta(days=count)

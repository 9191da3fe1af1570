"""An algorithm's script played on a market that is written down minute by minute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from simulation.algorithm.algorithm import QCAlgorithm, waiting_for
from simulation.algorithm.consolidators import Consolidators
from simulation.algorithm.object_store import ObjectStore
from simulation.data.columns import FactorRow, InterestBlock, InterestRates, MarginRow, QuoteBlock, TradeBlock
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.engine.kernel import Engine
from simulation.faults.kinds import FaultSettings
from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import (
    OptionRight,
    OptionStyle,
    Resolution,
    SecurityType,
)
from simulation.lean.identifiers import use_map_files
from simulation.lean.symbols import Symbol, SymbolCache
from simulation.market.definitions import market_hours, symbol_properties
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import Leg
from simulation.results.sampling import Samples

MONDAY = date(2024, 7, 8)


FRIDAY = datetime(2024, 7, 12)


Side = tuple[float, float, float, float]
"""Open, high, low, close."""
NOTHING: Any = None
"""Where a model takes a security and does not look at it."""


def at(clock: str, day: date = MONDAY) -> datetime:
    """A New York time of a day: at("10:00")."""
    hour, minute = clock.split(":")
    return datetime(day.year, day.month, day.day, int(hour), int(minute))


def flat(price: float) -> Side:
    """A bar that stays where it is."""
    return price, price, price, price


@dataclass
class Market:
    """A DataSource of hand-written minutes; times are the ENDS of bars in New York."""

    trade_rows: dict[Any, list[tuple[datetime, Side]]] = field(default_factory=dict)
    quote_rows: dict[Any, list[tuple[datetime, Side, Side]]] = field(default_factory=dict)
    margin_rows: dict[str, Sequence[MarginRow]] = field(default_factory=dict)
    factor_rows: Sequence[FactorRow] | None = None

    @property
    def hours(self) -> MarketHoursDatabase:
        return market_hours()

    @property
    def properties(self) -> SymbolPropertiesDatabase:
        return symbol_properties()

    def trade(self, symbol: Any, clock: datetime, bar: Side | float) -> None:
        """One trade bar."""
        self.trade_rows.setdefault(symbol, []).append((clock, flat(bar) if isinstance(bar, float) else bar))

    def quote(self, symbol: Any, clock: datetime, bid: Side | float, ask: Side | float) -> None:
        """One quote bar."""
        sides = tuple(flat(side) if isinstance(side, float) else side for side in (bid, ask))
        self.quote_rows.setdefault(symbol, []).append((clock, sides[0], sides[1]))

    @staticmethod
    def _times(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, Any]:
        ends = np.array([NEW_YORK.utc_ms(row[0]) for row in rows], dtype=np.int64)
        return ends, ends - 60_000

    def _on(self, rows: Sequence[tuple[Any, ...]], day: date) -> list[tuple[Any, ...]]:
        return sorted(row for row in rows if row[0].date() == day)

    def trades(self, symbol: Any, resolution: Resolution, day: date) -> TradeBlock | None:
        rows = self._on(self.trade_rows.get(symbol, []), day) if resolution == Resolution.MINUTE else []
        if not rows:
            return None
        ends, starts = self._times(rows)
        o, h, low, c = np.array([row[1] for row in rows], dtype=np.float64).T
        return TradeBlock(ends, starts, o, h, low, c, np.full(len(rows), 100.0))

    def quotes(self, symbol: Any, resolution: Resolution, day: date) -> QuoteBlock | None:
        rows = self._on(self.quote_rows.get(symbol, []), day) if resolution == Resolution.MINUTE else []
        if not rows:
            return None
        ends, starts = self._times(rows)
        bid, ask = (np.array([row[side] for row in rows], dtype=np.float64).T for side in (1, 2))
        size = np.full(len(rows), 10.0)
        return QuoteBlock(ends, starts, bid[0], bid[1], bid[2], bid[3], size, ask[0], ask[1], ask[2], ask[3], size)

    def open_interest(self, symbol: Any, resolution: Resolution, day: date) -> InterestBlock | None:
        return None

    def universe(self, canonical: Any, day: date) -> Any:
        return None

    def map_file(self, symbol: Any) -> Any:
        return None

    def factor_file(self, symbol: Any) -> Any:
        return self.factor_rows

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        return None

    def margins(self, symbol: Any) -> Sequence[MarginRow] | None:
        root = symbol.underlying.id.symbol if symbol.has_underlying else symbol.id.symbol
        return self.margin_rows.get(root)

    def interest_rates(self) -> InterestRates | None:
        return None


class Recorder(QCAlgorithm):
    """Does what the test's script says and keeps every order event."""

    script: Callable[[Recorder], None]
    cash_at_start = 100_000.0
    last_day = MONDAY

    def initialize(self) -> None:
        self.seen: list[OrderEvent] = []
        self.set_start_date(MONDAY)
        self.set_end_date(self.last_day)
        self.set_cash(self.cash_at_start)
        type(self).script(self)

    def on_order_event(self, order_event: Any) -> None:
        self.seen.append(order_event.clone())

    def do_at(self, clock: str, action: Callable[[], Any], day: date = MONDAY) -> None:
        """Runs an action at a New York time."""
        when = at(clock, day)
        rule = self.date_rules.on(when.year, when.month, when.day)
        self.schedule.on(rule, self.time_rules.at(when.hour, when.minute), action)

    def statuses(self, order_id: int) -> list[str]:
        """Names of the statuses that the order's events reported."""
        return [str(event.status) for event in self.seen if event.order_id == order_id]

    def fills(self) -> list[tuple[int, float, float]]:
        """(order id, signed quantity, price) of every fill."""
        return [(e.order_id, e.fill_quantity, e.fill_price) for e in self.seen if e.fill_quantity]


def play(
    market: Market,
    script: Callable[[Any], None],
    *,
    cash: float = 100_000.0,
    last_day: date = MONDAY,
    faults: FaultSettings | None = None,
) -> Recorder:
    """Runs a script on a market, whose broker may misbehave, and gives back the algorithm when it is over."""
    MarketHoursDatabase.use(market.hours)
    SymbolPropertiesDatabase.use(market.properties)
    use_map_files(None)
    SymbolCache.clear()
    engine = Engine(market)
    engine.consolidators = Consolidators(engine)
    engine.samples = Samples(engine, every_step=True)
    kind = type("Scripted", (Recorder,), {"script": script, "cash_at_start": cash, "last_day": last_day})
    with waiting_for(engine):
        algorithm: Recorder = kind()
        if faults is not None:
            engine.handler.suffer(faults)
        algorithm.object_store = ObjectStore(Path("unused"))
        algorithm.initialize()
    algorithm.lock()
    engine.samples.start()
    engine.run()
    return algorithm


SPX = Symbol.create("SPX", SecurityType.INDEX, "usa")


def spxw(strike: float, right: OptionRight = OptionRight.PUT, expiry: datetime = FRIDAY) -> Any:
    """A weekly index option."""
    return Symbol.create_option(SPX, "SPXW", "usa", OptionStyle.EUROPEAN, right, strike, expiry)


def index_market(*minutes: str, price: float = 5450.0, day: date = MONDAY) -> Market:
    """A market with SPX at one price at 09:31 and at the given minutes."""
    market = Market()
    for clock in ("09:31", *minutes):
        market.trade(SPX, at(clock, day), price)
    return market


LOW, HIGH = spxw(5300), spxw(5350)


def vertical_market() -> Market:
    """Two puts; at 10:01 their bars have a range, at 10:02 they stand still.

    10:01 bar: 5350 bid 2.00 to 2.40, ask 2.20 to 2.60; 5300 bid 0.40 to 0.60, ask 0.50 to 0.80.
    """
    market = index_market("10:01", "10:02")
    market.quote(LOW, at("09:31"), 0.50, 0.60)
    market.quote(HIGH, at("09:31"), 2.20, 2.30)
    market.quote(HIGH, at("10:01"), (2.20, 2.40, 2.00, 2.10), (2.30, 2.60, 2.20, 2.30))
    market.quote(LOW, at("10:01"), (0.50, 0.60, 0.40, 0.50), (0.60, 0.80, 0.50, 0.60))
    return market


def add_vertical(algorithm: Recorder) -> None:
    algorithm.add_index("SPX", Resolution.MINUTE)
    for symbol in (LOW, HIGH):
        algorithm.add_index_option_contract(symbol, Resolution.MINUTE)


def credit_legs() -> list[Leg]:
    return [Leg.create(LOW, 1), Leg.create(HIGH, -1)]


def listed(algorithm: Any, name: str, *values: Any) -> None:
    """Keeps a line: the clock, a name, values."""
    algorithm.lines = [*getattr(algorithm, "lines", []), (f"{algorithm.time:%d %H:%M}", name, *values)]


def on(algorithm: Recorder, callback: str, function: Callable[..., Any]) -> None:
    """Gives the algorithm's class a callback."""
    setattr(type(algorithm), callback, function)

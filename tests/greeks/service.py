"""The Greeks service on a fake gateway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import cast

from core.book import Book, Position, position_of
from core.bus import EventBus
from core.cache import UnifiedIntelligentCache
from core.clock import MarketClock
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import ChangeKind, MarketData, PositionChanged, RiskThreshold
from core.gateway import DailyBar, Gateway, Tick
from core.journal import Journal, MemorySink
from core.parts import Part, Terms
from core.settings.fields import GreeksSettings, MarketSettings, PhaseSettings
from greeks.black_scholes import european_price, years_to_expiry
from greeks.monitor import GreeksMonitor
from greeks.service import CentralGreeksService
from market.history import DailyHistory
from tests.greeks.chains import MORNING, RATE, YIELD, spxw


class FakeGateway:
    """Prices and quotes that a test sets; everything else of a gateway is not asked for."""

    def __init__(self) -> None:
        self.prices = {"SPX": 5500.0, "SPY": 550.0}
        self.quoted: dict[Contract, Quote] = {}

    def now(self) -> datetime:
        return MORNING

    def tick(self, ticker: str) -> Tick | None:
        price = self.prices.get(ticker)
        return None if price is None else Tick(price, price, price, price, MORNING)

    def price(self, ticker: str) -> float | None:
        return self.prices.get(ticker)

    def quote(self, contract: Contract) -> Quote | None:
        return self.quoted.get(contract)

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """QQQ moves one and a half times what SPY moves, and back."""
        scale = {"SPY": 1.0, "QQQ": 1.5}.get(ticker)
        moves = [] if scale is None else [scale * 0.01 * math.sin(day) for day in range(100)]
        closes = [100.0 * math.exp(sum(moves[:day])) for day in range(len(moves))]
        return [DailyBar(date(2024, 1, 1) + timedelta(day), c, c, c, c) for day, c in enumerate(closes)][-count:]


class System:
    """The managers that the service needs, around a fake gateway."""

    def __init__(self) -> None:
        self.clock = MarketClock(MORNING)
        self.journal = Journal(MemorySink(), self.clock)
        self.bus = EventBus(self.journal)
        self.cache = UnifiedIntelligentCache(self.bus, self.clock)
        self.gateway = FakeGateway()
        self.book = Book()
        gateway = cast(Gateway, self.gateway)
        self.history = DailyHistory(gateway, MarketSettings(), self.cache)
        self.service = CentralGreeksService(
            self.cache, self.bus, self.clock, gateway, self.book, self.history, GreeksSettings(risk_free_rate=RATE)
        )
        self.monitor = GreeksMonitor(self.bus, self.clock, self.service, GreeksSettings(), PhaseSettings())
        self.thresholds: list[RiskThreshold] = []
        self.bus.subscribe(RiskThreshold, self.thresholds.append, component="test")

    def move(self, ticker: str, price: float) -> None:
        self.gateway.prices[ticker] = price
        now = self.clock.now()
        event = MarketData(time=now, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=now)
        self.bus.publish(event)

    def hold(self, name: str, legs: dict[Contract, int], contracts: int = 1, strategy: str = "friday_0dte") -> Position:
        package = Package(tuple(Leg(contract, ratio) for contract, ratio in legs.items()))
        terms = Terms(strategy, "test", max_loss=1000.0, margin=1000.0)
        prices = tuple(1.0 for _ in legs)
        position = position_of(name, Part("whole", package, contracts, MORNING, prices, 100.0, 1.0, terms), "c")
        self.book.positions[name] = position
        self.changed(name)
        return position

    def changed(self, name: str, kind: ChangeKind = ChangeKind.OPENED) -> None:
        now = self.clock.now()
        event = PositionChanged(time=now, position=name, strategy="friday_0dte", kind=kind, cash=0.0, fees=0.0)
        self.bus.publish(event)

    def quote_all(self, legs: dict[Contract, int], volatility: float = 0.15) -> None:
        for contract in legs:
            years = years_to_expiry([contract], self.clock.now())
            spot, call = self.gateway.prices[contract.underlying.ticker], contract.right is Right.CALL
            price = float(european_price(spot, contract.strike, years, volatility, RATE, YIELD, call)[0])
            self.gateway.quoted[contract] = Quote(price - 0.01, price + 0.01, self.clock.now())


CONDOR = {
    spxw(5440.0, Right.PUT): -1, spxw(5410.0, Right.PUT): 1, spxw(5560.0, Right.CALL): -1, spxw(5590.0, Right.CALL): 1,
}  # fmt: skip

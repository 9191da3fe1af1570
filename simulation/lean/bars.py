"""Market data points with LEAN's names: trade bars, quote bars, open interest, delistings.

Prices are dollars (or index points), sizes are contracts or shares. `time` and `end_time` are naive, in the
exchange's zone;
`start_ms` and `end_ms` are the same instants in UTC milliseconds. A missing side of a quote is None, never 0.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any, Self

import numpy as np

from simulation.lean.clock import NEW_YORK, Zone, zone_named
from simulation.lean.enums import DelistingType, MarketDataType, SplitType
from simulation.lean.names import Named, signed
from simulation.lean.numbers import Floats, rounded

MIDDLE_DIGITS = 10  # kept of the middle of a quote


class BaseData(Named):
    """What every data point has: symbol, time, end_time, value."""

    data_type = MarketDataType.BASE
    is_fill_forward = False

    def __init__(self) -> None:
        self.symbol: Any = None
        self.zone: Zone = NEW_YORK
        self.start_ms = 0
        self.end_ms = 0

    @property
    def time(self) -> datetime:
        """Begin of the data point in the exchange's zone."""
        return self.zone.local(self.start_ms)

    @time.setter
    def time(self, value: datetime) -> None:
        period = self.end_ms - self.start_ms
        self.start_ms = self.zone.utc_ms(value)
        self.end_ms = self.start_ms + period

    @property
    def end_time(self) -> datetime:
        """End of the data point in the exchange's zone: from then on it is known."""
        return self.zone.local(self.end_ms)

    @end_time.setter
    def end_time(self, value: datetime) -> None:
        self.end_ms = self.zone.utc_ms(value)

    @property
    def end_time_utc(self) -> int:
        """The end in UTC milliseconds."""
        return self.end_ms

    @property
    def period(self) -> timedelta:
        """Length of the data point."""
        return timedelta(milliseconds=self.end_ms - self.start_ms)

    @period.setter
    def period(self, value: timedelta) -> None:
        self.end_ms = self.start_ms + int(value.total_seconds() * 1000)

    @property
    def value(self) -> float:
        """The close, as every data point has one."""
        return float(self.close)

    @property
    def price(self) -> float:
        """Same as value."""
        return self.value

    def clone(self, fill_forward: bool | None = None) -> Self:
        """A copy; `fill_forward` marks it as one."""
        other = copy.copy(self)
        if fill_forward is not None:
            other.is_fill_forward = fill_forward
        return other

    def moved(self, start_ms: int, end_ms: int) -> Self:
        """The fill-forward copy of this point for a later period."""
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))  # most of a run's bars are such copies, and copy.copy takes six times as long
        other.start_ms, other.end_ms, other.is_fill_forward = start_ms, end_ms, True
        return other


class Bar(Named):
    """Open, high, low, close of one side of a quote."""

    __slots__ = ("close", "high", "low", "open")

    def __init__(self, open: float = 0.0, high: float = 0.0, low: float = 0.0, close: float = 0.0) -> None:
        self.open, self.high, self.low, self.close = open, high, low, close

    def __repr__(self) -> str:
        return f"Bar(O: {self.open} H: {self.high} L: {self.low} C: {self.close})"


class TradeBar(BaseData):
    """Open, high, low, close and volume of the trades of one period."""

    data_type = MarketDataType.TRADE_BAR

    def __init__(
        self,
        time: datetime | None = None,
        symbol: Any = None,
        open: float = 0.0,
        high: float = 0.0,
        low: float = 0.0,
        close: float = 0.0,
        volume: float = 0.0,
        period: timedelta | None = None,
    ) -> None:
        self.symbol = symbol
        self.zone = NEW_YORK
        self.start_ms = self.zone.utc_ms(time) if time is not None else 0
        self.end_ms = self.start_ms + int((period or timedelta(minutes=1)).total_seconds() * 1000)
        self.open, self.high, self.low, self.close, self.volume = open, high, low, close, volume

    def __repr__(self) -> str:
        return f"{self.symbol}: O: {self.open} H: {self.high} L: {self.low} C: {self.close} V: {self.volume}"

    def moved(self, start_ms: int, end_ms: int) -> Self:
        """The fill-forward copy: its volume is 0, nothing was traded (TradeBar.cs Clone)."""
        other = super().moved(start_ms, end_ms)
        other.volume = 0.0
        return other

    @signed("last_trade, bid_price, ask_price, volume, bid_size, ask_size")
    def update(self, last_trade: float, *_: float) -> None:
        """Moves the close, and high and low with it, to a later trade."""
        self.high, self.low, self.close = max(self.high, last_trade), min(self.low, last_trade), last_trade


def trade_bar(symbol: Any, zone: Zone, times: tuple[int, int], values: tuple[float, ...]) -> TradeBar:
    """A trade bar from (start, end) in UTC ms and (open, high, low, close, volume), without the public constructor's
    cost."""
    bar = TradeBar.__new__(TradeBar)
    bar.symbol, bar.zone = symbol, zone
    bar.start_ms, bar.end_ms = times
    bar.open, bar.high, bar.low, bar.close, bar.volume = values
    return bar


def middle(bid: float | None, ask: float | None) -> float:
    """LEAN's value of a quote: the middle, or the side that is there (QuoteBar.cs Close)."""
    if bid and ask:
        return round((bid + ask) / 2, MIDDLE_DIGITS)
    return bid or ask or 0.0


def middles(bids: Floats, asks: Floats) -> Floats:
    """The same of many quotes, both sides of each known."""
    one_sided = np.where(bids != 0, bids, asks)
    return np.where((bids != 0) & (asks != 0), rounded((bids + asks) / 2, MIDDLE_DIGITS), one_sided)


class QuoteBar(BaseData):
    """Bid and ask bars of one period; a missing side is None."""

    data_type = MarketDataType.QUOTE_BAR

    def __init__(
        self,
        time: datetime | None = None,
        symbol: Any = None,
        bid: Bar | None = None,
        last_bid_size: float = 0.0,
        ask: Bar | None = None,
        last_ask_size: float = 0.0,
        period: timedelta | None = None,
    ) -> None:
        self.symbol = symbol
        self.zone = NEW_YORK
        self.start_ms = self.zone.utc_ms(time) if time is not None else 0
        self.end_ms = self.start_ms + int((period or timedelta(minutes=1)).total_seconds() * 1000)
        self.bid, self.ask, self.last_bid_size, self.last_ask_size = bid, ask, last_bid_size, last_ask_size

    def _side(self, field: str) -> float:
        bid, ask = self.bid, self.ask
        return middle(None if bid is None else getattr(bid, field), None if ask is None else getattr(ask, field))

    @property
    def open(self) -> float:
        """Middle of the opens."""
        return self._side("open")

    @property
    def high(self) -> float:
        """Middle of the highs."""
        return self._side("high")

    @property
    def low(self) -> float:
        """Middle of the lows."""
        return self._side("low")

    @property
    def close(self) -> float:
        """Middle of the closes."""
        return self._side("close")

    def collapse(self) -> TradeBar:
        """The quote's middle as a trade bar without volume."""
        values = (self.open, self.high, self.low, self.close, 0.0)
        return trade_bar(self.symbol, self.zone, (self.start_ms, self.end_ms), values)

    def __repr__(self) -> str:
        return f"{self.symbol}: Bid: {self.bid} {self.last_bid_size} Ask: {self.ask} {self.last_ask_size}"


class OpenInterest(BaseData):
    """Number of open contracts."""

    data_type = MarketDataType.TICK

    def __init__(self, time: datetime | None = None, symbol: Any = None, value: float = 0.0) -> None:
        self.symbol, self.zone = symbol, NEW_YORK
        self.start_ms = self.end_ms = self.zone.utc_ms(time) if time is not None else 0
        self.close = value


class Delisting(BaseData):
    """A contract's last day (WARNING) and the midnight after it (DELISTED)."""

    data_type = MarketDataType.AUXILIARY

    def __init__(self, symbol: Any, time: datetime, price: float, type: DelistingType, zone: Zone = NEW_YORK) -> None:
        self.symbol, self.zone, self.close, self.type = symbol, zone, price, type
        self.start_ms = self.end_ms = self.zone.utc_ms(time)
        self.ticket: Any = None


class SymbolChangedEvent(BaseData):
    """A ticker or a continuous future's contract was replaced."""

    data_type = MarketDataType.AUXILIARY

    def __init__(self, symbol: Any, time: datetime, old_symbol: str, new_symbol: str, zone: Zone = NEW_YORK) -> None:
        self.symbol, self.zone, self.close = symbol, zone, 0.0
        self.old_symbol, self.new_symbol = old_symbol, new_symbol
        self.start_ms = self.end_ms = self.zone.utc_ms(time)


class Dividend(BaseData):
    """A cash distribution per share, in dollars."""

    data_type = MarketDataType.AUXILIARY

    def __init__(self, symbol: Any, time: datetime, distribution: float, reference_price: float) -> None:
        self.symbol, self.zone, self.close = symbol, NEW_YORK, distribution
        self.distribution, self.reference_price = distribution, reference_price
        self.start_ms = self.end_ms = self.zone.utc_ms(time)


class Split(BaseData):
    """A share split; `split_factor` is the price factor."""

    data_type = MarketDataType.AUXILIARY

    def __init__(
        self,
        symbol: Any,
        date: datetime,
        price: float,
        split_factor: float,
        type: SplitType = SplitType.SPLIT_OCCURRED,
    ) -> None:
        self.symbol, self.zone, self.close = symbol, NEW_YORK, price
        self.reference_price, self.split_factor, self.type = price, split_factor, type
        self.start_ms = self.end_ms = self.zone.utc_ms(date)


def chicago() -> Zone:
    """The zone of index options."""
    return zone_named("America/Chicago")

"""Trend, range and the move of the day, from completed daily bars and the minutes since the open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from statistics import fmean

from core.bus import EventBus
from core.cache import UnifiedIntelligentCache
from core.contracts import MARKET_OPEN
from core.events import MarketData, SessionOpened
from core.factory import Manager
from core.gateway import DailyBar
from core.settings.fields import MarketSettings
from market.history import DailyHistory, history_of

_OPEN_SEEN_WITHIN = timedelta(minutes=10)


class TrendDirection(StrEnum):
    """What the three moving averages say together."""

    UP = "up"
    DOWN = "down"
    FLAT = "flat"


@dataclass(frozen=True, slots=True)
class Trend:
    """Figures of completed sessions, in points. ``high`` is the highest high of the window."""

    average_true_range: float
    fast: float
    middle: float
    slow: float
    high: float
    direction: TrendDirection


@dataclass(slots=True)
class DayRange:
    """The day so far, in points, from minutes; ``open`` is the first minute's open."""

    open: float
    high: float
    low: float
    price: float
    seen: datetime

    @property
    def move(self) -> float:
        """Move since the open, as a fraction."""
        return self.price / self.open - 1


class TrendWatcher(Manager):
    """Keeps the day's range by ticker; the trend is worked out once for new daily bars."""

    def __init__(
        self, bus: EventBus, history: DailyHistory, settings: MarketSettings, cache: UnifiedIntelligentCache
    ) -> None:
        self._cache = cache
        self._history = history
        self._settings = settings
        self._days: dict[str, DayRange] = {}
        self._opened: datetime | None = None
        bus.subscribe(SessionOpened, self._on_session_opened, component="trend")
        bus.subscribe(MarketData, self._on_market_data, component="trend")

    def _on_session_opened(self, event: SessionOpened) -> None:
        self._days.clear()
        self._opened = datetime.combine(event.day, MARKET_OPEN)  # a process may have started hours after it

    def _on_market_data(self, event: MarketData) -> None:
        day = self._days.get(event.ticker)
        if day is not None:
            high, low = event.high, event.low
            if high > day.high:
                day.high = high
            if low < day.low:
                day.low = low
            day.price, day.seen = event.price, event.fresh_at
        elif self._opened is not None and event.open > 0:
            self._begin(event, self._opened)

    def _begin(self, event: MarketData, opened: datetime) -> None:
        """The first minute that is seen begins the day; live a process may have started after it, so history does."""
        known = self._history.so_far(event.ticker, opened)
        if known is not None:
            high, low = max(known.high, event.high), min(known.low, event.low)
            self._days[event.ticker] = DayRange(known.open, high, low, event.price, event.fresh_at)
        elif event.time - opened <= _OPEN_SEEN_WITHIN:
            self._days[event.ticker] = DayRange(event.open, event.high, event.low, event.price, event.fresh_at)

    def day(self, ticker: str) -> DayRange | None:
        """The day so far; ``None`` when its open was not seen."""
        return self._days.get(ticker)

    def previous_close(self, ticker: str) -> float | None:
        """Close of the last completed session."""
        bars = self._history.bars(ticker)
        return bars[-1].close if bars else None

    def bars(self, ticker: str) -> tuple[DailyBar, ...]:
        """Completed daily bars, oldest first; empty for an unknown ticker."""
        return self._history.bars(ticker)

    def trend(self, ticker: str) -> Trend | None:
        """Trend figures; ``None`` when there is not enough history."""
        return self._cache.get_or_compute(
            ("trend", ticker),
            lambda: trend_of(self._history.bars(ticker), self._settings),
            depends_on=(history_of(ticker),),
        )


def trend_of(bars: Sequence[DailyBar], settings: MarketSettings) -> Trend | None:
    """Trend figures of completed bars; ``None`` with fewer than the longest window plus one."""
    needed = max(settings.slow_average_days, settings.average_true_range_days, settings.high_days) + 1
    if len(bars) < needed:
        return None
    closes = [bar.close for bar in bars]
    fast = exponential_average(closes, settings.fast_average_days)
    middle = exponential_average(closes, settings.middle_average_days)
    slow = exponential_average(closes, settings.slow_average_days)
    direction = TrendDirection.FLAT
    if fast > middle > slow:
        direction = TrendDirection.UP
    elif fast < middle < slow:
        direction = TrendDirection.DOWN
    high = max(bar.high for bar in bars[-settings.high_days :])
    return Trend(average_true_range(bars, settings.average_true_range_days), fast, middle, slow, high, direction)


def average_true_range(bars: Sequence[DailyBar], days: int) -> float:
    """Mean of the last true ranges, in points; a true range spans the gap from the close before."""
    pairs = list(pairwise(bars))[-days:]
    return fmean(max(bar.high, last.close) - min(bar.low, last.close) for last, bar in pairs)


def exponential_average(values: Sequence[float], days: int) -> float:
    """Exponential average with weight 2 / (days + 1), started with the mean of the first window."""
    weight = 2 / (days + 1)
    average = fmean(values[:days])
    for value in values[days:]:
        average += weight * (value - average)
    return average

"""Daily bars of the watched underlyings and what is measured across them.

Only completed sessions are held: what is decided on a day never sees that day's bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise
from statistics import fmean

from core.cache import Entry, UnifiedIntelligentCache
from core.factory import Manager
from core.gateway import DailyBar, Gateway
from core.settings.fields import CorrelationSettings, MarketSettings

_BEFORE = 1  # a day more than have passed since the newest bar: an exchange has at most one bar a day


def history_of(ticker: str) -> Entry:
    """What everything computed from a ticker's daily bars depends on: it goes when new bars come."""
    return Entry(("history", ticker))


class DailyHistory(Manager):
    """Completed daily bars by ticker, topped up at each session's open.

    The newest day of each is an entry of the cache, on which what is computed from the bars depends (``history_of``).
    """

    def __init__(self, gateway: Gateway, settings: MarketSettings, cache: UnifiedIntelligentCache) -> None:
        self._gateway = gateway
        self._cache = cache
        self._settings = settings
        self._bars: dict[str, tuple[DailyBar, ...]] = {}

    def refresh(self, tickers: Sequence[str]) -> None:
        """Load whole histories the first time and the newest days afterwards."""
        today, most = self._gateway.now().date(), self._settings.history_days
        for ticker in tickers:
            known = self._bars.get(ticker, ())
            newest = known[-1].day if known else date.min
            count = min((today - newest).days + _BEFORE, most)
            added = tuple(bar for bar in self._gateway.daily_bars(ticker, count) if bar.day > newest)
            self._bars[ticker] = (known + added)[-most:]
            if added or not known:
                self._cache.put(history_of(ticker).key, self._bars[ticker][-1:], pinned=True)

    def bars(self, ticker: str) -> tuple[DailyBar, ...]:
        """Completed bars, oldest first; empty for an unknown ticker."""
        return self._bars.get(ticker, ())

    def so_far(self, ticker: str, opened: datetime) -> DailyBar | None:
        """A live day's minutes until now; ``None`` in a backtest, which sees every one of them."""
        return self._gateway.so_far(ticker, opened) if self._gateway.is_live() else None

    def closes(self, ticker: str) -> dict[date, float]:
        """Closing prices by day, oldest first."""
        return {bar.day: bar.close for bar in self.bars(ticker)}


class Correlations(Manager):
    """Measured correlation of daily log returns over the last sessions that two tickers share, once for new bars."""

    def __init__(self, history: DailyHistory, settings: CorrelationSettings, cache: UnifiedIntelligentCache) -> None:
        self._cache = cache
        self._history = history
        self._days = settings.measured_days

    def between(self, one: str, other: str) -> float | None:
        """Correlation from -1 to 1; ``None`` where fewer shared sessions than the window, or no movement."""
        if one == other:
            return 1.0
        key = ("correlation", *sorted((one, other)))
        needs = (history_of(one), history_of(other))
        return self._cache.get_or_compute(key, lambda: self._measure(*sorted((one, other))), depends_on=needs)

    def _measure(self, one: str, other: str) -> float | None:
        first, second = self._history.closes(one), self._history.closes(other)
        days = [day for day in first if day in second][-(self._days + 1) :]
        if len(days) < self._days + 1:
            return None
        return correlation(_returns([first[day] for day in days]), _returns([second[day] for day in days]))


def _returns(closes: Sequence[float]) -> list[float]:
    return [math.log(after / before) for before, after in pairwise(closes)]


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson correlation of two equally long series; ``None`` when one does not move."""
    mean_first, mean_second = fmean(first), fmean(second)
    shared = sum((a - mean_first) * (b - mean_second) for a, b in zip(first, second, strict=True))
    scale = math.sqrt(sum((a - mean_first) ** 2 for a in first) * sum((b - mean_second) ** 2 for b in second))
    return shared / scale if scale > 0 else None

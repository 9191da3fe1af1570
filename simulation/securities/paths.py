"""A security's prices over all the minutes that its files of a day hold, for whoever follows every minute of them.

What `Security.price` finds minute by minute is worked out here once a day: one search then gives the prices of any
number of instants, to the last bit the same. A security has a path where its trades and its quotes come each from one
feed of minutes at most and no price was seeded; where it has none, each minute is looked at by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulation.data.feeds import Column, Feed
from simulation.lean.bars import middles
from simulation.lean.clock import FOREVER
from simulation.lean.enums import Resolution, TickType
from simulation.lean.numbers import rounded

Times = NDArray[np.int64]
Prices = NDArray[np.float64]
Factors = tuple[float, float, float]
"""Quantity, contract multiplier, rate into the account's currency: a price is multiplied by them in this order."""
_NOTHING = -1  # the end of a point that there is not


@dataclass(frozen=True, slots=True)
class Points:
    """The closes of one feed in a column: `since` when each is the last one, `end` of its bar. The first is carried."""

    since: Times
    end: Times
    close: Prices

    def at(self, times: Times) -> tuple[Times, Prices]:
        """End and close of the last point at each instant."""
        places = self.since.searchsorted(times, "right") - 1
        return self.end[places], self.close[places]

    def covers(self, others: Points) -> bool:
        """Whether these change at each instant at which others do: most trades are in a minute that has a quote."""
        since, times = self.since, others.since
        if times[-1] > since[-1]:
            return False
        return len(times) == 1 or bool((since[since.searchsorted(times)] == times).all())


class PricePath:
    """Prices in (low, high], UTC milliseconds; they change where a real row ends and nowhere else."""

    __slots__ = ("_at", "_prices", "_steps", "_trades", "_values", "_worth", "high", "low")

    def __init__(self, quotes: Points, trades: Points, low: int, high: int) -> None:
        self.low, self.high = low, high
        self._trades = trades
        self._at, quoted, quote = quotes.since, quotes.end, quotes.close
        if not quotes.covers(trades):
            self._at = np.union1d(quotes.since, trades.since)
            quoted, quote = quotes.at(self._at)
        traded, trade = trades.at(self._at)
        by_quote = (quoted != _NOTHING) & (quote != 0) & ((traded == _NOTHING) | (quoted >= traded))
        by_trade = (traded != _NOTHING) & (trade != 0)
        self._prices: Prices = np.where(by_quote, quote, np.where(by_trade, trade, quote))
        self._steps: list[int] = self._at.tolist()
        self._values: list[float] = self._prices.tolist()
        self._worth: tuple[Factors, Prices] | None = None

    def price(self, ms: int) -> float:
        """The price at one instant of the path, as `Security.price` has it."""
        return self._values[bisect_right(self._steps, ms) - 1]

    def prices(self, times: Times) -> Prices:
        """The prices at some instants of the path."""
        found: Prices = self._prices[self._at.searchsorted(times, "right") - 1]
        return found

    def leaves(self, low: float, high: float, first: int, last: int) -> int:
        """The instant from a first one on, to a last one, at which the price is not between two bounds; FOREVER where
        it stays there."""
        return _leaves(self._steps, self._values, (low, high), first, last)

    def changes(self, low: int, high: int) -> Times:
        """The instants after one and up to another at which the price may change."""
        return self._at[bisect_right(self._steps, low) : bisect_right(self._steps, high)]

    def worth(self, times: Times, factors: Factors) -> Prices:
        """What a quantity is worth at some instants, as `SecurityHolding.quantity_value` has it."""
        known = self._worth
        if known is None or known[0] != factors:
            quantity, multiplier, rate = factors
            known = self._worth = (factors, rounded(self._prices * quantity * multiplier * rate))
        worth: Prices = known[1][self._at.searchsorted(times, "right") - 1]
        return worth

    def seen(self, times: Times, with_trades: bool) -> Prices:
        """The prices that show at some instants, one after another, none of them zero: with trades, the close of one
        that ended just then comes before the price."""
        shown = self.prices(times)
        trades = self._trades
        if with_trades and len(trades.since) > 1:
            ends, closes = trades.at(times)
            fresh = np.flatnonzero(ends == times)
            shown = np.insert(shown, fresh, closes[fresh])
        found: Prices = shown[shown != 0]
        return found


class SumPath:
    """A sum of prices, each times how much of it counts and added in the order given, in (low, high]."""

    __slots__ = ("_steps", "_values", "high", "low")

    def __init__(self, paths: Sequence[PricePath], weights: Sequence[float]) -> None:
        self.low, self.high = max(path.low for path in paths), min(path.high for path in paths)
        ends = [path.changes(self.low, self.high) for path in paths]
        times = np.unique(np.concatenate([np.array([self.low], dtype=np.int64), *ends]))
        total = np.zeros(len(times))
        for path, weight in zip(paths, weights, strict=True):
            total += weight * path.prices(times)
        self._steps: list[int] = times.tolist()
        self._values: list[float] = total.tolist()

    def leaves(self, low: float, high: float, first: int, last: int) -> int:
        """The instant from a first one on, to a last one, at which the sum is not between two bounds; FOREVER where it
        stays there."""
        return _leaves(self._steps, self._values, (low, high), first, last)


def _leaves(steps: list[int], values: list[float], bounds: tuple[float, float], first: int, last: int) -> int:
    low, high = bounds
    for place in range(bisect_right(steps, first) - 1, bisect_right(steps, last)):
        if values[place] < low or values[place] > high:
            return max(steps[place], first)
    return FOREVER


def path_of(quote_feeds: list[Feed], trade_feeds: list[Feed], ms: int) -> PricePath | None:
    """The path around an instant; None where these feeds have none."""
    feeds = (*quote_feeds, *trade_feeds)
    if not feeds or len(quote_feeds) > 1 or len(trade_feeds) > 1:
        return None
    if any(feed.spec.resolution >= Resolution.HOUR for feed in feeds):
        return None  # whole histories, for a few bars of them
    columns = [feed.column(ms) for feed in feeds]
    low, high = max(column.low for column in columns), min(column.high for column in columns)
    quotes = _points(columns[0] if quote_feeds else None, low)
    trades = _points(columns[-1] if trade_feeds else None, low)
    return None if quotes is None or trades is None else PricePath(quotes, trades, low, high)


def _points(column: Column | None, low: int) -> Points | None:
    """The points of a column, its carried one first; None where a row ended before the path begins."""
    carried = None if column is None else column.carry()
    end, close = (_NOTHING, 0.0) if carried is None else (carried.end_ms, carried.close)
    ends, closes = np.empty(0, dtype=np.int64), np.empty(0)
    if column is not None and column.block is not None:
        ends, closes = column.end[column.first :], _closes(column)
    if len(ends) and ends.item(0) <= low:
        return None
    since = np.concatenate([np.array([low], dtype=np.int64), ends])
    return Points(since, np.concatenate(([end], ends)), np.concatenate(([close], closes)))


def _closes(column: Column) -> Prices:
    """What `Feed.close_at` gives for each row."""
    block, feed, first = column.block, column.feed, column.first
    if feed.spec.kind is TickType.TRADE:
        return np.asarray(block.close[first:], dtype=np.float64)
    bids, asks = block.bid_close[first:], block.ask_close[first:]
    found = middles(bids, asks)
    for row in np.flatnonzero(np.isnan(bids) | np.isnan(asks)).tolist():
        found[row] = feed.close_at(column, first + row)
    return found

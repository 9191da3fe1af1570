"""Trade bars of what has a price of its own: minutes of a day, hours and days of the whole range."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from simulation.blocks import TradeBlock
from simulation.market.calendar import NEW_YORK, FloatArray, IntArray, session_open_utc, session_weights
from simulation.market.days import stream

if TYPE_CHECKING:
    from simulation.market.book import Book

MINUTE = 60_000
HOUR = 3_600_000


def minute_volume(book: Book, ticker: str, day: date, minutes: int, seed: int) -> FloatArray:
    """Units traded in each minute: the day's usual volume spread over the session's U, with noise; 0 for an index."""
    usual = book.usual_volume(ticker)
    if usual <= 0.0:
        return np.zeros(minutes)
    weights = session_weights(minutes, book.profile(ticker))
    noise = stream(seed, f"{ticker}/volume", day).lognormal(-0.08, 0.4, minutes)
    return np.asarray(np.maximum(1.0, np.floor(usual * weights / weights.sum() * noise)))


def minute_block(book: Book, ticker: str, day: date, seed: int) -> TradeBlock | None:
    """One session's minutes; ``None`` when there is none. Minutes that a fault removes are not there."""
    path = book.path(ticker, day)
    if path is None:
        return None
    count = len(path.high)
    start = session_open_utc(day) + np.arange(count, dtype=np.int64) * MINUTE
    volume = minute_volume(book, ticker, day, count, seed)
    kept = book.kept_minutes(ticker, day, count)
    rows = slice(None) if kept is None else np.flatnonzero(kept)
    prices = (path.open[rows], path.high[rows], path.low[rows], path.close[rows])
    shown = start[rows]
    return TradeBlock(shown + MINUTE, shown, *prices, volume[rows]) if len(shown) else None


def hourly_block(book: Book, ticker: str, seed: int) -> TradeBlock | None:
    """Hours on the clock (9:00 to 10:00 holds the first half hour) over the whole range, gathered from the minutes."""
    pieces = []
    for day in book.days():
        minutes = minute_block(book, ticker, day, seed)
        if minutes is not None:
            pieces.append(_gather(minutes, minutes.start // HOUR * HOUR))
    if not pieces:
        return None
    names = ("end", "start", "open", "high", "low", "close", "volume")
    return TradeBlock(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))


def _gather(minutes: TradeBlock, bucket: IntArray) -> TradeBlock:
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    last = np.append(first[1:], len(bucket)) - 1
    return TradeBlock(
        bucket[first] + HOUR,
        bucket[first],
        minutes.open[first],
        np.maximum.reduceat(minutes.high, first),
        np.minimum.reduceat(minutes.low, first),
        minutes.close[last],
        np.add.reduceat(minutes.volume, first),
    )


def daily_block(book: Book, ticker: str, zone: ZoneInfo | None, seed: int) -> TradeBlock | None:
    """Days from midnight to midnight of the data's zone (New York unless given) over the whole range."""
    table = book.daily(ticker)
    if table is None:
        return None
    days, prices = table
    clock = zone or NEW_YORK
    edges = np.array([_midnight(int(day), clock) for day in days], dtype=np.int64)
    nexts = np.array([_midnight(int(day) + 1, clock) for day in days], dtype=np.int64)
    usual = book.usual_volume(ticker)
    volume = np.zeros(len(days))
    if usual > 0.0:
        counts = [date.fromordinal(int(day)) for day in days]
        volume = np.array([minute_volume(book, ticker, day, book.minutes(day), seed).sum() for day in counts])
    return TradeBlock(nexts, edges, prices[0], prices[1], prices[2], prices[3], volume)


def _midnight(ordinal: int, zone: ZoneInfo) -> int:
    day = date.fromordinal(ordinal)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000

"""Subscriptions: the rows of one symbol, tick type and resolution, one file day at a time and only when looked at.

A feed maps an instant to a row of the day's block. Rows are sparse; between them the last one is filled forward
inside the
exchange's sessions (lean-facts 2.2). The cache of a security sees real rows only; slices and chains see both.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from simulation.bars import Bar, BaseData, OpenInterest, QuoteBar, trade_bar
from simulation.clock import FOREVER, MINUTE_MS, Zone
from simulation.enums import OPTION_TYPES, DataNormalizationMode, Resolution, SecurityType, TickType

MAXIMUM_DAYS_BACK = 400
PRICE_FIELDS = (
    "open", "high", "low", "close", "bid_open", "bid_high",
    "bid_low", "bid_close", "ask_open", "ask_high", "ask_low", "ask_close",
)  # fmt: skip
REMEMBERED_FILES = 64
_SESSIONS: dict[tuple[Any, ...], Any] = {}
RESOLUTION_MS = {
    Resolution.SECOND: 1000,
    Resolution.MINUTE: MINUTE_MS,
    Resolution.HOUR: 3_600_000,
    Resolution.DAILY: 86_400_000,
}


@dataclass(slots=True)
class FeedSpec:
    """What a feed is of: LEAN's SubscriptionDataConfig without its plumbing."""

    symbol: Any
    resolution: Resolution
    kind: TickType
    hours: Any
    zone: Zone
    data_zone: Zone
    fill_forward: bool = True
    extended: bool = False
    internal: bool = False
    mode: DataNormalizationMode = DataNormalizationMode.RAW


class Column:
    """The rows of a feed between two instants: one file day, or the whole history of hour and daily data."""

    __slots__ = ("_at", "_carry", "_carry_known", "_row", "block", "end", "feed", "first", "high", "low", "sessions")

    def __init__(self, feed: Feed, low: int, high: int, block: Any) -> None:
        self.feed, self.low, self.high = feed, low, high
        self.sessions = feed.sessions_between(low, high) if feed.spec.resolution < Resolution.HOUR else None
        self.block = block
        self.end: Any = None if block is None else block.end
        self.first = 0 if block is None else int(block.end.searchsorted(feed.start, "right"))
        self._carry: BaseData | None = None
        self._carry_known = False
        self._at, self._row = -1, -1

    def row(self, ms: int) -> int:
        """Index of the last real row that has ended at `ms`; -1 when there is none in this column."""
        if ms == self._at:
            return self._row
        row = -1
        if self.block is not None:
            row = int(self.end.searchsorted(min(ms, self.feed.stop), "right")) - 1
            if row < self.first:
                row = -1
        self._at, self._row = ms, row
        return row

    def in_session(self, ms: int) -> bool:
        """Whether a bar that ends at `ms` lies in the subscribed hours."""
        sessions = self.sessions
        if sessions is None:
            sessions = self.feed.sessions_between(ms - 1, ms)
        return any(start < ms <= end for start, end in sessions)

    def carry(self) -> BaseData | None:
        """The feed's last real data point before this column, if the subscription has seen one."""
        if not self._carry_known:
            self._carry = self.feed.last_before(self.low)
            self._carry_known = True
        return self._carry

    def set_carry(self, point: BaseData | None) -> None:
        """States what the column before this one ended with."""
        self._carry, self._carry_known = point, True

    def last_real(self, ms: int) -> BaseData | None:
        """The last data point that is not filled forward, as of `ms`."""
        row = self.row(ms)
        return self.feed.point(self, row) if row >= 0 else self.carry()

    def last_end(self, ms: int) -> int:
        """End of the last real data point as of `ms`; -1 when there is none."""
        row = self.row(ms)
        if row >= 0:
            return int(self.end.item(row))
        point = self.carry()
        return -1 if point is None else point.end_ms

    def emitted(self, ms: int) -> BaseData | None:
        """What a slice at `ms` holds of this feed: the real point, its fill-forward copy, or nothing."""
        row = self.row(ms)
        if row >= 0 and self.end.item(row) == ms:
            return self.feed.point(self, row)
        if not self.feed.spec.fill_forward or not self.in_session(ms) or ms > self.feed.stop:
            return None
        point = self.feed.point(self, row) if row >= 0 else self.carry()
        return None if point is None else point.moved(ms - (point.end_ms - point.start_ms), ms)

    def first_emission(self) -> int:
        """The first instant of this column at which the feed has data; FOREVER when it has none."""
        start = self.feed.start
        if self.sessions is None and self.low >= 0 and self.carry() is not None:
            return max(self.low, start) + 1
        if self.feed.spec.fill_forward and self.sessions and self.carry() is not None:
            for opening, closing in self.sessions:
                first = max(opening, self.low, start) // MINUTE_MS * MINUTE_MS + MINUTE_MS
                if first <= closing:
                    return first
        if self.block is None or self.first >= len(self.end):
            return FOREVER
        return int(self.end.item(self.first))


class Feed:
    """One subscription. `start` and `stop` bound what the algorithm may see, in UTC milliseconds."""

    __slots__ = ("_current", "_resume", "period", "source", "spec", "start", "stop", "symbol")

    def __init__(self, source: Any, spec: FeedSpec, start: int) -> None:
        self.source, self.spec, self.symbol = source, spec, spec.symbol
        self.start, self.stop = start, FOREVER
        self.period = RESOLUTION_MS[spec.resolution]
        self._current: Column | None = None
        self._resume: tuple[date, BaseData | None] | None = None

    def close(self) -> None:
        """Lets go of the rows: the subscription is over."""
        self._current = None
        self._resume = None

    def column(self, ms: int) -> Column:
        """The column that holds `ms`; remembered while time moves forward."""
        current = self._current
        if current is not None and current.low < ms <= current.high:
            return current
        low, high, day = self._file_of(ms)
        column = Column(self, low, high, self._load(day))
        if current is not None and ms <= current.low:
            return column
        if current is not None:
            closing = current.last_real(current.high)
            if current.high == low:
                column.set_carry(closing)
            else:
                self._resume = (self.spec.data_zone.date_of(current.high - 1), closing)
        self._current = column
        return column

    def _file_of(self, ms: int) -> tuple[int, int, date]:
        """What one file holds: a day of minutes, a year of an option's hours or days, else the whole history."""
        zone = self.spec.data_zone
        day = zone.date_of(ms - 1)
        if self.spec.resolution < Resolution.HOUR:
            return zone.midnight_ms(day), zone.midnight_ms(day + timedelta(days=1)), day
        if self.symbol.security_type in OPTION_TYPES:
            return zone.midnight_ms(date(day.year, 1, 1)), zone.midnight_ms(date(day.year + 1, 1, 1)), day
        return -1, FOREVER, day

    def _load(self, day: date) -> Any:
        spec = self.spec
        if spec.kind == TickType.TRADE:
            block = self.source.trades(spec.symbol, spec.resolution, day)
        elif spec.kind == TickType.QUOTE:
            block = self.source.quotes(spec.symbol, spec.resolution, day)
        else:
            return self.source.open_interest(spec.symbol, spec.resolution, day)
        if block is None or len(block.end) == 0:
            return None
        if spec.mode != DataNormalizationMode.RAW and self.symbol.security_type == SecurityType.EQUITY:
            block = self._normalized(block)
        return self._inside_hours(block)

    def _normalized(self, block: Any) -> Any:
        """Prices times the factors of dividends and splits that came later, volumes over the split factor
        (FactorFile.cs)."""
        rows = self.source.factor_file(self.symbol)
        if not rows:
            return block
        days = np.array([row.day.toordinal() for row in rows], dtype=np.int64)
        dividends = self.spec.mode == DataNormalizationMode.ADJUSTED
        scale = np.array([row.split_factor * (row.price_factor if dividends else 1.0) for row in rows])
        first, last = (self.spec.data_zone.date_of(int(block.start[index])).toordinal() for index in (0, -1))
        if first == last:
            own: Any = np.searchsorted(days, first)
        else:
            ordinals = [self.spec.data_zone.date_of(start).toordinal() for start in block.start.tolist()]
            own = np.searchsorted(days, ordinals)
        own = np.minimum(own, len(days) - 1)
        factor, split = scale[own], np.array([row.split_factor for row in rows])[own]
        if np.all(factor == 1.0):
            return block
        changed = {name: np.round(getattr(block, name) * factor, 10) for name in PRICE_FIELDS if hasattr(block, name)}
        if hasattr(block, "volume"):
            changed["volume"] = block.volume / split
        return replace(block, **changed)

    def _inside_hours(self, block: Any) -> Any:
        """Drops bars outside the subscribed hours, as SubscriptionFilterEnumerator.cs:143 does."""
        if self.spec.resolution == Resolution.DAILY:
            return self._to_sessions(block)
        if self.spec.resolution == Resolution.HOUR and self.spec.internal:
            return block  # the benchmark's whole history: nobody sees its hours
        first = max(int(block.start[0]), self.start - RESOLUTION_MS[Resolution.DAILY])
        sessions = np.array(self.sessions_between(first, int(block.end[-1])), dtype=np.int64).reshape(-1, 2)
        following = np.searchsorted(sessions[:, 1], block.start, "right")
        openings = np.append(sessions[:, 0], FOREVER)
        keep = (block.end > openings[following]) | (block.end <= first)
        if keep.all():
            return block
        return _filtered(block, keep) if keep.any() else None

    def _to_sessions(self, block: Any) -> Any:
        """Daily bars begin at the open and end at the close (AlgorithmSettings.DailyPreciseEndTime)."""
        spec = self.spec
        key = (spec.symbol, spec.kind, spec.extended, len(block.end), int(block.end[-1]), id(spec.hours))
        known = _SESSIONS.get(key)
        if known is None:
            known = np.empty((2, len(block.end)), dtype=np.int64)
            for row, start in enumerate(block.start.tolist()):
                sessions = spec.hours.sessions_utc_ms(spec.data_zone.date_of(start), spec.extended)
                known[:, row] = (sessions[0][0], sessions[-1][1]) if sessions else (start, block.end.item(row))
            if len(_SESSIONS) >= REMEMBERED_FILES:
                _SESSIONS.clear()
            _SESSIONS[key] = known
        return replace(block, start=known[0], end=known[1])

    def sessions_between(self, low: int, high: int) -> list[tuple[int, int]]:
        """The subscribed sessions that overlap (low, high], in UTC milliseconds."""
        return _sessions(self.spec.hours, self.spec.zone, self.spec.extended, low, high)

    def last_before(self, low: int) -> BaseData | None:
        """The last real point that ended at or before `low`, not looking past the start of the subscription."""
        if self.start >= low or low < 0:
            return None
        if self.spec.resolution >= Resolution.HOUR:
            before = Column(self, *self._file_of(low)[:2], self._load(self._file_of(low)[2]))
            row = before.row(low)
            return self.point(before, row) if row >= 0 else None
        zone = self.spec.data_zone
        resume_day, resume_point = self._resume or (zone.date_of(max(self.start, 0)) - timedelta(days=1), None)
        day = zone.date_of(low - 1)
        for _ in range(MAXIMUM_DAYS_BACK):
            if day <= resume_day:
                return resume_point
            block = self._load(day)
            if block is not None:
                column = Column(self, zone.midnight_ms(day), zone.midnight_ms(day + timedelta(days=1)), block)
                row = column.row(column.high)
                if row >= 0:
                    return self.point(column, row)
            day -= timedelta(days=1)
        return resume_point

    def point(self, column: Column, row: int) -> BaseData:
        """The data point of one row."""
        block, spec = column.block, self.spec
        times = (
            (int(block.start.item(row)), int(block.end.item(row))) if spec.kind != TickType.OPEN_INTEREST else (0, 0)
        )
        if spec.kind == TickType.TRADE:
            values = tuple(getattr(block, name).item(row) for name in ("open", "high", "low", "close", "volume"))
            return trade_bar(self.symbol, spec.zone, times, values)
        if spec.kind == TickType.QUOTE:
            return self._quote(column, row, times)
        interest = OpenInterest(None, self.symbol, block.value.item(row))
        interest.zone = spec.zone
        interest.start_ms = interest.end_ms = int(block.end.item(row))
        return interest

    def _quote(self, column: Column, row: int, times: tuple[int, int]) -> QuoteBar:
        """A quote bar; a missing side is taken from the row before (QuoteBarFillForwardEnumerator.cs:72)."""
        bar = QuoteBar.__new__(QuoteBar)
        bar.symbol, bar.zone = self.symbol, self.spec.zone
        bar.start_ms, bar.end_ms = times
        block = column.block
        bar.bid = self._side(column, row, "bid")
        bar.ask = self._side(column, row, "ask")
        bar.last_bid_size = _size(block.bid_size.item(row))
        bar.last_ask_size = _size(block.ask_size.item(row))
        return bar

    def _side(self, column: Column, row: int, side: str) -> Bar | None:
        close = getattr(column.block, f"{side}_close")
        first = column.first if self.spec.fill_forward else row
        for candidate in range(row, first - 1, -1):
            if close.item(candidate) == close.item(candidate):
                return Bar(
                    *(
                        getattr(column.block, f"{side}_{name}").item(candidate)
                        for name in ("open", "high", "low", "close")
                    )
                )
        before = column.carry() if self.spec.fill_forward else None
        return getattr(before, side) if isinstance(before, QuoteBar) else None


def _filtered(block: Any, keep: Any) -> Any:
    return replace(block, **{item.name: getattr(block, item.name)[keep] for item in fields(block)})


def _size(value: float) -> float:
    return value if value == value else 0.0


@lru_cache(maxsize=256)
def _sessions(hours: Any, zone: Zone, extended: bool, low: int, high: int) -> list[tuple[int, int]]:
    """Sessions that overlap (low, high]. Contracts of one chain ask the same thing; nobody changes the answer."""
    first, last = zone.date_of(max(low, 0)), zone.date_of(high)
    sessions: list[tuple[int, int]] = []
    day = first - timedelta(days=1)
    while day <= last:
        sessions += [pair for pair in hours.sessions_utc_ms(day, extended) if pair[1] > low and pair[0] < high]
        day += timedelta(days=1)
    return sessions

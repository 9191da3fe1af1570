"""Subscriptions: the rows of one symbol, tick type and resolution, one file day at a time and only when looked at.

A feed maps an instant to a row of the day's block. Rows are sparse; between them the last one is filled forward
inside the
exchange's sessions (lean-facts 2.2). The cache of a security sees real rows only; slices and chains see both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from simulation.data.columns import begun, filtered
from simulation.lean.bars import Bar, BaseData, OpenInterest, QuoteBar, middle, trade_bar
from simulation.lean.clock import FOREVER, MINUTE_MS, Zone
from simulation.lean.enums import (
    OPTION_TYPES,
    DataMappingMode,
    DataNormalizationMode,
    Resolution,
    SecurityType,
    TickType,
)

MAXIMUM_DAYS_BACK = 400
PRICE_FIELDS = (
    "open", "high", "low", "close", "bid_open", "bid_high",
    "bid_low", "bid_close", "ask_open", "ask_high", "ask_low", "ask_close",
)  # fmt: skip
REMEMBERED_FILES = 64
Points = tuple[BaseData | None, BaseData | None]
"""The last data point of the subscribed hours, and the last of all hours."""
NOTHING: Points = (None, None)
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
    data_mapping_mode: DataMappingMode = DataMappingMode.OPEN_INTEREST
    contract_depth_offset: int = 0

    @property
    def market(self) -> str:
        """Market of the symbol."""
        return str(self.symbol.id.market)

    @property
    def security_type(self) -> SecurityType:
        """Kind of security."""
        kind: SecurityType = self.symbol.security_type
        return kind

    @property
    def tick_type(self) -> TickType:
        """Trades, quotes or open interest."""
        return self.kind

    @property
    def data_normalization_mode(self) -> DataNormalizationMode:
        """How prices are adjusted or joined."""
        return self.mode


def seen_from(spec: FeedSpec, ms: int, tick: int) -> int:
    """The instant after which bars end that a subscription made at `ms` sees. A bar that ends just then is seen, unless
    the file of the day before holds it (SubscriptionDataReader.cs:384), or the algorithm asked for it in this very step
    (tick: 1)."""
    zone = spec.data_zone
    between_files = zone.midnight_ms(zone.date_of(ms)) == ms
    return ms if between_files or tick else ms - 1


class Column:
    """The rows of a feed between two instants: one file day, or the whole history of hour and daily data.

    `block` holds the rows of the subscribed hours, `whole` those of all hours: LEAN drops the others only after it has
    filled forward from them (FileSystemDataFeed.cs ConfigureEnumerator). They are one object where none were dropped.
    """

    __slots__ = (
        "_carry", "_carry_known", "_close", "_close_row", "_ends", "_filler", "_point", "_point_row", "_row", "_since",
        "_until", "block", "end", "feed", "first", "high", "low", "sessions", "whole", "whole_end", "whole_first",
    )  # fmt: skip

    def __init__(self, feed: Feed, low: int, high: int, blocks: tuple[Any, Any]) -> None:
        self.feed, self.low, self.high = feed, low, high
        self.sessions = feed.sessions_between(low, high) if feed.spec.resolution < Resolution.HOUR else None
        self.block, self.whole = blocks
        self.end, self.first = begun(self.block, feed.start)
        self.whole_end, self.whole_first = self.end, self.first
        if self.whole is not self.block:
            self.whole_end, self.whole_first = begun(self.whole, feed.start)
        self._carry: BaseData | None = None
        self._filler: BaseData | None = None
        self._carry_known = False
        self._since, self._until, self._row = 0, 0, -1
        self._ends: list[int] = []
        self._point: BaseData | None = None
        self._point_row = -1
        self._close: tuple[int, float] | None = None
        self._close_row = -1

    def row(self, ms: int) -> int:
        """Index of the last real row that has ended at `ms`; -1 when there is none in this column."""
        stop = self.feed.stop
        if self._since <= ms < self._until and ms <= stop:
            return self._row  # most contracts trade seldom: it is the same row again
        if self.block is None:
            return -1
        end = self._ends or self._listed()
        row = bisect_right(end, ms if ms <= stop else stop) - 1
        following = row + 1 if row >= self.first else self.first
        self._until = end[following] if following < len(end) else FOREVER
        if row < self.first:
            self._since, self._row = ms, -1
            return -1
        self._since, self._row = end[row], row
        return row

    def _listed(self) -> list[int]:
        """The ends as a list: a search in it, one look after another, takes a tenth of numpy's time."""
        self._ends = self.end.tolist()
        return self._ends

    def in_session(self, ms: int) -> bool:
        """Whether a bar that ends at `ms` lies in the subscribed hours."""
        sessions = self.sessions
        if sessions is None:
            sessions = self.feed.sessions_between(ms - 1, ms)
        return any(start < ms <= end for start, end in sessions)

    def carry(self) -> BaseData | None:
        """The feed's last real data point before this column, if the subscription has seen one."""
        self._know_carry()
        return self._carry

    def carried_filler(self) -> BaseData | None:
        """The same of all hours."""
        self._know_carry()
        return self._filler

    def _know_carry(self) -> None:
        if not self._carry_known:
            self.set_carry(self.feed.last_before(self.low))

    def set_carry(self, points: Points) -> None:
        """States what the column before this one ended with."""
        self._carry, self._filler = points
        self._carry_known = True

    def last_real(self, ms: int) -> BaseData | None:
        """The last data point that is not filled forward, as of `ms`."""
        row = self.row(ms)
        if row < 0:
            return self.carry()
        if row != self._point_row:  # whoever asks within a minute gets the one bar, as from LEAN's cache
            self._point, self._point_row = self.feed.point(self, row), row
        return self._point

    def last_close(self, ms: int) -> tuple[int, float] | None:
        """End and close of what `last_real` gives, in UTC milliseconds and points, without making the bar."""
        row = self.row(ms)
        if row < 0:
            point = self.carry()
            return None if point is None else (point.end_ms, point.close)
        if row != self._close_row:
            self._close, self._close_row = (self._ends[row], self.feed.close_at(self, row)), row
        return self._close

    def last_filler(self, ms: int) -> BaseData | None:
        """The last real data point of all hours, as of `ms`."""
        if self.whole is self.block and self.row(ms) >= 0:
            return self.last_real(ms)
        row = -1
        if self.whole is not self.block:
            row = int(self.whole_end.searchsorted(min(ms, self.feed.stop), "right")) - 1
            row = -1 if row < self.whole_first else row
        return self.feed.point(self, row, self.whole) if row >= 0 else self.carried_filler()

    def last(self, ms: int) -> Points:
        """Both."""
        real = self.last_real(ms)
        return real, (real if self.whole is self.block and self.row(ms) >= 0 else self.last_filler(ms))

    def last_end(self, ms: int) -> int:
        """End of the last real data point as of `ms`; -1 when there is none."""
        row = self.row(ms)
        if row >= 0:
            return self._ends[row]
        point = self.carry()
        return -1 if point is None else point.end_ms

    def emitted(self, ms: int) -> BaseData | None:
        """What a slice at `ms` holds of this feed: the real point, its fill-forward copy, or nothing."""
        row = self.row(ms)
        if row >= 0 and self._ends[row] == ms:
            return self.last_real(ms)
        if not self.feed.spec.fill_forward or not self.in_session(ms) or ms > self.feed.stop:
            return None
        point = self.last_filler(ms)
        return None if point is None else point.moved(ms - (point.end_ms - point.start_ms), ms)

    def first_emission(self) -> int:
        """The first instant of this column at which the feed has data; FOREVER when it has none."""
        start = self.feed.start
        if self.sessions is None and self.low >= 0 and self.carry() is not None:
            return max(self.low, start) + 1
        if self.feed.spec.fill_forward and self.sessions and self.carried_filler() is not None:
            return self._first_filled(self.low)
        own = FOREVER if self.block is None or self.first >= len(self.end) else int(self.end.item(self.first))
        if self.whole is self.block or not self.feed.spec.fill_forward or self.whole_first >= len(self.whole_end):
            return own
        return min(own, self._first_filled(int(self.whole_end.item(self.whole_first))))

    def _first_filled(self, known: int) -> int:
        """The first session minute after an instant at which there is something to fill forward."""
        for opening, closing in self.sessions or ():
            first = max(opening, self.low, self.feed.start, known) // MINUTE_MS * MINUTE_MS + MINUTE_MS
            if first <= closing:
                return first
        return FOREVER


class Feed:
    """One subscription. `start` and `stop` bound what the algorithm may see, in UTC milliseconds."""

    __slots__ = ("_current", "_resume", "period", "source", "spec", "start", "stop", "symbol")

    def __init__(self, source: Any, spec: FeedSpec, start: int) -> None:
        self.source, self.spec, self.symbol = source, spec, spec.symbol
        self.start, self.stop = start, FOREVER
        self.period = RESOLUTION_MS[spec.resolution]
        self._current: Column | None = None
        self._resume: tuple[date, Points] | None = None

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
            closing = current.last(current.high)
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

    def _load(self, day: date) -> tuple[Any, Any]:
        """The rows of a file: those of the subscribed hours, and those of all hours."""
        spec = self.spec
        block = self._rows(day)
        if spec.kind == TickType.OPEN_INTEREST:
            return block, block
        if block is None or len(block.end) == 0:
            return None, None
        if spec.mode != DataNormalizationMode.RAW and self.symbol.security_type == SecurityType.EQUITY:
            block = self._normalized(block)
        return self._inside_hours(block, day)

    def _rows(self, day: date) -> Any:
        """The rows of the file that a day falls into, all hours, prices as they are in the file."""
        return self._read(self.symbol, day)

    def _read(self, symbol: Any, day: date) -> Any:
        spec = self.spec
        if spec.kind == TickType.TRADE:
            return self.source.trades(symbol, spec.resolution, day)
        if spec.kind == TickType.QUOTE:
            return self.source.quotes(symbol, spec.resolution, day)
        return self.source.open_interest(symbol, spec.resolution, day)

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
            changed["volume"] = np.asarray(block.volume) / split
        return replace(block, **changed)

    def _inside_hours(self, block: Any, day: date) -> tuple[Any, Any]:
        """Drops bars outside the subscribed hours, as SubscriptionFilterEnumerator.cs:143 does."""
        if self.spec.resolution == Resolution.DAILY:
            block = self._to_sessions(block)
            return block, block
        if self.spec.resolution == Resolution.HOUR and self.spec.internal:
            return block, block  # the benchmark's whole history: nobody sees its hours
        if self.spec.resolution < Resolution.HOUR and self._in_one_session(block, day):
            return block, block
        first = max(int(block.start[0]), self.start - RESOLUTION_MS[Resolution.DAILY])
        sessions = np.array(self.sessions_between(first, int(block.end[-1])), dtype=np.int64).reshape(-1, 2)
        following = np.searchsorted(sessions[:, 1], block.start, "right")
        openings = np.append(sessions[:, 0], FOREVER)
        keep = (block.end > openings[following]) | (block.end <= first)
        if keep.all():
            return block, block
        return filtered(block, keep) if keep.any() else None, block

    def _in_one_session(self, block: Any, day: date) -> bool:
        """Whether all rows of a day's file lie in one session, as most do."""
        zone, start = self.spec.data_zone, block.start.item(0)
        sessions = self.sessions_between(zone.midnight_ms(day), zone.midnight_ms(day + timedelta(days=1)))
        first = next((pair for pair in sessions if pair[1] > start), None)
        return first is not None and bool(first[0] < block.end.item(0) and block.start.item(-1) < first[1])

    def _to_sessions(self, block: Any) -> Any:
        """Daily bars begin at the open and end at the close of the regular session, whatever hours were asked for; days
        without one have no bar (LeanData.cs SetStrictEndTimes)."""
        spec = self.spec
        joined = (spec.data_mapping_mode, spec.contract_depth_offset)
        key = (spec.symbol, spec.kind, joined, len(block.end), int(block.end[-1]), id(spec.hours))
        known = _SESSIONS.get(key)
        if known is None:
            known = np.empty((2, len(block.end)), dtype=np.int64)
            for row, start in enumerate(block.start.tolist()):
                sessions = spec.hours.sessions_utc_ms(spec.data_zone.date_of(start), False)
                known[:, row] = (sessions[0][0], sessions[-1][1]) if sessions else (-1, -1)
            if len(_SESSIONS) >= REMEMBERED_FILES:
                _SESSIONS.clear()
            _SESSIONS[key] = known
        timed = replace(block, start=known[0], end=known[1])
        kept = known[1] >= 0
        if kept.all():
            return timed
        return filtered(timed, kept) if kept.any() else None

    def sessions_between(self, low: int, high: int) -> list[tuple[int, int]]:
        """The subscribed sessions that overlap (low, high], in UTC milliseconds."""
        extended = self.spec.extended and self.spec.resolution != Resolution.DAILY
        return _sessions(self.spec.hours, self.spec.zone, extended, low, high)

    def last_before(self, low: int) -> Points:
        """The last real points that ended at or before `low`, of the subscribed hours and of all, not looking past the
        start of the subscription."""
        if self.start >= low or low < 0:
            return NOTHING
        if self.spec.resolution >= Resolution.HOUR:
            first, last, day = self._file_of(low)
            before = Column(self, first, last, self._load(day))
            before.set_carry(NOTHING)
            return before.last(low)
        zone = self.spec.data_zone
        resume_day, resumed = self._resume or (zone.date_of(max(self.start, 0)) - timedelta(days=1), NOTHING)
        day, filler = zone.date_of(low - 1), None
        for _ in range(MAXIMUM_DAYS_BACK):
            if day <= resume_day:
                break
            blocks = self._load(day)
            if blocks[1] is not None:
                column = Column(self, zone.midnight_ms(day), zone.midnight_ms(day + timedelta(days=1)), blocks)
                column.set_carry(NOTHING)
                real, found = column.last(column.high)
                filler = filler or found
                if real is not None:
                    return real, filler
            day -= timedelta(days=1)
        return resumed[0], filler or resumed[1]

    def close_at(self, column: Column, row: int) -> float:
        """The close of `point`: a trade's, or a quote's middle; in points."""
        kind, block = self.spec.kind, column.block
        if kind == TickType.TRADE:
            return block.close.item(row)  # type: ignore[no-any-return]
        if kind == TickType.QUOTE:
            bid, ask = block.bid_close.item(row), block.ask_close.item(row)
            if bid == bid and ask == ask:
                return middle(bid, ask)
        return float(self.point(column, row).close)

    def point(self, column: Column, row: int, rows: Any = None) -> BaseData:
        """The data point of one row of a column, or of all its hours."""
        block, spec = column.block if rows is None else rows, self.spec
        kind = spec.kind
        if kind is TickType.TRADE:
            times = (block.start.item(row), block.end.item(row))
            first, high, low = block.open.item(row), block.high.item(row), block.low.item(row)
            values = (first, high, low, block.close.item(row), block.volume.item(row))
            return trade_bar(self.symbol, spec.zone, times, values)
        if kind is TickType.QUOTE:
            return self._quote(column, block, row)
        interest = OpenInterest(None, self.symbol, block.value.item(row))
        interest.zone = spec.zone
        interest.start_ms = interest.end_ms = block.end.item(row)
        return interest

    def _quote(self, column: Column, block: Any, row: int) -> QuoteBar:
        """A quote bar; a missing side is taken from the row before (QuoteBarFillForwardEnumerator.cs:72)."""
        bar = QuoteBar.__new__(QuoteBar)
        bar.symbol, bar.zone = self.symbol, self.spec.zone
        bar.start_ms, bar.end_ms = block.start.item(row), block.end.item(row)
        bar.bid = _bid_of(block, row) or self._side(column, block, row, _bid_of)
        bar.ask = _ask_of(block, row) or self._side(column, block, row, _ask_of)
        bar.last_bid_size = _size(block.bid_size.item(row))
        bar.last_ask_size = _size(block.ask_size.item(row))
        return bar

    def _side(self, column: Column, block: Any, row: int, side: Callable[[Any, int], Bar | None]) -> Bar | None:
        if not self.spec.fill_forward:
            return None
        place = int(column.whole_end.searchsorted(block.end.item(row)))
        for candidate in range(place - 1, column.whole_first - 1, -1):
            found = side(column.whole, candidate)
            if found is not None:
                return found
        before = column.carried_filler()
        if not isinstance(before, QuoteBar):
            return None
        return before.bid if side is _bid_of else before.ask


def _bid_of(block: Any, row: int) -> Bar | None:
    """The bid of a row of quotes; None where it is missing."""
    close = block.bid_close.item(row)
    if close != close:
        return None
    return Bar(block.bid_open.item(row), block.bid_high.item(row), block.bid_low.item(row), close)


def _ask_of(block: Any, row: int) -> Bar | None:
    """The same of the ask."""
    close = block.ask_close.item(row)
    if close != close:
        return None
    return Bar(block.ask_open.item(row), block.ask_high.item(row), block.ask_low.item(row), close)


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

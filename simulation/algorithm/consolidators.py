"""Consolidators: bars of a longer period, or of a number of bars, made from a subscription's bars
(PeriodCountConsolidatorBase.cs).

A period's bar begins at the period rounded down and is handed out by the first scan at or after its end, or by the
first bar behind it. Daily bars follow the exchange's session: they begin at the open and end at the close.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from simulation.data.market_hours import MarketHoursDatabase
from simulation.lean.bars import Bar, BaseData, QuoteBar, trade_bar
from simulation.lean.clock import Zone
from simulation.lean.dictionaries import EventHandlers
from simulation.lean.enums import Resolution, TickType
from simulation.lean.names import Named, signed
from simulation.lean.symbols import symbol_of

ONE_DAY = timedelta(days=1)
WINDOW = 2
"""Bars that a consolidator remembers."""
_SPANS = {
    Resolution.SECOND: timedelta(seconds=1),
    Resolution.MINUTE: timedelta(minutes=1),
    Resolution.HOUR: timedelta(hours=1),
    Resolution.DAILY: ONE_DAY,
}


@dataclass(frozen=True, slots=True)
class CalendarInfo:
    """A bar's begin (local) and length."""

    start: datetime
    period: timedelta


class Calendar(Named):
    """LEAN's calendar periods: `Calendar.WEEKLY`, `MONTHLY`, `QUARTERLY`, `YEARLY`."""

    @staticmethod
    def WEEKLY(moment: datetime) -> CalendarInfo:
        """Monday to Monday."""
        start = datetime(moment.year, moment.month, moment.day) - timedelta(days=moment.weekday())
        return CalendarInfo(start, timedelta(days=7))

    @staticmethod
    def MONTHLY(moment: datetime) -> CalendarInfo:
        """First of the month to first of the next."""
        return _months(moment, 1)

    @staticmethod
    def QUARTERLY(moment: datetime) -> CalendarInfo:
        """First of the quarter to first of the next."""
        return _months(moment, 3)

    @staticmethod
    def YEARLY(moment: datetime) -> CalendarInfo:
        """First of January to first of January."""
        return _months(moment, 12)


def _months(moment: datetime, months: int) -> CalendarInfo:
    first = (moment.month - 1) // months * months + 1
    index = moment.year * 12 + first - 1 + months
    start = datetime(moment.year, first, 1)
    return CalendarInfo(start, datetime(index // 12, index % 12 + 1, 1) - start)


def round_down(moment: datetime, period: timedelta) -> datetime:
    """A local time rounded down to a multiple of the period since year 1, as .NET does; longer than a day: not
    rounded."""
    if period > ONE_DAY:
        return moment
    since = moment - datetime(1, 1, 1)
    return moment - since % period


def _anchored(moment: datetime, period: timedelta, start_time: timedelta) -> datetime:
    """The begin of the bar of a time when bars begin at a time of the day; from a week on, of the month
    (LeanData.GetConsolidatorStartTime)."""
    first = moment.replace(day=1) if period >= timedelta(days=7) else moment
    reference = datetime(first.year, first.month, first.day) + start_time
    return reference + (moment - reference) // period * period


class DataConsolidator(Named):
    """Base of all: `data_consolidated += handler`, `update`, `scan`."""

    @signed("period, start_time=None", "max_count", "max_count, period", "func", "pyfuncobj")
    def __init__(self, what: Any, more: Any = None) -> None:
        """(period[, start of the bars in the day]), (number of bars[, period]) or a calendar (function of a time)."""
        from simulation.lean.dictionaries import RollingWindow

        self.data_consolidated = EventHandlers()
        self.window = RollingWindow(WINDOW)
        self.consolidated: BaseData | None = None
        self.working_bar: Any = None
        self._count = 0
        self._maximum = what if isinstance(what, int) and not isinstance(what, Resolution) else None
        self._calendar = what if callable(what) else None
        self._start_time = more if self._maximum is None else None
        span = what if self._maximum is None else more
        self._period = _SPANS[span] if isinstance(span, Resolution) else span if isinstance(span, timedelta) else None
        self._last_emit: datetime | None = None
        self._kind: TickType | None = None

    @property
    def working_data(self) -> Any:
        """The unfinished bar."""
        return self.working_bar

    @property
    def is_timed(self) -> bool:
        """Whether bars are made by time."""
        return self._maximum is None and (self._period is not None or self._calendar is not None)

    @property
    def current(self) -> Any:
        """The last bar that was handed out."""
        return self.window[0] if len(self.window) else None

    @property
    def previous(self) -> Any:
        """The bar before the last one."""
        return self.window[1] if len(self.window) > 1 else None

    def __getitem__(self, index: int) -> Any:
        return self.window[index]

    def _rounded(self, moment: datetime) -> CalendarInfo:
        if self._calendar is not None:
            info = self._calendar(moment)
            return info if isinstance(info, CalendarInfo) else CalendarInfo(info.start, info.period)
        assert self._period is not None
        if self._start_time is not None:
            return CalendarInfo(_anchored(moment, self._period, self._start_time), self._period)
        return CalendarInfo(round_down(moment, self._period), self._period)

    def working_end(self) -> datetime | None:
        """When the unfinished bar ends, local; None without one."""
        if self.working_bar is None or not self.is_timed:
            return None
        return self.working_bar.end_time  # type: ignore[no-any-return]

    def update(self, data: Any) -> None:
        """Takes one bar."""
        if not self.is_timed:
            self._update_count(data)
            return
        start = data.time
        if self._last_emit is None:
            self._last_emit = datetime.min
        working = self.working_bar
        if (
            working is not None
            and start - working.time >= working.period
            and self._rounded(start).start >= working.end_time
        ):
            self._emit()
        if start >= self._last_emit:
            self._aggregate(data)

    def _update_count(self, data: Any) -> None:
        if self._maximum is None:
            self._send(data)
            return
        self._count += 1
        if self.working_bar is None:
            self.working_bar = self._begin(data, data.start_ms, data.end_ms)
        else:
            self._extend(self.working_bar, data)
        self.working_bar.end_ms = data.end_ms
        full = self._period is not None and data.end_time - self.working_bar.time >= self._period
        if self._count >= self._maximum or full:
            self._count = 0
            self._emit()

    def scan(self, current_local_time: datetime) -> None:
        """Hands out the working bar when its time is over."""
        working = self.working_bar
        if working is not None and self.is_timed and current_local_time - working.time >= working.period:
            self._emit()

    def _emit(self) -> None:
        bar = self.working_bar
        self._last_emit = bar.end_time
        self.working_bar = None
        self._send(bar)

    def _send(self, bar: Any) -> None:
        self.window.add(bar)
        self.data_consolidated.fire(self, bar)
        self.consolidated = bar  # handlers still see the bar before (ConsolidatorBase.cs)

    def _aggregate(self, data: Any) -> None:
        if self.working_bar is None:
            info = self._rounded(data.time)
            start = info.start
            if start + info.period < data.end_time:
                start = data.time
            zone: Zone = data.zone
            low = zone.utc_ms(start)
            self.working_bar = self._begin(data, low, zone.utc_ms(start + info.period))
        else:
            self._extend(self.working_bar, data)

    def _begin(self, data: Any, low: int, high: int) -> Any:
        if isinstance(data, QuoteBar):
            bar = data.clone(False)
            bar.bid, bar.ask = _copied(data.bid), _copied(data.ask)
            bar.start_ms, bar.end_ms = low, high
            return bar
        values = (data.open, data.high, data.low, data.close, getattr(data, "volume", 0.0))
        return trade_bar(data.symbol, data.zone, (low, high), values)

    def _extend(self, bar: Any, data: Any) -> None:
        if isinstance(bar, QuoteBar):
            bar.bid, bar.ask = _merged(bar.bid, data.bid), _merged(bar.ask, data.ask)
            bar.last_bid_size, bar.last_ask_size = data.last_bid_size, data.last_ask_size
            return
        bar.high, bar.low, bar.close = max(bar.high, data.high), min(bar.low, data.low), data.close
        bar.volume += getattr(data, "volume", 0.0)

    def reset(self) -> None:
        """Forgets everything."""
        self.working_bar, self._last_emit, self._count = None, None, 0
        self.consolidated = None
        self.window.reset()


def _copied(side: Bar | None) -> Bar | None:
    return None if side is None else Bar(side.open, side.high, side.low, side.close)


def _merged(side: Bar | None, new: Bar | None) -> Bar | None:
    if side is None or new is None:
        return side or _copied(new)
    return Bar(side.open, max(side.high, new.high), min(side.low, new.low), new.close)


class TradeBarConsolidator(DataConsolidator):
    """Makes trade bars of trade bars."""


class QuoteBarConsolidator(DataConsolidator):
    """Makes quote bars of quote bars."""


class BaseDataConsolidator(DataConsolidator):
    """Makes trade bars of anything with a value."""


class IdentityDataConsolidator(DataConsolidator):
    """Hands every bar on."""

    def __init__(self) -> None:
        super().__init__(None)


class MarketHourAwareConsolidator(DataConsolidator):
    """Bars inside the exchange's hours: daily ones from open to close, shorter ones counted from the open and cut at
    the close (MarketHourAwareConsolidator.cs)."""

    @signed(
        "daily_strict_end_time_enabled, resolution, data_type, tick_type, extended_market_hours",
        "daily_strict_end_time_enabled, period, data_type, tick_type, extended_market_hours",
    )
    def __init__(self, strict: bool, span: Any, data_type: type, tick_type: TickType, extended: bool) -> None:
        """Whether daily bars keep the hours, a resolution or timedelta, the type of bars, and the hours to count."""
        self._strict, self._extended = strict, extended
        self._hours: Any = None
        length = _SPANS[span] if isinstance(span, Resolution) else span
        self._length: timedelta = length
        super().__init__(self._calendar_of(length, length in _SPANS.values()))
        self._kind = TickType.QUOTE if data_type is QuoteBar else tick_type

    def _calendar_of(self, length: timedelta, plain: bool) -> Any:
        if length < ONE_DAY:
            return length if plain else self._intraday
        return self._session if self._strict else length

    def _session(self, moment: datetime) -> CalendarInfo:
        if self._length > ONE_DAY:
            return CalendarInfo(moment, self._length)
        day = datetime(moment.year, moment.month, moment.day)
        if not self._hours.is_date_open(day, self._extended):
            return CalendarInfo(day, ONE_DAY)
        end = day + ONE_DAY - timedelta(microseconds=1)
        opening = self._hours.get_first_daily_market_open(end, self._extended)
        closing = self._hours.get_last_daily_market_close(day, self._extended)
        return CalendarInfo(opening, closing - opening)

    def _intraday(self, moment: datetime) -> CalendarInfo:
        hours, extended = self._hours, self._extended
        shift = timedelta(microseconds=1 if hours.is_open(moment, extended) else 0)
        opening = hours.get_previous_market_open(moment + shift, extended)
        start = opening + (moment - opening) // self._length * self._length
        end = min(start + self._length, hours.get_next_market_close(opening, extended))
        return CalendarInfo(start, end - start)

    def update(self, data: Any) -> None:
        """Takes one bar of the hours; of an hour before the open when bars are daily."""
        if self._hours is None:
            symbol, database = data.symbol, MarketHoursDatabase.from_data_folder()
            self._hours = database.get_exchange_hours(symbol.id.market, symbol, symbol.security_type)
        long = self._length == ONE_DAY and data.end_time - data.time >= timedelta(hours=1)
        if (
            self._extended
            or self._hours.is_open(data.time, False)
            or (long and self._hours.is_open(data.time, data.end_time, False))
        ):
            super().update(data)


class SessionConsolidator(MarketHourAwareConsolidator):
    """Daily bars from the open to the close of the exchange's regular session, as an algorithm's daily periods use."""

    def __init__(self, hours: Any) -> None:
        super().__init__(True, Resolution.DAILY, BaseData, TickType.TRADE, False)
        self._hours = hours


class _Registration:
    __slots__ = ("alive", "consolidator", "kind", "number", "symbol", "zone")

    def __init__(self, symbol: Any, consolidator: Any, kind: TickType, zone: Zone, number: int) -> None:
        self.symbol, self.consolidator, self.kind, self.zone, self.number = symbol, consolidator, kind, zone, number
        self.alive = True

    def place(self) -> tuple[int, int, str, int]:
        """Where its subscription stands among a slice's data (SubscriptionCollection.cs SortSubscriptions)."""
        return int(self.symbol.security_type), int(self.kind), self.symbol.value.upper(), self.number


class Consolidators:
    """All consolidators of a run.

    They are fed as a slice's data come: by type of security, then trades before quotes, then by ticker; those of one
    subscription in the order of their registration. At 16:00 a share's daily bar so comes before an index's quarter of
    an hour (recording p12), whichever was asked for first. What ended before a slice comes before all of that.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._items: list[_Registration] = []
        self._due: list[tuple[int, int, int, _Registration]] = []
        self._sequence = self._added = 0
        self.active = False

    def add(self, symbol: Any, consolidator: Any, kind: TickType | None = None) -> None:
        """Registers a consolidator; without a tick type it takes trades, or quotes where there are no trades."""
        from simulation.lean.clock import zone_of

        symbol = symbol_of(symbol)
        if kind is None:
            kind = getattr(consolidator, "_kind", None)
        if kind is None:
            kind = TickType.QUOTE if isinstance(consolidator, QuoteBarConsolidator) else TickType.TRADE
        zone = zone_of(self._engine.hours_of(symbol).time_zone)
        self._added += 1
        self._items.append(_Registration(symbol, consolidator, kind, zone, self._added))
        self._items.sort(key=_Registration.place)
        self.active = True

    def remove(self, symbol: Any, consolidator: Any) -> None:
        """Takes a consolidator out."""
        for item in self._items:
            if item.consolidator is consolidator and (symbol is None or item.symbol == symbol):
                item.alive = False
        self._items = [item for item in self._items if item.alive]
        self.active = bool(self._items)

    def feed(self, ms: int) -> None:
        """Hands this instant's bars to the consolidators, then lets each look at the clock."""
        feeds = self._engine.subscriptions.feeds
        for item in list(self._items):
            for feed in feeds.get(item.symbol, ()):
                if feed.spec.kind == item.kind and not feed.spec.internal:
                    point = feed.column(ms).emitted(ms)
                    if point is not None:
                        item.consolidator.update(point)
                        item.consolidator.scan(item.zone.local(ms))
            self._watch(item)

    def _watch(self, item: _Registration) -> None:
        end = item.consolidator.working_end() if isinstance(item.consolidator, DataConsolidator) else None
        if end is not None:
            self._sequence += 1
            heapq.heappush(self._due, (item.zone.utc_ms(end), item.number, self._sequence, item))

    def scan_past(self, now: int) -> None:
        """Hands out bars whose end lies before now and came without data, with the clock at their end."""
        while self._due and self._due[0][0] < now:
            end_ms, _, _, item = heapq.heappop(self._due)
            if not item.alive or item.consolidator.working_bar is None:
                continue
            if item.zone.utc_ms(item.consolidator.working_end()) == end_ms:
                if self._engine.utc_ms < end_ms:
                    self._engine.utc_ms = end_ms
                item.consolidator.scan(item.zone.local(end_ms))
        if len(self._due) > 4 * len(self._items) + 64:
            self._due = [entry for entry in self._due if entry[3].alive and entry[0] >= now]
            heapq.heapify(self._due)


def consolidator_for(engine: Any, symbol: Any, period: Any, kind: TickType) -> DataConsolidator:
    """The consolidator of a period as LEAN resolves it: identity at the subscription's own resolution, sessions for
    daily bars."""
    specs = [spec for spec in engine.configs.get(symbol, []) if not spec.internal]
    expired = symbol.has_underlying and symbol.id.date.date() < engine.zone.date_of(engine.utc_ms)
    if not specs and not symbol.is_canonical() and not expired:
        engine.algorithm.add_security(symbol)  # as an order would (QCAlgorithm.Indicators.cs GetSubscription)
        specs = [spec for spec in engine.configs.get(symbol, []) if not spec.internal]
    if not specs:
        raise ValueError(f"Please register to receive data for symbol '{symbol}' using the add_security() function.")
    made = _of_period(engine, symbol, period, kind, min(spec.resolution for spec in specs))
    made._kind = kind
    return made


def _of_period(engine: Any, symbol: Any, period: Any, kind: TickType, finest: Resolution) -> DataConsolidator:
    if period is None or (isinstance(period, Resolution) and period == finest):
        return IdentityDataConsolidator()
    if isinstance(period, Resolution) and period < finest:
        raise ValueError(f"Unable to create {symbol} consolidator because {symbol} is registered for {finest} data.")
    if isinstance(period, timedelta) and period == _SPANS.get(finest):
        return IdentityDataConsolidator()
    if isinstance(period, Resolution) and period == Resolution.DAILY:
        return SessionConsolidator(engine.hours_of(symbol))
    return (QuoteBarConsolidator if kind == TickType.QUOTE else TradeBarConsolidator)(period)

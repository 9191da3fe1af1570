"""When slices happen: the union of the session minutes of all subscriptions that have begun to have data (lean-facts
2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulation.account.portfolio import SecurityPortfolioManager
from simulation.data.feeds import RESOLUTION_MS, Feed
from simulation.data.source import DataSource
from simulation.lean.bars import Dividend, Split
from simulation.lean.clock import DAY_MS, FOREVER, MINUTE_MS
from simulation.lean.enums import DataNormalizationMode, DelistingType, Resolution, SecurityType, SplitType
from simulation.lean.exchange_hours import SecurityExchangeHours
from simulation.lean.numbers import clean
from simulation.lean.symbols import Symbol
from simulation.securities.securities import Security
from simulation.securities.slices import Slice

Times = NDArray[np.int64]
SAME_FACTOR = 1e-9
EMPTY: Times = np.empty(0, dtype=np.int64)


class _Group:
    """Feeds that tick together: same hours, resolution and options."""

    __slots__ = ("feeds", "started")

    def __init__(self) -> None:
        self.feeds: list[Feed] = []
        self.started = False


class Timeline:
    """The data times of a window, from the open feeds."""

    def __init__(self, feeds: dict[Symbol, list[Feed]]) -> None:
        self._feeds = feeds
        self._groups: dict[tuple[object, ...], _Group] = {}
        self._started: set[tuple[object, ...]] = set()

    def regroup(self) -> None:
        """Sorts the feeds anew after subscriptions have changed."""
        groups: dict[tuple[object, ...], _Group] = {}
        for feeds in self._feeds.values():
            for feed in feeds:
                spec = feed.spec
                if spec.internal:
                    continue
                key: tuple[object, ...] = (id(spec.hours), spec.resolution, spec.extended, spec.fill_forward)
                group = groups.setdefault(key, _Group())
                group.feeds.append(feed)
        self._started &= groups.keys()
        for key, group in groups.items():
            # A subscription that has started keeps ticking; one that is new in a started group is covered by the
            # others.
            group.started = key in self._started
        self._groups = groups

    def times(self, low: int, high: int) -> Times:
        """Instants in (low, high] at which some feed has data, ascending."""
        parts: list[Times] = []
        waiting: list[tuple[tuple[object, ...], _Group]] = []
        for key, group in self._groups.items():
            spec = group.feeds[0].spec
            if spec.resolution >= Resolution.HOUR or not spec.fill_forward:
                parts += [_real_ends(feed, low, high) for feed in group.feeds]
                if spec.fill_forward:
                    parts.append(_coarse_grid(group.feeds, low, high))
            elif group.started:
                parts.append(_grid(group.feeds[0], low, high))
            else:
                waiting.append((key, group))
        covered = _union(parts)
        for key, group in waiting:
            grid = _grid(group.feeds[0], low, high)
            if len(grid) == 0 or _covers(covered, grid):
                continue
            first = min((_first_data(feed, low, high) for feed in group.feeds), default=FOREVER)
            if first <= high:
                self._started.add(key)
                group.started = True
                covered = _union([covered, grid[grid >= first]])
        return covered


def _covers(times: Times, others: Times) -> bool:
    """Whether all of some ascending instants are among others that ascend."""
    if len(times) < len(others):
        return False
    places = np.minimum(times.searchsorted(others), len(times) - 1)
    return bool((times[places] == others).all())


def _union(parts: list[Times]) -> Times:
    full = [part for part in parts if len(part)]
    if not full:
        return EMPTY
    return full[0] if len(full) == 1 else np.unique(np.concatenate(full))


def _grid(feed: Feed, low: int, high: int) -> Times:
    """The subscribed session's bar ends in (low, high]."""
    step = feed.period if feed.period < DAY_MS else MINUTE_MS
    sessions = feed.sessions_between(low // DAY_MS * DAY_MS, high)  # the day's, which are known, whatever minute it is
    grid = _union([np.arange(start + step, end + 1, step, dtype=np.int64) for start, end in sessions])
    return grid[grid.searchsorted(low, "right") : grid.searchsorted(high, "right")]


def _coarse_grid(feeds: list[Feed], low: int, high: int) -> Times:
    """Fill-forward instants of hour and daily feeds once they have data."""
    if not any(feed.column(high).last_end(high) >= 0 for feed in feeds):
        return EMPTY
    feed = feeds[0]
    first = min(_first_data(item, max(item.start - 1, -1), high) for item in feeds)
    sessions = feed.sessions_between(low, high)
    if feed.spec.resolution == Resolution.DAILY:
        grid = np.array([end for _, end in sessions], dtype=np.int64)
    else:
        hour = RESOLUTION_MS[Resolution.HOUR]
        grid = _union(
            [np.arange(start // hour * hour + hour, end + 1, hour, dtype=np.int64) for start, end in sessions]
        )
    return grid[(grid > low) & (grid <= high) & (grid >= first)]


def _real_ends(feed: Feed, low: int, high: int) -> Times:
    ends: list[Times] = []
    moment = high
    while moment > low:
        column = feed.column(moment)
        if column.block is not None:
            inside = column.end[column.first :]
            ends.append(inside[(inside > low) & (inside <= high)])
        if column.low < 0:
            break
        moment = column.low
    return _union(ends)


def _first_data(feed: Feed, low: int, high: int) -> int:
    """The first instant in (low, high] at which a feed has data; FOREVER when there is none."""
    moment = low + 1
    while moment <= high:
        column = feed.column(moment)
        first = column.first_emission()
        if low < first <= high:
            return first
        if first <= low:
            return low + 1
        if column.high >= FOREVER:
            break
        moment = column.high + 1
    return FOREVER


def _begins(event: Dividend | Split, now: int) -> bool:
    """Whether an event is still to come; the warning of the first day comes with it."""
    warning = isinstance(event, Split) and event.type == SplitType.WARNING
    return now < event.end_ms or (warning and now == event.end_ms)


def corporate_actions(source: DataSource, symbol: Symbol, hours: SecurityExchangeHours) -> Iterator[Dividend | Split]:
    """Every dividend and split of a share's factor file, in the file's order; a split's warning before it."""
    for row, after in pairwise(source.factor_file(symbol) or ()):
        day = datetime(row.day.year, row.day.month, row.day.day)
        ex_date = hours.get_next_trading_day(day)
        ratio = row.price_factor / after.price_factor if after.price_factor else 1.0
        amount = round(row.reference_price * (1 - ratio), 2)
        if amount > 0:
            yield Dividend(symbol, ex_date, amount, row.reference_price)
        split = clean(row.split_factor / after.split_factor) if after.split_factor else 1.0
        if abs(split - 1) > SAME_FACTOR:
            if hours.is_date_open(day):
                yield Split(symbol, day, row.reference_price, split, SplitType.WARNING)
            yield Split(symbol, ex_date, row.reference_price, split)


class PaysDividends(Protocol):
    """The engine whose slice and account events come into."""

    portfolio: SecurityPortfolioManager

    @property
    def current_slice(self) -> Slice | None:
        """The slice of the last step."""


class DividendCalendar:
    """Dividends and splits of the subscribed shares: a dividend makes a slice at midnight of its ex-date, a split one
    before, as a warning, and one at its date (DividendEventProvider.cs, SplitEventProvider.cs)."""

    def __init__(self, source: DataSource) -> None:
        self._source = source
        self._due: list[tuple[int, str, Security, Dividend | Split]] = []
        self._known: set[Symbol] = set()

    def watch(self, security: Security, now: int, end: int) -> None:
        """Notes the events of a share from now to the end of the run."""
        if security.symbol in self._known or security.type != SecurityType.EQUITY:
            return
        self._known.add(security.symbol)
        self._due += [
            (event.end_ms, str(security.symbol.value), security, event)
            for event in corporate_actions(self._source, security.symbol, security.exchange.hours)
            if _begins(event, now) and event.end_ms <= end
        ]
        self._due.sort(key=lambda item: item[:2])

    @property
    def next_ms(self) -> int:
        """The next midnight with a dividend or a split."""
        return self._due[0][0] if self._due else FOREVER

    def pay(self, engine: PaysDividends, ms: int) -> None:
        """Puts what has come into the current slice; raw-priced shares that are held receive it in cash (step 13)."""
        moment = engine.current_slice
        assert moment is not None
        while self._due and self._due[0][0] <= ms:
            _, _, security, event = self._due.pop(0)
            if isinstance(event, Split):
                moment.splits[security.symbol] = event
                continue
            moment.dividends[security.symbol] = event
            if security.data_normalization_mode == DataNormalizationMode.RAW and security.invested:
                engine.portfolio.pay_dividend(security, event.distribution)
        moment.has_data = True


def delisting_date(symbol: Symbol, hours: SecurityExchangeHours) -> date:
    """A contract's last day: an equity option's last trading day, else the date of its identifier
    (Extensions.cs:3578)."""
    day: date = symbol.id.date.date()
    if symbol.security_type == SecurityType.OPTION:
        moment = datetime(day.year, day.month, day.day)
        while not hours.is_date_open(moment):
            moment -= timedelta(days=1)
        return moment.date()
    return day


def delisting_moment(symbol: Symbol, hours: SecurityExchangeHours, kind: DelistingType) -> datetime:
    """When a delisting lies, in the exchange's zone: the warning at midnight of the last day, the removal a day after
    it, that of a future at the time of day which its identifier has (DelistingEventProvider.cs:78-107)."""
    day = delisting_date(symbol, hours)
    if kind == DelistingType.WARNING:
        return datetime(day.year, day.month, day.day)
    clock = symbol.id.date.time() if symbol.security_type == SecurityType.FUTURE else time()
    return datetime.combine(day + timedelta(days=1), clock)


def trades_again(security: Security, ms: int, end: int) -> bool:
    """Whether a trading day is left in the run: LEAN makes the removal when it opens the next day's file."""
    hours = security.exchange.hours
    day, last = security.zone.local(ms), security.zone.local(end)
    while day.date() <= last.date():
        if hours.is_date_open(day):
            return True
        day += timedelta(days=1)
    return False

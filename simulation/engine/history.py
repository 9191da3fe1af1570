"""The past of a symbol between two instants, as data points (lean-facts, section 9).

A request by number of bars reaches so many bars of market time back, whether or not there was data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from simulation.data.feeds import RESOLUTION_MS, Column, Feed, FeedSpec, seen_from
from simulation.engine.kernel import Engine
from simulation.engine.timeline import Times
from simulation.lean.bars import BaseData, OpenInterest, QuoteBar, TradeBar
from simulation.lean.clock import FOREVER, zone_of
from simulation.lean.enums import DataMappingMode, DataNormalizationMode, Resolution, SecurityType, TickType
from simulation.lean.symbols import Symbol
from simulation.securities.continuous import default_normalization, feed_of, is_continuous

SEED_BARS = {Resolution.MINUTE: 24 * 60, Resolution.HOUR: 24, Resolution.DAILY: 10}
SEED_DAYS = 50
TRADES_ONLY = (SecurityType.EQUITY, SecurityType.INDEX)


@dataclass(frozen=True, slots=True)
class Joined:
    """How prices are adjusted and contracts joined; None leaves it as the subscription has it."""

    mode: DataNormalizationMode | None = None
    mapping: DataMappingMode | None = None
    depth: int | None = None

    @staticmethod
    def of(named: Mapping[str, int | None]) -> Joined:
        """From the arguments of a call."""
        mode, mapping = named.get("data_normalization_mode"), named.get("data_mapping_mode")
        depth = named.get("contract_depth_offset")
        return Joined(
            None if mode is None else DataNormalizationMode(mode),
            None if mapping is None else DataMappingMode(mapping),
            None if depth is None else abs(int(depth)),
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One symbol's past between two instants (low excluded by bar start, high included by bar end), in UTC
    milliseconds."""

    symbol: Symbol
    kind: TickType
    resolution: Resolution
    low: int
    high: int
    fill_forward: bool
    extended: bool
    joined: Joined = Joined()


def bars_back(engine: Engine, symbol: Symbol, resolution: Resolution, count: int, extended: bool) -> int:
    """The instant that lies so many bars of market time before now (Time.cs GetStartTimeForTradeBars)."""
    hours = engine.hours_of(symbol)
    zone = zone_of(hours.time_zone)
    now = engine.utc_ms
    day = zone.date_of(now)
    period = RESOLUTION_MS[resolution]
    left = count
    for _ in range(40_000):
        for opening, closing in reversed(hours.sessions_utc_ms(day, extended)):
            if resolution == Resolution.DAILY:
                continue
            end = min(closing, now // period * period)
            available = -((opening - end) // period) if end > opening else 0
            if available >= left:
                return int(max(opening, end - left * period))
            left -= max(available, 0)
        if resolution == Resolution.DAILY and hours.is_date_open(datetime(day.year, day.month, day.day), extended):
            sessions = hours.sessions_utc_ms(day, extended)
            if sessions[-1][1] <= now:
                left -= 1
            if left <= 0:
                return int(sessions[0][0])
        day -= timedelta(days=1)
    raise ValueError(f"{symbol}: {count} bars of {resolution} reach back before any session of its exchange")


def whole_bars_back(engine: Engine, symbol: Symbol, resolution: Resolution, count: int, extended: bool) -> int:
    """The instant from which so many hours or days, each with some trade in it, lie before now: a day begins at
    midnight of the data, not at the open (Time.cs GetStartTimeForTradeBars). Bars this long have no extended hours."""
    del extended
    entry = engine.source.hours.get_entry(symbol.id.market, symbol, symbol.security_type)
    hours = entry.exchange_hours
    zone, data_zone = zone_of(hours.time_zone), zone_of(entry.data_time_zone)
    now = zone.local(engine.utc_ms)
    period = timedelta(milliseconds=RESOLUTION_MS[resolution])
    today = datetime(now.year, now.month, now.day)
    over = (
        resolution == Resolution.DAILY and hours.is_date_open(now) and hours.get_next_market_close(today, False) <= now
    )
    current = now
    if not over:
        stamped = data_zone.local(engine.utc_ms)
        current = zone.local(data_zone.utc_ms(stamped - (stamped - datetime(1, 1, 1)) % period))
    left = count
    for _ in range(40_000):
        if left <= 0:
            return zone.utc_ms(current)
        left -= hours.is_open(current - period, current, False)
        current -= period
    raise ValueError(f"{symbol}: {count} bars of {resolution} reach back before any session of its exchange")


def feed_for(engine: Engine, request: Request) -> Feed:
    """A feed of its own for a request. A bar that ends just at its begin is no point of it, but is filled forward
    (SubscriptionDataReader.cs:384, SubscriptionDataReaderHistoryProvider.cs TimeBasedFilter)."""
    symbol = request.symbol
    entry = engine.source.hours.get_entry(symbol.id.market, symbol, symbol.security_type)
    hours = entry.exchange_hours
    zones = zone_of(hours.time_zone), zone_of(entry.data_time_zone)
    spec = FeedSpec(symbol, request.resolution, request.kind, hours, *zones, request.fill_forward, request.extended)
    known = engine.securities.get(symbol)
    mode = DataNormalizationMode.ADJUSTED if known is None else known.data_normalization_mode
    if is_continuous(symbol):
        mode = default_normalization(mode)
    spec.mode = engine.subscriptions.served_mode(symbol, mode if request.joined.mode is None else request.joined.mode)
    own = next(iter(engine.configs.get(symbol, [])), spec)
    mapping, depth = request.joined.mapping, request.joined.depth
    spec.data_mapping_mode = own.data_mapping_mode if mapping is None else mapping
    spec.contract_depth_offset = own.contract_depth_offset if depth is None else depth
    return feed_of(engine.source, spec, seen_from(spec, request.low, 0))


def points(engine: Engine, request: Request) -> list[BaseData]:
    """The data points of a request, fill-forward ones included when wanted."""
    feed = feed_for(engine, request)
    found: list[BaseData] = []
    moment = request.low + 1
    while moment <= request.high:
        column = feed.column(moment)
        found += _points_of(column, request)
        if column.high >= FOREVER:
            break
        moment = column.high + 1
    return found


def _points_of(column: Column, request: Request) -> Iterator[BaseData]:
    feed = column.feed
    ends: Times = np.empty(0, dtype=np.int64)
    if column.block is not None:
        rows = column.end[column.first :]
        ends = rows[(rows <= request.high) & (rows > request.low)]
    if request.fill_forward:
        first, step = column.first_emission(), feed.period
        low, high = max(request.low, column.low), min(request.high, column.high)
        sessions = column.sessions if column.sessions is not None else feed.sessions_between(low, high)
        if request.resolution == Resolution.DAILY:
            grids = [np.array([closing for _, closing in sessions], dtype=np.int64)]
        else:
            starts = [(opening // step * step, closing) for opening, closing in sessions]
            grids = [np.arange(opening + step, closing + 1, step, dtype=np.int64) for opening, closing in starts]
        grid = np.concatenate(grids) if grids else ends
        ends = np.unique(np.concatenate([ends, grid[(grid > low) & (grid <= high) & (grid >= first)]]))
    for end in ends.tolist():
        point = column.emitted(end) if request.fill_forward else column.last_real(end)
        if point is not None:
            yield point


def last_known(engine: Engine, symbol: Symbol) -> list[BaseData]:
    """The last real point of each tick type that is known now, oldest first: trades before quotes of the same time.

    Minutes are sought over a day's worth of session, hours over 24, days over ten; what that does not give, and open
    interest, comes from daily files of the last 50 trading days (QCAlgorithm.History.cs GetLastKnownPricesImpl).
    """
    settings = engine.algorithm.universe_settings
    specs = engine.configs.get(symbol) or engine.subscriptions.specifications(
        symbol, settings.resolution, settings.fill_forward, settings.extended_market_hours
    )
    found: list[BaseData] = []
    for spec in specs:
        spans = [(spec.resolution, SEED_BARS[spec.resolution]), (Resolution.DAILY, SEED_DAYS)]
        if spec.kind == TickType.OPEN_INTEREST:
            spans = spans[1:]
        for resolution, count in spans:
            point = _last_of(engine, spec, resolution, count)
            if point is not None:
                found.append(point)
                break
    order: dict[type[BaseData], int] = {TradeBar: 0, QuoteBar: 1, OpenInterest: 2}
    return sorted(found, key=lambda item: (item.start_ms, order.get(type(item), 3)))


def _last_of(engine: Engine, spec: FeedSpec, resolution: Resolution, count: int) -> BaseData | None:
    if spec.kind not in kinds_of(spec.symbol, resolution):
        return None
    low = bars_back(engine, spec.symbol, resolution, count, spec.extended)
    feed = feed_for(engine, Request(spec.symbol, spec.kind, resolution, low, engine.utc_ms, False, spec.extended))
    point = feed.column(max(engine.utc_ms - engine.tick, 1)).last_real(engine.utc_ms)
    return None if point is None or point.end_ms <= low else point


def default_kinds(symbol: Symbol, resolution: Resolution) -> list[TickType]:
    """Tick types that LEAN serves for a symbol without being told."""
    if symbol.security_type == SecurityType.INDEX:
        return [TickType.TRADE]
    if symbol.security_type == SecurityType.EQUITY and resolution >= Resolution.HOUR:
        return [TickType.TRADE]
    return [TickType.TRADE, TickType.QUOTE]


def kinds_of(symbol: Symbol, resolution: Resolution) -> list[TickType]:
    """Tick types of a symbol that files of a resolution may hold."""
    kinds = default_kinds(symbol, resolution)
    return kinds if symbol.security_type in TRADES_ONLY else [*kinds, TickType.OPEN_INTEREST]

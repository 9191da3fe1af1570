"""Futures around the clock, and bars of hours and days gathered from minutes.

A future's regular minutes are its driver's, to 17:00 New York by a quiet walk of its own; the night before a trading
day runs from 18:00 to 9:30 and ends on that day's open, so that the gap of the cash market is what the night moved.
Hours and days of options and futures are gathered when asked for, one contract and one file at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import date, datetime, timedelta
from functools import lru_cache
from operator import methodcaller
from typing import TypeVar, cast
from zoneinfo import ZoneInfo

import numpy as np

from simulation.data.columns import QuoteBlock, TradeBlock, UniverseBlock
from simulation.lean.enums import OptionRight, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.asset_days import AssetDay
from simulation.market.assets import Asset
from simulation.market.book import Book
from simulation.market.calendar import (
    NEW_YORK,
    OPEN_MINUTE,
    WEIGHT_OF_YEAR,
    FloatArray,
    IntArray,
    calendar,
    session_open_utc,
)
from simulation.market.daily_columns import DaysOfBars, MinutesColumn
from simulation.market.days import stream, to_tick
from simulation.market.futures import FutureStrip
from simulation.market.quotes import bid_and_ask, full_spread, sizes
from simulation.market.valuation import settlement_day

MINUTE = 60_000
HOUR = 3_600_000
EVENING = 18 * 60  # New York minute at which the next trading day's night begins
NIGHT = 24 * 60 - EVENING + OPEN_MINUTE
AFTER, AFTER_HALF = 60, 15  # minutes of the regular session that follow the cash market's close; on a half day
NIGHT_SHARE = 0.2  # of a day's variance, the least that a night has
QUIET = 0.35  # deviation of a minute after the close over that of a usual minute
VOLUMES = (300.0, 60.0, 20.0)  # contracts a minute: with the cash market open, after it, at night; stated
UTC = ZoneInfo("UTC")
EVENING_STEP = 10  # minutes between quotes of futures options after the close
KEPT = 64
Block = TypeVar("Block", TradeBlock, QuoteBlock)


@lru_cache(maxsize=1)
def _night_weights() -> tuple[FloatArray, FloatArray]:
    """Shares of the night's variance, as what has passed of it at each minute's end and as the root of each minute's.

    Europe's opening counts half more, the hour of American figures three times.
    """
    clock = (EVENING + np.arange(NIGHT)) % 1440
    weights = np.where((clock >= 120) & (clock < 300), 1.5, 1.0) + np.where((clock >= 480) & (clock < 570), 2.0, 0.0)
    shares = weights / weights.sum()
    return np.concatenate((np.zeros(1), np.cumsum(shares))), np.sqrt(shares)


def _daily_deviation(asset: Asset, row: int) -> float:
    return float(asset.filled_volatility[row] / 100.0 / np.sqrt(WEIGHT_OF_YEAR))


def _kept(known: dict[int, FloatArray | None], day: date, make: Callable[[], FloatArray | None]) -> FloatArray | None:
    """What was made of a day, which several contracts and the day after ask for; a few days of it."""
    key = day.toordinal()
    if key not in known:
        if len(known) > 8:
            known.clear()
        known[key] = make()
    return known[key]


def after_close(strip: FutureStrip, day: date) -> FloatArray | None:
    """A driver's points from the close of ``day`` to the end of the futures' regular session; ``None`` off its days."""
    return _kept(strip.evenings, day, lambda: _after_close(strip.driver, strip.law.ticker, day))


def _after_close(asset: Asset, ticker: str, day: date) -> FloatArray | None:
    row = asset.row(day)
    if row is None:
        return None
    count = AFTER if calendar().session_minutes(day) > 300 else AFTER_HALF
    step = QUIET * _daily_deviation(asset, row) / 390.0**0.5
    draws = stream(asset.seed, f"{ticker}/after", day).standard_normal(count)
    walk = np.concatenate((np.zeros(1), np.cumsum(draws)))
    return np.asarray(float(asset.series.close[row]) * np.exp(step * walk))


def night(strip: FutureStrip, day: date) -> FloatArray | None:
    """A driver's points at 18:00 of the evening before ``day`` and at each minute's end to the open of ``day``."""
    return _kept(strip.nights, day, lambda: _night(strip, day))


def _night(strip: FutureStrip, day: date) -> FloatArray | None:
    asset, ticker = strip.driver, strip.law.ticker
    row, state = asset.row(day), asset.day(day)
    if row is None or state is None:
        return None
    before = after_close(strip, date.fromordinal(int(asset.series.days[row - 1])))
    start = float(asset.series.close[row - 1]) if before is None else float(before[-1])
    deviation = _daily_deviation(asset, row - 1) * max(NIGHT_SHARE, asset.spec.profile.overnight) ** 0.5
    passed, roots = _night_weights()
    draws = stream(asset.seed, f"{ticker}/night", day).standard_normal(NIGHT) * roots
    walk = np.concatenate((np.zeros(1), np.cumsum(draws)))
    bridge = deviation * (walk - passed * walk[-1])
    return np.asarray(np.exp(np.log(start) + passed * np.log(state.opened / start) + bridge))


def _bars(points: FloatArray, tick: float, start: int, volume: float) -> TradeBlock:
    shown = to_tick(points, tick)
    opens, closes = shown[:-1], shown[1:]
    starts = start + np.arange(len(opens), dtype=np.int64) * MINUTE
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return TradeBlock(starts + MINUTE, starts, opens, high, low, closes, np.full(len(opens), volume))


@lru_cache(maxsize=64)
def _moment(day: date, minute: int) -> int:
    midnight = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK)
    return int((midnight + timedelta(minutes=minute)).timestamp()) * 1000


def future_minutes(book: Book, symbol: Symbol, day: date) -> TradeBlock | None:
    """One contract's minutes that start on ``day`` in UTC, night and evening included; ``None`` when there are none."""
    strip = book.strips.get(symbol.id.symbol)
    if strip is None:
        return None
    expiry = strip.expiry(symbol)
    parts = [_night_bars(book, strip, expiry, trading) for trading in (day, day + timedelta(days=1))]
    found = [part for part in (parts[0], _day_bars(book, strip, expiry, day), parts[1]) if part is not None]
    if not found:
        return None
    low, high = (_utc_midnight(day + timedelta(days=ahead)) for ahead in (0, 1))
    whole = joined(found)
    first, stop = np.searchsorted(whole.start, (low, high))
    return _rows(whole, int(first), int(stop)) if first < stop else None


def _night_of(book: Book, strip: FutureStrip, expiry: date, day: date) -> FloatArray | None:
    """Points of the driver in the night before a trading day of a contract, at 18:00 and at each minute's end."""
    return night(strip, day) if book.inside(day) and strip.trades(expiry, day) else None


def _night_bars(book: Book, strip: FutureStrip, expiry: date, day: date) -> TradeBlock | None:
    points = _night_of(book, strip, expiry, day)
    if points is None:
        return None
    start = _moment(day - timedelta(days=1), EVENING)
    return _bars(points * strip.factor(expiry, day), strip.law.tick, start, VOLUMES[2])


def future_day(book: Book, symbol: Symbol, day: date) -> tuple[float, ...] | None:
    """Open, high, low, close and volume of `future_minutes`, of which none is made; ``None`` where it has to be.

    A session's minutes reach its bar's prices and no further, and rounding to the tick keeps their order.
    """
    strip = book.strips[symbol.id.symbol]
    expiry, tick = strip.expiry(symbol), strip.law.tick
    low, high = (_utc_midnight(day + timedelta(days=ahead)) for ahead in (0, 1))
    pieces: list[tuple[FloatArray, float]] = []  # prices, the first and the last in their places, and contracts traded

    def night_before(trading: date) -> None:
        points, start = _night_of(book, strip, expiry, trading), _moment(trading - timedelta(days=1), EVENING)
        first, stop = max((low - start) // MINUTE, 0), min((high - start) // MINUTE, NIGHT)
        if points is not None and first < stop:
            shown = to_tick(points[first : stop + 1] * strip.factor(expiry, trading), tick)
            pieces.append((shown, VOLUMES[2] * (stop - first)))

    night_before(day)
    row = strip.driver.row(day) if book.inside(day) and strip.trades(expiry, day) else None
    if row is not None:
        if book.halted(day) is not None:
            return None
        bar, factor = strip.driver.bar(row), strip.factor(expiry, day)
        prices = to_tick(np.array([bar.open, bar.high, bar.low, bar.close]) * factor, tick)
        pieces.append((prices, VOLUMES[0] * calendar().session_minutes(day)))
        points = None if day == expiry else after_close(strip, day)
        if points is not None:
            pieces.append((to_tick(points * factor, tick), VOLUMES[1] * (len(points) - 1)))
    night_before(day + timedelta(days=1))
    if not pieces:
        return None
    highest, lowest = max(shown.max() for shown, _ in pieces), min(shown.min() for shown, _ in pieces)
    traded = sum(volume for _, volume in pieces)
    return pieces[0][0].item(0), float(highest), float(lowest), pieces[-1][0].item(-1), traded


def _trades_on(book: Book, strip: FutureStrip, expiry: date, day: date) -> bool:
    """Whether a contract has minutes that start on a day in UTC: its night before the day, or of the day after."""
    ahead = (day, day + timedelta(days=1))
    return any(book.inside(one) and strip.trades(expiry, one) for one in ahead)


def _day_bars(book: Book, strip: FutureStrip, expiry: date, day: date) -> TradeBlock | None:
    state = strip.on(expiry, day) if book.inside(day) else None
    if state is None:
        return None
    spot, halted = state.spot, book.halted(day)
    rows = np.arange(state.minutes) if halted is None else np.flatnonzero(~halted)
    opened = session_open_utc(day)
    start = opened + rows * MINUTE
    prices = (spot.open[rows], spot.high[rows], spot.low[rows], spot.close[rows])
    regular = TradeBlock(start + MINUTE, start, *prices, np.full(len(rows), VOLUMES[0]))
    points = after_close(strip, day)
    if points is None or (halted is not None and bool(halted[-1])) or day == expiry:
        return regular
    end = opened + state.minutes * MINUTE
    return joined([regular, _bars(points * strip.factor(expiry, day), strip.law.tick, end, VOLUMES[1])])


def evening_quotes(book: Book, symbol: Symbol, day: date, last: float) -> QuoteBlock | None:
    """A futures option from 16:00 to the end of its future's regular session, every ten minutes.

    Its value moves from ``last``, the model's at the close, by delta and gamma with the future; spreads stay as wide as
    in the last minute. ``None`` on the option's last day and where the future has no evening.
    """
    strip, root = book.strips.get(symbol.underlying.id.symbol), book.root(symbol)
    expiry = _date_of(symbol)
    state = None if root is None else root.asset_day(day)
    if strip is None or root is None or state is None or day >= expiry:
        return None
    points = after_close(strip, day)
    if points is None:
        return None
    minutes = np.arange(EVENING_STEP, len(points), EVENING_STEP)
    future = to_tick(points[minutes] * strip.factor(strip.expiry(symbol.underlying), day), strip.law.tick)
    strike, sign = float(symbol.id.strike_price), 1.0 if symbol.id.option_right == OptionRight.CALL else -1.0
    delta, gamma = root.delta_and_gamma(state, expiry, (strike, sign))
    moved = future - float(state.spot.points[-1])
    intrinsic = np.maximum(sign * (future - strike), 0.0)
    value = np.maximum(last + delta * moved + 0.5 * gamma * moved**2, intrinsic)
    years = np.full(len(value), float(state.years(expiry)[-1]))
    multiple = np.full(len(value), float(root.spreads(day, state)[-1]))
    width = full_spread(root.law, value - intrinsic, intrinsic, future, years, multiple)
    bid, ask = bid_and_ask(root.law, value, width)
    start = session_open_utc(day) + (state.minutes + minutes - 1) * MINUTE
    shown = (sizes(bid, root.law, 3), sizes(ask, root.law, 5))
    return QuoteBlock(start + MINUTE, start, bid, bid, bid, bid, shown[0], ask, ask, ask, ask, shown[1])


class ListedFutures(UniverseBlock):
    """A future's contracts of a day, whose prices are read from their minutes when one of them is looked at.

    Most who read the list want to know what is listed.
    """

    __slots__ = ("_found", "_states")
    _states: list[AssetDay]
    _found: list[FloatArray]

    @classmethod
    def of(cls, canonical: Symbol, day: date, listed: list[tuple[date, AssetDay]]) -> ListedFutures:
        """The contracts, nearest first; open interest falls by two thirds with each."""
        zero = np.zeros(len(listed))
        interest = np.floor(400_000.0 * 0.35 ** np.arange(len(listed)))
        expiry = np.array([found.toordinal() for found, _ in listed], dtype=np.int64)
        known = {"expiry": expiry, "right": zero.astype(np.int64), "open_interest": interest}
        known |= {"volume": np.floor(interest / 2.0), "canonical": canonical, "day": day, "underlying": None}
        known |= {"_symbols": [], "_states": [state for _, state in listed], "_found": []}
        block = object.__new__(cls)
        for one in (*(one.name for one in fields(UniverseBlock)), "_states", "_found"):
            if one not in _PRICES:
                object.__setattr__(block, one, known.get(one, zero))
        return block

    def narrowed(self, rows: IntArray) -> UniverseBlock:
        """The same with these rows only, prices and all."""
        whole = UniverseBlock(*(getattr(self, one.name) for one in fields(UniverseBlock) if one.init))
        return whole.narrowed(rows)

    def price(self, which: int) -> FloatArray:
        """One of the day's four prices of each contract."""
        if not self._found:
            spots = [state.spot for state in self._states]
            ends = [(spot.points[0], spot.high.max(), spot.low.min(), spot.points[-1]) for spot in spots]
            self._found.extend(np.array(ends).T)
        return self._found[which]


_PRICES = ("open", "high", "low", "close")
for _name in _PRICES:
    setattr(ListedFutures, _name, property(methodcaller("price", _PRICES.index(_name))))


def _date_of(symbol: Symbol) -> date:
    moment = symbol.id.date
    return moment.date() if isinstance(moment, datetime) else moment


# --- hours and days --------------------------------------------------------------------------------------------------


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks one after the other."""
    names = type(blocks[0]).__dataclass_fields__
    return type(blocks[0])(*(np.concatenate([getattr(block, name) for block in blocks]) for name in names))


def _rows(block: Block, first: int, stop: int) -> Block:
    return type(block)(*(getattr(block, name)[first:stop] for name in type(block).__dataclass_fields__))


def _utc_midnight(day: date) -> int:
    return _midnight(day, UTC)


@lru_cache(maxsize=64)
def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


_REDUCED: dict[str, np.ufunc] = {"high": np.fmax, "low": np.fmin, "volume": np.add}


def _edge(values: FloatArray, first: IntArray, last: IntArray, step: int) -> FloatArray:
    """The first (``step`` 1) or last (-1) known value of each span."""
    found = values[first if step > 0 else last]
    for row in np.flatnonzero(np.isnan(found)):
        span = values[first[row] : last[row] + 1][::step]
        known = span[~np.isnan(span)]
        found[row] = known[0] if len(known) else np.nan
    return np.asarray(found)


def gathered(block: Block, edges: Sequence[tuple[int, int]]) -> Block | None:
    """One bar for each span of ``edges`` in which ``block`` has rows; ``None`` without any."""
    spans = np.array(edges, dtype=np.int64)
    first, stop = np.searchsorted(block.start, spans[:, 0]), np.searchsorted(block.start, spans[:, 1])
    kept = np.flatnonzero(first < stop)
    if len(kept) == 0:
        return None
    first, last = first[kept], stop[kept] - 1
    columns = []
    for name in list(type(block).__dataclass_fields__)[2:]:
        values, kind = getattr(block, name), name.rsplit("_", 1)[-1]
        if kind in ("open", "close"):
            columns.append(_edge(values, first, last, 1 if kind == "open" else -1))
        elif kind == "size":
            columns.append(values[last])
        else:
            whole = values[: last[-1] + 1]
            columns.append(_REDUCED[kind].reduceat(whole, first))
    return type(block)(spans[kept, 1], spans[kept, 0], *columns)


class LongBars:
    """Hours and days of contracts, as LEAN's files hold them.

    A day of minutes, a year of an option, the whole life of a future. ``minutes_of`` gives a contract's minutes on a
    day.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._kept: OrderedDict[tuple[object, ...], object] = OrderedDict()

    def of(
        self,
        symbol: Symbol,
        resolution: Resolution,
        day: date,
        minutes_of: Callable[[Symbol, date], Block | None],
    ) -> Block | None:
        """The file that ``day`` falls into; ``None`` for resolutions that have none and contracts without a row."""
        if resolution is Resolution.MINUTE:
            return minutes_of(symbol, day)
        if resolution not in (Resolution.HOUR, Resolution.DAILY):
            return None

        def make() -> Block | None:
            pieces = []
            for one in self.days(symbol, day):
                minutes = minutes_of(symbol, one)
                bars = None if minutes is None else gathered(minutes, self._edges(symbol, resolution, one))
                if bars is not None:
                    pieces.append(bars)
            return joined(pieces) if pieces else None

        return self._keep((symbol, resolution, self._file(symbol, day), minutes_of.__name__), make)

    def of_future(
        self, symbol: Symbol, day: date, minutes_of: Callable[[Symbol, date], TradeBlock | None]
    ) -> TradeBlock | None:
        """A contract's days of trades, each gathered when it is looked at: a run looks at few of a contract's life."""

        def bar(one: date) -> tuple[float, ...]:
            whole = future_day(self._book, symbol, one)
            if whole is not None:
                return whole
            minutes = minutes_of(symbol, one)
            bars = None if minutes is None else gathered(minutes, self._edges(symbol, Resolution.DAILY, one))
            if bars is None:
                raise ValueError(f"{symbol.value}: no minutes on {one}; expected some on every day of its file")
            return tuple(getattr(bars, name).item(0) for name in ("open", "high", "low", "close", "volume"))

        def make() -> TradeBlock | None:
            strip = self._book.strips[symbol.id.symbol]
            expiry = strip.expiry(symbol)
            days = [one for one in self.days(symbol, day) if _trades_on(self._book, strip, expiry, one)]
            if not days:
                return None
            edges = np.array([self._edges(symbol, Resolution.DAILY, one)[0] for one in days], dtype=np.int64)
            table, rows = DaysOfBars(days, bar), np.arange(len(days))
            columns = [cast(FloatArray, MinutesColumn(table, which, rows)) for which in range(5)]
            return TradeBlock(edges[:, 1], edges[:, 0], *columns)

        return self._keep((symbol, Resolution.DAILY, "days"), make)

    def _keep(self, key: tuple[object, ...], make: Callable[[], Block | None]) -> Block | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]  # type: ignore[return-value]  # stored under its own kind
        made = self._kept[key] = make()
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made

    @staticmethod
    def _file(symbol: Symbol, day: date) -> int:
        return 0 if symbol.security_type is SecurityType.FUTURE else day.year

    @staticmethod
    def _edges(symbol: Symbol, resolution: Resolution, day: date) -> list[tuple[int, int]]:
        zone = NEW_YORK if symbol.security_type in (SecurityType.OPTION, SecurityType.INDEX_OPTION) else UTC
        low, high = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        if resolution is Resolution.DAILY:
            return [(low, high)]
        return [(hour, hour + HOUR) for hour in range(low, high, HOUR)]

    def days(self, symbol: Symbol, day: date) -> list[date]:
        """Days of the file of ``day`` on which the contract has minutes, ascending."""
        book = self._book
        if symbol.security_type is SecurityType.FUTURE:
            strip = book.strips.get(symbol.id.symbol)
            if strip is None:
                return list[date]()
            expiry = strip.expiry(symbol)
            first = max(book.first_day, expiry - timedelta(days=strip.law.horizon)) - timedelta(days=1)
            last = min(expiry, book.last_day)
            return [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
        root = book.root(symbol)
        if root is None:
            return list[date]()
        expiry = _date_of(symbol)
        last = min(settlement_day(expiry), date(day.year, 12, 31), book.last_day)
        found: list[date] = []
        for one in reversed(calendar().between(max(book.first_day, date(day.year, 1, 1)), last)):
            if expiry not in root.listing.expirations(one):
                if found:
                    break
                continue
            if root.listing.is_listed(one, expiry, float(symbol.id.strike_price)):
                found.append(one)
        return found[::-1]

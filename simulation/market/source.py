"""The modelled market as a data source of the embedded engine.

Every block is worked out when it is asked for, and only then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np

from simulation.data.columns import (
    FactorRow,
    InterestBlock,
    InterestRates,
    MapRow,
    MarginRow,
    QuoteBlock,
    TradeBlock,
    UniverseBlock,
)
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.lean.enums import OptionRight, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.book import Book, BuildRequest, MarketSpecError, build
from simulation.market.calendar import NEW_YORK, FloatArray, IntArray, session_open_utc, session_weights
from simulation.market.chain_columns import ChainColumns, LazyUniverse, MoneyBook, UnderlyingOfDay
from simulation.market.corporate import interest_rates
from simulation.market.daily_columns import DaysOfBars, MinutesColumn
from simulation.market.days import stream, to_tick
from simulation.market.definitions import market_hours, symbol_properties
from simulation.market.listings import Listings
from simulation.market.quotes import USUAL_FAULTS, ContractDay, QuoteFaults, faulted, quote_rows, sizes
from simulation.market.sessions import ListedFutures, LongBars, evening_quotes, future_minutes, joined
from simulation.market.valuation import ChainRows, OptionRoot, activity, day_activity, settlement_day

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
    volume = np.zeros(len(days))
    if book.usual_volume(ticker) > 0.0:
        sums = DaysOfBars(
            [date.fromordinal(int(day)) for day in days],
            lambda day: (float(minute_volume(book, ticker, day, book.minutes(day), seed).sum()),),
        )
        volume = cast(FloatArray, MinutesColumn(sums, 0, np.arange(len(days))))
    return TradeBlock(nexts, edges, prices[0], prices[1], prices[2], prices[3], volume)


def _midnight(ordinal: int, zone: ZoneInfo) -> int:
    day = date.fromordinal(ordinal)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


MINUTE = 60_000
CONTRACT_DAYS_KEPT = 240
ACTIVITIES_KEPT = 4000
OPENINGS_KEPT = 4000
FUTURE_DAYS_KEPT = 24
# Sizes of a quote change nearly every minute although its price stands; a bar then exists, and LEAN fills a group only
# on legs that were quoted after it was sent. Minutes between such bars, for contracts within a week of expiry and
# others.
HEARTBEAT_NEAR = 2
HEARTBEAT = 10
NEAR = timedelta(days=7)
UNIVERSES_KEPT = 5
CHICAGO = ZoneInfo("America/Chicago")
OPTION_KINDS = (SecurityType.INDEX_OPTION, SecurityType.OPTION, SecurityType.FUTURE_OPTION)


class ModelledMarket:
    """A whole market over daily history. Same seed, same market, bit for bit; a day depends on nothing after it."""

    def __init__(self, book: Book, *, seed: int, quote_faults: QuoteFaults | None = None) -> None:
        self.book = book
        self.seed = seed
        self.first_day = book.first_day
        self.last_day = book.last_day
        self.notes: tuple[str, ...] = book.notes
        self._faults = quote_faults
        self._contract_days: OrderedDict[tuple[Symbol, int], ContractDay | None] = OrderedDict()
        self._activities: dict[tuple[Symbol, int, int], tuple[FloatArray, FloatArray]] = {}
        self._openings: dict[tuple[Symbol, int], float | None] = {}
        self._universes: OrderedDict[tuple[str, int], UniverseBlock | None] = OrderedDict()
        self._money: dict[str, MoneyBook] = {}
        self._wholes: dict[tuple[str, Resolution], TradeBlock | None] = {}
        self._futures: OrderedDict[tuple[Symbol, int], TradeBlock | None] = OrderedDict()
        self._long = LongBars(book)
        self._hours: MarketHoursDatabase | None = None
        self._properties: SymbolPropertiesDatabase | None = None

    @classmethod
    def from_history(
        cls,
        spec: str = "history",
        *,
        seed: int,
        start: date | None = None,
        end: date | None = None,
        listings: str = "today",
        quote_faults: QuoteFaults | float | None = None,
    ) -> ModelledMarket:
        """The market of ``history``, ``csv:FILE[,FILE...]``, ``garch:SEED`` or ``scenario:NAME``.

        ``quote_faults`` is what goes wrong with option quotes: a rate (0 for nothing), the kinds one by one, or
        ``None`` for the usual rate (scenarios bring their own). ``start`` and ``end`` are only checked against
        the range; data before ``start`` stays for warm-up. Raises MarketSpecError (a ValueError) or a
        HistoryError naming what was wrong and what is accepted.
        """
        if listings not in tuple(Listings):
            raise MarketSpecError(f"listings: {listings!r}; expected {' or '.join(Listings)}")
        book = build(BuildRequest(spec, seed, Listings(listings)))
        check_range(book, start, end)
        if quote_faults is None:
            quote_faults = 0.0 if spec.startswith("scenario") else USUAL_FAULTS
        faults = quote_faults if isinstance(quote_faults, QuoteFaults) else QuoteFaults.at_rate(quote_faults)
        return cls(book, seed=seed, quote_faults=faults)

    @property
    def cash_flows(self) -> dict[date, float]:
        """Dollars that a scenario pays into the account (negative: takes out) at the midnight that begins a day."""
        return self.book.cash_flows

    def default_range(self) -> tuple[date, date]:
        """A stretch with calm and crisis in it that the command line runs when no dates are given."""
        return self.book.default_range

    # --- the DataSource protocol -------------------------------------------------------------------------------------

    @property
    def hours(self) -> MarketHoursDatabase:
        """Trading hours of the modelled securities."""
        if self._hours is None:
            self._hours = market_hours()
        return self._hours

    @property
    def properties(self) -> SymbolPropertiesDatabase:
        """Multipliers, ticks and lots of the modelled securities."""
        if self._properties is None:
            self._properties = symbol_properties()
        return self._properties

    def trades(self, symbol: Symbol, resolution: Resolution, day: date) -> TradeBlock | None:
        """Trade bars: of a day for minutes, of the whole range for hours and days.

        ``None`` for what the model has not.
        """
        if symbol.is_canonical():
            return None
        ticker = None if symbol.security_type in OPTION_KINDS else self._ticker(symbol)
        if ticker is None:
            if (
                resolution is Resolution.DAILY
                and symbol.id.symbol in self.book.strips
                and symbol.security_type is SecurityType.FUTURE
            ):
                return self._long.of_future(symbol, day, self._future_trades)
            made = self._option_trades if symbol.security_type in OPTION_KINDS else self._future_trades
            return (
                made(symbol, day) if resolution is Resolution.MINUTE else self._long.of(symbol, resolution, day, made)
            )
        if resolution is Resolution.MINUTE:
            return minute_block(self.book, ticker, day, self.seed)
        if resolution not in (Resolution.HOUR, Resolution.DAILY):
            return None
        key = (ticker, resolution)
        if key not in self._wholes:
            zone = CHICAGO if symbol.security_type is SecurityType.INDEX else None
            whole = (
                daily_block(self.book, ticker, zone, self.seed)
                if resolution is Resolution.DAILY
                else hourly_block(self.book, ticker, self.seed)
            )
            self._wholes[key] = whole
        return self._wholes[key]

    def quotes(self, symbol: Symbol, resolution: Resolution, day: date) -> QuoteBlock | None:
        """Quote bars: of a day for minutes, a row for each in which bid, ask or a size changed.

        Hours and days of options and futures are those of the file that ``day`` falls into; shares have none.
        """
        if symbol.is_canonical() or symbol.security_type is SecurityType.INDEX:
            return None
        ticker = None if symbol.security_type in OPTION_KINDS else self._ticker(symbol)
        if ticker is None:
            made = self._option_quotes if symbol.security_type in OPTION_KINDS else self._future_quotes
            return (
                made(symbol, day) if resolution is Resolution.MINUTE else self._long.of(symbol, resolution, day, made)
            )
        if resolution is not Resolution.MINUTE:
            return None
        trades = minute_block(self.book, ticker, day, self.seed)
        return None if trades is None else share_quotes(trades, 0.01)

    def open_interest(self, symbol: Symbol, resolution: Resolution, day: date) -> InterestBlock | None:
        """The morning's open interest of an option, stamped 6:30 New York; of each day of the year for long bars."""
        if symbol.security_type not in OPTION_KINDS or symbol.is_canonical():
            return None
        if resolution not in (Resolution.MINUTE, Resolution.HOUR, Resolution.DAILY):
            return None
        days = [day] if resolution is Resolution.MINUTE else self._long.days(symbol, day)
        root = self.book.root(symbol)
        known = [] if root is None else self._openings_of(root, symbol, days)
        known = [(one, price) for one, price in known if root is not None and self._listed(root, symbol, one)]
        if root is None or not known:
            return None
        stamps = np.array([session_open_utc(one) - 180 * MINUTE for one, _ in known], dtype=np.int64)
        return InterestBlock(stamps, self._activity(root, symbol, known)[0])

    def universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        """The chain of ``day``, prices and Greeks computed when looked at."""
        if canonical.security_type is SecurityType.FUTURE:
            return self._future_universe(canonical, day)
        root = self.book.root(canonical)
        if root is None:
            return None
        key = (root.root, day.toordinal())
        if key not in self._universes:
            self._universes[key] = self._universe(root, canonical, day)
            if len(self._universes) > UNIVERSES_KEPT:
                self._universes.popitem(last=False)
        return self._universes[key]

    def map_file(self, symbol: Symbol) -> Sequence[MapRow] | None:
        """A fund's one ticker; ``None`` for everything else."""
        return self.book.map_rows(symbol.id.symbol) if symbol.security_type is SecurityType.EQUITY else None

    def factor_file(self, symbol: Symbol) -> Sequence[FactorRow] | None:
        """Cash dividends of an ETF as factors; ``None`` for what pays none."""
        return self.book.factor_rows(symbol)

    def margins(self, symbol: Symbol) -> Sequence[MarginRow] | None:
        """Exchange margins of a futures contract; ``None`` for everything else."""
        return self.book.margin_rows(symbol)

    def interest_rates(self) -> InterestRates | None:
        """The risk-free rate by year."""
        table = interest_rates()
        days = np.array([day.toordinal() for day in table], dtype=np.int64)
        return InterestRates(days, np.array(list(table.values())))

    def map_resolver(self, ticker: str, market: str) -> tuple[str, datetime] | None:
        """Ticker and first day of a fund: what its identifier is made of, here as over a written folder."""
        rows = self.book.map_rows(ticker.upper()) if market == "usa" else None
        if not rows:
            return None
        return rows[0].ticker, datetime(rows[0].day.year, rows[0].day.month, rows[0].day.day)

    def missing_asset(self, symbol: Symbol) -> str | None:
        """None for what the model has; else the kinds and tickers that it has."""
        book = self.book
        if symbol.security_type in OPTION_KINDS:
            known = book.root(symbol) is not None
        elif symbol.security_type is SecurityType.FUTURE:
            known = symbol.id.symbol in book.strips
        else:
            known = book.ticker(symbol) is not None
        if known:
            return None
        named = {
            "indices": sorted({*book.makers, *book.volatilities}),
            "shares": sorted(book.share_makers),
            "futures": sorted(book.strips),
            "option roots": sorted(book.roots),
        }
        return "it has " + "; ".join(f"{kind} {', '.join(names)}" for kind, names in named.items() if names)

    # --- futures -----------------------------------------------------------------------------------------------------

    def _future_trades(self, symbol: Symbol, day: date) -> TradeBlock | None:
        """A contract's minutes around the clock, kept for a while because quotes need them too."""
        if symbol.security_type is not SecurityType.FUTURE:
            return None
        key = (symbol, day.toordinal())
        if key not in self._futures:
            self._futures[key] = future_minutes(self.book, symbol, day)
            if len(self._futures) > FUTURE_DAYS_KEPT:
                self._futures.popitem(last=False)
        return self._futures[key]

    def _future_quotes(self, symbol: Symbol, day: date) -> QuoteBlock | None:
        trades = self._future_trades(symbol, day)
        return None if trades is None else share_quotes(trades, self.book.strips[symbol.id.symbol].law.tick)

    def _future_universe(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        strip = self.book.strips.get(canonical.id.symbol)
        if strip is None or not self.book.inside(day):
            return None
        states = [(expiry, strip.on(expiry, day)) for _, expiry in strip.contracts(day)]
        listed = [(expiry, state) for expiry, state in states if state is not None]
        return ListedFutures.of(canonical, day, listed) if listed else None

    # --- options -----------------------------------------------------------------------------------------------------

    def _ticker(self, symbol: Symbol) -> str | None:
        return self.book.ticker(symbol)

    @staticmethod
    def _terms(symbol: Symbol) -> tuple[date, float, float]:
        expiry = symbol.id.date
        sign = 1.0 if symbol.id.option_right == OptionRight.CALL else -1.0
        return (expiry.date() if isinstance(expiry, datetime) else expiry), float(symbol.id.strike_price), sign

    def _listed(self, root: OptionRoot, symbol: Symbol, day: date) -> bool:
        expiry, strike, _ = self._terms(symbol)
        return day <= settlement_day(expiry) and root.listing.is_listed(day, expiry, strike)

    def contract_day(self, symbol: Symbol, day: date) -> ContractDay | None:
        """Model value, bid and ask of a contract at each minute of ``day``.

        Kept for a while, because several blocks need it.
        """
        key = (symbol, day.toordinal())
        if key in self._contract_days:
            self._contract_days.move_to_end(key)
            return self._contract_days[key]
        root = self.book.root(symbol)
        made = None if root is None else root.contract_day(day, *self._terms(symbol))
        faults = self._faults or self.book.faults(day)
        if made is not None and faults is not None:
            made = faulted(made, faults, stream(self.seed, f"faults/{symbol.value}", day))
        self._contract_days[key] = made
        if len(self._contract_days) > CONTRACT_DAYS_KEPT:
            self._contract_days.popitem(last=False)
        return made

    def _option_quotes(self, symbol: Symbol, day: date) -> QuoteBlock | None:
        made = self.contract_day(symbol, day)
        root = self.book.root(symbol)
        if made is None or root is None:
            return None
        beat = HEARTBEAT_NEAR if self._terms(symbol)[0] - day <= NEAR else HEARTBEAT
        halted = self.book.halted(day)
        rows, bids, asks = quote_rows(made, beat, halted)
        start = session_open_utc(day) + (rows - 1) * MINUTE
        salt = (symbol.id.option_right == OptionRight.PUT) + int(symbol.id.strike_price * 20)
        bid_size, ask_size = sizes(bids[3], root.law, salt), sizes(asks[3], root.law, salt + 7)
        block = QuoteBlock(
            start + MINUTE, start, bids[0], bids[1], bids[2], bids[3], bid_size,
            asks[0], asks[1], asks[2], asks[3], ask_size,
        )  # fmt: skip
        if symbol.security_type is not SecurityType.FUTURE_OPTION or (halted is not None and bool(halted[-1])):
            return block
        evening = evening_quotes(self.book, symbol, day, float(made.value[-1]))
        return block if evening is None else joined([block, evening])

    def _openings_of(self, root: OptionRoot, symbol: Symbol, days: Sequence[date]) -> list[tuple[date, float]]:
        """First prices of a contract's underlying in points, of those days that the market has."""
        found = []
        for day in days:
            key = (symbol.underlying, day.toordinal())
            if key not in self._openings:
                if len(self._openings) > OPENINGS_KEPT:
                    self._openings.clear()
                state = root.asset_day(day)
                self._openings[key] = None if state is None else float(state.spot.points[0])
            opening = self._openings[key]
            if opening is not None:
                found.append((day, opening))
        return found

    def _activity(
        self, root: OptionRoot, symbol: Symbol, known: Sequence[tuple[date, float]]
    ) -> tuple[FloatArray, FloatArray]:
        """Open interest and volume of a contract on days of known opening prices, kept for a while."""
        key = (symbol, known[0][0].toordinal(), len(known))
        if key not in self._activities:
            if len(self._activities) > ACTIVITIES_KEPT:
                self._activities.clear()
            if len(known) == 1:
                self._activities[key] = day_activity(root, *known[0], self._terms(symbol), self.seed)
                return self._activities[key]
            expiry, strike, sign = self._terms(symbol)
            row = ChainRows(np.array([expiry.toordinal()], dtype=np.int64), np.array([strike]), np.array([sign]))
            today = np.array([day.toordinal() for day, _ in known], dtype=np.int64)
            opening = np.array([price for _, price in known])
            self._activities[key] = activity(root, row, opening, today, self.seed)
        return self._activities[key]

    def _option_trades(self, symbol: Symbol, day: date) -> TradeBlock | None:
        made = self.contract_day(symbol, day)
        root = self.book.root(symbol)
        known = [] if made is None or root is None else self._openings_of(root, symbol, [day])
        if made is None or root is None or not known:
            return None
        volume = float(self._activity(root, symbol, known)[1][0])
        generator = stream(self.seed, f"trades/{symbol.value}", day)
        count = int(min(volume, 60.0, generator.poisson(1.0 + volume / 25.0)))
        two_sided = ~np.isnan(made.bid[1:] + made.ask[1:])
        halted = self.book.halted(day)
        quoted = np.flatnonzero(two_sided if halted is None else two_sided & ~halted) + 1
        if count < 1 or len(quoted) == 0:
            return None
        rows = np.sort(generator.choice(quoted, size=min(count, len(quoted)), replace=False))
        price = np.where(generator.random(len(rows)) < 0.5, made.bid[rows], made.ask[rows])
        traded = np.maximum(1.0, np.floor(volume / len(rows) * generator.exponential(size=len(rows))))
        start = session_open_utc(day) + (rows - 1) * MINUTE
        return TradeBlock(start + MINUTE, start, price, price, price, price, traded)

    def _universe(self, root: OptionRoot, canonical: Symbol, day: date) -> UniverseBlock | None:
        state = root.asset_day(day)
        chain = None if state is None else root.listing.chain(day)
        if state is None or chain is None:
            return None
        on_future = canonical.security_type is SecurityType.FUTURE_OPTION
        money = self._money.setdefault(root.root, MoneyBook(root)) if on_future else None
        columns = ChainColumns(root, state, chain, self.seed, money)
        return LazyUniverse.of(canonical, day, UnderlyingOfDay.of(state), columns)


def share_quotes(trades: TradeBlock, tick: float) -> QuoteBlock:
    """A share's or future's quotes: one tick wide around each minute's prices, several ticks in a fast minute."""
    ticks = np.maximum(1.0, np.round(0.12 * (trades.high - trades.low) / tick))
    columns = (trades.open, trades.high, trades.low, trades.close)
    bids = [to_tick(price - np.floor(0.5 * ticks) * tick, tick) for price in columns]
    asks = [to_tick(bid + ticks * tick, tick) for bid in bids]
    size = np.maximum(100.0, np.floor(trades.volume / 400.0) * 100.0)
    return QuoteBlock(
        trades.end, trades.start, bids[0], bids[1], bids[2], bids[3], size, asks[0], asks[1], asks[2], asks[3], size
    )


def check_range(book: Book, start: date | None, end: date | None) -> None:
    """Raises MarketSpecError when the dates are reversed, outside the history, or hold no trading day."""
    first, last = start or book.first_day, end or book.last_day
    if first > last:
        raise MarketSpecError(f"start: {first} is after end: {last}; expected start on or before end")
    for name, day in (("start", first), ("end", last)):
        if not book.first_day <= day <= book.last_day:
            raise MarketSpecError(f"{name}: {day} is outside {book.name}; expected {book.first_day} to {book.last_day}")

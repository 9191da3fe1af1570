"""Securities with LEAN's names. Prices are computed when they are read, from rows that ended at the engine's data time.

The rules are those of LEAN's SecurityCache (lean-facts 4.6): fill-forward never counts; for everything but equities
the quote's middle is the price, in a minute with trades only it is the trade's close; zero never overwrites; bid and
ask keep their last value that was not zero.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from simulation.data.feeds import Column, Feed
from simulation.lean.bars import BaseData, OpenInterest, QuoteBar, TradeBar
from simulation.lean.clock import Zone, zone_of
from simulation.lean.enums import DataNormalizationMode, Resolution, SecurityType, TickType
from simulation.lean.names import Named, signed
from simulation.securities.exchange import SecurityExchange
from simulation.securities.paths import PricePath, path_of

NO_PRICE = 0.0  # what LEAN shows before the first bar


class SecurityCache(Named):
    """What `security.cache` shows: the same values as the security."""

    def __init__(self, security: Security) -> None:
        self._security = security

    def __getattr__(self, name: str) -> Any:
        if name in (
            "price", "open", "high", "low", "close", "bid_price", "ask_price", "bid_size", "ask_size", "volume",
            "open_interest",
        ):  # fmt: skip
            return getattr(self._security, name)
        return super().__getattr__(name)

    def get_data(self, kind: type | None = None) -> BaseData | None:
        """The last real data point, or the last of a kind: TradeBar, QuoteBar, OpenInterest."""
        if kind is None:
            return self._security.get_last_data()
        if kind is OpenInterest:
            return self._security.last_interest()
        return self._security.last_quote() if kind is QuoteBar else self._security.last_trade()


class Security(Named):
    """One tradable or observed instrument. Prices are dollars or points, sizes contracts or shares, 0 before any
    data as in LEAN.

    `engine` is the kernel: its `data_ms` is the instant up to which prices are known, its `utc_ms` the clock. The
    trading side sets the models (`fill_model`, `fee_model`, `buying_power_model`, ...) and `holdings`.
    """

    is_option = False

    def __init__(self, engine: Any, symbol: Any, hours: Any, properties: Any) -> None:
        self._engine = engine
        self.symbol = symbol
        self.zone: Zone = zone_of(hours.time_zone)
        self.exchange = SecurityExchange(self, hours)
        self.symbol_properties = properties
        self.cache = SecurityCache(self)
        self.holdings: Any = None
        self.is_tradable = not symbol.is_canonical() and symbol.security_type != SecurityType.INDEX
        self.is_delisted = False
        self.is_internal = False
        self.data_normalization_mode = DataNormalizationMode.ADJUSTED
        self.fill_model: Any = None
        self.fee_model: Any = None
        self.buying_power_model: Any = None
        self.slippage_model: Any = None
        self.settlement_model: Any = None
        self.portfolio_model: Any = None
        self.margin_interest_rate_model: Any = None
        self.volatility_model: Any = None
        self.shortable_provider: Any = None
        self.data_filter: Any = None
        self.price_variation_model: Any = None
        self.custom: dict[str, Any] = {}
        self.feeds: list[Feed] = []
        self._trade_feeds: list[Feed] = []
        self._quote_feeds: list[Feed] = []
        self._interest_feeds: list[Feed] = []
        self._seed_trade: TradeBar | None = None
        self._seed_quote: QuoteBar | None = None
        self._seed_interest: OpenInterest | None = None
        self._at = self._last_at = -1
        self._price = 0.0
        self._path: PricePath | None = None
        self._last: BaseData | None = None
        self._quoted = symbol.security_type != SecurityType.EQUITY

    # -- subscriptions -----------------------------------------------------------------------------------------------

    def add_feed(self, feed: Feed) -> None:
        """Attaches a subscription."""
        self.feeds.append(feed)
        kind = feed.spec.kind
        target = {TickType.TRADE: self._trade_feeds, TickType.QUOTE: self._quote_feeds}.get(kind, self._interest_feeds)
        target.append(feed)
        self._forget_prices()

    def drop_feeds(self) -> None:
        """Detaches all subscriptions and forgets prices: the security left every universe."""
        for feed in self.feeds:
            feed.close()
        self.feeds, self._trade_feeds, self._quote_feeds, self._interest_feeds = [], [], [], []
        self._seed_trade = self._seed_quote = None
        self._forget_prices()

    def _forget_prices(self) -> None:
        """What prices are read from has changed: nothing that was found in it stands."""
        self._at = self._last_at = -1
        self._engine.securities.repriced += 1
        if self._path is not None:
            self._path = None
            self._engine.securities.broken_paths += 1

    def emits(self, ms: int) -> bool:
        """Whether a subscription gives a slice of this instant something."""
        shown = (feed for feed in self.feeds if not feed.spec.internal and feed.start < ms)
        return any(feed.sessions_between(ms - 1, ms) and feed.column(ms).emitted(ms) is not None for feed in shown)

    def freeze(self) -> None:
        """Ends the subscriptions but keeps the last prices: the security was delisted."""
        trade, quote = self.last_trade(), self.last_quote()
        self.drop_feeds()
        self._seed_trade, self._seed_quote = trade, quote

    @property
    def subscriptions(self) -> list[Any]:
        """Specifications of the subscriptions."""
        return self._engine.configs.get(self.symbol, [])  # type: ignore[no-any-return]

    @property
    def subscription_data_config(self) -> Any:
        """The first of them, None without one."""
        return next(iter(self.subscriptions), None)

    @property
    def resolution(self) -> Resolution:
        """The highest subscribed resolution; DAILY without a subscription, as in LEAN."""
        configs = self.subscriptions
        return min((config.resolution for config in configs), default=Resolution.DAILY)

    @property
    def is_extended_market_hours(self) -> bool:
        """Whether any subscription includes extended hours."""
        return any(config.extended for config in self.subscriptions)

    @property
    def is_fill_data_forward(self) -> bool:
        """Whether any subscription fills forward."""
        return any(config.fill_forward for config in self.subscriptions)

    # -- prices ------------------------------------------------------------------------------------------------------

    def _newest(self, feeds: list[Feed]) -> tuple[Column | None, int]:
        best, best_end = None, -1
        ms = self._engine.data_ms
        for feed in feeds:
            column = feed.column(ms)
            end = column.last_end(ms)
            if end > best_end:
                best, best_end = column, end
        return best, best_end

    def _point_of(self, feeds: list[Feed], seed: BaseData | None) -> BaseData | None:
        ms = self._engine.data_ms
        if seed is None and len(feeds) == 1:
            return feeds[0].column(ms).last_real(ms)
        column, end = self._newest(feeds)
        if column is None or (seed is not None and seed.end_ms > end):
            return seed
        return column.last_real(ms)

    def last_trade(self) -> TradeBar | None:
        """The last trade bar that is not filled forward; a seeded one when none has arrived."""
        return self._point_of(self._trade_feeds, self._seed_trade)  # type: ignore[return-value]

    def last_quote(self) -> QuoteBar | None:
        """The last quote bar that is not filled forward, its missing side taken from the one before; a seeded one
        before any."""
        return self._point_of(self._quote_feeds, self._seed_quote)  # type: ignore[return-value]

    def get_last_data(self) -> BaseData | None:
        """The data point that set the price: quote before trade of the same end, trades only for equities."""
        ms = self._engine.data_ms
        if self._last_at != ms:
            quote = -1
            if self._quoted and (self._quote_feeds or self._seed_quote is not None):
                quote = self._end_of(self._quote_feeds, self._seed_quote)
            newer = quote == ms or (quote >= 0 and quote >= self._end_of(self._trade_feeds, self._seed_trade))
            self._last, self._last_at = self.last_quote() if newer else self.last_trade(), ms  # only one is made
        return self._last

    def _end_of(self, feeds: list[Feed], seed: BaseData | None) -> int:
        """End of what `_point_of` gives, in UTC milliseconds; -1 where that is nothing."""
        if len(feeds) == 1:
            end = feeds[0].column(self._engine.data_ms).last_end(self._engine.data_ms)
        else:
            end = self._newest(feeds)[1]
        return end if seed is None else max(end, seed.end_ms)

    @property
    def has_data(self) -> bool:
        """Whether any real data point has set a price."""
        return self.get_last_data() is not None

    @property
    def price(self) -> float:
        """Last price: the trade for equities and indices, else the quote's middle or, after trades only, the trade."""
        ms = self._engine.data_ms
        if self._at != ms:
            self._price = self._find_price()
            self._at = ms
        return self._price

    def trade_close(self) -> tuple[int, float] | None:
        """End (UTC ms) and close of `last_trade`, read without making the bar."""
        return self._close_of(self._trade_feeds, self._seed_trade)

    def _close_of(self, feeds: list[Feed], seed: BaseData | None) -> tuple[int, float] | None:
        ms = self._engine.data_ms
        column = feeds[0].column(ms) if len(feeds) == 1 else self._newest(feeds)[0]
        known = None if column is None else column.last_close(ms)
        if seed is not None and (known is None or seed.end_ms > known[0]):
            return seed.end_ms, seed.close
        return known

    def price_path(self, ms: int) -> PricePath | None:
        """The prices of all minutes around an instant at once; None where they must be looked at one by one."""
        known = self._path
        if known is None or not known.low < ms <= known.high:
            seeded = self._seed_trade is not None or self._seed_quote is not None
            known = None if seeded else path_of(self._quote_feeds if self._quoted else [], self._trade_feeds, ms)
            self._path = known
        return known

    def _find_price(self) -> float:
        """The close of `get_last_data`; where it is zero that of the other kind."""
        path = self._path
        if path is not None and path.low < self._engine.data_ms <= path.high:
            return path.price(self._engine.data_ms)
        last = self._last
        if last is not None and self._last_at == self._engine.data_ms and last.close:
            return float(last.close)
        quote = self._close_of(self._quote_feeds, self._seed_quote) if self._quoted else None
        if quote is not None and quote[0] == self._engine.data_ms and quote[1]:
            return float(quote[1])  # no trade is newer
        trade = self.trade_close()
        if quote is not None and quote[1] and (trade is None or quote[0] >= trade[0]):
            return float(quote[1])
        if trade is not None and trade[1]:
            return float(trade[1])
        return NO_PRICE if quote is None else float(quote[1] or NO_PRICE)

    def price_at(self, ms: int) -> float:
        """The price as it was known at an earlier instant."""
        engine = self._engine
        now, engine.data_ms = engine.data_ms, ms
        try:
            return self._find_price()
        finally:
            engine.data_ms = now

    def set_market_price(self, data: BaseData | None) -> None:
        """Seeds the price with a data point from history; later rows replace it."""
        if isinstance(data, TradeBar):
            self._seed_trade = data
        elif isinstance(data, QuoteBar):
            self._seed_quote = data
        elif isinstance(data, OpenInterest):
            self._seed_interest = data
        self._forget_prices()

    def _bar_value(self, name: str) -> float:
        bar = self.get_last_data()
        return (getattr(bar, name) if bar is not None else 0.0) or self.price

    @property
    def open(self) -> float:
        """Open of the bar that set the price."""
        return self._bar_value("open")

    @property
    def high(self) -> float:
        """High of the bar that set the price."""
        return self._bar_value("high")

    @property
    def low(self) -> float:
        """Low of the bar that set the price."""
        return self._bar_value("low")

    @property
    def close(self) -> float:
        """Same as price."""
        return self.price

    @property
    def volume(self) -> float:
        """Volume of the last trade bar that had any."""
        return self._last_nonzero(self._trade_feeds, "volume", self._seed_trade)

    @property
    def bid_price(self) -> float:
        """Last bid that was not zero; the price when there has been none."""
        return self._side("bid") or self.price

    @property
    def ask_price(self) -> float:
        """Last ask that was not zero; the price when there has been none."""
        return self._side("ask") or self.price

    @property
    def bid_size(self) -> float:
        """Last bid size that was not zero."""
        return self._last_nonzero(self._quote_feeds, "bid_size", self._seed_quote)

    @property
    def ask_size(self) -> float:
        """Last ask size that was not zero."""
        return self._last_nonzero(self._quote_feeds, "ask_size", self._seed_quote)

    def _side(self, side: str) -> float:
        return self._last_nonzero(self._quote_feeds, f"{side}_close", self._seed_quote)

    def _last_nonzero(self, feeds: list[Feed], field: str, seed: BaseData | None) -> float:
        """The cached value of a column: zero and missing never overwrite (SecurityCache.cs)."""
        column, _ = self._newest(feeds)
        if column is not None:
            row = column.row(self._engine.data_ms)
            if row >= 0:
                values = getattr(column.block, field)
                for candidate in range(row, column.first - 1, -1):
                    value = values.item(candidate)
                    if value and value == value:
                        return float(value)
            before = _carried(column.carry(), field)
            if before:
                return before
        return _carried(seed, field)

    def last_interest(self) -> BaseData | None:
        """The last published open interest."""
        column, _ = self._newest(self._interest_feeds)
        point = None if column is None else column.last_real(self._engine.data_ms)
        return self._seed_interest if point is None else point

    @property
    def open_interest(self) -> int:
        """Open contracts: the day's file, or the universe's figure."""
        point = self.last_interest()
        universe = self._engine.universe_interest(self.symbol)
        if universe is not None and (point is None or universe[0] > point.end_ms):
            return int(universe[1])
        return 0 if point is None else int(point.close)

    # -- identity and clock ------------------------------------------------------------------------------------------

    @property
    def type(self) -> SecurityType:
        """Kind of security."""
        return self.symbol.security_type  # type: ignore[no-any-return]

    @property
    def local_time(self) -> datetime:
        """Now, naive, in the exchange's zone."""
        return self.zone.local(self._engine.utc_ms)

    @property
    def quote_currency(self) -> Any:
        """The cash of the currency that prices are in."""
        return self._engine.portfolio.cash_book[self.symbol_properties.quote_currency]

    @property
    def hold_stock(self) -> bool:
        """Whether a position is held."""
        return bool(self.holdings.invested)

    @property
    def invested(self) -> bool:
        """Whether a position is held."""
        return bool(self.holdings.invested)

    @property
    def leverage(self) -> float:
        """Leverage of the buying power model."""
        return float(self.buying_power_model.get_leverage(self))

    def set_leverage(self, leverage: float) -> None:
        """Sets the leverage of the buying power model."""
        self.buying_power_model.set_leverage(self, leverage)

    @property
    def margin_model(self) -> Any:
        """Same as the buying power model."""
        return self.buying_power_model

    def set_data_normalization_mode(self, mode: DataNormalizationMode) -> None:
        """Raw or adjusted prices. The embedded engine serves what the data holds: raw."""
        self.data_normalization_mode = mode

    def reset(self) -> None:
        """Marks the security as not tradable: it was removed."""
        self.is_tradable = False

    def get(self, key: str) -> Any:
        """A value stored with `set` or `add`."""
        return self.custom[key]

    def add(self, key: str, value: Any) -> None:
        """Stores a value of the algorithm's own."""
        self.custom[key] = value

    def __getitem__(self, key: str) -> Any:
        return self.custom[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.custom[key] = value

    def __str__(self) -> str:
        return str(self.symbol)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.symbol.value})"


def _make_setter(field: str, parameter: str | None = None) -> Any:
    @signed(parameter or field)
    def setter(self: Security, model: Any) -> None:
        setattr(self, field, model)
        self._engine.model_changed(self, field)

    setter.__name__ = f"set_{field}"
    setter.__doc__ = f"Replaces the security's {field.replace('_', ' ')}."
    return setter


for _name in (
    "fill_model", "fee_model", "buying_power_model", "slippage_model", "settlement_model",
    "margin_interest_rate_model", "volatility_model", "shortable_provider", "data_filter",
):  # fmt: skip
    setattr(Security, f"set_{_name}", _make_setter(_name, {"fee_model": "feel_model"}.get(_name)))
Security.set_margin_model = _make_setter("buying_power_model", "margin_model")  # type: ignore[attr-defined]


def _carried(point: BaseData | None, field: str) -> float:
    if point is None:
        return NO_PRICE
    if isinstance(point, TradeBar):
        return float(point.volume)
    side = getattr(point, field.partition("_")[0])
    if field.endswith("_size"):
        return float(getattr(point, f"last_{field}"))
    return 0.0 if side is None else float(side.close)


class Equity(Security):
    """A share or fund."""


class Index(Security):
    """An index: observed, never traded."""

"""The gateway on a QCAlgorithm: the only module besides main.py that names LEAN's types.

Rules that the recordings of the real engine demand: a group is sent with a positive quantity and its signs on the legs;
a credit is a negative limit, here and nowhere else; every leg's ticket is updated and cancelled (the live plug-in waits
for all); a contract that is held or ordered is never removed (removal would sell it at market).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from AlgorithmImports import (
    AccountType,
    BrokerageMessageType,
    BrokerageName,
    BuyingPowerModel,
    DataNormalizationMode,
    FutureUniverse,
    MarketHoursDatabase,
    NullOptionAssignmentModel,
    OptionRight,
    OptionStyle,
    OptionUniverse,
    QuoteBar,
    Resolution,
    SecurityPositionGroupModel,
    SecurityType,
    Symbol,
    TradeBar,
)

from core.clock import in_new_york, plain, whole_minutes
from core.contracts import MARKET_CLOSE, AssetKind, Contract, Quote, Right, Settlement
from core.fills import FillAssumption, FillRule
from core.gateway import (
    AROUND_A_MONTH,
    AT_THE_MONEY,
    MONTH_DAYS,
    DailyBar,
    ImpliedClose,
    Listing,
    OptionClose,
    Session,
    Tick,
    level_by_parity,
    read_whole,
)
from core.instruments import INSTRUMENTS, UNDERLYINGS, Instrument, UnderlyingFacts, underlying_named
from core.lean_gateway_fills import PackageFillModel, quote_sides
from core.lean_gateway_orders import OPTION_TYPES, LeanOrders, around_a_month, future_of

SESSION_TICKER = "SPY"
_PAIRS = 7
_PAIR_AGE = timedelta(minutes=2)
_DAYS_TO_EXPIRY = 4  # over a long weekend


def prepare(algorithm: Any, own_margin: bool, fills: FillRule | None = None) -> None:
    """Set broker, margin, assignment and fills, before any security is added (recordings p06 honest, p14, p17).

    With ``own_margin`` nothing of LEAN's is left: without the groups' model it still reserves for what it recognises as
    a strategy (5,000 a condor), refuses orders for it and closes single legs by margin calls (recording p17).

    The initializer is added, not set: one that is set replaces the brokerage's own and with it tastytrade's fees
    (LEAN, QCAlgorithm.SetSecurityInitializer and AddSecurityInitializer). Without ``fills`` LEAN's own rule stands.
    """

    model: PackageFillModel | None = None
    if fills is not None and fills.model is not FillAssumption.LEAN:
        model = PackageFillModel(fills, lambda: algorithm.utc_time)

    def initialize_security(security: Any) -> None:
        if own_margin:
            security.set_buying_power_model(BuyingPowerModel.NULL)
        if security.type in OPTION_TYPES:
            if security.symbol.id.option_style == OptionStyle.EUROPEAN:  # LEAN would assign these early too (p06)
                security.set_option_assignment_model(NullOptionAssignmentModel())
            if model is not None:
                security.set_fill_model(model)

    algorithm.set_brokerage_model(BrokerageName.TASTYTRADE, AccountType.MARGIN)
    algorithm.add_security_initializer(initialize_security)
    if own_margin:
        algorithm.portfolio.set_positions(SecurityPositionGroupModel.NULL)
    if algorithm.live_mode:
        _hear_of_every_order(algorithm)


def _hear_of_every_order(algorithm: Any) -> None:
    """Let LEAN take in orders that it did not place, which it ignores by default.

    One that the process before sent in its last seconds reaches a live account's stream after the start: reconciliation
    could never see it, and would judge it as never sent (LEAN, DefaultBrokerageMessageHandler.cs:180).
    """
    from AlgorithmImports import DefaultBrokerageMessageHandler  # live only: the embedded engine has none

    class EveryOrder(DefaultBrokerageMessageHandler):
        def __init__(self, owner: Any) -> None:
            super().__init__(owner)

        def handle_order(self, event_args: Any) -> bool:
            return True

        def handle_message(self, message: Any) -> None:
            """LEAN would end the algorithm; a person is told instead (main.py), and positions are not left alone."""
            if message.type not in (BrokerageMessageType.ERROR, BrokerageMessageType.DISCONNECT):
                super().handle_message(message)

    algorithm.set_brokerage_message_handler(EveryOrder(algorithm))


class LeanGateway(LeanOrders):
    """Translates between our values and one QCAlgorithm's."""

    def __init__(self, algorithm: Any, *, implied: bool = False) -> None:
        super().__init__(algorithm)
        self._implied = ImpliedIndex(self) if implied else None
        self._securities: dict[str, Any] = {}
        self._options: dict[str, Any] = {}
        self._quotes: dict[str, tuple[Any, Quote | None]] = {}  # by the bar that each was read from
        self._sessions: dict[tuple[str, date], Session | None] = {}

    def now(self) -> datetime:
        """The minute of the algorithm's clock, naive New York time: live it has microseconds (lean-facts 13.2)."""
        time_now: datetime = self._algorithm.time
        exact = time_now.second or time_now.microsecond
        return time_now.replace(second=0, microsecond=0) if exact else time_now

    def moment(self) -> datetime:
        """UTC with microseconds, which no change of the clocks disturbs."""
        now = self._algorithm.utc_time  # asked once: another thread moves it
        return datetime(*now.timetuple()[:6]) + timedelta(microseconds=now.microsecond)

    def is_live(self) -> bool:
        """Whether LEAN runs live."""
        return bool(self._algorithm.live_mode)

    def answers_at_once(self) -> bool:
        """True in a backtest, where the portfolio is the account."""
        return not self.is_live()

    def broker_seen(self) -> bool:
        """Live holdings and orders are loaded after ``initialize``, before the algorithm is locked.

        LEAN: BrokerageSetupHandler.cs:280-315, Engine.cs:335.
        """
        return not self.is_live() or bool(self._algorithm.get_locked())

    def session(self, day: date, root: str = "") -> Session | None:
        """Regular hours of the share market on a day, or of an option root's exchange, from LEAN's exchange hours."""
        instrument = INSTRUMENTS.get(root)
        on_future = instrument is not None and instrument.kind is AssetKind.FUTURE
        key = (instrument.underlying if instrument is not None and on_future else SESSION_TICKER, day)
        if key not in self._sessions:
            self._sessions[key] = self._find_session(*key)
        return self._sessions[key]

    def _find_session(self, ticker: str, day: date) -> Session | None:
        hours = self._hours_of(ticker)
        midnight = datetime.combine(day, time())
        if not hours.is_date_open(midnight):
            return None
        zone = ZoneInfo(str(hours.time_zone))
        opens = hours.get_next_market_open(midnight, False)
        closes = in_new_york(zone, hours.get_next_market_close(opens, False))
        return Session(day, in_new_york(zone, opens), closes, closes.time() < MARKET_CLOSE)

    def _hours_of(self, ticker: str) -> Any:
        if ticker == SESSION_TICKER:
            return self._securities[ticker].exchange.hours
        market = UNDERLYINGS[ticker].market
        return MarketHoursDatabase.from_data_folder().get_exchange_hours(market, ticker, SecurityType.FUTURE)

    def watch(self, tickers: Iterable[str]) -> None:
        """Add indices, shares (raw prices) and single futures at minute resolution; a family is its front contract."""
        for ticker in tickers:
            key = self._names.key_of(ticker)
            if key is None or key in self._securities:
                continue
            named = underlying_named(key)
            kind = AssetKind.EQUITY if named is None else named.kind
            if kind is AssetKind.INDEX or key.startswith("VIX"):
                security = self._algorithm.add_index(key, Resolution.MINUTE)
            elif kind is AssetKind.FUTURE:
                symbol = self._names.symbol(key)
                if symbol is None:  # not listed (any more): it has no price, and asking for it says so
                    continue
                security = self._algorithm.add_future_contract(symbol, Resolution.MINUTE)
            else:
                raw = DataNormalizationMode.RAW
                security = self._algorithm.add_equity(key, Resolution.MINUTE, data_normalization_mode=raw)
            self._securities[key] = security
            self._names.remember(key, security.symbol)

    def security(self, ticker: str) -> Any:
        """The LEAN security of a watched underlying or a subscribed contract, for main.py."""
        known = self._options if ticker in self._options else self._securities
        return known[ticker if ticker in known else self._names.key_of(ticker) or ticker]

    def tick(self, ticker: str) -> Tick | None:
        """Newest minute of a watched underlying; LEAN's price 0 means that none came yet."""
        security = self._securities.get(ticker if ticker in self._securities else self._names.key_of(ticker) or "")
        if security is None:
            return None
        last = security.get_last_data()
        price = 0.0 if last is None else float(security.price)
        if last is None or price <= 0:
            return None if self._implied is None else self._implied.tick(ticker)
        seen = self._in_new_york(last.end_time, security)
        return Tick(price, float(last.open), float(last.high), float(last.low), seen)

    def price(self, ticker: str) -> float | None:
        """The price of ``tick`` alone: most minutes of a backtest ask for nothing more."""
        security = self._securities.get(ticker, self._options.get(ticker))
        if security is None:
            tick = self.tick(ticker)
            return None if tick is None else tick.price
        price = float(security.price)
        if price > 0:
            return price
        tick = None if self._implied is None else self._implied.tick(ticker)
        return None if tick is None else tick.price

    def _in_new_york(self, moment: Any, security: Any) -> datetime:
        """Exchange time to the algorithm's."""
        return plain(moment + self._shift(security))

    def _shift(self, security: Any) -> timedelta:
        """What the algorithm's clock is before the exchange's: both show the same instant, to whole minutes.

        Live another thread may move them between the two looks; a second less would lose the day's first bar.
        """
        apart: timedelta = self._algorithm.time - security.local_time
        return apart if not apart.microseconds and not apart.seconds % 60 else whole_minutes(apart)

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """Completed daily bars before now, oldest first."""
        symbol = self._names.symbol(self._names.key_of(ticker) or "")
        if symbol is None:
            return ()
        bars = self._algorithm.history[TradeBar](symbol, count, Resolution.DAILY)
        today = self.now().date()
        rows = [
            DailyBar(bar.time.date(), float(bar.open), float(bar.high), float(bar.low), float(bar.close))
            for bar in bars
        ]
        return tuple(row for row in rows if row.day < today)

    def so_far(self, ticker: str, opened: datetime) -> DailyBar | None:
        """The day's minutes until now as one bar; what was seen since a start after the open lacks the first ones."""
        symbol = self._names.symbol(self._names.key_of(ticker) or "")
        if symbol is None:
            return None
        shift = self._shift(self._securities[self._names.key_of(ticker) or ticker])
        bars = self._algorithm.history[TradeBar](symbol, opened, self._algorithm.time, Resolution.MINUTE)
        rows = [bar for bar in bars if plain(bar.time + shift) >= opened and float(bar.open) > 0]
        if not rows:
            return None
        high, low = max(float(bar.high) for bar in rows), min(float(bar.low) for bar in rows)
        return DailyBar(opened.date(), float(rows[0].open), high, low, float(rows[-1].close))

    def is_listed(self, root: str) -> bool:
        """Whether the newest universe file of a root has any contract."""
        self._watch_root(root)
        return self._names.is_listed(root)

    def chain(self, root: str, expiries: tuple[date, date]) -> Sequence[Contract]:
        """Contracts of the newest universe file on a root, expiring in the closed range."""
        self._watch_root(root)
        self._names.forget_expired()
        self._forget_expired()
        return self._names.chain(root, *expiries)

    def expiries(self, root: str, within: tuple[date, date]) -> Sequence[date]:
        """The days on which those contracts expire."""
        self._watch_root(root)
        return tuple(sorted(self._names.expiries(root, *within)))

    def _watch_root(self, root: str) -> None:
        instrument = INSTRUMENTS[root]
        if instrument.kind is not AssetKind.FUTURE:
            self.watch((instrument.underlying,))

    def listing(self, contract: Contract, close: bool = True) -> Listing | None:
        """Yesterday's close and volatility of a contract of a chain that was asked for today."""
        return self._names.listing(contract, close)

    def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        """At-the-money volatilities of the last chain files; of options on futures there are none."""
        instrument = INSTRUMENTS[root]
        if instrument.kind is AssetKind.FUTURE:
            return ()
        self.watch((instrument.underlying,))
        return read_whole(self._names.implied_closes(root, sessions))

    def option_closes(self, root: str, sessions: int) -> Sequence[OptionClose]:
        """Closes at the money of the last chain files of a future's contracts, listed ones and those that ended."""
        return read_whole(_closes_at_the_money(self._algorithm, INSTRUMENTS[root], sessions))

    def _forget_expired(self) -> None:
        """Drop subscriptions that are long gone, so that memory stays flat over years."""
        limit = self.now().date() - timedelta(days=3)
        self._options = {name: row for name, row in self._options.items() if row.symbol.id.date.date() >= limit}
        self._quotes = {name: known for name, known in self._quotes.items() if name in self._options}

    def subscribe(self, contracts: Iterable[Contract]) -> None:
        """Add contracts by hand, with what they are written on; their first quote comes with the next minute."""
        for contract in contracts:
            if contract.name in self._options:
                continue
            self.watch((contract.underlying.price_key,))
            handle, kind = self._names.handle(contract), contract.underlying.kind
            if kind is AssetKind.INDEX:
                security = self._algorithm.add_index_option_contract(handle, Resolution.MINUTE)
            elif kind is AssetKind.FUTURE:
                security = self._algorithm.add_future_option_contract(handle, Resolution.MINUTE)
            else:
                security = self._algorithm.add_option_contract(handle, Resolution.MINUTE)
            self._options[contract.name] = security

    def release(self, contracts: Iterable[Contract]) -> None:
        """Remove contracts that are neither held nor ordered."""
        ordered = {order.name for order in self.open_orders()}
        for contract in contracts:
            security = self._options.get(contract.name)
            if security is None or contract.name in ordered or security.holdings.quantity:
                continue
            self._algorithm.remove_security(self._names.handle(contract))
            del self._options[contract.name]
            self._quotes.pop(contract.name, None)

    def quote(self, contract: Contract) -> Quote | None:
        """Best bid and offer of a subscribed contract, as its last real quote bar has them; a missing side is ``None``.

        ``security.bid_price`` would keep the last bid there ever was (LEAN, SecurityCache.cs:209-270).
        """
        security = self._options.get(contract.name)
        bar = None if security is None else security.cache.get_data(QuoteBar)
        if bar is None:
            return None
        known = self._quotes.get(contract.name)
        if known is not None and known[0] is bar:
            return known[1]
        bid, ask = quote_sides(bar)
        quote = None
        if bid is not None or ask is not None:
            seen = self._in_new_york(bar.end_time, security)
            quote = Quote(bid, ask, seen, float(bar.last_bid_size) or None, float(bar.last_ask_size) or None)
        self._quotes[contract.name] = (bar, quote)
        return quote

    def store_path(self, key: str) -> Path:
        """LEAN's own file of an object-store key (an append with fsync there survives a kill)."""
        path = Path(str(self._algorithm.object_store.get_file_path(key)))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


_SAMPLED = timedelta(days=120)  # every contract is listed for longer before it ends
_WITH_A_SESSION = timedelta(days=6)
_MIDNIGHT = time()


def _closes_at_the_money(algorithm: Any, instrument: Instrument, sessions: int) -> Iterator[OptionClose]:
    """Of each session's chains, one a contract of the future, the two expiries around a month, oldest session first."""
    today = algorithm.time.date()
    first = today - timedelta(days=sessions * 372 // 252 + 5)
    found: dict[date, dict[date, list[OptionClose]]] = {}
    for month, symbol in sorted(_contracts_since(algorithm, instrument.facts, first).items()):
        begin, end = _days_near(instrument, month)
        begin, end = max(begin, first), min(end, today - timedelta(days=1))
        if begin > end:
            continue
        canonical = Symbol.create_canonical_option(symbol)
        span = datetime.combine(begin, _MIDNIGHT), datetime.combine(end + timedelta(days=2), _MIDNIGHT)
        for universe in algorithm.history[OptionUniverse](canonical, *span):
            day = (universe.end_time - timedelta(days=1)).date()
            for row in _closes_of(universe, instrument, day):
                found.setdefault(day, {}).setdefault(row.contract.expiry, []).append(row)
    for day in sorted(found):
        month_on = day + timedelta(days=MONTH_DAYS)
        before = [expiry for expiry in sorted(found[day]) if expiry < month_on]
        after = [expiry for expiry in sorted(found[day]) if expiry >= month_on]
        for expiry in (*before[-1:], *after[:1]):
            yield from found[day][expiry]


def _contracts_since(algorithm: Any, facts: UnderlyingFacts, first: date) -> dict[date, Any]:
    """LEAN's symbols of the contracts of a future that were listed on some day since one, by contract month."""
    canonical = Symbol.create(facts.ticker, SecurityType.FUTURE, facts.market)
    rows, day = list(algorithm.future_chain(canonical)), first
    while day < algorithm.time.date():
        span = datetime.combine(day, _MIDNIGHT), datetime.combine(day + _WITH_A_SESSION, _MIDNIGHT)
        for universe in algorithm.history[FutureUniverse](canonical, *span):
            rows += universe.data
        day += _SAMPLED
    named = {row.symbol: future_of(row.symbol) for row in rows}
    return {future.month: symbol for symbol, future in named.items() if future is not None and future.month is not None}


@lru_cache(maxsize=256)
def _days_near(instrument: Instrument, month: date) -> tuple[date, date]:
    """The first and last day on which an option on a contract month can say something of a month on."""
    days = (month + timedelta(days=ahead) for ahead in range(-130, 45))
    expiries = [day for day in days if instrument.future_month(day) == month]
    return expiries[0] - timedelta(days=AROUND_A_MONTH[1]), expiries[-1] - timedelta(days=AROUND_A_MONTH[0])


def _closes_of(universe: Any, instrument: Instrument, day: date) -> Iterator[OptionClose]:
    """Call and put nearest to the money of a chain's expiries around a month; what has no close is none."""
    spot = 0.0 if universe.underlying is None else float(universe.underlying.close)
    for expiry, near in around_a_month(universe, day, spot) if spot > 0 else ():
        least = min((away for away, _ in near), default=1.0)
        for away, row in near:
            close = float(row.close) if away <= min(least, AT_THE_MONEY) else 0.0
            if close > 0:
                right = Right.CALL if row.id.option_right == OptionRight.CALL else Right.PUT
                contract = instrument.contract(expiry, float(row.id.strike_price), right)
                yield OptionClose(day, contract, close, spot)


class ImpliedIndex:
    """The level of an index that the feed does not quote while it quotes its options, once a minute of a session.

    By put-call parity of the pairs nearest to the level before (at first yesterday's close) of the next expiry that is
    settled in the afternoon. Old quotes, and those with a side missing or crossed, tell nothing.
    """

    def __init__(self, gateway: LeanGateway) -> None:
        self._gateway = gateway
        self._ticks: dict[str, Tick] = {}
        self._looked: dict[str, datetime] = {}
        self._listed: dict[str, tuple[date, list[tuple[Contract, Contract]]]] = {}

    def tick(self, ticker: str) -> Tick | None:
        """The level of this minute; without one the last, as old as it is, of this session."""
        facts, now = UNDERLYINGS.get(ticker), self._gateway.now()
        session = self._gateway.session(now.date())
        if facts is None or facts.kind is not AssetKind.INDEX or session is None or now <= session.opens_at:
            return None
        if self._looked.get(ticker) != now and now <= session.closes_at:
            self._looked[ticker] = now
            self._look(ticker, now)
        known = self._ticks.get(ticker)
        fresh = known is not None and known.fresh_at is not None and known.fresh_at.date() == now.date()
        return known if fresh else None

    def _look(self, ticker: str, now: datetime) -> None:
        about = self._about(ticker)
        pairs = [] if about is None else self._pairs(ticker, about, now.date())
        self._gateway.subscribe(contract for pair in pairs for contract in pair)
        quoted = [(call.strike, self._fresh(call, now), self._fresh(put, now)) for call, put in pairs]
        level = level_by_parity(quoted)
        if level is not None:
            self._ticks[ticker] = Tick(level, level, level, level, now, implied=True)

    def _about(self, ticker: str) -> float | None:
        known = self._ticks.get(ticker)
        if known is not None:
            return known.price
        return next((bar.close for bar in self._gateway.daily_bars(ticker, 1)), None)

    def _pairs(self, ticker: str, about: float, today: date) -> list[tuple[Contract, Contract]]:
        """Calls and puts of the strikes nearest to a level, of the next expiry."""
        known = self._listed.get(ticker)
        if known is None or known[0] != today or not known[1]:
            known = self._listed[ticker] = today, self._next_expiry(ticker, today)
        return sorted(known[1], key=lambda pair: (abs(pair[0].strike - about), pair[0].strike))[:_PAIRS]

    def _next_expiry(self, ticker: str, today: date) -> list[tuple[Contract, Contract]]:
        days = (today, today + timedelta(days=_DAYS_TO_EXPIRY))
        afternoon = Settlement.CASH_AFTERNOON
        roots = [row.root for row in INSTRUMENTS.values() if row.underlying == ticker and row.settlement is afternoon]
        listed = [contract for root in roots for contract in self._gateway.chain(root, days)]
        first = min((contract.expiry for contract in listed), default=None)
        calls = {row.strike: row for row in listed if row.expiry == first and row.right is Right.CALL}
        puts = {row.strike: row for row in listed if row.expiry == first and row.right is Right.PUT}
        return [(calls[strike], puts[strike]) for strike in sorted(calls.keys() & puts.keys())]

    def _fresh(self, contract: Contract, now: datetime) -> Quote | None:
        quote = self._gateway.quote(contract)
        if quote is None or quote.bid is None or quote.ask is None or quote.bid > quote.ask:
            return None
        return quote if now - quote.time <= _PAIR_AGE else None

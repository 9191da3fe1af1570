"""The gateway on a QCAlgorithm: the only module besides main.py that names LEAN's types.

Rules that the recordings of the real engine demand: a group is sent with a positive quantity and its signs on the legs;
a credit is a negative limit, here and nowhere else; every leg's ticket is updated and cancelled (the live plug-in waits
for all); a contract that is held or ordered is never removed (removal would sell it at market).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from AlgorithmImports import (
    AccountType,
    BrokerageName,
    BuyingPowerModel,
    DataNormalizationMode,
    Leg,
    Market,
    NullOptionAssignmentModel,
    OptionRight,
    OptionStyle,
    OrderStatus,
    QuoteBar,
    Resolution,
    SecurityType,
    Symbol,
    TradeBar,
    UpdateOrderFields,
)

from core.contracts import MARKET_CLOSE, AssetKind, Contract, Package, Quote, Right
from core.fills import FillAssumption, FillRule
from core.gateway import Account, DailyBar, Holding, OpenOrder, OrderRefusedError, Session, Tick
from core.instruments import INSTRUMENTS, UNDERLYINGS, instrument_of
from core.lean_gateway_fills import PackageFillModel, quote_sides

SESSION_TICKER = "SPY"
_OPTION_TYPES = (SecurityType.OPTION, SecurityType.INDEX_OPTION, SecurityType.FUTURE_OPTION)
_DONE = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID)


def prepare(algorithm: Any, own_margin: bool, fills: FillRule | None = None) -> None:
    """Set broker, margin, assignment, fills and first prices, before any security is added (p06 honest, p10, p14).

    The initializer is added, not set: one that is set replaces the brokerage's own and with it tastytrade's fees
    (LEAN, QCAlgorithm.SetSecurityInitializer and AddSecurityInitializer). Without ``fills`` LEAN's own rule stands.
    """

    model: PackageFillModel | None = None
    if fills is not None and fills.model is not FillAssumption.LEAN:
        model = PackageFillModel(fills, lambda: algorithm.utc_time)

    def initialize_security(security: Any) -> None:
        if own_margin:
            security.set_buying_power_model(BuyingPowerModel.NULL)
        if security.type in _OPTION_TYPES:
            security.set_option_assignment_model(NullOptionAssignmentModel())
            if model is not None:
                security.set_fill_model(model)

    algorithm.set_brokerage_model(BrokerageName.TASTYTRADE, AccountType.MARGIN)
    algorithm.settings.seed_initial_prices = True
    algorithm.add_security_initializer(initialize_security)
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

    algorithm.set_brokerage_message_handler(EveryOrder(algorithm))


class LeanGateway:
    """Translates between our values and one QCAlgorithm's."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm
        self._symbols: dict[str, Any] = {}
        self._canonicals: dict[str, Any] = {}
        self._securities: dict[str, Any] = {}
        self._contracts: dict[Any, Contract] = {}
        self._options: dict[str, Any] = {}
        self._tickets: dict[int, Any] = {}
        self._sessions: dict[date, Session | None] = {}

    def now(self) -> datetime:
        """The algorithm's clock: naive New York time."""
        time_now: datetime = self._algorithm.time
        return time_now

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

    def session(self, day: date) -> Session | None:
        """Regular hours of the share market on a day, from LEAN's own exchange hours."""
        if day not in self._sessions:
            self._sessions[day] = self._find_session(day)
        return self._sessions[day]

    def _find_session(self, day: date) -> Session | None:
        hours = self._securities[SESSION_TICKER].exchange.hours
        midnight = datetime.combine(day, time())
        if not hours.is_date_open(midnight):
            return None
        opens = _naive(hours.get_next_market_open(midnight, False))
        closes = _naive(hours.get_next_market_close(opens, False))
        return Session(day, opens, closes, closes.time() < MARKET_CLOSE)

    def watch(self, tickers: Iterable[str]) -> None:
        """Add indices and shares at minute resolution, shares with raw prices."""
        for ticker in tickers:
            if ticker in self._securities:
                continue
            if _kind_of(ticker) is AssetKind.INDEX:
                security = self._algorithm.add_index(ticker, Resolution.MINUTE)
            else:
                raw = DataNormalizationMode.RAW
                security = self._algorithm.add_equity(ticker, Resolution.MINUTE, data_normalization_mode=raw)
            self._securities[ticker] = security
            self._symbols[ticker] = security.symbol

    def security(self, ticker: str) -> Any:
        """The LEAN security of a watched underlying, for main.py's schedules."""
        return self._securities[ticker]

    def tick(self, ticker: str) -> Tick | None:
        """Newest minute of a watched underlying; LEAN's price 0 means that none came yet."""
        security = self._securities[ticker]
        last = security.get_last_data()
        if last is None:
            return None
        price = float(security.price)
        if price <= 0:
            return None
        seen = self._in_new_york(last.end_time, security)
        return Tick(price, float(last.open), float(last.high), float(last.low), seen)

    def _in_new_york(self, moment: Any, security: Any) -> datetime:
        """Exchange time to the algorithm's: both clocks show the same instant, their difference is the shift."""
        shift = self._algorithm.time - security.local_time
        return _naive(moment + shift)

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """Completed daily bars before now, oldest first."""
        bars = self._algorithm.history[TradeBar](self._symbols[ticker], count, Resolution.DAILY)
        today = self.now().date()
        rows = [
            DailyBar(bar.time.date(), float(bar.open), float(bar.high), float(bar.low), float(bar.close))
            for bar in bars
        ]
        return tuple(row for row in rows if row.day < today)

    def chain(self, root: str, expiries: tuple[date, date]) -> Sequence[Contract]:
        """Contracts of the newest universe file on a root, expiring in the closed range."""
        family = INSTRUMENTS[root]
        if family.underlying not in self._symbols:
            self.watch((family.underlying,))
        self._forget_expired()
        first, last = expiries
        found = [
            self._contract(row.symbol)
            for row in self._algorithm.option_chain(self._canonical(root))
            if first <= row.expiry.date() <= last
        ]
        return tuple(sorted(found, key=lambda contract: (contract.expiry, contract.strike, contract.right)))

    def _forget_expired(self) -> None:
        """Drop contracts that are long gone, so that memory stays flat over years (settlement comes a night later)."""
        limit = self.now().date() - timedelta(days=3)
        self._contracts = {symbol: row for symbol, row in self._contracts.items() if row.expiry >= limit}
        self._options = {name: row for name, row in self._options.items() if row.symbol.id.date.date() >= limit}

    def _canonical(self, root: str) -> Any:
        if root not in self._canonicals:
            family = INSTRUMENTS[root]
            symbol = self._symbols[family.underlying]
            if family.kind is AssetKind.INDEX and root != family.underlying:
                self._canonicals[root] = Symbol.create_canonical_option(symbol, root, Market.USA, "?" + root)
            else:
                self._canonicals[root] = symbol
        return self._canonicals[root]

    def _contract(self, symbol: Any) -> Contract:
        known = self._contracts.get(symbol)
        if known is not None:
            return known
        root = str(symbol.id.symbol)
        right = Right.CALL if symbol.id.option_right == OptionRight.CALL else Right.PUT
        contract = INSTRUMENTS[root].contract(symbol.id.date.date(), float(symbol.id.strike_price), right, symbol)
        self._contracts[symbol] = contract
        return contract

    def _handle(self, contract: Contract) -> Any:
        """LEAN's symbol of a contract, made anew for one that was remembered over a restart."""
        if contract.handle is not None:
            return contract.handle
        underlying = self._symbols[contract.underlying.ticker]
        right = OptionRight.CALL if contract.right is Right.CALL else OptionRight.PUT
        expiry = datetime.combine(contract.expiry, time())
        if contract.underlying.kind is AssetKind.INDEX:
            style = OptionStyle.EUROPEAN
            return Symbol.create_option(underlying, contract.root, Market.USA, style, right, contract.strike, expiry)
        return Symbol.create_option(underlying, Market.USA, OptionStyle.AMERICAN, right, contract.strike, expiry)

    def subscribe(self, contracts: Iterable[Contract]) -> None:
        """Add contracts by hand; the security initializer and the seeder give them their last known quote at once."""
        for contract in contracts:
            if contract.name in self._options:
                continue
            if contract.underlying.kind is AssetKind.INDEX:
                security = self._algorithm.add_index_option_contract(self._handle(contract), Resolution.MINUTE)
            else:
                security = self._algorithm.add_option_contract(self._handle(contract), Resolution.MINUTE)
            self._options[contract.name] = security

    def release(self, contracts: Iterable[Contract]) -> None:
        """Remove contracts that are neither held nor ordered."""
        ordered = {order.name for order in self.open_orders()}
        for contract in contracts:
            security = self._options.get(contract.name)
            if security is None or contract.name in ordered or security.holdings.quantity:
                continue
            self._algorithm.remove_security(self._handle(contract))
            del self._options[contract.name]

    def quote(self, contract: Contract) -> Quote | None:
        """Best bid and offer of a subscribed contract, as its last real quote bar has them; a missing side is ``None``.

        ``security.bid_price`` would keep the last bid there ever was (LEAN, SecurityCache.cs:209-270).
        """
        security = self._options.get(contract.name)
        bar = None if security is None else security.cache.get_data(QuoteBar)
        if bar is None:
            return None
        bid, ask = quote_sides(bar)
        if bid is None and ask is None:
            return None
        seen = self._in_new_york(bar.end_time, security)
        return Quote(bid, ask, seen, float(bar.last_bid_size) or None, float(bar.last_ask_size) or None)

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        """One combo limit order, quantity positive, signs on the legs. Raises OrderRefusedError."""
        legs = [Leg.create(self._handle(leg.contract), leg.ratio) for leg in package.legs]
        limit = -instrument_of(package.legs[0].contract).ticks.limit(limit_cash)
        try:
            if len(legs) == 1:
                contract, signed = package.legs[0].contract, quantity * package.legs[0].ratio
                handle, price = self._handle(contract), _outright(contract, signed, limit_cash)
                tickets = [self._algorithm.limit_order(handle, signed, price, tag=tag)]
            else:
                tickets = list(self._algorithm.combo_limit_order(legs, quantity, limit, tag=tag))
        except Exception as error:  # .NET's own classes; whatever it is, nothing was sent
            raise OrderRefusedError(str(error).splitlines()[0]) from error
        invalid = [ticket for ticket in tickets if ticket.status == OrderStatus.INVALID]
        if invalid or len(tickets) != len(package.legs):
            response = invalid[0].submit_request.response if invalid else None
            raise OrderRefusedError("incomplete group" if response is None else str(response.error_message))
        for ticket in tickets:
            self._tickets[int(ticket.order_id)] = ticket
        return tuple(int(ticket.order_id) for ticket in tickets)

    def send_shares(self, ticker: str, quantity: int, price: float, tag: str) -> int:
        """One limit order for shares, at a cent. Raises OrderRefusedError."""
        try:
            ticket = self._algorithm.limit_order(self._symbols[ticker], quantity, round(price, 2), tag=tag)
        except Exception as error:  # .NET's own classes; whatever it is, nothing was sent
            raise OrderRefusedError(str(error).splitlines()[0]) from error
        if ticket.status == OrderStatus.INVALID:
            raise OrderRefusedError(str(ticket.submit_request.response.error_message))
        return int(ticket.order_id)

    def reprice_shares(self, order_id: int, price: float, tag: str) -> bool:
        """Update the limit of an order for shares."""
        ticket = self._ticket(order_id)
        if ticket is None or ticket.status in _DONE:
            return False
        fields = UpdateOrderFields()
        fields.limit_price, fields.tag = round(price, 2), tag
        return bool(ticket.update(fields).is_success)

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        """Update every leg's ticket with the same limit (the live plug-in waits for all of them)."""
        accepted = True
        for order_id in order_ids:
            ticket = self._ticket(order_id)
            if ticket is None or ticket.status in _DONE:
                accepted = False
                continue
            fields = UpdateOrderFields()
            contract = self._contract(ticket.symbol)
            if len(order_ids) > 1:
                fields.limit_price = -instrument_of(contract).ticks.limit(limit_cash)
            else:
                fields.limit_price = _outright(contract, float(ticket.quantity), limit_cash)
            fields.tag = tag
            accepted = bool(ticket.update(fields).is_success) and accepted
        return accepted

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        """Cancel every leg's ticket that still works."""
        for order_id in order_ids:
            ticket = self._ticket(order_id)
            if ticket is not None and ticket.status not in _DONE:
                ticket.cancel(tag)

    def _ticket(self, order_id: int) -> Any:
        """The ticket of an order, also of one that was sent before a restart; ``None`` when LEAN knows none."""
        return self._tickets.get(order_id) or self._algorithm.transactions.get_order_ticket(order_id)

    def forget(self, order_ids: Sequence[int]) -> None:
        """Drop the tickets of a finished group, so that memory stays flat over years."""
        for order_id in order_ids:
            self._tickets.pop(order_id, None)

    def account(self) -> Account:
        """Equity and cash of LEAN's portfolio, and its own margin figure as a second opinion."""
        portfolio = self._algorithm.portfolio
        return Account(float(portfolio.total_portfolio_value), float(portfolio.cash), float(portfolio.margin_remaining))

    def book_interest(self, amount: float) -> None:
        """Add to LEAN's dollars; it moves cash and total, and no profit (recorded: conformance, july, p15)."""
        if self._algorithm.live_mode:
            raise ValueError(f"interest {amount}: a live account's interest is booked by the broker")
        self._algorithm.portfolio.cash_book["USD"].add_amount(amount)

    def holdings(self) -> Sequence[Holding]:
        """Everything that LEAN's portfolio holds, by name."""
        held = []
        for entry in self._algorithm.portfolio:
            holding = entry.value
            if holding.invested:
                quantity, average = float(holding.quantity), float(holding.average_price)
                held.append(Holding(self.name_of(entry.key), quantity, average, float(holding.price)))
        return tuple(sorted(held, key=lambda row: row.name))

    def open_orders(self) -> Sequence[OpenOrder]:
        """Every order that LEAN still works, by id."""
        rows = []
        for order in self._algorithm.transactions.get_open_orders():
            manager = order.group_order_manager
            group = None if manager is None else int(manager.id)
            rows.append(
                OpenOrder(int(order.id), self.name_of(order.symbol), float(order.quantity), group, str(order.tag))
            )
        return tuple(sorted(rows, key=lambda row: row.order_id))

    def name_of(self, symbol: Any) -> str:
        """``Contract.name`` of an option's symbol, the ticker of anything else."""
        if symbol.security_type in _OPTION_TYPES and str(symbol.id.symbol) in INSTRUMENTS:
            return self._contract(symbol).name
        return str(symbol.value)

    def store_path(self, key: str) -> Path:
        """LEAN's own file of an object-store key (an append with fsync there survives a kill)."""
        path = Path(str(self._algorithm.object_store.get_file_path(key)))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _kind_of(ticker: str) -> AssetKind:
    """What an underlying is; volatility indices and index roots are indices, everything else shares."""
    facts = UNDERLYINGS.get(ticker)
    if facts is not None:
        return facts.kind
    return AssetKind.INDEX if ticker.startswith("VIX") else AssetKind.EQUITY


def _outright(contract: Contract, quantity: float, limit_cash: float) -> float:
    """Price of an order with one leg, from a limit in our sign."""
    buying = quantity > 0
    return instrument_of(contract).ticks.price(-limit_cash if buying else limit_cash, buying)


def _naive(moment: datetime) -> datetime:
    """A plain datetime from LEAN's tolerant subclass, without microseconds of rounding."""
    whole = datetime(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return whole + timedelta(0)

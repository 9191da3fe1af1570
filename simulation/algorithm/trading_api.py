"""The order methods of an algorithm (QCAlgorithm.Trading.cs): what QCAlgorithm inherits from here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from simulation.account import brokerages
from simulation.account.margin_calls import scan_margin
from simulation.account.portfolio import SecurityPortfolioManager
from simulation.algorithm.option_strategies import OptionStrategy
from simulation.algorithm.sizing import SizingApi, flags
from simulation.lean.enums import AccountType, BrokerageName, OrderStatus, OrderType, Resolution, SecurityType
from simulation.lean.names import Named, signed
from simulation.lean.numbers import clean, decimal_text
from simulation.lean.symbols import symbol_of
from simulation.orders.order_checks import pre_order_check
from simulation.orders.order_parts import (
    GoodTilDateTimeInForce,
    GroupOrderManager,
    Leg,
    OrderProperties,
    TimeInForce,
    direction_of,
)
from simulation.orders.orders import MarketOnCloseOrder, TrailingStopOrder, greatest_common_divisor
from simulation.orders.requests import OrderResponse, SubmitOrderRequest
from simulation.orders.tickets import OrderTicket

_FUTURES = (SecurityType.FUTURE, SecurityType.FUTURE_OPTION)


class PortfolioTarget(Named):
    """A symbol and the signed quantity, or with `set_holdings` the fraction of the portfolio, to aim for."""

    def __init__(self, symbol: Any, quantity: float, tag: str = "") -> None:
        self.symbol = symbol_of(symbol)
        self.quantity = quantity
        self.tag = tag

    @staticmethod
    def percent(algorithm: Any, symbol: Any, percent: float, *_: Any) -> PortfolioTarget | None:
        """The quantity that a fraction of the portfolio buys."""
        quantity = algorithm.calculate_order_quantity(symbol, percent)
        return PortfolioTarget(symbol, quantity + algorithm.portfolio[symbol].quantity)


class TradingApi(SizingApi):
    """Sends orders; every method returns a ticket (combinations: one per leg)."""

    _engine: Any
    _brokerage_model: Any = None
    default_order_properties: OrderProperties | None
    _warned: frozenset[str] = frozenset()
    _maximum_orders = 1 << 31

    def attach_trading(self, engine: Any) -> None:
        """Gives a run its books and its order handling, before the algorithm's own constructor (engine only)."""
        self.default_order_properties = OrderProperties()
        engine.handler = engine.handler_type(engine)
        engine.transactions = self.transactions = engine.handler.transactions
        engine.portfolio = self.portfolio = SecurityPortfolioManager(engine)

    # ---------------------------------------------------------------- brokerage

    @property
    def brokerage_model(self) -> Any:
        """The broker whose rules apply; LEAN's default until one is set."""
        if self._brokerage_model is None:
            self._brokerage_model = brokerages.DefaultBrokerageModel()
        return self._brokerage_model

    def set_brokerage_model(self, brokerage: Any, account_type: AccountType = AccountType.MARGIN) -> None:
        """Chooses the broker by LEAN's name, or by a model of one's own; existing securities get its models."""
        named = isinstance(brokerage, BrokerageName)
        self._brokerage_model = brokerages.brokerage_model(brokerage, account_type) if named else brokerage
        for security in self._engine.securities.total:
            self.initialize_models(security)

    def initialize_models(self, security: Any) -> None:
        """Gives a new security the broker's models (engine only)."""
        brokerages.initialize(security, self)

    def margin_call_scan(self) -> None:
        """The engine's margin check (engine only)."""
        scan_margin(self)

    @signed("starting_cash", "symbol, starting_cash, conversion_rate=0")
    def set_cash(self, *arguments: Any) -> None:
        """Starting cash in dollars, or (currency, amount[, conversion rate])."""
        self._engine.portfolio.set_cash(*arguments)

    @property
    def account_currency(self) -> str:
        """The account's currency: USD, the only one of the embedded engine."""
        return str(self._engine.portfolio.cash_book.account_currency)

    def set_account_currency(self, account_currency: str, starting_cash: float | None = None) -> None:
        """Accepts USD only; raises ValueError for another currency."""
        if account_currency.upper() != "USD":
            raise ValueError(f"account currency {account_currency}: the embedded engine accepts USD")
        if starting_cash is not None:
            self.set_cash(starting_cash)

    def set_maximum_orders(self, max: int) -> None:
        """Orders beyond this number stop the algorithm."""
        self._maximum_orders = max

    def set_trade_builder(self, trade_builder: Any) -> None:
        """How fills become closed trades in the statistics."""
        self._engine.portfolio.trade_builder = trade_builder

    @property
    def trade_builder(self) -> Any:
        """The builder of closed trades."""
        return self._engine.portfolio.trade_builder

    def _warn_once(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned = self._warned | {key}
            self._say(text)

    def _say(self, text: str) -> None:
        self._engine.algorithm.debug(text)

    # ---------------------------------------------------------------- single orders

    def buy(self, symbol: Any, quantity: float, *rest: Any, **named: Any) -> Any:
        """A market order for a positive quantity, or an option strategy bought."""
        if isinstance(symbol, OptionStrategy):
            return self.order(symbol, abs(quantity), *rest, **named)
        return self.order(symbol, abs(quantity), *rest, **named)

    def sell(self, symbol: Any, quantity: float, *rest: Any, **named: Any) -> Any:
        """A market order for a negative quantity, or an option strategy sold."""
        return self.order(symbol, -abs(quantity), *rest, **named)

    def order(self, symbol: Any, quantity: float, *rest: Any, **named: Any) -> Any:
        """A market order, or with an option strategy a combo market order."""
        if isinstance(symbol, OptionStrategy):
            return self._order_strategy(symbol, int(quantity), *rest, **named)
        return self.market_order(symbol, quantity, *rest, **named)

    def market_order(
        self,
        symbol: Any,
        quantity: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """Fills in the call while the market is open; else it becomes a market-on-open order (futures excepted)."""
        asynchronous, tag = flags(asynchronous, tag)
        security = self._security_for_order(symbol)
        if security.type not in _FUTURES:
            if not security.exchange.exchange_open:
                ticket = self.market_on_open_order(security.symbol, quantity, asynchronous, tag, order_properties)
                if ticket.submit_request.response.is_success:
                    text = "Warning: market orders submitted while the market is closed are automatically converted "
                    self._warn_once("open", text + "into MarketOnOpen orders to fill at the next market open.")
                return ticket
            if self._daily_only(security):
                late = self._too_late_for_close(security)
                send = self.market_on_open_order if late else self.market_on_close_order
                ticket = send(security.symbol, quantity, asynchronous, tag, order_properties)
                if ticket.submit_request.response.is_success:
                    text = "Warning: market orders on daily resolution data sent during market hours are automatically "
                    text += "converted into MarketOnClose orders (or MarketOnOpen near the close) to avoid filling at "
                    text += "the stale previous close. Note: in live trading this conversion is not applied, as the "
                    self._warn_once("daily", text + "order fills at the current market price.")
                return ticket
        return self._send(OrderType.MARKET, security, quantity, tag=tag, order_properties=order_properties)

    @staticmethod
    def _daily_only(security: Any) -> bool:
        own = [config for config in security.subscriptions if not config.internal]
        return bool(own) and all(config.resolution == Resolution.DAILY for config in own)

    def _too_late_for_close(self, security: Any) -> bool:
        local = security.local_time
        close = security.exchange.hours.get_next_market_close(local, False)
        return bool(local > close - _close_buffer())

    def market_on_open_order(
        self,
        symbol: Any,
        quantity: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """Fills at the next session's first price."""
        return self._send_auction(
            OrderType.MARKET_ON_OPEN, symbol, quantity, flags(asynchronous, tag), order_properties
        )

    def market_on_close_order(
        self,
        symbol: Any,
        quantity: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """Fills at this session's last price; refused in its last 15.5 minutes."""
        given = flags(asynchronous, tag)
        return self._send_auction(OrderType.MARKET_ON_CLOSE, symbol, quantity, given, order_properties)

    def _send_auction(
        self, kind: OrderType, symbol: Any, quantity: float, given: tuple[bool, str | None], properties: Any
    ) -> OrderTicket:
        chosen = self._properties(properties)
        if isinstance(chosen.time_in_force, GoodTilDateTimeInForce):
            chosen.time_in_force = TimeInForce.GOOD_TIL_CANCELED
            text = "Warning: Good-Til-Date Time-In-Force is not supported for MOO and MOC orders. "
            self._warn_once("gtd", text + "The time-in-force will be reset to Good-Til-Canceled (GTC).")
        security = self._security_for_order(symbol)
        return self._send(kind, security, quantity, tag=given[1], order_properties=chosen)

    def limit_order(
        self,
        symbol: Any,
        quantity: float,
        limit_price: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """Rests until the market goes through the limit."""
        _, tag = flags(asynchronous, tag)
        security, price = self._security_for_order(symbol), float(limit_price)
        return self._send(
            OrderType.LIMIT, security, quantity, tag=tag, order_properties=order_properties, limit_price=price
        )

    def stop_market_order(
        self,
        symbol: Any,
        quantity: float,
        stop_price: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """Rests until the market touches the stop."""
        _, tag = flags(asynchronous, tag)
        security, price = self._security_for_order(symbol), float(stop_price)
        return self._send(
            OrderType.STOP_MARKET, security, quantity, tag=tag, order_properties=order_properties, stop_price=price
        )

    def stop_limit_order(
        self,
        symbol: Any,
        quantity: float,
        stop_price: float,
        limit_price: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """After the stop was touched, a limit order."""
        _, tag = flags(asynchronous, tag)
        security = self._security_for_order(symbol)
        prices = {"stop_price": float(stop_price), "limit_price": float(limit_price)}
        return self._send(
            OrderType.STOP_LIMIT, security, quantity, tag=tag, order_properties=order_properties, **prices
        )

    def limit_if_touched_order(
        self,
        symbol: Any,
        quantity: float,
        trigger_price: float,
        limit_price: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """After the trigger was touched, a limit order."""
        _, tag = flags(asynchronous, tag)
        security = self._security_for_order(symbol)
        prices = {"trigger_price": float(trigger_price), "limit_price": float(limit_price)}
        return self._send(
            OrderType.LIMIT_IF_TOUCHED, security, quantity, tag=tag, order_properties=order_properties, **prices
        )

    @signed(
        "symbol, quantity, trailing_amount, trailing_as_percentage, asynchronous=False, tag='', order_properties=None",
        "symbol, quantity, stop_price, trailing_amount, trailing_as_percentage, asynchronous=False, tag='', "
        "order_properties=None",
    )
    def trailing_stop_order(self, symbol: Any, quantity: float, *values: Any, **named: Any) -> OrderTicket:
        """[stop price,] trailing amount, as percentage, then asynchronous, tag, order properties."""
        security = self._security_for_order(symbol)
        rest = list(values)
        numbers = [rest.pop(0) for _ in range(2) if rest and not isinstance(rest[0], (bool, str))]
        as_percentage = bool(named.pop("trailing_as_percentage", rest.pop(0) if rest else False))
        stated = numbers.pop(0) if len(numbers) == 2 or (numbers and "trailing_amount" in named) else None
        amount = float(named.pop("trailing_amount", numbers[-1] if numbers else 0.0))
        order = TrailingStopOrder(security.symbol, quantity, 0)
        order.trailing_amount, order.trailing_as_percentage = amount, as_percentage
        stated = named.pop("stop_price", stated)
        stop = order.stop_for(security.price, direction_of(quantity)) if stated is None else float(stated)
        tag = named.pop("tag", rest[1] if len(rest) > 1 else "")
        prices = {"stop_price": stop, "trailing_amount": amount, "trailing_as_percentage": as_percentage}
        properties = named.pop("order_properties", rest[2] if len(rest) > 2 else None)
        return self._send(OrderType.TRAILING_STOP, security, quantity, tag=tag, order_properties=properties, **prices)

    def exercise_option(
        self,
        option_symbol: Any,
        quantity: int,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket:
        """Exercises long options, quantity in contracts; European ones on their last day only."""
        _, tag = flags(asynchronous, tag)
        security = self._security_for_order(option_symbol)
        size = -abs(int(quantity))
        return self._send(OrderType.OPTION_EXERCISE, security, size, tag=tag, order_properties=order_properties)

    # ---------------------------------------------------------------- combinations

    def combo_market_order(
        self,
        legs: Sequence[Leg],
        quantity: int,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> list[OrderTicket]:
        """All legs at the market, together or not at all."""
        _, tag = flags(asynchronous, tag)
        return self._send_combo(legs, quantity, 0.0, tag, order_properties)

    def combo_limit_order(
        self,
        legs: Sequence[Leg],
        quantity: int,
        limit_price: float,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> list[OrderTicket]:
        """All legs at one net limit: positive is a debit for a group bought. Raises ValueError for a limit of zero."""
        _, tag = flags(asynchronous, tag)
        if not limit_price:
            raise ValueError("ComboLimitOrder requires a limit price")
        if any(leg.order_price for leg in legs):
            raise ValueError("ComboLimitOrder does not support limit prices for individual legs")
        return self._send_combo(legs, quantity, float(limit_price), tag, order_properties)

    def combo_leg_limit_order(
        self,
        legs: Sequence[Leg],
        quantity: int,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> list[OrderTicket]:
        """All legs, each at its own limit. Raises ValueError when a leg has none."""
        _, tag = flags(asynchronous, tag)
        if any(not leg.order_price for leg in legs):
            raise ValueError("ComboLegLimitOrder requires a limit price for each leg")
        return self._send_combo(legs, quantity, 0.0, tag, order_properties)

    def _order_strategy(
        self,
        strategy: OptionStrategy,
        quantity: int,
        asynchronous: Any = False,
        tag: str | None = "",
        order_properties: OrderProperties | None = None,
    ) -> list[OrderTicket]:
        _, tag = flags(asynchronous, tag)
        strategy.set_symbols()
        if tag is None:
            tag = f"{strategy.name} ({quantity})"
        legs = [*strategy.underlying_legs, *strategy.option_legs]
        return self._send_combo(legs, quantity, 0.0, tag, order_properties)

    def _send_combo(
        self, legs: Sequence[Leg], quantity: float, limit_price: float, tag: str | None, properties: Any
    ) -> list[OrderTicket]:
        legs = list(legs)
        _check_ratios(legs, quantity)
        kind = OrderType.COMBO_LIMIT if limit_price else OrderType.COMBO_MARKET
        transactions = self._engine.transactions
        group = GroupOrderManager(transactions.next_group_id(), len(legs), quantity, limit_price)
        requests = []
        for leg in legs:
            security = self._security_for_order(leg.symbol)
            if leg.order_price is not None:
                limit_price, kind = float(leg.order_price), OrderType.COMBO_LEG_LIMIT
            request = self._request(
                kind,
                security,
                clean(leg.quantity * group.quantity),
                tag=tag,
                order_properties=properties,
                group_order_manager=group,
                limit_price=limit_price,
            )
            response = self._checked(request)
            if response.is_error:
                return [OrderTicket.invalid(transactions, request, response)]
            requests.append(request)
        return [transactions.add_order(request) for request in requests]

    # ---------------------------------------------------------------- sending

    def _properties(self, given: OrderProperties | None) -> OrderProperties:
        if given is not None:
            return given
        default = self.default_order_properties
        return OrderProperties() if default is None else default.clone()

    def _request(self, kind: OrderType, security: Any, quantity: float, **fields: Any) -> SubmitOrderRequest:
        fields["order_properties"] = self._properties(fields.get("order_properties"))
        return SubmitOrderRequest.build(kind, security, float(quantity), self._engine.utc_ms, **fields)

    def _send(self, kind: OrderType, security: Any, quantity: float, **fields: Any) -> OrderTicket:
        return self.submit_order_request(self._request(kind, security, quantity, **fields))

    def submit_order_request(self, request: SubmitOrderRequest) -> OrderTicket:
        """Checks a request and sends it; a refused one gives an INVALID ticket without an order."""
        response = self._checked(request)
        if response.is_error:
            return OrderTicket.invalid(self._engine.transactions, request, response)
        return self._engine.transactions.add_order(request)  # type: ignore[no-any-return]

    def _checked(self, request: SubmitOrderRequest) -> OrderResponse:
        response = pre_order_check(self, request)
        if response.is_error:
            self._engine.algorithm.error(response.error_message)
        return response

    def _security_for_order(self, symbol: Any) -> Any:
        """The security of a symbol; an unexpired contract that was never added is added and seeded (QT:1269).

        Raises ValueError for an index, which is not tradable, and for what is gone.
        """
        engine = self._engine
        symbol = symbol_of(symbol)
        security = engine.securities.get(symbol)
        if security is not None and (symbol.is_canonical() or security.is_tradable or security.is_delisted):
            return security
        return engine.algorithm.add_security_for_order(symbol)

    def shortable(self, symbol: Any, short_quantity: float = 0.0, update_order_id: int | None = None) -> bool:
        """Whether a symbol may be sold short: always, as under LEAN's default provider."""
        return True

    def is_market_open(self, symbol: Any) -> bool:
        """Whether the symbol's regular market is open now."""
        security = self._engine.securities[symbol]
        return bool(security.exchange.exchange_open)


def _close_buffer() -> timedelta:
    return MarketOnCloseOrder.submission_time_buffer


def _check_ratios(legs: Sequence[Leg], quantity: float) -> None:
    divisor = greatest_common_divisor(leg.quantity for leg in legs)
    if divisor == 1:
        return
    given = ", ".join(f"{leg.quantity} {leg.symbol}" for leg in legs)
    reduced = ", ".join(f"{leg.quantity // (divisor or 1)} {leg.symbol}" for leg in legs)
    raise ValueError(
        "The global combo quantity should be used to increase or reduce the size of the order, while the leg "
        "quantities should be used to specify the ratio of the order. The combo order quantities should be reduced "
        f"from {decimal_text(quantity)}x({given}) to {decimal_text(quantity * divisor)}x({reduced})."
    )


def is_open(ticket: OrderTicket) -> bool:
    """Whether a ticket's order may still change."""
    return ticket.status not in (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID)

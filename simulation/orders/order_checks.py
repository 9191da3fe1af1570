"""Before an order is accepted: LEAN's checks without an order number, and rounding to lots and ticks.

Checks follow QCAlgorithm.PreOrderChecksImpl. Prices are rounded half to even, each kind with its one warning per run.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from simulation.lean.enums import (
    OPTION_TYPES,
    DataNormalizationMode,
    OptionStyle,
    OrderResponseErrorCode,
    OrderType,
    Resolution,
    SecurityType,
)
from simulation.lean.numbers import decimal_text, exact
from simulation.lean.symbols import Symbol
from simulation.orders.faces import Speaker
from simulation.orders.orders import MarketOnCloseOrder, Order
from simulation.orders.parties import OrderEngine, OrderHandler, OrderingAlgorithm, TradedSecurity
from simulation.orders.requests import OrderResponse, SubmitOrderRequest

_PRICE_FIELDS: dict[OrderType, tuple[tuple[str, str], ...]] = {
    OrderType.LIMIT: (("limit_price", "LimitPrice"),),
    OrderType.STOP_MARKET: (("stop_price", "StopPrice"),),
    OrderType.STOP_LIMIT: (("limit_price", "LimitPrice"), ("stop_price", "StopPrice")),
    OrderType.TRAILING_STOP: (("stop_price", "StopPrice"), ("trailing_amount", "TrailingAmount")),
    OrderType.LIMIT_IF_TOUCHED: (("limit_price", "LimitPrice"), ("trigger_price", "TriggerPrice")),
    OrderType.COMBO_LEG_LIMIT: (("limit_price", "LimitPrice"),),
}


def round_to_tick(price: float, tick: float) -> Decimal:
    """The multiple of the tick nearest to the price, ties to the even multiple (Math.Round on decimals)."""
    step = exact(tick)
    return (exact(price) / step).to_integral_value(ROUND_HALF_EVEN) * step


def minimum_price_variation(security: TradedSecurity, reference_price: float) -> float:
    """Tick of a security at a price, 0 for shares with adjusted prices (AdjustedPriceVariationModel.cs).

    Sub-dollar stocks and index options depend on the price (IndexOptionSymbolProperties).
    """
    if security.type == SecurityType.EQUITY and security.data_normalization_mode != DataNormalizationMode.RAW:
        return 0.0 * reference_price
    if security.type == SecurityType.EQUITY and reference_price < 1:
        return 0.0001
    if security.type == SecurityType.INDEX_OPTION:
        root = security.symbol.id.symbol
        below, above = {"VIXW": (0.01, 0.01), "VIX": (0.01, 0.05)}.get(root, (0.05, 0.1))
        return above if reference_price >= 3 else below
    return float(security.symbol_properties.minimum_price_variation)


class PriceRounding:
    """Rounds the orders of one run; the first change of a price and of a quantity is reported to the algorithm."""

    def __init__(self, handler: OrderHandler) -> None:
        self._handler = handler
        self._warned_price = False
        self._warned_quantity = False

    def round_quantity(self, order: Order, security: TradedSecurity) -> None:
        """Cuts the quantity to whole lots, towards zero."""
        lot = exact(security.symbol_properties.lot_size)
        excess = exact(order.quantity) % lot if lot else Decimal(0)
        if not excess:
            return
        order.quantity = float(exact(order.quantity) - excess)
        if not self._warned_quantity:
            self._warned_quantity = True
            text = "Warning: Due to brokerage limitations, orders will be rounded to the nearest lot size of "
            self._handler.engine.algorithm.error(text + decimal_text(security.symbol_properties.lot_size))

    def round_prices(self, order: Order, security: TradedSecurity, orders: list[Order] | None) -> None:
        """Rounds the order's own prices; a combo limit only once all its legs (`orders`) have arrived."""
        group = order.group_order_manager
        if order.type == OrderType.COMBO_LIMIT and group is not None:
            if orders is not None:
                find = self._handler.engine.securities
                ticks = [minimum_price_variation(find[leg.symbol], leg.price) for leg in orders]
                tick = min((tick for tick in ticks if tick > 0), default=0.0)
                group.limit_price = self._rounded(group.limit_price, tick, "LimitPrice")
            return
        for name, label in _PRICE_FIELDS.get(order.type, ()):
            if name == "trailing_amount" and getattr(order, "trailing_as_percentage", False):
                continue
            price = float(getattr(order, name))
            setattr(order, name, self._rounded(price, minimum_price_variation(security, price), label))

    def _rounded(self, price: float, tick: float, label: str) -> float:
        if tick <= 0:
            return price
        rounded = round_to_tick(price, tick)
        if rounded != exact(price) and not self._warned_price:
            self._warned_price = True
            text = f"Warning: To meet brokerage precision requirements, order {label} was rounded to {rounded} "
            self._handler.engine.algorithm.error(f"{text}from {exact(price)}")
        return float(rounded)


Code = OrderResponseErrorCode
_FUTURES = (SecurityType.FUTURE, SecurityType.FUTURE_OPTION)


def pre_order_check(algorithm: OrderingAlgorithm, request: SubmitOrderRequest) -> OrderResponse:
    """Success, or the first reason for which the request is refused without becoming an order.

    Raises ValueError for a market-on-open or -close order in a market that never closes.
    """
    engine = algorithm._engine
    if algorithm.is_warming_up:
        return OrderResponse.warming_up(request)
    security = engine.securities.get(request.symbol)
    if security is None:
        return OrderResponse.missing_security(request)
    if not request.quantity:
        return OrderResponse.zero_quantity(request)
    refused = (
        _check_security(request, security)
        or _check_volume(algorithm, request)
        or _check_exercise(engine, request, security)
        or _check_auction(request, security)
        or _check_split(algorithm, request)
    )
    return OrderResponse.success(request) if refused is None else refused


def _check_security(request: SubmitOrderRequest, security: TradedSecurity) -> OrderResponse | None:
    lot = security.symbol_properties.lot_size
    kind = request.order_type.to_string()
    if abs(request.quantity) < lot:
        text = f"Unable to submit order with id {request.order_id} which quantity "
        text += f"({decimal_text(abs(request.quantity))}) is less than lot size ({decimal_text(lot)})."
        return OrderResponse.error(request, Code.ORDER_QUANTITY_LESS_THAN_LOT_SIZE, text)
    if not security.is_tradable:
        text = f"The security with symbol '{request.symbol}' is marked as non-tradable."
        return OrderResponse.error(request, Code.NON_TRADABLE_SECURITY, text)
    if request.order_type == OrderType.OPTION_EXERCISE and not security.exchange.exchange_open:
        return OrderResponse.error(request, Code.EXCHANGE_NOT_OPEN, f"{kind} order and exchange not open.")
    if security.type in _FUTURES and request.order_type == OrderType.MARKET_ON_OPEN:
        _warn_of_futures(security._engine.algorithm)
        text = f"{kind} orders not supported for {security.type.to_string()}."
        return OrderResponse.error(request, Code.EXCHANGE_NOT_OPEN, text)
    if not security.price:
        return OrderResponse.error(request, Code.SECURITY_PRICE_ZERO, zero_price_message(request.symbol))
    if not security.quote_currency.conversion_rate:
        text = f"{request.symbol.value}: requires {security.quote_currency.symbol} to have a non-zero conversion rate. "
        text += "This can be caused by lack of data."
        return OrderResponse.error(request, Code.CONVERSION_RATE_ZERO, text)
    if not security.has_data:
        text = "There is no data for this symbol yet, please check the security.HasData flag to ensure there is at "
        return OrderResponse.error(request, Code.SECURITY_HAS_NO_DATA, text + "least one data point.")
    return None


def _warn_of_futures(algorithm: Speaker) -> None:
    text = "Warning: Market-On-Open orders are not allowed for futures and future options. "
    algorithm._warn_once("futures", text + "Consider using limit orders during extended market hours.")


def _check_volume(algorithm: OrderingAlgorithm, request: SubmitOrderRequest) -> OrderResponse | None:
    maximum = algorithm._maximum_orders
    if algorithm._engine.transactions.orders_count <= maximum:
        return None
    text = f"You have exceeded maximum number of orders ({maximum}), for unlimited orders upgrade your account."
    algorithm._engine.stop(text)
    return OrderResponse.error(request, Code.EXCEEDED_MAXIMUM_ORDERS, text)


def _check_exercise(engine: OrderEngine, request: SubmitOrderRequest, security: TradedSecurity) -> OrderResponse | None:
    if request.order_type != OrderType.OPTION_EXERCISE:
        return None
    symbol = request.symbol
    if not security.is_option:
        text = f"The security with symbol '{symbol}' is not exercisable."
        return OrderResponse.error(request, Code.NON_EXERCISABLE_SECURITY, text)
    today: date = engine.transactions.utc_time.date()
    if security.style == OptionStyle.EUROPEAN and today < security.symbol.id.date.date():
        text = f"Cannot exercise European style option with symbol '{symbol}' before its expiration date."
        return OrderResponse.error(request, Code.EUROPEAN_OPTION_NOT_EXPIRED_ON_EXERCISE, text)
    if security.holdings.is_short:
        text = f"The security with symbol '{symbol}' has a short option position. "
        text += "Only long option positions are exercisable."
        return OrderResponse.error(request, Code.UNSUPPORTED_REQUEST_TYPE, text)
    if abs(request.quantity) > security.holdings.quantity:
        text = f"Cannot exercise more contracts of '{symbol}' than is currently available in the portfolio. "
        return OrderResponse.error(request, Code.UNSUPPORTED_REQUEST_TYPE, text)
    return None


def span_text(span: timedelta) -> str:
    """A span under a day as C# prints it: 00:15:30."""
    seconds = int(span.total_seconds())
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _check_auction(request: SubmitOrderRequest, security: TradedSecurity) -> OrderResponse | None:
    kind = request.order_type
    if kind not in (OrderType.MARKET_ON_OPEN, OrderType.MARKET_ON_CLOSE):
        return None
    hours, local = security.exchange.hours, security.local_time
    if hours.is_market_always_open:
        raise ValueError(
            f"Market never closes for this symbol {request.symbol}, can no submit a {kind.to_string()} order."
        )
    if kind == OrderType.MARKET_ON_OPEN:
        own = [config for config in security.subscriptions if not config.internal]
        daily = bool(own) and all(config.resolution == Resolution.DAILY for config in own)
        if hours.is_open(local, False) and not daily:
            text = "Cannot submit a MarketOnOpen order while the market is open."
            return OrderResponse.error(request, Code.MARKET_ON_OPEN_NOT_ALLOWED_DURING_REGULAR_HOURS, text)
        return None
    buffer = MarketOnCloseOrder.submission_time_buffer
    if local > hours.get_next_market_close(local, False) - buffer:
        text = f"MarketOnClose orders must be placed within {span_text(buffer)} before market close. Override this "
        text += "TimeSpan buffer by setting Orders.MarketOnCloseOrder.SubmissionTimeBuffer in QCAlgorithm.Initialize()."
        return OrderResponse.error(request, Code.MARKET_ON_CLOSE_ORDER_TOO_LATE, text)
    return None


def _check_split(algorithm: OrderingAlgorithm, request: SubmitOrderRequest) -> OrderResponse | None:
    if request.security_type not in OPTION_TYPES:
        return None
    moment = algorithm._engine.current_slice
    if moment is None or not len(moment.splits) or request.symbol.underlying not in moment.splits:
        return None
    text = "Options orders are not allowed when a split occurred for its underlying stock"
    algorithm._warn_once("split", f"Warning: {text}")
    return OrderResponse.error(request, Code.OPTION_ORDER_ON_STOCK_SPLIT, text)


def zero_price_message(symbol: Symbol) -> str:
    """LEAN's sentence about a security that has no price yet."""
    return (
        f"{symbol}: The security does not have an accurate price as it has not yet received a bar of data. Before "
        "placing a trade (or using set_holdings) warm up your algorithm with set_warmup, or use slice.contains(symbol) "
        "to confirm the Slice object has price before using the data. Data does not necessarily all arrive at the same "
        "time so your algorithm should confirm the data is ready before using it. In live trading this can mean you do "
        "not have an active subscription to the asset class you're trying to trade. If using custom data make sure "
        "you've set the 'Value' property."
    )

"""What LEAN checks before it even numbers an order (QCAlgorithm.PreOrderChecksImpl)."""

from __future__ import annotations

from datetime import date
from typing import Any

from simulation.enums import OPTION_TYPES, OptionStyle, OrderResponseErrorCode, OrderType, Resolution, SecurityType
from simulation.margin import zero_price_message
from simulation.orders import MarketOnCloseOrder, decimal_text
from simulation.requests import OrderResponse, SubmitOrderRequest

Code = OrderResponseErrorCode
_FUTURES = (SecurityType.FUTURE, SecurityType.FUTURE_OPTION)


def pre_order_check(algorithm: Any, request: SubmitOrderRequest) -> OrderResponse:
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


def _check_security(request: SubmitOrderRequest, security: Any) -> OrderResponse | None:
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


def _check_volume(algorithm: Any, request: SubmitOrderRequest) -> OrderResponse | None:
    maximum = algorithm._maximum_orders
    if algorithm._engine.transactions.orders_count <= maximum:
        return None
    text = f"You have exceeded maximum number of orders ({maximum}), for unlimited orders upgrade your account."
    algorithm._engine.stop(text)
    return OrderResponse.error(request, Code.EXCEEDED_MAXIMUM_ORDERS, text)


def _check_exercise(engine: Any, request: SubmitOrderRequest, security: Any) -> OrderResponse | None:
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


def _check_auction(request: SubmitOrderRequest, security: Any) -> OrderResponse | None:
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
        text = (
            f"MarketOnClose orders must be placed within {buffer} before market close. Override this TimeSpan buffer "
        )
        text += "by setting Orders.MarketOnCloseOrder.SubmissionTimeBuffer in QCAlgorithm.Initialize()."
        return OrderResponse.error(request, Code.MARKET_ON_CLOSE_ORDER_TOO_LATE, text)
    return None


def _check_split(algorithm: Any, request: SubmitOrderRequest) -> OrderResponse | None:
    if request.security_type not in OPTION_TYPES:
        return None
    moment = algorithm._engine.current_slice
    if moment is None or not len(moment.splits) or request.symbol.underlying not in moment.splits:
        return None
    text = "Options orders are not allowed when a split occurred for its underlying stock"
    return OrderResponse.error(request, Code.OPTION_ORDER_ON_STOCK_SPLIT, text)

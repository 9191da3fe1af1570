"""Exercise and assignment: what expiry does to an option position, and who is assigned before it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from simulation.data.archives import row_text
from simulation.data.lean_folder import LeanFolder, data_path
from simulation.lean.clock import zone_of
from simulation.lean.enums import (
    OptionRight,
    OptionStyle,
    OrderStatus,
    OrderType,
    Resolution,
    SecurityType,
    SettlementType,
    TickType,
)
from simulation.lean.exchange_hours import SecurityExchangeHours
from simulation.lean.names import Named
from simulation.lean.numbers import clean, exact
from simulation.orders.faces import PricedOption, PricedSecurity
from simulation.orders.fees import OrderFeeParameters
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee, OrderSubmissionData, direction_of
from simulation.orders.orders import MarketOrder, OptionExerciseOrder, Order
from simulation.orders.parties import OrderHandler, TradedSecurity

EARLY_TAG = "Simulated option assignment before expiration"


def exercise_units(option: PricedOption, order_quantity: float) -> float:
    """Signed units of the underlying that an exercise order delivers: a long call buys, a long put sells.

    order_quantity: the option position's change, negative when a long position is exercised (Option.cs:312).
    """
    sign = -1 if option.right == OptionRight.CALL else 1
    return clean(sign * order_quantity * option.contract_unit_of_trade)


def exact_price(security: PricedSecurity) -> Decimal:
    """The last price with the digits that LEAN's decimal carries: those of the data file.

    Shares are stored as integers of 1/10000 dollar; an index or a future as it is written (5230.30 keeps its zero).
    """
    price = exact(security.price)
    digits = 4 if security.type == SecurityType.EQUITY else _written_digits(security)
    exponent = Decimal(1).scaleb(-digits)
    return price.quantize(exponent) if price == price.quantize(exponent) else price


def _written_digits(security: PricedSecurity) -> int:
    """Decimal places of the close in the row of the last bar; of bid and ask the more; 0 when no file is read."""
    folder = security._engine.source
    if not isinstance(folder, LeanFolder):
        return 0
    digits = 0
    for bar, tick, columns in (
        (security.last_quote(), TickType.QUOTE, (4, 9)),
        (security.last_trade(), TickType.TRADE, (4,)),
    ):
        if bar is not None and not digits:
            row = _written_row(folder, security, bar.start_ms, tick) or []
            texts = [row[column] for column in columns if column < len(row)]
            digits = max((len(text.partition(".")[2]) for text in texts), default=0)
    return digits


def _written_row(folder: LeanFolder, security: PricedSecurity, start_ms: int, tick: TickType) -> list[str] | None:
    symbol = security.symbol
    zone = zone_of(folder.hours.get_data_time_zone(symbol.id.market, symbol, symbol.security_type))
    day, resolution = zone.date_of(start_ms), Resolution.MINUTE
    read = folder.quotes if tick == TickType.QUOTE else folder.trades
    block = read(symbol, resolution, day)
    row = -1 if block is None else int(block.start.searchsorted(start_ms))
    where = data_path(symbol, resolution, tick, day)
    return row_text(folder.root / where.archive, where.entry, row)


def is_contract_expired(option: TradedSecurity, utc_ms: int) -> bool:
    """Whether the last regular close of the contract's last trading day is over (OptionSymbol.cs:162)."""
    return zone_of(option.exchange.hours.time_zone).local(utc_ms) >= last_close(
        option.exchange.hours, option.symbol.id.date
    )


def last_close(hours: SecurityExchangeHours, date: datetime) -> datetime:
    """Exchange-local time of the last regular close on or before a contract's date."""
    day = date if hours.is_date_open(date) else hours.get_previous_trading_day(date)
    close: datetime = hours.get_last_daily_market_close(day, False)
    midnight = datetime(date.year, date.month, date.day) + timedelta(days=1)
    return min(close, midnight)


class DefaultExerciseModel(Named):
    """Closes the option at zero and, in the money with physical delivery, trades the underlying at the strike."""

    def option_exercise(self, option: TradedSecurity, order: OptionExerciseOrder) -> list[OrderEvent]:
        """The fill of the option and, with physical delivery, that of the underlying (DefaultExerciseModel.cs)."""
        now = option._engine.utc_ms
        in_the_money = option.is_auto_exercised(option.underlying.close)
        assigned = in_the_money and option.holdings.is_short
        word = "OTM" if not in_the_money else "Assigned" if assigned else "Automatic Exercise"
        event = OrderEvent(order, now, OrderFee.ZERO, f"{word}. Underlying: {exact_price(option.underlying)}")
        event.status, event.fill_quantity = OrderStatus.FILLED, order.quantity
        event.is_assignment, event.is_in_the_money = assigned, in_the_money
        event.fill_price_currency = ""
        if not in_the_money or option.exercise_settlement != SettlementType.PHYSICAL_DELIVERY:
            return [event]
        units = exercise_units(option, order.quantity)
        text = "Option Assignment" if assigned else "Option Exercise"
        delivery = OrderEvent(order, now, OrderFee.ZERO, text)
        delivery.symbol, delivery.status, delivery.direction = (
            option.underlying.symbol,
            OrderStatus.FILLED,
            direction_of(units),
        )
        delivery.fill_price, delivery.fill_quantity = option.strike_price, units
        delivery.is_in_the_money, delivery.fill_price_currency = True, ""
        return [event, delivery]


class OptionAssignmentResult(Named):
    """How many contracts are assigned, and the tag of the order that records it."""

    NULL: ClassVar[OptionAssignmentResult]

    def __init__(self, quantity: float, tag: str) -> None:
        self.quantity = quantity
        self.tag = tag


OptionAssignmentResult.NULL = OptionAssignmentResult(0.0, "")


class OptionAssignmentParameters(Named):
    """What an assignment model gets to see."""

    def __init__(self, option: TradedSecurity) -> None:
        self.option = option


class NullOptionAssignmentModel(Named):
    """Nobody is assigned before expiry."""

    def get_assignment(self, parameters: OptionAssignmentParameters) -> OptionAssignmentResult:
        """No assignment."""
        return OptionAssignmentResult.NULL


class DefaultOptionAssignmentModel(Named):
    """Assigns deep in-the-money short options: American in the last four days, European on the expiry date.

    required_in_the_money_percent: fraction of the underlying's price that the option must be in the money beyond;
    prior_expiration: how long before the expiry date American options are looked at (DefaultOptionAssignmentModel.cs).
    """

    def __init__(
        self, required_in_the_money_percent: float = 0.05, prior_expiration: timedelta = timedelta(days=4)
    ) -> None:
        self._required = required_in_the_money_percent
        self._prior = prior_expiration

    def get_assignment(self, parameters: OptionAssignmentParameters) -> OptionAssignmentResult:
        """The whole position when the holder gains by exercising now, else none."""
        option = parameters.option
        if self._is_due(option) and self._is_deep(option) and estimate_gain(option) > 0:
            return OptionAssignmentResult(option.holdings.absolute_quantity, EARLY_TAG)
        return OptionAssignmentResult.NULL

    def _is_due(self, option: TradedSecurity) -> bool:
        expiry, local = option.symbol.id.date, option.local_time
        if option.symbol.id.option_style == OptionStyle.AMERICAN:
            return bool(expiry - local <= self._prior)
        return bool(expiry.date() == local.date())

    def _is_deep(self, option: TradedSecurity) -> bool:
        price = option.underlying.close
        return bool(price) and bool(clean(option.get_pay_off(price)) / price > self._required)


def estimate_gain(option: TradedSecurity) -> float:
    """LEAN's estimate of what the holder wins by exercising rather than selling, dollars.

    It counts the contract unit twice, as LEAN does, so it is positive for practically every deep option.
    """
    held, underlying = option.holdings, option.underlying
    quantity, average = held.quantity, held.average_price
    multiplier = option.symbol_properties.contract_multiplier
    now = option._engine.utc_ms
    selling = option.fee_model.get_order_fee(OrderFeeParameters(option, MarketOrder(option.symbol, -quantity, now)))
    base = (option.bid_price - average) * -quantity * multiplier - selling.value.amount
    order = OptionExerciseOrder(option.symbol, held.absolute_quantity, now)
    exercising = option.fee_model.get_order_fee(OrderFeeParameters(option, order)).value.amount
    units = exercise_units(option, quantity)
    delivering = 0.0
    if option.exercise_settlement == SettlementType.PHYSICAL_DELIVERY:
        trade = MarketOrder(underlying.symbol, -units, now)
        delivering = underlying.fee_model.get_order_fee(OrderFeeParameters(underlying, trade)).value.amount
    price = underlying.bid_price if option.right == OptionRight.CALL else underlying.ask_price
    gain = (price - option.scaled_strike_price) * units * option.contract_unit_of_trade
    gain -= delivering + average * held.absolute_quantity * multiplier + exercising
    return clean(gain - base)


def process_option_notification(
    handler: OrderHandler, option: TradedSecurity, position: float, tag: str | None
) -> None:
    """The broker says the position is now `position`: expiry, assignment, or a confirmed exercise.

    (BrokerageOrderHandler.HandleOptionNotification.)
    """
    held = option.holdings
    if is_contract_expired(option, handler.engine.utc_ms):
        if not position and held.quantity:
            _book(handler, option, -held.quantity, tag)
    elif abs(position) < held.absolute_quantity:
        if held.is_short:
            _book(handler, option, clean(position - held.quantity), tag)
        else:
            _confirm_exercise(handler, option)


def _confirm_exercise(handler: OrderHandler, option: TradedSecurity) -> None:
    for order, _ in list(handler.open.values()):
        if order.symbol == option.symbol and order.type == OrderType.OPTION_EXERCISE:
            _emit(handler, option, order)
            return


def _book(handler: OrderHandler, option: TradedSecurity, quantity: float, tag: str | None) -> None:
    order = OptionExerciseOrder(option.symbol, quantity, handler.engine.utc_ms, tag)
    order.order_submission_data = OrderSubmissionData(option.bid_price, option.ask_price, option.close)
    handler.add_open_order(order)
    _emit(handler, option, order)


def _emit(handler: OrderHandler, option: TradedSecurity, order: Order) -> None:
    for event in option.option_exercise_model.option_exercise(option, order):
        handler.handle_event(event)
        if event.is_assignment:
            if order.tag:
                event.message = f"{event.message}. {order.tag}" if event.message else order.tag
            handler.engine.fire_assignment_event(event)

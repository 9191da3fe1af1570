"""Orders as the engine keeps them: one class per LEAN order type."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from simulation.lean.clock import utc_datetime
from simulation.lean.enums import OrderDirection, OrderStatus, OrderType, SecurityType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, currency_sign, decimal_text, exact, price_of, smart_text
from simulation.lean.symbols import Symbol
from simulation.orders.faces import PricedSecurity
from simulation.orders.order_parts import (
    GroupOrderManager,
    OrderProperties,
    OrderSubmissionData,
    TimeInForce,
    direction_of,
)
from simulation.orders.requests import SubmitOrderRequest, UpdateOrderRequest


class Order(Named):
    """One order; quantities are signed contracts or shares, prices are dollars per unit, times are UTC."""

    type: ClassVar[OrderType] = OrderType.MARKET

    def __init__(self, symbol: Symbol, quantity: float, time_ms: int, tag: str | None = "") -> None:
        self.id = 0
        self.contingent_id = 0
        self.broker_id: list[str] = []
        self.symbol: Symbol = symbol
        self.price = 0.0
        self.price_currency = ""
        self.time_ms = time_ms
        self.last_fill_ms: int | None = None
        self.last_update_ms: int | None = None
        self.canceled_ms: int | None = None
        self.group_order_manager: GroupOrderManager | None = None
        self.quantity = float(quantity)
        self.status = OrderStatus.NONE
        self.tag = tag
        self.properties = OrderProperties()
        self.order_submission_data: OrderSubmissionData | None = None
        self.event_count = 0

    def get_default_tag(self) -> str:
        """The tag of an order that was sent without one: none but for trailing stops."""
        return ""

    def __str__(self) -> str:
        return f"{self._in_short()}{self._prices_text()}"

    def _prices_text(self) -> str:
        """What the order type adds to the text: its own prices."""
        return ""

    def _in_short(self) -> str:
        tag = f": {self.tag}" if self.tag else ""
        units = "unit" if self.quantity == 1 else "units"
        brokers = ",".join(self.broker_id)
        return (
            f"OrderId: {self.id} (BrokerId: {brokers}) {self.status.to_string()} {self.type.to_string()} order for "
            f"{decimal_text(self.quantity)} {units} of {self.symbol}{tag}"
        )

    def _money(self, price: float) -> str:
        return f"{currency_sign(self.price_currency)}{smart_text(price)}"

    @property
    def time(self) -> datetime:
        """When the order was sent, UTC."""
        return utc_datetime(self.time_ms)

    @property
    def created_time(self) -> datetime:
        """When the order was sent, UTC (LEAN's second name for it)."""
        return self.time

    @property
    def last_fill_time(self) -> datetime | None:
        """UTC time of the last fill, None before the first."""
        return None if self.last_fill_ms is None else utc_datetime(self.last_fill_ms)

    @property
    def last_update_time(self) -> datetime | None:
        """UTC time of the last accepted update, None without one."""
        return None if self.last_update_ms is None else utc_datetime(self.last_update_ms)

    @property
    def canceled_time(self) -> datetime | None:
        """UTC time of the cancellation, None without one."""
        return None if self.canceled_ms is None else utc_datetime(self.canceled_ms)

    @property
    def time_in_force(self) -> TimeInForce:
        """How long the order lives."""
        return self.properties.time_in_force

    @property
    def security_type(self) -> SecurityType:
        """Security type of the symbol."""
        return self.symbol.security_type

    @property
    def direction(self) -> OrderDirection:
        """BUY or SELL by the sign of the quantity."""
        return direction_of(self.quantity)

    @property
    def absolute_quantity(self) -> float:
        """Quantity without sign."""
        return abs(self.quantity)

    @property
    def value(self) -> float:
        """Quantity times the average fill price, without the contract multiplier."""
        return clean(self.quantity * self.price)

    @property
    def is_marketable(self) -> bool:
        """Whether the order could fill at the prices of its submission."""
        return self.type in (OrderType.MARKET, OrderType.COMBO_MARKET)

    def get_value(self, security: PricedSecurity) -> float:
        """Dollars that the order is worth at its own price rule, signed as its quantity (Order.GetValue)."""
        multiplier = security.symbol_properties.contract_multiplier
        return clean(self.unit_value(security) * security.quote_currency.conversion_rate * multiplier)

    def unit_value(self, security: PricedSecurity) -> float:
        """Quantity times the price at which the order type values itself."""
        return float(self.quantity * security.price)

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over the fields that an update request names."""
        if request.quantity is not None:
            self.quantity = float(request.quantity)
        if request.tag is not None:
            self.tag = request.tag

    def clone(self) -> Order:
        """A copy that does not follow the engine's order (the group is shared, as in LEAN)."""
        twin = copy.copy(self)
        twin.properties = self.properties.clone()
        twin.broker_id = list(self.broker_id)
        return twin

    def next_event_id(self) -> int:
        """Ids of this order's events count from 1."""
        self.event_count += 1
        return self.event_count


class MarketOrder(Order):
    """Fills at once at the market."""


class MarketOnOpenOrder(Order):
    """Fills at the next opening price."""

    type = OrderType.MARKET_ON_OPEN


class MarketOnCloseOrder(Order):
    """Fills at the next closing price."""

    type = OrderType.MARKET_ON_CLOSE
    submission_time_buffer: ClassVar[timedelta] = timedelta(minutes=15, seconds=30)
    DEFAULT_SUBMISSION_TIME_BUFFER: ClassVar[timedelta] = timedelta(minutes=15, seconds=30)


class OptionExerciseOrder(Order):
    """Exercises a long option or records the assignment of a short one."""

    type = OrderType.OPTION_EXERCISE

    def unit_value(self, security: PricedSecurity) -> float:
        """Value of the underlying delivered at the order's price, per contract multiplier."""
        multiplier = security.symbol_properties.contract_multiplier
        return float(security.get_exercise_quantity(self.quantity) * self.price / multiplier)


def worse_limit_value(quantity: float, limit_price: float, price: float) -> float:
    """Quantity times the price LEAN reserves for a limit order: the higher for a sale, the lower for a purchase."""
    if quantity < 0:
        return quantity * max(limit_price, price)
    return quantity * min(limit_price, price) if quantity > 0 else 0.0


class LimitOrder(Order):
    """Fills at the limit or better."""

    type = OrderType.LIMIT
    limit_price: float = 0.0

    def _prices_text(self) -> str:
        return f" at limit {self._money(self.limit_price)}"

    @property
    def is_marketable(self) -> bool:
        """Whether the limit crossed the quote at submission."""
        data = self.order_submission_data
        if data is None:
            return False
        if self.direction == OrderDirection.BUY:
            return self.limit_price >= data.ask_price
        return self.direction == OrderDirection.SELL and self.limit_price <= data.bid_price

    def unit_value(self, security: PricedSecurity) -> float:
        """Quantity at the worse of limit and market."""
        return worse_limit_value(self.quantity, self.limit_price, security.price)

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over quantity, tag and limit price."""
        super().apply_update(request)
        if request.limit_price is not None:
            self.limit_price = float(request.limit_price)


class StopMarketOrder(Order):
    """Becomes a market order when the stop price is touched."""

    type = OrderType.STOP_MARKET
    stop_price: float = 0.0

    def _prices_text(self) -> str:
        return f" at stop {self._money(self.stop_price)}"

    def unit_value(self, security: PricedSecurity) -> float:
        """Quantity at the worse of stop and market."""
        return worse_limit_value(self.quantity, self.stop_price, security.price)

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over quantity, tag and stop price."""
        super().apply_update(request)
        if request.stop_price is not None:
            self.stop_price = float(request.stop_price)


class TrailingStopOrder(StopMarketOrder):
    """A stop that follows the market at a distance in dollars or as a fraction of the price."""

    type = OrderType.TRAILING_STOP
    trailing_amount: float = 0.0
    trailing_as_percentage: bool = False

    def get_default_tag(self) -> str:
        """The distance at which the stop follows."""
        return f"Trailing Amount: {self._distance_text()}"

    def _prices_text(self) -> str:
        return f"{super()._prices_text()}. Trailing amount: {self._distance_text()}"

    def _distance_text(self) -> str:
        """Dollars, or per cent with the digits of the fraction that was given."""
        if self.trailing_as_percentage:
            return f"{exact(self.trailing_amount) * 100}%"
        return f"{currency_sign(self.price_currency)}{decimal_text(self.trailing_amount)}"

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over quantity, tag, stop price and distance."""
        super().apply_update(request)
        if request.trailing_amount is not None:
            self.trailing_amount = float(request.trailing_amount)

    def stop_for(self, market: float, direction: OrderDirection | None = None) -> float:
        """Stop price at the order's distance from a market price."""
        distance = market * self.trailing_amount if self.trailing_as_percentage else self.trailing_amount
        buying = (self.direction if direction is None else direction) == OrderDirection.BUY
        return price_of(market + distance if buying else market - distance)

    def follow(self, market: float) -> bool:
        """Moves the stop after the market; whether it moved."""
        distance = market - self.stop_price if self.direction == OrderDirection.SELL else self.stop_price - market
        allowed = market * self.trailing_amount if self.trailing_as_percentage else self.trailing_amount
        if clean(distance) <= clean(allowed):
            return False
        self.stop_price = self.stop_for(market)
        return True


class StopLimitOrder(LimitOrder):
    """Becomes a limit order when the stop price is touched."""

    type = OrderType.STOP_LIMIT
    stop_price: float = 0.0
    stop_triggered: bool = False
    is_marketable = False

    def _prices_text(self) -> str:
        return f" at stop {self._money(self.stop_price)} limit {self._money(self.limit_price)}"

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over quantity, tag, stop and limit price."""
        super().apply_update(request)
        if request.stop_price is not None:
            self.stop_price = float(request.stop_price)


class LimitIfTouchedOrder(LimitOrder):
    """Becomes a limit order when the trigger price is touched from the other side."""

    type = OrderType.LIMIT_IF_TOUCHED
    trigger_price: float = 0.0
    trigger_touched: bool = False
    is_marketable = False

    def _prices_text(self) -> str:
        return f" at trigger {self._money(self.trigger_price)} limit {self._money(self.limit_price)}"

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over quantity, tag, trigger and limit price."""
        super().apply_update(request)
        if request.trigger_price is not None:
            self.trigger_price = float(request.trigger_price)


class ComboOrder(Order):
    """One leg of a combination; its quantity is its ratio times the quantity of the group."""

    _ratio: float = 0.0

    @property
    def quantity(self) -> float:
        """Signed contracts of this leg."""
        group = self.group_order_manager
        return self._ratio if group is None else clean(self._ratio * group.quantity)

    @quantity.setter
    def quantity(self, value: float) -> None:
        group = self.group_order_manager
        self._ratio = value if group is None else value / group.quantity

    def join(self, group: GroupOrderManager) -> None:
        """Ties the leg to its group, keeping the signed quantity it was made with."""
        quantity = self.quantity
        self.group_order_manager = group
        self.quantity = quantity

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over the tag; a quantity is the new quantity of the whole group."""
        if request.tag is not None:
            self.tag = request.tag
        if request.quantity is not None and self.group_order_manager is not None:
            self.group_order_manager.quantity = float(request.quantity)


class ComboMarketOrder(ComboOrder):
    """A leg of a combination sent at the market."""

    type = OrderType.COMBO_MARKET


class ComboLimitOrder(ComboOrder):
    """A leg of a combination with one net limit price for the group."""

    type = OrderType.COMBO_LIMIT

    def unit_value(self, security: PricedSecurity) -> float:
        """Leg quantity at the worse of GROUP limit and leg market, as LEAN computes it."""
        group = self.group_order_manager
        return worse_limit_value(self.quantity, 0.0 if group is None else group.limit_price, security.price)

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over the tag and the group's quantity and limit price."""
        super().apply_update(request)
        if request.limit_price is not None and self.group_order_manager is not None:
            self.group_order_manager.limit_price = float(request.limit_price)


class ComboLegLimitOrder(ComboOrder):
    """A leg of a combination with a limit price of its own."""

    type = OrderType.COMBO_LEG_LIMIT
    limit_price: float = 0.0

    def unit_value(self, security: PricedSecurity) -> float:
        """Quantity at the worse of the leg's limit and market."""
        return worse_limit_value(self.quantity, self.limit_price, security.price)

    def apply_update(self, request: UpdateOrderRequest) -> None:
        """Takes over tag, group quantity and the leg's limit price."""
        super().apply_update(request)
        if request.limit_price is not None:
            self.limit_price = float(request.limit_price)


_CLASSES: dict[OrderType, type[Order]] = {
    kind.type: kind
    for kind in (
        MarketOrder,
        LimitOrder,
        StopMarketOrder,
        StopLimitOrder,
        TrailingStopOrder,
        LimitIfTouchedOrder,
        MarketOnOpenOrder,
        MarketOnCloseOrder,
        OptionExerciseOrder,
        ComboMarketOrder,
        ComboLimitOrder,
        ComboLegLimitOrder,
    )
}
_PRICES = ("limit_price", "stop_price", "trigger_price", "trailing_amount", "trailing_as_percentage")


def create_order(request: SubmitOrderRequest) -> Order:
    """The order that a submit request asks for, status NEW (Order.CreateOrder)."""
    kind = _CLASSES[request.order_type]
    order = kind(request.symbol, request.quantity, request.time_ms, request.tag)
    if request.order_properties is not None:
        order.properties = request.order_properties
    for name in _PRICES:
        if hasattr(kind, name):
            setattr(order, name, getattr(request, name))
    group = request.group_order_manager
    if isinstance(order, ComboOrder) and group is not None:
        order.join(group)
        if order.type == OrderType.COMBO_LIMIT:
            group.limit_price = request.limit_price
    order.status = OrderStatus.NEW
    set_order_id(order, request.order_id)
    return order


def set_order_id(order: Order, order_id: int) -> None:
    """Names the order and enters it in its group."""
    order.id = order_id
    group = order.group_order_manager
    if group is not None and order_id not in group.order_ids:
        group.order_ids.append(order_id)


def group_orders(order: Order, find: Callable[[int], Order | None]) -> list[Order] | None:
    """All orders of the order's group by ascending id, itself alone without a group; None while one is missing."""
    group = order.group_order_manager
    if group is None:
        return [order]
    orders = [order]
    for other in group.order_ids:
        if other != order.id:
            found = find(other)
            if found is None:
                return None
            orders.append(found)
    return sorted(orders, key=lambda leg: leg.id) if len(orders) == group.count else None


def greatest_common_divisor(quantities: Iterable[int]) -> int:
    """Greatest common divisor of leg ratios, signs aside; 0 for none."""
    return math.gcd(*(abs(quantity) for quantity in quantities))

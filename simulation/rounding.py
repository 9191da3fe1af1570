"""Rounding of quantities to lots and of prices to ticks, half to even, each with its one warning per run."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from simulation.enums import OrderType, SecurityType
from simulation.orders import Order, decimal_text

_PRICE_FIELDS: dict[OrderType, tuple[tuple[str, str], ...]] = {
    OrderType.LIMIT: (("limit_price", "LimitPrice"),),
    OrderType.STOP_MARKET: (("stop_price", "StopPrice"),),
    OrderType.STOP_LIMIT: (("limit_price", "LimitPrice"), ("stop_price", "StopPrice")),
    OrderType.TRAILING_STOP: (("stop_price", "StopPrice"), ("trailing_amount", "TrailingAmount")),
    OrderType.LIMIT_IF_TOUCHED: (("limit_price", "LimitPrice"), ("trigger_price", "TriggerPrice")),
    OrderType.COMBO_LEG_LIMIT: (("limit_price", "LimitPrice"),),
}


def exact(value: float) -> Decimal:
    """The decimal number that a double stands for."""
    return Decimal(decimal_text(value))


def round_to_tick(price: float, tick: float) -> Decimal:
    """The multiple of the tick nearest to the price, ties to the even multiple (Math.Round on decimals)."""
    step = exact(tick)
    return (exact(price) / step).to_integral_value(ROUND_HALF_EVEN) * step


def minimum_price_variation(security: Any, reference_price: float) -> float:
    """Tick of a security at a price: sub-dollar stocks and index options depend on it (IndexOptionSymbolProperties)."""
    if security.type == SecurityType.EQUITY and reference_price < 1:
        return 0.0001
    if security.type == SecurityType.INDEX_OPTION:
        root = security.symbol.id.symbol
        below, above = {"VIXW": (0.01, 0.01), "VIX": (0.01, 0.05)}.get(root, (0.05, 0.1))
        return above if reference_price >= 3 else below
    return float(security.symbol_properties.minimum_price_variation)


class PriceRounding:
    """Rounds the orders of one run; the first change of a price and of a quantity is reported to the algorithm."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._warned_price = False
        self._warned_quantity = False

    def round_quantity(self, order: Order, security: Any) -> None:
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

    def round_prices(self, order: Order, security: Any, orders: list[Order] | None) -> None:
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

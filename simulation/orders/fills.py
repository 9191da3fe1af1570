"""Fill models: when and at what price a resting or market order fills, from the security's last real bars.

LEAN's rules (FillModel.cs, EquityFillModel.cs, FutureFillModel.cs; lean-facts 4.3 and 4.4). An algorithm may subclass
any model and override single methods (`limit_fill`, `combo_limit_fill`, `get_prices`, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from simulation.lean.clock import zone_of
from simulation.lean.dictionaries import LeanDictionary
from simulation.lean.enums import OrderDirection, OrderStatus, OrderType, Resolution, SecurityType, TickType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, price_of
from simulation.orders.fees import ChargedSecurity
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee
from simulation.orders.orders import (
    ComboLegLimitOrder,
    LimitIfTouchedOrder,
    LimitOrder,
    Order,
    StopLimitOrder,
    StopMarketOrder,
    TrailingStopOrder,
)

BEFORE_ANY_DATA = -(1 << 62)
_SPAN_MS = {
    Resolution.TICK: 0,
    Resolution.SECOND: 1_000,
    Resolution.MINUTE: 60_000,
    Resolution.HOUR: 3_600_000,
    Resolution.DAILY: 86_400_000,
}
_METHODS = {
    OrderType.MARKET: "market_fill",
    OrderType.LIMIT: "limit_fill",
    OrderType.STOP_MARKET: "stop_market_fill",
    OrderType.STOP_LIMIT: "stop_limit_fill",
    OrderType.TRAILING_STOP: "trailing_stop_fill",
    OrderType.LIMIT_IF_TOUCHED: "limit_if_touched_fill",
    OrderType.MARKET_ON_OPEN: "market_on_open_fill",
    OrderType.MARKET_ON_CLOSE: "market_on_close_fill",
    OrderType.COMBO_MARKET: "combo_market_fill",
    OrderType.COMBO_LIMIT: "combo_limit_fill",
    OrderType.COMBO_LEG_LIMIT: "combo_leg_limit_fill",
}
_GROUPED = (OrderType.COMBO_MARKET, OrderType.COMBO_LIMIT, OrderType.COMBO_LEG_LIMIT)


class FillSettings(Protocol):
    """The algorithm's settings, as fills look at them."""

    stale_price_time_span: timedelta


class FillModelParameters(Named):
    """What a fill model gets to see: the security, the order and, for a combination, every leg with its security."""

    def __init__(
        self,
        security: ChargedSecurity,
        order: Order,
        securities: Mapping[Order, ChargedSecurity],
        settings: FillSettings,
    ) -> None:
        self.security = security
        self.order = order
        self.securities_for_orders: LeanDictionary[ChargedSecurity] = LeanDictionary(dict(securities))
        self.stale_price_time_span: timedelta = getattr(settings, "stale_price_time_span", timedelta(hours=1))

    def legs(self) -> list[tuple[Order, ChargedSecurity]]:
        """Orders of the group with their securities, by order id."""
        pairs = [(pair.key, pair.value) for pair in self.securities_for_orders]
        return sorted(pairs, key=lambda pair: int(pair[0].id))


class Priced(Protocol):
    """What has four prices: a bar, or a security."""

    @property
    def open(self) -> float:
        """The first."""

    @property
    def high(self) -> float:
        """The highest."""

    @property
    def low(self) -> float:
        """The lowest."""

    @property
    def close(self) -> float:
        """The last."""


class Prices(Named):
    """The bar that an order is tried against: one side of a quote bar, or a trade bar; times are UTC milliseconds."""

    __slots__ = ("close", "current", "end_ms", "high", "low", "open", "start_ms")

    def __init__(self, start_ms: int, end_ms: int, bar: Priced) -> None:
        self.start_ms, self.end_ms = start_ms, end_ms
        self.open, self.high, self.low, self.close = bar.open, bar.high, bar.low, bar.close
        self.current = bar.close


def exchange_is_open(asset: ChargedSecurity, extended: bool) -> bool:
    """Whether the exchange is open, or was during the bar that has just ended (FillModel.IsExchangeOpen)."""
    local = asset.local_time
    if asset.exchange.hours.is_open(local, extended):
        return True
    bar = asset.get_last_data()
    if bar is None:
        return False
    end = bar.end_time
    on_bar = local.date() == end.date() if bar.end_ms - bar.start_ms > 3_600_000 else local <= end
    return bool(on_bar and asset.exchange.is_open_during_bar(bar.time, end, extended))


def trades_extended(asset: ChargedSecurity) -> bool:
    """Whether any of the algorithm's own subscriptions includes extended hours."""
    own = [config for config in asset.subscriptions if not config.internal]
    return any(config.extended for config in own or asset.subscriptions)


def _subscribes(asset: ChargedSecurity, kind: TickType) -> bool:
    return any(config.kind == kind for config in asset.subscriptions)


def invariant_time(moment: datetime) -> str:
    """A local time as LEAN prints it."""
    return f"{moment:%m/%d/%Y %H:%M:%S}"


def zone_name(asset: ChargedSecurity) -> str:
    """Name of the exchange's time zone."""
    return zone_of(asset.exchange.hours.time_zone).name


class FillModel(Named):
    """Base of fill models: immediate, complete fills from the last bar; no size, no partial fill."""

    def __init__(self) -> None:
        self.parameters: FillModelParameters | None = None

    def fill(self, parameters: FillModelParameters) -> list[OrderEvent]:
        """Events for the order (or its whole group): filled ones, unchanged ones, or none."""
        self.parameters = parameters
        order = parameters.order
        method = getattr(self, _METHODS[order.type])
        if order.type in _GROUPED:
            return list(method(order, parameters))
        return [method(parameters.security, order)]

    # ---------------------------------------------------------------- prices

    def get_prices(self, asset: ChargedSecurity, direction: OrderDirection) -> Prices:
        """Bid bar for a sale, ask bar for a purchase; without that side the last trade bar, else the cached price."""
        quote = asset.last_quote() if _subscribes(asset, TickType.QUOTE) else None
        if quote is not None and direction != OrderDirection.HOLD:
            side = quote.bid if direction == OrderDirection.SELL else quote.ask
            if side is not None:
                return Prices(quote.start_ms, quote.end_ms, side)
        trade = asset.last_trade() if _subscribes(asset, TickType.TRADE) else None
        if trade is not None and direction != OrderDirection.HOLD:
            return Prices(trade.start_ms, trade.end_ms, trade)
        last = asset.get_last_data()
        start, end = (BEFORE_ANY_DATA, BEFORE_ANY_DATA) if last is None else (last.start_ms, last.end_ms)
        prices = Prices(start, end, asset)
        prices.current = asset.price
        return prices

    def _new_event(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        return OrderEvent(order, asset._engine.utc_ms, OrderFee.ZERO)

    def _slip(self, asset: ChargedSecurity, order: Order) -> float:
        return float(asset.slippage_model.get_slippage_approximation(asset, order))

    def _stale_ms(self) -> int:
        span = timedelta(hours=1) if self.parameters is None else self.parameters.stale_price_time_span
        return int(span.total_seconds() * 1000)

    @staticmethod
    def _waits_for_bar(asset: ChargedSecurity) -> bool:
        """Whether all of the algorithm's data is hourly or daily (FillModel.ShouldWaitForFreshData)."""
        own = [config for config in asset.subscriptions if not config.internal]
        return bool(own) and all(config.resolution in (Resolution.HOUR, Resolution.DAILY) for config in own)

    def _waits_when_stale(self, asset: ChargedSecurity, data_ms: int, order_ms: int) -> bool:
        if self._waits_for_bar(asset):
            return True
        span = min((_SPAN_MS[config.resolution] for config in asset.subscriptions), default=0)
        return bool(span) and order_ms - data_ms > span

    # ---------------------------------------------------------------- single orders

    def market_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """At the far side's close while the regular market is open; old data of minute resolution waits."""
        return self._market(asset, order, False)

    def _market(self, asset: ChargedSecurity, order: Order, extended: bool) -> OrderEvent:
        event = self._new_event(asset, order)
        if order.status == OrderStatus.CANCELED or not exchange_is_open(asset, extended):
            return event
        prices = self.get_prices(asset, order.direction)
        if prices.end_ms + self._stale_ms() < order.time_ms:
            if self._waits_when_stale(asset, prices.end_ms, order.time_ms):
                return event
            when = invariant_time(zone_of(asset.exchange.hours.time_zone).local(prices.end_ms))
            event.message = f"Warning: fill at stale price ({when} {zone_name(asset)})"
        opens_later = prices.open and self._waits_for_bar(asset) and order.time_ms <= prices.start_ms
        price = prices.open if opens_later else prices.current
        return self._filled(event, order, self._slipped(asset, order, price))

    def _slipped(self, asset: ChargedSecurity, order: Order, price: float) -> float:
        slip = self._slip(asset, order)
        return price_of(price + slip if order.direction == OrderDirection.BUY else price - slip)

    @staticmethod
    def _filled(event: OrderEvent, order: Order, price: float) -> OrderEvent:
        event.status, event.fill_price, event.fill_quantity = OrderStatus.FILLED, price_of(price), order.quantity
        return event

    def _fresh_prices(self, asset: ChargedSecurity, order: Order, extended: bool) -> Prices | None:
        """Prices for an order that rests: the market open and the bar younger than the order."""
        if order.status == OrderStatus.CANCELED or not exchange_is_open(asset, extended):
            return None
        prices = self.get_prices(asset, order.direction)
        return prices if prices.end_ms > order.time_ms else None

    def limit_fill(self, asset: ChargedSecurity, order: LimitOrder) -> OrderEvent:
        """When the bar goes through the limit: at the limit, or better when the whole bar is better."""
        return self._limit(asset, order)

    def _limit(self, asset: ChargedSecurity, order: LimitOrder | ComboLegLimitOrder) -> OrderEvent:
        event = self._new_event(asset, order)
        prices = self._fresh_prices(asset, order, trades_extended(asset))
        if prices is None:
            return event
        limit = order.limit_price
        if order.direction == OrderDirection.BUY and prices.low < limit:
            return self._filled(event, order, min(prices.high, limit))
        if order.direction == OrderDirection.SELL and prices.high > limit:
            return self._filled(event, order, max(prices.low, limit))
        return event

    def stop_market_fill(self, asset: ChargedSecurity, order: StopMarketOrder) -> OrderEvent:
        """When the bar goes through the stop: at the stop or, when worse, at the close."""
        return self._stop(asset, order, False)

    def _stop(self, asset: ChargedSecurity, order: StopMarketOrder, extended: bool) -> OrderEvent:
        event = self._new_event(asset, order)
        prices = self._fresh_prices(asset, order, extended)
        if prices is None:
            return event
        slip, stop = self._slip(asset, order), order.stop_price
        if order.direction == OrderDirection.SELL and prices.low < stop:
            return self._filled(event, order, min(stop, prices.current - slip))
        if order.direction == OrderDirection.BUY and prices.high > stop:
            return self._filled(event, order, max(stop, prices.current + slip))
        return event

    def trailing_stop_fill(self, asset: ChargedSecurity, order: TrailingStopOrder) -> OrderEvent:
        """As a stop (touching is enough); a bar that does not fill may move the stop after its best price."""
        event = self._new_event(asset, order)
        prices = self._fresh_prices(asset, order, False)
        if prices is None:
            return event
        slip, stop = self._slip(asset, order), order.stop_price
        if order.direction == OrderDirection.SELL and prices.low <= stop:
            return self._filled(event, order, min(stop, prices.current - slip))
        if order.direction == OrderDirection.BUY and prices.high >= stop:
            return self._filled(event, order, max(stop, prices.current + slip))
        order.follow(prices.high if order.direction == OrderDirection.SELL else prices.low)
        return event

    def stop_limit_fill(self, asset: ChargedSecurity, order: StopLimitOrder) -> OrderEvent:
        """After the stop was passed once, when the close is better than the limit."""
        event = self._new_event(asset, order)
        prices = self._fresh_prices(asset, order, trades_extended(asset))
        if prices is None:
            return event
        buying = order.direction == OrderDirection.BUY
        if prices.high > order.stop_price if buying else prices.low < order.stop_price:
            order.stop_triggered = True
        if not order.stop_triggered:
            return event
        if buying and prices.current < order.limit_price:
            return self._filled(event, order, min(prices.high, order.limit_price))
        if not buying and prices.current > order.limit_price:
            return self._filled(event, order, max(prices.low, order.limit_price))
        return event

    def limit_if_touched_fill(self, asset: ChargedSecurity, order: LimitIfTouchedOrder) -> OrderEvent:
        """After a trade touched the trigger, at the limit when the near side of the quote allows it."""
        event = self._new_event(asset, order)
        if order.status == OrderStatus.CANCELED or not exchange_is_open(asset, trades_extended(asset)):
            return event
        trade = asset.last_trade() if _subscribes(asset, TickType.TRADE) else None
        if trade is None or trade.end_ms <= order.time_ms:
            return event
        buying = order.direction == OrderDirection.BUY
        if trade.low <= order.trigger_price if buying else trade.high >= order.trigger_price:
            order.trigger_touched = True
        if order.trigger_touched:
            price = self._side_close(asset, not buying)
            if price <= order.limit_price if buying else price >= order.limit_price:
                return self._filled(event, order, order.limit_price)
        return event

    @staticmethod
    def _side_close(asset: ChargedSecurity, ask: bool) -> float:
        quote = asset.last_quote()
        if quote is not None:
            side = quote.ask if ask else quote.bid
            return float(quote.close if side is None else side.close)
        trade = asset.last_trade()
        if trade is None:
            side_name = "ask" if ask else "bid"
            text = f"Cannot get {side_name} price to perform fill for {asset.symbol} because no market data was found."
            raise ValueError(text)
        return float(trade.close)

    def market_on_open_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """At the open of the first bar of the next regular session."""
        event = self._new_event(asset, order)
        last = asset.get_last_data()
        sent = zone_of(asset.exchange.hours.time_zone).local(order.time_ms)
        if order.status == OrderStatus.CANCELED or last is None or sent >= last.end_time:
            return event
        if asset.exchange.date_time_is_open(sent) and sent.date() == asset.local_time.date():
            return event
        if not exchange_is_open(asset, False):
            return event
        return self._filled(event, order, self._slipped(asset, order, self.get_prices(asset, order.direction).open))

    def market_on_close_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """At the close of the bar in which the regular session of the order ends."""
        event = self._new_event(asset, order)
        if order.status == OrderStatus.CANCELED or not self._session_over(asset, order):
            return event
        return self._filled(event, order, self._slipped(asset, order, self.get_prices(asset, order.direction).close))

    @staticmethod
    def _session_over(asset: ChargedSecurity, order: Order) -> bool:
        hours = asset.exchange.hours
        sent = zone_of(hours.time_zone).local(order.time_ms)
        return bool(asset.local_time >= hours.get_next_market_close(sent, False))

    # ---------------------------------------------------------------- combinations

    def combo_market_fill(self, order: Order, parameters: FillModelParameters) -> list[OrderEvent]:
        """Every leg as a market order; nothing unless all can."""
        fills = [self._market(security, leg, False) for leg, security in parameters.legs()]
        return fills if all(fill.status == OrderStatus.FILLED for fill in fills) else []

    def combo_limit_fill(self, order: Order, parameters: FillModelParameters) -> list[OrderEvent]:
        """All legs at the low (group bought) or high (group sold) of their sides, when the sum beats the limit.

        The sum counts ratio times price, a stock leg per hundred shares; a leg whose bar ended before the order was
        sent blocks the group; opening hours are not looked at (FillModel.cs:161).
        """
        group = order.group_order_manager
        if group is None:
            return list[OrderEvent]()
        buying = group.direction == OrderDirection.BUY
        total, chosen = 0.0, []
        for leg, security in parameters.legs():
            prices = self.get_prices(security, leg.direction)
            if prices.end_ms < leg.time_ms:
                return list[OrderEvent]()
            price = prices.low if buying else prices.high
            ratio = leg.quantity / group.quantity
            total += price * (ratio / 100 if security.type == SecurityType.EQUITY else ratio)
            chosen.append((leg, security, price))
        total = clean(total)
        if not (total < group.limit_price if buying else total > group.limit_price):
            return list[OrderEvent]()
        return [self._filled(self._new_event(security, leg), leg, price) for leg, security, price in chosen]

    def combo_leg_limit_fill(self, order: Order, parameters: FillModelParameters) -> list[OrderEvent]:
        """Every leg as a limit order of its own; nothing unless all can in the same pass."""
        pairs = parameters.legs()
        fills = [self._limit(security, leg) for leg, security in pairs if isinstance(leg, ComboLegLimitOrder)]
        return fills if all(fill.status == OrderStatus.FILLED for fill in fills) else []


class ImmediateFillModel(FillModel):
    """LEAN's default for options and indices."""


class FutureFillModel(ImmediateFillModel):
    """Market and stop orders also fill in extended hours."""

    def market_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """As the base, extended hours included."""
        return self._market(asset, order, True)

    def stop_market_fill(self, asset: ChargedSecurity, order: StopMarketOrder) -> OrderEvent:
        """As the base, in extended hours when they are subscribed."""
        return self._stop(asset, order, trades_extended(asset))


class FutureOptionFillModel(FutureFillModel):
    """The same for options on futures."""


class LatestPriceFillModel(ImmediateFillModel):
    """Fills at the newest of quote and trade."""

    def get_prices(self, asset: ChargedSecurity, direction: OrderDirection) -> Prices:
        """The newer of the last quote side and the last trade bar."""
        prices = super().get_prices(asset, direction)
        trade = asset.last_trade()
        if trade is not None and trade.end_ms > prices.end_ms:
            return Prices(trade.start_ms, trade.end_ms, trade)
        return prices

"""The fill model of shares: trade bars decide whether a resting order fills, quotes price market orders."""

from __future__ import annotations

from simulation.lean.bars import TradeBar
from simulation.lean.clock import zone_of
from simulation.lean.enums import OrderDirection, OrderStatus, TickType
from simulation.lean.numbers import clean, decimal_text
from simulation.orders.fees import ChargedSecurity
from simulation.orders.fills import FillModel, exchange_is_open, invariant_time, trades_extended, zone_name
from simulation.orders.order_event import OrderEvent
from simulation.orders.orders import LimitIfTouchedOrder, LimitOrder, Order, StopMarketOrder


class EquityFillModel(FillModel):
    """LEAN's default for shares and funds (EquityFillModel.cs)."""

    def market_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """At the far side of the quote, else at the last trade."""
        event = self._new_event(asset, order)
        if order.status == OrderStatus.CANCELED or not exchange_is_open(asset, False):
            return event
        price, message, stale_ms = self._best_effort(asset, order, order.direction == OrderDirection.BUY)
        if stale_ms is not None and self._waits_when_stale(asset, stale_ms, order.time_ms):
            return event
        event.message = message
        return self._filled(event, order, self._slipped(asset, order, price))

    def _best_effort(self, asset: ChargedSecurity, order: Order, ask: bool) -> tuple[float, str, int | None]:
        """Price, message, and the age (UTC ms of the data) when everything known is older than the stale span."""
        cutoff = order.time_ms - self._stale_ms()
        kinds = {config.kind for config in asset.subscriptions if not config.internal}
        quote = asset.last_quote() if TickType.QUOTE in kinds else None
        trade = asset.last_trade() if TickType.TRADE in kinds else None
        best: tuple[float, str, int] | None = None
        if quote is not None:
            side = quote.ask if ask else quote.bid
            price = float(quote.close if side is None else side.close)
            if quote.end_ms >= cutoff:
                return price, "", None
            when = invariant_time(quote.end_time)
            best = (
                price,
                f"Warning: fill at stale price ({when} {zone_name(asset)}), using QuoteBar data.",
                quote.end_ms,
            )
        if trade is not None and (best is None or trade.end_ms > best[2]):
            when = invariant_time(trade.end_time)
            message = f"Warning: No quote information available at {when} {zone_name(asset)}, "
            message += "order filled using TradeBar data"
            if trade.end_ms >= cutoff:
                return float(trade.close), message, None
            best = (float(trade.close), message, trade.end_ms)
        if best is None:
            side_name = "ask" if ask else "bid"
            raise ValueError(
                f"Cannot get {side_name} price to perform fill for {asset.symbol} because no market data was found."
            )
        return best

    def _fresh_trade(self, asset: ChargedSecurity, order: Order, extended: bool) -> TradeBar | None:
        """The last trade bar when the market is open and the bar is younger than the order."""
        if order.status == OrderStatus.CANCELED or not exchange_is_open(asset, extended):
            return None
        trade = asset.last_trade()
        return trade if trade is not None and trade.end_ms > order.time_ms else None

    def _at_open(
        self, event: OrderEvent, order: Order, asset: ChargedSecurity, bar: TradeBar, price: float, favour: str
    ) -> OrderEvent:
        when = invariant_time(bar.end_time)
        article = "a" if favour == "favorable" else "an"
        event.message = (
            f"Due to {article} {favour} gap at {when} {zone_name(asset)}, order filled using the open price "
        )
        # Shares are stored in 1/10000 dollar, and LEAN's decimal prints all four places.
        written = f"{bar.open:.4f}"
        event.message += f"({written if clean(float(written) - bar.open) == 0 else decimal_text(bar.open)})"
        return self._filled(event, order, price)

    def limit_fill(self, asset: ChargedSecurity, order: LimitOrder) -> OrderEvent:
        """At the limit when a trade bar goes through it, at the bar's open when that is better already."""
        event = self._new_event(asset, order)
        bar = self._fresh_trade(asset, order, trades_extended(asset))
        if bar is None:
            return event
        limit = order.limit_price
        if order.direction == OrderDirection.BUY and bar.low < limit:
            if bar.open < limit:
                return self._at_open(event, order, asset, bar, bar.open, "favorable")
            return self._filled(event, order, limit)
        if order.direction == OrderDirection.SELL and bar.high > limit:
            if bar.open > limit:
                return self._at_open(event, order, asset, bar, bar.open, "favorable")
            return self._filled(event, order, limit)
        return event

    def stop_market_fill(self, asset: ChargedSecurity, order: StopMarketOrder) -> OrderEvent:
        """At the stop when a trade bar touches it, at the bar's open when that is worse already."""
        event = self._new_event(asset, order)
        bar = self._fresh_trade(asset, order, False)
        if bar is None:
            return event
        stop, slip = order.stop_price, self._slip(asset, order)
        if order.direction == OrderDirection.SELL and bar.low <= stop:
            if bar.open <= stop:
                return self._at_open(event, order, asset, bar, bar.open - slip, "unfavorable")
            return self._filled(event, order, stop - slip)
        if order.direction == OrderDirection.BUY and bar.high >= stop:
            if bar.open >= stop:
                return self._at_open(event, order, asset, bar, bar.open + slip, "unfavorable")
            return self._filled(event, order, stop + slip)
        return event

    def limit_if_touched_fill(self, asset: ChargedSecurity, order: LimitIfTouchedOrder) -> OrderEvent:
        """After a trade touched the trigger, at the far side of the quote when the limit allows it."""
        event = self._new_event(asset, order)
        bar = self._fresh_trade(asset, order, trades_extended(asset))
        if bar is None:
            return event
        buying = order.direction == OrderDirection.BUY
        if bar.low <= order.trigger_price if buying else bar.high >= order.trigger_price:
            order.trigger_touched = True
        if order.trigger_touched:
            price, message, _ = self._best_effort(asset, order, buying)
            if price <= order.limit_price if buying else price >= order.limit_price:
                event.message = message
                better = min(price, order.limit_price) if buying else max(price, order.limit_price)
                return self._filled(event, order, better)
        return event

    def market_on_open_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """At the open of the first trade bar of the next regular session."""
        event = self._new_event(asset, order)
        bar = asset.last_trade()
        if order.status == OrderStatus.CANCELED or bar is None:
            return event
        sent = zone_of(asset.exchange.hours.time_zone).local(order.time_ms)
        short_bar = bar.end_ms - bar.start_ms < 3_600_000
        if bar.time < sent or (short_bar and not asset.exchange.date_time_is_open(bar.time)):
            return event
        if asset.exchange.date_time_is_open(sent) and sent.date() == bar.end_time.date():
            return event
        if not exchange_is_open(asset, False):
            return event
        return self._filled(event, order, self._slipped(asset, order, bar.open))

    def market_on_close_fill(self, asset: ChargedSecurity, order: Order) -> OrderEvent:
        """At the close of the last trade bar once the session of the order is over."""
        event = self._new_event(asset, order)
        if order.status == OrderStatus.CANCELED or not self._session_over(asset, order):
            return event
        bar = asset.last_trade()
        if bar is not None:
            return self._filled(event, order, self._slipped(asset, order, bar.close))
        price, event.message, _ = self._best_effort(asset, order, order.direction == OrderDirection.BUY)
        return self._filled(event, order, self._slipped(asset, order, price))

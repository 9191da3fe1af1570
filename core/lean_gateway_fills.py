"""The project's fill assumption as a LEAN fill model, and the sides of a LEAN quote bar.

LEAN calls ``combo_limit_fill`` and ``limit_fill`` of a Python model for each resting order of a group at each look
(recordings p11, p14). Events whose status is the order's own change nothing: that is how "not yet" is said.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from AlgorithmImports import (
    ImmediateFillModel,
    OrderEvent,
    OrderFee,
    OrderStatus,
    QuoteBar,
    SecurityType,
)

from core.fills import CENT, FillRule, LegQuote


class PackageFillModel(ImmediateFillModel):
    """Combo limit orders as packages, single limit orders by the same rule; other kinds of orders as LEAN has them.

    Stale quotes do not fill, as in LEAN: a leg of a package needs a bar that ended when the order was sent or later, a
    single order a later one (FillModel.cs:171, 698). Beyond LEAN, a package fills only while its exchanges are open.
    """

    def __init__(self, rule: FillRule, clock: Callable[[], Any]) -> None:
        super().__init__()
        self._rule = rule
        self._clock = clock

    def combo_limit_fill(self, order: Any, parameters: Any) -> Any:
        """All legs at prices that add up to the package's, or events that change nothing."""
        pairs = sorted(parameters.securities_for_orders, key=lambda pair: int(pair.key.id))
        now = self._clock()
        events = [OrderEvent(pair.key, now, OrderFee.ZERO) for pair in pairs]
        group = order.group_order_manager
        count = abs(float(group.quantity))
        legs = []
        for pair in pairs:
            leg, security = pair.key, pair.value
            quote = self._quote(security, leg, round(float(leg.quantity) / count))
            if quote is None:
                return events
            legs.append(quote)
        cash = -float(group.limit_price) if float(group.quantity) > 0 else float(group.limit_price)
        prices = self._rule.fill(legs, cash, min(_step(pair.value) for pair in pairs))
        if prices is not None:
            for event, pair, price in zip(events, pairs, prices, strict=True):
                _fill(event, pair.key, price)
        return events

    def limit_fill(self, asset: Any, order: Any) -> Any:
        """A single option order, as a package of one leg."""
        event = OrderEvent(order, self._clock(), OrderFee.ZERO)
        ratio = 1 if float(order.quantity) > 0 else -1
        quote = self._quote(asset, order, ratio, later=True)
        if quote is not None and order.status != OrderStatus.CANCELED:
            prices = self._rule.fill([quote], -ratio * float(order.limit_price), _step(asset))
            if prices is not None:
                _fill(event, order, prices[0])
        return event

    def _quote(self, security: Any, order: Any, ratio: int, later: bool = False) -> LegQuote | None:
        """The leg's quote at the close of its last real bar; ``None`` where that is stale or its exchange is closed."""
        bar = security.cache.get_data(QuoteBar)
        if bar is None:
            return None
        local, ended = _plain(security.local_time), _plain(bar.end_time)
        ended_utc = ended + (_plain(self._clock()) - local)
        sent = _plain(order.time)
        if ended_utc < sent or (later and ended_utc <= sent):
            return None
        if local > ended and not security.exchange.hours.is_open(security.local_time, False):
            return None
        bid, ask = quote_sides(bar)
        return LegQuote(ratio, bid, ask)


def quote_sides(bar: Any) -> tuple[float | None, float | None]:
    """Closes of a quote bar's bid and offer; ``None`` for a side that is missing.

    Where data is filled forward LEAN completes a bar's missing side with the one before, its size staying 0
    (QuoteBarFillForwardEnumerator.cs:72-88): a side without size beside one with size is missing.
    """
    bid_size, ask_size = float(bar.last_bid_size), float(bar.last_ask_size)
    sized = bid_size > 0 or ask_size > 0
    bid = None if sized and bid_size <= 0 else _close(bar.bid)
    ask = None if sized and ask_size <= 0 else _close(bar.ask)
    return bid, ask


def _close(side: Any) -> float | None:
    """Close of one side of a quote bar; ``None`` where LEAN has no bar or a price of 0."""
    price = 0.0 if side is None else float(side.close)
    return price if price > 0 else None


def _step(security: Any) -> float:
    """What a leg may fill in: cents (exchanges take them for legs of a package), an option on a future its own tick."""
    if security.type == SecurityType.FUTURE_OPTION:
        return float(security.symbol_properties.minimum_price_variation)
    return CENT


def _fill(event: Any, order: Any, price: float) -> None:
    event.status, event.fill_price, event.fill_quantity = OrderStatus.FILLED, price, order.quantity


def _plain(moment: Any) -> datetime:
    """A plain datetime: LEAN's UTC times carry a zone in Python, its local ones none."""
    return datetime(
        moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond
    )

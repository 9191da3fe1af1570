"""LEAN's estimate of how much money a strategy can run: dollars traded in the market around its own fills.

Only kept in runs that write result files; the rules are those of CapacityEstimate.cs and SymbolCapacity.cs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from simulation.lean.bars import QuoteBar, TradeBar
from simulation.lean.clock import FOREVER, MINUTE_MS
from simulation.lean.enums import OrderStatus, Resolution, TickType
from simulation.lean.numbers import clean
from simulation.lean.symbols import Symbol
from simulation.securities.slices import Slice

DAY_MS = 1440 * MINUTE_MS
_FILLS = (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED)
_SHARES = {Resolution.DAILY: 0.02, Resolution.HOUR: 0.05, Resolution.MINUTE: 0.2}
_PERIODS = ((DAY_MS, Resolution.DAILY), (60 * MINUTE_MS, Resolution.HOUR), (MINUTE_MS, Resolution.MINUTE))
_REMEMBERED_MS = 30 * DAY_MS


class _SymbolCapacity:
    """What one symbol's market took in after each fill; dollars."""

    def __init__(self, security: Any) -> None:
        self.security = security
        self.trades = 0
        self.sales = 0.0
        self._market = 0.0
        self._share = 0.0
        self._discount = 0.0
        self._average = 0.0
        self._volume = 0.0
        self._last_ms: int | None = None
        self._fill_ms: int | None = None
        self._starts_anew = False

    @property
    def market(self) -> float:
        """Dollars of the market that count."""
        return self._market * self._share

    def note_fill(self, event: Any) -> None:
        """A fill; fills soon after one another count less of the market."""
        security = self.security
        rate = security.quote_currency.conversion_rate * security.symbol_properties.contract_multiplier
        self.sales += rate * event.fill_price * abs(event.fill_quantity)
        before = event.utc_ms - DAY_MS if self._fill_ms is None else self._fill_ms
        self._discount = min(1.0, max(0.2, 2 * (event.utc_ms - before) / MINUTE_MS / 390))
        if self._starts_anew:
            self._market, self.trades, self._starts_anew = 0.0, 0, False
        self.trades += 1
        self._fill_ms = event.utc_ms

    def see(self, bar: tuple[float, float, int] | None, now: int) -> bool:
        """Counts a bar's (close, volume, length); whether the time after the fill is over."""
        if bar is None or not bar[1]:
            return False
        close, volume, length = bar
        security = self.security
        dollars = close * security.quote_currency.conversion_rate
        minutes = (now - (now if self._last_ms is None else self._last_ms)) / MINUTE_MS
        self._average = dollars * (volume + self._volume) / minutes if minutes else dollars * volume
        self._last_ms, self._volume = now, volume
        resolution = next((kind for least, kind in _PERIODS if length >= least), Resolution.MINUTE)
        if not self._is_near(resolution, now):
            return True
        self._share = _SHARES[resolution]
        self._market += dollars * self._discount * volume * security.symbol_properties.contract_multiplier
        return False

    def _is_near(self, resolution: Resolution, now: int) -> bool:
        filled = self._fill_ms
        if filled is None:
            return False
        if resolution == Resolution.MINUTE:
            ratio = 6_000_000 / self._average if self._average else 10.0
            return now <= filled + (120 if ratio > 120 else int(max(1.0, ratio))) * MINUTE_MS
        step = next(least for least, kind in _PERIODS if kind == resolution)
        rounded = -(-filled // step) * step
        if resolution == Resolution.HOUR:
            return now == rounded
        return now == filled or now // DAY_MS * DAY_MS == rounded

    def reset(self) -> None:
        """A new period begins; what the market took stays until the next fill."""
        self._starts_anew, self.sales = True, 0.0

    def is_over(self, now: int) -> bool:
        """Whether the symbol is neither held nor traded lately."""
        return not self.security.invested and self._fill_ms is not None and now >= self._fill_ms + _REMEMBERED_MS


class CapacityEstimate:
    """Capacity in dollars, rounded to thousands, and the symbol that limits it."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._known: dict[Any, _SymbolCapacity] = {}
        self._watched: dict[Any, _SymbolCapacity] = {}
        self._events_read = 0
        self._capacity = 0.0
        self.lowest_asset: Any = None
        algorithm = engine.algorithm
        days = (algorithm.end_date - algorithm.start_date) / timedelta(days=1) - 1
        self._period_ms = max(min(days, 7.0), 1.0) * DAY_MS
        start: datetime = algorithm.start_date
        self._next_ms = start.replace(tzinfo=UTC).timestamp() * 1000 + self._period_ms

    @property
    def capacity(self) -> float:
        """Dollars, in whole thousands (halves away from zero)."""
        return math.floor(self._capacity / 1000 + 0.5) * 1000.0

    def update(self, force: bool = False) -> None:
        """Takes in the step's fills and bars; weighs anew when the period is over, or when forced."""
        engine = self._engine
        events = engine.order_events
        while self._events_read < len(events):
            event = events[self._events_read]
            self._events_read += 1
            if event.status in _FILLS:
                known = self._known.setdefault(event.symbol, _SymbolCapacity(engine.securities[event.symbol]))
                known.note_fill(event)
                self._watched[event.symbol] = known
        now = engine.utc_ms
        moment = engine.current_slice if self._watched else None
        if moment is not None:  # a contract that expired is watched for ever after
            for symbol in [one for one in self._watched if one in moment.snapshot]:
                if self._watched[symbol].see(_bar_of(moment, symbol), now):
                    del self._watched[symbol]
        if self._known and (force or now // DAY_MS * DAY_MS >= self._next_ms):
            self._weigh(now)

    def watches(self, snapshot: Mapping[Any, object]) -> bool:
        """Whether, with these symbols subscribed, the market around a fill is still watched, or fills wait to be
        read."""
        unread = self._events_read < len(self._engine.order_events)
        return unread or any(symbol in snapshot for symbol in self._watched)

    def quiet_until(self) -> int:
        """Until when `update` weighs nothing (UTC ms)."""
        return math.ceil(self._next_ms / DAY_MS) * DAY_MS if self._known else FOREVER

    def _weigh(self, now: int) -> None:
        value = self._engine.portfolio.total_portfolio_value
        if not value:
            return
        total = sum(known.sales for known in self._known.values())
        smallest = min(self._known.values(), key=lambda known: known.market)
        security = smallest.security
        self.lowest_asset = security.symbol
        used = security.buying_power_model.get_reserved_buying_power_for_position(_Position(security))
        held = used.absolute_used_buying_power * security.leverage / value
        scale = max(smallest.sales / total if total else total, held)
        capacity = smallest.market / smallest.trades / scale if scale else self._capacity
        self._capacity = clean(0.33 * capacity + 0.66 * self._capacity if self._capacity else capacity)
        for symbol, known in list(self._known.items()):
            if known.is_over(now):
                del self._known[symbol]
                self._watched.pop(symbol, None)
            else:
                known.reset()
        self._next_ms = now // DAY_MS * DAY_MS + self._period_ms


class _Position:
    """What a margin model wants to know whose position it is."""

    def __init__(self, security: Any) -> None:
        self.security = security


def _bar_of(moment: Slice, symbol: Symbol) -> tuple[float, float, int] | None:
    """Close, volume and length of what a slice holds of a symbol: its trades, else its quotes."""
    bar = moment.point(symbol, TickType.TRADE)
    if isinstance(bar, TradeBar):
        return bar.close, bar.volume, bar.end_ms - bar.start_ms
    quote = moment.point(symbol, TickType.QUOTE)
    if not isinstance(quote, QuoteBar):
        return None
    return quote.close, (quote.last_bid_size + quote.last_ask_size) / 2, quote.end_ms - quote.start_ms

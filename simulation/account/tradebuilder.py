"""Closed trades out of fills, per symbol (TradeBuilder.cs)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from simulation.lean.clock import utc_datetime
from simulation.lean.enums import (
    FillGroupingMethod,
    FillMatchingMethod,
    OrderDirection,
    OrderType,
    SecurityType,
    TradeDirection,
)
from simulation.lean.names import Named
from simulation.lean.numbers import clean
from simulation.lean.symbols import Symbol
from simulation.orders.order_event import OrderEvent
from simulation.orders.parties import TradedSecurity
from simulation.securities.derivatives import SecurityManager
from simulation.securities.paths import PricePath, Prices

_NEVER = -1
_NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")


@dataclass
class Trade(Named):
    """One entry with its exit; profit and excursions in dollars, fees a positive cost, times UTC."""

    symbol: Symbol
    entry_ms: int
    entry_price: float
    direction: TradeDirection
    quantity: float
    total_fees: float
    order_ids: list[int]
    exit_ms: int = 0
    exit_price: float = 0.0
    profit_loss: float = 0.0
    mae: float = 0.0
    mfe: float = 0.0
    end_trade_drawdown: float = 0.0
    is_win: bool = False
    id: str = ""
    best: float = 0.0
    fall: float = 0.0

    @property
    def symbols(self) -> list[Symbol]:
        """LEAN's list of the one symbol."""
        return [self.symbol]

    @property
    def entry_time(self) -> datetime:
        """UTC time of the entry."""
        return utc_datetime(self.entry_ms)

    @property
    def exit_time(self) -> datetime:
        """UTC time of the exit."""
        return utc_datetime(self.exit_ms)

    @property
    def duration(self) -> timedelta:
        """Time from entry to exit."""
        return self.exit_time - self.entry_time

    def see(self, price: float) -> None:
        """Follows the profit per unit: its best value, and the largest fall from it."""
        profit = (price - self.entry_price) * self.sign
        if profit < self.best:
            self.fall = max(self.fall, self.best - profit)
        else:
            self.best = profit

    def see_all(self, prices: Prices) -> None:
        """The same of prices one after another."""
        profits = (prices - self.entry_price) * self.sign
        best = np.maximum.accumulate(np.concatenate([[self.best], profits]))
        self.best, self.fall = best[-1].item(), max(self.fall, (best[1:] - profits).max().item())

    @property
    def sign(self) -> int:
        """1 for a long trade, -1 for a short one."""
        return 1 if self.direction == TradeDirection.LONG else -1


@dataclass
class _Position:
    """Open trades of a symbol (fill to fill) or its open fills (the other groupings)."""

    trades: list[Trade] = field(default_factory=list)
    fills: list[tuple[OrderEvent, float]] = field(default_factory=list)
    fees: float = 0.0
    highest: float = 0.0
    lowest: float = 0.0
    seen: float | None = None  # the last price, which changes nothing when it is seen again

    def see(self, price: float) -> None:
        """Widens the range of prices seen while the position was open."""
        self.seen = price
        if price > self.highest:
            self.highest = price
        elif price < self.lowest:
            self.lowest = price
        for trade in self.trades:
            trade.see(price)

    def see_all(self, prices: Prices) -> None:
        """The same of prices one after another, none of them zero."""
        if not len(prices):
            return
        self.seen = prices[-1].item()
        self.highest, self.lowest = max(self.highest, prices.max().item()), min(self.lowest, prices.min().item())
        for trade in self.trades:
            trade.see_all(prices)


class TradeBuilder(Named):
    """Fill to fill and first in first out unless set otherwise (`algorithm.set_trade_builder`)."""

    def __init__(
        self,
        grouping: FillGroupingMethod = FillGroupingMethod.FILL_TO_FILL,
        matching: FillMatchingMethod = FillMatchingMethod.FIFO,
    ) -> None:
        self._grouping = grouping
        self._last_in_first_out = matching == FillMatchingMethod.LIFO
        self._positions: dict[Symbol, _Position] = {}
        self._charged: set[int] = set()
        self.closed_trades: list[Trade] = []
        self._waiting: list[int] = []
        self._followed: list[tuple[_Position, PricePath, bool]] = []
        self._until, self._broken = _NEVER, 0

    def has_open_position(self, symbol: Symbol) -> bool:
        """Whether fills of the symbol wait for their exit."""
        position = self._positions.get(symbol)
        return position is not None and bool(position.trades or position.fills)

    @property
    def is_open(self) -> bool:
        """Whether fills of any symbol wait for their exit."""
        return bool(self._positions)

    def see_prices(self, securities: SecurityManager, ms: int) -> None:
        """New market prices for the excursions of open trades, as of an instant in UTC milliseconds.

        LEAN looks after each of a step's data, trades before quotes: where a minute has both, the trade's close is an
        option's price before the quote's middle is (AlgorithmManager.cs:265, SecurityCache.cs:209). Where every open
        trade's security has a path, the instants wait until a fill or another day, and are then looked at together.
        """
        if not self._positions:
            return
        if ms > self._until or securities.broken_paths != self._broken:
            self._catch_up()
            self._plan(securities, ms)
        if self._followed:
            self._waiting.append(ms)
        else:
            self._see_now(securities, ms)

    def follow(self, securities: SecurityManager, instants: list[int]) -> bool:
        """The same as of many instants, where they can wait; false, with nothing noted, where they cannot."""
        if not self._positions:
            return True
        if not self._followed or instants[-1] > self._until or securities.broken_paths != self._broken:
            return False
        self._waiting += instants
        return True

    def _plan(self, securities: SecurityManager, ms: int) -> None:
        """Notes the path of each open position's security, and until when they all reach; without one of them none."""
        followed: list[tuple[_Position, PricePath, bool]] = []
        until = ms  # without paths it is asked again at the next instant
        for symbol, position in self._positions.items():
            path = securities[symbol].price_path(ms)
            if path is None:
                followed = []
                break
            followed.append((position, path, symbol.security_type != SecurityType.EQUITY))
        else:
            until = min(path.high for _, path, _ in followed)
        self._followed, self._until, self._broken = followed, until, securities.broken_paths

    def _catch_up(self) -> None:
        """Looks at the instants that wait."""
        if self._waiting:
            times = np.array(self._waiting, dtype=np.int64)
            self._waiting.clear()
            for position, path, with_trades in self._followed:
                position.see_all(path.seen(times, with_trades))

    def _see_now(self, securities: SecurityManager, ms: int) -> None:
        for symbol, position in self._positions.items():
            security = securities[symbol]
            trade = None if symbol.security_type == SecurityType.EQUITY else security.trade_close()
            if trade is not None and trade[0] == ms and trade[1]:
                position.see(trade[1])
            price = security.price
            if price and price != position.seen:
                position.see(price)

    def book_fill(self, fill: OrderEvent, security: TradedSecurity) -> None:
        """Books a fill; the fee of an order counts once."""
        self._catch_up()
        self._until = _NEVER  # other trades are open from now on
        fee = 0.0
        if fill.order_id not in self._charged:
            self._charged.add(fill.order_id)
            fee = fill.order_fee.value.amount
        factor = security.quote_currency.conversion_rate * security.symbol_properties.contract_multiplier
        if self._grouping == FillGroupingMethod.FILL_TO_FILL:
            self._fill_to_fill(fill, fee, factor, security)
        else:
            self._flat(fill, fee, factor, security)

    def _open(self, fill: OrderEvent, quantity: float, fee: float) -> Trade:
        direction = TradeDirection.LONG if quantity > 0 else TradeDirection.SHORT
        return Trade(fill.symbol, fill.utc_ms, fill.fill_price, direction, abs(quantity), fee, [fill.order_id])

    def _fill_to_fill(self, fill: OrderEvent, fee: float, factor: float, security: TradedSecurity) -> None:
        position = self._positions.get(fill.symbol)
        if position is None or not position.trades:
            trade = self._open(fill, fill.fill_quantity, fee)
            price = fill.fill_price
            self._positions[fill.symbol] = _Position([trade], highest=price, lowest=price)
            return
        position.see(fill.fill_price)
        index = len(position.trades) - 1 if self._last_in_first_out else 0
        if (fill.fill_quantity > 0) == (position.trades[index].sign > 0):
            position.seen = None
            position.trades.append(self._open(fill, fill.fill_quantity, fee))
            return
        left = fill.absolute_fill_quantity
        while position.trades and left > 0:
            index = len(position.trades) - 1 if self._last_in_first_out else 0
            trade = position.trades[index]
            closed = min(left, trade.quantity)
            left = clean(left - closed)
            if closed >= trade.quantity:
                position.trades.pop(index)
                done = trade
            else:
                done = Trade(
                    trade.symbol, trade.entry_ms, trade.entry_price, trade.direction, closed, trade.total_fees, []
                )
                done.order_ids, done.best, done.fall = list(trade.order_ids), trade.best, trade.fall
                trade.quantity = clean(trade.quantity - closed)
                trade.total_fees = 0.0
            done.total_fees = clean(done.total_fees + fee)
            fee = 0.0
            self._close(done, fill, position, factor, security)
        if left > 0:
            opened = self._open(fill, left if fill.fill_quantity > 0 else -left, 0.0)
            price = fill.fill_price
            self._positions[fill.symbol] = _Position([opened], highest=price, lowest=price)
        elif not position.trades:
            del self._positions[fill.symbol]

    def _close(
        self, trade: Trade, fill: OrderEvent, position: _Position, factor: float, security: TradedSecurity
    ) -> None:
        units = trade.quantity * factor
        worst, best = (position.lowest, position.highest) if trade.sign > 0 else (position.highest, position.lowest)
        trade.exit_ms, trade.exit_price = fill.utc_ms, fill.fill_price
        trade.profit_loss = round(clean((trade.exit_price - trade.entry_price) * trade.sign * units), 2)
        trade.mae = round(clean((worst - trade.entry_price) * trade.sign * units), 2)
        trade.mfe = round(clean((best - trade.entry_price) * trade.sign * units), 2)
        trade.end_trade_drawdown = round(clean(trade.fall * units), 2)
        if fill.order_id not in trade.order_ids:
            trade.order_ids.append(fill.order_id)
        self._finish(trade, fill, security)

    def _finish(self, trade: Trade, fill: OrderEvent, security: TradedSecurity) -> None:
        trade.is_win = is_win(fill, security, trade.profit_loss)
        # LEAN draws a random id; ours names the trade and is the same in every run
        trade.id = str(uuid.uuid5(_NAMESPACE, f"{len(self.closed_trades)} {trade.symbol} {trade.order_ids}"))
        self.closed_trades.append(trade)

    def _flat(self, fill: OrderEvent, fee: float, factor: float, security: TradedSecurity) -> None:
        """Flat to flat, and flat to reduced: entries averaged, one trade per return to flat or per reduction."""
        position = self._positions.get(fill.symbol)
        if position is None or not position.fills:
            price = fill.fill_price
            made = _Position(fills=[(fill, fill.fill_quantity)], fees=fee, highest=price, lowest=price)
            self._positions[fill.symbol] = made
            return
        position.see(fill.fill_price)
        position.fees = clean(position.fees + fee)
        held = clean(sum(quantity for _, quantity in position.fills))
        flat_only = self._grouping == FillGroupingMethod.FLAT_TO_FLAT
        if (fill.fill_quantity > 0) == (position.fills[0][1] > 0) or (
            flat_only and fill.absolute_fill_quantity < abs(held)
        ):
            position.fills.append((fill, fill.fill_quantity))
            return
        closed = abs(held) if flat_only else min(abs(held), fill.absolute_fill_quantity)
        self._reduce(position, fill, closed, factor, security)
        turned = clean(held + fill.fill_quantity)
        if not turned:
            del self._positions[fill.symbol]
        elif (turned > 0) != (held > 0):
            price = fill.fill_price
            self._positions[fill.symbol] = _Position(fills=[(fill, turned)], highest=price, lowest=price)

    def _reduce(
        self, position: _Position, fill: OrderEvent, closed: float, factor: float, security: TradedSecurity
    ) -> None:
        entries = [(event, quantity) for event, quantity in position.fills if quantity * position.fills[0][1] > 0]
        exits = [(event, quantity) for event, quantity in position.fills if quantity * position.fills[0][1] < 0]
        if self._grouping == FillGroupingMethod.FLAT_TO_FLAT:
            exits.append((fill, fill.fill_quantity))
            used, kept = entries, entries[:0]
        else:
            exits = [(fill, fill.fill_quantity)]
            used, kept = _take(entries, closed, self._last_in_first_out)
        quantity = clean(sum(q for _, q in used))
        entry = sum(e.fill_price * q for e, q in used) / quantity
        out = sum(e.fill_price * q for e, q in exits) / sum(q for _, q in exits)
        trade = self._open(used[0][0], quantity, position.fees)
        trade.entry_price = clean(entry)
        trade.order_ids = sorted({e.order_id for e, _ in used} | {e.order_id for e, _ in exits})
        trade.exit_ms, trade.exit_price = fill.utc_ms, clean(out)
        trade.profit_loss = round(clean((out - entry) * trade.sign * trade.quantity * factor), 2)
        self._finish(trade, fill, security)
        position.fills, position.fees = kept, 0.0


def _take(
    entries: list[tuple[OrderEvent, float]], amount: float, from_end: bool
) -> tuple[list[tuple[OrderEvent, float]], list[tuple[OrderEvent, float]]]:
    """Splits entries into the part that closes and the part that stays."""
    ordered = list(reversed(entries)) if from_end else list(entries)
    used: list[tuple[OrderEvent, float]] = []
    kept: list[tuple[OrderEvent, float]] = []
    for event, quantity in ordered:
        part = min(abs(quantity), amount)
        amount = clean(amount - part)
        sign = 1 if quantity > 0 else -1
        if part > 0:
            used.append((event, part * sign))
        if part < abs(quantity):
            kept.append((event, clean(quantity - part * sign)))
    return used, list(reversed(kept)) if from_end else kept


def is_win(fill: OrderEvent, security: TradedSecurity, profit: float) -> bool:
    """Whether a closing fill won; an exercise is judged by its in-the-money amount too (Extensions.IsWin)."""
    ticket = fill.ticket
    if not security.is_option or ticket is None or ticket.order_type != OrderType.OPTION_EXERCISE:
        return profit > 0
    amount = security.holdings.quantity_value(
        fill.absolute_fill_quantity, security.get_pay_off(security.underlying.price)
    )
    if fill.direction == OrderDirection.SELL:
        return fill.is_in_the_money and abs(profit) < amount
    return not fill.is_in_the_money or abs(profit) > amount

"""Shares that an assignment or an exercise left: closed at the next open, at a limit that walks until it is done.

Methodology, section 6: accept the assignment, close the resulting shares at the next open. The limit starts at the
price of the minute and goes ``orders.shares_step`` further through it each minute, always from the newest price, still
a limit order; it is never given up, for shares have no expiry that would end the risk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.book import Book, ShareHolding
from core.bus import EventBus
from core.events import FillStatus, MinutePassed, OrderUpdated
from core.gateway import Gateway, OrderRefusedError
from core.journal import Journal, RecordKind
from core.settings.fields import OrderSettings
from execution.tracker import PositionTracker
from state.manager import HierarchicalStateManager
from state.tables import SystemState

TAG = "assigned shares"
_NOT_YET = (SystemState.STARTING, SystemState.RECOVERING)


@dataclass(slots=True)
class _Working:
    """One order at the broker: its number, how far it walked, and at which price it stands."""

    order_id: int
    step: int
    price: float


class ShareSeller:
    """Sends, walks and follows the orders that close assigned shares, one a ticker."""

    def __init__(
        self,
        bus: EventBus,
        gateway: Gateway,
        book: Book,
        tracker: PositionTracker,
        journal: Journal,
        state: HierarchicalStateManager,
        settings: OrderSettings,
    ) -> None:
        self._gateway = gateway
        self._book = book
        self._tracker = tracker
        self._journal = journal
        self._state = state
        self._step = settings.shares_step
        self._orders: dict[str, _Working] = {}
        self._refused: dict[str, str] = {}
        bus.subscribe(MinutePassed, self._on_minute, component="shares", critical=True)
        bus.subscribe(OrderUpdated, self._on_order, component="shares", critical=True)

    def _on_minute(self, _event: MinutePassed) -> None:
        if self._book.doubted or self._state.system in _NOT_YET:
            return
        for ticker, holding in sorted(self._book.shares.items()):
            tick = self._gateway.tick(ticker)
            if tick is None or tick.price <= 0:
                continue
            working = self._orders.get(ticker) or self._adopt(ticker)
            if working is None:
                self._send(ticker, holding, tick.price)
            else:
                self._walk(ticker, working, tick.price, holding)

    def _adopt(self, ticker: str) -> _Working | None:
        """An order that the process before sent still works."""
        for row in self._gateway.open_orders():
            if row.name == ticker and row.tag == TAG:
                self._orders[ticker] = found = _Working(row.order_id, 0, 0.0)
                self._tracker.share_orders.add(row.order_id)
                return found
        return None

    def _send(self, ticker: str, holding: ShareHolding, price: float) -> None:
        held = {row.name: row.quantity for row in self._gateway.holdings()}.get(ticker, 0.0)
        if abs(held) < abs(holding.quantity) or held * holding.quantity < 0:
            kept = min(abs(held), abs(holding.quantity)) if held * holding.quantity > 0 else 0.0
            self._tracker.correct_shares(ticker, math.copysign(kept, holding.quantity))
        quantity = round(self._book.shares[ticker].quantity) if ticker in self._book.shares else 0
        if not quantity:
            return
        try:
            order_id = self._gateway.send_shares(ticker, -quantity, price, TAG)
        except OrderRefusedError as error:
            if self._refused.get(ticker) != str(error):  # told once, tried again each minute
                self._record(ticker, "rejected", -quantity, price, str(error))
            self._refused[ticker] = str(error)
            return
        self._orders[ticker] = _Working(order_id, 0, price)
        self._tracker.share_orders.add(order_id)
        self._record(ticker, "sent", -quantity, price, "closed at the open after an assignment")

    def _walk(self, ticker: str, working: _Working, price: float, holding: ShareHolding) -> None:
        working.step += 1
        limit = round(price * (1 - math.copysign(self._step * working.step, holding.quantity)), 2)
        if abs(limit - working.price) >= 0.005 and self._gateway.reprice_shares(working.order_id, limit, TAG):
            working.price = limit
            self._record(ticker, "repriced", -round(holding.quantity), limit, "the walk goes on")

    def _on_order(self, event: OrderUpdated) -> None:
        working = self._orders.get(event.contract)
        if working is None or working.order_id != event.order_id:
            return
        if event.status in (FillStatus.FILLED, FillStatus.CANCELLED, FillStatus.REJECTED):
            del self._orders[event.contract]

    def _record(self, ticker: str, action: str, quantity: float, price: float, reason: str) -> None:
        self._journal.record(
            RecordKind.ORDER,
            component="shares",
            reason=reason,
            group=TAG,
            position=f"shares {ticker}",
            strategy="assigned_shares",
            action=action,
            contracts=int(quantity),
            limit_cash=price,
            legs=[],
        )

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it before the market opens."""
        return ()

"""Trades and account must agree to the cent: starting cash + trades + cash of open parts + shares + interest = cash.

Fees are in each of the terms. Worked out at every session's close and at the end, from what the gateway says of the
account and what the book says of everything else, so it is the same on every engine. In a backtest a difference is an
error of this program: it is told with its size, and nothing opens any more. Live, money also moves by other hands
(deposits, dividends, the broker's interest): a move that no trade explains is told once, and is no error.

Shares that an assignment or an exercise left are closed at the next open, at a limit that walks until it is done.

Methodology, section 6: accept the assignment, close the resulting shares at the next open. The limit starts at the
price of the minute and goes ``orders.shares_step`` further through it each minute, always from the newest price, still
a limit order; it is never given up, for shares have no expiry that would end the risk.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial

from core.book import Book, ShareHolding
from core.bus import EventBus, do_all
from core.events import FillStatus, MinutePassed, OrderUpdated, ReckoningDue, SessionClosed
from core.factory import Manager
from core.gateway import Gateway, OrderRefusedError
from core.journal import Journal, RecordKind
from core.settings.fields import OrderSettings
from execution.executor import AtomicExecutor
from execution.tracker import PositionTracker
from execution.walking import Traffic
from state.manager import HierarchicalStateManager
from state.tables import SystemState

CENT = 0.01


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The terms in dollars, money in positive, fees taken off; ``unknown`` trades are in none of them.

    ``starting`` holds what a person has paid in or taken out since: it was recognised as such (``risk/equity.py``).
    """

    starting: float
    trades: float
    open_parts: float
    working: float
    shares: float
    interest: float
    cash: float
    unknown: int

    @property
    def expected(self) -> float:
        """What the account's cash should be."""
        return self.starting + self.trades + self.open_parts + self.working + self.shares + self.interest

    @property
    def difference(self) -> float:
        """The account's cash less what it should be, rounded to the cent."""
        return round(self.cash - self.expected, 2) or 0.0


class AccountReckoning(Manager):
    """Holds the book against the account's cash."""

    def __init__(self, bus: EventBus, journal: Journal, gateway: Gateway, book: Book, executor: AtomicExecutor) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._executor = executor
        self._base: float | None = None
        self._trades = 0
        self._told = 0.0
        bus.subscribe(SessionClosed, self._on_session_closed, component="reckoning", critical=True)
        bus.subscribe(ReckoningDue, self._reckon, component="reckoning", critical=True)

    def start(self) -> None:
        """From here on: what the account has now, less what of it belongs to what is open already."""
        self._base, self._trades = -self._book.paid_in, len(self._book.trades)
        self._base += self.now().difference

    def now(self) -> Reckoning:
        """Every term at this moment."""
        trades = self._book.trades[self._trades :]
        parts = [part for position in self._book.positions.values() for part in position.parts]
        known = [(part.cash, part.fees) for part in parts]
        return Reckoning(
            starting=(self._base or 0.0) + self._book.paid_in,
            trades=sum(trade.profit for trade in trades if trade.profit is not None),
            open_parts=sum(cash - fees for cash, fees in known if cash is not None),
            working=self._executor.working_cash,
            shares=self._book.shares_brought + sum(row.cash for row in self._book.shares.values()),
            interest=self._book.interest,
            cash=self._gateway.account().cash,
            unknown=sum(trade.profit is None for trade in trades) + sum(cash is None for cash, _ in known),
        )

    def _on_session_closed(self, event: SessionClosed) -> None:
        """After everybody has heard of the close: who watches the cash then knows what a person paid in."""
        self._bus.publish(ReckoningDue(time=event.time))

    def _reckon(self, _event: ReckoningDue) -> None:
        found = self.now()
        if abs(found.difference - self._told) < CENT:
            return
        self._told = found.difference
        self._record(found, "a move that no trade explains" if self._gateway.is_live() else "trades and cash differ")
        if not self._gateway.is_live() and not found.unknown:
            detail = (
                f"{found.difference:+,.2f} dollars: {found.cash:,.2f} in the account, {found.expected:,.2f} by trades"
            )
            self._journal.record(
                RecordKind.ERROR, component="reckoning", reason="trades and account differ", detail=detail
            )
            self._bus.halt_entries(f"trades and account differ by {detail}")

    def finish(self) -> Reckoning:
        """The run is over: one row says what the terms come to."""
        found = self.now()
        agrees = abs(found.difference) < CENT
        self._record(found, "trades and account agree" if agrees else "trades and account differ")
        return found

    def _record(self, found: Reckoning, reason: str) -> None:
        self._journal.record(
            RecordKind.ACCOUNT,
            component="reckoning",
            reason=reason,
            **asdict(found),
            expected=found.expected,
            difference=found.difference,
        )


TAG = "assigned shares"
_NOT_YET = (SystemState.STARTING, SystemState.RECOVERING)


@dataclass(slots=True)
class _Working:
    """One order at the broker: its number, how far it walked, and at which price it stands."""

    order_id: int
    step: int
    price: float


class ShareSeller(Manager):
    """Sends, walks and follows the orders that close assigned shares, one a ticker."""

    def __init__(
        self,
        bus: EventBus,
        gateway: Gateway,
        book: Book,
        tracker: PositionTracker,
        journal: Journal,
        state: HierarchicalStateManager,
        executor: AtomicExecutor,
        settings: OrderSettings,
    ) -> None:
        self._pace = executor.pace
        self._executor = executor
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
        do_all(partial(self._go_on, *row) for row in sorted(self._book.shares.items()))

    def _go_on(self, ticker: str, holding: ShareHolding) -> None:
        tick = self._gateway.tick(ticker)
        if tick is None or tick.price <= 0:
            return
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
            self._executor.states.shares()  # else the next process corrects them once more
        quantity = round(self._book.shares[ticker].quantity) if ticker in self._book.shares else 0
        if not quantity or not self._pace.take(Traffic.ORDER):
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
        if abs(limit - working.price) < 0.005 or not self._pace.take(Traffic.UPDATE):
            return
        try:
            taken = self._gateway.reprice_shares(working.order_id, limit, TAG)
        except OrderRefusedError as error:  # the next minute asks again
            self._record(ticker, "price_refused", -round(holding.quantity), limit, str(error))
            return
        if taken:
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

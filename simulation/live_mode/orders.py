"""Orders live: a call returns before the broker has the order, and what becomes of it comes as events later.

Submission returns with the status NEW; SUBMITTED, INVALID and FILLED come on the order thread. A cancellation first
says CANCEL_PENDING, nested in the call. A refused cancellation sends no event at all, a refused update one with the old
status, and the price stays the old one (lean-facts 13.10-13.12).
"""

from __future__ import annotations

from typing import Any

from simulation.lean.enums import OrderResponseErrorCode, OrderStatus, OrderType
from simulation.live_mode.account import Broker, WorkingGroup, WorkingLeg
from simulation.live_mode.controls import Control
from simulation.live_mode.quotes import ShownSecurity
from simulation.orders.broker import SimulatedBroker
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee
from simulation.orders.orders import Order
from simulation.orders.parties import OrderHandler, TradedSecurity
from simulation.orders.requests import OrderRequest, OrderResponse, UpdateOrderRequest
from simulation.orders.tickets import OrderTicket
from simulation.orders.transaction_handler import TransactionHandler

ORDER_THREAD = "orders-1"
ALGORITHM = "algorithm"
LOOK_MS = {Broker.SIMULATED: 5_000, Broker.RECORDED: 1_000, Broker.PAPER: 1_000}
"""How often a broker looks at its orders; LEAN's paper broker at each slice (BacktestingTransactionHandler.cs:80)."""
ACKNOWLEDGED_MS = (200, 900)
TINY = 1e-9


class LiveBroker(SimulatedBroker):
    """Fills as its kind does, refuses what it is told to, and knows its orders by numbers of its own."""

    def __init__(self, handler: OrderHandler, engine: Any) -> None:
        super().__init__(handler)
        self._live = engine
        self._numbers: dict[tuple[int, float], str] = {}
        self._kind: Broker = engine.account.broker
        self._looking = False
        self._halved: set[int] = set()
        self.scanning = False

    def place(self, order: Order) -> bool:
        """Takes a new order; False while the connection is down."""
        return Control.BROKER_DOWN not in self._live.controls and super().place(order)

    def cancel(self, order: Order) -> bool:
        """Cancels the order's group; False when refused."""
        if Control.NO_CANCEL in self._live.controls or Control.BROKER_DOWN in self._live.controls:
            return False
        group = _key(order)[0]
        if group not in self._halved:
            return super().cancel(order)
        rest = [row for row in self.pending.values() if _key(row)[0] == group]
        self._remove(rest, OrderStatus.CANCELED, "")
        return bool(rest)

    def fill_first_legs(self) -> None:
        """The first leg of each group fills at what the market asks for it, in one act; its other legs work on."""
        events = []
        for order in self._firsts():
            self._halved.add(_key(order)[0])
            self.pending.pop(order.id)
            order.status = OrderStatus.FILLED
            event = OrderEvent(order, self._live.utc_ms, OrderFee.ZERO)
            event.status, event.fill_quantity = order.status, order.quantity
            event.fill_price = self._asked_for(order)
            self._charge([event], [order], {order: self._live.securities[order.symbol]})
            events.append(event)
        self._handler.handle_events(events)

    def lose_fills(self) -> None:
        """All that works fills, and no report of it ever comes: the account has it, this process does not know."""
        for order in list(self.pending.values()):
            del self.pending[order.id]
            self._live.account.unseen.append((order.symbol, float(order.quantity), self._asked_for(order)))

    def _firsts(self) -> list[Order]:
        found: dict[int, Order] = {}
        for order in sorted(self.pending.values(), key=lambda row: row.id):
            found.setdefault(_key(order)[0], order)
        return list(found.values())

    def _asked_for(self, order: Order) -> float:
        """The market's price of an order's side, in dollars a unit."""
        security = self._live.securities[order.symbol]
        with self._live.quotes.market(self._live.market_ms):
            bar = security.last_quote()
        side = None if bar is None else bar.ask if order.quantity > 0 else bar.bid
        return float(security.price if side is None or side.close <= 0 else side.close)

    @property
    def refuses_updates(self) -> bool:
        """Whether an update would be refused."""
        return Control.NO_UPDATE in self._live.controls or Control.BROKER_DOWN in self._live.controls

    def _note_broker_id(self, order: Order) -> None:
        """A number for each group and limit: a replaced order is a new one there (lean-facts 13.14)."""
        key = _key(order)
        if key not in self._numbers:
            self._numbers[key] = self._live.account.number()
        order.broker_id = [self._numbers[key]]

    def adopt(self, order: Order) -> None:
        """Takes an order that was at the broker before this process."""
        self._numbers[_key(order)] = order.broker_id[0]
        self.pending[order.id] = order
        self.arrange_look()

    def arrange_look(self) -> None:
        """Looks at the orders again soon, while there are any, or any word of them is on its way."""
        waiting = self.pending or (self.faults is not None and self.faults.reports.waiting)
        if waiting and not self._looking:
            self._looking = True
            paper = self._kind is Broker.PAPER
            self._live.threads.put(ALGORITHM if paper else ORDER_THREAD, self._look, LOOK_MS[self._kind])

    def _look(self) -> None:
        """The next look; LEAN's paper broker needs another only after an order came or changed, for slices bring it."""
        self._looking = False
        if self._kind is Broker.PAPER:
            self.at_slice()
            return
        if self._fills():
            with self._live.quotes.market(self._live.market_ms):
                due = self.filling()
            for tell in due:
                tell()
        self.arrange_look()

    def _fills(self) -> bool:
        controls = self._live.controls
        return Control.NO_FILL not in controls and Control.BROKER_DOWN not in controls

    def at_slice(self) -> None:
        """LEAN's paper broker looks at its orders on the algorithm's thread; no other does (PaperBrokerage.cs:72).

        What the order thread would do meanwhile waits (`_needsScanLock`, BacktestingBrokerage.cs:236).
        """
        if self._kind is Broker.PAPER and self._fills():
            self.scanning = True
            try:
                self.scan()
            finally:
                self.scanning = False

    def _model_fills(self, order: Order, securities: dict[Order, TradedSecurity]) -> list[OrderEvent]:
        if self._kind is Broker.PAPER:
            quotes = self._live.quotes
            return super()._model_fills(order, {leg: ShownSecurity(row, quotes) for leg, row in securities.items()})
        if self._kind is Broker.RECORDED and order.type in (OrderType.LIMIT, OrderType.COMBO_LIMIT):
            return self._natural_fills(order, securities)
        return super()._model_fills(order, securities)

    def _natural_fills(self, order: Order, securities: dict[Order, TradedSecurity]) -> list[OrderEvent]:
        """All legs at the sides that stand, when their sum is the limit or better; a missing side fills none."""
        group = order.group_order_manager
        quantity = float(order.quantity if group is None else group.quantity)
        events, total = list[OrderEvent](), 0.0
        for leg, security in sorted(securities.items(), key=lambda row: row[0].id):
            price = self._live.quotes.standing(security, self._live.threads.now_ms, leg.quantity > 0)
            if price is None:
                return list[OrderEvent]()
            total += price * leg.quantity / quantity
            event = OrderEvent(leg, self._live.utc_ms, OrderFee.ZERO)
            event.status, event.fill_quantity, event.fill_price = OrderStatus.FILLED, leg.quantity, price
            events.append(event)
        beyond = (total - _key(order)[1]) * (1 if quantity > 0 else -1)
        return events if beyond <= TINY else list[OrderEvent]()

    def filling(self) -> list[Any]:
        """Looks at every order; what it would tell is given back, so that it is told with the feed's quotes in place.

        The events are held until the look is over: who hears of them asks for quotes.
        """
        told: list[Any] = []
        handler = self._live.handler
        handler.hold = told
        try:
            self.scan()
        finally:
            handler.hold = None
        return told

    def working_groups(self) -> list[WorkingGroup]:
        """What rests, by group, as the broker knows it."""
        found: dict[int, WorkingGroup] = {}
        for order in sorted(self.pending.values(), key=lambda row: row.id):
            group = order.group_order_manager
            key, limit = _key(order)
            quantity = float(group.quantity if group is not None else 1.0)
            row = found.setdefault(key, WorkingGroup(order.broker_id[0], quantity, limit, []))
            row.legs.append(WorkingLeg(order.symbol, float(order.quantity)))
        return list(found.values())


def _key(order: Order) -> tuple[int, float]:
    """An order's group (negative) or itself, and the limit of both."""
    group = order.group_order_manager
    if group is not None:
        return -group.id, float(group.limit_price)
    return order.id, float(getattr(order, "limit_price", 0.0))


class LiveHandler(TransactionHandler):
    """The request queue on a thread of its own."""

    broker: LiveBroker

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self._live = engine
        self.broker = LiveBroker(self, engine)
        self.hold: list[Any] | None = None

    def has_work(self) -> bool:
        """No pass of the algorithm's thread ever looks at orders."""
        return False

    def submit(self, request: OrderRequest) -> OrderTicket:
        """Takes a request; another thread may come in before and after."""
        self._live.threads.switch()
        ticket = super().submit(request)
        self._live.threads.switch()
        return ticket

    def _queue_update(self, request: UpdateOrderRequest) -> OrderTicket:
        ticket = super()._queue_update(request)
        self._drain()
        return ticket

    def _queue_cancel(self, request: Any) -> OrderTicket:
        ticket = super()._queue_cancel(request)
        self._drain()
        return ticket

    def _drain(self) -> None:
        if self._queue:
            threads = self._live.threads
            threads.put(ORDER_THREAD, self._work, threads.chance.randint(*ACKNOWLEDGED_MS))

    def _work(self) -> None:
        if self.broker.scanning:
            self._live.threads.put(ORDER_THREAD, self._work, 1)
            return
        while self._queue:
            request = self._queue.popleft()
            request.set_response(self._handle(request))
        self.broker.arrange_look()

    def _handle_update(self, request: UpdateOrderRequest, order: Order, ticket: OrderTicket) -> OrderResponse:
        if order.id in self.broker.pending and self.broker.refuses_updates:
            text = f"Brokerage failed to update order with id {request.order_id}"
            self.engine.algorithm.error(text)
            event = OrderEvent(order, self._live.threads.now_ms, OrderFee.ZERO, "Brokerage failed to update order")
            self.handle_event(event)
            return OrderResponse.error(request, OrderResponseErrorCode.BROKERAGE_FAILED_TO_UPDATE_ORDER, text)
        return super()._handle_update(request, order, ticket)

    def handle_events(self, events: list[OrderEvent]) -> None:
        """Books a batch and tells the algorithm; within a look of the broker's the telling waits for its end."""
        if self.hold is None:
            super().handle_events(events)
            return
        self.hold.append(lambda: TransactionHandler.handle_events(self, events))

    def take_in(self, order: Order, ticket: OrderTicket) -> None:
        """Enters an order that is at the broker already."""
        self.open[order.id] = (order, ticket)
        self.complete[order.id] = order
        self.tickets[order.id] = ticket
        self.total_orders += 1
        self.broker.adopt(order)

"""The order side of the engine: the request queue, the processing of requests, and the events that come of it.

Everything is synchronous: a submitted order is processed inside the call, updates and cancellations wait for the next
order pass, and events reach the algorithm from within the pass (lean-facts 4.8; BrokerageTransactionHandler.cs,
BacktestingBrokerage.cs).
"""

from __future__ import annotations

from collections import deque

from simulation.faults.chance import Faults
from simulation.faults.kinds import FaultSettings
from simulation.lean.clock import utc_datetime
from simulation.lean.dictionaries import OrderTable
from simulation.lean.enums import (
    OrderDirection,
    OrderRequestStatus,
    OrderResponseErrorCode,
    OrderStatus,
    OrderType,
    SecurityType,
)
from simulation.lean.numbers import smart_text
from simulation.lean.symbols import Symbol
from simulation.orders import exercise
from simulation.orders.broker import SimulatedBroker
from simulation.orders.faulty import OrderFaults
from simulation.orders.order_checks import PriceRounding
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee, OrderSubmissionData, is_closed
from simulation.orders.orders import Order, create_order, group_orders, set_order_id
from simulation.orders.parties import BuyingPowerAnswer, OrderEngine, TradedSecurity
from simulation.orders.requests import (
    CancelOrderRequest,
    OrderRequest,
    OrderResponse,
    SubmitOrderRequest,
    UpdateOrderRequest,
)
from simulation.orders.tickets import OrderTicket
from simulation.orders.transaction_manager import SecurityTransactionManager

_FILLS = (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED)
_EVENT_PRICES = ("limit_price", "stop_price", "trigger_price", "trailing_amount", "trailing_as_percentage")


class TransactionHandler:
    """Processes requests and passes; the kernel's one door to everything about orders."""

    def __init__(self, engine: OrderEngine) -> None:
        self.engine = engine
        self.transactions = SecurityTransactionManager(self)
        self.broker = SimulatedBroker(self)
        self.rounding = PriceRounding(self)
        self.open: OrderTable[tuple[Order, OrderTicket]] = OrderTable()
        self.complete: OrderTable[Order] = OrderTable()
        self.tickets: OrderTable[OrderTicket] = OrderTable()
        self.total_orders = 0
        self._queue: deque[OrderRequest] = deque()
        self._draining = False
        self._before_cancel: dict[int, OrderStatus] = {}

    # ---------------------------------------------------------------- what the kernel calls

    def has_work(self) -> bool:
        """Whether a pass could do anything: queued requests, resting orders, or an assignment scan that is due."""
        broker = self.broker
        if self._queue or broker.pending or (broker.faults is not None and broker.faults.reports.waiting):
            return True
        return broker.assignment_scan_due()

    def process_pass(self) -> None:
        """One order pass: queued updates and cancellations, then the broker's look at its orders (AM step 9, 16)."""
        self._drain()
        self.broker.scan()

    def process_assignments(self) -> None:
        """The hourly early-assignment scan, if due (it is also the first thing a pass does)."""
        self.broker.process_assignments()

    def process_delisting(self, symbol: Symbol) -> None:
        """A delisting came into force: expiry or liquidation, then the symbol's open orders are cancelled."""
        security = self.engine.securities[symbol]
        if security.is_option:
            exercise.process_option_notification(self, security, 0.0, None)
        else:
            self._liquidate_delisted(security)
        if not self.engine.algorithm.is_warming_up:
            self.transactions.cancel_open_orders(symbol)

    def submit(self, request: OrderRequest) -> OrderTicket:
        """Takes a request; a new order is processed at once, the rest is queued for the next pass."""
        if isinstance(request, SubmitOrderRequest):
            return self._add(request)
        if isinstance(request, UpdateOrderRequest):
            return self._queue_update(request)
        if isinstance(request, CancelOrderRequest):
            return self._queue_cancel(request)
        raise TypeError(f"unknown order request {type(request).__name__}: submit, update and cancel are accepted")

    def open_tickets(self) -> list[OrderTicket]:
        """Tickets of open orders, in the order of LEAN's table."""
        return [ticket for _, ticket in self.open.values()]

    # ---------------------------------------------------------------- taking requests in

    def _add(self, request: SubmitOrderRequest) -> OrderTicket:
        algorithm = self.engine.algorithm
        warming_up = algorithm.is_warming_up
        request.set_response(OrderResponse.warming_up(request) if warming_up else OrderResponse.success(request))
        ticket = OrderTicket(self.transactions, request)
        security = self.engine.securities[request.symbol]
        order = create_order(request)
        self.total_orders += 1
        self.tickets[request.order_id] = ticket
        if warming_up:
            order.status, order.tag = OrderStatus.INVALID, "Algorithm warming up."
            order.price_currency = security.quote_currency.symbol
            ticket.set_order(order)
            self.complete[order.id] = order
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, order.tag))
            return ticket
        order.order_submission_data = OrderSubmissionData(security.bid_price, security.ask_price, security.close)
        self.open[order.id] = (order, ticket)
        self._queue.append(request)
        self._drain()
        return ticket

    def _find(self, order_id: int) -> tuple[Order, OrderTicket] | None:
        entry = self.open.get(order_id)
        if entry is not None:
            return entry
        order, ticket = self.complete.get(order_id), self.tickets.get(order_id)
        return None if order is None or ticket is None else (order, ticket)

    def _unknown_ticket(self, request: OrderRequest) -> OrderTicket:
        submit = SubmitOrderRequest(OrderType.MARKET, SecurityType.BASE, Symbol.EMPTY, 0.0)
        submit.order_id, submit.tag = request.order_id, request.tag
        request.set_response(OrderResponse.unable_to_find_order(request))
        return OrderTicket.invalid(self.transactions, submit, request.response)

    def _queue_update(self, request: UpdateOrderRequest) -> OrderTicket:
        entry = self._find(request.order_id)
        if entry is None:
            ticket = self._unknown_ticket(request)
            ticket.add_update_request(request)
            return ticket
        order, ticket = entry
        ticket.add_update_request(request)
        if order.status == OrderStatus.NEW:
            request.set_response(OrderResponse.invalid_new_status(request, order))
        elif is_closed(order.status) and not request.is_allowed_for_closed_order():
            request.set_response(OrderResponse.invalid_status(request, order))
        elif request.quantity is not None and not request.quantity:
            request.set_response(OrderResponse.zero_quantity(request))
        elif self.engine.algorithm.is_warming_up:
            request.set_response(OrderResponse.warming_up(request))
        else:
            request.set_response(OrderResponse.success(request), OrderRequestStatus.PROCESSING)
            self._queue.append(request)
        return ticket

    def _queue_cancel(self, request: CancelOrderRequest) -> OrderTicket:
        entry = self._find(request.order_id)
        if entry is None:
            ticket = self._unknown_ticket(request)
            ticket.try_set_cancel_request(request)
            return ticket
        order, ticket = entry
        if not ticket.try_set_cancel_request(request):
            code, text = OrderResponseErrorCode.INVALID_REQUEST, "Cancellation is already in progress."
            request.set_response(OrderResponse.error(request, code, text))
            return ticket
        if request.tag is not None:
            order.tag = request.tag
        if order.status == OrderStatus.NEW:
            request.set_response(OrderResponse.invalid_new_status(request, order))
        elif is_closed(order.status):
            request.set_response(OrderResponse.invalid_status(request, order))
        elif self.engine.algorithm.is_warming_up:
            request.set_response(OrderResponse.warming_up(request))
        else:
            self._before_cancel[order.id] = order.status
            order.status = OrderStatus.CANCEL_PENDING
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO))
            request.set_response(OrderResponse.success(request), OrderRequestStatus.PROCESSING)
            self._queue.append(request)
        return ticket

    # ---------------------------------------------------------------- working through the queue

    def _drain(self) -> None:
        while self._queue:
            request = self._queue.popleft()
            request.set_response(self._handle(request), OrderRequestStatus.PROCESSED)
            self.broker.scan()

    def _handle(self, request: OrderRequest) -> OrderResponse:
        if isinstance(request, SubmitOrderRequest):
            return self._handle_submit(request)
        entry = self._find(request.order_id)
        if entry is None:
            return OrderResponse.unable_to_find_order(request)
        if isinstance(request, UpdateOrderRequest):
            return self._handle_update(request, *entry)
        return self._handle_cancel(request, *entry)

    def _handle_submit(self, request: SubmitOrderRequest) -> OrderResponse:
        order, ticket = self.open[request.order_id]
        self.complete[order.id] = order
        security = self.engine.securities[order.symbol]
        order.price_currency = security.quote_currency.symbol
        if not order.tag:
            order.tag = order.get_default_tag()
        self.rounding.round_quantity(order, security)
        orders = group_orders(order, self.complete.get)
        self.rounding.round_prices(order, security, orders)
        ticket.set_order(order)
        if orders is None:
            return OrderResponse.success(request)
        if any(leg.quantity == 0 for leg in orders):
            return self._refuse(request, orders, OrderResponse.zero_quantity(request))
        refusal = self._check_buying_power(order, request, orders)
        if refusal is not None:
            return refusal
        return self._place(request, orders)

    def _refuse(self, request: OrderRequest, orders: list[Order], response: OrderResponse) -> OrderResponse:
        message = response.error_message or ""
        self.engine.algorithm.error(message)
        self._invalidate(orders, message)
        return response

    def _check_buying_power(self, order: Order, request: OrderRequest, orders: list[Order]) -> OrderResponse | None:
        algorithm = self.engine.algorithm
        try:
            result = self.engine.portfolio.has_sufficient_buying_power_for_order(orders)
        except (ArithmeticError, ValueError, KeyError, NotImplementedError) as failure:
            algorithm.error(f"Order Error: id: {order.id}, Error executing margin models: {failure}")
            text = "Error executing margin models"
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, text))
            text = "An error occurred while checking sufficient buying power for the orders."
            return OrderResponse.error(request, OrderResponseErrorCode.PROCESSING_ERROR, text)
        if result.is_sufficient:
            return None
        if isinstance(request, UpdateOrderRequest):
            text = f"Brokerage failed to update order with id: {order.id}, Symbol: {order.symbol.value}, "
            text += f"Insufficient buying power to complete order, Reason: {result.reason}."
            algorithm.error(text)
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, text))
            return OrderResponse.error(request, OrderResponseErrorCode.BROKERAGE_FAILED_TO_UPDATE_ORDER, text)
        text = self.buying_power_message(orders, result)
        response = OrderResponse.error(request, OrderResponseErrorCode.INSUFFICIENT_BUYING_POWER, text)
        return self._refuse(request, orders, response)

    def buying_power_message(self, orders: list[Order], result: BuyingPowerAnswer) -> str:
        """LEAN's sentence about orders that the account cannot carry."""
        ids = ",".join(str(order.id) for order in orders)
        securities = self.engine.securities
        values = ",".join(smart_text(order.get_value(securities[order.symbol])) for order in orders)
        return (
            f"Order Error: ids: [{ids}], Insufficient buying power to complete orders (Value:[{values}]), "
            f"Reason: {result.reason}."
        )

    def _place(self, request: SubmitOrderRequest, orders: list[Order]) -> OrderResponse:
        model = self.engine.algorithm.brokerage_model
        for order in orders:
            message = model.refusal(self.engine.securities[order.symbol], order)
            if message is not None:
                ids = ",".join(str(leg.id) for leg in orders)
                text = f"BrokerageModel declared unable to submit order: [{ids}] {message}"
                code = OrderResponseErrorCode.BROKERAGE_MODEL_REFUSED_TO_SUBMIT_ORDER
                response = OrderResponse.error(request, code, text)
                self._invalidate(orders, text)
                self.engine.algorithm.error(text)
                return response
        if not all([self.broker.place(order) for order in orders]):
            ids = ",".join(str(leg.id) for leg in orders)
            text = f"Brokerage failed to place orders: [{ids}]"
            self._invalidate(orders, text)
            self.engine.algorithm.error(text)
            return OrderResponse.error(request, OrderResponseErrorCode.BROKERAGE_FAILED_TO_SUBMIT_ORDER, text)
        return OrderResponse.success(request)

    def _handle_update(self, request: UpdateOrderRequest, order: Order, ticket: OrderTicket) -> OrderResponse:
        closed = is_closed(order.status)
        if order.status == OrderStatus.NEW:
            return OrderResponse.invalid_new_status(request, order)
        if closed and not request.is_allowed_for_closed_order():
            return OrderResponse.invalid_status(request, order)
        security = self.engine.securities[order.symbol]
        self.rounding.round_quantity(order, security)
        message = self.engine.algorithm.brokerage_model.update_refusal(security, order, request)
        if message is not None:
            text = f"OrderID: {order.id} {message}"
            self.engine.algorithm.error(text)
            short = "BrokerageModel declared unable to update order"
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, short))
            code = OrderResponseErrorCode.BROKERAGE_MODEL_REFUSED_TO_UPDATE_ORDER
            return OrderResponse.error(request, code, text)
        if order.group_order_manager is None:
            trial = order.clone()
            trial.apply_update(request)
            refusal = self._check_buying_power(trial, request, [trial])
            if refusal is not None:
                return refusal
        order.apply_update(request)
        self.rounding.round_prices(order, security, group_orders(order, self.complete.get))
        ticket.set_order(order)
        if not closed and not self.broker.update(order):
            text = f"Brokerage failed to update order with id {request.order_id}"
            self.engine.algorithm.error(text)
            short = "Brokerage failed to update order"
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, short))
            return OrderResponse.error(request, OrderResponseErrorCode.BROKERAGE_FAILED_TO_UPDATE_ORDER, text)
        return OrderResponse.success(request)

    def _handle_cancel(self, request: OrderRequest, order: Order, ticket: OrderTicket) -> OrderResponse:
        if order.status == OrderStatus.NEW:
            self._fall_back(order)
            return OrderResponse.invalid_new_status(request, order)
        if is_closed(order.status):
            self._fall_back(order)
            return OrderResponse.invalid_status(request, order)
        ticket.set_order(order)
        if not self.broker.cancel(order):
            text = f"Brokerage failed to cancel order with id {order.id}"
            self.engine.algorithm.error(text)
            self._fall_back(order)
            return OrderResponse.error(request, OrderResponseErrorCode.BROKERAGE_FAILED_TO_CANCEL_ORDER, text)
        if request.tag is not None:
            order.tag = request.tag
        return OrderResponse.success(request)

    def _fall_back(self, order: Order) -> None:
        order.status = self._before_cancel.pop(order.id, order.status)

    def _invalidate(self, orders: list[Order], message: str) -> None:
        for order in orders:
            if not is_closed(order.status):
                order.status = OrderStatus.INVALID
            self.handle_event(OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, message))

    # ---------------------------------------------------------------- events

    def handle_event(self, event: OrderEvent) -> None:
        """Books one event and tells the algorithm."""
        self.handle_events([event])

    def handle_events(self, events: list[OrderEvent]) -> None:
        """Books a batch: every leg's status and fill first, then the algorithm hears of each event in turn."""
        known: list[OrderEvent] = []
        for event in events:
            if is_closed(event.status):
                entry = self.open.pop(event.order_id)
                if entry is not None:
                    self.complete[event.order_id], self.tickets[event.order_id] = entry
            found = self._find(event.order_id)
            if found is None:
                return
            event.ticket = found[1]
            known.append(event)
        fills = [event for event in known if self._book(event)]
        self.engine.portfolio.process_fills(fills)
        for event in known:
            if event.status in _FILLS:
                self._build_trade(event)
            if event.ticket is not None:
                event.ticket.add_order_event(event)
        for event in known:
            if event.status != OrderStatus.NONE:
                self._tell(event)

    def _tell(self, event: OrderEvent) -> None:
        if self.broker.faults is None:
            self.engine.fire_order_event(event)
        else:
            self.broker.faults.told(event)

    def suffer(self, settings: FaultSettings) -> Faults:
        """From now on the broker misbehaves by seed; gives who decides it."""
        faults = Faults(settings, lambda: utc_datetime(self.engine.utc_ms))
        self.broker.faults = OrderFaults(faults, self.engine.fire_order_event)
        return faults

    def _book(self, event: OrderEvent) -> bool:
        entry = self._find(event.order_id)
        if entry is None:
            return False
        order, ticket = entry
        if is_closed(event.status):
            self._before_cancel.pop(order.id, None)
        elif event.status != OrderStatus.CANCEL_PENDING and order.id in self._before_cancel:
            self._before_cancel[order.id] = event.status
        settled = order.status in (OrderStatus.FILLED, OrderStatus.CANCELED)
        if not settled or event.status != OrderStatus.INVALID:
            order.status = event.status
        event.id = order.next_event_id()
        if event.status == OrderStatus.CANCELED:
            order.canceled_ms = event.utc_ms
        elif event.status in _FILLS:
            order.last_fill_ms = event.utc_ms
        elif event.status in (OrderStatus.SUBMITTED, OrderStatus.UPDATE_SUBMITTED) and ticket.update_requests:
            order.last_update_ms = event.utc_ms
        event.quantity = order.quantity
        for name in _EVENT_PRICES:
            if hasattr(order, name):
                setattr(event, name, getattr(order, name))
        return event.status in _FILLS

    def _build_trade(self, event: OrderEvent) -> None:
        security = self.engine.securities[event.symbol]
        self.engine.portfolio.trade_builder.book_fill(event, security)

    # ---------------------------------------------------------------- orders of the engine's own

    def add_open_order(self, order: Order) -> None:
        """Enters an order that no request asked for: exercise, assignment, liquidation of the delisted."""
        security = self.engine.securities[order.symbol]
        order.price_currency = security.quote_currency.symbol
        if order.status in (OrderStatus.NEW, OrderStatus.NONE):
            order.status = OrderStatus.SUBMITTED
        request = SubmitOrderRequest.build(order.type, security, order.quantity, order.time_ms, tag=order.tag)
        request.order_id = self.transactions.next_order_id()
        set_order_id(order, request.order_id)
        ticket = OrderTicket(self.transactions, request)
        ticket.set_order(order)
        request.set_response(OrderResponse.success(request), OrderRequestStatus.PROCESSED)
        self.open[order.id] = (order, ticket)
        self.complete[order.id] = order
        self.tickets[order.id] = ticket
        self.total_orders += 1

    def _liquidate_delisted(self, security: TradedSecurity) -> None:
        quantity = -security.holdings.quantity
        if not quantity:
            return
        tag = "Liquidate from delisting"
        order = Order(security.symbol, quantity, self.engine.utc_ms, tag)
        self.add_open_order(order)
        fill = OrderEvent(order, self.engine.utc_ms, OrderFee.ZERO, tag)
        fill.status, fill.fill_price, fill.fill_quantity = OrderStatus.FILLED, security.price, order.quantity
        fill.direction = OrderDirection.BUY if quantity > 0 else OrderDirection.SELL
        self.handle_event(fill)

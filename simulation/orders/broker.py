"""The simulated broker: keeps the resting orders and looks at them once per order pass (BacktestingBrokerage.cs)."""

from __future__ import annotations

from simulation.lean.clock import HOUR_MS, zone_of
from simulation.lean.enums import OrderStatus, OrderType
from simulation.lean.names import UnknownMemberError
from simulation.orders import exercise
from simulation.orders.faulty import OrderFaults
from simulation.orders.fees import OrderFeeParameters
from simulation.orders.fills import FillModelParameters
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee, is_closed
from simulation.orders.orders import Order, group_orders
from simulation.orders.parties import OrderHandler, TradedSecurity

_AT_ONCE = (OrderType.MARKET, OrderType.COMBO_MARKET, OrderType.OPTION_EXERCISE)


class SimulatedBroker:
    """Fills, expires and cancels; every event goes through the handler that owns it."""

    def __init__(self, handler: OrderHandler) -> None:
        self._handler = handler
        self._engine = handler.engine
        self.pending: dict[int, Order] = {}
        self._next_assignment_scan = 0
        self.faults: OrderFaults | None = None

    def place(self, order: Order) -> bool:
        """Takes a new order; False when it is not new."""
        if order.status != OrderStatus.NEW or (self.faults is not None and self.faults.refuses(order)):
            return False
        self.pending[order.id] = order
        self._note_broker_id(order)
        self._tell(order, OrderStatus.SUBMITTED)
        return True

    def update(self, order: Order) -> bool:
        """Takes the new values of a resting order; False when it rests no more."""
        if order.id not in self.pending or (self.faults is not None and self.faults.refuses_update(order)):
            return False
        self.pending[order.id] = order
        self._note_broker_id(order)
        self._tell(order, OrderStatus.UPDATE_SUBMITTED)
        return True

    def cancel(self, order: Order) -> bool:
        """Cancels the order with its whole group; False when a part of it rests no more."""
        orders = group_orders(order, self.pending.get)
        if orders is None or (self.faults is not None and self.faults.refuses_cancel(order)):
            return False
        found = True
        for leg in orders:
            found = self.pending.pop(leg.id, None) is not None and found
            if self.faults is not None and is_closed(leg.status):
                continue  # filled while the others of its group did not
            self._note_broker_id(leg)
            self._tell(leg, OrderStatus.CANCELED)
        return found

    def _note_broker_id(self, order: Order) -> None:
        if str(order.id) not in order.broker_id:
            order.broker_id.append(str(order.id))

    def _tell(self, order: Order, status: OrderStatus) -> None:
        event = OrderEvent(order, self._engine.utc_ms, OrderFee.ZERO)
        event.status = status
        self._handler.handle_event(event)

    # ---------------------------------------------------------------- the scan

    def scan(self) -> None:
        """Assignments if the hour has come, then every resting order by id, a group with its first leg."""
        if self.faults is not None:
            self.faults.reports.pass_time()
        if self._engine.utc_ms >= self._next_assignment_scan:
            self.process_assignments()
        if not self.pending:
            return
        for order_id in sorted(self.pending):
            order = self.pending.get(order_id)
            if order is None:
                continue
            if is_closed(order.status) and not (self.faults is not None and self.faults.waits(order)):
                self.pending.pop(order_id, None)
                continue
            if order.time_ms == self._engine.utc_ms and order.type not in _AT_ONCE:
                continue
            orders = group_orders(order, self.pending.get)
            if orders is not None and (self.faults is None or order is orders[0]):
                self._look_at(order, orders)

    def _look_at(self, order: Order, orders: list[Order]) -> None:
        find = self._engine.securities
        securities = {leg: find[leg.symbol] for leg in orders}
        if not self._may_execute(orders, securities):
            return
        try:
            result = self._engine.portfolio.has_sufficient_buying_power_for_order(orders)
        except (ArithmeticError, ValueError, KeyError, NotImplementedError) as failure:
            self._remove(orders, OrderStatus.INVALID, str(failure))
            ids = ",".join(str(leg.id) for leg in orders)
            text = f"Order Error: ids: [{ids}], Error executing margin models: {failure}"
            self._engine.algorithm.error(text)
            return
        if result.is_sufficient:
            self._fill(order, orders, securities)
        elif order.status != OrderStatus.CANCEL_PENDING:
            message = self._handler.buying_power_message(orders, result)
            self._remove(orders, OrderStatus.INVALID, message)
            self._engine.algorithm.error(message)

    def _may_execute(self, orders: list[Order], securities: dict[Order, TradedSecurity]) -> bool:
        for order in orders:
            security = securities[order]
            if order.type == OrderType.MARKET_ON_OPEN:
                last = security.get_last_data()
                zone = zone_of(security.exchange.hours.time_zone)
                if last is None or zone.local(order.time_ms) >= last.end_time:
                    return False
            if order.time_in_force.is_order_expired(security, order):
                self._remove(orders, OrderStatus.CANCELED, "The order has expired.")
                return False
            if not self._engine.algorithm.brokerage_model.can_execute_order(security, order):
                return False
        return True

    def _remove(self, orders: list[Order], status: OrderStatus, message: str) -> None:
        events = []
        for order in orders:
            event = OrderEvent(order, self._engine.utc_ms, OrderFee.ZERO, message)
            event.status = status
            events.append(event)
            self.pending.pop(order.id, None)
        self._handler.handle_events(events)

    def _model_fills(self, order: Order, securities: dict[Order, TradedSecurity]) -> list[OrderEvent]:
        security = securities[order]
        if order.type == OrderType.OPTION_EXERCISE:
            return list(security.option_exercise_model.option_exercise(security, order))
        parameters = FillModelParameters(security, order, securities, self._engine.algorithm.settings)
        fills = list(security.fill_model.fill(parameters))
        lifetime = order.time_in_force
        return fills if all(lifetime.is_fill_valid(security, order, fill) for fill in fills) else []

    def _charged_fills(
        self, order: Order, orders: list[Order], securities: dict[Order, TradedSecurity]
    ) -> list[OrderEvent]:
        """The fills with their fees; a model that raises is reported and the order goes on resting, as in LEAN."""
        fills: list[OrderEvent] = []
        try:
            fills.extend(self._model_fills(order, securities))
            if self.faults is not None:
                fills = self.faults.portion(fills)
            self._charge(fills, orders, securities)
            if self.faults is not None:
                self.faults.share_fees(fills, orders, securities)
        except (NameError, NotImplementedError, UnknownMemberError):
            raise  # a name that LEAN has and this engine has not ends the run
        except Exception as failure:  # whatever a fill or fee model of the algorithm may raise
            text = f"Order Error: id: {order.id}, Transaction model failed to fill for order type: "
            self._engine.algorithm.error(f"{text}{order.type.to_string()} with error: {failure}")
        return fills

    @staticmethod
    def _charge(fills: list[OrderEvent], orders: list[Order], securities: dict[Order, TradedSecurity]) -> None:
        by_id = {leg.id: leg for leg in orders}
        for fill in fills:
            if fill.status == OrderStatus.FILLED and not fill.order_fee.value.amount:
                leg = by_id[fill.order_id]
                parameters = OrderFeeParameters(securities[leg], leg)
                fill.order_fee = securities[leg].fee_model.get_order_fee(parameters)

    def _fill(self, order: Order, orders: list[Order], securities: dict[Order, TradedSecurity]) -> None:
        fills = self._charged_fills(order, orders, securities)
        if not fills:
            return
        events, assigned = [], []
        for leg in orders:
            for fill in fills:
                if fill.order_id != leg.id:
                    continue
                if leg.status != fill.status or fill.fill_quantity:
                    leg.status = fill.status
                    events.append(fill)
                if fill.is_assignment:
                    assigned.append((leg, fill))
        self._handler.handle_events(events)
        for leg, fill in assigned:
            fill.message = leg.tag
            self._engine.fire_assignment_event(fill)
        if all(is_closed(row.status) for row in (*fills, *(orders if self.faults is not None else ()))):
            self._forget(orders)

    def _forget(self, orders: list[Order]) -> None:
        for leg in orders:
            self.pending.pop(leg.id, None)
        if self.faults is not None:
            self.faults.forget(orders)

    # ---------------------------------------------------------------- early assignment

    def assignment_scan_due(self) -> bool:
        """Whether the hourly scan is due and any option is held short."""
        portfolio = self._engine.portfolio
        if not portfolio.invested_securities:
            return False
        return bool(self._engine.utc_ms >= self._next_assignment_scan and portfolio.has_short_options())

    def process_assignments(self) -> None:
        """Asks the assignment model of every short option, once per hour of UTC (BacktestingBrokerage.cs:456)."""
        now = self._engine.utc_ms
        if now < self._next_assignment_scan:
            return
        self._next_assignment_scan = now // HOUR_MS * HOUR_MS + HOUR_MS
        for security in self._engine.portfolio.short_options():
            result = security.option_assignment_model.get_assignment(exercise.OptionAssignmentParameters(security))
            if result is not None and result.quantity:
                exercise.process_option_notification(self._handler, security, 0.0, result.tag)

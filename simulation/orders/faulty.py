"""What a faulty broker does to the engine's orders; the faults themselves are drawn in ``simulation/faults``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from simulation.faults.chance import Faults
from simulation.faults.kinds import Fault
from simulation.faults.reports import ReportFaults
from simulation.lean.enums import OrderStatus
from simulation.orders.fees import OrderFeeParameters
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import CashAmount, OrderFee
from simulation.orders.orders import Order
from simulation.orders.parties import TradedSecurity


class OrderFaults:
    """Refuses orders, updates and cancels, fills legs and quantities in parts, and disturbs what the algorithm is told.

    The engine's own books stay right: it is the broker that misbehaves, and the word of it that gets lost.
    """

    def __init__(self, faults: Faults, tell: Callable[[OrderEvent], None]) -> None:
        self.faults = faults
        self.reports: ReportFaults[OrderEvent] = ReportFaults(faults, tell)
        self._refused: dict[int, bool] = {}
        self._filled: dict[int, float] = {}

    def refuses(self, order: Order) -> bool:
        """Whether an order is not taken; all orders of a group get the same word."""
        group = order.group_order_manager
        key = order.id if group is None else -group.id
        if key not in self._refused:
            faults = (Fault.REFUSED, Fault.REJECTED)
            self._refused[key] = any(self.faults.strikes(fault, f"order {order.id}") for fault in faults)
        return self._refused[key]

    def refuses_update(self, order: Order) -> bool:
        """Whether a new limit is refused."""
        return self.faults.strikes(Fault.UPDATE_REFUSED, f"order {order.id}")

    def refuses_cancel(self, order: Order) -> bool:
        """Whether a cancellation is refused."""
        return self.faults.strikes(Fault.CANCEL_REFUSED, f"order {order.id}")

    def told(self, event: OrderEvent) -> None:
        """The algorithm is to hear of an event."""
        self.reports.tell(event, f"order {event.order_id} {event.status.name.lower()}")

    def waits(self, order: Order) -> bool:
        """Whether an order that filled waits at the broker for the rest of its group."""
        return order.id in self._filled

    def portion(self, fills: Sequence[OrderEvent]) -> list[OrderEvent]:
        """Of fills that the model gives whole: what is still to fill, some legs of it, or some of its quantity."""
        left = [fill for fill in fills if self._rest(fill)]
        if any(fill.status != OrderStatus.FILLED for fill in left):
            return left
        about = ", ".join(f"order {fill.order_id}" for fill in left)
        whole = left
        if len(left) > 1 and self.faults.strikes(Fault.LEGS_PARTLY, about):
            left = self.faults.some(left)
        most = max((abs(self._rest(fill)) for fill in left), default=0.0)
        some = len(left) == len(whole) and most > 1 and self.faults.strikes(Fault.QUANTITY_PARTLY, about)
        for fill in left:
            self._book(fill, some)
        return left

    def _rest(self, fill: OrderEvent) -> float:
        return fill.fill_quantity - self._filled.get(fill.order_id, 0.0)

    def _book(self, fill: OrderEvent, some: bool) -> None:
        rest = self._rest(fill)
        now = math.copysign(self.faults.count(max(int(abs(rest)), 1)), rest) if some else rest
        self._filled[fill.order_id] = self._filled.get(fill.order_id, 0.0) + now
        fill.fill_quantity = now
        if now != rest:
            fill.status = OrderStatus.PARTIALLY_FILLED

    @staticmethod
    def share_fees(
        fills: Sequence[OrderEvent], orders: Sequence[Order], securities: Mapping[Order, TradedSecurity]
    ) -> None:
        """Let what fills in parts pay by its parts: a model of fees knows whole orders, a broker charges contracts."""
        by_id = {leg.id: leg for leg in orders}
        for fill in fills:
            leg = by_id[fill.order_id]
            if fill.fill_quantity and fill.fill_quantity != leg.quantity:
                whole = securities[leg].fee_model.get_order_fee(OrderFeeParameters(securities[leg], leg)).value
                share = fill.fill_quantity / leg.quantity
                fill.order_fee = OrderFee(CashAmount(whole.amount * share, whole.currency))

    def forget(self, orders: Sequence[Order]) -> None:
        """Orders that are at the broker no more."""
        for order in orders:
            self._filled.pop(order.id, None)

"""Margin calls: when the account is warned and which orders are sent to bring it back (DefaultMarginCallModel.cs)."""

from __future__ import annotations

from typing import Any, ClassVar

from simulation.enums import OrderType
from simulation.margin import GetMaximumOrderQuantityForDeltaBuyingPowerParameters
from simulation.names import Named
from simulation.order_parts import GroupOrderManager
from simulation.requests import OrderTicket, SubmitOrderRequest

WARNING_FRACTION = 0.05
"""A warning is due when less than this fraction of the portfolio is free margin."""


class NullMarginCallModel(Named):
    """No warnings and no margin calls."""

    def get_margin_call_orders(self) -> tuple[list[SubmitOrderRequest], bool]:
        """Nothing to do."""
        return [], False

    def execute_margin_call(self, generated_margin_call_orders: list[SubmitOrderRequest]) -> list[OrderTicket]:
        """Nothing is sent."""
        del generated_margin_call_orders
        nothing: list[OrderTicket] = []
        return nothing


class MarginCallModel(Named):
    """LEAN's constants."""

    NULL: ClassVar[NullMarginCallModel] = NullMarginCallModel()


class DefaultMarginCallModel(Named):
    """Liquidates parts of every group when used margin passes the portfolio's value by the buffer."""

    def __init__(self, portfolio: Any, default_order_properties: Any = None, margin_buffer: float = 0.10) -> None:
        self._portfolio = portfolio
        self._properties = default_order_properties
        self._buffer = margin_buffer

    def get_margin_call_orders(self) -> tuple[list[SubmitOrderRequest], bool]:
        """Orders to send, and whether a warning is due."""
        portfolio = self._portfolio
        used = portfolio.total_margin_used
        requests: list[SubmitOrderRequest] = []
        if used <= 0:
            return requests, False
        value = portfolio.total_portfolio_value
        remaining = portfolio.get_margin_remaining(value)
        warn = remaining <= value * WARNING_FRACTION
        if remaining > 0:
            return requests, warn
        if used > value * (1 + self._buffer):
            for group in portfolio.positions.groups:
                made = self._requests_for(group, used - value)
                if made and all(request.quantity for request in made):
                    requests.extend(made)
        return requests, bool(requests)

    def _requests_for(self, group: Any, excess: float) -> list[SubmitOrderRequest]:
        used = group.reserved_buying_power()
        lots = self._lots_to_close(group, min(used, excess))
        portfolio = self._portfolio
        combined = len(group.positions) > 1
        manager = None
        if combined:
            group_id = portfolio.transactions.next_group_id()
            manager = GroupOrderManager(group_id, len(group.positions), lots)
        requests = []
        for position in group.positions:
            quantity = lots * position.unit_quantity * (-1 if position.quantity > 0 else 1)
            if manager is not None:
                quantity *= manager.quantity
            request = SubmitOrderRequest.build(
                OrderType.COMBO_MARKET if combined else OrderType.MARKET,
                position.security,
                quantity,
                portfolio.transactions.utc_ms,
                tag="Margin Call",
                order_properties=self._properties,
                group_order_manager=manager,
            )
            requests.append(request)
        return requests

    def _lots_to_close(self, group: Any, release: float) -> float:
        """Units of the group whose closing releases at least the given margin."""
        if len(group.positions) == 1 and not group.positions[0].security.is_option:
            security = group.positions[0].security
            delta = -release if group.positions[0].quantity > 0 else release
            parameters = GetMaximumOrderQuantityForDeltaBuyingPowerParameters(self._portfolio, security, delta)
            result = security.buying_power_model.get_maximum_order_quantity_for_delta_buying_power(parameters)
            return abs(float(result.quantity))
        held = float(abs(group.quantity))
        whole = float(group.reserved_buying_power())
        if whole <= 0:
            return 0.0 * held
        closed = 0.0
        while closed < held and whole * closed / held < release:
            closed += 1.0
        return closed

    def execute_margin_call(self, generated_margin_call_orders: list[SubmitOrderRequest]) -> list[OrderTicket]:
        """Sends the orders, losers first, until the margin is back; the tickets of what was sent."""
        portfolio = self._portfolio
        tickets: list[OrderTicket] = []
        if portfolio.margin_remaining >= 0:
            return tickets
        bundles: dict[int, list[SubmitOrderRequest]] = {}
        for index, request in enumerate(generated_margin_call_orders):
            manager = request.group_order_manager
            bundles.setdefault(-1 - index if manager is None else manager.id, []).append(request)

        def profit(bundle: list[SubmitOrderRequest]) -> float:
            return float(sum(portfolio[request.symbol].unrealized_profit for request in bundle))

        for bundle in sorted(bundles.values(), key=profit):
            tickets.extend(portfolio.transactions.add_order(request) for request in bundle)
            if portfolio.margin_remaining >= 0:
                break
        return tickets


def scan_margin(algorithm: Any) -> None:
    """The engine's margin call check: warning, `on_margin_call`, execution (AlgorithmManager.cs:369)."""
    portfolio = algorithm.portfolio
    requests, warn = portfolio.margin_call_model.get_margin_call_orders()
    executed: list[OrderTicket] = []
    if requests:
        requests = algorithm.on_margin_call(requests)
        if not requests:
            raise ValueError(
                "on_margin_call must return a list of SubmitOrderRequest that is not empty: those given, or others"
            )
        executed = portfolio.margin_call_model.execute_margin_call(list(requests))
        for ticket in executed:
            quantity, symbol = ticket.quantity, ticket.symbol
            algorithm.error(f"{algorithm.time} - Executed MarginCallOrder: {symbol} - Quantity: {quantity}")
    if warn and not executed:
        algorithm.on_margin_call_warning()

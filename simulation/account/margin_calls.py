"""Margin calls: when the account is warned and which orders are sent to bring it back (DefaultMarginCallModel.cs)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Protocol

from simulation.account.buying_power import GetMaximumOrderQuantityForDeltaBuyingPowerParameters
from simulation.account.faces import PortfolioFace
from simulation.account.positions import PositionGroup, PositionManager
from simulation.lean.enums import OrderType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, decimal_text
from simulation.orders.faces import Speaker
from simulation.orders.fees import OrderFeeParameters
from simulation.orders.fills import invariant_time
from simulation.orders.order_parts import GroupOrderManager, OrderProperties
from simulation.orders.orders import MarketOrder
from simulation.orders.requests import SubmitOrderRequest
from simulation.orders.tickets import OrderTicket

WARNING_FRACTION = 0.05
"""A warning is due when less than this fraction of the portfolio is free margin."""


class CallsMargin(Protocol):
    """A margin call model."""

    def get_margin_call_orders(self) -> tuple[list[SubmitOrderRequest], bool]:
        """Orders to send, and whether a warning is due."""

    def execute_margin_call(self, generated_margin_call_orders: list[SubmitOrderRequest]) -> list[OrderTicket]:
        """Sends orders until the margin is there; their tickets."""


class CalledPortfolio(PortfolioFace, Protocol):
    """A portfolio that margin calls look through."""

    margin_call_model: CallsMargin
    positions: PositionManager


class CalledAlgorithm(Speaker, Protocol):
    """The algorithm that is told of margin calls."""

    @property
    def portfolio(self) -> CalledPortfolio:
        """Its portfolio."""

    @property
    def time(self) -> datetime:
        """Now, in its own zone."""

    def on_margin_call(self, requests: list[SubmitOrderRequest]) -> object:
        """Its answer to the orders of a margin call."""

    def on_margin_call_warning(self) -> None:
        """Told that little margin is left."""


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

    def __init__(
        self,
        portfolio: CalledPortfolio,
        default_order_properties: OrderProperties | None = None,
        margin_buffer: float = 0.10,
    ) -> None:
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

    def _requests_for(self, group: PositionGroup, excess: float) -> list[SubmitOrderRequest]:
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

    def _lots_to_close(self, group: PositionGroup, release: float) -> float:
        """Units of the group whose closing releases at least the given margin."""
        security = group.positions[0].security
        if group.is_default:
            delta = -release if group.quantity > 0 else release
            parameters = GetMaximumOrderQuantityForDeltaBuyingPowerParameters(self._portfolio, security, delta)
            result = security.buying_power_model.get_maximum_order_quantity_for_delta_buying_power(parameters)
            return abs(float(result.quantity)) / float(security.symbol_properties.lot_size)
        target = clean(group.reserved_buying_power() - release)
        return abs(maximum_lots(self._portfolio, group, target))

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


# -------------------------------------------------------------------- how many units of a strategy to close


def maximum_lots(portfolio: CalledPortfolio, group: PositionGroup, target: float) -> float:
    """Signed change of a group's units that brings its INITIAL margin to at most `target` dollars, fees considered.

    (PositionGroupBuyingPowerModel.GetMaximumLotsForTargetBuyingPower with nothing kept free.)
    Raises ArithmeticError when no number of units does.
    """
    held = float(abs(group.quantity))
    if not target:
        return -held
    value = portfolio.total_portfolio_value
    share = target / value if value else 0.0 * target
    if not share:
        return -held
    used = _initial(group, held)
    if not _initial(group, 1.0):
        return 0.0 * held
    last = 0.0
    while True:
        change, margin = _change_for(group, used, target)
        if not change:
            return change
        target = clean((value - _fees(portfolio, group, change)) * share)
        if last == change:
            raise ArithmeticError(f"no number of units of {group.buying_power_model} brings its margin to {target}")
        last = change
        if margin <= abs(target):
            return change


def _initial(group: PositionGroup, quantity: float) -> float:
    """Initial margin of so many units, without sign."""
    resized = group.with_quantity(quantity)
    return abs(float(resized.buying_power_model.initial(resized)))


def _change_for(group: PositionGroup, used: float, target: float) -> tuple[float, float]:
    """Units to add (step +1) or close (step -1) one by one until the margin passes the target, and that margin."""
    held = abs(group.quantity)
    step = 1.0 if target > used else -1.0
    change = step
    first = margin = _initial(group, held + change)
    difference = margin - target
    while difference > 0 if step < 0 else difference < 0:
        change += step
        margin = _initial(group, held + change)
        growing = abs(margin - target) > abs(difference) and (margin > target) == (difference > 0)
        if growing or margin - target == difference:
            raise ArithmeticError(f"the margin of {group.buying_power_model} does not come nearer to {target}")
        difference = margin - target
    return (change, margin) if margin <= target else (change - step, first)


def _fees(portfolio: CalledPortfolio, group: PositionGroup, change: float) -> float:
    """Fees of market orders for the change, dollars."""
    total = 0.0 * change
    for position in group.positions:
        sign = -1 if position.quantity < 0 else 1
        order = MarketOrder(position.symbol, change * position.unit_quantity * sign, portfolio.transactions.utc_ms)
        fee = position.security.fee_model.get_order_fee(OrderFeeParameters(position.security, order)).value
        total += portfolio.cash_book.convert_to_account_currency(fee.amount, fee.currency)
    return clean(total)


def scan_margin(algorithm: CalledAlgorithm) -> None:
    """The engine's margin call check: warning, `on_margin_call`, execution (AlgorithmManager.cs:369)."""
    portfolio = algorithm.portfolio
    requests, warn = portfolio.margin_call_model.get_margin_call_orders()
    executed: list[OrderTicket] = []
    if requests and all(portfolio.securities[request.symbol].exchange.exchange_open for request in requests):
        executed = portfolio.margin_call_model.execute_margin_call(_confirmed(algorithm, requests))
        for ticket in executed:
            what = f"{ticket.symbol} - Quantity: {decimal_text(ticket.quantity)} @ "
            what += decimal_text(ticket.average_fill_price)
            algorithm.error(f"{invariant_time(algorithm.time)} - Executed MarginCallOrder: {what}")
    if warn and not executed:
        algorithm.on_margin_call_warning()


def _confirmed(algorithm: CalledAlgorithm, requests: list[SubmitOrderRequest]) -> list[SubmitOrderRequest]:
    """What the algorithm makes of the requests; raises ValueError when that is nothing (AlgorithmPythonWrapper.cs)."""
    answer = algorithm.on_margin_call(requests)
    chosen = [one for one in answer if isinstance(one, SubmitOrderRequest)] if isinstance(answer, Iterable) else None
    if not chosen:
        raise ValueError("OnMarginCall must return a non-empty list of SubmitOrderRequest")
    return chosen

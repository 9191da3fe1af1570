"""Orders and the account on a QCAlgorithm: what is sent, moved, cancelled, held and still worked.

Rules that the recordings of the real engine demand: a group is sent with a positive quantity and its signs on the legs;
a credit is a negative limit, here and nowhere else; every leg's ticket is updated and cancelled (the live plug-in waits
for all). A limit leaves as a multiple of the exchange's step and of LEAN's, which LEAN then leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from AlgorithmImports import Leg, OrderStatus, UpdateOrderFields

from core.contracts import Contract, Package
from core.gateway import Account, Holding, OpenOrder, OrderRefusedError
from core.instruments import facts_of, instrument_of
from core.lean_gateway_names import LeanNames

_DONE = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID)


class LeanOrders:
    """The part of the gateway that deals with the broker."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm
        self._names = LeanNames(algorithm)
        self._tickets: dict[int, Any] = {}

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        """One combo limit order, quantity positive, signs on the legs. Raises OrderRefusedError."""
        try:
            if len(package.legs) == 1:
                contract, signed = package.legs[0].contract, quantity * package.legs[0].ratio
                handle, price = self._names.handle(contract), _outright(contract, signed, limit_cash)
                tickets = [self._algorithm.limit_order(handle, signed, price, tag=tag)]
            else:
                legs = [Leg.create(self._names.handle(leg.contract), leg.ratio) for leg in package.legs]
                limit = -instrument_of(package.legs[0].contract).ticks.limit(limit_cash)
                tickets = list(self._algorithm.combo_limit_order(legs, quantity, limit, tag=tag))
        except Exception as error:  # .NET's own classes; whatever it is, nothing was sent
            raise OrderRefusedError(str(error).splitlines()[0]) from error
        invalid = [ticket for ticket in tickets if ticket.status == OrderStatus.INVALID]
        if invalid or len(tickets) != len(package.legs):
            response = invalid[0].submit_request.response if invalid else None
            raise OrderRefusedError("incomplete group" if response is None else str(response.error_message))
        for ticket in tickets:
            self._tickets[int(ticket.order_id)] = ticket
        return tuple(int(ticket.order_id) for ticket in tickets)

    def send_shares(self, ticker: str, quantity: int, price: float, tag: str) -> int:
        """One limit order for shares or a future, at a step of its price. Raises OrderRefusedError."""
        try:
            symbol = self._names.symbol(ticker)
            ticket = self._algorithm.limit_order(symbol, quantity, _unit_price(ticker, price), tag=tag)
        except Exception as error:  # .NET's own classes; whatever it is, nothing was sent
            raise OrderRefusedError(str(error).splitlines()[0]) from error
        if ticket.status == OrderStatus.INVALID:
            raise OrderRefusedError(str(ticket.submit_request.response.error_message))
        return int(ticket.order_id)

    def reprice_shares(self, order_id: int, price: float, tag: str) -> bool:
        """Update the limit of an order for shares or a future."""
        ticket = self._ticket(order_id)
        if ticket is None or ticket.status in _DONE:
            return False
        fields = UpdateOrderFields()
        fields.limit_price, fields.tag = _unit_price(self._names.name_of(ticket.symbol), price), tag
        return bool(ticket.update(fields).is_success)

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        """Update every leg's ticket with the same limit (the live plug-in waits for all of them)."""
        accepted = True
        for order_id in order_ids:
            ticket = self._ticket(order_id)
            contract = None if ticket is None else self._names.contract(ticket.symbol)
            if contract is None or ticket.status in _DONE:
                accepted = False
                continue
            fields = UpdateOrderFields()
            if len(order_ids) > 1:
                fields.limit_price = -instrument_of(contract).ticks.limit(limit_cash)
            else:
                fields.limit_price = _outright(contract, float(ticket.quantity), limit_cash)
            fields.tag = tag
            accepted = bool(ticket.update(fields).is_success) and accepted
        return accepted

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        """Cancel every leg's ticket that still works."""
        for order_id in order_ids:
            ticket = self._ticket(order_id)
            if ticket is not None and ticket.status not in _DONE:
                ticket.cancel(tag)

    def _ticket(self, order_id: int) -> Any:
        """The ticket of an order, also of one that was sent before a restart; ``None`` when LEAN knows none."""
        return self._tickets.get(order_id) or self._algorithm.transactions.get_order_ticket(order_id)

    def forget(self, order_ids: Sequence[int]) -> None:
        """Drop the tickets of a finished group, so that memory stays flat over years."""
        for order_id in order_ids:
            self._tickets.pop(order_id, None)

    def account(self) -> Account:
        """Equity and cash of LEAN's portfolio, and its own margin figure as a second opinion."""
        portfolio = self._algorithm.portfolio
        return Account(float(portfolio.total_portfolio_value), float(portfolio.cash), float(portfolio.margin_remaining))

    def book_interest(self, amount: float) -> None:
        """Add to LEAN's dollars; it moves cash and total, and no profit (recorded: conformance, july, p15)."""
        if self._algorithm.live_mode:
            raise ValueError(f"interest {amount}: a live account's interest is booked by the broker")
        self._algorithm.portfolio.cash_book["USD"].add_amount(amount)

    def holdings(self) -> Sequence[Holding]:
        """Everything that LEAN's portfolio holds, by name."""
        held = []
        for entry in self._algorithm.portfolio:
            holding = entry.value
            if holding.invested:
                quantity, average = float(holding.quantity), float(holding.average_price)
                held.append(Holding(self._names.name_of(entry.key), quantity, average, float(holding.price)))
        return tuple(sorted(held, key=lambda row: row.name))

    def open_orders(self) -> Sequence[OpenOrder]:
        """Every order that LEAN still works, by id."""
        rows = []
        for order in self._algorithm.transactions.get_open_orders():
            manager = order.group_order_manager
            group = None if manager is None else int(manager.id)
            rows.append(
                OpenOrder(
                    int(order.id),
                    self._names.name_of(order.symbol),
                    float(order.quantity),
                    group,
                    str(order.tag or ""),
                    tuple(str(number) for number in order.broker_id),
                )
            )
        return tuple(sorted(rows, key=lambda row: row.order_id))

    def name_of(self, symbol: Any) -> str:
        """``Contract.name`` of an option's symbol, the price key of anything else."""
        return self._names.name_of(symbol)


def _outright(contract: Contract, quantity: float, limit_cash: float) -> float:
    """Price of an order with one leg, from a limit in our sign."""
    buying = quantity > 0
    return instrument_of(contract).ticks.price(-limit_cash if buying else limit_cash, buying)


def _unit_price(key: str, price: float) -> float:
    """A price of shares or a future at the nearest step of it; a cent where no row knows it."""
    facts = facts_of(key)
    step = 0.01 if facts is None else facts.tick
    return round(round(price / step) * step, 10)

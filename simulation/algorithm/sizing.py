"""Closing and sizing: `liquidate`, `set_holdings`, `calculate_order_quantity` (QCAlgorithm.Trading.cs)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from simulation.account.buying_power import BELOW_MINIMUM
from simulation.lean.enums import OrderType
from simulation.lean.names import Named, signed
from simulation.lean.numbers import clean, decimal_text
from simulation.lean.symbols import symbol_of
from simulation.orders.order_checks import zero_price_message
from simulation.orders.order_parts import OrderProperties
from simulation.orders.tickets import OrderTicket


def flags(asynchronous: Any, tag: str | None) -> tuple[bool, str | None]:
    """Older algorithms pass the tag where LEAN now has `asynchronous`."""
    return (False, asynchronous) if isinstance(asynchronous, str) else (bool(asynchronous), tag)


class SizingApi(Named):
    """Orders whose quantity follows from what is held or from the portfolio's value."""

    _engine: Any
    market_order: Callable[..., OrderTicket]
    market_on_open_order: Callable[..., OrderTicket]
    _warn_once: Callable[[str, str], None]
    _say: Callable[[str], None]

    def liquidate(
        self,
        symbol: Any = None,
        asynchronous: Any = False,
        tag: str | None = None,
        order_properties: OrderProperties | None = None,
    ) -> list[OrderTicket]:
        """Cancels the open orders of a symbol, several or all and closes the positions at the market."""
        asynchronous, tag = flags(asynchronous, tag)
        tickets: list[OrderTicket] = []
        if not self._engine.algorithm.settings.liquidate_enabled:
            self._say(
                "Liquidate() is currently disabled by settings. "
                "To re-enable please set 'Settings.LiquidateEnabled' to true"
            )
            return tickets
        label = "Liquidated" if tag is None else tag
        for one in self._symbols_to_liquidate(symbol):
            tickets.extend(self._liquidate_one(one, label, order_properties))
        return tickets

    def _symbols_to_liquidate(self, symbol: Any) -> list[Any]:
        if symbol is None:
            return sorted(self._engine.securities.keys(), key=lambda one: str(one.value))
        if isinstance(symbol, Iterable) and not isinstance(symbol, str):
            return [symbol_of(one) for one in symbol]
        return [symbol_of(symbol)]

    def _liquidate_one(self, symbol: Any, tag: str, properties: OrderProperties | None) -> list[OrderTicket]:
        engine = self._engine
        if symbol not in engine.securities:
            text = f"Warning: liquidate ignored symbol '{symbol}' because it has not been added to the algorithm. "
            self._warn_once("unknown", text + "Add the security before liquidating it.")
            return list[OrderTicket]()
        transactions = engine.transactions
        orders = transactions.get_open_orders(symbol)
        held = engine.portfolio[symbol]
        quantity = held.quantity if held.invested else 0.0
        if len(orders) == 1 and quantity and orders[0].quantity == -quantity and orders[0].type == OrderType.MARKET:
            return list[OrderTicket]()
        resting = 0.0
        for order in orders:
            if order.type == OrderType.MARKET:
                resting += transactions.get_order_ticket(order.id).quantity_remaining
            else:
                transactions.cancel_order(order.id, tag)
        if not quantity:
            return list[OrderTicket]()
        return [self.market_order(symbol, clean(-quantity - resting), False, tag, properties)]

    @signed(
        "symbol, percentage, liquidate_existing_holdings=False, asynchronous=False, tag=None, order_properties=None",
        "targets, liquidate_existing_holdings=False, asynchronous=False, tag=None, order_properties=None",
    )
    def set_holdings(self, what: Any, *values: Any, **named: Any) -> list[OrderTicket]:
        """Brings a symbol (or a list of targets) to a fraction of the portfolio with a market order.

        After the fraction: liquidate_existing_holdings, asynchronous, tag, order_properties.
        """
        if isinstance(what, (list, tuple)):
            tickets: list[OrderTicket] = []
            close = bool(named.pop("liquidate_existing_holdings", values[0] if values else False))
            if close:
                tickets.extend(self._close_others([symbol_of(target) for target in what], named.get("tag")))
            sizes = [
                (symbol_of(target), self.calculate_order_quantity(target.symbol, target.quantity)) for target in what
            ]
            for symbol, size in self._by_margin_impact(sizes):
                tickets.extend(self._hold(symbol, size, named.get("tag"), None))
            return tickets
        rest = dict(zip(("percentage", "close", "asynchronous", "tag", "properties"), values, strict=False))
        percentage = float(named.get("percentage", rest.get("percentage", 0.0)))
        close = bool(named.get("liquidate_existing_holdings", rest.get("close", False)))
        tag = named.get("tag", rest.get("tag"))
        quantity = self.calculate_order_quantity(what, percentage)
        tickets = self._close_others([symbol_of(what)], tag) if close else []
        return [*tickets, *self._hold(what, quantity, tag, named.get("order_properties", rest.get("properties")))]

    def _by_margin_impact(self, sizes: list[tuple[Any, float]]) -> list[tuple[Any, float]]:
        """Orders that reduce a position first, then by value, largest first; none during warm-up, none without data
        or below a lot (Extensions.OrderTargetsByMarginImpact)."""
        engine = self._engine
        keyed: list[tuple[bool, float, tuple[Any, float]]] = []
        for symbol, size in sizes:
            security = engine.securities[symbol]
            lot = security.symbol_properties.lot_size
            whole = clean(int(clean(size / lot)) * lot)
            if engine.is_warming_up or not security.has_data or not security.is_tradable or abs(whole) < lot:
                continue
            waiting = engine.transactions.get_open_order_tickets(symbol)
            held = clean(security.holdings.quantity + sum(ticket.quantity_remaining for ticket in waiting))
            grows = not held or abs(clean(whole + held)) >= abs(held)
            keyed.append((grows, -abs(whole * security.price), (symbol, size)))
        return [pair for _, _, pair in sorted(keyed, key=lambda entry: entry[:2])]

    def _close_others(self, keep: list[Any], tag: str | None) -> list[OrderTicket]:
        others = [symbol for symbol in list(self._engine.portfolio.keys()) if symbol not in keep]
        return self.liquidate(sorted(others, key=lambda one: str(one.value)), tag=tag)

    def _hold(self, symbol: Any, quantity: float, tag: str | None, properties: Any) -> list[OrderTicket]:
        engine = self._engine
        symbol = symbol_of(symbol)
        kinds = (OrderType.MARKET, OrderType.MARKET_ON_OPEN)
        waiting = [t for t in engine.transactions.get_open_order_tickets(symbol) if t.order_type in kinds]
        quantity = clean(quantity - sum(ticket.quantity_remaining for ticket in waiting))
        if not quantity:
            return list[OrderTicket]()
        security = engine.securities.get(symbol)
        if security is None:
            text = f"{symbol} not found in portfolio. Request this data when initializing the algorithm."
            engine.algorithm.error(text)
            return list[OrderTicket]()
        send = self.market_order if security.exchange.exchange_open else self.market_on_open_order
        return [send(symbol, quantity, False, tag or "", properties)]

    def calculate_order_quantity(self, symbol: Any, target: float) -> float:
        """Signed order quantity that brings a symbol to a fraction of the portfolio, fees and buffer considered."""
        engine = self._engine
        algorithm, portfolio = engine.algorithm, engine.portfolio
        settings, name = algorithm.settings, symbol_of(symbol)
        least, most = (
            settings.min_absolute_portfolio_target_percentage,
            settings.max_absolute_portfolio_target_percentage,
        )
        nothing = 0.0 * target
        if target and not least <= abs(target) <= most:
            text = f"The portfolio target percent: {decimal_text(target)}, does not comply with the current "
            text += f"'self.settings.max_absolute_portfolio_target_percentage': {decimal_text(most)} or "
            text += f"'self.settings.min_absolute_portfolio_target_percentage': {least:.10f}. Skipping"
            algorithm.error(text)
            return nothing
        security = engine.securities.get(name)
        if security is None:
            algorithm.error(f"{name} not found in portfolio. Request this data when initializing the algorithm.")
            return nothing
        if not security.price:
            algorithm.error(zero_price_message(name))
            return nothing
        value = portfolio.total_portfolio_value
        share = target * portfolio.total_portfolio_value_less_free_buffer / value if value else nothing
        share /= security.buying_power_model.get_leverage(security)
        minimum = settings.minimum_order_margin_portfolio_percentage
        result = portfolio.positions.order_quantity_for_target(security, share, minimum)
        if result.is_error:
            algorithm.error(f"Unable to compute order quantity of {name}. Reason: {result.reason} Returning null.")
        elif result.reason.startswith(BELOW_MINIMUM):
            text = "Warning: Portfolio rebalance result ignored as it resulted in a single share trade recommendation "
            text += "which can generate high fees. To disable minimum order size checks please set "
            self._warn_once("minimum", text + "self.settings.minimum_order_margin_portfolio_percentage = 0.")
        return float(result.quantity)

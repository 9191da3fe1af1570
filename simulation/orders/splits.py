"""Share splits: options are closed the evening before one, held raw shares are multiplied on its morning.

LEAN does not carry options through a split: it sells them at the close of the day before (AlgorithmManager.cs:927).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

from simulation.lean.clock import HOUR_MS
from simulation.lean.enums import DataNormalizationMode, OrderField, OrderType, Resolution, SecurityType
from simulation.lean.numbers import clean
from simulation.lean.symbols import Symbol
from simulation.orders.parties import OrderEngine, TradedSecurity
from simulation.orders.requests import SubmitOrderRequest, UpdateOrderFields
from simulation.orders.tickets import FIELDS_OF, OrderTicket

SUBMISSION_BUFFER = timedelta(minutes=15, seconds=30)
"""How long before the close a market-on-close order must be in."""
CANCEL_TAG = "Canceled due to impending split. Separate MarketOnClose order submitted to liquidate position."
ORDER_TAG = "Liquidated due to impending split. Option splits are not currently supported."
_STEPS = {Resolution.HOUR: timedelta(hours=1), Resolution.DAILY: timedelta(days=1)}
_Events = list[tuple[date, float]]


class SplitWatch:
    """Looks for splits of the equities in the run; times in UTC milliseconds."""

    def __init__(self, engine: OrderEngine) -> None:
        self._engine = engine
        self._known: dict[Symbol, _Events] = {}
        self._closed: set[tuple[Symbol, date]] = set()
        self._applied: set[tuple[Symbol, date]] = set()

    def _events(self, security: TradedSecurity) -> _Events:
        """(last day before, old shares per new) of an equity's splits from the start of the run on."""
        known = self._known.get(security.symbol)
        if known is None:
            rows = self._engine.source.factor_file(security.symbol) or ()
            known = self._known[security.symbol] = [
                (row.day, clean(row.split_factor / after.split_factor))
                for row, after in pairwise(rows)
                if row.split_factor != after.split_factor and row.day >= security.local_time.date()
            ]
        return known

    def scan(self, ms: int, latest: int) -> int:
        """Does what is due and gives the next instant to look again, `latest` at most."""
        for security in self._engine.securities.values():
            if security.type != SecurityType.EQUITY:
                continue
            today = security.local_time.date()
            for day, factor in self._events(security):
                if today > day and (security.symbol, day) not in self._applied:
                    self._applied.add((security.symbol, day))
                    self._apply(security, factor)
                elif today == day:
                    latest = min(latest, self._before(security, day, ms))
        return latest

    def _before(self, security: TradedSecurity, day: date, ms: int) -> int:
        key = (security.symbol, day)
        if key not in self._closed:
            moment = self._last_chance(security, day)
            if ms < moment:
                return moment
            self._closed.add(key)
            self._close_options(security)
        return ms + HOUR_MS

    def _last_chance(self, security: TradedSecurity, day: date) -> int:
        hours = security.exchange.hours
        close = hours.get_next_market_close(datetime(day.year, day.month, day.day), False) - SUBMISSION_BUFFER
        step = min(
            (_STEPS.get(spec.resolution, timedelta(minutes=1)) for spec in security.subscriptions),
            default=timedelta(minutes=1),
        )
        midnight = datetime(day.year, day.month, day.day)
        return int(security.zone.utc_ms(close - (close - midnight) % step))

    def _close_options(self, underlying: TradedSecurity) -> None:
        engine = self._engine
        transactions = engine.transactions
        for option in list(engine.portfolio.invested_securities.values()):
            if not option.is_option or option.symbol.underlying != underlying.symbol:
                continue
            transactions.cancel_open_orders(option.symbol, CANCEL_TAG)
            quantity = -option.holdings.quantity
            kind = OrderType.MARKET_ON_CLOSE
            transactions.add_order(SubmitOrderRequest.build(kind, option, quantity, engine.utc_ms, tag=ORDER_TAG))
            option.is_tradable = False
            engine.algorithm.debug(
                f"MarketOnClose order submitted for option contract '{option.symbol}' due to impending "
                f"{underlying.symbol.value} split event. Option splits are not currently supported."
            )

    def _apply(self, security: TradedSecurity, factor: float) -> None:
        """More shares at a lower price, and what is left of a share in cash (SecurityPortfolioManager.ApplySplit)."""
        held, book = security.holdings, self._engine.portfolio
        if security.data_normalization_mode != DataNormalizationMode.RAW:
            return
        for ticket in self._engine.transactions.get_open_order_tickets(security.symbol):
            ticket.update(_split_order(ticket, factor))
        if not held.quantity:
            return
        shares = clean(held.quantity / factor)
        whole = float(int(shares))
        held.set_holdings(clean(held.average_price * factor), whole)
        rest = clean((shares - whole) * security.price * factor)
        book.cash_book[book.cash_book.account_currency].add_amount(rest)


def _split_order(ticket: OrderTicket, factor: float) -> UpdateOrderFields:
    """An order of the same value in the new shares (DefaultBrokerageModel.ApplySplit)."""
    fields = UpdateOrderFields()
    fields.quantity = float(int(clean(ticket.quantity / factor)))
    for name in FIELDS_OF.get(ticket.order_type, ()):
        value = ticket.get(OrderField[name.upper()])
        if name == "trailing_amount" and ticket.get(OrderField.TRAILING_AS_PERCENTAGE):
            continue
        if name != "trailing_as_percentage":
            setattr(fields, name, value * factor)
    return fields

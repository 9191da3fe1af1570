"""The position in one security and the cash of one currency, kept in decimals as LEAN keeps them."""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, NamedTuple, Protocol

from simulation.lean.clock import naive_milliseconds, utc_datetime, zone_of
from simulation.lean.dictionaries import LeanDictionary
from simulation.lean.enums import SecurityType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, currency_sign, exact
from simulation.lean.symbols import Symbol
from simulation.orders.fees import OrderFeeParameters
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import CashAmount
from simulation.orders.orders import MarketOrder
from simulation.securities.securities import Security


def multiplier_of(security: Security) -> Decimal:
    """Contract multiplier with the scale of LEAN's database: futures' rows carry one decimal (50.0), others none."""
    value = exact(security.symbol_properties.contract_multiplier)
    if security.type in (SecurityType.FUTURE, SecurityType.FUTURE_OPTION):
        return value.quantize(Decimal("0.1"))
    return value


class HoldingsOwner(Protocol):
    """What a holding needs of the portfolio that it belongs to."""

    cash_book: CashBook
    unsettled_cash_book: CashBook

    def holding_changed(self, security: Security) -> None:
        """The quantity of a security's holding was set."""


class SecurityHolding(Named):
    """The position in one security: signed quantity, average price per unit, and what it has earned so far."""

    def __init__(self, security: Security, portfolio: HoldingsOwner) -> None:
        self._security = security
        self._portfolio = portfolio
        self.average = Decimal(0)
        self.average_price = 0.0
        self.quantity = 0.0
        self.invested = False
        self.total_fees = 0.0
        self.total_sale_volume = 0.0
        self.total_dividends = 0.0
        self.last_trade_profit = Decimal(0)
        self.settled_profit = 0.0
        self._profit = Decimal(0)
        self.target: object | None = None
        self._valued = (0.0, 0.0, 0.0)  # price, quantity, and what they were worth

    @property
    def symbol(self) -> Symbol:
        """Symbol of the security."""
        symbol: Symbol = self._security.symbol
        return symbol

    @property
    def type(self) -> SecurityType:
        """Type of the security."""
        return self._security.type

    @property
    def price(self) -> float:
        """Last price of the security."""
        return float(self._security.price)

    @property
    def hold_stock(self) -> bool:
        """Whether anything is held."""
        return self.invested

    @property
    def is_long(self) -> bool:
        """Whether the quantity is positive."""
        return self.quantity > 0

    @property
    def is_short(self) -> bool:
        """Whether the quantity is negative."""
        return self.quantity < 0

    @property
    def absolute_quantity(self) -> float:
        """Quantity without sign."""
        return abs(self.quantity)

    @property
    def leverage(self) -> float:
        """Leverage of the security's buying power model."""
        return float(self._security.buying_power_model.get_leverage(self._security))

    def quantity_value(self, quantity: float, price: float | None = None) -> float:
        """Dollars of a quantity at a price (the last by default), multiplier and currency included."""
        security = self._security
        unit = security.price if price is None else price
        rate = security.quote_currency.conversion_rate
        return clean(unit * quantity * security.symbol_properties.contract_multiplier * rate)

    def get_quantity_value(self, quantity: float, price: float | None = None) -> ConvertibleCashAmount:
        """The value of a quantity at a price (the last by default) in the security's currency."""
        book = self._portfolio.cash_book[self._security.symbol_properties.quote_currency]
        return ConvertibleCashAmount(clean(self.quantity_value(quantity, price) / book.conversion_rate), book)

    @property
    def holdings_value(self) -> float:
        """Market value, negative when short."""
        return self._worth(self.quantity) if self.quantity else 0.0

    def _worth(self, quantity: float) -> float:
        """The value of what is held, worked out when price or quantity are others than before."""
        price, known = self._security.price, self._valued
        foreign = self._security.symbol_properties.quote_currency != self._portfolio.cash_book.account_currency
        if known[0] != price or known[1] != quantity or foreign:  # an exchange rate moves by itself
            known = self._valued = (price, quantity, self.quantity_value(quantity, price))
        return known[2]

    @property
    def absolute_holdings_value(self) -> float:
        """Market value without sign."""
        return abs(self.holdings_value)

    @property
    def holdings_cost(self) -> float:
        """Value at the average price, negative when short."""
        return self.quantity_value(self.quantity, self.average_price)

    @property
    def absolute_holdings_cost(self) -> float:
        """Cost without sign."""
        return abs(self.holdings_cost)

    @property
    def unlevered_holdings_cost(self) -> float:
        """Cost divided by the leverage."""
        return self.holdings_cost / self.leverage

    @property
    def unlevered_absolute_holdings_cost(self) -> float:
        """Cost without sign, divided by the leverage."""
        return abs(self.unlevered_holdings_cost)

    @property
    def profit(self) -> float:
        """Realised profit before fees, dividends included."""
        return clean(float(self._profit) + self.total_dividends)

    @property
    def net_profit(self) -> float:
        """Realised profit after fees."""
        return clean(self.profit - self.total_fees)

    @property
    def unrealized_profit(self) -> float:
        """Profit of closing now at bid or ask, after the fee of closing."""
        return self.total_close_profit()

    @property
    def unrealized_profit_percent(self) -> float:
        """Unrealised profit as a fraction of the absolute cost."""
        cost = self.absolute_holdings_cost
        return self.unrealized_profit / cost if cost else cost

    @property
    def unsettled_profit(self) -> float:
        """Unrealised profit of a future that daily settlement has not paid yet."""
        return clean(self.total_close_profit() - self.settled_profit)

    def total_close_profit(
        self,
        include_fees: bool = True,
        exit_price: float | None = None,
        entry_price: float | None = None,
        quantity: float | None = None,
    ) -> float:
        """Profit of closing the whole position (or a quantity of it), at bid or ask unless an exit price is given."""
        security = self._security
        held = self.quantity if quantity is None else quantity
        if not self.invested:
            return clean(0.0 * held)
        fees = 0.0
        if include_fees:
            order = MarketOrder(security.symbol, -held, security._engine.utc_ms)
            fees = security.fee_model.get_order_fee(OrderFeeParameters(security, order)).value.amount
        price = exit_price
        if price is None:
            price = (security.bid_price if self.is_long else security.ask_price) or security.price
        entry = self.quantity_value(held, self.average_price if entry_price is None else entry_price)
        return clean(self.quantity_value(held, price) - entry - fees)

    def set_holdings(self, average_price: float | Decimal, quantity: float) -> None:
        """Replaces average price and quantity (a position taken over from elsewhere)."""
        self.average = average_price if isinstance(average_price, Decimal) else exact(average_price)
        self.average_price = float(self.average)
        self.quantity = clean(quantity)
        self.invested = abs(self.quantity) >= self._security.symbol_properties.lot_size
        self._portfolio.holding_changed(self._security)

    def add_profit(self, profit: Decimal) -> None:
        """Books a realised profit (engine only)."""
        self._profit += profit
        self.last_trade_profit = profit


class Cash(Named):
    """An amount of one currency and its rate into the account's currency."""

    def __init__(self, symbol: str, amount: float, conversion_rate: float) -> None:
        self.symbol = symbol
        self.book = exact(amount)
        self.conversion_rate = conversion_rate
        self._valued: tuple[Decimal, float, float] | None = None

    @property
    def amount(self) -> float:
        """Units of the currency."""
        return float(self.book)

    @property
    def value_in_account_currency(self) -> float:
        """Dollars, with all digits that the book has."""
        known, book, rate = self._valued, self.book, self.conversion_rate
        if known is not None and known[0] is book and known[1] == rate:
            return known[2]
        value = float(book * Decimal(f"{rate:.15g}"))
        self._valued = (book, rate, value)
        return value

    @property
    def currency_symbol(self) -> str:
        """Sign to print before the amount."""
        return currency_sign(self.symbol)

    def add_amount(self, amount: float | Decimal) -> float:
        """Adds (or with a negative amount takes) money; the new amount."""
        # pythonnet makes decimals of floats with 15 significant digits
        self.book += amount if isinstance(amount, Decimal) else Decimal(f"{amount:.15g}")
        return self.amount

    def set_amount(self, amount: float) -> None:
        """Replaces the amount."""
        self.book = exact(amount)


class CashBook(LeanDictionary[Cash]):
    """Cash by currency; the account's own is there from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.account_currency = "USD"
        self.add("USD", 0.0, 1.0)

    def add(self, symbol: str, quantity: float, conversion_rate: float) -> Cash:
        """Opens a currency."""
        self._entries[symbol] = Cash(symbol, quantity, conversion_rate)
        return self._entries[symbol]

    @property
    def total_value_in_account_currency(self) -> float:
        """All cash in dollars."""
        if len(self._entries) == 1:
            return next(iter(self._entries.values())).value_in_account_currency
        return math.fsum(cash.value_in_account_currency for cash in self._entries.values())

    def convert_to_account_currency(self, source_quantity: float, source_currency: str) -> float:
        """Dollars of an amount of a currency; raises KeyError for an unknown one."""
        if source_currency == self.account_currency:
            return source_quantity
        return clean(source_quantity * self[source_currency].conversion_rate)


# -------------------------------------------------------------------- when the cash of a fill is there


def _utc(given: datetime | int) -> tuple[datetime, int]:
    """A UTC time as it was given, and in milliseconds."""
    if isinstance(given, datetime):
        return given, naive_milliseconds(given)
    return utc_datetime(given), given


class ApplyFundsSettlementModelParameters(Named):
    """Cash that a fill brings (positive) or costs, and when (UTC; the engine itself gives milliseconds)."""

    def __init__(
        self,
        portfolio: HoldingsOwner,
        security: Security,
        application_time_utc: datetime | int,
        cash_amount: CashAmount,
        fill: OrderEvent | None,
    ) -> None:
        self.portfolio = portfolio
        self.security = security
        self.utc_time, self.utc_ms = _utc(application_time_utc)
        self.cash_amount = cash_amount
        self.exact_amount = exact(cash_amount.amount)
        self.fill = fill

    @classmethod
    def of_fill(
        cls, portfolio: HoldingsOwner, security: Security, fill: OrderEvent, amount: Decimal
    ) -> ApplyFundsSettlementModelParameters:
        """What the engine gives: the amount also as LEAN's decimals hold it."""
        money = CashAmount(float(amount), security.symbol_properties.quote_currency)
        made = cls(portfolio, security, fill.utc_ms, money, fill)
        made.exact_amount = amount
        return made


class ScanSettlementModelParameters(Named):
    """What the hourly look at unsettled cash gets to see."""

    def __init__(self, portfolio: HoldingsOwner, security: Security, time_utc: datetime | int) -> None:
        self.portfolio = portfolio
        self.security = security
        self.utc_time, self.utc_ms = _utc(time_utc)


class MarginInterestRateParameters(Named):
    """The security whose interest is due, and the time (UTC)."""

    def __init__(self, security: Security, time: datetime | int) -> None:
        self.security = security
        self.time, _ = _utc(time)


class MarginInterestRateModel(Named):
    """LEAN's constant: nothing is charged on borrowed money."""

    NULL: ClassVar[MarginInterestRateModel]


class _NoInterest(MarginInterestRateModel):
    def apply_margin_interest_rate(self, margin_interest_rate_parameters: MarginInterestRateParameters) -> None:
        """Nothing."""


MarginInterestRateModel.NULL = _NoInterest()


class ConvertibleCashAmount(Named):
    """An amount of a currency in the book."""

    def __init__(self, amount: float, cash: Cash) -> None:
        self.amount = amount
        self.cash = cash

    @property
    def in_account_currency(self) -> float:
        """Dollars."""
        return clean(self.amount * self.cash.conversion_rate)


class ImmediateSettlementModel(Named):
    """Cash of a sale is there at once."""

    def apply_funds(self, apply_funds_parameters: ApplyFundsSettlementModelParameters) -> None:
        """Books the cash."""
        given = apply_funds_parameters
        given.portfolio.cash_book[given.cash_amount.currency].add_amount(given.exact_amount)

    def scan(self, settlement_parameters: ScanSettlementModelParameters) -> None:
        """Nothing is ever outstanding."""

    def get_unsettled_cash(self) -> CashAmount | None:
        """Cash still outstanding; None for none."""
        return None


class AccountCurrencyImmediateSettlementModel(ImmediateSettlementModel):
    """The same in the account's currency."""


class _Unsettled(NamedTuple):
    due_ms: int
    currency: str
    amount: Decimal


class DelayedSettlementModel(ImmediateSettlementModel):
    """Cash of a sale is there some trading days later, at a time of the exchange's day (DelayedSettlementModel.cs).

    Payments are taken at once. Unsettled cash counts in the portfolio's value and not in its free margin.
    """

    def __init__(self, number_of_days: int, time_of_day: timedelta) -> None:
        self._days = number_of_days
        self._time = time_of_day
        self._waiting: deque[_Unsettled] = deque()

    def apply_funds(self, apply_funds_parameters: ApplyFundsSettlementModelParameters) -> None:
        """Pays at once, receives later."""
        given = apply_funds_parameters
        if given.exact_amount <= 0:
            super().apply_funds(given)
            return
        hours = given.security.exchange.hours
        zone = zone_of(hours.time_zone)
        sold = zone.local(given.utc_ms)
        day, left = datetime(sold.year, sold.month, sold.day), self._days
        while left:
            day += timedelta(days=1)
            left -= 1 if hours.is_date_open(day) else 0
        currency = given.cash_amount.currency
        given.portfolio.unsettled_cash_book[currency].add_amount(given.exact_amount)
        self._waiting.append(_Unsettled(zone.utc_ms(day + self._time), currency, given.exact_amount))

    def scan(self, settlement_parameters: ScanSettlementModelParameters) -> None:
        """Moves what is due to the settled cash, in the order of the sales."""
        given = settlement_parameters
        while self._waiting and given.utc_ms >= self._waiting[0].due_ms:
            due = self._waiting.popleft()
            given.portfolio.unsettled_cash_book[due.currency].add_amount(-due.amount)
            given.portfolio.cash_book[due.currency].add_amount(due.amount)

    def get_unsettled_cash(self) -> CashAmount | None:
        """Cash still outstanding; None for none."""
        if not self._waiting:
            return None
        return CashAmount(float(sum(one.amount for one in self._waiting)), self._waiting[0].currency)

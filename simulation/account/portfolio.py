"""Cash, holdings and portfolio value, as LEAN keeps them: `algorithm.portfolio`.

Money is dollars, positive in; a short option's value is negative. The books are kept in decimals so that figures and
messages agree with LEAN's to the last digit; algorithms see floats.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import TypeVar

from simulation.account.buying_power import BuyingPowerModel, HasSufficientBuyingPowerForOrderResult
from simulation.account.faces import AccountEngine
from simulation.account.holdings import (
    ApplyFundsSettlementModelParameters,
    CashBook,
    ImmediateSettlementModel,
    MarginInterestRateParameters,
    ScanSettlementModelParameters,
    SecurityHolding,
    multiplier_of,
)
from simulation.account.margin_calls import CallsMargin, DefaultMarginCallModel
from simulation.account.positions import PositionManager, SecurityPositionGroupModel
from simulation.account.tradebuilder import TradeBuilder, is_win
from simulation.lean.clock import HOUR_MS
from simulation.lean.dictionaries import KeyValuePair, LeanDictionary
from simulation.lean.enums import OptionRight, OrderDirection, OrderType, SecurityType, SettlementType
from simulation.lean.names import signed
from simulation.lean.numbers import clean, exact
from simulation.lean.symbols import Symbol
from simulation.orders.exercise import exact_price
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee
from simulation.orders.orders import Order
from simulation.orders.splits import SplitWatch
from simulation.orders.transaction_manager import SecurityTransactionManager
from simulation.securities.derivatives import SecurityManager
from simulation.securities.securities import Security

D = TypeVar("D")
Purse = tuple[Decimal, float, Decimal, float]
Prices = tuple[int, int, int]
"""The instant that prices are of, and how often holdings and what prices are read from have changed."""
MARGIN_PRODUCTS = (SecurityType.FUTURE, SecurityType.CFD, SecurityType.CRYPTO_FUTURE)
_DAILY_SETTLED = (SecurityType.FUTURE,)


class SecurityPortfolioManager(LeanDictionary[SecurityHolding]):
    """Holdings by symbol, cash, portfolio value and margin."""

    def __init__(self, engine: AccountEngine) -> None:
        super().__init__()
        self._engine = engine
        self.cash_book = CashBook()
        self.unsettled_cash_book = CashBook()
        self.invested_securities: dict[Symbol, Security] = {}
        self.holding_changes = 0
        self._known: tuple[tuple[Purse, Prices | None] | None, float] = (None, 0.0)  # the last value, and of what
        self.positions = PositionManager(self)
        self.margin_call_model: CallsMargin = DefaultMarginCallModel(self)
        self.trade_builder = TradeBuilder()
        self._settlement_dates: dict[Symbol, date] = {}
        self._splits = SplitWatch(engine)
        self._settled_quantity: dict[Symbol, float] = {}

    # ---------------------------------------------------------------- dictionary of holdings

    @property
    def securities(self) -> SecurityManager:
        """The algorithm's securities."""
        return self._engine.securities

    @property
    def transactions(self) -> SecurityTransactionManager:
        """The algorithm's transaction manager."""
        return self._engine.transactions

    def new_holding(self, security: Security) -> SecurityHolding:
        """The holding of a security that has just been created (engine only)."""
        return SecurityHolding(security, self)

    def __getitem__(self, key: object) -> SecurityHolding:
        return self._engine.securities[key].holdings  # type: ignore[no-any-return]

    def __contains__(self, key: object) -> bool:
        return key in self._engine.securities

    def __iter__(self) -> Iterator[KeyValuePair]:  # type: ignore[explicit-any]  # a pair of LEAN's holds anything
        return iter([KeyValuePair(pair.key, pair.value.holdings) for pair in self._engine.securities])

    def __len__(self) -> int:
        return len(self._engine.securities)

    def get(self, key: object, default_value: D | None = None) -> SecurityHolding | D | None:
        """The holding of a symbol, or the default."""
        return self[key] if self.contains_key(key) else default_value

    def keys(self) -> list[Symbol]:
        """Symbols of all active securities."""
        return [pair.key for pair in self]

    def values(self) -> list[SecurityHolding]:
        """Holdings of all active securities."""
        return [pair.value for pair in self]

    def try_get_value(self, key: object, value: SecurityHolding | None = None) -> tuple[bool, SecurityHolding | None]:
        """(found, holding)."""
        return key in self, self.get(key, value)

    # ---------------------------------------------------------------- money

    @property
    def cash(self) -> float:
        """Settled cash in dollars."""
        return self.cash_book.total_value_in_account_currency

    @property
    def unsettled_cash(self) -> float:
        """Cash of sales that settle later."""
        return self.unsettled_cash_book.total_value_in_account_currency

    @signed("cash", "symbol, cash, conversion_rate")
    def set_cash(self, what: float | str, amount: float = 0.0, conversion_rate: float = 1.0) -> None:
        """Sets the account's cash, or that of a named currency with its rate."""
        if isinstance(what, str):
            if what in self.cash_book:
                self.cash_book[what].set_amount(amount)
                self.cash_book[what].conversion_rate = conversion_rate
            else:
                self.cash_book.add(what, amount, conversion_rate)
        else:
            self.cash_book[self.cash_book.account_currency].set_amount(what)

    @property
    def total_portfolio_value(self) -> float:
        """Cash plus the market value of everything held; futures count with their unsettled profit."""
        stands_on = self._stands_on()
        if stands_on is not None and stands_on == self._known[0]:
            return self._known[1]
        total = (
            self.cash_book.total_value_in_account_currency + self.unsettled_cash_book.total_value_in_account_currency
        )
        for security in self.invested_securities.values():
            held = security.holdings
            if security.type in MARGIN_PRODUCTS:
                total += held.unsettled_profit
                stands_on = None  # what of it is settled moves by itself
            else:
                total += held.holdings_value
        value = clean(total)
        self._known = (stands_on, value)
        return value

    def _stands_on(self) -> tuple[Purse, Prices | None] | None:
        """What the account's value follows from, to be compared; None where it is worked out whenever asked for."""
        purse = self.purse()
        if purse is None or not self.invested_securities:
            return None if purse is None else (purse, None)
        return purse, (self._engine.data_ms, self.holding_changes, self._engine.securities.repriced)

    def purse(self) -> Purse | None:
        """Cash and its rate, settled and unsettled, to be compared; None while there is more than one currency."""
        if len(self.cash_book._entries) + len(self.unsettled_cash_book._entries) != 2:
            return None
        (cash,), (later,) = self.cash_book._entries.values(), self.unsettled_cash_book._entries.values()
        return cash.book, cash.conversion_rate, later.book, later.conversion_rate

    @property
    def total_portfolio_value_less_free_buffer(self) -> float:
        """Portfolio value less what `settings` keeps free when positions are sized."""
        settings = self._engine.algorithm.settings
        value = self.total_portfolio_value
        free = settings.free_portfolio_value
        return clean(value - (value * settings.free_portfolio_value_percentage if free is None else free))

    @property
    def total_holdings_value(self) -> float:
        """Sum of the holdings' absolute values."""
        return clean(sum(s.holdings.absolute_holdings_value for s in self.invested_securities.values()))

    @property
    def total_absolute_holdings_cost(self) -> float:
        """Sum of the holdings' absolute costs."""
        return clean(sum(s.holdings.absolute_holdings_cost for s in self.invested_securities.values()))

    @property
    def total_unlevered_absolute_holdings_cost(self) -> float:
        """The same divided by each security's leverage."""
        return clean(sum(s.holdings.unlevered_absolute_holdings_cost for s in self.invested_securities.values()))

    @property
    def total_unrealized_profit(self) -> float:
        """Sum of what closing everything now would earn."""
        return clean(sum(s.holdings.unrealized_profit for s in self.invested_securities.values()))

    @property
    def total_unrealised_profit(self) -> float:
        """LEAN's second spelling."""
        return self.total_unrealized_profit

    def _over_all(self, name: str) -> float:
        return clean(sum(float(getattr(security.holdings, name)) for security in self._engine.securities.total))

    @property
    def total_fees(self) -> float:
        """Fees paid so far."""
        return self._over_all("total_fees")

    @property
    def total_profit(self) -> float:
        """Realised profit before fees."""
        return self._over_all("profit")

    @property
    def total_net_profit(self) -> float:
        """Realised profit after fees."""
        return self._over_all("net_profit")

    @property
    def total_sale_volume(self) -> float:
        """Dollars traded so far."""
        return self._over_all("total_sale_volume")

    @property
    def hold_stock(self) -> bool:
        """Whether anything is held."""
        return bool(self.invested_securities)

    @property
    def invested(self) -> bool:
        """Whether anything is held."""
        return bool(self.invested_securities)

    # ---------------------------------------------------------------- margin

    @property
    def total_margin_used(self) -> float:
        """Maintenance margin of all position groups."""
        groups = () if self.takes_no_margin else self.positions.groups
        return clean(sum(group.reserved_buying_power() for group in groups))

    @property
    def takes_no_margin(self) -> bool:
        """Whether nothing that is held takes margin, whatever its price: every security alone, by a model without."""
        null = BuyingPowerModel.NULL
        held = self.invested_securities.values()
        return self.positions.is_only_default_groups and all(one.buying_power_model is null for one in held)

    @property
    def is_never_called(self) -> bool:
        """Whether no call for margin can come and no warning, while what is held stays the same."""
        return type(self.margin_call_model) is DefaultMarginCallModel and self.takes_no_margin

    @property
    def margin_remaining(self) -> float:
        """Portfolio value not held as margin."""
        return self.get_margin_remaining()

    @signed("symbol, direction=...", "total_portfolio_value")
    def get_margin_remaining(self, what: object = None, direction: OrderDirection = OrderDirection.BUY) -> float:
        """Free margin of the account (optionally at a given portfolio value), or what may be used on one symbol."""
        if what is None or isinstance(what, (int, float)):
            value = self.total_portfolio_value if what is None else float(what)
            return clean(value - self.unsettled_cash - self.total_margin_used)
        return self.positions.buying_power_of_symbol(self._engine.securities[what], direction)

    def get_buying_power(self, symbol: Symbol, direction: OrderDirection = OrderDirection.BUY) -> float:
        """What may be used on one symbol in one direction."""
        return self.get_margin_remaining(symbol, direction)

    def set_margin_call_model(self, margin_call_model: CallsMargin) -> None:
        """Replaces the margin call model."""
        self.margin_call_model = margin_call_model

    def set_positions(self, position_group_model: SecurityPositionGroupModel) -> None:
        """Replaces the grouping of positions (SecurityPositionGroupModel.NULL: every security alone)."""
        self.positions.use(position_group_model)

    def has_sufficient_buying_power_for_order(self, orders: list[Order]) -> HasSufficientBuyingPowerForOrderResult:
        """Whether the account can carry the orders together; raises ValueError when one symbol occurs twice."""
        return self.positions.check(orders)

    # ---------------------------------------------------------------- fills (engine only)

    def holding_changed(self, security: Security) -> None:
        """Keeps the list of what is held, and lets the groups be formed anew."""
        if security.holdings.invested:
            self.invested_securities[security.symbol] = security
        else:
            self.invested_securities.pop(security.symbol, None)
        self.holding_changes += 1
        self.positions.invalidate()

    def has_short_options(self) -> bool:
        """Whether any option is held short."""
        if not self.invested_securities:
            return False
        return any(s.holdings.quantity < 0 and s.is_option for s in self.invested_securities.values())

    def short_options(self) -> list[Security]:
        """Options held short, by ticker (then in the order they were added)."""
        shorts = [s for s in self._engine.securities.values() if s.is_option and s.holdings.is_short]
        return sorted(shorts, key=lambda security: str(security.symbol.id.symbol))

    def process_fills(self, fills: list[OrderEvent]) -> None:
        """Books fills: fee, cash, realised profit, average price and quantity."""
        for fill in fills:
            self._process_fill(self._engine.securities[fill.symbol], fill)

    def _process_fill(self, security: Security, fill: OrderEvent) -> None:
        held: SecurityHolding = security.holdings
        held.total_sale_volume += held.quantity_value(fill.absolute_fill_quantity, fill.fill_price)
        fee = self._charge(held, fill.order_fee)
        quantity, price = exact(fill.fill_quantity), exact(fill.fill_price)
        if security.type not in MARGIN_PRODUCTS:
            self._settle(security, -quantity * price * multiplier_of(security), fill)
        was, selling = held.quantity, fill.direction == OrderDirection.SELL
        if was > 0 if selling else was < 0:
            self._close(security, fill, fee)
        after = float(exact(was) + quantity)
        if not after and was < 0:
            after = -0.0  # a decimal keeps the sign of the short position that was closed
        held.set_holdings(_new_average(exact(was), held.average, quantity, price), after)
        ticket = fill.ticket
        if security.is_option and ticket is not None and ticket.order_type == OrderType.OPTION_EXERCISE:
            profit = held.last_trade_profit
            word = "Profit: +" if profit >= 0 else "Loss: "
            fill.message = f"{fill.message}. {word}{_plain(profit)}"

    def _charge(self, held: SecurityHolding, fee: OrderFee) -> float:
        if not fee.value.amount:
            return fee.value.amount
        dollars = self.cash_book.convert_to_account_currency(fee.value.amount, fee.value.currency)
        held.total_fees = clean(held.total_fees + dollars)
        self.cash_book[fee.value.currency].add_amount(-fee.value.amount)
        return dollars

    def _add_cash(self, security: Security, amount: Decimal) -> None:
        self.cash_book[security.symbol_properties.quote_currency].add_amount(amount)

    def _settle(self, security: Security, amount: Decimal, fill: OrderEvent) -> None:
        """Hands the cash of a fill to the security's settlement model."""
        model = security.settlement_model
        if model is None or type(model) is ImmediateSettlementModel:
            self._add_cash(security, amount)
        else:
            model.apply_funds(ApplyFundsSettlementModelParameters.of_fill(self, security, fill, amount))

    def _close(self, security: Security, fill: OrderEvent, fee: float) -> None:
        held: SecurityHolding = security.holdings
        closed = exact(min(fill.absolute_fill_quantity, held.absolute_quantity)) * (-1 if fill.fill_quantity > 0 else 1)
        multiplier = multiplier_of(security)
        profit = exact(fill.fill_price) * closed * multiplier - held.average * closed * multiplier
        if security.type in MARGIN_PRODUCTS:
            self._settle(security, profit - self._unwind_settled(security, closed), fill)
        profit += self._cash_settlement(security, fill)
        held.add_profit(profit)
        net = clean(float(profit) * security.quote_currency.conversion_rate - 2 * fee)
        won = is_win(fill, security, net)
        self._engine.transactions.record_profit(self._engine.utc_ms, net, won)

    def _cash_settlement(self, security: Security, fill: OrderEvent) -> Decimal:
        ticket = fill.ticket
        if ticket is None or ticket.order_type != OrderType.OPTION_EXERCISE or not security.is_option:
            return Decimal(0)
        if security.exercise_settlement != SettlementType.CASH:
            return Decimal(0)
        price, strike = exact_price(security.underlying), exact(security.scaled_strike_price)
        intrinsic = max(Decimal(0), price - strike if security.right == OptionRight.CALL else strike - price)
        amount = -intrinsic * exact(security.contract_unit_of_trade) * exact(ticket.quantity)
        if not amount:
            return Decimal(0)
        self._settle(security, amount, fill)
        return amount

    def _unwind_settled(self, security: Security, closed: Decimal) -> Decimal:
        """The part of a future's daily settled profit that a closing fill takes out of the books."""
        settled = exact(self._settled_quantity.get(security.symbol, 0.0))
        if not settled:
            return Decimal(0)
        part = min(abs(closed), abs(settled)) * (1 if closed > 0 else -1)
        removed = part / settled * exact(security.holdings.settled_profit)
        self._settled_quantity[security.symbol] = float(settled - part)
        security.holdings.settled_profit = clean(security.holdings.settled_profit - float(removed))
        return removed

    def settlement_scan(self, ms: int) -> int:
        """What is looked at hourly (kernel step 6): interest, unsettled cash, the daily profit of futures, splits.

        Gives the next instant.
        """
        for security in self._engine.securities.values():
            if security.margin_interest_rate_model is not None:
                interest = MarginInterestRateParameters(security, ms)
                security.margin_interest_rate_model.apply_margin_interest_rate(interest)
            model = security.settlement_model
            if model is not None and type(model) is not ImmediateSettlementModel:
                model.scan(ScanSettlementModelParameters(self, security, ms))
        self._settle_futures()
        return self._splits.scan(ms, ms // HOUR_MS * HOUR_MS + HOUR_MS)

    def _settle_futures(self) -> None:
        """Pays the daily profit of futures on the first scan of a new exchange date."""
        for security in self._engine.securities.values():
            if security.type not in _DAILY_SETTLED or security.symbol.is_canonical():
                continue
            today = security.local_time.date()
            last = self._settlement_dates.get(security.symbol)
            if last is not None and last >= today:
                continue
            self._settlement_dates[security.symbol] = today
            if last is not None and security.holdings.invested:
                held = security.holdings
                self._settled_quantity[security.symbol] = held.quantity
                daily = clean(held.total_close_profit(False, security.settlement_price()) - held.settled_profit)
                held.settled_profit = clean(held.settled_profit + daily)
                self._add_cash(security, exact(daily))

    def pay_dividend(self, security: Security, distribution: float) -> None:
        """Pays a dividend per share on raw-priced data; a short position pays it."""
        amount = clean(security.holdings.quantity * distribution * security.quote_currency.conversion_rate)
        self.cash_book[self.cash_book.account_currency].add_amount(amount)
        security.holdings.total_dividends = clean(security.holdings.total_dividends + amount)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.lstrip("-") if not value else text


def _new_average(held: Decimal, average: Decimal, quantity: Decimal, price: Decimal) -> Decimal:
    """Average price after a fill: weighted when the position grows, kept when it shrinks, new when it turns."""
    after = held + quantity
    if not held:
        return price
    if (held > 0) == (quantity > 0):
        return (average * held + quantity * price) / after
    if not after:
        return Decimal(0)
    return average if (after > 0) == (held > 0) else price

"""Fees and slippage: what a fill costs under each brokerage's schedule."""

from __future__ import annotations

from typing import ClassVar, Protocol

from simulation.lean.enums import OrderDirection, OrderType, SecurityType
from simulation.lean.names import Named
from simulation.lean.numbers import clean
from simulation.orders.faces import PricedSecurity
from simulation.orders.order_parts import CashAmount, OrderFee
from simulation.orders.orders import Order

USD = "USD"


class Currencies:
    """Names of currencies as LEAN writes them; the account's is the dollar."""

    USD, EUR, GBP = "USD", "EUR", "GBP"
    NULL_CURRENCY = "QCC"


NO_PRICE = 0.0  # an exercise is valued at nothing


class ChargedSecurity(PricedSecurity, Protocol):
    """A security with the models that say what trading it costs."""

    @property
    def fee_model(self) -> FeeModel:
        """What an order costs."""

    @property
    def slippage_model(self) -> SlippageModel:
        """By how much a fill is worse."""


class OrderFeeParameters(Named):
    """What a fee model gets to see."""

    def __init__(self, security: ChargedSecurity, order: Order) -> None:
        self.security = security
        self.order = order


class FeeModel(Named):
    """Base of fee models, also of those written in algorithms; the base charges nothing."""

    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee:
        """Fee of the whole order as if it filled now, in dollars."""
        return OrderFee(CashAmount(0.0, USD))


class ConstantFeeModel(FeeModel):
    """The same fee for every order."""

    def __init__(self, fee: float, currency: str = USD) -> None:
        self._fee = OrderFee(CashAmount(abs(fee), currency))

    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee:
        """The constant fee."""
        return self._fee


class TastytradeFeeModel(FeeModel):
    """tastytrade: options 1.00 to open and free to close, futures 1.25, their options 2.50 to open.

    Open or close is decided by the holdings before the fill (TastytradeFeeModel.cs:52).
    """

    _OPENING: ClassVar[dict[SecurityType, float]] = {
        SecurityType.OPTION: 1.0,
        SecurityType.INDEX_OPTION: 1.0,
        SecurityType.FUTURE_OPTION: 2.5,
    }

    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee:
        """Fee of the order in dollars."""
        security, order = parameters.security, parameters.order
        rate = self._OPENING.get(security.type, 0.0)
        held = security.holdings.quantity
        if security.type == SecurityType.FUTURE:
            rate = 1.25
        elif held < 0 if order.direction == OrderDirection.BUY else held > 0:
            rate = 0.0
        return OrderFee(CashAmount(order.absolute_quantity * rate, USD))


_MICROS = ("MYM", "M2K", "MES", "MNQ", "2YY", "5YY", "10Y", "30Y", "MCL", "MGC", "SIL")
_E_MINIS = ("ES", "NQ", "YM", "RTY", "EMD")
_SMALL_CURRENCIES = ("M6E", "M6A", "M6B", "MCD", "MJY", "MSF", "M6J", "MIR", "M6C", "M6S", "MNH")
# Interactive Brokers' published commissions and exchange fees per contract, USD (InteractiveBrokersFeeModel.cs:432).
_FUTURE_COMMISSION = {
    **dict.fromkeys(_MICROS, 0.25),
    **dict.fromkeys(_SMALL_CURRENCIES, 0.15),
    **{"BTC": 5.0, "MBT": 2.25, "ETH": 3.0, "MET": 0.20, "MIB": 2.25, "MRB": 0.20, "E7": 0.50, "J7": 0.50},
}
_FUTURE_EXCHANGE = {
    **dict.fromkeys(_E_MINIS, 1.28),
    **dict.fromkeys(_MICROS, 0.30),
    **dict.fromkeys(_SMALL_CURRENCIES, 0.24),
    **{"BTC": 6.0, "MBT": 2.5, "ETH": 4.0, "MET": 0.20, "MIB": 2.5, "MRB": 0.20, "E7": 0.85, "J7": 0.85},
}
_FUTURE_OPTION_COMMISSION = {
    **dict.fromkeys(_MICROS, 0.25),
    **{"BTC": 5.0, "MBT": 1.25, "ETH": 3.0, "MET": 0.10, "MIB": 1.25, "MRB": 0.10},
}
_FUTURE_OPTION_EXCHANGE = {
    **dict.fromkeys(_E_MINIS, 0.55),
    **dict.fromkeys(_MICROS, 0.20),
    **{"BTC": 5.0, "MBT": 2.5, "ETH": 4.0, "MET": 0.20, "MIB": 2.5, "MRB": 0.20},
}
_REGULATORY = 0.02


def potential_price(order: Order, security: ChargedSecurity) -> float:
    """The price at which the fee schedule values an order before it fills: BID for a purchase at the market."""
    if order.type in (OrderType.STOP_MARKET, OrderType.TRAILING_STOP):
        return float(getattr(order, "stop_price", 0.0))
    if order.type == OrderType.COMBO_LIMIT and order.group_order_manager is not None:
        return order.group_order_manager.limit_price
    if hasattr(order, "limit_price"):
        return float(order.limit_price)
    if order.type == OrderType.OPTION_EXERCISE:
        return NO_PRICE
    return float(security.bid_price if order.direction == OrderDirection.BUY else security.ask_price)


class InteractiveBrokersFeeModel(FeeModel):
    """Interactive Brokers' schedule, which is LEAN's default for equities, options, futures and their options."""

    def __init__(self, monthly_forex_usd: float = 0.0, monthly_option_contracts: float = 0.0) -> None:
        self._monthly_contracts = monthly_option_contracts

    def get_order_fee(self, parameters: OrderFeeParameters) -> OrderFee:
        """Fee of the order in dollars; raises ValueError for a security type without a schedule."""
        security, order = parameters.security, parameters.order
        if order.type == OrderType.OPTION_EXERCISE and order.security_type == SecurityType.OPTION:
            return OrderFee.ZERO
        quantity = order.absolute_quantity
        if security.type in (SecurityType.OPTION, SecurityType.INDEX_OPTION):
            fee = max(quantity * self._option_rate(potential_price(order, security)), 1.0)
        elif security.type in (SecurityType.FUTURE, SecurityType.FUTURE_OPTION):
            fee = quantity * self._future_rate(security)
        elif security.type == SecurityType.EQUITY:
            fee = self._equity(quantity, abs(order.get_value(security)))
        else:
            raise ValueError(f"no Interactive Brokers fee for security type {security.type} ({security.symbol})")
        return OrderFee(CashAmount(fee, USD))

    def _option_rate(self, premium: float) -> float:
        if self._monthly_contracts > 100_000:
            return 0.15
        if self._monthly_contracts > 50_000:
            return 0.25
        if self._monthly_contracts > 10_000:
            return 0.5 if premium >= 0.05 else 0.25
        return 0.65 if premium >= 0.1 else 0.5 if premium >= 0.05 else 0.25

    @staticmethod
    def _future_rate(security: ChargedSecurity) -> float:
        if security.type == SecurityType.FUTURE:
            root = security.symbol.id.symbol
            commission, exchange = _FUTURE_COMMISSION, _FUTURE_EXCHANGE
        else:
            root = security.symbol.underlying.id.symbol
            commission, exchange = _FUTURE_OPTION_COMMISSION, _FUTURE_OPTION_EXCHANGE
        return clean(commission.get(root, 0.85) + exchange.get(root, 1.60) + _REGULATORY)

    @staticmethod
    def _equity(quantity: float, value: float) -> float:
        fee = 0.005 * quantity
        if fee < 1.0:
            return 1.0
        return min(fee, 0.005 * value)


class SlippageModel(Named):
    """Base of slippage models; the base has none."""

    def get_slippage_approximation(self, asset: ChargedSecurity, order: Order) -> float:
        """Dollars per unit by which a market or stop fill is worse."""
        return 0.0 * order.quantity


class NullSlippageModel(SlippageModel):
    """No slippage: LEAN's default."""


class ConstantSlippageModel(SlippageModel):
    """A fixed fraction of the price."""

    def __init__(self, slippage_percent: float) -> None:
        self._fraction = slippage_percent

    def get_slippage_approximation(self, asset: ChargedSecurity, order: Order) -> float:
        """Fraction of the last price, dollars per unit."""
        last = asset.get_last_data()
        return 0.0 * self._fraction if last is None else float(last.value) * self._fraction

"""Buying power models of single securities: shares on leverage, options by LEAN's naked formula, and none at all.

All amounts are dollars. Initial margins carry the sign of the quantity (BuyingPowerModel.cs), maintenance margins are
positive. Groups of positions are margined in `strategies_margin`, futures in `margin_futures`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

from simulation.account.faces import PortfolioFace
from simulation.account.holdings import CashBook
from simulation.lean.enums import OptionRight, OrderDirection, OrderType, SecurityType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, decimal_text
from simulation.orders.fees import OrderFeeParameters
from simulation.orders.order_checks import zero_price_message
from simulation.orders.orders import LimitOrder, MarketOrder, Order
from simulation.securities.securities import Security

_LONGEST_SEARCH = 100_000
BELOW_MINIMUM = "The target order margin "


class InitialMargin(float, Named):
    """Margin that opening a position needs, dollars with the sign of the quantity."""

    @property
    def value(self) -> float:
        """The amount."""
        return float(self)


class MaintenanceMargin(InitialMargin):
    """Margin that holding a position needs, dollars."""


class OptionInitialMargin(InitialMargin):
    """Margin plus the premium that has to be paid (a premium received does not reduce it)."""

    premium: float
    value_without_premium: float

    def __new__(cls, value_without_premium: float, premium: float) -> OptionInitialMargin:
        """The sum of margin and the premium where that is positive."""
        made = float.__new__(cls, clean(value_without_premium + max(premium, 0.0)))
        made.premium, made.value_without_premium = clean(premium), clean(value_without_premium)
        return made


@dataclass
class MaintenanceMarginParameters(Named):
    """A security, a signed quantity of it and its values at average and at market price, dollars."""

    security: Security
    quantity: float
    holdings_cost: float
    holdings_value: float

    @property
    def absolute_quantity(self) -> float:
        """Quantity without sign."""
        return abs(self.quantity)

    @property
    def absolute_holdings_cost(self) -> float:
        """Cost without sign."""
        return abs(self.holdings_cost)

    @property
    def absolute_holdings_value(self) -> float:
        """Market value without sign."""
        return abs(self.holdings_value)

    @staticmethod
    def for_quantity_at_current_price(security: Security, quantity: float) -> MaintenanceMarginParameters:
        """Cost and value both at the last price."""
        value = security.holdings.quantity_value(quantity)
        return MaintenanceMarginParameters(security, quantity, value, value)


@dataclass
class InitialMarginParameters(Named):
    """A security and a signed quantity of it."""

    security: Security
    quantity: float


@dataclass
class InitialMarginRequiredForOrderParameters(Named):
    """A security and an order in it."""

    currency_converter: CashBook
    security: Security
    order: Order


@dataclass
class HasSufficientBuyingPowerForOrderParameters(Named):
    """What a check of one order gets to see."""

    portfolio: PortfolioFace
    security: Security
    order: Order

    def sufficient(self) -> HasSufficientBuyingPowerForOrderResult:
        """Yes."""
        return HasSufficientBuyingPowerForOrderResult(True)

    def insufficient(self, reason: str) -> HasSufficientBuyingPowerForOrderResult:
        """No, because."""
        return HasSufficientBuyingPowerForOrderResult(False, reason)


@dataclass
class HasSufficientBuyingPowerForOrderResult(Named):
    """Whether the account can carry an order, and why not."""

    is_sufficient: bool
    reason: str = ""


@dataclass
class GetMaximumOrderQuantityForTargetBuyingPowerParameters(Named):
    """Target as a fraction of the portfolio's margin; the smallest change worth an order as a fraction too."""

    portfolio: PortfolioFace
    security: Security
    target_buying_power: float
    minimum_order_margin_portfolio_percentage: float = 0.0
    silence_non_error_reasons: bool = False


@dataclass
class GetMaximumOrderQuantityForDeltaBuyingPowerParameters(Named):
    """Change of margin in dollars."""

    portfolio: PortfolioFace
    security: Security
    delta_buying_power: float
    minimum_order_margin_portfolio_percentage: float = 0.0
    silence_non_error_reasons: bool = False


@dataclass
class GetMaximumOrderQuantityResult(Named):
    """Signed order quantity, and a reason when it is none."""

    quantity: float
    reason: str = ""
    is_error: bool = False


class ReservedBuyingPowerForPositionParameters(Protocol):
    """A position whose margin is asked for."""

    security: Security


class BuyingPowerParameters(Protocol):
    """A security and a direction for which free margin is asked for."""

    portfolio: PortfolioFace
    security: Security
    direction: OrderDirection


@dataclass
class ReservedBuyingPowerForPosition(Named):
    """Margin that a position holds back, dollars."""

    absolute_used_buying_power: float


@dataclass
class BuyingPower(Named):
    """Margin that is free for a security in one direction, dollars."""

    value: float


class BuyingPowerModel(Named):
    """Margin as a fraction of the position's value (1 / leverage)."""

    NULL: ClassVar[BuyingPowerModel]

    def __init__(self, leverage: float = 1.0, required_free_buying_power_percent: float = 0.0, *_: float) -> None:
        if leverage < 1:
            raise ValueError(f"leverage {leverage}: accepted is 1 or more")
        self._initial = self._maintenance = 1 / leverage
        self.required_free_buying_power_percent = required_free_buying_power_percent

    def __str__(self) -> str:
        return f"QuantConnect.Securities.{type(self).__name__}"

    def get_leverage(self, security: Security) -> float:
        """Value that one dollar of margin carries."""
        return 1 / self._initial

    def set_leverage(self, security: Security, leverage: float) -> None:
        """Sets it; raises ValueError below 1."""
        if leverage < 1:
            raise ValueError(f"leverage {leverage}: accepted is 1 or more")
        self._initial = self._maintenance = 1 / leverage

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Margin to hold the position."""
        return MaintenanceMargin(clean(parameters.absolute_holdings_value * self._maintenance))

    def get_initial_margin_requirement(self, parameters: InitialMarginParameters) -> InitialMargin:
        """Margin to open the position at the last price."""
        value = parameters.security.holdings.quantity_value(parameters.quantity)
        return InitialMargin(clean(value * self._initial))

    def get_initial_margin_required_for_order(
        self, parameters: InitialMarginRequiredForOrderParameters
    ) -> InitialMargin:
        """Margin to open the order's quantity, fees added."""
        security, order = parameters.security, parameters.order
        margin = float(self.get_initial_margin_requirement(InitialMarginParameters(security, order.quantity)))
        return InitialMargin(clean(margin + math.copysign(1, margin) * _fee(security, order) if margin else margin))

    def get_reserved_buying_power_for_position(
        self, parameters: ReservedBuyingPowerForPositionParameters
    ) -> ReservedBuyingPowerForPosition:
        """Maintenance margin of what is held now."""
        return ReservedBuyingPowerForPosition(float(self.get_maintenance_margin(_held(parameters.security))))

    def get_buying_power(self, parameters: BuyingPowerParameters) -> BuyingPower:
        """Free margin for the security in the direction asked for."""
        return BuyingPower(self._margin_remaining(parameters.portfolio, parameters.security, parameters.direction))

    def _margin_remaining(self, portfolio: PortfolioFace, security: Security, direction: OrderDirection) -> float:
        """Free margin; a reversal may use the margin of the position twice."""
        value = portfolio.total_portfolio_value
        result = portfolio.get_margin_remaining(value)
        held = security.holdings
        closing = held.is_long if direction == OrderDirection.SELL else held.is_short
        if closing and direction != OrderDirection.HOLD:
            result += float(self.get_maintenance_margin(_held(security)))
            opening = InitialMarginParameters(security, held.absolute_quantity)
            result += float(self.get_initial_margin_requirement(opening))
        return max(0.0, clean(result - value * self.required_free_buying_power_percent))

    def has_sufficient_buying_power_for_order(
        self, parameters: HasSufficientBuyingPowerForOrderParameters
    ) -> HasSufficientBuyingPowerForOrderResult:
        """Whether free margin covers the order's initial margin; an order that only reduces always passes."""
        order, security, portfolio = parameters.order, parameters.security, parameters.portfolio
        if not order.quantity:
            return parameters.sufficient()
        ticket = portfolio.transactions.get_order_ticket(order.id)
        if ticket is None:
            return parameters.insufficient(f"Null order ticket for id: {order.id}")
        if order.type == OrderType.OPTION_EXERCISE:
            return self._check_exercise(parameters, ticket.quantity_filled)
        needed = InitialMarginRequiredForOrderParameters(portfolio.cash_book, security, order)
        if _only_reduces(security, order):
            return parameters.sufficient()
        free = self._margin_remaining(portfolio, security, order.direction)
        margin = float(self.get_initial_margin_required_for_order(needed))
        return _compare(parameters, order, ticket.quantity_filled, margin, free)

    def _check_exercise(
        self, parameters: HasSufficientBuyingPowerForOrderParameters, filled: float
    ) -> HasSufficientBuyingPowerForOrderResult:
        option, portfolio, order = parameters.security, parameters.portfolio, parameters.order
        underlying = option.underlying
        if not option.is_auto_exercised(underlying.close) or not underlying.is_tradable:
            return parameters.sufficient()
        sign = -1 if option.right == OptionRight.CALL else 1
        delivery = LimitOrder(underlying.symbol, sign * order.quantity * option.contract_unit_of_trade, order.time_ms)
        delivery.id, delivery.limit_price = order.id, option.strike_price
        if _only_reduces(underlying, delivery):
            return parameters.sufficient()
        model = underlying.buying_power_model
        free = model._margin_remaining(portfolio, underlying, delivery.direction)
        released = MaintenanceMarginParameters.for_quantity_at_current_price(option, -order.quantity)
        free += float(self.get_maintenance_margin(released))
        needed = InitialMarginRequiredForOrderParameters(portfolio.cash_book, underlying, delivery)
        margin = float(model.get_initial_margin_required_for_order(needed))
        return _compare(parameters, delivery, filled, margin, free)

    # ---------------------------------------------------------------- sizing

    def get_maximum_order_quantity_for_delta_buying_power(
        self, parameters: GetMaximumOrderQuantityForDeltaBuyingPowerParameters
    ) -> GetMaximumOrderQuantityResult:
        """Order that changes the used margin by the given dollars."""
        security, portfolio = parameters.security, parameters.portfolio
        used = float(self.get_maintenance_margin(_held(security))) * (1 if security.holdings.is_long else -1)
        value = portfolio.total_portfolio_value
        target = (used + parameters.delta_buying_power) / value if value else value
        return self.get_maximum_order_quantity_for_target_buying_power(
            GetMaximumOrderQuantityForTargetBuyingPowerParameters(
                portfolio, security, target, parameters.minimum_order_margin_portfolio_percentage
            )
        )

    def get_maximum_order_quantity_for_target_buying_power(
        self, parameters: GetMaximumOrderQuantityForTargetBuyingPowerParameters
    ) -> GetMaximumOrderQuantityResult:
        """Largest order that leaves the position's margin, with fees, within the target fraction of the portfolio."""
        security, portfolio = parameters.security, parameters.portfolio
        total = portfolio.total_portfolio_value
        usable = total - total * self.required_free_buying_power_percent
        target = parameters.target_buying_power * usable
        if not target:
            return GetMaximumOrderQuantityResult(-security.holdings.quantity)
        unit = float(self.get_initial_margin_requirement(InitialMarginParameters(security, 1.0)))
        if not unit:
            return GetMaximumOrderQuantityResult(0.0, zero_price_message(security.symbol), True)
        held = InitialMarginParameters(security, security.holdings.quantity)
        difference = abs(target - float(self.get_initial_margin_requirement(held)))
        minimum = total * parameters.minimum_order_margin_portfolio_percentage
        if minimum > difference and portfolio.get_margin_remaining(total) > 0:
            text = f"{BELOW_MINIMUM}{decimal_text(difference)} is less than the minimum {decimal_text(minimum)}."
            return GetMaximumOrderQuantityResult(0.0, text)
        last = 0.0
        while True:
            quantity, margin = self._amount_to_order(security, target, unit)
            if not quantity:
                used = float(self.get_initial_margin_requirement(held))
                text = f"The order quantity is less than the lot size of {security.symbol_properties.lot_size}"
                text += f" and has been rounded to zero. Target order margin {decimal_text(target - used)}. "
                return GetMaximumOrderQuantityResult(0.0, text)
            fees = _fee(security, MarketOrder(security.symbol, quantity, security._engine.utc_ms))
            target = (usable - fees) * parameters.target_buying_power
            if last == quantity:
                text = "GetMaximumOrderQuantityForTargetBuyingPower failed to converge on the target margin: "
                raise ValueError(f"{text}{decimal_text(target)} ({security.symbol}, order fee {decimal_text(fees)})")
            if abs(margin) <= abs(target):
                return GetMaximumOrderQuantityResult(quantity)
            last = quantity

    def _amount_to_order(self, security: Security, target: float, unit: float) -> tuple[float, float]:
        """Order quantity whose resulting position needs at most the target margin, and that margin."""
        lot = security.symbol_properties.lot_size
        held = security.holdings.quantity
        raw = clean((target / unit - held) / lot)
        size = (math.ceil(raw) if target < 0 else math.floor(raw)) * lot
        for _ in range(_LONGEST_SEARCH):
            margin = float(self.get_initial_margin_requirement(InitialMarginParameters(security, size + held)))
            if not (margin < target if target < 0 else margin > target):
                return clean(size), margin
            size += lot if target < 0 else -lot
        raise ArithmeticError(f"no order quantity of {security.symbol} brings its margin down to {target}")


def _fee(security: Security, order: Order) -> float:
    return float(security.fee_model.get_order_fee(OrderFeeParameters(security, order)).value.amount)


def _held(security: Security) -> MaintenanceMarginParameters:
    held = security.holdings
    return MaintenanceMarginParameters(security, held.quantity, held.holdings_cost, held.holdings_value)


def _only_reduces(security: Security, order: Order) -> bool:
    held = security.holdings.quantity
    return bool(held * order.quantity < 0 and abs(held) >= abs(order.quantity))


def _compare(
    parameters: HasSufficientBuyingPowerForOrderParameters, order: Order, filled: float, margin: float, free: float
) -> HasSufficientBuyingPowerForOrderResult:
    remaining = clean((abs(order.quantity) - abs(filled)) / abs(order.quantity) * margin)
    if abs(remaining) > free:
        text = f"Id: {order.id}, Initial Margin: {decimal_text(remaining)}, Free Margin: {decimal_text(free)}"
        return parameters.insufficient(text)
    return parameters.sufficient()


class SecurityMarginModel(BuyingPowerModel):
    """Shares: leverage 2 in a margin account, 1 in a cash account."""


class NullBuyingPowerModel(BuyingPowerModel):
    """Takes no margin and refuses nothing."""

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Nothing."""
        return MaintenanceMargin(0.0)

    def has_sufficient_buying_power_for_order(
        self, parameters: HasSufficientBuyingPowerForOrderParameters
    ) -> HasSufficientBuyingPowerForOrderResult:
        """Always yes."""
        return parameters.sufficient()


BuyingPowerModel.NULL = NullBuyingPowerModel()


class ConstantBuyingPowerModel(BuyingPowerModel):
    """The same margin for every unit, dollars."""

    def __init__(self, margin_per_unit: float) -> None:
        super().__init__()
        self._per_unit = margin_per_unit

    def get_initial_margin_requirement(self, parameters: InitialMarginParameters) -> InitialMargin:
        """Units times the margin of one."""
        return InitialMargin(clean(parameters.quantity * self._per_unit))

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Units without sign times the margin of one."""
        return MaintenanceMargin(clean(parameters.absolute_quantity * self._per_unit))


class OptionMarginModel(SecurityMarginModel):
    """A long option costs its premium; a short one its value plus a share of the underlying less the distance.

    margin = value + contracts x unit x max(a S - OTM, 0.10 B) with a = 0.20 (equity) or 0.15 (index), B = S for calls
    and the strike for puts (OptionMarginModel.cs:110-184).
    """

    def __init__(self, required_free_buying_power_percent: float = 0.0) -> None:
        super().__init__(1.0, required_free_buying_power_percent)

    def get_leverage(self, security: Security) -> float:
        """Options are not traded on margin."""
        return 1.0

    def set_leverage(self, security: Security, leverage: float) -> None:
        """Refused: options are leveraged products."""
        raise ValueError("Options are leveraged products and different leverage cannot be set by user")

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Nothing for a long position, the naked margin for a short one."""
        if parameters.quantity >= 0:
            return MaintenanceMargin(0.0)
        return MaintenanceMargin(self._naked(parameters.security, parameters.quantity, parameters.holdings_cost))

    def get_initial_margin_requirement(self, parameters: InitialMarginParameters) -> InitialMargin:
        """Premium for a long position; the naked margin, negative, for a short one."""
        security, quantity = parameters.security, parameters.quantity
        value = security.holdings.quantity_value(quantity)
        margin = value * 0.0 if quantity >= 0 else -self._naked(security, quantity, value)
        return OptionInitialMargin(margin, value)

    def get_initial_margin_required_for_order(
        self, parameters: InitialMarginRequiredForOrderParameters
    ) -> InitialMargin:
        """Margin of the order at its own value (a limit order at the worse of limit and market), fees added."""
        security, order = parameters.security, parameters.order
        value = order.get_value(security)
        margin = value if value > 0 else -self._naked(security, order.quantity, value)
        return InitialMargin(clean(margin + math.copysign(1, margin) * _fee(security, order) if margin else margin))

    def _naked(self, option: Security, quantity: float, value: float) -> float:
        """Naked margin, positive, of a quantity whose value is given (a positive value is its own margin)."""
        underlying = option.underlying
        if not value or not option.close or not option.strike_price or underlying is None or not underlying.close:
            return 0.0 * value
        if value > 0:
            return value
        unit = option.contract_unit_of_trade
        ratio = underlying.symbol_properties.contract_multiplier / option.symbol_properties.contract_multiplier
        scale = ratio * unit * unit
        price = underlying.close / (option.scaled_strike_price / option.strike_price)
        distance = option.out_of_the_money_amount(underlying.close)
        share = 0.2 if option.type == SecurityType.OPTION else 0.15
        base = price if option.right == OptionRight.CALL else option.strike_price
        per_unit = max(0.1 * base, share * price - distance)
        return clean(-value + abs(quantity) * scale * per_unit)

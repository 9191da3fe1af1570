"""Brokerage models: which orders a broker takes, what it charges, and the models every security starts with."""

from __future__ import annotations

from datetime import time, timedelta
from typing import ClassVar, Protocol, cast

from simulation.account.buying_power import BuyingPowerModel, OptionMarginModel, SecurityMarginModel
from simulation.account.holdings import DelayedSettlementModel, ImmediateSettlementModel
from simulation.account.margin_futures import FutureMarginModel, FuturesOptionsMarginModel
from simulation.lean.enums import (
    AccountType,
    BrokerageMessageType,
    BrokerageName,
    MarketHoursState,
    OrderType,
    SecurityType,
    SettlementType,
)
from simulation.lean.names import Named
from simulation.orders.exercise import DefaultExerciseModel, DefaultOptionAssignmentModel
from simulation.orders.fees import (
    ConstantFeeModel,
    FeeModel,
    InteractiveBrokersFeeModel,
    NullSlippageModel,
    SlippageModel,
    TastytradeFeeModel,
)
from simulation.orders.fills import FillModel, FutureFillModel, FutureOptionFillModel, ImmediateFillModel
from simulation.orders.fills_equity import EquityFillModel
from simulation.orders.orders import Order
from simulation.orders.requests import UpdateOrderRequest
from simulation.securities.derivatives import Option
from simulation.securities.securities import Security

NOTHING_KEPT_FREE = 0.0
SETTLEMENT_DAYS, SETTLEMENT_TIME = 1, timedelta(hours=6)
"""Shares and their options in a cash account (Equity.DefaultSettlementDays, Option.DefaultSettlementDays)."""


DEFAULT_MARKETS = {
    SecurityType.EQUITY: "usa",
    SecurityType.OPTION: "usa",
    SecurityType.INDEX: "usa",
    SecurityType.INDEX_OPTION: "usa",
    SecurityType.FUTURE: "cme",
    SecurityType.FUTURE_OPTION: "cme",
}
"""Where a ticker is looked for when no market is named (DefaultBrokerageModel.cs)."""


class BrokerageMessageEvent(Named):
    """What a broker says: a kind, a code and a text."""

    def __init__(self, type: BrokerageMessageType, code: str, message: str) -> None:
        self.type = type
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.type.to_string()} - Code: {self.code} - {self.message}"


def _answer(given: object) -> tuple[bool, BrokerageMessageEvent | None]:
    """An algorithm's own model answers yes or no, or as C#'s out parameters come in Python: (yes or no, message)."""
    return (bool(given[0]), given[1]) if isinstance(given, tuple) else (bool(given), None)


class DefaultBrokerageModel(Named):
    """LEAN's broker when none is chosen: takes everything, charges Interactive Brokers' fees."""

    def __init__(self, account_type: AccountType = AccountType.MARGIN) -> None:
        self.account_type = account_type

    @property
    def required_free_buying_power_percent(self) -> float:
        """Fraction of the portfolio that orders must leave free."""
        return NOTHING_KEPT_FREE

    def refusal(self, security: Security, order: Order) -> BrokerageMessageEvent | None:
        """Why the broker does not take an order; None when it does."""
        if order.type == OrderType.MARKET_ON_OPEN and security.type in (
            SecurityType.FUTURE,
            SecurityType.FUTURE_OPTION,
        ):
            text = "MarketOnOpen orders are not supported for futures and future options."
            return BrokerageMessageEvent(BrokerageMessageType.WARNING, "NotSupported", text)
        taken, message = _answer(self.can_submit_order(security, order, None))
        if not taken:
            return message or BrokerageMessageEvent(BrokerageMessageType.WARNING, "InvalidOrder", "")
        return None

    def update_refusal(
        self, security: Security, order: Order, request: UpdateOrderRequest
    ) -> BrokerageMessageEvent | None:
        """Why the broker does not change an order; None when it does."""
        taken, message = _answer(self.can_update_order(security, order, request, None))
        if taken:
            return None
        text = f"BrokerageModel declared unable to update order: {order.id}"
        return message or BrokerageMessageEvent(BrokerageMessageType.WARNING, "InvalidRequest", text)

    def can_submit_order(self, security: Security, order: Order, message: object = None) -> bool:
        """For algorithms that bring their own model: whether it takes the order."""
        return True

    def can_update_order(
        self, security: Security, order: Order, request: UpdateOrderRequest, message: object = None
    ) -> bool:
        """Whether a resting order may be changed."""
        return True

    def can_execute_order(self, security: Security, order: Order) -> bool:
        """Whether a resting order may fill now."""
        return True

    def get_leverage(self, security: Security) -> float:
        """2 for shares in a margin account, else 1."""
        return 2.0 if security.type == SecurityType.EQUITY and self.account_type == AccountType.MARGIN else 1.0

    def get_fill_model(self, security: Security) -> FillModel:
        """The fill model of the security type."""
        kinds: dict[SecurityType, type[FillModel]] = {
            SecurityType.EQUITY: EquityFillModel,
            SecurityType.FUTURE: FutureFillModel,
            SecurityType.FUTURE_OPTION: FutureOptionFillModel,
        }
        return kinds.get(security.type, ImmediateFillModel)()

    def get_fee_model(self, security: Security) -> FeeModel:
        """Interactive Brokers' schedule; index options are free (DefaultBrokerageModel.cs:252)."""
        if security.type in (
            SecurityType.EQUITY,
            SecurityType.OPTION,
            SecurityType.FUTURE,
            SecurityType.FUTURE_OPTION,
        ):
            return InteractiveBrokersFeeModel()
        return ConstantFeeModel(0.0)

    def get_slippage_model(self, security: Security) -> SlippageModel:
        """None."""
        return NullSlippageModel()

    def get_settlement_model(self, security: Security) -> ImmediateSettlementModel:
        """At once; in a cash account shares and their options at six on the next trading day.

        Futures are settled daily by the portfolio's hourly scan.
        """
        if self.account_type == AccountType.CASH and security.type in (SecurityType.EQUITY, SecurityType.OPTION):
            return DelayedSettlementModel(SETTLEMENT_DAYS, SETTLEMENT_TIME)
        return ImmediateSettlementModel()

    def get_buying_power_model(self, security: Security) -> BuyingPowerModel:
        """The margin model of the security type."""
        free = self.required_free_buying_power_percent
        if security.type == SecurityType.FUTURE:
            return FutureMarginModel(free, security)
        if security.type == SecurityType.FUTURE_OPTION:
            return FuturesOptionsMarginModel(free, security)
        if security.type in (SecurityType.OPTION, SecurityType.INDEX_OPTION):
            return OptionMarginModel(free)
        return SecurityMarginModel(self.get_leverage(security), free)


class InteractiveBrokersBrokerageModel(DefaultBrokerageModel):
    """Interactive Brokers: its fees for index options too, and the orders it does not take."""

    _AT_OPEN: ClassVar[tuple[SecurityType, ...]] = (
        SecurityType.EQUITY,
        SecurityType.OPTION,
        SecurityType.FUTURE_OPTION,
        SecurityType.INDEX_OPTION,
    )

    def refusal(self, security: Security, order: Order) -> BrokerageMessageEvent | None:
        """Why the broker does not take an order; None when it does (InteractiveBrokersBrokerageModel.cs:178)."""
        name, kind = type(self).__name__, security.type.to_string()
        code, text = "NotSupported", ""
        if order.type == OrderType.MARKET_ON_CLOSE and security.type not in (SecurityType.FUTURE, SecurityType.EQUITY):
            code = f"Unsupported order type for {kind} security type"
            text = "InteractiveBrokers does not support Market-on-Close orders for other security types different than "
            text += "Future and Equity."
        elif order.type == OrderType.MARKET_ON_OPEN and security.type not in self._AT_OPEN:
            code = "UnsupportedSecurityType"
            text = f"The broker does not support Market-on-Open orders for security type {kind}"
        elif order.type == OrderType.MARKET_ON_OPEN and (window := _missed_window(security)) is not None:
            text = f"MarketOnOpen submission time is invalid. Valid local times are {window}. Consider setting "
            text += "daily_precise_end_time = false or using self.schedule.on."
        elif order.type == OrderType.COMBO_LEG_LIMIT and _legs(order) >= 4:
            text = f"The {name} does not support four-leg ComboLegLimit orders. Use ComboLimit orders for four-leg "
            text += "combinations or more."
        elif order.type == OrderType.OPTION_EXERCISE and security.exercise_settlement == SettlementType.CASH:
            text = f"The {name} does not support {order.type.to_string()} exercises for index and cash-settled options."
        return BrokerageMessageEvent(BrokerageMessageType.WARNING, code, text) if text else None

    def get_fee_model(self, security: Security) -> FeeModel:
        """Interactive Brokers' schedule."""
        if security.type == SecurityType.INDEX:
            return ConstantFeeModel(0.0)
        return InteractiveBrokersFeeModel()


class TastytradeBrokerageModel(DefaultBrokerageModel):
    """tastytrade: five kinds of security, five kinds of order, no combo that crosses zero."""

    _SECURITIES: ClassVar[tuple[SecurityType, ...]] = (
        SecurityType.EQUITY,
        SecurityType.OPTION,
        SecurityType.INDEX_OPTION,
        SecurityType.FUTURE,
        SecurityType.FUTURE_OPTION,
    )
    _ORDERS: ClassVar[tuple[OrderType, ...]] = (
        OrderType.MARKET,
        OrderType.LIMIT,
        OrderType.STOP_MARKET,
        OrderType.STOP_LIMIT,
        OrderType.COMBO_LIMIT,
    )

    def get_fee_model(self, security: Security) -> FeeModel:
        """tastytrade's schedule."""
        return TastytradeFeeModel()

    def refusal(self, security: Security, order: Order) -> BrokerageMessageEvent | None:
        """Why the broker does not take an order; None when it does."""
        name = type(self).__name__
        kind = order.type.to_string()
        if security.type not in self._SECURITIES:
            text = f"The {name} does not support {security.type.to_string()} security type."
        elif order.type not in self._ORDERS:
            known = ",".join(one.to_string() for one in self._ORDERS)
            text = f"The {name} does not support {kind} order type. Only supports [{known}]"
        elif order.type == OrderType.COMBO_LIMIT and _crosses_zero(security.holdings.quantity, order.quantity):
            text = (
                f"Order type '{kind}' is not supported for orders that cross the zero holdings threshold in the {name}."
            )
            text += " This means you cannot change a position from positive to negative or vice versa using this order"
            text += " type. Please close the existing position first."
        else:
            return super().refusal(security, order)
        return BrokerageMessageEvent(BrokerageMessageType.WARNING, "NotSupported", text)


def _legs(order: Order) -> int:
    return 0 if order.group_order_manager is None else order.group_order_manager.count


def _missed_window(security: Security) -> str | None:
    """The window in which orders for the open are taken, close to two minutes before the open; None when it is open."""
    local = security.local_time
    segments = security.exchange.hours.get_market_hours(local).segments
    regular = next((one for one in segments if one.state == MarketHoursState.MARKET), None)
    if regular is None:
        return None
    start, end = _clock(regular.end), _clock(regular.start - timedelta(minutes=2))
    now = local.time()
    if start <= now < end if start <= end else start <= now or now < end:
        return None
    return f" {start:%I:%M}\u2013 {end:%I:%M}"  # LEAN's format strings begin with a blank


def _clock(span: timedelta) -> time:
    minutes = int(span.total_seconds() // 60) % 1440
    return time(minutes // 60, minutes % 60)


def _crosses_zero(held: float, ordered: float) -> bool:
    return bool(held * ordered < 0 and abs(ordered) > abs(held))


_MODELS: dict[BrokerageName, type[DefaultBrokerageModel]] = {
    BrokerageName.DEFAULT: DefaultBrokerageModel,
    BrokerageName.INTERACTIVE_BROKERS_BROKERAGE: InteractiveBrokersBrokerageModel,
    BrokerageName.TASTYTRADE: TastytradeBrokerageModel,
}


def brokerage_model(name: BrokerageName, account_type: AccountType = AccountType.MARGIN) -> DefaultBrokerageModel:
    """The model of a broker by LEAN's name; raises ValueError for one that the embedded engine does not have."""
    model = _MODELS.get(name)
    if model is None:
        known = ", ".join(str(one) for one in _MODELS)
        raise ValueError(f"brokerage model {name} is not in the embedded engine; accepted are {known}")
    return model(account_type)


def brokerage_name(model: object) -> BrokerageName:
    """The broker that a result file names for a model, by what it inherits; DEFAULT for a model of one's own
    (IBrokerageModel.cs GetBrokerageName)."""
    kinds = [name for name, kind in _MODELS.items() if kind is not DefaultBrokerageModel and isinstance(model, kind)]
    return kinds[0] if kinds else BrokerageName.DEFAULT


class _SecurityDefaults(DefaultBrokerageModel):
    """What LEAN's security classes carry by themselves: Interactive Brokers' fees, for index options too."""

    def get_fee_model(self, security: Security) -> FeeModel:
        """Interactive Brokers' schedule for everything that trades."""
        return ConstantFeeModel(0.0) if security.type == SecurityType.INDEX else InteractiveBrokersFeeModel()


class BrokerageOwner(Protocol):
    """An algorithm that has chosen a brokerage."""

    @property
    def brokerage_model(self) -> DefaultBrokerageModel:
        """Its brokerage."""


def initialize(security: Security, owner: BrokerageOwner | DefaultBrokerageModel) -> None:
    """Gives a new security the models of its type under a brokerage model, or under that of an algorithm.

    An algorithm that set a security initializer of its own replaced the broker's: the security's own defaults stay.
    """
    model = cast(DefaultBrokerageModel, getattr(owner, "brokerage_model", owner))
    if getattr(owner, "_keep_models", False):
        model = _SecurityDefaults()
    security.fill_model = model.get_fill_model(security)
    security.fee_model = model.get_fee_model(security)
    security.slippage_model = model.get_slippage_model(security)
    security.settlement_model = model.get_settlement_model(security)
    security.buying_power_model = model.get_buying_power_model(security)
    if isinstance(security, Option):
        security.option_exercise_model = security.option_exercise_model or DefaultExerciseModel()
        security.option_assignment_model = security.option_assignment_model or DefaultOptionAssignmentModel()

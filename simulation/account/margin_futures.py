"""Margin of futures from the exchange's published table, and LEAN's curve for options on them."""

from __future__ import annotations

import math

from simulation.account.buying_power import (
    GetMaximumOrderQuantityForTargetBuyingPowerParameters,
    GetMaximumOrderQuantityResult,
    InitialMargin,
    InitialMarginParameters,
    InitialMarginRequiredForOrderParameters,
    MaintenanceMargin,
    MaintenanceMarginParameters,
    SecurityMarginModel,
    _fee,
)
from simulation.data.columns import MarginRow
from simulation.lean.enums import OptionRight
from simulation.lean.numbers import clean, decimal_text
from simulation.securities.securities import Security


class FutureMarginModel(SecurityMarginModel):
    """Dollars per contract by date from the margin file of the root; no file means no margin (FutureMarginModel.cs)."""

    def __init__(self, required_free_buying_power_percent: float = 0.0, security: Security | None = None) -> None:
        super().__init__(1.0, required_free_buying_power_percent)
        self._security = security
        self._rows: list[MarginRow] | None = None
        self._index = 0
        self.enable_intraday_margins = False

    def get_leverage(self, security: Security) -> float:
        """Futures carry their leverage in the contract."""
        return 1.0

    def set_leverage(self, security: Security, leverage: float) -> None:
        """Refused: futures are leveraged products."""
        raise ValueError("Futures are leveraged products and different leverage cannot be set by user")

    def get_maximum_order_quantity_for_target_buying_power(
        self, parameters: GetMaximumOrderQuantityForTargetBuyingPowerParameters
    ) -> GetMaximumOrderQuantityResult:
        """As the base; raises ValueError for a target beyond the whole portfolio."""
        target = parameters.target_buying_power
        if abs(target) > 1:
            raise ValueError(
                "Futures do not allow specifying a leveraged target, since they are traded using margin which already "
                "is leveraged. Possible target buying power goes from -1 to 1, target provided is: "
                f"{decimal_text(target)}"
            )
        return super().get_maximum_order_quantity_for_target_buying_power(parameters)

    def _row(self, security: Security | None) -> MarginRow | None:
        """The margin row in force on the date of the last bar, None without data."""
        last = None if security is None else security.get_last_data()
        if security is None or last is None:
            return None
        if self._rows is None:
            self._rows = list(security._engine.source.margins(security.symbol) or ())
            if not self._rows:
                text = f"no margin table for {security.symbol.id.symbol}: its futures need no margin in this run"
                security._engine.algorithm.debug(text)
        day = last.time.date()
        while self._index + 1 < len(self._rows) and self._rows[self._index + 1].day <= day:
            self._index += 1
        return self._rows[self._index] if self._rows else None

    def _per_contract(self, security: Security, initial: bool) -> float:
        row = self._row(security)
        if row is None:
            return 0.0 * self._index
        exchange = security.exchange
        if self.enable_intraday_margins and exchange.exchange_open and not exchange.closing_soon:
            return float(row.initial_intraday if initial else row.maintenance_intraday)
        return float(row.initial if initial else row.maintenance)

    @property
    def initial_overnight_margin_requirement(self) -> float:
        """Dollars per contract to open."""
        row = self._row(self._security)
        return float(row.initial) if row is not None else 0.0 * self._index

    @property
    def maintenance_overnight_margin_requirement(self) -> float:
        """Dollars per contract to hold."""
        row = self._row(self._security)
        return float(row.maintenance) if row is not None else 0.0 * self._index

    @property
    def initial_intraday_margin_requirement(self) -> float:
        """Dollars per contract to open while the market is open and does not close soon."""
        row = self._row(self._security)
        return float(row.initial_intraday) if row is not None else 0.0 * self._index

    @property
    def maintenance_intraday_margin_requirement(self) -> float:
        """Dollars per contract to hold while the market is open and does not close soon."""
        row = self._row(self._security)
        return float(row.maintenance_intraday) if row is not None else 0.0 * self._index

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Contracts times the maintenance margin."""
        security = parameters.security
        rate = security.quote_currency.conversion_rate
        return MaintenanceMargin(clean(self._per_contract(security, False) * parameters.absolute_quantity * rate))

    def get_initial_margin_requirement(self, parameters: InitialMarginParameters) -> InitialMargin:
        """Signed contracts times the initial margin."""
        security = parameters.security
        rate = security.quote_currency.conversion_rate
        return InitialMargin(clean(self._per_contract(security, True) * parameters.quantity * rate))

    def get_initial_margin_required_for_order(
        self, parameters: InitialMarginRequiredForOrderParameters
    ) -> InitialMargin:
        """Initial margin of the order's quantity, fees added."""
        security, order = parameters.security, parameters.order
        margin = float(self.get_initial_margin_requirement(InitialMarginParameters(security, order.quantity)))
        return InitialMargin(clean(margin + math.copysign(1, margin) * _fee(security, order) if margin else margin))


class FuturesOptionsMarginModel(FutureMarginModel):
    """The future's margin scaled by a logistic curve of strike against price (FuturesOptionsMarginModel.cs:71)."""

    def __init__(self, required_free_buying_power_percent: float = 0.0, future_option: Security | None = None) -> None:
        underlying = None if future_option is None else future_option.underlying
        super().__init__(required_free_buying_power_percent, underlying)
        self._option = future_option

    def get_maintenance_margin(self, parameters: MaintenanceMarginParameters) -> MaintenanceMargin:
        """Whole dollars; long positions need margin too."""
        option = parameters.security
        value = self._per_contract(option.underlying, False) * parameters.absolute_quantity
        return MaintenanceMargin(curve_margin(option, value, parameters.quantity > 0))

    def get_initial_margin_requirement(self, parameters: InitialMarginParameters) -> InitialMargin:
        """Whole dollars with the sign of the quantity."""
        option = parameters.security
        value = self._per_contract(option.underlying, True) * parameters.quantity
        return InitialMargin(curve_margin(option, value, parameters.quantity > 0))


def curve_margin(option: Security, requirement: float, is_long: bool) -> int:
    """The future's requirement (dollars, signed) after the curve, cut to whole dollars."""
    price = option.underlying.price
    if not price:
        return 0
    calling = option.right == OptionRight.CALL
    if is_long:
        growth, most = (-7.8, requirement * 1.2) if calling else (9.0, requirement)
    elif calling:
        growth, most, price = -4.0, requirement, price * 1.5
    else:
        growth, most, price = 2.4, requirement * 1.25, price * 0.3
    exponent = -growth * (option.scaled_strike_price - price) / price
    if exponent > 700:
        return 0
    return int(clean(most / (1 + math.exp(exponent))))

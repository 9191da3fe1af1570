"""What an algorithm may set of itself: its settings, its schedule's and its universes'."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from simulation.lean.enums import DataMappingMode, DataNormalizationMode, Resolution
from simulation.lean.names import Named


class AlgorithmSettings(Named):
    """`self.settings` with LEAN's defaults."""

    def __init__(self) -> None:
        self.seed_initial_prices = False
        self.daily_precise_end_time = True
        self.stale_price_time_span = timedelta(hours=1)
        self.free_portfolio_value_percentage = 0.0025
        self.free_portfolio_value: float | None = None
        self.minimum_order_margin_portfolio_percentage = 0.001
        self.rebalance_portfolio_on_security_changes: bool | None = None
        self.rebalance_portfolio_on_insight_changes: bool | None = None
        self.liquidate_enabled = True
        self.max_absolute_portfolio_target_percentage = 1_000_000_000.0
        self.min_absolute_portfolio_target_percentage = 0.0000000001
        self.data_subscription_limit = 2**31 - 1
        self.ignore_unknown_asset_holdings = True
        self.warm_up_resolution: Resolution | None = None
        self.warmup_resolution: Resolution | None = None
        self.trading_days_per_year: int | None = None
        self.automatic_indicator_warm_up = False
        self.performance_sample_period = timedelta(0)


class ScheduleSettings(Named):
    """A universe's own schedule."""

    def __init__(self) -> None:
        self.date_rule: Any = None

    def on(self, date_rule: Any) -> None:
        """Selects only on the dates of a rule."""
        self.date_rule = date_rule


class UniverseSettings(Named):
    """`self.universe_settings`: how members of a universe are subscribed."""

    def __init__(self) -> None:
        self.resolution = Resolution.MINUTE
        self.leverage = 0.0
        self.fill_forward = True
        self.extended_market_hours = False
        self.minimum_time_in_universe = timedelta(days=1)
        self.data_normalization_mode = DataNormalizationMode.ADJUSTED
        self.data_mapping_mode = DataMappingMode.OPEN_INTEREST
        self.contract_depth_offset = 0
        self.asynchronous: bool | None = None
        self.schedule = ScheduleSettings()

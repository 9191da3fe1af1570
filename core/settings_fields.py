"""Every number of the trading rules as a typed field: default, allowed range, and the rule that it comes from.

Defaults are the methodology's. Fractions are of one (0.05 is 5 %), money is dollars, times are New York, VIX is in
points, deltas are absolute times 100. Lists are given as comma-separated text in parameters (``1,2,3,4``).
"""

from __future__ import annotations

from datetime import date
from typing import Self

from pydantic import Field, model_validator

from core.settings import SettingsGroup, SettingsRoot
from core.settings_strategies import (
    AVAILABLE,
    BoxSettings,
    ButterflySettings,
    Count,
    Dates,
    Days,
    DiagonalSettings,
    Dollars,
    EnhancedSettings,
    ExitSettings,
    Fraction,
    FridayZeroDaySettings,
    FuturesStrangleSettings,
    IpmccSettings,
    LeapLadderSettings,
    Lt112Settings,
    Multiple,
    Names,
    RatioSettings,
    VixPoints,
)


class RunSettings(SettingsGroup):
    """What a run covers. ``seed`` separates modelled markets; live runs ignore dates and cash."""

    start: date = date(2015, 7, 1)
    end: date = date(2018, 12, 31)
    cash: float = Field(100_000.0, gt=0)
    strategies: Names = ("friday_0dte",)
    seed: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        unknown = [name for name in self.strategies if name not in AVAILABLE]
        if unknown or not self.strategies:
            raise ValueError(f"run.strategies: {unknown or 'none'}; expected some of {', '.join(AVAILABLE)}")
        if self.end < self.start:
            raise ValueError(f"run.end: {self.end} is before run.start {self.start}; expected a later date")
        return self


class PhaseLimits(SettingsGroup):
    """One row of the phases' table (methodology, section 1; Greeks limits section 4): phase 1, Foundation."""

    equity_from: Dollars = 30_000.0
    buying_power_cap: Fraction = 0.50
    max_positions: Count = 3
    max_risk_per_position: Fraction = 0.05
    trades_needed: Count = 0
    wins_needed: Fraction = 0.0
    greeks_delta: float = Field(300, gt=0)
    greeks_gamma: float = Field(-10, lt=0)
    greeks_vega: float = Field(-500, lt=0)


class ScalingLimits(PhaseLimits):
    """Phase 2, Scaling."""

    equity_from: Dollars = 50_000.0
    buying_power_cap: Fraction = 0.65
    max_positions: Count = 5
    trades_needed: Count = 20
    wins_needed: Fraction = 0.60
    greeks_delta: float = Field(500, gt=0)
    greeks_gamma: float = Field(-20, lt=0)
    greeks_vega: float = Field(-750, lt=0)


class OptimisationLimits(PhaseLimits):
    """Phase 3, Optimisation."""

    equity_from: Dollars = 80_000.0
    buying_power_cap: Fraction = 0.75
    max_positions: Count = 7
    trades_needed: Count = 50
    wins_needed: Fraction = 0.65
    greeks_delta: float = Field(750, gt=0)
    greeks_gamma: float = Field(-30, lt=0)
    greeks_vega: float = Field(-1000, lt=0)


class ProfessionalLimits(PhaseLimits):
    """Phase 4, Professional."""

    equity_from: Dollars = 100_000.0
    buying_power_cap: Fraction = 0.80
    max_positions: Count = 10
    trades_needed: Count = 100
    wins_needed: Fraction = 0.70
    greeks_delta: float = Field(1000, gt=0)
    greeks_gamma: float = Field(-40, lt=0)
    greeks_vega: float = Field(-1500, lt=0)


class PhaseSettings(SettingsGroup):
    """The four phases, promotion and demotion (methodology, section 1)."""

    earned_progression: bool = True
    minimum_equity: Dollars = 30_000.0
    demotion_margin: Fraction = 0.05
    foundation: PhaseLimits = PhaseLimits()
    scaling: ScalingLimits = ScalingLimits()
    optimisation: OptimisationLimits = OptimisationLimits()
    professional: ProfessionalLimits = ProfessionalLimits()

    @property
    def rows(self) -> tuple[PhaseLimits, PhaseLimits, PhaseLimits, PhaseLimits]:
        """The phases 1 to 4 in order."""
        return (self.foundation, self.scaling, self.optimisation, self.professional)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        starts = [row.equity_from for row in self.rows]
        if starts != sorted(starts) or len(set(starts)) != len(starts):
            raise ValueError(f"phases: equity_from {starts} does not ascend; expected each phase above the one before")
        return self


class VixSettings(SettingsGroup):
    """VIX regimes and the caps on buying power they bring (methodology, section 2)."""

    low: VixPoints = 13.0
    normal: VixPoints = 18.0
    elevated: VixPoints = 25.0
    high: VixPoints = 30.0
    extreme: VixPoints = 40.0
    cap_low: Fraction = 0.45
    cap_normal: Fraction = 0.65
    cap_elevated: Fraction = 0.75
    cap_high: Fraction = 0.50
    cap_extreme: Fraction = 0.80
    stale_after_seconds: int = Field(300, gt=0)
    panic_jump: float = Field(0.50, gt=0)
    percentile_days: int = Field(252, ge=20)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        bounds = [self.low, self.normal, self.elevated, self.high, self.extreme]
        if bounds != sorted(bounds):
            raise ValueError(f"vix: bounds {bounds} do not ascend; expected low <= ... <= extreme")
        return self


class CorrelationSettings(SettingsGroup):
    """Correlation groups, their limits and the August 5 lesson's counts (methodology, section 3)."""

    group_limit: Count = 3
    sp500_limit: Count = 3
    short_volatility_limit: Count = 5
    measured_joins: Fraction = 0.70
    measured_reported: Fraction = 0.50
    measured_days: int = Field(60, ge=20)
    adverse_move: Fraction = 0.10
    group_risk: Fraction = 0.15
    equity_futures_limit: Count = 2
    equity_options_limit: Count = 3
    safe_haven_limit: Count = 2
    metals_limit: Count = 2
    crude_limit: Count = 2
    natural_gas_limit: Count = 1
    grains_limit: Count = 2
    proteins_limit: Count = 1
    currencies_limit: Count = 2
    experienced_with_natural_gas: bool = False
    never_traded: Names = ("OJ", "LBS", "DX", "VX", "ZR", "PA", "KC", "CC", "SB")


class SizingSettings(SettingsGroup):
    """Kelly sizing and VIX scaling (methodology, section 4)."""

    kelly_fraction: Fraction = 0.25
    max_fraction: Fraction = 0.05
    prior_weight: float = Field(50, gt=0)
    scale_under_15: Multiple = 0.75
    scale_15_to_25: Multiple = 1.0
    scale_25_to_35: Multiple = 0.75
    scale_over_35: Multiple = 0.5
    strangle_reference_vix: VixPoints = 20.0
    strangle_scale_min: Multiple = 0.5
    strangle_scale_max: Multiple = 2.0
    stress_move: Fraction = 0.10
    stress_vix: VixPoints = 20.0


class DrawdownSettings(SettingsGroup):
    """What the distance from the equity peak forbids (methodology, section 4)."""

    halve_at: Fraction = 0.10
    stop_entries_at: Fraction = 0.15
    close_all_at: Fraction = 0.20
    disable_at: Fraction = 0.30
    pause_days: Days = 14

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        steps = [self.halve_at, self.stop_entries_at, self.close_all_at, self.disable_at]
        if steps != sorted(steps):
            raise ValueError(f"drawdown: steps {steps} do not ascend; expected halve <= stop <= close all <= disable")
        return self


class CircuitBreakerSettings(SettingsGroup):
    """The four circuit breakers, standard and tighter in phase 1 (methodology, sections 1 and 4)."""

    fast_loss: Fraction = 0.03
    fast_loss_foundation: Fraction = 0.02
    fast_loss_minutes: int = Field(5, gt=0)
    correlation: Fraction = 0.90
    correlation_foundation: Fraction = 0.80
    correlation_hours: int = Field(24, gt=0)
    margin: Fraction = 0.80
    margin_foundation: Fraction = 0.60
    margin_vix_20: Fraction = 0.70
    margin_vix_30: Fraction = 0.60
    margin_vix_40: Fraction = 0.50
    losses_in_a_row: Count = 3
    losses_in_a_row_foundation: Count = 2
    warn_at: Fraction = 0.80
    emergency_at: float = Field(1.5, ge=1)
    lock_hours: int = Field(24, gt=0)
    calm_minutes: int = Field(30, ge=0)


class BlackSwanSettings(SettingsGroup):
    """What a day beyond 5 % brings (methodology, section 4)."""

    index_move: Fraction = 0.05
    pause_hours: int = Field(24, gt=0)


BETAS = {
    "QQQ": 1.18, "NQ": 1.18, "MNQ": 1.18, "IWM": 1.18, "RTY": 1.18, "M2K": 1.18, "TLT": -0.33, "ZB": -0.33,
    "GLD": -0.12, "GC": -0.12, "MGC": -0.12, "USO": 0.62, "CL": 0.62, "MCL": 0.62, "FXE": 0.12, "6E": 0.12,
    "M6E": 0.12,
}  # fmt: skip
"""Betas to the S&P 500, of calm and stressed days the larger in size.

NASDAQ and crude: regression on daily closes (crude with the VIX over 35); Russell 2000: Frank Russell's fact sheets
(1.1 to 1.2); long Treasuries: Campbell, Sunderam and Viceira (2017); gold: Baur and Lucey (2010); euro: Ranaldo and
Soderlind (2010).
"""


class GreeksSettings(SettingsGroup):
    """Greeks service and monitor (methodology, section 4; limits by phase are in ``phases``)."""

    cache_seconds: int = Field(300, gt=0)
    price_tolerance: Fraction = 0.001
    warn_at: Fraction = 0.80
    beta_reference: str = "SPY"
    betas: dict[str, float] = Field(default_factory=lambda: dict(BETAS))
    """Betas to the reference where 60 sessions cannot be measured. A ticker in neither is unknown, and that denies."""
    risk_free_rate: float | None = Field(None, ge=-0.05, le=0.25)
    """Continuous a year; none: the year's Treasury bill (``greeks/exposure.py``)."""
    dividend_yield: float = Field(0.015, ge=0, le=0.25)


class MarginSettings(SettingsGroup):
    """Our own margin figures, as a broker asks them; the engine's is a second opinion."""

    authority: str = Field("own", pattern="^(own|engine)$")
    reserve: Fraction = 0.20
    naked_equity: Fraction = 0.20
    naked_index: Fraction = 0.15
    naked_floor: Fraction = 0.10
    future_notional: Fraction = 0.10
    shares: Fraction = 0.50
    """Of the value of shares that an assignment left (Regulation T)."""


class InterestSettings(SettingsGroup):
    """What free cash earns in a backtest: the year's Treasury bill less ``spread`` (a fraction a year), at least zero.

    The default spread is what Interactive Brokers keeps of its benchmark on dollars.
    """

    spread: Fraction = 0.005


class OrderSettings(SettingsGroup):
    """Price walk, liquidity, anomaly and rate rules of orders (methodology, section 5)."""

    walk_step: Fraction = 0.10
    walk_interval_seconds: int = Field(60, gt=0)
    walk_steps: int = Field(5, ge=0)
    worthless_offer: float = Field(1.00, ge=0)
    """Points up to which the offer of an option that nobody bids for makes it worth next to nothing."""
    blocked_exit_minutes: int = Field(3, ge=1)
    """Minutes an exit waits for a missing side of a quote before its package is closed in parts."""
    shares_step: Fraction = 0.001
    """Share of the price by which the limit of assigned shares goes further through the market each minute."""
    unwind_after_seconds: int = Field(120, gt=0)
    max_spread_fraction: Fraction = 0.10
    max_spread_points: float = Field(0.50, ge=0)
    anomaly_fraction: Fraction = 0.25
    anomaly_points: float = Field(0.50, ge=0)
    errors_per_hour: Count = 10
    rejections_in_a_row: Count = 3
    orders_per_minute: int = Field(30, gt=0)
    reconcile_minutes: int = Field(15, gt=0)
    settle_seconds: int = Field(120, ge=0)
    """Seconds after the first look at a live broker before what it does not show counts as not there."""
    max_legs: int = Field(4, gt=0)


class MarketSettings(SettingsGroup):
    """Market knowledge: freshness, trend and warm-up."""

    stale_after_seconds: int = Field(300, gt=0)
    frozen_after_minutes: int = Field(30, gt=0)
    idle_minutes: int = Field(5, ge=1, le=30)
    """Minutes between looks at prices while nothing is held, ordered or waited for."""
    average_true_range_days: int = Field(14, ge=2)
    fast_average_days: int = Field(8, ge=2)
    middle_average_days: int = Field(21, ge=2)
    slow_average_days: int = Field(50, ge=2)
    high_days: int = Field(20, ge=2)
    history_days: int = Field(300, ge=60)
    adverse_event_dates: Dates = ()
    fomc_dates: Dates = ()
    inflation_dates: Dates = ()
    jobs_dates: Dates = ()


class CacheSettings(SettingsGroup):
    """Size of the one cache."""

    max_bytes: int = Field(500_000_000, gt=0)


class Settings(SettingsRoot):
    """All settings, one section a room or a strategy."""

    run: RunSettings = RunSettings()
    phases: PhaseSettings = PhaseSettings()
    vix: VixSettings = VixSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    sizing: SizingSettings = SizingSettings()
    drawdown: DrawdownSettings = DrawdownSettings()
    circuit_breakers: CircuitBreakerSettings = CircuitBreakerSettings()
    black_swan: BlackSwanSettings = BlackSwanSettings()
    greeks: GreeksSettings = GreeksSettings()
    margin: MarginSettings = MarginSettings()
    interest: InterestSettings = InterestSettings()
    orders: OrderSettings = OrderSettings()
    market: MarketSettings = MarketSettings()
    cache: CacheSettings = CacheSettings()
    exits: ExitSettings = ExitSettings()
    friday_0dte: FridayZeroDaySettings = FridayZeroDaySettings()
    lt112: Lt112Settings = Lt112Settings()
    futures_strangle: FuturesStrangleSettings = FuturesStrangleSettings()
    leap_ladder: LeapLadderSettings = LeapLadderSettings()
    ipmcc: IpmccSettings = IpmccSettings()
    box: BoxSettings = BoxSettings()
    butterfly: ButterflySettings = ButterflySettings()
    ratio: RatioSettings = RatioSettings()
    diagonal: DiagonalSettings = DiagonalSettings()
    enhanced: EnhancedSettings = EnhancedSettings()

"""Every number of the trading rules as a typed field: default, allowed range, and the rule that it comes from.

Defaults are the methodology's. Fractions are of one (0.05 is 5 %), money is dollars, times are New York, VIX is in
points, deltas are absolute times 100. Lists are given as comma-separated text in parameters (``1,2,3,4``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, time
from operator import attrgetter
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from core.fills import FillAssumption, FillRule
from core.settings.base import NoticeSettings, SettingsError, SettingsGroup, SettingsRoot
from core.settings.risk import (
    AT_MOST,
    FLOORS,
    SLACK,
    BlackSwanSettings,
    CircuitBreakerSettings,
    CorrelationSettings,
    DrawdownSettings,
    EquitySettings,
    HealthSettings,
    MarginSettings,
    OptimisationLimits,
    PhaseLimits,
    PhaseSettings,
    ProfessionalLimits,
    RiskSettings,
    ScalingLimits,
    SizingSettings,
    VixSettings,
)
from core.settings.strategies import (
    ALL,
    AVAILABLE,
    BoxSettings,
    ButterflySettings,
    Count,
    Dates,
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
    Names,
    RatioSettings,
)

__all__ = [
    "BETAS",
    "BlackSwanSettings",
    "CacheSettings",
    "CircuitBreakerSettings",
    "CorrelationSettings",
    "DrawdownSettings",
    "EquitySettings",
    "ExitSettings",
    "FridayZeroDaySettings",
    "GreeksSettings",
    "HealthSettings",
    "InterestSettings",
    "MarginSettings",
    "FillSettings",
    "MarketSettings",
    "OptimisationLimits",
    "OrderSettings",
    "PhaseLimits",
    "PhaseSettings",
    "ProfessionalLimits",
    "QuoteSettings",
    "RunSettings",
    "ScalingLimits",
    "Settings",
    "SizingSettings",
    "VixSettings",
]


class RunSettings(SettingsGroup):
    """What a run covers. ``seed`` separates modelled markets; live runs ignore dates and cash."""

    start: date = date(2018, 1, 2)
    end: date = date(2018, 12, 31)
    cash: float = Field(100_000.0, gt=0)
    strategies: Names = AVAILABLE
    seed: int = Field(1, ge=0)

    @field_validator("strategies", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        """``all`` stands for the ten, in the order in which they are served."""
        return AVAILABLE if value == ALL or value in ((ALL,), [ALL]) else value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        unknown = [name for name in self.strategies if name not in AVAILABLE]
        if unknown or not self.strategies:
            raise ValueError(f"run.strategies: {unknown or 'none'}; expected {ALL}, or some of {', '.join(AVAILABLE)}")
        if self.end < self.start:
            raise ValueError(f"run.end: {self.end} is before run.start {self.start}; expected a later date")
        return self


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


class InterestSettings(SettingsGroup):
    """What free cash earns in a backtest: the year's Treasury bill less ``spread`` (a fraction a year), at least zero.

    The default spread is what Interactive Brokers keeps of its benchmark on dollars.
    """

    spread: Fraction = 0.005


class OrderSettings(SettingsGroup):
    """Price walk, liquidity, anomaly and rate rules of orders (methodology, section 5)."""

    lead_minutes: int = Field(5, ge=1, le=30)
    """How long before its window a row looks ahead, so that what it will want is quoted when it opens."""
    contracts_looked_at: int = Field(12, ge=4, le=200)
    """The most contracts that one look of one row asks quotes of."""
    walk_step: Fraction = 0.10
    walk_interval_seconds: int = Field(60, gt=0)
    walk_steps: int = Field(5, ge=0)
    split_after_steps: int = Field(5, ge=1)
    """Steps beyond natural after which an exit that no price fills whole is closed leg by leg."""
    crossing_share: Fraction = 0.05
    """Share of the natural price that each attempt to cross the spread may give up beyond it."""
    most_crossings: int = Field(10, ge=1)
    """Attempts after which the allowance for crossing does not grow any more."""
    worthless_offer: float = Field(1.00, ge=0)
    """Points up to which the offer of an option that nobody bids for makes it worth next to nothing."""
    no_opening_minutes: int = Field(30, ge=0)
    """Minutes before the close of its expiry in which a contract is not opened: the broker refuses it."""
    worthless_ticks: int = Field(2, ge=0)
    """Ticks of its instrument up to which the bid of a long leg is worth less than what waiting for it may cost."""
    blocked_exit_minutes: int = Field(3, ge=1)
    """Minutes an exit waits for a missing side of a quote before its package is closed in parts."""
    shares_step: Fraction = 0.001
    """Share of the price by which the limit of assigned shares goes further through the market each minute."""
    unwind_after_seconds: int = Field(120, gt=0)
    silent_seconds: int = Field(120, gt=0)
    """Seconds without a report after which an order is looked for at the broker; absent twice, the account decides."""
    passed_ticks: int = Field(2, ge=1)
    passed_minutes: int = Field(2, ge=1)
    """Live: a limit that the market is so many ticks past for so long without a fill tells of a lost one."""
    max_spread_fraction: Fraction = 0.10
    max_spread_points: float = Field(0.50, ge=0)
    anomaly_fraction: Fraction = 0.25
    anomaly_points: float = Field(0.50, ge=0)
    errors_per_hour: Count = 10
    rejections_in_a_row: Count = 3
    orders_per_second: int = Field(5, gt=0)
    """Live only: a backtest's time has no seconds."""
    orders_per_minute: int = Field(30, gt=0)
    updates_per_second: int = Field(10, gt=0)
    updates_per_minute: int = Field(60, gt=0)
    cancels_per_second: int = Field(10, gt=0)
    cancels_per_minute: int = Field(60, gt=0)
    emergency_reserve: Fraction = 0.50
    """Share of each rate that ordinary traffic leaves to exits that cross, unwinds and cancels of a halt."""
    reconcile_minutes: int = Field(15, gt=0)
    settle_seconds: int = Field(120, ge=0)
    """Seconds after the first look at a live broker before what it does not show counts as not there."""
    max_legs: int = Field(4, gt=0)
    fee_to_open: Dollars = 1.00
    """Fee of an option contract to open, as the broker's price list has it; an option on a future has its own."""
    fee_to_close: Dollars = 0.0
    future_option_fee_to_open: Dollars = 2.50
    future_option_fee_to_close: Dollars = 0.0

    def fee(self, on_future: bool, opens: bool) -> float:
        """Dollars of one option contract by the broker's price list."""
        if on_future:
            return self.future_option_fee_to_open if opens else self.future_option_fee_to_close
        return self.fee_to_open if opens else self.fee_to_close


class FillSettings(SettingsGroup):
    """What backtests take a limit order on options to fill at (methodology, section 5; docs/decisions, fills)."""

    model: FillAssumption = FillAssumption.WORKED
    share: Fraction = 0.60
    """worked: the share of the way from mid to natural that a limit must have given up before it fills."""

    @property
    def rule(self) -> FillRule:
        """Both as the fill model takes them."""
        return FillRule(self.model, self.share)


class QuoteSettings(SettingsGroup):
    """When an option's quote may be believed (methodology, section 5). Points are those of SPX options."""

    oldest_seconds: int = Field(120, gt=0)
    """Age over which a quote is stale when its partners have quoted since, or its underlying has moved."""
    stale_move: Fraction = 0.001
    widest_fraction: Fraction = 0.50
    widest_points: float = Field(2.0, ge=0)
    """A spread over both (a fraction of the mid, points) says nothing of what an option is worth."""


class MarketSettings(SettingsGroup):
    """Market knowledge: freshness, trend and warm-up."""

    stale_after_seconds: int = Field(300, gt=0)
    frozen_after_minutes: int = Field(30, gt=0)
    implied_index: bool = False
    """Live, where the feed quotes an index's options and not the index: its level is implied by their parity."""
    idle_minutes: int = Field(5, ge=1, le=30)
    """Minutes between looks at prices while nothing is held, ordered or waited for."""
    idle_rest_minutes: int = Field(60, ge=1, le=390)
    """A backtest's most minutes between such looks while no price that rules rest on left its band."""
    held_minutes: int = Field(30, ge=1, le=30)
    """A backtest's most minutes between looks at a position that nothing can become due of meanwhile; 1: each one."""
    quiet_move: Fraction = 0.0025
    """Move of an underlying since that look after which it is looked at again; of the VIX ten times as much."""
    average_true_range_days: int = Field(14, ge=2)
    fast_average_days: int = Field(8, ge=2)
    middle_average_days: int = Field(21, ge=2)
    slow_average_days: int = Field(50, ge=2)
    high_days: int = Field(20, ge=2)
    history_days: int = Field(300, ge=60)
    adverse_event_dates: Dates = ()
    fomc_dates: Dates = ()
    fomc_time: time = time(14, 0)
    fomc_minutes: int = Field(120, ge=0)
    """Minutes before the Federal Reserve's statement in which no short premium opens."""
    inflation_dates: Dates = ()
    jobs_dates: Dates = ()


class CacheSettings(SettingsGroup):
    """Size of the one cache."""

    max_bytes: int = Field(50_000_000, gt=0)


DEFAULT_ACCOUNT = "default"


class StoreSettings(SettingsGroup):
    """Where state and journal are kept when live. The object store belongs to a whole organization: keys begin with the
    project's number and ``account``.
    """

    account: str = Field(DEFAULT_ACCOUNT, pattern=r"^[A-Za-z0-9_-]{1,40}$")
    """A name of your own for the account, such as paper or main (not its number): each has its own state."""
    journal_months: int = Field(24, ge=1, le=600)
    """Months for which the journal is kept; months before the running one are packed."""


class Settings(SettingsRoot):
    """All settings, one section a room or a strategy."""

    run: RunSettings = RunSettings()
    phases: PhaseSettings = PhaseSettings()
    vix: VixSettings = VixSettings()
    correlation: CorrelationSettings = CorrelationSettings()
    sizing: SizingSettings = SizingSettings()
    equity: EquitySettings = EquitySettings()
    health: HealthSettings = HealthSettings()
    drawdown: DrawdownSettings = DrawdownSettings()
    circuit_breakers: CircuitBreakerSettings = CircuitBreakerSettings()
    black_swan: BlackSwanSettings = BlackSwanSettings()
    greeks: GreeksSettings = GreeksSettings()
    margin: MarginSettings = MarginSettings()
    interest: InterestSettings = InterestSettings()
    orders: OrderSettings = OrderSettings()
    quotes: QuoteSettings = QuoteSettings()
    fills: FillSettings = FillSettings()
    market: MarketSettings = MarketSettings()
    cache: CacheSettings = CacheSettings()
    store: StoreSettings = StoreSettings()
    notices: NoticeSettings = NoticeSettings()
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
    risk: RiskSettings = RiskSettings()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """As every settings root; a survival rule looser than the method needs ``risk.i_accept.<rule>``."""
        settings = super().from_parameters(parameters)
        refused = [problem for rule, problem in settings.loosened() if not getattr(settings.risk.i_accept, rule)]
        if refused:
            raise SettingsError(refused)
        return settings

    def loosened(self) -> Iterator[tuple[str, str]]:
        """Every number of a survival rule that is looser than the method's: its rule, and the number in words."""
        for rule, bounds in FLOORS.items():
            for key, bound in bounds.items():
                given, method = map(attrgetter(key), (self, _METHOD))
                off = rule == "losses_in_a_row" and not given
                floor = method * SLACK.get(key.rpartition(".")[2], 1.0)
                if off or bound * given > bound * floor:
                    side = "at most" if bound == AT_MOST else "at least"
                    wanted = f"expected {side} {floor:g}, or risk.i_accept.{rule}=true"
                    yield rule, f"{key}: {given:g} loosens a rule that survival rests on; {wanted}"

    def accepted(self) -> tuple[str, ...]:
        """What a person loosened and accepted, a line each; printed in every report and status."""
        return tuple(problem for rule, problem in self.loosened() if getattr(self.risk.i_accept, rule))


_METHOD = Settings()

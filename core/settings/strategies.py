"""The numbers of the ten strategies' rows (methodology, section 6), and the kinds of numbers of all settings.

Fractions are of one (0.05 is 5 %), money is dollars, times are New York, VIX is in points,
deltas are absolute times 100.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from core.contracts import Right
from core.settings.base import SettingsGroup

Fraction = Annotated[float, Field(ge=0, le=1)]
Multiple = Annotated[float, Field(ge=0, le=100)]
VixPoints = Annotated[float, Field(ge=0, le=200)]
DeltaPoints = Annotated[float, Field(ge=0, le=100)]
Dollars = Annotated[float, Field(ge=0)]
Days = Annotated[int, Field(ge=0, le=3650)]
Count = Annotated[int, Field(ge=0, le=1000)]
ByPhase = tuple[int, int, int, int]
Levels = tuple[float, float, float, float]
Names = tuple[str, ...]
Dates = tuple[date, ...]


TITLES: Final[Mapping[str, str]] = MappingProxyType({
    "friday_0dte": "Friday 0DTE",
    "lt112": "LT112",
    "futures_strangle": "Futures strangle",
    "leap_ladder": "LEAP put ladder",
    "ipmcc": "IPMCC",
    "ratio": "Ratio spread",
    "enhanced": "Enhanced",
    "butterfly": "Butterfly",
    "diagonal": "Diagonal",
    "box": "Box spread",
})  # fmt: skip
"""What people call the ten, in the order in which they are served within a minute (methodology, 6a)."""
AVAILABLE: Names = tuple(TITLES)
"""Strategies that can be run."""
ALL: Final = "all"
"""The word for the ten together."""
TARGETS: Final[Mapping[str, float]] = MappingProxyType(
    {"friday_0dte": 0.88, "lt112": 0.75, "futures_strangle": 0.70, "ipmcc": 0.80}
)
"""Win rates that descriptions of the method state, to measure against and never to use (methodology, section 7)."""


class ExitSettings(SettingsGroup):
    """Exits that all short premium shares (methodology, section 6, notes)."""

    exit_days: Days = 21
    profit_under_21_days: Fraction = 0.25
    under_7_days: Days = 7
    profit_under_7_days: Fraction = 0.10
    last_entry_minutes: int = Field(30, ge=0)
    """Minutes before the close of an expiration day in which nothing opens that expires then."""
    pin_minutes: int = Field(60, ge=0)
    pin_distance: Fraction = 0.005
    """A short option this near its strike in its last hour is told as pinned."""


class StrategySettings(SettingsGroup):
    """What every strategy's row has: VIX window, exits, Kelly priors, contracts by phase (methodology, section 6)."""

    min_vix: VixPoints = 0.0
    """The row opens only while the VIX is above this; 0: however low it is."""
    max_vix: VixPoints = 200.0
    """The row opens nothing while the VIX is above this."""
    profit_target: Multiple = 0.50
    """Profit at which the row closes, as a share of what its entry brought or cost."""
    stop_multiple: Multiple = 2.0
    """Loss at which the row closes, in multiples of what its entry brought or cost."""
    win_rate: Fraction = 0.70
    """Wins that sizing believes in before any trade (Kelly's prior)."""
    reward_ratio: float = Field(0.60, gt=0)
    """Average win over average loss that sizing believes in before any trade (Kelly's prior)."""
    contracts_by_phase: ByPhase = (1, 1, 1, 1)
    """Most contracts of an entry in phases 1 to 4."""
    days_to_expiry: Days = 0
    """Days to the expiry that the row looks for; the listed one that is nearest is taken."""
    points_reference: float = Field(4500.0, ge=0, le=100_000)
    """Level of the index that the row's index points are for; they scale with the index. 0: as printed."""
    min_credit_of_width: Fraction = 0.03
    """Least credit of a spread or condor as a share of its width."""
    min_credit_fees: Multiple = 10.0
    """Least credit of a spread or condor in fees of the round trip."""
    wing_tolerance: Fraction = 0.5
    """How far a listed wing may be from the row's width, as a share of it."""

    def index_points(self, points: float, index: float) -> float:
        """The row's index points at a level of the index; strikes are then the nearest listed."""
        return points * index / self.points_reference if self.points_reference > 0 else points

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.max_vix < self.min_vix:
            raise ValueError(f"max_vix: {self.max_vix} is below min_vix {self.min_vix}; expected max_vix >= min_vix")
        if min(self.contracts_by_phase) < 0:
            raise ValueError(f"contracts_by_phase: {self.contracts_by_phase} has a negative; expected four >= 0")
        return self


class FridayZeroDaySettings(StrategySettings):
    """Row 1: Friday 0DTE."""

    min_vix: VixPoints = 22.0
    win_rate: Fraction = 0.88
    reward_ratio: float = Field(0.40, gt=0)
    contracts_by_phase: ByPhase = (2, 2, 3, 4)
    entry_time: time = time(10, 30)
    entry_until: time = time(10, 45)
    exit_time: time = time(15, 0)
    deadline: time = time(15, 30)
    half_day_exit_minutes: int = Field(60, ge=5)
    half_day_deadline_minutes: int = Field(30, ge=1)
    trend_move: Fraction = 0.005
    near_move: Fraction = 0.001
    """How near to ``trend_move`` both structures are quoted ahead of the window."""
    spread_distance: Multiple = 0.7
    condor_distance: Multiple = 0.5
    min_delta: DeltaPoints = 10.0
    max_delta: DeltaPoints = 25.0
    wing_points: float = Field(30.0, gt=0)
    broken_wing_points: float = Field(50.0, gt=0)
    one_contract_under: Dollars = 40_000.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.entry_time < time(10, 30):
            raise ValueError(f"friday_0dte.entry_time: {self.entry_time}; expected 10:30 or later, never earlier")
        if not self.entry_time <= self.entry_until < self.exit_time < self.deadline:
            raise ValueError("friday_0dte: expected entry_time <= entry_until < exit_time < deadline")
        if self.max_delta < self.min_delta:
            raise ValueError(f"friday_0dte.max_delta: {self.max_delta} is below min_delta {self.min_delta}")
        return self


class Lt112Settings(StrategySettings):
    """Row 2: LT112."""

    min_vix: VixPoints = 12.0
    max_vix: VixPoints = 35.0
    profit_target: Multiple = 0.90
    win_rate: Fraction = 0.75
    reward_ratio: float = Field(0.55, gt=0)
    contracts_by_phase: ByPhase = (0, 2, 2, 3)
    days_to_expiry: Days = 120
    entry_time: time = time(10, 0)
    debit_long_delta: DeltaPoints = 25.0
    debit_long_distance: Fraction = 0.07
    debit_width: float = Field(50.0, gt=0)
    naked_delta: DeltaPoints = 5.0
    naked_distance: Fraction = 0.12
    naked_per_spread: Count = 2
    stop_points: float = Field(25.0, ge=0)
    weekly_calls_from_day: Days = 30
    weekly_calls_days: Days = 7
    weekly_tolerance: Days = 3
    weekly_side: Right = Right.CALL
    """What is sold each week: a call spread above the market, or a put that the spread's long put covers."""
    weekly_call_delta: DeltaPoints = 10.0
    weekly_call_width: float = Field(50.0, gt=0)
    weekly_put_above: float = Field(5.0, ge=0)
    """Index points from the spread's long put up to the weekly put."""
    weekly_exit_time: time = time(15, 0)


class FuturesStrangleSettings(StrategySettings):
    """Row 3: futures strangle."""

    min_vix: VixPoints = 13.0
    max_vix: VixPoints = 40.0
    contracts_by_phase: ByPhase = (1, 3, 4, 5)
    days_to_expiry: Days = 90
    entry_time: time = time(10, 0)
    futures_from_phase: int = Field(3, ge=1, le=4)
    """From this phase on futures are looked at before their ETFs."""
    put_delta_min: DeltaPoints = 5.0
    put_delta_max: DeltaPoints = 7.0
    call_delta_min: DeltaPoints = 5.0
    call_delta_max: DeltaPoints = 6.0
    min_iv_rank: Fraction = 0.30
    """Share of a year's closes at which volatility was below the newest close's; the rank must be over it."""
    rank_days: int = Field(252, ge=20)
    """Sessions whose 30-day at-the-money volatility is kept and ranked."""
    rank_least_days: int = Field(120, ge=20)
    """Under so many known the rank is unknown, and nothing opens."""
    full_exit_delta: DeltaPoints = 30.0
    tested_exit_delta: DeltaPoints = 25.0
    roll_delta: DeltaPoints = 20.0


class LeapLadderSettings(StrategySettings):
    """Row 4: LEAP put ladder."""

    min_vix: VixPoints = 15.0
    profit_target: Multiple = 0.30
    stop_multiple: Multiple = 0.0
    win_rate: Fraction = 0.82
    reward_ratio: float = Field(0.50, gt=0)
    contracts_by_phase: ByPhase = (0, 2, 3, 10)
    days_to_expiry: Days = 365
    entry_time: time = time(10, 0)
    weekly_deltas: Levels = (12.0, 13.0, 14.0, 12.0)
    double_over_vix: VixPoints = 20.0
    double_contracts: Count = 2
    roll_days: Days = 150


class IpmccSettings(StrategySettings):
    """Row 5: in-perpetuity poor man's covered call."""

    profit_target: Multiple = 0.90
    stop_multiple: Multiple = 0.30
    win_rate: Fraction = 0.80
    reward_ratio: float = Field(0.50, gt=0)
    contracts_by_phase: ByPhase = (1, 2, 3, 4)
    days_to_expiry: Days = 365
    tickers: Names = ("QQQ", "SPY", "IWM")
    entry_time: time = time(9, 45)
    leap_time: time = time(10, 0)
    leap_delta: DeltaPoints = 80.0
    leap_delta_range: DeltaPoints = 5.0
    leap_max_vix: VixPoints = 30.0
    """Above it a new LEAP waits; what stands keeps its weeklies."""
    max_extrinsic: Fraction = 0.05
    high_days: int = Field(20, ge=2)
    """No LEAP after a close that was the highest of so many days."""
    test_days: int = Field(3, ge=1)
    """Days in which a test of the 21 or 50 day average lets a LEAP open."""
    wait_days: int = Field(10, ge=1)
    """Days without such a test after which it opens without one."""
    weekly_tolerance: Days = 3
    weekly_exit_time: time = time(15, 30)
    extended_over_average: Fraction = 0.02
    extended_strikes: Count = 2
    """Strikes in the money when the price is so far over its fast average (the row: 2 to 3)."""
    falling_strikes: Count = 1
    """Strikes in the money when the fast average is under the middle one (the row: 1 to 2)."""
    leap_roll_days: Days = 90


class BoxSettings(StrategySettings):
    """Row 6: box spread."""

    contracts_by_phase: ByPhase = (0, 0, 1, 2)
    days_to_expiry: Days = 365
    max_days: Days = 730
    entry_time: time = time(11, 0)
    cash_wanted: Dollars = 0.0
    """What a person wants to borrow; 0: nothing is, for a loan that nothing uses is a sure loss."""
    width: float = Field(500.0, gt=0)
    """Points between its strikes, as printed: widths do not scale with the index."""
    width_step: float = Field(100.0, gt=0)
    """How much narrower the next width is that is tried; the narrowest too."""
    broker_margin_rate: Fraction = 0.08
    full_size_over_rate: Fraction = 0.0025
    standard_size_over_rate: Fraction = 0.0050
    standard_size_share: Fraction = 0.5
    """Share of the cash wanted that is borrowed at a rate of the standard size."""
    small_size_over_rate: Fraction = 0.0100
    small_size_share: Fraction = 0.25


class ButterflySettings(StrategySettings):
    """Row 7: butterfly."""

    profit_target: Multiple = 3.0
    win_rate: Fraction = 0.18
    reward_ratio: float = Field(6.0, gt=0)
    contracts_by_phase: ByPhase = (0, 0, 2, 4)
    entry_time: time = time(10, 35)
    time_exit: time = time(15, 30)
    half_day_minutes: int = Field(30, ge=1)
    """Minutes before an early close by which it is sold."""
    strike_step: float = Field(5.0, gt=0)
    """Index points that strikes are rounded to."""
    width: float = Field(10.0, gt=0)
    strong_move: Fraction = 0.01
    weak_move: Fraction = 0.005
    center_distance: float = Field(10.0, ge=0)
    max_debit_fraction: Fraction = 0.003
    reference_vix: VixPoints = 15.0
    max_debit: Dollars = 500.0


class RatioSettings(StrategySettings):
    """Row 8: ratio spread."""

    min_vix: VixPoints = 13.0
    max_vix: VixPoints = 35.0
    stop_multiple: Multiple = 0.0
    """No price stops it: deltas and the long strike do. It is sized by what stress takes."""
    win_rate: Fraction = 0.72
    contracts_by_phase: ByPhase = (0, 2, 4, 5)
    days_to_expiry: Days = 45
    expiry_tolerance: Days = 15
    tickers: Names = ("SPY", "IWM", "TLT")
    entry_time: time = time(10, 0)
    long_profit: Multiple = 1.0
    """Gain at which a long put that is left alone is sold, as a multiple of its price (1: it doubled)."""
    long_delta: DeltaPoints = 25.0
    short_delta: DeltaPoints = 16.0
    full_exit_delta: DeltaPoints = 40.0
    tested_exit_delta: DeltaPoints = 30.0


class DiagonalSettings(StrategySettings):
    """Row 9: diagonal."""

    max_vix: VixPoints = 18.0
    stop_multiple: Multiple = 0.50
    win_rate: Fraction = 0.63
    reward_ratio: float = Field(1.0, gt=0)
    contracts_by_phase: ByPhase = (0, 0, 2, 4)
    days_to_expiry: Days = 60
    tickers: Names = ("SPY", "QQQ", "IWM")
    entry_time: time = time(10, 15)
    full_size_under_vix: VixPoints = 15.0
    half_size_share: Fraction = 0.5
    """Share of the phase's places from that VIX on."""
    long_delta: DeltaPoints = 30.0
    short_days: Days = 30
    max_debit: Fraction = 0.04
    """Of the underlying's price."""
    short_exit_days: Days = 7


class EnhancedSettings(StrategySettings):
    """Row 10: enhanced positions and the high-VIX opportunity protocol."""

    min_vix: VixPoints = 13.0
    max_vix: VixPoints = 30.0
    contracts_by_phase: ByPhase = (0, 1, 2, 3)
    days_to_expiry: Days = 45
    entry_time: time = time(10, 30)
    long_delta: DeltaPoints = 25.0
    short_delta: DeltaPoints = 16.0
    call_delta: DeltaPoints = 8.0
    opportunity_vix: VixPoints = 30.0
    reserve_vix: VixPoints = 40.0
    episode_ends_under: VixPoints = 25.0
    """A close of the VIX under it ends an episode; each of the opportunity's puts is sold once in one."""
    opportunity_budget: Fraction = 0.15
    """Loss at the -10 % line, a share of equity, that the opportunity's puts may have together."""
    opportunity_shares: Levels = (0.30, 0.30, 0.20, 0.20)
    """Of the budget: SPY, ES (else SPY), IWM, and what is kept for the higher VIX."""
    near_delta: DeltaPoints = 20.0
    far_days: Days = 60
    far_delta: DeltaPoints = 15.0
    small_delta: DeltaPoints = 25.0

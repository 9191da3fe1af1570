"""The numbers of risk: phases, VIX regimes, groups, sizing, drawdown, breakers, margin, and the floors of survival.

Kinds of numbers and units as in ``strategies.py``; each group names the section of the methodology it is from.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from core.settings.base import SettingsGroup
from core.settings.strategies import Count, Days, Dollars, Fraction, Multiple, Names, VixPoints


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

    earned_progression: bool | None = None
    """Whether trades must earn a phase beside its equity; none: live they must, a backtest's account has arrived."""
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
    sp500_delta_share: float = Field(5.0, gt=0)
    """Delta of all S&P 500 equivalents in dollars over equity (the phases' limits of delta come to 4 to 5)."""
    lasting_places: Count = 1
    """Of the equity options' places that what never ends (a LEAP ladder, the IPMCCs) may take together."""
    kept_for_today: Count = 1
    """Places of equity options, S&P 500 equivalents and short volatility that are kept for what ends the same day."""
    measured_joins: Fraction = 0.70
    measured_reported: Fraction = 0.50
    measured_days: int = Field(60, ge=20)
    adverse_move: Fraction = 0.10
    group_risk: Fraction = 0.15
    crash_move: Fraction = 0.20
    crash_risk: Fraction = 0.30
    line_close_at: float = Field(1.5, ge=1)
    """Use of a group's line from which its riskiest position is closed, one after the other until it is under."""
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
    least_reward_ratio: float = Field(0.1, gt=0)
    most_reward_ratio: float = Field(3.0, gt=0)
    """R stays between these two; a row's own prior may be over the upper one."""
    least_loss: Fraction = 0.1
    """An average loss counts as this share of the planned one at least."""
    vix_calm: VixPoints = 15.0
    """Under it ``scale_under_15`` counts, up to ``vix_usual`` ``scale_15_to_25``, up to ``vix_high`` the next."""
    vix_usual: VixPoints = 25.0
    vix_high: VixPoints = 35.0
    scale_under_15: Multiple = 0.75
    scale_15_to_25: Multiple = 1.0
    scale_25_to_35: Multiple = 0.75
    scale_over_35: Multiple = 0.5
    strangle_reference_vix: VixPoints = 20.0
    strangle_scale_min: Multiple = 0.5
    strangle_scale_max: Multiple = 2.0
    stress_move: Fraction = 0.10
    """Move against a proposal with naked short options whose loss it is sized by (methodology, section 4)."""
    stress_vix: VixPoints = 20.0
    stress_tolerance: Fraction = 0.002
    """Move of an underlying after which what is held is stressed anew; and after so many seconds in any case."""
    stress_seconds: int = Field(300, gt=0)
    stress_vix_days: Days = 30
    """Days at which a volatility rises by the whole of ``stress_vix``; longer ones rise with the root of the share."""


class HealthSettings(SettingsGroup):
    """Health score of a position (methodology, section 4): points taken off 100, and what counts as at its stop."""

    short_dated: float = Field(20.0, ge=0)
    at_stop: float = Field(30.0, ge=0)
    group: float = Field(25.0, ge=0)
    buying_power: float = Field(25.0, ge=0)
    stop_of_credit: Multiple = 2.0
    stop_of_debit: Fraction = 0.5


class EquitySettings(SettingsGroup):
    """How the account is valued for peaks, drawdown and breakers; points are those of SPX options."""

    unquestioned_move: Fraction = 0.0025
    """Change of the engine's figure since the last look that is taken without looking at each leg."""
    far_fraction: Fraction = 0.25
    far_points: float = Field(0.50, ge=0)
    """A middle farther than both from the model's value is believed at the second look running."""
    smallest_transfer: Fraction = 0.005
    """Share of equity from which cash without a trade counts as paid in or taken out."""
    transfer_tolerance: Fraction = 0.25
    """Share of it by which equity may have moved otherwise in the same minute."""


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
    vix_raised: VixPoints = 20.0
    """From this VIX on ``margin_vix_20`` is the margin's cap, from the next two on ``margin_vix_30`` and ``_40``."""
    vix_high: VixPoints = 30.0
    vix_extreme: VixPoints = 40.0
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


SCANS = {
    "ES": 0.07, "MES": 0.07, "NQ": 0.08, "MNQ": 0.08, "RTY": 0.08, "M2K": 0.08, "CL": 0.12, "MCL": 0.12, "GC": 0.06,
    "MGC": 0.06, "ZB": 0.04, "ZN": 0.025, "6E": 0.03, "M6E": 0.03,
}  # fmt: skip
"""Scanning range of a future as a share of its price: about one and a half times the outright margins that CME asked
in 2024 (ES 4.5 %, CL 8 %, GC 4 %, ZB 3 %, 6E 2 %), because exchanges raise them when they are needed."""


class MarginSettings(SettingsGroup):
    """Our own margin figures, as a broker asks them; the engine's is a second opinion.

    ``naked_*``: shares of the underlying (Regulation T; tastytrade holds SPX and XSP at 0.25 with a floor of 0.15).
    """

    authority: str = Field("own", pattern="^(own|engine)$")
    reserve: Fraction = 0.20
    breaker_share: Fraction = 0.75
    """Share of the margin breaker's level up to which entries may use buying power."""
    naked_equity: Fraction = 0.20
    naked_index: Fraction = 0.15
    naked_floor: Fraction = 0.10
    naked_minimum: float = Field(2.50, ge=0)
    """Points that a naked option asks at least."""
    house_multiple: float = Field(1.0, ge=1, le=10)
    """What the broker's house margin is of these figures; some raise it by half when markets fall."""
    future_notional: Fraction = 0.10
    """Scanning range of futures that ``future_scans`` does not name."""
    future_scans: dict[str, float] = Field(default_factory=lambda: dict(SCANS))
    future_volatility_scan: Fraction = 0.25
    """Share by which a scan of futures options moves their volatility."""
    shares: Fraction = 0.50
    """Of the value of shares that an assignment left (Regulation T)."""

    def scan_of(self, ticker: str) -> float:
        """Scanning range of a future, a share of its price."""
        return self.future_scans.get(ticker, self.future_notional)


class AcceptedRisks(SettingsGroup):
    """Survival rules that a person loosens beyond the method's numbers, one by one, with open eyes."""

    drawdown: bool = False
    fast_loss: bool = False
    margin: bool = False
    losses_in_a_row: bool = False
    concentration: bool = False
    group_risk: bool = False
    sizing: bool = False
    positions: bool = False
    vix_regime: bool = False
    black_swan: bool = False
    greeks: bool = False
    quotes: bool = False


class RiskSettings(SettingsGroup):
    """What a person accepts: without it no survival rule is looser than the method; tighter is always free."""

    i_accept: AcceptedRisks = AcceptedRisks()


AT_MOST, AT_LEAST = 1, -1
SLACK = {"max_positions": 1.25}
"""How far a floor is from the method's number where it is not that itself: a quarter more places may be chosen."""
_PHASES = ("foundation", "scaling", "optimisation", "professional")


def _each_phase(name: str, bound: int) -> dict[str, int]:
    return {f"phases.{phase}.{name}": bound for phase in _PHASES}


FLOORS: dict[str, dict[str, int]] = {
    "drawdown": {
        "drawdown.halve_at": AT_MOST, "drawdown.stop_entries_at": AT_MOST, "drawdown.close_all_at": AT_MOST,
        "drawdown.disable_at": AT_MOST, "drawdown.pause_days": AT_LEAST,
    },
    "fast_loss": {
        "circuit_breakers.fast_loss": AT_MOST, "circuit_breakers.fast_loss_foundation": AT_MOST,
        "circuit_breakers.fast_loss_minutes": AT_LEAST, "circuit_breakers.emergency_at": AT_MOST,
        "circuit_breakers.lock_hours": AT_LEAST, "circuit_breakers.calm_minutes": AT_LEAST,
        "circuit_breakers.correlation": AT_MOST, "circuit_breakers.correlation_foundation": AT_MOST,
        "circuit_breakers.warn_at": AT_MOST, "equity.unquestioned_move": AT_MOST, "equity.smallest_transfer": AT_LEAST,
    },
    "margin": {
        "circuit_breakers.margin": AT_MOST, "circuit_breakers.margin_foundation": AT_MOST,
        "circuit_breakers.margin_vix_20": AT_MOST, "circuit_breakers.margin_vix_30": AT_MOST,
        "circuit_breakers.margin_vix_40": AT_MOST, "circuit_breakers.vix_raised": AT_MOST,
        "circuit_breakers.vix_high": AT_MOST, "circuit_breakers.vix_extreme": AT_MOST,
        "margin.reserve": AT_LEAST, "margin.breaker_share": AT_MOST,
        "margin.naked_equity": AT_LEAST, "margin.naked_index": AT_LEAST, "margin.naked_floor": AT_LEAST,
        "margin.naked_minimum": AT_LEAST, "margin.future_notional": AT_LEAST, "margin.shares": AT_LEAST,
        "vix.cap_low": AT_MOST, "vix.cap_normal": AT_MOST, "vix.cap_elevated": AT_MOST, "vix.cap_high": AT_MOST,
        "vix.cap_extreme": AT_MOST, **_each_phase("buying_power_cap", AT_MOST),
    },
    "losses_in_a_row": {
        "circuit_breakers.losses_in_a_row": AT_MOST, "circuit_breakers.losses_in_a_row_foundation": AT_MOST,
    },
    "concentration": {
        "correlation.group_limit": AT_MOST, "correlation.sp500_limit": AT_MOST,
        "correlation.short_volatility_limit": AT_MOST, "correlation.sp500_delta_share": AT_MOST,
        "correlation.measured_joins": AT_MOST, "correlation.equity_futures_limit": AT_MOST,
        "correlation.equity_options_limit": AT_MOST, "correlation.safe_haven_limit": AT_MOST,
        "correlation.metals_limit": AT_MOST, "correlation.crude_limit": AT_MOST,
        "correlation.natural_gas_limit": AT_MOST, "correlation.grains_limit": AT_MOST,
        "correlation.proteins_limit": AT_MOST, "correlation.currencies_limit": AT_MOST,
    },
    "group_risk": {
        "correlation.adverse_move": AT_LEAST, "correlation.group_risk": AT_MOST, "correlation.crash_move": AT_LEAST,
        "correlation.crash_risk": AT_MOST, "correlation.line_close_at": AT_MOST, "sizing.stress_vix": AT_LEAST,
        "sizing.stress_vix_days": AT_LEAST,
    },
    "sizing": {
        "sizing.max_fraction": AT_MOST, "sizing.kelly_fraction": AT_MOST, "sizing.strangle_scale_max": AT_MOST,
        "sizing.most_reward_ratio": AT_MOST, "sizing.least_loss": AT_LEAST, "sizing.prior_weight": AT_MOST,
        "sizing.stress_move": AT_LEAST,
        **_each_phase("max_risk_per_position", AT_MOST),
    },
    "positions": {"phases.minimum_equity": AT_LEAST, **_each_phase("max_positions", AT_MOST)},
    "vix_regime": {
        "vix.high": AT_MOST, "vix.extreme": AT_MOST, "vix.panic_jump": AT_MOST, "vix.stale_after_seconds": AT_MOST,
    },
    "black_swan": {"black_swan.index_move": AT_MOST, "black_swan.pause_hours": AT_LEAST},
    "greeks": {
        **_each_phase("greeks_delta", AT_MOST), **_each_phase("greeks_gamma", AT_LEAST),
        **_each_phase("greeks_vega", AT_LEAST),
    },
    "quotes": {
        "market.stale_after_seconds": AT_MOST, "market.frozen_after_minutes": AT_MOST, "quotes.oldest_seconds": AT_MOST,
        "quotes.stale_move": AT_MOST, "quotes.widest_fraction": AT_MOST, "quotes.widest_points": AT_MOST,
        "orders.max_spread_fraction": AT_MOST, "orders.max_spread_points": AT_MOST, "orders.anomaly_fraction": AT_MOST,
        "orders.anomaly_points": AT_MOST,
    },
}  # fmt: skip
"""Numbers of the survival rules by rule: the method's own is the floor, and on which side of it a person is free."""

"""Watches the portfolio's Greeks against the limits of the account's phase: warns at 80 %, blocks at 100 %.

Limits are in beta-weighted reference shares (delta, gamma) and dollars per vol point (vega); methodology, section 4.
Options in their last day do not count against the gamma limit: one same-day condor on the index, which phase 1 may
hold, has four times phase 1's limit by itself. Its risk is bounded by its width, its stop and its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from core.bus import EventBus
from core.clock import MarketClock
from core.events import MarketData, PositionChanged, RiskThreshold, Severity
from core.factory import Manager
from core.settings.fields import GreeksSettings, PhaseLimits, PhaseSettings
from greeks.exposure import Exposure, PortfolioGreeks
from greeks.service import CentralGreeksService

UNKNOWN_RULE: Final = "greeks_unknown"
LARGE_MOVE: Final = 0.01  # of an underlying since it was last looked at
LONGEST_REST: Final = timedelta(minutes=30)
_CALM: Final = frozenset({Severity.NORMAL})


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit and how much of it is used; ``share`` is 0 where the exposure is on the harmless side."""

    rule: str
    limit: float
    observed: float
    share: float
    severity: Severity


class GreeksMonitor(Manager):
    """Judges the portfolio as it changes and publishes a RiskThreshold whenever a limit's severity changes."""

    def __init__(
        self,
        bus: EventBus,
        clock: MarketClock,
        service: CentralGreeksService,
        settings: GreeksSettings,
        phases: PhaseSettings,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._service = service
        self._warn_at = settings.warn_at
        self._limits: PhaseLimits = phases.foundation
        self._severities: dict[str, Severity] = {}
        self._judged: tuple[PortfolioGreeks, PhaseLimits] | None = None
        self._uses: tuple[LimitUse, ...] = ()
        self._prices: dict[str, float] = {}
        self._checked = clock.now()
        bus.subscribe(PositionChanged, self._on_position_changed, component="greeks_monitor", critical=True)
        bus.subscribe(MarketData, self._on_market_data, component="greeks_monitor", critical=True)

    @property
    def limits(self) -> PhaseLimits:
        """The limits in force; those of phase 1, the tightest, until told otherwise."""
        return self._limits

    def use_limits(self, limits: PhaseLimits) -> None:
        """Go over to the limits of another phase and judge the portfolio by them now."""
        if limits != self._limits:
            self._limits = limits
            self.check()

    @property
    def blocked(self) -> tuple[str, ...]:
        """Rules at or past 100 %, and ``greeks_unknown`` when a held contract has no Greeks: nothing new may open."""
        return tuple(rule for rule, severity in self._severities.items() if severity is Severity.BREACH)

    def judge(self, exposure: Exposure) -> tuple[LimitUse, ...]:
        """How much of each limit an exposure uses: that of what is held, or as after a what-if (see ``limited``)."""
        limits = self._limits
        shares = (
            ("greeks_delta", limits.greeks_delta, exposure.delta, abs(exposure.delta) / limits.greeks_delta),
            ("greeks_gamma", limits.greeks_gamma, exposure.gamma, max(exposure.gamma / limits.greeks_gamma, 0.0)),
            ("greeks_vega", limits.greeks_vega, exposure.vega, max(exposure.vega / limits.greeks_vega, 0.0)),
        )
        return tuple(LimitUse(*use, severity=self._severity(use[3])) for use in shares)

    def check(self) -> tuple[LimitUse, ...]:
        """Judge the portfolio now, publishing what changed; empty when its Greeks are unknown, which blocks."""
        self._checked = self._clock.now()
        portfolio = self._service.portfolio()
        if self._judged is not None and self._judged[0] is portfolio and self._judged[1] is self._limits:
            return self._uses  # the cache still holds what was judged; this runs on every price
        exposure = limited(portfolio)
        unknown = Severity.NORMAL if exposure is not None else Severity.BREACH
        self._note(UNKNOWN_RULE, unknown, 0.0, float(len(portfolio.unknown)))
        uses = () if exposure is None else self.judge(exposure)
        for use in uses:
            self._note(use.rule, use.severity, use.limit, use.observed)
        self._judged, self._uses = (portfolio, self._limits), uses
        return uses

    def _severity(self, share: float) -> Severity:
        if share >= 1.0:
            return Severity.BREACH
        return Severity.WARNING if share >= self._warn_at else Severity.NORMAL

    def _note(self, rule: str, severity: Severity, limit: float, observed: float) -> None:
        if severity is self._severities.get(rule, Severity.NORMAL):
            return
        self._severities[rule] = severity
        time = self._clock.now()
        self._bus.publish(RiskThreshold(time=time, rule=rule, severity=severity, limit=limit, observed=observed))

    def _on_position_changed(self, _event: PositionChanged) -> None:
        self.check()

    def _on_market_data(self, event: MarketData) -> None:
        """Judge again when it can matter: near a limit always, else after a move of a percent or half an hour."""
        seen, price = self._prices.get(event.ticker), event.price
        still = seen is not None and abs(price - seen) < LARGE_MOVE * seen
        calm = _CALM.issuperset(self._severities.values())
        if still and calm and event.time - self._checked < LONGEST_REST:
            return
        if not still:
            self._prices[event.ticker] = price
        if calm and not self._service.holds_anything:
            self._checked = event.time  # nothing is all that there is to judge, and it was judged when it came to that
            return
        self.check()


def limited(portfolio: PortfolioGreeks) -> Exposure | None:
    """What the limits look at: the whole, its gamma without options in their last day; ``None`` when unknown."""
    whole, today = portfolio.whole, portfolio.time.date()
    if whole is None:
        return None
    gamma = 0.0
    for leg in portfolio.legs:
        if leg.exposure is not None and leg.contract.expiry > today:
            gamma += leg.exposure.gamma
    return replace(whole, gamma=gamma)

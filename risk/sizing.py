"""How many contracts: Kelly with a realised record, VIX scaling, and what one contract can lose."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime

from core.book import Book
from core.parts import Trait
from core.performance import PerformanceTracker, TradeRecord, record_of
from core.settings.fields import SizingSettings
from greeks.stress import Stressed, StressEngine
from risk.margin import is_amount, is_loan
from risk.memory import moment, text_of
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Shrink, Verdict, is_covered


def posterior(prior: float, weight: float, successes: float, count: int) -> float:
    """Mean of a Beta posterior whose prior has the given mean and is worth ``weight`` trades."""
    return (prior * weight + successes) / (weight + count)


def kelly_fraction(win_rate: float, reward_ratio: float, settings: SizingSettings) -> float:
    """Share of equity to risk: a quarter of Kelly, never above the cap, never below zero (methodology, section 4)."""
    full = win_rate - (1 - win_rate) / reward_ratio
    return min(max(settings.kelly_fraction * full, 0.0), settings.max_fraction)


def vix_scale(traits: Collection[Trait], vix: float, settings: SizingSettings) -> float:
    """Scale of the risk budget at a VIX; strangles grow with it, everything else shrinks at both ends.

    Puts that have a budget of their own are not scaled (methodology, 6a, row 10).
    """
    if Trait.OWN_BUDGET in traits:
        return 1.0
    if Trait.SCALED_LIKE_STRANGLES in traits:
        scale = vix / settings.strangle_reference_vix
        return min(max(scale, settings.strangle_scale_min), settings.strangle_scale_max)
    if vix < settings.vix_calm:
        return settings.scale_under_15
    if vix <= settings.vix_usual:
        return settings.scale_15_to_25
    return settings.scale_25_to_35 if vix <= settings.vix_high else settings.scale_over_35


class PositionSizer(RiskPlugin):
    """The plugin that turns equity and record into a number of contracts.

    A strategy whose record leaves it no share is suspended until a person resumes it; its record counts anew from then.
    """

    name = "sizing"
    order = 130

    def __init__(
        self, book: Book, performance: PerformanceTracker, engine: StressEngine, settings: SizingSettings
    ) -> None:
        self._book = book
        self._performance = performance
        self._engine = engine
        self._settings = settings
        self._suspended: dict[str, datetime] = {}
        self._counted_from: dict[str, datetime] = {}

    @property
    def suspended(self) -> Mapping[str, datetime]:
        """Strategies without a share by their own record, and since when."""
        return self._suspended

    def resume(self, strategy: str, now: datetime) -> bool:
        """A person's word: its record counts anew from now. Whether it was suspended."""
        if self._suspended.pop(strategy, None) is None:
            return False
        self._counted_from[strategy] = now
        return True

    def fraction(self, strategy: str, win_rate: float, reward_ratio: float) -> float:
        """Kelly share of equity for a strategy, its priors moved by its own record."""
        since = self._counted_from.get(strategy)
        if since is None:
            record = self._performance.of(strategy)
        else:
            record = record_of([trade for trade in self._book.trades_of(strategy) if trade.closed > since])
        ratio = self._ratio(record)
        weight, count = self._settings.prior_weight, record.trades
        reward = reward_ratio if ratio is None else posterior(reward_ratio, weight, ratio * count, count)
        most = max(self._settings.most_reward_ratio, reward_ratio)
        reward = min(max(reward, self._settings.least_reward_ratio), most)
        return kelly_fraction(posterior(win_rate, weight, record.wins, count), reward, self._settings)

    def _ratio(self, record: TradeRecord) -> float | None:
        """Average win over average loss, the loss a tenth of the planned one at least; ``None`` without one of both."""
        if record.average_win is None or record.average_loss is None:
            return None
        least = 0.0 if record.planned is None else self._settings.least_loss * record.planned
        return record.average_win / max(record.average_loss, least)

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Contracts that the budget buys: share of equity, scaled, over the loss of one contract."""
        if is_loan(proposal.package.legs):
            return Allow(self.name)  # what it costs is interest, and a person asked for it
        since = self._suspended.get(proposal.strategy)
        share = self.fraction(proposal.strategy, proposal.win_rate, proposal.reward_ratio)
        if since is not None or share <= 0.0:
            since = self._suspended.setdefault(proposal.strategy, context.now)
            return Deny("suspended", f"{proposal.strategy} is suspended by its own record since {since:%Y-%m-%d %H:%M}")
        if is_covered(proposal, context.book):
            return Allow(self.name)  # what covers it was sized, and carries what it can lose
        loss = self.loss_of(proposal)
        if loss is None:
            return Deny(self.name, f"the loss of one contract is unknown ({proposal.terms.max_loss} proposed)")
        budget = self._scaled(share, proposal, context) * context.account.equity
        contracts = math.floor(budget / loss + 1e-9)
        reason = f"budget {budget:.0f} over {loss:.0f} a contract allows {contracts}"
        return Shrink(self.name, contracts, budget, loss, reason)

    def share_of(self, proposal: Proposal, context: RiskContext) -> float:
        """Share of equity that a position of the proposal may risk: Kelly's, scaled by the VIX, within the phase's."""
        return self._scaled(
            self.fraction(proposal.strategy, proposal.win_rate, proposal.reward_ratio), proposal, context
        )

    def _scaled(self, share: float, proposal: Proposal, context: RiskContext) -> float:
        most = context.limits.max_risk_per_position
        share = min(share, most)
        scale = vix_scale(proposal.terms.traits, proposal.vix, self._settings) * context.size_factor
        return min(share * scale, most)

    def memory(self) -> Mapping[str, object]:
        """Suspensions, and from when a resumed record counts."""
        return {"suspended": dict(self._suspended), "counted_from": dict(self._counted_from)}

    def restore(self, row: Mapping[str, object]) -> None:
        """Go on with what the last process knew. Raises ``ValueError`` for what cannot be true."""
        self._suspended, self._counted_from = _times(row, "suspended"), _times(row, "counted_from")

    def loss_of(self, proposal: Proposal) -> float | None:
        """Dollars that one contract puts at risk; ``None`` when it cannot be told.

        What the row plans to lose. With a short option that nothing covers the larger of that and the stress's loss;
        where the row plans with nothing, the largest loss there is.
        """
        return self.loss_by(proposal, self._engine.one_lot(proposal.package))

    def loss_by(self, proposal: Proposal, one: Stressed) -> float | None:
        """The same by a stress of one contract."""
        planned = proposal.terms.max_loss
        if not is_amount(planned) or (one.naked and not one.known):
            return None
        if one.naked:
            planned = max(planned, one.loss if one.sizing_loss is None else one.sizing_loss)
        if planned > 0.0:
            return planned
        return one.largest_loss if is_amount(one.largest_loss) and one.largest_loss > 0.0 else None


def _times(row: Mapping[str, object], name: str) -> dict[str, datetime]:
    value = row.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{name}: {text_of(value)}; expected strategies with times")
    return {str(key): found for key in value if (found := moment(value, key)) is not None}

"""How many contracts: Kelly with a realised record, VIX scaling, and what one contract can lose."""

from __future__ import annotations

import math
from collections.abc import Collection

from core.book import Book
from core.parts import Trait
from core.performance import record_of
from core.settings.fields import SizingSettings
from greeks.stress import StressEngine
from risk.margin import is_amount, is_loan
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Shrink, Verdict


def posterior(prior: float, weight: float, successes: float, count: int) -> float:
    """Mean of a Beta posterior whose prior has the given mean and is worth ``weight`` trades."""
    return (prior * weight + successes) / (weight + count)


def kelly_fraction(win_rate: float, reward_ratio: float, settings: SizingSettings) -> float:
    """Share of equity to risk: a quarter of Kelly, never above the cap, never below zero (methodology, section 4)."""
    full = win_rate - (1 - win_rate) / reward_ratio
    return min(max(settings.kelly_fraction * full, 0.0), settings.max_fraction)


def vix_scale(traits: Collection[Trait], vix: float, settings: SizingSettings) -> float:
    """Scale of the risk budget at a VIX; strangles grow with it, everything else shrinks at both ends."""
    if Trait.SCALED_LIKE_STRANGLES in traits:
        scale = vix / settings.strangle_reference_vix
        return min(max(scale, settings.strangle_scale_min), settings.strangle_scale_max)
    if vix < 15:
        return settings.scale_under_15
    if vix <= 25:
        return settings.scale_15_to_25
    return settings.scale_25_to_35 if vix <= 35 else settings.scale_over_35


class PositionSizer(RiskPlugin):
    """The plugin that turns equity and record into a number of contracts."""

    name = "sizing"
    order = 130

    def __init__(self, book: Book, engine: StressEngine, settings: SizingSettings) -> None:
        self._book = book
        self._engine = engine
        self._settings = settings

    def fraction(self, strategy: str, win_rate: float, reward_ratio: float) -> float:
        """Kelly share of equity for a strategy, its priors moved by its own record."""
        record = record_of(self._book.trades_of(strategy))
        weight, count, ratio = self._settings.prior_weight, record.trades, record.reward_ratio
        reward = reward_ratio if ratio is None else posterior(reward_ratio, weight, ratio * count, count)
        return kelly_fraction(posterior(win_rate, weight, record.wins, count), reward, self._settings)

    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Contracts that the budget buys: share of equity, scaled, over the loss of one contract."""
        if is_loan(proposal.package.legs):
            return Allow(self.name)  # what it costs is interest, and a person asked for it
        loss = self.loss_of(proposal)
        if loss is None:
            return Deny(self.name, f"the loss of one contract is unknown ({proposal.terms.max_loss} proposed)")
        share = self.fraction(proposal.strategy, proposal.win_rate, proposal.reward_ratio)
        share = min(share, context.limits.max_risk_per_position)
        scale = vix_scale(proposal.terms.traits, proposal.vix, self._settings) * context.size_factor
        budget = min(share * scale, context.limits.max_risk_per_position) * context.account.equity
        contracts = math.floor(budget / loss + 1e-9)
        reason = f"budget {budget:.0f} over {loss:.0f} a contract allows {contracts}"
        return Shrink(self.name, contracts, budget, loss, reason)

    def loss_of(self, proposal: Proposal) -> float | None:
        """Dollars that one contract puts at risk; ``None`` when it cannot be told.

        What the row plans to lose. With a short option that nothing covers the larger of that and the stress's loss;
        where the row plans with nothing, the largest loss there is.
        """
        planned, one = proposal.terms.max_loss, self._engine.one_lot(proposal.package)
        if not is_amount(planned) or (one.naked and not one.known):
            return None
        if one.naked:
            planned = max(planned, one.loss)
        if planned > 0.0:
            return planned
        return one.largest_loss if is_amount(one.largest_loss) and one.largest_loss > 0.0 else None

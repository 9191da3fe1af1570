"""How many contracts: Kelly with a realised record, VIX scaling, and what one contract can lose."""

from __future__ import annotations

import math
from collections.abc import Collection

from core.book import Book
from core.parts import Trait
from core.performance import record_of
from core.settings_fields import SizingSettings
from risk.proposal import Allow, Proposal, RiskContext, RiskPlugin, Shrink, Verdict


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

    def __init__(self, book: Book, settings: SizingSettings) -> None:
        self._book = book
        self._settings = settings

    def fraction(self, strategy: str, win_rate: float, reward_ratio: float) -> float:
        """Kelly share of equity for a strategy, its priors moved by its own record."""
        record = record_of(self._book.trades_of(strategy))
        weight, count, ratio = self._settings.prior_weight, record.trades, record.reward_ratio
        reward = reward_ratio if ratio is None else posterior(reward_ratio, weight, ratio * count, count)
        return kelly_fraction(posterior(win_rate, weight, record.wins, count), reward, self._settings)

    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Contracts that the budget buys: share of equity, scaled, over the loss of one contract."""
        if proposal.terms.max_loss <= 0:
            return Allow(self.name)
        share = self.fraction(proposal.strategy, proposal.win_rate, proposal.reward_ratio)
        share = min(share, context.limits.max_risk_per_position)
        scale = vix_scale(proposal.terms.traits, proposal.vix, self._settings) * context.size_factor
        budget = share * scale * context.account.equity
        contracts = math.floor(budget / proposal.terms.max_loss + 1e-9)
        reason = f"budget {budget:.0f} over {proposal.terms.max_loss:.0f} a contract allows {contracts}"
        return Shrink(self.name, contracts, budget, proposal.terms.max_loss, reason)

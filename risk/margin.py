"""What a broker asks for a package: our own figures, the authority on buying power (`margin.authority`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.book import Book
from core.contracts import AssetKind, Leg, Package, Right
from core.gateway import Gateway
from core.settings_fields import MarginSettings
from market.vix import UnifiedVIXManager
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Shrink, Verdict


@dataclass(frozen=True, slots=True)
class _Short:
    leg: Leg
    count: int


def _cover(shorts: Sequence[Leg], longs: Sequence[Leg]) -> tuple[float, list[_Short]]:
    """Width dollars of covered shorts of one side, and the shorts that no long covers.

    Each short takes the nearest long that expires no earlier; one nearer to the money than its short costs nothing.
    """
    free = {leg.contract: leg.ratio for leg in longs}
    width, naked = 0.0, []
    for leg in sorted(shorts, key=lambda item: item.contract.strike):
        left = -leg.ratio
        fitting = [contract for contract in free if contract.expiry >= leg.contract.expiry]
        for contract in sorted(fitting, key=lambda item: abs(item.strike - leg.contract.strike)):
            taken = min(left, free[contract])
            gap = leg.contract.strike - contract.strike
            gap = gap if leg.contract.right is Right.PUT else -gap
            width += taken * max(gap, 0.0) * leg.contract.multiplier
            free[contract] -= taken
            left -= taken
        if left:
            naked.append(_Short(leg, left))
    return width, naked


def _naked(short: _Short, spot: float, price: float, settings: MarginSettings) -> float:
    """Margin of uncovered shorts: premium plus a share of the underlying less what is out of the money."""
    contract = short.leg.contract
    share = settings.naked_index if contract.underlying.kind is AssetKind.INDEX else settings.naked_equity
    call = contract.right is Right.CALL
    outside = max(contract.strike - spot if call else spot - contract.strike, 0.0)
    floor = settings.naked_floor * (spot if call else contract.strike)
    return short.count * contract.multiplier * (price + max(share * spot - outside, floor))


def package_margin(package: Package, spot: float, prices: Sequence[float], settings: MarginSettings) -> float:
    """Margin of one package in positive dollars; ``prices`` are mids by leg, in points.

    Verticals ask their width, a condor its wider side, naked options 20 % (shares) or 15 % (index) of the underlying;
    of two naked sides the larger and the other's premium. Options on futures use their multiplier everywhere.
    """
    price_of = {leg.contract: price for leg, price in zip(package.legs, prices, strict=True)}
    sides, premiums, naked_sides = [], [], 0
    for right in Right:
        legs = [leg for leg in package.legs if leg.contract.right is right]
        width, naked = _cover([leg for leg in legs if leg.ratio < 0], [leg for leg in legs if leg.ratio > 0])
        asked = sum(_naked(short, spot, price_of[short.leg.contract], settings) for short in naked)
        premium = sum(short.count * short.leg.contract.multiplier * price_of[short.leg.contract] for short in naked)
        sides.append(width + asked)
        premiums.append(premium)
        naked_sides += bool(naked)
    if naked_sides == 2:
        larger = 0 if sides[0] >= sides[1] else 1
        return sides[larger] + premiums[1 - larger]
    return max(sides)


def shares_margin(book: Book, settings: MarginSettings) -> float:
    """Margin of the shares that assignments left, positive dollars, at the price they came at."""
    return settings.shares * sum(row.value for row in book.shares.values())


class MarginPlugin(RiskPlugin):
    """Keeps used margin within the smallest cap: phase, VIX regime, and the reserve that is always kept back."""

    name = "margin"
    order = 120

    def __init__(self, vix: UnifiedVIXManager, gateway: Gateway, settings: MarginSettings) -> None:
        self._vix = vix
        self._gateway = gateway
        self._settings = settings

    def cap(self, context: RiskContext) -> float | None:
        """Share of equity that may be used now; ``None`` without a VIX."""
        if context.vix is None:
            return None
        regime = self._vix.cap_of(context.vix.regime)
        return min(context.limits.buying_power_cap, regime, 1 - self._settings.reserve)

    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Contracts that the free part of the cap carries."""
        cap = self.cap(context)
        if cap is None:
            return Deny(self.name, "no fresh VIX, so no cap on buying power")
        used = sum(position.margin for position in context.book.exposed()) + shares_margin(context.book, self._settings)
        free = cap * context.account.equity - used
        if self._settings.authority == "engine" and context.account.engine_margin_free is not None:
            free = min(free, context.account.engine_margin_free)
        if proposal.terms.margin <= 0:
            return Allow(self.name)
        contracts = max(math.floor(free / proposal.terms.margin + 1e-9), 0)
        reason = f"{free:.0f} of buying power left over {proposal.terms.margin:.0f} a contract allows {contracts}"
        return Shrink(self.name, contracts, free, proposal.terms.margin, reason)

"""Prices of packages: mid, natural, and the walk from one to the other, in points a package with a credit positive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.contracts import Leg, Package, Quote
from core.gateway import FAMILIES, Gateway
from core.settings_fields import OrderSettings

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class PackagePrice:
    """What a package brings at the mid and at the natural price (sell at bids, buy at offers); natural <= mid."""

    mid: float
    natural: float
    tick: float

    @property
    def spread(self) -> float:
        """Twice the way from mid to natural: the package's own bid-offer spread."""
        return 2 * (self.mid - self.natural)


def package_price(legs: Sequence[Leg], quotes: Sequence[Quote | None]) -> PackagePrice | None:
    """Price of legs at their quotes; ``None`` where a side that the trade needs is missing or crossed.

    An option bought needs an offer; one sold needs a bid, except that a missing bid of an option sold counts as zero
    (getting rid of a worthless option).
    """
    mid = natural = 0.0
    for leg, quote in zip(legs, quotes, strict=True):
        if quote is None or quote.ask is None:
            return None
        bid = quote.bid or 0.0
        if bid > quote.ask:
            return None
        mid -= leg.ratio * (bid + quote.ask) / 2
        natural -= leg.ratio * (quote.ask if leg.ratio > 0 else bid)
    return PackagePrice(mid, natural, FAMILIES[legs[0].contract.root].tick)


def current_price(gateway: Gateway, package: Package) -> PackagePrice | None:
    """Price of a package now."""
    return package_price(package.legs, [gateway.quote(leg.contract) for leg in package.legs])


def round_down(cash: float, tick: float) -> float:
    """The tick at or below, in our sign: never better for us than asked; never zero, which no engine can express."""
    steps = math.floor(cash / tick + _ROUNDING)
    return round((steps or -1) * tick, 10)


def walk_limit(price: PackagePrice, step: int, settings: OrderSettings) -> float:
    """Limit after so many steps from the mid: each a share of the spread, never beyond natural."""
    wanted = price.mid - step * settings.walk_step * price.spread
    return round_down(max(wanted, price.natural), price.tick)


def crossing_limit(price: PackagePrice, extra_ticks: int) -> float:
    """Limit that must trade: natural and some ticks worse."""
    return round_down(price.natural - extra_ticks * price.tick, price.tick)

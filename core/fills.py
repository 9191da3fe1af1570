"""The fill assumption of backtests: when a limit order on a package fills, and at which price of each leg.

Pure logic on the closes of a minute's quotes; ``core/lean_gateway_fills.py`` puts it into LEAN's fill model. Prices are
points; a package's price is what it brings in, a credit positive. Why these rules: ``docs/decisions``, fills.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

CENT = 0.01
_CLOSE = 1e-9
_REFINEMENTS = 3


class FillAssumption(StrEnum):
    """Where a limit order is taken to fill."""

    WORKED = "worked"
    """At the better of its limit and natural, once the limit has given up a share of the way from mid to natural."""
    NATURAL = "natural"
    """At each leg's bid or offer, once the limit is there or through it."""
    MID = "mid"
    """At the mid, once the limit is there or under it: for comparison, kinder than any market."""
    LEAN = "lean"
    """By LEAN's own rule: the lowest prices of the minute's bars strictly better than the limit."""


@dataclass(frozen=True, slots=True)
class LegQuote:
    """A leg's ratio (bought positive) and its quote at a minute's close; ``None`` for a side that is not there."""

    ratio: int
    bid: float | None
    ask: float | None


@dataclass(frozen=True, slots=True)
class FillRule:
    """An assumption with its number: the share of the way from mid (0) to natural (1) that must be given up."""

    model: FillAssumption
    share: float

    def fill(self, legs: Sequence[LegQuote], limit: float, step: float = CENT) -> tuple[float, ...] | None:
        """Prices of the legs, in multiples of ``step``, whose sum is the package's price; ``None``: it does not fill.

        ``limit`` is the package's, a credit positive. Every leg needs its offer, one that is sold also its bid; a
        missing bid of one that is bought counts as zero, and a bid over its offer as the offer.
        """
        sides = [_sides(leg) for leg in legs]
        known = [side for side in sides if side is not None]
        if len(known) < len(sides) or not known:
            return None
        mid = -sum(leg.ratio * (bid + ask) / 2 for leg, (bid, ask) in zip(legs, known, strict=True))
        natural = -sum(leg.ratio * _far(leg.ratio, *side) for leg, side in zip(legs, known, strict=True))
        price = self._price(mid, natural, limit, step)
        if price is None:
            return None
        if abs(price - natural) < _CLOSE:
            return tuple(_far(leg.ratio, *side) for leg, side in zip(legs, known, strict=True))
        if len(legs) == 1:
            return (abs(price / legs[0].ratio),)
        return _split([leg.ratio for leg in legs], known, price, (mid - price) / (mid - natural), step)

    def _price(self, mid: float, natural: float, limit: float, step: float) -> float | None:
        if self.model is FillAssumption.LEAN:
            raise ValueError("fills.model lean is LEAN's own rule; nothing is put in its place")
        if self.model is FillAssumption.MID:
            down = math.floor(mid / step + _CLOSE) * step
            return max(down, natural) if limit <= mid + _CLOSE else None
        share = self.share if self.model is FillAssumption.WORKED else 1.0
        if limit > mid - share * (mid - natural) + _CLOSE:
            return None
        return max(limit, natural)


def _sides(leg: LegQuote) -> tuple[float, float] | None:
    """Bid and offer that the leg can count on."""
    if leg.ask is None or (leg.bid is None and leg.ratio < 0):
        return None
    return min(leg.bid or 0.0, leg.ask), leg.ask


def _far(ratio: int, bid: float, ask: float) -> float:
    return ask if ratio > 0 else bid


def _split(
    ratios: Sequence[int], sides: Sequence[tuple[float, float]], price: float, way: float, step: float
) -> tuple[float, ...]:
    """Prices of legs within their quotes, each about ``way`` (0 to 1) from its mid to its far side.

    They add up to ``price`` exactly; where no multiples of the step do, a tenth of it is tried.
    """
    for _ in range(_REFINEMENTS):
        units = _units(ratios, sides, price, way, step)
        if units is not None:
            return tuple(round(unit * step, 10) for unit in units)
        step /= 10
    raise ValueError(f"no prices within the quotes {list(sides)} of legs {list(ratios)} add up to {price}")


def _units(
    ratios: Sequence[int], sides: Sequence[tuple[float, float]], price: float, way: float, step: float
) -> list[int] | None:
    """Leg prices in whole steps; the fewest steps away from where each would stand by itself."""
    total = round(-price / step)
    if abs(total * step + price) > _CLOSE * max(1.0, abs(price)):
        return None
    bounds = [(math.ceil(bid / step - _CLOSE), math.floor(ask / step + _CLOSE)) for bid, ask in sides]
    if any(low > high for low, high in bounds):
        return None
    start = []
    for ratio, (bid, ask), (low, high) in zip(ratios, sides, bounds, strict=True):
        mid = (bid + ask) / 2
        start.append(min(max(round((mid + way * (_far(ratio, bid, ask) - mid)) / step), low), high))
    missing = total - sum(ratio * unit for ratio, unit in zip(ratios, start, strict=True))
    reach = abs(missing) + max(abs(ratio) for ratio in ratios)
    found: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for ratio, unit, (low, high) in zip(ratios, start, bounds, strict=True):
        grown: dict[int, tuple[int, tuple[int, ...]]] = {}
        for moved, (cost, moves) in found.items():
            for move in range(max(low - unit, -reach), min(high - unit, reach) + 1):
                state, spent = moved + ratio * move, cost + abs(move)
                if state not in grown or spent < grown[state][0]:
                    grown[state] = (spent, (*moves, move))
        found = grown
    best = found.get(missing)
    return None if best is None else [unit + move for unit, move in zip(start, best[1], strict=True)]

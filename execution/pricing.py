"""Prices of packages: mid, natural, and the walk from one through the other, in points, a credit positive."""

from __future__ import annotations

import math

from core.book import EntryIntent, Refusal
from core.instruments import instrument_of
from core.settings.fields import OrderSettings
from market.chains import PackagePrice

_ROUNDING = 1e-6
CROSSING_SHARE = 0.05


def round_down(cash: float, tick: float) -> float:
    """The tick at or below, in our sign: never better for us than asked; never zero, which no engine can express."""
    steps = math.floor(cash / tick + _ROUNDING)
    return round((steps or -1) * tick, 10)


def through(cash: float, tick: float) -> float:
    """The first tick below, in our sign: what must be given beyond a price to trade at it; never zero."""
    steps = math.ceil(cash / tick - _ROUNDING) - 1
    return round((steps or -1) * tick, 10)


def walk_limit(price: PackagePrice, step: int, settings: OrderSettings) -> float:
    """Limit after so many steps from the mid: each a share of the spread, the last one a tick through natural.

    A limit exactly at natural waits for the market to come to it; one through it is marketable and executes at natural
    or better (methodology, section 5). A walk without steps stays at the mid.
    """
    if step and step >= settings.walk_steps:
        return through(price.natural, price.tick)
    wanted = price.mid - step * settings.walk_step * price.spread
    return round_down(max(wanted, price.natural), price.tick)


def crossing_limit(price: PackagePrice, attempt: int) -> float:
    """Limit that must trade, still a limit: natural and an allowance for what the market does within the next minute.

    The allowance grows with each attempt (from 1); a fill is at the market's own price, not at the limit.
    """
    allowance = max(price.spread, CROSSING_SHARE * abs(price.natural), 2 * price.tick)
    return round_down(price.natural - attempt * allowance, price.tick)


def anomaly(entry: EntryIntent, settings: OrderSettings) -> Refusal | None:
    """A mid far from the model's (over both limits) is not traded."""
    if entry.model_cash is None:
        return None
    gap = abs(entry.mid_cash - entry.model_cash)
    share = settings.anomaly_fraction * abs(entry.model_cash)
    least = instrument_of(entry.package.legs[0].contract).points(settings.anomaly_points)
    if gap > share and gap > least:
        reason = f"mid {entry.mid_cash:.2f} is far from the model's {entry.model_cash:.2f}"
        return Refusal("anomaly", reason, max(share, least), gap)
    return None

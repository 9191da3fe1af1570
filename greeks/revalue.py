"""Options priced anew at other prices, volatilities and days: pure arithmetic on what is known of them now.

Arrays are (contract, node). Prices are points; ``units`` are signed dollars a point (ratio x contracts x multiplier).
What is unknown is NaN and stays so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from greeks.black_scholes import FloatArray
from greeks.smile import Columns

LOWEST_VOLATILITY: Final = 0.01  # to which a scenario may push a volatility
LOWEST_SPOT: Final = 1e-3  # share of the price that is left after any fall
_DAYS: Final = 365.0
_BETWEEN: Final = 8  # prices looked at between two strikes where a leg has time left
_FAR: Final = 4.0  # of the highest strike: so far up no put is worth anything


@dataclass(frozen=True, slots=True)
class Priced:
    """Contracts with the spot, the volatility and the price (points) that each has now."""

    columns: Columns
    spot: FloatArray
    volatility: FloatArray
    price: FloatArray

    def rows(self, at: NDArray[np.intp]) -> Priced:
        """Some of the contracts, in the order of ``at``."""
        return Priced(self.columns.rows(at), self.spot[at], self.volatility[at], self.price[at])


def revalued(now: Priced, moves: FloatArray, points: FloatArray, days: FloatArray | float) -> FloatArray:
    """Prices when spots move by fractions, volatilities by points (0.01) and days pass; each priced anew.

    An option that expires on the way is worth its intrinsic value.
    """
    spot = _placed(now)[:, None] * np.maximum(1.0 + moves, LOWEST_SPOT)
    known = now.volatility[:, None]
    volatility = np.maximum(known + points / 100.0, np.minimum(known, LOWEST_VOLATILITY))
    shape = np.broadcast_shapes(spot.shape, volatility.shape)
    return _prices(now, np.broadcast_to(spot, shape), np.broadcast_to(volatility, shape), np.broadcast_to(days, shape))


def volatility_rise(now: Priced, points: float, reference_days: float) -> FloatArray:
    """Points by which each volatility rises when the VIX rises by ``points``: less for options that last longer.

    ``points`` x sqrt(reference days / days left), at most ``points`` (methodology, section 4).
    """
    with np.errstate(divide="ignore"):
        share = np.sqrt(reference_days / (now.columns.years * _DAYS))
    rise: FloatArray = points * np.minimum(share, 1.0)
    return rise


def worst_value(now: Priced, units: FloatArray) -> float:
    """Lowest value in dollars at the nearest expiry, over every price of the underlying; -inf where it has no floor.

    Legs that expire then are worth their intrinsic value, later ones what the model gives at today's volatilities.
    All legs are on one underlying. NaN where a leg with time left is unknown.
    """
    columns = now.columns
    if float(units[columns.is_call].sum()) < 0.0:
        return -np.inf
    days = float(columns.years.min()) * _DAYS
    strikes = np.unique(columns.strike)
    prices = np.concatenate(([strikes[0] * LOWEST_SPOT], strikes, [strikes[-1] * _FAR]))
    if float(columns.years.max()) * _DAYS > days:
        prices = np.unique(np.concatenate([np.linspace(*between, _BETWEEN) for between in pairwise(prices)]))
    spot = np.broadcast_to(prices, (columns.strike.size, prices.size))
    volatility = np.broadcast_to(now.volatility[:, None], spot.shape)
    values = units @ _prices(now, spot, volatility, np.broadcast_to(days, spot.shape))
    return float(values.min())


def _placed(now: Priced) -> FloatArray:
    """Spots, the strike where one is unknown: its volatility is unknown then too, and so is every price."""
    placed: FloatArray = np.where(np.isnan(now.spot), now.columns.strike, now.spot)
    return placed


def _prices(now: Priced, spot: FloatArray, volatility: FloatArray, days: FloatArray) -> FloatArray:
    count, nodes = spot.shape
    many = now.columns.rows(np.repeat(np.arange(count), nodes)).later(days.ravel() / _DAYS)
    return many.prices(spot.ravel(), volatility.ravel()).reshape(count, nodes)

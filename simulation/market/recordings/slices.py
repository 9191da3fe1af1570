"""Recorded chains by expiration: forward by parity, prices out of the money, volatilities and deltas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from scipy.special import ndtr

from simulation.market.calendar import FloatArray
from simulation.market.recordings.files import Quoted, Recorded, settlement
from simulation.market.surface import black

NEAREST = 9  # strikes about the money whose median gives the forward
LONG_ENOUGH = 45.0 / 365.0  # years from which the discount is read from the chain itself
SMALLEST_VOLATILITY, LARGEST_VOLATILITY = 0.01, 4.0


@dataclass(frozen=True)
class Slice:
    """One expiration of a recorded chain: strikes with both rights as arrays (NaN: no bid, or not listed).

    ``forward`` is by parity, in points; ``discount`` what a dollar at the settlement costs; ``years`` calendar time.
    """

    root: str
    expiry: date
    settles: datetime
    moment: datetime
    forward: float
    discount: float
    strike: FloatArray
    call: tuple[FloatArray, FloatArray]
    put: tuple[FloatArray, FloatArray]

    @property
    def years(self) -> float:
        """Calendar years to the settlement."""
        return (self.settles - self.moment).total_seconds() / (365.0 * 86_400.0)

    @property
    def days(self) -> int:
        """Calendar days to the expiry."""
        return (self.expiry - self.moment.date()).days

    def outer(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Strikes, signs, mids and full spreads of what is out of the money and has a bid."""
        sign = np.where(self.strike < self.forward, -1.0, 1.0)
        bid = np.where(sign < 0, self.put[0], self.call[0])
        ask = np.where(sign < 0, self.put[1], self.call[1])
        kept = (bid > 0.0) & (ask > bid) & ~np.isnan(ask)
        return self.strike[kept], sign[kept], 0.5 * (bid + ask)[kept], (ask - bid)[kept]


def _arrays(
    quotes: Sequence[Quoted],
) -> tuple[FloatArray, tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    strikes = np.array(sorted({one.series.strike for one in quotes}))
    place = {strike: row for row, strike in enumerate(strikes.tolist())}
    table = np.full((4, len(strikes)), np.nan)
    for one in quotes:
        row = place[one.series.strike]
        first = 0 if one.series.sign > 0 else 2
        table[first, row] = np.nan if one.bid is None else one.bid
        table[first + 1, row] = np.nan if one.ask is None else one.ask
    return strikes, (table[0], table[1]), (table[2], table[3])


def forward_by_parity(
    strikes: FloatArray, call: FloatArray, put: FloatArray, years: float, rate: float
) -> tuple[float, float] | None:
    """Forward and discount from mids of both rights (NaN: none); ``None`` with fewer than three strikes of both.

    The discount of terms over 45 days is the slope of call less put over the strikes within 15 % of the money; of
    shorter ones, where half a tick moves it, that of ``rate`` a year.
    """
    both = np.flatnonzero(~np.isnan(call) & ~np.isnan(put))
    if len(both) < 3:
        return None
    gap, known = call[both] - put[both], strikes[both]
    centre = float(known[np.argmin(np.abs(gap))])
    discount = float(np.exp(-rate * years))
    near = np.abs(known / centre - 1.0) < 0.15
    if years > LONG_ENOUGH and near.sum() > 8:
        first, last = known[near] < np.median(known[near]), known[near] > np.median(known[near])
        rise = np.median(gap[near][last]) - np.median(gap[near][first])
        run = np.median(known[near][last]) - np.median(known[near][first])
        discount = float(np.clip(-rise / run, np.exp(-0.09 * years), np.exp(0.01 * years)))
    closest = np.argsort(np.abs(known - centre), kind="stable")[:NEAREST]
    return float(np.median(known[closest] + gap[closest] / discount)), discount


def slices(chain: Recorded, rate: float) -> list[Slice]:
    """The chain's expirations that have a forward, ascending; ``rate`` a year discounts the short ones."""
    groups: dict[tuple[str, date], list[Quoted]] = {}
    for one in chain.quotes:
        groups.setdefault((one.series.root, one.series.expiry), []).append(one)
    found = []
    for (root, expiry), quotes in sorted(groups.items(), key=lambda item: (item[0][1], item[0][0])):
        strikes, call, put = _arrays(quotes)
        settles = settlement(root, expiry)
        years = (settles - chain.moment).total_seconds() / (365.0 * 86_400.0)
        mids = [0.5 * (side[0] + side[1]) for side in (call, put)]
        parity = forward_by_parity(strikes, mids[0], mids[1], years, rate)
        if parity is not None:
            found.append(Slice(root, expiry, settles, chain.moment, *parity, strikes, call, put))
    return found


def implied_deviation(price: FloatArray, forward: float, strike: FloatArray, sign: FloatArray) -> FloatArray:
    """Root of the total variance that gives undiscounted prices; NaN where none does. Halvings, all at once."""
    low, high = np.full(len(price), 1e-6), np.full(len(price), 6.0)
    whole = np.full(len(price), forward)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = black(whole, strike, middle**2, 1.0, sign) > price
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    middle = 0.5 * (low + high)
    return np.asarray(np.where((middle > 2e-6) & (middle < 5.9), middle, np.nan))


def size_of_delta(forward: float, strike: FloatArray, deviation: FloatArray, sign: FloatArray) -> FloatArray:
    """Delta on the forward, without its sign."""
    return np.asarray(ndtr(sign * (np.log(forward / strike) / deviation + 0.5 * deviation)))

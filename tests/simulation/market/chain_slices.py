"""One expiry at one minute, and what must hold of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from simulation.market.asset_days import AssetDay
from simulation.market.assets import vix_fridays
from simulation.market.calendar import FloatArray
from simulation.market.valuation import ChainRows, OptionRoot


@dataclass(frozen=True)
class Slice:
    """One expiry at one minute: strikes, model values and quotes of both rights."""

    strikes: FloatArray
    call: FloatArray
    put: FloatArray
    call_quote: tuple[FloatArray, FloatArray]
    put_quote: tuple[FloatArray, FloatArray]
    forward: float
    years: float
    growth: float


def sliced(root: OptionRoot, state: AssetDay, expiry: date, minute: int) -> Slice:
    strikes = root.listing.strikes(state.day, expiry)
    assert strikes is not None
    count = len(strikes)
    rows = [
        ChainRows(np.full(count, expiry.toordinal(), dtype=np.int64), strikes, np.full(count, sign))
        for sign in (1.0, -1.0)
    ]
    values = [root.chain_values(state, row, minute) for row in rows]
    quotes = [root.chain_quotes(state, row, minute) for row in rows]
    years = float(state.years(expiry, morning=root.morning)[minute])
    forward = float(state.forward(expiry, morning=root.morning)[minute])
    growth = float(np.exp(state.carry.rate * years))
    return Slice(strikes, values[0], values[1], quotes[0], quotes[1], forward, years, growth)


def cboe_variance(part: Slice) -> float:
    """Total variance of one expiry by Cboe's white paper: out-of-the-money quote mids, cut at two zero bids."""
    call_bid, put_bid = np.nan_to_num(part.call_quote[0]), np.nan_to_num(part.put_quote[0])
    call, put = 0.5 * (call_bid + part.call_quote[1]), 0.5 * (put_bid + part.put_quote[1])
    nearest = int(np.argmin(np.abs(call - put)))
    forward = part.strikes[nearest] + part.growth * (call[nearest] - put[nearest])
    center = int(np.searchsorted(part.strikes, forward, side="right")) - 1
    prices = {center: 0.5 * (call[center] + put[center])}
    for indices, bid, mid in (
        (range(center - 1, -1, -1), put_bid, put),
        (range(center + 1, len(part.strikes)), call_bid, call),
    ):
        empty = 0
        for row in indices:
            empty = empty + 1 if bid[row] <= 0 else 0
            if empty == 2:
                break
            if bid[row] > 0:
                prices[row] = mid[row]
    used = sorted(prices)
    strikes = part.strikes[used]
    gaps = np.gradient(strikes)
    gaps[1:-1] = (strikes[2:] - strikes[:-2]) / 2
    total = 2.0 * float(np.sum(gaps / strikes**2 * part.growth * np.array([prices[row] for row in used])))
    return total - float(forward / part.strikes[center] - 1.0) ** 2


def cboe_index(root: OptionRoot, state: AssetDay, minute: int) -> float:
    near, following = (sliced(root, state, expiry, minute) for expiry in vix_fridays(state.day))
    minutes = [part.years * 525_600.0 for part in (near, following)]
    month = 43_200.0
    total = cboe_variance(near) * (minutes[1] - month) + cboe_variance(following) * (month - minutes[0])
    return 100.0 * float(np.sqrt(total / (minutes[1] - minutes[0]) * 525_600.0 / month))


def assert_no_arbitrage_in_values(part: Slice, spot_scale: float) -> None:
    tolerance = 1e-7 * spot_scale
    for values, falling in ((part.call, 1.0), (part.put, -1.0)):
        slopes = np.diff(values) / np.diff(part.strikes)
        assert bool((-falling * slopes >= -tolerance).all()), "vertical"
        assert bool((-falling * slopes <= 1.0 / part.growth + tolerance).all()), "vertical wider than its strikes"
        assert bool((np.diff(slopes) >= -tolerance).all()), "butterfly"
    parity = part.call - part.put - (part.forward - part.strikes) / part.growth
    assert float(np.abs(parity).max()) < 1e-6 * spot_scale


def assert_no_arbitrage_in_quotes(part: Slice) -> None:
    """Nobody can buy at asks and sell at bids for less than nothing."""
    strikes = part.strikes
    for (bid, ask), falling in ((part.call_quote, True), (part.put_quote, False)):
        sold, bought = (bid[1:], ask[:-1]) if falling else (bid[:-1], ask[1:])
        assert not bool((sold > bought + 1e-9).any()), "vertical"
        share = (strikes[2:] - strikes[1:-1]) / (strikes[2:] - strikes[:-2])
        wings = share * ask[:-2] + (1.0 - share) * ask[2:]
        assert not bool((bid[1:-1] > wings + 1e-9).any()), "butterfly"
    fair = (part.forward - strikes) / part.growth
    highest = part.call_quote[1] - np.nan_to_num(part.put_quote[0])
    lowest = np.nan_to_num(part.call_quote[0]) - part.put_quote[1]
    assert bool(((fair <= highest + 1e-9) & (fair >= lowest - 1e-9)).all()), "parity"

"""One option root valued on its underlying's day: a contract for all minutes at once, or a chain at one minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto

import numpy as np

from simulation.market.assets import AssetDay
from simulation.market.calendar import FloatArray, IntArray, calendar
from simulation.market.listings import ListingBook
from simulation.market.pricing import Greeks, american, black, black_greeks
from simulation.market.quotes import QuoteLaw, bid_and_ask, full_spread, hour_of_day, stress_of
from simulation.market.surface import smile


class Style(Enum):
    """When the option may be exercised."""

    EUROPEAN = auto()
    AMERICAN = auto()


@dataclass(frozen=True)
class ContractDay:
    """One contract at the open and at each minute's end: model value, bid and ask (NaN: no bid), in points."""

    value: FloatArray
    bid: FloatArray
    ask: FloatArray


@dataclass(frozen=True)
class OptionRoot:
    """An option root: its listing, quotes and style, and where its underlying's day comes from."""

    root: str
    style: Style
    law: QuoteLaw
    listing: ListingBook
    asset_day: Callable[[date], AssetDay | None]
    volatility_points: Callable[[date], FloatArray | None]

    @property
    def morning(self) -> bool:
        """True when the root settles at the open of its expiry date."""
        return self.listing.rule.morning

    def _alive(self, day: date, expiry: date) -> bool:
        return day < expiry if self.morning else day <= expiry

    def values(self, state: AssetDay, expiry: date, strike: float, sign: float) -> FloatArray:
        """Model value of a contract at the open and at each minute's end, in points."""
        forward = state.forward(expiry, morning=self.morning)
        theta = state.theta(expiry, morning=self.morning)
        surface = state.surface
        variance = smile(np.log(strike / forward), theta, surface.law.rho, surface.eta)
        years = state.years(expiry, morning=self.morning)
        if self.style is Style.AMERICAN:
            return american(state.spot.points, forward, strike, variance, years, state.carry.rate, sign)
        return black(forward, strike, variance, np.exp(-state.carry.rate * years), sign)

    def contract_day(self, day: date, expiry: date, strike: float, sign: float) -> ContractDay | None:
        """Quotes of one listed contract over one day; ``None`` when it is not listed or no longer alive."""
        if not self._alive(day, expiry) or not self.listing.is_listed(day, expiry, strike):
            return None
        state = self.asset_day(day)
        if state is None:
            return None
        value = self.values(state, expiry, strike, sign)
        spot = state.spot.points
        intrinsic = np.maximum(sign * (spot - strike), 0.0)
        years = state.years(expiry, morning=self.morning)
        width = full_spread(self.law, value - intrinsic, intrinsic, spot, years, self._multiple(day, state))
        bid, ask = bid_and_ask(self.law, value, width)
        return ContractDay(value, bid, ask)

    def _multiple(self, day: date, state: AssetDay) -> FloatArray:
        known = state.notes.get("spread")
        if known is None:
            volatility = self.volatility_points(day)
            stress = 1.0 if volatility is None else stress_of(volatility, float(volatility[0]))
            known = state.notes["spread"] = np.asarray(stress * hour_of_day(state.minutes))
        return known

    def chain_values(self, state: AssetDay, chain: ChainRows, minute: int) -> FloatArray:
        """Model values of many contracts at one minute (0 is the open), in points."""
        forward, variance, years = self._chain_inputs(state, chain, minute)
        spot = np.full(len(forward), float(state.spot.points[minute]))
        rate = state.carry.rate
        if self.style is Style.EUROPEAN:
            return black(forward, chain.strike, variance, np.exp(-rate * years), chain.sign)
        result = np.empty(len(forward))
        for sign in (1.0, -1.0):
            side = chain.sign == sign
            result[side] = american(
                spot[side], forward[side], chain.strike[side], variance[side], years[side], rate, sign
            )
        return result

    def chain_quotes(self, state: AssetDay, chain: ChainRows, minute: int) -> tuple[FloatArray, FloatArray]:
        """Bids (NaN: none) and asks of many contracts at one minute: what `contract_day` gives for each of them."""
        value = self.chain_values(state, chain, minute)
        _, _, years = self._chain_inputs(state, chain, minute)
        spot = np.full(len(value), float(state.spot.points[minute]))
        intrinsic = np.maximum(chain.sign * (spot - chain.strike), 0.0)
        multiple = np.full(len(value), float(self._multiple(state.day, state)[minute]))
        return bid_and_ask(self.law, value, full_spread(self.law, value - intrinsic, intrinsic, spot, years, multiple))

    def chain_greeks(self, state: AssetDay, chain: ChainRows, minute: int) -> tuple[FloatArray, Greeks]:
        """Implied volatility (a year, fraction) and European Greeks of many contracts at one minute."""
        forward, variance, years = self._chain_inputs(state, chain, minute)
        spot = np.full(len(forward), float(state.spot.points[minute]))
        greeks = black_greeks(spot, forward, chain.strike, variance, years, state.carry.rate, chain.sign)
        return np.sqrt(variance / np.maximum(years, 1e-6)), greeks

    def _chain_inputs(
        self, state: AssetDay, chain: ChainRows, minute: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        days, position = chain.expiries
        dates = [date.fromordinal(int(day)) for day in days]
        forward = np.array([state.forward(day, morning=self.morning)[minute] for day in dates])[position]
        theta = np.array([state.theta(day, morning=self.morning)[minute] for day in dates])[position]
        years = np.array([state.years(day, morning=self.morning)[minute] for day in dates])[position]
        eta = np.full(len(theta), float(state.surface.eta[minute]))
        return forward, smile(np.log(chain.strike / forward), theta, state.surface.law.rho, eta), years


@dataclass(frozen=True)
class ChainRows:
    """Contracts as arrays: expiry ordinals, strikes, and +1 for calls or -1 for puts."""

    expiry: IntArray
    strike: FloatArray
    sign: FloatArray

    @property
    def expiries(self) -> tuple[IntArray, IntArray]:
        """The distinct expiries and, for each row, which of them it has."""
        days, position = np.unique(self.expiry, return_inverse=True)
        return days, position


def settlement_day(expiry: date) -> date:
    """The trading day on which an option of ``expiry`` stops: the day itself or the one before a holiday."""
    return calendar().on_or_before(expiry)

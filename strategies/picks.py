"""Picking contracts of one expiry by what a row names: a delta, a strike, a width, an extrinsic value.

A chain has hundreds of strikes and a row needs two or three. What a strike's delta is, is first told by yesterday's
volatilities at the price of now; the best strike and the next best are then subscribed, and what their quotes say
corrects what is assumed of the others. A pick stands once the best strike is one that was quoted.

A put's delta grows with its strike and a call's falls: of strikes that nobody quotes only those around the range that
is asked for are worked out (decision 090).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import NormalDist
from typing import Protocol

import numpy as np

from core.contracts import Contract, Listed, Quote, Right
from core.settings.strategies import StrategySettings
from greeks.black_scholes import FloatArray, years_to_expiry
from greeks.smile import ChainGreeks
from strategies.tools import Tools

DELTA_TOLERANCE = 3.0
"""How far a listed strike's delta may be from the row's, x 100 (methodology, 6a)."""
DISTANCE_TOLERANCE = 0.25
"""How far off the row's distance from the money a strike may be that stands in for a delta, as a share of it.

A quarter, as of an expiry's days: a put 12 % under the money is not one 6 % under it because nothing else is listed."""
_STRADDLE = 0.7979  # of spot x volatility x root of time: the at-the-money straddle's price (square root of 2 / pi)
_CORRECTION = (0.5, 2.0)  # how far quotes may correct yesterday's volatilities
_FURTHER = 4  # strikes that are worked out at once beyond an end that is still inside
_ESTIMATES = 3
_DUST = 1e-7  # delta x 100: so far two strikes' deltas may stand in the wrong order by rounding
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row asks of a contract; the first that is given rules.

    ``delta`` is absolute x 100, ``distance`` a share of the spot to fall back on; ``strike`` points, with ``between``
    the nearest whose delta is in that closed range; ``wing`` a contract and points beyond it, away from the money;
    ``extrinsic`` the most extrinsic value, net of carry, as a share of the strike.
    """

    delta: float | None = None
    distance: float | None = None
    strike: float | None = None
    between: tuple[float, float] | None = None
    wing: tuple[Contract, float] | None = None
    extrinsic: float | None = None


class Looking(Protocol):
    """What picks need of the look that they are made in; ``strategies.look.Look`` has it."""

    tools: Tools

    @property
    def own(self) -> StrategySettings: ...
    @property
    def now(self) -> datetime: ...
    @property
    def today(self) -> date: ...
    @property
    def vix_ratio(self) -> float: ...
    @property
    def pool(self) -> tuple[Contract, ...]: ...
    @property
    def is_full(self) -> bool: ...
    def is_quoted(self, contract: Contract) -> bool: ...
    def quotes_of(self, contracts: Iterable[Contract]) -> dict[Contract, Quote]: ...
    def spot_of(self, price_key: str) -> float: ...
    def want(self, best: Contract, after: Sequence[Contract], spares: int) -> None: ...
    def miss(self, *contracts: Contract) -> None: ...
    def skip(self, rule: str, reason: str, limit: float | None = None, observed: float | None = None) -> Exception: ...


class Chain:
    """The contracts of a root that expire on one day, as one look sees them."""

    def __init__(self, look: Looking, listed: Sequence[Contract]) -> None:
        self._look = look
        contracts = Listed.of(listed)
        self._listed = {right: contracts.of_right(right) for right in Right}
        self._planned: dict[Right, FloatArray] = {}
        self._whole: set[Right] = set()
        self._corrected: float | None = None
        self._quoted: ChainGreeks | None = None
        one = contracts[0]
        self.underlying, self.root, self.multiplier = one.underlying, one.root, one.multiplier
        self.expiry: date = one.expiry
        self.days = one.days_to_expiry(look.today)
        self._years = float(years_to_expiry((one,), look.now)[0])
        self.spot = look.spot_of(self.underlying.price_key)

    # What a row asks

    def put(
        self,
        *,
        delta: float | None = None,
        else_below: float | None = None,
        strike: float | None = None,
        between: tuple[float, float] | None = None,
        wing: tuple[Contract, float] | None = None,
        extrinsic: float | None = None,
    ) -> Contract:
        """A put; see ``Wanted``. ``else_below``: that share of the spot below it, where no strike has the delta.

        Raises EndedLook where nothing fits.
        """
        return self.pick(Right.PUT, Wanted(delta, else_below, strike, between, wing, extrinsic))

    def call(
        self,
        *,
        delta: float | None = None,
        else_above: float | None = None,
        strike: float | None = None,
        between: tuple[float, float] | None = None,
        wing: tuple[Contract, float] | None = None,
        extrinsic: float | None = None,
    ) -> Contract:
        """A call; see ``Wanted``. ``else_above``: that share of the spot above it, where no strike has the delta.

        Raises EndedLook where nothing fits.
        """
        return self.pick(Right.CALL, Wanted(delta, else_above, strike, between, wing, extrinsic))

    def pick(self, right: Right, wanted: Wanted) -> Contract:
        """A contract of a right. Raises EndedLook where nothing fits."""
        if not self._listed[right]:
            raise self._look.skip("strike", f"no {self._label(right)} is listed for {self.expiry}")
        if wanted.wing is not None:
            return self._wing(right, *wanted.wing)
        if wanted.delta is not None:
            return self._by_delta(right, wanted.delta, wanted)
        if wanted.strike is None:
            raise ValueError(f"pick: {wanted}; expected a delta, a strike or a wing")
        if wanted.between is not None:
            return self._by_strike_and_delta(right, wanted.strike, wanted.between)
        return self._nearest(right, wanted.strike)

    def strikes(self, right: Right) -> Sequence[float]:
        """Every strike of one right, ascending; nothing is said of quotes."""
        return self._listed[right].strikes

    # What is known

    def figures(self) -> ChainGreeks | None:
        """Greeks of what is quoted of this expiry; ``None`` while nothing is."""
        if self._quoted is None:
            pool = self._asked()
            quotes = self._look.quotes_of(pool)
            if quotes:
                self._quoted = self._look.tools.greeks.chain(pool, quotes, self.spot, self._look.now)
        return self._quoted

    def delta(self, contract: Contract) -> float | None:
        """Absolute delta x 100 by quotes; ``None`` while it has none."""
        found = self.figures()
        delta = None if found is None else found.delta(contract)
        return None if delta is None else 100.0 * abs(delta)

    def price(self, contract: Contract) -> float | None:
        """Mid in points; ``None`` without a two-sided quote."""
        quote = self._look.quotes_of((contract,)).get(contract)
        return None if quote is None else quote.mid

    def extrinsic(self, contract: Contract) -> float | None:
        """Mid less what exercise would bring, net of carry, in points; ``None`` without a quote.

        Carry is interest on the strike less dividends to expiry: what every call costs and every put is spared.
        """
        mid = self.price(contract)
        if mid is None:
            return None
        rate, dividend_yield = self._look.tools.greeks.carry_of(self.underlying.ticker)
        years = self.days / 365.0
        carry = contract.strike * (1 - np.exp(-rate * years)) - self.spot * (1 - np.exp(-dividend_yield * years))
        inside = self.spot - contract.strike
        if contract.right is Right.PUT:
            inside, carry = -inside, -carry
        return mid - max(inside, 0.0) - float(carry)

    def straddle(self) -> float:
        """Price of the straddle nearest to the money, mid in points: what the market expects to move until expiry."""
        call = self.call(strike=self.spot)
        put = self.put(strike=call.strike)
        one, other = self.price(call), self.price(put)
        if one is not None and other is not None:
            return one + other
        self._look.miss(call, put)
        place = bisect_left(self._listed[Right.CALL].strikes, call.strike)
        at = float(self._yesterday(Right.CALL, range(place, place + 1))[0])
        return _STRADDLE * self.spot * (at if at > 0 else 0.0) * math.sqrt(self._years)

    # How it is found

    def _nearest(self, right: Right, strike: float) -> Contract:
        found = [(abs(one - strike), one, at) for at, one in enumerate(self._listed[right].strikes)]
        return self._settle(right, found, by_delta=False)

    def _wing(self, right: Right, short: Contract, points: float) -> Contract:
        sign = 1.0 if right is Right.CALL else -1.0
        wing = self._nearest(right, short.strike + sign * points)
        tolerance = self._look.own.wing_tolerance
        if (wing.strike - short.strike) * sign <= 0:
            raise self._look.skip("wing", f"no wing is listed {points:g} beyond {short.name}")
        off = abs(abs(wing.strike - short.strike) - points)
        if off > tolerance * points:
            reason = f"the nearest wing is {off:g} off {points:g} points"
            raise self._look.skip("wing", reason, tolerance, off / points)
        return wing

    def _at_distance(self, right: Right, distance: float) -> Contract:
        sign = 1.0 if right is Right.CALL else -1.0
        nearest = self._nearest(right, self.spot * (1 + sign * distance))
        away = sign * (nearest.strike / self.spot - 1)
        if abs(away - distance) > DISTANCE_TOLERANCE * distance:
            reason = f"{nearest.name} is {away:.1%} from the money, and nothing is listed nearer to {distance:.1%}"
            raise self._look.skip("distance", reason, distance, away)
        return nearest

    def _by_delta(self, right: Right, target: float, wanted: Wanted) -> Contract:
        low, high = wanted.between or (target - DELTA_TOLERANCE, target + DELTA_TOLERANCE)

        listed, inside = self._listed[right], self._within(right, low, high)
        found = [
            (abs(delta - target), listed.strikes[at], at)
            for at, delta in inside
            if wanted.extrinsic is None or self._cheap_enough(listed[at], wanted.extrinsic)
        ]
        if found:
            return self._settle(right, found, by_delta=True)
        if wanted.distance is not None:
            return self._at_distance(right, wanted.distance)
        reason = f"no {self._label(right)} is near {target:g} delta"
        if wanted.extrinsic is not None:
            reason += f" with an extrinsic value of at most {wanted.extrinsic:.1%} of its strike"
        return self._unless_quoted(right, (low, high), reason)

    def _unless_quoted(self, right: Right, between: tuple[float, float], reason: str) -> Contract:
        """The strikes on both sides of a range of deltas that nothing is in, to be quoted: yesterday's volatilities may
        be wrong. A skip once their quotes say the same."""
        low, high = between
        seen, listed = self._known_within(right, low, high), self._listed[right]
        under, over = np.where(seen < low, seen, -np.inf), np.where(seen > high, seen, np.inf)
        sides = [int(np.argmax(under))] if np.isfinite(under).any() else []
        sides += [int(np.argmin(over))] if np.isfinite(over).any() else []
        if not sides:
            raise self._look.skip("delta", f"{reason}: nothing tells a volatility", low, None)
        silent = [listed[at] for at in sides if not self._look.is_quoted(listed[at])]
        if silent and not self._look.is_full:
            self._look.want(silent[0], silent[1:], spares=1)
            self._look.miss(*silent)
            return silent[0]
        at = min(sides, key=lambda one: max(low - seen[one], seen[one] - high))
        found = float(seen[at])
        raise self._look.skip("delta", reason, low if found < low else high, found)

    def _cheap_enough(self, row: Contract, most: float) -> bool:
        value = self.extrinsic(row)
        return value is None or value <= most * row.strike

    def _by_strike_and_delta(self, right: Right, strike: float, between: tuple[float, float]) -> Contract:
        low, high = between
        strikes = self._listed[right].strikes
        found = [(abs(strikes[at] - strike), strikes[at], at) for at, _ in self._within(right, low, high)]
        if found:
            return self._settle(right, found, by_delta=True)
        return self._unless_quoted(right, between, f"no strike of {self._label(right)} is {low:g} to {high:g} delta")

    def _settle(self, right: Right, found: list[tuple[float, float, int]], *, by_delta: bool) -> Contract:
        """The best strike by what is known; it and the next best are asked quotes of, and the pick waits for them.

        ``found``: how far off each one is that would do, its strike and its place.
        """
        listed = self._listed[right]
        found.sort()
        if self._look.is_full:  # nothing more may be asked: the best of what is quoted
            quoted = {row.strike for row in self._asked() if row.right is right and self._look.is_quoted(row)}
            found = [row for row in found if row[1] in quoted] or found
        at = found[0][2]
        beside = [one for one in (at - 1, at + 1) if by_delta and 0 <= one < len(listed)]
        after = dict.fromkeys([*(row[2] for row in found[1:2]), *beside, *(row[2] for row in found[2:])])
        self._look.want(listed[at], listed.some(list(after)), spares=2 if by_delta else 1)
        return listed[at]

    def _asked(self) -> list[Contract]:
        """What was asked quotes of, of this expiry."""
        return [row for row in self._look.pool if (row.root, row.expiry) == (self.root, self.expiry)]

    def _within(self, right: Right, low: float, high: float) -> list[tuple[int, float]]:
        """Places and absolute deltas x 100 of the strikes in a closed range of deltas."""
        seen = self._known_within(right, low, high).tolist()
        return [(at, delta) for at, delta in enumerate(seen) if low <= delta <= high]

    def _known_within(self, right: Right, low: float, high: float) -> FloatArray:
        """Absolute delta x 100 of each strike that may be in a closed range and of the next one beyond each end.

        By quotes where there are, else by volatilities corrected by those; NaN of what lies farther out unquoted.
        """
        seen, quoted = self._planned_within(right, low, high).copy(), self.figures()
        for at, row in self._quoted_of(right):
            delta = None if quoted is None else quoted.delta(row)
            if delta is not None:
                seen[at] = 100.0 * abs(delta)
        return seen

    def _quoted_of(self, right: Right) -> Iterator[tuple[int, Contract]]:
        """Places of what was asked quotes of."""
        quoted, strikes = self.figures(), self._listed[right].strikes
        for row in quoted.contracts if quoted is not None else ():
            at = bisect_left(strikes, row.strike) if row.right is right else len(strikes)
            if at < len(strikes) and strikes[at] == row.strike:
                yield at, row

    def _planned_within(self, right: Right, low: float, high: float) -> FloatArray:
        """The same by yesterday's volatilities alone: from an estimate on to both sides, until both ends are outside.

        Where deltas do not stand in the order of strikes, or a strike's own row tells no volatility: of all.
        """
        planned = self._planned.setdefault(right, np.full(len(self._listed[right]), np.nan))
        if right in self._whole:
            return planned
        count, sign = planned.size, 1.0 if right is Right.PUT else -1.0
        least, most = (low, high) if right is Right.PUT else (-high, -low)
        ends = [self._estimate(right, delta) for delta in (low, high)]
        first, last = max(min(ends) - 2, 0), min(max(ends) + 2, count)
        while self._plan(right, range(first, last)):
            block = sign * planned[first:last]
            if (np.diff(block) < -_DUST).any():
                break
            below, above = first > 0 and block[0] >= least, last < count and block[-1] <= most
            if not below and not above:
                return planned
            first, last = max(first - _FURTHER * below, 0), min(last + _FURTHER * above, count)
        planner, listed = self._look.tools.planner, self._listed[right]
        planned[:] = planner.deltas(listed, planner.volatilities(listed) * self._correction(), self.spot)
        self._whole.add(right)
        return planned

    def _plan(self, right: Right, places: range) -> bool:
        """Work out the deltas of some places that are not known yet; whether all of them have one."""
        planned, listed, planner = self._planned[right], self._listed[right], self._look.tools.planner
        new = [at for at in places if math.isnan(planned[at])]
        if new:
            rows = [listed[at] for at in new]
            planned[new] = planner.deltas(rows, planner.told(rows) * self._correction(), self.spot)
        return not np.isnan(planned[places.start : places.stop]).any()

    def _estimate(self, right: Right, delta: float) -> int:
        """The place at which a delta x 100 may be found, by the volatility of the strike that was estimated before."""
        listed, share = self._listed[right], min(max(delta / 100.0, 0.005), 0.995)
        strikes = listed.strikes
        away = _NORMAL.inv_cdf(share if right is Right.CALL else 1.0 - share)
        place = min(bisect_left(strikes, self.spot), len(listed) - 1)
        for _ in range(_ESTIMATES):
            spread = float(self._look.tools.planner.told(listed[place : place + 1])[0]) * self._correction()
            spread *= math.sqrt(self._years)
            if not math.isfinite(spread):
                break
            strike = self.spot * math.exp(0.5 * spread * spread - away * spread)
            place = min(bisect_left(strikes, strike), len(listed) - 1)
        return place

    def _yesterday(self, right: Right, places: range) -> FloatArray:
        """Volatilities of some places at the last close, their neighbours' where their own rows tell none."""
        planner, listed = self._look.tools.planner, self._listed[right]
        found = planner.told(listed[places.start : places.stop])
        return planner.volatilities(listed)[places.start : places.stop] if np.isnan(found).any() else found

    def _correction(self) -> float:
        """What quotes say of volatilities over yesterday's, in the middle; by the VIX while nothing is quoted."""
        quoted = self.figures()
        if quoted is None:
            return self._look.vix_ratio
        if self._corrected is None:
            ratios = []
            for right in Right:
                for at, row in self._quoted_of(right):
                    figures = quoted.of(row)
                    before = 0.0 if figures is None else float(self._yesterday(right, range(at, at + 1))[0])
                    if figures is not None and before > 0 and figures.volatility > 0:
                        ratios.append(figures.volatility / before)
            self._corrected = float(np.clip(np.median(ratios), *_CORRECTION)) if ratios else self._look.vix_ratio
        return self._corrected

    def _label(self, right: Right) -> str:
        return f"{self.root} {right.value}s"

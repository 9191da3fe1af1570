"""Row 6, box spread: cash that a person wants, borrowed at the rate that index options imply.

A short box owes its width at expiry, whatever the index does: its price is a loan. It is sold on Wednesdays while the
rate is under the broker's and near the risk-free one, the smaller the farther away, and held until it settles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from core.contracts import Contract, Right
from core.journal import Journal, RecordKind
from core.parts import Trait
from core.settings.fields import RunSettings
from core.settings.strategies import BoxSettings
from risk.proposal import Proposal
from strategies.gates import WEDNESDAY, DayRule, every
from strategies.look import Look
from strategies.picks import Chain
from strategies.row import Entry, Row, by_part
from strategies.tools import Tools

_YEAR = 365


class Box(Row):
    """Sells a box on the index to borrow what is left of the cash that is wanted."""

    name = "box"
    opens = every(WEDNESDAY)
    roots = ("SPX",)
    traits = by_part(whole=frozenset({Trait.NO_VOLATILITY_SOLD, Trait.HELD_BY_PERSON, Trait.SPARED_BY_21_DTE}))

    def __init__(self, tools: Tools, settings: BoxSettings, run: RunSettings, journal: Journal) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        wanted = settings.cash_wanted > 0
        self.entries = (Entry("open", self.opens if wanted else DayRule(()), settings.entry_time, self.borrow),)
        if not wanted and self.name in run.strategies:
            reason = "box.cash_wanted is 0: nobody wants to borrow, and a loan that nothing uses is a sure loss"
            journal.record(RecordKind.SYSTEM, component=self.name, reason=reason)

    def borrow(self, look: Look) -> Proposal:
        """The widest box of the size that its rate allows; sold from mid to that size's rate, not to natural."""
        own, chain, places = self.settings, self._longest(look), look.contracts_left()
        free = self._risk_free(chain.days)
        sizes = (
            (own.full_size_over_rate, 1.0),
            (own.standard_size_over_rate, own.standard_size_share),
            (own.small_size_over_rate, own.small_size_share),
        )
        rate, over, fits = math.inf, 0.0, False
        for over, share in sizes:
            left = share * own.cash_wanted - self._borrowed()
            legs = self._widest(look, chain, left, free)
            if not legs:
                continue
            fits, limit = True, min(free + over, own.broker_margin_rate)
            width = _width(legs)
            proposal = look.structure("short_box", whole=legs, wanted=places)
            rate = min(rate, _rate(width, proposal.mid_cash, chain.days))
            if rate < own.broker_margin_rate and rate <= limit:
                least = width / (1 + limit * chain.days / _YEAR)
                one = self._worth(width, free, chain.days) * proposal.package.legs[0].contract.multiplier
                reason = f"{width:g} wide for {chain.days} days at {rate:.2%}, risk-free {free:.2%}"
                return replace(proposal, wanted=min(places, max(int(left / one), 1)), least_cash=least, reason=reason)
        if not fits:
            reason = (
                f"{self._borrowed():.0f} of {own.cash_wanted:.0f} dollars are borrowed: no box is as small as the rest"
            )
            raise look.skip("cash_wanted", reason, own.cash_wanted, self._borrowed())
        limit = min(free + over, own.broker_margin_rate)
        raise look.skip("rate", f"the box lends at {rate:.2%}, {limit:.2%} is the most", limit, rate)

    def _longest(self, look: Look) -> Chain:
        """The last listed expiry of one to two years."""
        own, chains = self.settings, look.tools.chains
        first, last = (look.today + timedelta(days=days) for days in (own.days_to_expiry, own.max_days))
        listed = chains.expiries(look.root, first, last)
        if not listed and chains.may_come(look.root):
            raise look.wait("listing", f"nothing of {look.root} is listed yet")
        if not listed:
            reason = f"no {look.root} contract expires in {own.days_to_expiry} to {own.max_days} days"
            raise look.skip("no_expiry", reason)
        return look.chain(expiry=max(listed))

    def _risk_free(self, days: int) -> float:
        """The risk-free rate in the terms of a box: simple interest over its days, a year."""
        rate, _ = self.tools.greeks.carry_of(self.roots[0])
        years = days / _YEAR
        return math.expm1(rate * years) / years

    def _borrowed(self) -> float:
        """Dollars that open boxes brought."""
        held = (row for row in self.tools.book.exposed() if row.strategy == self.name)
        return sum(part.entry_cash for row in held for part in row.parts)

    def _worth(self, width: float, rate: float, days: int) -> float:
        return width / (1 + rate * days / _YEAR)

    def _widest(self, look: Look, chain: Chain, left: float, rate: float) -> Mapping[Contract, int]:
        """The widest listed box that brings no more than what is left to borrow; empty where none is so small."""
        own, both = self.settings, set(chain.strikes(Right.CALL)) & set(chain.strikes(Right.PUT))
        width = own.width
        while width >= own.width_step:
            lows = [low for low in both if low + width in both]
            if lows and self._worth(width, rate, chain.days) * chain.multiplier <= left:
                low = min(lows, key=lambda strike: (abs(strike + width / 2 - chain.spot), strike))
                return self._legs(look, chain, low, low + width)
            width -= own.width_step
        return {}

    def _legs(self, look: Look, chain: Chain, low: float, high: float) -> Mapping[Contract, int]:
        """Sold: the call spread up from the low strike and the put spread down from the high one."""
        calls, puts = ([pick(strike=strike) for strike in (low, high)] for pick in (chain.call, chain.put))
        strikes = {row.strike for row in (*calls, *puts)}
        if strikes != {low, high}:  # no quotes are left to ask for: the index moved since the window opened
            raise look.wait("quotes", f"no quotes of the box from {low:g} to {high:g}")
        return {calls[0]: -1, calls[1]: +1, puts[1]: -1, puts[0]: +1}


def _width(legs: Mapping[Contract, int]) -> float:
    strikes = [row.strike for row in legs]
    return max(strikes) - min(strikes)


def _rate(width: float, price: float, days: int) -> float:
    """What a box lends at, simple interest a year: ((width / price) - 1) x 365 / days."""
    return math.inf if price <= 0 else (width / price - 1) * _YEAR / days

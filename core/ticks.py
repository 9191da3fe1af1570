"""Steps of prices: what an exchange takes, what LEAN rounds to, and the limit that both leave alone.

LEAN rounds a limit to its own step when the order is submitted (lean-facts 4.8). Where its step is coarser than the
exchange's, or the other way round, a limit must be a multiple of both: else what is sent is not what was asked.
Prices are points of premium, a limit of ours is cash in points (a credit positive).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_CLOSE = 1e-9  # prices nearer than this are one price
_SLACK = 1e-6  # of a step: how far a price may be off by how numbers are stored
_DIGITS = 10
_UNIT = 1_000_000_000  # the smallest part of a point that a step is counted in


@dataclass(frozen=True, slots=True)
class Steps:
    """A step that changes once: ``low`` up to the price ``change``, ``high`` beyond it.

    ``change`` itself has the high step, or the low one where ``low_at_change``. One step at every price: both equal.
    """

    low: float
    high: float
    change: float = math.inf
    low_at_change: bool = False

    def at(self, price: float) -> float:
        """The step at a price, in points."""
        reached = price > self.change + _CLOSE if self.low_at_change else price >= self.change - _CLOSE
        return self.high if reached else self.low


def flat(step: float) -> Steps:
    """The same step at every price."""
    return Steps(step, step)


@dataclass(frozen=True, slots=True)
class TickRule:
    """Steps of one option root: outright and in a package, by the exchange's rules and by LEAN's symbol properties.

    ``source`` names the rules, and why a limit is coarser than the exchange asks where it is.
    """

    outright: Steps
    package: Steps
    engine_outright: Steps
    engine_package: Steps
    source: str
    least: float = field(init=False, repr=False, compare=False)
    """The step of what is worth nothing, asked for at each look at a quote."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "least", self.step(0.0))

    def step(self, price: float, legs: int = 1) -> float:
        """The smallest step that exchange and engine both take at a price (its size counts) of so many legs."""
        size = abs(price)
        if legs == 1:
            return common_step(self.outright.at(size), self.engine_outright.at(size))
        return common_step(self.package.at(size), self.engine_package.at(size))

    def price(self, price: float, buying: bool) -> float:
        """The price of an outright order: a buyer's rounded up and a seller's down, so that what must trade does.

        At least one step, for nobody sells an option for nothing.
        """
        price = max(price, 0.0)
        step = self.step(price)
        steps = max(math.ceil(price / step - _SLACK) if buying else math.floor(price / step + _SLACK), 1)
        found = _on(steps, step)
        wider = self.step(found)  # rounding up may reach the price where the step grows
        return found if math.isclose(wider, step) or not buying else _on(math.ceil(found / wider - _SLACK), wider)

    def limit(self, cash: float) -> float:
        """The limit of a package, in our sign, at or below what was asked: never better for us.

        Never zero, which no engine can express: then one step against us.
        """
        step = self.step(cash, legs=2)
        found = _on(math.floor(cash / step + _SLACK) or -1, step)
        wider = self.step(found, legs=2)
        return found if math.isclose(wider, step) else _on(math.floor(found / wider + _SLACK), wider)


def _on(steps: int, step: float) -> float:
    return round(steps * step, _DIGITS)


def common_step(one: float, other: float) -> float:
    """The smallest step that is a multiple of both."""
    return math.lcm(round(one * _UNIT), round(other * _UNIT)) / _UNIT


_LEAN_INDEX = Steps(0.05, 0.10, 3.0)
"""IndexOptionSymbolProperties.cs:78-97; a package is rounded at the price 0, so by the low step (lean-facts 4.8)."""

INDEX = TickRule(
    outright=Steps(0.05, 0.10, 3.0),
    package=flat(0.05),
    engine_outright=_LEAN_INDEX,
    engine_package=flat(0.05),
    source="Cboe Rule 5.4(a): SPX and SPXW 0.05 under 3.00, 0.10 from 3.00; Rule 5.33(f)(1)(A): complex orders 0.05",
)
MINI_INDEX = TickRule(
    outright=flat(0.01),
    package=flat(0.01),
    engine_outright=_LEAN_INDEX,
    engine_package=flat(0.05),
    source="Cboe Rule 5.4(a): XSP 0.01, as SPY; LEAN rounds it as SPX, to 0.05 and 0.10 (recording p18)",
)
PENNY = TickRule(
    outright=flat(0.01),
    package=flat(0.01),
    engine_outright=flat(0.01),
    engine_package=flat(0.01),
    source="Cboe Rule 5.4(d), Penny Interval Program: SPY, QQQ and IWM 0.01 at every price",
)
PENNY_CLASS = TickRule(
    outright=Steps(0.01, 0.05, 3.0),
    package=flat(0.01),
    engine_outright=flat(0.01),
    engine_package=flat(0.01),
    source="Cboe Rule 5.4(d), Penny Interval Program: 0.01 under 3.00, 0.05 from 3.00; complex orders 0.01",
)
NICKEL_CLASS = TickRule(
    outright=Steps(0.05, 0.10, 3.0),
    package=flat(0.01),
    engine_outright=flat(0.01),
    engine_package=flat(0.01),
    source="Cboe Rule 5.4(a): a class outside the Penny Interval Program 0.05 under 3.00, 0.10 from 3.00; complex 0.01",
)
E_MINI = TickRule(
    outright=Steps(0.05, 0.25, 5.0, low_at_change=True),
    package=flat(0.05),
    engine_outright=flat(0.25),
    engine_package=flat(0.25),
    source="CME 358A.01.C: 0.05 up to 5.00, 0.25 over it; LEAN rounds to the future's 0.25 (recordings p08, p13)",
)
CRUDE = TickRule(
    outright=flat(0.01),
    package=flat(0.01),
    engine_outright=flat(0.01),
    engine_package=flat(0.01),
    source="NYMEX 310: 0.01 a barrel; LEAN the same (recording p13)",
)
GOLD = TickRule(
    outright=flat(0.10),
    package=flat(0.10),
    engine_outright=flat(0.10),
    engine_package=flat(0.10),
    source="COMEX 115: 0.10 an ounce; LEAN the same (recording p13)",
)
BOND = TickRule(
    outright=flat(0.015625),
    package=flat(0.015625),
    engine_outright=flat(0.015625),
    engine_package=flat(0.015625),
    source="CBOT 18A01.C: one sixty-fourth of a point; LEAN the same (recording p13)",
)
EURO = TickRule(
    outright=Steps(0.00005, 0.0001, 0.0005),
    package=Steps(0.00005, 0.0001, 0.0005),
    engine_outright=flat(0.00005),
    engine_package=flat(0.00005),
    source="CME 261A.01.C: 0.0001 a euro, 0.00005 under 0.0005; LEAN rounds to the future's 0.00005 (recording p13)",
)

"""What a position consists of: named parts, what they are, and what of them is still held.

Dollars have one sign: money in is positive. Fees are zero or positive. What is not known is ``None``, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from core.contracts import Contract, Leg, Package, Underlying

WHOLE: Final = "whole"
"""The name of the part of a package that opens and closes as one."""


class Urgency(StrEnum):
    """How much an exit may cost: walk from the mid, cross the spread at once, or that and wait for no missing quote."""

    NORMAL = "normal"
    URGENT = "urgent"
    FINAL = "final"

    @property
    def crosses(self) -> bool:
        """Whether it does not start at the mid."""
        return self is not Urgency.NORMAL

    def exceeds(self, other: Urgency) -> bool:
        """Whether this asks for more than the other."""
        return _RANK[self] > _RANK[other]


_RANK: Final = {urgency: rank for rank, urgency in enumerate(Urgency)}


class Trait(StrEnum):
    """What a part is, declared by its strategy; the rules read these and no strategy's name."""

    SHORT_VOLATILITY = "short_volatility"  # counts against group, S&P 500 and short-volatility limits
    NAKED_PUTS = "naked_puts"  # undefined risk below
    SHORT_DATED = "short_dated"  # closed by a black swan
    ENDS_TODAY = "ends_today"  # opened and over within one session
    PUT_SELLING = "put_selling"  # opens above VIX 30, held above 40
    NO_VOLATILITY_SOLD = "no_volatility_sold"  # boxes and debit butterflies: may open above VIX 30
    COVERED = "covered"  # a short that a long of the same position covers: goes on at any VIX
    STRANGLE = "strangle"  # not below VIX 13
    SCALED_LIKE_STRANGLES = "scaled_like_strangles"  # sized by VIX / 20
    OWN_BUDGET = "own_budget"  # the opportunity's puts: a share of equity at the line bounds them, at any VIX the same
    LOW_VIX_ONLY = "low_vix_only"  # diagonals: not above VIX 18
    SPARED_BY_21_DTE = "spared_by_21_dte"
    LASTING = "lasting"  # never ends by itself: a ladder, an IPMCC
    HELD_BY_PERSON = "held_by_person"  # a box: only a person closes it
    DEBIT = "debit"  # paid for, not sold


SOLD: Final = frozenset({Trait.SHORT_VOLATILITY})
BOUGHT: Final = frozenset({Trait.DEBIT})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a part is, besides its legs: who opened it, what it can cost, what it is.

    ``max_loss`` and ``margin`` are positive dollars a contract as they were at entry.
    """

    strategy: str
    structure: str
    max_loss: float
    margin: float
    traits: frozenset[Trait] = SOLD

    @property
    def short_volatility(self) -> bool:
        """Whether it counts against the short-volatility limits."""
        return Trait.SHORT_VOLATILITY in self.traits


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part that is to be opened: its legs per contract of the order, and what it is."""

    name: str
    package: Package
    terms: Terms


@dataclass(frozen=True, slots=True)
class LegExit:
    """What closed of one leg so far. ``quantity`` is signed contracts as traded (a long leg that was sold: negative).

    ``cash`` is dollars before ``fees``, ``None`` where nobody knows what it brought.
    """

    quantity: float
    cash: float | None
    fees: float = 0.0

    def __add__(self, other: LegExit) -> LegExit:
        return LegExit(self.quantity + other.quantity, added(self.cash, other.cash), self.fees + other.fees)


@dataclass(frozen=True, slots=True)
class Realised:
    """What the closed parts of one name brought together: dollars before ``fees`` (``None``: unknown), and how many."""

    cash: float | None = 0.0
    fees: float = 0.0
    count: int = 0

    def __add__(self, other: Realised) -> Realised:
        return Realised(added(self.cash, other.cash), self.fees + other.fees, self.count + other.count)


def added(one: float | None, other: float | None) -> float | None:
    """The sum, unknown where one of the two is."""
    return None if one is None or other is None else one + other


NO_EXITS: Final[Mapping[str, LegExit]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Part:
    """An open part of a position. ``entry_cash`` is total dollars taken in at entry (a debit is negative), before fees.

    ``package`` holds the legs with signed ratios per contract, ``entry_prices`` their points in the same order.
    ``exits`` is what closed of the legs, by ``Contract.name``; a leg that was left to expire is held until it is gone.
    ``exit_rule`` and ``exit_reason`` say why what closed of it did, empty while nothing has.
    """

    name: str
    package: Package
    contracts: int
    opened: datetime
    entry_prices: tuple[float, ...]
    entry_cash: float
    entry_fees: float
    terms: Terms
    exits: Mapping[str, LegExit] = field(default_factory=lambda: NO_EXITS)
    exit_rule: str = ""
    exit_reason: str = ""
    credit: float = field(init=False, repr=False, compare=False)
    """Points taken in per package at entry; negative for a debit."""
    legs: tuple[Leg, ...] = field(init=False, repr=False, compare=False)
    """What is still held: signed contracts as ratios."""
    expiry: date = field(init=False, repr=False, compare=False)
    """The nearest expiry of what is held; of all legs where nothing is."""

    def __post_init__(self) -> None:
        """What rules ask of it at each look is worked out once."""
        sold = zip(self.package.legs, self.entry_prices, strict=True)
        object.__setattr__(self, "credit", -sum(leg.ratio * price for leg, price in sold))
        object.__setattr__(self, "legs", self._legs())
        legs = (self.legs if self.exits else ()) or self.package.legs
        object.__setattr__(self, "expiry", min(leg.contract.expiry for leg in legs))

    @property
    def underlying(self) -> Underlying:
        """What its options are written on."""
        return self.package.underlying

    @property
    def multiplier(self) -> float:
        """Dollars a point of premium of one contract."""
        return self.package.legs[0].contract.multiplier

    def held(self, leg: Leg) -> int:
        """Signed contracts of a leg that are still in the account."""
        gone = self.exits.get(leg.contract.name)
        return leg.ratio * self.contracts + (0 if gone is None else round(gone.quantity))

    def _legs(self) -> tuple[Leg, ...]:
        if not self.exits:
            if self.contracts == 1:
                return self.package.legs
            return tuple(Leg(leg.contract, leg.ratio * self.contracts) for leg in self.package.legs)
        counts = ((leg.contract, self.held(leg)) for leg in self.package.legs)
        return tuple(Leg(contract, count) for contract, count in counts if count)

    @property
    def is_whole(self) -> bool:
        """Whether no leg of it has left the account, not even in part."""
        return not self.exits

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is held any more."""
        return bool(self.exits) and not self.legs

    @property
    def is_left_to_expire(self) -> bool:
        """Whether it was closed but for long options."""
        return not self.is_whole and all(leg.ratio > 0 for leg in self.legs)

    @property
    def cash(self) -> float | None:
        """Dollars that it brought so far, before fees; ``None`` where an exit's cash is unknown."""
        total: float | None = self.entry_cash
        for leg_exit in self.exits.values():
            total = added(total, leg_exit.cash)
        return total

    @property
    def fees(self) -> float:
        """Dollars of fees so far."""
        return self.entry_fees + sum(leg_exit.fees for leg_exit in self.exits.values())

    @property
    def max_loss(self) -> float:
        """Largest loss as planned at entry, positive dollars."""
        return self.terms.max_loss * self.contracts

    @property
    def margin(self) -> float:
        """Our own margin figure at entry, positive dollars."""
        return self.terms.margin * self.contracts

    def with_exit(self, name: str, gone: LegExit, rule: str, reason: str) -> Part:
        """The part after some contracts of a leg left the account; the first reason of all stays its reason."""
        before = self.exits.get(name)
        exits = {**self.exits, name: gone if before is None else before + gone}
        if self.exit_rule:
            return replace(self, exits=exits)
        return replace(self, exits=exits, exit_rule=rule, exit_reason=reason)

    def exit_price(self, contract: Contract) -> float | None:
        """Average price in points at which a leg ended; ``None`` where nothing did or its cash is unknown."""
        gone = self.exits.get(contract.name)
        if gone is None or gone.cash is None or not round(gone.quantity):
            return None
        return -gone.cash / (gone.quantity * contract.multiplier)


def merged(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """Each contract once, with the sum of its ratios, in the order of first mention; without those that cancel out."""
    contracts: dict[str, Contract] = {}
    total: dict[str, int] = {}
    for leg in legs:
        contracts.setdefault(leg.contract.name, leg.contract)
        total[leg.contract.name] = total.get(leg.contract.name, 0) + leg.ratio
    return tuple(Leg(contracts[name], count) for name, count in total.items() if count)

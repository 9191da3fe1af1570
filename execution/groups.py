"""Order groups: what is being sent as one, and how far it got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from math import gcd

from core.book import EntryIntent, Refusal
from core.contracts import Leg, Package
from core.parts import PartPlan, Terms, Urgency
from state.tables import OrderPurpose


@dataclass(slots=True)
class LegFill:
    """What one leg has filled: signed contracts, cash in dollars (money in positive), fees in dollars.

    ``priced`` is false where some of it filled unseen and nobody told at which price.
    """

    quantity: float = 0.0
    cash: float = 0.0
    fees: float = 0.0
    done: bool = False
    priced: bool = True


@dataclass(slots=True)
class OrderGroup:
    """One package on its way. ``limit`` is points a package, a credit positive; times are the market's.

    ``plans`` are the parts that an entry opens, ``parts`` the names of those that an exit closes (none named: all).
    ``entry`` is what was approved, for an entry of this process; ``why_ended`` and ``refusal`` why it was
    taken back, in words and by a rule where one did it.
    """

    id: str
    position: str
    strategy: str
    purpose: OrderPurpose
    package: Package
    contracts: int
    created: datetime
    terms: Terms | None = None
    plans: tuple[PartPlan, ...] = ()
    parts: tuple[str, ...] = ()
    slot: str = ""
    entry: EntryIntent | None = None
    refusal: Refusal | None = None
    correlation: str = ""
    rule: str = ""
    reason: str = ""
    why_ended: str = ""
    urgency: Urgency = Urgency.NORMAL
    limit: float | None = None
    step: int = 0
    order_ids: tuple[int, ...] = ()
    next_step_at: datetime | None = None
    first_fill_at: datetime | None = None
    cancelling: bool = False
    split: bool = False
    rejected: str = ""
    fills: dict[str, LegFill] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for leg in self.package.legs:
            self.fills.setdefault(leg.contract.name, LegFill())

    def wanted(self, leg: Leg) -> int:
        """Signed contracts of a leg when all is filled."""
        return leg.ratio * self.contracts

    @property
    def is_filled(self) -> bool:
        """Whether every leg has all of its contracts."""
        return all(abs(self.fills[leg.contract.name].quantity - self.wanted(leg)) < 0.5 for leg in self.package.legs)

    @property
    def is_untouched(self) -> bool:
        """Whether no leg filled anything."""
        return all(abs(fill.quantity) < 0.5 for fill in self.fills.values())

    @property
    def is_done(self) -> bool:
        """Whether the broker works none of its orders any more."""
        return all(fill.done for fill in self.fills.values())

    @property
    def cash(self) -> float:
        """Dollars brought in by its fills so far."""
        return sum(fill.cash for fill in self.fills.values())

    @property
    def fees(self) -> float:
        """Dollars of fees so far."""
        return sum(fill.fees for fill in self.fills.values())

    @property
    def filled(self) -> dict[str, float]:
        """Signed contracts that filled so far, by name, without the legs that did not."""
        return {name: fill.quantity for name, fill in self.fills.items() if abs(fill.quantity) > 0.5}

    def price_of(self, leg: Leg) -> float:
        """Average price of a filled leg, in points."""
        fill = self.fills[leg.contract.name]
        return -fill.cash / (fill.quantity * leg.contract.multiplier)

    @property
    def opens(self) -> bool:
        """Whether it is an entry, of a position or of parts of one."""
        return self.purpose in (OrderPurpose.ENTRY, OrderPurpose.ADJUST)

    @property
    def is_broken(self) -> bool:
        """Whether something filled, but not all: what is there is no whole package."""
        return not self.is_filled and not self.is_untouched


def reduced(legs: Sequence[Leg], contracts: int) -> tuple[Package, int]:
    """The same contracts as a package whose ratios share no divisor, and how many of it: engines ask for that."""
    divisor = reduce(gcd, (abs(leg.ratio) for leg in legs))
    return Package(tuple(Leg(leg.contract, leg.ratio // divisor) for leg in legs)), contracts * divisor


def whole_packages(group: OrderGroup) -> int:
    """How many complete packages an entry has filled: with some legs missing, those that every leg has."""
    return min(max(round(group.fills[leg.contract.name].quantity) // leg.ratio, 0) for leg in group.package.legs)

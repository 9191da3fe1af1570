"""Order groups, what is being sent as one and how far it got, and what their fills do to positions.

The second half is arithmetic: a position before and after, ready to be written down and then told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from math import gcd, inf

from core.book import ClosedTrade, EntryIntent, Position, Refusal
from core.contracts import Contract, Leg, Package, Right, uncovered
from core.events import ChangeKind
from core.parts import LegExit, Part, PartPlan, Terms, Urgency, added, merged
from market.freshness import worth_at_most
from state.tables import OrderPurpose


@dataclass(slots=True)
class LegFill:
    """What one leg has filled: signed contracts, cash in dollars (money in positive), fees in dollars.

    ``unpriced`` is how many of its contracts (signed) filled unseen, so that nobody told at which price; ``unnamed``
    whether a report without an identity is among them, which may have come twice; ``sure`` how many (signed) did all
    the same: the most that one report told; ``guess`` the dollars in ``cash`` that stand for a price nobody told.
    """

    quantity: float = 0.0
    cash: float = 0.0
    fees: float = 0.0
    done: bool = False
    unpriced: float = 0.0
    unnamed: bool = False
    sure: float = 0.0
    guess: float = 0.0

    @property
    def priced(self) -> bool:
        """Whether the price of all of it is known."""
        return abs(self.unpriced) < 0.5


@dataclass(slots=True)
class OrderGroup:
    """One package on its way. ``limit`` is points a package, a credit positive; times are the market's.

    ``plans`` are the parts that an entry opens, ``parts`` the names of those that an exit closes (none named: all).
    ``entry`` is what was approved, for an entry of this process; ``why_ended`` and ``refusal`` why it was
    taken back, in words and by a rule where one did it. ``taken`` is what of its fills the position counts already,
    ``heard_at`` when the broker last reported on it, ``absent_since`` since when no order of it is at the broker;
    ``natural`` points a package at which it could have traded at once when it was sent; ``drops``: it is taken back to
    go on without longs that are worth nothing. A package of more legs than an order takes is several ``orders``, one
    after the other, ``stage`` the one that works now; ``limit`` is then points of that one, ``past_ids`` are the
    numbers of those before it.
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
    acknowledged: float | None = None
    broker_ids: tuple[str, ...] = ()
    cancelling: bool = False
    cancelled_at: datetime | None = None
    cancels: int = 0
    split: bool = False
    drops: bool = False
    rejected: str = ""
    heard_at: datetime | None = None
    absent_since: datetime | None = None
    natural: float | None = None
    fills: dict[str, LegFill] = field(default_factory=dict)
    taken: dict[str, LegFill] = field(default_factory=dict)
    orders: tuple[tuple[Leg, ...], ...] = ()
    stage: int = 0
    past_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for leg in self.package.legs:
            self.fills.setdefault(leg.contract.name, LegFill())

    @property
    def order(self) -> Package:
        """What works at the broker now: the whole package, or the one of its orders that it has come to."""
        return reduced(self.orders[self.stage], self.contracts)[0] if self.orders else self.package

    @property
    def order_contracts(self) -> int:
        """How many of ``order``."""
        return reduced(self.orders[self.stage], self.contracts)[1] if self.orders else self.contracts

    @property
    def to_come(self) -> tuple[Leg, ...]:
        """Legs of the orders that were not sent yet."""
        return tuple(leg for order in self.orders[self.stage + 1 :] for leg in order)

    @property
    def may_go_on(self) -> bool:
        """Whether its next order is due: what was sent of it filled whole, and nobody takes it back."""
        later = {leg.contract.name for leg in self.to_come}
        sent = [leg for leg in self.package.legs if leg.contract.name not in later]
        whole = all(abs(self.fills[leg.contract.name].quantity - self.wanted(leg)) < 0.5 for leg in sent)
        return bool(later) and whole and not self.cancelling and not self.rejected

    @property
    def why(self) -> str:
        """Where it is, and why, in words."""
        return (
            f"{self.id} {self.purpose.value} {self.contracts} x {self.position}: step {self.step}, limit "
            f"{self.limit}, next {self.next_step_at}{', cancelling' if self.cancelling else ''}"
        )

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
        later = {leg.contract.name for leg in self.to_come}
        return all(fill.done for name, fill in self.fills.items() if name not in later)

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

    @property
    def fresh(self) -> dict[str, LegFill]:
        """What filled that its position does not count yet, by name."""
        rows = {}
        for name, fill in self.fills.items():
            old = self.taken.get(name, LegFill())
            unpriced = fill.unpriced - old.unpriced
            rows[name] = LegFill(
                fill.quantity - old.quantity, fill.cash - old.cash, fill.fees - old.fees, unpriced=unpriced
            )
        return rows

    def take(self, *names: str) -> None:
        """Its position counts what filled so far of these legs, of all where none is named."""
        self.taken |= {name: replace(fill) for name, fill in self.fills.items() if not names or name in names}

    @property
    def fresh_count(self) -> int:
        """How many legs have contracts that its position does not count yet."""
        return sum(abs(fill.quantity) > 0.5 for fill in self.fresh.values())

    def price_of(self, leg: Leg) -> float:
        """Average price of a filled leg, in points."""
        fill = self.fills[leg.contract.name]
        return -fill.cash / (fill.quantity * leg.contract.multiplier)

    @property
    def opens(self) -> bool:
        """Whether it is an entry, of a position or of parts of one."""
        return self.purpose in (OrderPurpose.ENTRY, OrderPurpose.ADJUST)


def reduced(legs: Sequence[Leg], contracts: int) -> tuple[Package, int]:
    """The same contracts as a package whose ratios share no divisor, and how many of it: engines ask for that."""
    divisor = reduce(gcd, (abs(leg.ratio) for leg in legs))
    return Package(tuple(Leg(leg.contract, leg.ratio // divisor) for leg in legs)), contracts * divisor


def opening_orders(package: Package, most: int) -> tuple[tuple[Leg, ...], ...]:
    """A package as orders of so many legs at most, each safe alone once those before it have filled: hedges first.

    A short goes with a long that covers it, then come the other longs, and last the shorts that no single long covers.
    Empty for one that is a single order.
    """
    if len(package.legs) <= most:
        return ()
    longs = [leg for leg in package.legs if leg.ratio > 0]
    pairs, bare = list[tuple[Leg, ...]](), list[tuple[Leg, ...]]()
    for short in (leg for leg in package.legs if leg.ratio < 0):
        covers = [leg for leg in longs if most > 1 and not uncovered((leg, short))]
        if covers:
            hedge = min(covers, key=lambda leg: (abs(leg.contract.strike - short.contract.strike), leg.contract.name))
            longs.remove(hedge)
            pairs.append((hedge, short))
        else:
            bare.append((short,))
    orders = list[tuple[Leg, ...]]()
    for unit in (*pairs, *((leg,) for leg in longs), *bare):
        if orders and len(orders[-1]) + len(unit) <= most:
            orders[-1] += unit
        else:
            orders.append(unit)
    return tuple(orders)


def whole_packages(group: OrderGroup) -> int:
    """How many complete packages an entry has filled: with some legs missing, those that every leg has."""
    return min(max(round(group.fills[leg.contract.name].quantity) // leg.ratio, 0) for leg in group.package.legs)


LATE = "-late"
"""What the name of a part ends in whose fills came after their order's end, beside what came before."""

BROKEN = "-broken"
"""What the name of a part ends in whose legs came without the rest: it is closed again."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Contracts of one leg that left the account: signed as traded, with dollars before fees (``None``: unknown)."""

    name: str
    exit: LegExit


@dataclass(frozen=True, slots=True)
class Change:
    """A position before (``None``: new) and after something; ``over`` are the parts that ended with it.

    ``held`` is what the account gained and lost by it: signed contracts by name.
    """

    before: Position | None
    after: Position
    kind: ChangeKind
    moment: datetime
    over: tuple[Part, ...] = ()
    held: Mapping[str, float] | None = None

    @property
    def ended(self) -> bool:
        """Whether the position has no open part any more."""
        return not self.after.parts

    @property
    def cash(self) -> float:
        """Dollars that the change brought before fees; 0 where it is unknown."""
        before = 0.0 if self.before is None else self.before.cash
        now = self.after.cash
        return 0.0 if now is None or before is None else now - before

    @property
    def fees(self) -> float:
        """Dollars of fees of the change."""
        return self.after.fees - (0.0 if self.before is None else self.before.fees)

    @property
    def trades(self) -> tuple[ClosedTrade, ...]:
        """One for each part that is over; the last says whether the position ended with it."""
        rows = []
        for part in self.over:
            cash = part.cash
            rows.append(
                ClosedTrade(
                    strategy=self.after.strategy,
                    position=self.after.id,
                    opened=part.opened,
                    closed=self.moment,
                    profit=None if cash is None else cash - part.fees,
                    max_loss=part.max_loss,
                    fees=part.fees,
                    part=part.name,
                    ended=self.ended and part is self.over[-1],
                    rule=part.exit_rule,
                )
            )
        return tuple(rows)


def take_off(
    position: Position,
    parts: Sequence[str],
    gone: Iterable[Gone],
    why: tuple[str, str],
    kind: ChangeKind,
    moment: datetime,
    *,
    others_too: bool = False,
) -> Change:
    """Take contracts off the named parts (all where none is named), oldest first, each with its share of the cash.

    What none of them holds is not theirs and is left out. ``others_too``: the rest is taken off the position's other
    parts, whose contracts are the same. ``why`` is the rule and its words.
    """
    before, held = position, dict[str, float]()
    for one in gone:
        left, chosen = one.exit, position.chosen(parts)
        for part in (*chosen, *(row for row in position.parts if others_too and row not in chosen)):
            share = _share_of(part, one.name, left)
            if share is None:
                continue
            position = position.with_part(part.with_exit(one.name, share, *why))
            held[one.name] = held.get(one.name, 0.0) + share.quantity
            left = LegExit(
                left.quantity - share.quantity,
                added(left.cash, None if share.cash is None else -share.cash),
                left.fees - share.fees,
            )
    over = tuple(part for part in position.parts if part.is_over)
    for part in over:
        position = position.without(part)
    return Change(before, position, kind if not position.parts else ChangeKind.ADJUSTED, moment, over, held)


def _share_of(part: Part, name: str, left: LegExit) -> LegExit | None:
    """What of an exit closes contracts that the part holds; ``None`` where it closes none."""
    held = sum(leg.ratio for leg in part.legs if leg.contract.name == name)
    wanted = round(left.quantity)
    if held * wanted >= 0:
        return None
    count = min(abs(held), abs(wanted))
    if count == abs(wanted):
        return left
    share = count / abs(wanted)
    cash = None if left.cash is None else round(left.cash * share, 10)
    return LegExit(count if wanted > 0 else -count, cash, round(left.fees * share, 10))


def opened_parts(group: OrderGroup, moment: datetime) -> tuple[Part, ...]:
    """The parts that an entry's fills make: whole packages of each plan, and what came without the rest by itself."""
    whole, parts = whole_packages(group), []
    for plan in group.plans:
        fills = {leg.contract.name: group.fills[leg.contract.name] for leg in plan.package.legs}
        counts = {leg.contract.name: leg.ratio * whole for leg in plan.package.legs}
        if whole:
            parts.append(_part(group, plan, plan.package, whole, _share(fills, counts), moment))
        left = [
            Leg(leg.contract, round(fills[leg.contract.name].quantity) - counts[leg.contract.name])
            for leg in plan.package.legs
            if round(fills[leg.contract.name].quantity) != counts[leg.contract.name]
        ]
        if left:
            rest = {leg.contract.name: leg.ratio for leg in left}
            broken = replace(plan, name=plan.name + BROKEN)
            parts.append(_part(group, broken, Package(tuple(left)), 1, _share(fills, rest), moment))
    return tuple(parts)


def planned_parts(group: OrderGroup, moment: datetime) -> tuple[Part, ...]:
    """The parts that an entry on its way may become, at no price."""
    nothing = (0.0, 0.0)
    return tuple(_part(group, plan, plan.package, group.contracts, nothing, moment) for plan in group.plans)


def _share(fills: Mapping[str, LegFill], counts: Mapping[str, int]) -> tuple[float, float]:
    """Cash and fees of so many of the contracts that filled."""
    cash = fees = 0.0
    for name, count in counts.items():
        fill = fills[name]
        share = count / fill.quantity if round(fill.quantity) else 0.0
        whole = round(fill.quantity) == count
        cash += fill.cash if whole else round(fill.cash * share, 10)
        fees += fill.fees if whole else round(fill.fees * share, 10)
    return cash, fees


def _part(
    group: OrderGroup, plan: PartPlan, package: Package, contracts: int, paid: tuple[float, float], moment: datetime
) -> Part:
    filled = all(round(group.fills[leg.contract.name].quantity) for leg in package.legs)
    return Part(
        name=plan.name,
        package=package,
        contracts=contracts,
        opened=moment,
        entry_prices=tuple(group.price_of(leg) if filled else 0.0 for leg in package.legs),
        entry_cash=paid[0],
        entry_fees=paid[1],
        terms=plan.terms,
    )


def some_closed(
    position: Position, part: Part, left: int, brought: Mapping[str, LegExit], why: tuple[str, str], moment: datetime
) -> Change:
    """A person closed some packages of a whole part: it goes on with ``left``, what went is a trade of its own."""
    share = left / part.contracts
    rest = replace(
        part,
        contracts=left,
        entry_cash=round(part.entry_cash * share, 10),
        entry_fees=round(part.entry_fees * share, 10),
    )
    went = replace(
        part,
        contracts=part.contracts - left,
        entry_cash=part.entry_cash - rest.entry_cash,
        entry_fees=part.entry_fees - rest.entry_fees,
        exits=brought,
        exit_rule=why[0],
        exit_reason=why[1],
    )
    realised = position.without(went).realised
    after = replace(position.with_part(rest), realised=realised)
    held = {name: gone.quantity for name, gone in brought.items()}
    return Change(position, after, ChangeKind.CORRECTED, moment, (went,), held)


def intrinsic(contract: Contract, spot: float) -> float:
    """Value of an option at its end, in points."""
    inside = spot - contract.strike if contract.right is Right.CALL else contract.strike - spot
    return max(inside, 0.0)


def largest_loss(part: Part) -> float | None:
    """What a part could lose at most by its fills, positive dollars with the entry's fees; ``None``: no bound is known.

    ``part.max_loss`` is what was planned, at the natural price of the proposal.
    """
    most = worth_at_most(part.package.reversed().legs)
    if most == inf:
        return None
    return max(most * part.multiplier * part.contracts - part.entry_cash + part.entry_fees, 0.0)


def closed_by(group: OrderGroup, position: Position) -> tuple[str, ...]:
    """Parts of a position that a group closes; an entry closes none."""
    if group.opens:
        return ()
    return group.parts or tuple(part.name for part in position.parts)


def is_broken(part: Part, group: OrderGroup) -> bool:
    """Whether a part is what an entry left without the rest."""
    return part.name.endswith(BROKEN) and part.name.removesuffix(BROKEN) in {plan.name for plan in group.plans}


def left_without(position: Position, parts: Sequence[Part]) -> tuple[Leg, ...]:
    """What a position holds once parts are gone."""
    names = {part.name for part in parts}
    return merged(leg for part in position.parts if part.name not in names for leg in part.legs)


def clipped(legs: Iterable[Leg], held: Mapping[str, float]) -> tuple[Leg, ...]:
    """As much of some legs (signed) as is held of each contract; those of which nothing is held are left out."""
    rows = [(leg, _there(leg, round(held.get(leg.contract.name, 0.0)))) for leg in legs]
    return tuple(Leg(leg.contract, count) for leg, count in rows if count)


def _there(leg: Leg, held: int) -> int:
    """As much of a leg as so many held contracts give, signed."""
    return max(min(held, leg.ratio), 0) if leg.ratio > 0 else min(max(held, leg.ratio), 0)


def allotted(position: Position, held: Mapping[str, float]) -> list[tuple[Part, dict[str, int]]]:
    """What each part has of what the account holds; of a contract that several hold the oldest goes short first."""
    left = {name: round(quantity) for name, quantity in held.items()}
    rows: list[tuple[Part, dict[str, int]]] = []
    for part in reversed(position.parts):
        has = {}
        for leg in part.legs:
            there = left.get(leg.contract.name, 0)
            count = _there(leg, there)
            has[leg.contract.name] = count
            left[leg.contract.name] = there - count
        rows.append((part, has))
    return rows[::-1]

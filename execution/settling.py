"""What happens to a position, as arithmetic: a position before and after, ready to be written down and then told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from core.book import ClosedTrade, Position
from core.contracts import Contract, Leg, Package, Right
from core.events import ChangeKind
from core.parts import LegExit, Part, PartPlan, added
from execution.groups import LegFill, OrderGroup, whole_packages

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
) -> Change:
    """Take contracts off the named parts (all where none is named), oldest first, each with its share of the cash.

    What none of them holds is not theirs and is left out. ``why`` is the rule and its words.
    """
    before, held = position, dict[str, float]()
    for one in gone:
        left = one.exit
        for part in position.chosen(parts):
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

"""What leaves the account is taken off the parts that held it: pure arithmetic on positions, nothing is told here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from core.book import ClosedTrade, Position
from core.contracts import Contract, Right
from core.parts import LegExit, Part, added


@dataclass(frozen=True, slots=True)
class Gone:
    """Contracts of one leg that left the account: signed as traded, with dollars before fees (``None``: unknown)."""

    name: str
    exit: LegExit


@dataclass(frozen=True, slots=True)
class Ending:
    """A position after something of it left: as it goes on, and the parts that are over; ``ended`` without any left."""

    position: Position
    over: tuple[Part, ...]

    @property
    def ended(self) -> bool:
        """Whether the position has no open part any more."""
        return not self.position.parts


def take_off(position: Position, parts: Sequence[str], gone: Iterable[Gone], rule: str, reason: str) -> Ending:
    """Take contracts off the named parts (all where none is named), oldest first, each with its share of the cash.

    What none of them holds is not theirs and is left out.
    """
    for one in gone:
        left = one.exit
        for part in position.chosen(parts):
            share = _share_of(part, one.name, left)
            if share is None:
                continue
            position = position.with_part(part.with_exit(one.name, share, rule, reason))
            left = LegExit(
                left.quantity - share.quantity,
                added(left.cash, None if share.cash is None else -share.cash),
                left.fees - share.fees,
            )
    over = tuple(part for part in position.parts if part.is_over)
    for part in over:
        position = position.without(part)
    return Ending(position, over)


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


def trade_of(position: Position, part: Part, now: datetime, ended: bool) -> ClosedTrade:
    """The trade that a part was which is over."""
    cash = part.cash
    profit = None if cash is None else cash - part.fees
    return ClosedTrade(
        position.strategy, position.id, part.opened, now, profit, part.max_loss, part.fees, part.name, ended
    )


def fewer(position: Position, contracts: int) -> Position:
    """A position of one whole part of which a person closed some packages, as it goes on with so many."""
    part = position.parts[0]
    share = contracts / part.contracts
    cash, fees = part.entry_cash * share, part.entry_fees * share
    return position.with_part(replace(part, contracts=contracts, entry_cash=cash, entry_fees=fees))


def intrinsic(contract: Contract, spot: float) -> float:
    """Value of an option at its end, in points."""
    inside = spot - contract.strike if contract.right is Right.CALL else contract.strike - spot
    return max(inside, 0.0)

"""What prices that nobody was told may have been, by the executions of the broker, which the fake keeps too."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import prod

from core.instruments import contract_named
from core.parts import Part

MOST_SUMS = 100_000
LOT = 100
"""Shares that an option delivers: they come and go in such lots."""


@dataclass
class Executions:
    """By contract, the dollars that each single contract brought, bought ones and sold ones apart; fees taken off."""

    bought: dict[str, list[float]] = field(default_factory=dict)
    sold: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, count: int, cash: float) -> None:
        """So many contracts (signed) changed hands, for so many dollars in all."""
        side = self.bought if count > 0 else self.sold
        side.setdefault(name, []).extend([round(cash / abs(count), 6)] * abs(count))

    def sums(self, name: str, count: int) -> list[float]:
        """Every sum that so many contracts (signed) of one name may have brought."""
        rows = (self.bought if count > 0 else self.sold).get(name, [])
        return sorted({round(sum(chosen), 4) for chosen in combinations(rows, abs(count))})


def of_trade(row: Mapping[str, object]) -> tuple[float, list[tuple[str, int]]]:
    """Of a closed trade whose result is unknown: the dollars that are known, and the contracts (signed) that are not.

    These are exits that nobody told, and the entry of what an exit's unseen fill left the other way round.
    """
    legs, count = row["legs"], int(str(row["contracts"]))
    assert isinstance(legs, list)
    cash, unknown = float(str(row["cash_in"])) - float(str(row["fees"])), []
    for leg in legs:
        held = int(leg["ratio"]) * count
        contract = contract_named(str(leg["name"]))
        assert contract is not None
        if leg["entry"] is None:
            unknown.append((contract.name, held))
        if leg["exit"] is None:
            unknown.append((contract.name, -held))
        else:
            cash += held * float(leg["exit"]) * contract.multiplier
    return cash, unknown


def of_part(part: Part) -> tuple[float, list[tuple[str, int]]]:
    """The same of a part that is open."""
    cash, unknown = part.entry_cash - part.fees, list[tuple[str, int]]()
    if not part.entry_known:
        unknown += [(leg.contract.name, leg.ratio * part.contracts) for leg in part.package.legs]
    for name, gone in part.exits.items():
        if gone.cash is None:
            unknown.append((name, round(gone.quantity)))
        else:
            cash += gone.cash
    return cash, unknown


def possible(unknown: Sequence[tuple[str, int]], executions: Executions) -> Iterator[float] | None:
    """Every sum that unknown exits may have brought together; ``None`` for more than can be tried."""
    choices = [executions.sums(name, count) for name, count in unknown]
    if prod(len(row) for row in choices) > MOST_SUMS:
        return None
    return (sum(chosen) for chosen in product(*choices))


@dataclass
class Counted:
    """What the system counts of one order in one contract, by its journal: signed contracts and their dollars."""

    quantity: float = 0.0
    dollars: float = 0.0

    def fill(self, row: Mapping[str, object]) -> None:
        """A fill is counted, at its price and fee."""
        contract, quantity = contract_named(str(row["contract"])), float(str(row["quantity"]))
        assert contract is not None
        self.quantity += quantity
        self.dollars -= quantity * float(str(row["price"])) * contract.multiplier + float(str(row["fee"]))

    def taken_back(self, quantity: float) -> None:
        """The account shows less than was counted: a report that came twice, or what a person closed meanwhile."""
        if abs(quantity) < abs(self.quantity):
            self.dollars *= quantity / self.quantity
            self.quantity = quantity


def is_among(amount: float, sums: Sequence[float], least: float) -> bool:
    """Whether one of the sums, in order, is less than ``least`` dollars from an amount."""
    near = sums[bisect_left(sums, amount - least) : bisect_left(sums, amount + least)]
    return any(abs(one - amount) < least for one in near)

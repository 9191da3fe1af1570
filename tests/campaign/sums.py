"""What prices that nobody was told may have been, by the executions of the broker, which the fake keeps too."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import prod
from typing import Any

from core.instruments import contract_named
from core.parts import Part
from execution.tracker import SHARES, UNTOLD_SHARES

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

    def undo_double(self, name: str, filled: int, group: Mapping[str, Any]) -> None:
        """A report without an identity may be counted twice where its order ends whole by that; nobody can know.

        What never filled leaves again as an exit at a price that nobody told: what that brought is what it cost.
        ``filled`` is the broker's signed count of an order, ``group`` what the state counts of it.
        """
        counted, cash, fees = (float(group.get(kind, {}).get(name, 0.0)) for kind in ("filled", "cash", "fees"))
        double = round(abs(counted) - abs(filled))
        if double > 0:
            self.note(name, double if counted < 0 else -double, (fees - cash) * double / abs(counted))


def of_trade(row: Mapping[str, object], unseen: bool = False) -> tuple[float, list[tuple[str, int]]]:
    """Of a closed trade whose result is unknown: the dollars that are known, and the fills (signed) that are not.

    ``unseen``: what it opened with is none that was told, but the account's average.
    """
    legs, count = row["legs"], int(str(row["contracts"]))
    assert isinstance(legs, list)
    cash, unknown = (0.0 if unseen else float(str(row["cash_in"]))) - float(str(row["fees"])), []
    for leg in legs:
        held = int(leg["ratio"]) * count
        contract = contract_named(str(leg["name"]))
        assert contract is not None
        if unseen:
            unknown.append((contract.name, held))
        if leg["exit"] is None:
            unknown.append((contract.name, -held))
        else:
            cash += held * float(leg["exit"]) * contract.multiplier
    return cash, unknown


def of_part(part: Part) -> tuple[float, list[tuple[str, int]]]:
    """The same of a part that is open."""
    cash, unknown = part.entry_cash - part.fees, []
    for name, gone in part.exits.items():
        if gone.cash is None:
            unknown.append((name, round(gone.quantity)))
        else:
            cash += gone.cash
    return cash, unknown


def of_shares(row: Mapping[str, object]) -> float:
    """Dollars that a row of shares brought, fees taken off."""
    return -float(str(row["quantity"])) * float(str(row["price"])) - float(str(row["fee"]))


def share_rows(fills: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each move of assigned shares once: a process that ends right after it is told of has it told again."""
    rows = [row for row in fills if row["group"] == SHARES]
    told_of = ("correlation", "contract", "quantity", "price", "fee", "profit")
    again = {tuple(row[key] for key in told_of): row for row in rows if row["correlation"]}
    return [*(row for row in rows if not row["correlation"]), *again.values()]


def untold_lots(shares: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Lots of shares (signed) that went at a price that nobody told."""
    return [(str(row["contract"]), round(row["quantity"] / LOT)) for row in shares if row["reason"] == UNTOLD_SHARES]


def untold(
    name: str, fills: Sequence[Mapping[str, object]], filled_of: Mapping[tuple[str, str], int]
) -> dict[str, int]:
    """By order group, signed contracts of a name that the broker filled for it and that are in no row of fills."""
    told: dict[str, float] = {}
    for row in fills:
        if row["contract"] == name:
            told[str(row["group"])] = told.get(str(row["group"]), 0.0) + float(str(row["quantity"]))
    filled = {group: count for (group, contract), count in filled_of.items() if contract == name}
    return {group: round(count - told.get(group, 0.0)) for group, count in filled.items()}


def possible(unknown: Sequence[tuple[str, int]], executions: Executions) -> Iterator[float] | None:
    """Every sum that unknown exits may have brought together; ``None`` for more than can be tried."""
    choices = [executions.sums(name, count) for name, count in unknown]
    if prod(len(row) for row in choices) > MOST_SUMS:
        return None
    return (sum(chosen) for chosen in product(*choices))


def is_among(amount: float, sums: Sequence[float], least: float) -> bool:
    """Whether one of the sums, in order, is less than ``least`` dollars from an amount."""
    near = sums[bisect_left(sums, amount - least) : bisect_left(sums, amount + least)]
    return any(abs(one - amount) < least for one in near)

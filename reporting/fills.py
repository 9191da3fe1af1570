"""What a run's fills rest on: the assumption, what the same trades come to under others, and how many entries filled.

The quotes are those of each fill's own minute, journalled with it. Only the prices of fills change: when a trade was
opened and closed, and what expired, stays as it was run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.fills import FillAssumption, FillRule
from reporting.markup import money
from reporting.rows import Fill, Journal, Trade


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the compared trades come to at one assumption: dollars after fees, and how many of them won."""

    name: str
    profit: float
    wins: int
    words: str


@dataclass(frozen=True, slots=True)
class FillSummary:
    """``compared`` of ``trades`` positions have the quotes of all their fills; ``sent`` entries went to the broker.

    ``given_up`` is the share of the way from mid to natural that fills paid, by dollars; ``None`` where both were one.
    """

    rule: FillRule | None
    outcomes: tuple[Outcome, ...]
    compared: int
    trades: int
    given_up: float | None
    sent: int
    filled: int

    @property
    def title(self) -> str:
        """The assumption in words."""
        return "Fills: the broker's own" if self.rule is None else f"Fills: {assumption_words(self.rule)}"

    @property
    def rate(self) -> str:
        """Filled of sent entries."""
        return f"{self.filled / self.sent:.0%} of the entries that were sent" if self.sent else "no entry was sent"


def assumption_words(rule: FillRule) -> str:
    """What ``fills.model`` and ``fills.share`` mean, in words."""
    worked = f"worked, the limit or better once it has given up {rule.share:.0%} of the way from mid to natural"
    return {
        FillAssumption.WORKED: worked,
        FillAssumption.NATURAL: "natural, each leg's bid or offer once the limit is there",
        FillAssumption.MID: "mid, kinder than any market",
        FillAssumption.LEAN: "LEAN's own rule, which selects the losing trades",
    }[rule.model]


def summarise_fills(journal: Journal, rule: FillRule | None) -> FillSummary:
    """Everything that is said of a run's fills."""
    share = rule.share if rule is not None else 1.0
    by_position: dict[str, list[Fill]] = defaultdict(list)
    for fill in journal.fills:
        by_position[fill.position].append(fill)
    trades: dict[str, list[Trade]] = defaultdict(list)
    for trade in journal.trades:
        trades[trade.position].append(trade)
    known = [
        (by_position[name], rows)
        for name, rows in trades.items()
        if by_position[name] and all(fill.far is not None for fill in by_position[name])
    ]
    given_up = _given_up([fill for fills, _ in known for fill in fills])
    paid = "the fills of this run" if given_up is None else f"gave up {given_up:.0%} of the way, by dollars"
    ways: tuple[tuple[str, str, Callable[[Fill], float]], ...] = (
        ("as run", paid, lambda fill: 0.0),
        ("mid", "kinder than any market", lambda fill: _better(fill, 0.0)),
        ("worked", f"{share:.0%} of the way from mid to natural", lambda fill: _better(fill, share)),
        ("natural", "each leg's bid or offer", lambda fill: _better(fill, 1.0)),
    )
    sent = {order.group for order in journal.orders if order.purpose == "entry" and order.action == "sent"}
    return FillSummary(
        rule=rule,
        outcomes=tuple(_outcome(name, words, known, way) for name, words, way in ways),
        compared=len(known),
        trades=len(trades),
        given_up=given_up,
        sent=len(sent),
        filled=len(sent & {fill.group for fill in journal.fills}),
    )


def table_rows(fills: FillSummary) -> list[tuple[str, str, str, str]]:
    """For terminal and page: name, profit, wins, meaning; then how many entries filled, and what was left out."""
    rows = [
        (row.name, money(row.profit, signed=True), f"{row.wins} of {fills.compared}", row.words)
        for row in (fills.outcomes if fills.compared else ())
    ]
    rows.append(("entries filled", "", f"{fills.filled} of {fills.sent}", fills.rate))
    if fills.compared < fills.trades:
        left = fills.trades - fills.compared
        rows.append(("left out", "", f"{left} of {fills.trades}", "trades of which a quote is unknown"))
    return rows


def _outcome(
    name: str, words: str, known: Sequence[tuple[list[Fill], list[Trade]]], way: Callable[[Fill], float]
) -> Outcome:
    profits = [
        sum(trade.profit for trade in rows) + sum(way(fill) * rows[0].multiplier for fill in fills)
        for fills, rows in known
    ]
    return Outcome(name, sum(profits), sum(profit > 0 for profit in profits), words)


def _better(fill: Fill, share: float) -> float:
    """Points times contracts by which a leg would have filled better at a share of the way from its mid."""
    far, mid = fill.far, fill.mid
    there = fill.price if far is None or mid is None else mid + share * (far - mid)
    return fill.quantity * (fill.price - there)


def _given_up(fills: Sequence[Fill]) -> float | None:
    paid = sum(_better(fill, 0.0) for fill in fills)
    whole = sum(_better(fill, 0.0) - _better(fill, 1.0) for fill in fills)
    return paid / whole if whole > 1e-9 else None

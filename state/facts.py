"""What the broker says, and the ways in which state can differ from it, each with its one rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import combinations
from typing import Any, Final

from core.contracts import AssetKind, Package, Right, Settlement
from core.events import FillStatus

SHARES: Final = "shares"
"""Under which state remembers what assignments left: ticker to quantity, price and cash."""

FINAL_STATUS: Final = frozenset({FillStatus.FILLED, FillStatus.CANCELLED, FillStatus.REJECTED})


@dataclass(frozen=True, slots=True)
class BrokerHolding:
    """What the broker says is held of a ``Contract.name`` or a ticker; signed, long is positive, never zero."""

    contract: str
    quantity: float


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order that the broker knows. ``quantity`` and ``filled`` are signed (bought positive), ``tag`` is ours.

    ``filled`` is ``None`` where the broker does not tell it; the holdings then tell.
    """

    order_id: int
    contract: str
    quantity: float
    filled: float | None
    status: FillStatus
    tag: str = ""
    broker_ids: tuple[str, ...] = ()
    """The broker's own numbers of it."""


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """The account at one moment. ``orders``: the open ones, and those finished that the broker still tells of.

    ``assigned``: contracts for which the broker reported an assignment or exercise since the last reconciliation.
    ``certain``: false at the first look at a broker whose orders and holdings arrive in a stream: what is not there may
    still be on its way, so nothing is judged by its absence.
    """

    today: date
    holdings: tuple[BrokerHolding, ...]
    orders: tuple[BrokerOrder, ...]
    assigned: frozenset[str] = frozenset()
    certain: bool = True


class DifferenceKind(StrEnum):
    """How state and account can differ."""

    NEVER_SENT = "never_sent"
    SENT_UNRECORDED = "sent_unrecorded"
    FILLED_WHILE_AWAY = "filled_while_away"
    PARTLY_FILLED_WHILE_AWAY = "partly_filled_while_away"
    CANCELLED_WHILE_AWAY = "cancelled_while_away"
    LEFT_IN_BETWEEN = "left_in_between"
    EXPIRED_WHILE_AWAY = "expired_while_away"
    ASSIGNED_WHILE_AWAY = "assigned_while_away"
    CLOSED_BY_HAND = "closed_by_hand"
    DIFFERENT_QUANTITY = "different_quantity"
    MISSING = "missing"
    EXTRA = "extra"
    UNKNOWN_ORDER = "unknown_order"
    ORPHAN_ORDER = "orphan_order"
    IN_DOUBT = "in_doubt"
    FILLED_AFTER_END = "filled_after_end"


RULES: Final[Mapping[DifferenceKind, str]] = {
    DifferenceKind.NEVER_SENT: "intent without an order: withdrawn, the group is abandoned and may be planned anew",
    DifferenceKind.SENT_UNRECORDED: "the broker has our order: the intent is completed, nothing is sent again",
    DifferenceKind.FILLED_WHILE_AWAY: "the broker's fill stands: the group is filled, its position follows",
    DifferenceKind.PARTLY_FILLED_WHILE_AWAY: "whole packages stay; a package with legs missing is unwound, longs last",
    DifferenceKind.CANCELLED_WHILE_AWAY: "nothing filled, nothing works: the group is cancelled, its position returns",
    DifferenceKind.LEFT_IN_BETWEEN: "no order works for it: the position goes to what its fills say",
    DifferenceKind.EXPIRED_WHILE_AWAY: "past its expiry and gone: the position expires, or goes on with long legs left",
    DifferenceKind.ASSIGNED_WHILE_AWAY: "assignment stands: its shares are sold at the next open, the rest is unwound",
    DifferenceKind.CLOSED_BY_HAND: "a person closed the whole package: the position is closed",
    DifferenceKind.DIFFERENT_QUANTITY: "a person closed some whole packages: the position goes on with the rest",
    DifferenceKind.MISSING: "legs are gone and others are left: what is left is unwound, longs last",
    DifferenceKind.EXTRA: "belongs to no package: listed, never touched, counted for risk",
    DifferenceKind.UNKNOWN_ORDER: "belongs to no group: listed, never touched",
    DifferenceKind.ORPHAN_ORDER: "our order of a group that has ended: to be cancelled",
    DifferenceKind.FILLED_AFTER_END: "what a group lacks that ended a day ago, and nobody holds: its fill, it reopens",
    DifferenceKind.IN_DOUBT: "not seen at the broker yet: judged at a second look, nothing is sent for it until then",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that state and account saw differently. Quantities are signed contracts or shares."""

    kind: DifferenceKind
    subject: str
    contract: str = ""
    expected: float | None = None
    observed: float | None = None

    @property
    def rule(self) -> str:
        """What is done about it, always the same for the kind."""
        return RULES[self.kind]


@dataclass(slots=True)
class Reconciliation:
    """What came out: every difference, and what is left for the executor and for risk."""

    differences: list[Difference] = field(default_factory=list)
    unowned: list[BrokerHolding] = field(default_factory=list)
    foreign_orders: list[BrokerOrder] = field(default_factory=list)
    orders_to_cancel: list[int] = field(default_factory=list)
    positions_to_unwind: list[str] = field(default_factory=list)
    orphans: dict[int, str] = field(default_factory=dict)
    """The ended group of each order that is to be cancelled: what still fills of it reopens the group."""
    late: dict[str, dict[str, float]] = field(default_factory=dict)
    """By ended group: signed contracts that turned up since, which nobody else's are."""
    in_doubt: dict[str, frozenset[str]] = field(default_factory=dict)
    """Positions of which something may not be visible yet, each with the contracts that it is about."""
    assigned: frozenset[str] = frozenset()
    """Contracts that turned into shares while an order worked on them: it would open what it was to close."""
    unsure: set[tuple[str, str]] = field(default_factory=set)
    """Positions, each with a contract that expired after an order of which nobody told: traded before, or settled."""

    @property
    def agreed(self) -> bool:
        """Whether state and account were the same."""
        return not self.differences


def changes_of(package: Package, contracts: int) -> dict[str, float]:
    """What ``contracts`` packages bought whole change in the account: contract name to signed quantity."""
    return {leg.contract.name: float(leg.ratio * contracts) for leg in package.legs}


def instruments_of(package: Package) -> dict[str, dict[str, Any]]:
    """What reconciliation must know of each contract of a package.

    ``shares`` is what one bought contract delivers on exercise: 100 for a call on shares, -100 for a put, 0 in cash.
    """
    rows: dict[str, dict[str, Any]] = {}
    for leg in package.legs:
        contract = leg.contract
        delivers = contract.settlement in (Settlement.PHYSICAL_SHARES, Settlement.PHYSICAL_FUTURE)
        unit = contract.multiplier if contract.underlying.kind is AssetKind.EQUITY else 1.0
        sign = 1.0 if contract.right is Right.CALL else -1.0
        rows[contract.name] = {
            "expiry": contract.expiry.isoformat(),
            "underlying": contract.underlying.price_key,
            "shares": sign * unit if delivers else 0.0,
        }
    return rows


def told_fills(orders: Iterable[BrokerOrder]) -> dict[str, float]:
    """Filled quantity by contract whose fills the broker tells, zero where nothing filled."""
    filled: dict[str, float] = {}
    for order in orders:
        if order.filled is not None:
            add_to(filled, {order.contract: order.filled})
    return filled


def totals(holdings: Iterable[BrokerHolding]) -> dict[str, float]:
    """Signed quantity by contract."""
    total: dict[str, float] = {}
    for holding in holdings:
        add_to(total, {holding.contract: holding.quantity})
    return total


def add_to(total: dict[str, float], more: Mapping[str, float]) -> None:
    """Add signed quantities by name to a sum."""
    for name, quantity in more.items():
        total[name] = total.get(name, 0.0) + quantity


_NUMBERS: Final = ("changes", "filled", "cash", "fees", "priced", "charged", "corrections")
_LISTS: Final = ("plans", "orders", "broker_ids", "unwinding", "trades", "untold")
_MAPPINGS: Final = (*_NUMBERS, "instruments", "realised")
_WORDS: Final = ("purpose", "rule", "reason", "urgency", "slot", "correlation", "fingerprint")


def within(available: float, wanted: float) -> float:
    """As much of ``wanted`` (signed) as ``available`` (signed) gives."""
    if wanted > 0:
        return max(0.0, min(available, wanted))
    return min(0.0, max(available, wanted))


def delivered_by(
    detail: Mapping[str, Any], gone: Mapping[str, float], available: Mapping[str, float], facts: BrokerFacts
) -> dict[str, float] | None:
    """Shares that the contracts gone turned into, by ticker; ``None`` when this was no assignment.

    Known by the broker's word, or by shares that belong to nobody and match what the contracts deliver.
    """
    contracts = detail.get("instruments", {})
    delivers = {
        name: float(contracts[name]["shares"]) * quantity
        for name, quantity in gone.items()
        if contracts.get(name, {}).get("shares")
    }
    sure = [name for name in delivers if name in facts.assigned]
    open_question = [name for name in delivers if name not in facts.assigned]
    for count in range(len(open_question), -1, -1):  # the most contracts that the shares seen can come from
        for more in combinations(open_question, count):
            shares: dict[str, float] = {}
            for name in (*sure, *more):
                add_to(shares, {contracts[name]["underlying"]: delivers[name]})
            shares = {ticker: quantity for ticker, quantity in shares.items() if quantity}
            seen = {ticker: within(available.get(ticker, 0.0), quantity) for ticker, quantity in shares.items()}
            if shares and seen == shares:
                return shares
    return {} if sure else None


def check_detail(detail: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` or ``ValueError`` for a detail of a subject that is not of the kind that was written."""
    for names, kind in ((_MAPPINGS, Mapping), (_LISTS, list), (_WORDS, str)):
        for name in names:
            if name in detail and not isinstance(detail[name], kind):
                raise TypeError(f"{name}: {str(detail[name])[:40]!r}; expected {kind.__name__}")
    for name in _NUMBERS:
        for contract, value in detail.get(name, {}).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} of {contract}: {str(value)[:40]!r}; expected a number")
    for name, facts in detail.get("instruments", {}).items():
        date.fromisoformat(facts["expiry"])
        if not isinstance(facts["underlying"], str) or not isinstance(facts["shares"], int | float):
            raise TypeError(f"instruments of {name}: {str(facts)[:60]!r}; expected its underlying and shares")

"""What is written down of order groups, positions and strategies, and how it is read back.

What belongs together is one record of the state. What is read is not trusted: a value of the wrong kind is a
``CorruptStoreError`` that names the subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from math import isfinite
from typing import Any

from core.book import Book, ClosedTrade, Position
from core.contracts import Leg, Package, Right
from core.events import ChangeKind, GroupOutcome, Level
from core.instruments import INSTRUMENTS
from core.parts import LegExit, Part, PartPlan, Realised, Terms, Trait
from execution.groups import Change, OrderGroup, clipped
from state.facts import SHARES, changes_of, instruments_of
from state.ledger import Subject
from state.manager import HierarchicalStateManager, OpenIntent
from state.store import UNREADABLE
from state.tables import (
    CorruptStoreError,
    OrderPurpose,
    OrderTrigger,
    PositionState,
    PositionTrigger,
    StateError,
    StrategyState,
    StrategyTrigger,
)

Rows = Sequence[Mapping[str, object]]
_Trigger = OrderTrigger | PositionTrigger | StrategyTrigger
_ENDS = {
    GroupOutcome.FILLED: OrderTrigger.FILL,
    GroupOutcome.CANCELLED: OrderTrigger.CANCELLED,
    GroupOutcome.REJECTED: OrderTrigger.REJECT,
}


class GroupStates:
    """What the executor writes down, before it acts and when it is done."""

    def __init__(self, state: HierarchicalStateManager, book: Book) -> None:
        self._state = state
        self._book = book

    def free(self, position: str, legs: Sequence[Leg]) -> tuple[Leg, ...]:
        """Of these legs (signed as held) what no order of its own, at work or of unknown end, may close already."""
        return clipped(legs, self._state.surely_held(position))

    # Before an order is sent

    def plan_entry(self, group: OrderGroup, fingerprint: str) -> None:
        """Create what an entry needs. Raises DuplicateIntentError and GatedTransitionError before anything is sent."""
        position = group.position
        with self._state.together():
            if group.purpose is OrderPurpose.ENTRY:
                self._state.create(
                    Level.POSITION,
                    position,
                    group.strategy,
                    package=describe_package(group.package),
                    instruments=instruments_of(group.package),
                    contracts=group.contracts,
                    terms=group.terms,
                    plans=describe_plans(group.plans),
                    slot=group.slot,
                    correlation=group.correlation,
                )
                opening, back = PositionTrigger.OPEN, PositionTrigger.ABANDON
            else:
                opening, back = PositionTrigger.ADJUST, PositionTrigger.KEEP
            try:
                self._state.fire(Level.POSITION, position, opening)
                self._create(group, fingerprint)
            except StateError:
                self._try(Level.POSITION, position, back)
                raise
            if group.purpose is OrderPurpose.ADJUST:
                self._know(position, group.package)
            self._state.strategy(group.strategy)
            self._try(Level.STRATEGY, group.strategy, StrategyTrigger.ENTER)

    def _know(self, position: str, package: Package) -> None:
        """What reconciliation must know of contracts that come to a position."""
        known = self._state.position(position).detail.get("instruments", {})
        self._state.note(Level.POSITION, position, instruments={**known, **instruments_of(package)})

    def plan_exit(self, group: OrderGroup, whole: bool) -> None:
        """Create the group that closes parts of a position; ``whole``: with it every part is on its way out."""
        with self._state.together():
            if group.purpose is OrderPurpose.UNWIND:
                self._unwinding(group.position, group.parts)
            elif whole:
                self._try(Level.POSITION, group.position, PositionTrigger.CLOSE, rule=group.rule)
            self._create(group, None)
            if whole:
                self._try(Level.STRATEGY, group.strategy, StrategyTrigger.EXIT)

    def _create(self, group: OrderGroup, fingerprint: str | None) -> None:
        detail: dict[str, object] = {
            "purpose": group.purpose,
            "package": describe_package(group.package),
            "contracts": group.contracts,
            "changes": changes_of(group.package, group.contracts),
            "rule": group.rule,
            "reason": group.reason,
            "urgency": group.urgency,
            "parts": [plan.name for plan in group.plans] if group.opens else list(group.parts),
            "plans": describe_plans(group.plans),
        }
        if fingerprint is not None:
            detail["fingerprint"] = fingerprint
        self._state.create(Level.ORDER_GROUP, group.id, group.position, **detail)

    def sending(self, group: OrderGroup) -> OpenIntent:
        """The intent to send, to be held open while it is sent."""
        return self._state.intent(Level.ORDER_GROUP, group.id, OrderTrigger.SEND, limit=group.limit)

    def step(self, group: OrderGroup, trigger: OrderTrigger, **detail: object) -> None:
        """A step of the group itself, where its state knows it."""
        self._try(Level.ORDER_GROUP, group.id, trigger, **detail)

    def moved_back(self, group: OrderGroup) -> None:
        """The broker refused a new limit: the one before stands."""
        self._state.note(Level.ORDER_GROUP, group.id, limit=group.limit)

    def numbered(self, group: OrderGroup) -> None:
        """The broker's own numbers of a group's orders."""
        self._state.note(Level.ORDER_GROUP, group.id, broker_ids=list(group.broker_ids))

    def filled_some(self, group: OrderGroup) -> None:
        """Something of the group filled: what, for how much, and at which fees."""
        self.step(group, OrderTrigger.FILL_PART, **_fills(group))

    # What became of it

    def refused(self, group: OrderGroup, handed_over: bool) -> None:
        """The group never left: forget it and what it was for. ``handed_over``: it may be there all the same."""
        with self._state.together():
            self.step(group, OrderTrigger.ABANDON, handed_over=handed_over)
            self._rest(group)

    def over(
        self,
        group: OrderGroup,
        outcome: GroupOutcome,
        change: Change | None,
        unwinding: Sequence[str],
        busy: bool,
        rows: Rows,
    ) -> None:
        """A group is over and its fills are the position's now, in one record.

        ``unwinding`` names the parts of which something is left that must go; ``busy``: other groups of the position
        work, or something of it is being unwound; ``rows`` are the trades that the journal is still to be told.
        """
        with self._state.together():
            if self._try(Level.ORDER_GROUP, group.id, _ENDS[outcome], **_fills(group)):
                self._fold(group)
            self._untold(group.position, rows)
            self.changed(change, group.position, unwinding, busy, abandoned=group.opens and change is None)

    def fold(self, group: OrderGroup, change: Change | None, unwinding: Sequence[str], busy: bool, rows: Rows) -> None:
        """The same for a group that the reconciliation ended."""
        with self._state.together():
            self._fold(group)
            self._untold(group.position, rows)
            self.changed(change, group.position, unwinding, busy)

    def _fold(self, group: OrderGroup) -> None:
        """Count what a group traded with its position, once: groups that ended long ago may then be forgotten."""
        held = {**self._state.position(group.position).detail.get("corrections", {})}
        for name, fill in group.fresh.items():
            held[name] = held.get(name, 0.0) + fill.quantity
        self._state.note(Level.ORDER_GROUP, group.id, folded=True, **_fills(group))
        self._state.note(Level.POSITION, group.position, corrections={name: by for name, by in held.items() if by})

    def changed(
        self, change: Change | None, position: str, unwinding: Sequence[str], busy: bool, *, abandoned: bool = False
    ) -> None:
        """Write a position's parts as they are now, and move it to where that leaves it."""
        with self._state.together():
            strategy = self._state.position(position).parent
            if change is not None:
                self._write(change)
            if change is not None and not change.ended:
                self._try(Level.POSITION, position, PositionTrigger.REOPEN)
            if change is not None and change.ended:
                self._end(position, change.kind)
            elif abandoned:
                self._try(Level.POSITION, position, PositionTrigger.ABANDON)
                self._try(Level.POSITION, position, PositionTrigger.KEEP)
            else:
                self._try(Level.POSITION, position, PositionTrigger.OPENED)
                self._try(Level.POSITION, position, PositionTrigger.ADJUSTED)
                if unwinding:
                    self._unwinding(position, unwinding)
                elif not busy:
                    self._state.note(Level.POSITION, position, unwinding=[])
                    self._try(Level.POSITION, position, PositionTrigger.KEEP)
            self._strategy(strategy)

    def settled(
        self, change: Change, unwinding: Sequence[str], busy: bool, rows: Rows, *, counted: bool = False
    ) -> None:
        """Something left the account without an order of ours; ``counted``: the position's holdings know it already."""
        with self._state.together():
            held = {**self._state.position(change.after.id).detail.get("corrections", {})}
            for name, quantity in ({} if counted else change.held or {}).items():
                held[name] = held.get(name, 0.0) + quantity
            self._state.note(Level.POSITION, change.after.id, corrections={name: by for name, by in held.items() if by})
            self._untold(change.after.id, rows)
            self.shares()  # with the option that delivered them: all of it, or nothing
            self.changed(change, change.after.id, unwinding, busy)

    def amended(self, trade: ClosedTrade) -> None:
        """What a trade came to is known now: it is remembered so over restarts."""
        rows = self._state.position(trade.position).detail.get("trades", [])
        row = describe_trade(trade)
        at = (trade.part, trade.closed.isoformat())
        kept = [row if (old[7], str(old[3])) == at else old for old in rows]
        self._state.note(Level.POSITION, trade.position, trades=kept)

    def ended_as(self, group: str) -> str:
        """The state of a group, as the value of its kind."""
        return str(self._state.order_group(group).state)

    def told(self, position: str) -> None:
        """The journal has the trades of a position."""
        self._state.note(Level.POSITION, position, untold=[])

    def _write(self, change: Change) -> None:
        after = change.after
        detail: dict[str, object] = {
            "parts": describe_parts(after),
            "realised": describe_realised(after),
            "opened": after.opened,
            "correlation": after.correlation,
            "slot": after.slot,
            "spot_entry": after.spot_entry,
            "vix_entry": after.vix_entry,
        }
        if change.over:
            today = change.moment.date().isoformat()
            before = self._state.position(after.id).detail.get("trades", [])
            kept = [row for row in before if str(row[3]).startswith(today)]
            detail["trades"] = [*kept, *(describe_trade(trade) for trade in change.trades)]
        self._state.note(Level.POSITION, after.id, **detail)

    def _untold(self, position: str, rows: Rows) -> None:
        """Rows of the journal that are to be written once the state is."""
        if rows:
            self._state.note(Level.POSITION, position, untold=list(rows))

    def _unwinding(self, position: str, parts: Sequence[str]) -> None:
        before = self._state.position(position).detail.get("unwinding", [])
        self._state.note(Level.POSITION, position, unwinding=sorted({*before, *parts}))
        self._try(Level.POSITION, position, PositionTrigger.UNWIND)

    def _end(self, position: str, kind: ChangeKind) -> None:
        if kind is ChangeKind.EXPIRED:
            self._try(Level.POSITION, position, PositionTrigger.EXPIRE)
        elif kind is ChangeKind.ASSIGNED:
            self._try(Level.POSITION, position, PositionTrigger.ASSIGN)
        elif kind is ChangeKind.CORRECTED:
            self._try(Level.POSITION, position, PositionTrigger.CLOSED_OUTSIDE)
        self._try(Level.POSITION, position, PositionTrigger.CLOSED)

    def _rest(self, group: OrderGroup) -> None:
        """An order that never left: its position is what it was before."""
        if group.purpose is OrderPurpose.ENTRY:
            self._try(Level.POSITION, group.position, PositionTrigger.ABANDON)
        elif self._state.position(group.position).state != PositionState.UNWINDING:  # else another part of it still is
            self._try(Level.POSITION, group.position, PositionTrigger.KEEP)
        self._strategy(group.strategy)

    def _strategy(self, strategy: str) -> None:
        """Bring a strategy to holding, entering or idle, by what is open of it."""
        own = [row for row in self._state.positions() if row.parent == strategy]
        opening = any(row.state in (PositionState.PLANNED, PositionState.OPENING) for row in own)
        state = StrategyState(self._state.strategy(strategy).state)
        if opening:
            return
        if own:
            self._try(Level.STRATEGY, strategy, StrategyTrigger.ENTERED)
            if not any(row.state == PositionState.CLOSING for row in own):
                self._try(Level.STRATEGY, strategy, StrategyTrigger.KEEP)
        elif state in (StrategyState.ENTERING, StrategyState.WAITING):
            self._try(Level.STRATEGY, strategy, StrategyTrigger.ABANDON)
            self._try(Level.STRATEGY, strategy, StrategyTrigger.SKIP)
        else:
            self._try(Level.STRATEGY, strategy, StrategyTrigger.EXITED)

    def shares(self) -> None:
        """Keep what assignments left over restarts: ticker to quantity, price and cash."""
        rows = {row.ticker: [row.quantity, row.price, row.cash] for row in self._book.shares.values()}
        if rows or self._state.recall(SHARES):
            self._state.remember(SHARES, rows)

    def _try(self, level: Level, subject: str, trigger: _Trigger, **detail: object) -> bool:
        """Fire where the state knows the trigger; whether it did. What another room did first is no error here."""
        if self._state.may(level, subject, trigger) is not None:
            return False
        self._state.fire(level, subject, trigger, **detail)
        return True


def _fills(group: OrderGroup) -> dict[str, object]:
    """What a group filled by contract: signed contracts, dollars, fees, and how many have a known price and a fee."""
    traded = {name: fill for name, fill in group.fills.items() if abs(fill.quantity) > 0.5}
    return {
        "filled": {name: fill.quantity for name, fill in traded.items()},
        "cash": {name: fill.cash - fill.guess for name, fill in traded.items()},
        "fees": {name: fill.fees for name, fill in traded.items()},
        "priced": {name: fill.quantity - fill.unpriced for name, fill in traded.items()},
        "charged": {name: fill.quantity for name, fill in traded.items()},
    }


# Written as plain values, and read back


def describe_package(package: Package) -> list[dict[str, Any]]:
    """Legs as plain values, for the journal and for the store."""
    return [
        {
            "name": leg.contract.name,
            "root": leg.contract.root,
            "expiry": leg.contract.expiry.isoformat(),
            "strike": leg.contract.strike,
            "right": leg.contract.right.value,
            "ratio": leg.ratio,
        }
        for leg in package.legs
    ]


def rebuild_package(rows: Sequence[Mapping[str, Any]]) -> Package:
    """The package that ``describe_package`` wrote; its contracts have no gateway handle until they are listed again.

    Raises CorruptStoreError for values that no package has.
    """
    legs = []
    try:
        for row in rows:
            instrument = INSTRUMENTS[str(row["root"])]
            expiry = date.fromisoformat(str(row["expiry"]))
            contract = instrument.contract(expiry, _finite(row["strike"]), Right(str(row["right"])))
            legs.append(Leg(contract, _whole(row["ratio"])))
        return Package(tuple(legs))
    except UNREADABLE as error:
        raise CorruptStoreError(f"package {str(rows)[:80]}: {type(error).__name__}: {error}") from error


def rebuild_terms(row: Mapping[str, Any]) -> Terms:
    """The terms that were written as plain values."""
    traits = frozenset(Trait(str(trait)) for trait in row["traits"])
    return Terms(str(row["strategy"]), str(row["structure"]), _finite(row["max_loss"]), _finite(row["margin"]), traits)


def describe_plans(plans: Sequence[PartPlan]) -> list[dict[str, Any]]:
    """What an entry opens, part by part."""
    return [{"name": plan.name, "package": describe_package(plan.package), "terms": plan.terms} for plan in plans]


def rebuild_plans(rows: Sequence[Mapping[str, Any]]) -> tuple[PartPlan, ...]:
    """The parts that ``describe_plans`` wrote."""
    return tuple(
        PartPlan(str(row["name"]), rebuild_package(list(row["package"])), rebuild_terms(row["terms"])) for row in rows
    )


def describe_parts(position: Position) -> dict[str, dict[str, Any]]:
    """The open parts of a position by name, in order."""
    return {
        part.name: {
            "package": describe_package(part.package),
            "contracts": part.contracts,
            "opened": part.opened,
            "entry_prices": part.entry_prices,
            "entry_cash": part.entry_cash,
            "entry_fees": part.entry_fees,
            "terms": part.terms,
            "exits": {name: [gone.quantity, gone.cash, gone.fees] for name, gone in part.exits.items()},
            "exit_rule": part.exit_rule,
            "exit_reason": part.exit_reason,
        }
        for part in position.parts
    }


def describe_realised(position: Position) -> dict[str, list[Any]]:
    """What the closed parts of a position brought, by name."""
    return {name: [row.cash, row.fees, row.count] for name, row in position.realised.items()}


def rebuild_position(subject: Subject) -> Position | None:
    """An open position out of what its state remembers; ``None`` for one of which no part is open.

    Raises CorruptStoreError for values that no position has.
    """
    detail = dict(subject.detail)
    if not detail.get("parts"):
        return None
    try:
        parts = tuple(_part(str(name), row) for name, row in detail["parts"].items())
        realised = {
            str(name): Realised(_number(row[0]), _finite(row[1]), _whole(row[2]))
            for name, row in detail.get("realised", {}).items()
        }
        return Position(
            id=subject.id,
            strategy=subject.parent,
            opened=datetime.fromisoformat(str(detail.get("opened", subject.created.isoformat()))),
            parts=parts,
            correlation=str(detail.get("correlation", "")),
            realised=realised,
            spot_entry=_number(detail.get("spot_entry")),
            vix_entry=_number(detail.get("vix_entry")),
            slot=str(detail.get("slot", "")),
        )
    except UNREADABLE as error:
        raise CorruptStoreError(f"position {subject.id}: {type(error).__name__}: {error}") from error


def _part(name: str, row: Mapping[str, Any]) -> Part:
    return Part(
        name=name,
        package=rebuild_package(list(row["package"])),
        contracts=_whole(row["contracts"]),
        opened=datetime.fromisoformat(str(row["opened"])),
        entry_prices=tuple(_finite(price) for price in row["entry_prices"]),
        entry_cash=_finite(row["entry_cash"]),
        entry_fees=_finite(row["entry_fees"]),
        terms=rebuild_terms(row["terms"]),
        exits={
            str(leg): LegExit(_finite(gone[0]), _number(gone[1]), _finite(gone[2]))
            for leg, gone in row["exits"].items()
        },
        exit_rule=str(row["exit_rule"]),
        exit_reason=str(row["exit_reason"]),
    )


def describe_trade(trade: ClosedTrade) -> list[Any]:
    """A closed trade as a row of plain values."""
    times, ended = [trade.opened, trade.closed], [trade.part, trade.ended, trade.rule]
    return [trade.strategy, trade.position, *times, trade.profit, trade.max_loss, trade.fees, *ended]


def rebuild_trade(row: Sequence[Any]) -> ClosedTrade:
    """The trade that ``describe_trade`` wrote. Raises CorruptStoreError for values that no trade has."""
    try:
        strategy, position, opened, closed, profit, max_loss, fees, part, ended, *rule = row  # of before: none
        start, end = datetime.fromisoformat(str(opened)), datetime.fromisoformat(str(closed))
        figures = (_number(profit), _finite(max_loss), _finite(fees))
        over = (str(part), bool(ended), str(rule[0]) if rule else "")
        return ClosedTrade(str(strategy), str(position), start, end, *figures, *over)
    except UNREADABLE as error:
        raise CorruptStoreError(f"trade {str(row)[:80]}: {type(error).__name__}: {error}") from error


def rebuild_numbers(name: str, memory: object, count: int) -> dict[str, tuple[float | None, ...]]:
    """Rows of numbers by name that the state remembers. Raises CorruptStoreError for anything else."""
    if memory is None:
        return {}
    if not isinstance(memory, Mapping):
        raise CorruptStoreError(f"{name} {str(memory)[:80]}: expected numbers by name")
    try:
        rows = {str(key): tuple(_number(value) for value in row) for key, row in memory.items()}
    except UNREADABLE as error:
        raise CorruptStoreError(f"{name} {str(memory)[:80]}: {type(error).__name__}: {error}") from error
    if any(len(row) != count or row[0] is None for row in rows.values()):
        raise CorruptStoreError(f"{name} {str(memory)[:80]}: expected {count} numbers by name")
    return rows


def _number(value: object) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{str(value)[:40]!r} is no whole number")
    return value

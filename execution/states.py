"""Writes the life of order groups, positions and strategies into the state: what belongs together in one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.book import Book
from core.contracts import Package
from core.events import ChangeKind, GroupOutcome, Level
from execution.groups import Change, OrderGroup
from execution.records import (
    describe_package,
    describe_parts,
    describe_plans,
    describe_realised,
    describe_trade,
)
from state.errors import StateError
from state.facts import SHARES, changes_of, instruments_of
from state.manager import HierarchicalStateManager, OpenIntent
from state.tables import (
    OrderPurpose,
    OrderTrigger,
    PositionState,
    PositionTrigger,
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

    def filled_some(self, group: OrderGroup) -> None:
        """Something of the group filled: what, for how much, and at which fees."""
        self.step(group, OrderTrigger.FILL_PART, **_fills(group))

    # What became of it

    def refused(self, group: OrderGroup) -> None:
        """The group never left: forget it and what it was for."""
        with self._state.together():
            self.step(group, OrderTrigger.ABANDON)
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
        for name, quantity in group.filled.items():
            held[name] = held.get(name, 0.0) + quantity
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
        """Something left the account without an order of ours: expired, was assigned, was closed by hand.

        ``counted``: the position's holdings know it already.
        """
        with self._state.together():
            held = {**self._state.position(change.after.id).detail.get("corrections", {})}
            for name, quantity in ({} if counted else change.held or {}).items():
                held[name] = held.get(name, 0.0) + quantity
            self._state.note(Level.POSITION, change.after.id, corrections={name: by for name, by in held.items() if by})
            self._untold(change.after.id, rows)
            self.changed(change, change.after.id, unwinding, busy)

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
        elif group.purpose is not OrderPurpose.UNWIND:
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

    def strategy_of(self, position: str) -> str:
        """Whose position it is."""
        return self._state.position(position).parent

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
    """What a group filled by contract: signed contracts, dollars and fees, and what of it has a known price."""
    traded = {name: fill for name, fill in group.fills.items() if abs(fill.quantity) > 0.5}
    return {
        "filled": {name: fill.quantity for name, fill in traded.items()},
        "cash": {name: fill.cash for name, fill in traded.items()},
        "fees": {name: fill.fees for name, fill in traded.items()},
        "priced": {name: fill.quantity for name, fill in traded.items() if fill.priced},
    }

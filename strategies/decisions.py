"""Which entries are decided and which are on their way: one ``decision`` row a day for each, also over restarts.

Live, a decision is remembered before its row is journalled and marked after it, so a kill in between leaves it to the
next process; an entry on its way is remembered before its order leaves, so that the next process decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from core.factory import Manager
from core.gateway import Gateway
from core.journal import Journal, RecordKind, as_json
from state.ledger import Subject
from state.manager import HierarchicalStateManager
from state.tables import OrderGroupState, OrderPurpose, PositionState
from strategies.base import watch_name

MEMORY: Final = "entries"
"""Under which name the state keeps it."""
ROLLED: Final = "roll"
"""The window of what takes the place of parts that went."""
_KEPT: Final = timedelta(days=7)


class Key(NamedTuple):
    """Which entry: each has a decision of its own every day that it falls on."""

    strategy: str
    window: str
    slot: str = ""

    @property
    def user(self) -> str:
        """Under which name the contracts that it looks at are watched."""
        return watch_name(*self)


@dataclass(frozen=True, slots=True)
class Sent:
    """An entry on its way, to be decided by what becomes of it; ``position`` is what it opens or adds to.

    ``reason`` and ``spot`` (points) are its proposal's.
    """

    position: str
    key: Key
    day: date
    contracts: int
    correlation: str
    reason: str
    spot: float | None


class DecisionRecord(Manager):
    """What is decided, by entry and day; live it outlives the process."""

    def __init__(self, state: HierarchicalStateManager, journal: Journal, gateway: Gateway) -> None:
        self._state = state
        self._journal = journal
        self._gateway = gateway
        self._decided: dict[Key, set[date]] = {}
        self._rows: dict[tuple[Key, date], dict[str, Any] | None] = {}
        self._sending: dict[Key, Sent] = {}

    def is_decided(self, key: Key, day: date) -> bool:
        """Whether an entry has its row of a day, or is on its way to it."""
        return day in self._decided.get(key, ()) or key in self._sending

    def sending(self, sent: Sent) -> None:
        """An entry is about to leave, or has: its position is empty until it is known."""
        self._sending[sent.key] = sent
        self._keep()

    def taken_back(self, key: Key) -> None:
        """It did not leave."""
        if self._sending.pop(key, None) is not None:
            self._keep()

    def decide(self, key: Key, day: date, row: Mapping[str, object]) -> None:
        """Journal the one row of an entry and a day."""
        self._decided.setdefault(key, set()).add(day)
        self._sending.pop(key, None)
        live = self._gateway.is_live()
        if live:
            self._rows[key, day] = as_json(dict(row))
            self._keep()
        self._tell(row)
        if live:
            self._rows[key, day] = None
            self._keep()

    def _tell(self, row: Mapping[str, object]) -> None:
        self._journal.record(RecordKind.DECISION, component="coordinator", **row)  # type: ignore[arg-type]

    # Over restarts

    def _keep(self) -> None:
        if not self._gateway.is_live():
            return
        oldest = self._gateway.now().date() - _KEPT
        self._rows = {which: row for which, row in self._rows.items() if which[1] >= oldest}
        decided = [{"key": list(key), "day": day.isoformat(), "row": row} for (key, day), row in self._rows.items()]
        sending = [
            {
                "position": sent.position,
                "key": list(sent.key),
                "day": sent.day.isoformat(),
                "contracts": sent.contracts,
                "correlation": sent.correlation,
                "reason": sent.reason,
                "spot": sent.spot,
            }
            for sent in self._sending.values()
        ]
        self._state.remember(MEMORY, {"decided": decided, "sending": sending})

    def restore(self) -> list[Sent]:
        """Take over from the last process: rows that the journal may lack are told; what is on its way is given."""
        kept = self._state.recall(MEMORY) or {"decided": (), "sending": ()}
        for entry in kept["decided"]:
            key, day, row = Key(*entry["key"]), date.fromisoformat(entry["day"]), entry["row"]
            self._decided.setdefault(key, set()).add(day)
            self._rows[key, day] = None
            if row is not None:
                self._tell(row)
        for row in kept["sending"]:
            key = Key(*row["key"])
            position = row["position"] or self._position_of(row["correlation"], key)
            if position:
                rest = {name: row[name] for name in ("contracts", "correlation", "reason", "spot")}
                self._sending[key] = Sent(position, key, date.fromisoformat(row["day"]), **rest)
        self._keep()
        return list(self._sending.values())

    def _position_of(self, correlation: str, key: Key) -> str:
        """The newest position that an entry's order was planned for; none: it never was, or its part is another's."""
        if key.window == ROLLED:  # it carries the correlation of the position that it takes the place of
            return ""
        named = (row.id for row in self._state.positions(ended=True) if _is_for(row, correlation, key.strategy))
        return next(reversed(list(named)), "")

    def outcome(self, sent: Sent) -> bool | None:
        """Whether an entry of the process before was filled; ``None`` while it is on its way still."""
        groups = [row for row in self._state.order_groups(ended=True) if row.parent == sent.position]
        opening = [row for row in groups if row.detail.get("purpose") in (OrderPurpose.ENTRY, OrderPurpose.ADJUST)]
        if any(not row.ended for row in opening):
            return None
        found = next((row for row in self._state.positions(ended=True) if row.id == sent.position), None)
        if found is not None and found.state in (PositionState.PLANNED, PositionState.OPENING):
            return None
        return bool(opening) and opening[-1].state == OrderGroupState.FILLED


def _is_for(position: Subject, correlation: str, strategy: str) -> bool:
    return position.parent == strategy and position.detail.get("correlation") == correlation

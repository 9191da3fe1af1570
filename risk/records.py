"""Phase and closed trades as the state keeps them, and what a process takes over when it starts.

What is read is checked like a stranger's: a record that cannot be true halts entries and is journalled.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Final

from core.book import Book, ClosedTrade
from core.bus import EventBus
from core.events import ChangeKind, PositionChanged, SessionClosed
from core.factory import Manager
from core.journal import Journal, RecordKind
from core.parts import WHOLE
from core.performance import PerformanceTracker
from risk.emergency import EmergencyProtocol
from risk.equity import PhaseManager
from risk.memory import RiskMemory
from state.manager import HierarchicalStateManager

RECORD: Final = "record"
_TRADES_KEPT = 300
_OLDEST, _NEWEST = 6, 10  # fields of a row: records of before had no fees, then no part, then no exit rule


def write_trade(trade: ClosedTrade) -> list[object]:
    """A trade as JSON types."""
    times, ended = [trade.opened, trade.closed], [trade.part, trade.ended, trade.rule]
    return [trade.strategy, trade.position, *times, trade.profit, trade.max_loss, trade.fees, *ended]


def read_trade(row: object) -> ClosedTrade:
    """A trade of a row. Raises ``ValueError`` for what cannot be one."""
    if not isinstance(row, list) or not _OLDEST <= len(row) <= _NEWEST:
        raise ValueError(f"trade: {repr(row)[:80]}; expected {_OLDEST} to {_NEWEST} fields")
    strategy, position, opened, closed, profit, max_loss, *more = row
    part = more[1] if len(more) > 1 else WHOLE
    ended = more[2] if len(more) > 2 else True
    rule = more[3] if len(more) > 3 else ""
    if not all(isinstance(text, str) for text in (strategy, position, opened, closed, part, rule)):
        raise ValueError(f"trade: {repr(row)[:80]}; expected names and times as text")
    if not isinstance(ended, bool):
        raise ValueError(f"trade: {ended!r}; expected true or false for whether its position ended")
    result = None if profit is None else _amount(profit)
    start, end = datetime.fromisoformat(opened), datetime.fromisoformat(closed)
    fees = _amount(more[0]) if more else 0.0
    return ClosedTrade(strategy, position, start, end, result, _amount(max_loss), fees, part, ended, rule)


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"trade: {repr(value)[:40]}; expected dollars")
    return float(value)


class RiskRecord(Manager):
    """Writes phase and trades when they change; restores all that risk remembers."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        book: Book,
        state: HierarchicalStateManager,
        phases: PhaseManager,
        memory: RiskMemory,
        emergency: EmergencyProtocol,
        performance: PerformanceTracker,
    ) -> None:
        self._performance = performance
        self._bus = bus
        self._journal = journal
        self._book = book
        self._state = state
        self._phases = phases
        self._memory = memory
        self._emergency = emergency
        bus.subscribe(PositionChanged, self._on_position_changed, component="record", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="record", critical=True)

    def restore(self) -> None:
        """Go on with what the last process knew."""
        self._memory.restore()
        self._try("the emergency", self._emergency.restore)
        self._try("the record of trades", self._restore_record)

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            reason, detail = f"{what} cannot be read", f"{type(error).__name__}: {error}"
            self._journal.record(RecordKind.ERROR, component="record", reason=reason, detail=detail)
            self._bus.halt_entries(f"{reason}: {detail}")

    def _restore_record(self) -> None:
        record = self._state.recall(RECORD)
        if record is None:
            return
        if not isinstance(record, dict) or not isinstance(record.get("trades"), list):
            raise ValueError(f"{RECORD}: {repr(record)[:80]}; expected a phase and trades")
        trades = [read_trade(row) for row in record["trades"]]
        self._phases.restore(record.get("phase"))
        self._book.trades.extend(trades)
        if "sums" in record:  # records of before had none: the trades that they kept are all that is known
            self._performance.restore(record["sums"])

    def _on_position_changed(self, event: PositionChanged) -> None:
        """Every closed trade counts after a restart too: the day's, the streak's, the strategy's."""
        if event.kind is not ChangeKind.OPENED:
            self._remember()

    def _on_session_closed(self, _event: SessionClosed) -> None:
        self._remember()

    def _remember(self) -> None:
        trades = [write_trade(trade) for trade in self._book.trades[-_TRADES_KEPT:]]
        sums = self._performance.written()
        self._state.remember(RECORD, {"phase": self._phases.known, "trades": trades, "sums": sums})

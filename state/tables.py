"""The states of the four levels and every transition that is legal, as tables that ``transitions`` runs.

The drawings in ``docs/state.md`` come from these tables: ``python -m state.tables`` writes them.

What state refuses is here too: each error names the subject, what was tried and what would be right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from core.events import Level


class SystemState(StrEnum):
    """What the whole system may do. Only ``normal`` opens anything."""

    STARTING = "starting"
    NORMAL = "normal"
    REDUCING = "reducing"
    HALTED = "halted"
    EMERGENCY = "emergency"
    RECOVERING = "recovering"
    LOCKED = "locked"


class SystemTrigger(StrEnum):
    """What moves the system."""

    RESTART = "restart"  # a new process took over the store
    RECOVER = "recover"  # state is rebuilt, the account is being reconciled
    READY = "ready"  # reconciled, all managers verified
    REDUCE = "reduce"
    RESUME = "resume"
    HALT = "halt"
    EMERGENCY = "emergency"
    LOCK = "lock"
    UNLOCK = "unlock"


class StrategyState(StrEnum):
    """What a strategy is about."""

    IDLE = "idle"
    WAITING = "waiting"
    ENTERING = "entering"
    HOLDING = "holding"
    EXITING = "exiting"
    SUSPENDED = "suspended"


class StrategyTrigger(StrEnum):
    """What moves a strategy."""

    WAIT = "wait"  # its window opened
    SKIP = "skip"  # the window passed without a trade
    ENTER = "enter"
    ENTERED = "entered"
    ABANDON = "abandon"  # the entry was cancelled and nothing else is held
    KEEP = "keep"  # the entry or exit came to nothing, positions are still held
    EXIT = "exit"
    EXITED = "exited"  # nothing is held any more
    SUSPEND = "suspend"
    RESUME = "resume"
    RESUME_HOLDING = "resume_holding"


class PositionState(StrEnum):
    """The life of what a strategy opened; its parts come and go while it is open."""

    PLANNED = "planned"
    OPENING = "opening"
    OPEN = "open"
    ADJUSTING = "adjusting"
    CLOSING = "closing"
    CLOSED = "closed"
    ASSIGNED = "assigned"
    EXPIRED = "expired"
    UNWINDING = "unwinding"


class PositionTrigger(StrEnum):
    """What moves a position."""

    OPEN = "open"
    OPENED = "opened"
    ABANDON = "abandon"  # the entry left nothing behind
    ADJUST = "adjust"
    ADJUSTED = "adjusted"
    CLOSE = "close"
    KEEP = "keep"  # what was under way is over, and something is still held
    CLOSED = "closed"
    CLOSED_OUTSIDE = "closed_outside"  # a person closed it at the broker
    ASSIGN = "assign"
    EXPIRE = "expire"
    UNWIND = "unwind"  # the package is broken and what is left must go
    REOPEN = "reopen"  # a fill came after its end: the broker is right about facts


class OrderGroupState(StrEnum):
    """The life of all orders of one package, sent together."""

    PLANNED = "planned"
    SENT = "sent"
    WORKING = "working"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNWINDING = "unwinding"
    UNWOUND = "unwound"


class OrderTrigger(StrEnum):
    """What moves an order group."""

    SEND = "send"
    ABANDON = "abandon"  # never sent
    ACKNOWLEDGE = "acknowledge"
    REPRICE = "reprice"
    FILL_PART = "fill_part"
    FILL = "fill"
    CANCEL = "cancel"
    CANCELLED = "cancelled"
    REJECT = "reject"
    UNWIND = "unwind"
    UNWOUND = "unwound"


class OrderPurpose(StrEnum):
    """Why an order group is sent; only entries are gated by the system's state."""

    ENTRY = "entry"
    ADJUST = "adjust"
    EXIT = "exit"
    UNWIND = "unwind"


State = SystemState | StrategyState | PositionState | OrderGroupState
Trigger = SystemTrigger | StrategyTrigger | PositionTrigger | OrderTrigger


@dataclass(frozen=True, slots=True)
class Gate:
    """A trigger that the parent's state must allow: the trigger of a child, and the parent's states that allow it."""

    parent: Level
    allowed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Table:
    """One level: its states, triggers, first state, rows ``(trigger, sources, destination)`` and the gates above."""

    level: Level
    states: type[SystemState] | type[StrategyState] | type[PositionState] | type[OrderGroupState]
    triggers: type[SystemTrigger] | type[StrategyTrigger] | type[PositionTrigger] | type[OrderTrigger]
    initial: State
    rows: tuple[tuple[Trigger, tuple[State, ...], State], ...]
    gates: dict[str, tuple[Gate, ...]]
    terminal: frozenset[str]

    def pairs(self) -> Iterator[tuple[str, str, str]]:
        """Every legal step: state, trigger, next state."""
        for trigger, sources, destination in self.rows:
            for source in sources:
                yield source.value, trigger.value, destination.value


_S, _ST = SystemState, SystemTrigger
_SYSTEM = Table(
    level=Level.SYSTEM,
    states=SystemState,
    triggers=SystemTrigger,
    initial=_S.STARTING,
    rows=(
        (_ST.RESTART, (_S.STARTING, _S.NORMAL, _S.RECOVERING), _S.STARTING),
        (_ST.RECOVER, (_S.STARTING,), _S.RECOVERING),
        (_ST.READY, (_S.STARTING, _S.RECOVERING), _S.NORMAL),
        (_ST.REDUCE, (_S.NORMAL, _S.RECOVERING), _S.REDUCING),
        (_ST.RESUME, (_S.REDUCING,), _S.NORMAL),
        (_ST.RESUME, (_S.HALTED, _S.EMERGENCY), _S.RECOVERING),
        (_ST.HALT, (_S.STARTING, _S.NORMAL, _S.REDUCING, _S.RECOVERING, _S.EMERGENCY), _S.HALTED),
        (_ST.EMERGENCY, (_S.STARTING, _S.NORMAL, _S.REDUCING, _S.HALTED, _S.RECOVERING), _S.EMERGENCY),
        (_ST.LOCK, (_S.EMERGENCY, _S.HALTED), _S.LOCKED),
        (_ST.UNLOCK, (_S.LOCKED,), _S.RECOVERING),
    ),
    gates={},
    terminal=frozenset(),
)

_ENTRY = frozenset({SystemState.NORMAL.value})

_G, _GT = StrategyState, StrategyTrigger
_STRATEGY = Table(
    level=Level.STRATEGY,
    states=StrategyState,
    triggers=StrategyTrigger,
    initial=_G.IDLE,
    rows=(
        (_GT.WAIT, (_G.IDLE,), _G.WAITING),
        (_GT.SKIP, (_G.WAITING,), _G.IDLE),
        (_GT.ENTER, (_G.IDLE, _G.WAITING, _G.HOLDING), _G.ENTERING),
        (_GT.ENTERED, (_G.ENTERING,), _G.HOLDING),
        (_GT.ABANDON, (_G.ENTERING,), _G.IDLE),
        (_GT.KEEP, (_G.ENTERING, _G.EXITING, _G.WAITING, _G.IDLE), _G.HOLDING),
        (_GT.EXIT, (_G.HOLDING, _G.ENTERING), _G.EXITING),
        (_GT.EXITED, (_G.EXITING, _G.HOLDING), _G.IDLE),
        (_GT.SUSPEND, (_G.IDLE, _G.WAITING, _G.ENTERING, _G.HOLDING, _G.EXITING), _G.SUSPENDED),
        (_GT.RESUME, (_G.SUSPENDED,), _G.IDLE),
        (_GT.RESUME_HOLDING, (_G.SUSPENDED,), _G.HOLDING),
    ),
    gates={_GT.ENTER.value: (Gate(Level.SYSTEM, _ENTRY),)},
    terminal=frozenset(),
)

_P, _PT = PositionState, PositionTrigger
_HELD = (_P.OPEN, _P.ADJUSTING, _P.CLOSING, _P.UNWINDING)
_NOT_SUSPENDED = frozenset(state.value for state in StrategyState if state is not StrategyState.SUSPENDED)
_POSITION = Table(
    level=Level.POSITION,
    states=PositionState,
    triggers=PositionTrigger,
    initial=_P.PLANNED,
    rows=(
        (_PT.OPEN, (_P.PLANNED,), _P.OPENING),
        (_PT.ABANDON, (_P.PLANNED, _P.OPENING), _P.CLOSED),
        (_PT.OPENED, (_P.OPENING,), _P.OPEN),
        (_PT.ADJUST, (_P.OPEN,), _P.ADJUSTING),
        (_PT.ADJUSTED, (_P.ADJUSTING,), _P.OPEN),
        (_PT.CLOSE, (_P.OPEN, _P.ADJUSTING, _P.ASSIGNED), _P.CLOSING),
        (_PT.KEEP, (_P.CLOSING, _P.ADJUSTING, _P.UNWINDING), _P.OPEN),
        (_PT.UNWIND, (_P.OPENING, _P.OPEN, _P.ADJUSTING, _P.CLOSING, _P.ASSIGNED), _P.UNWINDING),
        (_PT.CLOSED, (_P.OPEN, _P.ADJUSTING, _P.CLOSING, _P.UNWINDING, _P.ASSIGNED), _P.CLOSED),
        (_PT.CLOSED_OUTSIDE, (_P.OPENING, *_HELD, _P.ASSIGNED), _P.CLOSED),
        (_PT.ASSIGN, _HELD, _P.ASSIGNED),
        (_PT.EXPIRE, _HELD, _P.EXPIRED),
        (_PT.REOPEN, (_P.CLOSED, _P.EXPIRED), _P.OPEN),
    ),
    gates={
        _PT.OPEN.value: (Gate(Level.SYSTEM, _ENTRY), Gate(Level.STRATEGY, _NOT_SUSPENDED)),
        _PT.ADJUST.value: (Gate(Level.SYSTEM, _ENTRY), Gate(Level.STRATEGY, _NOT_SUSPENDED)),
    },
    terminal=frozenset({_P.CLOSED.value, _P.EXPIRED.value}),
)

_O, _OT = OrderGroupState, OrderTrigger
_LIVE = (_O.SENT, _O.WORKING, _O.PARTLY_FILLED, _O.CANCELLING)
_ORDER_GROUP = Table(
    level=Level.ORDER_GROUP,
    states=OrderGroupState,
    triggers=OrderTrigger,
    initial=_O.PLANNED,
    rows=(
        (_OT.SEND, (_O.PLANNED,), _O.SENT),
        (_OT.SEND, (_O.PARTLY_FILLED,), _O.PARTLY_FILLED),  # the next order of a larger package
        (_OT.ABANDON, (_O.PLANNED,), _O.CANCELLED),
        (_OT.ACKNOWLEDGE, (_O.SENT,), _O.WORKING),
        (_OT.REPRICE, (_O.SENT, _O.WORKING), _O.WORKING),
        (_OT.REPRICE, (_O.PARTLY_FILLED,), _O.PARTLY_FILLED),
        (_OT.REPRICE, (_O.UNWINDING,), _O.UNWINDING),
        (_OT.FILL_PART, (_O.SENT, _O.WORKING, _O.PARTLY_FILLED), _O.PARTLY_FILLED),
        (_OT.FILL_PART, (_O.CANCELLING,), _O.CANCELLING),
        (_OT.FILL_PART, (_O.UNWINDING,), _O.UNWINDING),
        (_OT.FILL, _LIVE, _O.FILLED),
        (_OT.CANCEL, (_O.SENT, _O.WORKING, _O.PARTLY_FILLED), _O.CANCELLING),
        (_OT.CANCELLED, _LIVE, _O.CANCELLED),
        (_OT.REJECT, (_O.PLANNED, *_LIVE), _O.REJECTED),
        (_OT.UNWIND, (_O.PARTLY_FILLED, _O.CANCELLING, _O.CANCELLED, _O.REJECTED), _O.UNWINDING),
        (_OT.UNWOUND, (_O.UNWINDING,), _O.UNWOUND),
    ),
    gates={},
    terminal=frozenset({_O.FILLED.value, _O.CANCELLED.value, _O.REJECTED.value, _O.UNWOUND.value}),
)

ENTRY_GATE = (Gate(Level.SYSTEM, _ENTRY),)
"""What must hold above for an order group that enters (``purpose="entry"``) to be sent; exits are never gated."""

TABLES: dict[Level, Table] = {table.level: table for table in (_SYSTEM, _STRATEGY, _POSITION, _ORDER_GROUP)}


@cache
def machine(level: Level) -> Any:
    """The ``transitions`` machine of a level, without a model: subjects are moved through it one at a time."""
    from transitions import Machine

    table = TABLES[level]
    rows = [
        {"trigger": trigger.value, "source": [state.value for state in sources], "dest": destination.value}
        for trigger, sources, destination in table.rows
    ]
    return Machine(
        model=None,
        states=[state.value for state in table.states],
        transitions=rows,
        initial=table.initial.value,
        auto_transitions=False,
    )


def destination_of(level: Level, state: str, trigger: str) -> str | None:
    """Where ``trigger`` leads from ``state``; ``None`` where it is illegal."""
    found = machine(level).get_transitions(trigger=trigger, source=state)
    return str(found[0].dest) if found else None


def legal_triggers(level: Level, state: str) -> tuple[str, ...]:
    """Triggers that ``state`` knows, in the order of the table."""
    return tuple(dict.fromkeys(name for source, name, _ in TABLES[level].pairs() if source == state))


def draw(level: Level) -> str:
    """Markdown of one level: a state diagram (mermaid) and its table."""
    table = TABLES[level]
    steps = list(table.pairs())
    lines = [f"## {level.value.replace('_', ' ').capitalize()}", "", "```mermaid", "stateDiagram-v2"]
    lines.append(f"    [*] --> {table.initial.value}")
    lines += [f"    {source} --> {destination}: {trigger}" for source, trigger, destination in steps]
    lines += [f"    {state.value} --> [*]" for state in table.states if state.value in table.terminal]
    lines += ["```", "", "| state | trigger | next state | needs above |", "|---|---|---|---|"]
    for source, trigger, destination in steps:
        gates = "; ".join(
            f"{gate.parent.value} in {', '.join(sorted(gate.allowed))}" for gate in table.gates.get(trigger, ())
        )
        lines.append(f"| {source} | {trigger} | {destination} | {gates} |")
    return "\n".join(lines) + "\n"


def draw_all() -> str:
    """The four levels in order, as they stand in ``docs/state.md`` between its two marks."""
    return "\n".join(draw(level) for level in Level)


if __name__ == "__main__":
    sys.stdout.write(draw_all())


class StateError(RuntimeError):
    """Anything that state refuses."""


class IllegalTransitionError(StateError):
    """A trigger that the subject's state does not know."""

    def __init__(self, level: Level, subject: str, state: str, trigger: str, legal: tuple[str, ...]) -> None:
        self.level, self.subject, self.state, self.trigger, self.legal = level, subject, state, trigger, legal
        choices = ", ".join(legal) or "nothing, it has ended"
        super().__init__(f"{level.value} {subject}: {trigger!r} in state {state!r}; legal: {choices}")


class GatedTransitionError(StateError):
    """A trigger that the state above forbids."""

    def __init__(self, level: Level, subject: str, trigger: str, above: str, allowed: tuple[str, ...]) -> None:
        self.level, self.subject, self.trigger, self.above, self.allowed = level, subject, trigger, above, allowed
        super().__init__(f"{level.value} {subject}: {trigger!r} while {above}; allowed while {', '.join(allowed)}")


class PendingIntentError(StateError):
    """A second trigger while an intent of the subject is written and not completed."""


class UnknownSubjectError(StateError):
    """Nobody by that name at that level."""


class DuplicateSubjectError(StateError):
    """A name that is already taken at that level."""


class DuplicateIntentError(StateError):
    """The same intent (fingerprint) is already known; it is never sent twice."""


class UnkeptStateError(StateError):
    """An entry while the state cannot be kept where it outlives the machine; nothing was sent."""


class StoreError(StateError):
    """The store cannot be used; the message names the key and the way out."""


class UnwrittenError(StoreError):
    """The disk did not take a record; nothing of it is there."""


class StoreLockedError(StoreError):
    """Another process works on the store."""


class CorruptStoreError(StoreError):
    """A record that is not the last one is damaged, or a part is missing."""


class NewerSchemaError(StoreError):
    """The store was written by a newer version of the program."""

"""What people may say, and what becomes of it; ``reconcile`` is recovery's and only answered here.

Every command is answered, journalled and safe to repeat. ``resume`` lifts one thing at a time, the first that a person
may lift or the one that is named: a halt (and an emergency of one's own, once everything is closed), a reduction, the
drawdown's disabling, a strategy suspended by its record. A lock of time stays; the drawdown's peak is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from core.book import Book, OrderDesk
from core.bus import EventBus
from core.events import Command, CommandAnswered, CommandReceived, Level
from core.journal import Journal, RecordKind
from risk.emergency import EmergencyProtocol
from risk.status import RiskStatus
from state.ledger import SYSTEM_ID
from state.manager import HierarchicalStateManager
from state.tables import SystemState, SystemTrigger

LONGEST_SUBJECT: Final = 200


class CommandDesk:
    """Takes commands and answers them."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        book: Book,
        state: HierarchicalStateManager,
        desk: OrderDesk,
        emergency: EmergencyProtocol,
        status: RiskStatus,
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._book = book
        self._state = state
        self._desk = desk
        self._emergency = emergency
        self._status = status
        self._acts: dict[Command, Callable[[CommandReceived], tuple[bool, str]]] = {
            Command.HALT: self._halt,
            Command.RESUME: self._resume,
            Command.REDUCE: self._reduce,
            Command.CLOSE_ALL: self._close_all,
            Command.RECONCILE: lambda event: (True, "the account is being reconciled"),
            Command.STATUS: lambda event: (True, status.text(event.time)),
            Command.EXPLAIN: self._explain,
        }
        bus.subscribe(CommandReceived, self._on_command, component="commands", critical=True)

    def _on_command(self, event: CommandReceived) -> None:
        if len(event.subject) > LONGEST_SUBJECT:
            accepted, answer = False, f"the subject has {len(event.subject)} characters; at most {LONGEST_SUBJECT}"
        else:
            accepted, answer = self._acts[event.command](event)
        self._journal.record(
            RecordKind.COMMAND,
            component="commands",
            reason=event.command.value,
            subject=event.subject[:LONGEST_SUBJECT],
            accepted=accepted,
            answer=answer,
            positions=sorted(self._book.positions),
            orders=self._desk.why(),
        )
        self._bus.publish(
            CommandAnswered(
                time=event.time,
                command=event.command,
                subject=event.subject[:LONGEST_SUBJECT],
                accepted=accepted,
                answer=answer,
            )
        )

    def _halt(self, event: CommandReceived) -> tuple[bool, str]:
        before = self._bus.entries_halted
        self._bus.halt_entries("a person said halt")
        self._desk.cancel_entries("halt")
        return True, "entries are halted" if before is None else f"entries were halted already: {before}"

    def _reduce(self, event: CommandReceived) -> tuple[bool, str]:
        """Nothing new; what is held is managed to its end."""
        self._desk.cancel_entries("reduce")
        refused = self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.REDUCE)
        if refused is None:
            self._state.fire_system(SystemTrigger.REDUCE, reason="a person said reduce")
            return True, "nothing new opens; what is held is managed to its end"
        return True, f"nothing opens already: the system is {self._state.system.value}"

    def _close_all(self, event: CommandReceived) -> tuple[bool, str]:
        self._bus.halt_entries("a person said close_all")
        self._emergency.close_all(event.time)
        left = self._emergency.person_waits
        return True, f"closing {', '.join(left)}, asked again each minute until gone" if left else "nothing is held"

    def _resume(self, event: CommandReceived) -> tuple[bool, str]:
        waiting = self._emergency.person_waits
        if waiting:
            return False, f"close_all is not done: {', '.join(waiting)}"
        lifts = {
            "halt": self._lift_halt,
            "reduce": self._lift_reduction,
            "drawdown": self._status.reset_drawdown,
        }
        word = event.subject.strip().lower()
        chosen = [lift for name, lift in lifts.items() if word in ("", name)]
        chosen += [lambda: self._status.resume_strategy(word)]
        lifted = next((said for lift in chosen if (said := lift()) is not None), None)
        stays = "; ".join(self._status.time_locks())
        if lifted is None:
            what = f"{word!r} is nothing that a person may lift now" if word else "there is nothing to lift"
            return False, f"{what}; it stays: {stays}" if stays else what
        return True, f"{lifted}; it stays: {stays}" if stays else lifted

    def _lift_halt(self) -> str | None:
        halted = self._bus.entries_halted
        if halted is None and self._state.system not in (SystemState.HALTED, SystemState.EMERGENCY):
            return None
        if self._state.system is SystemState.EMERGENCY and self._status.wants_everything():
            return None  # a rule's emergency ends by its rule
        self._emergency.person_resumed()
        self._bus.resume_entries()
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.RESUME) is None:
            self._state.fire_system(SystemTrigger.RESUME, reason="a person resumed")
        self._ready()
        return f"lifted the halt: {halted or self._state.system.value}"

    def _lift_reduction(self) -> str | None:
        if self._state.system is not SystemState.REDUCING:
            return None
        self._state.fire_system(SystemTrigger.RESUME, reason="a person resumed")
        return "lifted the reduction"

    def _ready(self) -> None:
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.READY) is None:
            self._state.fire_system(SystemTrigger.READY, reason="a person resumed")

    def _explain(self, event: CommandReceived) -> tuple[bool, str]:
        """What is known now of a position, an order group or a strategy."""
        word = event.subject.strip()
        lines = [line for line in self._desk.why() if word and word in line]
        lines += self._status.about(word, event.time) if word else ["name a position, an order group or a strategy"]
        return bool(lines) and bool(word), "\n".join(lines) or f"nothing is known of {word!r}"

    def verify(self) -> tuple[str, ...]:
        """Every command has its answer."""
        return tuple(f"command {word.value} has no answer" for word in Command if word not in self._acts)

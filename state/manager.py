"""The one keeper of state: four levels, each a transition table, written before it is acted on and again when done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Final

from core.bus import EventBus
from core.clock import MarketClock
from core.events import EntriesAllowed, EntriesHalted, Level, StateTransition
from core.journal import Journal, RecordKind, as_json
from state.facts import check_detail
from state.ledger import SYSTEM_ID, Ledger, Subject
from state.store import UNREADABLE, Loaded, Record, StateStore
from state.tables import (
    ENTRY_GATE,
    TABLES,
    CorruptStoreError,
    DuplicateIntentError,
    DuplicateSubjectError,
    Gate,
    GatedTransitionError,
    IllegalTransitionError,
    OrderPurpose,
    OrderTrigger,
    PendingIntentError,
    PositionTrigger,
    StrategyTrigger,
    SystemState,
    SystemTrigger,
    Trigger,
    UnkeptStateError,
    UnknownSubjectError,
    UnwrittenError,
    destination_of,
    legal_triggers,
)

KEEP_ENDED: Final = timedelta(days=45)
COMPONENT: Final = "state"

STOPPED: Final = (SystemState.HALTED, SystemState.EMERGENCY, SystemState.LOCKED)

LEVEL_OF: Final[dict[type[Trigger], Level]] = {
    SystemTrigger: Level.SYSTEM,
    StrategyTrigger: Level.STRATEGY,
    PositionTrigger: Level.POSITION,
    OrderTrigger: Level.ORDER_GROUP,
}
_PARENT_LEVEL: Final = {Level.POSITION: Level.STRATEGY, Level.ORDER_GROUP: Level.POSITION}


class OpenIntent:
    """An intent that is written and not completed: ``with state.intent(...) as intent``.

    Leaving the block completes it with what was ``note``d. ``withdraw`` says that the act surely did not happen. An
    exception leaves it pending: whether the act happened is then for the reconciliation to find out.
    """

    def __init__(self, manager: HierarchicalStateManager, subject: Subject) -> None:
        self._manager = manager
        self._subject = subject
        self._detail: dict[str, Any] = {}
        self._withdrawn: str | None = None

    def note(self, **detail: object) -> None:
        """Detail that the completion will carry, such as the broker's order numbers."""
        self._detail.update(detail)

    def withdraw(self, reason: str) -> None:
        """The act did not happen; the subject stays in its state."""
        self._withdrawn = reason

    def __enter__(self) -> OpenIntent:
        self._manager.acting += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subject = self._subject
        self._manager.acting -= 1
        if self._withdrawn is not None:
            self._manager.withdraw(subject.level, subject.id, self._withdrawn, **self._detail)
        elif kind is None:
            self._manager.complete(subject.level, subject.id, **self._detail)


@dataclass(frozen=True, slots=True)
class StartReport:
    """What the store gave back: whether it was new, what was cut off, and intents whose outcome is unknown."""

    fresh: bool
    reports: tuple[str, ...]
    pending: tuple[Subject, ...]


_SYSTEM_STATES = {state.value: state for state in SystemState}


class HierarchicalStateManager:
    """System, strategies, positions and order groups; every change goes through ``fire`` or ``intent``."""

    def __init__(self, store: StateStore, bus: EventBus, clock: MarketClock, journal: Journal) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._journal = journal
        self._ledger = Ledger()
        self._batch: list[Record] | None = None
        self._untold: list[Callable[[], None]] = []
        self.acting = 0
        """Acts that are under way: their intents are written, what became of them is not."""
        self.unkept: str | None = None
        """Why the state could not be saved where it outlives the machine; ``None`` while it is."""
        loaded = store.load()
        self.start_report = self._rebuild(loaded)
        bus.subscribe(EntriesHalted, self._on_entries_halted, component=COMPONENT, critical=True)
        bus.subscribe(EntriesAllowed, self._on_entries_allowed, component=COMPONENT, critical=True)

    # Reading

    @property
    def system(self) -> SystemState:
        """What the whole system may do now."""
        return _SYSTEM_STATES[self._subject(Level.SYSTEM, SYSTEM_ID).state]  # asked at each price: no enum is made

    def strategy(self, name: str) -> Subject:
        """The strategy's subject, created idle at its first mention."""
        found = self._ledger.find(Level.STRATEGY, name)
        return found if found is not None else self.create(Level.STRATEGY, name, SYSTEM_ID)

    def position(self, subject: str) -> Subject:
        """The position; raises ``UnknownSubjectError``."""
        return self._subject(Level.POSITION, subject)

    def order_group(self, subject: str) -> Subject:
        """The order group; raises ``UnknownSubjectError``."""
        return self._subject(Level.ORDER_GROUP, subject)

    def strategies(self) -> tuple[Subject, ...]:
        """Every strategy ever mentioned."""
        return self._ledger.all_of(Level.STRATEGY)

    def positions(self, *, ended: bool = False) -> tuple[Subject, ...]:
        """Positions in the order of creation; those that ended only when asked for."""
        return tuple(item for item in self._ledger.all_of(Level.POSITION) if ended or not item.ended)

    def order_groups(self, *, ended: bool = False) -> tuple[Subject, ...]:
        """Order groups in the order of creation; those that ended only when asked for."""
        return tuple(item for item in self._ledger.all_of(Level.ORDER_GROUP) if ended or not item.ended)

    def pending(self) -> tuple[Subject, ...]:
        """Subjects with an intent that was written and not completed."""
        return tuple(item for item in self._ledger if item.pending is not None)

    def names(self) -> Iterable[str]:
        """Names of all subjects, for ``Identifiers.observe`` after a start."""
        return (subject.id for subject in self._ledger)

    def held(self, position: str) -> dict[str, float]:
        """What the position holds: contract name or ticker to signed quantity, never zero.

        The sum of what its order groups filled, and of what the broker took or gave without an order of ours.
        """
        return self._ledger.held(position)

    def surely_held(self, position: str) -> dict[str, float]:
        """The same less what its orders at work, or of unknown end, may close yet; of the other sign: more than all."""
        return self._ledger.surely_held(position)

    def may(self, level: Level, subject: str, trigger: Trigger) -> str | None:
        """Why ``trigger`` would be refused now; ``None`` when it would be taken."""
        try:
            self._check(self._subject(level, subject), trigger)
        except (IllegalTransitionError, GatedTransitionError, PendingIntentError, UnknownSubjectError) as error:
            return str(error)
        return None

    def recall(self, name: str) -> Any:
        """What was remembered under ``name``, as JSON has it; ``None`` when nothing was."""
        return self._ledger.memory(name)

    # Writing

    def create(self, level: Level, subject: str, parent: str, **detail: object) -> Subject:
        """A new subject in its first state, written.

        ``detail`` of an order group: ``purpose`` (an ``OrderPurpose``) and, for the duplicate guard, ``fingerprint``.
        Raises ``DuplicateSubjectError``, ``DuplicateIntentError``, or ``UnknownSubjectError`` for the parent.
        """
        if self._ledger.find(level, subject) is not None:
            raise DuplicateSubjectError(f"{level.value} {subject}: exists already")
        above = _PARENT_LEVEL.get(level)
        if above is Level.STRATEGY:
            self.strategy(parent)
        elif above is not None:
            self._subject(above, parent)
        fingerprint = detail.get("fingerprint")
        if level is Level.ORDER_GROUP and isinstance(fingerprint, str):
            owner = self._ledger.owner_of(fingerprint)
            if owner is not None:
                raise DuplicateIntentError(f"order group {subject}: {owner} carries the same intent {fingerprint}")
        self._write({"op": "create", "level": level.value, "id": subject, "parent": parent, "detail": detail})
        return self._subject(level, subject)

    def fire(self, level: Level, subject: str, trigger: Trigger, **detail: object) -> Subject:
        """A transition that is its own act: checked, written, then told on the bus.

        Raises ``IllegalTransitionError``, ``GatedTransitionError`` or ``PendingIntentError``; nothing is written then.
        """
        found = self._subject(level, subject)
        after = self._check(found, trigger)
        return self._finish(found, trigger.value, after, detail)

    def fire_system(self, trigger: SystemTrigger, **detail: object) -> Subject:
        """``fire`` for the system as a whole."""
        return self.fire(Level.SYSTEM, SYSTEM_ID, trigger, **detail)

    def intent(self, level: Level, subject: str, trigger: Trigger, **detail: object) -> OpenIntent:
        """Write that ``trigger`` is about to be acted on; the block that follows acts, its end completes.

        What an order rests on is saved before it goes out. Raises ``UnkeptStateError`` for an entry that cannot be.
        """
        found = self._subject(level, subject)
        after = self._check(found, trigger)
        record = {"op": "intent", "level": level.value, "id": subject, "trigger": trigger.value, "to": after}
        self._write({**record, "detail": detail}, first=True)
        if level is Level.ORDER_GROUP:
            self.keep()
            if self.unkept is not None and found.detail.get("purpose") == OrderPurpose.ENTRY:
                self.withdraw(level, subject, self.unkept)
                raise UnkeptStateError(f"{level.value} {subject}: state cannot be kept: {self.unkept}")
        return OpenIntent(self, self._subject(level, subject))

    def keep(self) -> None:
        """Save what was written where it outlives the machine (live); a failure is told once, and so is its end.

        What the disk did not take is written first.
        """
        with contextlib.suppress(UnwrittenError):  # told when it was refused first
            self._store.settle()
        self.remember("journal_owes", self._journal.owed or None)
        failed = self._store.keep()
        if failed == self.unkept:
            return
        told = f"state cannot be kept, entries stop: {failed}" if failed is not None else "state is kept again"
        self.unkept = failed
        self._journal.record(RecordKind.SYSTEM, component=COMPONENT, reason=told)

    def complete(self, level: Level, subject: str, **detail: object) -> Subject:
        """The intended act happened: make the transition. Raises ``PendingIntentError`` when nothing was intended."""
        found = self._subject(level, subject)
        if found.pending is None:
            raise PendingIntentError(f"{level.value} {subject}: no intent is pending in state {found.state!r}")
        intent = found.pending
        return self._finish(found, intent.trigger, intent.destination, {**intent.detail, **detail})

    def withdraw(self, level: Level, subject: str, reason: str, **detail: object) -> Subject:
        """The intended act surely did not happen: stay in the state that was."""
        found = self._subject(level, subject)
        if found.pending is None:
            raise PendingIntentError(f"{level.value} {subject}: no intent is pending in state {found.state!r}")
        self._journal.record(
            RecordKind.TRANSITION,
            component=COMPONENT,
            reason=f"intent withdrawn: {reason}",
            level=level,
            subject=subject,
            trigger=found.pending.trigger,
        )
        self._write({"op": "withdraw", "level": level.value, "id": subject, "detail": {**detail, "withdrawn": reason}})
        return self._subject(level, subject)

    def note(self, level: Level, subject: str, **detail: object) -> Subject:
        """Lay ``detail`` over what is known of a subject, without a transition."""
        self._subject(level, subject)
        self._write({"op": "note", "level": level.value, "id": subject, "detail": detail})
        return self._subject(level, subject)

    def correct_held(self, position: str, held: dict[str, float]) -> Subject:
        """Let the position hold what the broker says, whatever its order groups filled."""
        own = self._ledger.held(position)
        before = self.position(position).detail.get("corrections", {})
        change = {name: held.get(name, 0.0) - own.get(name, 0.0) for name in {**own, **held}}
        corrections = {name: before.get(name, 0.0) + change.get(name, 0.0) for name in {**before, **change}}
        return self.note(Level.POSITION, position, corrections={name: by for name, by in corrections.items() if by})

    def remember(self, name: str, value: object) -> None:
        """Keep a value (JSON types) under a name over restarts, such as the peak of equity. Written when it changed."""
        plain = as_json(value)
        if self._ledger.memory(name) != plain:
            self._write({"op": "memory", "name": name, "value": plain})

    @contextmanager
    def together(self) -> Iterator[None]:
        """Everything fired, noted, created or remembered in the block is one record: all of it is kept, or nothing.

        It is told once it is written. When the block raises, what it did before is written all the same.
        """
        if self._batch is not None:
            yield
            return
        self._batch = []
        try:
            yield
        finally:
            records, self._batch = self._batch, None
            untold, self._untold = self._untold, []
            if records:
                self._hand_over(records[0] if len(records) == 1 else {"op": "batch", "records": records})
            self._snapshot_when_due()
            for tell in untold:
                tell()

    def snapshot(self) -> None:
        """Write everything that still matters, begin a new segment, and forget the rest here as well."""
        record = self._ledger.snapshot(self._clock.now(), KEEP_ENDED)
        self._store.snapshot(record)
        self._ledger.restore(record)

    def start(self) -> StartReport:
        """Take the system over as a new process: to ``recovering``, or left where a person or a risk rule put it."""
        if self.system in (SystemState.NORMAL, SystemState.RECOVERING):
            self.fire_system(SystemTrigger.RESTART)
        if self.system is SystemState.STARTING:
            self.fire_system(SystemTrigger.RECOVER)
        if self.system in (SystemState.HALTED, SystemState.EMERGENCY):  # a lock ends by its own rule, no person needed
            why = self._subject(Level.SYSTEM, SYSTEM_ID).detail.get("reason", "no reason was given")
            self._bus.halt_entries(f"the last process left the system {self.system.value}: {why}")
        for report in self.start_report.reports:
            self._journal.record(RecordKind.SYSTEM, component=COMPONENT, reason=report)
        if lost := self.recall("journal_owes"):
            told = f"the last process ended owing the journal {lost} rows: what they told is in the state alone"
            self._journal.record(RecordKind.SYSTEM, component=COMPONENT, reason=told)
        return self.start_report

    def close(self) -> None:
        """Leave a snapshot behind and let go of the store."""
        self._try_snapshot()
        self.keep()
        self._store.close()

    def abandon(self) -> None:
        """Let go of the store without a word: it is another process's by now."""
        self._store.close()

    def verify(self) -> tuple[str, ...]:
        """Says what the store says, and whether a position or an order group hangs in the air."""
        problems = list(self._store.verify())
        for subject in (*self.positions(), *self.order_groups()):
            above = _PARENT_LEVEL[subject.level]
            if self._ledger.find(above, subject.parent) is None:
                problems.append(f"{subject.level.value} {subject.id}: its {above.value} {subject.parent} is unknown")
        return tuple(problems)

    # Inside

    def _rebuild(self, loaded: Loaded) -> StartReport:
        fresh = loaded.snapshot is None and not loaded.records
        try:
            if loaded.snapshot is not None:
                self._ledger.restore(loaded.snapshot)
            for record in loaded.records:
                self._ledger.apply(record)
            if loaded.upgraded:
                self._ledger.upgrade()
            for subject in self._ledger:
                check_detail(subject.detail)
        except UNREADABLE as error:
            told = f"{type(error).__name__}: {error}"
            raise CorruptStoreError(f"state: a record says what cannot be true ({told}); expected a backup") from error
        if self._ledger.find(Level.SYSTEM, SYSTEM_ID) is None:
            self._write({"op": "create", "level": Level.SYSTEM.value, "id": SYSTEM_ID, "parent": "", "detail": {}})
        if loaded.upgraded:
            self.snapshot()
        return StartReport(fresh, loaded.reports, self.pending())

    def _subject(self, level: Level, subject: str) -> Subject:
        found = self._ledger.find(level, subject)
        if found is None:
            known = ", ".join(item.id for item in self._ledger.all_of(level)[-5:]) or "none"
            raise UnknownSubjectError(f"{level.value} {subject}: unknown; last known: {known}")
        return found

    def _check(self, subject: Subject, trigger: Trigger) -> str:
        """The next state; raises when the trigger is not this level's, illegal, gated, or an intent is pending."""
        level = subject.level
        after = destination_of(level, subject.state, trigger.value) if LEVEL_OF[type(trigger)] is level else None
        if after is None:
            legal = legal_triggers(level, subject.state)
            raise IllegalTransitionError(level, subject.id, subject.state, trigger.value, legal)
        if subject.pending is not None:
            raise PendingIntentError(
                f"{level.value} {subject.id}: {trigger.value!r} while {subject.pending.trigger!r} is pending since"
                f" {subject.pending.time}; complete or withdraw it first"
            )
        for gate in self._gates(subject, trigger):
            above = self._above(subject, gate.parent)
            if above.state not in gate.allowed:
                where = f"{gate.parent.value} {above.id} is {above.state}"
                allowed = tuple(f"{gate.parent.value} is {state}" for state in sorted(gate.allowed))
                raise GatedTransitionError(level, subject.id, trigger.value, where, allowed)
        return after

    def _gates(self, subject: Subject, trigger: Trigger) -> tuple[Gate, ...]:
        gates = TABLES[subject.level].gates.get(trigger.value, ())
        opens = subject.detail.get("purpose") in (OrderPurpose.ENTRY, OrderPurpose.ADJUST)
        if opens and trigger in (OrderTrigger.SEND, OrderTrigger.REPRICE):
            return gates + ENTRY_GATE
        return gates

    def _above(self, subject: Subject, level: Level) -> Subject:
        above = subject
        while above.level is not level:
            parent = _PARENT_LEVEL.get(above.level, Level.SYSTEM)
            above = self._subject(parent, above.parent if parent is not Level.SYSTEM else SYSTEM_ID)
        return above

    def _finish(self, before: Subject, trigger: str, after: str, detail: dict[str, Any]) -> Subject:
        record = {"op": "done", "level": before.level.value, "id": before.id, "trigger": trigger, "to": after}
        self._write({**record, "detail": detail})
        if self._batch is None:
            self._tell(before, trigger, after, detail)
        else:
            self._untold.append(lambda: self._tell(before, trigger, after, detail))
        return self._subject(before.level, before.id)

    def _tell(self, before: Subject, trigger: str, after: str, detail: dict[str, Any]) -> None:
        self._journal.record(
            RecordKind.TRANSITION,
            component=COMPONENT,
            reason=f"{before.level.value} {before.id}: {before.state} -> {after}",
            level=before.level,
            subject=before.id,
            trigger=trigger,
            detail=detail,
        )
        self._bus.publish(
            StateTransition(
                time=self._clock.now(),
                level=before.level,
                subject=before.id,
                before=before.state,
                trigger=trigger,
                after=after,
            )
        )

    def _write(self, record: Record, *, first: bool = False) -> None:
        """``first``: what is about to be acted on; where it cannot be written, ``UnwrittenError`` forbids the act."""
        plain: Record = as_json({"t": self._clock.now(), **record})
        if first:
            self._store.append(plain)
        elif self._batch is None:
            self._hand_over(plain)
        else:
            self._batch.append(plain)
        self._ledger.apply(plain)
        self._snapshot_when_due()

    def _hand_over(self, record: Record) -> None:
        """Write what has happened already; what the disk does not take is owed, and written before anything else."""
        owed = self._store.owes
        try:
            self._store.append(record)
        except UnwrittenError as error:
            self._store.owe(record)
            if not owed:  # told once; nothing is sent meanwhile, for its intent cannot be written either
                self._journal.record(RecordKind.SYSTEM, component=COMPONENT, reason=f"state is not written: {error}")
        else:
            if owed:
                told = f"state is written again, {owed} records later"
                self._journal.record(RecordKind.SYSTEM, component=COMPONENT, reason=told)

    def _snapshot_when_due(self) -> None:
        if self._batch is None and self._store.snapshot_due:
            self._try_snapshot()

    def _try_snapshot(self) -> None:
        try:
            self.snapshot()
        except UnwrittenError as error:  # the records are there: the next due moment tries again
            self._journal.record(RecordKind.SYSTEM, component=COMPONENT, reason=f"no snapshot: {error}")

    def _on_entries_halted(self, event: EntriesHalted) -> None:
        """A halt outlives the process: the next one starts halted."""
        if self.system not in STOPPED and self.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.HALT) is None:
            self.fire_system(SystemTrigger.HALT, reason=event.reason)

    def _on_entries_allowed(self, event: EntriesAllowed) -> None:
        if self.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.RESUME) is None:
            self.fire_system(SystemTrigger.RESUME, reason="a person resumed")
        if self.system is SystemState.RECOVERING:
            self.fire_system(SystemTrigger.READY)

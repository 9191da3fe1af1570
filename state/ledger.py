"""What is known of every subject of state, built only by applying records: replayed and live state cannot differ."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from core.events import Level
from core.storage import FolderStorage
from state.store import UNREADABLE, Record, StateStore
from state.tables import TABLES, CorruptStoreError, OrderGroupState, OrderTrigger

SYSTEM_ID = "system"
_STATES = {level: frozenset(state.value for state in table.states) for level, table in TABLES.items()}


@dataclass(frozen=True, slots=True)
class Intent:
    """A transition that was written before it was acted on, and not completed yet."""

    trigger: str
    destination: str
    detail: Mapping[str, Any]
    time: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that has a state: the system, a strategy, a position or an order group.

    ``parent`` is the strategy of a position and the position of an order group. ``detail`` holds plain JSON values.
    """

    level: Level
    id: str
    parent: str
    state: str
    detail: Mapping[str, Any]
    created: datetime
    changed: datetime
    pending: Intent | None = None

    @property
    def ended(self) -> bool:
        """Whether its life is over."""
        return self.state in TABLES[self.level].terminal


class Ledger:
    """Subjects and memory; ``apply`` is the only way in."""

    def __init__(self) -> None:
        self._subjects: dict[Level, dict[str, Subject]] = {level: {} for level in Level}
        self._memory: dict[str, Any] = {}
        self._fingerprints: dict[str, str] = {}
        self._children: dict[str, list[str]] = {}

    def find(self, level: Level, subject: str) -> Subject | None:
        """The subject, or ``None``."""
        return self._subjects[level].get(subject)

    def all_of(self, level: Level) -> tuple[Subject, ...]:
        """Every subject of a level, in the order of creation."""
        return tuple(self._subjects[level].values())

    def memory(self, name: str) -> Any:
        """What was remembered under ``name``; ``None`` when nothing was."""
        return self._memory.get(name)

    def owner_of(self, fingerprint: str) -> str | None:
        """The order group that carries an intent's fingerprint, ``None`` when nobody does."""
        return self._fingerprints.get(fingerprint)

    def held(self, position: str) -> dict[str, float]:
        """What its order groups filled, and the corrections of reconciliations; signed, without zeros.

        A group whose fills are in the corrections already is ``folded``.
        """
        total: dict[str, float] = {}
        subject = self._subjects[Level.POSITION][position]
        groups = [group for group in self._groups_of(position) if not group.detail.get("folded")]
        filled = [group.detail.get("filled", {}) for group in groups]
        for part in (*filled, subject.detail.get("corrections", {})):
            for name, quantity in part.items():
                total[name] = total.get(name, 0.0) + quantity
        return {name: quantity for name, quantity in total.items() if quantity}

    def surely_held(self, position: str) -> dict[str, float]:
        """The same less what its orders may close yet: those at work, and those of which nobody knows the end."""
        held = self.held(position)
        for group in self._groups_of(position):
            if group.ended or (group.state == OrderGroupState.PLANNED and group.pending is None):
                continue  # nothing of it works, or it never left
            for name, whole in group.detail.get("changes", {}).items():
                rest = whole - group.detail.get("filled", {}).get(name, 0.0)
                if rest * held.get(name, 0.0) < 0:
                    held[name] += rest
        return held

    def apply(self, record: Record) -> None:
        """Take one record in; raises ``CorruptStoreError`` for one that names what does not exist."""
        operation = record["op"]
        if operation == "batch":
            for one in record["records"]:
                self.apply(one)
            return
        if operation == "memory":
            self._memory[record["name"]] = record["value"]
            return
        level = Level(record["level"])
        time = datetime.fromisoformat(record["t"])
        if operation == "create":
            self._put(
                Subject(
                    level=level,
                    id=record["id"],
                    parent=record["parent"],
                    state=TABLES[level].initial.value,
                    detail=_frozen(record["detail"]),
                    created=time,
                    changed=time,
                )
            )
            return
        subject = self.find(level, record["id"])
        if subject is None:
            raise CorruptStoreError(f"record {record.get('n')}: {operation} of unknown {level.value} {record['id']}")
        self._put(_changed(subject, record, time))

    def snapshot(self, now: datetime, keep: timedelta) -> Record:
        """Everything that still matters: what ended longer than ``keep`` ago is left to the journal."""
        subjects = [
            _as_record(subject)
            for level in Level
            for subject in self.all_of(level)
            if not (self._is_over(subject) and now - subject.changed > keep)
        ]
        return {"t": now.isoformat(), "subjects": subjects, "memory": self._memory}

    def restore(self, snapshot: Record) -> None:
        """Become what a snapshot holds."""
        self._memory = dict(snapshot["memory"])
        self._subjects = {level: {} for level in Level}
        self._fingerprints = {}
        self._children = {}
        for record in snapshot["subjects"]:
            self._put(_from_record(record))

    def upgrade(self) -> None:
        """Bring what an older version wrote into the form of this one."""
        for subject in self.all_of(Level.POSITION):
            groups, settled = self._groups_of(subject.id), dict[str, float]()
            for group in groups:
                for name, quantity in group.detail.get("filled", {}).items() if group.ended else ():
                    settled[name] = settled.get(name, 0.0) + quantity
            detail = upgraded_position(subject.detail, settled, subject.ended)
            self._put(replace(subject, detail=_frozen(detail)))
            for group in groups:
                self._put(replace(group, detail=_frozen(upgraded_group(group.detail, detail, group.ended))))

    def __iter__(self) -> Iterator[Subject]:
        for level in Level:
            yield from self._subjects[level].values()

    def _is_over(self, subject: Subject) -> bool:
        """Ended, and no open position's holdings are counted from it."""
        parent = self.find(Level.POSITION, subject.parent) if subject.level is Level.ORDER_GROUP else None
        counted = parent is not None and not parent.ended and not subject.detail.get("folded")
        return subject.ended and subject.pending is None and not counted

    def _groups_of(self, position: str) -> list[Subject]:
        groups = self._subjects[Level.ORDER_GROUP]
        return [groups[name] for name in self._children.get(position, ())]

    def _put(self, subject: Subject) -> None:
        if subject.state not in _STATES[subject.level]:
            known = ", ".join(sorted(_STATES[subject.level]))
            raise CorruptStoreError(f"{subject.level.value} {subject.id}: state {subject.state!r}; expected {known}")
        if subject.level is Level.ORDER_GROUP and subject.id not in self._subjects[subject.level]:
            self._children.setdefault(subject.parent, []).append(subject.id)
        self._subjects[subject.level][subject.id] = subject
        fingerprint = subject.detail.get("fingerprint")
        if subject.level is Level.ORDER_GROUP and isinstance(fingerprint, str):
            if subject.detail.get("never_sent"):
                self._fingerprints.pop(fingerprint, None)  # nothing was sent: the intent may be planned again
            else:
                self._fingerprints.setdefault(fingerprint, subject.id)


def holds_state(folder: Path) -> bool:
    """Whether a folder has a state's segments or snapshots."""
    return any(folder.glob("s*-*.json*"))


def ledger_of(folder: Path) -> Ledger:
    """What the state in a folder says. The folder is copied first: nothing of it is locked, cut or changed.

    Raises ``StateError`` where it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="tomking-read-") as place:
        shutil.copytree(folder, Path(place) / "state", ignore=shutil.ignore_patterns("lock"))
        store = StateStore(FolderStorage(Path(place), durable=False))
        try:
            loaded = store.load()
            ledger = Ledger()
            if loaded.snapshot is not None:
                ledger.restore(loaded.snapshot)
            for record in loaded.records:
                ledger.apply(record)
            if loaded.upgraded:
                ledger.upgrade()
        except UNREADABLE as error:
            raise CorruptStoreError(f"{folder}: {type(error).__name__}: {error}") from error
        finally:
            store.close()
    return ledger


def _changed(subject: Subject, record: Record, time: datetime) -> Subject:
    operation = record["op"]
    if operation == "intent":
        intent = Intent(record["trigger"], record["to"], _frozen(record["detail"]), time)
        return replace(subject, pending=intent, changed=time)
    detail = _frozen({**subject.detail, **record["detail"]})
    if operation == "done":
        if record["trigger"] == OrderTrigger.ABANDON and subject.level is Level.ORDER_GROUP:
            detail = _frozen({**detail, "never_sent": True})
        return replace(subject, state=record["to"], detail=detail, pending=None, changed=time)
    if operation == "withdraw":
        return replace(subject, detail=detail, pending=None, changed=time)
    if operation == "note":
        return replace(subject, detail=detail, changed=time)
    raise CorruptStoreError(f"record {record.get('n')}: unknown operation {operation!r}")


def _frozen(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(detail))


def _as_record(subject: Subject) -> Record:
    pending = subject.pending
    return {
        "level": subject.level.value,
        "id": subject.id,
        "parent": subject.parent,
        "state": subject.state,
        "detail": dict(subject.detail),
        "created": subject.created.isoformat(),
        "changed": subject.changed.isoformat(),
        "pending": pending
        and {
            "trigger": pending.trigger,
            "to": pending.destination,
            "detail": dict(pending.detail),
            "t": pending.time.isoformat(),
        },
    }


def _from_record(record: Record) -> Subject:
    pending = record["pending"]
    return Subject(
        level=Level(record["level"]),
        id=record["id"],
        parent=record["parent"],
        state=record["state"],
        detail=_frozen(record["detail"]),
        created=datetime.fromisoformat(record["created"]),
        changed=datetime.fromisoformat(record["changed"]),
        pending=pending
        and Intent(pending["trigger"], pending["to"], _frozen(pending["detail"]), datetime.fromisoformat(pending["t"])),
    )


# What older versions wrote, in the form of this one. Schema 1 (version 0.1.0) knew positions of one package. Schema 2
# knows parts: a position's ``parts``, what closed ones brought (``realised``) and the trades that they were
# (``trades``); groups say whether the position counts their fills (``folded``).

WHOLE: Final = "whole"
"""The part that a package of schema 1 becomes."""

_SAME_DAY: Final = ("ends_today", "short_dated", "spared_by_21_dte")
_TRAITS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"friday_0dte": _SAME_DAY})


def upgraded_terms(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Terms with traits; schema 1 knew whether volatility was sold, and one strategy."""
    if "traits" in terms:
        return dict(terms)
    rest = {name: value for name, value in terms.items() if name != "short_volatility"}
    sold = ("short_volatility",) if terms.get("short_volatility", True) else ("debit",)
    return {**rest, "traits": sorted({*sold, *_TRAITS.get(str(terms.get("strategy")), ())})}


def upgraded_position(detail: Mapping[str, Any], settled: Mapping[str, float], ended: bool = False) -> dict[str, Any]:
    """A position's detail with parts. ``settled``: signed contracts by name that its ended groups traded.

    What is gone of the package brought nobody knows what: schema 1 did not write the cash of exits down. One that had
    ``ended`` has no part any more: its trade was told then.
    """
    if "parts" in detail or "package" not in detail:
        return dict(detail)
    corrections = {**settled}
    for name, quantity in detail.get("corrections", {}).items():
        corrections[name] = corrections.get(name, 0.0) + quantity
    terms = upgraded_terms(detail.get("terms") or {})
    plan = {"name": WHOLE, "package": detail["package"], "terms": terms}
    known = {**detail, "plans": [plan], "parts": {}, "realised": {}, "trades": [], "corrections": corrections}
    if "entry_cash" not in detail or ended:
        return known
    contracts = int(detail["contracts"])
    exits = {}
    for row in detail["package"]:
        gone = corrections.get(row["name"], 0.0) - row["ratio"] * contracts
        if gone:
            exits[row["name"]] = [gone, None, 0.0]
    part = {
        "package": detail["package"],
        "contracts": contracts,
        "opened": detail["opened"],
        "entry_prices": detail["entry_prices"],
        "entry_cash": detail["entry_cash"],
        "entry_fees": detail["entry_fees"],
        "terms": terms,
        "exits": exits,
        "exit_rule": "",
        "exit_reason": "",
    }
    return {**known, "parts": {WHOLE: part}}


def upgraded_group(detail: Mapping[str, Any], position: Mapping[str, Any], ended: bool) -> dict[str, Any]:
    """A group's detail: which parts it is about, and, once it ended, that its position counts its fills."""
    if "parts" in detail:
        return dict(detail)
    entry = detail.get("purpose") == "entry"
    plans = position.get("plans", []) if entry else []
    return {**detail, "parts": [WHOLE], "plans": plans, "folded": ended}

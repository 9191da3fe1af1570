"""The decision journal: one JSON line for everything decided, done, refused or gone wrong.

Each line holds ``time`` (market time), ``kind``, ``component``, ``reason``, ``correlation`` and the values that the
decision rested on. Files are read by people and by ``reporting``; nothing is ever read back to decide.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from enum import Enum, StrEnum
from pathlib import Path
from typing import IO, Any, Final, Protocol

from core.clock import MarketClock

BUILD_RANK: ContextVar[int | None] = ContextVar("BUILD_RANK", default=None)
"""Place of the manager that is being built, set by the factory: what managers of one layer do while they are built in
parallel (subscribe, write a line) is ordered by it, so that thread timing leaves no trace."""

RESERVED = frozenset({"time", "kind", "component", "reason", "correlation"})


class RecordKind(StrEnum):
    """What a line of the journal is about."""

    DECISION = "decision"
    ROLL = "roll"
    TRADE_CLOSED = "trade_closed"
    EQUITY = "equity"
    STANDING = "standing"
    STATUS = "status"
    EXPOSURE = "exposure"
    GREEKS = "greeks"
    INTEREST = "interest"
    TRADE = "trade"
    SKIP = "skip"
    PROPOSAL = "proposal"
    VERDICT = "verdict"
    ORDER = "order"
    FILL = "fill"
    EXIT = "exit"
    POSITION = "position"
    TRANSITION = "transition"
    RECONCILIATION = "reconciliation"
    RISK = "risk"
    REGIME = "regime"
    DATA = "data"
    ACCOUNT = "account"
    COMMAND = "command"
    SESSION = "session"
    SYSTEM = "system"
    NOTICE = "notice"
    ERROR = "error"


class JournalSink(Protocol):
    """Where lines go. A line holds no newline."""

    def append(self, line: str) -> None:
        """Add one line at the end."""

    def flush(self) -> None:
        """Hand everything to the operating system."""

    def keep(self) -> str | None:
        """Save what must outlive the machine; why that failed, ``None`` when there is nothing to say."""

    def close(self) -> None:
        """Flush and let go."""


class MemorySink:
    """Keeps lines in memory, for tests and for runs that leave no files."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def append(self, line: str) -> None:
        """Add one line at the end."""
        self.lines.append(line)

    def flush(self) -> None:
        """Nothing waits in memory for anything."""

    def keep(self) -> str | None:
        """Memory outlives nothing."""
        return None

    def close(self) -> None:
        """Memory needs no closing."""

    def rows(self, kind: RecordKind | None = None) -> list[dict[str, Any]]:
        """Lines parsed again, all or those of one kind."""
        rows: list[dict[str, Any]] = [json.loads(line) for line in self.lines]
        return [row for row in rows if kind is None or row["kind"] == kind]


class FileSink:
    """Appends to one file; ``every_line`` hands each line over at once (live), else the file's own buffer decides.

    Raises OSError for a line that a full disk does not take; the rest of one that it took a part of goes before others.
    """

    def __init__(self, path: Path, *, every_line: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: IO[bytes] = path.open("ab", buffering=0 if every_line else -1)
        self._rest = b""

    def append(self, line: str) -> None:
        """Add one line at the end of the file."""
        self._finish()
        data = (line + "\n").encode("utf-8", "backslashreplace")
        self._rest = data[self._file.write(data) :]
        with suppress(OSError):  # a part of it is there: it is taken, and its rest goes before the next
            self._finish()

    def _finish(self) -> None:
        while self._rest:
            self._rest = self._rest[self._file.write(self._rest) :]

    def flush(self) -> None:
        """Hand what is buffered to the operating system. Raises OSError for what it does not take."""
        self._finish()
        self._file.flush()

    def keep(self) -> str | None:
        """The file is all there is."""
        return None

    def close(self) -> None:
        """Flush and close; closing twice does no harm."""
        if not self._file.closed:
            self._finish()
        self._file.close()


def _no_correlation() -> str:
    return ""


class Journal:
    """Writes the decision journal; ``correlation_source`` (set by the bus) names the event that is being handled."""

    def __init__(self, sink: JournalSink, clock: MarketClock) -> None:
        self._sink = sink
        self._clock = clock
        self._held: list[tuple[int, str]] | None = None
        self._lock = threading.Lock()
        self._unkept: str | None = None
        self._owed: list[str] = []
        self._refused: str | None = None
        self.correlation_source: Callable[[], str] = _no_correlation
        self.counts: dict[RecordKind, int] = dict.fromkeys(RecordKind, 0)

    def record(
        self, kind: RecordKind, *, component: str, reason: str, correlation: str | None = None, **values: object
    ) -> None:
        """Write one line. ``values`` are what the decision rested on: plain values, dates, enums, frozen dataclasses.

        ``correlation`` defaults to the id of the event being handled. A number that is not finite is written as text.
        """
        clash = RESERVED.intersection(values)
        if clash:
            raise ValueError(f"values: {sorted(clash)} are the journal's own names; expected other names")
        row: dict[str, Any] = {
            "time": self._clock.now().isoformat(),
            "kind": kind.value,
            "component": component,
            "reason": reason,
            "correlation": self.correlation_source() if correlation is None else correlation,
        }
        for name, value in values.items():
            row[name] = as_json(value)
        line = json.dumps(row, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        with self._lock:
            self.counts[kind] += 1
            if self._held is None:
                self._hand_over(line)
            else:
                rank = BUILD_RANK.get()
                self._held.append((-1 if rank is None else rank, line))

    @property
    def owes(self) -> bool:
        """Whether a line waits for a disk that did not take it: who remembers that it was told, does not yet."""
        return bool(self._owed)

    @property
    def owed(self) -> int:
        """How many lines wait for it: what ends the process before they are taken, ends them too."""
        return len(self._owed)

    def now(self) -> datetime:
        """Market time of the next line."""
        return self._clock.now()

    def hold(self) -> None:
        """Keep lines back until ``release``; the factory does so while it builds in parallel."""
        with self._lock:
            if self._held is None:
                self._held = []

    def release(self) -> None:
        """Write the lines kept back, ordered by the place of the manager that wrote them."""
        with self._lock:
            held, self._held = self._held or [], None
            for _, line in sorted(held, key=lambda item: item[0]):
                self._hand_over(line)

    def _hand_over(self, line: str) -> None:
        """What the sink does not take is owed: a disk that is full for a moment must end nothing half-way."""
        self._owed.append(line)
        try:
            while self._owed:
                self._sink.append(self._owed[0])
                del self._owed[0]
            self._refused = None
        except OSError as error:  # told by `keep`, once a minute
            self._refused = str(error)

    def flush(self) -> None:
        """Hand everything written to the operating system."""
        self._sink.flush()

    def keep(self) -> None:
        """Save what must outlive the machine (live, once a minute); a failure is told once, and so is its end."""
        with self._lock:
            failed = self._sink.keep() or self._refused
        if failed != self._unkept:
            self._unkept = failed
            told = "the journal is kept again" if failed is None else f"the journal cannot be kept: {failed}"
            self.record(RecordKind.SYSTEM, component="journal", reason=told)

    def close(self) -> None:
        """Flush and close the sink."""
        self._sink.close()

    def verify(self) -> tuple[str, ...]:
        """Says whether the sink takes what it is given."""
        try:
            self._sink.flush()
        except (OSError, ValueError) as error:
            return (f"the journal's sink does not take lines: {error}",)
        return ()


_PLAIN: Final = frozenset({str, int, bool, type(None)})


def as_json(value: object) -> Any:
    """The value in JSON's types: enums by value, times in ISO form, dataclasses by field; raises ``TypeError``."""
    if type(value) in _PLAIN or (isinstance(value, int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Mapping):  # most values are plain: no call for each
        return {str(as_json(key)): item if type(item) in _PLAIN else as_json(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return as_json(value.value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted((as_json(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if is_dataclass(value):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value) if item.repr}
    unboxed = getattr(value, "item", None)  # numpy's scalars
    if callable(unboxed):
        return as_json(unboxed())
    raise TypeError(f"journal value {value!r} of type {type(value).__name__} has no JSON form")

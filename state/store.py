"""The store of state: snapshots and appended segments that survive a kill between any two instructions.

Every line is ``crc32 json``. Generation ``k`` is ``segment-k`` (records appended one by one) and, for k over 0,
``snapshot-k`` (everything before that segment). Two generations are kept, so that a damaged snapshot has a way out.
A line is handed to the system in one write at the path of the key and, when ``durable``, waited for: on the real engine
that alone survives a kill.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from core.storage import Storage, replace_file, sync_folder
from state.guard import Copy, StateCopies, StoreLock
from state.tables import CorruptStoreError, NewerSchemaError, StoreError, UnwrittenError

Record = dict[str, Any]

SCHEMA: Final = 2


def _as_it_was(record: Record) -> Record:
    return record


UPGRADES: Final[Mapping[int, Callable[[Record], Record]]] = MappingProxyType({1: _as_it_was})
"""By schema: what turns a record of it into one of the next. Records kept their form since version 0.1.0 (schema 1);
positions are brought over whole, once all records were read (``state.ledger``)."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a store behaves. ``durable`` waits for the disk on each write (live: on; backtest: off); the format is one.

    ``segment_bytes``: size of a segment at which a snapshot is due. ``upgrades`` turns a record of schema n into one of
    n + 1, for every n below ``schema``.
    """

    prefix: str = "state"
    durable: bool = True
    segment_bytes: int = 256 * 1024
    schema: int = SCHEMA
    upgrades: Mapping[int, Callable[[Record], Record]] = field(default_factory=lambda: UPGRADES)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found: the last snapshot, the records after it, and what had to be cut off or upgraded."""

    snapshot: Record | None
    records: tuple[Record, ...]
    reports: tuple[str, ...]
    upgraded: bool


class Disk:
    """The five things that the store does to the disk; tests put a killing one in its place."""

    def append(self, descriptor: int, line: bytes) -> None:
        """Hand one line to the system, whole."""
        written = os.write(descriptor, line)
        while written < len(line):
            written += os.write(descriptor, line[written:])

    def sync(self, descriptor: int) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(descriptor)

    def replace(self, path: Path, text: str, durable: bool) -> None:
        """Put a whole file in place, or leave what was there."""
        replace_file(path, text, durable=durable)

    def cut(self, descriptor: int, size: int) -> None:
        """Take back what was written beyond a size."""
        os.ftruncate(descriptor, size)

    def remove(self, path: Path) -> None:
        """Delete a file that is no longer needed."""
        path.unlink(missing_ok=True)


class StateStore:
    """One writer's store below ``options.prefix``; ``load`` first, then ``append`` and ``snapshot``."""

    def __init__(
        self,
        storage: Storage,
        options: StoreOptions | None = None,
        disk: Disk | None = None,
        copies: StateCopies | None = None,
    ) -> None:
        self.options = options or StoreOptions()
        self._storage = storage
        self._disk = disk or Disk()
        self._copies = copies
        self._kept = -1
        self._lock: StoreLock | None = None
        self._descriptor: int | None = None
        self._generation = 0
        self._sequence = 0
        self._segment_size = 0
        self._torn = False
        self._owed: list[Record] = []
        self._schema_read = self.options.schema

    # Reading

    def load(self) -> Loaded:
        """Take the lock and read everything back.

        A torn tail is cut to the last good record and reported. Where a copy is saved elsewhere, the newer of the two
        counts, and the copy alone where the file is damaged. Raises ``StoreLockedError``, ``CorruptStoreError`` with
        the key and the way out, or ``NewerSchemaError``.
        """
        if self._lock is not None:
            raise StoreError(f"{self.options.prefix}: already loaded; expected one load")
        self._lock = StoreLock(self._path("lock"))
        try:
            return self._load() if self._copies is None else self._load_newer(self._copies)
        except BaseException:
            self.close()
            raise

    def _load_newer(self, copies: StateCopies) -> Loaded:
        """The newer of file and saved copy, by the number of the last record."""
        copy, wrong = copies.read()
        told = () if wrong is None else (wrong,)
        try:
            loaded = self._load()
        except CorruptStoreError as error:
            if copy is None:
                raise
            return self._restored(copy, (*told, f"{error}; the saved copy, record {copy.sequence}, is used instead"))
        if copy is not None and copy.sequence > self._sequence:
            words = f"the saved copy has record {copy.sequence}, the file ends at {self._sequence}: the copy counts"
            return self._restored(copy, (*told, *loaded.reports, words))
        return replace(loaded, reports=(*told, *loaded.reports))

    def _restored(self, copy: Copy, reports: tuple[str, ...]) -> Loaded:
        """Put the copy in the place of the file; a kill in between leaves a file that is older or damaged again."""
        self._release_segment()
        for kind, end in (("segment-", ".jsonl"), ("snapshot-", ".json")):
            for number in self._numbers(kind, end):
                self._disk.remove(self._path(f"{kind}{number}{end}"))
        for name, text in sorted(copy.files.items()):
            self._disk.replace(self._path(name), text, self.options.durable)
        loaded = self._load()
        return replace(loaded, reports=(*reports, *loaded.reports))

    def _load(self) -> Loaded:
        try:
            return self._read_all()
        except UNREADABLE as error:  # a good checksum over what no version of this program wrote
            told = f"{type(error).__name__}: {error}"
            raise CorruptStoreError(
                f"{self.options.prefix}/: holds what no record is ({told}); {self._way_out()}"
            ) from error

    def _read_all(self) -> Loaded:
        snapshots = self._numbers("snapshot-", ".json")
        segments = self._numbers("segment-", ".jsonl")
        base = max(snapshots, default=0)
        snapshot = self._read_snapshot(base) if snapshots else None
        self._sequence = 0 if snapshot is None else int(snapshot["n"])
        wanted = [number for number in segments if number >= base]
        self._check_contiguous(base, wanted, snapshot is not None)
        old = snapshot is not None and snapshot["schema"] < self.options.schema
        reports: list[str] = []
        records: list[Record] = []
        for number in wanted:
            lines = self._read_segment(number, number == wanted[-1], reports)
            if lines:
                old = self._check_header(number, lines[0]) or old
                records.extend(self._take(record, number) for record in lines[1:])
        self._generation = wanted[-1] if wanted else base
        self._open_segment()
        return Loaded(snapshot and self._upgraded(snapshot, snapshot["schema"]), tuple(records), tuple(reports), old)

    def _check_contiguous(self, base: int, wanted: list[int], has_snapshot: bool) -> None:
        expected = list(range(base, base + len(wanted)))
        if wanted != expected or (has_snapshot and not wanted):
            missing = next((number for number in [*expected, base] if number not in wanted), base)
            key = self._key("segment", missing)
            raise CorruptStoreError(f"{key}: missing, later parts of the state exist; {self._way_out()}")

    def _read_snapshot(self, number: int) -> Record:
        key = self._key("snapshot", number)
        text = self._path(f"snapshot-{number}.json").read_bytes()
        record = _decode(text.rstrip(b"\n"))
        if record is None:
            fallback = self._key("snapshot", number - 1) if number > 1 else self._key("segment", 0)
            raise CorruptStoreError(
                f"{key}: its checksum does not hold; remove it to rebuild the state from {fallback} and later parts"
            )
        self._refuse_newer(key, record["schema"])
        return record

    def _read_segment(self, number: int, last: bool, reports: list[str]) -> list[Record]:
        key = self._key("segment", number)
        path = self._path(f"segment-{number}.jsonl")
        data = path.read_bytes()
        records: list[Record] = []
        good = 0
        lines = data.split(b"\n")
        for index, line in enumerate(lines[:-1]):
            record = _decode(line)
            if record is None:
                self._refuse_corrupt_middle(key, index, lines[index + 1 :], last)
                break
            records.append(record)
            good += len(line) + 1
        if good < len(data):
            if not last:
                self._refuse_corrupt_middle(key, len(records), [], last)
            os.truncate(path, good)
            reports.append(f"{key}: {len(data) - good} bytes after record {len(records)} were torn and are cut off")
        return records

    def _refuse_corrupt_middle(self, key: str, index: int, later: list[bytes], last: bool) -> None:
        if not last or any(_decode(line) is not None for line in later):
            raise CorruptStoreError(
                f"{key}: record {index + 1} is damaged and good records follow it; {self._way_out()}"
            )

    def _way_out(self) -> str:
        return (
            f"restore {self.options.prefix}/ from a backup, or move it aside: the next start then begins empty, lists"
            " what the broker holds and touches nothing"
        )

    def _check_header(self, number: int, header: Record) -> bool:
        key = self._key("segment", number)
        if header.get("op") != "header":
            raise CorruptStoreError(f"{key}: record 1 is no header; {self._way_out()}")
        self._refuse_newer(key, header["schema"])
        self._schema_read = int(header["schema"])
        return self._schema_read < self.options.schema

    def _take(self, record: Record, number: int) -> Record:
        self._sequence += 1
        if record.get("n") != self._sequence:
            key = self._key("segment", number)
            found = record.get("n")
            raise CorruptStoreError(f"{key}: record {found} where {self._sequence} belongs; {self._way_out()}")
        return self._upgraded(record, self._schema_read)

    def _refuse_newer(self, key: str, schema: int) -> None:
        if schema > self.options.schema:
            raise NewerSchemaError(
                f"{key}: schema {schema}, this program knows up to {self.options.schema}; run the newer program"
            )

    def _upgraded(self, record: Record, schema: int) -> Record:
        for version in range(schema, self.options.schema):
            upgrade = self.options.upgrades.get(version)
            if upgrade is None:
                raise StoreError(f"schema {version}: no upgrade to {version + 1} is known")
            record = upgrade(record)
        return record

    # Writing

    @property
    def snapshot_due(self) -> bool:
        """Whether the segment has grown to where a snapshot pays."""
        return self._segment_size >= self.options.segment_bytes

    @property
    def sequence(self) -> int:
        """Number of the last record written or read."""
        return self._sequence

    def append(self, record: Record) -> None:
        """Add one record, durably, after those that are owed; its number ``n`` is given here.

        Raises ``UnwrittenError`` where the disk did not take it: then nothing of it is there.
        """
        self.settle()
        self._number_and_write(record)

    def settle(self) -> None:
        """Write what is owed. Raises ``UnwrittenError`` where the disk still does not take it."""
        while self._owed:
            self._number_and_write(self._owed[0])
            del self._owed[0]

    def _number_and_write(self, record: Record) -> None:
        self._write_line({"n": self._sequence + 1, **record})
        self._sequence += 1  # a record that could not be written has no number

    def owe(self, record: Record) -> None:
        """Keep a record that the disk did not take: it goes before the next one, so that none is missing between."""
        self._owed.append(record)

    @property
    def owes(self) -> int:
        """How many records the disk has not taken yet."""
        return len(self._owed)

    def snapshot(self, state: Record) -> None:
        """Begin a new generation from ``state``, which holds everything up to the last record; drop the oldest.

        Raises ``UnwrittenError`` where the disk did not take it: what was there before counts on.
        """
        before = self._generation
        record = {"schema": self.options.schema, "n": self._sequence, **state}
        try:
            self._generation += 1
            self._open_segment()
        except StoreError:
            self._release_segment()
            self._disk.remove(self._path(f"segment-{self._generation}.jsonl"))
            self._generation = before
            self._open_segment()
            raise
        path = self._path(f"snapshot-{self._generation}.json")
        try:
            self._disk.replace(path, _encode(record).decode("utf-8"), self.options.durable)
        except OSError as error:
            raise UnwrittenError(f"{self._key('snapshot', self._generation)}: not written: {error}") from error
        self._owed.clear()  # the snapshot holds what they would have said
        for number in self._numbers("segment-", ".jsonl"):
            if number < self._generation - 1:
                self._disk.remove(self._path(f"segment-{number}.jsonl"))
        for number in self._numbers("snapshot-", ".json"):
            if number < self._generation - 1:
                self._disk.remove(self._path(f"snapshot-{number}.json"))

    def keep(self) -> str | None:
        """Save a copy of what was written since the last one; why that failed, ``None`` when the copy is up to date."""
        if self._copies is None or self._kept == self._sequence:
            return None
        names = [f"segment-{self._generation}.jsonl"]
        if self._generation in self._numbers("snapshot-", ".json"):
            names.append(f"snapshot-{self._generation}.json")
        files = {name: self._path(name).read_text(encoding="utf-8") for name in names}
        failed = self._copies.write(Copy(self._sequence, files))
        if failed is None:
            self._kept = self._sequence
        return failed

    def _release_segment(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        """Let go of the files and the lock; closing twice does no harm."""
        self._release_segment()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def verify(self) -> tuple[str, ...]:
        """Says whether the store was loaded and holds its lock."""
        return () if self._lock is not None and self._lock.held else ("the store is not loaded",)

    @property
    def bytes_on_disk(self) -> int:
        """Size of all generations kept."""
        return sum(path.stat().st_size for path in self._path("lock").parent.glob("s*-*.json*"))

    def _open_segment(self) -> None:
        self._release_segment()
        path = self._path(f"segment-{self._generation}.jsonl")
        fresh = not path.exists() or path.stat().st_size == 0
        self._torn = False
        binary = getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | binary, 0o644)
        self._segment_size = 0 if fresh else path.stat().st_size
        if fresh:
            self._write_line({"op": "header", "schema": self.options.schema, "segment": self._generation})
            if self.options.durable:
                sync_folder(path.parent)

    def _write_line(self, record: Record) -> None:
        if self._descriptor is None:
            raise StoreError(f"{self.options.prefix}: not loaded; expected load() before a write")
        line = _encode(record)
        try:
            if self._torn:
                self._disk.cut(self._descriptor, self._segment_size)
                self._torn = False
            self._disk.append(self._descriptor, line)
            if self.options.durable:
                self._disk.sync(self._descriptor)
        except OSError as error:
            self._take_back(self._descriptor)
            key = self._key("segment", self._generation)
            raise UnwrittenError(f"{key}: record {self._sequence + 1} was not written: {error}") from error
        self._segment_size += len(line)

    def _take_back(self, descriptor: int) -> None:
        """Half a line would damage the next one: cut it off now, else before the next is written."""
        try:
            self._disk.cut(descriptor, self._segment_size)
        except OSError:
            self._torn = True

    def _key(self, kind: str, number: int) -> str:
        return f"{self.options.prefix}/{kind}-{number}.json{'l' if kind == 'segment' else ''}"

    def _path(self, name: str) -> Path:
        return self._storage.path(f"{self.options.prefix}/{name}")

    def _numbers(self, before: str, after: str) -> list[int]:
        names = [path.name for path in self._path("lock").parent.glob(f"{before}*{after}")]
        numbers = [name.removeprefix(before).removesuffix(after) for name in names]
        return sorted(int(number) for number in numbers if number.isdigit())


def _encode(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> Record | None:
    """The record of a line; ``None`` when the line is damaged.

    Raises one of ``UNREADABLE`` for a line whose checksum holds over what no record is.
    """
    checksum, _, text = line.partition(b" ")
    if len(checksum) != 8 or f"{zlib.crc32(text):08x}".encode() != checksum:
        return None
    record = json.loads(text, parse_constant=_no_number, parse_float=_number)
    if not isinstance(record, dict):
        raise TypeError(f"{str(record)[:40]!r} is no record")
    return record


UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)
"""What reading raises where a value is missing, of the wrong kind or nested without end."""


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number that a record holds")


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)

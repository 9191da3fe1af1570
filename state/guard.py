"""What guards a store: a lock, so that one process of a machine works on it, and a copy that outlives the machine.

The copy is the newest generation in one text, with number and checksum.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.running.keeper import Keeper
from state.tables import StoreLockedError

_FILE: Final = re.compile(r"(snapshot-\d+\.json|segment-\d+\.jsonl)")


@dataclass(frozen=True, slots=True)
class Copy:
    """A generation's files by name, and the number of its last record."""

    sequence: int
    files: Mapping[str, str]


class StateCopies:
    """Writes and reads the copy under one key of a keeper."""

    def __init__(self, keeper: Keeper, key: str) -> None:
        self._keeper = keeper
        self.key = key

    def write(self, copy: Copy) -> str | None:
        """Keep a copy in the place of the one before; why that failed, ``None`` when it is kept."""
        text = json.dumps({"n": copy.sequence, "files": dict(copy.files)})
        return self._keeper.save(self.key, f"{_checksum(text)} {text}")

    def read(self) -> tuple[Copy | None, str | None]:
        """The copy, if one is there and whole; and in words what is wrong with one that is not."""
        text = self._keeper.saved(self.key)
        if text is None:
            return None, None
        copy = _parsed(text)
        return copy, None if copy is not None else f"{self.key}: the saved copy is damaged and counts for nothing"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', errors='replace')):08x}"


def _parsed(kept: str) -> Copy | None:
    """A copy out of what was kept; ``None`` when it is not what ``write`` wrote."""
    checksum, _, text = kept.partition(" ")
    if checksum != _checksum(text):
        return None
    try:
        row: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("n")) is not int or not isinstance(row.get("files"), dict):
        return None
    files = row["files"]
    if not files or not all(_FILE.fullmatch(name) and isinstance(content, str) for name, content in files.items()):
        return None
    return Copy(row["n"], files)


_FAR: Final = 1 << 20
"""Windows locks are mandatory: the byte locked lies beyond the text, so that others can read the owner."""


class StoreLock:
    """An advisory lock on ``path``; taken by the constructor, which raises ``StoreLockedError`` naming the owner."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(self._descriptor)
        except OSError as error:
            owner = _owner(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
            raise StoreLockedError(
                f"{path}: process {owner} works on this store; stop it first, or give this one another store"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, str(os.getpid()).encode())

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let go; letting go twice does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def locked_by(path: Path) -> str | None:
    """Who holds the lock at a path on this machine; ``None`` when it is free."""
    try:
        StoreLock(path).release()
    except StoreLockedError as error:
        return str(error).partition(";")[0]
    return None


def _owner(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 20).decode(errors="replace") or "unknown"


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

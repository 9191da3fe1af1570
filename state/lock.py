"""The lock on a store: one process of a machine at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from state.tables import StoreLockedError

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

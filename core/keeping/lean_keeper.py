"""LEAN's object store as a keeper: what is saved under a key of its own is written at once and outlives the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class LeanKeeper:
    """Saves through one QCAlgorithm's object store; every failure is an answer, never an exception."""

    def __init__(self, algorithm: Any) -> None:
        self._store = algorithm.object_store

    def save(self, key: str, text: str) -> str | None:
        """Save text and flush it."""
        return self._kept(key, len(text), lambda: self._store.save(key, text))

    def save_packed(self, key: str, data: bytes) -> str | None:
        """Save bytes and flush them."""
        return self._kept(key, len(data), lambda: self._store.save_bytes(key, data))

    def _kept(self, key: str, size: int, save: Callable[[], Any]) -> str | None:
        """Asking for a path writes what was saved before at once (LocalObjectStore.cs, GetFilePath)."""
        try:
            if not save():
                return f"{key}: the object store refused {size:,} bytes (its quota, or no permission to write)"
            self._store.get_file_path(key)
        except Exception as error:  # .NET's own classes; whatever it is, nothing is known to be kept
            return f"{key}: {_first_line(error)}"
        return None

    def saved(self, key: str) -> str | None:
        """Text that was saved under a key."""
        try:
            return str(self._store.read(key)) if self._store.contains_key(key) else None
        except Exception:  # unreadable counts as not kept: the file beside it is what is left
            return None

    def keys(self, prefix: str) -> Sequence[str]:
        """Every key below a prefix; LEAN may show them with a leading slash."""
        try:
            found = [str(key).replace("\\", "/").lstrip("/") for key in self._store.keys]
        except Exception:  # a store that cannot be listed has nothing to tell
            return ()
        return tuple(sorted(key for key in found if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        """Delete a key when it is there."""
        if self._store.contains_key(key):
            self._store.delete(key)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

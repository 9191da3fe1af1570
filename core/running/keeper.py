"""Texts kept a second time, where they outlive the machine: the object store's own saving, beside files that it shows.

A file appended at the path of a key survives a kill, but nothing says that QuantConnect's cloud keeps what was never
saved. What was saved survives the machine, but is written late (LocalObjectStore.cs: every five seconds) unless a path
is asked for. So what must not be lost is in both. Never under one key: what was saved is written over the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Keeper(Protocol):
    """Keys to texts and packed bytes, kept where they outlive this machine."""

    def save(self, key: str, text: str) -> str | None:
        """Keep ``text`` at once; why it could not be kept, ``None`` when it is."""

    def save_packed(self, key: str, data: bytes) -> str | None:
        """The same for what is no text, such as an archive."""

    def saved(self, key: str) -> str | None:
        """What was kept; ``None`` when nothing was, or when it cannot be read."""

    def keys(self, prefix: str) -> Sequence[str]:
        """Every key below a prefix, in order."""

    def delete(self, key: str) -> None:
        """Forget a key; nothing happens when there is none."""


class MemoryKeeper:
    """A keeper in memory, for tests; ``refuses`` is why it takes nothing at the moment."""

    def __init__(self) -> None:
        self.texts: dict[str, str | bytes] = {}
        self.refuses: str | None = None
        self.saves = 0

    def save(self, key: str, text: str) -> str | None:
        """Keep it, unless it refuses."""
        return self._take(key, text)

    def save_packed(self, key: str, data: bytes) -> str | None:
        """Keep it, unless it refuses."""
        return self._take(key, data)

    def _take(self, key: str, what: str | bytes) -> str | None:
        if self.refuses is None:
            self.texts[key] = what
            self.saves += 1
        return self.refuses

    def saved(self, key: str) -> str | None:
        """What was kept."""
        found = self.texts.get(key)
        return found if isinstance(found, str) else None

    def keys(self, prefix: str) -> Sequence[str]:
        """Keys below a prefix."""
        return sorted(key for key in self.texts if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Forget a key."""
        self.texts.pop(key, None)


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

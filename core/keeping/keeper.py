"""Texts kept a second time, where they outlive the machine: the object store's own saving, beside files that it shows.

A file appended at the path of a key survives a kill, but nothing says that QuantConnect's cloud keeps what was never
saved. What was saved survives the machine, but is written late (LocalObjectStore.cs: every five seconds) unless a path
is asked for. So what must not be lost is in both. Never under one key: what was saved is written over the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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

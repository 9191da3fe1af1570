"""Where things are kept between runs: keys to text, on LEAN's object store or in a folder.

A ``Storage`` gives the path of a key, because only an append with ``fsync`` at that path survives a kill on the real
engine (its ``save`` alone is flushed every five seconds).
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Protocol

KEY = re.compile(r"[A-Za-z0-9_#\-$= /]+(\.[A-Za-z0-9]+)?")
"""What LEAN's object store accepts (LocalObjectStore.cs): folders, one dot, no other sign."""


class Storage(Protocol):
    """Keys to text. Keys may hold ``/`` and one dot, as LEAN's object store has it."""

    def path(self, key: str) -> Path:
        """File of ``key``; its folder exists, the file itself may not."""

    def exists(self, key: str) -> bool:
        """Whether something was kept under ``key``."""

    def read(self, key: str) -> str:
        """What was kept; raises ``KeyError`` with the key when there is nothing."""

    def replace(self, key: str, text: str) -> None:
        """Keep ``text`` instead of what was there: after a kill there is the whole old or the whole new text."""

    def delete(self, key: str) -> None:
        """Forget ``key``; nothing happens when there is none."""


class FolderStorage:
    """A folder as storage; ``durable`` waits for the disk (live and kill tests), else the operating system decides."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root
        self.durable = durable
        root.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """File of ``key`` below the root; raises ``ValueError`` for a key that LEAN would refuse."""
        if not KEY.fullmatch(key) or ".." in key or key.startswith("/"):
            raise ValueError(f"key: {key!r}; expected letters, digits, _ - = / and at most one dot")
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def exists(self, key: str) -> bool:
        """Whether the file is there."""
        return self.path(key).is_file()

    def read(self, key: str) -> str:
        """The file's text; raises ``KeyError`` with the key when there is none."""
        try:
            return self.path(key).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise KeyError(f"{key}: nothing is kept under it in {self.root}") from error

    def replace(self, key: str, text: str) -> None:
        """Write beside and rename over, so that a reader never sees half a text."""
        replace_file(self.path(key), text, durable=self.durable)

    def delete(self, key: str) -> None:
        """Remove the file when it is there."""
        self.path(key).unlink(missing_ok=True)


def adopt(old: Path, new: Path) -> bool:
    """Move the folder of an earlier version to where this one keeps its own, unless something is there already."""
    if not old.is_dir() or (new.is_dir() and any(new.iterdir())):
        return False
    new.parent.mkdir(parents=True, exist_ok=True)
    if new.is_dir():
        new.rmdir()
    os.replace(old, new)
    return True


def replace_file(path: Path, text: str, *, durable: bool) -> None:
    """Put ``text`` in the place of a file's content, whole or not at all."""
    beside = path.with_name(path.name + "~")
    with beside.open("wb") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(beside, path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in ``folder`` outlive a power cut; Windows has no such call and needs none."""
    with contextlib.suppress(PermissionError):  # Windows refuses to open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

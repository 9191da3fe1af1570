"""A copy of the state where it outlives the machine: the newest generation in one text, with number and checksum."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.running.keeper import Keeper

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

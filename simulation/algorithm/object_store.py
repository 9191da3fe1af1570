"""The object store: what an algorithm keeps from one run to the next."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulation.lean.dictionaries import KeyValuePair
from simulation.lean.names import Named

_KEY = re.compile(r"^\.?[a-zA-Z0-9\\/_#\-\$= ]+\.?[a-zA-Z0-9]*$")
STORAGE_BYTES = 10 * 1024**3
STORAGE_FILES = 10_000


class ObjectStore(Named):
    """`self.object_store`: files below one folder. Keys may hold folders and one dot (LocalObjectStore.cs:115)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.max_size = STORAGE_BYTES
        self.max_files = STORAGE_FILES

    def _path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise ValueError(
                f"object store key '{key}' is refused: letters, digits, _ # - $ = space and folders "
                "are accepted, with one dot at most"
            )
        path = (self._root / key.replace("\\", "/").lstrip("/")).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ValueError(f"object store key '{key}' is refused: it leads out of the store")
        return path

    def contains_key(self, path: str) -> bool:
        """Whether a key is stored."""
        return self._path(path).is_file()

    def __contains__(self, path: str) -> bool:
        return self.contains_key(path)

    def save_bytes(self, path: str, contents: bytes) -> bool:
        """Stores bytes; False when the store's limit of files or bytes would be passed."""
        target = self._path(path)
        known = [item for item in self._root.rglob("*") if item.is_file()] if self._root.exists() else []
        if target not in known and len(known) >= self.max_files:
            return False
        if sum(item.stat().st_size for item in known if item != target) + len(contents) > self.max_size:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents)
        return True

    def read_bytes(self, path: str) -> bytes:
        """Stored bytes. Raises KeyError for an unknown key."""
        target = self._path(path)
        if not target.is_file():
            raise KeyError(
                f"Object with path '{path}' was not found in the current project. Please use "
                "contains_key before reading."
            )
        return target.read_bytes()

    def save(self, path: str, text: str | None = None, encoding: str | None = None) -> bool:
        """Stores text; without one, the file that was written at `get_file_path(path)` is taken over."""
        if text is None:
            return self.contains_key(path)
        return self.save_bytes(path, text.encode(encoding or "utf-8"))

    def save_string(self, path: str, text: str, encoding: str | None = None) -> bool:
        """Stores text."""
        return self.save(path, text, encoding)

    def read(self, path: str, encoding: str | None = None) -> str:
        """Stored text. Raises KeyError for an unknown key."""
        return self.read_bytes(path).decode(encoding or "utf-8")

    read_string = read

    def save_json(self, path: str, obj: Any) -> bool:
        """Stores an object as JSON."""
        return self.save(path, json.dumps(obj))

    def read_json(self, path: str) -> Any:
        """A stored JSON object."""
        return json.loads(self.read(path))

    def delete(self, path: str) -> bool:
        """Removes a key; False when it was not there."""
        target = self._path(path)
        if not target.is_file():
            return False
        target.unlink()
        return True

    def get_file_path(self, path: str) -> str:
        """Where the key's file is (or would be); its folder exists afterwards."""
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(target)

    @property
    def keys(self) -> list[str]:
        """All keys."""
        if not self._root.exists():
            return list(())
        return sorted(
            str(item.relative_to(self._root)).replace("\\", "/") for item in self._root.rglob("*") if item.is_file()
        )

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([KeyValuePair(key, self.read_bytes(key)) for key in self.keys])

    def clear(self) -> None:
        """Removes every key."""
        for key in self.keys:
            self.delete(key)

"""Texts kept a second time, where they outlive the machine: the object store's own saving, beside files that it shows.

A file appended at the path of a key survives a kill, but nothing says that QuantConnect's cloud keeps what was never
saved. What was saved survives the machine, but is written late (LocalObjectStore.cs: every five seconds) unless a path
is asked for. So what must not be lost is in both. Never under one key: what was saved is written over the file.

A live journal is kept so: a file a month, each line on the disk at once, and each day saved where it outlives both.

QuantConnect's object store has 50 MB and 1,000 files with a paid account, so months that are over are packed into one
zip archive each, and forgotten after a while.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Protocol

from core.journal import FileSink
from core.storage import Storage


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


_DAY = re.compile(r'\{"time":"(\d{4}-\d{2}-\d{2})T')


class MonthlySink:
    """Appends to ``journal/YYYY-MM.jsonl`` below a storage; ``keep`` saves the day's lines.

    ``months`` is how many months stay, the running one among them. ``keeper`` is ``None`` where nothing outlives the
    folder but the folder itself; ``place`` is what the keeper's keys begin with.
    """

    def __init__(self, storage: Storage, keeper: Keeper | None, place: str, months: int) -> None:
        self._storage = storage
        self._keeper = keeper
        self._place = place
        self._months = months
        self._sink: FileSink | None = None
        self._month = ""
        self._day = ""
        self._lines: list[str] = []
        self._unsaved = False
        self._unpacked: dict[str, bytes] = {}
        self._restore()

    def append(self, line: str) -> None:
        """Add one line to the file of its month, in the disk's hands when this returns."""
        match = _DAY.match(line)
        if match is None:
            raise ValueError(f"journal line {line[:40]!r}: expected one that begins with its time")
        self._turn_to(match[1])
        assert self._sink is not None
        self._sink.append(line)
        self._lines.append(line)
        self._unsaved = True

    def flush(self) -> None:
        """Lines are flushed as they come."""
        if self._sink is not None:
            self._sink.flush()

    def keep(self) -> str | None:
        """Save the new lines of the day, and months that were packed; why that failed, ``None`` when it did not."""
        if self._keeper is None:
            return None
        failed = None
        if self._unsaved:
            failed = self._keeper.save(self._copy_of(self._day), _text(self._lines))
            self._unsaved = failed is not None
        for month, data in list(self._unpacked.items()):
            failed = self._save_month(self._keeper, month, data) or failed
        return failed

    def close(self) -> None:
        """Save what is new and let go of the file."""
        self.keep()
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    # Inside

    def _turn_to(self, day: str) -> None:
        if day == self._day and self._sink is not None:
            return
        self.keep()
        month = day[:7]
        if month != self._month or self._sink is None:
            if self._sink is not None:
                self._sink.close()
            self._sink = FileSink(self._storage.path(f"journal/{month}.jsonl"), every_line=True)
            self._month = month
            self._pack(month)
        self._day, self._lines = day, self._of_day(day)

    def _of_day(self, day: str) -> list[str]:
        """Lines of a day that are in its month's file already, after a restart within it."""
        text = self._storage.read(f"journal/{day[:7]}.jsonl")
        return [line for line in text.splitlines() if line.startswith(f'{{"time":"{day}T')]

    def _restore(self) -> None:
        """Give a file back the days of which a saved copy holds more than it does, as on a new machine."""
        if self._keeper is None:
            return
        days: dict[str, dict[str, list[str]]] = {}
        for key in self._keeper.keys(self._copy_of("")):
            day = key.removeprefix(self._copy_of("")).removesuffix(".jsonl")
            data = self._keeper.saved(key)
            if data is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
                days.setdefault(day[:7], {})[day] = [line for line in data.splitlines() if _DAY.match(line)]
        for month, saved in days.items():
            self._restore_month(month, saved)

    def _restore_month(self, month: str, saved: dict[str, list[str]]) -> None:
        key = f"journal/{month}.jsonl"
        held: dict[str, list[str]] = {}
        for line in self._storage.read(key).splitlines() if self._storage.exists(key) else ():
            match = _DAY.match(line)
            if match is not None:  # a torn last line is not carried on
                held.setdefault(match[1], []).append(line)
        better = {day: lines for day, lines in saved.items() if len(lines) > len(held.get(day, []))}
        if better:
            merged = {**held, **better}
            self._storage.replace(key, _text([line for day in sorted(merged) for line in merged[day]]))

    def _pack(self, running: str) -> None:
        """Pack the months before ``running``, save the packs, and forget what is too old."""
        folder = self._storage.path("journal/x.jsonl").parent
        for path in sorted(folder.glob("????-??.jsonl")):
            if path.stem < running:
                data = _packed(path.name, path.read_bytes())
                pack = folder / f"{path.stem}.zip"
                pack.with_suffix(".part").write_bytes(data)
                pack.with_suffix(".part").replace(pack)
                path.unlink()
                self._unpacked[path.stem] = data
        oldest = _months_before(running, self._months - 1)
        for path in sorted(folder.glob("????-??.zip")):
            if path.stem < oldest:
                path.unlink()
        if self._keeper is not None:
            for key in self._keeper.keys(f"{self._place}/journal-saved/"):
                if key.removesuffix(".zip").rpartition("/")[2] < oldest:
                    self._keeper.delete(key)

    def _save_month(self, keeper: Keeper, month: str, data: bytes) -> str | None:
        """Save a packed month; its days' copies go when it is saved."""
        failed = keeper.save_packed(f"{self._place}/journal-saved/{month}.zip", data)
        if failed is None:
            del self._unpacked[month]
            for key in keeper.keys(self._copy_of(month)):
                keeper.delete(key)
        return failed

    def _copy_of(self, day: str) -> str:
        return f"{self._place}/journal-days/{day}{'.jsonl' if len(day) == len('2016-02-12') else ''}"


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _packed(name: str, content: bytes) -> bytes:
    """A zip archive of one file, the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _months_before(month: str, count: int) -> str:
    """The month ``count`` months before one, both as ``YYYY-MM``."""
    first = date.fromisoformat(f"{month}-01")
    total = first.year * 12 + first.month - 1 - count
    return f"{total // 12:04}-{total % 12 + 1:02}"

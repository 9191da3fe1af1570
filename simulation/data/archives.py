"""Zip archives of a data folder and the CSV tables in them, read fast.

An archive that many entries are asked of is decoded whole, once; one that few are asked of entry by entry.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulation.lean.errors import MalformedDataError

_LOCAL_HEADER = 30
_FEW = 12
_ENOUGH_SHARE = 0.15
_ALWAYS_KEPT = 16

Columns = tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of an entry: how many, whether the first is a date and time, and which hold prices times `scale`."""

    width: int
    dated: bool
    prices: tuple[int, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one entry. `first` is the time: milliseconds of the day, or minutes since 1970 for dated rows."""

    columns: Columns

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0])


class Archive:
    """One zip file and its entries, all of one layout."""

    def __init__(self, path: Path, layout: Layout, eager: bool) -> None:
        self.path = path
        self._layout = layout
        self._raw = path.read_bytes()
        try:
            with zipfile.ZipFile(BytesIO(self._raw)) as archive:
                self._entries = {info.filename.lower(): info for info in archive.infolist()}
        except zipfile.BadZipFile as error:
            raise MalformedDataError(str(path), 0, f"this is no readable zip archive ({error})") from error
        self._eager = eager
        self._table: tuple[Table, dict[str, tuple[int, int]]] | None = None
        self.asked = 0
        self.bytes = len(self._raw)

    @property
    def names(self) -> list[str]:
        """Names of the entries."""
        return list(self._entries)

    @property
    def wanted_whole(self) -> bool:
        """Whether enough of it was asked for that its neighbour of tomorrow had better be decoded whole."""
        return self.asked >= max(_FEW, _ENOUGH_SHARE * len(self._entries))

    def table(self, name: str) -> Table | None:
        """Columns of an entry; None when the archive has no such entry. Raises MalformedDataError."""
        info = self._entries.get(name)
        if info is None:
            return None
        self.asked += 1
        if self._table is None:
            if not self._eager and not self.wanted_whole:
                return self._decode(name, self._inflate(info))
            self._table = self._decode_all()
        table, rows = self._table
        start, stop = rows[name]
        return Table(tuple(column[start:stop] for column in table.columns))

    def release(self) -> None:
        """Gives the memory back; what it was asked for stays known."""
        self._table = None
        self._raw = b""

    def _inflate(self, info: zipfile.ZipInfo) -> bytes:
        raw, offset = self._raw, info.header_offset
        skip = int.from_bytes(raw[offset + 26 : offset + 28], "little") + int.from_bytes(
            raw[offset + 28 : offset + 30], "little"
        )
        start = offset + _LOCAL_HEADER + skip
        packed = raw[start : start + info.compress_size]
        if info.compress_type == zipfile.ZIP_STORED:
            return packed
        try:
            return zlib.decompress(packed, -15)
        except zlib.error as error:
            raise MalformedDataError(
                f"{self.path}#{info.filename}", 0, f"the entry cannot be unpacked ({error})"
            ) from error

    def _decode_all(self) -> tuple[Table, dict[str, tuple[int, int]]]:
        parts: list[bytes] = []
        rows: dict[str, tuple[int, int]] = {}
        total = 0
        for name, info in self._entries.items():
            part = _clean(self._inflate(info))
            count = part.count(b"\n")
            rows[name] = (total, total + count)
            total += count
            parts.append(part)
        try:
            table = _parse(b"".join(parts), self._layout)
        except ValueError:
            # Find the entry that is at fault; if each is readable on its own, join them.
            tables = [self._decode(name, part) for name, part in zip(self._entries, parts, strict=True)]
            table = Table(tuple(np.concatenate(columns) for columns in zip(*(t.columns for t in tables), strict=True)))
        if table.rows != total:
            raise MalformedDataError(str(self.path), 0, f"{total} lines gave {table.rows} rows")
        self.bytes += 8 * table.rows * self._layout.width
        self._entries = {name: self._entries[name] for name in rows}
        self._raw = b""
        return table, rows

    def _decode(self, name: str, text: bytes) -> Table:
        text = _clean(text)
        try:
            return _parse(text, self._layout)
        except ValueError:
            return _parse_slowly(f"{self.path}#{name}", text, self._layout)


def _clean(text: bytes) -> bytes:
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if b"\n\n" in text or text.startswith(b"\n"):
        text = b"\n".join(line for line in text.split(b"\n") if line)
    return text if not text or text.endswith(b"\n") else text + b"\n"


@lru_cache(maxsize=16)
def _options(width: int, dated: bool) -> tuple[Any, Any]:
    import pyarrow as pa
    from pyarrow import csv

    names = [f"c{number}" for number in range(width)]
    types: dict[str, Any] = dict.fromkeys(names, pa.float64())
    if dated:
        types[names[0]] = pa.timestamp("s")
    read = csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 28)
    convert = csv.ConvertOptions(column_types=types, null_values=[""], timestamp_parsers=["%Y%m%d %H:%M"])
    return read, convert


def _parse(text: bytes, layout: Layout) -> Table:
    if not text:
        return Table(tuple(np.empty(0) for _ in range(layout.width)))
    import pyarrow as pa
    from pyarrow import csv

    read, convert = _options(layout.width, layout.dated)
    table = csv.read_csv(pa.py_buffer(text), read_options=read, convert_options=convert)
    return _scaled([_numpy(pa, table.column(number)) for number in range(layout.width)], layout)


def parse_table(text: bytes, layout: Layout) -> Table | None:
    """Plain CSV without a header; None when a cell is no number or a row has another length."""
    try:
        return _parse(_clean(text), layout)
    except ValueError:  # Arrow's own error is one
        return None


def _scaled(columns: list[NDArray[np.float64]], layout: Layout) -> Table:
    for number in layout.prices:
        columns[number] = columns[number] / layout.scale
    return Table(tuple(columns))


def _numpy(pa: Any, column: Any) -> NDArray[np.float64]:
    chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_timestamp(chunk.type):
        if chunk.null_count:
            raise ValueError("a row has no time")
        seconds = np.frombuffer(chunk.buffers()[1], dtype=np.int64, count=len(chunk))
        return (seconds // 60).astype(np.float64)
    values = np.frombuffer(chunk.buffers()[1], dtype=np.float64, count=len(chunk))
    if chunk.null_count:
        # Arrow's own fill_null would import pandas; the validity bits are as easy to read.
        bits = np.frombuffer(chunk.buffers()[0], dtype=np.uint8)
        valid = np.unpackbits(bits, bitorder="little", count=len(chunk)).astype(bool)
        return np.where(valid, values, np.nan)
    return values


def _parse_slowly(where: str, text: bytes, layout: Layout) -> Table:
    """Reads what the fast way refuses: rows with cells too many are cut, anything else names its line."""
    width = layout.width
    rows: list[list[float]] = []
    for number, line in enumerate(text.decode("utf-8", errors="replace").splitlines(), start=1):
        cells = line.split(",")
        if len(cells) < width:
            raise MalformedDataError(where, number, f"{len(cells)} cells, {width} are needed: {line[:80]!r}")
        try:
            first = _minutes(cells[0]) if layout.dated else float(cells[0])
            rows.append([first, *(float(cell) if cell else float("nan") for cell in cells[1:width])])
        except ValueError as error:
            raise MalformedDataError(where, number, f"{error}: {line[:80]!r}") from error
    values = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    return _scaled([values[:, column].copy() for column in range(width)], layout)


def _minutes(text: str) -> float:
    moment = np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:14]}", "m")
    return float(moment.astype(np.int64))


def row_text(path: Path, entry: str, row: int) -> list[str] | None:
    """The cells of one row of an entry as they are written; None when there is no such file, entry or row."""
    if not path.is_file():
        return None
    with zipfile.ZipFile(path) as archive:
        name = next((one for one in archive.namelist() if one.lower() == entry.lower()), None)
        lines = [] if name is None else _clean(archive.read(name)).decode("utf-8", errors="replace").splitlines()
    return lines[row].split(",") if 0 <= row < len(lines) else None


class ArchiveCache:
    """The archives in use, least recently used out first, bounded by number and bytes; the latest few always stay."""

    def __init__(self, root: Path, most: int = 96, most_bytes: int = 48_000_000) -> None:
        self._root = root
        self._most = most
        self._most_bytes = most_bytes
        self._archives: OrderedDict[str, Archive | None] = OrderedDict()
        self._latest: dict[str, Archive] = {}

    def get(self, relative: str, layout: Layout) -> Archive | None:
        """An archive by its path relative to the folder; None when it is missing."""
        if relative in self._archives:
            self._archives.move_to_end(relative)
            return self._archives[relative]
        path = self._root / relative
        archive: Archive | None = None
        if path.is_file():
            # Yesterday's archive of the same kind tells how much of today's will be asked for.
            family = _family(relative)
            yesterday = self._latest.get(family)
            archive = self._latest[family] = Archive(path, layout, yesterday is not None and yesterday.wanted_whole)
        self._archives[relative] = archive
        self._evict()
        return archive

    def _evict(self) -> None:
        held = sum(archive.bytes for archive in self._archives.values() if archive is not None)
        while len(self._archives) > _ALWAYS_KEPT and (len(self._archives) > self._most or held > self._most_bytes):
            _, archive = self._archives.popitem(last=False)
            if archive is not None:
                held -= archive.bytes
                archive.release()

    def release_all(self) -> None:
        """Forgets every archive."""
        self._archives.clear()
        self._latest.clear()


def _family(relative: str) -> str:
    directory, _, name = relative.rpartition("/")
    return f"{directory}/{name.partition('_')[2]}"

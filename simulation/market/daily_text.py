"""The text of a file of daily prices: its encoding, its columns, and how its numbers are written.

Every function raises ValueError with words that name the file, the line and what would be right.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path

DELIMITERS = ",;\t"
NOTHING = frozenset({"", ".", "null", "nan", "n/a", "-"})
"""What sources write when a day has no value."""
SIGNATURES: Mapping[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive or a workbook",
    b"\x1f\x8b": "gzip",
    b"\xd0\xcf\x11\xe0": "an old workbook",
    b"%PDF": "a PDF",
    b"PAR1": "Parquet",
}
_PLAIN = re.compile(r"[0-9]+\.[0-9]+")
_BLANKS = re.compile("['\u2019\u00a0\u202f\\s]")
_POINT = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)?(?:,\d*)?(?:[eE][+-]?\d+)?")


_NAMES_OF_COLUMNS = {
    "date": ("date", "observation_date", "day", "<date>"),
    "open": ("open", "<open>"),
    "high": ("high", "<high>"),
    "low": ("low", "<low>"),
    "close": ("close", "<close>", "close/last", "last", "price"),
}
_LAYOUTS = "expected YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD"
_AMERICAN = re.compile(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}")
_DATE_FORMATS = ("%m/%d/%Y", "%Y%m%d", "%d.%m.%Y", "%b %d, %Y")


class Decimals(StrEnum):
    """Which sign stands before the decimals; the other one groups thousands."""

    POINT = "."
    COMMA = ","

    def fits(self, text: str) -> bool:
        """Whether a cleaned text is a number of this kind."""
        pattern = _POINT if self is Decimals.POINT else _COMMA
        return pattern.fullmatch(text) is not None and (text[-1].isdigit() or any(sign.isdigit() for sign in text))

    def read(self, text: str) -> float:
        """The number of a text that fits."""
        if self is Decimals.POINT:
            return float(text.replace(",", ""))
        return float(text.replace(".", "").replace(",", "."))


def text_of(path: Path) -> str:
    """The text of a UTF-8 file, with or without its mark."""
    raw = path.read_bytes()
    if raw[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        raise ValueError(f"{path.name}: is UTF-32 text; expected UTF-8 (save it as CSV UTF-8)")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or _is_wide(raw):
        raise ValueError(f"{path.name}: is UTF-16 text; expected UTF-8 (save it as CSV UTF-8)")
    for start, kind in SIGNATURES.items():
        if raw.startswith(start):
            raise ValueError(f"{path.name}: is {kind}, a binary file; expected a CSV of daily prices as UTF-8 text")
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        raise ValueError(f"{path.name} line {line}: holds a zero byte, so it is a binary file; expected UTF-8 text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path.name} line {line}: byte 0x{raw[error.start]:02x} is no UTF-8; expected UTF-8 text "
            "(save it as CSV UTF-8)"
        ) from error


def _is_wide(raw: bytes) -> bool:
    """UTF-16 without a mark: every other byte of plain text is zero."""
    head = raw[:400]
    return len(head) >= 8 and 4 * max(head[0::2].count(0), head[1::2].count(0)) > len(head)


def rows_of(path: Path) -> list[list[str]]:
    """The cells of a file, parted by commas, semicolons or tabs: whichever its header holds most of."""
    text = text_of(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=header.count)
    reader, rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), list[list[str]]()
    try:
        for row in reader:
            if reader.line_num > len(rows) + 1:  # a quote that nothing closes would swallow the days that follow
                raise csv.Error("a quote is open at the line's end")
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"{path.name} line {len(rows) + 1}: is no CSV ({error})") from error
    return rows


def cleaned(cells: Sequence[str], column: int) -> str:
    """A cell without quotes, currency, percent signs and blanks; empty for what these sources write for no value."""
    if column < len(cells) and _PLAIN.fullmatch(cells[column]):
        return cells[column]  # most are: shipped histories have a hundred thousand
    text = cells[column].strip().strip('"').replace("$", "").replace("%", "") if column < len(cells) else ""
    text = _BLANKS.sub("", text)
    return "" if text.lower() in NOTHING else text


def numbers_of(rows: Sequence[Sequence[str]], columns: Mapping[str, int], name: str) -> dict[str, list[float | None]]:
    """Each named column as numbers, None where a row has no value; ``rows`` begin at line 2.

    The way of writing is decided for a column from all of its rows, and only where those leave it open from the other
    columns of the file: ``9,77`` is 9.77 and ``2.695,81`` is 2695.81 in a column without a number like ``2,695.81``.
    """
    texts = {key: [cleaned(cells, column) for cells in rows] for key, column in columns.items()}
    kinds = {key: kind_of(column, key, name) for key, column in texts.items()}
    decided = {kind for kind in kinds.values() if kind is not None}
    found: dict[str, list[float | None]] = {}
    for key, kind in kinds.items():
        told = kind if kind is not None else next(iter(decided)) if len(decided) == 1 else None
        if told is None:
            told = Decimals.POINT
            _refuse_ambiguous(texts[key], key, name)
        found[key] = [told.read(text) if text else None for text in texts[key]]
    return found


def kind_of(texts: Sequence[str], key: str, name: str) -> Decimals | None:
    """How a column of cleaned cells writes its decimals; None where its rows do not say. Empty cells say nothing."""
    point = _first_unfit(texts, Decimals.POINT)
    comma = _first_unfit(texts, Decimals.COMMA)
    if point is None or comma is None:
        return None if point is comma else Decimals.POINT if point is None else Decimals.COMMA
    for row in (point, comma):
        if not any(kind.fits(texts[row]) for kind in Decimals):
            raise ValueError(f"{name} line {row + 2}: {key} {texts[row]!r}; expected a number")
    first, second = min(point, comma), max(point, comma)
    raise ValueError(
        f"{name} line {second + 2}: {key} {texts[second]!r} is written otherwise than line {first + 2}, "
        f"{texts[first]!r}; expected one sign for decimals in a column"
    )


def _first_unfit(texts: Sequence[str], kind: Decimals) -> int | None:
    return next((row for row, text in enumerate(texts) if text and not kind.fits(text)), None)


def _refuse_ambiguous(texts: Sequence[str], key: str, name: str) -> None:
    """Raises for a column in which a number has two readings; whole numbers have one."""
    for row, text in enumerate(texts):
        if text and not text.lstrip("+-").isdigit():
            point, comma = Decimals.POINT.read(text), Decimals.COMMA.read(text)
            raise ValueError(
                f"{name} line {row + 2}: {key} {text!r} may be {point:g} or {comma:g}, and no row of the file says "
                "which; expected numbers like 2695.81"
            )


def columns_of(header: Sequence[str], name: str) -> dict[str, int]:
    """Where the date and the prices stand in a row, by the header's names."""
    cells = [cell.strip().strip('"').lower() for cell in header]
    found = {
        key: next(cells.index(one) for one in names if one in cells)
        for key, names in _NAMES_OF_COLUMNS.items()
        if any(one in cells for one in names)
    }
    if "date" in found and "close" not in found and len(cells) == 2:
        found["close"] = 1 - found["date"]  # FRED: the date and the series' own name
    if "date" not in found or "close" not in found:
        raise ValueError(
            f"{name}: columns {cells[:8]}; expected a header with date and close (open, high, low), "
            "as Cboe, Yahoo, Stooq or FRED write it"
        )
    return found


def day_of(text: str, where: str) -> date:
    """A date in one of the layouts that sources write."""
    cleaned = text.strip().strip('"')
    if len(cleaned) >= 10 and cleaned[4] == "-" and cleaned[7] == "-":
        try:
            return date.fromisoformat(cleaned[:10])
        except ValueError as error:
            raise ValueError(f"{where}: date {text!r}; {error}") from error
    if _AMERICAN.fullmatch(cleaned):  # as strptime reads it, in a tenth of the time: shipped histories are written so
        try:
            month, day, year = cleaned.split("/")
            return date(int(year), int(month), int(day))
        except ValueError as error:
            raise ValueError(f"{where}: date {text!r}; {_LAYOUTS}") from error
    for pattern in _DATE_FORMATS:
        try:
            return datetime.strptime(cleaned, pattern).date()
        except ValueError:
            continue
    raise ValueError(f"{where}: date {text!r}; {_LAYOUTS}")

"""The small files of a LEAN data folder: universes, map and factor files, margins, interest rates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from simulation.data.archives import Layout, parse_table
from simulation.data.columns import (
    ContractFactorRow,
    FactorRow,
    Floats,
    InterestRates,
    MapRow,
    MarginRow,
    UnderlyingRow,
    UniverseBlock,
)
from simulation.data.market_hours import MarketHoursDatabase
from simulation.lean.contract_months import expiry_of_contract_month
from simulation.lean.enums import DataMappingMode, SecurityType
from simulation.lean.errors import MalformedDataError
from simulation.lean.symbols import Symbol

HolidaysOf = Callable[[Symbol], frozenset[date]]
_Row = TypeVar("_Row")
OPTION_COLUMNS = [
    *("expiry", "strike", "right", "open", "high", "low", "close", "volume", "open_interest"),
    *("implied_volatility", "delta", "gamma", "vega", "theta", "rho"),
]
FUTURE_COLUMNS = ["expiry", "open", "high", "low", "close", "volume", "open_interest"]
INTRADAY_SHARE = 0.4
"""Margin of the day as a share of the night's, where a file does not say (MarginRequirementsEntry.cs)."""
_NUMBERS = OPTION_COLUMNS[3:]


def parse_day(text: str) -> date:
    """A date written yyyymmdd or yyyy-mm-dd. Raises ValueError."""
    plain = text.replace("-", "")
    return date(int(plain[:4]), int(plain[4:6]), int(plain[6:8]))


def expiry_holidays(hours: MarketHoursDatabase, future: Symbol) -> frozenset[date]:
    """Exchange and bank holidays that move a future's expiry (FuturesExpiryUtilityFunctions.cs:35)."""
    exchange = hours.get_exchange_hours(future.id.market, future.id.symbol, SecurityType.FUTURE)
    return frozenset(moment.date() for moment in exchange.holidays | exchange.bank_holidays)


def read_universe(path: Path, canonical: Symbol, day: date, holidays_of: HolidaysOf) -> UniverseBlock:
    """Reads a universe file. Raises MalformedDataError with the line."""
    is_future = canonical.security_type is SecurityType.FUTURE
    fast = None if is_future else _fast_universe(path, canonical, day)
    if fast is not None:
        return fast
    columns = FUTURE_COLUMNS if is_future else OPTION_COLUMNS
    underlying: UnderlyingRow | None = None
    rows: list[list[str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#"):
            columns = line[1:].strip().split(",")
        elif line.strip():
            cells = line.split(",")
            if not line[0].isdigit():
                underlying = _underlying(path, number, cells)
            elif len(cells) < min(len(columns), 7):
                raise MalformedDataError(str(path), number, f"{len(cells)} cells, {len(columns)} are needed: {line!r}")
            else:
                rows.append(cells + [""] * (len(columns) - len(cells)))
    try:
        return _universe(
            canonical, day, underlying, dict(zip(columns, _transposed(rows, len(columns)), strict=False)), holidays_of
        )
    except KeyError as error:
        raise MalformedDataError(str(path), 1, f"the header lacks the column {error}") from error
    except ValueError as error:
        raise _faulty_line(path, columns, error) from error


def _fast_universe(path: Path, canonical: Symbol, day: date) -> UniverseBlock | None:
    """An option universe of the usual form, its columns read whole; None when the file needs the careful reader."""
    head, _, body = path.read_bytes().partition(b"\n")
    columns = head.decode("utf-8").strip().lstrip("#").split(",")
    underlying: UnderlyingRow | None = None
    if body.startswith(b","):
        first, _, body = body.partition(b"\n")
        underlying = _underlying(path, 2, first.decode("utf-8").split(","))
    if not head.startswith(b"#") or columns[:3] != OPTION_COLUMNS[:3] or b"\n," in body or b"\n#" in body:
        return None
    table = parse_table(body.replace(b",C,", b",0,").replace(b",P,", b",1,"), Layout(len(columns), dated=False))
    if table is None:
        return None
    values = {name: np.nan_to_num(column) for name, column in zip(columns, table.columns, strict=True)}
    days = values["expiry"].astype(np.int64)
    known, places = np.unique(days, return_inverse=True)
    ordinals = np.array([parse_day(str(number)).toordinal() for number in known.tolist()], dtype=np.int64)
    empty: Floats = np.zeros(len(days))
    return UniverseBlock(
        canonical=canonical,
        day=day,
        underlying=underlying,
        expiry=ordinals[places],
        right=values["right"].astype(np.int64),
        **{name: values.get(name, empty) for name in ("strike", *_NUMBERS)},  # type: ignore[arg-type]  # as below
    )


def _transposed(rows: list[list[str]], width: int) -> list[tuple[str, ...]]:
    return list(zip(*(row[:width] for row in rows), strict=True)) if rows else [()] * width


def _numbers(cells: tuple[str, ...]) -> Floats:
    return np.array([float(cell) if cell else 0.0 for cell in cells], dtype=np.float64)


def _universe(
    canonical: Symbol,
    day: date,
    underlying: UnderlyingRow | None,
    cells: dict[str, tuple[str, ...]],
    holidays_of: HolidaysOf,
) -> UniverseBlock:
    count = len(cells["expiry"])
    empty: Floats = np.zeros(count)
    values: dict[str, Floats] = {
        name: _numbers(cells[name]) if name in cells else empty for name in ("strike", *_NUMBERS)
    }
    if canonical.security_type is SecurityType.FUTURE:
        holidays = holidays_of(canonical)
        ticker = canonical.id.symbol
        ordinals = {
            text: expiry_of_contract_month(ticker, date(int(text[:4]), int(text[4:6]), 1), holidays).toordinal()
            for text in set(cells["expiry"])
        }
    else:
        ordinals = {text: parse_day(text).toordinal() for text in set(cells["expiry"])}
    return UniverseBlock(
        canonical=canonical,
        day=day,
        underlying=underlying,
        expiry=np.array([ordinals[text] for text in cells["expiry"]], dtype=np.int64),
        right=np.array([text == "P" for text in cells.get("right", ("C",) * count)], dtype=np.int64),
        **values,  # type: ignore[arg-type]  # the names are those of the block's columns
    )


def _underlying(path: Path, number: int, cells: list[str]) -> UnderlyingRow:
    try:
        values = [float(cell) if cell else 0.0 for cell in cells[3:8]]
        return UnderlyingRow(*values)
    except (ValueError, TypeError) as error:
        raise MalformedDataError(str(path), number, f"the underlying's row cannot be read ({error})") from error


def _faulty_line(path: Path, columns: list[str], error: ValueError) -> MalformedDataError:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split(",")
        if line.startswith(("#", ",")) or not line.strip():
            continue
        try:
            int(cells[0])
            for name, cell in zip(columns, cells, strict=False):
                if name != "right" and cell:
                    float(cell)
        except ValueError as problem:
            return MalformedDataError(str(path), number, f"{problem}: {line[:80]!r}")
    return MalformedDataError(str(path), 0, str(error))


def _read(path: Path, least: int, make: Callable[[list[str]], _Row]) -> Iterator[_Row]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip() or not line[0].isdigit():
            continue
        cells = line.split(",")
        if len(cells) < least:
            raise MalformedDataError(str(path), number, f"{len(cells)} cells, at least {least} are needed: {line!r}")
        try:
            yield make(cells)
        except ValueError as error:
            raise MalformedDataError(str(path), number, f"{error}: {line!r}") from error


def _map_row(cells: list[str]) -> MapRow:
    mode = int(cells[3]) if len(cells) > 3 and cells[3].strip() else None
    return MapRow(parse_day(cells[0]), cells[1], cells[2] if len(cells) > 2 else "", mode)


def _factor_row(cells: list[str]) -> FactorRow:
    return FactorRow(parse_day(cells[0]), float(cells[1]), float(cells[2]), float(cells[3]) if len(cells) > 3 else 0.0)


def _margin_row(cells: list[str]) -> MarginRow:
    initial, maintenance = float(cells[1]), float(cells[2])
    given = [float(cell) for cell in cells[3:5] if cell.strip()]
    defaults = (initial * INTRADAY_SHARE, maintenance * INTRADAY_SHARE)
    return MarginRow(parse_day(cells[0]), initial, maintenance, *given, *defaults[len(given) :])


@lru_cache(maxsize=512)
def read_map_file(path: Path) -> tuple[MapRow, ...]:
    """A map file, ascending."""
    return tuple(sorted(_read(path, 2, _map_row), key=lambda row: row.day))


def read_factor_file(path: Path) -> tuple[FactorRow, ...] | None:
    """An equity's factor file, ascending; None for a future's, which is written as JSON lines."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        json.loads(text.splitlines()[0])
        return None
    return tuple(sorted(_read(path, 3, _factor_row), key=lambda row: row.day))


@lru_cache(maxsize=64)
def read_contract_factors(path: Path) -> tuple[ContractFactorRow, ...]:
    """A future's factor file, in the order of the days: one JSON object a line (MappingContractFactorRow.cs).

    Rows of mapping modes that LEAN does not know are left out. Raises MalformedDataError with the line.
    """
    rows: list[ContractFactorRow] = []
    known = {None, *(int(mode) for mode in DataMappingMode)}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = _contract_factor_row(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedDataError(str(path), number, f"{error!r}: {line[:80]!r}") from error
        if row.mode in known:
            rows.append(row)
    return tuple(sorted(rows, key=lambda row: row.day))


def _contract_factor_row(fields: dict[str, Any]) -> ContractFactorRow:
    mode = fields.get("DataMappingMode")
    scales = [
        tuple(float(value) for value in fields.get(name, ()))
        for name in ("BackwardsRatioScale", "BackwardsPanamaCanalScale", "ForwardPanamaCanalScale")
    ]
    return ContractFactorRow(parse_day(fields["Date"][:10]), None if mode is None else int(mode), *scales)


def read_margins(path: Path) -> tuple[MarginRow, ...]:
    """A margin file, ascending. Columns: date, initial, maintenance[, initial intraday, maintenance intraday]."""
    return tuple(sorted(_read(path, 3, _margin_row), key=lambda row: row.day))


def read_interest_rates(path: Path) -> InterestRates | None:
    """The interest-rate file: per cent a year in the file, fractions here."""
    rows = sorted(_read(path, 2, lambda cells: (parse_day(cells[0]), float(cells[1]) / 100)))
    if not rows:
        return None
    days = np.array([day.toordinal() for day, _ in rows], dtype=np.int64)
    return InterestRates(days, np.array([rate for _, rate in rows], dtype=np.float64))

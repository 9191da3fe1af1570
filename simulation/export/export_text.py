"""Blocks as text in LEAN's formats, and archives whose bytes depend on nothing but their content."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from math import inf
from pathlib import Path

import numpy as np

from simulation.data.columns import (
    FactorRow,
    Floats,
    Integers,
    InterestBlock,
    InterestRates,
    MapRow,
    MarginRow,
    QuoteBlock,
    TradeBlock,
    UniverseBlock,
)
from simulation.data.lean_folder import PRICE_SCALE, SCALED_TYPES
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.side_files import FUTURE_COLUMNS, OPTION_COLUMNS
from simulation.lean.clock import DAY_MS, Zone
from simulation.lean.enums import Resolution, SecurityType
from simulation.lean.symbols import MONTHS_EXPIRY_PRECEDES_CONTRACT, Symbol

Block = TradeBlock | QuoteBlock | InterestBlock
_STAMP = (1980, 1, 1, 0, 0, 0)
_EPOCH = datetime(1970, 1, 1)
_MOST_TEXTS = 200_000


def plain(value: float, digits: int = 10) -> str:
    """A number without exponent and without trailing zeros."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


class _Texts(dict[float, str]):
    """Numbers as text, each written once: columns of prices repeat a few ticks. Infinity stands for a missing value."""

    def __missing__(self, value: float) -> str:
        if len(self) > _MOST_TEXTS:
            self.clear()
        whole = round(value) if abs(value) < inf else 0
        made = "" if value == inf else str(whole) if abs(value - whole) < 1e-6 else plain(value)
        self[value] = made
        return made


_TEXTS = _Texts()


def _cells(values: Floats, scale: float) -> list[str]:
    """One column: whole numbers as such, a missing value as nothing."""
    scaled = np.asarray(values) * scale  # a modelled index's days are read from its minutes here
    known = np.where(np.isnan(scaled), inf, scaled)
    return [_TEXTS[value] for value in known.tolist()]


def local_ms(zone: Zone, moments: Integers) -> list[int]:
    """Naive local milliseconds of UTC milliseconds, which ascend."""
    if len(moments) and moments[-1] - moments[0] < DAY_MS:
        first, last = zone.offset_ms(int(moments[0])), zone.offset_ms(int(moments[-1]))
        if first == last:
            return [int(moment) for moment in (moments + first).tolist()]
    return [moment + zone.offset_ms(moment) for moment in moments.tolist()]


def block_text(block: Block, symbol: Symbol, resolution: Resolution, zone: Zone) -> str:
    """A block as the lines of its CSV entry, in the data's time zone."""
    start = block.end if isinstance(block, InterestBlock) else block.start
    local = local_ms(zone, start)
    if resolution is Resolution.MINUTE:
        times = [str(moment % DAY_MS) for moment in local]
    else:
        times = [f"{_EPOCH + timedelta(milliseconds=moment):%Y%m%d %H:%M}" for moment in local]
    scale = PRICE_SCALE if symbol.security_type in SCALED_TYPES else 1.0
    columns = [times, *_columns(block, scale)]
    return "".join(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _columns(block: Block, scale: float) -> list[list[str]]:
    if isinstance(block, TradeBlock):
        prices = [_cells(column, scale) for column in (block.open, block.high, block.low, block.close)]
        return [*prices, _cells(block.volume, 1.0)]
    if isinstance(block, InterestBlock):
        return [_cells(block.value, 1.0)]
    bid = [_cells(column, scale) for column in (block.bid_open, block.bid_high, block.bid_low, block.bid_close)]
    ask = [_cells(column, scale) for column in (block.ask_open, block.ask_high, block.ask_low, block.ask_close)]
    return [*bid, _cells(block.bid_size, 1.0), *ask, _cells(block.ask_size, 1.0)]


def sliced(block: Block, first_ms: int, last_ms: int) -> Block | None:
    """The rows that end in a stretch of time (both ends included); None when there are none."""
    keep = (block.end >= first_ms) & (block.end <= last_ms)
    if not bool(keep.any()):
        return None
    if isinstance(block, InterestBlock):
        return InterestBlock(block.end[keep], block.value[keep])
    fields = [getattr(block, name)[keep] for name in block.__slots__]
    return type(block)(*fields)


def universe_text(block: UniverseBlock, rows: list[int] | None = None) -> str:
    """A universe file, contracts in the block's order, the underlying's row first. rows: which; None for all."""
    kind = block.canonical.security_type
    if kind is SecurityType.FUTURE:
        return _future_universe_text(block)
    columns = OPTION_COLUMNS[:9] if kind is SecurityType.FUTURE_OPTION else OPTION_COLUMNS
    lines = ["#" + ",".join(columns)]
    if block.underlying is not None:
        row = block.underlying
        prices = [plain(price, 6) for price in (row.open, row.high, row.low, row.close, row.volume)]
        lines.append(",,," + ",".join(prices) + "," * (len(columns) - 8))
    kept = slice(None) if rows is None else rows
    numbers = [[plain(value, 7) for value in np.asarray(getattr(block, name))[kept].tolist()] for name in columns[3:]]
    rights = ["P" if right else "C" for right in block.right[kept].tolist()]
    strikes = [plain(strike, 6) for strike in block.strike[kept].tolist()]
    expiries = _days(block.expiry[kept])
    lines.extend(",".join(cells) for cells in zip(expiries, strikes, rights, *numbers, strict=True))
    return "\n".join(lines) + "\n"


def _days(ordinals: Integers) -> list[str]:
    names = {ordinal: f"{date.fromordinal(ordinal):%Y%m%d}" for ordinal in np.unique(ordinals).tolist()}
    return [names[ordinal] for ordinal in ordinals.tolist()]


def _future_universe_text(block: UniverseBlock) -> str:
    delta = MONTHS_EXPIRY_PRECEDES_CONTRACT.get(block.canonical.id.symbol, 0)
    lines = ["#" + ",".join(FUTURE_COLUMNS)]
    for row, ordinal in enumerate(block.expiry.tolist()):
        expiry = date.fromordinal(ordinal)
        months = expiry.year * 12 + expiry.month - 1 + delta
        numbers = [plain(float(getattr(block, name)[row]), 7) for name in FUTURE_COLUMNS[1:]]
        lines.append(",".join([f"{months // 12}{months % 12 + 1:02d}", *numbers]))
    return "\n".join(lines) + "\n"


def hours_text(hours: MarketHoursDatabase) -> str:
    """The market-hours database as LEAN's JSON."""
    return json.dumps({"entries": hours.raw()}, indent=1) + "\n"


def map_text(rows: Iterable[MapRow]) -> str:
    """A map file."""
    return "".join(
        f"{row.day:%Y%m%d},{row.ticker.lower()},{row.exchange}".rstrip(",")
        + ("" if row.mode is None else f",{row.mode}")
        + "\n"
        for row in rows
    )


def factor_text(rows: Iterable[FactorRow]) -> str:
    """A factor file."""
    return "".join(
        f"{row.day:%Y%m%d},{plain(row.price_factor)},{plain(row.split_factor)},{plain(row.reference_price)}\n"
        for row in rows
    )


def margin_text(rows: Iterable[MarginRow]) -> str:
    """A margin file."""
    lines = ["date,initial,maintenance,initial_intraday,maintenance_intraday"]
    for row in rows:
        values = (row.initial, row.maintenance, row.initial_intraday, row.maintenance_intraday)
        lines.append(f"{row.day:%Y%m%d}," + ",".join(plain(value) for value in values))
    return "\n".join(lines) + "\n"


def rates_text(rates: InterestRates) -> str:
    """The interest-rate file: per cent a year."""
    lines = ["DATE,PCREDIT8"]
    pairs = zip(rates.days.tolist(), rates.rates.tolist(), strict=True)
    lines.extend(f"{date.fromordinal(day):%Y-%m-%d},{plain(rate * 100)}" for day, rate in pairs)
    return "\n".join(lines) + "\n"


def write_archive(path: Path, entries: Mapping[str, str]) -> int:
    """Writes a zip whose bytes depend on the entries alone; returns its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _STAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    content = packed.getvalue()
    path.write_bytes(content)
    return len(content)


def write_text(path: Path, text: str) -> int:
    """Writes a text file with bare line feeds; returns its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode("utf-8")
    path.write_bytes(content)
    return len(content)

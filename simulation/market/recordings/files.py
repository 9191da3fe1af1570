"""Recorded option chains as they lie in files, read into one form: `read` for any layout, `chains` for a folder.

Layouts: Cboe's delayed quote tables of 2019 on (any language and zone) and of before, OptSum, DataShop's end of day and
intervals, OptionMetrics, DiscountOptionData. What a layout keeps silent about is settled here once: the moment of
the quotes, whether an expiration settles in the morning, Saturdays that mean the Friday before, contracts that have
expired, classes that are no series of their own, missing prices.
"""

from __future__ import annotations

import csv
import gzip
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

from simulation.lean.contract_months import third_friday
from simulation.market.calendar import OPEN_MINUTE, calendar
from simulation.market.recordings.moments import moment_of_quotes, stated_moment

MORNING_ROOTS = frozenset({"SPX", "VIX", "VIXW", "NDX", "RUT", "DJX"})
OLD_INDEX_CLASSES = frozenset({"SPX", "SPB", "SPL", "SPQ", "SPT", "SPZ", "SXB", "SXG", "SXM", "SXY", "SXZ", "SYF"}
                              | {"SYG", "SYU", "SYV", "SYZ", "SZD", "SZP", "SZT", "SZU", "SZV", "SLX"})  # fmt: skip
MINI = 7  # DiscountOptionData's nonstd; 103 and 104 are quarter ends and weeklies
PERIODIC = re.compile(r"JX\w*|QSE|SAQ|SKQ|SLQ|SQP|SZQ")  # weekly and quarterly classes that carry the month's expiry
SERIES = re.compile(r"([A-Z]+)\s*(\d{6})([CP])(\d{1,8})$")
OLD_SERIES = re.compile(r"(\d\d) (\w{3}) ([\d.]+) \(([A-Z]+?)(\d\d)(\d\d)([A-X])[\d.]+(?:-(\w+))?\)")


class RecordedError(ValueError):
    """A file that cannot be read; the message names file, line, what was there and what would be right."""


@dataclass(frozen=True, slots=True)
class Series:
    """One recorded contract: root, expiry (a trading day), strike and sign (+1 call, -1 put)."""

    root: str
    expiry: date
    strike: float
    sign: int


@dataclass(frozen=True, slots=True)
class Quoted:
    """A contract with what was bid (``None``: nobody) and asked for it, in points."""

    series: Series
    bid: float | None
    ask: float | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """All quotes of one underlying at one moment, expired ones left out.

    ``moment`` is New York's clock; ``spot`` and ``before`` are the underlying's last price and the close of the day
    before, ``None`` where the file has none. ``evening`` marks quotes taken after hours, whose forward is not the
    index's close.
    """

    source: str
    underlying: str
    moment: datetime
    quotes: tuple[Quoted, ...]
    spot: float | None = None
    before: float | None = None
    evening: bool = False


def settlement(root: str, expiry: date) -> datetime:
    """When an expiration settles: the open of its day for roots that settle in the morning, else the close."""
    last = calendar().on_or_before(expiry)
    minute = OPEN_MINUTE if root in MORNING_ROOTS else OPEN_MINUTE + calendar().session_minutes(last)
    return datetime.combine(last, time(minute // 60, minute % 60))


def trading_expiry(written: date) -> date:
    """The trading day of an expiry as written: until 2015 files carry the Saturday after it."""
    return calendar().on_or_before(written)


def alive(chain: Recorded) -> Recorded:
    """The chain without what had settled by its moment."""
    kept = tuple(one for one in chain.quotes if settlement(one.series.root, one.series.expiry) > chain.moment)
    return replace(chain, quotes=kept)


def _price(text: str) -> float | None:
    """A price; ``None`` for what the layouts write when there is none."""
    cleaned = text.strip().replace(",", "")
    if cleaned in ("", "-", "--", "nan"):
        return None
    value = float(cleaned)
    return value if value > 0.0 else None


def lines_of(path: Path) -> list[str]:
    """The file's lines, unpacked, without a byte-order mark."""
    raw = path.read_bytes()
    data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return data.decode("latin-1").splitlines()


def _named(path: Path) -> str:
    return path.name.removesuffix(".gz")


# --- Cboe's delayed quote tables -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Head:
    """What a quote table says above its rows: ticker as far as known, last price, change, moment."""

    spot: float | None
    change: float | None
    stated: datetime


def _number_after(cells: Sequence[str], word: str, place: int) -> float | None:
    """The number behind ``word:`` in any cell, or in the cell at ``place``."""
    for cell in cells:
        found = re.search(rf"{word}:\s*([-+]?[\d.,]+)", cell)
        if found:
            return float(found.group(1).replace(",", ""))
    text = cells[place].strip().lstrip("+") if place < len(cells) else ""
    return float(text) if re.fullmatch(r"-?[\d.]+", text) else None


def _head(path: Path, rows: Sequence[Sequence[str]]) -> _Head:
    """The name line and the line of the moment; raises RecordedError naming what it cannot read."""
    shown = [row for row in rows if any(cell.strip() for cell in row)]
    if len(shown) < 2:
        raise RecordedError(f"{path.name}: {len(shown)} lines above the table; expected a name and an as-of line")
    try:
        stated = stated_moment(", ".join(cell for cell in shown[1] if cell.strip()))
    except ValueError as error:
        raise RecordedError(f"{path.name}: {error}") from error
    return _Head(_number_after(shown[0], "Last", 1), _number_after(shown[0], "Change", 2), stated)


def _finished(path: Path, head: _Head, quotes: Iterable[Quoted]) -> Recorded:
    moment, evening = moment_of_quotes(head.stated)
    rows = tuple(quotes)
    if not rows:
        raise RecordedError(f"{path.name}: no contract was read; expected symbols such as SPXW220107C04700000")
    before = None if head.spot is None or head.change is None else round(head.spot - head.change, 4)
    underlying = re.sub(r"W$", "", rows[-1].series.root)
    return alive(Recorded(_named(path), underlying, moment, rows, head.spot, before, evening))


def quote_table(path: Path, lines: Sequence[str]) -> list[Recorded]:
    """A table of 2019 on: calls left of the strike, puts right of it, whatever columns there are."""
    rows = list(csv.reader(lines))
    top = next(number for number, row in enumerate(rows) if row and row[0].strip() == "Expiration Date")
    names = [cell.strip() for cell in rows[top]]
    middle = names.index("Strike")
    places = []
    for symbol, first, last in (("Calls", 0, middle), ("Puts", middle, len(names))):
        part = names[first:last]
        places.append((first + part.index(symbol), first + part.index("Bid"), first + part.index("Ask")))

    def quotes() -> Iterator[Quoted]:
        for number, row in enumerate(rows[top + 1 :], start=top + 2):
            if len(row) < len(names) - 1:
                continue
            for symbol, bid, ask in places:
                found = SERIES.match(row[symbol].strip())
                if found is None:
                    raise RecordedError(
                        f"{path.name} line {number}: symbol {row[symbol]!r}; expected root, date, strike"
                    )
                root, written, right, _ = found.groups()
                expiry = trading_expiry(datetime.strptime(written, "%y%m%d").date())
                series = Series(root, expiry, float(row[middle].replace(",", "")), 1 if right == "C" else -1)
                yield Quoted(series, _price(row[bid]), _price(row[ask]))

    return [_finished(path, _head(path, rows[:top]), quotes())]


def old_quote_table(path: Path, lines: Sequence[str]) -> list[Recorded]:
    """A table of before 2019: no strike or expiry but in the series' name; one row for each exchange, one is kept."""
    rows = list(csv.reader(lines))
    top = next(number for number, row in enumerate(rows) if row and row[0].strip() == "Calls")
    names = [cell.strip() for cell in rows[top]]
    bids = [place for place, name in enumerate(names) if name == "Bid"]
    asks = [place for place, name in enumerate(names) if name == "Ask"]
    symbols = [names.index("Calls"), names.index("Puts")]
    kept: dict[Series, tuple[bool, Quoted]] = {}
    for row in rows[top + 1 :]:
        if len(row) < max(asks) + 1:
            continue
        for symbol, bid, ask in zip(symbols, bids, asks, strict=True):
            found = OLD_SERIES.match(row[symbol].strip())
            if found is None:
                continue  # adjusted and pre-2010 codes, which say no day
            _, _, strike, root, year, day, letter, exchange = found.groups()
            number = ord(letter) - ord("A")
            written = date(2000 + int(year), number % 12 + 1, int(day))
            series = Series(root, trading_expiry(written), float(strike), 1 if number < 12 else -1)
            whole = exchange is None
            if series not in kept or (whole and not kept[series][0]):
                kept[series] = (whole, Quoted(series, _price(row[bid]), _price(row[ask])))
    return [_finished(path, _head(path, rows[:top]), (quoted for _, quoted in kept.values()))]


# --- tables with one contract a row ----------------------------------------------------------------------------------

Row = Mapping[str, str]
Reading = Callable[[Row], tuple[str, datetime, Quoted, float | None] | None]


def _by_moment(path: Path, lines: Sequence[str], reading: Reading) -> list[Recorded]:
    """One chain for each underlying and moment of a table; ``reading`` gives ``None`` for rows to leave out."""
    found: dict[tuple[str, datetime], tuple[list[Quoted], float | None]] = {}
    names = [cell.strip() for cell in next(csv.reader(lines[:1]))]
    for number, cells in enumerate(csv.reader(lines[1:]), start=2):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            read_row = reading(dict(zip(names, cells, strict=False)))
        except (KeyError, ValueError) as error:
            raise RecordedError(f"{path.name} line {number}: {error}; expected a contract with its quote") from error
        if read_row is not None:
            underlying, moment, quoted, spot = read_row
            found.setdefault((underlying, moment), ([], spot))[0].append(quoted)
    return [
        alive(Recorded(_named(path), underlying, moment, tuple(quotes), spot))
        for (underlying, moment), (quotes, spot) in found.items()
    ]


def _close_of(day: date) -> datetime:
    minute = OPEN_MINUTE + calendar().session_minutes(day)
    return datetime.combine(day, time(minute // 60, minute % 60))


def opt_sum(path: Path, lines: Sequence[str]) -> list[Recorded]:
    """OptSum: the classes of 2008 are one root; weeklies and quarterlies carry a month's expiry and are left out."""

    def reading(row: Row) -> tuple[str, datetime, Quoted, float | None] | None:
        if PERIODIC.fullmatch(row["CLS"].strip()):
            return None
        written, day = date.fromisoformat(row["EXPR_DT"]), date.fromisoformat(row["TRADE_DT"])
        sign = 1 if row["PC"].strip() == "C" else -1
        series = Series(row["UNDLY"].strip(), trading_expiry(written), float(row["STRK_PRC"]), sign)
        quoted = Quoted(series, _price(row["L_BID"]), _price(row["L_ASK"]))
        return series.root, _close_of(day), quoted, _price(row["UNDL_PRC"])

    return _by_moment(path, lines, reading)


def data_shop(path: Path, lines: Sequence[str]) -> list[Recorded]:
    """DataShop, end of day (the quotes of 15:45, on half days 12:45) or intervals; the root may be the file's name."""
    named = re.match(r"[A-Za-z]+", path.name)
    fallback = named.group().upper() if named else path.name

    def reading(row: Row) -> tuple[str, datetime, Quoted, float | None] | None:
        root = row.get("root", fallback).strip()
        underlying = row.get("underlying_symbol", re.sub(r"W$", "", root)).strip().lstrip("^")
        if "quote_datetime" in row:
            moment, suffix = datetime.fromisoformat(row["quote_datetime"]), ""
        else:
            day = date.fromisoformat(row["quote_date"])
            moment, suffix = _close_of(day) - timedelta(minutes=15), "_1545"
        if row.get("delivery_code", "").strip():
            return None  # adjusted contracts deliver something else
        series = Series(
            root, trading_expiry(date.fromisoformat(row["expiration"])), float(row["strike"]),
            1 if row["option_type"].strip().upper().startswith("C") else -1,
        )  # fmt: skip
        low, high = (_price(row[f"underlying_{side}{suffix}"]) for side in ("bid", "ask"))
        spot = None if low is None or high is None else 0.5 * (low + high)
        return underlying, moment, Quoted(series, _price(row[f"bid{suffix}"]), _price(row[f"ask{suffix}"])), spot

    return _by_moment(path, lines, reading)


def option_metrics(path: Path, lines: Sequence[str]) -> list[Recorded]:
    """OptionMetrics: strikes a thousand times; the root decides the settlement, not ``am_set_flag``."""

    def reading(row: Row) -> tuple[str, datetime, Quoted, float | None]:
        day, written = (datetime.strptime(row[name], "%Y%m%d").date() for name in ("date", "exdate"))
        code = SERIES.match(row["symbol"].strip())
        ticker, root = row["ticker"].strip(), row["root"].strip()
        if code is not None:
            root = code.group(1)
        elif not root or root in OLD_INDEX_CLASSES:
            root = ticker
        expiry = trading_expiry(written)
        if root == "SPX" and expiry != third_friday(expiry.year, expiry.month):
            root = "SPXW"
        strike = float(row["strike_price"]) / 1000.0
        series = Series(root, expiry, strike, 1 if row["cp_flag"].strip() == "C" else -1)
        return ticker, _close_of(day), Quoted(series, _price(row["best_bid"]), _price(row["best_offer"])), None

    return _by_moment(path, lines, reading)


def discount_option_data(path: Path, lines: Sequence[str]) -> list[Recorded]:
    """DiscountOptionData: a space after each comma of the header, minis among the rows."""

    def reading(row: Row) -> tuple[str, datetime, Quoted, float | None] | None:
        if int(row["nonstd"]) == MINI or not row["symbol"].split()[0].isalpha():
            return None
        day, written = date.fromisoformat(row["date"]), date.fromisoformat(row["expiration"])
        root, sign = row["symbol"].split()[0], 1 if row["put/call"].strip().upper() == "C" else -1
        series = Series(root, trading_expiry(written), float(row["strike"]), sign)
        return row["under"].strip(), _close_of(day), Quoted(series, _price(row["bid"]), _price(row["ask"])), None

    return _by_moment(path, lines, reading)


LAYOUTS: tuple[tuple[str, Callable[[Path, Sequence[str]], list[Recorded]]], ...] = (
    (r"TRADE_DT,UNDLY,CLS", opt_sum),
    (r"secid,date,symbol", option_metrics),
    (r"date, ?symbol, ?under", discount_option_data),
    (r"(underlying_symbol,)?quote_date(time)?,", data_shop),
    (r"Expiration Date,Calls", quote_table),
    (r"Calls,Last Sale", old_quote_table),
)


def read(path: Path) -> list[Recorded]:
    """The chains of a file, ascending by moment; raises RecordedError for a layout that is not known."""
    lines = lines_of(path)
    start = [unicodedata.normalize("NFKC", line) for line in lines[:8]]
    for pattern, reading in LAYOUTS:
        if any(re.match(pattern, line) for line in start):
            return sorted(reading(path, lines), key=lambda chain: (chain.moment, chain.underlying))
    raise RecordedError(
        f"{path.name}: starts {lines[0][:60]!r}; expected a Cboe quote table, OptSum, DataShop, OptionMetrics or "
        "DiscountOptionData"
    )


def chains(folder: Path) -> list[Recorded]:
    """Every chain of a folder of recordings, ascending by moment; raises RecordedError when there is none."""
    names = ("cboe_quote_tables", "cboe_optsum", "cboe_datashop", "optionmetrics", "discountoptiondata")
    paths = sorted(path for name in names for path in (folder / name).glob("*.*") if path.is_file())
    if not paths:
        raise RecordedError(f"{folder}: no recordings; expected folders {', '.join(names)}")
    return sorted((chain for path in paths for chain in read(path)), key=lambda chain: (chain.moment, chain.source))

"""Daily history as it comes.

The data sets of the ``arch`` package and CSV files, checked before anything is built on them.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import numpy as np

from simulation.market.calendar import CASH_INDEX, TRADED_SHARE, FloatArray, IntArray, Profile, calendar
from simulation.market.daily_text import columns_of, day_of, numbers_of, rows_of
from simulation.market.mending import usual_shadows

TICK = 0.01
MISPRINT_DEVIATIONS = 3.0
STRAY_DAYS = 5
ROUNDING = 0.0051  # a source that rounds each price to a cent may contradict itself by half a cent
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
SATURDAY = 5
LOWEST_VOLATILITY, HIGHEST_VOLATILITY = 1.0, 200.0  # the VIX closed between 9.14 and 82.69, and never printed over 103
LARGEST_INDEX_MOVE = 0.30  # October 19, 1987 was 20.5 %
SPLIT_RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0, 1.5, 0.5, 1 / 3, 0.25, 0.2, 0.1)


class HistoryError(ValueError):
    """A daily history that cannot be used; the message names file, day, value and what would be right."""


class LayoutError(HistoryError):
    """The file's columns or dates are not of a known layout."""


class MissingDaysError(HistoryError):
    """Trading days are missing between the first and the last row."""


class DateOrderError(HistoryError):
    """Dates repeat or run backwards."""


class NonPositivePriceError(HistoryError):
    """A price is zero, negative or not a number."""


class InconsistentBarError(HistoryError):
    """A high under the open, close or low, or a low over them."""


class SplitError(HistoryError):
    """A jump that looks like an unadjusted split."""


class OutOfBoundsError(HistoryError):
    """A level or a move that no such index ever had."""


class Role(StrEnum):
    """What a daily series is in the model."""

    INDEX = "index"
    VOLATILITY = "volatility"
    RATE = "rate"
    UNDERLYING = "underlying"


@dataclass(frozen=True)
class DailyBars:
    """One daily series, ascending: ordinals of the days and prices in points.

    Open, high and low NaN where only closes are known.
    """

    name: str
    role: Role
    days: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    profile: Profile = TRADED_SHARE
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.days)

    def between(self, first: int, last: int) -> DailyBars:
        """The rows whose ordinals lie in ``first`` to ``last``, both included."""
        rows = slice(int(np.searchsorted(self.days, first)), int(np.searchsorted(self.days, last, side="right")))
        return replace(
            self,
            days=self.days[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
        )

    def on(self, days: IntArray) -> DailyBars:
        """The rows of exactly ``days``, NaN where this series has none.

        Raises MissingDaysError when that is more than a stray day.

        Cboe's own VIX file lacks 1999-12-31; such a day has no VIX to publish, and a run of them is a hole.
        """
        rows = np.minimum(np.searchsorted(self.days, days), len(self.days) - 1)
        found = self.days[rows] == days
        lacking = [date.fromordinal(int(day)) for day in days[~found]]
        if len(lacking) > STRAY_DAYS or (len(lacking) > 1 and bool((~found[1:] & ~found[:-1]).any())):
            raise MissingDaysError(
                f"{self.name}: {len(lacking)} trading days missing, first {lacking[0]}; "
                "expected a row for every day of the index"
            )
        columns = [np.where(found, prices[rows], np.nan) for prices in (self.open, self.high, self.low, self.close)]
        notes = tuple(f"{self.name}: no value on {day}, nothing is published that day" for day in lacking)
        return replace(
            self,
            days=days,
            open=columns[0],
            high=columns[1],
            low=columns[2],
            close=columns[3],
            notes=(*self.notes, *notes),
        )

    def scaled(self, factor: float, name: str) -> DailyBars:
        """The same series in other points, rounded to a cent."""
        scale = [np.round(prices * factor, 2) for prices in (self.open, self.high, self.low, self.close)]
        return replace(self, name=name, open=scale[0], high=scale[1], low=scale[2], close=scale[3])


def _day(ordinal: int | np.int64) -> date:
    return date.fromordinal(int(ordinal))


def check(bars: DailyBars, *, holes: bool = True) -> DailyBars:
    """``bars`` unchanged if they can be trusted, else the typed error of the first thing wrong.

    A volatility index whose printed open lies outside its own range (Cboe's file has 47 such days: the print of
    the special opening) gets the nearest value of the range and a note; everything else raises.
    """
    if len(bars) < 2:
        raise LayoutError(f"{bars.name}: {len(bars)} rows; expected at least 2 trading days")
    steps = np.diff(bars.days)
    if bool((steps <= 0).any()):
        at = int(np.argmax(steps <= 0))
        raise DateOrderError(
            f"{bars.name}: {_day(bars.days[at + 1])} follows {_day(bars.days[at])}; expected ascending dates"
        )
    for label, prices in (("close", bars.close), ("open", bars.open), ("high", bars.high), ("low", bars.low)):
        wrong = ~(prices > 0.0) if label == "close" else ~((prices > 0.0) | np.isnan(prices))
        if bool(wrong.any()):
            at = int(np.argmax(wrong))
            raise NonPositivePriceError(
                f"{bars.name}: {label} {prices[at]} on {_day(bars.days[at])}; expected a price above 0"
            )
    bars = _clip_volatility_open(bars) if bars.role is Role.VOLATILITY else bars
    _check_ranges(bars)
    if bars.role is not Role.VOLATILITY:
        _check_splits(bars)
    if holes:
        _check_holes(bars)
    return bars


def _clip_volatility_open(bars: DailyBars) -> DailyBars:
    clipped = np.clip(bars.open, bars.low, bars.high)
    count = int((np.abs(clipped - bars.open) > ROUNDING).sum())
    if count == 0:
        return bars
    return replace(
        bars, open=clipped, notes=(*bars.notes, f"{bars.name}: {count} opens outside the day's range moved into it")
    )


def _check_ranges(bars: DailyBars) -> None:
    top = np.fmax(bars.open, bars.close)
    bottom = np.fmin(bars.open, bars.close)
    wrong = (bars.high < top - ROUNDING) | (bars.low > bottom + ROUNDING) | (bars.high < bars.low)
    if bool(wrong.any()):
        at = int(np.argmax(wrong))
        values = [round(float(prices[at]), 4) for prices in (bars.open, bars.high, bars.low, bars.close)]
        raise InconsistentBarError(
            f"{bars.name}: open, high, low, close {values} on {_day(bars.days[at])}; "
            "expected low <= open, close <= high"
        )


def _check_splits(bars: DailyBars) -> None:
    ratio = bars.close[:-1] / bars.open[1:]  # NaN, so never a split, where a source gives closes only
    for split in SPLIT_RATIOS:
        hits = np.abs(ratio / split - 1.0) < 0.04
        if bool(hits.any()):
            at = int(np.argmax(hits)) + 1
            raise SplitError(
                f"{bars.name}: {bars.close[at - 1]:g} to {bars.open[at]:g} overnight into {_day(bars.days[at])} "
                "looks like a split; expected prices adjusted for splits"
            )


def _check_holes(bars: DailyBars) -> None:
    expected = {day.toordinal() for day in calendar().between(_day(bars.days[0]), _day(bars.days[-1]))}
    missing = sorted(expected - set(bars.days.tolist()))
    if missing:
        shown = ", ".join(str(_day(day)) for day in missing[:3])
        raise MissingDaysError(
            f"{bars.name}: {len(missing)} trading days missing between {_day(bars.days[0])} and "
            f"{_day(bars.days[-1])}, first {shown}; expected every trading day of New York"
        )


# --- the data sets of arch -------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def arch_series(name: str) -> DailyBars:
    """``sp500`` and ``nasdaq`` (open, high, low, close, 1999 to 2018), ``vix`` (closes.

    2014 to 2018) or ``wti`` (closes from 1986).

    The package's data files are read where they lie: importing ``arch`` itself costs seconds.
    """
    package = importlib.util.find_spec("arch")
    if package is None or not package.submodule_search_locations:
        raise LayoutError(
            f"arch: package not installed, so no data set {name!r}; expected it in the environment of run.py"
        )
    path = Path(package.submodule_search_locations[0]) / "data" / name / f"{name}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    role = {"vix": Role.VOLATILITY, "sp500": Role.INDEX}.get(name, Role.UNDERLYING)
    bars, _ = _bars_of_rows(rows, path, role)
    bars = replace(bars, name=f"arch {name}", profile=CASH_INDEX if len(rows[0]) > 2 else TRADED_SHARE)
    return check(bars, holes=False)


# --- CSV files -------------------------------------------------------------------------------------------------------

_ROLE_WORDS = (
    (Role.VOLATILITY, ("vix", "vxn", "volatility")),
    (Role.RATE, ("rate", "irx", "tb3ms", "dtb3", "dgs", "pcredit")),
    (Role.INDEX, ("spx", "spy", "gspc", "sp500", "sp_500", "s&p")),
)
_CASH_WORDS = ("spx", "gspc", "sp500", "ndx", "ixic", "rut")


def role_of(path: Path) -> Role:
    """What the file's name says it holds; a name that says nothing is another underlying."""
    stem = path.stem.lower()
    for role, words in _ROLE_WORDS:
        if any(word in stem for word in words):
            return role
    return Role.UNDERLYING


def _bars_of_rows(rows: Sequence[Sequence[str]], path: Path, role: Role) -> tuple[DailyBars, list[int]]:
    """The series of a file's rows, header first, and the line of each of its days."""
    try:
        columns = columns_of(rows[0] if rows else [], path.name)
        filled = [(row, cells) for row, cells in enumerate(rows[1:]) if any(cell.strip() for cell in cells)]
        dates = {row: "".join(cells[columns["date"] :][:1]) for row, cells in filled}
        days = {row: day_of(text, f"{path.name} line {row + 2}") for row, text in dates.items()}
        prices = {key: column for key, column in columns.items() if key != "date"}
        values = numbers_of(rows[1:], prices, path.name)
    except ValueError as error:
        raise LayoutError(str(error)) from error
    kept: list[tuple[int, int]] = []  # day and row
    stray: list[tuple[date, int]] = []
    for row, day in days.items():
        close = values["close"][row]
        if close is not None and calendar().is_open(day):
            kept.append((day.toordinal(), row))
        elif close is not None and day.weekday() >= SATURDAY and not (kept and values["close"][kept[-1][1]] == close):
            stray.append((day, row + 2))
        # else a source's empty row for a holiday; a trading day left empty is found as a hole later
    if stray and kept and role is not Role.RATE:
        raise _shifted(path, stray, [date.fromordinal(day) for day, _ in kept])
    if not kept:
        raise LayoutError(f"{path.name}: no row with a price on a trading day; expected at least 2")
    table = np.full((len(kept), 4), np.nan)
    for column, key in enumerate(("open", "high", "low", "close")):
        if key in values:
            table[:, column] = [np.nan if (price := values[key][row]) is None else price for _, row in kept]
    table = np.round(table, 2 if role is not Role.RATE else 6)
    ordinals = np.asarray([day for day, _ in kept], dtype=np.int64)
    bars = DailyBars(path.name, role, ordinals, table[:, 0], table[:, 1], table[:, 2], table[:, 3])
    return bars, [row + 2 for _, row in kept]


def _shifted(path: Path, stray: list[tuple[date, int]], days: list[date]) -> LayoutError:
    """The error of a file with prices of their own on weekends."""
    day, line = stray[0]
    bare = [name for number, name in enumerate(WEEKDAYS) if all(one.weekday() != number for one in days)]
    guess = f", and none falls on a {bare[0]}: the dates look shifted by a day" if bare else ""
    name = "Saturday" if day.weekday() == SATURDAY else "Sunday"
    return LayoutError(
        f"{path.name} line {line}: {day} is a {name} and has a price of its own; expected trading days only "
        f"({len(stray)} such rows{guess})"
    )


def read_csv(path: Path, role: Role | None = None) -> DailyBars:
    """The daily series of a CSV file in the layout of Cboe, Yahoo, Stooq or FRED.

    ``role`` is what the file's name says unless it is given. Raises a HistoryError naming file and line.
    """
    if not path.is_file():
        raise LayoutError(f"{path}: no such file; expected a CSV of daily prices")
    role = role or role_of(path)
    try:
        rows = rows_of(path)
    except ValueError as error:
        raise LayoutError(str(error)) from error
    bars, lines = _bars_of_rows(rows, path, role)
    if any(word in path.stem.lower() for word in _CASH_WORDS):
        bars = replace(bars, profile=CASH_INDEX)
    if role is Role.RATE:
        return bars
    bars = check(bars, holes=role is not Role.VOLATILITY)
    _check_bounds(bars, lines)
    return bars


def _check_bounds(bars: DailyBars, lines: list[int]) -> None:
    """Raises for a level or a move that no such index ever had: a number that was misread, or another series."""
    if bars.role is Role.VOLATILITY:
        for label, prices in (("open", bars.open), ("high", bars.high), ("low", bars.low), ("close", bars.close)):
            wrong = (prices > HIGHEST_VOLATILITY) | (prices < LOWEST_VOLATILITY)
            if bool(wrong.any()):
                at = int(np.argmax(wrong))
                raise OutOfBoundsError(
                    f"{bars.name} line {lines[at]}: {label} {prices[at]:g} on {_day(bars.days[at])}; expected a "
                    f"volatility index in points, {LOWEST_VOLATILITY:g} to {HIGHEST_VOLATILITY:g}"
                )
    elif bars.role is Role.INDEX or bars.profile is CASH_INDEX:
        moves = bars.close[1:] / bars.close[:-1] - 1.0
        wrong = np.abs(moves) > LARGEST_INDEX_MOVE
        if bool(wrong.any()):
            at = int(np.argmax(wrong)) + 1
            raise OutOfBoundsError(
                f"{bars.name} line {lines[at]}: close {bars.close[at - 1]:g} to {bars.close[at]:g} on "
                f"{_day(bars.days[at])}, {moves[at - 1]:+.0%}; expected a move of an index, at most "
                f"{LARGEST_INDEX_MOVE:.0%} in a day"
            )


@dataclass(frozen=True)
class MarketHistory:
    """An index and its volatility index on the same days, and whatever other underlyings came with them."""

    index: DailyBars
    volatility: DailyBars
    others: dict[str, DailyBars]
    rate: DailyBars | None = None

    @property
    def first_day(self) -> date:
        """The first day that can be simulated (the one before it only gives yesterday's close)."""
        return _day(self.index.days[1])

    @property
    def last_day(self) -> date:
        """The last day of the shared range."""
        return _day(self.index.days[-1])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was mended or scaled on the way in, one line each."""
        return (*self.index.notes, *self.volatility.notes)


def join(
    index: DailyBars, volatility: DailyBars, others: dict[str, DailyBars], rate: DailyBars | None = None
) -> MarketHistory:
    """Cuts both series to the range they share; raises MissingDaysError when the volatility index has holes in it."""
    first, last = max(index.days[0], volatility.days[0]), min(index.days[-1], volatility.days[-1])
    if first >= last:
        raise MissingDaysError(
            f"{index.name} ({_day(index.days[0])} to {_day(index.days[-1])}) and {volatility.name} "
            f"({_day(volatility.days[0])} to {_day(volatility.days[-1])}) share no days; expected overlapping ranges"
        )
    cut = index.between(int(first), int(last))
    fear = volatility.on(cut.days)
    return MarketHistory(without_long_shadows(without_misprints(cut, fear), fear), fear, others, rate)


def without_misprints(index: DailyBars, volatility: DailyBars) -> DailyBars:
    """Highs and lows that no trade can have made are moved to the edge of what the day's fear allows.

    And counted in a note.

    Public files of SPY hold prints of 1998 to 2007 that lie 5 to 20 % away from a day whose index moved half a
    percent. The edge is three deviations of a day, by the volatility index's own high, beyond the open and the
    close: the real lows of May 6, 2010 and August 24, 2015 are inside it.
    """
    worst = np.fmax(np.fmax(volatility.high, volatility.close), np.nan_to_num(volatility.open, nan=0.0))
    worst[1:] = np.fmax(worst[1:], volatility.close[:-1])
    room = np.exp(MISPRINT_DEVIATIONS * worst / 100.0 / np.sqrt(252.0))
    highest, lowest = np.fmax(index.open, index.close) * room, np.fmin(index.open, index.close) / room
    wrong = (index.high > highest) | (index.low < lowest)
    if not bool(wrong.any()):
        return index
    high, low = np.round(np.fmin(index.high, highest), 2), np.round(np.fmax(index.low, lowest), 2)
    note = f"{index.name}: highs or lows of {int(wrong.sum())} days are misprints, moved to the edge of the possible"
    return replace(index, high=high, low=low, notes=(*index.notes, note))


def without_long_shadows(index: DailyBars, volatility: DailyBars) -> DailyBars:
    """The index with the highs and lows of bad years drawn in (`usual_shadows`), a note for each of them."""
    bars = (index.open, index.high, index.low, index.close)
    high, low, years = usual_shadows(index.days, bars, volatility.close)
    if not years:
        return index
    notes = [f"{index.name}: highs and lows of {year} reach too far on {share:.0%} of its days, all drawn in"
             for year, share in years]  # fmt: skip
    return replace(index, high=high, low=low, notes=(*index.notes, *notes))


@lru_cache(maxsize=1)
def from_arch() -> MarketHistory:
    """S&P 500 and VIX on the days both data sets of ``arch`` have (January 2014 to December 2018).

    With NASDAQ and WTI beside them.
    """
    return join(arch_series("sp500"), arch_series("vix"), {"NASDAQ": arch_series("nasdaq"), "WTI": arch_series("wti")})


ROLES_BY_KEY = {"spx": Role.INDEX, "spy": Role.INDEX, "vix": Role.VOLATILITY, "rate": Role.RATE}


def files_of(spec: str) -> list[tuple[str, Path]]:
    """``FILE[,FILE...]`` or ``spx=FILE,vix=FILE``: keys (empty where the file's name says what it is) and paths.

    Keys: spx, or spy taken ten times, vix, rate, and any other ticker for an underlying. Raises LayoutError.
    """
    parts = [part.strip() for part in spec.split(",")]
    if Path(spec).is_file():
        parts = [spec]  # a name with a comma in it
    found: list[tuple[str, Path]] = []
    for part in parts:
        key, equals, name = part.partition("=")
        if not part or (equals and not name.strip()):
            raise LayoutError(f"csv: {part!r} names no file; expected FILE,FILE or spx=FILE,vix=FILE")
        is_key = bool(equals) and key.strip().isalnum() and not Path(part).is_file()
        found.append((key.strip().lower(), Path(name.strip())) if is_key else ("", Path(part)))
    keys = [key for key, _ in found if key]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise LayoutError(f"csv: {twice} is given twice; expected each of spx, vix, rate or a ticker once")
    return found


def from_csv(files: Sequence[Path | tuple[str, Path]]) -> MarketHistory:
    """A history from files, each alone or with its key (``files_of``).

    One index (SPX, or SPY taken ten times), one volatility index, a rate and underlyings if there are any.
    """
    named = [item if isinstance(item, tuple) else ("", item) for item in files]
    found = [(key, read_csv(path, ROLES_BY_KEY.get(key, Role.UNDERLYING) if key else None)) for key, path in named]
    by_role = {role: [(key, bars) for key, bars in found if bars.role is role] for role in Role}
    for role, expected, example in ((Role.INDEX, "spx, gspc, sp500 or spy", "spx"), (Role.VOLATILITY, "vix", "vix")):
        if len(by_role[role]) != 1:
            names = ", ".join(path.name for _, path in named)
            raise LayoutError(
                f"csv: {len(by_role[role])} files for the {role} among {names}; "
                f"expected one whose name holds {expected}, or {example}=FILE"
            )
    key, index = by_role[Role.INDEX][0]
    if key == "spx":
        index = replace(index, profile=CASH_INDEX)
    elif key == "spy" or (float(np.median(index.close)) < 700.0 and "spy" in index.name.lower()):
        note = f"{index.name}: the index is ten times this share"
        index = replace(index.scaled(10.0, index.name), notes=(*index.notes, note))
    others = {
        key.upper() or Path(bars.name).stem.split("-")[0].split("_")[0].upper(): bars
        for key, bars in by_role[Role.UNDERLYING]
    }
    rate = by_role[Role.RATE][0][1] if by_role[Role.RATE] else None
    return join(index, by_role[Role.VOLATILITY][0][1], others, rate)


def previous_day(day: date) -> date:
    """The trading day before ``day``."""
    return calendar().on_or_before(day - timedelta(days=1))

"""Daily history: the layouts that are read, and each thing that makes a file unusable."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import exchange_calendars
import pytest

from core.clock import closing_time, early_closes, is_trading_day, monthly_expiry
from simulation.market.calendar import (
    CASH_INDEX,
    TRADED_SHARE,
    WEIGHT_OF_YEAR,
    VarianceClock,
    calendar,
    weights_of,
)
from simulation.market.history import (
    DateOrderError,
    HistoryError,
    InconsistentBarError,
    LayoutError,
    MissingDaysError,
    NonPositivePriceError,
    SplitError,
    from_arch,
    from_csv,
    read_csv,
)

GOOD = [
    "2018-02-01,100,102,99,101",
    "2018-02-02,101,101.5,97,98",
    "2018-02-05,97,98,92,93",
    "2018-02-06,92,96,91,95",
]


def written(folder: Path, name: str, rows: list[str], header: str = "Date,Open,High,Low,Close") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_the_calendar_is_the_exchanges_from_1990_to_2030() -> None:
    start, end = "1990-01-02", "2030-12-31"
    exchange = exchange_calendars.get_calendar("XNYS", start=start, end=end)
    closes = exchange.schedule["close"].dt.tz_convert("America/New_York")
    # Minutes from 9:30 to the exchange's close: 390, on half days 210, until 1992 270.
    theirs = {stamp.date(): close.hour * 60 + close.minute - 570 for stamp, close in closes.items()}
    days = calendar().between(date.fromisoformat(start), date.fromisoformat(end))
    assert {day: calendar().session_minutes(day) for day in days} == theirs
    assert {day: closing_time(day) for day in days} == {day.date(): close.time() for day, close in closes.items()}
    assert [day for day in days if not is_trading_day(day)] == []


@pytest.mark.parametrize(
    ("day", "minutes"),
    [
        (date(1996, 7, 3), 390),  # Independence Day 1996 was a Thursday: the Friday after it was short
        (date(1996, 7, 5), 210),
        (date(1997, 12, 26), 210),
        (date(1999, 12, 31), 210),
        (date(2002, 7, 3), 390),
        (date(2002, 7, 5), 210),
        (date(2003, 12, 26), 210),
        (date(2013, 7, 3), 210),  # from 2013 on the Wednesday before
        (date(2013, 7, 5), 390),
        (date(1992, 11, 27), 270),
    ],
)
def test_half_days_before_2004(day: date, minutes: int) -> None:
    assert calendar().session_minutes(day) == minutes
    assert (day in early_closes(day.year)) == (minutes < 390)


def test_half_days_of_a_year_known_by_heart() -> None:
    # 2024: Wednesday July 3, Black Friday November 29, Christmas Eve on a Tuesday.
    assert list(early_closes(2024)) == [date(2024, 7, 3), date(2024, 11, 29), date(2024, 12, 24)]


@pytest.mark.parametrize(
    ("month", "expiry"),
    [
        ((2014, 4), date(2014, 4, 17)),  # Good Friday is the 18th
        ((2026, 6), date(2026, 6, 18)),  # Juneteenth is the 19th
        ((2027, 6), date(2027, 6, 17)),  # Saturday's Juneteenth is kept on Friday the 18th
        ((2026, 9), date(2026, 9, 18)),
    ],
)
def test_a_month_expires_before_a_holiday_of_any_name(month: tuple[int, int], expiry: date) -> None:
    assert monthly_expiry(*month) == expiry


@pytest.mark.parametrize("profile", [CASH_INDEX, TRADED_SHARE])
def test_a_year_of_variance_time_is_a_year(profile: object) -> None:
    clock = VarianceClock(profile)  # type: ignore[arg-type]
    years = clock.after_today(date(2017, 1, 3), date(2018, 1, 3), morning=False)
    assert years == pytest.approx(1.0, abs=0.012)


def test_a_weekend_passes_little_more_variance_than_a_night() -> None:
    # French and Roll: Friday close to Monday close 1.107 of a weekday. January 19, 2018 is a Friday.
    clock = VarianceClock(TRADED_SHARE)
    weekday = clock.after_today(date(2018, 1, 17), date(2018, 1, 18), morning=False)
    weekend = clock.after_today(date(2018, 1, 19), date(2018, 1, 22), morning=False)
    assert weekend / weekday == pytest.approx(1.107, abs=1e-9)


def test_a_statement_day_stirs_its_afternoon() -> None:
    # March 21, 2018: a statement at 14:00, the 270th minute; the day before had none.
    quiet, stirred = (weights_of(date(2018, 3, day), TRADED_SHARE) for day in (20, 21))
    assert stirred[:270].tolist() == quiet[:270].tolist()
    assert (stirred - quiet).sum() == pytest.approx(0.30)
    clock = VarianceClock(TRADED_SHARE)
    longer, usual = (
        clock.after_today(date(2018, 3, start), date(2018, 3, start + 1), morning=False) for start in (20, 19)
    )
    assert (longer - usual) * WEIGHT_OF_YEAR == pytest.approx(0.30)


def test_arch_history_is_what_both_data_sets_share() -> None:
    history = from_arch()
    assert (history.first_day, history.last_day) == (date(2014, 1, 6), date(2018, 12, 31))
    row = int((history.index.days == date(2018, 2, 5).toordinal()).argmax())
    # Public record: S&P 500 closed 2648.94 and VIX 37.32 on February 5, 2018.
    assert history.index.close[row] == pytest.approx(2648.94)
    assert history.volatility.close[row] == pytest.approx(37.32)


@pytest.mark.parametrize(
    ("header", "first"),
    [
        ("DATE,OPEN,HIGH,LOW,CLOSE", "02/01/2018,100,102,99,101"),
        ("Date,Open,High,Low,Close,Adj Close,Volume", "2018-02-01,100,102,99,101,101,5000"),
        ("<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", "SPX,D,20180201,0,100,102,99,101,5000"),
        ("Date,Open,High,Low,Close", "2018-02-01 00:00:00-05:00,100,102,99,101"),
    ],
)
def test_layouts_of_cboe_yahoo_and_stooq(tmp_path: Path, header: str, first: str) -> None:
    cells = first.split(",")
    at = cells.index("02/01/2018") if "02/01/2018" in cells else next(i for i, c in enumerate(cells) if "2018" in c)
    second = [*cells]
    second[at] = {"/": "02/02/2018", "-": "2018-02-02"}.get(cells[at][4 if "-" in cells[at] else 2], "20180202")
    bars = read_csv(written(tmp_path, "spx.csv", [first, ",".join(second)], header))
    assert bars.close.tolist() == [101.0, 101.0]
    assert bars.high.tolist() == [102.0, 102.0]


def test_a_fred_file_of_closes_is_a_volatility_index(tmp_path: Path) -> None:
    rows = ["2018-02-01,13.5", "2018-02-02,17.3", "2018-02-03,.", "2018-02-05,37.3"]
    bars = read_csv(written(tmp_path, "vixcls.csv", rows, "observation_date,VIXCLS"))
    assert bars.close.tolist() == [13.5, 17.3, 37.3]


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([GOOD[0], GOOD[2], GOOD[3]], MissingDaysError, "2018-02-02"),
        ([GOOD[1], GOOD[0]], DateOrderError, "2018-02-01 follows 2018-02-02"),
        ([GOOD[0], GOOD[0]], DateOrderError, "2018-02-01 follows 2018-02-01"),
        ([GOOD[0], "2018-02-02,101,101.5,97,-98"], NonPositivePriceError, "close -98"),
        ([GOOD[0], "2018-02-02,101,101.5,0,98"], NonPositivePriceError, "low 0"),
        ([GOOD[0], "2018-02-02,101,100,97,98"], InconsistentBarError, "2018-02-02"),
        ([GOOD[0], "2018-02-02,50.4,51,48,49"], SplitError, "101 to 50.4"),
        ([GOOD[0], "2018-02-02,abc,101,97,98"], LayoutError, "line 3"),
        ([GOOD[0], "someday,100,101,97,98"], LayoutError, "line 3"),
        ([GOOD[0]], LayoutError, "expected at least 2"),
    ],
)
def test_a_bad_file_names_what_is_wrong(tmp_path: Path, rows: list[str], error: type[HistoryError], words: str) -> None:
    with pytest.raises(error, match=words):
        read_csv(written(tmp_path, "spx.csv", rows))


def test_an_unknown_header_says_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="Cboe, Yahoo, Stooq or FRED"):
        read_csv(written(tmp_path, "spx.csv", GOOD, "when,what"))


def test_a_market_of_files_needs_one_index_and_one_volatility_index(tmp_path: Path) -> None:
    index = written(tmp_path, "spx.csv", GOOD)
    with pytest.raises(LayoutError, match="0 files for the volatility"):
        from_csv([index])


def test_spy_becomes_the_index_tenfold_and_says_so(tmp_path: Path) -> None:
    index = written(tmp_path, "spy-daily.csv", GOOD)
    vix = written(
        tmp_path, "vix.csv", ["2018-02-01,14", "2018-02-02,17", "2018-02-05,37", "2018-02-06,30"], "Date,Close"
    )
    history = from_csv([index, vix])
    assert history.index.close.tolist() == [1010.0, 980.0, 930.0, 950.0]
    assert any("ten times" in note for note in history.notes)


def test_an_open_of_the_volatility_index_outside_its_range_is_moved_and_noted(tmp_path: Path) -> None:
    rows = ["2018-02-01,14,15,13,14", "2018-02-02,19,17,16,16.5"]
    bars = read_csv(written(tmp_path, "vix.csv", rows))
    assert bars.open.tolist() == [14.0, 17.0]
    assert "1 opens outside" in bars.notes[0]

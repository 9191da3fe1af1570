"""Files of daily prices as the world writes them: decimal commas, encodings, levels out of bounds, shifted dates."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.market.daily_text import Decimals, numbers_of
from simulation.market.history import HistoryError, LayoutError, OutOfBoundsError, files_of, from_csv, read_csv
from simulation.market.source import ModelledMarket

DAYS = ["2018-02-01", "2018-02-02", "2018-02-05", "2018-02-06"]


def a_file(folder: Path, name: str, header: str, rows: list[str], encoding: str = "utf-8") -> Path:
    """A CSV file."""
    path = folder / name
    path.write_bytes("\n".join([header, *rows]).encode(encoding))
    return path


def closes(folder: Path, name: str, *texts: str, quote: str = '"') -> list[float]:
    """What a file of closes is read as."""
    rows = [f"{day},{quote}{text}{quote}" for day, text in zip(DAYS, texts, strict=False)]
    return [float(close) for close in read_csv(a_file(folder, name, "Date,Close", rows)).close]


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("vix.csv", ("9,77", "10,50", "11"), [9.77, 10.50, 11.0]),
        ("spx.csv", ("2.695,81", "2.648,94", "2.700"), [2695.81, 2648.94, 2700.0]),
        ("spx.csv", ("2,695.81", "2,648.94", "2,700"), [2695.81, 2648.94, 2700.0]),
        ("spx.csv", ("2'695.81", "2'648.94", "2700"), [2695.81, 2648.94, 2700.0]),
        ("spx.csv", ("2 695,81", "2\u00a0648,94", "2\u202f700,00"), [2695.81, 2648.94, 2700.0]),
        ("spx.csv", ("1234567", "1234568", "1,234,569"), [1234567.0, 1234568.0, 1234569.0]),
        ("vix.csv", ("$17.31", "17", "18.5"), [17.31, 17.0, 18.5]),
    ],
)
def test_a_columns_decimals_are_told_by_all_its_rows(
    name: str, texts: tuple[str, ...], expected: list[float], tmp_path: Path
) -> None:
    assert closes(tmp_path, name, *texts) == expected


def test_a_file_parted_by_semicolons_has_commas_without_quotes(tmp_path: Path) -> None:
    rows = ["01.02.2018;2.822,30;2.835,10;2.812,70;2.821,98", "02.02.2018;2.808,92;2.808,92;2.759,97;2.762,13"]
    bars = read_csv(a_file(tmp_path, "spx.csv", "Date;Open;High;Low;Close", rows))
    assert bars.close.tolist() == [2821.98, 2762.13]
    assert bars.low.tolist() == [2812.70, 2759.97]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("2,695", "2,648", "2,700"), r"spx\.csv line 2: close '2,695' may be 2695 or 2\.695"),
        (("2.695", "2.648", "2.700"), r"spx\.csv line 2: close '2\.695' may be 2\.695 or 2695"),
        (("2695.81", "2648,94", "2700"), r"line 3: close '2648,94' is written otherwise than line 2, '2695\.81'"),
        (("2,695.81", "2.648,94", "2700"), r"line 3: close '2\.648,94' is written otherwise than line 2"),
        (("2695.81", "26.48.94", "2700"), r"line 3: close '26\.48\.94'; expected a number"),
        (("2695.81", "2,69,5.81", "2700"), r"line 3: close '2,69,5\.81'; expected a number"),
    ],
)
def test_what_has_two_readings_is_refused(texts: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=words):
        closes(tmp_path, "spx.csv", *texts)


def test_another_column_of_the_file_may_say(tmp_path: Path) -> None:
    rows = [f'{day},"2.700,5","2.710","2.690","2.701"' for day in DAYS[:2]]
    bars = read_csv(a_file(tmp_path, "spx.csv", "Date,Open,High,Low,Close", rows))
    assert bars.close.tolist() == [2701.0, 2701.0]


@given(
    st.lists(st.integers(0, 10**9).map(lambda cents: cents / 100), min_size=2, max_size=20),
    st.sampled_from(list(Decimals)),
)
def test_a_number_is_read_as_it_was_written(values: list[float], kind: Decimals) -> None:
    """Whole columns with two decimals and grouped thousands, in either way of writing."""
    texts = [f"{value:,.2f}" for value in values]
    if kind is Decimals.COMMA:
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    assert numbers_of([[text] for text in texts], {"close": 0}, "x.csv") == {"close": values}


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_levels_and_moves_that_never_were_are_errors_with_their_row(tmp_path: Path) -> None:
    with pytest.raises(OutOfBoundsError, match=r"vix\.csv line 3: close 977 on 2018-02-02; expected .* 1 to 200"):
        closes(tmp_path, "vix.csv", "10.5", "977", "11")
    with pytest.raises(OutOfBoundsError, match=r"vix\.csv line 2: close 0\.17"):
        closes(tmp_path, "vix.csv", "0.17", "0.18", "0.19")
    with pytest.raises(OutOfBoundsError, match=r"spx\.csv line 4: close 2700 to 3600 on 2018-02-05, \+33%"):
        closes(tmp_path, "spx.csv", "2690", "2700", "3600")
    assert closes(tmp_path, "spx.csv", "2690", "2700", "2000") == [2690.0, 2700.0, 2000.0]  # 26 %: worse than 1987
    assert closes(tmp_path, "oil.csv", "50", "30", "45") == [50.0, 30.0, 45.0]  # not an index


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("Date,Close\n2018-02-01,1\n".encode("utf-16"), r"spx\.csv: is UTF-16 text; expected UTF-8"),
        ("Date,Close\n2018-02-01,1\n".encode("utf-16-le"), r"spx\.csv: is UTF-16 text; expected UTF-8"),
        ("Date,Close\n2018-02-01,1\n".encode("utf-16-be"), r"spx\.csv: is UTF-16 text; expected UTF-8"),
        ("Date,Close\n2018-02-01,1\n".encode("utf-32"), r"spx\.csv: is UTF-32 text; expected UTF-8"),
        (b"PK\x03\x04\x14\x00", r"spx\.csv: is a ZIP archive or a workbook, a binary file"),
        (b"\x1f\x8b\x08\x00", r"spx\.csv: is gzip, a binary file"),
        (b"Date,Close\n2018-02-01,1\x00\n", r"spx\.csv line 2: holds a zero byte, so it is a binary file"),
        (b"Date,Close\n2018-02-01,1\xe4\n", r"spx\.csv line 2: byte 0xe4 is no UTF-8"),
        (b"", r"spx\.csv: columns \[\]; expected a header"),
    ],
)
def test_what_is_no_text_is_named(raw: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "spx.csv"
    path.write_bytes(raw)
    with pytest.raises(LayoutError, match=words):
        read_csv(path)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (('"2018-02-01,10', "2018-02-02,11", "2018-02-05,12"), 2),  # to the end of the file
        (("2018-02-01,10", '2018-02-02,"11', '2018-02-05",12', "2018-02-06,13"), 3),  # closed two lines on
        (("2018-02-01,10", '2018-02-02,"1"1', "2018-02-05,12"), 3),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_days(rows: tuple[str, ...], line: int, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=f"line {line}: is no CSV"):
        read_csv(a_file(tmp_path, "vix.csv", "Date,Close", list(rows)))


def test_a_mark_at_the_start_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = a_file(tmp_path, "vix.csv", "Date,Close", ["2018-02-01,13.5", "2018-02-02,17.3"], "utf-8-sig")
    assert read_csv(path).close.tolist() == [13.5, 17.3]


# --- dates ----------------------------------------------------------------------------------------------------------


def shifted(folder: Path, name: str, days: int) -> Path:
    """Two weeks of closes whose dates are wrong by some days."""
    weekdays = [date(2018, 2, 5) + timedelta(days=count) for count in range(12) if count % 7 < 5]
    rows = [f"{day + timedelta(days=days)},{20 + number / 10:.2f}" for number, day in enumerate(weekdays)]
    return a_file(folder, name, "Date,Close", rows)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (
            -1,
            r"line 2: 2018-02-04 is a Sunday and has a price of its own; .* none falls on a Friday: .* shifted",
        ),
        (1, r"line 6: 2018-02-10 is a Saturday and has a price of its own; .* none falls on a Monday"),
    ],
)
@pytest.mark.parametrize("name", ["vix.csv", "spx.csv"])
def test_dates_that_are_one_day_off_are_refused_not_thinned(days: int, words: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=words):
        read_csv(shifted(tmp_path, name, days))


def test_values_carried_over_a_weekend_are_left_out(tmp_path: Path) -> None:
    rows = ["2018-02-02,17.3", "2018-02-03,17.3", "2018-02-04,17.3", "2018-02-05,37.3"]
    assert read_csv(a_file(tmp_path, "vix.csv", "Date,Close", rows)).close.tolist() == [17.3, 37.3]


# --- keys -----------------------------------------------------------------------------------------------------------


def test_files_may_be_named_by_what_they_are(tmp_path: Path) -> None:
    index = a_file(tmp_path, "mine.csv", "Date,Close", [f"{day},{2700 + n}" for n, day in enumerate(DAYS)])
    fear = a_file(tmp_path, "angst.csv", "Date,Close", [f"{day},{20 + n}" for n, day in enumerate(DAYS)])
    assert files_of(f"spx={index},vix={fear}") == [("spx", index), ("vix", fear)]
    history = from_csv(files_of(f"spx={index}, vix={fear}"))
    assert history.index.close.tolist() == [2700.0, 2701.0, 2702.0, 2703.0]
    assert history.volatility.close.tolist() == [20.0, 21.0, 22.0, 23.0]
    market = ModelledMarket.from_history(f"csv:vix={fear},spx={index}", seed=1)
    assert market.last_day == date(2018, 2, 6)
    tenfold = from_csv(files_of(f"spy={index},vix={fear}"))
    assert tenfold.index.close.tolist()[0] == 27_000.0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("spx=a.csv,spx=b.csv", "spx is given twice"),
        ("spx=,vix=b.csv", "names no file; expected FILE,FILE or spx=FILE,vix=FILE"),
        ("a.csv,,b.csv", "names no file"),
        ("spx=nowhere.csv,vix=b.csv", r"nowhere\.csv: no such file"),
    ],
)
def test_keys_that_do_not_fit_are_refused(spec: str, words: str) -> None:
    with pytest.raises(HistoryError, match=words):
        from_csv(files_of(spec))


def test_a_name_with_a_comma_or_an_equals_sign_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=spx.csv").touch()
    assert files_of("a=spx.csv,vix.csv") == [("", Path("a=spx.csv")), ("", Path("vix.csv"))]
    Path("spx, daily.csv").touch()
    assert files_of("spx, daily.csv") == [("", Path("spx, daily.csv"))]

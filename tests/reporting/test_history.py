"""The account through time, the life of a trade on the page, and the page in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path

import pytest

from reporting.history import Benchmark, period_returns, return_between, rolling, worst_drawdowns
from reporting.report import render, summarise, write_report
from reporting.rows import EquityPoint, parse_journal
from reporting.trades import MOST_CARDS, day_cells
from tests.reporting.pages import POSITION, PageReader, a_journal, a_record, decision, equity, exposure, path_of, row

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--allow-file-access-from-files", "--virtual-time-budget=5000",
)  # fmt: skip
PROBE = """<script>
const box = document.querySelectorAll(".filters select")[3];
if (box) { box.value = "lost"; box.dispatchEvent(new Event("change")); }
parent.postMessage(JSON.stringify({
  wide: document.documentElement.scrollWidth,
  shown: document.querySelectorAll(".trade-list > :not([hidden])").length,
  told: (document.querySelector(".filters output") || {}).textContent,
  fetched: performance.getEntriesByType("resource").length,
  focus: [...document.querySelectorAll("a, summary, select")].every((item) => item.tabIndex === 0),
}), "*");
</script>"""


def points(*rows: tuple[str, float]) -> list[EquityPoint]:
    """Session closes by day."""
    return [EquityPoint(date.fromisoformat(day), value) for day, value in rows]


def test_months_and_years_by_hand() -> None:
    path = [
        EquityPoint(date(2008, 1, 2), 100.0, opening=True),
        *points(("2008-01-02", 101.0), ("2008-01-31", 110.0), ("2008-02-29", 99.0), ("2009-01-30", 108.9)),
    ]
    # January 110/100, February 99/110, then January of 2009 108.9/99.
    months = period_returns(path, monthly=True)
    assert list(months) == [(2008, 1), (2008, 2), (2009, 1)]
    assert list(months.values()) == pytest.approx([0.10, -0.10, 0.10])
    # 2008: 99/100; 2009: 108.9/99.
    assert period_returns(path, monthly=False) == pytest.approx({(2008, 0): -0.01, (2009, 0): 0.10})
    assert period_returns([], monthly=True) == {}


def test_drawdowns_by_hand() -> None:
    path = points(
        ("2008-01-02", 100.0), ("2008-01-03", 95.0), ("2008-01-04", 100.0), ("2008-01-07", 110.0),
        ("2008-01-08", 99.0), ("2008-01-09", 88.0), ("2008-01-10", 104.5),
    )  # fmt: skip
    deep, slight = worst_drawdowns(path)
    # From 110 to 88 is 20 %, three sessions so far and not over; from 100 to 95 is 5 %, two sessions to be back at 100.
    assert (deep.peak, deep.trough, deep.recovered, deep.sessions) == (date(2008, 1, 7), date(2008, 1, 9), None, 3)
    assert deep.depth == pytest.approx(0.20)
    assert slight.depth == pytest.approx(0.05)
    assert (slight.recovered, slight.sessions) == (date(2008, 1, 4), 2)
    assert worst_drawdowns(path, most=1) == [deep]
    assert worst_drawdowns([]) == worst_drawdowns(path[:1]) == []


def test_rolling_figures_need_a_quarter_and_days_that_moved() -> None:
    assert rolling(path_of([0.01] * 62), 0.0) == []
    still = rolling(path_of([0.0] * 70), 0.0)
    assert len(still) == 8
    assert all(ratio is None for _, _, ratio in still)
    # 63 returns, +1 % and -0.5 % in turn (32 and 31): mean 0.002619, deviation 0.007559; 252 sessions a year.
    (_, wide, ratio) = rolling(path_of([0.01 if count % 2 == 0 else -0.005 for count in range(63)]), 0.0)[0]
    assert wide == pytest.approx(0.1200, abs=1e-4)
    assert ratio == pytest.approx(5.50, abs=0.01)


def test_a_crisis_counts_from_the_close_before_it() -> None:
    path = points(("2020-02-18", 100.0), ("2020-02-19", 90.0), ("2020-03-23", 80.0), ("2020-03-24", 120.0))
    assert return_between(path, date(2020, 2, 19), date(2020, 3, 23)) == pytest.approx(-0.20)
    assert return_between(path[1:], date(2020, 2, 19), date(2020, 3, 23)) is None  # what it began with is unknown
    assert return_between(path, date(2021, 1, 1), date(2021, 1, 9)) is None


def a_page(**changes: object) -> str:
    """A page with a trade and a hundred sessions."""
    record = a_record(a_journal(), equity=tuple(path_of([0.01, -0.005] * 50)), **changes)
    return render(record, summarise(record))


def test_the_page_shows_the_account_through_time_beside_its_benchmark() -> None:
    beside = tuple(EquityPoint(date(2008, 1, 2) + timedelta(days=count), 50.0 + count) for count in range(100))
    page = a_page(benchmarks=(Benchmark("S&P 500 with dividends", beside), Benchmark("PUT", beside)))
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for words in ("Month by month", "Year by year", "The worst drawdowns", "Sharpe ratio of a quarter", "Crises"):
        assert words in text
    assert "Dashed: S&P 500 with dividends; Dotted: PUT, from the account's beginning" in text
    assert page.count('class="beside"') == page.count('class="beside dotted"') == 1
    assert 'class="beside"' not in a_page()


def test_a_trade_shows_its_walk_what_bound_it_and_its_width() -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", a_page()).split())
    assert "Entry order 2.55, 2.40, filled 2.60" in text
    assert "Credit over width 2.60 of 20.00 points, 13.0 %" in text  # 520 dollars of 2 contracts; 1400 less 1380
    assert "4 wanted, 2 allowed" in text
    assert "sizing shrink: budget 3750 allows 2" in text
    assert "4 h 29 min" in text
    assert f"python run.py explain {POSITION}" in text


def test_the_most_of_a_day_is_set_beside_its_limits() -> None:
    # Of 45,000 dollars 9,000 and then 36,000 were used: a fifth, then 80 %; on two of the run's three sessions, so
    # (0.2 + 0.8 + 0) / 3 = 33.3 % in the mean. Delta is a tenth of the dollars; nobody knew theta.
    lines = [*a_journal(), equity("2008-01-14", 100_300.0), exposure("2008-01-11", 9_000.0, -450.0),
             exposure("2008-01-14", 36_000.0, -120.0)]  # fmt: skip
    path = tuple(EquityPoint(date(2008, 1, day), 100_000.0) for day in (10, 11, 14))
    record = a_record(lines, equity=path)
    text = " ".join(re.sub(r"<[^>]+>", " ", render(record, summarise(record))).split())
    assert "Buying power 80.0 % 20.0 % 2008-01-14 11:00 36,000 45,000 33.3 % 1 0" in text
    assert "Short volatility, positions 20.0 % 80.0 % 2008-01-11 11:00 1 5" in text
    assert "Friday 0DTE 2 1 1.0 $36,000 3,600 \N{MINUS SIGN}20 \N{EN DASH}" in text
    assert "Theta, dollars a day" not in text
    assert "Vega, dollars a point" in text
    # The trade's worst point is the lower of its two days, and its short put was sold at a delta of 21.
    assert "Worst point \N{MINUS SIGN}$450 at 2008-01-11 11:07" in text
    assert "P1400 -1 4.00 1.00 \N{MINUS SIGN}0.21 19.9 %" in text


def test_each_strategy_has_its_tile() -> None:
    other = [line.replace("friday_0dte", "lt112") for line in a_journal(-100.0)]
    record = a_record([*a_journal(), *other], equity=tuple(path_of([0.01] * 3)))
    text = " ".join(re.sub(r"<[^>]+>", " ", render(record, summarise(record))).split())
    assert "Friday 0DTE +$300 1 of 1 won" in text
    assert "LT112 \N{MINUS SIGN}$100 0 of 1 won" in text


def test_a_day_of_several_windows_says_what_each_came_to() -> None:
    day = date(2008, 1, 11)
    rows = parse_journal([decision(str(day), reason=f"ticker {name} is held") for name in "ABABCDE"]).decisions
    (cell,) = day_cells(rows, (), day, day, fridays=False)
    assert cell.words.count("is held") == 3
    assert cell.words.endswith("and 2 more")  # A, B and C are told; D and E are two


def test_three_years_of_ten_strategies_stay_under_a_megabyte() -> None:
    # Two hundred trades a year, as the method's descriptions promise, each on a day of its own; every day a close.
    first, lines = date(2008, 1, 1), []
    for count in range(600):
        day = first + timedelta(days=count)
        for line in a_journal()[1:9]:
            lines.append(line.replace("2008-01-11", day.isoformat()).replace("20080111", f"{day:%Y%m%d}"))
        lines.append(exposure(day.isoformat(), 100.0 * (count % 90), -10.0, f"strategy_{count % 10}"))
    # 2018 had 1,100 days of decisions, 70 letters each, and closes at which a sentence was told of each position.
    for count in range(756 * 5):
        day, words = first + timedelta(days=count // 5), f"ticker {count} stands under its average of {count % 97} days"
        line = decision(day.isoformat(), rule="trend", reason=f"{words}, {count % 31} is what it waits for")
        lines.append(line.replace("friday_0dte", f"strategy_{count % 5}"))
    held = [f"strategy_{place}-20080111-1 lt112 SPY 2008-06-15: health 88 (its group's use -6)" for place in range(5)]
    for count in range(756):
        day = first + timedelta(days=count)
        lines.append(row("standing", "16:00", day=day.isoformat(), lines=["buying power 9.4% of 50.0%", *held]))
    path = tuple(path_of([0.01, -0.005] * 378))
    record = a_record(lines, end=date(2010, 12, 31), equity=path)
    page = render(record, summarise(record))
    assert page.count("<tr id=") == 600 - MOST_CARDS
    assert page.count("python run.py explain friday_0dte") == MOST_CARDS
    assert len(page.encode()) < 1_000_000


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(width: int, tmp_path: Path) -> None:
    """Nothing is wider than the screen, filters work, everything can be reached by keyboard, nothing is fetched."""
    lines = [*a_journal(), *(line.replace("20080111", "20080110") for line in a_journal(-100.0))]
    lines += [exposure(f"2008-01-{day}", 100.0 * day) for day in range(10, 30)]
    record = a_record(lines, equity=tuple(path_of([0.01, -0.005] * 50)))
    write_report(tmp_path / "report.html", record)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.html").write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = (
        f'<body><iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe><pre></pre>'
        '<script>onmessage = (event) => { document.querySelector("pre").textContent = event.data; }</script>'
    )
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
               (tmp_path / "frame.html").as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.S)
    assert found is not None
    seen = json.loads(html.unescape(found[1]))
    assert seen["wide"] <= width
    assert seen["shown"] == 1  # of two trades one lost
    assert seen["told"].startswith("1 of 2 trades, profit -$100")
    assert seen["fetched"] == 0
    assert seen["focus"]


def test_the_page_with_a_history_is_well_formed() -> None:
    reader = PageReader()
    reader.feed(a_page())
    assert reader.open == []
    assert reader.fetched == []

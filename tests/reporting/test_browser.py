"""The report in a real browser, driven by Playwright: keyboard, telephone, dark colours, and no request at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reporting.report import write_report
from tests.reporting.pages import POSITION, a_journal, a_record, decision, exposure, path_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; Playwright brings none of its own here."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with two trades and twenty days of exposure."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    lines = [*a_journal(), *(line.replace("20080111", "20080110") for line in a_journal(-100.0))]
    lines += [exposure(f"2008-01-{day}", 100.0 * day, -5.0 * day) for day in range(10, 30)]
    # A row that looks on each day: more days to a month than fit beside each other, older ones share a box.
    daily = [date(2007, 7, 2) + timedelta(days=count) for count in range(200)]
    lines += [decision(str(day)).replace("friday_0dte", "enhanced") for day in daily if day.weekday() < 5]
    write_report(path, a_record(lines, equity=tuple(path_of([0.01, -0.005] * 50))))
    return Path(path).as_uri()


def opened(browser: Browser, address: str, width: int, *, dark: bool = False) -> tuple[Page, list[str]]:
    """The page at a width, and every address that it asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    return page, asked


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_screen_and_nothing_is_fetched(
    browser: Browser, report: str, width: int, *, dark: bool
) -> None:
    page, asked = opened(browser, report, width, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 24, 30)" if dark else "rgb(255, 255, 255)")
    assert asked == [report]
    page.close()


def test_a_trade_is_found_and_opened_by_keyboard_alone(browser: Browser, report: str) -> None:
    page, _ = opened(browser, report, 1280)
    page.focus(".filters select >> nth=3")
    page.keyboard.press("ArrowDown")  # all, lost, won
    assert page.inner_text(".filters output").startswith("1 of 2 trades, profit -$100")
    reached = 0
    while reached < 60 and page.evaluate("document.activeElement.closest('.trade-list') === null"):
        page.keyboard.press("Tab")
        reached += 1
    page.keyboard.press("Enter")
    trade = page.locator(".trade-list details[open]")
    assert trade.count() == 1
    for words in ("Worst point", "Entry order", "Why it was entered", "Profit at expiry, dollars"):
        assert words in trade.inner_text()
    page.close()


def test_a_link_opens_its_trade_even_where_it_was_filtered_away(browser: Browser, report: str) -> None:
    page, _ = opened(browser, report, 1280)
    page.select_option(".filters select >> nth=3", "lost")
    page.evaluate(f"location.hash = '#trade-{POSITION}'")
    page.wait_for_function(f"document.getElementById('trade-{POSITION}').open")
    assert page.locator(f"#trade-{POSITION}").is_visible()
    page.close()

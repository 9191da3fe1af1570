"""Draws the pictures of README.md and docs/ anew: `python run.py tool benchmarks.pictures`, in the clone.

A test holds each picture to what this draws, so that no document shows figures that a run does not give.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.market import day_picture, years_picture
from cli.backtest import run_and_report
from cli.options import BacktestOptions
from core.storage import replace_file
from reporting.charts import thin
from reporting.markup import Markup, element, money
from reporting.report import RunRecord, Summary, tile_texts
from reporting.rows import EquityPoint

DOCS = Path(__file__).resolve().parents[1] / "docs"
START, END = "2016-01-04", "2016-02-26"  # the README's example, and the days of config.json
WIDTH = 900
COLUMNS = 4
TILE = (WIDTH // COLUMNS, 74)
MARGIN = 24
CHART = 200


def run_picture() -> str:
    """The report of Friday 0DTE alone over the README's example period, under config.json's settings."""
    with tempfile.TemporaryDirectory() as folder:
        done = run_and_report(BacktestOptions(start=START, end=END, strategies="friday_0dte", out=Path(folder) / "run"))
    return report_picture(done.record, done.summary)


def report_picture(record: RunRecord, summary: Summary) -> str:
    """Title, tiles and equity of a run; the same run gives the same text."""
    tiles = tile_texts(record, summary)
    rows = -(-len(tiles) // COLUMNS)
    top = 84 + rows * TILE[1]
    parts = [
        element("rect", width=WIDTH, height=top + CHART + MARGIN, fill="#ffffff"),
        text(MARGIN, 38, record.title, 22, "#17202a"),
        text(MARGIN, 62, f"{record.start} to {record.end}. Market: {record.provenance.market}", 13, "#5d6d7e"),
    ]
    for index, (name, value, note) in enumerate(tiles):
        left, upper = MARGIN + index % COLUMNS * TILE[0], 84 + index // COLUMNS * TILE[1]
        parts += [
            text(left, upper + 14, name, 12, "#5d6d7e"),
            text(left, upper + 38, value, 20, "#17202a"),
            text(left, upper + 55, shortened(note), 10, "#5d6d7e"),
        ]
    parts += chart(record.equity, top)
    body = element(
        "svg",
        *(Markup(f"\n  {part}") for part in parts),
        Markup("\n"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {top + CHART + MARGIN}",
        width=WIDTH,
        height=top + CHART + MARGIN,
        role="img",
        font_family="system-ui, sans-serif",
    )
    return f"{body}\n"


def text(left: float, base: float, words: object, size: int, colour: str) -> Markup:
    """One line of text; ``base`` is its baseline."""
    return element("text", words, x=round(left, 1), y=round(base, 1), font_size=size, fill=colour)


def shortened(note: str, most: int = 38) -> str:
    """A note that stays within its tile."""
    return note if len(note) <= most else f"{note[: most - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def chart(points: Sequence[EquityPoint], top: float) -> tuple[Markup, ...]:
    """The equity at each session's close, its lowest and highest marked; nothing with under two points."""
    shown = thin(points)
    if len(shown) < 2:
        return ()
    low, high = min(point.equity for point in shown), max(point.equity for point in shown)
    first, days = shown[0].day.toordinal(), shown[-1].day.toordinal() - shown[0].day.toordinal() or 1
    wide, tall = WIDTH - 2 * MARGIN, CHART - 40

    def at(point: EquityPoint) -> str:
        across = MARGIN + wide * (point.day.toordinal() - first) / days
        down = top + 20 + tall * (high - point.equity) / ((high - low) or 1.0)
        return f"{across:.1f},{down:.1f}"

    line = " ".join(at(point) for point in shown)
    return (
        element("polyline", points=line, fill="none", stroke="#1f6feb", stroke_width=1.6),
        text(MARGIN, top + 12, f"{money(high)} at its highest", 10, "#5d6d7e"),
        text(MARGIN, top + CHART - 6, f"{money(low)} at its lowest", 10, "#5d6d7e"),
    )


PICTURES = {"report.svg": run_picture, "market-day.svg": day_picture, "market-years.svg": years_picture}

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        replace_file(DOCS / name, PICTURES[name](), durable=False)
        print(f"docs/{name}")

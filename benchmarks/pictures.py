"""Draws the pictures of README.md and docs/ anew: `python run.py tool benchmarks.pictures`, in the clone's folder.

A test holds each picture to what this draws, so that no document shows figures that a run does not give.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.market import day_picture, years_picture
from cli.backtest import run_and_report
from cli.options import BacktestOptions
from core.storage import replace_file
from reporting.picture import report_picture

DOCS = Path(__file__).resolve().parent.parent / "docs"
START, END = "2016-01-04", "2016-02-26"  # the README's example, and the days of config.json


def run_picture() -> str:
    """The report of the README's example period under config.json's settings."""
    with tempfile.TemporaryDirectory() as folder:
        done = run_and_report(BacktestOptions(start=START, end=END, out=Path(folder) / "run"))
    return report_picture(done.record, done.summary)


PICTURES = {"report.svg": run_picture, "market-day.svg": day_picture, "market-years.svg": years_picture}

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        replace_file(DOCS / name, PICTURES[name](), durable=False)
        print(f"docs/{name}")

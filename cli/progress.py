"""What a terminal or a pipe is told: how far a run is, in what its encoding and its width can show.

Progress is a bar on a terminal and a line now and then elsewhere, on standard error. Importing this needs the standard
library only.
"""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_REDRAWS = 0.2
LENIENT = "tomking-plain"
PLAIN = {
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MIDDLE DOT}": ".", "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-", "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "=",
    "\N{BULLET}": "*", "\N{NO-BREAK SPACE}": " ",
    **{chr(0x2581 + step): str(step + 1) for step in range(8)},  # the blocks of a sparkline, lowest first
}  # fmt: skip
WIDE = 100  # columns where nobody says how many there are
NARROWEST = 20


class Reading(Protocol):
    """What the engine reports: simulated time, share done (0 to 1), equity in dollars (None where there is none)."""

    @property
    def time(self) -> datetime: ...
    @property
    def fraction(self) -> float: ...
    @property
    def equity(self) -> float | None: ...


Report = Callable[[Reading], None]


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Something to call with each reading, in the way that suits where standard error goes."""
    if sys.stderr.isatty():
        with bar(title) as report:
            yield report
    else:
        yield lines(title)


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A bar with the simulated date, equity and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[day]}"),
        TextColumn("{task.fields[equity]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=1.0, day="", equity="")
        drawn = 0.0

        def report(reading: Reading) -> None:
            nonlocal drawn
            now = time.monotonic()
            if now - drawn >= SECONDS_BETWEEN_REDRAWS:
                drawn = now
                shown.update(
                    task, completed=reading.fraction, day=f"{reading.time:%Y-%m-%d}", equity=dollars(reading).strip()
                )

        yield report


def lines(title: str) -> Report:
    """One line every few seconds, for logs."""
    begun = told = time.monotonic()

    def report(reading: Reading) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < SECONDS_BETWEEN_LINES:
            return
        told = now
        # The first days pay for reading and warming up: what they took says little about the rest.
        left = f"  {(now - begun) * (1 / reading.fraction - 1):.0f} s left" if reading.fraction >= 0.05 else ""
        sys.stderr.write(f"{title}: {reading.fraction:4.0%}  {reading.time:%Y-%m-%d}{dollars(reading)}{left}\n")
        sys.stderr.flush()

    return report


def dollars(reading: Reading) -> str:
    """The equity after two spaces; nothing where there is none."""
    return "" if reading.equity is None else f"  ${reading.equity:,.0f}"


def plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec's error handler: what ASCII has for the characters that do not exist in an encoding, else ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(one, "?") for one in error.object[error.start : error.end]), error.end


def make_lenient() -> None:
    """Let standard output and error take every text, whatever their encoding: a finished run is never lost to it."""
    codecs.register_error(LENIENT, plain)
    for stream in (sys.stdout, sys.stderr):
        again = getattr(stream, "reconfigure", None)
        if again is not None:
            again(errors=LENIENT)


def width(*, terminal: bool) -> int:
    """Columns to write to: the terminal's own, else what COLUMNS says, else ``WIDE``."""
    if terminal:
        return max(shutil.get_terminal_size((WIDE, 24)).columns, NARROWEST)
    said = os.environ.get("COLUMNS", "")
    return max(int(said), NARROWEST) if said.isdecimal() and int(said) > 0 else WIDE

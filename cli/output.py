"""What a terminal or a pipe can show: characters that its encoding lacks, and how wide it is. Standard library only."""

from __future__ import annotations

import codecs
import os
import shutil
import sys

LENIENT = "tomking-plain"
PLAIN = {
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MIDDLE DOT}": ".", "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-", "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "=",
    "\N{BULLET}": "*", "\N{NO-BREAK SPACE}": " ",
    **{chr(0x2581 + step): str(step + 1) for step in range(8)},  # the blocks of a sparkline, lowest first
}  # fmt: skip
WIDE = 100  # columns where nobody says how many there are
NARROWEST = 20


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

"""What a command may end in, apart from success.

Being told to stop is one of them: signals become one exception that unwinds a run. What killed runs left is cleared.
No encoding of a terminal ends what is done. Standard library only.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO


class UserError(Exception):
    """Something given on the command line is wrong; each line says what, and what would be right. Exit code 2."""


class RunFailedError(Exception):
    """The command was right but what it ran failed; the message is shown whole. Exit code 1."""


def last_words(trace: str) -> str:
    """The error at the end of a traceback and the last line of code that it names."""
    lines = trace.strip().splitlines()
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return f"{lines[-1]}, {places[-1]}" if places else lines[-1]


LENIENT = "tomking-plain"
PLAIN = {
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MIDDLE DOT}": ".", "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-", "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "=",
    "\N{BULLET}": "*", "\N{NO-BREAK SPACE}": " ",
    **{chr(0x2581 + step): str(step + 1) for step in range(8)},  # the blocks of a sparkline, lowest first
}  # fmt: skip
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # of which Windows has no SIGHUP
PATIENCE = 5.0  # seconds for clearing up, in which further signals are not heard
AGAIN = 0.05  # seconds after which a signal comes again whose exception was dropped
OURS = frozenset({"storage", "alternative", "equity", "future", "futureoption", "index", "indexoption", "option"})
SCRATCH = "tomking-state-"  # what main.py calls the folder of a backtest's state, followed by its process


class StoppedError(BaseException):
    """The process was told to stop; like KeyboardInterrupt it passes every ``except Exception`` on its way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def words(self) -> str:
        """What happened, for a person."""
        name = signal.Signals(self.number).name
        return "interrupted" if name == "SIGINT" else f"stopped by {name}"

    @property
    def code(self) -> int:
        """The exit code that shells give a process ended by this signal."""
        return 128 + self.number


@contextmanager
def stoppable() -> Iterator[None]:
    """While active, the signals that ask a process to end raise ``StoppedError`` where the program is.

    A signal that is ignored from outside (``nohup``, a job in the background) stays ignored.
    """
    told: float | None = None

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal told
        now = time.monotonic()
        if told is not None and now - told < PATIENCE:
            return  # a second one must not interrupt the clearing up after the first
        told = now
        raise StoppedError(number)

    def lost(found: sys.UnraisableHookArgs) -> None:
        """Python has dropped what was raised within a destructor or a callback: the signal comes again, outside."""
        nonlocal told
        if not isinstance(found.exc_value, StoppedError):
            hook(found)
            return
        told = None
        threading.Timer(AGAIN, os.kill, (os.getpid(), found.exc_value.number)).start()

    before, hook = {}, sys.unraisablehook
    sys.unraisablehook = lost
    for name in SIGNALS if threading.current_thread() is threading.main_thread() else ():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def alive(process: int) -> bool:
    """Whether a process runs, ours or another's."""
    if os.name == "nt":
        return True  # asking there would end it: what is in doubt stays
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def clear_leftovers(folder: Path) -> None:
    """Remove from ``folder`` what runs that were killed left half-written.

    That is a folder ``.NAME-PROCESS.tmp`` of no live process, which is empty or holds what our runs write first.
    """
    for path in sorted(folder.glob(".*-*.tmp")):
        process = path.stem.rpartition("-")[2]
        if process.isdecimal() and path.is_dir() and not path.is_symlink() and not alive(int(process)):
            held = {child.name for child in path.iterdir()}
            if not held or held & OURS:
                shutil.rmtree(path, ignore_errors=True)


def clear_scratch() -> None:
    """Remove the state that killed backtests kept among the temporary files."""
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{SCRATCH}*")):
        process = path.name.removeprefix(SCRATCH).partition("-")[0]
        if process.isdecimal() and not alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


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


class Folded:
    """A terminal's stream whose long lines end between words, under the column in which their text begins.

    A terminal breaks them anywhere. What moves the cursor passes as it is, and so does what goes on with a line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._at_start = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; the length of what was asked for is told."""
        columns = shutil.get_terminal_size().columns
        lines = text.split("\n")
        first = lines[0] if not self._at_start else folded(lines[0], columns)
        self._stream.write("\n".join((first, *(folded(line, columns) for line in lines[1:]))))
        self._at_start = not lines[-1]
        return len(text)


_COLUMN = re.compile(r"(\s*)\S+(?: \S+){0,6}\s{2,}")


def folded(line: str, columns: int) -> str:
    """A line in lines of so many columns at most, the later ones under its second column, where it has one."""
    if len(line) <= columns or any(sign in line for sign in "\x1b\r\b"):
        return line
    head = _COLUMN.match(line)
    if head is not None and head.end() > columns // 2:  # too wide a column to write beside
        indent = f"{head[1]}    "
        rest = textwrap.wrap(
            line[head.end() :], columns, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
        return "\n".join((head[0].rstrip(), *rest))
    under = len(line) - len(line.lstrip()) + 2 if head is None else head.end()
    return "\n".join(textwrap.wrap(line, columns, subsequent_indent=" " * under, break_on_hyphens=False)) or line


def fold() -> None:
    """Fold what goes to a terminal; a file or a pipe gets its lines whole."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream.isatty() and not isinstance(stream, Folded):
            setattr(sys, name, Folded(stream))

"""What a person sees on a terminal of 40, 80 or 120 columns: lines that end between words."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from io import StringIO

import pytest

from cli.errors import Folded, folded
from tests.conftest import ROOT

LINE = "  meaning  low (VIX regimes and the caps on buying power)"


def test_a_long_line_goes_on_under_its_second_column() -> None:
    assert folded(LINE, 40).split("\n") == ["  meaning  low (VIX regimes and the caps", "           on buying power)"]
    assert folded(LINE, len(LINE)) == LINE


def test_beside_a_column_too_wide_nothing_is_written() -> None:
    line = "  python run.py backtest            run main.py over history; a report is left"
    assert folded(line, 40).split("\n") == [
        "  python run.py backtest",
        "      run main.py over history; a report",
        "      is left",
    ]


def test_a_sentence_goes_on_two_columns_in_and_a_word_too_long_is_cut() -> None:
    assert folded("one two three four", 9).split("\n") == ["one two", "  three", "  four"]
    assert folded("x" * 12, 10).split("\n") == ["x" * 10, "  xx"]


@pytest.mark.parametrize("sign", ["\x1b[2K", "\r", "\b"])
def test_what_moves_the_cursor_passes_as_it_is(sign: str) -> None:
    assert folded(f"{sign}{'word ' * 30}", 40) == f"{sign}{'word ' * 30}"


def test_a_line_that_is_gone_on_with_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((10, 24)))
    under = StringIO()
    stream = Folded(under)
    assert stream.write("> ") == 2
    stream.write("one two three four\none two three\n")
    assert under.getvalue() == "> one two three four\none two\n  three\n"


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize(
    "words", [("--help",), ("scenario", "--list"), ("backtest", "--help"), ("backtest", "--sed", "3")]
)
def test_no_line_is_wider_than_the_terminal(words: tuple[str, ...], columns: int) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(sys.executable, [sys.executable, "run.py", *words], environment)
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:  # how a terminal says that the other end is closed
        pass
    os.waitpid(process, 0)
    os.close(terminal)
    lines = said.decode().replace("\r", "").split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= columns

"""What a command may end in, apart from success."""

from __future__ import annotations


class UserError(Exception):
    """Something given on the command line is wrong; each line says what, and what would be right. Exit code 2."""


class RunFailedError(Exception):
    """The command was right but what it ran failed; the message is shown whole. Exit code 1."""


def last_words(trace: str) -> str:
    """The error at the end of a traceback and the last line of code that it names."""
    lines = trace.strip().splitlines()
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return f"{lines[-1]}, {places[-1]}" if places else lines[-1]

"""What a command may end in, apart from success."""

from __future__ import annotations


class UserError(Exception):
    """Something given on the command line is wrong; each line says what, and what would be right. Exit code 2."""


class RunFailedError(Exception):
    """The command was right but what it ran failed; the message is shown whole. Exit code 1."""

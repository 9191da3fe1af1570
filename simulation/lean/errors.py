"""Errors that more than one room raises."""

from __future__ import annotations


class MalformedDataError(ValueError):
    """A line of a data file that cannot be read; names the file and the line."""

    def __init__(self, file: str, line: int, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {problem}")
        self.file = file
        self.line = line
        self.problem = problem

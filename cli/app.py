"""The command line inside the environment."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    print(arguments)
    return 0

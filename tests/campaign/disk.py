"""A disk that fails, and one at which the process ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from simulation.faults.chance import Faults
from simulation.faults.kinds import Fault
from state.store import Disk
from tests.campaign.gateway import KilledError


class FaultyDisk(Disk):
    """The store's disk with faults before, in and after each write. After its process ended it writes nothing."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.dead = False

    def append(self, descriptor: int, line: bytes) -> None:
        """Append, or half of it, or nothing."""
        self._before(lambda: os.write(descriptor, line[: len(line) // 2]))
        super().append(descriptor, line)
        self._after()

    def replace(self, path: Path, text: str, durable: bool) -> None:
        """Replace a file, or leave half a new one beside it."""
        self._before(lambda: path.with_name(path.name + "~").write_text(text[: len(text) // 2]))
        super().replace(path, text, durable)
        self._after()

    def _before(self, write_half: Callable[[], object]) -> None:
        if self.dead:
            raise KilledError
        half = self._faults.count(2) == 1
        for fault in (Fault.DISK, Fault.KILLED):
            if self._faults.strikes(fault, "the state", "in the middle of a line" if half else "before a write"):
                if half:
                    write_half()
                self.dead = fault is Fault.KILLED
                raise KilledError if self.dead else OSError(28, "no space left, said by the campaign")

    def _after(self) -> None:
        if self._faults.strikes(Fault.KILLED, "the process", "after a write"):
            self.dead = True
            raise KilledError

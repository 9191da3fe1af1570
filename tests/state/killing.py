"""A disk that ends its process at a given write."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from state.store import Disk


class Countdown:
    """Kills the process at the n-th point; with 0 it only counts."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.count = 0

    def point(self) -> None:
        self.count += 1
        if self.due:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def due(self) -> bool:
        return self.count == self.kill_at

    def coming(self) -> bool:
        """Whether the next point is the one; for a write that is to stop half way."""
        return self.count + 1 == self.kill_at


class KillingDisk(Disk):
    """The store's disk with a point before, in and after everything it does."""

    def __init__(self, countdown: Countdown) -> None:
        self._countdown = countdown

    def append(self, descriptor: int, line: bytes) -> None:
        self._countdown.point()
        if self._countdown.coming():
            os.write(descriptor, line[: len(line) // 2])
        self._countdown.point()
        super().append(descriptor, line)
        self._countdown.point()

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._countdown.point()

    def replace(self, path: Path, text: str, durable: bool) -> None:
        self._countdown.point()
        if self._countdown.coming():
            path.with_name(path.name + "~").write_text(text[: len(text) // 2])
        self._countdown.point()
        super().replace(path, text, durable)
        self._countdown.point()

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._countdown.point()


def kill_points(points: int) -> list[int]:
    """Of so many places at which a process can be killed, from 1 on, ``KILLS`` spread evenly, the last among them.

    Each costs three processes, and CI has twelve minutes: 8 as a rule, every one with ``test --all``.
    """
    kills = min(int(os.environ.get("KILLS", "8")), points)
    return [1 + count * (points - 1) // max(kills - 1, 1) for count in range(kills)]

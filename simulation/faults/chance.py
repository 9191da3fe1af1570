"""One seeded generator decides what goes wrong; every fault that struck is kept, so that it can be told as a story."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from simulation.faults.kinds import Fault, FaultSettings, Injection

Item = TypeVar("Item")
_SHORT = timedelta(minutes=3)


class Faults:
    """Asked at every occasion whether something goes wrong there. The same questions get the same answers."""

    def __init__(self, settings: FaultSettings, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.now = now
        self.story: list[Injection] = []
        self.counts: Counter[Fault] = Counter()
        self._chance = random.Random(settings.seed)

    def strikes(self, fault: Fault, about: str = "", words: str = "") -> bool:
        """Whether a fault strikes here; written down where it does."""
        rate = self.settings.rate(fault)
        if not rate or self._chance.random() >= rate:
            return False
        self.note(fault, about, words)
        return True

    def note(self, fault: Fault, about: str, words: str = "") -> None:
        """Write down what a fault did."""
        self.counts[fault] += 1
        self.story.append(Injection(self.now(), fault, about, words))

    def delay(self) -> timedelta:
        """How late something is: mostly minutes, now and then up to the settings' ``latest``."""
        most = self.settings.latest if self._chance.random() < 0.25 else _SHORT
        return timedelta(seconds=self._chance.randint(1, max(int(most.total_seconds()), 1)))

    def outage(self) -> timedelta:
        """How long a connection is lost: seconds, minutes or hours, each as often."""
        most = self.settings.longest_outage.total_seconds()
        longest = self._chance.choice((30.0, 900.0, most))
        return timedelta(seconds=self._chance.uniform(1.0, max(longest, 1.0)))

    def pick(self, among: Sequence[Item]) -> Item:
        """One of several. Raises IndexError where there is none."""
        return self._chance.choice(among)

    def some(self, among: Sequence[Item]) -> list[Item]:
        """A few of several, never none and never all; the only one of one."""
        if len(among) < 2:
            return list(among)
        count = self._chance.randint(1, len(among) - 1)
        return sorted(self._chance.sample(among, count), key=among.index)

    def count(self, most: int) -> int:
        """From 1 to so many."""
        return self._chance.randint(1, most)

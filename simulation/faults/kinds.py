"""The faults by name, which are on and how often they strike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from types import MappingProxyType
from typing import Final


class Fault(StrEnum):
    """One kind of misbehaviour. Which of them LEAN can deliver, and from where: ``docs/faults.md``."""

    REFUSED = "order refused"
    """Refused before it leaves."""
    REJECTED = "order rejected"
    """Taken, and rejected by a report that comes later."""
    LEGS_PARTLY = "legs filled partly"
    """Some legs of a package fill, the others at a later look or never."""
    QUANTITY_PARTLY = "quantity filled partly"
    """Some packages of an order fill, the rest at a later look or never."""
    LATE = "report late"
    LOST = "report lost"
    DUPLICATED = "report duplicated"
    REORDERED = "reports out of order"
    CANCEL_REFUSED = "cancel refused"
    """Nothing is reported, the order works on."""
    CANCEL_LATE = "cancel late"
    """It takes minutes, in which the order may fill."""
    FILLED_CANCELLING = "filled while cancelling"
    UPDATE_LOST = "update lost"
    """Answered as taken, the price stays the old one."""
    UPDATE_REFUSED = "update refused"
    """A report says so, the price stays the old one."""
    DISCONNECTED = "disconnected"
    """For seconds to hours nothing is taken, and what happens meanwhile is not reported."""
    QUOTE_MISSING = "quote missing"
    QUOTE_CROSSED = "quote crossed"
    QUOTE_FROZEN = "quote frozen"
    QUOTE_SPIKE = "quote spikes"
    MANUAL = "traded by hand"
    """A person trades a contract that is held."""
    ASSIGNED = "assigned"
    """A short option that delivers shares is assigned early."""
    DISK = "disk error"
    """A write fails, before it or in the middle of a line."""
    KILLED = "killed"
    """The process ends between two writes, or around an act at the broker."""


QUOTES: Final = (Fault.QUOTE_MISSING, Fault.QUOTE_CROSSED, Fault.QUOTE_FROZEN, Fault.QUOTE_SPIKE)
PAIRS: Final = tuple(combinations(Fault, 2))

RATES: Final[Mapping[Fault, float]] = MappingProxyType(
    {
        Fault.QUOTE_MISSING: 0.06,
        Fault.QUOTE_CROSSED: 0.06,
        Fault.QUOTE_FROZEN: 0.06,
        Fault.QUOTE_SPIKE: 0.06,
        Fault.DISCONNECTED: 0.01,
        Fault.MANUAL: 0.02,
        Fault.ASSIGNED: 0.01,
        Fault.DISK: 0.004,
        Fault.KILLED: 0.002,
    }
)
"""Share of the occasions at which a fault strikes, where it is not ``FaultSettings.usual``.

Occasions are: a contract's quarter of an hour (quotes), a minute (disconnected, by hand, assigned), a write (disk,
killed), else an order, a report, a cancel or an update.
"""


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """Which faults are on, how often each strikes (0 to 1 of its occasions), and how long they last.

    Raises ValueError for a rate that is no share.
    """

    seed: int
    on: frozenset[Fault]
    usual: float = 0.25
    rates: Mapping[Fault, float] = field(default_factory=lambda: RATES)
    latest: timedelta = timedelta(minutes=20)
    longest_outage: timedelta = timedelta(hours=3)

    def __post_init__(self) -> None:
        for name, rate in (("usual", self.usual), *((fault.name, rate) for fault, rate in self.rates.items())):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"faults.{name}: {rate}; expected a share from 0 to 1")

    def rate(self, fault: Fault) -> float:
        """Share of its occasions at which a fault strikes; 0 for one that is off."""
        return self.rates.get(fault, self.usual) if fault in self.on else 0.0


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that struck: when, on what, and what it did in words."""

    time: datetime
    fault: Fault
    about: str
    words: str

    def __str__(self) -> str:
        return f"{self.time:%a %H:%M} {self.fault.value}: {self.about} {self.words}".rstrip()


def faults_of(seed: int) -> frozenset[Fault]:
    """Which faults are on for a seed: every pair in turn, and everything at once each tenth time."""
    turn, tenth = divmod(seed, 10)
    if tenth == 9:
        return frozenset(Fault)
    return frozenset(PAIRS[(turn * 9 + tenth) % len(PAIRS)])

"""What a strategy is: when it looks, what it proposes, and what it does with what it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import ClassVar

from core.book import EntryIntent, Position
from core.gateway import Session
from market.vix import VixReading
from risk.proposal import Proposal


@dataclass(frozen=True, slots=True)
class Window:
    """When a strategy may look for an entry: weekdays (Monday is 0), from ``opens`` until ``closes``, New York."""

    name: str
    weekdays: tuple[int, ...]
    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class Deadline:
    """When something held must be looked at: at a time of day, and so many minutes before the close of any day."""

    name: str
    at: time
    minutes_before_close: int


@dataclass(frozen=True, slots=True)
class Skip:
    """No entry today, by a rule and its number (``None`` where the rule has none)."""

    rule: str
    reason: str
    limit: float | None = None
    observed: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: something that may come within the window is missing."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the whole position; ``urgent`` crosses the spread at once."""

    rule: str
    reason: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Roll:
    """Close the position and, when it is gone, open another package in its place, both by the usual walk.

    One decision: the new position carries the old one's correlation id. Risk judges ``proposal`` as any entry, at the
    prices of that minute and without the old position; what it denies then stays closed, and so does what was closed at
    a loss (methodology, section 3: a loser is never rolled). Asked again while the exit works, the newest counts.
    """

    proposal: Proposal
    reason: str


Answer = Proposal | Skip | Wait
Action = Hold | Close | Roll


@dataclass(frozen=True, slots=True)
class EntryContext:
    """What a strategy is told when it looks: time, session, the VIX (``None``: not fresh), the account."""

    now: datetime
    session: Session
    vix: VixReading | None
    equity: float
    phase: int

    @property
    def today(self) -> date:
        """The market's date."""
        return self.now.date()


@dataclass(frozen=True, slots=True)
class HoldContext:
    """What a strategy is told about a position: ``value`` is what closing at mids brings, in points a package (``None``
    without quotes; negative for what was sold), ``spot`` the underlying's price.
    """

    now: datetime
    session: Session
    value: float | None
    spot: float | None

    def profit(self, position: Position) -> float | None:
        """Profit so far in points a package, before fees."""
        return None if self.value is None else position.credit + self.value


class Strategy(ABC):
    """One row of the methodology's table."""

    name: ClassVar[str]

    @property
    def family_size(self) -> int:
        """How many sizes of contract it may choose from; rank 0 is the largest."""
        return 1

    @abstractmethod
    def entry_windows(self) -> tuple[Window, ...]:
        """When it looks for entries."""

    @abstractmethod
    def deadlines(self) -> tuple[Deadline, ...]:
        """When what it holds must be looked at, whatever the market does."""

    @abstractmethod
    def propose(self, context: EntryContext, rank: int) -> Answer:
        """Look for an entry with the contract of a rank."""

    @abstractmethod
    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        """Why an entry on its walk ends at this step: its own VIX window, its own credit floor.

        ``brings`` is points a package, a credit positive: what the step would be filled at, at worst.
        """

    @abstractmethod
    def manage(self, position: Position, context: HoldContext) -> Action:
        """Decide about a position it holds."""

    @abstractmethod
    def verify(self) -> tuple[str, ...]:
        """What is wrong with it."""

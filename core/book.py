"""Open positions, closed trades and what is on its way: one truth, read by risk and strategies.

The position tracker (execution) writes it; everybody else reads. Dollars, money in positive; fees are zero or positive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from core.contracts import Package

DEADLINE = "deadline"
"""The exit rule after which there is no other: what it asks for cannot wait for a better moment."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a package is, besides its legs: who opened it and what it can cost.

    ``max_loss`` and ``margin`` are positive dollars a contract; ``short_volatility`` says whether it counts against the
    short-volatility limits (boxes and debit butterflies do not).
    """

    strategy: str
    structure: str
    max_loss: float
    margin: float
    short_volatility: bool = True


@dataclass(frozen=True, slots=True)
class EntryIntent:
    """An approved entry, as the executor needs it. ``mid_cash`` and ``model_cash`` are points, a credit positive."""

    strategy: str
    day: date
    package: Package
    terms: Terms
    mid_cash: float
    model_cash: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Position:
    """An open package. ``entry_cash`` is total dollars taken in at entry (a debit is negative), before ``entry_fees``.

    ``entry_prices`` are points by leg; ``spot_entry`` and ``vix_entry`` are ``None`` where they were not known.
    """

    id: str
    package: Package
    terms: Terms
    contracts: int
    opened: datetime
    entry_prices: tuple[float, ...]
    entry_cash: float
    entry_fees: float
    correlation: str
    spot_entry: float | None = None
    vix_entry: float | None = None

    @property
    def multiplier(self) -> float:
        """Dollars a point of premium of one contract."""
        return self.package.legs[0].contract.multiplier

    @property
    def credit(self) -> float:
        """Points taken in per package at entry; negative for a debit."""
        return -sum(leg.ratio * price for leg, price in zip(self.package.legs, self.entry_prices, strict=True))

    @property
    def max_loss(self) -> float:
        """Largest loss of the whole position, positive dollars."""
        return self.terms.max_loss * self.contracts

    @property
    def margin(self) -> float:
        """Our own margin figure of the whole position, positive dollars."""
        return self.terms.margin * self.contracts


@dataclass(frozen=True, slots=True)
class ShareHolding:
    """Shares that an assignment or an exercise left, signed. ``price`` is what they came at: the underlying's price by
    which the option was valued, in points. ``cash`` is dollars since then, fees taken off; what is left of it when the
    shares are gone is what holding them brought.
    """

    ticker: str
    quantity: float
    price: float
    cash: float

    @property
    def value(self) -> float:
        """Positive dollars at the price they came at."""
        return abs(self.quantity) * self.price


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """A finished trade as sizing, phases and breakers need it. ``profit`` is dollars, net of ``fees``."""

    strategy: str
    position: str
    opened: datetime
    closed: datetime
    profit: float
    max_loss: float
    fees: float = 0.0

    @property
    def won(self) -> bool:
        """Whether it ended above zero after fees."""
        return self.profit > 0


def losing_streak(trades: Sequence[ClosedTrade]) -> int:
    """How many of the newest trades did not win, without a win between them; oldest first."""
    count = 0
    for trade in reversed(trades):
        if trade.won:
            break
        count += 1
    return count


@dataclass(slots=True)
class Book:
    """Open positions by id, closed trades in order, and entries on their way (they count as if they were open).

    ``blocked``: since when the exit of a position waits for a side of a quote; nothing new may open meanwhile.
    ``doubted``: positions of which the broker may not have told everything yet, with the contracts that it is about;
    nothing is sent for them, and nothing new may open. ``shares``: what assignments left, by ticker, until it is sold.
    ``unowned``: what the account holds that belongs to no package (``Contract.name`` or ticker, signed): never touched,
    counted for Greeks. ``interest``: dollars that a backtest booked on free cash so far.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    trades: list[ClosedTrade] = field(default_factory=list)
    pending: dict[str, Position] = field(default_factory=dict)
    blocked: dict[str, datetime] = field(default_factory=dict)
    doubted: dict[str, frozenset[str]] = field(default_factory=dict)
    shares: dict[str, ShareHolding] = field(default_factory=dict)
    unowned: dict[str, float] = field(default_factory=dict)
    interest: float = 0.0

    def exposed(self) -> Iterator[Position]:
        """What is open and what may become open, for every limit on counts and risk."""
        yield from self.positions.values()
        yield from self.pending.values()

    def of_strategy(self, strategy: str) -> list[Position]:
        """Open positions of one strategy, oldest first."""
        return [position for position in self.positions.values() if position.terms.strategy == strategy]

    def trades_of(self, strategy: str) -> list[ClosedTrade]:
        """Closed trades of one strategy, oldest first."""
        return [trade for trade in self.trades if trade.strategy == strategy]

    def losses_in_a_row(self) -> int:
        """How many of the newest closed trades lost without a win between them."""
        return losing_streak(self.trades)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an entry was not sent; ``limit`` and ``observed`` in the rule's own unit."""

    rule: str
    reason: str
    limit: float | None = None
    observed: float | None = None


class EntryJudge(Protocol):
    """Who is asked, at each step of its walk, whether an entry is still wanted."""

    def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
        """Why the walk ends here, or ``None``. What it cannot judge it refuses; one that raises refuses too.

        ``brings`` is points a package, a credit positive: the better of the step's limit and natural.
        """


class OrderDesk(ABC):
    """What strategies may ask of the executor, without knowing it."""

    @property
    @abstractmethod
    def working(self) -> bool:
        """Whether any order group is on its way."""

    @abstractmethod
    def judged_by(self, judge: EntryJudge) -> None:
        """Ask a judge at each step of each entry from now on, after those that came before."""

    @abstractmethod
    def open(self, entry: EntryIntent, contracts: int, correlation: str) -> str | Refusal:
        """Send an approved entry; the name of the position it will be, or why it was not sent."""

    @abstractmethod
    def close(self, position: Position, rule: str, reason: str, urgent: bool = False) -> None:
        """Close a position; asking again is harmless, and asking urgently makes a working exit urgent."""

    @abstractmethod
    def cancel_entries(self, reason: str) -> None:
        """Take back every entry on its way."""

    @abstractmethod
    def advance(self, now: datetime) -> None:
        """Once a minute: walk, cross, cancel or unwind what is due."""

    @abstractmethod
    def why(self) -> list[str]:
        """Why each order is where it is, in words."""

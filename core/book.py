"""Open positions, closed trades and what is on its way: one truth, read by risk and strategies.

The position tracker (execution) writes it; everybody else reads. Dollars, money in positive; fees are zero or positive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Final, Protocol, Self

from core.contracts import Leg, Package, Underlying
from core.parts import WHOLE, Part, PartPlan, Realised, Terms, Trait, Urgency, added, merged

DEADLINE: Final = "deadline"
"""The name of the exit rule of the last moment of a day."""
_NOTHING: Final[Mapping[str, Realised]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not done: a rule, words, and its number; ``limit`` and ``observed`` in the rule's own unit."""

    rule: str
    reason: str
    limit: float | None = None
    observed: float | None = None

    @classmethod
    def because(cls, other: Given) -> Self:
        """The same reason, given by somebody else."""
        return cls(other.rule, other.reason, other.limit, other.observed)


class Given(Protocol):
    """Anything that names a rule, its words and its number."""

    @property
    def rule(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def observed(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class EntryIntent:
    """An approved entry, as the executor needs it. ``mid_cash`` and ``model_cash`` are points, a credit positive.

    ``plans`` says which legs are which part; ``onto`` names the position that it adds to, empty for a new one;
    ``least_cash`` is the least points that it must bring at each step of its walk, ``None`` where anything will do.
    """

    strategy: str
    day: date
    package: Package
    terms: Terms
    mid_cash: float
    model_cash: float | None
    reason: str
    plans: tuple[PartPlan, ...] = ()
    onto: str = ""
    slot: str = ""
    least_cash: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovedEntry:
    """An entry and how many contracts of it risk allows; only ``EntryMint`` makes one that the desk takes."""

    entry: EntryIntent
    contracts: int


class EntryMint:
    """Makes what the desk accepts. The risk manager claims the only right to; the desk redeems each value once."""

    def __init__(self) -> None:
        self._claimed = False
        self._minted: list[ApprovedEntry] = []

    def claim(self) -> Callable[[EntryIntent, int], ApprovedEntry]:
        """The right to approve, given once. Raises ``PermissionError`` to whoever asks second."""
        if self._claimed:
            raise PermissionError("the right to approve entries is taken; expected the risk manager alone to ask")
        self._claimed = True
        return self._approve

    def _approve(self, entry: EntryIntent, contracts: int) -> ApprovedEntry:
        approved = ApprovedEntry(entry, contracts)
        self._minted = [approved]  # an older one that nobody redeemed was for prices that have passed
        return approved

    def redeem(self, approved: ApprovedEntry) -> bool:
        """Whether this very value was minted and not redeemed before."""
        mine = any(approved is minted for minted in self._minted)
        self._minted = []
        return mine and approved.contracts > 0

    def verify(self) -> tuple[str, ...]:
        """Somebody approves."""
        return () if self._claimed else ("nobody claimed the right to approve entries",)


@dataclass(frozen=True, slots=True)
class Position:
    """What a strategy opened and adds to: open parts, and what its closed ones brought, by their names.

    ``spot_entry`` and ``vix_entry`` are ``None`` where they were not known; ``slot`` is which of the strategy's entries
    it came from (a ticker, a number).
    """

    id: str
    strategy: str
    opened: datetime
    parts: tuple[Part, ...]
    correlation: str = ""
    realised: Mapping[str, Realised] = field(default_factory=lambda: _NOTHING)
    spot_entry: float | None = None
    vix_entry: float | None = None
    slot: str = ""

    def part(self, name: str) -> Part | None:
        """The open part of a name."""
        return next((part for part in self.parts if part.name == name), None)

    def chosen(self, names: Sequence[str]) -> tuple[Part, ...]:
        """The open parts of these names; all where none is named."""
        return tuple(part for part in self.parts if not names or part.name in names)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Everything that it holds: each contract once, signed contracts as ratios."""
        if len(self.parts) == 1:
            return self.parts[0].legs  # a package has each contract once
        return merged(leg for part in self.parts for leg in part.legs)

    @property
    def underlying(self) -> Underlying:
        """What its options are written on."""
        return self.parts[0].underlying

    @property
    def structure(self) -> str:
        """What its first part is."""
        return self.parts[0].terms.structure

    @property
    def expiry(self) -> date:
        """The nearest expiry of what it holds."""
        return min(part.expiry for part in self.parts)

    @property
    def traits(self) -> frozenset[Trait]:
        """What any of its open parts is."""
        if len(self.parts) == 1:
            return self.parts[0].terms.traits
        return frozenset().union(*(part.terms.traits for part in self.parts))

    @property
    def short_volatility(self) -> bool:
        """Whether it counts against the short-volatility limits."""
        return any(part.terms.short_volatility for part in self.parts)

    @property
    def max_loss(self) -> float:
        """Largest loss of its open parts as planned at entry, positive dollars."""
        return sum(part.max_loss for part in self.parts)

    @property
    def margin(self) -> float:
        """Our own margin figures at entry of its open parts, positive dollars."""
        return sum(part.margin for part in self.parts)

    @property
    def cash(self) -> float | None:
        """Dollars over its life so far, before fees: closed parts and open ones; ``None`` where some is unknown."""
        total: float | None = 0.0
        for cash in (*(row.cash for row in self.realised.values()), *(part.cash for part in self.parts)):
            total = added(total, cash)
        return total

    @property
    def fees(self) -> float:
        """Dollars of fees over its life so far."""
        return sum(row.fees for row in self.realised.values()) + sum(part.fees for part in self.parts)

    def with_part(self, part: Part) -> Position:
        """The position with a part as it is now, in its place or as the last."""
        if self.part(part.name) is None:
            return replace(self, parts=(*self.parts, part))
        return replace(self, parts=tuple(part if row.name == part.name else row for row in self.parts))

    def without(self, part: Part) -> Position:
        """The position after a part is over; its cash stays."""
        brought = self.realised.get(part.name, Realised()) + Realised(part.cash, part.fees, 1)
        rest = tuple(row for row in self.parts if row.name != part.name)
        return replace(self, parts=rest, realised={**self.realised, part.name: brought})


def position_of(
    name: str, part: Part, correlation: str = "", spot_entry: float | None = None, vix_entry: float | None = None
) -> Position:
    """A position of one part."""
    return Position(
        id=name,
        strategy=part.terms.strategy,
        opened=part.opened,
        parts=(part,),
        correlation=correlation,
        spot_entry=spot_entry,
        vix_entry=vix_entry,
    )


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
    """A finished part of a position as sizing, phases and breakers need it. ``profit`` is dollars, net of ``fees``.

    ``profit`` is ``None`` where nobody knows it (closed by hand, and no execution was told): neither won nor lost.
    ``ended`` says whether its position ended with it; ``rule`` what ended the part, empty in records of before.
    """

    strategy: str
    position: str
    opened: datetime
    closed: datetime
    profit: float | None
    max_loss: float
    fees: float = 0.0
    part: str = WHOLE
    ended: bool = True
    rule: str = ""

    @property
    def won(self) -> bool:
        """Whether it ended above zero after fees."""
        return self.profit is not None and self.profit > 0


def losing_streak(trades: Sequence[ClosedTrade]) -> int:
    """How many of the newest positions that ended did not win, without a win between them; trades oldest first.

    A position won when all of its parts together did. One whose result is unknown neither counts nor ends the row.
    """
    running: dict[str, float | None] = {}
    ended: list[float | None] = []
    for trade in trades:
        running[trade.position] = added(running.get(trade.position, 0.0), trade.profit)
        if trade.ended:
            ended.append(running.pop(trade.position))
    count = 0
    for profit in reversed(ended):
        if profit is not None and profit > 0:
            break
        count += profit is not None
    return count


@dataclass(slots=True)
class Book:
    """Open positions by id, closed trades in order, and entries on their way (they count as if they were open).

    ``blocked``: since when the exit of a position waits for a side of a quote; nothing new may open meanwhile.
    ``doubted``: positions of which the broker may not have told everything yet, with the contracts that it is about;
    nothing is sent for them, and nothing new may open. ``shares``: what assignments left, by ticker, until it is sold.
    ``unowned``: what the account holds that belongs to no package (``Contract.name`` or ticker, signed): never touched,
    counted for Greeks. ``interest``: dollars that a backtest booked on free cash so far.
    ``mint``: where risk approves entries and the desk redeems them. ``shares_brought``: dollars that assigned shares
    brought which are gone again, fees taken off. ``paid_in``: dollars that a person paid in since this process began,
    less what was taken out.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    trades: list[ClosedTrade] = field(default_factory=list)
    pending: dict[str, Position] = field(default_factory=dict)
    blocked: dict[str, datetime] = field(default_factory=dict)
    doubted: dict[str, frozenset[str]] = field(default_factory=dict)
    shares: dict[str, ShareHolding] = field(default_factory=dict)
    unowned: dict[str, float] = field(default_factory=dict)
    interest: float = 0.0
    mint: EntryMint = field(default_factory=EntryMint, compare=False, repr=False)
    shares_brought: float = 0.0
    paid_in: float = 0.0

    def exposed(self) -> Iterator[Position]:
        """What is open and what may become open, for every limit on counts and risk.

        Parts on their way to a position that stands are its own already.
        """
        for name, position in self.positions.items():
            coming = self.pending.get(name)
            yield position if coming is None else replace(position, parts=(*position.parts, *coming.parts))
        yield from (position for name, position in self.pending.items() if name not in self.positions)

    def paid_for(self, name: str) -> tuple[float, float]:
        """Signed contracts that open parts hold of a contract, and their prices times these, in points."""
        parts = [part for position in self.positions.values() for part in position.parts]
        rows = [
            (sum(held.ratio for held in part.legs if held.contract.name == name), price)
            for part in parts
            for leg, price in zip(part.package.legs, part.entry_prices, strict=True)
            if leg.contract.name == name
        ]
        return sum(count for count, _ in rows), sum(count * price for count, price in rows)

    def of_strategy(self, strategy: str) -> list[Position]:
        """Open positions of one strategy, oldest first."""
        return [position for position in self.positions.values() if position.strategy == strategy]

    def trades_of(self, strategy: str) -> list[ClosedTrade]:
        """Closed trades of one strategy, oldest first."""
        return [trade for trade in self.trades if trade.strategy == strategy]

    def losses_in_a_row(self) -> int:
        """How many of the newest closed trades lost without a win between them."""
        return losing_streak(self.trades)


@dataclass(frozen=True, slots=True)
class Refusal(Reason):
    """Why an entry was not sent."""


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
    def open(self, approved: ApprovedEntry, correlation: str) -> str | Refusal:
        """Send an approved entry; the name of the position it will be, or why it was not sent."""

    @abstractmethod
    def close(
        self,
        position: Position,
        rule: str,
        reason: str,
        urgency: Urgency = Urgency.NORMAL,
        parts: tuple[str, ...] = (),
    ) -> None:
        """Close parts of a position (all where none is named); asking again is harmless, asking for more urgency is
        what makes a working exit more urgent.
        """

    @abstractmethod
    def cancel_entries(self, reason: str) -> None:
        """Take back every entry on its way."""

    @abstractmethod
    def advance(self, now: datetime) -> None:
        """Once a minute: walk, cross, cancel or unwind what is due."""

    @abstractmethod
    def why(self) -> list[str]:
        """Why each order is where it is, in words."""

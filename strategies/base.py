"""What a strategy is: when it looks, what it proposes, and what it does with what it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import ClassVar

from core.book import EntryIntent, Position, Reason
from core.contracts import AssetKind, Contract, Package, Right
from core.gateway import Session
from core.instruments import instrument_of
from core.parts import Part, Urgency, added
from core.settings.fields import OrderSettings
from core.settings.strategies import StrategySettings
from market.vix import VixReading
from risk.proposal import Proposal

ROLLED_PART = "rolled"
"""What the name of a part ends with that took the place of another in the same package."""


@dataclass(frozen=True, slots=True)
class Window:
    """When a strategy may look for an entry: weekdays (Monday is 0), from ``opens`` until ``closes``, New York.

    ``rule`` narrows the weekdays (a second Tuesday); ``onto``: once for each position it holds, to add a part to it.
    """

    name: str
    weekdays: tuple[int, ...]
    opens: time
    closes: time
    rule: Callable[[date], bool] | None = None
    onto: bool = False

    def falls_on(self, day: date) -> bool:
        """Whether it opens on a day, were the market open."""
        return day.weekday() in self.weekdays and (self.rule is None or self.rule(day))


def watch_name(strategy: str, window: str, slot: str = "") -> str:
    """Under which name an entry watches the contracts that it looks at, until it is decided."""
    return " ".join(filter(None, (strategy, window, slot)))


@dataclass(frozen=True, slots=True)
class Deadline:
    """When something held must be looked at: at a time of day, and so many minutes before the close of any day."""

    name: str
    at: time
    minutes_before_close: int


@dataclass(frozen=True, slots=True)
class Skip(Reason):
    """No entry today, by a rule and its number (``None`` where the rule has none)."""


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
    """Close parts of a position by name, or the whole where none is named."""

    rule: str
    reason: str
    urgency: Urgency = Urgency.NORMAL
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Add:
    """Open what ``proposal`` holds as new parts of the position. Risk judges it as any entry."""

    proposal: Proposal
    reason: str


@dataclass(frozen=True, slots=True)
class Roll:
    """Close parts (all where none is named) and, when they are gone, open a proposal in their place.

    Both go by the usual walk, and it is one decision. What stays of the position gets the proposal's parts; where
    nothing stays, they become a new position that carries the old one's correlation id. Risk judges ``proposal`` as any
    entry, at the prices of that minute and without what was closed; what it denies then stays closed, and so does what
    was closed at a loss (methodology, section 3: a loser is never rolled) unless ``calendar`` says that the row
    prescribes the roll. Asked again while the exit works, the newest counts.
    """

    proposal: Proposal
    reason: str
    parts: tuple[str, ...] = ()
    calendar: bool = False


Answer = Proposal | Skip | Wait
Action = Hold | Close | Add | Roll


@dataclass(frozen=True, slots=True)
class EntryContext:
    """What a strategy is told when it looks: time, session, the VIX (``None``: not fresh), the account.

    ``window`` and ``slot`` say which of its entries is asked for; ``position`` is what it would add to.
    """

    now: datetime
    session: Session
    vix: VixReading | None
    equity: float
    phase: int
    window: str = ""
    slot: str = ""
    position: Position | None = None

    @property
    def today(self) -> date:
        """The market's date."""
        return self.now.date()


@dataclass(frozen=True, slots=True)
class HoldContext:
    """What a strategy is told about a position; ``spot`` is the underlying's price, ``vix`` the VIX where it is fresh.

    ``values`` by part: what closing its held legs at mids brings, in points a package; ``None`` without quotes,
    negative for what was sold. ``delta_of`` gives a contract's signed delta, ``None`` where it is unknown.
    ``rolled_from``: while parts are being rolled, dollars that the position was sold for before; else ``None``.
    """

    now: datetime
    session: Session
    values: Mapping[str, float | None] = field(default_factory=dict)
    spot: float | None = None
    delta_of: Callable[[Contract], float | None] | None = None
    rolled_from: float | None = None
    vix: float | None = None

    def value(self, part: Part) -> float | None:
        """Points a package that closing the part now brings, with what legs brought that have ended before."""
        value = self.values.get(part.name)
        if part.is_whole:
            return value
        brought = added(part.cash, -part.entry_cash)
        unit = part.multiplier * part.contracts
        return added(value, None if brought is None else brought / unit)

    def profit(self, part: Part) -> float | None:
        """Profit of a part so far in points a package, before fees."""
        return added(part.credit, self.value(part))

    def short_delta(self, part: Part, right: Right | None = None) -> float | None:
        """The largest absolute delta x 100 of what a part is short (of one right); ``None`` where none is known."""
        if self.delta_of is None:
            return None
        shorts = [leg.contract for leg in part.legs if leg.ratio < 0 and right in (None, leg.contract.right)]
        known = [abs(delta) * 100 for contract in shorts if (delta := self.delta_of(contract)) is not None]
        return max(known, default=None)

    def total(self, position: Position) -> float | None:
        """Profit of a position over its whole life so far in dollars, before fees."""
        total = position.cash
        for part in position.parts:
            value = self.values.get(part.name)
            total = added(total, None if value is None else value * part.multiplier * part.contracts)
        return total


class Strategy(ABC):
    """One row of the methodology's table."""

    name: ClassVar[str]
    after: ClassVar[str] = ""
    """Whose entries of the day are decided before its own are looked for, where they are looked for."""

    def sizes(self, context: EntryContext) -> int:
        """How many sizes of contract an entry may choose from; rank 0 is the largest."""
        return 1

    @abstractmethod
    def entry_windows(self) -> tuple[Window, ...]:
        """When it looks for entries."""

    @abstractmethod
    def deadlines(self) -> tuple[Deadline, ...]:
        """When what it holds must be looked at, whatever the market does."""

    def underlyings(self) -> tuple[str, ...]:
        """Tickers, and families of futures, whose prices it wants all the time."""
        return ()

    def slots(self, window: str) -> tuple[str, ...]:
        """Which entries a window has, each with a decision of its own: one, unless a row says several tickers."""
        return ("",)

    def takes(self, window: str, position: Position, day: date) -> bool:
        """Whether a window that adds to positions is for this one on a day."""
        return True

    @abstractmethod
    def propose(self, context: EntryContext, rank: int) -> Answer:
        """Look for an entry with the contract of a rank."""

    @abstractmethod
    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        """Why an entry on its walk ends at this step: its own VIX window, its own credit floor.

        ``brings`` is points a package, a credit positive: what the step would be filled at, at worst.
        """

    @abstractmethod
    def manage(self, position: Position, context: HoldContext) -> Action | tuple[Action, ...]:
        """Decide about a position it holds; several acts are for several parts."""

    def is_due(self, position: Position, context: HoldContext) -> bool:
        """Whether it would do anything with a position in such circumstances, with nothing done about it.

        One that cannot tell always would: it is then looked at every minute.
        """
        return True

    @abstractmethod
    def verify(self) -> tuple[str, ...]:
        """What is wrong with it."""


# What an entry must bring, when it is proposed and at each step of its walk: one number, the least in points, a credit
# positive. It travels with the entry.

Must = Callable[[Package, StrategySettings, OrderSettings], float]


def spread_width(package: Package) -> float:
    """Points between the farthest strikes of one right and expiry; the widest of a package's sides."""
    strikes = defaultdict(list)
    for leg in package.legs:
        strikes[leg.contract.right, leg.contract.expiry].append(leg.contract.strike)
    return max(max(side) - min(side) for side in strikes.values())


def round_trip_fees(package: Package, orders: OrderSettings) -> float:
    """Dollars that a package costs to open and to close at the broker's price list."""
    total = 0.0
    for leg in package.legs:
        on_future = leg.contract.underlying.kind is AssetKind.FUTURE
        total += abs(leg.ratio) * (orders.fee(on_future, opens=True) + orders.fee(on_future, opens=False))
    return total


def least_credit(package: Package, row: StrategySettings, orders: OrderSettings) -> float:
    """Points: a share of the width, and so many times the round trip's fees; the larger (methodology, section 5)."""
    multiplier = package.legs[0].contract.multiplier
    fees = row.min_credit_fees * round_trip_fees(package, orders) / multiplier
    return max(row.min_credit_of_width * spread_width(package), fees)


def net_credit(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
    """Money comes in: one step of the price at least."""
    return instrument_of(package.legs[0].contract).ticks.step(0.0, len(package.legs))


def minimum_credit(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
    """The share of the width and the fees that settings ask (methodology, section 5), and a credit in any case."""
    return max(least_credit(package, own, orders), net_credit(package, own, orders))


NET_CREDIT: Must = net_credit
MINIMUM_CREDIT: Must = minimum_credit


def maximum_debit(points: float) -> Must:
    """At most so many points are paid."""

    def must(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
        return -points

    return must


def at_least(points: float) -> Must:
    """More than so many points come in, by one step of the price."""

    def must(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
        return points + net_credit(package, own, orders)

    return must


def least_cash(musts: Iterable[Must], package: Package, own: StrategySettings, orders: OrderSettings) -> float | None:
    """The least that satisfies every must, in points; ``None`` without one."""
    return max((must(package, own, orders) for must in musts), default=None)


def too_little(brings: float, least: float | None) -> Skip | None:
    """Why a package that brings so much (points, a credit positive) is not taken."""
    if least is None or brings >= least - 1e-9:
        return None
    if least < 0:
        return Skip("debit", f"a debit of {-brings:.2f} is over the most of {-least:.2f}", -least, -brings)
    return Skip("credit", f"a credit of {brings:.2f} is under the least of {least:.2f}", least, brings)


DAYS_AHEAD = 45
"""Within which a person is told of a strategy's next window."""


Looked = Callable[[str, str, str, date], bool]
"""Whether a strategy's window has looked for a slot on a day already."""


def next_entries(
    strategies: Iterable[Strategy],
    now: datetime,
    is_open: Callable[[date], bool],
    looked: Looked = lambda *_: False,
) -> list[str]:
    """When each strategy may look for an entry next, a line each; nothing of one that has no window for weeks."""
    found = []
    for strategy in strategies:
        opening = _next_entry(strategy, now, is_open, looked)
        if opening is not None:
            found.append(f"{strategy.name} looks next on {opening[0]:%a %Y-%m-%d %H:%M} ({opening[1]})")
    return found


def _next_entry(
    strategy: Strategy, now: datetime, is_open: Callable[[date], bool], looked: Looked
) -> tuple[datetime, str] | None:
    for ahead in range(DAYS_AHEAD):
        day = now.date() + timedelta(days=ahead)
        coming = [
            (datetime.combine(day, window.opens), window.name)
            for window in strategy.entry_windows()
            if window.falls_on(day)
            and datetime.combine(day, window.closes) > now
            and (
                window.onto
                or not all(looked(strategy.name, window.name, slot, day) for slot in strategy.slots(window.name))
            )
        ]
        if coming and is_open(day):
            return min(coming)
    return None

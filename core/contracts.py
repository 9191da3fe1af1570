"""The values that travel between rooms: what can be held, what it is quoted at, and what is bought or sold together.

A LEAN ``Symbol`` never leaves the gateway except as the opaque ``handle`` of a ``Contract`` or an ``Underlying``;
nothing outside the gateway looks inside it. All cash follows one sign: money in is positive, money out is negative.

What a strategy declares of the market that it can look at and hold, so that a folder of data can be written for it.

Only declarations: the strategies fill them in (`strategies.roster`), an export reads them (`simulation.export`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from typing import Final, overload

MONTH_CODES = "FGHJKMNQUVXZ"
"""Letters by which exchanges name contract months, January to December."""


class Right(StrEnum):
    """Side of an option: the right to buy or to sell the underlying."""

    CALL = "call"
    PUT = "put"


class ExerciseStyle(StrEnum):
    """When an option may be exercised."""

    EUROPEAN = "european"
    AMERICAN = "american"


class Settlement(StrEnum):
    """What an option turns into, and at which moment of its expiry date it stops being an option."""

    CASH_AFTERNOON = "cash_afternoon"  # SPXW, XSP: 16:00 New York print
    CASH_MORNING = "cash_morning"  # SPX third Friday: opening print
    PHYSICAL_SHARES = "physical_shares"  # equity and ETF options
    PHYSICAL_FUTURE = "physical_future"  # options on futures


class AssetKind(StrEnum):
    """What an underlying is."""

    INDEX = "index"
    EQUITY = "equity"
    FUTURE = "future"


@dataclass(frozen=True, slots=True)
class Underlying:
    """Something an option is written on: an index, a share, a future.

    ``ticker`` is the exchange's (``SPX``, ``SPY``), a family's for futures (``ES``). ``multiplier`` is dollars per
    point of one unit (1 for shares and indices, 50 for ES). ``handle`` is the gateway's own and no part of equality.
    ``month`` is the first day of a future's contract month, ``None`` for everything else.
    """

    ticker: str
    kind: AssetKind
    multiplier: float = 1.0
    handle: object = field(default=None, compare=False, repr=False, hash=False)
    month: date | None = None

    @property
    def price_key(self) -> str:
        """By what its price is asked for: the ticker, or the one contract of a family of futures (``ESM16``)."""
        if self.month is None:
            return self.ticker
        return f"{self.ticker}{MONTH_CODES[self.month.month - 1]}{self.month:%y}"


@dataclass(frozen=True, slots=True)
class Contract:
    """One listed option contract.

    ``root`` is the exchange's option root (``SPXW``, ``SPY``, ``LO``); ``strike`` is in points of the underlying;
    ``multiplier`` is dollars per point of premium (100 for equity and index options, 50 for options on ES).
    """

    underlying: Underlying
    root: str
    expiry: date
    strike: float
    right: Right
    style: ExerciseStyle
    settlement: Settlement
    multiplier: float
    handle: object = field(default=None, compare=False, repr=False, hash=False)
    _name: str = field(default="", init=False, compare=False, repr=False)

    def __hash__(self) -> int:
        """By its name, which equal contracts share and which is made once: contracts are keys everywhere."""
        return hash(self.name)

    @property
    def name(self) -> str:
        """Readable identity, unique within a listing: root, expiry, right letter and strike; made once."""
        if not self._name:
            made = f"{self.root} {self.expiry:%y%m%d}{self.right.value[0].upper()}{self.strike:.10g}"
            object.__setattr__(self, "_name", made)
        return self._name

    def days_to_expiry(self, today: date) -> int:
        """Calendar days from ``today`` to expiry; 0 on the expiry date, negative after it."""
        return (self.expiry - today).days


class Listed(Sequence[Contract]):
    """Contracts of a chain in order; each is made when it is first looked at: a look takes a dozen of hundreds.

    ``keys`` are their strikes and rights, which say enough to choose by.
    """

    def __init__(self, keys: Sequence[tuple[float, Right]], make: Callable[[int], Contract | None]) -> None:
        self.strikes = [strike for strike, _ in keys]
        self._keys = keys
        self._make = make
        self._made: list[Contract | None] = [None] * len(keys)
        self._of: dict[Right, Listed] = {}

    @staticmethod
    def of(contracts: Sequence[Contract]) -> Listed:
        """The same of contracts that may all be made already."""
        if isinstance(contracts, Listed):
            return contracts
        return Listed([(row.strike, row.right) for row in contracts], contracts.__getitem__)

    def of_right(self, right: Right) -> Listed:
        """Those of one right, by strike."""
        if right not in self._of:
            places = [at for at, key in enumerate(self._keys) if key[1] is right]
            self._of[right] = self.some(sorted(places, key=self.strikes.__getitem__))
        return self._of[right]

    def some(self, places: Sequence[int]) -> Listed:
        """Those of some places, in their order."""
        return Listed([self._keys[at] for at in places], lambda at: self[places[at]])

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, at: int) -> Contract: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Contract, ...]: ...
    def __getitem__(self, at: int | slice) -> Contract | tuple[Contract, ...]:
        if isinstance(at, slice):
            return tuple(self[one] for one in range(len(self))[at])
        found = self._made[at]
        if found is None:
            found = self._made[at] = self._make(range(len(self))[at])
        if found is None:
            raise ValueError(f"{self._keys[at]}: no contract of the chain; expected one for each of its rows")
        return found


MOST_POINTS: Final = 1e9
"""What no price reaches."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and offer at a moment (naive New York time), in points; ``None`` where a side is missing."""

    bid: float | None
    ask: float | None
    time: datetime
    bid_size: float | None = None
    ask_size: float | None = None

    @property
    def mid(self) -> float | None:
        """Middle of a two-sided, uncrossed quote of prices that can be true, in points; ``None`` for any other."""
        if self.bid is None or self.ask is None or not 0.0 <= self.bid <= self.ask < MOST_POINTS:
            return None
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float | None:
        """Ask minus bid, in points; negative when crossed; ``None`` when a side is missing."""
        if self.bid is None or self.ask is None:
            return None
        return self.ask - self.bid


@dataclass(frozen=True, slots=True)
class Leg:
    """A contract and how many of it one package holds: positive is long, negative is short, never zero."""

    contract: Contract
    ratio: int

    def __post_init__(self) -> None:
        if self.ratio == 0:
            raise ValueError(
                f"ratio: 0 for {self.contract.name}; expected a positive (long) or negative (short) integer"
            )


@dataclass(frozen=True, slots=True)
class Package:
    """Legs that open and close together as one order; one unit, before any quantity."""

    legs: tuple[Leg, ...]

    def __post_init__(self) -> None:
        if not self.legs:
            raise ValueError("legs: empty; expected at least one leg")
        names = [leg.contract.name for leg in self.legs]
        if len(set(names)) != len(names):
            raise ValueError(f"legs: {names} repeats a contract; expected each contract once")

    def reversed(self) -> Package:
        """The package that closes this one: every ratio with its sign turned."""
        return Package(tuple(Leg(leg.contract, -leg.ratio) for leg in self.legs))

    @property
    def uncovered(self) -> int:
        """Short options that no long covers: one of the same right on the same underlying that expires no earlier."""
        return uncovered(self.legs)

    @property
    def underlying(self) -> Underlying:
        """The underlying of the first leg; packages of this method never mix underlyings."""
        return self.legs[0].contract.underlying

    @property
    def expiry(self) -> date:
        """The nearest expiry of the legs."""
        return min(leg.contract.expiry for leg in self.legs)


def uncovered(legs: Sequence[Leg]) -> int:
    """Contracts of short legs that no long leg covers; a long covers a short of its right that ends no later than it.

    The shorts that end last choose first, so that the count is the smallest there is.
    """
    found = 0
    for right in Right:
        free = 0
        side = [leg for leg in legs if leg.contract.right is right]
        for leg in sorted(side, key=lambda item: (-item.contract.expiry.toordinal(), -item.ratio)):
            if leg.ratio > 0:
                free += leg.ratio
                continue
            found += max(-leg.ratio - free, 0)
            free = max(free + leg.ratio, 0)
    return found


MARKET_OPEN = time(9, 30)
MARKET_CLOSE = time(16, 0)


@dataclass(frozen=True, slots=True)
class Deltas:
    """Contracts of one right by absolute delta x 100 at the close; both ends included."""

    right: Right
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Around:
    """Both rights within `ranges` average daily ranges and `share` of the price beyond the day's low and high.

    grid: only strikes that are a multiple of it, in points; None for all.
    """

    ranges: float
    share: float
    grid: float | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """The `nearest` listed expirations to so many calendar days ahead, no farther than `tolerance` from it."""

    days: int
    tolerance: int
    nearest: int = 1


@dataclass(frozen=True, slots=True)
class Reach:
    """What one strategy may choose, and how long it may hold it.

    weekdays: of entry, 0 Monday. weeks: which of its month, 1 the first; None for all. leave: days to expiry of its
    last exit. vix_over: chosen only on days whose VIX was over it. rolls: once a contract that was chosen has this
    delta, the bands of the other right are looked for again in its expiration, each day until the exit.
    """

    strategy: str
    roots: tuple[str, ...]
    term: Term
    bands: tuple[Deltas | Around, ...]
    leave: int
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    weeks: tuple[int, ...] | None = None
    vix_over: float | None = None
    rolls: float | None = None

    def opens(self, day: date) -> bool:
        """Whether its calendar lets it enter on a day."""
        return day.weekday() in self.weekdays and (self.weeks is None or (day.day + 6) // 7 in self.weeks)


@dataclass(frozen=True, slots=True)
class MarketNeeds:
    """All that some strategies need: their reaches, and tickers whose hours and days are looked at besides minutes.

    ``ranked``: option roots of which a year of 30-day volatilities at the money is looked back on.
    """

    reaches: tuple[Reach, ...]
    hourly: tuple[str, ...]
    ranked: tuple[str, ...] = ()

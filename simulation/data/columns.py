"""Columnar market data: one block holds what one subscription has in one data file.

Minute data: a block is a day. Hour and daily data: a block is the whole history of the file that the day falls into.
Times are UTC milliseconds. Prices are plain dollars. Rows are real rows only (sparse): the engine fills forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from simulation.lean.contract_months import moment_of_expiry
from simulation.lean.enums import OptionRight, SecurityType
from simulation.lean.identifiers import SecurityIdentifier
from simulation.lean.symbols import Symbol, option_contract

_CONTRACTS: WeakValueDictionary[tuple[Symbol, int, float, int], Symbol] = WeakValueDictionary()  # of every day's rows
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TradeBlock:
    """Trade bars, ascending. volume in units of the security."""

    end: Integers
    start: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@dataclass(frozen=True, slots=True)
class QuoteBlock:
    """Quote bars, ascending. NaN where a side is missing. Sizes in contracts or shares."""

    end: Integers
    start: Integers
    bid_open: Floats
    bid_high: Floats
    bid_low: Floats
    bid_close: Floats
    bid_size: Floats
    ask_open: Floats
    ask_high: Floats
    ask_low: Floats
    ask_close: Floats
    ask_size: Floats


@dataclass(frozen=True, slots=True)
class InterestBlock:
    """Open interest as it was published; end is the moment of publication."""

    end: Integers
    value: Floats


def begun(block: Any, start: int) -> tuple[Any, int]:
    """When the rows of a block end, and the first row that ends after an instant."""
    return (None, 0) if block is None else (block.end, int(block.end.searchsorted(start, "right")))


def filtered(block: Any, keep: Any) -> Any:
    """Some rows of a block, by a mask."""
    return replace(block, **{item.name: getattr(block, item.name)[keep] for item in fields(block)})


@dataclass(frozen=True, slots=True)
class UnderlyingRow:
    """The underlying's day, as the first row of an option universe carries it."""

    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class UniverseBlock:
    """One day's chain: a row for each listed contract, in file order. The engine sees it from the next midnight on.

    expiry: ordinal days (date.toordinal). right: 0 call, 1 put. theta: per calendar day, as in the file.
    For futures: strike and right are zero. Greeks are zero where the file has none (futures, futures options).
    """

    canonical: Symbol
    day: date
    underlying: UnderlyingRow | None
    expiry: Integers
    strike: Floats
    right: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_interest: Floats
    implied_volatility: Floats
    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    rho: Floats
    _symbols: list[Symbol | None] = field(default_factory=list, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.expiry)

    def narrowed(self, rows: Integers) -> UniverseBlock:
        """The same chain with these rows only."""
        kept = {
            one.name: getattr(self, one.name)[rows]
            for one in fields(self)
            if isinstance(getattr(self, one.name), np.ndarray)
        }
        return replace(self, **kept, _symbols=[])

    def terms(self, row: int) -> tuple[int, float, int]:
        """Ordinal of the expiry, strike and right of one contract."""
        return self.expiry.item(row), self.strike.item(row), self.right.item(row)

    def volatility_of(self, row: int) -> float:
        """Implied volatility of one contract."""
        return self.implied_volatility.item(row)

    def close_of(self, row: int) -> float:
        """The close of one contract."""
        return self.close.item(row)

    def symbol(self, row: int) -> Symbol:
        """The contract of a row, made when first asked for."""
        made = self._symbols
        if not made:
            made.extend([None] * len(self.expiry))
        found = made[row]
        if found is None:
            key = (self.canonical, self.expiry.item(row), self.strike.item(row), self.right.item(row))
            found = _CONTRACTS.get(key)
            if found is None:
                found = _CONTRACTS[key] = self._contract(*key[1:])
            made[row] = found
        return found

    def by_value(self, rows: Integers) -> Integers:
        """Rows in the order of their symbols' values, as LEAN's dictionaries of contracts iterate
        (DataDictionary.cs)."""
        if self.canonical.has_underlying:
            order = np.lexsort((self.strike[rows], self.right[rows], self.expiry[rows]))
            return np.asarray(rows[order], dtype=np.int64)
        return np.array(sorted(rows.tolist(), key=lambda row: str(self.symbol(row).value)), dtype=np.int64)

    def first_by_value(self, rows: Integers) -> int | None:
        """The first of them, found without putting the others in order; None without rows."""
        if not self.canonical.has_underlying:
            return next(iter(self.by_value(rows).tolist()), None)
        for column in (self.expiry, self.right, self.strike):
            values = column[rows]
            rows = rows[values == values.min()] if len(rows) else rows
        return next(iter(rows.tolist()), None)

    def _contract(self, ordinal: int, strike: float, right: int) -> Symbol:
        expiry = date.fromordinal(ordinal)
        if self.canonical.security_type is SecurityType.FUTURE:
            ticker = self.canonical.id.symbol
            return Symbol.create_future(ticker, self.canonical.id.market, moment_of_expiry(ticker, expiry))
        return option_contract(self.canonical, expiry, strike, OptionRight.PUT if right else OptionRight.CALL)

    def symbols(self, rows: Sequence[int] | Integers | None = None) -> list[Symbol]:
        """The contracts of some rows, or of all."""
        return [self.symbol(int(row)) for row in (range(len(self)) if rows is None else rows)]


@lru_cache(maxsize=4096)
def midnight_of(ordinal: int) -> datetime:
    """A day by its ordinal: a chain has thousands of rows and a few dozen expiries."""
    day = date.fromordinal(ordinal)
    return datetime(day.year, day.month, day.day)


class RowIdentifier(SecurityIdentifier):
    """The identifier of a row's option: date, strike and right are the row's; the rest is made when it is asked for.

    Who searches a year of chains asks for one of these three of many contracts and takes few.
    """

    __slots__ = ("block", "row")
    block: UniverseBlock
    row: int

    @classmethod
    def of(cls, block: UniverseBlock, row: int) -> RowIdentifier:
        """The identifier of a row of a chain of options."""
        found = object.__new__(cls)
        found.block, found.row = block, row
        return found

    @property
    def symbol(self) -> str:  # type: ignore[override]
        """Root."""
        return self.block.canonical.id.symbol

    @property
    def date(self) -> datetime:  # type: ignore[override]
        """Expiry date at midnight."""
        return midnight_of(self.block.terms(self.row)[0])

    @property
    def strike_price(self) -> float:  # type: ignore[override]
        """Strike."""
        return self.block.terms(self.row)[1]

    @property
    def option_right(self) -> OptionRight:  # type: ignore[override]
        """CALL or PUT."""
        return OptionRight.PUT if self.block.terms(self.row)[2] else OptionRight.CALL

    def __getattr__(self, name: str) -> Any:
        if name in RowIdentifier.__slots__:
            raise AttributeError(name)
        return getattr(self.block.symbol(self.row).id, name)


@dataclass(frozen=True, slots=True)
class FactorRow:
    """One row of a factor file: up to and including `day`, prices are multiplied by both factors."""

    day: date
    price_factor: float
    split_factor: float
    reference_price: float


@dataclass(frozen=True, slots=True)
class MapRow:
    """One row of a map file: the ticker (of a future: the identifier of the contract) up to and including `day`.

    mode: the value of the DataMappingMode that a future's row is for; None where it holds for all.
    """

    day: date
    ticker: str
    exchange: str
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class ContractFactorRow:
    """One row of a future's factor file, in force up to and including `day` for one DataMappingMode.

    Each tuple begins with the front month and goes on with the back months: ratio multiplies prices, the two others
    are added to them (points).
    """

    day: date
    mode: int | None
    backwards_ratio: tuple[float, ...]
    backwards_panama: tuple[float, ...]
    forward_panama: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MarginRow:
    """Initial and maintenance margin of one futures contract from `day` on, dollars, overnight and intraday."""

    day: date
    initial: float
    maintenance: float
    initial_intraday: float
    maintenance_intraday: float


@dataclass(frozen=True, slots=True)
class InterestRates:
    """Risk-free rate by day (ordinals, ascending), as a fraction a year; each holds until the next."""

    days: Integers
    rates: Floats

    def at(self, moment: date | datetime) -> float:
        """The rate of a day; before the first row the first rate (Common/Data/InterestRateProvider.cs)."""
        row = int(self.days.searchsorted(moment.toordinal(), side="right")) - 1
        return float(self.rates[max(row, 0)])

"""The columns of a day's listed chain, each computed when it is first looked at and kept.

A chain that is only listed costs no price, and one whose volatilities are read costs no Greeks. The strike nearest to
the money is worked out for a block of sessions at once: who ranks volatilities reads it of a year of chain files, one
after the other, and an array of thirty days costs what one day does. It is to rounding what the chain's own columns
say: chain files are rounded a million times more coarsely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from operator import attrgetter

import numpy as np

from simulation.data.columns import UnderlyingRow, UniverseBlock
from simulation.lean.symbols import Symbol
from simulation.market.asset_days import AssetDay
from simulation.market.calendar import FloatArray, IntArray, calendar
from simulation.market.listings import Chain
from simulation.market.surface import Greeks, SurfaceDay, smile, steepness
from simulation.market.valuation import ChainRows, OptionRoot, activity, value_on_future

VOLATILITY_DECIMALS = 7
_CENTS = 2
_BESIDE = 1  # rows to each side of one whose close is asked for that are priced with it: its strike's other right
_FEW = 24  # closes that are asked for one by one before the whole chain is priced


def decimals_of(root: OptionRoot) -> int:
    """Of a price as shown: cents, finer where the exchange's step is."""
    return _CENTS if root.law.tick_below >= 10.0**-_CENTS else 5


def _valued(chain: Chain) -> ChainRows:
    """A chain as what contracts are valued from."""
    return ChainRows(chain.expiry, chain.strike, 1.0 - 2.0 * chain.right)


BLOCK = 16  # sessions
BLOCKS_KEPT = 400  # of expirations


@dataclass(frozen=True, slots=True)
class AtTheMoney:
    """The listed strike nearest to the underlying's close, and what call and put are worth there, in points."""

    strike: float
    call: float
    put: float


class MoneyBook:
    """Of options on one future the strikes nearest to the money, by blocks of sessions, when one is asked for.

    Rounded as a file shows them.
    """

    def __init__(self, root: OptionRoot) -> None:
        self._root = root
        self._decimals = decimals_of(root)
        self._known: dict[tuple[int, int], dict[int, AtTheMoney]] = {}

    def at(self, day: date, expiry: date) -> AtTheMoney | None:
        """Of one session's close; ``None`` where the expiration is not listed then."""
        block = calendar().index(day) // BLOCK
        key = (expiry.toordinal(), block)
        known = self._known.get(key)
        if known is None:
            if len(self._known) > BLOCKS_KEPT:
                self._known.clear()
            known = self._known[key] = self._worked_out(block, expiry)
        return known.get(day.toordinal())

    def _worked_out(self, block: int, expiry: date) -> dict[int, AtTheMoney]:
        root = self._root
        days, strikes = list[AssetDay](), list[float]()
        for ordinal in calendar().ordinals[block * BLOCK : (block + 1) * BLOCK].tolist():
            day = date.fromordinal(ordinal)
            listed = root.listing.strikes(day, expiry) if day < expiry else None
            state = None if listed is None else root.asset_day(day)
            if listed is not None and state is not None:
                days.append(state)
                strikes.append(listed.item(int(np.abs(listed - state.closed).argmin())))
        if not days:
            return {}
        strike, rate = np.array(strikes), np.array([day.carry.rate for day in days])
        forward, left, years = np.array([day.terms_at_close(expiry) for day in days]).T
        surface = SurfaceDay.joined([day.closing for day in days])
        theta = surface.theta(left)
        variance = smile(np.log(strike / forward), theta, surface.law.rho, steepness(theta, surface.eta))
        terms = forward, strike, variance, years
        values = [value_on_future(sign, terms, rate) for sign in (1.0, -1.0)]
        sides = [np.round(side, self._decimals).tolist() for side in values]
        return {
            day.day.toordinal(): AtTheMoney(*row)
            for day, row in zip(days, zip(strikes, *sides, strict=True), strict=True)
        }


class ChainColumns:
    """The computed columns of one chain; each is worked out once, on first use."""

    def __init__(self, root: OptionRoot, state: AssetDay, chain: Chain, seed: int, money: MoneyBook | None) -> None:
        self.root = root
        self._money = money
        self.state = state
        self.chain = chain
        self._seed = seed
        self.decimals = decimals_of(root)
        self._kept: dict[str, FloatArray] = {}
        self._volatilities: dict[int, float] = {}
        self._closes: dict[int, float] = {}
        self._greeks: Greeks | None = None

    @cached_property
    def rows(self) -> ChainRows:
        """The chain as what contracts are valued from."""
        return _valued(self.chain)

    def volatility(self) -> FloatArray:
        """Implied volatility at the close."""
        return self.root.chain_volatility(self.state, self.rows, self.state.minutes)

    def of_rows(self, chain: Chain) -> ChainColumns:
        """The columns of some of its rows."""
        return ChainColumns(self.root, self.state, chain, self._seed, self._money)

    def _nearest(self, row: int) -> AtTheMoney | None:
        """What is known of a future option's strike where none of its expiry is nearer to the close; else ``None``."""
        if self._money is None:
            return None
        expiry, strike, _ = self.chain.terms(row)
        away = abs(strike - self.state.closed)
        for beside in (row - 2, row + 2):
            other = self.chain.terms(beside) if 0 <= beside < len(self.chain) else (0, 0.0, 0)
            if other[0] == expiry and abs(other[1] - self.state.closed) < away:
                return None
        found = self._money.at(self.state.day, date.fromordinal(expiry))
        return found if found is not None and found.strike == strike else None

    def volatility_of(self, row: int) -> float:
        """Implied volatility of one contract as shown; its expiry's alone are computed for it, not the chain's."""
        known = self._volatilities.get(row)
        if known is None:
            places, alone = self.chain.beside(row)
            values = self.root.chain_volatility(self.state, _valued(alone), self.state.minutes)
            self._volatilities.update(zip(places.tolist(), np.round(values, VOLATILITY_DECIMALS).tolist(), strict=True))
            known = self._volatilities[row]
        return known

    def keep(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        """A column by name, made when it is first asked for."""
        known = self._kept.get(name)
        if known is None:
            known = self._kept[name] = make()
        return known

    def value_at(self, minute: int) -> FloatArray:
        """Model values at a minute, at the cent; finer where the exchange's step is."""
        return self.keep(f"value {minute}", lambda: self._values(self.rows, minute))

    def _values(self, rows: ChainRows, minute: int) -> FloatArray:
        return np.round(self.root.chain_values(self.state, rows, minute), self.decimals)

    def close_of(self, row: int) -> float:
        """The close of one contract as shown; its neighbours' alone are priced with it, not the chain."""
        whole = self._kept.get(f"value {self.state.minutes}")
        if whole is not None or len(self._closes) > _FEW:
            return float(self.value_at(self.state.minutes)[row])
        known = self._closes.get(row)
        nearest = self._nearest(row) if known is None else None
        if nearest is not None:
            known = self._closes[row] = nearest.put if self.chain.terms(row)[2] else nearest.call
        elif known is None:
            low, high = max(row - _BESIDE, 0), row + _BESIDE + 1
            places = np.flatnonzero(self.rows.expiry[low:high] == self.rows.expiry[row]) + low
            rows = ChainRows(self.rows.expiry[places], self.rows.strike[places], self.rows.sign[places])
            self._closes.update(zip(places.tolist(), self._values(rows, self.state.minutes).tolist(), strict=True))
            known = self._closes[row]
        return known

    def _corners(self) -> tuple[int, int]:
        points = self.state.spot.points
        return int(np.argmin(points)), int(np.argmax(points))

    def high(self) -> FloatArray:
        """The highest of the values at the open, the close and the index's two extremes."""
        bottom, top = self._corners()
        return self._extreme(np.maximum, (0, bottom, top, self.state.minutes))

    def low(self) -> FloatArray:
        """The lowest of the same four values."""
        bottom, top = self._corners()
        return self._extreme(np.minimum, (0, bottom, top, self.state.minutes))

    def _extreme(self, choose: np.ufunc, minutes: tuple[int, ...]) -> FloatArray:
        return np.asarray(choose.reduce([self.value_at(minute) for minute in minutes]), dtype=np.float64)

    def greeks(self) -> Greeks:
        """Greeks at the close."""
        if self._greeks is None:
            self._greeks = self.root.chain_greeks(self.state, self.rows, self.state.minutes)
        return self._greeks

    def open_interest(self) -> FloatArray:
        """Contracts open, by distance, term and roundness of the strike, with noise."""
        return self.keep("interest", lambda: self._activity()[0])

    def volume(self) -> FloatArray:
        """Contracts traded over the day."""
        return self.keep("volume", lambda: self._activity()[1])

    def _activity(self) -> tuple[FloatArray, FloatArray]:
        today = np.array([self.state.day.toordinal()], dtype=np.int64)
        return activity(self.root, self.rows, self.state.spot.points[:1], today, self._seed)


class UnderlyingOfDay(UnderlyingRow):
    """The underlying's row of a chain, of whose prices the close alone costs none of the day's minutes."""

    __slots__ = ("_state",)
    _state: AssetDay

    @classmethod
    def of(cls, state: AssetDay) -> UnderlyingOfDay:
        """The row of an underlying's day."""
        row = object.__new__(cls)
        object.__setattr__(row, "_state", state)
        return row


def _of_day(name: str, read: Callable[[AssetDay], float]) -> None:
    """A price of the underlying's day."""

    def price(row: UnderlyingOfDay) -> float:
        return read(row._state)

    price.__doc__ = f"{name.capitalize()} of the underlying's day."
    setattr(UnderlyingOfDay, name, property(price))


_of_day("open", lambda state: state.opened)
_of_day("high", lambda state: float(state.spot.high.max()))
_of_day("low", lambda state: float(state.spot.low.min()))
_of_day("close", lambda state: state.closed)
_of_day("volume", lambda _: 0.0)


class LazyUniverse(UniverseBlock):
    """A universe block whose prices, activity and Greeks are computed when first looked at."""

    __slots__ = ("_columns",)
    _columns: ChainColumns

    @classmethod
    def of(cls, canonical: Symbol, day: date, underlying: UnderlyingRow | None, columns: ChainColumns) -> LazyUniverse:
        """The block of ``day`` over the columns of a listed chain."""
        block = object.__new__(cls)
        for name, value in (
            ("canonical", canonical),
            ("day", day),
            ("underlying", underlying),
            ("_symbols", []),
            ("_columns", columns),
        ):
            object.__setattr__(block, name, value)
        return block

    def narrowed(self, rows: IntArray) -> UniverseBlock:
        """These rows only: what is computed of them costs what they cost, not the chain."""
        chain = Chain(self.expiry[rows], self.strike[rows], self.right[rows])
        return LazyUniverse.of(self.canonical, self.day, self.underlying, self._columns.of_rows(chain))

    def volatility_of(self, row: int) -> float:
        """Implied volatility of one contract, without the whole chain's."""
        return self._columns.volatility_of(row)

    def close_of(self, row: int) -> float:
        """The close of one contract, without the whole chain's."""
        return self._columns.close_of(row)

    def __len__(self) -> int:
        return len(self._columns.chain)

    def terms(self, row: int) -> tuple[int, float, int]:
        """Ordinal of the expiry, strike and right of one contract, without the whole chain's."""
        return self._columns.chain.terms(row)


def _computed(name: str, read: Callable[[ChainColumns], FloatArray], decimals: int | None = None) -> None:
    """A column rounded to so many decimals; a price is rounded by its chain."""

    def column(block: LazyUniverse) -> FloatArray:
        columns = block._columns
        return columns.keep(
            f"shown {name}", lambda: read(columns) if decimals is None else np.round(read(columns), decimals)
        )

    column.__doc__ = f"{name.replace('_', ' ').capitalize()} of each contract, computed when first looked at."
    setattr(LazyUniverse, name, property(column))


for _name in ("expiry", "strike", "right"):
    setattr(LazyUniverse, _name, property(attrgetter(f"_columns.chain.{_name}")))
_computed("open", lambda columns: columns.value_at(0))
_computed("high", ChainColumns.high)
_computed("low", ChainColumns.low)
_computed("close", lambda columns: columns.value_at(columns.state.minutes))
_computed("volume", ChainColumns.volume, 0)
_computed("open_interest", ChainColumns.open_interest, 0)
_computed("implied_volatility", ChainColumns.volatility, VOLATILITY_DECIMALS)
_computed("delta", lambda columns: columns.greeks().delta, 7)
_computed("gamma", lambda columns: columns.greeks().gamma, 7)
_computed("vega", lambda columns: columns.greeks().vega, 7)
_computed("theta", lambda columns: columns.greeks().theta, 7)
_computed("rho", lambda columns: columns.greeks().rho, 7)

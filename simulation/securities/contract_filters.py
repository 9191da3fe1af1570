"""What a universe's filter function sees: the rows of the previous day's chain file, and LEAN's ways to narrow them.

Numbers are the file's: end-of-day values of the day before (lean-facts 3.3). Strikes in dollars, days are calendar
days from the selection's local date, moved to the next trading day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from simulation.data.chain_files import UniverseRow, underlying_bar
from simulation.data.columns import UniverseBlock
from simulation.lean.enums import SecurityType
from simulation.lean.names import Named
from simulation.lean.symbols import symbol_of

ALL_TYPES, STANDARD, WEEKLY = 3, 1, 2


class ContractFilterUniverse(Named):
    """Rows left so far, narrowed in place; every method gives the universe back."""

    def __init__(self, security: Any) -> None:
        self._security = security
        self._block: UniverseBlock | None = None
        self._rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._extra: list[Any] = []
        self._types = ALL_TYPES
        self._types_applied = False
        self.local_time = datetime.min

    def load(self, block: UniverseBlock, local_time: datetime) -> None:
        """Begins a new selection over a file."""
        self._block, self.local_time = block, local_time
        self._rows = np.arange(len(block))
        self._extra = []
        self._types, self._types_applied = ALL_TYPES, False

    def selected(self) -> list[Any]:
        """The symbols that are left."""
        block = self._file()
        return [*block.symbols(self._rows), *self._extra]

    def _file(self) -> UniverseBlock:
        if self._block is None:
            raise ValueError("a filter universe has no rows before its first selection")
        return self._block

    def _keep(self, mask: NDArray[np.bool_]) -> Self:
        self._rows = self._rows[mask]
        return self

    def _none(self) -> Self:
        self._rows, self._extra = self._rows[:0], []
        return self

    # -- kinds of contract -------------------------------------------------------------------------------------------

    def _standard_mask(self) -> NDArray[np.bool_]:
        return np.ones(len(self._rows), dtype=bool)

    def apply_types_filter(self) -> Self:
        """Keeps the wanted kinds: standard, weekly or both."""
        if not self._types_applied and self._types != ALL_TYPES:
            standard = self._standard_mask()
            self._keep(standard if self._types == STANDARD else ~standard)
        self._types_applied = True
        return self

    def standards_only(self) -> Self:
        """Standard contracts only."""
        self._types = STANDARD
        return self

    def include_weeklys(self) -> Self:
        """Weeklys too, as is the default."""
        self._types |= WEEKLY
        return self

    def weeklys_only(self) -> Self:
        """Weekly contracts only."""
        self._types = WEEKLY
        return self

    def _by_front(self, front: bool) -> Self:
        self.apply_types_filter()
        if len(self._rows) == 0:
            return self
        expiry = self._file().expiry[self._rows]
        nearest = expiry == expiry.min()
        return self._keep(nearest if front else ~nearest)

    def front_month(self) -> Self:
        """The nearest expiry only."""
        return self._by_front(True)

    def back_months(self) -> Self:
        """All but the nearest expiry."""
        return self._by_front(False)

    def back_month(self) -> Self:
        """The second expiry only."""
        return self.back_months().front_month()

    def only_apply_filter_at_market_open(self) -> Self:
        """Does nothing, as in LEAN: filters are applied once a day."""
        return self

    # -- expiry and lists --------------------------------------------------------------------------------------------

    def _reference_date(self) -> date:
        return self.local_time.date()

    def expiration(self, min_expiry: int | timedelta, max_expiry: int | timedelta) -> Self:
        """Expiries between so many days from the selection's date, both included."""
        low = min_expiry if isinstance(min_expiry, timedelta) else timedelta(days=min_expiry)
        high = max_expiry if isinstance(max_expiry, timedelta) else timedelta(days=max_expiry)
        reference = self._reference_date().toordinal()
        expiry = self._file().expiry[self._rows]
        return self._keep(
            (expiry >= reference + low.total_seconds() / 86400) & (expiry <= reference + min(high.days, 10**6))
        )

    def contracts(self, contracts: Any) -> Self:
        """These contracts: a list of symbols or rows, or a function of the rows that gives one."""
        chosen = list(contracts(list(self)) if callable(contracts) else contracts)
        block = self._file()
        rows = [item.row for item in chosen if isinstance(item, UniverseRow)]
        wanted = [symbol_of(item) for item in chosen if not isinstance(item, UniverseRow)]
        if wanted:
            known = {block.symbol(int(row)): int(row) for row in self._rows}
            rows += [known[symbol] for symbol in wanted if symbol in known]
            self._extra = [symbol for symbol in wanted if symbol not in known]
        else:
            self._extra = []
        self._rows = np.array(rows, dtype=np.int64)
        return self

    def where(self, predicate: Callable[[UniverseRow], bool]) -> Self:
        """Rows for which the predicate holds."""
        return self._keep(np.array([bool(predicate(row)) for row in self], dtype=bool))

    def select(self, map_func: Callable[[UniverseRow], Any]) -> Self:
        """The symbols that a function makes of the rows."""
        return self.contracts([map_func(row) for row in self])

    def select_many(self, map_func: Callable[[UniverseRow], Iterable[Any]]) -> Self:
        """All symbols that a function makes of the rows."""
        return self.contracts([item for row in self for item in map_func(row)])

    def where_contains(self, filter_list: Iterable[Any]) -> Self:
        """Rows whose contract is in a list."""
        wanted = {symbol_of(item) for item in filter_list}
        return self.where(lambda row: row.symbol in wanted)

    def __iter__(self) -> Iterator[UniverseRow]:
        block = self._file()
        return (UniverseRow(block, int(row)) for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows) + len(self._extra)

    @property
    def count(self) -> int:
        """Rows left."""
        return len(self)

    @property
    def all_symbols(self) -> list[Any]:
        """Contracts left."""
        return self.selected()


class FutureFilterUniverse(ContractFilterUniverse):
    """What a future's filter sees."""

    def expiration_cycle(self, months: Iterable[int]) -> FutureFilterUniverse:
        """Expiries in the given months of the year."""
        wanted = set(months)
        return self.where(lambda row: row.expiry.month in wanted)


class OptionFilterUniverse(ContractFilterUniverse):
    """What an option's filter sees."""

    def __init__(self, security: Any) -> None:
        super().__init__(security)
        self._unique: NDArray[np.float64] | None = None
        self._last_date: date | None = None

    def load(self, block: UniverseBlock, local_time: datetime) -> None:
        """Begins a new selection; the list of strikes is made anew when the date has changed."""
        super().load(block, local_time)
        if self._last_date != local_time.date():
            self._unique = None
        self._last_date = local_time.date()

    @property
    def underlying(self) -> Any:
        """The underlying's day in the file, as a bar; None when the file has no such row."""
        return underlying_bar(self._file(), self._security.symbol)

    def _spot(self) -> float:
        row = self._file().underlying
        if row is None:
            raise ValueError(f"the universe file of {self._security.symbol.value} has no underlying row")
        return row.close

    def _reference_date(self) -> date:
        """The selection's date, moved to the next trading day (OptionFilterUniverse.cs:135)."""
        hours = self._security.exchange.hours
        day = datetime(self.local_time.year, self.local_time.month, self.local_time.day)
        if not hours.is_date_open(day):
            day = hours.get_next_trading_day(day)
        return day.date()

    def _standard_mask(self) -> NDArray[np.bool_]:
        kind = self._security.symbol.security_type
        if kind == SecurityType.FUTURE_OPTION:
            return np.ones(len(self._rows), dtype=bool)
        if kind == SecurityType.INDEX_OPTION and not _is_weekly_root(self._security.symbol.id.symbol):
            return np.ones(len(self._rows), dtype=bool)
        return np.array(
            [_third_friday(date.fromordinal(int(day))) for day in self._file().expiry[self._rows]], dtype=bool
        )

    def strikes(self, min_strike: int, max_strike: int) -> OptionFilterUniverse:
        """Ranks of distinct strikes around the underlying's close (OptionFilterUniverse.cs:152)."""
        block = self._file()
        if block.underlying is None:
            return self
        if self._unique is None:
            self._unique = np.unique(block.strike[self._rows])
        unique = self._unique
        spot = block.underlying.close
        index = int(np.searchsorted(unique, spot))
        if index >= len(unique):
            return self._none()
        low, high = index + min_strike, index + max_strike
        if abs(unique[index] - spot) > 1e-9:
            if min_strike < 0 < max_strike:
                high -= 1
            elif min_strike > 0:
                low, high = low - 1, high - 1
        if max(low, 0) >= len(unique) or high < 0:
            return self._none()
        strike = block.strike[self._rows]
        return self._keep((strike >= unique[max(low, 0)]) & (strike <= unique[min(high, len(unique) - 1)]))

    def calls_only(self) -> OptionFilterUniverse:
        """Calls only."""
        return self._keep(self._file().right[self._rows] == 0)

    def puts_only(self) -> OptionFilterUniverse:
        """Puts only."""
        return self._keep(self._file().right[self._rows] == 1)

    # -- the file's figures ------------------------------------------------------------------------------------------

    def _between(self, name: str, low: float, high: float, factor: float = 1.0) -> OptionFilterUniverse:
        if self._security.symbol.security_type == SecurityType.FUTURE_OPTION:
            raise ValueError(f"{name} filter is not supported for future options.")
        values = getattr(self._file(), name)[self._rows] * factor
        return self._keep((values >= low) & (values <= high))

    def delta(self, min: float, max: float) -> OptionFilterUniverse:
        """Deltas between two values, both included; puts are negative."""
        return self._between("delta", min, max)

    def gamma(self, min: float, max: float) -> OptionFilterUniverse:
        """Gammas between two values."""
        return self._between("gamma", min, max)

    def theta(self, min: float, max: float) -> OptionFilterUniverse:
        """Thetas a year between two values."""
        return self._between("theta", min, max, 365.0)

    def vega(self, min: float, max: float) -> OptionFilterUniverse:
        """Vegas between two values."""
        return self._between("vega", min, max)

    def rho(self, min: float, max: float) -> OptionFilterUniverse:
        """Rhos between two values."""
        return self._between("rho", min, max)

    def implied_volatility(self, min: float, max: float) -> OptionFilterUniverse:
        """Implied volatilities between two fractions."""
        return self._between("implied_volatility", min, max)

    def open_interest(self, min: int, max: int) -> OptionFilterUniverse:
        """Open interest between two numbers."""
        return self._between("open_interest", min, max)

    d, g, t, v, r, iv, oi = delta, gamma, theta, vega, rho, implied_volatility, open_interest

    # -- strategies --------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        from simulation.lean.names import snake_case
        from simulation.securities.strategy_filters import STRATEGY_FILTERS

        strategy = STRATEGY_FILTERS.get(snake_case(name))
        if strategy is None:
            return super().__getattr__(name)

        def narrow(*arguments: Any, **named: Any) -> OptionFilterUniverse:
            chosen = strategy(list(self), self._spot(), self._last_date, *arguments, **named)
            self._extra = []
            self._rows = np.array([row.row for row in chosen], dtype=np.int64)
            return self

        return narrow


def _is_weekly_root(root: str) -> bool:
    return root.upper() in ("SPXW", "VIXW", "NDXP", "RUTW", "NQX")


def _third_friday(day: date) -> bool:
    """Whether a date is Thursday to Saturday of the month's third Friday (OptionSymbol.cs IsStandard)."""
    first_friday = 1 + (4 - day.replace(day=1).weekday()) % 7
    return first_friday + 12 < day.day < first_friday + 16


def apply_filter(security: Any, universe: ContractFilterUniverse, filter_function: Callable[[Any], Any]) -> list[Any]:
    """The symbols that a filter leaves; the function may give the universe, a list of symbols, or None
    (Option.cs:605)."""
    result = filter_function(universe)
    if result is None or result is universe:
        return universe.apply_types_filter().selected()
    if isinstance(result, ContractFilterUniverse):
        return result.apply_types_filter().selected()
    if isinstance(result, Iterable):
        return universe.where_contains(result).apply_types_filter().selected()
    raise TypeError(
        f"the filter of {security.symbol.value} gave {type(result).__name__}; it must give the "
        "universe, a list of symbols or None"
    )


def filter_of(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    """The filter function of `set_filter`'s arguments."""
    if len(arguments) == 1 and callable(arguments[0]):
        return arguments[0]  # type: ignore[no-any-return]
    if len(arguments) == 2 and isinstance(arguments[0], timedelta):
        return lambda universe: universe.expiration(arguments[0], arguments[1])
    if len(arguments) == 2:
        return lambda universe: (
            universe.strikes(arguments[0], arguments[1])
            if isinstance(universe, OptionFilterUniverse)
            else universe.expiration(*arguments)
        )
    if len(arguments) == 4:
        return lambda universe: universe.strikes(arguments[0], arguments[1]).expiration(arguments[2], arguments[3])
    raise TypeError(f"set_filter takes a function, two or four limits, not {len(arguments)} arguments")


def default_option_filter(universe: OptionFilterUniverse) -> OptionFilterUniverse:
    """One strike around the money, up to 35 days (Option.cs:186)."""
    return universe.strikes(-1, 1).expiration(timedelta(0), timedelta(days=35))

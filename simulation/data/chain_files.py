"""The chain file of a day: its rows as filters and `option_chain()` show them, and chains as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from simulation.data.columns import RowIdentifier, UnderlyingRow, UniverseBlock, midnight_of
from simulation.lean.bars import trade_bar
from simulation.lean.clock import DAY_MS, NEW_YORK
from simulation.lean.dictionaries import LeanDictionary
from simulation.lean.enums import OptionRight, SecurityType
from simulation.lean.identifiers import SecurityIdentifier
from simulation.lean.names import Named

ONE_DAY = timedelta(days=1)
MISSING_FILES = 10
"""Trading days without a file after which a search backwards for so many files ends."""


class FileGreeks(Named):
    """Greeks of a chain file. Per 1.0 of the underlying (delta, gamma), per percentage point (vega, rho); theta a
    year."""

    __slots__ = ("_block", "_row")

    def __init__(self, block: UniverseBlock, row: int) -> None:
        self._block, self._row = block, row

    @property
    def delta(self) -> float:
        """Change per point of the underlying."""
        return self._block.delta.item(self._row)

    @property
    def gamma(self) -> float:
        """Change of delta per point of the underlying."""
        return self._block.gamma.item(self._row)

    @property
    def vega(self) -> float:
        """Change per percentage point of volatility."""
        return self._block.vega.item(self._row)

    @property
    def theta_per_day(self) -> float:
        """Change per calendar day, as the file has it."""
        return self._block.theta.item(self._row)

    @property
    def theta(self) -> float:
        """Change per year: the file's value times 365 (OptionUniverse.cs:260)."""
        return self._block.theta.item(self._row) * 365

    @property
    def rho(self) -> float:
        """Change per percentage point of the rate."""
        return self._block.rho.item(self._row)

    @property
    def lambda_(self) -> float:
        """Always 0 in the file."""
        return 0.0 * self._row


class UniverseRow(Named):
    """One contract of a chain file: LEAN's OptionUniverse or FutureUniverse."""

    __slots__ = ("block", "row")

    def __init__(self, block: UniverseBlock, row: int) -> None:
        self.block, self.row = block, row

    @property
    def symbol(self) -> Any:
        """The contract."""
        return self.block.symbol(self.row)

    @property
    def id(self) -> SecurityIdentifier:
        """The contract's identifier (BaseChainUniverseData.cs:40)."""
        if self.block.canonical.security_type is SecurityType.FUTURE:
            return self.symbol.id  # type: ignore[no-any-return]
        return RowIdentifier.of(self.block, self.row)

    @property
    def expiry(self) -> datetime:
        """Expiry date at midnight; a future's with its time of day."""
        block = self.block
        if block.canonical.security_type is SecurityType.FUTURE:
            return self.symbol.id.date  # type: ignore[no-any-return]
        return midnight_of(block.expiry.item(self.row))

    @property
    def strike(self) -> float:
        """Strike."""
        return self.block.strike.item(self.row)

    @property
    def right(self) -> OptionRight:
        """CALL or PUT."""
        return OptionRight.PUT if self.block.right.item(self.row) else OptionRight.CALL

    @property
    def open(self) -> float:
        """The day's open."""
        return self.block.open.item(self.row)

    @property
    def high(self) -> float:
        """The day's high."""
        return self.block.high.item(self.row)

    @property
    def low(self) -> float:
        """The day's low."""
        return self.block.low.item(self.row)

    @property
    def close(self) -> float:
        """The day's close."""
        return self.block.close_of(self.row)

    @property
    def value(self) -> float:
        """The day's close."""
        return self.close

    @property
    def price(self) -> float:
        """The day's close."""
        return self.close

    @property
    def volume(self) -> float:
        """The day's volume."""
        return self.block.volume.item(self.row)

    @property
    def open_interest(self) -> float:
        """Open contracts."""
        return self.block.open_interest.item(self.row)

    @property
    def implied_volatility(self) -> float:
        """Annualised, as a fraction."""
        return self.block.volatility_of(self.row)

    @property
    def greeks(self) -> FileGreeks:
        """The file's Greeks."""
        return FileGreeks(self.block, self.row)

    @property
    def time(self) -> datetime:
        """Begin of the file's day."""
        return datetime(self.block.day.year, self.block.day.month, self.block.day.day)

    @property
    def end_time(self) -> datetime:
        """Midnight after the file's day."""
        return self.time + timedelta(days=1)

    def __eq__(self, other: object) -> bool:
        return bool(self.symbol == (other.symbol if isinstance(other, UniverseRow) else other))

    def __hash__(self) -> int:
        return hash(self.symbol)


class UniverseRows(Sequence[UniverseRow]):
    """A chain file in a history of universes: its rows, made when they are asked for."""

    def __init__(self, block: UniverseBlock) -> None:
        self._block = block
        self._places = range(len(block))

    @property
    def data(self) -> UniverseRows:
        """The rows (BaseDataCollection.Data)."""
        return self

    @property
    def underlying(self) -> UnderlyingRow | None:
        """The underlying's day; `None` where the file has none."""
        return self._block.underlying

    @property
    def end_time(self) -> datetime:
        """Midnight after the file's day."""
        return _known_from(self._block)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> UniverseRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[UniverseRow]: ...
    def __getitem__(self, index: int | slice) -> UniverseRow | list[UniverseRow]:
        if isinstance(index, slice):
            return [UniverseRow(self._block, row) for row in self._places[index]]
        return UniverseRow(self._block, self._places[index])


def _expiries(block: UniverseBlock, rows: list[int]) -> list[datetime]:
    """Expiry dates at midnight; a future's with its time of day."""
    if block.canonical.security_type is SecurityType.FUTURE:
        return [block.symbol(row).id.date for row in rows]
    return list(map(midnight_of, block.expiry[rows].tolist()))


class OptionContracts(LeanDictionary[Any]):
    """`chain.contracts`: contracts by symbol."""


class FileContract(UniverseRow):
    """One contract of `option_chain()`: the day before's close as bid, ask and last, the file's volatility and
    Greeks."""

    __slots__ = ("expiry",)
    expiry: datetime

    @property
    def time(self) -> datetime:
        """When the file became known."""
        return self.end_time

    @property
    def underlying_symbol(self) -> Any:
        """Symbol of the underlying."""
        return self.symbol.underlying

    @property
    def underlying_last_price(self) -> float:
        """The underlying's close in the file."""
        row = self.block.underlying
        return 0.0 if row is None else row.close

    @property
    def last_price(self) -> float:
        """The day's close."""
        return self.close

    @property
    def bid_price(self) -> float:
        """The day's close."""
        return self.close

    @property
    def ask_price(self) -> float:
        """The day's close."""
        return self.close

    @property
    def bid_size(self) -> int:
        """Not in the file."""
        return 0 * self.row

    @property
    def ask_size(self) -> int:
        """Not in the file."""
        return 0 * self.row

    @property
    def scaled_strike(self) -> float:
        """Strike."""
        return self.strike

    @property
    def style(self) -> Any:
        """AMERICAN or EUROPEAN."""
        return self.symbol.id.option_style

    @property
    def theoretical_price(self) -> float:
        """Not in the file: 0 (OptionContract.cs:322)."""
        return 0.0 * self.row


class FileChain(Named):
    """`option_chain(symbol)`: the whole file of the day before, without contracts that have expired."""

    def __init__(self, block: UniverseBlock, canonical: Any, today: date) -> None:
        self.block, self.symbol = block, canonical
        self._listed: NDArray[np.int64] = np.nonzero(block.expiry >= today.toordinal())[0]
        self._ordered: tuple[list[int], list[datetime]] | None = None

    def __iter__(self) -> Iterator[FileContract]:
        """In the order of their symbols. The first is found without sorting the rest: each day it is asked if any
        is."""
        block, known, make, told = self.block, self._ordered, FileContract.__new__, 0
        if known is None:
            if (first := block.first_by_value(self._listed)) is not None:
                contract, told = make(FileContract), 1
                contract.block, contract.row, contract.expiry = block, first, _expiries(block, [first])[0]
                yield contract
            rows = block.by_value(self._listed).tolist()
            known = self._ordered = (rows, _expiries(block, rows))
        for row, expiry in islice(zip(*known, strict=True), told, None):
            contract = make(FileContract)  # without a call of its constructor: chains have thousands
            contract.block, contract.row, contract.expiry = block, row, expiry
            yield contract

    def __len__(self) -> int:
        return len(self._listed)

    @property
    def count(self) -> int:
        """Number of contracts."""
        return len(self)

    @property
    def contracts(self) -> OptionContracts:
        """Contracts by symbol."""
        return OptionContracts({contract.symbol: contract for contract in self})

    @property
    def underlying(self) -> Any:
        """The underlying's day in the file, as a bar."""
        return underlying_bar(self.block, self.symbol)

    @property
    def end_time(self) -> datetime:
        """When the file became known."""
        return datetime(self.block.day.year, self.block.day.month, self.block.day.day) + timedelta(days=1)

    time = end_time

    @property
    def data_frame(self) -> Any:
        """All contracts as a pandas frame, indexed by symbol."""
        return chain_frame(self.symbol, list(self))


class FileChains(LeanDictionary[Any]):
    """`option_chains(symbols)`, `futures_chains(symbols)`: file chains by canonical."""

    @property
    def data_frame(self) -> Any:
        """All contracts of all chains as a pandas frame, indexed by (canonical, symbol)."""
        import pandas as pd

        frames = {pair.key: pair.value.data_frame for pair in sorted(self, key=lambda pair: str(pair.key.value))}
        return pd.concat(frames.values(), keys=frames.keys(), names=["canonical", "symbol"], sort=False)


class EmptyChain(Named):
    """`option_chain(symbol)` when no file is there."""

    def __init__(self, canonical: Any) -> None:
        self.symbol = canonical
        self.underlying = None

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    @property
    def contracts(self) -> OptionContracts:
        """No contracts."""
        return OptionContracts()

    @property
    def data_frame(self) -> Any:
        """An empty frame."""
        return chain_frame(self.symbol, [])


def underlying_bar(block: UniverseBlock, canonical: Any) -> Any:
    """The underlying's row of a chain file as a trade bar, None without one."""
    row = block.underlying
    if row is None or not canonical.has_underlying:
        return None
    start = NEW_YORK.midnight_ms(block.day)
    values = (row.open, row.high, row.low, row.close, row.volume)
    return trade_bar(canonical.underlying, NEW_YORK, (start, start + DAY_MS), values)


_CONTRACT_COLUMNS = (
    "expiry",
    "open_interest",
    "last_price",
    "volume",
    "bid_price",
    "bid_size",
    "ask_price",
    "ask_size",
)
_OPTION_COLUMNS = (
    *("strike", "scaled_strike", "right", "style", "theoretical_price", "implied_volatility"),
    *("underlying_last_price", "underlying_symbol"),
)
_GREEKS = ("delta", "gamma", "vega", "theta", "rho")
_WHOLE_NUMBERS = ("volume", "bidsize", "asksize")


def tells_something(values: Iterable[Any]) -> bool:
    """Whether a column of a frame stays: LEAN leaves out decimals that are all zero or missing (PandasData.cs:670)."""
    return any(not isinstance(value, float) or (value != 0.0 and value == value) for value in values)


def chain_frame(canonical: Any, contracts: list[Any]) -> Any:
    """A chain as a pandas frame, indexed by symbol; columns as LEAN's converter names them."""
    import pandas as pd

    is_option = canonical.has_underlying
    members = (*_CONTRACT_COLUMNS, *(_OPTION_COLUMNS if is_option else ()))
    rows: dict[str, list[Any]] = {
        name.replace("_", ""): [getattr(contract, name) for contract in contracts] for name in members
    }
    if is_option:
        for name in _GREEKS:
            rows[name] = [getattr(contract.greeks, name) for contract in contracts]
    rows = {name: values for name, values in rows.items() if name in _WHOLE_NUMBERS or tells_something(values)}
    return pd.DataFrame(rows, index=pd.Index([contract.symbol for contract in contracts], name="symbol"))


# -- histories -------------------------------------------------------------------------------------------------------


def universe_files(engine: Any, canonical: Any, spans: list[Any]) -> list[UniverseBlock]:
    """The chain files of so many trading days back, of a timedelta, or from a date (to another), oldest first."""
    hours = engine.hours_of(canonical)
    day = engine.zone.date_of(engine.utc_ms) - ONE_DAY
    count, first, span = 0, date.min, spans[0] if spans else 1
    if isinstance(span, timedelta):
        first = (engine.zone.local(engine.utc_ms) - span).date()
    elif isinstance(span, date):
        first = date(span.year, span.month, span.day)
        # A file is known at the midnight after its day: one of the end's own day is still to come.
        day = min([day, *(date(end.year, end.month, end.day) - ONE_DAY for end in spans[1:2])])
    else:
        count = int(span)
    found: list[UniverseBlock] = []
    missing, patience = 0, MISSING_FILES if count else (day - first).days + 1
    while day >= first and missing < patience and (not count or len(found) < count):
        if hours.is_date_open(datetime(day.year, day.month, day.day)):
            block = engine.source.universe(canonical, day)
            missing += 1
            if block is not None:
                found.append(block)
                missing = 0
        day -= ONE_DAY
    return found[::-1]


def contracts_known_at(engine: Any, canonical: Any, moment: Any = None) -> list[Any]:
    """Contracts of the last chain file before a date that have not expired by then, in the file's order."""
    today = engine.zone.date_of(engine.utc_ms) if moment is None else date(moment.year, moment.month, moment.day)
    known = min(today, engine.zone.date_of(engine.utc_ms))
    for block in reversed(universe_files(engine, canonical, [known - timedelta(days=MISSING_FILES), known])):
        alive = np.nonzero(block.expiry >= today.toordinal())[0]
        return block.symbols(alive)
    return list(())


_UNIVERSE_COLUMNS = ("close", "high", "low", "open", "openinterest", "volume")
_FIELDS = {"openinterest": "open_interest", "impliedvolatility": "implied_volatility"}
_OPTION_UNIVERSE_COLUMNS = ("delta", "gamma", "impliedvolatility", "rho", "theta", "vega")


def _known_from(block: UniverseBlock) -> datetime:
    return datetime(block.day.year, block.day.month, block.day.day) + ONE_DAY


def universe_frame(blocks: list[tuple[Any, UniverseBlock]], flatten: bool) -> Any:
    """Chain files as a pandas frame: flat by (canonical, if several,) time and contract, else a row of lists by
    canonical and time."""
    import pandas as pd

    if not blocks:
        return pd.DataFrame()
    if not flatten:
        index = pd.MultiIndex.from_tuples([(c, _known_from(block)) for c, block in blocks], names=["symbol", "time"])
        rows = [[UniverseRow(block, row) for row in range(len(block))] for _, block in blocks]
        return pd.DataFrame({"data": rows}, index=index)
    several = len({canonical for canonical, _ in blocks}) > 1
    frames, keys = [], []
    for canonical, block in blocks:
        columns = {name: getattr(block, _FIELDS.get(name, name)) for name in _UNIVERSE_COLUMNS}
        if canonical.has_underlying:
            columns |= {name: getattr(block, _FIELDS.get(name, name)) for name in _OPTION_UNIVERSE_COLUMNS}
            columns["theta"] = block.theta * 365
        columns = {name: values for name, values in columns.items() if np.any(np.nan_to_num(values))}
        symbols = pd.Index([block.symbol(row) for row in range(len(block))], name="symbol")
        frames.append(pd.DataFrame(columns, index=symbols)[sorted(columns)])
        keys.append((canonical, _known_from(block)) if several else _known_from(block))
    return pd.concat(frames, keys=keys, names=[*(["canonical"] if several else []), "time", "symbol"])

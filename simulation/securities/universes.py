"""Universes that an algorithm's own function selects: of tickers by the clock, or of the coarse fundamental file of
each day.

`add_universe(name, [resolution], selector)`: the function takes the time and gives tickers; it is asked at the start
and then once a
period on open days. `add_universe(selector[, fine])`: the function takes the rows of `equity/usa/fundamental/coarse`
and gives symbols.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from simulation.data.columns import UniverseBlock
from simulation.lean.clock import DAY_MS, FOREVER, NEW_YORK, utc_datetime
from simulation.lean.enums import Resolution, SecurityType
from simulation.lean.identifiers import SecurityIdentifier
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol, symbol_of
from simulation.securities.contract_filters import ContractFilterUniverse
from simulation.securities.securities import Security


class SecurityChanges(Named):
    """What a selection added and removed."""

    def __init__(self) -> None:
        self._added: dict[Any, Security] = {}
        self._removed: dict[Any, Security] = {}
        self._inside: dict[str, set[Any]] = {"added": set(), "removed": set()}

    def add(self, security: Security) -> None:
        """Notes an addition; the algorithm does not hear of one that is internal now."""
        self._note("added", self._added, security)

    def remove(self, security: Security) -> None:
        """Notes a removal; the algorithm does not hear of one that is internal now."""
        self._note("removed", self._removed, security)

    def _note(self, what: str, noted: dict[Any, Security], security: Security) -> None:
        symbol = security.symbol
        if security.is_internal and symbol not in noted:
            self._inside[what].add(symbol)
        elif not security.is_internal:
            self._inside[what].discard(symbol)
        noted[symbol] = security

    @property
    def added_securities(self) -> list[Security]:
        """Securities added, by ticker."""
        return [security for security in every_added(self) if security.symbol not in self._inside["added"]]

    @property
    def removed_securities(self) -> list[Security]:
        """Securities removed, by ticker."""
        shown = (s for s in self._removed.values() if s.symbol not in self._inside["removed"])
        return sorted(shown, key=lambda s: str(s.symbol.value))

    @property
    def count(self) -> int:
        """Number of changes."""
        return len(self._added) + len(self._removed)

    def __bool__(self) -> bool:
        return bool(self._added or self._removed)

    def __add__(self, other: SecurityChanges) -> SecurityChanges:
        total = SecurityChanges()
        for changes in (self, other):
            total._added.update(changes._added)
            total._removed.update(changes._removed)
            for what, symbols in changes._inside.items():
                total._inside[what] |= symbols
        return total

    def __str__(self) -> str:
        added = ",".join(str(s.symbol.value) for s in self.added_securities)
        removed = ",".join(str(s.symbol.value) for s in self.removed_securities)
        return f"SecurityChanges: Added: {added} Removed: {removed}"


def every_added(changes: SecurityChanges) -> list[Security]:
    """Securities added, internal ones included, by ticker."""
    return sorted(changes._added.values(), key=lambda security: str(security.symbol.value))


@dataclass(slots=True)
class Member:
    """A security in a universe, since an instant."""

    security: Security
    added_ms: int


@dataclass(slots=True)
class Universe:
    """A set of securities chosen together."""

    key: str
    resolution: Resolution
    minimum_ms: int
    specification: dict[str, Any] = field(default_factory=dict)
    members: dict[Any, Member] = field(default_factory=dict)
    selected: dict[Any, None] = field(default_factory=dict)
    previous: set[Any] | None = None
    disposed: bool = False

    def may_leave(self, security: Security, utc_ms: int) -> bool:
        """Whether a deselected member has been in for the minimum time, rounded to days (Universe.cs
        CanRemoveMember)."""
        if security.is_delisted or self.disposed or self.minimum_ms == 0:
            return True
        stay = utc_ms - self.members[security.symbol].added_ms
        step = DAY_MS if self.minimum_ms >= DAY_MS else 3_600_000
        return (stay + step // 2) // step * step >= self.minimum_ms


@dataclass(slots=True)
class ListUniverse(Universe):
    """Securities or contracts added by hand."""

    symbols: dict[Any, None] = field(default_factory=dict)

    def select(self) -> list[Any]:
        """The listed symbols."""
        return list(self.symbols)


@dataclass(slots=True)
class ChainUniverse(Universe):
    """The contracts that a filter chooses from each day's file."""

    security: Any = None
    filter_universe: ContractFilterUniverse | None = None
    block: UniverseBlock | None = None
    next_day: date = date.min
    next_ms: int = FOREVER


def owner_of(universe: Universe) -> Any:
    """What the option chains of a universe's members are asked for by: the canonical whose contracts it selects, or
    the key of one that a function selects; None for lists."""
    if isinstance(universe, ChainUniverse):
        return universe.security.symbol
    if isinstance(universe, SelectorUniverse):
        return universe.canonical or universe.key
    return None


class CoarseFundamental(Named):
    """One share of a day's coarse file. Prices in dollars, volumes in shares and dollars."""

    def __init__(self, symbol: Any, row: list[str], day: datetime) -> None:
        self.symbol, self.time, self.end_time = symbol, day, day + timedelta(days=1)
        self.price = self.value = float(row[2])
        self.volume, self.dollar_volume = int(float(row[3])), float(row[4])
        self.has_fundamental_data = len(row) > 5 and row[5].strip().lower() == "true"
        self.price_factor = float(row[6]) if len(row) > 6 else 1.0
        self.split_factor = float(row[7]) if len(row) > 7 else 1.0
        self.adjusted_price = self.price * self.price_factor * self.split_factor


@dataclass(slots=True)
class SelectorUniverse(Universe):
    """A universe with a function and the instants at which it is asked."""

    times: Iterator[int] | None = None
    choose: Callable[[int], list[Any]] | None = None
    next_ms: int = FOREVER
    canonical: Any = None

    def advance(self) -> None:
        """Moves to the next instant."""
        self.next_ms = next(self.times, FOREVER) if self.times is not None else FOREVER


def ticker_universe(
    engine: Any, name: str, resolution: Resolution, selector: Callable[[datetime], Any]
) -> SelectorUniverse:
    """A universe of US equities whose tickers a function of the time gives."""
    hours = engine.hours_of(Symbol.create("SPY", SecurityType.EQUITY, "usa"))
    period = (
        timedelta(days=1)
        if resolution == Resolution.DAILY
        else timedelta(hours=1 if resolution == Resolution.HOUR else 0, minutes=1)
    )
    period = timedelta(hours=1) if resolution == Resolution.HOUR else period

    def times() -> Iterator[int]:
        moment = NEW_YORK.local(engine.start_ms)
        yield engine.start_ms
        while True:
            moment += period
            if hours.is_open(moment, moment + period, False):
                yield NEW_YORK.utc_ms(moment)

    def choose(ms: int) -> list[Any]:
        chosen = selector(NEW_YORK.local(ms))
        return [
            Symbol.create(item, SecurityType.EQUITY, "usa") if isinstance(item, str) else symbol_of(item)
            for item in chosen
        ]

    return _made(engine, f"tickers-{name}", resolution, times(), choose)


def coarse_universe(engine: Any, selectors: list[Callable[[Any], Any]]) -> SelectorUniverse:
    """A universe of US equities chosen from each day's coarse file; a second function chooses among the first one's
    symbols."""
    root = getattr(engine.source, "root", None)
    if root is None:
        raise engine.refused("add_universe with fundamental data: this market has no fundamental files")
    folder = Path(root) / "equity" / "usa" / "fundamental" / "coarse"

    hours = engine.hours_of(Symbol.create("SPY", SecurityType.EQUITY, "usa"))

    def times() -> Iterator[int]:
        yield engine.start_ms
        day = NEW_YORK.local(engine.start_ms)
        while True:
            if hours.is_date_open(day):
                yield NEW_YORK.midnight_ms(day.date() + timedelta(days=1))
            day += timedelta(days=1)

    def choose(ms: int) -> list[Any]:
        rows = _coarse_rows(folder, NEW_YORK.local(ms))
        chosen = list(selectors[0](rows))
        if len(selectors) > 1:
            wanted = {symbol_of(item) for item in chosen}
            chosen = list(selectors[1]([row for row in rows if row.symbol in wanted] or chosen))
        return [symbol_of(item) for item in chosen]

    return _made(engine, "coarse-usa", Resolution.DAILY, times(), choose)


def _coarse_rows(folder: Path, now: datetime) -> list[CoarseFundamental]:
    """Rows of the last file before now; none when there is no such file."""
    names = sorted(path.stem for path in folder.glob("*.csv") if path.stem < f"{now:%Y%m%d}") if folder.is_dir() else []
    if not names:
        return list(())
    day = datetime.strptime(names[-1], "%Y%m%d")
    with (folder / f"{names[-1]}.csv").open(newline="", encoding="utf-8") as lines:
        return [
            CoarseFundamental(Symbol(SecurityIdentifier.parse(row[0]), row[1]), row, day)
            for row in csv.reader(lines)
            if row
        ]


def _made(
    engine: Any, key: str, resolution: Resolution, times: Iterator[int], choose: Callable[[int], list[Any]]
) -> SelectorUniverse:
    settings = engine.algorithm.universe_settings
    specification = {
        "resolution": settings.resolution,
        "fill_forward": settings.fill_forward,
        "extended": settings.extended_market_hours,
    }
    minimum = int(settings.minimum_time_in_universe.total_seconds() * 1000)
    return SelectorUniverse(key, resolution, minimum, specification, times=times, choose=choose)


class ScheduledUniverse(Named):
    """A universe whose function is asked on the dates and times of rules: `add_universe(ScheduledUniverse(...))`."""

    @signed("date_rule, time_rule, selector, settings=None", "time_zone, date_rule, time_rule, selector, settings=None")
    def __init__(self, *terms: Any) -> None:
        """([zone,] dates, times, function of the UTC time that gives symbols)."""
        values = [value for value in terms if value is not None]
        self._rules = values if hasattr(values[0], "get_dates") else values[1:]

    def _joined(self, engine: Any) -> SelectorUniverse:
        """The universe in a run; it selects nothing before its first time."""
        date_rule, time_rule, selector = self._rules[:3]
        started: list[int] = []

        def times() -> Iterator[int]:
            yield engine.start_ms
            for moment in time_rule.create_utc_event_times(engine.algorithm.schedule.deferred(date_rule)):
                if moment > engine.start_ms:
                    started.append(moment)
                    yield moment

        def choose(ms: int) -> list[Any]:
            return [symbol_of(item) for item in selector(utc_datetime(ms))] if ms in started else list(())

        return _made(engine, f"scheduled-{len(engine.subscriptions.universes):04d}", Resolution.DAILY, times(), choose)


class OptionChainedUniverseSelectionModel(Named):
    """Gives every member of a universe an option chain."""

    def __init__(
        self, universe: Any, option_filter: Callable[[Any], Any] | None = None, universe_settings: Any = None
    ) -> None:
        del universe_settings  # the algorithm's own
        self._parts = universe, option_filter


class ChainedApi(Named):
    """The part of QCAlgorithm that adds the options of whatever a universe selects."""

    _engine: Any
    add_future_option: Any

    @signed("underlying_symbol, option_filter", "universe, option_filter")
    def add_universe_options(self, underlying: Any, option_filter: Callable[[Any], Any] | None) -> None:
        """Adds the option chain of every contract of a future's universe, or of every member of a universe."""
        if isinstance(underlying, Universe):
            self._engine.subscriptions.chain_options(owner_of(underlying), option_filter or _everything)
            return
        self.add_future_option(underlying, option_filter)

    def add_universe_selection(self, universe_selection: Any) -> None:
        """Adds a selection model: OptionChainedUniverseSelectionModel. Raises NotInEngineError for another one."""
        if not isinstance(universe_selection, OptionChainedUniverseSelectionModel):
            raise self._engine.refused(f"add_universe_selection of {type(universe_selection).__name__}")
        self.add_universe_options(*universe_selection._parts)


def _everything(universe: Any) -> Any:
    return universe

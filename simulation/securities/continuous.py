"""The continuous future: which contract it is on, its prices as one series, its changes of contract.

A map file names the contract up to and including a date for each DataMappingMode; a factor file what joins the prices
of neighbouring contracts. Without a map file the continuous future has no contract and no data; without a factor file
its prices are those of the contracts. Sources: ContinuousContractUniverse.cs, MapFile.cs, MappingEventProvider.cs,
MappingContractFactorProvider.cs, SubscriptionDataReader.cs:315-381.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulation.data.columns import ContractFactorRow
from simulation.data.feeds import PRICE_FIELDS, Feed, FeedSpec
from simulation.lean.bars import SymbolChangedEvent
from simulation.lean.clock import FOREVER, Zone
from simulation.lean.contract_months import expiry_of_contract_month, moment_of_expiry
from simulation.lean.enums import DataMappingMode, DataNormalizationMode, Resolution, SecurityType
from simulation.lean.identifiers import SecurityIdentifier
from simulation.lean.symbols import Symbol
from simulation.securities.universes import SelectorUniverse

MAXIMUM_DEPTH = 2
"""Back months that can be asked for (Futures.cs MaximumContractDepthOffset)."""

_DAY = timedelta(days=1)
JOINED_MODES = frozenset(
    {
        DataNormalizationMode.RAW,
        DataNormalizationMode.BACKWARDS_RATIO,
        DataNormalizationMode.BACKWARDS_PANAMA_CANAL,
        DataNormalizationMode.FORWARD_PANAMA_CANAL,
    }
)
_WITHOUT_INTEREST = frozenset({"hkfe", "eurex", "ice"})


def is_continuous(symbol: Any) -> bool:
    """Whether a symbol is a canonical future."""
    return symbol is not None and symbol.security_type == SecurityType.FUTURE and bool(symbol.is_canonical())


def default_mapping(mode: DataMappingMode, market: str) -> DataMappingMode:
    """The mapping of a market when the algorithm names none: some have no open interest (Extensions.cs:3945)."""
    by_interest = mode in (DataMappingMode.OPEN_INTEREST, DataMappingMode.OPEN_INTEREST_ANNUAL)
    return DataMappingMode.LAST_TRADING_DAY if by_interest and market in _WITHOUT_INTEREST else mode


def default_normalization(mode: DataNormalizationMode) -> DataNormalizationMode:
    """The joining of prices when the algorithm names none: by ratio (Extensions.cs:3967)."""
    return mode if mode in JOINED_MODES else DataNormalizationMode.BACKWARDS_RATIO


@dataclass(frozen=True, slots=True)
class ContractMap:
    """Contracts of a continuous future in one mapping mode. Days are ordinals in the exchange's zone.

    last_days[i] is the last day of contracts[i]; the file speaks of the days from first_day to end_day.
    """

    last_days: tuple[int, ...]
    contracts: tuple[Symbol, ...]
    first_day: int
    end_day: int

    @staticmethod
    def read(source: Any, canonical: Symbol, mode: DataMappingMode, depth: int) -> ContractMap:
        """From the map file of a future; empty without one."""
        rows = source.map_file(canonical) or ()
        own = [row for row in rows if row.mode == int(mode)]
        if not own:
            return ContractMap((), (), 0, -1)
        contracts = tuple(_back_month(source, _contract(row.ticker), depth) for row in own)
        days = [row.day.toordinal() for row in rows]
        return ContractMap(tuple(row.day.toordinal() for row in own), contracts, min(days), max(days))

    def contract(self, day: date) -> Symbol | None:
        """The contract of a date, None outside the file. After the last row of the mode its contract stays."""
        ordinal = day.toordinal()
        if not self.contracts or not self.first_day <= ordinal <= self.end_day:
            return None
        return self.contracts[min(bisect_left(self.last_days, ordinal), len(self.contracts) - 1)]

    def spans(self, low: int, high: int) -> Iterator[tuple[int, int, Symbol]]:
        """(first day, last day, contract) of each contract within a span of days."""
        begin = max(low, self.first_day)
        high = min(high, self.end_day)
        for index, contract in enumerate(self.contracts):
            end = high if index == len(self.contracts) - 1 else min(self.last_days[index], high)
            if begin <= end:
                yield begin, end, contract
                begin = end + 1


def _contract(identifier: str) -> Symbol:
    return Symbol(SecurityIdentifier.parse(identifier.upper()), identifier.upper())


def _back_month(source: Any, contract: Symbol, depth: int) -> Symbol:
    """The contract so many expiries later (Extensions.cs AdjustSymbolByOffset)."""
    ticker, market = contract.id.symbol, contract.id.market
    for _ in range(depth):
        expiry = contract.id.date.date()
        hours = source.hours.get_exchange_hours(market, ticker, SecurityType.FUTURE)
        holidays = frozenset(moment.date() for moment in hours.holidays | hours.bank_holidays)
        later, months = expiry, expiry.year * 12 + expiry.month - 1
        while later <= expiry:
            months += 1
            later = expiry_of_contract_month(ticker, date(months // 12, months % 12 + 1, 1), holidays)
        contract = Symbol.create_future(ticker, market, moment_of_expiry(ticker, later))
    return contract


@dataclass(frozen=True, slots=True)
class ContractFactors:
    """What a date's prices are multiplied by (ratio) or raised by (the two others), until which day."""

    last_days: tuple[int, ...]
    values: tuple[float, ...]
    mode: DataNormalizationMode

    @staticmethod
    def read(source: Any, spec: FeedSpec) -> ContractFactors:
        """From the factor file; of rows for one day and mode the first counts."""
        read = getattr(source, "contract_factors", None)
        rows: tuple[ContractFactorRow, ...] = () if read is None else tuple(read(spec.symbol))
        found: dict[int, float] = {}
        for row in rows:
            scales = {
                DataNormalizationMode.BACKWARDS_RATIO: row.backwards_ratio,
                DataNormalizationMode.BACKWARDS_PANAMA_CANAL: row.backwards_panama,
                DataNormalizationMode.FORWARD_PANAMA_CANAL: row.forward_panama,
            }[spec.mode]
            if row.mode == int(spec.data_mapping_mode) and len(scales) > spec.contract_depth_offset:
                found.setdefault(row.day.toordinal(), scales[spec.contract_depth_offset])
        return ContractFactors(tuple(found), tuple(found.values()), spec.mode)

    def apply(self, block: Any, zone: Zone) -> Any:
        """A block with its prices joined; volumes stay."""
        ratio = self.mode == DataNormalizationMode.BACKWARDS_RATIO
        ends = np.array([_midnight(zone, day + 1) for day in self.last_days], dtype=np.int64)
        factor = np.array([*self.values, 1.0 if ratio else 0.0])[np.searchsorted(ends, block.start, "right")]
        changed = {}
        for name in PRICE_FIELDS:
            values = getattr(block, name, None)
            if values is not None:
                changed[name] = np.round(values * factor if ratio else values + factor, 10)
        return replace(block, **changed)


def _midnight(zone: Zone, ordinal: int) -> int:
    return zone.midnight_ms(date.fromordinal(ordinal))


class ContinuousFeed(Feed):
    """A subscription of a continuous future: the rows of each contract on its days, joined."""

    __slots__ = ("_contracts", "_factors")

    def __init__(self, source: Any, spec: FeedSpec, start: int) -> None:
        super().__init__(source, spec, start)
        self._contracts = ContractMap.read(source, spec.symbol, spec.data_mapping_mode, spec.contract_depth_offset)
        raw = spec.mode == DataNormalizationMode.RAW
        self._factors = None if raw else ContractFactors.read(source, spec)

    def _rows(self, day: date) -> Any:
        spec = self.spec
        # A daily file is named by the date in the data's zone; finer bars belong to the exchange's date of their start.
        zone = spec.data_zone if spec.resolution == Resolution.DAILY else spec.zone
        if spec.resolution < Resolution.HOUR:
            low, high, _ = self._file_of(spec.data_zone.midnight_ms(day) + 1)
            first, last = zone.date_of(low).toordinal(), zone.date_of(high - 1).toordinal()
        else:
            first, last = self._contracts.first_day, self._contracts.end_day
        parts = []
        for begin, end, contract in self._contracts.spans(first, last):
            block = self._read(contract, day)
            if block is not None and len(block.end):
                inside = _between(block, _midnight(zone, begin), _midnight(zone, end + 1))
                parts += [inside] if len(inside.end) else []
        if not parts:
            return None
        joined = parts[0] if len(parts) == 1 else _joined(parts)
        return joined if self._factors is None or not hasattr(joined, "start") else self._factors.apply(joined, zone)


def _between(block: Any, low: int, high: int) -> Any:
    starts: NDArray[np.int64] = getattr(block, "start", block.end)
    first, last = np.searchsorted(starts, (low, high), "left").tolist()
    if first == 0 and last == len(starts):
        return block
    return replace(block, **{item.name: getattr(block, item.name)[first:last] for item in fields(block)})


def _joined(parts: list[Any]) -> Any:
    names = [item.name for item in fields(parts[0])]
    return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def feed_of(source: Any, spec: FeedSpec, start: int) -> Feed:
    """The feed of a specification."""
    return ContinuousFeed(source, spec, start) if is_continuous(spec.symbol) else Feed(source, spec, start)


class MappingCalendar:
    """Changes of contract of the subscribed continuous futures, each at midnight of the first trading day after."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._due: list[tuple[int, str, Any]] = []
        self._known: set[Any] = set()
        self.next_ms = FOREVER

    def watch(self, security: Any, spec: FeedSpec, now: int, end: int) -> None:
        """Notes the changes of a continuous future from now to the end of the run."""
        if spec.symbol in self._known:
            return
        self._known.add(spec.symbol)
        zone, hours = spec.zone, spec.hours
        contracts = ContractMap.read(self._source, spec.symbol, spec.data_mapping_mode, spec.contract_depth_offset)
        today = zone.date_of(now)
        current = contracts.contract(today)
        for ordinal in contracts.last_days:
            day = date.fromordinal(ordinal) + _DAY
            if day <= today or zone.midnight_ms(day) > end:
                continue
            while not hours.is_date_open(datetime(day.year, day.month, day.day), spec.extended):
                day += _DAY
            following, moment = contracts.contract(day), zone.midnight_ms(day)
            if following is not None and current is not None and following != current and moment <= end:
                event = SymbolChangedEvent(spec.symbol, zone.local(moment), str(current.id), str(following.id), zone)
                self._due.append((moment, str(security.symbol.value), event))
            current = following or current
        self._due.sort(key=lambda item: item[:2])
        self.next_ms = self._due[0][0] if self._due else FOREVER

    def tell(self, engine: Any, ms: int) -> None:
        """Puts what has come into the current slice and tells the algorithm (AlgorithmManager.cs:318)."""
        moment = engine.current_slice
        while self._due and self._due[0][0] <= ms:
            event = self._due.pop(0)[2]
            if event.symbol in engine.subscriptions.feeds:
                moment.symbol_changed_events[event.symbol] = event
                moment.has_data = True
        self.next_ms = self._due[0][0] if self._due else FOREVER
        if len(moment.symbol_changed_events):
            engine.algorithm.on_symbol_changed_events(moment.symbol_changed_events)


def add_continuous(engine: Any, future: Any, specification: dict[str, Any], terms: tuple[Any, Any, int]) -> None:
    """Subscribes the continuous future of a chain, and the contract it is on.

    specification: resolution, fill_forward, extended. terms: DataMappingMode and DataNormalizationMode (None for the
    universe settings' own), months behind the front month. Raises ValueError for more than two.
    """
    mapping, normalization, depth = terms
    symbol, settings = future.symbol, engine.algorithm.universe_settings
    if abs(depth) > MAXIMUM_DEPTH:
        raise ValueError(f"'contract_depth_offset' current maximum value is {MAXIMUM_DEPTH}, not {depth}")
    if symbol in engine.configs:
        return
    if mapping is None:
        mapping = default_mapping(settings.data_mapping_mode, symbol.id.market)
    if normalization is None:
        normalization = default_normalization(settings.data_normalization_mode)
    future.data_normalization_mode = DataNormalizationMode(normalization)
    specification |= {"data_mapping_mode": DataMappingMode(mapping), "contract_depth_offset": abs(depth)}
    hours = (specification["resolution"], specification["fill_forward"], specification["extended"])
    for spec in engine.subscriptions.configure(symbol, *hours):
        spec.data_mapping_mode = specification["data_mapping_mode"]
        spec.contract_depth_offset = specification["contract_depth_offset"]
    _add_universe(engine, future, specification)


def _add_universe(engine: Any, security: Any, specification: dict[str, Any]) -> None:
    """The universe of a continuous future: itself and the contract it is on, on a day of change the old one as well.

    Its contracts are subscribed inside: they have prices and take orders, and no slice or chain shows them.
    """
    canonical, zone, hours = security.symbol, security.zone, security.exchange.hours
    extended = specification["extended"]
    contracts = ContractMap.read(
        engine.source, canonical, specification["data_mapping_mode"], specification["contract_depth_offset"]
    )

    def times() -> Iterator[int]:
        now = engine.utc_ms
        yield now
        day, last = zone.date_of(now), zone.date_of(engine.end_ms)
        while day < last:
            day += _DAY
            if hours.is_date_open(datetime(day.year, day.month, day.day), extended):
                yield zone.midnight_ms(day)

    def choose(ms: int) -> list[Any]:
        before, contract = security.mapped, contracts.contract(zone.date_of(ms))
        if contract is None:
            contract = before
        security.mapped = contract
        chosen = [canonical, before if before != contract else None, contract]
        return [symbol for symbol in chosen if symbol is not None]

    settings = engine.algorithm.universe_settings
    minimum = int(settings.minimum_time_in_universe.total_seconds() * 1000)
    key = f"qc-universe-continuous-{canonical.id.market}-{canonical.id.symbol}"
    universe = SelectorUniverse(
        key, Resolution.DAILY, minimum, {**specification, "internal": True}, times=times(), choose=choose
    )
    universe.canonical = canonical
    engine.subscriptions.add_selector(universe)

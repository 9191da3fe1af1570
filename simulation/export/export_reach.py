"""Which option contracts strategies can see and hold, by what they declare (`core.contracts`): `--symbols methodology`.

A contract is written from the trading day before a strategy may choose it until the last day on which that strategy
may hold it. What may be chosen on a day is read from the chain that is seen on it (the day before's), and follows the
underlying over the day: the band of strikes that the deltas name is moved to the lowest and to the highest price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

import numpy as np

from core.contracts import Around, Deltas, MarketNeeds, Reach, Right, Term
from core.gateway import AROUND_A_MONTH, AT_THE_MONEY, MONTH_DAYS
from simulation.data.columns import Floats, Integers, TradeBlock, UniverseBlock
from simulation.data.source import DataSource
from simulation.lean.clock import DAY_MS
from simulation.lean.enums import Resolution, SecurityType
from simulation.lean.identifiers import future_of_option_root, index_of_option_root
from simulation.lean.symbols import Symbol

_SIDES = {Right.CALL: 0, Right.PUT: 1}
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_SLACK = 3
"""Calendar days for which a contract is written beyond the exit: holidays, and orders that do not fill at once."""
_FARTHEST_SEARCH = 10
_RANGE_DAYS = 14


def root_symbol(source: DataSource, root: str) -> Symbol:
    """The index, share or future (its chain's symbol) that options of a root are on."""
    future = future_of_option_root(root)
    known, market = source.properties.try_get_market(future, SecurityType.FUTURE, None)
    if known:
        return Symbol.create(future, SecurityType.FUTURE, market)
    ticker = index_of_option_root(root)
    if f"Index-usa-{ticker}" in source.hours.raw():
        return Symbol.create(ticker, SecurityType.INDEX, "usa")
    return Symbol.create(ticker, SecurityType.EQUITY, "usa")


_Key = tuple[int, float, int]
"""A contract in its chain: expiry (ordinal day), strike, right."""


@dataclass(slots=True)
class _Held:
    """A contract's minutes to write: first and last day."""

    first: date
    last: date


@dataclass(slots=True)
class _Rolling:
    """An expiration in which a strategy may roll: its last day, and the contracts chosen there."""

    last: date
    chosen: set[_Key] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ChainReach:
    """A chain of a day: the rows to write, and the contracts among them whose minutes of that day are written."""

    block: UniverseBlock
    rows: list[int]
    contracts: list[Symbol]


@dataclass(slots=True)
class Plan:
    """Contracts in reach of entries from `first` to `end`, worked out day by day and one trading day ahead.

    So memory holds what is alive. Days are asked for in ascending order.
    """

    source: DataSource
    first: date
    end: date
    needs: MarketNeeds
    _held: dict[Symbol, dict[_Key, _Held]] = field(default_factory=dict)
    _rolling: dict[tuple[int, Symbol], dict[int, _Rolling]] = field(default_factory=dict)
    _done: date | None = None
    _blocks: dict[tuple[Symbol, date], UniverseBlock | None] = field(default_factory=dict)
    _underlyings: dict[str, Symbol] = field(default_factory=dict)

    def underlyings(self) -> list[Symbol]:
        """Indices, shares and futures (their chains' symbols), each once."""
        roots = (*self.needs.hourly, *(root for reach in self.needs.reaches for root in reach.roots))
        return list(dict.fromkeys(self.underlying(root) for root in roots))

    def underlying(self, root: str) -> Symbol:
        """The index, share or future (its chain's symbol) of an option root or of itself."""
        if root not in self._underlyings:
            self._underlyings[root] = root_symbol(self.source, root)
        return self._underlyings[root]

    def chain_of(self, root: str) -> Symbol:
        """The chain of an index's or share's option root; of a future its contracts'."""
        underlying = self.underlying(root)
        if underlying.security_type is SecurityType.FUTURE:
            return underlying
        return Symbol.create_canonical_option(underlying, root, underlying.id.market, None)

    def chains(self, day: date) -> Iterator[ChainReach]:
        """Chains of a day: a row for each contract whose minutes are written on that day or on the next."""
        self._advance(day)
        following = self._next_day(day)
        for canonical, held in list(self._held.items()):
            block = self._block(canonical, day)
            if block is None:
                continue
            rows, contracts = [], []
            found = zip(block.expiry.tolist(), block.strike.tolist(), block.right.tolist(), strict=True)
            for number, key in enumerate(found):
                span = held.get(key)
                if span is not None and span.first <= following and day <= span.last:
                    rows.append(number)
                    if span.first <= day:
                        contracts.append(block.symbol(number))
            if rows:
                yield ChainReach(block, rows, contracts)

    # ------------------------------------------------------------------ planning

    def _advance(self, day: date) -> None:
        """Works out every entry up to the trading day after `day`."""
        self._forget(day)
        before = self._step(self.first, -1) if self._done is None else self._done
        following = min(self._next_day(day), self.end)
        while before < following:
            entry = self._next_day(before)
            for number, reach in enumerate(self.needs.reaches):
                self._enter(number, reach, before, entry)
            before = entry
        self._done = before

    def _enter(self, number: int, reach: Reach, before: date, day: date) -> None:
        """What one strategy may choose on a day."""
        if reach.opens(day) and (reach.vix_over is None or (self._vix_high(day) or 0.0) > reach.vix_over):
            for root in reach.roots:
                blocks = [block for block in self._seen(root, before) if block is not None]
                for expiry in _nearest(reach.term, blocks, day):
                    for block in blocks:
                        if bool((block.expiry == expiry).any()):
                            self._choose((number, reach), block, expiry, reach.bands, day)
        for (owner, canonical), rolling in self._rolling.items():
            rolled = self._block(canonical, before) if owner == number else None
            if rolled is not None:
                self._roll((number, reach), rolled, rolling, day)

    def _choose(
        self, which: tuple[int, Reach], block: UniverseBlock, expiry: int, bands: Iterable[Deltas | Around], day: date
    ) -> None:
        """Notes the contracts of one expiration that lie in the bands."""
        number, reach = which
        held = self._held.setdefault(block.canonical, {})
        last = date.fromordinal(expiry - max(0, reach.leave - _SLACK))
        chosen: set[_Key] = set()
        for row in self._rows(bands, block, expiry, day):
            key = (expiry, float(block.strike[row]), int(block.right[row]))
            chosen.add(key)
            known = held.setdefault(key, _Held(block.day, last))
            known.last = max(known.last, last)
        if reach.rolls is not None:
            exit_day = date.fromordinal(expiry - reach.leave)
            here = self._rolling.setdefault((number, block.canonical), {})
            here.setdefault(expiry, _Rolling(exit_day)).chosen.update(chosen)

    def _roll(self, which: tuple[int, Reach], block: UniverseBlock, rolling: dict[int, _Rolling], day: date) -> None:
        """Chooses anew opposite a side that is tested."""
        reach = which[1]
        limit = (reach.rolls or 0.0) / 100
        for expiry, open_there in list(rolling.items()):
            if day >= open_there.last:
                continue
            here = np.flatnonzero((block.expiry == expiry) & (np.abs(block.delta) >= limit))
            tested = {
                int(block.right[row])
                for row in here
                if (expiry, float(block.strike[row]), int(block.right[row])) in open_there.chosen
            }
            bands = [band for band in reach.bands if isinstance(band, Deltas) and 1 - _SIDES[band.right] in tested]
            self._choose(which, block, expiry, bands, day)

    def _rows(self, bands: Iterable[Deltas | Around], block: UniverseBlock, expiry: int, day: date) -> Integers:
        here = block.expiry == expiry
        keep = np.zeros(len(block.expiry), dtype=bool)
        low, high, close = self._moved(block, day)
        for band in bands:
            if isinstance(band, Deltas):
                side = here & (block.right == _SIDES[band.right])
                hull = self._hull(band, block, expiry, day, (low, high, close))
            else:
                side = here if band.grid is None else here & (np.abs(block.strike % band.grid) < 1e-6)
                daily = self._average_range(block.canonical.underlying, day) or 0.0
                reached = band.ranges * daily + band.share * close
                hull = (low - reached, high + reached)
            if hull is not None:
                keep |= side & (block.strike >= hull[0] - 1e-6) & (block.strike <= hull[1] + 1e-6)
        return np.flatnonzero(keep)

    def _moved(self, block: UniverseBlock, day: date) -> tuple[float, float, float]:
        """Lowest and highest price of the underlying from the chain's close to the end of a day, and that close."""
        row, now = block.underlying, self._block(block.canonical, day)
        if row is None:
            return 0.0, 0.0, 0.0
        after = None if now is None else now.underlying
        if after is None:
            return row.close, row.close, row.close
        return min(row.close, after.low), max(row.close, after.high), row.close

    def _hull(
        self, band: Deltas, block: UniverseBlock, expiry: int, day: date, moved: tuple[float, float, float]
    ) -> tuple[float, float] | None:
        """Strikes of a band of deltas, by the chain before and by the day's own, moved with the underlying."""
        low, high, _ = moved
        found: list[float] = []
        for chain in (block, self._block(block.canonical, day)):
            strikes = None if chain is None else _strikes(band, chain, expiry)
            if strikes is None or chain is None:
                continue
            close = 0.0 if chain.underlying is None else chain.underlying.close
            lowest, highest = (low / close, high / close) if close > 0 else (1.0, 1.0)
            found += [strikes[0] * min(lowest, 1.0), strikes[1] * max(highest, 1.0)]
        return (min(found), max(found)) if found else None

    # ------------------------------------------------------------------ what is read

    def _seen(self, root: str, day: date) -> Iterator[UniverseBlock | None]:
        underlying = self.underlying(root)
        if underlying.security_type is not SecurityType.FUTURE:
            yield self._block(Symbol.create_canonical_option(underlying, root, underlying.id.market, None), day)
            return
        futures = self._block(underlying, day)
        for future in () if futures is None else futures.symbols():
            yield self._block(Symbol.create_canonical_option(future), day)

    def _block(self, canonical: Symbol, day: date) -> UniverseBlock | None:
        key = (canonical, day)
        if key not in self._blocks:
            self._blocks[key] = self.source.universe(canonical, day)
        return self._blocks[key]

    def _forget(self, day: date) -> None:
        """Drops chains and contracts of days that are over."""
        self._blocks = {key: block for key, block in self._blocks.items() if key[1] >= day}
        for canonical, held in list(self._held.items()):
            self._held[canonical] = {key: row for key, row in held.items() if row.last >= day}
            if not self._held[canonical]:
                del self._held[canonical]
        for where, rolling in list(self._rolling.items()):
            self._rolling[where] = {expiry: row for expiry, row in rolling.items() if row.last > day}
            if not self._rolling[where]:
                del self._rolling[where]

    def _daily(self, underlying: Symbol, day: date) -> tuple[TradeBlock, int] | None:
        """Daily bars, and how many of them end by the end of a day."""
        bars = self.source.trades(underlying, Resolution.DAILY, day)
        if bars is None:
            return None
        limit = (day.toordinal() - _EPOCH_ORDINAL + 1) * DAY_MS
        return bars, int(np.searchsorted(bars.start, limit - DAY_MS // 2))

    def _average_range(self, underlying: Symbol, day: date) -> float | None:
        """Mean true range in points of the fourteen days up to a day; None for what has no daily bars."""
        found = self._daily(underlying, day)
        if found is None or found[1] < 2:
            return None
        bars, end = found
        rows = slice(max(1, end - _RANGE_DAYS), end)
        before = bars.close[max(1, end - _RANGE_DAYS) - 1 : end - 1]
        ranges: Floats = np.maximum(bars.high[rows], before) - np.minimum(bars.low[rows], before)
        return float(ranges.mean())

    def _vix_high(self, day: date) -> float | None:
        """The highest VIX of a day and of the close before; None where there is none."""
        found = self._daily(self.underlying("VIX"), day)
        if found is None or found[1] < 1:
            return None
        bars, end = found
        return max(float(bars.high.item(end - 1)), float(bars.close.item(max(end - 2, 0))))

    # ------------------------------------------------------------------ days

    def _is_open(self, day: date) -> bool:
        index = self.underlying("SPX")
        hours = self.source.hours.get_exchange_hours(index.id.market, index, index.security_type)
        return hours.is_date_open(datetime.combine(day, time()))

    def _next_day(self, day: date) -> date:
        return self._step(day, 1)

    def _step(self, day: date, direction: int) -> date:
        """The next or the last trading day. Raises ValueError when there is none within ten days."""
        for count in range(1, _FARTHEST_SEARCH + 1):
            found = day + timedelta(days=direction * count)
            if self._is_open(found):
                return found
        raise ValueError(f"market hours: no trading day within {_FARTHEST_SEARCH} days of {day}")


def _nearest(term: Term, blocks: Sequence[UniverseBlock], day: date) -> list[int]:
    """The expirations (ordinal days) nearest to a term, over all chains of a root."""
    wanted = day.toordinal() + term.days
    listed = {int(expiry) for block in blocks for expiry in np.unique(block.expiry)}
    near = [expiry for expiry in listed if abs(expiry - wanted) <= term.tolerance]
    return sorted(near, key=lambda expiry: (abs(expiry - wanted), expiry))[: term.nearest]


def _strikes(band: Deltas, chain: UniverseBlock, expiry: int) -> tuple[float, float] | None:
    """Lowest and highest strike of a band of deltas, the nearest to its middle included; None without such a side."""
    side = np.flatnonzero((chain.expiry == expiry) & (chain.right == _SIDES[band.right]))
    if not len(side):
        return None
    strikes, deltas = chain.strike[side], np.abs(chain.delta[side]) * 100
    inside = (deltas >= band.low) & (deltas <= band.high)
    inside[int(np.argmin(np.abs(deltas - (band.low + band.high) / 2)))] = True
    return float(strikes[inside].min()), float(strikes[inside].max())


def month_rows(block: UniverseBlock) -> Integers:
    """The rows of a chain that say what 30 days at the money imply: of the expiries before and after, near the close.

    What `Gateway.implied_closes` reads; none where the file has no underlying.
    """
    left = block.expiry - block.day.toordinal()
    if block.underlying is None or block.underlying.close <= 0:
        return np.zeros(0, dtype=np.int64)
    before, after = left[left < MONTH_DAYS], left[left >= MONTH_DAYS]
    around = [int(some) for some in (*before[-1:], *after[:1]) if AROUND_A_MONTH[0] <= some <= AROUND_A_MONTH[1]]
    near = np.abs(block.strike / block.underlying.close - 1) <= AT_THE_MONEY
    return np.flatnonzero(np.isin(left, around) & near)


_NEAR = timedelta(days=AROUND_A_MONTH[1] + 100)


def is_near(future: Symbol, day: date) -> bool:
    """Whether options on a contract of a future may be those around a month: serial ones end three months before it."""
    return bool(future.id.date.date() <= day + _NEAR)

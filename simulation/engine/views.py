"""What of a run can be looked at: the current slice, chains of slices and of files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

from simulation.data.chain_files import EmptyChain, FileChain
from simulation.data.columns import UniverseBlock
from simulation.data.feeds import Feed
from simulation.data.source import DataSource
from simulation.lean.clock import NEW_YORK, Zone, zone_of
from simulation.lean.enums import OPTION_TYPES, SecurityType
from simulation.lean.exchange_hours import SecurityExchangeHours
from simulation.lean.symbols import Symbol
from simulation.securities.chains import ChainIndex, FuturesChain, OptionChain
from simulation.securities.slices import Slice
from simulation.securities.subscriptions import Subscriptions

Snapshot = dict[Symbol, tuple[Feed, ...]]


class Views:
    """The part of the kernel that answers what an algorithm looks at; everything is made when it is asked for."""

    source: DataSource
    subscriptions: Subscriptions
    zone: Zone
    utc_ms: int
    hours_of: Callable[[Symbol], SecurityExchangeHours]
    live = False
    """Whether this is LEAN's live mode (`simulation.live_mode`)."""

    def __init__(self) -> None:
        self._seen_epoch = -1
        self._snapshot: Snapshot = {}
        self._slice: Slice | None = None
        self._slice_of: tuple[int, bool] | None = None
        self._chains: dict[Symbol, ChainIndex] = {}
        self._file_chains: dict[Symbol, FileChain] = {}
        self._file_chains_of = date.min
        self._canonicals_of: Snapshot | None = None
        self._canonicals: tuple[list[Symbol], list[Symbol]] = ([], [])

    # -- chains and slices -------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The open feeds by symbol, as they are now, in LEAN's order of subscriptions."""
        subscriptions = self.subscriptions
        if self._seen_epoch != subscriptions.epoch:
            self._seen_epoch = subscriptions.epoch
            ordered = sorted(
                subscriptions.feeds.items(), key=lambda pair: (int(pair[0].security_type), str(pair[0].value))
            )
            self._snapshot = {
                symbol: tuple(feeds) for symbol, feeds in ordered if any(not feed.spec.internal for feed in feeds)
            }
        return self._snapshot

    def canonicals(self, snapshot: Snapshot, options: bool) -> list[Symbol]:
        """Canonicals of the options (or futures) among some feeds."""
        if snapshot is not self._canonicals_of:
            found: tuple[dict[Symbol, None], dict[Symbol, None]] = ({}, {})
            for symbol in snapshot:
                if symbol.security_type in OPTION_TYPES:
                    found[0][symbol.canonical] = None
                elif symbol.security_type == SecurityType.FUTURE and not symbol.is_canonical():
                    found[1][symbol.canonical] = None
            self._canonicals_of, self._canonicals = snapshot, (list(found[0]), list(found[1]))
        return self._canonicals[0 if options else 1]

    @property
    def current_slice(self) -> Slice | None:
        """The slice of the last step, made when it is asked for."""
        if self._slice is None and self._slice_of is not None:
            ms, has_data = self._slice_of
            self._slice = Slice(self, ms, self.snapshot(), has_data)
        return self._slice

    def _index(self, canonical: Symbol, moment: Slice) -> ChainIndex:
        epoch = self._seen_epoch if moment.snapshot is self._snapshot else -2
        index = self._chains.get(canonical)
        if index is None or not index.valid(moment.ms, epoch):
            index = ChainIndex(canonical, moment.snapshot, self, moment.ms, epoch)
            self._chains[canonical] = index
        return index

    def option_chain_at(self, canonical: Symbol, moment: Slice) -> OptionChain | None:
        """The chain of a canonical in a slice, None when it has no contract with data."""
        if not moment.has_bars or canonical is None:
            return None
        entries = self._index(canonical, moment).present(moment.ms)
        return OptionChain(self, canonical, moment, entries) if entries else None

    def futures_chain_at(self, canonical: Symbol, moment: Slice) -> FuturesChain | None:
        """The futures chain of a canonical in a slice."""
        if not moment.has_bars or canonical is None:
            return None
        entries = self._index(canonical, moment).present(moment.ms)
        return FuturesChain(self, canonical, moment, entries) if entries else None

    def file_chain(self, canonical: Symbol) -> FileChain | EmptyChain:
        """The last chain file that is known now, at most three trading days old."""
        hours = self.hours_of(canonical)
        zone = NEW_YORK if canonical.security_type == SecurityType.OPTION else zone_of(hours.time_zone)
        today = zone.date_of(self.utc_ms)
        day, tried = today - timedelta(days=1), 0
        while tried < 3:
            if hours.is_date_open(datetime(day.year, day.month, day.day)):
                tried += 1
                block = self.source.universe(canonical, day)
                if block is not None:
                    return self._file_chain_of(block, canonical, self.zone.date_of(self.utc_ms))
            day -= timedelta(days=1)
        return EmptyChain(canonical)

    def _file_chain_of(self, block: UniverseBlock, canonical: Symbol, today: date) -> FileChain:
        """One of each file a day, which is put in order once; those of the day before are let go."""
        if today != self._file_chains_of:
            self._file_chains, self._file_chains_of = {}, today
        known = self._file_chains.get(canonical)
        if known is None or known.block is not block:
            known = self._file_chains[canonical] = FileChain(block, canonical, today)
        return known

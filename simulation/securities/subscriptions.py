"""Which securities are subscribed, and why: LEAN's universes, their selections, and what a selection adds and removes.

Securities added by hand belong to a user-defined universe, contracts added by hand to another, chains to their own.
A member of a chain, or
a contract added by hand, stays at least a day (rounded); what is held or ordered stays until it is not (lean-facts
3.3, 3.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from simulation.data.feeds import Feed, FeedSpec, seen_from
from simulation.lean.clock import FOREVER, zone_of
from simulation.lean.enums import DataNormalizationMode, Resolution, SecurityType, TickType
from simulation.lean.symbols import Symbol, SymbolCache
from simulation.securities.continuous import JOINED_MODES, feed_of, is_continuous
from simulation.securities.contract_filters import (
    FutureFilterUniverse,
    OptionFilterUniverse,
    apply_filter,
    default_option_filter,
)
from simulation.securities.derivatives import SECURITY_CLASSES
from simulation.securities.securities import Security
from simulation.securities.universes import ChainUniverse, ListUniverse, Member, SecurityChanges, Universe, owner_of

OPTION_TYPES = (SecurityType.OPTION, SecurityType.INDEX_OPTION, SecurityType.FUTURE_OPTION)
MAXIMUM_GAP_DAYS = 10
SERVED_MODES = (DataNormalizationMode.RAW, DataNormalizationMode.ADJUSTED, DataNormalizationMode.SPLIT_ADJUSTED)


class Subscriptions:
    """Securities, feeds and universes of a run."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.feeds: dict[Any, list[Feed]] = {}
        self.universes: dict[str, Universe] = {}
        self.epoch = 0
        self.warm_up_resolution: Resolution | None = None
        self.changed = False
        self._pending: list[tuple[ListUniverse, Any, bool]] = []
        self._new_chains: list[Any] = []
        self._disposed: list[Universe] = []
        self._leaving: dict[str, list[Any]] = {}
        self._waiting: dict[Any, list[FeedSpec]] = {}
        self._chained: dict[Any, list[Any]] = {}

    # -- securities --------------------------------------------------------------------------------------------------

    def create(self, symbol: Any, initialize: bool = True) -> Security:
        """The security of a symbol, made and initialised when it is new; made tradable again when it was removed."""
        engine = self._engine
        known = engine.securities.everything.get(symbol)
        if known is not None and not known.is_delisted:
            if not engine.securities.is_active(symbol):
                engine.securities.add_security(known)
            if not symbol.is_canonical() and symbol.security_type != SecurityType.INDEX:
                known.is_tradable = True  # an index stays what the algorithm made of it
            return known  # type: ignore[no-any-return]
        kind = symbol.security_type
        if kind not in SECURITY_CLASSES:
            raise engine.refused(f"securities of type {kind} ({symbol})")
        hours = engine.source.hours.get_entry(symbol.id.market, symbol, kind).exchange_hours
        properties = engine.source.properties.get_symbol_properties(symbol.id.market, symbol, kind, "USD")
        security = SECURITY_CLASSES[kind](engine, symbol, hours, properties)
        if kind in OPTION_TYPES:
            security.underlying = self.create(symbol.underlying)  # type: ignore[attr-defined]
        engine.securities.add_security(security)
        engine.prepare(security, initialize)
        return security

    def configure(
        self, symbol: Any, resolution: Resolution, fill_forward: bool, extended: bool, internal: bool = False
    ) -> list[FeedSpec]:
        """Adds the specifications of a symbol's subscriptions: trades, quotes where they exist, open interest
        inside. What was internal and is asked for otherwise is so no longer."""
        configs: list[FeedSpec] = self._engine.configs.setdefault(symbol, [])
        known = [config for config in configs if config.resolution == resolution]
        if known:
            if not internal:
                _set_internal(known, False)
            return configs
        configs += self.specifications(symbol, resolution, fill_forward, extended, internal)
        return configs

    def specifications(
        self, symbol: Any, resolution: Resolution, fill_forward: bool, extended: bool, internal: bool = False
    ) -> list[FeedSpec]:
        """What a subscription of a symbol consists of."""
        entry = self._engine.source.hours.get_entry(symbol.id.market, symbol, symbol.security_type)
        hours = entry.exchange_hours
        base = FeedSpec(
            symbol,
            resolution,
            TickType.TRADE,
            hours,
            zone_of(hours.time_zone),
            zone_of(entry.data_time_zone),
            fill_forward,
            extended,
            internal,
        )
        made = [base]
        kind = symbol.security_type
        if kind != SecurityType.INDEX and not (kind == SecurityType.EQUITY and resolution >= Resolution.HOUR):
            made.append(replace(base, kind=TickType.QUOTE))
        if kind in OPTION_TYPES or kind == SecurityType.FUTURE:
            made.append(replace(base, kind=TickType.OPEN_INTEREST, internal=True))
        return made

    # -- what the algorithm asks for ---------------------------------------------------------------------------------

    def add_by_hand(self, symbol: Any, universe_key: str, resolution: Resolution, minimum_ms: int) -> None:
        """Puts a symbol on the list of a hand-made universe at the end of the time step."""
        universe = self.universes.get(universe_key)
        if not isinstance(universe, ListUniverse):
            universe = ListUniverse(universe_key, resolution, minimum_ms)
            self.universes[universe_key] = universe
        self._pending.append((universe, symbol, True))
        self.changed = True

    def add_chain(
        self, security: Security, resolution: Resolution, fill_forward: bool, extended: bool
    ) -> ChainUniverse:
        """Registers a chain; its first selection is at once, over the file of the trading day before."""
        key = str(security.symbol.id)
        existing = self.universes.get(key)
        if isinstance(existing, ChainUniverse) and not existing.disposed:
            return existing
        option = security.symbol.security_type in OPTION_TYPES
        rows = OptionFilterUniverse(security) if option else FutureFilterUniverse(security)
        specification = {"resolution": resolution, "fill_forward": fill_forward, "extended": extended}
        minimum = int(self._engine.algorithm.universe_settings.minimum_time_in_universe.total_seconds() * 1000)
        chain = ChainUniverse(key, Resolution.DAILY, minimum, specification, security=security, filter_universe=rows)
        self.universes[key] = chain
        self._new_chains.append(chain)
        self.changed = True
        return chain

    def chain_options(self, canonical: Any, option_filter: Any) -> None:
        """Every contract that a future's chain selects from now on gets an option chain of its own."""
        self._chained.setdefault(canonical, []).append(option_filter)
        for universe in list(self.universes.values()):
            if owner_of(universe) == canonical and universe.selected:
                self.add_chained(canonical, list(universe.selected))

    def add_chained(self, canonical: Any, contracts: list[Any]) -> None:
        """Adds the option chains of selected futures, as OptionChainedUniverseSelectionModel does."""
        filters = self._chained.get(canonical)
        if not filters:
            return
        settings = self._engine.algorithm.universe_settings
        for contract in contracts:
            if contract.is_canonical():
                continue
            option = Symbol.create_canonical_option(contract)
            if str(option.id) in self.universes:
                continue
            security = self.create(option)
            SymbolCache.set(option.value, option)
            security.is_tradable = False
            security.contract_filter = filters[-1]  # type: ignore[attr-defined]
            self.add_chain(security, settings.resolution, settings.fill_forward, settings.extended_market_hours)

    def remove_by_hand(self, symbol: Any) -> None:
        """Takes a symbol off the hand-made lists at the end of the time step, a canonical's chain with it."""
        self._pending = [item for item in self._pending if item[1] != symbol]
        for chain in self.universes.values():
            if symbol.is_canonical() and owner_of(chain) == symbol:
                chain.disposed = True
                self._disposed.append(chain)
        for universe in self.universes.values():
            if isinstance(universe, ListUniverse) and symbol in universe.members:
                self._pending.append((universe, symbol, False))
        self.changed = True

    def lonely_members(self, canonical: Any) -> list[Any]:
        """Contracts that are in one of a canonical's universes and in no other, by symbol; none of anything else."""
        own = [u for u in self.universes.values() if canonical.is_canonical() and owner_of(u) == canonical]
        members = {symbol for universe in own for symbol in universe.members if not symbol.is_canonical()}
        lonely = (symbol for symbol in members if len(list(self.users_of(symbol))) == 1)
        return sorted(lonely, key=lambda symbol: str(symbol.value))

    def end_of_step(self) -> list[Universe]:
        """Applies what was asked for during the step; gives the universes that must select now
        (QCAlgorithm.Universe.cs)."""
        touched: dict[str, Universe] = {}
        for universe, symbol, added in self._pending:
            if added and symbol not in universe.symbols:
                if symbol.has_underlying and symbol.security_type in OPTION_TYPES:
                    universe.symbols[symbol.underlying] = None
                universe.symbols[symbol] = None
                touched[universe.key] = universe
            elif not added and symbol in universe.symbols:
                del universe.symbols[symbol]
                self._drop_lonely_underlying(universe, symbol)
                touched[universe.key] = universe
        for chain in self._new_chains:
            if isinstance(chain, ChainUniverse):
                self._schedule_first(chain)
            else:
                chain.advance()  # the first instant is now
                chain.advance()
            touched[chain.key] = chain
        touched.update({universe.key: universe for universe in self._disposed})
        self._pending, self._new_chains, self._disposed, self.changed = [], [], [], False
        return list(touched.values())

    def _drop_lonely_underlying(self, universe: ListUniverse, symbol: Any) -> None:
        if symbol.security_type not in OPTION_TYPES:
            return
        if not any(
            other.security_type in OPTION_TYPES and other.underlying == symbol.underlying for other in universe.symbols
        ):
            universe.symbols.pop(symbol.underlying, None)

    # -- chain files -------------------------------------------------------------------------------------------------

    def _schedule_first(self, chain: ChainUniverse) -> None:
        """The file of the last trading day that has ended is selected at once; the ones after it at their midnights."""
        zone, hours = chain.security.zone, chain.security.exchange.hours
        today = zone.date_of(self._engine.utc_ms)
        day = today - timedelta(days=1)
        for _ in range(MAXIMUM_GAP_DAYS):
            if hours.is_date_open(datetime(day.year, day.month, day.day)):
                block = self._engine.source.universe(chain.security.symbol, day)
                if block is not None:
                    chain.block = block
                break
            day -= timedelta(days=1)
        chain.next_day = max(day, today - timedelta(days=1)) + timedelta(days=1)
        self._seek(chain)

    def _seek(self, chain: ChainUniverse) -> None:
        chain.next_ms = chain.security.zone.midnight_ms(chain.next_day + timedelta(days=1))

    def due(self, utc_ms: int) -> list[Universe]:
        """Universes that select at this instant: chains that have a file, and those that a function selects."""
        found: list[Universe] = []
        for universe in self.universes.values():
            if getattr(universe, "next_ms", FOREVER) > utc_ms:
                continue
            if isinstance(universe, ChainUniverse):
                if self.take_file(universe):
                    found.append(universe)
            else:
                universe.advance()  # type: ignore[attr-defined]
                found.append(universe)
        return found

    def add_selector(self, universe: Any) -> None:
        """Registers a universe that a function selects; its first instant is its start."""
        self.universes[universe.key] = universe
        self._new_chains.append(universe)
        self.changed = True

    def next_selection(self) -> int:
        """The next midnight at which some chain may have a file."""
        return min((getattr(u, "next_ms", FOREVER) for u in self.universes.values()), default=FOREVER)

    def take_file(self, chain: ChainUniverse) -> bool:
        """Reads the chain's next file; whether there is one."""
        hours = chain.security.exchange.hours
        day = chain.next_day
        block = None
        if hours.is_date_open(datetime(day.year, day.month, day.day)):
            block = self._engine.source.universe(chain.security.symbol, day)
        chain.next_day = day + timedelta(days=1)
        self._seek(chain)
        if block is not None:
            chain.block = block
        return block is not None

    # -- selection ---------------------------------------------------------------------------------------------------

    def select(self, universe: Universe, utc_ms: int, changes: SecurityChanges) -> None:
        """Performs one universe's selection and applies the difference (UniverseSelection.cs
        ApplyUniverseSelection)."""
        chosen = self._choose(universe, utc_ms)
        as_set = set(chosen)
        unchanged = universe.previous is not None and as_set == universe.previous
        universe.previous = as_set
        if not unchanged:
            universe.selected = dict.fromkeys(chosen)
        self._release(universe, utc_ms)
        if unchanged:
            return
        self._deselect(universe, utc_ms, changes)
        for symbol in chosen:
            if symbol not in universe.members:
                self._admit(universe, symbol, utc_ms, changes)
        self.epoch += 1
        owner = owner_of(universe)
        if owner in self._chained:
            self.add_chained(owner, list(universe.selected))

    def _choose(self, universe: Universe, utc_ms: int) -> list[Any]:
        if isinstance(universe, ListUniverse):
            return universe.select()
        if universe.disposed:
            return list(())
        choose = getattr(universe, "choose", None)
        if choose is not None:
            return list(choose(utc_ms))
        if not isinstance(universe, ChainUniverse) or universe.block is None or universe.filter_universe is None:
            return list(universe.selected)
        security = universe.security
        universe.filter_universe.load(universe.block, security.zone.local(utc_ms))
        option = security.symbol.security_type in OPTION_TYPES
        filter_function = security.contract_filter or (default_option_filter if option else _nothing)
        chosen = apply_filter(security, universe.filter_universe, filter_function)
        if option:
            return [security.symbol.underlying, *chosen]
        return chosen

    def universe_interest(self, symbol: Any) -> tuple[int, float] | None:
        """Open interest of the chain file in effect: (instant from which it is known, contracts)."""
        if symbol.security_type not in OPTION_TYPES or symbol.is_canonical():
            return None
        chain = self.universes.get(str(symbol.canonical.id))
        if not isinstance(chain, ChainUniverse) or chain.block is None:
            return None
        block = chain.block
        same_expiry = block.expiry == symbol.id.date.toordinal()
        rows = np.nonzero(
            same_expiry
            & (np.abs(block.strike - symbol.id.strike_price) < 1e-9)
            & (block.right == int(symbol.id.option_right))
        )[0]
        if len(rows) == 0:
            return None
        return chain.security.zone.midnight_ms(block.day + timedelta(days=1)), float(block.open_interest[rows[0]])

    def _release(self, universe: Universe, utc_ms: int) -> None:
        """Lets go of members that were kept for a position or an order that is gone."""
        for key, symbols in list(self._leaving.items()):
            owner = self.universes.get(key)
            for symbol in list(symbols):
                member = None if owner is None else owner.members.get(symbol)
                if owner is None or member is None:
                    symbols.remove(symbol)
                    continue
                safe = self._safe(member.security, owner)
                if safe or (owner is universe and symbol in universe.selected):
                    symbols.remove(symbol)
                    if safe and symbol not in owner.selected:
                        self._take_out(owner, symbol)

    def _safe(self, security: Security, universe: Universe) -> bool:
        """Nothing held, nothing ordered, and neither on a derivative of it in the same universe."""
        if security.invested or self._engine.transactions.get_open_orders(security.symbol):
            return False
        return not any(
            symbol.has_underlying and symbol.underlying == security.symbol and not self._safe(member.security, universe)
            for symbol, member in universe.members.items()
        )

    def _deselect(self, universe: Universe, utc_ms: int, changes: SecurityChanges) -> None:
        for symbol, member in sorted(
            universe.members.items(), key=lambda pair: (pair[0].security_type, str(pair[0].id))
        ):
            security = member.security
            if symbol in universe.selected or not universe.may_leave(security, utc_ms):
                continue
            waiting = self._leaving.setdefault(universe.key, [])
            inside = universe.specification.get("internal") and not security.is_internal  # another universe shows it
            if not security.is_delisted and symbol not in waiting and not inside:
                changes.remove(security)
            if self._safe(security, universe):
                self._take_out(universe, symbol)
            elif symbol not in waiting:
                waiting.append(symbol)

    def _take_out(self, universe: Universe, symbol: Any) -> None:
        member = universe.members.pop(symbol)
        others = list(self.users_of(symbol))
        if others:
            if all(other.specification.get("internal") for other in others):
                _set_internal(self._engine.configs.get(symbol, []), True)
                member.security.is_internal = True
            return
        self.drop_feeds(symbol)
        member.security.reset()
        member.security.drop_feeds()
        self._engine.retire(symbol)

    def drop_feeds(self, symbol: Any) -> None:
        """Ends the subscriptions of a symbol."""
        if self.feeds.pop(symbol, None) is not None:
            self.epoch += 1
        self._engine.configs.pop(symbol, None)

    def _admit(self, universe: Universe, symbol: Any, utc_ms: int, changes: SecurityChanges) -> None:
        security = self.create(symbol)
        if security.is_delisted:
            return
        wanted = universe.specification
        if symbol.security_type == SecurityType.EQUITY and not isinstance(universe, ListUniverse | ChainUniverse):
            security.data_normalization_mode = self._engine.algorithm.universe_settings.data_normalization_mode
        internal = bool(wanted.get("internal")) and not symbol.is_canonical()
        if wanted:
            self.configure(symbol, wanted["resolution"], wanted["fill_forward"], wanted["extended"], internal)
        fresh = self._subscribe(security, utc_ms)
        shown = security.is_internal and not internal
        if fresh or shown:
            security.is_internal = internal
            changes.add(security)
        universe.members[symbol] = Member(security, utc_ms)
        if isinstance(universe, ChainUniverse) and security.is_option:
            security.price_model = universe.security.price_model  # type: ignore[attr-defined]

    def _subscribe(self, security: Security, utc_ms: int) -> bool:
        """Opens the feeds of a security's specifications that are not open yet."""
        symbol = security.symbol
        if symbol.is_canonical() and symbol.security_type in OPTION_TYPES:
            return False
        feeds = self.feeds.setdefault(symbol, [])
        fresh = not feeds
        for spec in self._warming(symbol, self._engine.configs.get(symbol, [])):
            if not any(feed.spec.kind == spec.kind and feed.spec.resolution == spec.resolution for feed in feeds):
                spec.mode = self.served_mode(symbol, security.data_normalization_mode)
                start = seen_from(spec, utc_ms, self._engine.tick)
                self._open(security, feed_of(self._engine.source, spec, start))
        self.epoch += 1
        if fresh:
            self._engine.watch_delisting(security)
        return fresh

    def served_mode(self, symbol: Any, mode: DataNormalizationMode) -> DataNormalizationMode:
        """The way in which a symbol's prices are adjusted. Raises NotInEngineError for an equity's or a continuous
        future's that is not served."""
        served = JOINED_MODES if is_continuous(symbol) else SERVED_MODES
        if (symbol.security_type == SecurityType.EQUITY or is_continuous(symbol)) and mode not in served:
            raise self._engine.refused(f"data normalization mode {mode} of {symbol.value}")
        return mode

    def _open(self, security: Security, feed: Feed) -> None:
        self.feeds[security.symbol].append(feed)
        security.add_feed(feed)

    def _warming(self, symbol: Any, specs: list[FeedSpec]) -> list[FeedSpec]:
        """What is served of a symbol now: during a warm-up at a resolution of its own that one, the rest waits for its
        end (FileSystemDataFeed.CreateSubscription)."""
        wanted = self.warm_up_resolution if self._engine.is_warming_up else None
        if wanted is None:
            return specs
        own = [spec for spec in specs if spec.internal or spec.resolution == wanted]
        waiting = [spec for spec in specs if spec not in own]
        self._waiting[symbol] = waiting
        trades_only = symbol.security_type == SecurityType.EQUITY and wanted >= Resolution.HOUR
        kinds = {spec.kind: spec for spec in waiting if not (trades_only and spec.kind == TickType.QUOTE)}
        return own + [replace(spec, resolution=wanted) for spec in kinds.values()]

    def end_warm_up(self, utc_ms: int) -> None:
        """From here on every subscription comes at its own resolution; a day before fills it forward."""
        waiting, self._waiting = self._waiting, {}
        for symbol, specs in waiting.items():
            feeds = self.feeds.get(symbol)
            if feeds is None or not specs:
                continue
            security = self._engine.securities.everything[symbol]
            kept = [feed for feed in feeds if feed.spec in self._engine.configs[symbol]]
            security.freeze()
            self.feeds[symbol] = []
            day = security.exchange.hours.get_previous_trading_day(security.zone.local(utc_ms))
            before = max(security.zone.midnight_ms(day.date()), self._engine.start_ms)
            fresh = [feed_of(self._engine.source, spec, before) for spec in specs]
            for feed in [*kept, *fresh]:
                feed.spec.mode = self.served_mode(symbol, security.data_normalization_mode)
                self._open(security, feed)
        self.epoch += 1

    def is_leaving(self, symbol: Any) -> bool:
        """Whether a symbol was deselected and is kept for a position or an order."""
        return any(symbol in symbols for symbols in self._leaving.values())

    def users_of(self, symbol: Any) -> Iterable[Universe]:
        """Universes that a symbol is in."""
        return (universe for universe in self.universes.values() if symbol in universe.members)


def _set_internal(specs: Iterable[FeedSpec], internal: bool) -> None:
    for spec in specs:
        if spec.kind != TickType.OPEN_INTEREST:
            spec.internal = internal


def _nothing(universe: Any) -> list[Any]:
    """A future without a filter selects nothing (Future.cs:102)."""
    del universe
    return list(())

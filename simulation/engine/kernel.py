"""The kernel: LEAN's time loop over day-columnar data (lean-facts, section 2).

`utc_ms` is the clock (a scheduled event in the past has its own), `data_ms` the instant up to which prices are known.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

from simulation.data.feeds import FeedSpec
from simulation.data.source import DataSource
from simulation.engine.faces import EngineSettings, RunningAlgorithm
from simulation.engine.quiet import MARGIN_CALL_MS, QuietMinutes
from simulation.engine.schedule import ScheduledEvent, Scheduler
from simulation.engine.timeline import DividendCalendar, Timeline, delisting_date, delisting_moment, trades_again
from simulation.lean.bars import Delisting
from simulation.lean.clock import FOREVER, MINUTE_MS, NEW_YORK, Zone
from simulation.lean.enums import DelistingType, SecurityType
from simulation.lean.exchange_hours import SecurityExchangeHours
from simulation.lean.symbols import Symbol, SymbolCache
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import Symbolic
from simulation.orders.transaction_handler import TransactionHandler
from simulation.orders.transaction_manager import SecurityTransactionManager
from simulation.securities.continuous import MappingCalendar, is_continuous
from simulation.securities.contract_filters import filter_of
from simulation.securities.derivatives import Future, Option, SecurityManager
from simulation.securities.pricing import OptionPriceModelResult
from simulation.securities.securities import Security
from simulation.securities.subscriptions import OPTION_TYPES, Subscriptions
from simulation.securities.universes import ChainUniverse, SecurityChanges, Universe, every_added


class NotInEngineError(NotImplementedError):
    """A member or feature that LEAN has and this engine has not; the message names it."""


class Engine(QuietMinutes):
    """One run: clock, data, securities and the order of everything that happens at an instant."""

    algorithm: RunningAlgorithm
    settings: EngineSettings
    transactions: SecurityTransactionManager
    handler_type: type[TransactionHandler] = TransactionHandler

    def __init__(self, source: DataSource) -> None:
        super().__init__()
        self.source = source
        self.utc_ms = self.data_ms = 0
        self.tick = 0
        self.zone: Zone = NEW_YORK
        self.start_ms = self.end_ms = 0
        self.securities = SecurityManager()
        self.configs: dict[Symbol, list[FeedSpec]] = {}
        self.subscriptions = Subscriptions(self)
        self.scheduler = Scheduler()
        self.timeline = Timeline(self.subscriptions.feeds)
        self.dividends = DividendCalendar(source)
        self.mappings = MappingCalendar(source)
        self.running = False
        self.progress: Callable[[int], None] | None = None
        self._delistings: list[tuple[int, int, DelistingType, Security]] = []
        self._watched: set[Symbol] = set()
        self.forgotten = self._sequence = 0
        self._ordered: tuple[int, set[Symbol]] = (0, set())  # how many tickets there were, and what of
        self.warmup_end_ms = 0
        self.sample_step_ms = 4 * MINUTE_MS

    # -- what the algorithm and the trading side ask for -------------------------------------------------------------

    def refused(self, what: str) -> NotInEngineError:
        """The error for something that this engine does not have."""
        return NotInEngineError(f"{what}: not implemented in the embedded engine; the real LEAN engine may have it")

    def hours_of(self, symbol: Symbol | Symbolic | str) -> SecurityExchangeHours:
        """Exchange hours of a symbol, a security or a ticker (an unknown ticker is a US equity, as in LEAN)."""
        if isinstance(symbol, str):
            symbol = SymbolCache.find(symbol) or Symbol.create(symbol, SecurityType.EQUITY, "usa")
        named = symbol if isinstance(symbol, Symbol) else symbol.symbol
        security = self.securities.everything.get(named)
        if security is not None:
            hours: SecurityExchangeHours = security.exchange.hours
            return hours
        return self.source.hours.get_entry(named.id.market, named, named.security_type).exchange_hours

    def create_security(self, symbol: Symbol) -> Security:
        """The security of a symbol, registered without a subscription when it is new."""
        return self.subscriptions.create(symbol)

    def prepare(self, security: Security, initialize: bool) -> None:
        """Gives a new security its holding and models, then runs the algorithm's security initializer."""
        security.holdings = self.portfolio.new_holding(security)
        self.algorithm.initialize_models(security)
        if initialize:
            self.algorithm.run_security_initializer(security)

    def called(self) -> None:
        """The algorithm asks something of the engine: live, another thread may come in between."""

    def model_changed(self, security: Security, field: str) -> None:
        """A model was replaced by the algorithm."""
        changed = getattr(self.portfolio, "model_changed", None)
        if changed is not None:
            changed(security, field)

    def universe_interest(self, symbol: Symbol) -> tuple[int, float] | None:
        """Open interest of the chain file in effect."""
        return self.subscriptions.universe_interest(symbol)

    def set_filter(self, security: Future | Option, arguments: tuple[object, ...]) -> None:
        """Sets a canonical security's filter."""
        security.contract_filter = filter_of(arguments)

    def retire(self, symbol: Symbol) -> None:
        """A security left every universe."""
        self.securities.retire(symbol)
        security = self.securities.everything.get(symbol)
        if security is not None and symbol.has_underlying and not self._ever_ordered(symbol):
            self._leaving.append(symbol)

    def _ever_ordered(self, symbol: Symbol) -> bool:
        tickets = self.handler.tickets
        if len(tickets) != self._ordered[0]:
            self._ordered = len(tickets), {ticket.symbol for ticket in tickets.values()}
        return symbol in self._ordered[1]

    def selected_of(self, canonical: Symbol) -> set[Symbol]:
        """Symbols that a chain's filter selected last."""
        universe = self.subscriptions.universes.get(str(canonical.id))
        return (
            set()
            if universe is None
            else {s for s in universe.selected if s.has_underlying or s.security_type == SecurityType.FUTURE}
        )

    def evaluate_option(self, security: Security, contract: object) -> OptionPriceModelResult:
        """Implied volatility and Greeks of a contract by its security's price model."""
        from simulation.securities.option_models import evaluate

        return evaluate(self, security, contract)

    def fire_order_event(self, event: OrderEvent) -> None:
        """Tells the algorithm of an order event."""
        self.order_events.append(event)
        self.algorithm.on_order_event(event)

    def fire_assignment_event(self, event: OrderEvent) -> None:
        """Tells the algorithm of an assignment."""
        self.algorithm.on_assignment_order_event(event)

    def benchmark_value(self) -> float:
        """The benchmark's price now; 0 without one."""
        return self.algorithm.benchmark_price()

    # -- delistings --------------------------------------------------------------------------------------------------

    def watch_delisting(self, security: Security) -> None:
        """Schedules the warning on a contract's last day and its removal at the midnight after it."""
        symbol = security.symbol
        self.dividends.watch(security, self.utc_ms, self.end_ms)
        if is_continuous(symbol):
            self.mappings.watch(security, self.configs[symbol][0], self.utc_ms, self.end_ms)
            return
        if symbol in self._watched or symbol.security_type not in (*OPTION_TYPES, SecurityType.FUTURE):
            return
        self._watched.add(symbol)
        last = delisting_date(symbol, security.exchange.hours)
        following = security.exchange.hours.get_next_trading_day(datetime(last.year, last.month, last.day))
        for kind in (DelistingType.WARNING, DelistingType.DELISTED):
            if kind == DelistingType.DELISTED and security.zone.midnight_ms(following.date()) > self.end_ms:
                continue  # LEAN emits it when it reaches the next trading day's data, which is not in the run
            self._sequence += 1
            at = security.zone.utc_ms(delisting_moment(symbol, security.exchange.hours, kind))
            heapq.heappush(self._delistings, (max(at, self.utc_ms - self.tick), self._sequence, kind, security))

    def _due_delistings(self, ms: int) -> list[tuple[DelistingType, Security]]:
        due = []
        while self._delistings and self._delistings[0][0] <= min(ms, self.end_ms):
            _, _, kind, security = heapq.heappop(self._delistings)
            if security.symbol in self.subscriptions.feeds:
                if kind == DelistingType.WARNING or trades_again(security, ms, self.end_ms):
                    due.append((kind, security))
            elif kind == DelistingType.DELISTED:
                self._watched.discard(security.symbol)
        return sorted(due, key=lambda item: (int(item[1].type), item[1].symbol.value))

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """From the first instant to the last slice, then on_end_of_algorithm."""
        algorithm = self.algorithm
        self._on_data = algorithm.on_data if algorithm.overrides("on_data") else None
        self._rests = getattr(algorithm, "rests_while", None)
        self.scheduler.add(self._daily_sampling(), self.utc_ms)
        self._next_margin_ms, self.running = 0, True
        self.scheduler.start(self.utc_ms)
        if not self.is_warming_up:
            algorithm.on_warmup_finished()
        self._select(self.utc_ms, self.subscriptions.end_of_step(), False, [])
        self._end_of_step(self.utc_ms)
        cursor, last = self.data_ms, self.samples.benchmark.last_step_ms()
        while self.stop_reason is None and (cursor < self.end_ms or cursor <= self._last_selection()):
            high = self.zone.midnight_ms(self.zone.date_of(cursor) + timedelta(days=1))
            self._window(cursor, high)
            if self.stop_reason is None and self.scheduler.next_ms < high <= min(self.end_ms, last):
                self._pulse(high)  # a day without data: LEAN's clock goes on by its benchmark's bars
            cursor = high
            if self.progress is not None:
                self.progress(self.utc_ms)
        if self.stop_reason is None and self.utc_ms < last <= self.end_ms:
            self._pulse(last)
        algorithm.on_end_of_algorithm()
        self._sample_day()

    def _window(self, low: int, high: int) -> None:
        """Everything in (low, high]: data, chain files, delistings."""
        epoch, times, position = -1, [], 0
        while self.stop_reason is None:
            if epoch != self.subscriptions.epoch:
                epoch = self.subscriptions.epoch
                self.timeline.regroup()
                times = self.timeline.times(max(low, self.data_ms), min(high, self.end_ms + 1)).tolist()
                position = 0
            data_ms = times[position] if position < len(times) else FOREVER
            special = self._next_special()
            moment = min(data_ms, special)
            if moment > high:
                break
            if self.is_warming_up and moment > self.warmup_end_ms:
                self._pulse(self.warmup_end_ms)
                if epoch != self.subscriptions.epoch:
                    continue
            if data_ms == moment:
                position += 1
            if special <= moment:
                self._special(moment, data_ms == moment)
            else:
                self._step(moment, True, None, ())
                if epoch == self.subscriptions.epoch:
                    position = self._pass_on(times, position, min(special, high + 1))
                    moment = times[position - 1]
            if self.subscriptions.changed:
                self._end_of_step(moment)

    def _pass_on(self, times: list[int], position: int, special: int) -> int:
        """After a step: passes the minutes in which nothing happens; gives where the next one stands."""
        until = min(self._quiet_until(special), special)
        position, acted = self._pass_quiet(times, position, until)
        if acted:
            self._after_step(times[position - 1], ())
        elif until == 0 and not self.subscriptions.changed:
            position = self._rest_held(times, position, special)
        return position

    def _next_special(self) -> int:
        selection = self.subscriptions.next_selection()
        delisting = self._delistings[0][0] if self._delistings else FOREVER
        if self.end_ms < selection < FOREVER and selection > self._last_selection():
            selection = FOREVER
        calendars = min(self.dividends.next_ms, self.mappings.next_ms)
        return min(selection, delisting if delisting <= self.end_ms else FOREVER, calendars)

    def _last_selection(self) -> int:
        """The midnight at which the chain files of the last date are seen."""
        chains = [u for u in self.subscriptions.universes.values() if isinstance(u, ChainUniverse)]
        return max(
            (u.security.zone.midnight_ms(u.security.zone.date_of(self.end_ms) + timedelta(days=1)) for u in chains),
            default=0,
        )

    def _special(self, ms: int, has_data: bool) -> None:
        """A midnight with chain files or delistings, perhaps with data as well."""
        delistings = self._due_delistings(ms)
        universes = self.subscriptions.due(ms)
        if universes or delistings or min(self.dividends.next_ms, self.mappings.next_ms) <= ms:
            self._select(ms, universes, has_data, delistings)
        elif has_data:
            self._step(ms, True, None, ())

    def _end_of_step(self, ms: int) -> None:
        """Subscriptions asked for during a step begin one tick later, in a slice of their own."""
        while self.subscriptions.changed and self.stop_reason is None:
            touched = self.subscriptions.end_of_step()
            if touched:
                self.tick = 1
                self._select(ms, touched, False, [])
                self.tick = 0

    def _select(
        self, ms: int, universes: list[Universe], has_data: bool, delistings: list[tuple[DelistingType, Security]]
    ) -> None:
        """Selections, then the slice that carries their changes (SubscriptionSynchronizer.cs:88)."""
        changes = SecurityChanges()
        for kind, security in delistings:
            if kind == DelistingType.DELISTED:
                self._mark_delisted(security, changes)
        if universes:
            self._pulse(ms + self.tick)
        in_time = ms <= self.end_ms
        for universe in sorted(universes, key=lambda u: (int(u.resolution), u.key)):
            if in_time:
                self.subscriptions.select(universe, ms, changes)
        if self.settings.seed_initial_prices:
            self.algorithm.seed(every_added(changes))
        fresh = self._due_delistings(ms)
        has_data = has_data or any(security.emits(ms) for security in changes.added_securities)
        self._step(ms, has_data, changes, (*delistings, *fresh))

    def _mark_delisted(self, security: Security, changes: SecurityChanges) -> None:
        """No new positions from here on (UniverseSelection.cs HandleDelisting)."""
        security.is_delisted = True
        security.reset()
        self.securities.retire(security.symbol)
        if not self.subscriptions.is_leaving(security.symbol):
            changes.remove(security)

    def _pulse(self, now: int) -> None:
        """Moves the clock only, firing what lies before."""
        if self.scheduler.next_ms < now:
            self.scheduler.fire_before(now, self._set_clock)
        self.utc_ms = now
        self._check_warmup()

    def _set_clock(self, ms: int) -> None:
        self.utc_ms = ms

    def _check_warmup(self) -> None:
        if self.is_warming_up and self.utc_ms >= self.warmup_end_ms:
            self.is_warming_up = False
            if self.subscriptions.warm_up_resolution is not None:
                self.subscriptions.end_warm_up(self.warmup_end_ms)
            self.algorithm.on_warmup_finished()

    def _step(
        self,
        ms: int,
        has_data: bool,
        changes: SecurityChanges | None,
        delistings: tuple[tuple[DelistingType, Security], ...],
    ) -> None:
        """One slice: the order of things is LEAN's (AlgorithmManager.cs:188-606)."""
        now = ms + self.tick
        if ms >= self._next_value_ms and not self._worth_something(ms):
            return
        self._catch_up(now)
        self.utc_ms, self.data_ms = now, ms
        self._slice, self._slice_of = None, (ms, has_data)
        if self.samples.every_step:
            self.samples.before_orders()
        occasion = min(self._next_hour_ms, self.dividends.next_ms, self.mappings.next_ms)
        if changes or delistings or self.is_warming_up or ms >= occasion:
            self._before_orders(ms, changes, delistings)
        if self.handler.has_work():
            self.handler.process_pass()
        if delistings:
            self._settle(delistings)
        if self.scheduler.next_ms <= now:
            self.scheduler.fire_at(now)
        if self.stop_reason is None:
            self._tell(now, has_data, changes, delistings)
            self._after_step(now, delistings)

    def _catch_up(self, now: int) -> None:
        """Scheduled events and consolidated bars that lie before this slice."""
        if self.scheduler.next_ms < now:
            self.scheduler.fire_before(now, self._set_clock)
        if self.consolidators.active:
            self.consolidators.scan_past(now)

    def _after_step(self, now: int, delistings: tuple[tuple[DelistingType, Security], ...]) -> None:
        """The second order pass, and what is cleaned up and sampled after it."""
        if self.handler.has_work():
            self.handler.process_pass()
        if delistings or self._leaving:
            self._close_delisted(delistings)
        if self.samples.every_step:
            self.samples.see()
        if now > self._next_sample_ms:
            self._sample_chart(now)
            self.samples.reopen(kind for kind, _ in delistings)

    def _before_orders(
        self, ms: int, changes: SecurityChanges | None, delistings: tuple[tuple[DelistingType, Security], ...]
    ) -> None:
        """What a slice brings before any order is looked at: events, hourly settlement, the end of warm-up."""
        if delistings:
            self._note_delistings(delistings)
        if changes:
            self.algorithm.follow_end_of_day(changes)
        if ms >= self._next_hour_ms:
            self._next_hour_ms = self.portfolio.settlement_scan(ms)
        if ms >= self.dividends.next_ms:
            self.dividends.pay(self, ms)
        self._check_warmup()
        if ms >= self.mappings.next_ms:
            self.mappings.tell(self, ms)

    def _tell(
        self,
        now: int,
        has_data: bool,
        changes: SecurityChanges | None,
        delistings: tuple[tuple[DelistingType, Security], ...],
    ) -> None:
        """The algorithm's callbacks of a slice."""
        algorithm = self.algorithm
        if now >= self._next_margin_ms:
            self._margin_scan(now)
        if changes:
            algorithm.on_securities_changed(changes)
            algorithm.on_framework_securities_changed(changes)
        if has_data and self.consolidators.active:
            self.consolidators.feed(self.data_ms)
        if self._slice is not None and len(self._slice.splits):
            algorithm.on_splits(self._slice.splits)
        if self._slice is not None and len(self._slice.dividends):
            algorithm.on_dividends(self._slice.dividends)
        if delistings:
            moment = self.current_slice
            assert moment is not None
            algorithm.on_delistings(moment.delistings)
        if self._on_data is not None and (has_data or (self._slice is not None and self._slice.has_data)):
            if self._still_rests():
                return
            moment = self.current_slice
            assert moment is not None
            self._on_data(moment)

    # -- pieces of a step --------------------------------------------------------------------------------------------

    def _note_delistings(self, delistings: tuple[tuple[DelistingType, Security], ...]) -> None:
        moment = self.current_slice
        assert moment is not None
        for kind, security in delistings:
            at = delisting_moment(security.symbol, security.exchange.hours, kind)
            event = Delisting(security.symbol, at, security.price, kind, security.zone)
            moment.delistings[security.symbol] = event
            moment.has_data = moment.has_data or not security.is_internal

    def _settle(self, delistings: tuple[tuple[DelistingType, Security], ...]) -> None:
        """Expiry: options first, then futures."""
        gone = [security for kind, security in delistings if kind == DelistingType.DELISTED]
        for security in sorted(gone, key=lambda s: not s.is_option):
            self.handler.process_delisting(security.symbol)

    def _close_delisted(self, delistings: tuple[tuple[DelistingType, Security], ...]) -> None:
        for kind, security in delistings:
            if kind == DelistingType.DELISTED:
                self.subscriptions.drop_feeds(security.symbol)
                security.freeze()
        self._forget_left()

    def _forget_left(self) -> None:
        """Contracts that left and were never ordered are dropped whole, so that memory stays flat over the years."""
        for symbol in self._leaving:
            if not self.securities.is_active(symbol) and symbol not in self.subscriptions.feeds:
                self.securities.forget(symbol)
                self.forgotten += 1
            self._watched.discard(symbol)
        self._leaving = []

    def _margin_scan(self, now: int) -> None:
        self._next_margin_ms = now + MARGIN_CALL_MS
        if self.portfolio.invested:
            self.algorithm.margin_call_scan()

    def _daily_sampling(self) -> ScheduledEvent:
        rules = self.algorithm
        deferred = rules.schedule.deferred(rules.date_rules.every_day())
        return ScheduledEvent(
            "Daily Sampling", rules.time_rules.midnight.create_utc_event_times(deferred), self._sample_day
        )

    def _sample_day(self) -> None:
        if not self.is_warming_up:
            self.samples.sample_day(self.utc_ms)
            self._move_cash()

    def _move_cash(self) -> None:
        """What a scenario of the modelled market pays in or takes out today; no other market does, nor LEAN."""
        amount = getattr(self.source, "cash_flows", {}).get(self.algorithm.time.date())
        if amount is not None:
            book = self.portfolio.cash_book
            book[book.account_currency].add_amount(amount)

    def _sample_chart(self, now: int) -> None:
        self._next_sample_ms = now + self.sample_step_ms
        if not self.is_warming_up:
            self.samples.sample_chart(now)

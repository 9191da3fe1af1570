"""What stands above the engine or beside it, as far as the engine calls it: the algorithm, samples, consolidators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Protocol

from simulation.account.faces import AccountAlgorithm, AccountSettings
from simulation.engine.schedule import ScheduleManager
from simulation.engine.schedule_rules import DateRules, TimeRules
from simulation.lean.bars import Delisting, Dividend, Split
from simulation.lean.dictionaries import LeanDictionary
from simulation.lean.enums import DelistingType, Resolution, TickType
from simulation.lean.symbols import Symbol
from simulation.orders.order_event import OrderEvent
from simulation.securities.securities import Security
from simulation.securities.slices import Slice
from simulation.securities.universes import SecurityChanges


class UniverseRules(Protocol):
    """The algorithm's `universe_settings`."""

    resolution: Resolution
    fill_forward: bool
    extended_market_hours: bool


class EngineSettings(AccountSettings, Protocol):
    """The algorithm's settings, as the engine looks at them."""

    seed_initial_prices: bool


class RunningAlgorithm(AccountAlgorithm, Protocol):
    """The algorithm, called by the engine."""

    universe_settings: UniverseRules
    schedule: ScheduleManager
    date_rules: DateRules
    time_rules: TimeRules

    @property
    def settings(self) -> EngineSettings:
        """Its settings."""

    @property
    def time(self) -> datetime:
        """Now, in its own zone."""

    def overrides(self, name: str) -> bool:
        """Whether it has a callback of its own."""

    def initialize_models(self, security: Security) -> None:
        """Gives a security the models of its brokerage."""

    def run_security_initializer(self, security: Security) -> None:
        """Runs its security initializer."""

    def seed(self, securities: list[Security]) -> None:
        """Gives new securities their first prices."""

    def follow_end_of_day(self, changes: SecurityChanges) -> None:
        """Schedules its end-of-day callback for what was added."""

    def margin_call_scan(self) -> None:
        """The margin call check."""

    def benchmark_price(self) -> float:
        """The benchmark's price now; 0 without one."""

    def on_data(self, slice: Slice) -> object:
        """Its look at a slice."""

    def on_order_event(self, order_event: OrderEvent) -> None:
        """Told of an order event."""

    def on_assignment_order_event(self, assignment_event: OrderEvent) -> None:
        """Told of an assignment."""

    def on_securities_changed(self, changes: SecurityChanges) -> None:
        """Told of securities that came and went."""

    def on_framework_securities_changed(self, changes: SecurityChanges) -> None:
        """The same, to its framework."""

    def on_splits(self, splits: LeanDictionary[Split]) -> None:
        """Told of splits."""

    def on_dividends(self, dividends: LeanDictionary[Dividend]) -> None:
        """Told of dividends."""

    def on_delistings(self, delistings: LeanDictionary[Delisting]) -> None:
        """Told of delistings."""

    def on_warmup_finished(self) -> None:
        """Told that the warm-up is over."""

    def on_end_of_algorithm(self) -> None:
        """Told that the run is over."""


class BenchmarkSteps(Protocol):
    """The benchmark's own bars."""

    def last_step_ms(self) -> int:
        """The end of its last bar in the run, UTC milliseconds."""


class Samples(Protocol):
    """What a run samples of itself."""

    every_step: bool

    @property
    def benchmark(self) -> BenchmarkSteps:
        """The benchmark of the run."""

    def before_orders(self) -> None:
        """At a slice, before its orders."""

    def see(self) -> None:
        """After a slice."""

    def follow(self, instants: list[int]) -> bool:
        """Slices in which prices change and nothing else, all at once; false where each must be seen."""

    def worth_at(self, instants: list[int]) -> tuple[float, float] | None:
        """The least and the most that the account is worth at such slices; None where each must be valued."""

    @property
    def weighs_at(self) -> int:
        """When something is weighed that a slice may not pass."""

    def watcher(self, snapshot: Mapping[Symbol, object]) -> Callable[[], None] | None:
        """What looks at each slice even so."""

    def quiet_until(self, snapshot: Mapping[Symbol, object]) -> int:
        """Until when slices leave nothing to sample while nothing is held and no money moves."""

    def reopen(self, delistings: Iterable[DelistingType]) -> None:
        """After delistings."""

    def sample_day(self, utc_ms: int) -> None:
        """At midnight."""

    def sample_chart(self, now: int) -> None:
        """At a step of the equity chart."""


class Consolidates(Protocol):
    """The consolidators that are fed."""

    active: bool

    def add(self, symbol: Symbol, consolidator: object, tick_type: TickType | None = None) -> None:
        """Feeds one with a symbol's data."""

    def remove(self, symbol: Symbol, consolidator: object) -> None:
        """Stops feeding one."""

    def scan_past(self, now: int) -> None:
        """Closes bars that lie before an instant."""

    def feed(self, data_ms: int) -> None:
        """Hands on what came."""

"""QCAlgorithm: what an algorithm inherits. Members are LEAN's, in snake_case; PascalCase reaches them too.

What is here is what algorithms use; anything else raises an error that names the member (`simulation.lean.names`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from simulation.algorithm.algorithm_adding import AddingApi
from simulation.algorithm.algorithm_indicators import IndicatorApi
from simulation.algorithm.algorithm_settings import AlgorithmSettings, UniverseSettings
from simulation.algorithm.frames import HistoryApi
from simulation.algorithm.messages import DefaultBrokerageMessageHandler
from simulation.algorithm.object_store import ObjectStore
from simulation.algorithm.option_indicators import InterestRateProvider
from simulation.algorithm.security_initializers import BrokerageModelSecurityInitializer
from simulation.algorithm.services import SubscriptionManager, TradingCalendar
from simulation.algorithm.trading_api import TradingApi
from simulation.algorithm.words import Logs, NotificationManager, WordsApi
from simulation.engine.kernel import Engine
from simulation.engine.schedule import ScheduledEvent, ScheduleManager
from simulation.engine.schedule_rules import DateRules, TimeRules, each_day
from simulation.lean.clock import NEW_YORK, UTC, utc_datetime, zone_of
from simulation.lean.dictionaries import LeanDictionary
from simulation.lean.enums import AlgorithmMode, DeploymentTarget, Resolution
from simulation.lean.names import pascal_case, signed

DEFAULT_CASH = 100_000.0
END_OF_DAY_MS = 600_000
"""on_end_of_day(symbol) comes ten minutes before the close (ScheduledEvent.cs:32)."""


class QCAlgorithm(AddingApi, HistoryApi, IndicatorApi, TradingApi, WordsApi):
    """The base of every algorithm."""

    _engine: Engine

    def __init__(self) -> None:
        self._check_alive()

    def _check_alive(self) -> None:
        if not hasattr(type(self), "_engine") and "_engine" not in self.__dict__:
            raise RuntimeError("a QCAlgorithm is made by the engine: run it with simulation.runner.run_backtest")

    def __new__(cls, *arguments: Any, **named: Any) -> QCAlgorithm:
        del arguments, named
        instance: QCAlgorithm = super().__new__(cls)
        instance._attach(_waiting_engine())
        return instance

    def _attach(self, engine: Engine) -> None:
        """Connects the algorithm to its run, before its own constructor."""
        self._engine = engine
        engine.algorithm = self
        InterestRateProvider.use(engine.source)
        self.name = type(self).__name__
        self.settings = engine.settings = AlgorithmSettings()
        self.universe_settings = UniverseSettings()
        self.securities = engine.securities
        self.active_securities = engine.securities
        self.schedule = ScheduleManager(engine)
        self.date_rules = DateRules(engine, NEW_YORK)
        self.time_rules = TimeRules(engine, NEW_YORK)
        self.notify = NotificationManager()
        self.subscription_manager = SubscriptionManager(engine)
        self.trading_calendar = TradingCalendar(engine)
        self.logs = Logs(lambda: self.time)
        self.charts: dict[str, dict[str, list[tuple[int, float]]]] = {}
        self.runtime_statistics: dict[str, str] = {}
        self.summary_statistics: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.algorithm_id = ""
        self.project_id = 0
        self.tags: list[str] = []
        self.brokerage_message_handler = DefaultBrokerageMessageHandler(self)
        self._start = datetime(1998, 1, 1)
        self._end = datetime(2050, 12, 31)
        self._warmup: timedelta | int | None = None
        self._warmup_resolution: Resolution | None = None
        self._initializers: list[Any] = []
        self._benchmark: Any = None
        self._locked = False
        self._end_of_day: dict[Any, ScheduledEvent] = {}
        self.attach_trading(engine)
        self.portfolio.set_cash(DEFAULT_CASH)

    @signed("starting_cash", "symbol, starting_cash, conversion_rate=0")
    def set_cash(self, *amount: Any) -> None:
        """The account's cash in dollars: (amount), or (currency, amount, conversion rate)."""
        self._only_before_start("set_cash")
        self.portfolio.set_cash(*amount)

    def set_account_currency(self, account_currency: str, starting_cash: float | None = None) -> None:
        """US dollars only."""
        if account_currency.upper() != "USD":
            raise self._engine.refused(f"account currency {account_currency}")
        if starting_cash is not None:
            self.set_cash(starting_cash)

    @property
    def account_currency(self) -> str:
        """USD."""
        return "USD"

    def overrides(self, name: str) -> bool:
        """Whether the algorithm has a callback of its own, under either name."""
        own = type(self)
        return getattr(own, name) is not getattr(QCAlgorithm, name) or any(
            pascal_case(name) in base.__dict__ for base in own.__mro__
        )

    # -- clock -------------------------------------------------------------------------------------------------------

    @property
    def time(self) -> datetime:
        """Now, naive, in the algorithm's zone."""
        engine = self._engine
        return engine.zone.local(engine.utc_ms - engine.tick)

    @property
    def utc_time(self) -> datetime:
        """Now, in UTC."""
        return utc_datetime(self._engine.utc_ms - self._engine.tick)

    @property
    def time_zone(self) -> Any:
        """The algorithm's zone."""
        return self._engine.zone.info

    def set_time_zone(self, time_zone: Any) -> None:
        """Sets the zone of `time` and of the schedule's rules; in initialize only."""
        self._only_before_start("set_time_zone")
        self._engine.zone = zone_of(time_zone)
        self.date_rules.set_default_time_zone(time_zone)
        self.time_rules.set_default_time_zone(time_zone)
        self._engine.utc_ms = self._engine.zone.utc_ms(self._start)

    def _only_before_start(self, name: str) -> None:
        if self._locked:
            raise RuntimeError(f"{name}: cannot be called after the algorithm has been initialized")

    @property
    def start_date(self) -> datetime:
        """First date."""
        return self._start

    @property
    def end_date(self) -> datetime:
        """Last instant of the last date."""
        return self._end + timedelta(days=1) - timedelta(microseconds=1)

    @signed("year, month, day", "start")
    def set_start_date(self, *when: Any) -> None:
        """First date of the backtest: (year, month, day) or a date."""
        self._only_before_start("set_start_date")
        self._start = _date_of(when)
        self._engine.utc_ms = self._engine.zone.utc_ms(self._start)

    @signed("year, month, day", "end")
    def set_end_date(self, *when: Any) -> None:
        """Last date of the backtest: (year, month, day) or a date."""
        self._only_before_start("set_end_date")
        self._end = _date_of(when)

    @signed("time_span, resolution=None", "bar_count, resolution=None")
    def set_warm_up(self, span: timedelta | int, resolution: Resolution | None = None) -> None:
        """Starts earlier, without orders: by a timedelta, or by a number of bars.

        resolution: of the bars that are counted. Data come at the subscriptions' own; another one raises
        NotInEngineError when the run starts.
        """
        self._only_before_start("set_warm_up")
        self._warmup, self._warmup_resolution = span, resolution

    set_warmup = set_warm_up

    @property
    def is_warming_up(self) -> bool:
        """Whether the run is still before its start date."""
        return self._engine.is_warming_up or (not self._locked and self._warmup is not None)

    @property
    def live_mode(self) -> bool:
        """Whether this is live: False in a backtest."""
        return self._engine.live

    @property
    def algorithm_mode(self) -> AlgorithmMode:
        """BACKTESTING, or LIVE."""
        return AlgorithmMode.LIVE if self._engine.live else AlgorithmMode.BACKTESTING

    @property
    def deployment_target(self) -> DeploymentTarget:
        """LOCAL_PLATFORM."""
        return DeploymentTarget.LOCAL_PLATFORM

    def get_locked(self) -> bool:
        """Whether initialize is over."""
        return self._locked

    # -- settings ----------------------------------------------------------------------------------------------------

    def set_name(self, name: str) -> None:
        """Names the run."""
        self.name = name

    def set_algorithm_id(self, algorithm_id: str) -> None:
        """Sets the run's id."""
        self.algorithm_id = algorithm_id

    def set_tags(self, tags: set[str]) -> None:
        """Sets the run's tags."""
        self.tags = list(tags)

    def add_tag(self, tag: str) -> None:
        """Adds a tag."""
        self.tags.append(tag)

    def get_parameter(self, name: str, default_value: Any = None) -> Any:
        """A parameter as the type of the default; None or the default when it is not given."""
        text = self.parameters.get(name)
        if text is None:
            return default_value
        if isinstance(default_value, bool) or default_value is None or isinstance(default_value, str):
            return text
        try:
            return type(default_value)(float(text)) if isinstance(default_value, int) else type(default_value)(text)
        except ValueError:
            return default_value

    def get_parameters(self) -> dict[str, str]:
        """All parameters."""
        return dict(self.parameters)

    def set_parameters(self, parameters: dict[str, str]) -> None:
        """Replaces the parameters."""
        self.parameters = dict(parameters)

    @signed("benchmark", "symbol", "security_type, symbol", "ticker")
    def set_benchmark(self, *what: Any) -> None:
        """The benchmark: a symbol, a ticker, (security type, ticker), or a function of the time."""
        self._only_before_start("set_benchmark")
        self._benchmark = what[-1]

    def benchmark_price(self) -> float:
        """The benchmark's value now: a subscribed security's price, a function's value, else 0."""
        given = self._benchmark
        if given is None:
            return 0.0 * self._engine.utc_ms
        if callable(given):
            return float(given(self.time))
        security = self.securities.get(given) if not isinstance(given, str) else None
        return 0.0 * self._engine.utc_ms if security is None else float(security.price)

    @property
    def benchmark(self) -> Any:
        """What was set as the benchmark."""
        return self._benchmark

    def set_security_initializer(self, security_initializer: Any) -> None:
        """What to do with each new security: an object with `initialize`, or a function."""
        self._only_before_start("set_security_initializer")
        self._initializers = [security_initializer]
        self._replaces_models = True

    def add_security_initializer(self, security_initializer: Any) -> None:
        """Adds to what is done with each new security."""
        self._initializers.append(security_initializer)

    @property
    def security_initializer(self) -> Any:
        """The security initializer: the brokerage's own until one is set."""
        return self._initializers[-1] if self._initializers else BrokerageModelSecurityInitializer(self.brokerage_model)

    def run_security_initializer(self, security: Any) -> None:
        """Runs the initializers on a new security."""
        for initializer in self._initializers:
            call = getattr(initializer, "initialize", None) or getattr(initializer, "Initialize", None) or initializer
            call(security)

    def set_brokerage_message_handler(self, handler: DefaultBrokerageMessageHandler) -> None:
        """Who judges what the broker says; heard live only."""
        self.brokerage_message_handler = handler

    def set_object_store(self, object_store: ObjectStore) -> None:
        """Replaces the object store."""
        self.object_store = object_store

    @property
    def universe_manager(self) -> LeanDictionary[Any]:
        """Universes by key."""
        return LeanDictionary(dict(self._engine.subscriptions.universes))

    @property
    def market_hours_database(self) -> Any:
        """Trading hours of all symbols."""
        return self._engine.source.hours

    @property
    def symbol_properties_database(self) -> Any:
        """Multipliers and ticks of all symbols."""
        return self._engine.source.properties

    @property
    def current_slice(self) -> Any:
        """The last slice; None before the first."""
        return self._engine.current_slice

    def is_market_open(self, symbol: Any) -> bool:
        """Whether regular trading of a symbol is open now."""
        hours = self._engine.hours_of(symbol)
        return bool(hours.is_open(zone_of(hours.time_zone).local(self._engine.utc_ms), False))

    def quit(self, message: str = "") -> None:
        """Ends the run before the next event."""
        self.debug(f"Quit(): {message}")
        self._engine.stop(message or "quit")

    def set_quit(self, quit: bool) -> None:
        """Ends the run before the next event."""
        if quit:
            self._engine.stop("quit")

    # -- callbacks ---------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Called once, first."""

    def post_initialize(self) -> None:
        """Called after initialize."""

    def on_warmup_finished(self) -> None:
        """Called when warm-up is over, or at the start without one."""

    def on_data(self, slice: Any) -> None:
        """Called with each slice that has data."""

    def on_securities_changed(self, changes: Any) -> None:
        """Called when securities came or went."""

    def on_framework_securities_changed(self, changes: Any) -> None:
        """Called after on_securities_changed."""

    def on_order_event(self, order_event: Any) -> None:
        """Called with each order event."""

    def on_assignment_order_event(self, assignment_event: Any) -> None:
        """Called after on_order_event when a short option was assigned."""

    def on_delistings(self, delistings: Any) -> None:
        """Called with warnings and delistings."""

    def on_splits(self, splits: Any) -> None:
        """Called with splits."""

    def on_dividends(self, dividends: Any) -> None:
        """Called with dividends."""

    def on_symbol_changed_events(self, symbols_changed: Any) -> None:
        """Called when tickers or continuous contracts change."""

    def on_margin_call(self, requests: list[Any]) -> list[Any]:
        """Called before margin call orders are sent; gives the list to send."""
        return requests

    def on_margin_call_warning(self) -> None:
        """Called when little margin is left."""

    def on_end_of_day(self, symbol: Any) -> None:
        """Called ten minutes before each security's close; without a parameter of its own at 23:58 (deprecated)."""

    def on_end_of_algorithm(self) -> None:
        """Called last."""

    def on_end_of_time_step(self) -> None:
        """Called at the end of each step in LEAN; never here."""

    def on_command(self, data: Any) -> bool | None:
        """Called with live commands: never in a backtest."""

    def on_brokerage_message(self, message_event: Any) -> None:
        """Called live only."""

    def on_brokerage_disconnect(self) -> None:
        """Called live only."""

    def on_brokerage_reconnect(self) -> None:
        """Called live only."""

    def follow_end_of_day(self, changes: Any) -> None:
        """Schedules on_end_of_day for what came, removes it for what went (BaseRealTimeHandler.cs
        OnSecuritiesChanged)."""
        if not self.overrides("on_end_of_day"):
            return
        if _positional_count(self.on_end_of_day) == 0:
            self._schedule_day_end()
            return
        for security in changes.added_securities:
            self._end_of_day[security.symbol] = self._schedule_security_end(security)
        for security in changes.removed_securities:
            event = self._end_of_day.pop(security.symbol, None)
            if event is not None:
                self._engine.scheduler.remove(event)

    def _schedule_security_end(self, security: Any) -> ScheduledEvent:
        engine = self._engine
        hours, zone, extended = security.exchange.hours, security.zone, security.is_extended_market_hours
        start = UTC.local(engine.utc_ms)
        now = engine.utc_ms

        def times() -> Any:
            for day in each_day(start, self._end):
                if hours.is_date_open(day, extended):
                    moment = zone.utc_ms(hours.get_last_daily_market_close(day, extended)) - END_OF_DAY_MS
                    if moment > now:
                        yield moment

        event = ScheduledEvent(f"{security.symbol}.EndOfDay", times(), lambda: self.on_end_of_day(security.symbol))
        engine.scheduler.add(event, now)
        return event

    def _schedule_day_end(self) -> None:
        if None in self._end_of_day:
            self._engine.scheduler.remove(self._end_of_day[None])
        now = self._engine.utc_ms
        zone = self._engine.zone
        start = zone.local(now)

        def times() -> Any:
            for day in each_day(start, self._end):
                if any(security.exchange.hours.is_date_open(day) for security in self.securities.values()):
                    moment = zone.utc_ms(day + timedelta(hours=23, minutes=58))
                    if moment > now:
                        yield moment

        without_symbol: Any = self.on_end_of_day  # the deprecated form takes no parameter
        event = ScheduledEvent("Algorithm.EndOfDay", times(), without_symbol)
        self._end_of_day[None] = event
        self._engine.scheduler.add(event, now)

    # -- start -------------------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """initialize is over: the clock goes to the first instant, warm-up included."""
        engine = self._engine
        engine.warmup_end_ms = engine.zone.utc_ms(self._start)
        engine.end_ms = engine.zone.utc_ms(self._end + timedelta(days=1)) - 1
        engine.start_ms = engine.warmup_end_ms
        if self._warmup is not None:
            asked = self._warmup_resolution, self.settings.warm_up_resolution, self.settings.warmup_resolution
            resolution = next((one for one in asked if one is not None), None)
            engine.subscriptions.warm_up_resolution = resolution
            engine.start_ms = self.warmup_start(self._warmup, resolution)
            engine.is_warming_up = engine.start_ms < engine.warmup_end_ms
        engine.utc_ms = engine.data_ms = engine.start_ms
        self._locked = True


_WAITING: list[Engine] = []


def _waiting_engine() -> Engine:
    if not _WAITING:
        raise RuntimeError("a QCAlgorithm is made by the engine: run it with simulation.runner.run_backtest")
    return _WAITING[-1]


class waiting_for:  # noqa: N801 - reads as a statement
    """While active, a new algorithm belongs to this engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        _WAITING.append(self._engine)

    def __exit__(self, *_: object) -> None:
        _WAITING.remove(self._engine)


def _date_of(when: tuple[Any, ...]) -> datetime:
    if len(when) == 1 and isinstance(when[0], date):
        return datetime(when[0].year, when[0].month, when[0].day)
    year, month, day = when
    return datetime(int(year), int(month), int(day))


def _positional_count(method: Callable[..., Any]) -> int:
    return len(
        [
            p
            for p in inspect.signature(method).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    )

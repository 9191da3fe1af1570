"""The whole system without an engine: builds every manager, and takes what happens as plain calls.

``main.py`` calls it from LEAN's callbacks; tests call it with a gateway of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from core.book import Book
from core.bus import EventBus
from core.cache import UnifiedIntelligentCache
from core.clock import MarketClock
from core.events import (
    Command,
    CommandReceived,
    DeadlineReached,
    EntryAhead,
    EntryWindow,
    Event,
    MarketData,
    MinutePassed,
    Request,
    RestEnded,
    SessionClosed,
    SessionOpened,
)
from core.factory import ManagerFactory, Managers
from core.gateway import Gateway, Session
from core.identifiers import Identifiers, correlation_of
from core.journal import Journal, JournalSink, RecordKind
from core.performance import PerformanceTracker
from core.running.notices import Messenger, Notifier, Silence
from core.settings.fields import Settings
from core.storage import Storage
from execution.executor import AtomicExecutor
from execution.reckoning import AccountReckoning, ShareSeller
from execution.recovery import BrokerLooks, OrderRecovery
from execution.tracker import PositionTracker
from greeks.marks import ChainPlanner, Marks
from greeks.monitor import GreeksMonitor
from greeks.service import CentralGreeksService
from greeks.stress import StressEngine
from market.calendar import EventCalendar
from market.chains import OptionChainManager
from market.freshness import DataFreshnessValidator, HeldQuotes, QuoteJudge
from market.history import Correlations, DailyHistory
from market.trend import TrendWatcher
from market.vix import VIX, UnifiedVIXManager
from risk.breakers import CircuitBreakerPlugin
from risk.commands import CommandDesk, HealthCheck, RiskStatus
from risk.drawdown import DrawdownPlugin
from risk.emergency import EmergencyProtocol
from risk.equity import InterestBooking, PhaseManager, SteadyEquity
from risk.exposure import ConcentrationPlugin, CorrelationPlugin, OverlapPlugin
from risk.group_risk import GroupRisk, GroupStressPlugin
from risk.limits import (
    AssignmentPlugin,
    BlackSwanPlugin,
    EventsPlugin,
    FreshnessPlugin,
    GreeksLimitsPlugin,
    LiquidityPlugin,
    PhasePlugin,
    VixPanicPlugin,
    VixRegimePlugin,
)
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures, MarginPlugin
from risk.memory import RiskMemory
from risk.records import ExposureDiary, LimitUses, RiskRecord
from risk.sizing import PositionSizer
from state.guard import StateCopies
from state.manager import HierarchicalStateManager
from state.recovery import Recovery
from state.store import StateStore, StoreOptions
from strategies.base import next_entries
from strategies.box import Box
from strategies.butterfly import Butterfly
from strategies.capacity import Capacity
from strategies.coordinator import QuietMinutes, StrategyCoordinator
from strategies.diagonal import Diagonal
from strategies.enhanced import Enhanced
from strategies.friday_0dte import FridayZeroDay
from strategies.futures_strangle import FuturesStrangle
from strategies.ipmcc import Ipmcc
from strategies.leap_ladder import LeapLadder
from strategies.lt112 import Lt112
from strategies.ratio import Ratio
from strategies.rests import Bands
from strategies.roster import DecisionRecord, EntryPreparer, StrategyRoster
from strategies.tools import Analysis, MarketAccess, Tools, VolatilityRanks

ALWAYS = ("VIX", "SPY", "SPX")
"""What the account's own rules rest on, whatever runs; the index last, so that its rules see the minute's VIX."""

MANAGERS: tuple[type, ...] = (
    UnifiedIntelligentCache,
    Notifier,
    HierarchicalStateManager,
    Recovery,
    DailyHistory,
    Correlations,
    CentralGreeksService,
    StressEngine,
    GreeksMonitor,
    UnifiedVIXManager,
    DataFreshnessValidator,
    TrendWatcher,
    EventCalendar,
    OptionChainManager,
    QuoteJudge,
    HeldQuotes,
    Marks,
    VolatilityRanks,
    MarketAccess,
    SteadyEquity,
    RiskMemory,
    MarginFigures,
    GroupRisk,
    PhaseManager,
    PhasePlugin,
    VixRegimePlugin,
    VixPanicPlugin,
    FreshnessPlugin,
    CircuitBreakerPlugin,
    DrawdownPlugin,
    BlackSwanPlugin,
    CorrelationPlugin,
    ConcentrationPlugin,
    OverlapPlugin,
    EventsPlugin,
    AssignmentPlugin,
    GroupStressPlugin,
    LiquidityPlugin,
    GreeksLimitsPlugin,
    MarginPlugin,
    PositionSizer,
    UnifiedRiskManager,
    EmergencyProtocol,
    RiskRecord,
    LimitUses,
    ExposureDiary,
    HealthCheck,
    RiskStatus,
    CommandDesk,
    PositionTracker,
    PerformanceTracker,
    InterestBooking,
    AtomicExecutor,
    ShareSeller,
    BrokerLooks,
    OrderRecovery,
    AccountReckoning,
    ChainPlanner,
    Analysis,
    Tools,
    FridayZeroDay,
    Lt112,
    FuturesStrangle,
    LeapLadder,
    Ipmcc,
    Ratio,
    Butterfly,
    Box,
    Diagonal,
    Enhanced,
    DecisionRecord,
    StrategyRoster,
    Capacity,
    EntryPreparer,
    StrategyCoordinator,
    QuietMinutes,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the system stands in: the engine, where state and journal go, and whether each write waits for the disk.

    ``copies``: where the state is saved a second time, to outlive the machine (live).
    """

    gateway: Gateway
    storage: Storage
    sink: JournalSink
    durable: bool
    copies: StateCopies | None = None
    messenger: Messenger = field(default_factory=Silence)


class TradingSystem:
    """All managers of one run, and the calls by which the market reaches them."""

    def __init__(self, surroundings: Surroundings, settings: Settings, start: datetime) -> None:
        self.gateway = surroundings.gateway
        self.settings = settings
        self.clock = MarketClock(start)
        self.journal = Journal(surroundings.sink, self.clock)
        self.bus = EventBus(self.journal)
        self.book = Book()
        self.managers = self._build(surroundings)
        self.coordinator = self.managers[StrategyCoordinator]
        self.tickers = self._tickers()
        self._history, self._chains = self.managers[DailyHistory], self.managers[OptionChainManager]
        self._state = self.managers[HierarchicalStateManager]
        self._recovery = self.managers[OrderRecovery]
        self.reckoning = self.managers[AccountReckoning]
        self._ranks, self._roster = self.managers[VolatilityRanks], self.managers[StrategyRoster]
        self._live, self._idle_minutes = self.gateway.is_live(), settings.market.idle_minutes
        self._session: Session | None = None
        self._priced_at: datetime | None = None
        self._told: set[str] = set()
        self._quiet = self.managers[QuietMinutes]
        self._minute_at: datetime | None = None
        self._passed_at: datetime | None = None
        self.bus.serve(Request.STATUS_LINES, self.status)

    def _build(self, surroundings: Surroundings) -> Managers:
        factory = ManagerFactory()
        factory.provide(self.gateway, as_type=Gateway, on_lean_thread=True)
        factory.provide(surroundings.messenger, as_type=Messenger, on_lean_thread=True)
        options = StoreOptions(durable=surroundings.durable)
        store = StateStore(surroundings.storage, options, copies=surroundings.copies)
        for ready in (self.clock, self.journal, self.bus, self.book, Identifiers(self.clock), store):
            factory.provide(ready)
        for name in type(self.settings).model_fields:
            factory.provide(getattr(self.settings, name))
        for manager in MANAGERS:
            factory.register(manager)
        return factory.build()

    # What the market brings

    def start(self, *, stood_by: bool = False) -> None:
        """Take over: load history, rebuild and reconcile state, and begin to trade.

        ``stood_by``: another process traded after this one's engine read the account.
        """
        self.gateway.watch(self.tickers)
        for line in self.settings.accepted():
            self.journal.record(RecordKind.SYSTEM, component="settings", reason=line)
        self.managers[RiskRecord].restore()
        self.coordinator.restore()
        self._recovery.start(stood_by=stood_by)
        self.reckoning.start()
        self.tickers = self._tickers()  # what was found to be held may be of a strategy that is not enabled
        self.gateway.watch(self.tickers)
        for ticker in self.tickers:
            self._history.refresh((ticker,))
        self.managers[Capacity].tell(self.clock.now().date())

    def open_session(self, now: datetime) -> None:
        """The first minute of a session is in (or, live, the first that a process sees that started within it)."""
        self.clock.advance(now)
        if (session := self.gateway.session(now.date())) is None or self._session == session:
            return
        self._session = session
        # What the data lacks is not asked for again each day.
        self._history.refresh([row for row in self.tickers if row in ALWAYS or self.gateway.tick(row) is not None])
        self._ranks.refresh(self._roster.ranked_on(session.day), session.day)
        self.bus.publish(SessionOpened(time=now, day=session.day, closes_at=session.closes_at))
        self._recovery.reconcile()
        self._publish_prices(now)

    def _tickers(self) -> tuple[str, ...]:
        """What is watched: what the account's rules rest on, and what the strategies that run look at; the index last,
        so that its rules see the minute's VIX."""
        wanted = (ticker for strategy in self.coordinator.managing for ticker in strategy.underlyings())
        return tuple(dict.fromkeys((*ALWAYS[:-1], *(row for row in wanted if row not in ALWAYS), ALWAYS[-1])))

    def _held(self) -> set[str]:
        """Prices that what is held or looked at rests on: futures under options, and shares of assignments."""
        keys = {position.underlying.price_key for position in self.book.exposed()}
        return keys | set(self.book.shares) | self._chains.price_keys

    def does_without(self, ticker: str) -> bool:
        """Whether nothing that is enabled or held needs a ticker: a market without it is then not complained of."""
        return ticker in self.managers[Capacity].spare and ticker not in ALWAYS and ticker not in self._held()

    @property
    def in_session(self) -> bool:
        """Whether a session is open by what was told."""
        return self._session is not None

    def rests(self, now: datetime) -> bool:
        """Whether a minute of a backtest's session is one that nobody looks at: nothing is ordered or waited for, and
        nothing is held of which anything could be due at these prices (decision 046).

        Live, and while anything is still to be settled, none is.
        """
        if self._session is None or self._live or not self._recovery.settled:
            return False
        if not self.coordinator.is_active:
            return now.minute % self._idle_minutes != 0 or self._quiet.stands(now)
        return self._quiet.is_quiet(now)

    def rests_while(self) -> tuple[datetime, Bands] | None:
        """Until when, and while which prices stay where, ``rests`` is true; ``None``: it has to be asked."""
        if self._live or not self._recovery.settled:
            return None
        return self._quiet.lasts() if self._session is not None else (datetime.max, ())

    def minute(self, now: datetime) -> None:
        """A minute's prices are in; told twice (LEAN does so after contracts were added), it is one minute."""
        if now == self._minute_at:
            return
        self._minute_at = now
        session = self._session
        if self._live:
            self.pass_time(now)
        if session is None:
            self._join_session(now)
        if session is None or now > session.closes_at:
            return
        if not self._recovery.settled or (self._live and self._recovery.is_due(now)):
            self.clock.advance(now)
            self._recovery.reconcile()
        if self._live and self._recovery.settled and session is not None:
            self.clock.advance(now)
            self._publish_prices(now)
            self.coordinator.catch_up(now)
        active = self.coordinator.is_active
        if not active and now.minute % self._idle_minutes:
            return
        self.clock.advance(now)
        if active and self._quiet.stands(now):
            self._publish(self._quiet.due(now), now)
            self.bus.publish(RestEnded(time=now))
            self._quiet.glanced()
            return
        self._publish_prices(now)
        if active:
            self.bus.publish(MinutePassed(time=now))
        self._quiet.looked(now, ALWAYS)

    def pass_time(self, now: datetime) -> None:
        """Live, once a minute of any day: save what must outlive the machine, tell a person what there is to tell.

        Outside of a session a start looks at the broker here, until what it found is certain.
        """
        if now == self._passed_at:
            return
        self._passed_at = now
        self.clock.advance(now)
        if self._session is None and not self._recovery.settled:
            self._recovery.reconcile()
        elif self._session is None:
            self.coordinator.after_close(now)
        self._state.keep()
        self.journal.keep()
        self.managers[Notifier].pass_minute(now, self.in_session)

    def _join_session(self, now: datetime) -> None:
        """A process that started within a session must look after what it holds today, not from tomorrow on."""
        session = self.gateway.session(now.date()) if self.gateway.is_live() else None
        if session is not None and session.opens_at < now < session.closes_at:
            self.open_session(now)

    def _publish_prices(self, now: datetime) -> None:
        tickers = self.tickers
        others = self._held().difference(tickers)
        self._publish((*sorted(others), *tickers) if others else tickers, now)

    def _publish(self, tickers: Iterable[str], now: datetime) -> None:
        gateway, publish = self.gateway, self.bus.publish
        if self._priced_at != now:
            self._priced_at, self._told = now, set()
        for ticker in tickers:
            if ticker in self._told:
                continue  # a price is told once a minute
            self._told.add(ticker)
            tick = gateway.tick(ticker)
            if self._live and (tick is not None or not self.does_without(ticker)):
                self.managers[DataFreshnessValidator].source(ticker, tick, now)
            if tick is not None and (told := MarketData.of(ticker, tick, now)) is not None:
                publish(told)

    def entry_ahead(self, now: datetime, strategy: str, window: str) -> None:
        """A strategy's window will open in some minutes."""
        tickers = self.managers[EntryPreparer].looks_at(strategy, window, now.date())
        if tickers and self._session is not None and self._session.day == now.date():
            self.clock.advance(now)
            self._publish((VIX, *tickers), now)
            self.bus.publish(EntryAhead(time=now, strategy=strategy, window=window))

    def entry_window(self, now: datetime, strategy: str, window: str) -> None:
        """A strategy's window opened (on a closed day too: the decision is then a skip)."""
        if not self._roster.opens(strategy, window, now.date()):
            return  # it is another day's: nobody looks
        self.clock.advance(now)
        if self._session is not None and self._session.day == now.date():
            if self._live and not self._recovery.settled:
                return  # nothing may open yet: once it may, the window is caught up with, or accounted for
            self._publish_prices(now)
        correlation = correlation_of(strategy, now.date())
        self.bus.publish(EntryWindow(time=now, correlation=correlation, strategy=strategy, window=window))

    def deadline(self, now: datetime, strategy: str, deadline: str) -> None:
        """A time has come at which something must be looked at."""
        self.clock.advance(now)
        if self._session is not None and self._session.day == now.date() and self.book.positions:
            self._publish_prices(now)
            self.bus.publish(DeadlineReached(time=now, strategy=strategy, deadline=deadline))

    def close_session(self, now: datetime) -> None:
        """The session's regular close."""
        self.clock.advance(now)
        if (session := self._session) is None:
            return
        self._publish_prices(now)
        self._quiet.ends()
        if self._live:
            self.coordinator.catch_up(now, closed=True)
        self.bus.publish(SessionClosed(time=now, day=session.day, equity=self.gateway.account().equity))
        self._session = None

    def figures(self) -> dict[str, str]:
        """What the engine's own screen shows beside the equity."""
        record = self.managers[PerformanceTracker].total()
        won = "none yet" if record.win_rate is None else f"{record.win_rate:.0%} of {record.trades}"
        return {
            "Trades won": won,
            "Trade profit": f"{record.profit:,.0f}",
            "Phase": str(self.managers[PhaseManager].phase),
            "Open positions": str(len(self.book.positions)),
            "Entries": "allowed" if self.bus.entries_halted is None else f"halted: {self.bus.entries_halted}",
        }

    def happened(self, event: Event) -> None:
        """An order event, a reconnection, or anything else that the engine reports."""
        self._quiet.ends()
        self.clock.advance(event.time)
        self.bus.publish(event)

    def failed(self, error: Exception) -> None:
        """Something raised where nothing may end the run: told, and nothing new opens until a person resumes."""
        detail = f"{type(error).__name__}: {error}"
        self.journal.record(RecordKind.ERROR, component="main", reason="failed outside of every handler", detail=detail)
        self.bus.halt_entries(f"main failed: {detail}")

    def command(self, now: datetime, command: Command, subject: str = "") -> str:
        """A person's word, and what is answered: that it was taken, and how things stand after it."""
        self.happened(CommandReceived(time=now, command=command, subject=subject))
        answered = self.managers[CommandDesk].last
        taken = "not answered" if answered is None else ("taken" if answered.accepted else "refused")
        said = "not answered" if answered is None else answered.answer
        whole = said if command is Command.STATUS else f"{said}\n{self.managers[RiskStatus].text(now)}"
        return f"{command.value} {subject}".strip() + f" {taken} at {now:%H:%M}\n{whole}"

    def status(self) -> list[str]:
        """What risk's own status does not say, a line each: cash, orders, limits, windows, data, records."""
        account, now, looked = self.gateway.account(), self.clock.now(), self._roster.decisions.has_looked
        return [
            f"equity {account.equity:,.2f}, cash {account.cash:,.2f}",
            ", ".join(f"{name.lower()} {value}" for name, value in self.figures().items()),
            *self.managers[AtomicExecutor].why(),
            self.managers[ExposureDiary].line(),
            *next_entries(self.coordinator.strategies, now, self.managers[Tools].is_open, looked),
            self.managers[DataFreshnessValidator].line(now),
            *self.managers[PerformanceTracker].lines(),
            *self.settings.accepted(),
        ]

    def end(self, now: datetime) -> None:
        """The run is over."""
        self.clock.advance(now)
        self.coordinator.finish(now, () if self.gateway.is_live() else self._days())
        self.reckoning.finish()
        for order in self.gateway.open_orders():
            left = f"still works at the broker at the end: {order.quantity:g} {order.name} ({order.tag or 'no tag'})"
            self.journal.record(RecordKind.SYSTEM, component="main", reason=left)
        self.journal.record(
            RecordKind.SYSTEM,
            component="main",
            reason="run ended",
            events=self.bus.published,
            errors=self.bus.errors,
            cache=self.managers[UnifiedIntelligentCache].statistics,
        )
        self._state.close()
        self.journal.close()

    def hand_over(self, now: datetime, other: str) -> None:
        """Another process takes over: nothing is decided, cancelled or sent here; state and journal are left to it."""
        self.clock.advance(now)
        self.journal.record(RecordKind.SYSTEM, component="main", reason=f"handed over to {other}")
        self._state.close()
        self.journal.close()

    def abandon(self) -> None:
        """Another process took over while this one stood still: what is on disk is not touched any more."""
        self._state.abandon()

    def _days(self) -> list[date]:
        """Every calendar day of the backtest."""
        run = self.settings.run
        return [run.start + timedelta(days=count) for count in range((run.end - run.start).days + 1)]

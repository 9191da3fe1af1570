"""One seed's week: a system on a faulty broker, killed and restarted on the way, and what became of it."""

# Private: _unwinds (a disk that fails just then), _deliver (what comes twice at once), _approve (what risk would mint),
# _strategies (the roster knows the method's rows only), _subscriptions (rooms that this week does without).

from __future__ import annotations

import shutil
import tempfile
import time as clocks
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path

import state.store
from core.book import Refusal
from core.contracts import Right
from core.events import Command, EntriesAllowed, NoticeRaised
from core.journal import MemorySink, RecordKind
from core.running.inbox import Inbox
from core.settings.fields import Settings
from core.storage import FolderStorage
from execution.executor import AtomicExecutor
from risk.manager import UnifiedRiskManager
from risk.proposal import Decision, Proposal
from simulation.faults.chance import Faults
from simulation.faults.kinds import QUOTES, RATES, Fault, FaultSettings, faults_of
from state.store import StateStore
from state.tables import UnwrittenError
from tests.campaign.disk import FaultyDisk
from tests.campaign.gateway import KilledError, TwiceAtOnce
from tests.campaign.invariants import Rule, Violation, Watch
from tests.campaign.market import AFTER, MONDAY, WEEK, Weather
from tests.campaign.odd import ODD, OddGateway, Oddity
from tests.every_structure import LARGE, NAME, OPENED, TWINS, install
from trading_system import Surroundings, TradingSystem

FRIDAY_0DTE = "friday_0dte"
_IN_BACKTESTS = frozenset({*QUOTES, Fault.REFUSED, Fault.REJECTED, Fault.ASSIGNED})
"""What a backtest of LEAN can bring; the rest needs a broker that is somewhere else, and processes that end."""
CALM = frozenset[Fault]()
_LOST_SIGN = "LEAN may have lost a fill"
_CASH = 5_000_000.0
_MOST_RESTARTS = 40
_UNWOUND = {Oddity.FULL: Fault.DISK, Oddity.ENDED: Fault.KILLED}
_NEEDS = {
    Oddity.FULL: Fault.DISK,
    Oddity.ENDED: Fault.KILLED,
    Oddity.AFTER_OUTAGE: Fault.DISCONNECTED,
    Oddity.PART_REJECTED: Fault.QUANTITY_PARTLY,
    Oddity.TOLD_AGAIN: Fault.QUANTITY_PARTLY,
    Oddity.GHOST: Fault.LEGS_PARTLY,
}
"""Faults without which an oddity has no occasion."""
_WHILE_UNWOUND = 0.2
_PARTS_TWICE = frozenset({Fault.QUANTITY_PARTLY, Fault.DUPLICATED})
_OFTEN = 0.6
"""How often both strike where they are a week's pair, and what comes twice comes at once: a part that is told again
after the rest of its order is one too many whoever counts it."""
_BEFORE_DUE = 14
_DUE = {True: time(11, 0), False: time(15, 0)}
"""When the made-up strategy acts, and Friday 0DTE."""
_UNHEARD = {True: 0.06, False: 0.0}
"""How often a person trades whom nobody hears: in the minutes before something is due, and else."""
_ASIDE = ("risk", "greeks_monitor", "diary")
_SHOWN = (
    "group", "action", "purpose", "contracts", "limit_cash", "contract", "quantity", "price", "position", "part",
    "profit", "difference", "subject", "expected", "observed", "reason", "detail",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed runs. ``said``: what a person says, and when."""

    seed: int
    strategy: str
    slots: tuple[str, ...]
    live: bool
    on: frozenset[Fault]
    said: tuple[tuple[datetime, Command], ...] = ()
    odd: frozenset[Oddity] = frozenset()

    @property
    def unheard(self) -> bool:
        """Whether no report tells what a person trades, who does so before something is due: tastytrade tells none."""
        return self.seed // 10 % 7 in (4, 5)

    def __str__(self) -> str:
        what = self.strategy if not self.slots else f"{self.strategy} ({', '.join(self.slots)})"
        on = ", ".join(sorted(self.on)) if len(self.on) < len(Fault) else "every fault"
        also = "".join(f"; {oddity.value}" for oddity in Oddity if oddity in self.odd)
        return f"seed {self.seed}: {what}, {'live' if self.live else 'as a backtest'}; {on or 'no fault'}{also}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a seed's week. ``story`` is empty unless it was asked for."""

    plan: Plan
    violations: tuple[Violation, ...]
    struck: Counter[Fault]
    orders: int
    fills: int
    restarts: int
    seconds: float
    story: tuple[str, ...] = ()


def plan_of(seed: int) -> Plan:
    """Strategy, mode, faults and a person's words by seed alone."""
    faults = Faults(FaultSettings(seed, CALM), lambda: datetime.combine(MONDAY, time(9, 30)))
    on = faults_of(seed)
    structures = seed % 2 == 1
    slots = tuple(faults.some(tuple(OPENED))[:3]) if structures else ()
    extra = tuple(LARGE) if seed % 8 == 7 else tuple(TWINS) if seed % 8 == 3 else ()
    first = seed % 16 == 7 or seed % 32 in (3, 27)  # live two entries leave within a second, and a third is held back
    slots = (*extra, *slots) if first else (*slots, *extra)
    said: list[tuple[datetime, Command]] = []
    days = (WEEK[0], faults.pick(WEEK[1:4])) if structures else (WEEK[-1], WEEK[-1])
    for command, day in zip((Command.HALT, Command.CLOSE_ALL), days, strict=True):
        if faults.count(5) == 1:  # a halt while entries work, an emergency while what they opened is held
            start = time(10, 0) if structures else time(10, 30)
            late = faults.count(5) if command is Command.HALT else 10 + faults.count(60)
            said.append((datetime.combine(day, start) + timedelta(minutes=late), command))
    live = faults.count(2) == 1 or not on <= _IN_BACKTESTS
    return Plan(seed, NAME if structures else FRIDAY_0DTE, slots, live, on, tuple(said))


def odd_plan_of(seed: int) -> Plan:
    """A week over a broker that misbehaves beyond the layer: pairs and triples in turn, half of them with faults."""
    plan, odd = plan_of(seed), ODD[seed % len(ODD)]
    on = plan.on if seed // 2 % 2 else CALM
    on |= {fault for oddity, fault in _NEEDS.items() if oddity in odd}
    return replace(plan, on=on, odd=odd, live=True)


def moments(plan: Plan) -> Iterator[datetime]:
    """The minutes that are run, counted from 9:30 on each day, and a quiet hour of the Monday after.

    Where a person trades unheard, those between the last look at the account and what is due are run one by one.
    """
    before = _BEFORE_DUE if plan.unheard else 2
    busy = (2, 3, *range(30, 46), *range(90 - before, 100), 105, 120, 150, 240, *range(380, 391))
    last = 330 - before if plan.unheard else 330
    friday = (1, 2, *range(56, 80), *range(80, last, 10), *range(last, 368), 390)
    for day in WEEK:
        if plan.slots:
            chosen: tuple[int, ...] = busy
        else:
            chosen = friday if day == WEEK[-1] else (2, 390)
        yield from (datetime.combine(day, time(9, 30)) + timedelta(minutes=minute) for minute in chosen)
    yield from (datetime.combine(AFTER, time(9, 32)) + timedelta(minutes=minute) for minute in range(45))


class Week:
    """The processes of one seed, one after the other, on one broker and one disk."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.now = datetime.combine(MONDAY, time(9, 30))
        self.faults = Faults(FaultSettings(plan.seed, plan.on), lambda: self.now)
        weather = Weather(plan.seed, fall=0.07 if Fault.ASSIGNED in plan.on else 0.0)
        volatility = 24.0 if plan.strategy == FRIDAY_0DTE else 20.0
        self.gateway = OddGateway(
            self.now, weather.spot, lambda _: volatility, folder, cash=_CASH, faults=self.faults, weather=weather
        )
        self.gateway.odd = plan.odd
        self.gateway.live, self.gateway.named = plan.live, plan.seed // 2 % 2 == 1
        self.gateway.person_is_heard = not plan.unheard
        if plan.on == _PARTS_TWICE:
            self.gateway.reports = TwiceAtOnce(self.faults, self.gateway._deliver)
        self.sink = MemorySink()
        self.watch = Watch(self.gateway, self.sink, bool(plan.slots), plan.on, Settings().orders)
        self.watch.odd = plan.odd
        self.gateway.watcher = self.watch
        self.restarts = 0
        self.system: TradingSystem | None = None
        self.inbox = Inbox()
        self._said = sorted(plan.said)
        self._told_at: datetime | None = None
        self._store: StateStore | None = None
        self._story: list[tuple[datetime, str]] = []

    # Processes

    def close(self) -> None:
        """Let go of the files."""
        if self._store is not None:
            self._store.close()

    def start(self) -> None:
        """A process that starts, and starts again where it is killed on the way."""
        while self.system is None and self.restarts <= _MOST_RESTARTS:
            disk = FaultyDisk(self.faults)
            try:
                self.system = self._built(disk)
            except KilledError:
                self._ended()
            except Exception as error:  # whatever it is, a start that fails is what is looked for
                if Fault.DISK in self.plan.on and _by_the_disk(error):
                    self._ended()  # what the disk refuses a start, the next one does
                    continue
                self._impossible(error)
                return

    def _impossible(self, error: Exception) -> None:
        self.watch.tell(Rule.RESTART, f"{type(error).__name__}: {error}")

    def _built(self, disk: FaultyDisk) -> TradingSystem:
        (self.gateway.folder / "state" / "state" / "lock").unlink(missing_ok=True)  # a dead process holds no lock
        original = state.store.Disk
        state.store.Disk = lambda: disk  # type: ignore[misc, assignment]
        try:
            parameters = {"run.strategies": FRIDAY_0DTE, "cache.max_bytes": "1000000"}
            settings = Settings.from_parameters(parameters)
            storage = FolderStorage(self.gateway.folder / "state", durable=False)
            surroundings = Surroundings(self.gateway, storage, self.sink, durable=False)
            system = TradingSystem(surroundings, settings, self.now)
        finally:
            state.store.Disk = original  # type: ignore[misc]
        self._store = system.managers[StateStore]
        if self.plan.slots:
            system.coordinator._strategies.clear()
            install(system, self.plan.slots)
            _set_aside_risk(system)
        self.inbox = Inbox(self._failed)
        self.watch.system = system
        act = self.inbox.leave if self.plan.live else self.inbox.take
        self.gateway.inbox = lambda event: act(lambda: system.happened(event))
        system.bus.subscribe(NoticeRaised, self._noticed, component="person")
        system.bus.subscribe(EntriesAllowed, self._answered, component="person")
        system.start()
        self.inbox.drain()
        return system

    def _noticed(self, event: NoticeRaised) -> None:
        """A sign of a lost fill is told whatever else has halted entries already."""
        if _LOST_SIGN in event.text:
            self._told_at = self._told_at or self.now

    def _answered(self, _event: EntriesAllowed) -> None:
        self._told_at = None

    def _ended(self) -> None:
        """The process is gone; the broker, the disk and the journal are what they were."""
        if self._store is not None:
            self._store.close()
        self._store = self.system = None
        self.watch.process_ended()
        self.gateway.process_ended()
        self.inbox = Inbox()
        self.restarts += 1
        self._told_at = None
        self._story.append((self.now, "the process ended; another one starts"))

    def _failed(self, error: Exception) -> None:
        """What left every handler: told, as main.py does."""
        disk = isinstance(error, OSError) and Fault.DISK in self.plan.on
        if not disk:
            self.watch.tell(Rule.ERROR, f"{type(error).__name__}: {error}")
        if self.system is not None:
            self.system.failed(error)

    # The week

    def run(self) -> None:
        """Every minute of the week, then a quiet hour, a last restart, and the account's books."""
        for moment in moments(self.plan):
            self.now = self.gateway.time = moment
            if moment.date() == AFTER and self.faults.settings.on:
                self._calm()
            self._alive_or_again(partial(self._minute, moment))
            if self.system is not None and moment.time() == time(16, 0):
                self._alive_or_again(partial(self._night, moment))
            if self.system is None:
                return
        self.watch.end(_CASH)

    def _alive_or_again(self, act: Callable[[], None]) -> None:
        """Let something happen; where the process is killed by it, another one starts."""
        try:
            act()
        except KilledError:
            self._ended()
            self.start()

    def _night(self, moment: datetime) -> None:
        """What ends today is settled, whoever is there to hear of it."""
        held = self.gateway.held.items()
        self.watch.settles([name for name, (contract, _) in held if contract.expiry == moment.date()])
        self.gateway.expire(moment.date())
        self.now = self.gateway.time
        self.inbox.drain()

    def _calm(self) -> None:
        """From here on nothing goes wrong any more; live, one more process takes over."""
        self.faults.settings = replace(self.faults.settings, on=CALM)
        if self.plan.live:
            self._ended()
            self.start()

    def _minute(self, moment: datetime) -> None:
        if self.system is None:
            self.start()
        system = self.system
        if system is None:
            return
        self._set_rates(moment, system)
        self.gateway.pass_minute()
        self.inbox.drain()
        if self._warned(moment):
            self._ended()
            self.start()
            if self.system is not None:
                self._resume(self.system, moment)
            return
        if moment.time() <= time(9, 33):
            self.inbox.take(lambda: system.open_session(moment))
            self._resume(system, moment)
        self._windows(system, moment)
        while self._said and moment >= self._said[0][0]:
            self._say(system, moment, self._said.pop(0)[1])
        self.inbox.take(lambda: system.minute(moment))
        self.inbox.drain()
        if moment.date() != AFTER or moment.time() > time(10, 0):
            self.watch.minute()
        if moment.time() == time(16, 0):
            self.inbox.take(lambda: system.close_session(moment))

    def _set_rates(self, moment: datetime, system: TradingSystem) -> None:
        """How often a person trades, and how often the disk fails or the process ends, is not the same each minute."""
        rates = dict(RATES)
        if self.plan.unheard:
            left = datetime.combine(moment.date(), _DUE[bool(self.plan.slots)]) - moment
            rates[Fault.MANUAL] = _UNHEARD[timedelta(0) <= left <= timedelta(minutes=_BEFORE_DUE)]
        if self.plan.on == _PARTS_TWICE:
            rates |= dict.fromkeys(_PARTS_TWICE, _OFTEN)
        if self.plan.slots[:1] == tuple(LARGE):  # so that the first of its orders ends in part now and then
            rates |= dict.fromkeys((Fault.LEGS_PARTLY, Fault.QUANTITY_PARTLY), _OFTEN)
        if system.managers[AtomicExecutor]._unwinds.positions:
            rates |= {fault: _WHILE_UNWOUND for oddity, fault in _UNWOUND.items() if oddity in self.plan.odd}
        self.faults.settings = replace(self.faults.settings, rates=rates)

    def _windows(self, system: TradingSystem, moment: datetime) -> None:
        for strategy in system.coordinator.strategies:
            for window in strategy.entry_windows():
                early = datetime.combine(moment.date(), window.opens) - moment
                if not window.falls_on(moment.date()):
                    continue
                if timedelta(0) < early <= timedelta(minutes=5):
                    self.inbox.take(partial(system.entry_ahead, moment, strategy.name, window.name))
                if not early:
                    self.inbox.take(partial(system.entry_window, moment, strategy.name, window.name))

    def _warned(self, moment: datetime) -> bool:
        """Whether a person who was told that LEAN may have lost a fill starts it anew: ten minutes later (048)."""
        waited = self._told_at is not None and moment - self._told_at >= timedelta(minutes=10)
        return waited and self.plan.live and not self.gateway.is_down

    def _resume(self, system: TradingSystem, moment: datetime) -> None:
        """Each morning a person looks and lets the system go on, as far as it may."""
        if system.bus.entries_halted is not None:
            self._say(system, moment, Command.RESUME)

    def _say(self, system: TradingSystem, moment: datetime, command: Command) -> None:
        self._story.append((moment, f"a person says {command.value}; halted: {system.bus.entries_halted or 'no'}"))
        self.inbox.take(lambda: system.command(moment, command))

    # What is told

    def story(self) -> tuple[str, ...]:
        """What was injected, what people did, what the system did, and what was wrong, in order."""
        rows = [(row.time, str(row)) for row in self.faults.story]
        rows += [(moment, f"{moment:%a %H:%M} -- {words}") for moment, words in self._story]
        rows += [(row.time, str(row)) for row in self.watch.violations]
        kinds = (RecordKind.ORDER, RecordKind.FILL, RecordKind.TRADE_CLOSED, RecordKind.RECONCILIATION)
        told = [row for kind in (*kinds, RecordKind.SYSTEM, RecordKind.ERROR) for row in self.sink.rows(kind)]
        told = [row for row in told if not row["reason"].endswith(": ready")]
        rows += [(datetime.fromisoformat(row["time"]), _line(row)) for row in told]
        return tuple(words for _, words in sorted(rows, key=lambda row: row[0]))


def _set_aside_risk(system: TradingSystem) -> None:
    """Risk lets the made-up strategy through, whose terms are made up too; Friday 0DTE has risk's own word.

    Nor does it watch: most of a week's time would go into limits that such an account passes.
    """
    risk, bus = system.managers[UnifiedRiskManager], system.bus

    def review(proposal: Proposal) -> Decision:
        count = _covered(system, proposal)
        return Decision(count, "allowed", "", None, None, (), risk._approve(proposal.intent, count))

    def still_allowed(*_: object) -> Refusal | None:
        return None

    risk.review = review  # type: ignore[method-assign]
    risk.still_allowed = still_allowed  # type: ignore[method-assign, assignment]
    bus._subscriptions = [row for row in bus._subscriptions if row.component not in _ASIDE]


def _covered(system: TradingSystem, proposal: Proposal) -> int:
    """Two, or as many as the calls that its position holds cover: a person, or a fill in part, may have left fewer."""
    held = [row for row in system.book.positions.values() if row.slot == proposal.slot]
    legs = [leg for row in held for leg in row.legs if leg.ratio > 0 and leg.contract.right is Right.CALL]
    bare = all(leg.ratio < 0 for leg in proposal.package.legs)
    return min(2, sum(leg.ratio for leg in legs)) if bare and legs else 2


def _line(row: dict[str, object]) -> str:
    """One row of the journal in a line."""
    what = [str(row[key]) for key in _SHOWN if row.get(key) not in (None, "")]
    moment = datetime.fromisoformat(str(row["time"]))
    return f"{moment:%a %H:%M}   {row['kind']}: {' '.join(what)}"


def run_seed(seed: int, *, story: bool = False, plan: Plan | None = None) -> Verdict:
    """Run one seed's week in a folder of its own that is gone afterwards."""
    started = clocks.process_time()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    week = Week(plan or plan_of(seed), folder)
    try:
        week.start()
        if week.system is not None:
            week.run()
        return Verdict(
            week.plan,
            tuple(week.watch.violations),
            week.faults.counts,
            len(week.watch.tags),
            len(week.sink.rows(RecordKind.FILL)),
            week.restarts,
            clocks.process_time() - started,
            week.story() if story else (),
        )
    finally:
        week.close()
        shutil.rmtree(folder, ignore_errors=True)


def _by_the_disk(error: BaseException | None) -> bool:
    """Whether a disk that took no write is what a start failed for, whatever manager says so."""
    return error is not None and (isinstance(error, OSError | UnwrittenError) or _by_the_disk(error.__cause__))

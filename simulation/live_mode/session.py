"""One live run of an algorithm over replayed data: processes that start, are killed and start again on one account."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from simulation.account.brokerages import BrokerageMessageEvent
from simulation.algorithm.algorithm import QCAlgorithm, waiting_for
from simulation.algorithm.consolidators import Consolidators
from simulation.algorithm.messages import NewBrokerageOrderNotificationEventArgs
from simulation.data.market_hours import MarketHoursDatabase
from simulation.data.source import DataSource
from simulation.data.symbol_properties import SymbolPropertiesDatabase
from simulation.faults.kinds import FaultSettings
from simulation.lean.clock import NEW_YORK, Zone
from simulation.lean.enums import BrokerageMessageType
from simulation.lean.identifiers import use_map_files
from simulation.lean.symbols import SymbolCache
from simulation.live_mode.account import LiveAccount, WorkingGroup, load_group, restore
from simulation.live_mode.controls import Control, Controls
from simulation.live_mode.engine import SECOND_MS, SETUP, Call, LiveEngine, LiveLogs, LiveStore
from simulation.live_mode.orders import ALGORITHM, ORDER_THREAD
from simulation.live_mode.threads import Pace, Threads
from simulation.results.sampling import Samples
from simulation.runner import importing, load_algorithm

DAYS_AHEAD = 60


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What to run live. The account and the object store outlive the processes; `seed` and `pace` decide what chance
    decides in LEAN, `faults` what goes wrong at the broker and in its quotes."""

    algorithm: Path
    source: DataSource
    parameters: Mapping[str, str]
    object_store: Path
    account: LiveAccount = field(default_factory=LiveAccount)
    seed: int = 1
    pace: Pace = field(default_factory=Pace)
    faults: FaultSettings | None = None


class _CommandObject:
    """A command as LEAN hands it over: a field that is missing is None (Command.cs:79)."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> object:
        return self._fields.get(name)


class LiveSession:
    """The surroundings of the processes: the clock, the account, the words in force."""

    def __init__(self, request: LiveRequest) -> None:
        self._request = request
        self.account = request.account
        self.controls = Controls()
        self.zone: Zone = NEW_YORK
        self.processes = 0
        self.calls: list[Call] = []
        self.answers: list[tuple[str, bool | None]] = []
        self.engine: LiveEngine | None = None
        self._stack = ExitStack()
        self._log: list[str] = []

    # -- processes ---------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> LiveEngine:
        """The running process. Raises RuntimeError when none runs."""
        if self.engine is None:
            raise RuntimeError("no process runs: start one")
        return self.engine

    @property
    def now(self) -> datetime:
        """The wall clock, New York time."""
        return self.zone.local(self.alive.threads.now_ms)

    @property
    def log(self) -> tuple[str, ...]:
        """What all processes logged."""
        current = () if self.engine is None else tuple(self.engine.algorithm.logs.lines)  # type: ignore[attr-defined]
        return (*self._log, *current)

    def start(self, moment: datetime) -> None:
        """Starts a process at a New York time: `initialize`, then the account is loaded."""
        if self.engine is not None:
            raise RuntimeError("a process runs already: kill or stop it first")
        request = self._request
        self.processes += 1
        start_ms = self.zone.utc_ms(moment)
        threads = Threads(request.seed * 1_000 + self.processes, request.pace, start_ms)
        before = use_map_files(request.source.map_resolver)
        self._stack.callback(use_map_files, before)
        MarketHoursDatabase.use(request.source.hours)
        SymbolPropertiesDatabase.use(request.source.properties)
        SymbolCache.clear()
        engine = LiveEngine(request.source, threads, self.controls, self.account)
        engine.consolidators = Consolidators(engine)
        engine.samples = Samples(engine, every_step=False)
        self._stack.enter_context(importing(request.algorithm))
        self.engine = engine
        threads.hand(SETUP, lambda: self._initialize(engine, moment))
        self._raise_failures()
        engine.run_until(start_ms + SECOND_MS)
        self._raise_failures()

    def _initialize(self, engine: LiveEngine, moment: datetime) -> None:
        request = self._request
        kind = load_algorithm(request.algorithm)
        with waiting_for(engine):
            algorithm: QCAlgorithm = kind()
            if request.faults is not None:
                engine.suffer(request.faults)
            algorithm._start = datetime(moment.year, moment.month, moment.day)
            algorithm._end = algorithm._start + timedelta(days=DAYS_AHEAD)
            engine.utc_ms = engine.threads.now_ms
            engine.data_ms = engine.market_ms = engine.utc_ms // 60_000 * 60_000
            algorithm.logs = LiveLogs(engine)
            algorithm.object_store = LiveStore(request.object_store, engine)
            algorithm.parameters = {str(key): str(value) for key, value in request.parameters.items()}
            engine.portfolio.set_cash(self.account.cash)
            engine.note("initialize")
            algorithm.initialize()
            algorithm.post_initialize()
            restore(engine, self.account)
        algorithm.lock()
        engine.begin()

    def _raise_failures(self) -> None:
        engine = self.engine
        if engine is not None and engine.threads.failures:
            raise engine.threads.failures[0]

    def until(self, moment: datetime) -> None:
        """Lets the clock go on to a New York time. What left a callback of the algorithm's is raised."""
        engine = self.alive
        engine.run_until(self.zone.utc_ms(moment))
        self._raise_failures()

    def kill(self) -> None:
        """The process is gone at this instant (signal 9): what it had written is what there is."""
        engine = self.alive
        self.account.take_over(engine)
        store = self._request.object_store
        kept = store.with_name(f"{store.name}-at-the-kill")
        if store.exists():
            shutil.copytree(store, kept)
        engine.threads.kill()
        if kept.exists():
            shutil.rmtree(store)
            kept.rename(store)
        self._end()

    def stop(self) -> None:
        """The process is asked to end: what is at work ends first, then `on_end_of_algorithm`."""
        engine = self.alive
        while engine.threads.anyone_busy and not engine.threads.failures:
            engine.run_until(engine.threads.now_ms + SECOND_MS)
        engine.threads.hand(ALGORITHM, engine.finish)
        failures = list(engine.threads.failures)
        self.account.take_over(engine)
        engine.threads.kill()
        self._end()
        if failures:
            raise failures[0]

    def _end(self) -> None:
        engine = self.alive
        self.calls += engine.calls
        self._log += engine.algorithm.logs.lines  # type: ignore[attr-defined]
        self.engine = None
        self._stack.close()

    # -- what is done to it ------------------------------------------------------------------------------------------

    def control(self, words: str) -> None:
        """Puts control words in force (`Control`) instead of those before; a lost connection is told, and its end."""
        before = self.controls.set(words)
        down, was = Control.BROKER_DOWN in self.controls, Control.BROKER_DOWN in before
        if self.engine is None or down == was:
            return
        kind = BrokerageMessageType.DISCONNECT if down else BrokerageMessageType.RECONNECT
        self.message(kind, "Disconnected" if down else "Reconnected")

    def message(self, kind: BrokerageMessageType, text: str) -> None:
        """The broker says something: the algorithm's handler judges it, on the broker's thread."""
        engine = self.alive
        algorithm: Any = engine.algorithm

        def tell() -> None:
            event = BrokerageMessageEvent(kind, "message", text)
            engine.note("on_brokerage_message", str(event))
            algorithm.on_brokerage_message(event)
            algorithm.brokerage_message_handler.handle_message(event)
            if kind == BrokerageMessageType.DISCONNECT:
                engine.note("on_brokerage_disconnect")
                algorithm.on_brokerage_disconnect()
            if kind == BrokerageMessageType.RECONNECT:
                engine.note("on_brokerage_reconnect")
                algorithm.on_brokerage_reconnect()

        engine.threads.put(ORDER_THREAD, tell)

    def command(self, text: str) -> None:
        """A command file's text: what is no JSON object never reaches `on_command`, nor what names a type of its own
        (lean-facts 13.18; run DE, s11)."""
        engine = self.alive
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            engine.algorithm.error(f"Error processing command: {text}")
            return
        if "$type" in fields:
            self.answers.append((text, None))
            return

        def take() -> None:
            engine.note("on_command", text)
            try:
                answer = engine.algorithm.on_command(_CommandObject(fields))  # type: ignore[attr-defined]
            except Exception as error:  # LEAN catches what a command raises
                engine.algorithm.error(f"Error running command: {error}")
                answer = False
            self.answers.append((text, answer))

        delay = SECOND_MS - engine.threads.now_ms % SECOND_MS
        engine.threads.put(ALGORITHM, take, delay)

    def appear(self, group: WorkingGroup) -> None:
        """An order at the broker that this process did not send: taken in when the algorithm's handler says so."""
        engine = self.alive
        algorithm: Any = engine.algorithm

        def tell() -> None:
            if algorithm.brokerage_message_handler.handle_order(NewBrokerageOrderNotificationEventArgs(group)):
                load_group(engine, group)

        engine.threads.put(ORDER_THREAD, tell)

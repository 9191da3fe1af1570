"""The Tom King Trading System's one QCAlgorithm: LEAN's callbacks become plain calls of the trading system.

Few schedules: the session's open and close, the strategies' entry windows and deadlines. Everything else follows from
prices and order events. Every line here costs a minute's time, so nothing is worked out before somebody needs it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from AlgorithmImports import BrokerageMessageType, DayOfWeek, OrderStatus, QCAlgorithm, SplitType

from core.events import (
    BrokerReconnected,
    Command,
    Event,
    FillStatus,
    NoticeKind,
    NoticeRaised,
    OrderUpdated,
    ShareSplit,
)
from core.journal import FileSink
from core.lean_gateway import SESSION_TICKER, LeanGateway, prepare
from core.running.inbox import CommandRefusedError, Inbox, command_of
from core.running.keeper import LeanKeeper, MonthlySink
from core.running.lease import Lease, this_process
from core.running.notices import LeanMessenger, LogBudget
from core.settings.fields import DEFAULT_ACCOUNT, Settings
from core.storage import FolderStorage, adopt
from state.guard import StateCopies, locked_by
from state.tables import StoreLockedError
from strategies.rests import Bands
from trading_system import Surroundings, TradingSystem

JOURNAL = "tomking/journal.jsonl"
STATE_OF_0_1_0 = "tomking/state/mark.txt"
SHORT_KEYS = ("start", "end", "cash", "strategies", "seed")
_WEEKDAYS = (
    DayOfWeek.MONDAY,
    DayOfWeek.TUESDAY,
    DayOfWeek.WEDNESDAY,
    DayOfWeek.THURSDAY,
    DayOfWeek.FRIDAY,
)


MOST_MESSAGE = 200
LATE_SECONDS = 30
"""Into a minute: what no data brought until then passes without."""
_MESSAGES = {BrokerageMessageType.ERROR: NoticeKind.DOUBT, BrokerageMessageType.DISCONNECT: NoticeKind.FEED}


Sums = tuple[datetime, tuple[tuple[tuple[tuple[Any, float], ...], float, float], ...]]
"""Until when, and between which bounds what sums of symbols' prices stay."""


class TomKing(QCAlgorithm):
    """Translates between LEAN and the trading system; decides nothing."""

    def initialize(self) -> None:
        """Read settings, set the engine up, build the system, schedule the calendar."""
        self.ready = self.ended = self.planned = False
        self.live = bool(self.live_mode)
        self.told = ""
        self.rested: tuple[tuple[datetime, Bands], Sums] | None = None
        self.options = Settings.from_parameters(self.read_parameters())
        run = self.options.run
        if not self.live:
            self.set_start_date(run.start.year, run.start.month, run.start.day)
            self.set_end_date(run.end.year, run.end.month, run.end.day)
            self.set_cash(run.cash)
        prepare(self, self.options.margin.authority == "own", self.options.fills.rule)
        self.gateway = LeanGateway(self, implied=self.live and self.options.market.implied_index)
        self.words = LogBudget(self.log, self.options.notices.log_lines_a_day)
        self.gateway.watch((SESSION_TICKER,))
        self.statuses = {
            OrderStatus.SUBMITTED: FillStatus.SUBMITTED,
            OrderStatus.PARTIALLY_FILLED: FillStatus.PARTLY_FILLED,
            OrderStatus.FILLED: FillStatus.FILLED,
            OrderStatus.CANCELED: FillStatus.CANCELLED,
            OrderStatus.INVALID: FillStatus.REJECTED,
            OrderStatus.UPDATE_SUBMITTED: FillStatus.UPDATED,
        }
        self.inbox = Inbox(self.failed if self.live else None)
        if self.live:
            self.lease = self.live_lease()
            self.schedule.on(self.date_rules.every_day(), self.time_rules.every(timedelta(seconds=5)), self.look_after)
            self.owns()
        else:
            self.begin()

    def begin(self) -> None:
        """Build the system, take over what the state says, schedule the calendar."""
        self.system = TradingSystem(self.surroundings(), self.options, datetime(*self.time.timetuple()[:6]))
        self.system.start(stood_by=bool(self.told))
        if self.live:  # a backtest's table is in its journal, without the times that differ from run to run
            self.words.write(self.time, self.system.managers.table())
        if not self.planned:
            self.planned = True
            self.plan_day()
        self.ready = True

    def does_without(self, ticker: str) -> bool:
        """Asked by the embedded engine before it complains that its market lacks a ticker; LEAN does not ask."""
        return self.ready and self.system.does_without(ticker)

    def utc_now(self) -> datetime:
        """The algorithm's clock in UTC, naive, whole seconds."""
        return datetime(*self.utc_time.timetuple()[:6])

    # Whose store it is (live)

    def live_lease(self) -> Lease:
        """The lease beside this deployment's state."""
        root = self.live_root()
        me = this_process(self.utc_now())
        return Lease(FolderStorage(root, durable=True), me, lambda: locked_by(root / "state" / "lock"))

    def owns(self) -> bool:
        """Whether this process trades on its store; it begins when that is so, and gives up when it is no more."""
        other = self.lease.ask(self.utc_now())
        if other is None and not self.ready:
            try:
                self.begin()
            except StoreLockedError as error:
                other = str(error)
        if other is None:
            return True
        if self.ready:
            self.give_up(other)
        if other != self.told:
            self.told = other
            what = "this one sends nothing and asks again each minute; the command take_over asks for it"
            text = f"{other} trades on this store: {what}"
            self.words.write(self.time, text)
            LeanMessenger(self, self.options.notices).send("Tom King: halt", text)
        return False

    def give_up(self, other: str) -> None:
        """Another process asked for the lease, or has it already, as after this one stood still for minutes."""
        self.ready = False
        if self.lease.lost:
            self.system.abandon()
        else:
            self.system.hand_over(self.gateway.now(), other)
        self.lease.release(self.utc_now())

    def look_after(self) -> None:
        """Live, each five seconds: who owns the store, what other threads left, and a minute that no data brought."""
        now, late = self.gateway.now(), self.time.second >= LATE_SECONDS
        self.take(lambda: self.system.minute(now) if late else self.system.pass_time(now))

    def take(self, act: Callable[[], object]) -> None:
        """Take an act while this process may act; a backtest always may."""
        self.inbox.take((lambda: self.act(act)) if self.live else act)

    def act(self, act: Callable[[], object]) -> object:
        """Live the lease is asked first; an act of a process that ended or stands by is dropped."""
        if self.ended or not self.owns():
            return None
        return act()

    def failed(self, error: Exception) -> None:
        """Something raised where nothing may end the run; a start that cannot be is the end of it."""
        if self.ready:
            self.system.failed(error)
        else:
            self.quit(f"{type(error).__name__}: {error}")

    def read_parameters(self) -> dict[str, str]:
        """Parameters as settings know them: ``start`` is short for ``run.start`` and so on."""
        given = {str(key): str(value) for key, value in self.get_parameters().items()}
        return {f"run.{key}" if key in SHORT_KEYS else key: value for key, value in given.items()}

    def surroundings(self) -> Surroundings:
        """State and journal: durable in the object store when live, a fresh start for every backtest."""
        if self.live:
            return self.live_surroundings()
        journal = self.gateway.store_path(JOURNAL)
        journal.unlink(missing_ok=True)
        self.scratch = tempfile.TemporaryDirectory(prefix=f"tomking-state-{os.getpid()}-")
        storage = FolderStorage(Path(self.scratch.name), durable=False)
        return Surroundings(self.gateway, storage, FileSink(journal), durable=False)

    def live_surroundings(self) -> Surroundings:
        """Files that survive a kill, and copies that survive the machine, below the project's number and the account.

        The object store belongs to a whole organization, and each deployment must find its own state.
        """
        store, place = self.options.store, self.live_place()
        storage, keeper = FolderStorage(self.live_root(), durable=True), LeanKeeper(self)
        sink = MonthlySink(storage, keeper, place, store.journal_months)
        copies = StateCopies(keeper, f"{place}/saved/state.txt")
        messenger = LeanMessenger(self, self.options.notices)
        return Surroundings(self.gateway, storage, sink, durable=True, copies=copies, messenger=messenger)

    def live_place(self) -> str:
        """What the object store's keys begin with."""
        return f"{self.project_id}-{self.options.store.account}"

    def live_root(self) -> Path:
        """The folder of state and journal."""
        root = self.gateway.store_path(f"{self.live_place()}/mark.txt").parent
        if self.options.store.account == DEFAULT_ACCOUNT:
            adopt(self.gateway.store_path(STATE_OF_0_1_0).parent, root)
        return root

    def plan_day(self) -> None:
        """Schedule the open, the entry windows, the deadlines and the close."""
        shares = self.gateway.security(SESSION_TICKER).symbol
        every_day = self.date_rules.every_day(shares)
        self.schedule.on(every_day, self.time_rules.after_market_open(shares, 1), self.session_opens)
        for strategy in self.system.coordinator.strategies:
            for window in strategy.entry_windows():
                days = [_WEEKDAYS[weekday] for weekday in window.weekdays]
                on_days = self.date_rules.every(*days)
                when = self.time_rules.at(window.opens.hour, window.opens.minute)
                self.schedule.on(on_days, when, self.window_of(strategy.name, window.name))
                for minutes in range(1, self.options.orders.lead_minutes + 1):
                    early = self.time_rules.at(*divmod(window.opens.hour * 60 + window.opens.minute - minutes, 60))
                    self.schedule.on(on_days, early, self.ahead_of(strategy.name, window.name))
        for strategy in self.system.coordinator.managing:
            for deadline in strategy.deadlines():
                act = self.deadline_of(strategy.name, deadline.name)
                early = self.time_rules.before_market_close(shares, deadline.minutes_before_close)
                self.schedule.on(every_day, self.time_rules.at(deadline.at.hour, deadline.at.minute), act)
                self.schedule.on(every_day, early, act)
        self.schedule.on(every_day, self.time_rules.before_market_close(shares, 0), self.session_closes)

    def window_of(self, strategy: str, window: str) -> Callable[[], None]:
        """The callback of an entry window."""
        return self.scheduled(lambda now: self.system.entry_window(now, strategy, window))

    def ahead_of(self, strategy: str, window: str) -> Callable[[], None]:
        """The callback of the minutes before an entry window."""
        return self.scheduled(lambda now: self.system.entry_ahead(now, strategy, window))

    def deadline_of(self, strategy: str, deadline: str) -> Callable[[], None]:
        """The callback of a deadline."""
        return self.scheduled(lambda now: self.system.deadline(now, strategy, deadline))

    def scheduled(self, act: Callable[[datetime], object]) -> Callable[[], None]:
        """A callback that takes ``act`` with the minute at which it was called."""

        def callback() -> None:
            now = self.gateway.now()
            self.take(lambda: act(now))

        return callback

    def session_opens(self) -> None:
        """The first minute of a session is in."""
        self.scheduled(self.system.open_session)()

    def session_closes(self) -> None:
        """The regular close of the share market."""
        self.scheduled(self.close_session)()

    def close_session(self, now: datetime) -> None:
        """Close the session and show what it came to."""
        self.system.close_session(now)
        for name, value in self.system.figures().items():
            self.set_runtime_statistic(name, value)

    def on_data(self, data: Any) -> None:
        """A minute's prices are in."""
        if self.ready and (self.system.in_session or self.live):
            now = self.gateway.now()
            if not self.system.rests(now):
                self.take(lambda: self.system.minute(now))

    def rests_while(self) -> Sums | None:
        """Until when, New York, and while which sums of symbols' prices stay where, ``on_data`` does nothing.

        The embedded engine asks and leaves its calls out (decision 080); LEAN never does.
        """
        found = self.system.rests_while() if self.ready else None
        if found is None:
            return None
        if self.rested is None or self.rested[0] != found:  # asked many times of one rest
            security = self.gateway.security
            sums = (
                (tuple((security(name).symbol, weight) for name, weight in weights), low, high)
                for weights, low, high in found[1]
            )
            self.rested = found, (found[0], tuple(sums))
        return self.rested[1]

    def tell(self, event: Event) -> None:
        """Something happened at the broker: live its threads only leave it, a backtest has one thread."""
        if self.live:
            self.inbox.leave(lambda: self.act(lambda: self.system.happened(event)))
        else:
            self.inbox.take(lambda: self.system.happened(event))

    def on_order_event(self, order_event: Any) -> None:
        """The broker reported on one leg."""
        quantity = float(order_event.fill_quantity)
        status = self.statuses.get(order_event.status, FillStatus.UPDATED if quantity else None)
        if status is None or not self.ready:
            return
        if self.ended:  # the files are closed (lean-facts 13.13); the next start reconciles
            self.words.write(self.time, f"order event after the end, left to the next start: {order_event}")
            return
        self.tell(
            OrderUpdated(
                time=self.gateway.now(),
                order_id=int(order_event.order_id),
                contract=self.gateway.name_of(order_event.symbol),
                status=status,
                fill_quantity=quantity,
                fill_price=float(order_event.fill_price) if quantity else None,
                fee=float(order_event.order_fee.value.amount),
                is_assignment=bool(order_event.is_assignment),
                message=str(order_event.message),
                number=int(order_event.id),
            )
        )

    def on_splits(self, splits: Any) -> None:
        """Shares split, or will: contracts on them become others."""
        for split in splits.values():
            if self.ready and not self.ended:
                name, coming = self.gateway.name_of(split.symbol), split.type == SplitType.WARNING
                factor = float(split.split_factor)
                self.tell(ShareSplit(time=self.gateway.now(), ticker=name, factor=factor, coming=coming))

    def on_brokerage_message(self, message_event: Any) -> None:
        """What the broker says of itself: an error and a lost connection are told to a person, nothing ends by them."""
        kind = _MESSAGES.get(message_event.type)
        if kind is not None and self.ready and not self.ended:
            text = f"the broker says: {message_event.message}"[:MOST_MESSAGE]
            self.tell(NoticeRaised(time=self.gateway.now(), kind=kind, text=text))

    def on_brokerage_reconnect(self) -> None:
        """The connection to the broker is back: reconcile."""
        if self.ready and not self.ended:
            self.tell(BrokerReconnected(time=self.gateway.now()))

    def on_command(self, data: Any) -> bool:
        """A person's word: ``{"command": "halt"}`` and so on; its answer is in the log, where one who asks looks."""
        try:
            order = command_of(data)
        except CommandRefusedError as error:
            self.words.write(self.time, f"refused: {error}")
            return False
        if not self.ready:
            return self.command_to_bystander(order.command)
        self.scheduled(lambda now: self.words.write(now, self.system.command(now, order.command, order.subject)))()
        return True

    def command_to_bystander(self, command: Command) -> bool:
        """A word to a process that does not trade: it may be told to take over, nothing else."""
        taken = command is Command.TAKE_OVER
        if taken:
            now = self.utc_now()
            self.inbox.take(lambda: self.lease.claim(now))
        said = (
            "asked for; it is given up within a minute, or dead after three" if taken else "refused, this one stands by"
        )
        self.words.write(self.time, f"{command.value}: {said}; now {self.told} trades")
        return taken

    def on_end_of_algorithm(self) -> None:
        """Decide what still waits, and close journal and state."""
        if self.ready:
            now = self.gateway.now()
            self.inbox.finish(lambda: self.system.end(now))
            self.ended = True
            if self.live:
                self.lease.release(self.utc_now())

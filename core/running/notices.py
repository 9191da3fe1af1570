"""Tells a person what happened: bundled once a minute, emergencies first and at once, never more than the quota.

The channels to a person are here too, LEAN's own among them, and a live project's log within its quota.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from core.book import Book
from core.bus import EventBus
from core.events import (
    BrokerReconnected,
    ChangeKind,
    ComponentFailed,
    DataBecameStale,
    EntriesAllowed,
    EntriesHalted,
    Event,
    NoticeKind,
    NoticeRaised,
    PositionChanged,
    RiskThreshold,
    Severity,
)
from core.factory import Manager
from core.gateway import Gateway
from core.journal import Journal, RecordKind
from core.settings.base import NoticeSettings


class Messenger(Protocol):
    """Sends one text to everybody who wants to be told."""

    @property
    def channels(self) -> int:
        """How many messages one text costs: each address is one."""

    def send(self, subject: str, text: str) -> str | None:
        """Send it; why that failed, ``None`` when every channel took it. Never names an address."""


class LeanMessenger:
    """LEAN's notifications: e-mail, web hook, Telegram and text message, each when it has an address."""

    def __init__(self, algorithm: Any, settings: NoticeSettings) -> None:
        self._notify = algorithm.notify
        self._settings = settings

    @property
    def channels(self) -> int:
        """Addresses that are set."""
        row = self._settings
        return sum(1 for address in (row.email, row.web, row.telegram, row.phone) if address)

    def send(self, subject: str, text: str) -> str | None:
        """Hand it to each channel; LEAN answers False to what is over its quota."""
        row, failed = self._settings, []
        for name, address in (("email", row.email), ("web", row.web), ("telegram", row.telegram), ("phone", row.phone)):
            if not address:
                continue
            try:
                taken = self._hand_over(name, address, subject, text)
            except Exception as error:  # .NET's own classes; a person who is not told must not stop the trading
                failed.append(f"{name}: {type(error).__name__}")
                continue
            if not taken:
                failed.append(f"{name}: refused, its quota may be used up")
        return ", ".join(failed) or None

    def _hand_over(self, name: str, address: str, subject: str, text: str) -> bool:
        if name == "email":
            return bool(self._notify.email(address, subject, text))
        if name == "web":
            return bool(self._notify.web(address, f"{subject}\n{text}"))
        if name == "telegram":
            return bool(self._notify.telegram(address, f"{subject}\n{text}"))
        return bool(self._notify.sms(address, f"{subject}: {text}"[:300]))


class LogBudget:
    """Passes lines on to a log, so many a day; what is over is counted and told at the next day's first line."""

    def __init__(self, log: Callable[[str], object], lines_a_day: int) -> None:
        self._log = log
        self._most = lines_a_day
        self._day: date | None = None
        self._written = 0
        self._dropped = 0

    def write(self, now: datetime, text: str) -> None:
        """Log a text of one or more lines, whole or not at all."""
        self._turn_to(now.date())
        lines = text.count("\n") + 1
        if self._written + lines > self._most:
            if not self._dropped:
                self._log(f"{self._most} lines of today's log are used up; the rest is in the journal")
            self._dropped += lines
            return
        self._written += lines
        self._log(text)

    def _turn_to(self, day: date) -> None:
        if day == self._day:
            return
        if self._dropped:
            self._log(f"{self._dropped} lines of {self._day} are in the journal only")
        self._day, self._written, self._dropped = day, 0, 0


_HOUR = timedelta(hours=1)
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class _Notice:
    time: datetime
    kind: NoticeKind
    text: str


class Silence:
    """No channel at all, as in a backtest: what would be told is in the journal."""

    channels = 0

    def send(self, subject: str, text: str) -> str | None:
        """Nobody listens."""
        del subject, text
        return None


class Notifier(Manager):
    """Collects notices from the bus and sends them; each is a row of the journal too, in a backtest that alone."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        book: Book,
        messenger: Messenger,
        settings: NoticeSettings,
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._messenger = messenger
        self._settings = settings
        self._waiting: list[_Notice] = []
        self._sent: deque[tuple[datetime, int]] = deque()
        self._told: dict[tuple[NoticeKind, str], datetime] = {}
        self._heartbeat_at: datetime | None = None
        self._failed: str | None = None
        bus.subscribe(NoticeRaised, self._on_notice, component="notifier")
        bus.subscribe(RiskThreshold, self._on_threshold, component="notifier")
        bus.subscribe(EntriesHalted, self._on_halted, component="notifier")
        bus.subscribe(EntriesAllowed, self._on_allowed, component="notifier")
        bus.subscribe(PositionChanged, self._on_position, component="notifier")
        bus.subscribe(DataBecameStale, self._on_stale, component="notifier")
        bus.subscribe(ComponentFailed, self._on_failed, component="notifier")
        bus.subscribe(BrokerReconnected, self._on_reconnected, component="notifier")

    # What happened

    def _on_notice(self, event: NoticeRaised) -> None:
        self._take(event, event.kind, event.text)

    def _on_threshold(self, event: RiskThreshold) -> None:
        if event.severity is Severity.NORMAL:
            return
        kind = NoticeKind.EMERGENCY if event.severity is Severity.EMERGENCY else NoticeKind.RISK
        self._take(event, kind, f"{event.rule} {event.severity.value}: {event.observed:.4g}, limit {event.limit:.4g}")

    def _on_halted(self, event: EntriesHalted) -> None:
        self._take(event, NoticeKind.HALT, f"new entries are halted: {event.reason}")

    def _on_allowed(self, event: EntriesAllowed) -> None:
        self._take(event, NoticeKind.HALT, "new entries are allowed again")

    def _on_position(self, event: PositionChanged) -> None:
        if event.kind is ChangeKind.ASSIGNED:
            self._take(event, NoticeKind.ASSIGNMENT, f"{event.position} was assigned")
        elif event.kind is ChangeKind.CORRECTED:
            self._take(event, NoticeKind.DIFFERENCE, f"{event.position} was changed outside of this program")

    def _on_stale(self, event: DataBecameStale) -> None:
        since = "never seen" if event.last_seen is None else f"last seen {event.last_seen:%H:%M}"
        self._take(event, NoticeKind.FEED, f"{event.ticker} has no fresh price, {since}")

    def _on_failed(self, event: ComponentFailed) -> None:
        self._take(event, NoticeKind.HALT, f"{event.component} failed: {event.error}")

    def _on_reconnected(self, event: BrokerReconnected) -> None:
        self._take(event, NoticeKind.FEED, f"the connection to the broker is back at {event.time:%H:%M}")

    def _take(self, event: Event, kind: NoticeKind, text: str) -> None:
        last = self._told.get((kind, text))
        if last is not None and event.time - last < timedelta(minutes=self._settings.repeat_after_minutes):
            return
        self._told[kind, text] = event.time
        self._journal.record(RecordKind.NOTICE, component="notifier", reason=text, notice=kind)
        if not self._messenger.channels:
            return
        self._waiting.append(_Notice(event.time, kind, text))
        if kind is NoticeKind.EMERGENCY:
            self._flush(event.time)

    # Sending

    def pass_minute(self, now: datetime, in_session: bool) -> None:
        """Once a minute, live: a sign of life when one is due, then everything that waits as one message."""
        if not self._messenger.channels:
            return
        self._told = {key: told for key, told in self._told.items() if now - told < timedelta(days=1)}
        if in_session and (self._heartbeat_at is None or now >= self._heartbeat_at):
            self._heartbeat_at = now + timedelta(minutes=self._settings.heartbeat_minutes)
            self._waiting.append(_Notice(now, NoticeKind.HEARTBEAT, self._sign_of_life()))
        self._flush(now)

    def _sign_of_life(self) -> str:
        held = ", ".join(self._book.positions) or "nothing"
        state = self._bus.entries_halted
        entries = "entries allowed" if state is None else f"entries halted: {state}"
        return f"alive, equity {self._gateway.account().equity:,.0f}, {entries}, holds {held}"

    def _flush(self, now: datetime) -> None:
        """Send what waits when the hour's budget has room; what has none waits for the next minute."""
        if not self._waiting:
            return
        urgent = any(notice.kind is NoticeKind.EMERGENCY for notice in self._waiting)
        while self._sent and now - self._sent[0][0] >= _HOUR:
            self._sent.popleft()
        used = sum(count for _, count in self._sent)
        room = self._settings.per_hour - used - (0 if urgent else self._settings.kept_for_emergencies)
        if room < self._messenger.channels:
            self._drop_signs_of_life()
            return
        notices = sorted(self._waiting, key=lambda notice: (notice.kind.rank, notice.time))
        self._waiting = []
        self._sent.append((now, self._messenger.channels))
        self._tell_failure(self._messenger.send(f"Tom King: {notices[0].kind.value}", _body(notices)))

    def _drop_signs_of_life(self) -> None:
        """One that could not be sent is of no use later."""
        self._waiting = [notice for notice in self._waiting if notice.kind is not NoticeKind.HEARTBEAT]

    def _tell_failure(self, failed: str | None) -> None:
        if failed != self._failed:
            self._failed = failed
            told = "messages go out again" if failed is None else f"a message was not sent: {failed}"
            self._journal.record(RecordKind.SYSTEM, component="notifier", reason=told)


def _body(notices: list[_Notice]) -> str:
    lines = [f"{notice.time:%H:%M} {notice.kind.value}: {notice.text}" for notice in notices[:_MOST_LINES]]
    more = len(notices) - len(lines)
    return "\n".join([*lines, *([f"and {more} more, in the journal"] if more else [])])

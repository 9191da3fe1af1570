"""What a person is told: bundled, emergencies first, within the hour's quota, and never an address."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from core.book import Book
from core.bus import EventBus
from core.clock import MarketClock
from core.events import (
    ChangeKind,
    DataBecameStale,
    EntriesHalted,
    NoticeKind,
    NoticeRaised,
    PositionChanged,
    RiskThreshold,
    Severity,
)
from core.gateway import Account
from core.journal import Journal, MemorySink, RecordKind
from core.running.notices import LeanMessenger, LogBudget, Notifier, Silence
from core.settings.base import NoticeSettings, SettingsError
from core.settings.fields import Settings

NOW = datetime(2016, 2, 12, 10, 30)


class Phone:
    """A messenger that keeps what it was given; ``refuses`` is why it takes nothing."""

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels
        self.messages: list[tuple[str, str]] = []
        self.refuses: str | None = None

    def send(self, subject: str, text: str) -> str | None:
        self.messages.append((subject, text))
        return self.refuses


class Room:
    """A notifier with its bus, its journal and its phone."""

    def __init__(self, phone: Phone | Silence, **settings: int) -> None:
        self.sink = MemorySink()
        journal = Journal(self.sink, MarketClock(NOW))
        self.bus = EventBus(journal)
        gateway: Any = SimpleNamespace(account=lambda: Account(100_118.0, 100_000.0))
        self.notifier = Notifier(self.bus, journal, gateway, Book(), phone, NoticeSettings(**settings))

    def raise_notice(self, kind: NoticeKind, text: str, minutes: int = 0) -> None:
        self.bus.publish(NoticeRaised(time=NOW + timedelta(minutes=minutes), kind=kind, text=text))

    def minute(self, minutes: int, in_session: bool = False) -> None:
        self.notifier.pass_minute(NOW + timedelta(minutes=minutes), in_session)


def test_what_waits_goes_out_as_one_message_the_most_pressing_first() -> None:
    phone = Phone()
    room = Room(phone)
    room.bus.publish(DataBecameStale(time=NOW, ticker="SPX", last_seen=NOW - timedelta(minutes=10)))
    room.bus.publish(EntriesHalted(time=NOW, reason="three losses"))
    room.raise_notice(NoticeKind.DOUBT, "a close was refused as uncovered")
    assert phone.messages == []
    room.minute(1)
    assert phone.messages == [
        (
            "Tom King: halt",
            "10:30 halt: new entries are halted: three losses\n"
            "10:30 doubt: a close was refused as uncovered\n"
            "10:30 feed: SPX has no fresh price, last seen 10:20",
        )
    ]
    room.minute(2)
    assert len(phone.messages) == 1


def test_an_emergency_does_not_wait_for_the_minute() -> None:
    phone = Phone()
    room = Room(phone)
    room.bus.publish(
        RiskThreshold(time=NOW, rule="fast_loss", severity=Severity.EMERGENCY, limit=0.045, observed=0.0512)
    )
    assert phone.messages == [("Tom King: emergency", "10:30 emergency: fast_loss emergency: 0.0512, limit 0.045")]


def test_the_hours_quota_holds_and_emergencies_have_a_reserve() -> None:
    phone = Phone()
    room = Room(phone, per_hour=4, kept_for_emergencies=1)
    for minute in range(6):  # three may go, the fourth of the hour is kept for an emergency
        room.raise_notice(NoticeKind.FEED, f"feed {minute}", minute)
        room.minute(minute)
    assert [text.split("feed: ")[1] for _, text in phone.messages] == ["feed 0", "feed 1", "feed 2"]
    room.raise_notice(NoticeKind.EMERGENCY, "close all", 7)
    # what waited goes with it, after it
    assert phone.messages[3][1].splitlines() == [
        "10:37 emergency: close all", "10:33 feed: feed 3", "10:34 feed: feed 4", "10:35 feed: feed 5"
    ]  # fmt: skip
    room.raise_notice(NoticeKind.EMERGENCY, "and again", 8)
    assert len(phone.messages) == 4  # the quota is used up: it waits
    room.minute(60)  # the first one is an hour old
    assert phone.messages[4][1] == "10:38 emergency: and again"


def test_every_address_counts_against_the_quota() -> None:
    phone = Phone(channels=3)
    room = Room(phone, per_hour=8, kept_for_emergencies=0)
    for minute in range(4):
        room.raise_notice(NoticeKind.FEED, f"feed {minute}", minute)
        room.minute(minute)
    assert len(phone.messages) == 2  # two messages of three are six; a third would make nine


def test_the_same_words_are_told_once_an_hour() -> None:
    phone = Phone()
    room = Room(phone)
    for minute in (0, 10, 59, 60, 61):
        room.raise_notice(NoticeKind.FEED, "VIX is missing", minute)
        room.minute(minute)
    assert [text[:5] for _, text in phone.messages] == ["10:30", "11:30"]


def test_a_sign_of_life_each_quarter_of_an_hour_of_a_session() -> None:
    phone = Phone()
    room = Room(phone)
    for minute in range(46):
        room.minute(minute, in_session=minute < 40)
    assert [text for _, text in phone.messages] == [
        f"{at} heartbeat: alive, equity 100,118, entries allowed, holds nothing" for at in ("10:30", "10:45", "11:00")
    ]


def test_a_backtest_leaves_rows_and_sends_nothing() -> None:
    room = Room(Silence())
    room.bus.publish(
        PositionChanged(time=NOW, position="p", strategy="s", kind=ChangeKind.ASSIGNED, cash=0.0, fees=0.0)
    )
    room.minute(1, in_session=True)
    assert [(row["notice"], row["reason"]) for row in room.sink.rows(RecordKind.NOTICE)] == [
        ("assignment", "p was assigned")
    ]


def test_a_message_that_was_not_sent_is_told_once() -> None:
    phone = Phone()
    phone.refuses = "email: refused, its quota may be used up"
    room = Room(phone)
    for minute in range(3):
        room.raise_notice(NoticeKind.RISK, f"risk {minute}", minute)
        room.minute(minute)
    assert [row["reason"] for row in room.sink.rows(RecordKind.SYSTEM)] == [f"a message was not sent: {phone.refuses}"]


class Notify:
    """LEAN's notify, which answers False over its quota and may raise."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ...]] = []

    def email(self, *words: str) -> bool:
        self.sent.append(("email", *words))
        return True

    def telegram(self, *words: str) -> bool:
        raise RuntimeError(f"bad chat {words[0]}")

    def sms(self, *words: str) -> bool:
        return not words


def test_leans_channels_are_used_where_an_address_is_set_and_failures_name_none() -> None:
    notify = Notify()
    settings = NoticeSettings(email="me@example.org", telegram="-100200300", phone="+4912345")
    messenger = LeanMessenger(SimpleNamespace(notify=notify), settings)
    assert messenger.channels == 3
    failed = messenger.send("Tom King: halt", "text")
    assert notify.sent == [("email", "me@example.org", "Tom King: halt", "text")]
    assert failed == "telegram: RuntimeError, phone: refused, its quota may be used up"
    assert LeanMessenger(SimpleNamespace(notify=notify), NoticeSettings()).channels == 0


def test_addresses_are_never_shown() -> None:
    settings = Settings.from_parameters({"notices.email": "me@example.org", "notices.web": "https://example.org/hook"})
    assert settings.notices.email == "me@example.org"
    for shown in (settings.describe(), repr(settings), str(settings.parameters()), str(settings.notices)):
        assert "example.org" not in shown
    assert "notices.email = (set)" in settings.describe()
    assert "notices.phone = (not set)" in settings.describe()
    with pytest.raises(SettingsError, match="kept_for_emergencies: 20 of 20 an hour") as refused:
        Settings.from_parameters({"notices.email": "me@example.org", "notices.kept_for_emergencies": "20"})
    assert "example.org" not in str(refused.value)


def test_the_log_has_a_budget_a_day() -> None:
    lines: list[str] = []
    budget = LogBudget(lines.append, 3)
    for number in range(5):
        budget.write(NOW, f"line {number}")
    budget.write(NOW + timedelta(days=1), "two\nlines")
    assert lines == [
        "line 0",
        "line 1",
        "line 2",
        "3 lines of today's log are used up; the rest is in the journal",
        "2 lines of 2016-02-12 are in the journal only",
        "two\nlines",
    ]

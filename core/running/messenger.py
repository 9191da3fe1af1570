"""The channels by which a person is reached, LEAN's own among them, and its log within a live project's quota."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Protocol

from core.settings.fields import NoticeSettings


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

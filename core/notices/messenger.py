"""The channels by which a person is reached, and LEAN's own among them."""

from __future__ import annotations

from typing import Any, Protocol

from core.settings.notices import NoticeSettings


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

"""The exchange of a security, as `security.exchange` shows it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from simulation.lean.names import Named


class _Local(Protocol):
    """A security, as far as its exchange asks it."""

    @property
    def local_time(self) -> datetime:
        """Now, naive, in the exchange's zone."""


class SecurityExchange(Named):
    """The exchange of a security: its hours and whether it is open now (regular hours, the security's own clock)."""

    def __init__(self, security: _Local, hours: Any) -> None:
        self._security = security
        self.hours = hours

    @property
    def time_zone(self) -> Any:
        """The exchange's zone."""
        return self.hours.time_zone

    @property
    def local_time(self) -> datetime:
        """Now, in the exchange's zone."""
        return self._security.local_time

    @property
    def exchange_open(self) -> bool:
        """Whether regular trading is open at this instant; false at the closing minute itself."""
        return bool(self.hours.is_open(self._security.local_time, False))

    @property
    def closing_soon(self) -> bool:
        """Whether the exchange closes within ten minutes."""
        return self.is_closing_soon(10)

    def is_closing_soon(self, minutes_to_close: int) -> bool:
        """Whether the exchange is open now and shut after the given minutes."""
        return not self.hours.is_open(self.local_time + timedelta(minutes=minutes_to_close), False)

    def is_open_during_bar(
        self, bar_start_time: datetime, bar_end_time: datetime, is_extended_market_hours: bool
    ) -> bool:
        """Whether any of the bar lies in the session."""
        return bool(self.hours.is_open(bar_start_time, bar_end_time, is_extended_market_hours))

    def date_is_open(self, date_to_check: datetime, extended_market_hours: bool = False) -> bool:
        """Whether the date has a session."""
        return bool(self.hours.is_date_open(date_to_check, extended_market_hours))

    def date_time_is_open(self, date_time: datetime) -> bool:
        """Whether regular trading is open at a local time."""
        return bool(self.hours.is_open(date_time, False))

    @property
    def trading_days_per_year(self) -> int:
        """LEAN's number for equities, options and futures."""
        return 252

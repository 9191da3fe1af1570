"""Settings of what a person is told while the system runs live."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from core.settings.base import PRIVATE, SettingsGroup


class NoticeSettings(SettingsGroup):
    """Messages to a person (live only). Addresses are never logged, printed or written into results.

    ``per_hour`` is what the account's tier sends an hour (QuantConnect, September 2026: Quant Researcher 20, Team 60,
    Trading Firm 240, Institution 3,600); ``kept_for_emergencies`` of them go to emergencies alone.
    """

    per_hour: int = Field(20, ge=1, le=3600)
    kept_for_emergencies: int = Field(6, ge=0)
    heartbeat_minutes: int = Field(15, ge=5, le=390)
    """Minutes of a session between two signs of life with what is held."""
    repeat_after_minutes: int = Field(60, ge=1)
    """Minutes for which the same words are not told again."""
    log_lines_a_day: int = Field(300, ge=20)
    """Lines a day into LEAN's log, of which the cloud keeps 100,000 a live project."""
    email: str = Field("", repr=False, json_schema_extra=PRIVATE)
    web: str = Field("", repr=False, json_schema_extra=PRIVATE)
    telegram: str = Field("", repr=False, json_schema_extra=PRIVATE)
    phone: str = Field("", repr=False, json_schema_extra=PRIVATE)

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.kept_for_emergencies >= self.per_hour:
            raise ValueError(
                f"notices.kept_for_emergencies: {self.kept_for_emergencies} of {self.per_hour} an hour; expected fewer "
                "than notices.per_hour"
            )
        return self

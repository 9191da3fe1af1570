"""The one clock of the system: market time, moved by main.py and read by everybody."""

from __future__ import annotations

from datetime import datetime, timedelta

AUTUMN_CHANGE = timedelta(hours=1)


class ClockWentBackError(ValueError):
    """Market time was moved to before what it was."""


class MarketClock:
    """Holds the market time, naive New York; never the wall clock, so that a backtest and its repetition agree."""

    __slots__ = ("_now",)

    def __init__(self, start: datetime) -> None:
        _check_naive(start)
        self._now = start

    def now(self) -> datetime:
        """Market time, naive New York."""
        return self._now

    def advance(self, time: datetime) -> None:
        """Move to ``time``.

        New York's clock goes back one hour once a year, so that much is accepted. Raises ``ClockWentBackError``.
        """
        now = self._now
        if time < now:
            _check_naive(time)
            if now - time > AUTUMN_CHANGE:
                raise ClockWentBackError(f"time: {time} is before {now}; expected the same moment or a later one")
        self._now = time

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with a clock once it was made."""
        return ()


def _check_naive(time: datetime) -> None:
    if time.tzinfo is not None:
        raise ValueError(f"time: {time} carries a zone; expected naive New York time")

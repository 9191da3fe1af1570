"""Interest on free cash, booked in backtests only: live, the broker books it."""

from __future__ import annotations

from datetime import date

from core.book import Book
from core.bus import EventBus
from core.events import SessionClosed, SessionOpened
from core.gateway import Gateway
from core.journal import Journal, RecordKind
from core.settings.fields import InterestSettings
from greeks.exposure import treasury_bill

DAYS_OF_A_YEAR = 365


def interest_of(cash: float, day: date, days: int, spread: float) -> float:
    """Dollars, to the cent, that ``cash`` earned over ``days`` calendar days until ``day``; never under zero.

    Simple interest at the Treasury bill of ``day``'s year less ``spread`` (both fractions a year).
    """
    rate = max(treasury_bill(day.year) - spread, 0.0)
    return round(max(cash, 0.0) * rate * days / DAYS_OF_A_YEAR, 2)


class InterestBooking:
    """Pays at each open, into the engine's cash book, what the cash that was free at the last close earned since."""

    def __init__(
        self, bus: EventBus, book: Book, gateway: Gateway, journal: Journal, settings: InterestSettings
    ) -> None:
        self._book = book
        self._gateway = gateway
        self._journal = journal
        self._spread = settings.spread
        self._closed: tuple[date, float] | None = None
        if not gateway.is_live():
            bus.subscribe(SessionOpened, self._on_session_opened, component="interest")
            bus.subscribe(SessionClosed, self._on_session_closed, component="interest")

    def _on_session_closed(self, event: SessionClosed) -> None:
        held = sum(position.margin for position in self._book.positions.values())
        self._closed = (event.day, self._gateway.account().cash - held)

    def _on_session_opened(self, event: SessionOpened) -> None:
        if self._closed is None:
            return
        since, free = self._closed
        days = (event.day - since).days
        amount = interest_of(free, event.day, days, self._spread)
        self._closed = None  # paid for: a second open without a close between pays nothing
        if amount <= 0.0:
            return
        self._gateway.book_interest(amount)
        self._book.interest += amount
        self._journal.record(
            RecordKind.INTEREST,
            component="interest",
            reason=f"{days} days on free cash",
            day=event.day,
            days=days,
            free_cash=free,
            bill=treasury_bill(event.day.year),
            spread=self._spread,
            amount=amount,
        )

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it once it was made."""
        return ()

"""The account's phase: promotion is earned on a daily close, demotion is immediate below a margin of hysteresis."""

from __future__ import annotations

from core.book import Book
from core.bus import EventBus
from core.events import SessionClosed
from core.gateway import Gateway
from core.performance import record_of
from core.settings.fields import PhaseLimits, PhaseSettings


class PhaseManager:
    """Knows the phase, 1 to 4, and its limits."""

    def __init__(self, bus: EventBus, book: Book, gateway: Gateway, settings: PhaseSettings) -> None:
        self._book = book
        self._gateway = gateway
        self._settings = settings
        self._phase: int | None = None
        bus.subscribe(SessionClosed, self._on_session_closed, component="phases", critical=True)

    @property
    def phase(self) -> int:
        """The phase now; the first answer comes from the account's equity."""
        if self._phase is None:
            self._phase = 1
            self._promote(self._gateway.account().equity)
        return self._phase

    @property
    def limits(self) -> PhaseLimits:
        """The row of the phase now."""
        return self._settings.rows[self.phase - 1]

    @property
    def known(self) -> int | None:
        """The phase as far as it was worked out; ``None`` before the first question."""
        return self._phase

    def restore(self, phase: object) -> None:
        """Go on with a phase kept from before a restart. Raises ``ValueError`` for what is none."""
        if phase is None:
            return
        if isinstance(phase, bool) or not isinstance(phase, int) or not 1 <= phase <= len(self._settings.rows):
            raise ValueError(f"phase: {repr(phase)[:40]}; expected 1 to {len(self._settings.rows)}")
        self._phase = phase

    def _on_session_closed(self, event: SessionClosed) -> None:
        self._promote(event.equity)
        self._demote(event.equity)

    def _promote(self, equity: float) -> None:
        phase = self._phase or 1
        while phase < len(self._settings.rows) and self._earned(self._settings.rows[phase], equity):
            phase += 1
        self._phase = phase

    def _earned(self, row: PhaseLimits, equity: float) -> bool:
        if equity < row.equity_from:
            return False
        if not self._settings.earned_progression:
            return True
        record = record_of(self._book.trades)
        return record.trades >= row.trades_needed and record.wins >= row.wins_needed * record.trades

    def _demote(self, equity: float) -> None:
        phase = self._phase or 1
        keep = 1 - self._settings.demotion_margin
        while phase > 1 and equity < self._settings.rows[phase - 1].equity_from * keep:
            phase -= 1
        self._phase = phase

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it once it was made."""
        return ()

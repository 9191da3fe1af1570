"""Trades and account must agree to the cent: starting cash + trades + cash of open parts + shares + interest = cash.

Fees are in each of the terms. Worked out at every session's close and at the end, from what the gateway says of the
account and what the book says of everything else, so it is the same on every engine. In a backtest a difference is an
error of this program: it is told with its size, and nothing opens any more. Live, money also moves by other hands
(deposits, dividends, the broker's interest): a move that no trade explains is told once, and is no error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from core.book import Book
from core.bus import EventBus
from core.events import SessionClosed
from core.gateway import Gateway
from core.journal import Journal, RecordKind
from execution.executor import AtomicExecutor

CENT = 0.01


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The terms in dollars, money in positive, fees taken off; ``unknown`` trades are in none of them."""

    starting: float
    trades: float
    open_parts: float
    working: float
    shares: float
    interest: float
    cash: float
    unknown: int

    @property
    def expected(self) -> float:
        """What the account's cash should be."""
        return self.starting + self.trades + self.open_parts + self.working + self.shares + self.interest

    @property
    def difference(self) -> float:
        """The account's cash less what it should be, rounded to the cent."""
        return round(self.cash - self.expected, 2) or 0.0


class AccountReckoning:
    """Holds the book against the account's cash."""

    def __init__(self, bus: EventBus, journal: Journal, gateway: Gateway, book: Book, executor: AtomicExecutor) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._executor = executor
        self._base: float | None = None
        self._trades = 0
        self._told = 0.0
        bus.subscribe(SessionClosed, self._on_session_closed, component="reckoning", critical=True)

    def start(self) -> None:
        """From here on: what the account has now, less what of it belongs to what is open already."""
        self._base, self._trades = 0.0, len(self._book.trades)
        self._base = self.now().difference

    def now(self) -> Reckoning:
        """Every term at this moment."""
        trades = self._book.trades[self._trades :]
        parts = [part for position in self._book.positions.values() for part in position.parts]
        known = [(part.cash, part.fees) for part in parts]
        return Reckoning(
            starting=self._base or 0.0,
            trades=sum(trade.profit for trade in trades if trade.profit is not None),
            open_parts=sum(cash - fees for cash, fees in known if cash is not None),
            working=self._executor.working_cash,
            shares=self._book.shares_brought + sum(row.cash for row in self._book.shares.values()),
            interest=self._book.interest,
            cash=self._gateway.account().cash,
            unknown=sum(trade.profit is None for trade in trades) + sum(cash is None for cash, _ in known),
        )

    def _on_session_closed(self, _event: SessionClosed) -> None:
        found = self.now()
        if abs(found.difference - self._told) < CENT:
            return
        self._told = found.difference
        self._record(found, "a move that no trade explains" if self._gateway.is_live() else "trades and cash differ")
        if not self._gateway.is_live() and not found.unknown:
            detail = (
                f"{found.difference:+,.2f} dollars: {found.cash:,.2f} in the account, {found.expected:,.2f} by trades"
            )
            self._journal.record(
                RecordKind.ERROR, component="reckoning", reason="trades and account differ", detail=detail
            )
            self._bus.halt_entries(f"trades and account differ by {detail}")

    def finish(self) -> Reckoning:
        """The run is over: one row says what the terms come to."""
        found = self.now()
        agrees = abs(found.difference) < CENT
        self._record(found, "trades and account agree" if agrees else "trades and account differ")
        return found

    def _record(self, found: Reckoning, reason: str) -> None:
        self._journal.record(
            RecordKind.ACCOUNT,
            component="reckoning",
            reason=reason,
            **asdict(found),
            expected=found.expected,
            difference=found.difference,
        )

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong before anything traded."""
        return ()

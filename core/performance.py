"""What closed trades came to, by strategy and in all: one record, which phases, sizing and the engine's screen read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.book import Book, ClosedTrade, losing_streak


@dataclass(frozen=True, slots=True)
class TradeRecord:
    """Figures of closed trades. Money is dollars: ``profit`` net of ``fees``, ``average_loss`` positive.

    Averages and rates are ``None`` where nothing was averaged. A trade that ended at zero is neither a win nor in the
    average loss, but it does not end a losing streak. ``unknown`` trades, of which nobody knows the result, are in none
    of the other figures.
    """

    trades: int
    wins: int
    profit: float
    fees: float
    average_win: float | None
    average_loss: float | None
    losing_streak: int
    unknown: int = 0

    @property
    def win_rate(self) -> float | None:
        """Share of trades that won, 0 to 1."""
        return self.wins / self.trades if self.trades else None

    @property
    def reward_ratio(self) -> float | None:
        """Average win over average loss; ``None`` while there is no win or no loss."""
        if self.average_win is None or self.average_loss is None:
            return None
        return self.average_win / self.average_loss


def record_of(trades: Sequence[ClosedTrade]) -> TradeRecord:
    """Sum trades up, oldest first."""
    known = [(trade.profit, trade.fees) for trade in trades if trade.profit is not None]
    wins = [profit for profit, _ in known if profit > 0]
    losses = [-profit for profit, _ in known if profit < 0]
    return TradeRecord(
        trades=len(known),
        wins=len(wins),
        profit=sum(profit for profit, _ in known),
        fees=sum(fees for _, fees in known),
        average_win=sum(wins) / len(wins) if wins else None,
        average_loss=sum(losses) / len(losses) if losses else None,
        losing_streak=losing_streak(trades),
        unknown=len(trades) - len(known),
    )


class PerformanceTracker:
    """Sums the book's closed trades up, once after each that closes."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._counted = -1
        self._total = record_of(())
        self._records: dict[str, TradeRecord] = {}

    def _count(self) -> None:
        """Trades are only ever added, so their number tells whether the sums are old."""
        if self._counted == len(self._book.trades):
            return
        grouped: dict[str, list[ClosedTrade]] = {}
        for trade in self._book.trades:
            grouped.setdefault(trade.strategy, []).append(trade)
        self._records = {name: record_of(trades) for name, trades in grouped.items()}
        self._total = record_of(self._book.trades)
        self._counted = len(self._book.trades)

    def by_strategy(self) -> dict[str, TradeRecord]:
        """Records by strategy, in the order of their first trade."""
        self._count()
        return dict(self._records)

    def of(self, strategy: str) -> TradeRecord:
        """The record of one strategy, of no trades when it closed none."""
        self._count()
        return self._records.get(strategy, record_of(()))

    def total(self) -> TradeRecord:
        """The record of all strategies together."""
        self._count()
        return self._total

    def verify(self) -> tuple[str, ...]:
        """The strategies' trades are all trades."""
        parts, whole = sum(row.trades for row in self.by_strategy().values()), self.total().trades
        return () if parts == whole else (f"{parts} trades by strategy, {whole} in all",)

"""What closed trades came to, by strategy and part and in all: one record, which phases, sizing and the screen read.

Sums outlive what the book keeps of single trades: they are part of the state (``risk/records.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Final

from core.book import Book, ClosedTrade, losing_streak
from core.identifiers import part_kind
from core.parts import WHOLE
from core.settings.strategies import TARGETS, TITLES

CONFIDENCE: Final = 0.95
FEWEST_TRADES: Final = 20
"""Under so many trades a win rate is not held against its target: what the first promotion asks for, too."""
_DAY: Final = 86_400.0


class Standing(StrEnum):
    """A figure beside its target."""

    MET = "met"
    NOT_MET = "not met"
    TOO_FEW = "too few trades"


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Wilson score interval of a proportion, low and high, 0 to 1; ``None`` without trials (JASA 22, 1927, 209)."""
    if trials <= 0:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, square = successes / trials, z * z / trials
    middle, half = rate + square / 2, z * sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    return max((middle - half) / (1 + square), 0.0), min((middle + half) / (1 + square), 1.0)


@dataclass(frozen=True, slots=True)
class ExitSum:
    """What an exit rule ended: trades, and their profit in dollars net of fees."""

    trades: int
    profit: float


@dataclass(frozen=True, slots=True)
class TradeRecord:
    """Figures of closed trades. Money is dollars: ``profit`` net of ``fees``, ``average_loss`` positive.

    Averages and rates are ``None`` where nothing was averaged. A trade that ended at zero is neither a win nor in the
    average loss, but it does not end a losing streak. ``unknown`` trades, of which nobody knows the result, are in none
    of the other figures. ``days`` is calendar days in the trade, ``planned`` the loss planned at entry, both averages;
    ``exits`` is by exit rule.
    """

    trades: int
    wins: int
    profit: float
    fees: float
    average_win: float | None
    average_loss: float | None
    losing_streak: int
    unknown: int = 0
    profit_factor: float | None = None
    days: float | None = None
    planned: float | None = None
    exits: Mapping[str, ExitSum] = field(default_factory=dict)

    @property
    def win_rate(self) -> float | None:
        """Share of trades that won, 0 to 1."""
        return self.wins / self.trades if self.trades else None

    @property
    def win_interval(self) -> tuple[float, float] | None:
        """Wilson interval of the win rate at 95 %."""
        return wilson(self.wins, self.trades)

    @property
    def reward_ratio(self) -> float | None:
        """Average win over average loss; ``None`` while there is no win or no loss."""
        if self.average_win is None or self.average_loss is None:
            return None
        return self.average_win / self.average_loss

    def standing(self, target: float) -> Standing:
        """The win rate beside a target, 0 to 1."""
        if self.win_rate is None or self.trades < FEWEST_TRADES:
            return Standing.TOO_FEW
        return Standing.MET if self.win_rate >= target else Standing.NOT_MET


@dataclass(slots=True)
class Tally:
    """Sums of closed trades, to which more are added. Dollars; ``lost`` positive, ``seconds`` in the trades."""

    trades: int = 0
    wins: int = 0
    losses: int = 0
    unknown: int = 0
    profit: float = 0.0
    fees: float = 0.0
    won: float = 0.0
    lost: float = 0.0
    seconds: float = 0.0
    planned: float = 0.0
    planned_trades: int = 0
    exits: dict[str, list[float]] = field(default_factory=dict)

    def add(self, trade: ClosedTrade) -> None:
        """Count one trade."""
        if trade.profit is None:
            self.unknown += 1
            return
        self.trades += 1
        self.profit += trade.profit
        self.fees += trade.fees
        self.seconds += (trade.closed - trade.opened).total_seconds()
        self.wins += trade.profit > 0
        self.losses += trade.profit < 0
        self.won += max(trade.profit, 0.0)
        self.lost += max(-trade.profit, 0.0)
        if trade.max_loss > 0.0:
            self.planned += trade.max_loss
            self.planned_trades += 1
        row = self.exits.setdefault(trade.rule, [0.0, 0.0])
        row[0] += 1
        row[1] += trade.profit

    def merge(self, other: Tally) -> Tally:
        """Count what another one counted."""
        for one in fields(self):
            if one.name != "exits":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        for rule, (trades, profit) in other.exits.items():
            row = self.exits.setdefault(rule, [0.0, 0.0])
            row[0] += trades
            row[1] += profit
        return self

    def record(self, streak: int) -> TradeRecord:
        """The figures of these sums."""
        return TradeRecord(
            trades=self.trades,
            wins=self.wins,
            profit=self.profit,
            fees=self.fees,
            average_win=self.won / self.wins if self.wins else None,
            average_loss=self.lost / self.losses if self.losses else None,
            losing_streak=streak,
            unknown=self.unknown,
            profit_factor=self.won / self.lost if self.lost > 0.0 else None,
            days=self.seconds / _DAY / self.trades if self.trades else None,
            planned=self.planned / self.planned_trades if self.planned_trades else None,
            exits={rule: ExitSum(int(trades), profit) for rule, (trades, profit) in self.exits.items()},
        )

    def written(self) -> dict[str, object]:
        """As JSON types."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def read_tally(row: object) -> Tally:
    """Sums as they were written. Raises ``ValueError`` for what cannot be such."""
    if not isinstance(row, dict) or set(row) != {one.name for one in fields(Tally)}:
        raise ValueError(f"sums of trades: {repr(row)[:80]}; expected {', '.join(one.name for one in fields(Tally))}")
    exits = row["exits"]
    if not isinstance(exits, dict):
        raise ValueError(f"sums of trades: {repr(exits)[:80]}; expected exit rules")
    found = Tally(exits={str(rule): [_figure(one) for one in pair] for rule, pair in exits.items()})
    if any(len(pair) != 2 for pair in found.exits.values()):
        raise ValueError(f"sums of trades: {repr(exits)[:80]}; expected trades and profit by exit rule")
    for one in fields(Tally):
        if one.name != "exits":
            figure = _figure(row[one.name])
            setattr(found, one.name, int(figure) if isinstance(one.default, int) else figure)
    if min(found.wins, found.losses, found.unknown) < 0 or found.wins + found.losses > found.trades:
        raise ValueError(f"sums of trades: {found.wins} wins, {found.losses} losses of {found.trades}")
    return found


def _figure(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"sums of trades: {repr(value)[:40]}; expected a number")
    return float(value)


def record_of(trades: Sequence[ClosedTrade]) -> TradeRecord:
    """Sum trades up, oldest first."""
    tally = Tally()
    for trade in trades:
        tally.add(trade)
    return tally.record(losing_streak(trades))


class PerformanceTracker:
    """Sums the book's closed trades up by strategy and kind of part, each once after it closed."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._seen: set[int] = set()
        self._counted = 0

    def _count(self) -> None:
        """Trades are only ever added, but a start puts those that closed since the record was kept in their order."""
        trades = self._book.trades
        if self._counted == len(trades):
            return
        for trade in trades:
            if id(trade) not in self._seen:  # the book keeps each of them for as long as the process runs
                self._seen.add(id(trade))
                self._tallies.setdefault((trade.strategy, part_kind(trade.part)), Tally()).add(trade)
        self._counted = len(trades)

    def by_strategy(self) -> dict[str, TradeRecord]:
        """Records by strategy, in the order of their first trade."""
        self._count()
        return {name: self.of(name) for name in dict.fromkeys(strategy for strategy, _ in self._tallies)}

    def by_part(self, strategy: str) -> dict[str, TradeRecord]:
        """Records of one strategy by kind of part, in the order of their first trade."""
        self._count()
        trades = self._book.trades_of(strategy)
        found = {part: tally for (name, part), tally in self._tallies.items() if name == strategy}
        return {
            part: tally.record(losing_streak([trade for trade in trades if part_kind(trade.part) == part]))
            for part, tally in found.items()
        }

    def of(self, strategy: str) -> TradeRecord:
        """The record of one strategy, of no trades when it closed none."""
        self._count()
        rows = [tally for (name, _), tally in self._tallies.items() if name == strategy]
        return _sum(rows).record(losing_streak(self._book.trades_of(strategy)))

    def total(self) -> TradeRecord:
        """The record of all strategies together."""
        self._count()
        return _sum(self._tallies.values()).record(losing_streak(self._book.trades))

    def lines(self) -> list[str]:
        """In words: each strategy beside its target, its parts where it has several, and what ended them."""
        said = []
        for name, record in self.by_strategy().items():
            title, parts = TITLES.get(name, name), self.by_part(name)
            said.append(f"{title}: {_words(record, TARGETS.get(name))}")
            if set(parts) != {WHOLE}:
                said += [f"{title}, {part}: {_words(row, None)}" for part, row in parts.items()]
        return said

    # What outlives a process

    def written(self) -> list[list[object]]:
        """Everything that was counted, as JSON types."""
        self._count()
        return [[strategy, part, tally.written()] for (strategy, part), tally in self._tallies.items()]

    def restore(self, rows: object) -> None:
        """Go on with what the last process counted, of which the book's trades are the newest.

        Raises ``ValueError`` for what cannot be true.
        """
        if not isinstance(rows, list):
            raise ValueError(f"sums of trades: {repr(rows)[:80]}; expected a list")
        found: dict[tuple[str, str], Tally] = {}
        for row in rows:
            if not isinstance(row, list) or len(row) != 3 or not all(isinstance(text, str) for text in row[:2]):
                raise ValueError(f"sums of trades: {repr(row)[:80]}; expected a strategy, a part and sums")
            found[row[0], row[1]] = read_tally(row[2])
        self._tallies = found
        self._seen = {id(trade) for trade in self._book.trades}
        self._counted = len(self._book.trades)

    def verify(self) -> tuple[str, ...]:
        """The strategies' trades are all trades."""
        parts, whole = sum(row.trades for row in self.by_strategy().values()), self.total().trades
        return () if parts == whole else (f"{parts} trades by strategy, {whole} in all",)


def _sum(tallies: Iterable[Tally]) -> Tally:
    found = Tally()
    for tally in tallies:
        found.merge(tally)
    return found


def _words(record: TradeRecord, target: float | None) -> str:
    interval = record.win_interval
    if interval is None:
        return f"{record.unknown} trades whose result nobody knows"
    said = [f"{record.trades} trades, {record.win_rate:.0%} won ({interval[0]:.0%} to {interval[1]:.0%})"]
    if target is not None:
        said.append(f"target {target:.0%} {record.standing(target)}")
    averages = [f"{name} {value:,.0f}" for name, value in (("win", record.average_win), ("loss", record.average_loss))
                if value is not None]  # fmt: skip
    said.append(f"profit {record.profit:,.0f}" + (f" (average {', '.join(averages)})" if averages else ""))
    if record.profit_factor is not None:
        said.append(f"factor {record.profit_factor:.2f}")
    said.append(f"{record.days:.1f} days a trade")
    ended = sorted(record.exits.items(), key=lambda row: -row[1].trades)
    said.append(
        "ended by " + ", ".join(f"{rule or 'unknown'} {row.trades} ({row.profit:+,.0f})" for rule, row in ended)
    )
    return "; ".join(said)

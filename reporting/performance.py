"""What a run earned and risked: statistics of the equity path and of the closed trades, by strategy and in all.

Beside it stands what the method's public descriptions promise (methodology, section 7).

The targets are never inputs of anything: they are printed with the measured figure, the sample and its interval, and
"not met" where they are not met.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from core.identifiers import part_kind
from core.performance import FEWEST_TRADES
from core.settings.strategies import TARGETS
from reporting.intervals import (
    FEWEST_MOVES,
    Interval,
    Unit,
    beta_posterior,
    bootstrap,
    bootstrap_difference,
    share_difference,
    wilson,
)
from reporting.rows import Decision, EngineTrade, EquityPoint, Journal, Outcome, Trade, strategy_title

TRADING_DAYS = 252
HALF_A_CENT = 0.005  # interest is booked in cents, and sums of cents in binary are off by less


@dataclass(frozen=True, slots=True)
class Priors:
    """Win rates believed before any trade, by strategy, and how many trades that belief is worth."""

    win_rates: Mapping[str, float]
    weight: float


@dataclass(frozen=True, slots=True)
class TradeStatistics:
    """Closed trades of one strategy, or of all. Dollars after fees unless named otherwise.

    ``credit_kept`` is cash kept over credit taken in, before fees, of the trades opened for a credit (1 is all of it);
    ``profit_factor`` is gains over losses. None where there is nothing to divide.
    """

    name: str
    count: int
    wins: int
    win_interval: Interval | None
    win_posterior: Interval | None
    profit: float
    fees: float
    average_win: float | None
    average_loss: float | None
    largest_loss: float | None
    profit_factor: float | None
    credit_kept: float | None
    longest_losing_streak: int

    @property
    def win_rate(self) -> float | None:
        """Share of trades that made money after fees; None without trades."""
        return self.wins / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class EquityStatistics:
    """The path of the account. Rates and drawdowns are fractions (0.2 is 20 %), a year is 252 sessions.

    ``moved`` counts the days on which the account moved by more than its interest. ``sharpe`` and ``sortino`` are over
    ``risk_free`` (a yearly rate). Intervals come from a stationary bootstrap of the daily returns. Ratios and intervals
    are None where under ``FEWEST_MOVES`` days moved: of a handful of days they say nothing.
    """

    start: date
    end: date
    sessions: int
    first: float
    last: float
    total_return: float
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    drawdown: float
    drawdown_peak: date
    drawdown_trough: date
    risk_free: float
    annual_return_interval: Interval | None
    sharpe_interval: Interval | None
    drawdown_interval: Interval | None
    moved: int


@dataclass(frozen=True, slots=True)
class SkipReason:
    """How often one rule stopped an entry, with its latest words."""

    strategy: str
    rule: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class PartExit:
    """What an exit rule ended of one kind of part. ``profit`` dollars after fees, ``days`` the average in the trade."""

    strategy: str
    part: str
    rule: str
    count: int
    wins: int
    profit: float
    days: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two runs; ``difference`` is the second less the first, with its interval where there is one."""

    name: str
    unit: Unit
    first: float | None
    second: float | None
    interval: Interval | None = None

    @property
    def difference(self) -> float | None:
        """Second less first; None where either is unknown."""
        return None if self.first is None or self.second is None else self.second - self.first


class PerformanceTracker:
    """Collects equity points and closed trades and says what they amount to. Order of arrival is kept."""

    def __init__(self, risk_free: float = 0.0, priors: Priors | None = None) -> None:
        self._risk_free = risk_free
        self._priors = priors
        self._equity: list[EquityPoint] = []
        self._trades: list[Trade] = []

    def add_equity(self, points: Iterable[EquityPoint]) -> None:
        """Take session closes, in order of days."""
        self._equity.extend(points)

    def add_trades(self, trades: Iterable[Trade]) -> None:
        """Take closed trades, in order of their closing."""
        self._trades.extend(trades)

    def equity(self) -> EquityStatistics | None:
        """Statistics of the path so far; None with under two points."""
        return equity_statistics(self._equity, self._risk_free)

    def total(self) -> TradeStatistics:
        """All closed trades together."""
        return trade_statistics("all", self._trades)

    def by_strategy(self) -> tuple[TradeStatistics, ...]:
        """One row a strategy, in the order of their first trade."""
        names = dict.fromkeys(trade.strategy for trade in self._trades)
        return tuple(
            trade_statistics(name, [trade for trade in self._trades if trade.strategy == name], self._priors)
            for name in names
        )


def trade_statistics(name: str, trades: Sequence[Trade | EngineTrade], priors: Priors | None = None) -> TradeStatistics:
    """Count, wins with their intervals, and what was kept, of the given trades."""
    wins = [trade.profit for trade in trades if trade.won]
    losses = [trade.profit for trade in trades if not trade.won]
    credits = [trade for trade in trades if isinstance(trade, Trade) and trade.credit > 0]
    taken_in = sum(trade.credit for trade in credits)
    lost = -sum(losses)
    return TradeStatistics(
        name=name,
        count=len(trades),
        wins=len(wins),
        win_interval=wilson(len(wins), len(trades)),
        win_posterior=posterior(name, len(wins), len(trades), priors),
        profit=sum(trade.profit for trade in trades),
        fees=sum(trade.fees for trade in trades),
        average_win=sum(wins) / len(wins) if wins else None,
        average_loss=sum(losses) / len(losses) if losses else None,
        largest_loss=min(losses, default=None),
        profit_factor=sum(wins) / lost if lost > 0 else None,
        credit_kept=sum(trade.cash_in + trade.cash_out for trade in credits) / taken_in if taken_in > 0 else None,
        longest_losing_streak=longest_losing_streak(trades),
    )


def posterior(name: str, wins: int, count: int, priors: Priors | None) -> Interval | None:
    """Credible interval of a strategy's win rate, from its prior and its record; None without a prior inside (0, 1)."""
    rate = None if priors is None else priors.win_rates.get(name)
    if priors is None or rate is None or not 0 < rate < 1:
        return None
    return beta_posterior(wins, count, rate, priors.weight)


def longest_losing_streak(trades: Sequence[Trade | EngineTrade]) -> int:
    """The most positions in a row, by closing time, that did not win; parts of one position count together."""
    profits: dict[str, float] = {}
    for number, trade in enumerate(sorted(trades, key=lambda trade: trade.closed)):
        name = trade.position if isinstance(trade, Trade) else str(number)
        brought = trade.profit if isinstance(trade, Trade) else float(trade.won)
        profits[name] = profits.pop(name, 0.0) + brought  # a position stands where its last part closed
    longest = current = 0
    for profit in profits.values():
        current = 0 if profit > 0 else current + 1
        longest = max(longest, current)
    return longest


def equity_statistics(points: Sequence[EquityPoint], risk_free: float = 0.0) -> EquityStatistics | None:
    """Statistics of a path of session closes; None with under two points or after the account was lost whole."""
    if len(points) < 2 or any(point.equity <= 0 for point in points[:-1]):
        return None
    values: NDArray[np.float64] = np.array([point.equity for point in points], dtype=np.float64)
    returns = np.diff(values) / values[:-1]
    paid = np.array([point.interest for point in points[1:]], dtype=np.float64)
    moved = int(np.count_nonzero(np.abs(np.diff(values) - paid) > HALF_A_CENT))
    enough = moved >= FEWEST_MOVES
    falls = np.asarray(1 - values / np.maximum.accumulate(values), dtype=np.float64)
    trough = int(np.argmax(falls))
    before = values[: trough + 1]
    peak = int(np.flatnonzero(before >= before.max())[-1])  # a fall begins at the last day at the high
    return EquityStatistics(
        start=points[0].day,
        end=points[-1].day,
        sessions=sum(1 for point in points if not point.opening),
        first=float(values[0]),
        last=float(values[-1]),
        total_return=float(values[-1] / values[0] - 1),
        annual_return=scalar(annual_returns(returns[None, :])),
        volatility=float(np.std(returns, ddof=1) * math.sqrt(TRADING_DAYS)) if len(returns) > 1 else None,
        sharpe=scalar(sharpe_ratios(returns[None, :], risk_free)) if enough else None,
        sortino=sortino_ratio(returns, risk_free) if enough else None,
        drawdown=float(falls[trough]),
        drawdown_peak=points[peak].day,
        drawdown_trough=points[trough].day,
        risk_free=risk_free,
        annual_return_interval=bootstrap(returns, annual_returns) if enough else None,
        sharpe_interval=bootstrap(returns, lambda paths: sharpe_ratios(paths, risk_free)) if enough else None,
        drawdown_interval=bootstrap(returns, worst_drawdowns) if enough else None,
        moved=moved,
    )


def annual_returns(paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compound yearly return of each row of daily returns; a lost account is -1."""
    growth = np.log(np.maximum(1 + paths, 1e-12)).sum(axis=1)
    yearly: NDArray[np.float64] = np.expm1(growth * TRADING_DAYS / paths.shape[1])
    return yearly


def sharpe_ratios(paths: NDArray[np.float64], risk_free: float) -> NDArray[np.float64]:
    """Yearly Sharpe ratio of each row of daily returns; NaN where nothing moved."""
    if paths.shape[1] < 2:
        return np.full(paths.shape[0], np.nan)
    excess = paths - risk_free / TRADING_DAYS
    spread = excess.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: NDArray[np.float64] = np.where(
            spread > 1e-15, excess.mean(axis=1) / spread * math.sqrt(TRADING_DAYS), np.nan
        )
    return ratios


def worst_drawdowns(paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest fall from a peak of each row of daily returns, as a fraction."""
    wealth = np.cumprod(1 + paths, axis=1)
    highest = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
    falls: NDArray[np.float64] = (1 - wealth / highest).max(axis=1)
    return falls


def sortino_ratio(returns: NDArray[np.float64], risk_free: float) -> float | None:
    """Yearly Sortino ratio over the risk-free rate; None when no day fell short of it."""
    excess = returns - risk_free / TRADING_DAYS
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0) ** 2)))
    return float(np.mean(excess)) / downside * math.sqrt(TRADING_DAYS) if downside > 1e-15 else None


def scalar(values: NDArray[np.float64]) -> float | None:
    """The only value of an array, None when it is not a number."""
    value = float(values[0])
    return value if math.isfinite(value) else None


def skip_reasons(decisions: Sequence[Decision], limit: int = 10) -> tuple[SkipReason, ...]:
    """The most frequent rules that kept a strategy out, most frequent first."""
    skips = [decision for decision in decisions if decision.outcome is Outcome.SKIP]
    counts = Counter((decision.strategy, decision.rule) for decision in skips)
    examples = {(decision.strategy, decision.rule): decision.reason for decision in skips}
    return tuple(
        SkipReason(strategy, rule, count, examples[strategy, rule])
        for (strategy, rule), count in counts.most_common(limit)
    )


def part_exits(trades: Sequence[Trade]) -> tuple[PartExit, ...]:
    """By strategy and kind of part in the order of their first trade, then by exit rule, most frequent first."""
    grouped: dict[tuple[str, str], dict[str, list[Trade]]] = {}
    for trade in trades:
        rules = grouped.setdefault((trade.strategy, part_kind(trade.part)), {})
        rules.setdefault(trade.exit_rule, []).append(trade)
    return tuple(
        PartExit(
            strategy,
            part,
            rule,
            len(rows),
            sum(row.won for row in rows),
            sum(row.profit for row in rows),
            sum((row.closed - row.opened).total_seconds() for row in rows) / 86_400 / len(rows),
        )
        for (strategy, part), rules in grouped.items()
        for rule, rows in sorted(rules.items(), key=lambda item: -len(item[1]))
    )


def compared(before: Journal, after: Journal, risk_free: float = 0.0) -> tuple[Compared, ...]:
    """Two runs figure by figure. Figures of the account are of the days that both have, over one risk-free rate.

    Their intervals come from one bootstrap of both (``bootstrap_difference``); that of the win rate from Newcombe.
    """
    days = {point.day for point in before.equity} & {point.day for point in after.equity}
    same = before.equity[:1] and after.equity[:1] and before.equity[0].day == after.equity[0].day
    points = [journal.path if same else journal.equity for journal in (before, after)]  # one that began later: closes
    paths = [[point for point in path if point.day in days] for path in points]
    one, two = (equity_statistics(path, risk_free) for path in paths)
    trades = trade_statistics("first", before.trades), trade_statistics("second", after.trades)
    rows: list[Compared] = []
    if one is not None and two is not None:
        left, right = map(daily_returns, paths)

        def interval(figure: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Interval | None:
            return bootstrap_difference(left, right, figure)

        sharpe = interval(lambda drawn: sharpe_ratios(drawn, risk_free))
        rows += [
            Compared("return", Unit.PERCENT, one.total_return, two.total_return),
            Compared("a year", Unit.PERCENT, one.annual_return, two.annual_return, interval(annual_returns)),
            Compared("largest drawdown", Unit.PERCENT, one.drawdown, two.drawdown, interval(worst_drawdowns)),
            Compared("Sharpe", Unit.NUMBER, one.sharpe, two.sharpe, sharpe),
        ]
    first, second = trades
    wins = share_difference((first.wins, first.count), (second.wins, second.count))
    return (
        *rows,
        Compared("trades", Unit.NUMBER, first.count, second.count),
        Compared("wins", Unit.PERCENT, first.win_rate, second.win_rate, wins),
        Compared("profit of trades", Unit.NUMBER, first.profit, second.profit),
        Compared("fees", Unit.NUMBER, first.fees, second.fees),
        Compared("credit kept", Unit.PERCENT, first.credit_kept, second.credit_kept),
    )


def daily_returns(points: Sequence[EquityPoint]) -> NDArray[np.float64]:
    """Returns from each point to the next."""
    values: NDArray[np.float64] = np.array([point.equity for point in points], dtype=np.float64)
    returns: NDArray[np.float64] = np.diff(values) / values[:-1]
    return returns


TRADES_A_YEAR = 200.0
ANNUAL_RETURN = 1.0
DRAWDOWN = 0.20
SHARPE = 2.0
FEW = "too few days"
NOTHING = "no trade"


class Verdict(StrEnum):
    """Whether the measured figure reaches the target. The interval says how sure that is."""

    MET = "met"
    NOT_MET = "not met"
    TOO_FEW = "too few trades"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One promise beside its measurement.

    ``sample`` says in words what the figure rests on, ``absent`` why there is none where there is none; ``few``: the
    sample is too small to be held against the target.
    """

    name: str
    target: float
    at_most: bool
    unit: Unit
    measured: float | None
    interval: Interval | None
    sample: str
    absent: str = ""
    few: bool = False

    @property
    def verdict(self) -> Verdict:
        """By the measured figure itself: a target is reached at its boundary, a bound is kept only under it."""
        if self.measured is None:
            return Verdict.UNKNOWN
        if self.few:
            return Verdict.TOO_FEW
        reached = self.measured < self.target if self.at_most else self.measured >= self.target
        return Verdict.MET if reached else Verdict.NOT_MET


def judge(
    equity: EquityStatistics | None, total: TradeStatistics, strategies: Sequence[TradeStatistics]
) -> tuple[TargetRow, ...]:
    """Every target with what was measured: win rates of the strategies that traded, then the whole account."""
    rows = [win_rate_row(found, TARGETS[found.name]) for found in strategies if found.name in TARGETS]
    days = counted(equity.sessions, "session") if equity is not None else "no equity recorded"
    years = equity.sessions / TRADING_DAYS if equity is not None else None
    # An account that never traded keeps every bound and says nothing about the method.
    traded = equity if equity is not None and (total.count or equity.moved) else None
    few = FEW if traded is not None else NOTHING
    rows.append(
        TargetRow(
            name="trades a year",
            target=TRADES_A_YEAR,
            at_most=False,
            unit=Unit.NUMBER,
            measured=total.count / years if years else None,
            interval=None,
            sample=f"{counted(total.count, 'trade')} in {days}",
        )
    )
    rows.append(
        TargetRow(
            name="annual return",
            target=ANNUAL_RETURN,
            at_most=False,
            unit=Unit.PERCENT,
            measured=traded.annual_return if traded else None,
            interval=traded.annual_return_interval if traded else None,
            sample=days,
            absent=few,
        )
    )
    rows.append(
        TargetRow(
            name="largest drawdown",
            target=DRAWDOWN,
            at_most=True,
            unit=Unit.PERCENT,
            measured=traded.drawdown if traded else None,
            interval=traded.drawdown_interval if traded else None,
            sample=days,
            absent=few,
        )
    )
    rows.append(
        TargetRow(
            name="Sharpe ratio",
            target=SHARPE,
            at_most=False,
            unit=Unit.NUMBER,
            measured=traded.sharpe if traded else None,
            interval=traded.sharpe_interval if traded else None,
            sample=days,
            absent=few,
        )
    )
    return tuple(rows)


def win_rate_row(found: TradeStatistics, target: float) -> TargetRow:
    """The win rate of one strategy beside its target, with the Wilson interval."""
    return TargetRow(
        name=f"win rate, {strategy_title(found.name)}",
        target=target,
        at_most=False,
        unit=Unit.PERCENT,
        measured=found.win_rate,
        interval=found.win_interval,
        sample=counted(found.count, "trade"),
        few=found.count < FEWEST_TRADES,
    )


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 trade, 2 trades."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

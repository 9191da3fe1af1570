"""LEAN's statistics of closed trades (TradeStatistics.cs)."""

from __future__ import annotations

import math
import statistics as moments
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulation.account.tradebuilder import Trade

MUCH_BETTER = 10.0
"""What LEAN writes for a ratio whose denominator is nothing."""


@dataclass
class TradeStatistics:
    """LEAN's figures; times are UTC milliseconds, durations milliseconds, rates fractions."""

    start_ms: int | None = None
    end_ms: int | None = None
    total_number_of_trades: int = 0
    number_of_winning_trades: int = 0
    number_of_losing_trades: int = 0
    total_profit_loss: float = 0.0
    total_profit: float = 0.0
    total_loss: float = 0.0
    largest_profit: float = 0.0
    largest_loss: float = 0.0
    average_profit_loss: float = 0.0
    average_profit: float = 0.0
    average_loss: float = 0.0
    average_duration: float = 0.0
    average_winning_duration: float = 0.0
    average_losing_duration: float = 0.0
    median_duration: float = 0.0
    median_winning_duration: float = 0.0
    median_losing_duration: float = 0.0
    max_consecutive_winning_trades: int = 0
    max_consecutive_losing_trades: int = 0
    profit_loss_ratio: float = 0.0
    win_loss_ratio: float = 0.0
    win_rate: float = 0.0
    loss_rate: float = 0.0
    average_mae: float = 0.0
    average_mfe: float = 0.0
    largest_mae: float = 0.0
    largest_mfe: float = 0.0
    maximum_closed_trade_drawdown: float = 0.0
    maximum_intra_trade_drawdown: float = 0.0
    profit_loss_standard_deviation: float = 0.0
    profit_loss_downside_deviation: float = 0.0
    profit_factor: float = 0.0
    sharpe_ratio: float = 0.0
    sortino_ratio: float = 0.0
    profit_to_max_drawdown_ratio: float = 0.0
    maximum_end_trade_drawdown: float = 0.0
    average_end_trade_drawdown: float = 0.0
    maximum_drawdown_duration: float = 0.0
    total_fees: float = 0.0


@dataclass
class _Walk:
    """What is carried from trade to trade."""

    total: float = 0.0
    peak: float = 0.0
    peak_with_excursion: float = 0.0
    peak_ms: int | None = None
    falling: bool = False
    winners: int = 0
    losers: int = 0
    durations: list[int] = field(default_factory=list)


def trade_statistics(trades: Sequence[Trade]) -> TradeStatistics:
    """LEAN's trade statistics of closed trades in the order in which they closed."""
    made = TradeStatistics(total_number_of_trades=len(trades))
    if not trades:
        return made
    walk = _Walk()
    for trade in trades:
        _one(made, walk, trade)
    won = [trade for trade in trades if trade.profit_loss > 0]
    lost = [trade for trade in trades if trade.profit_loss <= 0]
    bonus = sum(1 for trade in lost if trade.is_win)
    made.number_of_winning_trades, made.number_of_losing_trades = len(won) + bonus, len(lost) - bonus
    made.start_ms = min(trade.entry_ms for trade in trades)
    made.end_ms = max(trade.exit_ms for trade in trades)
    _amounts(made, trades, won, lost)
    _durations(made, trades, won, lost)
    _ratios(made, len(trades))
    return made


def _one(made: TradeStatistics, walk: _Walk, trade: Trade) -> None:
    walk.peak_ms = trade.entry_ms if walk.peak_ms is None else walk.peak_ms
    walk.peak_with_excursion = max(walk.peak_with_excursion, walk.total + trade.mfe)
    fall = walk.total + trade.mae - walk.peak_with_excursion
    made.maximum_intra_trade_drawdown = min(made.maximum_intra_trade_drawdown, fall)
    walk.total += trade.profit_loss
    if trade.profit_loss > 0 or trade.is_win:
        walk.winners, walk.losers = walk.winners + 1, 0
    else:
        walk.winners, walk.losers = 0, walk.losers + 1
    made.max_consecutive_winning_trades = max(made.max_consecutive_winning_trades, walk.winners)
    made.max_consecutive_losing_trades = max(made.max_consecutive_losing_trades, walk.losers)
    if trade.profit_loss <= 0:
        made.maximum_closed_trade_drawdown = min(made.maximum_closed_trade_drawdown, walk.total - walk.peak)
        walk.falling = True
    elif walk.total > walk.peak:
        walk.peak = walk.total
        if walk.falling:
            made.maximum_drawdown_duration = max(made.maximum_drawdown_duration, trade.exit_ms - walk.peak_ms)
        walk.peak_ms, walk.falling = trade.exit_ms, False


def _amounts(made: TradeStatistics, trades: Sequence[Trade], won: list[Trade], lost: list[Trade]) -> None:
    profits = [trade.profit_loss for trade in trades]
    made.total_profit_loss = sum(profits)
    made.total_profit = sum(trade.profit_loss for trade in won)
    made.total_loss = sum(trade.profit_loss for trade in lost)
    made.largest_profit = max((trade.profit_loss for trade in won), default=0.0)
    made.largest_loss = min((*(trade.profit_loss for trade in lost), 0.0))
    made.average_profit_loss = made.total_profit_loss / len(trades)
    made.average_profit = made.total_profit / len(won) if won else made.total_profit
    made.average_loss = made.total_loss / len(lost) if lost else made.total_loss
    made.average_mae = sum(trade.mae for trade in trades) / len(trades)
    made.average_mfe = sum(trade.mfe for trade in trades) / len(trades)
    made.largest_mae = min((*(trade.mae for trade in trades), 0.0))
    made.largest_mfe = max((*(trade.mfe for trade in trades), 0.0))
    made.maximum_end_trade_drawdown = max((*(trade.end_trade_drawdown for trade in trades), 0.0))
    made.average_end_trade_drawdown = made.average_profit_loss - made.average_mfe
    made.total_fees = sum(trade.total_fees for trade in trades)
    made.profit_loss_standard_deviation = _deviation(profits)
    made.profit_loss_downside_deviation = _deviation([trade.profit_loss for trade in lost])


def _deviation(values: list[float]) -> float:
    return math.sqrt(moments.variance(values)) if len(values) > 1 else 0.0 * len(values)


def _durations(made: TradeStatistics, trades: Sequence[Trade], won: list[Trade], lost: list[Trade]) -> None:
    for name, group in (("", trades), ("winning_", won), ("losing_", lost)):
        spans = [trade.exit_ms - trade.entry_ms for trade in group]
        if spans:
            setattr(made, f"average_{name}duration", _running_average(spans))
            setattr(made, f"median_{name}duration", moments.median(spans))


def _running_average(spans: Sequence[int]) -> float:
    """Average in milliseconds as LEAN keeps it: trade by trade, cut to ticks of 100 ns each time."""
    ticks = 0
    for count, milliseconds in enumerate(spans, 1):
        ticks += int((milliseconds / 1000 - ticks / 10_000_000) / count * 10_000_000)
    return ticks / 10_000


def _ratios(made: TradeStatistics, count: int) -> None:
    losing = made.number_of_losing_trades
    made.profit_loss_ratio = made.average_profit / abs(made.average_loss) if made.average_loss else made.average_loss
    made.win_loss_ratio = made.number_of_winning_trades / losing if losing > 0 else MUCH_BETTER
    made.win_rate = made.number_of_winning_trades / count
    made.loss_rate = 1 - made.win_rate
    if made.total_profit:
        made.profit_factor = made.total_profit / abs(made.total_loss) if made.total_loss < 0 else MUCH_BETTER
    if made.profit_loss_standard_deviation > 0:
        made.sharpe_ratio = made.average_profit_loss / made.profit_loss_standard_deviation
    if made.profit_loss_downside_deviation > 0:
        made.sortino_ratio = made.average_profit_loss / made.profit_loss_downside_deviation
    if made.total_profit_loss:
        fall = made.maximum_closed_trade_drawdown
        made.profit_to_max_drawdown_ratio = made.total_profit_loss / abs(fall) if fall < 0 else MUCH_BETTER

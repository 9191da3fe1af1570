"""What the method's public descriptions promise, beside what a run measured (methodology, section 7).

The targets are never inputs of anything: they are printed with the measured figure, the sample and its interval, and
"not met" where they are not met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from reporting.intervals import Interval, Unit
from reporting.performance import TRADING_DAYS, EquityStatistics, TradeStatistics
from reporting.rows import strategy_title

WIN_RATE_TARGETS = {"friday_0dte": 0.88, "lt112": 0.75, "futures_strangle": 0.70, "ipmcc": 0.80}
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
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One promise beside its measurement.

    ``sample`` says in words what the figure rests on, ``absent`` why there is none where there is none.
    """

    name: str
    target: float
    at_most: bool
    unit: Unit
    measured: float | None
    interval: Interval | None
    sample: str
    absent: str = ""

    @property
    def verdict(self) -> Verdict:
        """By the measured figure itself: a target is reached at its boundary, a bound is kept only under it."""
        if self.measured is None:
            return Verdict.UNKNOWN
        reached = self.measured < self.target if self.at_most else self.measured >= self.target
        return Verdict.MET if reached else Verdict.NOT_MET


def judge(
    equity: EquityStatistics | None, total: TradeStatistics, strategies: Sequence[TradeStatistics]
) -> tuple[TargetRow, ...]:
    """Every target with what was measured: win rates of the strategies that traded, then the whole account."""
    rows = [win_rate_row(found, WIN_RATE_TARGETS[found.name]) for found in strategies if found.name in WIN_RATE_TARGETS]
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
    )


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 trade, 2 trades."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

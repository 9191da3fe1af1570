"""Streaks count positions, and a drawdown begins at the last day at the high."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

from core.book import ClosedTrade, losing_streak
from reporting.performance import equity_statistics, longest_losing_streak
from reporting.rows import EquityPoint, Trade

DAY = datetime(2024, 3, 4, 15, 0)


def trade(position: str, part: str, profit: float, days: int) -> Trade:
    closed = DAY + timedelta(days=days)
    return Trade(
        "lt112", position, "SPX", "lt112", DAY, closed, 1, 100.0, (), 100.0, 100.0, profit - 100.0, 0.0, profit,
        500.0, "test", "", None, None, None, None, part=part,
    )  # fmt: skip


def test_a_losing_streak_counts_positions_by_all_of_their_parts() -> None:
    # Position a: -50 and +80 is a win; b: +10 and -30 a loss; c: -5 a loss.
    rows = [
        trade("a", "weekly", -50.0, 1), trade("b", "naked", 10.0, 2), trade("a", "spread", 80.0, 3),
        trade("b", "spread", -30.0, 4), trade("c", "whole", -5.0, 5),
    ]  # fmt: skip
    assert longest_losing_streak(rows) == 2
    assert longest_losing_streak([replace(row, position=f"{count}") for count, row in enumerate(rows)]) == 2


def test_the_books_streak_waits_for_a_positions_end_and_leaves_out_what_nobody_knows() -> None:
    def closed(position: str, profit: float | None, ended: bool) -> ClosedTrade:
        return ClosedTrade("lt112", position, DAY, DAY, profit, 500.0, 0.0, "part", ended)

    rows = [closed("a", 10.0, True), closed("b", -5.0, True), closed("c", None, True), closed("d", -9.0, False)]
    assert losing_streak(rows) == 1  # b lost; c is unknown and d is not over
    assert losing_streak([*rows, closed("d", 8.0, True)]) == 2  # d lost a dollar in all
    assert losing_streak([*rows, closed("d", 10.0, True)]) == 0


def test_a_drawdown_begins_at_the_last_day_at_the_high() -> None:
    equity = (100.0, 120.0, 110.0, 120.0, 90.0, 100.0)
    points = [EquityPoint(date(2024, 3, 4) + timedelta(days=count), value) for count, value in enumerate(equity)]
    found = equity_statistics(points)
    assert found is not None
    # From 120 to 90 a quarter; the second day at 120 is where it began.
    assert (found.drawdown, found.drawdown_peak, found.drawdown_trough) == (0.25, date(2024, 3, 7), date(2024, 3, 8))

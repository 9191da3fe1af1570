"""Figures that must not mislead: ratios of too few days, interest, runs without a trade, other people's algorithms."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from reporting.charts import path_picture
from reporting.markup import target_texts
from reporting.performance import Verdict, equity_statistics
from reporting.report import summarise
from reporting.rows import EngineTrade, EquityPoint, parse_journal
from reporting.trades import day_cells
from tests.reporting.pages import a_record, decision, equity, path_of, read_page


def interest(day: str, amount: float) -> str:
    """An ``interest`` line."""
    row = {"time": f"{day}T09:31:00", "kind": "interest", "component": "interest", "reason": "", "correlation": "",
           "day": day, "days": 1, "free_cash": 1.0, "bill": 0.05, "spread": 0.005, "amount": amount}  # fmt: skip
    return json.dumps(row)


def test_ratios_by_hand_once_thirty_days_moved() -> None:
    found = equity_statistics(path_of([0.10, -0.10, 0.10] * 10))
    assert found is not None
    # Mean 1/30; sum of squares 0.3 less 30/900 over 29 is 0.00919540, deviation 0.0958927: 0.347610 * sqrt(252).
    assert found.sharpe == pytest.approx(5.51817, abs=1e-4)
    # downside sqrt(10 * 0.1^2 / 30) = 0.057735: 0.577350 * sqrt(252) = 9.16515
    assert found.sortino == pytest.approx(9.16515, abs=1e-5)
    assert found.sharpe_interval is not None
    assert found.moved == 30
    one_less = equity_statistics(path_of([0.10, -0.10, 0.10] * 9 + [0.10, -0.10]))
    assert one_less is not None
    assert (one_less.sharpe, one_less.sharpe_interval, one_less.drawdown_interval, one_less.moved) == (
        None, None, None, 29)  # fmt: skip


def test_interest_alone_moves_nothing() -> None:
    """Forty days that earned interest, and one trade: one day moved."""
    lines = []
    value = 100_000.0
    for count in range(41):
        day = (date(2024, 1, 2) + timedelta(days=count)).isoformat()
        if count:
            value = round(value + 12.25 + (500.0 if count == 7 else 0.0), 2)
            lines.append(interest(day, 12.25))
        lines.append(equity(day, value))
    journal = parse_journal(lines)
    assert [point.interest for point in journal.equity[:3]] == [0.0, 12.25, 12.25]
    found = equity_statistics(journal.equity, 0.0497)
    assert found is not None
    assert (found.moved, found.sharpe) == (1, None)


def test_free_cash_that_earns_the_bill_compares_like_with_like() -> None:
    """The same 30 trades, on idle cash without interest and with the bill's: only the first looks like a loss."""
    bill, spread = 0.05, 0.005
    trades = [0.0006 if count % 5 < 4 else -0.0018 for count in range(30)]
    idle = [change for trade in trades for change in (trade, *[0.0] * 7)]
    paid = [change + (bill - spread) / 252 for change in idle]
    without, with_interest = equity_statistics(path_of(idle), bill), equity_statistics(path_of(paid), bill)
    assert without is not None
    assert without.sharpe is not None
    assert with_interest is not None
    assert with_interest.sharpe is not None
    # 30 trades, one in 8 days: 24 x 0.06 % - 6 x 0.18 % = 0.36 % in 240 days, 0.378 % a year. Over a bill of 5 % that
    # is -4.62 % a year; with the bill less 0.5 % earned beside it, -0.12 %.
    assert without.sharpe < -4.0
    assert -0.3 < with_interest.sharpe < 0.0


def test_without_a_trade_nothing_of_the_account_is_measured() -> None:
    """Interest alone keeps a drawdown under 20 %, and that is no merit of the method."""
    lines = [interest("2008-01-03", 10.0), equity("2008-01-02", 100_000.0), equity("2008-01-03", 100_010.0)]
    verdicts = {row.name: (row.verdict, target_texts(row)[1]) for row in summarise(a_record(lines)).targets}
    assert verdicts == {
        "trades a year": (Verdict.NOT_MET, "0.00"),
        "annual return": (Verdict.UNKNOWN, "no trade"),
        "largest drawdown": (Verdict.UNKNOWN, "no trade"),
        "Sharpe ratio": (Verdict.UNKNOWN, "no trade"),
    }


def test_an_order_that_was_not_filled_names_both_numbers() -> None:
    line = {**json.loads(decision("2008-01-04", rule="not_filled", reason="not filled by the end of its walk")),
            "observed": 3.40, "limit": 3.35}  # fmt: skip
    (cell, *_) = day_cells(
        parse_journal([json.dumps(line)]).decisions, (), date(2008, 1, 4), date(2008, 1, 4), fridays=True
    )
    assert cell.words == "not filled by the end of its walk (natural price 3.40 against a limit of 3.35)"


def test_somebody_elses_algorithm_is_told_by_the_engines_trades() -> None:
    trade = EngineTrade(
        "SPY", -100.0, datetime(2008, 1, 2, 15), datetime(2008, 1, 3, 15), 140.0, 139.0, 98.0, 2.0, True
    )
    points = (EquityPoint(date(2007, 12, 31), 1000.0, opening=True), EquityPoint(date(2008, 1, 2), 1098.0))
    record = a_record([], own=False, engine_trades=(trade,), equity=points, engine_statistics={"Win Rate": "100%"})
    summary = summarise(record)
    assert (summary.total.count, summary.total.wins, summary.total.profit, summary.total.fees) == (1, 1, 98.0, 2.0)
    assert summary.targets == ()
    assert summary.equity is not None
    assert summary.equity.sessions == 1  # what the account began with is none
    page = read_page(record)
    text = " ".join(page.text)
    for words in ("-100", "+$98.00", "each leg on its own", "Win Rate (LEAN, by leg)", "as a trade of its own"):
        assert words in text, words
    assert not page.ids & {"targets", "days", "skips", "strategies", "risk"}
    assert {link.removeprefix("#") for link in page.links} <= page.ids


def test_panels_show_what_they_are_given() -> None:
    picture = path_picture("A < B", ["2020-01-02", "2020-01-03"], np.array([1.0, 2.0]), np.array([20.0, np.nan]))
    assert picture.startswith("<svg")
    assert "A &lt; B" in picture
    assert picture.count("<polyline") == 2

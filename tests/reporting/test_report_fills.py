"""What report and table say of a run's fills: hand-worked cash at mid, worked and natural, and the fill rate."""

from __future__ import annotations

import json
from datetime import datetime, time
from pathlib import Path
from typing import Any

import pytest

from cli.summary import fills_table
from core.fills import FillAssumption, FillRule
from reporting.fields import JournalError
from reporting.report import fills_table as page_table
from reporting.rows import Fill, parse_journal
from reporting.trades import FillSummary, summarise_fills, table_rows
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day

WORKED = FillRule(FillAssumption.WORKED, 0.60)
Row = dict[str, Any]


def leg(position: str, quantity: float, price: float, quote: tuple[float | None, float | None], group: str = "") -> Row:
    return {
        "kind": "fill", "time": "2024-03-08T10:33:00", "group": group or f"{position}-in", "position": position,
        "strategy": "friday_0dte", "contract": "x", "quantity": quantity, "price": price, "fee": 1.0,
        "bid": quote[0], "ask": quote[1],
    }  # fmt: skip


def step(group: str, action: str = "sent", purpose: str = "entry") -> Row:
    return {"kind": "order", "group": group, "action": action, "purpose": purpose}


def trade(position: str, profit: float) -> Row:
    return {
        "kind": "trade_closed", "strategy": "friday_0dte", "position": position, "underlying": "SPX",
        "structure": "put_spread", "opened": "2024-03-08T10:33:00", "closed": "2024-03-08T15:00:00", "contracts": 2,
        "multiplier": 100.0, "legs": [], "credit": 584.0, "cash_in": 584.0, "cash_out": 0.0, "fees": 4.0,
        "profit": profit, "exit_rule": "expired", "reason": "expired",
    }  # fmt: skip


def summary(rows: list[Row], rule: FillRule | None = WORKED) -> FillSummary:
    return summarise_fills(parse_journal(json.dumps(row) for row in rows), rule)


# Two spreads sold 4.00 x 4.40 and 1.00 x 1.20 at 4.08 and 1.16: 2.92, as 60 % of the way from 3.10 to 2.80 is. They
# expire: 2 x 292 - 4 = 580. At mid 2 x 18 dollars more, at natural 2 x 12 less.
SOLD = [leg("one", -2.0, 4.08, (4.0, 4.4)), leg("one", 2.0, 1.16, (1.0, 1.2))]


def test_the_same_trades_at_mid_worked_and_natural() -> None:
    found = summary([step("one-in"), *SOLD, trade("one", 580.0)])
    outcomes = {row.name: (round(row.profit, 6), row.wins) for row in found.outcomes}
    assert outcomes == {"as run": (580.0, 1), "mid": (616.0, 1), "worked": (580.0, 1), "natural": (556.0, 1)}
    assert (found.compared, found.trades, found.sent, found.filled) == (1, 1, 1, 1)
    # It paid 0.18 of the 0.30 between mid and natural.
    assert found.given_up == pytest.approx(0.60)


def test_a_trade_may_win_at_the_mid_and_lose_at_natural() -> None:
    found = summary([step("one-in"), *SOLD, trade("one", 20.0)])
    # 20 + 36 at mid, 20 - 24 at natural.
    assert {row.name: (round(row.profit, 6), row.wins) for row in found.outcomes}["natural"] == (-4.0, 0)
    assert {row.name: row.wins for row in found.outcomes}["mid"] == 1


def test_what_was_bought_without_a_bid_counts_from_zero_and_what_was_sold_is_left_out() -> None:
    bought = leg("one", 1.0, 0.05, (None, 0.10))
    assert Fill("g", "p", 1.0, 0.05, None, 0.10).mid == 0.05
    known = summary([bought, trade("one", 10.0)])
    assert known.compared == 1
    assert known.outcomes[1].profit == pytest.approx(10.0)  # filled at its mid already
    unknown = summary([leg("one", -1.0, 0.05, (None, 0.10)), trade("one", 10.0)])
    assert (unknown.compared, unknown.trades, unknown.given_up) == (0, 1, None)
    assert [row[0] for row in table_rows(unknown)] == ["entries filled", "left out"]


def test_the_fill_rate_counts_entries_that_were_sent() -> None:
    rows = [
        step("one-in"), step("one-in", "repriced"), step("two-in"), step("two-in", "cancelled"),
        step("three-in", "rejected"), step("one-out", purpose="exit"), *SOLD, trade("one", 580.0),
    ]  # fmt: skip
    found = summary(rows)
    assert (found.sent, found.filled, found.rate) == (2, 1, "50% of the entries that were sent")
    assert summary([]).rate == "no entry was sent"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (WORKED, "once it has given up 60% of the way from mid to natural"),
        (FillRule(FillAssumption.NATURAL, 0.6), "natural, each leg's bid or offer"),
        (FillRule(FillAssumption.MID, 0.6), "kinder than any market"),
        (FillRule(FillAssumption.LEAN, 0.6), "which selects the losing trades"),
        (None, "the broker's own"),
    ],
)
def test_table_and_page_say_which_assumption_was_used(rule: FillRule | None, words: str) -> None:
    found = summary([step("one-in"), *SOLD, trade("one", 580.0)], rule)
    assert words in fills_table(found).title
    assert words.replace("'", "&#x27;") in str(page_table(found)) or words in str(page_table(found))
    assert [row[0] for row in fills_table(found).rows] == ["as run", "mid", "worked", "natural", "entries filled"]
    assert "+$616" in str(page_table(found))
    assert "No fill" in str(page_table(None))


def test_a_run_journals_the_quotes_of_its_fills(tmp_path: Path) -> None:
    gateway = FakeGateway(
        datetime.combine(FRIDAY, time()), lambda at: 5000.0 + 0.5 * (at.minute % 3), lambda _: 24.0, tmp_path
    )
    system, sink = build(gateway)
    run_day(system, gateway, FRIDAY)
    found = summarise_fills(parse_journal(sink.lines), WORKED)
    assert (found.compared, found.filled, found.sent) == (1, 1, 1)
    # The fake broker fills at mids: that is what the run came to.
    as_run, mid, worked, natural = (row.profit for row in found.outcomes)
    assert as_run == pytest.approx(mid, abs=0.1)
    assert mid > worked > natural


def test_a_fill_without_a_price_is_refused_by_its_place() -> None:
    broken = {**SOLD[0], "price": None}
    with pytest.raises(JournalError, match="price is missing"):
        summary([broken])

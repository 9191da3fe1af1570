"""The three brokers that can stand behind a live run, by hand-written minutes: who fills what, where and when.

The put is bid 2.00 and offered at 2.10 until 9:40, and bid no more after; an order to sell it at 1.90 goes out at 9:35.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from simulation.lean.bars import Bar
from simulation.lean.clock import NEW_YORK
from simulation.live_mode.account import Broker, LiveAccount
from simulation.live_mode.quotes import carried
from tests.simulation.live_mode.watching import algorithm, moment, session


def fills(tmp_path: Path, broker: Broker, order: str, words: dict[str, str]) -> list[tuple[datetime, str, float]]:
    """Minute, thread and price of each fill; words in force from the times that are their keys."""
    live = session(tmp_path, LiveAccount(broker=broker), order=order)
    live.start(moment("9:29:00"))
    for clock, word in words.items():
        live.until(moment(clock))
        live.control(word)
    live.until(moment("9:50:00"))
    calls = [call for call in live.alive.calls if " FILLED " in call.detail]
    prices = [ticket.average_fill_price for ticket in algorithm(live).tickets]
    live.stop()
    return [
        (NEW_YORK.local(call.utc_ms).replace(second=0, microsecond=0), call.thread, price)
        for call, price in zip(calls, prices, strict=False)
    ]


@pytest.mark.parametrize(
    ("broker", "minute", "thread"),
    [
        (Broker.SIMULATED, "9:36:00", "orders-1"),  # a quote newer than the order
        (Broker.RECORDED, "9:35:00", "orders-1"),  # the one that stood
        (Broker.PAPER, "9:36:00", "algorithm"),  # the next slice's
    ],
)
def test_an_order_fills_by_its_brokers_quote_on_its_brokers_thread(
    tmp_path: Path, broker: Broker, minute: str, thread: str
) -> None:
    assert fills(tmp_path, broker, "1.9", {}) == [(moment(minute), thread, 2.0)]


def test_only_the_paper_broker_fills_on_a_bid_that_has_vanished(tmp_path: Path) -> None:
    """Nothing fills until 9:42, when nobody bids for two minutes; LEAN's quote shows 2.00 still."""
    held_back = {"9:34:00": "nofill", "9:42:00": ""}
    found = {}
    for broker in Broker:
        (tmp_path / broker.name).mkdir()
        found[broker] = [row[0] for row in fills(tmp_path / broker.name, broker, "1.9", held_back)]
    assert found == {Broker.SIMULATED: [], Broker.RECORDED: [], Broker.PAPER: [moment("9:42:00")]}


def test_the_paper_broker_fills_on_what_a_drill_shows_and_the_recorded_on_the_market(tmp_path: Path) -> None:
    """Asked 2.15: nobody in the market bids it. The crossed feed shows 2.10 + 0.10."""
    crossed = {"9:30:00": "crossed"}
    (tmp_path / "paper").mkdir()
    (tmp_path / "recorded").mkdir()
    assert fills(tmp_path / "paper", Broker.PAPER, "2.15", crossed) == [(moment("9:36:00"), "algorithm", 2.2)]
    assert fills(tmp_path / "recorded", Broker.RECORDED, "2.15", crossed) == []


def test_a_live_bars_side_starts_from_the_close_before_it() -> None:
    """Close 1.00, then a minute of 1.20 to 1.30: open and low are the 1.00 (TickQuoteBarConsolidator.cs:102)."""
    before, fresh = Bar(0.9, 1.1, 0.8, 1.0), Bar(1.2, 1.3, 1.2, 1.25)
    side, stands = carried(fresh, before), carried(None, before)
    assert side is not None
    assert stands is not None
    assert (side.open, side.high, side.low, side.close) == (1.0, 1.3, 1.0, 1.25)
    assert (stands.open, stands.high, stands.low, stands.close) == (1.0, 1.0, 1.0, 1.0)
    assert carried(fresh, None) is fresh
    assert carried(None, None) is None

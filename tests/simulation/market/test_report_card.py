"""Three lines that say how kind the market was measured to be to what a run did."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from benchmarks.recorded import CHOSEN, FOLDER, STRESS, gathered, median
from simulation.lean.enums import OptionRight, OptionStyle, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.recordings.beside import Compared, Fears
from simulation.market.report_card import PRICES, Fill, report_card, term_of

VIX = FOLDER.parent / "data" / "vix-daily.csv"
DAY = date(2018, 2, 9)
INDEX = Symbol.create("SPX", SecurityType.INDEX, "usa")


def option(expiry: date, right: OptionRight) -> Symbol:
    return Symbol.create_option(INDEX, "SPXW", "usa", OptionStyle.EUROPEAN, right, 2600.0, expiry)


def test_a_seller_of_condors_on_the_last_day() -> None:
    """30 points of puts and 10 of calls sold today, 20 points of puts of a month: 50 and 33 % are named."""
    fills = [
        Fill(DAY, option(DAY, OptionRight.PUT), -10.0, 3.0),
        Fill(DAY, option(DAY, OptionRight.PUT), 10.0, 1.0),
        Fill(DAY, option(DAY, OptionRight.CALL), -10.0, 1.0),
        Fill(DAY, option(date(2018, 3, 9), OptionRight.PUT), -1.0, 20.0),
    ]
    prices, moves, costs = report_card(fills)
    assert prices.startswith(
        "Prices: 50% of what it took in was puts on their last day, which cost 1.05 (1.00 to 1.10)"
    )
    assert "33% of what it took in was puts of 8 to 45 days, which cost 1.02" in prices
    assert moves.startswith("Moves: it traded options on their last day, and from 10:00")
    assert "compared with nothing" not in costs
    assert "0.7 times recorded ones (too narrow: kind)" in costs


def test_runs_without_index_options() -> None:
    share = Symbol.create("GLD", SecurityType.EQUITY, "usa")
    put = Symbol.create_option(share, "usa", OptionStyle.AMERICAN, OptionRight.PUT, 120.0, date(2018, 3, 16))
    prices, _, costs = report_card([Fill(DAY, put, -1.0, 2.0), Fill(DAY, share, 100.0, 120.0)])
    assert "sold no options on the S&P 500" in prices
    assert "stated, not measured" in costs
    assert report_card([])[2] == "Costs: this run traded no options."
    mixed = [Fill(DAY, put, -1.0, 2.0), Fill(DAY, option(DAY, OptionRight.CALL), -1.0, 2.0)]
    assert "50% of its fills were on underlyings that were compared with nothing" in report_card(mixed)[2]


@pytest.mark.skipif(not FOLDER.is_dir() or not VIX.is_file(), reason="no recordings beside the repository")
def test_the_prices_are_what_was_measured() -> None:
    found = gathered(FOLDER, Fears.read(VIX))
    parts = [rows for one, rows in found if one.level < STRESS and one.day not in CHOSEN and not one.chain.evening]
    every = Compared.joined(parts)
    kept = every.rows((every.delta >= 0.05) & (every.delta < 0.35))
    terms = np.array([term_of(int(days)) for days in kept.term])
    for (term, right), ratio in PRICES.items():
        rows = kept.ratio[(terms == term) & (kept.sign == (1.0 if right == "calls" else -1.0))]
        if term != "on their last day":
            assert median(rows) == pytest.approx(ratio.value, abs=0.02), (term, right)

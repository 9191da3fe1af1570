"""What is worked out over a block of sessions for the strike nearest to the money is what each day's chain says."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from simulation.data.columns import UniverseBlock
from simulation.lean.enums import SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.assets import Asset
from simulation.market.calendar import calendar
from simulation.market.chain_columns import MoneyBook
from simulation.market.source import ModelledMarket
from tests.simulation.market.test_asset_days import canonical, fresh

DAYS = (date(2017, 12, 28), date(2017, 12, 29), date(2018, 1, 2), date(2018, 2, 5))
"""Over a turn of the year, at which the rate changes, and the crash of the short VIX."""


EARLIER = date(2017, 10, 31)
LATER = {"CL": 2, "GC": 1}
"""The contract whose options live over all of the days, counted from the front."""


def universe(market: ModelledMarket, root: str, day: date) -> UniverseBlock:
    symbol = canonical(market, root, DAYS[0])
    if root in LATER:
        listed = market.universe(Symbol.create(root, SecurityType.FUTURE, "usa"), DAYS[0])
        assert listed is not None
        symbol = Symbol.create_canonical_option(listed.symbol(LATER[root]))
    found = market.universe(symbol, day)
    assert found is not None
    return found


def month_on(block: UniverseBlock) -> list[int]:
    """The rows of the strike nearest to the money of the first expiry a month on, call and put."""
    assert block.underlying is not None
    expiry = block.expiry[block.expiry >= block.day.toordinal() + 30].min()
    rows = np.flatnonzero(block.expiry == expiry)
    away = np.abs(block.strike[rows] - block.underlying.close)
    return [int(row) for row in rows[away == away.min()]]


@pytest.mark.parametrize("root", ["SPXW", "SPX", "SPY", "TLT", "USO", "ES", "CL", "GC", "6E"])
def test_a_block_of_sessions_says_what_each_chain_says(root: str) -> None:
    asked, whole = fresh(), fresh()
    for day in DAYS:
        block, beside = universe(asked, root, day), universe(whole, root, day)
        for row in month_on(block):  # four where the close lies in the middle between two strikes, as gold's once
            assert block.close_of(row) == beside.close[row]
            assert block.volatility_of(row) == beside.implied_volatility[row]
            assert block.close_of(row) > 0


def test_one_look_works_out_the_days_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days before the turn of the year share one, and a day two months before has another."""
    worked_out: list[int] = []
    made = MoneyBook._worked_out

    def counted(self: MoneyBook, block: int, expiry: date) -> Any:
        worked_out.append(block)
        return made(self, block, expiry)

    monkeypatch.setattr(MoneyBook, "_worked_out", counted)
    market = fresh()
    first = universe(market, "CL", DAYS[0])
    expiry = first.expiry[month_on(first)[0]]
    for day in (DAYS[0], DAYS[1], EARLIER):
        block = universe(market, "CL", day)
        assert block.underlying is not None
        listed = np.flatnonzero(block.expiry == expiry)
        rows = [int(row) for row in listed[np.argsort(np.abs(block.strike[listed] - block.underlying.close))[:2]]]
        assert all(block.close_of(row) > 0 for row in rows)
    assert worked_out == [calendar().index(DAYS[0]) // 32, calendar().index(EARLIER) // 32]


def test_the_close_of_an_underlying_costs_no_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPY is a tenth of the index, which closed at 2,648.94, and its dividends since December 15."""
    market = fresh()

    def refuse(*_: object) -> None:
        raise AssertionError("minutes for a close")

    monkeypatch.setattr(Asset, "_spot", refuse)
    row = universe(market, "SPY", DAYS[3]).underlying
    assert row is not None
    factor = 0.1 * (1 + 0.0187 * 52 / 365)
    assert row.close == pytest.approx(round(2648.94 * factor, 2))
    assert row.volume == 0.0
    with pytest.raises(AssertionError, match="minutes"):
        assert row.high

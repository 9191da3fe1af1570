"""What a chain file tells of a day's close is what the day's last minute says, and costs none of its minutes.

What is worked out over a block of sessions for the strike nearest to the money is what each day's chain says.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from simulation.data.columns import UniverseBlock
from simulation.lean.enums import SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.asset_days import AssetDay
from simulation.market.assets import Asset, DrivenAsset
from simulation.market.calendar import calendar
from simulation.market.chain_columns import BLOCK, MoneyBook
from simulation.market.listings import ListedChain
from simulation.market.source import ModelledMarket
from simulation.market.valuation import OptionRoot

# Private: _worked_out: counted, for one look has to do for all days of a block.

DAYS = (date(2017, 8, 17), date(2017, 11, 24), date(2018, 2, 5), date(2018, 2, 6))
"""One of them a half day, one the crash of the short VIX, one after it."""
ROOTS = ("SPXW", "SPX", "SPY", "QQQ", "TLT", "USO", "ES", "CL", "6E")


def fresh() -> ModelledMarket:
    return ModelledMarket.from_history("history", seed=5, quote_faults=0.0)


def canonical(market: ModelledMarket, root: str, day: date) -> Symbol:
    if root in market.book.strips:
        family = Symbol.create(root, SecurityType.FUTURE, "usa")
        listed = market.universe(family, day)
        assert listed is not None
        return Symbol.create_canonical_option(listed.symbol(0))
    if root.startswith("SPX"):
        return Symbol.create_canonical_option(Symbol.create("SPX", SecurityType.INDEX, "usa"), root, "usa")
    return Symbol.create_canonical_option(Symbol.create(root, SecurityType.EQUITY, "usa"))


def looked_at(market: ModelledMarket, root: str, day: date) -> tuple[OptionRoot, AssetDay]:
    found = market.book.root(canonical(market, root, day))
    state = None if found is None else found.asset_day(day)
    assert found is not None
    assert state is not None
    return found, state


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("root", ROOTS)
def test_the_close_alone_is_the_last_of_the_minutes(root: str, day: date) -> None:
    found, state = looked_at(fresh(), root, day)
    for expiry in found.listing.expirations(day)[1::3]:
        alone = state.at_close(expiry, morning=found.morning)
        whole = (state.forward, state.theta, state.years)
        assert alone == pytest.approx([of(expiry, morning=found.morning)[-1] for of in whole], rel=1e-12, abs=1e-15)
        assert state.at_open(expiry) == (state.theta(expiry)[0], state.years(expiry)[0])  # to the bit
    surface = state.surface.at(state.minutes)
    for name in ("long_run", "slow", "middle", "fast", "eta"):
        assert getattr(state.closing, name)[0] == pytest.approx(getattr(surface, name)[0], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("root", ROOTS)
def test_closes_and_volatilities_of_a_chain_file_make_no_minutes_of_volatility(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the day's minutes made first the same file says the same, to the digit."""
    day, rows = DAYS[2], range(0, 60, 7)
    market = fresh()
    _, state = looked_at(market, root, day)
    monkeypatch.setattr(state, "_make_closing", None)  # it is then the last of the minutes
    block = market.universe(canonical(market, root, day), day)
    assert block is not None
    expected = [(block.close_of(row), block.volatility_of(row)) for row in rows]

    def refuse(*_: object) -> None:
        raise AssertionError("minutes of a volatility index for a chain file")

    other = fresh()
    if not root.startswith("SPX"):  # the index's volatility is published: its history is read on the way
        monkeypatch.setattr(Asset, "_volatility_minutes", refuse)
    block = other.universe(canonical(other, root, day), day)
    assert block is not None
    assert [(block.close_of(row), block.volatility_of(row)) for row in rows] == expected


TURN = (date(2017, 12, 28), date(2017, 12, 29), date(2018, 1, 2), date(2018, 2, 5))
"""Over a turn of the year, at which the rate changes, and the crash of the short VIX."""


EARLIER = date(2017, 10, 31)
LATER = {"CL": 2, "GC": 1}
"""The contract whose options live over all of the days, counted from the front."""


def universe(market: ModelledMarket, root: str, day: date) -> UniverseBlock:
    symbol = canonical(market, root, TURN[0])
    if root in LATER:
        listed = market.universe(Symbol.create(root, SecurityType.FUTURE, "usa"), TURN[0])
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
    for day in TURN:
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
    first = universe(market, "CL", TURN[0])
    expiry = first.expiry[month_on(first)[0]]
    for day in (TURN[0], TURN[1], EARLIER):
        block = universe(market, "CL", day)
        assert block.underlying is not None
        listed = np.flatnonzero(block.expiry == expiry)
        rows = [int(row) for row in listed[np.argsort(np.abs(block.strike[listed] - block.underlying.close))[:2]]]
        assert all(block.close_of(row) > 0 for row in rows)
    assert worked_out == [calendar().index(TURN[0]) // BLOCK, calendar().index(EARLIER) // BLOCK]


def test_the_close_of_an_underlying_costs_no_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPY is a tenth of the index, which closed at 2,648.94, and its dividends since December 15."""
    market = fresh()

    def refuse(*_: object) -> None:
        raise AssertionError("minutes for a close")

    monkeypatch.setattr(Asset, "_spot", refuse)
    row = universe(market, "SPY", TURN[3]).underlying
    assert row is not None
    factor = 0.1 * (1 + 0.0187 * 52 / 365)
    assert row.close == pytest.approx(round(2648.94 * factor, 2))
    assert row.volume == 0.0
    with pytest.raises(AssertionError, match="minutes"):
        assert row.high


def test_prices_of_listed_futures_cost_minutes_and_their_list_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open interest falls by two thirds with each contract: 400,000 and 140,000, half of it traded."""
    family, day = Symbol.create("CL", SecurityType.FUTURE, "usa"), TURN[3]
    told = fresh().universe(family, day)
    assert told is not None
    market = fresh()
    state = market.book.future_day(told.symbol(1), day)
    assert state is not None
    assert (told.open[1], told.close[1]) == (state.spot.points[0], state.spot.points[-1])
    assert (told.high[1], told.low[1]) == (state.spot.high.max(), state.spot.low.min())
    assert told.open_interest[:2].tolist() == [400_000, 140_000]
    assert told.volume[:2].tolist() == [200_000, 70_000]
    narrowed = told.narrowed(np.array([1]))
    assert (len(narrowed), narrowed.close[0]) == (1, told.close[1])

    def refuse(*_: object) -> None:
        raise AssertionError("minutes for a list")

    monkeypatch.setattr(Asset, "_spot", refuse)
    monkeypatch.setattr(DrivenAsset, "_spot", refuse)
    beside = fresh().universe(family, day)
    assert beside is not None
    assert beside.symbols() == told.symbols()
    with pytest.raises(AssertionError, match="list"):
        assert beside.close[0]


def test_a_row_of_a_listed_chain_is_known_without_its_arrays() -> None:
    """Two expirations, one of two strikes and one of one: six rows, a call and a put of each."""
    early, late = date(2018, 1, 19), date(2018, 2, 16)
    chain = ListedChain([(early, np.array([50.0, 51.0])), (late, np.array([60.5]))])
    rows = [(early.toordinal(), 50.0, 0), (early.toordinal(), 50.0, 1), (early.toordinal(), 51.0, 0)]
    rows += [(early.toordinal(), 51.0, 1), (late.toordinal(), 60.5, 0), (late.toordinal(), 60.5, 1)]
    assert len(chain) == 6
    assert [chain.terms(row) for row in range(6)] == rows
    assert list(zip(chain.expiry, chain.strike, chain.right, strict=True)) == rows

"""What a chain file tells of a day's close is what the day's last minute says, and costs none of its minutes."""

from __future__ import annotations

from datetime import date

import pytest

from simulation.lean.enums import SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.asset_days import AssetDay
from simulation.market.assets import Asset
from simulation.market.source import ModelledMarket
from simulation.market.valuation import OptionRoot

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

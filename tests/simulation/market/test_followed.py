"""Contracts that are asked for day after day are made a day at a time, all at once, and to the same digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from simulation.market.source import ModelledMarket
from simulation.market.valuation import EarlyExercise, Followed, OptionRoot, Terms, day_activity

FIRST = date(2017, 3, 6)
EXPIRY = date(2017, 12, 15)
ONE, TWO, THREE = ((EXPIRY, strike, -1.0) for strike in (200.0, 210.0, 220.0))


class Maker:
    """Makes a word of a day and a strike, and notes what it was asked for together."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []

    def __call__(self, day: date, wanted: Sequence[Terms]) -> dict[Terms, str]:
        self.asked.append([strike for _, strike, _ in wanted])
        return {terms: f"{day.day} {terms[1]:.0f}" for terms in wanted if terms[1] != 220.0}


def later(days: int) -> date:
    return FIRST + timedelta(days=days)


def test_what_was_asked_for_on_two_days_is_made_at_once_on_the_third() -> None:
    followed, maker = Followed[str](), Maker()
    for days in (0, 1):
        for terms in (ONE, TWO):
            followed.of(later(days), terms, maker)
    followed.of(later(1), THREE, maker)  # once only, and nothing is made of it
    assert maker.asked == [[200.0], [210.0], [200.0], [210.0], [220.0]]
    maker.asked.clear()
    assert [followed.of(later(2), terms, maker) for terms in (TWO, ONE, THREE)] == ["8 210", "8 200", None]
    assert maker.asked == [[210.0, 200.0], [220.0]]
    maker.asked.clear()
    assert followed.of(later(3), THREE, maker) is None  # asked for on two days by now, as the others were
    assert maker.asked == [[220.0, 210.0, 200.0]]
    maker.asked.clear()
    followed.of(later(4), THREE, maker)
    assert maker.asked == [[220.0]]  # of the others nobody asked on the day before


def test_a_look_back_makes_what_it_asks_for_and_changes_nothing() -> None:
    """Thirty days at most; who asks for an earlier day has begun a new run."""
    followed, maker = Followed[str](), Maker()
    for days in (30, 31):
        followed.of(later(days), ONE, maker)
        followed.of(later(days), TWO, maker)
    followed.of(later(1), ONE, maker)
    maker.asked.clear()
    followed.of(later(32), ONE, maker)
    assert maker.asked == [[200.0, 210.0]]
    followed.of(later(1), ONE, maker)  # 31 days: two days are known again when both were asked for
    followed.of(later(2), ONE, maker)
    maker.asked.clear()
    followed.of(later(3), TWO, maker)
    assert maker.asked == [[210.0, 200.0]]


@pytest.mark.parametrize(
    ("name", "strikes"), [("SPY", (150.0, 210.0, 240.0, 290.0)), ("SPX", (1500.0, 2100.0, 2600.0))]
)
def test_contracts_made_together_are_those_made_alone(name: str, strikes: tuple[float, ...]) -> None:
    """Far out of the money, in it, and so deep in it that its tables end; American and European."""
    together = alone(ModelledMarket.from_history(seed=1).book.roots[name])
    every = [(EXPIRY, strike, sign) for strike in strikes for sign in (1.0, -1.0)]
    for day in (later(number) for number in range(4)):
        found = {terms: together.contract_day(day, *terms) for terms in every}
        for terms, made in found.items():
            right = alone(together).contract_day(day, *terms)
            assert made is not None
            assert right is not None
            for part in ("value", "bid", "ask"):
                assert np.array_equal(getattr(made, part), getattr(right, part), equal_nan=True)
            activity = day_activity(together, day, 230.0, terms, 1)
            assert activity == day_activity(alone(together), day, 230.0, terms, 1)


def alone(root: OptionRoot) -> OptionRoot:
    """The root as if nothing had been asked of it."""
    return replace(root, early=EarlyExercise(), followed=Followed(), busy={})

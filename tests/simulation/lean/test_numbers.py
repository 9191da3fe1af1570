"""Numbers rounded all at once are what Python's own rounding makes of each."""

from __future__ import annotations

import numpy as np

from simulation.lean.bars import middle, middles
from simulation.lean.numbers import clean, rounded


def test_a_double_just_under_a_half_is_not_rounded_up() -> None:
    # as doubles 1.005 and 2.675 lie under the half, 0.135 above it, and 0.125 is the half itself; a hundred times 2.675
    # is 267.5 to the last bit, which alone would give 2.68
    values = np.array([0.125, 0.135, 1.005, 2.675, -2.675, 1234567.891])
    assert rounded(values, 2).tolist() == [0.12, 0.14, 1.0, 2.67, -2.67, 1234567.89]


def test_many_numbers_are_rounded_as_one_by_one() -> None:
    draw = np.random.default_rng(5)
    scattered = draw.standard_normal(20_000) * 10 ** draw.uniform(-12, 9, 20_000)
    halves = (draw.integers(0, 10**7, 20_000) + 0.5) * 1e-8
    values = np.concatenate((scattered, halves, [0.0, -0.0, -1e-12, 3e15, -7e15 + 0.5]))
    assert rounded(values).tobytes() == np.array([clean(value) for value in values.tolist()]).tobytes()


def test_the_middle_of_a_quote_with_a_side_at_zero_is_the_other_side() -> None:
    bids, asks = np.array([1.0, 0.0, 0.15, 0.0]), np.array([1.2, 0.05, 0.0, 0.0])
    assert middles(bids, asks).tolist() == [1.1, 0.05, 0.15, 0.0]
    assert middles(bids, asks).tolist() == [middle(*sides) for sides in zip(bids, asks, strict=True)]

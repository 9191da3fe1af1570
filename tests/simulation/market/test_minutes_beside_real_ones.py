"""Afternoons, mornings and the VIX's open of `history` beside real SPY and VIX of its years, over four seeds."""

from __future__ import annotations

import pytest

from simulation.market.recordings.minutes import Figure, days_of, figures, minute_table


@pytest.fixture(scope="module")
def found() -> dict[str, Figure]:
    return {one.name: one for one in figures(days_of("history", (1, 2, 3, 4)))}


@pytest.mark.parametrize("name", ["left at 10:00", "left at 11:00"])
def test_afternoons_move_as_real_ones(found: dict[str, Figure], name: str) -> None:
    """Squared moves to the close within a tenth of SPY's."""
    assert found[name].value == pytest.approx(found[name].wanted, rel=0.1)


def test_the_morning_does_not_foretell_the_close(found: dict[str, Figure]) -> None:
    one = found["morning and close"]
    assert one.value == pytest.approx(0.03, abs=0.05)
    assert one.low < one.value < one.high


def test_the_vix_of_the_open_does_not_know_its_day(found: dict[str, Figure]) -> None:
    assert found["VIX, open and rest"].value == pytest.approx(-0.11, abs=0.1)


def test_the_figures_are_rows() -> None:
    lines = minute_table("scenario:february-2018", (1,))
    assert len(lines) == 6
    assert lines[2].startswith("| left at 10:00 | ")

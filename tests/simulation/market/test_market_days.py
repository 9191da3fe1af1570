"""Minute paths honour their daily bar exactly; variance is spread as stated; a price by hand."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.market.calendar import CASH_INDEX, TRADED_SHARE, WEIGHT_OF_YEAR, VarianceClock, session_weights
from simulation.market.days import Bar, Companionship, companion_path, day_path, fold, stream
from simulation.market.history import from_arch
from simulation.market.source import ModelledMarket
from simulation.market.surface import black


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    cents = [draw(st.integers(100, 400_000)) for _ in range(2)]
    room = [draw(st.integers(0, 20_000)) for _ in range(2)]
    low = max(1, min(cents) - room[0])
    return Bar(cents[0] / 100, (max(cents) + room[1]) / 100, low / 100, cents[1] / 100)


@given(bars(), st.integers(0, 2**32), st.sampled_from([210, 390]))
def test_a_path_honours_its_bar_exactly(bar: Bar, seed: int, minutes: int) -> None:
    path = day_path(stream(seed, "test", 1), bar, session_weights(minutes, TRADED_SHARE))
    assert len(path.high) == minutes
    assert (path.points[0], path.points[-1]) == (bar.open, bar.close)
    assert (path.high.max(), path.low.min()) == (bar.high, bar.low)
    assert bool((path.low <= np.minimum(path.open, path.close)).all())
    assert bool((path.high >= np.maximum(path.open, path.close)).all())


@given(bars(), st.integers(0, 2**32))
def test_a_volatility_index_with_a_range_honours_it_too(bar: Bar, seed: int) -> None:
    weights = session_weights(390, CASH_INDEX)
    index = day_path(stream(seed, "index", 1), Bar(100.0, 102.0, 99.0, 101.0), weights)
    path = companion_path(stream(seed, "vix", 1), index, bar, weights, Companionship(-8.0, 0.03))
    assert (path.points[0], path.points[-1]) == (bar.open, bar.close)
    assert (path.high.max(), path.low.min()) == (bar.high, bar.low)


def test_a_path_is_folded_into_its_range_as_often_as_needed() -> None:
    # between 1 and 3: what lies inside stays, the rest is reflected at the end that it passed, and at the other one
    folded = fold(np.array([[1.0, 2.25, 3.0], [0.5, 3.5, -1.0], [5.5, -1.5, -6.25]]), 1.0, 3.0)
    assert folded.tolist() == [[1.0, 2.25, 3.0], [1.5, 2.5, 3.0], [1.5, 2.5, 1.75]]


def test_the_variance_of_minutes_adds_up_to_that_of_days() -> None:
    """Squared returns of minutes, half hours and thirds of a day sum to what the daily bars say.

    Five real years: open-to-close variance is 1, the bars' ranges (Parkinson) say 0.81; the minutes lie between.
    """
    index = from_arch().index
    weights = session_weights(390, CASH_INDEX)
    columns = zip(index.open, index.high, index.low, index.close, index.days, strict=True)
    rows = [(Bar(*(float(price) for price in row[:4])), int(row[4])) for row in columns]
    paths = [np.log(day_path(stream(3, "SPX", day), bar, weights).points) for bar, day in rows]
    whole = sum(float(path[-1] - path[0]) ** 2 for path in paths)
    for step in (1, 30, 130):
        parts = sum(float((np.diff(path[::step]) ** 2).sum()) for path in paths)
        assert 0.78 < parts / whole < 1.1


def test_the_variance_premium_is_what_the_vix_and_the_index_gave() -> None:
    """Implied less realised variance, from the market's own minutes and from the daily series, month after month.

    2014 to 2018 by the two series: the VIX squared, and 252 times the mean squared daily return in the 30 days after.
    """
    market = ModelledMarket.from_history("history", seed=5)
    history = from_arch()
    assert history.volatility is not None
    closes, vix, days = history.index.close, history.volatility.close, history.index.days
    shown = {int(day): market.book.path("SPX", date.fromordinal(int(day))) for day in days[1:]}
    premiums = []
    for row in range(1, len(days) - 22, 21):
        rows = range(row + 1, row + 22)
        path = market.book.path("VIX", date.fromordinal(int(days[row])))
        assert path is not None
        minutes = [shown[int(days[at])] for at in (row, *rows)]
        ends = np.log([one.points[-1] for one in minutes if one is not None])
        modelled = (path.points[-1] / 100.0) ** 2 - float((np.diff(ends) ** 2).mean()) * 252.0
        daily = np.diff(np.log(closes[row : row + 22]))
        given = (vix[row] / 100.0) ** 2 - float((daily**2).mean()) * 252.0
        assert modelled == pytest.approx(given, abs=1e-9)
        premiums.append(given)
    # 14.9 squared less 13.3 squared, in variance, is 0.0045; months in which the VIX was low weigh as much as others.
    assert 0.003 < float(np.mean(premiums)) < 0.009


def test_the_minutes_of_a_session_hold_the_share_that_is_on_record() -> None:
    """Five-minute squared returns over squared daily returns, 2014 to June 2018: 0.744 (Oxford-Man library, SPX)."""
    index = from_arch().index
    weights = session_weights(390, CASH_INDEX)
    realised, daily = 0.0, float((np.diff(np.log(index.close)) ** 2).sum())
    for row in range(1, len(index)):
        bar = Bar(*(float(column[row]) for column in (index.open, index.high, index.low, index.close)))
        path = np.log(day_path(stream(4, "SPX", int(index.days[row])), bar, weights).points)
        realised += float((np.diff(path[::5]) ** 2).sum())
    assert realised / daily == pytest.approx(0.744, abs=0.09)


def test_announcements_add_to_their_own_day_only() -> None:
    """Employment on Friday, February 3, 2023; consumer prices on Tuesday the 14th; a statement on Wednesday the 1st."""
    clock = VarianceClock(CASH_INDEX)

    def passed(start: date, end: date) -> float:
        return clock.after_today(start, end, morning=False) * WEIGHT_OF_YEAR

    usual = passed(date(2023, 2, 8), date(2023, 2, 9))
    assert usual == pytest.approx(1.0)
    assert passed(date(2023, 2, 2), date(2023, 2, 3)) == pytest.approx(1.0 + 0.5)
    assert passed(date(2023, 2, 13), date(2023, 2, 14)) == pytest.approx(1.0 + 0.75)
    assert passed(date(2023, 1, 31), date(2023, 2, 1)) == pytest.approx(1.0 + 0.6)
    assert passed(date(2017, 2, 2), date(2017, 2, 3)) == pytest.approx(1.0 + 0.25)  # before inflation was news
    # What is left from the open on knows nothing of a release at 8:30, and all of a statement at 14:00.
    assert clock.remaining_today(date(2023, 2, 14))[0] == pytest.approx(clock.remaining_today(date(2023, 2, 13))[0])
    afternoon = clock.remaining_today(date(2023, 2, 1))[270] - clock.remaining_today(date(2023, 2, 2))[270]
    assert afternoon * WEIGHT_OF_YEAR == pytest.approx(0.6)


def test_the_session_has_its_u() -> None:
    weights = session_weights(390, TRADED_SHARE)
    noon = weights[180:210].mean()
    assert 2.0 < weights[:30].mean() / noon < 5.0
    assert 1.4 < weights[-30:].mean() / noon < 2.5
    assert weights.sum() == pytest.approx(1.0 - TRADED_SHARE.overnight)


def test_vix_minutes_move_against_the_index() -> None:
    weights = session_weights(390, CASH_INDEX)
    correlations = []
    for day in range(60):
        index = day_path(stream(1, "index", day), Bar(2000.0, 2014.0, 1984.0, 1990.0), weights)
        bar = Bar(15.0, np.nan, np.nan, 15.6)
        vix = companion_path(stream(1, "vix", day), index, bar, weights, Companionship(-8.0, 0.03))
        moves = np.diff(np.log(index.points)), np.diff(np.log(vix.points))
        correlations.append(float(np.corrcoef(*moves)[0, 1]))
    assert -0.95 < float(np.mean(correlations)) < -0.6


def test_streams_depend_on_seed_purpose_and_day_only() -> None:
    first = stream(1, "a", date(2018, 1, 2)).random(3).tolist()
    assert first == stream(1, "a", date(2018, 1, 2).toordinal()).random(3).tolist()
    others = (stream(2, "a", date(2018, 1, 2)), stream(1, "b", date(2018, 1, 2)), stream(1, "a", date(2018, 1, 3)))
    assert all(first != other.random(3).tolist() for other in others)


def test_black_by_hand() -> None:
    # F = K = 100, total variance 0.04: d1 = 0.1, d2 = -0.1, N(0.1) - N(-0.1) = 0.0796557.
    one = np.array([100.0])
    assert black(one, 100.0, np.array([0.04]), 1.0, 1.0)[0] == pytest.approx(7.96557, abs=1e-5)

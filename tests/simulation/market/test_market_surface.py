"""The surface in calm and in crisis: no static arbitrage, parity within the spread, the VIX recomputed from quotes."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import monthly_expiry
from simulation.market.assets import vix_fridays
from simulation.market.listings import Listings, expirations
from simulation.market.quotes import INDEX_QUOTES, bid_and_ask
from simulation.market.source import ModelledMarket
from simulation.market.surface import (
    EQUITY_INDEX,
    TermState,
    black,
    skew_strength,
    smile,
    steepness,
    strip_variance,
    strongest,
    surface_day,
)
from tests.simulation.market.chain_slices import (
    assert_no_arbitrage_in_quotes,
    assert_no_arbitrage_in_values,
    cboe_index,
    sliced,
)

DAYS = [
    date(2014, 2, 3),
    date(2015, 8, 24),
    date(2017, 11, 3),
    date(2017, 11, 24),  # a half day
    date(2018, 2, 5),
    date(2018, 2, 6),
    date(2018, 12, 24),  # a half day in a crisis
]


@pytest.fixture(scope="module")
def market() -> ModelledMarket:
    return ModelledMarket.from_history("history", seed=11, quote_faults=0.0)


@pytest.mark.parametrize("day", DAYS)
def test_the_vix_of_the_quotes_is_the_vix_given(market: ModelledMarket, day: date) -> None:
    root, state = market.book.roots["SPXW"], market.book.asset_day("SPX", day)
    given_vix = market.book.path("VIX", day)
    assert state is not None
    assert given_vix is not None
    for minute in range(1, state.minutes + 1, 43):
        assert cboe_index(root, state, minute) == pytest.approx(given_vix.points[minute], abs=0.2)


@pytest.mark.parametrize("day", DAYS)
def test_no_static_arbitrage_at_any_sampled_minute(market: ModelledMarket, day: date) -> None:
    state = market.book.asset_day("SPX", day)
    assert state is not None
    for name in ("SPXW", "SPX"):
        root = market.book.roots[name]
        expiries = root.listing.expirations(day)
        for minute in (0, 1, state.minutes // 2, state.minutes - 1, state.minutes):
            spot = float(state.spot.points[minute])
            for expiry in expiries[:: max(1, len(expiries) // 8)]:
                part = sliced(root, state, expiry, minute)
                assert_no_arbitrage_in_values(part, spot)
                assert_no_arbitrage_in_quotes(part)


@pytest.mark.parametrize("day", DAYS)
def test_no_calendar_arbitrage_at_any_minute(market: ModelledMarket, day: date) -> None:
    """Total variance at each log-moneyness grows with term, at every minute of the day."""
    root, state = market.book.roots["SPXW"], market.book.asset_day("SPX", day)
    assert state is not None
    moneyness = np.linspace(-0.8, 0.4, 25)
    before = np.zeros((state.minutes + 1, len(moneyness)))
    for expiry in root.listing.expirations(day):
        years = state.variance_years(expiry)
        total = np.stack([state.surface.variance(np.full(len(years), k), years) for k in moneyness], axis=1)
        assert bool((total >= before - 1e-13).all()), expiry
        before = total


@given(
    st.floats(5.0, 120.0),
    st.floats(8.0, 90.0),
    st.floats(9.0, 70.0),
    st.floats(0.3, 8.0),
    st.floats(0.07, 0.1),
    st.integers(1990, 2030),
)
def test_variance_grows_with_term_whatever_the_state(
    vix: float, recent: float, lasting: float, surprise: float, anchor: float, year: int
) -> None:
    one = np.ones(1)
    state = TermState(EQUITY_INDEX.lasting_variance(lasting), recent, lasting, skew_strength(year))
    day = surface_day(EQUITY_INDEX, vix * one, anchor * one, state, surprise * one)
    years = np.concatenate(([0.0], np.geomspace(1e-6, 3.0, 200)))
    totals = [float(day.theta(np.array([term]))[0]) for term in years]
    assert all(later >= earlier for earlier, later in pairwise(totals))
    # The anchor: the strip of the theta at the anchor's time is the index squared, within 0.2 points of it.
    strip = strip_variance(float(day.theta(anchor * one)[0]), EQUITY_INDEX.rho, float(day.eta[0]))
    assert 100.0 * float(np.sqrt(strip * 365.0 / 30.0)) == pytest.approx(vix, abs=max(0.1, 0.004 * vix))


def skew_index(theta: float, eta: float) -> float:
    """Cboe's SKEW of one expiry: 100 less ten times the skewness that its strip prices (SKEW white paper, 2010)."""
    k = np.linspace(-12.0, 7.0, 6001) * theta**0.5
    strikes, flat = np.exp(k), np.full_like(k, theta)
    variance = smile(k, flat, EQUITY_INDEX.rho, steepness(flat, np.full_like(k, eta)))
    price = black(np.ones_like(k), strikes, variance, 1.0, np.where(k < 0.0, -1.0, 1.0))
    logs = np.log(strikes)
    first = -np.trapz(price / strikes**2, strikes)
    second = np.trapz(2.0 * (1.0 - logs) * price / strikes**2, strikes)
    third = np.trapz(3.0 * (2.0 * logs - logs**2) * price / strikes**2, strikes)
    skewness = (third - 3.0 * first * second + 2.0 * first**3) / (second - first**2) ** 1.5
    return float(100.0 - 10.0 * skewness)


@pytest.mark.parametrize(
    ("year", "published"), [(2003, 113.2), (2008, 113.7), (2009, 118.1), (2010, 121.1), (2013, 122.4)]
)
def test_the_smile_of_a_year_has_its_published_skewness(year: int, published: float) -> None:
    assert skew_index((0.16 / 1.17) ** 2 * 30.0 / 365.0, skew_strength(year)) == pytest.approx(published, abs=0.7)


def test_skewness_beyond_what_bodies_show_is_left_out_and_no_strength_is_arbitrage() -> None:
    assert skew_strength(2017) == skew_strength(2021) > skew_strength(2013)
    assert skew_strength(2035) == skew_strength(2026)  # the nearest year of the table
    for rho in (-0.9, -0.7, 0.0, 0.3):
        theta = np.geomspace(1e-5, 5.0, 300)
        phi = steepness(theta, np.full_like(theta, strongest(rho)))
        assert float((theta * phi * (1.0 + abs(rho))).max()) <= 4.0 + 1e-9
        assert float((theta * phi**2 * (1.0 + abs(rho))).max()) <= 4.0 + 1e-3


def test_a_year_of_at_the_money_puts_costs_what_cboe_collected(market: ModelledMarket) -> None:
    """Premiums over strike, one month each, sold on third Fridays for Cboe's PUT: 15.5 % in 2014, 20.1 % in 2015.

    Cboe, "S&P 500 PutWrite Index", gross premiums received per year. January 2014 (sold on the 17th) is in both.
    """
    root = market.book.roots["SPX"]
    collected = {2014: 0.0, 2015: 0.0}
    for year in collected:
        for month in range(1, 13):
            sold = monthly_expiry(year, month)
            settled = monthly_expiry(year + month // 12, month % 12 + 1)
            state, strikes = market.book.asset_day("SPX", sold), root.listing.strikes(sold, settled)
            assert state is not None
            assert strikes is not None
            strike = float(strikes[strikes <= state.spot.points[90]].max())
            collected[year] += float(root.values(state, settled, strike, -1.0)[120:240].mean()) / strike
    assert 100.0 * collected[2014] == pytest.approx(15.5, rel=0.06)
    assert 100.0 * collected[2015] == pytest.approx(20.1, rel=0.06)


def test_strips_of_other_terms_lie_where_cboes_indices_do(market: ModelledMarket) -> None:
    """Mean ratios to the VIX, 2014 to 2018: VIX9D 0.947, VIX3M 1.143; VIX1D at such levels, since 2022, 0.78 to 0.87.

    VIX9D was read from Friday expirations alone until 2016, whose nine days hold more trading time than others'.
    """
    found: dict[float, list[float]] = {1.0 / 252.0: [], 9.0 / 365.0: [], 93.0 / 365.0: []}
    for day in market.book.days()[5::7]:
        state, level = market.book.asset_day("SPX", day), market.book.volatility_points("SPX", day)
        assert state is not None
        assert level is not None
        for years, ratios in found.items():
            theta = float(state.surface.theta(np.full(state.minutes + 1, years))[-1])
            strip = strip_variance(theta, EQUITY_INDEX.rho, float(state.surface.eta[-1]))
            ratios.append(100.0 * (strip / years) ** 0.5 / float(level[-1]))
    day_ratio, week, quarter = (float(np.mean(ratios)) for ratios in found.values())
    assert day_ratio == pytest.approx(0.80, abs=0.04)
    assert week == pytest.approx(0.93, abs=0.04)
    assert quarter == pytest.approx(1.143, abs=0.03)


def test_skew_steepens_with_shorter_term_and_stress(market: ModelledMarket) -> None:
    def slope(day: date, days: int) -> float:
        state = market.book.asset_day("SPX", day)
        assert state is not None
        years = np.full(state.minutes + 1, days / 365.0)
        low, high = (state.surface.variance(np.full(state.minutes + 1, k), years)[200] for k in (-0.05, 0.0))
        return float((np.sqrt(low / years[200]) - np.sqrt(high / years[200])) / 0.05)

    calm, crisis = date(2017, 11, 3), date(2018, 2, 6)
    assert slope(calm, 10) > slope(calm, 30) > slope(calm, 120) > 0
    assert slope(crisis, 30) > slope(calm, 30)


@given(st.floats(0.05, 500.0))
def test_ticks_of_the_index(price: float) -> None:
    below, above = (float(side[0]) for side in bid_and_ask(INDEX_QUOTES, np.array([price]), np.zeros(1)))
    assert below <= price + 1e-6
    assert above >= price - 1e-6
    for shown in (below, above):
        tick = 0.05 if shown < 3.0 - 1e-9 else 0.10
        assert abs(shown / tick - round(shown / tick)) < 1e-6


def test_quotes_widen_in_a_crash(market: ModelledMarket) -> None:
    def width(day: date) -> float:
        root, state = market.book.roots["SPXW"], market.book.asset_day("SPX", day)
        assert state is not None
        part = sliced(root, state, vix_fridays(day)[0], state.minutes // 2)
        bid, ask = part.put_quote
        row = int(np.argmin(np.abs(part.strikes / part.forward - 0.97)))
        return float(ask[row] - bid[row])

    assert 2.5 * width(date(2017, 11, 3)) < width(date(2018, 2, 6)) < 15 * width(date(2017, 11, 3))


def test_no_bid_under_a_tick() -> None:
    bid, ask = bid_and_ask(INDEX_QUOTES, np.array([0.01, 0.2]), np.array([0.05, 0.1]))
    assert np.isnan(bid[0])
    assert (bid[1], ask[0], ask[1]) == (pytest.approx(0.15), pytest.approx(0.05), pytest.approx(0.25))


def test_listings_of_today_and_of_then() -> None:
    # March 2, 2016 is a Wednesday: the index had Friday and (new) Wednesday weeklies only.
    then = expirations("SPXW", date(2016, 3, 2), Listings.THEN)
    weekly = {expiry.weekday() for expiry in then if (expiry - date(2016, 3, 2)).days <= 15}
    assert weekly == {2, 4}
    today = expirations("SPXW", date(2016, 3, 2), Listings.TODAY)
    assert {expiry.weekday() for expiry in today if (expiry - date(2016, 3, 2)).days <= 15} == {0, 1, 2, 3, 4}
    assert expirations("SPXW", date(2009, 3, 2), Listings.THEN) != expirations("SPXW", date(2009, 3, 2), Listings.TODAY)


def test_monthlies_and_leaps() -> None:
    assert monthly_expiry(2014, 4) == date(2014, 4, 17)  # Good Friday is the 18th
    spx = expirations("SPX", date(2017, 1, 3), Listings.TODAY)
    assert date(2017, 2, 17) in spx
    assert date(2018, 12, 21) in spx  # a LEAP for the box spread
    assert all(expiry == monthly_expiry(expiry.year, expiry.month) for expiry in spx)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
def test_a_smile_with_a_bent_wing_has_no_arbitrage_at_any_theta(share: float) -> None:
    """Density of the forward (Gatheral and Jacquier, 2014, lemma 2.2) and growth with theta, minutes to years."""
    law, eta = EQUITY_INDEX.rho, share * strongest(EQUITY_INDEX.rho)
    moneyness = np.linspace(-14.0, 10.0, 1201)
    for theta in np.geomspace(1e-7, 3.0, 40):
        k, step = moneyness * theta**0.5, 0.01 * theta**0.5
        flat = np.full_like(k, theta)
        phi = steepness(flat, np.full_like(k, eta))
        low, here, high = (smile(k + move, flat, law, phi) for move in (-step, 0.0, step))
        slope, bend = (high - low) / (2.0 * step), (high - 2.0 * here + low) / step**2
        density = (1.0 - k * slope / (2.0 * here)) ** 2 - 0.25 * slope**2 * (1.0 / here + 0.25) + 0.5 * bend
        assert float(density.min()) > 0.0, theta
        longer = flat * 1.01
        grown = smile(k, longer, law, steepness(longer, np.full_like(k, eta)))
        assert bool((grown > here).all()), theta


def test_calls_of_a_day_are_dearer_than_a_months_and_these_than_a_years() -> None:
    """Volatility at one deviation above the money over that at the money; recorded chains rise from 0.72 to 1.0."""
    found = []
    for days in (0.1, 5.0, 30.0, 365.0):
        theta = np.array([0.14**2 * days / 365.0])
        phi = steepness(theta, np.array([skew_strength(2022)]))
        found.append(float(np.sqrt(smile(np.sqrt(theta), theta, EQUITY_INDEX.rho, phi) / theta)[0]))
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(1.0, abs=0.04)
    assert found[2] == pytest.approx(0.81, abs=0.05)

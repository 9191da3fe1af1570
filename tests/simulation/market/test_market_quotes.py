"""Spreads, sizes and listings against hand-worked numbers and against what recorded chains listed."""

from __future__ import annotations

from datetime import date, timedelta
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.market import quotes
from simulation.market.days import stream
from simulation.market.futures import FUTURES
from simulation.market.listings import RULES, Listings, expirations, first_listed, is_expiration, is_standard, strikes
from simulation.market.quotes import (
    ETF_QUOTES,
    INDEX_QUOTES,
    MORNING_QUOTES,
    WIDEST,
    ContractDay,
    QuoteFaults,
    age_of,
    bid_and_ask,
    faulted,
    full_spread,
    hour_of_day,
    quote_rows,
    sizes,
    stress_of,
)


def one(value: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([value])


def spread(outer: float, intrinsic: float = 0.0, years: float = 0.1, multiple: float = 1.0) -> float:
    parts = (one(outer), one(intrinsic), one(2700.0), one(years), one(multiple))
    return float(full_spread(INDEX_QUOTES, *parts)[0])


def test_a_spread_by_hand() -> None:
    # At the reference level: 0.06 + 0.025 * 16 ** 0.75 = 0.06 + 0.025 * 8.
    assert spread(16.0) == pytest.approx(0.26)
    assert spread(16.0, multiple=3.0) == pytest.approx(0.78)
    # 1.3 years: a year over 0.3 adds 2.6 times the base, and sqrt(3.6) stretches the slope.
    assert spread(16.0, years=1.3) == pytest.approx(0.06 * 3.6 + 0.2 * 3.6**0.5)
    # Deep: intrinsic 500, nothing else; buried 500 / 85.05, so all of the 3.4, plus 0.15 %.
    assert spread(0.0, intrinsic=500.0) == pytest.approx(0.06 + 3.4 + 0.75, abs=1e-4)
    # As much time value as intrinsic value is not deep.
    assert spread(20.0, intrinsic=20.0) == pytest.approx(spread(20.0) + 0.03)


@given(st.floats(0.0, 400.0), st.floats(0.0, 900.0), st.floats(0.0, 3.0), st.floats(1.0, 12.0))
def test_a_spread_grows_with_everything(outer: float, intrinsic: float, years: float, multiple: float) -> None:
    width = spread(outer, intrinsic, years, multiple)
    assert width <= spread(outer, intrinsic, years + 0.5, multiple)
    assert width < spread(outer, intrinsic, years, multiple + 1.0)
    assert width <= spread(outer, intrinsic + 10.0, years, multiple)
    assert spread(outer, 0.0, years, multiple) <= spread(outer + 1.0, 0.0, years, multiple)


def test_spreads_of_recorded_chains_are_not_undercut() -> None:
    # Cboe DataShop sample of SPXW, June 26, 2019, 15:45, index 2918, VIX 16.2: median widths of options out of the
    # money 20 to 45 days away at prices of 1.3, 8 and 22.
    for price, recorded in ((1.3, 0.10), (8.0, 0.20), (22.0, 0.30)):
        raw = float(full_spread(INDEX_QUOTES, one(price), one(0.0), one(2918.0), one(0.09), one(1.0))[0])
        assert recorded <= raw + 0.1 <= 2.0 * recorded  # a tick of rounding outwards is added to it
    # March 20, 2020, index 2305, VIX 66, after the close: 0.85 at a price of 1, 1.8 at 7, 3.7 at 45.
    crash = one(stress_of(one(66.0))[0] * 1.35)
    for price, recorded in ((1.0, 0.85), (7.0, 1.8), (45.0, 3.7)):
        raw = float(full_spread(INDEX_QUOTES, one(price), one(0.0), one(2305.0), one(0.09), crash)[0])
        assert 0.8 * recorded <= raw + 0.1 <= 2.0 * recorded


def test_stress_by_level_and_by_the_last_hours_rise() -> None:
    assert stress_of(one(12.0))[0] == 1.0
    # 40 / 16 = 2.5: 2.5 ** 0.95 * (1 + 0.4 * 1.0).
    assert stress_of(one(40.0))[0] == pytest.approx(2.5**0.95 * 1.4)
    assert stress_of(one(500.0))[0] == WIDEST
    # From 14 to 16.8 within the hour: a rise by 0.20, 0.15 of it counts six times.
    path = np.concatenate((np.full(100, 14.0), np.full(100, 16.8)))
    shown = stress_of(path)
    assert shown[99] == 1.0
    assert shown[100] == pytest.approx(1.05**0.95 * 1.9)
    assert shown[159] == shown[100]
    assert shown[160] == pytest.approx(1.05**0.95)  # an hour later only the level is left


def test_the_hour_and_the_years() -> None:
    hours = hour_of_day(390)
    assert hours[0] == pytest.approx(2.6, abs=0.01)
    assert hours[200] == pytest.approx(1.0, abs=0.01)
    assert hours[390] == pytest.approx(1.35, abs=0.01)
    assert hours[380] < 1.2
    assert age_of(INDEX_QUOTES, date(2018, 1, 1)) == pytest.approx(1.0, rel=0.01)
    assert age_of(INDEX_QUOTES, date(2023, 6, 1)) == pytest.approx(0.62, rel=0.01)
    assert age_of(INDEX_QUOTES, date(2009, 1, 1)) == pytest.approx(2.8, rel=0.01)
    assert age_of(INDEX_QUOTES, date(2015, 1, 1)) == pytest.approx(2.2**0.5, rel=0.01)  # half way, geometric
    assert age_of(INDEX_QUOTES, date(1999, 6, 1)) == pytest.approx(10.0)
    assert age_of(ETF_QUOTES, date(1999, 6, 1)) == 1.0
    assert MORNING_QUOTES.base == pytest.approx(1.2 * INDEX_QUOTES.base)


def test_cheap_options_show_more_contracts() -> None:
    prices = np.array([0.5, 10.0, 100.0, np.nan])
    shown = [sizes(prices, INDEX_QUOTES, salt) for salt in range(200)]
    mean = np.mean(shown, axis=0)
    # 200 / (1 + price / 2.97) contracts on average, and one: SPXW showed 165 to 280 at 1, 60 to 130 at 8, 20 at 20.
    assert mean[:3] == pytest.approx([172.2, 46.3, 6.3], rel=0.15)
    assert mean[3] == 0.0


def test_minutes_with_a_row_by_hand() -> None:
    nan = np.nan
    bid = np.array([1.0, 1.0, 1.0, 1.2, nan, nan, 1.1, 1.1])
    ask = np.array([1.5, 1.5, 1.5, 1.4, 1.4, nan, nan, 1.6])
    day = ContractDay(bid, bid, ask)
    # The first; 3 by its prices, and each third from the first on (1, 4, 7); 5 by its ask; 6 by its bid.
    rows, bids, asks = quote_rows(day, 3, None)
    assert rows.tolist() == [1, 3, 4, 5, 6, 7]
    assert np.array_equal(bids[:, 1], [1.0, 1.2, 1.0, 1.2])
    assert np.array_equal(asks[:, 1], [1.5, 1.5, 1.4, 1.4])
    assert np.isnan(bids[:, 2:4]).all()
    assert np.array_equal(bids[:, 4], [1.1, 1.1, 1.1, 1.1])  # it has just come: no earlier price
    halted = np.array([False, False, True, True, False, False, False])
    assert quote_rows(day, 3, halted)[0].tolist() == [1, 5, 6, 7]


def test_the_loops_of_quotes_say_the_same_in_python_and_in_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days of prices from nothing to deep in the money, with faults; every bit of the quotes and sizes."""

    def everything(law: quotes.QuoteLaw) -> bytes:
        generator = np.random.default_rng(7)
        spot = 2700.0 * np.exp(0.01 * generator.standard_normal(391))
        intrinsic = np.maximum(spot - 2700.0, 0.0)
        value = intrinsic + 0.02 * np.exp(9.0 * generator.random(391))
        multiple, years = 1.0 + generator.random(391), np.linspace(0.9, 0.0, 391)
        pieces: list[bytes] = []
        for inside in (intrinsic, np.zeros(391)):
            width = full_spread(law, value - inside, inside, spot, years, multiple)
            day = ContractDay(value, *bid_and_ask(law, value, width))
            day = faulted(day, QuoteFaults(0.1, 0.1, 0.2), stream(1, "faults"))
            rows, bids, asks = quote_rows(day, 10, None)
            pieces += [part.tobytes() for part in (width, day.bid, day.ask, rows, bids, asks)]
            pieces += [sizes(side[3], law, 77).tobytes() for side in (bids, asks)]
        return b"".join(pieces)

    fast = [everything(law) for law in (INDEX_QUOTES, ETF_QUOTES)]
    loops = (quotes.scale, quotes.widen, quotes.tick, quotes.show, quotes.mark, quotes.gather)
    monkeypatch.setattr(quotes, "_kernels", lambda: loops)
    with np.errstate(over="ignore"):  # the hash wraps
        assert [everything(law) for law in (INDEX_QUOTES, ETF_QUOTES)] == fast


def test_a_day_without_an_episode_is_left_alone_and_certain_faults_fill_their_window() -> None:
    prices = np.arange(1.0, 11.0)
    day = ContractDay(prices, prices, prices + 0.5)
    assert faulted(day, QuoteFaults(), stream(1, "faults")) is day
    found = faulted(day, QuoteFaults(missing=1.0, first=2, last=4), stream(1, "faults"))
    assert np.flatnonzero(np.isnan(found.ask)).tolist() == [2, 3, 4]
    stale = faulted(day, QuoteFaults(stale=1.0, first=3), stream(1, "faults"))
    assert stale.bid.tolist() == [1.0, 2.0, 3.0] + [3.0] * 7
    assert stale.value is day.value


def test_a_stream_is_philox_keyed_by_the_digest() -> None:
    # numpy takes a key of 128 bits as an integer; the stream hands it over without asking for entropy first.
    digest = blake2b(b"5|purpose|730000", digest_size=16).digest()
    plain = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    assert np.array_equal(stream(5, "purpose", 730000).random(9), plain.random(9))


def test_expirations_of_a_recorded_day() -> None:
    # SPXW on September 14, 2023 had 41 expirations: each day for five weeks, Fridays to November 3, third Fridays to
    # February, month ends for half a year and quarter ends for a year. SPY had 31.
    day = date(2023, 9, 14)
    listed = expirations("SPXW", day, Listings.TODAY)
    assert len(listed) == 41
    assert listed == expirations("SPXW", day, Listings.THEN)
    assert {date(2023, 10, 23), date(2023, 11, 3), date(2024, 2, 16), date(2024, 2, 29), date(2024, 6, 28)} <= set(
        listed
    )
    assert not {date(2023, 10, 24), date(2023, 11, 10), date(2024, 3, 15), date(2024, 4, 30)} & set(listed)
    funds = expirations("SPY", day, Listings.TODAY)
    assert len(funds) == 31
    assert {date(2023, 9, 28), date(2024, 6, 28), date(2025, 3, 21), date(2026, 1, 16)} <= set(funds)
    assert not {date(2023, 10, 2), date(2023, 11, 30), date(2024, 2, 16)} & set(funds)


@pytest.mark.parametrize("root", ["SPXW", "SPX", "SPY"])
@pytest.mark.parametrize("listings", list(Listings))
def test_a_date_is_asked_for_by_itself_as_among_all(root: str, listings: Listings) -> None:
    for day in (date(2017, 6, 16), date(2023, 9, 14)):
        nearby = [day + timedelta(days=days) for days in range(-2, RULES[root].horizon + 3)]
        listed = expirations(root, day, listings)
        assert tuple(one for one in nearby if is_expiration(root, day, one, listings)) == listed
        assert listed


def test_a_mondays_holiday_moves_the_expiration_on_and_any_others_back() -> None:
    # Labor Day, September 7, 2020: SPXW had the Tuesday. Good Friday, April 10, 2020: it had the Thursday.
    then = expirations("SPXW", date(2020, 9, 1), Listings.THEN)
    assert date(2020, 9, 8) in then
    assert date(2020, 9, 15) not in then  # no Tuesdays before 2022
    assert date(2020, 4, 9) in expirations("SPXW", date(2020, 3, 20), Listings.THEN)


@pytest.mark.parametrize(
    ("root", "before", "since"),
    [
        ("SPXW", date(2022, 4, 12), date(2022, 4, 19)),  # Tuesdays
        ("SPY", date(2022, 11, 10), date(2022, 11, 15)),  # Tuesdays
        ("QQQ", date(2021, 4, 12), date(2021, 4, 26)),  # Mondays
        ("IWM", date(2024, 4, 16), date(2024, 4, 23)),  # Tuesdays
        ("GLD", date(2023, 11, 8), date(2023, 11, 22)),  # Wednesdays
        ("NDXP", date(2023, 10, 20), date(2023, 12, 15)),  # third Fridays settled at the close
    ],
)
def test_first_listings(root: str, before: date, since: date) -> None:
    rule = RULES[root]
    early = first_listed(rule, before, Listings.THEN)
    assert first_listed(rule, since, Listings.THEN) is not None
    weekly_only = root == "NDXP"  # that Friday is a weekly either way, listed for eight weeks instead of five months
    assert early is None or (weekly_only and (before - early).days == 56)
    assert first_listed(rule, before, Listings.TODAY) is not None


def test_strikes_are_finer_on_third_fridays_and_reach_further() -> None:
    assert is_standard(date(2023, 10, 20))
    assert is_standard(date(2023, 10, 31))
    assert not is_standard(date(2023, 10, 27))
    weekly = strikes(RULES["SPXW"], 8, 4500.0, 4500.0, weekly=True)
    monthly = strikes(RULES["SPXW"], 8, 4500.0, 4500.0)
    assert len(weekly) < len(monthly)
    for listed in (weekly, monthly):
        near = listed[np.abs(listed / 4500.0 - 1.0) < 0.05]
        assert set(np.diff(near).tolist()) == {5.0}
    assert {4500.0 * 0.5, 4500.0 * 1.2} <= {float(strike) for strike in weekly}
    far = strikes(RULES["SPX"], 300, 4500.0, 4500.0)
    assert set(np.diff(far[np.abs(far / 4500.0 - 1.0) < 0.1]).tolist()) == {25.0}
    # A fallen market keeps the strikes of where it was: 3386 to 2305 within ninety days.
    fallen = strikes(RULES["SPXW"], 8, 2305.0, 3386.0, weekly=True)
    assert 3500.0 in fallen
    assert 2030.0 in fallen


@pytest.mark.parametrize(
    ("contract", "serial", "standard"),
    [
        # The last four sessions of February 2018 are the 28th, 27th, 26th and Friday the 23rd: a day earlier. Those of
        # March (Good Friday is the 30th) are the 29th to Monday the 26th.
        (date(2018, 4, 1), date(2018, 2, 22), date(2018, 3, 26)),
        # December 2014: 31, 30, 29 and Friday the 26th; before it the eve of Christmas, so Tuesday the 23rd.
        # January 2015: 30, 29, 28, 27.
        (date(2015, 2, 1), date(2014, 12, 23), date(2015, 1, 27)),
    ],
)
def test_gold_options_end_neither_on_fridays_nor_before_holidays(contract: date, serial: date, standard: date) -> None:
    assert FUTURES["GC"].options(contract, contract) == [serial, standard]

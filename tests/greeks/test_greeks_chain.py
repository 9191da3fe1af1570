"""Time to expiry, smiles and chains of Greeks; and LEAN's own recorded figures."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import Contract, Quote, Right, Settlement
from greeks.black_scholes import european_greeks, settlement_time, years_between, years_to_expiry
from greeks.implied import NoVolatility, implied_volatility
from greeks.smile import ONE_STRIKE, VolatilitySource, chain_greeks, fit_smile
from tests.greeks.chains import MORNING, RATE, YIELD, market, skew, spxw, spy

# Time


@pytest.mark.parametrize(
    ("root", "expiry", "settlement", "expected"),
    [
        ("SPXW", date(2024, 7, 5), Settlement.CASH_AFTERNOON, time(16, 0)),
        ("SPXW", date(2024, 7, 3), Settlement.CASH_AFTERNOON, time(13, 0)),
        ("SPX", date(2024, 7, 19), Settlement.CASH_MORNING, time(9, 30)),
        ("SPY", date(2024, 11, 29), Settlement.PHYSICAL_SHARES, time(13, 0)),
        ("ES", date(2024, 9, 20), Settlement.PHYSICAL_FUTURE, time(9, 30)),
        ("ES", date(2024, 8, 16), Settlement.PHYSICAL_FUTURE, time(16, 0)),
        ("ES", date(2008, 3, 20), Settlement.PHYSICAL_FUTURE, time(9, 30)),  # the third Friday was Good Friday
        ("ES", date(2026, 6, 18), Settlement.PHYSICAL_FUTURE, time(9, 30)),  # Friday the 19th is Juneteenth
        ("ES", date(2027, 6, 17), Settlement.PHYSICAL_FUTURE, time(9, 30)),  # Friday the 18th keeps Saturday's
        ("ES", date(2026, 6, 17), Settlement.PHYSICAL_FUTURE, time(16, 0)),
        ("ES", date(2024, 11, 29), Settlement.PHYSICAL_FUTURE, time(13, 0)),  # a half day's Friday
        ("ES", date(2026, 5, 15), Settlement.PHYSICAL_FUTURE, time(16, 0)),  # no month of a quarterly contract
        ("SPXW", date(1996, 7, 5), Settlement.CASH_AFTERNOON, time(13, 0)),
        ("SPXW", date(1996, 7, 3), Settlement.CASH_AFTERNOON, time(16, 0)),
        ("SPXW", date(1997, 12, 26), Settlement.CASH_AFTERNOON, time(13, 0)),
        ("SPXW", date(1999, 12, 31), Settlement.CASH_AFTERNOON, time(13, 0)),
        ("SPXW", date(2002, 7, 3), Settlement.CASH_AFTERNOON, time(16, 0)),
        ("SPXW", date(2002, 7, 5), Settlement.CASH_AFTERNOON, time(13, 0)),
        ("SPXW", date(2003, 12, 26), Settlement.CASH_AFTERNOON, time(13, 0)),
        ("SPY", date(1992, 12, 24), Settlement.PHYSICAL_SHARES, time(14, 0)),
        ("LO", date(2024, 8, 15), Settlement.PHYSICAL_FUTURE, time(14, 30)),
        ("OG", date(2024, 8, 27), Settlement.PHYSICAL_FUTURE, time(13, 30)),
        ("EUU", date(2024, 9, 6), Settlement.PHYSICAL_FUTURE, time(10, 0)),
        ("OZB", date(2024, 8, 23), Settlement.PHYSICAL_FUTURE, time(17, 0)),
    ],
)
def test_each_contract_settles_at_its_own_time(root: str, expiry: date, settlement: Settlement, expected: time) -> None:
    assert settlement_time(root, expiry, settlement) == expected


def test_a_change_of_the_clock_costs_its_hour() -> None:
    # Friday 16:00 to Monday 16:00 over the spring change is 71 hours, over the autumn change 73
    spring = years_between(datetime(2024, 3, 8, 16), datetime(2024, 3, 11, 16))
    autumn = years_between(datetime(2024, 11, 1, 16), datetime(2024, 11, 4, 16))
    assert spring * 365 * 24 == pytest.approx(71.0)
    assert autumn * 365 * 24 == pytest.approx(73.0)


def test_time_runs_out_at_settlement_and_never_below_zero() -> None:
    contracts = [spxw(5500.0, Right.CALL)] * 3
    one = years_to_expiry(contracts, datetime(2024, 7, 5, 15, 59))
    assert one.tolist() == pytest.approx([60.0 / (365.0 * 86400.0)] * 3)
    assert years_to_expiry(contracts, datetime(2024, 7, 5, 16, 0)).tolist() == [0.0] * 3
    assert years_to_expiry(contracts, datetime(2024, 7, 8, 9, 30)).tolist() == [0.0] * 3
    with pytest.raises(ValueError, match="expected naive New York time"):
        years_to_expiry(contracts, datetime.fromisoformat("2024-07-05T10:30:00-04:00"))


# Smiles and chains


def test_a_chain_gives_the_deltas_of_the_smile_that_made_it() -> None:
    quotes = market(np.arange(5200.0, 5800.0, 5.0).tolist())
    found = chain_greeks(list(quotes), quotes, 5500.0, MORNING, RATE, YIELD)
    columns = found.columns
    true = european_greeks(5500.0, columns.strike, columns.years, skew(columns.strike), 0.05, 0.012, columns.is_call)
    assert found.greeks.delta == pytest.approx(true.delta, abs=0.004)
    near = np.abs(true.delta) > 0.05
    assert found.volatility[near & (np.abs(true.delta) < 0.95)] == pytest.approx(
        skew(columns.strike)[near & (np.abs(true.delta) < 0.95)], abs=0.002
    )


def test_a_strike_with_a_poor_quote_takes_its_delta_from_its_neighbours() -> None:
    quotes = market(np.arange(5400.0, 5600.0, 5.0).tolist())
    whole = chain_greeks(list(quotes), quotes, 5500.0, MORNING, RATE, YIELD)
    poor = {5465.0: Quote(0.0, 5.0, MORNING), 5470.0: Quote(3.0, 2.0, MORNING), 5475.0: Quote(None, 4.0, MORNING)}
    worse = {c: poor.get(c.strike, q) if c.right is Right.PUT else q for c, q in quotes.items()}
    del worse[spxw(5480.0, Right.PUT)]
    found = chain_greeks(list(quotes), worse, 5500.0, MORNING, RATE, YIELD)
    expected = {5465.0: "ZERO_BID", 5470.0: "CROSSED", 5475.0: "MISSING", 5480.0: "MISSING"}
    for strike, reason in expected.items():
        put = spxw(strike, Right.PUT)
        at = found.contracts.index(put)
        figures = found.of(put)
        assert found.implied.at(at) is NoVolatility[reason]
        assert figures is not None
        assert figures.source is VolatilitySource.NEIGHBOURS
        assert figures.delta == pytest.approx(whole.greeks.delta[at], abs=0.003)


def test_without_any_quote_nothing_is_known() -> None:
    contracts = [spxw(5500.0, Right.CALL), spxw(5500.0, Right.PUT)]
    found = chain_greeks(contracts, {}, 5500.0, MORNING, RATE, YIELD)
    assert found.of(contracts[0]) is None
    assert found.delta(contracts[1]) is None
    assert found.source == (VolatilitySource.NONE, VolatilitySource.NONE)


def test_an_expired_chain_is_worth_its_intrinsic_value() -> None:
    contracts = [spxw(5450.0, Right.CALL), spxw(5450.0, Right.PUT)]
    found = chain_greeks(contracts, {}, 5500.0, datetime(2024, 7, 5, 16, 0), RATE, YIELD)
    assert found.greeks.price.tolist() == [50.0, 0.0]
    assert found.greeks.delta.tolist() == [1.0, 0.0]


@settings(max_examples=40)
@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=40, unique=True), st.floats(1e-4, 0.05), st.integers(0, 99))
def test_a_smile_stays_within_the_spreads_it_was_fitted_to(xs: list[float], spread: float, seed: int) -> None:
    strikes = 100.0 * np.exp(np.sort(np.array(xs)))
    true = 0.2 + np.log(strikes / 100.0) ** 2
    seen = true + spread * np.random.default_rng(seed).uniform(-1.0, 1.0, strikes.size)
    smile = fit_smile(strikes, seen, np.full(strikes.size, spread), 100.0)
    assert smile is not None
    back = smile.at(100.0 * np.exp(smile.moneyness))
    kept = seen[np.concatenate(([True], np.diff(np.log(strikes / 100.0)) > ONE_STRIKE))]
    assert np.sqrt(np.mean((back - kept) ** 2)) <= spread
    assert np.isfinite(smile.at(np.array([10.0, 1000.0]))).all()
    assert (smile.at(np.array([10.0, 1000.0])) > 0.0).all()


# LEAN's own figures


def recorded(path: Path, root: str) -> list[tuple[Contract, float, float, list[float], datetime]]:
    """Contract, mid, spot, LEAN's volatility, delta, gamma, vega and yearly theta, and the time, of each row."""
    found = []
    for line in (path / "expected" / "p03_chain.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["event"] != "chain" or row["root"] != root or not row["greeks"]:
            continue
        quotes = {quote[0]: quote for quote in row["rows"]}
        for name, *figures in row["greeks"]:
            _, expiry, strike, right, bid, ask, *_, spot, _ = quotes[name]
            make = spxw if root == "spxw" else spy
            contract = make(strike, Right[right], datetime.fromisoformat(expiry).date())
            found.append((contract, (bid + ask) / 2, spot, figures, datetime.fromisoformat(row["t"])))
    return found


def test_lean_and_we_agree_on_european_index_options(conformance: Path) -> None:
    # LEAN: 5 % from its rate file, no yield, and the out-of-the-money side's volatility for both sides of a strike
    rows = recorded(conformance, "spxw")
    assert len(rows) >= 16
    for contract, mid, spot, (volatility, delta, gamma, vega, theta), now in rows:
        years = years_to_expiry([contract], now)
        own = implied_volatility(mid, spot, contract.strike, years, 0.05, 0.0, contract.right is Right.CALL)
        assert own.volatility[0] == pytest.approx(volatility, abs=0.001)
        ours = european_greeks(spot, contract.strike, years, volatility, 0.05, 0.0, contract.right is Right.CALL)
        assert ours.delta[0] == pytest.approx(delta, abs=2e-4)
        assert ours.gamma[0] == pytest.approx(gamma, abs=3e-5)
        assert ours.vega[0] == pytest.approx(vega, abs=2e-3)
        assert ours.theta[0] * 365.0 == pytest.approx(theta, rel=1e-3)


def test_leans_american_puts_are_european_on_a_tree_without_drift(conformance: Path) -> None:
    # LEAN's forward tree sets its nodes as if up x down were 1, which takes the drift out: what it inverts is Black-76
    # with the forward at spot, less the rate x sqrt(step) that widens its steps. Ours keeps the drift and may exercise.
    rows = recorded(conformance, "spy")
    assert len(rows) >= 16
    for contract, mid, spot, (volatility, delta, *_), now in rows:
        years = years_to_expiry([contract], now)
        driftless = implied_volatility(mid, spot, contract.strike, years, 0.05, 0.05, False).volatility
        assert driftless[0] - 0.05 * math.sqrt(years[0] / 200.0) == pytest.approx(volatility, abs=3e-4)
        theirs = european_greeks(spot, contract.strike, years, driftless, 0.05, 0.05, False)
        assert theirs.delta[0] == pytest.approx(delta, abs=2e-3)
        ours = chain_greeks([contract], {contract: Quote(mid - 0.01, mid + 0.01, now)}, spot, now, 0.05, 0.0)
        assert ours.volatility[0] == pytest.approx(volatility, abs=0.016)
        assert ours.volatility[0] > volatility + 0.008
        assert abs(ours.greeks.delta[0]) < abs(delta)

"""Other underlyings, simulated years, scenarios and what exchanges do: each against what its law or its record says."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from simulation.lean.enums import OptionRight, OptionStyle, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.assets import anchor_years, vix_fridays
from simulation.market.book import MarketSpecError
from simulation.market.calendar import FloatArray, session_open_utc
from simulation.market.corporate import halted_minutes, opening_settlement
from simulation.market.days import MinutePath
from simulation.market.factors import LAWS
from simulation.market.garch import FITTED, VIX, draw_days, residuals
from simulation.market.history import arch_series
from simulation.market.scenarios import ScenarioError, names, parsed, scenario
from simulation.market.source import ModelledMarket
from simulation.market.surface import strip_variance
from tests.simulation.market.chain_slices import (
    assert_no_arbitrage_in_quotes,
    assert_no_arbitrage_in_values,
    cboe_index,
    sliced,
)

CRASH = date(2018, 2, 5)


@pytest.fixture(scope="module")
def market() -> ModelledMarket:
    return ModelledMarket.from_history("history", seed=2, quote_faults=0.0)


def log_returns(market: ModelledMarket, ticker: str) -> FloatArray:
    return np.diff(np.log(market.book.asset(ticker).series.close))


def test_correlations_rise_in_stress(market: ModelledMarket) -> None:
    index = log_returns(market, "SPX")
    stressed = market.book.asset("SPX").filled_volatility[:-1] > 22.0
    for ticker, law in LAWS.items():
        if law.name in ("GOLD", "EURO"):
            continue  # next to no correlation in calm, little in stress
        own = log_returns(market, ticker)
        calm, stress = (float(np.corrcoef(index[rows], own[rows])[0, 1]) for rows in (~stressed, stressed))
        assert abs(stress) > abs(calm), ticker


@pytest.mark.parametrize(
    ("ticker", "published"),
    # Average closes of Cboe's volatility indices, 2014 to 2018, to a point or so.
    [("NDX", 17.9), ("RUT", 19.3), ("GOLD", 15.6), ("OIL", 35.0), ("EURO", 8.8), ("BOND", 12.8)],
)
def test_implied_volatilities_average_near_the_published_indices(
    market: ModelledMarket, ticker: str, published: float
) -> None:
    assert market.book.asset(ticker).filled_volatility.mean() == pytest.approx(published, rel=0.15)


def test_real_closes_stay_real(market: ModelledMarket) -> None:
    oil = market.book.asset("OIL").series
    real = arch_series("wti")
    shared, ours, theirs = np.intersect1d(oil.days, real.days, return_indices=True)
    assert len(shared) > 1200
    assert np.array_equal(oil.close[ours], real.close[theirs])


@pytest.mark.parametrize(
    ("ticker", "place", "tick"),
    [("ES", "cme", 0.25), ("CL", "nymex", 0.01), ("GC", "comex", 0.1), ("ZB", "cbot", 0.03125), ("6E", "cme", 0.00005)],
)
def test_futures_trade_at_their_tick_and_have_options(
    market: ModelledMarket, ticker: str, place: str, tick: float
) -> None:
    strip = market.universe(Symbol.create(ticker, SecurityType.FUTURE, place), CRASH)
    assert strip is not None
    future = strip.symbol(1)
    trades = market.trades(future, Resolution.MINUTE, CRASH)
    quotes = market.quotes(future, Resolution.MINUTE, CRASH)
    assert trades is not None
    assert quotes is not None
    for prices in (trades.close, trades.high, quotes.bid_close, quotes.ask_close):
        steps = prices / tick
        assert np.allclose(steps, np.round(steps), atol=1e-5)
    assert bool((quotes.ask_close > quotes.bid_close).all())
    chain = market.universe(Symbol.create_canonical_option(future), CRASH)
    assert chain is not None
    row = int(np.argmin(np.abs(chain.strike - trades.close[-1])))
    option = market.quotes(chain.symbol(row), Resolution.MINUTE, CRASH)
    assert option is not None
    assert bool((option.ask_close > np.nan_to_num(option.bid_close)).all())
    assert market.margins(future) is not None


@pytest.mark.parametrize("ticker", ["SPY", "QQQ", "IWM", "TLT", "GLD", "USO", "FXE"])
def test_american_chains_have_no_static_arbitrage_in_their_quotes(market: ModelledMarket, ticker: str) -> None:
    root = market.book.roots[ticker]
    state = root.asset_day(CRASH)
    assert state is not None
    expiry = next(day for day in root.listing.expirations(CRASH) if (day - CRASH).days > 25)
    strikes = root.listing.strikes(CRASH, expiry)
    assert strikes is not None
    spot = float(state.spot.points[-1])
    made = {
        sign: [
            root.contract_day(CRASH, expiry, float(strike), sign) for strike in strikes[:: max(1, len(strikes) // 25)]
        ]
        for sign in (1.0, -1.0)
    }
    for sign, contracts in made.items():
        for minute in (1, state.minutes // 2, state.minutes):
            bids = np.array([np.nan_to_num(one.bid[minute]) for one in contracts if one is not None])
            asks = np.array([one.ask[minute] for one in contracts if one is not None])
            sold, bought = (bids[1:], asks[:-1]) if sign > 0 else (bids[:-1], asks[1:])
            assert bool((sold <= bought + 1e-9).all())
            at = float(state.spot.points[minute])
            used = strikes[:: max(1, len(strikes) // 25)]
            assert bool((asks >= np.maximum(sign * (at - used), 0.0) - 1e-6).all()), "below intrinsic value"
    assert 0.9 < float(strikes.mean()) / spot < 1.15


def test_the_laws_are_what_the_data_say() -> None:
    """The recorded GARCH fits, repeated with arch on the data that ship with it."""
    from arch import arch_model

    returns = np.diff(np.log(arch_series("sp500").close)) * 100.0
    found = arch_model(returns, mean="Constant", vol="GARCH", p=1, o=1, q=1, dist="t").fit(disp="off").params
    assert found["gamma[1]"] == pytest.approx(FITTED.gamma, abs=0.002)
    assert found["beta[1]"] == pytest.approx(FITTED.beta, abs=0.002)
    assert found["omega"] / 1e4 == pytest.approx(FITTED.omega, rel=0.02)
    assert residuals().shock.std() == pytest.approx(1.0, abs=0.03)


def test_simulated_years_look_like_years() -> None:
    drawn = [draw_days(seed, 252 * 10) for seed in range(12)]
    returns = np.concatenate([one.returns for one in drawn])
    levels = np.concatenate([one.volatility for one in drawn])
    yearly = float(returns.std()) * 252**0.5
    assert 0.15 < yearly < 0.25  # S&P 500 1998 to 2021: 0.196
    excess = float(((returns - returns.mean()) ** 4).mean() / returns.var() ** 2)
    assert 8.0 < excess < 30.0  # 12
    changes = np.concatenate([np.diff(np.log(one.volatility)) for one in drawn])
    paired = np.concatenate([one.returns[1:] for one in drawn])
    assert -0.85 < float(np.corrcoef(paired, changes)[0, 1]) < -0.65  # -0.73
    assert 17.0 < float(levels.mean()) < 24.0  # 19.7; Cboe's 1999 to 2018: 19.9
    implied = np.concatenate([one.volatility[:-1] for one in drawn]) / 100.0
    assert 0.72 < float((paired**2).mean() * 252.0 / (implied**2).mean()) < 0.90  # 1999 to 2018: 0.77
    assert levels.min() >= VIX.lowest
    assert levels.max() <= VIX.highest + 0.01


def test_a_longer_draw_begins_like_a_shorter_one() -> None:
    short, long = draw_days(3, 300), draw_days(3, 900)
    assert np.array_equal(short.returns, long.returns[:300])
    assert np.array_equal(short.volatility, long.volatility[:300])


def test_simulated_markets_can_be_traded() -> None:
    market = ModelledMarket.from_history("garch:4", seed=1)
    day = market.book.days()[400]
    index = Symbol.create("SPX", SecurityType.INDEX, "usa")
    block = market.trades(index, Resolution.MINUTE, day)
    assert block is not None
    assert len(block.end) in (210, 390)
    with pytest.raises(MarketSpecError, match="garch:SEED"):
        ModelledMarket.from_history("garch:x", seed=1)


@pytest.mark.parametrize("name", names())
def test_each_scenario_follows_its_path(name: str) -> None:
    plan = scenario(name)
    market = ModelledMarket.from_history(f"scenario:{name}", seed=1)
    assert market.book.days()[-1] == plan.end
    if plan.source is None:
        for day, close in zip(plan.days, plan.index[1:], strict=True):
            state = market.book.asset_day("SPX", day)
            assert state is not None
            assert state.spot.points[-1] == close


def worst_minute(market: ModelledMarket, days: list[date]) -> tuple[date, int]:
    """The day and the minute of the highest volatility index."""
    paths = {day: market.book.volatility_points("SPX", day) for day in days}
    highest = {day: float(points.max()) for day, points in paths.items() if points is not None}
    day = max(highest, key=lambda one: highest[one])
    points = paths[day]
    assert points is not None
    return day, int(np.argmax(points))


@pytest.mark.parametrize("name", names())
def test_no_arbitrage_and_the_right_vix_at_each_scenarios_worst_minute(name: str) -> None:
    market = ModelledMarket.from_history(f"scenario:{name}", seed=1)
    day, worst = worst_minute(market, scenario(name).days)
    root, state = market.book.roots["SPXW"], market.book.asset_day("SPX", day)
    given = market.book.volatility_points("SPX", day)
    assert state is not None
    assert given is not None
    for expiry in (*vix_fridays(day), root.listing.expirations(day)[1], root.listing.expirations(day)[-1]):
        part = sliced(root, state, expiry, worst)
        assert_no_arbitrage_in_values(part, float(state.spot.points[worst]))
        assert_no_arbitrage_in_quotes(part)
    # At the open and at the close, too, where wide spreads take far strikes their bid and their place in the formula.
    # In winter 2008 they were twice as wide as a VIX of 87 alone makes them: seen are 0.53 points.
    near = 0.2 if day.year > 2008 else 0.6
    for minute in (worst, 0, state.minutes // 2, state.minutes):
        assert cboe_index(root, state, minute) == pytest.approx(given[minute], abs=near)


@pytest.mark.parametrize("ticker", ["NDX", "RUT", "GOLD", "OIL", "EURO", "BOND"])
def test_every_surface_is_anchored_at_its_own_volatility_index(market: ModelledMarket, ticker: str) -> None:
    asset = market.book.asset(ticker)
    for day in (date(2017, 11, 3), CRASH):
        state, shown = asset.day(day), asset.volatility_path(day)
        assert state is not None
        assert shown is not None
        years = anchor_years(state.clock, day)
        for minute in (0, 200, 390):
            theta = float(state.surface.theta(years)[minute])
            strip = strip_variance(theta, state.spec.smile.rho, float(state.surface.eta[minute]))
            level = 100.0 * (strip * 365.0 / 30.0) ** 0.5
            assert level == pytest.approx(shown.points[minute], abs=0.2, rel=0.005)


def test_no_static_arbitrage_at_any_minute_of_a_crisis_day(market: ModelledMarket) -> None:
    root, state = market.book.roots["SPXW"], market.book.asset_day("SPX", date(2018, 2, 6))
    assert state is not None
    expiries = root.listing.expirations(date(2018, 2, 6))
    for minute in range(391):
        part = sliced(root, state, expiries[minute % 12], minute)
        assert_no_arbitrage_in_values(part, float(state.spot.points[minute]))
        assert_no_arbitrage_in_quotes(part)


def test_august_2024_is_as_recorded() -> None:
    market = ModelledMarket.from_history("scenario:august-2024", seed=3)
    # Public record: S&P 500 5346.56 on August 2, 5186.33 on August 5; VIX 23.39, high 65.73, 38.57.
    before, state = (market.book.asset_day("SPX", date(2024, 8, day)) for day in (2, 5))
    vix = market.book.path("VIX", date(2024, 8, 5))
    assert before is not None
    assert state is not None
    assert vix is not None
    assert (before.spot.points[-1], state.spot.points[-1]) == (5346.56, 5186.33)
    assert (vix.points[0], vix.high.max(), vix.points[-1]) == (23.39, 65.73, 38.57)
    row = market.book.asset("SPX").row(date(2024, 8, 2))
    assert market.book.asset("SPX").filled_volatility[row] == 23.39


def test_march_2020_halts_on_the_days_it_did() -> None:
    market = ModelledMarket.from_history("scenario:march-2020", seed=1)
    halts = [day for day in scenario("march-2020").days if market.book.halted(day) is not None]
    assert halts == [date(2020, 3, 9), date(2020, 3, 12), date(2020, 3, 16), date(2020, 3, 18)]


def flat(levels: list[tuple[int, float]]) -> MinutePath:
    """A session at each level from its minute on."""
    points = np.full(391, 100.0)
    for minute, level in levels:
        points[minute:] = level
    return MinutePath(points, np.maximum(points[1:], points[:-1]), np.minimum(points[1:], points[:-1]))


def test_halts_by_the_rule() -> None:
    # Down 7.5 % in minute 30 (from 0): quiet for 15 minutes; 13.5 % in minute 100: again; 20 %: the day is over.
    halted = halted_minutes(flat([(31, 92.5), (101, 86.5), (201, 79.9)]), 100.0, date(2020, 3, 9))
    assert halted is not None
    runs = np.flatnonzero(np.diff(np.concatenate(([0], halted.astype(np.int64), [0]))))
    assert runs.tolist() == [31, 46, 101, 116, 201, 390]
    late = halted_minutes(flat([(370, 92.5)]), 100.0, date(2020, 3, 9))
    assert late is None
    assert halted_minutes(flat([(31, 92.5)]), 100.0, date(2008, 10, 9)) is None  # ten percent of the Dow, then


def test_no_quotes_while_trading_is_halted() -> None:
    market = ModelledMarket.from_history("scenario:crash-20", seed=1)
    day = date(2019, 10, 21)
    index = Symbol.create("SPX", SecurityType.INDEX, "usa")
    option = Symbol.create_option(
        index, "SPXW", "usa", OptionStyle.EUROPEAN, OptionRight.PUT, 2800.0, date(2019, 10, 25)
    )
    halted = market.book.halted(day)
    assert halted is not None
    stopped = session_open_utc(day) + np.flatnonzero(halted) * 60_000
    for block in (market.quotes(option, Resolution.MINUTE, day), market.trades(index, Resolution.MINUTE, day)):
        assert block is not None
        assert not np.isin(block.start, stopped).any()


def test_the_opening_settlement_is_not_the_first_print(market: ModelledMarket) -> None:
    state = market.book.asset_day("SPX", date(2018, 2, 16))
    assert state is not None
    value = opening_settlement(state)
    early = state.spot.points[1:11]
    assert early.min() <= value <= early.max()
    assert value != state.spot.points[0]


def test_faults_of_scenarios_reach_the_feed() -> None:
    index = Symbol.create("SPX", SecurityType.INDEX, "usa")
    vix = Symbol.create("VIX", SecurityType.INDEX, "usa")
    empty = ModelledMarket.from_history("scenario:empty-chains", seed=1)
    option = Symbol.create_option(
        index, "SPXW", "usa", OptionStyle.EUROPEAN, OptionRight.PUT, 2700.0, date(2019, 6, 14)
    )
    made = empty.contract_day(option, date(2019, 6, 10))
    assert made is not None
    assert np.isnan(made.ask).all()
    silent = ModelledMarket.from_history("scenario:missing-vix", seed=1)
    block = silent.trades(vix, Resolution.MINUTE, date(2019, 6, 7))
    assert block is not None
    assert len(block.end) == 330
    assert silent.trades(vix, Resolution.MINUTE, date(2019, 6, 14)) is None


def test_unknown_scenarios_and_keys_are_named() -> None:
    with pytest.raises(ScenarioError, match="august-2024"):
        scenario("august-2023")
    with pytest.raises(ScenarioError, match="'indx'"):
        parsed("mine", {"title": "x", "start": date(2020, 1, 2), "indx": 1.0})
    with pytest.raises(ScenarioError, match="start is missing"):
        parsed("mine", {"title": "x"})

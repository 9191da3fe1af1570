"""Every underlying in calm, in crisis and at each scenario's worst minute; American values against QuantLib's own.

Vertical, butterfly and calendar arbitrage, put-call parity (bounds for American options), and the early exercise that
the model adds to European prices: exact where exercise is best, near to QuantLib elsewhere, right around ex-dates.
"""

# Private: _compiled, _kernels: the plain kernel against the compiled one.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from math import exp, sqrt

import numba
import numpy as np
import pytest
import QuantLib as ql  # noqa: N813 - the name that its own documentation uses

from simulation.lean.enums import SecurityType
from simulation.lean.symbols import Symbol
from simulation.market import american
from simulation.market.asset_days import AssetDay, Kind
from simulation.market.calendar import FloatArray, calendar
from simulation.market.scenarios import names, scenario
from simulation.market.source import ModelledMarket
from simulation.market.surface import black, smile
from simulation.market.valuation import ChainRows, Claims, OptionRoot, Style
from tests.simulation.market.chain_slices import cboe_index

CALM, CRASH = date(2017, 11, 3), date(2018, 2, 5)
CASH = ("SPXW", "SPX", "NDXP", "SPY", "QQQ", "IWM", "TLT", "GLD", "USO", "FXE")
FUTURES = {"ES": "cme", "CL": "nymex", "GC": "comex", "ZB": "cbot", "6E": "cme"}
NOISE = 4e-5  # of the underlying, half a cent at 125 points: what tables of early exercise may be off by


@pytest.fixture(scope="module")
def market() -> ModelledMarket:
    return ModelledMarket.from_history("history", seed=5, quote_faults=0.0)


def root_of(market: ModelledMarket, name: str, day: date) -> OptionRoot:
    """The option root; of a future the one on its second contract."""
    if name in CASH:
        return market.book.roots[name]
    strip = market.universe(Symbol.create(name, SecurityType.FUTURE, FUTURES[name]), day)
    assert strip is not None
    root = market.book.root(Symbol.create_canonical_option(strip.symbol(1)))
    assert root is not None
    return root


@dataclass(frozen=True)
class Side:
    """One right of an expiry at one minute: model values, bids (0 for none) and asks."""

    value: FloatArray
    bid: FloatArray
    ask: FloatArray


def side(root: OptionRoot, state: AssetDay, expiry: date, strikes: FloatArray, at: tuple[int, float]) -> Side:
    minute, sign = at
    count = len(strikes)
    rows = ChainRows(np.full(count, expiry.toordinal(), dtype=np.int64), strikes, np.full(count, sign))
    bid, ask = root.chain_quotes(state, rows, minute)
    return Side(root.chain_values(state, rows, minute), np.nan_to_num(bid), ask)


def assert_no_vertical_or_butterfly(part: Side, strikes: FloatArray, sign: float, scale: float) -> None:
    """Of model values, and of what can be traded at quotes."""
    slopes = -sign * np.diff(part.value) / np.diff(strikes)
    room = scale / np.diff(strikes)
    assert bool((slopes >= -room).all()), "vertical"
    assert bool((slopes <= 1.0 + room).all()), "vertical wider than its strikes"
    bend = np.diff(np.diff(part.value) / np.diff(strikes))
    assert bool((bend >= -(room[1:] + room[:-1])).all()), "butterfly"
    sold, bought = (part.bid[1:], part.ask[:-1]) if sign > 0 else (part.bid[:-1], part.ask[1:])
    assert bool((sold <= bought + 1e-9).all()), "vertical at quotes"
    share = (strikes[2:] - strikes[1:-1]) / (strikes[2:] - strikes[:-2])
    assert bool((part.bid[1:-1] <= share * part.ask[:-2] + (1.0 - share) * part.ask[2:] + 1e-9).all()), "butterfly"


def assert_parity(root: OptionRoot, state: AssetDay, expiry: date, strikes: FloatArray, minute: int) -> None:
    """European: call less put is the forward's; American: between what either side could exercise into."""
    call, put = (side(root, state, expiry, strikes, (minute, sign)) for sign in (1.0, -1.0))
    years = float(state.years(expiry, morning=root.morning)[minute])
    discount = exp(-state.carry.rate * years)
    forward = float(state.forward(expiry, morning=root.morning)[minute])
    spot = float(state.spot.points[minute])
    if root.style is Style.EUROPEAN:
        lowest = highest = discount * (forward - strikes)
    else:
        lowest, highest = np.minimum(forward * discount, spot) - strikes, spot - strikes * discount
    scale = NOISE * spot
    difference = call.value - put.value
    assert bool(((difference >= lowest - scale) & (difference <= highest + scale)).all()), "parity of values"
    assert bool((call.ask - put.bid >= lowest - scale).all()), "parity at quotes"
    assert bool((call.bid - put.ask <= highest + scale).all()), "parity at quotes"


def assert_no_arbitrage(market: ModelledMarket, name: str, day: date, minute: int, expiries: int) -> None:
    root = root_of(market, name, day)
    state = root.asset_day(day)
    assert state is not None
    spot = float(state.spot.points[minute])
    listed = [one for one in root.listing.expirations(day) if one > day]
    before: dict[float, Side] = {}
    common: FloatArray | None = None
    for expiry in listed[:: max(1, len(listed) // expiries)]:
        strikes = root.listing.strikes(day, expiry)
        assert strikes is not None
        for sign in (1.0, -1.0):
            part = side(root, state, expiry, strikes, (minute, sign))
            assert_no_vertical_or_butterfly(part, strikes, sign, NOISE * spot)
            if root.style is Style.AMERICAN and sign in before and common is not None:
                shared, here, there = np.intersect1d(strikes, common, return_indices=True)
                longer = part.value[here] - before[sign].value[there]
                # Each term has its own volatility: in a storm, with terms inverted and 12 % of roll a year (USO), the
                # longer option's falls faster than its life grows. QuantLib's values do the same; see docs/market.md.
                spread = part.ask[here] - part.bid[here]
                room = np.maximum(np.maximum(NOISE * spot, 5e-4 * part.value[here]), 0.5 * spread)
                assert bool((before[sign].bid[there] <= part.ask[here] + 1e-9).all()), "calendar at quotes"
                assert bool((longer >= -room).all()), f"calendar, {name} {expiry} {shared[longer.argmin()]}"
            before[sign] = part
        assert_parity(root, state, expiry, strikes, minute)
        common = strikes
    assert_total_variance_grows(root, state, listed, minute)


def assert_total_variance_grows(root: OptionRoot, state: AssetDay, listed: list[date], minute: int) -> None:
    """No calendar arbitrage at any distance from the forward, in total variance."""
    at = np.linspace(-0.5, 0.3, 9)
    before = np.zeros(len(at))
    for expiry in listed:
        years = np.full(len(at), state.variance_years(expiry, morning=root.morning)[minute])
        whole = [
            state.surface.variance(np.full(state.minutes + 1, k), np.full(state.minutes + 1, years[0])) for k in at
        ]
        total = np.array([one[minute] for one in whole])
        assert bool((total >= before - 1e-12).all()), expiry
        before = total


@pytest.mark.parametrize("name", [*CASH, *FUTURES])
@pytest.mark.parametrize("day", [CALM, CRASH])
def test_no_underlying_can_be_arbitraged(market: ModelledMarket, name: str, day: date) -> None:
    state = market.book.asset_day("SPX", day)
    assert state is not None
    worst = int(np.argmin(state.spot.points))
    for minute in (worst, state.minutes):
        assert_no_arbitrage(market, name, day, minute, 4)


def worst_minutes(market: ModelledMarket, days: list[date]) -> set[tuple[date, int]]:
    """Where the volatility index is highest, and where the index is farthest from the close before."""
    highest, farthest = (0.0, days[0], 0), (0.0, days[0], 0)
    series = market.book.asset("SPX").series
    for day in days:
        points, state = market.book.volatility_points("SPX", day), market.book.asset_day("SPX", day)
        assert points is not None
        assert state is not None
        row = int(np.searchsorted(series.days, day.toordinal()))
        moved = np.abs(np.log(state.spot.points / series.close[row - 1]))
        highest = max(highest, (float(points.max()), day, int(points.argmax())))
        farthest = max(farthest, (float(moved.max()), day, int(moved.argmax())))
    return {highest[1:], farthest[1:]}


def check_scenario(name: str, underlyings: tuple[str, ...], expiries: int) -> None:
    market = ModelledMarket.from_history(f"scenario:{name}", seed=1)
    for day, minute in worst_minutes(market, scenario(name).days):
        state, given = market.book.asset_day("SPX", day), market.book.volatility_points("SPX", day)
        assert state is not None
        assert given is not None
        # A strip of rounded quotes at a VIX of 126 stops a strike early: half a percent of the index. In winter 2008
        # quotes were twice as wide still, and some strikes fewer have a bid: seen are 0.53 points at a VIX of 87.
        near = 0.005 if day.year > 2008 else 0.0075
        assert cboe_index(market.book.roots["SPXW"], state, minute) == pytest.approx(given[minute], abs=0.2, rel=near)
        for underlying in underlyings:
            assert_no_arbitrage(market, underlying, day, minute, expiries)


@pytest.mark.parametrize("name", ["february-2018", "august-2024", "crash-20"])
def test_the_worst_minutes_of_a_scenario_cannot_be_arbitraged(name: str) -> None:
    check_scenario(name, ("SPXW", "SPY", "TLT", "USO", "ES"), 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*names()[::8], *(pytest.param(name, marks=pytest.mark.long) for name in names() if name not in names()[::8])],
)
def test_no_scenarios_worst_minute_can_be_arbitraged_on_any_underlying(name: str) -> None:
    check_scenario(name, (*CASH, *FUTURES), 5)


# --- early exercise --------------------------------------------------------------------------------------------------

BEGIN, LIFE = ql.Date(1, 1, 2100), 20_000


def yielding(claim: tuple[float, float, float], variance: float, costs: tuple[float, float]) -> float:
    """QuantLib's accurate scheme: ``claim`` is sign, price and strike; ``costs`` rate and yield times years."""
    sign, spot, strike = claim
    count = ql.Actual365Fixed()
    curves = [ql.YieldTermStructureHandle(ql.FlatForward(BEGIN, cost, count)) for cost in (costs[1], costs[0])]
    surface = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(BEGIN, ql.NullCalendar(), sqrt(variance), count))
    process = ql.BlackScholesMertonProcess(ql.QuoteHandle(ql.SimpleQuote(spot)), *curves, surface)
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if sign > 0 else ql.Option.Put, strike)
    option = ql.VanillaOption(payoff, ql.AmericanExercise(BEGIN, BEGIN + 365))
    option.setPricingEngine(ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.accurateScheme()))
    return float(option.NPV())


def dividends_of(state: AssetDay, expiry: date, minute: int) -> list[tuple[float, float, float]]:
    """Of each ex-date: years to its eve's close, share of the variance before it, dividend over price."""
    whole, today = float(state.theta(expiry)[0]), state.day
    passed = float(state.theta(today)[0]) / whole * (1.0 - state.remaining[minute] / state.remaining[0])
    found = []
    for ordinal, amount in sorted(state.carry.dividends):
        if today.toordinal() < ordinal <= expiry.toordinal():
            eve = calendar().on_or_before(date.fromordinal(ordinal) - timedelta(days=1))
            share = (float(state.theta(eve)[0]) / whole - passed) / (1.0 - passed)
            worth = amount * exp(-state.carry.rate * (ordinal - today.toordinal()) / 365.0) / state.spot.points[0]
            found.append((float(state.years(eve)[minute]), share, float(worth)))
    return found


def discrete(state: AssetDay, expiry: date, claim: tuple[float, float, int], variance: float) -> float:
    """QuantLib's finite differences, each dividend a cliff in the yield curve; a life of 20,000 of its days.

    ``claim`` is sign, strike and minute. What its European price is off by is taken from the American one.
    """
    sign, strike, minute = claim
    years, count = float(state.years(expiry)[minute]), ql.Actual365Fixed()
    stretch = LIFE / 365.0
    escrowed = sum(worth for _, _, worth in dividends_of(state, expiry, minute))
    dates, discounts, known, volatilities = [BEGIN], [1.0], [], []
    for time, share, worth in dividends_of(state, expiry, minute):
        eve = BEGIN + round(time / years * LIFE)
        if eve > BEGIN:
            dates.append(eve)
            discounts.append(discounts[-1])
            known.append(eve)
            volatilities.append(sqrt(share * variance / (eve - BEGIN) * 365.0))
        dates.append(eve + 2)
        discounts.append(discounts[-1] * (1.0 - escrowed) / (1.0 - escrowed + worth))
        escrowed -= worth
    end = BEGIN + LIFE
    earned = ql.YieldTermStructureHandle(ql.DiscountCurve([*dates, end + 9], [*discounts, discounts[-1]], count))
    interest = ql.YieldTermStructureHandle(ql.FlatForward(BEGIN, state.carry.rate * years / stretch, count))
    curve = ql.BlackVarianceCurve(BEGIN, [*known, end], [*volatilities, sqrt(variance / stretch)], count)
    spot = ql.QuoteHandle(ql.SimpleQuote(float(state.spot.points[minute])))
    process = ql.BlackScholesMertonProcess(spot, earned, interest, ql.BlackVolTermStructureHandle(curve))
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if sign > 0 else ql.Option.Put, strike)
    option = ql.VanillaOption(payoff, ql.AmericanExercise(BEGIN, end))
    plain = ql.VanillaOption(payoff, ql.EuropeanExercise(end))
    grid = ql.FdBlackScholesVanillaEngine(process, 800, 500, 0)
    option.setPricingEngine(grid)
    plain.setPricingEngine(grid)
    off = plain.NPV()
    plain.setPricingEngine(ql.AnalyticEuropeanEngine(process))
    return float(option.NPV() - off + plain.NPV())


def drawn(market: ModelledMarket, name: str, paying: bool, generator: np.random.Generator) -> tuple[float, ...] | None:
    """A random contract and minute: our value, QuantLib's, strike, full spread; ``None`` when it does not fit."""
    days = [day for day in market.book.days() if day.year >= 2015]
    day = days[int(generator.integers(len(days)))]
    if paying and generator.random() < 0.5:  # near an ex-date
        day = [date(2018, 3, 14), date(2018, 3, 15), date(2018, 6, 14), date(2017, 9, 14)][int(generator.integers(4))]
    root = root_of(market, name, day)
    state = root.asset_day(day)
    assert state is not None
    listed = [one for one in root.listing.expirations(day) if one > day]
    expiry, sign = listed[int(generator.integers(len(listed)))], float(generator.choice([1.0, -1.0]))
    minute = int(generator.integers(state.minutes + 1))
    forward = state.forward(expiry)
    away = sign * generator.uniform(-2.0, 4.0) * sqrt(float(state.theta(expiry)[minute]))
    strikes = root.listing.strikes(day, expiry)
    assert strikes is not None
    strike = float(strikes[np.argmin(np.abs(strikes - forward[minute] * exp(-away)))])
    phi = state.steepness(expiry)
    shape = (np.log(strike / forward), state.theta(expiry), state.surface.law.rho, phi)
    variance, spot = float(smile(*shape)[minute]), float(state.spot.points[minute])
    contract = root.contract_day(day, expiry, strike, sign)
    if contract is None or contract.value[minute] < 5e-5 * strike or bool(dividends_of(state, expiry, 0)) is not paying:
        return None
    if paying:
        theirs = discrete(state, expiry, (sign, strike, minute), variance)
    else:
        years = float(state.years(expiry)[minute])
        earned = state.carry.rate if state.spec.kind is Kind.FUTURE else state.carry.dividend_yield
        theirs = yielding((sign, spot, strike), variance, (state.carry.rate * years, earned * years))
    spread = float(contract.ask[minute] - np.nan_to_num(contract.bid[minute]))
    return float(contract.value[minute]), max(theirs, sign * (spot - strike)), strike, spread


@pytest.mark.parametrize(
    ("paying", "underlyings", "count"),
    [(False, ("GLD", "USO", "FXE", "SPY", *FUTURES), 120), (True, ("SPY", "QQQ", "IWM", "TLT"), 24)],
)
def test_american_values_are_quantlibs(
    market: ModelledMarket, paying: bool, underlyings: tuple[str, ...], count: int
) -> None:
    """A cent is 4e-5 of a strike of 270: half a cent or 0.05 %, and a tenth of what market makers ask for."""
    generator = np.random.default_rng(17)
    found: list[tuple[float, ...]] = []
    while len(found) < count:
        one = drawn(market, underlyings[int(generator.integers(len(underlyings)))], paying, generator)
        if one is not None:
            found.append(one)
    ours, theirs, strike, spread = (np.array(column) for column in zip(*found, strict=True))
    off = np.abs(ours - theirs)
    assert bool((off <= np.maximum(2e-5 * strike, 5e-4 * theirs)).all())
    assert bool((off <= 0.1 * spread).all())


def test_exercise_pays_exactly_what_it_pays(market: ModelledMarket) -> None:
    """Deep in the money a put is worth strike less price, to the last bit, where waiting only costs interest."""
    for name in ("GLD", "CL"):
        root = root_of(market, name, CRASH)
        state = root.asset_day(CRASH)
        assert state is not None
        expiry = next(one for one in root.listing.expirations(CRASH) if one > CRASH)
        strike = float(np.round(1.5 * state.spot.points[0]))
        assert np.array_equal(root.values(state, expiry, strike, -1.0), strike - state.spot.points)


def test_a_call_is_worth_exercising_on_the_eve_of_an_ex_date_only(market: ModelledMarket) -> None:
    """SPY falls by its dividend on March 16, 2018: at the close before, exercise or what is left after the fall."""
    eve, week = date(2018, 3, 15), date(2018, 3, 23)
    root = market.book.roots["SPY"]
    state, before = root.asset_day(eve), root.asset_day(date(2018, 3, 13))
    assert state is not None
    assert before is not None
    spot, ex_date, dividend = float(state.spot.points[-1]), *state.carry.dividends[0]
    assert date.fromordinal(ex_date) == date(2018, 3, 16)
    assert 1.0 < dividend < 2.0
    for strike in (240.0, 260.0, 268.0, 274.0, 290.0):
        forward = state.forward(week)
        variance = smile(np.log(strike / forward), state.theta(week), state.surface.law.rho, state.steepness(week))
        discount = np.exp(-state.carry.rate * state.years(week))
        waiting = float(black(forward, strike, variance, discount, 1.0)[-1])
        found = float(root.values(state, week, strike, 1.0)[-1])
        assert found == pytest.approx(max(waiting, spot - strike), abs=0.005)
    # Deep in the money a holder gives up the dividend by waiting, and two days earlier nothing by not exercising yet.
    assert float(root.values(state, week, 240.0, 1.0)[-1]) == pytest.approx(spot - 240.0, abs=0.001)
    early = float(root.values(before, week, 240.0, 1.0)[0] - (before.spot.points[0] - 240.0))
    interest = 240.0 * state.carry.rate * 2.27 / 365.0  # 0.029: until the evening of the 15th
    assert early == pytest.approx(interest, abs=0.004)


@pytest.mark.parametrize(("name", "days"), [("SPY", 40), ("GLD", 40), ("ES", 20)])
def test_greeks_are_those_of_the_american_value(market: ModelledMarket, name: str, days: int) -> None:
    """Delta by moving the price, theta by the pricing equation's own zero where exercise is best."""
    root = root_of(market, name, CRASH)
    state = root.asset_day(CRASH)
    assert state is not None
    expiry = next(one for one in root.listing.expirations(CRASH) if (one - CRASH).days > days)
    spot = float(state.spot.points[200])
    strikes = np.round(spot * np.array([0.9, 0.97, 1.0, 1.03, 1.5]), 1)
    for sign in (1.0, -1.0):
        rows = ChainRows(np.full(5, expiry.toordinal(), dtype=np.int64), strikes, np.full(5, sign))
        greeks = root.chain_greeks(state, rows, 200)
        assert bool((np.abs(greeks.delta) <= 1.002).all())
        assert bool((greeks.gamma > -1e-3 / spot).all())
        assert bool((greeks.vega > -1e-3).all())
        if sign < 0:
            # Exercise at once; where a dividend is to come, after it, which takes its share from delta.
            awaited = sum(worth for _, _, worth in dividends_of(state, expiry, 200))
            assert greeks.delta[-1] == pytest.approx(awaited - 1.0, abs=5e-4)
            if not awaited:
                assert greeks.theta[-1] == pytest.approx(0.0, abs=1e-6)
                assert greeks.rho[-1] == pytest.approx(0.0, abs=0.01)
        # Price moves by 0.2 %: the central difference of the value at unchanged volatilities is delta.
        moved = [american_at(root, state, expiry, (sign, float(strikes[1])), exp(0.002 * way)) for way in (1, -1)]
        slope = (moved[0] - moved[1]) / (spot * (exp(0.002) - exp(-0.002)))
        assert greeks.delta[1] == pytest.approx(slope, abs=3e-3)


def american_at(
    root: OptionRoot, state: AssetDay, expiry: date, claim: tuple[float, float], factor: float, minute: int = 200
) -> float:
    """Value of sign and strike when price and forward are a factor higher and the volatility of the strike stays."""
    sign, strike = claim
    forward = state.forward(expiry)[minute : minute + 1]
    phi, theta = (part[minute : minute + 1] for part in (state.steepness(expiry), state.theta(expiry)))
    variance = smile(np.log(strike / forward), theta, state.surface.law.rho, phi)
    # Values are homogeneous in price and strike: a higher price is a lower strike.
    claims = Claims(state, expiry, sign, np.array([minute]), forward, strike / factor, variance)
    return float(root.early.value(claims)[0]) * factor


def test_values_do_not_depend_on_what_was_looked_at_before() -> None:
    """Bit for bit, whichever contract is looked at first, alone or in a chain."""

    def values(strikes: list[float]) -> dict[float, bytes]:
        american.lattice.cache_clear()
        market = ModelledMarket.from_history("history", seed=5, quote_faults=0.0)
        found: dict[float, bytes] = {}
        for name, days in (("GLD", 70), ("SPY", 70)):
            root = market.book.roots[name]
            state = root.asset_day(CRASH)
            assert state is not None
            expiry = next(one for one in root.listing.expirations(CRASH) if (one - CRASH).days > days)
            for strike in strikes:
                value = root.values(state, expiry, strike * state.spot.points[0], -1.0)
                found[strike] = found.get(strike, b"") + value.tobytes()
        return found

    assert values([0.9, 1.0, 1.1]) == values([1.1, 0.9, 1.0])


def test_the_two_greeks_of_one_contract_are_the_chains(market: ModelledMarket) -> None:
    for name in ("SPY", "TLT", "SPXW"):
        root = market.book.roots[name]
        state = root.asset_day(CRASH)
        assert state is not None
        expiry = next(one for one in root.listing.expirations(CRASH) if (one - CRASH).days > 40)
        for sign in (1.0, -1.0):
            strike = round((1.0 - 0.05 * sign) * float(state.spot.points[-1]))
            row = ChainRows(np.array([expiry.toordinal()]), np.array([strike]), np.array([sign]))
            greeks = root.chain_greeks(state, row, state.minutes)
            found = root.delta_and_gamma(state, expiry, (strike, sign))
            assert np.array_equal(found, (greeks.delta[0], greeks.gamma[0]))


def test_the_loops_say_the_same_in_python_and_in_machine_code() -> None:
    """A put over three steps, one of them an eve's row for a call, and a cubic read back exactly."""
    steps = np.array([[0.0, 1.0, 1.0, 1.0, 0.0], [0.5, 1.01, 1.0, 1.0, 1.02], [0.5, 1.02, 1.02, 0.5, 0.0]])
    rows = np.array([-1, 0, 1], dtype=np.int64)
    for sign in (1.0, -1.0):
        terms = np.array([sign, 0.2, 0.25, 0.3, 0.35])
        plain, fast = np.empty((2, 41 * american.LANES)), np.empty((2, 41 * american.LANES))
        american.march(terms, steps, rows, plain)
        american._kernels()[0](terms, steps, rows, fast)
        assert np.allclose(plain, fast, rtol=0, atol=1e-13)
        assert bool((plain >= -1e-12).all())
    grid = np.arange(6.0)
    table = grid[:, None, None] ** 3 - 2.0 * grid[None, :, None] ** 2 + grid[None, None, :]
    at, out = np.array([[0.3, 4.7], [1.5, 2.2], [3.9, 0.1]]), np.empty(2)
    american.read(table, at, np.zeros(2, dtype=np.int64), out)
    right = at[0] ** 3 - 2.0 * at[1] ** 2 + at[2]
    assert out == pytest.approx(right)
    american.read(table, np.array([[0.3, 0.7], *at[1:]]), np.array([0, 4]), out)
    assert out == pytest.approx(right)  # 4.7 are four whole steps and 0.7


def test_machine_code_is_kept_elsewhere_where_the_source_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[bool] = []
    before = numba.config.CACHE_DIR

    def njit(**options: bool) -> Callable[[object], object]:
        if not refused:
            refused.append(True)
            raise RuntimeError("cannot cache function")
        return lambda function: (function, options)

    monkeypatch.setattr(numba, "njit", njit)
    monkeypatch.setattr(numba.config, "CACHE_DIR", before)
    found: object = american._compiled(american.read)
    assert found == (american.read, {"cache": True, "error_model": "numpy"})
    assert "market-numba-" in numba.config.CACHE_DIR

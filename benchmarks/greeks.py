"""Exactness and speed of the Greeks against QuantLib and py_vollib: `python benchmarks/greeks.py [--whole]`.

`--held`: what a proposal's review costs, and a minute with ten positions of thirty legs (index and shares, European and
American) in an account that they bring near no limit. Medians of processor time, each with its goal and how often the
peer would have run meanwhile: the nine figures of thirty European contracts in numpy. What a year of minutes costs with
ten LEAPs held is in benchmarks/engine.py.

Prints every figure that docs/greeks.md quotes, each with its target. ``--whole`` compares 500 American contracts with
QuantLib's finite differences on a 2,000 x 2,000 grid (about a minute and a half); without it, 40.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from core.book import Position, position_of
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import ChangeKind, MarketData, MinutePassed, PositionChanged
from core.instruments import INSTRUMENTS
from core.parts import SOLD, Part, Terms
from greeks.american import american_greeks, american_price
from greeks.black_scholes import Backend, Greeks, european_greeks, european_price
from greeks.implied import implied_volatility
from greeks.smile import chain_greeks
from greeks.stress import StressEngine
from risk.manager import UnifiedRiskManager
from risk.proposal import Proposal
from strategies.coordinator import QuietMinutes
from tests.fake_gateway import FRIDAY, FakeGateway, build
from tests.risk.proposals import proposal
from trading_system import ALWAYS, TradingSystem

CHAIN = 500
RATE, YIELD = 0.05, 0.015


def report(what: str, found: float, unit: str, target: str, met: bool) -> None:
    """One line: figure, target, verdict."""
    print(f"{what:<66} {found:>12.4g} {unit:<10} {target:<22} {'met' if met else 'NOT MET'}")


def timed(run: Callable[[], object], repeat: int) -> float:
    """Median seconds of one call, the first two not counted."""
    run()
    run()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def european_exactness() -> None:
    """100,000 random contracts: price and Greeks relative to spot, and the volatility back from the price."""
    from tests.greeks.european import draw, priced, quantlib

    sample = draw(100_000, seed=1)
    expected = quantlib(sample)
    for backend in (Backend.NUMPY, Backend.COMPILED):
        found = priced(sample, backend)
        for name, ours, theirs in zip(
            ("price", "delta", "gamma", "vega", "theta", "rho"), found.matrix(), expected, strict=False
        ):
            worst = float(np.abs((ours - theirs) / sample.spot).max())
            report(f"{backend} {name}: largest difference to QuantLib over spot", worst, "", "under 1e-9", worst < 1e-9)
        spot, strike, years, volatility, rate, dividend, call = sample.inputs
        back = implied_volatility(found.price, spot, strike, years, rate, dividend, call, backend)
        told = 100.0 * found.vega / spot > 1e-6
        worst = float(np.abs(back.volatility - volatility)[told].max())
        report(f"{backend} volatility back, vega over 1e-6 of spot", worst, "", "under 1e-8", worst < 1e-8)


def american_exactness(count: int) -> None:
    """Prices and deltas against finite differences on a 2,000 x 2,000 grid."""
    from tests.greeks.american import draw, finite_differences, quantlib

    sample = draw(count, seed=2)
    price, delta = quantlib(sample, finite_differences)
    found = american_greeks(*sample.inputs)
    worst = float(np.abs(found.price - price).max())
    report(f"American price, {count} contracts, to finite differences", worst, "points", "under 0.01", worst < 0.01)
    worst = float(np.abs(found.delta - delta).max())
    report(f"American delta, {count} contracts, to finite differences", worst, "", "under 0.002", worst < 0.002)


class Chain:
    """500 European contracts on an index, 30 days out, with a skew."""

    def __init__(self) -> None:
        self.strike = np.linspace(4500.0, 6500.0, CHAIN)
        self.call = self.strike >= 5500.0
        self.years = np.full(CHAIN, 30.0 / 365.0)
        self.volatility = 0.2 - 0.3 * np.log(self.strike / 5500.0)
        self.price = european_price(5500.0, self.strike, self.years, self.volatility, RATE, YIELD, self.call)

    def ours(self, backend: Backend) -> Greeks:
        """Volatility and all nine figures of every contract."""
        found = implied_volatility(self.price, 5500.0, self.strike, self.years, RATE, YIELD, self.call, backend)
        return european_greeks(5500.0, self.strike, self.years, found.volatility, RATE, YIELD, self.call, backend)

    def vollib(self) -> list[tuple[float, ...]]:
        """The same, but for vanna, charm and vomma, by a loop over py_vollib."""
        from py_vollib.black_scholes_merton import implied_volatility
        from py_vollib.black_scholes_merton.greeks import analytical

        rows: list[tuple[float, ...]] = []
        for price, strike, call in zip(self.price.tolist(), self.strike.tolist(), self.call.tolist(), strict=True):
            flag, years = "c" if call else "p", 30.0 / 365.0
            sigma = implied_volatility.implied_volatility(price, 5500.0, strike, years, RATE, YIELD, flag)
            inputs = (flag, 5500.0, strike, years, RATE, sigma, YIELD)
            rows.append(
                (
                    sigma,
                    analytical.delta(*inputs),
                    analytical.gamma(*inputs),
                    analytical.vega(*inputs),
                    analytical.theta(*inputs),
                    analytical.rho(*inputs),
                )
            )
        return rows

    def quantlib(self) -> list[tuple[float, ...]]:
        """The same by a loop over QuantLib's calculator and its own implied volatility."""
        import QuantLib as ql  # noqa: N813 - the name that its own documentation uses

        years = 30.0 / 365.0
        forward, discount = 5500.0 * math.exp((RATE - YIELD) * years), math.exp(-RATE * years)
        rows: list[tuple[float, ...]] = []
        for price, strike, call in zip(self.price.tolist(), self.strike.tolist(), self.call.tolist(), strict=True):
            right = ql.Option.Call if call else ql.Option.Put
            spread = ql.blackFormulaImpliedStdDevLiRS(right, strike, forward, price, discount)
            found = ql.BlackCalculator(ql.PlainVanillaPayoff(right, strike), forward, spread, discount)
            rows.append(
                (
                    spread,
                    found.value(),
                    found.delta(5500.0),
                    found.gamma(5500.0),
                    found.vega(years),
                    found.theta(5500.0, years),
                    found.rho(years),
                )
            )
        return rows

    def quantlib_engines(self) -> list[tuple[float, ...]]:
        """The same by a loop that builds QuantLib's option, process and engine a contract, as its examples do."""
        import QuantLib as ql  # noqa: N813 - the name that its own documentation uses

        today = ql.Date(1, 7, 2024)
        ql.Settings.instance().evaluationDate = today
        count = ql.Actual365Fixed()
        exercise = ql.EuropeanExercise(today + 30)
        rows: list[tuple[float, ...]] = []
        for price, strike, call in zip(self.price.tolist(), self.strike.tolist(), self.call.tolist(), strict=True):
            sigma = ql.SimpleQuote(0.2)
            vol = ql.BlackConstantVol(today, ql.NullCalendar(), ql.QuoteHandle(sigma), count)
            process = ql.BlackScholesMertonProcess(
                ql.QuoteHandle(ql.SimpleQuote(5500.0)),
                ql.YieldTermStructureHandle(ql.FlatForward(today, YIELD, count)),
                ql.YieldTermStructureHandle(ql.FlatForward(today, RATE, count)),
                ql.BlackVolTermStructureHandle(vol),
            )
            payoff = ql.PlainVanillaPayoff(ql.Option.Call if call else ql.Option.Put, strike)
            option = ql.VanillaOption(payoff, exercise)
            option.setPricingEngine(ql.AnalyticEuropeanEngine(process))
            sigma.setValue(option.impliedVolatility(price, process, 1e-8, 100, 0.01, 4.0))
            rows.append((option.NPV(), option.delta(), option.gamma(), option.vega(), option.theta(), option.rho()))
        return rows


def european_speed() -> None:
    """The chain of 500 by every road."""
    chain = Chain()
    best = {backend: timed(lambda b=backend: chain.ours(b), 200) for backend in (Backend.NUMPY, Backend.COMPILED)}  # type: ignore[misc]
    loops = {
        "py_vollib loop": (timed(chain.vollib, 3), 100.0),
        "QuantLib loop, calculator": (timed(chain.quantlib, 5), math.nan),
        "QuantLib loop, option and engine": (timed(chain.quantlib_engines, 3), 20.0),
    }
    for backend, seconds in best.items():
        report(f"chain of 500, volatility and Greeks, {backend}", 1e3 * seconds, "ms", "under 1 ms", seconds < 1e-3)
        for name, (loop, target) in loops.items():
            judged = backend is Backend.COMPILED and not math.isnan(target)  # what a chain of 500 takes by itself
            words = f"at least {target:.0f}x" if judged else "for the record"
            report(f"  {name}, ratio", loop / seconds, "x", words, not judged or loop / seconds >= target)


def american_speed() -> None:
    """500 American prices in one call, against a QuantLib engine of comparable accuracy a contract."""
    import QuantLib as ql  # noqa: N813 - the name that its own documentation uses

    from tests.greeks.american import draw, quantlib

    sample = draw(CHAIN, seed=3)
    fast, accurate = ql.QdFpAmericanEngine.fastScheme(), ql.QdFpAmericanEngine.accurateScheme()
    seconds = timed(lambda: american_price(*sample.inputs), 20)
    report("500 American prices in one call, each", 1e6 * seconds / CHAIN, "us", "for the record", True)
    ours = american_price(*sample.inputs)
    engines: dict[str, Callable[[Any], Any]] = {
        "QdFp fast": lambda process: ql.QdFpAmericanEngine(process, fast),
        "QdFp accurate": lambda process: ql.QdFpAmericanEngine(process, accurate),
        "Barone-Adesi Whaley": ql.BaroneAdesiWhaleyApproximationEngine,
    }
    for name, engine in engines.items():
        loop = timed(lambda e=engine: quantlib(sample, e), 3)  # type: ignore[misc]
        words, met = ("at least 3x", loop / seconds >= 3.0) if name.startswith("QdFp") else ("for the record", True)
        report(f"  QuantLib loop, {name}, ratio", loop / seconds, "x", words, met)
        apart = float(np.abs(quantlib(sample, engine)[0] - ours).max())
        report(f"  QuantLib {name}: largest difference to ours", apart, "points", "for the record", True)


def service_speed() -> None:
    """A cached portfolio read, and a whole chain with its smile."""
    from tests.greeks.chains import MORNING, market
    from tests.greeks.service import CONDOR, System

    system = System()
    system.quote_all(CONDOR)
    system.hold("condor", CONDOR)
    service = system.service
    service.portfolio()
    start = time.perf_counter()
    for _ in range(100_000):
        service.portfolio()
    each = (time.perf_counter() - start) / 100_000
    report("cached portfolio read", 1e6 * each, "us", "under 5 us", each < 5e-6)
    report("  computations for it", service.computations["portfolio"], "", "1", service.computations["portfolio"] <= 2)
    quotes = market(np.arange(5200.0, 5800.0, 5.0).tolist())
    listed = list(quotes)
    seconds = timed(lambda: chain_greeks(listed, quotes, 5500.0, MORNING, RATE, YIELD), 20)
    report(f"chain of {len(listed)} contracts with its smile, from quotes", 1e3 * seconds, "ms", "for the record", True)
    grid = timed(service.scenarios, 5)
    report("scenario grid 11 x 5 x 3 of a condor", 1e3 * grid, "ms", "for the record", True)


# --- what is held ---

NOON = datetime.combine(FRIDAY, datetime.min.time()) + timedelta(hours=12)
POSITIONS, REPEATS = 10, 200


def contract(root: str, strike: float, right: Right, days: int) -> Contract:
    """A listed contract so many days out."""
    return INSTRUMENTS[root].contract(FRIDAY + timedelta(days=days), strike, right, "handle")


def position(number: int) -> Position:
    """Three puts: a spread and a naked one, on the index or on shares."""
    root, scale = ("SPXW", 1.0) if number % 2 else ("SPY", 10.0)
    days = 20 + 7 * number
    legs = [(4700.0, 1), (4650.0, -1), (4400.0, -1)]
    package = Package(tuple(Leg(contract(root, strike / scale, Right.PUT, days), ratio) for strike, ratio in legs))
    terms = Terms(f"s{number}", "put_112", 2_000.0, 10_000.0, SOLD)
    part = Part("whole", package, 1, NOON, (10.0, 8.0, 2.0), 100.0, 3.0, terms)
    return position_of(f"p{number}", part, "", 5000.0, 20.0)


class Quoted(FakeGateway):
    """A feed that is read: what a contract is quoted at is worked out once a price, a price needs no whole minute."""

    def price(self, ticker: str) -> float | None:
        """As LEAN's gateway reads it."""
        return super().price(ticker) if ticker in self.subscribed else self.price_of(ticker)

    def quote(self, contract: Contract) -> Quote | None:
        key = (contract.name, self.spot(self.time))
        kept: dict[object, Quote | None] = self.__dict__.setdefault("kept", {})
        if key not in kept:
            kept[key] = super().quote(contract)
        found = kept[key]
        return None if found is None else Quote(found.bid, found.ask, self.time)


def wanted(number: int) -> Proposal:
    """A put spread three weeks out whose legs are quoted both ways; another one for every number."""
    short, wing = (contract("SPXW", strike - 5.0 * (number % 40), Right.PUT, 21) for strike in (4900.0, 4850.0))
    return replace(proposal(wanted=2), strategy="new", package=Package((Leg(short, -1), Leg(wing, 1))))


def held_system(folder: Path) -> tuple[TradingSystem, Quoted]:
    """A running system that holds ten positions."""
    gateway = Quoted(NOON, lambda _: 5000.0, lambda _: 20.0, folder, cash=2_000_000.0)
    system, _ = build(gateway, phases__earned_progression="false")
    rows = [position(number) for number in range(POSITIONS)]
    gateway.subscribe([leg.contract for row in rows for leg in row.legs])
    gateway.subscribe([leg.contract for number in range(40) for leg in wanted(number).package.legs])
    for row in rows:
        system.book.positions[row.id] = row
        changed = PositionChanged(
            time=NOON, position=row.id, strategy=row.strategy, kind=ChangeKind.OPENED, cash=0.0, fees=0.0
        )
        system.bus.publish(changed)
    return system, gateway


def median_of(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median microseconds of a call, the first ones not counted."""
    for _ in range(3):
        run()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return 1e6 * statistics.median(seconds)


def peer() -> object:
    """The nine figures of thirty European contracts in numpy."""
    strikes = 4_500.0 + 10.0 * np.arange(30)
    return european_greeks(5_000.0, strikes, 0.2, 0.2, 0.03, 0.015, False, backend=Backend.NUMPY)


@lru_cache(maxsize=1)
def peer_cost() -> float:
    """Microseconds of the peer in this run."""
    return median_of(peer)


def report_cost(what: str, found: float, goal: float) -> None:
    """One line: figure, ratio to the peer, goal, verdict."""
    verdict = "met" if found <= goal else "NOT MET"
    print(f"{what:<64} {found:>10.1f} us {found / peer_cost():>7.2f} peers   goal {goal:>6.0f} us   {verdict}")


def held_costs() -> None:
    """What a proposal's review and a minute cost with ten positions held."""
    with tempfile.TemporaryDirectory() as folder:
        system, gateway = held_system(Path(folder))
        risk, engine = system.managers[UnifiedRiskManager], system.managers[StressEngine]
        for ticker in ("VIX", "SPY", "SPX"):
            price = gateway.price_of(ticker)
            system.bus.publish(
                MarketData(time=NOON, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=NOON)
            )
        each = [wanted(number) for number in range(40)]
        for one in each:  # nothing of the market that the proposals see is made while they are timed
            risk.review(one)

        def review() -> object:
            gateway.time += timedelta(minutes=1)  # nothing is known of the minute before
            return risk.review(each[gateway.time.minute % 40])

        report_cost("review of a proposal beside 10 positions, 30 legs", median_of(review), 1_000.0)
        gateway.time = NOON
        report_cost("what is held, nothing moved", median_of(engine.held), 5.0)
        level = [5000.0]

        def moved() -> object:
            level[0] = 5000.0 if level[0] > 5000.0 else 5020.0
            gateway.spot = lambda _: level[0]
            now = system.clock.now()
            for ticker in ("SPY", "SPX"):
                price = gateway.price_of(ticker)
                event = MarketData(
                    time=now, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=now
                )
                system.bus.publish(event)
            return engine.held()

        def later() -> object:
            gateway.time += timedelta(minutes=1)
            return engine._compute()

        report_cost("the same, everything stressed anew, a minute later each time", median_of(later, 40), 1_000.0)
        gateway.time = NOON
        report_cost("a move past the tolerance, with Greeks and limits on the bus", median_of(moved, 40), 10_000.0)
        gateway.spot = lambda _: 5000.0
        minutes = [NOON]

        def minute() -> None:
            minutes[0] += timedelta(minutes=1)
            gateway.time = minutes[0]
            risk._on_event(MinutePassed(time=minutes[0]))

        report_cost("risk's watch of a minute, nothing near a limit", median_of(minute, 170), 50.0)
        quiet = system.managers[QuietMinutes]
        now = system.clock.now()
        quiet.looked(now, ALWAYS)
        if not quiet.stands(now):
            raise SystemExit("nothing rests: expected ten positions near no limit")
        report_cost("a minute in which everything held rests", median_of(lambda: quiet.stands(now)), 5.0)


def main() -> None:
    """Everything, one line a figure."""
    european_exactness()
    american_exactness(500 if "--whole" in sys.argv else 40)
    european_speed()
    american_speed()
    service_speed()


if __name__ == "__main__":
    if "--held" in sys.argv:
        held_costs()
    else:
        main()

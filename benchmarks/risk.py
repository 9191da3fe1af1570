"""What is held costs: `python benchmarks/risk.py`: a proposal's review, and a minute with ten positions held.

Ten positions of thirty legs (index and shares, European and American) in an account that they bring near no limit.
Figures are medians of processor time; each has the goal of the issue beside it, and how often the peer would have run
meanwhile: the nine figures of thirty European contracts in numpy. `python benchmarks/risk.py 2017` compares a year of
minutes with LEAPs held with one in which nothing is (some minutes).
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.book import Position, position_of
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import ChangeKind, MarketData, MinutePassed, PositionChanged
from core.instruments import INSTRUMENTS
from core.parts import SOLD, Part, Terms
from greeks.black_scholes import Backend, european_greeks
from greeks.stress import StressEngine
from risk.manager import UnifiedRiskManager
from risk.proposal import Proposal
from strategies.coordinator import QuietMinutes
from tests.fake_gateway import FRIDAY, FakeGateway, build
from tests.risk.proposals import proposal
from trading_system import ALWAYS, TradingSystem

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
    """A feed that is read: what a contract is quoted at is worked out once a price."""

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


def timed(run: Callable[[], object], repeats: int = REPEATS) -> float:
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
    return timed(peer)


def report(what: str, found: float, goal: float) -> None:
    """One line: figure, ratio to the peer, goal, verdict."""
    verdict = "met" if found <= goal else "NOT MET"
    print(f"{what:<64} {found:>10.1f} us {found / peer_cost():>7.2f} peers   goal {goal:>6.0f} us   {verdict}")


def year_cost(year: int, strategies: str) -> float:
    """Seconds of processor time of a year's backtest in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        words = [
            *("backtest", "--out", f"{folder}/run", "--strategies", strategies, "--cash", "400000"),
            *("--start", f"{year}-01-02", "--end", f"{year}-12-29", "--set", "phases.earned_progression=false"),
        ]
        subprocess.run([sys.executable, "run.py", *words], cwd=root, check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def compare_years(year: int) -> None:
    """A year of LEAPs (calls with weeklies, a ladder of puts) over an empty one: boxes that nobody wants."""
    empty, held = year_cost(year, "box"), year_cost(year, "ipmcc,leap_ladder")
    verdict = "met" if held <= 2.0 * empty else "NOT MET"
    print(f"{year}: LEAPs held {held:.1f} s, empty {empty:.1f} s: {held / empty:.2f} times   goal 2   {verdict}")


def main() -> None:
    """Measure and print."""
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

        report("review of a proposal beside 10 positions, 30 legs", timed(review), 1_000.0)
        gateway.time = NOON
        report("what is held, nothing moved", timed(engine.held), 5.0)
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

        report("the same, everything stressed anew, a minute later each time", timed(later, 40), 1_000.0)
        gateway.time = NOON
        report("a move past the tolerance, with Greeks and limits on the bus", timed(moved, 40), 10_000.0)
        gateway.spot = lambda _: 5000.0
        minutes = [NOON]

        def minute() -> None:
            minutes[0] += timedelta(minutes=1)
            risk._on_event(MinutePassed(time=minutes[0]))

        report("risk's watch of a minute, nothing near a limit", timed(minute, 170), 50.0)
        quiet = system.managers[QuietMinutes]
        now = system.clock.now()
        quiet.looked(now, ALWAYS)
        if not quiet.stands(now):
            raise SystemExit("nothing rests: expected ten positions near no limit")
        report("a minute in which everything held rests", timed(lambda: quiet.stands(now)), 5.0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        compare_years(int(sys.argv[1]))
    else:
        main()

"""August 5, 2024: the account that was lost cannot be built, and what may be built outlives the day."""

# Private: _booked, _orphans: what a fill and a strategy would have told the system.

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest

from core.book import Position, position_of
from core.contracts import Contract, Leg, Package, Right
from core.events import ChangeKind, MarketData, MinutePassed, PositionChanged
from core.instruments import INSTRUMENTS
from core.parts import SOLD, Part, Terms, Trait
from greeks.stress import StressEngine
from risk.drawdown import DrawdownPlugin
from risk.equity import SteadyEquity
from risk.group_risk import GroupRisk
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures
from risk.proposal import Proposal
from tests.fake_gateway import FRIDAY, FakeGateway, build

OPEN = datetime.combine(FRIDAY, time(9, 30))


@dataclass
class Level:
    """Where the market stands."""

    spot: float = 5000.0
    vix: float = 16.0


class Account:
    """A live system whose market a test moves, and that opens whatever risk allows."""

    def __init__(self, folder: Path, cash: float, vix: float = 16.0) -> None:
        self.level = Level(vix=vix)
        self.gateway = FakeGateway(OPEN, lambda _: self.level.spot, lambda _: self.level.vix, folder, cash=cash)
        self.system, self.sink = build(self.gateway, phases__earned_progression="false")
        self.gateway.time += timedelta(minutes=1)
        self.system.open_session(self.gateway.time)
        self.risk = self.system.managers[UnifiedRiskManager]
        self.number = 0
        self.minute()

    def minute(self) -> None:
        self.gateway.time += timedelta(minutes=1)
        now = self.gateway.time
        self.system.clock.advance(now)
        for ticker in ("VIX", "SPY", "SPX"):
            price = self.gateway.price_of(ticker)
            self.system.bus.publish(
                MarketData(time=now, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=now)
            )
        self.system.bus.publish(MinutePassed(time=now))

    def propose(self, strategy: str, legs: dict[Contract, int], *traits: Trait, loss: float = 2_000.0) -> str:
        """Ask risk for as many as it gives, and hold what it gives; the rule that bound, or ``opened n``."""
        self.gateway.subscribe(legs)
        package = Package(tuple(Leg(contract, ratio) for contract, ratio in legs.items()))
        cash = self._cash(package)
        one = Proposal(
            strategy=strategy, day=FRIDAY, package=package,
            terms=Terms(strategy, "test", max_loss=loss, margin=0.0, traits=SOLD | set(traits)), wanted=5,
            mid_cash=cash, natural_cash=cash - 0.1, model_cash=cash, spot=self.level.spot, vix=self.level.vix,
            win_rate=0.75, reward_ratio=0.55, reason="test",
        )  # fmt: skip
        self.minute()
        decision = self.risk.review(one)
        if not decision.contracts:
            return decision.rule
        self.hold(one, decision.contracts, cash)
        return f"opened {decision.contracts}"

    def _cash(self, package: Package) -> float:
        quotes = [self.gateway.quote(leg.contract) for leg in package.legs]
        return -sum(
            leg.ratio * ((quote.bid or 0.0) + (quote.ask or 0.0)) / 2
            for leg, quote in zip(package.legs, quotes, strict=True)
            if quote is not None
        )

    def hold(self, one: Proposal, contracts: int, cash: float) -> None:
        """What a fill at the mid would leave behind."""
        self.number += 1
        multiplier = one.package.legs[0].contract.multiplier
        total = cash * contracts * multiplier
        prices = tuple(0.0 for _ in one.package.legs)
        part = Part("whole", one.package, contracts, self.gateway.time, prices, total, 0.0, one.terms)
        position: Position = replace(position_of(f"{one.strategy}-{self.number}", part), strategy=one.strategy)
        for leg in one.package.legs:
            before = self.gateway.held.get(leg.contract.name, (leg.contract, 0))[1]
            self.gateway.held[leg.contract.name] = (leg.contract, before + leg.ratio * contracts)
        self.gateway.cash += total
        self.system.managers[SteadyEquity]._booked += total
        self.system.book.positions[position.id] = position
        self.system.coordinator._orphans.add(position.id)  # a made-up strategy's: held through, as if nobody acted
        changed = PositionChanged(
            time=self.gateway.time, position=position.id, strategy=position.strategy, kind=ChangeKind.OPENED,
            cash=total, fees=0.0,
        )  # fmt: skip
        self.system.bus.publish(changed)


def option(root: str, strike: float, days: int, right: Right = Right.PUT) -> Contract:
    return INSTRUMENTS[root].contract(FRIDAY + timedelta(days=days), strike, right, "handle")


def lt112(days: int, root: str = "SPXW") -> dict[Contract, int]:
    scale = INSTRUMENTS[root].index_scale
    return {
        option(root, 4750.0 / scale, days): 1, option(root, 4700.0 / scale, days): -1,
        option(root, 4400.0 / scale, days): -2,
    }  # fmt: skip


def strangle(root: str, days: int) -> dict[Contract, int]:
    scale = INSTRUMENTS[root].index_scale
    low, high = 4400.0 / scale, 5400.0 / scale
    return {option(root, low, days): -1, option(root, high, days, Right.CALL): -1}


def test_the_account_that_was_lost_cannot_be_built(tmp_path: Path) -> None:
    # 530,000 dollars, six LT112 of one expiration and eight other short-volatility positions
    account = Account(tmp_path, 530_000.0)
    steps = [
        ("lt112 on the index", "lt112", lt112(112)),  # one of it loses more than 5 % in the stress
        *((f"lt112 number {count} of one expiration", "lt112", lt112(112, "SPY")) for count in range(1, 7)),
        *((f"lt112 {days} days out", "lt112", lt112(days, "SPY")) for days in (119, 126)),
        *((f"strangle {days} days out", "strangle", strangle("SPY", days)) for days in (90, 97)),
        *((f"puts {days} days out", "puts", {option("SPXW", 4400.0, days): -2}) for days in (60, 67, 74)),
    ]
    stopped = [(what, account.propose(strategy, legs)) for what, strategy, legs in steps]
    table = "\n".join(f"{what}: {rule}" for what, rule in stopped)
    assert len(steps) == 14
    assert [rule for _, rule in stopped] == [
        "sizing", "opened 5", *(["same_expiration"] * 5), "opened 5", *(["correlation"] * 6),
    ], table  # fmt: skip


@pytest.mark.parametrize("cash", [60_000.0, 150_000.0, 530_000.0])
def test_an_account_filled_to_its_limits_outlives_the_day(tmp_path: Path, cash: float) -> None:
    # everything that risk gives, then the index 10 % down and the VIX at 65 before the open
    account = Account(tmp_path, cash)
    for days in (60, 90, 112, 140):
        for root in ("SPXW", "SPY"):
            account.propose(f"lt112 {root} {days}", lt112(days, root))
            account.propose(f"strangle {root} {days}", strangle(root, days))
            account.propose(f"puts {root} {days}", {option(root, 4400.0 / INSTRUMENTS[root].index_scale, days): -1})
    assert account.system.book.positions
    before = account.gateway.account().equity
    engine = account.system.managers[StressEngine]
    loss = -sum(min(float(row.profits[1]), 0.0) for row in engine.held().rows)
    assert loss <= 0.15 * before + 1.0
    lines = account.system.managers[GroupRisk].lines()
    assert set(lines) == {"A"}  # nothing outside of the equity groups adds to it
    assert lines["A"].crash <= 0.30 * before
    # 20 % down at the volatility of that line, 16 and 20 x sqrt(30 / 60) points: the account loses what the line said
    account.level.spot, account.level.vix = 4000.0, 16.0 + 20.0 * math.sqrt(0.5)
    crashed = before - account.gateway.account().equity
    assert crashed == pytest.approx(lines["A"].crash, abs=0.01 * before)
    account.level.spot, account.level.vix = 4500.0, 65.0
    account.minute()
    account.minute()
    after = account.gateway.account().equity
    used = account.system.managers[MarginFigures].used().dollars
    shock = (before - after) / before
    # a flat volatility of 65 on every term is far beyond the line's 20 x sqrt(30 / days) points
    assert shock <= 0.30, f"{shock:.1%} of {before:.0f} with {len(account.system.book.positions)} positions"
    assert used > 0.0
    wanted = {want.rule for want in account.risk.wanted(account.gateway.time)}
    assert "black_swan" in wanted
    assert "vix_panic" in wanted
    assert account.system.managers[DrawdownPlugin].peak >= before
    again = account.propose("new", lt112(200))
    assert not again.startswith("opened")

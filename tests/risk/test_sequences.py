"""No sequence of entries, fills, quotes, moves and restarts ends over a limit or with an emergency unreached."""

# Private: _days: a trend's history, without sixty sessions.

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.contracts import Quote
from core.events import Command
from market.trend import DayRange, TrendWatcher
from risk.drawdown import DrawdownPlugin
from risk.emergency import goes
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures
from tests.execution.desk import approved, intent, put
from tests.risk.floor import Floor, crossed
from tests.risk.proposals import proposal

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(1, 3)),
        st.tuples(st.just("move"), st.sampled_from([-0.08, -0.03, -0.01, 0.0, 0.01, 0.03])),
        st.tuples(st.just("vix"), st.sampled_from([18.0, 24.0, 29.0, 35.0, 45.0])),
        st.tuples(st.just("quote"), st.sampled_from(["crossed", "wide", "missing", "good"])),
        st.tuples(st.just("broker"), st.sampled_from(["refuses", "fills", "waits"])),
        st.tuples(st.just("say"), st.sampled_from([Command.HALT, Command.RESUME, Command.CLOSE_ALL, Command.REDUCE])),
        st.tuples(st.just("transfer"), st.sampled_from([-20_000.0, 30_000.0])),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 4)),
    ),
    max_size=14,
)


class Run:
    """One system that a sequence of steps happens to."""

    def __init__(self, folder: Path) -> None:
        self.floor = Floor(folder, vix=29.0)
        self.spot, self.vix = 5000.0, 29.0
        self.floor.gateway.spot = lambda _: self.spot
        self.floor.gateway.vix = lambda _: self.vix
        self.entered = 0
        self.floor.gateway.subscribe([put(4950.0), put(4920.0)])
        self.see_open()

    def see_open(self) -> None:
        """The process was there when the session opened."""
        gateway, trend = self.floor.gateway, self.floor.system.managers[TrendWatcher]
        for ticker, price in (("SPX", 5000.0), ("SPY", 500.0)):
            trend._days[ticker] = DayRange(price, price, price, gateway.price_of(ticker), gateway.time)

    def do(self, kind: str, value: object) -> None:
        floor, gateway = self.floor, self.floor.gateway
        names = {put(4950.0).name, put(4920.0).name}
        if kind == "enter" and isinstance(value, int):
            decision = floor.system.managers[UnifiedRiskManager].review(proposal(wanted=value, vix=self.vix))
            if decision.contracts and not gateway.refuse:
                self.entered += 1
                floor.executor.open(approved(floor.system, intent(), decision.contracts), "test")
        elif kind == "move" and isinstance(value, float):
            self.spot *= 1.0 + value
        elif kind == "vix" and isinstance(value, float):
            self.vix = value
        elif kind == "quote":
            gateway.missing.difference_update(names)
            bad = {"crossed": Quote(300.0, 200.0, gateway.time), "wide": Quote(1.0, 400.0, gateway.time)}
            crossed(floor, put(4950.0), bad.get(str(value)))
            gateway.missing.update(names if value == "missing" else ())
        elif kind == "broker":
            gateway.refuse = "no" if value == "refuses" else ""
            gateway.fills_allowed = value != "waits"
        elif kind == "say" and isinstance(value, Command):
            floor.say(value)
        elif kind == "transfer" and isinstance(value, float):
            gateway.cash += value
        elif kind == "restart":
            self.floor = floor.again()
            self.floor.gateway.subscribe([put(4950.0), put(4920.0)])
            self.see_open()
        self.floor.pass_minutes(value if kind == "wait" and isinstance(value, int) else 1)

    def settle(self) -> None:
        """Quotes are good and the broker fills again, for long enough."""
        self.do("quote", "good")
        self.do("broker", "fills")
        self.floor.pass_minutes(25)


def test_the_steps_do_enter_when_nothing_forbids_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.do("wait", 1)
    run.do("enter", 1)
    run.do("wait", 2)
    assert run.entered == 1
    assert run.floor.system.book.positions


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_nothing_ends_over_a_limit_nor_with_an_emergency_unreached(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        for kind, value in steps:
            run.do(kind, value)
            system = run.floor.system
            assert len(system.book.positions) + len(system.book.pending) <= 3
            peak = system.managers[DrawdownPlugin].peak
            assert peak == peak
        peak = run.floor.system.managers[DrawdownPlugin].peak
        run.settle()
        system = run.floor.system
        risk = system.managers[UnifiedRiskManager]
        for want in risk.wanted(run.floor.gateway.time):
            left = [row.id for row in system.book.positions.values() if any(goes(part, want) for part in row.parts)]
            assert left == [], f"{want.rule} still wants {left} gone"
        if run.floor.executor.working:
            run.floor.pass_minutes(5)
        held = {leg.contract.name: leg.ratio for row in system.book.positions.values() for leg in row.legs}
        assert {name: count for name, (_, count) in run.floor.gateway.held.items()} == held
        shorts = sum(-ratio for ratio in held.values() if ratio < 0)
        assert shorts <= sum(ratio for ratio in held.values() if ratio > 0)
        used = system.managers[MarginFigures].used()
        assert used.dollars <= max(0.8 * run.floor.gateway.account().equity, 0.0) or not system.book.positions
        assert system.managers[DrawdownPlugin].peak <= max(peak, 1.2 * run.floor.gateway.account().equity + 1.0)

"""What an entry is refused for besides its size: events, expirations, quotes, a missing model, steps of its walk."""

# Private: _budgets: what a restart would have read.

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, cast

import pytest

from core.book import Book
from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import Command, MinutePassed, RiskThreshold, Severity
from core.gateway import Session
from core.identifiers import intent_fingerprint
from core.parts import BOUGHT
from core.settings.fields import ExitSettings, MarketSettings, OrderSettings
from market.calendar import EventCalendar
from market.freshness import DataFault, DataFreshnessValidator, QuoteJudge
from risk.limits import AssignmentPlugin, EventsPlugin, FreshnessPlugin, LiquidityPlugin
from risk.manager import UnifiedRiskManager
from risk.proposal import Allow, Deny, Proposal, RiskPlugin, Verdict
from tests.execution.desk import put, spread
from tests.fake_gateway import FRIDAY
from tests.risk.floor import Floor
from tests.risk.proposals import NOW, context, held, proposal, rule

CLOSE = datetime.combine(FRIDAY, time(16, 0))


class Hours:
    """A gateway that knows the day's hours."""

    def session(self, day: date) -> Session | None:
        return Session(day, datetime.combine(day, time(9, 30)), datetime.combine(day, time(16, 0)), is_half_day=False)


def asked(plugin: RiskPlugin, one: Proposal, at: datetime = NOW) -> str:
    return rule(plugin.review(one, replace(context(), now=at)))


def at(hour: int, minute: int) -> datetime:
    return datetime.combine(FRIDAY, time(hour, minute))


def test_no_short_premium_within_two_hours_before_a_statement() -> None:
    settings = MarketSettings(fomc_dates=(FRIDAY,))
    plugin = EventsPlugin(EventCalendar(Hours(), settings), settings)  # type: ignore[arg-type]
    for when, expected in (
        (at(11, 59), "allowed"),
        (at(12, 0), "events"),
        (at(13, 59), "events"),
        (at(14, 0), "allowed"),
    ):
        assert asked(plugin, proposal(), when) == expected
    bought = replace(proposal(), terms=replace(proposal().terms, traits=BOUGHT))
    assert asked(plugin, bought, at(13, 0)) == "allowed"
    named = MarketSettings(adverse_event_dates=(FRIDAY,))
    other = EventsPlugin(EventCalendar(Hours(), named), named)  # type: ignore[arg-type]
    assert asked(other, proposal(), at(10, 0)) == "events"
    assert asked(other, bought, at(10, 0)) == "allowed"


class Figures:
    """A service that prices every option at three points over what it is in the money, or less."""

    def __init__(self, over: float | None = 3.0, spot: float | None = 500.0) -> None:
        self.over, self.spot = over, spot

    def spot_of(self, contract: Contract) -> float | None:
        return self.spot

    def figures_of(self, contract: Contract) -> SimpleNamespace | None:
        if self.over is None or self.spot is None:
            return None
        call = contract.right is Right.CALL
        inside = self.spot - contract.strike if call else contract.strike - self.spot
        return SimpleNamespace(price=self.over + max(inside, 0.0))


def assignment(figures: Figures, book: Book | None = None) -> AssignmentPlugin:
    calendar = EventCalendar(Hours(), MarketSettings())  # type: ignore[arg-type]
    return AssignmentPlugin(calendar, book or Book(), figures, ExitSettings())  # type: ignore[arg-type]


def test_nothing_opens_in_the_last_half_hour_of_its_expiration_day() -> None:
    plugin = assignment(Figures())
    assert asked(plugin, proposal(), CLOSE - timedelta(minutes=30)) == "allowed"
    assert asked(plugin, proposal(), CLOSE - timedelta(minutes=29)) == "expiration"
    later = Package(tuple(Leg(replace(leg.contract, expiry=FRIDAY + timedelta(1)), leg.ratio) for leg in spread().legs))
    assert asked(plugin, replace(proposal(), package=later), CLOSE - timedelta(minutes=29)) == "allowed"


def test_an_american_short_without_time_value_is_not_sold() -> None:
    for over, expected in ((3.0, "allowed"), (0.0, "assignment"), (None, "assignment")):
        assert asked(assignment(Figures(over)), proposal(root="SPY")) == expected
    assert asked(assignment(Figures(0.0)), proposal()) == "allowed"  # European: nobody exercises it early


def test_what_is_pinned_in_its_last_hour_is_told() -> None:
    # short 4950 put: 0.5 % of it are 24.87
    book = Book(positions={"p": held("p", "s", "SPXW")})
    plugin = assignment(Figures(spot=4970.0), book)
    assert list(plugin.watch(MinutePassed(time=CLOSE - timedelta(minutes=61)))) == []
    (told,) = plugin.watch(MinutePassed(time=CLOSE - timedelta(minutes=60)))
    assert (told.rule, told.severity) == ("pin_p", Severity.WARNING)
    far = assignment(Figures(spot=4990.0), book)
    assert list(far.watch(MinutePassed(time=CLOSE - timedelta(minutes=60)))) == []


class Chains:
    """Chains whose quotes the test sets; every one may be traded."""

    def quote(self, contract: Contract) -> Quote:
        return Quote(1.0, 1.1, NOW)

    def illiquid(self, contract: Contract, quote: Quote | None, *, selling: bool) -> str | None:
        return None


def liquidity(figures: Figures) -> LiquidityPlugin:
    return LiquidityPlugin(Chains(), figures, OrderSettings())  # type: ignore[arg-type]


def test_a_price_far_from_the_models_or_without_one_is_an_anomaly() -> None:
    # the model says 3.10: over a quarter and over half a point away is an anomaly
    known = Figures()
    for mid, expected in ((3.1, "allowed"), (3.8, "allowed"), (3.95, "anomaly"), (2.2, "anomaly")):
        assert asked(liquidity(known), replace(proposal(), mid_cash=mid)) == expected
    blind = replace(proposal(), model_cash=None)
    assert asked(liquidity(Figures(None)), blind) == "anomaly"
    # without a proposal's own, the service's: short and long both three points over their payoffs, 30 points apart
    assert asked(liquidity(Figures(spot=4900.0)), replace(blind, mid_cash=30.0)) == "allowed"
    assert asked(liquidity(Figures(spot=4900.0)), replace(blind, mid_cash=10.0)) == "anomaly"


def test_an_options_quote_from_before_its_underlying_moved_is_refused() -> None:
    fresh = SimpleNamespace(fault=lambda ticker, now: None)
    faults: dict[Contract, DataFault] = {}
    judge = SimpleNamespace(faults=lambda legs, now: faults)

    def plugin() -> FreshnessPlugin:
        return FreshnessPlugin(_as(DataFreshnessValidator, fresh), _as(QuoteJudge, judge))

    assert asked(plugin(), proposal()) == "allowed"
    faults[put(4950.0)] = DataFault.STALE
    assert asked(plugin(), proposal()) == "freshness"
    faults[put(4950.0)] = DataFault.ONE_SIDED  # liquidity's affair
    assert asked(plugin(), proposal()) == "allowed"
    fresh.fault = lambda ticker, now: DataFault.FROZEN
    assert asked(plugin(), proposal()) == "freshness"


T = TypeVar("T")


def _as(kind: type[T], stand_in: object) -> T:
    return cast(T, stand_in)


# Steps of a walk


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path, vix=24.0)


def judged(floor: Floor, brings: float, monkeypatch: pytest.MonkeyPatch, **changed: object) -> str:
    """What risk says to a step, after it approved the spread with a budget of 5,000."""
    manager = floor.system.managers[UnifiedRiskManager]
    one = proposal()
    fingerprint = intent_fingerprint(one.strategy, one.day, one.package)
    manager._budgets[fingerprint] = 5_400.0
    monkeypatch.setattr(manager, "_plugins", changed.get("plugins", ()))
    refusal = manager.still_allowed(one.intent, 2, brings)
    return "allowed" if refusal is None else refusal.rule


def test_a_step_may_not_cost_more_than_was_approved(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    # 30 points wide, two contracts, 5,400 approved: at 3.00 they lose 5,400, at 2.95 5,410
    assert judged(floor, 3.0, monkeypatch) == "allowed"
    assert judged(floor, 2.95, monkeypatch) == "largest_loss"
    other = replace(proposal(), strategy="never_reviewed").intent
    refusal = floor.system.managers[UnifiedRiskManager].still_allowed(other, 1, 3.0)
    assert refusal is not None
    assert refusal.rule == "not_approved"


def test_a_step_is_judged_by_regime_breakers_and_halts(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(RiskPlugin):
        name, order = "vix_regime", 1

        def judge(self, proposal: Proposal, context: object) -> Deny:
            return Deny("vix_regime", "no more")

    class Sizes(Stopped):
        name = "margin"

    assert judged(floor, 3.0, monkeypatch, plugins=(Stopped(),)) == "vix_regime"
    assert judged(floor, 3.0, monkeypatch, plugins=(Sizes(),)) == "allowed"  # sizes were judged before it was sent


STEPS = ("phase", "vix_regime", "freshness", "circuit_breaker", "drawdown", "black_swan")


@pytest.mark.parametrize("which", [*STEPS, "margin", "group_risk", "sizing", "liquidity", "correlation", "events"])
def test_each_rule_of_a_step_ends_it_alone(floor: Floor, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Says(RiskPlugin):
        order = 1

        def __init__(self, name: str) -> None:
            self.name = name  # type: ignore[misc]  # one class for every name

        def judge(self, proposal: Proposal, context: object) -> Verdict:
            return Deny(self.name, "no more") if self.name == which else Allow(self.name)

    plugins = tuple(Says(name) for name in sorted({*STEPS, which}))
    assert judged(floor, 3.0, monkeypatch, plugins=plugins) == (which if which in STEPS else "allowed")


# Entries on their way


@pytest.mark.parametrize("command", [Command.HALT, Command.REDUCE, Command.CLOSE_ALL])
def test_a_persons_word_takes_entries_back(floor: Floor, command: Command) -> None:
    floor.gateway.fills_allowed = False
    floor.open()
    assert floor.gateway.orders
    floor.say(command)
    assert floor.gateway.orders == []


@pytest.mark.parametrize(("severity", "left"), [(Severity.WARNING, 1), (Severity.BREACH, 0), (Severity.EMERGENCY, 0)])
def test_a_limit_that_is_passed_takes_entries_back(floor: Floor, severity: Severity, left: int) -> None:
    floor.gateway.fills_allowed = False
    floor.open()
    passed = RiskThreshold(time=floor.gateway.time, rule="group_risk_A", severity=severity, limit=1.0, observed=1.1)
    floor.system.bus.publish(passed)
    assert len(floor.gateway.orders) == left

"""Every plugin alike: what is missing, untrue, huge, repeated or out of order is denied or ignored, never raised."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from core.contracts import Leg, Package, Right
from core.events import Event, MarketData, MinutePassed, RiskThreshold, SessionClosed, SessionOpened
from core.gateway import Account
from risk.limits import BlackSwanPlugin
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Shrink, Verdict
from tests.fake_gateway import FRIDAY, FakeGateway, build
from tests.risk.proposals import NOW, context, contract, proposal
from trading_system import TradingSystem

PLUGINS = (
    "phase", "vix_regime", "vix_panic", "freshness", "events", "circuit_breaker", "drawdown", "black_swan",
    "correlation", "concentration", "overlap", "liquidity", "assignment", "greeks", "group_risk", "margin", "sizing",
)  # fmt: skip
BAD = (math.nan, -1.0, math.inf, -math.inf, 1e300)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> TradingSystem:
    folder: Path = tmp_path_factory.mktemp("contract")
    gateway = FakeGateway(NOW, lambda _: 5000.0, lambda _: 24.0, folder)
    running, _ = build(gateway)
    gateway.subscribe([leg.contract for leg in proposal().package.legs])
    return running


def plugin(system: TradingSystem, name: str) -> RiskPlugin:
    found = system.managers.all_of(RiskPlugin)  # type: ignore[type-abstract]  # the base class of all is meant
    return next(row for row in found if row.name == name)


def test_every_plugin_is_known_here(system: TradingSystem) -> None:
    found = system.managers.all_of(RiskPlugin)  # type: ignore[type-abstract]  # as above
    assert sorted(row.name for row in found) == sorted(PLUGINS)
    assert len({row.order for row in found}) == len(found)


def opens_nothing(verdict: Verdict) -> bool:
    return isinstance(verdict, Deny) or (isinstance(verdict, Shrink) and verdict.contracts <= 0)


def terms(one: Proposal, max_loss: float = 2_700.0, margin: float = 3_000.0) -> Proposal:
    return replace(one, terms=replace(one.terms, max_loss=max_loss, margin=margin))


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: (terms(proposal(), max_loss=value), context()),
        lambda value: (terms(proposal(), margin=value), context()),
        lambda value: (replace(proposal(), spot=value), context()),
        lambda value: (replace(proposal(), vix=value), context()),
        lambda value: (replace(proposal(), reward_ratio=value), context()),
        lambda value: (replace(proposal(), win_rate=value), context()),
        lambda value: (proposal(), context(equity=value)),
    ],
)
def test_figures_that_cannot_be_true_open_nothing(
    system: TradingSystem, name: str, value: float, spoil: Callable[[float], tuple[Proposal, RiskContext]]
) -> None:
    one, told = spoil(value)
    if value == 1e300 and (one.spot == value or one.vix == value or one.reward_ratio == value):
        return  # absurd, and no limit of ours is measured by them
    assert opens_nothing(plugin(system, name).review(one, told))


def with_leg(strike: float = 4950.0, ratio: int = -1) -> Proposal:
    short, wing = proposal().package.legs
    return replace(proposal(), package=Package((Leg(replace(short.contract, strike=strike), ratio), wing)))


ANY_SIGN = (math.nan, math.inf, -math.inf, 1e300, -1e300)
SPOILT: dict[str, tuple[Callable[[float], tuple[Proposal, RiskContext]], tuple[float, ...]]] = {
    "strike": (lambda value: (with_leg(strike=value), context()), BAD),
    "ratio": (lambda value: (with_leg(ratio=int(value)), context()), (1e9, -1e9)),
    "cash": (lambda value: (proposal(), replace(context(), account=Account(1e5, value))), ANY_SIGN),
    "engine": (lambda value: (proposal(), replace(context(), account=Account(1e5, 1e5, value))), ANY_SIGN),
    "vix seen": (lambda value: (proposal(), context(vix=value)), BAD),
    "size": (lambda value: (proposal(), replace(context(), size_factor=value)), (*BAD, 1.1)),
    "mid": (lambda value: (replace(proposal(), mid_cash=value), context()), ANY_SIGN),
    "natural": (lambda value: (replace(proposal(), natural_cash=value), context()), ANY_SIGN),
    "model": (lambda value: (replace(proposal(), model_cash=value), context()), ANY_SIGN),
    "least": (lambda value: (replace(proposal(), least_cash=value), context()), ANY_SIGN),
    "spot": (lambda value: (replace(proposal(), spot=value), context()), BAD),
    "vix": (lambda value: (replace(proposal(), vix=value), context()), BAD),
}


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize("field", SPOILT)
def test_no_field_of_what_a_rule_is_told_may_be_untrue(system: TradingSystem, name: str, field: str) -> None:
    spoil, values = SPOILT[field]
    for value in values:
        assert opens_nothing(plugin(system, name).review(*spoil(value))), value


@pytest.mark.parametrize("name", PLUGINS)
def test_no_equity_no_data_and_nothing_at_all_open_nothing(system: TradingSystem, name: str) -> None:
    one = plugin(system, name)
    assert opens_nothing(one.review(proposal(), context(equity=0.0)))
    assert opens_nothing(one.review(proposal(wanted=10**9), context()))
    assert opens_nothing(one.review(None, None))  # type: ignore[arg-type]  # nothing at all
    for points in (math.nan, math.inf):
        assert opens_nothing(one.review(replace(proposal(), mid_cash=points), context()))
        assert opens_nothing(one.review(replace(proposal(), natural_cash=points), context()))
    assert opens_nothing(one.review(proposal(), replace(context(), account=Account(math.nan, math.nan))))


@pytest.mark.parametrize(
    "name", ["liquidity", "greeks", "group_risk", "margin", "sizing", "concentration", "assignment"]
)
def test_a_package_of_which_nothing_is_known_opens_nothing(system: TradingSystem, name: str) -> None:
    far = Package((Leg(contract("SPY", 333.0, Right.PUT, FRIDAY + timedelta(days=45)), -1),))
    unknown = replace(terms(proposal(), max_loss=100.0), package=far, model_cash=None)
    assert opens_nothing(plugin(system, name).review(unknown, context()))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_rule_that_raises_denies(system: TradingSystem, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = plugin(system, name)

    def fail(*_: object) -> Verdict:
        raise RuntimeError("broken")

    monkeypatch.setattr(one, "judge", fail)
    verdict = one.review(proposal(), context())
    assert isinstance(verdict, Deny)
    assert "broken" in verdict.reason


def market(ticker: str, price: float, at: datetime) -> MarketData:
    return MarketData(time=at, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=at)


@pytest.mark.parametrize("name", PLUGINS)
def test_events_of_any_kind_raise_nothing_and_old_or_untrue_ones_change_nothing(
    system: TradingSystem, name: str
) -> None:
    one, later = plugin(system, name), NOW + timedelta(minutes=5)
    events: list[Event] = [
        SessionOpened(time=later, day=FRIDAY, closes_at=later), market("SPX", 5000.0, later), MinutePassed(time=later),
        MinutePassed(time=later), SessionClosed(time=later, day=FRIDAY, equity=math.nan),
    ]  # fmt: skip
    for event in events:
        list(one.watch(event))
    before, wants = dict(one.memory()), list(one.wanted(later))
    for value in (*BAD[:-1], 0.0):
        for ticker in ("SPX", "SPY", "VIX", "XYZ"):
            assert list(one.watch(market(ticker, value, later))) == []
    assert list(one.watch(market("VIX", 90.0, NOW))) == []  # from before the newest
    assert list(one.watch(market("SPX", 10.0, NOW))) == []
    assert (dict(one.memory()), list(one.wanted(later))) == (before, wants)
    assert one.verify() == ()


EVERY_MINUTE = {MinutePassed, SessionOpened, SessionClosed}
WATCHED: dict[str, set[type[Event]]] = {
    "vix_panic": {MarketData}, "black_swan": {MarketData}, "circuit_breaker": EVERY_MINUTE, "drawdown": EVERY_MINUTE,
    "group_risk": {MinutePassed}, "assignment": {MinutePassed}, "correlation": {SessionOpened},
    "greeks": {SessionOpened},
}  # fmt: skip


@pytest.mark.parametrize("name", PLUGINS)
def test_each_rule_is_shown_the_events_that_it_is_about(system: TradingSystem, name: str) -> None:
    kinds = (MarketData, MinutePassed, SessionOpened, SessionClosed)
    assert {kind for kind in kinds if plugin(system, name).is_watching(kind)} == WATCHED.get(name, set())


def test_the_rules_of_an_index_are_shown_its_prices_only(system: TradingSystem) -> None:
    about = {name: plugin(system, name).is_watching for name in ("vix_panic", "black_swan")}
    shown = {name: {t for t in ("SPX", "SPY", "VIX", "QQQ") if asked(MarketData, t)} for name, asked in about.items()}
    assert shown == {"vix_panic": {"VIX"}, "black_swan": {"SPX", "SPY"}}


def test_risk_hears_of_the_prices_that_a_rule_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def heard(name: str) -> list[frozenset[str] | None]:
        running, _ = build(FakeGateway(NOW, lambda _: 5000.0, lambda _: 24.0, tmp_path / name))
        rows = running.bus.subscriptions
        return [row.tickers for row in rows if row.component == "risk" and row.event_type is MarketData]

    assert heard("as it is") == [frozenset({"SPX", "SPY", "VIX"})]
    monkeypatch.setattr(BlackSwanPlugin, "tickers", None)  # it says not whose: then all
    assert heard("of all") == [None]


def test_a_rule_that_says_not_what_it_watches_is_shown_everything() -> None:
    class Watchful(RiskPlugin):
        name, order = "watchful", 1

        def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
            return Allow(self.name)

        def observe(self, event: Event) -> tuple[RiskThreshold, ...]:
            return ()

    assert all(Watchful.is_watching(kind) for kind in (MarketData, MinutePassed, SessionOpened, SessionClosed))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_memory_goes_back_in_and_a_strangers_is_refused(system: TradingSystem, name: str) -> None:
    one = plugin(system, name)
    with pytest.raises((ValueError, TypeError)):
        one.restore({"peak": "x", "until": "y", "suspended": [1], "tripped_at": 5, "anything": 1})
    assert isinstance(one.cash_moved(0.0), bool)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_sound_proposal_gets_an_answer(system: TradingSystem, name: str) -> None:
    verdict = plugin(system, name).review(proposal(), context())
    assert isinstance(verdict, Allow | Shrink | Deny)

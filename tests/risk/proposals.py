"""Proposals, positions and what a risk rule is told, for the tests of several rooms."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

from core.book import Book, Position, position_of
from core.contracts import Contract, Leg, Package, Right
from core.gateway import Account
from core.instruments import INSTRUMENTS
from core.parts import BOUGHT, SOLD, Part, Terms, Trait
from core.settings.fields import (
    CorrelationSettings,
    PhaseSettings,
    VixSettings,
)
from market.vix import UnifiedVIXManager, VixReading
from risk.exposure import CorrelationPlugin
from risk.proposal import Allow, Proposal, RiskContext, Verdict
from tests.fake_gateway import FRIDAY

NOW = datetime.combine(FRIDAY, datetime.min.time()) + timedelta(hours=12)


def contract(root: str, strike: float, right: Right = Right.PUT, expiry: date = FRIDAY) -> Contract:
    return INSTRUMENTS[root].contract(expiry, strike, right, "handle")


def package(root: str = "SPXW", expiry: date = FRIDAY) -> Package:
    scale = INSTRUMENTS[root].index_scale
    short, wing = contract(root, 4950 / scale, expiry=expiry), contract(root, 4920 / scale, expiry=expiry)
    return Package((Leg(short, -1), Leg(wing, 1)))


def proposal(strategy: str = "friday_0dte", root: str = "SPXW", wanted: int = 4, vix: float = 20.0) -> Proposal:
    return Proposal(
        strategy=strategy,
        day=FRIDAY,
        package=package(root),
        terms=Terms(strategy, "put_spread", max_loss=2_700.0, margin=3_000.0),
        wanted=wanted,
        mid_cash=3.1,
        natural_cash=3.0,
        model_cash=3.1,
        spot=5000.0,
        vix=vix,
        win_rate=0.88,
        reward_ratio=0.40,
        reason="test",
    )


def held(name: str, strategy: str, root: str, expiry: date = FRIDAY, sold: bool = True) -> Position:
    terms = Terms(strategy, "put_spread", 2_700.0, 3_000.0, SOLD if sold else BOUGHT)
    part = Part("whole", package(root, expiry), 1, NOW, (4.0, 1.0), 300.0, 2.0, terms)
    return position_of(name, part, "", 5000.0, 20.0)


def context(of: Book | None = None, equity: float = 100_000.0, vix: float | None = 20.0, phase: int = 1) -> RiskContext:
    manager = VixSettings()
    reading = None
    if vix is not None:
        regime = UnifiedVIXManager.regime_of(_Regimes(manager), vix)  # type: ignore[arg-type]
        reading = VixReading(vix, regime, None, 0.0, NOW)
    return RiskContext(NOW, Account(equity, equity), reading, phase, PhaseSettings().rows[phase - 1], of or Book())


class _Regimes:
    def __init__(self, settings: VixSettings) -> None:
        self._settings = settings


def rule(verdict: Verdict) -> str:
    return "allowed" if isinstance(verdict, Allow) else verdict.rule


def book(*positions: Position) -> Book:
    return Book(positions={position.id: position for position in positions})


def with_traits(*traits: Trait, strategy: str = "friday_0dte", root: str = "SPXW") -> Proposal:
    one = proposal(strategy, root)
    return replace(one, terms=replace(one.terms, traits=SOLD | set(traits)))


def positions(*roots: str, traits: frozenset[Trait] = SOLD) -> Book:
    return book(*(_with(held(f"p{n}", f"s{n}", root), traits) for n, root in enumerate(roots)))


def _with(position: Position, traits: frozenset[Trait]) -> Position:
    part = position.parts[0]
    return replace(position, parts=(replace(part, terms=replace(part.terms, traits=traits)),))


class _Measured:
    def __init__(self, value: float | None) -> None:
        self.value = value

    def between(self, one: str, other: str) -> float | None:
        return 1.0 if one == other else self.value


def correlation(value: float | None = None, of: Book | None = None) -> CorrelationPlugin:
    return CorrelationPlugin(_Measured(value), of or Book(), CorrelationSettings())  # type: ignore[arg-type]

"""Proposals, positions and what a risk rule is told, for the tests of several rooms."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from core.book import Book, Position, position_of
from core.contracts import Contract, Leg, Package, Right
from core.gateway import Account
from core.instruments import INSTRUMENTS
from core.parts import BOUGHT, SOLD, Part, Terms
from core.settings.fields import (
    PhaseSettings,
    VixSettings,
)
from market.vix import UnifiedVIXManager, VixReading
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

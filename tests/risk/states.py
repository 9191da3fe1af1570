"""A drawdown and a breaker whose account the test sets, a minute at a time, and a way through the store's text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast

from core.book import Book
from core.events import MinutePassed, RiskThreshold, Severity
from core.journal import as_json
from core.settings.fields import CircuitBreakerSettings, DrawdownSettings
from risk.breakers import CircuitBreakerPlugin
from risk.drawdown import DrawdownPlugin
from risk.equity import SteadyEquity
from risk.exposure import opening_of
from risk.margin import MarginUse
from risk.proposal import Allow, RiskPlugin, Scope
from tests.risk.proposals import NOW, context, held, proposal, rule


class Equity:
    """An equity that the test sets."""

    def __init__(self, value: float | None = 100_000.0) -> None:
        self.value = value

    def look(self, now: datetime) -> Equity:
        return self

    def memory(self) -> dict[str, object]:
        return {}

    def restore(self, row: object) -> None:
        assert row == {}

    @property
    def steady(self) -> SteadyEquity:
        return cast(SteadyEquity, self)


def minute(count: float) -> datetime:
    return NOW + timedelta(minutes=count)


def pass_minute(plugin: RiskPlugin, at: datetime) -> list[RiskThreshold]:
    return list(plugin.watch(MinutePassed(time=at)))


def scopes(plugin: RiskPlugin, at: datetime = NOW) -> list[Scope]:
    return [want.scope for want in plugin.wanted(at)]


def reborn(plugin: RiskPlugin, fresh: RiskPlugin) -> None:
    """Through the store's text and back."""
    fresh.restore(json.loads(json.dumps(as_json(dict(plugin.memory())))))


class Down:
    """A drawdown plugin whose equity the test moves, a minute at a time."""

    def __init__(self, book: Book | None = None) -> None:
        self.equity, self.book = Equity(), book or Book()
        self.plugin = DrawdownPlugin(self.equity.steady, self.book, DrawdownSettings())
        self.at = NOW
        self.to(100_000.0)

    def to(self, equity: float | None, days: float = 0.0) -> list[RiskThreshold]:
        self.equity.value = equity
        self.at += timedelta(days=days, minutes=1)
        return pass_minute(self.plugin, self.at)

    def denied(self) -> str:
        at = replace(context(equity=self.equity.value or math.nan), now=self.at)
        return rule(self.plugin.review(proposal(), at))


class Breaker:
    """A breaker with something held, whose equity, margin and VIX the test sets."""

    def __init__(self, phase: int = 4) -> None:
        self.equity = Equity()
        self.book = Book(positions={"p": held("p", "s", "SPY")})
        self.used: dict[frozenset[str], float] = {}
        self.margin = 10_000.0
        self.vix: float | None = 15.0
        self.fresh = True
        figures = SimpleNamespace(
            used=lambda: MarginUse(self.margin, ()), used_without=lambda gone: MarginUse(self.used[gone], ())
        )
        stand_in = SimpleNamespace(
            phase=phase, all_fresh=lambda now: self.fresh, held=lambda: SimpleNamespace(rows=()),
            value=lambda now: self.vix,
        )  # fmt: skip
        self.plugin = CircuitBreakerPlugin(
            self.equity.steady, self.book, stand_in, stand_in, stand_in, stand_in, figures, CircuitBreakerSettings(),  # type: ignore[arg-type]
        )  # fmt: skip

    def to(self, equity: float | None, at: float) -> dict[str, Severity]:
        self.equity.value = equity
        return {row.rule: row.severity for row in pass_minute(self.plugin, minute(at))}

    def denied(self, at: float, book: Book | None = None) -> str:
        return rule(self.plugin.review(proposal(), replace(context(book, phase=4), now=minute(at))))

    def barred(self, at: float, book: Book | None = None, *, replaces: bool = False) -> str:
        opening = replace(opening_of(proposal()), onto="p" if replaces else "", replaces=replaces)
        return rule(self.plugin.bars(opening, replace(context(book, phase=4), now=minute(at))) or Allow("it"))

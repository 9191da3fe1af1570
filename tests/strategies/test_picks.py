"""Picks by delta: what a search from an estimate finds is what a look at every strike finds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import Contract, Quote, Right
from core.instruments import INSTRUMENTS
from core.settings.strategies import StrategySettings
from greeks.black_scholes import FloatArray
from greeks.smile import ChainGreeks, Columns, chain_greeks
from strategies.base import Skip
from strategies.look import EndedLookError
from strategies.picks import Chain
from strategies.tools import Tools

NOW = datetime(2018, 2, 6, 10, 25)
EXPIRY = date(2018, 3, 16)
RATE, YIELD = 0.02, 0.015


@dataclass
class Planner:
    """Volatilities of a smile, deltas of the model; what it was asked for is counted.

    ``silent``: no strike's own row tells one, so that every strike is looked at.
    """

    slope: float = 0.6
    bend: float = 1.5
    spot: float = 270.0
    silent: bool = False
    odd: dict[float, float] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def volatilities(self, contracts: Sequence[Contract]) -> FloatArray:
        return np.array([self.odd.get(row.strike, self._smile(row.strike)) for row in contracts])

    def _smile(self, strike: float) -> float:
        k = math.log(strike / self.spot)
        return 0.18 - self.slope * k * 0.5 + self.bend * k * k

    def told(self, contracts: Sequence[Contract]) -> FloatArray:
        return np.full(len(contracts), np.nan) if self.silent else self.volatilities(contracts)

    def deltas(self, contracts: Sequence[Contract], volatilities: FloatArray, spot: float) -> FloatArray:
        self.asked |= {row.name for row in contracts}
        columns = Columns.of(contracts, NOW, RATE, YIELD)
        found: FloatArray = 100.0 * np.abs(columns.deltas(np.full(len(contracts), spot), volatilities))
        return found


class Moment:
    """A look of one moment: a planner, and quotes of some contracts."""

    def __init__(self, planner: Planner, quoted: Sequence[Contract] = (), raised: float = 1.1) -> None:
        self.planner = planner
        self.own = cast(StrategySettings, SimpleNamespace(wing_tolerance=0.25))
        self.now, self.today = NOW, NOW.date()
        self.vix_ratio, self.is_full, self.pool = 1.05, False, tuple(quoted)
        self._quotes = {row: self._quote(row, raised) for row in quoted}
        greeks = SimpleNamespace(chain=self._chain, carry_of=lambda _: (RATE, YIELD))
        self.tools = cast(Tools, SimpleNamespace(planner=planner, greeks=greeks))
        self.wanted: list[list[str]] = []

    def _quote(self, row: Contract, raised: float) -> Quote:
        columns = Columns.of((row,), NOW, RATE, YIELD)
        price = float(columns.prices(np.array([self.planner.spot]), raised * self.planner.volatilities((row,)))[0])
        return Quote(0.98 * price, 1.02 * price, NOW)

    @staticmethod
    def _chain(contracts: Sequence[Contract], quotes: dict[Contract, Quote], spot: float, now: datetime) -> ChainGreeks:
        return chain_greeks(tuple(contracts), quotes, spot, now, RATE, YIELD)

    def is_quoted(self, contract: Contract) -> bool:
        return contract in self._quotes

    def quotes_of(self, contracts: Iterable[Contract]) -> dict[Contract, Quote]:
        return {row: self._quotes[row] for row in contracts if row in self._quotes}

    def spot_of(self, _price_key: str) -> float:
        return self.planner.spot

    def want(self, best: Contract, after: Sequence[Contract], spares: int) -> None:
        self.wanted.append([best.name, *(row.name for row in after[: max(spares, 4)])])

    def miss(self, *contracts: Contract) -> None:
        self.wanted.append(["miss", *(row.name for row in contracts)])

    def skip(self, rule: str, reason: str, limit: float | None = None, observed: float | None = None) -> Exception:
        return EndedLookError(Skip(rule, reason, limit, observed))


def listed(low: float = 180.0, high: float = 340.0, step: float = 1.0) -> tuple[Contract, ...]:
    strikes = np.arange(low, high + step / 2, step)
    return tuple(INSTRUMENTS["SPY"].contract(EXPIRY, float(strike), right) for strike in strikes for right in Right)


def picked(moment: Moment, right: Right, contracts: Sequence[Contract], **wanted: Any) -> tuple[Any, ...]:
    """What a pick finds, or why it ends, and what it asks quotes of."""
    chain = Chain(moment, contracts)
    try:
        found = chain.put(**wanted) if right is Right.PUT else chain.call(**wanted)
    except EndedLookError as ended:
        answer = cast(Skip, ended.answer)
        return answer.rule, answer.limit, pytest.approx(answer.observed, abs=1e-9), moment.wanted
    return found.name, moment.wanted


@given(
    slope=st.floats(-0.4, 0.9),
    bend=st.floats(0.0, 3.0),
    delta=st.floats(2.0, 90.0),
    width=st.floats(0.0, 15.0),
    right=st.sampled_from(Right),
    step=st.sampled_from((0.5, 1.0, 5.0, 20.0)),
    quoted=st.lists(st.integers(0, 60), max_size=8, unique=True),
    raised=st.floats(0.7, 1.4),
    strike=st.one_of(st.none(), st.floats(200.0, 320.0)),
)
@settings(max_examples=150, deadline=None)
def test_a_search_picks_what_a_look_at_every_strike_picks(
    slope: float,
    bend: float,
    delta: float,
    width: float,
    right: Right,
    step: float,
    quoted: list[int],
    raised: float,
    strike: float | None,
) -> None:
    contracts = listed(step=step)
    some = [contracts[at * len(contracts) // 61] for at in quoted]
    wanted: dict[str, Any] = {"between": (max(delta - width, 0.5), delta + width)}
    wanted["delta" if strike is None else "strike"] = delta if strike is None else strike
    answers = [
        picked(Moment(Planner(slope, bend, silent=silent), some, raised), right, contracts, **wanted)
        for silent in (False, True)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("right", "delta"), [(Right.PUT, 5.0), (Right.PUT, 25.0), (Right.CALL, 8.0), (Right.CALL, 80.0)]
)
def test_a_dozen_strikes_of_a_hundred_and_sixty_are_worked_out(right: Right, delta: float) -> None:
    """From 2 to 8 delta are 25 strikes, around 80 six; two at each end, and four where an end is still inside."""
    planner = Planner()
    picked(Moment(planner), right, listed(), delta=delta)
    assert len(planner.asked) <= 25 + 2 * (2 + 4)


def test_a_strike_out_of_line_has_every_strike_looked_at() -> None:
    """The 25-delta put of 161 strikes is near 260; at 259 a row of yesterday says a volatility of 60 %."""
    planner = Planner(odd={259.0: 0.6})
    name, _ = picked(Moment(planner), Right.PUT, listed(), delta=25.0)
    whole = picked(Moment(Planner(odd={259.0: 0.6}, silent=True)), Right.PUT, listed(), delta=25.0)
    assert name == whole[0]
    assert len(planner.asked) == 161

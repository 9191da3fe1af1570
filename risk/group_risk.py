"""What a correlation group would lose in a large move, and whether the account would outlive it.

Two lines (methodology, section 4): 10 % against the group may cost 15 % of equity, 20 % down 30 %; time value and
volatility are in both. The equity groups A1 and A2 fall together, by beta; elsewhere each underlying moves against what
is held of it. After the 10 % line the account's own margin must stay under what the account is worth: a broker that
liquidates is what ended August 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from math import isnan, nan
from typing import Final

import numpy as np

from core.events import Event, MinutePassed, RiskThreshold, Severity
from core.factory import Manager
from core.instruments import group_of
from core.settings.fields import CorrelationSettings
from greeks.black_scholes import FloatArray
from greeks.stress import EQUITY_GROUPS, Node, StressBook, Stressed, StressEngine
from risk.equity import SteadyEquity
from risk.margin import MarginFigures
from risk.proposal import Deny, Proposal, RiskContext, RiskPlugin, Scope, Shrink, Verdict, Wanted

EQUITIES: Final = "A"
"""The line of the equity groups together."""

_ADVERSE: Final = (Node.DOWN, Node.UP)


@dataclass(frozen=True, slots=True)
class LineLoss:
    """Dollars that one line's positions lose at the adverse move and at the crash, zero or positive; NaN: unknown."""

    adverse: float
    crash: float


def line_of(ticker: str) -> str:
    """The line under which an underlying's losses are added up; ``none`` for what is in no group."""
    group = group_of(ticker)
    return "none" if group is None else EQUITIES if group.value in EQUITY_GROUPS else group.value


def profits_by_ticker(
    rows: Iterable[Stressed], beside: Mapping[str, FloatArray] | None = None
) -> dict[str, FloatArray]:
    """Dollars by node of everything on one underlying, with what was counted already."""
    found = dict(beside or {})
    for row in rows:
        found[row.ticker] = found.get(row.ticker, np.zeros(len(Node))) + row.profits
    return found


def line_losses(profits: Mapping[str, FloatArray]) -> dict[str, LineLoss]:
    """Losses by line, of profits by ticker."""
    together: dict[str, list[FloatArray]] = {}
    for ticker, each in profits.items():
        together.setdefault(line_of(ticker), []).append(each)
    return {line: _line_loss(line, parts) for line, parts in together.items()}


def _line_loss(line: str, parts: list[FloatArray]) -> LineLoss:
    if line == EQUITIES:
        whole = reduce(np.add, parts)
        return LineLoss(_loss(whole, *_ADVERSE), _loss(whole, Node.CRASH))
    adverse = sum(_loss(part, *_ADVERSE) for part in parts)
    return LineLoss(adverse, sum(_loss(part, Node.CRASH, Node.SURGE) for part in parts))


def _loss(profits: FloatArray, *nodes: Node) -> float:
    worst = [float(profits[node]) for node in nodes]
    return nan if any(map(isnan, worst)) else -min(*worst, 0.0)


class GroupRisk(Manager):
    """The lines of what is held, and of what is held with something added."""

    def __init__(self, engine: StressEngine, margin: MarginFigures, settings: CorrelationSettings) -> None:
        self._engine = engine
        self._margin = margin
        self._settings = settings
        self._counted: tuple[StressBook, dict[str, FloatArray], dict[str, LineLoss]] | None = None

    def lines(self) -> dict[str, LineLoss]:
        """Losses of what is held and on its way, by line; worked out once for the figures that they rest on."""
        return self._known()[2]

    def _known(self) -> tuple[StressBook, dict[str, FloatArray], dict[str, LineLoss]]:
        held = self._engine.held()
        if self._counted is None or self._counted[0] is not held:
            profits = profits_by_ticker(held.rows)
            self._counted = (held, profits, line_losses(profits))
        return self._counted

    def share(self, loss: LineLoss, equity: float) -> float:
        """Use of the tighter of the two lines, 1 at the limit; NaN when unknown, infinite without equity."""
        if not equity > 0.0:
            return np.inf
        adverse = loss.adverse / (self._settings.group_risk * equity)
        return float(np.maximum(adverse, loss.crash / (self._settings.crash_risk * equity)))

    def over(self, equity: float) -> dict[str, float]:
        """Lines at or over their limit with their use; an unknown one counts as at its limit."""
        uses = {line: self.share(loss, equity) for line, loss in self.lines().items()}
        return {line: 1.0 if use != use else use for line, use in uses.items() if not use < 1.0}

    def use_without(self, line: str, equity: float, gone: frozenset[str]) -> float:
        """Use of a line's limit without these positions (by id); an unknown one counts as at its limit."""
        rows = [row for row in self._engine.held().rows if row.position not in gone]
        loss = line_losses(profits_by_ticker(rows)).get(line, LineLoss(0.0, 0.0))
        use = self.share(loss, equity)
        return 1.0 if use != use else use

    def with_added(self, one: Stressed, contracts: int) -> LineLoss:
        """The proposal's line with so many packages added."""
        line, added, held = line_of(one.ticker), contracts * one.profits, self._known()[1]
        beside = {ticker: each for ticker, each in held.items() if line_of(ticker) == line}
        beside[one.ticker] = beside.get(one.ticker, np.zeros(len(Node))) + added
        return _line_loss(line, list(beside.values()))

    def outlives(self, one: Stressed, contracts: int, equity: float) -> tuple[float, float] | None:
        """Margin and net liquidation value after the adverse move where the first is over the second, else ``None``.

        Every underlying moves against what is held of it, the equities together and each way.
        """
        profits = profits_by_ticker((one for _ in range(contracts)), self._known()[1])
        for direction in _ADVERSE:
            nodes = {ticker: _node(ticker, each, direction) for ticker, each in profits.items()}
            worth = equity + sum(float(each[nodes[ticker]]) for ticker, each in profits.items())
            asked = contracts * (self._margin.of(one, nodes[one.ticker]) or 0.0) + self._margin.after(nodes)
            if asked > worth:
                return asked, worth
        return None


def _node(ticker: str, profits: FloatArray, direction: Node) -> Node:
    if line_of(ticker) == EQUITIES:
        return direction
    return Node.DOWN if profits[Node.DOWN] <= profits[Node.UP] else Node.UP


class GroupStressPlugin(RiskPlugin):
    """Contracts at which the group stays within both lines, and the margin after the first within what is there."""

    name = "group_risk"
    order = 110
    watches = (MinutePassed,)

    def __init__(
        self, engine: StressEngine, groups: GroupRisk, equity: SteadyEquity, settings: CorrelationSettings
    ) -> None:
        self._engine = engine
        self._groups = groups
        self._equity = equity
        self._settings = settings
        self._over: dict[str, float] = {}

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """Each minute that something may be held: which lines prices have carried past their limit."""
        if not isinstance(event, MinutePassed):
            return ()
        value = self._equity.look(event.time).value
        before, self._over = self._over, {} if value is None else self._groups.over(value)
        ended = [(line, 0.0) for line in before if line not in self._over]
        return [self._threshold(event, line, use) for line, use in (*self._over.items(), *ended)]

    def _threshold(self, event: Event, line: str, use: float) -> RiskThreshold:
        severity = Severity.NORMAL if use < 1.0 else Severity.BREACH
        return RiskThreshold(time=event.time, rule=f"{self.name}_{line}", severity=severity, limit=1.0, observed=use)

    def wanted(self, now: datetime) -> Iterable[Wanted]:
        """The riskiest of a line that is over one and a half times its limit, one after the other until under it."""
        most = self._settings.line_close_at
        return [
            Wanted(self.name, Scope.RISKIEST, most, use, self._still(line), line)
            for line, use in self._over.items()
            if use >= most
        ]

    def _still(self, line: str) -> Callable[[frozenset[str]], bool]:
        equity, most = self._equity.value or 0.0, self._settings.line_close_at
        return lambda gone: self._groups.use_without(line, equity, gone) >= most

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """The most contracts within the lines; what cannot be stressed denies."""
        equity = context.account.equity
        held, one = self._engine.held(), self._engine.one_lot(proposal.package)
        unknown = (*held.unknown, *(() if one.known else ("the proposal",)))
        if unknown:
            return Deny(self.name, f"{', '.join(unknown)} cannot be stressed: a leg has no price or no volatility")
        reason, limit, observed = "within both lines", self._settings.group_risk * equity, 0.0
        for contracts in range(proposal.wanted, 0, -1):
            loss = self._groups.with_added(one, contracts)
            if not self._groups.share(loss, equity) <= 1.0:
                reason, limit, observed = self._passed(loss, equity, contracts)
                continue
            margin = self._groups.outlives(one, contracts, equity)
            if margin is None:
                return Shrink(self.name, contracts, limit, loss.adverse, reason)
            observed, limit = margin
            reason = f"after the move {contracts} would ask {observed:.0f} of margin on an account worth {limit:.0f}"
        return Shrink(self.name, 0, limit, observed, reason)

    def _passed(self, loss: LineLoss, equity: float, contracts: int) -> tuple[str, float, float]:
        settings = self._settings
        adverse, crash = settings.group_risk * equity, settings.crash_risk * equity
        if loss.adverse > adverse:
            move, limit, observed = settings.adverse_move, adverse, loss.adverse
        else:
            move, limit, observed = settings.crash_move, crash, loss.crash
        return f"the group would lose {observed:.0f} of {limit:.0f} at {move:.0%} with {contracts}", limit, observed

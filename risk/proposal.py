"""What a strategy proposes, what a risk plugin answers, and what it knows when it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from core.book import Book, EntryIntent, Terms
from core.contracts import Package
from core.events import Event, RiskThreshold
from core.gateway import Account
from core.settings.fields import PhaseLimits
from market.vix import VixReading


@dataclass(frozen=True, slots=True)
class Proposal:
    """One package that a strategy wants to open.

    ``mid_cash``, ``natural_cash`` and ``model_cash`` are points a package, a credit positive; the last ``None`` where
    no model price could be had. ``wanted`` is the most contracts the strategy's own row allows. ``win_rate`` and
    ``reward_ratio`` are the Kelly priors. ``delta``, ``gamma`` and ``vega`` are one contract's, in shares of the
    underlying and dollars a vol point, ``None`` when not computed.
    """

    strategy: str
    day: date
    package: Package
    terms: Terms
    wanted: int
    mid_cash: float
    natural_cash: float
    model_cash: float | None
    spot: float
    vix: float
    win_rate: float
    reward_ratio: float
    reason: str
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None

    @property
    def intent(self) -> EntryIntent:
        """What the executor needs of it."""
        return EntryIntent(
            self.strategy, self.day, self.package, self.terms, self.mid_cash, self.model_cash, self.reason
        )


@dataclass(frozen=True, slots=True)
class Allow:
    """The rule has nothing against it."""

    rule: str


@dataclass(frozen=True, slots=True)
class Shrink:
    """The rule allows at most ``contracts`` (zero denies); ``limit`` and ``observed`` in the rule's own unit."""

    rule: str
    contracts: int
    limit: float
    observed: float
    reason: str


@dataclass(frozen=True, slots=True)
class Deny:
    """The rule forbids it; ``limit`` and ``observed`` in the rule's own unit, ``None`` where it has no number."""

    rule: str
    reason: str
    limit: float | None = None
    observed: float | None = None


Verdict = Allow | Shrink | Deny


@dataclass(frozen=True, slots=True)
class Decision:
    """The smallest answer of all plugins. ``contracts`` zero means denied, by ``rule`` and its number."""

    contracts: int
    rule: str
    reason: str
    limit: float | None
    observed: float | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class RiskContext:
    """What is known when a proposal is judged. ``size_factor`` scales risk budgets (drawdown, warnings), 0 to 1."""

    now: datetime
    account: Account
    vix: VixReading | None
    phase: int
    limits: PhaseLimits
    book: Book
    size_factor: float = 1.0


class RiskPlugin(ABC):
    """One rule, or a family of rules. What it cannot judge it must deny; an exception counts as a denial.

    ``order`` is its place among the others: rules about the account first, then exposure, then numbers, so that the
    reason that is reported is the most general one.
    """

    name: ClassVar[str]
    order: ClassVar[int]

    @abstractmethod
    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Judge a proposal before it may be sent."""

    def watch(self, event: Event) -> Iterable[RiskThreshold]:
        """Look at an event and report limits that came near or were passed; most rules bind entries only."""
        return ()

    def verify(self) -> tuple[str, ...]:
        """What is wrong with it; nothing, for a rule without parts of its own."""
        return ()


def settle(proposal: Proposal, verdicts: Iterable[Verdict]) -> Decision:
    """The smallest answer stands; of equally small ones the first."""
    found = tuple(verdicts)
    best = Decision(proposal.wanted, "allowed", "within every limit", None, None, found)
    if proposal.wanted <= 0:
        return Decision(0, "phase_maximum", "the phase allows no contract of this strategy", 0.0, 0.0, found)
    for verdict in found:
        if isinstance(verdict, Deny):
            return Decision(0, verdict.rule, verdict.reason, verdict.limit, verdict.observed, found)
    for verdict in found:
        if isinstance(verdict, Shrink) and verdict.contracts < best.contracts:
            allowed = max(verdict.contracts, 0)
            best = Decision(allowed, verdict.rule, verdict.reason, verdict.limit, verdict.observed, found)
    return best

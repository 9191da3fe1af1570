"""What a strategy proposes, what a risk plugin answers, and what it knows when it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from core.book import Book, EntryIntent, Reason
from core.contracts import Leg, Package
from core.events import Event, RiskThreshold
from core.gateway import Account
from core.parts import WHOLE, PartPlan, Terms
from core.settings.fields import PhaseLimits
from market.vix import VixReading


@dataclass(frozen=True, slots=True)
class Proposal:
    """One package that a strategy wants to open.

    ``mid_cash``, ``natural_cash`` and ``model_cash`` are points a package, a credit positive; the last ``None`` where
    no model price could be had. ``wanted`` is the most contracts the strategy's own row allows. ``win_rate`` and
    ``reward_ratio`` are the Kelly priors. ``parts`` says which legs are which part, each leg in one; none: one part.
    ``onto`` names the position that it adds to, empty for a new one; ``slot`` which of the strategy's entries it is.
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
    parts: tuple[PartPlan, ...] = ()
    onto: str = ""
    slot: str = ""

    def __post_init__(self) -> None:
        if not self.parts:
            return
        named = [leg for plan in self.parts for leg in plan.package.legs]
        if sorted(map(_described, named)) != sorted(map(_described, self.package.legs)):
            raise ValueError(f"parts: {sorted(map(_described, named))}; expected each leg of the package in one part")
        names = [plan.name for plan in self.parts]
        if len(set(names)) < len(names):
            raise ValueError(f"parts: {names} repeats a name; expected each name once")

    @property
    def plans(self) -> tuple[PartPlan, ...]:
        """Its parts; a package without any is one part."""
        return self.parts or (PartPlan(WHOLE, self.package, self.terms),)

    @property
    def intent(self) -> EntryIntent:
        """What the executor needs of it."""
        return EntryIntent(
            strategy=self.strategy,
            day=self.day,
            package=self.package,
            terms=self.terms,
            mid_cash=self.mid_cash,
            model_cash=self.model_cash,
            reason=self.reason,
            plans=self.plans,
            onto=self.onto,
            slot=self.slot,
        )


def _described(leg: Leg) -> str:
    return f"{leg.contract.name} x{leg.ratio:+d}"


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
class Deny(Reason):
    """The rule forbids it."""


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

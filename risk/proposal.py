"""What a strategy proposes, what a risk plugin answers, and what it knows when it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from math import inf
from typing import ClassVar, Final

from core.book import ApprovedEntry, Book, EntryIntent, Reason
from core.contracts import MOST_POINTS, Leg, Package, uncovered
from core.events import Event, MarketData, RiskThreshold, Severity
from core.factory import Manager
from core.gateway import Account
from core.instruments import Group, contract_named, group_of
from core.parts import SOLD, WHOLE, PartPlan, Terms, Trait
from core.settings.fields import PhaseLimits
from market.vix import VixReading


@dataclass(frozen=True, slots=True)
class Proposal:
    """One package that a strategy wants to open.

    ``mid_cash``, ``natural_cash`` and ``model_cash`` are points a package, a credit positive; the last ``None`` where
    no model price could be had. ``wanted`` is the most contracts the strategy's own row allows. ``win_rate`` and
    ``reward_ratio`` are the Kelly priors. ``parts`` says which legs are which part, each leg in one; none: one part.
    ``onto`` names the position that it adds to, empty for a new one; ``slot`` which of the strategy's entries it is.
    ``least_cash`` is the least points that it must bring, ``None`` where the row does not say.
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
    least_cash: float | None = None

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
            least_cash=self.least_cash,
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
    approved: ApprovedEntry | None = None


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
    counted: dict[str, tuple[Exposed, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What counts for limits on counts, by the position that an entry adds to: several rules ask of one proposal."""

    def exposed(self, onto: str) -> tuple[Exposed, ...]:
        """What counts beside an entry: all but the position that it adds to, and a person's shorts by underlying."""
        found = self.counted.get(onto)
        if found is None:
            found = self.counted[onto] = _exposed(self.book, onto)
        return found


@dataclass(frozen=True, slots=True)
class Exposed:
    """Something that counts for the limits on counts: a position, an entry on its way, or what a person sold."""

    ticker: str
    group: Group | None
    traits: frozenset[Trait]


def _exposed(book: Book, onto: str) -> tuple[Exposed, ...]:
    found = [(row.underlying.ticker, row.traits) for row in book.exposed() if row.id != onto]
    sold = {
        contract.underlying.ticker
        for name, quantity in book.unowned.items()
        if not quantity >= 0.0 and (contract := contract_named(name)) is not None
    }
    found += [(ticker, SOLD) for ticker in sorted(sold)]
    return tuple(Exposed(ticker, group_of(ticker), traits) for ticker, traits in found)


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known of an entry before any contract of it is picked: what it is written on, and what its parts are.

    ``onto``: the position that it adds to, by id; ``replaces``: it takes the place of a part that is to be closed.
    """

    ticker: str
    traits: frozenset[Trait]
    onto: str = ""
    replaces: bool = False


class Scope(StrEnum):
    """What an emergency wants gone."""

    ALL = "all"  # everything but what only a person closes
    LOSING = "losing"  # positions that would close at a loss
    SHORT_DATED = "short_dated"  # what a black swan closes
    SHORT_VOLATILITY = "short_volatility"  # what a VIX above 40 closes, by part
    RISKIEST = "riskiest"  # one position at a time, the riskiest first


@dataclass(frozen=True, slots=True)
class Wanted:
    """A state that a rule wants the account in; pursued each minute until it is reached or not wanted any more.

    ``limit`` and ``observed`` in the rule's own unit. ``still``: whether more would have to go after these positions
    (by id) are gone; without it, one is enough at a time. ``line``: of group risk, whose positions it is about.
    """

    rule: str
    scope: Scope
    limit: float
    observed: float
    still: Callable[[frozenset[str]], bool] | None = None
    line: str = ""


UNASKED: Final = "unasked"


class RiskPlugin(Manager, ABC):
    """One rule, or a family of rules. What it cannot judge it must deny; an exception counts as a denial.

    ``order`` is its place among the others: rules about the account first, then exposure, then numbers, so that the
    reason that is reported is the most general one.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    watches: ClassVar[tuple[type[Event], ...]] = (Event,)
    """What it looks at where it looks at anything: most of a run's events are prices, which few rules are about."""
    tickers: ClassVar[frozenset[str] | None] = None
    """Whose prices it looks at where it looks at prices; ``None`` for all."""
    _newest: datetime | None = None
    _raised: frozenset[str] = frozenset()

    def review(self, proposal: Proposal, context: RiskContext, untrue: str | None = UNASKED) -> Verdict:
        """Judge a proposal before it may be sent. What cannot be true denies, and so does a rule that fails.

        ``untrue``: what ``untrue_of`` says, where one who asks every rule has asked that already.
        """
        try:
            untrue = untrue_of(proposal, context) if untrue == UNASKED else untrue
            return self.judge(proposal, context) if untrue is None else Deny(self.name, untrue)
        except Exception as error:  # fail closed: whatever went wrong in a rule, it denies
            return Deny(self.name, f"{FAILED}{type(error).__name__}: {error}")

    @abstractmethod
    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """The rule itself, of figures that can be true."""

    def bars(self, opening: Opening, context: RiskContext) -> Deny | None:
        """Why it would deny every such entry, whatever its contracts are; most rules have to see them."""
        return None

    def watch(self, event: Event) -> Iterable[RiskThreshold]:
        """Look at an event and report limits that came near or were passed, and once when they are over.

        An event from before the newest, or with a price that cannot be true, is ignored.
        """
        if isinstance(event, MarketData) and not 0.0 < event.price < MOST_POINTS:
            return ()
        if self._newest is not None and event.time < self._newest:
            return ()
        self._newest = event.time
        told = [row for row in self.observe(event) if row.severity is not Severity.NORMAL or row.rule in self._raised]
        if told:
            calm = {row.rule for row in told if row.severity is Severity.NORMAL}
            self._raised = (self._raised | {row.rule for row in told}) - calm
        return told

    def start_anew(self) -> None:
        """The clock was set back: what comes now is not old."""
        self._newest = None

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """What the rule makes of an event; most rules bind entries only."""
        return ()

    @classmethod
    def is_watching(cls, kind: type[Event], ticker: str | None = None) -> bool:
        """Whether events of a type, or a ticker's prices, have to be shown to it; who says nothing sees all of them."""
        looks = cls.observe is not RiskPlugin.observe or cls.watch is not RiskPlugin.watch
        return looks and issubclass(kind, cls.watches) and (not ticker or cls.tickers is None or ticker in cls.tickers)

    def wanted(self, now: datetime) -> Iterable[Wanted]:
        """What it wants gone at this minute, whether or not it wanted it before; most rules bind entries only."""
        return ()

    @property
    def rests(self) -> bool:
        """Whether nothing that it watches is so near a limit that a small move before the next look could pass it."""
        return True

    @property
    def samples(self) -> bool:
        """Whether it takes samples of what is held over time now, which looks hours apart would not give it."""
        return False

    @property
    def vix_levels(self) -> tuple[float, ...]:
        """Levels of the VIX at which it has to look: what it wants gone, or remembers, is another from there on."""
        return ()

    def cash_moved(self, amount: float) -> bool:
        """Cash came (positive) or went without a trade; whether it measures anything over time and took it out."""
        return False

    def memory(self) -> Mapping[str, object]:
        """What it must know after a restart, in JSON types; empty for a rule without a memory."""
        return {}

    def restore(self, row: Mapping[str, object]) -> None:
        """Take back what ``memory`` gave. Raises ``ValueError`` for what cannot be true."""
        if row:
            raise ValueError(f"{self.name}: remembers nothing; found {sorted(row)[:5]}")


FAILED = "the rule failed: "
"""How a denial begins whose rule raised."""
MOST_CONTRACTS = 1_000
MOST_DOLLARS = 1e10  # what an account, a loss or a margin of ours can be


def untrue_of(proposal: Proposal, context: RiskContext) -> str | None:
    """The first figure of a proposal or of the account that cannot be true, in words; ``None`` when all can."""
    terms, account, reading, model = proposal.terms, context.account, context.vix, proposal.model_cash
    free, least = account.engine_margin_free, proposal.least_cash
    vix, legs = None if reading is None else reading.value, proposal.package.legs
    checks = (
        ("equity", account.equity, 0.0 < account.equity < MOST_DOLLARS, "dollars over 0"),
        ("cash", account.cash, abs(account.cash) < MOST_DOLLARS, "dollars"),
        ("engine_margin_free", free, free is None or abs(free) < MOST_DOLLARS, "dollars, or none"),
        ("vix", vix, vix is None or 0.0 < vix < MOST_POINTS, "over 0, or none"),
        ("size_factor", context.size_factor, 0.0 <= context.size_factor <= 1.0, "0 to 1"),
        ("wanted", proposal.wanted, 0 <= proposal.wanted <= MOST_CONTRACTS, f"0 to {MOST_CONTRACTS} contracts"),
        ("max_loss", terms.max_loss, 0.0 <= terms.max_loss < MOST_DOLLARS, "dollars a contract, 0 or more"),
        ("margin", terms.margin, 0.0 <= terms.margin < MOST_DOLLARS, "dollars a contract, 0 or more"),
        ("spot", proposal.spot, 0.0 < proposal.spot < MOST_POINTS, "points over 0"),
        ("vix", proposal.vix, 0.0 < proposal.vix < MOST_POINTS, "over 0"),
        ("reward_ratio", proposal.reward_ratio, 0.0 < proposal.reward_ratio < inf, "over 0"),
        ("win_rate", proposal.win_rate, 0.0 <= proposal.win_rate <= 1.0, "0 to 1"),
        ("mid_cash", proposal.mid_cash, abs(proposal.mid_cash) < MOST_POINTS, "points"),
        ("natural_cash", proposal.natural_cash, abs(proposal.natural_cash) < MOST_POINTS, "points"),
        ("model_cash", model, model is None or abs(model) < MOST_POINTS, "points, or none"),
        ("least_cash", least, least is None or abs(least) < MOST_POINTS, "points, or none"),
        *(("strike", leg.contract.strike, 0.0 < leg.contract.strike < MOST_POINTS, "points over 0") for leg in legs),
        *(("ratio", leg.ratio, abs(leg.ratio) <= MOST_CONTRACTS, f"{MOST_CONTRACTS} at most") for leg in legs),
    )
    return next((f"{name} {value}: expected {meant}" for name, value, true, meant in checks if not true), None)


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


def describe_verdict(verdict: Verdict) -> dict[str, object]:
    """A verdict as plain values: who answered, what, and the number that it rests on."""
    if isinstance(verdict, Allow):
        return {"rule": verdict.rule, "answer": "allow"}
    row: dict[str, object] = {"rule": verdict.rule, "reason": verdict.reason}
    if isinstance(verdict, Shrink):
        row |= {"answer": "shrink", "contracts": verdict.contracts}
    else:
        row |= {"answer": "deny"}
    return {**row, "limit": verdict.limit, "observed": verdict.observed}


def is_covered(proposal: Proposal, book: Book) -> bool:
    """Whether longs of the position that it adds to cover all that it sells, beside what they cover already."""
    position = book.positions.get(proposal.onto)
    if position is None or not proposal.package.uncovered:
        return False
    added = [Leg(leg.contract, leg.ratio * proposal.wanted) for leg in proposal.package.legs]
    return uncovered((*position.legs, *added)) <= uncovered(position.legs)

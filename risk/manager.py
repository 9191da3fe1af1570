"""The one risk manager: asks every plugin, lets the smallest answer stand, and denies where a plugin cannot answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf, isfinite

from core.book import Book, EntryIntent, Refusal
from core.bus import EventBus
from core.contracts import Leg
from core.events import Event, MarketData, MinutePassed, RiskThreshold, SessionClosed, SessionOpened, Severity
from core.gateway import Gateway
from core.identifiers import intent_fingerprint
from core.journal import Journal, RecordKind
from market.freshness import worth_at_most
from market.vix import UnifiedVIXManager
from risk.breakers import CircuitBreakerPlugin
from risk.drawdown import DrawdownPlugin
from risk.equity import PhaseManager, SteadyEquity
from risk.memory import RiskMemory
from risk.proposal import (
    FAILED,
    UNASKED,
    Decision,
    Deny,
    Opening,
    Proposal,
    RiskContext,
    RiskPlugin,
    Shrink,
    Verdict,
    Wanted,
    describe_verdict,
    settle,
    untrue_of,
)

_CLOCKS_APART = timedelta(minutes=5)
_SURVIVAL = frozenset({"correlation", "concentration", "circuit_breaker", "margin"})
_AT_EACH_STEP = frozenset({"phase", "vix_regime", "freshness", "circuit_breaker", "drawdown", "black_swan"})


class UnifiedRiskManager:
    """Judges proposals, watches events, and says what must be gone."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        book: Book,
        equity: SteadyEquity,
        vix: UnifiedVIXManager,
        memory: RiskMemory,
        plugins: tuple[RiskPlugin, ...],
    ) -> None:
        self._approve = book.mint.claim()
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._equity = equity
        self._vix = vix
        self._memory = memory
        self._plugins = tuple(sorted(plugins, key=lambda plugin: plugin.order))
        self._drawdown = next(plugin for plugin in plugins if isinstance(plugin, DrawdownPlugin))
        self._breaker = next(plugin for plugin in plugins if isinstance(plugin, CircuitBreakerPlugin))
        self._bars = (*(row for row in self._plugins if row is not self._breaker), self._breaker)  # what passes, last
        self._budgets: dict[str, float] = {}
        self._phases: PhaseManager = self._breaker.phases
        self._told: dict[str, Severity] = {}
        self._newest: datetime | None = None
        self._watchers: dict[type[Event] | str, tuple[RiskPlugin, ...]] = {}  # of prices by their ticker
        for event_type in (SessionOpened, MinutePassed, SessionClosed):
            bus.subscribe(event_type, self._on_event, component="risk", critical=True)
        bus.subscribe(MarketData, self._on_event, component="risk", critical=True, tickers=self._priced())

    def context(self, *, looks: bool = True) -> RiskContext:
        """What is known now; ``looks``: with a look at what the account is worth, else by the last one."""
        now, account = self._gateway.now(), self._gateway.account()
        steady = self._look(now) if looks else self._equity.value
        factor = self._drawdown.size_factor(account.equity if steady is None else steady)
        if self._breaker.warned:
            factor /= 2
        return RiskContext(
            now=now,
            account=account if steady is None else replace(account, equity=steady),
            vix=self._vix.reading(now),
            phase=self._phases.phase,
            limits=self._phases.limits,
            book=self._book,
            size_factor=factor,
        )

    def review(self, proposal: Proposal) -> Decision:
        """Ask every plugin; the smallest answer stands; what bound it is journalled."""
        context = self.context()
        untrue = untrue_of(proposal, context)
        decision = settle(proposal, [self._ask(plugin, proposal, context, untrue) for plugin in self._plugins])
        if decision.contracts < proposal.wanted:
            self._journal.record(
                RecordKind.RISK,
                component="risk",
                reason=decision.reason,
                rule=decision.rule,
                severity="denied" if decision.contracts == 0 else "shrunk",
                limit=decision.limit,
                observed=decision.observed,
                strategy=proposal.strategy,
            )
        self._tell_verdicts(proposal, decision)
        if decision.contracts <= 0:
            return decision  # what was approved before keeps its budget
        sized = next((row for row in decision.verdicts if isinstance(row, Shrink) and row.rule == "sizing"), None)
        fingerprint = intent_fingerprint(proposal.strategy, proposal.day, proposal.package)
        self._budgets[fingerprint] = inf if sized is None else sized.limit
        return replace(decision, approved=self._approve(proposal.intent, decision.contracts))

    def bars(self, opening: Opening, strategy: str = "") -> Deny | None:
        """The first rule that denies every such entry, whatever its contracts are; journalled for a strategy."""
        context = self.context(looks=False)  # minutes before a window must not use up a doubtful quote's first look
        found = next((deny for plugin in self._bars if (deny := self._bar(plugin, opening, context))), None)
        if found is not None and strategy:
            self._journal.record(
                RecordKind.RISK,
                component="risk",
                reason=found.reason,
                rule=found.rule,
                severity="denied",
                limit=found.limit,
                observed=found.observed,
                strategy=strategy,
            )
        return found

    def _bar(self, plugin: RiskPlugin, opening: Opening, context: RiskContext) -> Deny | None:
        try:
            return plugin.bars(opening, context)
        except Exception as error:  # fail closed, as in a review
            self._failed(plugin, "bars", error)
            return Deny(plugin.name, f"{FAILED}{type(error).__name__}: {error}")

    def _tell_verdicts(self, proposal: Proposal, decision: Decision) -> None:
        """Every rule's answer to a proposal, in the order of asking."""
        self._journal.record(
            RecordKind.VERDICT,
            component="risk",
            reason=decision.reason,
            strategy=proposal.strategy,
            slot=proposal.slot,
            onto=proposal.onto,
            wanted=proposal.wanted,
            contracts=decision.contracts,
            rule=decision.rule,
            verdicts=[describe_verdict(verdict) for verdict in decision.verdicts],
        )

    def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
        """Whether an entry may stand at its next step: regime, breakers, halts, freshness, and its largest loss there.

        ``brings`` is points a package, a credit positive. Implements ``core.book.EntryJudge``.
        """
        context = self.context()
        others = {name: row for name, row in self._book.pending.items() if row.legs != _legs(entry, contracts)}
        context = replace(context, book=replace(self._book, pending=others))
        proposal = _proposal(entry, contracts, brings, context)
        untrue = untrue_of(proposal, context)
        for plugin in self._plugins:
            verdict = self._ask(plugin, proposal, context, untrue) if plugin.name in _AT_EACH_STEP else None
            if isinstance(verdict, Deny):
                return Refusal.because(verdict)
        most = worth_at_most(entry.package.reversed().legs)
        loss = (most - brings) * entry.package.legs[0].contract.multiplier
        budget = self._budgets.get(intent_fingerprint(entry.strategy, entry.day, entry.package))
        if budget is None:
            return Refusal("not_approved", f"no decision of today approved {entry.strategy}'s package")
        if entry.package.uncovered:
            return None  # it was approved by its stress: what a put's strike could lose was never the plan
        if isfinite(loss) and loss > entry.terms.max_loss and loss * contracts > budget * (1.0 + 1e-9):
            reason = f"at {brings:.2f} it could lose {loss * contracts:.0f}, approved were {budget:.0f}"
            return Refusal("largest_loss", reason, budget, loss * contracts)
        return None

    def _ask(
        self, plugin: RiskPlugin, proposal: Proposal, context: RiskContext, untrue: str | None = UNASKED
    ) -> Verdict:
        verdict = plugin.review(proposal, context, untrue)
        if isinstance(verdict, Deny) and verdict.reason.startswith(FAILED):
            self._journal.record(RecordKind.ERROR, component=plugin.name, reason="review failed", detail=verdict.reason)
        return verdict

    def _failed(self, plugin: RiskPlugin, what: str, error: Exception) -> None:
        detail = f"{type(error).__name__}: {error}"
        self._journal.record(RecordKind.ERROR, component=plugin.name, reason=f"{what} failed", detail=detail)

    # What happens

    def _on_event(self, event: Event) -> None:
        """Let every plugin look that watches such events; one that fails halts entries, and the others look."""
        is_price = isinstance(event, MarketData)
        if not self._is_timely(event):
            return
        if isinstance(event, SessionOpened):
            self._budgets.clear()
        if not is_price:
            self._look(event.time)
        for plugin in self._watching(event):
            try:
                rows = list(plugin.watch(event))
            except Exception as error:  # fail closed: a rule that cannot look must not let anything in
                self._failed(plugin, "watch", error)
                self._bus.halt_entries(f"{plugin.name} failed while watching: {type(error).__name__}: {error}")
                continue
            for row in rows:
                self._report(row)
        if not is_price:
            self._memory.keep()

    def _look(self, now: datetime) -> float | None:
        """What the account is worth; cash that moved is told at once, so that no rule measures by figures of before."""
        value = self._equity.look(now).value
        if moved := self._equity.untold():
            for plugin in self._plugins:
                plugin.cash_moved(moved)
        return value

    def _is_timely(self, event: Event) -> bool:
        """Whether an event is of no time to come: whatever came after it would count as old, and nobody would look.

        A clock that was set back is gone on from.
        """
        now = self._gateway.now()
        if self._newest is not None and self._newest - now > _CLOCKS_APART:
            for plugin in self._plugins:
                plugin.start_anew()
            self._newest = None
        if event.time - now > _CLOCKS_APART:
            return False
        self._newest = now if self._newest is None else max(self._newest, now)
        return True

    def _priced(self) -> frozenset[str] | None:
        """Whose prices a rule looks at, ``None`` for all: most prices are of what no rule is about."""
        looking = [plugin for plugin in self._plugins if plugin.is_watching(MarketData)]
        named = [plugin.tickers for plugin in looking if plugin.tickers is not None]
        return frozenset().union(*named) if len(named) == len(looking) else None

    def _watching(self, event: Event) -> tuple[RiskPlugin, ...]:
        """The plugins that look at such an event, in their order."""
        kind = type(event)
        key = event.ticker if isinstance(event, MarketData) else kind
        found = self._watchers.get(key)
        if found is None:
            ticker = key if isinstance(key, str) else None
            found = tuple(plugin for plugin in self._plugins if plugin.is_watching(kind, ticker))
            self._watchers[key] = found
        return found

    def _report(self, row: RiskThreshold) -> None:
        """Tell a change of severity once; what is true at a minute is acted on whether it was told or not."""
        if row.severity is self._told.get(row.rule, Severity.NORMAL):
            return
        self._told[row.rule] = row.severity
        self._journal.record(
            RecordKind.RISK,
            component="risk",
            reason=f"{row.rule} {row.severity.value}",
            rule=row.rule,
            severity=row.severity.value,
            limit=row.limit,
            observed=row.observed,
            strategy="",
        )
        self._bus.publish(row)

    def wanted(self, now: datetime) -> Iterator[Wanted]:
        """What must be gone at this minute, by the rules in their order; a rule that fails halts entries."""
        for plugin in self._plugins:
            try:
                yield from plugin.wanted(now)
            except Exception as error:  # the other rules' emergencies must be pursued
                self._failed(plugin, "wanted", error)
                self._bus.halt_entries(f"{plugin.name} failed while asked what it wants: {error}")

    def rests(self, now: datetime) -> bool:
        """Whether no rule wants anything gone or is near a limit: small moves may then wait for the next look."""
        return all(plugin.rests for plugin in self._plugins) and not any(True for _ in self.wanted(now))

    @property
    def samples(self) -> bool:
        """Whether a rule takes samples over time of what is held."""
        return any(plugin.samples for plugin in self._plugins)

    @property
    def vix_levels(self) -> tuple[float, ...]:
        """Levels of the VIX at which a rule has to look."""
        return tuple(level for plugin in self._plugins for level in plugin.vix_levels)

    @property
    def locks(self) -> tuple[str, ...]:
        """Why everything is closed and stays so: locks of time, and the drawdown's disabling."""
        return tuple(why for why in (self._breaker.locked, self._drawdown.locked) if why is not None)

    @property
    def phase(self) -> int:
        """The account's phase, 1 to 4."""
        return self._phases.phase

    def drawdown(self, equity: float) -> float:
        """Distance from the equity peak, a fraction."""
        return self._drawdown.drawdown(equity)

    def verify(self) -> tuple[str, ...]:
        """The four plugins that survival rests on are there."""
        names = {plugin.name for plugin in self._plugins}
        return tuple(f"plugin {name} is missing" for name in sorted(_SURVIVAL - names))


def _legs(entry: EntryIntent, contracts: int) -> tuple[Leg, ...]:
    return tuple(Leg(leg.contract, leg.ratio * contracts) for leg in entry.package.legs)


def _proposal(entry: EntryIntent, contracts: int, brings: float, context: RiskContext) -> Proposal:
    """The entry as it would be proposed at this step."""
    return Proposal(
        strategy=entry.strategy,
        day=entry.day,
        package=entry.package,
        terms=entry.terms,
        wanted=contracts,
        mid_cash=entry.mid_cash,
        natural_cash=brings,
        model_cash=entry.model_cash,
        spot=entry.package.legs[0].contract.strike,  # no rule of a step asks for it
        vix=1.0 if context.vix is None else context.vix.value,
        win_rate=0.0,
        reward_ratio=1.0,
        reason=entry.reason,
        parts=entry.plans,
        onto=entry.onto,
        slot=entry.slot,
    )

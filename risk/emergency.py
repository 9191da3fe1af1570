"""An emergency is a wanted state: what must be gone is asked for at every minute until it is gone.

A leg without a quote, a refusal, a full fill that came first: the next minute asks again. Positions go riskiest first,
the executor closes each with its shorts before what hedges them. A box is closed by a person's word alone. When
everything is gone under a lock of time the system is LOCKED, and leaves that state when the lock ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from core.book import Book, OrderDesk, Position
from core.bus import EventBus, do_all
from core.events import (
    Level,
    MarketData,
    MinutePassed,
    RiskThreshold,
    SessionOpened,
    Severity,
)
from core.factory import Manager
from core.journal import Journal, RecordKind
from core.parts import Part, Trait, Urgency
from greeks.stress import StressEngine
from risk.group_risk import line_of
from risk.manager import UnifiedRiskManager
from risk.memory import moment, text_of
from risk.proposal import Scope, Wanted
from state.ledger import SYSTEM_ID
from state.manager import HierarchicalStateManager
from state.tables import SystemState, SystemTrigger

PERSON = "command"
_GREEKS = "greeks_"  # these limits block what is new, judged what is on its way, and close nothing
_STAYS_ABOVE_40 = frozenset({Trait.PUT_SELLING, Trait.COVERED, Trait.HELD_BY_PERSON})
_GOES_ABOVE_40 = frozenset({Trait.SHORT_VOLATILITY, Trait.LOW_VIX_ONLY})


class EmergencyProtocol(Manager):
    """Pursues what risk and people want gone."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        book: Book,
        state: HierarchicalStateManager,
        desk: OrderDesk,
        risk: UnifiedRiskManager,
        engine: StressEngine,
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._book = book
        self._state = state
        self._desk = desk
        self._risk = risk
        self._engine = engine
        self._person_since: datetime | None = None
        self._flying: dict[str, list[str]] = {}
        self._told: set[str] = set()
        desk.judged_by(risk)
        bus.subscribe(MinutePassed, self._on_minute, component="emergency", critical=True)
        bus.subscribe(RiskThreshold, self._on_threshold, component="emergency", critical=True)
        bus.subscribe(MarketData, self._on_quiet, component="emergency", critical=True)
        bus.subscribe(SessionOpened, self._on_quiet, component="emergency", critical=True)

    # What others ask

    def close_all(self, now: datetime) -> None:
        """A person's word: everything goes, boxes too, until nothing is left; a resume is taken only then."""
        self._person_since = self._person_since or now
        self._state.remember(PERSON, {"close_all_since": self._person_since})
        self._pursue(now)

    def person_resumed(self) -> None:
        """The person's emergency is over."""
        self._person_since = None
        self._state.remember(PERSON, {"close_all_since": None})

    @property
    def person_waits(self) -> tuple[str, ...]:
        """What a person's close_all still waits for: positions and entries on their way."""
        return () if self._person_since is None else tuple((*self._book.positions, *self._book.pending))

    def restore(self) -> None:
        """Go on with what the last process pursued. Raises ``ValueError`` for what cannot be true."""
        row = self._state.recall(PERSON)
        if row is not None and not isinstance(row, dict):
            raise ValueError(f"{PERSON}: {text_of(row)}; expected names with values")
        self._person_since = moment(row or {}, "close_all_since")
        locks = self._risk.locks
        if locks and self._person_since is None and self._state.system is SystemState.EMERGENCY:
            self._state.fire_system(SystemTrigger.LOCK, reason="; ".join(locks))  # pursued as before, ended by its rule

    # Pursuing

    def _on_minute(self, event: MinutePassed) -> None:
        self._pursue(event.time)

    def _on_quiet(self, event: MarketData | SessionOpened) -> None:
        """A lock may end while nothing is held and no minute is busy."""
        if self._state.system is SystemState.LOCKED:
            self._settle(event.time, list(self._risk.wanted(event.time)))

    def _on_threshold(self, event: RiskThreshold) -> None:
        """A limit was passed: nothing that is on its way in may still fill."""
        if event.severity in (Severity.BREACH, Severity.EMERGENCY) and not event.rule.startswith(_GREEKS):
            self._desk.cancel_entries(f"{event.rule} {event.severity.value}")

    def _pursue(self, now: datetime) -> None:
        """Ask for everything that is wanted now; asking again is harmless."""
        wants = list(self._risk.wanted(now))
        if self._person_since is not None:
            wants.insert(0, Wanted(PERSON, Scope.ALL, 0.0, 0.0))
        do_all(self._asks(wants))
        self._settle(now, wants)

    def _asks(self, wants: list[Wanted]) -> Iterator[Callable[[], object]]:
        """What is asked for, one after the other: what one of it does is known to the next."""
        if wants:
            yield partial(self._desk.cancel_entries, f"{wants[0].rule} closes")
        self._flying = {
            rule: names for rule, names in self._flying.items() if any(_key(want) == rule for want in wants)
        }
        asked: set[tuple[str, str]] = set()
        for want in wants:
            for position, parts in self._chosen(want):
                fresh = [part.name for part in parts if (position.id, part.name) not in asked]
                asked.update((position.id, name) for name in fresh)
                if fresh:
                    yield partial(self._close, position, want, fresh)

    def _close(self, position: Position, want: Wanted, parts: list[str]) -> None:
        whole = len(parts) == len(position.parts)
        person = want.rule == PERSON
        reason = "a person said close_all" if person else f"{want.observed:.3f} against {want.limit:.3f}"
        rule = PERSON if person else f"risk_{want.rule}"
        self._desk.close(position, rule, reason, urgency=Urgency.FINAL, parts=() if whole else tuple(parts))

    def _chosen(self, want: Wanted) -> Iterator[tuple[Position, tuple[Part, ...]]]:
        """Positions and the parts of them that must go, riskiest first."""
        held = self._by_risk()
        if want.scope is Scope.RISKIEST:
            held = self._one_by_one(want, held)
        for position in held:
            if want.scope is Scope.LOSING and not self.loses(position):
                continue
            parts = tuple(part for part in position.parts if goes(part, want))
            if parts:
                yield position, parts

    def _by_risk(self) -> list[Position]:
        """Held positions, the one first that loses most in the stress (at entry's figure while that is unknown)."""
        losses = {row.position: row.loss for row in self._engine.held().rows if row.known}
        return sorted(self._book.positions.values(), key=lambda row: (-losses.get(row.id, row.max_loss), row.id))

    def _one_by_one(self, want: Wanted, held: list[Position]) -> list[Position]:
        """Those asked for before, and one more where they are not enough: what is on its way out counts as gone."""
        if want.line:
            held = [row for row in held if line_of(row.underlying.ticker) == want.line]
        able = {row.id: row for row in held if any(goes(part, want) for part in row.parts)}
        flying = [name for name in self._flying.get(_key(want), []) if name in able]
        enough = bool(flying) if want.still is None else not want.still(frozenset(flying))
        rest = [name for name in able if name not in flying]
        if not enough and rest:
            flying.append(rest[0])
        self._flying[_key(want)] = flying
        return [able[name] for name in flying]

    def loses(self, position: Position) -> bool:
        """Whether it would close at a loss at today's values; one of which something is unknown counts as losing."""
        row, cash = self._engine.held().of(position.id), position.cash
        return row is None or not row.known or cash is None or cash + row.value - position.fees < 0.0

    def _settle(self, now: datetime, wants: Iterable[Wanted]) -> None:
        """Move the system's state by what is wanted and what is left."""
        whole = [want for want in wants if want.scope is Scope.ALL]
        if not whole:
            self._unlock()
            return
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.EMERGENCY) is None:
            self._state.fire_system(SystemTrigger.EMERGENCY, reason=f"{whole[0].rule} closes everything")
        left = [row.id for row in self._book.positions.values() if any(goes(part, whole[0]) for part in row.parts)]
        if left or self._book.pending:
            self._told.discard(whole[0].rule)
            return
        if whole[0].rule not in self._told:
            self._told.add(whole[0].rule)
            self._tell(whole[0])
        locks = self._risk.locks
        if locks and self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.LOCK) is None:
            self._state.fire_system(SystemTrigger.LOCK, reason="; ".join(locks))

    def _tell(self, want: Wanted) -> None:
        self._journal.record(
            RecordKind.RISK,
            component="emergency",
            reason=f"{want.rule}: everything is closed",
            rule=want.rule,
            severity="reached",
            limit=want.limit,
            observed=want.observed,
            strategy="",
        )

    def _unlock(self) -> None:
        if self._state.system is not SystemState.LOCKED or self._risk.locks:
            return
        self._state.fire_system(SystemTrigger.UNLOCK, reason="every lock has ended")
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.READY) is None:
            self._state.fire_system(SystemTrigger.READY)


def goes(part: Part, want: Wanted) -> bool:
    """Whether a part of a position is among what a rule wants gone."""
    traits = part.terms.traits
    if want.scope is Scope.SHORT_DATED:
        return bool(traits & {Trait.SHORT_DATED, Trait.ENDS_TODAY})
    if want.scope is Scope.SHORT_VOLATILITY:
        return bool(traits & _GOES_ABOVE_40) and not traits & _STAYS_ABOVE_40
    return want.rule == PERSON or Trait.HELD_BY_PERSON not in traits


def _key(want: Wanted) -> str:
    return f"{want.rule} {want.line}"

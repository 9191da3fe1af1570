"""The one bus: typed events, delivered synchronously, in subscription order, first published first delivered.

An event published while another is handled waits until every handler of the first has seen it, so the stack never
grows. A handler that raises is journalled and counted and never stops the others; a critical component that raises
halts new entries. Events that cause each other without end are cut off and their cycle is named.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from core.events import ComponentFailed, EntriesAllowed, EntriesHalted, Event, MarketData, Request
from core.identifiers import event_correlation
from core.journal import BUILD_RANK, Journal, RecordKind

E = TypeVar("E", bound=Event)

DEEPEST_CHAIN: Final = 100
MOST_EFFECTS: Final = 10_000


class EventStormError(RuntimeError):
    """Events cause each other without end; the message names the cycle."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One handler of one type of event, whose it is, and of which tickers it wants the prices (``None``: of all)."""

    event_type: type[Event]
    handler: Callable[[Any], None]
    component: str
    critical: bool
    order: tuple[int, int]
    tickers: frozenset[str] | None = None

    def takes(self, kind: type[Event], ticker: str | None) -> bool:
        """Whether events of a type (and of a ticker, where they are prices) are delivered to it."""
        wanted = ticker is None or self.tickers is None or ticker in self.tickers
        return wanted and issubclass(kind, self.event_type)


@dataclass(frozen=True, slots=True)
class _Cause:
    """A delivered event as the cause of others: its place in the chain back to the root."""

    event: Event
    parent: _Cause | None
    depth: int
    correlation: str


class EventBus:
    """Carries events to whoever subscribed; ``entries_halted`` says why nothing may be opened, ``None`` when it may."""

    def __init__(
        self, journal: Journal, *, deepest_chain: int = DEEPEST_CHAIN, most_effects: int = MOST_EFFECTS
    ) -> None:
        self._journal = journal
        self._deepest_chain = deepest_chain
        self._most_effects = most_effects
        self._subscriptions: list[Subscription] = []
        self._served: dict[Request, Callable[[], object]] = {}
        self._routes: dict[type[Event] | str, tuple[Subscription, ...]] = {}  # prices by their ticker
        self._waiting: deque[tuple[Event, _Cause | None]] = deque()
        self._busy = threading.Lock()
        self._subscribing = threading.Lock()
        self._deliverer: int | None = None
        self._root: Event | None = None
        self._cause: _Cause | None = None
        self._effects = 0
        self._published: dict[type[Event], int] = {}
        self._sequence = 0
        self.errors: dict[str, int] = {}
        self.entries_halted: str | None = None
        journal.correlation_source = self.correlation

    def subscribe(
        self,
        event_type: type[E],
        handler: Callable[[E], None],
        *,
        component: str,
        critical: bool = False,
        tickers: Iterable[str] | None = None,
    ) -> None:
        """Deliver every event of ``event_type`` and its subclasses to ``handler``, after those subscribed before.

        ``critical``: the account's safety rests on the component, and an error in it halts new entries. ``tickers``:
        only these tickers' prices; most of a run's events are prices, and most rules are about one index. Raises
        ``ValueError`` for tickers of events that have none.
        """
        if tickers is not None and event_type is not MarketData:
            raise ValueError(f"tickers: {component} asks for {event_type.__name__}; only MarketData is by ticker")
        rank = BUILD_RANK.get()
        wanted = None if tickers is None else frozenset(tickers)
        with self._subscribing:
            order = (-1 if rank is None else rank, len(self._subscriptions))
            self._subscriptions.append(Subscription(event_type, handler, component, critical, order, wanted))
            self._subscriptions.sort(key=lambda item: item.order)
            self._routes = {}

    def publish(self, event: Event) -> None:
        """Deliver ``event`` now, or after what is being delivered when a handler (or another thread) publishes it.

        An empty correlation id becomes the cause's. Raises ``EventStormError`` in the handler that feeds a storm.
        """
        if not self._busy.acquire(blocking=False):
            self._publish_effect(event)
            return
        try:
            self._deliver_root(event)
        finally:
            self._busy.release()
        while self._waiting and self._busy.acquire(blocking=False):  # another thread's, published as this one ended
            try:
                self._deliver_root(*self._waiting.popleft())
            finally:
                self._busy.release()

    def serve(self, request: Request, handler: Callable[[], object]) -> None:
        """One component does what another needs done before it goes on. Raises ``ValueError`` for a second one."""
        if request in self._served:
            raise ValueError(f"{request.value}: served already; expected one component that does it")
        self._served[request] = handler

    def request(self, request: Request) -> object:
        """Have it done now, within the delivery that is under way; its answer, ``None`` where none serves it."""
        handler = self._served.get(request)
        return None if handler is None else handler()

    def correlation(self) -> str:
        """The correlation id of the event being delivered on this thread; empty outside of a delivery."""
        if self._deliverer != threading.get_ident():
            return ""
        cause = self._cause_now()
        return "" if cause is None else cause.correlation

    def halt_entries(self, reason: str) -> None:
        """Forbid new entries until a person resumes; the first reason stands. Told as ``EntriesHalted``."""
        if self.entries_halted is None:
            self.entries_halted = reason
            self._journal.record(RecordKind.SYSTEM, component="bus", reason=f"new entries halted: {reason}")
            self._tell(EntriesHalted(time=self._journal.now(), correlation=self.correlation(), reason=reason))

    def resume_entries(self) -> None:
        """Allow new entries again, on a person's word. Told as ``EntriesAllowed``."""
        if self.entries_halted is not None:
            self._journal.record(RecordKind.SYSTEM, component="bus", reason="new entries allowed again")
            self.entries_halted = None
            self._tell(EntriesAllowed(time=self._journal.now(), correlation=self.correlation()))

    def _tell(self, event: Event) -> None:
        """Publish the bus's own news: nobody's effect, so that the end of a storm is told as well."""
        if self._deliverer == threading.get_ident():
            self._waiting.append((event, None))
        else:
            self.publish(event)

    @property
    def published(self) -> dict[str, int]:
        """How many events of each type were delivered, by the type's name."""
        return {kind.__name__: count for kind, count in self._published.items()}

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Every subscription, in the order of delivery."""
        return tuple(self._subscriptions)

    def verify(self) -> tuple[str, ...]:
        """Says whether an error already halted new entries."""
        return () if self.entries_halted is None else (f"new entries are halted: {self.entries_halted}",)

    def _deliver_root(self, event: Event, cause: _Cause | None = None) -> None:
        self._deliverer = threading.get_ident()
        self._effects = 0
        try:
            self._deliver(event, cause)
            waiting = self._waiting
            while waiting:
                self._deliver(*waiting.popleft())
        finally:
            self._deliverer = self._root = self._cause = None

    def _deliver(self, event: Event, cause: _Cause | None) -> None:
        kind = type(event)
        self._root, self._cause = event, cause
        key = event.ticker if isinstance(event, MarketData) else kind
        try:
            self._published[kind] += 1
            route = self._routes[key]
        except KeyError:
            self._published.setdefault(kind, 1)
            route = self._route(kind, key)
        for subscription in route:
            try:
                subscription.handler(event)
            except Exception as error:  # isolation: whatever it was, it is journalled, counted and told on the bus
                self._handler_failed(subscription, event, error)

    def _route(self, kind: type[Event], key: type[Event] | str) -> tuple[Subscription, ...]:
        route = self._routes.get(key)
        if route is None:
            ticker = key if isinstance(key, str) else None
            route = tuple(item for item in self._subscriptions if item.takes(kind, ticker))
            self._routes[key] = route
        return route

    def _publish_effect(self, event: Event) -> None:
        if self._deliverer != threading.get_ident():
            self._waiting.append((event, None))
            return
        cause = self._cause_now()
        if cause is None:
            self._waiting.append((event, None))
            return
        self._effects += 1
        if cause.depth >= self._deepest_chain or self._effects > self._most_effects:
            storm = self._describe_storm(event, cause)
            self.halt_entries(storm)
            raise EventStormError(storm)
        if not event.correlation:
            event = replace(event, correlation=cause.correlation)
        self._waiting.append((event, _Cause(event, cause, cause.depth + 1, event.correlation)))

    def _cause_now(self) -> _Cause | None:
        """The event being delivered, as a cause; a root gets its id only here, when it causes something."""
        if self._cause is None and self._root is not None:
            root = self._root
            correlation = root.correlation
            if not correlation:
                self._sequence += 1
                correlation = event_correlation(type(root).__name__, root.time, self._sequence)
            self._cause = _Cause(root, None, 0, correlation)
        return self._cause

    def _describe_storm(self, event: Event, cause: _Cause) -> str:
        chain = [type(event).__name__]
        link: _Cause | None = cause
        while link is not None:
            chain.append(type(link.event).__name__)
            link = link.parent
        cycle = _shortest_cycle(chain)
        path = " -> ".join(reversed(cycle)) if cycle else " -> ".join(reversed(chain[:6]))
        return f"event storm after {self._effects} effects, {cause.depth} deep: {path}"

    def _handler_failed(self, subscription: Subscription, event: Event, error: Exception) -> None:
        component = subscription.component
        self.errors[component] = self.errors.get(component, 0) + 1
        message = f"{type(error).__name__}: {error}"
        self._journal.record(
            RecordKind.ERROR,
            component=component,
            reason=message,
            detail=f"{message}, on {type(event).__name__} at {_where(error)}",
            event=type(event).__name__,
            event_time=event.time,
            critical=subscription.critical,
            errors=self.errors[component],
            where=_where(error),
        )
        if subscription.critical:
            self.halt_entries(f"{component} failed on {type(event).__name__}: {message}")
        if not isinstance(event, ComponentFailed) and not isinstance(error, EventStormError):
            self.publish(
                ComponentFailed(time=event.time, component=component, critical=subscription.critical, error=message)
            )


def do_all(acts: Iterable[Callable[[], object]]) -> None:
    """Do each of some acts, whatever becomes of those before it; then the first failure is raised, and counts the rest.

    One order that the engine refuses to touch must keep no other from its exit.
    """
    failures: list[Exception] = []
    for act in acts:
        try:
            act()
        except Exception as error:  # whatever it was: raised below, when everything else has had its turn
            failures.append(error)
    if len(failures) > 1:
        failures[0].add_note(f"and {len(failures) - 1} more failed beside it")
    if failures:
        raise failures[0]


def _shortest_cycle(chain: list[str]) -> list[str]:
    """Shortest run of names that the chain repeats from its newest end, closed with its first name; empty when none."""
    for length in range(1, len(chain) // 2 + 1):
        if chain[:length] == chain[length : 2 * length]:
            return [*chain[:length], chain[0]]
    return list(chain[:0])


def _where(error: Exception) -> str:
    """File and line where the error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"

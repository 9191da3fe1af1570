"""Entries: asks strategies in their windows, takes proposals to risk and to the desk, and accounts for every one.

An entry is a strategy, a window and a slot (a ticker, the position that it adds to). Each leaves exactly one
``decision`` row a day: a trade when its package was filled, else a skip with the rule that bound and its number. A day
on which the market is closed is a skip too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time

from core.book import Book, EntryIntent, OrderDesk, Refusal
from core.events import EntryWindow, GroupOutcome, OrderGroupFinished
from core.gateway import Gateway, Session
from core.identifiers import correlation_of
from risk.manager import UnifiedRiskManager
from risk.proposal import Proposal
from state.tables import OrderPurpose
from strategies.base import EntryContext, Skip, Strategy, Wait, Window
from strategies.roster import Key, Sent, StrategyRoster
from strategies.tools import MarketAccess

_OPENING = (OrderPurpose.ENTRY, OrderPurpose.ADJUST)
_SIZE_RULES = frozenset(
    {"sizing", "margin", "group_risk", "greeks", "sp500_delta", "debit", "opportunity_budget", "wing"}
)
"""Of one product: the next of the family may fit, its lot is smaller and its strikes are others."""
_PASSING_RULES = frozenset({"freshness", "liquidity", "anomaly", "quotes", "order_rate"})
"""What is so this minute alone, by risk or by the desk: quotes, and what left within this second. The next may do."""


@dataclass(slots=True)
class Waiting:
    """An entry that is looked for until its window closes; ``correlation`` is the id that all of it carries."""

    strategy: Strategy
    key: Key
    day: date
    until: datetime
    correlation: str
    onto: str = ""
    why: Wait | None = None


class Entries:
    """Everything that is looked for or on its way."""

    def __init__(
        self,
        gateway: Gateway,
        book: Book,
        desk: OrderDesk,
        risk: UnifiedRiskManager,
        market: MarketAccess,
        roster: StrategyRoster,
    ) -> None:
        self._gateway = gateway
        self._book = book
        self._desk = desk
        self._risk = risk
        self._market = market
        self._roster = roster
        self.strategies: dict[str, Strategy] = {strategy.name: strategy for strategy in roster.enabled}
        self._waiting: dict[Key, Waiting] = {}
        self._sent: dict[str, Sent] = {}
        self._decisions = roster.decisions
        self._restored: list[Sent] = []
        desk.judged_by(self)

    def restore(self) -> None:
        """Take over what the last process decided, and what it had on its way."""
        self._restored = self._decisions.restore()
        self._sent = {sent.position: sent for sent in self._restored}

    @property
    def waiting(self) -> bool:
        """Whether any entry is looked for."""
        return bool(self._waiting)

    # Looking

    def open_window(self, event: EntryWindow) -> None:
        """A window opened: begin to look for its entries, and for those of every window that opens with it.

        In the order of service, whichever strategy's schedule was called first; what is decided is not looked for.
        """
        strategy, day = self.strategies.get(event.strategy), event.time.date()
        windows = () if strategy is None else strategy.entry_windows()
        opens = next((row.opens for row in windows if row.name == event.window), None)
        for one in list(self.strategies.values()):
            for window in one.entry_windows():
                if window.opens == opens and window.falls_on(day):
                    self._open(one, window, event.time)

    def _open(self, strategy: Strategy, window: Window, now: datetime) -> None:
        for slot in self._slots(strategy, window, now.date()):
            key = Key(strategy.name, window.name, slot)
            if not self._decisions.is_decided(key, now.date()) and key not in self._waiting:
                self._begin(strategy, window, key, now)

    def catch_up(self, now: datetime, *, closed: bool = False) -> None:
        """Live, each minute of a session in which the account is known: no window is missed, none asked twice.

        One that opened before this process could look is opened now, or accounted for once it is over (``closed``: the
        session is); an entry of the process before is decided by what became of its order.
        """
        for sent in list(self._restored):
            filled = self._decisions.outcome(sent) if sent.position in self._sent else False
            if filled is None:
                continue
            self._restored.remove(sent)
            if self._sent.pop(sent.position, None) is not None:
                why = "its order ended unfilled while no process looked"
                self.decide(sent, Skip("filled", sent.reason) if filled else Skip("not_filled", why))
        for strategy in self.strategies.values():
            for window in strategy.entry_windows():
                if window.falls_on(now.date()) and window.opens < now.time():
                    if closed or now.time() > window.closes:
                        self._decide_missed(strategy, window, now)
                    else:
                        self._open(strategy, window, now)

    def _decide_missed(self, strategy: Strategy, window: Window, now: datetime) -> None:
        reason = f"no process could look from {window.opens:%H:%M} to {window.closes:%H:%M}"
        for slot in () if window.onto else self._slots(strategy, window, now.date()):
            key = Key(strategy.name, window.name, slot)
            if not self._decisions.is_decided(key, now.date()) and key not in self._waiting:
                correlation = correlation_of(strategy.name, now.date(), slot)
                self._decide_skip(Waiting(strategy, key, now.date(), now, correlation), Skip("missed", reason))

    def _slots(self, strategy: Strategy, window: Window, day: date) -> tuple[str, ...]:
        """One for each position that the window adds to today where it is for adding to one."""
        if window.onto:
            held = self._book.of_strategy(strategy.name)
            return tuple(position.id for position in held if strategy.takes(window.name, position, day))
        return strategy.slots(window.name)

    def _begin(self, strategy: Strategy, window: Window, key: Key, now: datetime) -> None:
        day, onto = now.date(), key.slot if window.onto else ""
        correlation = self._book.positions[onto].correlation if onto else correlation_of(strategy.name, day, key.slot)
        waiting = Waiting(strategy, key, day, datetime.combine(day, window.closes), correlation, onto)
        skip = _no_session(self._market.calendar.session(day), window, day) or self._roster.barred(strategy.name)
        if skip is not None:
            self._decide_skip(waiting, skip)
            return
        self._waiting[key] = waiting
        self._look(waiting, now)

    def look(self, now: datetime) -> None:
        """Once a minute, in the order of service: look again for what was not there yet, decide what is too late."""
        served = {name: place for place, name in enumerate(self.strategies)}
        for waiting in sorted(self._waiting.values(), key=lambda row: served[row.key.strategy]):
            if now > waiting.until and waiting.why is not None:
                self._decide_skip(waiting, Skip(waiting.why.rule, waiting.why.reason))
            else:
                self._look(waiting, now)

    def _look(self, waiting: Waiting, now: datetime) -> None:
        """Let the strategy look; one that fails has decided: no entry, and it is suspended."""
        barred = self._roster.barred(waiting.strategy.name)
        if barred is not None:
            self._decide_skip(waiting, barred)
            return
        first = waiting.strategy.after
        if first and any(key.strategy == first for key in self._waiting):
            waiting.why = Wait("order", f"{first} is decided first")
            return
        try:
            self._ask(waiting, now)
        except Exception as error:  # a strategy's error must never cost the row of its decision or the other strategies
            self._roster.suspend(waiting.strategy.name, "failed while looking", error)
            self._decide_skip(waiting, Skip("strategy_error", f"{type(error).__name__}: {error}"))

    def _ask(self, waiting: Waiting, now: datetime) -> None:
        """Ask the strategy, contract sizes from large to small; decide, or go on waiting."""
        session = self._market.calendar.session(waiting.day)
        if session is None:
            return
        if waiting.onto and waiting.onto not in self._book.positions:
            self._decide_skip(waiting, Skip("no_position", f"{waiting.onto} is not open any more"))
            return
        context = self._context(now, session, waiting.key, waiting.onto)
        too_large: list[Skip] = []
        for rank in range(waiting.strategy.sizes(context)):
            answer = waiting.strategy.propose(context, rank)
            if isinstance(answer, Wait):
                waiting.why = answer
                if now >= waiting.until:
                    self._decide_skip(waiting, Skip(answer.rule, answer.reason))
                return
            denied = self._denied(waiting, answer)
            if denied is None:
                return
            if denied.rule in _PASSING_RULES and now < waiting.until:
                waiting.why = Wait(denied.rule, denied.reason)
                self._waiting[waiting.key] = waiting
                return
            if denied.rule not in _SIZE_RULES:
                self._decide_skip(waiting, _join(too_large, denied))
                return
            too_large.append(denied)
        self._decide_skip(waiting, _join(too_large[:-1], too_large[-1]))

    def _denied(self, waiting: Waiting, answer: Proposal | Skip) -> Skip | None:
        """Why a look ends without an order, of one too large with its ticker; ``None`` when the entry is on its way."""
        if isinstance(answer, Skip):
            return answer
        denied = self.take_up(waiting.key, waiting.day, answer, waiting.correlation)
        if denied is None or denied.rule not in _SIZE_RULES:
            return denied
        return replace(denied, reason=f"{answer.package.underlying.ticker}: {denied.reason}")

    def _context(self, now: datetime, session: Session, key: Key, onto: str) -> EntryContext:
        return EntryContext(
            now=now,
            session=session,
            vix=self._market.vix.reading(now),
            equity=self._gateway.account().equity,
            phase=self._risk.phase,
            window=key.window,
            slot=key.slot,
            position=self._book.positions.get(onto),
        )

    def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
        """The strategy's word on an entry at a step of its walk."""
        now, strategy = self._gateway.now(), self.strategies.get(entry.strategy)
        session = self._market.calendar.session(now.date())
        if strategy is None or session is None:
            return Refusal("market_closed", f"no {entry.strategy} or no session on {now.date()}")
        context = self._context(now, session, Key(entry.strategy, "", entry.slot), entry.onto)
        skip = self._roster.barred(entry.strategy) or strategy.still_wanted(entry, brings, context)
        return None if skip is None else Refusal.because(skip)

    # Sending and deciding

    def take_up(self, key: Key, day: date, proposal: Proposal, correlation: str) -> Skip | None:
        """The roster's word, risk's, then the desk's; ``None`` when the entry is on its way."""
        barred = self._roster.barred(key.strategy)
        if barred is not None:
            return barred
        decision = self._risk.review(proposal)
        if decision.approved is None:
            return Skip.because(decision)
        self._waiting.pop(key, None)
        sent = Sent(proposal.onto, key, day, decision.contracts, correlation, proposal.reason, proposal.spot)
        self._decisions.sending(sent)
        position = self._desk.open(decision.approved, correlation)
        if isinstance(position, Refusal):
            self._decisions.taken_back(key)
            return Skip.because(position)
        self._market.chains.watch(position, [leg.contract for leg in proposal.package.legs])
        self._sent[position] = replace(sent, position=position)
        self._decisions.sending(self._sent[position])
        return None

    def finished(self, event: OrderGroupFinished) -> tuple[Sent, Skip] | None:
        """An order group is over: the entry that it was for, and what became of it (``filled`` where it did)."""
        sent = self._sent.get(event.position) if OrderPurpose(event.purpose) in _OPENING else None
        if sent is None:
            return None
        del self._sent[event.position]
        self._market.chains.unwatch(sent.key.user)
        if event.outcome is GroupOutcome.FILLED:
            return sent, Skip("filled", sent.reason)
        if event.position not in self._book.positions:
            self._market.chains.unwatch(event.position)
        if event.refusal is not None:
            return sent, Skip.because(event.refusal)
        reason = event.reason or event.outcome.value
        return sent, Skip("not_filled", reason, event.limit, event.natural)

    def decide(self, sent: Sent, found: Skip) -> None:
        """Account for an entry that was sent."""
        filled = found.rule == "filled"
        contracts = sent.contracts if filled else None
        self._record(sent.key, sent.day, sent.correlation, found, contracts, sent.spot)

    def _decide_skip(self, waiting: Waiting, skip: Skip) -> None:
        self._waiting.pop(waiting.key, None)
        self._market.chains.unwatch(waiting.key.user)
        spot = self._gateway.tick("SPX")
        price = None if spot is None else spot.price
        self._record(waiting.key, waiting.day, waiting.correlation, skip, None, price)

    def _record(
        self, key: Key, day: date, correlation: str, skip: Skip, contracts: int | None, spot: float | None
    ) -> None:
        reading = self._market.vix.reading(self._gateway.now())
        row: dict[str, object] = {
            "reason": skip.reason,
            "correlation": correlation,
            "strategy": key.strategy,
            "window": key.window,
            "slot": key.slot,
            "day": day,
            "outcome": "skip" if contracts is None else "trade",
            "rule": skip.rule,
            "limit": skip.limit,
            "observed": skip.observed,
            "vix": None if reading is None else reading.value,
            "spot": spot,
            "contracts": contracts,
        }
        self._decisions.decide(key, day, row)

    # Ends

    def close_session(self) -> None:
        """The session closed: what still looks has found nothing."""
        for waiting in list(self._waiting.values()):
            why = waiting.why or Wait("session_closed", "the session closed")
            self._decide_skip(waiting, Skip(why.rule, why.reason))

    def finish(self, now: datetime) -> list[tuple[Sent, Skip]]:
        """The run is over: decide what still waits; what is on its way, and that it is too late for it."""
        for waiting in list(self._waiting.values()):
            self._decide_skip(waiting, Skip("run_ended", "the run ended within the window"))
        skip = Skip("run_ended", f"the run ended at {now} before the entry was filled")
        ended = [(sent, skip) for sent in self._sent.values()]
        self._sent.clear()
        return ended

    def decide_unseen(self, days: Iterable[date]) -> None:
        """Entry days whose window never came: the market was closed, or the run ended first."""
        for day in days:
            for strategy in self.strategies.values():
                for window in strategy.entry_windows():
                    slots = () if window.onto or not window.falls_on(day) else strategy.slots(window.name)
                    for slot in slots:
                        self._decide_if_unseen(strategy, Key(strategy.name, window.name, slot), day)

    def _decide_if_unseen(self, strategy: Strategy, key: Key, day: date) -> None:
        if self._decisions.is_decided(key, day):
            return
        correlation = correlation_of(strategy.name, day, key.slot)
        waiting = Waiting(strategy, key, day, datetime.combine(day, time()), correlation)
        if self._market.calendar.session(day) is None:
            self._decide_skip(waiting, Skip("market_closed", f"the market is closed on {day}"))
        else:
            self._decide_skip(waiting, Skip("no_data", f"no prices came on {day}"))


def _no_session(session: Session | None, window: Window, day: date) -> Skip | None:
    if session is None:
        return Skip("market_closed", f"the market is closed on {day}")
    if datetime.combine(day, window.opens) >= session.closes_at:
        return Skip("market_closed", f"the market closes at {session.closes_at:%H:%M}")
    return None


def _join(before: list[Skip], last: Skip) -> Skip:
    """One reason out of those of every size that was tried; the last one's rule and numbers."""
    reason = "; ".join([*(row.reason for row in before), last.reason])
    return Skip(last.rule, reason, last.limit, last.observed)

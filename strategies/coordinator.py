"""Runs the strategies: asks them in their windows, takes their proposals to risk and to the desk, manages what is held.

Every strategy and entry day leaves exactly one ``decision`` row in the journal: a trade when its package was filled,
else a skip with the rule that bound and its number. A day on which the market is closed is a skip too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from core.book import Book, EntryIntent, OrderDesk, Position, Refusal
from core.bus import EventBus
from core.events import (
    ChangeKind,
    DeadlineReached,
    EntryWindow,
    GroupOutcome,
    MinutePassed,
    OrderGroupFinished,
    PositionChanged,
    SessionClosed,
)
from core.gateway import Gateway, Session
from core.journal import Journal, RecordKind
from market.chains import current_quotes, package_price
from risk.manager import UnifiedRiskManager
from risk.proposal import Proposal
from strategies.base import Action, Close, EntryContext, HoldContext, Roll, Skip, Strategy, Wait, Window
from strategies.roster import MarketAccess, StrategyRoster

_REOPEN_WITHIN = timedelta(minutes=15)
_SIZE_RULES = frozenset({"sizing", "margin", "group_risk", "greeks"})


@dataclass(slots=True)
class _Waiting:
    """A strategy that looks for an entry until its window closes."""

    strategy: Strategy
    day: date
    until: datetime
    correlation: str
    why: Wait | None = None


@dataclass(slots=True)
class _Rolling:
    """A position that is being closed to open another; ``ended`` and ``since``: how and when it went."""

    position: Position
    proposal: Proposal
    reason: str
    ended: ChangeKind | None = None
    since: datetime | None = None

    @property
    def user(self) -> str:
        """Under which name the new package's contracts are watched until it is a position."""
        return f"{self.position.id} roll"


@dataclass(frozen=True, slots=True)
class _Sent:
    """An entry on its way, to be decided by what becomes of it; ``rolled`` names what it takes the place of."""

    strategy: str
    day: date
    proposal: Proposal
    contracts: int
    correlation: str
    rolled: _Rolling | None = None


class StrategyCoordinator:
    """The one place that runs strategies."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        book: Book,
        desk: OrderDesk,
        risk: UnifiedRiskManager,
        market: MarketAccess,
        roster: StrategyRoster,
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._desk = desk
        self._risk = risk
        self._market = market
        self._strategies = {strategy.name: strategy for strategy in roster.enabled}
        self._waiting: dict[str, _Waiting] = {}
        self._sent: dict[str, _Sent] = {}
        self._rolls: dict[str, _Rolling] = {}
        self._decided: dict[str, set[date]] = {}
        desk.judged_by(self)
        bus.subscribe(EntryWindow, self._on_window, component="coordinator")
        bus.subscribe(MinutePassed, self._on_minute, component="coordinator", critical=True)
        bus.subscribe(DeadlineReached, self._on_deadline, component="coordinator", critical=True)
        bus.subscribe(OrderGroupFinished, self._on_group_finished, component="coordinator")
        bus.subscribe(PositionChanged, self._on_position_changed, component="coordinator")
        bus.subscribe(SessionClosed, self._on_session_closed, component="coordinator")

    @property
    def is_active(self) -> bool:
        """Whether minutes matter: something is held, ordered or waited for."""
        held = self._book.positions or self._book.shares
        return bool(self._waiting or held or self._rolls or self._desk.working)

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies that run, by name."""
        return tuple(self._strategies[name] for name in sorted(self._strategies))

    # Entries

    def _on_window(self, event: EntryWindow) -> None:
        strategy = self._strategies.get(event.strategy)
        if strategy is None or event.time.date() in self._decided.get(event.strategy, set()):
            return
        window = next((row for row in strategy.entry_windows() if row.name == event.window), None)
        if window is None:
            return
        day = event.time.date()
        correlation = event.correlation or f"{strategy.name}-{day:%Y%m%d}"
        until = datetime.combine(day, window.closes)
        waiting = _Waiting(strategy, day, until, correlation)
        session = self._market.calendar.session(day)
        skip = self._no_session(session, window, day)
        if skip is not None:
            self._decide_skip(waiting, skip)
            return
        self._waiting[strategy.name] = waiting
        self._look(waiting, event.time)

    def _no_session(self, session: Session | None, window: Window, day: date) -> Skip | None:
        if session is None:
            return Skip("market_closed", f"the market is closed on {day}")
        if datetime.combine(day, window.opens) >= session.closes_at:
            return Skip("market_closed", f"the market closes at {session.closes_at:%H:%M}")
        return None

    def _look(self, waiting: _Waiting, now: datetime) -> None:
        """Let the strategy look; one that fails has decided: no entry, and its error is told."""
        try:
            self._ask(waiting, now)
        except Exception as error:  # a strategy's error must cost one entry, never the row or the other strategies
            detail = f"{type(error).__name__}: {error}"
            name = waiting.strategy.name
            self._journal.record(RecordKind.ERROR, component=name, reason="failed while looking", detail=detail)
            self._decide_skip(waiting, Skip("strategy_error", detail))

    def _ask(self, waiting: _Waiting, now: datetime) -> None:
        """Ask the strategy, contract sizes from large to small; decide, or go on waiting."""
        session = self._market.calendar.session(waiting.day)
        if session is None:
            return
        context = self._context(now, session)
        too_large: list[Skip] = []
        for rank in range(waiting.strategy.family_size):
            answer = waiting.strategy.propose(context, rank)
            if isinstance(answer, Wait):
                waiting.why = answer
                if now >= waiting.until:
                    self._decide_skip(waiting, Skip(answer.rule, answer.reason))
                return
            if isinstance(answer, Skip):
                self._decide_skip(waiting, _join(too_large, answer))
                return
            denied = self._take_up(waiting, answer)
            if denied is None:
                return
            if denied.rule not in _SIZE_RULES:
                self._decide_skip(waiting, denied)
                return
            ticker = answer.package.underlying.ticker
            too_large.append(Skip(denied.rule, f"{ticker}: {denied.reason}", denied.limit, denied.observed))
        self._decide_skip(waiting, _join(too_large[:-1], too_large[-1]))

    def _context(self, now: datetime, session: Session) -> EntryContext:
        equity = self._gateway.account().equity
        return EntryContext(now, session, self._market.vix.reading(now), equity, self._risk.phase)

    def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
        """The strategy's word on an entry at a step of its walk."""
        now, strategy = self._gateway.now(), self._strategies.get(entry.strategy)
        session = self._market.calendar.session(now.date())
        if strategy is None or session is None:
            return Refusal("market_closed", f"no {entry.strategy} or no session on {now.date()}")
        skip = strategy.still_wanted(entry, brings, self._context(now, session))
        return None if skip is None else Refusal(skip.rule, skip.reason, skip.limit, skip.observed)

    def _take_up(self, waiting: _Waiting, proposal: Proposal) -> Skip | None:
        """Risk's word, then the desk's; ``None`` when the entry is on its way."""
        decision = self._risk.review(proposal)
        if decision.contracts <= 0:
            return Skip.because(decision)
        self._waiting.pop(proposal.strategy, None)
        position = self._desk.open(proposal.intent, decision.contracts, waiting.correlation)
        if isinstance(position, Refusal):
            return Skip.because(position)
        self._market.chains.watch(position, [leg.contract for leg in proposal.package.legs])
        self._sent[position] = _Sent(proposal.strategy, waiting.day, proposal, decision.contracts, waiting.correlation)
        return None

    def _decide_skip(self, waiting: _Waiting, skip: Skip) -> None:
        name = waiting.strategy.name
        self._waiting.pop(name, None)
        self._market.chains.unwatch(name)
        spot = self._gateway.tick("SPX")
        self._record(
            name, waiting.day, waiting.correlation, skip, outcome="skip", contracts=None,
            spot=None if spot is None else spot.price,
        )  # fmt: skip

    def _record(
        self, strategy: str, day: date, correlation: str, skip: Skip, *, outcome: str, contracts: int | None,
        spot: float | None,
    ) -> None:  # fmt: skip
        self._decided.setdefault(strategy, set()).add(day)
        reading = self._market.vix.reading(self._gateway.now())
        self._journal.record(
            RecordKind.DECISION,
            component="coordinator",
            reason=skip.reason,
            correlation=correlation,
            strategy=strategy,
            day=day,
            outcome=outcome,
            rule=skip.rule,
            limit=skip.limit,
            observed=skip.observed,
            vix=None if reading is None else reading.value,
            spot=spot,
            contracts=contracts,
        )

    def _on_group_finished(self, event: OrderGroupFinished) -> None:
        sent = self._sent.pop(event.position, None)
        if sent is None:
            return
        self._market.chains.unwatch(sent.strategy)
        filled = event.outcome is GroupOutcome.FILLED
        if filled:
            skip = Skip("filled", sent.proposal.reason)
        else:
            ended = event.refusal or Refusal(
                "not_filled", event.reason or event.outcome.value, event.limit, event.natural
            )
            skip = Skip(ended.rule, ended.reason, ended.limit, ended.observed)
            self._market.chains.unwatch(event.position)
        if sent.rolled is not None:
            into = event.position if filled else None
            self._record_roll(sent.rolled, skip, into=into, contracts=sent.contracts if filled else None)
            return
        self._record(
            sent.strategy, sent.day, sent.correlation, skip, outcome="trade" if filled else "skip",
            contracts=sent.contracts if filled else None, spot=sent.proposal.spot,
        )  # fmt: skip

    def _on_position_changed(self, event: PositionChanged) -> None:
        if event.kind is not ChangeKind.OPENED and event.position not in self._book.positions:
            self._market.chains.unwatch(event.position)
            rolling = self._rolls.get(event.position)
            if rolling is not None:
                rolling.ended, rolling.since = event.kind, event.time

    # What is held

    def _on_minute(self, event: MinutePassed) -> None:
        for waiting in list(self._waiting.values()):
            if event.time > waiting.until and waiting.why is not None:
                self._decide_skip(waiting, Skip(waiting.why.rule, waiting.why.reason))
            else:
                self._look(waiting, event.time)
        self._desk.advance(event.time)
        for rolling in [row for row in self._rolls.values() if row.ended is not None]:
            self._go_on_with(rolling, event.time)
        self._manage(event.time)

    def _on_deadline(self, event: DeadlineReached) -> None:
        self._manage(event.time)

    def _manage(self, now: datetime) -> None:
        session = self._market.calendar.session(now.date())
        if session is None:
            return
        for position in list(self._book.positions.values()):
            strategy = self._strategies.get(position.strategy)
            if strategy is None:
                continue
            try:
                action = strategy.manage(position, self._holding(position, now, session))
            except Exception as error:  # a strategy's error must not keep the others from their exits
                if self._bus.entries_halted is None:  # told once: the rest of the account may need a person
                    detail = f"{type(error).__name__}: {error}"
                    row = {"component": strategy.name, "reason": f"failed while managing {position.id}"}
                    self._journal.record(RecordKind.ERROR, **row, detail=detail)
                    self._bus.halt_entries(f"{strategy.name} failed while managing {position.id}: {detail}")
                continue
            for one in action if isinstance(action, tuple) else (action,):
                self._do(position, one)

    def _holding(self, position: Position, now: datetime, session: Session) -> HoldContext:
        tick = self._gateway.tick(position.underlying.price_key)
        values = {part.name: self._market.chains.value_of(part) for part in position.parts}
        return HoldContext(now, session, values, None if tick is None else tick.price)

    def _do(self, position: Position, action: Action) -> None:
        if isinstance(action, Close):
            self._drop_roll(position.id, Skip(action.rule, action.reason))
            self._desk.close(position, action.rule, action.reason, action.urgency, action.parts)
        elif isinstance(action, Roll):
            self._roll(position, action)

    # Rolling: close, then open another in its place

    def _roll(self, position: Position, action: Roll) -> None:
        rolling = self._rolls[position.id] = _Rolling(position, action.proposal, action.reason)
        self._market.chains.watch(rolling.user, [leg.contract for leg in action.proposal.package.legs])
        self._desk.close(position, "roll", action.reason)

    def _drop_roll(self, position: str, why: Skip) -> None:
        rolling = self._rolls.pop(position, None)
        if rolling is not None:
            self._market.chains.unwatch(rolling.user)
            self._record_roll(rolling, why)

    def _go_on_with(self, rolling: _Rolling, now: datetime) -> None:
        """The old package is gone: open the new one unless something forbids it; its quotes may take a while."""
        kept = self._reopen(rolling)
        if kept is not None and kept.rule == "quotes" and rolling.since and now - rolling.since < _REOPEN_WITHIN:
            return
        if kept is None:
            del self._rolls[rolling.position.id]
            self._market.chains.unwatch(rolling.user)
        else:
            self._drop_roll(rolling.position.id, kept)

    def _reopen(self, rolling: _Rolling) -> Skip | None:
        """Why the new package is not opened; ``None`` when it is on its way."""
        old, package = rolling.position, rolling.proposal.package
        if rolling.ended is not ChangeKind.CLOSED:
            return Skip("not_closed_by_us", f"{old.id} was {rolling.ended}")
        result = next(trade.profit for trade in reversed(self._book.trades) if trade.position == old.id)
        if result is None:
            return Skip("rolling_a_loser", f"nobody knows what {old.id} was closed at")
        if result < 0:
            return Skip("rolling_a_loser", f"{old.id} was closed at a loss of {-result:.2f}", 0.0, result)
        price = package_price(package.legs, current_quotes(self._market.chains, package))
        if price is None:
            return Skip("quotes", "a leg of the new package has no quote to trade at")
        proposal = replace(rolling.proposal, mid_cash=price.mid, natural_cash=price.natural)
        decision = self._risk.review(proposal)
        if decision.contracts <= 0:
            return Skip.because(decision)
        position = self._desk.open(proposal.intent, decision.contracts, old.correlation)
        if isinstance(position, Refusal):
            return Skip.because(position)
        self._market.chains.watch(position, [leg.contract for leg in package.legs])
        self._sent[position] = _Sent(
            proposal.strategy, proposal.day, proposal, decision.contracts, old.correlation, rolling
        )
        return None

    def _record_roll(
        self, rolling: _Rolling, why: Skip, *, into: str | None = None, contracts: int | None = None
    ) -> None:
        self._journal.record(
            RecordKind.ROLL,
            component="coordinator",
            reason=rolling.reason if into is not None else why.reason,
            correlation=rolling.position.correlation,
            strategy=rolling.position.strategy,
            day=self._gateway.now().date(),
            position=rolling.position.id,
            into=into,
            outcome="closed_only" if into is None else "rolled",
            rule=why.rule,
            limit=why.limit,
            observed=why.observed,
            contracts=contracts,
        )

    def _on_session_closed(self, event: SessionClosed) -> None:
        for waiting in list(self._waiting.values()):
            why = waiting.why or Wait("session_closed", "the session closed")
            self._decide_skip(waiting, Skip(why.rule, why.reason))
        for name in list(self._rolls):  # the strategy asks again in the next session where it still holds
            self._drop_roll(name, Skip("session_closed", "the session closed before the new package was sent"))
        account = self._gateway.account()
        self._journal.record(
            RecordKind.EQUITY,
            component="coordinator",
            reason="session closed",
            day=event.day,
            equity=event.equity,
            cash=account.cash,
            drawdown=self._risk.drawdown(event.equity),
            phase=self._risk.phase,
            positions=len(self._book.positions),
            margin_used=sum(position.margin for position in self._book.positions.values()),
            shares={row.ticker: row.quantity for row in self._book.shares.values()},
        )

    def finish(self, now: datetime, days: Iterable[date]) -> None:
        """The run is over: decide what still waits, so that none of its entry days is without a row."""
        for waiting in list(self._waiting.values()):
            self._decide_skip(waiting, Skip("run_ended", "the run ended within the window"))
        for sent in list(self._sent.values()):
            skip = Skip("run_ended", f"the run ended at {now} before the entry was filled")
            if sent.rolled is not None:
                self._record_roll(sent.rolled, skip)
                continue
            self._record(
                sent.strategy, sent.day, sent.correlation, skip, outcome="skip", contracts=None,
                spot=sent.proposal.spot,
            )  # fmt: skip
        self._sent.clear()
        for day in days:
            for strategy in self.strategies:
                windows = [row for row in strategy.entry_windows() if day.weekday() in row.weekdays]
                if windows and day not in self._decided.get(strategy.name, set()):
                    self._decide_unseen(strategy, day)

    def _decide_unseen(self, strategy: Strategy, day: date) -> None:
        """An entry day whose window never came: the market was closed, or the run ended first."""
        waiting = _Waiting(strategy, day, datetime.combine(day, time()), f"{strategy.name}-{day:%Y%m%d}")
        if self._market.calendar.session(day) is None:
            self._decide_skip(waiting, Skip("market_closed", f"the market is closed on {day}"))
        else:
            self._decide_skip(waiting, Skip("no_data", f"no prices came on {day}"))

    def position_of(self, name: str) -> Position | None:
        """An open position by name."""
        return self._book.positions.get(name)

    def verify(self) -> tuple[str, ...]:
        """What the strategies say, and that one is there at all."""
        problems = [problem for strategy in self._strategies.values() for problem in strategy.verify()]
        return tuple(problems) if self._strategies else ("no strategy is enabled",)


def _join(before: list[Skip], last: Skip) -> Skip:
    """One reason out of those of every size that was tried; the last one's rule and numbers."""
    reason = "; ".join([*(row.reason for row in before), last.reason])
    return Skip(last.rule, reason, last.limit, last.observed)

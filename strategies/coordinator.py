"""Runs the strategies: their entries (``strategies/entries.py``), what they hold, and what takes the place of what.

A strategy's answers about what it holds are carried out here: parts close, parts are added, parts are rolled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial

from core.book import Book, OrderDesk, Position
from core.bus import EventBus, do_all
from core.events import (
    ChangeKind,
    DeadlineReached,
    EntryWindow,
    GroupOutcome,
    MinutePassed,
    OrderGroupFinished,
    PositionChanged,
    RestEnded,
    SessionClosed,
)
from core.factory import Manager
from core.gateway import Gateway, Session
from core.journal import Journal, RecordKind
from core.parts import added
from core.settings.fields import MarketSettings
from market.chains import current_quotes, package_price
from market.vix import VIX
from risk.emergency import EmergencyProtocol
from risk.manager import UnifiedRiskManager
from state.tables import OrderPurpose
from strategies.base import Action, Add, Close, Hold, HoldContext, Roll, Skip, Strategy
from strategies.entries import Entries
from strategies.exits import ContractEnds, StopGuard, last_resort
from strategies.rests import Bands, HeldLooks, Rest, band, is_far, is_within, shared
from strategies.roster import ROLLED, Key, Rolling, Sent, StrategyRoster
from strategies.tools import MarketAccess

_REOPEN_WITHIN, _MINUTE = timedelta(minutes=15), timedelta(minutes=1)


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
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._desk = desk
        self._risk = risk
        self._market = market
        self._roster = roster
        self._bus = bus
        self._orphans: set[str] = set()
        self._entries = Entries(gateway, book, desk, risk, market, roster)
        self._strategies = self._entries.strategies
        self._stops = StopGuard(gateway, market.marks)
        self._ends = ContractEnds(gateway, market.calendar, market.marks)
        self.looks = HeldLooks(gateway, market.greeks, self._ends, market.settings)
        self._rolls: dict[tuple[str, ...], Rolling] = {}
        self._replacing: dict[Key, Rolling] = {}
        self._added: dict[Key, date] = {}
        self._failing: set[str] = set()
        bus.subscribe(EntryWindow, self._entries.open_window, component="coordinator")
        bus.subscribe(MinutePassed, self._on_minute, component="coordinator", critical=True)
        bus.subscribe(RestEnded, self._on_rest_ended, component="coordinator", critical=True)
        bus.subscribe(DeadlineReached, self._on_deadline, component="coordinator", critical=True)
        bus.subscribe(OrderGroupFinished, self._on_group_finished, component="coordinator")
        bus.subscribe(PositionChanged, self._on_position_changed, component="coordinator")
        bus.subscribe(SessionClosed, self._on_session_closed, component="coordinator")

    @property
    def is_active(self) -> bool:
        """Whether minutes matter: something is held, ordered or waited for."""
        held = self._book.positions or self._book.shares
        return bool(self._entries.waiting or held or self._rolls or self._desk.working)

    @property
    def pursues(self) -> bool:
        """Whether anything is on its way or waited for: until it is there, each minute counts."""
        book = self._book
        way = self._entries.waiting or self._rolls or self._desk.working
        return bool(way or book.pending or book.shares or book.blocked or book.doubted)

    @property
    def rests(self) -> tuple[Rest, ...] | None:
        """Until when and where nothing of what is held can become due; ``None`` while something of it may be."""
        return self.looks.all_of(self._book.positions.values())

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies that run, in the order of service."""
        return tuple(self._strategies.values())

    def stand_in(self, strategy: Strategy) -> None:
        """Put a made-up strategy in the place of the rows: risk is tried by what it is offered."""
        self._strategies.clear()
        self._strategies[strategy.name] = strategy
        self._roster.enabled = (strategy,)

    def restore(self) -> None:
        """Take over from the last process what it decided and what it had on its way, before orders are looked at."""
        self._entries.restore()
        if self._gateway.is_live():  # for `run.py status`, which has the store alone
            said, names = f"runs {', '.join(self._strategies)}", list(self._strategies)
            self._journal.record(RecordKind.SYSTEM, component="coordinator", reason=said, strategies=names)

    def catch_up(self, now: datetime, *, closed: bool = False) -> None:
        """Live, once a minute of a session (``closed``: at its end): every entry of the day gets its one row."""
        self._entries.catch_up(now, closed=closed)

    def after_close(self, now: datetime) -> None:
        """Live, outside of a session: a process that started after the day's close accounts for its windows too."""
        session = self._market.calendar.session(now.date())
        if session is not None and now >= session.closes_at:
            self._entries.catch_up(now, closed=True)

    @property
    def managing(self) -> tuple[Strategy, ...]:
        """The strategies that run, and those that do not but hold something."""
        held = {position.strategy for position in self._book.positions.values()}
        return (*self.strategies, *(row for name, row in self._roster.disabled.items() if name in held))

    # What happens

    def _on_minute(self, event: MinutePassed) -> None:
        """An order that cannot be moved, or a roll that fails, keeps nothing that is held from being looked at."""
        now = event.time
        look, rolls = partial(self._entries.look, now), partial(self._reopen_due, now)
        do_all((look, partial(self._desk.advance, now), rolls, partial(self._manage, now)))

    def _reopen_due(self, now: datetime) -> None:
        for rolling in [row for row in self._rolls.values() if row.ended is not None]:
            self._go_on_with(rolling, now)

    def _on_rest_ended(self, event: RestEnded) -> None:
        self._manage(event.time)

    def _on_deadline(self, event: DeadlineReached) -> None:
        for position in self._book.of_strategy(event.strategy):
            self.looks.forget(position.id)
        self._manage(event.time)

    def _on_group_finished(self, event: OrderGroupFinished) -> None:
        for rolling in self._rolls.values():
            ours = rolling.position.id == event.position and event.purpose in (OrderPurpose.EXIT, OrderPurpose.UNWIND)
            if ours and rolling.is_gone(self._book, exited=event.outcome is GroupOutcome.FILLED):
                rolling.by_us, rolling.since = True, event.time
                rolling.ended = rolling.ended or ChangeKind.CLOSED
        found = self._entries.finished(event)
        if found is not None:
            self._account(*found)

    def _account(self, sent: Sent, found: Skip) -> None:
        """One row for an entry that was sent: of a roll where it took the place of something, else a decision."""
        rolling = self._replacing.pop(sent.key, None)
        if rolling is None:
            self._entries.decide(sent, found)
            return
        self._roster.decisions.taken_back(sent.key)
        self._record_roll(rolling, found, sent if found.rule == "filled" else None)

    def _on_position_changed(self, event: PositionChanged) -> None:
        if event.kind is ChangeKind.OPENED:
            return
        over = event.position not in self._book.positions
        if over:
            self._market.chains.unwatch(event.position)
        for rolling in self._rolls.values():
            if rolling.position.id == event.position and rolling.ended is None and rolling.is_gone(self._book):
                rolling.ended = event.kind if over else ChangeKind.CLOSED
                rolling.since = event.time

    # What is held

    def _manage(self, now: datetime) -> None:
        session = self._market.calendar.session(now.date())
        if session is None:
            return
        held = tuple(self._book.positions.values())
        self.looks.begin(held, now, self._risk.samples)
        do_all(partial(self._manage_one, row, now, session) for row in held)

    def _manage_one(self, position: Position, now: datetime, session: Session) -> None:
        strategy = self._strategies.get(position.strategy) or self._roster.disabled.get(position.strategy)
        if strategy is None:
            self._tell_orphan(position)
            return
        holding = None
        try:
            holding = self._holding(position, now, session)
            if holding is None:
                return
            for due in self._ends.due(position, holding):  # no row may keep what its contract ends
                self._do(position, due, now.date())
            action = strategy.manage(position, holding)
            self._note(strategy, position, holding, action)
        except Exception as error:  # a strategy's error must not keep the others from their exits
            if position.id not in self._failing:  # told once a session, not once a minute
                self._failing.add(position.id)
                self._roster.suspend(strategy.name, f"failed while managing {position.id}", error)
            action = last_resort(position, now, session)
            self.looks.forget(position.id)
        for one in action if isinstance(action, tuple) else (action,):
            if self._stops.confirmed(strategy, position, one, holding):
                self._do(position, one, now.date())

    def _tell_orphan(self, position: Position) -> None:
        """Nobody here can manage it: a person must, and nothing opens beside it; said once a position."""
        if position.id in self._orphans:
            return
        self._orphans.add(position.id)
        reason = f"{position.id} is of {position.strategy}, which does not exist here: nobody manages it"
        self._journal.record(RecordKind.ERROR, component="coordinator", reason=reason)
        self._bus.halt_entries(reason)

    def _holding(self, position: Position, now: datetime, session: Session) -> HoldContext | None:
        """What is known of a position now; ``None`` while it rests."""
        if self.looks.rests(position, now):
            return None
        spot = self._gateway.price(position.underlying.price_key)
        values = {part.name: self._market.marks.value_of(part, now) for part in position.parts}
        under_way = (*self._rolls.values(), *self._replacing.values())
        rolled = [row.sold_for for row in under_way if row.position.id == position.id]
        vix = self._market.vix.value(now)
        return HoldContext(now, session, values, spot, rolled_from=max(rolled, default=None), vix=vix)

    def _note(
        self, strategy: Strategy, position: Position, context: HoldContext, action: Action | tuple[Action, ...]
    ) -> None:
        """Let a position rest of which nothing is due; one of which something is, is looked at until it is done."""
        if isinstance(action, Hold):
            self.looks.looked(strategy, position, context)
        else:
            self.looks.forget(position.id)

    def _do(self, position: Position, action: Action, today: date) -> None:
        if isinstance(action, Close):
            self._drop_rolls(position.id, Skip(action.rule, action.reason), action.parts)
            self._desk.close(position, action.rule, action.reason, action.urgency, action.parts)
        elif isinstance(action, Roll):
            self._roll(position, action)
        elif isinstance(action, Add):
            self._add(position, action, today)

    def _add(self, position: Position, action: Add, today: date) -> None:
        """Open parts on a position, once a day for each name: what was refused is not asked for again and again."""
        proposal = replace(action.proposal, onto=position.id)
        key = Key(position.strategy, "add", f"{position.id} {' '.join(plan.name for plan in proposal.plans)}")
        if self._added.get(key) == today or self._roster.decisions.is_decided(key, today):
            return
        self._added[key] = today
        denied = self._entries.take_up(key, today, proposal, position.correlation)
        if denied is not None:
            sent = Sent(position.id, key, today, 0, position.correlation, proposal.reason, proposal.spot)
            self._entries.decide(sent, denied)

    # Rolling: close, then open another in its place

    def _roll(self, position: Position, action: Roll) -> None:
        chosen = position.chosen(action.parts)
        if all(part.is_left_to_expire for part in chosen):
            return  # what could be closed of it is, and was rolled then
        names = tuple(part.name for part in chosen)
        key = (position.id, *names)
        if key not in self._rolls or self._rolls[key].ended is None:
            rolling = self._rolls[key] = Rolling(position, names, action.proposal, action.reason, action.calendar)
            self._market.chains.watch(rolling.user, [leg.contract for leg in action.proposal.package.legs])
        self._desk.close(position, "roll", action.reason, parts=action.parts)

    def _drop_rolls(self, position: str, why: Skip, parts: tuple[str, ...] = ()) -> None:
        for key, rolling in list(self._rolls.items()):
            if rolling.position.id == position and (not parts or set(parts) & set(rolling.parts)):
                self._drop(key, why)

    def _drop(self, key: tuple[str, ...], why: Skip) -> None:
        rolling = self._rolls.pop(key)
        self._market.chains.unwatch(rolling.user)
        self._record_roll(rolling, why)

    def _go_on_with(self, rolling: Rolling, now: datetime) -> None:
        """The old parts are gone: open the new ones unless something forbids it; their quotes may take a while."""
        key = (rolling.position.id, *rolling.parts)
        kept = self._reopen(rolling, now.date())
        if kept is not None and kept.rule == "quotes" and rolling.since and now - rolling.since < _REOPEN_WITHIN:
            return
        if kept is None:
            del self._rolls[key]
            self._market.chains.unwatch(rolling.user)
        else:
            self._drop(key, kept)

    def _reopen(self, rolling: Rolling, today: date) -> Skip | None:
        """Why the new parts are not opened; ``None`` when they are on their way."""
        old, package = rolling.position, rolling.proposal.package
        now = self._book.positions.get(old.id)
        stands = now is not None and not all(part.is_left_to_expire for part in now.parts)
        if rolling.ended is not ChangeKind.CLOSED or (now is not None and not rolling.by_us):
            return Skip("not_closed_by_us", f"{old.id} was {rolling.ended}")
        kept = None if rolling.calendar else self._lost(rolling)
        if kept is not None:
            return kept
        price = package_price(package.legs, current_quotes(self._market.chains, package))
        if price is None:
            return Skip("quotes", "a leg of the new package has no quote to trade at")
        proposal = replace(
            rolling.proposal, mid_cash=price.mid, natural_cash=price.natural, onto=old.id if stands else ""
        )
        key = Key(old.strategy, ROLLED, " ".join((old.id, *rolling.parts)))
        self._replacing[key] = rolling
        denied = self._entries.take_up(key, today, proposal, old.correlation)
        if denied is not None:
            del self._replacing[key]
        return denied

    def _lost(self, rolling: Rolling) -> Skip | None:
        """A loser is never rolled: what the parts that went came to."""
        trades = [trade for trade in self._book.trades if trade.position == rolling.position.id]
        newest = {trade.part: trade.profit for trade in trades if trade.part in rolling.parts}
        stands = self._book.positions.get(rolling.position.id)
        for part in () if stands is None else stands.parts:
            if part.name in rolling.parts:  # long options of it are left to expire
                newest[part.name] = added(part.cash, -part.fees)
        unknown = [name for name, profit in newest.items() if profit is None]
        if unknown or not newest:
            return Skip("rolling_a_loser", f"nobody knows what {rolling.position.id} was closed at")
        result = sum(profit for profit in newest.values() if profit is not None)
        if result < 0:
            return Skip("rolling_a_loser", f"{rolling.position.id} was closed at a loss of {-result:.2f}", 0.0, result)
        return None

    def _record_roll(self, rolling: Rolling, why: Skip, into: Sent | None = None) -> None:
        self._journal.record(
            RecordKind.ROLL,
            component="coordinator",
            reason=rolling.reason if into is not None else why.reason,
            correlation=rolling.position.correlation,
            strategy=rolling.position.strategy,
            day=self._gateway.now().date(),
            position=rolling.position.id,
            parts=rolling.parts,
            into=None if into is None else into.position,
            outcome="closed_only" if into is None else "rolled",
            rule=why.rule,
            limit=why.limit,
            observed=why.observed,
            contracts=None if into is None else into.contracts,
        )

    # Ends

    def _on_session_closed(self, event: SessionClosed) -> None:
        self._failing.clear()
        self._entries.close_session()
        for key in list(self._rolls):  # the strategy asks again in the next session where it still holds
            self._drop(key, Skip("session_closed", "the session closed before the new package was sent"))
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
        for sent, skip in self._entries.finish(now):
            self._account(sent, skip)
        self._entries.decide_unseen(days)

    def position_of(self, name: str) -> Position | None:
        """An open position by name."""
        return self._book.positions.get(name)

    def verify(self) -> tuple[str, ...]:
        """What the strategies say, and that one is there at all."""
        problems = [problem for strategy in self._strategies.values() for problem in strategy.verify()]
        return tuple(problems) if self._strategies else ("no strategy is enabled",)


class QuietMinutes(Manager):
    """Which minutes of a backtest nobody looks at while something is held (decision 046); live, none.

    A full look that left no rule of risk near a limit stands for the longest rest, while the prices that it rests on
    stay in their bands, and nothing is ordered, waited for or told by the broker. While it stands, only the positions
    are looked at whose own rest is over.
    """

    def __init__(
        self,
        gateway: Gateway,
        book: Book,
        coordinator: StrategyCoordinator,
        risk: UnifiedRiskManager,
        emergency: EmergencyProtocol,
        settings: MarketSettings,
    ) -> None:
        self._gateway = gateway
        self._book = book
        self._coordinator = coordinator
        self._risk = risk
        self._emergency = emergency
        self._longest = timedelta(minutes=settings.held_minutes)
        self._idle = timedelta(minutes=settings.idle_rest_minutes)
        self._move = settings.quiet_move
        self._stands: tuple[datetime, Bands] | None = None
        self._rests: tuple[datetime, Bands] | None = None

    def is_quiet(self, now: datetime) -> bool:
        """Whether nobody looks at a minute."""
        return is_within(self._gateway, self._rests, now) and self.stands(now)

    def stands(self, now: datetime) -> bool:
        """Whether the last full look still stands, so that only what its own rest tells is looked at."""
        return is_within(self._gateway, self._stands, now) and not self._coordinator.pursues

    def lasts(self) -> tuple[datetime, Bands] | None:
        """Until when, and while which prices stay where, nobody looks at a minute; ``None``: to be asked each minute.

        Nothing but the broker, the timetable and these prices can change it.
        """
        stands, rests = self._stands, self._rests
        if stands is None or self._coordinator.pursues:
            return None
        if not self._coordinator.is_active:
            return stands
        return None if rests is None else (min(stands[0], rests[0]), shared((*stands[1], *rests[1])))

    def due(self, now: datetime) -> list[str]:
        """Prices to be told before what does not rest is looked at: the VIX, and what its options are written on."""
        looks, rows = self._coordinator.looks, self._book.positions.values()
        return [VIX, *sorted({row.underlying.price_key for row in rows if not looks.rests(row, now)})]

    def ends(self) -> None:
        """Something happened: the next minute is looked at in full."""
        self._stands = None

    def looked(self, now: datetime, always: tuple[str, ...]) -> None:
        """Everything was looked at; ``always``: whose prices the account's own rules rest on."""
        self._stands = None
        held = list(self._book.positions.values())
        if self._gateway.is_live() or self._longest <= timedelta(minutes=1):
            return
        bands = self._coordinator.looks.ending(held, now)
        if bands is None:
            return  # on such a last day everything is looked at each minute
        if self._emergency.person_waits or not self._risk.rests(now):
            return
        until, to_close = self._until(now, held)
        move = self._coordinator.looks.move_to_close(held) if to_close else self._move
        tickers = dict.fromkeys((*always, *(row.underlying.price_key for row in held)))
        for ticker in tickers:
            price = self._gateway.price(ticker)
            if price is None:
                return
            if ticker == VIX and to_close:
                bands += (band(ticker, *HeldLooks.vix_bounds(price, self._risk.vix_levels)),)
                continue
            far = self._coordinator.looks.vix_band(price) if ticker == VIX else move * price
            bands += (band(ticker, price - far, price + far),)
        self._stands = (until, bands)
        self.glanced()

    def _until(self, now: datetime, held: list[Position]) -> tuple[datetime, bool]:
        """Until when a look stands, and whether that is the close: what is held ends late, and no rule samples it."""
        if not self._coordinator.is_active:
            return now + self._idle, False
        session = self._gateway.session(now.date())
        if session is None or self._risk.samples or not is_far(held, now):
            return now + self._coordinator.looks.longest(now), False
        return max(session.closes_at, now + _MINUTE), True

    def glanced(self) -> None:
        """What did not rest was looked at."""
        rests = self._coordinator.rests
        if not rests:
            self._rests = None
            return
        self._rests = (min(rest.until for rest in rests), shared(one for rest in rests for one in rest.bands))

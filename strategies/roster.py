"""Which strategies a run enables, which are suspended, what of their entries is decided, who lets them look ahead.

`NEEDS` is what all ten can look at, and what `python run.py data --symbols methodology` writes. Numbers above one of
its rows name the methodology's strategies. Bands are wider than the deltas that a strategy aims at: it chooses by the
chain of its entry minute, the export by the chain of the day before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from core.book import Book, Position
from core.bus import EventBus
from core.clock import MarketClock
from core.contracts import Around, Deltas, MarketNeeds, Reach, Right, Term
from core.events import ChangeKind, EntryAhead, Level, NoticeKind, NoticeRaised
from core.factory import Manager
from core.gateway import Gateway
from core.journal import Journal, RecordKind, as_json
from core.settings.fields import RunSettings
from core.settings.strategies import AVAILABLE
from risk.proposal import Proposal
from state.ledger import Subject
from state.manager import HierarchicalStateManager
from state.tables import OrderGroupState, OrderPurpose, PositionState, StrategyState, StrategyTrigger
from strategies.base import EntryContext, Skip, Strategy, watch_name
from strategies.futures_strangle import FuturesStrangle
from strategies.row import Row
from strategies.tools import Tools

MEMORY: Final = "entries"
"""Under which name the state keeps it."""
ROLLED: Final = "roll"
"""The window of what takes the place of parts that went."""
_KEPT: Final = timedelta(days=7)


class Key(NamedTuple):
    """Which entry: each has a decision of its own every day that it falls on."""

    strategy: str
    window: str
    slot: str = ""

    @property
    def user(self) -> str:
        """Under which name the contracts that it looks at are watched."""
        return watch_name(*self)


@dataclass(frozen=True, slots=True)
class Sent:
    """An entry on its way, to be decided by what becomes of it; ``position`` is what it opens or adds to.

    ``reason`` and ``spot`` (points) are its proposal's.
    """

    position: str
    key: Key
    day: date
    contracts: int
    correlation: str
    reason: str
    spot: float | None


class DecisionRecord(Manager):
    """Which entries are decided and which are on their way: one ``decision`` row a day for each, also over restarts.

    Live, a decision is remembered before its row is journalled and marked after it, so a kill in between leaves it to
    the next process; an entry on its way is remembered before its order leaves, so that the next process decides it.
    """

    def __init__(self, state: HierarchicalStateManager, journal: Journal, gateway: Gateway) -> None:
        self._state = state
        self._journal = journal
        self._gateway = gateway
        self._decided: dict[Key, set[date]] = {}
        self._rows: dict[tuple[Key, date], dict[str, Any] | None] = {}
        self._sending: dict[Key, Sent] = {}

    def is_decided(self, key: Key, day: date) -> bool:
        """Whether an entry has its row of a day, or is on its way to it."""
        return day in self._decided.get(key, ()) or key in self._sending

    def has_looked(self, strategy: str, window: str, slot: str, day: date) -> bool:
        """The same, by names."""
        return self.is_decided(Key(strategy, window, slot), day)

    def sending(self, sent: Sent) -> None:
        """An entry is about to leave, or has: its position is empty until it is known."""
        self._sending[sent.key] = sent
        self._keep()

    def taken_back(self, key: Key) -> None:
        """It did not leave."""
        if self._sending.pop(key, None) is not None:
            self._keep()

    def decide(self, key: Key, day: date, row: Mapping[str, object]) -> None:
        """Journal the one row of an entry and a day."""
        self._decided.setdefault(key, set()).add(day)
        self._sending.pop(key, None)
        live = self._gateway.is_live()
        if live:
            self._rows[key, day] = as_json(dict(row))
            self._keep()
        self._tell(row)
        if live and not self._journal.owes:
            self._rows[key, day] = None
            self._keep()

    def _tell(self, row: Mapping[str, object]) -> None:
        self._journal.record(RecordKind.DECISION, component="coordinator", **row)  # type: ignore[arg-type]

    # Over restarts

    def _keep(self) -> None:
        if not self._gateway.is_live():
            return
        oldest = self._gateway.now().date() - _KEPT
        self._rows = {which: row for which, row in self._rows.items() if which[1] >= oldest}
        decided = [{"key": list(key), "day": day.isoformat(), "row": row} for (key, day), row in self._rows.items()]
        sending = [
            {
                "position": sent.position,
                "key": list(sent.key),
                "day": sent.day.isoformat(),
                "contracts": sent.contracts,
                "correlation": sent.correlation,
                "reason": sent.reason,
                "spot": sent.spot,
            }
            for sent in self._sending.values()
        ]
        self._state.remember(MEMORY, {"decided": decided, "sending": sending})

    def restore(self) -> list[Sent]:
        """Take over from the last process: rows that the journal may lack are told; what is on its way is given."""
        kept = self._state.recall(MEMORY) or {"decided": (), "sending": ()}
        for entry in kept["decided"]:
            key, day, row = Key(*entry["key"]), date.fromisoformat(entry["day"]), entry["row"]
            self._decided.setdefault(key, set()).add(day)
            self._rows[key, day] = None
            if row is not None:
                self._tell(row)
        for row in kept["sending"]:
            key = Key(*row["key"])
            position = row["position"] or self._position_of(row["correlation"], key)
            if position:
                rest = {name: row[name] for name in ("contracts", "correlation", "reason", "spot")}
                self._sending[key] = Sent(position, key, date.fromisoformat(row["day"]), **rest)
        self._keep()
        return list(self._sending.values())

    def _position_of(self, correlation: str, key: Key) -> str:
        """The newest position that an entry's order was planned for; none: it never was, or its part is another's."""
        if key.window == ROLLED:  # it carries the correlation of the position that it takes the place of
            return ""
        named = (row.id for row in self._state.positions(ended=True) if _is_for(row, correlation, key.strategy))
        return next(reversed(list(named)), "")

    def outcome(self, sent: Sent) -> bool | None:
        """Whether an entry of the process before was filled; ``None`` while it is on its way still."""
        groups = [row for row in self._state.order_groups(ended=True) if row.parent == sent.position]
        opening = [row for row in groups if row.detail.get("purpose") in (OrderPurpose.ENTRY, OrderPurpose.ADJUST)]
        if any(not row.ended for row in opening):
            return None
        found = next((row for row in self._state.positions(ended=True) if row.id == sent.position), None)
        if found is not None and found.state in (PositionState.PLANNED, PositionState.OPENING):
            return None
        return bool(opening) and opening[-1].state == OrderGroupState.FILLED


def _is_for(position: Subject, correlation: str, strategy: str) -> bool:
    return position.parent == strategy and position.detail.get("correlation") == correlation


@dataclass(slots=True)
class Rolling:
    """Parts of a position that are being closed to open others; ``ended`` and ``since``: how and when they went."""

    position: Position
    parts: tuple[str, ...]
    proposal: Proposal
    reason: str
    calendar: bool
    by_us: bool = False
    ended: ChangeKind | None = None
    since: datetime | None = None

    @property
    def user(self) -> str:
        """Under which name the new package's contracts are watched until it is a position."""
        return f"{self.position.id} roll"

    @property
    def sold_for(self) -> float:
        """Dollars that everything the position held was sold for when the roll began, positive for a credit."""
        return sum(part.entry_cash for part in self.position.parts)

    def is_gone(self, book: Book, *, exited: bool = False) -> bool:
        """Whether none of its parts is open any more; ``exited``: or only as long options that nobody bids for."""
        now = book.positions.get(self.position.id)
        left = [] if now is None else [part for name in self.parts if (part := now.part(name)) is not None]
        return not left or (exited and all(part.is_left_to_expire for part in left))


class StrategyRoster(Manager):
    """The strategies that a run enables, of all that exist, in the order of service; and whether one may open now.

    A suspension is the strategy's state, so it survives a restart; a person lifts it (``risk/commands.py``).
    """

    def __init__(
        self,
        strategies: tuple[Strategy, ...],
        settings: RunSettings,
        state: HierarchicalStateManager,
        bus: EventBus,
        journal: Journal,
        clock: MarketClock,
        decisions: DecisionRecord,
    ) -> None:
        self.decisions = decisions
        self._state = state
        self._bus = bus
        self._journal = journal
        self._clock = clock
        known = {strategy.name: strategy for strategy in strategies}
        unknown = sorted(set(settings.strategies) - set(known))
        if unknown:
            raise ValueError(f"run.strategies: {unknown} unknown; expected some of {sorted(known)}")
        self.enabled = tuple(known[name] for name in AVAILABLE if name in settings.strategies)
        self.disabled = {name: row for name, row in known.items() if name not in settings.strategies}
        """Those of an earlier run may hold positions still: they manage them to their end and open nothing."""

    def ranked_on(self, day: date) -> tuple[str, ...]:
        """Option roots whose rank of volatility an enabled row asks for on a day."""
        roots = (root for row in self.enabled if isinstance(row, Row) for root in row.ranked_on(day))
        return tuple(dict.fromkeys(roots))

    def opens(self, name: str, window: str, day: date) -> bool:
        """Whether a window of an enabled strategy falls on a day; true of one that nobody here knows."""
        windows = (one for row in self.enabled if row.name == name for one in row.entry_windows())
        return next((one.falls_on(day) for one in windows if one.name == window), True)

    def barred(self, name: str) -> Skip | None:
        """Why a strategy opens nothing: it is not enabled, or suspended."""
        if name in self.disabled:
            return Skip("not_enabled", f"{name} is not among run.strategies: it manages what it holds, no more")
        found = next((row for row in self._state.strategies() if row.id == name), None)
        if found is None or found.state != StrategyState.SUSPENDED:
            return None
        return Skip("suspended", f"{name} is suspended: {found.detail.get('reason', 'no reason was given')}")

    def suspend(self, name: str, failed: str, error: Exception) -> None:
        """It raised: journalled, a person is told, and it opens nothing until a person resumes it; once a time."""
        detail = f"{type(error).__name__}: {error}"
        self._journal.record(RecordKind.ERROR, component=name, reason=failed, detail=detail)
        if self.barred(name) is not None:
            return
        self._state.strategy(name)
        self._state.fire(Level.STRATEGY, name, StrategyTrigger.SUSPEND, reason=f"it {failed}: {detail}")
        text = f"{name} {failed} ({detail}): it is suspended, the others go on"
        self._bus.publish(NoticeRaised(time=self._clock.now(), kind=NoticeKind.HALT, text=text))


class EntryPreparer(Manager):
    """Lets each row look ahead of its windows, for each of its slots and for each position it may add to."""

    def __init__(self, bus: EventBus, journal: Journal, tools: Tools, roster: StrategyRoster) -> None:
        self._journal = journal
        self._tools = tools
        self._rows = {strategy.name: strategy for strategy in roster.enabled if isinstance(strategy, Row)}
        bus.subscribe(EntryAhead, self._on_ahead, component="entry_ahead")

    def looks_at(self, strategy: str, window: str, day: date) -> tuple[str, ...]:
        """The tickers that a row's window looks at; none on a day on which it does not open."""
        row = self._rows.get(strategy)
        found = None if row is None else next((one for one in row.entry_windows() if one.name == window), None)
        if row is None or found is None or not found.falls_on(day) or not self._tools.is_open(day):
            return ()
        return row.underlyings()

    def _on_ahead(self, event: EntryAhead) -> None:
        row = self._rows.get(event.strategy)
        if row is None or not self.looks_at(event.strategy, event.window, event.time.date()):
            return
        for context in self._contexts(row, event):
            try:
                row.prepare(context)
            except Exception as error:  # what fails ahead of a window will say so in it; nothing is decided here
                detail = f"{type(error).__name__}: {error}"
                self._journal.record(
                    RecordKind.ERROR, component=row.name, reason="failed while looking ahead", detail=detail
                )

    def _contexts(self, row: Row, event: EntryAhead) -> list[EntryContext]:
        session = self._tools.calendar.session(event.time.date())
        if session is None:
            raise ValueError(f"{event.time:%Y-%m-%d}: no session; expected an open day")
        context = EntryContext(
            now=event.time,
            session=session,
            vix=self._tools.vix.reading(event.time),
            equity=self._tools.gateway.account().equity,
            phase=self._tools.phases.phase,
            window=event.window,
        )
        return row.contexts(context)


_MONDAY, _TUESDAY, _WEDNESDAY, _FRIDAY = 0, 1, 2, 4
_STRANGLED = ("CL", "GC", "ZB", "6E", "ES", "USO", "GLD", "TLT", "FXE")
METHODOLOGY: tuple[Reach, ...] = (
    # 1, 7: 0.7 ATR to the short, searched to 1.8 times that; wings and bodies within 60 index points.
    Reach("Friday 0DTE, butterfly", ("SPXW", "SPY"), Term(0, 0), (Around(1.5, 0.025),), 0, (_FRIDAY,)),
    # 2: 25 delta (or 7 % out), 50 index points below it; 5 delta (or 12 % out). Every Wednesday from phase 4.
    Reach(
        "LT112",
        ("ES", "SPY"),
        Term(120, 30),
        (Deltas(Right.PUT, 23.5, 26.5), Deltas(Right.PUT, 15, 19), Deltas(Right.PUT, 4, 6.5)),
        21,
        (_WEDNESDAY,),
    ),
    Reach("LT112, calls", ("ES", "SPY"), Term(7, 4, 1), (Deltas(Right.CALL, 5, 30),), 0, (_MONDAY,)),
    # 3: puts 5 to 7 delta, calls 5 to 6. The untested side is rolled once, when the other has 20 delta.
    Reach(
        "Strangle",
        _STRANGLED,
        Term(90, 30),
        (Deltas(Right.PUT, 4.5, 7.5), Deltas(Right.CALL, 4.5, 6.5)),
        21,
        (_TUESDAY,),
        (2,),
        rolls=18.0,
    ),
    # 10a: one put at 25 delta against two at 16, and a call at 8.
    Reach(
        "Strangle with a ratio",
        ("SPY",),
        Term(45, 12),
        (Deltas(Right.PUT, 23, 27), Deltas(Right.PUT, 14, 18), Deltas(Right.CALL, 6.5, 9.5)),
        21,
        (_TUESDAY,),
        (2,),
    ),
    # 4: 12 to 14 delta, rolled at 150 days whichever day that is.
    Reach("LEAP put ladder", ("SPY",), Term(365, 120), (Deltas(Right.PUT, 11, 15),), 150),
    # 5: any day on which the trend allows the LEAP; weeklies on Friday, on Monday after an assignment.
    Reach("IPMCC", ("SPY", "QQQ", "IWM"), Term(365, 120), (Deltas(Right.CALL, 77, 83),), 90),
    Reach("IPMCC, weeklies", ("SPY", "QQQ", "IWM"), Term(7, 4), (Deltas(Right.CALL, 45, 72),), 0, (_MONDAY, _FRIDAY)),
    # 6: 500 wide, half of it on each side of the price, at round strikes; every expiration of one to two years.
    Reach("Box", ("SPX",), Term(547, 183, 9), (Around(0.0, 0.115, 100.0),), 0, (_WEDNESDAY,)),
    # 8: 25 and 16 delta.
    Reach(
        "Ratio",
        ("SPY", "IWM", "TLT"),
        Term(45, 12),
        (Deltas(Right.PUT, 23, 27), Deltas(Right.PUT, 14, 18)),
        21,
        (_TUESDAY,),
    ),
    # 9: 60 days at 30 delta against 30 days at the strike under it (about 23), closed when that has 7 days left.
    Reach("Diagonal, long", ("SPY", "QQQ", "IWM"), Term(60, 14), (Deltas(Right.PUT, 28, 32),), 25, (_TUESDAY,)),
    Reach("Diagonal, short", ("SPY", "QQQ", "IWM"), Term(30, 10), (Deltas(Right.PUT, 19, 32),), 5, (_TUESDAY,)),
    # 10b: over VIX 30.
    Reach("Opportunity, 45 days", ("SPY", "IWM"), Term(45, 12), (Deltas(Right.PUT, 16, 29),), 21, vix_over=30.0),
    Reach("Opportunity, 60 days", ("ES", "SPY"), Term(60, 14), (Deltas(Right.PUT, 12, 18),), 21, vix_over=30.0),
)
NEEDS = MarketNeeds(METHODOLOGY, hourly=("SPX", "VIX", "SPY"), ranked=FuturesStrangle.ranked)
"""With the index and the VIX that every strategy looks at, the benchmark, and what the strangle ranks."""

"""Which strategies a run enables and which are suspended, who lets them look ahead, and what all ten can look at.

`NEEDS` is what `python run.py data --symbols methodology` writes. Numbers above one of its rows name the methodology's
strategies. Bands are wider than the deltas that a strategy aims at: it chooses by the chain of its entry minute, the
export by the chain of the day before.
"""

from __future__ import annotations

from datetime import date

from core.bus import EventBus
from core.clock import MarketClock
from core.contracts import Around, Deltas, MarketNeeds, Reach, Right, Term
from core.events import EntryAhead, Level, NoticeKind, NoticeRaised
from core.factory import Manager
from core.journal import Journal, RecordKind
from core.settings.fields import RunSettings
from core.settings.strategies import AVAILABLE
from state.manager import HierarchicalStateManager
from state.tables import StrategyState, StrategyTrigger
from strategies.base import EntryContext, Skip, Strategy
from strategies.row import Row
from strategies.tools import Tools


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
    ) -> None:
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

    def is_due(self, strategy: str, window: str, day: date) -> bool:
        """Whether a row's window opens on a day."""
        row = self._rows.get(strategy)
        found = None if row is None else next((one for one in row.entry_windows() if one.name == window), None)
        return found is not None and found.falls_on(day) and self._tools.is_open(day)

    def _on_ahead(self, event: EntryAhead) -> None:
        row = self._rows.get(event.strategy)
        if row is None or not self.is_due(event.strategy, event.window, event.time.date()):
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
NEEDS = MarketNeeds(METHODOLOGY, hourly=("SPX", "VIX", "SPY"))
"""With the index and the VIX that every strategy looks at, and the benchmark."""

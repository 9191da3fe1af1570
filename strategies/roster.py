"""Which strategies a run enables and which are suspended, who lets them look ahead, and what all ten can look at.

`NEEDS` is what `python run.py data --symbols methodology` writes. Numbers above one of its rows name the methodology's
strategies. Bands are wider than the deltas that a strategy aims at: it chooses by the chain of its entry minute, the
export by the chain of the day before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from itertools import pairwise
from statistics import pstdev

from core.book import Book
from core.bus import EventBus
from core.clock import MarketClock
from core.contracts import Around, Deltas, MarketNeeds, Reach, Right, Term
from core.events import EntryAhead, Level, NoticeKind, NoticeRaised
from core.factory import Manager
from core.gateway import Session
from core.instruments import INSTRUMENTS, Group, group_of
from core.journal import Journal, RecordKind
from core.parts import Trait
from core.settings.fields import CorrelationSettings, PhaseSettings, RunSettings
from core.settings.strategies import AVAILABLE, TITLES
from greeks.stress import EQUITY_GROUPS, Node
from market.vix import UnifiedVIXManager, VixReading
from risk.exposure import TAKES_A_PLACE, limit_of
from risk.margin import MarginFigures, is_loan
from risk.proposal import Proposal, RiskContext
from risk.sizing import PositionSizer
from state.manager import HierarchicalStateManager
from state.tables import StrategyState, StrategyTrigger
from strategies.base import EntryContext, Skip, Strategy
from strategies.look import EndedLookError, Look, RowFacts, Watched
from strategies.row import Row
from strategies.tools import Conditions, Tools, thought_of


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

    def _on_ahead(self, event: EntryAhead) -> None:
        row = self._rows.get(event.strategy)
        window = None if row is None else next((one for one in row.entry_windows() if one.name == event.window), None)
        day = event.time.date()
        if row is None or window is None or not window.falls_on(day) or not self._tools.is_open(day):
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


@dataclass(frozen=True, slots=True)
class Need:
    """What one lot asks of an account in its phase. Dollars; ``asks`` is equity by the rule that asks it.

    ``loss`` is what sizing counts, ``margin`` buying power, ``line`` the loss at the group's adverse line; ``missing``
    says why no lot could be looked at.
    """

    strategy: str
    root: str
    structure: str = ""
    vix: float = 0.0
    loss: float = 0.0
    margin: float = 0.0
    line: float = 0.0
    asks: Mapping[str, float] = field(default_factory=dict)
    missing: str = ""

    @property
    def account(self) -> float:
        """Equity under which it cannot be opened; infinite where no lot was found."""
        return max(self.asks.values(), default=math.inf)

    @property
    def bound(self) -> str:
        """The rule that asks for most."""
        return max(self.asks, key=lambda rule: self.asks[rule], default="")


_MOVES = (0.0, 0.006, 0.012)  # of the day, of which a row's look may need one
_LOOKS = 8  # a pick asks for quotes, and the next one may too
_USUAL_VIX = 20.0
NO_PRICE = "no price"
_REALISED = 60


class Capacity(Manager):
    """Says what account one lot of each enabled strategy needs, by the rows' looks, sizing, margin and group risk."""

    def __init__(
        self,
        roster: StrategyRoster,
        tools: Tools,
        sizer: PositionSizer,
        figures: MarginFigures,
        vix: UnifiedVIXManager,
        phases: PhaseSettings,
        correlation: CorrelationSettings,
        journal: Journal,
    ) -> None:
        self._rows = tuple(row for row in roster.enabled if isinstance(row, Row))
        self._tools = tools
        self._sizer = sizer
        self._figures = figures
        self._vix = vix
        self._phases = phases
        self._correlation = correlation
        self._journal = journal

    @property
    def _context(self) -> RiskContext:
        phase = self._tools.phases.phase
        account, now = self._tools.gateway.account(), self._tools.gateway.now()
        return RiskContext(now, account, None, phase, self._phases.rows[phase - 1], Book())

    def _reading(self, vix: float, now: datetime) -> VixReading:
        return VixReading(vix, self._vix.regime_of(vix), None, None, now)

    def needs(self, conditions: Conditions) -> tuple[Need, ...]:
        """Of every enabled row, each slot and root that the account's phase lets it look at."""
        return tuple(need for row in self._rows for need in self._of(row, conditions))

    def _of(self, row: Row, conditions: Conditions) -> Iterator[Need]:
        """One after the other, as they are asked for; the VIX is moved into the row's window."""
        vix = min(max(conditions.vix, row.own.min_vix * 1.1), row.own.max_vix * 0.9)
        for slot in row.entries[0].slots:
            for root in row.roots_of(slot):
                yield self._need(row, slot, root, replace(conditions, vix=vix))

    def _need(self, row: Row, slot: str, root: str, conditions: Conditions) -> Need:
        missing, ticker = "", INSTRUMENTS[root].underlying
        if ticker not in conditions.prices:
            return Need(row.name, root, missing=f"{NO_PRICE} of {ticker}")
        phase = self._tools.phases.phase
        if row.own.contracts_by_phase[phase - 1] == 0:
            return Need(row.name, root, missing=f"phase {phase} allows none")
        for move in _MOVES:
            tools = thought_of(self._tools, conditions, move)
            try:
                lot = self._look(row, slot, root, conditions, tools)
            except EndedLookError as ended:
                missing = missing or ended.answer.reason
                continue
            return self._asked(root, lot, tools)
        return Need(row.name, root, vix=conditions.vix, missing=missing)

    def _look(self, row: Row, slot: str, root: str, conditions: Conditions, tools: Tools) -> Proposal:
        """The row's own act, asked again until what it wants is quoted. Raises ``EndedLookError``."""
        now = datetime.combine(conditions.day, time(10, 30))
        context = EntryContext(
            now=now,
            session=Session(conditions.day, now, now, False),
            vix=self._reading(conditions.vix, now),
            equity=self._tools.gateway.account().equity,
            phase=self._tools.phases.phase,
            window=row.entries[0].name,
            slot=slot,
        )
        watched, left = Watched(row.name, conditions.day), _LOOKS
        while True:
            look = Look(tools, RowFacts(row.name, row.own, row.traits), context, root, watched)
            look.full_size = row.roots_of(slot)[0]
            left -= 1
            try:
                for gate in row.phase_gates:
                    answer = gate(look)
                    if answer is not None:
                        raise EndedLookError(answer)
                return row.entries[0].act(look)
            except EndedLookError as ended:
                if isinstance(ended.answer, Skip) or not left:
                    raise
                look.subscribe()

    def _asked(self, root: str, lot: Proposal, tools: Tools) -> Need:
        one, loan = tools.stress.one_lot(lot.package), is_loan(lot.package.legs)
        context = replace(self._context, vix=self._reading(lot.vix, self._context.now))
        loss, margin = self._sizer.loss_by(lot, one), self._figures.of(one)
        share, cap = self._sizer.share_of(lot, context), self._figures.cap(context)
        structure = lot.terms.structure
        if loss is None or margin is None or not cap or (share <= 0.0 and not loan):
            return Need(lot.strategy, root, structure, lot.vix, missing="its loss, margin or share is unknown")
        margin = margin if loan else max(margin, lot.terms.margin)
        crash = -min(float(one.profits[Node.CRASH]), 0.0)
        asks = {
            "margin": margin / cap,
            "group_risk": one.loss / self._correlation.group_risk,
            "crash_risk": crash / self._correlation.crash_risk,
        }
        if not loan:
            asks["sizing"] = loss / share
        return Need(lot.strategy, root, structure, lot.vix, loss, margin, one.loss, asks)

    # What is said at a run's start

    def today(self, day: date) -> Conditions:
        """The last closes that are known; volatilities as realised where the VIX is not about it."""
        trend, prices, moved = self._tools.trend, dict[str, float](), dict[str, float]()
        for ticker in dict.fromkeys(("SPX", "SPY", *(one for row in self._rows for one in row.underlyings()))):
            bars = trend.bars(ticker)
            if bars:
                prices[ticker] = bars[-1].close
            group = group_of(ticker)
            if len(bars) > _REALISED and (group is None or group.value not in EQUITY_GROUPS):
                moves = [math.log(new.close / old.close) for old, new in pairwise(bars[-_REALISED - 1 :])]
                moved[ticker] = pstdev(moves) * math.sqrt(252.0)
        for like, scale in (("SPY", 0.1), ("XSP", 0.1), ("ES", 1.0)):
            if like not in prices and "SPX" in prices:
                prices[like] = prices["SPX"] * scale
        vix = trend.bars("VIX")
        return Conditions(day, vix[-1].close if vix else _USUAL_VIX, prices, moved)

    def tell(self, day: date) -> tuple[str, ...]:
        """Which enabled strategies cannot trade at this equity and phase, and which exclude each other; journalled."""
        said = (*self._obstacles(self.today(day)), *self._exclusions())
        for words in said:
            self._journal.record(RecordKind.SYSTEM, component="capacity", reason=words)
        return said

    def _obstacles(self, conditions: Conditions) -> Iterator[str]:
        equity, phase = self._tools.gateway.account().equity, self._tools.phases.phase
        for row in self._rows:
            if row.own.contracts_by_phase[phase - 1] == 0:
                yield f"{TITLES[row.name]} opens nothing in phase {phase} ({row.name}.contracts_by_phase)"
                continue
            least: Need | None = None
            for need in self._of(row, conditions):
                if need.account <= equity or need.missing.startswith(NO_PRICE):
                    break  # something fits, or may once its price is known
                least = need if least is None or need.account < least.account else least
            else:
                if least is not None and least.asks:
                    what = f"{least.root} {least.structure.replace('_', ' ')}"
                    yield (
                        f"{TITLES[row.name]} cannot trade at {equity:,.0f}: its smallest lot ({what}) needs an account "
                        f"of about {least.account:,.0f} ({least.bound})"
                    )

    def _exclusions(self) -> Iterator[str]:
        """Limits on counts that more enabled rows share than they have places."""
        phase, own = self._tools.phases.phase, self._correlation
        able = [row for row in self._rows if row.own.contracts_by_phase[phase - 1] > 0]
        kinds = {row.name: frozenset[Trait]().union(*row.traits.values()) for row in able}
        lasting = [row for row in able if Trait.LASTING in kinds[row.name]]
        if sum(len(row.entries[0].slots) for row in lasting) > own.lasting_places:
            both = " and ".join(f"{TITLES[row.name]} {' '.join(row.entries[0].slots)}".strip() for row in lasting)
            yield f"{both} share {own.lasting_places} of the places of group A2 (correlation.lasting_places)"
        counted = [row for row in able if kinds[row.name] & TAKES_A_PLACE and Trait.ENDS_TODAY not in kinds[row.name]]
        for group in Group:
            places = limit_of(group, own) - (own.kept_for_today if group is Group.EQUITY_OPTIONS else 0)
            names = [TITLES[row.name] for row in counted if any(group_of(one) is group for one in row.underlyings())]
            if len(names) > places:
                yield f"{', '.join(names)} share {places} places of group {group.value}"
        sold = [row for row in able if Trait.SHORT_VOLATILITY in kinds[row.name]]
        most = self._phases.rows[phase - 1].max_positions
        if len(able) > most:
            yield f"phase {phase} holds {most} positions at once: {len(able)} strategies share them"
        if len(sold) > own.short_volatility_limit:
            yield f"{len(sold)} strategies share {own.short_volatility_limit} places for short volatility"


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

"""Phase and closed trades as the state keeps them, what a process takes over when it starts, and the day's exposure.

What is read is checked like a stranger's: a record that cannot be true halts entries and is journalled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Final

from core.book import Book, ClosedTrade, Position
from core.bus import EventBus
from core.events import ChangeKind, MinutePassed, PositionChanged, SessionClosed
from core.factory import Manager
from core.instruments import is_sp500
from core.journal import Journal, RecordKind
from core.parts import WHOLE, Trait
from core.performance import PerformanceTracker
from core.settings.fields import CorrelationSettings
from greeks.exposure import Exposure, LegGreeks, PortfolioGreeks, ShareGreeks, total
from greeks.monitor import GreeksMonitor, limited
from greeks.service import CentralGreeksService
from greeks.stress import StressBook, StressEngine
from risk.emergency import EmergencyProtocol
from risk.equity import PhaseManager
from risk.group_risk import GroupRisk, line_of
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures
from risk.memory import RiskMemory
from risk.proposal import RiskContext
from state.manager import HierarchicalStateManager

RECORD: Final = "record"
_TRADES_KEPT = 300
_OLDEST, _NEWEST = 6, 10  # fields of a row: records of before had no fees, then no part, then no exit rule


def write_trade(trade: ClosedTrade) -> list[object]:
    """A trade as JSON types."""
    times, ended = [trade.opened, trade.closed], [trade.part, trade.ended, trade.rule]
    return [trade.strategy, trade.position, *times, trade.profit, trade.max_loss, trade.fees, *ended]


def read_trade(row: object) -> ClosedTrade:
    """A trade of a row. Raises ``ValueError`` for what cannot be one."""
    if not isinstance(row, list) or not _OLDEST <= len(row) <= _NEWEST:
        raise ValueError(f"trade: {repr(row)[:80]}; expected {_OLDEST} to {_NEWEST} fields")
    strategy, position, opened, closed, profit, max_loss, *more = row
    part = more[1] if len(more) > 1 else WHOLE
    ended = more[2] if len(more) > 2 else True
    rule = more[3] if len(more) > 3 else ""
    if not all(isinstance(text, str) for text in (strategy, position, opened, closed, part, rule)):
        raise ValueError(f"trade: {repr(row)[:80]}; expected names and times as text")
    if not isinstance(ended, bool):
        raise ValueError(f"trade: {ended!r}; expected true or false for whether its position ended")
    result = None if profit is None else _amount(profit)
    start, end = datetime.fromisoformat(opened), datetime.fromisoformat(closed)
    fees = _amount(more[0]) if more else 0.0
    return ClosedTrade(strategy, position, start, end, result, _amount(max_loss), fees, part, ended, rule)


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"trade: {repr(value)[:40]}; expected dollars")
    return float(value)


class RiskRecord(Manager):
    """Writes phase and trades when they change; restores all that risk remembers."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        book: Book,
        state: HierarchicalStateManager,
        phases: PhaseManager,
        memory: RiskMemory,
        emergency: EmergencyProtocol,
        performance: PerformanceTracker,
    ) -> None:
        self._performance = performance
        self._bus = bus
        self._journal = journal
        self._book = book
        self._state = state
        self._phases = phases
        self._memory = memory
        self._emergency = emergency
        bus.subscribe(PositionChanged, self._on_position_changed, component="record", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="record", critical=True)

    def restore(self) -> None:
        """Go on with what the last process knew."""
        self._memory.restore()
        self._try("the emergency", self._emergency.restore)
        self._try("the record of trades", self._restore_record)

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            reason, detail = f"{what} cannot be read", f"{type(error).__name__}: {error}"
            self._journal.record(RecordKind.ERROR, component="record", reason=reason, detail=detail)
            self._bus.halt_entries(f"{reason}: {detail}")

    def _restore_record(self) -> None:
        record = self._state.recall(RECORD)
        if record is None:
            return
        if not isinstance(record, dict) or not isinstance(record.get("trades"), list):
            raise ValueError(f"{RECORD}: {repr(record)[:80]}; expected a phase and trades")
        trades = [read_trade(row) for row in record["trades"]]
        self._phases.restore(record.get("phase"))
        self._book.trades.extend(trades)
        if "sums" in record:  # records of before had none: the trades that they kept are all that is known
            self._performance.restore(record["sums"])

    def _on_position_changed(self, event: PositionChanged) -> None:
        """Every closed trade counts after a restart too: the day's, the streak's, the strategy's."""
        if event.kind is not ChangeKind.OPENED:
            self._remember()

    def _on_session_closed(self, _event: SessionClosed) -> None:
        self._remember()

    def _remember(self) -> None:
        trades = [write_trade(trade) for trade in self._book.trades[-_TRADES_KEPT:]]
        sums = self._performance.written()
        self._state.remember(RECORD, {"phase": self._phases.known, "trades": trades, "sums": sums})


LOOK_MINUTES: Final = 30
"""How often all limits are looked at for the report; buying power and lows each minute."""


@dataclass(frozen=True, slots=True)
class LimitLook:
    """One limit at one look: ``share`` of it that is used, ``None`` where it is unknown."""

    rule: str
    limit: float
    observed: float
    share: float | None
    at: datetime


@dataclass(slots=True)
class DaySoFar:
    """What a session came to: the most buying power in use, the fullest look, lows by position id."""

    peak: float = 0.0
    peak_at: datetime | None = None
    cap: float | None = None
    looked: datetime | None = None
    looked_margin: float = -1.0
    whole: Exposure | None = None
    strategies: dict[str, dict[str, float | None]] = field(default_factory=dict)
    groups: dict[str, dict[str, float | None]] = field(default_factory=dict)
    limits: dict[str, LimitLook] = field(default_factory=dict)
    lows: dict[str, tuple[float, datetime]] = field(default_factory=dict)


def four(exposure: Exposure | None) -> dict[str, float | None]:
    """The Greeks that the journal keeps; ``None`` throughout where one contract is unknown."""
    names = ("delta", "gamma", "vega", "theta")
    return {name: None if exposure is None else round(float(getattr(exposure, name)), 6) for name in names}


class LimitUses(Manager):
    """How much of each limit of the account is used now: buying power, Greeks, groups, counts."""

    def __init__(
        self,
        book: Book,
        service: CentralGreeksService,
        monitor: GreeksMonitor,
        groups: GroupRisk,
        settings: CorrelationSettings,
    ) -> None:
        self._book = book
        self._service = service
        self._monitor = monitor
        self._groups = groups
        self._settings = settings

    def all(self, context: RiskContext, used: float, cap: float | None) -> Iterator[LimitLook]:
        """Every limit that is known at this moment; ``used`` dollars of buying power, ``cap`` a share of equity."""
        now, equity = context.now, context.account.equity
        if cap is not None and equity > 0.0:
            yield _look("buying_power", cap * equity, used, now)
        exposure = limited(self._service.portfolio())
        for use in () if exposure is None else self._monitor.judge(exposure):
            yield LimitLook(use.rule, use.limit, use.observed, use.share, now)
        for line, loss in self._groups.lines().items():
            share = self._groups.share(loss, equity)
            limit = self._settings.group_risk * equity
            yield LimitLook(f"group_{line}", limit, loss.adverse, share if isfinite(share) else None, now)
        held = list(self._book.exposed())
        sold = [row for row in held if Trait.SHORT_VOLATILITY in row.traits]
        equivalents = [row for row in sold if is_sp500(row.underlying.ticker)]
        yield _look("short_volatility", float(self._settings.short_volatility_limit), float(len(sold)), now)
        yield _look("sp500", float(self._settings.sp500_limit), float(len(equivalents)), now)
        yield _look("positions", float(context.limits.max_positions), float(len(held)), now)


def _look(rule: str, limit: float, observed: float, now: datetime) -> LimitLook:
    return LimitLook(rule, limit, observed, observed / limit if limit > 0.0 else None, now)


class ExposureDiary(Manager):
    """Journals how much of everything a day used, and what a position was opened with. It only looks: no rule rests on
    it, and what it cannot see is missing from the report alone.
    """

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        book: Book,
        engine: StressEngine,
        service: CentralGreeksService,
        limits: LimitUses,
        figures: MarginFigures,
        risk: UnifiedRiskManager,
    ) -> None:
        self._journal = journal
        self._book = book
        self._engine = engine
        self._service = service
        self._limits = limits
        self._figures = figures
        self._risk = risk
        self._day = DaySoFar()
        self._told: dict[str, frozenset[str]] = {}
        """By position: the contracts whose Greeks at their opening are journalled."""
        bus.subscribe(MinutePassed, self._on_minute, component="diary")
        bus.subscribe(PositionChanged, self._on_position_changed, component="diary")
        bus.subscribe(SessionClosed, self._on_session_closed, component="diary")

    def line(self) -> str:
        """How much of each limit is used now, in a line for a person."""
        context = self._risk.context()
        looks = self._limits.all(context, self._figures.used().dollars, self._figures.cap(context))
        uses = [
            f"{look.rule.replace('_', ' ')} {'unknown' if look.share is None else f'{max(0.0, look.share):.0%}'}"
            for look in looks
        ]
        return f"limits used: {', '.join(uses)}"

    def _on_minute(self, event: MinutePassed) -> None:
        if not self._book.positions:
            return
        day, held = self._day, self._engine.held()
        self._note_lows(held, event.time)
        used = self._figures.used().dollars
        if used > day.peak or day.peak_at is None:
            day.peak, day.peak_at = used, event.time
        if event.time.minute % LOOK_MINUTES == 0 or day.looked is None:
            self._look(used, event.time)

    def _note_lows(self, held: StressBook, now: datetime) -> None:
        lows = self._day.lows
        for row in held.rows:
            position = self._book.positions.get(row.position)
            if position is None or row.position in self._book.pending or not row.known or position.cash is None:
                continue
            profit = position.cash + row.value - position.fees
            if row.position not in lows or profit < lows[row.position][0]:
                lows[row.position] = (profit, now)

    def _look(self, used: float, now: datetime) -> None:
        """Every limit's fullest use of the day; the rest of the look in which most buying power was in use."""
        day, context = self._day, self._risk.context()
        cap = self._figures.cap(context)
        for look in self._limits.all(context, used, cap):
            known = day.limits.get(look.rule)
            if known is None or (look.share or 0.0) > (known.share or 0.0):
                day.limits[look.rule] = look
        if used <= day.looked_margin:
            return
        portfolio = self._service.portfolio()
        day.looked, day.looked_margin, day.whole = now, used, portfolio.whole
        day.cap = None if cap is None else cap * context.account.equity
        positions = list(self._book.positions.values())
        day.strategies = self._by(portfolio, "strategy", [(row.strategy, row) for row in positions])
        day.groups = self._by(portfolio, "group", [(line_of(row.underlying.ticker), row) for row in positions])

    def _by(
        self, portfolio: PortfolioGreeks, name: str, keyed: list[tuple[str, Position]]
    ) -> dict[str, dict[str, float | None]]:
        """Positions, buying power and Greeks under each name."""
        found: dict[str, dict[str, float | None]] = {}
        held = self._engine.held()
        for key in dict.fromkeys(key for key, _ in keyed):
            rows = [position for one, position in keyed if one == key]
            names = {position.id for position in rows}
            asked = [self._figures.of(row) for row in held.rows if row.position in names]
            known = [dollars for dollars in asked if dollars is not None]
            parts: Iterable[LegGreeks | ShareGreeks] = (leg for leg in portfolio.legs if leg.position in names)
            found[key] = {
                "positions": float(len(rows)),
                "margin": round(sum(known), 2) if len(known) == len(asked) else None,
                **four(total(parts)),
            }
        return found

    def _on_position_changed(self, event: PositionChanged) -> None:
        position = self._book.positions.get(event.position)
        told = self._told.pop(event.position, frozenset())
        if position is None:
            return
        held = self._told[position.id] = told.union(leg.contract.name for leg in position.legs)
        if held == told or event.kind not in (ChangeKind.OPENED, ChangeKind.ADJUSTED):
            return
        figures = {leg.contract.name: self._service.figures_of(leg.contract) for leg in position.legs}
        whole = four(self._service.portfolio().by_position().get(position.id))
        self._journal.record(
            RecordKind.GREEKS,
            component="diary",
            reason=event.kind.value,
            correlation=position.correlation,
            strategy=position.strategy,
            position=position.id,
            legs=[
                {
                    "name": leg.contract.name,
                    "quantity": leg.ratio,
                    "delta": None if (one := figures[leg.contract.name]) is None else round(one.delta, 4),
                    "volatility": None if one is None else round(one.volatility, 4),
                }
                for leg in position.legs
            ],
            delta=whole["delta"],
            gamma=whole["gamma"],
            vega=whole["vega"],
            theta=whole["theta"],
        )

    def _on_session_closed(self, event: SessionClosed) -> None:
        day, self._day = self._day, DaySoFar()
        if day.peak_at is None:
            return
        whole = four(day.whole)
        self._journal.record(
            RecordKind.EXPOSURE,
            component="diary",
            reason="session closed",
            day=event.day,
            equity=event.equity,
            margin_peak=round(day.peak, 2),
            margin_peak_at=day.peak_at,
            margin_cap=None if day.cap is None else round(day.cap, 2),
            looked=day.looked,
            delta=whole["delta"],
            gamma=whole["gamma"],
            vega=whole["vega"],
            theta=whole["theta"],
            strategies=day.strategies,
            groups=day.groups,
            limits=[
                {
                    "rule": look.rule,
                    "limit": round(look.limit, 6),
                    "observed": round(look.observed, 6),
                    "share": None if look.share is None else round(look.share, 4),
                    "at": look.at,
                }
                for look in day.limits.values()
            ],
            lows=[{"position": name, "profit": round(profit, 2), "at": at} for name, (profit, at) in day.lows.items()],
        )

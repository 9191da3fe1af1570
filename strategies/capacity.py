"""What account one lot of a strategy needs, by the rows' own looks, and what a run says of it at its start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from itertools import pairwise
from statistics import pstdev

from core.book import Book
from core.factory import Manager
from core.gateway import Session
from core.instruments import INSTRUMENTS, Group, group_of
from core.journal import Journal, RecordKind
from core.parts import Trait
from core.settings.fields import CorrelationSettings, PhaseSettings
from core.settings.strategies import TITLES
from greeks.stress import EQUITY_GROUPS, Node
from market.vix import UnifiedVIXManager, VixReading
from risk.exposure import TAKES_A_PLACE, limit_of
from risk.margin import MarginFigures, is_loan
from risk.proposal import Proposal, RiskContext
from risk.sizing import PositionSizer
from strategies.base import EntryContext, Skip
from strategies.look import EndedLookError, Look, RowFacts, Watched
from strategies.roster import StrategyRoster
from strategies.row import Row
from strategies.tools import Conditions, Tools, thought_of


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
_EASILY = 1.25  # times what its lot needs: a fifth may be lost, at which everything is closed (`DrawdownSettings`)


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
        self._looked: dict[tuple[str, str, str], Need] = {}
        self.spare: frozenset[str] = frozenset()
        """What no enabled strategy needs at the equity of the start: underlyings of roots below one that fits."""

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
        """One after the other, as they are asked for."""
        for slot in row.entries[0].slots:
            for root in row.roots_of(slot):
                yield self._need(row, slot, root, conditions)

    def _need(self, row: Row, slot: str, root: str, conditions: Conditions) -> Need:
        """The VIX is moved into the row's window."""
        missing, ticker = "", INSTRUMENTS[root].underlying
        conditions = replace(conditions, vix=min(max(conditions.vix, row.own.min_vix * 1.1), row.own.max_vix * 0.9))
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
        conditions = self.today(day)
        self._looked.clear()
        said = (*self._obstacles(conditions), *self._exclusions())
        self.spare = self._spare(conditions)
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
            for need in self._once(row, row.entries[0].slots, conditions):
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

    def _once(self, row: Row, slots: Iterable[str], conditions: Conditions) -> Iterator[Need]:
        """What each slot and root of a row needs, looked at once in what is said at a start."""
        for slot in slots:
            for root in row.roots_of(slot):
                key = (row.name, slot, root)
                if key not in self._looked:
                    self._looked[key] = self._need(row, slot, root, conditions)
                yield self._looked[key]

    def _spare(self, conditions: Conditions) -> frozenset[str]:
        equity, phase, needed = self._tools.gateway.account().equity, self._tools.phases.phase, set[str]()
        for row in self._rows:
            opens_none = row.own.contracts_by_phase[phase - 1] == 0
            for slot in dict.fromkeys(slot for entry in row.entries for slot in entry.slots):
                if len(roots := row.roots_of(slot)) == 1:
                    needed.add(INSTRUMENTS[roots[0]].underlying)
                    continue  # there is no other: what its lot needs decides nothing
                for need in self._once(row, (slot,), conditions):
                    needed.add(INSTRUMENTS[need.root].underlying)
                    if opens_none or need.account * _EASILY <= equity:
                        break
        return frozenset(ticker for row in self._rows for ticker in row.underlyings()) - needed

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

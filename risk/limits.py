"""Limits that hold for the account as a whole: phase, VIX regime, fresh data, liquid legs, Greeks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from core.book import Book
from core.bus import EventBus
from core.contracts import Contract, ExerciseStyle, Right
from core.events import Event, MarketData, MinutePassed, RiskThreshold, SessionOpened, Severity
from core.instruments import instrument_of
from core.parts import Trait
from core.settings.fields import (
    BlackSwanSettings,
    ExitSettings,
    MarketSettings,
    OrderSettings,
    PhaseSettings,
    VixSettings,
)
from greeks.monitor import GreeksMonitor, limited
from greeks.service import CentralGreeksService
from market.calendar import EventCalendar, MarketEvent
from market.chains import OptionChainManager
from market.freshness import DataFault, DataFreshnessValidator, QuoteJudge, TwoLooks
from market.trend import TrendWatcher
from market.vix import VIX, UnifiedVIXManager, VixRegime
from risk.equity import PhaseManager
from risk.exposure import opening_of, traits_of
from risk.memory import moment, number
from risk.proposal import Allow, Deny, Opening, Proposal, RiskContext, RiskPlugin, Scope, Shrink, Verdict, Wanted
from state.manager import HierarchicalStateManager
from state.tables import SystemState

_AT_ANY_VIX = frozenset({Trait.PUT_SELLING, Trait.NO_VOLATILITY_SOLD, Trait.COVERED})


_NEAR, _FAR = 0.9, 0.8  # shares of a limit from which each minute is looked at

INDICES = ("SPX", "SPY")
"""By whose moves a day is judged: the index, and its shares where a feed has no index."""

_NOTHING_OPENS = (SystemState.REDUCING, SystemState.HALTED, SystemState.EMERGENCY, SystemState.LOCKED)


class PhasePlugin(RiskPlugin):
    """Enough equity, no halt, and a free place among the phase's positions."""

    name = "phase"
    order = 10

    def __init__(self, bus: EventBus, state: HierarchicalStateManager, settings: PhaseSettings) -> None:
        self._bus = bus
        self._state = state
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny under the smallest equity, while entries are halted, and when every place is taken."""
        return self.bars(opening_of(proposal), context) or Allow(self.name)

    def bars(self, opening: Opening, context: RiskContext) -> Deny | None:
        """All of it: no contract changes anything here."""
        if self._bus.entries_halted is not None:
            return Deny("entries_halted", self._bus.entries_halted)
        if self._state.system in _NOTHING_OPENS:
            return Deny("system_state", f"the system is {self._state.system.value}")
        if context.book.doubted:
            names = ", ".join(sorted(context.book.doubted))
            return Deny("in_doubt", f"the broker may not have told everything about {names} yet")
        if context.book.blocked:
            return Deny("exit_blocked", f"the exit of {', '.join(sorted(context.book.blocked))} waits for a quote")
        equity, least = context.account.equity, self._settings.minimum_equity
        if not equity >= least:
            return Deny("minimum_equity", f"equity {equity:.0f} is under {least:.0f}", least, equity)
        taken = context.book.positions.keys() | context.book.pending.keys()
        count, most = len(taken), context.limits.max_positions
        if count >= most and opening.onto not in taken:  # a part of one that stands takes no place of another
            return Deny("phase_positions", f"{count} of {most} positions are open", float(most), float(count))
        return None


class VixRegimePlugin(RiskPlugin):
    """Who may open at which VIX; no fresh VIX, or a VIX that jumped, lets nobody."""

    name = "vix_regime"
    order = 20

    def __init__(self, settings: VixSettings) -> None:
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Apply the table of regimes (methodology, section 2)."""
        return self.bars(opening_of(proposal), context) or Allow(self.name)

    def bars(self, opening: Opening, context: RiskContext) -> Deny | None:
        """All of it: the table is by what parts are."""
        reading = context.vix
        if reading is None:
            return Deny("vix_missing", "no VIX that is fresh enough")
        panic = self._settings.panic_jump
        if reading.jump is not None and reading.jump >= panic:
            return Deny("vix_jump", f"VIX rose {reading.jump:.0%} within the day", panic, reading.jump)
        traits = opening.traits
        extreme = reading.regime in (VixRegime.EXTREME, VixRegime.PANIC)
        if extreme and not traits & _AT_ANY_VIX:
            high = self._settings.high
            return Deny(self.name, f"VIX {reading.value:.2f} is above {high:g}: put selling only", high, reading.value)
        if reading.regime is VixRegime.LOW and Trait.STRANGLE in traits:
            low = self._settings.low
            return Deny(self.name, f"VIX {reading.value:.2f} is below {low:g}: no strangles", low, reading.value)
        if reading.value > self._settings.normal and Trait.LOW_VIX_ONLY in traits:
            normal = self._settings.normal
            return Deny(self.name, f"VIX {reading.value:.2f} is above {normal:g}: no diagonals", normal, reading.value)
        return None


class VixPanicPlugin(RiskPlugin):
    """Above VIX 40 what sells volatility closes, by part, but for puts that are meant to be sold there."""

    name = "vix_panic"
    order = 25
    watches = (MarketData,)
    tickers = frozenset({VIX})

    def __init__(self, vix: UnifiedVIXManager, settings: VixSettings) -> None:
        self._vix = vix
        self._settings = settings
        self._looks = TwoLooks()
        self._value: float | None = None
        self._panic: float | None = None

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Entries are the regime's affair."""
        return Allow(self.name) if context.vix is not None else Deny(self.name, "no VIX that is fresh enough")

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """Above the limit at every minute that it is; a value that leapt by half within a minute at its second look."""
        if not isinstance(event, MarketData) or event.ticker != VIX or not event.price > 0.0:
            return ()
        before, self._value = self._value, event.price
        leapt = before is not None and event.price > before * (1.0 + self._settings.panic_jump)
        above = event.price > self._settings.extreme
        seen = self._looks.again("vix", event.time, above)
        if above and (not leapt or seen or self._panic is not None):
            self._panic = event.price
        elif not above:
            self._panic = None
        if self._panic is None and not self._raised:
            return ()  # calm, as at most prices: there is nothing to be said
        severity = Severity.NORMAL if self._panic is None else Severity.EMERGENCY
        limit = self._settings.extreme
        return (RiskThreshold(time=event.time, rule=self.name, severity=severity, limit=limit, observed=event.price),)

    @property
    def vix_levels(self) -> tuple[float, ...]:
        """What is a jump today: its peak is remembered."""
        jump = self._vix.panics_at
        return () if jump is None else (jump,)

    @property
    def rests(self) -> bool:
        """Under nine tenths of the limit."""
        return self._panic is None and (self._value is None or self._value < _NEAR * self._settings.extreme)

    def wanted(self, now: datetime) -> Iterable[Wanted]:
        """What sells volatility gone, while the last VIX was above the limit."""
        if self._panic is None:
            return ()
        return (Wanted(self.name, Scope.SHORT_VOLATILITY, self._settings.extreme, self._panic),)


class BlackSwanPlugin(RiskPlugin):
    """An index that moves more than 5 % in a day: short-dated parts close, nothing opens for a day.

    It is seen with something held and without, by every index that is watched, at two looks running.
    """

    name = "black_swan"
    order = 60
    watches = (MarketData,)
    tickers = frozenset(INDICES)

    def __init__(self, trend: TrendWatcher, settings: BlackSwanSettings) -> None:
        self._trend = trend
        self._settings = settings
        self._looks = TwoLooks()
        self._moves: dict[str, float] = {}
        self._until: datetime | None = None
        self._observed = 0.0

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny while the pause lasts; without yesterday's close the move is unknown and that denies too."""
        moves = [move for ticker in INDICES if (move := self._move(ticker)) is not None]
        if not moves:
            return Deny(self.name, f"the move of {' and '.join(INDICES)} since yesterday's close is unknown")
        limit = self._settings.index_move
        if max(moves) > limit or (self._until is not None and context.now < self._until):
            return Deny(self.name, f"an index moved more than {limit:.0%} in a day", limit, max(*moves, self._observed))
        return Allow(self.name)

    def _move(self, ticker: str) -> float | None:
        day, close = self._trend.day(ticker), self._trend.previous_close(ticker)
        return None if day is None or not close or not day.price > 0.0 else round(abs(day.price / close - 1), 9)

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """Take note of each index's move; what is beyond the limit twice running starts the pause anew."""
        if not isinstance(event, MarketData) or event.ticker not in INDICES:
            return ()
        move, limit = self._move(event.ticker), self._settings.index_move
        if move is None:
            return ()
        if self._looks.again(event.ticker, event.time, move > limit):
            self._until, self._observed = event.time + timedelta(hours=self._settings.pause_hours), move
        swan = self._until is not None and event.time < self._until
        if not swan and not self._raised:
            return ()  # calm, as at most prices
        severity = Severity.EMERGENCY if swan else Severity.NORMAL
        observed = max(move, self._observed) if swan else move
        return (RiskThreshold(time=event.time, rule=self.name, severity=severity, limit=limit, observed=observed),)

    @property
    def rests(self) -> bool:
        """No index has moved four fifths of the limit."""
        moves = [move for ticker in INDICES if (move := self._move(ticker)) is not None]
        return max(moves, default=0.0) < _FAR * self._settings.index_move

    def wanted(self, now: datetime) -> Iterable[Wanted]:
        """What is short-dated gone, while the pause lasts."""
        if self._until is None or now >= self._until:
            return ()
        return (Wanted(self.name, Scope.SHORT_DATED, self._settings.index_move, self._observed),)

    def memory(self) -> Mapping[str, object]:
        """The pause."""
        return {"until": self._until, "observed": self._observed} if self._until is not None else {}

    def restore(self, row: Mapping[str, object]) -> None:
        """Go on with the pause. Raises ``ValueError`` for what cannot be true."""
        self._until, self._observed = moment(row, "until"), number(row, "observed", 0.0) or 0.0


class FreshnessPlugin(RiskPlugin):
    """No entry on an underlying whose price may not be trusted, nor on an option whose quote is from before."""

    name = "freshness"
    order = 30

    def __init__(self, freshness: DataFreshnessValidator, judge: QuoteJudge) -> None:
        self._freshness = freshness
        self._judge = judge

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny when the underlying's price is missing, stale, frozen or zero, or a leg's quote may not be believed."""
        key = proposal.package.underlying.price_key
        fault = self._freshness.fault(key, context.now)
        if fault is not None:
            return Deny(self.name, f"{key}'s price is {fault.value}")
        for contract, wrong in self._judge.faults(proposal.package.legs, context.now).items():
            if wrong is DataFault.STALE:
                return Deny(self.name, f"{contract.name}'s quote is from before its underlying or its partners moved")
        return Allow(self.name)


class LiquidityPlugin(RiskPlugin):
    """Every leg must have a usable quote now, and the whole a price that the model knows (methodology, section 5)."""

    name = "liquidity"
    order = 90

    def __init__(self, chains: OptionChainManager, service: CentralGreeksService, settings: OrderSettings) -> None:
        self._chains = chains
        self._service = service
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny at the first leg that may not be traded, and a price far from the model's or without one."""
        for leg in proposal.package.legs:
            fault = self._chains.illiquid(leg.contract, self._chains.quote(leg.contract), selling=leg.ratio < 0)
            if fault is not None:
                return Deny(self.name, f"{leg.contract.name}: {fault}")
        model = proposal.model_cash if proposal.model_cash is not None else self._model(proposal)
        if model is None:
            return Deny("anomaly", "the model has no price for it, so nobody knows whether the market's is sound")
        gap, share = abs(proposal.mid_cash - model), self._settings.anomaly_fraction * abs(model)
        least = instrument_of(proposal.package.legs[0].contract).points(self._settings.anomaly_points)
        if gap > share and gap > least:
            reason = f"mid {proposal.mid_cash:.2f} is far from the model's {model:.2f}"
            return Deny("anomaly", reason, max(share, least), gap)
        return Allow(self.name)

    def _model(self, proposal: Proposal) -> float | None:
        """What the package brings at the model's values, in points; ``None`` where a leg has none."""
        total = 0.0
        for leg in proposal.package.legs:
            figures = self._service.figures_of(leg.contract)
            if figures is None:
                return None
            total -= leg.ratio * figures.price
        return total


class EventsPlugin(RiskPlugin):
    """No new short premium before a Federal Reserve statement, nor on a day that a person named."""

    name = "events"
    order = 35

    def __init__(self, calendar: EventCalendar, settings: MarketSettings) -> None:
        self._calendar = calendar
        self._settings = settings

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """The statement comes at a time of day; two hours before it nothing that sells volatility opens."""
        settings, now = self._settings, context.now
        if Trait.SHORT_VOLATILITY not in traits_of(proposal):
            return Allow(self.name)
        if now.date() in settings.adverse_event_dates:
            return Deny(self.name, f"{now.date()} is a day of adverse events (market.adverse_event_dates)")
        if MarketEvent.FOMC in self._calendar.events(now.date()):
            statement = datetime.combine(now.date(), settings.fomc_time)
            if statement - timedelta(minutes=settings.fomc_minutes) <= now < statement:
                return Deny(self.name, f"the Federal Reserve's statement comes at {settings.fomc_time:%H:%M}")
        return Allow(self.name)


class AssignmentPlugin(RiskPlugin):
    """Nothing opens that may be assigned at once, or in an expiration's last minutes; what is pinned is told."""

    name = "assignment"
    order = 95
    watches = (MinutePassed,)

    def __init__(self, calendar: EventCalendar, book: Book, service: CentralGreeksService, exits: ExitSettings) -> None:
        self._calendar = calendar
        self._book = book
        self._service = service
        self._settings = exits

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny in the last half hour of an expiration day, and American shorts that have no time value left."""
        session = self._calendar.session(context.now.date())
        least = timedelta(minutes=self._settings.last_entry_minutes)
        ends_today = proposal.package.expiry <= context.now.date()
        if ends_today and (session is None or context.now > session.closes_at - least):
            return Deny("expiration", f"nothing opens in the last {least} of its expiration day")
        for leg in proposal.package.legs:
            if leg.ratio > 0 or leg.contract.style is not ExerciseStyle.AMERICAN:
                continue
            figures = self._service.figures_of(leg.contract)
            if figures is None:
                return Deny(self.name, f"{leg.contract.name}: its time value is unknown")
            if figures.price - self._inside(leg.contract) <= 0.0:
                return Deny(self.name, f"{leg.contract.name} has no time value: it may be assigned at once")
        return Allow(self.name)

    def _inside(self, contract: Contract) -> float:
        spot = self._service.spot_of(contract) or contract.strike
        inside = spot - contract.strike if contract.right is Right.CALL else contract.strike - spot
        return max(inside, 0.0)

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """In the last hour: short options that expire today within half a percent of their strike."""
        session = self._calendar.session(event.time.date()) if isinstance(event, MinutePassed) else None
        if session is None or event.time < session.closes_at - timedelta(minutes=self._settings.pin_minutes):
            return ()
        rows = []
        for position in self._book.positions.values():
            near = [leg.contract for leg in position.legs if leg.ratio < 0 and self._is_pinned(leg.contract, event)]
            severity = Severity.WARNING if near else Severity.NORMAL
            rule, limit = f"pin_{position.id}", self._settings.pin_distance
            rows.append(RiskThreshold(time=event.time, rule=rule, severity=severity, limit=limit, observed=len(near)))
        return rows

    def _is_pinned(self, contract: Contract, event: Event) -> bool:
        if contract.expiry != event.time.date():
            return False
        spot = self._service.spot_of(contract)
        return spot is not None and abs(contract.strike / spot - 1.0) <= self._settings.pin_distance


class GreeksLimitsPlugin(RiskPlugin):
    """The portfolio with the proposal added must stay within the phase's limits of delta, gamma and vega.

    Gamma of options in their last day is left out: it grows without bound as they end, and what it can cost is bounded
    by the package's width and the deadline of its row.
    """

    name = "greeks"
    order = 100
    watches = (SessionOpened,)

    def __init__(self, service: CentralGreeksService, monitor: GreeksMonitor, phases: PhaseManager) -> None:
        self._service = service
        self._monitor = monitor
        self._phases = phases

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """The most contracts at which every limit holds; unknown Greeks deny."""
        self._monitor.use_limits(context.limits)
        reason, limit, observed = "within the limits", 0.0, 0.0
        for contracts in range(proposal.wanted, 0, -1):
            after = limited(self._service.what_if(proposal.package, contracts, proposal.strategy).after)
            if after is None:
                return Deny(self.name, "the Greeks of the portfolio with the proposal are not all known")
            over = [use for use in self._monitor.judge(after) if use.severity is Severity.BREACH]
            if not over:
                return Shrink(self.name, contracts, limit, observed, reason)
            limit, observed = over[0].limit, over[0].observed
            reason = f"{over[0].rule} would be {observed:.0f} against {limit:g} with {contracts}"
        return Shrink(self.name, 0, limit, observed, reason)

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """The Greeks monitor watches what is held; it only has to know the phase."""
        if isinstance(event, SessionOpened):
            self._monitor.use_limits(self._phases.limits)
        return ()


def threshold(rule: str, event: Event, limit: float, observed: float, warn_at: float) -> RiskThreshold:
    """A threshold event with the severity that the share of the limit deserves."""
    share = observed / limit if limit else 0.0
    severity = Severity.BREACH if share >= 1 else Severity.WARNING if share >= warn_at else Severity.NORMAL
    return RiskThreshold(time=event.time, rule=rule, severity=severity, limit=limit, observed=observed)

"""What stops the system when it loses: circuit breakers, drawdown steps and the black swan rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import combinations, pairwise

from core.book import Book
from core.contracts import Package
from core.events import Event, MarketData, RiskThreshold, SessionClosed, SessionOpened, Severity
from core.gateway import Gateway
from core.settings.fields import BlackSwanSettings, CircuitBreakerSettings, DrawdownSettings
from market.chains import OptionChainManager
from market.freshness import DataFreshnessValidator
from market.history import correlation
from market.trend import TrendWatcher
from market.vix import UnifiedVIXManager
from risk.limits import threshold
from risk.margin import MarginFigures, breaker_level
from risk.phases import PhaseManager
from risk.proposal import Allow, Deny, Proposal, RiskContext, RiskPlugin, Verdict

_INDEX = "SPX"
_SAMPLE_MINUTES = 5
_FEWEST_SAMPLES = 24  # two hours
_NEVER = 1.0  # a warning share that is the limit itself: profits of one market are always somewhat correlated


class CircuitBreakerPlugin(RiskPlugin):
    """Fast loss of equity, margin use, and losses in a row; after a trip it waits for calm."""

    name = "circuit_breaker"
    order = 40

    def __init__(
        self,
        gateway: Gateway,
        book: Book,
        phases: PhaseManager,
        vix: UnifiedVIXManager,
        freshness: DataFreshnessValidator,
        chains: OptionChainManager,
        settings: CircuitBreakerSettings,
        figures: MarginFigures,
    ) -> None:
        self._figures = figures
        self._gateway = gateway
        self._book = book
        self._phases = phases
        self._vix = vix
        self._freshness = freshness
        self._chains = chains
        self._settings = settings
        self._equity: deque[tuple[datetime, float]] = deque()
        self._tripped_at: datetime | None = None
        self._tripped_by = ""
        self._profits: dict[str, dict[datetime, float]] = {}
        self._locked_until: datetime | None = None
        self._recovering = False
        self.warned = False

    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny until it was calm for long enough and data is fresh, then let one position at a time in again."""
        if self._locked_until is not None and context.now < self._locked_until:
            return Deny("circuit_lock", f"{self._tripped_by}, locked until {self._locked_until:%Y-%m-%d %H:%M}")
        if self._tripped_at is not None:
            calm = timedelta(minutes=self._settings.calm_minutes)
            if context.now - self._tripped_at < calm or not self._freshness.all_fresh(context.now):
                return Deny(self.name, f"{self._tripped_by} at {self._tripped_at:%Y-%m-%d %H:%M}, waiting for calm")
            self._tripped_at, self._recovering = None, True
        if self._recovering and any(context.book.exposed()):
            return Deny(self.name, f"one position at a time after {self._tripped_by}")
        limit = self._losses_limit(context.phase)
        losses = self._book.losses_in_a_row()
        if limit and losses >= limit:
            return self._after_losses(context, limit, losses)
        return Allow(self.name)

    def _after_losses(self, context: RiskContext, limit: int, losses: int) -> Verdict:
        """Hold entries for the calm period after the last loss, then let one position at a time in again."""
        last = self._book.trades[-1].closed
        if context.now - last < timedelta(hours=self._settings.lock_hours):
            return Deny("losses_in_a_row", f"{losses} losing trades in a row", float(limit), float(losses))
        if self._book.positions or self._book.pending:
            return Deny("losses_in_a_row", "one position at a time after losses in a row", float(limit), float(losses))
        return Allow(self.name)

    def _losses_limit(self, phase: int) -> int:
        return self._settings.losses_in_a_row_foundation if phase == 1 else self._settings.losses_in_a_row

    def watch(self, event: Event) -> Iterable[RiskThreshold]:
        """Measure equity each minute while something is held, and margin use."""
        if isinstance(event, SessionOpened):
            self._equity.clear()
        if isinstance(event, SessionClosed) and self._tripped_at is None:
            self._recovering = False
        if not isinstance(event, MarketData) or event.ticker != _INDEX:
            return ()
        if not self._book.positions and not self._book.shares:
            self.warned = False
            self._equity.clear()
            return ()
        found = [self._fast_loss(event), self._margin_use(event), *self._profit_correlation(event)]
        self.warned = any(row.severity is not Severity.NORMAL for row in found)
        for row in found:
            if row.severity in (Severity.BREACH, Severity.EMERGENCY):
                self._tripped_at, self._tripped_by = event.time, row.rule
            if row.severity is Severity.EMERGENCY:
                self._locked_until = event.time + timedelta(hours=self._settings.lock_hours)
        return [row for row in found if row.severity is not Severity.NORMAL]

    def _fast_loss(self, event: Event) -> RiskThreshold:
        foundation = self._phases.phase == 1
        limit = self._settings.fast_loss_foundation if foundation else self._settings.fast_loss
        equity = self._gateway.account().equity
        self._equity.append((event.time, equity))
        while event.time - self._equity[0][0] > timedelta(minutes=self._settings.fast_loss_minutes):
            self._equity.popleft()
        highest = max(value for _, value in self._equity)
        loss = 1 - equity / highest
        if loss >= limit * self._settings.emergency_at:
            return _step(event, "fast_loss", Severity.EMERGENCY, limit, loss)
        return threshold("fast_loss", event, limit, loss, self._settings.warn_at)

    def _profit_correlation(self, event: Event) -> tuple[RiskThreshold, ...]:
        """Correlation of the positions' profits over the last day, sampled every few minutes; the highest pair's."""
        if event.time.minute % _SAMPLE_MINUTES or len(self._book.positions) < 2:
            return ()
        since = event.time - timedelta(hours=self._settings.correlation_hours)
        for name in [name for name in self._profits if name not in self._book.positions]:
            del self._profits[name]
        for name, position in self._book.positions.items():
            value = self._chains.value(Package(position.legs))
            samples = self._profits.setdefault(name, {})
            if value is not None:
                samples[event.time] = value
            for old in [time for time in samples if time < since]:
                del samples[old]
        pairs = combinations(sorted(self._profits), 2)
        highest = max((_together(self._profits[one], self._profits[other]) for one, other in pairs), default=0.0)
        foundation = self._phases.phase == 1
        limit = self._settings.correlation_foundation if foundation else self._settings.correlation
        return (threshold("profit_correlation", event, limit, highest, _NEVER),)

    def _margin_use(self, event: Event) -> RiskThreshold:
        equity = self._equity[-1][1]
        used = self._figures.used().dollars / equity if equity > 0 else 1.0
        reading = self._vix.reading(event.time)
        level = breaker_level(None if reading is None else reading.value, self._phases.phase, self._settings)
        return threshold("margin_use", event, level, used, self._settings.warn_at)


class DrawdownPlugin(RiskPlugin):
    """Steps down with the distance from the equity peak: half size, no entries, close, disable."""

    name = "drawdown"
    order = 50

    def __init__(self, gateway: Gateway, settings: DrawdownSettings) -> None:
        self._gateway = gateway
        self._settings = settings
        self.peak = 0.0
        self._paused_until: datetime | None = None
        self._disabled = False
        self._recovering = False
        self._closing = False

    def drawdown(self, equity: float) -> float:
        """Distance from the peak as a fraction, zero or positive."""
        self.peak = max(self.peak, equity)
        return round(1 - equity / self.peak, 9) if self.peak > 0 else 0.0

    def size_factor(self, equity: float) -> float:
        """Half in a drawdown of 10 %, and after a pause until the drawdown is under 10 % again."""
        deep = self.drawdown(equity) >= self._settings.halve_at
        return 0.5 if deep or self._recovering else 1.0

    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny while disabled, paused, or 15 % below the peak (unless recovering after the pause)."""
        depth = self.drawdown(context.account.equity)
        if self._disabled:
            return Deny("drawdown_disabled", "disabled until a person resets it", self._settings.disable_at, depth)
        if self._paused_until is not None:
            if context.now < self._paused_until:
                reason = f"paused until {self._paused_until:%Y-%m-%d}"
                return Deny("drawdown_pause", reason, self._settings.close_all_at, depth)
            self._paused_until, self._recovering = None, True
        if self._recovering:
            self._recovering = depth >= self._settings.halve_at
            return Allow(self.name)
        if depth >= self._settings.stop_entries_at:
            reason = f"{depth:.1%} below the peak"
            return Deny(self.name, reason, self._settings.stop_entries_at, depth)
        return Allow(self.name)

    def reset(self) -> None:
        """A person's word: trade again, measured from the equity now."""
        self.peak = self._gateway.account().equity
        self._disabled = self._recovering = False
        self._paused_until = None

    def watch(self, event: Event) -> Iterable[RiskThreshold]:
        """Measure at closes, and each index minute that something may be held; every step is reported once."""
        if isinstance(event, SessionClosed):
            equity = event.equity
        elif isinstance(event, MarketData) and event.ticker == _INDEX:
            equity = self._gateway.account().equity
        else:
            return ()
        depth = self.drawdown(equity)
        settings = self._settings
        if depth >= settings.disable_at:
            self._disabled = True
        if depth < settings.stop_entries_at:
            self._closing = False
            return ()
        if depth >= settings.close_all_at and self._paused_until is None and not self._recovering:
            self._paused_until = event.time + timedelta(days=settings.pause_days)
            return (_step(event, "drawdown", Severity.EMERGENCY, settings.close_all_at, depth),)
        if not self._closing:
            self._closing = True
            return (_step(event, "drawdown", Severity.BREACH, settings.stop_entries_at, depth),)
        return ()


class BlackSwanPlugin(RiskPlugin):
    """An index that moves more than 5 % in a day: short-dated positions close, nothing opens for a day."""

    name = "black_swan"
    order = 60

    def __init__(self, trend: TrendWatcher, settings: BlackSwanSettings) -> None:
        self._trend = trend
        self._settings = settings
        self._until: datetime | None = None

    def review(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny while the pause lasts; without yesterday's close the move is unknown and that denies too."""
        move = self._move()
        if move is None:
            return Deny(self.name, f"{_INDEX}'s move since yesterday's close is unknown")
        if move > self._settings.index_move:
            self._until = context.now + timedelta(hours=self._settings.pause_hours)
        if self._until is not None and context.now < self._until:
            reason = f"an index moved more than {self._settings.index_move:.0%} in a day"
            return Deny(self.name, reason, self._settings.index_move, move)
        return Allow(self.name)

    def _move(self) -> float | None:
        day, close = self._trend.day(_INDEX), self._trend.previous_close(_INDEX)
        return None if day is None or close is None else abs(day.price / close - 1)

    def watch(self, event: Event) -> Iterable[RiskThreshold]:
        """Report the first minute beyond the limit."""
        if not isinstance(event, MarketData) or event.ticker != _INDEX:
            return ()
        move = self._move()
        if move is None or move <= self._settings.index_move:
            return ()
        fresh = self._until is None or event.time >= self._until
        self._until = event.time + timedelta(hours=self._settings.pause_hours)
        limit = self._settings.index_move
        return (_step(event, self.name, Severity.EMERGENCY, limit, move),) if fresh else ()


def _step(event: Event, rule: str, severity: Severity, limit: float, observed: float) -> RiskThreshold:
    return RiskThreshold(time=event.time, rule=rule, severity=severity, limit=limit, observed=observed)


def _together(one: dict[datetime, float], other: dict[datetime, float]) -> float:
    """Correlation of the changes of two series over the moments that both have; 0 with too few of them."""
    times = [time for time in one if time in other]
    if len(times) < _FEWEST_SAMPLES:
        return 0.0  # nothing to say yet
    first = [one[after] - one[before] for before, after in pairwise(times)]
    second = [other[after] - other[before] for before, after in pairwise(times)]
    return correlation(first, second) or 0.0

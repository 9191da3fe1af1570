"""Circuit breakers: fast loss, margin use, correlated losses, losses in a row (methodology, section 4).

Each is a state: what is true at a minute binds at that minute. After the last minute of a trip it waits for calm, fresh
data and a reconciled account, then lets one position at a time in. Everything that limits outlives the process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import combinations, pairwise
from statistics import fmean

from core.book import Book, losing_streak
from core.events import Event, MinutePassed, RiskThreshold, SessionClosed, SessionOpened, Severity
from core.instruments import group_of
from core.settings.fields import CircuitBreakerSettings
from greeks.stress import StressEngine
from market.freshness import DataFreshnessValidator
from market.history import correlation
from market.vix import UnifiedVIXManager
from risk.equity import PhaseManager, SteadyEquity
from risk.limits import threshold
from risk.margin import MarginFigures, breaker_level
from risk.memory import moment, truth, words
from risk.proposal import Allow, Deny, Opening, Proposal, RiskContext, RiskPlugin, Scope, Verdict, Wanted

_SAMPLE_MINUTES = 5
_FEWEST_SAMPLES = 24  # two hours
_FEWEST_POSITIONS = 3
_NEVER = 1.0  # a warning share that is the limit itself: profits of one market are always somewhat correlated
_NEAR = {"fast_loss": 0.5, "margin_use": 0.97}  # shares of a limit from which each minute is looked at
_MINUTE = timedelta(minutes=1)
_CLOSES = ("fast_loss", "margin_use")


class CircuitBreakerPlugin(RiskPlugin):
    """The breakers that watch the account as a whole."""

    name = "circuit_breaker"
    order = 40
    watches = (MinutePassed, SessionOpened, SessionClosed)

    def __init__(
        self,
        equity: SteadyEquity,
        book: Book,
        phases: PhaseManager,
        vix: UnifiedVIXManager,
        freshness: DataFreshnessValidator,
        engine: StressEngine,
        figures: MarginFigures,
        settings: CircuitBreakerSettings,
    ) -> None:
        self._equity = equity
        self._book = book
        self.phases = phases
        self._vix = vix
        self._freshness = freshness
        self._profits = ProfitCorrelation(book, engine, settings)
        self._figures = figures
        self._settings = settings
        self._window: deque[tuple[datetime, float]] = deque()
        self._found: dict[str, RiskThreshold] = {}
        self._tripped_at: datetime | None = None
        self._tripped_by = ""
        self._locked_until: datetime | None = None
        self._recovering = False
        self._streak_from: datetime | None = None

    @property
    def warned(self) -> bool:
        """Whether a figure is at 80 % of its threshold or over now: new sizes are halved."""
        return any(row.severity is not Severity.NORMAL for row in self._found.values())

    @property
    def locked(self) -> str | None:
        """Why everything is closed and stays so, or ``None``."""
        if self._locked_until is None:
            return None
        return f"{self._tripped_by or 'fast_loss'}, locked until {self._locked_until:%Y-%m-%d %H:%M}"

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny until it was calm for long enough and all is known again, then let one position at a time in."""
        now = context.now
        if self._locked_until is not None and now < self._locked_until:
            return Deny("circuit_lock", self.locked or "locked")
        if self._equity.value is None or not self._equity.value > 0.0:
            return Deny(self.name, f"equity {self._equity.value} is no amount that anything can be measured by")
        if self._tripped_at is not None and not self._is_calm(now):
            return Deny(self.name, f"{self._tripped_by} at {self._tripped_at:%Y-%m-%d %H:%M}, waiting for calm")
        if (self._recovering or self._tripped_at is not None) and any(context.book.exposed()):
            return Deny(self.name, f"one position at a time after {self._tripped_by}")
        return self._after_losses(context)

    def _is_calm(self, now: datetime) -> bool:
        """30 minutes since the last minute of the trip, all data fresh, and nothing of the account in doubt."""
        calm = self._tripped_at is None or now - self._tripped_at >= timedelta(minutes=self._settings.calm_minutes)
        return calm and self._freshness.all_fresh(now) and not self._book.doubted

    def bars(self, opening: Opening, context: RiskContext) -> Deny | None:
        """Losses in a row, while judging them changes nothing of what is kept; not for what takes a part's place.

        What was lost elsewhere is no reason to keep a part that is due.
        """
        if opening.replaces or self._begins_anew(context):
            return None
        verdict = self._after_losses(context)
        return verdict if isinstance(verdict, Deny) else None

    def _begins_anew(self, context: RiskContext) -> bool:
        """Whether the next judgement forgets a streak: a win ended it, or its lock is over."""
        if self._streak_from is not None and not self._book.losses_in_a_row():
            return True
        limit, streak, last = self._limit(context), *self._streak()
        return limit > 0 and streak >= limit and last is not None and not self._is_locked(last, context.now)

    def _limit(self, context: RiskContext) -> int:
        foundation = context.phase == 1
        return self._settings.losses_in_a_row_foundation if foundation else self._settings.losses_in_a_row

    def _is_locked(self, last: datetime, now: datetime) -> bool:
        return now - last < timedelta(hours=self._settings.lock_hours)

    def _after_losses(self, context: RiskContext) -> Verdict:
        """No entry for the lock's hours after the last of too many losses; then one position at a time."""
        limit, streak, last = self._limit(context), *self._streak()
        if limit and last is not None and streak >= limit:
            if self._is_locked(last, context.now):
                return Deny("losses_in_a_row", f"{streak} losing trades in a row", float(limit), float(streak))
            self._streak_from = last
        if self._streak_from is not None and any(context.book.exposed()):
            return Deny("losses_in_a_row", "one position at a time after losses in a row", float(limit), float(streak))
        return Allow(self.name)

    def _streak(self) -> tuple[int, datetime | None]:
        """Losing positions in a row since the last lock, and when the newest trade closed; a win ends the lock too."""
        if self._streak_from is not None and not self._book.losses_in_a_row():
            self._streak_from = None
        since = self._streak_from
        trades = [trade for trade in self._book.trades if since is None or trade.closed > since]
        return losing_streak(trades), trades[-1].closed if trades else None

    # What happens

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """Measure equity, margin use and profits each minute while something is held."""
        if isinstance(event, SessionOpened):
            self._window.clear()
        if isinstance(event, SessionClosed) and self._tripped_at is None:
            self._recovering = False
        if not isinstance(event, MinutePassed):
            return ()
        self._unlock(event.time)
        if not self._book.positions and not self._book.shares and not self._book.unowned:
            over = [_calm(row, event) for row in self._found.values() if row.severity is not Severity.NORMAL]
            self._found.clear()
            self._window.clear()
            return over
        value = self._equity.look(event.time).value
        if value is None:
            return ()
        rows = [self._fast_loss(event, value), self._margin_use(event, value), *self._profits.look(event, self.phases)]
        self._found.update({row.rule: row for row in rows})
        for row in rows:
            self._trip(row, event.time)
        return rows

    @property
    def rests(self) -> bool:
        """Nothing is locked, no loss is half of its limit, and margin is not at its own."""
        over = any(row.observed >= _NEAR.get(row.rule, 1.0) * row.limit for row in self._found.values())
        return self._locked_until is None and not over

    @property
    def samples(self) -> bool:
        """Profits of positions in different groups are followed."""
        return self._profits.follows

    @property
    def vix_levels(self) -> tuple[float, ...]:
        """Those from which less margin may be in use."""
        return self._settings.vix_raised, self._settings.vix_high, self._settings.vix_extreme

    def _trip(self, row: RiskThreshold, now: datetime) -> None:
        if row.severity in (Severity.BREACH, Severity.EMERGENCY):
            self._tripped_at, self._tripped_by = now, row.rule
        if row.severity is Severity.EMERGENCY:
            self._locked_until = now + timedelta(hours=self._settings.lock_hours)

    def _unlock(self, now: datetime) -> None:
        """A lock of time ends by its time, and what it waited for by calm; then one position at a time."""
        if self._locked_until is not None and now >= self._locked_until:
            self._locked_until = None
        if self._tripped_at is not None and self._locked_until is None and self._is_calm(now):
            self._tripped_at, self._recovering = None, True

    def _fast_loss(self, event: Event, equity: float) -> RiskThreshold:
        settings = self._settings
        limit = settings.fast_loss_foundation if self.phases.phase == 1 else settings.fast_loss
        if self._window and event.time - self._window[-1][0] > _MINUTE:  # it rested until now: nothing had moved
            self._window.append((event.time - _MINUTE, self._window[-1][1]))
        self._window.append((event.time, equity))
        while event.time - self._window[0][0] > timedelta(minutes=settings.fast_loss_minutes):
            self._window.popleft()
        highest = max(value for _, value in self._window)
        loss = 1 - equity / highest if highest > 0.0 else 1.0
        if loss >= limit * settings.emergency_at:
            return _row(event, "fast_loss", Severity.EMERGENCY, limit * settings.emergency_at, loss)
        return threshold("fast_loss", event, limit, loss, settings.warn_at)

    def _margin_use(self, event: Event, equity: float) -> RiskThreshold:
        used = self._figures.used().dollars / equity if equity > 0.0 else 1.0
        return threshold("margin_use", event, self._margin_level(event.time), used, self._settings.warn_at)

    def _margin_level(self, now: datetime) -> float:
        return breaker_level(self._vix.value(now), self.phases.phase, self._settings)

    def wanted(self, now: datetime) -> Iterable[Wanted]:
        """Everything gone while it is locked; the riskiest, one at a time, while loss or margin are over a limit."""
        rows = [row for name, row in self._found.items() if name in _CLOSES]
        if self._locked_until is not None:
            limit, loss = self._settings.fast_loss, self._found.get("fast_loss")
            return (Wanted("fast_loss", Scope.ALL, limit, limit if loss is None else loss.observed),)
        return tuple(
            Wanted(row.rule, Scope.RISKIEST, row.limit, row.observed, self._still(row, now))
            for row in rows
            if row.severity is Severity.BREACH
        )

    def _still(self, row: RiskThreshold, now: datetime) -> Callable[[frozenset[str]], bool] | None:
        """Margin tells what the next one frees; a loss of the last minutes does not: one at a time there."""
        equity = self._equity.value
        if row.rule != "margin_use" or equity is None or not equity > 0.0:
            return None
        level = self._margin_level(now)
        return lambda gone: self._figures.used_without(gone).dollars / equity >= level

    def cash_moved(self, amount: float) -> bool:
        """The window's figures are of the account as it is now: what was lost stays the same share of it."""
        value = self._equity.value
        if value is None or value <= 0.0 or value <= amount:
            self._window.clear()  # nothing was there, or nothing is left, that a loss could be a share of
        else:
            share = value / (value - amount)
            self._window = deque((time, worth * share) for time, worth in self._window)
        return True

    # Over restarts

    def memory(self) -> Mapping[str, object]:
        """Everything that limits, in JSON types."""
        return {
            "tripped_at": self._tripped_at,
            "tripped_by": self._tripped_by,
            "locked_until": self._locked_until,
            "recovering": self._recovering,
            "streak_from": self._streak_from,
        }

    def restore(self, row: Mapping[str, object]) -> None:
        """Go on with what the last process knew. Raises ``ValueError`` for what cannot be true."""
        self._tripped_at, self._locked_until = moment(row, "tripped_at"), moment(row, "locked_until")
        self._streak_from, self._recovering = moment(row, "streak_from"), truth(row, "recovering")
        self._tripped_by = words(row, "tripped_by")


class ProfitCorrelation:
    """Whether positions of different groups lose together: the mean correlation of their profits over the last day."""

    def __init__(self, book: Book, engine: StressEngine, settings: CircuitBreakerSettings) -> None:
        self._book = book
        self._engine = engine
        self._settings = settings
        self._values: dict[str, dict[datetime, float]] = {}
        self._looked: datetime | None = None

    @property
    def follows(self) -> bool:
        """Whether there are profits to compare: positions of two groups at least."""
        return len({group_of(row.underlying.ticker) for row in self._book.positions.values()}) > 1

    def look(self, event: Event, phases: PhaseManager) -> tuple[RiskThreshold, ...]:
        """A sample every few minutes, and what the samples say; nothing in between."""
        before, self._looked = self._looked or event.time, event.time
        minutes = event.time.minute % _SAMPLE_MINUTES
        if minutes and event.time - before <= timedelta(minutes=minutes):
            return ()  # no multiple of them since the last look, which may have been a rest ago
        self._sample(event.time)
        foundation = phases.phase == 1
        limit = self._settings.correlation_foundation if foundation else self._settings.correlation
        return (threshold("profit_correlation", event, limit, self._mean(), _NEVER),)

    def _sample(self, now: datetime) -> None:
        since = now - timedelta(hours=self._settings.correlation_hours)
        for name in [name for name in self._values if name not in self._book.positions]:
            del self._values[name]
        for row in self._engine.held().rows:
            if row.position in self._book.positions and row.known:
                self._values.setdefault(row.position, {})[now] = row.value
        for samples in self._values.values():
            for old in [time for time in samples if time < since]:
                del samples[old]

    def _mean(self) -> float:
        """Over pairs of positions in different groups, three positions at least, while their sum lost; else nothing."""
        groups = {name: group_of(self._book.positions[name].underlying.ticker) for name in self._values}
        pairs = [pair for pair in combinations(sorted(groups), 2) if groups[pair[0]] is not groups[pair[1]]]
        if len({name for pair in pairs for name in pair}) < _FEWEST_POSITIONS:
            return 0.0  # nothing to say
        changes = [_together(self._values[one], self._values[other]) for one, other in pairs]
        known = [row for row in changes if row is not None]
        ends = [list(samples.values()) for samples in self._values.values()]
        lost = sum(values[-1] - values[0] for values in ends if values)
        return max(fmean(known), 0.0) if known and lost < 0.0 else 0.0


def _together(one: dict[datetime, float], other: dict[datetime, float]) -> float | None:
    """Correlation of the changes of two series over the moments that both have; ``None`` with too few of them."""
    times = [time for time in one if time in other]
    if len(times) < _FEWEST_SAMPLES:
        return None
    first = [one[after] - one[before] for before, after in pairwise(times)]
    second = [other[after] - other[before] for before, after in pairwise(times)]
    return correlation(first, second)


def _row(event: Event, rule: str, severity: Severity, limit: float, observed: float) -> RiskThreshold:
    return RiskThreshold(time=event.time, rule=rule, severity=severity, limit=limit, observed=observed)


def _calm(row: RiskThreshold, event: Event) -> RiskThreshold:
    return _row(event, row.rule, Severity.NORMAL, row.limit, 0.0)

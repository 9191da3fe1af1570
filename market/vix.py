"""The one place that knows the VIX: its regime, percentile, jump within the day and age. There is no assumed VIX."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf

from core.bus import EventBus
from core.cache import UnifiedIntelligentCache
from core.contracts import MARKET_OPEN
from core.events import MarketData, SessionOpened
from core.factory import Manager
from core.settings.fields import VixSettings
from market.history import DailyHistory, history_of

VIX = "VIX"
OPEN_SEEN_WITHIN = timedelta(minutes=10)


class VixRegime(StrEnum):
    """Bands of the VIX (methodology, section 2)."""

    LOW = "low"
    NORMAL = "normal"
    ELEVATED = "elevated"
    HIGH = "high"
    EXTREME = "extreme"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class VixReading:
    """A fresh VIX. ``percentile`` is the share of the last year's closes at or below it; ``jump`` is its rise over the
    day's open as a fraction (the largest of the day so far); both ``None`` when unknown.
    """

    value: float
    regime: VixRegime
    percentile: float | None
    jump: float | None
    seen: datetime


class UnifiedVIXManager(Manager):
    """Keeps the newest VIX from the bus and answers only while it is fresh."""

    def __init__(
        self, bus: EventBus, history: DailyHistory, settings: VixSettings, cache: UnifiedIntelligentCache
    ) -> None:
        self._cache = cache
        self._history = history
        self._settings = settings
        self._stale_after = timedelta(seconds=settings.stale_after_seconds)
        self._value: float | None = None
        self._seen: datetime | None = None
        self._opened: datetime | None = None
        self._open: float | None = None
        self._peak: float | None = None
        bus.subscribe(SessionOpened, self._on_session_opened, component="vix")
        bus.subscribe(MarketData, self._on_market_data, component="vix", tickers=(VIX,))

    def _on_session_opened(self, event: SessionOpened) -> None:
        self._opened = datetime.combine(event.day, MARKET_OPEN)
        self._open = self._peak = None

    def _on_market_data(self, event: MarketData) -> None:
        if not 0.0 < event.price < inf:
            return  # what cannot be true tells nothing: the one before grows old
        self._value, self._seen = event.price, event.fresh_at
        if self._open is None:
            self._open = self._find_open(event)
        self._peak = max(self._peak or 0.0, event.price, event.high)

    def _find_open(self, event: MarketData) -> float:
        """The day's open, by its first minute; when that was not seen, the close before: a jump counts from there."""
        bars = self._history.bars(VIX)
        late = self._opened is not None and event.time - self._opened > OPEN_SEEN_WITHIN
        if late and bars:
            return min(bars[-1].close, event.price)
        return event.open if event.open > 0 else event.price

    def value(self, now: datetime) -> float | None:
        """The VIX now in points; ``None`` when none was seen or the last is older than allowed."""
        if self._seen is None or now - self._seen > self._stale_after:
            return None
        return self._value

    def reading(self, now: datetime) -> VixReading | None:
        """The same with all that is known of it."""
        if self.value(now) is None or self._value is None or self._seen is None:
            return None
        closes = self._cache.get_or_compute(("vix", "closes"), self._sorted_closes, depends_on=(history_of(VIX),))
        percentile = bisect_right(closes, self._value) / len(closes) if closes else None
        jump = None if self._open is None or self._peak is None else self._peak / self._open - 1
        return VixReading(self._value, self.regime_of(self._value), percentile, jump, self._seen)

    @property
    def panics_at(self) -> float | None:
        """From where on the day has had its jump, in points; ``None`` before its open was seen."""
        return None if self._open is None else self._open * (1.0 + self._settings.panic_jump)

    def _sorted_closes(self) -> list[float]:
        return sorted(bar.close for bar in self._history.bars(VIX)[-self._settings.percentile_days :])

    def regime_of(self, value: float) -> VixRegime:
        """The band a VIX falls into; a boundary belongs to the band above it, except 30 and 40 (`above`)."""
        bounds = self._settings
        if value > bounds.extreme:
            return VixRegime.PANIC
        if value > bounds.high:
            return VixRegime.EXTREME
        for bound, regime in (
            (bounds.low, VixRegime.LOW),
            (bounds.normal, VixRegime.NORMAL),
            (bounds.elevated, VixRegime.ELEVATED),
        ):
            if value < bound:
                return regime
        return VixRegime.HIGH

    def cap_of(self, regime: VixRegime) -> float:
        """Share of equity that buying power may use in a regime."""
        bounds = self._settings
        return {
            VixRegime.LOW: bounds.cap_low,
            VixRegime.NORMAL: bounds.cap_normal,
            VixRegime.ELEVATED: bounds.cap_elevated,
            VixRegime.HIGH: bounds.cap_high,
            VixRegime.EXTREME: bounds.cap_extreme,
            VixRegime.PANIC: bounds.cap_extreme,
        }[regime]

"""Which prices may be trusted: age, absence, frozen feeds of underlyings, and unusable quotes of options."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from core.bus import EventBus
from core.contracts import Quote
from core.events import DataBecameStale, MarketData, SessionOpened
from core.settings.fields import MarketSettings


class DataFault(StrEnum):
    """What is wrong with a price or a quote."""

    MISSING = "missing"
    STALE = "stale"
    FROZEN = "frozen"
    ZERO = "zero"
    CROSSED = "crossed"
    ONE_SIDED = "one_sided"
    WIDE = "wide"


@dataclass(slots=True)
class _Seen:
    price: float
    fresh_at: datetime
    changed_at: datetime
    reported: bool = False


class DataFreshnessValidator:
    """Judges the newest price of every underlying that the bus reports."""

    def __init__(self, bus: EventBus, settings: MarketSettings) -> None:
        self._bus = bus
        self._stale_after = timedelta(seconds=settings.stale_after_seconds)
        self._frozen_after = timedelta(minutes=settings.frozen_after_minutes)
        self._seen: dict[str, _Seen] = {}
        self._opened: datetime | None = None
        bus.subscribe(SessionOpened, self._on_session_opened, component="freshness")
        bus.subscribe(MarketData, self._on_market_data, component="freshness")

    def _on_session_opened(self, event: SessionOpened) -> None:
        self._opened = event.time
        self._seen.clear()

    def _on_market_data(self, event: MarketData) -> None:
        seen = self._seen.get(event.ticker)
        if seen is None:
            self._seen[event.ticker] = _Seen(event.price, event.fresh_at, event.fresh_at)
        else:
            if abs(event.price - seen.price) > 1e-9:
                seen.price, seen.changed_at = event.price, event.fresh_at
            seen.fresh_at = event.fresh_at
        self._report(event.ticker, event.time)

    def _report(self, ticker: str, now: datetime) -> None:
        """Tell the bus once when a price goes stale, and be ready to tell again after it was fresh."""
        seen = self._seen[ticker]
        stale = now - seen.fresh_at > self._stale_after
        if stale and not seen.reported:
            self._bus.publish(DataBecameStale(time=now, ticker=ticker, last_seen=seen.fresh_at))
        seen.reported = stale

    def fault(self, ticker: str, now: datetime) -> DataFault | None:
        """What is wrong with an underlying's price now; ``None`` when it may be used."""
        seen = self._seen.get(ticker)
        if seen is None:
            return DataFault.MISSING
        if seen.price <= 0:
            return DataFault.ZERO
        if now - seen.fresh_at > self._stale_after:
            return DataFault.STALE
        if now - seen.changed_at > self._frozen_after:
            return DataFault.FROZEN
        return None

    def all_fresh(self, now: datetime) -> bool:
        """Whether every underlying seen this session may be used."""
        return all(self.fault(ticker, now) is None for ticker in self._seen)

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it before the market opens."""
        return ()


def quote_fault(quote: Quote | None) -> DataFault | None:
    """What is wrong with an option's quote; a missing bid is reported as one-sided."""
    if quote is None:
        return DataFault.MISSING
    if quote.bid is None or quote.ask is None:
        return DataFault.ONE_SIDED
    if quote.ask <= 0:
        return DataFault.ZERO
    return DataFault.CROSSED if quote.bid > quote.ask else None

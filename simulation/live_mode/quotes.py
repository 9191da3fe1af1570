"""Quotes as LEAN's live feed shows them: each side is carried forward, with its size, until a new one comes.

A new bar starts from the closes and sizes of the one before, and an update never clears a side (lean-facts 13.7): a bid
that vanished stays visible for hours. What is filled forward is not cached, so the end of the last bar tells of an
outage (13.8). The broker sees the market itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simulation.faults.kinds import Fault
from simulation.faults.quotes import QuoteFaults, Spell
from simulation.lean.bars import Bar, BaseData, QuoteBar
from simulation.lean.clock import MINUTE_MS
from simulation.lean.enums import SecurityType
from simulation.live_mode.controls import Control, Controls
from simulation.live_mode.threads import Threads
from simulation.securities.securities import Security, SecurityCache

_CROSSED_BY = 0.10


class FeedClock:
    """Stands for the engine in one security: the same, but for the instant up to which its prices are known."""

    def __init__(self, engine: Any) -> None:
        self._whole = engine
        self.data_ms = int(engine.data_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class LiveCache(SecurityCache):
    """`security.cache` live; every look at it is a call into the engine, where another thread may come in between."""

    def __init__(self, security: Security, feed: LiveQuotes) -> None:
        super().__init__(security)
        self._feed = feed

    def get_data(self, kind: type | None = None) -> BaseData | None:
        """The last data point of a kind, a quote with its sides carried forward."""
        self._feed.threads.switch()
        return self._feed.quote(self._security) if kind is QuoteBar else super().get_data(kind)


class ShownSecurity:
    """A security as a fill model of LEAN's paper broker meets it: its quote is the one that the feed shows."""

    def __init__(self, security: Any, feed: LiveQuotes) -> None:
        self._whole = security
        self._feed = feed

    def last_quote(self) -> QuoteBar | None:
        """The quote with its sides carried forward."""
        return self._feed.quote(self._whole)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


class LiveQuotes:
    """What the feed has shown so far."""

    def __init__(self, threads: Threads, controls: Controls) -> None:
        self.threads = threads
        self._controls = controls
        self._shown: dict[Security, QuoteBar] = {}
        self._clocks: dict[Security, FeedClock] = {}
        self._market = False
        self.faults: QuoteFaults | None = None

    def watch(self, security: Security, engine: Any) -> None:
        """Takes a security into the feed."""
        clock = FeedClock(engine)
        security._engine = clock
        self._clocks[security] = clock
        security.cache = LiveCache(security, self)

    def take(self, data_ms: int) -> None:
        """A minute's data: what the feed lets through becomes visible."""
        for security, clock in self._clocks.items():
            if Control.OUTAGE in self._controls:
                continue
            if security.type == SecurityType.INDEX and Control.NO_INDEX in self._controls:
                continue
            clock.data_ms = data_ms
            if security.is_option:
                self._see(security)

    def _see(self, security: Security) -> None:
        fresh = security.last_quote()
        shown = self._shown.get(security)
        if fresh is None or (shown is not None and fresh.end_ms <= shown.end_ms):
            return
        spell = None if self.faults is None else self.faults.spell_of(str(security.symbol))
        if spell is None or spell.fault is not Fault.QUOTE_FROZEN:
            self._shown[security] = self._merged(fresh, shown, spell)

    def _merged(self, fresh: QuoteBar, shown: QuoteBar | None, spell: Spell | None) -> QuoteBar:
        """A side without size has not come: the one before stands."""
        bid, bid_size = fresh.bid, fresh.last_bid_size
        ask, ask_size = fresh.ask, fresh.last_ask_size
        sized = bid_size > 0 or ask_size > 0
        fault = None if spell is None else spell.fault
        lost = None if spell is None or fault is not Fault.QUOTE_MISSING else "bid" if spell.up else "ask"
        no_bid = bid is None or bid.close <= 0 or (sized and bid_size <= 0) or Control.NO_BID in self._controls
        no_ask = ask is None or ask.close <= 0 or (sized and ask_size <= 0) or Control.NO_ASK in self._controls
        no_bid, no_ask = no_bid or lost == "bid", no_ask or lost == "ask"
        if spell is not None and fault is Fault.QUOTE_SPIKE:
            bid, ask = _scaled(bid, spell.factor), _scaled(ask, spell.factor)
        before_bid, before_ask = (None, None) if shown is None else (shown.bid, shown.ask)
        bid = carried(None if no_bid else bid, before_bid)
        ask = carried(None if no_ask else ask, before_ask)
        if no_bid:
            bid_size = 0.0 if shown is None else shown.last_bid_size
        if no_ask:
            ask_size = 0.0 if shown is None else shown.last_ask_size
        if Control.CROSSED in self._controls and ask is not None:
            bid = _level(ask.close + _CROSSED_BY)  # where nobody bid, a price without size (run DE)
        elif fault is Fault.QUOTE_CROSSED and ask is not None:
            bid, bid_size = _level(ask.close + _CROSSED_BY), max(bid_size, 1.0)
        bar = QuoteBar(None, fresh.symbol, bid, bid_size, ask, ask_size)
        bar.zone, bar.start_ms, bar.end_ms = fresh.zone, fresh.start_ms, fresh.end_ms
        return bar

    def quote(self, security: Security) -> QuoteBar | None:
        """The quote that the algorithm sees, or within ``market`` the market's own."""
        if self._market:
            return security.last_quote()
        shown = self._shown.get(security)
        return security.last_quote() if shown is None else shown

    def standing(self, security: Any, now_ms: int, ask: bool) -> float | None:
        """A side of the market's quote at an instant, within the minute too; None where it is missing.

        A minute's open comes at its begin, its high after 20 seconds, its low after 40, its close after 59: so the
        recordings' feed played a bar.
        """
        minute = now_ms // MINUTE_MS * MINUTE_MS
        with self.market(minute + MINUTE_MS):
            bar = security.last_quote()
        side = None if bar is None else bar.ask if ask else bar.bid
        size = 0.0 if bar is None else bar.last_ask_size if ask else bar.last_bid_size
        if bar is None or side is None or side.close <= 0 or size <= 0:
            return None
        if bar.end_ms <= minute:
            return float(side.close)
        second = (now_ms - minute) // 1000
        price = side.open if second < 20 else side.high if second < 40 else side.low if second < 59 else side.close
        return float(price)

    @contextmanager
    def market(self, data_ms: int) -> Iterator[None]:
        """While active, quotes are the market's: what the broker fills on."""
        before = {clock: clock.data_ms for clock in self._clocks.values()}
        self._market = True
        for clock in before:
            clock.data_ms = data_ms
        try:
            yield
        finally:
            self._market = False
            for clock, seen in before.items():
                clock.data_ms = seen


def carried(side: Bar | None, before: Bar | None) -> Bar | None:
    """A bar's side starts from the close before it (TickQuoteBarConsolidator.cs:102); what has not come stands."""
    if before is None or side is None:
        return side if before is None else _level(before.close)
    opens = before.close
    return Bar(opens, max(opens, side.high), min(opens, side.low), side.close)


def _scaled(side: Bar | None, factor: float) -> Bar | None:
    return None if side is None else _level(side.close * factor)


def _level(price: float) -> Bar:
    return Bar(price, price, price, price)

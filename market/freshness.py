"""Which prices may be trusted: the one place that judges underlyings' prices and options' quotes.

Underlyings by age, absence and frozen feeds. An option's quote that does not change writes no row, so age alone says
nothing: it is stale when it is older than two minutes while its partners have quoted since, or its underlying has moved
since (methodology, section 5).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf

from core.book import Book
from core.bus import EventBus
from core.contracts import MOST_POINTS, AssetKind, Contract, Leg, Quote, Right
from core.events import DataBecameStale, MarketData, MinutePassed, NoticeKind, NoticeRaised, SessionOpened
from core.factory import Manager
from core.gateway import Gateway, Tick
from core.instruments import instrument_of, underlying_named
from core.settings.fields import MarketSettings, QuoteSettings

_LOOKS_APART = timedelta(minutes=6)  # quiet minutes are looked at every five


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
    stale_at: datetime | None = None


class DataFreshnessValidator(Manager):
    """Judges the newest price of every underlying that the bus reports."""

    def __init__(self, bus: EventBus, settings: MarketSettings) -> None:
        self._bus = bus
        self._stale_after = timedelta(seconds=settings.stale_after_seconds)
        self._frozen_after = timedelta(minutes=settings.frozen_after_minutes)
        self._seen: dict[str, _Seen] = {}
        self._absent: set[str] = set()
        self._implied: set[str] = set()
        self._opened: datetime | None = None
        bus.subscribe(SessionOpened, self._on_session_opened, component="freshness")
        bus.subscribe(MarketData, self._on_market_data, component="freshness")

    def _on_session_opened(self, event: SessionOpened) -> None:
        self._opened = event.time
        self._seen.clear()
        self._absent.clear()
        self._implied.clear()

    def _on_market_data(self, event: MarketData) -> None:
        price, fresh_at = event.price, event.fresh_at
        seen = self._seen.get(event.ticker)
        if seen is None:
            late = event.ticker in self._absent
            seen = self._seen[event.ticker] = _Seen(price, fresh_at, fresh_at, reported=late)
        else:
            if abs(price - seen.price) > 1e-9:
                seen.price, seen.changed_at = price, fresh_at
            seen.fresh_at = fresh_at
        self._report(event.ticker, event.time, seen)

    def _report(self, ticker: str, now: datetime, seen: _Seen) -> None:
        """Tell the bus once when a price goes stale, and be ready to tell again after it was fresh."""
        stale = now - seen.fresh_at > self._stale_after
        if stale and not seen.reported:
            self._bus.publish(DataBecameStale(time=now, ticker=ticker, last_seen=seen.fresh_at))
            seen.stale_at = now
        elif seen.reported and not stale:
            since = "the open" if seen.stale_at is None else f"{seen.stale_at:%H:%M}"
            _tell(self._bus, now, f"{ticker} has fresh prices again at {now:%H:%M}, it had none since {since}")
        seen.reported = stale

    def source(self, ticker: str, tick: Tick | None, now: datetime) -> None:
        """Live, once a minute: what an underlying's price is from, told at each open and when it changes."""
        if tick is None:
            self._tell_absent(ticker, now)
        elif tick.implied and ticker not in self._implied:
            self._implied.add(ticker)
            text = f"{ticker} is not in the feed: from {now:%H:%M} its level is implied by the parity of its options"
            _tell(
                self._bus, now, f"{text}; entries, exits, marks and limits rest on it, a day's open and history do not"
            )
        elif not tick.implied and ticker in self._implied:
            self._implied.discard(ticker)
            _tell(self._bus, now, f"{ticker} has a price of its own from {now:%H:%M}: nothing is implied any more")

    def _tell_absent(self, ticker: str, now: datetime) -> None:
        """No price of a ticker that is watched came in this session yet: told once it should have."""
        if self._opened is None or ticker in self._absent or now - self._opened < self._stale_after:
            return
        self._absent.add(ticker)
        self._bus.publish(DataBecameStale(time=now, ticker=ticker, last_seen=None))
        if (named := underlying_named(ticker)) is not None and named.kind is AssetKind.INDEX:
            _tell(self._bus, now, f"{ticker} is not in the feed: a broker's may quote its options and not the index")

    def line(self, now: datetime) -> str:
        """How old each price of this session is, in a line for a person."""
        ages = [f"{name} {max((now - seen.fresh_at).total_seconds(), 0):.0f} s" for name, seen in self._seen.items()]
        return f"ages of prices: {', '.join(ages) or 'none came in this session'}"

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


def quote_fault(quote: Quote | None) -> DataFault | None:
    """What is wrong with an option's quote; a missing bid, or one of nothing, is reported as one-sided."""
    if quote is None:
        return DataFault.MISSING
    bid, ask = quote.bid or 0.0, quote.ask
    if not 0.0 <= bid < MOST_POINTS or not (ask is None or 0.0 < ask < MOST_POINTS):  # nor is what is no number a price
        return DataFault.ZERO
    if not bid or ask is None:
        return DataFault.ONE_SIDED
    return DataFault.CROSSED if bid > ask else None


class QuoteJudge(Manager):
    """Says what is wrong with an option's quote; remembers the day's prices of underlyings, by which age is judged."""

    def __init__(self, gateway: Gateway, bus: EventBus, settings: QuoteSettings) -> None:
        self._gateway = gateway
        self._settings = settings
        self._prices: dict[str, tuple[list[datetime], list[float]]] = {}
        bus.subscribe(SessionOpened, self._on_session_opened, component="quotes")
        bus.subscribe(MarketData, self._on_market_data, component="quotes")

    def _on_session_opened(self, _event: SessionOpened) -> None:
        self._prices.clear()

    def _on_market_data(self, event: MarketData) -> None:
        times, prices = self._prices.setdefault(event.ticker, ([], []))
        if not times or event.fresh_at > times[-1]:
            times.append(event.fresh_at)
            prices.append(event.price)

    def fault(self, contract: Contract, now: datetime, partners: Iterable[Contract] = ()) -> DataFault | None:
        """What keeps a quote from being believed; ``partners`` are what it is held or traded with."""
        return self.fault_of(contract, self._gateway.quote(contract), now, partners)

    def fault_of(
        self, contract: Contract, quote: Quote | None, now: datetime, partners: Iterable[Contract] = ()
    ) -> DataFault | None:
        """The same of a quote that was read already."""
        fault = quote_fault(quote)
        if fault is not None or quote is None:
            return fault
        if self.is_wide(contract, quote):
            return DataFault.WIDE
        return DataFault.STALE if self.is_stale(contract, quote, now, partners) else None

    def is_wide(self, contract: Contract, quote: Quote) -> bool:
        """Whether bid and offer are too far apart for their middle to say anything: over both bounds."""
        if quote.bid is None or quote.ask is None:
            return False
        spread, middle = quote.ask - quote.bid, (quote.ask + quote.bid) / 2
        points = instrument_of(contract).points(self._settings.widest_points)
        return spread > self._settings.widest_fraction * middle and spread > points

    def is_stale(self, contract: Contract, quote: Quote, now: datetime, partners: Iterable[Contract] = ()) -> bool:
        """Whether what has happened since should have changed the quote; unknown prices of then count as changed."""
        if now - quote.time <= timedelta(seconds=self._settings.oldest_seconds):
            return False
        others = (self._gateway.quote(partner) for partner in partners if partner != contract)
        if any(other is not None and other.time > quote.time for other in others):
            return True
        times, prices = self._prices.get(contract.underlying.price_key, ([], []))
        at = bisect_right(times, quote.time) - 1
        if at < 0:
            return True
        return abs(prices[-1] / prices[at] - 1.0) > self._settings.stale_move

    def faults(self, legs: Sequence[Leg], now: datetime) -> dict[Contract, DataFault]:
        """What is wrong, by contract of a package; empty when every quote may be believed."""
        contracts = [leg.contract for leg in legs]
        found = ((contract, self.fault(contract, now, contracts)) for contract in contracts)
        return {contract: fault for contract, fault in found if fault is not None}


_DEAD = (DataFault.MISSING, DataFault.STALE, DataFault.ZERO, DataFault.CROSSED)


class HeldQuotes(Manager):
    """Live, tells of quotes of what is held that cannot be believed at two looks running, and of their end."""

    def __init__(self, bus: EventBus, gateway: Gateway, book: Book, judge: QuoteJudge) -> None:
        self._bus = bus
        self._gateway = gateway
        self._book = book
        self._judge = judge
        self._looks = TwoLooks()
        self._told: dict[str, datetime] = {}
        bus.subscribe(MinutePassed, self._on_minute, component="held_quotes")

    def _on_minute(self, event: MinutePassed) -> None:
        if not self._gateway.is_live():
            return
        now, held = event.time, set[str]()
        for position in self._book.positions.values():
            partners = [leg.contract for leg in position.legs]
            for leg in position.legs:
                held.add(leg.contract.name)
                self._look(leg, partners, now)
        self._told = {name: since for name, since in self._told.items() if name in held}

    def _look(self, leg: Leg, partners: Sequence[Contract], now: datetime) -> None:
        """Of one-sided quotes a missing offer is told: nobody bids for what is worth nothing, and that is no news."""
        name, quote = leg.contract.name, self._gateway.quote(leg.contract)
        fault = self._judge.fault_of(leg.contract, quote, now, partners)
        dead = fault in _DEAD or (fault is DataFault.ONE_SIDED and quote is not None and quote.ask is None)
        again = self._looks.again(name, now, dead)
        if again and name not in self._told and fault is not None:
            self._told[name] = now
            _tell(self._bus, now, f"the quote of {name} is {fault.value.replace('_', '-')} at {now:%H:%M}")
        elif not dead and name in self._told:
            since = self._told.pop(name)
            _tell(self._bus, now, f"the quote of {name} is good again at {now:%H:%M}, it was not since {since:%H:%M}")


def _tell(bus: EventBus, now: datetime, text: str) -> None:
    bus.publish(NoticeRaised(time=now, kind=NoticeKind.FEED, text=text))


class TwoLooks:
    """What must be seen at two looks running (at most so far apart) before it is acted on."""

    def __init__(self, apart: timedelta = _LOOKS_APART) -> None:
        self._apart = apart
        self._seen: dict[str, datetime] = {}

    def again(self, key: str, now: datetime, seen: bool) -> bool:
        """Whether it is seen now and was at the look before; the same minute counts once."""
        before = self._seen.pop(key, None)
        if not seen:
            return False
        same = before is not None and before == now
        self._seen[key] = now
        return before is not None and not same and now - before <= self._apart

    def confirmed(self, key: str, now: datetime, usable: bool, agrees: bool | None) -> bool:
        """Whether a stop that the quotes show may trade: the model agrees, or usable quotes said so twice running.

        ``agrees``: whether the stop is reached at the model's value too; ``None`` where there is no model's value.
        """
        again = self.again(key, now, usable)
        return bool(agrees) or again


def worth_at_most(legs: Sequence[Leg]) -> float:
    """Points above which no value of held legs can be true: their largest payoff; inf where there is no bound.

    ``ratio`` counts contracts of a package, a short leg negative. Legs of one expiry only: later ones have time value.
    """
    calls = sum(leg.ratio for leg in legs if leg.contract.right is Right.CALL)
    if len({leg.contract.expiry for leg in legs}) != 1 or calls > 0:
        return inf
    prices = {0.0, *(leg.contract.strike for leg in legs)}
    return max(_payoff(legs, price) for price in prices)


def _payoff(legs: Sequence[Leg], price: float) -> float:
    total = 0.0
    for leg in legs:
        contract = leg.contract
        inside = price - contract.strike if contract.right is Right.CALL else contract.strike - price
        total += leg.ratio * max(inside, 0.0)
    return total

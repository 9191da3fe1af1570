"""Option chains by days to expiry, strike and liquidity, with as few subscriptions as possible.

Contracts are picked from the day's listing (no quotes), subscribed around their use, released when nothing needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from core.bus import EventBus
from core.cache import SessionEnd, UnifiedIntelligentCache
from core.contracts import MOST_POINTS, Contract, Leg, Listed, Package, Quote, Right
from core.events import SessionOpened
from core.factory import Manager
from core.gateway import Gateway
from core.instruments import instrument_of
from core.parts import Part
from core.settings.fields import OrderSettings
from market.freshness import DataFault, quote_fault

_NEAR_FIRST = (3, 10)
"""Days around a wanted expiry that are asked for before the whole of what is tolerated."""


@dataclass(frozen=True, slots=True)
class PackagePrice:
    """What a package brings at the mid and at the natural price (sell at bids, buy at offers); natural <= mid.

    ``tick`` is the step of a limit at the mid, in points.
    """

    mid: float
    natural: float
    tick: float

    @property
    def spread(self) -> float:
        """Twice the way from mid to natural: the package's own bid-offer spread."""
        return 2 * (self.mid - self.natural)


def package_price(legs: Sequence[Leg], quotes: Sequence[Quote | None], *, closing: bool = False) -> PackagePrice | None:
    """Price of legs at their quotes; ``None`` where a side that the trade needs is missing or crossed.

    Every option needs an offer; one sold at entry also a bid. ``closing``: a missing bid counts as zero, and an exit
    may not wait for a crossed quote to heal: a live feed keeps the last bid of an option that nobody bids for any more,
    over an offer that went on falling; such a bid counts as the offer.
    """
    mid = natural = 0.0
    for leg, quote in zip(legs, quotes, strict=True):
        if quote is None or quote.ask is None:
            return None
        if quote.bid is None and leg.ratio < 0 and not closing:
            return None
        bid = quote.bid or 0.0
        if bid > quote.ask and not closing:
            return None
        bid = min(bid, quote.ask)
        mid -= leg.ratio * (bid + quote.ask) / 2
        natural -= leg.ratio * (quote.ask if leg.ratio > 0 else bid)
    return PackagePrice(mid, natural, instrument_of(legs[0].contract).ticks.step(mid, len(legs)))


def current_price(gateway: Gateway, package: Package, *, closing: bool = False) -> PackagePrice | None:
    """Price of a package now."""
    return package_price(package.legs, [gateway.quote(leg.contract) for leg in package.legs], closing=closing)


class OptionChainManager(Manager):
    """Answers what is listed and what it is quoted at; counts who uses a contract so that release is safe."""

    def __init__(
        self, gateway: Gateway, bus: EventBus, settings: OrderSettings, cache: UnifiedIntelligentCache
    ) -> None:
        self._cache = cache
        self._gateway = gateway
        self._settings = settings
        self._users: dict[str, set[str]] = {}
        self._contracts: dict[str, Contract] = {}
        bus.subscribe(SessionOpened, self._on_session_opened, component="chains")

    def _on_session_opened(self, event: SessionOpened) -> None:
        expired = [contract for contract in self._contracts.values() if contract.expiry < event.day]
        for contract in expired:
            self._users.pop(contract.name, None)
            self._contracts.pop(contract.name, None)

    def expiring(self, root: str, day: date) -> Listed:
        """Contracts listed today that expire on one day, by strike and right; may be empty.

        Kept until the session ends. An empty answer is not kept: the day's list may still come.
        """
        key = ("chain", self._gateway.now().date(), root, day)
        found = self._cache.get_or_compute(
            key, lambda: Listed.of(self._gateway.chain(root, (day, day))), depends_on=(SessionEnd(),)
        )
        if not found:
            self._cache.invalidate(key)
        return found

    def expiries(self, root: str, first: date, last: date) -> tuple[date, ...]:
        """The days of the closed range on which a contract listed today expires; kept as the list itself."""
        key = ("expiries", self._gateway.now().date(), root, first, last)
        found: tuple[date, ...] = self._cache.get_or_compute(
            key, lambda: tuple(self._gateway.expiries(root, (first, last))), depends_on=(SessionEnd(),)
        )
        if not found:
            self._cache.invalidate(key)
        return found

    def nearest_expiry(self, root: str, today: date, days: int, tolerance: int) -> date | None:
        """The listed expiry nearest to so many days ahead; ``None`` when none is within the tolerance in days.

        Kept until the session ends, as the list itself.
        """
        key = ("nearest", self._gateway.now().date(), root, today, days, tolerance)
        found: date | None = self._cache.get_or_compute(
            key, lambda: self._nearest(root, today + timedelta(days=days), tolerance), depends_on=(SessionEnd(),)
        )
        if found is None:
            self._cache.invalidate(key)
        return found

    def _nearest(self, root: str, wanted: date, tolerance: int) -> date | None:
        """Asked near the day first: most lists have one there."""
        for reach in (*(near for near in _NEAR_FIRST if near < tolerance), tolerance):
            span = timedelta(days=reach)
            expiries = self.expiries(root, wanted - span, wanted + span)
            if expiries:
                return min(expiries, key=lambda expiry: (abs((expiry - wanted).days), expiry))
        return None

    def listed_near(self, root: str, today: date, days: int, right: Right, distance: float) -> Contract | None:
        """The contract nearest to so many days and a distance from the price, a share of it.

        ``None`` where nothing is listed within a quarter of the days, or the price is not there yet.
        """
        tolerance = max(days // 4, 3) if days else 0
        near = self.nearest_expiry(root, today, days, tolerance)
        listed = None if near is None else self.expiring(root, near).of_right(right)
        spot = self.spot_of(listed[0]) if listed else None
        if listed is None or spot is None:
            return None
        strikes = listed.strikes
        return listed[min(range(len(strikes)), key=lambda at: (abs(strikes[at] - spot * (1 + distance)), strikes[at]))]

    def spot_of(self, contract: Contract) -> float | None:
        """The price of what an option stands on; asked for where it is not watched yet."""
        key = contract.underlying.price_key
        tick = self._gateway.tick(key)
        if tick is None:
            self._gateway.watch([key])
        return tick.price if tick is not None and 0.0 < tick.price < MOST_POINTS else None

    def is_listed(self, root: str) -> bool:
        """Whether the data has anything of a root today; asked once a session, live again while the answer is no."""
        key = ("listed", self._gateway.now().date(), root)
        found: bool = self._cache.get_or_compute(key, lambda: self._gateway.is_listed(root), depends_on=(SessionEnd(),))
        if not found and self._gateway.is_live():
            self._cache.invalidate(key)
        return found

    def may_come(self, root: str) -> bool:
        """Whether a root's list of today may still come: LEAN's is empty before data are ready (Lean issue 8688)."""
        return self._gateway.is_live() and not self.is_listed(root)

    @property
    def price_keys(self) -> set[str]:
        """What the watched contracts are written on, by the key of its price."""
        return {contract.underlying.price_key for contract in self._contracts.values()}

    def is_watched(self, contract: Contract, user: str) -> bool:
        """Whether a user still holds the quotes of a contract."""
        return user in self._users.get(contract.name, ())

    def watch(self, user: str, contracts: Iterable[Contract]) -> None:
        """Subscribe contracts for a user (a strategy or a position)."""
        wanted = list(contracts)
        for contract in wanted:
            self._users.setdefault(contract.name, set()).add(user)
            self._contracts[contract.name] = contract
        self._gateway.subscribe(wanted)

    def unwatch(self, user: str) -> None:
        """Release what only this user needed."""
        unused = [name for name, users in self._users.items() if user in users and len(users) == 1]
        for users in self._users.values():
            users.discard(user)
        released = [self._contracts.pop(name) for name in unused]
        for name in unused:
            del self._users[name]
        self._gateway.release(released)

    def quote(self, contract: Contract) -> Quote | None:
        """Newest quote of a watched contract."""
        return self._gateway.quote(contract)

    def quotes(self, contracts: Iterable[Contract]) -> dict[Contract, Quote]:
        """Newest usable two-sided quotes, by contract; what has none is absent."""
        found: dict[Contract, Quote] = {}
        for contract in contracts:
            quote = self._gateway.quote(contract)
            if quote is not None and quote_fault(quote) is None:
                found[contract] = quote
        return found

    def value_of(self, part: Part) -> float | None:
        """Worth of what a part holds at mids, in points a package; ``None`` without quotes."""
        if part.is_whole:
            return self.value(part.package)
        legs = part.legs
        worth = self.value(Package(legs)) if legs else 0.0
        return None if worth is None else worth / part.contracts

    def value(self, package: Package) -> float | None:
        """Worth of a package at mids, in points: positive when closing brings money; ``None`` without quotes."""
        total = 0.0
        for leg in package.legs:
            quote = self._gateway.quote(leg.contract)
            worthless = instrument_of(leg.contract).points(self._settings.worthless_offer)
            mid = None if quote is None else middle(quote, worthless)
            if mid is None:
                return None
            total += leg.ratio * mid
        return total

    def illiquid(self, contract: Contract, quote: Quote | None, selling: bool) -> str | None:
        """Why a leg may not be traded at this quote; ``None`` when it may (methodology, section 5)."""
        fault = quote_fault(quote)
        if quote is None or (fault is not None and (selling or fault is not DataFault.ONE_SIDED)):
            return "missing" if fault is None else fault.value
        if quote.ask is None:
            return DataFault.ONE_SIDED.value
        bid = quote.bid or 0.0
        if selling and bid <= 0:
            return DataFault.ZERO.value
        spread, mid = quote.ask - bid, (quote.ask + bid) / 2
        widest = instrument_of(contract).points(self._settings.max_spread_points)
        if spread > self._settings.max_spread_fraction * mid and spread > widest:
            return "wide_spread"
        return None


def middle(quote: Quote, worthless_offer: float) -> float | None:
    """Mid of a quote; a missing bid counts as zero up to an offer (a worthless option), else the mid is unknown."""
    if quote.ask is None or (not quote.bid and quote.ask > worthless_offer):
        return None
    return ((quote.bid or 0.0) + quote.ask) / 2


def mids(quotes: Mapping[Contract, Quote]) -> dict[Contract, float]:
    """Mid prices of usable quotes, in points."""
    return {contract: mid for contract, quote in quotes.items() if (mid := quote.mid) is not None}


def current_quotes(chains: OptionChainManager, package: Package) -> list[Quote | None]:
    """Newest quote of each leg."""
    return [chains.quote(leg.contract) for leg in package.legs]

"""Prices of packages and the walk of an order group from the mid through natural: points a package, a credit positive.

Before each step of an entry it is asked whether it is still wanted. A leg whose side of the quote is missing waits; a
long option that nobody bids for, at an offer that is next to nothing, is worth nothing (decision 020).

How fast orders, new prices and cancels may leave: tokens that come back a second or a minute after they were taken, so
that no second and no minute, wherever it begins, sees more than the setting says. Ordinary traffic leaves a share of
them (``orders.emergency_reserve``) to what must go: exits that cross, unwinds, and cancels of entries are never held
back by it. tastytrade publishes no figures; the defaults stay far below the 50 messages a second of Interactive
Brokers' API. Time is the market's; a backtest's has minutes only, in which everything happens at once: seconds count
live alone. How long each state may wait, and for whom, is a table (``WAITS``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from weakref import ReferenceType

from core.book import EntryIntent, EntryJudge, Position, Refusal
from core.contracts import Leg, Package, Quote, uncovered
from core.gateway import Gateway
from core.instruments import instrument_of
from core.parts import Part, Trait, merged
from core.settings.fields import OrderSettings
from execution.groups import OrderGroup, left_without
from market.chains import PackagePrice, current_price
from market.freshness import worth_at_most
from state.tables import OrderGroupState, OrderPurpose, PositionState

_ROUNDING = 1e-6
_STEPS_WITH_WING: Final = 2


def round_down(cash: float, tick: float) -> float:
    """The tick at or below, in our sign: never better for us than asked; never zero, which no engine can express."""
    steps = math.floor(cash / tick + _ROUNDING)
    return round((steps or -1) * tick, 10)


def round_up(cash: float, tick: float) -> float:
    """The tick at or above, in our sign: never worse for us than asked; never zero."""
    steps = math.ceil(cash / tick - _ROUNDING)
    return round((steps or 1) * tick, 10)


def through(cash: float, tick: float) -> float:
    """The first tick below, in our sign: what must be given beyond a price to trade at it; never zero."""
    steps = math.ceil(cash / tick - _ROUNDING) - 1
    return round((steps or -1) * tick, 10)


def walk_limit(price: PackagePrice, step: int, settings: OrderSettings) -> float:
    """Limit after so many steps from the mid: each a share of the spread, the last one a tick through natural.

    A limit exactly at natural waits for the market to come to it; one through it is marketable and executes at natural
    or better (methodology, section 5). A walk without steps stays at the mid.
    """
    if step and step >= settings.walk_steps:
        return through(price.natural, price.tick)
    wanted = price.mid - step * settings.walk_step * price.spread
    return round_down(max(wanted, price.natural), price.tick)


def crossing_limit(price: PackagePrice, attempt: int, settings: OrderSettings) -> float:
    """Limit that must trade, still a limit: natural and an allowance for what the market does within the next minute.

    The allowance grows with each attempt (from 1); a fill is at the market's own price, not at the limit.
    """
    allowance = max(price.spread, settings.crossing_share * abs(price.natural), 2 * price.tick)
    return round_down(price.natural - attempt * allowance, price.tick)


def within_worth(limit: float, package: Package, tick: float) -> float:
    """The limit of an exit, never beyond what the package that it buys back can be worth: its largest payoff.

    ``package`` is as it is traded (bought legs positive). What can be worth nothing is given away for a tick at most.
    """
    most = worth_at_most(package.legs)
    return limit if most == math.inf else max(limit, -max(most, tick))


def exit_limit(
    price: PackagePrice, package: Package, *, crosses: bool, settings: OrderSettings, step: int = 0
) -> float:
    """Where an exit begins: at the mid (after so many steps of one before it), or beyond natural where it crosses."""
    limit = crossing_limit(price, 1, settings) if crosses else walk_limit(price, step, settings)
    return within_worth(limit, package, price.tick)


def anomaly(entry: EntryIntent, settings: OrderSettings) -> Refusal | None:
    """A mid far from the model's (over both limits) is not traded."""
    if entry.model_cash is None:
        return None
    gap = abs(entry.mid_cash - entry.model_cash)
    share = settings.anomaly_fraction * abs(entry.model_cash)
    least = instrument_of(entry.package.legs[0].contract).points(settings.anomaly_points)
    if gap > share and gap > least:
        reason = f"mid {entry.mid_cash:.2f} is far from the model's {entry.model_cash:.2f}"
        return Refusal("anomaly", reason, max(share, least), gap)
    return None


def too_late(entry: EntryIntent, gateway: Gateway, settings: OrderSettings) -> Refusal | None:
    """The broker takes no opening of what expires within half an hour (lean-facts 13; methodology 6a)."""
    now = gateway.now()
    ending = [leg.contract.root for leg in entry.package.legs if leg.contract.expiry == now.date()]
    sessions = [gateway.session(now.date(), root) for root in dict.fromkeys(ending)]
    closes = min((session.closes_at for session in sessions if session is not None), default=None)
    if closes is None:
        return None
    left, least = (closes - now).total_seconds() / 60, settings.no_opening_minutes
    words = f"{left:.0f} minutes before an expiry nothing opens"
    return Refusal("expires_soon", words, float(least), left) if left <= least else None


class PriceWalk:
    """Finds the next limit of a group; asks the judges about an entry before it stands there.

    The judges stand above it, so it does not hold them: it knows where to ask.
    """

    def __init__(self, gateway: Gateway, settings: OrderSettings) -> None:
        self._gateway = gateway
        self._settings = settings
        self.judges: list[ReferenceType[EntryJudge]] = []

    def price(self, group: OrderGroup) -> PackagePrice | None:
        """What works of the group, at its quotes now."""
        return current_price(self._gateway, group.order, closing=not group.opens)

    def limit(self, group: OrderGroup, price: PackagePrice) -> float:
        """The walk goes on from the market's prices, but never back up: that would run away from a fill.

        No exit stands beyond what the package that it buys back can be worth; a loan that a person wants rests at the
        rate that it may cost at most, which the market may come to (methodology, 6a, row 6).
        """
        limit, entry = self._wanted(group, price), group.entry
        if not group.opens:
            return within_worth(limit, group.package, price.tick)
        if entry is None or entry.least_cash is None or group.orders or Trait.HELD_BY_PERSON not in entry.terms.traits:
            return limit
        return max(limit, round_up(entry.least_cash, price.tick))

    def _wanted(self, group: OrderGroup, price: PackagePrice) -> float:
        if not group.urgency.crosses and group.step <= self._settings.walk_steps:
            limit = walk_limit(price, group.step, self._settings)
            return limit if group.limit is None else min(limit, group.limit)
        beyond = group.step + 1 if group.urgency.crosses else group.step - self._settings.walk_steps
        return crossing_limit(price, min(beyond, self._settings.most_crossings), self._settings)

    def refusal(self, group: OrderGroup) -> Refusal | None:
        """Why an entry ends at the step it has come to: the first judge that has something against it.

        It is judged by what the step would bring: the better of its limit and natural, since a marketable limit
        executes at natural or better. Without prices it cannot be judged, so it ends.
        """
        if not group.opens or group.entry is None:
            return None
        price = self.price(group)
        if price is None:
            return Refusal("quotes", "a leg has no quote to trade at")
        brings = self._whole(group, max(self.limit(group, price), price.natural))
        if brings is None:
            return Refusal("quotes", "a leg of an order to come has no quote to trade at")
        answers = (_ask(judge, group.entry, group.contracts, brings) for judge in self.judges)
        return next((answer for answer in answers if answer is not None), None)

    def _whole(self, group: OrderGroup, brings: float) -> float | None:
        """Points that the whole package would bring, when the order that works now brings so many of its own.

        What filled before counts as it filled, what is to come at natural; ``None`` where that has no quote.
        """
        if not group.orders:
            return brings
        now = {leg.contract.name for leg in group.order.legs}
        unit = group.contracts * group.package.legs[0].contract.multiplier
        before = sum(fill.cash for name, fill in group.fills.items() if name not in now) / unit
        coming = current_price(self._gateway, Package(group.to_come)) if group.to_come else None
        if group.to_come and coming is None:
            return None
        own = brings * group.order_contracts / group.contracts
        return before + own + (0.0 if coming is None else coming.natural)


def _ask(reference: ReferenceType[EntryJudge], entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
    judge = reference()
    if judge is None:
        return Refusal("judge_error", "who judges this entry is gone")
    try:
        return judge.still_allowed(entry, contracts, brings)
    except Exception as error:  # fail closed: whatever went wrong in a judge, the entry ends
        return Refusal("judge_error", f"{type(judge).__name__} failed: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Sorted:
    """Legs held (signed) that may be closed now, those that wait and why, and the long ones that are worth nothing."""

    ready: tuple[Leg, ...]
    waiting: tuple[Leg, ...]
    worthless: tuple[Leg, ...]

    @property
    def why(self) -> str:
        """Which side of which quote is missing, in words."""
        names = (f"no {'offer' if leg.ratio < 0 else 'bid'} for {leg.contract.name}" for leg in self.waiting)
        return ", ".join(names)


def is_worthless(leg: Leg, quote: Quote | None, most: float, least: float = 0.0) -> bool:
    """Whether a long leg is bid ``least`` points or less, while it is offered at ``most`` or less.

    Unknown is not worthless. Live, a bid that vanished stays visible (lean-facts 13.7): one of a tick or two proves
    nothing, and an exit that needs it cannot fill (recording Bs).
    """
    if leg.ratio <= 0 or quote is None or quote.ask is None or quote.ask > most:
        return False
    return quote.bid is None or quote.bid <= least + _ROUNDING


def sort_out(legs: Iterable[Leg], gateway: Gateway, settings: OrderSettings) -> Sorted:
    """Every leg by whether the side that closing it needs is quoted now; long ones that are worthless by themselves."""
    ready, waiting, worthless = [], [], []
    for leg in legs:
        quote, instrument = gateway.quote(leg.contract), instrument_of(leg.contract)
        side = None if quote is None else quote.ask if leg.ratio < 0 else quote.bid
        least = settings.worthless_ticks * instrument.ticks.step(0.0)
        if is_worthless(leg, quote, instrument.points(settings.worthless_offer), least):
            worthless.append(leg)
        elif side is not None and quote is not None and quote.ask is not None:
            ready.append(leg)
        else:
            waiting.append(leg)
    return Sorted(tuple(ready), tuple(waiting), tuple(worthless))


def holds_worthless(group: OrderGroup, gateway: Gateway, settings: OrderSettings) -> bool:
    """Whether an exit that nothing filled after two steps sells longs that have come to be worth nothing beside others.

    The bid of such a long stays visible when nobody bids any more, and no price fills the package then (recording Bs).
    """
    if group.purpose is not OrderPurpose.EXIT or group.step < _STEPS_WITH_WING or not group.is_untouched:
        return False
    found = sort_out((Leg(leg.contract, -leg.ratio) for leg in group.package.legs), gateway, settings)
    return bool(found.worthless and found.ready) and not group.cancelling


def without_flying(held: Sequence[Leg], working: Iterable[OrderGroup]) -> tuple[Leg, ...]:
    """What is surely held while orders work: longs that are being sold are gone, shorts that are being sold are there.

    A short that is being bought back is there still; of a long that is being bought counts what filled.
    """
    rest = [(leg.contract, _surely(group, leg)) for group in working for leg in group.package.legs]
    return merged((*held, *(Leg(contract, count) for contract, count in rest if count)))


def _surely(group: OrderGroup, leg: Leg) -> int:
    """What of a leg at work surely comes or goes, signed, beside what its position counts already."""
    name = leg.contract.name
    if group.opens:
        counted = group.fills[name].quantity - group.fresh[name].quantity
        return round((group.fills[name].quantity if leg.ratio > 0 else group.wanted(leg)) - counted)
    return group.wanted(leg) - round(group.fills[name].quantity) if leg.ratio < 0 else 0


def as_now(held: Sequence[Leg], working: Iterable[OrderGroup]) -> tuple[Leg, ...]:
    """What is held by what was told: what a position counts, and what filled of orders that still work for it."""
    fresh = ((leg.contract, group.fresh[leg.contract.name]) for group in working for leg in group.package.legs)
    return merged((*held, *(Leg(contract, round(fill.quantity)) for contract, fill in fresh if round(fill.quantity))))


def closing_yet(group: OrderGroup) -> tuple[Leg, ...]:
    """What an exit has still to close, signed as held."""
    rest = (
        (leg.contract, round(group.fills[leg.contract.name].quantity) - group.wanted(leg)) for leg in group.package.legs
    )
    return () if group.opens else tuple(Leg(contract, count) for contract, count in rest if count)


def bares(held: Sequence[Leg], closing: Sequence[Leg]) -> bool:
    """Whether closing these legs (signed as held) leaves more short options without cover than there are now."""
    left = merged((*held, *(Leg(leg.contract, -leg.ratio) for leg in closing)))
    return uncovered(left) > uncovered(held)


def sellable(held: Sequence[Leg], longs: Sequence[Leg]) -> tuple[Leg, ...]:
    """As much of some long legs as may be sold now, together, with every short still covered as before."""
    free: list[Leg] = []
    for leg in longs:
        some = (Leg(leg.contract, count) for count in range(leg.ratio, 0, -1))
        free += [row for row in some if not bares(held, (*free, row))][:1]
    return tuple(free)


def bundles(position: Position, parts: Sequence[Part], most: int) -> list[tuple[Part, ...]]:
    """Parts as orders: one where its legs are few enough, else each by itself; a hedge waits for what it covers."""
    together = len(parts) > 1 and len(merged(leg for part in parts for leg in part.legs)) <= most
    rows = [tuple(parts)] if together else [(part,) for part in parts]
    naked = uncovered(position.legs)
    return [bundle for bundle in rows if uncovered(left_without(position, bundle)) <= naked]


def as_orders(legs: Sequence[Leg], most: int) -> list[tuple[Leg, ...]]:
    """Legs to close (signed as held) as orders of so many legs at most, each safe alone: shorts first, hedges last.

    Each short goes with the longs of its right where they fit in one order; longs alone only after every short.
    """
    if len(legs) <= most:
        return [tuple(legs)]
    shorts = [leg for leg in legs if leg.ratio < 0]
    longs = [leg for leg in legs if leg.ratio > 0]
    bundles = [tuple(shorts[at : at + most]) for at in range(0, len(shorts), most)]
    return bundles + [tuple(longs[at : at + most]) for at in range(0, len(longs), most)]


def guess_price(group: OrderGroup, leg: Leg, unseen: float, quote: Quote | None) -> None:
    """Of an entry, let what filled at a price that nobody told (signed contracts) count at the middle of a quote."""
    fill, mid = group.fills[leg.contract.name], None if quote is None else quote.mid
    if group.opens and mid is not None:
        guess = -unseen * mid * leg.contract.multiplier
        fill.cash, fill.guess = fill.cash + guess, fill.guess + guess


class OrderWork:
    """How long orders that filled took, in seconds, and what they brought over natural as sent, in dollars."""

    def __init__(self) -> None:
        self._work: dict[tuple[str, str, str], tuple[datetime, float, float]] = {}

    def note(self, group: OrderGroup, held: Sequence[str], now: datetime) -> None:
        """A group is over; ``held``: the parts that an exit closes.

        An order for several parts counts for each with its share; several orders of one part count together.
        """
        parts = [plan.name for plan in group.plans] if group.opens else held
        if group.natural is None or not group.is_filled or not parts:
            return
        unit = group.package.legs[0].contract.multiplier * group.contracts
        gained, side = group.cash - group.natural * unit, "open" if group.opens else "close"
        for part in parts:
            since, _, before = self._work.get((group.position, part, side), (group.created, 0.0, 0.0))
            self._work[group.position, part, side] = (
                since,
                (now - since).total_seconds(),
                before + gained / len(parts),
            )

    def of(self, position: str, part: str) -> dict[str, float | None]:
        """The journal's figures of a part that is over, used up with it; ``None`` where no order of ours did it."""
        found: dict[str, float | None] = {}
        for side in ("open", "close"):
            _, seconds, gained = self._work.pop((position, part, side), (None, None, None))
            found |= {f"{side}_seconds": seconds, f"{side}_improvement": None if gained is None else round(gained, 2)}
        return found


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long something may wait in its state: the setting that says so, who is awake for it, what happens then."""

    limit: str
    owner: str
    then: str


WAITS: Final[Mapping[OrderGroupState | PositionState, Waiting]] = {
    OrderGroupState.PLANNED: Waiting("settle_seconds", "recovery", "never sent: abandoned, or adopted where it was"),
    OrderGroupState.SENT: Waiting("silent_seconds", "executor", "absent at the broker twice: the account decides"),
    OrderGroupState.WORKING: Waiting("silent_seconds", "executor", "absent at the broker twice: the account decides"),
    OrderGroupState.PARTLY_FILLED: Waiting(
        "unwind_after_seconds", "executor", "cancelled: whole packages stay, the rest is unwound"
    ),
    OrderGroupState.CANCELLING: Waiting(
        "silent_seconds", "executor", "asked again each minute, told at the second; absent: the account decides"
    ),
    OrderGroupState.UNWINDING: Waiting("settle_seconds", "recovery", "of an older version: ended by the account"),
    PositionState.PLANNED: Waiting("settle_seconds", "recovery", "abandoned"),
    PositionState.OPENING: Waiting("walk_steps", "executor", "the walk's end cancels; what filled counts"),
    PositionState.ADJUSTING: Waiting("walk_steps", "executor", "the walk's end cancels; what filled counts"),
    PositionState.CLOSING: Waiting("split_after_steps", "executor", "goes leg by leg, shorts first; never given up"),
    PositionState.UNWINDING: Waiting(
        "blocked_exit_minutes", "executor", "each minute sends what may go; told as a breach"
    ),
    PositionState.ASSIGNED: Waiting(
        "settle_seconds", "recovery", "option legs counted, shares sold from the next open"
    ),
}
"""Every state that is none to stay in; a position's OPEN belongs to its strategy, whose rules are asked each minute."""


_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)


class Traffic(StrEnum):
    """What leaves for the broker."""

    ORDER = "order"
    UPDATE = "update"
    CANCEL = "cancel"


class Tokens:
    """So many tokens, each back a period after it was taken; some of them for emergencies only."""

    def __init__(self, count: int, period: timedelta, reserve: float) -> None:
        self._count = count
        self._period = period
        self._ordinary = max(count - math.ceil(count * reserve), 1)
        self._taken: deque[datetime] = deque()

    def has(self, now: datetime, *, emergency: bool) -> bool:
        """Whether one may be taken now."""
        while self._taken and now - self._taken[0] >= self._period:
            self._taken.popleft()
        return len(self._taken) < (self._count if emergency else self._ordinary)

    def take(self, now: datetime) -> None:
        """One is taken."""
        self._taken.append(now)


class OrderPace:
    """The tokens of each kind of traffic."""

    def __init__(self, gateway: Gateway, settings: OrderSettings) -> None:
        self._gateway = gateway
        self._live = gateway.is_live()
        rates = {
            Traffic.ORDER: (settings.orders_per_second, settings.orders_per_minute),
            Traffic.UPDATE: (settings.updates_per_second, settings.updates_per_minute),
            Traffic.CANCEL: (settings.cancels_per_second, settings.cancels_per_minute),
        }
        reserve = settings.emergency_reserve
        self._tokens = {
            kind: (Tokens(second, _SECOND, reserve), Tokens(minute, _MINUTE, reserve))
            for kind, (second, minute) in rates.items()
        }

    def take(self, kind: Traffic, *, emergency: bool = False) -> bool:
        """Take a token for one message; false where there is none, and the next minute is to ask again."""
        now = self._gateway.moment()
        second, minute = self._tokens[kind]
        free = minute.has(now, emergency=emergency) and (not self._live or second.has(now, emergency=emergency))
        if free:
            minute.take(now)
            second.take(now)
        return free

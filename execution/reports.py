"""Reports of the broker have an identity: each fill counts once, and a fill that comes late changes what is held.

Which fill a report is says its own number within its order (LEAN's ``OrderEvent.Id``) or the order's cumulative
quantity. A report with neither may have come twice: of those no more count than the order had left to fill, and where
the order ended in part, no more than the account holds. Order ids are remembered for days after the order's end.

What LEAN delivers: it numbers the events of an order itself, so that one which it hands over twice is known by its
number; one that a broker's plug-in reports twice has two numbers, and is stopped by the order's quantity. A fill after
CANCELED comes where the exchange was faster than the cancel (BrokerageTransactionHandler.HandleOrderEvents takes it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final

from core.book import Book, ClosedTrade, Position, Refusal
from core.bus import EventBus
from core.contracts import AssetKind, Contract, Leg, Package, Quote
from core.events import (
    ChangeKind,
    EntriesAllowed,
    FillStatus,
    NoticeKind,
    NoticeRaised,
    OrderUpdated,
    PositionChanged,
    ShareSplit,
)
from core.gateway import Gateway, Holding
from core.instruments import adjusted_of, contract_named, instrument_of
from core.parts import LegExit, Part
from core.settings.fields import OrderSettings
from execution.groups import BROKEN, LATE, Change, LegFill, OrderGroup, opened_parts
from execution.tracker import PositionTracker
from execution.walking import guess_price
from state.manager import HierarchicalStateManager

_ROUNDING: Final = 1e-6
REMEMBERED: Final = timedelta(days=5)
"""How long an order's id is known after its end: until the day after, over a long weekend too."""


@dataclass(slots=True)
class Unnamed:
    """Reports of one order without an identity: status, quantity and price of each, and what may be one told twice.

    ``doubtful`` are contracts (signed) by price that were counted by a report of which just such a one came before.
    """

    heard: set[tuple[FillStatus, float, float]] = field(default_factory=set)
    doubtful: dict[float, float] = field(default_factory=dict)

    def true_cash(self, price: float, quantity: float) -> float:
        """Points that are gained where so many contracts too many, at a new price, are what was told twice before."""
        gained = 0.0
        for known, count in self.doubtful.items():
            swapped = _within(count, quantity)
            self.doubtful[known], quantity = count - swapped, quantity - swapped
            gained += swapped * (known - price)
        return gained


class OrderMemory:
    """Which order is whose, and which of its reports were taken."""

    def __init__(self) -> None:
        self._groups: dict[int, OrderGroup] = {}
        self._seen: dict[int, set[tuple[str, float]]] = {}
        self._ended: dict[int, date] = {}
        self._unnamed: dict[int, Unnamed] = {}

    def unnamed(self, order_id: int) -> Unnamed:
        """What an order's reports without an identity said so far."""
        return self._unnamed.setdefault(order_id, Unnamed())

    def follow(self, group: OrderGroup) -> None:
        """These orders are this group's from now on."""
        self.renew(group)
        for order_id in group.order_ids:
            self._groups[order_id] = group
            self._seen.setdefault(order_id, set())

    def renew(self, group: OrderGroup) -> None:
        """What is known of a group was worked out anew: what is said of any of its orders comes to this one."""
        for order_id in [number for number, known in self._groups.items() if known.id == group.id]:
            self._groups[order_id] = group

    def group_of(self, order_id: int) -> OrderGroup | None:
        """Whose order it is or was."""
        return self._groups.get(order_id)

    def is_again(self, event: OrderUpdated) -> bool:
        """Whether this very report was taken before; from now on it was."""
        marks = {("number", float(event.number))} if event.number else set()
        if event.filled is not None and event.fill_quantity:
            marks.add(("filled", event.filled))
        seen = self._seen.setdefault(event.order_id, set())
        again = bool(marks & seen)
        seen |= marks
        return again

    def ended(self, group: OrderGroup, day: date) -> None:
        """The broker works nothing of it any more; what it still says of it is late."""
        self._ended.update(dict.fromkeys((*group.past_ids, *group.order_ids), day))

    def pass_day(self, today: date) -> None:
        """Forget orders that ended long ago, so that memory stays flat over years."""
        for order_id in [number for number, day in self._ended.items() if today - day > REMEMBERED]:
            del self._ended[order_id]
            self._groups.pop(order_id, None)
            self._seen.pop(order_id, None)
            self._unnamed.pop(order_id, None)


def take_fill(
    group: OrderGroup, leg: Leg, event: OrderUpdated, listed: float, unnamed: Unnamed
) -> tuple[float, LegExit, float]:
    """Count a fill once: signed contracts that are new, what got its price now, and how many were too many.

    What filled unseen, at a price that nobody told, takes its price from a report that comes later, and its fee too,
    less the ``listed`` one that it was counted at. Part of a contract is none: a quantity counts as the nearest whole.
    A part that came twice and was counted so takes the price of one too many that is none of those told before; a whole
    fill that comes again tells nothing.
    """
    fill, price, told = group.fills[leg.contract.name], event.fill_price or 0.0, float(round(event.fill_quantity))
    named, mark = bool(event.number or event.filled is not None), (event.status, told, price)
    again = not named and mark in unnamed.heard
    room = group.wanted(leg) - fill.quantity
    new = _within(room, told)
    rest = told - new
    priced = 0.0 if again and event.status is FillStatus.FILLED else _within(fill.unpriced, rest)
    counted = new + priced
    each = event.fee / abs(told) if told else 0.0
    late = LegExit(priced, -priced * price * leg.contract.multiplier, round(abs(priced) * (each - listed), 10))
    guess = fill.guess * priced / fill.unpriced if priced else 0.0  # the price is known now
    fill.quantity += new
    fill.unpriced -= priced
    fill.guess -= guess
    fill.cash -= counted * price * leg.contract.multiplier + guess
    fill.fees += late.fees + (event.fee if new == told else round(each * abs(new), 10))
    fill.unnamed = fill.unnamed or not named
    fill.sure = max(fill.sure, new, key=abs)
    if again:
        unnamed.doubtful[price] = unnamed.doubtful.get(price, 0.0) + new
    elif not named:
        unnamed.heard.add(mark)
        fill.cash += unnamed.true_cash(price, rest - priced) * leg.contract.multiplier
    return new, late, rest - priced


def fill_gap(
    group: OrderGroup,
    leg: Leg,
    held: Holding | None,
    listed: float,
    told: float | None = None,
    others: tuple[float, float] = (0.0, 0.0),
    quote: Quote | None = None,
) -> bool:
    """The broker says that all of a leg filled: what no report told filled unseen, at the ``listed`` fee; whether so.

    ``told``: no more than so many (signed), by a report without a price. Of an entry it is taken at the account's
    average price, where that is known, until its report comes. The average is of all that is held: where that is this
    leg and what ``others`` paid (contracts, and their prices times these), theirs and what was told are taken off.
    Where the account knows none, the middle of the ``quote`` stands for it: an entry at nothing is stopped at once.
    """
    fill, wanted = group.fills[leg.contract.name], group.wanted(leg)
    gap = wanted - fill.quantity if told is None else _within(wanted - fill.quantity, told)
    if abs(gap) < 0.5:
        return False
    fill.quantity += gap
    fill.fees += abs(gap) * listed
    if group.opens and held is not None and held.average_price:
        known = abs(held.quantity - fill.quantity - others[0]) < 0.5
        before, unseen = (others[1], held.quantity) if known else (fill.cash / leg.contract.multiplier, gap)
        fill.cash = (before - unseen * held.average_price) * leg.contract.multiplier
    else:
        fill.unpriced += gap
        guess_price(group, leg, gap, quote)
    return True


def _within(room: float, quantity: float) -> float:
    """As much of a signed quantity as a signed room takes."""
    least, most = min(room, 0.0), max(room, 0.0)
    return quantity if least - 0.5 <= quantity <= most + 0.5 else min(max(quantity, least), most)


class LateFills:
    """What a fill does that comes after its group's end, or that tells the price of what filled unseen."""

    def __init__(self, gateway: Gateway, book: Book, tracker: PositionTracker) -> None:
        self._gateway = gateway
        self._book = book
        self._tracker = tracker

    def change(self, group: OrderGroup) -> Change | None:
        """What the fills that its position does not count yet do to it; ``None`` where they do nothing.

        An entry's legs complete what came before them, where that stands as it came; else they are parts of their own,
        which are unwound. An exit's legs close what is still open; what they closed twice is a part of its own as well.
        """
        known = self._book.positions.get(group.position)
        if not any(abs(fill.quantity) > 0.5 for fill in group.fresh.values()):
            return None
        if group.opens:
            return self._entry(group, known)
        change = self._tracker.of_group(group) if known is not None else None
        left = dict(group.fresh)
        for name, quantity in ({} if change is None else change.held or {}).items():
            left[name] = _less(left[name], quantity)
        loose = {name: fill for name, fill in left.items() if abs(fill.quantity) > 0.5}
        if not loose:
            return change
        return self._loose(group, loose, change)

    def at_end(self, group: OrderGroup) -> Change | None:
        """What the fills of a group that is over do to its position; ``None`` where nothing filled.

        What an exit closed though it was gone meanwhile (assigned, or closed by hand) is a part of its own, as late.
        """
        return self._tracker.of_group(group) if group.opens else self.change(group)

    def seen_before(self, group: OrderGroup) -> Iterator[tuple[Leg, LegExit]]:
        """Fills of an exit that a look at the account has found already, at a price that nobody knew: they tell it."""
        known = self._book.positions.get(group.position)
        parts = () if known is None else known.chosen(group.parts)
        for leg in () if group.opens else group.package.legs:
            name, fill = leg.contract.name, group.fresh[leg.contract.name]
            told = LegExit(fill.quantity, fill.cash, fill.fees)
            gone = any(_priced(part, name, told) is not None for part in parts)
            if abs(fill.quantity) > 0.5 and (gone or self._tracker.is_unknown(group.position, group.parts, name, told)):
                yield leg, told

    def _entry(self, group: OrderGroup, known: Position | None) -> Change:
        now = self._gateway.now()
        before = opened_parts(replace(group, fills=group.taken), now) if group.taken else ()
        stands = known is not None and all(_is_same(part, known.part(part.name)) for part in before)
        if known is not None and before and stands:
            opened = {part.name: row.opened for part in before if (row := known.part(part.name)) is not None}
            parts = [replace(part, opened=opened.get(part.name, now)) for part in opened_parts(group, now)]
            kept = [part for part in known.parts if part.name not in opened]
            return Change(known, replace(known, parts=(*kept, *parts)), ChangeKind.ADJUSTED, now)
        late = opened_parts(replace(group, fills=group.fresh, taken={}), now)
        if known is None:
            return Change(None, self._tracker.position(group, late), ChangeKind.OPENED, now)
        taken = {part.name for part in known.parts}
        renamed = [part if part.name not in taken else replace(part, name=_late_name(part.name)) for part in late]
        return Change(known, replace(known, parts=(*known.parts, *renamed)), ChangeKind.ADJUSTED, now)

    def _loose(self, group: OrderGroup, loose: dict[str, LegFill], change: Change | None) -> Change:
        """Contracts that an exit closed though they were gone already: held now the other way round, to be unwound."""
        now = self._gateway.now()
        known = self._book.positions.get(group.position) if change is None else change.after
        parts = (self._tracker.loose_part(group, loose, now),)
        if known is None or not known.parts:
            first = self._tracker.position(group, parts)
            before = None if change is None else change.before
            if known is not None:
                first = replace(first, realised=known.realised, opened=known.opened)
            over = () if change is None else change.over
            return Change(before, first, ChangeKind.OPENED if before is None else ChangeKind.ADJUSTED, now, over)
        over, before = ((), known) if change is None else (change.over, change.before)
        return Change(before, replace(known, parts=(*known.parts, *parts)), ChangeKind.ADJUSTED, now, over)

    def broken(self, group: OrderGroup, change: Change | None) -> tuple[str, ...]:
        """Parts of a position that a late fill left without the rest, or that an exit of other parts took some of."""
        if change is None:
            return ()
        before = () if change.before is None else tuple(part.name for part in change.before.parts)
        names = [part.name for part in change.after.parts if part.name.endswith(BROKEN)]
        ours = {plan.name for plan in group.plans}
        new = [name for name in names if name not in before or name.removesuffix(BROKEN) in ours]
        hit = () if group.opens or not group.parts else change.after.parts
        old = {} if change.before is None else {part.name: part.legs for part in change.before.parts}
        less = [
            part.name for part in hit if part.name not in group.parts and old.get(part.name, part.legs) != part.legs
        ]
        return tuple(dict.fromkeys((*new, *less)))

    def price(self, group: OrderGroup, leg: Leg, exit_: LegExit, told: Callable[[ClosedTrade], None]) -> Change | None:
        """What an exit brought that was counted as unknown: its part knows it now, or the trade that it became."""
        known = self._book.positions.get(group.position)
        for part in () if known is None else known.chosen(group.parts):
            fixed = _priced(part, leg.contract.name, exit_)
            if known is not None and fixed is not None:
                return Change(known, known.with_part(fixed), ChangeKind.ADJUSTED, self._gateway.now())
        trade = self._tracker.priced(group.position, group.parts, leg.contract.name, exit_)
        if trade is not None:
            told(trade)
        return None


def _less(fill: LegFill, quantity: float) -> LegFill:
    """What is left of a fill without so many of its contracts, with its share of the cash."""
    share = 1.0 - quantity / fill.quantity
    return LegFill(fill.quantity - quantity, fill.cash * share, fill.fees * share, unpriced=fill.unpriced * share)


def _late_name(name: str) -> str:
    return name.removesuffix(BROKEN) + LATE + (BROKEN if name.endswith(BROKEN) else "")


def _is_same(part: Part, now: Part | None) -> bool:
    return now is not None and now.is_whole and (now.package, now.contracts) == (part.package, part.contracts)


def _priced(part: Part, name: str, exit_: LegExit) -> Part | None:
    """The part with the cash of an exit that was unknown; ``None`` where none was, or not of so many contracts."""
    gone = part.exits.get(name)
    if gone is None or gone.cash is not None or abs(gone.quantity - exit_.quantity) > 0.5:
        return None
    return replace(part, exits={**part.exits, name: LegExit(gone.quantity, exit_.cash, gone.fees + exit_.fees)})


class LostFills:
    """Signs that LEAN lost a fill, so that its portfolio is not the broker's account (lean-facts 13; issue 14, 12).

    A sign stops entries (the halt outlives the process), is told as what it is, and puts LEAN's picture of the account
    in doubt until a start reads the account anew, or a person who looked at the broker says resume. Where the engine's
    portfolio is the account, as in a backtest, no order is looked at.
    """

    def __init__(self, bus: EventBus, gateway: Gateway, settings: OrderSettings) -> None:
        self._bus = bus
        self._gateway = gateway
        self._settings = settings
        self._passed: dict[str, tuple[datetime, Mapping[str, float]]] = {}
        self._told: set[str] = set()
        self.doubted = False
        """Whether a sign was seen in this process that no person has answered."""
        bus.subscribe(EntriesAllowed, self._on_allowed, component="executor", critical=True)

    def _on_allowed(self, _event: EntriesAllowed) -> None:
        self.doubted = False
        self._told.clear()
        self._passed.clear()

    def tell(self, sign: str) -> None:
        """A sign was seen: what it is, in words."""
        self.doubted = True
        text = f"{sign}: LEAN may have lost a fill; look at the broker, then start anew"
        self._bus.publish(NoticeRaised(time=self._gateway.now(), kind=NoticeKind.DOUBT, text=text))
        self._bus.halt_entries(f"LEAN may have lost a fill: {sign}")

    def report(self, event: OrderUpdated) -> None:
        """A quantity filled in a report that is no fill: LEAN books none of it (Lean.Brokerages.TradeStation, 84)."""
        if event.fill_quantity and event.status not in (FillStatus.FILLED, FillStatus.PARTLY_FILLED):
            self.tell(
                f"order {event.order_id} filled {event.fill_quantity:+g} {event.contract} by a report that says "
                f"{event.status.value}"
            )

    def look(self, working: Iterable[OrderGroup], now: datetime) -> None:
        """Once a minute: a limit that the market has passed for minutes without a fill has filled somewhere else."""
        groups = () if self._gateway.answers_at_once() else tuple(working)
        self._passed = {group.id: self._passed[group.id] for group in groups if group.id in self._passed}
        least = self._settings.passed_ticks
        for group in groups:
            past = self._ticks_past(group, now)
            since, filled = self._passed.get(group.id, (now, group.filled))
            if past is None or past < least or filled != group.filled:
                self._passed.pop(group.id, None)
                continue
            self._passed[group.id] = since, filled
            if now - since >= timedelta(minutes=self._settings.passed_minutes) and group.id not in self._told:
                self._told.add(group.id)
                self.tell(
                    f"{group.id} of {group.position} works at {group.acknowledged:g}, the market is {past:.0f} ticks "
                    f"past it since {since:%H:%M} and nothing filled"
                )

    def _ticks_past(self, group: OrderGroup, now: datetime) -> float | None:
        """How far natural is beyond the limit that the broker has, on the order's own side; ``None``: nobody knows.

        Old quotes tell nothing, and neither does the bid of what is worth nothing, which stays visible when nobody bids
        any more (13.7): it counts as none. An order that still walks toward natural is short of it, not passed.
        """
        natural, legs = 0.0, group.order.legs
        for leg in legs:
            quote, ticks = self._gateway.quote(leg.contract), instrument_of(leg.contract).ticks
            if (
                quote is None
                or quote.ask is None
                or now - quote.time > timedelta(minutes=self._settings.passed_minutes)
            ):
                return None
            bid = min(quote.bid or 0.0, quote.ask)
            bid = bid if bid > self._settings.worthless_ticks * ticks.step(0.0) + _ROUNDING else 0.0
            natural -= leg.ratio * (quote.ask if leg.ratio > 0 else bid)
        if group.acknowledged is None:
            return None
        step = instrument_of(legs[0].contract).ticks.step(natural, len(legs))
        return (natural - group.acknowledged) / step + _ROUNDING


SPLITS: Final = "splits"
"""Under which state remembers what split while contracts on it were held: ticker to the day."""


class SplitWatch:
    """Nothing opens on shares that split while contracts on them are held: those are other contracts from then on.

    LEAN closes options itself before a split (AlgorithmManager, option liquidation on a warning); a broker adjusts
    them. A person is told, what goes is taken from the account, and the ban ends when nothing of it is held any more.

    A contract that was adjusted is another one in the account: its root is the ticker with a number (``TLT1``), and it
    delivers something else. It belongs to no package, is told once, and nothing opens beside it. Some keep their root:
    a split of n for one makes n contracts at an n-th of the strike of each, a special dividend takes its amount off the
    strike. LEAN tells neither of a contract (its options have the multiplier of their root, Option.cs:260), so the
    account does: what went, and what of the same root, expiry, right and side came at another strike.
    """

    def __init__(self, bus: EventBus, book: Book, state: HierarchicalStateManager) -> None:
        self._bus = bus
        self._book = book
        self._state = state
        self._told: frozenset[str] = frozenset()
        bus.subscribe(ShareSplit, self._on_split, component="splits", critical=True)
        bus.subscribe(PositionChanged, self._on_changed, component="splits")

    def _on_split(self, event: ShareSplit) -> None:
        known = dict(self._state.recall(SPLITS) or {})
        if not self._is_held(event.ticker):
            return
        if event.ticker not in known:
            self._state.remember(SPLITS, {**known, event.ticker: event.time.date()})
        when = "splits at the next open" if event.coming else "has split"
        text = (
            f"{event.ticker} {when} ({event.factor:g}): what is held on it becomes other contracts, nothing new opens"
        )
        self._bus.publish(NoticeRaised(time=event.time, kind=NoticeKind.DOUBT, text=text))

    def look(self, now: datetime, unowned: Mapping[str, float]) -> None:
        """Something is nobody's: told where it is what our contracts on shares became, and nothing opens on these."""
        came = [(row, count) for name, count in unowned.items() if (row := contract_named(name)) is not None]
        known = dict(self._state.recall(SPLITS) or {})
        for position in self._book.positions.values():
            held = self._state.held(position.id)
            gone = [leg for leg in position.legs if abs(held.get(leg.contract.name, 0.0) - leg.ratio) > 0.5]
            for leg in gone if position.underlying.kind is AssetKind.EQUITY else ():
                ticker, factor = position.underlying.ticker, _adjusted(leg, came)
                if factor is not None and ticker not in known:
                    known[ticker] = now.date()
                    self._state.remember(SPLITS, known)
                    how = f"by a split of {factor:g} for 1" if factor > 1 else "to another strike (or traded by hand)"
                    text = f"{leg.contract.name} was adjusted {how}: a person's to close, nothing opens on {ticker}"
                    self._bus.publish(NoticeRaised(time=now, kind=NoticeKind.DOUBT, text=text))

    def _on_changed(self, event: PositionChanged) -> None:
        """What belongs to nobody has changed: an adjusted contract among it is told, once while it is there."""
        found = frozenset(name for name in self._book.unowned if adjusted_of(name) is not None)
        for name in sorted(found - self._told):
            text = f"{name} is an adjusted contract of {adjusted_of(name)}: a person's to close, nothing opens on it"
            self._bus.publish(NoticeRaised(time=event.time, kind=NoticeKind.DOUBT, text=text))
        self._told = found

    def _is_held(self, ticker: str) -> bool:
        positions = any(row.underlying.ticker == ticker for row in self._book.positions.values())
        return (
            positions or ticker in self._book.shares or any(name.split(" ")[0] == ticker for name in self._book.unowned)
        )

    def refusal(self, package: Package) -> Refusal | None:
        """Why nothing opens on its underlying."""
        ticker, known = package.underlying.ticker, dict(self._state.recall(SPLITS) or {})
        beside = [name for name in self._book.unowned if adjusted_of(name) == ticker]
        if beside:
            return Refusal("adjusted", f"{beside[0]} is held, an adjusted contract of {ticker}")
        if ticker not in known:
            return None
        if self._is_held(ticker):
            return Refusal("split", f"{ticker} split on {known[ticker]} while contracts on it were held")
        del known[ticker]
        self._state.remember(SPLITS, known)
        return None


def _adjusted(leg: Leg, came: Iterable[tuple[Contract, float]]) -> float | None:
    """By how many for one a leg that is gone was split; 1 where only its strike moved, ``None`` where nothing came."""
    for contract, count in came:
        factor = count / leg.ratio
        same = (contract.root, contract.expiry, contract.right) == (
            leg.contract.root,
            leg.contract.expiry,
            leg.contract.right,
        )
        moved = contract.strike < leg.contract.strike
        exact = abs(contract.strike * factor - leg.contract.strike) < 0.01 * factor
        if same and moved and (factor == 1 or (factor > 1 and exact)):
            return factor
    return None

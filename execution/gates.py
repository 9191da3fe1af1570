"""What is asked before any order leaves, and what of a broken part may go now.

What the broker holds of an order's contracts is compared with what the state counts, so that a trade of a person, a
report that was lost or one that came twice is found before it is traded on; and no short loses its hedge.

Of parts that could not close whole, shorts are bought back first. A long leg goes only when no short of its position,
of whatever part, needs it. What is held is read from the book each time. A long option that nobody bids for, at an
offer that is next to nothing, is left to expire; one whose bid is missing at a real offer waits for its bid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

from core.book import Book, Position, Refusal
from core.bus import EventBus, do_all
from core.contracts import Leg, Package, uncovered
from core.events import MinutePassed, NoticeKind, NoticeRaised, OrderUpdated, Request, Severity
from core.gateway import Gateway
from core.instruments import contract_named
from core.journal import Journal, RecordKind
from core.parts import LegExit, Urgency, merged
from core.settings.fields import OrderSettings
from execution.groups import OrderGroup
from execution.reports import LostFills
from execution.sending import WorkingGroups
from execution.walking import Sorted, as_now, bares, closing_yet, sellable, sort_out, without_flying
from market.freshness import TwoLooks
from state.manager import HierarchicalStateManager

MOST_REFUSED: Final = 3
INCOMPLETE: Final = "a package was left incomplete"
_NOT_HELD: Final = ("uncovered", "no position")
"""Words of a refusal by which a broker says that it does not hold what an order closes."""
_RECORD_LAGS: Final = 10
"""Seconds by which tastytrade's record of positions may lag behind a fill (its plug-in's issues 29 and 30)."""
_ASKED_WITHIN: Final = timedelta(minutes=2)


class OrderGates:
    """Answers both questions from the account, the state and the book as they are now."""

    def __init__(self, gateway: Gateway, book: Book, state: HierarchicalStateManager) -> None:
        self._gateway = gateway
        self._book = book
        self._state = state

    def now(self) -> datetime:
        """Time of the market."""
        return self._gateway.now()

    def moment(self) -> datetime:
        """UTC, to the second."""
        return self._gateway.moment()

    def may_lose_fills(self) -> bool:
        """Whether the account can hold something else than the engine shows: only where it is another's."""
        return not self._gateway.answers_at_once()

    def is_unreadable(self) -> bool:
        """Whether the engine shows quantities that cannot be: then it shows nothing that may be believed."""
        return self.may_lose_fills() and not all(row.is_possible for row in self._gateway.holdings())

    def differs(self, contracts: Iterable[str], flying: Collection[str]) -> dict[str, float]:
        """By contract: what the broker holds beyond what we count (signed), where that is anything.

        Contracts that an order of ours works on (``flying``) are left out: their news is on its way.
        """
        asked = [name for name in contracts if name not in flying]
        if not asked:
            return {}
        held, own = self._held(), self._counted()
        return {name: gap for name in asked if not abs(gap := held.get(name, 0.0) - own.get(name, 0.0)) <= 0.5}

    def _held(self) -> dict[str, float]:
        return {row.name: row.quantity for row in self._gateway.holdings()}

    def _counted(self) -> dict[str, float]:
        """What positions hold by the state, and what is known to belong to nobody."""
        total = dict(self._book.unowned)
        for position in self._state.positions(ended=True):
            for name, quantity in self._state.held(position.id).items():
                total[name] = total.get(name, 0.0) + quantity
        return total

    def uncounted(self, position: str) -> frozenset[str]:
        """Contracts that a position ever ordered and of which the account holds more short than is counted."""
        held, own = self._held(), self._counted()
        return frozenset(name for name in self._ordered(position) if held.get(name, 0.0) - own.get(name, 0.0) < -0.5)

    def nobodys_shorts(self, position: str) -> tuple[Leg, ...]:
        """Shorts that belong to nobody, in contracts that a position ever ordered: its own, as far as anybody knows."""
        rows = ((contract_named(name), self._book.unowned.get(name, 0.0)) for name in self._ordered(position))
        return tuple(Leg(contract, round(count)) for contract, count in rows if contract is not None and count < -0.5)

    def _ordered(self, position: str) -> tuple[str, ...]:
        """Contracts that were ever ordered for a position and have not expired, filled or not."""
        rows = self._state.position(position).detail.get("instruments", {})
        today = self._gateway.now().date()
        return tuple(name for name, row in rows.items() if date.fromisoformat(row["expiry"]) >= today)

    def believe_account(self, group: OrderGroup) -> bool:
        """Take back fills without an identity that the account does not hold and the position does not count yet.

        What one report told of an entry filled: where the account lacks it, somebody closed it since.
        """
        doubtful = [leg for leg in group.package.legs if group.fills[leg.contract.name].unnamed]
        if group.is_untouched or not doubtful:
            return False
        held, own, found = self._held(), self._counted(), False
        counted = self._state.order_group(group.id).detail.get("filled", {})
        for leg in doubtful:
            name, fill = leg.contract.name, group.fills[leg.contract.name]
            there, old = held.get(name, 0.0) - own.get(name, 0.0) + counted.get(name, 0.0), group.taken.get(name)
            least, cash, fees = (0.0, 0.0, 0.0) if old is None else (old.quantity, old.cash, old.fees)
            floor = max(least, fill.sure if group.opens else 0.0, key=abs)
            true = sorted((floor, there, fill.quantity))[1]
            if abs(true - fill.quantity) > 0.5:
                share = (true - least) / (fill.quantity - least)
                fill.cash, fill.fees = cash + (fill.cash - cash) * share, fees + (fill.fees - fees) * share
                fill.quantity, found = true, True
        return found


class AccountWatch:
    """Lets no order leave that rests on something else than the account holds; asks for a look where they differ.

    A look compares state and account now, by whoever reconciles. ``look_soon`` says that it could not be taken then and
    the next minute must. ``outside``: what others traded by contract, which explains a quantity that moved.
    """

    def __init__(
        self,
        bus: EventBus,
        gates: OrderGates,
        working: WorkingGroups,
        book: Book,
        signs: LostFills,
        outside: Mapping[str, LegExit],
    ) -> None:
        self._bus = bus
        self._refused: dict[str, int] = {}
        self._tried: dict[tuple[str, frozenset[str]], datetime] = {}
        self._gates = gates
        self._working = working
        self._book = book
        self._signs = signs
        self._outside = outside
        self._looks = TwoLooks()
        self._moved: dict[str, datetime] = {}
        self._questioned: set[str] = set()
        self._kept: set[str] = set()
        self.look_soon = False
        working.strange = signs.report
        bus.subscribe(OrderUpdated, self._on_report, component="executor", critical=True)
        bus.subscribe(MinutePassed, self._on_minute, component="executor", critical=True)

    # What the engine shows of the account, and whether it may be believed

    @property
    def in_doubt(self) -> bool:
        """Whether what the engine shows of the account may lack a fill, so that what is not there is not taken as gone.

        By a sign, for the minute in which a quantity did not move as its fill says, or while one cannot be true.
        """
        amiss = bool(self._moved and self._amiss(self._moved))
        return self._signs.doubted or amiss or self._gates.is_unreadable()

    @property
    def asks(self) -> bool:
        """Whether a fill is still to be held against the account."""
        return bool(self._moved)

    def _on_report(self, event: OrderUpdated) -> None:
        if event.fill_quantity and self._gates.may_lose_fills() and self._working.is_ours(event.order_id):
            self._moved[event.contract] = self._gates.moment()

    def _on_minute(self, event: MinutePassed) -> None:
        """After each fill the held quantity must have moved as meant; asked when no order works on it any more."""
        self._signs.look(self._working, event.time)
        self._watch_hedges()
        if not self._moved:
            return
        flying, before = self._flying(), self._gates.moment() - timedelta(seconds=_RECORD_LAGS)
        amiss = self._amiss(self._moved)
        for name in [name for name, at in self._moved.items() if name not in flying and at <= before]:
            if self._looks.again(name, event.time, name in amiss):
                self._signs.tell(f"the account shows {amiss[name]:+g} {name} beyond what its fills come to")
            if name not in amiss or self._signs.doubted:
                del self._moved[name]

    def _amiss(self, names: Iterable[str]) -> dict[str, float]:
        """By contract what the account shows beyond the fills, where no trade of others explains it."""
        gaps = self._gates.differs(names, self._flying())
        told = {name: self._outside[name].quantity for name in gaps if name in self._outside}
        return {name: gap for name, gap in gaps.items() if abs(gap - told.get(name, 0.0)) > 0.5}

    def _flying(self) -> set[str]:
        """Contracts of orders at work; of a larger package one of its orders, and none between two of them."""
        at_work = [group.order for group in self._working if group.order_ids or not group.past_ids]
        return {leg.contract.name for order in at_work for leg in order.legs}

    def look(self) -> None:
        """Have state and account compared now."""
        self._bus.request(Request.ACCOUNT_LOOK)

    def _gap(self, legs: Iterable[Leg]) -> dict[str, float]:
        return self._gates.differs((leg.contract.name for leg in legs), self._flying())

    def refusal(self, package: Package) -> Refusal | None:
        """Nothing opens on contracts of which the account holds something else than we count."""
        if not self._gap(package.legs):
            return None
        self.look()
        words = ", ".join(f"{quantity:+g} {name}" for name, quantity in self._gap(package.legs).items())
        return Refusal("account_differs", f"the account holds {words} beyond what is counted") if words else None

    def refused(self, group: OrderGroup) -> None:
        """The broker refused an order that closes: after three a person is told, who looks and starts anew.

        LEAN's portfolio is not the broker: after a fill that it lost, state and portfolio agree, both are wrong, and
        each closing order is refused (lean-facts 13). One refused as uncovered or as no position says so at once.
        """
        count = self._refused[group.position] = self._refused.get(group.position, 0) + 1
        self._tried[_tried(group.position, group.package.legs)] = self._gates.now()
        if count == MOST_REFUSED:
            self._signs.tell(
                f"{count} orders to close {group.position} were refused, the last: {group.rejected}; "
                "only what is urgent is tried on, once a minute"
            )
        elif count == 1 and any(words in group.rejected.lower() for words in _NOT_HELD):
            self._signs.tell(f"an order to close {group.position} was refused: {group.rejected}")

    def _may_try(self, position: str, legs: Sequence[Leg], urgency: Urgency) -> bool:
        """After three refusals an ordinary exit waits for a person; what is urgent goes on, once a minute."""
        if self._refused.get(position, 0) < MOST_REFUSED:
            return True
        return urgency.crosses and self._tried.get(_tried(position, legs)) != self._gates.now()

    def _just_bought(self, legs: Sequence[Leg]) -> bool:
        """Whether something to be sold filled seconds ago: a broker whose record lags takes it as a sale to open."""
        now, wait = self._gates.moment(), timedelta(seconds=_RECORD_LAGS)
        names = (leg.contract.name for leg in legs if leg.ratio > 0)
        return any(name in self._moved and now - self._moved[name] < wait for name in names)

    def goes_singly(self, position: str, legs: Sequence[Leg]) -> bool:
        """Whether what must go is bought back one short at a time: refused too often, or not as the engine shows it."""
        doubted = self.in_doubt and bool(self._gap(legs) or self._gates.uncounted(position))
        return self._refused.get(position, 0) >= MOST_REFUSED or doubted

    def as_urgent(self, position: str, legs: tuple[Leg, ...]) -> tuple[tuple[Leg, ...], ...]:
        """Legs that may go now (signed as held) as orders: shorts one by one where the whole was refused too often."""
        shorts = tuple((leg,) for leg in legs if leg.ratio < 0)
        return shorts if shorts and self.goes_singly(position, legs) else (legs,)

    def may_go(self, position: Position, legs: tuple[Leg, ...], urgency: Urgency) -> bool:
        """Whether an order that closes these legs may leave: the account holds them, and no short loses its hedge.

        Where the account holds something else, it is looked at, what works for the position is taken back so that
        nothing is left unjudged, and the next minute asks again. Before a long goes, every contract that the position
        ever ordered is looked at: a short whose fill was lost may stand behind a long that nothing counted needs.
        Where the engine's picture of the account is in doubt, what is urgent buys shorts back all the same, and the
        rest waits for a person.
        """
        if not self._may_try(position.id, legs, urgency) or self._just_bought(legs):
            return False
        if position.id in self._book.doubted and any(leg.ratio > 0 for leg in legs):
            return False  # a short of which nobody told may stand behind this hedge
        sells = any(leg.ratio > 0 for leg in legs)
        behind = sells and bool(self._gates.uncounted(position.id))
        if self.in_doubt and ((gap := self._gap(legs)) or behind):
            told = self._signs.doubted or not any(gap.get(leg.contract.name, 0.0) * leg.ratio < 0 for leg in legs)
            return urgency.crosses and told and all(leg.ratio < 0 for leg in legs)  # else a report may be on its way
        if self._gap(legs) or behind:
            self.look()
            if self._gap(legs):
                self._take_back(position.id, "the account holds something else than was counted")
                return False
            if sells and self._gates.uncounted(position.id):
                return False  # whose it is the next look tells
            now = self._book.positions.get(position.id)
            if now is None or now.legs != position.legs:
                return False  # the next minute asks for what is left
        return not self._is_hedge(position, legs)

    def _is_hedge(self, position: Position, legs: tuple[Leg, ...]) -> bool:
        """Whether a short needs what goes: one that is counted, or one in the position's contracts that is nobody's."""
        held = without_flying(position.legs, self._working.of(position.id))
        if bares(held, legs):
            return True
        nobodys = self._gates.nobodys_shorts(position.id)
        if not nobodys or not bares((*held, *nobodys), legs):
            return False
        if position.id not in self._kept:
            self._kept.add(position.id)
            names = ", ".join(f"{leg.ratio:+d} {leg.contract.name}" for leg in nobodys)
            text = f"what is left of {position.id} is kept: it may be the hedge of {names}, which belongs to nobody"
            self._bus.publish(NoticeRaised(time=self._gates.now(), kind=NoticeKind.DOUBT, text=text))
        return True

    def leans_on_what_goes(self, position: Position, package: Package, contracts: int) -> Refusal | None:
        """Nothing opens onto a position whose cover an order is selling."""
        new = tuple(Leg(leg.contract, leg.ratio * contracts) for leg in package.legs)
        left = without_flying(position.legs, self._working.of(position.id))
        before, then = (uncovered(merged((*held, *new))) - uncovered(held) for held in (position.legs, left))
        if then <= before:
            return None
        return Refusal("hedge_goes", f"an order sells what would cover it in {position.id}")

    def keep_hedges(self, position: str) -> None:
        """What a position holds has changed: an order that sells the hedge of a short is taken back."""
        known, working = self._book.positions.get(position), self._working.of(position)
        if known is None:
            return
        held = (*as_now(known.legs, working), *self._gates.nobodys_shorts(position))
        for group in working:
            if not group.cancelling and bares(held, closing_yet(group)):
                self._working.cancel(group, "a short needs the hedge that it sells")

    def _watch_hedges(self) -> None:
        """While longs alone are sold, a short that nobody counts may turn up behind them: then it is looked at."""
        for group in self._working if self._gates.may_lose_fills() else ():
            going = closing_yet(group)
            if not going or any(leg.ratio < 0 for leg in going) or group.cancelling:
                continue
            if self._gates.uncounted(group.position) - self._flying():
                self.look()
                if self._gates.uncounted(group.position) - self._flying():
                    self._take_back(group.position, "the account holds a short that was not counted")
            self.keep_hedges(group.position)

    def foreign(self, contract: str, why: str = "") -> None:
        """Somebody else traded a contract of ours: what works on it is taken back, and the account is looked at now."""
        for group in self._working:
            if any(leg.contract.name == contract for leg in group.package.legs):
                self._take_back(group.position, why or f"somebody else traded {contract}")
        self.look()

    def assigned(self, contracts: Iterable[str]) -> None:
        """What the account shows as assigned while an order works on it: that order would open it again."""
        do_all(partial(self.foreign, name, f"{name} was assigned") for name in sorted(contracts))

    def _take_back(self, position: str, reason: str) -> None:
        for group in self._working.of(position):
            if not group.cancelling:
                self._working.cancel(group, reason)
        self._questioned.add(position)

    def believed(self, group: OrderGroup) -> None:
        """A group is over: its fills are what the account holds of them."""
        if self._gates.believe_account(group):
            self._questioned.add(group.position)

    def ended(self, group: OrderGroup) -> None:
        """What could not be judged while it worked is judged now."""
        if group.rejected and not group.opens and group.is_untouched:
            self.refused(group)
        elif not group.is_untouched:
            self._refused.pop(group.position, None)
            self._tried = {key: at for key, at in self._tried.items() if key[0] != group.position}
        if group.position in self._questioned:
            self._questioned.discard(group.position)
            self.look()

    def doubts(self, group: OrderGroup) -> None:
        """The broker reported more of a group than was ordered: what the account holds decides."""
        self._questioned.add(group.position)
        self.look()


def _tried(position: str, legs: Iterable[Leg]) -> tuple[str, frozenset[str]]:
    return position, frozenset(leg.contract.name for leg in legs)


@dataclass(frozen=True, slots=True)
class Unwind:
    """What is being unwound of a position: the names of its parts, and the rule that asked for it."""

    parts: frozenset[str]
    rule: str
    reason: str


class Unwinds:
    """By position: which of its parts are still to be closed leg by leg."""

    def __init__(self, gateway: Gateway, book: Book, journal: Journal, settings: OrderSettings) -> None:
        self._gateway = gateway
        self._book = book
        self._journal = journal
        self._settings = settings
        self._of: dict[str, Unwind] = {}
        self._asked: dict[str, datetime] = {}

    def __contains__(self, position: str) -> bool:
        return position in self._of

    @property
    def positions(self) -> tuple[str, ...]:
        """Positions with something left to close."""
        return tuple(self._of)

    def of(self, position: str) -> Unwind | None:
        """What is being unwound of a position."""
        return self._of.get(position)

    def parts_of(self, position: str) -> frozenset[str]:
        """Names of the parts that are being unwound."""
        found = self._of.get(position)
        return frozenset() if found is None else found.parts

    def plan(self, position: str, parts: Collection[str], rule: str = "unwind", reason: str = INCOMPLETE) -> None:
        """Close these parts leg by leg, with those that are being unwound already."""
        before = self._of.get(position)
        if before is None:
            self._of[position] = Unwind(frozenset(parts), rule, reason)
        else:
            self._of[position] = Unwind(before.parts | frozenset(parts), before.rule, before.reason)

    def forget(self, position: str) -> None:
        """Nothing of it is left to do."""
        self._of.pop(position, None)
        self._book.blocked.pop(position, None)

    def pass_minute(self, now: datetime) -> None:
        """Forget what no longer trades (the clearing house settles it), and exits that nobody asks for any more."""
        for position in list(self._of):
            legs = self._legs(position)
            if legs and all(leg.contract.expiry < now.date() for leg in legs):
                self.forget(position)
        for position in [name for name in self._book.blocked if name not in self._of]:
            if now - self._asked.get(position, now) > _ASKED_WITHIN:
                del self._book.blocked[position]

    def _legs(self, position: str) -> tuple[Leg, ...]:
        """What the parts that are being unwound hold."""
        known = self._book.positions.get(position)
        names = self.parts_of(position)
        return () if known is None else merged(leg for part in known.parts if part.name in names for leg in part.legs)

    def waited_enough(self, position: str, rule: str, urgency: Urgency, found: Sorted) -> bool:
        """A side that a whole exit needs is not quoted: whether it goes leg by leg now, at the last or after so long.

        No order is sent at a price that nobody shows: an engine would fill it at one that is only remembered.
        """
        now, most = self._gateway.now(), self._settings.blocked_exit_minutes
        fresh = position not in self._book.blocked
        self._asked[position] = now
        waited = (now - self._book.blocked.setdefault(position, now)).total_seconds() / 60
        late = urgency is Urgency.FINAL or waited >= most
        if late or fresh:
            severity = Severity.BREACH if late else Severity.WARNING
            self._tell(position, severity, waited, f"{rule} waits: {found.why}")
        return late

    def next_legs(self, position: str, flying: Collection[str]) -> Sorted:
        """What may go now: shorts alone while there are any, then longs that cover nothing any more.

        ``flying`` names contracts that an order works on already. With nothing ready, waiting or flying, what is left
        is ``worthless``.
        """
        held, known = self._legs(position), self._book.positions.get(position)
        found = sort_out((leg for leg in held if leg.contract.name not in flying), self._gateway, self._settings)
        shorts = tuple(leg for leg in found.ready if leg.ratio < 0)
        ready = tuple(leg for leg in found.ready if leg.ratio > 0 and leg.contract.name not in flying)
        longs = sellable(() if known is None else known.legs, ready)[: self._settings.max_legs]
        if not found.waiting:
            self._book.blocked.pop(position, None)
        elif position not in self._book.blocked:
            self._book.blocked[position] = self._gateway.now()
            self._tell(position, Severity.WARNING, 0.0, f"what is left waits: {found.why}")
        kept = tuple(leg for leg in ready if leg not in longs)  # they wait for the shorts that they cover
        return Sorted(shorts[: self._settings.max_legs] or longs, (*found.waiting, *kept), found.worthless)

    def _tell(self, position: str, severity: Severity, waited: float, reason: str) -> None:
        known = self._book.positions.get(position)
        self._journal.record(
            RecordKind.RISK,
            component="executor",
            reason=f"{position}: {reason}",
            rule="exit_blocked",
            severity=severity.value,
            limit=float(self._settings.blocked_exit_minutes),
            observed=waited,
            strategy="" if known is None else known.strategy,
        )

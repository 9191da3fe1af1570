"""What is asked before any order leaves: does the account hold what we think, and does every short keep its hedge.

What the broker holds of the contracts that an order touches is compared with what the state counts, so that a trade of
a person, a report that was lost or one that came twice is found before it is traded on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from core.book import Book, Position, Refusal
from core.contracts import Leg, Package, uncovered
from core.gateway import Gateway
from core.parts import merged
from execution.groups import OrderGroup
from execution.sending import WorkingGroups
from state.manager import HierarchicalStateManager


class OrderGates:
    """Answers both questions from the account, the state and the book as they are now."""

    def __init__(self, gateway: Gateway, book: Book, state: HierarchicalStateManager) -> None:
        self._gateway = gateway
        self._book = book
        self._state = state

    def differs(self, contracts: Iterable[str], flying: Collection[str]) -> dict[str, float]:
        """By contract: what the broker holds beyond what we count (signed), where that is anything.

        Contracts that an order of ours works on (``flying``) are left out: their news is on its way.
        """
        asked = [name for name in contracts if name not in flying]
        if not asked:
            return {}
        held, own = self._held(), self._counted()
        return {name: gap for name in asked if abs(gap := held.get(name, 0.0) - own.get(name, 0.0)) > 0.5}

    def _held(self) -> dict[str, float]:
        return {row.name: row.quantity for row in self._gateway.holdings()}

    def _counted(self) -> dict[str, float]:
        """What positions hold by the state, and what is known to belong to nobody."""
        total = dict(self._book.unowned)
        for position in self._state.positions(ended=True):
            for name, quantity in self._state.held(position.id).items():
                total[name] = total.get(name, 0.0) + quantity
        return total

    def believe_account(self, group: OrderGroup) -> bool:
        """Take back fills of a group that the account does not hold, where it did not all fill; whether any were.

        Only such as came without an identity, and may have come twice: the account is right about facts.
        """
        doubtful = [leg for leg in group.package.legs if group.fills[leg.contract.name].unnamed]
        if group.is_untouched or not doubtful:
            return False
        held, own, found = self._held(), self._counted(), False
        counted = self._state.order_group(group.id).detail.get("filled", {})
        for leg in doubtful:
            name, fill = leg.contract.name, group.fills[leg.contract.name]
            there = held.get(name, 0.0) - own.get(name, 0.0) + counted.get(name, 0.0)
            true = max(min(there, fill.quantity), 0.0) if fill.quantity > 0 else min(max(there, fill.quantity), 0.0)
            if abs(true - fill.quantity) > 0.5:
                fill.cash, fill.fees = fill.cash * true / fill.quantity, fill.fees * true / fill.quantity
                fill.quantity, found = true, True
        return found


def without_flying(held: Sequence[Leg], working: Iterable[OrderGroup]) -> tuple[Leg, ...]:
    """What is surely held while orders work: long legs that are being sold count as gone, shorts as still there."""
    gone = [
        Leg(leg.contract, group.wanted(leg) - round(group.fills[leg.contract.name].quantity))
        for group in working
        for leg in group.package.legs
        if not group.opens and leg.ratio < 0
    ]
    return tuple(leg for leg in merged((*held, *gone)) if leg.ratio)


def bares(held: Sequence[Leg], closing: Sequence[Leg]) -> bool:
    """Whether closing these legs (signed as held) leaves more short options without cover than there are now."""
    left = merged((*held, *(Leg(leg.contract, -leg.ratio) for leg in closing)))
    return uncovered(left) > uncovered(held)


def sellable(held: Sequence[Leg], longs: Sequence[Leg]) -> tuple[Leg, ...]:
    """Those of some long legs that may be sold now, together, with every short still covered as before."""
    free: list[Leg] = []
    for leg in longs:
        if not bares(held, (*free, leg)):
            free.append(leg)
    return tuple(free)


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


class AccountWatch:
    """Lets no order leave that rests on something else than the account holds; asks for a look where they differ.

    ``look`` compares state and account now: whoever reconciles puts itself there. ``look_soon`` says that it could not
    look then and the next minute must.
    """

    def __init__(self, gates: OrderGates, working: WorkingGroups, book: Book) -> None:
        self._gates = gates
        self._working = working
        self._book = book
        self._questioned: set[str] = set()
        self.look: Callable[[], object] = tuple
        self.look_soon = False

    def _gap(self, legs: Iterable[Leg]) -> dict[str, float]:
        flying = {leg.contract.name for group in self._working for leg in group.package.legs}
        return self._gates.differs((leg.contract.name for leg in legs), flying)

    def refusal(self, package: Package) -> Refusal | None:
        """Nothing opens on contracts of which the account holds something else than we count."""
        if not self._gap(package.legs):
            return None
        self.look()
        words = ", ".join(f"{quantity:+g} {name}" for name, quantity in self._gap(package.legs).items())
        return Refusal("account_differs", f"the account holds {words} beyond what is counted") if words else None

    def may_go(self, position: Position, legs: tuple[Leg, ...]) -> bool:
        """Whether an order that closes these legs may leave: the account holds them, and no short loses its hedge.

        Where the account holds something else, it is looked at, what works for the position is taken back so that
        nothing is left unjudged, and the next minute asks again.
        """
        if self._gap(legs):
            self.look()
            if self._gap(legs):
                self._take_back(position.id, "the account holds something else than was counted")
                return False
            now = self._book.positions.get(position.id)
            if now is None or now.legs != position.legs:
                return False  # the next minute asks for what is left
        return not bares(without_flying(position.legs, self._working.of(position.id)), legs)

    def foreign(self, contract: str) -> None:
        """Somebody else traded a contract of ours: what works on it is taken back, and the account is looked at now."""
        for group in self._working:
            if any(leg.contract.name == contract for leg in group.package.legs):
                self._take_back(group.position, f"somebody else traded {contract}")
        self.look()

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
        if group.position in self._questioned:
            self._questioned.discard(group.position)
            self.look()

    def doubts(self, group: OrderGroup) -> None:
        """The broker reported more of a group than was ordered: what the account holds decides."""
        self._questioned.add(group.position)
        self.look()

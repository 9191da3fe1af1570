"""A made-up strategy that opens every structure of the ten rows, adds to them, rolls them and closes them in parts.

What it does follows from what is held and from how many sessions it has been held for, so that a process that takes
over goes on where the last one was killed. ``install`` puts it among the strategies of a system; it needs no row of the
settings. Its terms are made up too: whoever wants risk's own word gives it an account that is large enough.
"""

# Private: _strategies: the roster knows the rows of the method only.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final

from core.book import EntryIntent, Position
from core.contracts import Contract, Leg, Package, Right
from core.parts import PartPlan, Terms, Trait
from market.chains import OptionChainManager, current_quotes, package_price
from risk.proposal import Proposal
from state.manager import HierarchicalStateManager
from strategies.base import (
    Action,
    Add,
    Answer,
    Close,
    Deadline,
    EntryContext,
    Hold,
    HoldContext,
    Roll,
    Skip,
    Strategy,
    Wait,
    Window,
)
from trading_system import TradingSystem

NAME: Final = "every_structure"
ENTRY: Final = time(10, 0)
ACT: Final = time(11, 0)

PUT, CALL = Right.PUT, Right.CALL


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leg by what it should be: days to expiry, right, distance from the price as a share of it, signed ratio."""

    days: int
    right: Right
    distance: float
    ratio: int


@dataclass(frozen=True, slots=True)
class Act:
    """What is done to a part on a session after it was opened: it is added, closed, or rolled ``into`` another."""

    slots: tuple[str, ...]
    day: int
    part: str
    add: bool = False
    into: str = ""


Parts = Mapping[str, tuple[Wanted, ...]]

OPENED: Final[dict[str, tuple[str, Parts]]] = {
    "lt112": ("SPXW", {"spread": (Wanted(120, PUT, -0.03, 1), Wanted(120, PUT, -0.04, -1)),
                       "naked": (Wanted(120, PUT, -0.05, -2),)}),
    "ladder": ("SPY", {"rung-1": (Wanted(180, PUT, -0.06, -1),)}),
    "ipmcc": ("QQQ", {"leap": (Wanted(180, CALL, -0.08, 1),)}),
    "box": ("SPXW", {"whole": (Wanted(200, PUT, -0.02, 1), Wanted(200, PUT, 0.02, -1),
                               Wanted(200, CALL, -0.02, -1), Wanted(200, CALL, 0.02, 1))}),
    "butterfly": ("SPXW", {"whole": (Wanted(0, PUT, -0.004, 1), Wanted(0, PUT, -0.002, -2), Wanted(0, PUT, 0.0, 1))}),
    "ratio": ("TLT", {"long": (Wanted(45, PUT, -0.02, 1),), "shorts": (Wanted(45, PUT, -0.05, -2),)}),
    "diagonal": ("IWM", {"whole": (Wanted(60, PUT, -0.02, 1), Wanted(30, PUT, -0.04, -1))}),
    "strangle-cl": ("LO", {"puts": (Wanted(90, PUT, -0.10, -1),), "calls": (Wanted(90, CALL, 0.10, -1),)}),
    "strangle-6e": ("EUU", {"puts": (Wanted(90, PUT, -0.05, -1),), "calls": (Wanted(90, CALL, 0.05, -1),)}),
}  # fmt: skip
"""By slot: the option root, and the parts of one lot."""

LARGE: Final[dict[str, tuple[str, Parts]]] = {
    "six": ("SPXW", {"whole": (Wanted(45, PUT, -0.02, -1), Wanted(45, PUT, -0.03, 1),
                               Wanted(45, PUT, -0.04, -1), Wanted(45, PUT, -0.05, 1),
                               Wanted(45, CALL, 0.02, -1), Wanted(45, CALL, 0.03, 1))}),
}  # fmt: skip
"""Of more legs than an order takes; none of the ten rows has such."""

_CONDOR: Final[Parts] = {"whole": (Wanted(30, PUT, -0.03, -1), Wanted(30, PUT, -0.04, 1),
                                   Wanted(30, CALL, 0.03, -1), Wanted(30, CALL, 0.04, 1))}  # fmt: skip
TWINS: Final[dict[str, tuple[str, Parts]]] = {"condor": ("SPXW", _CONDOR), "condor-twin": ("SPXW", _CONDOR)}
"""Two positions on the very same contracts."""
EXTRA: Final = LARGE | TWINS

LATER: Final[Mapping[str, Parts]] = {
    "lt112": {"weekly": (Wanted(7, CALL, 0.03, -1), Wanted(7, CALL, 0.04, 1)),
              "weekly-2": (Wanted(9, CALL, 0.035, -1), Wanted(9, CALL, 0.045, 1))},
    "ladder": {"rung-2": (Wanted(180, PUT, -0.06, -1),), "rung-3": (Wanted(180, PUT, -0.08, -1),)},
    "ipmcc": {"weekly": (Wanted(7, CALL, 0.02, -1),), "weekly-2": (Wanted(9, CALL, 0.03, -1),)},
    "six": {"whole-2": (Wanted(45, PUT, -0.025, -1), Wanted(45, PUT, -0.035, 1),
                        Wanted(45, PUT, -0.045, -1), Wanted(45, PUT, -0.055, 1),
                        Wanted(45, CALL, 0.025, -1), Wanted(45, CALL, 0.035, 1))},
}  # fmt: skip
"""Parts that are added or rolled into."""

STRANGLES: Final = ("strangle-cl", "strangle-6e")
LAST_DAY: Final = 4
TIMETABLE: Final = (
    Act(("lt112", "ipmcc"), 1, "weekly", add=True),
    Act(("ladder",), 1, "rung-2", add=True),
    Act(("lt112",), 2, "naked"),
    Act(("ladder",), 2, "rung-2", into="rung-3"),
    Act(("ipmcc",), 2, "leap"),  # which waits: its weekly would be left naked
    Act(("ratio",), 2, "shorts"),
    Act(("six",), 2, "whole", into="whole-2"),
    Act(STRANGLES, 2, "puts"),
    Act(STRANGLES, 2, "calls"),
    Act(("lt112", "ipmcc"), 3, "weekly", into="weekly-2"),
    Act(("ladder",), 3, "rung-1"),
)

_SOLD = frozenset({Trait.SHORT_VOLATILITY})
_TRAITS: Final[Mapping[str, frozenset[Trait]]] = {
    "box": frozenset({Trait.NO_VOLATILITY_SOLD, Trait.HELD_BY_PERSON}),
    "butterfly": frozenset({Trait.NO_VOLATILITY_SOLD, Trait.ENDS_TODAY, Trait.SHORT_DATED}),
    "leap": frozenset({Trait.DEBIT, Trait.LASTING}),
    "ladder": _SOLD | {Trait.PUT_SELLING, Trait.LASTING},
    "weekly": _SOLD | {Trait.COVERED},
}


class EveryStructure(Strategy):
    """Opens what is not open, each structure under its own slot, and manages it by a timetable."""

    name = NAME

    def __init__(self, system: TradingSystem, slots: tuple[str, ...] = tuple(OPENED)) -> None:
        self._system = system
        self._chains = system.managers[OptionChainManager]
        self._state = system.managers[HierarchicalStateManager]
        self._slots = slots

    def entry_windows(self) -> tuple[Window, ...]:
        """Every weekday at ten."""
        return (Window("open", (0, 1, 2, 3, 4), ENTRY, time(10, 15)),)

    def deadlines(self) -> tuple[Deadline, ...]:
        """None of its own."""
        return ()

    def slots(self, window: str) -> tuple[str, ...]:
        """One a structure."""
        return self._slots

    def propose(self, context: EntryContext, rank: int) -> Answer:
        """The structure of the slot, once in its life."""
        tried = (row.detail.get("slot") for row in self._state.positions(ended=True) if row.parent == NAME)
        if context.slot in tried:
            return Skip("open_already", f"{context.slot} was opened before")
        return self._proposal(context.slot, (OPENED | EXTRA)[context.slot][1], context.today)

    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        """Until it is filled."""
        return None

    def manage(self, position: Position, context: HoldContext) -> Action | tuple[Action, ...]:
        """What the timetable says, from eleven on; from the fourth session on all but the box goes."""
        if context.now.time() < ACT:
            return Hold()
        today, session = context.now.date(), self._system.gateway.session
        held_for = (today - position.opened.date()).days
        day = sum(session(position.opened.date() + timedelta(days=count + 1)) is not None for count in range(held_for))
        if day >= LAST_DAY:
            return Hold() if position.slot == "box" else Close("time_exit", "the week is over")
        acts = (row for row in TIMETABLE if row.day == day and position.slot in row.slots)
        return tuple(self._act(position, row, today) for row in acts) or Hold()

    def _act(self, position: Position, row: Act, today: date) -> Action:
        held = position.part(row.part) is not None
        if row.add:
            return (
                Hold() if held or position.part(row.part + "-2") is not None else self._add(position, row.part, today)
            )
        if not held:
            return Hold()
        if row.into:
            return self._roll(position, row.part, row.into, today)
        return Close("timetable", f"{row.part} goes alone", parts=(row.part,))

    def _add(self, position: Position, part: str, today: date) -> Action:
        answer = self._proposal(position.slot, {part: LATER[position.slot][part]}, today)
        return Add(answer, "the timetable") if isinstance(answer, Proposal) else Hold()

    def _roll(self, position: Position, old: str, new: str, today: date) -> Action:
        answer = self._proposal(position.slot, {new: LATER[position.slot][new]}, today)
        return Roll(answer, "the timetable", (old,), calendar=True) if isinstance(answer, Proposal) else Hold()

    def _proposal(self, slot: str, parts: Parts, today: date) -> Proposal | Skip | Wait:
        root = (OPENED | EXTRA)[slot][0]
        plans = []
        picked: list[Contract | None] = []
        for name, legs in parts.items():
            found = [
                (self._chains.listed_near(root, today, leg.days, leg.right, leg.distance), leg.ratio) for leg in legs
            ]
            if any(contract is None for contract, _ in found):
                return Wait("listing", f"{slot} {name}: not listed, or no price yet")
            picked += [contract for contract, _ in found]
            if len(set(picked)) < len(picked):
                return Skip("strikes_coincide", f"{name}: two legs of {slot} fall on one contract")
            package = Package(tuple(Leg(contract, ratio) for contract, ratio in found if contract is not None))
            traits = next((row for key, row in _TRAITS.items() if name.startswith(key) or slot == key), _SOLD)
            plans.append(PartPlan(name, package, Terms(NAME, slot, 500.0, 500.0, traits)))
        package = Package(tuple(leg for plan in plans for leg in plan.package.legs))
        self._chains.watch(f"{NAME} {slot}", [leg.contract for leg in package.legs])
        price = package_price(package.legs, current_quotes(self._chains, package))
        spot = self._chains.spot_of(package.legs[0].contract)
        if price is None or spot is None:
            return Wait("quotes", f"{slot}: a leg has no quote to trade at")
        traits = frozenset().union(*(plan.terms.traits for plan in plans))
        return Proposal(
            strategy=NAME,
            day=today,
            package=package,
            terms=Terms(NAME, slot, 1_000.0, 1_000.0, traits),
            wanted=1,
            mid_cash=price.mid,
            natural_cash=price.natural,
            model_cash=None,
            spot=spot,
            vix=20.0,
            win_rate=0.9,
            reward_ratio=1.0,
            reason=f"{slot} by the timetable",
            parts=tuple(plans),
            slot=slot,
        )

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it."""
        return ()


def install(system: TradingSystem, slots: tuple[str, ...] = tuple(OPENED)) -> EveryStructure:
    """Put it among a system's strategies."""
    made = EveryStructure(system, slots)
    system.coordinator._strategies[NAME] = made  # the roster knows the rows of the method only
    return made

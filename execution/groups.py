"""Order groups: what is being sent as one, how far it got, and how it is written down before it is acted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import reduce
from math import gcd
from typing import Any

from core.book import Book, EntryIntent, Position, Refusal
from core.contracts import Leg, Package, Right
from core.events import GroupOutcome, Level
from core.instruments import INSTRUMENTS
from core.journal import Journal, RecordKind
from core.parts import BOUGHT, SOLD, PartPlan, Terms, Trait, Urgency
from state.facts import SHARES, changes_of, instruments_of
from state.manager import HierarchicalStateManager, OpenIntent
from state.tables import OrderPurpose, OrderTrigger, PositionTrigger, StrategyState, StrategyTrigger


@dataclass(slots=True)
class LegFill:
    """What one leg has filled: signed contracts, cash in dollars (money in positive), fees in dollars."""

    quantity: float = 0.0
    cash: float = 0.0
    fees: float = 0.0
    done: bool = False


@dataclass(slots=True)
class OrderGroup:
    """One package on its way. ``limit`` is points a package, a credit positive; times are the market's.

    ``plans`` are the parts that an entry opens, ``parts`` the names of those that an exit closes (none named: all).
    ``entry`` is what was approved, for an entry of this process; ``refusal`` what ended its walk, where a rule did.
    """

    id: str
    position: str
    strategy: str
    purpose: OrderPurpose
    package: Package
    contracts: int
    created: datetime
    terms: Terms | None = None
    plans: tuple[PartPlan, ...] = ()
    parts: tuple[str, ...] = ()
    slot: str = ""
    entry: EntryIntent | None = None
    refusal: Refusal | None = None
    correlation: str = ""
    rule: str = ""
    reason: str = ""
    urgency: Urgency = Urgency.NORMAL
    limit: float | None = None
    step: int = 0
    order_ids: tuple[int, ...] = ()
    next_step_at: datetime | None = None
    first_fill_at: datetime | None = None
    cancelling: bool = False
    split: bool = False
    rejected: str = ""
    fills: dict[str, LegFill] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for leg in self.package.legs:
            self.fills.setdefault(leg.contract.name, LegFill())

    def wanted(self, leg: Leg) -> int:
        """Signed contracts of a leg when all is filled."""
        return leg.ratio * self.contracts

    @property
    def is_filled(self) -> bool:
        """Whether every leg has all of its contracts."""
        return all(abs(self.fills[leg.contract.name].quantity - self.wanted(leg)) < 0.5 for leg in self.package.legs)

    @property
    def is_untouched(self) -> bool:
        """Whether no leg filled anything."""
        return all(abs(fill.quantity) < 0.5 for fill in self.fills.values())

    @property
    def is_done(self) -> bool:
        """Whether the broker works none of its orders any more."""
        return all(fill.done for fill in self.fills.values())

    @property
    def cash(self) -> float:
        """Dollars brought in by its fills so far."""
        return sum(fill.cash for fill in self.fills.values())

    @property
    def fees(self) -> float:
        """Dollars of fees so far."""
        return sum(fill.fees for fill in self.fills.values())

    @property
    def filled(self) -> dict[str, float]:
        """Signed contracts that filled so far, by name, without the legs that did not."""
        return {name: fill.quantity for name, fill in self.fills.items() if abs(fill.quantity) > 0.5}

    def price_of(self, leg: Leg) -> float:
        """Average price of a filled leg, in points."""
        fill = self.fills[leg.contract.name]
        return -fill.cash / (fill.quantity * leg.contract.multiplier)

    def unfilled(self) -> tuple[Leg, ...]:
        """What an exit has not closed yet: legs held with signed contracts as ratios."""
        gaps = (
            (leg.contract, round(self.fills[leg.contract.name].quantity) - self.wanted(leg))
            for leg in self.package.legs
        )
        return tuple(Leg(contract, held) for contract, held in gaps if held)

    def leftover(self) -> Package | None:
        """One package of what filled without the rest, with signed contracts as ratios; ``None`` when nothing did."""
        legs = tuple(
            Leg(leg.contract, round(self.fills[leg.contract.name].quantity))
            for leg in self.package.legs
            if round(self.fills[leg.contract.name].quantity)
        )
        return Package(legs) if legs else None


def describe_package(package: Package) -> list[dict[str, Any]]:
    """Legs as plain values, for the journal and for the store."""
    return [
        {
            "name": leg.contract.name,
            "root": leg.contract.root,
            "expiry": leg.contract.expiry.isoformat(),
            "strike": leg.contract.strike,
            "right": leg.contract.right.value,
            "ratio": leg.ratio,
        }
        for leg in package.legs
    ]


def record_step(journal: Journal, group: OrderGroup, action: str) -> None:
    """Journal one step in the life of a group, with the rule that ended its walk where one did."""
    refusal = group.refusal or Refusal("", "")
    journal.record(
        RecordKind.ORDER,
        component="executor",
        reason=group.rejected or group.reason,
        correlation=group.correlation,
        group=group.id,
        position=group.position,
        strategy=group.strategy,
        action=action,
        purpose=group.purpose,
        contracts=group.contracts,
        limit_cash=group.limit,
        legs=describe_package(group.package),
        rule=refusal.rule or None,
        limit=refusal.limit,
        observed=refusal.observed,
    )


def rebuild_package(rows: Sequence[Mapping[str, Any]]) -> Package:
    """The package that ``describe_package`` wrote; its contracts have no gateway handle until they are listed again."""
    legs = []
    for row in rows:
        instrument = INSTRUMENTS[str(row["root"])]
        expiry = date.fromisoformat(str(row["expiry"]))
        contract = instrument.contract(expiry, float(row["strike"]), Right(str(row["right"])))
        legs.append(Leg(contract, int(row["ratio"])))
    return Package(tuple(legs))


def rebuild_terms(row: Mapping[str, Any]) -> Terms:
    """The terms that were written as plain values; version 0.1.0 knew one trait only, as ``short_volatility``."""
    traits = row.get("traits")
    known = (SOLD if row.get("short_volatility", True) else BOUGHT) if traits is None else frozenset(map(Trait, traits))
    return Terms(str(row["strategy"]), str(row["structure"]), float(row["max_loss"]), float(row["margin"]), known)


def reduced(legs: Sequence[Leg], contracts: int) -> tuple[Package, int]:
    """The same contracts as a package whose ratios share no divisor, and how many of it: engines ask for that."""
    divisor = reduce(gcd, (abs(leg.ratio) for leg in legs))
    return Package(tuple(Leg(leg.contract, leg.ratio // divisor) for leg in legs)), contracts * divisor


class GroupStates:
    """Writes the life of an order group, of its position and of its strategy into the state."""

    def __init__(self, state: HierarchicalStateManager, book: Book) -> None:
        self._state = state
        self._book = book

    def plan_entry(self, group: OrderGroup, fingerprint: str) -> None:
        """Create position and group. Raises DuplicateIntentError and GatedTransitionError, before anything is sent."""
        terms = group.terms
        self._state.create(
            Level.POSITION,
            group.position,
            group.strategy,
            package=describe_package(group.package),
            instruments=instruments_of(group.package),
            contracts=group.contracts,
            terms=terms,
        )
        try:
            self._state.fire(Level.POSITION, group.position, PositionTrigger.OPEN)
            self._create(group, fingerprint)
            self._enter(group.strategy)
        except Exception:
            self._state.fire(Level.POSITION, group.position, PositionTrigger.ABANDON)
            raise

    def _enter(self, strategy: str) -> None:
        self._state.strategy(strategy)
        self._try(Level.STRATEGY, strategy, StrategyTrigger.ENTER)

    def plan_exit(self, group: OrderGroup) -> None:
        """Create the group that closes (or unwinds) a position."""
        trigger = PositionTrigger.CLOSE if group.purpose is OrderPurpose.EXIT else PositionTrigger.UNWIND
        self._try(Level.POSITION, group.position, trigger, rule=group.rule)
        self._create(group, None)
        self._try(Level.STRATEGY, group.strategy, StrategyTrigger.EXIT)

    def _create(self, group: OrderGroup, fingerprint: str | None) -> None:
        detail: dict[str, object] = {
            "purpose": group.purpose,
            "package": describe_package(group.package),
            "contracts": group.contracts,
            "changes": changes_of(group.package, group.contracts),
            "rule": group.rule,
        }
        if fingerprint is not None:
            detail["fingerprint"] = fingerprint
        self._state.create(Level.ORDER_GROUP, group.id, group.position, **detail)

    def sending(self, group: OrderGroup) -> OpenIntent:
        """The intent to send, to be held open while it is sent."""
        return self._state.intent(Level.ORDER_GROUP, group.id, OrderTrigger.SEND, limit=group.limit)

    def step(self, group: OrderGroup, trigger: OrderTrigger, **detail: object) -> None:
        """A step of the group itself, where its state knows it."""
        self._try(Level.ORDER_GROUP, group.id, trigger, **detail)

    def refused(self, group: OrderGroup) -> None:
        """The group never left: forget it and what it was for."""
        self.step(group, OrderTrigger.ABANDON)
        self._settle_position(group, filled=False)

    def opened(self, group: OrderGroup, position: Position) -> None:
        """The entry is complete: what was paid is kept with the position."""
        self.step(group, OrderTrigger.FILL, filled=group.filled)
        part = position.parts[0]
        self._state.fire(
            Level.POSITION,
            group.position,
            PositionTrigger.OPENED,
            entry_prices=part.entry_prices,
            entry_cash=part.entry_cash,
            entry_fees=part.entry_fees,
            opened=position.opened,
            correlation=position.correlation,
            spot_entry=position.spot_entry,
            vix_entry=position.vix_entry,
        )
        self._try(Level.STRATEGY, group.strategy, StrategyTrigger.ENTERED)

    def ended(self, group: OrderGroup, outcome: GroupOutcome) -> None:
        """The group is over: filled exits close the position, cancelled ones leave it as it was."""
        triggers = {
            GroupOutcome.FILLED: OrderTrigger.FILL,
            GroupOutcome.CANCELLED: OrderTrigger.CANCELLED,
            GroupOutcome.REJECTED: OrderTrigger.REJECT,
        }
        self.step(group, triggers[outcome], filled=group.filled)
        self._settle_position(group, filled=outcome is GroupOutcome.FILLED)

    def strategy_of(self, position: str) -> str:
        """Whose position it is."""
        return self._state.position(position).parent

    def _settle_position(self, group: OrderGroup, filled: bool) -> None:
        """A filled exit closes what it was for, unless legs stay that nobody bids for."""
        if group.purpose is OrderPurpose.ENTRY:
            trigger = PositionTrigger.ABANDON
        else:
            over = filled and group.position not in self._book.positions
            trigger = PositionTrigger.CLOSED if over else PositionTrigger.KEEP
        self._try(Level.POSITION, group.position, trigger)
        self.rest(group.strategy)

    def rest(self, strategy: str) -> None:
        """Bring a strategy back to holding or idle, by what it still holds."""
        state = StrategyState(self._state.strategy(strategy).state)
        if self._book.of_strategy(strategy):
            self._try(Level.STRATEGY, strategy, StrategyTrigger.KEEP)
        elif state in (StrategyState.ENTERING, StrategyState.WAITING):
            self._try(Level.STRATEGY, strategy, StrategyTrigger.ABANDON)
            self._try(Level.STRATEGY, strategy, StrategyTrigger.SKIP)
        else:
            self._try(Level.STRATEGY, strategy, StrategyTrigger.EXITED)

    def closed(self, position: str, strategy: str) -> None:
        """The position's last leg is gone."""
        self._try(Level.POSITION, position, PositionTrigger.CLOSED)
        self.rest(strategy)

    def shares(self) -> None:
        """Keep what assignments left over restarts: ticker to quantity, price and cash."""
        rows = {row.ticker: [row.quantity, row.price, row.cash] for row in self._book.shares.values()}
        if rows or self._state.recall(SHARES):
            self._state.remember(SHARES, rows)

    def assigned(self, position: str, name: str) -> None:
        """A leg left the account by assignment while others stay."""
        held = self._state.held(position)
        held.pop(name, None)
        self._state.correct_held(position, held)

    def expired(self, position: str, strategy: str, assigned: bool) -> None:
        """The clearing house took the position away."""
        trigger = PositionTrigger.ASSIGN if assigned else PositionTrigger.EXPIRE
        self._try(Level.POSITION, position, trigger)
        if assigned:
            self._try(Level.POSITION, position, PositionTrigger.CLOSED)
        self.rest(strategy)

    def _try(self, level: Level, subject: str, trigger: _Trigger, **detail: object) -> bool:
        """Fire where the state knows the trigger; whether it did. What another room did first is no error here."""
        if self._state.may(level, subject, trigger) is not None:
            return False
        self._state.fire(level, subject, trigger, **detail)
        return True


_Trigger = OrderTrigger | PositionTrigger | StrategyTrigger

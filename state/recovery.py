"""After a start, a reconnection or a while: make state agree with what the broker holds and works on.

The broker is right about facts, state is right about intent. Every difference has one named rule, is journalled, and
nothing is guessed: contracts and orders that belong to no package are listed and never touched.

What the executor writes and this reads: an order group's ``changes`` (``facts.changes_of``: contract name to signed
quantity when it fills whole), ``filled`` (the same, cumulative) and ``orders`` (the broker's numbers); a position's
``instruments`` (``facts.instruments_of``). An order carries its group's name as tag.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from core.events import Level
from core.factory import Manager
from core.journal import Journal, RecordKind
from state.facts import (
    FINAL_STATUS,
    SHARES,
    BrokerFacts,
    BrokerHolding,
    BrokerOrder,
    Difference,
    DifferenceKind,
    Reconciliation,
    add_to,
    delivered_by,
    told_fills,
    totals,
    within,
)
from state.ledger import Subject
from state.manager import HierarchicalStateManager
from state.tables import (
    OrderGroupState,
    OrderTrigger,
    PositionState,
    PositionTrigger,
    StrategyState,
    StrategyTrigger,
    destination_of,
)

COMPONENT: Final = "recovery"
REMEMBERED: Final = timedelta(days=4)
"""How long after its end a group's fills are looked for in the account: until the day after, over a long weekend."""


class Recovery(Manager):
    """Reconciles state with the broker's facts; call it when no intent is being acted on."""

    def __init__(self, state: HierarchicalStateManager, journal: Journal) -> None:
        self._state = state
        self._journal = journal
        self._in_flight: frozenset[str] = frozenset()
        self._delivered: dict[str, float] = {}

    def reconcile(self, facts: BrokerFacts, in_flight: Collection[str] = ()) -> Reconciliation:
        """Resolve every difference by its rule; a second call with the same facts finds none but what it only lists.

        ``in_flight``: order groups that an executor of this process follows. Their news is on its way to it, so they,
        their positions and the contracts that they trade are not judged this time.
        """
        outcome = Reconciliation()
        self._in_flight = frozenset(in_flight)
        for subject in self._state.pending():
            if subject.level is not Level.ORDER_GROUP:
                self._state.withdraw(subject.level, subject.id, "only an order group acts at the broker")
        facts = self._seen_assigned(facts, outcome)
        self._settle_groups(facts, outcome)
        self._settle_positions_in_between(outcome)
        self._settle_holdings(facts, outcome)
        self._settle_strategies(outcome)
        self._list_orders(facts, outcome)
        if facts.certain:
            unowned = {holding.contract: holding.quantity for holding in outcome.unowned}
            self._state.remember("unowned", unowned)
        return outcome

    def _seen_assigned(self, facts: BrokerFacts, outcome: Reconciliation) -> BrokerFacts:
        """What turned into shares that nobody had, while an order works on it: assigned, and no fill of that order."""
        there, before = totals(facts.holdings), _quantities(self._state.recall("unowned"))
        new = {name: quantity - before.get(name, 0.0) for name, quantity in there.items()}
        found: set[str] = set()
        self._delivered = {}
        for parent in dict.fromkeys(group.parent for group in self._state.order_groups()):
            position = self._state.position(parent)
            held = self._state.held(parent)
            gone = {name: quantity - within(there.get(name, 0.0), quantity) for name, quantity in held.items()}
            gone = {name: quantity for name, quantity in gone.items() if quantity}
            shares = delivered_by(position.detail, gone, new, facts) or {}
            known = position.detail.get("instruments", {})
            found |= {name for name in gone if known.get(name, {}).get("underlying") in shares}
            if any(group.parent == parent and group.id in self._in_flight for group in self._state.order_groups()):
                add_to(self._delivered, shares)  # its position is judged once the order is taken back
            add_to(new, {ticker: -quantity for ticker, quantity in shares.items()})
        outcome.assigned = frozenset(found)
        return replace(facts, assigned=frozenset(facts.assigned) | found)

    # Order groups

    def _settle_groups(self, facts: BrokerFacts, outcome: Reconciliation) -> None:
        held = self._left_to_expire(facts.today)
        for position in self._state.positions():
            add_to(held, self._state.held(position.id))
        pool = {name: quantity - held.pop(name, 0.0) for name, quantity in totals(facts.holdings).items()}
        pool.update({name: -quantity for name, quantity in held.items()})
        for group in self._state.order_groups():
            if group.id in self._in_flight:
                continue
            orders = [order for order in facts.orders if _is_of(order, group)]
            if group.state == OrderGroupState.PLANNED and group.pending is None:
                self._never_sent(group, outcome)
            elif any(order.status not in FINAL_STATUS for order in orders):
                self._still_working(group, orders, pool, facts, outcome)
            elif not orders and not facts.certain:
                self._in_flight |= {group.id}  # from here on treated as one whose news is on its way
                self._doubt(group.parent, group.id, _quantities(group.detail.get("changes")), outcome)
            else:
                self._finished(group, orders, pool, facts, outcome)

    def _doubt(self, position: str, subject: str, about: Collection[str], outcome: Reconciliation) -> None:
        """An order accepted seconds ago, or its fill, may not be visible yet: leave it to the next look."""
        outcome.in_doubt[position] = outcome.in_doubt.get(position, frozenset()) | frozenset(about)
        self._tell(outcome, Difference(DifferenceKind.IN_DOUBT, subject))

    def _never_sent(self, group: Subject, outcome: Reconciliation) -> None:
        if group.pending is not None:
            self._state.withdraw(group.level, group.id, "the broker knows no such order")
        self._tell(outcome, Difference(DifferenceKind.NEVER_SENT, group.id))
        self._state.fire(group.level, group.id, OrderTrigger.ABANDON)

    def _still_working(
        self,
        group: Subject,
        orders: list[BrokerOrder],
        pool: dict[str, float],
        facts: BrokerFacts,
        outcome: Reconciliation,
    ) -> None:
        """Some order is open: adopt it when its sending was not recorded, take note of what filled meanwhile."""
        numbers = [order.order_id for order in orders]
        if group.pending is not None and group.pending.trigger == OrderTrigger.CANCEL:
            self._state.withdraw(group.level, group.id, "the order still works", orders=numbers)
        elif group.pending is not None:
            self._tell(outcome, Difference(DifferenceKind.SENT_UNRECORDED, group.id))
            group = self._state.complete(group.level, group.id, orders=numbers)
        elif not set(numbers) <= set(group.detail.get("orders", ())):  # the engine numbers them anew
            group = self._state.note(group.level, group.id, orders=numbers)
        known = _quantities(group.detail.get("filled"))
        filled = self._filled_so_far(group, orders, pool, facts)
        for name, quantity in filled.items():
            if quantity != known.get(name, 0.0):
                kind = DifferenceKind.PARTLY_FILLED_WHILE_AWAY
                self._tell(outcome, Difference(kind, group.id, name, known.get(name, 0.0), quantity))
        if filled != known:
            self._state.fire(group.level, group.id, OrderTrigger.FILL_PART, filled=filled)

    def _filled_so_far(
        self, group: Subject, orders: list[BrokerOrder], pool: dict[str, float], facts: BrokerFacts
    ) -> dict[str, float]:
        """Cumulative fills by contract: as the broker tells where it does, else as the holdings tell.

        After a restart a broker often tells of open orders only; what the account holds beyond all that state knows of
        (``pool``) then came from this group. A contract that expired or was assigned is absent without having filled.
        """
        known = _quantities(group.detail.get("filled"))
        told = told_fills(orders)
        filled = dict(known)
        for name, whole in _quantities(group.detail.get("changes")).items():
            if name in told:
                filled[name] = told[name]
            elif not self._went_otherwise(group.parent, name, facts):
                before = known.get(name, 0.0)
                filled[name] = before + within(pool.get(name, 0.0), whole - before)
        for name, quantity in filled.items():
            pool[name] = pool.get(name, 0.0) - (quantity - known.get(name, 0.0))
        return {name: quantity for name, quantity in filled.items() if quantity}

    def _finished(
        self,
        group: Subject,
        orders: list[BrokerOrder],
        pool: dict[str, float],
        facts: BrokerFacts,
        outcome: Reconciliation,
    ) -> None:
        """Nothing of it works any more: what filled is what the broker tells, else what the holdings tell."""
        changes = _quantities(group.detail.get("changes"))
        filled = self._filled_so_far(group, orders, pool, facts)
        position = self._state.position(group.parent)
        unsure = [name for name in changes if not orders and changes[name] != filled.get(name, 0.0)]
        outcome.unsure |= {(position.id, name) for name in unsure if _has_expired(position, name, facts.today)}
        if group.pending is not None and not orders and not filled and group.state == OrderGroupState.PLANNED:
            self._never_sent(group, outcome)
            return
        if group.pending is not None:
            self._resolve_pending(group, orders, outcome)
        whole_filled = bool(changes) and filled == changes
        kind = DifferenceKind.PARTLY_FILLED_WHILE_AWAY
        if whole_filled:
            kind = DifferenceKind.FILLED_WHILE_AWAY
        elif not filled:
            kind = DifferenceKind.CANCELLED_WHILE_AWAY
        for name, quantity in changes.items():
            self._tell(outcome, Difference(kind, group.id, name, quantity, filled.get(name, 0.0)))
        self._end_group(group, filled, whole_filled, bool(changes) and _fraction(filled, changes) is None)

    def _went_otherwise(self, position: str, name: str, facts: BrokerFacts) -> bool:
        """Whether a contract left the account by expiry or assignment, so that its absence is no fill."""
        return name in facts.assigned or _has_expired(self._state.position(position), name, facts.today)

    def _resolve_pending(self, group: Subject, orders: list[BrokerOrder], outcome: Reconciliation) -> None:
        numbers = [order.order_id for order in orders]
        if group.state == OrderGroupState.PLANNED:
            self._tell(outcome, Difference(DifferenceKind.SENT_UNRECORDED, group.id))
            self._state.complete(group.level, group.id, orders=numbers)
        else:
            self._state.withdraw(group.level, group.id, "the order has ended")

    def _end_group(self, group: Subject, filled: dict[str, float], whole: bool, broken: bool) -> None:
        level, name = group.level, group.id
        unwinding = self._state.order_group(name).state == OrderGroupState.UNWINDING
        if unwinding:
            self._state.fire(level, name, OrderTrigger.UNWOUND, filled=filled)
        elif whole:
            self._state.fire(level, name, OrderTrigger.FILL, filled=filled)
        else:
            self._state.fire(level, name, OrderTrigger.CANCELLED, filled=filled)
        if broken:
            self._move(group.parent, PositionTrigger.UNWIND)

    # Positions

    def _settle_positions_in_between(self, outcome: Reconciliation) -> None:
        """A position in a state of transit without a working order goes to what its fills say."""
        for position in self._state.positions():
            live = [group for group in self._state.order_groups() if group.parent == position.id]
            trigger = None if live else _landing(position, bool(self._state.held(position.id)))
            if trigger is not None:
                self._tell(outcome, Difference(DifferenceKind.LEFT_IN_BETWEEN, position.id))
                self._state.fire(position.level, position.id, trigger)
            if self._state.position(position.id).state == PositionState.UNWINDING and not live:
                outcome.positions_to_unwind.append(position.id)

    def _settle_strategies(self, outcome: Reconciliation) -> None:
        """A strategy in transit of which no position is in transit goes to what it holds."""
        transit = (PositionState.PLANNED, PositionState.OPENING, PositionState.CLOSING, PositionState.UNWINDING)
        for strategy in self._state.strategies():
            own = [position for position in self._state.positions() if position.parent == strategy.id]
            if any(position.state in transit for position in own):
                continue
            trigger = _strategy_landing(strategy, bool(own))
            if trigger is not None:
                if strategy.state != StrategyState.HOLDING:  # a rest after its last position went is no difference
                    self._tell(outcome, Difference(DifferenceKind.LEFT_IN_BETWEEN, strategy.id))
                self._state.fire(Level.STRATEGY, strategy.id, trigger)

    def _left_to_expire(self, today: date) -> dict[str, float]:
        """What positions that have ended still hold: worthless legs that nobody buys, left to their expiry."""
        left: dict[str, float] = {}
        for position in self._state.positions(ended=True):
            if position.ended:
                held = self._state.held(position.id)
                add_to(left, {name: held[name] for name in held if not _has_expired(position, name, today)})
        return left

    def _settle_holdings(self, facts: BrokerFacts, outcome: Reconciliation) -> None:
        available = totals(facts.holdings)
        for name, quantity in self._left_to_expire(facts.today).items():
            add_to(available, {name: -within(available.get(name, 0.0), quantity)})
        for ticker, row in (self._state.recall(SHARES) or {}).items():  # being sold since their assignment
            add_to(available, {ticker: -within(available.get(ticker, 0.0), float(row[0]))})
        flying, parents = self._set_aside_flying(available)
        add_to(available, {name: -within(available.get(name, 0.0), count) for name, count in self._delivered.items()})
        positions = [item for item in self._state.positions() if item.id not in parents and self._state.held(item.id)]
        positions.sort(key=lambda position: self._intact(position, positions, available), reverse=True)
        for position in positions:
            held = self._state.held(position.id)
            expected = {name: quantity for name, quantity in held.items() if name not in flying}
            share = {name: within(available.get(name, 0.0), quantity) for name, quantity in expected.items()}
            add_to(available, {name: -quantity for name, quantity in share.items()})
            if share != expected:
                self._correct(position, expected, share, available, facts, outcome)
        self._settle_late(available, facts, outcome)
        for name, quantity in sorted(available.items()):
            if quantity:
                outcome.unowned.append(BrokerHolding(name, quantity))
                self._tell(outcome, Difference(DifferenceKind.EXTRA, "account", name, 0.0, quantity))

    def _settle_late(self, available: dict[str, float], facts: BrokerFacts, outcome: Reconciliation) -> None:
        """What came since the last look, and just such a group lacks as ended a day ago, filled after its end.

        LEAN drops the fill of an order that it takes for closed; tastytrade's plug-in reports a cancellation without
        the fills before it. The next start shows both in the holdings alone (``docs/faults.md``).
        """
        before = _quantities(self._state.recall("unowned"))
        for group in reversed(self._state.order_groups(ended=True) if facts.certain else ()):
            recent = facts.today - group.changed.date() <= REMEMBERED
            kept = group.detail.get("never_sent") and not group.detail.get("handed_over")
            if not group.ended or not recent or kept or group.id in self._in_flight:
                continue
            filled = _quantities(group.detail.get("filled"))
            late = {
                name: within(available.get(name, 0.0) - before.get(name, 0.0), whole - filled.get(name, 0.0))
                for name, whole in _quantities(group.detail.get("changes")).items()
            }
            late = {name: quantity for name, quantity in late.items() if quantity}
            for name, quantity in late.items():
                kind = DifferenceKind.FILLED_AFTER_END
                self._tell(outcome, Difference(kind, group.id, name, filled.get(name, 0.0), quantity))
                add_to(available, {name: -quantity})
            if late:
                outcome.late[group.id] = late

    def _set_aside_flying(self, available: dict[str, float]) -> tuple[set[str], set[str]]:
        """Take what groups in flight trade, and what their positions hold, out of the comparison; both named."""
        groups = [self._state.order_group(name) for name in self._in_flight]
        parents = {group.parent for group in groups}
        for parent in parents:
            for name, quantity in self._state.held(parent).items():
                add_to(available, {name: -within(available.get(name, 0.0), quantity)})
        flying = {name for group in groups for name in _quantities(group.detail.get("changes"))}
        for name in flying:
            available.pop(name, None)
        return flying, parents

    def _intact(self, position: Subject, positions: list[Subject], available: Mapping[str, float]) -> bool:
        """Whether every contract that only this position holds is there in full: such a package is served first."""
        others: set[str] = set()
        for other in positions:
            if other.id != position.id:
                others |= set(self._state.held(other.id))
        own = self._state.held(position.id)
        return all(
            within(available.get(name, 0.0), quantity) == quantity
            for name, quantity in own.items()
            if name not in others
        )

    def _correct(
        self,
        position: Subject,
        expected: dict[str, float],
        share: dict[str, float],
        available: dict[str, float],
        facts: BrokerFacts,
        outcome: Reconciliation,
    ) -> None:
        """Less is there than the position should hold: find out why, and let the position follow."""
        left = {name: quantity for name, quantity in share.items() if quantity}
        gone = {name: expected[name] - share[name] for name in expected if expected[name] != share[name]}
        if not facts.certain and not all(self._went_otherwise(position.id, name, facts) for name in gone):
            self._doubt(position.id, position.id, gone, outcome)
            return
        before = _quantities(self._state.recall("unowned"))  # a person's own shares are no delivery
        new = {name: quantity - before.get(name, 0.0) for name, quantity in available.items()}
        delivered = delivered_by(position.detail, gone, new, facts)
        trigger: PositionTrigger | None
        if delivered is not None:
            kind, trigger = DifferenceKind.ASSIGNED_WHILE_AWAY, PositionTrigger.ASSIGN
            for name, quantity in delivered.items():
                left[name] = left.get(name, 0.0) + quantity
                available[name] = available.get(name, 0.0) - quantity
        elif all(_has_expired(position, name, facts.today) for name in gone):
            kind = DifferenceKind.EXPIRED_WHILE_AWAY
            short_left = any(quantity < 0 for quantity in left.values())
            trigger = PositionTrigger.UNWIND if short_left else None if left else PositionTrigger.EXPIRE
        elif not left:
            kind, trigger = DifferenceKind.CLOSED_BY_HAND, PositionTrigger.CLOSED_OUTSIDE
        elif _fraction(share, expected) is not None:
            kind, trigger = DifferenceKind.DIFFERENT_QUANTITY, None
        else:
            kind, trigger = DifferenceKind.MISSING, PositionTrigger.UNWIND
        for name in gone:
            self._tell(outcome, Difference(kind, position.id, name, expected[name], share[name]))
        self._state.correct_held(position.id, left)
        if trigger is not None:
            self._move(position.id, trigger)
        if trigger is PositionTrigger.UNWIND and position.id not in outcome.positions_to_unwind:
            outcome.positions_to_unwind.append(position.id)

    def _move(self, position: str, trigger: PositionTrigger) -> None:
        if destination_of(Level.POSITION, self._state.position(position).state, trigger) is not None:
            self._state.fire(Level.POSITION, position, trigger)

    # Orders of nobody

    def _list_orders(self, facts: BrokerFacts, outcome: Reconciliation) -> None:
        groups = {group.id: group for group in self._state.order_groups(ended=True)}
        for order in facts.orders:
            if order.status in FINAL_STATUS:
                continue
            owner = next((group for group in groups.values() if _is_of(order, group)), None)
            if owner is None:
                outcome.foreign_orders.append(order)
                kind = DifferenceKind.UNKNOWN_ORDER
                self._tell(outcome, Difference(kind, str(order.order_id), order.contract, None, order.quantity))
            elif owner.ended:
                outcome.orders_to_cancel.append(order.order_id)
                outcome.orphans[order.order_id] = owner.id
                kind = DifferenceKind.ORPHAN_ORDER
                self._tell(outcome, Difference(kind, owner.id, order.contract, None, order.quantity))

    def _tell(self, outcome: Reconciliation, difference: Difference) -> None:
        outcome.differences.append(difference)
        self._journal.record(
            RecordKind.RECONCILIATION,
            component=COMPONENT,
            reason=difference.rule,
            difference=difference.kind,
            subject=difference.subject,
            contract=difference.contract,
            expected=difference.expected,
            observed=difference.observed,
        )


def _landing(position: Subject, holds: bool) -> PositionTrigger | None:
    """Where a position in transit lands when no order works for it, by whether anything is held."""
    landings: dict[str, tuple[PositionTrigger | None, PositionTrigger | None]] = {
        PositionState.PLANNED: (None, PositionTrigger.ABANDON),
        PositionState.OPENING: (PositionTrigger.OPENED, PositionTrigger.ABANDON),
        PositionState.ADJUSTING: (PositionTrigger.KEEP, PositionTrigger.CLOSED_OUTSIDE),
        PositionState.CLOSING: (PositionTrigger.KEEP, PositionTrigger.CLOSED),
        PositionState.UNWINDING: (None, PositionTrigger.CLOSED),
        PositionState.ASSIGNED: (None, PositionTrigger.CLOSED),
    }
    with_holdings, without = landings.get(position.state, (None, None))
    return with_holdings if holds else without


def _strategy_landing(strategy: Subject, holds: bool) -> StrategyTrigger | None:
    """Where a strategy lands when none of its positions is in transit, by whether it holds any."""
    landings = {
        StrategyState.ENTERING: (StrategyTrigger.ENTERED, StrategyTrigger.ABANDON),
        StrategyState.EXITING: (StrategyTrigger.KEEP, StrategyTrigger.EXITED),
        StrategyState.HOLDING: (None, StrategyTrigger.EXITED),
    }
    with_holdings, without = landings.get(StrategyState(strategy.state), (None, None))
    return with_holdings if holds else without


def _is_of(order: BrokerOrder, group: Subject) -> bool:
    """By its tag; an order without one by the broker's own number, or as what a group has still to trade.

    The engine's number says nothing: it counts anew with each process, and our own working exit would be taken for the
    filled entry of the same number (recording X). What is still to trade has the sign, and at most the quantity, of a
    leg of a group that has not ended.
    """
    if order.tag:
        return order.tag == group.id
    trades = _quantities(group.detail.get("changes")).get(order.contract)
    if trades is None:
        return False
    if set(order.broker_ids) & set(group.detail.get("broker_ids", ())):
        return True
    return not group.ended and trades * order.quantity > 0 and abs(order.quantity) < abs(trades) + 0.5


def _quantities(detail: object) -> dict[str, float]:
    return {str(name): float(quantity) for name, quantity in detail.items()} if isinstance(detail, Mapping) else {}


def _fraction(part: Mapping[str, float], whole: Mapping[str, float]) -> float | None:
    """The share that all contracts have in common, 0 to 1; ``None`` when they differ: packages with legs missing."""
    shares = {round(part.get(name, 0.0) / quantity, 9) for name, quantity in whole.items() if quantity}
    return shares.pop() if len(shares) == 1 else None


def _has_expired(position: Subject, name: str, today: date) -> bool:
    facts = position.detail.get("instruments", {}).get(name)
    return facts is not None and date.fromisoformat(facts["expiry"]) < today

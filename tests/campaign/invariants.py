"""What must be true after every minute of a campaign's week, and what at its end."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations, islice, product

from core.contracts import Leg, Package, uncovered
from core.journal import MemorySink, RecordKind
from core.parts import merged
from core.settings.fields import OrderSettings
from execution.executor import AtomicExecutor
from execution.groups import BROKEN, LATE, intrinsic
from execution.states import rebuild_package
from execution.tracker import UNTOLD_SHARES
from risk.emergency import EmergencyProtocol
from risk.equity import PhaseManager
from simulation.faults.kinds import Fault
from state.manager import HierarchicalStateManager
from state.tables import OrderPurpose
from tests.campaign import sums as of_week
from tests.campaign.gateway import FaultyGateway
from tests.campaign.odd import MISCOUNTED, PRICES_LOST, Oddity
from trading_system import TradingSystem

PATIENCE = 25
"""Minutes, with a connection and honest quotes, within which what is wrong must be right: a look each quarter of an
hour, two minutes until an absence is believed, and some refusals on the way."""
CANCELS = 12
"""Minutes with a connection within which a cancellation is asked for again until it is taken, and every order has
somebody who follows it: each is refused one time in four."""
NAKED_PARTS = frozenset({"naked", "rung-1", "rung-2", "rung-3", "shorts", "puts", "calls"})
"""Parts of the made-up strategy that are sold without a hedge; everything else is sold with one."""
_OPENING = (OrderPurpose.ENTRY, OrderPurpose.ADJUST)
_EXCUSES = frozenset(
    {Fault.LOST, Fault.KILLED, Fault.DISCONNECTED, Fault.MANUAL, Fault.LATE, Fault.REORDERED, Fault.DISK}
)
"""Faults that may leave a price that nobody was told."""


class Rule(StrEnum):
    """What no fault excuses."""

    NAKED = "a short option without its hedge beyond the timeout"
    OVERSOLD = "an exit of more than is held"
    TWICE = "an order sent twice"
    HALTED = "an order opened or moved while halted"
    RATE = "a rate exceeded"
    LIMIT = "more held than was approved"
    CASH = "cash is not fills, fees and settlements"
    TRADES = "trades are not cash"
    WHOLE = "a package that is neither whole nor gone nor being unwound"
    STUCK = "a cancelled order that is still at the broker"
    NOBODYS = "an order of ours at the broker that nobody follows"
    COUNTED = "a fill that was counted twice"
    STATE = "state is not what the broker holds"
    UNEXPLAINED = "an order that the journal does not explain"
    EMERGENCY = "an emergency not reached while quotes exist"
    RESTART = "a restart was not possible"
    ERROR = "an error that no handler expected"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold: when, and in which way."""

    time: datetime
    rule: Rule
    words: str

    def __str__(self) -> str:
        return f"{self.time:%a %H:%M} VIOLATION {self.rule.value}: {self.words}"


@dataclass
class Watch:
    """Looks at every order before it leaves and at the account after every minute. Each rule is told once."""

    gateway: FaultyGateway
    sink: MemorySink
    structures: bool
    on: frozenset[Fault]
    rates: OrderSettings
    odd: frozenset[Oddity] = frozenset()
    system: TradingSystem | None = None
    violations: list[Violation] = field(default_factory=list)
    hedged: set[str] = field(default_factory=set)
    tags: list[str] = field(default_factory=list)
    approved: dict[str, int] = field(default_factory=dict)
    packages: list[tuple[Package, str]] = field(default_factory=list)
    """What is all or nothing, and whose position it is."""
    nobodys_cash: float = 0.0
    _sent: set[tuple[str, ...]] = field(default_factory=set)
    _journalled: dict[tuple[str, str], float] = field(default_factory=dict)
    _lines_seen: int = 0
    _times: dict[str, deque[datetime]] = field(default_factory=dict)
    _waits: dict[Rule, int] = field(default_factory=dict)
    _since: dict[str, int] = field(default_factory=dict)

    def tell(self, rule: Rule, words: str) -> None:
        """A rule did not hold."""
        if rule not in {row.rule for row in self.violations}:
            self.violations.append(Violation(self.gateway.time, rule, words))

    # Before an order leaves

    def sending(self, package: Package, quantity: int, tag: str) -> None:
        """An order is about to leave."""
        system = self._alive()
        group = system.managers[HierarchicalStateManager].order_group(tag)
        again = (tag, *sorted(leg.contract.name for leg in package.legs))
        if again in self._sent:  # a larger package is several orders of one group
            self.tell(Rule.TWICE, f"{tag} was sent before")
        self._sent.add(again)
        if len(package.legs) > self.rates.max_legs:
            self.tell(Rule.LIMIT, f"{tag} has {len(package.legs)} legs")
        self.tags.append(tag)
        self._count("orders", self.rates.orders_per_second, self.rates.orders_per_minute)
        if group.detail["purpose"] in _OPENING:
            ordinary = 1 - self.rates.emergency_reserve
            second, minute = (
                int(ordinary * count) for count in (self.rates.orders_per_second, self.rates.orders_per_minute)
            )
            self._count("entries", second, minute)
            for plan in group.detail.get("plans", ()):
                if self.structures and self.gateway.by_hand:
                    break  # a person changed what may hedge it: that is risk's to refuse, which is set aside here
                if not self.structures or plan["name"] not in NAKED_PARTS:
                    self.hedged.update(str(leg["name"]) for leg in plan["package"])
                    self._follow_package(rebuild_package(plan["package"]), group.parent)
            self._opening(package, tag, group.parent)
            self._goes_on(package, tag, group.detail.get("changes", {}))
            for leg in package.legs:
                name = leg.contract.name
                self.approved[name] = self.approved.get(name, 0) + abs(leg.ratio) * quantity
        elif not self.gateway.is_down:
            self._closing(package, quantity, tag)

    def opens(self, tag: str) -> bool:
        """Whether an order is to open, as it says of itself."""
        return self._alive().managers[HierarchicalStateManager].order_group(tag).detail["purpose"] in _OPENING

    def repricing(self, tag: str) -> None:
        """A working order is about to get another price."""
        system = self._alive()
        self._count("prices", self.rates.updates_per_second, self.rates.updates_per_minute)
        group = system.managers[HierarchicalStateManager].order_group(tag)
        if system.bus.entries_halted is not None and group.detail["purpose"] in _OPENING:
            self.tell(Rule.HALTED, f"{tag} got another price while {system.bus.entries_halted}")

    def _alive(self) -> TradingSystem:
        if self.system is None:
            raise RuntimeError("an order of a process that has ended")
        return self.system

    def _count(self, kind: str, second: int, minute: int) -> None:
        """So many of a kind of traffic may leave within a second, and within a minute."""
        now, times = self.gateway.time, self._times.setdefault(kind, deque())
        times.append(now)
        while now - times[0] >= timedelta(minutes=1):
            times.popleft()
        at_once = sum(moment == now for moment in times)
        if len(times) > minute or (self.gateway.live and at_once > second):
            self.tell(
                Rule.RATE, f"{at_once} {kind} at once and {len(times)} within a minute; allowed {second}, {minute}"
            )

    def process_ended(self) -> None:
        """Another process begins, and counts anew."""
        self.system = None
        self._times.clear()

    def cancelling(self) -> None:
        """A cancellation is about to leave."""
        self._count("cancels", self.rates.cancels_per_second, self.rates.cancels_per_minute)

    def _opening(self, package: Package, tag: str, position: str) -> None:
        system = self._alive()
        if system.bus.entries_halted is not None:
            self.tell(Rule.HALTED, f"{tag} was sent while {system.bus.entries_halted}")
        for order in self.gateway.resting:
            if self._slot_of(order.tag) != self._slot_of(tag):
                continue  # another structure on the same contracts
            mine = {leg.contract.name: leg.ratio for leg in order.package.legs}
            if all(mine.get(leg.contract.name, 0) * leg.ratio > 0 for leg in package.legs):
                self.tell(Rule.TWICE, f"{tag} of {position} beside {order.tag}, which still works")
        held = self.gateway.held
        if not self.structures and any(count < 0 for name, (_, count) in held.items() if name in self.hedged):
            self.tell(Rule.TWICE, f"{tag} of {position} beside what is held already")

    def _goes_on(self, package: Package, tag: str, wanted: Mapping[str, float]) -> None:
        """The next order of a larger package leaves when all before it filled; where reports may be counted twice, or
        tell what is not so, nobody can know that."""
        before = {name for sent, *names in self._sent if sent == tag for name in names}
        before -= {leg.contract.name for leg in package.legs}
        lacking = [name for name in before if self.gateway.filled_of.get((tag, name), 0) != round(wanted[name])]
        if lacking and self.gateway.named and not self.odd:
            self.tell(Rule.WHOLE, f"{tag} goes on, though {', '.join(sorted(lacking))} did not fill whole")

    def _slot_of(self, tag: str) -> object:
        """Which of the strategy's entries an order belongs to."""
        state = self._alive().managers[HierarchicalStateManager]
        return state.position(state.order_group(tag).parent).detail.get("slot", "")

    def _closing(self, package: Package, quantity: int, tag: str) -> None:
        """With what works already, no exit may trade more of a contract than is held of it."""
        working: dict[str, int] = {}
        for order in self.gateway.resting:
            for name, count in order.left().items():
                working[name] = working.get(name, 0) + count
        self._uncovering(package, quantity, tag)
        doubt = self._alive().managers[AtomicExecutor].account.in_doubt
        for leg in package.legs:
            name, count = leg.contract.name, leg.ratio * quantity
            held = self.gateway.held.get(name, (leg.contract, 0))[1]
            same = working.get(name, 0) if working.get(name, 0) * count > 0 else 0
            room = abs(held) if held * count < 0 else 0
            if doubt and count > 0:  # what is not shown is not taken as gone then (decision 048)
                room += max(self.gateway.by_hand.get(name, 0), 0) + self._bought_unheard(name)
            if abs(count + same) > room:
                words = f"{tag} trades {count:+d} of {name}, {held:+d} are held, {same:+d} on their way"
                self.tell(Rule.OVERSOLD, words)

    def _uncovering(self, package: Package, quantity: int, tag: str) -> None:
        """No exit takes the hedge from a short that stays, however soon that is to go too."""
        traded = [Leg(leg.contract, leg.ratio * quantity) for leg in package.legs]
        if not any(leg.ratio < 0 for leg in traded):
            return
        rows = [(contract, self._ours(name, count)) for name, (contract, count) in self.gateway.held.items()]
        held = [Leg(one, ours) for one, ours in rows if ours > 0 or (ours < 0 and one.name in self.hedged)]
        same = [leg for leg in held if leg.contract.underlying == package.underlying]
        left = merged((*same, *traded))
        if uncovered(left) > uncovered(same):
            self.tell(
                Rule.NAKED, f"{tag} sells a hedge: " + ", ".join(f"{leg.contract.name} {leg.ratio:+d}" for leg in left)
            )

    # After a minute

    def minute(self) -> None:
        """Look at the account; what is wrong has ``PATIENCE`` minutes in which it could be put right."""
        naked = self._naked()
        self._wait(Rule.NAKED, naked, self._can_act(naked))
        differing = self._differing()
        self._wait_each(Rule.STATE, {row.partition(":")[0]: row for row in differing}, not self.gateway.is_down)
        stuck = [
            f"{order.tag} for {order.asked} minutes"
            for order in self.gateway.resting
            if order.asked > (PATIENCE if order.ends_at is not None else CANCELS)
        ]
        if stuck:
            self.tell(Rule.STUCK, ", ".join(stuck))
        if not self.structures and not self.gateway.by_person:
            self._within_limits()
        torn = self._torn()
        self._wait(Rule.WHOLE, torn, self._can_act(torn))
        followed = set(self._alive().managers[AtomicExecutor].followed)
        nobodys = [row.tag for row in self.gateway.resting if row.tag not in followed and not row.asked]
        self._wait(Rule.NOBODYS, nobodys, not self.gateway.is_down, CANCELS)
        self._counted_once()
        waits = self._alive().managers[EmergencyProtocol].person_waits
        left = [f"{name} {count:+d}" for name, (_, count) in sorted(self.gateway.held.items()) if count < 0]
        self._wait(Rule.EMERGENCY, left if waits else [], self._can_act(left))

    def _counted_once(self) -> None:
        """Where each report says which fill it is, no more is journalled of an order than the broker filled of it."""
        if not self.gateway.named or self.odd & MISCOUNTED:
            return
        lines = self.sink.lines[self._lines_seen :]
        self._lines_seen += len(lines)
        for row in (row for row in map(json.loads, lines) if row["kind"] == RecordKind.FILL):
            key = (str(row["group"]), str(row["contract"]))
            self._journalled[key] = self._journalled.get(key, 0.0) + float(row["quantity"])
            if abs(self._journalled[key]) > abs(self.gateway.filled_of.get(key, 0)) + 0.5 and key[0] in self.tags:
                self.tell(Rule.COUNTED, f"{self._journalled[key]:+g} of {key[1]} for {key[0]}")

    def _follow_package(self, package: Package, position: str) -> None:
        """A package that is all or nothing, unless something else trades a contract of it too."""
        names = {leg.contract.name for leg in package.legs}
        if (package, position) not in self.packages:
            shared = [row for row in self.packages if names & {leg.contract.name for leg in row[0].legs}]
            self.packages = [row for row in self.packages if row not in shared]
            if not shared:
                self.packages.append((package, position))

    def _torn(self) -> list[str]:
        """Legs held of packages that lack others, with nobody's hands in them but ours, and that somebody bids for.

        Longs beside whole packages that nobody bids for are left to expire, as those of a torn package are.
        """
        working = {leg.contract.name for order in self.gateway.resting for leg in order.package.legs}
        found = []
        for package, position in self.packages:
            names = {leg.contract.name for leg in package.legs}
            held = {leg: self.gateway.held.get(leg.contract.name, (leg.contract, 0))[1] for leg in package.legs}
            counts = {count / leg.ratio for leg, count in held.items()}
            whole = min(max(count // leg.ratio, 0) for leg, count in held.items())
            extra = {leg: count - leg.ratio * whole for leg, count in held.items()}
            quotes = [self.gateway.market(leg.contract) for leg, count in extra.items() if count > 0]
            priced = any(count < 0 for count in extra.values()) or any((row.bid or 0.0) > 0.10 for row in quotes)
            if len(counts) > 1 and self._covers_others(package, position, held):
                continue
            if len(counts) > 1 and priced and not names & working and not names & set(self.gateway.by_hand):
                found += [f"{leg.contract.name} {count:+d}" for leg, count in held.items() if count]
        return found

    def _covers_others(self, package: Package, position: str, held: Mapping[Leg, int]) -> bool:
        """Whether all that is held beyond whole packages are longs that each cover a naked short of their position.

        LT112's torn spread: its long put covers one of the two puts that were sold without a hedge. To sell it would
        leave one more short uncovered, which no exit may do whatever the reason; kept, it can only make the loss
        smaller. It goes in the minute in which it covers nothing any more. One that covers nothing goes at once.
        """
        whole = min(max(count // leg.ratio, 0) for leg, count in held.items())
        extra = [
            Leg(leg.contract, leg.ratio * whole - count) for leg, count in held.items() if count != leg.ratio * whole
        ]
        known = self._alive().book.positions.get(position)
        own = () if known is None else known.legs
        least = -sum(leg.ratio for leg in extra)
        return all(leg.ratio < 0 for leg in extra) and uncovered(merged((*own, *extra))) - uncovered(own) == least

    def _within_limits(self) -> None:
        """No contract is held beyond what entries were approved for, and no more positions than the phase allows."""
        for name, (_, count) in sorted(self.gateway.held.items()):
            if name in self.approved and abs(count) > self.approved[name]:
                self.tell(Rule.LIMIT, f"{count:+d} of {name} are held, {self.approved[name]} were approved")
        system = self._alive()
        most, held = system.managers[PhaseManager].limits.max_positions, len(system.book.positions)
        if held > most:
            self.tell(Rule.LIMIT, f"{held} positions are held, the phase allows {most}")

    def _wait(self, rule: Rule, wrong: list[str], fair: bool, most: int = PATIENCE) -> None:
        if not wrong:
            self._waits[rule] = 0
        elif fair:
            self._waits[rule] = self._waits.get(rule, 0) + 1
            if self._waits[rule] > most:
                self.tell(rule, ", ".join(wrong))

    def _wait_each(self, rule: Rule, wrong: Mapping[str, str], fair: bool) -> None:
        """Each subject has its own time: where one is right again as the next goes wrong, none was wrong for long."""
        self._since = {name: self._since.get(name, 0) + fair for name in wrong}
        late = [words for name, words in wrong.items() if self._since[name] > PATIENCE]
        if late:
            self.tell(rule, ", ".join(late))

    def _can_act(self, about: Iterable[str]) -> bool:
        names = {row.split(" ")[0] for row in about}
        spoiled = any(self.gateway.shown_quotes.spell_of(name) is not None for name in names)
        return not self.gateway.is_down and not spoiled

    def _naked(self) -> list[str]:
        """Shorts that were sold with a hedge and stand without one, by underlying."""
        sides: dict[str, list[Leg]] = {}
        for name, (contract, count) in self.gateway.held.items():
            if name in self.hedged and (ours := self._ours(name, count)):
                sides.setdefault(contract.underlying.ticker, []).append(Leg(contract, ours))
        bare = [legs for legs in sides.values() if uncovered(legs)]
        return [f"{leg.contract.name} {leg.ratio:+d}" for legs in bare for leg in legs if leg.ratio < 0]

    def _ours(self, name: str, count: int) -> int:
        """What is held of a contract without what a person sold of it: a person's own short is theirs."""
        return count if count >= 0 else min(count - min(self.gateway.by_hand.get(name, 0), 0), 0)

    def _differing(self) -> list[str]:
        """Contracts of which state, with what is known to be nobody's, holds another number than the broker."""
        state = self._alive().managers[HierarchicalStateManager]
        known: dict[str, float] = {}
        for position in state.positions(ended=True):
            for name, count in state.held(position.id).items():
                known[name] = known.get(name, 0.0) + count
        for name in self.gateway.by_hand:  # what a person did is seen too: as nobody's, or as gone from its position
            known[name] = known.get(name, 0.0) + self._alive().book.unowned.get(name, 0.0)
        held = {name: float(count) for name, (_, count) in self.gateway.held.items()}
        names = {name for name in (*known, *held) if name in self.gateway.names}
        return [
            f"{name}: {known.get(name, 0.0):+g} by state, {held.get(name, 0.0):+g} at the broker"
            for name in sorted(names)
            if known.get(name, 0.0) != held.get(name, 0.0) and not self._settled(name)
        ]

    def _settled(self, name: str) -> bool:
        """Whether a contract's last session is over: the next look forgets it."""
        return self.gateway.names[name].expiry < self.gateway.time.date()

    # At the end

    def end(self, started_with: float) -> None:
        """Everything is quiet: state, trades, cash and journal agree."""
        system = self._alive()
        differing = self._differing()
        if differing:
            self.tell(Rule.STATE, ", ".join(differing))
        naked = self._naked()
        if naked:
            self.tell(Rule.NAKED, "at the end: " + ", ".join(naked))
        explained = {row["group"] for row in self.sink.rows(RecordKind.ORDER)}
        explained |= {row["subject"] for row in self.sink.rows(RecordKind.RECONCILIATION)}
        silent = [tag for tag in self.tags if tag not in explained]
        if silent:
            self.tell(Rule.UNEXPLAINED, ", ".join(silent))
        self._reckon(system, started_with)
        failed = [] if Fault.DISK in self.on else self.sink.rows(RecordKind.ERROR)
        if failed:
            self.tell(Rule.ERROR, f"{failed[0]['component']}: {failed[0]['reason']}: {failed[0]['detail']}")

    def _reckon(self, system: TradingSystem, started_with: float) -> None:
        """Closed trades, open parts and shares are the account's cash, where every price was told."""
        rows = self.sink.rows(RecordKind.TRADE_CLOSED)
        told_of = ("position", "part", "closed", "contracts", "profit")  # a part may be closed in several trades
        trades = {tuple(row[key] for key in told_of): row for row in rows}
        if len(trades) < len(rows) and not self.on & {Fault.KILLED, Fault.DISK}:
            self.tell(Rule.TRADES, "a closed trade was told twice")
        parts = [part for position in system.book.positions.values() for part in position.parts]
        closed = [(row, self._opened_unseen(row)) for row in trades.values()]
        whole: list[float] = [row["profit"] for row, unseen in closed if row["profit"] is not None and not unseen]
        whole += [part.cash - part.fees for part in parts if part.cash is not None]
        shares = of_week.share_rows(self.sink.rows(RecordKind.FILL))
        whole += [of_week.of_shares(row) for row in shares if row["reason"] != UNTOLD_SHARES]
        half = [of_week.of_trade(row, unseen) for row, unseen in closed if row["profit"] is None or unseen]
        half += [of_week.of_part(part) for part in parts if part.cash is None]
        if half and not self.on & _EXCUSES and not self.odd & PRICES_LOST:
            self.tell(Rule.TRADES, "a trade's price is unknown, and every report of it came")
        unknown = [*(exit_ for _, exits in half for exit_ in exits), *of_week.untold_lots(shares)]
        state = system.managers[HierarchicalStateManager]
        for (tag, name), filled in () if self.gateway.named else self.gateway.filled_of.items():
            if tag in self.tags:
                self.gateway.executions.undo_double(name, filled, state.order_group(tag).detail)
        unheard = of_week.possible(unknown, self.gateway.executions)
        if self.odd & PRICES_LOST or unheard is None:
            return  # a price that was told wrong, or a fill of which nobody told, is in no sum
        moved, known = self.gateway.cash - started_with, sum(whole) + sum(cash for cash, _ in half)
        told = known + system.book.interest + self.nobodys_cash
        least = 0.05 if half or unknown else 0.01  # prices in the journal have four decimals
        sums, theirs = sorted(set(unheard)), set(self._by_hand())
        if not any(of_week.is_among(moved - told - other, sums, least) for other in theirs):
            self.tell(Rule.CASH, f"{moved:+,.2f} in the account, {told:+,.2f} by trades, {len(half)} of them in part")

    def _opened_unseen(self, row: Mapping[str, object]) -> bool:
        """Whether a trade is what an exit bought or sold too much of, at a price that no report told."""
        group, late, rest = str(row["part"]).partition(LATE)
        legs = row["legs"]
        assert isinstance(legs, list)
        if not late or not rest.endswith(BROKEN) or group not in self.tags:
            return False
        return any(self._untold(str(leg["name"])).get(group, 1) for leg in legs)

    def settles(self, names: Iterable[str]) -> None:
        """What belongs to nobody of contracts that end now is settled with the rest; no trade will have it."""
        for name in names:
            contract, count = self.gateway.names.get(name), self._alive().book.unowned.get(name, 0.0)
            if contract is not None and count:
                spot = self.gateway.price_of(contract.underlying.price_key)
                self.nobodys_cash += count * intrinsic(contract, spot) * contract.multiplier

    def _by_hand(self) -> Iterator[float]:
        """Every sum that trades by hand may have brought beside what positions count of them.

        A person's trade closes what is ours, then its cash is in a trade, or does not. Of several in one contract so
        many may have been taken at their average. One that closed what filled unheard left nothing of either in the
        account: no position ever has the two, and their cash is what both brought.
        """
        choices = []
        for name, row in self.gateway.by_person.items():
            some = [sum(chosen) for count in range(len(row) + 1) for chosen in combinations(row, count)]
            some += [sum(row) * count / len(row) for count in range(1, len(row))]
            for count in range(1, min(self._unheard(name), len(row)) + 1):
                for chosen in combinations(row, count):
                    opened = self.gateway.executions.sums(name, -count if sum(chosen) < 0 else count)
                    some += [sum(chosen) + one for one in opened]
            choices.append(sorted({round(amount, 6) for amount in some}))
        yield from (sum(chosen) for chosen in islice(product(*choices), of_week.MOST_SUMS))

    def _unheard(self, name: str) -> int:
        """How many contracts of a name filled for orders of ours and are in no row of the journal, or taken back."""
        state = self._alive().managers[HierarchicalStateManager]
        total = 0
        for tag, count in self._untold(name).items():
            counted = state.order_group(tag).detail.get("filled", {}).get(name, 0.0) if tag in self.tags else 0.0
            total += max(abs(count), round(abs(self.gateway.filled_of[tag, name] - counted)))
        return total

    def _bought_unheard(self, name: str) -> int:
        """How many contracts of a name orders bought that are over by their own reports, which left these out.

        An order that is cancelled in part reports the cancellation and never the fills, and no report tells that.
        """
        state = self._alive().managers[HierarchicalStateManager]
        rows = ((tag, count) for tag, count in self._untold(name).items() if tag in self.tags)
        return sum(max(count, 0) for tag, count in rows if state.order_group(tag).ended)

    def _untold(self, name: str) -> dict[str, int]:
        """By order group, signed contracts of a name that filled for it and are in no row of the journal."""
        return of_week.untold(name, self.sink.rows(RecordKind.FILL), self.gateway.filled_of)

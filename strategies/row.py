"""A strategy as its row of the methodology's table declares it: entries, exits by part, gates, rolls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import ClassVar

from core.book import EntryIntent, Position
from core.contracts import Contract
from core.identifiers import part_kind
from core.instruments import INSTRUMENTS
from core.parts import SOLD, WHOLE, Part, Trait
from core.settings.strategies import StrategySettings
from risk.exposure import traits_of
from risk.proposal import Opening, Proposal
from strategies.base import (
    Action,
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
    too_little,
    watch_name,
)
from strategies.exits import PositionRule, Rule, TimeExit, most_severe, severest
from strategies.gates import DayRule, Gate, VixGate, any_day, vix_window
from strategies.look import EndedLookError, Look, RowFacts, Watched
from strategies.tools import Tools

EVERY_PART = "*"
_WINDOW = timedelta(minutes=15)
_LAST_LOOK = timedelta(minutes=2)  # a quote comes with the next minute in which it changes

Act = Callable[[Look], Proposal]
Onto = Callable[[Position, date], bool]
"""Whether an entry adds to a position on a day."""


@dataclass(frozen=True, slots=True)
class Entry:
    """When a row looks, and what it does then; ``slots`` have a decision each, ``onto`` adds to what it is true of.

    ``parts``: kinds of what it opens, where these are always the same. An entry that the account has no place for is
    then denied before any contract is picked.
    """

    name: str
    days: DayRule
    at: time
    act: Act
    until: time | None = None
    onto: Onto | None = None
    slots: tuple[str, ...] = ("",)
    gates: tuple[Gate, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def closes(self) -> time:
        """The end of its window: fifteen minutes after it opens unless it says so (methodology, 6a)."""
        return self.until or (datetime.combine(datetime.min, self.at) + _WINDOW).time()


@dataclass(frozen=True, slots=True)
class PlannedRoll:
    """A roll that the row prescribes: when it is due, and what comes in the part's place.

    ``or_close``: where the row's VIX window or the chain lets nothing open, the part is closed; else it stays.
    """

    due: Callable[[Part, HoldContext], str | None]
    act: Act
    or_close: bool = False


def roll_at(days: int, act: Act, at: time, or_close: bool = False) -> PlannedRoll:
    """Roll a part that has so many days left, or fewer, from a time of day on."""

    def due(part: Part, context: HoldContext) -> str | None:
        left = (part.expiry - context.now.date()).days
        return f"{left} days to expiry" if left <= days and context.now.time() >= at else None

    return PlannedRoll(due, act, or_close)


def held_for(days: int, part: str) -> Onto:
    """True of a position whose part is open since so many days."""

    def onto(position: Position, day: date) -> bool:
        found = position.part(part)
        return found is not None and (day - found.opened.date()).days >= days

    return onto


class Row(Strategy):
    """Runs what a row declares. A row gives ``name``, ``roots``, ``traits``, ``entries`` and ``exits``.

    ``roots`` are option roots, the largest that fits first. ``traits`` say what each kind of part is: the name of a
    part up to its first hyphen, or ``whole``. ``exits`` are by the same kinds, ``*`` for every part;
    ``exits_of_all`` close all that the position holds. ``opens`` are the days on which it may open a position.
    ``ranked`` are the option roots whose rank of volatility its gates may ask for.
    """

    opens: ClassVar[DayRule] = any_day()
    roots: ClassVar[tuple[str, ...]]
    ranked: ClassVar[tuple[str, ...]] = ()
    traits: ClassVar[Mapping[str, frozenset[Trait]]] = MappingProxyType({WHOLE: SOLD})

    def __init__(self, tools: Tools, own: StrategySettings) -> None:
        self.tools = tools
        self._own = own
        self._facts = RowFacts(self.name, own, self.traits)
        self.vix_gate: VixGate = vix_window(own)
        self.gates: tuple[Gate, ...] = ()
        self.phase_gates: tuple[Gate, ...] = ()
        self.entries: tuple[Entry, ...] = ()
        self.exits: Mapping[str, tuple[Rule, ...]] = {}
        self.exits_of_all: tuple[PositionRule, ...] = ()
        self.rolls: Mapping[str, PlannedRoll] = {}
        self._watched: dict[tuple[str, ...], Watched] = {}
        self._windows: tuple[tuple[Entry, ...], tuple[Window, ...]] = ((), ())
        self._due: dict[tuple[str, date], bool] = {}
        self._ranks = {0}

    @property
    def own(self) -> StrategySettings:
        """Its settings."""
        return self._own

    # Entries

    def roots_of(self, slot: str) -> tuple[str, ...]:
        """Option roots for one of its slots, the largest that fits first."""
        return self.roots

    def underlyings(self) -> tuple[str, ...]:
        """What its roots are written on."""
        roots = (root for entry in self.entries for slot in entry.slots for root in self.roots_of(slot))
        return tuple(dict.fromkeys(INSTRUMENTS[root].underlying for root in roots))

    def available(self, slot: str) -> tuple[str, ...]:
        """Those of its roots that are listed today: data that has none of a root makes it no candidate."""
        roots = self.roots_of(slot)
        return roots if len(roots) == 1 else tuple(root for root in roots if self.tools.chains.is_listed(root))

    def ranked_on(self, day: date) -> tuple[str, ...]:
        """Of the ranked roots those that it looks at first on a day; it may ask for others when it looks."""
        slots = [slot for entry in self.entries if self.ranked and self._falls_on(entry)(day) for slot in entry.slots]
        return tuple(dict.fromkeys(self.roots_of(slot)[0] for slot in slots))

    def sizes(self, context: EntryContext) -> int:
        """How many roots the entry's slot may choose from today, one at least."""
        return max(1, len(self.available(_slot(context))))

    def entry_windows(self) -> tuple[Window, ...]:
        """Its entries' windows, each on the days that the exchange and the account's phase leave of its rule."""
        if self._windows[0] is not self.entries:  # asked for at each minute before a window and in it
            self._windows = (
                self.entries,
                tuple(
                    Window(row.name, (0, 1, 2, 3, 4), row.at, row.closes, self._falls_on(row), row.onto is not None)
                    for row in self.entries
                ),
            )
        return self._windows[1]

    def _falls_on(self, entry: Entry) -> Callable[[date], bool]:
        def falls_on(day: date) -> bool:
            key = (entry.name, day)
            if key not in self._due:  # as it was on the day itself: a phase may change before somebody asks again
                self._due[key] = entry.days.is_due(day, self.tools.phases.phase, self.tools.is_open)
            return self._due[key]

        return falls_on

    def slots(self, window: str) -> tuple[str, ...]:
        """The slots of an entry."""
        return self._entry(window).slots

    def _entry(self, window: str) -> Entry:
        return next((entry for entry in self.entries if entry.name == window), self.entries[0])

    def takes(self, window: str, position: Position, day: date) -> bool:
        """Whether an entry that adds to positions is for this one on a day."""
        onto = self._entry(window).onto
        return onto is not None and onto(position, day)

    def contexts(self, context: EntryContext) -> list[EntryContext]:
        """A context for each look of a window: its slots, or the positions that it adds to."""
        entry = self._entry(context.window)
        if entry.onto is None:
            return [replace(context, slot=slot) for slot in entry.slots]
        held = (row for row in self.tools.book.of_strategy(self.name) if entry.onto(row, context.today))
        return [replace(context, slot=position.id, position=position) for position in held]

    def prepare(self, context: EntryContext) -> None:
        """Look ahead at each root that was needed so far; what the look finds is thrown away."""
        if self.vix_gate(context) is not None:
            return
        for rank in sorted(self._ranks):
            if rank < len(self.available(_slot(context))):
                self._ask(self._entry(context.window), context, rank)

    def propose(self, context: EntryContext, rank: int) -> Answer:
        """Look with the root of a rank."""
        entry = self._entry(context.window)
        if context.now.time() < entry.at:
            return Wait("entry_time", f"it is {context.now:%H:%M}, entries are from {entry.at:%H:%M}")
        self._ranks.add(rank)
        if rank >= len(self.available(_slot(context))):
            roots = self.roots_of(_slot(context))
            none = f"none of {', '.join(roots)} is listed"
            return Wait("listing", none) if self.tools.chains.may_come(roots[0]) else Skip("no_expiry", none)
        position = context.position
        if entry.onto is not None and (position is None or not entry.onto(position, context.today)):
            return Skip("not_due", f"{entry.name} is not due for {context.slot}")
        return self._ask(entry, context, rank)

    def _ask(self, entry: Entry, context: EntryContext, rank: int) -> Answer:
        blocked = self.vix_gate(context)
        if blocked is not None:
            return blocked
        look = self._look(entry.name, context, self.available(_slot(context))[rank])
        left = datetime.combine(context.today, entry.at) - context.now
        if left > timedelta(0) and not look.look_ahead(last=left <= _LAST_LOOK):
            return Wait("entry_time", f"all was found ahead of {entry.at:%H:%M}")
        answer: Answer | None = None
        try:
            answer = self._answer(entry, look)
        except EndedLookError as ended:
            answer = ended.answer
        finally:
            look.ends(answer)
        return answer

    def _answer(self, entry: Entry, look: Look) -> Answer:
        for gate in (*self.phase_gates, *self.gates, *entry.gates):
            answer = gate(look)
            if answer is not None:
                return answer
        return self._barred(entry, look) or self._as_named(entry, entry.act(look))

    def _barred(self, entry: Entry, look: Look) -> Skip | None:
        """What the account forbids such parts on such an underlying, whatever their contracts are."""
        if not entry.parts:
            return None
        onto = "" if look.position is None else look.position.id
        opening = Opening(look.instrument.underlying, self._traits_of(entry), onto)
        denied = self.tools.risk.bars(opening, "" if look.is_ahead else self.name)
        return None if denied is None else Skip.because(denied)

    def _traits_of(self, entry: Entry) -> frozenset[Trait]:
        return frozenset[Trait]().union(*(self.traits[kind] for kind in entry.parts))

    def _as_named(self, entry: Entry, proposal: Proposal) -> Proposal:
        """The proposal, where its parts are what the entry says: by that it was let in."""
        found, named = traits_of(proposal), self._traits_of(entry)
        if entry.parts and found != named:
            raise ValueError(f"{self.name} {entry.name}: opens {sorted(found)}; expected {sorted(named)} by its parts")
        return proposal

    def _look(self, window: str, context: EntryContext, root: str) -> Look:
        position = "" if context.position is None else context.position.id
        key, day = (window, context.slot, position, root), context.today
        watched = self._watched.get(key)
        if watched is None or watched.day != day:
            self._watched = {name: row for name, row in self._watched.items() if row.day == day}
            watched = self._watched[key] = Watched(watch_name(self.name, window, context.slot), day)
        watched.contracts = {
            name: row for name, row in watched.contracts.items() if self.tools.chains.is_watched(row, watched.user)
        }
        look = Look(self.tools, self._facts, context, root, watched)
        look.full_size = self.roots_of(_slot(context))[0]
        return look

    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        """Its VIX window and what the entry must bring, at a step of the walk; without a VIX nothing opens."""
        blocked = self.vix_gate(context)
        if isinstance(blocked, Wait):
            return Skip(blocked.rule, blocked.reason)
        return blocked or too_little(brings, entry.least_cash)

    # What is held

    def deadlines(self) -> tuple[Deadline, ...]:
        """Each time of day at which an exit may become due."""
        times = {
            (rule.at, rule.minutes_before_close): rule.rule
            for rules in self.exits.values()
            for rule in rules
            if isinstance(rule, TimeExit)
        }
        return tuple(Deadline(f"{name} {at:%H:%M}", at, minutes) for (at, minutes), name in sorted(times.items()))

    def manage(self, position: Position, context: HoldContext) -> Action | tuple[Action, ...]:
        """Exits of all, else by part, the most severe of each; where none is due, rolls and adjustments of the row."""
        hold = replace(context, delta_of=_asked_once(self.tools.greeks.delta_of))
        whole = severest(rule(position, hold) for rule in self.exits_of_all)
        closes = [close for part in position.parts if (close := self._exit(part, hold)) is not None]
        if whole is not None:
            return (*(close for close in closes if close.urgency.exceeds(whole.urgency)), whole)
        if closes:
            return tuple(closes)
        for part in position.parts:
            planned = self.rolls.get(part_kind(part.name))
            due = None if planned is None else planned.due(part, hold)
            if planned is not None and due is not None:
                return self._roll(position, part, hold, planned, due)
        return self.adjust(position, hold)

    def is_due(self, position: Position, context: HoldContext) -> bool:
        """Whether an exit, a roll or an adjustment is due; nothing is looked for, and the first that is, is enough."""
        for of_all in self.exits_of_all:
            if of_all(position, context) is not None:
                return True
        for part in position.parts:
            for rule in self._rules_of(part):
                if rule(part, context) is not None:
                    return True
            planned = self.rolls.get(part_kind(part.name)) if self.rolls else None
            if planned is not None and planned.due(part, context) is not None:
                return True
        return self.adjusts(position, context)

    def _rules_of(self, part: Part) -> tuple[Rule, ...]:
        return (*self.exits.get(part_kind(part.name), ()), *self.exits.get(EVERY_PART, ()))

    def _exit(self, part: Part, hold: HoldContext) -> Close | None:
        found = most_severe(self._rules_of(part), part, hold)
        return None if found is None else replace(found, parts=found.parts or (part.name,))

    def adjust(self, position: Position, hold: HoldContext) -> Action | tuple[Action, ...]:
        """What else the row does with what it holds, when no exit is due."""
        return Hold()

    def adjusts(self, position: Position, context: HoldContext) -> bool:
        """Whether ``adjust`` would do or look for anything; a row with an ``adjust`` of its own says when."""
        return type(self).adjust is not Row.adjust

    def _roll(self, position: Position, part: Part, hold: HoldContext, planned: PlannedRoll, why: str) -> Action:
        blocked = self.vix_gate(self._context(position, hold, part))
        answer = blocked or self.look_at(position, hold, planned.act, part=part)
        if isinstance(answer, Skip) and planned.or_close:
            return Close("roll", f"{why}, not opened again: {answer.reason}", parts=(part.name,))
        return Roll(answer, why, parts=(part.name,), calendar=True) if isinstance(answer, Proposal) else Hold()

    def _context(self, position: Position, hold: HoldContext, part: Part | None) -> EntryContext:
        return EntryContext(
            now=hold.now,
            session=hold.session,
            vix=self.tools.vix.reading(hold.now),
            equity=self.tools.gateway.account().equity,
            phase=self.tools.phases.phase,
            window="" if part is None else part.name,
            slot=position.slot,
            position=position,
        )

    def look_at(self, position: Position, hold: HoldContext, act: Act, part: Part | None = None) -> Answer:
        """An act on a look at what is held, as it stands at this minute; its quotes may take a minute to come.

        What the account would deny in a part's place is known before that part is closed.
        """
        if part is not None:
            opening = Opening(position.underlying.ticker, self.traits[part_kind(part.name)], position.id, replaces=True)
            denied = self.tools.risk.bars(opening)
            if denied is not None:
                return Skip.because(denied)
        context = self._context(position, hold, part)
        roots = self.roots_of(position.slot)
        ticker = position.underlying.ticker
        root = next((root for root in roots if INSTRUMENTS[root].underlying == ticker), roots[0])
        look = self._look(f"held {context.window}", context, root)
        look.part = part
        try:
            return act(look)
        except EndedLookError as ended:
            return ended.answer
        finally:
            look.subscribe()

    def points(self, points: float) -> Callable[[Part], float]:
        """Index points of the row in a part's own points, at the index's level now (by its strikes before a price)."""

        def of(part: Part) -> float:
            scale = INSTRUMENTS[part.package.legs[0].contract.root].index_scale
            spot = self.tools.spot(part.underlying.price_key) or part.package.legs[0].contract.strike
            return self.own.index_points(points, spot * scale) / scale

        return of

    def verify(self) -> tuple[str, ...]:
        """Its roots are known, it looks at some time, and each of its parts has traits."""
        roots = {root for entry in self.entries for slot in entry.slots for root in self.roots_of(slot)}
        problems = [f"root {root} is unknown" for root in sorted(roots - set(INSTRUMENTS))]
        kinds = set(self.exits) - {EVERY_PART}
        problems += [f"part {kind} has no traits" for kind in sorted(kinds - set(self.traits))]
        return tuple(problems) if self.entries else (*problems, f"{self.name} has no entry")


def by_part(**traits: frozenset[Trait]) -> Mapping[str, frozenset[Trait]]:
    """What each kind of part is; ``whole`` for a row of one part."""
    return MappingProxyType(traits)


def _asked_once(delta_of: Callable[[Contract], float | None]) -> Callable[[Contract], float | None]:
    """The same for the rules of one look, several of which ask for one contract."""
    known: dict[Contract, float | None] = {}

    def asked(contract: Contract) -> float | None:
        if contract not in known:
            known[contract] = delta_of(contract)
        return known[contract]

    return asked


def _slot(context: EntryContext) -> str:
    """The slot of an entry: that of the position where it adds to one."""
    return context.slot if context.position is None else context.position.slot

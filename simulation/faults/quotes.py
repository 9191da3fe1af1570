"""A feed's quotes: a side missing, crossed, frozen, or far from the market for a while."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime

from core.contracts import Quote
from simulation.faults.chance import Faults
from simulation.faults.kinds import QUOTES, Fault

QUARTER_MINUTES = 15
_CROSSED_BY = 0.10
_SPIKE = 4.0


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault of one contract's quotes from one minute of a quarter of an hour to another, both included."""

    fault: Fault
    first: int
    last: int
    up: bool

    @property
    def factor(self) -> float:
        """What a spike multiplies a price by."""
        return _SPIKE if self.up else 1 / _SPIKE


class QuoteFaults:
    """What the feed shows of a quote. It depends on seed, contract and time alone, not on who asks how often."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._on = [fault for fault in QUOTES if fault in faults.settings.on]
        self._spells: dict[tuple[str, datetime], Spell | None] = {}
        self._frozen: dict[tuple[str, datetime], Quote | None] = {}

    def shown(self, name: str, quote: Quote | None) -> Quote | None:
        """The quote of a contract as it is shown now; ``None`` where nothing is."""
        spell = self.spell_of(name)
        if spell is None:
            return quote
        if spell.fault is Fault.QUOTE_FROZEN:
            return self._frozen.setdefault((name, self._quarter()), quote)
        return None if quote is None else _spoiled(quote, spell)

    def spell_of(self, name: str) -> Spell | None:
        """What is wrong with a contract's quotes now; drawn at the first look of each quarter of an hour."""
        if not self._on:
            return None
        key = (name, self._quarter())
        if key not in self._spells:
            self._spells[key] = self._spell(*key)
        spell = self._spells[key]
        minute = self._faults.now().minute % QUARTER_MINUTES
        return spell if spell is not None and spell.first <= minute <= spell.last else None

    def _quarter(self) -> datetime:
        now = self._faults.now()
        return now.replace(minute=now.minute // QUARTER_MINUTES * QUARTER_MINUTES, second=0, microsecond=0)

    def _spell(self, name: str, quarter: datetime) -> Spell | None:
        chance = random.Random(f"{self._faults.settings.seed} {name} {quarter:%m-%d %H:%M}")
        for fault in self._on:
            if chance.random() < self._faults.settings.rate(fault):
                first = chance.randint(0, QUARTER_MINUTES - 1)
                last = min(first + chance.choice((0, 2, 10)), QUARTER_MINUTES - 1)
                spell = Spell(fault, first, last, chance.random() < 0.5)
                self._faults.note(fault, name, f"in minutes {first} to {last} of {quarter:%H:%M}")
                return spell
        return None


def _spoiled(quote: Quote, spell: Spell) -> Quote | None:
    if spell.fault is Fault.QUOTE_MISSING:
        return replace(quote, bid=None) if spell.up else replace(quote, ask=None)
    if spell.fault is Fault.QUOTE_CROSSED:
        return quote if quote.ask is None else replace(quote, bid=round(quote.ask + _CROSSED_BY, 10))
    bid = None if quote.bid is None else round(quote.bid * spell.factor, 2)
    ask = None if quote.ask is None else round(quote.ask * spell.factor, 2)
    return replace(quote, bid=bid, ask=ask)

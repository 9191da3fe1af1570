"""Recognition of option strategies in a book of positions: LEAN's definitions and its greedy matcher.

Definitions with more legs are tried first, in the order of declaration; a second run tries those without an uncovered
short leg first and is kept when it leaves fewer short contracts uncovered (OptionStrategyMatcher.cs:49).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from simulation.lean.symbols import Symbol

CREDIT_COVER_WIDTH = 0.1
"""A long on the credit side covers a short when it is at most this fraction of the short's strike away."""


@dataclass(frozen=True, slots=True)
class OptionPosition:
    """Signed contracts of one option, or signed lots (of one contract unit) of the underlying."""

    symbol: Symbol
    quantity: int
    is_call: bool | None
    strike: float
    expiry: datetime | None

    @property
    def is_underlying(self) -> bool:
        """Whether this is the underlying."""
        return self.is_call is None


Predicate = Callable[[Sequence[OptionPosition], OptionPosition], bool]


@dataclass(frozen=True, slots=True)
class LegDefinition:
    """Ratio and right of a leg, and what its strike and expiry must be, given the legs before it."""

    is_call: bool
    quantity: int
    conditions: tuple[str, ...]

    def accepts(self, legs: Sequence[OptionPosition], position: OptionPosition) -> bool:
        """Whether a position may be this leg."""
        if position.is_call != self.is_call or (position.quantity > 0) != (self.quantity > 0):
            return False
        return all(_CONDITIONS[condition](legs, position) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class StrategyDefinition:
    """A named strategy: lots of the underlying and option legs."""

    name: str
    underlying_lots: int
    legs: tuple[LegDefinition, ...]

    @property
    def leg_count(self) -> int:
        """Legs, the underlying included."""
        return len(self.legs) + (1 if self.underlying_lots else 0)

    @property
    def has_uncovered_short(self) -> bool:
        """Whether, by right, more contracts are short than long legs and the underlying cover."""
        calls = sum(leg.quantity for leg in self.legs if leg.is_call)
        puts = sum(leg.quantity for leg in self.legs if not leg.is_call)
        return -calls > max(0, self.underlying_lots) or -puts > max(0, -self.underlying_lots)

    def inverted(self) -> StrategyDefinition:
        """The same strategy sold instead of bought."""
        legs = tuple(replace(leg, quantity=-leg.quantity) for leg in self.legs)
        return StrategyDefinition(self.name, -self.underlying_lots, legs)


@dataclass(frozen=True, slots=True)
class Match:
    """A recognised strategy: name, its option legs in the order of the definition, and lots of the underlying."""

    name: str
    legs: tuple[OptionPosition, ...]
    underlying: OptionPosition | None


def _strike(index: int, compare: Callable[[float, float], bool]) -> Predicate:
    return lambda legs, position: compare(position.strike, legs[index].strike)


def _above(a: float, b: float) -> bool:
    return a > b


def _below(a: float, b: float) -> bool:
    return a < b


def _same(a: float, b: float) -> bool:
    return abs(a - b) < 1e-9


def _at_least(a: float, b: float) -> bool:
    return a >= b or _same(a, b)


def _equal_wings(legs: Sequence[OptionPosition], position: OptionPosition) -> bool:
    return _same(position.strike - legs[1].strike, legs[1].strike - legs[0].strike)


def _mirrored(legs: Sequence[OptionPosition], position: OptionPosition) -> bool:
    return _same(position.strike, legs[0].strike * 2 - legs[1].strike)


def _later(legs: Sequence[OptionPosition], position: OptionPosition) -> bool:
    first = legs[0].expiry
    return position.expiry is not None and first is not None and position.expiry > first


_CONDITIONS: dict[str, Predicate] = {
    ">0": _strike(0, _above),
    ">1": _strike(1, _above),
    ">2": _strike(2, _above),
    "<0": _strike(0, _below),
    "<1": _strike(1, _below),
    "=0": _strike(0, _same),
    "=1": _strike(1, _same),
    ">=0": _strike(0, _at_least),
    ">=1": _strike(1, _at_least),
    "wings": _equal_wings,
    "mirror": _mirrored,
    "day0": lambda legs, position: position.expiry == legs[0].expiry,
    "day1": lambda legs, position: position.expiry == legs[1].expiry,
    "later": _later,
}
# name | lots of the underlying | legs: right, ratio, conditions on strike and expiry against legs before
_TABLE = """
Covered Call | 1 | C-1
Protective Call | -1 | C+1
Covered Put | -1 | P-1
Protective Put | 1 | P+1
Protective Collar | 1 | C-1 ; P+1 <0 day0
Conversion | 1 | C-1 ; P+1 =0 day0
Reverse Conversion | -1 | C+1 ; P-1 =0 day0
Naked Call | 0 | C-1
Naked Put | 0 | P-1
Bear Call Spread | 0 | C-1 ; C+1 >0 day0
Bear Put Spread | 0 | P+1 ; P-1 <0 day0
Bull Call Spread | 0 | C+1 ; C-1 >0 day0
Bull Put Spread | 0 | P-1 ; P+1 <0 day0
Straddle | 0 | C+1 ; P+1 =0 day0
Short Straddle | 0 | C-1 ; P-1 =0 day0
Strangle | 0 | C+1 ; P+1 <0 day0
Short Strangle | 0 | C-1 ; P-1 <0 day0
Butterfly Call | 0 | C+1 ; C-2 >=0 day0 ; C+1 >=1 day0 wings
Short Butterfly Call | 0 | C-1 ; C+2 >=0 day0 ; C-1 >=1 day0 wings
Butterfly Put | 0 | P+1 ; P-2 >=0 day0 ; P+1 >=1 day0 wings
Short Butterfly Put | 0 | P-1 ; P+2 >=0 day0 ; P-1 >=1 day0 wings
Call Calendar Spread | 0 | C-1 ; C+1 =0 later
Short Call Calendar Spread | 0 | C+1 ; C-1 =0 later
Put Calendar Spread | 0 | P-1 ; P+1 =0 later
Short Put Calendar Spread | 0 | P+1 ; P-1 =0 later
Iron Butterfly | 0 | P-1 ; P+1 <0 day0 ; C-1 =0 day0 ; C+1 mirror day0
Short Iron Butterfly | 0 | P+1 ; P-1 <0 day0 ; C+1 =0 day0 ; C-1 mirror day0
Iron Condor | 0 | P+1 ; P-1 >0 day0 ; C-1 >1 day0 ; C+1 >2 day0
Short Iron Condor | 0 | P-1 ; P+1 >0 day0 ; C+1 >1 day0 ; C-1 >2 day0
Box Spread | 0 | P+1 ; P-1 <0 day0 ; C+1 =1 day0 ; C-1 =0 day0
Short Box Spread | 0 | P-1 ; P+1 <0 day0 ; C-1 =1 day0 ; C+1 =0 day0
Jelly Roll | 0 | C-1 ; C+1 =0 later ; P+1 =0 day0 ; P-1 =0 day1
Short Jelly Roll | 0 | C+1 ; C-1 =0 later ; P-1 =0 day0 ; P+1 =0 day1
Bear Call Ladder | 0 | C-1 ; C+1 >0 day0 ; C+1 >1 day0
Bear Put Ladder | 0 | P+1 ; P-1 <0 day0 ; P-1 <1 day0
Bull Call Ladder | 0 | C+1 ; C-1 >0 day0 ; C-1 >1 day0
Bull Put Ladder | 0 | P-1 ; P+1 <0 day0 ; P+1 <1 day0
Call Backspread | 0 | C-1 ; C+2 >0 day0
Put Backspread | 0 | P-1 ; P+2 <0 day0
Short Call Backspread | 0 | C+1 ; C-2 >0 day0
Short Put Backspread | 0 | P+1 ; P-2 <0 day0
"""


def _read_leg(text: str) -> LegDefinition:
    head, *conditions = text.split()
    return LegDefinition(head[0] == "C", int(head[1:]), tuple(conditions))


def _read_table() -> tuple[StrategyDefinition, ...]:
    declared = []
    for line in _TABLE.strip().splitlines():
        name, lots, legs = (part.strip() for part in line.split("|"))
        declared.append(StrategyDefinition(name, int(lots), tuple(_read_leg(leg) for leg in legs.split(";"))))
    shapes = {(definition.underlying_lots, frozenset(definition.legs)) for definition in declared}
    everything = []
    for definition in declared:
        everything.append(definition)
        inverted = definition.inverted()
        if (inverted.underlying_lots, frozenset(inverted.legs)) not in shapes:
            everything.append(inverted)
    return tuple(sorted(everything, key=lambda definition: -definition.leg_count))


DEFINITIONS = _read_table()
"""All definitions with the inverted ones that have no name of their own, more legs first."""
COVERED_FIRST = tuple(sorted(DEFINITIONS, key=lambda definition: definition.has_uncovered_short))


class Book:
    """Positions of one underlying by symbol, in the order in which they came; nothing with quantity zero."""

    def __init__(self, positions: Sequence[OptionPosition] = ()) -> None:
        self._positions: dict[Symbol, OptionPosition] = {}
        for position in positions:
            self.add(position)

    def add(self, position: OptionPosition) -> None:
        """Adds a quantity to what is there."""
        held = self._positions.get(position.symbol)
        quantity = position.quantity + (0 if held is None else held.quantity)
        if quantity:
            self._positions[position.symbol] = replace(position, quantity=quantity)
        else:
            self._positions.pop(position.symbol, None)

    def take(self, position: OptionPosition) -> None:
        """Takes a quantity away."""
        self.add(replace(position, quantity=-position.quantity))

    def without(self, position: OptionPosition) -> Book:
        """A copy less a position."""
        other = Book()
        other._positions = dict(self._positions)
        other.take(position)
        return other

    def copy(self) -> Book:
        """A copy."""
        other = Book()
        other._positions = dict(self._positions)
        return other

    def __iter__(self) -> Iterator[OptionPosition]:
        return iter(list(self._positions.values()))

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def underlying(self) -> OptionPosition | None:
        """The underlying's position, None without one."""
        return next((position for position in self._positions.values() if position.is_underlying), None)


def match_strategies(book: Book) -> list[Match]:
    """The strategies that LEAN sees in a book."""
    first, rest = _match_all(DEFINITIONS, book.copy())
    score = uncovered_shorts(first, rest)
    if not score or score <= _least_uncovered(book):
        return first
    second, rest = _match_all(COVERED_FIRST, book.copy())
    return second if uncovered_shorts(second, rest) < score else first


def _match_all(definitions: Sequence[StrategyDefinition], book: Book) -> tuple[list[Match], Book]:
    matches = []
    for definition in definitions:
        while (match := _match_once(definition, book)) is not None:
            matches.append(match)
            for leg in match.legs:
                book.take(leg)
            if match.underlying is not None:
                book.take(match.underlying)
        if not len(book):
            break
    return matches, book


def _match_once(definition: StrategyDefinition, book: Book) -> Match | None:
    if len(book) < definition.leg_count:
        return None
    underlying, most = book.underlying, 1 << 60
    lots = definition.underlying_lots
    if lots:
        if underlying is None or (underlying.quantity > 0) != (lots > 0) or abs(underlying.quantity) < abs(lots):
            return None
        most = int(underlying.quantity / lots)
    found = _match_legs(definition, (), book, most)
    if found is None:
        return None
    units, multiplier = found
    legs = tuple(
        replace(unit, quantity=leg.quantity * multiplier) for unit, leg in zip(units, definition.legs, strict=True)
    )
    stock = replace(underlying, quantity=lots * multiplier) if lots and underlying is not None else None
    return Match(definition.name, legs, stock)


def _match_legs(
    definition: StrategyDefinition,
    legs: tuple[OptionPosition, ...],
    book: Book,
    most: int,
) -> tuple[tuple[OptionPosition, ...], int] | None:
    """Depth-first search of the first set of positions that fits; the positions and how many times they fit."""
    index = len(legs)
    if index == len(definition.legs):
        return legs, most
    if len(book) < definition.leg_count - index:
        return None
    wanted = definition.legs[index]
    for position in book:
        if position.is_underlying or not wanted.accepts(legs, position):
            continue
        times = int(position.quantity / wanted.quantity)
        if not times:
            continue
        chosen = replace(position, quantity=times * wanted.quantity)
        found = _match_legs(definition, (*legs, chosen), book.without(chosen), min(most, times))
        if found is not None:
            return found
    return None


# -------------------------------------------------------------------- how many shorts are left uncovered


def uncovered_shorts(matches: Sequence[Match], rest: Book) -> int:
    """Short contracts that no long and no underlying covers within its strategy, and unmatched shorts."""
    total = 0
    for match in matches:
        lots = 0 if match.underlying is None else match.underlying.quantity
        total += _uncovered(match.legs, True, max(0, lots)) + _uncovered(match.legs, False, max(0, -lots))
    return total + sum(-p.quantity for p in rest if p.quantity < 0 and not p.is_underlying)


def _uncovered(legs: Sequence[OptionPosition], is_call: bool, cover: int) -> int:
    sign = 1 if is_call else -1
    shorts = [leg for leg in legs if leg.is_call == is_call and leg.quantity < 0]
    longs = [leg for leg in legs if leg.is_call == is_call and leg.quantity > 0]
    free = [leg.quantity for leg in longs]
    left = 0
    for short in sorted(shorts, key=lambda leg: sign * leg.strike):
        remaining = -short.quantity
        for index, long in enumerate(longs):
            if remaining and free[index] and _covers(sign, short, long):
                used = min(remaining, free[index])
                remaining -= used
                free[index] -= used
        used = min(remaining, cover)
        cover -= used
        left += remaining - used
    return left


def _covers(sign: int, short: OptionPosition, long: OptionPosition) -> bool:
    if long.expiry is None or short.expiry is None or long.expiry < short.expiry:
        return False
    return sign * (long.strike - short.strike) <= CREDIT_COVER_WIDTH * short.strike


def _least_uncovered(book: Book) -> int:
    """Shorts that no grouping whatever could cover."""
    calls = sum(position.quantity for position in book if position.is_call)
    puts = sum(position.quantity for position in book if position.is_call is False)
    underlying = book.underlying
    lots = 0 if underlying is None else underlying.quantity
    return max(0, -calls - max(0, lots)) + max(0, -puts - max(0, -lots))

"""Parts of positions that could not close whole, and which of their legs may go now without adding risk.

Shorts are bought back first. A long leg goes only when no short of its position, of whatever part, needs it as cover
any more: sold earlier, it would leave that short naked. What is held is read from the book each time, so that an order
that was refused, or filled in part, changes nothing about what must go. A long option that nobody bids for, at an offer
that is next to nothing, is left to expire; one whose bid is missing at a real offer waits for its bid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.book import Book
from core.contracts import Leg, Quote
from core.events import Severity
from core.gateway import Gateway
from core.instruments import instrument_of
from core.journal import Journal, RecordKind
from core.parts import Urgency, merged
from core.settings.fields import OrderSettings
from execution.gates import sellable

_ROUNDING: Final = 1e-6
_ASKED_WITHIN: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Sorted:
    """Legs held (signed) that may be closed now, those that wait and why, and the long ones that are worth nothing."""

    ready: tuple[Leg, ...]
    waiting: tuple[Leg, ...]
    worthless: tuple[Leg, ...]

    @property
    def why(self) -> str:
        """Which side of which quote is missing, in words."""
        names = (f"no {'offer' if leg.ratio < 0 else 'bid'} for {leg.contract.name}" for leg in self.waiting)
        return ", ".join(names)


@dataclass(frozen=True, slots=True)
class Unwind:
    """What is being unwound of a position: the names of its parts, and the rule that asked for it."""

    parts: frozenset[str]
    rule: str
    reason: str


def is_worthless(leg: Leg, quote: Quote | None, most: float, least: float = 0.0) -> bool:
    """Whether a long leg is bid ``least`` points or less, while it is offered at ``most`` or less.

    Unknown is not worthless. Live, a bid that vanished stays visible (lean-facts 13.7): one of a tick or two proves
    nothing, and an exit that needs it cannot fill (recording Bs).
    """
    if leg.ratio <= 0 or quote is None or quote.ask is None or quote.ask > most:
        return False
    return quote.bid is None or quote.bid <= least + _ROUNDING


def sort_out(legs: Iterable[Leg], gateway: Gateway, settings: OrderSettings) -> Sorted:
    """Every leg by whether the side that closing it needs is quoted now; long ones that are worthless by themselves."""
    ready, waiting, worthless = [], [], []
    for leg in legs:
        quote, instrument = gateway.quote(leg.contract), instrument_of(leg.contract)
        side = None if quote is None else quote.ask if leg.ratio < 0 else quote.bid
        least = settings.worthless_ticks * instrument.ticks.step(0.0)
        if is_worthless(leg, quote, instrument.points(settings.worthless_offer), least):
            worthless.append(leg)
        elif side is not None and quote is not None and quote.ask is not None:
            ready.append(leg)
        else:
            waiting.append(leg)
    return Sorted(tuple(ready), tuple(waiting), tuple(worthless))


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

    def plan(self, position: str, parts: Collection[str], rule: str, reason: str) -> None:
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
        longs = sellable(() if known is None else known.legs, ready)
        if not found.waiting:
            self._book.blocked.pop(position, None)
        elif position not in self._book.blocked:
            self._book.blocked[position] = self._gateway.now()
            self._tell(position, Severity.WARNING, 0.0, f"what is left waits: {found.why}")
        kept = tuple(leg for leg in ready if leg not in longs)  # they wait for the shorts that they cover
        return Sorted(shorts or longs, (*found.waiting, *kept), found.worthless)

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

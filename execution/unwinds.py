"""What is left of packages that could not close whole, and which part of it may go now without adding risk.

Shorts are bought back first. A long leg goes only when no short of its right (call or put) stays behind: sold earlier,
it would leave that short naked. A long option that nobody bids for, at an offer that is next to nothing, is left to
expire (worth nothing); one whose bid is missing at a real offer waits for its bid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from core.book import Book
from core.contracts import Leg, Quote
from core.events import Severity
from core.gateway import Gateway
from core.instruments import instrument_of
from core.journal import Journal, RecordKind
from core.parts import Urgency
from core.settings.fields import OrderSettings

_ASKED_WITHIN: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Part:
    """Legs held (signed) that may be closed now, those that wait and why, and the long ones that are worth nothing."""

    ready: tuple[Leg, ...]
    waiting: tuple[Leg, ...]
    worthless: tuple[Leg, ...]

    @property
    def why(self) -> str:
        """Which side of which quote is missing, in words."""
        names = (f"no {'offer' if leg.ratio < 0 else 'bid'} for {leg.contract.name}" for leg in self.waiting)
        return ", ".join(names)


def is_worthless(leg: Leg, quote: Quote | None, most: float) -> bool:
    """Whether a long leg is without a bid while it is offered at ``most`` points or less; unknown is not worthless."""
    return leg.ratio > 0 and quote is not None and quote.bid is None and quote.ask is not None and quote.ask <= most


def sort_out(legs: Iterable[Leg], gateway: Gateway, most: float) -> Part:
    """Every leg by whether the side that closing it needs is quoted now; ``most`` as in ``is_worthless``."""
    ready, waiting, worthless = [], [], []
    for leg in legs:
        quote = gateway.quote(leg.contract)
        side = None if quote is None else quote.ask if leg.ratio < 0 else quote.bid
        if side is not None and quote is not None and quote.ask is not None:
            ready.append(leg)
        elif is_worthless(leg, quote, instrument_of(leg.contract).points(most)):
            worthless.append(leg)
        else:
            waiting.append(leg)
    return Part(tuple(ready), tuple(waiting), tuple(worthless))


class Unwinds:
    """By position: the legs (signed contracts) that are still to be closed and in no order."""

    def __init__(self, gateway: Gateway, book: Book, journal: Journal, settings: OrderSettings) -> None:
        self._gateway = gateway
        self._book = book
        self._journal = journal
        self._settings = settings
        self._left: dict[str, dict[str, Leg]] = {}
        self._asked: dict[str, datetime] = {}

    def __contains__(self, position: str) -> bool:
        return position in self._left

    @property
    def positions(self) -> tuple[str, ...]:
        """Positions with something left to close."""
        return tuple(self._left)

    def plan(self, position: str, held: Iterable[Leg]) -> None:
        """Close all of these, in place of what was planned for the position before."""
        self._left[position] = {leg.contract.name: leg for leg in held}

    def forget(self, position: str) -> None:
        """The position is gone, whatever was left to do."""
        self._left.pop(position, None)
        self._book.blocked.pop(position, None)

    def put_back(self, position: str, legs: Iterable[Leg]) -> None:
        """Legs of an order that came to nothing."""
        self._left.setdefault(position, {}).update({leg.contract.name: leg for leg in legs})

    def pass_minute(self, now: datetime) -> None:
        """Forget what no longer trades (the clearing house settles it), and exits that nobody asks for any more."""
        for position, legs in list(self._left.items()):
            if all(leg.contract.expiry < now.date() for leg in legs.values()):
                self.forget(position)
        for position in [name for name in self._book.blocked if name not in self._left]:
            if now - self._asked.get(position, now) > _ASKED_WITHIN:
                del self._book.blocked[position]

    def waited_enough(self, position: str, rule: str, urgency: Urgency, part: Part) -> bool:
        """A side that a whole exit needs is not quoted: whether it goes in parts now, at a deadline or after so long.

        No order is sent at a price that nobody shows: an engine would fill it at one that is only remembered.
        """
        now, most = self._gateway.now(), self._settings.blocked_exit_minutes
        fresh = position not in self._book.blocked
        self._asked[position] = now
        waited = (now - self._book.blocked.setdefault(position, now)).total_seconds() / 60
        late = urgency is Urgency.FINAL or waited >= most
        if late or fresh:
            severity = Severity.BREACH if late else Severity.WARNING
            self._tell(position, severity, waited, f"{rule} waits: {part.why}")
        return late

    def next_part(self, position: str) -> Part:
        """Take out what may go now: shorts alone while there are any, then longs that cover nothing any more.

        With nothing ready and nothing waiting, what is left is ``worthless``.
        """
        left = self._left[position]
        found = sort_out(left.values(), self._gateway, self._settings.worthless_offer)
        shorts = tuple(leg for leg in found.ready if leg.ratio < 0)
        stuck = {leg.contract.right for leg in found.waiting if leg.ratio < 0}
        longs = tuple(leg for leg in found.ready if leg.ratio > 0 and leg.contract.right not in stuck)
        if not found.waiting:
            self._book.blocked.pop(position, None)
        elif position not in self._book.blocked:
            self._book.blocked[position] = self._gateway.now()
            self._tell(position, Severity.WARNING, 0.0, f"what is left waits: {found.why}")
        part = Part(shorts or longs, found.waiting, found.worthless)
        for leg in part.ready:
            del left[leg.contract.name]
        if not left:
            self.forget(position)
        return part

    def _tell(self, position: str, severity: Severity, waited: float, reason: str) -> None:
        self._journal.record(
            RecordKind.RISK,
            component="executor",
            reason=f"{position}: {reason}",
            rule="exit_blocked",
            severity=severity.value,
            limit=float(self._settings.blocked_exit_minutes),
            observed=waited,
            strategy=known.strategy if (known := self._book.positions.get(position)) is not None else "",
        )

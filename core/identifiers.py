"""Names of things that live over restarts: positions, order groups, intents. No randomness, no wall clock."""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime

from core.clock import MarketClock
from core.contracts import Package
from core.factory import Manager

_FORM = re.compile(r"(?P<kind>[A-Za-z0-9_]+)-(?P<day>\d{8})-(?P<number>\d+)")


class Identifiers(Manager):
    """Gives ``kind-yyyymmdd-n``, counting from 1 for each kind and market day.

    After a restart ``observe`` is told every name already used, and the count goes on after them.
    """

    def __init__(self, clock: MarketClock) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], int] = {}

    def next(self, kind: str) -> str:
        """A new name. ``kind`` is letters, digits and underscores, such as a strategy's name or ``group``."""
        day = f"{self._clock.now():%Y%m%d}"
        number = self._last.get((kind, day), 0) + 1
        name = f"{kind}-{day}-{number}"
        if not _FORM.fullmatch(name):
            raise ValueError(f"kind: {kind!r}; expected letters, digits and underscores")
        self._last[kind, day] = number
        return name

    def observe(self, name: str) -> None:
        """Take note of a name in use, so that it is never given again; other forms of names are of no concern."""
        match = _FORM.fullmatch(name)
        if match:
            key = match["kind"], match["day"]
            self._last[key] = max(self._last.get(key, 0), int(match["number"]))


def intent_fingerprint(strategy: str, day: date, package: Package, purpose: str = "entry") -> str:
    """Sixteen hex digits that one intent always has: strategy, underlying, expirations, strikes, ratios and day.

    The duplicate guard of methodology.md, section 5. The order of the legs does not matter.
    """
    legs = sorted(f"{leg.contract.name} x{leg.ratio:+d}" for leg in package.legs)
    text = "|".join([purpose, strategy, day.isoformat(), package.underlying.ticker, *legs])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def event_correlation(event: str, time: datetime, number: int) -> str:
    """The id of what an event causes that itself was caused by nothing: its class's name, its time, a count."""
    return f"{event}-{time:%Y%m%d-%H%M%S}-{number}"


def part_name(kind: str, which: str) -> str:
    """The name of one of several parts of a kind, such as ``rung-20240708``."""
    return f"{kind}-{which}"


def part_kind(part: str) -> str:
    """What a part is, by its name: ``rung-20240708`` is a rung, ``whole`` is what it says."""
    return part.split("-")[0]


def correlation_of(strategy: str, day: date, slot: str = "") -> str:
    """The id that leads from an entry's day to its verdicts, orders, fills, exits and profit."""
    return f"{strategy}-{day:%Y%m%d}" + (f"-{slot}" if slot else "")

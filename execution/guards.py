"""What keeps orders from doing harm: contracts held the other way round, too many orders, too many rejections."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from core.book import Book, Refusal
from core.bus import EventBus
from core.contracts import Package
from core.settings.fields import OrderSettings


class OrderGuards:
    """Counts orders and rejections; halts entries by the bus when there are too many of the latter."""

    def __init__(self, bus: EventBus, book: Book, settings: OrderSettings) -> None:
        self._bus = bus
        self._book = book
        self._settings = settings
        self._sends: deque[datetime] = deque()
        self._errors: deque[datetime] = deque()
        self._in_a_row = 0

    def overlap(self, package: Package) -> Refusal | None:
        """A contract held the other way round by another package would be netted by the broker."""
        ratios = {leg.contract.name: leg.ratio for leg in package.legs}
        for position in self._book.exposed():
            for leg in position.legs:
                if ratios.get(leg.contract.name, 0) * leg.ratio < 0:
                    return Refusal("overlap", f"{leg.contract.name} is held the other way round by {position.id}")
        return None

    def sent(self, now: datetime) -> None:
        """An order or a new price left."""
        self._sends.append(now)

    def too_fast(self, now: datetime) -> bool:
        """Whether the last minute already saw as many as allowed."""
        while self._sends and now - self._sends[0] >= timedelta(minutes=1):
            self._sends.popleft()
        return len(self._sends) >= self._settings.orders_per_minute

    def rejected(self, now: datetime, message: str) -> None:
        """The broker refused: halt entries at so many in a row, or so many within an hour."""
        self._in_a_row += 1
        self._errors.append(now)
        while now - self._errors[0] > timedelta(hours=1):
            self._errors.popleft()
        if self._in_a_row >= self._settings.rejections_in_a_row:
            self._bus.halt_entries(f"{self._in_a_row} rejected orders in a row, the last: {message}")
        if len(self._errors) >= self._settings.errors_per_hour:
            self._bus.halt_entries(f"{len(self._errors)} errors of orders within an hour")

    def filled(self) -> None:
        """Something traded: the row of rejections ends."""
        self._in_a_row = 0

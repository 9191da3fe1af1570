"""A broker that misbehaves beyond the layer: what no recording shows and no document excludes, in pairs and triples.

The faults of ``simulation/faults`` are what brokers are known to do. These are what a plug-in with a bug, or an
exchange on a bad day, could do to the reports, the numbers and the account; the same rules hold after them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import Final

from core.contracts import Settlement
from core.events import FillStatus, OrderUpdated
from core.gateway import Holding, OpenOrder
from simulation.faults.kinds import Fault
from tests.campaign.gateway import FaultyGateway, Resting, event_of
from tests.fake_gateway import Working


class Oddity(StrEnum):
    """One kind of misbehaviour."""

    RENUMBERED = "an update gives the order another number at the broker"
    UPDATE_LATE = "an update takes effect minutes after it was acknowledged"
    GHOST = "a cancellation is reported, and what an update put in the order's place works on unseen"
    PART_REJECTED = "an order is rejected after a part of it filled"
    TOLD_AGAIN = "a part is reported again, under another number and another cumulative quantity"
    WRONG_SIGN = "a fill is reported with the wrong sign"
    TOO_MANY = "a fill is reported of more than was ordered"
    UNKNOWN = "orders that nobody knows report fills, cancellations and rejections"
    PRICELESS = "a fill is reported without a price, or at one that is no number"
    AFTER_OUTAGE = "what happened in an outage is reported after it, in another order"
    NIGHT = "one leg is assigned over night, and no report says so"
    KEPT = "what expired is still shown in the morning"
    FULL = "the disk is full while something is unwound"
    ENDED = "the process ends while something is unwound"


ODD: Final = tuple(frozenset(some) for count in (2, 3) for some in combinations(Oddity, count))
"""Every pair and every triple."""
MISCOUNTED: Final = frozenset({Oddity.TOLD_AGAIN, Oddity.TOO_MANY, Oddity.WRONG_SIGN})
"""Whose reports say more than the broker filled."""
PRICES_LOST: Final = MISCOUNTED | {Oddity.PRICELESS, Oddity.GHOST, Oddity.NIGHT}
"""After which nobody can know what every fill brought."""
_SHARE = 0.3
_LATEST = timedelta(minutes=20)
_SHOWN_UNTIL = timedelta(hours=15)
_STRANGE = 800_000


@dataclass
class OddGateway(FaultyGateway):
    """The faulty broker with oddities; they draw from a generator of their own, so that no fault moves by them."""

    odd: frozenset[Oddity] = frozenset()
    kept: list[Holding] = field(default_factory=list)
    kept_until: datetime | None = None
    held_back: list[OrderUpdated] = field(default_factory=list)
    late_limits: list[tuple[datetime, Resting, float]] = field(default_factory=list)
    ghosts: list[Resting] = field(default_factory=list)
    strangers: int = _STRANGE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.dice = random.Random(f"odd {self.faults.settings.seed}")

    def happens(self, oddity: Oddity, about: str) -> bool:
        """Whether it happens here; told in the week's story."""
        if oddity not in self.odd or not self.faults.settings.on or self.dice.random() >= _SHARE:
            return False
        self.faults.note(Fault.REORDERED, about, f"({oddity.value})")
        return True

    # Orders

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        order = next((row for row in self.resting if set(row.ids) & set(order_ids)), None)
        before = None if order is None else order.limit
        taken = super().reprice(order_ids, limit_cash, tag)
        if order is None or before is None or not taken:
            return taken
        if order.limit != before and self.happens(Oddity.UPDATE_LATE, tag):
            self.late_limits.append((self.time + self._wait(), order, order.limit))
            order.limit = before
        if self.happens(Oddity.RENUMBERED, tag):
            self.numbers += 1
            order.number = f"B{self.numbers}"
        return taken

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        for order in [row for row in self.resting if set(row.ids) & set(order_ids)]:
            if not self.is_down and self.happens(Oddity.GHOST, order.tag):
                assert self.watcher is not None
                self.watcher.cancelling()
                order.asked = max(order.asked, 1)
                order.ends_at = self.time + self._wait()
                self.ghosts.append(order)
                for order_id, leg in self._working_legs(order):
                    self._tell(order_id, leg.contract.name, FillStatus.CANCELLED, 0.0, None)
                return
        super().cancel(order_ids, tag)

    def _wait(self) -> timedelta:
        return timedelta(seconds=self.dice.randint(30, int(_LATEST.total_seconds())))

    def _open_orders(self) -> list[OpenOrder]:
        hidden = {order_id for order in self.ghosts for order_id in order.ids}
        return [row for row in super()._open_orders() if row.order_id not in hidden]

    def _fill(self, order: Working, prices: list[float]) -> None:
        super()._fill(order, prices)
        assert isinstance(order, Resting)
        parted = any(order.filled.values()) and any(order.left().values())
        if parted and order not in self.ghosts and self.happens(Oddity.PART_REJECTED, order.tag):
            self.orders.remove(order)
            for order_id, leg in self._working_legs(order):
                self._tell(order_id, leg.contract.name, FillStatus.REJECTED, 0.0, None)

    # Reports

    def _report(self, event: OrderUpdated) -> None:
        if self.is_down and Oddity.AFTER_OUTAGE in self.odd:
            self.held_back.append(event)
            return
        filled, about = bool(event.fill_quantity), f"order {event.order_id} {event.contract}"
        if filled and self.happens(Oddity.WRONG_SIGN, about):
            event = replace(event, fill_quantity=-event.fill_quantity)
        elif filled and self.happens(Oddity.TOO_MANY, about):
            event = replace(event, fill_quantity=event.fill_quantity + math.copysign(1.0, event.fill_quantity))
        elif filled and self.happens(Oddity.PRICELESS, about):
            event = replace(event, fill_price=self.dice.choice((None, math.nan, math.inf, 0.0)))
        super()._report(event)
        if event.status is FillStatus.PARTLY_FILLED and self.happens(Oddity.TOLD_AGAIN, about):
            self.told += 1
            whole = None if event.filled is None else event.filled + math.copysign(1.0, event.fill_quantity)
            super()._report(replace(event, number=self.told if self.named else 0, filled=whole))

    def _connect(self) -> None:
        super()._connect()
        waiting, self.held_back = self.held_back, []
        self.dice.shuffle(waiting)
        for event in waiting:
            self.faults.note(Fault.REORDERED, f"order {event.order_id} {event.contract}", "(told after the outage)")
            super()._report(event)

    def pass_minute(self) -> None:
        due = [row for row in self.late_limits if row[0] <= self.time]
        self.late_limits = [row for row in self.late_limits if row[0] > self.time]
        for _, order, limit in due:
            order.limit = limit
        super().pass_minute()
        self.ghosts = [order for order in self.ghosts if order in self.orders]
        if Oddity.UNKNOWN in self.odd and self.faults.settings.on and self.dice.random() < 0.01:
            self._report_of_nobody()

    def _report_of_nobody(self) -> None:
        names = sorted({*self.held, *self.subscribed})
        if not names or self.is_down:
            return
        name, self.strangers = self.dice.choice(names), self.strangers + 1
        status = self.dice.choice(tuple(FillStatus))
        quantity = self.dice.choice((-2.0, -1.0, 1.0, 2.0)) if "filled" in status.value else 0.0
        self.faults.note(Fault.REORDERED, f"order {self.strangers} {name} {status.value}", f"{quantity:+g} (unknown)")
        price = 1.0 if quantity else None
        self._deliver(event_of(self.time, self.strangers, name, status, (quantity, price, 0.0)))

    # The account

    def _holdings(self) -> list[Holding]:
        rows = super()._holdings()
        if self.kept_until is None or self.time >= self.kept_until:
            return rows
        shown = {row.name for row in rows}
        return rows + [row for row in self.kept if row.name not in shown]

    def expire(self, day: date) -> None:
        before = [row for row in super()._holdings() if row.name in self.held and self.held[row.name][0].expiry == day]
        super().expire(day)
        self.kept, self.kept_until = [], None
        if before and self.happens(Oddity.KEPT, "the account"):
            self.kept, self.kept_until = before, self.time + _SHOWN_UNTIL
        shorts = [
            name
            for name, (row, count) in sorted(self.held.items())
            if count < 0 and row.settlement is Settlement.PHYSICAL_SHARES
        ]
        if shorts and self.happens(Oddity.NIGHT, "the clearing house"):
            name = self.dice.choice(shorts)
            inbox, self.inbox = self.inbox, lambda _: None
            self._deliver_shares(*self.held[name])
            self.inbox = inbox

    def process_ended(self) -> None:
        super().process_ended()
        self.ghosts.clear()  # what still works there is seen by the next start
        self.held_back.clear()

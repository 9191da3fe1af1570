"""Fridays as live over a broker with a bug: what of ``odd.py`` an engine's broker can do, in pairs and triples.

An order's number changes with each new limit there anyway, and a Friday of one expiry has no night: renumbered orders,
assignments over night and expired contracts that are still shown are left to the weeks.
"""

# Private: _key (the limit of a group), _fill, _filled, _forget, _remove, _asked_for (the broker that stands behind this
# one), _unwinds (a disk that is full, and an end, just then).

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any, Final
from unittest.mock import patch

from execution.executor import AtomicExecutor
from simulation.faults.kinds import Fault
from simulation.lean.enums import OrderStatus
from simulation.live_mode.orders import ORDER_THREAD, LiveBroker, _key
from simulation.orders.order_event import OrderEvent
from simulation.orders.order_parts import OrderFee
from simulation.orders.orders import Order
from state.store import Disk
from tests.campaign.live import LiveFriday, LiveVerdict, live_faults, run_live
from tests.campaign.odd import PRICES_LOST, Oddity

HERE: Final = (
    Oddity.UPDATE_LATE, Oddity.GHOST, Oddity.PART_REJECTED, Oddity.TOLD_AGAIN, Oddity.WRONG_SIGN, Oddity.TOO_MANY,
    Oddity.UNKNOWN, Oddity.PRICELESS, Oddity.FULL, Oddity.ENDED,
)  # fmt: skip
ODD_LIVE: Final = tuple(frozenset(some) for count in (2, 3) for some in combinations(HERE, count))
"""Every pair and every triple of them."""
_OCCASIONS: Final = frozenset({Fault.LEGS_PARTLY, Fault.QUANTITY_PARTLY, Fault.REFUSED})
_SHARE = 0.3
_LATEST_MS = 8 * 60_000
_FULL_FOR = 3
_STRANGE = 800_000


class OddBroker:
    """Stands in the way of one process's broker; draws from a generator of its own, so that no fault moves by it."""

    def __init__(self, odd: frozenset[Oddity], engine: Any, dice: random.Random, tell: Callable[[str], None]) -> None:
        self._odd = odd
        self._engine = engine
        self._dice = dice
        self._story = tell
        self._broker: LiveBroker = engine.handler.broker
        self._told = self._broker.faults.told if self._broker.faults is not None else engine.fire_order_event
        self._limits: dict[int, float] = {}
        self._place, self._update = self._broker.place, self._broker.update
        self._cancel, self._fill = self._broker.cancel, self._broker._fill
        for name in ("place", "update", "cancel"):
            setattr(self._broker, name, getattr(self, name))
        self._broker._fill = self.fill
        if self._broker.faults is not None:
            self._broker.faults.told = self.told

    def _happens(self, oddity: Oddity, about: object) -> bool:
        if oddity not in self._odd or self._dice.random() >= _SHARE:
            return False
        self._story(f"{about}: {oddity.value}")
        return True

    # Orders

    def place(self, order: Order) -> bool:
        """A new order, whose limit is remembered."""
        group, taken = order.group_order_manager, bool(self._place(order))
        if taken and group is not None:
            self._limits[group.id] = group.limit_price
        return taken

    def update(self, order: Order) -> bool:
        """A new limit, which may take effect minutes later."""
        group, taken = order.group_order_manager, bool(self._update(order))
        if not taken or group is None or group.limit_price == self._limits.get(group.id, group.limit_price):
            return taken
        before, wanted = self._limits[group.id], group.limit_price
        self._limits[group.id] = wanted
        if not self._happens(Oddity.UPDATE_LATE, f"order {order.id}"):
            return True
        group.limit_price = before

        def later() -> None:
            if group.limit_price == before:
                group.limit_price = wanted

        self._engine.threads.put(ORDER_THREAD, later, self._dice.randint(30_000, _LATEST_MS))
        return True

    def cancel(self, order: Order) -> bool:
        """A cancellation; what it says that it took back may fill all the same, where no process sees it."""
        group = _key(order)[0]
        rest = [row for row in self._broker.pending.values() if _key(row)[0] == group]
        taken = bool(self._cancel(order))
        if taken and self._happens(Oddity.GHOST, f"order {order.id}"):
            for row in rest:
                filled = 0.0 if self._broker.faults is None else self._broker.faults._filled.get(row.id, 0.0)
                left = float(row.quantity) - filled
                if left and row.status != OrderStatus.FILLED:
                    self._engine.account.unseen.append((row.symbol, left, self._broker._asked_for(row)))
        return taken

    def fill(self, order: Order, orders: list[Order], securities: Any) -> None:
        """A fill, after which the rest of a group may be rejected."""
        self._fill(order, orders, securities)
        rest = [row for row in orders if row.id in self._broker.pending and row.status != OrderStatus.FILLED]
        some = any(row.status in (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED) for row in orders)
        if rest and some and self._happens(Oddity.PART_REJECTED, f"order {order.id}"):
            self._broker._remove(rest, OrderStatus.INVALID, "rejected after a part of it")
            self._broker._forget(orders)

    # Reports

    def told(self, event: OrderEvent) -> None:
        """A report on its way to the algorithm; the engine has booked what is true."""
        about = f"order {event.order_id} {event.symbol.value}"
        if event.fill_quantity:
            changed = event.clone()
            if self._happens(Oddity.WRONG_SIGN, about):
                changed.fill_quantity = -event.fill_quantity
            elif self._happens(Oddity.TOO_MANY, about):
                changed.fill_quantity = event.fill_quantity + math.copysign(1.0, event.fill_quantity)
            elif self._happens(Oddity.PRICELESS, about):
                changed.fill_price = self._dice.choice((math.nan, math.inf, 0.0))
            event = changed
        self._told(event)
        if event.status == OrderStatus.PARTIALLY_FILLED and self._happens(Oddity.TOLD_AGAIN, about):
            again = event.clone()
            again.id = event.id + 50
            self._told(again)

    def report_of_nobody(self) -> None:
        """A report on an order that nobody knows."""
        symbols = sorted((row.symbol for row in self._engine.portfolio.invested_securities.values()), key=str)
        orders = list(self._engine.handler.complete.values())
        if not symbols or not orders or not self._happens(Oddity.UNKNOWN, "an order of nobody"):
            return
        event = OrderEvent(orders[-1], self._engine.utc_ms, OrderFee.ZERO)
        event.order_id, event.symbol = _STRANGE + self._dice.randint(1, 999), self._dice.choice(symbols)
        event.status = self._dice.choice((OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID))
        if event.status == OrderStatus.FILLED:
            event.fill_quantity, event.fill_price = self._dice.choice((-2.0, -1.0, 1.0, 2.0)), 1.0
        self._engine.threads.put(ORDER_THREAD, lambda: self._engine.fire_order_event(event))


class FullDisk(Disk):
    """Of whose next writes some fail."""

    left = 0

    def append(self, descriptor: int, line: bytes) -> None:
        """Nothing of a line, while the disk is full."""
        if FullDisk.left:
            FullDisk.left -= 1
            raise OSError(28, "no space left, said by the campaign")
        super().append(descriptor, line)


@contextmanager
def disk_that_fills() -> Iterator[None]:
    """Stores that are opened from here on are on a disk that may be full for a moment."""
    FullDisk.left = 0
    with patch("state.store.Disk", FullDisk):
        yield
    FullDisk.left = 0


@dataclass
class OddFriday(LiveFriday):
    """A Friday over it: the oddities of a seed in turn, every second pair of them with its faults as well."""

    odd: frozenset[Oddity] = frozenset()
    broker: OddBroker | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.odd = ODD_LIVE[self.seed % len(ODD_LIVE)]
        self.on = _OCCASIONS | (live_faults(self.seed) if self.seed // 2 % 2 else frozenset[Fault]())

    def start(self, moment: datetime, on: frozenset[Fault]) -> None:
        """A process, whose broker is odd while anything goes wrong at all."""
        super().start(moment, on)
        if on:
            dice = random.Random(f"odd live {self.seed} {self.session.processes}")
            self.broker = OddBroker(self.odd, self.session.alive, dice, self.tell)

    def disturb(self) -> None:
        """What happens beside the orders, and while something is unwound."""
        super().disturb()
        assert self.broker is not None
        self.broker.report_of_nobody()
        if not self.system.managers[AtomicExecutor]._unwinds.positions:
            return
        if Oddity.FULL in self.odd and not FullDisk.left:
            FullDisk.left = self.chance.randint(1, _FULL_FOR)
            self.tell(f"the next {FullDisk.left} writes fail")
        if Oddity.ENDED in self.odd and self.chance.random() < _SHARE:
            self.start(self.end_process() + timedelta(seconds=self.chance.choice((5, 60, 200))), self.on)

    def is_excused(self, error: Mapping[str, object]) -> bool:
        """A write that failed is told as an error."""
        return Oddity.FULL in self.odd and "no space left" in str(error)

    @property
    def prices_are_lost(self) -> bool:
        """Whether nobody can know what every fill brought."""
        return bool(self.odd & PRICES_LOST)


def run_odd_live(seed: int) -> LiveVerdict:
    """Run one seed's Friday over the odd broker."""
    with disk_that_fills():
        return run_live(seed, OddFriday)

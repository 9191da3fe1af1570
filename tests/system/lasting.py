"""A fake broker that outlives the process, for tests that kill it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.contracts import Contract, Leg, Package, Quote
from core.events import FillStatus
from core.gateway import Holding, OpenOrder
from core.storage import replace_file
from execution.states import describe_package, rebuild_package
from tests.fake_gateway import FakeGateway, Working
from tests.state.killing import Countdown

QUOTES: dict[tuple[str, datetime], Quote | None] = {}


@dataclass
class LastingGateway(FakeGateway):
    """A broker that outlives the process: orders, fills and cash are in a file the moment they happen."""

    countdown: Countdown = field(default_factory=lambda: Countdown(0))
    tags: list[str] = field(default_factory=list)
    done: dict[str, list[str]] = field(default_factory=dict)
    averages: dict[str, float] = field(default_factory=dict)

    def save(self) -> None:
        self.countdown.point()
        orders = [
            [order.ids, describe_package(order.package), order.quantity, order.limit, order.sent.isoformat(), order.tag]
            for order in self.orders
        ]
        held = [[describe_package(whole(contract)), count] for contract, count in self.held.values()]
        now = [self.time.isoformat(), self.cash, self.last_id, self.tags, self.done, self.averages]
        replace_file(self.folder / "broker.json", json.dumps([now, orders, held]), durable=False)
        self.countdown.point()

    def load(self) -> None:
        path = self.folder / "broker.json"
        if not path.exists():
            return
        now, orders, held = json.loads(path.read_text())
        self.time, self.cash, self.last_id = datetime.fromisoformat(now[0]), now[1], now[2]
        self.tags, self.done, self.averages = now[3], now[4], now[5]
        self.orders = [
            Working(tuple(row[0]), rebuild_package(row[1]), row[2], row[3], datetime.fromisoformat(row[4]), row[5])
            for row in orders
        ]
        contracts = [(rebuild_package(row[0]).legs[0].contract, row[1]) for row in held]
        self.held = {contract.name: (contract, count) for contract, count in contracts}

    def quote(self, contract: Contract) -> Quote | None:
        if contract.name not in self.subscribed:
            return None
        key = (contract.name, self.time)
        if key not in QUOTES:
            QUOTES[key] = super().quote(contract)
        return QUOTES[key]

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        self.tags.append(tag)
        return super().send(package, quantity, limit_cash, tag)

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        found = super().reprice(order_ids, limit_cash, tag)
        self.save()
        return found

    def holdings(self) -> Sequence[Holding]:
        return [Holding(name, float(count), self.averages[name], 0.0) for name, (_, count) in sorted(self.held.items())]

    def open_orders(self) -> Sequence[OpenOrder]:
        return [row for row in super().open_orders() if row.name not in self.done.get(row.tag, ())]

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        for order in list(self.orders):
            if order.ids == tuple(order_ids):
                self.orders.remove(order)
                self.save()
                for order_id, leg in zip(order.ids, order.package.legs, strict=True):
                    if leg.contract.name not in self.done.get(order.tag, ()):
                        self._tell(order_id, leg.contract.name, FillStatus.CANCELLED, 0.0, None)

    def _fill(self, order: Working, prices: list[float]) -> None:
        """Leg by leg, each in the file before it is told."""
        for order_id, leg, price in zip(order.ids, order.package.legs, prices, strict=True):
            name, done = leg.contract.name, self.done.setdefault(order.tag, [])
            if name in done:
                continue
            count = leg.ratio * order.quantity
            before = self.held.get(name, (leg.contract, 0))[1]
            self.held[name] = (leg.contract, before + count)
            if before + count == 0:
                del self.held[name]
            self.averages.setdefault(name, price)
            self.cash -= count * price * leg.contract.multiplier
            done.append(name)
            if len(done) < len(order.package.legs) and order not in self.orders:
                self.orders.append(order)
            if len(done) == len(order.package.legs) and order in self.orders:
                self.orders.remove(order)
            self.save()
            self._tell(order_id, name, FillStatus.FILLED, float(count), price)

    def _tell(
        self, order_id: int, name: str, status: FillStatus, quantity: float, price: float | None, fee: float = 0.0
    ) -> None:
        if status is FillStatus.SUBMITTED:
            self.save()
        super()._tell(order_id, name, status, quantity, price, fee)


def whole(contract: Contract) -> Package:
    """One contract as a package, to be written down."""
    return Package((Leg(contract, 1),))

"""The fake broker with faults: whatever the layer draws happens to orders, reports, quotes and the account.

What the account holds is the truth; the system sees it as far as a connection and the reports let it. Live, reports
wait in the system's inbox as they do under ``main.py``; a restart numbers orders anew and takes their tags away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Protocol

from core.contracts import AssetKind, Contract, Leg, Package, Quote, Right, Settlement
from core.events import BrokerReconnected, Event, FillStatus, OrderUpdated
from core.gateway import Account, DailyBar, Holding, OpenOrder, OrderRefusedError
from core.settings.fields import OrderSettings
from execution.groups import intrinsic
from simulation.faults.chance import Faults
from simulation.faults.kinds import Fault
from simulation.faults.quotes import QuoteFaults
from simulation.faults.reports import ReportFaults
from tests.campaign.market import MONDAY, Prices, Weather, close_of, listed
from tests.campaign.sums import LOT, Executions
from tests.fake_gateway import TICKS, FakeGateway, Working, scale_of

BY_HAND = 900_000
"""Order numbers of a person's trades begin here."""
_HALF_SPREAD = 0.05
LIST = OrderSettings()
"""The broker's price list."""


class KilledError(BaseException):
    """The process ended here; nothing of it may go on, so no ``except Exception`` may see it."""


class Watcher(Protocol):
    """Who looks at every order before it leaves."""

    def sending(self, package: Package, quantity: int, tag: str) -> None:
        """An order is about to be sent."""

    def opens(self, tag: str) -> bool:
        """Whether an order is to open, as it says of itself."""

    def repricing(self, tag: str) -> None:
        """A working order is about to get another price."""

    def cancelling(self) -> None:
        """A cancellation is about to leave."""

    def settles(self, names: Iterable[str]) -> None:
        """Contracts end now, whosever they are."""


@dataclass
class Resting(Working):
    """An order at the broker: its own number, what of each leg is filled, whether only natural will do for it."""

    number: str = ""
    filled: dict[str, int] = field(default_factory=dict)
    stubborn: bool = False
    opens: bool = True
    ends_at: datetime | None = None
    asked: int = 0
    """Minutes since its first cancellation in which another one would have arrived."""
    renumbered: bool = False

    def left(self) -> dict[str, int]:
        """Signed contracts by name that are still to fill."""
        rows = {leg.contract.name: leg.ratio * self.quantity for leg in self.package.legs}
        return {name: count - self.filled.get(name, 0) for name, count in rows.items()}


class TwiceAtOnce(ReportFaults[OrderUpdated]):
    """Reports that come twice come one right after the other."""

    def _enter(self, report: OrderUpdated) -> None:
        self._deliver(report)


@dataclass
class FaultyGateway(FakeGateway):
    """A fake gateway on which everything can go wrong."""

    faults: Faults = field(kw_only=True)
    weather: Weather = field(kw_only=True)
    live: bool = True
    named: bool = False
    """Whether a fill's report says which it is, and how much of its order is filled with it."""
    person_is_heard: bool = True
    """Whether every second trade of a person is reported; else none is."""
    inbox: Callable[[Event], None] | None = None
    watcher: Watcher | None = None
    down_until: datetime | None = None
    by_hand: dict[str, int] = field(default_factory=dict)
    """By contract, what a person traded, until it has settled."""
    by_person: dict[str, list[float]] = field(default_factory=dict)
    """By contract, the dollars that each trade of a person brought, fees taken off."""
    executions: Executions = field(default_factory=Executions)
    numbers: int = 0
    told: int = 0
    foreign: int = BY_HAND
    names: dict[str, Contract] = field(default_factory=dict)
    averages: dict[str, float] = field(default_factory=dict)
    filled_of: dict[tuple[str, str], int] = field(default_factory=dict)
    """By order group and contract, what the broker filled."""

    def __post_init__(self) -> None:
        self.prices = Prices(self.vix(self.time) / 100)
        self.shown_quotes = QuoteFaults(self.faults)
        self.reports: ReportFaults[OrderUpdated] = ReportFaults(self.faults, self._deliver)
        self.seen: tuple[list[Holding], list[OpenOrder]] | None = None
        self._quotes: dict[str, Quote] = {}
        self._quoted_at: datetime | None = None

    # What is seen

    def is_live(self) -> bool:
        return self.live

    @property
    def is_down(self) -> bool:
        """Whether the connection is lost."""
        return self.down_until is not None

    def chain(self, root: str, expiries: tuple[date, date]) -> Sequence[Contract]:
        return listed(root, *expiries)

    def subscribe(self, contracts: Iterable[Contract]) -> None:
        rows = tuple(contracts)
        super().subscribe(rows)
        self.prices.watch(rows)
        self.names.update({row.name: row for row in rows})

    def worth(self, contract: Contract) -> float:
        return self.prices.value(contract, self.time, self.spot(self.time))

    def market(self, contract: Contract) -> Quote:
        """The market's own quote, which the broker fills on."""
        if self._quoted_at != self.time:
            self._quotes, self._quoted_at = {}, self.time
        if contract.name not in self._quotes:
            value = self.worth(contract)
            tick = 0.05 if contract.underlying.kind is AssetKind.INDEX else TICKS.get(contract.underlying.ticker, 0.01)
            half = _HALF_SPREAD if tick > 0.01 else _HALF_SPREAD / 5 * tick / 0.01
            bid, ask = math.floor((value - half) / tick) * tick, max(math.ceil((value + half) / tick) * tick, tick)
            self._quotes[contract.name] = Quote(round(bid, 5) if bid > 0 else None, round(ask, 5), self.time)
        return self._quotes[contract.name]

    def quote(self, contract: Contract) -> Quote | None:
        if contract.name not in self.subscribed:
            return None
        return self.shown_quotes.shown(contract.name, self.market(contract))

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """The fake's flat history, but the week's own closes, which settlements are judged by."""
        rows = super().daily_bars(ticker, count)
        first, scale = rows[0].day, self.price_of(ticker) / self.spot(self.time)
        week = {row.day: self.spot(close_of(row.day)) * scale for row in rows if row.day >= max(first, MONDAY)}
        return [row if row.day not in week or ticker == "VIX" else _bar(row, week[row.day]) for row in rows]

    def account(self) -> Account:
        value = 0.0
        for contract, quantity in self.held.values():
            quote = self.market(contract)
            value += quantity * contract.multiplier * ((quote.bid or 0.0) + (quote.ask or 0.0)) / 2
        value += sum(count * self.price_of(ticker) for ticker, count in self.shares.items())
        return Account(self.cash + value, self.cash)

    def holdings(self) -> Sequence[Holding]:
        return self._holdings() if self.seen is None else self.seen[0]

    def _holdings(self) -> list[Holding]:
        return [replace(row, average_price=self.averages.get(row.name, 0.0)) for row in super().holdings()]

    def open_orders(self) -> Sequence[OpenOrder]:
        return self._open_orders() if self.seen is None else self.seen[1]

    def _open_orders(self) -> list[OpenOrder]:
        rows = [] if self.share_order is None else [self.share_order]
        for order in self.resting:
            left, tag = order.left(), "" if order.renumbered else order.tag
            rows += [
                OpenOrder(order_id, leg.contract.name, float(left[leg.contract.name]), order.ids[0], tag, (number,))
                for order_id, leg in zip(order.ids, order.package.legs, strict=True)
                for number in (order.number,)
                if left[leg.contract.name]
            ]
        return rows

    @property
    def resting(self) -> list[Resting]:
        """The orders at the broker."""
        return [order for order in self.orders if isinstance(order, Resting)]

    # Reports

    def _deliver(self, event: OrderUpdated) -> None:
        if self.inbox is not None:
            self.inbox(replace(event, time=self.time))  # main.py stamps what arrives

    def _tell(
        self, order_id: int, name: str, status: FillStatus, quantity: float, price: float | None, fee: float = 0.0
    ) -> None:
        self._report(event_of(self.time, order_id, name, status, (quantity, price, fee)))

    def _report(self, event: OrderUpdated) -> None:
        about = f"order {event.order_id} {event.contract} {event.status.value}"
        if self.is_down:
            self.faults.note(Fault.DISCONNECTED, about, "is not reported")
        else:
            self.reports.tell(event, about)

    def point(self) -> None:
        """An act at the broker: the process may end before and after it."""
        if self.faults.strikes(Fault.KILLED, "the process", "at an act at the broker"):
            raise KilledError

    # Orders

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        if self.watcher is not None:
            self.watcher.sending(package, quantity, tag)
        self.point()
        if self.faults.strikes(Fault.REFUSED, tag):
            raise OrderRefusedError("refused by the campaign")
        ids = tuple(range(self.last_id + 1, self.last_id + 1 + len(package.legs)))
        self.last_id = ids[-1]
        self.sent.append((self.time, package, quantity, limit_cash))
        self.names.update({leg.contract.name: leg.contract for leg in package.legs})
        if self.is_down or self.faults.strikes(Fault.REJECTED, tag):
            for order_id, leg in zip(ids, package.legs, strict=True):  # the engine's own word: no connection needed
                self._deliver(event_of(self.time, order_id, leg.contract.name, FillStatus.REJECTED, message="rejected"))
        else:
            self.numbers += 1
            order = Resting(ids, package, quantity, limit_cash, self.time, tag, f"B{self.numbers}")
            order.opens = self.watcher is None or self.watcher.opens(tag)
            order.stubborn = (self.numbers + self.faults.settings.seed) % 3 == 0
            self.orders.append(order)
            for order_id, leg in zip(ids, package.legs, strict=True):
                self._tell(order_id, leg.contract.name, FillStatus.SUBMITTED, 0.0, None)
        self.point()
        return ids

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        order = next((row for row in self.resting if set(row.ids) & set(order_ids)), None)
        if order is None:
            return False
        if self.watcher is not None:
            self.watcher.repricing(order.tag)
        if self.is_down or self.faults.strikes(Fault.UPDATE_REFUSED, order.tag):
            if not self.live:
                return False
            for order_id, leg in self._working_legs(order):
                words = "Brokerage failed to update order"
                self._deliver(event_of(self.time, order_id, leg.contract.name, FillStatus.SUBMITTED, message=words))
            return True
        if not self.faults.strikes(Fault.UPDATE_LOST, order.tag):
            order.limit = limit_cash
        if self.live:
            for order_id, leg in self._working_legs(order):
                self._tell(order_id, leg.contract.name, FillStatus.UPDATED, 0.0, None)
        return True

    @staticmethod
    def _working_legs(order: Resting) -> list[tuple[int, Leg]]:
        left = order.left()
        return [row for row in zip(order.ids, order.package.legs, strict=True) if left[row[1].contract.name]]

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        if self.watcher is not None:
            self.watcher.cancelling()
        self.point()
        for order in [row for row in self.resting if set(row.ids) & set(order_ids)]:
            order.asked = max(order.asked, 1)
            if self.is_down or self.faults.strikes(Fault.CANCEL_REFUSED, order.tag):
                continue
            if self.faults.strikes(Fault.FILLED_CANCELLING, order.tag):
                self._fill(order, self._mids(order))
            elif self.faults.strikes(Fault.CANCEL_LATE, order.tag):
                order.ends_at = order.ends_at or self.time + self.faults.delay()
            else:
                self._end(order)

    def _end(self, order: Resting) -> None:
        if order in self.orders:
            self.orders.remove(order)
            for order_id, leg in self._working_legs(order):
                self._tell(order_id, leg.contract.name, FillStatus.CANCELLED, 0.0, None)

    # A minute at the broker

    def pass_minute(self) -> None:
        """What happens by itself: lines drop and come back, people trade, options are assigned, orders fill and end."""
        if self.down_until is not None and self.time >= self.down_until:
            self._connect()
        if self.live and not self.is_down and self.faults.strikes(Fault.DISCONNECTED, "the broker"):
            self.seen = (self._holdings(), self._open_orders())
            self.down_until = self.time + self.faults.outage()
        if self.live and self.held and self.faults.strikes(Fault.MANUAL, "a person"):
            self._trade_by_hand()
        if self.faults.strikes(Fault.ASSIGNED, "the clearing house", "looks for shorts"):
            self._assign()
        self.work_orders()
        self.reports.pass_time()

    def _connect(self) -> None:
        self.down_until = self.seen = None
        if self.inbox is not None:
            self.inbox(BrokerReconnected(time=self.time))

    def work_orders(self) -> None:
        """Fill what its limit allows: at mid, or at natural where only that will do; never in the minute it came."""
        for order in self.resting:
            order.asked += bool(order.asked and not self.is_down)
            if order.ends_at is not None and self.time >= order.ends_at:
                self._end(order)
            elif order.sent < self.time and self._trades(order):
                self._fill(order, self._mids(order))
        self._work_shares()

    def _mids(self, order: Resting) -> list[float]:
        quotes = [self.market(leg.contract) for leg in order.package.legs]
        return [round(((row.bid or 0.0) + (row.ask or 0.0)) / 2, 4) for row in quotes]

    def _trades(self, order: Resting) -> bool:
        cash = 0.0
        for leg, mid in zip(order.package.legs, self._mids(order), strict=True):
            quote = self.market(leg.contract)
            far = (quote.ask or 0.0) if leg.ratio > 0 else (quote.bid or 0.0)
            cash -= leg.ratio * (far if order.stubborn else mid)
        return cash > order.limit - 1e-9

    def _fill(self, order: Working, prices: list[float]) -> None:
        """Book what fills now, then report it: some legs, some of the quantity, or all that is left."""
        assert isinstance(order, Resting)
        now = self._portion(order)
        told = []
        for order_id, leg, price in zip(order.ids, order.package.legs, prices, strict=True):
            name, count = leg.contract.name, now.get(leg.contract.name, 0)
            if not count:
                continue
            fee = self._trade(leg.contract, count, price, order.opens)
            order.filled[name] = order.filled.get(name, 0) + count
            self.filled_of[order.tag, name] = self.filled_of.get((order.tag, name), 0) + count
            status = FillStatus.FILLED if not order.left()[name] else FillStatus.PARTLY_FILLED
            event = event_of(self.time, order_id, name, status, (float(count), price, 0.0 if self.live else fee))
            self.told += 1
            told.append(replace(event, number=self.told, filled=float(order.filled[name])) if self.named else event)
        if not any(order.left().values()):
            self.orders.remove(order)
        for event in told:
            self._report(event)

    def _portion(self, order: Resting) -> dict[str, int]:
        left = {name: count for name, count in order.left().items() if count}
        if len(left) > 1 and self.faults.strikes(Fault.LEGS_PARTLY, order.tag):
            chosen = self.faults.some(list(left))
            return {name: left[name] for name in chosen}
        if max(abs(count) for count in left.values()) > 1 and self.faults.strikes(Fault.QUANTITY_PARTLY, order.tag):
            return {name: int(math.copysign(self.faults.count(abs(count)), count)) for name, count in left.items()}
        return left

    def _trade(self, contract: Contract, count: int, price: float, opens: bool) -> float:
        """Book a trade and give its fee, by the price list and by what the order says that it does."""
        self._average(contract.name, count, price)
        before = self.held.get(contract.name, (contract, 0))[1]
        fee = abs(count) * LIST.fee(contract.underlying.kind is AssetKind.FUTURE, opens)
        self.cash -= count * price * contract.multiplier + fee
        self.executions.note(contract.name, count, -count * price * contract.multiplier - fee)
        self.held[contract.name] = (contract, before + count)
        if before + count == 0:
            del self.held[contract.name]
        return fee

    def _average(self, name: str, count: int, price: float) -> None:
        before = self.held[name][1] if name in self.held else 0
        if before * (before + count) < 0:  # what is left over begins anew (SecurityPortfolioModel.cs)
            self.averages[name] = price
        elif before * count >= 0:
            self.averages[name] = (abs(before) * self.averages.get(name, 0.0) + abs(count) * price) / abs(
                before + count
            )

    # Other hands

    def _trade_by_hand(self) -> None:
        name = self.faults.pick(sorted(self.held))
        contract, count = self.held[name]
        traded = -1 if count > 0 else 1
        quote = self.market(contract)
        price = (quote.bid or 0.0) if traded < 0 else (quote.ask or 0.0)
        self.faults.note(Fault.MANUAL, name, f"{traded:+d} at {price}")
        fee = self._trade(contract, traded, price, False)
        self.by_hand[name] = self.by_hand.get(name, 0) + traded
        self.by_person.setdefault(name, []).append(-traded * price * contract.multiplier - fee)
        self.foreign += 1
        if self.person_is_heard and self.foreign % 2 and not self.is_down:
            self._deliver(event_of(self.time, self.foreign, name, FillStatus.FILLED, (float(traded), price, 0.0)))

    def _assign(self) -> None:
        """One short option that delivers shares and is in the money, all of it."""
        for name, (contract, count) in sorted(self.held.items()):
            spot = self.price_of(contract.underlying.price_key)
            inside = spot - contract.strike if contract.right is Right.CALL else contract.strike - spot
            if count < 0 and inside > 0 and contract.settlement is Settlement.PHYSICAL_SHARES:
                self.faults.note(Fault.ASSIGNED, name, f"{count} contracts")
                if self.watcher is not None and not self.is_down:
                    self.watcher.settles([name])
                self._deliver_shares(contract, count)
                return

    def _deliver_shares(self, contract: Contract, count: int) -> None:
        name, ticker = contract.name, contract.underlying.ticker
        shares = -count * contract.multiplier * (-1 if contract.right is Right.CALL else 1)
        del self.held[name]
        self.shares[ticker] = self.shares.get(ticker, 0.0) + shares
        self.cash -= shares * contract.strike
        self.executions.note(name, -count, -shares * contract.strike)
        self.foreign += 1
        option = event_of(self.time, self.foreign, name, FillStatus.FILLED, (float(-count), 0.0, 0.0))
        delivered = event_of(self.time, self.foreign, ticker, FillStatus.FILLED, (shares, contract.strike, 0.0))
        for event in (option, delivered):
            if not self.is_down:
                self._deliver(replace(event, is_assignment=True))

    def _work_shares(self) -> None:
        order = self.share_order
        if order is None or self.is_down:
            return
        price, count = self.price_of(order.name), order.quantity
        limit = self.shares_sent[-1][2]
        if (limit - price) * count >= -1e-9:
            self.share_order = None
            self.shares[order.name] = self.shares.get(order.name, 0.0) + count
            self.cash -= count * price
            self.executions.note(order.name, round(count / LOT), -count * price)
            self._tell(order.order_id, order.name, FillStatus.FILLED, count, price)

    def expire(self, day: date) -> None:
        """Settle in the night after, the fake's own rule; an order on what has expired ends with it."""
        for order in [row for row in self.resting if any(leg.contract.expiry <= day for leg in row.package.legs)]:
            self._end(order)
        expired = [name for name, (contract, _) in self.held.items() if contract.expiry == day]
        for name in expired:
            contract, count = self.held[name]
            spot = self.spot(close_of(day)) / scale_of(contract.underlying.price_key)
            self.executions.note(name, -count, count * intrinsic(contract, spot) * contract.multiplier)
        super().expire(day)
        for name in expired:
            self.by_hand.pop(name, None)

    # The process

    def process_ended(self) -> None:
        """Nobody is there to be told; a live engine forgets its own numbers and tags."""
        self.inbox = None
        self.reports.forget()
        self.subscribed.clear()
        self.down_until = self.seen = None
        if self.live:
            self.last_id = 0
            for order in self.resting:
                order.ids = tuple(range(self.last_id + 1, self.last_id + 1 + len(order.ids)))
                self.last_id, order.renumbered = order.ids[-1], True


def _bar(row: DailyBar, close: float) -> DailyBar:
    return DailyBar(row.day, row.open, max(row.high, close), min(row.low, close), close)


def event_of(
    moment: datetime,
    order_id: int,
    name: str,
    status: FillStatus,
    fill: tuple[float, float | None, float] = (0.0, None, 0.0),
    message: str = "",
) -> OrderUpdated:
    """A report; ``fill`` is quantity (signed), price in points and fee in dollars."""
    return OrderUpdated(
        time=moment,
        order_id=order_id,
        contract=name,
        status=status,
        fill_quantity=fill[0],
        fill_price=fill[1],
        fee=fill[2],
        message=message,
    )

"""A gateway in plain Python: a market of a few lines, a broker that fills combos, and days to run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path

from core.contracts import AssetKind, Contract, Package, Quote, Right
from core.events import FillStatus, OrderUpdated
from core.gateway import (
    Account,
    DailyBar,
    Dividend,
    Holding,
    ImpliedClose,
    Listing,
    OpenOrder,
    OptionClose,
    OrderRefusedError,
    Session,
    Tick,
)
from core.instruments import INSTRUMENTS, underlying_named
from core.journal import MemorySink
from core.settings.fields import Settings
from core.storage import FolderStorage
from greeks.black_scholes import european_price, years_to_expiry
from trading_system import Surroundings, TradingSystem

FRIDAY = date(2024, 3, 8)
Path_ = Callable[[datetime], float]


SCALES = {"SPY": 10.0, "XSP": 10.0, "QQQ": 10.0, "IWM": 20.0, "TLT": 50.0, "CL": 62.5, "6E": 4500.0}
"""What the index is divided by to be the price of something else."""
STEPS = {"SPY": 1.0, "QQQ": 1.0, "IWM": 1.0, "TLT": 1.0, "XSP": 1.0, "CL": 0.5, "6E": 0.005}
"""Points between two strikes; 5 for the index."""
TICKS = {"6E": 0.00005}


def scale_of(key: str) -> float:
    """How much smaller than the index the price of a ticker, or of a future's month (``CLM24``), is."""
    named = underlying_named(key)
    return SCALES.get(key if named is None else named.ticker, 1.0)


@dataclass
class Working:
    """A combo that rests at the fake broker."""

    ids: tuple[int, ...]
    package: Package
    quantity: int
    limit: float
    sent: datetime
    tag: str


MONTH = timedelta(days=30)


@lru_cache(maxsize=256)
def contracts_around(root: str, expiry: date, centre: float, step: float) -> tuple[Contract, ...]:
    """The contracts of an expiry by strike, 60 on either side. Kept, because a system looks each minute."""
    strikes = [round(centre + count * step, 6) for count in range(-60, 61)]
    found = [INSTRUMENTS[root].contract(expiry, strike, right, "handle") for strike in strikes for right in Right]
    return tuple(sorted(found, key=lambda row: (row.strike, row.right)))


@dataclass
class FakeGateway:
    """Prices are functions of time; options are Black-Scholes at ``volatility`` with a spread of ``half_spread``."""

    time: datetime
    spot: Path_
    vix: Path_
    folder: Path
    cash: float = 100_000.0
    half_spread: float = 0.05
    closed_days: frozenset[date] = frozenset()
    half_days: frozenset[date] = frozenset()
    history: int = 300
    daily_range: float = 0.011
    missing: set[str] = field(default_factory=set)
    no_offer: set[str] = field(default_factory=set)
    no_bid: set[str] = field(default_factory=set)
    refuse: str = ""
    fills_allowed: bool = True
    subscribed: dict[str, Contract] = field(default_factory=dict)
    orders: list[Working] = field(default_factory=list)
    held: dict[str, tuple[Contract, int]] = field(default_factory=dict)
    sent: list[tuple[datetime, Package, int, float]] = field(default_factory=list)
    shares_sent: list[tuple[str, int, float]] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    share_order: OpenOrder | None = None
    events: Callable[[OrderUpdated], None] | None = None
    last_id: int = 0
    payouts: dict[str, Sequence[Dividend]] = field(default_factory=dict)

    def now(self) -> datetime:
        return self.time

    def moment(self) -> datetime:
        return self.time

    def is_live(self) -> bool:
        return False

    def answers_at_once(self) -> bool:
        return not self.is_live()

    def broker_seen(self) -> bool:
        return True

    def session(self, day: date, root: str = "") -> Session | None:
        if day.weekday() > 4 or day in self.closed_days:
            return None
        close = time(13, 0) if day in self.half_days else time(16, 0)
        return Session(day, datetime.combine(day, time(9, 30)), datetime.combine(day, close), day in self.half_days)

    def watch(self, tickers: Iterable[str]) -> None:
        self.watched = tuple(tickers)

    def price_of(self, ticker: str) -> float:
        if ticker == "VIX":
            return self.vix(self.time)
        return self.spot(self.time) / scale_of(ticker)

    def tick(self, ticker: str) -> Tick | None:
        if ticker in self.missing:
            return None
        price = self.price_of(ticker)
        return Tick(price, price, price, price, self.time)

    def price(self, ticker: str) -> float | None:
        """Of a contract the middle of its quote, or the side that there is, as LEAN has it."""
        contract = self.subscribed.get(ticker)
        if contract is None:
            tick = self.tick(ticker)
            return None if tick is None else tick.price
        quote = self.quote(contract)
        sides = [] if quote is None else [side for side in (quote.bid, quote.ask) if side is not None]
        return sum(sides) / len(sides) if sides else None

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """Flat history at yesterday's price with a constant daily range."""
        days: list[date] = []
        day = self.time.date()
        while len(days) < min(count, self.history):
            day -= timedelta(days=1)
            if self.session(day) is not None:
                days.append(day)
        base = self.price_of(ticker)
        half = self.daily_range / 2
        return [DailyBar(day, base, base * (1 + half), base * (1 - half), base) for day in reversed(days)]

    def so_far(self, ticker: str, opened: datetime) -> DailyBar | None:
        return None

    def is_listed(self, root: str) -> bool:
        return root in ("SPXW", "SPX", "SPY")

    def chain(self, root: str, expiries: tuple[date, date]) -> Sequence[Contract]:
        row = INSTRUMENTS[root]
        day, found = expiries[0], list[Contract]()
        scale, step = scale_of(row.underlying), STEPS.get(row.underlying, 5.0)
        centre = round(self.spot(self.time) / scale / step) * step
        while day <= expiries[1]:
            if self.session(day) is not None:
                found += contracts_around(root, day, centre, step)
            day += timedelta(days=1)
        return found

    def expiries(self, root: str, within: tuple[date, date]) -> Sequence[date]:
        return sorted({contract.expiry for contract in self.chain(root, within)})

    def listing(self, contract: Contract, close: bool = True) -> Listing | None:
        """Yesterday closed as it is now, at the same volatility."""
        volatility = self.vix(self.time) / 100
        return None if contract.name in self.missing else Listing(self.worth(contract), volatility)

    def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        """A volatility that never moved."""
        return [ImpliedClose(bar.day, bar.day + MONTH, 0.2) for bar in FakeGateway.daily_bars(self, "SPY", sessions)]

    def option_closes(self, root: str, sessions: int) -> Sequence[OptionClose]:
        """The same as closes of calls at the money, without a rate."""
        row, found = INSTRUMENTS[root], []
        spot = self.price_of(row.underlying)
        for one in self.implied_closes(root, sessions):
            contract = row.contract(one.expiry, spot, Right.CALL)
            years = years_to_expiry([contract], datetime.combine(one.day, time(16)))
            close = float(european_price(spot, spot, years, one.volatility, 0.0, 0.0, True)[0])
            found.append(OptionClose(one.day, contract, close, spot))
        return found

    def dividends(self, ticker: str, days: int) -> Sequence[Dividend]:
        """What a test wrote down, up to now."""
        first, today = self.time.date() - timedelta(days=days), self.time.date()
        return [row for row in self.payouts.get(ticker, ()) if first <= row.day <= today]

    def subscribe(self, contracts: Iterable[Contract]) -> None:
        self.subscribed.update({contract.name: contract for contract in contracts})

    def release(self, contracts: Iterable[Contract]) -> None:
        for contract in contracts:
            if contract.name not in self.held:
                self.subscribed.pop(contract.name, None)

    def quote(self, contract: Contract) -> Quote | None:
        if contract.name not in self.subscribed or contract.name in self.missing:
            return None
        value = self.worth(contract)
        tick = 0.05 if contract.underlying.kind is AssetKind.INDEX else TICKS.get(contract.underlying.ticker, 0.01)
        half = self.half_spread if tick > 0.01 else self.half_spread / 5 * tick / 0.01
        bid = math.floor((value - half) / tick) * tick
        ask = math.ceil((value + half) / tick) * tick
        shown = None if contract.name in self.no_offer else round(max(ask, tick), 5)
        return Quote(round(bid, 5) if bid > 0 and contract.name not in self.no_bid else None, shown, self.time)

    def worth(self, contract: Contract) -> float:
        """The model's price now."""
        years = years_to_expiry([contract], self.time)
        spot, vol = self.price_of(contract.underlying.price_key), self.vix(self.time) / 100
        return float(european_price(spot, contract.strike, years, vol, 0.02, 0.015, contract.right is Right.CALL)[0])

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        if self.refuse:
            raise OrderRefusedError(self.refuse)
        ids = tuple(range(self.last_id + 1, self.last_id + 1 + len(package.legs)))
        self.last_id = ids[-1]
        self.orders.append(Working(ids, package, quantity, limit_cash, self.time, tag))
        self.sent.append((self.time, package, quantity, limit_cash))
        for order_id, leg in zip(ids, package.legs, strict=True):
            self._tell(order_id, leg.contract.name, FillStatus.SUBMITTED, 0.0, None)
        return ids

    def send_shares(self, ticker: str, quantity: int, price: float, tag: str) -> int:
        if self.refuse:
            raise OrderRefusedError(self.refuse)
        self.last_id += 1
        self.shares_sent.append((ticker, quantity, price))
        self.share_order = OpenOrder(self.last_id, ticker, float(quantity), None, tag)
        return self.last_id

    def reprice_shares(self, order_id: int, price: float, tag: str) -> bool:
        if self.share_order is None or self.share_order.order_id != order_id:
            return False  # it is done, as the gateway has it
        self.shares_sent.append((self.share_order.name, int(self.share_order.quantity), price))
        return True

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        for order in self.orders:
            if order.ids == tuple(order_ids):
                order.limit = limit_cash
                return True
        return False

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        for order in list(self.orders):
            if order.ids == tuple(order_ids):
                self.orders.remove(order)
                for order_id, leg in zip(order.ids, order.package.legs, strict=True):
                    self._tell(order_id, leg.contract.name, FillStatus.CANCELLED, 0.0, None)

    def forget(self, order_ids: Sequence[int]) -> None:
        self.forgotten = tuple(order_ids)

    def book_interest(self, amount: float) -> None:
        self.cash += amount

    def account(self) -> Account:
        value = 0.0
        for contract, quantity in self.held.values():
            quote = self.quote(contract)
            if quote is not None and quote.ask is not None:
                value += quantity * contract.multiplier * ((quote.bid or 0.0) + quote.ask) / 2
        return Account(self.cash + value, self.cash)

    def holdings(self) -> Sequence[Holding]:
        shares = [Holding(name, count, 0.0, 0.0) for name, count in self.shares.items() if count]
        return [Holding(name, float(count), 0.0, 0.0) for name, (_, count) in sorted(self.held.items())] + shares

    def open_orders(self) -> Sequence[OpenOrder]:
        shares = [] if self.share_order is None else [self.share_order]
        return shares + [
            OpenOrder(order_id, leg.contract.name, float(leg.ratio * order.quantity), order.ids[0], order.tag)
            for order in self.orders
            for order_id, leg in zip(order.ids, order.package.legs, strict=True)
        ]

    def store_path(self, key: str) -> Path:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _tell(
        self, order_id: int, name: str, status: FillStatus, quantity: float, price: float | None, fee: float = 0.0
    ) -> None:
        assert self.events is not None
        self.events(
            OrderUpdated(
                time=self.time,
                order_id=order_id,
                contract=name,
                status=status,
                fill_quantity=quantity,
                fill_price=price,
                fee=fee,
            )
        )

    def work_orders(self) -> None:
        """Fill at mids what its limit allows there, all legs at once, never in the minute it was sent."""
        for order in list(self.orders):
            if order.sent == self.time or not self.fills_allowed:
                continue
            prices = []
            for leg in order.package.legs:
                quote = self.quote(leg.contract)
                if quote is None or quote.ask is None:
                    break
                prices.append(round(((quote.bid or 0.0) + quote.ask) / 2, 4))
            else:
                cash = -sum(leg.ratio * price for leg, price in zip(order.package.legs, prices, strict=True))
                if cash > order.limit - 1e-9:
                    self.orders.remove(order)
                    self._fill(order, prices)

    def _fill(self, order: Working, prices: list[float]) -> None:
        fees = []
        for leg, price in zip(order.package.legs, prices, strict=True):
            count = leg.ratio * order.quantity
            before = self.held.get(leg.contract.name, (leg.contract, 0))[1]
            fees.append(abs(count) * (1.0 if before * count >= 0 else 0.0))
            self.cash -= count * price * leg.contract.multiplier + fees[-1]
            self.held[leg.contract.name] = (leg.contract, before + count)
            if before + count == 0:
                del self.held[leg.contract.name]
        rows = zip(order.ids, order.package.legs, prices, fees, strict=True)
        for order_id, leg, price, fee in rows:
            self._tell(order_id, leg.contract.name, FillStatus.FILLED, float(leg.ratio * order.quantity), price, fee)

    def expire(self, day: date) -> None:
        """Settle what expired on a day in cash, as the engine does in the following night."""
        self.time = datetime.combine(day, time(16, 0))
        spot = {row.underlying.price_key: self.price_of(row.underlying.price_key) for row, _ in self.held.values()}
        self.time = datetime.combine(day, time(1, 0)) + timedelta(days=1)
        ended = [(name, *row) for name, row in sorted(self.held.items()) if row[0].expiry == day]
        for name, contract, count in ended:
            inside = spot[contract.underlying.price_key] - contract.strike
            inside = inside if contract.right is Right.CALL else -inside
            self.cash += count * max(inside, 0.0) * contract.multiplier
            del self.held[name]
        for name, _, count in ended:  # all is settled, whoever hears of it
            self._tell(0, name, FillStatus.FILLED, -float(count), 0.0)


def build(gateway: FakeGateway, **parameters: str) -> tuple[TradingSystem, MemorySink]:
    """A trading system on the fake, with parameters given as ``friday_0dte__min_vix="0"``.

    Of Friday 0DTE alone, in an account that has to earn its phases, unless they say otherwise.
    """
    given = {"run__strategies": "friday_0dte", "phases__earned_progression": "true", **parameters}
    settings = Settings.from_parameters({key.replace("__", "."): value for key, value in given.items()})
    sink = MemorySink()
    storage = FolderStorage(gateway.folder / "state", durable=False)
    system = TradingSystem(Surroundings(gateway, storage, sink, durable=False), settings, gateway.time)
    gateway.events = system.happened
    system.start()
    return system, sink


def run_day(
    system: TradingSystem, gateway: FakeGateway, day: date, until: time = time(16, 0), resting: bool = False
) -> None:
    """One day as main.py would run it: open, each minute with its windows and deadlines, close, expiry.

    ``resting``: minutes rest that rest in a backtest; else each is looked at.
    """
    session = gateway.session(day)
    windows = [
        (strategy.name, window) for strategy in system.coordinator.strategies for window in strategy.entry_windows()
    ]
    moment = datetime.combine(day, time(9, 31))
    last = datetime.combine(day, until)
    while moment <= last:
        gateway.time = moment
        if session is not None and moment <= session.closes_at:
            gateway.work_orders()
            if moment.time() == time(9, 31):
                system.open_session(moment)
        for name, window in windows:
            early = datetime.combine(day, window.opens) - moment
            if timedelta(0) < early <= timedelta(minutes=5) and window.falls_on(day):
                system.entry_ahead(moment, name, window.name)
            if window.opens == moment.time() and day.weekday() in window.weekdays:
                system.entry_window(moment, name, window.name)
        if session is not None and moment == session.closes_at:
            system.close_session(moment)
        if session is not None and moment <= session.closes_at and not (resting and system.rests(moment)):
            system.minute(moment)
        moment += timedelta(minutes=1)
    if until == time(16, 0):
        gateway.expire(day)

"""The face of the engine that everything else sees: prices, chains, orders and the account, without a LEAN type.

``core/lean_gateway.py`` implements it on a QCAlgorithm; tests implement it in plain Python. Cash keeps our one sign: a
limit is what the package brings in, in points a unit, so a credit is positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from statistics import median
from typing import Protocol, TypeVar

from core.contracts import Contract, Package, Quote


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day's regular hours, naive New York time; ``is_half_day`` when it closes before 16:00."""

    day: date
    opens_at: datetime
    closes_at: datetime
    is_half_day: bool


@dataclass(frozen=True, slots=True)
class DailyBar:
    """One completed session of an underlying, in points."""

    day: date
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Tick:
    """An underlying's newest minute in points, and the end of the last real bar that gave it (``None``: none yet).

    ``implied``: by the parity of its options, because the feed does not quote it.
    """

    price: float
    open: float
    high: float
    low: float
    fresh_at: datetime | None
    implied: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """What the newest file of a chain says of one contract: the day before's close in points and its implied
    volatility a year, as a fraction; ``None`` where the file has none (options on futures have no volatility there).
    """

    close: float | None
    volatility: float | None


FEWEST_PAIRS = 3
"""Of a call and a put of one strike: fewer of them tell no level."""


def level_by_parity(pairs: Iterable[tuple[float, Quote | None, Quote | None]]) -> float | None:
    """The level at which calls and puts of the same strikes are worth what they are quoted at, in points.

    The median of strike + call - put over pairs (strike, call, put) with two sides each, at least ``FEWEST_PAIRS``;
    ``None`` of fewer. Options that end within days: what money costs until then is a fraction of a point.
    """
    levels = []
    for strike, call, put in pairs:
        above, below = None if call is None else call.mid, None if put is None else put.mid
        if above is not None and below is not None:
            levels.append(strike + above - below)
    return median(levels) if len(levels) >= FEWEST_PAIRS else None


MONTH_DAYS = 30
AROUND_A_MONTH = (7, 65)
"""Days to an expiry that says something of 30 days: monthly ones are five weeks apart at most."""
AT_THE_MONEY = 0.05
"""Of the close: a strike farther from it is not at the money."""


@dataclass(frozen=True, slots=True)
class ImpliedClose:
    """What an expiry's options implied at a session's close, at the listed strike nearest to it: a year, as a fraction.

    Of calls and puts the mean; only what a chain's file has, so never zero.
    """

    day: date
    expiry: date
    volatility: float


@dataclass(frozen=True, slots=True)
class OptionClose:
    """At what an option nearest to the money closed a session, and what it is written on then, both in points."""

    day: date
    contract: Contract
    close: float
    spot: float


@dataclass(frozen=True, slots=True)
class Dividend:
    """Dollars a share that went ex on a day: who held it the evening before gets them."""

    day: date
    amount: float


@dataclass(frozen=True, slots=True)
class Account:
    """What the engine or broker says of the account, in dollars."""

    equity: float
    cash: float
    engine_margin_free: float | None = None


_MOST_PAID = 1e8
MOST_HELD = 1e8
"""Of anything; more cannot be true, and counts as unknown."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Something held: ``name`` is ``Contract.name`` or a ticker; ``quantity`` signed; ``price`` per unit in points.

    ``average_price`` is 0 where it is unknown: one that is no number, below nothing or beyond all prices is.
    """

    name: str
    quantity: float
    average_price: float
    price: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.average_price < _MOST_PAID:
            object.__setattr__(self, "average_price", 0.0)

    @property
    def is_possible(self) -> bool:
        """Whether anybody can hold so much."""
        return abs(self.quantity) < MOST_HELD


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """One leg's order that the broker still works."""

    order_id: int
    name: str
    quantity: float
    group: int | None
    tag: str
    broker_ids: tuple[str, ...] = ()
    """The broker's own numbers: they outlive a restart, and change when the order is replaced."""


class OrderRefusedError(Exception):
    """An order, its new price or its cancellation was refused; the message is the engine's own."""

    @classmethod
    def because(cls, error: Exception) -> OrderRefusedError:
        """What an engine raised, by its first line or by its kind where it says nothing."""
        return cls((str(error).strip() or type(error).__name__).splitlines()[0])


Row = TypeVar("Row")
What = TypeVar("What")
Answer = TypeVar("Answer")


class HistoryError(Exception):
    """The engine could not tell what was asked of days before; the message is its own."""


def read_whole(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows that the engine reads while they are taken. Raises HistoryError, whatever the engine raised."""
    try:
        return tuple(rows)
    except Exception as error:  # .NET's own classes; who asks does without, and no run ends by a history
        raise HistoryError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error


def asked(ask: Callable[[What], Answer], what: What) -> Answer:
    """What an order's ticket answers. Raises OrderRefusedError, whatever it raised."""
    try:
        return ask(what)
    except Exception as error:  # .NET's own classes; who asks is told, and asks again
        raise OrderRefusedError.because(error) from error


class Gateway(Protocol):
    """What the rooms may ask of the engine. Times are naive New York; prices are points; money in is positive."""

    def now(self) -> datetime:
        """Time of the market."""

    def moment(self) -> datetime:
        """Time of the market as fine as the engine has it: for rates and waits, never for a decision."""

    def is_live(self) -> bool:
        """Whether money is real."""

    def answers_at_once(self) -> bool:
        """Whether holdings and orders are the broker's own at this moment; false where they arrive in a stream."""

    def broker_seen(self) -> bool:
        """Whether the broker's holdings and orders were loaded since the start; nothing may be judged before."""

    def session(self, day: date, root: str = "") -> Session | None:
        """Regular hours of the share market on a day, or of an option root's exchange; ``None`` when closed all day."""

    def watch(self, tickers: Iterable[str]) -> None:
        """Subscribe underlyings (minute prices) for the whole run: tickers, futures, families' front contracts."""

    def tick(self, ticker: str) -> Tick | None:
        """Newest price of a watched underlying (a family: of its front contract); ``None`` before its first."""

    def price(self, ticker: str) -> float | None:
        """The price of ``tick`` alone, cheap enough for each minute."""

    def daily_bars(self, ticker: str, count: int) -> Sequence[DailyBar]:
        """The last completed sessions, oldest first; fewer than asked where history is short."""

    def so_far(self, ticker: str, opened: datetime) -> DailyBar | None:
        """The day's minutes from a session's open until now as one bar, by history; ``None`` where it has none."""

    def is_listed(self, root: str) -> bool:
        """Whether any contract of a root is listed today."""

    def chain(self, root: str, expiries: tuple[date, date]) -> Sequence[Contract]:
        """Contracts listed today on a root with expiry in the closed range, by expiry, strike, right. May be empty."""

    def expiries(self, root: str, within: tuple[date, date]) -> Sequence[date]:
        """The days of a closed range on which contracts listed today on a root expire, ascending. May be empty."""

    def listing(self, contract: Contract, close: bool = True) -> Listing | None:
        """What is known of a contract from before the open, of a chain asked for today; ``None`` for any other.

        Without ``close`` that is left out: a modelled market prices a whole chain for it.
        """

    def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        """Of the last so many sessions with a chain file, the two expiries around 30 days each, oldest session first.

        None of an option on a future: its files have no volatilities. One request, which reads each session's chain.
        """

    def option_closes(self, root: str, sessions: int) -> Sequence[OptionClose]:
        """The same of options on futures, whose volatilities are to be solved: calls and puts nearest to the money.

        Some sessions more than asked for; a request for each of the future's contracts. Raises HistoryError.
        """

    def dividends(self, ticker: str, days: int) -> Sequence[Dividend]:
        """What shares went ex by in so many days until today, oldest first, as the data's factor file has it.

        Empty without such a file. Raises HistoryError.
        """

    def subscribe(self, contracts: Iterable[Contract]) -> None:
        """Start quotes of contracts, and prices of what they are written on; asking twice is harmless."""

    def release(self, contracts: Iterable[Contract]) -> None:
        """Stop quotes of contracts; whatever is held or ordered stays."""

    def quote(self, contract: Contract) -> Quote | None:
        """Newest quote of a subscribed contract, a side that nobody shows being ``None``; ``None`` before its first."""

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        """Send one combo limit order and give the order ids by leg. Raises OrderRefusedError."""

    def send_shares(self, ticker: str, quantity: int, price: float, tag: str) -> int:
        """Send one limit order for shares (signed) and give its order id. Raises OrderRefusedError."""

    def reprice_shares(self, order_id: int, price: float, tag: str) -> bool:
        """Move the limit of an order for shares, at a cent; false when the engine refused."""

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        """Move the limit of a working group on every leg; false when it works no more. Raises OrderRefusedError."""

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        """Ask to cancel every leg of a working group. Raises OrderRefusedError when the engine would not."""

    def forget(self, order_ids: Sequence[int]) -> None:
        """Drop what is kept for a finished group, so that memory stays flat over years."""

    def account(self) -> Account:
        """Equity and cash now."""

    def book_interest(self, amount: float) -> None:
        """Pay dollars, to the cent, into the account's cash: a backtest's only, where no broker does."""

    def holdings(self) -> Sequence[Holding]:
        """Everything held now."""

    def open_orders(self) -> Sequence[OpenOrder]:
        """Every working order now."""

    def store_path(self, key: str) -> Path:
        """The durable file behind an object-store key; its folder exists."""

"""The events of the bus: frozen, named in the past tense, stamped with market time, carrying a correlation id.

``time`` is naive New York time, LEAN's algorithm clock. ``correlation`` leads from a cause to all of its effects: a
handler that publishes while it handles an event passes the cause's id on (the bus does it where the id is empty).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from math import isfinite

from core.book import Refusal
from core.gateway import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event carries. Published by: nobody directly; subscribe to it to see all events."""

    time: datetime
    correlation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketData(Event):
    """One underlying's minute was seen. Published by the trading system, once a minute and symbol.

    Prices in points (VIX in vol points); ``fresh_at`` is the end of the last real (not filled-forward) bar.
    """

    ticker: str
    open: float
    high: float
    low: float
    price: float
    fresh_at: datetime

    @classmethod
    def of(cls, ticker: str, tick: Tick, now: datetime) -> MarketData | None:
        """A tick as it is told at a minute; ``None`` before a real bar gave one."""
        if tick.fresh_at is None:
            return None
        high, low = tick.high, tick.low
        return cls(
            time=now, ticker=ticker, open=tick.open, high=high, low=low, price=tick.price, fresh_at=tick.fresh_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened(Event):
    """A trading day began. Published by the trading system at the open. ``closes_at`` is today's close."""

    day: date
    closes_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(Event):
    """A trading day ended. Published by the trading system at the close. ``equity`` in dollars."""

    day: date
    equity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReckoningDue(Event):
    """Everybody has heard of a close: trades and account are held against each other. Published by: the reckoning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryAhead(Event):
    """An entry window will open in some minutes: time to ask quotes of what it may want."""

    strategy: str
    window: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryWindow(Event):
    """A strategy may look for an entry now. Published by the trading system from the strategy's own windows."""

    strategy: str
    window: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineReached(Event):
    """A time at which something must be closed has come. Published by the trading system."""

    strategy: str
    deadline: str


class Level(StrEnum):
    """The four levels of state."""

    SYSTEM = "system"
    STRATEGY = "strategy"
    POSITION = "position"
    ORDER_GROUP = "order_group"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTransition(Event):
    """A state changed, after it was written. Published by the state manager."""

    level: Level
    subject: str
    before: str
    trigger: str
    after: str


class Request(StrEnum):
    """What one component may need another to do before it goes on; every other news is an event."""

    ACCOUNT_LOOK = "compare state and account now"
    STATUS_LINES = "tell what risk's own status does not say, a line each"


class ChangeKind(StrEnum):
    """How a position changed."""

    OPENED = "opened"
    ADJUSTED = "adjusted"
    CLOSED = "closed"
    EXPIRED = "expired"
    ASSIGNED = "assigned"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChanged(Event):
    """What is held changed. Published by the position tracker after state was written.

    ``cash`` is what the change brought in dollars, before fees (money in is positive); ``fees`` is zero or positive.
    """

    position: str
    strategy: str
    kind: ChangeKind
    cash: float
    fees: float


class FillStatus(StrEnum):
    """What the broker says of an order."""

    SUBMITTED = "submitted"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UPDATED = "updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUpdated(Event):
    """The broker reported on one leg's order. Published by the trading system from LEAN's order events.

    ``fill_quantity`` is signed (bought positive); ``fill_price`` in points, ``None`` when nothing filled or nobody said
    at which; ``fee`` in dollars, zero or positive; none is ever NaN or infinite. ``contract`` is ``Contract.name`` or
    an underlying's ticker.

    ``number`` is the report's own within its order (LEAN numbers them; 0: none was told), ``filled`` the signed
    quantity of the order that is filled with it (``None``: not told): by either it is known when it comes again.
    """

    order_id: int
    contract: str
    status: FillStatus
    fill_quantity: float
    fill_price: float | None
    fee: float
    is_assignment: bool = False
    message: str = ""
    number: int = 0
    filled: float | None = None

    def __post_init__(self) -> None:
        """What is no number is not known: it would be in every sum after it, and in a state that reads none back."""
        unknown = {"fill_quantity": 0.0, "fill_price": None, "fee": 0.0, "filled": None}
        for name, instead in unknown.items():
            value = getattr(self, name)
            if value is not None and not isfinite(value):
                object.__setattr__(self, name, instead)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSplit(Event):
    """Shares split, or will at the next open (``coming``). Published by the trading system from LEAN's splits.

    ``factor`` is the price after over the price before: 0.5 for two for one.
    """

    ticker: str
    factor: float
    coming: bool


class Severity(StrEnum):
    """How near a limit is: warned at 80 %, blocked at 100 %."""

    NORMAL = "normal"
    WARNING = "warning"
    BREACH = "breach"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskThreshold(Event):
    """A figure neared or passed its limit, or went back. Published by risk plugins and the Greeks monitor."""

    rule: str
    severity: Severity
    limit: float
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBecameStale(Event):
    """A needed price is older than allowed in market hours. Published by the freshness validator."""

    ticker: str
    last_seen: datetime | None


class Command(StrEnum):
    """What a person may tell the system."""

    HALT = "halt"
    RESUME = "resume"
    REDUCE = "reduce"
    SUSPEND = "suspend"  # one strategy, its subject
    CLOSE_ALL = "close_all"
    RECONCILE = "reconcile"
    STATUS = "status"
    EXPLAIN = "explain"
    TAKE_OVER = "take_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReceived(Event):
    """A person gave a command. Published by the trading system from LEAN's on_command."""

    command: Command
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswered(Event):
    """What became of a person's command. Published by risk's command desk; whoever talks to the person passes it on."""

    command: Command
    subject: str
    accepted: bool
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReconnected(Event):
    """The connection to the broker is back and the account must be reconciled. Published by the trading system."""


class NoticeKind(StrEnum):
    """What a message to a person is about, the most pressing first."""

    EMERGENCY = "emergency"
    HALT = "halt"
    DOUBT = "doubt"
    ASSIGNMENT = "assignment"
    DIFFERENCE = "difference"
    RISK = "risk"
    FEED = "feed"
    HEARTBEAT = "heartbeat"

    @property
    def rank(self) -> int:
        """Place in a message; 0 is told first."""
        return tuple(NoticeKind).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRaised(Event):
    """A person should know of it. Published by whoever finds it; the notifier sends it when live."""

    kind: NoticeKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFailed(Event):
    """A handler raised. Published by the bus. ``critical``: the account rests on it, new entries are halted."""

    component: str
    critical: bool
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MinutePassed(Event):
    """All prices of a minute are in, and something is held, ordered or waited for. Published by the trading system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestEnded(Event):
    """Something held must be looked at in a minute in which all else rests. Published by the trading system."""


class GroupOutcome(StrEnum):
    """How an order group ended."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderGroupFinished(Event):
    """The broker works nothing of an order group any more. Published by the executor, after state was written.

    ``limit`` is its last limit and ``natural`` the natural price now, both in points a package, a credit positive.
    ``refusal`` is the rule that ended the walk of an entry, where one did.
    """

    group: str
    position: str
    strategy: str
    purpose: str
    outcome: GroupOutcome
    contracts: int
    reason: str
    limit: float | None = None
    natural: float | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesHalted(Event):
    """New entries are forbidden until a person resumes. Published by the bus, once for each halt."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesAllowed(Event):
    """A person allowed new entries again. Published by the bus."""

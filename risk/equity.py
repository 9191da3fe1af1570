"""The account: what it is worth by marks that outlive a bad quote, what its free cash earns, and its phase.

Peaks, drawdown and breakers read this, never the engine's figure alone: one crossed quote of a minute moves that by a
fifth. A change of the engine's figure that is too small to matter is taken as it is; a larger one is looked at leg by
leg. Dollars.

Cash that moves without a trade is told. Interest on free cash is booked in backtests only: live, the broker books it.
The phase: promotion is earned on a daily close, demotion is immediate below a margin of hysteresis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.book import Book
from core.bus import EventBus
from core.contracts import MOST_POINTS, Contract
from core.events import ChangeKind, OrderUpdated, PositionChanged, SessionClosed, SessionOpened
from core.factory import Manager
from core.gateway import Account, Gateway
from core.instruments import contract_named, unit_of
from core.journal import Journal, RecordKind
from core.performance import record_of
from core.settings.fields import EquitySettings, InterestSettings, PhaseLimits, PhaseSettings
from greeks.exposure import treasury_bill
from greeks.marks import Marks
from risk.memory import number, text_of
from risk.proposal import MOST_DOLLARS

_FIGURES = ("cash", "engine", "value")
_DOUBTED = 0.5  # of what the account was worth: gone without a trade, it has to be seen for a minute
_MINUTE = timedelta(minutes=1)
_SETTLED = (ChangeKind.EXPIRED, ChangeKind.ASSIGNED)


@dataclass(frozen=True, slots=True)
class EquityLook:
    """One look: ``value`` is ``None`` when it cannot be told; ``moved`` is cash that came or went without a trade."""

    time: datetime
    value: float | None
    moved: float = 0.0


class SteadyEquity(Manager):
    """Looks at the account once a minute."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        book: Book,
        marks: Marks,
        settings: EquitySettings,
    ) -> None:
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._marks = marks
        self._settings = settings
        self._last: tuple[float, float, float] | None = None  # cash, the engine's figure, ours
        self._booked = 0.0
        self._interest = book.interest
        self._now: EquityLook | None = None
        self._untold = 0.0
        self._doubt: tuple[datetime, float] | None = None  # when a large transfer was seen first, and how large
        self._kept: tuple[float, float, float] | None = None
        self._kept_held: dict[str, float] = {}
        self._before: tuple[tuple[float, float, float], dict[str, float]] | None = None  # of the last process
        self._away = self._certain = False  # whether no process ran meanwhile, and cash can only have been paid
        bus.subscribe(OrderUpdated, self._on_order, component="equity", critical=True)
        bus.subscribe(PositionChanged, self._on_position_changed, component="equity", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="equity", critical=True)

    def untold(self) -> float:
        """Dollars that moved without a trade since this was asked last, whoever looked; who asks tells the rules."""
        moved, self._untold = self._untold, 0.0
        return moved

    @property
    def value(self) -> float | None:
        """What the last look found; before any, a look now."""
        return (self._now or self.look(self._gateway.now())).value

    def look(self, now: datetime) -> EquityLook:
        """The account now; the same moment is looked at once."""
        if self._now is None or self._now.time != now:
            self._now = self._look(now)
            self._untold += self._now.moved
        return self._now

    def _look(self, now: datetime) -> EquityLook:
        account = self._gateway.account()
        if not abs(account.equity) < MOST_DOLLARS or not abs(account.cash) < MOST_DOLLARS:
            return EquityLook(now, None)  # no number, or none that an account of ours can have
        if self._before is not None:
            self._away, self._certain = True, self._goes_on(*self._before)
            self._before = None
        unexplained = self._unexplained(account.cash)
        if not self._is_transfer(unexplained, account.equity):
            unexplained = 0.0
        elif self._is_doubtful(unexplained, now):
            return EquityLook(now, None)  # one look at an account that says that half of it is gone is not enough
        self._take_note(unexplained, account.equity)
        value, expected = account.equity, None if self._last is None else self._last[2] + unexplained
        if expected is None or abs(value - expected) > self._settings.unquestioned_move * abs(expected):
            value = self._questioned(account, expected, now)
        self._last = (account.cash, account.equity, value)
        if self._kept is None or self._kept[0] != account.cash:
            self._keep()
        return EquityLook(now, value, unexplained)

    # Cash

    def _on_order(self, event: OrderUpdated) -> None:
        if event.fill_price is None or not event.fill_quantity:
            return
        contract = contract_named(event.contract)
        unit = unit_of(event.contract) if contract is None else contract.multiplier
        cash = event.fill_quantity * event.fill_price * unit + event.fee
        self._booked -= cash if abs(cash) < MOST_DOLLARS else 0.0  # no fill: whatever moved is the account's to say

    def _on_position_changed(self, event: PositionChanged) -> None:
        if event.kind in _SETTLED and abs(event.cash) < MOST_DOLLARS:
            self._booked += event.cash

    def _unexplained(self, cash: float) -> float:
        """Dollars of cash since the last look that no fill, fee, settlement or interest explains."""
        booked = self._booked + self._book.interest - self._interest
        return 0.0 if self._last is None else cash - self._last[0] - booked

    def _is_transfer(self, unexplained: float, equity: float) -> bool:
        """Large enough, and equity moved by the same amount: what was traded or settled leaves it nearly as it was."""
        if self._last is None or abs(unexplained) < self._settings.smallest_transfer * abs(self._last[2]):
            return False
        rest = equity - self._last[1] - unexplained
        return self._certain or abs(rest) <= self._settings.transfer_tolerance * abs(unexplained)

    def _is_doubtful(self, unexplained: float, now: datetime) -> bool:
        """Half of an account that holds something gone, seen for the first time: a feed's zero looks just like it."""
        if self._last is None or unexplained > -_DOUBTED * abs(self._last[2]) or not self._gateway.holdings():
            self._doubt = None
            return False
        since, before = self._doubt or (now, unexplained)
        if abs(unexplained - before) > self._settings.transfer_tolerance * abs(before):
            since = now  # another figure than the look before had
        self._doubt = (since, unexplained)
        return now - since < _MINUTE

    def _take_note(self, moved: float, equity: float) -> None:
        """What was booked until this look is explained; what a person moved is journalled."""
        self._booked, self._interest, self._doubt = 0.0, self._book.interest, None
        away, self._away, self._certain = self._away, False, False
        if not moved:
            return
        if not away:  # of what moved while no process ran the cash that this one began with knows
            self._book.paid_in += moved
        reason = f"cash moved without a trade: {moved:+,.2f}"
        self._journal.record(RecordKind.SYSTEM, component="equity", reason=reason, moved=moved, equity=equity)

    # Over restarts

    def _on_session_closed(self, _event: SessionClosed) -> None:
        self._keep()

    def _keep(self) -> None:
        self._kept, self._kept_held = self._last, self._held()

    def _held(self) -> dict[str, float]:
        return {row.name: row.quantity for row in self._gateway.holdings() if row.quantity}

    def _goes_on(self, figures: tuple[float, float, float], held: dict[str, float]) -> bool:
        """Go on from the last process's figures where the account still holds what it held then.

        Whether nothing but a transfer can have moved its cash since: options pay and cost nothing while they are held.
        """
        if self._last is not None or held != self._held():
            return False  # something was traded or settled meanwhile: nobody can tell what else there was
        self._last = figures
        return all(contract_named(name) is not None for name in held)

    def memory(self) -> Mapping[str, object]:
        """The account at the last close, or when its cash changed last: what moves until the next process looks."""
        if self._kept is None:
            return {}
        return {**dict(zip(_FIGURES, self._kept, strict=True)), "held": dict(self._kept_held)}

    def restore(self, row: Mapping[str, object]) -> None:
        """Go on from the last process's look. Raises ``ValueError`` for what cannot be true."""
        cash, engine, value = (number(row, name, -MOST_DOLLARS) for name in _FIGURES)
        held = row.get("held", {})
        if not isinstance(held, dict):
            raise ValueError(f"held: {text_of(held)}; expected names with quantities")
        quantities = {str(name): number(held, name, -MOST_DOLLARS) or 0.0 for name in held}
        if cash is not None and engine is not None and value is not None:
            self._before = ((cash, engine, value), quantities)

    # Marks

    def _questioned(self, account: Account, expected: float | None, now: datetime) -> float:
        """The engine's figure by marks, or cash and marks alone: of two that differ the one nearer to what was there.

        One of the account's two figures may be untrue for a while; a market's move is in both.
        """
        corrected, own = self._corrected(account.equity, now), self._by_marks(account.cash, now)
        if own is None or expected is None or abs(own - corrected) <= self._settings.unquestioned_move * abs(expected):
            return corrected
        return min(corrected, own, key=lambda value: abs(value - expected))

    def _by_marks(self, cash: float, now: datetime) -> float | None:
        """Cash and all holdings at marks; ``None`` where one has none, and beside a future, which counts its profit."""
        partners = {
            leg.contract.name: [other.contract for other in position.legs]
            for position in self._book.positions.values()
            for leg in position.legs
        }
        for row in self._gateway.holdings():
            contract = contract_named(row.name)
            price = row.price if row.name.isalpha() and 0.0 < row.price < MOST_POINTS else None
            mark = price if contract is None else self._marks.mark(contract, now, partners.get(row.name, ()))
            if mark is None or not abs(row.quantity) < MOST_POINTS:
                return None
            cash += row.quantity * (1 if contract is None else contract.multiplier) * mark
        return cash

    def _corrected(self, equity: float, now: datetime) -> float:
        """The engine's figure with what it counts for doubtful legs replaced by their marks."""
        prices = {holding.name: holding.price for holding in self._gateway.holdings()}
        for position in self._book.positions.values():
            legs = position.legs
            partners = [leg.contract for leg in legs]
            for leg in legs:
                mark = self._marks.mark(leg.contract, now, partners)
                counted = self._counted(leg.contract, prices)
                if mark is not None and counted is not None:
                    equity += leg.ratio * leg.contract.multiplier * (mark - counted)
        return equity

    def _counted(self, contract: Contract, prices: dict[str, float]) -> float | None:
        """What the engine values one unit at, in points: its own price, else the middle that it makes of a quote."""
        price = prices.get(contract.name, 0.0)
        if price > 0.0:
            return price
        quote = self._gateway.quote(contract)
        return None if quote is None or quote.ask is None else ((quote.bid or 0.0) + quote.ask) / 2


DAYS_OF_A_YEAR = 365


def interest_of(cash: float, day: date, days: int, spread: float) -> float:
    """Dollars, to the cent, that ``cash`` earned over ``days`` calendar days until ``day``; never under zero.

    Simple interest at the Treasury bill of ``day``'s year less ``spread`` (both fractions a year).
    """
    rate = max(treasury_bill(day.year) - spread, 0.0)
    return round(max(cash, 0.0) * rate * days / DAYS_OF_A_YEAR, 2)


class InterestBooking(Manager):
    """Pays at each open, into the engine's cash book, what the cash that was free at the last close earned since."""

    def __init__(
        self, bus: EventBus, book: Book, gateway: Gateway, journal: Journal, settings: InterestSettings
    ) -> None:
        self._book = book
        self._gateway = gateway
        self._journal = journal
        self._spread = settings.spread
        self._closed: tuple[date, float] | None = None
        if not gateway.is_live():
            bus.subscribe(SessionOpened, self._on_session_opened, component="interest")
            bus.subscribe(SessionClosed, self._on_session_closed, component="interest")

    def _on_session_closed(self, event: SessionClosed) -> None:
        held = sum(position.margin for position in self._book.positions.values())
        self._closed = (event.day, self._gateway.account().cash - held)

    def _on_session_opened(self, event: SessionOpened) -> None:
        if self._closed is None:
            return
        since, free = self._closed
        days = (event.day - since).days
        amount = interest_of(free, event.day, days, self._spread)
        self._closed = None  # paid for: a second open without a close between pays nothing
        if amount <= 0.0:
            return
        self._gateway.book_interest(amount)
        self._book.interest += amount
        self._journal.record(
            RecordKind.INTEREST,
            component="interest",
            reason=f"{days} days on free cash",
            day=event.day,
            days=days,
            free_cash=free,
            bill=treasury_bill(event.day.year),
            spread=self._spread,
            amount=amount,
        )


class PhaseManager(Manager):
    """Knows the phase, 1 to 4, and its limits."""

    def __init__(self, bus: EventBus, book: Book, gateway: Gateway, settings: PhaseSettings) -> None:
        self._book = book
        self._gateway = gateway
        self._settings = settings
        self._phase: int | None = None
        bus.subscribe(SessionClosed, self._on_session_closed, component="phases", critical=True)

    @property
    def phase(self) -> int:
        """The phase now; the first answer comes from the account as it was worth at the last daily close."""
        if self._phase is None:
            self._phase = 1
            self._promote(self._last_close())
        return self._phase

    def _last_close(self) -> float:
        """What the account was worth then: what is held counts at that day's close wherever that is known."""
        equity = self._gateway.account().equity
        for row in self._gateway.holdings():
            close = self._close_of(row.name)
            if close is not None and row.price > 0.0:
                contract = contract_named(row.name)
                unit = unit_of(row.name) if contract is None else contract.multiplier
                equity += row.quantity * unit * (close - row.price)
        return equity

    def _close_of(self, name: str) -> float | None:
        contract = contract_named(name)
        if contract is None:
            bars = self._gateway.daily_bars(name, 1)
            return bars[-1].close if bars else None
        listed = self._gateway.listing(contract)
        return None if listed is None else listed.close

    @property
    def limits(self) -> PhaseLimits:
        """The row of the phase now."""
        return self._settings.rows[self.phase - 1]

    @property
    def known(self) -> int | None:
        """The phase as far as it was worked out; ``None`` before the first question."""
        return self._phase

    def restore(self, phase: object) -> None:
        """Go on with a phase kept from before a restart. Raises ``ValueError`` for what is none."""
        if phase is None:
            return
        if isinstance(phase, bool) or not isinstance(phase, int) or not 1 <= phase <= len(self._settings.rows):
            raise ValueError(f"phase: {repr(phase)[:40]}; expected 1 to {len(self._settings.rows)}")
        self._phase = phase

    def _on_session_closed(self, event: SessionClosed) -> None:
        self._promote(event.equity)
        self._demote(event.equity)

    def _promote(self, equity: float) -> None:
        phase = self._phase or 1
        while phase < len(self._settings.rows) and self._earned(self._settings.rows[phase], equity):
            phase += 1
        self._phase = phase

    def _earned(self, row: PhaseLimits, equity: float) -> bool:
        if not row.equity_from <= equity < MOST_DOLLARS:
            return False  # nor for what is no number
        earned = self._settings.earned_progression
        if not (self._gateway.is_live() if earned is None else earned):
            return True
        record = record_of(self._book.trades)
        return record.trades >= row.trades_needed and record.wins >= row.wins_needed * record.trades

    def _demote(self, equity: float) -> None:
        phase = self._phase or 1
        keep = 1 - self._settings.demotion_margin
        while phase > 1 and equity < self._settings.rows[phase - 1].equity_from * keep:
            phase -= 1
        self._phase = phase

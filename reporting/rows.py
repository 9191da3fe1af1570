"""Typed rows of the decision journal (``core/journal_schema.py``), read back from its JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from core.settings.strategies import TITLES
from reporting.fields import (
    ExposureDay,
    Fields,
    Interest,
    JournalError,
    Opening,
    RollNote,
    Standing,
    UnknownTrade,
    VerdictNote,
    capacity_of,
    parse_line,
    read_exposure,
    read_interest,
    read_opening,
    read_roll,
    read_standing,
    read_system,
    read_verdict,
)


class Outcome(StrEnum):
    """What an entry day came to."""

    TRADE = "trade"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Decision:
    """One strategy's answer to one entry day: a trade, or a skip with the number that bound."""

    time: datetime
    strategy: str
    day: date
    outcome: Outcome
    rule: str
    reason: str
    limit: float | None
    observed: float | None
    vix: float | None
    spot: float | None
    contracts: int | None
    correlation: str = ""
    window: str = ""


@dataclass(frozen=True, slots=True)
class TradeLeg:
    """A leg of a closed trade: ``ratio`` signed per package, prices in points; ``exit`` None when never priced."""

    name: str
    ratio: int
    strike: float
    is_call: bool
    expiry: date
    entry: float
    exit: float | None


@dataclass(frozen=True, slots=True)
class Trade:
    """One part of a position from open to close. All cash in dollars, money in positive; ``fees`` zero or positive."""

    strategy: str
    position: str
    underlying: str
    structure: str
    opened: datetime
    closed: datetime
    contracts: int
    multiplier: float
    legs: tuple[TradeLeg, ...]
    credit: float
    cash_in: float
    cash_out: float
    fees: float
    profit: float
    max_loss: float | None
    exit_rule: str
    exit_reason: str
    underlying_entry: float | None
    underlying_exit: float | None
    vix_entry: float | None
    vix_exit: float | None
    part: str = "whole"
    correlation: str = ""
    largest_loss: float | None = None

    @property
    def won(self) -> bool:
        """Whether money was made after fees; exactly nothing is not a win."""
        return self.profit > 0


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """Trades against the account at the end: ``difference`` in dollars, and how many trades are in no term of it.

    ``terms`` are what the cash should be made of, by name, in dollars.
    """

    expected: float
    cash: float
    difference: float
    unknown: int
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EngineTrade:
    """A closed trade of an algorithm without a journal, as LEAN's trade builder counts them: one leg each.

    ``quantity`` in units, signed (bought positive); prices in points; ``profit`` in dollars after ``fees`` (zero or
    positive); ``won`` as LEAN judges it.
    """

    name: str
    quantity: float
    opened: datetime
    closed: datetime
    entry: float
    exit: float
    profit: float
    fees: float
    won: bool


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account at one session's close. Dollars; ``phase`` of the methodology's section 1.

    ``interest`` is what was booked on free cash since the point before. ``opening`` marks what the account began with,
    which is no session.
    """

    day: date
    equity: float
    phase: int | None = None
    positions: int | None = None
    interest: float = 0.0
    opening: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """One leg's fill. ``quantity`` signed contracts (bought positive), prices in points; the quote is its minute's."""

    group: str
    position: str
    quantity: float
    price: float
    bid: float | None
    ask: float | None
    time: datetime | None = None
    contract: str = ""
    fee: float = 0.0

    @property
    def far(self) -> float | None:
        """The side of the quote that trades at once: the offer for a purchase; ``None`` where the quote is unknown."""
        return self.ask if self.quantity > 0 else None if self.ask is None else self.bid

    @property
    def mid(self) -> float | None:
        """Middle of the quote; a bid that was missing counts as zero for a purchase."""
        if self.ask is None or (self.bid is None and self.quantity < 0):
            return None
        return ((self.bid or 0.0) + self.ask) / 2


@dataclass(frozen=True, slots=True)
class OrderStep:
    """One step in the life of an order group: ``limit_cash`` in points a package, a credit positive.

    ``legs`` are name and signed ratio of each.
    """

    group: str
    purpose: str
    action: str
    time: datetime | None = None
    position: str = ""
    reason: str = ""
    contracts: int | None = None
    limit_cash: float | None = None
    legs: tuple[tuple[str, int], ...] = ()
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class RiskNote:
    """A verdict that shrank or denied, or a limit that was neared or passed."""

    time: datetime
    rule: str
    severity: str
    strategy: str
    reason: str
    limit: float | None
    observed: float | None
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """Something failed: where, what, and the exception's own text."""

    time: datetime
    component: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Journal:
    """Everything a report needs from one journal, in the order it was written."""

    decisions: tuple[Decision, ...] = ()
    trades: tuple[Trade, ...] = ()
    unknown: tuple[UnknownTrade, ...] = ()
    account: AccountCheck | None = None
    equity: tuple[EquityPoint, ...] = ()
    risk: tuple[RiskNote, ...] = ()
    errors: tuple[ErrorNote, ...] = ()
    fills: tuple[Fill, ...] = ()
    orders: tuple[OrderStep, ...] = ()
    verdicts: tuple[VerdictNote, ...] = ()
    exposures: tuple[ExposureDay, ...] = ()
    openings: tuple[Opening, ...] = ()
    rolls: tuple[RollNote, ...] = ()
    standings: tuple[Standing, ...] = ()
    capacity: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def path(self) -> tuple[EquityPoint, ...]:
        """The session closes, before them what the account began with where its row says so."""
        if self.account is None or not self.equity:
            return self.equity
        return (EquityPoint(self.equity[0].day, self.account.terms["starting"], opening=True), *self.equity)


def strategy_title(name: str) -> str:
    """A strategy's name for people: ``friday_0dte`` is Friday 0DTE."""
    return TITLES.get(name) or name.replace("_", " ").capitalize()


def read_journal(path: Path) -> Journal:
    """Read a journal file.

    Raises:
        JournalError: a line is not JSON, lacks a field or holds one of the wrong type.
    """
    with path.open(encoding="utf-8") as lines:
        return parse_journal(lines, path.name)


def parse_journal(lines: Iterable[str], name: str = "journal") -> Journal:
    """Turn JSON lines into typed rows; kinds that no report shows are only counted."""
    kept: dict[str, list[object]] = {kind: [] for kind in READERS}
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = parse_line(line, f"{name} line {number}")
        kind = row.text("kind")
        counts[kind] = counts.get(kind, 0) + 1
        if kind in READERS:
            kept[kind].append(READERS[kind](row))
    decisions = tuple(item for item in kept["decision"] if isinstance(item, Decision))
    return Journal(
        decisions=decisions,
        trades=as_opened([item for item in kept["trade_closed"] if isinstance(item, Trade)], decisions),
        unknown=tuple(item for item in kept["trade_closed"] if isinstance(item, UnknownTrade)),
        account=next((item for item in reversed(kept["account"]) if isinstance(item, AccountCheck)), None),
        equity=with_interest(
            [item for item in kept["equity"] if isinstance(item, EquityPoint)],
            [item for item in kept["interest"] if isinstance(item, Interest)],
        ),
        risk=tuple(item for item in kept["risk"] if isinstance(item, RiskNote)),
        errors=tuple(item for item in kept["error"] if isinstance(item, ErrorNote)),
        fills=tuple(item for item in kept["fill"] if isinstance(item, Fill)),
        orders=tuple(item for item in kept["order"] if isinstance(item, OrderStep)),
        verdicts=tuple(item for item in kept["verdict"] if isinstance(item, VerdictNote)),
        exposures=tuple(item for item in kept["exposure"] if isinstance(item, ExposureDay)),
        openings=tuple(item for item in kept["greeks"] if isinstance(item, Opening)),
        rolls=tuple(item for item in kept["roll"] if isinstance(item, RollNote)),
        capacity=capacity_of(kept["system"]),
        standings=tuple(item for item in kept["standing"] if isinstance(item, Standing)),
        counts=counts,
    )


def as_opened(trades: Sequence[Trade], decisions: Sequence[Decision]) -> tuple[Trade, ...]:
    """The trades with price and VIX of the decision that opened each part; of a part that came later without one they
    are unknown: its row has those of its position's opening."""
    taken = [one for one in decisions if one.outcome is Outcome.TRADE and one.correlation]
    opened = {(one.correlation, one.time): one for one in taken}
    first = {one.correlation: one.time for one in reversed(taken)}
    found: list[Trade] = []
    for trade in trades:
        own = opened.get((trade.correlation, trade.opened))
        later = trade.opened > first.get(trade.correlation, trade.opened) + timedelta(minutes=15)
        if own is not None and first[trade.correlation] < trade.opened:
            trade = replace(trade, underlying_entry=own.spot, vix_entry=own.vix)
        elif own is None and later:
            trade = replace(trade, underlying_entry=None, vix_entry=None)
        found.append(trade)
    return tuple(found)


def with_interest(points: Sequence[EquityPoint], paid: Sequence[Interest]) -> tuple[EquityPoint, ...]:
    """The points with what was paid after the one before each, up to its own day."""
    found: list[EquityPoint] = []
    waiting = list(reversed(paid))  # the journal is in order of time
    for point in points:
        amount = 0.0
        while waiting and waiting[-1].day <= point.day:
            amount += waiting.pop().amount
        found.append(replace(point, interest=amount) if amount > 0 else point)
    return tuple(found)


def read_decision(row: Fields) -> Decision:
    """A ``decision`` row."""
    outcome = row.text("outcome")
    if outcome not in (Outcome.TRADE, Outcome.SKIP):
        raise JournalError(f"{row.place}: outcome is {outcome!r}; expected 'trade' or 'skip'")
    return Decision(
        time=row.moment("time"),
        strategy=row.text("strategy"),
        day=row.day("day"),
        outcome=Outcome(outcome),
        rule=row.text("rule"),
        reason=row.text("reason"),
        limit=row.maybe_number("limit"),
        observed=row.maybe_number("observed"),
        vix=row.maybe_number("vix"),
        spot=row.maybe_number("spot"),
        contracts=row.maybe_integer("contracts"),
        correlation=str(row.values.get("correlation") or ""),
        window=str(row.values.get("window") or ""),
    )


def read_account(row: Fields) -> AccountCheck:
    """An ``account`` row."""
    names = ("starting", "trades", "open_parts", "working", "shares", "interest")
    return AccountCheck(
        expected=row.number("expected"),
        cash=row.number("cash"),
        difference=row.number("difference"),
        unknown=row.integer("unknown"),
        terms={name: row.number(name) for name in names},
    )


def read_trade(row: Fields) -> Trade | UnknownTrade:
    """A ``trade_closed`` row; journals of version 0.1.0 name no part."""
    part = str(row.values.get("part") or "whole")
    if "profit" in row.values and row.values["profit"] is None:
        strategy, position = row.text("strategy"), row.text("position")
        return UnknownTrade(strategy, position, part, row.moment("closed"), row.text("reason"))
    return Trade(
        strategy=row.text("strategy"),
        position=row.text("position"),
        underlying=row.text("underlying"),
        structure=row.text("structure"),
        opened=row.moment("opened"),
        closed=row.moment("closed"),
        contracts=row.integer("contracts"),
        multiplier=row.number("multiplier"),
        legs=tuple(read_leg(leg) for leg in row.rows("legs")),
        credit=row.number("credit"),
        cash_in=row.number("cash_in"),
        cash_out=row.number("cash_out"),
        fees=row.number("fees"),
        profit=row.number("profit"),
        max_loss=row.maybe_number("max_loss"),
        exit_rule=row.text("exit_rule"),
        exit_reason=row.text("reason"),
        underlying_entry=row.maybe_number("underlying_entry"),
        underlying_exit=row.maybe_number("underlying_exit"),
        vix_entry=row.maybe_number("vix_entry"),
        vix_exit=row.maybe_number("vix_exit"),
        part=part,
        correlation=str(row.values.get("correlation") or ""),
        largest_loss=row.maybe_number("largest_loss"),
    )


def read_leg(row: Fields) -> TradeLeg:
    """One leg inside a ``trade_closed`` row."""
    right = row.text("right")
    if right not in ("call", "put"):
        raise JournalError(f"{row.place}: right is {right!r}; expected 'call' or 'put'")
    return TradeLeg(
        name=row.text("name"),
        ratio=row.integer("ratio"),
        strike=row.number("strike"),
        is_call=right == "call",
        expiry=row.day("expiry"),
        entry=row.number("entry"),
        exit=row.maybe_number("exit"),
    )


def read_equity(row: Fields) -> EquityPoint:
    """An ``equity`` row."""
    return EquityPoint(row.day("day"), row.number("equity"), row.maybe_integer("phase"), row.maybe_integer("positions"))


def read_fill(row: Fields) -> Fill:
    """A ``fill`` row."""
    return Fill(
        group=row.text("group"),
        position=row.text("position"),
        quantity=row.number("quantity"),
        price=row.number("price"),
        bid=row.maybe_number("bid"),
        ask=row.maybe_number("ask"),
        time=row.maybe_moment("time"),
        contract=str(row.values.get("contract") or ""),
        fee=row.maybe_number("fee") or 0.0,
    )


def read_order(row: Fields) -> OrderStep:
    """An ``order`` row."""
    legs = row.rows("legs") if row.values.get("legs") else ()
    return OrderStep(
        group=row.text("group"),
        purpose=str(row.values.get("purpose") or ""),
        action=row.text("action"),
        time=row.maybe_moment("time"),
        position=str(row.values.get("position") or ""),
        reason=str(row.values.get("reason") or ""),
        contracts=row.maybe_integer("contracts"),
        limit_cash=row.maybe_number("limit_cash"),
        legs=tuple((leg.text("name"), leg.integer("ratio")) for leg in legs),
        correlation=str(row.values.get("correlation") or ""),
    )


def read_risk(row: Fields) -> RiskNote:
    """A ``risk`` row."""
    return RiskNote(
        time=row.moment("time"),
        rule=row.text("rule"),
        severity=row.text("severity"),
        strategy=str(row.values.get("strategy") or ""),
        reason=row.text("reason"),
        limit=row.maybe_number("limit"),
        observed=row.maybe_number("observed"),
        correlation=str(row.values.get("correlation") or ""),
    )


def read_error(row: Fields) -> ErrorNote:
    """An ``error`` row."""
    return ErrorNote(row.moment("time"), row.text("component"), row.text("reason"), str(row.values.get("detail") or ""))


READERS: dict[str, Callable[[Fields], object]] = {
    "decision": read_decision,
    "trade_closed": read_trade,
    "account": read_account,
    "equity": read_equity,
    "interest": read_interest,
    "fill": read_fill,
    "order": read_order,
    "verdict": read_verdict,
    "exposure": read_exposure,
    "greeks": read_opening,
    "roll": read_roll,
    "risk": read_risk,
    "error": read_error,
    "standing": read_standing,
    "system": read_system,
}

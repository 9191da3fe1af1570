"""Exit rules that rows compose, a list for each part; of those that are due the most severe decides.

A stop never trades on one bad quote (methodology, section 5).

It is confirmed by the model, when the row would stop at the model's own values too, or by quotes that may be believed
and said so at two looks running. A deadline and an emergency need no confirmation: they do not come from a quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from core.book import DEADLINE, Position
from core.contracts import Contract, Right, Settlement
from core.gateway import Gateway, Session
from core.instruments import instrument_of
from core.parts import Part, Trait, Urgency, added
from core.settings.strategies import ExitSettings
from greeks.marks import Marks
from market.calendar import DividendDays, EventCalendar, ends_a_quarter
from market.freshness import TwoLooks
from strategies.base import Action, Close, Hold, HoldContext, Strategy

Rule = Callable[[Part, HoldContext], Close | None]

PositionRule = Callable[[Position, HoldContext], Close | None]
"""An exit of everything that a position holds."""

_URGENT_MINUTES = 10
URGENT_BEFORE = timedelta(minutes=_URGENT_MINUTES)
"""A time exit names the moment by which it is done: from so long before it does not wait (methodology, 6a)."""


def most_severe(rules: Iterable[Rule], part: Part, context: HoldContext) -> Close | None:
    """The answer that asks for most, the first of equals; ``None`` where no rule is due."""
    return severest(rule(part, context) for rule in rules)


def severest(answers: Iterable[Close | None]) -> Close | None:
    """The close that asks for most, the first of equals; ``None`` where there is none."""
    found: Close | None = None
    for answer in answers:
        if answer is not None and (found is None or answer.urgency.exceeds(found.urgency)):
            found = answer
    return found


def also(rule: Rule, *parts: str) -> Rule:
    """The rule, closing these parts with its own."""

    def wider(part: Part, context: HoldContext) -> Close | None:
        answer = rule(part, context)
        return None if answer is None else replace(answer, parts=(*(answer.parts or (part.name,)), *parts))

    return wider


def moment_of(session: Session, at: time, minutes_before_close: int) -> datetime:
    """A time of day, or so many minutes before the close, whichever is earlier: half days move it."""
    usual = datetime.combine(session.day, at)
    return min(usual, session.closes_at - timedelta(minutes=minutes_before_close))


def any_part(rule: Rule) -> PositionRule:
    """The rule, asked of each part, closing everything that the position holds."""

    def wider(position: Position, context: HoldContext) -> Close | None:
        answer = severest(rule(part, context) for part in position.parts)
        return None if answer is None else replace(answer, parts=())

    return wider


# Profit and loss, in points a package; a debit's are measured against what was paid


def profit_of_credit(share: float) -> Rule:
    """So much of the credit is gained (of a debit: as a multiple of what was paid)."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        profit = context.profit(part)
        if profit is None or profit < share * abs(part.credit):
            return None
        return Close("profit_target", f"{profit:.2f} of {abs(part.credit):.2f} points gained")

    return rule


def loss_of_credit(multiple: float) -> Rule:
    """The loss reaches a multiple of the credit (a share of what was paid); a stop crosses the spread."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        profit = context.profit(part)
        if profit is None or -profit < multiple * abs(part.credit):
            return None
        return Close("stop_loss", f"{-profit:.2f} points lost on {abs(part.credit):.2f}", Urgency.URGENT)

    return rule


profit_of_debit, loss_of_debit = profit_of_credit, loss_of_credit


def total_profit(share: float) -> PositionRule:
    """The open parts together gained so much of the credit that they were sold for."""

    def rule(position: Position, context: HoldContext) -> Close | None:
        profit, credit = _together(position, context)
        if profit is None or profit < share * credit:
            return None
        return Close("profit_target", f"{profit:.0f} of {credit:.0f} dollars gained")

    return rule


def total_loss(multiple: float) -> PositionRule:
    """The open parts together lost a multiple of the credit that they were sold for; a stop crosses the spread."""

    def rule(position: Position, context: HoldContext) -> Close | None:
        profit, credit = _together(position, context)
        if profit is None or -profit < multiple * credit:
            return None
        return Close("stop_loss", f"{-profit:.0f} dollars lost on {credit:.0f}", Urgency.URGENT)

    return rule


def _together(position: Position, context: HoldContext) -> tuple[float | None, float]:
    """Profit in dollars, ``None`` where a part's is unknown, and the credit that it is measured against.

    Of the open parts and what they brought at entry. Of a position that is being rolled, or that has lost a part, over
    its whole life: what went counts, against what the position has taken in so far, and at least what it was sold for
    before or its open parts brought. Else the side that stays would be stopped in the minute in which the other is
    rolled, or goes without another in its place. Where a price of what went is unknown, there are the open parts alone.
    """
    credit = abs(sum(part.entry_cash for part in position.parts))
    if (context.rolled_from is not None or position.realised) and (taken := position.cash) is not None:
        return context.total(position), max(taken, context.rolled_from or 0.0, credit)
    total: float | None = 0.0
    for part in position.parts:
        profit = context.profit(part)
        total = added(total, None if profit is None else profit * part.multiplier * part.contracts)
    return total, credit


# Where the underlying and the deltas stand


def near_strike(points: Callable[[Part], float]) -> Rule:
    """The underlying is within so many of its own points of the nearest short strike, or through it."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        shorts = [leg.contract for leg in part.legs if leg.ratio < 0]
        if context.spot is None or not shorts:
            return None
        gaps = [(context.spot - row.strike) * (1 if row.right is Right.PUT else -1) for row in shorts]
        near = points(part)
        if min(gaps) > near:
            return None
        reason = f"{min(gaps):g} points from the short strike, {near:g} is the least"
        return Close("near_strike", reason, Urgency.URGENT)

    return rule


def short_delta(limit: float) -> Rule:
    """A short leg's delta x 100 reaches the limit."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        worst = context.short_delta(part)
        if worst is None or worst < limit:
            return None
        return Close("short_delta", f"a short leg is at {worst:.1f} delta, {limit:g} is the limit", Urgency.URGENT)

    return rule


# Days and times


def days_to_expiry(days: int) -> Rule:
    """The 21 DTE exit and its like: no exception and no grace."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        left = (part.expiry - context.now.date()).days
        return Close("days_to_expiry", f"{left} days to expiry") if left <= days else None

    return rule


def early_profit(settings: ExitSettings) -> Rule:
    """Under 21 days over 25 % profit, under 7 days over 10 %: close (for parts that the 21 DTE exit spares)."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        profit = context.profit(part)
        if profit is None:
            return None
        days = (part.expiry - context.now.date()).days
        share = profit / abs(part.credit) if part.credit else 0.0
        near = days < settings.under_7_days and share > settings.profit_under_7_days
        if near or (days < settings.exit_days and share > settings.profit_under_21_days):
            return Close("early_profit", f"{share:.0%} gained with {days} days left")
        return None

    return rule


@dataclass(frozen=True, slots=True)
class TimeExit:
    """Close from a time of day on, earlier on half days; ``last_day_only``: on the nearest expiry's own day."""

    rule: str
    at: time
    minutes_before_close: int
    urgency: Urgency
    last_day_only: bool = False

    def __call__(self, part: Part, context: HoldContext) -> Close | None:
        """Due or not."""
        if self.last_day_only and part.expiry > context.now.date():
            return None
        if context.now < moment_of(context.session, self.at, self.minutes_before_close):
            return None
        return Close(self.rule, f"it is {context.now:%H:%M}", self.urgency)


def closing_time(at: time, minutes_before_close: int) -> TimeExit:
    """Close from a time on, by the usual walk."""
    return TimeExit("time_exit", at, minutes_before_close, Urgency.NORMAL)


def hard_deadline(at: time, minutes_before_close: int) -> TimeExit:
    """Done by a time, whatever it costs, so that it closes from ten minutes before it (methodology, 6a)."""
    return TimeExit(DEADLINE, *_earlier(at, minutes_before_close), Urgency.FINAL)


def last_day(at: time, minutes_before_close: int = 30) -> TimeExit:
    """On the day of expiry: done by a time of day, so that it is urgent from ten minutes before it."""
    return TimeExit("last_day", *_earlier(at, minutes_before_close), Urgency.URGENT, last_day_only=True)


def _earlier(at: time, minutes_before_close: int) -> tuple[time, int]:
    """A time of day, and the minutes before the close, by which something is done: when that becomes urgent."""
    moment = datetime.combine(date.max, at) - URGENT_BEFORE
    return moment.time() if moment.date() == date.max else time(), minutes_before_close + _URGENT_MINUTES


_LAST_RESORT = timedelta(minutes=40)  # before the close: 15:20, when a deadline of 15:30 is urgent


def last_resort(position: Position, now: datetime, session: Session) -> Action:
    """What is done about a position whose strategy fails: it is not carried into the close of its last day."""
    left = Trait.HELD_BY_PERSON in position.traits or position.expiry > session.day
    if left or now < session.closes_at - _LAST_RESORT:
        return Hold()
    parts = tuple(part.name for part in position.parts if part.expiry <= session.day)
    return Close(DEADLINE, "its strategy fails, and it ends today", Urgency.FINAL, parts)


_ENDS_BEFORE = timedelta(minutes=60)
_FINAL_BEFORE = timedelta(minutes=30)
_ENDS_EARLY = (Settlement.CASH_MORNING, Settlement.PHYSICAL_FUTURE)  # before the close of their day


class ContractEnds:
    """What has to go before its contract does something that nobody asked for, whatever row holds it.

    An option on a future is closed before its last trading moment, one that settles in the morning in the session
    before (LEAN settles it at Friday's close: lean-facts 7.3). A short call on shares in the money, its time value
    under the coming dividend, is closed in the session before the ex-date: its holder exercises it. Boxes are a
    person's. Dividends by what was paid (``DividendDays``), else a quarter of the year's yield, ex on the third Friday
    of March, June, September, December (SPY; State Street's rule) or the Monday after.
    """

    def __init__(self, gateway: Gateway, calendar: EventCalendar, marks: Marks) -> None:
        self._gateway = gateway
        self._calendar = calendar
        self._marks = marks
        self._dividends = DividendDays(gateway, calendar)

    def due(self, position: Position, context: HoldContext) -> Iterator[Close]:
        """What is to be closed now, part by part."""
        for part in position.parts:
            if Trait.HELD_BY_PERSON in part.terms.traits:
                continue
            early = [leg.contract for leg in part.legs if leg.contract.settlement in _ENDS_EARLY]
            last = min(map(self._last_moment, early)) if early else None
            if last is not None and context.now >= last - _ENDS_BEFORE:
                urgency = Urgency.FINAL if context.now >= last - _FINAL_BEFORE else Urgency.URGENT
                yield Close(
                    "contract_ends", f"its last moment to trade is {last:%Y-%m-%d %H:%M}", urgency, (part.name,)
                )
            elif context.now >= context.session.closes_at - _ENDS_BEFORE:
                shorts = (leg.contract for leg in part.legs if leg.ratio < 0)
                found = next((contract for contract in shorts if self._is_called(contract, context)), None)
                if found is not None:
                    words = f"{found.name} has less time value than the dividend that comes"
                    yield Close("dividend", words, Urgency.URGENT, (part.name,))

    @staticmethod
    def may_be_called(position: Position) -> bool:
        """Whether a short call on shares is held: in the last hour its time value is asked for."""
        return any(leg.ratio < 0 and _is_on_shares(leg.contract) for leg in position.legs)

    def _last_moment(self, contract: Contract) -> datetime:
        """When the last session ends in which a contract that ends before its day's close is traded in peace."""
        session = self._calendar.session(contract.expiry)
        ends = datetime.combine(contract.expiry, instrument_of(contract).last_trading)
        if session is not None and ends - _ENDS_BEFORE >= session.opens_at + _FINAL_BEFORE:
            return min(ends, session.closes_at)
        return self._calendar.previous_session(contract.expiry).closes_at

    def _is_called(self, contract: Contract, context: HoldContext) -> bool:
        """Whether its holder gains by exercising it tonight; what is unknown of one in the money counts so."""
        shares = _is_on_shares(contract)
        ticker, day = contract.underlying.ticker, self._calendar.next_session(context.session.day).day
        tick = self._gateway.tick(contract.underlying.price_key) if shares else None
        told = self._dividends.due(ticker, day) if shares else 0.0
        if told == 0.0 or (told is None and not ends_a_quarter(day)):
            return False
        if tick is None or tick.price <= contract.strike:
            return tick is None
        dividend = self._marks.dividend_yield(ticker) * tick.price / 4 if told is None else told
        quote = self._gateway.quote(contract)
        if quote is None or quote.bid is None or quote.ask is None:
            return dividend > 0
        return (quote.bid + quote.ask) / 2 - (tick.price - contract.strike) < dividend


def _is_on_shares(contract: Contract) -> bool:
    """Whether it is a call that is exercised for shares."""
    return contract.settlement is Settlement.PHYSICAL_SHARES and contract.right is Right.CALL


_APART = timedelta(seconds=90)  # what may become due is looked at every minute


class StopGuard:
    """Remembers what was seen a minute ago."""

    def __init__(self, gateway: Gateway, marks: Marks) -> None:
        self._gateway = gateway
        self._marks = marks
        self._looks = TwoLooks(_APART)

    def confirmed(self, strategy: Strategy, position: Position, action: Action, context: HoldContext | None) -> bool:
        """Whether an action may be taken now; everything but an urgent close may. ``context``: what the row saw."""
        if not isinstance(action, Close) or action.urgency is not Urgency.URGENT or context is None:
            return True
        now = self._gateway.now()
        parts = position.chosen(action.parts)
        usable = all(self._marks.believed(part.legs, now) for part in parts)
        key = f"{position.id} {action.rule} {' '.join(part.name for part in parts)}"
        return self._looks.confirmed(key, now, usable, self._agrees(strategy, position, action, context))

    def _agrees(self, strategy: Strategy, position: Position, action: Close, context: HoldContext) -> bool | None:
        """Whether the row would do the same at the model's values; ``None`` where they are not known."""
        values = {part.name: self._marks.model_value_of(part) for part in position.parts}
        if any(values[part.name] is None for part in position.chosen(action.parts)):
            return None
        tick = self._gateway.tick(position.underlying.price_key)
        answer = strategy.manage(position, replace(context, values=values, spot=None if tick is None else tick.price))
        answers = answer if isinstance(answer, tuple) else (answer,)
        return any(isinstance(one, Close) and one.rule == action.rule for one in answers)

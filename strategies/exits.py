"""Exit rules that strategies compose; the first that answers decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, time, timedelta

from core.book import DEADLINE, Position
from core.gateway import Session
from core.parts import Part, Urgency
from core.settings.strategies import ExitSettings
from strategies.base import Action, Close, Hold, HoldContext

Rule = Callable[[Part, HoldContext], Close | None]


def first_of(rules: Iterable[Rule], position: Position, context: HoldContext) -> Action:
    """The first rule's answer for a position of one part, or hold."""
    for rule in rules:
        action = rule(position.parts[0], context)
        if action is not None:
            return action
    return Hold()


def moment_of(session: Session, at: time, minutes_before_close: int) -> datetime:
    """A time of day, or so many minutes before the close, whichever is earlier: half days move it."""
    usual = datetime.combine(session.day, at)
    return min(usual, session.closes_at - timedelta(minutes=minutes_before_close))


def profit_target(share: float) -> Rule:
    """Take profit when so much of the credit (or of the debit, as a multiple) is gained."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        profit = context.profit(part)
        wanted = share * abs(part.credit)
        if profit is None or profit < wanted:
            return None
        return Close("profit_target", f"{profit:.2f} of {abs(part.credit):.2f} points gained")

    return rule


def stop_loss(multiple: float) -> Rule:
    """Close when the loss reaches a multiple of the credit; crossing the spread, a stop does not wait."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        profit = context.profit(part)
        if profit is None or -profit < multiple * abs(part.credit):
            return None
        return Close("stop_loss", f"{-profit:.2f} points lost on {abs(part.credit):.2f}", Urgency.URGENT)

    return rule


def closing_time(at: time, minutes_before_close: int) -> Rule:
    """Close from a time on, by the usual walk."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        moment = moment_of(context.session, at, minutes_before_close)
        return Close("time_exit", f"it is {context.now:%H:%M}") if context.now >= moment else None

    return rule


def hard_deadline(at: time, minutes_before_close: int) -> Rule:
    """Close from a time on whatever it costs."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        if context.now < moment_of(context.session, at, minutes_before_close):
            return None
        return Close(DEADLINE, f"it is {context.now:%H:%M}", Urgency.FINAL)

    return rule


def days_to_expiry(settings: ExitSettings) -> Rule:
    """The 21 DTE exit, and taking smaller profits under 21 and 7 days; no exception and no grace."""

    def rule(part: Part, context: HoldContext) -> Close | None:
        days = (part.expiry - context.now.date()).days
        if days <= settings.exit_days:
            return Close("days_to_expiry", f"{days} days to expiry")
        return None

    return rule


def early_profit(settings: ExitSettings) -> Rule:
    """Under 21 days over 25 % profit, under 7 days over 10 %: close (for positions that the 21 DTE exit spares)."""

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

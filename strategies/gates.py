"""When a row looks: on which days an entry is due, and what decides then: the VIX, the IV rank, the trend, free places.

Days: weekdays, nth weekdays of a month, by phase. Methodology, 6a: a window on a closed day moves to the next open day
of the same week, else it is lost and journalled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

from core.instruments import Group, group_of
from core.settings.strategies import FuturesStrangleSettings, StrategySettings
from market.trend import Trend
from strategies.base import EntryContext, Skip, Wait
from strategies.look import Look

Gate = Callable[[Look], Skip | Wait | None]
VixGate = Callable[[EntryContext], Skip | Wait | None]


def vix_window(own: StrategySettings, *, above: bool = False) -> VixGate:
    """The row's VIX window; without a fresh VIX it waits. ``above``: the lower bound itself is outside.

    It is judged again at each step of an entry's walk, so it needs the context alone.
    """

    def gate(context: EntryContext) -> Skip | Wait | None:
        if context.vix is None:
            return Wait("vix_missing", "no VIX that is fresh enough")
        vix = context.vix.value
        if own.min_vix > 0 and (vix < own.min_vix or (above and vix <= own.min_vix)):
            words = "not above" if above else "under"
            return Skip("vix_window", f"VIX {vix:.2f} is {words} {own.min_vix:g}", own.min_vix, vix)
        if vix > own.max_vix:
            return Skip("vix_window", f"VIX {vix:.2f} is above {own.max_vix:g}", own.max_vix, vix)
        return None

    return gate


def free_place(most: int) -> Gate:
    """Fewer positions of the row than this are open or on their way."""

    def gate(look: Look) -> Skip | None:
        count = sum(1 for row in look.tools.book.exposed() if row.strategy == look.row.name)
        if count < most:
            return None
        return Skip("places", f"{count} of {most} positions of this row are open", float(most), float(count))

    return gate


def phase_places(own: StrategySettings) -> Gate:
    """Fewer positions of the row are open than its phase allows."""

    def gate(look: Look) -> Skip | Wait | None:
        return free_place(own.contracts_by_phase[look.phase - 1])(look)

    return gate


def not_held(look: Look) -> Skip | None:
    """The row holds nothing on the underlying that it looks at."""
    ticker = look.instrument.underlying
    for row in look.tools.book.exposed():
        if row.strategy == look.row.name and row.underlying.ticker == ticker:
            return Skip("held", f"{row.id} already holds {ticker}", 1.0, 1.0)
    return None


_EQUITY = frozenset({Group.EQUITY_FUTURES, Group.EQUITY_OPTIONS})


def not_beside(strategy: str) -> Gate:
    """No position of another row stands in the same correlation group; those of equity futures and options are one."""

    def gate(look: Look) -> Skip | None:
        group = group_of(look.instrument.underlying)
        groups = _EQUITY if group in _EQUITY else {group}
        for row in look.tools.book.exposed():
            if row.strategy == strategy and group_of(row.underlying.ticker) in groups:
                return Skip("beside", f"{row.id} stands in the same group", 1.0, 1.0)
        return None

    return gate


def iv_rank(own: FuturesStrangleSettings) -> Gate:
    """Volatility stands high in its year, by the closes of the options that are looked at.

    Unknown denies, with the number of closes that are known.
    """

    def gate(look: Look) -> Skip | None:
        root = look.root
        found = look.tools.ranks.rank(root, look.today)
        if found.rank is None:
            why = f"{found.known} closes of {root}'s volatility are known to this day, {own.rank_least_days} are needed"
            return Skip("history", why, float(own.rank_least_days), float(found.known))
        if found.rank > own.min_iv_rank:
            return None
        why = f"{root}'s rank is {found.rank:.0%}, not over {own.min_iv_rank:.0%}"
        return Skip("iv_rank", why, own.min_iv_rank, found.rank)

    return gate


def trend_allows(judge: Callable[[Trend, Look], Skip | None]) -> Gate:
    """A row's own word on the trend of what it looks at; without enough history the look ends."""

    def gate(look: Look) -> Skip | None:
        return judge(look.trend(look.instrument.underlying), look)

    return gate


MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = range(5)
_ALL_WEEK = (MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)

IsOpen = Callable[[date], bool]


@dataclass(frozen=True, slots=True)
class DayRule:
    """Weekdays (Monday is 0), of these the nth of a month (``which``, from 1; empty: every one).

    ``later`` takes its place from the account's phase ``phase`` on.
    """

    weekdays: tuple[int, ...]
    which: tuple[int, ...] = ()
    phase: int = 0
    later: DayRule | None = None

    def from_phase(self, phase: int, rule: DayRule) -> DayRule:
        """This rule, and another one from a phase on."""
        return replace(self, phase=phase, later=rule)

    def names(self, day: date, phase: int) -> bool:
        """Whether it names a day, whatever the exchange does."""
        if self.later is not None and phase >= self.phase:
            return self.later.names(day, phase)
        return day.weekday() in self.weekdays and (not self.which or (day.day - 1) // 7 + 1 in self.which)

    def is_due(self, day: date, phase: int, is_open: IsOpen) -> bool:
        """Whether an entry is due: on a day it names, or on the first open day after closed ones that it names.

        A day that it names and whose week has no open day left is due too: it is lost, and somebody must say so.
        """
        if not is_open(day):
            rest = (day + timedelta(days=ahead) for ahead in range(1, FRIDAY - day.weekday() + 1))
            return self.names(day, phase) and not any(is_open(later) for later in rest)
        if self.names(day, phase):
            return True
        before = day - timedelta(days=1)
        while before.weekday() < day.weekday() and not is_open(before):
            if self.names(before, phase):
                return True
            before -= timedelta(days=1)
        return False


def every(*weekdays: int) -> DayRule:
    """Every one of these weekdays."""
    return DayRule(weekdays)


def nth(which: int, weekday: int) -> DayRule:
    """The nth such weekday of each month, from 1."""
    return DayRule((weekday,), (which,))


def first(weekday: int) -> DayRule:
    """The first such weekday of each month."""
    return nth(1, weekday)


def second(weekday: int) -> DayRule:
    """The second such weekday of each month."""
    return nth(2, weekday)


def weeks(which: tuple[int, ...], weekday: int) -> DayRule:
    """Such a weekday in these weeks of the month, by its number in the month."""
    return DayRule((weekday,), which)


def any_day() -> DayRule:
    """Every trading day."""
    return DayRule(_ALL_WEEK)

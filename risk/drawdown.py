"""The distance from the equity peak, as states with exits: half size, no entries, close, pause, disable.

Whatever is true at a minute is acted on at that minute. Losses of 10 and 30 % are measured from the true peak, always;
those of 15 and 20 % from the equity at the end of the last pause, once there was one (methodology, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from core.book import Book
from core.events import Event, MinutePassed, RiskThreshold, SessionClosed, SessionOpened, Severity
from core.settings.fields import DrawdownSettings
from risk.equity import SteadyEquity
from risk.memory import mapping, moment, number, truth
from risk.proposal import MOST_DOLLARS, Allow, Deny, Proposal, RiskContext, RiskPlugin, Scope, Verdict, Wanted

_NEAR = 0.01  # of equity
LEAST_MEASURED: Final = 2_000.0
"""Dollars under which no margin account may sell an option (FINRA rule 4210): what moves there is no performance."""


class DrawdownPlugin(RiskPlugin):
    """Steps down with the distance from the peak."""

    name = "drawdown"
    order = 50
    watches = (MinutePassed, SessionOpened, SessionClosed)

    def __init__(self, equity: SteadyEquity, book: Book, settings: DrawdownSettings) -> None:
        self._equity = equity
        self._book = book
        self._settings = settings
        self.peak = 0.0
        self._base: float | None = None
        self._paused_until: datetime | None = None
        self._disabled = False
        self._reset_at: float | None = None
        self._left: float | None = None
        """What the account was worth when nearly all of it was taken out: until it is back, nothing is measured."""
        self._flat_since: datetime | None = None
        self._depths = (0.0, 0.0)

    # What others ask

    def drawdown(self, equity: float) -> float:
        """Distance of an equity from the true peak as a fraction, zero or positive; NaN stays NaN.

        Asking moves no peak: only what is measured does, by marks that outlive a bad quote.
        """
        return _depth(self._measured(equity), self.peak)

    def _measured(self, equity: float) -> float:
        """The equity that stands for the account: while it is emptied, what it was worth before."""
        return equity if self._left is None or equity != equity else self._left

    def size_factor(self, equity: float) -> float:
        """Half while the drawdown from the true peak is 10 % or unknown: so also after a pause, until it is under."""
        return 1.0 if self.drawdown(equity) < self._settings.halve_at else 0.5

    @property
    def locked(self) -> str | None:
        """Why everything is closed and stays so, or ``None``."""
        if self._disabled:
            return f"disabled at {self._settings.disable_at:.0%} below the peak until a person resets it"
        return None if self._paused_until is None else f"drawdown, paused until {self._paused_until:%Y-%m-%d %H:%M}"

    def judge(self, proposal: Proposal, context: RiskContext) -> Verdict:
        """Deny while disabled, paused, or 15 % down; and while nobody knows what the account is worth."""
        settings, (true_depth, depth) = self._settings, self._seen(context)
        if true_depth != true_depth or self.peak <= 0.0:
            return Deny(self.name, f"equity {context.account.equity} and peak {self.peak} tell no drawdown")
        if self._disabled:
            return Deny("drawdown_disabled", "disabled until a person resets it", settings.disable_at, true_depth)
        if self._paused_until is not None and context.now < self._paused_until:
            reason = f"paused until {self._paused_until:%Y-%m-%d}"
            return Deny("drawdown_pause", reason, settings.close_all_at, depth)
        if depth >= settings.stop_entries_at:
            return Deny(self.name, f"{depth:.1%} below the peak", settings.stop_entries_at, depth)
        return Allow(self.name)

    def _seen(self, context: RiskContext) -> tuple[float, float]:
        equity = self._measured(context.account.equity)
        true_depth = self.drawdown(equity)
        return true_depth, true_depth if self._base is None else _depth(equity, max(self._base, equity))

    def reset(self) -> bool:
        """A person's word after 30 %: trade again, at half size; the peak stays. Whether there was anything to lift."""
        if not self._disabled:
            return False
        value = self._equity.value
        self._disabled, self._paused_until = False, None
        self._reset_at = self._base = None if value is None else self._measured(value)
        return True

    # What happens

    def observe(self, event: Event) -> Iterable[RiskThreshold]:
        """Measure each minute that something may be held, and at opens and closes."""
        if not isinstance(event, MinutePassed | SessionOpened | SessionClosed):
            return ()
        value = self._equity.look(event.time).value
        if value is None:
            return ()
        self._measure(value, event.time)
        return (self._threshold(event),)

    def _measure(self, equity: float, now: datetime) -> None:
        settings = self._settings
        if self._left is not None and equity >= LEAST_MEASURED:
            self._scale(equity / self._left)  # it is back, whoever told of it
            self._left = None
        equity = self._measured(equity)
        if self._paused_until is not None and now >= self._paused_until and not self._disabled:
            self._paused_until, self._base = None, equity
        if equity < MOST_DOLLARS:  # a peak that no account of ours can have would close everything a minute later
            self.peak = max(self.peak, equity)
        true_depth = self.drawdown(equity)
        if self._base is not None:
            self._base = max(self._base, equity)
        depth = true_depth if self._base is None else _depth(equity, self._base)
        self._depths = (true_depth, depth)
        self._disable(equity, true_depth)
        if depth >= settings.close_all_at and self._paused_until is None:
            self._paused_until = now + timedelta(days=settings.pause_days)
        self._rest(equity, depth, now)

    def _disable(self, equity: float, depth: float) -> None:
        """At 30 %; after a person's reset at another 30 % of what there was then, or once it had been less."""
        if depth < self._settings.disable_at:
            self._reset_at = None
        elif self._reset_at is None or _depth(equity, self._reset_at) >= self._settings.disable_at:
            self._disabled = True

    def _rest(self, equity: float, depth: float, now: datetime) -> None:
        """So many days flat between 15 and 20 % count as a pause."""
        settings = self._settings
        flat = not (self._book.positions or self._book.pending or self._book.shares)
        if not flat or not settings.stop_entries_at <= depth < settings.close_all_at or self._paused_until is not None:
            self._flat_since = None
            return
        self._flat_since = self._flat_since or now
        if now - self._flat_since >= timedelta(days=settings.pause_days):
            self._flat_since, self._base = None, equity

    def _threshold(self, event: Event) -> RiskThreshold:
        settings, (true_depth, depth) = self._settings, self._depths
        if self._disabled:
            severity, limit, depth = Severity.EMERGENCY, settings.disable_at, true_depth
        elif depth >= settings.close_all_at or self._paused_until is not None:
            severity, limit = Severity.EMERGENCY, settings.close_all_at
        elif depth >= settings.stop_entries_at:
            severity, limit = Severity.BREACH, settings.stop_entries_at
        else:
            severity = Severity.WARNING if true_depth >= settings.halve_at else Severity.NORMAL
            limit, depth = settings.halve_at, true_depth
        return RiskThreshold(time=event.time, rule=self.name, severity=severity, limit=limit, observed=depth)

    @property
    def rests(self) -> bool:
        """No level that closes anything is within a percent of equity, and none is passed."""
        settings = self._settings
        levels = (settings.halve_at, settings.stop_entries_at, settings.close_all_at, settings.disable_at)
        near = any(level - _NEAR <= depth for level in levels[1:] for depth in self._depths)
        return not near and not self._disabled and self._paused_until is None

    def wanted(self, now: datetime) -> Iterable[Wanted]:
        """Everything gone while disabled or paused; the losing positions from 15 % on."""
        settings, (true_depth, depth) = self._settings, self._depths
        if self._disabled:
            return (Wanted(self.name, Scope.ALL, settings.disable_at, true_depth),)
        if self._paused_until is not None:
            return (Wanted(self.name, Scope.ALL, settings.close_all_at, depth),)
        if depth >= settings.stop_entries_at:
            return (Wanted(self.name, Scope.LOSING, settings.stop_entries_at, depth),)
        return ()

    def cash_moved(self, amount: float) -> bool:
        """What was paid in or taken out is no gain and no loss: the peaks move with it, by the same share.

        Of an account that was emptied the figures stay as they were, and go on with what is paid in again.
        """
        value = self._equity.value
        if value is None or (self._left is None and value <= amount):
            return False  # what is gone was lost: no payment makes it less
        before = value - amount if self._left is None else self._left
        emptied = value < LEAST_MEASURED and (self._left is not None or amount < 0.0)
        self._left = before if emptied else None
        if not emptied:
            self._scale(value / before)
        return True

    def _scale(self, share: float) -> None:
        self.peak *= share
        self._base = None if self._base is None else self._base * share
        self._reset_at = None if self._reset_at is None else self._reset_at * share

    # Over restarts

    def memory(self) -> Mapping[str, object]:
        """Everything that limits, in JSON types."""
        return {
            "peak": self.peak,
            "base": self._base,
            "paused_until": self._paused_until,
            "disabled": self._disabled,
            "reset_at": self._reset_at,
            "left": self._left,
            "account": self._equity.memory(),
            "flat_since": self._flat_since,
        }

    def restore(self, row: Mapping[str, object]) -> None:
        """Go on with what the last process knew. Raises ``ValueError`` for what cannot be true."""
        self.peak = number(row, "peak", 0.0) or 0.0
        self._base = number(row, "base", 0.0)
        self._paused_until, self._flat_since = moment(row, "paused_until"), moment(row, "flat_since")
        self._disabled = truth(row, "disabled")
        self._reset_at = number(row, "reset_at", 0.0)
        self._left = number(row, "left", 0.0) or None
        self._equity.restore(mapping(row.get("account", {})))


def _depth(equity: float, peak: float) -> float:
    """Loss from a peak as a fraction, zero or positive; NaN stays NaN."""
    if equity != equity:  # NaN
        return equity
    return max(round(1.0 - equity / peak, 9), 0.0) if peak > 0.0 else 0.0

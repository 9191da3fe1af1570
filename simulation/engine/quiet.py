"""Minutes in which nothing but `on_data` can happen: nothing is held, ordered, scheduled, consolidated or due.

Most minutes of a run are such ones. What the kernel's step looks at each time is looked at once for a stretch of them;
the minute in which the algorithm does something ends its stretch, and the kernel finishes it as every other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime

from simulation.account.portfolio import SecurityPortfolioManager
from simulation.engine.faces import Consolidates, Samples
from simulation.engine.schedule import Scheduler
from simulation.engine.views import Views
from simulation.lean.clock import FOREVER, MINUTE_MS
from simulation.lean.symbols import Symbol
from simulation.orders.order_event import OrderEvent
from simulation.orders.transaction_handler import TransactionHandler
from simulation.securities.derivatives import SecurityManager
from simulation.securities.paths import PricePath, SumPath
from simulation.securities.slices import Slice

MARGIN_CALL_MS = 5 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
RUIN_SHARE = 0.5
"""Below this share of its best value the portfolio is checked for ruin at every slice, above it every five minutes."""
MOST_SUMS = 256
"""Of whose prices over a day the sums are kept."""
Weights = tuple[tuple[Symbol, float], ...]
"""Symbols, each with how much of its price counts in a sum."""
_Sum = tuple[SumPath, list[PricePath], int]
"""The path of a sum, those that it is of, and how many of any security had been replaced when it was looked up."""
Rest = tuple[datetime, tuple[tuple[Weights, float, float], ...]]
Rests = Callable[[], Rest | None]
"""An algorithm's `rests_while`: until when, by its own clock, and while which sums of prices stay between their bounds,
its `on_data` does nothing; None where each slice has to be shown (decision 080)."""


class QuietMinutes(Views):
    """The part of the kernel that passes quiet minutes."""

    portfolio: SecurityPortfolioManager
    handler: TransactionHandler
    samples: Samples
    consolidators: Consolidates
    scheduler: Scheduler
    data_ms: int
    securities: SecurityManager

    def __init__(self) -> None:
        super().__init__()
        self.is_warming_up = False
        self.stop_reason: str | None = None
        self.order_events: list[OrderEvent] = []
        self._leaving: list[Symbol] = []
        self._next_sample_ms = self._next_value_ms = self._next_margin_ms = self._next_hour_ms = 0
        self._best_value = 0.0
        self._on_data: Callable[[Slice], object] | None = None
        self._rests: Rests | None = None
        self._sums: dict[Weights, _Sum] = {}
        self._known_rest: tuple[Rest, int, int] | None = None

    def stop(self, reason: str) -> None:
        """Ends the run before the next event."""
        self.stop_reason = reason

    def _worth_something(self, ms: int) -> bool:
        """A portfolio that is worth nothing ends the run (AlgorithmManager.cs:213)."""
        value = self.portfolio.total_portfolio_value
        self._best_value = max(self._best_value, value)
        self._next_value_ms = ms + 1 if value < RUIN_SHARE * self._best_value else ms + MARGIN_CALL_MS
        if value <= 0:
            self.stop("Portfolio value is less than or equal to zero, stopping algorithm.")
        return bool(value > 0)

    def _quiet_until(self, special: int) -> int:
        """The first instant that is not quiet, as far as can be seen now; 0 where no minute is."""
        if (
            self.is_warming_up
            or self.stop_reason is not None
            or self.subscriptions.changed
            or self.consolidators.active
            or self._leaving
            or self._is_trading()
        ):
            return 0
        due = min(special, self.scheduler.next_ms, self._next_hour_ms, self._next_sample_ms + 1)
        return min(due, self.samples.quiet_until(self.snapshot()))

    def _is_trading(self) -> bool:
        """Whether anything is held or ordered, or a trade is still open in the statistics."""
        portfolio = self.portfolio
        return bool(portfolio.invested_securities or portfolio.trade_builder.is_open or self.handler.has_work())

    def _pass_quiet(self, times: list[int], position: int, until: int) -> tuple[int, bool]:
        """Passes the minutes from `times[position]` on that lie before `until`.

        Gives where the next one stands, and whether the algorithm did something in the last: that one is to be
        finished.
        """
        scheduler, subscriptions, consolidators = self.scheduler, self.subscriptions, self.consolidators
        snapshot, on_data, handler, portfolio = self.snapshot(), self._on_data, self.handler, self.portfolio
        held = portfolio.invested_securities
        state = (scheduler.next_ms, subscriptions.epoch, handler.total_orders)
        purse = None  # the first minute is always seen
        while position < len(times) and (ms := times[position]) < until and self.stop_reason is None:
            position += 1
            if ms >= self._next_value_ms and not self._worth_something(ms):
                break
            if ms >= self._next_margin_ms:
                self._next_margin_ms = ms + MARGIN_CALL_MS
            self.utc_ms = self.data_ms = ms
            self._slice_of = (ms, True)
            if on_data is None:
                self._slice = None
            else:
                moment = self._slice = Slice(self, ms, snapshot, True)
                on_data(moment)
                if (
                    (scheduler.next_ms, subscriptions.epoch, handler.total_orders) != state
                    or subscriptions.changed
                    or held
                    or consolidators.active
                    or self.stop_reason is not None
                    or handler.has_work()
                ):
                    return position, True
            if purse is None or portfolio.purse() != purse:
                purse = portfolio.purse()
                self.samples.see()
            elif self._rests is not None and on_data is not None:
                position = self._leave_out(times, position, until, self._rests)
        return position, False

    def _leave_out(self, times: list[int], position: int, until: int, rests: Rests) -> int:
        """Passes the minutes of which the algorithm says that it does nothing; gives where the next one stands.

        Each is as one whose `on_data` did nothing: the account is looked at for ruin and margin when it would be.
        """
        stop = self._rested(times, position, until, rests)
        while (place := bisect_left(times, self._next_value_ms, position, stop)) < stop:
            if not self._worth_something(times[place]):
                stop = place + 1
        while (place := bisect_left(times, self._next_margin_ms, position, stop)) < stop:
            self._next_margin_ms = times[place] + MARGIN_CALL_MS
        self._pass_to(times, position, stop)
        return stop

    def _rest_held(self, times: list[int], position: int, special: int) -> int:
        """The same while something is held and nothing ordered, up to the next look for margin or assignment.

        Where nothing that is held takes margin no call for it can come, and none is looked for.
        """
        rests, handler = self._rests, self.handler
        if rests is None or self._on_data is None or position == len(times) or handler.has_work():
            return position
        if self.is_warming_up or self._leaving or self.consolidators.active or self.stop_reason is not None:
            return position
        called = not self.portfolio.is_never_called
        hour = (self.utc_ms // HOUR_MS + 1) * HOUR_MS
        until = min(special, self.scheduler.next_ms, self._next_hour_ms, self._next_sample_ms + 1, hour)
        until = min(until, self._next_margin_ms if called else FOREVER, self.samples.weighs_at)
        if times[position] >= until:
            return position
        stop, held = self._rested(times, position, until, rests), True
        if position < stop and self._follow_safely(times, position, stop):
            position = stop
        while position < stop and held:
            if times[position] >= self._next_value_ms and not self._worth_something(times[position]):
                break
            part = bisect_left(times, self._next_value_ms, position, stop)
            held = self._follow(times, position, part)
            position = part if held else position
        while self._next_margin_ms <= times[position - 1]:
            self._next_margin_ms = times[bisect_left(times, self._next_margin_ms, 0, position)] + MARGIN_CALL_MS
        return position

    def _follow_safely(self, times: list[int], position: int, stop: int) -> bool:
        """The same as all looks for ruin in a stretch, seen at once, and its minutes passed; false, with none passed,
        where the account must be valued at each, or is near the share below which every slice is looked at."""
        seen, due, place = list[int](), self._next_value_ms, position
        while (place := bisect_left(times, due, place, stop)) < stop:
            seen.append(self.data_ms if place == position else times[place - 1])  # at each the minute before is known
            due = times[place] + MARGIN_CALL_MS
        worth = self.samples.worth_at(seen) if seen else (self._best_value, self._best_value)
        if worth is None or worth[0] < RUIN_SHARE * max(self._best_value, worth[1]) or worth[0] <= 0:
            return False
        if not self._follow(times, position, stop):
            return False
        self._best_value, self._next_value_ms = max(self._best_value, worth[1]), due
        return True

    def _follow(self, times: list[int], position: int, stop: int) -> bool:
        """Passes minutes in which nothing but prices changes; false, with none passed, where each is to be stepped."""
        if not self.samples.follow(times[position:stop]):
            return False
        if (watch := self.samples.watcher(self.snapshot())) is not None:
            for place in range(position, stop):
                self._pass_to(times, place, place + 1)
                watch()
        self._pass_to(times, position, stop)
        return True

    def _rested(self, times: list[int], position: int, until: int, rests: Rests) -> int:
        """Where the first minute stands, of those before an instant, of which the algorithm does not say that."""
        found = rests()
        if found is None:
            return position
        now, broken, known = times[position], self.securities.broken_paths, self._known_rest
        if known is None or known[0] is not found or known[1] != broken or now >= known[2]:
            left = self._left_at(found, now)
            known = self._known_rest = (found, self.securities.broken_paths, left)
        return bisect_left(times, min(until, known[2]), position)

    def _still_rests(self) -> bool:
        """Whether the algorithm still says what it said of a rest that lasts until after this instant: a whole step
        then leaves its `on_data` out, too."""
        known, rests, ms = self._known_rest, self._rests, self.data_ms
        if known is None or rests is None or ms >= known[2] or known[1] != self.securities.broken_paths:
            return False
        return rests() is known[0]

    def _left_at(self, rest: Rest, now: int) -> int:
        """From which instant on, seen from one at which it is asked, a rest is over or not known to last."""
        over = self._instant(rest[0])
        for weights, low, high in rest[1]:
            if len(weights) == 1 and weights[0][1] == -1.0:  # a short contract: its price itself, seen from below
                weights, low, high = ((weights[0][0], 1.0),), -high, -low
            path = self._path(weights, now) if now < over else None
            if path is None:
                return now
            over = min(over, path.high + 1)
            over = min(over, path.leaves(low, high, now, over - 1))
        return over

    def _path(self, weights: Weights, ms: int) -> PricePath | SumPath | None:
        """The path of a sum around an instant, made once for the paths that it is of; None where one has none."""
        if len(weights) == 1 and weights[0][1] == 1.0:
            return self.securities[weights[0][0]].price_path(ms)
        known, broken = self._sums.get(weights), self.securities.broken_paths
        if known is not None and known[2] == broken and known[0].low < ms <= known[0].high:
            return known[0]
        found = [self.securities[symbol].price_path(ms) for symbol, _ in weights]
        paths = [path for path in found if path is not None]
        if len(paths) != len(found):
            return None
        same = known is not None and known[1] == paths
        path = known[0] if known is not None and same else SumPath(paths, [weight for _, weight in weights])
        if len(self._sums) >= MOST_SUMS:
            self._sums.clear()
        self._sums[weights] = (path, paths, broken)
        return path

    def _pass_to(self, times: list[int], position: int, stop: int) -> None:
        """Moves the clock to the last of these minutes."""
        if position < stop:
            self.utc_ms = self.data_ms = times[stop - 1]
            self._slice, self._slice_of = None, (times[stop - 1], True)

    def _instant(self, moment: datetime) -> int:
        return FOREVER if moment == datetime.max else self.zone.utc_ms(moment)

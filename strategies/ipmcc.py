"""Row 5, IPMCC: a call a year out stands for the shares, and a weekly call is sold against it for as long as it stands.

The weekly is rolled on its last day; the long call with 90 days left. Both go when it lost its share with what its
weeklies earned. One a ticker.
"""

from __future__ import annotations

from datetime import date

from core.book import Position
from core.contracts import MARKET_CLOSE, MARKET_OPEN, Contract, Right
from core.gateway import DailyBar
from core.parts import Part, Trait, Urgency
from core.settings.strategies import IpmccSettings
from market.trend import Trend
from risk.proposal import Proposal
from strategies.base import NET_CREDIT, Action, Close, Hold, HoldContext, Roll, Skip
from strategies.exits import last_day
from strategies.gates import FRIDAY, MONDAY, any_day, every, not_held, phase_places
from strategies.look import Look
from strategies.row import Entry, PlannedRoll, Row, by_part
from strategies.tools import Tools

LEAP, WEEKLY = "leap", "weekly"
_WEEK = 7


class Ipmcc(Row):
    """Holds a long call in each of its tickers and sells weeklies against it."""

    name = "ipmcc"
    opens = any_day()
    traits = by_part(
        leap=frozenset({Trait.DEBIT, Trait.LASTING}),
        weekly=frozenset({Trait.SHORT_VOLATILITY, Trait.COVERED, Trait.LASTING, Trait.SPARED_BY_21_DTE}),
    )

    def __init__(self, tools: Tools, settings: IpmccSettings) -> None:
        super().__init__(tools, settings)
        self.settings = settings
        at, tickers = settings.entry_time, settings.tickers
        gates = (not_held, phase_places(settings), self._trend_allows)
        self.entries = (
            Entry("leap", self.opens, settings.leap_time, self.leap, slots=tickers, gates=gates, parts=(LEAP,)),
            Entry("weekly", every(FRIDAY), at, self.weekly, onto=_uncovered, parts=(WEEKLY,)),
            Entry("after_assignment", every(MONDAY), at, self.weekly, onto=self._was_assigned, parts=(WEEKLY,)),
        )
        self.exits_of_all = (self._stop,)
        self.exits = {WEEKLY: (self._earned, last_day(settings.weekly_exit_time))}
        self.rolls = {WEEKLY: PlannedRoll(self._ends_today, self.weekly)}

    def roots_of(self, slot: str) -> tuple[str, ...]:
        """Each ticker's own options."""
        return (slot or self.settings.tickers[0],)

    # The long call

    def leap(self, look: Look) -> Proposal:
        """A call deep in the money that has little time value; its stop is what it puts at risk."""
        own = self.settings
        if look.vix > own.leap_max_vix:
            reason = f"VIX {look.vix:.2f} is above {own.leap_max_vix:g}: a new LEAP waits"
            raise look.skip("vix_regime", reason, own.leap_max_vix, look.vix)
        far = look.chain(days=own.days_to_expiry)
        between = (own.leap_delta - own.leap_delta_range, own.leap_delta + own.leap_delta_range)
        call = far.call(delta=own.leap_delta, between=between, extrinsic=own.max_extrinsic)
        risked = own.stop_multiple * (far.price(call) or 0.0) * call.multiplier
        return look.structure("leap_call", leap={call: +1}, wanted=1, planned_loss=risked)

    def _trend_allows(self, look: Look) -> Skip | None:
        """Never after a close at a high of so many days; after a test of an average, or when none came for long."""
        own, ticker = self.settings, look.instrument.underlying
        trend, bars = look.trend(ticker), self.tools.trend.bars(ticker)
        closes = [bar.close for bar in bars[-own.high_days :]]
        if closes[-1] >= max(closes[:-1]):
            return Skip("trend", f"{ticker} closed at a {own.high_days}-day high", max(closes[:-1]), closes[-1])
        if any(_tests(bar, trend) for bar in bars[-own.test_days :]):
            return None
        if not any(_tests(bar, trend) for bar in bars[-own.wait_days :]):
            return None
        return Skip("trend", f"{ticker} tested no average in {own.test_days} days, but did in {own.wait_days}")

    def _stop(self, position: Position, context: HoldContext) -> Close | None:
        """The long call lost its share of what was paid, with what its weeklies earned: both go."""
        leap = position.part(LEAP)
        profit = None if leap is None else context.profit(leap)
        if leap is None or profit is None:
            return None
        total = profit * leap.multiplier * leap.contracts
        weekly, earned = position.part(WEEKLY), position.realised.get(WEEKLY)
        total += (earned.cash or 0.0) if earned is not None else 0.0
        if weekly is not None:
            open_profit = context.profit(weekly)
            if open_profit is None:
                return None
            total += open_profit * weekly.multiplier * weekly.contracts
        limit = self.settings.stop_multiple * abs(leap.entry_cash)
        if -total < limit:
            return None
        return Close("stop_loss", f"{-total:.0f} lost of {abs(leap.entry_cash):.0f} dollars paid", Urgency.URGENT)

    def adjust(self, position: Position, hold: HoldContext) -> Action | tuple[Action, ...]:
        """Roll the long call when it has few days left, its weekly closed with it."""
        leap = position.part(LEAP)
        if leap is None or not self.adjusts(position, hold):
            return Hold()
        left = (leap.expiry - hold.now.date()).days
        answer = self.look_at(position, hold, self.leap, part=leap)
        if not isinstance(answer, Proposal):
            return Hold()
        names = tuple(part.name for part in position.parts)
        return Roll(answer, f"{left} days to expiry", parts=names, calendar=True)

    def adjusts(self, position: Position, context: HoldContext) -> bool:
        """Whether the long call has few days left."""
        leap, now = position.part(LEAP), context.now
        few = leap is not None and (leap.expiry - now.date()).days <= self.settings.leap_roll_days
        return few and now.time() >= self.settings.leap_time

    # The weekly

    def weekly(self, look: Look) -> Proposal:
        """A call of next Friday at the row's strike, never under the long call's.

        Its time value is what it plans with: the rest of its price moves with the long call that covers it.
        """
        own, leap = self.settings, look.held(LEAP)
        near = look.chain(days=_days_to_friday(look.today), tolerance=own.weekly_tolerance)
        trend = look.trend(look.instrument.underlying)
        if near.spot > trend.fast * (1 + own.extended_over_average):
            inside = own.extended_strikes
        else:
            inside = 0 if trend.fast > trend.middle else own.falling_strikes
        strikes = near.strikes(Right.CALL)
        nearest = min(range(len(strikes)), key=lambda place: abs(strikes[place] - near.spot))
        strike = max(strikes[max(nearest - inside, 0)], _strike(leap))
        call = near.call(strike=strike)
        if call.strike < _strike(leap):
            raise look.skip("strikes", f"{call.name} is under the LEAP's strike", _strike(leap), call.strike)
        time_value = max((near.price(call) or 0.0) - _inside(call, near.spot), 0.0) * call.multiplier
        reason = f"{inside} strikes in the money"
        return look.structure(
            "weekly_call",
            weekly={call: -1},
            must=NET_CREDIT,
            wanted=leap.contracts,
            planned_loss=time_value,
            reason=reason,
        )

    def _earned(self, part: Part, context: HoldContext) -> Close | None:
        """So much of the time value that the weekly was sold with is gone."""
        value, planned = context.value(part), part.terms.max_loss / part.multiplier
        if value is None or context.spot is None:
            return None
        left = -value - _inside(part.package.legs[0].contract, context.spot)
        if left > (1 - self.settings.profit_target) * planned + 1e-9:
            return None
        return Close("profit_target", f"{left:.2f} of {planned:.2f} points of time value are left")

    def _ends_today(self, part: Part, context: HoldContext) -> str | None:
        due = part.expiry <= context.now.date() and context.now.time() >= self.settings.entry_time
        return "its last day" if due else None

    def _was_assigned(self, position: Position, day: date) -> bool:
        """Its newest weekly ended outside of trading hours, since the Monday before: nobody bought it back."""
        trades = [row for row in self.tools.book.trades if row.position == position.id and row.part == WEEKLY]
        if not _uncovered(position, day) or not trades:
            return False
        ended = trades[-1].closed
        recent = 0 <= (day - ended.date()).days < _WEEK
        outside = ended.weekday() > FRIDAY or not MARKET_OPEN <= ended.time() < MARKET_CLOSE
        return recent and outside


def _uncovered(position: Position, _day: date) -> bool:
    """A long call without a weekly."""
    return position.part(LEAP) is not None and position.part(WEEKLY) is None


def _tests(bar: DailyBar, trend: Trend) -> bool:
    """Whether a day's range touched the middle or the slow average."""
    return any(bar.low <= average <= bar.high for average in (trend.middle, trend.slow))


def _strike(leap: Part) -> float:
    return leap.package.legs[0].contract.strike


def _inside(call: Contract, spot: float) -> float:
    return max(spot - call.strike, 0.0)


def _days_to_friday(day: date) -> int:
    """Days to the first Friday that is four days ahead or more: a weekly is never sold for less."""
    ahead = (FRIDAY - day.weekday()) % _WEEK
    return ahead if ahead >= _WEEK - 3 else ahead + _WEEK

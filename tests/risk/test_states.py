"""Drawdown, breakers, panic and black swan as states: true at each minute, with exits, over restarts."""

# Private: _together: the mean of the pairs alone.

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from core.book import Book, ClosedTrade
from core.events import Event, MarketData, MinutePassed, RiskThreshold, Severity
from core.settings.fields import (
    BlackSwanSettings,
    CircuitBreakerSettings,
    VixSettings,
)
from market.vix import UnifiedVIXManager
from risk.breakers import ProfitCorrelation, _together
from risk.limits import BlackSwanPlugin, VixPanicPlugin
from risk.proposal import Deny, Scope
from tests.risk.proposals import NOW, context, held, proposal, rule
from tests.risk.states import Breaker, Down, minute, reborn, scopes

# Drawdown


def test_the_steps_of_a_drawdown_and_their_exits() -> None:
    down = Down()
    assert down.to(90_100.0) == []
    assert (down.denied(), down.plugin.size_factor(90_100.0)) == ("allowed", 1.0)
    (warned,) = down.to(90_000.0)
    assert (warned.severity, warned.limit) == (Severity.WARNING, 0.10)
    assert (down.denied(), down.plugin.size_factor(90_000.0)) == ("allowed", 0.5)
    (stopped,) = down.to(85_000.0)
    assert (stopped.severity, down.denied(), scopes(down.plugin)) == (Severity.BREACH, "drawdown", [Scope.LOSING])
    down.to(85_100.0)  # an exit: over the line again
    assert (down.denied(), scopes(down.plugin)) == ("allowed", [])
    (closed,) = down.to(80_000.0)
    assert (closed.severity, down.denied(), scopes(down.plugin)) == (Severity.EMERGENCY, "drawdown_pause", [Scope.ALL])
    down.to(99_000.0)  # a pause is a pause
    assert (down.denied(), scopes(down.plugin)) == ("drawdown_pause", [Scope.ALL])


def test_what_is_true_at_a_minute_is_wanted_at_that_minute_again_and_again() -> None:
    down = Down()
    for equity in (84_000.0, 84_500.0, 83_000.0):
        down.to(equity)
        assert scopes(down.plugin) == [Scope.LOSING]
    for equity in (79_000.0, 75_000.0, 72_000.0, 69_000.0, 55_000.0, 40_000.0):
        down.to(equity)
        assert scopes(down.plugin) == [Scope.ALL], equity


def test_after_a_pause_fifteen_and_twenty_percent_are_of_the_equity_at_its_end() -> None:
    # paused at 80,000, 82,000 at its end: 15 % under that is 69,700 - but at 70,000 the account is 30 % under its peak
    down = Down()
    down.to(80_000.0)
    down.to(82_000.0, days=14)
    assert (down.denied(), scopes(down.plugin)) == ("allowed", [])
    assert down.plugin.size_factor(82_000.0) == 0.5
    down.to(90_500.0)  # under 10 % of the true peak: whole size again
    assert down.plugin.size_factor(90_500.0) == 1.0
    # the base rises with what is gained: 15 % of 90,500 is 76,925
    down.to(77_000.0)
    assert down.denied() == "allowed"
    down.to(76_900.0)
    assert (down.denied(), scopes(down.plugin)) == ("drawdown", [Scope.LOSING])
    down.to(72_300.0)  # 20.1 %: the second emergency is told and paused like the first
    assert (down.denied(), scopes(down.plugin)) == ("drawdown_pause", [Scope.ALL])


def test_thirty_percent_closes_and_disables_until_a_person_and_the_peak_stays() -> None:
    down = Down()
    down.to(70_000.0)
    assert (down.denied(), scopes(down.plugin)) == ("drawdown_disabled", [Scope.ALL])
    down.to(95_000.0, days=60)  # neither time nor a better price lifts it
    assert down.denied() == "drawdown_disabled"
    down.to(70_000.0)
    assert down.plugin.reset()
    assert not down.plugin.reset()
    assert down.plugin.peak == 100_000.0
    down.to(70_000.0)
    assert down.denied() == "allowed"
    assert down.plugin.size_factor(70_000.0) == 0.5  # 10 % are of the true peak, always
    down.to(56_000.0)  # 20 % from where the person let it go on
    assert down.denied() == "drawdown_pause"
    down.to(48_900.0)  # 30 % from there
    assert down.denied() == "drawdown_disabled"


def test_fourteen_days_flat_between_the_lines_count_as_a_pause() -> None:
    down = Down()
    down.to(84_000.0)
    assert down.denied() == "drawdown"
    down.to(84_000.0, days=13)
    assert down.denied() == "drawdown"
    down.to(84_000.0, days=1)
    assert down.denied() == "allowed"
    holding = Down(Book(positions={"p": held("p", "s", "SPY")}))
    holding.to(84_000.0)
    holding.to(84_000.0, days=30)
    assert holding.denied() == "drawdown"


@pytest.mark.parametrize("equity", [None, math.nan])
def test_an_equity_that_nobody_knows_denies_and_is_no_peak(equity: float | None) -> None:
    down = Down()
    down.equity.value = equity
    assert isinstance(down.plugin.review(proposal(), context(equity=math.nan)), Deny)
    assert math.isnan(down.plugin.drawdown(math.nan))
    assert down.plugin.size_factor(math.nan) == 0.5
    down.to(80_000.0)
    assert down.plugin.peak == 100_000.0
    assert down.denied() == "drawdown_pause"


def test_a_withdrawal_is_no_loss_and_a_deposit_no_gain() -> None:
    # 25 % taken out: the peak goes down with it, 100,000 x 0.75; then 50 % paid in
    down = Down()
    down.equity.value = 75_000.0
    assert down.plugin.cash_moved(-25_000.0)
    assert down.to(75_000.0) == []
    assert down.plugin.peak == pytest.approx(75_000.0)
    down.to(67_500.0)
    assert down.plugin.drawdown(67_500.0) == pytest.approx(0.10)
    down.equity.value = 101_250.0
    down.plugin.cash_moved(33_750.0)
    assert down.plugin.drawdown(101_250.0) == pytest.approx(0.10)


def test_the_drawdown_outlives_the_process() -> None:
    for equity, days, expected in (
        (84_000.0, 0.0, "drawdown"), (79_000.0, 0.0, "drawdown_pause"), (69_000.0, 0.0, "drawdown_disabled"),
    ):  # fmt: skip
        down = Down()
        down.to(equity, days)
        again = Down()
        again.plugin.peak = 0.0
        reborn(down.plugin, again.plugin)
        again.at = down.at
        again.to(equity)
        assert again.denied() == expected
        assert again.plugin.peak == 100_000.0
        assert scopes(again.plugin) == scopes(down.plugin)


@pytest.mark.parametrize(
    "row",
    [{"peak": "x"}, {"peak": math.nan}, {"peak": -1.0}, {"peak": 1e300}, {"disabled": 1},
     {"peak": 1.0, "paused_until": "soon"}, {"paused_until": "2024-01-01T00:00:00+00:00"}, {"peak": True}],
)  # fmt: skip
def test_a_memory_that_cannot_be_true_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Down().plugin.restore(row)


# Circuit breakers


def test_three_percent_in_five_minutes_trips_each_minute_that_it_is_true() -> None:
    # 2.4 % warns, 3 % trips; 2.9 % five minutes later is under it again
    breaker = Breaker()
    breaker.to(100_000.0, 0)
    assert breaker.to(97_600.0, 1) == {"fast_loss": Severity.WARNING}
    assert breaker.plugin.warned
    assert breaker.to(97_000.0, 2) == {"fast_loss": Severity.BREACH}
    assert scopes(breaker.plugin) == [Scope.RISKIEST]
    assert breaker.to(96_500.0, 4) == {"fast_loss": Severity.BREACH}
    assert scopes(breaker.plugin) == [Scope.RISKIEST]
    assert breaker.to(96_500.0, 8) == {"fast_loss": Severity.NORMAL}  # the 100,000 are more than five minutes old
    assert scopes(breaker.plugin) == []
    assert breaker.denied(33) == "circuit_breaker"  # 29 minutes after the last minute of the trip
    breaker.fresh = False
    assert breaker.denied(34) == "circuit_breaker"
    breaker.fresh = True
    breaker.book.doubted["p"] = frozenset({"x"})
    assert breaker.denied(34) == "circuit_breaker"
    breaker.book.doubted.clear()
    assert breaker.denied(34) == "allowed"
    assert breaker.denied(34, breaker.book) == "circuit_breaker"  # one position at a time


def test_phase_one_trips_at_two_percent() -> None:
    breaker = Breaker(phase=1)
    breaker.to(100_000.0, 0)
    assert breaker.to(98_000.0, 1)["fast_loss"] is Severity.BREACH
    assert breaker.to(97_000.0, 2)["fast_loss"] is Severity.EMERGENCY  # half as much again


def test_half_as_much_again_wants_everything_gone_and_locks_for_a_day() -> None:
    breaker = Breaker()
    breaker.to(100_000.0, 0)
    assert breaker.to(95_500.0, 1) == {"fast_loss": Severity.EMERGENCY}
    assert scopes(breaker.plugin) == [Scope.ALL]
    breaker.to(99_000.0, 20)  # the loss is over, the lock is not
    assert scopes(breaker.plugin) == [Scope.ALL]
    assert breaker.denied(1 + 24 * 60 - 1) == "circuit_lock"
    assert breaker.plugin.locked is not None
    breaker.to(99_000.0, 1 + 24 * 60)
    assert breaker.plugin.locked is None
    assert scopes(breaker.plugin) == []
    assert breaker.denied(1 + 24 * 60) == "allowed"


@pytest.mark.parametrize(("vix", "level"), [(15.0, 80_000.0), (25.0, 70_000.0), (35.0, 60_000.0), (45.0, 50_000.0)])
def test_margin_over_its_level_closes_the_riskiest_until_under_it(vix: float, level: float) -> None:
    breaker = Breaker()
    breaker.vix, breaker.margin = vix, level - 1.0
    assert breaker.to(100_000.0, 0) == {"margin_use": Severity.WARNING}
    breaker.margin = level
    assert breaker.to(100_000.0, 1) == {"margin_use": Severity.BREACH}
    (want,) = breaker.plugin.wanted(minute(1))
    assert want.scope is Scope.RISKIEST
    assert want.still is not None
    breaker.used = {frozenset({"a"}): level, frozenset({"a", "b"}): level - 1.0}
    assert want.still(frozenset({"a"}))
    assert not want.still(frozenset({"a", "b"}))


def test_a_warning_is_over_when_nothing_is_held() -> None:
    breaker = Breaker()
    breaker.to(100_000.0, 0)
    breaker.to(97_500.0, 1)
    assert breaker.plugin.warned
    breaker.book.positions.clear()
    assert breaker.to(97_500.0, 2) == {"fast_loss": Severity.NORMAL}
    assert not breaker.plugin.warned


def test_equity_that_nobody_knows_or_that_is_nothing_denies() -> None:
    breaker = Breaker()
    for value in (None, 0.0, -5.0):
        breaker.equity.value = value
        assert breaker.denied(0) == "circuit_breaker"
    breaker.to(None, 1)  # and raises nothing
    breaker.to(0.0, 2)
    assert scopes(breaker.plugin) == [Scope.ALL]  # everything is lost: that is a fast loss too


def test_three_losses_in_a_row_wait_a_day_then_one_position_at_a_time_and_the_streak_counts_from_there() -> None:
    breaker = Breaker()
    breaker.book.trades.extend(ClosedTrade("s", str(n), NOW, minute(n), -50.0, 100.0) for n in range(3))
    assert breaker.denied(3) == "losses_in_a_row"
    assert breaker.denied(2 + 24 * 60 - 1) == "losses_in_a_row"
    assert breaker.denied(2 + 24 * 60) == "allowed"
    assert breaker.denied(2 + 24 * 60, breaker.book) == "losses_in_a_row"  # one at a time
    breaker.book.trades.append(ClosedTrade("s", "3", NOW, minute(24 * 60 + 60), -50.0, 100.0))
    assert breaker.denied(24 * 60 + 61) == "allowed"  # the first of a new row
    breaker.book.trades.extend(ClosedTrade("s", str(n), NOW, minute(24 * 60 + 60 + n), -50.0, 100.0) for n in (4, 5))
    assert breaker.denied(24 * 60 + 70) == "losses_in_a_row"
    breaker.book.trades.append(ClosedTrade("s", "6", NOW, minute(24 * 60 + 80), 50.0, 100.0))
    assert breaker.denied(24 * 60 + 81, breaker.book) == "allowed"  # a win ends it all


def test_losses_in_a_row_are_told_before_a_contract_is_picked_and_telling_keeps_nothing() -> None:
    """Decision 066: who asks ahead each minute and who never asks are judged alike."""
    asked, silent = Breaker(), Breaker()

    def both(at: float, *, held: bool = False) -> tuple[str, str]:
        book = asked.book if held else None
        before, known = asked.barred(at, book), asked.denied(at, book)
        assert known == silent.denied(at, silent.book if held else None)
        return before, known

    for breaker in (asked, silent):
        breaker.book.trades.extend(ClosedTrade("s", str(n), NOW, minute(n), -50.0, 100.0) for n in range(3))
    assert both(3) == ("losses_in_a_row", "losses_in_a_row")
    assert asked.barred(3, replaces=True) == "allowed"  # a part that is due goes, whatever is denied in its place
    assert both(2 + 24 * 60 - 1) == ("losses_in_a_row", "losses_in_a_row")
    for at in range(2 + 24 * 60, 24 * 60 + 20):  # a day later the next proposal counts anew: asking does not
        assert asked.barred(at, asked.book) == "allowed"
    assert both(24 * 60 + 20, held=True) == ("allowed", "losses_in_a_row")
    assert both(24 * 60 + 21, held=True) == ("losses_in_a_row", "losses_in_a_row")  # one at a time, from then on
    assert both(24 * 60 + 21) == ("allowed", "allowed")
    for breaker in (asked, silent):
        breaker.book.trades.append(ClosedTrade("s", "6", NOW, minute(24 * 60 + 80), 50.0, 100.0))
    assert asked.barred(24 * 60 + 81, asked.book) == "allowed"  # a win ends it all
    assert both(24 * 60 + 81, held=True) == ("allowed", "allowed")


def test_the_breakers_outlive_the_process() -> None:
    breaker = Breaker()
    breaker.to(100_000.0, 0)
    breaker.to(95_000.0, 1)
    again = Breaker()
    reborn(breaker.plugin, again.plugin)
    assert again.denied(60) == "circuit_lock"
    assert scopes(again.plugin) == [Scope.ALL]
    tripped = Breaker()
    tripped.to(100_000.0, 0)
    tripped.to(96_900.0, 1)
    calm = Breaker()
    reborn(tripped.plugin, calm.plugin)
    assert calm.denied(20) == "circuit_breaker"
    assert calm.denied(40) == "allowed"
    assert calm.denied(40, calm.book) == "circuit_breaker"


def test_a_loss_after_minutes_that_rested_is_measured_from_what_stood_until_then() -> None:
    """Nothing moved for a quarter of an hour, then 3.1 % are gone: of 100,000 until the minute before, 96,900."""
    breaker = Breaker()
    breaker.to(100_000.0, 0)
    assert breaker.plugin.rests
    assert breaker.to(96_900.0, 15)["fast_loss"] is Severity.BREACH
    assert not breaker.plugin.rests


def test_cash_that_moved_is_no_fast_loss() -> None:
    breaker = Breaker()
    breaker.to(100_000.0, 0)
    breaker.equity.value = 75_000.0
    breaker.plugin.cash_moved(-25_000.0)
    assert breaker.to(75_000.0, 1) == {}


def test_profits_correlate_over_pairs_of_three_positions_of_different_groups_that_lose_together() -> None:
    book = Book(positions={name: held(name, "s", root) for name, root in (("a", "SPY"), ("b", "GLD"), ("c", "USO"))})
    rows: list[SimpleNamespace] = []
    engine = SimpleNamespace(held=lambda: SimpleNamespace(rows=rows))
    profits = ProfitCorrelation(book, engine, CircuitBreakerSettings())  # type: ignore[arg-type]
    phases = SimpleNamespace(phase=4)

    def sample(count: int, names: Iterable[str], sign: float = -1.0) -> tuple[RiskThreshold, ...]:
        value = sign * 100.0 * count + (30.0 if count % 2 else 0.0)
        rows[:] = [SimpleNamespace(position=name, known=True, value=value) for name in names]
        return profits.look(MinutePassed(time=minute(5 * count)), phases)  # type: ignore[arg-type]

    for count in range(30):
        (found,) = sample(count, "abc")
    assert found.severity is Severity.BREACH
    assert found.observed == pytest.approx(1.0)
    assert profits.look(MinutePassed(time=minute(146)), phases) == ()  # type: ignore[arg-type]
    gaining = ProfitCorrelation(book, engine, CircuitBreakerSettings())  # type: ignore[arg-type]
    profits = gaining
    for count in range(30):
        (found,) = sample(count, "abc", sign=1.0)
    assert found.severity is Severity.NORMAL  # they gain together
    del book.positions["c"]
    profits = ProfitCorrelation(book, engine, CircuitBreakerSettings())  # type: ignore[arg-type]
    for count in range(30):
        (found,) = sample(count, "ab")
    assert found.severity is Severity.NORMAL  # two positions are no sample


def test_correlation_needs_two_hours_of_samples() -> None:
    times = [NOW + timedelta(minutes=5 * count) for count in range(24)]
    one = {moment: float(count**2) for count, moment in enumerate(times)}
    assert _together(one, {moment: 2 * value for moment, value in one.items()}) == pytest.approx(1.0)
    assert _together(one, {moment: -value for moment, value in one.items()}) == pytest.approx(-1.0)
    assert _together(dict(list(one.items())[:23]), one) is None


# VIX and index


def market(ticker: str, price: float, at: float) -> Event:
    when = minute(at)
    return MarketData(time=when, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=when)


def test_vix_over_40_is_a_state_minute_by_minute() -> None:
    plugin = VixPanicPlugin(cast(UnifiedVIXManager, None), VixSettings())
    path = (15.0, 20.0, 28.0, 35.0, 40.0, 40.1, 45.0, 41.0, 40.0, 39.0, 41.0, 20.0)
    wanted = []
    for at, vix in enumerate(path):
        list(plugin.watch(market("VIX", vix, at)))
        wanted.append(bool(scopes(plugin)))
    assert wanted == [False] * 5 + [True] * 3 + [False] * 2 + [True, False]
    list(plugin.watch(market("VIX", 60.0, 20)))  # from 20 to 60 within a minute: a bad print until it is seen again
    assert scopes(plugin) == []
    list(plugin.watch(market("VIX", 61.0, 21)))
    assert scopes(plugin) == [Scope.SHORT_VOLATILITY]
    for bad in (math.nan, -5.0, 0.0, math.inf):
        list(plugin.watch(market("VIX", bad, 22)))
    assert scopes(plugin) == [Scope.SHORT_VOLATILITY]
    list(plugin.watch(market("VIX", 20.0, 20)))  # from before: ignored
    assert scopes(plugin) == [Scope.SHORT_VOLATILITY]


class Trend:
    """Yesterday's close at 5000 and 500; today's prices as the test sets them."""

    def __init__(self) -> None:
        self.prices: dict[str, float] = {}

    def day(self, ticker: str) -> SimpleNamespace | None:
        price = self.prices.get(ticker)
        return None if price is None else SimpleNamespace(price=price)

    def previous_close(self, ticker: str) -> float:
        return {"SPX": 5000.0, "SPY": 500.0}[ticker]


def test_a_black_swan_is_seen_with_nothing_held_at_two_looks_and_pauses_for_a_day() -> None:
    trend = Trend()
    plugin = BlackSwanPlugin(trend, BlackSwanSettings())  # type: ignore[arg-type]
    assert isinstance(plugin.review(proposal(), context()), Deny)  # no price of today: the move is unknown

    def see(ticker: str, price: float, at: float) -> list[Scope]:
        trend.prices[ticker] = price
        list(plugin.watch(market(ticker, price, at)))
        return scopes(plugin, minute(at))

    assert see("SPX", 4750.0, 0) == []  # exactly 5 %
    assert rule(plugin.review(proposal(), context())) == "allowed"
    assert see("SPX", 4749.0, 1) == []
    assert rule(plugin.review(proposal(), context())) == "black_swan"  # an entry need not wait for a second look
    assert see("SPX", 5000.0, 2) == []  # one bad print
    assert see("SPX", 4740.0, 3) == []
    assert see("SPX", 4745.0, 4) == [Scope.SHORT_DATED]
    assert see("SPX", 4990.0, 5) == [Scope.SHORT_DATED]
    later = replace(context(), now=minute(4 + 24 * 60 - 1))
    assert rule(plugin.review(proposal(), later)) == "black_swan"
    again = BlackSwanPlugin(trend, BlackSwanSettings())  # type: ignore[arg-type]
    reborn(plugin, again)
    assert rule(again.review(proposal(), later)) == "black_swan"
    assert scopes(again, minute(100)) == [Scope.SHORT_DATED]
    assert rule(again.review(proposal(), replace(later, now=minute(4 + 24 * 60)))) == "allowed"


def test_the_shares_tell_where_the_index_is_missing() -> None:
    trend = Trend()
    plugin = BlackSwanPlugin(trend, BlackSwanSettings())  # type: ignore[arg-type]
    trend.prices["SPY"] = 470.0
    for at in (0, 1):
        list(plugin.watch(market("SPY", 470.0, at)))
    assert scopes(plugin, minute(1)) == [Scope.SHORT_DATED]

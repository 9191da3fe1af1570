"""Date and time rules on the calendar of 2024, consolidators of several periods, and the Greeks' scale.

Closed days used below: January 1, March 29 (Good Friday), July 4 and September 2 (Labor Day); July 3 closes at 13:00.
"""

# Private: _session: a day on which no bar arrives.

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from simulation.algorithm.consolidators import (
    Calendar,
    IdentityDataConsolidator,
    MarketHourAwareConsolidator,
    QuoteBarConsolidator,
    SessionConsolidator,
    TradeBarConsolidator,
    round_down,
)
from simulation.data.columns import FactorRow
from simulation.data.market_hours import MarketHoursDatabase
from simulation.engine.schedule_rules import DateRule, DateRules, TimeRule, TimeRules
from simulation.lean.bars import Bar, QuoteBar, TradeBar
from simulation.lean.clock import CHICAGO, NEW_YORK
from simulation.lean.enums import DayOfWeek, Resolution, SecurityType, TickType
from simulation.lean.symbols import Symbol
from simulation.market.definitions import market_hours
from simulation.securities.pricing import (
    Greeks,
    Terms,
    black_scholes_greeks,
    black_scholes_price,
    corporate_events,
    cox_ross_rubinstein_price,
    forward_tree_price,
    implied_volatility,
    tree_greeks,
    yearly_dividends,
)
from tests.simulation.chain_rows import minute_bars
from tests.simulation.playing import SPX, Recorder, at, index_market, play

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")


def engine(*securities: Any) -> Any:
    """As much of an engine as the rules ask for; the time is 10:00 on July 8."""
    hours = {
        "SPY": market_hours().get_exchange_hours("usa", "SPY", SecurityType.EQUITY),
        "SPX": market_hours().get_exchange_hours("usa", "SPX", SecurityType.INDEX),
    }
    return SimpleNamespace(
        utc_ms=NEW_YORK.utc_ms(datetime(2024, 7, 8, 10)),
        hours_of=lambda symbol: hours[str(getattr(symbol, "value", symbol))],
        securities=dict(enumerate(securities)),
    )


RULES = DateRules(engine(), NEW_YORK)
TIMES = TimeRules(engine(), NEW_YORK)
DateRuleMaker = Callable[[], DateRule]


def days(rule: DateRule, first: str, last: str) -> list[str]:
    """The rule's days as "07-08" within a range of 2024."""
    start, end = (datetime.strptime(f"2024-{text}", "%Y-%m-%d") for text in (first, last))
    return [f"{day:%m-%d}" for day in rule.get_dates(start, end)]


# -- weeks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "first", "last", "expected"),
    [
        # Without a symbol weeks start on Monday and end on Friday, holidays or not.
        (lambda: RULES.week_start(), "07-01", "07-14", ["07-01", "07-08"]),
        (lambda: RULES.week_start(2), "07-01", "07-14", ["07-03", "07-10"]),
        (lambda: RULES.week_end(), "07-01", "07-14", ["07-05", "07-12"]),
        (lambda: RULES.week_end(2), "07-01", "07-14", ["07-03", "07-10"]),
        # The seventh day of a week is its Sunday; six days before a Friday is the Saturday of the week before.
        (lambda: RULES.week_start(6), "07-07", "07-14", ["07-07", "07-14"]),
        (lambda: RULES.week_end(6), "07-01", "07-14", ["07-06"]),
        # With one, a closed Monday moves to Tuesday, a closed Friday to Thursday, and offsets count open days.
        (lambda: RULES.week_start(SPY), "08-26", "09-13", ["08-26", "09-03", "09-09"]),
        (lambda: RULES.week_start(SPY, 1), "08-26", "09-13", ["08-27", "09-04", "09-10"]),
        (lambda: RULES.week_end(SPY), "03-18", "04-05", ["03-22", "03-28", "04-05"]),
        (lambda: RULES.week_end(SPY, 1), "03-18", "04-05", ["03-21", "03-27", "04-04"]),
        # An offset never leaves the week: Tuesday and four open days would be the next Monday.
        (lambda: RULES.week_start(SPY, 4), "09-02", "09-08", ["09-06"]),
        (lambda: RULES.week_end(SPY, 4), "03-25", "03-31", ["03-25"]),
        # A range that begins in the middle of a week leaves its start out and keeps its end.
        (lambda: RULES.week_start(), "07-03", "07-09", ["07-08"]),
        (lambda: RULES.week_end(), "07-03", "07-09", ["07-05"]),
    ],
)
def test_weeks(rule: DateRuleMaker, first: str, last: str, expected: list[str]) -> None:
    assert days(rule(), first, last) == expected


@pytest.mark.parametrize(
    ("rule", "first", "last", "expected"),
    [
        (lambda: RULES.month_start(), "06-01", "07-31", ["06-01", "07-01"]),
        (lambda: RULES.month_start(3), "06-01", "07-31", ["06-04", "07-04"]),
        (lambda: RULES.month_end(), "06-01", "07-31", ["06-30", "07-31"]),
        (lambda: RULES.month_end(2), "06-01", "07-31", ["06-28", "07-29"]),
        # June began on a Saturday and ended on a Sunday; the third open day after July 1 is the 5th.
        (lambda: RULES.month_start(SPY), "06-01", "07-31", ["06-03", "07-01"]),
        (lambda: RULES.month_start(SPY, 3), "06-01", "07-31", ["06-06", "07-05"]),
        (lambda: RULES.month_end(SPY), "06-01", "07-31", ["06-28", "07-31"]),
        (lambda: RULES.month_end(SPY, 2), "06-01", "07-31", ["06-26", "07-29"]),
        # Offsets stop at the month's other end.
        (lambda: RULES.month_start(30), "02-01", "02-29", ["02-29"]),
        (lambda: RULES.month_end(30), "06-01", "06-30", ["06-01"]),
        (lambda: RULES.quarter_start(SPY), "01-01", "12-31", ["01-02", "04-01", "07-01", "10-01"]),
        (lambda: RULES.quarter_end(SPY), "01-01", "12-31", ["03-28", "06-28", "09-30", "12-31"]),
        (lambda: RULES.quarter_end(1), "01-01", "12-31", ["03-30", "06-29", "09-29", "12-30"]),
        (lambda: RULES.year_start(SPY), "01-01", "12-31", ["01-02"]),
        (lambda: RULES.year_start(5), "01-01", "12-31", ["01-06"]),
        (lambda: RULES.year_end(SPY, 1), "01-01", "12-31", ["12-30"]),
    ],
)
def test_months_quarters_and_years(rule: DateRuleMaker, first: str, last: str, expected: list[str]) -> None:
    assert days(rule(), first, last) == expected


def test_names_of_rules_carry_the_offset_with_its_sign() -> None:
    names = [RULES.week_start().name, RULES.week_end(2).name, RULES.month_start(SPY, 3).name, RULES.year_end(SPY).name]
    assert names == ["WeekStart", "WeekEnd-2", "SPY: MonthStart+3", "SPY: YearEnd"]


@pytest.mark.parametrize(
    "rule",
    [
        lambda: RULES.week_start(7),
        lambda: RULES.week_end(-1),
        lambda: RULES.week_end(SPY, 5),
        lambda: RULES.month_start(SPY, 31),
        lambda: RULES.quarter_end(93),
        lambda: RULES.year_start(366),
    ],
)
def test_offsets_longer_than_their_period_are_refused(rule: DateRuleMaker) -> None:
    with pytest.raises(ValueError, match="days_offset is"):
        rule()


def test_a_month_without_a_symbol_takes_any_offset() -> None:
    # DateRules.MonthStart(int) checks nothing: 40 days after the first is past the month, so its last day is taken
    assert days(RULES.month_start(40), "07-01", "08-31") == ["07-31", "08-31"]


def test_the_year_of_a_start_in_july_has_no_first_day() -> None:
    # LEAN looks for January 1 from July on: 130 days after it would be in May, 200 days after it in July
    assert days(RULES.year_start(200), "07-01", "12-31") == []
    assert days(RULES.year_start(200), "01-01", "12-31") == ["07-19"]


def test_rules_of_the_day_say_their_names() -> None:
    times = TIMES
    made = [times.after_market_open(SPY), times.after_market_open(SPY, 1.5), times.before_market_close(SPY, 5, True)]
    assert [rule.name for rule in made] == [
        f"{SPY}: 0 min before MarketOpen",
        f"{SPY}: 1.5 min after MarketOpen",
        f"{SPY}: 5 min before ExtendedMarketClose",
    ]


def test_days_that_are_named() -> None:
    assert days(RULES.on(2024, 7, 4), "07-01", "07-31") == ["07-04"]
    assert days(RULES.on(date(2024, 7, 4), date(2024, 7, 9)), "07-05", "07-31") == ["07-09"]
    assert days(RULES.on([date(2024, 7, 4), date(2024, 7, 9)]), "07-01", "07-08") == ["07-04"]
    assert days(RULES.every(DayOfWeek.MONDAY, DayOfWeek.THURSDAY), "07-01", "07-08") == ["07-01", "07-04", "07-08"]
    listed: Any = [DayOfWeek.SUNDAY]
    assert days(RULES.every(listed), "07-01", "07-08") == ["07-07"]
    assert days(RULES.every_day(), "07-04", "07-06") == ["07-04", "07-05", "07-06"]
    assert days(RULES.every_day(SPY), "07-03", "07-08") == ["07-03", "07-05", "07-08"]
    assert days(RULES.today, "07-01", "07-31") + days(RULES.tomorrow, "07-01", "07-31") == ["07-08", "07-09"]


# -- times ----------------------------------------------------------------------------------------------------------


def times(rule: TimeRule, *listed: str) -> list[str]:
    """New York times of a rule on days of 2024."""
    dates = [datetime.strptime(f"2024-{text}", "%Y-%m-%d") for text in listed]
    return [f"{NEW_YORK.local(ms):%m-%d %H:%M}" for ms in rule.create_utc_event_times(dates)]


def test_times_of_day() -> None:
    assert times(TIMES.at(9, 30), "07-08") == ["07-08 09:30"]
    assert times(TIMES.at(9, 30, CHICAGO), "07-08") == ["07-08 10:30"]
    assert times(TIMES.at(timedelta(hours=15, minutes=45)), "07-08") == ["07-08 15:45"]
    assert times(TIMES.midnight, "07-08") + times(TIMES.noon, "07-08") == ["07-08 00:00", "07-08 12:00"]
    assert times(TIMES.now, "07-08") == ["07-08 10:00"]
    every = times(TIMES.every(timedelta(hours=9)), "07-08")
    assert every == ["07-08 00:00", "07-08 09:00", "07-08 18:00"]
    with pytest.raises(ValueError, match="can not be zero"):
        TIMES.every(timedelta(0))


def test_a_default_zone_moves_the_rules_without_a_symbol() -> None:
    rules = TimeRules(engine(), NEW_YORK)
    rules.set_default_time_zone(CHICAGO)
    assert times(rules.at(8, 30), "07-08") == ["07-08 09:30"]
    assert times(rules.after_market_open(SPY, 0), "07-08") == ["07-08 09:30"]


def test_times_around_the_session() -> None:
    # July 3 closes at 13:00, July 4 not at all.
    open_days = ("07-03", "07-04", "07-05")
    assert times(TIMES.after_market_open(SPY, 10), *open_days) == ["07-03 09:40", "07-05 09:40"]
    assert times(TIMES.before_market_open(SPY, 10), "07-08") == ["07-08 09:20"]
    assert times(TIMES.before_market_close(SPY, 15), *open_days) == ["07-03 12:45", "07-05 15:45"]
    assert times(TIMES.after_market_close(SPY, 5), *open_days) == ["07-03 13:05", "07-05 16:05"]
    assert times(TIMES.after_market_open(SPY, 0, True), "07-08") == ["07-08 04:00"]
    assert times(TIMES.before_market_close(SPY, 0, True), "07-08") == ["07-08 20:00"]


def test_times_without_a_symbol_take_the_first_open_and_the_last_close_of_all() -> None:
    assert times(TIMES.before_market_close(15), "07-08", "07-04") == ["07-08 15:45"]
    index = SimpleNamespace(type=SecurityType.INDEX, exchange=SimpleNamespace(hours=engine().hours_of(SPX)))
    share = SimpleNamespace(type=SecurityType.EQUITY, exchange=None)
    rules = TimeRules(engine(index, share), NEW_YORK)
    # The index closes at 15:15 in Chicago.
    assert times(rules.before_market_close(15), "07-08") == ["07-08 16:00"]
    assert times(rules.after_market_open(minutes_after_open=5), "07-08") == ["07-08 09:35"]


# -- consolidators --------------------------------------------------------------------------------------------------


def collected(consolidator: Any) -> list[Any]:
    """A list that the consolidator's bars will be added to."""
    made: list[Any] = []
    consolidator.data_consolidated += lambda sender, bar: made.append(bar)
    return made


def span_of(bar: Any) -> tuple[str, str]:
    """Begin and end of a bar, by the clock."""
    return f"{bar.time:%H:%M}", f"{bar.end_time:%H:%M}"


def test_bars_by_number() -> None:
    consolidator = TradeBarConsolidator(3)
    made = collected(consolidator)
    for bar in minute_bars([10.0, 30.0, 20.0, 5.0]):
        consolidator.update(bar)
        consolidator.scan(bar.end_time)
    # Three bars with closes 10, 30, 20 and a range of one either side; the fourth waits.
    assert [(span_of(b), b.open, b.high, b.low, b.close, b.volume) for b in made] == [
        (("10:00", "10:03"), 10.0, 31.0, 9.0, 20.0, 6.0)
    ]
    assert (consolidator.working_data.close, consolidator.working_end(), consolidator.is_timed) == (5.0, None, False)
    consolidator.reset()
    assert (consolidator.working_data, len(made)) == (None, 1)


def test_a_bar_is_handed_out_by_the_first_bar_behind_it_and_late_bars_are_left_out() -> None:
    consolidator = TradeBarConsolidator(timedelta(minutes=5))
    made = collected(consolidator)
    bars = minute_bars([float(n) for n in range(1, 12)])
    for bar in (bars[1], bars[7]):
        consolidator.update(bar)
    assert [(span_of(bar), bar.close) for bar in made] == [(("10:00", "10:05"), 2.0)]
    consolidator.update(bars[10])
    consolidator.update(bars[3])  # 10:03 lies before what was handed out
    assert [span_of(bar) for bar in made] == [("10:00", "10:05"), ("10:05", "10:10")]
    assert consolidator.working_data.close == 11.0
    assert consolidator.working_end() == at("10:15")


def test_a_bar_longer_than_the_period_keeps_its_own_begin() -> None:
    consolidator = TradeBarConsolidator(timedelta(minutes=2))
    wide = TradeBar(at("10:01"), SPX, 1, 2, 0.5, 1.5, 1.0, timedelta(minutes=5))
    consolidator.update(wide)
    assert span_of(consolidator.working_data) == ("10:01", "10:03")


def test_periods_are_rounded_down_to_a_multiple_up_to_a_day() -> None:
    assert round_down(at("10:59"), timedelta(hours=4)) == at("08:00")
    assert round_down(at("10:59"), timedelta(days=1)) == at("00:00")
    assert round_down(at("10:59"), timedelta(days=2)) == at("10:59")
    assert Calendar.YEARLY(at("10:59")).period == timedelta(days=366)


def test_identity_hands_on_and_a_handler_can_be_taken_away() -> None:
    consolidator = IdentityDataConsolidator()
    seen: list[Any] = []

    def keep(sender: Any, bar: Any) -> None:
        seen.append(bar)

    consolidator.data_consolidated += keep
    bars = minute_bars([1.0, 2.0])
    consolidator.update(bars[0])
    consolidator.data_consolidated -= keep
    consolidator.update(bars[1])
    assert seen == bars[:1]
    assert consolidator.consolidated is bars[1]


def test_quote_bars_join_their_sides_one_by_one() -> None:
    consolidator = QuoteBarConsolidator(timedelta(minutes=3))
    made = collected(consolidator)
    one, two, three = Bar(1.0, 1.2, 0.9, 1.1), Bar(1.1, 1.5, 1.0, 1.4), Bar(2.0, 2.2, 1.9, 2.1)
    quotes = [
        QuoteBar(at("10:00"), SPX, one, 5, None, 0),
        QuoteBar(at("10:01"), SPX, two, 6, three, 7),
        QuoteBar(at("10:02"), SPX, None, 0, None, 0),
    ]
    for quote in quotes:
        consolidator.update(quote)
    consolidator.scan(at("10:03"))
    bid, ask = made[0].bid, made[0].ask
    assert (bid.open, bid.high, bid.low, bid.close) == (1.0, 1.5, 0.9, 1.4)
    # The ask begins with the second bar, and the third without sides leaves it; the source's bars are untouched.
    assert (ask.open, ask.high, ask.low, ask.close) == (2.0, 2.2, 1.9, 2.1)
    assert (one.high, quotes[0].ask) == (1.2, None)


def test_daily_bars_run_from_the_open_to_the_close_of_the_session() -> None:
    consolidator = SessionConsolidator(engine().hours_of(SPY))
    made = collected(consolidator)
    half_day = date(2024, 7, 3)
    for clock, price in (("08:00", 99.0), ("09:30", 10.0), ("12:59", 12.0), ("13:30", 50.0)):
        consolidator.update(TradeBar(at(clock, half_day), SPY, price, price, price, price, 1.0))
    assert made == []
    consolidator.scan(at("13:00", half_day))
    # Bars outside of 09:30 to 13:00 do not count.
    assert [(span_of(b), b.open, b.high, b.close, b.volume) for b in made] == [
        (("09:30", "13:00"), 10.0, 12.0, 12.0, 2)
    ]
    holiday = consolidator._session(datetime(2024, 7, 4, 11))
    assert (holiday.start, holiday.period) == (datetime(2024, 7, 4), timedelta(days=1))


def minute(clock: str, price: float) -> TradeBar:
    """A minute of SPY that begins at a time."""
    return TradeBar(at(clock), SPY, price, price, price, price, 1.0, timedelta(minutes=1))


def test_bars_of_odd_lengths_are_counted_from_the_open_and_cut_at_the_close() -> None:
    MarketHoursDatabase.use(market_hours())
    consolidator = MarketHourAwareConsolidator(False, timedelta(minutes=7), TradeBar, TickType.TRADE, False)
    made = collected(consolidator)
    for clock in ("09:29", "09:30", "09:36", "09:37", "15:55", "15:59"):
        consolidator.update(minute(clock, 10.0))
    consolidator.scan(at("16:00"))
    # 385 minutes after the open 55 bars are over; the last of five minutes ends with the session.
    assert [span_of(bar) for bar in made] == [("09:30", "09:37"), ("09:37", "09:44"), ("15:55", "16:00")]
    assert made[0].volume == 2.0
    two_days = MarketHourAwareConsolidator(True, timedelta(days=2), TradeBar, TickType.TRADE, True)
    two_days.update(minute("10:00", 1.0))
    assert two_days.working_bar.period == timedelta(days=2)
    assert MarketHourAwareConsolidator(False, Resolution.DAILY, QuoteBar, TickType.QUOTE, True).is_timed


def test_bars_can_begin_at_a_time_of_the_day_or_of_the_month() -> None:
    make: Any = TradeBarConsolidator
    half_past = make(timedelta(hours=1), start_time=timedelta(hours=9, minutes=30))
    half_past.update(minute("11:05", 1.0))
    assert span_of(half_past.working_bar) == ("10:30", "11:30")
    weekly = TradeBarConsolidator(timedelta(days=7), timedelta(hours=9))
    weekly.update(minute("11:05", 1.0))
    assert weekly.working_bar.time == datetime(2024, 7, 8, 9)  # July 1, 9:00, and seven days


def test_bars_by_number_or_time_and_those_that_are_remembered() -> None:
    consolidator = TradeBarConsolidator(3, timedelta(minutes=5))
    made = collected(consolidator)
    seen: list[Any] = []
    consolidator.data_consolidated += lambda sender, bar: seen.append((consolidator.consolidated, consolidator[0]))
    assert (consolidator.current, consolidator.previous) == (None, None)
    for clock in ("10:00", "10:01", "10:02", "10:03", "10:08"):
        consolidator.update(minute(clock, 1.0))
    assert [span_of(bar) for bar in made] == [("10:00", "10:03"), ("10:03", "10:09")]
    assert (consolidator.current, consolidator.previous, consolidator.window.count) == (made[1], made[0], 2)
    # Inside of the handler the window has the new bar and `consolidated` still the one before.
    assert seen == [(None, made[0]), (made[0], made[1])]
    consolidator.reset()
    assert (consolidator.consolidated, consolidator.window.count) == (None, 0)


def test_consolidators_of_a_run() -> None:
    market = index_market()
    for minute, price in ((31, 5400.0), (33, 5410.0), (36, 5390.0)):
        market.trade(SPX, at(f"10:{minute}"), price)
    made: dict[str, list[Any]] = {"five": [], "hour": [], "day": [], "same": []}

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.consolidate(SPX, timedelta(minutes=5), made["five"].append)
        algorithm.consolidate(SPX, Resolution.HOUR, made["hour"].append)
        algorithm.consolidate(SPX, Resolution.DAILY, made["day"].append)
        same = algorithm.consolidate(SPX, Resolution.MINUTE, made["same"].append)
        algorithm.do_at("09:34", lambda: algorithm.subscription_manager.remove_consolidator(SPX, same))
        algorithm.consolidate(SPY, Resolution.HOUR, made["hour"].append)
        assert SPY in algorithm.securities  # added by being asked for, as LEAN does
        with pytest.raises(ValueError, match="register to receive data"):
            algorithm.consolidate(Symbol.create_canonical_option(SPX), Resolution.HOUR, made["hour"].append)

    play(market, script)
    five = {span_of(bar): (bar.open, bar.high, bar.low, bar.close) for bar in made["five"]}
    # Chicago's clock. 10:31 to 10:35 New York: filled up to 10:30, then 5400, 5410; the bar of 10:36 opens the next.
    assert five["09:30", "09:35"] == (5400.0, 5410.0, 5400.0, 5410.0)
    assert five["09:35", "09:40"] == (5390.0, 5390.0, 5390.0, 5390.0)
    assert [span_of(bar) for bar in made["hour"]][:2] == [("08:00", "09:00"), ("09:00", "10:00")]
    day = made["day"][0]
    assert span_of(day) == ("08:30", "15:15")
    assert (day.open, day.high, day.low, day.close) == (5450.0, 5450.0, 5390.0, 5390.0)
    # Bars of 09:31 to 09:34 at the most: it was taken out at 09:34, before that minute's bar or after it.
    assert [span_of(bar)[1] for bar in made["same"]][:3] == ["08:31", "08:32", "08:33"]
    assert len(made["same"]) <= 4


# -- the Greeks' scale ----------------------------------------------------------------------------------------------

HULL = Terms(True, 50.0, 20 / 52, 0.05, 0.0)
"""Hull's example: share 49, strike 50, 20 weeks, 5 % a year, 20 % of volatility."""


def test_theta_is_a_calendar_days() -> None:
    # Hull gives delta 0.522, gamma 0.066, vega 12.1, rho 8.91 and theta -4.31 a year: -0.0118 a calendar day
    # (-4.31 / 365) and -0.0171 a trading day (-4.31 / 252).
    greeks = black_scholes_greeks(HULL, 49.0, 0.2)
    assert greeks.theta_per_day == pytest.approx(-0.0118, abs=5e-5)
    assert greeks.theta == pytest.approx(-4.31, abs=5e-3)
    assert greeks.delta == pytest.approx(0.522, abs=5e-4)
    assert greeks.gamma == pytest.approx(0.066, abs=5e-4)
    assert greeks.vega == pytest.approx(0.121, abs=5e-4)
    assert greeks.rho == pytest.approx(0.0891, abs=5e-5)
    assert Greeks(theta=-36.5).theta_per_day == pytest.approx(-0.1)


@pytest.mark.parametrize("pricer", [forward_tree_price, cox_ross_rubinstein_price])
def test_the_trees_give_the_same_theta_a_day(pricer: Any) -> None:
    # Without a rate: d1 = (ln 0.98 + 0.02 x 20/52) / (0.2 x 0.62017) = -0.10086, density 0.39692,
    # theta = -49 x 0.2 x 0.39692 / (2 x 0.62017) = -3.1361 a year, -0.00859 a day (-0.01244 a trading day).
    greeks = tree_greeks(pricer, Terms(True, 50.0, 20 / 52, 0.0, 0.0), 49.0, 0.2)
    assert greeks.theta_per_day == pytest.approx(-0.00859, abs=1e-4)
    # Delta is N(d1) = 0.4598; vega 49 x 0.62017 x 0.39692 / 100 = 0.1206.
    assert greeks.delta == pytest.approx(0.4598, abs=0.005)
    assert greeks.vega == pytest.approx(0.1206, abs=0.001)


def test_a_put_has_the_call_s_greeks_by_parity() -> None:
    call = black_scholes_greeks(HULL, 49.0, 0.2)
    put = black_scholes_greeks(Terms(False, *(50.0, 20 / 52, 0.05, 0.0)), 49.0, 0.2)
    # Put = call - share + discounted strike: delta less by 1, theta more by r K e^(-rT) = 2.4524 a year.
    assert put.delta == pytest.approx(call.delta - 1)
    assert put.theta - call.theta == pytest.approx(2.4524, abs=5e-4)


def test_after_expiry_there_is_neither_price_nor_sensitivity() -> None:
    over = Terms(True, 50.0, 0.0, 0.05, 0.0)
    for pricer in (black_scholes_price, forward_tree_price, cox_ross_rubinstein_price):
        assert pricer(over, 49.0, 0.2, 0.0) == pytest.approx(0.0)
    for greeks in (black_scholes_greeks(over, 49.0, 0.2), tree_greeks(forward_tree_price, over, 49.0, 0.2)):
        assert (greeks.delta, greeks.gamma, greeks.theta_per_day) == (0.0, 0.0, 0.0)


def test_volatility_is_found_again_and_missing_below_the_intrinsic_value() -> None:
    for pricer in (black_scholes_price, forward_tree_price):
        price = pricer(HULL, 49.0, 0.3, HULL.years)
        # The search stops within a ten-thousandth of the price: a vega of 12 makes that 1e-5 of volatility.
        assert implied_volatility(pricer, HULL, 49.0, price) == pytest.approx(0.3, abs=1e-4)
    assert implied_volatility(black_scholes_price, HULL, 70.0, 15.0) is None


def test_dividends_are_the_steps_of_the_price_factor() -> None:
    rows = [
        FactorRow(date(2023, 3, 14), 0.98, 0.25, 480.0),
        FactorRow(date(2024, 3, 14), 0.99, 0.25, 500.0),
        FactorRow(date(2024, 5, 31), 0.995, 0.25, 520.0),
        FactorRow(date(2024, 6, 20), 0.995, 1.0, 130.0),
        FactorRow(date(2050, 12, 31), 1.0, 1.0, 0.0),
    ]
    source = SimpleNamespace(factor_file=lambda symbol: rows)
    events = corporate_events(source, SPY, market_hours().get_exchange_hours("usa", SPY, SecurityType.EQUITY))
    # 480 x (1 - 0.98 / 0.99) = 4.848, ex on the next trading day; 500 x (1 - 0.99 / 0.995) = 2.513; the step of May
    # 31 (a Friday) is the split of four for one, seen on Monday; the last row is a dividend of June 21.
    assert events[:3] == [
        (date(2023, 3, 15), 4.848, 1.0),
        (date(2024, 3, 15), 2.513, 1.0),
        (date(2024, 6, 3), None, 0.25),
    ]
    assert yearly_dividends(events, date(2022, 1, 1)) == 0.0
    # On May 1 the year that ends with March 15 begins on April 1 of 2023; on June 4 a share is a quarter of the old.
    assert yearly_dividends(events, date(2024, 5, 1)) == 2.513
    assert yearly_dividends(events, date(2024, 6, 4)) == pytest.approx(2.513 / 4)

"""What the real engine showed about the steps of an instant: order tables, extra slices, consolidators, warm-up."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from simulation.data.market_hours import MarketHoursDatabase
from simulation.engine.history import whole_bars_back
from simulation.engine.timeline import delisting_moment
from simulation.lean.clock import NEW_YORK
from simulation.lean.contract_months import moment_of_expiry
from simulation.lean.dictionaries import OrderTable
from simulation.lean.enums import DelistingType, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.definitions import market_hours
from tests.simulation.playing import SPX, Market, Recorder, at, index_market, play, spxw

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
TUESDAY = date(2024, 7, 9)


# -- the transaction handler's table --------------------------------------------------------------------------------


def table(*numbers: int) -> OrderTable[int]:
    made: OrderTable[int] = OrderTable()
    for number in numbers:
        made[number] = number
    return made


def test_orders_are_listed_by_remainder() -> None:
    # 37 buckets: 112 = 3 x 37 + 1, 77 = 2 x 37 + 3; 116 -> 5, 83 -> 9, 88 -> 14 (both seen on the real engine).
    assert table(77, 112).values() == [112, 77]
    assert table(83, 88, 116).values() == [116, 83, 88]
    assert table(1, 2, 36).values() == [1, 2, 36]


def test_in_one_bucket_the_newest_comes_first() -> None:
    made = table(3, 40, 77)  # all remainder 3
    assert made.values() == [77, 40, 3]
    made[40] = 400  # an entry that is written again keeps its place
    assert made.values() == [77, 400, 3]
    assert made.pop(77) == 77
    assert made.pop(77) is None
    assert (made.values(), len(made), 3 in made, 77 in made, made.get(5)) == ([400, 3], 2, True, False, None)


def test_a_full_table_grows_and_turns_each_bucket_round() -> None:
    # With the 37th entry it has 89 buckets: 1 to 37 lie in a row again, 90 shares the bucket of 1 and comes before it.
    assert table(*range(1, 38)).values() == list(range(1, 38))
    grown = table(*range(1, 38), 90)
    assert grown.values() == [90, *range(1, 38)]
    # Two of one bucket before (3 and 40 of 37) have buckets of their own after.
    assert table(40, 3, *range(4, 39)).values()[0] == 3


@pytest.mark.parametrize("count", [100, 500, 5000])
def test_orders_that_all_stay_are_listed_in_turn(count: int) -> None:
    assert table(*range(1, count + 1)).values() == list(range(1, count + 1))


def test_liquidate_cancels_in_the_tables_order() -> None:
    def script(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)

        def send() -> None:
            algorithm.limit_order(SPY, 1, 400.0)
            for _ in range(36):
                algorithm.limit_order(SPY, 1, 400.0)
                algorithm.transactions.cancel_order(len(algorithm.transactions.get_orders()))
            algorithm.limit_order(SPY, 1, 400.0)

        algorithm.do_at("10:00", send)
        algorithm.do_at("10:02", lambda: algorithm.liquidate(SPY))

    market = Market()
    for minute in ("09:31", "10:00", "10:01", "10:02"):
        market.trade(SPY, at(minute), 500.0)
    played = play(market, script)
    late = [e.order_id for e in played.seen if str(e.status) == "CANCEL_PENDING" and e.utc_time.minute == 2]
    # Orders 1 and 38 are open: 38 = 37 + 1 lies in the bucket of 1, and is the newer one.
    assert late == [38, 1]


# -- slices that come again -----------------------------------------------------------------------------------------


def test_a_contract_of_today_brings_on_data_again_in_the_same_minute() -> None:
    today = spxw(5450.0, expiry=datetime(2024, 7, 8))
    later = spxw(5450.0)
    seen: list[tuple[Any, ...]] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        kind: Any = type(algorithm)
        kind.on_data = lambda self, data: seen.append((str(self.time)[11:], len(data.bars), len(data.delistings)))
        kind.on_securities_changed = lambda self, changes: seen.append(("changed", str(self.time)[11:]))
        algorithm.do_at("10:00", lambda: algorithm.add_index_option_contract(later))
        algorithm.do_at("10:01", lambda: algorithm.add_index_option_contract(today))

    play(index_market("10:00", "10:01", "10:02"), script)
    minutes = [row for row in seen if row[0] in ("10:00:00", "10:01:00", "10:02:00", "changed")]
    # One slice with the minute's bar, one that carries the change; that of today's contract has its warning as well.
    assert minutes[1:] == [
        ("10:00:00", 1, 0),
        ("changed", "10:00:00"),
        ("10:01:00", 1, 0),
        ("changed", "10:01:00"),
        ("10:01:00", 0, 1),
        ("10:02:00", 1, 0),
    ]


def test_consolidators_are_fed_as_a_slices_data_come() -> None:
    made: list[str] = []

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_equity("SPY", Resolution.MINUTE)
        for symbol, period, name in (
            (SPX, timedelta(minutes=15), "index"),
            (SPY, timedelta(minutes=15), "share"),
            (SPY, Resolution.DAILY, "share's day"),
        ):
            algorithm.consolidate(symbol, period, lambda bar, name=name: made.append(f"{algorithm.time:%H:%M} {name}"))

    market = index_market("15:59", "16:00")
    for minute in ("09:31", "15:59", "16:00"):
        market.trade(SPY, at(minute), 545.0)
    play(market, script)
    # Shares before indices whichever was asked for first; those of one subscription as they were asked for.
    assert [line for line in made if line.startswith("16:00")] == ["16:00 share", "16:00 share's day", "16:00 index"]


# -- futures and warm-up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticker", "market", "clock"),
    [
        ("ES", "cme", (13, 30)),
        ("ZB", "cbot", (12, 1)),
        ("6E", "cme", (14, 16)),
        ("CL", "nymex", (0, 0)),
        ("GC", "comex", (0, 0)),
    ],
)
def test_a_listed_future_has_its_time_of_day(ticker: str, market: str, clock: tuple[int, int]) -> None:
    moment = moment_of_expiry(ticker, date(2016, 3, 18))
    assert moment == datetime(2016, 3, 18, *clock)
    listed = Symbol.create_future(ticker, market, moment)
    by_hand = Symbol.create_future(ticker, market, datetime(2016, 3, 18))
    assert listed == by_hand
    assert hash(listed) == hash(by_hand)
    assert (listed.id.date, by_hand.id.date) == (moment, datetime(2016, 3, 18))
    assert str(listed.id) == str(by_hand.id)
    hours = market_hours().get_exchange_hours(market, listed, SecurityType.FUTURE)
    assert delisting_moment(listed, hours, DelistingType.WARNING) == datetime(2016, 3, 18)
    assert delisting_moment(listed, hours, DelistingType.DELISTED) == moment + timedelta(days=1)
    assert delisting_moment(by_hand, hours, DelistingType.DELISTED) == datetime(2016, 3, 19)


def test_a_warm_up_in_days_begins_at_midnight() -> None:
    changed: list[str] = []

    def script(algorithm: Recorder) -> None:
        algorithm.set_warm_up(2, Resolution.DAILY)
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_equity("SPY", Resolution.MINUTE)
        kind: Any = type(algorithm)
        kind.on_securities_changed = lambda self, changes: changed.append(str(self.time))

    market = index_market()
    market.trade(SPY, at("09:31"), 545.0)
    play(market, script, last_day=TUESDAY)
    # Monday the 8th is the start: two trading days before lie Friday and, the 4th being a holiday, Wednesday.
    assert changed[0] == "2024-07-03 00:00:00"


def test_hours_back_are_whole_hours() -> None:
    class Clock:
        source = Market()
        utc_ms = NEW_YORK.utc_ms(at("11:20"))

    engine: Any = Clock()
    MarketHoursDatabase.use(market_hours())
    # 10:00 to 11:00 is one, 9:00 to 10:00 holds the open and counts; the third is Friday's last, 15:00 to 16:00.
    starts = [whole_bars_back(engine, SPY, Resolution.HOUR, count, False) for count in (1, 2, 3)]
    assert [NEW_YORK.local(ms) for ms in starts] == [at("10:00"), at("09:00"), datetime(2024, 7, 5, 15)]
    # A day that is over counts from now, not from its midnight.
    engine.utc_ms = NEW_YORK.utc_ms(at("17:00"))
    assert NEW_YORK.local(whole_bars_back(engine, SPY, Resolution.DAILY, 1, False)) == datetime(2024, 7, 7, 17)

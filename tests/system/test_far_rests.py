"""What ends months from now rests until the close where nothing of it can become due (decision 093)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest

from core.book import Position
from core.contracts import Contract
from core.events import ChangeKind, MarketData, PositionChanged
from core.gateway import Gateway, Session
from core.settings.fields import MarketSettings
from greeks.exposure import RoughGreeks
from strategies.base import HoldContext
from strategies.coordinator import QuietMinutes
from strategies.leap_ladder import LeapLadder
from strategies.rests import HeldLooks, Rest, is_far
from strategies.roster import StrategyRoster
from strategies.row import Entry
from strategies.tools import Tools
from tests.fake_gateway import FRIDAY, FakeGateway, build
from tests.risk.floor import Holder
from tests.risk.proposals import NOW, held
from tests.system.still_room import StillRoom
from trading_system import ALWAYS, TradingSystem

DAY = date(2024, 3, 12)
FAR, NEAR = DAY + timedelta(days=151), DAY + timedelta(days=150)
OPENS = datetime.combine(DAY, time(9, 30))
SESSION = Session(DAY, OPENS, OPENS + timedelta(hours=6.5), False)


class Room(StillRoom):
    """Gateway, Greeks and contract ends: short at 4.00 with a delta of -0.10 and -0.24 a day, long at 1.00 without."""

    def __init__(self, position: Position, called: bool = False) -> None:
        self.short, self.long = (leg.contract.name for leg in position.parts[0].package.legs)
        super().__init__({self.short: 4.0, self.long: 1.0})
        self.called = called

    def roughly(self, contract: Contract) -> RoughGreeks:
        if contract.name == self.long:
            return RoughGreeks(0.0, 0.0, 0.0, 5000.0)
        return RoughGreeks(-0.10, 0.0, 0.0, 5000.0, theta=-0.24)

    def may_be_called(self, position: Position) -> bool:
        return self.called


class Limits(Holder):
    """Something is due over a value, over a level of the VIX, from a time on, or by the short leg's delta."""

    def __init__(self, high: float = 99.0, most: float = 99.0, at: time = time(23), asks: bool = False) -> None:
        self.high, self.most, self.at, self.asks = high, most, at, asks

    def is_due(self, position: Position, context: HoldContext) -> bool:
        value = context.values["whole"]
        assert value is not None
        assert context.vix is not None
        if self.asks and context.short_delta(position.parts[0]) is None:
            return False
        return value > self.high or context.vix > self.most or context.now.time() >= self.at


def looked(
    limits: Limits, held_by_name: dict[str, Position], *, called: bool = False, sampled: bool = False
) -> HeldLooks:
    """A look at 11:10 at the first of positions, or at all that are like it."""
    first, *_ = positions = list(held_by_name.values())
    room, now = Room(first, called), datetime.combine(DAY, time(11, 10))
    looks = HeldLooks(cast("Gateway", room), cast("Any", room), cast("Any", room), MarketSettings())
    looks.begin(positions, now, sampled)
    for position in positions:
        if position.expiry == first.expiry:
            looks.looked(limits, position, HoldContext(now, SESSION, {"whole": -3.0}, 5000.0, vix=16.0))
    return looks


def pair(expiry: date = FAR, beside: date = FAR) -> dict[str, Position]:
    return {"one": held("one", "ratio", "SPXW", expiry), "two": held("two", "ratio", "SPXW", beside)}


def rest_of(
    limits: Limits, *, expiry: date = FAR, beside: date = FAR, called: bool = False, sampled: bool = False
) -> Rest:
    """Of a look at the position, which stands beside another."""
    positions = pair(expiry, beside)
    (rest,) = looked(limits, positions, called=called, sampled=sampled).all_of([positions["one"]]) or ()
    return rest


def test_what_ends_late_rests_until_the_close_while_its_value_is_near() -> None:
    """The underlying may move by 37.5 points: 1.25 x 0.10 x 37.5 = 4.6875 points. 290 minutes to the close are 0.2014
    days, at 0.24 a day 0.0483. Four times 4.7358 is 18.9433 either way of -3.00; of the VIX a point."""
    rest = rest_of(Limits())
    assert rest.until == SESSION.closes_at
    (_, spot_low, spot_high), (_, vix_low, vix_high), (_, low, high) = rest.bands
    assert (spot_low, spot_high) == pytest.approx((4962.5, 5037.5))
    assert (vix_low, vix_high) == (15.0, 17.0)
    assert (low, high) == pytest.approx((-21.94333, 15.94333), abs=1e-4)
    assert rest.moves == pytest.approx(473.58, abs=0.01)  # dollars of one package


def test_near_a_limit_the_underlying_may_move_by_less_until_the_close() -> None:
    """Over a value of 1.73, which 4.7358 up would pass: 12.5 points, 1.25 x 0.10 x 12.5 + 0.0483 = 1.6108, of which two
    and no four times are free."""
    rest = rest_of(Limits(high=1.73))
    assert rest.until == SESSION.closes_at
    (_, spot_low, spot_high), _, (_, low, high) = rest.bands
    assert (spot_low, spot_high) == pytest.approx((4987.5, 5012.5))
    assert (low, high) == pytest.approx((-9.44333, 0.22167), abs=1e-4)
    assert rest.moves == inf
    assert rest_of(Limits(high=1.74)).moves == pytest.approx(473.58, abs=0.01)


def test_an_index_may_move_by_more_until_the_close_where_that_moves_the_account_by_little() -> None:
    """Half a percent of 100,000 dollars is 500: one package moves 473.58, two move twice that."""
    positions = pair()
    looks = looked(Limits(), positions)
    assert looks.move_to_close([positions["one"]]) == pytest.approx(0.0075)
    assert looks.move_to_close(list(positions.values())) == 0.0025
    assert looked(Limits(high=1.73), positions).move_to_close([positions["one"]]) == 0.0025
    assert looked(Limits(), pair(beside=NEAR)).move_to_close(list(positions.values())) == 0.0025


@pytest.mark.parametrize(
    ("limits", "until"),
    [
        (Limits(high=-1.38), time(16)),  # one reach up is -1.389
        (Limits(high=-1.40), time(11, 30)),  # of which this would be passed: half hours, and a band of the value
        (Limits(most=17.05), time(16)),
        (Limits(most=16.95), time(11, 30)),  # a point of the VIX may pass it, a tenth of a quarter may not
        (Limits(at=time(16)), time(11, 30)),  # by time it is due at the close
        (Limits(asks=True), time(11, 30)),  # a delta of hours from now is none of now
    ],
)
def test_what_may_come_due_by_the_close_is_looked_at_on_half_hours(limits: Limits, until: time) -> None:
    assert rest_of(limits).until.time() == until


def test_one_that_ends_sooner_keeps_all_on_half_hours() -> None:
    assert rest_of(Limits(), expiry=NEAR).until.time() == time(11, 30)
    assert rest_of(Limits(), beside=NEAR).until.time() == time(11, 30)
    assert rest_of(Limits(), sampled=True).until.time() == time(11, 30)  # samples come with looks
    now = datetime.combine(DAY, time(11))
    assert is_far([held("one", "ratio", "SPXW", FAR)], now)
    assert not is_far([held("one", "ratio", "SPXW", FAR), held("two", "ratio", "SPXW", NEAR)], now)


def test_a_short_call_on_shares_is_looked_at_in_the_last_hour() -> None:
    """Of the session before an ex-date: a dividend over its time value calls it."""
    assert rest_of(Limits(), called=True).until.time() == time(15)


def test_the_vix_may_move_by_a_point_and_to_no_level_at_which_a_rule_looks() -> None:
    low, high = HeldLooks.vix_bounds(19.5, (20.0, 30.0, 40.0))
    assert low == 18.5
    assert high == pytest.approx(20.0)
    assert high < 20.0
    low, high = HeldLooks.vix_bounds(30.25, (20.0, 30.0, 40.0))
    assert low == pytest.approx(30.0)
    assert low > 30.0
    assert high == 31.25
    assert HeldLooks.vix_bounds(20.0, (20.0, 30.0, 40.0)) == (20.0, 20.0)


@pytest.mark.parametrize(
    ("other", "days", "last"),
    [
        ("SPY", 200, time(15, 59)),  # one group: no profits are compared
        ("TLT", 200, time(12, 29)),  # of two groups they are, by samples
        ("SPY", 60, time(12, 29)),  # ends in two months
    ],
)
def test_the_account_rests_until_the_close_where_nothing_is_sampled(
    tmp_path: Path, other: str, days: int, last: time
) -> None:
    _, system = holding(tmp_path, other, days)
    quiet = system.managers[QuietMinutes]
    quiet.looked(NOW, ALWAYS)
    ends = datetime.combine(FRIDAY, last)
    assert quiet.stands(ends)
    assert not quiet.stands(ends + timedelta(minutes=1))


@pytest.mark.parametrize(("days", "spot", "stands"), [(200, 5037.0, True), (200, 5038.0, False), (60, 5013.0, False)])
def test_the_account_rests_while_an_index_moves_by_as_much_as_what_is_held_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, spot: float, stands: bool
) -> None:
    """Three quarters of a percent of 5,000 are 37.5; what ends in two months asks for nothing but a quarter."""
    market, system = holding(tmp_path, "SPY", days)
    quiet = system.managers[QuietMinutes]
    monkeypatch.setattr(system.coordinator.looks, "move_to_close", lambda held: 0.0075)
    quiet.looked(NOW, ALWAYS)
    market.spot = lambda _: spot
    assert quiet.stands(NOW + timedelta(minutes=1)) is stands


def holding(folder: Path, other: str, days: int) -> tuple[FakeGateway, TradingSystem]:
    """Two positions, one of 200 days on the index."""
    market = FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, folder, cash=2_000_000.0)
    system, _ = build(market, phases__earned_progression="false")
    rows = [
        held("one", "ratio", "SPXW", FRIDAY + timedelta(days=200)),
        held("two", "ratio", other, FRIDAY + timedelta(days=days)),
    ]
    market.watch((other,))
    market.subscribe([leg.contract for row in rows for leg in row.legs])
    for ticker in ALWAYS:
        price = market.price_of(ticker)
        system.bus.publish(
            MarketData(time=NOW, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=NOW)
        )
    for row in rows:
        system.book.positions[row.id] = row
        kind = ChangeKind.OPENED
        system.bus.publish(
            PositionChanged(time=NOW, position=row.id, strategy=row.strategy, kind=kind, cash=0.0, fees=0.0)
        )
    return market, system


class Fridays(LeapLadder):
    """The ladder, on Fridays."""

    def _falls_on(self, entry: Entry) -> Callable[[date], bool]:
        return lambda day: day.weekday() == 4


def test_a_row_that_stands_in_opens_on_its_own_days(tmp_path: Path) -> None:
    """The ladder itself opens on Mondays."""
    market = FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path, cash=2_000_000.0)
    system, _ = build(market, run__strategies="leap_ladder", phases__earned_progression="false")
    roster, friday = system.managers[StrategyRoster], FRIDAY
    assert not roster.opens("leap_ladder", "open", friday)
    system.coordinator.stand_in(Fridays(system.managers[Tools], system.settings.leap_ladder))
    assert roster.opens("leap_ladder", "open", friday)
    assert not roster.opens("leap_ladder", "open", friday + timedelta(days=3))

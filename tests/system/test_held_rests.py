"""What is held rests while nothing of it can become due, and nothing is found later for it (decision 046)."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from core.book import Position
from core.contracts import Contract
from core.gateway import Gateway, Session
from core.journal import MemorySink, RecordKind
from core.settings.fields import MarketSettings
from greeks.exposure import RoughGreeks
from strategies.base import HoldContext
from strategies.coordinator import QuietMinutes
from strategies.rests import HeldLooks, band, ends_quietly, shared
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.risk.floor import Holder
from tests.risk.proposals import NOW, held
from tests.strategies.rows import ARRIVED, RowGateway
from tests.system.still_room import StillRoom
from trading_system import ALWAYS, TradingSystem

TUESDAY = date(2024, 3, 12)
EVERY_MINUTE = {"market__held_minutes": "1"}


def walk(seed: int) -> Callable[[datetime], float]:
    """The index: a small walk that drifts down half a point a minute, and from 10:40 on leaps of up to 2.5 % down."""
    dice = random.Random(seed)
    level, levels = 5000.0, {}
    leaps = {dice.randrange(70, 180): dice.uniform(-0.025, 0.01) for _ in range(3)}
    for minute in range(600):
        level = level * (1.0 + leaps.get(minute, 0.0)) + dice.gauss(-0.5, 0.3)
        levels[minute] = level
    opens = datetime.combine(TUESDAY, time(9, 30))
    return lambda moment: levels[min(max(int((moment - opens).total_seconds() // 60), 0), 599)]


def level(value: float) -> Callable[[datetime], float]:
    return lambda _: value


def ran(
    folder: Path, spot: Callable[[datetime], float], until: time, **parameters: str
) -> tuple[TradingSystem, RowGateway, MemorySink]:
    folder.mkdir()
    market = RowGateway(
        datetime.combine(TUESDAY, time()), spot, lambda _: 16.0, folder, cash=1_000_000.0, half_spread=0.0
    )
    system, sink = build(market, run__strategies="ratio,diagonal", **{**ARRIVED, **parameters})
    run_day(system, market, TUESDAY, until=until, resting=True)
    return system, market, sink


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_held_ends_at_the_same_minutes_whether_minutes_rest_or_not(tmp_path: Path, seed: int) -> None:
    each, one, looked = ran(tmp_path / "each", walk(seed), time(13), **EVERY_MINUTE)
    some, other, rested = ran(tmp_path / "rests", walk(seed), time(13))
    sent = [[(when, count, limit) for when, _, count, limit in market.sent] for market in (one, other)]
    ends = [
        [(row["time"], row["position"], row["exit_rule"]) for row in sink.rows(RecordKind.TRADE_CLOSED)]
        for sink in (looked, rested)
    ]
    assert sent[0] == sent[1]
    assert ends[0] == ends[1] != []
    assert some.bus.published["MinutePassed"] < each.bus.published["MinutePassed"]


def test_what_is_held_rests_only_while_nothing_is_near_and_prices_stand(tmp_path: Path) -> None:
    """Held since 10:15: a small move rests, one of half a percent does not, nor one of the VIX by two points."""
    system, market, _ = ran(tmp_path / "held", lambda _: 5000.0, time(11, 30))
    assert market.held
    quiet, now = system.managers[QuietMinutes], datetime.combine(TUESDAY, time(11, 31))
    market.time = now
    system.minute(now)
    quiet.looked(now, ALWAYS)
    later = market.time = datetime.combine(TUESDAY, time(11, 32))
    assert quiet.stands(later)
    for spot, vix, stands in ((5002.0, 16.0, True), (5026.0, 16.0, False), (5000.0, 18.0, False), (5000.0, 16.0, True)):
        market.spot, market.vix = level(spot), level(vix)
        assert quiet.stands(later) is stands
    assert quiet.stands(datetime.combine(TUESDAY, time(11, 59)))
    assert not quiet.stands(datetime.combine(TUESDAY, time(12)))  # rests end on the half hour
    system.book.blocked["a"] = later  # an exit that waits
    assert not quiet.stands(later)
    system.book.blocked.clear()
    quiet.ends()
    assert not quiet.stands(later)


def test_near_a_limit_a_rest_is_tried_again_after_five_minutes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, market, _ = ran(tmp_path / "held", lambda _: 5000.0, time(11, 30))
    looks, tried = system.coordinator.looks, list[str]()
    position = next(iter(system.book.positions.values()))
    strategy = next(row for row in system.coordinator.strategies if row.name == position.strategy)
    monkeypatch.setattr(looks, "_rest_of", lambda *_: tried.append("tried"))
    session = market.session(TUESDAY)
    assert session is not None
    for minute in (31, 32, 35, 36, 37):  # found none at 11:31: again at 11:36
        now = datetime.combine(TUESDAY, time(11, minute))
        looks.looked(strategy, position, HoldContext(now, session, {}, 5000.0))
        assert not looks.rests(position, now)
    assert len(tried) == 2


def test_what_ends_today_lets_the_account_rest_only_while_it_is_little(tmp_path: Path) -> None:
    """Two SPY legs of one contract at 500: they move by as much as 2 x 100 x 500 = 100,000 dollars of SPY at most."""
    market = FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path, cash=100_000.0)
    today, later = held("one", "ipmcc", "SPY"), held("two", "ipmcc", "SPY", FRIDAY + timedelta(days=7))
    market.watch(("SPY",))
    assert ends_quietly(market, [today, later], NOW)
    assert ends_quietly(market, [today], datetime.combine(FRIDAY, time(14, 59)))
    assert not ends_quietly(market, [today], datetime.combine(FRIDAY, time(15)))  # the last hour
    market.cash = 99_999.0
    assert not ends_quietly(market, [today, later], NOW)
    assert ends_quietly(market, [later], datetime.combine(FRIDAY, time(15)))
    market.cash = 200_000.0
    assert not ends_quietly(market, [today, held("three", "lt112", "SPY"), held("four", "lt112", "SPY")], NOW)


def test_what_bands_of_a_ticker_share() -> None:
    bands = [band("SPY", 499.0, 501.0), band("VIX", 15.0, 17.0), band("SPY", 499.5, 502.0), band("VIX", 18.0, 19.0)]
    assert shared(bands) == (band("SPY", 499.5, 501.0), band("VIX", 18.0, 17.0))  # none at all: no VIX is in both


class Quiet(StillRoom):
    """Gateway, Greeks and contract ends of one position: prices by name, delta -0.10 a leg, nothing else moves."""

    def __init__(self, position: Position, **prices: float) -> None:
        short, long = (leg.contract.name for leg in position.parts[0].package.legs)
        self.names = {"short": short, "long": long}
        super().__init__({})
        self.told(**prices)

    def told(self, **prices: float) -> None:
        self.prices |= {self.names.get(name, name): price for name, price in prices.items()}

    def session(self, day: date, root: str = "") -> Session:
        opens = datetime.combine(day, time(9, 30))
        return Session(day, opens, opens + timedelta(hours=6.5), False)

    def roughly(self, contract: Contract) -> RoughGreeks:
        return RoughGreeks(-0.10 if contract.strike > 4930 else 0.0, 0.0, 0.0, 5000.0)

    def may_be_called(self, position: Position) -> bool:
        return False


class Limits(Holder):
    """Something is due where the package is worth more than one value or less than another, or the VIX over a level."""

    def __init__(self, low: float, high: float, most: float = 99.0) -> None:
        self.low, self.high, self.most = low, high, most

    def is_due(self, position: Position, context: HoldContext) -> bool:
        value = context.values["whole"]
        assert value is not None
        assert context.vix is not None
        return value < self.low or value > self.high or context.vix > self.most


def looks_of(room: Quiet) -> HeldLooks:
    return HeldLooks(cast("Gateway", room), cast("Any", room), cast("Any", room), MarketSettings())


def looked_at(position: Position, limits: Limits, **prices: float) -> tuple[HeldLooks, Quiet, datetime]:
    room = Quiet(position, **prices)
    looks, now = looks_of(room), datetime.combine(TUESDAY, time(11, 10))
    value = room.prices[room.names["long"]] - room.prices[room.names["short"]]
    looks.looked(limits, position, HoldContext(now, room.session(TUESDAY), {"whole": value}, 5000.0, vix=16.0))
    return looks, room, now


LATER = TUESDAY + timedelta(days=30)


def test_near_a_limit_a_position_rests_while_its_own_contracts_are_worth_what_the_rules_allow() -> None:
    """Short at 4.00, long at 1.00: worth -3.00. The underlying may move by 12.5 points, of which 1.25 times a delta of
    0.10 is 1.5625 points: the reach. Down to -9.25 (four reaches) nothing is due; up, at -2.90 something is: half,
    a quarter, an eighth of the reach are over it (-2.80), a sixteenth (0.0977) is not: up to -2.9023."""
    position = held("one", "ratio", "SPXW", LATER)
    looks, room, now = looked_at(position, Limits(-99.0, -2.90), short=4.0, long=1.0)
    (rest,) = looks.all_of([position]) or ()
    assert rest.until == datetime.combine(TUESDAY, time(11, 30))
    (_, _, (weights, low, high)) = rest.bands
    assert weights == ((room.names["short"], -1.0), (room.names["long"], 1.0))
    assert (low, high) == pytest.approx((-9.25, -2.90234375))
    for short, rests in ((3.95, True), (3.90, False), (10.2, True), (10.3, False), (4.0, True)):
        room.told(short=short)
        assert looks.rests(position, now) is rests
    room.prices.pop(room.names["long"])
    assert not looks.rests(position, now)  # a price that is gone is no price


def test_a_look_in_the_minute_before_rests_end_waits_for_no_later_try() -> None:
    position, limits = held("one", "ratio", "SPXW", LATER), Limits(-99.0, 0.0)
    room = Quiet(position, short=4.0, long=1.0)
    looks, session = looks_of(room), room.session(TUESDAY)
    for minute, until in ((29, None), (30, time(12)), (31, time(12))):
        now = datetime.combine(TUESDAY, time(11, minute))
        looks.looked(limits, position, HoldContext(now, session, {"whole": -3.0}, 5000.0, vix=16.0))
        found = looks.all_of([position])
        assert (None if found is None else found[0].until.time()) == until


def test_what_is_due_at_once_or_by_the_vix_does_not_rest() -> None:
    position = held("one", "ratio", "SPXW", LATER)
    for limits in (Limits(-99.0, -2.99), Limits(-3.01, 0.0), Limits(-99.0, 0.0, most=16.05)):
        assert looked_at(position, limits, short=4.0, long=1.0)[0].all_of([position]) is None
    looks, room, now = looked_at(position, Limits(-99.0, 0.0, most=16.15), short=4.0, long=1.0)
    assert looks.rests(position, now)  # of 0.4 points of VIX a quarter is 0.1
    room.told(VIX=16.11)
    assert not looks.rests(position, now)


def test_a_value_that_is_not_that_of_the_prices_leaves_less_room() -> None:
    """A long without a bid is marked at half its offer, and LEAN's price is the offer: 1.00 for 0.50."""
    position = held("one", "ratio", "SPXW", LATER)
    room = Quiet(position, short=4.0, long=1.0)
    looks, now = looks_of(room), datetime.combine(TUESDAY, time(11, 10))
    context = HoldContext(now, room.session(TUESDAY), {"whole": -3.5}, 5000.0, vix=16.0)
    looks.looked(Limits(-5.0, -1.0), position, context)
    (rest,) = looks.all_of([position]) or ()
    # reach 1.5625: down half of it to -4.28 is free, up once to -1.94; half a point of each side is not trusted
    assert rest.bands[2][1:] == pytest.approx((-3.0 - 0.78125 + 0.5, -3.0 + 1.5625 - 0.5))


def test_what_ends_today_rests_by_its_own_contracts_alone_and_moves_the_account_by_little() -> None:
    """0.25 % of 100,000 dollars are 250, a tenth of it 25: 0.25 points of one contract. Four times that either way."""
    position = held("one", "friday_0dte", "SPXW", TUESDAY)
    looks, _, now = looked_at(position, Limits(-9.0, 0.0), short=4.0, long=1.0)
    (rest,) = looks.all_of([position]) or ()
    assert rest.bands[2][1:] == pytest.approx((-4.0, -2.0))
    assert rest.risked == pytest.approx(200.0)
    assert looks.ending([position], now) == rest.bands
    assert looks.ending([position, held("two", "friday_0dte", "SPXW", TUESDAY)], now) is None  # nobody looked at it
    later = held("three", "ratio", "SPXW", LATER)
    assert looks.ending([later], now) == ()

    class Asks(Limits):
        def is_due(self, position: Position, context: HoldContext) -> bool:
            return context.short_delta(position.parts[0]) is not None

    assert looked_at(position, Asks(-9.0, 0.0), short=4.0, long=1.0)[0].all_of([position]) is None


@pytest.mark.parametrize(("at", "until"), [(time(14, 40), time(15)), (time(15), None), (time(15, 10), None)])
def test_what_ends_today_is_looked_at_each_minute_of_the_last_hour(at: time, until: time | None) -> None:
    position = held("one", "friday_0dte", "SPXW", TUESDAY)
    room = Quiet(position, short=4.0, long=1.0)
    looks, now = looks_of(room), datetime.combine(TUESDAY, at)
    context = HoldContext(now, room.session(TUESDAY), {"whole": -3.0}, 5000.0, vix=16.0)
    looks.looked(Limits(-9.0, 0.0), position, context)
    found = looks.all_of([position])
    assert (None if found is None else found[0].until.time()) == until

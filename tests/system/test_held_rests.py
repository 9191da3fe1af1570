"""What is held rests while nothing of it can become due, and nothing is found later for it (decision 046)."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.journal import MemorySink, RecordKind
from strategies.base import HoldContext, ends_quietly, shared
from strategies.coordinator import QuietMinutes
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.risk.proposals import NOW, held
from tests.strategies.rows import ARRIVED, RowGateway
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
    ends = [[(row["time"], row["reason"]) for row in sink.rows(RecordKind.TRADE_CLOSED)] for sink in (looked, rested)]
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
    assert not quiet.stands(datetime.combine(TUESDAY, time(11, 46)))  # a quarter of an hour is the longest
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
        assert not looks.rests(position, now, 5000.0)
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
    bands = [("SPY", 499.0, 501.0), ("VIX", 15.0, 17.0), ("SPY", 499.5, 502.0), ("VIX", 18.0, 19.0)]
    assert shared(bands) == (("SPY", 499.5, 501.0), ("VIX", 18.0, 17.0))  # none at all: no VIX is in both

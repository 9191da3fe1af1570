"""A stop trades on no single bad quote, and no exit pays more than its package can be worth."""

# Private: _on_session_opened, _on_market_data, _working: its handlers, without the bus; what works between two minutes.

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contracts import Contract, Leg, Package, Quote, Right
from core.events import MarketData, SessionOpened
from core.instruments import INSTRUMENTS
from core.journal import RecordKind
from core.parts import Urgency
from core.settings.fields import QuoteSettings
from execution.executor import AtomicExecutor
from execution.walking import within_worth
from market.freshness import DataFault, QuoteJudge, TwoLooks, worth_at_most
from state.store import StateStore
from tests.execution.desk import put
from tests.fake_gateway import FRIDAY, build
from tests.risk.floor import Floor, crossed

NOON = datetime(2024, 3, 8, 12)
SPXW = INSTRUMENTS["SPXW"]


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path, vix=39.0)


# What is wrong with a quote


class Judge:
    """A judge over quotes and prices that the test sets."""

    def __init__(self) -> None:
        self.quotes: dict[str, Quote] = {}
        self.judge = QuoteJudge(self, self, QuoteSettings())  # type: ignore[arg-type]  # a gateway's and a bus's one call

    def subscribe(self, *_: object, **__: object) -> None:
        return

    def quote(self, contract: Contract) -> Quote | None:
        return self.quotes.get(contract.name)

    def price(self, value: float, at: datetime) -> None:
        event = MarketData(time=at, ticker="SPX", open=value, high=value, low=value, price=value, fresh_at=at)
        self.judge._on_market_data(event)

    def fault(self, bid: float | None, ask: float | None, at: datetime = NOON) -> DataFault | None:
        self.quotes[put(4950.0).name] = Quote(bid, ask, at)
        return self.judge.fault(put(4950.0), NOON, [put(4950.0), put(4920.0)])


@pytest.mark.parametrize(
    ("bid", "ask", "fault"),
    [
        (4.0, 4.2, None), (4.3, 4.2, DataFault.CROSSED), (None, 4.2, DataFault.ONE_SIDED),
        (4.0, None, DataFault.ONE_SIDED), (1.0, 61.0, DataFault.WIDE), (1.0, 2.9, None),  # 1.9 points are little
        (30.0, 34.0, None),  # 4 points of 32 are an eighth
    ],
)  # fmt: skip
def test_sides_and_width(bid: float | None, ask: float | None, fault: DataFault | None) -> None:
    assert Judge().fault(bid, ask) is fault


def test_a_quote_is_stale_by_what_happened_since_and_never_by_age_alone() -> None:
    judge = Judge()
    judge.price(5000.0, NOON - timedelta(minutes=60))
    judge.price(5004.9, NOON)
    old = NOON - timedelta(minutes=55)
    assert judge.fault(4.0, 4.2, old) is None  # an hour old, the index moved 0.098 %, nobody quoted since
    judge.quotes[put(4920.0).name] = Quote(1.0, 1.2, NOON - timedelta(minutes=1))
    assert judge.fault(4.0, 4.2, old) is DataFault.STALE  # its wing quoted since
    assert judge.fault(4.0, 4.2, NOON - timedelta(seconds=120)) is None  # two minutes are no age
    judge.quotes.clear()
    judge.price(5005.1, NOON + timedelta(seconds=1))
    assert judge.fault(4.0, 4.2, old) is DataFault.STALE  # 0.102 %
    assert judge.fault(4.0, 4.2, NOON - timedelta(days=1)) is DataFault.STALE  # the price of then is not known
    judge.judge._on_session_opened(SessionOpened(time=NOON, day=FRIDAY, closes_at=NOON))
    assert judge.fault(4.0, 4.2, old) is DataFault.STALE


def test_two_looks_running() -> None:
    looks = TwoLooks(timedelta(seconds=90))
    minute = timedelta(minutes=1)
    assert not looks.again("x", NOON, True)
    assert not looks.again("x", NOON, True)  # the same look
    assert looks.again("x", NOON + minute, True)
    assert not looks.again("x", NOON + 2 * minute, False)
    assert not looks.again("x", NOON + 3 * minute, True)
    assert not looks.again("x", NOON + 5 * minute, True)  # too far apart
    assert looks.confirmed("y", NOON, True, True)
    assert not looks.confirmed("z", NOON, False, None)
    assert not looks.confirmed("z", NOON + minute, False, False)


# Stops


def stops(floor: Floor) -> list[str]:
    return [group.rule for group in floor.executor._working]


@pytest.mark.parametrize(("bid", "ask"), [(500.0, 200.0), (100.0, 700.0), (150.0, 151.0)])
def test_one_bad_quote_fires_no_stop(floor: Floor, bid: float, ask: float) -> None:
    name = floor.opened()
    crossed(floor, put(4950.0), Quote(bid, ask, NOON))
    floor.pass_minutes()
    assert stops(floor) == []
    crossed(floor, put(4950.0), None)
    floor.pass_minutes(2)
    assert stops(floor) == []
    assert name in floor.system.book.positions


@pytest.mark.parametrize("wait", range(7))
def test_a_bad_quote_is_no_volatility_in_whichever_minute_it_comes(floor: Floor, wait: int) -> None:
    # volatilities are measured anew every five minutes: a bad quote of that very minute must not become the model's
    floor.opened()
    floor.pass_minutes(wait)
    if not floor.system.book.positions:
        return  # it took its profit before
    crossed(floor, put(4950.0), Quote(45.0, 45.5, NOON))
    floor.pass_minutes()
    assert stops(floor) == []
    crossed(floor, put(4950.0), None)
    floor.pass_minutes()
    assert "stop_loss" not in stops(floor)


def test_a_quote_that_may_never_be_believed_never_stops(floor: Floor) -> None:
    floor.opened()
    crossed(floor, put(4950.0), Quote(100.0, 700.0, NOON))
    floor.pass_minutes(5)
    assert stops(floor) == []


def test_believed_quotes_stop_at_the_second_look(floor: Floor) -> None:
    # the short is quoted 30 points while the model says some 4; a minute later it still is, and the model follows
    floor.opened()
    crossed(floor, put(4950.0), Quote(30.0, 30.4, NOON))
    seen = []
    for _ in range(4):
        floor.pass_minutes()
        seen.append(bool(stops(floor)) or not floor.system.book.positions)
    assert seen == [False, True, True, True]


def test_a_dearer_quote_that_the_model_does_not_share_stops_at_its_second_look_only(floor: Floor) -> None:
    # 9 points for what the model holds for some 3: believed when a minute repeated it, and a stop a minute after that
    floor.opened()
    crossed(floor, put(4950.0), Quote(9.0, 9.4, NOON))
    floor.pass_minutes(2)
    assert stops(floor) == []
    floor.pass_minutes()
    assert stops(floor) == ["stop_loss"] or not floor.system.book.positions


def test_a_real_fall_stops_at_once_by_the_model(floor: Floor) -> None:
    floor.opened()
    floor.gateway.spot = lambda _: 4937.0
    floor.pass_minutes()
    assert stops(floor) == ["stop_loss"]


def after_restart(floor: Floor, strategies: str) -> Floor:
    """The next process, in which other strategies are enabled."""
    floor.system.managers[StateStore].close()
    again = object.__new__(Floor)
    again.gateway, again.answers = floor.gateway, []
    again.system, again.sink = build(floor.gateway, run__strategies=strategies)
    again.executor, again.state = again.system.managers[AtomicExecutor], floor.state
    return again


def test_what_a_strategy_that_is_no_longer_enabled_holds_is_managed_all_the_same(floor: Floor) -> None:
    floor.opened()
    again = after_restart(floor, "ratio")
    assert [one.name for one in again.system.coordinator.strategies] == ["ratio"]
    assert [one.name for one in again.system.coordinator.managing] == ["ratio", "friday_0dte"]
    again.gateway.spot = lambda _: 4937.0
    again.pass_minutes()
    assert stops(again) == ["stop_loss"]


def test_a_position_that_no_strategy_here_knows_is_told_and_halts_entries(floor: Floor) -> None:
    name = floor.opened()
    book = floor.system.book
    book.positions[name] = replace(book.positions[name], strategy="of_another_version")
    floor.pass_minutes(2)
    assert f"{name} is of of_another_version" in (floor.system.bus.entries_halted or "")
    told = [row for row in floor.sink.rows(RecordKind.ERROR) if row["component"] == "coordinator"]
    assert len(told) == 1


def test_no_exit_stands_beyond_the_width(floor: Floor) -> None:
    # a spread of 30 points whose short is quoted 190 to 230: its exit pays 30 at most, whatever natural says
    floor.opened()
    floor.gateway.fills_allowed = False
    crossed(floor, put(4950.0), Quote(190.0, 230.0, NOON))
    (position,) = floor.system.book.positions.values()
    floor.executor.close(position, "test", "test", Urgency.FINAL)
    floor.pass_minutes(3)
    limits = [limit for _, package, _, limit in floor.gateway.sent if package.legs[0].ratio > 0]
    assert limits == [-30.0]
    assert {group.limit for group in floor.executor._working} == {-30.0}


# What a package can be worth


def contract(strike: float, right: Right, expiry: date = FRIDAY) -> Contract:
    return SPXW.contract(expiry, strike, right)


def legs(*rows: tuple[int, float, Right]) -> tuple[Leg, ...]:
    return tuple(Leg(contract(strike, right), ratio) for ratio, strike, right in rows)


def test_the_most_that_legs_can_be_worth() -> None:
    put_, call = Right.PUT, Right.CALL
    condor = legs((1, 4950, put_), (-1, 4920, put_), (1, 5050, call), (-1, 5100, call))
    assert worth_at_most(condor) == 50.0  # the wider side
    assert worth_at_most(legs((1, 4950, put_))) == 4950.0
    assert worth_at_most(legs((1, 5050, call))) == inf
    assert worth_at_most(legs((-1, 4950, put_), (1, 4920, put_))) == 0.0
    later = (*legs((1, 4950, put_)), Leg(contract(4920, put_, FRIDAY + timedelta(days=7)), -1))
    assert worth_at_most(later) == inf  # time value
    assert within_worth(-80.0, Package(condor), 0.05) == -50.0
    assert within_worth(-20.0, Package(condor), 0.05) == -20.0
    assert within_worth(-9.0, Package(legs((-1, 4950, put_), (1, 4920, put_))), 0.05) == -0.05


@given(
    st.lists(
        st.tuples(st.integers(-3, 3).filter(bool), st.integers(80, 120), st.sampled_from(list(Right))),
        min_size=1, max_size=4, unique_by=lambda row: row[1:],
    ),
    st.floats(1.0, 20_000.0),
)  # fmt: skip
def test_no_price_makes_legs_worth_more(rows: list[tuple[int, int, Right]], price: float) -> None:
    held = legs(*((ratio, 50.0 * strike, right) for ratio, strike, right in rows))
    payoff = sum(
        leg.ratio * max((price - leg.contract.strike) * (1 if leg.contract.right is Right.CALL else -1), 0.0)
        for leg in held
    )
    assert payoff <= worth_at_most(held) + 1e-6

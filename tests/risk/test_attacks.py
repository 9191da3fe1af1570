"""Whatever a feed says for a minute, beside what is held: nothing acts on it, nothing raises, all is as before.

Each field of each answer of the gateway in turn, and of each event; then a seeded walk through all of it.
"""

# Private: _strategies: a strategy that holds through everything.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from core.contracts import Quote
from core.events import Command, Event, FillStatus, MarketData, MinutePassed, OrderUpdated, SessionClosed
from core.gateway import Holding, Tick
from core.journal import RecordKind
from market.freshness import DataFault, quote_fault
from risk.drawdown import DrawdownPlugin
from risk.manager import UnifiedRiskManager
from tests.fake_gateway import FRIDAY, FakeGateway
from tests.risk.floor import Floor, Holder
from tests.risk.proposals import NOW, proposal

BAD: Final = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, -1e300)
FIELDS: Final = {
    "quote": ("bid", "ask"),
    "tick": ("price", "open", "high", "low"),
    "account": ("equity", "cash", "engine_margin_free"),
    "holdings": ("price", "average_price"),
    "listing": ("close", "volatility"),
    "daily_bars": ("open", "high", "low", "close"),
}
SPOILT: Final = [(answer, field, value) for answer, fields in FIELDS.items() for field in fields for value in BAD]


def changing(field: str, value: float) -> Callable[[Any], Any]:
    return lambda row: replace(row, **{field: value})


def spoil(floor: Floor, answer: str, change: Callable[[Any], Any]) -> None:
    """What the gateway answers from now on, changed."""
    true = getattr(FakeGateway, answer)

    def changed(*asked: Any, **more: Any) -> Any:
        found = true(floor.gateway, *asked, **more)
        return [change(row) for row in found] if isinstance(found, list) else None if found is None else change(found)

    setattr(floor.gateway, answer, changed)


def mend(floor: Floor, answer: str) -> None:
    floor.gateway.__dict__.pop(answer, None)


def standing(floor: Floor) -> tuple[object, ...]:
    """What no minute of untrue figures may change."""
    system = floor.system
    locks = system.managers[UnifiedRiskManager].locks
    sent = len(floor.gateway.sent)
    return (
        sorted(system.book.positions), floor.where(), system.bus.entries_halted, locks, dict(system.bus.errors), sent,
        floor.sink.rows(RecordKind.ERROR), system.book.paid_in,
    )  # fmt: skip


def holding(folder: Path) -> Floor:
    """A floor with a spread of the day, which its row holds through everything: what acts is risk."""
    made = Floor(folder)
    made.system.coordinator._strategies["friday_0dte"] = Holder()
    made.opened()
    made.pass_minutes(2)
    return made


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return holding(tmp_path)


def as_before(floor: Floor, act: Callable[[], None], after: int = 3) -> None:
    """Act, let minutes pass that are as they should be, and find all as it was."""
    drawdown = floor.system.managers[DrawdownPlugin]
    before, peak = standing(floor), drawdown.peak
    act()
    floor.pass_minutes(after)
    assert standing(floor) == before
    assert drawdown.peak == pytest.approx(peak, rel=3e-3)


@pytest.mark.parametrize(("answer", "field", "value"), SPOILT)
def test_a_field_that_cannot_be_true_changes_nothing(floor: Floor, answer: str, field: str, value: float) -> None:
    def act() -> None:
        spoil(floor, answer, changing(field, value))
        floor.pass_minutes()
        floor.say(Command.STATUS)
        assert floor.system.managers[UnifiedRiskManager].review(proposal()).contracts <= 1
        mend(floor, answer)

    as_before(floor, act)


def other_quote(quote: Quote) -> Iterator[Quote]:
    """Two-sided quotes that say something else than the true one."""
    bid, ask = quote.bid or 0.01, quote.ask or 0.01
    yield replace(quote, bid=ask + 50.0, ask=bid)
    yield replace(quote, bid=ask)
    yield replace(quote, bid=100.0 * bid, ask=100.0 * ask)
    yield replace(quote, bid=bid / 100.0, ask=ask / 100.0)
    yield replace(quote, bid=None)
    yield replace(quote, ask=None)
    yield replace(quote, bid=None, ask=None)
    for apart in (timedelta(days=-400), timedelta(hours=-5), timedelta(days=400)):
        yield replace(quote, time=quote.time + apart)


@pytest.mark.parametrize("which", range(10))
def test_a_minute_of_quotes_of_another_world_changes_nothing(floor: Floor, which: int) -> None:
    def act() -> None:
        spoil(floor, "quote", lambda row: list(other_quote(row))[which])
        floor.pass_minutes()
        mend(floor, "quote")

    as_before(floor, act)


@pytest.mark.parametrize("apart", [timedelta(days=400), timedelta(days=-400), timedelta(hours=-5)])
def test_a_price_of_another_time_changes_nothing(floor: Floor, apart: timedelta) -> None:
    def late(tick: Tick) -> Tick:
        return replace(tick, fresh_at=None if tick.fresh_at is None else tick.fresh_at + apart)

    def act() -> None:
        spoil(floor, "tick", late)
        floor.pass_minutes()
        mend(floor, "tick")

    as_before(floor, act)


def events(floor: Floor) -> Iterator[Event]:
    """Prices of each field that cannot be true, of the past and twice; closes, minutes and fills alike."""
    now = floor.gateway.time
    for ticker in ("SPX", "SPY", "VIX", "TLT", ""):
        price = floor.gateway.price_of(ticker or "SPX")
        sound = MarketData(time=now, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=now)
        for value in BAD:
            yield replace(sound, price=value)
            yield replace(sound, open=value, high=value, low=value)
        for share in (0.5, 3.0):
            for old in (timedelta(days=3), timedelta(hours=2), timedelta(minutes=1)):
                yield replace(sound, time=now - old, price=share * price, high=share * price, low=share * price)
    for value in BAD:
        yield SessionClosed(time=now, day=FRIDAY, equity=value)
        fill = OrderUpdated(
            time=now, order_id=99_999, contract="SPY 240507P440", status=FillStatus.FILLED, fill_quantity=1.0,
            fill_price=1.0, fee=1.0,
        )  # fmt: skip
        yield replace(fill, fill_quantity=value)
        yield replace(fill, fill_price=value)
        yield replace(fill, fee=value)
    for old in (timedelta(0), timedelta(hours=3), timedelta(days=300)):
        yield MinutePassed(time=now - old)


@pytest.mark.parametrize("part", range(8))
def test_events_that_cannot_be_true_or_come_twice_or_late_change_nothing(floor: Floor, part: int) -> None:
    for at in range(part, len(list(events(floor))), 8):

        def act(at: int = at) -> None:
            event = list(events(floor))[at]
            floor.system.bus.publish(event)
            floor.system.bus.publish(event)

        as_before(floor, act, after=1)


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(hours=3), timedelta(days=400)])
def test_an_event_of_a_time_to_come_hides_nothing_that_comes_after_it(floor: Floor, ahead: timedelta) -> None:
    # A VIX of 20 from next year, and minutes and a session of then: a VIX of 45 of today still closes what sold it.
    soon = floor.gateway.time + ahead
    for event in (
        MarketData(time=soon, ticker="VIX", open=20.0, high=20.0, low=20.0, price=20.0, fresh_at=soon),
        MinutePassed(time=soon), SessionClosed(time=soon, day=soon.date(), equity=100_000.0),
    ):  # fmt: skip
        floor.system.bus.publish(event)
    floor.gateway.vix = lambda _: 45.0
    floor.pass_minutes(5)
    assert list(floor.system.book.positions) == []


def test_a_clock_that_is_set_back_makes_no_rule_blind(floor: Floor) -> None:
    floor.gateway.time += timedelta(minutes=50)  # an hour, as in autumn, is the most that the clock takes
    floor.pass_minutes(1)
    floor.gateway.time -= timedelta(minutes=50)
    floor.gateway.vix = lambda _: 45.0
    floor.pass_minutes(5)
    assert list(floor.system.book.positions) == []


@pytest.mark.parametrize("quantity", [math.nan, math.inf, -math.inf, 1e300, -1e300])
@pytest.mark.parametrize(
    "name", ["SPY", "TSLA", "ESH25", "SPY 240507P440", "SPXW 240308P4000", "ZZZ 240315P1", "NG", ""]
)
def test_a_quantity_that_cannot_be_true_opens_nothing_and_closes_nothing(
    tmp_path: Path, name: str, quantity: float
) -> None:
    floor = Floor(tmp_path)
    held = floor.opened()
    true = floor.gateway.holdings
    floor.gateway.holdings = lambda: [*true(), Holding(name, quantity, 50.0, 50.0)]  # type: ignore[method-assign]
    again = floor.again()
    again.pass_minutes(3)
    assert list(again.system.book.positions) == [held]
    assert again.system.managers[UnifiedRiskManager].review(proposal()).contracts == 0
    again.say(Command.STATUS)
    assert again.sink.rows(RecordKind.ERROR) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_side_that_is_no_number_is_no_quote(value: float) -> None:
    for quote in (Quote(value, 2.0, NOW), Quote(1.0, value, NOW), Quote(value, value, NOW)):
        assert quote_fault(quote) is DataFault.ZERO
        assert quote.mid is None
    assert quote_fault(Quote(-1.0, 2.0, NOW)) is DataFault.ZERO
    assert quote_fault(Quote(0.0, 2.0, NOW)) is DataFault.ONE_SIDED


@pytest.mark.parametrize("seed", range(3))
def test_a_seeded_walk_through_all_of_it_ends_as_it_began(tmp_path: Path, seed: int) -> None:
    draw, floor = Random(seed), holding(tmp_path)

    def act() -> None:
        for answer, field, value in draw.sample(SPOILT, 2):
            spoil(floor, answer, changing(field, value))
        floor.pass_minutes()
        for answer in FIELDS:
            mend(floor, answer)
        floor.system.bus.publish(draw.choice(list(events(floor))))

    for _ in range(12):
        as_before(floor, act)
        floor.say(draw.choice([Command.STATUS, Command.EXPLAIN]), "\ud800")
    again = floor.again()
    again.system.coordinator._strategies["friday_0dte"] = Holder()
    again.pass_minutes(2)
    assert list(again.system.book.positions) == list(floor.system.book.positions)
    assert again.where() == "NORMAL"

"""What goes before its contract does something that nobody asked for."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from core.book import Position, position_of
from core.contracts import Contract, Leg, Package, Quote, Right
from core.instruments import INSTRUMENTS
from core.parts import WHOLE, Part, Terms, Trait, Urgency
from strategies.base import HoldContext
from strategies.exits import ContractEnds
from strategies.tools import MarketAccess
from tests.fake_gateway import FakeGateway, build


def held(contract: Contract, ratio: int, traits: frozenset[Trait] = frozenset()) -> Position:
    terms = Terms("test", "single", 100.0, 100.0, traits)
    moment = datetime(2024, 1, 5, 10, 0)
    return position_of("p", Part(WHOLE, Package((Leg(contract, ratio),)), 1, moment, (1.0,), 100.0, 1.0, terms))


class Asking:
    """What is due of a position at a moment, with SPY at a price (the fake's index is ten times that)."""

    def __init__(self, folder: Path) -> None:
        self.gateway = FakeGateway(datetime(2024, 3, 8, 10, 0), lambda _: 5000.0, lambda _: 20.0, folder)
        market = build(self.gateway)[0].managers[MarketAccess]
        self._ends = ContractEnds(self.gateway, market.calendar, market.marks)

    def __call__(self, position: Position, now: datetime, spy: float = 500.0) -> list[tuple[str, Urgency]]:
        self.gateway.time, self.gateway.spot = now, lambda _: spy * 10
        session = self.gateway.session(now.date())
        assert session is not None
        return [(row.rule, row.urgency) for row in self._ends.due(position, HoldContext(now, session))]


@pytest.fixture
def due(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


AM = INSTRUMENTS["SPX"].contract(date(2024, 3, 15), 5000.0, Right.PUT, "handle")


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("2024-03-14T14:59", []),
        ("2024-03-14T15:00", [("contract_ends", Urgency.URGENT)]),  # Thursday, an hour before the close
        ("2024-03-14T15:30", [("contract_ends", Urgency.FINAL)]),
        ("2024-03-15T10:00", [("contract_ends", Urgency.FINAL)]),
        ("2024-03-13T15:59", []),
    ],
)
def test_a_morning_settled_contract_goes_the_day_before(
    due: Asking, now: str, found: list[tuple[str, Urgency]]
) -> None:
    assert due(held(AM, -1), datetime.fromisoformat(now)) == found


def test_a_box_is_a_person_s_and_an_afternoon_contract_ends_in_cash(due: Asking) -> None:
    moment = datetime(2024, 3, 14, 15, 45)
    assert due(held(AM, -1, frozenset({Trait.HELD_BY_PERSON})), moment) == []
    evening = INSTRUMENTS["SPXW"].contract(date(2024, 3, 14), 5000.0, Right.PUT, "handle")
    assert due(held(evening, -1), moment) == []


@pytest.mark.parametrize(
    ("root", "early", "late"),
    [
        ("LO", "2024-03-15T13:29", "2024-03-15T13:30"),  # stops at 14:30: an hour before
        ("EUU", "2024-03-14T14:59", "2024-03-14T15:00"),  # stops at 10:00: too soon after the open, so the day before
        ("ES", "2024-03-15T14:59", "2024-03-15T15:00"),
    ],
)
def test_an_option_on_a_future_goes_before_its_last_moment(due: Asking, root: str, early: str, late: str) -> None:
    contract = INSTRUMENTS[root].contract(date(2024, 3, 15), 80.0, Right.PUT, "handle")
    for ratio in (-1, 1):  # a long one would be exercised into a future as well
        assert due(held(contract, ratio), datetime.fromisoformat(early)) == []
        assert due(held(contract, ratio), datetime.fromisoformat(late)) == [("contract_ends", Urgency.URGENT)]


# SPY at 500 and 1.5 % a year pay 500 x 0.015 / 4 = 1.875 a quarter. A call with strike 450 is worth 50 inside.
@pytest.mark.parametrize(
    ("bid", "ask", "now", "spy", "found"),
    [
        (51.0, 51.8, "2024-03-14T15:00", 500.0, True),  # 1.40 of time value is under 1.875
        (51.0, 51.8, "2024-03-14T14:59", 500.0, False),
        (51.6, 52.4, "2024-03-14T15:00", 500.0, False),  # 2.00 is over it
        (51.0, 51.8, "2024-03-13T15:00", 500.0, False),  # not tomorrow
        (51.0, 51.8, "2024-03-15T15:00", 500.0, True),  # ex on the Monday after
        (51.0, 51.8, "2024-02-15T15:00", 500.0, False),  # no quarter's month
        (0.1, 0.2, "2024-03-14T15:00", 449.0, False),  # out of the money
        (None, None, "2024-03-14T15:00", 500.0, True),  # in the money and without a quote
    ],
)
def test_a_short_call_with_less_time_value_than_the_dividend_goes_the_day_before(
    due: Asking, bid: float | None, ask: float | None, now: str, spy: float, found: bool
) -> None:
    call = INSTRUMENTS["SPY"].contract(date(2024, 4, 19), 450.0, Right.CALL, "handle")
    moment = datetime.fromisoformat(now)
    shown = None if bid is None else Quote(bid, ask, moment - timedelta(minutes=1))
    due.gateway.quote = lambda contract: shown  # type: ignore[method-assign]
    assert bool(due(held(call, -1), moment, spy)) is found
    assert due(held(call, 1), moment, spy) == []  # ours to exercise

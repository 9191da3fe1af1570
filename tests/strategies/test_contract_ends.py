"""What goes before its contract does something that nobody asked for."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.book import Position, position_of
from core.contracts import Contract, Leg, Package, Quote, Right
from core.gateway import Dividend
from core.instruments import INSTRUMENTS
from core.parts import WHOLE, Part, Terms, Trait, Urgency
from core.settings.fields import Settings
from market.calendar import DividendDays, EventCalendar
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


def paid(*rows: tuple[str, float]) -> tuple[Dividend, ...]:
    return tuple(Dividend(date.fromisoformat(day), amount) for day, amount in rows)


# Third Fridays: SPY. What comes is the larger of the last, 1.906, and that of the year before, 1.506.
THIRD_FRIDAYS = paid(("2023-03-17", 1.506), ("2023-06-16", 1.638), ("2023-09-15", 1.583), ("2023-12-15", 1.906))
# The first session of each month: TLT.
FIRST_SESSIONS = paid(("2023-10-02", 0.29), ("2023-11-01", 0.30), ("2023-12-01", 0.28), ("2024-01-02", 0.31))
# The third Monday but for June, when it was a session later: QQQ.
MONDAYS = paid(("2023-03-20", 0.47), ("2023-06-20", 0.50), ("2023-09-18", 0.54), ("2023-12-18", 0.81))


@pytest.mark.parametrize(
    ("known", "today", "day", "comes"),
    [
        (THIRD_FRIDAYS, "2024-03-14", "2024-03-15", 1.906),
        (THIRD_FRIDAYS, "2024-03-13", "2024-03-14", 0.0),
        (THIRD_FRIDAYS, "2024-02-15", "2024-02-16", 0.0),  # no month of theirs
        (THIRD_FRIDAYS, "2023-12-15", "2023-12-18", 0.0),  # it went ex today
        (paid(("2023-03-17", 2.0), *((str(row.day), row.amount) for row in THIRD_FRIDAYS[1:])),
         "2024-03-14", "2024-03-15", 2.0),  # that of the year before was the larger
        (THIRD_FRIDAYS[:2], "2024-03-14", "2024-03-15", None),  # the file ended nine months ago: 273 days, usually 91
        (THIRD_FRIDAYS[:2], "2023-09-14", "2023-09-15", 1.638),  # half a year of file: by the gap of 91 days
        (THIRD_FRIDAYS[:1], "2023-06-15", "2023-06-16", None),  # one tells no gap
        ((), "2024-03-14", "2024-03-15", None),
        (FIRST_SESSIONS, "2024-01-31", "2024-02-01", 0.31),
        (FIRST_SESSIONS, "2024-01-30", "2024-01-31", 0.0),
        (MONDAYS, "2024-03-13", "2024-03-14", 0.0),
        (MONDAYS, "2024-03-14", "2024-03-15", 0.81),  # one session early, as far as June missed the rule
        (MONDAYS, "2024-03-15", "2024-03-18", 0.81),
        (MONDAYS, "2024-03-18", "2024-03-19", 0.81),  # not ex yet
        (MONDAYS, "2024-03-19", "2024-03-20", 0.0),
    ],
)  # fmt: skip
def test_what_comes_is_estimated_by_what_was_paid(
    due: Asking, known: tuple[Dividend, ...], today: str, day: str, comes: float | None
) -> None:
    due.gateway.payouts, due.gateway.closed_days = {"SPY": known}, frozenset({date(2024, 1, 1)})
    due.gateway.time = datetime.combine(date.fromisoformat(today), time(15, 0))
    days = DividendDays(due.gateway, EventCalendar(due.gateway, Settings().market))
    assert days.due("SPY", date.fromisoformat(day)) == comes


# The call with strike 450 is worth 50 inside at 500. The file's 1.906 decides, not 1.875 by the yield; what the file
# says of days to come is not asked for.
@pytest.mark.parametrize(
    ("mid", "now", "known", "found"),
    [
        (51.90, "2024-03-14T15:00", THIRD_FRIDAYS, True),  # 1.90 of time value
        (51.91, "2024-03-14T15:00", THIRD_FRIDAYS, False),
        (51.91, "2024-03-14T15:00", (*THIRD_FRIDAYS, *paid(("2024-03-15", 5.0))), False),  # not known yet
        (51.00, "2024-03-15T15:00", THIRD_FRIDAYS, False),  # the Monday after is a day by the yield's rule alone
        (50.10, "2024-01-31T15:00", FIRST_SESSIONS, True),  # a month that no quarter ends
    ],
)
def test_the_file_s_dividends_decide_where_there_are_any(
    due: Asking, mid: float, now: str, known: tuple[Dividend, ...], found: bool
) -> None:
    due.gateway.payouts, due.gateway.closed_days = {"SPY": known}, frozenset({date(2024, 1, 1)})
    call = INSTRUMENTS["SPY"].contract(date(2024, 4, 19), 450.0, Right.CALL, "handle")
    moment = datetime.fromisoformat(now)
    shown = Quote(mid - 0.05, mid + 0.05, moment - timedelta(minutes=1))
    due.gateway.quote = lambda contract: shown  # type: ignore[method-assign]
    assert bool(due(held(call, -1), moment)) is found

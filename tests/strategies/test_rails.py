"""What rows are made of: day rules with holidays, gates, exits by severity, and how few contracts a look adds."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.gateway import Session
from core.parts import Urgency
from core.settings.strategies import FridayZeroDaySettings
from market.vix import VixReading, VixRegime
from strategies.base import Close, EntryContext, HoldContext, Skip, Wait
from strategies.exits import also, hard_deadline, last_day, loss_of_credit, most_severe, near_strike, profit_of_credit
from strategies.friday_0dte import FridayZeroDay
from strategies.gates import FRIDAY as A_FRIDAY
from strategies.gates import MONDAY, TUESDAY, WEDNESDAY, DayRule, any_day, every, first, second, vix_window, weeks
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.risk.proposals import held

NEW_YEAR_MONDAY = date(2024, 1, 1)
CHRISTMAS_WEDNESDAY = date(2024, 12, 25)
GOOD_FRIDAY = date(2024, 3, 29)
CLOSED = {NEW_YEAR_MONDAY, CHRISTMAS_WEDNESDAY, GOOD_FRIDAY}


def is_open(day: date) -> bool:
    return day.weekday() < 5 and day not in CLOSED


@pytest.mark.parametrize(
    ("rule", "day", "phase", "due"),
    [
        (every(MONDAY), date(2024, 1, 8), 1, True),
        (every(MONDAY), date(2024, 1, 9), 1, False),
        (every(MONDAY), NEW_YEAR_MONDAY, 1, False),  # closed, and the week goes on:
        (every(MONDAY), date(2024, 1, 2), 1, True),  # moved to the Tuesday after it
        (every(MONDAY), date(2024, 1, 3), 1, False),
        (every(A_FRIDAY), GOOD_FRIDAY, 1, True),  # lost, and somebody says so
        (every(A_FRIDAY), date(2024, 4, 1), 1, False),  # never into the next week
        (first(WEDNESDAY), date(2024, 5, 1), 1, True),
        (first(WEDNESDAY), date(2024, 5, 8), 1, False),
        (every(WEDNESDAY), date(2024, 12, 26), 1, True),
        (second(TUESDAY), date(2024, 10, 8), 1, True),
        (second(TUESDAY), date(2024, 10, 15), 1, False),
        (first(WEDNESDAY).from_phase(4, every(WEDNESDAY)), date(2024, 5, 8), 3, False),
        (first(WEDNESDAY).from_phase(4, every(WEDNESDAY)), date(2024, 5, 8), 4, True),
        (weeks((1, 2, 3, 4), MONDAY), date(2024, 7, 22), 1, True),
        (weeks((1, 2, 3, 4), MONDAY), date(2024, 7, 29), 1, False),  # the fifth Monday
        (any_day(), date(2024, 7, 4), 1, True),
        (any_day(), date(2024, 7, 6), 1, False),
    ],
)
def test_on_which_days_an_entry_is_due(rule: DayRule, day: date, phase: int, due: bool) -> None:
    assert rule.is_due(day, phase, is_open) is due


def context(vix: float | None) -> EntryContext:
    now = datetime.combine(FRIDAY, time(10, 30))
    session = Session(FRIDAY, now, now + timedelta(hours=5.5), False)
    reading = None if vix is None else VixReading(vix, VixRegime.NORMAL, None, None, now)
    return EntryContext(now, session, reading, 100_000.0, 4)


@pytest.mark.parametrize(
    ("vix", "above", "blocked"),
    [
        (22.0, True, "vix_window"),
        (22.0, False, None),
        (22.01, True, None),
        (41.0, True, "vix_window"),
        (21.9, False, "vix_window"),
    ],
)
def test_the_vix_window(vix: float, above: bool, blocked: str | None) -> None:
    own = FridayZeroDaySettings(min_vix=22.0, max_vix=40.0)
    answer = vix_window(own, above=above)(context(vix))
    assert (None if answer is None else answer.rule) == blocked
    if isinstance(answer, Skip):
        assert answer.observed == vix


def test_without_a_fresh_vix_the_row_waits() -> None:
    assert isinstance(vix_window(FridayZeroDaySettings())(context(None)), Wait)


def hold(now: datetime, value: float, spot: float = 5000.0) -> HoldContext:
    session = Session(now.date(), now, datetime.combine(now.date(), time(16)), False)
    return HoldContext(now, session, {"whole": value}, spot)


def test_of_several_exits_the_most_severe_decides() -> None:
    part = held("p", "row", "SPXW").parts[0]  # sold for 3.00
    rules = (profit_of_credit(0.5), loss_of_credit(2.0), hard_deadline(time(15, 30), 30))
    late, noon = datetime.combine(FRIDAY, time(15, 20)), datetime.combine(FRIDAY, time(12))
    gained = most_severe(rules, part, hold(noon, -1.0))
    assert gained is not None
    assert (gained.rule, gained.urgency) == ("profit_target", Urgency.NORMAL)
    ended = most_severe(rules, part, hold(late, -1.0))
    assert ended is not None
    assert (ended.rule, ended.urgency) == ("deadline", Urgency.FINAL)  # done by 15:30, so urgent from 15:20
    assert most_severe(rules[2:], part, hold(late - timedelta(minutes=1), -1.0)) is None
    lost = most_severe(rules, part, hold(noon, -9.0))  # 6.00 lost on 3.00
    assert lost is not None
    assert (lost.rule, lost.urgency) == ("stop_loss", Urgency.URGENT)
    assert most_severe(rules, part, hold(noon, -2.5)) is None


def test_an_exit_may_close_other_parts_with_its_own() -> None:
    part = held("p", "row", "SPXW").parts[0]
    answer = also(profit_of_credit(0.5), "weekly")(part, hold(datetime.combine(FRIDAY, time(12)), -1.0))
    assert isinstance(answer, Close)
    assert answer.parts == ("whole", "weekly")


def test_near_the_short_strike_and_on_the_last_day() -> None:
    part = held("p", "row", "SPXW").parts[0]  # short 4950
    noon = datetime.combine(FRIDAY, time(12))
    assert near_strike(lambda _: 25.0)(part, hold(noon, -3.0, spot=4976.0)) is None
    assert near_strike(lambda _: 25.0)(part, hold(noon, -3.0, spot=4975.0)) is not None
    ends = last_day(time(15, 30))  # done by 15:30: urgent from 15:20
    assert ends(part, hold(datetime.combine(part.expiry, time(15, 19)), -3.0)) is None
    urgent = ends(part, hold(datetime.combine(part.expiry, time(15, 20)), -3.0))
    assert urgent is not None
    assert urgent.urgency is Urgency.URGENT
    assert ends(part, hold(datetime.combine(part.expiry - timedelta(days=1), time(15, 25)), -3.0)) is None


class Counting(FakeGateway):
    """Counts the contracts that were ever added."""

    added: set[str]

    def subscribe(self, contracts: object) -> None:
        rows = list(contracts)  # type: ignore[call-overload]
        self.added = {*getattr(self, "added", set()), *(row.name for row in rows)}
        super().subscribe(rows)


def test_a_look_adds_a_dozen_contracts_and_releases_them_at_the_decision(tmp_path: Path) -> None:
    gateway = Counting(datetime.combine(FRIDAY, time()), lambda now: 5000.0 + now.minute % 3, lambda _: 24.0, tmp_path)
    gateway.fills_allowed = False
    system, _ = build(gateway)
    run_day(system, gateway, FRIDAY, until=time(11, 0))
    assert gateway.sent  # it looked, and an entry was sent
    assert 4 <= len(gateway.added) <= 12
    assert gateway.subscribed == {}
    assert system.managers[FridayZeroDay].underlyings() == ("SPX", "XSP", "SPY")
    assert system.tickers == ("VIX", "SPY", "XSP", "SPX")

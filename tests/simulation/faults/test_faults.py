"""The fault layer by itself: the same seed does the same, every pair gets its turn, reports arrive as they should."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.contracts import Quote
from simulation.faults.chance import Faults
from simulation.faults.kinds import PAIRS, Fault, FaultSettings, faults_of
from simulation.faults.quotes import QuoteFaults
from simulation.faults.reports import ReportFaults

NOON = datetime(2024, 3, 8, 12, 0)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON


def faults(clock: Clock, *on: Fault, seed: int = 1, usual: float = 1.0) -> Faults:
    return Faults(FaultSettings(seed, frozenset(on), usual, rates={}), lambda: clock.now)


def test_a_fault_that_is_off_never_strikes_and_one_at_rate_one_always_does() -> None:
    made = faults(Clock(), Fault.LOST)
    assert [made.strikes(Fault.LOST, "a"), made.strikes(Fault.LATE, "a")] == [True, False]
    assert [str(row) for row in made.story] == ["Fri 12:00 report lost: a"]


def test_the_same_seed_does_the_same_and_another_seed_another_thing() -> None:
    def drawn(seed: int) -> list[object]:
        made = faults(Clock(), *Fault, seed=seed, usual=0.5)
        return [(made.strikes(fault), made.delay(), made.outage(), made.some(range(4))) for fault in Fault]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_every_pair_of_faults_gets_its_turn_and_each_tenth_seed_has_them_all() -> None:
    assert len(PAIRS) == 22 * 21 // 2
    seeds = range(10 * -(-len(PAIRS) // 9))  # nine pairs for ten seeds
    assert {faults_of(seed) for seed in seeds} == {frozenset(pair) for pair in PAIRS} | {frozenset(Fault)}
    assert faults_of(19) == frozenset(Fault)


def test_a_rate_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"faults.LATE: 1.5; expected a share from 0 to 1"):
        FaultSettings(1, frozenset(), rates={Fault.LATE: 1.5})


def test_a_late_report_comes_at_its_time_and_not_before() -> None:
    clock, told = Clock(), list[str]()
    reports = ReportFaults(faults(clock, Fault.LATE), told.append)
    reports.tell("filled", "order 1")
    reports.pass_time()
    assert (told, reports.waiting) == ([], 1)
    clock.now += timedelta(minutes=20)  # the latest there is
    reports.pass_time()
    assert (told, reports.waiting) == (["filled"], 0)


def test_a_duplicated_report_comes_twice_and_a_lost_one_never() -> None:
    clock, told = Clock(), list[str]()
    twice = ReportFaults(faults(clock, Fault.DUPLICATED), told.append)
    never = ReportFaults(faults(clock, Fault.LOST), told.append)
    twice.tell("filled", "order 1")
    never.tell("cancelled", "order 2")
    clock.now += timedelta(minutes=20)
    twice.pass_time()
    never.pass_time()
    assert told == ["filled", "filled"]


def test_a_report_that_is_overtaken_comes_right_after_the_next() -> None:
    clock, told = Clock(), list[str]()
    made = faults(clock, Fault.REORDERED, seed=2, usual=0.5)
    reports = ReportFaults(made, told.append)
    for number in range(20):
        reports.tell(str(number), "order")
    reports.pass_time()
    assert sorted(told, key=int) == [str(number) for number in range(20)]
    assert told != sorted(told, key=int)


def test_what_was_on_its_way_to_a_process_that_died_is_lost() -> None:
    clock, told = Clock(), list[str]()
    reports = ReportFaults(faults(clock, Fault.LATE), told.append)
    reports.tell("filled", "order 1")
    reports.forget()
    clock.now += timedelta(hours=1)
    reports.pass_time()
    assert told == []


def shown(fault: Fault) -> list[Quote | None]:
    """What is shown of 4.00 at 4.20, rising a cent a minute, over an hour in which the fault always strikes."""
    clock, rows = Clock(), list[Quote | None]()
    quotes = QuoteFaults(faults(clock, fault))
    for minute in range(60):
        clock.now = NOON + timedelta(minutes=minute)
        rows.append(quotes.shown("P", Quote(4.00 + minute / 100, 4.20 + minute / 100, clock.now)))
    return rows


def test_quotes_lose_a_side_cross_freeze_and_spike() -> None:
    assert any(row is not None and (row.bid is None or row.ask is None) for row in shown(Fault.QUOTE_MISSING))
    crossed = [row for row in shown(Fault.QUOTE_CROSSED) if row is not None and row.mid is None]
    assert crossed
    assert all(round((row.bid or 0.0) - (row.ask or 0.0), 2) == 0.10 for row in crossed)
    frozen = [row.time for row in shown(Fault.QUOTE_FROZEN) if row is not None]
    assert len(set(frozen)) < 60
    spiked = [row.ask for row in shown(Fault.QUOTE_SPIKE) if row is not None and row.ask is not None]
    assert max(spiked) > 16.0 or min(spiked) < 1.5


def test_what_is_shown_does_not_depend_on_who_asks_how_often() -> None:
    clock = Clock()
    quote = Quote(4.0, 4.2, NOON)
    once, often = (QuoteFaults(faults(clock, Fault.QUOTE_SPIKE, usual=0.5)) for _ in range(2))
    often.shown("other", quote)
    assert [often.shown("P", quote), often.shown("P", quote)] == [once.shown("P", quote)] * 2

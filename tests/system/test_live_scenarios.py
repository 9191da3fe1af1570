"""The recorded scenarios of LEAN's live mode with today's code: nothing doubled, nothing naked, everything told.

What is done and when is that of `conformance/live/*.scenario.txt`. docs/live.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from execution.groups import OrderGroup
from execution.recovery import BrokerLooks, OrderRecovery
from execution.states import GroupStates
from simulation.lean.enums import BrokerageMessageType
from simulation.live_mode.account import Broker
from state.manager import HierarchicalStateManager
from tests.system.live_runs import FRIDAY_BEFORE, LiveRun

pytestmark = pytest.mark.slow


def ended_well(run: LiveRun) -> None:
    """What holds after every scenario."""
    run.assert_nothing_naked()
    run.assert_nothing_doubled()
    assert not [row for row in run.journal("system") if "halted: an act failed" in str(row["reason"])]


def test_a_session_on_paper_enters_and_exits_once_and_its_threads_are_lean_s(tmp_path: Path) -> None:
    """Run A."""
    run = LiveRun(tmp_path)
    run.start("9:28:00")
    run.until("16:05:00")
    assert all(row.quantity > 0 for row in run.session.alive.portfolio.values() if row.invested)
    run.session.until(run.day + timedelta(days=1, hours=2))  # what was worth nothing expires, by Chicago's midnight
    run.session.stop()
    ended_well(run)
    assert run.held == {}
    assert len(run.journal("trade_closed")) == 1
    run.assert_one_decision("trade", "filled")
    by_name = {call.name: call.thread for call in run.session.calls}
    assert by_name["on_data"] == "algorithm"
    assert by_name["session_opens"] == "schedule"
    fills = [call for call in run.events("FILLED") if "@0.0" not in call.detail]  # without the expiry
    assert {call.thread for call in fills} == {"orders-1"}
    minutes = [call for call in run.session.calls if call.name == "on_data" and not call.detail]
    assert len(minutes) >= 390
    # 13.4: extra slices in the seconds after contracts were added, without data
    assert [call for call in run.session.calls if call.detail == "bars=[]"]


def test_w_the_exit_does_not_fire_on_a_bid_that_has_vanished_and_monday_finds_nothing(tmp_path: Path) -> None:
    """Run W: LEAN exited at 11:00 on a wing shown at 0.05 that nobody bid for since 10:48; its backtest at 11:07."""
    run = LiveRun(tmp_path, day=FRIDAY_BEFORE)
    run.start("9:30:18")
    run.until("16:05:00")
    exits = [row for row in run.journal("order") if row["action"] == "sent" and row["purpose"] == "exit"]
    legs = [[leg["ratio"] for leg in row["legs"]] for row in exits]
    assert legs[0] == [1]  # the wing is left out, and sold by itself should somebody bid for it again
    assert all(row == [-1] for row in legs[1:])
    assert exits[0]["time"] >= "2016-02-05T11:0"
    run.assert_one_decision("trade", "filled")
    run.day += timedelta(days=1)
    run.until("0:05:30")
    run.day += timedelta(days=2)
    run.until("10:05:15")
    assert not run.session.alive.transactions.get_open_orders()
    run.session.stop()
    ended_well(run)
    assert run.held == {}
    assert len(run.journal("trade_closed")) == 1
    assert len([call for call in run.session.calls if call.name == "session_opens"]) == 2
    assert len(run.journal("decision")) == 1


def test_r_a_look_that_comes_while_the_entry_is_being_sent_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run R: three seconds between plan and send; the reconciliation in between ended the group, the entry was lost."""
    run = LiveRun(tmp_path, rate=0.0)
    plain, paused = GroupStates.plan_entry, list[int]()

    def plan(states: GroupStates, group: OrderGroup, fingerprint: str) -> None:
        plain(states, group, fingerprint)
        paused.append(len(run.session.alive.calls))
        run.session.alive.threads.wait(3_000)
        paused.append(len(run.session.alive.calls))

    monkeypatch.setattr(GroupStates, "plan_entry", plan)
    run.start("9:28:00")
    run.until("10:30:01")
    run.session.command('{"command": "reconcile"}')
    run.until("10:37:00")
    assert paused[1] > paused[0]  # something was called in between
    run.session.stop()
    ended_well(run)
    run.assert_one_decision("trade", "filled")
    assert [row["action"] for row in run.journal("order")].count("sent") == 1
    assert not [row for row in run.journal("reconciliation") if "never sent" in str(row["reason"])]


def killed_while_the_entry_works(tmp_path: Path) -> LiveRun:
    """C1 to C5 up to the kill at 10:32:30: the entry works at the broker, unfilled."""
    run = LiveRun(tmp_path)
    run.session.control("nofill")
    run.start("9:28:00")
    run.until("10:32:30")
    run.session.kill()
    assert len(run.account.working) == 1
    return run


def test_c1_an_entry_restored_without_a_tag_is_taken_back_once(tmp_path: Path) -> None:
    run = killed_while_the_entry_works(tmp_path)
    run.start("10:33:33")
    run.until("10:36:30")
    run.session.control("")
    run.until("10:50:15")
    run.session.stop()
    ended_well(run)
    run.assert_one_decision("skip", "not_filled")
    assert (run.held, run.account.working, run.account.cash) == ({}, [], 100_000.0)
    assert len(run.events("CANCELED")) == 2


def test_c2_an_entry_that_the_broker_reports_late_is_taken_back_too(tmp_path: Path) -> None:
    run = killed_while_the_entry_works(tmp_path)
    late = run.account.working.pop()
    run.start("10:33:33")
    run.until("10:33:40")
    run.session.appear(late)
    run.until("10:36:30")
    run.session.control("")
    run.until("10:50:15")
    run.session.stop()
    ended_well(run)
    assert (run.held, run.account.working) == ({}, [])
    run.assert_one_decision("skip", "not_filled")
    assert any("not seen at the broker yet" in str(row["reason"]) for row in run.journal("reconciliation"))


def test_c3_an_entry_that_was_lost_ends_at_the_second_look(tmp_path: Path) -> None:
    run = killed_while_the_entry_works(tmp_path)
    run.account.working.clear()
    run.session.control("")
    run.start("10:33:33")
    run.until("10:50:15")
    run.session.stop()
    ended_well(run)
    assert (run.held, run.account.working) == ({}, [])
    run.assert_one_decision("skip", "not_filled")
    ends = [row for row in run.journal("reconciliation") if "nothing filled, nothing works" in str(row["reason"])]
    assert ends
    assert all(row["time"] >= "2016-02-12T10:35:00" for row in ends)  # 120 s after the first look


def test_c4_an_entry_that_filled_meanwhile_is_a_position(tmp_path: Path) -> None:
    run = killed_while_the_entry_works(tmp_path)
    run.account.fill(run.account.working[0], [1.25, 0.2])
    run.session.control("")
    run.start("10:33:33")
    run.until("10:50:15")
    run.session.stop()
    ended_well(run)
    run.assert_one_decision("trade", "filled")
    assert sorted(run.held.values()) == [-2.0, 2.0]
    assert any("the broker's fill stands" in str(row["reason"]) for row in run.journal("reconciliation"))


def test_c5_an_entry_that_filled_in_half_is_unwound_its_short_first(tmp_path: Path) -> None:
    run = killed_while_the_entry_works(tmp_path)
    run.account.fill(run.account.working[0], [1.25, 0.2], legs=1)  # the short leg alone
    run.session.control("")
    run.start("10:33:33")
    run.until("10:50:15")
    run.session.stop()
    ended_well(run)
    assert (run.held, run.account.working) == ({}, [])
    run.assert_one_decision("skip", "not_filled")
    assert [row["reason"] for row in run.journal("trade_closed")] == ["a package was left incomplete"]


def test_x_a_working_exit_of_before_the_kill_is_adopted_and_fills(tmp_path: Path) -> None:
    """LEAN numbers from 1 again: the exit has the number that the filled entry had, and was cancelled as its orphan."""
    run = LiveRun(tmp_path, day=FRIDAY_BEFORE)
    run.start("9:28:00")
    run.until("10:55:00")
    run.session.control("nofill")
    run.until_event("id=3")  # the exit's first leg
    run.session.until(run.session.now + timedelta(minutes=3))
    run.session.kill()
    working = run.account.working[0].number
    again = run.session.zone.local(run.session.calls[-1].utc_ms) + timedelta(minutes=1)
    run.session.start(again)
    run.session.until(again + timedelta(minutes=6))
    orders = run.session.alive.transactions.get_open_orders()
    assert orders, f"{working} was taken back"
    assert orders[0].id == 1
    run.session.control("")
    run.session.until(again + timedelta(minutes=25))
    run.session.stop()
    ended_well(run)
    assert not [row for row in run.journal("reconciliation") if "to be cancelled" in str(row["reason"])]
    restarted = run.session.zone.utc_ms(again)
    bought = [call for call in run.events("FILLED fill=2.0") if call.utc_ms > restarted]
    assert len(bought) == 1  # the short, bought once
    assert not [quantity for quantity in run.held.values() if quantity < 0]


def test_n_a_refused_cancel_is_repeated_and_told_and_a_refused_price_is_not_believed(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    run.session.control("nofill")
    run.start("9:28:00")
    run.until("10:33:30")
    run.session.control("nofill noupdate")
    run.until("10:35:30")
    refused = [row for row in run.journal("order") if row["action"] == "price_refused"]
    assert refused
    first = next(row for row in run.journal("order") if row["action"] == "sent")
    assert refused[-1]["limit_cash"] == first["limit_cash"]  # what the broker has
    run.session.control("nofill nocancel")
    run.until("10:46:00")
    assert any("cannot be cancelled" in text for text in run.notices())
    run.session.control("nofill")
    run.until("10:48:00")
    assert not run.session.alive.transactions.get_open_orders()
    run.session.command('{"command": "halt"}')
    run.until("10:56:00")
    run.session.command('{"command": "close_all"}')
    run.until("11:21:00")
    run.session.stop()
    ended_well(run)
    assert (run.held, run.account.working) == ({}, [])


@pytest.mark.parametrize("broker", [Broker.SIMULATED, Broker.PAPER])
def test_b_a_kill_with_a_position_open_keeps_it_or_finds_it_forgotten(tmp_path: Path, broker: Broker) -> None:
    run = LiveRun(tmp_path, day=FRIDAY_BEFORE, broker=broker)
    run.start("9:30:00")
    run.until("10:42:31")
    assert run.session.alive.portfolio.invested
    run.session.kill()
    run.start("10:43:31")
    run.until("11:25:15")
    run.session.stop()
    ended_well(run)
    closed = run.journal("trade_closed")
    run.assert_one_decision("trade", "filled")
    if broker is Broker.SIMULATED:
        assert sorted(run.held.values()) == [-2.0, 2.0] or len(closed) == 1
    else:
        assert run.held == {}
        assert [row["profit"] for row in closed] == [None]  # nobody knows what it brought: no win


def test_de_dead_feeds_end_nothing_and_commands_are_answered(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    run.start("9:30:00")
    run.until("10:38:00")
    for text, taken in (
        ('{"command": "status"}', True),
        ('{"command": "STATUS", "subject": 5}', True),
        ('{"command": "dance"}', False),
        ('{"id": "s4"}', False),
        ('{"command": ["halt"]}', False),
        ('{"command": " halt "}', True),
        ('{"command": "resume"}', True),
    ):
        run.session.command(text)
        run.session.until(run.session.now + timedelta(seconds=10))
        assert run.session.answers[-1] == (text, taken)
    run.until("10:45:00")
    for words, clock in (("outage", "10:55:00"), ("crossed", "10:57:00"), ("nobid", "10:59:00"), ("noask", "11:01:00")):
        run.session.control(words)
        run.until(clock)
    run.session.control("")
    run.until("11:03:00")
    run.session.control("noindex")
    run.until("11:12:00")
    run.session.control("brokerdown")
    run.until("11:14:00")
    run.session.message(BrokerageMessageType.ERROR, "order not acknowledged within 10 s")
    run.until("11:15:00")
    run.session.control("")
    run.until("11:22:30")
    assert run.session.alive.stop_reason is None  # LEAN's own handler ends the algorithm
    told = " ".join(run.notices())
    assert "the broker says: Disconnected" in told
    assert "the broker says: order not acknowledged within 10 s" in told
    assert "SPY has no fresh price, last seen 10:44" in told
    assert re.search(r"SPY has fresh prices again at 10:5\d, it had none since 10:5\d", told)
    assert re.search(r"the quote of SPXW \S+ is crossed at 10:5\d", told)
    assert re.search(r"the quote of SPXW \S+ is good again at 1\d:\d\d, it was not since 10:5\d", told)
    assert "SPX has no fresh price, last seen 11:02" in told
    assert re.search(r"SPX has fresh prices again at 11:1\d", told)
    assert "the connection to the broker is back at 11:15" in told
    run.session.command('{"command": "close_all"}')
    run.until("11:40:00")
    run.session.stop()
    ended_well(run)
    assert not [quantity for quantity in run.held.values() if quantity < 0]


def test_f_starts_on_a_saturday_and_after_the_window_open_nothing_and_account_for_the_day(tmp_path: Path) -> None:
    runs = (
        (13, "9:20:00", "10:40:00"),
        (12, "15:40:00", "16:05:00"),
        (12, "11:30:00", "11:48:00"),
        (12, "16:20:00", "16:25:00"),  # after the close too
    )
    for day, start, end in runs:
        run = LiveRun(tmp_path / f"{day}-{start.replace(':', '-')}", day=LiveRun(tmp_path).day.replace(day=day))
        run.start(start)
        run.until(end)
        run.session.stop()
        assert (run.held, run.account.working) == ({}, [])
        assert not run.events()
        if day == 12:
            run.assert_one_decision("skip", "missed")
        else:
            assert not run.journal("decision")


def test_a_restart_within_the_window_looks_again_when_nothing_was_sent(tmp_path: Path) -> None:
    """Killed at 10:29, started at 10:30:30: nothing may open until a second look at 10:33, then the entry is sent."""
    run = LiveRun(tmp_path)
    run.start("9:28:00")
    run.until("10:29:30")
    run.session.kill()
    run.start("10:30:30")
    run.until("10:45:00")
    run.session.stop()
    ended_well(run)
    run.assert_one_decision("trade", "filled")
    sent = [row["time"] for row in run.journal("order") if row["action"] == "sent" and row["purpose"] == "entry"]
    assert ["2016-02-12T10:32" < time < "2016-02-12T10:36" for time in sent] == [True]


def test_what_was_decided_is_not_looked_for_again_after_a_restart(tmp_path: Path) -> None:
    """An entry that ended unfilled at 10:36 has its row; the window is still open when the next process starts."""
    run = LiveRun(tmp_path)
    run.session.control("nofill")
    run.start("9:28:00")
    run.until("10:39:00")
    run.session.kill()
    run.session.control("")
    run.start("10:39:30")
    run.until("10:55:00")
    run.session.stop()
    ended_well(run)
    run.assert_one_decision("skip", "not_filled")


def test_a_start_outside_of_a_session_looks_at_the_account_at_once(tmp_path: Path) -> None:
    """What expired on Friday without a process is settled on Saturday, not at Monday's open.

    Two calls at 1860 and 1870 for 0.95, the index closed at 1864.78: 2 x 100 x (0.95 - 4.78) - 4 of fees = -770.
    """
    run = LiveRun(tmp_path)
    run.start("9:28:00")
    run.until("10:45:00")
    run.session.kill()
    run.account.held.clear()
    run.day += timedelta(days=1)
    run.start("9:20:00")
    run.until("9:24:00")
    assert str(run.session.alive.algorithm.system.managers[HierarchicalStateManager].system) == "normal"  # type: ignore[attr-defined]
    assert [round(row["profit"], 2) for row in run.journal("trade_closed")] == [-770.0]
    run.session.stop()


def test_reduce_stays_reduce(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    run.start("9:28:00")
    run.until("10:45:00")
    run.session.command('{"command": "reduce"}')
    run.until("10:50:00")
    system = run.session.alive.algorithm.system  # type: ignore[attr-defined]
    assert str(system.managers[HierarchicalStateManager].system) == "reducing"
    assert system.bus.entries_halted is None
    run.session.stop()


def test_looks_at_the_broker_are_a_quarter_of_an_hour_apart_and_never_within_an_act(tmp_path: Path) -> None:
    """The looks of the start (until certain), of the open, and then each fifteen minutes after the last one."""
    run = LiveRun(tmp_path)
    run.start("9:20:00")
    system = run.session.alive.algorithm.system  # type: ignore[attr-defined]
    recovery, looks = system.managers[OrderRecovery], list[str]()
    broker = system.managers[BrokerLooks]
    plain = broker.reconcile

    def noted(in_flight: Collection[str]) -> object:
        looks.append(f"{run.session.now:%H:%M}")
        return plain(in_flight)

    broker.reconcile = noted
    run.until("9:25:00")
    looks.clear()
    run.until("10:20:00")
    assert looks == ["09:31", "09:46", "10:01", "10:16"]
    state = system.managers[HierarchicalStateManager]
    state.acting += 1
    recovery.reconcile()
    assert len(looks) == 4
    state.acting -= 1
    recovery.reconcile()
    assert len(looks) == 5
    run.session.stop()


def test_an_empty_listing_is_asked_for_again_until_it_is_there(tmp_path: Path) -> None:
    """LEAN's list of a chain is empty when it is asked before its data are ready (Lean issue 8688)."""
    run = LiveRun(tmp_path)
    run.start("9:28:00")
    algorithm: Any = run.session.alive.algorithm
    algorithm.option_chain = lambda symbol: ()
    run.until("10:34:30")
    assert not run.journal("decision")
    del algorithm.option_chain
    run.until("10:45:00")
    run.session.stop()
    run.assert_one_decision("trade", "filled")


def test_an_expired_contract_that_still_stands_in_the_portfolio_is_no_position(tmp_path: Path) -> None:
    """Lean issues 5016 and 5545: on Saturday the account still shows Friday's calls; see the -770 above."""
    run = LiveRun(tmp_path)
    run.start("9:28:00")
    run.until("10:45:00")
    run.session.kill()
    assert run.account.held
    run.day += timedelta(days=1)
    run.start("9:20:00")
    run.until("9:30:00")
    assert [round(row["profit"], 2) for row in run.journal("trade_closed")] == [-770.0]
    assert not [row for row in run.journal("reconciliation") if "belongs to no package" in str(row["reason"])]
    run.session.stop()


def test_an_index_that_the_feed_does_not_have_is_told_at_each_open(tmp_path: Path) -> None:
    run = LiveRun(tmp_path)
    run.session.control("noindex")
    run.start("9:28:00")
    run.until("10:50:00")
    run.session.stop()
    told = " ".join(run.notices())
    assert "SPX is not in the feed: a broker's may quote its options and not the index" in told
    assert run.held == {}


def test_an_index_that_the_feed_does_not_have_is_implied_where_a_person_wants_it(tmp_path: Path) -> None:
    """The level by parity is that of the index, which this account's feed does not show, within two points."""
    run = LiveRun(tmp_path, parameters={"market.implied_index": "true"})
    run.session.control("noindex")
    run.start("9:28:00")
    run.until("10:05:00")
    tick = run.session.alive.algorithm.gateway.tick("SPX")  # type: ignore[attr-defined]
    assert tick.implied
    security = next(row for row in run.session.alive.securities.everything.values() if row.symbol.value == "SPX")
    with run.session.alive.quotes.market(run.session.alive.market_ms):
        assert abs(tick.price - security.price) < 2.0
    told = " ".join(run.notices())
    assert re.search(r"SPX is not in the feed: from 09:3\d its level is implied by the parity of its options", told)
    run.session.control("")
    run.until("10:10:00")
    run.session.stop()
    assert "SPX has a price of its own from 10:0" in " ".join(run.notices())

"""The embedded live mode against what was measured of LEAN (lean-facts, section 13), by hand-written minutes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from simulation.lean.clock import NEW_YORK
from simulation.lean.enums import BrokerageMessageType
from simulation.live_mode.account import Broker, Held, LiveAccount, WorkingGroup, WorkingLeg
from tests.simulation.live_mode.watching import OPTION, algorithm, moment, session, told


def test_data_come_on_the_algorithm_thread_within_the_minutes_first_second_and_schedules_on_theirs_a_second_late(
    tmp_path: Path,
) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.until(moment("9:37:30"))
    assert algorithm(live).live_mode
    data = [call for call in live.alive.calls if call.name == "on_data"]
    scheduled = [call for call in live.alive.calls if call.name == "by_schedule"]
    assert {call.thread for call in data} == {"algorithm"}
    late = [call.utc_ms % 60_000 for call in data if call.detail == ""]
    assert late
    assert all(1 <= value <= 690 for value in late)
    assert len(set(late)) > 1  # another offset each minute
    assert [call.thread for call in scheduled] == ["schedule"]
    due = NEW_YORK.utc_ms(moment("9:35:00"))
    assert 1_000 < scheduled[0].utc_ms - due < 1_010
    assert scheduled[0].algorithm_ms <= scheduled[0].utc_ms  # the time of the last slice
    live.stop()


def test_a_bid_that_vanished_stays_visible_with_its_size(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.until(moment("9:45:30"))
    _, bid, size, ended = algorithm(live).quotes[-1]
    live.stop()
    assert (bid, size) == (2.0, 10.0)
    assert ended == moment("9:45:00")  # the ask was new: the bar is


def test_an_outage_is_seen_in_the_age_of_the_last_bar_alone(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.until(moment("9:35:30"))
    live.control("outage")
    live.until(moment("9:38:30"))
    assert algorithm(live).quotes[-1][3] == moment("9:35:00")
    live.control("")
    live.until(moment("9:39:30"))
    assert algorithm(live).quotes[-1][3] == moment("9:39:00")
    live.stop()


def test_a_submission_returns_new_and_its_events_come_later_on_the_order_thread(tmp_path: Path) -> None:
    live = session(tmp_path, order="1.9")
    live.start(moment("9:29:00"))
    live.until(moment("9:35:30"))
    assert told(live)[:3] == ["schedule", "NEW", "1 SUBMITTED "]
    live.until(moment("9:37:30"))
    assert told(live)[3] == "1 FILLED "
    threads = {call.thread for call in live.alive.calls if call.name == "on_order_event"}
    assert threads == {"orders-1"}
    live.stop()
    assert [(row.symbol, row.quantity) for row in live.account.held] == [(OPTION, -1.0)]


def test_a_cancel_is_pending_within_the_call_and_done_later_and_a_refused_one_sends_no_event(tmp_path: Path) -> None:
    live = session(tmp_path, order="3.0")
    live.start(moment("9:29:00"))
    live.until(moment("9:36:00"))
    live.control("nocancel")
    algorithm(live).tickets[0].cancel("away")
    assert told(live)[-1] == "1 CANCEL_PENDING "
    live.until(moment("9:36:30"))
    assert told(live)[-1] == "1 CANCEL_PENDING "  # nothing came
    assert str(algorithm(live).tickets[0].status) == "SUBMITTED"  # it fell back
    assert any("Brokerage failed to cancel order with id 1" in line for line in live.log)
    live.control("")
    algorithm(live).tickets[0].cancel("away")
    live.until(moment("9:37:00"))
    assert told(live)[-2:] == ["1 CANCEL_PENDING ", "1 CANCELED "]
    live.stop()


def test_a_refused_update_sends_the_old_status_and_leaves_the_price(tmp_path: Path) -> None:
    live = session(tmp_path, order="3.0")
    live.start(moment("9:29:00"))
    live.until(moment("9:36:00"))
    live.control("noupdate")
    assert algorithm(live).tickets[0].update_limit_price(2.5).is_success  # the answer of the queue
    live.until(moment("9:36:30"))
    assert told(live)[-1] == "1 SUBMITTED Brokerage failed to update order"
    live.control("")
    live.until(moment("9:38:00"))
    live.kill()
    assert [group.limit for group in live.account.working] == [3.0]


def test_what_the_broker_keeps_comes_back_with_numbers_from_one_and_no_tag(tmp_path: Path) -> None:
    live = session(tmp_path, order="3.0")
    live.start(moment("9:29:00"))
    live.until(moment("9:36:00"))
    algorithm(live).tickets[0].update_limit_price(2.9)
    live.until(moment("9:37:00"))
    live.kill()
    assert [group.number for group in live.account.working] == ["B2"]  # replaced: another number there
    live.account.held.append(Held(OPTION, -2.0, 1.5))
    live.start(moment("9:40:10"))
    portfolio, orders = algorithm(live).portfolio, algorithm(live).transactions.get_open_orders()
    assert portfolio[OPTION].quantity == -2.0
    assert [(order.id, order.tag, order.broker_id, order.limit_price) for order in orders] == [(1, "", ["B2"], 2.9)]
    live.stop()


def test_paper_forgets_holdings_and_orders_at_a_kill(tmp_path: Path) -> None:
    live = session(tmp_path, LiveAccount(broker=Broker.PAPER, working=[]), order="1.9")
    live.start(moment("9:29:00"))
    live.until(moment("9:38:00"))
    live.kill()
    assert (live.account.held, live.account.working) == ([], [])


def test_a_kill_leaves_the_store_as_it_was_at_that_moment(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.until(moment("9:30:00"))
    algorithm(live).object_store.save("written", "before")
    live.kill()
    assert (tmp_path / "store" / "written").read_text(encoding="utf-8") == "before"
    assert not (tmp_path / "store-at-the-kill").exists()


def test_an_order_that_appears_later_is_taken_in_when_the_handler_says_so(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.appear(WorkingGroup("B9", 1.0, 3.0, [WorkingLeg(OPTION, -1.0)]))
    live.until(moment("9:31:00"))
    assert not algorithm(live).transactions.get_open_orders()  # LEAN's default says no
    live.stop()


def test_commands_arrive_as_objects_with_none_for_what_is_missing_and_text_that_is_none_never(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.command('{"command": "yes"}')
    live.command('{"command": "no", "subject": 5}')
    live.command("[1, 2]")
    live.until(moment("9:30:00"))
    assert told(live) == ["command yes None", "command no 5"]
    assert [answer for _, answer in live.answers] == [True, False]
    live.stop()


def test_lean_ends_the_algorithm_on_an_error_and_on_a_connection_that_stays_away(tmp_path: Path) -> None:
    live = session(tmp_path)
    live.start(moment("9:29:00"))
    live.control("brokerdown")
    live.until(moment("9:40:00"))
    assert live.alive.stop_reason is None
    live.control("")
    live.until(moment("9:41:00"))
    assert told(live)[-1] == "reconnect"
    live.until(moment("9:45:00"))
    assert live.alive.stop_reason is None  # it came back in time
    live.message(BrokerageMessageType.ERROR, "order not acknowledged")
    live.until(moment("9:46:00"))
    assert live.alive.stop_reason is not None
    assert "order not acknowledged" in live.alive.stop_reason
    live.kill()


def test_an_unknown_word_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="norain; expected some of brokerdown, crossed"):
        session(tmp_path).control("norain")


def test_one_seed_gives_one_interleaving(tmp_path: Path) -> None:
    def calls(folder: str) -> list[tuple[int, str, str]]:
        (tmp_path / folder).mkdir()
        live = session(tmp_path / folder, rate=0.3, order="1.9")
        live.start(moment("9:29:00"))
        live.until(moment("9:50:00") + timedelta(seconds=5))
        live.stop()
        return [(call.utc_ms, call.name, call.thread) for call in live.calls]

    assert calls("a") == calls("b")

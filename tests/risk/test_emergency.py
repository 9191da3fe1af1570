"""Emergencies pursued until they are reached, marks that outlive a bad quote, commands, and what a restart keeps."""

# Private: _found, _suspended, _chosen: a state that takes days to reach, and the order of one choice.

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from core.book import ClosedTrade, Position
from core.contracts import Leg, Quote
from core.events import ChangeKind, Command, PositionChanged, RiskThreshold, SessionClosed, Severity
from core.journal import RecordKind
from core.parts import Part, Terms, Trait
from greeks.marks import Marks
from risk.breakers import CircuitBreakerPlugin
from risk.drawdown import DrawdownPlugin
from risk.emergency import EmergencyProtocol, goes
from risk.equity import SteadyEquity
from risk.manager import UnifiedRiskManager
from risk.proposal import Scope, Wanted
from risk.sizing import PositionSizer
from tests.execution.desk import put
from tests.fake_gateway import FRIDAY
from tests.risk.floor import Floor, crossed
from tests.risk.proposals import NOW, held, package


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return Floor(tmp_path, vix=39.0)


# Pursuing


def test_a_warned_breaker_halves_sizes(floor: Floor) -> None:
    risk, breaker = floor.system.managers[UnifiedRiskManager], floor.system.managers[CircuitBreakerPlugin]
    assert risk.context().size_factor == 1.0
    now = floor.gateway.time
    warning = RiskThreshold(time=now, rule="fast_loss", severity=Severity.WARNING, limit=0.03, observed=0.024)
    breaker._found["fast_loss"] = warning
    assert risk.context().size_factor == 0.5
    equity = floor.gateway.account().equity
    floor.system.managers[DrawdownPlugin].peak = equity / 0.89  # and 10 % below the peak
    assert risk.context().size_factor == 0.25


def test_close_all_is_asked_for_until_nothing_is_left(floor: Floor) -> None:
    # first every quote is missing, then the broker refuses; only then it may close
    name = floor.opened()
    floor.gateway.missing.update(leg.contract.name for leg in floor.system.book.positions[name].legs)
    answer = floor.say(Command.CLOSE_ALL)
    assert answer.accepted
    assert name in answer.answer
    floor.pass_minutes(2)
    assert name in floor.system.book.positions
    floor.gateway.missing.clear()
    floor.gateway.refuse = "no"
    floor.pass_minutes(2)
    assert name in floor.system.book.positions
    refused = floor.say(Command.RESUME)
    assert not refused.accepted
    assert "close_all is not done" in refused.answer
    floor.gateway.refuse = ""
    floor.pass_minutes(4)
    assert floor.system.book.positions == {}
    assert floor.gateway.held == {}
    assert floor.where() == "EMERGENCY"
    assert floor.say(Command.RESUME).accepted
    assert floor.where() == "NORMAL"


def test_an_entry_that_fills_against_close_all_is_closed_too(floor: Floor) -> None:
    floor.gateway.fills_allowed = False
    name = floor.open()
    assert isinstance(name, str)
    floor.gateway.cancel = lambda order_ids, tag: None  # type: ignore[method-assign]  # the broker's fill comes first
    floor.say(Command.CLOSE_ALL)
    assert name in floor.system.managers[EmergencyProtocol].person_waits
    floor.gateway.fills_allowed = True
    del floor.gateway.cancel
    floor.pass_minutes(6)
    assert floor.gateway.held == {}
    assert floor.system.book.positions == {}


def test_a_restart_goes_on_with_close_all(floor: Floor) -> None:
    name = floor.opened()
    floor.gateway.missing.update(leg.contract.name for leg in floor.system.book.positions[name].legs)
    floor.say(Command.CLOSE_ALL)
    floor.pass_minutes(1)
    again = floor.again()
    again.gateway.missing.clear()
    again.gateway.subscribe(floor.gateway.subscribed.values())
    again.pass_minutes(6)
    assert again.system.book.positions == {}
    assert again.say(Command.RESUME).accepted


def test_a_drawdown_closes_everything_and_locks_until_its_pause_ends(floor: Floor) -> None:
    floor.opened()
    drawdown = floor.system.managers[DrawdownPlugin]
    drawdown.peak = 130_000.0  # 100,000 are 23 % under it
    floor.pass_minutes(4)
    assert floor.system.book.positions == {}
    assert floor.where() == "LOCKED"
    assert drawdown.locked is not None
    reached = [row for row in floor.sink.rows(RecordKind.RISK) if row["severity"] == "reached"]
    assert [row["rule"] for row in reached] == ["drawdown"]
    answer = floor.say(Command.RESUME)
    assert not answer.accepted
    assert "paused until" in answer.answer
    again = floor.again()
    assert again.where() == "LOCKED"
    assert again.system.managers[UnifiedRiskManager].locks
    again.gateway.time += timedelta(days=14)
    again.system.open_session(again.gateway.time)
    assert again.system.managers[UnifiedRiskManager].locks == ()
    assert again.where() == "NORMAL"
    assert again.system.bus.entries_halted is None


def test_a_restart_amid_a_rules_emergency_needs_no_person_to_end_it(floor: Floor) -> None:
    name = floor.opened()
    floor.gateway.missing.update(leg.contract.name for leg in floor.system.book.positions[name].legs)
    floor.system.managers[DrawdownPlugin].peak = 130_000.0
    floor.pass_minutes(2)
    assert floor.where() == "EMERGENCY"
    again = floor.again()
    assert again.system.bus.entries_halted is None
    assert again.where() == "LOCKED"
    again.gateway.missing.clear()
    again.gateway.subscribe(floor.gateway.subscribed.values())
    again.pass_minutes(6)
    assert again.system.book.positions == {}
    again.gateway.time += timedelta(days=14)
    again.system.open_session(again.gateway.time)
    assert again.where() == "NORMAL"


def test_the_riskiest_goes_first_and_the_next_only_when_that_is_not_enough(floor: Floor) -> None:
    protocol = floor.system.managers[EmergencyProtocol]
    rows = {name: replace(_position(name, contracts)) for name, contracts in (("a", 1), ("b", 3), ("c", 2))}
    floor.system.book.positions.update(rows)
    lost = Wanted("fast_loss", Scope.RISKIEST, 0.03, 0.04)
    assert [row.id for row, _ in protocol._chosen(lost)] == ["b"]
    assert [row.id for row, _ in protocol._chosen(lost)] == ["b"]  # asked again, not another
    del floor.system.book.positions["b"]
    assert [row.id for row, _ in protocol._chosen(lost)] == ["c"]
    more = Wanted("margin_use", Scope.RISKIEST, 0.8, 0.9, still=lambda gone: len(gone) < 2)
    assert [row.id for row, _ in protocol._chosen(more)] == ["c"]
    assert [row.id for row, _ in protocol._chosen(more)] == ["c", "a"]
    assert [row.id for row, _ in protocol._chosen(more)] == ["c", "a"]
    everything = Wanted("drawdown", Scope.ALL, 0.2, 0.2)
    assert [row.id for row, _ in protocol._chosen(everything)] == ["c", "a"]


def _position(name: str, contracts: int) -> Position:
    one = held(name, "s", "SPXW")
    return replace(one, parts=(replace(one.parts[0], contracts=contracts),))


@pytest.mark.parametrize(
    ("traits", "gone"),
    [
        ({Trait.SHORT_VOLATILITY}, {Scope.SHORT_VOLATILITY}),
        ({Trait.SHORT_VOLATILITY, Trait.ENDS_TODAY}, {Scope.SHORT_VOLATILITY, Scope.SHORT_DATED}),
        ({Trait.SHORT_VOLATILITY, Trait.PUT_SELLING, Trait.NAKED_PUTS}, set()),
        ({Trait.SHORT_VOLATILITY, Trait.COVERED}, set()),  # an IPMCC's weekly rolls on
        ({Trait.SHORT_VOLATILITY, Trait.STRANGLE, Trait.SHORT_DATED}, {Scope.SHORT_VOLATILITY, Scope.SHORT_DATED}),
        ({Trait.DEBIT}, set()),  # LT112's spread, an IPMCC's LEAP
        ({Trait.DEBIT, Trait.LOW_VIX_ONLY}, {Scope.SHORT_VOLATILITY}),  # a diagonal
        ({Trait.DEBIT, Trait.NO_VOLATILITY_SOLD, Trait.ENDS_TODAY}, {Scope.SHORT_DATED}),  # a butterfly
    ],
)
def test_what_goes_above_vix_40_and_in_a_black_swan(traits: set[Trait], gone: set[Scope]) -> None:
    part = Part("x", package(), 1, NOW, (4.0, 1.0), 300.0, 2.0, Terms("s", "x", 1.0, 1.0, frozenset(traits)))
    scopes = (Scope.SHORT_VOLATILITY, Scope.SHORT_DATED)
    assert {scope for scope in scopes if goes(part, Wanted("rule", scope, 0.0, 0.0))} == gone
    assert goes(part, Wanted("drawdown", Scope.ALL, 0.0, 0.0))


def test_a_box_goes_by_a_persons_word_alone() -> None:
    terms = Terms("box", "box", 1.0, 1.0, frozenset({Trait.NO_VOLATILITY_SOLD, Trait.HELD_BY_PERSON}))
    box = Part("whole", package(), 1, NOW, (4.0, 1.0), 300.0, 2.0, terms)
    for scope in (Scope.ALL, Scope.LOSING, Scope.RISKIEST):
        assert not goes(box, Wanted("drawdown", scope, 0.0, 0.0))
    assert goes(box, Wanted("command", Scope.ALL, 0.0, 0.0))


# Marks


@pytest.mark.parametrize(("bid", "ask"), [(300.0, 200.0), (1.0, 400.0), (250.0, 251.0)])
def test_one_bad_quote_moves_no_peak_trips_nothing_and_pauses_nothing(floor: Floor, bid: float, ask: float) -> None:
    # one contract valued at 200 to 250 points instead of some 12: 20,000 dollars of 100,000, for a minute
    floor.opened()
    equity, drawdown = floor.system.managers[SteadyEquity], floor.system.managers[DrawdownPlugin]
    before, peak = equity.value, drawdown.peak
    assert before is not None
    for contract in (put(4950.0), put(4920.0)):  # short: a loss; long: a gain
        crossed(floor, contract, Quote(bid, ask, floor.gateway.time))
        floor.pass_minutes()
        assert equity.value == pytest.approx(before, abs=150.0)
        crossed(floor, contract, None)
        floor.pass_minutes()
        assert equity.value == pytest.approx(before, abs=150.0)
    assert drawdown.peak == pytest.approx(peak, abs=150.0)
    assert list(floor.system.managers[UnifiedRiskManager].wanted(floor.gateway.time)) == []
    assert floor.where() != "EMERGENCY"


@pytest.mark.parametrize(("strike", "offer", "worth"), [(4400.0, 1.0, 0.81), (4150.0, 0.05, 0.025)])
def test_a_bid_that_vanishes_is_a_loss_only_of_what_is_worth_nothing(
    floor: Floor, strike: float, offer: float, worth: float
) -> None:
    """Without a bid: what the model says is worth 0.81 is not worth half of its offer of 1.00, seen twice or not; what
    is worth next to nothing is worth half of its offer of a tick."""
    marks, contract = floor.system.managers[Marks], replace(put(strike), expiry=FRIDAY + timedelta(days=7))
    floor.gateway.subscribed[contract.name] = contract
    floor.pass_minutes()
    assert marks.mark(contract, floor.gateway.time) == pytest.approx(worth, abs=0.05)
    crossed(floor, contract, Quote(None, offer, floor.gateway.time))
    for _ in range(3):
        floor.pass_minutes()
        assert marks.mark(contract, floor.gateway.time) == pytest.approx(worth, abs=0.05)
        assert marks.believed((Leg(contract, 1),), floor.gateway.time) is (offer < 0.1)


def test_a_price_that_stays_is_believed_at_the_second_look(floor: Floor) -> None:
    floor.opened()
    equity = floor.system.managers[SteadyEquity]
    before = equity.value
    assert before is not None
    crossed(floor, put(4950.0), Quote(40.0, 40.4, floor.gateway.time))
    floor.pass_minutes()
    assert equity.value == pytest.approx(before, abs=150.0)
    floor.pass_minutes()
    assert equity.value is not None
    assert equity.value < before - 2_000.0


def test_cash_that_moves_without_a_trade_is_recognised_and_fills_are_not(floor: Floor) -> None:
    floor.opened(2)
    drawdown = floor.system.managers[DrawdownPlugin]
    peak = drawdown.peak
    moves = [row for row in floor.sink.rows(RecordKind.SYSTEM) if row["component"] == "equity"]
    assert moves == []
    floor.gateway.cash -= 25_000.0
    floor.pass_minutes()
    (row,) = [row for row in floor.sink.rows(RecordKind.SYSTEM) if row["component"] == "equity"]
    assert row["moved"] == pytest.approx(-25_000.0)
    assert drawdown.peak == pytest.approx(0.75 * peak, rel=0.001)
    assert floor.system.book.positions
    assert list(floor.system.managers[UnifiedRiskManager].wanted(floor.gateway.time)) == []
    floor.gateway.cash += 40_000.0
    floor.pass_minutes()
    assert drawdown.drawdown(floor.gateway.account().equity) == pytest.approx(0.0, abs=0.005)


def test_an_account_that_is_no_number_is_unknown(floor: Floor) -> None:
    equity = floor.system.managers[SteadyEquity]
    peak = floor.system.managers[DrawdownPlugin].peak
    for untrue in (math.nan, math.inf, -math.inf, 1e12):
        floor.gateway.cash = untrue
        floor.pass_minutes()
        assert equity.value is None
        floor.system.managers[UnifiedRiskManager].context()
        assert floor.system.managers[DrawdownPlugin].peak == peak
    floor.gateway.cash = 100_000.0
    floor.pass_minutes(2)
    assert list(floor.system.managers[UnifiedRiskManager].wanted(floor.gateway.time)) == []


# Commands


def test_resume_lifts_one_thing_at_a_time_and_nothing_where_nothing_is(floor: Floor) -> None:
    assert not floor.say(Command.RESUME).accepted
    assert floor.answers[-1].answer == "there is nothing to lift"
    floor.say(Command.HALT)
    assert floor.where() == "HALTED"
    assert "already" in floor.say(Command.HALT).answer
    drawdown = floor.system.managers[DrawdownPlugin]
    drawdown.peak = 150_000.0
    floor.system.bus.publish(SessionClosed(time=floor.gateway.time, day=FRIDAY, equity=100_000.0))
    assert "disabled" in (drawdown.locked or "")
    first = floor.say(Command.RESUME)
    assert first.accepted
    assert "halt" in first.answer
    assert "disabled" in (drawdown.locked or "")
    for without_a_reason in ("", " Drawdown ", "because"):
        assert not floor.say(Command.RESUME, without_a_reason).accepted
    second = floor.say(Command.RESUME, " Drawdown the broker's figure was wrong, its statement is here ")
    assert second.accepted
    assert "statement" in floor.sink.rows(RecordKind.COMMAND)[-1]["subject"]
    assert drawdown.locked is None
    assert drawdown.peak == 150_000.0


def test_reduce_opens_nothing_and_ends_by_resume(floor: Floor) -> None:
    assert floor.say(Command.REDUCE).accepted
    assert floor.where() == "REDUCING"
    assert floor.say(Command.REDUCE).accepted
    assert floor.where() == "REDUCING"
    assert not floor.say(Command.RESUME, "halt").accepted
    assert floor.say(Command.RESUME).accepted
    assert floor.where() == "NORMAL"


def test_status_and_explain_answer_and_long_subjects_are_refused(floor: Floor) -> None:
    name = floor.opened()
    text = floor.say(Command.STATUS).answer
    assert "system normal" in text
    assert "buying power" in text
    assert f"{name} put_spread SPX" in text
    assert "health" in text
    assert name in floor.say(Command.EXPLAIN, name).answer
    assert not floor.say(Command.EXPLAIN, "nobody").accepted
    assert not floor.say(Command.EXPLAIN).accepted
    assert not floor.say(Command.RESUME, "x" * 201).accepted
    rows = floor.sink.rows(RecordKind.COMMAND)
    assert [row["accepted"] for row in rows] == [True, True, False, False, False]
    assert len(rows[-1]["subject"]) == 200


def test_a_strategy_suspended_by_its_record_is_named_and_resumed_by_a_person(floor: Floor) -> None:
    losses = [
        ClosedTrade("friday_0dte", str(n), NOW, NOW + timedelta(minutes=n), -100.0 if n % 2 else 40.0, 2_700.0)
        for n in range(200)
    ]
    floor.system.book.trades.extend(losses)
    sizer = floor.system.managers[PositionSizer]
    assert sizer.fraction("friday_0dte", 0.88, 0.40) == 0.0
    sizer._suspended["friday_0dte"] = NOW
    floor.pass_minutes()
    again = floor.again()
    assert "friday_0dte is suspended by its own record" in again.say(Command.STATUS).answer
    answer = again.say(Command.RESUME, "friday_0dte")
    assert answer.accepted
    assert again.system.managers[PositionSizer].fraction("friday_0dte", 0.88, 0.40) == 0.05


def test_every_closed_trade_is_kept_when_it_closes(floor: Floor) -> None:
    floor.system.book.trades.append(ClosedTrade("s", "p", NOW, NOW, -12.5, 100.0))
    now = floor.gateway.time
    floor.system.bus.publish(
        PositionChanged(time=now, position="p", strategy="s", kind=ChangeKind.CLOSED, cash=0.0, fees=0.0)
    )
    again = floor.again()  # no session was closed in between
    assert again.system.book.trades == floor.system.book.trades
    assert again.system.book.losses_in_a_row() == 1


@pytest.mark.parametrize("record", [{"phase": 9, "trades": []}, {"phase": 1, "trades": [[1, 2]]}, [1], "x"])
def test_a_record_that_cannot_be_true_halts(floor: Floor, record: object) -> None:
    floor.state.remember("record", record)
    again = floor.again()
    assert again.system.bus.entries_halted is not None
    assert "cannot be read" in again.system.bus.entries_halted

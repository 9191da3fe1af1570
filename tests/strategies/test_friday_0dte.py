"""Friday 0DTE through the whole system on a fake engine: what it trades, when it skips, one row a day."""

# Private: _rolls, _contracts, _look: the row's arithmetic alone, and that no roll is left.

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import journal_schema
from core.book import EntryIntent
from core.contracts import Leg, Package, Right
from core.events import Command
from core.instruments import INSTRUMENTS
from core.journal import MemorySink, RecordKind
from core.parts import Terms, Urgency
from core.performance import PerformanceTracker
from execution.executor import AtomicExecutor
from market.trend import Trend, TrendDirection
from strategies.base import Action, Close, EntryContext, Hold, Roll, Skip, Strategy, Wait
from strategies.friday_0dte import FridayZeroDay
from tests.execution.desk import approved
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.risk.proposals import proposal
from tests.strategies.fridays import start, wiggle
from trading_system import TradingSystem

Row = dict[str, Any]
NOON = datetime.combine(FRIDAY, time(12))
OPEN = datetime.combine(FRIDAY, time(9, 30))


def decisions(sink: MemorySink) -> list[Row]:
    return sink.rows(RecordKind.DECISION)


def run(gateway: FakeGateway, day: date = FRIDAY, **parameters: str) -> tuple[TradingSystem, MemorySink]:
    system, sink = build(gateway, **parameters)
    run_day(system, gateway, day)
    return system, sink


def test_calm_friday_sells_a_condor_at_half_the_range(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    _, sink = run(gateway)
    (row,) = decisions(sink)
    assert (row["outcome"], row["rule"], row["contracts"]) == ("trade", "filled", 1)
    when, package, _, limit = gateway.sent[0]
    assert when.time() == time(10, 30)
    strikes: dict[int, dict[Right, float]] = {leg.ratio: {} for leg in package.legs}
    for leg in package.legs:
        strikes[leg.ratio][leg.contract.right] = leg.contract.strike
    # ATR14 = 0.011 x 5000 = 55 points, half is 27.5: shorts at 4970 or 4975 and at 5025 or 5030. Wings of 30 points
    # at 4500 are 33.3 at 5000: 35 is the nearest listed.
    assert strikes[-1][Right.PUT] in (4970.0, 4975.0)
    assert strikes[-1][Right.CALL] in (5025.0, 5030.0)
    assert strikes[1][Right.PUT] == strikes[-1][Right.PUT] - 35
    assert strikes[1][Right.CALL] == strikes[-1][Right.CALL] + 35
    assert limit > 0


@pytest.mark.parametrize(("moved", "right", "distance"), [(0.008, Right.CALL, 1), (-0.008, Right.PUT, -1)])
def test_a_move_sells_the_spread_on_its_side(tmp_path: Path, moved: float, right: Right, distance: int) -> None:
    gateway = start(tmp_path, wiggle(5000.0, moved))
    _, sink = run(gateway)
    assert decisions(sink)[0]["outcome"] == "trade"
    package = gateway.sent[0][1]
    assert {leg.contract.right for leg in package.legs} == {right}
    short, wing = package.legs
    # 0.7 x ATR14: the history stands at today's midnight price of 5000, so 38.5 points from 5000 x (1 + moved).
    assert short.contract.strike == pytest.approx(5000 * (1 + moved) + distance * 38.5, abs=5.0)
    assert (wing.contract.strike - short.contract.strike) * distance == 35  # 30 points at 4500


@pytest.mark.parametrize("vix", [21.9, 22.0])
def test_vix_at_or_under_the_gate_skips_with_the_binding_number(tmp_path: Path, vix: float) -> None:
    gateway = start(tmp_path, vix=vix)
    _, sink = run(gateway)
    (row,) = decisions(sink)
    assert (row["outcome"], row["rule"], row["limit"], row["observed"]) == ("skip", "vix_window", 22.0, vix)
    assert not gateway.sent


def test_min_vix_zero_trades_a_quiet_friday(tmp_path: Path) -> None:
    gateway = start(tmp_path, vix=16.0, half_spread=0.0)
    _, sink = run(gateway, friday_0dte__min_vix="0")
    assert decisions(sink)[0]["outcome"] == "trade"


def test_vix_over_30_is_for_put_sellers(tmp_path: Path) -> None:
    _, sink = run(start(tmp_path, vix=33.0))
    assert (decisions(sink)[0]["outcome"], decisions(sink)[0]["rule"]) == ("skip", "vix_regime")


def test_without_a_vix_nothing_opens_and_the_row_comes_when_the_window_ends(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    gateway.missing.add("VIX")
    _, sink = run(gateway)
    (row,) = decisions(sink)
    assert (row["outcome"], row["rule"], row["vix"]) == ("skip", "vix_missing", None)
    assert datetime.fromisoformat(row["time"]).time() == time(10, 45)


def test_a_closed_friday_has_its_row(tmp_path: Path) -> None:
    _, sink = run(start(tmp_path, closed_days=frozenset({FRIDAY})))
    assert [(row["outcome"], row["rule"]) for row in decisions(sink)] == [("skip", "market_closed")]


def test_other_days_have_none(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    gateway.time -= timedelta(days=1)
    _, sink = run(gateway, FRIDAY - timedelta(days=1))
    assert decisions(sink) == []


def test_short_history_skips(tmp_path: Path) -> None:
    _, sink = run(start(tmp_path, history=20))
    assert decisions(sink)[0]["rule"] == "history"


def test_an_entry_that_never_fills_is_a_skip(tmp_path: Path) -> None:
    gateway = start(tmp_path, fills_allowed=False)
    system, sink = run(gateway)
    (row,) = decisions(sink)
    assert (row["outcome"], row["rule"]) == ("skip", "not_filled")
    steps = [(step["action"], step["limit_cash"]) for step in sink.rows(RecordKind.ORDER)]
    # The package is quoted 5.10 to 6.00 or a tick lower: it starts at the mid and ends a tick through natural.
    assert [action for action, _ in steps] == ["sent", *["repriced"] * 4, "cancelled"]  # one minute at the same tick
    assert steps[0][1] > row["observed"] > 0
    assert row["limit"] == steps[-1][1] == pytest.approx(5.05)
    # The mid at 10:30, five steps a minute apart, then the cancel at 10:36.
    assert datetime.fromisoformat(row["time"]).time() == time(10, 36)
    assert not gateway.orders
    assert not system.book.positions
    assert not gateway.subscribed


def test_a_refused_order_is_a_skip_with_the_engines_words(tmp_path: Path) -> None:
    _, sink = run(start(tmp_path, refuse="market is closed"))
    assert decisions(sink)[0]["rule"] == "order_refused"
    assert decisions(sink)[0]["reason"] == "market is closed"


def test_small_account_takes_the_tenth(tmp_path: Path) -> None:
    # 5 % of 35,000 is 1,750: less than a 30-point SPX condor can lose (about 2,500), more than a tenth of it.
    # At a VIX of 28 its credit of over 0.40 is worth ten times the four dollars of fees.
    gateway = start(tmp_path, cash=35_000.0, vix=28.0)
    _, sink = run(gateway)
    assert decisions(sink)[0]["outcome"] == "trade"
    assert {leg.contract.root for leg in gateway.sent[0][1].legs} == {"SPY"}
    assert 1 < gateway.sent[0][2] <= 10  # ten of the tenth-size product count as the one that is allowed under 40k


def test_under_30k_nothing_opens(tmp_path: Path) -> None:
    _, sink = run(start(tmp_path, cash=29_000.0))
    row = decisions(sink)[0]
    assert (row["rule"], row["limit"], row["observed"]) == ("minimum_equity", 30_000.0, 29_000.0)


def closed_row(sink: MemorySink) -> Row:
    (row,) = sink.rows(RecordKind.TRADE_CLOSED)
    return row


def test_profit_is_taken_at_half_the_credit(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    _, sink = run(gateway)
    row = closed_row(sink)
    assert row["exit_rule"] == "profit_target"
    assert row["profit"] == pytest.approx(row["cash_in"] + row["cash_out"] - row["fees"])
    assert gateway.cash - 100_000.0 == pytest.approx(row["profit"])
    assert row["fees"] == 4.0  # four legs opened at 1.00 each, closed for nothing


def falling(at: datetime) -> float:
    after = max((at - datetime.combine(FRIDAY, time(11, 0))).total_seconds() / 60, 0.0)
    return 5000.0 - 2.0 * after + 0.5 * math.sin(at.minute)


def test_a_fall_through_the_short_stops_at_twice_the_credit(tmp_path: Path) -> None:
    gateway = start(tmp_path, falling)
    _, sink = run(gateway)
    row = closed_row(sink)
    assert row["exit_rule"] == "stop_loss"
    assert -row["profit"] > 1.8 * row["credit"]
    assert -row["profit"] < 3.5 * row["credit"]
    assert gateway.held == {}


def exit_sent(sink: MemorySink) -> time:
    """When the exit was sent; a wing that nobody bids for stays in its trade until it expires."""
    (row,) = [row for row in sink.rows(RecordKind.ORDER) if (row["purpose"], row["action"]) == ("exit", "sent")]
    return datetime.fromisoformat(row["time"]).time()


def test_three_oclock_ends_what_neither_won_nor_lost(tmp_path: Path) -> None:
    gateway = start(tmp_path, vix=24.0)
    _, sink = run(gateway, friday_0dte__profit_target="100")
    row = closed_row(sink)
    assert row["exit_rule"] == "time_exit"
    assert time(15, 0) <= exit_sent(sink) < time(15, 30)


def test_half_day_ends_at_noon(tmp_path: Path) -> None:
    gateway = start(tmp_path, half_days=frozenset({FRIDAY}))
    _, sink = run(gateway, friday_0dte__profit_target="100")
    assert closed_row(sink)["exit_rule"] == "time_exit"
    assert time(12, 0) <= exit_sent(sink) < time(12, 30)


def test_what_cannot_be_closed_settles_at_its_intrinsic_value(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    system, sink = build(gateway)
    entered = datetime.combine(FRIDAY, time(10, 37))
    run_day(system, gateway, FRIDAY, until=entered.time())
    assert system.book.positions
    gateway.spot = lambda _: 4960.0
    gateway.fills_allowed = False
    position = next(iter(system.book.positions.values()))
    short = next(leg for leg in position.legs if leg.ratio < 0 and leg.contract.right is Right.PUT)
    before = gateway.cash
    gateway.expire(FRIDAY)
    row = closed_row(sink)
    assert row["exit_rule"] == "expired"
    assert row["cash_out"] == pytest.approx(-(short.contract.strike - 4960.0) * 100)
    assert gateway.cash - before == pytest.approx(row["cash_out"])
    assert not system.book.positions


@pytest.mark.parametrize("seed", range(3))
def test_never_before_half_past_ten(tmp_path: Path, seed: int) -> None:
    gateway = start(tmp_path, wiggle(5000.0, 0.002 * seed))
    system, _ = build(gateway)
    run_day(system, gateway, FRIDAY, until=time(10, 29))
    system.entry_window(gateway.time, "friday_0dte", "open")
    assert not gateway.sent


def test_fridays_without_a_window_get_a_row_at_the_end(tmp_path: Path) -> None:
    gateway = start(tmp_path, closed_days=frozenset({FRIDAY + timedelta(days=7)}))
    first, last = FRIDAY.isoformat(), (FRIDAY + timedelta(days=14)).isoformat()
    system, sink = build(gateway, run__start=first, run__end=last)
    run_day(system, gateway, FRIDAY)
    system.end(gateway.time)
    rows = [(row["day"], row["rule"]) for row in decisions(sink)[1:]]
    assert rows == [("2024-03-15", "market_closed"), ("2024-03-22", "no_data")]


def test_a_failing_strategy_costs_one_entry_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such strike")

    monkeypatch.setattr("strategies.friday_0dte.FridayZeroDay.propose", fail)
    _, sink = run(start(tmp_path))
    (row,) = decisions(sink)
    assert (row["rule"], row["reason"]) == ("strategy_error", "RuntimeError: no such strike")
    assert sink.rows(RecordKind.ERROR)[0]["component"] == "friday_0dte"


def test_broken_wing_on_the_tested_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "market.trend.trend_of", lambda *_: Trend(55.0, 5000.0, 4990.0, 4980.0, 5100.0, TrendDirection.UP)
    )
    gateway = start(tmp_path, cash=200_000.0)
    run(gateway)
    strikes = {(leg.ratio, leg.contract.right): leg.contract.strike for leg in gateway.sent[0][1].legs}
    assert strikes[1, Right.CALL] - strikes[-1, Right.CALL] == 55  # 50 points at 4500 are 55.6 at 5000
    assert strikes[-1, Right.PUT] - strikes[1, Right.PUT] == 35


@pytest.mark.parametrize(
    ("equity", "phase", "contracts"), [(39_999, 2, 1), (40_000, 1, 2), (60_000, 2, 2), (120_000, 4, 4)]
)
def test_contracts_by_phase_and_one_under_40k(tmp_path: Path, equity: float, phase: int, contracts: int) -> None:
    system, _ = build(start(tmp_path))
    session = system.gateway.session(FRIDAY)
    assert session is not None
    context = EntryContext(datetime.combine(FRIDAY, time(10, 30)), session, None, float(equity), phase)
    row = system.managers[FridayZeroDay]
    assert row._contracts(row._look("open", context, "SPXW")) == contracts


def test_every_strategy_keeps_its_contract(tmp_path: Path) -> None:
    system, _ = build(start(tmp_path))
    for strategy in system.managers.all_of(Strategy):  # type: ignore[type-abstract]  # the base class of all is meant
        assert strategy.name
        assert all(window.opens <= window.closes for window in strategy.entry_windows())
        assert all(deadline.minutes_before_close > 0 for deadline in strategy.deadlines())
        assert strategy.verify() == ()
        early = datetime.combine(FRIDAY, time(9, 30))
        session = system.gateway.session(FRIDAY)
        assert session is not None
        context = EntryContext(early, session, None, 100_000.0, 1)
        assert strategy.sizes(replace(context, slot=strategy.slots("")[0])) >= 1
        answer = strategy.propose(context, 0)
        assert isinstance(answer, Skip | Wait)


def test_the_record_counts_what_closed(tmp_path: Path) -> None:
    gateway = start(tmp_path)
    system, sink = run(gateway)
    record = system.managers[PerformanceTracker].by_strategy()["friday_0dte"]
    assert (record.trades, record.wins, record.win_rate) == (1, 1, 1.0)
    assert record.profit == pytest.approx(closed_row(sink)["profit"])
    assert system.figures()["Trades won"] == "100% of 1"


def test_one_correlation_leads_from_the_window_to_the_profit(tmp_path: Path) -> None:
    _, sink = run(start(tmp_path))
    kinds = {RecordKind.DECISION, RecordKind.ORDER, RecordKind.FILL, RecordKind.TRADE_CLOSED}
    rows = [row for kind in kinds for row in sink.rows(kind)]
    assert {row["correlation"] for row in rows} == {"friday_0dte-20240308"}
    first = sink.rows(RecordKind.TRANSITION)[2]
    assert (first["subject"], first["correlation"]) == ("friday_0dte-20240308-1", "friday_0dte-20240308")


# Rolling: close, then open another in its place, as one decision


class Rolled:
    """A position at noon whose strategy asks to roll it to the next Friday, ten strikes lower."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway = FakeGateway(OPEN + timedelta(minutes=1), lambda now: 5000.0 + now.minute / 100, self.vix, folder)
        self.system, self.sink = build(self.gateway, phases__earned_progression="false")
        self.system.open_session(self.gateway.time)
        self.gateway.time = NOON
        self.system.minute(NOON)
        first, self.next = self.spread(4960.0, 0), self.spread(4850.0, 7)
        self.gateway.subscribe(leg.contract for leg in first.legs)
        terms = Terms("friday_0dte", "put_spread", 2700.0, 3000.0)
        self.executor = self.system.managers[AtomicExecutor]
        entry = EntryIntent("friday_0dte", FRIDAY, first, terms, 3.0, None, "")
        name = self.executor.open(approved(self.system, entry, 1), "friday_0dte-20240308")
        assert isinstance(name, str)
        self.name = name
        self.action: Action = Hold()
        chosen = lambda _self, position, _context: self.action if position.id == name else Hold()  # noqa: E731
        monkeypatch.setattr(FridayZeroDay, "manage", chosen)
        monkeypatch.setattr(FridayZeroDay, "is_due", lambda *_: True)  # it may ask for anything at any minute
        self.minutes(3)
        assert list(self.system.book.positions) == [name]
        self.wanted = replace(
            proposal(), package=self.next, terms=terms, wanted=1, mid_cash=9.0, natural_cash=8.0, model_cash=None,
        )  # fmt: skip

    def vix(self, moment: datetime) -> float:
        return 30.0 - (moment.minute if moment >= NOON else 0) / 10

    @staticmethod
    def spread(strike: float, later: int) -> Package:
        expiry = FRIDAY + timedelta(days=later)
        short, wing = (INSTRUMENTS["SPXW"].contract(expiry, at, Right.PUT, "handle") for at in (strike, strike - 30.0))
        return Package((Leg(short, -1), Leg(wing, 1)))

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.gateway.time += timedelta(minutes=1)
            self.gateway.work_orders()
            self.system.minute(self.gateway.time)

    def roll(self) -> None:
        self.action = Roll(self.wanted, "150 days to expiry")

    def row(self) -> dict[str, object]:
        (row,) = self.sink.rows(RecordKind.ROLL)
        return dict(row)


@pytest.fixture
def rolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    return Rolled(tmp_path, monkeypatch)


def test_a_roll_closes_then_opens_under_risk_as_one_decision(rolled: Rolled) -> None:
    rolled.roll()
    rolled.minutes(2)
    # The wing is worth two ticks at most: it is left to expire, and its position holds nothing else.
    (old,) = rolled.system.book.positions.values()
    assert old.parts[0].is_left_to_expire
    rolled.minutes(4)
    (position,) = [row for row in rolled.system.book.positions.values() if row.id != rolled.name]
    assert position.parts[0].package == rolled.next
    row = rolled.row()
    assert (row["outcome"], row["position"], row["into"]) == ("rolled", rolled.name, position.id)
    assert (row["rule"], row["reason"], row["contracts"]) == ("filled", "150 days to expiry", 1)
    assert row["correlation"] == position.correlation == "friday_0dte-20240308"
    assert (old.parts[0].exit_rule, old.correlation) == ("roll", "friday_0dte-20240308")
    assert set(journal_schema.ROWS[RecordKind.ROLL].__annotations__) <= set(row)
    assert not rolled.system.coordinator._rolls


def test_what_risk_denies_stays_closed(rolled: Rolled) -> None:
    rolled.roll()
    rolled.minutes(1)
    rolled.system.bus.halt_entries("a person said halt")
    rolled.minutes(5)
    assert all(part.is_left_to_expire for row in rolled.system.book.positions.values() for part in row.parts)
    row = rolled.row()
    assert (row["outcome"], row["into"], row["rule"]) == ("closed_only", None, "entries_halted")


def test_a_loser_is_never_rolled(rolled: Rolled) -> None:
    rolled.gateway.vix = lambda _: 60.0  # what was sold is dearer now
    rolled.roll()
    rolled.minutes(4)
    row = rolled.row()
    assert (row["outcome"], row["rule"], row["limit"]) == ("closed_only", "rolling_a_loser", 0.0)
    (closed,) = rolled.sink.rows(RecordKind.TRADE_CLOSED)
    assert row["observed"] == closed["profit"]
    assert len(rolled.gateway.sent) == 2


def test_a_stop_ends_a_roll_that_is_under_way(rolled: Rolled) -> None:
    rolled.gateway.fills_allowed = False
    rolled.roll()
    rolled.minutes(2)
    rolled.action = Close("stop_loss", "lost too much", urgency=Urgency.URGENT)
    rolled.minutes(1)
    assert rolled.row()["rule"] == "stop_loss"
    rolled.gateway.fills_allowed = True
    rolled.minutes(4)
    assert all(part.is_left_to_expire for row in rolled.system.book.positions.values() for part in row.parts)


@pytest.mark.parametrize("minutes", [8, 20])
def test_the_new_package_waits_for_its_quotes_a_quarter_of_an_hour(rolled: Rolled, minutes: int) -> None:
    missing = rolled.next.legs[0].contract.name
    rolled.gateway.missing.add(missing)
    rolled.roll()
    rolled.minutes(minutes)
    rolled.gateway.missing.clear()
    rolled.minutes(4)
    row = rolled.row()
    assert (row["outcome"], row["rule"]) == (("rolled", "filled") if minutes == 8 else ("closed_only", "quotes"))


def test_a_new_package_that_does_not_fill_or_is_refused_stays_out(rolled: Rolled) -> None:
    rolled.roll()
    rolled.minutes(1)
    rolled.gateway.refuse = "no"
    rolled.minutes(2)
    assert rolled.row()["rule"] == "order_refused"


@pytest.mark.parametrize("end", ["session", "run"])
def test_what_is_under_way_at_the_end_is_told(rolled: Rolled, end: str) -> None:
    rolled.roll()
    if end == "session":
        rolled.gateway.fills_allowed = False
        rolled.minutes(1)
        rolled.system.close_session(rolled.gateway.time)
        assert rolled.row()["rule"] == "session_closed"
    else:
        rolled.minutes(2)
        rolled.system.coordinator.finish(rolled.gateway.time, ())
        assert rolled.row()["rule"] == "run_ended"


def test_a_position_that_expired_or_was_closed_by_hand_is_not_replaced(rolled: Rolled) -> None:
    rolled.gateway.fills_allowed = False
    rolled.roll()
    rolled.minutes(1)
    (order,) = rolled.gateway.orders
    rolled.gateway.cancel(order.ids, "the broker's own")
    rolled.gateway.held.clear()
    rolled.system.command(rolled.gateway.time, Command.RECONCILE)
    rolled.minutes(1)
    assert rolled.row()["rule"] == "not_closed_by_us"

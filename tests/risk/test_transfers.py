"""Cash that a person pays in or takes out: no gain, no loss, and no way around what a drawdown remembers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Severity
from core.journal import RecordKind
from risk.drawdown import LEAST_MEASURED, DrawdownPlugin
from risk.equity import SteadyEquity
from risk.manager import UnifiedRiskManager
from risk.proposal import Scope
from tests.risk.floor import Floor
from tests.risk.proposals import proposal
from tests.risk.states import Breaker, Down, reborn, scopes


def move(down: Down, dollars: float) -> None:
    """Cash comes or goes, and with it the account."""
    assert down.equity.value is not None
    down.equity.value += dollars
    down.plugin.cash_moved(dollars)


def test_taking_everything_out_and_paying_in_again_erases_no_pause() -> None:
    # 80,000 of 100,000: paused. All of it taken out for ten days, then 50,000 paid in: still paused, still 20 % down.
    down = Down()
    down.to(80_000.0)
    move(down, -80_000.0)
    down.to(0.0)
    down.to(0.0, days=10)
    assert (down.denied(), scopes(down.plugin)) == ("drawdown", [Scope.ALL])
    move(down, 50_000.0)
    assert down.plugin.drawdown(50_000.0) == pytest.approx(0.20)
    assert down.plugin.peak == pytest.approx(62_500.0)  # 50,000 / 0.8
    down.to(50_000.0)
    assert (down.denied(), scopes(down.plugin)) == ("drawdown_pause", [Scope.ALL])
    # 14 days after the pause began it ends: half size until 56,250 are there; 30 % under the peak are 43,750
    down.to(50_000.0, days=4)
    assert (down.denied(), down.plugin.size_factor(50_000.0)) == ("allowed", 0.5)
    assert down.plugin.size_factor(56_249.0) == 0.5
    assert down.plugin.size_factor(56_251.0) == 1.0
    down.to(43_751.0)
    assert down.denied() == "allowed"  # 12.5 % under the pause's end
    down.to(43_750.0)
    assert down.denied() == "drawdown_disabled"


def test_a_pause_that_ends_while_the_account_is_empty_ends_at_what_was_left() -> None:
    down = Down()
    down.to(80_000.0)
    move(down, -79_000.0)  # 1,000 left: under what a margin account needs
    down.to(1_000.0, days=15)
    move(down, 60_000.0)
    down.to(61_000.0)
    # 61,000 stand for the 80,000 of then: the peak is 76,250, 30 % under it are 53,375
    assert down.plugin.peak == pytest.approx(76_250.0)
    assert down.denied() == "allowed"
    down.to(53_376.0)
    assert down.denied() == "allowed"
    down.to(53_375.0)
    assert down.denied() == "drawdown_disabled"


def test_what_moves_in_an_emptied_account_is_no_performance() -> None:
    # 10 dollars of interest on 10 dollars double it: that is no recovery of 20 %; nor is a fee a loss of half
    down = Down()
    down.to(88_000.0)
    move(down, -87_990.0)
    for worth in (20.0, 5.0, 1_999.0):
        down.to(worth)
        assert down.plugin.drawdown(worth) == pytest.approx(0.12)
        assert scopes(down.plugin) == []
    down.to(LEAST_MEASURED)  # it came back and nobody told: what it is now stands for the 88,000
    assert down.plugin.drawdown(LEAST_MEASURED) == pytest.approx(0.12)
    assert down.plugin.peak == pytest.approx(2_000.0 / 0.88)


def test_thirty_percent_stay_disabled_through_an_empty_account_and_a_persons_reset_there_holds() -> None:
    down = Down()
    down.to(70_000.0)
    move(down, -70_000.0)
    down.to(0.0)
    move(down, 100_000.0)
    down.to(100_000.0)
    assert down.denied() == "drawdown_disabled"
    assert down.plugin.drawdown(100_000.0) == pytest.approx(0.30)
    move(down, -100_000.0)
    down.to(0.0)
    assert down.plugin.reset()
    move(down, 35_000.0)
    down.to(35_000.0)
    assert down.denied() == "allowed"
    assert down.plugin.peak == pytest.approx(50_000.0)
    down.to(24_499.0)  # 30 % under where the person let it go on
    assert down.denied() == "drawdown_disabled"


def test_what_was_lost_to_the_last_dollar_is_not_paid_away() -> None:
    down = Down()
    down.to(-5_000.0)
    move(down, 55_000.0)
    down.to(50_000.0)
    # 100,000 were there, 50,000 of a person's money are now: what was lost stays lost
    assert (down.denied(), down.plugin.peak) == ("drawdown_disabled", 100_000.0)


def test_the_emptied_account_outlives_the_process() -> None:
    down, again = Down(), Down()
    down.to(80_000.0)
    move(down, -80_000.0)
    down.to(0.0)
    again.plugin.peak = 0.0
    reborn(down.plugin, again.plugin)
    again.at, again.equity.value = down.at, 0.0
    again.to(0.0)
    move(again, 40_000.0)
    again.to(40_000.0)
    assert again.denied() == "drawdown_pause"
    assert again.plugin.peak == pytest.approx(50_000.0)


STEP = st.tuples(st.sampled_from(["in", "out", "all", "trade"]), st.floats(0.001, 0.9))


@given(st.lists(STEP, max_size=25))
def test_whatever_is_paid_in_or_out_the_drawdown_is_that_of_what_was_traded(steps: list[tuple[str, float]]) -> None:
    """Beside it an account of the same trades into which nothing was ever paid."""
    down, alone = Down(), Down()
    worth = 100_000.0
    for what, share in steps:
        value = down.equity.value or 0.0
        if what == "trade" and value >= LEAST_MEASURED:
            change = (share - 0.4) / 2  # from -20 to +25 %
            if not LEAST_MEASURED <= value * (1.0 + change) < 1e9:
                continue
            worth *= 1.0 + change
            down.to(value * (1.0 + change))
            alone.to(worth)
        elif what == "in" and value < 1e8:
            move(down, 100_000.0 * share)
        elif what in ("out", "all"):
            move(down, -value * (share if what == "out" else 1.0))
        value = down.equity.value or 0.0
        down.to(value)
        alone.to(worth)
        assert down.plugin.drawdown(value) == pytest.approx(alone.plugin.drawdown(worth), abs=1e-6)
        assert (down.plugin.locked is None) == (alone.plugin.locked is None)
        assert [want.scope for want in down.plugin.wanted(down.at)] == [
            want.scope for want in alone.plugin.wanted(alone.at)
        ]


# The breaker's window


def test_a_withdrawal_of_nearly_everything_is_no_fast_loss() -> None:
    # 100,100, then 100,000; 99,900 of it taken out leave 100: the highest of five minutes is 100.1 of that
    breaker = Breaker()
    breaker.to(100_100.0, 0)
    breaker.to(100_000.0, 1)
    breaker.equity.value = 100.0
    breaker.plugin.cash_moved(-99_900.0)
    breaker.margin = 0.0
    assert breaker.to(100.0, 2) == {}
    assert breaker.to(96.9, 3) == {"fast_loss": Severity.BREACH}  # 3.2 % under 100.1
    assert breaker.plugin.locked is None


# Whoever looks, every rule hears; over a restart too


def test_a_look_between_two_minutes_tells_every_rule_at_once(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    floor.pass_minutes(2)
    drawdown, risk = floor.system.managers[DrawdownPlugin], floor.system.managers[UnifiedRiskManager]
    floor.gateway.cash -= 40_000.0
    floor.gateway.time += timedelta(seconds=20, microseconds=7)
    context = risk.context()  # a review, or a person's status
    assert context.account.equity == pytest.approx(60_000.0)
    assert drawdown.peak == pytest.approx(60_000.0)
    assert context.size_factor == 1.0
    floor.gateway.time += timedelta(seconds=40, microseconds=-7)
    floor.pass_minutes(2)
    assert drawdown.peak == pytest.approx(60_000.0)
    assert floor.where() == "NORMAL"


@pytest.mark.parametrize(("dollars", "peak"), [(-25_000.0, 93_750.0), (50_000.0, 187_500.0)])
def test_what_was_paid_while_no_process_ran_is_no_performance(tmp_path: Path, dollars: float, peak: float) -> None:
    # 100,000 under a peak of 125,000 is 20 %; 75,000 of 93,750 and 150,000 of 187,500 are 20 % too
    floor = Floor(tmp_path)
    floor.pass_minutes()
    floor.system.managers[DrawdownPlugin].peak = 125_000.0
    floor.pass_minutes()
    floor.gateway.cash += dollars
    again = floor.again()
    again.pass_minutes(2)
    drawdown = again.system.managers[DrawdownPlugin]
    assert drawdown.peak == pytest.approx(peak)
    assert drawdown.drawdown(100_000.0 + dollars) == pytest.approx(0.20)
    moved = [row for row in again.sink.rows(RecordKind.SYSTEM) if "cash moved" in row["reason"]]
    assert [row["moved"] for row in moved] == [dollars]
    assert again.system.book.paid_in == 0.0  # the cash that this process began with holds it already
    assert again.system.reckoning.now().difference == pytest.approx(0.0, abs=0.005)


def test_what_was_held_before_a_restart_and_is_still_held_hides_no_transfer(tmp_path: Path) -> None:
    # A spread is held over the restart and the index moves: cash alone tells what was paid in, whatever equity did.
    floor = Floor(tmp_path)
    floor.opened()
    before = floor.system.managers[SteadyEquity].value
    floor.gateway.cash += 30_000.0
    spot = floor.gateway.spot(floor.gateway.time)
    floor.gateway.spot = lambda _: spot - 60.0
    again = floor.again()
    again.pass_minutes()
    moved = [row for row in again.sink.rows(RecordKind.SYSTEM) if "cash moved" in row["reason"]]
    assert [row["moved"] for row in moved] == [30_000.0]
    assert before is not None
    assert again.system.managers[DrawdownPlugin].peak > 125_000.0


def test_cash_that_something_traded_or_settled_meanwhile_explains_is_no_transfer(tmp_path: Path) -> None:
    # What was held is gone and cost 3,000: nobody knows of a payment, and the loss counts.
    floor = Floor(tmp_path)
    floor.opened()
    peak = floor.system.managers[DrawdownPlugin].peak
    floor.gateway.held.clear()
    floor.gateway.cash -= 3_000.0
    again = floor.again()
    again.pass_minutes(2)
    drawdown = again.system.managers[DrawdownPlugin]
    assert drawdown.peak == pytest.approx(peak)
    assert drawdown.drawdown(again.gateway.cash) > 0.02


# What an account says for a minute


FIGURES = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1.0, 1e9, 1e300)


@pytest.mark.parametrize("value", FIGURES)
@pytest.mark.parametrize("names", [("equity",), ("cash",), ("equity", "cash")])
def test_a_minute_of_an_account_that_cannot_be_true_closes_locks_and_forgets_nothing(
    tmp_path: Path, value: float, names: tuple[str, ...]
) -> None:
    floor = Floor(tmp_path)
    name = floor.opened()
    floor.pass_minutes(2)
    drawdown, sent = floor.system.managers[DrawdownPlugin], len(floor.gateway.sent)
    peak, true = drawdown.peak, floor.gateway.account
    floor.gateway.account = lambda: replace(true(), **dict.fromkeys(names, value))  # type: ignore[method-assign]
    floor.pass_minutes(1)
    assert floor.system.managers[UnifiedRiskManager].review(proposal()).contracts == 0
    floor.gateway.account = true  # type: ignore[method-assign]
    floor.pass_minutes(5)
    assert list(floor.system.book.positions) == [name]
    assert (floor.where(), floor.system.managers[UnifiedRiskManager].locks) == ("NORMAL", ())
    assert drawdown.peak == pytest.approx(peak, rel=1e-3)
    assert len(floor.gateway.sent) == sent
    assert floor.system.bus.entries_halted is None


def test_a_figure_of_the_engine_that_stays_wrong_is_not_what_the_account_is_worth(tmp_path: Path) -> None:
    # Cash and marks tell of about 100,000, the engine of 1 for ten minutes: of the two the one nearer to before.
    floor = Floor(tmp_path)
    name = floor.opened()
    true = floor.gateway.account
    floor.gateway.account = lambda: replace(true(), equity=1.0)  # type: ignore[method-assign]
    floor.pass_minutes(10)
    assert floor.system.managers[SteadyEquity].value == pytest.approx(100_000.0, rel=0.01)
    assert list(floor.system.book.positions) == [name]


def test_an_index_that_falls_is_believed_at_once(tmp_path: Path) -> None:
    # What the marks say too is no untrue figure: 4 % down in a minute costs more than 4.5 % of the account
    floor = Floor(tmp_path)
    floor.opened(4)
    floor.pass_minutes(2)
    spot = floor.gateway.spot(floor.gateway.time)
    floor.gateway.spot = lambda _: 0.96 * spot
    floor.pass_minutes(1)
    assert floor.where() in ("EMERGENCY", "LOCKED")


@pytest.mark.parametrize(
    "row",
    [{"cash": "x"}, {"cash": float("nan")}, {"engine": 1e300}, {"value": True}, {"held": []},
     {"held": {"SPY": "many"}}, {"held": {"SPY": float("inf")}}],
)  # fmt: skip
def test_an_account_that_cannot_be_true_is_not_gone_on_from(tmp_path: Path, row: dict[str, object]) -> None:
    equity = Floor(tmp_path).system.managers[SteadyEquity]
    sound = {"cash": 1.0, "engine": 1.0, "value": 1.0, "held": {}}
    with pytest.raises(ValueError, match="expected"):
        equity.restore({**sound, **row})

"""The lines of a group: time value counts, equities fall together by beta, and the account outlives the fall."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from core.contracts import Contract, Leg, Package, Right
from core.events import MinutePassed, Severity
from core.parts import Terms
from core.settings.fields import CircuitBreakerSettings, CorrelationSettings, MarginSettings
from greeks.stress import Node, Stressed
from risk.group_risk import GroupRisk, GroupStressPlugin, LineLoss, line_losses, line_of, profits_by_ticker
from risk.margin import MarginFigures
from risk.proposal import Deny, Proposal, Scope, Shrink
from tests.greeks.chains import MORNING, spxw, spy
from tests.greeks.stress import FOUR_MONTHS, Stress
from tests.risk.proposals import context, proposal


def row(ticker: str, down: float, up: float, crash: float = 0.0, surge: float = 0.0) -> Stressed:
    profits = np.array([0.0, down, up, crash, surge])
    none = np.zeros((0, len(Node)))
    return Stressed(f"p {ticker}", ticker, (), profits, none, 0.0, profits, math.inf, 0)


def test_equities_fall_together_and_every_other_underlying_goes_its_own_worst_way() -> None:
    # SPX loses 5,000 down, ES gains 2,000 there: 3,000; up they lose 500 and 1,000: 1,500. GLD loses 700 up, TLT 300
    # down; at the crash the equities lose 4,000, and GLD and TLT at their own worse side 1,500 and 600
    rows = [
        row("SPX", -5_000.0, -500.0, -9_000.0, 100.0), row("ES", 2_000.0, -1_000.0, 5_000.0, -4_000.0),
        row("GLD", 100.0, -700.0, 300.0, -1_500.0), row("TLT", -300.0, 200.0, -600.0, 400.0),
    ]  # fmt: skip
    losses = line_losses(profits_by_ticker(rows))
    assert losses["A"] == LineLoss(3_000.0, 4_000.0)
    assert losses["B1"] == LineLoss(1_000.0, 2_100.0)
    assert (line_of("MES"), line_of("QQQ"), line_of("CL"), line_of("OJ")) == ("A", "A", "C1", "none")
    assert math.isnan(line_losses(profits_by_ticker([row("SPX", math.nan, 0.0)]))["A"].adverse)


class Lines:
    """Group risk and its plugin around the stress tests' system."""

    def __init__(self) -> None:
        self.stress = Stress()
        vix = SimpleNamespace(cap_of=lambda regime: 1.0)
        figures = MarginFigures(
            self.stress.engine, self.stress.system.book, vix, MarginSettings(), CircuitBreakerSettings(),  # type: ignore[arg-type]
        )  # fmt: skip
        self.groups = GroupRisk(self.stress.engine, figures, CorrelationSettings())
        equity = SimpleNamespace(value=530_000.0, look=lambda now: SimpleNamespace(value=530_000.0))
        self.plugin = GroupStressPlugin(self.stress.engine, self.groups, equity, CorrelationSettings())  # type: ignore[arg-type]

    def ask(self, legs: dict[Contract, int], wanted: int, equity: float, volatility: float = 0.15) -> Shrink | Deny:
        self.stress.system.quote_all(legs, volatility)
        package = Package(tuple(Leg(contract, ratio) for contract, ratio in legs.items()))
        terms = Terms("lt112", "puts", 5_000.0, 40_000.0)
        asked: Proposal = replace(proposal("lt112", wanted=wanted), package=package, terms=terms)
        answer = self.plugin.review(asked, context(equity=equity))
        assert isinstance(answer, Shrink | Deny)
        return answer


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_naked_puts_far_out_are_not_free(lines: Lines) -> None:
    # 4800 puts 119 days out at 5500, volatility 0.15: no payoff is lost at 4950, yet each of them loses 195 points
    # there and 491 at 4400: 15 % of 530,000 (79,500) holds four, 30 % (159,000) three; their payoffs would allow any
    put = spxw(4800.0, Right.PUT, FOUR_MONTHS)
    one = lines.stress.one({put: -1})
    assert one.loss == pytest.approx(19_500.0, rel=0.02)
    assert -one.profits[Node.CRASH] == pytest.approx(49_100.0, rel=0.02)
    answer = lines.ask({put: -1}, 10, 530_000.0)
    assert isinstance(answer, Shrink)
    assert answer.contracts == 3
    assert answer.limit == pytest.approx(159_000.0)


def test_what_is_held_takes_its_share_and_a_hedge_gives_some_back(lines: Lines) -> None:
    put, higher = spxw(4800.0, Right.PUT, FOUR_MONTHS), spxw(5000.0, Right.PUT, FOUR_MONTHS)
    system = lines.stress.system
    system.quote_all({put: -1, higher: 1})
    system.hold("held", {put: -1}, contracts=2, strategy="lt112")
    answer = lines.ask({put: -1}, 10, 530_000.0)
    assert isinstance(answer, Shrink)
    assert answer.contracts == 1
    system.hold("hedge", {higher: 1}, contracts=1, strategy="hedge")
    freed = lines.ask({put: -1}, 10, 530_000.0)
    assert isinstance(freed, Shrink)
    assert freed.contracts > 1


def test_what_ends_today_protects_nothing_of_tomorrow(lines: Lines) -> None:
    # a wing of today's condor whose short is gone: at -10 % it would pay 500 points, and by the evening it is nothing
    system = lines.stress.system
    put, wing = spxw(4800.0, Right.PUT, FOUR_MONTHS), spxw(5450.0, Right.PUT, MORNING.date())
    system.quote_all({put: -1, wing: 1})
    system.hold("puts", {put: -1}, contracts=2, strategy="lt112")
    alone = lines.groups.lines()["A"]
    system.hold("wing", {wing: 1}, contracts=3, strategy="friday_0dte")
    assert lines.groups.lines()["A"] == alone


def test_the_second_line_is_30_percent_at_20_percent_down(lines: Lines) -> None:
    # sold far enough out the first line is slack: 4200 puts lose little at 4950 and much at 4400
    put = spxw(4200.0, Right.PUT, FOUR_MONTHS)
    one = lines.stress.one({put: -1})
    loss = lines.groups.with_added(one, 1)
    assert loss.crash > 2.0 * loss.adverse
    equity = loss.crash * 3.0 / 0.30  # three contracts at the crash line exactly
    answer = lines.ask({put: -1}, 10, equity * 1.0001)
    assert isinstance(answer, Shrink)
    assert answer.contracts <= 3
    assert lines.groups.share(lines.groups.with_added(one, 3), equity) == pytest.approx(1.0)


def test_the_account_must_outlive_the_move_and_its_brokers_margin(lines: Lines) -> None:
    # within both lines, but after the move the naked puts would ask more than the account is worth
    put = spxw(3900.0, Right.PUT, FOUR_MONTHS)
    one = lines.stress.one({put: -1}, 0.22)
    asked_after = 100.0 * (one.prices[0, Node.DOWN] + 390.0)  # at 4950 the floor of 10 % of the strike
    for contracts, equity in ((1, asked_after + one.loss), (2, 2.0 * (asked_after + one.loss))):
        assert lines.groups.outlives(one, contracts, equity * 1.001) is None
        over = lines.groups.outlives(one, contracts, equity * 0.999)
        assert over is not None
        assert over[0] == pytest.approx(contracts * asked_after)
    answer = lines.ask({put: -1}, 5, 2.5 * (asked_after + one.loss), 0.22)
    assert isinstance(answer, Shrink)
    assert answer.contracts == 2
    assert "margin" in lines.ask({put: -1}, 1, 0.9 * asked_after, 0.22).reason


def test_what_cannot_be_stressed_denies_and_zero_loss_is_valid(lines: Lines) -> None:
    put = spxw(4800.0, Right.PUT, FOUR_MONTHS)
    unquoted = replace(proposal("lt112"), package=Package((Leg(put, -1),)))
    assert isinstance(lines.plugin.review(unquoted, context(equity=500_000.0)), Deny)
    year = MORNING.date() + timedelta(days=365)
    box = {
        spxw(5250.0, Right.CALL, year): -1, spxw(5750.0, Right.CALL, year): 1, spxw(5250.0, Right.PUT, year): 1,
        spxw(5750.0, Right.PUT, year): -1,
    }  # fmt: skip
    answer = lines.ask(box, 2, 100_000.0)
    assert isinstance(answer, Shrink)
    assert answer.contracts == 2
    for equity in (0.0, -5.0, math.nan):
        verdict = lines.ask({put: -1}, 2, equity)
        assert isinstance(verdict, Deny) or verdict.contracts == 0


def test_foreign_puts_count(lines: Lines) -> None:
    # two naked puts opened by hand: the account's own lines hold them as well
    put = spxw(4800.0, Right.PUT, FOUR_MONTHS)
    before = lines.ask({put: -1}, 10, 530_000.0)
    lines.stress.system.book.unowned[spxw(4850.0, Right.PUT, FOUR_MONTHS).name] = -2.0
    lines.stress.system.quote_all({spxw(4850.0, Right.PUT, FOUR_MONTHS): 1})
    after = lines.ask({put: -1}, 10, 530_000.0)
    assert isinstance(before, Shrink)
    assert isinstance(after, Shrink)
    assert after.contracts < before.contracts


def test_lines_over_their_limit_are_named_and_unknown_counts_as_over(lines: Lines) -> None:
    put = spxw(4800.0, Right.PUT, FOUR_MONTHS)
    system = lines.stress.system
    system.quote_all({put: -1})
    system.hold("held", {put: -1}, contracts=6, strategy="lt112")
    assert lines.groups.over(10_000_000.0) == {}
    assert lines.groups.over(530_000.0)["A"] == pytest.approx(6 * 49_100.0 / 159_000.0, rel=0.02)
    assert lines.groups.over(0.0) == {"A": math.inf}
    system.hold("unknown", {spy(470.0, Right.PUT, FOUR_MONTHS): -1})
    assert lines.groups.over(10_000_000.0) == {"A": 1.0}


def test_a_line_passed_through_prices_is_told_and_over_one_and_a_half_times_closed_one_by_one(lines: Lines) -> None:
    # 6 of the 4800 puts use 1.85 of the crash line of 530,000 (see above): breach, and the riskiest must go
    put, other = spxw(4800.0, Right.PUT, FOUR_MONTHS), spxw(4700.0, Right.PUT, FOUR_MONTHS)
    system = lines.stress.system
    system.quote_all({put: -1, other: -1})
    system.hold("large", {put: -1}, contracts=5, strategy="lt112")
    system.hold("small", {other: -1}, contracts=1, strategy="lt112")
    minute = MinutePassed(time=MORNING + timedelta(minutes=1))
    (passed,) = lines.plugin.watch(minute)
    assert (passed.rule, passed.severity) == ("group_risk_A", Severity.BREACH)
    (want,) = lines.plugin.wanted(minute.time)
    assert (want.scope, want.line) == (Scope.RISKIEST, "A")
    assert want.still is not None
    assert want.still(frozenset())
    assert want.still(frozenset({"small"}))
    assert not want.still(frozenset({"large"}))
    del system.book.positions["large"]
    system.changed("large")
    (ended,) = lines.plugin.watch(MinutePassed(time=MORNING + timedelta(minutes=2)))
    assert ended.severity is Severity.NORMAL
    assert list(lines.plugin.wanted(minute.time)) == []

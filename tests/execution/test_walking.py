"""An entry is judged again at each step of its walk, and what it must bring: credit floors and scaled index points."""

# Private: _working, _walk, _budgets, _gateway: the group between two steps, and what risk approved for it.

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.book import EntryIntent, Refusal
from core.contracts import Contract, Leg, Package, Right
from core.instruments import INSTRUMENTS
from core.journal import MemorySink, RecordKind
from core.parts import Terms
from core.settings.fields import OrderSettings
from core.settings.strategies import FridayZeroDaySettings
from execution.executor import AtomicExecutor
from execution.walking import walk_limit
from market.chains import PackagePrice, current_price
from risk.manager import UnifiedRiskManager
from strategies.base import (
    MINIMUM_CREDIT,
    NET_CREDIT,
    EntryContext,
    Skip,
    least_cash,
    least_credit,
    maximum_debit,
    round_trip_fees,
    spread_width,
    too_little,
)
from strategies.friday_0dte import FridayZeroDay
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.risk.proposals import proposal
from trading_system import TradingSystem

NOON = datetime.combine(FRIDAY, time(12, 0))
OPEN = datetime.combine(FRIDAY, time(9, 31))
ROW = FridayZeroDaySettings()
ORDERS = OrderSettings()


def option(strike: float, right: Right = Right.PUT, root: str = "SPXW") -> Contract:
    return INSTRUMENTS[root].contract(FRIDAY, strike, right, "handle")


def spread(short: float = 4990.0, wing: float = 4960.0, root: str = "SPXW") -> Package:
    return Package((Leg(option(short, root=root), -1), Leg(option(wing, root=root), 1)))


def condor() -> Package:
    calls = (Leg(option(5050.0, Right.CALL), -1), Leg(option(5100.0, Right.CALL), 1))
    return Package(spread().legs + calls)


def test_the_walk_goes_from_mid_through_natural_in_tenths_of_the_spread() -> None:
    price = PackagePrice(3.1, 2.8, 0.05)
    # 3.10, 3.04, 2.98, 2.92, 2.86, each at the tick below; the last one a tick through 2.80, and never beyond.
    limits = [walk_limit(price, step, ORDERS) for step in range(8)]
    assert limits == pytest.approx([3.1, 3.0, 2.95, 2.9, 2.85, 2.75, 2.75, 2.75])


@pytest.mark.parametrize(
    ("natural", "tick", "limit"),
    [(2.8, 0.05, 2.75), (2.825, 0.05, 2.8), (2.8, 0.01, 2.79), (-3.4, 0.05, -3.45), (0.05, 0.05, -0.05)],
)
def test_the_last_step_is_the_first_tick_through_natural(natural: float, tick: float, limit: float) -> None:
    # Between the ticks the one below is through it already; a limit of zero cannot be sent, the next one is a debit.
    assert walk_limit(PackagePrice(natural + 0.3, natural, tick), 5, ORDERS) == pytest.approx(limit)


def test_a_walk_without_steps_stays_at_the_mid() -> None:
    still = OrderSettings(walk_steps=0)
    assert walk_limit(PackagePrice(3.1, 2.8, 0.05), 0, still) == pytest.approx(3.1)


@given(st.floats(-50, 50), st.floats(0, 10), st.integers(0, 20))
def test_the_walk_stays_between_mid_and_a_tick_through_natural(mid: float, half: float, step: int) -> None:
    price = PackagePrice(mid, mid - half, 0.05)
    limit = walk_limit(price, step, ORDERS)
    least = price.natural - 0.05 if price.natural > 0.05 or price.natural < -1e-6 else -0.05  # zero cannot be sent
    assert least - 1e-4 <= limit <= max(price.mid, -0.05) + 1e-4


class Walked:
    """A spread that risk approved, on its way at noon; nobody fills it, and the market is as a test moves it."""

    def __init__(self, folder: Path) -> None:
        self.level, self.vix = 5000.0, 24.0
        self.gateway = FakeGateway(OPEN, self.moving, lambda _: self.vix, folder, fills_allowed=False)
        self.system: TradingSystem
        self.sink: MemorySink
        self.system, self.sink = build(self.gateway, phases__earned_progression="false")
        self.executor = self.system.managers[AtomicExecutor]
        self.system.open_session(OPEN)
        self.gateway.time = NOON
        self.system.minute(NOON)
        self.gateway.subscribe([leg.contract for leg in spread().legs])
        price = current_price(self.gateway, spread())
        assert price is not None
        # All that 30 points can lose, at the natural price of now.
        self.loss = (30.0 - price.natural) * 100
        wanted = replace(
            proposal(), package=spread(), terms=Terms("friday_0dte", "put_spread", self.loss, 3000.0), wanted=1,
            mid_cash=price.mid, natural_cash=price.natural, model_cash=None,
            least_cash=MINIMUM_CREDIT(spread(), ROW, ORDERS),
        )  # fmt: skip
        decision = self.system.managers[UnifiedRiskManager].review(wanted)
        assert decision.approved is not None, decision
        name = self.executor.open(decision.approved, "x")
        assert isinstance(name, str)

    def moving(self, now: datetime) -> float:
        """The level, never frozen."""
        return self.level + (now.minute % 7) / 100

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.gateway.time += timedelta(minutes=1)
            self.gateway.work_orders()
            self.system.minute(self.gateway.time)

    @property
    def last(self) -> dict[str, object]:
        return dict(self.sink.rows(RecordKind.ORDER)[-1])


@pytest.fixture
def walked(tmp_path: Path) -> Walked:
    return Walked(tmp_path)


def test_a_walk_that_stays_wanted_goes_to_its_end(walked: Walked) -> None:
    walked.minutes(5)
    limits = [row["limit_cash"] for row in walked.sink.rows(RecordKind.ORDER)]
    group = next(iter(walked.executor._working))
    price = walked.executor._working._walk.price(group)
    assert price is not None
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == pytest.approx(price.natural - 0.05)
    walked.minutes(1)
    assert (walked.last["action"], walked.last["rule"]) == ("cancelled", None)


def test_a_walk_ends_when_the_vix_leaves_the_window(walked: Walked) -> None:
    walked.minutes(2)
    walked.vix = 21.5  # the row asks for more than 22
    walked.minutes(1)
    row = walked.last
    assert (row["action"], row["rule"], row["limit"], row["observed"]) == ("cancelled", "vix_window", 22.0, 21.5)
    assert walked.gateway.orders == []
    assert walked.system.book.pending == {}


def test_a_walk_ends_when_risk_would_not_open_it_any_more(walked: Walked) -> None:
    walked.minutes(1)
    walked.vix = 33.0  # above 30 it is for put sellers: the regime, which the row's own window does not know
    walked.minutes(1)
    assert (walked.last["action"], walked.last["rule"]) == ("cancelled", "vix_regime")


def test_a_walk_ends_when_it_could_lose_more_than_was_approved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = Walked(tmp_path)
    walked.minutes(1)
    risk = walked.system.managers[UnifiedRiskManager]
    # What risk approved for the position in dollars, brought down to what it could lose when it was sent.
    monkeypatch.setattr(risk, "_budgets", dict.fromkeys(risk._budgets, walked.loss))
    walked.level = 5010.0  # farther from the strikes: less credit, more to lose, still over the floor
    walked.minutes(1)
    row = walked.last
    assert (row["action"], row["rule"]) == ("cancelled", "largest_loss")
    assert isinstance(row["limit"], float)
    assert isinstance(row["observed"], float)
    assert row["observed"] > row["limit"]


def test_a_walk_ends_without_a_vix(walked: Walked) -> None:
    walked.gateway.missing.add("VIX")
    walked.minutes(8)
    assert walked.last["rule"] in ("vix_missing", None)
    assert walked.gateway.orders == []


def test_a_walk_ends_under_the_credit_floor(walked: Walked) -> None:
    walked.minutes(1)
    walked.level = 5035.0  # far above the strikes: little is left of the credit
    walked.minutes(1)
    row = walked.last
    # 3 % of 30 points are 0.90; ten times two dollars of fees would be 0.20.
    assert (row["action"], row["rule"], row["limit"]) == ("cancelled", "credit", pytest.approx(0.90))
    assert isinstance(row["observed"], float)
    assert row["observed"] < 0.90


def test_a_walk_ends_when_a_leg_has_no_quote(walked: Walked) -> None:
    walked.gateway.missing.add(spread().legs[0].contract.name)
    walked.minutes(1)
    assert (walked.last["action"], walked.last["rule"]) == ("cancelled", "quotes")


def test_a_judge_that_fails_ends_the_walk(walked: Walked) -> None:
    class Broken:
        def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
            raise RuntimeError("no idea")

    broken = Broken()
    walked.executor.judged_by(broken)
    walked.minutes(1)
    assert (walked.last["rule"], walked.last["reason"]) == ("judge_error", "Broken failed: RuntimeError: no idea")


def test_judges_see_what_a_step_brings_and_the_first_that_refuses_counts(walked: Walked) -> None:
    seen: list[tuple[str, int, float]] = []

    class Judge:
        def __init__(self, name: str, refuses_at: int) -> None:
            self.name, self.refuses_at, self.asked = name, refuses_at, 0

        def still_allowed(self, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
            self.asked += 1
            seen.append((self.name, contracts, brings))
            return Refusal(self.name, "enough", 1.0, brings) if self.asked == self.refuses_at else None

    judges = (Judge("first", 9), Judge("second", 5))
    for judge in judges:
        walked.executor.judged_by(judge)
    price = walked.executor._working._walk.price(next(iter(walked.executor._working)))
    assert price is not None
    walked.minutes(5)
    assert (walked.last["action"], walked.last["rule"]) == ("cancelled", "second")
    assert [name for name, _, _ in seen] == ["first", "second"] * 5
    # Each step gives more; the last limit stands a tick through natural and brings natural at worst.
    brought = [cash for name, _, cash in seen if name == "first"]
    assert brought == sorted(brought, reverse=True)
    now = walked.executor._gateway.quote(spread().legs[0].contract)
    assert now is not None
    assert brought[-1] == pytest.approx(walked.last["observed"])


def test_what_ended_a_walk_is_the_days_decision(tmp_path: Path) -> None:
    calm = lambda at: 5000.0 + 0.5 * (at.minute % 3)  # noqa: E731
    vix = lambda at: 24.0 if at < datetime.combine(FRIDAY, time(10, 33)) else 20.0  # noqa: E731
    gateway = FakeGateway(datetime.combine(FRIDAY, time()), calm, vix, tmp_path, fills_allowed=False)
    system, sink = build(gateway)
    run_day(system, gateway, FRIDAY)
    (row,) = sink.rows(RecordKind.DECISION)
    assert (row["outcome"], row["rule"], row["limit"], row["observed"]) == ("skip", "vix_window", 22.0, 20.0)
    assert datetime.fromisoformat(row["time"]).time() == time(10, 33)


# What an entry must bring


def test_the_floor_of_a_spread_is_three_percent_of_its_width() -> None:
    # 0.03 x 30 = 0.90; two legs at a dollar to open and nothing to close, ten times, are 20 dollars: 0.20.
    assert spread_width(spread()) == 30.0
    assert round_trip_fees(spread(), ORDERS) == 2.0
    assert least_credit(spread(), ROW, ORDERS) == pytest.approx(0.90)
    least = MINIMUM_CREDIT(spread(), ROW, ORDERS)
    assert too_little(0.90, least) is None
    refused = too_little(0.85, least)
    assert isinstance(refused, Skip)
    assert (refused.rule, refused.observed) == ("credit", 0.85)
    assert refused.limit == pytest.approx(0.90)


def test_the_floor_of_a_condor_is_that_of_its_wider_side() -> None:
    # 30 and 50 wide: 0.03 x 50 = 1.50; four legs, ten times, 0.40.
    assert spread_width(condor()) == 50.0
    assert least_credit(condor(), ROW, ORDERS) == pytest.approx(1.50)


def test_small_packages_are_bound_by_their_fees() -> None:
    # 3 points of SPY: 0.09 by width, 0.20 by fees. The spread for two dollars with two dollars of fees is refused.
    small = spread(495.0, 492.0, "SPY")
    assert least_credit(small, ROW, ORDERS) == pytest.approx(0.20)
    assert too_little(0.02, MINIMUM_CREDIT(small, ROW, ORDERS)) is not None
    assert too_little(0.20, MINIMUM_CREDIT(small, ROW, ORDERS)) is None


def test_without_a_floor_a_credit_is_still_needed() -> None:
    none = FridayZeroDaySettings(min_credit_of_width=0.0, min_credit_fees=0.0)
    least = MINIMUM_CREDIT(spread(), none, ORDERS)
    assert too_little(0.05, least) is None
    assert too_little(0.0, least) is not None
    assert too_little(-0.05, least) is not None


def test_a_debit_has_a_most_and_without_a_must_anything_will_do() -> None:
    least = least_cash((maximum_debit(2.0),), spread(), ROW, ORDERS)
    assert too_little(-2.0, least) is None
    refused = too_little(-2.05, least)
    assert refused is not None
    assert (refused.rule, refused.limit, refused.observed) == ("debit", 2.0, 2.05)
    assert least_cash((NET_CREDIT, maximum_debit(2.0)), spread(), ROW, ORDERS) == pytest.approx(0.05)
    assert too_little(-100.0, least_cash((), spread(), ROW, ORDERS)) is None


def test_a_friday_with_a_thin_credit_is_a_skip_with_its_numbers(tmp_path: Path) -> None:
    gateway = FakeGateway(
        datetime.combine(FRIDAY, time()), lambda at: 5000.0 + 0.5 * (at.minute % 3), lambda _: 24.0, tmp_path
    )
    system, sink = build(gateway, friday_0dte__min_credit_of_width="0.2")
    run_day(system, gateway, FRIDAY)
    (row,) = sink.rows(RecordKind.DECISION)
    # Wings of 35 points (30 at 4500): a fifth of it is 7.00, more than the package brings; the smaller size as well.
    assert (row["outcome"], row["rule"]) == ("skip", "credit")
    assert row["limit"] == pytest.approx(7.0)
    assert 0 < row["observed"] < 7.0
    assert not gateway.sent


@pytest.mark.parametrize(
    ("points", "index", "reference", "scaled"),
    [
        (30.0, 4500.0, 4500.0, 30.0),
        (30.0, 2250.0, 4500.0, 15.0),
        (50.0, 5400.0, 4500.0, 60.0),
        (30.0, 900.0, 0.0, 30.0),
    ],
)
def test_index_points_scale_with_the_index(points: float, index: float, reference: float, scaled: float) -> None:
    assert FridayZeroDaySettings(points_reference=reference).index_points(points, index) == pytest.approx(scaled)


@pytest.mark.parametrize(("reference", "width"), [("4500", 15.0), ("0", 30.0)])
def test_wings_are_rounded_to_listed_strikes(tmp_path: Path, reference: str, width: float) -> None:
    # At 2000, 30 points of 4500 are 13.3: 15 is the nearest listed. As printed they stay 30.
    gateway = FakeGateway(
        datetime.combine(FRIDAY, time()), lambda at: 2000.0 + 0.2 * (at.minute % 3), lambda _: 24.0, tmp_path
    )
    system, _ = build(gateway, friday_0dte__points_reference=reference)
    run_day(system, gateway, FRIDAY)
    strikes = {leg.ratio: leg.contract.strike for leg in gateway.sent[0][1].legs if leg.contract.right is Right.PUT}
    assert strikes[-1] - strikes[1] == width


def test_the_strategy_judges_its_own_walk(tmp_path: Path) -> None:
    gateway = FakeGateway(NOON, lambda _: 5000.0, lambda _: 24.0, tmp_path)
    system, _ = build(gateway)
    session = gateway.session(FRIDAY)
    assert session is not None
    entry = EntryIntent("friday_0dte", FRIDAY, spread(), Terms("friday_0dte", "x", 1.0, 1.0), 3.0, None, "")
    blind = EntryContext(NOON, session, None, 100_000.0, 1)
    refused = system.managers[FridayZeroDay].still_wanted(entry, 3.0, blind)
    assert refused is not None
    assert refused.rule == "vix_missing"

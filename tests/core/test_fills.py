"""The fill assumption: when a package fills and at which price of each leg, by itself and through LEAN's fill model."""

# Private: _plain: the clock's rounding alone; LEAN's model around it needs an engine.

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.fills import FillAssumption, FillRule, LegQuote
from core.settings.base import SettingsError
from core.settings.fields import Settings
from simulation.data.lean_folder import LeanFolder
from simulation.lean.enums import OrderStatus, Resolution
from simulation.orders.order_parts import Leg
from simulation.orders.requests import UpdateOrderFields
from simulation.runner import RunRequest, run_backtest
from tests.conftest import CONFORMANCE
from tests.core.embedded_names import on_embedded_names
from tests.simulation.playing import HIGH, LOW, Market, Recorder, at, credit_legs, index_market, play

WORKED = FillRule(FillAssumption.WORKED, 0.60)
NATURAL = FillRule(FillAssumption.NATURAL, 0.60)
MID = FillRule(FillAssumption.MID, 0.60)

# Sold 4.00 x 4.40, bought 1.00 x 1.20: mid 4.20 - 1.10 = 3.10, natural 4.00 - 1.20 = 2.80; 60 % of the way is 2.92.
SPREAD = (LegQuote(-1, 4.0, 4.4), LegQuote(1, 1.0, 1.2))
# Bought back: mid -3.10, natural -(4.40 - 1.00) = -3.40; 60 % of the way is -3.28.
EXIT = (LegQuote(1, 4.0, 4.4), LegQuote(-1, 1.0, 1.2))


def cash(legs: tuple[LegQuote, ...], prices: tuple[float, ...] | None) -> float | None:
    """What the package brings at its legs' prices."""
    if prices is None:
        return None
    return round(-sum(leg.ratio * price for leg, price in zip(legs, prices, strict=True)), 10)


@pytest.mark.parametrize(
    ("rule", "limit", "filled"),
    [
        # worked: not before 60 % of the way; then at the limit; through natural at natural, never worse.
        (WORKED, 3.10, None), (WORKED, 2.95, None), (WORKED, 2.92, 2.92), (WORKED, 2.85, 2.85), (WORKED, 2.75, 2.80),
        # natural: at the limit or through it, always at natural.
        (NATURAL, 2.85, None), (NATURAL, 2.80, 2.80), (NATURAL, 2.50, 2.80),
        # mid: at the mid as soon as the limit is there.
        (MID, 3.15, None), (MID, 3.10, 3.10), (MID, 2.75, 3.10),
    ],
)  # fmt: skip
def test_when_an_entry_fills_and_at_what(rule: FillRule, limit: float, filled: float | None) -> None:
    assert cash(SPREAD, rule.fill(SPREAD, limit)) == filled


@pytest.mark.parametrize(
    ("rule", "limit", "filled"),
    [
        (WORKED, -3.10, None), (WORKED, -3.25, None), (WORKED, -3.30, -3.30), (WORKED, -4.00, -3.40),
        (NATURAL, -3.35, None), (NATURAL, -3.40, -3.40), (NATURAL, -9.00, -3.40), (MID, -3.10, -3.10),
    ],
)  # fmt: skip
def test_an_exit_is_judged_in_what_it_costs(rule: FillRule, limit: float, filled: float | None) -> None:
    assert cash(EXIT, rule.fill(EXIT, limit)) == filled


def test_a_market_that_came_to_the_limit_fills_at_natural() -> None:
    # Asked for 2.60 while natural is 2.80: the better of the two.
    assert WORKED.fill(SPREAD, 2.60) == (4.0, 1.2)


def test_legs_stand_at_cents_within_their_quotes() -> None:
    # 2.92 is 60 % of the way: 4.20 - 0.6 x 0.20 = 4.08 and 1.10 + 0.6 x 0.10 = 1.16.
    assert WORKED.fill(SPREAD, 2.92) == (4.08, 1.16)


def test_a_remainder_goes_to_the_leg_that_can_take_it() -> None:
    # Two shorts at about 1.045 each for a long at about 2.515: only whole cents that add up to the price will do.
    ratio = (LegQuote(1, 2.50, 2.52), LegQuote(-2, 1.00, 1.06))
    prices = WORKED.fill(ratio, -0.48)
    # mid -2.51 + 2.06 = -0.45, natural -2.52 + 2.00 = -0.52; 60 % of the way is -0.492: -0.50 fills, -0.48 not yet.
    assert prices is None
    prices = WORKED.fill(ratio, -0.50)
    assert prices is not None
    assert cash(ratio, prices) == -0.50
    assert 2.50 <= prices[0] <= 2.52
    assert 1.00 <= prices[1] <= 1.06


@pytest.mark.parametrize(("limit", "price"), [(-4.30, None), (-4.35, 4.35), (-5.0, 4.4)])
def test_a_single_leg_goes_by_the_same_rule(limit: float, price: float | None) -> None:
    # Bought at 4.00 x 4.40: mid 4.20, 60 % of the way is 4.32.
    found = WORKED.fill([LegQuote(1, 4.0, 4.4)], limit)
    assert (None if found is None else found[0]) == price


def test_a_leg_without_the_side_it_needs_does_not_fill() -> None:
    assert WORKED.fill([LegQuote(-1, None, 0.05), LegQuote(1, 0.05, 0.10)], -5.0) is None
    assert WORKED.fill([LegQuote(-1, 4.0, None), LegQuote(1, 1.0, 1.2)], -5.0) is None
    assert WORKED.fill([LegQuote(1, 4.0, None)], -5.0) is None
    # A wing that is bought needs no bid: it counts as zero. Mid 4.20 - 0.05, natural 4.00 - 0.10 = 3.90.
    wing = (LegQuote(-1, 4.0, 4.4), LegQuote(1, None, 0.10))
    assert NATURAL.fill(wing, 3.90) == (4.0, 0.10)


def test_a_crossed_bid_counts_as_the_offer() -> None:
    # An old bid of 0.30 over an offer of 0.10: sold at 0.10, never at 0.30.
    assert NATURAL.fill([LegQuote(-1, 0.30, 0.10)], 0.05) == (0.10,)


def test_half_a_cent_in_the_quotes_is_kept() -> None:
    # Quotes in half cents, no multiple of a cent within them: tenths of a cent are.
    narrow = (LegQuote(1, 1.002, 1.008), LegQuote(-1, 0.502, 0.508))
    prices = WORKED.fill(narrow, -0.505)
    assert prices is not None
    assert cash(narrow, prices) == -0.505


def test_legs_of_options_on_futures_stand_at_their_own_tick() -> None:
    # ZB: 64ths. Sold 1 10/64 x 1 14/64, bought 30/64 x 32/64; mid 44/64... worked out in 64ths below.
    tick = 1 / 64
    legs = (LegQuote(-1, 74 * tick, 78 * tick), LegQuote(1, 30 * tick, 32 * tick))
    # mid 76 - 31 = 45, natural 74 - 32 = 42, 60 % of the way 43.2: a limit of 43 fills there.
    prices = WORKED.fill(legs, 43 * tick, tick)
    assert prices is not None
    assert cash(legs, prices) == round(43 * tick, 10)
    assert all(abs(price / tick - round(price / tick)) < 1e-6 for price in prices)


def test_leans_own_rule_is_nothing_to_ask_here() -> None:
    with pytest.raises(ValueError, match="LEAN's own rule"):
        FillRule(FillAssumption.LEAN, 0.6).fill(SPREAD, 3.0)


def test_settings_name_the_assumption() -> None:
    assert Settings().fills.rule == WORKED
    given_ = Settings.from_parameters({"fills.model": "natural", "fills.share": "0.75"})
    assert given_.fills.rule == FillRule(FillAssumption.NATURAL, 0.75)
    with pytest.raises(SettingsError, match="worked, natural, mid, lean"):
        Settings.from_parameters({"fills.model": "hopeful"})
    with pytest.raises(SettingsError, match=r"fills\.share"):
        Settings.from_parameters({"fills.share": "1.2"})


quotes = st.tuples(st.integers(0, 3000), st.integers(1, 60))
packages = st.lists(st.tuples(st.sampled_from([-3, -2, -1, 1, 2, 3]), quotes), min_size=1, max_size=4)


@given(packages, st.integers(-5000, 5000), st.sampled_from([WORKED, NATURAL, MID]), st.sampled_from([0.0, 0.3, 1.0]))
def test_a_fill_is_never_worse_than_its_limit_or_better_than_the_mid(
    rows: list[tuple[int, tuple[int, int]]], limit_cents: int, rule: FillRule, share: float
) -> None:
    ratios = [ratio for ratio, _ in rows]
    assume(math.gcd(*ratios) == 1)
    legs = tuple(LegQuote(ratio, bid / 100, (bid + width) / 100) for ratio, (bid, width) in rows)
    rule = FillRule(rule.model, share)
    limit = limit_cents / 100
    prices = rule.fill(legs, limit)
    mid = -sum(leg.ratio * ((leg.bid or 0) + (leg.ask or 0)) / 2 for leg in legs)
    natural = -sum(leg.ratio * ((leg.ask if leg.ratio > 0 else leg.bid) or 0) for leg in legs)
    if prices is None:
        assert limit > natural - 1e-9
        return
    brought = cash(legs, prices)
    assert brought is not None
    assert natural - 1e-9 <= brought <= mid + 1e-9
    assert brought >= limit - 1e-9
    for leg, price in zip(legs, prices, strict=True):
        assert (leg.bid or 0.0) - 1e-9 <= price <= (leg.ask or 0.0) + 1e-9
    # To the cent, not about: what the account books is the package's price.
    assert brought == round(brought, 2) or all(abs(ratio) > 1 for ratio in ratios) or rule.model is FillAssumption.MID


@given(packages, st.integers(-5000, 5000), st.floats(0, 1), st.floats(0, 1))
def test_giving_up_more_never_fills_less(
    rows: list[tuple[int, tuple[int, int]]], limit_cents: int, one: float, other: float
) -> None:
    legs = [LegQuote(ratio, bid / 100, (bid + width) / 100) for ratio, (bid, width) in rows]
    assume(math.gcd(*(leg.ratio for leg in legs)) == 1)
    easy = FillRule(FillAssumption.WORKED, min(one, other)).fill(legs, limit_cents / 100)
    hard = FillRule(FillAssumption.WORKED, max(one, other)).fill(legs, limit_cents / 100)
    assert easy is not None or hard is None


# Through LEAN's fill model, on the embedded engine


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the fill model on the embedded engine's names."""
    with on_embedded_names(monkeypatch, "core.lean_gateway_fills") as module:
        yield module


def two_puts() -> Market:
    """5350 at 2.00 x 2.40 and 5300 at 0.50 x 0.70: mid 1.60, natural 1.30, 60 % of the way 1.42; at 10:02 a little up.

    At 10:02 the short is 2.10 x 2.50: mid 1.70, natural 1.40, 60 % of the way 1.52.
    """
    market = index_market("10:01", "10:02", "10:03")
    for clock in ("09:31", "10:00", "10:01"):
        market.quote(LOW, at(clock), 0.50, 0.70)
        market.quote(HIGH, at(clock), 2.00, 2.40)
    market.quote(LOW, at("10:02"), 0.50, 0.70)
    market.quote(HIGH, at("10:02"), 2.10, 2.50)
    return market


def run_model(
    models: Any, script: Callable[[Recorder], None], market: Market | None = None, rule: FillRule = WORKED
) -> Recorder:
    def whole(algorithm: Recorder) -> None:
        model = models.PackageFillModel(rule, lambda: algorithm.utc_time)
        algorithm.add_index("SPX", Resolution.MINUTE)
        for symbol in (LOW, HIGH):
            algorithm.add_index_option_contract(symbol, Resolution.MINUTE).set_fill_model(model)
        script(algorithm)

    return play(market or two_puts(), whole)


def combo(limit: float, quantity: int = 1, legs: Callable[[], list[Leg]] = credit_legs) -> Callable[[Recorder], None]:
    def script(algorithm: Recorder) -> None:
        algorithm.do_at("10:00", lambda: algorithm.combo_limit_order(legs(), quantity, limit))

    return script


def test_a_package_fills_in_one_instant_at_prices_that_add_up(models: Any) -> None:
    played = run_model(models, combo(-1.40, 2))
    # 1.40 is two thirds of the way from 1.60 to 1.30: 2.20 - 0.133 and 0.60 + 0.067, in cents 2.07 and 0.67.
    assert played.fills() == [(1, 2.0, 0.67), (2, -2.0, 2.07)]
    filled = {event.utc_time for event in played.seen if event.fill_quantity}
    assert len(filled) == 1
    assert played.statuses(1) == ["SUBMITTED", "FILLED"]


def test_a_package_waits_until_it_has_given_up_enough(models: Any) -> None:
    # 1.45 is half of the way at 10:01, and not 60 %; at 10:02 the market has come to it: 1.45 is over 1.40, natural.
    played = run_model(models, combo(-1.45))
    assert [round(row[2], 2) for row in played.fills()] == [0.68, 2.13]
    assert {str(event.utc_time)[11:16] for event in played.seen if event.fill_quantity} == {"14:02"}


def test_a_package_written_the_other_way_round_is_the_same_package(models: Any) -> None:
    def debit_legs() -> list[Leg]:
        return [Leg.create(LOW, -1), Leg.create(HIGH, 1)]

    assert run_model(models, combo(1.40, -2, debit_legs)).fills() == [(1, 2.0, 0.67), (2, -2.0, 2.07)]


def test_a_limit_through_natural_fills_at_natural(models: Any) -> None:
    assert run_model(models, combo(-1.25)).fills() == [(1, 1.0, 0.70), (2, -1.0, 2.00)]


def test_a_package_out_of_reach_stays_and_says_nothing(models: Any) -> None:
    played = run_model(models, combo(-2.00))
    assert played.fills() == []
    assert played.statuses(1) == ["SUBMITTED"]


def test_a_stale_leg_does_not_fill(models: Any) -> None:
    market = two_puts()
    market.quote_rows[LOW] = market.quote_rows[LOW][:1]  # its only quote ended at 09:31, before the order of 10:00
    assert run_model(models, combo(-1.25), market).fills() == []


def test_a_closed_exchange_fills_nothing(models: Any) -> None:
    def script(algorithm: Recorder) -> None:
        sent: list[Any] = []
        algorithm.do_at("10:00", lambda: sent.extend(algorithm.combo_limit_order(credit_legs(), 1, -2.00)))

        def late() -> None:
            for ticket in sent:
                fields = UpdateOrderFields()
                fields.limit_price = -0.50
                ticket.update(fields)

        algorithm.do_at("17:00", late)

    assert run_model(models, script).fills() == []


def test_a_single_option_order_goes_by_the_same_rule(models: Any) -> None:
    def script(algorithm: Recorder) -> None:
        # Sold at 2.00 x 2.40: 60 % of the way is 2.08. Bought back at natural and through it.
        algorithm.do_at("10:00", lambda: algorithm.limit_order(HIGH, -1, 2.05))
        algorithm.do_at("10:01", lambda: algorithm.limit_order(HIGH, 1, 2.60))

    # At 10:01 the limit of 2.05 stands; at 10:02 the offer is 2.50.
    assert run_model(models, script).fills() == [(1, -1.0, 2.05), (2, 1.0, 2.50)]


def test_an_update_may_fill_in_its_own_minute(models: Any) -> None:
    def script(algorithm: Recorder) -> None:
        sent: list[Any] = []
        algorithm.do_at("10:00", lambda: sent.extend(algorithm.combo_limit_order(credit_legs(), 1, -1.60)))

        def walk() -> None:
            for ticket in sent:
                fields = UpdateOrderFields()
                fields.limit_price = -1.40
                ticket.update(fields)

        algorithm.do_at("10:01", walk)

    played = run_model(models, script)
    assert played.fills() == [(1, 1.0, 0.67), (2, -1.0, 2.07)]
    assert {str(event.utc_time)[11:16] for event in played.seen if event.fill_quantity} == {"14:01"}


def test_times_of_lean_carry_a_zone_or_none(models: Any) -> None:
    from datetime import UTC

    moment = datetime(2024, 3, 8, 15, 30, 1, 5)
    assert models._plain(moment.replace(tzinfo=UTC)) == moment
    assert models._plain(moment) - models._plain(moment - timedelta(minutes=1)) == timedelta(minutes=1)


@pytest.mark.parametrize(("model", "kind"), [("worked", "PackageFillModel"), ("lean", "ImmediateFillModel")])
def test_the_security_initializer_sets_it_on_options_only(
    models: Any, monkeypatch: pytest.MonkeyPatch, model: str, kind: str
) -> None:
    gateway = importlib.import_module("core.lean_gateway")
    rule = Settings.from_parameters({"fills.model": model}).fills.rule
    found: dict[str, str] = {}

    def script(algorithm: Recorder) -> None:
        gateway.prepare(algorithm, True, rule)
        found["index"] = type(algorithm.add_index("SPX", Resolution.MINUTE).fill_model).__name__
        found["option"] = type(algorithm.add_index_option_contract(LOW, Resolution.MINUTE).fill_model).__name__

    play(two_puts(), script)
    assert found == {"index": "ImmediateFillModel", "option": kind}


@pytest.mark.skipif(not (CONFORMANCE / "february").exists(), reason="the recordings are not beside this clone")
def test_the_real_engine_and_ours_call_a_fill_model_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.jsonl"
    monkeypatch.setenv("PROBE_OUT", str(out))
    folder = CONFORMANCE / "february"
    algorithm = folder / "probes" / "p14_package_fills.py"
    result = run_backtest(RunRequest(algorithm, LeanFolder(folder / "data"), {}, None, tmp_path / "storage"))
    assert result.error is None
    expected = (folder / "expected" / "p14_package_fills.jsonl").read_text(encoding="utf-8")
    assert out.read_text(encoding="utf-8") == expected
    assert OrderStatus.FILLED.name in expected

"""What LEAN figures wrongly on half days and last days is never read: its chain's volatilities and early assignment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from core.contracts import Right
from core.instruments import INSTRUMENTS
from greeks.black_scholes import expires_at, years_between
from simulation.lean.enums import Resolution, SecurityType
from simulation.market.definitions import market_hours
from simulation.securities.pricing import settlement_time
from tests.core.embedded_names import on_embedded_names
from tests.simulation.playing import at, index_market, play, spxw

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "state", "market", "greeks", "risk", "execution", "strategies", "reporting")
LEANS_OWN = {"option_chains", "current_slice", "theoretical_price", "price_model", "evaluate_price_model"}
HALF_DAY = date(2024, 7, 3)


def attributes(path: Path) -> Iterator[str]:
    """Names that a module reads as attributes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr


def test_no_room_reads_leans_chains_or_price_models() -> None:
    sources = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    assert len(sources) > 80
    read = {(path.name, name) for path in sources for name in attributes(path) if name in LEANS_OWN}
    assert read == set()
    # Of a chain file's row the day before's volatility is read, in one place; its Greeks never.
    gateway = list((ROOT / "core").glob("lean_gateway*.py"))
    rows = {(path.name, name) for path in gateway for name in attributes(path)}
    assert {path for path, name in rows if name == "implied_volatility"} <= {"lean_gateway_orders.py"}
    assert {path for path, name in rows if name in ("greeks", "delta", "gamma", "vega", "theta")} == set()


def test_leans_half_day_runs_to_fifteen_in_chicago_and_ours_to_the_close() -> None:
    put = spxw(5450.0, expiry=datetime(2024, 7, 3))
    hours = market_hours().get_exchange_hours("usa", put, SecurityType.INDEX_OPTION)
    # OptionSymbol.cs:129: 15:00 Chicago is 16:00 New York. The exchange closes at 13:00.
    assert settlement_time(put, hours) == datetime(2024, 7, 3, 15)
    ours = INSTRUMENTS["SPXW"].contract(HALF_DAY, 5450.0, Right.PUT)
    assert expires_at(ours) == datetime(2024, 7, 3, 13)
    # At 10:00 LEAN counts six hours for three: the same price is 0.145 to it and 0.145 x sqrt(2) = 0.205 in truth.
    now = datetime(2024, 7, 3, 10)
    left, counted = years_between(now, expires_at(ours)), years_between(now, datetime(2024, 7, 3, 16))
    assert 0.145 * (counted / left) ** 0.5 == pytest.approx(0.205, abs=5e-4)


def test_a_european_put_in_the_money_is_not_assigned_on_its_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    put = spxw(6000.0, expiry=datetime(2024, 7, 8))  # 550 in the money, over five per cent: LEAN's scan takes it
    held: list[Any] = []

    def script(gateway: Any, own: bool) -> Any:
        def initialize(algorithm: Any) -> None:
            if own:
                gateway.prepare(algorithm, True)
            algorithm.add_index("SPX", Resolution.MINUTE)
            algorithm.add_index_option_contract(put, Resolution.MINUTE)
            algorithm.do_at("10:00", lambda: algorithm.market_order(put, -1))
            algorithm.do_at("12:00", lambda: held.append(algorithm.portfolio[put].quantity))

        return initialize

    market = index_market("10:00", "10:01", "11:01", "12:00")
    for clock in ("10:00", "10:01", "11:01", "12:00"):
        market.quote(put, at(clock), 549.0, 551.0)
    with on_embedded_names(monkeypatch, "core.lean_gateway") as gateway:
        for own in (False, True):
            play(market, script(gateway, own), cash=1_000_000.0)
    assert held == [0.0, -1.0]

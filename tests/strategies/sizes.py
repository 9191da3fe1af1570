"""What one lot of each row needs by phase, in a stated market: the figures and the table of docs/strategies."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from core.settings.strategies import AVAILABLE, TITLES
from state.manager import HierarchicalStateManager
from strategies.capacity import Capacity, Need
from strategies.tools import Conditions
from tests.fake_gateway import build
from tests.strategies.rows import ARRIVED, gateway

LEVELS: Final[Mapping[str, float]] = {
    "SPX": 4500.0, "XSP": 450.0, "SPY": 450.0, "ES": 4500.0, "QQQ": 380.0, "IWM": 200.0, "TLT": 100.0, "GLD": 180.0,
    "USO": 75.0, "FXE": 100.0, "CL": 75.0, "GC": 1950.0, "ZB": 118.0, "6E": 1.08,
}  # fmt: skip
VOLATILITIES: Final[Mapping[str, float]] = {
    "TLT": 0.15, "ZB": 0.10, "GLD": 0.14, "GC": 0.14, "USO": 0.32, "CL": 0.32, "FXE": 0.07, "6E": 0.07,
}  # fmt: skip
VIX: Final = 20.0
ACCOUNTS: Final = (40_000.0, 60_000.0, 90_000.0, 150_000.0)
"""One of each phase."""


def needs(equity: float) -> tuple[Need, ...]:
    """Of all ten at an account's phase."""
    with tempfile.TemporaryDirectory() as folder:
        market = gateway(Path(folder), date(2024, 3, 4), cash=equity)
        system, _ = build(market, run__strategies=",".join(AVAILABLE), box__cash_wanted="100000", **ARRIVED)
        found = system.managers[Capacity].needs(Conditions(date(2024, 3, 5), VIX, LEVELS, VOLATILITIES))
        system.managers[HierarchicalStateManager].close()
    return found


def table(strategies: Iterable[str] = AVAILABLE) -> str:
    """Markdown: a line for each product of each strategy, a column for each phase."""
    by_phase = [{(need.strategy, need.root): need for need in needs(equity)} for equity in ACCOUNTS]
    rows = ["| strategy | product | one lot risks | margin | phase 1 | phase 2 | phase 3 | phase 4 |",
            "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name in strategies:
        for root in dict.fromkeys(root for phase in by_phase for one, root in phase if one == name):
            found = [phase.get((name, root)) for phase in by_phase]
            lots = [need for need in found if need is not None and need.asks]
            figures = (f"{_round(lots[-1].loss)} | {_round(lots[-1].margin)}") if lots else "- | -"
            rows.append(f"| {TITLES[name]} | {root} | {figures} | {' | '.join(_cell(need) for need in found)} |")
    return "\n".join(rows) + "\n"


def _cell(need: Need | None) -> str:
    if need is None or "phase" in need.missing:
        return "none"
    return _round(need.account) if need.asks else "too little credit"


def _round(dollars: float) -> str:
    """To two digits: it depends on prices of the day."""
    if not 0.0 < dollars < math.inf:
        return "0"
    step = 10 ** max(math.floor(math.log10(dollars)) - 1, 0)
    return f"{round(dollars / step) * step:,.0f}"

"""What account one lot of each row needs, by the rows' own looks, and what a run says of it at its start."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from core.journal import RecordKind
from core.settings.strategies import AVAILABLE, TITLES
from strategies.capacity import Capacity, Need
from strategies.tools import Conditions
from tests.fake_gateway import build
from tests.strategies.rows import ARRIVED, gateway
from tests.strategies.sizes import LEVELS, needs, table

DAY = date(2024, 3, 4)


@pytest.fixture(scope="module")
def professional() -> dict[tuple[str, str], Need]:
    return {(need.strategy, need.root): need for need in needs(150_000.0)}


def test_a_condor_of_30_points_needs_its_width_less_the_credit(professional: dict[tuple[str, str], Need]) -> None:
    need = professional["friday_0dte", "SPXW"]
    # 30 wide at an index of 4500, 3,000 dollars; a credit of 2.95: 2,705 at risk. A VIX of 24.2 scales nothing; the
    # prior's Kelly is 0.25 x (0.88 - 0.12 / 0.40) = 14.5 %, so 5 %: 54,100. Margin 3,000 of 52.5 %: 5,700.
    assert need.structure == "iron_condor"
    assert need.loss == pytest.approx(3_000.0 - 295.0, abs=30.0)
    assert need.asks["sizing"] == pytest.approx(need.loss / 0.05)
    assert need.asks["margin"] == pytest.approx(3_000.0 / 0.525, rel=0.01)
    assert (need.bound, need.account) == ("sizing", need.asks["sizing"])


def test_ten_times_the_index_asks_for_ten_times_the_account(professional: dict[tuple[str, str], Need]) -> None:
    # An E-mini is 50 dollars a point, a SPY option 100 on a tenth of it: five times.
    large, small = professional["lt112", "ES"], professional["lt112", "SPY"]
    assert large.loss / small.loss == pytest.approx(5.0, rel=0.05)
    assert large.account > 200_000.0 > 60_000.0 > small.account


def test_every_row_has_a_lot_that_some_phase_can_open(professional: dict[tuple[str, str], Need]) -> None:
    able = {name for (name, _), need in professional.items() if need.account <= 150_000.0}
    assert able == set(AVAILABLE)


def test_what_no_phase_or_credit_allows_has_a_reason_instead() -> None:
    small = {(need.strategy, need.root): need for need in needs(40_000.0)}
    assert small["lt112", "ES"].missing == "phase 1 allows none"
    assert "under the least" in small["friday_0dte", "XSP"].missing  # fees: 29 dollars of credit are not worth them


def test_a_run_says_at_its_start_what_cannot_trade_and_what_shares_places(tmp_path: Path) -> None:
    # A 12 delta put of a year on SPY at 500 loses 3,500 dollars and more in the stress: over 5 % of 60,000.
    system, sink = build(gateway(tmp_path, DAY, cash=60_000.0), run__strategies="leap_ladder,box,ipmcc", **ARRIVED)
    said = [row["reason"] for row in sink.rows(RecordKind.SYSTEM) if row["component"] == "capacity"]
    assert said[0].startswith("LEAP put ladder cannot trade at 60,000: its smallest lot (SPY leap put) needs an")
    assert said[0].endswith("(sizing)")
    assert said[1:] == [
        "Box spread opens nothing in phase 2 (box.contracts_by_phase)",
        "LEAP put ladder and IPMCC QQQ SPY IWM share 1 of the places of group A2 (correlation.lasting_places)",
    ]
    assert system.managers[Capacity].tell(DAY) == tuple(said)


def test_an_account_that_can_is_told_nothing(tmp_path: Path) -> None:
    _, sink = build(gateway(tmp_path, DAY, vix=24.0))
    assert not [row for row in sink.rows(RecordKind.SYSTEM) if row["component"] == "capacity"]


@pytest.mark.parametrize(("cash", "spare"), [(100_000.0, True), (60_000.0, False)])
def test_a_smaller_root_is_missed_only_where_the_larger_one_may_not_fit(
    tmp_path: Path, cash: float, spare: bool
) -> None:
    """A condor on SPXW needs 54,100: a quarter more is in 100,000, and not in 60,000, which may fall below it."""
    system, _ = build(gateway(tmp_path, DAY, cash=cash, vix=24.0), run__strategies="friday_0dte", **ARRIVED)
    assert system.does_without("XSP") is spare
    assert not any(system.does_without(ticker) for ticker in ("SPX", "SPY", "VIX"))  # the account's rules rest on them


def test_without_a_price_nothing_is_claimed(tmp_path: Path) -> None:
    system, _ = build(gateway(tmp_path, DAY, cash=40_000.0), run__strategies="futures_strangle", **ARRIVED)
    (*others, last) = system.managers[Capacity].needs(Conditions(DAY, 20.0, {"ES": 4500.0}))
    assert {need.missing for need in others} == {f"no price of {ticker}" for ticker in ("USO", "GLD", "TLT", "FXE")}
    assert last.account > 100_000.0
    assert set(LEVELS) >= {"SPX", "ES", "TLT"}


def test_the_pages_of_docs_have_this_table() -> None:
    folder = Path(__file__).parents[2] / "docs" / "strategies"
    whole = table()
    assert whole in (folder / "README.md").read_text(encoding="utf-8")
    head, rows = whole.splitlines()[:2], whole.splitlines()[2:]
    for name in AVAILABLE:
        own = [row for row in rows if row.startswith(f"| {TITLES[name]} |")]
        assert "\n".join((*head, *own)) in (folder / f"{name}.md").read_text(encoding="utf-8"), name

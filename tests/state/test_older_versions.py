"""A store that version 0.1.0 wrote, with positions open, is read by this one and goes on.

``data/version-0.1.0.jsonl`` was written by commit 9a75353 on its own fake gateway: a put spread open (two lots, 940
dollars taken in, 4 of fees), one whose exit had bought the shorts back and not yet sold the wings, and one that was
closed but for wings that nobody bid for.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from core.contracts import Contract, Right
from core.instruments import INSTRUMENTS
from core.journal import RecordKind
from core.parts import Trait
from execution.executor import AtomicExecutor
from state.manager import HierarchicalStateManager
from state.store import SCHEMA, StateStore
from tests.fake_gateway import FRIDAY, FakeGateway, build

STORE = Path(__file__).parent / "data" / "version-0.1.0.jsonl"
OPEN, BROKEN, CLOSED = (f"friday_0dte-20240308-{number}" for number in (1, 2, 3))


def put(strike: float) -> Contract:
    return INSTRUMENTS["SPXW"].contract(FRIDAY, strike, Right.PUT, "handle")


def account(folder: Path) -> FakeGateway:
    """The account as 0.1.0 left it at 12:26."""
    gateway = FakeGateway(datetime(2024, 3, 8, 12, 26), lambda _: 5000.0, lambda _: 60.0, folder, cash=101_128.0)
    counts = {4950.0: -2, 4920.0: 2, 4870.0: 2, 4800.0: 2}
    gateway.held = {put(strike).name: (put(strike), count) for strike, count in counts.items()}
    return gateway


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state" / "state").mkdir(parents=True)
    shutil.copy(STORE, tmp_path / "state" / "state" / "segment-0.jsonl")
    return tmp_path


def test_its_positions_have_parts_and_go_on(folder: Path) -> None:
    gateway = account(folder)
    system, sink = build(gateway)
    assert set(system.book.positions) == {OPEN, BROKEN}
    (part,) = system.book.positions[OPEN].parts
    assert (part.name, part.contracts, part.entry_cash, part.entry_fees) == ("whole", 2, 940.0, 4.0)
    assert part.terms.traits == {
        Trait.SHORT_VOLATILITY, Trait.SHORT_DATED, Trait.ENDS_TODAY, Trait.SPARED_BY_21_DTE,
    }  # fmt: skip
    # The shorts of the second were bought back for nobody knows what: 0.1.0 did not write it down.
    (broken,) = system.book.positions[BROKEN].parts
    assert {leg.contract.strike: leg.ratio for leg in broken.legs} == {4870.0: 2}
    assert broken.cash is None
    state = system.managers[HierarchicalStateManager]
    assert state.position(CLOSED).ended
    executor = system.managers[AtomicExecutor]
    executor.close(system.book.positions[OPEN], "test", "because")
    for minute in range(27, 37):
        gateway.time = gateway.time.replace(minute=minute)
        system.clock.advance(gateway.time)
        gateway.work_orders()
        executor.advance(gateway.time)
    rows = {row["position"]: row for row in sink.rows(RecordKind.TRADE_CLOSED)}
    assert rows[OPEN]["profit"] == pytest.approx(940.0 + rows[OPEN]["cash_out"] - rows[OPEN]["fees"])
    assert rows[BROKEN]["profit"] is None
    assert system.book.positions == {}
    # What is left are the wings of the third, which expire; they belong to it and to nobody else.
    assert [contract.strike for contract, _ in gateway.held.values()] == [4800.0]
    assert system.book.unowned == {}


def test_it_is_written_in_todays_schema_from_then_on(folder: Path) -> None:
    system, _ = build(account(folder))
    before = system.book.positions
    system.managers[StateStore].close()
    (snapshot,) = (folder / "state" / "state").glob("snapshot-*.json")
    assert json.loads(snapshot.read_text().partition(" ")[2])["schema"] == SCHEMA == 2
    again, _ = build(account(folder))
    assert again.book.positions == before


def test_its_order_groups_know_which_part_they_are_about(folder: Path) -> None:
    gateway = account(folder)
    manager = build(gateway)[0].managers[HierarchicalStateManager]
    groups = [group for group in manager.order_groups(ended=True) if group.parent == BROKEN]
    assert [group.detail["purpose"] for group in groups][:2] == ["entry", "exit"]
    assert all(group.detail["parts"] == ["whole"] for group in groups[:2])

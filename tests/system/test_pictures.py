"""The pictures of README.md and docs/ show what a run gives now: each is drawn again and compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.results import PAYOFFS, PICTURES, examples_of

ROOT = Path(__file__).resolve().parent.parent.parent
AGAIN = "draw it again: python run.py tool benchmarks.results --pictures"


CASES = [pytest.param(name, marks=pytest.mark.long if name in PAYOFFS else ()) for name in PICTURES]
"""A strategy's picture needs a run of its own."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_picture_shows_what_a_run_gives(name: str) -> None:
    shown = (ROOT / "docs" / name).read_text(encoding="utf-8")
    fresh = PICTURES[name]()
    ElementTree.fromstring(fresh)
    assert shown == fresh, f"docs/{name} shows other figures than the run; {AGAIN} {name}"


def test_every_picture_of_a_document_is_made_by_the_command() -> None:
    shown = set()
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        found = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text(encoding="utf-8"))
        shown |= {(document.parent / target).resolve().relative_to(ROOT / "docs").as_posix() for target in found}
    files = (path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".svg", ".jpg", ".gif"))
    kept = {path.relative_to(ROOT / "docs").as_posix() for path in files}
    assert shown == kept == set(PICTURES), AGAIN


def test_an_example_holds_the_numbers_of_its_journal() -> None:
    """A put ratio: one 268 put bought at 3.50, two 262 puts sold at 2.00, both 38 days ahead, 4.30 dollars of fees."""
    fill = {"kind": "fill", "group": "g", "time": "2018-03-13T10:02:00"}
    trade = {"kind": "trade_closed", "position": "p", "part": "short", "exit_rule": "short_delta", "reason": "why"}
    rows: list[dict[str, Any]] = [
        {"kind": "order", "purpose": "entry", "action": "sent", "strategy": "ratio", "group": "g", "position": "p",
         "correlation": "c"},
        {**fill, "contract": "SPY 180420P268", "quantity": 1, "price": 3.5, "fee": 1.3},
        {**fill, "contract": "SPY 180420P262", "quantity": -2, "price": 2.0, "fee": 3.0},
        {"kind": "decision", "outcome": "trade", "correlation": "c", "spot": 279.0, "vix": 15.8},
        {**trade, "closed": "2018-03-19T11:00:00", "profit": -35.5},
    ]  # fmt: skip
    one = examples_of(rows)["ratio"]
    assert one.cash == pytest.approx(50.0)  # 2 x 200 - 350
    # At 270 all ends worthless; at 262 the bought put is worth 600; at 250: 1,800 - 2 x 1,200.
    assert [one.profit(price) for price in (270.0, 262.0, 250.0)] == pytest.approx([45.7, 645.7, -554.3])
    assert one.ends == ("short: short_delta on 2018-03-19, why; profit -35.50",)

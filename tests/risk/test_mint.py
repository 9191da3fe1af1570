"""Only a risk decision can make what the desk sends, each once, and every rule's answer is told."""

from __future__ import annotations

from datetime import datetime, time
from pathlib import Path

import pytest

from core.book import ApprovedEntry, EntryMint, Refusal
from core.journal import RecordKind
from tests.execution.desk import Room, approved, intent
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day


def test_a_value_that_risk_did_not_mint_is_not_sent(tmp_path: Path) -> None:
    room = Room(tmp_path)
    refused = room.executor.open(ApprovedEntry(intent(), 1), "by hand")
    assert refused == Refusal("not_approved", "risk did not approve this entry, or it was sent before")
    assert room.gateway.sent == []


def test_what_was_minted_is_sent_once(tmp_path: Path) -> None:
    room = Room(tmp_path)
    once = approved(room.system, intent(), 1)
    assert isinstance(room.executor.open(once, "test"), str)
    again = room.executor.open(once, "test")
    assert isinstance(again, Refusal)
    assert again.rule == "not_approved"


def test_the_right_to_approve_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="the risk manager alone"):
        Room(tmp_path).system.book.mint.claim()
    mint = EntryMint()
    assert mint.verify() == ("nobody claimed the right to approve entries",)
    mint.claim()
    assert mint.verify() == ()


def test_every_rules_answer_to_a_proposal_is_one_row(tmp_path: Path) -> None:
    moving = lambda at: 5000.0 + 0.5 * (at.minute % 3)  # noqa: E731 - a price that stands still is not trusted
    gateway = FakeGateway(datetime.combine(FRIDAY, time()), moving, lambda _: 24.0, tmp_path)
    system, sink = build(gateway)
    run_day(system, gateway, FRIDAY)
    (row,) = sink.rows(RecordKind.VERDICT)
    names = [verdict["rule"] for verdict in row["verdicts"]]
    assert {"phase", "vix_regime", "correlation", "margin", "sizing", "group_risk"} <= set(names)
    assert row["contracts"] <= row["wanted"]
    assert {verdict["answer"] for verdict in row["verdicts"]} == {"allow", "shrink"}

"""What rules say of an entry before a contract of it is picked (decision 066)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.book import ClosedTrade
from core.journal import RecordKind
from core.parts import Trait
from core.settings.fields import VixSettings
from risk.exposure import opening_of
from risk.limits import PhasePlugin, VixRegimePlugin
from risk.manager import UnifiedRiskManager
from risk.proposal import Allow, RiskPlugin
from tests.fake_gateway import FakeGateway, build
from tests.risk.proposals import NOW, context, correlation, positions, proposal, with_traits


def test_what_no_contract_changes_is_told_before_one_is_picked() -> None:
    full = context(positions("SPY", "QQQ"), vix=31.0)
    answers = []
    for plugin in (correlation(), VixRegimePlugin(VixSettings())):
        for one in (proposal(), proposal(root="GLD"), with_traits(Trait.ENDS_TODAY), with_traits(Trait.PUT_SELLING)):
            answers.append(plugin.bars(opening_of(one), full))
            assert (answers[-1] or Allow(plugin.name)) == plugin.judge(one, full)
    # two of the three places are taken and one is kept for today; above VIX 30 put selling only
    barred = [None if row is None else row.rule for row in answers]
    assert barred == ["correlation", None, None, "correlation", "vix_regime", "vix_regime", "vix_regime", None]
    assert RiskPlugin.bars(correlation(), opening_of(proposal()), full) is None  # most rules have to see the contracts


def test_a_rule_that_fails_bars_and_what_bars_is_journalled_for_a_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, sink = build(FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path, cash=29_000.0))
    manager, opening = running.managers[UnifiedRiskManager], opening_of(proposal())
    barred = manager.bars(opening)
    assert barred is not None
    assert (barred.rule, barred.limit, barred.observed) == ("minimum_equity", 30_000.0, 29_000.0)
    assert sink.rows(RecordKind.RISK) == []
    assert manager.bars(opening, "lt112") == barred
    (row,) = sink.rows(RecordKind.RISK)
    assert (row["rule"], row["severity"], row["strategy"]) == ("minimum_equity", "denied", "lt112")
    monkeypatch.setattr(PhasePlugin, "bars", lambda *_: 1 / 0)
    failed = manager.bars(opening)
    assert failed is not None
    assert (failed.rule, "ZeroDivisionError" in failed.reason) == ("phase", True)


def test_what_passes_by_itself_is_named_after_what_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses lock for a day, places of a group are taken until somebody leaves: what both deny is told by the place."""
    running, sink = build(FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path, cash=100_000.0))
    manager, opening = running.managers[UnifiedRiskManager], opening_of(proposal())
    running.book.trades.extend(ClosedTrade("s", str(n), NOW, NOW, -50.0, 100.0) for n in range(3))
    for held in (positions(), positions("SPY", "QQQ")):
        monkeypatch.setattr(manager, "context", lambda held=held, **_: context(held))
        assert manager.bars(opening, "lt112") is not None
    found = [(row["rule"], row["observed"]) for row in sink.rows(RecordKind.RISK)]
    assert found == [("losses_in_a_row", 3.0), ("correlation", 2.0)]


def test_a_part_of_a_position_that_stands_takes_no_place_of_the_phase(tmp_path: Path) -> None:
    """A position is one package: a rung, a weekly and what is rolled within one are no further ones (section 1)."""
    running, _ = build(FakeGateway(NOW, lambda _: 5000.0, lambda _: 20.0, tmp_path, cash=45_000.0))
    plugin = running.managers[PhasePlugin]
    three = context(positions("SPY", "GLD", "USO"), phase=1)
    names = list(three.book.positions)
    assert len(names) == 3
    answers = {
        onto: plugin.bars(opening_of(replace(proposal(), onto=onto)), three) for onto in ("", names[0], "gone-1")
    }
    assert {onto: answer is None for onto, answer in answers.items()} == {"": False, names[0]: True, "gone-1": False}

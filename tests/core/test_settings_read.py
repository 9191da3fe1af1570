"""Every setting is read by somebody: an accepted key that binds nothing would be a promise that is not kept."""

from __future__ import annotations

import ast
import subprocess

from core.settings.base import walk_fields
from core.settings.fields import Settings
from core.settings.strategies import AVAILABLE
from tests.conftest import ROOT

WAITING = {
    "correlation.measured_reported": "the report of measured correlations",
    "friday_0dte.days_to_expiry": "a strategy by its expiry: the row's zero",
    "market.adverse_event_dates": "the opportunity row, which stays away from them",
    "sizing.stress_move": "the sizing by stress",
}
"""Settings that nobody reads yet, and what each waits for. A strategy that is not there waits with its whole group."""


def strategy_groups() -> set[str]:
    """Groups that are a strategy's row: those that hold its Kelly prior."""
    return {key.split(".")[0] for key, _ in walk_fields(Settings) if key.count(".") == 1 and key.endswith(".win_rate")}


def read_names() -> set[str]:
    """Names of attributes that the system's own source reads: a setting's name outside its declaration."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    own = [name for name in listed.splitlines() if name.split("/")[0] not in ("simulation", "tests", "benchmarks")]
    return {
        node.attr
        for name in own
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"), name))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def test_every_setting_is_read_by_somebody() -> None:
    names, absent = read_names(), strategy_groups() - set(AVAILABLE)
    unread = {
        key for key, _ in walk_fields(Settings) if key.split(".")[0] not in absent and key.split(".")[-1] not in names
    }
    assert unread == set(WAITING), "bind it, remove it, or say what it waits for; a bound one leaves the list"


def test_only_strategies_that_are_not_there_wait_as_a_whole() -> None:
    assert set(AVAILABLE) <= strategy_groups()
    assert {"box", "ratio", "lt112"} <= strategy_groups()

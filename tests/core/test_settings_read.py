"""Every setting is read by somebody: an accepted key that binds nothing would be a promise that is not kept."""

from __future__ import annotations

import ast
import subprocess

from core.settings.base import walk_fields
from core.settings.fields import Settings
from core.settings.risk import FLOORS
from core.settings.strategies import AVAILABLE
from tests.conftest import ROOT

BY_NAME = "risk.i_accept."
"""Read by the name of its rule (``getattr``), for every rule of ``FLOORS``: the tests of the floors try each."""


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
        key
        for key, _ in walk_fields(Settings)
        if key.split(".")[0] not in absent and key.split(".")[-1] not in names and not key.startswith(BY_NAME)
    }
    assert unread == set(), "bind it or remove it; a strategy that is not there waits with its whole group"


def test_every_accepted_risk_is_the_name_of_a_rule() -> None:
    accepted = {key.removeprefix(BY_NAME) for key, _ in walk_fields(Settings) if key.startswith(BY_NAME)}
    assert accepted == set(FLOORS)


def test_only_strategies_that_are_not_there_wait_as_a_whole() -> None:
    assert set(AVAILABLE) <= strategy_groups()
    assert {"box", "ratio", "lt112"} <= strategy_groups()

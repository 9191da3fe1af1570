"""Survival rules have floors: tightening is free, loosening needs a person's word, and that word is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.events import Command
from core.settings.base import SettingsError, walk_fields, walk_values
from core.settings.fields import Settings
from core.settings.risk import AT_MOST, FLOORS, AcceptedRisks
from tests.fake_gateway import FakeGateway, build
from tests.risk.proposals import NOW

METHOD = dict(walk_values(Settings()))
NUMBERS = [(rule, key, bound) for rule, bounds in FLOORS.items() for key, bound in bounds.items()]


def moved(key: str, up: bool) -> str:
    """The method's number a little higher or lower, as text that the field takes."""
    value = METHOD[key]
    if up and key.endswith("max_positions"):
        return f"{int(1.25 * value) + 1}"  # its floor is a quarter over the method's number
    step = 1 if isinstance(value, int) else 0.01 * abs(value)
    return f"{value + step if up else value - step:.12g}"


@pytest.mark.parametrize(("rule", "key", "bound"), NUMBERS)
def test_every_number_may_be_tightened_and_none_loosened_without_a_word(rule: str, key: str, bound: int) -> None:
    looser = {key: moved(key, up=bound == AT_MOST)}
    try:
        Settings.model_validate(_tree(looser))
    except ValueError:
        return  # the field itself, or a rule among fields, takes nothing looser
    with pytest.raises(SettingsError) as refused:
        Settings.from_parameters(looser)
    assert key in str(refused.value)
    assert f"risk.i_accept.{rule}" in str(refused.value)
    settings = Settings.from_parameters({**looser, f"risk.i_accept.{rule}": "true"})
    assert [line.split(":")[0] for line in settings.accepted()] == [key]


@pytest.mark.parametrize(("rule", "key", "bound"), NUMBERS)
def test_tightening_is_free(rule: str, key: str, bound: int) -> None:
    tighter = {key: moved(key, up=bound != AT_MOST)}
    try:
        settings = Settings.model_validate(_tree(tighter))
    except ValueError:
        return  # a rule among fields binds first: steps that must ascend
    assert list(settings.loosened()) == []
    assert rule in FLOORS


def _tree(parameters: dict[str, str]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, text in parameters.items():
        *groups, name = key.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})  # type: ignore[assignment]  # dictionaries all the way
        branch[name] = text
    return tree


def test_many_rules_switched_off_together_are_refused_together() -> None:
    off = {
        "drawdown.halve_at": "1", "drawdown.stop_entries_at": "1", "drawdown.close_all_at": "1",
        "drawdown.disable_at": "1", "circuit_breakers.fast_loss": "1", "circuit_breakers.losses_in_a_row": "0",
        "circuit_breakers.margin": "1", "margin.reserve": "0", "correlation.group_risk": "1",
        "black_swan.index_move": "1", "vix.extreme": "200", "sizing.max_fraction": "1",
    }  # fmt: skip
    with pytest.raises(SettingsError) as refused:
        Settings.from_parameters(off)
    assert len(refused.value.problems) == len(off)


def test_every_rule_has_its_word_and_every_key_is_a_setting() -> None:
    assert set(FLOORS) == set(AcceptedRisks.model_fields)
    assert {key for _, key, _ in NUMBERS} <= set(dict(walk_fields(Settings)))
    assert list(Settings().loosened()) == []


def test_what_is_accepted_is_told_in_the_status(tmp_path: Path) -> None:
    gateway = FakeGateway(NOW, lambda _: 5000.0, lambda _: 24.0, tmp_path)
    system, _ = build(gateway, drawdown__disable_at="0.5", risk__i_accept__drawdown="true")
    assert "drawdown.disable_at: 0.5 loosens a rule" in system.command(NOW, Command.STATUS)

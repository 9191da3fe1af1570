"""Remove a rule of risk or execution and a test goes red: every rule of both tables, one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.risk.mutation_table import Mutation
from tests.risk.mutations import RULES, copy_tree, is_found, missing


@pytest.mark.parametrize("mutation", RULES, ids=lambda row: row.rule)
def test_every_rule_still_stands_where_it_would_be_taken_away(mutation: Mutation) -> None:
    assert missing(mutation) is None
    assert mutation.old != mutation.new


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("mutations")
    copy_tree(folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("mutation", RULES, ids=lambda row: row.rule)
def test_a_rule_that_is_gone_is_missed(mutation: Mutation, tree: Path) -> None:
    assert is_found(mutation, tree), f"nothing noticed that this is gone: {mutation.rule}"

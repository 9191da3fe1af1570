"""The campaign is itself tried: each safety rule taken out is missed within a thousand seeds."""

from __future__ import annotations

import pytest

from tests.campaign.mutations import MUTATIONS

pytestmark = pytest.mark.long

MOST = 1_000


def test_there_are_eleven_of_them_and_more() -> None:
    assert len(MUTATIONS) >= 11


@pytest.mark.parametrize("rule", MUTATIONS)
def test_a_rule_taken_out_is_missed(rule: str) -> None:
    assert MUTATIONS[rule].found_within(MOST) is not None

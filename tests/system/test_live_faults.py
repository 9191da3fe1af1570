"""The campaign in the embedded live mode: main.py on Fridays that go wrong in every way breaks no rule."""

from __future__ import annotations

import pytest

from simulation.faults.kinds import Fault
from tests.campaign.live import KINDS, PAIRS, live_faults, run_live
from tests.campaign.odd_live import HERE, ODD_LIVE, run_odd_live
from tests.conftest import CONFORMANCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CONFORMANCE.is_dir(), reason="the recordings are not beside this clone"),
]
IN_CI = (9, 29, 59)
"""With every fault on."""
ODD_IN_CI = (23, 45, 130, 161)
"""Between them every oddity."""


@pytest.mark.parametrize("seed", IN_CI)
def test_no_rule_is_broken_live(seed: int) -> None:
    verdict = run_live(seed)
    assert verdict.broken == (), "\n".join(verdict.story)
    assert verdict.processes >= 2


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_no_rule_is_broken_live_in_two_hundred_fridays(first: int) -> None:
    assert [row.seed for row in map(run_live, range(first, first + 20)) if row.broken] == []


def test_every_pair_has_its_turn_and_a_seed_does_the_same_each_time() -> None:
    assert len(PAIRS) == len(KINDS) * (len(KINDS) - 1) // 2 == 120
    assert {frozenset(pair) for pair in PAIRS} <= {live_faults(seed) for seed in range(140)}
    first, second = run_live(19), run_live(19)
    assert (first.story, first.orders, first.fills) == (second.story, second.orders, second.fills)
    assert first.struck[Fault.KILLED] >= 1


@pytest.mark.parametrize("seed", ODD_IN_CI)
def test_a_broker_with_a_bug_breaks_no_rule_live(seed: int) -> None:
    verdict = run_odd_live(seed)
    assert verdict.broken == (), "\n".join(verdict.story)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, len(ODD_LIVE), 33))
def test_no_pair_and_no_triple_of_bugs_breaks_a_rule_live(first: int) -> None:
    assert [row.seed for row in map(run_odd_live, range(first, first + 33)) if row.broken] == []


def test_every_bug_has_its_turn_live() -> None:
    assert len(ODD_LIVE) == 45 + 120
    assert frozenset().union(*(ODD_LIVE[seed] for seed in ODD_IN_CI)) == frozenset(HERE)

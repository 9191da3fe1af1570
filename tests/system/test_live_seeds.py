"""Interleavings of one live session, by seed: entry, exit, command, reconciliation, late fill and a kill.

No illegal transition, no torn record, no doubled order, nothing naked. 50 seeds as a rule; `LIVE_SEEDS` says how many.
"""

from __future__ import annotations

import json
import os
import random
from datetime import timedelta
from pathlib import Path

import pytest

from tests.system.live_runs import LiveRun

pytestmark = pytest.mark.slow
SEEDS = int(os.environ.get("LIVE_SEEDS", "50"))
BATCH = 10
BUSY = 0.10
"""Share of calls into the engine at which another thread may come in: five times what a quiet machine shows."""


def play(folder: Path, seed: int) -> LiveRun:
    """One session around the entry: half of the seeds kill it at some instant of the first four minutes."""
    chance = random.Random(seed)
    run = LiveRun(folder, seed=seed, rate=BUSY)
    run.start("10:27:30")
    run.until("10:29:50")
    if chance.random() < 0.3:
        run.session.control("nofill")  # a late fill
    run.session.until(run.session.now + timedelta(milliseconds=chance.randint(12_000, 240_000)))
    if chance.random() < 0.5:
        run.session.kill()
        run.session.control("")
        gone = run.session.zone.local(run.session.calls[-1].utc_ms)
        run.session.start(max(gone, run.at("10:29:50")).replace(microsecond=0) + timedelta(seconds=270))
    run.session.control("")
    word = chance.choice(("status", "reconcile", "halt", "close_all"))
    run.session.command(json.dumps({"command": word}))
    run.session.until(run.session.now + timedelta(minutes=6))
    run.session.command('{"command": "close_all"}')
    run.session.until(run.session.now + timedelta(minutes=12))
    run.session.stop()
    return run


def faults(run: LiveRun) -> list[str]:
    """What is wrong with a session; empty for a good one."""
    found = [str(row["reason"]) for row in run.journal("system") if "raised" in str(row["reason"])]
    sent = [row["group"] for row in run.journal("order") if row["action"] == "sent"]
    entries = [row for row in run.journal("order") if row["action"] == "sent" and row["purpose"] == "entry"]
    if len(sent) != len(set(sent)) or len(entries) > 1:
        found.append(f"sent twice: {sent}")
    rights = [(str(row.symbol.id.option_right), row.quantity) for row in run.account.held]
    found += [
        f"naked: {rights}" for right in {right for right, _ in rights} if sum(q for r, q in rights if r == right) < 0
    ]
    found += [f"too much: {rights}" for _, quantity in rights if abs(quantity) > 2]
    if run.account.working:
        found.append(f"still works: {run.account.working}")
    if not entries and not run.journal("decision"):
        found.append("the day's decision is lost")
    return found


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_interleaving_doubles_loses_or_tears_anything(tmp_path: Path, first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        run = play(tmp_path, seed)
        assert faults(run) == [], f"seed {seed}"

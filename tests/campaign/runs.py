"""Many seeds in processes of their own, and what they come to."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children
from tempfile import TemporaryDirectory
from typing import TypeVar

from simulation.faults.kinds import Fault
from tests.campaign.invariants import Rule
from tests.campaign.live import LiveVerdict, run_live
from tests.campaign.week import Verdict, run_seed

_BATCH = 10
Row = TypeVar("Row", Verdict, LiveVerdict)


@dataclass(frozen=True, slots=True)
class FaultRow:
    """A fault over a campaign: weeks in which it was on, how often it struck, and weeks of them that broke a rule."""

    fault: Fault
    weeks: int
    struck: int
    broken: int


def run_batch(seeds: Sequence[int]) -> list[Verdict]:
    """The verdicts of some seeds, in their order."""
    return [run_seed(seed) for seed in seeds]


def live_batch(seeds: Sequence[int]) -> list[LiveVerdict]:
    """The verdicts of some Fridays as live, in their order."""
    return [run_live(seed) for seed in seeds]


def campaign(
    seeds: Iterable[int], workers: int, tell: Callable[[int], None], batch: Callable[[Sequence[int]], list[Row]]
) -> Iterator[Row]:
    """The verdict of every seed, as they come; ``tell`` is called with how many are done.

    What a seed comes to does not depend on the workers. ``batch``: ``run_batch`` for weeks, ``live_batch`` for Fridays.
    However it ends (to the end, told to stop, by an error), no process of it is left.
    """
    rows = list(seeds)
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    done, others = 0, active_children()
    with (
        TemporaryDirectory(prefix="campaign-") as folder,  # a killed worker leaves its own there
        ProcessPoolExecutor(workers, initializer=_begin, initargs=(folder,)) as pool,
    ):
        try:
            for future in as_completed([pool.submit(batch, some) for some in batches]):
                for verdict in future.result():
                    done += 1
                    yield verdict
                tell(done)
        except BaseException:  # told to stop, above all: nobody waits for weeks that nobody reads
            for child in active_children():
                if child not in others:
                    child.kill()
            # The pool's own thread sees them end and waits for each. A second thread that waits for the same child may
            # find it gone and go on before the first has taken it off the list: so the pool alone is waited for.
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _begin(folder: str) -> None:
    """In a worker: Ctrl-C reaches the whole group of processes, and the first one alone ends the rest."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tempfile.tempdir = folder


def workers_of(asked: int | None) -> int:
    """As many processes as were asked for, else one a core."""
    return asked or os.cpu_count() or 1


def by_fault(verdicts: Sequence[Verdict]) -> list[FaultRow]:
    """A row for each fault, in the order of their names in the layer."""
    rows = []
    for fault in Fault:
        on = [verdict for verdict in verdicts if fault in verdict.plan.on]
        broken = sum(bool(verdict.violations) for verdict in on)
        rows.append(FaultRow(fault, len(on), sum(verdict.struck[fault] for verdict in on), broken))
    return rows


def by_rule(verdicts: Iterable[Verdict]) -> dict[Rule, list[int]]:
    """The seeds that broke each rule; a rule that held is not among them."""
    found: dict[Rule, list[int]] = {}
    for verdict in verdicts:
        for row in verdict.violations:
            found.setdefault(row.rule, []).append(verdict.plan.seed)
    return {rule: sorted(seeds) for rule, seeds in found.items()}

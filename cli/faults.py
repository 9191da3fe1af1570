"""``python run.py faults``: seeded weeks over a broker, a feed and a disk that fail in every way, held against rules.

The campaign itself is ``tests/campaign``: a test that anyone can run. Faults and figures: ``docs/faults.md``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import RunFailedError, UserError
from cli.progress import width

if TYPE_CHECKING:
    from tests.campaign.week import Verdict

_NAMED = 20  # seeds of a broken rule that are named


def faults(
    seed: Annotated[int | None, typer.Option(help="One seed, told as a story. Example: --seed 39", min=0)] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds to run. Example: --seeds 1000", min=1)] = 100,
    first: Annotated[int, typer.Option(help="The first of them. Example: --first 5000", min=0)] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Processes at a time; all cores without it. Example: --workers 2", min=1)
    ] = None,
) -> int:
    """Run weeks in which orders, reports, quotes, disk and process fail by seed; say which rule did not hold.

    Examples:

    python run.py faults --seeds 1000

    python run.py faults --seed 39
    """
    if seed is not None and (first or workers is not None):
        raise UserError("--seed runs one week by itself; --first and --workers belong to --seeds")
    broken = tell_one(seed) if seed is not None else tell_many(range(first, first + seeds), workers)
    if broken:
        named = ", ".join(map(str, broken[:_NAMED])) + (" ..." if len(broken) > _NAMED else "")
        raise RunFailedError(f"rules did not hold in seeds {named}; python run.py faults --seed {broken[0]} tells one")
    return 0


def tell_one(seed: int) -> list[int]:
    """Print the story of a seed; the seed itself where a rule did not hold."""
    from tests.campaign.week import run_seed

    verdict = run_seed(seed, story=True)
    print(verdict.plan)
    for line in verdict.story:
        print(line)
    print(f"{verdict.orders} orders, {verdict.fills} fills, {verdict.restarts} restarts, {verdict.seconds:.1f} s")
    print("every rule held" if not verdict.violations else f"{len(verdict.violations)} rules did not hold")
    return [seed] if verdict.violations else []


def tell_many(seeds: Sequence[int], workers: int | None) -> list[int]:
    """Run seeds and print what became of them, by fault and by rule; the seeds in which a rule did not hold."""
    from tests.campaign.runs import campaign, workers_of

    begun = time.monotonic()

    def tell(done: int) -> None:
        sys.stderr.write(f"{done} of {len(seeds)} weeks done, {time.monotonic() - begun:.0f} s\n")
        sys.stderr.flush()

    verdicts = sorted(campaign(seeds, workers_of(workers), tell), key=lambda row: row.plan.seed)
    show(verdicts)
    broken = [row.plan.seed for row in verdicts if row.violations]
    spent = sum(row.seconds for row in verdicts)
    print(
        f"{len(verdicts)} weeks in {time.monotonic() - begun:.0f} s ({spent / len(verdicts):.2f} s of processor each): "
        f"{sum(row.orders for row in verdicts)} orders, {sum(row.fills for row in verdicts)} fills, "
        f"{sum(row.restarts for row in verdicts)} restarts; rules did not hold in {len(broken)}"
    )
    return broken


def show(verdicts: Sequence[Verdict]) -> None:
    """Two tables: every fault, and every rule that did not hold."""
    from rich.console import Console
    from rich.table import Table

    from tests.campaign.runs import by_fault, by_rule

    console = Console(width=width(terminal=sys.stdout.isatty()))
    table = Table("fault", "weeks", "struck", "weeks with a rule broken")
    for row in by_fault(verdicts):
        table.add_row(row.fault.value, str(row.weeks), str(row.struck), str(row.broken))
    console.print(table)
    rules = by_rule(verdicts)
    if rules:
        broken = Table("rule that did not hold", "weeks", "seeds")
        for rule, found in rules.items():
            broken.add_row(rule.value, str(len(found)), ", ".join(map(str, found[:_NAMED])))
        console.print(broken)

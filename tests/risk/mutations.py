"""Takes one rule away at a time and sees whether a test goes red: `python -m tests.risk.mutations [name ...]`.

Each rule of risk and of execution is named (``mutation_*.py`` here and in tests/execution). A text of the source that
must stand there once is replaced by one without the rule, in a copy of the tree; the tests beside it must fail. A rule
that nobody would miss is printed, and the exit code says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.execution.mutation_hedges import HEDGE_RULES
from tests.execution.mutation_table import EXECUTION_RULES
from tests.risk.mutation_limits import LIMIT_RULES
from tests.risk.mutation_table import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
RULES = (*MUTATIONS, *LIMIT_RULES, *EXECUTION_RULES, *HEDGE_RULES)
ROOMS = ("core", "state", "market", "greeks", "risk", "execution", "strategies", "reporting")


def copy_tree(to: Path) -> None:
    """What the tests of risk need."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, to / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("trading_system.py", "pyproject.toml", "config.json"):
        shutil.copy(ROOT / name, to / name)
    skipped = shutil.ignore_patterns("__pycache__", "simulation", "cli", "benchmarks")
    shutil.copytree(ROOT / "tests", to / "tests", ignore=skipped)


def missing(mutation: Mutation) -> str | None:
    """Why a mutation no longer fits the source; ``None`` when its text stands there once."""
    count = (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old)
    return None if count == 1 else f"{mutation.rule}: its text stands {count} times in {mutation.file}"


def is_found(mutation: Mutation, tree: Path) -> bool:
    """Whether the tests go red without the rule; the tree is as before afterwards."""
    source = tree / mutation.file
    before = source.read_text(encoding="utf-8")
    source.write_text(before.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.tests]
        surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=tree, capture_output=True, check=False, env=surroundings)
    finally:
        source.write_text(before, encoding="utf-8")
    return done.returncode == 1  # 0: nothing noticed; 2 and more: the tests did not run


def main(names: list[str]) -> int:
    """Try the named rules, or all; the number of those that nobody missed."""
    chosen = [row for row in RULES if not names or row.rule in names]
    lost = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy_tree(Path(folder))
        for mutation in chosen:
            why = missing(mutation)
            found = why is None and is_found(mutation, Path(folder))
            lost += not found
            print(f"{'found' if found else 'LOST ':<6} {mutation.rule}{'' if why is None else f' ({why})'}", flush=True)
    print(f"{len(chosen) - lost} of {len(chosen)} rules are missed when they are gone")
    return lost


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)

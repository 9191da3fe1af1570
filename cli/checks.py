"""``python run.py test``: everything that CI runs, in one order, each step named with its verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT.parent / "shared" / "conformance"
FLOOR = 85.0  # percent of branches
FLOOR_WITHOUT_RECORDINGS = 80.0  # a clone alone cannot run what the real engine recorded (RECORDINGS)


@dataclass(frozen=True, slots=True)
class Step:
    """One check: what it is called and the command that makes it."""

    name: str
    command: tuple[str, ...]


def checks(
    fast: Annotated[bool, typer.Option(help="Leave out slow tests and coverage. Example: test --fast")] = False,
    tests: Annotated[bool, typer.Option(help="Run the tests; --no-tests makes only the other checks.")] = True,
) -> int:
    """Format, lint, types, import contract, placeholders and sizes, tests with their coverage. Example: test --fast"""
    verdicts = [(step.name, execute(step)) for step in static_steps()]
    if tests:
        verdicts.append(("tests", execute(Step("tests", pytest_command(fast)))))
        if not fast:
            verdicts.append(("coverage", coverage()))
    failed = [name for name, passed in verdicts if not passed]
    print(
        f"\n{len(verdicts) - len(failed)} of {len(verdicts)} checks passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def static_steps() -> tuple[Step, ...]:
    """The checks that read the code without running it."""
    return (
        Step("format", (sys.executable, "-m", "ruff", "format", "--check", ".")),
        Step("lint", (sys.executable, "-m", "ruff", "check", ".")),
        Step("types", (sys.executable, "-m", "mypy")),
        Step("import contract", (sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()")),
        Step("placeholders and sizes", (sys.executable, "-m", "pytest", "-q", "tests/test_repository.py")),
    )


def pytest_command(fast: bool) -> tuple[str, ...]:
    """pytest on every core; whole runs measure coverage."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile"]
    chosen = (
        ["-m", "not slow"] if fast else ["--cov", "--cov-report=term:skip-covered", "--cov-report=json:.coverage.json"]
    )
    return (*command, *chosen)


def execute(step: Step) -> bool:
    """Run one step with its output shown; says how long it took."""
    print(f"== {step.name}", flush=True)
    # One thread a process: pytest already uses every core.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    begun = time.monotonic()
    passed = subprocess.run(step.command, cwd=ROOT, env=environment, check=False).returncode == 0
    print(f"== {step.name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.1f} s", flush=True)
    return passed


def coverage() -> bool:
    """Whether the tests just run took enough of the branches; lines are shown and not judged."""
    try:
        totals = json.loads((ROOT / ".coverage.json").read_text(encoding="utf-8"))["totals"]
        branches = 100.0 * float(totals["covered_branches"]) / float(totals["num_branches"])
        lines = 100.0 * float(totals["covered_lines"]) / float(totals["num_statements"])
    except (OSError, ValueError, KeyError, ZeroDivisionError) as error:
        print(f"== coverage: FAILED, no figures ({error})")
        return False
    floor = FLOOR if RECORDINGS.is_dir() else FLOOR_WITHOUT_RECORDINGS
    passed = branches >= floor
    words = f"{branches:.1f} % of branches, floor {floor:.0f} % (lines {lines:.1f} %)"
    print(f"== coverage: {words}: {'passed' if passed else 'FAILED'}")
    return passed

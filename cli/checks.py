"""``python run.py test``, ``regress`` and ``faults``: what proves the project, each step named with its verdict.

``test`` is everything that CI runs, in one order; ``regress`` runs LEAN's own regression algorithms; ``faults`` runs
seeded weeks over a broker, a feed and a disk that fail in every way (``tests/campaign``, docs/faults.md).
"""

from __future__ import annotations

import codecs
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.bootstrap import BYTECODE_PLACE, Environment, PackageSet
from cli.errors import RunFailedError, UserError, stoppable
from cli.summary import colours, width

if TYPE_CHECKING:
    from tests.campaign.week import Verdict

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT.parent / "shared" / "conformance"
FLOOR = 85.0  # percent of branches
FLOOR_WITHOUT_RECORDINGS = 80.0  # a clone alone cannot run what the real engine recorded (RECORDINGS)
ALL_SEEDS, ALL_KILLS = "1000", "100000"
SLOWEST = 25  # named by --durations
FAULT_WEEKS = 100
LOOK_SECONDS = 0.1
NAMED = 20  # seeds of a broken rule that are named

# The commands of a first use: the smaller set of packages, then what the developers' commands add to it.
FIRST_COMMANDS = (("scenario", "--list"), ("tool", "ruff", "--version"), ("notebook", "--help"))
FIRST_USE = (sys.executable, "-c", "import sys; from cli.checks import first_use; sys.exit(first_use())")


@dataclass(frozen=True, slots=True)
class Step:
    """One check: what it is called, the command that makes it, and what that finds around it."""

    name: str
    command: tuple[str, ...]
    around: Mapping[str, str] = field(default_factory=dict)


def checks(
    room: Annotated[
        str | None,
        typer.Argument(help="One room's tests, types and lint, all without it. Example: test simulation/orders"),
    ] = None,
    fast: Annotated[bool, typer.Option(help="Leave out slow tests and coverage. Example: test --fast")] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="With coverage, and the tests that take minutes each: mutations, campaigns, a browser."
        ),
    ] = False,
    tests: Annotated[bool, typer.Option(help="Run the tests; --no-tests makes only the other checks.")] = True,
    durations: Annotated[
        bool,
        typer.Option(
            "--durations",
            help="Name the slowest tests, write tests/durations.json; no coverage.",
        ),
    ] = False,
    first_use: Annotated[
        bool,
        typer.Option(
            "--first-use",
            help="Also build all sets of packages as a new user does, in a clean clone with pip alone (as CI does).",
        ),
    ] = False,
) -> int:
    """Format, lint, types, import contract, placeholders and sizes, tests; with --all their coverage too.

    Examples:

    python run.py test --fast

    python run.py test risk

    python run.py test --all --durations
    """
    if fast and everything:
        raise UserError("--fast and --all: one of them at most (--fast leaves tests out, --all adds the longest)")
    places = () if room is None else places_of(room)
    whole = (
        everything and room is None and not durations
    )  # counting branches doubles the time, and CI has twelve minutes
    steps = list(static_steps(places))
    if tests:
        chosen = Selection(places, fast=fast, everything=everything, durations=durations, coverage=whole)
        steps.append(Step("tests", pytest_command(chosen), seeds(chosen)))
    if first_use:
        steps.append(Step("first use, pip alone", FIRST_USE))
    verdicts = judge(steps)
    if tests and whole:
        verdicts.append(("coverage", coverage()))
    failed = [name for name, passed in verdicts if not passed]
    print(
        f"\n{len(verdicts) - len(failed)} of {len(verdicts)} checks passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def places_of(room: str) -> tuple[str, ...]:
    """What belongs to a room: its source and its tests, as paths. Raises UserError for a room that there is not.

    A room of the simulation is named with it: ``simulation/orders``. ``system`` is the algorithm, all rooms at once.
    """
    name = room.strip("/").removeprefix("tests/")
    tests = ROOT / "tests"
    rooms = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("__init__.py")} - {"."}
    if name not in rooms:
        raise UserError(f"test {room}: no such room; there are {', '.join(sorted(rooms))}")
    sources = {"system": ("main.py", "trading_system.py"), "cli": ("cli", "run.py")}.get(name, (name,))
    return (*sources, f"tests/{name}")


def static_steps(places: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """The checks that read the code without running it: all of it, or the places given. The import contract is one."""
    ruff, lint = (sys.executable, "-m", "ruff"), "from importlinter.cli import lint_imports_command as c; c()"
    steps = (
        Step("format", (*ruff, "format", "--check", *(places or (".",)))),
        Step("lint", (*ruff, "check", *(places or (".",)))),
        Step("types", (sys.executable, "-m", "mypy", *places)),
        Step("import contract", (sys.executable, "-c", lint)),
    )
    if places:
        return steps
    sizes = (sys.executable, "-m", "pytest", "-q", "tests/test_repository.py")
    return (*steps, Step("placeholders and sizes", sizes))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tests run, and what is written down of them."""

    places: tuple[str, ...] = ()
    fast: bool = False
    everything: bool = False
    durations: bool = False
    coverage: bool = False


def pytest_command(chosen: Selection) -> tuple[str, ...]:
    """pytest on every core."""
    # The files go out in the order of tests/conftest.py, the longest first; xdist's own is by their tests' number.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    if sys.stdout.isatty() and colours():
        command.append("--color=yes")  # what it says goes through a file
    if not chosen.everything:
        command += ["-m", "not slow and not long" if chosen.fast else "not long"]
    if chosen.durations:
        command += ["--measure", f"--durations={SLOWEST}"]
    if chosen.coverage:
        command += ["--cov", "--cov-report=term:skip-covered", "--cov-report=json:.coverage.json"]
    if not chosen.places:
        command.append("--ignore=tests/test_repository.py")  # the static steps have run it
    return (*command, *chosen.places[-1:])


def seeds(chosen: Selection) -> dict[str, str]:
    """What the tests find around them: with the longest, 1,000 interleavings of a live session instead of 20."""
    most = {"LIVE_SEEDS": ALL_SEEDS, "KILLS": ALL_KILLS}
    return {name: os.environ.get(name, count) for name, count in most.items()} if chosen.everything else {}


class Running:
    """A step under way, which writes what it says to a file."""

    def __init__(self, step: Step, file: Path) -> None:
        # One thread a process: the steps already use every core. Nothing waits in a buffer while it is read here.
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
        self.step, self.seconds = step, 0.0
        self._begun, self._text = time.monotonic(), codecs.getincrementaldecoder("utf-8")("replace")
        self._written, self._read = file.open("wb"), file.open("rb")
        self._process = subprocess.Popen(
            step.command, cwd=ROOT, env={**os.environ, **quiet, **step.around},
            stdin=subprocess.DEVNULL, stdout=self._written, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def under_way(self) -> bool:
        """Whether it goes on; notes how long it took when it does not."""
        over = self._process.poll() is not None
        self.seconds = self.seconds or (time.monotonic() - self._begun if over else 0.0)
        return not over

    def news(self) -> str:
        """What it has said since the last call."""
        return self._text.decode(self._read.read())

    @property
    def passed(self) -> bool:
        """Whether it came to a good end."""
        return self._process.returncode == 0

    def end(self) -> None:
        """Stop it, and what it started, unless it is over."""
        if self._process.poll() is None:
            if os.name == "nt":
                self._process.terminate()
            else:
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
        self._written.close()
        self._read.close()


def judge(steps: Sequence[Step]) -> list[tuple[str, bool]]:
    """Run steps beside each other, show what each says in their order, and name each with its verdict.

    One may wait for the network, and one uses a single core: the others do not wait for it. None is left running.
    """
    with tempfile.TemporaryDirectory(prefix="tomking-checks-", ignore_cleanup_errors=True) as folder:
        running: list[Running] = []
        try:
            for number, step in enumerate(steps):
                running.append(Running(step, Path(folder) / f"{number}.txt"))
            for one in running:
                print(f"== {one.step.name}", flush=True)
                while one in [each for each in running if each.under_way()]:  # asked of all: each notes its end
                    print(one.news(), end="", flush=True)
                    time.sleep(LOOK_SECONDS)
                verdict = "passed" if one.passed else "FAILED"
                print(f"{one.news()}== {one.step.name}: {verdict} in {one.seconds:.1f} s", flush=True)
        finally:
            for one in running:
                one.end()
        return [(one.step.name, one.passed) for one in running]


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


def first_use() -> int:
    """Clone what is committed and use it without uv: 0 when all sets of packages were built by pip alone.

    A green run of the tests says nothing of this: it runs in an environment that was built before, perhaps by uv.
    """
    begun = time.monotonic()
    path = without("uv", os.environ.get("PATH", ""))
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", BYTECODE_PLACE)
    environment = {**{key: value for key, value in os.environ.items() if key not in hidden}, "PATH": path}
    python = getattr(sys, "_base_executable", sys.executable)
    with stoppable(), tempfile.TemporaryDirectory(prefix="tomking-first-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for arguments in FIRST_COMMANDS:
            command = [python, "run.py", *arguments]
            done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
                return 1
        built = Environment(clone)
        by_uv = "uv = " in (built.folder / "pyvenv.cfg").read_text(encoding="utf-8")
        if by_uv or not all(built.ready(one) for one in PackageSet):
            print("the environment was built by uv" if by_uv else "not every set of packages is ready")
            return 1
    print(f"all sets of packages were built by pip alone in {time.monotonic() - begun:.0f} s")
    return 0


def without(program: str, path: str) -> str:
    """A PATH without the folders that hold a program."""
    return os.pathsep.join(place for place in path.split(os.pathsep) if shutil.which(program, path=place) is None)


def regress(
    checkout: Annotated[Path, typer.Argument(help="LEAN's repository: a checkout or a bare git directory")],
    names: Annotated[
        list[str] | None,
        typer.Option(
            help="Algorithms to run, all that trade without it. Example: --names BasicTemplateOptionsAlgorithm"
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="JSON of declared figures; without it LEAN's C# twins are asked. Example: --figures figures.json"
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time; all cores by default. Example: --jobs 1")
    ] = None,
    all_statistics: Annotated[
        bool,
        typer.Option("--all-statistics", help="Compare every declared statistic. Example: --all-statistics"),
    ] = False,
) -> int:
    """Run LEAN's Python regression algorithms unchanged and compare total orders, end equity and fees.

    Examples:

    python run.py regress ../Lean --figures ../shared/conformance/lean-regressions.json

    python run.py regress ../Lean --names BasicTemplateOptionsAlgorithm
    """
    from simulation.regress import CheckoutError, Comparison, chosen, compare, opened

    def tell(done: Comparison) -> None:
        verdict = "same" if done.passed else "DIFFERS"
        typer.echo(f"{verdict:8}{done.name} ({done.seconds:.1f} s)")
        if not done.passed:
            wanted, got = done.expected, done.got
            typer.echo(f"        declared: {wanted.orders} orders, equity {wanted.equity:.2f}, fees {wanted.fees:.2f}")
            if got is not None:
                typer.echo(f"        here:     {got.orders} orders, equity {got.equity:.2f}, fees {got.fees:.2f}")
            for name, (declared, here) in done.differences.items():
                typer.echo(f"        {name}: declared {declared}, here {here or 'nothing'}")
            if done.problem is not None:
                typer.echo(f"        error:    {done.problem}")

    try:
        with opened(checkout) as folder:
            wanted = chosen(folder, names or (), figures)
            results = compare(folder, wanted, jobs=jobs, report=tell, all_statistics=all_statistics)
    except (CheckoutError, OSError, ValueError) as error:
        raise UserError(f"{checkout}: {error}") from error
    same = sum(result.passed for result in results)
    how = "in every statistic" if all_statistics else "to the cent"
    typer.echo(f"{same} of {len(results)} agree with LEAN {how}")
    return 0 if same == len(results) else 1


def faults(
    seed: Annotated[int | None, typer.Option(help="One seed, told as a story. Example: --seed 39", min=0)] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many seeds to run; 100 without it. Example: --seeds 1000", min=1)
    ] = None,
    first: Annotated[int, typer.Option(help="The first of them. Example: --first 5000", min=0)] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Processes at a time; all cores without it. Example: --workers 2", min=1)
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Fridays of main.py in the embedded live mode. Example: --live --seeds 100")
    ] = False,
) -> int:
    """Run weeks in which orders, reports, quotes, disk and process fail by seed; say which rule did not hold.

    Examples:

    python run.py faults --seeds 1000

    python run.py faults --seed 39

    python run.py faults --live --seeds 50
    """
    if seed is not None and (first or workers is not None or seeds is not None):
        raise UserError("--seed runs one week by itself; expected it alone, or --seeds with --first and --workers")
    one, many = (tell_one_live, tell_many_live) if live else (tell_one, tell_many)
    broken = one(seed) if seed is not None else many(range(first, first + (seeds or FAULT_WEEKS)), workers)
    if broken:
        mode = " --live" if live else ""
        named = ", ".join(map(str, broken[:NAMED])) + (" ..." if len(broken) > NAMED else "")
        told = f"python run.py faults{mode} --seed {broken[0]} tells one"
        raise RunFailedError(f"rules did not hold in seeds {named}; {told}")
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
    from tests.campaign.runs import campaign, run_batch, workers_of

    begun = time.monotonic()
    tell = progress(len(seeds), "weeks", begun)
    verdicts = sorted(campaign(seeds, workers_of(workers), tell, run_batch), key=lambda row: row.plan.seed)
    show(verdicts)
    broken = [row.plan.seed for row in verdicts if row.violations]
    spent = sum(row.seconds for row in verdicts)
    print(
        f"{len(verdicts)} weeks in {time.monotonic() - begun:.0f} s ({spent / len(verdicts):.2f} s of processor each): "
        f"{sum(row.orders for row in verdicts)} orders, {sum(row.fills for row in verdicts)} fills, "
        f"{sum(row.restarts for row in verdicts)} restarts; rules did not hold in {len(broken)}"
    )
    return broken


def progress(count: int, what: str, begun: float) -> Callable[[int], None]:
    """Says on the error stream how many are done."""

    def tell(done: int) -> None:
        sys.stderr.write(f"{done} of {count} {what} done, {time.monotonic() - begun:.0f} s\n")
        sys.stderr.flush()

    return tell


def tell_one_live(seed: int) -> list[int]:
    """Print the story of a Friday as live; the seed itself where a rule did not hold."""
    from tests.campaign.live import run_live

    verdict = run_live(seed)
    print(f"seed {seed}, live: {', '.join(sorted(verdict.on))}")
    for line in (*verdict.story, *(f"VIOLATION {words}" for words in verdict.broken)):
        print(line)
    print(f"{verdict.orders} orders, {verdict.fills} fills, {verdict.processes} processes, {verdict.seconds:.1f} s")
    print("every rule held" if not verdict.broken else f"{len(verdict.broken)} rules did not hold")
    return [seed] if verdict.broken else []


def tell_many_live(seeds: Sequence[int], workers: int | None) -> list[int]:
    """Run Fridays as live; the seeds in which a rule did not hold."""
    from tests.campaign.runs import campaign, live_batch, workers_of

    begun = time.monotonic()
    tell = progress(len(seeds), "Fridays", begun)
    verdicts = sorted(campaign(seeds, workers_of(workers), tell, live_batch), key=lambda row: row.seed)
    for row in verdicts:
        for words in row.broken:
            print(f"seed {row.seed}: {words}")
    broken = [row.seed for row in verdicts if row.broken]
    print(
        f"{len(verdicts)} Fridays as live in {time.monotonic() - begun:.0f} s: {sum(row.orders for row in verdicts)} "
        f"orders, {sum(row.fills for row in verdicts)} fills, {sum(row.processes for row in verdicts)} processes, "
        f"{sum(sum(row.struck.values()) for row in verdicts)} faults struck; rules did not hold in {len(broken)}"
    )
    return broken


def show(verdicts: Sequence[Verdict]) -> None:
    """Two tables: every fault, and every rule that did not hold."""
    from rich.console import Console
    from rich.table import Table

    from tests.campaign.runs import by_fault, by_rule

    console = Console(width=width(terminal=sys.stdout.isatty()), color_system=colours())
    table = Table("fault", "weeks", "struck", "weeks with a rule broken")
    for row in by_fault(verdicts):
        table.add_row(row.fault.value, str(row.weeks), str(row.struck), str(row.broken))
    console.print(table)
    rules = by_rule(verdicts)
    if rules:
        broken = Table("rule that did not hold", "weeks", "seeds")
        for rule, found in rules.items():
            broken.add_row(rule.value, str(len(found)), ", ".join(map(str, found[:NAMED])))
        console.print(broken)

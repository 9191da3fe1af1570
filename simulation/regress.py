"""LEAN's own regression algorithms on this engine: each in a process of its own, compared with the figures that LEAN
declares.

The figures are those of a JSON file (name -> {"Total Orders": ..., "End Equity": ..., "Total Fees": ...}) or,
without one, the
`ExpectedStatistics` of the algorithm's C# twin in the checkout. Nothing of LEAN's is copied: code and data are read
where they lie.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_STATISTIC = re.compile(r'\{\s*"(Total Orders|Total Trades|End Equity|Total Fees)"\s*,\s*"([^"]*)"\s*\}')
_ANY_STATISTIC = re.compile(r'\{\s*"([^"]+)"\s*,\s*"([^"]*)"\s*\}')
_OF_THE_HASH = "OrderListHash"  # of C# objects: no other engine can have it
_WORKER = "from simulation.regress import worker; worker()"
PARTS = ("Data", "Algorithm.Python", "Algorithm.CSharp")
NO_TICKS = ":(exclude,glob)Data/**/tick/**"  # the engine reads no ticks, and mirrors leave the largest files out
TIME_LIMIT_S = 900


class CheckoutError(ValueError):
    """The folder is no LEAN checkout, or an algorithm or its figures are not in it; says which."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared: number of orders, dollars of equity at the end, dollars of fees."""

    orders: int
    equity: float
    fees: float

    @staticmethod
    def of(declared: Mapping[str, str]) -> Figures:
        """From LEAN's strings ("$3.57", "99718"). Raises CheckoutError when one is missing."""
        try:
            orders = declared.get("Total Orders") or declared["Total Trades"]
            return Figures(int(orders), _number(declared["End Equity"]), _number(declared["Total Fees"]))
        except (KeyError, ValueError) as error:
            raise CheckoutError(
                f"declared figures lack {error}; wanted are Total Orders, End Equity and Total Fees"
            ) from error

    def agrees(self, other: Figures) -> bool:
        """Whether orders are equal, and equity and fees to the cent."""
        return (
            self.orders == other.orders
            and abs(self.equity - other.equity) < 0.011
            and abs(self.fees - other.fees) < 0.0051
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One algorithm: what LEAN declares, what this engine gave, the last line of its error, seconds.

    differences: where all statistics were compared, name -> what LEAN declares and what this engine gave.
    """

    name: str
    expected: Figures
    got: Figures | None
    problem: str | None
    seconds: float
    differences: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the figures agree."""
        agrees = self.got is not None and self.problem is None and self.expected.agrees(self.got)
        return agrees and not self.differences


def _number(text: str) -> float:
    return float(text.replace("$", "").replace(",", ""))


def read_expected(path: Path) -> dict[str, Figures]:
    """Figures by algorithm from a JSON file."""
    declared: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: Figures.of(figures) for name, figures in declared.items()}


def declared_figures(checkout: Path, name: str) -> Figures:
    """The figures that an algorithm's C# twin declares."""
    twin = checkout / "Algorithm.CSharp" / f"{name}.cs"
    if not twin.is_file():
        raise CheckoutError(f"{name}: {twin} is missing, so nothing declares its figures")
    return Figures.of(dict(_STATISTIC.findall(twin.read_text(encoding="utf-8"))))


def declared_statistics(checkout: Path, name: str) -> dict[str, str]:
    """Every statistic that an algorithm's C# twin declares. Raises CheckoutError when there is no twin."""
    twin = checkout / "Algorithm.CSharp" / f"{name}.cs"
    if not twin.is_file():
        raise CheckoutError(f"{name}: {twin} is missing, so nothing declares its statistics")
    _, _, declared = twin.read_text(encoding="utf-8").partition("ExpectedStatistics")
    return {key: value for key, value in _ANY_STATISTIC.findall(declared) if key != _OF_THE_HASH}


def python_algorithms(checkout: Path) -> list[str]:
    """Names of the Python algorithms whose C# twin declares orders."""
    found = []
    for path in sorted((checkout / "Algorithm.Python").glob("*.py")):
        try:
            if declared_figures(checkout, path.stem).orders:
                found.append(path.stem)
        except CheckoutError:
            continue
    return found


@contextmanager
def opened(checkout: Path) -> Iterator[Path]:
    """A checkout as a folder: itself, or what a bare git directory holds, unpacked for the time being."""
    if (checkout / "Data").is_dir():
        yield checkout
        return
    if not (checkout / "objects").is_dir():
        raise CheckoutError(f"{checkout} is no LEAN checkout: it holds neither Data/ nor git objects")
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.Popen(
            ["git", "--git-dir", str(checkout), "archive", "--format=tar", "HEAD", *PARTS, NO_TICKS],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        unpacked = subprocess.run(
            ["tar", "-x", "-C", folder], stdin=archive.stdout, stderr=subprocess.DEVNULL, check=False
        )
        if archive.wait() or unpacked.returncode:
            raise CheckoutError(
                f"git cannot read {', '.join(PARTS)} of {checkout}: the copy is incomplete; fetch it whole"
            )
        yield Path(folder)


def compare(
    checkout: Path,
    expected: Mapping[str, Figures],
    *,
    jobs: int | None = None,
    report: Callable[[Comparison], None] | None = None,
    all_statistics: bool = False,
) -> list[Comparison]:
    """Runs the algorithms and compares; `report` hears of each as it is done.

    all_statistics: everything that the C# twins declare, as they print it.
    """
    missing = [name for name in expected if not (checkout / "Algorithm.Python" / f"{name}.py").is_file()]
    if missing:
        raise CheckoutError(f"not in {checkout / 'Algorithm.Python'}: {', '.join(missing)}")

    def one(name: str) -> Comparison:
        declared = declared_statistics(checkout, name) if all_statistics else {}
        done = _run_one(checkout, name, expected[name], declared)
        if report is not None:
            report(done)
        return done

    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        return list(pool.map(one, expected))


def _run_one(checkout: Path, name: str, expected: Figures, declared: Mapping[str, str]) -> Comparison:
    begun = time.perf_counter()
    command = [sys.executable, "-c", _WORKER, str(checkout), name, *(["all"] if declared else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Comparison(name, expected, None, f"not done after {TIME_LIMIT_S} s", time.perf_counter() - begun)
    seconds = time.perf_counter() - begun
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        return Comparison(name, expected, None, _last_line(ran.stderr), seconds)
    answer = json.loads(lines[-1])
    got = Figures(answer["orders"], answer["equity"], answer["fees"])
    here: dict[str, str] = answer["statistics"]
    differences = {key: (value, here.get(key, "")) for key, value in declared.items() if here.get(key) != value}
    return Comparison(name, expected, got, answer["error"], seconds, differences)


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "the process ended without a word"


def worker() -> None:
    """What each process does: run one algorithm, write its figures as one line of JSON."""
    from simulation.data.lean_folder import LeanFolder
    from simulation.runner import RunRequest, run_backtest

    checkout, name = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as storage:
        source = LeanFolder(checkout / "Data")
        algorithm = checkout / "Algorithm.Python" / f"{name}.py"
        # with result files every step is sampled, which LEAN's estimate of capacity needs
        files = Path(storage) / "results" if len(sys.argv) > 3 else None
        result = run_backtest(RunRequest(algorithm, source, {}, files, Path(storage) / "store"))
    declared = Figures.of(result.statistics)
    answer = {
        "orders": declared.orders,
        "equity": declared.equity,
        "fees": declared.fees,
        "statistics": dict(result.statistics),
        "error": _last_line(result.error) if result.error else None,
    }
    if result.error:
        sys.stderr.write(result.error)
    sys.stdout.write(json.dumps(answer) + "\n")


def chosen(checkout: Path, names: Iterable[str], figures: Path | None) -> dict[str, Figures]:
    """Which algorithms to run, with their figures: those named, else all of the JSON file, else all that trade."""
    wanted = list(names)
    known = read_expected(figures) if figures is not None else {}
    if figures is not None and not wanted:
        return known
    wanted = wanted or python_algorithms(checkout)
    return {name: known[name] if name in known else declared_figures(checkout, name) for name in wanted}

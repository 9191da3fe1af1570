"""What every test may count on: quiet property tests, the recordings where they exist, and marks by measured time.

`python run.py test --durations` writes tests/durations.json; what is slow by it, `--fast` leaves out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE = ROOT.parent / "shared" / "conformance"
DURATIONS = ROOT / "tests" / "durations.json"
SLOW_SECONDS = 0.15
"""A test function of more processor seconds, all its cases together, is slow: the rest fits into a minute."""
WORTH_A_ROW = 0.1
SPENT, SET_UP = "processor_seconds", "set_up_seconds"
SHARED_SECONDS = 1.0
"""A set-up of more processor seconds is the file's and not the test's."""

settings.register_profile(
    "project", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """``os.fsync`` does nothing: a killed process loses nothing that it wrote, and no test cuts the power.

    A session as live syncs each minute; the whole suite some ten thousand times, at milliseconds of waiting each.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder with the recordings of the real engine; tests that need it are skipped where it is not."""
    if not CONFORMANCE.is_dir():
        pytest.skip("the recordings of the real engine are not beside this clone")
    return CONFORMANCE


def function_of(test: str) -> str:
    """A test's function without its case: one row of durations.json."""
    return test.partition("[")[0]


def file_of(test: str) -> str:
    """The file of a test or of a row."""
    return test.partition("::")[0]


def recorded_durations() -> dict[str, float]:
    """Processor seconds by test function, as they were measured last; only those worth a row."""
    if not DURATIONS.exists():
        return {}
    rows: dict[str, float] = json.loads(DURATIONS.read_text(encoding="utf-8"))
    return rows


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--measure``: write down what each test function takes."""
    parser.addoption("--measure", action="store_true", help="write tests/durations.json")


def pytest_configure(config: pytest.Config) -> None:
    """Measures in the process that gathers the reports."""
    if config.getoption("--measure") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Stopwatch(), "stopwatch")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks as slow what was measured to be: a function by itself, or a whole file whose set-up is.

    Where several processes share the files (``--dist loadfile --no-loadscope-reorder``), the longest file comes first:
    what is left for the end is short, and no process works alone there.
    """
    rows = recorded_durations()
    for item in items:
        function = function_of(item.nodeid)
        if max(rows.get(function, 0.0), rows.get(file_of(function), 0.0)) > SLOW_SECONDS:
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):
        longest = dict.fromkeys(map(file_of, rows), 0.0)
        for name, seconds in rows.items():
            longest[file_of(name)] += seconds
        items.sort(key=lambda item: -longest.get(file_of(item.nodeid), 0.0))


def spent() -> float:
    """Processor seconds of this process and of the children that it has waited for, however busy the machine is."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Notes what the set-up took: what a file shares is paid by whichever of its tests comes first."""
    begun = spent()
    try:
        return (yield)
    finally:
        item.stash[BEGUN] = spent()
        item.user_properties.append((SET_UP, item.stash[BEGUN] - begun))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Hands the figure of call and tear-down on with the last report of the test, out of a worker process too."""
    try:
        return (yield)
    finally:
        item.user_properties.append((SPENT, spent() - item.stash[BEGUN]))


BEGUN = pytest.StashKey[float]()


class Stopwatch:
    """Adds up what the test functions take and writes it down; what did not run keeps its row while its file exists."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The last report of a test carries its figure."""
        if report.when == "teardown":
            taken = {name: float(str(value)) for name, value in report.user_properties if name in (SPENT, SET_UP)}
            function = function_of(report.nodeid)
            if taken.get(SET_UP, 0.0) > SHARED_SECONDS:
                self._add(file_of(function), taken.pop(SET_UP))
            self._add(function, sum(taken.values()))

    def _add(self, row: str, seconds: float) -> None:
        self.seconds[row] = self.seconds.get(row, 0.0) + seconds

    def pytest_sessionfinish(self) -> None:
        """Writes the rows in order, so that a change of one test is a change of one line."""
        kept = {name: value for name, value in recorded_durations().items() if (ROOT / file_of(name)).exists()}
        rows = kept | self.seconds
        worth = {name: round(value, 1) for name, value in sorted(rows.items()) if value >= WORTH_A_ROW}
        DURATIONS.write_text(json.dumps(worth, indent=0) + "\n", encoding="utf-8")

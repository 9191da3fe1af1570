"""The embedded engine's speed and memory, with the real engine's figures beside them.

    python -m benchmarks.engine [--quick | --held [YEAR]]

Start-up: a fresh interpreter to the first line of `initialize`, by the clock and in processor time (best of three).
Whole chain: two whole option chains looked at every minute for 14 days (where the recordings are beside the clone).
Empty year: an algorithm that does nothing over a year of SPX minutes. Memory: a year that selects a small chain every
day, in a process of its own; a month is the median of its days, growth is from January to December.
Held (`--held`): a year of minutes with ten LEAPs held beside the same run with nothing held, and beside a year
of the ladder's own row, which opens, closes and rolls some forty rungs. Each with its result files, one after the other
in one process; a January before them is not counted. Three pairs, of each the best: what else runs only adds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

from simulation.data.lean_folder import LeanFolder
from simulation.market.source import ModelledMarket
from simulation.runner import Progress, RunRequest, RunResult, run_backtest

ROOT = Path(__file__).resolve().parents[1]
CONFORMANCE = ROOT.parent / "shared" / "conformance"
EMPTY = """
from AlgorithmImports import *

class Empty(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2016, 1, 1)
        self.set_end_date(2016, 12, 31)
        self.add_index("SPX", Resolution.MINUTE)

    def on_data(self, data):
        self.last = data
"""
CHAIN_YEAR = """
from AlgorithmImports import *

class ChainYear(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2016, 1, 1)
        self.set_end_date(2016, 12, 31)
        spx = self.add_index("SPX", Resolution.MINUTE).symbol
        self.add_index_option(spx, "SPXW", Resolution.MINUTE).set_filter(lambda u: u.strikes(-3, 3).expiration(0, 7))
        self.schedule.on(self.date_rules.every_day(spx), self.time_rules.at(10, 0), self.look)

    def look(self):
        for kvp in self.current_slice.option_chains:
            self.seen = [(c.bid_price, c.ask_price) for c in kvp.value]
"""
STARTUP = """
from AlgorithmImports import *
import sys, time

class Startup(QCAlgorithm):
    def initialize(self):
        sys.stdout.write(f"{time.time()} {time.process_time()}")
        sys.stdout.flush()
        self.set_start_date(2016, 1, 4)
        self.set_end_date(2016, 1, 4)
"""
LAUNCH = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from simulation.runner import RunRequest, run_backtest
if {model!r}:
    from simulation.market.source import ModelledMarket
    source = ModelledMarket.from_history(seed=1)
else:
    from simulation.data.lean_folder import LeanFolder
    source = LeanFolder(Path({data!r}))
run_backtest(RunRequest(Path({algorithm!r}), source, {{}}, None, Path({storage!r})))
"""
GOALS = "goals: start-up 1 s, whole chain 7 s, empty year 2 s, growth 5 MB, peak 500 MB"


def run(folder: Path, text: str, market: ModelledMarket, probe: list[tuple[datetime, int]] | None = None) -> RunResult:
    """Runs an algorithm given as text; notes the resident memory of each day."""
    path = folder / "algorithm.py"
    path.write_text(text, encoding="utf-8")
    process = psutil.Process()

    def note(progress: Progress) -> None:
        if probe is not None:
            probe.append((progress.time, process.memory_info().rss))

    result = run_backtest(RunRequest(path, market, {}, None, folder / "storage", note))
    if result.error is not None:
        raise RuntimeError(result.error)
    return result


def cpu(begun: float) -> str:
    """Seconds of processor time since a moment."""
    return f"{time.process_time() - begun:6.2f} s"


def whole_chain(folder: Path) -> None:
    """conformance/bench/whole_chain.py."""
    algorithm = CONFORMANCE / "bench" / "whole_chain.py"
    if not algorithm.is_file():
        print("whole chain      : skipped, the recordings are not beside this clone")
        return
    begun = time.process_time()
    source = LeanFolder(CONFORMANCE / "data")
    result = run_backtest(RunRequest(algorithm, source, {}, None, folder / "storage"))
    print(f"whole chain      : {cpu(begun)}   {result.log_lines[-1]}   (LEAN: 13.8 s on two cores, 3474590 contracts)")


def start_up(folder: Path, data: Path | None) -> tuple[float, float]:
    """Seconds by the clock and of processor time from a fresh interpreter to `initialize`: the best of three.

    data: a LEAN folder to run on; None for the modelled market.
    """
    algorithm = folder / "startup.py"
    algorithm.write_text(STARTUP, encoding="utf-8")
    values = {"root": str(ROOT), "model": data is None, "data": str(data), "storage": str(folder / "storage")}
    script = LAUNCH.format(algorithm=str(algorithm), **values)
    found = []
    for _ in range(3):
        begun = time.time()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        moment, used = done.stdout.split()
        found.append((float(moment) - begun, float(used)))
    return min(wall for wall, _ in found), min(used for _, used in found)


def small_folder(folder: Path) -> Path:
    """A LEAN folder with one day of the index."""
    from datetime import date

    from simulation.export.export import write_folder

    out = folder / "data"
    day = date(2016, 1, 4)
    write_folder(ModelledMarket.from_history(seed=1), day, day, out, ["SPX"])
    return out


def memory_of_a_year(folder: Path) -> None:
    """Resident memory by month."""
    memory: list[tuple[datetime, int]] = []
    begun = time.process_time()
    run(folder, CHAIN_YEAR, ModelledMarket.from_history(seed=1), memory)
    print(f"chain year       : {cpu(begun)}   a small chain selected every day")
    months = [
        statistics.median(size for moment, size in memory if moment.month == month) / 1e6 for month in range(1, 13)
    ]
    peak = max(size for _, size in memory) / 1e6
    print("memory by month  : " + " ".join(f"{size:.1f}" for size in months) + " MB (median of days)")
    january = [size for moment, size in memory if moment.month == 1][-1] / 1e6
    print(f"memory           : grew {months[-1] - january:.1f} MB after January's end, peak {peak:.0f} MB")


LADDER = {
    "run.cash": "1000000",
    "run.strategies": "leap_ladder",
    "phases.earned_progression": "false",
    "leap_ladder.min_vix": "0",
}
HELD = ROOT / "tests" / "system" / "ten_leaps.py"
PAIRS = 3
LASTING = {"leap_ladder.profit_target": "1.0", "leap_ladder.days_to_expiry": "540"}
"""All of the credit gained: a put costs something to buy back, so that nothing closes by it. Of the days the row's own
roll leaves 150 at the year's end."""


def year_cost(algorithm: Path, year: int, given: dict[str, str], months: int = 12) -> tuple[float, int]:
    """Processor seconds of a backtest of so many months with its result files, and how many orders it sent."""
    last = {"run.start": f"{year}-01-03", "run.end": f"{year}-{months:02d}-28"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        market = ModelledMarket.from_history(seed=1)
        begun = time.process_time()
        request = RunRequest(algorithm, market, {**LADDER, **last, **given}, folder / "results", folder / "storage")
        result = run_backtest(request)
        if result.error is not None:
            raise RuntimeError(result.error)
        return time.process_time() - begun, len(result.orders)


def compare_years(year: int) -> None:
    """A year in which ten LEAPs are held from its first weeks on, over the same with nothing held; the ladder's too."""
    opened, never = {**LASTING, "last_entry": f"{year}-01-31"}, {**LASTING, "last_entry": f"{year - 1}-01-31"}
    year_cost(HELD, year, opened, months=1)
    pairs = [(year_cost(HELD, year, never), year_cost(HELD, year, opened)) for _ in range(PAIRS)]
    (empty, _), (held, orders) = (min(costs) for costs in zip(*pairs, strict=True))
    if orders < 10:
        raise RuntimeError(f"{orders} orders: ten LEAPs were not sold")
    verdict = "met" if held <= 2.0 * empty else "NOT MET"
    print(f"{year}, nothing held      : {empty:6.2f} s   the same row with a timetable that opens nothing")
    print(f"{year}, ten LEAPs held    : {held:6.2f} s   {orders} orders, {held / empty:.2f} times   goal 2   {verdict}")
    ladder, orders = year_cost(ROOT / "main.py", year, {})
    print(f"{year}, the ladder's year : {ladder:6.2f} s   {orders} orders, {ladder / empty:.2f} times")


def main() -> None:
    """Prints every figure."""
    if "--held" in sys.argv:
        compare_years(next((int(word) for word in sys.argv[1:] if word.isdecimal()), 2017))
        return
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "--memory" in sys.argv:
            memory_of_a_year(folder)
            return
        print(GOALS)
        for label, data in (("LEAN folder", small_folder(folder)), ("modelled market", None)):
            wall, used = start_up(folder, data)
            print(f"start-up         : {wall:6.2f} s   {used:.2f} s of processor, to initialize on the {label}")
        whole_chain(folder)
        market = ModelledMarket.from_history(seed=1)
        run(folder, EMPTY, market)
        begun = time.process_time()
        run(folder, EMPTY, market)
        print(f"empty year       : {cpu(begun)}   one year of SPX minutes, on_data called", flush=True)
        if not quick:
            subprocess.run([sys.executable, "-m", "benchmarks.engine", "--memory"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()

"""The embedded engine's speed and memory, with the real engine's figures beside them.

    python -m benchmarks.engine [--quick]

Whole chain: two whole option chains looked at every minute for 14 days (where the recordings are beside the clone).
Empty year: an algorithm that does nothing over a year of SPX minutes. Start-up: a fresh interpreter to the names of
AlgorithmImports. Memory: a year that selects a small chain every day; growth is from January's end to December's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

from simulation.folder import LeanFolder
from simulation.market.source import ModelledMarket
from simulation.runner import Progress, RunRequest, RunResult, run_backtest

ROOT = Path(__file__).resolve().parent.parent
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
import sys, time
begun = time.perf_counter()
sys.path.insert(0, {root!r})
sys.path.insert(0, {root!r} + "/simulation/embedded")
import AlgorithmImports
sys.stdout.write(str(time.perf_counter() - begun))
"""


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


def main() -> None:
    """Prints every figure."""
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = subprocess.run(
            [sys.executable, "-c", STARTUP.format(root=str(ROOT))], capture_output=True, text=True, check=True
        )
        print(f"start-up         : {float(started.stdout):6.2f} s   to the names of AlgorithmImports (LEAN: 3 to 4 s)")
        whole_chain(folder)
        market = ModelledMarket.from_history(seed=1)
        run(folder, EMPTY, market)
        begun = time.process_time()
        run(folder, EMPTY, market)
        print(f"empty year       : {cpu(begun)}   one year of SPX minutes, on_data called")
        if quick:
            return
        memory: list[tuple[datetime, int]] = []
        begun = time.process_time()
        run(folder, CHAIN_YEAR, market, memory)
        january = max(size for moment, size in memory if moment.month == 1)
        last = memory[-1][1]
        peak = max(size for _, size in memory)
        print(f"chain year       : {cpu(begun)}   a small chain selected every day")
        print(f"memory           : grew {(last - january) / 1e6:.1f} MB after January, peak {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

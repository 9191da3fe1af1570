"""What the system adds to an engine's memory: live nodes are small. No large package is loaded that is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.settings.strategies import AVAILABLE
from tests.conftest import CONFORMANCE, ROOT

MOST_ADDED_MB = 80
HEAVY = ("scipy", "pandas", "numba", "QuantLib", "arch", "matplotlib", "sklearn", "pyarrow")
EMPTY = """
from AlgorithmImports import *


class Empty(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2016, 2, 1)
        self.set_end_date(2016, 2, 12)
        self.set_cash(100000)
        self.add_equity("SPY", Resolution.MINUTE)
"""
RUN = """
import sys
from pathlib import Path
from simulation.data.lean_folder import LeanFolder
from simulation.runner import RunRequest, run_backtest
algorithm, data, store, strategies = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
days = {"run.start": "2016-02-01", "run.end": "2016-02-12"}
parameters = {**days, "run.strategies": strategies, "friday_0dte.min_vix": "0"} if strategies else {}
result = run_backtest(RunRequest(algorithm, LeanFolder(data), parameters, None, store))
assert result.error is None, result.error
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024)
"""


def test_what_main_imports_loads_no_large_package() -> None:
    code = f"import sys, trading_system; assert not [name for name in {HEAVY} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def megabytes(algorithm: Path, folder: Path, strategies: str) -> int:
    """What a process holds after ten sessions of the recorded folder."""
    folder.mkdir()
    arguments = [sys.executable, "-c", RUN, str(algorithm), str(CONFORMANCE / "live" / "data"), str(folder), strategies]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_ten_strategies_add_less_than_eighty_megabytes_to_an_empty_algorithm(tmp_path: Path) -> None:
    """Measured on 29 November 2026: empty 97 MB, Friday 147, nine without the box 155."""
    if not (CONFORMANCE / "live").is_dir():
        pytest.skip("the recordings of LEAN's live mode are not beside this clone")
    (tmp_path / "empty.py").write_text(EMPTY, encoding="utf-8")
    empty = megabytes(tmp_path / "empty.py", tmp_path / "one", "")
    ours = megabytes(ROOT / "main.py", tmp_path / "two", ",".join(AVAILABLE))
    assert ours - empty < MOST_ADDED_MB

"""What the system adds to an engine's memory: live nodes are small. No large package is loaded that is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.settings.strategies import AVAILABLE
from tests.conftest import CONFORMANCE, ROOT

MOST_ADDED_MB = 80
MOST_WITH_COMPILER_MB = 200  # an account of size looks at American options, whose kernels numba compiles
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
earned = sys.argv[5]
days = {"run.start": "2016-02-01", "run.end": "2016-02-12"}
own = {"run.strategies": strategies, "friday_0dte.min_vix": "0", "phases.earned_progression": earned}
parameters = {**days, **own} if strategies else {}
result = run_backtest(RunRequest(algorithm, LeanFolder(data), parameters, None, store))
assert result.error is None, result.error
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024)
"""


def test_what_main_imports_loads_no_large_package() -> None:
    code = f"import sys, trading_system; assert not [name for name in {HEAVY} if name in sys.modules]"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def megabytes(algorithm: Path, folder: Path, strategies: str, earned: str = "true") -> int:
    """What a process holds after ten sessions of the recorded folder."""
    folder.mkdir()
    arguments = [sys.executable, "-c", RUN, str(algorithm), str(CONFORMANCE / "live" / "data"), str(folder), strategies]
    arguments.append(earned)
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
@pytest.mark.parametrize(("earned", "most"), [("true", MOST_ADDED_MB), ("false", MOST_WITH_COMPILER_MB)])
def test_ten_strategies_add_little_to_an_empty_algorithm(tmp_path: Path, earned: str, most: int) -> None:
    """Measured on 30 November 2026: empty 98 MB; ten in an account that begins in phase 1 under 178, in phase 4 257."""
    if not (CONFORMANCE / "live").is_dir():
        pytest.skip("the recordings of LEAN's live mode are not beside this clone")
    (tmp_path / "empty.py").write_text(EMPTY, encoding="utf-8")
    empty = megabytes(tmp_path / "empty.py", tmp_path / "one", "")
    ours = megabytes(ROOT / "main.py", tmp_path / "two", ",".join(AVAILABLE), earned)
    assert ours - empty < most

"""Many runs: cells, resuming, the warning against the best of many, and two local processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import distributed
import numpy as np
import pytest

from cli import app, grid, options
from cli.errors import UserError
from reporting.grids import Groups, best_of_many, grid_rows, heat_maps, interval_of
from reporting.intervals import deflated_sharpe
from reporting.performance import trade_statistics
from reporting.rows import EquityPoint

MIN_VIX = "friday_0dte.min_vix"


def figures(gain: float, ratio: float | None = 0.1) -> grid.Figures:
    """What a run came to."""
    return {
        "total_return": gain, "lowest": 0.9, "drawdown": 0.1, "sharpe_of_a_day": ratio, "skewness": 0.0,
        "kurtosis": 3.0, "days": 253.0, "trades": 4.0, "win_rate": 0.5, "profit": 10.0,
    }  # fmt: skip


def cells(*vary: str, seeds: str = "1..2", markets: Sequence[str] = ("history",)) -> list[grid.Cell]:
    """Cells of a grid over one week."""
    asked = grid.GridOptions(start="2018-02-05", end="2018-02-09", seeds=seeds)
    return grid.cells_of(asked, grid.varied(vary), markets)


def test_every_combination_is_a_cell_with_a_name_of_its_own() -> None:
    found = cells(f"{MIN_VIX}=0,22", "friday_0dte.profit_target=0.4,0.5", seeds="1..2,7")
    assert len(found) == 2 * 2 * 3
    assert len({cell.key for cell in found}) == 12
    assert found[0].values == ((MIN_VIX, "0"), ("friday_0dte.profit_target", "0.4"))
    assert [cell.seed for cell in found[:4]] == ["1", "2", "7", "1"]
    assert [cell.key for cell in cells(f"{MIN_VIX}=0,22")] == [cell.key for cell in cells(f"{MIN_VIX}=0,22")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", MIN_VIX], "--vary: 'friday_0dte.min_vix'; expected key=a,b,c"),
        (["--vary", f"{MIN_VIX}=1", "--vary", f"{MIN_VIX}=2"], "once for each key"),
        (["--vary", f"{MIN_VIX}=1,300"], "at most 200"),
        (["--vary", "no.such=1"], "no.such: unknown setting"),
        (["--seeds", "9..1"], "--seeds: '9..1'"),
        (["--seeds", "x"], "--seeds: 'x'; expected a whole number"),
        (["--seed", "3"], "expected --seeds"),
        (["--seeds", "1..10000", "--vary", f"{MIN_VIX}=1,2"], "20,000 runs"),
        (["--workers", "0", "--seeds", "1,2"], "--workers"),
        (["--name", "a/b", "--seeds", "1,2"], "--name: 'a/b'"),
        ([], "nothing varies"),
        (["--seeds", "1,2", "--start", "1999-01-04"], "--start: 1999-01-04 is outside"),
    ],
)
def test_wrong_grids_are_refused_before_anything_runs(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["grid", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_account_that_only_earns_interest_has_no_sharpe_ratio() -> None:
    # Sixty sessions; of a hundred thousand each pays 8 dollars of interest and nothing else: 2 % a year, no risk.
    days = [date(2018, 1, 1) + timedelta(days=count) for count in range(61)]
    idle = [EquityPoint(day, 100_000.0 + 8.0 * count, interest=8.0) for count, day in enumerate(days)]
    total = trade_statistics("all", ())
    assert grid.figures_of(idle, total, 0.0194)["sharpe_of_a_day"] is None
    # Up 150 and down 50 by turns beside it: mean 50, spread 100 x sqrt(60 / 59); bills take 7.7 a day of the mean.
    moved = [replace(point, equity=point.equity + 50.0 * (count // 2 * 2) + 150.0 * (count % 2))
             for count, point in enumerate(idle)]  # fmt: skip
    ratio = grid.figures_of(moved, total, 0.0194)["sharpe_of_a_day"]
    assert ratio == pytest.approx((50.0 + 8.0 - 7.7) / (100.0 * math.sqrt(60 / 59)), rel=0.03)


def test_a_grid_in_which_little_moved_is_not_chosen_by() -> None:
    groups: Groups = {
        (((MIN_VIX, "0"),), "history"): [figures(0.1, None)],
        (((MIN_VIX, "22"),), "history"): [figures(0.2)],
    }
    assert best_of_many(groups).startswith("Of 2 combinations 1 have a Sharpe ratio")
    assert "do not choose" in best_of_many(groups)


def test_what_is_kept_is_not_run_again_and_half_a_file_is(tmp_path: Path) -> None:
    one, two = cells(seeds="1..2")
    (tmp_path / grid.CELLS).mkdir()
    grid.keep(tmp_path, one.key, figures(0.01))
    assert grid.kept(tmp_path, one) == figures(0.01)
    assert grid.kept(tmp_path, two) is None
    (tmp_path / grid.CELLS / f"{two.key}.json").write_text('{"total_return": 0.', encoding="utf-8")
    assert grid.kept(tmp_path, two) is None
    for text in (
        '{"total_return": "much"}',
        "[]",
        f'{{"code": "{grid.code_version()}", "figures": {{"drawdown": "1"}}}}',
    ):
        (tmp_path / grid.CELLS / f"{two.key}.json").write_text(text, encoding="utf-8")
        assert grid.kept(tmp_path, two) is None


class Cluster:
    """A cluster of one process: it runs what it is given at once, with its own version of the code."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.ran: list[grid.Cell] = []

    def submit(self, _run: object, cell: grid.Cell, key: str) -> Future[tuple[str, grid.Figures, grid.Spent]]:
        self.ran.append(cell)
        future: Future[tuple[str, grid.Figures, grid.Spent]] = Future()
        # Two workers by turns, ten seconds a run, of them nine on a processor; the third run waits for the second.
        count = len(self.ran) - 1
        began = 10.0 * (count // 2)
        spent = grid.Spent(f"worker-{count % 2}", began, began + 10.0, 9.0)
        future.set_result((self.code, figures(0.01 * len(self.ran)), spent))
        return future

    def cancel(self, _futures: object) -> None:
        return


def test_a_resumed_grid_mixes_no_versions_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributed, "as_completed", lambda futures: list(futures))
    wanted = cells(seeds="1..3")

    def run(code: str, worker: str = "") -> tuple[list[grid.Figures], int, str]:
        monkeypatch.setattr(grid, "code_version", lambda: code)
        cluster = Cluster(worker or code)
        found = grid.run_cells(wanted, tmp_path, cast(Any, cluster))
        return found, len(cluster.ran), capsys.readouterr().err

    first, ran, said = run("aaa")
    lines = said.splitlines()
    assert ran == 3
    assert [line.split(" done")[0] for line in lines[:4]] == [f"{count} of 3 runs" for count in range(4)]
    # Three runs of ten seconds, two workers, twenty seconds: 30 of 40, and 27 of 40 on a processor.
    assert lines[4:] == [
        "2 workers ran 3 runs in 20.0 s: 75.0% of that time in a run, "
        "67.5% on a processor (9.0 processor seconds a run)"
    ]
    assert run("aaa") == (first, 0, "3 of 3 runs done\n")
    # Of another version all three count for nothing, and that is said; so do those of a form without a version.
    (tmp_path / grid.CELLS / f"{wanted[0].key}.json").write_text(json.dumps(first[0]), encoding="utf-8")
    again, ran, said = run("bbb")
    assert (again, ran) == (first, 3)
    assert said.startswith("3 runs are there of another version of the code than bbb: run again\n0 of 3 runs done\n")
    with pytest.raises(UserError, match="a worker runs code bbb, this is ccc"):
        run("ccc", worker="bbb")
    assert run("bbb")[1] == 0  # what a refused worker came to was not kept


def test_the_version_of_the_code_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "CODE", tmp_path)
    monkeypatch.setattr(grid, "SOURCES", ("core", "main.py"))
    (tmp_path / "core" / "__pycache__").mkdir(parents=True)
    (tmp_path / "core" / "a.py").write_text("1")
    (tmp_path / "main.py").write_text("2")

    def version() -> str:
        grid.code_version.cache_clear()
        return grid.code_version()

    first = version()
    (tmp_path / "core" / "__pycache__" / "a.pyc").write_text("compiled")
    assert version() == first
    (tmp_path / "core" / "a.py").write_text("3")
    changed = version()
    (tmp_path / "core" / "a.py").rename(tmp_path / "core" / "b.py")
    assert len({first, changed, version()}) == 3
    grid.code_version.cache_clear()


def test_the_deflated_sharpe_ratio_by_hand() -> None:
    # Two ratios of a day, 0 and 0.1: deviation 0.070711. Expected best: 0.070711 * (0.422784 * Z(0.5) + 0.577216 *
    # Z(1 - 1/(2e))) = 0.070711 * 0.577216 * 0.900289 = 0.036746. Normal returns of 253 days: spread sqrt(1 + 0.005).
    # (0.1 - 0.036746) * sqrt(252) / 1.002497 = 1.00162, of which the normal law is 0.84174.
    found = deflated_sharpe(np.array([0.0, 0.1]), 253, 0.0, 3.0)
    assert found == pytest.approx(0.8417, abs=2e-4)
    assert deflated_sharpe(np.array([0.1]), 253, 0.0, 3.0) is None
    assert deflated_sharpe(np.array([0.1, math.nan]), 253, 0.0, 3.0) is None


def test_the_best_of_many_is_warned_of() -> None:
    groups: Groups = {
        (((MIN_VIX, "0"),), "history"): [figures(0.01, 0.0)],
        (((MIN_VIX, "22"),), "history"): [figures(0.03)],
    }
    words = best_of_many(groups)
    assert "Best of 2 combinations: friday_0dte.min_vix=22." in words
    assert "84.2 %" in words
    assert "worthless ones would look like this" in words
    assert "nothing was chosen" in best_of_many({((), "history"): [figures(0.01)]})


def test_rows_and_maps_of_a_grid_by_hand() -> None:
    seeds = [figures(0.01), figures(0.03)]
    groups: Groups = {(((MIN_VIX, "0"), ("run.cash", "1")), "history"): seeds}
    # Mean 2 %, deviation 1.414 %, of two: 12.706 * 1.414 / 1.414 = 12.7 either way.
    interval = interval_of(seeds, "total_return")
    assert interval is not None
    assert interval.low == pytest.approx(-0.10706, abs=1e-4)
    assert interval.high == pytest.approx(0.14706, abs=1e-4)
    row = grid_rows(groups)[1]
    assert row[:3] == ("friday_0dte.min_vix=0, run.cash=1", "2", "2.00 %")
    (page,) = heat_maps(groups)
    assert "2.00 %" in page
    assert "gain-fill) 100%" in page


def test_years_that_never_happened_have_a_market_each(capsys: pytest.CaptureFixture[str]) -> None:
    found = grid.cells_of(grid.MonteCarloOptions(seeds="3,5"), [], ["garch:{seed}"])
    assert [cell.market for cell in found] == ["garch:3", "garch:5"]
    assert app.run(["montecarlo", "--market", "lean:data"]) == 2
    assert "montecarlo draws garch years" in capsys.readouterr().err
    assert app.run(["montecarlo", "--ruin", "2"]) == 2
    assert "--ruin" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_come_to_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "ROOT", tmp_path)
    monkeypatch.setattr(options, "ROOT", tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    asked = ["grid", "--vary", f"{MIN_VIX}=0,22", "--start", "2018-02-07", "--end", "2018-02-09"]
    asked += ["--strategies", "friday_0dte"]
    for workers in ("1", "2"):
        assert app.run([*asked, "--workers", workers, "--name", f"by-{workers}"]) == 0
    told = capsys.readouterr()
    assert "Of 2 combinations 0 have a Sharpe ratio" in told.out  # three days
    assert "2 workers ran 2 runs" in told.err
    folders = [tmp_path / "backtests" / f"by-{workers}" for workers in ("1", "2")]
    one, two = ({path.name: path.read_text() for path in (folder / grid.CELLS).iterdir()} for folder in folders)
    assert len(one) == 2
    assert one == two
    assert (folders[0] / "grid.html").read_text() == (folders[1] / "grid.html").read_text()
    # Again: both cells are there, so that nothing runs; a figure that was written by hand stays.
    name = sorted(one)[0]
    changed = cast(dict[str, dict[str, float | None]], json.loads(one[name]))
    changed["figures"]["trades"] = 77.0
    (folders[0] / grid.CELLS / name).write_text(json.dumps(changed), encoding="utf-8")
    assert app.run([*asked, "--workers", "1", "--name", "by-1"]) == 0
    assert "77.0" in capsys.readouterr().out


def blocked() -> bool:
    """Whether this process's first thread, or whichever asks, does not hear Ctrl-C."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C otherwise")
def test_what_begins_unheard_does_not_hear_ctrl_c() -> None:
    # A terminal sends Ctrl-C to every process of the group: a worker that hears it writes a traceback of its own.
    asked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with grid.unheard():
        assert blocked()
        said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said == "True\n"
    assert not blocked()

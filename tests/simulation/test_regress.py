"""LEAN's regressions on a checkout made by hand: a Python algorithm, its C# twin's figures, a folder of data."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli import app
from simulation import regress
from simulation.data.lean_folder import MARKET_HOURS, SYMBOL_PROPERTIES
from simulation.export.export_text import hours_text
from simulation.market.definitions import market_hours, symbol_properties
from simulation.regress import CheckoutError, Comparison, Figures

IDLE = """
from AlgorithmImports import *

class {name}(QCAlgorithm):
    def Initialize(self):
        self.SetStartDate(2024, 7, 1)
        self.SetEndDate(2024, 7, 3)
        self.SetCash(100000)
    def OnEndOfAlgorithm(self):
        {last}
"""
# As LEAN's C# twins declare them: text pairs in a dictionary's initialiser.
TWIN = """
public Dictionary<string, string> ExpectedStatistics => new Dictionary<string, string>
{
    {"Total Orders", "%s"},
    {"Average Win", "0%%"},
    {"End Equity", "%s"},
    {"Total Fees", "%s"},
};
"""


def add(checkout: Path, name: str, declared: tuple[str, str, str], last: str = "self.Log('done')") -> None:
    """One algorithm and its twin."""
    (checkout / "Algorithm.Python" / f"{name}.py").write_text(IDLE.format(name=name, last=last))
    (checkout / "Algorithm.CSharp" / f"{name}.cs").write_text(TWIN % declared)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Idle (no orders), Trader (declares one, sends none), Broken (stops with an error), Orphan (no twin)."""
    folder = tmp_path / "Lean"
    for part in ("Algorithm.Python", "Algorithm.CSharp", "Data/market-hours", "Data/symbol-properties"):
        (folder / part).mkdir(parents=True)
    (folder / "Data" / MARKET_HOURS).write_text(hours_text(market_hours()))
    (folder / "Data" / SYMBOL_PROPERTIES).write_text("\n".join(symbol_properties().lines()) + "\n")
    add(folder, "Idle", ("0", "100000", "$0.00"))
    add(folder, "Trader", ("1", "100,000.50", "$1.25"))
    add(folder, "Broken", ("2", "100000", "$0.00"), "raise ValueError('no such leg')")
    (folder / "Algorithm.Python" / "Orphan.py").write_text(IDLE.format(name="Orphan", last="self.Log('done')"))
    return folder


def test_declared_figures_are_read_from_the_twin(checkout: Path) -> None:
    assert regress.declared_figures(checkout, "Trader") == Figures(1, 100_000.5, 1.25)
    assert Figures.of({"Total Trades": "3", "End Equity": "-5", "Total Fees": "$2,000.10"}) == Figures(3, -5.0, 2000.1)
    with pytest.raises(CheckoutError, match=r"Orphan: .*Orphan\.cs is missing, so nothing declares its figures"):
        regress.declared_figures(checkout, "Orphan")
    with pytest.raises(CheckoutError, match="declared figures lack 'End Equity'; wanted are Total Orders"):
        Figures.of({"Total Orders": "1", "Total Fees": "$0"})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Figures(1, 100.01, 0.5), True),  # one cent is LEAN's own rounding
        (Figures(1, 100.02, 0.5), False),
        (Figures(1, 100.0, 0.51), False),
        (Figures(2, 100.0, 0.5), False),
    ],
)
def test_figures_agree_to_the_cent(other: Figures, same: bool) -> None:
    declared = Figures(1, 100.0, 0.5)
    assert declared.agrees(other) is same
    assert Comparison("A", declared, other, None, 0.1).passed is same
    assert not Comparison("A", declared, other, "stopped", 0.1).passed
    assert not Comparison("A", declared, None, None, 0.1).passed


def test_what_is_run_when_nothing_is_named(checkout: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps({"Idle": {"Total Orders": "0", "End Equity": "7", "Total Fees": "$0"}}))
    # All that declare orders: not Idle, not Orphan.
    assert regress.python_algorithms(checkout) == ["Broken", "Trader"]
    assert list(regress.chosen(checkout, (), None)) == ["Broken", "Trader"]
    # The file's figures come before the twins', which are asked for what it does not hold.
    assert regress.chosen(checkout, (), figures) == {"Idle": Figures(0, 7.0, 0.0)}
    assert regress.chosen(checkout, ["Idle", "Trader"], figures) == {
        "Idle": Figures(0, 7.0, 0.0),
        "Trader": Figures(1, 100_000.5, 1.25),
    }


def test_each_algorithm_is_run_and_compared(checkout: Path) -> None:
    heard: list[str] = []
    names = ["Idle", "Trader", "Broken"]
    expected = {name: regress.declared_figures(checkout, name) for name in names}
    done = regress.compare(checkout, expected, jobs=2, report=lambda one: heard.append(one.name))
    assert [one.name for one in done] == names
    assert sorted(heard) == sorted(names)
    assert [one.passed for one in done] == [True, False, False]
    assert done[1].got == Figures(0, 100_000.0, 0.0)
    assert done[1].problem is None
    assert "no such leg" in str(done[2].problem)


def test_every_declared_statistic_is_compared_when_asked_for(checkout: Path) -> None:
    assert regress.declared_statistics(checkout, "Idle")["Average Win"] == "0%"
    with pytest.raises(CheckoutError, match=r"Orphan\.cs is missing, so nothing declares its statistics"):
        regress.declared_statistics(checkout, "Orphan")
    twin = checkout / "Algorithm.CSharp" / "Idle.cs"
    expected = {"Idle": regress.declared_figures(checkout, "Idle")}
    twin.write_text(twin.read_text().replace('"0%"}', '"0%"}, {"OrderListHash", "1f"}, {"Beta", "0.5"}'))
    done = regress.compare(checkout, expected, all_statistics=True)[0]
    # the hash is of C# objects and is left out
    assert done.differences == {"Beta": ("0.5", "0")}
    assert not done.passed
    assert regress.compare(checkout, expected)[0].passed


def test_what_is_not_in_the_checkout_is_named(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckoutError, match=r"not in .*Algorithm\.Python: Nowhere"):
        regress.compare(checkout, {"Nowhere": Figures(0, 0.0, 0.0)})
    with (
        pytest.raises(CheckoutError, match="is no LEAN checkout: it holds neither Data/ nor git objects"),
        regress.opened(tmp_path),
    ):
        pytest.fail("an empty folder was taken for a checkout")


def git(folder: Path, *words: str) -> None:
    """One git command with an author of its own and nobody's configuration."""
    author = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=")
    subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)


def test_a_bare_repository_is_unpacked_for_the_time_being(
    checkout: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tick = checkout / "Data" / "equity" / "usa" / "tick" / "spy" / "20240701_trade.zip"
    tick.parent.mkdir(parents=True)
    tick.write_bytes(b"ticks that no engine here reads")
    git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "All")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(checkout), str(bare))
    with regress.opened(bare) as folder:
        assert regress.declared_figures(folder, "Trader").orders == 1
        assert (folder / "Data" / MARKET_HOURS).is_file()
        assert not list(folder.rglob("*trade.zip"))
    assert not folder.exists()
    with regress.opened(checkout) as folder:
        assert folder == checkout
    # A repository without a commit holds nothing that git could unpack.
    empty = tmp_path / "empty.git"
    git(tmp_path, "init", "-q", "--bare", str(empty))
    with pytest.raises(CheckoutError, match=r"git cannot read Data, .* of"), regress.opened(empty):
        pytest.fail("an empty repository was opened")
    assert capfd.readouterr().err == ""  # what git says of it is not for the user


def test_a_process_that_ends_without_an_answer_is_a_problem(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"Idle": Figures(0, 100_000.0, 0.0)}
    monkeypatch.setattr(regress, "_WORKER", "import sys; sys.stderr.write('first\\nlast words\\n\\n'); sys.exit(3)")
    assert regress.compare(checkout, expected)[0].problem == "last words"
    monkeypatch.setattr(regress, "_WORKER", "")
    assert regress.compare(checkout, expected)[0].problem == "the process ended without a word"
    monkeypatch.setattr(regress, "_WORKER", "import time; time.sleep(60)")
    monkeypatch.setattr(regress, "TIME_LIMIT_S", 0.2)
    late = regress.compare(checkout, expected)[0]
    assert (late.got, late.problem, late.passed) == (None, "not done after 0.2 s", False)


@pytest.mark.parametrize(("name", "error"), [("Idle", None), ("Broken", "no such leg")])
def test_a_worker_answers_with_one_line(
    name: str, error: str | None, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["-c", str(checkout), name])
    regress.worker()
    said = capsys.readouterr()
    answer = json.loads(said.out.splitlines()[-1])
    assert (answer["orders"], answer["equity"], answer["fees"]) == (0, 100_000.0, 0.0)
    assert answer["error"] is None if error is None else error in answer["error"]
    assert ("Traceback" in said.err) is (error is not None)


def test_the_command_says_what_differs(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Figures(1, 100_000.5, 1.25)
    made = [
        Comparison("Same", wanted, wanted, None, 0.5),
        Comparison("Off", wanted, replace(wanted, orders=0, equity=100_000.0), None, 1.0),
        Comparison("Gone", wanted, None, "ValueError: no such leg", 2.0),
    ]

    def compare(
        folder: Path, expected: object, *, jobs: int | None, report: object, all_statistics: bool
    ) -> list[Comparison]:
        assert (folder, jobs) == (checkout, 2)
        assert all_statistics is bool(made[0].differences)
        for one in made:
            report(one)  # type: ignore[operator]
        return made

    monkeypatch.setattr(regress, "compare", compare)
    assert app.run(["regress", str(checkout), "--names", "Trader", "--jobs", "2"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "same    Same (0.5 s)",
        "DIFFERS Off (1.0 s)",
        "        declared: 1 orders, equity 100000.50, fees 1.25",
        "        here:     0 orders, equity 100000.00, fees 1.25",
        "DIFFERS Gone (2.0 s)",
        "        declared: 1 orders, equity 100000.50, fees 1.25",
        "        error:    ValueError: no such leg",
        "1 of 3 agree with LEAN to the cent",
    ]
    del made[1:]
    assert app.run(["regress", str(checkout), "--names", "Trader", "--jobs", "2"]) == 0
    assert "1 of 1 agree" in capsys.readouterr().out
    made[0] = replace(made[0], differences={"Beta": ("0.5", ""), "Alpha": ("1", "2")})
    assert app.run(["regress", str(checkout), "--names", "Trader", "--jobs", "2", "--all-statistics"]) == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "        Beta: declared 0.5, here nothing",
        "        Alpha: declared 1, here 2",
        "0 of 1 agree with LEAN in every statistic",
    ]


def test_the_command_names_what_is_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["regress", str(tmp_path)]) == 2
    assert "is no LEAN checkout" in capsys.readouterr().err

"""The lean command line's own code reads lean.json and config.json, and finds the project and its notebook."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the lean command line reads, so that it may write there."""
    for name in ("lean.json", "config.json", "main.py", "research.ipynb"):
        shutil.copy(ROOT / name, tmp_path / name)
    for room in ("core", "simulation"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("", encoding="utf-8")
    (tmp_path / ".venv" / "private.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "core")
    return tmp_path


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """lean.models fetches a list of its modules when imported; nothing here needs the list or the network."""
    import lean

    package = ModuleType("lean.models")
    package.__path__ = [str(Path(lean.__file__).parent / "models")]
    package.__dict__["json_modules"] = []
    monkeypatch.setitem(sys.modules, "lean.models", package)


def silent() -> Any:
    """A logger that keeps quiet."""
    return SimpleNamespace(debug=lambda text: None, info=lambda text: None, warn=lambda text: None)


def config_managers(workspace: Path) -> tuple[Any, Any]:
    """lean's own managers of lean.json and config.json, wired as the command line wires them."""
    from lean.components.config.lean_config_manager import LeanConfigManager
    from lean.components.config.project_config_manager import ProjectConfigManager
    from lean.components.config.storage import Storage
    from lean.components.util.xml_manager import XMLManager

    value = SimpleNamespace(get_value=lambda default=None: default)
    projects = ProjectConfigManager(XMLManager())
    cache = Storage(str(workspace.parent / f"{workspace.name}.cache.json"))
    user: Any = SimpleNamespace(user_id=value, api_token=value)
    module: Any = None
    return LeanConfigManager(silent(), user, projects, module, cache), projects


def test_lean_finds_the_workspace_and_its_data(workspace: Path) -> None:
    leans, _ = config_managers(workspace)
    assert leans.get_lean_config_path() == workspace / "lean.json"
    assert leans.get_data_directory() == workspace / "data"


def test_lean_rewrites_its_files_as_they_are(workspace: Path) -> None:
    """What `lean backtest .` writes into the tracked files is what stands in them, byte for byte."""
    leans, projects = config_managers(workspace)
    before = {name: (workspace / name).read_bytes() for name in ("lean.json", "config.json")}
    local = ("data-provider", "map-file-provider", "factor-file-provider")  # what the provider "Local" sets
    leans.set_properties({name: leans.get_lean_config()[name] for name in local})
    project = projects.get_project_config(workspace)
    project.set("local-id", project.get("local-id"))
    assert {name: (workspace / name).read_bytes() for name in before} == before


def test_a_local_backtest_needs_no_organization(workspace: Path) -> None:
    from lean.components.util.organization_manager import OrganizationManager

    leans, _ = config_managers(workspace)
    assert OrganizationManager(silent(), leans).try_get_working_organization_id() == ""


def test_an_organization_goes_into_a_file_that_git_ignores(workspace: Path) -> None:
    """The README's way for what needs one: `--lean-config lean.local.json`, a copy beside lean.json."""
    from lean.components.util.organization_manager import OrganizationManager

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True).stdout

    shutil.copy(ROOT / ".gitignore", workspace / ".gitignore")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "clone")
    shutil.copy(workspace / "lean.json", workspace / "lean.local.json")
    leans, _ = config_managers(workspace)
    leans.set_default_lean_config_path(workspace / "lean.local.json")  # what --lean-config does
    OrganizationManager(silent(), leans).configure_working_organization_id("0123456789abcdef" * 2)
    assert leans.get_data_directory() == workspace / "data"
    for made in ("backtests/2026-01-02_03-04-05", "live/1", "optimizations/1", "storage", "data", "report", ".vscode"):
        (workspace / made).mkdir(parents=True)
        (workspace / made / "x.json").write_text("{}", encoding="utf-8")
    assert "0123456789abcdef" in (workspace / "lean.local.json").read_text(encoding="utf-8")
    assert git("status", "--porcelain") == ""


def test_no_tracked_file_names_an_organization() -> None:
    for name in ("lean.json", "config.json"):
        held = json.loads((ROOT / name).read_text(encoding="utf-8"))
        assert not held.get("organization-id")
        assert not held.get("job-organization-id")
        assert "cloud-id" not in held


def test_a_push_leaves_results_out(workspace: Path) -> None:
    from cli.options import RESULTS

    projects: Any = None
    leans, _ = config_managers(workspace)
    (workspace / RESULTS / "20260102-030405").mkdir(parents=True)
    (workspace / RESULTS / "20260102-030405" / "report.html").write_text("", encoding="utf-8")
    from lean.components.util.project_manager import ProjectManager

    manager = ProjectManager(silent(), projects, leans, projects, projects, projects, projects, projects)
    assert [path for path in manager.get_source_files(workspace) if path.suffix == ".html"] == []


def test_the_projects_days_lie_in_the_readmes_example() -> None:
    """`lean backtest .` runs the days of config.json on what the README's `data` command has written."""
    from cli.options import configured_parameters

    held = configured_parameters()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    written = re.findall(r"run\.py data (.*?)(?:  |$)", text, re.MULTILINE)
    assert written
    for command in written:
        days = dict(re.findall(r"--(start|end) (\S+)", command))
        assert days.get("start", held["run.start"]) <= held["run.start"]
        assert held["run.end"] <= days.get("end", held["run.end"])


def test_lean_completes_the_configuration_for_main(workspace: Path) -> None:
    leans, _ = config_managers(workspace)
    config = json.loads(json.dumps(leans.get_lean_config()))
    config["organization-id"] = "0" * 32
    (workspace / "lean.json").write_text(json.dumps(config), encoding="utf-8")

    complete = leans.get_complete_lean_config("backtesting", workspace / "main.py", None)

    assert complete["algorithm-location"] == "/LeanCLI/main.py"
    assert complete["algorithm-language"] == "Python"
    assert complete["parameters"] == json.loads((ROOT / "config.json").read_text(encoding="utf-8"))["parameters"]


def test_lean_finds_the_project_in_the_root(workspace: Path) -> None:
    from lean.components.util.path_manager import PathManager
    from lean.components.util.project_manager import ProjectManager

    leans, projects = config_managers(workspace)
    platform: Any = SimpleNamespace(is_system_windows=lambda: False, is_host_windows=lambda: False)
    nothing: Any = None
    paths = PathManager(leans, platform)
    manager = ProjectManager(silent(), projects, leans, paths, nothing, platform, nothing, nothing)

    assert paths.is_cli_path_valid(workspace)
    assert manager.find_algorithm_file(workspace) == workspace / "main.py"
    sources = {path.relative_to(workspace).as_posix() for path in manager.get_source_files(workspace)}
    assert {"main.py", "research.ipynb", "core/bus.py", "simulation/embedded/AlgorithmImports.py"} <= sources
    assert not any(name.startswith(".venv") for name in sources)


def test_the_project_keeps_one_local_id(workspace: Path) -> None:
    _, projects = config_managers(workspace)
    before = (workspace / "config.json").read_text(encoding="utf-8")
    assert projects.get_local_id(workspace) == json.loads(before)["local-id"]
    assert (workspace / "config.json").read_text(encoding="utf-8") == before


def test_no_room_has_a_name_that_lean_leaves_out() -> None:
    from lean.components import output_reserved_names, reserved_names

    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert len(rooms) >= 10
    assert rooms.isdisjoint([*reserved_names, *output_reserved_names])


def test_main_holds_exactly_one_algorithm() -> None:
    tree = ast.parse((ROOT / "main.py").read_text(encoding="utf-8"))
    algorithms = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "QCAlgorithm" for base in node.bases)
    ]
    assert len(algorithms) == 1


def notebook_code() -> list[str]:
    """The code cells of the notebook."""
    notebook = json.loads((ROOT / "research.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_clean_and_current() -> None:
    notebook = json.loads((ROOT / "research.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert len(notebook_code()) >= 3


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a kernel of its own, as JupyterLab runs it: frames and charts come out, and no cell fails."""
    monkeypatch.setenv("RESULTS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "research.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    charts = [data["application/vnd.plotly.v1+json"] for data in shown if "application/vnd.plotly.v1+json" in data]
    titles = [chart["layout"]["title"]["text"] for chart in charts]
    assert len(titles) == 8
    assert any("out of the money" in title for title in titles)
    assert any("at expiry" in title for title in titles)
    assert all(chart["data"] for chart in charts)
    assert sum("text/html" in data and "application/vnd.plotly.v1+json" not in data for data in shown) >= 4  # frames


def test_the_notebook_needs_only_what_leans_image_has() -> None:
    """`lean research` opens it: what it imports at its head is in the image, or a guarded part of LEAN."""
    names = {
        name.split(".")[0]
        for source in notebook_code()
        for node in ast.walk(ast.parse(source))
        for name in ([one.name for one in node.names] if isinstance(node, ast.Import) else
                     [str(node.module)] if isinstance(node, ast.ImportFrom) else [])
    }  # fmt: skip
    image = (ROOT / "cli" / "lean_image_packages.txt").read_text(encoding="utf-8")
    packages = {line.split("==")[0].lower() for line in image.splitlines()}
    foreign = names - set(sys.stdlib_module_names) - {"AlgorithmImports", "research", "cli"}
    assert foreign == {"pandas", "plotly"}
    assert foreign <= packages


LEANS_KERNEL = """
import json, sys
cells = [cell for cell in json.load(open("research.ipynb"))["cells"] if cell["cell_type"] == "code"]
names = {}
for cell in cells[:2]:
    exec("".join(cell["source"]), names)
print(names["run"], sys.modules["research"].__file__ if "research" in sys.modules else "not read")
"""


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("", "what rests on a run is left out: set RUN to a run's name in backtests/, latest, or its folder\n"
             "None not read\n"),
        ("calm", "what rests on a run is left out: 'calm': there is no run in {place}/backtests; "
                 "python run.py backtest makes one\nNone {place}/research.py\n"),
    ],
)  # fmt: skip
def test_the_notebook_begins_where_lean_mounts_it(run: str, said: str, tmp_path: Path) -> None:
    """`lean research .` mounts the project as Notebooks, with the engine's configuration over config.json.

    Source: lean/commands/research.py. There is no .venv and no git there; AlgorithmImports is LEAN's.
    """
    place, engine = tmp_path / "Notebooks", tmp_path / "engine"
    for room in (path for path in ROOT.iterdir() if (path / "__init__.py").is_file() and path.name != "tests"):
        shutil.copytree(room, place / room.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("main.py", "research.py", "research.ipynb", "trading_system.py"):
        shutil.copy(ROOT / name, place / name)
    (place / "config.json").write_text(json.dumps({"environment": "backtesting", "parameters": {}}), encoding="utf-8")
    engine.mkdir()
    (engine / "AlgorithmImports.py").write_text("class QuantBook: ...\n", encoding="utf-8")
    kept = {key: value for key, value in os.environ.items() if key not in ("RUN", "RESULTS")}
    done = subprocess.run(
        [sys.executable, "-c", LEANS_KERNEL], cwd=place, env=kept | {"RUN": run, "PYTHONPATH": str(engine)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == said.format(place=place)

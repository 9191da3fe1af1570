"""The repository keeps its rules: no placeholders, bounded sizes, LEAN's packages only, documents with live paths."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_OWN_FILES = 150  # docs/decisions/023-the-systems-own-source-under-150-files.md
MOST_FILES_OF_A_FOLDER = 25
MOST_LINES = 500
MOST_FUNCTION_LINES = 60
MOST_PARAMETERS = 8
PLACEHOLDERS = re.compile(
    r"^\s*pass\s*$|return None.*TODO|return 0\.0\s*$|return \[\]\s*$|raise NotImplementedError|# TODO|# FIXME|# XXX"
)
ALGORITHM_FILES = ("main.py", "trading_system.py")
ROOMS = ("core", "state", "market", "greeks", "risk", "execution", "strategies")
# What the LEAN image holds that main.py may use: the pinned runtime packages, and pydantic as a dependency of others.
IMAGE_PACKAGES = {"numpy", "pandas", "scipy", "numba", "transitions", "QuantLib", "pandas_market_calendars", "pydantic"}


def tracked_files() -> list[str]:
    """Files that git tracks, or would on the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in found.splitlines() if (ROOT / name).is_file()})


def python_files() -> list[str]:
    """Tracked Python files."""
    return [name for name in tracked_files() if name.endswith(".py")]


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"), name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_placeholder_outside_tests() -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in python_files()
        if not name.startswith("tests/")
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
        if PLACEHOLDERS.search(line)
    ]
    assert found == []


def test_the_systems_own_source_stays_small() -> None:
    own = [name for name in python_files() if name.split("/")[0] not in ("simulation", "tests", "docs")]
    assert len(own) < MOST_OWN_FILES


def test_no_folder_of_source_is_crowded() -> None:
    folders = Counter(Path(name).parent.as_posix() for name in python_files() if not name.startswith("tests/"))
    assert {folder: count for folder, count in folders.items() if count > MOST_FILES_OF_A_FOLDER} == {}


def test_no_file_is_too_long() -> None:
    sizes = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in python_files()}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


def test_no_function_is_too_long() -> None:
    found = [
        f"{name}:{node.lineno} {node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for name in python_files()
        for node in functions(name)
        if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES
    ]
    assert found == []


def test_no_function_takes_too_many_parameters() -> None:
    # simulation/ answers to LEAN's own signatures, some of which are longer; tests/ take fixtures.
    found = []
    for name in python_files():
        if name.startswith(("simulation/", "tests/")):
            continue
        for node in functions(name):
            named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([argument for argument in named if argument.arg not in ("self", "cls")])
            if count > MOST_PARAMETERS:
                found.append(f"{name}:{node.lineno} {node.name}: {count} parameters")
    assert found == []


def imported_names(name: str) -> set[str]:
    """Top-level names of the packages that a file imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"), name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_algorithm_imports_only_what_lean_has() -> None:
    allowed = (
        IMAGE_PACKAGES
        | {*ROOMS, "trading_system", "AlgorithmImports", "QuantConnect", "System"}
        | set(sys.stdlib_module_names)
    )
    found = {
        name: sorted(extra)
        for name in python_files()
        if name in ALGORITHM_FILES or name.split("/")[0] in ROOMS
        if (extra := imported_names(name) - allowed)
    }
    assert found == {}


def test_only_main_and_the_gateway_name_lean() -> None:
    found = [
        name
        for name in python_files()
        if name.split("/")[0] not in ("tests", "docs", "simulation")
        and name != "main.py"
        and not name.startswith("core/lean_gateway")
        and imported_names(name) & {"AlgorithmImports", "QuantConnect"}
    ]
    assert found == []


def test_runtime_packages_have_the_versions_of_the_lean_image() -> None:
    listed = ROOT.parent / "shared" / "lean-image-packages.txt"
    if not listed.exists():
        pytest.skip("the list of the LEAN image's packages is not beside this clone")
    image = dict(line.split("==") for line in listed.read_text(encoding="utf-8").split() if "==" in line)
    lowered = {name.lower(): version for name, version in image.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = dict(item.split("==") for item in project["project"]["dependencies"] if "==" in item)
    differing = {
        name: (version, lowered[name.lower()])
        for name, version in pinned.items()
        if lowered.get(name.lower(), version) != version
    }
    assert differing == {}
    assert {name for name in IMAGE_PACKAGES if name.lower() not in lowered} == {"pydantic"}


def test_both_locks_agree_where_they_overlap() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))

    run, develop = pins("requirements.lock"), pins("requirements-dev.lock")
    assert len(run) > 10
    assert {name: version for name, version in run.items() if develop.get(name) != version} == {}


def test_only_the_root_folders_of_results_are_left_out(tmp_path: Path) -> None:
    # A room named `data` or `results` further down is code: git, ruff and mypy must see it (lean-facts 11.2 for LEAN).
    names = ("data", "results", "backtests", "storage")
    for name in names:
        for parent in (tmp_path / name, tmp_path / "room" / name):
            parent.mkdir(parents=True)
            (parent / "x.py").write_text("")
    for name in (".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    below, above = {f"room/{name}/x.py" for name in names}, {f"{name}/x.py" for name in names}
    assert below <= set(shown([sys.executable, "-m", "ruff", "check", "--show-files", "."], tmp_path))
    assert not above & set(shown([sys.executable, "-m", "ruff", "check", "--show-files", "."], tmp_path))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    found = set(shown(["git", "ls-files", "--others", "--exclude-standard"], tmp_path))
    assert below <= found
    assert not above & found
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    exclude = re.compile("|".join(project["tool"]["mypy"]["exclude"]))
    assert {name for name in below | above if exclude.search(name)} == above


def shown(command: list[str], folder: Path) -> list[str]:
    """The files that a command lists, relative to its folder."""
    lines = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()
    return [Path(line).relative_to(folder).as_posix() if line.startswith("/") else line for line in lines]


def test_tests_lie_in_the_room_that_they_try() -> None:
    # tests/<room>/; tests/system/ for several rooms at once; at the root only what looks at the repository as a whole.
    places = {"system", *(name.split("/")[0] for name in python_files() if name.endswith("/__init__.py"))} - {"tests"}
    stray = [
        name
        for name in python_files()
        if re.match(r"tests/.*test_\w+\.py$", name)
        and name.split("/")[1] not in places
        and name not in ("tests/test_repository.py", "tests/test_lean_project.py")
    ]
    assert stray == [], "move them into tests/<room>/"


def test_no_test_module_is_imported_by_another() -> None:
    # What several tests need lies in a helper module beside them; a test module can then be moved or dropped alone.
    found = [
        f"{name}:{node.lineno}: {module}"
        for name in python_files()
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"), name))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names])
        if re.match(r"tests\.(?:\w+\.)*test_\w+", module)
    ]
    assert found == []


def private_members(tree: ast.AST) -> set[str]:
    """Names of private members that a module touches on something else than itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {item.name for item in node.names if re.match(r"_[a-z]", item.name, re.IGNORECASE)}
        if not isinstance(node, ast.Attribute) or not re.match(r"_[A-Za-z]", node.attr):
            continue
        base = node.value.func if isinstance(node.value, ast.Call) else node.value
        if not (isinstance(base, ast.Name) and base.id in ("self", "cls", "super", "os", "sys")):
            found.add(node.attr)
    return found


def test_a_test_says_why_it_touches_private_members() -> None:
    # "# Private: _one, _two: why" near the head of the file.
    silent = []
    for name in python_files():
        if name.startswith("tests/"):
            text = (ROOT / name).read_text(encoding="utf-8")
            comment = re.search(r"^# Private: (?:.*\n)(?:# .*\n)*", text, re.MULTILINE)
            named = set(re.findall(r"\b_\w+", comment[0])) if comment else set()
            touched = private_members(ast.parse(text, name))
            silent += [f"{name}: {member}" for member in sorted(touched - named)]
            silent += [f"{name}: {member} is no longer touched" for member in sorted(named - touched)]
    assert silent == []


def test_documents_name_files_that_exist() -> None:
    missing = []
    for name in tracked_files():
        if not name.endswith(".md") or name == "CHANGELOG.md":
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text):
            if not ((ROOT / name).parent / target).exists():
                missing.append(f"{name}: {target}")
        for target in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|toml|json|css|js))`", text):
            if not (ROOT / target).exists() and not target.startswith("results/"):
                missing.append(f"{name}: {target}")
    assert missing == []


def test_the_repository_names_no_place_outside_itself() -> None:
    private = re.compile(
        "|".join(("farm-" + "bench", "farm-" + "studio", r"/work/" + r"\.mirror", r"(?<![\w.])/tmp/" + r"\w"))
    )
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name in tracked_files()
        if name.endswith((".py", ".md", ".toml", ".json", ".yaml", ".css", ".js", ".ipynb"))
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
        if private.search(line)
    ]
    assert found == []

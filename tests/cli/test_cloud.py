"""The folder for QuantConnect's cloud: what is in it, that it fits, and that it trades as main.py does."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.bootstrap import BYTECODE_PLACE
from cli.bundle_finder import BundleFinder
from cli.cloud import IMAGE_PACKAGES, QUOTAS, Head, Tier, cloud, compacted, project_files, pushed, texts_of, written
from cli.errors import UserError
from tests.conftest import ROOT

HEAD = Head("0.1.0", "commit 0123456789ab", Tier.RESEARCHER, compact=False)

RUN = """
import json, sys
from pathlib import Path
from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, run_backtest
folder, store, extra = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
parameters = {"run.start": "2018-02-05", "run.end": "2018-02-16", "run.strategies": "friday_0dte", **extra}
parameters["friday_0dte.min_vix"] = "0"
store.mkdir()
market = ModelledMarket.from_history("history", seed=1)
result = run_backtest(RunRequest(folder / "main.py", market, parameters, None, store))
print(json.dumps({
    "hash": result.order_list_hash, "orders": len(result.orders), "error": result.error,
    "log": result.log_lines, "left": [name for name in sys.modules if name.split(".")[0] in ("core", "strategies")],
}))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the command makes it, alone in an empty place."""
    folder = tmp_path_factory.mktemp("workspace") / "tom-king"
    assert cloud(out=folder, check=None, tier=Tier.RESEARCHER, compact=False) == 0
    return folder


def engines_own() -> set[str]:
    """The few files outside of it that the embedded engine itself imports in a run, which writes no market."""
    named: set[str] = {"core/__init__.py"}
    for path in (path for path in (ROOT / "simulation").rglob("*.py") if path.parent.name not in ("export", "faults")):
        named |= {
            f"core/{name}.py" for name in re.findall(r"from core\.(\w+) import", path.read_text(encoding="utf-8"))
        }
    return named


def run_alone(folder: Path, place: Path, **extra: str) -> dict[str, Any]:
    """Run a folder's main.py on the embedded engine in a process that sees nothing else of this repository.

    The repository's own main.py is run with the repository in sight.
    """
    engine = place / "engine"
    engine.mkdir()
    (engine / "simulation").symlink_to(ROOT / "simulation", target_is_directory=True)
    for name in engines_own():
        (engine / name).parent.mkdir(exist_ok=True)
        (engine / name).symlink_to(ROOT / name)
    # With bytecode where this process keeps it: else each child compiles every package anew.
    kept = {name: os.environ[name] for name in ("PATH", BYTECODE_PLACE) if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(place / "store"), json.dumps(extra)],
        cwd=place,
        env={**kept, "PYTHONPATH": str(ROOT if folder == ROOT else engine)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.slow
def test_the_folder_trades_as_main_does(made: Path, tmp_path: Path) -> None:
    for name in ("alone", "clone"):
        (tmp_path / name).mkdir()
    alone = run_alone(made, tmp_path / "alone")
    clone = run_alone(ROOT, tmp_path / "clone")
    assert alone["error"] is None
    assert alone["orders"] > 0
    assert (alone["orders"], alone["hash"]) == (clone["orders"], clone["hash"])
    # the engine forgets what an algorithm's own finder brought, and has its own back
    assert set(alone["left"]) == {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in engines_own()
    }


def test_an_error_names_the_original_file_and_line(made: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(made, broken)
    texts = texts_of(ROOT)
    lines = texts["strategies/friday_0dte.py"].splitlines()
    line = next(number for number, text in enumerate(lines) if "super().__init__(tools, settings)" in text)
    lines[line] = "        raise RuntimeError('seen from the cloud')"
    texts["strategies/friday_0dte.py"] = "\n".join(lines) + "\n"
    for name, text in written(texts, HEAD, {}).items():
        (broken / name).write_text(text, encoding="utf-8")
    error = run_alone(broken, tmp_path)["error"]
    assert f'File "strategies/friday_0dte.py", line {line + 1}, in __init__' in error
    assert "raise RuntimeError('seen from the cloud')" in error


@pytest.mark.parametrize(("tier", "compact"), [(Tier.RESEARCHER, False), (Tier.TEAM, False), (Tier.RESEARCHER, True)])
def test_the_folder_fits_the_tier(tier: Tier, compact: bool) -> None:
    files = project_files(ROOT, Head("0.1.0", "commit x", tier, compact))
    sizes = [len(text.encode("utf-8")) for name, text in files.items() if pushed(name)]
    assert len(sizes) <= QUOTAS[tier].files
    assert max(sizes) <= QUOTAS[tier].usable_bytes < QUOTAS[tier].file_bytes


def test_what_does_not_fit_is_said_with_its_numbers() -> None:
    texts = {"main.py": "from core.bus import EventBus\n"}
    texts.update({f"core/file_{number:02}.py": f"X = {'1' * 29_000!r}\n" for number in range(30)})
    with pytest.raises(UserError, match=r"--tier free: 32 files of [\d,]+ bytes; Free takes 25 files of 32,000 bytes"):
        written(texts, Head("1", "commit x", Tier.FREE, compact=True), {})
    with pytest.raises(UserError, match=r"tomking_01.py 32,\d+ bytes; Free takes files up to 32,000.*--compact"):
        written(
            {"main.py": texts["main.py"], "core/large.py": f"X = {'1' * 32_000!r}\n"},
            Head("1", "commit x", Tier.FREE, compact=False),
            {},
        )


def test_every_module_stands_in_the_folder_as_readable_text(made: Path) -> None:
    texts = texts_of(ROOT)
    found: dict[str, str] = {}
    for path in sorted(made.glob("tomking_[0-9][0-9].py")):
        names: dict[str, Any] = {}
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), names)
        found.update(names["MODULES"])
        assert all(f"    {name}\n" in path.read_text(encoding="utf-8") for name in names["MODULES"])
    assert found == {name: text for name, text in texts.items() if name != "main.py"}
    assert all((made / path.name).read_text(encoding="utf-8").count("0.1.0") >= 1 for path in made.glob("*.py"))


def test_the_same_source_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    cloud(out=again, check=None, tier=Tier.RESEARCHER, compact=False)
    assert {path.name: path.read_bytes() for path in made.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


def test_check_tells_a_changed_a_missing_and_a_foreign_file(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(made, folder)
    assert cloud(out=None, check=folder) == 0
    (folder / "tomking_02.py").write_text("MODULES = {}\n", encoding="utf-8")
    (folder / "tomking_03.py").unlink()
    (folder / "notes.py").write_text("\n", encoding="utf-8")
    assert cloud(out=None, check=folder) == 1
    told = capsys.readouterr().out
    for words in ("tomking_02.py: differs", "tomking_03.py: missing", "notes.py: not made of this source"):
        assert words in told


def test_what_lean_notes_in_the_configuration_stays(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pushed"
    shutil.copytree(made, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "local-id" not in config
    (folder / "config.json").write_text(json.dumps({**config, "cloud-id": 7, "local-id": 8}), encoding="utf-8")
    (folder / "tomking_99.py").write_text("MODULES = {}\n", encoding="utf-8")
    assert cloud(out=None, check=folder) == 1
    assert cloud(out=folder, check=None, tier=Tier.RESEARCHER) == 0
    assert cloud(out=None, check=folder) == 0
    kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (kept["cloud-id"], kept["local-id"]) == (7, 8)
    assert not (folder / "tomking_99.py").exists()


def test_folders_of_other_things_are_refused(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds letter.txt; expected a new folder"):
        cloud(out=other, check=None)
    with pytest.raises(UserError, match="was not made by"):
        cloud(out=None, check=other)
    mixed = tmp_path / "mixed"
    shutil.copytree(made, mixed)
    (mixed / "own.py").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds own\.py, which a push would upload too"):
        cloud(out=mixed, check=None)
    with pytest.raises(UserError, match="expected either --out FOLDER or --check FOLDER"):
        cloud(out=None, check=None)


def test_a_package_that_the_image_has_not_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "main.py").write_text("from core.a import x\n", encoding="utf-8")
    (tmp_path / "core" / "a.py").write_text("def x():\n    import mypy.api\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"core/a.py imports mypy, which LEAN's image has not"):
        texts_of(tmp_path)
    (tmp_path / "core" / "a.py").write_text(
        "from typing import TYPE_CHECKING\nimport numpy\nif TYPE_CHECKING:\n    import mypy\n", encoding="utf-8"
    )
    assert list(texts_of(tmp_path)) == ["main.py", "core/__init__.py", "core/a.py"]


def test_the_list_of_packages_is_the_images() -> None:
    shared = ROOT.parent / "shared" / "lean-image-packages.txt"
    if not shared.exists():
        pytest.skip("the list of the LEAN image's packages is not beside this clone")
    assert IMAGE_PACKAGES.read_text(encoding="utf-8") == shared.read_text(encoding="utf-8")


def test_compact_text_is_the_same_program_on_the_same_lines() -> None:
    text = '"""Doc\nof two lines."""\n\nX = "# no comment"  # a comment\n\n\nclass A:\n    """Doc."""\n\n'
    text += '    y = 1; """odd"""\n'
    text += '\n    def f(self) -> str:\n        """Doc."""\n        return """a\n# kept\n"""\n'
    short = compacted(text)
    names: dict[str, Any] = {}
    exec(short, names)
    assert names["X"] == "# no comment"
    assert names["A"]().f() == "a\n# kept\n"
    assert "Doc" not in short
    assert "a comment" not in short
    assert len(short.splitlines()) == len(text.splitlines())
    assert ast.parse(short).body[0].lineno == 4  # X stays on its line


def test_compact_modules_compile_and_keep_their_lines() -> None:
    texts = texts_of(ROOT)
    assert len(texts) > 50
    for name, text in texts.items():
        short = compacted(text)
        compile(short, name, "exec")
        assert len(short.splitlines()) == len(text.splitlines()), name


def test_a_push_uploads_these_files_and_no_others(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    import lean

    package = ModuleType("lean.models")  # it fetches a list of modules when imported; nothing here needs it
    package.__path__ = [str(Path(lean.__file__).parent / "models")]
    package.__dict__["json_modules"] = []
    monkeypatch.setitem(sys.modules, "lean.models", package)
    from lean.components.util.project_manager import ProjectManager

    nothing: Any = None
    platform: Any = SimpleNamespace(is_system_windows=lambda: False, is_host_windows=lambda: False)
    manager = ProjectManager(nothing, nothing, nothing, nothing, nothing, platform, nothing, nothing)
    uploaded = {path.relative_to(made).as_posix() for path in manager.get_source_files(made)}
    assert uploaded == {path.name for path in made.iterdir() if path.suffix in (".py", ".ipynb")}
    assert {"main.py", "research.ipynb", "tomking_finder.py", "tomking_01.py"} <= uploaded


def test_the_finder_knows_packages_and_refuses_the_rest() -> None:
    finder = BundleFinder({"core/__init__.py": "", "core/bus.py": "X = 1\n"})
    assert finder.names() == {"core", "core.bus"}
    assert finder.is_package("core")
    assert not finder.is_package("core.bus")
    assert finder.find_spec("core.none") is None
    with pytest.raises(ImportError, match=r"core\.none is in none of the files"):
        finder.get_source("core.none")

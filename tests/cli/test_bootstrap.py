"""The bootstrap: every way in which building the environment can fail ends in one line and exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import run
from cli import bootstrap, checks
from cli.app import COMMANDS
from cli.bootstrap import BootstrapError, Environment, PackageSet
from tests.conftest import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Environment:
    """A clone's folder, with a space in its name, that holds locks of nothing and no environment."""
    root = tmp_path / "a clone"
    root.mkdir()
    for name in bootstrap.LOCKS.values():
        (root / name).write_text(f"# {name}\n", encoding="utf-8")
    return Environment(root)


def make_ready(clone: Environment, *sets: PackageSet) -> None:
    """Pretend that the environment was built with ``sets``."""
    clone.python.parent.mkdir(parents=True, exist_ok=True)
    clone.python.write_text("", encoding="utf-8")
    bootstrap.write_record(clone, {str(each): clone.stamp(each) for each in sets})


def test_wrong_python_is_one_line_with_what_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    monkeypatch.setattr(sys, "version", "3.13.1 (main)")
    monkeypatch.setattr(sys, "argv", ["run.py", "backtest", "--seed", "2"])

    complaint = run.wrong_python()

    assert complaint.startswith("Python 3.11 is needed, as in LEAN; this is 3.13.1")
    assert complaint.endswith("python3.11 run.py backtest --seed 2")
    assert "\n" not in complaint


def test_right_python_has_no_complaint() -> None:
    assert run.wrong_python() == ""


def test_help_needs_no_environment(tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    for name in ("run.py", "cli/__init__.py", "cli/bootstrap.py", "cli/errors.py"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "run.py", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "python run.py backtest" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_bootstrap_imports_only_the_standard_library() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cli.bootstrap;"
        "print([n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names and n != '__main__'"
        " and not n.startswith('cli')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_ready_environment_is_reused_without_a_lock(clone: Environment) -> None:
    make_ready(clone, PackageSet.RUN)
    bootstrap.ensure(clone, PackageSet.RUN)
    assert not (clone.root / ".venv.lock").exists()


def test_changed_lock_makes_it_not_ready(clone: Environment) -> None:
    make_ready(clone, PackageSet.RUN)
    (clone.root / "requirements.lock").write_text("numpy==1.26.5\n", encoding="utf-8")
    assert not clone.ready(PackageSet.RUN)


@pytest.mark.parametrize("record", ["", "{", "[]", "{}"])
def test_torn_record_counts_as_unfinished(clone: Environment, record: str) -> None:
    clone.record.write_text(record, encoding="utf-8")
    assert clone.installed() == {}
    assert not clone.ready(PackageSet.RUN)


def fake_installer(clone: Environment, log: Path, *, fail: bool = False) -> bootstrap.Installer:
    """An installer that makes an empty interpreter, notes that it ran, and then succeeds or fails."""
    create = f"import pathlib; p = pathlib.Path({str(clone.python)!r}); p.parent.mkdir(parents=True); p.write_text('')"
    install = f"import sys; open({str(log)!r}, 'a').write('x'); sys.exit({int(fail)})"
    return bootstrap.Installer([sys.executable, "-c", create], [sys.executable, "-c", install])


def test_half_built_environment_is_thrown_away(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.folder.mkdir()
    (clone.folder / "leftover").write_text("from a build that was killed", encoding="utf-8")
    bootstrap.write_record(clone, {})
    monkeypatch.setattr(bootstrap, "installer", lambda environment: fake_installer(environment, tmp_path / "log"))

    bootstrap.ensure(clone, PackageSet.RUN)

    assert clone.ready(PackageSet.RUN)
    assert not (clone.folder / "leftover").exists()
    assert not list(clone.root.glob("*discarded*"))


def test_failed_install_leaves_nothing_that_looks_ready(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        bootstrap, "installer", lambda environment: fake_installer(environment, tmp_path / "log", fail=True)
    )
    with pytest.raises(BootstrapError, match=r"requirements\.lock could not be installed"):
        bootstrap.ensure(clone, PackageSet.RUN)
    assert not clone.ready(PackageSet.RUN)
    assert sorted(path.name for path in clone.root.iterdir()) == [
        ".venv.lock",
        "requirements-dev.lock",
        "requirements-research.lock",
        "requirements.lock",
    ]


def test_failed_addition_keeps_what_backtests_need(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(clone, PackageSet.RUN)
    monkeypatch.setattr(
        bootstrap, "installer", lambda environment: fake_installer(environment, tmp_path / "log", fail=True)
    )
    with pytest.raises(BootstrapError):
        bootstrap.ensure(clone, PackageSet.DEVELOP)
    assert clone.ready(PackageSet.RUN)
    assert not clone.ready(PackageSet.DEVELOP)


def test_developer_set_is_added_to_a_ready_environment(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(clone, PackageSet.RUN)
    monkeypatch.setattr(bootstrap, "installer", lambda environment: fake_installer(environment, tmp_path / "log"))
    (clone.folder / "kept").write_text("", encoding="utf-8")

    bootstrap.ensure(clone, PackageSet.DEVELOP)

    assert (clone.folder / "kept").exists()
    assert clone.ready(PackageSet.RUN)
    assert clone.ready(PackageSet.DEVELOP)


@pytest.mark.parametrize("fail", [False, True])
def test_the_notebooks_packages_are_added_beside_the_developers(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fail: bool
) -> None:
    make_ready(clone, PackageSet.RUN, PackageSet.DEVELOP)
    monkeypatch.setattr(
        bootstrap, "installer", lambda environment: fake_installer(environment, tmp_path / "log", fail=fail)
    )
    if fail:
        with pytest.raises(BootstrapError):
            bootstrap.ensure(clone, PackageSet.RESEARCH)
    else:
        bootstrap.ensure(clone, PackageSet.RESEARCH)
    assert [clone.ready(each) for each in PackageSet] == [True, True, not fail]


def test_locks_name_a_package_in_one_version() -> None:
    """Either of the larger sets is added to what is there without taking it away: pip would replace another version."""
    known: dict[str, dict[str, set[str]]] = {}
    for name in bootstrap.LOCKS.values():
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for line in (line for line in lines if line[:1].isalnum()):
            package, _, version = line.removesuffix(" \\").partition("==")
            known.setdefault(package, {}).setdefault(name, set()).add(version.partition(" ")[0])
    assert {package: found for package, found in known.items() if len(set(map(frozenset, found.values()))) > 1} == {}
    assert "jupyterlab" in known
    assert "requirements.lock" not in known["jupyterlab"]
    both = set(known["numpy"])
    assert both == set(bootstrap.LOCKS.values())


def test_a_command_names_its_packages() -> None:
    wanted = {"backtest": PackageSet.RUN, "test": PackageSet.DEVELOP, "notebook": PackageSet.RESEARCH}
    assert {command: bootstrap.packages_of(command) for command in wanted} == wanted


def test_foreign_environment_is_never_deleted(clone: Environment) -> None:
    clone.folder.mkdir()
    with pytest.raises(BootstrapError, match=r"was not built by run\.py; rename or remove it"):
        bootstrap.ensure(clone, PackageSet.RUN)
    assert clone.folder.exists()


def test_full_disk_is_said_with_both_figures(clone: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5_000_000})())
    with pytest.raises(BootstrapError, match=r"5 MB free, 700 MB needed") as caught:
        bootstrap.ensure(clone, PackageSet.RUN)
    assert "\n" not in str(caught.value)
    assert not clone.folder.exists()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("error: Failed to fetch: `https://x/simple/numpy/`\n dns error", "PyPI is not reachable"),
        ("WARNING: Retrying ... NewConnectionError ... Failed to establish a new connection", "PyPI is not reachable"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "MB needed"),
        ("Error: ... ensurepip is not available ...", "install uv"),
        ("building\nerror: hash mismatch for numpy\n", "could not be installed: error: hash mismatch for numpy"),
        ("", "the installer gave no reason"),
    ],
)
def test_installer_failures_become_one_line(clone: Environment, output: str, expected: str) -> None:
    line = bootstrap.explain(output, clone, PackageSet.RUN)
    assert expected in line
    assert "\n" not in line


def test_missing_lock_file_is_named(clone: Environment) -> None:
    (clone.root / "requirements.lock").unlink()
    with pytest.raises(BootstrapError, match=r"requirements\.lock is missing"):
        bootstrap.ensure(clone, PackageSet.RUN)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_clone_is_one_line(clone: Environment) -> None:
    clone.root.chmod(0o500)
    try:
        with pytest.raises(BootstrapError, match="must be writable"):
            bootstrap.ensure(clone, PackageSet.RUN)
    finally:
        clone.root.chmod(0o700)


def test_concurrent_first_runs_build_once(clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"

    def slow_installer(environment: Environment) -> bootstrap.Installer:
        time.sleep(0.3)
        return fake_installer(environment, log)

    monkeypatch.setattr(bootstrap, "installer", slow_installer)
    threads = [threading.Thread(target=bootstrap.ensure, args=(clone, PackageSet.RUN)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert log.read_text(encoding="utf-8") == "x"
    assert clone.ready(PackageSet.RUN)


def test_record_is_replaced_in_one_step(clone: Environment) -> None:
    bootstrap.write_record(clone, {"run": "a"})
    bootstrap.write_record(clone, {"run": "b"})
    assert json.loads(clone.record.read_text(encoding="utf-8")) == {"run": "b"}
    assert [path.name for path in clone.root.glob(".venv.json*")] == [".venv.json"]


# --- the whole command ------------------------------------------------------------------------------------------------


@pytest.fixture
def handed_over(clone: Environment, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A ready clone whose commands are noted instead of run."""
    make_ready(clone, PackageSet.RUN, PackageSet.DEVELOP)
    noted: list[list[str]] = []

    def note(python: Path, arguments: Sequence[str]) -> int:
        noted.append([str(python), *arguments])
        return 0

    monkeypatch.setattr(bootstrap, "ROOT", clone.root)
    monkeypatch.setattr(bootstrap, "hand_over", note)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # else this process is told a place in the clone
    return noted


def test_commands_go_on_inside_the_environment(clone: Environment, handed_over: list[list[str]]) -> None:
    assert bootstrap.main(["backtest", "--seed", "2"]) == 0
    assert handed_over == [[str(clone.python), str(clone.root / "run.py"), "backtest", "--seed", "2"]]


def test_tools_come_from_the_environment(clone: Environment, handed_over: list[list[str]]) -> None:
    assert bootstrap.main(["tool", "ruff", "check", "."]) == 0
    assert handed_over == [[str(clone.python), "-m", "ruff", "check", "."]]


def test_a_build_that_fails_is_exit_code_two(
    clone: Environment,
    handed_over: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clone.record.unlink()
    assert bootstrap.main(["backtest"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert handed_over == []


def test_usage_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"run.py {name}" in said for name in COMMANDS)


@pytest.mark.parametrize(
    ("forbidden", "prefix", "after"),
    [(True, None, (False, "bytecode")), (True, "/own", (True, "own")), (False, None, (False, None))],
)
def test_bytecode_that_may_not_lie_beside_the_sources_lies_in_the_environment(
    clone: Environment,
    monkeypatch: pytest.MonkeyPatch,
    forbidden: bool,
    prefix: str | None,
    after: tuple[bool, str | None],
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", forbidden)
    monkeypatch.setattr(sys, "pycache_prefix", prefix)
    found = {bootstrap.NO_BYTECODE: "1" if forbidden else "", bootstrap.BYTECODE_PLACE: prefix or ""}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    bootstrap.keep_bytecode(clone)
    place = None if sys.pycache_prefix is None else Path(sys.pycache_prefix).name
    assert (sys.dont_write_bytecode, place) == after
    # A process that this one starts is told the same.
    asked = [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode, sys.pycache_prefix)"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert told == f"{sys.dont_write_bytecode} {sys.pycache_prefix}\n"


def test_handing_over_replaces_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReplacedError(Exception):
        """Stands for the process that goes on as another."""

    def replace(path: str, command: Sequence[str]) -> None:
        raise ReplacedError([path, *command])

    monkeypatch.setattr("os.execv", replace)
    with pytest.raises(ReplacedError) as caught:
        bootstrap.hand_over(Path("python"), ["a b"])
    assert caught.value.args[0] == ["python", "python", "a b"]


def test_uv_is_used_only_when_it_runs(clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(broken))
    assert bootstrap.installer(clone).create[1:3] == ["-m", "venv"]
    broken.write_text("#!/bin/sh\necho uv 1\n", encoding="utf-8")
    assert bootstrap.installer(clone).install[:3] == [str(broken), "pip", "install"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert bootstrap.installer(clone).install[:4] == [str(clone.python), "-m", "pip", "install"]


# --- a new user's first use ------------------------------------------------------------------------------------------


def test_locks_are_installed_without_resolving(clone: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's hash mode asks for pins of extras (coverage[toml]) unless it is told that the lock is the whole set."""
    ran: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "execute", lambda command, environment, wanted: ran.append(list(command)))
    monkeypatch.setattr(shutil, "which", lambda name, **options: None)  # a machine without uv
    bootstrap.ensure(clone, PackageSet.DEVELOP)
    created, installed = ran
    assert created[1:] == ["-m", "venv", str(clone.folder)]
    assert installed[:4] == [str(clone.python), "-m", "pip", "install"]
    assert installed[-3:] == ["--no-deps", "-r", str(clone.root / "requirements-dev.lock")]


def test_the_first_use_is_tried_without_uv(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    uv = tmp_path / "b" / ("uv.bat" if os.name == "nt" else "uv")
    uv.write_text("", encoding="utf-8")
    uv.chmod(0o755)
    path = os.pathsep.join(str(tmp_path / name) for name in ("a", "b"))
    assert checks.without("uv", path) == str(tmp_path / "a")


@pytest.mark.parametrize(
    ("code", "uv", "expected", "words"),
    [
        (0, "", 0, "all sets of packages were built by pip alone"),
        (0, "uv = 0.9.0\n", 1, "the environment was built by uv"),
        (2, "", 1, "scenario --list: exit code 2"),
    ],
)
def test_a_first_use_that_fails_is_red(
    code: int,
    uv: str,
    expected: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == "git":
            made = Environment(Path(command[-1]))
            made.folder.mkdir(parents=True)
            for name in bootstrap.LOCKS.values():
                (made.root / name).write_text("", encoding="utf-8")
            (made.folder / "pyvenv.cfg").write_text(f"home = x\n{uv}", encoding="utf-8")
            made.python.parent.mkdir(parents=True, exist_ok=True)
            made.python.touch()
            bootstrap.write_record(made, {str(one): made.stamp(one) for one in PackageSet})
            return subprocess.CompletedProcess(command, 0, "", "")
        assert shutil.which("uv", path=options["env"]["PATH"]) is None
        return subprocess.CompletedProcess(command, code, "", "error: In --require-hashes mode\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert checks.first_use() == expected
    assert words in capsys.readouterr().out


def test_ci_tries_the_first_use() -> None:
    assert "run.py test --first-use" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")

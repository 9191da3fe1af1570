"""Build the project's own environment on first use, then run a command inside it.

Standard library only: this runs before anything is installed. Three sets of pinned packages exist, each with a lock
file: ``requirements.lock`` (what a backtest needs, small), ``requirements-dev.lock`` (the same and what ``test``
needs) and ``requirements-research.lock`` (the first and what ``notebook`` needs). What two of them name, they name in
one version, so that either can be added to what is there.

The environment lives in ``.venv``; ``.venv.json`` says which locks it was built from, and is written last. One
without a matching record is thrown away and built again, so an interrupted first run heals itself. ``.venv.lock`` makes
concurrent first runs wait for one builder; the operating system releases it when that process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

USAGE = """\
Tom King Trading System

  python run.py backtest            run main.py over real S&P 500 and VIX history; a report is left in backtests/
  python run.py test                everything that CI runs: format, lint, types, import contract, placeholders, tests
  python run.py runs                the runs in backtests/; elsewhere a run is named by its name, by latest or by folder
  python run.py trades latest       the closed trades of a run; --csv for a spreadsheet
  python run.py explain 2018-02-02  the life of a day, a position or an order group, from a run's journal
  python run.py compare ONE TWO     two runs beside each other, and the decisions that differ
  python run.py status              how a rehearsal, LEAN's store or a run stands: positions, orders, locks, windows
  python run.py settings vix        every setting with that word: meaning, type, range, default, where it is read
  python run.py grid --help         many runs at once: values of settings, seeds, scenarios; a heat map of the results
  python run.py montecarlo --help   years that never happened: what return, drawdown and ruin are distributed like
  python run.py scenario --list     named days and weeks that the system must survive, for example August 5, 2024
  python run.py rehearse --help     a day as live in the terminal: commands, kills, quotes that stop, restarts
  python run.py soak --help         a year with faults, or a night as live, in one process: memory and handles by month
  python run.py notebook            research.ipynb in JupyterLab: runs as data frames, chains, smiles, payoffs, regimes
  python run.py broker --help       what tastytrade says of an account beside the state; an order's dry run
  python run.py faults --help       weeks over a broker that fails in every way that a seed brings
  python run.py data --help         write the modelled market as a LEAN data folder
  python run.py cloud --help        make the project folder for QuantConnect's cloud, within its limits on files
  python run.py regress --help      run LEAN's own regression algorithms on the embedded engine
  python run.py tool ruff check .   any tool of the pinned environment

  python run.py completion bash     what completes commands and options in bash, zsh or fish
  python run.py --version           which version this is
  python run.py COMMAND --help      explains each option with an example

The first use builds the environment in .venv (one to two minutes, needs PyPI); later uses start at once.
"""


class BootstrapError(Exception):
    """The environment could not be built; the message is one line that says what was wrong and what would be right."""


class PackageSet(StrEnum):
    """Which packages a command needs."""

    RUN = "run"
    DEVELOP = "develop"
    RESEARCH = "research"


LOCKS = {
    PackageSet.RUN: "requirements.lock",
    PackageSet.DEVELOP: "requirements-dev.lock",
    PackageSet.RESEARCH: "requirements-research.lock",
}
# Measured on Linux x86-64, unpacked, and rounded up: numerical libraries are most of it.
DISK_NEEDED = {PackageSet.RUN: 700_000_000, PackageSet.DEVELOP: 1_300_000_000, PackageSet.RESEARCH: 1_100_000_000}
NO_BYTECODE, BYTECODE_PLACE = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"
DEVELOPER_COMMANDS = ("grid", "montecarlo", "test", "tool")
RESEARCH_COMMANDS = ("notebook",)
NETWORK_SIGNS = (
    "connection refused",
    "dns error",
    "error sending request",
    "failed to establish",
    "failed to fetch",
    "name resolution",
    "network connectivity is disabled",
    "network is unreachable",
    "newconnectionerror",
    "temporary failure",
    "timed out",
)
DISK_SIGNS = ("no space left", "disk quota exceeded", "not enough space")


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the environment of one clone is, and how it is recognised."""

    root: Path

    @property
    def folder(self) -> Path:
        """The virtual environment itself."""
        return self.root / ".venv"

    @property
    def record(self) -> Path:
        """The file that says from which locks ``folder`` was built; absent while it is being built."""
        return self.root / ".venv.json"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return self.folder.joinpath(*inside)

    def stamp(self, wanted: PackageSet) -> str:
        """Identity of a package set on this machine: its lock file's text, the Python version and the platform."""
        text = (self.root / LOCKS[wanted]).read_text(encoding="utf-8")
        identity = "\n".join((text, platform.python_version(), platform.machine(), sys.platform))
        return hashlib.sha256(identity.encode("utf-8")).hexdigest()

    def installed(self) -> dict[str, str] | None:
        """Stamps of the sets that are wholly installed; empty while unfinished, None when no record exists."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}  # torn by a crash: the same as unfinished
        return {str(key): str(value) for key, value in record.items()} if isinstance(record, dict) else {}

    def ready(self, wanted: PackageSet) -> bool:
        """Whether ``wanted`` is wholly installed from the lock as it is now."""
        installed = self.installed() or {}
        return installed.get(wanted) == self.stamp(wanted) and self.python.exists()


def main(arguments: Sequence[str]) -> int:
    """Run one command line: usage, an environment's tool, or a command of ``cli.app``. Returns the exit code."""
    from cli.errors import StoppedError, fold, make_lenient, stoppable

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        fold()
        sys.stdout.write(USAGE)
        return 0
    if arguments[0] in ("-V", "--version", "version"):
        sys.stdout.write(f"Tom King Trading System {version(ROOT)}, Python {platform.python_version()}\n")
        return 0
    wanted = packages_of(arguments[0])
    environment = Environment(ROOT)

    make_lenient()
    try:
        with stoppable():
            ensure(environment, wanted)
    except BootstrapError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except StoppedError as stop:
        sys.stderr.write(f"error: {stop.words} while building .venv; the next run builds it again\n")
        return stop.code
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted while building .venv; the next run builds it again\n")
        return 2
    keep_bytecode(environment)
    if arguments[0] == "tool":
        return hand_over(environment.python, ["-m", *arguments[1:]])
    if inside(environment):
        from cli.app import run

        return run(arguments)
    return hand_over(environment.python, [str(environment.root / "run.py"), *arguments])


def packages_of(command: str) -> PackageSet:
    """Which packages a command needs."""
    if command in RESEARCH_COMMANDS:
        return PackageSet.RESEARCH
    return PackageSet.DEVELOP if command in DEVELOPER_COMMANDS else PackageSet.RUN


def keep_bytecode(environment: Environment) -> None:
    """Where Python is told to write no bytecode (PYTHONDONTWRITEBYTECODE), keep it inside ``.venv``, beside nothing.

    Without it each command compiles some thousand files anew, which takes longer than most commands. Processes that
    this one starts are told the same: pytest and its workers, a child of a test, a tool.
    """
    if sys.dont_write_bytecode and sys.pycache_prefix is None:
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(environment.folder.resolve() / "bytecode")
        os.environ.pop(NO_BYTECODE, None)
        os.environ[BYTECODE_PLACE] = sys.pycache_prefix


def version(root: Path) -> str:
    """The project's version, and the commit where git knows it."""
    import tomllib

    stated = str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    try:
        asked = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
        commit = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return f"{stated} ({commit})" if commit else stated


def inside(environment: Environment) -> bool:
    """Whether this process already runs in the environment."""
    return environment.folder.exists() and os.path.samefile(sys.prefix, environment.folder)


def hand_over(python: Path, arguments: Sequence[str]) -> int:
    """Go on as ``python`` with ``arguments``; the working folder and the environment variables stay."""
    command = [str(python), *arguments]
    sys.stdout.flush()
    if os.name == "nt":
        # Windows has no exec that keeps the console attached: wait for a child instead.
        return subprocess.call(command)
    os.execv(command[0], command)


def ensure(environment: Environment, wanted: PackageSet) -> None:
    """Make ``wanted`` wholly installed, building or rebuilding the environment when needed.

    Raises:
        BootstrapError: it cannot be done; nothing half-built will be taken for ready.
    """
    try:
        if environment.ready(wanted):
            return
        with exclusive(environment.root / ".venv.lock"):
            if not environment.ready(wanted):
                build(environment, wanted)
    except OSError as error:
        raise BootstrapError(describe_os_error(error, environment, wanted)) from error


def build(environment: Environment, wanted: PackageSet) -> None:
    """Build from nothing, or add packages to a ready environment. Call with the lock held."""
    installed = environment.installed()
    if installed is None and environment.folder.exists():
        raise BootstrapError(
            f"{environment.folder} exists but was not built by run.py; rename or remove it, then run this again"
        )
    if inside(environment):
        raise BootstrapError(
            f"the environment is out of date and cannot rebuild itself; start it with the Python outside: "
            f"{getattr(sys, '_base_executable', 'python3.11')} run.py"
        )
    check_disk(environment, wanted)
    for leftover in (*environment.root.glob(".venv-discarded-*.tmp"), *environment.root.glob(".venv.json.*.tmp")):
        discard(leftover)  # of builds that were killed: the lock says that none is at work
    started = time.monotonic()
    before = [each for each in PackageSet if environment.ready(each)]
    usable = PackageSet.RUN in before
    write_record(environment, {})
    if not usable:
        before = []
        discard(environment.folder)
    say(f"{f'adding the {wanted} packages to' if usable else 'building'} {environment.folder} (first use only) ...")
    tool = installer(environment)
    try:
        if not usable:
            execute(tool.create, environment, wanted)
        # The lock is the whole set: resolving again would make pip's hash mode ask for pins of extras (coverage[toml]).
        execute([*tool.install, "--no-deps", "-r", str(environment.root / LOCKS[wanted])], environment, wanted)
    except BaseException:  # also when it was told to stop
        undo(environment, before)
        raise
    record(environment, (*before, PackageSet.RUN, wanted))
    say(f"ready after {time.monotonic() - started:.0f} s")


def record(environment: Environment, sets: Sequence[PackageSet]) -> None:
    """Note which sets are wholly installed."""
    write_record(environment, {str(each): environment.stamp(each) for each in sets})


def undo(environment: Environment, before: Sequence[PackageSet]) -> None:
    """After a failed build: leave nothing, or the ready environment that was only to be added to.

    The locks hold the same versions, so a failed addition has not touched what was there.
    """
    if before:
        record(environment, before)
        return
    discard(environment.folder)
    environment.record.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Installer:
    """Commands that create the environment and install into it."""

    create: list[str]
    install: list[str]


def installer(environment: Environment) -> Installer:
    """uv when it works on this machine, else the standard library's venv with pip."""
    folder, python = str(environment.folder), str(environment.python)
    uv = shutil.which("uv")
    if uv is not None and answers(uv):
        create = [uv, "venv", "--quiet", "--no-project", "--no-config", "--python", sys.executable, folder]
        return Installer(create, [uv, "pip", "install", "--quiet", "--no-progress", "--python", python])
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"]
    return Installer([sys.executable, "-m", "venv", folder], [python, *pip])


def answers(uv: str) -> bool:
    """Whether ``uv`` really runs: version managers leave stand-ins on the path that do not."""
    try:
        return subprocess.run([uv, "--version"], capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def execute(command: Sequence[str], environment: Environment, wanted: PackageSet) -> None:
    """Run one step of the build; its output is shown only as the one line that explains a failure."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise BootstrapError(explain(done.stdout + "\n" + done.stderr, environment, wanted))


def explain(output: str, environment: Environment, wanted: PackageSet) -> str:
    """One line for an installer's failure: no disk, no network, no ensurepip, or the installer's own last words."""
    low = output.lower()
    if any(sign in low for sign in DISK_SIGNS):
        return disk_message(environment, wanted)
    if "ensurepip" in low:
        return "this Python has no ensurepip; install uv (pip install uv) or your system's python3.11-venv package"
    if any(sign in low for sign in NETWORK_SIGNS):
        return (
            "the packages could not be fetched: PyPI is not reachable from here. Check the network, the proxy "
            "(HTTPS_PROXY) or the package index (PIP_INDEX_URL, UV_INDEX_URL), then run this again"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines or ["the installer gave no reason"]
    return f"the packages of {LOCKS[wanted]} could not be installed: {telling[-1][:300]}"


def describe_os_error(error: OSError, environment: Environment, wanted: PackageSet) -> str:
    """One line for a failure of the file system under the environment."""
    if error.errno is not None and "no space" in os.strerror(error.errno).lower():
        return disk_message(environment, wanted)
    if isinstance(error, FileNotFoundError) and error.filename and str(error.filename).endswith(".lock"):
        return f"{error.filename} is missing; the clone is not whole: git checkout -- {Path(error.filename).name}"
    return (
        f"{error.filename or environment.folder}: {error.strerror or error}; the folder of the clone must be writable"
    )


def check_disk(environment: Environment, wanted: PackageSet) -> None:
    """Refuse to begin where the packages cannot fit."""
    if shutil.disk_usage(environment.root).free < DISK_NEEDED[wanted]:
        raise BootstrapError(disk_message(environment, wanted))


def disk_message(environment: Environment, wanted: PackageSet) -> str:
    """One line for a full disk: what is free, what is needed, and where."""
    free = shutil.disk_usage(environment.root).free
    return (
        f"not enough disk space in {environment.root}: {free / 1e6:,.0f} MB free, "
        f"{DISK_NEEDED[wanted] / 1e6:,.0f} MB needed for .venv"
    )


def write_record(environment: Environment, stamps: dict[str, str]) -> None:
    """Replace the record in one step, so that it is never seen half-written."""
    fresh = environment.record.with_name(f".venv.json.{os.getpid()}.tmp")
    fresh.write_text(json.dumps(stamps), encoding="utf-8")
    os.replace(fresh, environment.record)


def discard(folder: Path) -> None:
    """Take a folder out of the way in one step, then delete it."""
    if not folder.exists():
        return
    if folder.is_file():
        folder.unlink()
        return
    doomed = folder.with_name(f".venv-discarded-{os.getpid()}.tmp")
    if folder != doomed:
        os.replace(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold ``path`` as a lock between processes, waiting for whoever holds it."""
    with path.open("a+b") as handle:
        acquire, release = locking(handle.fileno())
        told = False
        while not acquire():
            if not told:
                say("another run is building the environment; waiting for it ...")
                told = True
            time.sleep(0.2)
        try:
            yield
        finally:
            release()


def locking(descriptor: int) -> tuple[Callable[[], bool], Callable[[], None]]:
    """Try-to-lock and unlock on an open file, by whatever the operating system offers."""
    if sys.platform == "win32":
        import msvcrt

        def acquire() -> bool:
            os.lseek(descriptor, 0, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError:
                return False
            return True

        def release() -> None:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    else:
        import fcntl

        def acquire() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        def release() -> None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    return acquire, release


def say(text: str) -> None:
    """A line of progress for the person waiting; never mixed into a command's own output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

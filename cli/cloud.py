"""``python run.py cloud``: a project folder for QuantConnect's cloud, within its limits on files.

What main.py imports becomes few files of many modules, as text, by size. Nothing is compressed or encoded: a person
reads what trades their money. The same source gives the same bytes.
"""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import UserError
from core.storage import replace_file

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "config.json"
NOTEBOOK = "research.ipynb"
LEANS_KEYS = ("cloud-id", "local-id", "organization-id", "libraries", "encrypted", "encryption-key-path")
"""What the lean command line writes into a project's config.json; a folder made anew keeps it."""
LEANS_FOLDERS = ("backtests", "live", "optimizations", "storage", "report", "__pycache__")
_OURS = re.compile(r"main\.py|research\.ipynb|config\.json|tomking_(finder|\d\d)\.py")
_HEAD = re.compile(r"# Tom King Trading System \S+, .*, for (?P<title>[A-Z][A-Za-z ]*?)(?P<compact>, compact)?\.")
ENTRY = "main.py"
LEANS_OWN = frozenset({"AlgorithmImports", "QuantConnect", "System", "clr"})
IMAGE_PACKAGES = Path(__file__).with_name("lean_image_packages.txt")
SEEN_IN_IMAGE = frozenset({"pydantic"})
"""Not in the list, which names what was asked for: there as a dependency of langchain, and main.py ran with it."""
ROOM_TO_SPARE = 0.94  # of a file's quota: the documentation does not say whether a KB is 1,000 bytes or 1,024
QUOTE = "'''"


class Tier(StrEnum):
    """QuantConnect's accounts, by the names that the command takes."""

    FREE = "free"
    RESEARCHER = "researcher"
    TEAM = "team"
    FIRM = "firm"
    INSTITUTION = "institution"


@dataclass(frozen=True, slots=True)
class Quota:
    """How many files a project may have, and how many bytes each.

    Source: QuantConnect's documentation, Projects > Files > Quotas, September 2026.
    """

    title: str
    files: int
    file_bytes: int

    @property
    def usable_bytes(self) -> int:
        """Bytes that a file is filled up to."""
        return int(self.file_bytes * ROOM_TO_SPARE)


QUOTAS: Mapping[Tier, Quota] = {
    Tier.FREE: Quota("Free", 25, 32_000),
    Tier.RESEARCHER: Quota("Quant Researcher", 50, 64_000),
    Tier.TEAM: Quota("Team", 75, 128_000),
    Tier.FIRM: Quota("Trading Firm", 100, 256_000),
    Tier.INSTITUTION: Quota("Institution", 250, 256_000),
}


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of each file says of where it comes from; ``commit`` is in words ("commit 9a75353")."""

    version: str
    commit: str
    tier: Tier
    compact: bool

    @property
    def words(self) -> str:
        """One line; two folders of one source and one commit have the same."""
        form = ", compact" if self.compact else ""
        return f"Tom King Trading System {self.version}, {self.commit}, for {QUOTAS[self.tier].title}{form}"


def texts_of(root: Path) -> dict[str, str]:
    """Text by path of every module of ours that main.py needs when it runs, main.py first, then by path.

    Imports within functions count, those for type checkers alone do not. Raises UserError for one that imports a
    package which LEAN's image has not.
    """
    found: dict[str, str] = {}
    imported: dict[str, tuple[str, ...]] = {}
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = (root / name).read_text(encoding="utf-8")
        imported[name] = tuple(dict.fromkeys(_imported(ast.parse(found[name], name))))
        for module in imported[name]:
            waiting.extend(_files_of(module, root))
    _refuse_foreign(imported, root)
    return {name: found[name] for name in sorted(found, key=lambda name: (name != ENTRY, name))}


def _imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a module imports when it runs, with what is taken from packages (it may be a module)."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running(tree: ast.AST) -> Iterator[ast.stmt]:
    """Every statement but those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield other
                yield from _running(other)
        elif isinstance(node, ast.stmt):
            yield node
            yield from _running(node)
        elif isinstance(node, ast.ExceptHandler | ast.match_case):  # no statement, and holds some
            yield from _running(node)


def _files_of(module: str, root: Path) -> Iterator[str]:
    """Files of ours that importing a dotted name runs: its packages' and its own."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        place = "/".join(parts[:count])
        for name in (f"{place}/__init__.py", f"{place}.py"):
            if (root / name).is_file():
                yield name


def _refuse_foreign(imported: Mapping[str, Sequence[str]], root: Path) -> None:
    """Raises UserError for the first module that imports what neither Python, LEAN's image nor this project has."""
    available = {_plain(line.split("==")[0]) for line in IMAGE_PACKAGES.read_text(encoding="utf-8").split()}
    distributions = _distributions()
    for path, modules in imported.items():
        for module in modules:
            top = module.split(".")[0]
            if top in LEANS_OWN or top in sys.stdlib_module_names or any(_files_of(top, root)):
                continue
            if {_plain(name) for name in distributions.get(top, [top])}.isdisjoint(available | SEEN_IN_IMAGE):
                raise UserError(
                    f"{path} imports {top}, which LEAN's image has not; expected Python's own modules or a package "
                    f"of cli/{IMAGE_PACKAGES.name}"
                )


@cache
def _distributions() -> Mapping[str, Sequence[str]]:
    """Packages to install by the name that is imported, as this environment has them."""
    return packages_distributions()


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def compacted(text: str) -> str:
    """A module without comments and docstrings; what is left stays on its line, so that tracebacks stay true."""
    dropped = _docstrings(ast.parse(text))
    lines = text.splitlines()
    for (row, column), (last, end), kept in sorted(dropped, reverse=True):
        rest = lines[last - 1][end:]
        lines[row - 1 : last] = [lines[row - 1][:column] + kept + rest, *[""] * (last - row)]
    return "\n".join(line.rstrip() for line in _without_comments(lines)) + "\n"


def _docstrings(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    """Where bare strings stand, each with what takes its place: ``...`` where the body holds nothing else."""
    found = []
    for node in ast.walk(tree):
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            if not isinstance(body, list):
                continue
            strings = [row for row in body if _is_string(row)]
            for row in strings:
                kept = "..." if len(strings) == len(body) and row is strings[0] else ""
                found.append(
                    ((row.lineno, row.col_offset), (row.end_lineno or row.lineno, row.end_col_offset or 0), kept)
                )
    return found


def _is_string(row: ast.AST) -> bool:
    return isinstance(row, ast.Expr) and isinstance(row.value, ast.Constant) and isinstance(row.value.value, str)


def _without_comments(lines: list[str]) -> list[str]:
    """Comments cut off; strings that hold a number sign stay as they are."""
    kept = list(lines)
    reader = io.StringIO("\n".join(lines) + "\n").readline
    for token in tokenize.generate_tokens(reader):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            kept[row - 1] = kept[row - 1][:column]
    return kept


def written(texts: Mapping[str, str], head: Head, extra: Mapping[str, str]) -> dict[str, str]:
    """The folder's files by name: main.py, the finder, the bundles, and ``extra`` as it is.

    Raises UserError with the numbers when a file or their count goes over the quota.
    """
    quota = QUOTAS[head.tier]
    form = {name: compacted(text) if head.compact else text for name, text in texts.items()}
    finder = Path(__file__).with_name("bundle_finder.py").read_text(encoding="utf-8")
    files = {ENTRY: _main(form.pop(ENTRY), head)}
    files["tomking_finder.py"] = f"# {head.words}.\n{compacted(finder) if head.compact else finder}"
    groups = _packed({name: _entry(name, text) for name, text in form.items()}, quota, head)
    for number, group in enumerate(groups, 1):
        files[f"tomking_{number:02}.py"] = _bundle(group, head, number, len(groups))
    files.update(extra)
    _check_sizes(files, head)
    return files


def _main(text: str, head: Head) -> str:
    """main.py with its head, and the finder imported before the first module of ours."""
    own = [
        node.lineno
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.module not in LEANS_OWN and _is_ours(node.module or "")
    ]
    if not own:
        raise UserError(f"{ENTRY}: imports nothing of this project; expected the trading system")
    lines = text.splitlines(keepends=True)
    lines.insert(own[0] - 1, "import tomking_finder  # noqa: F401 - finds what follows in tomking_01.py and on\n")
    return f"# {head.words}.\n# Made by `python run.py cloud`: change the source, not this file.\n" + "".join(lines)


def _is_ours(module: str) -> bool:
    top = module.split(".")[0]
    return top not in sys.stdlib_module_names and top not in _distributions()


def _entry(name: str, text: str) -> str:
    if QUOTE in text or text.startswith("'"):
        raise UserError(f'{name}: holds {QUOTE}; expected """ alone, since bundles hold modules between {QUOTE}')
    return f"\n# {'-' * 30} {name} {'-' * max(85 - len(name), 1)}\nMODULES[{name!r}] = r{QUOTE}{text}{QUOTE}\n"


def _bundle(group: Mapping[str, str], head: Head, number: int, count: int) -> str:
    return _preface(group, head, f"{number} of {count}") + "".join(group.values())


def _preface(names: Iterable[str], head: Head, which: str) -> str:
    listed = "\n".join(f"    {name}" for name in names)
    return (
        f'"""{head.words}: bundle {which}.\n\nMade by `python run.py cloud`: change the source, not this file.\n'
        f"tomking_finder.py compiles each of these under its own name:\n\n{listed}\n"
        '"""\n\nMODULES: dict[str, str] = {}\n'
    )


def _packed(entries: Mapping[str, str], quota: Quota, head: Head) -> list[dict[str, str]]:
    """Entries in their order, as many to a file as fit."""
    groups: list[dict[str, str]] = [{}]
    for name, text in entries.items():
        trial = {**groups[-1], name: text}
        if groups[-1] and _size(_bundle(trial, head, 99, 99)) > quota.usable_bytes:
            trial = {name: text}
            groups.append(trial)
        groups[-1] = trial
    return groups


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _check_sizes(files: Mapping[str, str], head: Head) -> None:
    quota = QUOTAS[head.tier]
    sizes = {name: _size(text) for name, text in files.items() if pushed(name)}
    total = sum(sizes.values())
    way_out = "" if head.compact else "; --compact leaves out docstrings and comments"
    large = [f"{name} {size:,} bytes" for name, size in sizes.items() if size > quota.usable_bytes]
    if large:
        raise UserError(
            f"--tier {head.tier.value}: {', '.join(large)}; {quota.title} takes files up to {quota.file_bytes:,} "
            f"bytes, filled up to {quota.usable_bytes:,} here{way_out}"
        )
    if len(sizes) > quota.files:
        raise UserError(
            f"--tier {head.tier.value}: {len(sizes)} files of {total:,} bytes; {quota.title} takes {quota.files} files "
            f"of {quota.file_bytes:,} bytes{way_out}"
        )


def pushed(name: str) -> bool:
    """Whether `lean cloud push` uploads a file of this name (lean 1.0.230, ProjectManager.get_source_files)."""
    return name.endswith((".py", ".ipynb", ".cs", ".css", ".html"))


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> Sequence[str]:
    """Names of files that are missing, are too many or differ, each with which it is; the same order each time."""
    words = []
    for name in sorted({*wanted, *found}):
        if name not in found:
            words.append(f"{name}: missing")
        elif name not in wanted:
            words.append(f"{name}: not made of this source")
        elif wanted[name] != found[name]:
            words.append(f"{name}: differs")
    return words


def cloud(
    out: Annotated[Path | None, typer.Option(help="Folder to make, or to make anew. Example: --out tom-king")] = None,
    check: Annotated[
        Path | None, typer.Option(help="Folder to compare with this source; writes nothing. Example: --check tom-king")
    ] = None,
    tier: Annotated[Tier, typer.Option(help="Account that it must fit into. Example: --tier free")] = Tier.RESEARCHER,
    compact: Annotated[bool, typer.Option(help="Leave out docstrings and comments, for small accounts.")] = False,
) -> int:
    """Make the project folder that `lean cloud push` takes: main.py, and what it imports in a few files of text.

    Examples:

    python run.py cloud --out tom-king

    python run.py cloud --out tom-king --tier free --compact

    python run.py cloud --check tom-king
    """
    if (out is None) == (check is None):
        raise UserError("cloud: expected either --out FOLDER or --check FOLDER")
    if check is not None:
        return _check(check)
    assert out is not None
    files = project_files(ROOT, Head(version(ROOT), commit(ROOT), tier, compact))
    write_folder(out, files)
    sizes = [len(text.encode("utf-8")) for name, text in files.items() if pushed(name)]
    quota = QUOTAS[tier]
    typer.echo(
        f"{out}: {len(sizes)} files that a push uploads, {sum(sizes):,} bytes, the largest {max(sizes):,}; "
        f"{quota.title} takes {quota.files} files of {quota.file_bytes:,} bytes"
    )
    typer.echo(f"push it with: lean cloud push --project {out.name}   (in the workspace folder that holds it)")
    return 0


def project_files(root: Path, head: Head) -> dict[str, str]:
    """Every file of the folder by name, made of the source at ``root``. Raises UserError for what does not fit."""
    config: dict[str, Any] = json.loads((root / CONFIG).read_text(encoding="utf-8"))
    own = {key: value for key, value in config.items() if key not in LEANS_KEYS}
    extra = {
        NOTEBOOK: (root / NOTEBOOK).read_text(encoding="utf-8"),
        CONFIG: json.dumps(own, indent=4) + "\n",
    }
    return written(texts_of(root), head, extra)


def write_folder(out: Path, files: dict[str, str]) -> None:
    """Put the files into a folder that is new, empty or was made before; what lean noted in config.json stays.

    Raises UserError for a folder that holds anything else.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {out} is a file; expected a folder")
    present = visible(out) if out.is_dir() else {}
    if present and made_by(out) is None:
        raise UserError(
            f"--out: {out} holds {sorted(present)[0]}; expected a new folder, or one that this command made"
        )
    foreign = [name for name in present if pushed(name) and not _OURS.fullmatch(name)]
    if foreign:
        raise UserError(f"--out: {out} holds {foreign[0]}, which a push would upload too; move it away")
    out.mkdir(parents=True, exist_ok=True)
    noted = leans_notes(out / CONFIG)
    for name in present:
        if _OURS.fullmatch(name) and name not in files:
            (out / name).unlink()
    for name, text in files.items():
        if name == CONFIG:
            text = json.dumps({**json.loads(text), **noted}, indent=4) + "\n"
        replace_file(out / name, text, durable=False)


def visible(folder: Path) -> dict[str, str]:
    """Text by name of the folder's files, config.json without what lean noted in it; lean's own folders left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") or part in LEANS_FOLDERS for part in inside.parts):
            continue
        found[inside.as_posix()] = path.read_bytes().decode("utf-8", errors="replace")
    if CONFIG in found:
        noted = leans_notes(folder / CONFIG)
        config = {key: value for key, value in _read(folder / CONFIG).items() if key not in noted}
        found[CONFIG] = json.dumps(config, indent=4) + "\n"
    return found


def leans_notes(path: Path) -> dict[str, Any]:
    """What the lean command line noted in a config.json; nothing where there is none."""
    return {key: value for key, value in _read(path).items() if key in LEANS_KEYS}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}  # a damaged one is written anew, and differs from what it should be
    return content if isinstance(content, dict) else {}


def made_by(folder: Path) -> tuple[Tier, bool] | None:
    """For which account a folder was made, and whether compact; ``None`` for one that this command did not make."""
    try:
        first = (folder / ENTRY).read_text(encoding="utf-8").split("\n", 1)[0]
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    match = _HEAD.fullmatch(first)
    tiers = {quota.title: tier for tier, quota in QUOTAS.items()}
    if match is None or match["title"] not in tiers:
        return None
    return tiers[match["title"]], match["compact"] is not None


def _check(folder: Path) -> int:
    if not folder.is_dir():
        raise UserError(f"--check: {folder} is no folder; expected one that `python run.py cloud --out` made")
    made = made_by(folder)
    if made is None:
        raise UserError(f"--check: {folder} was not made by `python run.py cloud --out`: its {ENTRY} has no such head")
    wanted = project_files(ROOT, Head(version(ROOT), commit(ROOT), *made))
    found = {name: text for name, text in visible(folder).items() if name in wanted or pushed(name)}
    words = differences(wanted, found)
    if not words:
        typer.echo(f"{folder}: what this source makes ({commit(ROOT)})")
        return 0
    for line in words:
        typer.echo(f"{folder}: {line}")
    typer.echo(f"{folder}: {len(words)} of {len(wanted)} files differ; make it anew with --out {folder}")
    return 1


def version(root: Path) -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def commit(root: Path) -> str:
    """The commit in words, and whether files differ from it; says so where there is no git or no repository."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    name = git("rev-parse", "--short=12", "HEAD")
    if name is None:
        return "no commit known"
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"commit {name}{' with changes' if changed else ''}"

"""``python run.py cloud``: a project folder for QuantConnect's cloud, within its limits on files."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.bundle import ENTRY, QUOTAS, Head, Tier, differences, pushed, texts_of, written
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

"""``python run.py settings``: what each setting means, takes and who reads it, from the source: it cannot go stale."""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from cli.errors import UserError
from cli.options import ROOT, configured_parameters
from core.settings.base import accepted, walk_groups
from core.settings.fields import Settings
from core.settings.strategies import AVAILABLE, StrategySettings

READERS = ("cli", "core", "execution", "greeks", "market", "risk", "state", "strategies")
READING_FILES = ("main.py", "trading_system.py")
DECLARED = ROOT / "core" / "settings"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting for people: ``accepted`` is its type and range in words, ``readers`` the files that read it."""

    key: str
    meaning: str
    group_meaning: str
    accepted: str
    default: str
    readers: tuple[str, ...]


def settings(
    word: Annotated[str, typer.Argument(help="Only settings with this in key or meaning; all without it")] = "",
) -> int:
    """Show every setting: meaning, type and range, default, and which files read it.

    Examples:

    python run.py settings

    python run.py settings vix

    python run.py settings friday_0dte.entry_time
    """
    configured = configured_parameters()
    rows = [row for row in setting_rows() if word.lower() in f"{row.key} {row.meaning} {row.group_meaning}".lower()]
    if not rows:
        raise UserError(f"{word!r}: in no setting's key or meaning; python run.py settings shows all")
    for row in rows:
        typer.echo(row.key)
        typer.echo(f"  meaning  {row.meaning or row.group_meaning}")
        typer.echo(f"  takes    {row.accepted}")
        typer.echo(
            f"  default  {row.default}" + (f"; config.json {configured[row.key]}" if row.key in configured else "")
        )
        typer.echo(f"  read in  {', '.join(row.readers) or 'nothing yet'}")
    typer.echo(f"{len(rows)} settings; set one with --set {rows[0].key}={rows[0].default}")
    return 0


def setting_rows() -> list[SettingRow]:
    """Every setting, in the order of their declaration."""
    defaults = Settings().parameters()
    rows = []
    for group, model in walk_groups(Settings):
        for name, field in model.model_fields.items():
            key = f"{group}.{name}" if group else name
            if key not in defaults:
                continue
            rows.append(
                SettingRow(
                    key=key,
                    meaning=field.description or meaning_of(model, name),
                    group_meaning=first_words(model),
                    accepted=accepted(field),
                    default=defaults[key],
                    readers=readers_of(group, model, name),
                )
            )
    return rows


def first_words(model: type[BaseModel]) -> str:
    """The first paragraph of what a group says of itself."""
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def meaning_of(model: type[BaseModel], name: str) -> str:
    """The words under a field's declaration, its own or of the first group above it; else its name and its group's."""
    owners = [owner for owner in model.__mro__ if name in vars(owner).get("__annotations__", {})]
    written = next((words for owner in owners if (words := field_words(owner).get(name))), None)
    return written or f"{name.replace('_', ' ')} ({first_words(model).rstrip('.')})"


@cache
def field_words(owner: type) -> dict[str, str]:
    """The text that stands under each field of a class."""
    source = inspect.getsource(sys.modules[owner.__module__])
    body = next(
        node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == owner.__name__
    )
    found = {}
    for field, after in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[field.target.id] = " ".join(after.value.value.split())
    return found


@dataclass(frozen=True, slots=True)
class Source:
    """What one file mentions: attributes that it reads, and every name."""

    path: str
    attributes: frozenset[str]
    names: frozenset[str]


@cache
def sources() -> tuple[Source, ...]:
    """The system's own files but the declarations."""
    files = [ROOT / name for name in READING_FILES]
    files += [path for room in READERS for path in sorted((ROOT / room).rglob("*.py")) if DECLARED not in path.parents]
    found = []
    for path in files:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
        names = {node.id for node in nodes if isinstance(node, ast.Name)} | read
        names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        found.append(Source(path.relative_to(ROOT).as_posix(), frozenset(read), frozenset(names)))
    return tuple(found)


def readers_of(group: str, model: type[BaseModel], name: str) -> tuple[str, ...]:
    """Files that read an attribute of this name and know the group: by its class, a class above it, or its key.

    Where no file does both (the group is handed on under another name), those that read the attribute at all; none for
    a strategy that this version does not have.
    """
    if issubclass(model, StrategySettings) and group not in AVAILABLE:
        return ()
    known = {owner.__name__ for owner in model.__mro__ if owner.__module__.startswith("core.settings")}
    known = (known - {"SettingsGroup", "SettingsRoot"}) | {group.rsplit(".", 1)[-1]}
    reading = [source for source in sources() if name in source.attributes]
    sure = [source.path for source in reading if source.names & known]
    own = Path(inspect.getfile(model)).resolve().relative_to(ROOT).as_posix()
    return tuple(sure or (source.path for source in reading)) or ((own,) if name in own_reads(model) else ())


@cache
def own_reads(model: type[BaseModel]) -> frozenset[str]:
    """Fields that a group's own methods read."""
    nodes = [
        node
        for owner in model.__mro__
        if owner.__module__.startswith("core.settings")
        for node in ast.walk(ast.parse(inspect.getsource(owner)))
    ]
    return frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load))

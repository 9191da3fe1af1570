"""The pictures of README.md and docs/ show what a run gives now: each is drawn again and compared."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.results import PICTURES

ROOT = Path(__file__).resolve().parent.parent.parent
AGAIN = "draw it again: python run.py tool benchmarks.results --pictures"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PICTURES))
def test_a_picture_shows_what_a_run_gives(name: str) -> None:
    shown = (ROOT / "docs" / name).read_text(encoding="utf-8")
    fresh = PICTURES[name]()
    ElementTree.fromstring(fresh)
    assert shown == fresh, f"docs/{name} shows other figures than the run; {AGAIN} {name}"


def test_every_picture_of_a_document_is_made_by_the_command() -> None:
    shown = set()
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        found = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text(encoding="utf-8"))
        shown |= {(document.parent / target).resolve().relative_to(ROOT / "docs").as_posix() for target in found}
    kept = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".svg", ".jpg", ".gif")}
    assert shown == kept == set(PICTURES), AGAIN

"""The how-to pages: their Python runs as it stands, their commands are ones that run.py knows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli import app
from cli.checks import places_of
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs" / "howto").glob("*.md"))
WANTED = {"strategy", "risk-plugin", "setting", "engine-feature", "data-source"}


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_there_is_a_page_for_each_thing_that_is_added() -> None:
    found = {re.sub(r"^add-an?-", "", page.stem) for page in PAGES}
    assert found >= WANTED
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"docs/howto/{page.name}" not in contributing] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    assert "assert " in code, "a page that shows nothing that can fail proves nothing"
    # In a process of its own, as a reader would run it: what a page defines or sets stays in it.
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_known(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in "".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["python", "run.py"], line
        command, *rest = words[2:]
        assert command in app.COMMANDS, line
        if command == "test" and rest and not rest[0].startswith("-"):
            assert places_of(rest[0])
        assert app.run([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert [word for word in rest if word.startswith("--") and word not in shown] == [], line

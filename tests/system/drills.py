"""The drills of docs/live.md: their scripts, what they print, and the page written anew with it.

`python run.py tool tests.system.drills` puts what today's code prints below each script; a test holds the page to it.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from pathlib import Path

from cli.scenario import rehearse
from core.storage import replace_file
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "live.md"
DRILL = re.compile(r"```drill ([^\n]+)\n(.*?)```\n(?:\n```output\n(.*?)```\n)?", re.DOTALL)
SETTINGS = ["run.strategies=friday_0dte", "friday_0dte.min_vix=0"]
"""As the page's own command has them."""


def drills(page: str) -> list[tuple[str, str, str]]:
    """Name, script and printed output of each drill of a page."""
    return [(name, script, output) for name, script, output in DRILL.findall(page)]


def printed(script: str) -> str:
    """What ``python run.py rehearse --script`` prints for a script."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
        file = Path(folder) / "drill.txt"
        file.write_text(script, encoding="utf-8")
        rehearse(date_="2016-02-12", script=file, store=Path(folder) / "store", set_=SETTINGS)
    return out.getvalue()


def written(page: str) -> str:
    """The page with what each script prints today below it."""
    return DRILL.sub(lambda found: f"```drill {found[1]}\n{found[2]}```\n\n```output\n{printed(found[2])}```\n", page)


if __name__ == "__main__":
    replace_file(PAGE, written(PAGE.read_text(encoding="utf-8")), durable=False)

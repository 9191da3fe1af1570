"""README's commands as printed: each is understood, and names nothing that the clone has not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cli import backtest, checks, data, scenario
from cli.app import run
from cli.bootstrap import DEVELOPER_COMMANDS, RESEARCH_COMMANDS
from cli.errors import UserError
from cli.options import BacktestOptions, plan_of
from tests.conftest import ROOT

COMMANDS = [
    shlex.split(line.partition("#")[0])[2:]
    for document in ("README.md", "docs/lean.md")
    for block in re.findall(r"```console\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python run.py ")
]


class UnderstoodError(UserError):
    """A command came as far as its market."""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_is_understood(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise UnderstoodError("understood")

    def planned(wanted: BacktestOptions) -> None:
        plan_of(wanted)
        stopped()

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(backtest, "run_and_report", planned)
    monkeypatch.setattr(data, "open_market", stopped)
    monkeypatch.setattr(checks, "tell_many", stopped)
    monkeypatch.setattr(scenario, "open_market", stopped)
    if command[0] in (*DEVELOPER_COMMANDS, *RESEARCH_COMMANDS, "broker", "cloud", "soak"):
        return  # tried on their own: what they do is long, or lies outside the clone
    code = run(command[: command.index(">")] if ">" in command else command)
    said = capsys.readouterr()
    # A clone has no runs yet, or others: a command that reads one has then been understood as far as its name.
    no_run = code == 2 and any(words in said.err for words in ("there is no run in", "is no run; expected"))
    assert no_run or (code, said.err) in ((0, ""), (2, "error: understood\n")), said.err


def test_no_command_writes_where_an_earlier_one_wrote() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    outs = re.findall(r"^python run\.py .*--out (\S+)", readme, re.MULTILINE)
    assert len(outs) == len(set(outs)) >= 1
    assert not [out for out in outs if Path(out).is_absolute()]

"""Plays a scenario with an older version of this program, in a process of its own: its modules have our names.

Arguments: the version's folder, the data folder, the broker's kind, the steps as JSON. Writes a JSON row a callback.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from simulation.data.lean_folder import LeanFolder
from simulation.live_mode.account import Broker, LiveAccount, WorkingGroup
from simulation.live_mode.session import LiveRequest, LiveSession

SETTINGS = {"strategies": "friday_0dte", "friday_0dte.min_vix": "0"}


class Play:
    """The steps of a script: a word and what it needs."""

    def __init__(self, version: Path, data: Path, broker: Broker) -> None:
        store = Path(tempfile.mkdtemp()) / "store"
        account = LiveAccount(broker=broker)
        self.run = LiveSession(LiveRequest(version / "main.py", LeanFolder(data), SETTINGS, store, account))
        self.held_back: list[WorkingGroup] = []

    def step(self, word: str, rest: list[str]) -> None:
        """Does one. Raises ValueError for an unknown word."""
        run = self.run
        match word:
            case "start":
                run.start(datetime.fromisoformat(rest[0]))
            case "until":
                run.until(datetime.fromisoformat(rest[0]))
            case "control":
                run.control(" ".join(rest))
            case "command":
                run.command(" ".join(rest))
            case "kill":
                run.kill()
            case "stop":
                run.stop()
            case "hide":  # the broker does not say that it works on it
                self.held_back = [run.account.working.pop()]
            case "appear":
                run.appear(self.held_back.pop())
            case "fill":  # prices of the legs, and how many of them fill
                prices = [float(price) for price in rest[:2]]
                run.account.fill(run.account.working[0], prices, int(rest[2]) if rest[2:] else None)
            case _:
                raise ValueError(
                    f"step: {word}; expected start, until, control, command, kill, stop, hide, appear, fill"
                )


def main(version: Path, data: Path, broker: str, steps: list[list[str]]) -> None:
    """Plays all steps, then tells the callbacks."""
    play = Play(version, data, Broker[broker])
    for name in [name for name in sys.modules if name.partition(".")[0] == "core"]:
        del sys.modules[name]  # today's, which the engine itself uses
    sys.path.insert(0, str(version))
    for word, *rest in steps:
        play.step(word, rest)
    run, process = play.run, 0
    for call in run.calls:
        process += call.name == "initialize"
        row = (process, str(run.zone.local(call.utc_ms)), call.name, call.thread, call.detail)
        print(json.dumps(row))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))

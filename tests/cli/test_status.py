"""How a store stands without its process: what was written is told, nothing is changed, nothing of it is trusted."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from cli import app, options, runs, status
from core.events import Command
from core.running.lease import owner_of
from risk.commands import RiskStatus
from risk.memory import limits_in_words
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day
from tests.reporting.pages import a_journal
from trading_system import TradingSystem

NOON = datetime(2024, 3, 8, 12, 0)


class LiveGateway(FakeGateway):
    """The same broker, with money that is real."""

    def is_live(self) -> bool:
        return True

    def answers_at_once(self) -> bool:
        return True


def a_store(folder: Path, until: time = time(11, 0), halt: bool = False) -> tuple[Path, TradingSystem]:
    """A deployment's folder after some hours of a Friday: state and journal as a live process leaves them."""
    gateway = LiveGateway(
        datetime.combine(FRIDAY, time()), lambda now: 5000.0 + math.sin(now.minute), lambda _: 24.0, folder / "1-real"
    )
    system, sink = build(gateway)
    run_day(system, gateway, FRIDAY, until)
    if halt:
        system.command(gateway.time, Command.HALT)
    place = folder / "1-real"
    (place / "state" / "state").rename(place / "beside")  # the fake keeps its state one folder deeper than main.py
    (place / "state").rmdir()
    (place / "beside").rename(place / "state")
    (place / "journal").mkdir()
    (place / "journal" / f"{FRIDAY:%Y-%m}.jsonl").write_text("\n".join(sink.lines) + "\n", encoding="utf-8")
    return place, system


def told(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What the command writes when it ends with ``code``."""
    assert app.run(["status", *arguments]) == code
    caught = capsys.readouterr()
    return caught.out if code == 0 else caught.err


def test_a_store_tells_what_is_held_ordered_and_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, system = a_store(tmp_path, halt=True)
    assert "system halted; entries halted: a person said halt\n" in system.managers[RiskStatus].text(system.clock.now())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = told(["--state", str(tmp_path)], capsys)
    (position,) = system.book.positions.values()
    assert f"{place}: last written on 2024-03-08 11:00, New York" in said
    assert "system halted: a person said halt, since 2024-03-08 11:00" in said
    assert f"{position.id} {position.structure} SPX 2024-03-08: open" in said
    assert all(f"{leg.ratio:+d} {leg.contract.name}" in said for leg in position.legs)
    assert "no order works" in said
    assert "no process trades on it" in said
    assert "friday_0dte looks next on Fri 2024-03-15 10:30 (open)" in said
    # What only the process knows is its own last word: each half hour, here that of 11:00, the minute of the halt.
    assert "told on 2024-03-08 11:00, 0 min before the last word:" in said
    for words in ("health ", "worth ", "limits used: buying power", "ages of prices: VIX 0 s"):
        assert words in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    # The same by the deployment's own folder and by its state.
    assert told(["--state", str(place)], capsys) == told(["--state", str(place / "state")], capsys) == said


def test_the_live_answer_has_the_same_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, system = a_store(tmp_path)
    live = system.command(datetime(2024, 3, 8, 11, 0), Command.STATUS).splitlines()
    parts = [line for line in live if line.startswith("  whole: ")]
    said = told(["--state", str(place)], capsys).splitlines()
    assert len(parts) == 1
    assert parts[0] in said
    assert len([line for line in live if " looks next on " in line]) == 1
    assert [line for line in live if line.startswith("ages of prices")] == [
        "ages of prices: VIX 0 s, SPY 0 s, XSP 0 s, SPX 0 s"
    ]


def test_an_order_on_its_way_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_store(tmp_path, until=time(10, 30))
    said = told(["--state", str(tmp_path)], capsys)
    assert "group-20240308-1 entry " in said
    assert "x friday_0dte-20240308-1: working, limit " in said
    assert "friday_0dte-20240308-1: opening, nothing of it is open" in said


def test_a_living_owner_is_named(tmp_path: Path) -> None:
    place, _ = a_store(tmp_path)
    owner = {"machine": "m", "name": "process 4194309 on vm, started"}
    lease = {"owner": owner, "renewed": NOON.isoformat(), "asked_by": None, "asked": None}
    (place / "lease.json").write_text(json.dumps(lease), encoding="utf-8")
    (place / "state" / "lock").write_text("4194309", encoding="utf-8")
    # Alive for three minutes after it renewed; after that nobody trades, unless that very process runs on here.
    assert status.owner_line(place, NOON + timedelta(minutes=3)).startswith(
        "process 4194309 on vm, started trades on it now"
    )
    late = status.owner_line(place, NOON + timedelta(minutes=4))
    assert late == (
        "no process trades on it: process 4194309 on vm, started renewed its lease last at 2024-03-08 12:00 UTC"
    )
    owner["name"] = f"process {os.getpid()} on vm, started"
    (place / "lease.json").write_text(json.dumps(lease), encoding="utf-8")
    (place / "state" / "lock").write_text(str(os.getpid()), encoding="utf-8")
    assert "trades on it now" in status.owner_line(place, NOON + timedelta(days=4))
    for text in ("", "[]", "{}", '{"owner": 3}', json.dumps({**lease, "renewed": "noon"})):
        assert owner_of(text) is None
    assert owner_of(json.dumps({**lease, "owner": None})) is None


def test_what_is_damaged_is_told_in_one_line_and_the_rest_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = a_store(tmp_path)
    journal = place / "journal" / f"{FRIDAY:%Y-%m}.jsonl"
    evil = {"time": "2024-03-08T11:05:00", "kind": "status", "reason": "x", "lines": ["\x1b[2Jgone", 3]}
    torn = '[]\nnull\n{"time": 3, "kind": "status"}\n' + json.dumps(evil) + '\n{"time": "2024-'
    journal.write_bytes(journal.read_bytes() + torn.encode() + b"\xff")
    segment = place / "state" / "segment-0.jsonl"
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"0123 torn")
    said = told(["--state", str(place)], capsys)
    assert "?[2Jgone" in said
    assert "\x1b" not in said
    assert "told on 2024-03-08 11:05" in said
    lines = whole.splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:3], b"00000000 {}\n", *lines[4:]]))
    wrong = told(["--state", str(place)], capsys, code=2)
    assert wrong.count("\n") == 1
    assert "record 4 is damaged" in wrong


def test_nothing_is_said_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(options, "ROOT", tmp_path)
    assert told([], capsys) == "nothing is there: no state in storage or backtests/rehearsal, no run in backtests\n"
    assert "holds no state" in told(["--state", str(tmp_path / "none")], capsys, code=2)
    assert "expected one of them" in told(["latest", "--state", str(tmp_path)], capsys, code=2)
    # A backtest has no state; its journal says how it ended.
    folder = tmp_path / "backtests" / "base"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text("\n".join(a_journal()) + "\n", encoding="utf-8")
    assert told([], capsys).startswith("base: a backtest, over; equity ")
    assert told(["base"], capsys) == told([], capsys)


def test_what_still_limits_is_told_with_its_end() -> None:
    memory = {
        "circuit_breaker": {"tripped_by": "fast_loss", "locked_until": "2024-03-11T10:00:00", "recovering": False},
        "drawdown": {"peak": 100_000.0, "paused_until": "2024-03-08T11:59:00", "disabled": True},
        "sizing": {"suspended": {"lt112": "2024-03-01T16:00:00"}, "counted_from": {}},
        "black_swan": {"until": 7},
    }
    # At noon of the 8th the pause of 11:59 is over, the lock goes on until Monday.
    assert limits_in_words(memory, NOON) == [
        "locked: circuit_breaker (fast_loss) until 2024-03-11 10:00",
        "locked: drawdown until a person resets it",
        "lt112 is suspended by its own record since 2024-03-01 16:00",
        "black_swan: what was remembered cannot be read (until: 7; expected a time without a zone, as ISO text)",
    ]
    assert limits_in_words(None, NOON) == []
    assert limits_in_words({"drawdown": 3}, NOON)[0].startswith("drawdown: what was remembered cannot be read")


def test_windows_follow_the_exchanges_calendar() -> None:
    settings = options.settings_of({})
    at = datetime(2024, 3, 28, 12, 0, tzinfo=UTC).replace(tzinfo=None)
    # The next day is Good Friday; the Friday after it is the next.
    (line,) = status.coming_windows(["friday_0dte"], 1, settings, at)
    assert line == "friday_0dte looks next on Fri 2024-04-05 10:30 (open)"

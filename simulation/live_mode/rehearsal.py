"""A day as live with drills: what a line of a script does, and what of the run is shown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from simulation.lean.symbols import Symbol
from simulation.live_mode.orders import ORDER_THREAD
from simulation.live_mode.session import LiveSession

DRILLS = {
    "quotes stop": "outage",
    "quotes cross": "crossed",
    "quotes nobid": "nobid",
    "quotes noask": "noask",
    "index stop": "noindex",
    "fill none": "nofill",
    "cancel refuse": "nocancel",
    "update refuse": "noupdate",
    "disconnect": "brokerdown",
}
ENDS = {
    "quotes go": {"outage", "crossed", "nobid", "noask"},
    "index go": {"noindex"},
    "fill go": {"nofill"},
    "cancel go": {"nocancel"},
    "update go": {"noupdate"},
    "connect": {"brokerdown"},
}
COMMANDS = ("status", "explain", "halt", "resume", "reduce", "suspend", "reconcile", "close_all", "take_over")
SHOWN = ("order", "fill", "notice", "trade_closed", "decision", "risk", "reconciliation", "command", "system")


class ScriptError(ValueError):
    """A line that is none of the drills; the message says what would be."""


class ExpectationError(Exception):
    """What a line expected is not so."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a script: when, and what."""

    number: int
    at: datetime
    words: str


def read_script(text: str, day: date) -> list[Line]:
    """Lines ``HH:MM[:SS] words``; ``#`` begins a comment. Raises ScriptError with the number of a wrong line."""
    lines: list[Line] = []
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.partition("#")[0].strip()
        if not words:
            continue
        clock, _, rest = words.partition(" ")
        try:
            at = datetime.combine(day, datetime.strptime(clock, "%H:%M:%S" if clock.count(":") > 1 else "%H:%M").time())
        except ValueError as error:
            raise ScriptError(
                f"line {number}: '{clock}' is no time; expected 10:30 or 10:30:15, then a drill"
            ) from error
        if lines and at < lines[-1].at:
            raise ScriptError(f"line {number}: {clock} is before the line above it")
        lines.append(Line(number, at, " ".join(rest.split())))
    if not lines:
        raise ScriptError("the script is empty; expected lines like '09:28 start'")
    return lines


class Rehearsal:
    """One day: the session, what is shown of it, and the drills."""

    def __init__(self, session: LiveSession, store: Path, show: Callable[[str], object]) -> None:
        self.session = session
        self._store = store
        self._show = show
        self._words: set[str] = set()
        self._seen_rows = self._seen_lines = 0
        self._state = self._windows = ""

    def act(self, words: str) -> None:
        """Do what a line says. Raises ScriptError for an unknown drill, ExpectationError for what is not so."""
        session = self.session
        self._show(f"> {words}")
        if words in DRILLS or words in ENDS:
            self._words = self._words | {DRILLS[words]} if words in DRILLS else self._words - ENDS[words]
            session.control(" ".join(sorted(self._words)))
        elif words == "kill":
            session.kill()
        elif words == "stop":
            session.stop()
        elif words in ("fill half", "fill lost"):
            self._fill(words)
        elif words.startswith("trade by hand "):
            self._trade(words.removeprefix("trade by hand "))
        elif words.startswith("expect "):
            self._expect(words.removeprefix("expect "))
        elif words.split(" ")[0] in COMMANDS:
            command, _, subject = words.partition(" ")
            session.command(json.dumps({"command": command, **({"subject": subject} if subject else {})}))
        else:
            known = (
                "start",
                "kill",
                "stop",
                "fill half",
                "fill lost",
                "trade by hand QUANTITY SYMBOL PRICE",
                "expect ...",
            )
            raise ScriptError(f"'{words}' is no drill; known are: {', '.join((*known, *DRILLS, *ENDS, *COMMANDS))}")

    def _fill(self, words: str) -> None:
        """The first leg of what works at the broker fills, or all of it does and this process never hears of it."""
        engine, account = self.session.engine, self.session.account
        if not (account.working if engine is None else engine.handler.broker.pending):
            raise ScriptError(f"{words}: no order works at the broker")
        if engine is not None:
            broker: Any = engine.handler.broker
            engine.threads.put(ORDER_THREAD, broker.fill_first_legs if words == "fill half" else broker.lose_fills)
            return
        for group in list(account.working):
            account.fill(group, [abs(group.limit)] * len(group.legs), legs=1 if words == "fill half" else None)

    def _trade(self, text: str) -> None:
        parts = shlex.split(text)
        names = {" ".join(str(symbol.value).split()): symbol for symbol in self._held()}  # as a script's line has it
        symbol = names.get(" ".join(parts[1].split())) if len(parts) == 3 else None
        if symbol is None:
            raise ScriptError(f"trade by hand: expected QUANTITY 'SYMBOL' PRICE, a symbol of {sorted(names)}")
        trade = symbol, float(parts[0]), float(parts[2])
        if self.session.engine is None:
            self.session.account.trade(*trade)
        else:  # LEAN hears of it at the next start: its portfolio is built from events
            self.session.account.unseen.append(trade)

    def _held(self) -> dict[Symbol, float]:
        """Signed quantities in the account."""
        engine = self.session.engine
        if engine is None:
            return {row.symbol: row.quantity for row in self.session.account.held}
        return {row.symbol: row.holdings.quantity for row in engine.portfolio.invested_securities.values()}

    def _expect(self, what: str) -> None:
        held = {str(symbol.value): quantity for symbol, quantity in self._held().items()}
        told = " | ".join(str(row.get("reason")) for row in self._rows())
        if what == "flat" and held:
            raise ExpectationError(f"expected flat, held: {held}")
        if what == "position" and not held:
            raise ExpectationError("expected a position, nothing is held")
        if what == "nothing short" and any(quantity < 0 for quantity in held.values()):
            raise ExpectationError(f"expected nothing short, held: {held}")
        if what.startswith("told ") and what.removeprefix("told ") not in told:
            raise ExpectationError(f"nobody was told '{what.removeprefix('told ')}'")
        if what not in ("flat", "position", "nothing short") and not what.startswith("told "):
            raise ScriptError(f"expect {what}: expected flat, position, nothing short or told WORDS")

    def _rows(self) -> list[dict[str, object]]:
        return [
            json.loads(line)
            for file in sorted(self._store.rglob("journal/*.jsonl"))
            for line in file.read_text(encoding="utf-8").splitlines()
        ]

    def start(self, at: datetime) -> None:
        """A process starts."""
        self._show(f"> start {at:%H:%M:%S}")
        self.session.start(at)

    def tell(self) -> None:
        """Show what is new since the last time: rows of the journal, and the account when it changed."""
        rows = self._rows()
        for row in rows[self._seen_rows :]:
            if row.get("kind") in SHOWN and row.get("component") != "factory":
                self._show(f"{str(row['time'])[11:16]} {row['kind']}: {words_of(row)}")
        self._seen_rows = len(rows)
        engine = self.session.engine
        if engine is not None:
            held = ", ".join(f"{quantity:g} {symbol.value}" for symbol, quantity in self._held().items())
            orders = len(engine.transactions.get_open_orders())
            equity = engine.portfolio.total_portfolio_value
            state = f"holds {held or 'nothing'}; {orders} orders work; equity {equity:,.2f}"
            if state.rpartition(";")[0] != self._state.rpartition(";")[0]:
                self._show(f"{self.session.now:%H:%M} {state}")
            self._state = state
            windows = self._next_windows(engine.algorithm)
            if windows != self._windows:
                self._show(f"{self.session.now:%H:%M} next windows: {windows or 'none today'}")
            self._windows = windows

    def _next_windows(self, algorithm: Any) -> str:
        """Entry windows of the rest of the day, in the order in which they open; of an algorithm that has such."""
        system = getattr(algorithm, "system", None)
        now = self.session.now
        windows = [
            (window.opens, f"{strategy.name} {window.name} from {window.opens:%H:%M} to {window.closes:%H:%M}")
            for strategy in (() if system is None else system.coordinator.strategies)
            for window in strategy.entry_windows()
            if window.falls_on(now.date()) and window.opens > now.time()
        ]
        return ", ".join(text for _, text in sorted(windows))


def words_of(row: Mapping[str, object]) -> str:
    """What a row of the journal says: of an order its limit, of a fill its price, of a command its whole answer."""
    said = str(row.get("reason"))
    if row.get("kind") == "order":
        return f"{row.get('action')} {row.get('purpose')} {row.get('contracts')} at {row.get('limit_cash')} ({said})"
    if row.get("kind") == "fill":
        return f"{row.get('quantity'):+g} {row.get('contract')} at {row.get('price')} ({said})"
    if row.get("kind") == "command":
        return "\n      ".join([said, *str(row.get("answer", "")).splitlines()])
    return said


def play_script(rehearsal: Rehearsal, lines: list[Line]) -> None:
    """Every line at its time; a process that still runs at the end is stopped."""
    session = rehearsal.session
    for line in lines:
        try:
            if line.words == "start":
                rehearsal.start(line.at)
            else:
                if session.engine is not None:
                    session.until(line.at)
                rehearsal.act(line.words)
        except (ScriptError, ExpectationError) as error:
            if session.engine is not None:
                session.kill()
            raise type(error)(f"line {line.number}: {error}") from error
        rehearsal.tell()
    if session.engine is not None:
        session.stop()
        rehearsal.tell()

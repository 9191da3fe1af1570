"""A day as live with drills: what a line of a script does, and what of the run is shown."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from simulation.lean.enums import SecurityType
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
HELP = """Told to the program, as it is told on a real account:
  status, explain NAME, halt, resume, reduce, suspend STRATEGY, reconcile, close_all, take_over
Done to it, or to what it trades with:
  kill, stop, start        the process dies, is asked to end, begins (a start after a kill is a restart)
  quotes stop|cross|nobid|noask, then quotes go; index stop, then index go; disconnect, then connect
  fill none, then fill go; fill half, fill lost (what works fills: its first leg, or all of it and no word comes)
  cancel refuse, then cancel go; update refuse, then update go
  trade by hand QUANTITY 'CONTRACT' PRICE, as a person at the broker: trade by hand 2 'SPXW 160212C1860' 1.50
Asked of the rehearsal: expect flat|position|nothing short|told WORDS; help"""
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
        self._seen_rows = 0
        self._state = self._windows = ""

    def act(self, words: str) -> None:
        """Do what a line says. Raises ScriptError for an unknown drill, ExpectationError for what is not so."""
        session = self.session
        self._show(f"> {words}")
        if words == "help":
            self._show(HELP)
        elif words in DRILLS or words in ENDS:
            self._words = self._words | {DRILLS[words]} if words in DRILLS else self._words - ENDS[words]
            session.control(" ".join(sorted(self._words)))
        elif words == "kill":
            session.kill()
            self.tell()
            works = sum(len(group.legs) for group in session.account.working)
            self._show(f"the process is gone; the broker's account {_holds(self._held(), works)}")
        elif words == "stop":
            session.stop()
        elif words in ("fill half", "fill lost"):
            self._fill(words)
        elif words.startswith("trade by hand"):
            self._trade(words.removeprefix("trade by hand"))
        elif words.startswith("expect "):
            self._expect(words.removeprefix("expect "))
        elif words.split(" ")[0] in COMMANDS:
            command, _, subject = words.partition(" ")
            session.command(json.dumps({"command": command, **({"subject": subject} if subject else {})}))
        else:
            raise ScriptError(f"'{words}' is nothing that can be done here{_meant(words)}; help lists what can")

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
        names = {short_name(symbol): symbol for symbol in self._held()}
        held = ", ".join(sorted(names)) or "nothing is held"
        usage = f"trade by hand: expected QUANTITY 'CONTRACT' PRICE, a contract that is held ({held})"
        try:
            quantity, name, price = shlex.split(text)
            trade = names[" ".join(name.split())], float(quantity), float(price)
        except (ValueError, KeyError) as error:
            raise ScriptError(usage) from error
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
        """A process starts; how it stands is shown anew."""
        self._show(f"> start {at:%H:%M:%S}")
        self._state = self._windows = ""
        self.session.start(at)

    def tell(self) -> None:
        """Show what is new since the last time: rows of the journal, and the account when it changed."""
        rows, before = self._rows(), ""
        for row in rows[self._seen_rows :]:
            line = f"{str(row['time'])[11:16]} {row['kind']}: {words_of(row)}"
            if row.get("kind") in SHOWN and row.get("component") != "factory" and line != before:
                self._show(line)
                before = line
        self._seen_rows = len(rows)
        engine = self.session.engine
        if engine is not None:
            works = len(engine.transactions.get_open_orders())
            equity = engine.portfolio.total_portfolio_value
            state = f"{_holds(self._held(), works)}; equity {equity:,.2f}"
            if state.rpartition(";")[0] != self._state.rpartition(";")[0]:
                self._show(f"{self.session.now:%H:%M} {state}")
            self._state = state
            windows = self._next_windows(engine.algorithm)
            if windows != self._windows:
                self._show(f"{self.session.now:%H:%M} next windows: {windows or 'none today'}")
            self._windows = windows

    def pass_to(self, at: datetime, look: bool) -> None:
        """Let the clock go on and show what is new; ``look``: the market's prices too."""
        if self.session.engine is not None:
            self.session.until(at)
        self.tell()
        if look and self.session.engine is not None:
            self._look()

    def _look(self) -> None:
        """Show where the market stands: the last prices of indices and shares."""
        securities = self.session.alive.securities.everything.values()
        kinds = SecurityType.INDEX, SecurityType.EQUITY
        prices = {
            row.symbol.value: row.price for row in securities if row.symbol.security_type in kinds and row.price > 0
        }
        if prices:
            shown = ", ".join(f"{name} {prices[name]:,.2f}" for name in sorted(prices))
            self._show(f"{self.session.now:%H:%M} prices: {shown}")

    def sum_up(self) -> None:
        """Show what the day came to, and where more is."""
        closed = [row for row in self._rows() if row.get("kind") == "trade_closed"]
        known = [float(str(row["profit"])) for row in closed if row.get("profit") is not None]
        unknown = f", {len(closed) - len(known)} of unknown profit" if len(known) < len(closed) else ""
        trades = (
            f"{len(closed)} closed, {sum(known):+,.2f} dollars after fees{unknown}" if closed else "none was closed"
        )
        works = sum(len(group.legs) for group in self.session.account.working)
        self._show(f"the rehearsal is over; trades: {trades}; the broker's account {_holds(self._held(), works)}")
        self._show(f"how it was left: python run.py status --state {self._store}; each decision: the journal in there")

    def _next_windows(self, algorithm: Any) -> str:
        """Entry windows of the rest of the day, in the order in which they open; of an algorithm that has such."""
        system = getattr(algorithm, "system", None)
        now = self.session.now
        windows = [
            (window.opens, f"{strategy.name} from {window.opens:%H:%M} to {window.closes:%H:%M} ({window.name})")
            for strategy in (() if system is None else system.coordinator.strategies)
            for window in strategy.entry_windows()
            if window.falls_on(now.date()) and window.opens > now.time()
        ]
        return ", ".join(text for _, text in sorted(windows))


class Named(Protocol):
    """A symbol, as far as its name goes."""

    @property
    def value(self) -> Any:
        """LEAN's ticker."""


_OPTION = re.compile(r"(\S+) +(\d{6})([CP])(\d{8})")


def short_name(symbol: Named) -> str:
    """A contract as the journal names it: LEAN's ``SPXW  160212C01860000`` is ``SPXW 160212C1860``."""
    found = _OPTION.fullmatch(str(symbol.value))
    return str(symbol.value) if found is None else f"{found[1]} {found[2]}{found[3]}{int(found[4]) / 1000:g}"


def _holds(held: Mapping[Symbol, float], works: int) -> str:
    """What is held, and how many legs of orders work."""
    contracts = ", ".join(f"{quantity:+g} {short_name(symbol)}" for symbol, quantity in held.items())
    orders = "no order works" if not works else f"{works} leg{'s' if works > 1 else ''} of orders at work"
    return f"holds {contracts or 'nothing'}; {orders}"


def _meant(words: str) -> str:
    """What may have been meant by words that are none."""
    known = ("start", "kill", "stop", "help", "fill half", "fill lost", *DRILLS, *ENDS, *COMMANDS)
    close = difflib.get_close_matches(words, known, 1)
    return f" (meant: {close[0]}?)" if close else ""


def words_of(row: Mapping[str, object]) -> str:
    """What a row of the journal says: of an order its limit, of a fill its price, of a command its whole answer."""
    said = str(row.get("reason"))
    if row.get("kind") == "order":
        return f"{row.get('action')} {row.get('purpose')} {row.get('contracts')} at {row.get('limit_cash')} ({said})"
    if row.get("kind") == "fill":
        return f"{row.get('quantity'):+g} {row.get('contract')} at {row.get('price')} ({said})"
    if row.get("kind") == "trade_closed":
        profit = row.get("profit")
        return f"{row.get('strategy')} {'profit unknown' if profit is None else f'{profit:+,.2f} dollars'} ({said})"
    if row.get("kind") == "reconciliation":
        about = " ".join(str(row[name]) for name in ("subject", "contract") if row.get(name))
        return f"{about}: {said}" if about else said
    if row.get("kind") == "decision":
        return f"{row.get('strategy')} {row.get('outcome')} ({said})"
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

"""A Friday in the embedded live mode under faults: real threads, a wall clock, quotes carried forward, numbers anew.

``main.py`` itself runs, over the real gateway. An order's faults and a quote's are the engine's broker's
(``simulation/orders/faulty.py``, ``simulation/live_mode/quotes.py``); disconnections, kills and a person's
acts are drawn here. After the busy part nothing goes wrong any more, one more process takes over and closes all.
"""

# Private: _request: the faults differ from process to process, the last one has none.

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time as clocks
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from cli.markets import open_market
from cli.options import MarketChoice
from simulation.data.lean_folder import LeanFolder
from simulation.data.source import DataSource
from simulation.faults.kinds import QUOTES, Fault, FaultSettings
from simulation.live_mode.account import LiveAccount
from simulation.live_mode.session import LiveRequest, LiveSession
from simulation.live_mode.threads import Pace
from state.manager import HierarchicalStateManager
from state.tables import OrderPurpose
from tests.conftest import CONFORMANCE, ROOT
from trading_system import TradingSystem

KINDS: Final = (
    Fault.REFUSED, Fault.LEGS_PARTLY, Fault.QUANTITY_PARTLY, Fault.LATE, Fault.LOST, Fault.DUPLICATED, Fault.REORDERED,
    Fault.CANCEL_REFUSED, Fault.UPDATE_REFUSED, Fault.DISCONNECTED, *QUOTES, Fault.MANUAL, Fault.KILLED,
)  # fmt: skip
"""What can go wrong in the embedded live mode."""
PAIRS: Final = tuple(combinations(KINDS, 2))
FRIDAYS: Final = (datetime(2016, 2, 12), datetime(2016, 2, 5))
_QUIET: Final[frozenset[Fault]] = frozenset()
_WORDS: Final = ("status", "halt", "close_all", "reconcile")
_UNKNOWN: Final = frozenset({Fault.LOST, Fault.KILLED, Fault.MANUAL, Fault.LATE, Fault.REORDERED, Fault.DISCONNECTED})
"""Faults after which a price may be unknown, and its trade with it."""


def live_faults(seed: int) -> frozenset[Fault]:
    """Each pair in turn, everything at once each tenth time."""
    turn, tenth = divmod(seed, 10)
    return frozenset(KINDS) if tenth == 9 else frozenset(PAIRS[(turn * 9 + tenth) % len(PAIRS)])


@dataclass(frozen=True, slots=True)
class LiveVerdict:
    """What became of a seed's Friday."""

    seed: int
    on: frozenset[Fault]
    broken: tuple[str, ...]
    story: tuple[str, ...]
    struck: Counter[Fault]
    orders: int
    fills: int
    processes: int
    seconds: float


def source_of(seed: int) -> tuple[datetime, DataSource]:
    """The day that LEAN's live mode was recorded on, where it is beside this clone; else one of the modelled market."""
    day, recorded = FRIDAYS[seed % 2], CONFORMANCE / "live" / "data"
    return day, LeanFolder(recorded) if recorded.is_dir() else open_market(MarketChoice.parse("history"), seed).source


@dataclass
class LiveFriday:
    """One seed's session."""

    seed: int
    folder: Path
    story: list[str] = field(default_factory=list)
    struck: Counter[Fault] = field(default_factory=Counter)
    by_hand: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(f"live {self.seed}")
        self.on = live_faults(self.seed)
        self.day, source = source_of(self.seed)
        self.store = self.folder / "store"
        parameters = {"run.strategies": "friday_0dte", "friday_0dte.min_vix": "0"}
        request = LiveRequest(ROOT / "main.py", source, parameters, self.store, LiveAccount(), self.seed, Pace(0.05))
        self.session = LiveSession(request)

    def at(self, hour: int, minute: int, second: int = 0) -> datetime:
        """A time of the day."""
        return self.day.replace(hour=hour, minute=minute, second=second)

    @property
    def system(self) -> TradingSystem:
        """The running process's."""
        algorithm: Any = self.session.alive.algorithm
        found: TradingSystem = algorithm.system
        return found

    def start(self, moment: datetime, on: frozenset[Fault]) -> None:
        """A process begins, with these faults and chances of its own."""
        settings = FaultSettings(self.seed * 100 + self.session.processes, on, usual=0.2) if on else None
        self.session._request = replace(self.session._request, faults=settings)
        self.session.start(moment)
        self.tell(f"process {self.session.processes} starts")

    def tell(self, words: str) -> None:
        """Something happened to the session."""
        now = "" if self.session.engine is None else f"{self.session.now:%H:%M:%S} "
        self.story.append(f"{now}-- {words}")

    def end_process(self) -> datetime:
        """Killed where it stands; when."""
        session = self.session
        self._count()
        session.kill()
        self.struck[Fault.KILLED] += 1
        session.control("")
        gone = session.zone.local(session.calls[-1].utc_ms) if session.calls else self.at(10, 30)
        self.tell(f"killed after {gone:%H:%M:%S}")
        return gone.replace(microsecond=0)

    def _count(self) -> None:
        faults = self.session.alive.handler.broker.faults
        if faults is not None:
            self.struck.update(faults.faults.counts)
            self.story += [str(row) for row in faults.faults.story]

    # The day

    def play(self) -> None:
        """From before the window to twenty minutes after it, then quiet, a last process and an emergency."""
        session, chance = self.session, self.chance
        self.start(self.at(10, 27, 30), self.on)
        session.until(self.at(10, 29, 50))
        said: datetime | None = self.at(10, 30) + timedelta(seconds=chance.randint(5, 900))
        calm = self.at(10, 50)
        while session.now < calm:
            session.until(session.now + timedelta(milliseconds=chance.randint(5_000, 150_000)))
            if said is not None and session.now >= said:
                word, said = chance.choice(_WORDS), None
                self.tell(f"a person says {word}")
                session.command(json.dumps({"command": word}))
            self.disturb()
        gone = self._quiet()
        self.start(max(gone, calm) + timedelta(seconds=60), _QUIET)
        session.until(session.now + timedelta(minutes=5))
        self.tell("a person says close_all")
        session.command('{"command": "close_all"}')
        session.until(session.now + timedelta(minutes=12))

    def disturb(self) -> None:
        """What happens to the connection and the process."""
        session, chance = self.session, self.chance
        if Fault.DISCONNECTED in self.on and chance.random() < 0.2:
            self.struck[Fault.DISCONNECTED] += 1
            self.tell("the connection is lost")
            session.control("brokerdown")
            session.until(session.now + timedelta(seconds=chance.choice((20, 120, 400))))
            session.control("")
        if (Fault.KILLED in self.on or Fault.MANUAL in self.on) and chance.random() < 0.2:
            gone = self.end_process()
            if Fault.MANUAL in self.on:
                self._trade()
            self.start(gone + timedelta(seconds=chance.choice((5, 60, 200))), self.on)

    def _trade(self) -> None:
        """A person closes one of something while no process runs: LEAN sees it at the next start."""
        held = sorted(self.session.account.held, key=lambda row: str(row.symbol.value))
        if held:
            row = self.chance.choice(held)
            self.struck[Fault.MANUAL] += 1
            self.by_hand += 1
            self.story.append(f"-- a person trades one of {row.quantity:g} {row.symbol.value} at {row.average}")
            self.session.account.trade(row.symbol, -1.0 if row.quantity > 0 else 1.0, row.average)

    def _quiet(self) -> datetime:
        self.session.control("")
        return self.end_process()

    # What must hold

    def finish(self) -> list[str]:
        """Look at the last process, end it, and look at what it left."""
        system, account = self.system, self.session.account
        state = system.managers[HierarchicalStateManager]
        known: Counter[str] = Counter()
        for position in state.positions(ended=True):
            known.update({name: round(count) for name, count in state.held(position.id).items()})
        known.update({name: round(count) for name, count in system.book.unowned.items()})
        held = Counter({row.name: round(row.quantity) for row in system.gateway.holdings()})
        found = [f"state: {dict(known)} by state, {dict(held)} in the account"] if _some(known) != _some(held) else []
        parts = [part for position in system.book.positions.values() for part in position.parts]
        opens = [None if part.cash is None else part.cash - part.fees for part in parts]
        self.session.stop()
        found += [f"short: {row.quantity:g} {row.symbol.value}" for row in account.held if row.quantity < 0]
        found += [f"still works: {row}" for row in account.working]
        return found + self._about_journal() + self._about_cash(opens)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The journal's rows of a kind, of all processes."""
        return [
            row
            for file in sorted(self.store.rglob("journal/*.jsonl"))
            for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())
            if row["kind"] == kind
        ]

    def _about_journal(self) -> list[str]:
        orders, opening = self.rows("order"), (OrderPurpose.ENTRY.value, OrderPurpose.ADJUST.value)
        sent = [row for row in orders if row["action"] == "sent"]
        names = [row["group"] for row in sent]
        found = [f"sent twice: {name}" for name, count in Counter(names).items() if count > 1]
        entries = [row for row in sent if row["purpose"] in opening]
        filled = {row["group"] for row in self.rows("fill")}
        if len([row for row in entries if row["group"] in filled]) > 1:
            found.append(f"more than one entry: {[row['group'] for row in entries]}")
        minutes = Counter((row["time"][:16], row["action"]) for row in orders)
        most = {"sent": 30, "repriced": 60, "cancelled": 60}
        found += [f"{count} {what} in {at}" for (at, what), count in minutes.items() if count > most.get(what, 999)]
        errors = [row for row in self.rows("error") if not self.is_excused(row)]
        found += [f"error: {row['reason']}: {row.get('detail')}" for row in errors]
        if len(self.rows("decision")) != 1:
            found.append(f"{len(self.rows('decision'))} decisions for one day")
        return found

    def is_excused(self, _error: Mapping[str, object]) -> bool:
        """Whether a row of an error is what was to come."""
        return False

    @property
    def prices_are_lost(self) -> bool:
        """Whether nobody can know what every fill brought."""
        return False

    def _about_cash(self, opens: list[float | None]) -> list[str]:
        told = {
            (row["position"], row["part"], row["closed"], row["contracts"]): row for row in self.rows("trade_closed")
        }
        known = [*(row["profit"] for row in told.values()), *opens]
        moved = self.session.account.cash - LiveAccount().cash
        if None in known:
            excused = self.on & _UNKNOWN or self.prices_are_lost
            return [] if excused else ["a trade's price is unknown, and every report of it came"]
        sums = sum(amount for amount in known if amount is not None)
        if abs(sums - moved) >= 0.01 and not self.by_hand and not self.prices_are_lost:
            return [f"cash: {moved:+,.2f} in the account, {sums:+,.2f} by trades"]
        return []


def _some(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def run_live(seed: int, kind: type[LiveFriday] | None = None) -> LiveVerdict:
    """Run one seed's Friday in a folder of its own that is gone afterwards; ``kind`` for one of another kind."""
    begun, folder = clocks.process_time(), Path(tempfile.mkdtemp(prefix="live-faults-"))
    friday = (kind or LiveFriday)(seed, folder)
    try:
        friday.play()
        broken = friday.finish()
        orders = [row for row in friday.rows("order") if row["action"] == "sent"]
        return LiveVerdict(
            seed,
            friday.on,
            tuple(broken),
            tuple(friday.story),
            friday.struck,
            len(orders),
            len(friday.rows("fill")),
            friday.session.processes,
            clocks.process_time() - begun,
        )
    finally:
        if friday.session.engine is not None:
            friday.session.kill()
        shutil.rmtree(folder, ignore_errors=True)

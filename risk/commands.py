"""What people may ask and say, and what becomes of it: status and health, commands and their answers.

Every command is answered, journalled and safe to repeat. ``resume`` lifts one thing at a time, the first that a person
may lift or the one that is named: a halt (and an emergency of one's own, once everything is closed), a reduction, the
drawdown's disabling (which takes a reason: ``resume drawdown the reason``), a suspended strategy (by its record, for an
error, by a person). A lock of time stays; the drawdown's peak is never touched. What was given as a reason is
journalled with the command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.book import Book, OrderDesk, Position
from core.bus import EventBus
from core.events import Command, CommandAnswered, CommandReceived, Level, MinutePassed, Request, SessionClosed
from core.factory import Manager
from core.gateway import Gateway
from core.journal import Journal, RecordKind
from core.settings.fields import ExitSettings, HealthSettings
from core.settings.strategies import AVAILABLE
from greeks.stress import StressEngine
from risk.drawdown import DrawdownPlugin
from risk.emergency import EmergencyProtocol
from risk.group_risk import GroupRisk, LineLoss, line_of
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures
from risk.proposal import RiskContext, Scope
from risk.sizing import PositionSizer
from state.ledger import SYSTEM_ID, Subject
from state.manager import HierarchicalStateManager
from state.tables import StrategyState, StrategyTrigger, SystemState, SystemTrigger

LONGEST_SUBJECT: Final = 200
TOLD_EVERY: Final = 30
"""Minutes between two full statuses in a live journal, for `run.py status`."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a position does, from 100 down to 0, and what took points off."""

    position: str
    score: float
    causes: tuple[str, ...]


class HealthCheck(Manager):
    """100 less what is short-dated, at its stop, and its share of a full group and of used buying power."""

    def __init__(
        self,
        book: Book,
        engine: StressEngine,
        groups: GroupRisk,
        figures: MarginFigures,
        risk: UnifiedRiskManager,
        exits: ExitSettings,
        settings: HealthSettings,
    ) -> None:
        self._book = book
        self._engine = engine
        self._groups = groups
        self._figures = figures
        self._risk = risk
        self._exits = exits
        self._settings = settings

    def of(self, position: Position, now: datetime) -> Health:
        """The score of an open position; a use that is unknown counts as full."""
        settings, context = self._settings, self._risk.context()
        equity = context.account.equity
        days = (position.expiry - now.date()).days
        line = self._groups.lines().get(line_of(position.underlying.ticker), LineLoss(0.0, 0.0))
        cap = self._figures.cap(context)
        power = self._figures.used().dollars / (cap * equity) if cap and equity > 0.0 else 1.0
        taken = {
            f"{days} days to expiry": settings.short_dated if days < self._exits.exit_days else 0.0,
            "at its stop": settings.at_stop if self._at_stop(position) else 0.0,
            "its group's use": settings.group * _share(self._groups.share(line, equity)),
            "buying power in use": settings.buying_power * _share(power),
        }
        causes = tuple(f"{cause} -{points:.0f}" for cause, points in taken.items() if points >= 0.5)
        return Health(position.id, round(max(100.0 - sum(taken.values()), 0.0), 1), causes)

    def value(self, position: Position) -> float | None:
        """What is held of it is worth, dollars at the prices of now; ``None`` where a contract's is unknown."""
        row = self._engine.held().of(position.id)
        return row.value if row is not None and row.known else None

    def _at_stop(self, position: Position) -> bool:
        """Whether it has lost what a row's stop allows, of what it took in or paid; unknown counts as that."""
        value, cash = self.value(position), position.cash
        if value is None or cash is None:
            return True
        entry = sum(part.entry_cash for part in position.parts)
        stop = self._settings.stop_of_credit * entry if entry > 0.0 else -self._settings.stop_of_debit * entry
        return -(cash + value - position.fees) >= stop


def held_words(position: Position) -> str:
    """An open position in words: the same live and from a store that nobody works on."""
    return f"{position.id} {position.structure} {position.underlying.ticker} {position.expiry}"


def part_lines(position: Position) -> list[str]:
    """Each open part in words: what of it is held (signed contracts), and its cash at entry (dollars, before fees)."""
    lines = []
    for part in position.parts:
        legs = ", ".join(f"{leg.ratio:+d} {leg.contract.name}" for leg in part.legs)
        brought = f"{'took in' if part.entry_cash >= 0.0 else 'paid'} {abs(part.entry_cash):,.2f}"
        lines.append(f"  {part.name}: {legs or 'no leg left'}; {brought} on {part.opened:%Y-%m-%d %H:%M}")
    return lines


class RiskStatus(Manager):
    """Answers in words; changes nothing but what a person may lift."""

    def __init__(
        self,
        bus: EventBus,
        book: Book,
        state: HierarchicalStateManager,
        risk: UnifiedRiskManager,
        drawdown: DrawdownPlugin,
        sizer: PositionSizer,
        figures: MarginFigures,
        health: HealthCheck,
    ) -> None:
        self._bus = bus
        self._book = book
        self._state = state
        self._risk = risk
        self._drawdown = drawdown
        self._sizer = sizer
        self._figures = figures
        self._health = health

    def text(self, now: datetime) -> str:
        """The whole of it, a line each."""
        context = self._risk.context()
        equity = context.account.equity
        vix = "unknown" if context.vix is None else f"{context.vix.value:.2f} ({context.vix.regime.value})"
        entries = "allowed" if self._bus.entries_halted is None else f"halted: {self._bus.entries_halted}"
        lines = [
            f"system {self._state.system.value}; entries {entries}",
            f"equity {equity:,.2f}, {self._drawdown.drawdown(equity):.1%} below the peak {self._drawdown.peak:,.2f}; "
            f"new sizes x {context.size_factor:g}",
            f"phase {context.phase}, VIX {vix}, {self._power(context)}",
            *(f"locked: {lock}" for lock in self._risk.locks),
            *(f"{name} is suspended by its own record since {since:%Y-%m-%d %H:%M}"
              for name, since in self._sizer.suspended.items()),
            *(f"{row.id} is suspended: {row.detail.get('reason', 'no reason was given')}" for row in self._suspended()),
            *(f"{want.rule} wants {want.scope.value} gone" for want in self._risk.wanted(now)),
        ]  # fmt: skip
        for position in self._book.positions.values():
            lines += [self._line(position, now), *part_lines(position), self._mark(position)]
        lines += [] if self._book.positions else ["holds nothing"]
        more = self._bus.request(Request.STATUS_LINES)
        return "\n".join([*lines, *(more if isinstance(more, list) else ())])

    def standing(self, now: datetime) -> tuple[str, ...]:
        """The cap in force, and how each position does: what the report shows of a close."""
        held = tuple(self._line(position, now) for position in self._book.positions.values())
        return (self._power(self._risk.context()), *held)

    def _power(self, context: RiskContext) -> str:
        """Buying power in use, of which cap, and what makes it so small."""
        equity, bound, used = context.account.equity, self._figures.binding_cap(context), self._figures.used()
        share = used.dollars / equity if equity > 0.0 else float("nan")
        of = "no cap without a VIX" if bound is None else f"{bound[1]:.1%} (by {bound[0]})"
        return f"buying power {share:.1%} of {of}"

    def about(self, word: str, now: datetime) -> list[str]:
        """What is known of a position (by id), or of a strategy: its positions, or that it has none."""
        found = [row for row in self._book.positions.values() if word in (row.id, row.strategy)]
        if not found and word in AVAILABLE:
            return [f"{word} {'is suspended, and ' if self._is_suspended(word) else ''}holds nothing"]
        return [self._line(row, now) for row in found]

    def _line(self, position: Position, now: datetime) -> str:
        health = self._health.of(position, now)
        why = f" ({', '.join(health.causes)})" if health.causes else ""
        return f"{held_words(position)}: health {health.score:g}{why}"

    def _mark(self, position: Position) -> str:
        """What closing it at the middle would bring, and what it came to so far, after fees. Dollars."""
        row = self._health.value(position)
        if row is None or position.cash is None:
            return "  worth: unknown"
        return f"  worth {row:+,.2f}, profit so far {position.cash + row - position.fees:+,.2f}"

    def time_locks(self) -> tuple[str, ...]:
        """Locks that end by their time or by a rule, which no person lifts here."""
        return tuple(lock for lock in self._risk.locks if "until a person" not in lock)

    def wants_everything(self) -> bool:
        """Whether a rule (not a person) wants everything gone now."""
        return any(want.scope is Scope.ALL for want in self._risk.wanted(self._risk.context().now))

    def reset_drawdown(self) -> str | None:
        """Lift the disabling at 30 %; its peak stays. ``None`` when it was not disabled."""
        return "lifted the drawdown's disabling; its peak stays" if self._drawdown.reset() else None

    def resume_strategy(self, name: str) -> str | None:
        """Let a suspended strategy open again, one suspended by its record with a new record; else the first one."""
        stopped = name or next((row.id for row in self._suspended()), "")
        if any(row.id == stopped for row in self._suspended()):
            holds = bool(self._book.of_strategy(stopped))
            trigger = StrategyTrigger.RESUME_HOLDING if holds else StrategyTrigger.RESUME
            self._state.fire(Level.STRATEGY, stopped, trigger, reason="a person resumed")
            return f"{stopped} opens again"
        chosen = name or next(iter(self._sizer.suspended), "")
        resumed = chosen and self._sizer.resume(chosen, self._risk.context().now)
        return f"{chosen} trades again, its record counts from now" if resumed else None

    def suspend_strategy(self, name: str) -> tuple[bool, str]:
        """A strategy opens nothing until it is resumed; what it holds it manages to its end."""
        if name not in AVAILABLE:
            return False, f"{name!r} is no strategy; expected one of {', '.join(AVAILABLE)}"
        if self._is_suspended(name):
            return True, f"{name} is suspended already"
        self._state.strategy(name)
        self._state.fire(Level.STRATEGY, name, StrategyTrigger.SUSPEND, reason="a person said suspend")
        return True, f"{name} opens nothing; what it holds it manages to its end"

    def _is_suspended(self, name: str) -> bool:
        return any(row.id == name for row in self._suspended())

    def _suspended(self) -> list[Subject]:
        return [row for row in self._state.strategies() if row.state == StrategyState.SUSPENDED]


class CommandDesk:
    """Takes commands and answers them."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        book: Book,
        state: HierarchicalStateManager,
        desk: OrderDesk,
        emergency: EmergencyProtocol,
        status: RiskStatus,
        gateway: Gateway,
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._book = book
        self._state = state
        self._desk = desk
        self._emergency = emergency
        self._status = status
        self._gateway = gateway
        self.last: CommandAnswered | None = None
        self._acts: dict[Command, Callable[[CommandReceived], tuple[bool, str]]] = {
            Command.HALT: self._halt,
            Command.RESUME: self._resume,
            Command.REDUCE: self._reduce,
            Command.SUSPEND: lambda event: status.suspend_strategy(event.subject.strip().lower()),
            Command.CLOSE_ALL: self._close_all,
            Command.RECONCILE: lambda event: (True, "the account is being reconciled"),
            Command.STATUS: lambda event: (True, status.text(event.time)),
            Command.EXPLAIN: self._explain,
            Command.TAKE_OVER: lambda event: (True, "this process is the one that trades"),
        }
        bus.subscribe(CommandReceived, self._on_command, component="commands", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="commands")
        bus.subscribe(MinutePassed, self._on_minute, component="commands")

    def _on_minute(self, event: MinutePassed) -> None:
        """Live, while anything is held or works: how things stand, for whoever finds the store without its process."""
        if self._gateway.is_live() and event.time.minute % TOLD_EVERY == 0:
            self._tell(event.time)

    def _tell(self, now: datetime) -> None:
        lines = self._status.text(now).splitlines()
        self._journal.record(RecordKind.STATUS, component="commands", reason=lines[0], lines=lines)

    def _on_command(self, event: CommandReceived) -> None:
        if len(event.subject) > LONGEST_SUBJECT:
            accepted, answer = False, f"the subject has {len(event.subject)} characters; at most {LONGEST_SUBJECT}"
        else:
            accepted, answer = self._acts[event.command](event)
        self._journal.record(
            RecordKind.COMMAND,
            component="commands",
            reason=event.command.value,
            subject=event.subject[:LONGEST_SUBJECT],
            accepted=accepted,
            answer=answer,
            positions=sorted(self._book.positions),
            orders=self._desk.why(),
        )
        self.last = CommandAnswered(
            time=event.time,
            command=event.command,
            subject=event.subject[:LONGEST_SUBJECT],
            accepted=accepted,
            answer=answer,
        )
        self._bus.publish(self.last)

    def _on_session_closed(self, event: SessionClosed) -> None:
        """What a report says of the close: the cap in force, and the health of what is held."""
        if self._gateway.is_live():
            self._tell(event.time)
        lines = list(self._status.standing(event.time))
        self._journal.record(RecordKind.STANDING, component="commands", reason=lines[0], day=event.day, lines=lines)

    def _halt(self, event: CommandReceived) -> tuple[bool, str]:
        before = self._bus.entries_halted
        self._bus.halt_entries("a person said halt")
        self._desk.cancel_entries("halt")
        return True, "entries are halted" if before is None else f"entries were halted already: {before}"

    def _reduce(self, event: CommandReceived) -> tuple[bool, str]:
        """Nothing new; what is held is managed to its end."""
        self._desk.cancel_entries("reduce")
        refused = self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.REDUCE)
        if refused is None:
            self._state.fire_system(SystemTrigger.REDUCE, reason="a person said reduce")
            return True, "nothing new opens; what is held is managed to its end"
        return True, f"nothing opens already: the system is {self._state.system.value}"

    def _close_all(self, event: CommandReceived) -> tuple[bool, str]:
        self._bus.halt_entries("a person said close_all")
        self._emergency.close_all(event.time)
        left = self._emergency.person_waits
        return True, f"closing {', '.join(left)}, asked again each minute until gone" if left else "nothing is held"

    def _resume(self, event: CommandReceived) -> tuple[bool, str]:
        waiting = self._emergency.person_waits
        if waiting:
            return False, f"close_all is not done: {', '.join(waiting)}"
        lifts = {
            "halt": self._lift_halt,
            "reduce": self._lift_reduction,
            "drawdown": self._status.reset_drawdown,
        }
        word, _, why = event.subject.strip().partition(" ")
        word = word.lower()
        if word == "drawdown" and not why.strip():
            return False, "lifting the drawdown's disabling takes a reason: resume drawdown, and why"
        if not word:
            del lifts["drawdown"]
        chosen = [lift for name, lift in lifts.items() if word in ("", name)]
        chosen += [lambda: self._status.resume_strategy(word)]
        lifted = next((said for lift in chosen if (said := lift()) is not None), None)
        stays = "; ".join(self._status.time_locks())
        if lifted is None:
            what = f"{word!r} is nothing that a person may lift now" if word else "there is nothing to lift"
            return False, f"{what}; it stays: {stays}" if stays else what
        return True, f"{lifted}; it stays: {stays}" if stays else lifted

    def _lift_halt(self) -> str | None:
        halted = self._bus.entries_halted
        if halted is None and self._state.system not in (SystemState.HALTED, SystemState.EMERGENCY):
            return None
        if self._state.system is SystemState.EMERGENCY and self._status.wants_everything():
            return None  # a rule's emergency ends by its rule
        self._emergency.person_resumed()
        self._bus.resume_entries()
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.RESUME) is None:
            self._state.fire_system(SystemTrigger.RESUME, reason="a person resumed")
        self._ready()
        return f"lifted the halt: {halted or self._state.system.value}"

    def _lift_reduction(self) -> str | None:
        if self._state.system is not SystemState.REDUCING:
            return None
        self._state.fire_system(SystemTrigger.RESUME, reason="a person resumed")
        return "lifted the reduction"

    def _ready(self) -> None:
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.READY) is None:
            self._state.fire_system(SystemTrigger.READY, reason="a person resumed")

    def _explain(self, event: CommandReceived) -> tuple[bool, str]:
        """What is known now of a position, an order group or a strategy."""
        word = event.subject.strip()
        lines = [line for line in self._desk.why() if word and word in line]
        lines += self._status.about(word, event.time) if word else []
        if not lines:
            asked = f"nothing is known of {word!r}; " if word else ""
            known = ", ".join(self._book.positions) or "no position is held"
            return False, f"{asked}name a strategy, an order group or a position ({known})"
        return True, "\n".join(lines)

    def verify(self) -> tuple[str, ...]:
        """Every command has its answer."""
        return tuple(f"command {word.value} has no answer" for word in Command if word not in self._acts)


def _share(use: float) -> float:
    return min(max(use, 0.0), 1.0) if use == use else 1.0

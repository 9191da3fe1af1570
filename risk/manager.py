"""The one risk manager: asks every plugin, lets the smallest answer stand, and denies where a plugin cannot answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from core.book import Book, ClosedTrade, Position
from core.bus import EventBus
from core.contracts import Package
from core.events import (
    Command,
    CommandReceived,
    Event,
    Level,
    MarketData,
    RiskThreshold,
    SessionClosed,
    SessionOpened,
    Severity,
)
from core.gateway import Gateway
from core.journal import Journal, RecordKind
from core.parts import WHOLE, Trait
from market.chains import OptionChainManager
from market.vix import UnifiedVIXManager
from risk.breakers import CircuitBreakerPlugin, DrawdownPlugin
from risk.phases import PhaseManager
from risk.proposal import Decision, Deny, Proposal, RiskContext, RiskPlugin, Verdict, settle
from state.ledger import SYSTEM_ID
from state.manager import HierarchicalStateManager
from state.tables import SystemTrigger

_GREEKS = "greeks_"  # these limits block what is new and close nothing


class UnifiedRiskManager:
    """Judges proposals, watches events, and says what must be closed."""

    def __init__(
        self,
        bus: EventBus,
        journal: Journal,
        gateway: Gateway,
        book: Book,
        chains: OptionChainManager,
        vix: UnifiedVIXManager,
        phases: PhaseManager,
        plugins: tuple[RiskPlugin, ...],
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._chains = chains
        self._vix = vix
        self._phases = phases
        self._plugins = tuple(sorted(plugins, key=lambda plugin: plugin.order))
        self._drawdown = next(plugin for plugin in plugins if isinstance(plugin, DrawdownPlugin))
        self._breaker = next(plugin for plugin in plugins if isinstance(plugin, CircuitBreakerPlugin))
        for event_type in (SessionOpened, MarketData, SessionClosed):
            bus.subscribe(event_type, self._on_event, component="risk", critical=True)

    def context(self) -> RiskContext:
        """What is known now."""
        now, account = self._gateway.now(), self._gateway.account()
        factor = self._drawdown.size_factor(account.equity)
        if self._breaker.warned:
            factor /= 2
        return RiskContext(
            now=now,
            account=account,
            vix=self._vix.reading(now),
            phase=self._phases.phase,
            limits=self._phases.limits,
            book=self._book,
            size_factor=factor,
        )

    def review(self, proposal: Proposal) -> Decision:
        """Ask every plugin; the smallest answer stands; what bound it is journalled."""
        context = self.context()
        decision = settle(proposal, [self._ask(plugin, proposal, context) for plugin in self._plugins])
        if decision.contracts < proposal.wanted:
            self._journal.record(
                RecordKind.RISK,
                component="risk",
                reason=decision.reason,
                rule=decision.rule,
                severity="denied" if decision.contracts == 0 else "shrunk",
                limit=decision.limit,
                observed=decision.observed,
                strategy=proposal.strategy,
            )
        return decision

    def _ask(self, plugin: RiskPlugin, proposal: Proposal, context: RiskContext) -> Verdict:
        try:
            return plugin.review(proposal, context)
        except Exception as error:  # fail closed: whatever went wrong in a rule, it denies
            detail = f"{type(error).__name__}: {error}"
            self._journal.record(RecordKind.ERROR, component=plugin.name, reason="review failed", detail=detail)
            return Deny(plugin.name, f"the rule failed: {detail}")

    def _on_event(self, event: Event) -> None:
        if isinstance(event, MarketData) and not self._book.positions and not self._book.shares:
            return
        for plugin in self._plugins:
            for passed in plugin.watch(event):
                self._report(passed)

    def _report(self, passed: RiskThreshold) -> None:
        self._journal.record(
            RecordKind.RISK,
            component="risk",
            reason=f"{passed.rule} {passed.severity.value}",
            rule=passed.rule,
            severity=passed.severity.value,
            limit=passed.limit,
            observed=passed.observed,
            strategy="",
        )
        self._bus.publish(passed)

    def stops_entries(self, passed: RiskThreshold) -> bool:
        """Whether entries on their way are taken back; Greeks limits judged them before they were sent."""
        return not passed.rule.startswith(_GREEKS)

    def must_close(self, passed: RiskThreshold) -> Sequence[Position]:
        """What the emergency protocol closes after a threshold (methodology, section 4).

        A VIX above 40 closes what is short volatility but put selling; a drawdown of 20 % (or a fast loss at 150 % of
        its limit) closes everything; 15 % the losing positions, riskiest first; a black swan the short-dated ones; a
        tripped breaker the riskiest position.
        """
        if passed.rule.startswith(_GREEKS):
            return ()
        held = sorted(self._book.positions.values(), key=lambda row: (-row.max_loss, row.id))
        if passed.severity is Severity.EMERGENCY:
            if passed.rule == "black_swan":
                return [row for row in held if Trait.SHORT_DATED in row.traits]
            if passed.rule == "vix_panic":
                return [row for row in held if row.short_volatility and Trait.PUT_SELLING not in row.traits]
            return held
        if passed.severity is Severity.BREACH:
            losing = [row for row in held if self._loses(row)]
            return losing if passed.rule == "drawdown" else held[:1]
        return ()

    def _loses(self, position: Position) -> bool:
        """Whether it would close at a loss at mids; a position without quotes counts as losing."""
        value, cash = self._chains.value(Package(position.legs)), position.cash
        return value is None or cash is None or cash + value * position.parts[0].multiplier < 0

    @property
    def phase(self) -> int:
        """The account's phase, 1 to 4."""
        return self._phases.phase

    def drawdown(self, equity: float) -> float:
        """Distance from the equity peak, a fraction."""
        return self._drawdown.drawdown(equity)

    def reset_drawdown(self) -> None:
        """A person resumes after the system disabled itself."""
        self._drawdown.reset()

    def verify(self) -> tuple[str, ...]:
        """The four plugins that survival rests on are there."""
        names = {plugin.name for plugin in self._plugins}
        needed = {"correlation", "concentration", "circuit_breaker", "margin"}
        return tuple(f"plugin {name} is missing" for name in sorted(needed - names))


_TRIGGERS = {
    Command.HALT: SystemTrigger.HALT,
    Command.REDUCE: SystemTrigger.REDUCE,
    Command.CLOSE_ALL: SystemTrigger.EMERGENCY,
    Command.RESUME: SystemTrigger.RESUME,
}
_TRADES_KEPT = 300


class EmergencyProtocol:
    """Moves the system's state on commands, and keeps phase, equity peak and trade record in the state."""

    def __init__(
        self,
        bus: EventBus,
        book: Book,
        state: HierarchicalStateManager,
        phases: PhaseManager,
        drawdown: DrawdownPlugin,
    ) -> None:
        self._book = book
        self._state = state
        self._phases = phases
        self._drawdown = drawdown
        bus.subscribe(CommandReceived, self._on_command, component="emergency", critical=True)
        bus.subscribe(SessionClosed, self._on_session_closed, component="emergency")

    def restore(self) -> None:
        """Go on with what the last process knew."""
        record = self._state.recall("record")
        if not isinstance(record, dict):
            return
        self._phases.restore(int(record["phase"]))
        self._drawdown.peak = float(record["peak"])
        self._book.trades.extend(_trade(row) for row in record["trades"])

    def _on_command(self, event: CommandReceived) -> None:
        trigger = _TRIGGERS.get(event.command)
        if trigger is None or self._state.may(Level.SYSTEM, SYSTEM_ID, trigger) is not None:
            return
        self._state.fire_system(trigger, command=event.command)
        if self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.READY) is None:
            self._state.fire_system(SystemTrigger.READY)

    def _on_session_closed(self, event: SessionClosed) -> None:
        """Written once a session, and only when something of it changed."""
        self._drawdown.drawdown(event.equity)
        self._state.remember(
            "record",
            {
                "phase": self._phases.phase,
                "peak": self._drawdown.peak,
                "trades": [_row(trade) for trade in self._book.trades[-_TRADES_KEPT:]],
            },
        )

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it once it was made."""
        return ()


def _row(trade: ClosedTrade) -> list[object]:
    times = [trade.opened, trade.closed]
    return [trade.strategy, trade.position, *times, trade.profit, trade.max_loss, trade.fees, trade.part, trade.ended]


def _trade(row: list[Any]) -> ClosedTrade:
    strategy, position, opened, closed, profit, max_loss, *more = row  # records of before had no fees and no part
    fees = float(more[0]) if more else 0.0
    part, ended = (str(more[1]), bool(more[2])) if len(more) > 1 else (WHOLE, True)
    start, end = datetime.fromisoformat(opened), datetime.fromisoformat(closed)
    result = None if profit is None else float(profit)
    return ClosedTrade(strategy, position, start, end, result, float(max_loss), fees, part, ended)
